/* test_sqlite.c - a database on SoftPM through SQLite's own interface: what is restored, what never is, who may do what at a time. */
#include "db.h"

#include <fcntl.h>
#include <pthread.h>
#include <softpm.h>
#include <sys/resource.h>

static bool is_over;

static void leaves_a_transaction_open(const char *volume, int out)
{
	sqlite3 *db = db_open(volume, "");

	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, text);"
	        "INSERT INTO t VALUES(1, 'a'), (2, 'b');"
	        "PRAGMA cache_size = 3; BEGIN;"
	        "UPDATE t SET text = 'never';"
	        "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
	        " INSERT INTO t SELECT i, hex(randomblob(200)) FROM n;");
	word_say(out, '.');
	pause();
}

static int has_what_was_committed(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	need(is_whole(db), "integrity_check", db);
	need(number(db, "SELECT count(*) = 2 AND max(text) = 'b' FROM t"), "the committed rows, and no others", db);
	run(db, "INSERT INTO t VALUES(3, 'c')");
	need(sqlite3_close(db) == SQLITE_OK, "close", db);
	return 0;
}

static void killed_in_a_transaction_that_spilled_it_is_as_before(void **state)
{
	const char *volume = scratch("spill.vol");

	(void)state;
	killed(leaves_a_transaction_open, volume);
	in_process(has_what_was_committed, volume);
}

/* While a transaction that has spilled is open, the thread is to save the one before. */
static void spills_after_another(const char *volume, int out)
{
	sqlite3 *db = db_open(volume, "");

	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, text); PRAGMA cache_size = 3; PRAGMA synchronous = OFF;"
	        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
	        " INSERT INTO t SELECT i, hex(zeroblob(200)) FROM n; BEGIN; UPDATE t SET text = 'never'");
	usleep(300000);
	word_say(out, '.');
	pause();
}

static int has_none_or_all(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	need(is_whole(db), "integrity_check", db);
	need(number(db, "SELECT count(*) IN (0, 2000) AND total(text = 'never') = 0 FROM t"),
	     "no part of a transaction", db);
	sqlite3_close(db);
	return 0;
}

static void the_thread_never_saves_part_of_a_transaction(void **state)
{
	const char *volume = scratch("thread.vol");

	(void)state;
	killed(spills_after_another, volume);
	in_process(has_none_or_all, volume);
}

static void rolls_back(const char *volume, int out)
{
	sqlite3 *db = db_open(volume, "");

	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, text UNIQUE); INSERT INTO t VALUES(1, 'a');"
	        "PRAGMA cache_size = 3; BEGIN;"
	        "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
	        " INSERT INTO t SELECT i, hex(randomblob(200)) FROM n; ROLLBACK;"
	        "BEGIN; SAVEPOINT one; INSERT INTO t VALUES(2, 'b'); SAVEPOINT two; DELETE FROM t; ROLLBACK TO two;"
	        "RELEASE one; COMMIT;");
	need(sqlite3_exec(db, "INSERT INTO t VALUES(7, 'new'), (8, 'a')", NULL, NULL, NULL) == SQLITE_CONSTRAINT,
	     "UNIQUE", db);
	run(db, "BEGIN; INSERT INTO t VALUES(3, 'c')");
	need(sqlite3_exec(db, "INSERT OR FAIL INTO t VALUES(4, 'd'), (5, 'a')", NULL, NULL, NULL) == SQLITE_CONSTRAINT,
	     "OR FAIL", db);
	run(db, "COMMIT");
	word_say(out, '.');
	pause();
}

static int has_what_was_not_rolled_back(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	need(is_whole(db), "integrity_check", db);
	need(number(db, "SELECT group_concat(id || text) = '1a,2b,3c,4d' FROM (SELECT * FROM t ORDER BY id)"), "rows",
	     db);
	sqlite3_close(db);
	return 0;
}

static void what_was_rolled_back_is_in_no_version(void **state)
{
	const char *volume = scratch("rollback.vol");

	(void)state;
	killed(rolls_back, volume);
	in_process(has_what_was_not_rolled_back, volume);
}

static int connections_see_each_other(const char *volume)
{
	sqlite3 *one = db_open(volume, ""), *two = db_open(volume, "");

	run(one, "CREATE TABLE t(a)");
	for (int i = 1; i <= 20; i++) {
		run(i % 3 ? one : two, "INSERT INTO t VALUES(1)");
		need(number(one, "SELECT count(*) FROM t") == i && number(two, "SELECT count(*) FROM t") == i, "count",
		     one);
	}
	run(one, "BEGIN IMMEDIATE; INSERT INTO t VALUES(2)");
	need(sqlite3_exec(two, "INSERT INTO t VALUES(3)", NULL, NULL, NULL) == SQLITE_BUSY, "two writers", two);
	need(number(two, "SELECT count(*) FROM t") == 20, "what is not committed is seen", two);
	run(two, "BEGIN");
	need(number(two, "SELECT count(*) FROM t") == 20, "read", two);
	need(sqlite3_exec(one, "COMMIT", NULL, NULL, NULL) == SQLITE_BUSY, "committed under a reader", one);
	run(two, "COMMIT");
	run(one, "COMMIT");
	need(number(two, "SELECT count(*) FROM t") == 21, "count", two);
	run(one, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL; INSERT INTO t VALUES(4)");
	need(sqlite3_exec(two, "SELECT * FROM t", NULL, NULL, NULL) == SQLITE_BUSY, "exclusive", two);
	sqlite3_close(one);
	need(number(two, "SELECT count(*) FROM t") == 22, "count", two);
	sqlite3_close(two);
	return 0;
}

static void connections_of_a_process_share_it_with_sqlites_locks(void **state)
{
	(void)state;
	in_process(connections_see_each_other, scratch("connections.vol"));
}

enum { THREADS = 4, TRANSFERS = 200 };

static void *transfers(void *arg)
{
	sqlite3 *db = db_open(arg, "");
	uint64_t random = (uint64_t)(uintptr_t)&db;
	char sql[200];

	sqlite3_busy_timeout(db, 60000);
	for (int i = 0; i < TRANSFERS; i++) {
		snprintf(sql, sizeof(sql),
		         "BEGIN IMMEDIATE; UPDATE t SET n = n - 1 WHERE id = %u; UPDATE t SET n = n + 1 WHERE id = %u; "
		         "COMMIT",
		         (unsigned)(test_random(&random) % 100), (unsigned)(test_random(&random) % 100));
		run(db, sql);
		need(number(db, "SELECT sum(n) FROM t") == 1000, "the sum changed", db);
	}
	sqlite3_close(db);
	return NULL;
}

static int threads_transfer(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	pthread_t thread[THREADS];

	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n);"
	        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99) INSERT INTO t SELECT i, "
	        "10 FROM n");
	for (int i = 0; i < THREADS; i++)
		need(!pthread_create(&thread[i], NULL, transfers, (void *)(uintptr_t)volume), "thread", NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	need(is_whole(db), "integrity_check", db);
	sqlite3_close(db);
	return 0;
}

static void threads_write_and_read_at_a_time(void **state)
{
	(void)state;
	in_process(threads_transfer, scratch("threads.vol"));
}

/* As SQLite's own, but that it would sleep much too long. */
static int sleeps(void *arg, int times)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find("softpm");

	(void)arg;
	if (times == 0) /* that the lock is not to be had now is told to the other thread */
		__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
	vfs->xSleep(vfs, 60000000);
	return 1;
}

static void *waits_for_the_lock(void *arg)
{
	sqlite3 *db = db_open(arg, "");

	sqlite3_busy_handler(db, sleeps, NULL);
	run(db, "INSERT INTO t VALUES(2)");
	sqlite3_close(db);
	return NULL;
}

static int wakes_who_sleeps(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	pthread_t thread;

	run(db, "CREATE TABLE t(a); BEGIN IMMEDIATE; INSERT INTO t VALUES(1)");
	alarm(30);
	need(!pthread_create(&thread, NULL, waits_for_the_lock, (void *)(uintptr_t)volume), "thread", NULL);
	while (!__atomic_load_n(&is_over, __ATOMIC_ACQUIRE))
		usleep(1000);
	usleep(50000);
	run(db, "COMMIT");
	pthread_join(thread, NULL);
	need(number(db, "SELECT sum(a) FROM t") == 3, "rows", db);
	sqlite3_close(db);
	return 0;
}

static void a_busy_handler_is_woken_when_the_lock_can_be_had(void **state)
{
	(void)state;
	in_process(wakes_who_sleeps, scratch("woken.vol"));
}

static void holds_it(const char *volume, int out)
{
	sqlite3 *db = db_open(volume, "");

	run(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
	word_say(out, '.');
	pause();
}

static int is_kept_out_but_may_read(const char *volume)
{
	sqlite3 *db;

	need(db_try(volume, "", &db) == SQLITE_BUSY, "a second process that writes", db);
	sqlite3_close(db);
	db = db_open(volume, "&mode=ro");
	need(number(db, "SELECT a FROM t") == 1, "read", db);
	need(sqlite3_exec(db, "INSERT INTO t VALUES(2)", NULL, NULL, NULL) == SQLITE_READONLY, "written", db);
	sqlite3_close(db);
	return 0;
}

static void one_process_writes_and_others_may_read(void **state)
{
	const char *volume = scratch("processes.vol");
	int in;
	pid_t child = victim(holds_it, volume, &in);

	(void)state;
	word_hear(in);
	in_process(is_kept_out_but_may_read, volume);
	kill_9(child);
	close(in);
}

static int reads_another_version(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	char sql[512];

	run(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1), (2); DELETE FROM t WHERE a = 2; INSERT INTO t VALUES(3)");
	snprintf(sql, sizeof(sql), "ATTACH 'file:%s?softpm=1&at=~2' AS old", volume);
	run(db, sql);
	need(number(db, "SELECT a FROM (SELECT a FROM old.t EXCEPT SELECT a FROM main.t)") == 2, "what was deleted",
	     db);
	need(number(db, "SELECT a FROM (SELECT a FROM main.t EXCEPT SELECT a FROM old.t)") == 3, "what was added", db);
	need(sqlite3_exec(db, "INSERT INTO old.t VALUES(1)", NULL, NULL, NULL) == SQLITE_READONLY, "the past changed",
	     db);
	run(db, "INSERT INTO t VALUES(4); DETACH old");
	snprintf(sql, sizeof(sql), "ATTACH 'file:%s?softpm=2' AS other", volume);
	run(db, sql);
	run(db, "CREATE TABLE other.t(a); BEGIN; INSERT INTO other.t VALUES(5); INSERT INTO main.t VALUES(5); COMMIT");
	need(number(db, "SELECT count(*) FROM main.t JOIN other.t USING (a)") == 1, "two databases of one volume", db);
	sqlite3_close(db);
	return 0;
}

static void a_version_is_attached_beside_the_newest(void **state)
{
	(void)state;
	in_process(reads_another_version, scratch("past.vol"));
}

static int goes_through_branches(const char *volume)
{
	sqlite3 *db = db_open(volume, ""), *other;

	run(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1); SELECT softpm_tag('one'); PRAGMA synchronous = OFF;"
	        "INSERT INTO t VALUES(2); SELECT softpm_tag('two'); PRAGMA synchronous = FULL;"
	        "SELECT softpm_branch('try', 'one'); SELECT softpm_switch('try')");
	need(number(db, "SELECT sum(a) FROM t") == 1, "the branch begins with the tag", db);
	run(db, "CREATE TABLE u(b); INSERT INTO u VALUES(7)");
	run(db, "SELECT softpm_switch('main'); CREATE TABLE w(c)");
	need(number(db, "SELECT sum(a) FROM t") == 3, "main is as it was", db);
	need(sqlite3_exec(db, "SELECT * FROM u", NULL, NULL, NULL) == SQLITE_ERROR, "the other branch's table", db);
	run(db, "SELECT softpm_switch('try')");
	need(number(db, "SELECT b FROM u") == 7, "the other branch's table, with as many changes of the schema", db);
	need(number(db, "SELECT count(*) FROM softpm_branches WHERE name = 'try' AND is_current") == 1, "branches", db);
	need(number(db, "SELECT count(*) FROM softpm_tags JOIN softpm_log('main') USING (version)") == 2, "tags", db);
	other = db_open(volume, "");
	need(sqlite3_exec(db, "SELECT softpm_switch('main')", NULL, NULL, NULL) == SQLITE_ERROR,
	     "switched under another", db);
	sqlite3_close(other);
	run(db, "BEGIN");
	need(sqlite3_exec(db, "SELECT softpm_switch('main')", NULL, NULL, NULL) == SQLITE_ERROR,
	     "switched in a transaction", db);
	run(db, "COMMIT; SELECT softpm_switch('one')");
	need(number(db, "SELECT sum(a) FROM t") == 1, "a tag", db);
	need(sqlite3_exec(db, "INSERT INTO t VALUES(3)", NULL, NULL, NULL) == SQLITE_READONLY, "a tag is written", db);
	need(number(db, "SELECT sum(a) FROM t") == 1, "what was refused is there", db);
	sqlite3_close(db);
	return 0;
}

static void versions_are_named_and_branched_from_in_sql(void **state)
{
	(void)state;
	in_process(goes_through_branches, scratch("branches.vol"));
}

enum { TAGS = 40 };

static void *updates_all(void *arg)
{
	sqlite3 *db = db_open(arg, "");
	char sql[100];

	sqlite3_busy_timeout(db, 60000);
	run(db, "PRAGMA synchronous = NORMAL; PRAGMA cache_size = 3");
	for (int i = 1; !__atomic_load_n(&is_over, __ATOMIC_RELAXED); i++) {
		snprintf(sql, sizeof(sql), "BEGIN IMMEDIATE; UPDATE t SET n = %d; %s", i,
		         i % 5 ? "COMMIT" : "ROLLBACK");
		run(db, sql);
	}
	sqlite3_close(db);
	return NULL;
}

static int tags_under_load(const char *volume)
{
	sqlite3 *db = db_open(volume, ""), *old;
	pthread_t thread;
	char sql[200];
	int rc;

	sqlite3_busy_timeout(db, 60000);
	run(db, "CREATE TABLE t(n, pad); WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 300)"
	        " INSERT INTO t SELECT 0, zeroblob(300) FROM r");
	need(!pthread_create(&thread, NULL, updates_all, (void *)(uintptr_t)volume), "thread", NULL);
	for (int i = 0; i < TAGS; i++) {
		snprintf(sql, sizeof(sql), "SELECT softpm_tag('tag%d')", i);
		while ((rc = sqlite3_exec(db, sql, NULL, NULL, NULL)) == SQLITE_BUSY)
			usleep(100);
		need(rc == SQLITE_OK, "tag", db);
	}
	__atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (int i = 0; i < TAGS; i++) {
		snprintf(sql, sizeof(sql), "&at=tag%d", i);
		old = db_open(volume, sql);
		need(is_whole(old) && number(old, "SELECT min(n) = max(n) AND count(*) = 300 FROM t"),
		     "a tag has part of a transaction", old);
		sqlite3_close(old);
	}
	sqlite3_close(db);
	return 0;
}

static void a_tag_under_load_is_of_whole_transactions(void **state)
{
	(void)state;
	in_process(tags_under_load, scratch("tags.vol"));
}

static int ordinary_files_stay(const char *path)
{
	sqlite3 *db;

	need(sqlite3_open(path, &db) == SQLITE_OK, "open", db);
	run(db, "PRAGMA journal_mode = WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1)");
	sqlite3_close(db);
	need(db_try(path, "", &db) == SQLITE_NOTADB, "an ordinary database is no volume", db);
	sqlite3_close(db);
	need(sqlite3_open(path, &db) == SQLITE_OK, "open", db);
	need(number(db, "SELECT a FROM t") == 1, "it was changed", db);
	sqlite3_close(db);
	return 0;
}

static void an_ordinary_database_is_refused_and_left_alone(void **state)
{
	(void)state;
	in_process(ordinary_files_stay, scratch("ordinary.db"));
}

static int fills_the_disk(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	struct rlimit limit = {8 << 20, RLIM_INFINITY};
	int rc = SQLITE_OK, rows = 0;

	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	for (; rc == SQLITE_OK; rows += rc == SQLITE_OK)
		rc = sqlite3_exec(db, "INSERT INTO t(a) VALUES(randomblob(200000))", NULL, NULL, NULL);
	need(rc == SQLITE_FULL, "a full disk", db);
	need(number(db, "SELECT count(*) FROM t") == rows && is_whole(db), "a failed transaction is rolled back", db);
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	run(db, "INSERT INTO t(a) VALUES(1)");
	sqlite3_close(db);
	db = db_open(volume, "");
	need(number(db, "SELECT count(*) FROM t") == rows + 1, "something committed was lost", db);
	sqlite3_close(db);
	return 0;
}

static void a_full_disk_is_told_and_loses_nothing(void **state)
{
	(void)state;
	in_process(fills_the_disk, scratch("full.vol"));
}

struct filler {
	const char *volume;
	unsigned number;
	int rows; /* acknowledged */
};

/* Numbered, until the disk is full. */
static void *fills(void *arg)
{
	struct filler *f = arg;
	sqlite3 *db = db_open(f->volume, "");
	char sql[100];
	int rc;

	sqlite3_busy_timeout(db, 60000);
	do {
		snprintf(sql, sizeof(sql), "INSERT INTO t VALUES(%u, %d, randomblob(10000))", f->number, f->rows);
		rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
		f->rows += rc == SQLITE_OK;
	} while (rc == SQLITE_OK);
	need(rc == SQLITE_FULL, "a full disk", db);
	sqlite3_close(db);
	return NULL;
}

static void have_what_was_acknowledged(sqlite3 *db, const struct filler *f)
{
	char sql[200];

	for (int i = 0; i < THREADS; i++) {
		snprintf(sql, sizeof(sql), "SELECT count(*) = %d AND ifnull(max(n), -1) = %d FROM t WHERE thread = %d",
		         f[i].rows, f[i].rows - 1, i);
		need(number(db, sql), sql, db);
	}
	need(is_whole(db), "integrity_check", db);
}

static int threads_fill_the_disk(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	struct rlimit limit = {8 << 20, RLIM_INFINITY};
	struct filler f[THREADS] = {0};
	pthread_t thread[THREADS];

	run(db, "CREATE TABLE t(thread, n, a)");
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	for (unsigned i = 0; i < THREADS; i++) {
		f[i] = (struct filler){volume, i, 0};
		need(!pthread_create(&thread[i], NULL, fills, &f[i]), "thread", NULL);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	have_what_was_acknowledged(db, f);
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	run(db, "INSERT INTO t VALUES(-1, 0, 0)");
	sqlite3_close(db);
	db = db_open(volume, "");
	have_what_was_acknowledged(db, f);
	need(number(db, "SELECT count(*) FROM t WHERE thread = -1") == 1, "the last row", db);
	sqlite3_close(db);
	return 0;
}

static void a_full_disk_undoes_what_no_thread_was_told_of(void **state)
{
	(void)state;
	in_process(threads_fill_the_disk, scratch("threads-full.vol"));
}

/* Memory that the process could write to, reserved or not: what RLIMIT_DATA counts. */
static uint64_t data_bytes(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	unsigned long long kib = 0;

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "VmData: %llu", &kib) != 1)
		;
	need(f && kib, "VmData", NULL);
	fclose(f);
	return kib << 10;
}

static void data_limit(uint64_t bytes)
{
	struct rlimit limit = {bytes, RLIM_INFINITY};

	need(!setrlimit(RLIMIT_DATA, &limit), "RLIMIT_DATA", NULL);
}

static int fills_memory(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	int rc = SQLITE_OK, rows = 0;

	run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)");
	data_limit(data_bytes() + (64 << 20));
	for (; rc == SQLITE_OK && rows < 1000; rows += rc == SQLITE_OK)
		rc = sqlite3_exec(db, "INSERT INTO t(a) VALUES(randomblob(1000000))", NULL, NULL, NULL);
	need(rc == SQLITE_NOMEM && rows, "a database larger than memory", db);
	need(sqlite3_exec(db, "INSERT INTO t(a) VALUES(randomblob(100000000))", NULL, NULL, NULL) == SQLITE_NOMEM,
	     "once more", db);
	data_limit(RLIM_INFINITY);
	need(number(db, "SELECT count(*) FROM t") == rows && is_whole(db), "a failed transaction is rolled back", db);
	run(db, "INSERT INTO t(a) VALUES(1)");
	sqlite3_close(db);
	db = db_open(volume, "");
	need(number(db, "SELECT count(*) FROM t") == rows + 1 && is_whole(db), "something committed was lost", db);
	sqlite3_close(db);
	return 0;
}

static void a_database_that_outgrows_memory_is_told_and_loses_nothing(void **state)
{
	(void)state;
	in_process(fills_memory, scratch("memory.vol"));
}

enum { LARGE_MIB = 80 };

/* With how much of the memory that it takes: eighths. */
static unsigned eighths;
static uint64_t needs_bytes;

static int opens_in_part_of_its_memory(const char *volume)
{
	sqlite3 *db;
	int rc;

	data_limit(needs_bytes - (uint64_t)LARGE_MIB * (8 - eighths) * (1 << 20) / 8);
	rc = db_try(volume, "", &db);
	need(rc == SQLITE_NOMEM || (rc == SQLITE_OK && eighths >= 4), "a database larger than memory", db);
	data_limit(RLIM_INFINITY);
	if (rc != SQLITE_OK) {
		sqlite3_close(db);
		db = db_open(volume, "");
	}
	need(number(db, "SELECT count(*) FROM t") == LARGE_MIB && is_whole(db), "something committed was lost", db);
	sqlite3_close(db);
	return 0;
}

static int makes_a_large_one(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	char sql[200];

	snprintf(sql, sizeof(sql),
	         "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
	         " INSERT INTO t SELECT randomblob(1048576) FROM n",
	         LARGE_MIB);
	run(db, sql);
	sqlite3_close(db);
	return 0;
}

static void tells_what_it_takes(const char *volume, int out)
{
	sqlite3 *db = db_open(volume, "");
	uint64_t bytes = data_bytes();

	need(write(out, &bytes, sizeof(bytes)) == sizeof(bytes), "pipe", NULL);
	sqlite3_close(db);
}

static void a_database_larger_than_memory_is_told_when_it_is_opened(void **state)
{
	const char *volume = scratch("larger.vol");
	pid_t child;
	int in;

	(void)state;
	in_process(makes_a_large_one, volume);
	child = victim(tells_what_it_takes, volume, &in);
	assert_int_equal(read(in, &needs_bytes, sizeof(needs_bytes)), sizeof(needs_bytes));
	waitpid(child, NULL, 0);
	close(in);
	for (eighths = 0; eighths <= 8; eighths++)
		in_process(opens_in_part_of_its_memory, volume);
}

/* The first database has made its version when there is no room for the second's. */
static void fails_in_the_second(const char *volume, int out)
{
	sqlite3 *db = db_open(volume, "");
	struct rlimit limit = {6 << 20, RLIM_INFINITY};
	char sql[512];

	snprintf(sql, sizeof(sql),
	         "ATTACH 'file:%s?softpm=2' AS other; CREATE TABLE main.t(a); CREATE TABLE other.u(b)", volume);
	run(db, sql);
	for (int i = 0; i < 20; i++)
		run(db, "INSERT INTO t VALUES(1)");
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	need(sqlite3_exec(db, "BEGIN; INSERT INTO t VALUES(100); INSERT INTO u VALUES(randomblob(20000000)); COMMIT",
	                  NULL, NULL, NULL) == SQLITE_FULL,
	     "a full disk", db);
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	need(number(db, "SELECT sum(a) FROM t") == 20, "rolled back", db);
	need(number(db, "SELECT count(*) FROM u") == 0, "rolled back", db);
	word_say(out, '.');
	pause();
}

static int has_neither(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	need(is_whole(db) && number(db, "SELECT sum(a) FROM t") == 20, "half of what was rolled back is there", db);
	need(number(db, "SELECT max(version) > 22 FROM softpm_log"), "the first database had no version of it: no test",
	     db);
	sqlite3_close(db);
	return 0;
}

static void a_version_too_early_is_taken_back(void **state)
{
	const char *volume = scratch("two.vol");

	(void)state;
	killed(fails_in_the_second, volume);
	in_process(has_neither, volume);
}

static int writes_much(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	run(db, "CREATE TABLE t(a);"
	        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999) INSERT INTO t SELECT "
	        "randomblob(3000) FROM n");
	sqlite3_close(db);
	return 0;
}

static int is_refused_as_corrupt(const char *volume)
{
	sqlite3 *db;

	need(db_try(volume, "", &db) == SQLITE_CORRUPT, "damage", db);
	sqlite3_close(db);
	return 0;
}

static void zeros_put(const char *volume, off_t at)
{
	char zeros[65536] = "";
	int fd = open(volume, O_RDWR);

	assert_int_equal(pwrite(fd, zeros, sizeof(zeros), at), sizeof(zeros));
	close(fd);
}

static void damage_is_told_when_it_is_opened(void **state)
{
	const char *volume = scratch("damage.vol");

	(void)state;
	in_process(writes_much, volume);
	zeros_put(volume, 2 << 20);
	in_process(is_refused_as_corrupt, volume);
}

/* One that is large is open before all of it was read, where the machine can do that; else it is told at once. */
static int is_found_corrupt(const char *volume)
{
	sqlite3 *db;
	int rc = db_try(volume, "", &db);

	if (rc == SQLITE_OK) {
		need(number(db, "SELECT count(*) FROM sqlite_schema") == 1, "what is whole can be read", db);
		need(sqlite3_exec(db, "SELECT max(a) FROM t", NULL, NULL, NULL) == SQLITE_CORRUPT, "damage", db);
		need(sqlite3_exec(db, "CREATE TABLE more(b)", NULL, NULL, NULL) == SQLITE_CORRUPT,
		     "damage is made permanent", db);
		need(number(db, "SELECT count(*) FROM sqlite_schema") == 1, "what is whole can be read still", db);
	} else {
		need(rc == SQLITE_CORRUPT, "damage", db);
	}
	sqlite3_close(db);
	return 0;
}

static void damage_of_a_large_one_is_told_when_it_is_read(void **state)
{
	const char *volume = scratch("largedamage.vol");

	(void)state;
	in_process(makes_a_large_one, volume);
	zeros_put(volume, LARGE_MIB / 2 << 20);
	in_process(is_found_corrupt, volume);
}

static int64_t file_bytes(sqlite3 *db)
{
	sqlite3_file *f = db_file(db);
	sqlite3_int64 bytes = 0;

	f->pMethods->xFileSize(f, &bytes);
	return bytes;
}

static const char fill[] =
        "CREATE TABLE t(text); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
        " INSERT INTO t SELECT hex(zeroblob(200)) FROM n";

/* SQLite cuts the end off when the transaction has ended. */
static int vacuums(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	int64_t bytes;

	run(db, fill);
	bytes = file_bytes(db);
	run(db, "DELETE FROM t; VACUUM");
	need(file_bytes(db) < bytes / 10, "VACUUM", NULL);
	need(sqlite3_close(db) == SQLITE_OK, "close", db);
	return 0;
}

static int is_short(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	need(file_bytes(db) == number(db, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"),
	     "the file is longer than its pages", NULL);
	sqlite3_close(db);
	return 0;
}

static void what_vacuum_cut_off_is_not_back_later(void **state)
{
	const char *volume = scratch("vacuum.vol");

	(void)state;
	in_process(vacuums, volume);
	in_process(is_short, volume);
}

static int fetches_each_page(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	sqlite3_file *f = db_file(db);
	int64_t fetched = 0, bytes;

	run(db, fill);
	bytes = file_bytes(db);
	for (int64_t at = 0; at < bytes; at += 4096) {
		void *page = NULL;

		need(f->pMethods->xFetch(f, at, 4096, &page) == SQLITE_OK, "fetch", db);
		need(!page || pReadable(page) >= 4096 + 256, "nothing to read behind a page", NULL);
		fetched += page ? 4096 : 0;
	}
	need(fetched > bytes * 9 / 10, "most pages are used where they lie", NULL);
	sqlite3_close(db);
	return 0;
}

static int64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long long pages = 0, resident = 0;

	need(f && fscanf(f, "%lld %lld", &pages, &resident) == 2, "statm", NULL);
	fclose(f);
	return resident * sysconf(_SC_PAGESIZE);
}

static int opens_and_closes(const char *volume)
{
	sqlite3 *keeps_the_volume = db_open(volume, ""), *db;
	int64_t before = resident_bytes();
	char name[512];

	snprintf(name, sizeof(name), "file:%s?softpm=2", volume);
	for (int i = 0; i < 300; i++) {
		need(!sqlite3_open_v2(name, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL),
		     name, db);
		need(!number(db, "SELECT count(*) FROM sqlite_schema"), "an empty database", db);
		sqlite3_close(db);
	}
	need(resident_bytes() - before < 4 << 20, "memory of databases that were never written", NULL);
	sqlite3_close(keeps_the_volume);
	return 0;
}

static void a_database_that_is_never_written_leaves_no_memory(void **state)
{
	(void)state;
	in_process(opens_and_closes, scratch("never.vol"));
}

static int has_a_question_mark(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	run(db, "CREATE TABLE t(a)");
	sqlite3_close(db);
	return access(scratch("%41 odd?wait=1.vol"), F_OK);
}

static void a_path_may_have_question_marks_and_percent_signs(void **state)
{
	(void)state;
	in_process(has_a_question_mark, scratch("%2541 odd%3fwait=1.vol"));
}

static int asks_for_mmap_size(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	need(number(db, "PRAGMA mmap_size") > 0 && number(db, "PRAGMA mmap_size = 0") > 0, "mmap_size", db);
	sqlite3_close(db);
	return 0;
}

static void all_of_it_counts_as_mapped(void **state)
{
	(void)state;
	in_process(asks_for_mmap_size, scratch("mapped.vol"));
}

static void who_reads_past_a_fetched_page_meets_memory(void **state)
{
	(void)state;
	in_process(fetches_each_page, scratch("fetch.vol"));
}

/* A byte of nearly each page is changed behind everybody's back. */
static void pages_flip(sqlite3 *db)
{
	sqlite3_file *f = db_file(db);
	int64_t bytes = file_bytes(db);
	unsigned flipped = 0;

	for (int64_t at = 0; at < bytes; at += 4096) {
		void *page = NULL;

		need(f->pMethods->xFetch(f, at, 4096, &page) == SQLITE_OK, "fetch", db);
		flipped += page != NULL;
		if (page)
			((unsigned char *)page)[4095] ^= 1;
	}
	need(flipped > 100, "pages to flip", db);
}

/* What nobody told of shows whether points look at more than that. */
static int looks_at_what_changed(const char *volume)
{
	sqlite3 *db = db_open(volume, "");
	struct pstats before, after;

	if (!number(db, "SELECT count(*) FROM sqlite_schema"))
		run(db, fill);
	run(db, "CREATE TABLE IF NOT EXISTS small(a)");
	for (int64_t chunk = 0; chunk <= file_bytes(db);
	     chunk += 65536) /* of a database that is opened, some with each transaction */
		run(db, "INSERT INTO small VALUES(1)");
	need(!pStats(1, &before), "pStats", NULL);
	pages_flip(db);
	run(db, "INSERT INTO small VALUES(2)");
	pages_flip(db);
	need(!pStats(1, &after) && after.points > before.points, "pStats", NULL);
	need(after.dirty_pages - before.dirty_pages <= 4, "a small transaction's point looks at the whole database",
	     NULL);
	sqlite3_close(db);
	return 0;
}

static void a_point_looks_at_what_the_transaction_changed(void **state)
{
	const char *volume = scratch("small.vol");

	(void)state;
	in_process(looks_at_what_changed, volume);
	in_process(looks_at_what_changed, volume);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(killed_in_a_transaction_that_spilled_it_is_as_before),
	        cmocka_unit_test(the_thread_never_saves_part_of_a_transaction),
	        cmocka_unit_test(what_was_rolled_back_is_in_no_version),
	        cmocka_unit_test(connections_of_a_process_share_it_with_sqlites_locks),
	        cmocka_unit_test(threads_write_and_read_at_a_time),
	        cmocka_unit_test(a_busy_handler_is_woken_when_the_lock_can_be_had),
	        cmocka_unit_test(one_process_writes_and_others_may_read),
	        cmocka_unit_test(a_version_is_attached_beside_the_newest),
	        cmocka_unit_test(versions_are_named_and_branched_from_in_sql),
	        cmocka_unit_test(a_tag_under_load_is_of_whole_transactions),
	        cmocka_unit_test(an_ordinary_database_is_refused_and_left_alone),
	        cmocka_unit_test(a_full_disk_is_told_and_loses_nothing),
	        cmocka_unit_test(a_full_disk_undoes_what_no_thread_was_told_of),
	        cmocka_unit_test(a_database_that_outgrows_memory_is_told_and_loses_nothing),
	        cmocka_unit_test(a_database_larger_than_memory_is_told_when_it_is_opened),
	        cmocka_unit_test(a_version_too_early_is_taken_back),
	        cmocka_unit_test(damage_is_told_when_it_is_opened),
	        cmocka_unit_test(damage_of_a_large_one_is_told_when_it_is_read),
	        cmocka_unit_test(what_vacuum_cut_off_is_not_back_later),
	        cmocka_unit_test(a_database_that_is_never_written_leaves_no_memory),
	        cmocka_unit_test(a_path_may_have_question_marks_and_percent_signs),
	        cmocka_unit_test(all_of_it_counts_as_mapped),
	        cmocka_unit_test(who_reads_past_a_fetched_page_meets_memory),
	        cmocka_unit_test(a_point_looks_at_what_the_transaction_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
