/* crash_sqlite.c - kill -9 at random instants of a concurrent load, and what is restored against a ledger.
 *
 * Each of three threads has transactions of its own, numbered: of number n the rows (thread, n, 0..n % 7) are inserted, in
 * several statements, older ones of it deleted now and then, and a counter is raised; a tenth is rolled back. One that was committed is
 * told through a pipe, where the ledger is kept. After each kill: integrity_check is ok; every transaction that was told is there
 * (synchronous=FULL), and in each thread's row of them there are no gaps, nor parts (at any level).
 *
 * $SOFTPM_KILLS: how often with FULL; and a third of that with each of the others. 60.
 */
#include "db.h"

#include <pthread.h>

enum { THREADS = 3 };

struct told {
	uint32_t thread, number;
};

static const char *level; /* of synchronous */
static int told_to;
static const char *volume_path;

static void transaction(sqlite3 *db, unsigned thread, unsigned n, bool is_rolled_back)
{
	char sql[400];

	run(db, n % 2 ? "BEGIN IMMEDIATE" : "BEGIN EXCLUSIVE");
	for (unsigned row = 0; row <= n % 7; row++) {
		snprintf(sql, sizeof(sql), "INSERT INTO t VALUES(%u, %u, %u, randomblob(%u))", thread, n, row,
		         n % 50 * 40);
		run(db, sql);
	}
	snprintf(sql, sizeof(sql),
	         "UPDATE counter SET n = n + 1 WHERE thread = %u; DELETE FROM t WHERE thread = %u AND n < %d", thread,
	         thread, (int)n - 200);
	run(db, sql);
	run(db, is_rolled_back ? "ROLLBACK" : "COMMIT");
}

static void *writes(void *arg)
{
	unsigned thread = (unsigned)(uintptr_t)arg, n;
	sqlite3 *db = db_open(volume_path, "");
	char sql[100];

	sqlite3_busy_timeout(db, 60000);
	snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s; PRAGMA cache_size = 8", level);
	run(db, sql);
	snprintf(sql, sizeof(sql), "SELECT n FROM counter WHERE thread = %u", thread);
	for (n = (unsigned)number(db, sql) + 1;; n++) {
		struct told told = {thread, n};

		if (n % 10 == 0)
			transaction(db, thread, n, true);
		transaction(db, thread, n, false);
		need(write(told_to, &told, sizeof(told)) == sizeof(told), "ledger", NULL);
	}
	return NULL;
}

static void load(const char *volume, int out)
{
	sqlite3 *db = db_open(volume, "");
	pthread_t thread[THREADS];

	run(db, "CREATE TABLE IF NOT EXISTS t(thread, n, row, blob, PRIMARY KEY(thread, n, row));"
	        "CREATE TABLE IF NOT EXISTS counter(thread INTEGER PRIMARY KEY, n);"
	        "INSERT OR IGNORE INTO counter VALUES(0, 0), (1, 0), (2, 0)");
	told_to = out;
	volume_path = volume;
	for (unsigned i = 0; i < THREADS; i++)
		need(!pthread_create(&thread[i], NULL, writes, (void *)(uintptr_t)i), "thread", NULL);
	pause();
}

/* What was told so far, by thread; in memory that the processes share. */
static uint32_t ledger[THREADS];

static int is_as_told(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	char sql[500];

	need(is_whole(db), "integrity_check", db);
	for (unsigned i = 0; i < THREADS; i++) {
		int64_t n;

		if (!number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'counter'"))
			break;
		snprintf(sql, sizeof(sql), "SELECT ifnull(max(n), 0) FROM counter WHERE thread = %u", i);
		n = number(db, sql);
		if (!strcmp(level, "FULL"))
			need(n >= ledger[i], "a transaction that was told is lost", NULL);
		snprintf(sql, sizeof(sql),
		         "SELECT count(*) FROM (SELECT n, count(*) AS c FROM t WHERE thread = %u GROUP BY n) WHERE c "
		         "<> n %% 7 + 1 OR n > %lld",
		         i, (long long)n);
		need(!number(db, sql), "part of a transaction", NULL);
		snprintf(sql, sizeof(sql), "SELECT count(DISTINCT n) FROM t WHERE thread = %u AND n >= %lld", i,
		         (long long)n - 200);
		need(number(db, sql) == (n < 201 ? n : 201), "a gap", NULL);
	}
	sqlite3_close(db);
	return 0;
}

static void hear(int in)
{
	struct told told;

	while (read(in, &told, sizeof(told)) == sizeof(told))
		ledger[told.thread] = told.number;
	close(in);
}

static void *listen(void *arg)
{
	hear((int)(intptr_t)arg);
	return NULL;
}

static void kills(const char *path, uint64_t times)
{
	uint64_t random = test_seed();

	memset(ledger, 0, sizeof(ledger));
	for (uint64_t i = 0; i < times; i++) {
		pthread_t listener;
		int in;
		pid_t child = victim(load, path, &in);

		need(!pthread_create(&listener, NULL, listen, (void *)(intptr_t)in), "thread", NULL);
		usleep((useconds_t)(5000 + test_random(&random) % (strcmp(level, "OFF") ? 60000 : 300000)));
		kill_9(child);
		pthread_join(listener, NULL);
		in_process(is_as_told, path);
	}
	printf("%s: transactions of the threads: %u, %u, %u\n", level, ledger[0], ledger[1], ledger[2]);
}

static void full_loses_nothing_that_was_told(void **state)
{
	(void)state;
	level = "FULL";
	kills(scratch("full.vol"), test_number("SOFTPM_KILLS", 60));
}

static void normal_keeps_order_and_wholeness(void **state)
{
	(void)state;
	level = "NORMAL";
	kills(scratch("normal.vol"), test_number("SOFTPM_KILLS", 60) / 3);
}

static void off_keeps_order_and_wholeness(void **state)
{
	(void)state;
	level = "OFF";
	kills(scratch("off.vol"), test_number("SOFTPM_KILLS", 60) / 3);
}

static void inserts_twice(const char *volume, int out)
{
	sqlite3 *db = db_open(volume, "");

	run(db, "CREATE TABLE t(a); PRAGMA synchronous = NORMAL; INSERT INTO t VALUES(1); INSERT INTO t VALUES(2)");
	word_say(out, '.');
	pause();
}

static int64_t rows_in_newest_version(const char *volume)
{
	sqlite3 *db = db_open(volume, "&mode=ro");
	int64_t rows = number(db, "SELECT count(*) FROM t");

	sqlite3_close(db);
	return rows;
}

/* Nothing else happens that could take it along. */
static int second_is_there_soon(const char *volume)
{
	unsigned ms = 0;

	while (rows_in_newest_version(volume) < 2 && ms++ < 10000)
		usleep(1000);
	need(ms < 10000, "what ended with NORMAL is in no version", NULL);
	return 0;
}

static void normal_is_soon_in_a_version_though_another_was_just_made(void **state)
{
	const char *volume = scratch("soon.vol");
	int in;
	pid_t child = victim(inserts_twice, volume, &in);

	(void)state;
	word_hear(in);
	in_process(second_is_there_soon, volume);
	kill_9(child);
	in_process(second_is_there_soon, volume);
	close(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(full_loses_nothing_that_was_told),
	        cmocka_unit_test(normal_keeps_order_and_wholeness),
	        cmocka_unit_test(off_keeps_order_and_wholeness),
	        cmocka_unit_test(normal_is_soon_in_a_version_though_another_was_just_made),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
