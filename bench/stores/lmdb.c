/* lmdb.c - LMDB, one transaction a put, without any of the flags that weaken durability. */
#include "store.h"

#include <lmdb.h>
#include <string.h>

static MDB_env *env;
static MDB_dbi dbi;

static void put_in(MDB_txn *t, uint32_t key, const char *value)
{
	MDB_val k = {sizeof(key), &key}, v = {VALUE_BYTES, (void *)(uintptr_t)value};

	need(!mdb_put(t, dbi, &k, &v, 0), "mdb_put");
}

static void lmdb_open(const char *folder, const char *variant)
{
	static const char zeros[VALUE_BYTES];
	bool is_new = !store_exists(store_path(folder, "data.mdb"));
	MDB_txn *t;

	(void)variant;
	need(!mdb_env_create(&env) && !mdb_env_set_mapsize(env, 1u << 29), "mdb_env_create");
	need(!mdb_env_open(env, folder, 0, 0600), "mdb_env_open");
	need(!mdb_txn_begin(env, NULL, 0, &t), "mdb_txn_begin");
	need(!mdb_dbi_open(t, NULL, MDB_INTEGERKEY | MDB_CREATE, &dbi), "mdb_dbi_open");
	for (uint32_t key = 0; is_new && key < KEYS; key++)
		put_in(t, key, zeros);
	need(!mdb_txn_commit(t), "mdb_txn_commit");
}

static void lmdb_put(uint32_t key, const char value[VALUE_BYTES])
{
	MDB_txn *t;

	need(!mdb_txn_begin(env, NULL, 0, &t), "mdb_txn_begin");
	put_in(t, key, value);
	need(!mdb_txn_commit(t), "mdb_txn_commit");
}

static void lmdb_get(uint32_t key, char value[VALUE_BYTES])
{
	MDB_val k = {sizeof(key), &key}, v;
	MDB_txn *t;

	need(!mdb_txn_begin(env, NULL, MDB_RDONLY, &t) && !mdb_get(t, dbi, &k, &v), "mdb_get");
	memcpy(value, v.mv_data, VALUE_BYTES);
	mdb_txn_abort(t);
}

static void lmdb_close(void)
{
	mdb_env_close(env);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv, &(struct store){lmdb_open, lmdb_put, lmdb_get, lmdb_close, true});
}
