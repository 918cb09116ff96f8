/* tree_node.h - the nodes of a tree: what they look like, and what is done within one.
 *
 *   leaf, level 0      | header | keys        | strings        | values |
 *   inner, level 1..   | header | plain | strings  | children |
 *                                  |
 *                                  +--> | keys        | counts (level 2..) |
 *   column                              0              1, 2                3
 *
 * A node is a row of columns, arrays of `max` elements each; element i of all of them is entry i of a leaf, child i of an inner node. The key
 * of a child is the first one beneath it. Strings (PKEY_STRING) are pointers to the tree's copies; their keys are words of 8 bytes.
 *
 * Numbers lie as the program gave them (but -0 as 0, and one NaN for all). They are compared as *words*: unsigned, in the order of the
 * keys. So are strings, which are looked at themselves only where words are equal.
 *
 * What all strings of a node begin with is its *stem*, which lies before all else. A string's word is of the 8 bytes behind the stem, so that words differ
 * although neighbours have much in common. The stem may be shorter than it could be: removing leaves it as it is. Neither
 * stem nor words look like addresses: they have bytes of strings, which are not zero, where addresses have zeros; what is free of the stem is 0xff.
 *
 * Before the keys of these kinds lie the words of SPM_SAMPLES of them, evenly spread: in a leaf without pointers they and the header are two
 * cache lines. So a search reads these two, then the keys between two samples, two or three lines side by side, and what belongs to them: that is
 * less to wait for than the middles of halves, each of which tells where the next one is.
 *
 * Memory that has pointers is searched for them. What looks like one keeps alive what lies there, and is changed if the container is
 * moved, or comes to be restored where a library lay when it was saved. That may not happen to keys. So inner nodes have keys, and counts, in
 * memory of their own, from pMallocNoPtr, and leaves too if values have pointers and keys have none. (Keys that have pointers are in the hands of
 * the program, as all its structures; words of strings are too large for addresses.) A leaf of which neither keys nor values have pointers is from
 * pMallocNoPtr itself, and has none at all, not to its neighbours either; the tree is told by an id whose top bit is set.
 *
 * A leaf that has pointers has a *stamp*: a hash of all that was added to it and removed, and so on for the leaves that it was split from or poured
 * into. Its bytes may be the same, when keys in memory of their own are others, or another string got the place of one that was removed;
 * its stamp never is: so what pDiffer tells of leaves is all that there is to tell.
 *
 * Why counts where they are: those of the children of level 1, the leaves, would be written by each change of a leaf, in as many pages as
 * there are nodes of level 1, a hundredth of the tree. Leaves tell how many entries they have themselves; to add up some hundred of
 * them, when somebody asks, is as fast as to find a key. Of the levels above there are few pages, which the changes between two points share.
 */
#ifndef SPM_DS_TREE_NODE_H
#define SPM_DS_TREE_NODE_H

#include "misuse.h"

#include <softpm/tree.h>

enum { COLUMN_KEYS, COLUMN_STRINGS, COLUMN_ITEMS, COLUMN_COUNTS };
enum { SPM_SAMPLES = 14, SPM_STEM_MAX = 47 };
enum { SPM_TREE_MAGIC = 0x65727470 /* "ptre" */, SPM_HEADER = 16, SPM_SPLIT_HEADER = 32 };
#define SPM_WORD_TOP (UINT64_C(1) << 63)

/* A node that has pointers. */
struct spm_split {
	struct ptree_node node;
	void *plain;    /* keys and counts, if they are in memory of their own */
	uint64_t stamp; /* leaves */
};

/* A key that is searched. */
struct spm_tree_key {
	const void *bytes; /* of PKEY_STRING: the string */
	uint64_t word;     /* of numbers */
};

struct spm_stem {
	uint8_t bytes;
	char text[SPM_STEM_MAX];
};
struct spm_tree_key spm_tree_key(const struct ptree *t, const void *key);

/* False: the type makes no sense. */
bool spm_tree_lay_out(struct ptree *t);

static inline unsigned spm_layout_of(unsigned level)
{
	return level < 2 ? level : 2;
}
static inline size_t spm_key_bytes(const struct ptree *t)
{
	return t->layout[0].column[COLUMN_KEYS].bytes;
}
static inline size_t spm_value_bytes(const struct ptree *t)
{
	return t->layout[0].column[COLUMN_ITEMS].bytes;
}
static inline unsigned spm_node_max(const struct ptree *t, unsigned level)
{
	return t->layout[spm_layout_of(level)].max;
}
/* Where its keys and counts are. */
static inline void *spm_node_plain(const struct ptree *t, const struct ptree_node *node)
{
	return t->layout[spm_layout_of(node->level)].plain_bytes ? ((const struct spm_split *)node)->plain
	                                                         : (void *)node;
}
static inline void *spm_node_at(const struct ptree *t, const struct ptree_node *node, unsigned column, size_t i)
{
	const struct ptree_layout *layout = &t->layout[spm_layout_of(node->level)];
	const void *base = column == COLUMN_KEYS || column == COLUMN_COUNTS ? spm_node_plain(t, node) : node;

	return (char *)base + layout->column[column].at + i * layout->column[column].bytes;
}
static inline uint64_t *spm_node_words(const struct ptree *t, const struct ptree_node *node)
{
	return spm_node_at(t, node, COLUMN_KEYS, 0);
}
static inline char **spm_node_strings(const struct ptree *t, const struct ptree_node *node)
{
	return spm_node_at(t, node, COLUMN_STRINGS, 0);
}
static inline struct ptree_node **spm_node_children(const struct ptree *t, const struct ptree_node *node)
{
	return spm_node_at(t, node, COLUMN_ITEMS, 0);
}
static inline uint64_t *spm_node_counts(const struct ptree *t, const struct ptree_node *node)
{
	return spm_node_at(t, node, COLUMN_COUNTS, 0);
}
bool spm_leaf_is_stamped(const struct ptree *t);
/* Element i of the leaf was added, or will be removed. */
void spm_leaf_stamp(const struct ptree *t, struct ptree_node *leaf, unsigned i);
/* Of kinds that are compared as words. */
static inline bool spm_keys_are_words(const struct ptree *t)
{
	return t->type.key_kind != PKEY_BYTES && t->type.key_kind != PKEY_CUSTOM;
}
static inline uint64_t *spm_node_samples(const struct ptree *t, const struct ptree_node *node)
{
	return spm_node_words(t, node) - SPM_SAMPLES;
}
static inline struct spm_stem *spm_node_stem(const struct ptree *t, const struct ptree_node *node)
{
	return (struct spm_stem *)spm_node_samples(t, node) - 1;
}
static inline struct ptree_node *spm_node_child(const struct ptree *t, const struct ptree_node *node, size_t i)
{
	struct ptree_node *child = spm_node_children(t, node)[i];

	spm_must(child->tree == t->id && child->level + 1U == node->level, "a tree's memory was overwritten, or freed");
	return child;
}
/* How many entries lie beneath it. */
uint64_t spm_node_total(const struct ptree *t, const struct ptree_node *node);

struct ptree_node *spm_node_make(const struct ptree *t, unsigned level);
void spm_node_release(const struct ptree *t, struct ptree_node *node);
/* With all beneath it, and the strings. */
void spm_node_free(const struct ptree *t, struct ptree_node *node);

/* Of a leaf: how many entries are before the key, or_equal: not behind it. Of an inner node: the child that such a place is in. */
unsigned spm_node_bound(const struct ptree *t, const struct ptree_node *node, const struct spm_tree_key *key,
                        bool or_equal);
bool spm_leaf_has(const struct ptree *t, const struct ptree_node *leaf, unsigned i, const struct spm_tree_key *key);
/* As strcmp, for as much of the string as the stem has. */
int spm_stem_compare(const struct spm_stem *stem, const char *string);
/* Of 8 bytes. */
uint64_t spm_string_word(const char *string);
/* The bits of a double as a tree keeps them: of all that are equal one. */
uint64_t spm_double_bits(const void *key);
/* As strcmp, of two leaves' entries. */
int spm_leaf_compare(const struct ptree *t, const struct ptree_node *a, unsigned i, const struct ptree_node *b,
                     unsigned j);
/* The same of two keys, of one tree or trees of the same type. */
int spm_keys_compare(const struct ptree *t, const struct spm_tree_key *a, const struct spm_tree_key *b);
/* What leaf entry i is as a key. */
struct spm_tree_key spm_leaf_key(const struct ptree *t, const struct ptree_node *leaf, unsigned i);

/* string: the copy, of PKEY_STRING. */
void spm_leaf_set_key(const struct ptree *t, struct ptree_node *leaf, unsigned i, const struct spm_tree_key *key,
                      char *string);
/* Makes the stem as long as it can be, and words anew. Of kinds other than PKEY_STRING: nothing. */
void spm_node_stem_anew(const struct ptree *t, struct ptree_node *node);
bool spm_node_has_words(const struct ptree *t, const struct ptree_node *node);
/* Key i becomes key j of another inner node (of strings: but for the word). */
void spm_node_copy_key(const struct ptree *t, struct ptree_node *node, unsigned i, const struct ptree_node *other,
                       unsigned j);
/* The key of inner node's child i becomes that of the first entry beneath it; of child 0: zero. */
void spm_node_set_first(const struct ptree *t, struct ptree_node *node, unsigned i);
bool spm_node_has_first(const struct ptree *t, const struct ptree_node *node, unsigned i);

/* Takes the samples anew, as all functions below do that change keys. Of kinds without samples: nothing. */
void spm_node_sample(const struct ptree *t, struct ptree_node *node);
/* Whether the samples are those of its keys. */
bool spm_node_is_sampled(const struct ptree *t, const struct ptree_node *node);
/* Makes room for an element, zero, at i; takes one out; what gets free is zero. */
void spm_node_open(const struct ptree *t, struct ptree_node *node, unsigned i);
void spm_node_close(const struct ptree *t, struct ptree_node *node, unsigned i);
/* The elements from first on go behind those of `to`, which has the same level. */
void spm_node_pour(const struct ptree *t, struct ptree_node *from, unsigned first, struct ptree_node *to);

#endif
