/* tree.c - the ordered map: a B+tree whose nodes fill pages. Nodes by themselves: tree_node.h; ways through the tree: tree_cursor.c.
 *
 *                      [ . 40 . 80 . ]                      level 2: first keys, children, counts
 *                     /       |       \
 *        [ . 10 . 20 ]  [ . 50 . 60 ]  [ . 90 ]             level 1: first keys, children
 *         /    |    \     /   |   \      /   \
 *       1 5  10 12  20   40  50  60 65  80  90 95           level 0: the entries
 *
 * Adding puts the entry into its leaf. One that is full is split first: its upper half goes to a new leaf, which becomes a child of the node
 * above, and so on up. But a node that grows at its end keeps all, and what is new begins the next one: so ascending keys fill nodes wholly. All
 * nodes that will be needed are there before anything changes.
 *
 * Removing takes the entry out of its leaf. A node that becomes empty goes; one that is less than a quarter full is poured together with a
 * neighbour if both fill three quarters at most. Else it stays as it is: to even out with a full neighbour would write to two
 * pages more.
 *
 * Invariants (ptree_check)
 *  1. Every node has the tree's id and its level; the root is on level `levels` - 1.
 *  2. A node has 1 to `max` elements; a root that is no leaf has 2 at least.
 *  3. Keys ascend, throughout the tree; only with PMAP_DUPLICATES neighbours may be equal.
 *  4. The key of child i > 0 is a copy of the first key beneath it (of a string: the same pointer): so it never outlives the entry. That
 *     of child 0 is zero.
 *  5. From level 2 on, the counts are those of the entries beneath the children.
 *  6. What lies behind a node's last element is zero.
 *  7. All strings of a node begin with its stem, and their words are of what follows.
 *  8. The samples are those of the keys.
 */
#include "tree.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* ---- the tree ---- */

struct ptree *ptree_make(const struct pmap_type *type)
{
	struct ptree *t = pMalloc(sizeof(*t));

	if (!t)
		return NULL;
	t->type = *type;
	if (!spm_tree_lay_out(t)) {
		pFree(t);
		errno = EINVAL;
		return NULL;
	}
	/* It may be any number, but another for each tree. */
	if (getrandom(&t->id, sizeof(t->id), 0) != (ssize_t)sizeof(t->id))
		t->id = (uint64_t)(uintptr_t)t;
	t->id |= SPM_WORD_TOP;
	t->top = UINT32_MAX;
	t->changes = SPM_WORD_TOP;
	return t;
}

void ptree_clear(struct ptree *t)
{
	spm_tree_changes(t);
	if (t->levels)
		spm_node_free(t, t->root);
	t->root = NULL;
	t->levels = 0;
}

void ptree_free(struct ptree *t)
{
	if (!t)
		return;
	ptree_clear(t);
	pFree(t);
}

void ptree_set_compare(struct ptree *t, int (*compare)(const void *a, const void *b))
{
	t->type.compare = compare;
}

void *ptree_get(const struct ptree *t, const void *key)
{
	struct spm_tree_key k = spm_tree_key(t, key);
	const struct ptree_node *node = t->root;
	struct ptree_cursor c;
	unsigned i;

	if (!node || !spm_tree_can_compare(t))
		return NULL;
	if (t->type.flags & PMAP_DUPLICATES)
		return ptree_seek(t, PTREE_EQUAL, key, &c) ? ptree_value(&c) : NULL;
	while (node->level)
		node = spm_node_child(t, node, spm_node_bound(t, node, &k, true));
	i = spm_node_bound(t, node, &k, false);
	return spm_leaf_has(t, node, i, &k) ? spm_node_at(t, node, COLUMN_ITEMS, i) : NULL;
}

/* ---- adding ---- */

/* What an addition needs: a node for each level that is split, and one for the level that a new root makes. */
struct spares {
	struct ptree_node *node[PTREE_LEVELS];
	unsigned nodes;
	char *string;
};

static void spares_free(const struct ptree *t, struct spares *s)
{
	while (s->nodes)
		spm_node_release(t, s->node[--s->nodes]);
	pFree(s->string);
}

static char *string_copy(const char *s)
{
	size_t bytes = strlen(s) + 1;
	char *copy = pMallocNoPtr(bytes);

	return copy ? memcpy(copy, s, bytes) : NULL;
}

static int spares_take(const struct ptree_cursor *c, const struct spm_tree_key *key, struct spares *s)
{
	const struct ptree *t = c->tree;
	unsigned splits = 0;

	*s = (struct spares){0};
	while (splits < t->levels && c->path[splits].node->entries == spm_node_max(t, splits))
		splits++;
	if (splits == PTREE_LEVELS)
		goto no_memory;
	while (s->nodes < splits || (s->nodes == splits && splits == t->levels)) {
		if (!(s->node[s->nodes] = spm_node_make(t, s->nodes)))
			goto no_memory;
		s->nodes++;
	}
	if (t->type.key_kind == PKEY_STRING && !(s->string = string_copy(key->bytes)))
		goto no_memory;
	return 0;
no_memory:
	spares_free(t, s);
	errno = ENOMEM;
	return -1;
}

/* Of a full node the upper part goes to `right`. Returns which of both has room for an element at *place, which becomes its index there: that
 * is the first of the right one only if it is the only one. */
static struct ptree_node *split(const struct ptree *t, struct ptree_node *node, struct ptree_node *right,
                                uint32_t *place)
{
	uint32_t at = *place == node->entries || !*place ? *place : node->entries / 2U;

	spm_node_pour(t, node, at, right);
	if (right->level && right->entries)
		spm_node_set_first(t, right, 0);
	if (*place <= at && right->entries)
		return node;
	*place -= at;
	return right;
}

/* Returns the leaf that was made, or NULL. */
static struct ptree_node *add_entry(struct ptree_cursor *c, const struct spm_tree_key *key, const void *value,
                                    const struct spares *s)
{
	const struct ptree *t = c->tree;
	struct ptree_node *right = NULL;

	if (c->path[0].node->entries == spm_node_max(t, 0)) {
		right = s->node[0];
		c->path[0].node = split(t, c->path[0].node, right, &c->path[0].index);
	}
	spm_node_open(t, c->path[0].node, c->path[0].index);
	spm_leaf_set_key(t, c->path[0].node, c->path[0].index, key, s->string);
	spm_leaf_stamp(t, c->path[0].node, c->path[0].index);
	if (value)
		memcpy(ptree_value(c), value, spm_value_bytes(t));
	return right;
}

static void count_anew(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	if (node->level > 1)
		spm_node_counts(t, node)[i] = spm_node_total(t, spm_node_child(t, node, i));
}

/* The path's child at this level was split: `child` follows it. Returns the node that was made, or NULL. */
static struct ptree_node *add_child(struct ptree_cursor *c, unsigned level, struct ptree_node *child,
                                    const struct spares *s)
{
	const struct ptree *t = c->tree;
	struct ptree_node *node = c->path[level].node, *with = node, *right = NULL;
	uint32_t place = c->path[level].index + 1;

	if (node->entries == spm_node_max(t, level)) {
		right = s->node[level];
		with = split(t, node, right, &place);
	}
	spm_node_open(t, with, place);
	spm_node_children(t, with)[place] = child;
	spm_node_set_first(t, with, place);
	count_anew(t, with, place);
	if (with == right && place) { /* the child that was split went with it */
		c->path[level].node = right;
		c->path[level].index = place - 1;
	}
	count_anew(t, c->path[level].node, c->path[level].index);
	if (c->path[level - 1].node == child) {
		c->path[level].node = with;
		c->path[level].index = place;
	}
	return right;
}

/* The root was split. */
static void add_root(struct ptree_cursor *c, struct ptree_node *right, struct ptree_node *root)
{
	struct ptree *t = c->tree;

	root->entries = 2;
	spm_node_children(t, root)[0] = t->root;
	spm_node_children(t, root)[1] = right;
	spm_node_set_first(t, root, 1);
	count_anew(t, root, 0);
	count_anew(t, root, 1);
	c->path[t->levels].node = root;
	c->path[t->levels].index = c->path[t->levels - 1].node == right;
	t->root = root;
	t->levels++;
}

/* Copies of a key and a value that may lie in the tree, where adding moves them. */
struct own {
	char key[1024], value[1024];
};
static const void *own_value(const struct ptree *t, const void *value, struct own *own)
{
	return value ? memcpy(own->value, value, spm_value_bytes(t)) : NULL;
}
static struct spm_tree_key own_key(const struct ptree *t, const struct spm_tree_key *key, struct own *own)
{
	if (t->type.key_kind == PKEY_STRING)
		return *key;
	return (struct spm_tree_key){memcpy(own->key, key->bytes, spm_key_bytes(t)), key->word};
}

/* At a place, where the order wants it. Returns the value, NULL if there is no memory. */
static void *insert(struct ptree_cursor *c, const struct spm_tree_key *wanted, const void *value)
{
	struct ptree *t = c->tree;
	struct ptree_node *made;
	struct spm_tree_key key;
	struct spares s;
	struct own own;
	unsigned level;

	if (spares_take(c, wanted, &s))
		return NULL;
	key = own_key(t, wanted, &own);
	value = own_value(t, value, &own);
	spm_tree_changes(t);
	if (!t->levels) {
		t->root = c->path[0].node = s.node[0];
		t->levels = 1;
	}
	made = add_entry(c, &key, value, &s);
	for (level = 1; level < t->levels; level++) {
		if (made)
			made = add_child(c, level, made, &s);
		else if (level > 1)
			spm_node_counts(t, c->path[level].node)[c->path[level].index]++;
	}
	if (made)
		add_root(c, made, s.node[level]);
	return ptree_value(c);
}

static void *no_compare(void)
{
	errno = EINVAL;
	return NULL;
}

/* The place before the first entry that is not below the key; whether that has it. */
static bool find(struct ptree *t, const struct spm_tree_key *key, struct ptree_cursor *c)
{
	spm_cursor_to_place(t, key, false, c);
	if (t->type.flags & PMAP_DUPLICATES)
		spm_cursor_settle(c);
	return spm_leaf_has(t, c->path[0].node, c->path[0].index, key);
}

void *ptree_put(struct ptree *t, const void *key, const void *value)
{
	struct spm_tree_key k = spm_tree_key(t, key);
	struct ptree_cursor c;

	if (!spm_tree_can_compare(t))
		return no_compare();
	if (find(t, &k, &c)) {
		if (value)
			memmove(ptree_value(&c), value, spm_value_bytes(t));
		return ptree_value(&c);
	}
	if (t->type.flags & PMAP_DUPLICATES)
		spm_cursor_to_place(t, &k, true, &c);
	return insert(&c, &k, value);
}

void *ptree_add(struct ptree *t, const void *key, const void *value)
{
	struct spm_tree_key k = spm_tree_key(t, key);
	struct ptree_cursor c;

	if (!spm_tree_can_compare(t))
		return no_compare();
	if (t->type.flags & PMAP_DUPLICATES) {
		spm_cursor_to_place(t, &k, true, &c);
	} else if (find(t, &k, &c)) {
		errno = EEXIST;
		return NULL;
	}
	return insert(&c, &k, value);
}

/* ---- removing ---- */

/* The first entry beneath the path's node at this level is another one now. */
static void first_has_changed(struct ptree_cursor *c, unsigned level)
{
	while (++level < c->tree->levels)
		if (c->path[level].index) {
			spm_node_set_first(c->tree, c->path[level].node, c->path[level].index);
			return;
		}
}

/* Takes the empty node at this level out of the tree. The path above then leads to the child that followed it, or to the place behind
 * the last. */
static void unlink_node(struct ptree_cursor *c, unsigned level)
{
	const struct ptree *t = c->tree;
	struct ptree_node *parent = c->path[level + 1].node;
	unsigned i = c->path[level + 1].index;

	spm_node_release(t, c->path[level].node);
	spm_node_close(t, parent, i);
	if (!i && parent->entries) {
		spm_node_set_first(t, parent, 0);
		first_has_changed(c, level + 1);
	}
}

/* Pours child i + 1 into child i. */
static void pour_together(const struct ptree *t, struct ptree_node *parent, unsigned i)
{
	struct ptree_node *left = spm_node_child(t, parent, i), *right = spm_node_child(t, parent, i + 1);

	if (right->level)
		spm_node_copy_key(t, right, 0, parent, i + 1);
	spm_node_pour(t, right, 0, left);
	if (parent->level > 1)
		spm_node_counts(t, parent)[i] += spm_node_counts(t, parent)[i + 1];
	spm_node_close(t, parent, i + 1);
	spm_node_release(t, right);
}

/* Of children i and i + 1. */
static bool go_together(const struct ptree *t, const struct ptree_node *parent, unsigned i)
{
	if (i + 1 >= parent->entries)
		return false;
	return 4 * (spm_node_child(t, parent, i)->entries + spm_node_child(t, parent, i + 1)->entries) <=
	       3 * spm_node_max(t, parent->level - 1U);
}

/* The same for the path's node at this level and a neighbour, if they go together. The path stays right. */
static bool pour_with_neighbour(struct ptree_cursor *c, unsigned level)
{
	struct ptree_node *parent = c->path[level + 1].node;
	unsigned i = c->path[level + 1].index;

	if (go_together(c->tree, parent, i)) {
		pour_together(c->tree, parent, i);
		return true;
	}
	if (!i || !go_together(c->tree, parent, i - 1))
		return false;
	c->path[level + 1].index--;
	c->path[level].node = spm_node_child(c->tree, parent, i - 1);
	c->path[level].index += c->path[level].node->entries;
	pour_together(c->tree, parent, i - 1);
	return true;
}

static void drop_roots(struct ptree *t)
{
	while (t->levels && t->root->entries <= (t->levels > 1)) {
		struct ptree_node *root = t->root;

		t->root = t->levels > 1 ? spm_node_child(t, root, 0) : NULL;
		t->levels--;
		spm_node_release(t, root);
	}
}

/* From the place in the path's node at this level, below which nothing is right any more. */
static void path_again(struct ptree_cursor *c, unsigned level)
{
	if (!c->tree->levels) {
		spm_cursor_start(c->tree, c);
		return;
	}
	if (level >= c->tree->levels) { /* the root went that had the place: in its only child, at one end */
		bool is_first = !c->path[level].index;

		level = c->tree->levels - 1;
		c->path[level].node = c->tree->root;
		c->path[level].index = is_first ? 0 : c->tree->root->entries;
	}
	if (c->path[level].index < c->path[level].node->entries) {
		if (level) {
			c->path[level - 1].node = spm_node_child(c->tree, c->path[level].node, c->path[level].index);
			spm_cursor_to_first(c, level - 1);
		}
	} else {
		spm_cursor_to_end(c, level);
	}
	spm_cursor_settle(c);
}

/* An entry is gone from the path's leaf. */
static void shrink(struct ptree_cursor *c)
{
	struct ptree *t = c->tree;
	unsigned right_from = 0; /* the lowest level where the path is right */

	for (unsigned level = 0; level + 1 < t->levels; level++) {
		const struct ptree_node *node = c->path[level].node;

		if (!node->entries) {
			unlink_node(c, level);
			right_from = level + 1;
		} else if (4U * node->entries >= spm_node_max(t, level) || !pour_with_neighbour(c, level)) {
			break;
		}
	}
	drop_roots(t);
	path_again(c, right_from);
}

bool ptree_remove_at(struct ptree_cursor *c)
{
	struct ptree *t = c->tree;
	struct ptree_node *leaf = c->path[0].node;
	char *string;

	spm_cursor_must_be_good(c);
	spm_must(ptree_is_on(c), "a cursor that is on no entry removes one");
	string = t->type.key_kind == PKEY_STRING ? spm_node_strings(t, leaf)[c->path[0].index] : NULL;
	spm_tree_changes(t);
	c->changes = t->changes;
	spm_leaf_stamp(t, leaf, c->path[0].index);
	spm_node_close(t, leaf, c->path[0].index);
	for (unsigned level = 2; level < t->levels; level++)
		spm_node_counts(t, c->path[level].node)[c->path[level].index]--;
	if (!c->path[0].index && leaf->entries)
		first_has_changed(c, 0);
	shrink(c);
	pFree(string);
	return ptree_is_on(c);
}

bool ptree_remove(struct ptree *t, const void *key, void *value)
{
	struct spm_tree_key k = spm_tree_key(t, key);
	struct ptree_cursor c;

	if (!spm_tree_can_compare(t) || !find(t, &k, &c))
		return false;
	if (value)
		memcpy(value, ptree_value(&c), spm_value_bytes(t));
	ptree_remove_at(&c);
	return true;
}
