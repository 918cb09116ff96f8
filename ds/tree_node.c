/* tree_node.c - the elements of a node. See tree_node.h. */
#include "tree_node.h"

#include <string.h>
#include <xxhash.h>

/* ---- keys ---- */

void spm_leaf_set_key(const struct ptree *t, struct ptree_node *leaf, unsigned i, const struct spm_tree_key *key,
                      char *string)
{
	switch (t->type.key_kind) {
	case PKEY_DOUBLE:
		spm_node_words(t, leaf)[i] = spm_double_bits(key->bytes);
		break;
	case PKEY_STRING:
		spm_node_words(t, leaf)[i] = key->word;
		spm_node_strings(t, leaf)[i] = string;
		break;
	default:
		memcpy(spm_node_at(t, leaf, COLUMN_KEYS, i), key->bytes, spm_key_bytes(t));
	}
	spm_node_sample(t, leaf);
}

static const struct ptree_node *first_leaf(const struct ptree *t, const struct ptree_node *node, unsigned i)
{
	for (node = spm_node_child(t, node, i); node->level;)
		node = spm_node_child(t, node, 0);
	return node;
}

void spm_node_set_first(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	for (unsigned c = COLUMN_KEYS; c <= COLUMN_STRINGS; c++) {
		size_t bytes = t->layout[0].column[c].bytes;

		if (!i)
			memset(spm_node_at(t, node, c, 0), 0, bytes);
		else
			memcpy(spm_node_at(t, node, c, i), spm_node_at(t, first_leaf(t, node, i), c, 0), bytes);
	}
	spm_node_sample(t, node);
}

bool spm_node_has_first(const struct ptree *t, const struct ptree_node *node, unsigned i)
{
	static const char zero[1024];

	for (unsigned c = COLUMN_KEYS; c <= COLUMN_STRINGS; c++) {
		const void *first = i ? spm_node_at(t, first_leaf(t, node, i), c, 0) : zero;

		if (memcmp(spm_node_at(t, node, c, i), first, t->layout[0].column[c].bytes))
			return false;
	}
	return true;
}

/* ---- elements ---- */

void spm_node_open(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	for (unsigned c = 0; c < PTREE_COLUMNS; c++) {
		size_t bytes = t->layout[spm_layout_of(node->level)].column[c].bytes;
		char *at = spm_node_at(t, node, c, i);

		if (!bytes)
			continue;
		memmove(at + bytes, at, (node->entries - i) * bytes);
		memset(at, 0, bytes);
	}
	node->entries++;
}

void spm_node_close(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	node->entries--;
	for (unsigned c = 0; c < PTREE_COLUMNS; c++) {
		size_t bytes = t->layout[spm_layout_of(node->level)].column[c].bytes, behind = node->entries - i;
		char *at = spm_node_at(t, node, c, i);

		memmove(at, at + bytes, behind * bytes);
		memset(at + behind * bytes, 0, bytes);
	}
	spm_node_sample(t, node);
}

static uint64_t *stamp_of(struct ptree_node *leaf)
{
	return &((struct spm_split *)leaf)->stamp;
}

static void stamp(struct ptree_node *leaf, const void *bytes, size_t n)
{
	*stamp_of(leaf) = XXH3_64bits_withSeed(bytes, n, *stamp_of(leaf)) | SPM_WORD_TOP;
}

void spm_leaf_stamp(const struct ptree *t, struct ptree_node *leaf, unsigned i)
{
	const void *key = spm_leaf_key(t, leaf, i).bytes;

	if (spm_leaf_is_stamped(t))
		stamp(leaf, key, t->type.key_kind == PKEY_STRING ? strlen(key) : spm_key_bytes(t));
}

void spm_node_pour(const struct ptree *t, struct ptree_node *from, unsigned first, struct ptree_node *to)
{
	size_t n = from->entries - first;

	for (unsigned c = 0; c < PTREE_COLUMNS; c++) {
		size_t bytes = n * t->layout[spm_layout_of(from->level)].column[c].bytes;
		char *at = spm_node_at(t, from, c, first);

		memcpy(spm_node_at(t, to, c, to->entries), at, bytes);
		memset(at, 0, bytes);
	}
	if (!to->level && spm_leaf_is_stamped(t))
		stamp(to, stamp_of(from), sizeof(uint64_t));
	to->entries = (uint16_t)(to->entries + n);
	from->entries = (uint16_t)first;
	spm_node_sample(t, from);
	spm_node_sample(t, to);
}
