/* transactions.c - small transactions, each made durable as its level of synchronous says: SQLite on SoftPM beside its own files.
 *
 *   bench_sqlite_transactions FOLDER SYSTEM [rows=N] [seconds=N] [threads=N]
 *
 * SYSTEM: softpm-full, softpm-normal, softpm-off; wal-full, wal-normal, wal-off; journal-full (rollback, DELETE), journal-off; memory. All
 * are the same build of SQLite. A row has an integer key and a text of 100 characters; in turn one is updated, inserted, read and deleted,
 * at random keys, by prepared statements. Only what changes something counts as a transaction.
 */
#include "measure.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 100, THREADS_MOST = 64 };

static uint64_t rows = 10000, seconds = 2, threads = 1;
static char name[1024];
static const char *system_name, *level;
static bool is_over;

static void check(bool ok, sqlite3 *db, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(db));
	exit(1);
}

static void run(sqlite3 *db, const char *sql)
{
	check(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, db, sql);
}

static sqlite3 *db_open(void)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
	sqlite3 *db;
	char sql[100];

	check(sqlite3_open_v2(name, &db, flags, NULL) == SQLITE_OK, db, name);
	sqlite3_busy_timeout(db, 60000);
	if (!strncmp(system_name, "wal", 3))
		run(db, "PRAGMA journal_mode = WAL");
	snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s", level ? level + 1 : "FULL");
	run(db, sql);
	return db;
}

static sqlite3_stmt *prepared(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;

	check(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) == SQLITE_OK, db, sql);
	return s;
}

static void step(sqlite3 *db, sqlite3_stmt *s, uint64_t key, const char *text)
{
	int rc;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)key);
	if (text)
		sqlite3_bind_text(s, 2, text, TEXT_BYTES, SQLITE_STATIC);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		;
	check(rc == SQLITE_DONE, db, "step");
	sqlite3_reset(s);
}

static void text_make(char *text, uint64_t *seed)
{
	for (unsigned i = 0; i < TEXT_BYTES; i++)
		text[i] = (char)('a' + random_next(seed) % 26);
}

static void fill(void)
{
	sqlite3 *db = db_open();
	uint64_t seed = 42;
	char text[TEXT_BYTES];
	sqlite3_stmt *insert;

	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, text)");
	insert = prepared(db, "INSERT OR REPLACE INTO t VALUES(?1, ?2)");
	run(db, "BEGIN");
	for (uint64_t i = 0; i < rows; i++) {
		text_make(text, &seed);
		step(db, insert, 2 * i, text);
	}
	run(db, "COMMIT");
	sqlite3_finalize(insert);
	if (!strncmp(system_name, "wal", 3))
		run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	if (strcmp(system_name, "memory"))
		sqlite3_close(db);
}

static void *load(void *arg)
{
	uint64_t *done = arg, seed = 7 + (uintptr_t)arg, n = 0;
	sqlite3 *db = db_open();
	sqlite3_stmt *change = prepared(db, "UPDATE t SET text = ?2 WHERE id = ?1"),
	             *insert = prepared(db, "INSERT OR REPLACE INTO t VALUES(?1, ?2)"),
	             *read = prepared(db, "SELECT text FROM t WHERE id = ?1"),
	             *drop = prepared(db, "DELETE FROM t WHERE id = ?1");
	char text[TEXT_BYTES];

	for (uint64_t i = 0; !__atomic_load_n(&is_over, __ATOMIC_RELAXED); i++) {
		uint64_t key = random_next(&seed) % (2 * rows);

		text_make(text, &seed);
		step(db, change, key & ~UINT64_C(1), text);
		step(db, insert, key | 1, text);
		step(db, read, key, NULL);
		step(db, drop, key | 1, NULL);
		n += 3;
	}
	*done = n;
	sqlite3_finalize(change);
	sqlite3_finalize(insert);
	sqlite3_finalize(read);
	sqlite3_finalize(drop);
	sqlite3_close(db);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS_MOST];
	uint64_t done[THREADS_MOST] = {0}, all = 0, started;
	struct timespec slice = {0, 10000000};

	need(argc >= 3, "usage: FOLDER SYSTEM [rows=N] [seconds=N] [threads=N]");
	system_name = argv[2];
	level = strchr(argv[2], '-');
	for (int i = 3; i < argc; i++)
		need(option_number(argv[i], "rows", &rows) || option_number(argv[i], "seconds", &seconds) ||
		             option_number(argv[i], "threads", &threads),
		     "unknown option");
	if (!strncmp(system_name, "softpm", 6))
		snprintf(name, sizeof(name), "file:%s/db.vol?softpm=1", argv[1]);
	else if (!strcmp(system_name, "memory"))
		snprintf(name, sizeof(name), "file:bench?mode=memory&cache=shared");
	else
		snprintf(name, sizeof(name), "%s/db", argv[1]);
	fill();
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
