/* list.c - doubly linked lists, see <softpm/list.h>; plist_diff is in list_diff.c.
 *
 *   struct plist   first, last    <->  node  <->  node  <->  node  <->  node  <->  node
 *                  owner                 |mark      |mark      |mark      |mark      |mark
 *                    |                   +----------+----------|----------+          |
 *                    v                   v                     v                     |
 *                  own record  <--->  a stranger's  <--->  a stranger's  <-----------+
 *
 * Whoever compares two versions comes upon nodes with nothing at hand that leads to their list, so each node has a mark in it: an
 * owner's record. It can't be the list, for nodes change it by splicing, which touches none of them: it joins the rings of
 * records. So a list's nodes are those with marks of its ring, and the records that came with others are its strangers. They go with their
 * last node: there are never more of them than nodes, and a list that was never spliced has one record, which is written when it is made, and
 * then no more.
 *
 * Invariants (checked by spm_list_check)
 *  1. first and last, prev and next lead along the same nodes, count of them.
 *  2. Each node's mark is that of a record in the ring that owner is in. owner may be NULL if the list is empty.
 *  3. strangers is how many nodes have marks of other records than owner; `nodes` of these, how many have that one, at least 1.
 */
#include "list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { MAGIC = 0x706c7331 };

/* ---- checks ---- */

static size_t marks_count(const struct plist *l, const struct plist_owner *o)
{
	size_t n = 0;

	for (const struct plist_node *node = l->first; node; node = node->next)
		n += node->mark == spm_list_mark(o);
	return n;
}

static size_t strangers_of(const struct plist *l)
{
	return ~l->inverted_strangers;
}

static void strangers_set(struct plist *l, size_t n)
{
	l->inverted_strangers = ~n;
}

static size_t nodes_of(const struct plist_owner *o)
{
	return ~o->inverted_nodes;
}

static void count_add(struct plist *l, ptrdiff_t n)
{
	l->inverted_count -= (size_t)n;
}

static bool links_hold(const struct plist *l)
{
	const struct plist_node *before = NULL;
	size_t n = 0;

	for (const struct plist_node *node = l->first; node; before = node, node = node->next)
		if (node->prev != before || n++ == plist_count(l))
			return false;
	return before == l->last && n == plist_count(l);
}

bool spm_list_check(const struct plist *l)
{
	size_t strangers = 0;

	if (l->magic != MAGIC || !l->bytes || !links_hold(l))
		return false;
	if (!l->owner)
		return !plist_count(l) && !strangers_of(l);
	for (const struct plist_owner *o = l->owner->next; o != l->owner; o = o->next) {
		if (o->prev->next != o || !nodes_of(o) || nodes_of(o) != marks_count(l, o))
			return false;
		strangers += nodes_of(o);
	}
	return strangers == strangers_of(l) && marks_count(l, l->owner) == plist_count(l) - strangers;
}

#ifdef SPM_DEBUG
static void must_be(const struct plist *l)
{
	if (l->magic == MAGIC)
		return;
	fprintf(stderr, "softpm: %p is no list, or was freed\n", (const void *)l);
	abort();
}

static void must_have(const struct plist *l, const struct plist_node *n)
{
	const struct plist_owner *o = l->owner;

	must_be(l);
	if (!n)
		return;
	while (o && n->mark != spm_list_mark(o))
		o = o->next == l->owner ? NULL : o->next;
	if (o)
		return;
	fprintf(stderr, "softpm: %p is no node of list %p, or was removed\n", (const void *)n, (const void *)l);
	abort();
}
#else
#define must_be(l) ((void)0)
#define must_have(l, n) ((void)0)
#endif

/* ---- owners ---- */

static uint64_t id_make(const void *place)
{
	struct timespec now;
	uint64_t id;

	if (getrandom(&id, sizeof(id), GRND_NONBLOCK) == sizeof(id))
		return id;
	clock_gettime(CLOCK_REALTIME, &now); /* early in a machine's life */
	return ((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec) * 0x9e3779b97f4a7c15 ^ (uintptr_t)place;
}

/* The list has an owner from now on, or there is no memory. */
static int owner_have(struct plist *l)
{
	struct plist_owner *o;

	if (l->owner)
		return 0;
	o = pMalloc(sizeof(*o));
	if (!o)
		return -1;
	o->prev = o->next = o;
	o->id = id_make(o) | (uint64_t)1 << 63; /* looks like no address */
	l->owner = o;
	return 0;
}

static void owner_drop(struct plist_owner *o)
{
	o->prev->next = o->next;
	o->next->prev = o->prev;
	pFree(o);
}

static void owners_drop(struct plist *l)
{
	while (l->owner && l->owner->next != l->owner)
		owner_drop(l->owner->next);
	pFree(l->owner);
	l->owner = NULL;
	strangers_set(l, 0);
}

/* A node of the list is one no more. */
static void node_leave(struct plist *l, const struct plist_node *n)
{
	struct plist_owner *o = spm_list_owner(n);

	count_add(l, -1);
	if (o == l->owner)
		return;
	strangers_set(l, strangers_of(l) - 1);
	o->inverted_nodes++; /* one less */
	if (!nodes_of(o))
		owner_drop(o);
}

/* What the list owns becomes strangers of another. */
static void owners_join(struct plist *to, struct plist *from)
{
	struct plist_owner *a = to->owner, *b = from->owner, *a_next = a->next, *b_next = b->next;

	b->inverted_nodes = ~(plist_count(from) - strangers_of(from));
	a->next = b_next;
	b_next->prev = a;
	b->next = a_next;
	a_next->prev = b;
	strangers_set(to, strangers_of(to) + plist_count(from));
	from->owner = NULL;
	strangers_set(from, 0);
	if (!nodes_of(b))
		owner_drop(b);
}

/* ---- links ---- */

/* Two nodes that follow each other, NULL: the list's end. What is there already is not written. */
static void link_nodes(struct plist *l, struct plist_node *a, struct plist_node *b)
{
	struct plist_node **next = a ? &a->next : &l->first, **prev = b ? &b->prev : &l->last;

	if (*next != b)
		*next = b;
	if (*prev != a)
		*prev = a;
}

static void chain_put(struct plist *l, struct plist_node *before, struct plist_node *first, struct plist_node *last)
{
	link_nodes(l, before ? before->prev : l->last, first);
	link_nodes(l, last, before);
}

static void chain_take(struct plist *l, struct plist_node *first, struct plist_node *last)
{
	link_nodes(l, first->prev, last->next);
}

/* ---- making ---- */

int plist_init(struct plist *l, size_t bytes)
{
	if (!bytes || bytes > UINT32_MAX) {
		errno = EINVAL;
		return -1;
	}
	*l = (struct plist){.inverted_count = ~(size_t)0,
	                    .inverted_strangers = ~(size_t)0,
	                    .bytes = (uint32_t)bytes,
	                    .magic = MAGIC};
	return 0;
}

struct plist *plist_make(size_t bytes)
{
	struct plist *l = pMalloc(sizeof(*l));

	if (l && plist_init(l, bytes)) {
		pFree(l);
		return NULL;
	}
	return l;
}

void plist_clear(struct plist *l)
{
	must_be(l);
	for (struct plist_node *n = l->first, *next; n; n = next) {
		next = n->next;
		pFree(n);
	}
	l->first = l->last = NULL;
	l->inverted_count = ~(size_t)0;
	owners_drop(l);
}

void plist_free(struct plist *l)
{
	if (!l)
		return;
	plist_clear(l);
	l->magic = 0;
	pFree(l);
}

/* ---- one by one ---- */

struct plist_node *plist_insert(struct plist *l, struct plist_node *before, const void *value)
{
	struct plist_node *n;

	must_have(l, before);
	n = owner_have(l) ? NULL : pMalloc(sizeof(*n) + l->bytes);
	if (!n)
		return NULL;
	if (value)
		memcpy(n + 1, value, l->bytes);
	n->mark = spm_list_mark(l->owner);
	chain_put(l, before, n, n);
	count_add(l, 1);
	return n;
}

struct plist_node *plist_insert_after(struct plist *l, struct plist_node *after, const void *value)
{
	return plist_insert(l, after ? after->next : l->first, value);
}

struct plist_node *plist_push(struct plist *l, const void *value)
{
	return plist_insert(l, NULL, value);
}

struct plist_node *plist_push_front(struct plist *l, const void *value)
{
	return plist_insert(l, l->first, value);
}

void plist_remove(struct plist *l, struct plist_node *n)
{
	must_have(l, n);
	chain_take(l, n, n);
	node_leave(l, n);
	n->mark = NULL; /* so that who removes it again is told */
	pFree(n);
}

static int node_take(struct plist *l, struct plist_node *n, void *value)
{
	must_be(l);
	if (!n)
		return 0;
	if (value)
		memcpy(value, n + 1, l->bytes);
	plist_remove(l, n);
	return 1;
}

int plist_pop(struct plist *l, void *value)
{
	return node_take(l, l->last, value);
}

int plist_pop_front(struct plist *l, void *value)
{
	return node_take(l, l->first, value);
}

/* ---- many ---- */

void plist_splice(struct plist *to, struct plist_node *before, struct plist *from)
{
	must_have(to, before);
	must_be(from);
	if (!plist_count(from) || to == from)
		return;
	if (to->owner) {
		owners_join(to, from);
	} else {
		to->owner = from->owner;
		to->inverted_strangers = from->inverted_strangers;
		from->owner = NULL;
		strangers_set(from, 0);
	}
	chain_put(to, before, from->first, from->last);
	count_add(to, (ptrdiff_t)plist_count(from));
	from->inverted_count = ~(size_t)0;
	from->first = from->last = NULL;
}

int plist_move_range(struct plist *to, struct plist_node *before, struct plist *from, struct plist_node *first,
                     struct plist_node *last)
{
	must_have(to, before);
	must_have(from, first);
	must_have(from, last);
	if (owner_have(to))
		return -1;
	if (to == from && (before == first || before == last->next))
		return 0;
	chain_take(from, first, last);
	chain_put(to, before, first, last);
	for (struct plist_node *n = first; n != before && to != from; n = n->next) {
		node_leave(from, n);
		n->mark = spm_list_mark(to->owner);
		count_add(to, 1);
	}
	return 0;
}

int plist_move(struct plist *to, struct plist_node *before, struct plist *from, struct plist_node *n)
{
	return plist_move_range(to, before, from, n, n);
}

void plist_reverse(struct plist *l)
{
	struct plist_node *first = l->first;

	must_be(l);
	for (struct plist_node *n = first, *next; n; n = next) {
		next = n->next;
		n->next = n->prev;
		n->prev = next;
	}
	l->first = l->last;
	l->last = first;
}

/* ---- sorting ----
 *
 * Stretches of 1, 2, 4, ... nodes are merged with the next ones, along `next` alone, until one is left: a stretch is known by its first node and
 * a number, so nothing is cut, and what is in order is not written. */

struct stretch {
	struct plist_node *n;
	size_t left;
};

struct sorting {
	struct plist *list;
	struct plist_node *tail; /* of what is in order; NULL: nothing */
	plist_compare_fn *compare;
	void *arg;
};

static void tail_add(struct sorting *s, struct plist_node *n)
{
	struct plist_node **next = s->tail ? &s->tail->next : &s->list->first;

	if (*next != n)
		*next = n;
	s->tail = n;
}

static void stretch_take(struct sorting *s, struct stretch *from)
{
	struct plist_node *n = from->n;

	from->n = n->next; /* before it becomes another */
	from->left--;
	tail_add(s, n);
}

static struct stretch stretch_behind(struct stretch a, size_t nodes)
{
	while (a.left && a.n) {
		a.n = a.n->next;
		a.left--;
	}
	return (struct stretch){a.n, nodes};
}

/* Returns what follows both. */
static struct plist_node *stretches_merge(struct sorting *s, struct plist_node *first, size_t nodes)
{
	struct stretch a = {first, nodes}, b = stretch_behind(a, nodes);

	while (a.left && b.left && b.n)
		stretch_take(s, s->compare(b.n + 1, a.n + 1, s->arg) < 0 ? &b : &a);
	while (a.left && a.n)
		stretch_take(s, &a);
	while (b.left && b.n)
		stretch_take(s, &b);
	return b.n;
}

static void stretches_pass(struct sorting *s, size_t nodes)
{
	struct plist_node *n = s->list->first;

	s->tail = NULL;
	while (n)
		n = stretches_merge(s, n, nodes);
	tail_add(s, NULL);
}

void plist_sort(struct plist *l, plist_compare_fn *compare, void *arg)
{
	struct sorting s = {.list = l, .compare = compare, .arg = arg};
	struct plist_node *before = NULL;

	must_be(l);
	if (plist_count(l) < 2)
		return;
	for (size_t nodes = 1; nodes < plist_count(l); nodes *= 2)
		stretches_pass(&s, nodes);
	for (struct plist_node *n = l->first; n; before = n, n = n->next)
		if (n->prev != before)
			n->prev = before;
	if (l->last != before)
		l->last = before;
}
