/* tree_cursor.c - finding places in a tree, and going on from there. See tree.h for what a place is. */
#include "tree.h"

const struct ptree_node spm_tree_no_leaf = {.magic = SPM_TREE_MAGIC};

static void step_down(struct ptree_cursor *c, unsigned level)
{
	c->path[level - 1].node = spm_node_child(c->tree, c->path[level].node, c->path[level].index);
}

void spm_cursor_to_first(struct ptree_cursor *c, unsigned level)
{
	for (c->path[level].index = 0; level; c->path[--level].index = 0)
		step_down(c, level);
}

void spm_cursor_to_end(struct ptree_cursor *c, unsigned level)
{
	for (; level; level--) {
		c->path[level].index = c->path[level].node->entries - 1;
		step_down(c, level);
	}
	c->path[0].index = c->path[0].node->entries;
}

void spm_cursor_to_place(const struct ptree *t, const struct spm_tree_key *key, bool after, struct ptree_cursor *c)
{
	/* Entries with a child's first key may lie in the child before, if there are duplicates. */
	bool or_equal = after || !(t->type.flags & PMAP_DUPLICATES);

	spm_cursor_start(t, c);
	if (!t->levels)
		return;
	c->path[t->levels - 1].node = t->root;
	for (unsigned level = t->levels - 1; level; level--) {
		c->path[level].index = spm_node_bound(t, c->path[level].node, key, or_equal);
		step_down(c, level);
	}
	c->path[0].index = spm_node_bound(t, c->path[0].node, key, after);
}

/* ---- neighbours ---- */

/* What will be wanted next comes into the cache meanwhile: the beginnings of a leaf's keys and values. */
static void prefetch(const struct ptree *t, const struct ptree_node *parent, unsigned child)
{
	if (child < parent->entries) {
		const char *leaf = (const char *)spm_node_children(t, parent)[child];

		__builtin_prefetch(leaf);
		__builtin_prefetch(leaf + 64);
		__builtin_prefetch(leaf + t->layout[0].column[COLUMN_ITEMS].at);
	}
}

bool ptree_next_leaf(struct ptree_cursor *c)
{
	spm_cursor_must_be_good(c);
	if (c->path[0].index == UINT32_MAX && c->tree->levels) {
		c->path[0].index = 0;
		return true;
	}
	for (unsigned level = 1; level < c->tree->levels; level++) {
		if (c->path[level].index + 1 >= c->path[level].node->entries)
			continue;
		c->path[level].index++;
		step_down(c, level);
		spm_cursor_to_first(c, level - 1);
		prefetch(c->tree, c->path[1].node, c->path[1].index + 1);
		return true;
	}
	c->path[0].index = c->path[0].node->entries;
	return false;
}

bool ptree_prev_leaf(struct ptree_cursor *c)
{
	spm_cursor_must_be_good(c);
	if (c->path[0].index == c->path[0].node->entries && c->path[0].index) {
		c->path[0].index--;
		return true;
	}
	for (unsigned level = 1; level < c->tree->levels; level++) {
		if (!c->path[level].index)
			continue;
		c->path[level].index--;
		step_down(c, level);
		spm_cursor_to_end(c, level - 1);
		c->path[0].index--;
		prefetch(c->tree, c->path[1].node, c->path[1].index - 1);
		return true;
	}
	c->path[0].index = UINT32_MAX;
	return false;
}

bool spm_cursor_settle(struct ptree_cursor *c)
{
	return ptree_is_on(c) || ptree_next_leaf(c);
}

/* ---- seeking ---- */

bool ptree_seek(const struct ptree *t, enum ptree_where where, const void *key, struct ptree_cursor *c)
{
	struct spm_tree_key k = spm_tree_key(t, key);

	spm_cursor_start(t, c);
	if (!spm_tree_can_compare(t))
		return false;
	spm_cursor_to_place(t, &k, where == PTREE_UPPER || where == PTREE_FLOOR, c);
	if (where == PTREE_FLOOR || where == PTREE_LOWER)
		return ptree_prev(c);
	return spm_cursor_settle(c) && (where != PTREE_EQUAL || spm_leaf_has(t, c->path[0].node, c->path[0].index, &k));
}

static void start_at_root(const struct ptree *t, struct ptree_cursor *c)
{
	spm_cursor_start(t, c);
	if (t->levels)
		c->path[t->levels - 1].node = t->root;
}

bool ptree_first(const struct ptree *t, struct ptree_cursor *c)
{
	start_at_root(t, c);
	if (!t->levels)
		return false;
	spm_cursor_to_first(c, t->levels - 1);
	return true;
}

bool ptree_last(const struct ptree *t, struct ptree_cursor *c)
{
	start_at_root(t, c);
	if (!t->levels)
		return false;
	spm_cursor_to_end(c, t->levels - 1);
	c->path[0].index--;
	return true;
}

/* ---- rank ---- */

uint64_t ptree_count(const struct ptree *t)
{
	return t->levels ? spm_node_total(t, t->root) : 0;
}

static uint64_t child_total(const struct ptree *t, const struct ptree_node *node, unsigned i)
{
	return node->level == 1 ? spm_node_child(t, node, i)->entries : spm_node_counts(t, node)[i];
}

static uint64_t entries_before(const struct ptree_cursor *c)
{
	uint64_t before = c->path[0].index;

	for (unsigned level = 1; level < c->tree->levels; level++)
		for (unsigned i = 0; i < c->path[level].index; i++)
			before += child_total(c->tree, c->path[level].node, i);
	return before;
}

uint64_t ptree_rank_at(const struct ptree_cursor *c)
{
	spm_cursor_must_be_good(c);
	return c->path[0].index == UINT32_MAX ? 0 : entries_before(c);
}

uint64_t ptree_rank(const struct ptree *t, const void *key)
{
	struct spm_tree_key k = spm_tree_key(t, key);
	struct ptree_cursor c;

	if (!spm_tree_can_compare(t))
		return 0;
	spm_cursor_to_place(t, &k, false, &c);
	return entries_before(&c);
}

bool ptree_select(const struct ptree *t, uint64_t rank, struct ptree_cursor *c)
{
	start_at_root(t, c);
	if (!t->levels)
		return false;
	for (unsigned level = t->levels - 1; level; level--) {
		const struct ptree_node *node = c->path[level].node;
		unsigned i = 0;

		for (uint64_t n; i + 1 < node->entries && rank >= (n = child_total(t, node, i)); i++)
			rank -= n;
		c->path[level].index = i;
		step_down(c, level);
	}
	c->path[0].index = rank < c->path[0].node->entries ? (uint32_t)rank : c->path[0].node->entries;
	return ptree_is_on(c);
}
