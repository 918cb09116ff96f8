/* tree_diff.c - what changed from one tree to another.
 *
 *   objects that differ  --->  those that are leaves  --->  ranges of keys  --->  both trees' entries in these ranges, joined
 *   (pDiffer)                  of the trees                 joined, sorted         as two sorted lists are
 *
 * An entry that only one tree has, or that has another value there, lies in a leaf that differs from what the other tree has in its
 * place, so within the range from that leaf's first key to its last. What was only moved, to another leaf, is met and found to be the same.
 */
#include "tree_diff.h"
#include "versions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool spm_trees_are_alike(const struct ptree *a, const struct ptree *b)
{
	return a->type.key_kind == b->type.key_kind && spm_key_bytes(a) == spm_key_bytes(b) &&
	       spm_value_bytes(a) == spm_value_bytes(b) && !((a->type.flags ^ b->type.flags) & PMAP_DUPLICATES) &&
	       spm_tree_can_compare(a) && spm_tree_can_compare(b);
}

/* ---- ranges ---- */

struct range {
	struct spm_tree_key first, last;
};
struct ranges {
	const struct ptree *before, *after;
	struct range *range;
	size_t n;
	bool is_all; /* instead */
};

static int range_add(struct ranges *list, const struct ptree *t, const struct ptree_node *leaf)
{
	/* Doubled at each power of two. */
	if (!(list->n & (list->n - 1))) {
		struct range *more = realloc(list->range, (list->n ? 2 * list->n : 1) * sizeof(*more));

		if (!more)
			return -1;
		list->range = more;
	}
	list->range[list->n++] = (struct range){spm_leaf_key(t, leaf, 0), spm_leaf_key(t, leaf, leaf->entries - 1U)};
	return 0;
}

static int by_first(const void *a, const void *b, void *tree)
{
	const struct range *x = a, *y = b;

	return spm_keys_compare(tree, &x->first, &y->first);
}

/* Sorts, and joins what overlaps. */
static void ranges_join(struct ranges *list)
{
	size_t n = 0;

	if (list->n)
		qsort_r(list->range, list->n, sizeof(*list->range), by_first, (void *)list->before);
	for (size_t i = 0; i < list->n; i++) {
		struct range *last = n ? &list->range[n - 1] : NULL, r = list->range[i];

		if (!last || spm_keys_compare(list->before, &r.first, &last->last) > 0)
			list->range[n++] = r;
		else if (spm_keys_compare(list->before, &r.last, &last->last) > 0)
			last->last = r.last;
	}
	list->n = n;
}

static bool is_leaf_of(const struct ptree *t, const void *object, size_t bytes)
{
	const struct ptree_node *leaf = object;

	return leaf && bytes >= t->layout[0].bytes && leaf->tree == t->id && leaf->magic == SPM_TREE_MAGIC &&
	       !leaf->level && leaf->entries && leaf->entries <= spm_node_max(t, 0);
}

static int object_collect(const struct pdiffering *object, void *arg)
{
	struct ranges *list = arg;

	if (is_leaf_of(list->before, object->first, object->size) && range_add(list, list->before, object->first))
		return -1;
	if (is_leaf_of(list->after, object->second, object->size) && range_add(list, list->after, object->second))
		return -1;
	return 0;
}

/* What differs lies in these. The list is to be freed in any case. may_ask: pDiffer, of these containers. */
static int ranges_find(struct ranges *list, const int *container, bool may_ask)
{
	list->is_all = !may_ask || list->before->id != list->after->id;
	if (list->is_all)
		return 0;
	if (!pDiffer(container[0], container[1], object_collect, list)) {
		ranges_join(list);
		return 0;
	}
	list->is_all = errno == ENOTSUP;
	return list->is_all ? 0 : -1;
}

/* ---- entries ---- */

struct comparing {
	struct ptree_cursor before, after;
	int container[2];
	pchange_fn *fn;
	void *arg;
};

/* NULL for a cursor: not there. */
static int tell(struct comparing *c, enum pchange_kind kind, const struct ptree_cursor *was,
                const struct ptree_cursor *is)
{
	struct pchange change = {
	        .kind = kind,
	        .key = ptree_key(is ? is : was),
	        .old_value = was ? ptree_value(was) : NULL,
	        .new_value = is ? ptree_value(is) : NULL,
	};

	return c->fn(&change, c->arg);
}

static int values_same(const struct comparing *c, const struct ptree_cursor *was, const struct ptree_cursor *is)
{
	return spm_values_same(spm_value_bytes(was->tree), was->tree->type.flags & PMAP_PLAIN_VALUES, c->container[0],
	                       ptree_value(was), c->container[1], ptree_value(is));
}

/* Both have the key. */
static int compare_values(struct comparing *c, const struct ptree_cursor *was, const struct ptree_cursor *is)
{
	int same = values_same(c, was, is);

	if (same)
		return same < 0 ? -1 : 0;
	return tell(c, PCHANGE_CHANGED, was, is);
}

static int cursors_compare(const struct ptree_cursor *a, const struct ptree_cursor *b)
{
	return spm_leaf_compare(a->tree, a->path[0].node, a->path[0].index, b->path[0].node, b->path[0].index);
}

/* How many entries have the key of the one at the cursor, which goes behind them. */
static uint64_t pass_key(struct ptree_cursor *c)
{
	struct ptree_cursor first = *c;
	uint64_t n = 0;

	for (bool on = true; on && !cursors_compare(&first, c); on = ptree_next(c))
		n++;
	return n;
}

/* Both have the key, with duplicates: what is the same at the beginning, and then at the end, is no change; the rest is removed and added. */
static int compare_duplicates(struct comparing *c)
{
	struct ptree_cursor was = c->before, is = c->after, was_end, is_end;
	uint64_t removed = pass_key(&c->before), added = pass_key(&c->after);
	int same = 1, result = 0;

	for (; removed && added; removed--, added--, ptree_next(&was), ptree_next(&is))
		if ((same = values_same(c, &was, &is)) != 1)
			break;
	was_end = c->before;
	is_end = c->after;
	for (; same >= 0 && removed && added; removed--, added--) {
		ptree_prev(&was_end);
		ptree_prev(&is_end);
		if ((same = values_same(c, &was_end, &is_end)) != 1)
			break;
	}
	if (same < 0)
		return -1;
	for (; !result && removed; removed--, ptree_next(&was))
		result = tell(c, PCHANGE_REMOVED, &was, NULL);
	for (; !result && added; added--, ptree_next(&is))
		result = tell(c, PCHANGE_ADDED, NULL, &is);
	return result;
}

static bool is_within(const struct ptree_cursor *c, const struct spm_tree_key *last)
{
	struct spm_tree_key key;

	if (!ptree_is_on(c))
		return false;
	if (!last)
		return true;
	key = spm_leaf_key(c->tree, c->path[0].node, c->path[0].index);
	return spm_keys_compare(c->tree, &key, last) <= 0;
}

/* From the cursors on, up to that key; NULL: to the end. */
static int compare_entries(struct comparing *c, const struct spm_tree_key *last)
{
	int result = 0;

	while (!result) {
		bool has_old = is_within(&c->before, last), has_new = is_within(&c->after, last);
		int order = !has_old ? 1 : !has_new ? -1 : cursors_compare(&c->before, &c->after);

		if (!has_old && !has_new)
			break;
		if (!order && (c->before.tree->type.flags & PMAP_DUPLICATES)) {
			result = compare_duplicates(c);
			continue;
		}
		if (order < 0)
			result = tell(c, PCHANGE_REMOVED, &c->before, NULL);
		else if (order > 0)
			result = tell(c, PCHANGE_ADDED, NULL, &c->after);
		else
			result = compare_values(c, &c->before, &c->after);
		if (order <= 0)
			ptree_next(&c->before);
		if (order >= 0)
			ptree_next(&c->after);
	}
	return result;
}

static int compare_ranges(struct comparing *c, const struct ranges *list)
{
	int result = 0;

	if (list->is_all) {
		ptree_first(list->before, &c->before);
		ptree_first(list->after, &c->after);
		return compare_entries(c, NULL);
	}
	for (size_t i = 0; i < list->n && !result; i++) {
		ptree_seek(list->before, PTREE_CEILING, list->range[i].first.bytes, &c->before);
		ptree_seek(list->after, PTREE_CEILING, list->range[i].first.bytes, &c->after);
		result = compare_entries(c, &list->range[i].last);
	}
	return result;
}

int ptree_diff(const struct ptree *before, const struct ptree *after, pchange_fn *fn, void *arg)
{
	struct ranges list = {.before = before, .after = after};
	struct comparing c = {.fn = fn, .arg = arg};
	int result, may_ask;

	if (!spm_trees_are_alike(before, after)) {
		errno = EINVAL;
		return -1;
	}
	if (before == after)
		return 0;
	may_ask = spm_versions_find(before, after, c.container);
	result = may_ask < 0 ? -1 : ranges_find(&list, c.container, may_ask);
	if (!result)
		result = compare_ranges(&c, &list);
	free(list.range);
	return result;
}
