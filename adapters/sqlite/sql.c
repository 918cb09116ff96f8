/* sql.c - versions, branches and tags in SQL.
 *
 *   softpm_log(REF, SCHEMA)      rows: version, parent, time, branch, message, pages, stored_bytes; newest first, from REF on
 *   softpm_branches              rows: name, parent, origin, newest, time, is_current
 *   softpm_tags                  rows: name, version, time
 *   softpm_tag(NAME, REF)        names a version; the newest one, without REF
 *   softpm_branch(NAME, REF)     a new branch that begins with it
 *   softpm_switch(REF)           the database goes on from there
 *
 * All but the names may be left out. The tables tell of `main`, or of the database in their hidden column `schema`; functions are for `main`. Every
 * connection has them, because a database on SoftPM may be attached to any.
 *
 * The state can be switched only while this connection has the database alone: others have schemas and statements that would not fit.
 */
#include "adapter.h"

#include <softpm.h>
#include <string.h>
#include <time.h>

static struct store *store_of(sqlite3 *db, const char *schema)
{
	sqlite3_file *f = NULL;

	if (sqlite3_file_control(db, schema, SQLITE_FCNTL_FILE_POINTER, &f) || !f || !spm_sqlite_has(f))
		return NULL;
	return ((struct file *)(void *)f)->store;
}

/* ---- tables ---- */

enum { CELLS = 7 };

struct cell {
	char *text; /* NULL: the number */
	int64_t number;
};

struct cursor {
	sqlite3_vtab_cursor base;
	struct cell (*row)[CELLS];
	size_t rows, room, at;
	bool has_no_memory;
};

/* A table's rows are all made when it is asked. */
struct kind {
	const char *name, *columns;
	int cells; /* columns; behind them two hidden ones, schema and ref */
	int (*fill)(struct cursor *c, int magic, const char *ref);
};

struct table {
	sqlite3_vtab base;
	sqlite3 *db;
	const struct kind *kind;
};

static struct cell *row_add(struct cursor *c)
{
	void *more;

	if (c->rows == c->room) {
		more = sqlite3_realloc64(c->row, (c->room * 2 + 8) * sizeof(*c->row));
		if (!more) {
			c->has_no_memory = true;
			return NULL;
		}
		c->row = more;
		c->room = c->room * 2 + 8;
	}
	memset(c->row[c->rows], 0, sizeof(*c->row));
	return c->row[c->rows++];
}

static void set_text(struct cursor *c, struct cell *cell, const char *text)
{
	cell->text = sqlite3_mprintf("%s", text ? text : "");
	c->has_no_memory |= !cell->text;
}

/* As SQLite's own functions write times: UTC, with milliseconds. */
static void set_time(struct cursor *c, struct cell *cell, int64_t ns)
{
	time_t seconds = (time_t)(ns / 1000000000);
	char day[32] = "", whole[48];
	struct tm tm;

	if (gmtime_r(&seconds, &tm))
		strftime(day, sizeof(day), "%Y-%m-%d %H:%M:%S", &tm);
	sqlite3_snprintf(sizeof(whole), whole, "%s.%03d", day, (int)(ns / 1000000 % 1000));
	set_text(c, cell, whole);
}

static int version_add(const struct pversion *v, void *arg)
{
	struct cursor *c = arg;
	struct cell *cell = row_add(c);

	if (!cell)
		return 1;
	cell[0].number = v->version;
	cell[1].number = v->parent;
	set_time(c, &cell[2], v->time_ns);
	set_text(c, &cell[3], v->branch);
	set_text(c, &cell[4], v->message);
	cell[5].number = (int64_t)v->pages;
	cell[6].number = (int64_t)v->stored_bytes;
	return 0;
}

static int log_fill(struct cursor *c, int magic, const char *ref)
{
	return pVersions(magic, ref, version_add, c);
}

static int branch_add(const struct pbranch *b, void *arg)
{
	struct cursor *c = arg;
	struct cell *cell = row_add(c);

	if (!cell)
		return 1;
	set_text(c, &cell[0], b->name);
	set_text(c, &cell[1], b->parent);
	cell[2].number = b->origin;
	cell[3].number = b->newest;
	set_time(c, &cell[4], b->time_ns);
	cell[5].number = b->is_current;
	return 0;
}

static int branches_fill(struct cursor *c, int magic, const char *ref)
{
	(void)ref;
	return pBranches(magic, branch_add, c);
}

static int tag_add(const struct ptag *t, void *arg)
{
	struct cursor *c = arg;
	struct cell *cell = row_add(c);

	if (!cell)
		return 1;
	set_text(c, &cell[0], t->name);
	cell[1].number = t->version;
	set_time(c, &cell[2], t->time_ns);
	return 0;
}

static int tags_fill(struct cursor *c, int magic, const char *ref)
{
	(void)ref;
	return pTags(magic, tag_add, c);
}

static const struct kind kinds[] = {
        {"softpm_log", "version, parent, time, branch, message, pages, stored_bytes", 7, log_fill},
        {"softpm_branches", "name, parent, origin, newest, time, is_current", 6, branches_fill},
        {"softpm_tags", "name, version, time", 3, tags_fill},
};

static int table_connect(sqlite3 *db, void *kind, int argc, const char *const *argv, sqlite3_vtab **out, char **why)
{
	const struct kind *k = kind;
	struct table *t;
	char *sql = sqlite3_mprintf("CREATE TABLE x(%s, ref HIDDEN, schema HIDDEN)", k->columns);
	int rc = sql ? sqlite3_declare_vtab(db, sql) : SQLITE_NOMEM;

	(void)argc, (void)argv, (void)why;
	sqlite3_free(sql);
	if (rc)
		return rc;
	t = sqlite3_malloc(sizeof(*t));
	if (!t)
		return SQLITE_NOMEM;
	*t = (struct table){.db = db, .kind = k};
	*out = &t->base;
	return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *t)
{
	sqlite3_free(t);
	return SQLITE_OK;
}

/* idxNum tells which of the hidden columns are given, in this order: 1 ref, 2 schema. */
static int table_best_index(sqlite3_vtab *base, sqlite3_index_info *info)
{
	const struct table *t = (const struct table *)(void *)base;

	info->idxNum = 0;
	for (int hidden = 0; hidden < 2; hidden++)
		for (int i = 0; i < info->nConstraint; i++) {
			if (info->aConstraint[i].iColumn != t->kind->cells + hidden ||
			    info->aConstraint[i].op != SQLITE_INDEX_CONSTRAINT_EQ)
				continue;
			if (!info->aConstraint[i].usable)
				return SQLITE_CONSTRAINT;
			if (info->idxNum & (1 << hidden))
				continue;
			info->aConstraintUsage[i].argvIndex = info->idxNum ? 2 : 1;
			info->aConstraintUsage[i].omit = 1;
			info->idxNum |= 1 << hidden;
		}
	info->estimatedCost = 1000;
	return SQLITE_OK;
}

static int cursor_open(sqlite3_vtab *t, sqlite3_vtab_cursor **out)
{
	struct cursor *c = sqlite3_malloc(sizeof(*c));

	(void)t;
	if (!c)
		return SQLITE_NOMEM;
	memset(c, 0, sizeof(*c));
	*out = &c->base;
	return SQLITE_OK;
}

static void cursor_clear(struct cursor *c)
{
	for (size_t i = 0; i < c->rows; i++)
		for (unsigned k = 0; k < CELLS; k++)
			sqlite3_free(c->row[i][k].text);
	sqlite3_free(c->row);
	c->row = NULL;
	c->rows = c->room = c->at = 0;
	c->has_no_memory = false;
}

static int cursor_close(sqlite3_vtab_cursor *c)
{
	cursor_clear((struct cursor *)(void *)c);
	sqlite3_free(c);
	return SQLITE_OK;
}

static int table_fail(struct table *t, const char *why)
{
	sqlite3_free(t->base.zErrMsg);
	t->base.zErrMsg = sqlite3_mprintf("%s", why);
	return SQLITE_ERROR;
}

static int cursor_filter(sqlite3_vtab_cursor *base, int given, const char *unused, int argc, sqlite3_value **argv)
{
	struct cursor *c = (struct cursor *)(void *)base;
	struct table *t = (struct table *)(void *)base->pVtab;
	const char *ref = given & 1 ? (const char *)sqlite3_value_text(argv[0]) : NULL;
	const char *schema = given & 2 ? (const char *)sqlite3_value_text(argv[argc - 1]) : NULL;
	struct store *s = store_of(t->db, schema ? schema : "main");

	(void)unused;
	cursor_clear(c);
	if (!s)
		return table_fail(t, "no such database on SoftPM");
	if (t->kind->fill(c, s->magic, ref) < 0)
		return table_fail(t, pErrorMsg());
	return c->has_no_memory ? SQLITE_NOMEM : SQLITE_OK;
}

static int cursor_next(sqlite3_vtab_cursor *c)
{
	((struct cursor *)(void *)c)->at++;
	return SQLITE_OK;
}

static int cursor_eof(sqlite3_vtab_cursor *base)
{
	const struct cursor *c = (const struct cursor *)(void *)base;

	return c->at >= c->rows;
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *out, int i)
{
	const struct cursor *c = (const struct cursor *)(void *)base;
	const struct cell *cell = &c->row[c->at][i < CELLS ? i : 0];

	if (i >= ((struct table *)(void *)base->pVtab)->kind->cells)
		return SQLITE_OK; /* hidden: NULL */
	if (cell->text)
		sqlite3_result_text(out, cell->text, -1, SQLITE_TRANSIENT);
	else
		sqlite3_result_int64(out, cell->number);
	return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *c, sqlite3_int64 *out)
{
	*out = (sqlite3_int64)((struct cursor *)(void *)c)->at;
	return SQLITE_OK;
}

/* No xCreate: the tables are there without being made. */
static const sqlite3_module module = {
        .xConnect = table_connect,
        .xBestIndex = table_best_index,
        .xDisconnect = table_disconnect,
        .xOpen = cursor_open,
        .xClose = cursor_close,
        .xFilter = cursor_filter,
        .xNext = cursor_next,
        .xEof = cursor_eof,
        .xColumn = cursor_column,
        .xRowid = cursor_rowid,
};

/* ---- functions ---- */

/* Of `main`; what ended is in a version, and no other is made before store_go_on. NULL: the error is told. */
static struct store *store_settled(sqlite3_context *out)
{
	struct store *s = store_of(sqlite3_context_db_handle(out), "main");
	int rc;

	if (!s) {
		sqlite3_result_error(out, "the main database is not on SoftPM", -1);
		return NULL;
	}
	pthread_mutex_lock(&s->lock);
	rc = s->is_view ? SQLITE_OK : spm_points_flush(s);
	if (!rc)
		spm_points_halt(s);
	pthread_mutex_unlock(&s->lock);
	if (rc)
		sqlite3_result_error_code(out, rc);
	return rc ? NULL : s;
}

static void store_go_on(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	spm_points_go_on(s);
	pthread_mutex_unlock(&s->lock);
}

static const char *text_of(int argc, sqlite3_value **argv, int i)
{
	return i < argc ? (const char *)sqlite3_value_text(argv[i]) : NULL;
}

static void result(sqlite3_context *out, int failed, const char *name)
{
	if (failed)
		sqlite3_result_error(out, pErrorMsg(), -1);
	else
		sqlite3_result_text(out, name, -1, SQLITE_TRANSIENT);
}

static void sql_tag(sqlite3_context *out, int argc, sqlite3_value **argv)
{
	const char *name = text_of(argc, argv, 0);
	struct store *s = name ? store_settled(out) : NULL;

	if (!s)
		return;
	result(out, pCTag(s->pages.id, name, text_of(argc, argv, 1)), name);
	store_go_on(s);
}

static void sql_branch(sqlite3_context *out, int argc, sqlite3_value **argv)
{
	const char *name = text_of(argc, argv, 0);
	struct store *s = name ? store_settled(out) : NULL;

	if (!s)
		return;
	result(out, pBranch(s->magic, name, text_of(argc, argv, 1)), name);
	store_go_on(s);
}

static void sql_switch(sqlite3_context *out, int argc, sqlite3_value **argv)
{
	sqlite3 *db = sqlite3_context_db_handle(out);
	const char *ref = text_of(argc, argv, 0);
	struct store *s = ref ? store_of(db, "main") : NULL;
	int rc;

	if (!s || s->is_view || !sqlite3_get_autocommit(db)) {
		sqlite3_result_error(out, "no database on SoftPM that can be switched now", -1);
		return;
	}
	rc = spm_store_switch(s, ref);
	if (rc == SQLITE_BUSY)
		sqlite3_result_error(out, "other connections have the database open", -1);
	else
		result(out, rc, ref);
	if (!rc) /* schemas are read anew: two branches can have different ones with one cookie */
		sqlite3_exec(db, "PRAGMA writable_schema = RESET", NULL, NULL, NULL);
}

static const struct {
	const char *name;
	int arguments;
	void (*fn)(sqlite3_context *out, int argc, sqlite3_value **argv);
} functions[] = {
        {"softpm_tag", 1, sql_tag},       {"softpm_tag", 2, sql_tag},       {"softpm_branch", 1, sql_branch},
        {"softpm_branch", 2, sql_branch}, {"softpm_switch", 1, sql_switch},
};

int spm_sqlite_functions(sqlite3 *db)
{
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions) && !rc; i++)
		rc = sqlite3_create_function_v2(db, functions[i].name, functions[i].arguments,
		                                SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, functions[i].fn, NULL, NULL,
		                                NULL);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds) && !rc; i++)
		rc = sqlite3_create_module_v2(db, kinds[i].name, &module, (void *)(uintptr_t)&kinds[i], NULL);
	return rc;
}
