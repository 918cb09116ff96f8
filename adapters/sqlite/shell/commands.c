/* commands.c - see commands.h.
 *
 * All but the diff are one statement each. The diff attaches the version, or both, beside what is open, and compares tables of the same
 * name by EXCEPT, both ways, in the columns that both have; the first such table is the schema.
 */
#include "commands.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct session {
	sqlite3 *db;
	int (*run)(struct ShellState *shell, const char *sql, char **why);
	struct ShellState *shell;
};

static int fail(const char *why)
{
	fprintf(stderr, "Error: %s\n", why);
	return 1;
}

/* The statement is printed as the shell prints what comes of it, or only run; and freed. */
static int sql_run(const struct session *s, char *sql, bool is_shown)
{
	char *why = NULL;
	int rc = SQLITE_NOMEM;

	if (sql)
		rc = is_shown ? s->run(s->shell, sql, &why) : sqlite3_exec(s->db, sql, NULL, NULL, &why);
	sqlite3_free(sql);
	if (rc)
		fail(why ? why : sqlite3_errstr(rc));
	sqlite3_free(why);
	return rc ? 1 : 0;
}

/* ---- diff ---- */

/* Any bytes as a part of a file: URI. To be freed; NULL: no memory. */
static char *escaped(const char *text)
{
	sqlite3_str *out = sqlite3_str_new(NULL);

	for (; *text; text++)
		if (strchr("/._-~@:", *text) || sqlite3_strglob("[a-zA-Z0-9]", (char[]){*text, 0}) == 0)
			sqlite3_str_appendchar(out, 1, *text);
		else
			sqlite3_str_appendf(out, "%%%02x", (unsigned char)*text);
	return sqlite3_str_finish(out);
}

static int version_attach(const struct session *s, const char *ref, const char *as)
{
	const char *path = sqlite3_db_filename(s->db, "main");
	char *where = escaped(path), *which = escaped(ref), *sql = NULL;

	if (where && which)
		sql = sqlite3_mprintf("ATTACH 'file:%q?softpm=%lld&at=%q' AS %s", where,
		                      sqlite3_uri_int64(path, "softpm", 1), which, as);
	sqlite3_free(where);
	sqlite3_free(which);
	return sql_run(s, sql, false);
}

/* Rows: a table that both schemas have, and its columns that both have. The schema's rootpage says where, not what. */
static const char shared_tables[] =
        "WITH shared(name) AS (SELECT name FROM pragma_table_list WHERE schema = ?1 AND type = 'table'"
        " INTERSECT SELECT name FROM pragma_table_list WHERE schema = ?2 AND type = 'table') "
        "SELECT name, (SELECT group_concat(format('\"%w\"', one.name), ', ') FROM pragma_table_info(shared.name, ?1) "
        "AS one"
        " JOIN pragma_table_info(shared.name, ?2) AS two USING (name)"
        " WHERE shared.name <> 'sqlite_schema' OR one.name <> 'rootpage') AS columns "
        "FROM shared WHERE columns NOT NULL ORDER BY name <> 'sqlite_schema', name";

static int table_diff(const struct session *s, const char *table, const char *columns, const char *first,
                      const char *second)
{
	return sql_run(
	        s,
	        sqlite3_mprintf("SELECT %Q AS \"table\", '-' AS change, * FROM (SELECT %s FROM %s.\"%w\" EXCEPT"
	                        " SELECT %s FROM %s.\"%w\") UNION ALL "
	                        "SELECT %Q, '+', * FROM (SELECT %s FROM %s.\"%w\" EXCEPT SELECT %s FROM %s.\"%w\")"
	                        " ORDER BY 3, 2 DESC",
	                        table, columns, first, table, columns, second, table, table, columns, second, table,
	                        columns, first, table),
	        true);
}

static int tables_diff(const struct session *s, const char *first, const char *second)
{
	sqlite3_stmt *tables;
	int failed = 0, rc = sqlite3_prepare_v2(s->db, shared_tables, -1, &tables, NULL);

	if (rc)
		return fail(sqlite3_errmsg(s->db));
	sqlite3_bind_text(tables, 1, first, -1, SQLITE_STATIC);
	sqlite3_bind_text(tables, 2, second, -1, SQLITE_STATIC);
	while (!failed && (rc = sqlite3_step(tables)) == SQLITE_ROW)
		failed = table_diff(s, (const char *)sqlite3_column_text(tables, 0),
		                    (const char *)sqlite3_column_text(tables, 1), first, second);
	sqlite3_finalize(tables);
	return failed || rc == SQLITE_DONE ? failed : fail(sqlite3_errmsg(s->db));
}

static int second_diff(const struct session *s, const char *ref)
{
	int failed;

	if (!ref)
		return tables_diff(s, "softpm_first", "main");
	failed = version_attach(s, ref, "softpm_second");
	if (failed)
		return failed;
	failed = tables_diff(s, "softpm_first", "softpm_second");
	return sql_run(s, sqlite3_mprintf("DETACH softpm_second"), false) || failed;
}

static int diff(const struct session *s, char **args)
{
	int failed = sql_run(s, sqlite3_mprintf("SELECT 1 FROM softpm_branches"), false);

	if (failed)
		return failed;
	if (!sqlite3_get_autocommit(s->db))
		return fail("there is a transaction: end it first");
	failed = version_attach(s, args[0], "softpm_first");
	if (failed)
		return failed;
	failed = second_diff(s, args[1]);
	return sql_run(s, sqlite3_mprintf("DETACH softpm_first"), false) || failed;
}

/* ---- commands ---- */

static const struct command {
	const char *name;
	int least, most; /* words that follow */
	bool is_shown;
	const char *sql; /* with these, or NULL, for %Q; NULL: diff */
} commands[] = {
        {"log", 0, 1, true,
         "SELECT version, time, branch, coalesce((SELECT group_concat(name, ' ') FROM softpm_tags"
         " WHERE version = l.version), '') AS tags, pages, stored_bytes FROM softpm_log(%Q) AS l"},
        {"branches", 0, 0, true,
         "SELECT iif(is_current, '*', '') AS present, name, newest, time, parent, origin FROM softpm_branches"},
        {"tags", 0, 0, true, "SELECT name, version, time FROM softpm_tags"},
        {"tag", 1, 2, false, "SELECT softpm_tag(%Q, %Q)"},
        {"branch", 1, 2, false, "SELECT softpm_branch(%Q, %Q)"},
        {"switch", 1, 1, false, "SELECT softpm_switch(%Q)"},
        {"diff", 1, 2, true, NULL},
};

int spm_shell_command(sqlite3 *db, char **args, int (*run)(struct ShellState *shell, const char *sql, char **why),
                      struct ShellState *shell)
{
	struct session s = {db, run, shell};
	int words = 0;

	while (args[words])
		words++;
	for (const struct command *c = commands; c < commands + sizeof(commands) / sizeof(*commands); c++) {
		if (!words || strcmp(args[0], c->name) || words - 1 < c->least || words - 1 > c->most)
			continue;
		return c->sql ? sql_run(&s, sqlite3_mprintf(c->sql, args[1], words > 2 ? args[2] : NULL), c->is_shown)
		              : diff(&s, args + 1);
	}
	return fail("usage: see .help softpm");
}
