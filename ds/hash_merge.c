/* hash_merge.c - two versions' changes of a hashtable in one.
 *
 *            theirs is as base    theirs differs from base
 *   ours is
 *   as base      (not told)         becomes as theirs
 *   as theirs    (not told)         is right already
 *   else         (not told)         conflict
 *
 * Only what differs between base and theirs is told (hash_diff.c), so the cost follows that, however far ours has gone.
 */
#include "hash.h"
#include "merged.h"
#include "versions.h"

#include <errno.h>

struct merging {
	struct phash *ours;
	int base_id, ours_id, theirs_id;
	const struct pmerge *how;
	struct pmerged *result;
};

/* ---- one change ---- */

/* What ours gets for one of theirs, in `value`. */
static int value_copy(const struct merging *m, void *value, const void *theirs)
{
	if (m->how->copy && m->ours->value_bytes)
		return m->how->copy(value, theirs, m->how->arg) ? -1 : 0;
	memcpy(value, theirs, m->ours->value_bytes);
	return 0;
}

/* There is room for the key before the value is copied, so that no copy is lost for want of memory. */
static int theirs_put(struct merging *m, const void *key, const void *theirs)
{
	uint64_t value[PMAP_BYTES_MAX / 8];
	bool was_there = phash_get(m->ours, key);
	void *place = phash_put(m->ours, key, NULL);

	if (!place)
		return -1;
	if (!value_copy(m, value, theirs)) {
		memcpy(place, value, m->ours->value_bytes);
		return 0;
	}
	if (!was_there)
		phash_remove(m->ours, key, NULL);
	return -1;
}

static int theirs_take(struct merging *m, const void *key, const void *theirs)
{
	if (theirs && theirs_put(m, key, theirs))
		return -1;
	if (!theirs)
		phash_remove(m->ours, key, NULL);
	m->result->applied++;
	return 0;
}

static int conflict_resolve(struct merging *m, const struct pconflict *conflict)
{
	uint64_t mixed[PMAP_BYTES_MAX / 8] = {0};

	m->result->conflicts++;
	if (!m->how->resolve)
		return spm_merged_add(m->result, conflict);
	switch (m->how->resolve(conflict, mixed, m->how->arg)) {
	case PMERGE_OURS:
		return 0;
	case PMERGE_THEIRS:
		return theirs_take(m, conflict->key, conflict->theirs);
	case PMERGE_MIXED:
		if (!phash_put(m->ours, conflict->key, mixed))
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
	        .ours = phash_get(m->ours, change->key),
	        .theirs = change->new_value,
	};
	int same = spm_hash_same(m->ours, m->base_id, conflict.base, m->ours_id, conflict.ours);

	if (same > 0)
		return theirs_take(m, conflict.key, conflict.theirs);
	if (!same)
		same = spm_hash_same(m->ours, m->ours_id, conflict.ours, m->theirs_id, conflict.theirs);
	return same ? (same > 0 ? 0 : -1) : conflict_resolve(m, &conflict);
}

/* ---- all of them ---- */

/* What came in may have moved values of ours. */
static void conflicts_find_again(const struct merging *m)
{
	for (size_t i = 0; i < m->result->unresolved; i++)
		m->result->conflict[i].ours = phash_get(m->ours, m->result->conflict[i].key);
}

int phash_merge(const struct phash *base, struct phash *ours, const struct phash *theirs, const struct pmerge *how,
                struct pmerged *result)
{
	static const struct pmerge nothing;
	struct merging m = {.ours = ours, .how = how ? how : &nothing, .result = result};
	int failed;

	*result = (struct pmerged){0};
	if (ours == base || ours == theirs || !spm_hash_is_like(base, ours) || !spm_hash_is_like(base, theirs) ||
	    !(ours->flags & VALUES_ARE_PLAIN || m.how->copy)) {
		errno = EINVAL;
		return -1;
	}
	if (spm_versions_find_one(base, &m.base_id) || spm_versions_find_one(ours, &m.ours_id) ||
	    spm_versions_find_one(theirs, &m.theirs_id))
		return -1;
	failed = phash_diff(base, theirs, change_merge, &m);
	conflicts_find_again(&m);
	return failed ? -1 : 0;
}
