/* bdb.c - items in Berkeley DB instead of in memory, as memcachedb had it: what the cache in SoftPM is measured against.
 *
 * An item is stored under its key as it lies in memory, without its chain. Who gets one gets a copy, an item that nobody else
 * has. So all of memcached's lists stay empty, and nothing is evicted. Items over half a MiB, which memcached keeps in pieces, are refused.
 */
#include "adapter.h"
#include "port.h"

#include <db.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

static struct {
	const char *folder; /* NULL: no Berkeley DB */
	DBTYPE type;
	bool is_async;
	DB_ENV *env;
	DB *db;
} bdb = {.type = DB_HASH};

static void die(const char *what, int err)
{
	fprintf(stderr, "memcachedb: %s: %s: %s\n", bdb.folder, what, db_strerror(err));
	exit(EX_SOFTWARE);
}

bool spm_bdb_option(const char *option)
{
	if (!strncmp(option, "bdb=", 4) && option[4])
		bdb.folder = strdup(option + 4);
	else if (!strcmp(option, "bdb_type=hash") || !strcmp(option, "bdb_type=btree"))
		bdb.type = option[9] == 'h' ? DB_HASH : DB_BTREE;
	else if (!strcmp(option, "bdb_sync=always") || !strcmp(option, "bdb_sync=off"))
		bdb.is_async = option[9] == 'o';
	else if (!strncmp(option, "bdb", 3)) {
		fprintf(stderr,
		        "memcachedb: -o %s: there are bdb=FOLDER, bdb_type=hash|btree and bdb_sync=always|off\n",
		        option);
		exit(EX_USAGE);
	} else
		return false;
	return true;
}

void spm_bdb_open(void)
{
	u_int32_t parts = DB_CREATE | DB_INIT_LOCK | DB_INIT_LOG | DB_INIT_MPOOL | DB_INIT_TXN | DB_RECOVER |
	                  DB_THREAD | DB_PRIVATE;
	int err;

	if (!bdb.folder)
		return;
	if (settings.item_size_max > settings.slab_chunk_size_max)
		settings.item_size_max = settings.slab_chunk_size_max;
	if (mkdir(bdb.folder, 0700) && errno != EEXIST)
		die("mkdir", errno);
	err = db_env_create(&bdb.env, 0);
	if (!err)
		err = bdb.env->set_cachesize(bdb.env, (u_int32_t)(settings.maxbytes >> 30),
		                             (u_int32_t)(settings.maxbytes & ((1 << 30) - 1)), 1);
	if (!err)
		err = bdb.env->set_lk_detect(bdb.env, DB_LOCK_DEFAULT);
	if (!err && bdb.is_async)
		err = bdb.env->set_flags(bdb.env, DB_TXN_NOSYNC, 1);
	if (!err)
		err = bdb.env->log_set_config(bdb.env, DB_LOG_AUTO_REMOVE, 1);
	if (!err)
		err = bdb.env->open(bdb.env, bdb.folder, parts, 0600);
	if (!err)
		err = db_create(&bdb.db, bdb.env, 0);
	if (!err)
		err = bdb.db->open(bdb.db, NULL, "items", NULL, bdb.type, DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, 0600);
	if (err)
		die("open", err);
}

bool spm_bdb_is_on(void)
{
	return bdb.folder != NULL;
}

static DBT key_of(const item *it)
{
	DBT key = {.data = (void *)(uintptr_t)ITEM_key(it), .size = it->nkey};

	return key;
}

/* A transaction that met another is begun again. */
static int retried(int (*change)(DBT *key, DBT *value), DBT *key, DBT *value)
{
	int err;

	do
		err = change(key, value);
	while (err == DB_LOCK_DEADLOCK);
	return err;
}

static int put(DBT *key, DBT *value)
{
	return bdb.db->put(bdb.db, NULL, key, value, DB_AUTO_COMMIT);
}

static int del(DBT *key, DBT *value)
{
	(void)value;
	return bdb.db->del(bdb.db, NULL, key, DB_AUTO_COMMIT);
}

void spm_bdb_store(void *p)
{
	item *it = p;
	DBT key = key_of(it), value = {.data = it, .size = (u_int32_t)ITEM_ntotal(it)};
	int err = it->it_flags & ITEM_CHUNKED ? ENOMEM : retried(put, &key, &value);

	if (err)
		die("put", err);
}

int spm_bdb_put(void *p)
{
	item *it = p;

	it->time = current_time;
	ITEM_set_cas(it, settings.use_cas ? get_cas_id() : 0);
	spm_bdb_store(it);
	STATS_LOCK();
	stats.total_items++;
	STATS_UNLOCK();
	return 1;
}

void spm_bdb_remove(void *p)
{
	DBT key = key_of(p);
	int err = retried(del, &key, NULL);

	if (err && err != DB_NOTFOUND)
		die("delete", err);
}

void *spm_bdb_get(const char *name, size_t length)
{
	DBT key = {.data = (void *)(uintptr_t)name, .size = (u_int32_t)length}, value = {.flags = DB_DBT_MALLOC};
	item *stored, *it = NULL;
	uint32_t flags;
	int err;

	do
		err = bdb.db->get(bdb.db, NULL, &key, &value, 0);
	while (err == DB_LOCK_DEADLOCK);
	if (err == DB_NOTFOUND)
		return NULL;
	if (err)
		die("get", err);
	stored = value.data;
	FLAGS_CONV(stored, flags);
	it = do_item_alloc(ITEM_key(stored), stored->nkey, flags, stored->exptime, stored->nbytes);
	if (it) {
		it->time = stored->time;
		it->it_flags |= stored->it_flags & (ITEM_STALE | ITEM_TOKEN_SENT | ITEM_KEY_BINARY);
		ITEM_set_cas(it, ITEM_get_cas(stored));
		memcpy(ITEM_data(it), ITEM_data(stored), (size_t)stored->nbytes);
	}
	free(stored);
	return it;
}

int spm_bdb_stop(void)
{
	return bdb.folder ? bdb.env->txn_checkpoint(bdb.env, 0, 0, DB_FORCE)
	                  : 0; /* the next start has nothing to read */
}
