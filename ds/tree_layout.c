/* tree_layout.c - what the nodes of a tree look like, and making them. See tree_node.h. */
#include "tree_node.h"

enum { NODE_BYTES = 4096, ENTRIES_MIN = 7 };

static bool keys_have_pointers(const struct pmap_type *type)
{
	return (type->key_kind == PKEY_BYTES || type->key_kind == PKEY_CUSTOM) && !(type->flags & PMAP_PLAIN_KEYS);
}

static bool leaves_have_pointers(const struct pmap_type *type, uint32_t value_bytes)
{
	return keys_have_pointers(type) || type->key_kind == PKEY_STRING ||
	       (value_bytes && !(type->flags & PMAP_PLAIN_VALUES));
}

bool spm_leaf_is_stamped(const struct ptree *t)
{
	return leaves_have_pointers(&t->type, (uint32_t)spm_value_bytes(t));
}

/* The column begins behind *at, at a multiple of 16: keys and values of any type are aligned. */
static void lay_column(struct ptree_layout *layout, unsigned column, const uint32_t *bytes, size_t *at)
{
	*at = (*at + 15) & ~(size_t)15;
	layout->column[column] = (struct ptree_column){(uint16_t)*at, (uint16_t)bytes[column], UINT32_MAX};
	*at += (size_t)bytes[column] * layout->max;
}

/* What a node's layout is made for. */
struct shape {
	uint32_t bytes[PTREE_COLUMNS], header, samples;
	bool is_split;
};

/* Whether so many elements fit into a node, or each of its parts, of so many bytes. */
static bool lay_out(struct ptree_layout *layout, const struct shape *shape, size_t max, size_t room)
{
	size_t node = shape->header, plain = 0, *keys = shape->is_split ? &plain : &node;

	layout->max = (uint16_t)max;
	layout->top = UINT16_MAX;
	*keys += shape->samples;
	lay_column(layout, COLUMN_KEYS, shape->bytes, keys);
	lay_column(layout, COLUMN_STRINGS, shape->bytes, &node);
	lay_column(layout, COLUMN_ITEMS, shape->bytes, &node);
	lay_column(layout, COLUMN_COUNTS, shape->bytes, keys);
	layout->bytes = (uint16_t)node;
	layout->plain_bytes = (uint16_t)plain;
	return node <= room && plain <= room;
}

/* As many as fit, ENTRIES_MIN at least. */
static void lay_out_best(struct ptree_layout *layout, const struct shape *shape)
{
	size_t room = NODE_BYTES, max;

	while (!lay_out(layout, shape, ENTRIES_MIN, room))
		room *= 2;
	for (max = room / shape->bytes[COLUMN_KEYS]; !lay_out(layout, shape, max, room);)
		max--;
	/* Whole pages, whose slots in the heap begin where pages do. */
	if (layout->bytes > room / 2)
		layout->bytes = (uint16_t)room;
	if (layout->plain_bytes > room / 2)
		layout->plain_bytes = (uint16_t)room;
}

static bool type_makes_sense(const struct pmap_type *type)
{
	if (type->key_kind < PKEY_INT64 || type->key_kind > PKEY_CUSTOM)
		return false;
	if (!type->key_bytes || type->key_bytes > 1024 || type->value_bytes > 1024)
		return false;
	return type->key_kind != PKEY_CUSTOM || type->compare;
}

bool spm_tree_lay_out(struct ptree *t)
{
	uint32_t strings = t->type.key_kind == PKEY_STRING ? sizeof(char *) : 0;
	uint32_t stem = strings ? sizeof(struct spm_stem) : 0;
	uint32_t samples = spm_keys_are_words(t) ? stem + SPM_SAMPLES * sizeof(uint64_t) : 0;
	bool has_pointers;

	if (t->type.key_kind < PKEY_BYTES || t->type.key_kind == PKEY_STRING)
		t->type.key_bytes = 8;
	if (!type_makes_sense(&t->type))
		return false;
	has_pointers = leaves_have_pointers(&t->type, t->type.value_bytes);
	lay_out_best(&t->layout[0], &(struct shape){
	                                    {t->type.key_bytes, strings, t->type.value_bytes, 0},
	                                    has_pointers ? SPM_SPLIT_HEADER : SPM_HEADER,
	                                    samples,
	                                    has_pointers && !strings && !keys_have_pointers(&t->type),
	                            });
	for (unsigned inner = 1; inner <= 2; inner++)
		lay_out_best(&t->layout[inner], &(struct shape){
		                                        {t->type.key_bytes, strings, sizeof(void *), inner > 1 ? 8 : 0},
		                                        SPM_SPLIT_HEADER,
		                                        samples,
		                                        true,
		                                });
	return true;
}

static void *allocate(size_t bytes, bool has_pointers)
{
	return has_pointers ? pMalloc(bytes) : pMallocNoPtr(bytes);
}

struct ptree_node *spm_node_make(const struct ptree *t, unsigned level)
{
	const struct ptree_layout *layout = &t->layout[spm_layout_of(level)];
	struct ptree_node *node = allocate(layout->bytes, level || spm_leaf_is_stamped(t));
	void *plain;

	if (!node)
		return NULL;
	*node = (struct ptree_node){.tree = t->id, .magic = SPM_TREE_MAGIC, .level = (uint8_t)level, .top = UINT8_MAX};
	if (!layout->plain_bytes)
		return node;
	plain = allocate(layout->plain_bytes, keys_have_pointers(&t->type));
	if (plain) {
		((struct spm_split *)node)->plain = plain;
		return node;
	}
	pFree(node);
	return NULL;
}

void spm_node_release(const struct ptree *t, struct ptree_node *node)
{
	if (t->layout[spm_layout_of(node->level)].plain_bytes)
		pFree(((struct spm_split *)node)->plain);
	pFree(node);
}

void spm_node_free(const struct ptree *t, struct ptree_node *node)
{
	for (unsigned i = 0; node->level && i < node->entries; i++)
		spm_node_free(t, spm_node_child(t, node, i));
	for (unsigned i = 0; !node->level && t->type.key_kind == PKEY_STRING && i < node->entries; i++)
		pFree(spm_node_strings(t, node)[i]);
	spm_node_release(t, node);
}

uint64_t spm_node_total(const struct ptree *t, const struct ptree_node *node)
{
	uint64_t total = 0;

	if (!node->level)
		return node->entries;
	for (unsigned i = 0; i < node->entries; i++)
		total += node->level == 1 ? spm_node_child(t, node, i)->entries : spm_node_counts(t, node)[i];
	return total;
}
