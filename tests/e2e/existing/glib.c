/* glib.c - GLib's hash tables, arrays, trees and lists in a container. See existing.sh: GLib asks malloc for memory, so the program has
 * libsoftpm-malloc; and G_SLICE=always-malloc, for small pieces come from a cache of GLib otherwise, which knows nothing of what was restored.
 *
 *   glib keep MAGIC        makes the container
 *   glib back MAGIC...     brings these back, all at once, looks at every entry, and changes them
 */
#include <softpm.h>

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 5000, CONTAINERS = 4 };

struct root {
	GHashTable *table;
	GArray *array;
	GPtrArray *pointers;
	GTree *tree;
	GList *list;
	GString *string;
};

#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: expected %s; %s\n", __FILE__, __LINE__, #cond, pErrorMsg());           \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static int compare(gconstpointer a, gconstpointer b, gpointer unused)
{
	(void)unused;
	return strcmp(a, b);
}

static void fill(struct root *r)
{
	r->table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	r->array = g_array_new(FALSE, TRUE, sizeof(int));
	r->pointers = g_ptr_array_new_with_free_func(g_free);
	r->tree = g_tree_new_full(compare, NULL, g_free, NULL);
	r->string = g_string_new(NULL);
	for (int i = 0; i < ENTRIES; i++) {
		g_hash_table_insert(r->table, g_strdup_printf("key %d", i), g_strdup_printf("value %d", i));
		g_array_append_val(r->array, i);
		g_ptr_array_add(r->pointers, g_strdup_printf("item %d", i));
		g_tree_insert(r->tree, g_strdup_printf("node %05d", i), r->table);
		r->list = g_list_prepend(r->list, g_strdup_printf("%d", i));
		g_string_append_printf(r->string, "%05d ", i);
	}
}

static gboolean is_next(gpointer key, gpointer value, gpointer arg)
{
	int *n = arg;

	(void)value;
	EXPECT(atoi((char *)key + 5) == (*n)++);
	return FALSE;
}

static void is_whole(struct root *r)
{
	char key[32], value[32];
	int n = 0;

	EXPECT(g_hash_table_size(r->table) == ENTRIES && r->array->len == ENTRIES && r->pointers->len == ENTRIES);
	for (int i = 0; i < ENTRIES; i++) {
		sprintf(key, "key %d", i);
		sprintf(value, "value %d", i);
		EXPECT(!g_strcmp0(g_hash_table_lookup(r->table, key), value));
		sprintf(key, "node %05d", i);
		EXPECT(g_tree_lookup(r->tree, key) == r->table);
		EXPECT(g_array_index(r->array, int, i) == i);
		EXPECT(atoi((char *)g_ptr_array_index(r->pointers, i) + 5) == i && atoi(r->string->str + 6 * i) == i);
	}
	g_tree_foreach(r->tree, is_next, &n);
	for (GList *each = r->list; each; each = each->next)
		EXPECT(atoi(each->data) == --n && (!each->next || each->next->prev == each));
	EXPECT(!n);
}

/* All of it is as good as in the process that made it. */
static void changes(struct root *r)
{
	char key[32];

	for (int i = 0; i < ENTRIES; i += 2) {
		sprintf(key, "key %d", i);
		EXPECT(g_hash_table_remove(r->table, key));
		sprintf(key, "node %05d", i);
		EXPECT(g_tree_remove(r->tree, key));
	}
	for (int i = 0; i < ENTRIES; i++)
		g_hash_table_insert(r->table, g_strdup_printf("more %d", i), g_strdup("more"));
	EXPECT(g_hash_table_size(r->table) == ENTRIES + ENTRIES / 2);
	EXPECT(g_tree_nnodes(r->tree) == ENTRIES / 2);
	g_array_set_size(r->array, 3 * ENTRIES);
	EXPECT(g_array_index(r->array, int, 3 * ENTRIES - 1) == 0);
	g_ptr_array_remove_range(r->pointers, 10, ENTRIES - 20);
	r->list = g_list_reverse(r->list);
	EXPECT(!g_strcmp0(r->list->data, "0"));
	g_list_free_full(r->list, g_free);
	r->list = NULL;
	g_string_truncate(r->string, 0);
	g_string_append(r->string, "over");
}

static int keep(int magic)
{
	void *memory;
	int id = pCAlloc(magic, sizeof(struct root), &memory);

	EXPECT(id);
	fill(memory);
	is_whole(memory);
	EXPECT(pPointSync(id));
	return 0;
}

static int back(int n, char **magics)
{
	struct root *root[CONTAINERS];
	int id[CONTAINERS];

	EXPECT(n <= CONTAINERS);
	for (int i = 0; i < n; i++) {
		void *memory;

		id[i] = pCRestore(atoi(magics[i]), &memory);
		EXPECT(id[i]);
		root[i] = memory;
	}
	for (int i = 0; i < n; i++) {
		is_whole(root[i]);
		changes(root[i]);
		EXPECT(pPointSync(id[i]));
	}
	printf("%d right\n", n);
	return pVClose() ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "keep"))
		return keep(atoi(argv[2]));
	return argc > 2 ? back(argc - 2, argv + 2) : 2;
}
