/* tree.h - what the files of the tree know of each other, beside its nodes (tree_node.h).
 *
 * A cursor's path is the way from the root to an entry: path[level] is the node of that level, and which of its elements: in the leaf, path[0],
 * the entry, above the child that leads there. path[0].index is the leaf's number of entries behind the last entry of the tree, UINT32_MAX
 * before the first, and never else out of the leaf. Functions that are about a *place* mean one before, between or behind entries; path[0].index may be
 * the leaf's number of entries for those, too.
 */
#ifndef SPM_DS_TREE_H
#define SPM_DS_TREE_H

#include "tree_node.h"

extern const struct ptree_node spm_tree_no_leaf; /* what cursors of empty trees are on */

static inline bool spm_tree_can_compare(const struct ptree *t)
{
	return t->type.key_kind != PKEY_CUSTOM || t->type.compare;
}
/* The tree changes; cursors from before are void. Only debug builds look: it is one more page that changes. */
static inline void spm_tree_changes(struct ptree *t)
{
#ifdef SPM_DEBUG
	t->changes++;
#else
	(void)t;
#endif
}
static inline void spm_cursor_must_be_good(const struct ptree_cursor *c)
{
	spm_must(c->changes == c->tree->changes, "a cursor is used after its tree was changed");
}
/* At no place yet, but that of an empty tree. */
static inline void spm_cursor_start(const struct ptree *t, struct ptree_cursor *c)
{
	c->tree = (struct ptree *)t;
	c->changes = t->changes;
	c->path[0].node = (struct ptree_node *)&spm_tree_no_leaf;
	c->path[0].index = 0;
}

/* From the node at that level down to its first entry; to the place behind its last. */
void spm_cursor_to_first(struct ptree_cursor *c, unsigned level);
void spm_cursor_to_end(struct ptree_cursor *c, unsigned level);
/* The place before the first entry that is not below the key; or `after` the last that is not above. */
void spm_cursor_to_place(const struct ptree *t, const struct spm_tree_key *key, bool after, struct ptree_cursor *c);
/* From a place behind a leaf's last entry to the next leaf's first. Whether it is on an entry. */
bool spm_cursor_settle(struct ptree_cursor *c);

#endif
