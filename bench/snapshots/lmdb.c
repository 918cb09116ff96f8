/* lmdb.c - LMDB, a value a page. A version or branch is made by mdb_env_copy2, which does not flush the copy: that is done here.
 * Variants: copy, compact (MDB_CP_COMPACT: without free pages). */
#include "system.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>

static MDB_env *env, *kept;
static MDB_dbi dbi;
static MDB_txn *changing;
static unsigned copy_flags;

static void must(int err, const char *what)
{
	if (err)
		fprintf(stderr, "%s: %s\n", what, mdb_strerror(err));
	need(!err, what);
}

/* With room for the pages that a large transaction copies. */
static MDB_env *env_open(const char *path)
{
	MDB_env *e;

	must(mdb_env_create(&e), "mdb_env_create");
	must(mdb_env_set_mapsize(e, system_pages * PAGE * 2 + (64u << 20)), "mdb_env_set_mapsize");
	must(mdb_env_open(e, path, MDB_NOSUBDIR, 0600), "mdb_env_open");
	return e;
}

static void value_put(MDB_txn *t, MDB_dbi in, uint64_t page)
{
	uint64_t value[VALUE_BYTES / 8];
	uint32_t key = (uint32_t)page;
	MDB_val k = {sizeof(key), &key}, v = {VALUE_BYTES, value};

	fill(value, sizeof(value));
	must(mdb_put(t, in, &k, &v, 0), "mdb_put");
}

static void lmdb_make(const char *variant)
{
	MDB_txn *t;

	copy_flags = strcmp(variant, "compact") ? 0 : MDB_CP_COMPACT;
	env = env_open(path_of("state"));
	must(mdb_txn_begin(env, NULL, 0, &t), "mdb_txn_begin");
	must(mdb_dbi_open(t, NULL, MDB_INTEGERKEY | MDB_CREATE, &dbi), "mdb_dbi_open");
	for (uint64_t page = 0; page < system_pages; page++)
		value_put(t, dbi, page);
	must(mdb_txn_commit(t), "mdb_txn_commit");
}

static void lmdb_change(uint64_t page)
{
	if (!changing)
		must(mdb_txn_begin(env, NULL, 0, &changing), "mdb_txn_begin");
	value_put(changing, dbi, page);
}

static bool lmdb_keep(enum kind kind, unsigned n)
{
	if (changing)
		must(mdb_txn_commit(changing), "mdb_txn_commit");
	changing = NULL;
	must(mdb_env_copy2(env, path_of_kept(kind, n), copy_flags), "mdb_env_copy2");
	copy_settle(kind, n);
	return true;
}

static MDB_txn *kept_begin(enum kind kind, unsigned n, unsigned flags, MDB_dbi *in)
{
	MDB_txn *t;

	kept = env_open(path_of_kept(kind, n));
	must(mdb_txn_begin(kept, NULL, flags, &t), "mdb_txn_begin");
	must(mdb_dbi_open(t, NULL, MDB_INTEGERKEY, in), "mdb_dbi_open");
	return t;
}

static void lmdb_branch_change(unsigned n)
{
	MDB_dbi in;
	MDB_txn *t = kept_begin(BRANCH, n, 0, &in);

	value_put(t, in, system_pages / 2);
	must(mdb_txn_commit(t), "mdb_txn_commit");
}

static void lmdb_look(unsigned n)
{
	uint32_t key = (uint32_t)(system_pages / 2);
	MDB_val k = {sizeof(key), &key}, v;
	MDB_dbi in;
	MDB_txn *t = kept_begin(VERSION, n, MDB_RDONLY, &in);
	volatile char word;

	must(mdb_get(t, in, &k, &v), "mdb_get");
	word = *(char *)v.mv_data;
	(void)word;
	mdb_txn_abort(t);
}

static void lmdb_tidy(void)
{
	if (kept)
		mdb_env_close(kept);
	kept = NULL;
}

int main(int argc, char **argv)
{
	return system_main(
	        argc, argv,
	        &(struct system){lmdb_make, lmdb_change, lmdb_keep, lmdb_branch_change, lmdb_look, lmdb_tidy, NULL});
}
