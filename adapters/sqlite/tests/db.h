/* db.h - what the tests of SQLite on SoftPM share: statements that must succeed, and parts that run in processes of their own. */
#ifndef TEST_DB_H
#define TEST_DB_H

#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "process.h"
#include "scratch.h"

static inline void need(bool is_true, const char *what, sqlite3 *db)
{
	if (is_true)
		return;
	fprintf(stderr, "%s: %s\n", what, db ? sqlite3_errmsg(db) : "");
	abort();
}

/* Of the volume at `path`, a container's database, with what else stands in the name ("&at=1"). */
static inline int db_try(const char *path, const char *more, sqlite3 **db)
{
	char name[512];

	snprintf(name, sizeof(name), "file:%s?softpm=1%s", path, more);
	return sqlite3_open_v2(name, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
}

static inline sqlite3 *db_open(const char *path, const char *more)
{
	sqlite3 *db;

	need(db_try(path, more, &db) == SQLITE_OK, "open", db);
	return db;
}

static inline void run(sqlite3 *db, const char *sql)
{
	need(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql, db);
}

/* What SQLite reads and writes. */
static inline sqlite3_file *db_file(sqlite3 *db)
{
	sqlite3_file *f = NULL;

	need(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f) == SQLITE_OK && f, "file", db);
	return f;
}

/* The first column of the first row. */
static inline int64_t number(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *q;
	int64_t n;

	need(sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK, sql, db);
	need(sqlite3_step(q) == SQLITE_ROW, sql, db);
	n = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	return n;
}

static inline bool is_whole(sqlite3 *db)
{
	return number(db, "SELECT integrity_check='ok' FROM pragma_integrity_check");
}

/* A process that runs fn(volume) until it is killed, and can say things through *in. */
static inline pid_t victim(void (*fn)(const char *volume, int out), const char *volume, int *in)
{
	int ends[2];
	pid_t child;

	need(!pipe(ends), "pipe", NULL);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ends[0]);
		fn(volume, ends[1]);
		_exit(0);
	}
	close(ends[1]);
	*in = ends[0];
	return child;
}

static inline void kill_9(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static inline void word_say(int out, char word)
{
	need(write(out, &word, 1) == 1, "pipe", NULL);
}

static inline void word_hear(int in)
{
	char word;

	need(read(in, &word, 1) == 1, "the other process said nothing", NULL);
}

/* Runs fn in a process until it says a word, and kills it. */
static inline void killed(void (*fn)(const char *volume, int out), const char *volume)
{
	int in;
	pid_t child = victim(fn, volume, &in);

	word_hear(in);
	kill_9(child);
	close(in);
}

#endif
