/* array_merge.c - what one vector has changed since a base, brought into another one that comes from the same base.
 *
 * Theirs' changes are gone through by index, beside those of ours:
 *
 *   theirs \ ours   nothing        the same    something else
 *   changed         comes in       nothing     conflict
 *   added           comes in       nothing     conflict
 *   removed         is to go       nothing     conflict
 *
 * Elements that are to go do so at the end, from the last one on, as far as there is no other between. Ours gets its room first: so no
 * pointer to its elements, in the list of conflicts, becomes void.
 */
#include "array.h"
#include "merged.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct changes {
	struct pchange *at;
	size_t n, room;
};

struct merging {
	const struct parray *base, *theirs;
	struct parray *ours;
	struct pmerge how;
	struct pmerged *result;
	struct array_pair sides; /* ours, theirs */
	struct changes change[2];
	size_t passed;       /* of ours' changes: those at lower indices */
	size_t end;          /* one behind the last element of ours that is there for certain */
	void *value, *mixed; /* memory for one each */
};

static int change_note(const struct pchange *change, void *arg)
{
	struct changes *c = arg;

	if (c->n == c->room) {
		size_t room = c->room ? 2 * c->room : 16;
		struct pchange *more = realloc(c->at, room * sizeof(*more));

		if (!more)
			return -1;
		c->at = more;
		c->room = room;
	}
	c->at[c->n++] = *change;
	return 0;
}

/* Ours' own change at that index, or NULL. Indices ascend from call to call. */
static const struct pchange *own_change(struct merging *m, size_t i)
{
	const struct changes *ours = &m->change[0];

	while (m->passed < ours->n && ours->at[m->passed].index < i)
		m->passed++;
	return m->passed < ours->n && ours->at[m->passed].index == i ? &ours->at[m->passed] : NULL;
}

/* A value for ours, of theirs. */
static int copied(struct merging *m, const void *theirs)
{
	memcpy(m->value, theirs, m->ours->bytes);
	return m->how.copy ? m->how.copy(m->value, theirs, m->how.arg) : 0;
}

/* The value that lies ready becomes element i; there are all before it. */
static void put(struct merging *m, size_t i)
{
	if (i == parray_count(m->ours))
		parray_push(m->ours, m->value);
	else
		parray_set(m->ours, i, m->value);
	if (m->end <= i)
		m->end = i + 1;
}

/* Theirs' elements up to i, as far as ours has none. */
static int fill_up_to(struct merging *m, size_t i)
{
	while (parray_count(m->ours) < i) {
		if (copied(m, parray_place(m->theirs, parray_count(m->ours))))
			return -1;
		put(m, parray_count(m->ours));
	}
	return 0;
}

/* Element i becomes theirs'. */
static int take(struct merging *m, size_t i, const void *theirs)
{
	if (!theirs) /* is to go: it does not count for the end */
		return 0;
	if (fill_up_to(m, i) || copied(m, theirs))
		return -1;
	put(m, i);
	return 0;
}

/* Element i becomes what was mixed of both. */
static int mix(struct merging *m, size_t i)
{
	if (fill_up_to(m, i))
		return -1;
	memcpy(m->value, m->mixed, m->ours->bytes);
	put(m, i);
	return 0;
}

static void keep(struct merging *m, size_t i)
{
	if (i < parray_count(m->ours) && m->end <= i)
		m->end = i + 1;
}

static int conflict(struct merging *m, const struct pchange *change)
{
	size_t i = change->index;
	struct pconflict c = {.index = i, .base = change->old_value, .theirs = change->new_value};

	if (i < parray_count(m->ours))
		c.ours = parray_place(m->ours, i);
	m->result->conflicts++;
	if (!m->how.resolve) {
		keep(m, i);
		return spm_merged_add(m->result, &c);
	}
	memset(m->mixed, 0, m->ours->bytes);
	switch (m->how.resolve(&c, m->mixed, m->how.arg)) {
	case PMERGE_OURS:
		keep(m, i);
		return 0;
	case PMERGE_THEIRS:
		m->result->applied++;
		return take(m, i, c.theirs);
	case PMERGE_MIXED:
		m->result->applied++;
		return mix(m, i);
	default:
		errno = ECANCELED;
		return -1;
	}
}

static bool is_the_same(const struct merging *m, const struct pchange *change)
{
	bool is_there = change->index < parray_count(m->ours);

	if (!change->new_value || !is_there)
		return !change->new_value && !is_there;
	return spm_array_pair_is_same(&m->sides, parray_place(m->ours, change->index), change->new_value, 1);
}

static int change_merge(struct merging *m, const struct pchange *change)
{
	const struct pchange *own = own_change(m, change->index);

	if (own && !is_the_same(m, change))
		return conflict(m, change);
	if (own)
		return 0;
	m->result->applied++;
	return take(m, change->index, change->new_value);
}

static int changes_merge(struct merging *m)
{
	const struct changes *theirs = &m->change[1];

	/* What theirs has too stays; and all of it, if ours has added something behind. */
	m->end = parray_count(m->ours);
	if (parray_count(m->ours) <= parray_count(m->base) && m->end > parray_count(m->theirs))
		m->end = parray_count(m->theirs);
	for (size_t i = 0; i < theirs->n; i++)
		if (change_merge(m, &theirs->at[i]))
			return -1;
	return m->end < parray_count(m->ours) ? parray_resize(m->ours, m->end) : 0;
}

static int all_merge(struct merging *m)
{
	size_t bytes = m->ours->bytes, most = parray_count(m->theirs);

	if (m->base->bytes != bytes || m->theirs->bytes != bytes ||
	    (!m->how.copy && !(m->ours->flags & PARRAY_PLAIN))) {
		errno = EINVAL;
		return -1;
	}
	m->value = malloc(bytes);
	m->mixed = malloc(bytes);
	if (!m->value || !m->mixed || (most > parray_count(m->ours) && parray_reserve(m->ours, most)))
		return -1;
	if (parray_diff(m->base, m->ours, change_note, &m->change[0]) ||
	    parray_diff(m->base, m->theirs, change_note, &m->change[1]) ||
	    spm_array_pair_begin(&m->sides, m->ours, m->theirs) < 0)
		return -1;
	return changes_merge(m);
}

int parray_merge(const struct parray *base, struct parray *ours, const struct parray *theirs, const struct pmerge *how,
                 struct pmerged *result)
{
	struct merging m = {.base = base, .theirs = theirs, .ours = ours, .result = result};
	int failure;

	*result = (struct pmerged){0};
	if (how)
		m.how = *how;
	failure = all_merge(&m);
	if (failure)
		pmerged_free(result);
	free(m.value);
	free(m.mixed);
	free(m.change[0].at);
	free(m.change[1].at);
	return failure;
}
