/* sqlite.c - SQLite, prepared statements, synchronous=FULL; lazily: OFF. Variants: wal, journal (rollback, DELETE). */
#include "store.h"

#include <sqlite3.h>
#include <string.h>

static sqlite3 *db;
static sqlite3_stmt *insert, *lookup, *range, *begin, *commit;
static bool is_open; /* a transaction */
static bool is_lazy;

static void run(const char *sql)
{
	need(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static sqlite3_stmt *prepared(const char *sql)
{
	sqlite3_stmt *statement;

	need(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, sql);
	return statement;
}

static void step(sqlite3_stmt *statement, const char *what)
{
	need(sqlite3_step(statement) == SQLITE_DONE, what);
	sqlite3_reset(statement);
}

static void sqlite_open(const char *folder, const char *variant, bool lazy)
{
	is_lazy = lazy;
	need(sqlite3_open(store_path(folder, "values.db"), &db) == SQLITE_OK, "sqlite3_open");
	run(strcmp(variant, "journal") ? "pragma journal_mode=wal" : "pragma journal_mode=delete");
	run(is_lazy ? "pragma synchronous=off" : "pragma synchronous=full");
	run("pragma cache_size=-1048576");
	run("create table if not exists t(k integer primary key, v blob)");
	insert = prepared("insert into t values(?2, ?1) on conflict(k) do update set v=?1");
	lookup = prepared("select v from t where k=?");
	range = prepared("select v from t where k>=? order by k limit ?");
	begin = prepared("begin immediate");
	commit = prepared("commit");
}

static void sqlite_put(uint64_t key, const char value[VALUE_BYTES])
{
	if (!is_open)
		step(begin, "begin");
	is_open = true;
	sqlite3_bind_blob(insert, 1, value, VALUE_BYTES, SQLITE_STATIC);
	sqlite3_bind_int64(insert, 2, (sqlite3_int64)key);
	step(insert, "insert");
}

static void sqlite_commit(void)
{
	if (is_open)
		step(commit, "commit");
	is_open = false;
}

static void sqlite_sync(void)
{
	run("pragma synchronous=full");
	run("pragma wal_checkpoint(full)"); /* flushes both files */
	if (is_lazy)
		run("pragma synchronous=off");
}

static void sqlite_get(uint64_t key, char value[VALUE_BYTES])
{
	sqlite3_bind_int64(lookup, 1, (sqlite3_int64)key);
	need(sqlite3_step(lookup) == SQLITE_ROW && sqlite3_column_bytes(lookup, 0) == VALUE_BYTES, "select");
	memcpy(value, sqlite3_column_blob(lookup, 0), VALUE_BYTES);
	sqlite3_reset(lookup);
}

static unsigned sqlite_scan(uint64_t key, unsigned n, void (*see)(const char value[VALUE_BYTES]))
{
	unsigned seen = 0;

	sqlite3_bind_int64(range, 1, (sqlite3_int64)key);
	sqlite3_bind_int64(range, 2, n);
	for (; sqlite3_step(range) == SQLITE_ROW; seen++)
		see(sqlite3_column_blob(range, 0));
	sqlite3_reset(range);
	return seen;
}

static void sqlite_close(void)
{
	sqlite3_stmt *const all[] = {insert, lookup, range, begin, commit};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		sqlite3_finalize(all[i]);
	sqlite3_close(db);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){sqlite_open, sqlite_put, sqlite_commit, sqlite_sync, sqlite_get, sqlite_scan,
	                                  sqlite_close, .is_threaded = false});
}
