/* sqlite.c - SQLite, one prepared UPDATE a put, synchronous=FULL. Variants: wal, journal (rollback, DELETE). */
#include "store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static sqlite3 *db;
static sqlite3_stmt *update, *lookup;

static void run(const char *sql)
{
	need(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static void fill(void)
{
	run("begin");
	run("create table t(k integer primary key, v blob)");
	run("with recursive n(k) as (select 0 union all select k + 1 from n where k < 99999) "
	    "insert into t select k, zeroblob(100) from n");
	run("commit");
}

static void sqlite_open(const char *folder, const char *variant)
{
	const char *path = store_path(folder, "values.db");
	bool is_new = !store_exists(path);

	need(sqlite3_open(path, &db) == SQLITE_OK, "sqlite3_open");
	run(strcmp(variant, "journal") ? "pragma journal_mode=wal" : "pragma journal_mode=delete");
	run("pragma synchronous=full");
	run("pragma cache_size=-131072");
	if (is_new)
		fill();
	need(sqlite3_prepare_v2(db, "update t set v=? where k=?", -1, &update, NULL) == SQLITE_OK, "prepare");
	need(sqlite3_prepare_v2(db, "select v from t where k=?", -1, &lookup, NULL) == SQLITE_OK, "prepare");
}

static void sqlite_put(uint32_t key, const char value[VALUE_BYTES])
{
	sqlite3_bind_blob(update, 1, value, VALUE_BYTES, SQLITE_STATIC);
	sqlite3_bind_int64(update, 2, key);
	need(sqlite3_step(update) == SQLITE_DONE, "update");
	sqlite3_reset(update);
}

static void sqlite_get(uint32_t key, char value[VALUE_BYTES])
{
	sqlite3_bind_int64(lookup, 1, key);
	need(sqlite3_step(lookup) == SQLITE_ROW && sqlite3_column_bytes(lookup, 0) == VALUE_BYTES, "select");
	memcpy(value, sqlite3_column_blob(lookup, 0), VALUE_BYTES);
	sqlite3_reset(lookup);
}

static void sqlite_close(void)
{
	sqlite3_finalize(update);
	sqlite3_finalize(lookup);
	sqlite3_close(db);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv, &(struct store){sqlite_open, sqlite_put, sqlite_get, sqlite_close, false});
}
