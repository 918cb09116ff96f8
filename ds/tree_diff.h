/* tree_diff.h - what a merge needs of tree_diff.c. */
#ifndef SPM_DS_TREE_DIFF_H
#define SPM_DS_TREE_DIFF_H

#include "tree.h"

/* Whether they can be compared: the same kinds of keys, and sizes. */
bool spm_trees_are_alike(const struct ptree *a, const struct ptree *b);

#endif
