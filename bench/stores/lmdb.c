/* lmdb.c - LMDB, without any of the flags that weaken durability; lazily: MDB_NOSYNC. Reads are in one transaction that is renewed for each. */
#include "store.h"

#include <lmdb.h>
#include <string.h>

static MDB_env *env;
static MDB_dbi dbi;
static MDB_txn *txn, *reader;

static void lmdb_open(const char *folder, const char *variant, bool is_lazy)
{
	MDB_txn *t;

	(void)variant;
	need(!mdb_env_create(&env) && !mdb_env_set_mapsize(env, (size_t)1 << 36), "mdb_env_create");
	need(!mdb_env_open(env, folder, is_lazy ? MDB_NOSYNC : 0, 0600), "mdb_env_open");
	need(!mdb_txn_begin(env, NULL, 0, &t), "mdb_txn_begin");
	need(!mdb_dbi_open(t, NULL, MDB_INTEGERKEY | MDB_CREATE, &dbi), "mdb_dbi_open");
	need(!mdb_txn_commit(t), "mdb_txn_commit");
	need(!mdb_txn_begin(env, NULL, MDB_RDONLY, &reader), "mdb_txn_begin");
	mdb_txn_reset(reader);
}

static void lmdb_put(uint64_t key, const char value[VALUE_BYTES])
{
	MDB_val k = {sizeof(key), &key}, v = {VALUE_BYTES, (void *)(uintptr_t)value};

	if (!txn)
		need(!mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
	need(!mdb_put(txn, dbi, &k, &v, 0), "mdb_put");
}

static void lmdb_commit(void)
{
	if (txn)
		need(!mdb_txn_commit(txn), "mdb_txn_commit");
	txn = NULL;
}

static void lmdb_sync(void)
{
	need(!mdb_env_sync(env, 1), "mdb_env_sync");
}

/* That of the puts before, which reads must see, or the renewed reader. */
static MDB_txn *read_begin(void)
{
	if (!txn)
		need(!mdb_txn_renew(reader), "mdb_txn_renew");
	return txn ? txn : reader;
}

static void read_end(void)
{
	if (!txn)
		mdb_txn_reset(reader);
}

static void lmdb_get(uint64_t key, char value[VALUE_BYTES])
{
	MDB_val k = {sizeof(key), &key}, v;

	need(!mdb_get(read_begin(), dbi, &k, &v), "mdb_get");
	memcpy(value, v.mv_data, VALUE_BYTES);
	read_end();
}

static unsigned lmdb_scan(uint64_t key, unsigned n, void (*see)(const char value[VALUE_BYTES]))
{
	MDB_val k = {sizeof(key), &key}, v;
	MDB_cursor *cursor;
	unsigned seen = 0;

	need(!mdb_cursor_open(read_begin(), dbi, &cursor), "mdb_cursor_open");
	while (seen < n && !mdb_cursor_get(cursor, &k, &v, seen ? MDB_NEXT : MDB_SET_RANGE)) {
		see(v.mv_data);
		seen++;
	}
	mdb_cursor_close(cursor);
	read_end();
	return seen;
}

static void lmdb_close(void)
{
	mdb_txn_abort(reader);
	mdb_env_close(env);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){lmdb_open, lmdb_put, lmdb_commit, lmdb_sync, lmdb_get, lmdb_scan, lmdb_close,
	                                  .is_threaded = false});
}
