/* table.c - see table.h. */
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char name[1024];
static const char *system_name, *level;

void table_choose(const char *system, const char *folder)
{
	system_name = system;
	level = strchr(system, '-');
	if (table_is_of("softpm"))
		snprintf(name, sizeof(name), "file:%s/db.vol?softpm=1", folder);
	else if (table_is_of("memory"))
		snprintf(name, sizeof(name), "file:bench?mode=memory&cache=shared");
	else
		snprintf(name, sizeof(name), "%s/db", folder);
}

bool table_is_of(const char *system)
{
	return !strncmp(system_name, system, strlen(system));
}

static void check(bool ok, sqlite3 *db, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(db));
	exit(1);
}

void table_run(sqlite3 *db, const char *sql)
{
	check(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, db, sql);
}

sqlite3 *table_open(void)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
	sqlite3 *db;
	char sql[100];

	check(sqlite3_open_v2(name, &db, flags, NULL) == SQLITE_OK, db, name);
	sqlite3_busy_timeout(db, 60000);
	if (table_is_of("wal"))
		table_run(db, "PRAGMA journal_mode = WAL");
	snprintf(sql, sizeof(sql), "PRAGMA synchronous = %s", level ? level + 1 : "FULL");
	table_run(db, sql);
	return db;
}

sqlite3_stmt *table_prepare(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;

	check(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) == SQLITE_OK, db, sql);
	return s;
}

void table_step(sqlite3 *db, sqlite3_stmt *s, uint64_t key, const char *text)
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

void table_text(char *text, uint64_t *seed)
{
	for (unsigned i = 0; i < TEXT_BYTES; i++)
		text[i] = (char)('a' + random_next(seed) % 26);
}

void table_fill(uint64_t rows)
{
	sqlite3 *db = table_open();
	uint64_t seed = 42;
	char text[TEXT_BYTES];
	sqlite3_stmt *insert;

	table_run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, text)");
	insert = table_prepare(db, "INSERT OR REPLACE INTO t VALUES(?1, ?2)");
	table_run(db, "BEGIN");
	for (uint64_t i = 0; i < rows; i++) {
		table_text(text, &seed);
		table_step(db, insert, 2 * i, text);
	}
	table_run(db, "COMMIT");
	sqlite3_finalize(insert);
	if (table_is_of("wal"))
		table_run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	if (!table_is_of("memory")) /* which is there as long as somebody has it open */
		sqlite3_close(db);
}

void changer_open(struct changer *c, uint64_t rows, uint64_t seed)
{
	sqlite3 *db = table_open();

	*c = (struct changer){.db = db,
	                      .change = table_prepare(db, "UPDATE t SET text = ?2 WHERE id = ?1"),
	                      .insert = table_prepare(db, "INSERT OR REPLACE INTO t VALUES(?1, ?2)"),
	                      .read = table_prepare(db, "SELECT text FROM t WHERE id = ?1"),
	                      .drop = table_prepare(db, "DELETE FROM t WHERE id = ?1"),
	                      .seed = seed,
	                      .rows = rows};
}

void changer_round(struct changer *c)
{
	uint64_t key = random_next(&c->seed) % (2 * c->rows);
	char text[TEXT_BYTES];

	table_text(text, &c->seed);
	table_step(c->db, c->change, key & ~UINT64_C(1), text);
	table_step(c->db, c->insert, key | 1, text);
	table_step(c->db, c->read, key, NULL);
	table_step(c->db, c->drop, key | 1, NULL);
}

void changer_close(struct changer *c)
{
	sqlite3_finalize(c->change);
	sqlite3_finalize(c->insert);
	sqlite3_finalize(c->read);
	sqlite3_finalize(c->drop);
	sqlite3_close(c->db);
}
