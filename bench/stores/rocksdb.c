/* rocksdb.c - RocksDB through its C interface: a batch a transaction, sync writes; lazily: without sync. */
#include "store.h"

#include <rocksdb/c.h>
#include <stdlib.h>
#include <string.h>

static rocksdb_t *db;
static rocksdb_writeoptions_t *how_to_write;
static rocksdb_readoptions_t *how_to_read;
static _Thread_local rocksdb_writebatch_wi_t *batch; /* with an index: reads must see it */

static void rocks_open(const char *folder, const char *variant, bool is_lazy)
{
	rocksdb_options_t *options = rocksdb_options_create();
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	rocksdb_cache_t *cache = rocksdb_cache_create_lru((size_t)1 << 30);
	rocksdb_filterpolicy_t *filter = rocksdb_filterpolicy_create_bloom(10);
	char *error = NULL;

	(void)variant;
	rocksdb_block_based_options_set_block_cache(table, cache);
	rocksdb_block_based_options_set_filter_policy(table, filter);
	rocksdb_options_set_block_based_table_factory(options, table);
	rocksdb_options_set_create_if_missing(options, 1);
	db = rocksdb_open(options, store_path(folder, "rocks"), &error);
	need(!error, error ? error : "rocksdb_open");
	how_to_write = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(how_to_write, !is_lazy);
	how_to_read = rocksdb_readoptions_create();
	rocksdb_cache_destroy(cache);
	rocksdb_options_destroy(options);
}

static void rocks_put(uint64_t key, const char value[VALUE_BYTES])
{
	uint64_t ordered = key_bytes(key);

	if (!batch)
		batch = rocksdb_writebatch_wi_create(0, 1);
	rocksdb_writebatch_wi_put(batch, (const char *)&ordered, sizeof(ordered), value, VALUE_BYTES);
}

static void rocks_commit(void)
{
	char *error = NULL;

	if (!batch)
		return;
	rocksdb_write_writebatch_wi(db, how_to_write, batch, &error);
	need(!error, error ? error : "rocksdb_write");
	rocksdb_writebatch_wi_clear(batch);
}

static void rocks_sync(void)
{
	char *error = NULL;

	rocksdb_flush_wal(db, 1, &error);
	need(!error, error ? error : "rocksdb_flush_wal");
}

static void rocks_get(uint64_t key, char value[VALUE_BYTES])
{
	uint64_t ordered = key_bytes(key);
	char *error = NULL, *found;
	size_t n = 0;

	if (batch && rocksdb_writebatch_wi_count(batch))
		found = rocksdb_writebatch_wi_get_from_batch_and_db(batch, db, how_to_read, (const char *)&ordered,
		                                                    sizeof(ordered), &n, &error);
	else
		found = rocksdb_get(db, how_to_read, (const char *)&ordered, sizeof(ordered), &n, &error);
	need(found && n == VALUE_BYTES, "rocksdb_get");
	memcpy(value, found, VALUE_BYTES);
	free(found);
}

static unsigned rocks_scan(uint64_t key, unsigned n, void (*see)(const char value[VALUE_BYTES]))
{
	uint64_t ordered = key_bytes(key);
	rocksdb_iterator_t *i = rocksdb_create_iterator(db, how_to_read);
	unsigned seen = 0;
	size_t bytes;

	if (batch && rocksdb_writebatch_wi_count(batch)) /* takes over the other one */
		i = rocksdb_writebatch_wi_create_iterator_with_base(batch, i);
	for (rocksdb_iter_seek(i, (const char *)&ordered, sizeof(ordered)); seen < n && rocksdb_iter_valid(i);
	     rocksdb_iter_next(i)) {
		see(rocksdb_iter_value(i, &bytes));
		seen++;
	}
	rocksdb_iter_destroy(i);
	return seen;
}

static void rocks_close(void)
{
	rocksdb_writeoptions_destroy(how_to_write);
	rocksdb_readoptions_destroy(how_to_read);
	rocksdb_close(db);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){rocks_open, rocks_put, rocks_commit, rocks_sync, rocks_get, rocks_scan,
	                                  rocks_close, .is_threaded = true});
}
