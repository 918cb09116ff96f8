/* ds.c - SoftPM's own structures, <softpm/ds.h>. Variants: ds. */
#include "container.h"

#include <softpm/ds.h>
#include <string.h>

struct value {
	char bytes[VALUE_BYTES];
};
PARRAY_OF(vector, struct entry);
PLIST_OF(entries, struct entry);
PTREE_PLAIN_OF(tree, uint64_t, struct value);
PHASH_PLAIN_OF(table, uint64_t, struct value);

static struct root {
	struct vector *vector;
	struct entries *list;
	struct tree *tree;
	struct table *hash;
} * root;

static struct value value_of(const struct entry *entry)
{
	struct value v;

	memcpy(v.bytes, entry->value, VALUE_BYTES);
	return v;
}

/* ---- array: element i is that with key i; of one that was removed the key is ABSENT ---- */

#define ABSENT UINT64_MAX

static void array_add(const struct entry *entry)
{
	need(vector_push(root->vector, *entry) != NULL, "parray_push");
}

static char *array_find(uint64_t key)
{
	return vector_at(root->vector, key)->value;
}

static void array_remove(uint64_t key)
{
	vector_at(root->vector, key)->key = ABSENT;
}

static void array_each(void (*fn)(uint64_t key, const char *value))
{
	struct entry *e;

	for (size_t i = 0, n; (e = vector_run(root->vector, i, &n)) != NULL; i += n)
		for (size_t k = 0; k < n; k++)
			if (e[k].key != ABSENT)
				fn(e[k].key, e[k].value);
}

static const struct structure ds_array = {"array", false, NULL, array_add, array_find, array_remove, array_each};

/* ---- list, in the order of the keys; those of a batch are found in one walk ---- */

static struct entries_node *walker;

static void list_begin(void)
{
	walker = entries_first(root->list);
}

static void list_add(const struct entry *entry)
{
	need(entries_push(root->list, *entry) != NULL, "plist_push");
}

static char *list_find(uint64_t key)
{
	while (walker->value.key != key)
		walker = entries_next(walker);
	return walker->value.value;
}

static void list_remove(uint64_t key)
{
	struct entries_node *found;

	list_find(key);
	found = walker;
	walker = entries_next(found);
	entries_remove(root->list, found);
}

static void list_each(void (*fn)(uint64_t key, const char *value))
{
	for (struct entries_node *n = entries_first(root->list); n; n = entries_next(n))
		fn(n->value.key, n->value.value);
}

static const struct structure ds_list = {"list", false, list_begin, list_add, list_find, list_remove, list_each};

/* ---- tree ---- */

static void ds_tree_add(const struct entry *entry)
{
	need(tree_put(root->tree, entry->key, value_of(entry)) != NULL, "ptree_put");
}

static char *ds_tree_find(uint64_t key)
{
	return tree_get(root->tree, key)->bytes;
}

static void ds_tree_remove(uint64_t key)
{
	need(tree_remove(root->tree, key, NULL), "ptree_remove");
}

static void ds_tree_each(void (*fn)(uint64_t key, const char *value))
{
	struct tree_cursor c;

	for (bool on = tree_first(root->tree, &c); on; on = tree_next(&c))
		fn(tree_key(&c), tree_value(&c)->bytes);
}

static const struct structure ds_tree = {"tree", true, NULL, ds_tree_add, ds_tree_find, ds_tree_remove, ds_tree_each};

/* ---- hash table ---- */

static void hash_add(const struct entry *entry)
{
	need(table_put(root->hash, entry->key, value_of(entry)) != NULL, "phash_put");
}

static char *hash_find(uint64_t key)
{
	return table_get(root->hash, key)->bytes;
}

static void hash_remove(uint64_t key)
{
	need(table_remove(root->hash, key, NULL), "phash_remove");
}

static void hash_each(void (*fn)(uint64_t key, const char *value))
{
	static struct table_iter it;

	for (table_start(&it, root->hash); table_next(&it);)
		fn(it.key, it.value->bytes);
}

static const struct structure ds_hash = {"hash", true, NULL, hash_add, hash_find, hash_remove, hash_each};

/* ---- */

static void ds_open(const struct setting *setting)
{
	if (!container_open(setting, sizeof(*root), (void **)&root))
		return;
	root->vector = vector_make();
	root->list = entries_make();
	root->tree = tree_make();
	root->hash = table_make();
	need(root->vector && root->list && root->tree && root->hash, "making the structures");
}

static const struct structure *const structures[] = {&ds_array, &ds_list, &ds_tree, &ds_hash, NULL};

int main(int argc, char **argv)
{
	return structures_main(argc, argv,
	                       &(struct system){structures, ds_open, NULL, container_point, container_stored_bytes,
	                                        container_dirty_pages, container_close});
}
