/* bdb.c - Berkeley DB, transactional environment, one transaction a put, the log flushed at commit (its default).
 * Variants: hash, btree. */
#include "store.h"

#include <db.h>
#include <string.h>

static DB_ENV *env;
static DB *db;

static DBT dbt(const void *data, size_t bytes)
{
	DBT d;

	memset(&d, 0, sizeof(d));
	d.data = (void *)(uintptr_t)data;
	d.size = d.ulen = (u_int32_t)bytes;
	d.flags = DB_DBT_USERMEM;
	return d;
}

static void fill(void)
{
	static const char zeros[VALUE_BYTES];
	DBT v = dbt(zeros, sizeof(zeros));
	DB_TXN *t = NULL;

	for (uint32_t key = 0; key < KEYS; key++) {
		DBT k = dbt(&key, sizeof(key));

		if (!t)
			need(!env->txn_begin(env, NULL, &t, 0), "txn_begin");
		need(!db->put(db, t, &k, &v, 0), "put");
		if (key % 1000 < 999)
			continue;
		need(!t->commit(t, DB_TXN_NOSYNC), "commit");
		t = NULL;
	}
	need(!env->txn_checkpoint(env, 0, 0, 0), "txn_checkpoint");
}

static void bdb_open(const char *folder, const char *variant)
{
	bool is_new = !store_exists(store_path(folder, "values"));

	need(!db_env_create(&env, 0), "db_env_create");
	env->set_cachesize(env, 0, 128u << 20, 1);
	env->set_lk_detect(env, DB_LOCK_DEFAULT);
	env->set_lk_max_locks(env, 100000);
	env->set_lk_max_objects(env, 100000);
	need(!env->open(env, folder,
	                DB_CREATE | DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_LOCK | DB_RECOVER | DB_THREAD,
	                0600),
	     "DB_ENV->open");
	need(!db_create(&db, env, 0), "db_create");
	need(!db->open(db, NULL, "values", NULL, strcmp(variant, "btree") ? DB_HASH : DB_BTREE,
	               DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, 0600),
	     "DB->open");
	if (is_new)
		fill();
}

static void bdb_put(uint32_t key, const char value[VALUE_BYTES])
{
	DBT k = dbt(&key, sizeof(key)), v = dbt(value, VALUE_BYTES);
	DB_TXN *t;
	int err;

	do {
		need(!env->txn_begin(env, NULL, &t, DB_TXN_SYNC), "txn_begin");
		err = db->put(db, t, &k, &v, 0);
		if (err)
			t->abort(t);
		else
			need(!t->commit(t, DB_TXN_SYNC), "commit");
	} while (err == DB_LOCK_DEADLOCK);
	need(!err, "put");
}

static void bdb_get(uint32_t key, char value[VALUE_BYTES])
{
	DBT k = dbt(&key, sizeof(key)), v = dbt(value, VALUE_BYTES);

	need(!db->get(db, NULL, &k, &v, 0), "get");
}

static void bdb_close(void)
{
	db->close(db, 0);
	env->txn_checkpoint(env, 0, 0, 0);
	env->close(env, 0);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv, &(struct store){bdb_open, bdb_put, bdb_get, bdb_close, true});
}
