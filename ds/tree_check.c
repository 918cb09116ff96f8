/* tree_check.c - is a tree whole? The invariants, by number, are those of tree.c. */
#include "there.h"
#include "tree.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct check {
	const struct ptree *t;
	const struct ptree_node *leaf; /* the one before */
	char *why;
	size_t bytes;
};

static __attribute__((format(printf, 3, 4))) bool broken(const struct check *k, int invariant, const char *format, ...)
{
	char sentence[200];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	if (k->bytes)
		snprintf(k->why, k->bytes, "tree at %p: %s (invariant %d)", (const void *)k->t, sentence, invariant);
	return false;
}

/* 1 and 2: what must be right before anything else is looked at. */
static bool header_is_whole(const struct check *k, const struct ptree_node *node, unsigned level)
{
	const struct ptree_layout *layout = &k->t->layout[spm_layout_of(level)];

	if (!spm_is_there(node, layout->bytes) || node->tree != k->t->id || node->magic != SPM_TREE_MAGIC ||
	    node->level != level)
		return broken(k, 1, "what should be a node of level %u at %p is none", level, (const void *)node);
	if (layout->plain_bytes && !spm_is_there(spm_node_plain(k->t, node), layout->plain_bytes))
		return broken(k, 1, "the keys of the node at %p are not there", (const void *)node);
	if (!node->entries || node->entries > spm_node_max(k->t, level))
		return broken(k, 2, "the node at %p has %u elements of %u", (const void *)node, node->entries,
		              spm_node_max(k->t, level));
	return true;
}

static bool ends_with_zeros(const struct check *k, const struct ptree_node *node)
{
	for (unsigned c = 0; c < PTREE_COLUMNS; c++) {
		const char *p = spm_node_at(k->t, node, c, node->entries);
		const char *end = spm_node_at(k->t, node, c, spm_node_max(k->t, node->level));

		for (; p < end; p++)
			if (*p)
				return broken(k, 6, "there is something behind the end of the node at %p",
				              (const void *)node);
	}
	return true;
}

static bool ascend(const struct check *k, const struct ptree_node *a, unsigned i, const struct ptree_node *b,
                   unsigned j)
{
	int order = spm_leaf_compare(k->t, a, i, b, j);

	if (order < 0 || (!order && (k->t->type.flags & PMAP_DUPLICATES)))
		return true;
	return broken(k, 3, "entry %u of the leaf at %p is not in order", j, (const void *)b);
}

static bool is_sampled(const struct check *k, const struct ptree_node *node)
{
	if (!spm_node_has_words(k->t, node))
		return broken(k, 7, "strings of the node at %p were changed", (const void *)node);
	return spm_node_is_sampled(k->t, node) ||
	       broken(k, 8, "the samples of the node at %p are not its keys'", (const void *)node);
}

static bool leaf_is_whole(struct check *k, const struct ptree_node *leaf)
{
	for (unsigned i = 0; k->t->type.key_kind == PKEY_STRING && i < leaf->entries; i++)
		if (!spm_string_is_there(spm_node_strings(k->t, leaf)[i]))
			return broken(k, 7, "string %u of the leaf at %p is not there", i, (const void *)leaf);
	if (k->leaf && !ascend(k, k->leaf, k->leaf->entries - 1U, leaf, 0))
		return false;
	for (unsigned i = 1; i < leaf->entries; i++)
		if (!ascend(k, leaf, i - 1, leaf, i))
			return false;
	k->leaf = leaf;
	return is_sampled(k, leaf);
}

static bool is_whole(struct check *k, const struct ptree_node *node, unsigned level, uint64_t *entries)
{
	if (!header_is_whole(k, node, level) || !ends_with_zeros(k, node))
		return false;
	if (!level) {
		*entries += node->entries;
		return leaf_is_whole(k, node);
	}
	for (unsigned i = 0; i < node->entries; i++) {
		uint64_t beneath = 0;

		if (!is_whole(k, spm_node_children(k->t, node)[i], level - 1, &beneath))
			return false;
		if (!spm_node_has_first(k->t, node, i))
			return broken(k, 4, "key %u of the node at %p is not the first beneath", i, (const void *)node);
		if (level > 1 && spm_node_counts(k->t, node)[i] != beneath)
			return broken(k, 5, "child %u of the node at %p has another number of entries", i,
			              (const void *)node);
		*entries += beneath;
	}
	return is_sampled(k, node);
}

/* What the type says. */
static bool layout_is_whole(const struct check *k)
{
	struct ptree like = {.type = k->t->type};

	if (spm_tree_lay_out(&like) && !memcmp(like.layout, k->t->layout, sizeof(like.layout)))
		return true;
	return broken(k, 1, "its header was overwritten");
}

int ptree_check(const struct ptree *t, char *why, size_t bytes)
{
	struct check k = {.t = t, .why = why, .bytes = bytes};
	uint64_t entries = 0;
	bool is_so;

	if (t->levels > PTREE_LEVELS || !t->levels != !t->root)
		is_so = broken(&k, 1, "it has %u levels", t->levels);
	else if (!spm_tree_can_compare(t))
		is_so = broken(&k, 3, "the function that compares its keys is not there");
	else
		is_so = layout_is_whole(&k) && (!t->levels || is_whole(&k, t->root, t->levels - 1, &entries));
	if (is_so && t->levels > 1 && t->root->entries < 2)
		is_so = broken(&k, 2, "the root has one child");
	if (!is_so)
		errno = EUCLEAN;
	return is_so ? 0 : -1;
}
