/* tree_merge.c - two versions' changes of a tree in one.
 *
 *            theirs is as base    theirs differs from base
 *   ours is
 *   as base      (not told)         becomes as theirs
 *   as theirs    (not told)         is right already
 *   else         (not told)         conflict
 *
 * Only what differs between base and theirs is told (tree_diff.c), so the cost follows that, however far ours has gone.
 *
 * With duplicates entries have no names that both sides could mean: what theirs removed is removed where ours still has such an entry, what it
 * added is added, and nothing is a conflict.
 */
#include "merged.h"
#include "tree_diff.h"
#include "versions.h"

#include <errno.h>
#include <string.h>

struct merging {
	struct ptree *ours;
	int base_id, ours_id, theirs_id;
	const struct pmerge *how;
	struct pmerged *result;
};
union value {
	char bytes[1024];
	max_align_t align;
};

/* What ours gets for a value of theirs. */
static int value_copy(const struct merging *m, union value *value, const void *theirs)
{
	if (m->how->copy && spm_value_bytes(m->ours))
		return m->how->copy(value, theirs, m->how->arg) ? -1 : 0;
	memcpy(value, theirs, spm_value_bytes(m->ours));
	return 0;
}

/* ---- entries by their keys ---- */

/* There is room for the key before the value is copied, so that no copy is lost for want of memory. */
static int theirs_put(struct merging *m, const void *key, const void *theirs)
{
	union value value = {{0}};
	bool was_there = ptree_get(m->ours, key);
	void *place = ptree_put(m->ours, key, NULL);

	if (!place)
		return -1;
	if (!value_copy(m, &value, theirs)) {
		memcpy(place, &value, spm_value_bytes(m->ours));
		return 0;
	}
	if (!was_there)
		ptree_remove(m->ours, key, NULL);
	return -1;
}

static int theirs_take(struct merging *m, const void *key, const void *theirs)
{
	if (theirs && theirs_put(m, key, theirs))
		return -1;
	if (!theirs)
		ptree_remove(m->ours, key, NULL);
	m->result->applied++;
	return 0;
}

static int conflict_resolve(struct merging *m, const struct pconflict *conflict)
{
	union value mixed = {{0}};

	m->result->conflicts++;
	if (!m->how->resolve)
		return spm_merged_add(m->result, conflict);
	switch (m->how->resolve(conflict, &mixed, m->how->arg)) {
	case PMERGE_OURS:
		return 0;
	case PMERGE_THEIRS:
		return theirs_take(m, conflict->key, conflict->theirs);
	case PMERGE_MIXED:
		if (!ptree_put(m->ours, conflict->key, &mixed))
			return -1;
		m->result->applied++;
		return 0;
	default:
		errno = ECANCELED;
		return -1;
	}
}

/* A change from base to theirs. */
static int change_merge(const struct pchange *change, void *arg)
{
	struct merging *m = arg;
	struct pconflict conflict = {
	        .key = change->key,
	        .base = change->old_value,
	        .ours = ptree_get(m->ours, change->key),
	        .theirs = change->new_value,
	};
	int same = spm_values_same(m->ours, m->base_id, conflict.base, m->ours_id, conflict.ours);

	if (same > 0)
		return theirs_take(m, conflict.key, conflict.theirs);
	if (!same)
		same = spm_values_same(m->ours, m->ours_id, conflict.ours, m->theirs_id, conflict.theirs);
	return same ? (same > 0 ? 0 : -1) : conflict_resolve(m, &conflict);
}

/* What came in may have moved values of ours. */
static void conflicts_find_again(const struct merging *m)
{
	for (size_t i = 0; i < m->result->unresolved; i++)
		m->result->conflict[i].ours = ptree_get(m->ours, m->result->conflict[i].key);
}

/* ---- duplicates ---- */

/* The first entry of ours with that key and value: 1; there is none: 0. */
static int find_such(const struct merging *m, const void *key, const void *value, struct ptree_cursor *c)
{
	struct spm_tree_key k = spm_tree_key(m->ours, key);

	for (bool on = ptree_seek(m->ours, PTREE_EQUAL, key, c); on; on = ptree_next(c)) {
		int same;

		if (!spm_leaf_has(m->ours, c->path[0].node, c->path[0].index, &k))
			return 0;
		same = spm_values_same(m->ours, m->base_id, value, m->ours_id, ptree_value(c));
		if (same)
			return same;
	}
	return 0;
}

static int duplicate_merge(const struct pchange *change, void *arg)
{
	struct merging *m = arg;
	struct ptree_cursor c;
	union value value = {{0}};
	int found;

	if (change->kind == PCHANGE_ADDED) {
		if (value_copy(m, &value, change->new_value) || !ptree_add(m->ours, change->key, &value))
			return -1;
		m->result->applied++;
		return 0;
	}
	found = find_such(m, change->key, change->old_value, &c);
	if (found > 0) {
		ptree_remove_at(&c);
		m->result->applied++;
	}
	return found < 0 ? -1 : 0;
}

int ptree_merge(const struct ptree *base, struct ptree *ours, const struct ptree *theirs, const struct pmerge *how,
                struct pmerged *result)
{
	static const struct pmerge nothing;
	struct merging m = {.ours = ours, .how = how ? how : &nothing, .result = result};
	bool has_duplicates = ours->type.flags & PMAP_DUPLICATES;
	int failed;

	*result = (struct pmerged){0};
	if (ours == base || ours == theirs || !spm_trees_are_alike(base, ours) || !spm_trees_are_alike(base, theirs) ||
	    (spm_value_bytes(ours) && !(ours->type.flags & PMAP_PLAIN_VALUES) && !m.how->copy)) {
		errno = EINVAL;
		return -1;
	}
	if (spm_versions_find_one(base, &m.base_id) || spm_versions_find_one(ours, &m.ours_id) ||
	    spm_versions_find_one(theirs, &m.theirs_id))
		return -1;
	failed = ptree_diff(base, theirs, has_duplicates ? duplicate_merge : change_merge, &m);
	conflicts_find_again(&m);
	return failed ? -1 : 0;
}
