/* sqlite.c - SQLite, WAL, synchronous=FULL, a value a page. A version or branch is made by VACUUM INTO, which does not flush the copy:
 * that is done here. A branch is a database like any other. */
#include "system.h"

#include <sqlite3.h>
#include <stdio.h>

static sqlite3 *db;
static sqlite3_stmt *update;
static bool is_changing; /* a transaction is open */

static void run_in(sqlite3 *in, const char *sql)
{
	if (sqlite3_exec(in, sql, NULL, NULL, NULL) == SQLITE_OK)
		return;
	fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(in));
	need(false, "SQLite");
}

static void value_put(sqlite3_stmt *s, uint64_t key)
{
	uint64_t value[VALUE_BYTES / 8];

	fill(value, sizeof(value));
	sqlite3_bind_blob(s, 1, value, VALUE_BYTES, SQLITE_STATIC);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)key);
	need(sqlite3_step(s) == SQLITE_DONE, "sqlite3_step");
	sqlite3_reset(s);
}

static sqlite3_stmt *prepare(sqlite3 *in, const char *sql)
{
	sqlite3_stmt *s;

	need(sqlite3_prepare_v2(in, sql, -1, &s, NULL) == SQLITE_OK, sql);
	return s;
}

static void sqlite_make(const char *variant)
{
	sqlite3_stmt *insert;

	(void)variant;
	need(sqlite3_open(path_of("state"), &db) == SQLITE_OK, "sqlite3_open");
	run_in(db, "pragma journal_mode=off");
	run_in(db, "pragma synchronous=off");
	run_in(db, "create table t(k integer primary key, v blob)");
	run_in(db, "begin");
	insert = prepare(db, "insert into t(v, k) values(?, ?)");
	for (uint64_t key = 0; key < system_pages; key++)
		value_put(insert, key);
	sqlite3_finalize(insert);
	run_in(db, "commit");
	run_in(db, "pragma journal_mode=wal");
	run_in(db, "pragma synchronous=full");
	run_in(db, "pragma cache_size=-131072");
	update = prepare(db, "update t set v=? where k=?");
}

static void sqlite_change(uint64_t page)
{
	if (!is_changing)
		run_in(db, "begin");
	is_changing = true;
	value_put(update, page);
}

static bool sqlite_keep(enum kind kind, unsigned n)
{
	char sql[5000];

	if (is_changing)
		run_in(db, "commit");
	is_changing = false;
	snprintf(sql, sizeof(sql), "vacuum into '%s'", path_of_kept(kind, n));
	run_in(db, sql);
	copy_settle(kind, n);
	return true;
}

static sqlite3 *kept;

static void sqlite_branch_change(unsigned n)
{
	sqlite3_stmt *s;

	need(sqlite3_open(path_of_kept(BRANCH, n), &kept) == SQLITE_OK, "sqlite3_open");
	run_in(kept, "pragma synchronous=full");
	s = prepare(kept, "update t set v=? where k=?");
	value_put(s, system_pages / 2);
	sqlite3_finalize(s);
}

static void sqlite_look(unsigned n)
{
	sqlite3_stmt *s;

	need(sqlite3_open(path_of_kept(VERSION, n), &kept) == SQLITE_OK, "sqlite3_open");
	s = prepare(kept, "select v from t where k=?");
	sqlite3_bind_int64(s, 1, (sqlite3_int64)(system_pages / 2));
	need(sqlite3_step(s) == SQLITE_ROW && sqlite3_column_bytes(s, 0) == VALUE_BYTES, "select");
	sqlite3_finalize(s);
}

static void sqlite_tidy(void)
{
	sqlite3_close(kept);
	kept = NULL;
}

int main(int argc, char **argv)
{
	return system_main(argc, argv,
	                   &(struct system){sqlite_make, sqlite_change, sqlite_keep, sqlite_branch_change, sqlite_look,
	                                    sqlite_tidy, NULL});
}
