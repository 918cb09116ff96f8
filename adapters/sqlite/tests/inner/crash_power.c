/* crash_power.c - the power goes at any instant of a load of SQL, and the database is as some transaction left it, not before the last
 * one that was acknowledged as durable.
 *
 * The load runs on the power-cut simulator (tests/support/sim_driver.h), which takes the place of the volume's file: numbered transactions
 * of inserts, updates and deletes, with overflow pages, indexes made and dropped, some rolled back, most with synchronous = FULL, some
 * with NORMAL or OFF; a small cache, so that some write pages before they end; tags, and VACUUM, between them. The ledger has the
 * sum of the database's content behind each. What the log's mark says of an operation: the last transaction that was durable when it
 * began, and the last one that had begun. From the record many states of the disk are built; in each SQLite must find the database whole,
 * with the content behind a transaction from the one to the other: none that was acknowledged with FULL is missing, none is there in part
 * or without those before it. On a sample it goes on from there: one more transaction, closed, opened again.
 *
 * $SOFTPM_CRASH_STATES: how many states, 500.
 */
#include "adapter.h"
#include "db.h"
#include "sim_driver.h"

#include <xxhash.h>

enum { TRANSACTIONS = 250 };

static struct sim_log sim_log;
static uint64_t ledger[TRANSACTIONS + 1];
static struct driver *disk_for_next; /* volume that is opened */

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wreserved-identifier"
#endif

int __wrap_spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why);
int __wrap_spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why)
{
	(void)path, (void)flags, (void)why;
	*out = disk_for_next;
	disk_for_next = NULL;
	return 0;
}

static uint64_t mark_of(uint64_t durable, uint64_t begun)
{
	return durable | begun << 32;
}

/* ---- content ---- */

static uint64_t rows_fold(sqlite3 *db, const char *sql, uint64_t sum)
{
	sqlite3_stmt *q;

	need(sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK, sql, db);
	while (sqlite3_step(q) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(q); i++) {
			const void *text = sqlite3_column_blob(q, i);

			sum = XXH3_64bits_withSeed(text, (size_t)sqlite3_column_bytes(q, i), sum + 1);
		}
	need(sqlite3_finalize(q) == SQLITE_OK, sql, db);
	return sum;
}

static bool has_table(sqlite3 *db)
{
	return number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 't'");
}

static uint64_t content(sqlite3 *db)
{
	uint64_t sum = rows_fold(db, "SELECT type, name, sql FROM sqlite_schema ORDER BY name", 0);

	return has_table(db) ? rows_fold(db, "SELECT * FROM t ORDER BY id", sum) : sum;
}

/* ---- the load ---- */

struct load {
	sqlite3 *db;
	uint64_t random, durable, done;
	const char *level; /* of synchronous */
};

static uint64_t roll(struct load *l, uint64_t n)
{
	return test_random(&l->random) % n;
}

static void change(struct load *l)
{
	char sql[300];
	unsigned id = (unsigned)roll(l, 400), bytes = (unsigned)(roll(l, 12) ? roll(l, 300) : roll(l, 20000));

	switch (roll(l, 6)) {
	case 0:
		snprintf(sql, sizeof(sql), "DELETE FROM t WHERE id %% 50 = %u", id % 50);
		break;
	case 1:
		snprintf(sql, sizeof(sql), "UPDATE t SET n = n + 1 WHERE id BETWEEN %u AND %u", id, id + 20);
		break;
	default:
		snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO t VALUES(%u, %u, hex(randomblob(%u)))", id,
		         (unsigned)roll(l, 1000), bytes);
	}
	run(l->db, sql);
}

static void change_schema(struct load *l)
{
	bool is_there = number(l->db, "SELECT count(*) FROM sqlite_schema WHERE name = 'i'");

	run(l->db, is_there ? "DROP INDEX i" : "CREATE INDEX i ON t(n, text)");
}

static void changes(struct load *l)
{
	for (uint64_t n = 1 + roll(l, roll(l, 8) ? 4 : 60); n; n--)
		change(l);
	if (!roll(l, 20))
		change_schema(l);
}

static void rolled_back(struct load *l)
{
	run(l->db, "BEGIN");
	changes(l);
	run(l->db, "ROLLBACK");
}

static void level_choose(struct load *l)
{
	static const char *const levels[] = {"FULL", "FULL", "FULL", "FULL", "FULL", "FULL", "NORMAL", "NORMAL", "OFF"};
	char sql[50];

	l->level = levels[roll(l, sizeof(levels) / sizeof(*levels))];
	snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s", l->level);
	run(l->db, sql);
}

static bool is_full(const struct load *l)
{
	return !strcmp(l->level, "FULL");
}

/* The ledger is written before the commit: from then on it may be on the disk. */
static void transaction(struct load *l)
{
	char sql[50];

	run(l->db, "BEGIN");
	changes(l);
	l->done++;
	snprintf(sql, sizeof(sql), "REPLACE INTO t VALUES(-1, %llu, '')", (unsigned long long)l->done);
	run(l->db, sql);
	ledger[l->done] = content(l->db);
	sim_log.mark = mark_of(l->durable, l->done);
	run(l->db, "COMMIT");
	if (is_full(l))
		l->durable = l->done;
	sim_log.mark = mark_of(l->durable, l->done);
}

static void between(struct load *l)
{
	char sql[50];

	if (!roll(l, 10))
		level_choose(l);
	if (!roll(l, 10))
		rolled_back(l);
	if (!roll(l, 60))
		run(l->db, "VACUUM");
	if (!roll(l, 40)) {
		snprintf(sql, sizeof(sql), "SELECT softpm_tag('v%llu')", (unsigned long long)l->done);
		run(l->db, sql);
	}
}

static uint64_t load(uint64_t seed)
{
	struct load l = {.random = seed};
	sqlite3 *beside =
	        NULL; /* for whose sake locks are given back before what ended is durable: in the second half */

	disk_for_next = sim_record(&sim_log);
	l.db = db_open("sim", "");
	ledger[0] = content(l.db);
	run(l.db, "PRAGMA page_size = 1024; PRAGMA cache_size = 20");
	level_choose(&l);
	sim_log.mark = mark_of(0, 1);
	run(l.db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n, text)");
	ledger[1] = content(l.db);
	for (l.done = 1; l.done < TRANSACTIONS;) {
		between(&l);
		transaction(&l);
		if (!beside && l.done > TRANSACTIONS / 2)
			beside = db_open("sim", "");
	}
	need(sqlite3_close(beside) == SQLITE_OK, "close", beside);
	need(sqlite3_close(l.db) == SQLITE_OK, "close", l.db);
	sim_log.mark = mark_of(l.done, l.done);
	return l.random;
}

/* ---- states ---- */

static sqlite3 *state_open(unsigned char *bytes, uint64_t size)
{
	disk_for_next = sim_state_driver(bytes, size);
	return db_open("sim", "");
}

/* It may have grown by now. */
static void go_on(unsigned char *bytes)
{
	sqlite3 *db = state_open(bytes, SIM_BYTES_MOST);
	uint64_t before;

	run(db, "CREATE TABLE IF NOT EXISTS more(text); BEGIN; INSERT INTO more VALUES(hex(randomblob(5000)));"
	        "CREATE INDEX more_i ON more(text); COMMIT");
	before = content(db);
	need(sqlite3_close(db) == SQLITE_OK, "close", db);
	db = state_open(bytes, SIM_BYTES_MOST);
	need(is_whole(db) && content(db) == before, "gone on, and opened again", db);
	sqlite3_close(db);
}

static void state_check(unsigned char *bytes, uint64_t size, uint64_t mark, bool goes_on)
{
	uint64_t durable = mark & 0xffffffff, begun = mark >> 32, found;
	sqlite3 *db;

	memset(bytes + size, 0, SIM_BYTES_MOST - size); /* another state was there */
	db = state_open(bytes, size);
	if (!is_whole(db))
		fail_msg("integrity_check");
	found = !has_table(db) ? 0 : (uint64_t)number(db, "SELECT ifnull(max(n), 1) FROM t WHERE id = -1");
	if (found < durable || found > begun)
		fail_msg("transaction %llu was acknowledged, %llu begun, %llu is back", (unsigned long long)durable,
		         (unsigned long long)begun, (unsigned long long)found);
	if (content(db) != ledger[found])
		fail_msg("not what transaction %llu left", (unsigned long long)found);
	sqlite3_close(db);
	if (goes_on)
		go_on(bytes);
}

static void crash_check(const struct sim_crash *crash, void *arg)
{
	(void)arg;
	state_check(crash->state, crash->size, crash->mark, crash->number % 16 == 0);
}

static void every_power_cut_leaves_whole_transactions(void **state)
{
	uint64_t random = load(test_seed());

	(void)state;
	sim_each_crash(&sim_log, test_number("SOFTPM_CRASH_STATES", 500), random, crash_check, NULL);
}

static void log_print(void *arg, int code, const char *what)
{
	(void)arg;
	fprintf(stderr, "SQLite %d: %s\n", code, what);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_power_cut_leaves_whole_transactions)};

	sqlite3_config(SQLITE_CONFIG_LOG, log_print, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
