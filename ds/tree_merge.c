/* tree_merge.c - trees for map_merge.h, and those with duplicates.
 *
 * With duplicates entries have no names that both sides could mean: what theirs removed is removed where ours still has such an entry, what it
 * added is added, and nothing is a conflict.
 */
#include "map_merge.h"
#include "tree_diff.h"
#include "versions.h"

#include <errno.h>
#include <string.h>

static void *get(void *t, const void *key)
{
	return ptree_get(t, key);
}

static void *put(void *t, const void *key, const void *value)
{
	return ptree_put(t, key, value);
}

static void take(void *t, const void *key)
{
	ptree_remove(t, key, NULL);
}

/* ---- duplicates ---- */

/* 1, or -1. There is room for the entry before the value is copied, so that no copy is lost for want of memory. */
static int duplicate_add(const struct spm_map_merge *m, const void *key, const void *theirs)
{
	union spm_map_value value = {{0}};
	struct ptree *ours = m->ours.map;
	struct ptree_cursor c;
	void *place = ptree_add(ours, key, NULL);

	if (!place)
		return -1;
	if (!spm_map_merge_copy(m, &value, theirs)) {
		memcpy(place, &value, m->ours.value_bytes);
		return 1;
	}
	ptree_seek(ours, PTREE_FLOOR, key, &c); /* the last one with the key */
	ptree_remove_at(&c);
	return -1;
}

/* The first entry of ours with that key and value: 1; there is none: 0. */
static int find_such(const struct spm_map_merge *m, const void *key, const void *value, struct ptree_cursor *c)
{
	const struct ptree *ours = m->ours.map;
	struct spm_tree_key k = spm_tree_key(ours, key);

	for (bool on = ptree_seek(ours, PTREE_EQUAL, key, c); on; on = ptree_next(c)) {
		int same;

		if (!spm_leaf_has(ours, c->path[0].node, c->path[0].index, &k))
			return 0;
		same = spm_values_same(m->ours.value_bytes, m->ours.are_values_plain, m->base_id, value, m->ours_id,
		                       ptree_value(c));
		if (same)
			return same;
	}
	return 0;
}

static int duplicate_take(const struct spm_map_merge *m, const void *key, const void *value)
{
	struct ptree_cursor c;
	int found = find_such(m, key, value, &c);

	if (found > 0)
		ptree_remove_at(&c);
	return found;
}

static int duplicate_merge(const struct pchange *change, void *arg)
{
	struct spm_map_merge *m = arg;
	int done = change->kind == PCHANGE_ADDED ? duplicate_add(m, change->key, change->new_value)
	                                         : duplicate_take(m, change->key, change->old_value);

	m->result->applied += done > 0;
	return done < 0 ? -1 : 0;
}

int ptree_merge(const struct ptree *base, struct ptree *ours, const struct ptree *theirs, const struct pmerge *how,
                struct pmerged *result)
{
	bool has_duplicates = ours->type.flags & PMAP_DUPLICATES;
	bool are_values_plain = !spm_value_bytes(ours) || ours->type.flags & PMAP_PLAIN_VALUES;
	struct spm_map_merge m = {
	        .ours = {ours, get, put, take, spm_value_bytes(ours), are_values_plain},
	        .result = result,
	};

	*result = (struct pmerged){0};
	if (!spm_trees_are_alike(base, ours) || !spm_trees_are_alike(base, theirs)) {
		errno = EINVAL;
		return -1;
	}
	if (spm_map_merge_begin(&m, base, theirs, how))
		return -1;
	return spm_map_merge_end(&m,
	                         ptree_diff(base, theirs, has_duplicates ? duplicate_merge : spm_map_merge_change, &m));
}
