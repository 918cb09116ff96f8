/* softpm.c - a hash table of plain C structures, and pPointSync after each update. Variant record: each update is recorded as an input
 * (pRecord), and there is a point every POINT_EVERY updates. */
#include "store.h"

#include <softpm.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 100100, BUCKETS = 131072, POINT_EVERY = 20000 };

struct entry {
	struct entry *next;
	uint32_t key;
	char value[VALUE_BYTES];
};
struct table {
	struct entry **bucket;
};

struct update {
	uint32_t key;
	char value[VALUE_BYTES];
};

static struct table *table;
static int container;
static bool is_recorded;
static pthread_rwlock_t recording = PTHREAD_RWLOCK_INITIALIZER;
static _Atomic unsigned updates;

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

static int update_apply(const void *bytes, size_t n, void *arg)
{
	const struct update *u = bytes;

	(void)arg;
	need(n == sizeof(*u), "an input's length");
	memcpy(entry_find(u->key)->value, u->value, VALUE_BYTES);
	return 0;
}

static void softpm_open(const char *folder, const char *variant)
{
	is_recorded = !strcmp(variant, "record");
	softpm_need(!pVOpen(store_path(folder, "softpm.vol")), "pVOpen");
	container = pCRestore(MAGIC, (void **)&table);
	softpm_need(container > 0 || errno == ENOENT, "pCRestore");
	if (container <= 0)
		table_fill();
	softpm_need(pReplay(container, update_apply, NULL) >= 0, "pReplay");
}

static void update_record(uint32_t key, const char value[VALUE_BYTES])
{
	struct update u = {.key = key};

	memcpy(u.value, value, VALUE_BYTES);
	pthread_rwlock_rdlock(&recording);
	softpm_need(pRecord(container, &u, sizeof(u)) > 0, "pRecord");
	update_apply(&u, sizeof(u), NULL);
	pthread_rwlock_unlock(&recording);
	if (++updates % POINT_EVERY)
		return;
	pthread_rwlock_wrlock(&recording);
	softpm_need(pPoint(container) > 0, "pPoint");
	pthread_rwlock_unlock(&recording);
}

static void softpm_put(uint32_t key, const char value[VALUE_BYTES])
{
	if (is_recorded) {
		update_record(key, value);
		return;
	}
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
