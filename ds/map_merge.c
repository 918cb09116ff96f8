/* map_merge.c - two versions' changes of a map in one.
 *
 *            theirs is as base    theirs differs from base
 *   ours is
 *   as base      (not told)         becomes as theirs
 *   as theirs    (not told)         is right already
 *   else         (not told)         conflict
 *
 * Only what differs between base and theirs is told (tree_diff.c, hash_diff.c), so the cost follows that, however far ours has gone.
 */
#include "map_merge.h"
#include "merged.h"
#include "versions.h"

#include <errno.h>
#include <string.h>

int spm_map_merge_begin(struct spm_map_merge *m, const void *base, const void *theirs, const struct pmerge *how)
{
	if (how)
		m->how = *how;
	if (m->ours.map == base || m->ours.map == theirs || !(m->ours.are_values_plain || m->how.copy)) {
		errno = EINVAL;
		return -1;
	}
	return spm_versions_find_one(base, &m->base_id) || spm_versions_find_one(m->ours.map, &m->ours_id) ||
	                       spm_versions_find_one(theirs, &m->theirs_id)
	               ? -1
	               : 0;
}

int spm_map_merge_copy(const struct spm_map_merge *m, union spm_map_value *value, const void *theirs)
{
	if (m->how.copy && m->ours.value_bytes)
		return m->how.copy(value, theirs, m->how.arg) ? -1 : 0;
	memcpy(value, theirs, m->ours.value_bytes);
	return 0;
}

/* There is room for the key before the value is copied, so that no copy is lost for want of memory. */
static int theirs_put(struct spm_map_merge *m, const void *key, const void *theirs)
{
	union spm_map_value value = {{0}};
	bool was_there = m->ours.get(m->ours.map, key);
	void *place = m->ours.put(m->ours.map, key, NULL);

	if (!place)
		return -1;
	if (!spm_map_merge_copy(m, &value, theirs)) {
		memcpy(place, &value, m->ours.value_bytes);
		return 0;
	}
	if (!was_there)
		m->ours.remove(m->ours.map, key);
	return -1;
}

static int theirs_take(struct spm_map_merge *m, const void *key, const void *theirs)
{
	if (theirs && theirs_put(m, key, theirs))
		return -1;
	if (!theirs)
		m->ours.remove(m->ours.map, key);
	m->result->applied++;
	return 0;
}

static int conflict_resolve(struct spm_map_merge *m, const struct pconflict *conflict)
{
	union spm_map_value mixed = {{0}};

	m->result->conflicts++;
	if (!m->how.resolve)
		return spm_merged_add(m->result, conflict);
	switch (m->how.resolve(conflict, &mixed, m->how.arg)) {
	case PMERGE_OURS:
		return 0;
	case PMERGE_THEIRS:
		return theirs_take(m, conflict->key, conflict->theirs);
	case PMERGE_MIXED:
		if (!m->ours.put(m->ours.map, conflict->key, &mixed))
			return -1;
		m->result->applied++;
		return 0;
	default:
		errno = ECANCELED;
		return -1;
	}
}

static int is_same(const struct spm_map_merge *m, int first, const void *value, int second, const void *other)
{
	return spm_values_same(m->ours.value_bytes, m->ours.are_values_plain, first, value, second, other);
}

int spm_map_merge_change(const struct pchange *change, void *arg)
{
	struct spm_map_merge *m = arg;
	struct pconflict conflict = {
	        .key = change->key,
	        .base = change->old_value,
	        .ours = m->ours.get(m->ours.map, change->key),
	        .theirs = change->new_value,
	};
	int same = is_same(m, m->base_id, conflict.base, m->ours_id, conflict.ours);

	if (same > 0)
		return theirs_take(m, conflict.key, conflict.theirs);
	if (!same)
		same = is_same(m, m->ours_id, conflict.ours, m->theirs_id, conflict.theirs);
	return same ? (same > 0 ? 0 : -1) : conflict_resolve(m, &conflict);
}

/* What came in may have moved values of ours. */
int spm_map_merge_end(const struct spm_map_merge *m, int failed)
{
	for (size_t i = 0; i < m->result->unresolved; i++)
		m->result->conflict[i].ours = m->ours.get(m->ours.map, m->result->conflict[i].key);
	return failed ? -1 : 0;
}
