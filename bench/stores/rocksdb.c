/* rocksdb.c - RocksDB through its C interface, sync writes. */
#include "store.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

static rocksdb_t *db;
static rocksdb_writeoptions_t *sync_write;

static void put_with(const rocksdb_writeoptions_t *how, uint32_t key, const char *value)
{
	char *error = NULL;

	rocksdb_put(db, how, (const char *)&key, sizeof(key), value, VALUE_BYTES, &error);
	need(!error, error ? error : "rocksdb_put");
}

static void rocks_open(const char *folder, const char *variant)
{
	static const char zeros[VALUE_BYTES];
	const char *path = store_path(folder, "rocks");
	bool is_new = !store_exists(path);
	rocksdb_options_t *options = rocksdb_options_create();
	rocksdb_writeoptions_t *lazy_write = rocksdb_writeoptions_create();
	char *error = NULL;

	(void)variant;
	rocksdb_options_set_create_if_missing(options, 1);
	db = rocksdb_open(options, path, &error);
	need(!error, error ? error : "rocksdb_open");
	sync_write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(sync_write, 1);
	for (uint32_t key = 0; is_new && key < KEYS; key++)
		put_with(lazy_write, key, zeros);
	put_with(sync_write, 0, zeros);
	rocksdb_writeoptions_destroy(lazy_write);
	rocksdb_options_destroy(options);
}

static void rocks_put(uint32_t key, const char value[VALUE_BYTES])
{
	put_with(sync_write, key, value);
}

static void rocks_get(uint32_t key, char value[VALUE_BYTES])
{
	rocksdb_readoptions_t *how = rocksdb_readoptions_create();
	char *error = NULL, *found;
	size_t n = 0;

	found = rocksdb_get(db, how, (const char *)&key, sizeof(key), &n, &error);
	need(found && n == VALUE_BYTES, "rocksdb_get");
	memcpy(value, found, VALUE_BYTES);
	free(found);
	rocksdb_readoptions_destroy(how);
}

static void rocks_close(void)
{
	rocksdb_writeoptions_destroy(sync_write);
	rocksdb_close(db);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv, &(struct store){rocks_open, rocks_put, rocks_get, rocks_close, true});
}
