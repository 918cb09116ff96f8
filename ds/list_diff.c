/* list_diff.c - what differs between two versions of a list, see <softpm/list.h>.
 *
 * pDiffer tells which objects of two containers differ; those that have a mark of the list in them (list.c) are its nodes. That finds every entry
 * that was added, removed or changed, but for those that came or went with all of another list: their nodes are as they were. They have
 * the mark of an owner that only one of the two versions has: a stray one. So the nodes that pDiffer tells count only if their owner
 * is known to both, and strays are told along the list, run by run.
 *
 * Each run of strays is found. Its first node is the list's first, or has a neighbour before it that is no stray. Were neither of these
 * two told by pDiffer, both would be the same in the other version: the neighbour, whose owner is known to both, would be in the list
 * there, and so would the node behind it be, and with it its owner. So it is enough to look at the list's first node, at those that
 * were told, and at those behind them.
 */
#include "list.h"
#include "versions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct owner_seen {
	const char *mark;
	uint64_t id;
	bool is_stray;
};

/* One of the two versions. */
struct side {
	const struct plist *list;
	struct owner_seen *owner;
	size_t owners;
	const struct plist_node **run; /* first nodes of runs of strays */
	size_t runs, run_room;
};

struct comparing {
	struct side side[2];
	int container[2];
	size_t bytes;
	pchange_fn *fn;
	void *arg;
	int result; /* fn's, or -1 and errno */
};

/* ---- telling ---- */

static int tell(struct comparing *d, const struct plist_node *old, const struct plist_node *now)
{
	struct pchange change = {.kind = !old   ? PCHANGE_ADDED
	                                 : !now ? PCHANGE_REMOVED
	                                        : PCHANGE_CHANGED,
	                         .old_value = old ? plist_value(old) : NULL,
	                         .new_value = now ? plist_value(now) : NULL};

	d->result = d->fn(&change, d->arg);
	return d->result;
}

static int tell_one(struct comparing *d, unsigned which, const struct plist_node *n)
{
	return which ? tell(d, NULL, n) : tell(d, n, NULL);
}

/* 1: the values are the same; 0: they differ; -1: failure. */
static int is_same(struct comparing *d, const struct plist_node *old, const struct plist_node *now)
{
	int same = pSame(d->container[0], plist_value(old), d->container[1], plist_value(now), d->bytes);

	if (same < 0)
		d->result = -1;
	return same;
}

/* ---- owners ---- */

static int by_id(const void *a, const void *b)
{
	uint64_t x = ((const struct owner_seen *)a)->id, y = ((const struct owner_seen *)b)->id;

	return (x > y) - (x < y);
}

static int by_mark(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct owner_seen *)a)->mark,
	          y = (uintptr_t)((const struct owner_seen *)b)->mark;

	return (x > y) - (x < y);
}

static size_t owners_count(const struct plist *l)
{
	size_t n = l->owner != NULL;

	for (const struct plist_owner *o = l->owner; o && o->next != l->owner; o = o->next)
		n++;
	return n;
}

static int owners_see(struct side *s)
{
	const struct plist_owner *o = s->list->owner;

	s->owners = owners_count(s->list);
	s->owner = calloc(s->owners + 1, sizeof(*s->owner));
	if (!s->owner)
		return -1;
	for (size_t i = 0; i < s->owners; i++, o = o->next)
		s->owner[i] = (struct owner_seen){spm_list_mark(o), o->id, true};
	qsort(s->owner, s->owners, sizeof(*s->owner), by_id);
	return 0;
}

/* Both are sorted by id. */
static void owners_match(struct side *a, struct side *b)
{
	for (size_t i = 0, k = 0; i < a->owners && k < b->owners;) {
		int order = by_id(&a->owner[i], &b->owner[k]);

		if (!order)
			a->owner[i].is_stray = b->owner[k].is_stray = false;
		i += order <= 0;
		k += order >= 0;
	}
}

static int owners_prepare(struct comparing *d)
{
	if (owners_see(&d->side[0]) || owners_see(&d->side[1]))
		return -1;
	owners_match(&d->side[0], &d->side[1]);
	for (unsigned i = 0; i < 2; i++)
		qsort(d->side[i].owner, d->side[i].owners, sizeof(*d->side[i].owner), by_mark);
	return 0;
}

/* NULL: the mark is none of the list's. */
static const struct owner_seen *owner_of(const struct side *s, const char *mark)
{
	struct owner_seen wanted = {.mark = mark};

	return bsearch(&wanted, s->owner, s->owners, sizeof(wanted), by_mark);
}

static bool is_stray(const struct side *s, const struct plist_node *n)
{
	return owner_of(s, n->mark)->is_stray;
}

/* ---- strays ---- */

/* Notes the node if a run begins there. */
static int run_note(struct side *s, const struct plist_node *n)
{
	const struct plist_node **more = s->run;

	if (!n || !is_stray(s, n) || (n->prev && is_stray(s, n->prev)))
		return 0;
	if (s->runs == s->run_room) {
		size_t room = s->run_room * 2 + 16;

		more = realloc(s->run, room * sizeof(const struct plist_node *));
		if (!more)
			return -1;
		s->run = more;
		s->run_room = room;
	}
	s->run[s->runs++] = n;
	return 0;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (const struct plist_node *const *)a,
	          y = (uintptr_t) * (const struct plist_node *const *)b;

	return (x > y) - (x < y);
}

static int runs_tell(struct comparing *d, unsigned which)
{
	struct side *s = &d->side[which];

	if (s->runs)
		qsort(s->run, s->runs, sizeof(*s->run), by_address);
	for (size_t i = 0; i < s->runs; i++) {
		if (i && s->run[i] == s->run[i - 1])
			continue;
		for (const struct plist_node *n = s->run[i]; n && is_stray(s, n); n = n->next)
			if (tell_one(d, which, n))
				return -1;
	}
	return 0;
}

/* ---- what pDiffer tells ---- */

/* The object as a node of the list, or NULL; notes runs of strays that begin there. *is_known: it is no stray itself. */
static const struct plist_node *node_see(struct comparing *d, unsigned which, const void *object, size_t size,
                                         bool *is_known)
{
	struct side *s = &d->side[which];
	const struct plist_node *n = object;
	const struct owner_seen *o = n && size >= sizeof(*n) + d->bytes ? owner_of(s, n->mark) : NULL;

	if (!o)
		return NULL;
	*is_known = !o->is_stray;
	if (run_note(s, n) || run_note(s, n->next))
		d->result = -1;
	return n;
}

static int object_see(const struct pdiffering *object, void *arg)
{
	struct comparing *d = arg;
	bool is_known[2] = {false, false};
	const struct plist_node *old = node_see(d, 0, object->first, object->size, &is_known[0]);
	const struct plist_node *now = node_see(d, 1, object->second, object->size, &is_known[1]);

	if (d->result || (is_known[0] && is_known[1] && is_same(d, old, now)))
		return d->result != 0;
	if (is_known[0] || is_known[1])
		tell(d, is_known[0] ? old : NULL, is_known[1] ? now : NULL);
	return d->result != 0;
}

/* False: pDiffer can't. */
static bool objects_compare(struct comparing *d)
{
	if (owners_prepare(d) || run_note(&d->side[0], d->side[0].list->first) ||
	    run_note(&d->side[1], d->side[1].list->first)) {
		d->result = -1;
		return true;
	}
	if (pDiffer(d->container[0], d->container[1], object_see, d) == -1) {
		d->result = errno == ENOTSUP ? 0 : -1;
		return d->result;
	}
	if (!d->result && !runs_tell(d, 0))
		runs_tell(d, 1);
	return true;
}

/* ---- lists that know nothing of each other ---- */

/* What is left of a list. */
struct rest {
	const struct plist_node *first, *last;
	size_t n;
};

static int beginnings_pass(struct comparing *d, struct rest *a, struct rest *b)
{
	int same;

	while (a->n && b->n && (same = is_same(d, a->first, b->first))) {
		if (same < 0)
			return -1;
		a->first = a->first->next;
		b->first = b->first->next;
		a->n--;
		b->n--;
	}
	return 0;
}

static int ends_pass(struct comparing *d, struct rest *a, struct rest *b)
{
	int same;

	while (a->n && b->n && (same = is_same(d, a->last, b->last))) {
		if (same < 0)
			return -1;
		a->last = a->last->prev;
		b->last = b->last->prev;
		a->n--;
		b->n--;
	}
	return 0;
}

static void values_compare(struct comparing *d)
{
	struct rest rest[2];

	for (unsigned i = 0; i < 2; i++)
		rest[i] = (struct rest){d->side[i].list->first, d->side[i].list->last, plist_count(d->side[i].list)};
	if (beginnings_pass(d, &rest[0], &rest[1]) || ends_pass(d, &rest[0], &rest[1]))
		return;
	for (unsigned i = 0; i < 2 && !d->result; i++)
		for (; rest[i].n && !tell_one(d, i, rest[i].first); rest[i].n--)
			rest[i].first = rest[i].first->next;
}

/* ---- plist_diff ---- */

static void compare(struct comparing *d)
{
	int may = spm_versions_find(d->side[0].list, d->side[1].list, d->container);

	if (may < 0)
		d->result = -1;
	else if (!may || !objects_compare(d))
		values_compare(d);
}

int plist_diff(const struct plist *old, const struct plist *now, pchange_fn *fn, void *arg)
{
	struct comparing d = {.side = {{.list = old}, {.list = now}}, .bytes = now->bytes, .fn = fn, .arg = arg};
	int error;

	if (old->bytes != now->bytes) {
		errno = EINVAL;
		return -1;
	}
	if (old != now)
		compare(&d);
	error = errno;
	for (unsigned i = 0; i < 2; i++) {
		free(d.side[i].owner);
		free(d.side[i].run);
	}
	errno = error;
	return d.result;
}
