/* plain.c - see plain.h. */
#include "plain.h"

#include <stdlib.h>
#include <string.h>

#ifdef WITH_SOFTPM
/* persist array list tree hash */
#include <softpm.h>
#define malloc pMalloc
#define calloc pCalloc
#define realloc pRealloc
#define free pFree
/* end */
#endif

struct plain *plain;

void plain_init(void)
{
	TAILQ_INIT(&plain->list);
}

static struct element *element_make(const struct entry *entry)
{
	struct element *e = malloc(sizeof(*e));

	need(e != NULL, "malloc");
	e->entry = *entry;
	return e;
}

/* ---- array ---- */

static void array_add(const struct entry *entry)
{
	if (plain->array.n == plain->array.capacity) {
		uint64_t capacity = plain->array.capacity ? plain->array.capacity * 2 : 64;
		struct entry *more = realloc(plain->array.entry, capacity * sizeof(*more));

		need(more != NULL, "realloc");
		plain->array.entry = more;
		plain->array.capacity = capacity;
	}
	plain->array.entry[plain->array.n++] = *entry;
}

static char *array_find(uint64_t key)
{
	return plain->array.entry[key].value;
}

static void array_remove(uint64_t key)
{
	plain->array.entry[key].key = ABSENT;
}

static void array_each(void (*fn)(uint64_t key, const char *value))
{
	for (uint64_t i = 0; i < plain->array.n; i++)
		if (plain->array.entry[i].key != ABSENT)
			fn(plain->array.entry[i].key, plain->array.entry[i].value);
}

const struct structure plain_array = {"array", false, NULL, array_add, array_find, array_remove, array_each};

/* ---- list, in the order of the keys; those of a batch are found in one walk ---- */

static struct element *walker;

static void list_begin(void)
{
	walker = TAILQ_FIRST(&plain->list);
}

static void list_add(const struct entry *entry)
{
	struct element *e = element_make(entry);

	TAILQ_INSERT_TAIL(&plain->list, e, link.list);
}

static char *list_find(uint64_t key)
{
	while (walker->entry.key != key)
		walker = TAILQ_NEXT(walker, link.list);
	return walker->entry.value;
}

static void list_remove(uint64_t key)
{
	struct element *e;

	list_find(key);
	e = walker;
	walker = TAILQ_NEXT(e, link.list);
	TAILQ_REMOVE(&plain->list, e, link.list);
	free(e);
}

static void list_each(void (*fn)(uint64_t key, const char *value))
{
	struct element *e;

	TAILQ_FOREACH(e, &plain->list, link.list)
	fn(e->entry.key, e->entry.value);
}

const struct structure plain_list = {"list", false, list_begin, list_add, list_find, list_remove, list_each};

/* ---- red-black tree ---- */

int element_order(struct element *a, struct element *b)
{
	return (a->entry.key > b->entry.key) - (a->entry.key < b->entry.key);
}

RB_GENERATE(tree, element, link.tree, element_order)

static struct element *tree_element(uint64_t key)
{
	struct element wanted = {.entry.key = key};

	return RB_FIND(tree, &plain->tree, &wanted);
}

static void tree_add(const struct entry *entry)
{
	RB_INSERT(tree, &plain->tree, element_make(entry));
}

static char *tree_find(uint64_t key)
{
	return tree_element(key)->entry.value;
}

static void tree_remove(uint64_t key)
{
	struct element *e = tree_element(key);

	RB_REMOVE(tree, &plain->tree, e);
	free(e);
}

static void tree_each(void (*fn)(uint64_t key, const char *value))
{
	struct element *e;

	RB_FOREACH(e, tree, &plain->tree)
	fn(e->entry.key, e->entry.value);
}

const struct structure plain_tree = {"tree", true, NULL, tree_add, tree_find, tree_remove, tree_each};

/* ---- hash table, at most as many elements as buckets ---- */

static struct bucket *bucket_of(uint64_t key)
{
	return &plain->hash.bucket[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (plain->hash.buckets - 1)];
}

static void hash_grow(void)
{
	struct bucket *old = plain->hash.bucket;
	uint64_t buckets = plain->hash.buckets;

	plain->hash.buckets = buckets ? buckets * 2 : 64;
	plain->hash.bucket = calloc(plain->hash.buckets, sizeof(*old));
	need(plain->hash.bucket != NULL, "calloc");
	for (uint64_t i = 0; i < buckets; i++)
		while (!LIST_EMPTY(&old[i])) {
			struct element *e = LIST_FIRST(&old[i]);

			LIST_REMOVE(e, link.bucket);
			LIST_INSERT_HEAD(bucket_of(e->entry.key), e, link.bucket);
		}
	free(old);
}

static struct element *hash_element(uint64_t key)
{
	struct element *e = LIST_FIRST(bucket_of(key));

	while (e->entry.key != key)
		e = LIST_NEXT(e, link.bucket);
	return e;
}

static void hash_add(const struct entry *entry)
{
	struct element *e = element_make(entry);

	if (plain->hash.n == plain->hash.buckets)
		hash_grow();
	LIST_INSERT_HEAD(bucket_of(e->entry.key), e, link.bucket);
	plain->hash.n++;
}

static char *hash_find(uint64_t key)
{
	return hash_element(key)->entry.value;
}

static void hash_remove(uint64_t key)
{
	struct element *e = hash_element(key);

	LIST_REMOVE(e, link.bucket);
	free(e);
	plain->hash.n--;
}

static void hash_each(void (*fn)(uint64_t key, const char *value))
{
	struct element *e;

	for (uint64_t i = 0; i < plain->hash.buckets; i++)
		LIST_FOREACH(e, &plain->hash.bucket[i], link.bucket)
	fn(e->entry.key, e->entry.value);
}

const struct structure plain_hash = {"hash", true, NULL, hash_add, hash_find, hash_remove, hash_each};
