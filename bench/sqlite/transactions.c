/* transactions.c - small transactions, each made durable as its level of synchronous says: SQLite on SoftPM beside its own files.
 *
 *   bench_sqlite_transactions FOLDER SYSTEM [rows=N] [seconds=N] [threads=N]
 *
 * SYSTEM: see table.h. In turn a row is updated, inserted, read and deleted, at random keys, by prepared statements. Only what changes something
 * counts as a transaction.
 */
#include "table.h"

#include <pthread.h>
#include <time.h>

enum { THREADS_MOST = 64 };

static uint64_t rows = 10000, seconds = 2, threads = 1;
static bool is_over;

static void *load(void *arg)
{
	uint64_t *done = arg;
	struct changer c;

	changer_open(&c, rows, 7 + (uintptr_t)arg);
	for (; !__atomic_load_n(&is_over, __ATOMIC_RELAXED); *done += 3)
		changer_round(&c);
	changer_close(&c);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS_MOST];
	uint64_t done[THREADS_MOST] = {0}, all = 0, started;
	struct timespec slice = {0, 10000000};

	need(argc >= 3, "usage: FOLDER SYSTEM [rows=N] [seconds=N] [threads=N]");
	for (int i = 3; i < argc; i++)
		need(option_number(argv[i], "rows", &rows) || option_number(argv[i], "seconds", &seconds) ||
		             option_number(argv[i], "threads", &threads),
		     "unknown option");
	table_choose(argv[2], argv[1]);
	table_fill(rows);
	started = now_ns();
	for (uint64_t i = 0; i < threads; i++)
		need(!pthread_create(&thread[i], NULL, load, &done[i]), "thread");
	while (now_ns() - started < seconds * 1000000000)
		nanosleep(&slice, NULL);
	__atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
	started = now_ns() - started;
	for (uint64_t i = 0; i < threads; i++) {
		pthread_join(thread[i], NULL);
		all += done[i];
	}
	row("transactions", (double)all * 1e9 / (double)started, "transactions/s");
	row_data(0);
	return 0;
}
