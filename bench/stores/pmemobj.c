/* pmemobj.c - libpmemobj on an ordinary file (it flushes with msync), one transaction a put. The values are one array,
 * the cheapest table there can be. */
#include "store.h"

#include <libpmemobj.h>
#include <stdlib.h>
#include <string.h>

struct values {
	char value[KEYS][VALUE_BYTES];
};

static PMEMobjpool *pool;
static struct values *values;

static void pmem_open(const char *folder, const char *variant)
{
	const char *path = store_path(folder, "pool");

	(void)variant;
	unsetenv("PMEM_IS_PMEM_FORCE"); /* which would leave out the msync */
	pool = store_exists(path) ? pmemobj_open(path, "values") : pmemobj_create(path, "values", 64u << 20, 0600);
	need(pool != NULL, "pmemobj_create or _open");
	values = pmemobj_direct(pmemobj_root(pool, sizeof(*values)));
	need(values != NULL, "pmemobj_root");
}

static void pmem_put(uint32_t key, const char value[VALUE_BYTES])
{
	TX_BEGIN(pool)
	{
		pmemobj_tx_add_range_direct(values->value[key], VALUE_BYTES);
		memcpy(values->value[key], value, VALUE_BYTES);
	}
	TX_ONABORT
	{
		need(false, "the transaction");
	}
	TX_END
}

static void pmem_get(uint32_t key, char value[VALUE_BYTES])
{
	memcpy(value, values->value[key], VALUE_BYTES);
}

static void pmem_close(void)
{
	pmemobj_close(pool);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv, &(struct store){pmem_open, pmem_put, pmem_get, pmem_close, true});
}
