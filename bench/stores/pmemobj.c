/* pmemobj.c - libpmemobj on an ordinary file (it flushes with msync; if $PMEM_IS_PMEM_FORCE is 1, by flushing caches, as on persistent memory). Variants: array, the cheapest table there can be; and the maps that come as its
 * examples (Debian's libpmemobj-dev has them): btree, hashmap_tx. It has no lazy commits. */
#include "store.h"

#include <libpmemobj.h>
#include <stdlib.h>
#include <string.h>
#ifdef WITH_MAPS
#include <map.h>
#include <map_btree.h>
#include <map_hashmap_tx.h>

POBJ_LAYOUT_BEGIN(values);
POBJ_LAYOUT_ROOT(values, struct root);
POBJ_LAYOUT_END(values);
struct root {
	TOID(struct map) map;
};

static struct map_ctx *ctx;
static struct root *root;
#endif

static PMEMobjpool *pool;
static char (*values)[VALUE_BYTES]; /* variant array */
static bool is_begun;

static void array_open(void)
{
	values = pmemobj_direct(pmemobj_root(pool, store_keys * VALUE_BYTES));
	need(values != NULL, "pmemobj_root");
}

#ifdef WITH_MAPS
static void map_open(const char *variant)
{
	root = pmemobj_direct(pmemobj_root(pool, sizeof(*root)));
	ctx = map_ctx_init(strcmp(variant, "btree") ? MAP_HASHMAP_TX : MAP_BTREE, pool);
	need(root && ctx, "pmemobj_root");
	if (TOID_IS_NULL(root->map))
		need(!map_create(ctx, &root->map, NULL), "map_create");
	else
		need(!map_init(ctx, root->map), "map_init");
}
#endif

static void pmem_open(const char *folder, const char *variant, bool is_lazy)
{
	const char *path = store_path(folder, "pool");

	need(!is_lazy, "libpmemobj with lazy commits");
	pool = store_exists(path) ? pmemobj_open(path, "values")
	                          : pmemobj_create(path, "values", (64u << 20) + store_keys * 400, 0600);
	need(pool != NULL, "pmemobj_create or _open");
#ifdef WITH_MAPS
	if (strcmp(variant, "array")) {
		map_open(variant);
		return;
	}
#endif
	need(!strcmp(variant, "array"), "a build without libpmemobj's examples: this variant");
	array_open();
}

static char *value_of(uint64_t key)
{
#ifdef WITH_MAPS
	if (ctx) {
		PMEMoid found = map_get(ctx, root->map, key);

		return OID_IS_NULL(found) ? NULL : pmemobj_direct(found);
	}
#endif
	return values[key];
}

static char *value_add(uint64_t key)
{
#ifdef WITH_MAPS
	PMEMoid fresh = pmemobj_tx_alloc(VALUE_BYTES, 0);

	need(!OID_IS_NULL(fresh) && !map_insert(ctx, root->map, key, fresh), "map_insert");
	return pmemobj_direct(fresh);
#else
	(void)key;
	return NULL;
#endif
}

static void pmem_put(uint64_t key, const char value[VALUE_BYTES])
{
	char *place;

	if (!is_begun)
		need(!pmemobj_tx_begin(pool, NULL, TX_PARAM_NONE), "pmemobj_tx_begin");
	is_begun = true;
	place = value_of(key);
	if (place)
		need(!pmemobj_tx_add_range_direct(place, VALUE_BYTES), "pmemobj_tx_add_range_direct");
	else
		place = value_add(key);
	memcpy(place, value, VALUE_BYTES);
}

static void pmem_commit(void)
{
	if (!is_begun)
		return;
	pmemobj_tx_commit();
	need(!pmemobj_tx_end(), "the transaction");
	is_begun = false;
}

static void pmem_sync(void)
{
}

static void pmem_get(uint64_t key, char value[VALUE_BYTES])
{
	memcpy(value, value_of(key), VALUE_BYTES);
}

static void pmem_close(void)
{
	pmemobj_close(pool);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){pmem_open, pmem_put, pmem_commit, pmem_sync, pmem_get, NULL, pmem_close,
	                                  .is_zeroed = true});
}
