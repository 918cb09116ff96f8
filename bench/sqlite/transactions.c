/* transactions.c - small transactions, each made durable as its level of synchronous says: SQLite on SoftPM beside its own files.
 *
 *   bench_sqlite_transactions FOLDER SYSTEM [rows=N] [seconds=N] [threads=N] [parts=1]
 *
 * SYSTEM: see table.h. In turn a row is updated, inserted, read and deleted, at random keys, by prepared statements. Only what changes something
 * counts as a transaction. parts=1, of SoftPM: also where the time of a transaction goes, as SoftPM counts it (struct pstats); the rest is
 * SQLite's, and waiting for other threads.
 */
#include "table.h"

#include <pthread.h>
#include <softpm.h>
#include <sys/resource.h>
#include <time.h>

enum { THREADS_MOST = 64 };

static uint64_t rows = 10000, seconds = 2, threads = 1, has_parts;
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

static struct pstats stats(void)
{
	struct pstats s;

	need(!pStats(1, &s), "pStats");
	return s;
}

static double processor_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

/* Each of all transactions, which took so long. */
static void parts_tell(double all, double took_ns, double processor, const struct pstats *before)
{
	struct pstats s = stats();
	double discovery = (double)(s.discovery_ns - before->discovery_ns),
	       freeze = (double)(s.freeze_ns - before->freeze_ns), write = (double)(s.write_ns - before->write_ns),
	       flush = (double)(s.flush_ns - before->flush_ns);

	row("discovery", discovery / all / 1e3, "us");
	row("freeze", freeze / all / 1e3, "us");
	row("write", write / all / 1e3, "us");
	row("flush", flush / all / 1e3, "us");
	row("the rest", (took_ns - discovery - freeze - write - flush) / all / 1e3, "us");
	row("pause, median", (double)s.pause_median_ns / 1e3, "us");
	row("processor", (processor_ns() - processor) / all / 1e3, "us");
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS_MOST];
	uint64_t done[THREADS_MOST] = {0}, all = 0, started;
	struct pstats before = {0};
	double processor;
	sqlite3 *open;
	struct timespec slice = {0, 10000000};

	need(argc >= 3, "usage: FOLDER SYSTEM [rows=N] [seconds=N] [threads=N] [parts=1]");
	for (int i = 3; i < argc; i++)
		need(option_number(argv[i], "rows", &rows) || option_number(argv[i], "seconds", &seconds) ||
		             option_number(argv[i], "threads", &threads) || option_number(argv[i], "parts", &has_parts),
		     "unknown option");
	table_choose(argv[2], argv[1]);
	table_fill(rows);
	open = table_open(); /* a container that is not open has no statistics */
	if (has_parts)
		before = stats();
	processor = processor_ns();
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
	if (has_parts)
		parts_tell((double)all, (double)started, processor, &before);
	row_data(0);
	sqlite3_close(open);
	return 0;
}
