/* table.h - the table that the programs of this folder fill and change, in whatever system they are told.
 *
 * A system is softpm, wal or journal (rollback, DELETE) with a level of synchronous (softpm-full, wal-normal, journal-off), or memory. All are
 * one build of SQLite. A row has an integer key and a text of 100 characters.
 */
#ifndef TABLE_H
#define TABLE_H

#include "measure.h"

#include <sqlite3.h>

enum { TEXT_BYTES = 100 };

/* Which system, and the folder that its file lies in; before all others. */
void table_choose(const char *system, const char *folder);
bool table_is_of(const char *system); /* whatever the level */

/* Failures end the program with a sentence. */
sqlite3 *table_open(void);
void table_run(sqlite3 *db, const char *sql);
sqlite3_stmt *table_prepare(sqlite3 *db, const char *sql);
/* Binds the key and, unless it is NULL, the text, steps to the end, resets. */
void table_step(sqlite3 *db, sqlite3_stmt *s, uint64_t key, const char *text);
void table_text(char *text, uint64_t *seed);
/* Makes it, with keys 0, 2, 4, ... */
void table_fill(uint64_t rows);

/* What changes it. One round of it is three transactions: an update, an insert and, after a read, a delete, at random keys. */
struct changer {
	sqlite3 *db;
	sqlite3_stmt *change, *insert, *read, *drop;
	uint64_t seed, rows;
};
void changer_open(struct changer *c, uint64_t rows, uint64_t seed);
void changer_round(struct changer *c);
void changer_close(struct changer *c);

#endif
