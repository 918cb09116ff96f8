/* softpm.c - SoftPM: a point is the commit, pPointSync; lazily: pPoint, every LAZY_NS at most, and not before the last one is durable.
 * The filling of a new store is one point: with one every 10,000 keys, each of them on another page of a large hash table, 8 million keys of
 * 1 GiB would be 40 GB written.
 * Variants:
 *
 *     tree      <softpm/tree.h>
 *     hash      <softpm/hash.h>
 *     plain     a hash table of plain C structures
 *     record    the same; each put is recorded as an input (pRecord), and there is a point every POINT_EVERY updates
 */
#include "store.h"

#include <softpm/ds.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 100100, POINT_EVERY = 20000, LAZY_NS = 10000000, LOOK_NS = 1000000 };

struct value {
	char bytes[VALUE_BYTES];
};
PTREE_PLAIN_OF(ordered, uint64_t, struct value);
PHASH_PLAIN_OF(hashed, uint64_t, struct value);

struct entry {
	struct entry *next;
	uint64_t key;
	char value[VALUE_BYTES];
};
struct table {
	struct entry **bucket;
	uint64_t buckets; /* a power of two */
	struct ordered *ordered;
	struct hashed *hashed;
};

struct update {
	uint64_t key;
	char value[VALUE_BYTES];
};

/* What differs between the variants. */
struct kind {
	const char *variant;
	void (*make)(void);
	char *(*at)(uint64_t key);  /* its value; it is added if it is not there */
	char *(*get)(uint64_t key); /* it is there */
};

static struct table *table;
static const struct kind *kind;
static int container;
static bool is_recorded, is_lazy;
static bool is_filled; /* before, puts are neither recorded nor committed: a point follows */
static pthread_rwlock_t recording = PTHREAD_RWLOCK_INITIALIZER;
static _Atomic unsigned updates;
static _Thread_local bool is_changed; /* since this thread's last commit */
static uint64_t next_point_ns;

static void softpm_need(bool ok, const char *what)
{
	if (!ok)
		fprintf(stderr, "%s\n", pErrorMsg());
	need(ok, what);
}

/* ---- plain, record ---- */

static struct entry **bucket_of(uint64_t key)
{
	return &table->bucket[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (table->buckets - 1)];
}

static struct entry *entry_find(uint64_t key)
{
	struct entry *e = *bucket_of(key);

	while (e && e->key != key)
		e = e->next;
	return e;
}

static void plain_make(void)
{
	table->buckets = 64;
	while (table->buckets < store_keys)
		table->buckets *= 2;
	table->bucket = pCalloc(table->buckets, sizeof(*table->bucket));
	softpm_need(table->bucket != NULL, "pCalloc");
}

static char *plain_get(uint64_t key)
{
	return entry_find(key)->value;
}

static char *plain_at(uint64_t key)
{
	struct entry *e = entry_find(key);

	if (e)
		return e->value;
	e = pMalloc(sizeof(*e));
	softpm_need(e != NULL, "pMalloc");
	e->key = key;
	e->next = *bucket_of(key);
	*bucket_of(key) = e;
	return e->value;
}

/* ---- tree, hash ---- */

static void tree_make(void)
{
	table->ordered = ordered_make();
	softpm_need(table->ordered != NULL, "ptree_make");
}

static char *tree_at(uint64_t key)
{
	struct value *v = ordered_at(table->ordered, key);

	softpm_need(v != NULL, "ptree_put");
	return v->bytes;
}

static char *tree_get(uint64_t key)
{
	return ordered_get(table->ordered, key)->bytes;
}

static void hash_make(void)
{
	table->hashed = hashed_make();
	softpm_need(table->hashed != NULL, "phash_make");
}

static char *hash_at(uint64_t key)
{
	struct value *v = hashed_at(table->hashed, key);

	softpm_need(v != NULL, "phash_put");
	return v->bytes;
}

static char *hash_get(uint64_t key)
{
	return hashed_get(table->hashed, key)->bytes;
}

static const struct kind kinds[] = {{"plain", plain_make, plain_at, plain_get},
                                    {"record", plain_make, plain_at, plain_get},
                                    {"tree", tree_make, tree_at, tree_get},
                                    {"hash", hash_make, hash_at, hash_get}};

/* ---- */

static int update_apply(const void *bytes, size_t n, void *arg)
{
	const struct update *u = bytes;

	(void)arg;
	need(n == sizeof(*u), "an input's length");
	memcpy(kind->at(u->key), u->value, VALUE_BYTES);
	return 0;
}

static const struct kind *kind_of(const char *variant)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].variant, variant))
			return &kinds[i];
	need(false, "a variant of this name");
	return NULL;
}

static void table_make(void)
{
	container = pCAlloc(MAGIC, sizeof(*table), (void **)&table);
	softpm_need(container > 0, "pCAlloc");
	kind->make();
}

static void softpm_open(const char *folder, const char *variant, bool lazy)
{
	is_recorded = !strcmp(variant, "record");
	kind = kind_of(variant);
	is_lazy = lazy;
	softpm_need(!pVOpen(store_path(folder, "softpm.vol")), "pVOpen");
	container = pCRestore(MAGIC, (void **)&table);
	softpm_need(container > 0 || errno == ENOENT, "pCRestore");
	is_filled = container > 0;
	if (!is_filled)
		table_make();
	softpm_need(pReplay(container, update_apply, NULL) >= 0, "pReplay");
}

static void softpm_put(uint64_t key, const char value[VALUE_BYTES])
{
	struct update u = {.key = key};

	is_changed = true;
	memcpy(u.value, value, VALUE_BYTES);
	if (!is_recorded || !is_filled) {
		update_apply(&u, sizeof(u), NULL);
		return;
	}
	pthread_rwlock_rdlock(&recording);
	softpm_need(pRecord(container, &u, sizeof(u)) > 0, "pRecord");
	update_apply(&u, sizeof(u), NULL);
	pthread_rwlock_unlock(&recording);
}

static void record_commit(void)
{
	if (++updates % POINT_EVERY)
		return;
	pthread_rwlock_wrlock(&recording);
	softpm_need(pPoint(container) > 0, "pPoint");
	pthread_rwlock_unlock(&recording);
}

static void lazy_commit(void)
{
	struct pstats s;

	if (now_ns() < next_point_ns)
		return;
	softpm_need(!pStats(MAGIC, &s), "pStats");
	if (!s.queue)
		softpm_need(pPoint(container) > 0, "pPoint");
	next_point_ns = now_ns() + (s.queue ? LOOK_NS : LAZY_NS);
}

static void softpm_commit(void)
{
	if (!is_changed || !is_filled)
		return;
	is_changed = false;
	if (is_recorded)
		record_commit();
	else if (is_lazy)
		lazy_commit();
	else
		softpm_need(pPointSync(container) > 0, "pPointSync");
}

static void softpm_sync(void)
{
	is_filled = true;
	softpm_need(pPointSync(container) > 0, "pPointSync");
}

static void softpm_get(uint64_t key, char value[VALUE_BYTES])
{
	memcpy(value, kind->get(key), VALUE_BYTES);
}

static unsigned softpm_scan(uint64_t key, unsigned n, void (*see)(const char value[VALUE_BYTES]))
{
	struct ordered_cursor c;
	const uint64_t *keys;
	struct value *values;
	unsigned seen = 0;

	if (!table->ordered)
		return 0;
	for (bool on = ordered_ceiling(table->ordered, key, &c); on && seen < n; on = ordered_next_run(&c))
		for (size_t i = 0, there = ordered_run(&c, &keys, &values); i < there && seen < n; i++, seen++)
			see(values[i].bytes);
	return seen;
}

static void softpm_close(void)
{
	softpm_need(!pVClose(), "pVClose");
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){softpm_open, softpm_put, softpm_commit, softpm_sync, softpm_get, softpm_scan,
	                                  softpm_close, .is_threaded = true});
}
