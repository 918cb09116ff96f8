/* tree_node.c - the elements of a node. See tree_node.h. */
#include "tree_node.h"

#include <string.h>
#include <xxhash.h>

/* ---- keys ---- */

/* How many bytes all strings of the node have in common: those that the first and the last have. */
static uint8_t common_bytes(const char *first, const char *last)
{
	uint8_t n = 0;

	while (n < SPM_STEM_MAX && first[n] && first[n] == last[n])
		n++;
	return n;
}

void spm_node_stem_anew(const struct ptree *t, struct ptree_node *node)
{
	struct spm_stem *stem = spm_node_stem(t, node);
	unsigned first = node->level > 0;
	char **string;

	if (t->type.key_kind != PKEY_STRING)
		return;
	memset(stem, UINT8_MAX, sizeof(*stem));
	stem->bytes = 0;
	if (node->entries <= first)
		return;
	string = spm_node_strings(t, node);
	stem->bytes = common_bytes(string[first], string[node->entries - 1]);
	memcpy(stem->text, string[first], stem->bytes);
	for (unsigned i = first; i < node->entries; i++)
		spm_node_words(t, node)[i] = spm_string_word(string[i] + stem->bytes);
}

/* Element i has another string, or one of its own. */
static void word_anew(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	const struct spm_stem *stem = spm_node_stem(t, node);
	const char *string = spm_node_strings(t, node)[i];

	if (node->entries == 1 + (node->level > 0) || spm_stem_compare(stem, string))
		spm_node_stem_anew(t, node);
	else
		spm_node_words(t, node)[i] = spm_string_word(string + stem->bytes);
}

bool spm_node_has_words(const struct ptree *t, const struct ptree_node *node)
{
	const struct spm_stem *stem = spm_node_stem(t, node);

	if (t->type.key_kind != PKEY_STRING)
		return true;
	if (stem->bytes > SPM_STEM_MAX || memchr(stem->text, 0, stem->bytes))
		return false;
	for (unsigned i = node->level > 0; i < node->entries; i++) {
		const char *string = spm_node_strings(t, node)[i];

		if (spm_stem_compare(stem, string) ||
		    spm_node_words(t, node)[i] != spm_string_word(string + stem->bytes))
			return false;
	}
	return true;
}

void spm_leaf_set_key(const struct ptree *t, struct ptree_node *leaf, unsigned i, const struct spm_tree_key *key,
                      char *string)
{
	switch (t->type.key_kind) {
	case PKEY_DOUBLE:
		spm_node_words(t, leaf)[i] = spm_double_bits(key->bytes);
		break;
	case PKEY_STRING:
		spm_node_strings(t, leaf)[i] = string;
		word_anew(t, leaf, i);
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

void spm_node_copy_key(const struct ptree *t, struct ptree_node *node, unsigned i, const struct ptree_node *other,
                       unsigned j)
{
	for (unsigned c = COLUMN_KEYS; c <= COLUMN_STRINGS; c++)
		memcpy(spm_node_at(t, node, c, i), spm_node_at(t, other, c, j), t->layout[0].column[c].bytes);
}

void spm_node_set_first(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	if (i) {
		spm_node_copy_key(t, node, i, first_leaf(t, node, i), 0);
		if (t->type.key_kind == PKEY_STRING)
			word_anew(t, node, i);
	} else {
		memset(spm_node_at(t, node, COLUMN_KEYS, 0), 0, spm_key_bytes(t));
		if (t->type.key_kind == PKEY_STRING)
			spm_node_strings(t, node)[0] = NULL;
	}
	spm_node_sample(t, node);
}

bool spm_node_has_first(const struct ptree *t, const struct ptree_node *node, unsigned i)
{
	static const char zero[1024];
	const struct ptree_node *leaf = i ? first_leaf(t, node, i) : NULL;

	if (t->type.key_kind == PKEY_STRING)
		return spm_node_strings(t, node)[i] == (i ? spm_node_strings(t, leaf)[0] : NULL);
	return !memcmp(spm_node_at(t, node, COLUMN_KEYS, i), i ? spm_node_at(t, leaf, COLUMN_KEYS, 0) : zero,
	               spm_key_bytes(t));
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
	spm_node_stem_anew(t, from);
	spm_node_stem_anew(t, to);
	spm_node_sample(t, from);
	spm_node_sample(t, to);
}
