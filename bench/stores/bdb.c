/* bdb.c - Berkeley DB, transactional environment, the log flushed at commit (its default). Variants: hash, btree. */
#include "store.h"

#include <db.h>
#include <string.h>

enum { CACHE_BYTES = 1 << 30 };

static DB_ENV *env;
static DB *db;
static bool is_btree;
static u_int32_t commit_flags;
static _Thread_local DB_TXN *txn;
static _Thread_local unsigned put_count; /* of txn */

static DBT dbt(const void *data, size_t bytes)
{
	DBT d;

	memset(&d, 0, sizeof(d));
	d.data = (void *)(uintptr_t)data;
	d.size = d.ulen = (u_int32_t)bytes;
	d.flags = DB_DBT_USERMEM;
	return d;
}

static void bdb_open(const char *folder, const char *variant, bool is_lazy)
{
	commit_flags = is_lazy ? DB_TXN_NOSYNC : DB_TXN_SYNC;
	is_btree = !strcmp(variant, "btree");
	need(!db_env_create(&env, 0), "db_env_create");
	env->set_cachesize(env, (u_int32_t)(CACHE_BYTES >> 30), (u_int32_t)(CACHE_BYTES & ((1u << 30) - 1)), 1);
	env->set_lk_detect(env, DB_LOCK_DEFAULT);
	env->set_lk_max_locks(env, 100000);
	env->set_lk_max_objects(env, 100000);
	need(!env->open(env, folder,
	                DB_CREATE | DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_LOCK | DB_RECOVER | DB_THREAD |
	                        DB_PRIVATE,
	                0600),
	     "DB_ENV->open");
	need(!db_create(&db, env, 0), "db_create");
	need(!db->open(db, NULL, "values", NULL, is_btree ? DB_BTREE : DB_HASH, DB_CREATE | DB_AUTO_COMMIT | DB_THREAD,
	               0600),
	     "DB->open");
}

/* A transaction of one put is begun anew after a deadlock. */
static void bdb_put(uint64_t key, const char value[VALUE_BYTES])
{
	uint64_t ordered = key_bytes(key);
	DBT k = dbt(&ordered, sizeof(ordered)), v = dbt(value, VALUE_BYTES);
	int err;

	for (;;) {
		if (!txn)
			need(!env->txn_begin(env, NULL, &txn, 0), "txn_begin");
		err = db->put(db, txn, &k, &v, 0);
		if (err != DB_LOCK_DEADLOCK || put_count)
			break;
		txn->abort(txn);
		txn = NULL;
	}
	need(!err, "put");
	put_count++;
}

static void bdb_commit(void)
{
	if (txn)
		need(!txn->commit(txn, commit_flags), "commit");
	txn = NULL;
	put_count = 0;
}

static void bdb_sync(void)
{
	need(!env->log_flush(env, NULL), "log_flush");
}

static void bdb_get(uint64_t key, char value[VALUE_BYTES])
{
	uint64_t ordered = key_bytes(key);
	DBT k = dbt(&ordered, sizeof(ordered)), v = dbt(value, VALUE_BYTES);

	need(!db->get(db, txn, &k, &v, 0), "get");
}

static unsigned bdb_scan(uint64_t key, unsigned n, void (*see)(const char value[VALUE_BYTES]))
{
	char value[VALUE_BYTES];
	uint64_t ordered = key_bytes(key);
	DBT k = dbt(&ordered, sizeof(ordered)), v = dbt(value, VALUE_BYTES);
	unsigned seen = 0;
	DBC *cursor;

	if (!is_btree)
		return 0;
	need(!db->cursor(db, txn, &cursor, 0), "cursor");
	while (seen < n && !cursor->get(cursor, &k, &v, seen ? DB_NEXT : DB_SET_RANGE)) {
		see(value);
		seen++;
	}
	cursor->close(cursor);
	return seen;
}

static void bdb_close(void)
{
	db->close(db, 0);
	env->txn_checkpoint(env, 0, 0, 0);
	env->close(env, 0);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){bdb_open, bdb_put, bdb_commit, bdb_sync, bdb_get, bdb_scan, bdb_close,
	                                  .is_threaded = true});
}
