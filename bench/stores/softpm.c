/* softpm.c - a hash table of plain C structures, and pPointSync after each update. */
#include "store.h"

#include <softpm.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 100100, BUCKETS = 131072 };

struct entry {
	struct entry *next;
	uint32_t key;
	char value[VALUE_BYTES];
};
struct table {
	struct entry **bucket;
};

static struct table *table;
static int container;

static void softpm_need(bool ok, const char *what)
{
	if (!ok)
		fprintf(stderr, "%s\n", pErrorMsg());
	need(ok, what);
}

static struct entry **bucket_of(uint32_t key)
{
	return &table->bucket[(key * 2654435761u) % BUCKETS];
}

static struct entry *entry_find(uint32_t key)
{
	struct entry *e = *bucket_of(key);

	while (e->key != key)
		e = e->next;
	return e;
}

static void table_fill(void)
{
	container = pCAlloc(MAGIC, sizeof(*table), (void **)&table);
	softpm_need(container > 0, "pCAlloc");
	table->bucket = pCalloc(BUCKETS, sizeof(*table->bucket));
	for (uint32_t key = 0; key < KEYS; key++) {
		struct entry *e = pMalloc(sizeof(*e));

		need(e != NULL, "pMalloc");
		e->key = key;
		e->next = *bucket_of(key);
		*bucket_of(key) = e;
	}
	softpm_need(pPointSync(container) > 0, "the first pPointSync");
}

static void softpm_open(const char *folder, const char *variant)
{
	(void)variant;
	softpm_need(!pVOpen(store_path(folder, "softpm.vol")), "pVOpen");
	container = pCRestore(MAGIC, (void **)&table);
	softpm_need(container > 0 || errno == ENOENT, "pCRestore");
	if (container <= 0)
		table_fill();
}

static void softpm_put(uint32_t key, const char value[VALUE_BYTES])
{
	memcpy(entry_find(key)->value, value, VALUE_BYTES);
	softpm_need(pPointSync(container) > 0, "pPointSync");
}

static void softpm_get(uint32_t key, char value[VALUE_BYTES])
{
	memcpy(value, entry_find(key)->value, VALUE_BYTES);
}

static void softpm_close(void)
{
	softpm_need(!pVClose(), "pVClose");
}

int main(int argc, char **argv)
{
	return store_main(argc, argv, &(struct store){softpm_open, softpm_put, softpm_get, softpm_close, true});
}
