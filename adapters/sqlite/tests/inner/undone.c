/* undone.c - a transaction of which others saw what it wrote before it was durable, and then the disk is full: who still reads is told, nobody
 * waits for him, and what is there is what was durable.
 *
 * A commit waits in spm_chain_commit_from until the test has put all others in their places, and fails then.
 */
#include "adapter.h"

#include "db.h"
#include "volume/internal.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

static _Atomic bool fails_next;
static sem_t has_come, may_go;

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wreserved-identifier"
#endif

int __real_spm_chain_commit_from(struct chain *c, struct change_source *source, bool force, struct version_info *info);
int __wrap_spm_chain_commit_from(struct chain *c, struct change_source *source, bool force, struct version_info *info);
int __wrap_spm_chain_commit_from(struct chain *c, struct change_source *source, bool force, struct version_info *info)
{
	if (!fails_next)
		return __real_spm_chain_commit_from(c, source, force, info);
	fails_next = false;
	sem_post(&has_come);
	sem_wait(&may_go);
	return spm_volume_fail(-ENOSPC, "no room, says the test");
}

int __real_spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why);
int __wrap_spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why);
int __wrap_spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why)
{
	return __real_spm_driver_file_open(path, flags, out, why);
}

enum { ROWS = 200 };

static sqlite3 *db_new(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	run(db, "CREATE TABLE t(a, text); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
	        "INSERT INTO t SELECT i, hex(randomblob(500)) FROM n");
	return db;
}

static int try_to(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static void *fails_to_insert(void *db)
{
	need(try_to(db, "INSERT INTO t VALUES(-1, hex(randomblob(5000)))") == SQLITE_FULL, "a full disk", db);
	return NULL;
}

static void begin_to_fail(sqlite3 *db, pthread_t *thread)
{
	fails_next = true;
	need(!pthread_create(thread, NULL, fails_to_insert, db), "thread", NULL);
	sem_wait(&has_come);
}

static void let_fail(pthread_t thread)
{
	sem_post(&may_go);
	pthread_join(thread, NULL);
}

static sqlite3_stmt *cursor(sqlite3 *db)
{
	sqlite3_stmt *s;

	need(!sqlite3_prepare_v2(db, "SELECT a FROM t ORDER BY rowid", -1, &s, NULL), "prepare", db);
	need(sqlite3_step(s) == SQLITE_ROW, "step", db);
	return s;
}

static int64_t rows_of(sqlite3 *db)
{
	return number(db, "SELECT count(*) FROM t");
}

static void has_rows(sqlite3 *db, int64_t rows)
{
	need(rows_of(db) == rows && !number(db, "SELECT count(*) FROM t WHERE a < 0") && is_whole(db),
	     "other rows than those that are durable", db);
}

/* It has read the schema: it would have to wait, if it did so while a commit waits. */
static sqlite3 *other(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	need(rows_of(db) == ROWS, "rows", db);
	return db;
}

static int reads_on(const char *volume)
{
	sqlite3 *db = db_new(volume), *reader = other(volume), *third = other(volume);
	pthread_t thread;
	sqlite3_stmt *s;
	int rc, rows = 1;

	begin_to_fail(db, &thread);
	s = cursor(reader); /* for the lock was given back */
	let_fail(thread);
	has_rows(third, ROWS);
	run(third, "INSERT INTO t VALUES(1000, '')");
	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		rows++;
	need(rc == SQLITE_FULL && rows < ROWS, "a cursor on what was undone", reader);
	sqlite3_finalize(s);
	has_rows(reader, ROWS + 1);
	run(db, "INSERT INTO t VALUES(1001, '')");
	has_rows(reader, ROWS + 2);
	sqlite3_close(db);
	sqlite3_close(third);
	sqlite3_close(reader);
	db = db_open(volume, "");
	has_rows(db, ROWS + 2);
	sqlite3_close(db);
	return 0;
}

static void a_cursor_on_what_was_undone_keeps_nobody_waiting(void **state)
{
	(void)state;
	in_process(reads_on, scratch("reader.vol"));
}

static int writes_on(const char *volume)
{
	sqlite3 *db = db_new(volume), *writer = other(volume), *third = other(volume);
	pthread_t thread;

	begin_to_fail(db, &thread);
	run(writer, "BEGIN; UPDATE t SET a = -2 WHERE rowid < 100");
	let_fail(thread);
	has_rows(third, ROWS);
	need(try_to(writer, "COMMIT") == SQLITE_FULL, "a transaction on what was undone", writer);
	need(try_to(writer, "ROLLBACK") == SQLITE_OK || sqlite3_get_autocommit(writer), "rollback", writer);
	has_rows(writer, ROWS);
	run(writer, "INSERT INTO t VALUES(1000, '')");
	has_rows(third, ROWS + 1);
	sqlite3_close(db);
	sqlite3_close(third);
	sqlite3_close(writer);
	return 0;
}

static void a_transaction_on_what_was_undone_fails_and_keeps_nobody_waiting(void **state)
{
	(void)state;
	in_process(writes_on, scratch("writer.vol"));
}

static int begins_to_write(const char *volume)
{
	sqlite3 *db = db_new(volume), *reader = other(volume);
	pthread_t thread;

	begin_to_fail(db, &thread);
	run(reader, "BEGIN");
	need(rows_of(reader) == ROWS + 1, "a reader", reader);
	let_fail(thread);
	need(try_to(reader, "INSERT INTO t VALUES(1000, '')") == SQLITE_FULL, "to write on what was undone", reader);
	try_to(reader, "ROLLBACK");
	has_rows(reader, ROWS);
	sqlite3_close(db);
	sqlite3_close(reader);
	return 0;
}

static void who_read_what_was_undone_does_not_write(void **state)
{
	(void)state;
	in_process(begins_to_write, scratch("upgrade.vol"));
}

static void goes_on(const char *volume, int out)
{
	sqlite3 *db = db_new(volume), *reader = other(volume), *third = other(volume);
	pthread_t thread;

	begin_to_fail(db, &thread);
	cursor(reader);
	let_fail(thread);
	run(third, "INSERT INTO t VALUES(1000, '')");
	word_say(out, '.');
	pause();
}

static int has_one_more(const char *volume)
{
	sqlite3 *db = db_open(volume, "");

	has_rows(db, ROWS + 1);
	sqlite3_close(db);
	return 0;
}

static void killed_after_that_it_has_what_was_acknowledged_since(void **state)
{
	const char *volume = scratch("killed.vol");

	(void)state;
	killed(goes_on, volume);
	in_process(has_one_more, volume);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_cursor_on_what_was_undone_keeps_nobody_waiting),
	        cmocka_unit_test(a_transaction_on_what_was_undone_fails_and_keeps_nobody_waiting),
	        cmocka_unit_test(who_read_what_was_undone_does_not_write),
	        cmocka_unit_test(killed_after_that_it_has_what_was_acknowledged_since),
	};

	sem_init(&has_come, 0, 0);
	sem_init(&may_go, 0, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
