/* migrate_walk.c - what each object of a version is, as its types tell: see migrate.h.
 *
 *    root -> what pointers lead to, one each, on and on -> rows of them, as long as there is room -> what members of unions lead to
 *
 * A pointer may lead to a row, or to something within another (le_prev of a list, an entry at the beginning of a struct), behind which
 * there is no second one of its kind: so rows come later, when it is known what is within what. Members of unions tell what an object is only if nothing else
 * does, and they agree.
 *
 * An object is as many elements as its memory has room for, unless its type ends with an array without a length, or it is the root.
 */
#include "migrate.h"
#include "types/fields.h"
#include "types/rules.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool spm_migrate_object(const struct container *c, uint64_t address, uint64_t *base, uint64_t *bytes)
{
	struct span *s = spm_in_window(address) ? spm_span_of(address) : NULL;
	unsigned slot = s ? spm_span_slot(s, address) : 0;

	if (!s || slot >= s->slots || !spm_marks_has(c->marks, s, slot))
		return false;
	*base = spm_slot_address(s, slot);
	*bytes = spm_heap_usable((const void *)(uintptr_t)*base);
	return true;
}

void spm_migrate_note(struct marks *set, uint64_t address)
{
	struct span *s = spm_span_of(address);
	struct slotset slots = {{0}};

	if (spm_marks_has(set, s, spm_span_slot(s, address)))
		return; /* adding costs as much as it has pages */
	slotset_add(&slots, spm_span_slot(s, address));
	spm_marks_add(set, s, &slots);
}

bool spm_migrate_is_in(const struct marks *set, uint64_t address)
{
	struct span *s = spm_in_window(address) ? spm_span_of(address) : NULL;
	unsigned slot = s ? spm_span_slot(s, address) : 0;

	return s && slot < s->slots && spm_marks_has(set, s, slot);
}

int spm_migrate_refuse(const struct migration *m, int error, uint32_t pair, uint64_t address, const char *format, ...)
{
	const struct ptype *old = m->v.pair[pair].old;
	char why[400];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	return spm_fail(error, "container %d can't be migrated: %s at 0x%llx: %s", m->c->magic,
	                *old->name                  ? old->name
	                : old == &m->v.old->type[0] ? m->v.old->root
	                                            : "what lies",
	                (unsigned long long)address, why);
}

/* ---- claims ---- */

static size_t bucket_of(const struct claims *l, uint64_t address)
{
	return (address * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (l->buckets - 1);
}

static void claim_link(const struct container *c, struct claims *l, size_t i)
{
	struct claim *k = &l->claim[i];
	uint32_t *head = &l->bucket[bucket_of(l, k->address)];
	uint64_t base = 0, bytes;

	k->next = *head;
	*head = (uint32_t)i + 1;
	if (!spm_migrate_object(c, k->address, &base, &bytes) || base == k->address)
		return;
	head = &l->bucket[l->buckets + bucket_of(l, base)];
	k->next_inner = *head;
	*head = (uint32_t)i + 1;
}

static bool claims_grow(const struct container *c, struct claims *l)
{
	size_t room = l->room ? l->room * 2 : 1024;
	struct claim *more = realloc(l->claim, room * sizeof(*more));
	uint32_t *bucket = more && room < UINT32_MAX ? calloc(room, 2 * sizeof(*bucket)) : NULL;

	if (more)
		l->claim = more;
	if (!bucket)
		return false;
	free(l->bucket);
	l->bucket = bucket;
	l->buckets = l->room = room;
	for (size_t i = 0; i < l->n; i++)
		claim_link(c, l, i);
	return true;
}

static const struct claim *claim_at(const struct claims *l, uint64_t address, uint32_t first)
{
	uint32_t i = first ? l->claim[first - 1].next : l->buckets ? l->bucket[bucket_of(l, address)] : 0;

	while (i && l->claim[i - 1].address != address)
		i = l->claim[i - 1].next;
	return i ? &l->claim[i - 1] : NULL;
}

static uint32_t number_of(const struct claims *l, const struct claim *claim)
{
	return (uint32_t)(claim - l->claim) + 1;
}

static int claim_add(struct migration *m, struct claims *l, uint64_t address, uint32_t pair)
{
	for (const struct claim *k = claim_at(l, address, 0); k; k = claim_at(l, address, number_of(l, k)))
		if (k->pair == pair)
			return 0;
	if (l->n == l->room && !claims_grow(m->c, l))
		return spm_migrate_no_memory(m);
	l->claim[l->n] = (struct claim){.address = address, .pair = pair & (UINT32_MAX >> 2)};
	claim_link(m->c, l, l->n++);
	if (l == &m->strong)
		spm_migrate_note(m->claimed, address);
	return 0;
}

/* ---- pointers in memory ---- */

bool spm_migrate_holds(const struct pchoice *choice, uint64_t at, const struct pmember **out)
{
	const struct span *s = spm_span_of(at);
	uint64_t base = spm_slot_address(s, spm_span_slot(s, at));

	return choice && spm_types_holds(choice, (const void *)(uintptr_t)base, s->slot_bytes, at - base, out);
}

/* Of a union, whose member that holds is told. */
static int held_pointers(struct migration *m, uint32_t pair, const struct pmember *member, uint64_t at, bool is_weak,
                         migrate_visit *fn)
{
	const struct types_pair p = m->v.pair[pair];
	int err = 0;

	for (size_t i = 0; i < p.steps && member && !err; i++)
		if (!p.step[i].from_bits && !strcmp(p.step[i].name, member->name))
			err = spm_migrate_pointers(m, p.step[i].pair, at + p.step[i].from_bit / 8,
			                           m->v.pair[p.step[i].pair].old->bytes, is_weak, fn);
	return err;
}

static int step_pointers(struct migration *m, const struct pair_step *s, uint64_t at, uint64_t room, bool is_weak,
                         migrate_visit *fn)
{
	const struct pmember *member;

	at += s->from_bit / 8;
	if (s->choice && m->v.pair[s->pair].old->kind == PTYPE_UNION && spm_migrate_holds(s->choice, at, &member))
		return held_pointers(m, s->pair, member, at, is_weak, fn);
	return spm_migrate_pointers(m, s->pair, at, s->is_open ? room - s->from_bit / 8 : m->v.pair[s->pair].old->bytes,
	                            is_weak, fn);
}

int spm_migrate_pointers(struct migration *m, uint32_t pair, uint64_t at, uint64_t room, bool is_weak,
                         migrate_visit *fn)
{
	const struct types_pair p = m->v.pair[pair]; /* fn may make others */
	uint64_t n;
	int err = 0;

	if (!p.has_pointers || p.old->bytes > room)
		return 0;
	if (p.old->kind == PTYPE_POINTER)
		return fn(m, at, pair, is_weak);
	if (p.old->kind == PTYPE_ARRAY) {
		n = p.old->count ? p.old->count : room / p.old->of->bytes;
		for (uint64_t i = 0; i < n && !err; i++)
			err = spm_migrate_pointers(m, p.inner, at + i * p.old->of->bytes, p.old->of->bytes, is_weak,
			                           fn);
	}
	for (size_t i = 0; i < p.steps && !err; i++)
		if (!p.step[i].from_bits)
			err = step_pointers(m, &p.step[i], at, room, is_weak || p.old->kind == PTYPE_UNION, fn);
	return err;
}

static uint64_t elements(const struct migration *m, const struct claim *k, uint64_t base, uint64_t bytes)
{
	const struct types_pair *p = &m->v.pair[k->pair];

	if (k->address != base || p->is_flexible || base == m->c->root)
		return 1;
	return bytes / p->old->bytes;
}

/* Of elements [from, to), as far as there are so many. */
static int claim_pointers(struct migration *m, const struct claim *claim, uint64_t from, uint64_t to, migrate_visit *fn)
{
	const struct claim k = *claim;
	const struct types_pair p = m->v.pair[k.pair];
	uint64_t base, bytes, n;
	int err = 0;

	if (!spm_migrate_object(m->c, k.address, &base, &bytes))
		return 0;
	n = elements(m, &k, base, bytes);
	n = n < to ? n : to;
	for (uint64_t i = from, at = k.address + from * p.old->bytes; i < n && !err; i++, at += p.old->bytes)
		err = spm_migrate_pointers(m, k.pair, at, p.is_flexible ? base + bytes - at : p.old->bytes, false, fn);
	return err;
}

int spm_migrate_claim_pointers(struct migration *m, const struct claim *claim, migrate_visit *fn)
{
	return claim_pointers(m, claim, 0, claim->is_row ? UINT64_MAX : 1, fn);
}

/* Of structs one never knows whether they are within another. */
static bool matters(const struct types_pair *p)
{
	return p->has_pointers || spm_is_aggregate(p->old) || (p->new && !p->is_same);
}

static int follow(struct migration *m, uint64_t place, uint32_t pointer, bool is_weak)
{
	uint64_t word, base, bytes;
	int64_t pointee;

	memcpy(&word, (const void *)(uintptr_t)place, sizeof(word));
	if (!spm_migrate_object(m->c, word, &base, &bytes))
		return 0;
	pointee = spm_pair_pointee(&m->v, pointer);
	if (pointee == PAIR_NONE)
		return 0;
	if (pointee < 0)
		return spm_fail((int)-pointee, "container %d can't be migrated: %s", m->c->magic,
		                pointee == -ENOMEM ? "no memory" : "its types are too many");
	if (word == base)
		spm_migrate_note(m->told, base);
	if (!matters(&m->v.pair[pointee]))
		return 0;
	return claim_add(m, is_weak ? &m->weak : &m->strong, word, (uint32_t)pointee);
}

/* ---- in which order ---- */

/* Something else that begins where the object does has the claim's in it. *has_base: something else does begin there. */
static bool is_known(const struct migration *m, const struct claim *k, bool *has_base)
{
	uint64_t base, bytes;

	*has_base = false;
	spm_migrate_object(m->c, k->address, &base, &bytes);
	for (const struct claim *at = claim_at(&m->strong, base, 0); at;
	     at = claim_at(&m->strong, base, number_of(&m->strong, at))) {
		const struct types_pair *p = &m->v.pair[at->pair];
		uint64_t offset = k->address - base;

		if (at->pair == k->pair && !offset)
			continue;
		*has_base = true;
		if (!offset && at > k && p->old->bytes == m->v.pair[k->pair].old->bytes)
			continue; /* one of two that are alike is a row */
		if (!p->is_flexible && base != m->c->root)
			offset %= p->old->bytes;
		if (spm_pair_has(&m->v, at->pair, offset, k->pair))
			return true;
	}
	return false;
}

/* How many of a row there are before something else begins: an array behind a header, in one piece of memory. */
static uint64_t row_length(const struct migration *m, const struct claim *row, uint64_t base, uint64_t bytes)
{
	const struct claims *l = &m->strong;
	uint64_t each = m->v.pair[row->pair].old->bytes, n = elements(m, row, base, bytes);

	for (uint32_t i = l->bucket[l->buckets + bucket_of(l, base)]; i; i = l->claim[i - 1].next_inner) {
		const struct claim *k = &l->claim[i - 1];
		uint64_t offset = k->address - base;

		if (offset < n * each && !spm_pair_has(&m->v, row->pair, offset % each, k->pair))
			n = offset / each ? offset / each : 1;
	}
	return n;
}

/* What is behind the first one. What begins an object is a row as long as that; behind another thing, within it, there may be a row to its end. */
static int row_walk(struct migration *m, size_t i)
{
	struct claim k = m->strong.claim[i];
	uint64_t base, bytes, each = m->v.pair[k.pair].old->bytes;
	bool has_base;

	if (is_known(m, &m->strong.claim[i], &has_base) || !spm_migrate_object(m->c, k.address, &base, &bytes))
		return 0;
	if (k.address == base) {
		uint64_t n = row_length(m, &k, base, bytes);
		int err = 0;

		m->strong.claim[i].is_row = n == elements(m, &k, base, bytes);
		if (m->strong.claim[i].is_row)
			return claim_pointers(m, &k, 1, UINT64_MAX, follow);
		for (uint64_t at = 1; at < n && !err; at++)
			err = claim_add(m, &m->strong, base + at * each, k.pair);
		return err;
	}
	return has_base && k.address + 2 * each <= base + bytes ? claim_add(m, &m->strong, k.address + each, k.pair)
	                                                        : 0;
}

/* No row before the first ones of all are done: by then it is known which are within others. */
static int strong_walk(struct migration *m)
{
	struct claims *l = &m->strong;
	int err = 0;

	while (!err && (l->done < l->n || l->rows < l->n)) {
		struct claim k = l->claim[l->done < l->n ? l->done : 0];

		err = l->done < l->n ? (l->done++, claim_pointers(m, &k, 0, 1, follow)) : row_walk(m, l->rows++);
	}
	return err;
}

static int by_address(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	return x->address != y->address ? (x->address > y->address) - (x->address < y->address)
	                                : (x->pair > y->pair) - (x->pair < y->pair);
}

static bool is_moving(const struct migration *m, uint32_t pair)
{
	const struct types_pair *p = &m->v.pair[pair];

	return p->new && (!p->fits || (!p->is_same && p->is_wanted));
}

/* Weak claims from i on that speak of one object; *end: behind them. */
static bool do_agree(const struct migration *m, const struct claims *l, size_t i, size_t *end, bool *matters)
{
	uint64_t base = 0, bytes = 0;
	size_t k = i;

	spm_migrate_object(m->c, l->claim[i].address, &base, &bytes);
	for (*matters = false; k < l->n && l->claim[k].address - base < bytes; k++)
		*matters |= is_moving(m, l->claim[k].pair);
	*end = k > i ? k : i + 1;
	return k <= i + 1;
}

/* Of objects that nothing else tells of. */
static int weak_take(struct migration *m)
{
	struct claims *l = &m->weak;
	int err = 0;

	if (l->n)
		qsort(l->claim, l->n, sizeof(*l->claim), by_address);
	for (size_t i = 0, end; i < l->n && !err; i = end) {
		struct claim k = l->claim[i];
		bool matters, do_all = do_agree(m, l, i, &end, &matters);

		if (spm_migrate_is_in(m->claimed, k.address))
			continue;
		if (do_all)
			err = claim_add(m, &m->strong, k.address, k.pair);
		else if (matters)
			err = spm_migrate_refuse(m, EPROTOTYPE, k.pair, k.address,
			                         "only members of unions lead there, and say different things of it");
	}
	l->n = 0;
	if (l->buckets)
		memset(l->bucket, 0, 2 * l->buckets * sizeof(*l->bucket));
	return err;
}

static int told_add(struct migration *m, uint64_t address, uint32_t pair)
{
	size_t before = m->strong.n;
	int err = claim_add(m, &m->strong, address, pair);

	if (m->strong.n > before)
		m->strong.claim[before].is_told = true;
	return err;
}

/* What the program told of objects by themselves (pCSetType). */
static int told_take(struct migration *m)
{
	const struct hints *h = &m->c->hints;
	int err = 0;

	for (size_t i = 0; i < h->typed_count && !err; i++) {
		const struct types_root *was = &m->v.old->all_roots[h->typed[i] >> HINTS_TYPE_BIT];
		size_t is = spm_types_root(m->v.new, was->name);
		const struct ptype *new = is < m->v.new->roots ? m->v.new->all_roots[is].type : NULL;
		int64_t pair = was->type && was->type->bytes ? spm_pair_get(&m->v, was->type, new) : PAIR_NONE;

		if (pair == -ENOMEM)
			err = spm_migrate_no_memory(m);
		if (pair >= 0)
			spm_migrate_note(m->told, spm_hints_typed_address(h->typed[i]));
		if (pair >= 0)
			err = told_add(m, spm_hints_typed_address(h->typed[i]), (uint32_t)pair);
	}
	return err;
}

static int walk(struct migration *m)
{
	int64_t root;
	int err;

	if (!m->v.old->type[0].bytes)
		return spm_fail(EUCLEAN, "container %d is damaged: the type of its root has no size", m->c->magic);
	root = spm_pair_get(&m->v, &m->v.old->type[0], &m->v.new->type[0]);

	if (root < 0)
		return spm_migrate_no_memory(m);
	err = claim_add(m, &m->strong, m->c->root, (uint32_t)root);
	spm_migrate_note(m->told, m->c->root);
	if (!err)
		err = told_take(m);
	while (!err && (m->strong.done < m->strong.n || m->weak.n)) {
		err = strong_walk(m);
		if (!err)
			err = weak_take(m);
	}
	return err;
}

/* ---- what moves ---- */

/* The first claim that does not agree with what begins the object; NULL: none. */
static const struct claim *odd_find(const struct migration *m, const struct claim *by, const struct claim *k,
                                    const struct claim *end, uint64_t base, uint64_t bytes)
{
	const struct types_pair *p = &m->v.pair[by->pair];
	uint64_t n = elements(m, by, base, bytes);

	for (; k < end; k++) {
		uint64_t offset = k->address - base;

		if (!p->is_flexible && offset / p->old->bytes < n)
			offset %= p->old->bytes;
		if (!spm_pair_has(&m->v, by->pair, offset, k->pair))
			return k;
	}
	return NULL;
}

/* Not text behind a struct that is taken for more of them. */
static int plausible(struct migration *m, uint64_t place, uint32_t pointer, bool is_weak)
{
	uint64_t word;

	(void)m, (void)pointer;
	memcpy(&word, (const void *)(uintptr_t)place, sizeof(word));
	return is_weak || word >> 47 == 0 || word + 4096 < 4096 ? 0 : 1;
}

static bool is_zero(uint64_t from, uint64_t bytes)
{
	const unsigned char *at = (const unsigned char *)(uintptr_t)from;

	while (bytes && !*at)
		at++, bytes--;
	return !bytes;
}

/* A struct that ends with an array of one may have been allocated with a longer one. */
static bool may_be_longer(const struct ptype *t)
{
	const struct pmember *last = t->members ? &t->member[t->members - 1] : NULL;

	return last && last->type->kind == PTYPE_ARRAY && last->type->count == 1;
}

static int rest_check(struct migration *m, const struct moving *o)
{
	const struct types_pair p = m->v.pair[o->pair];
	uint64_t end = o->from + o->n * p.old->bytes;

	if (p.is_flexible)
		return 0;
	if (!is_zero(end, o->from + o->from_bytes - end))
		return spm_migrate_refuse(m, EPROTOTYPE, o->pair, o->from,
		                          "something lies behind it that no type tells of");
	if (o->n > 1 && may_be_longer(p.old) && !is_zero(o->from + p.old->bytes, (o->n - 1) * p.old->bytes))
		return spm_migrate_refuse(m, EPROTOTYPE, o->pair, o->from,
		                          "it may be an array, or one whose last field is longer");
	for (uint64_t i = 1; i < o->n; i++)
		if (spm_migrate_pointers(m, o->pair, o->from + i * p.old->bytes, p.old->bytes, false, plausible))
			return spm_migrate_refuse(m, EPROTOTYPE, o->pair, o->from,
			                          "what lies behind it is neither one more nor nothing");
	return 0;
}

static int moving_add(struct migration *m, const struct claim *by, uint64_t base, uint64_t bytes)
{
	struct moving o = {.from = base,
	                   .from_bytes = bytes,
	                   .pair = by->pair,
	                   .n = elements(m, by, base, bytes),
	                   .flags = spm_span_of(base)->flags & HEAP_NOPTR};

	if (rest_check(m, &o))
		return -1;
	if (m->movings == m->moving_room) {
		size_t room = m->moving_room ? m->moving_room * 2 : 256;
		struct moving *more = realloc(m->moving, room * sizeof(*more));

		if (!more)
			return spm_migrate_no_memory(m);
		m->moving = more;
		m->moving_room = room;
	}
	m->moving[m->movings++] = o;
	spm_migrate_note(m->leaving, base);
	return 0;
}

static const char *name_of(const struct migration *m, uint32_t pair)
{
	const struct ptype *t = m->v.pair[pair].old;

	return *t->name ? t->name : t->kind == PTYPE_POINTER ? "a pointer" : "something without a name";
}

/* Whether something of the type may have been allocated by itself there: heaps give at most a quarter more than one asks for. */
static bool has_size_of(const struct types_pair *p, uint64_t bytes)
{
	return p->old->bytes <= bytes && bytes <= p->old->bytes + p->old->bytes / 4 + 32;
}

/* The object may be more than the claim says, and be one that moves: as where lists lead from entry to entry, or pointers to what all of some structs
 * begin with. */
static bool is_part_of(const struct migration *m, uint32_t whole, const struct claim *k, uint64_t base, uint64_t bytes)
{
	const struct types_pair *p = &m->v.pair[whole];
	uint64_t offset = k->address - base;

	if (whole == k->pair || p->old->bytes > bytes)
		return false;
	if (!offset && !(has_size_of(p, bytes) && p->old->bytes > m->v.pair[k->pair].old->bytes))
		return false;
	return spm_pair_has(&m->v, whole, offset % p->old->bytes, k->pair);
}

static int doubt(const struct migration *m, const struct claim *k, uint64_t base, uint64_t bytes)
{
	if (m->accepts_untold || !spm_is_aggregate(m->v.pair[k->pair].old))
		return 0;
	for (size_t i = 0; i < m->wholes; i++)
		if (is_part_of(m, m->whole[i], k, base, bytes))
			return spm_migrate_refuse(
			        m, EPROTOTYPE, k->pair, k->address,
			        "it may be part of %s, but no pointer to one leads there: tell what it is "
			        "(pCSetType) in the build before; or that it is none: pCMigrate(\"void\", NULL, NULL)",
			        name_of(m, m->whole[i]));
	return 0;
}

/* None of the claims is of a type that moves. */
static int object_doubt(const struct migration *m, const struct claim *k, const struct claim *end, uint64_t base,
                        uint64_t bytes)
{
	const struct claim *largest = NULL;
	int err = 0;

	for (const struct claim *at = k; at < end && at->address == base; at++) {
		if (at->is_told || base == m->c->root)
			return 0;
		if (!largest || m->v.pair[at->pair].old->bytes > m->v.pair[largest->pair].old->bytes)
			largest = at;
	}
	if (largest)
		return doubt(m, largest, base, bytes);
	for (; k < end && !err; k++)
		err = doubt(m, k, base, bytes);
	return err;
}

/* Claims [k, end) speak of one object. */
static int object_judge(struct migration *m, const struct claim *k, const struct claim *end, uint64_t base,
                        uint64_t bytes)
{
	const struct claim *moving = NULL, *odd = NULL;

	for (const struct claim *at = k; at < end && !moving; at++)
		moving = is_moving(m, at->pair) ? at : NULL;
	if (!moving)
		return object_doubt(m, k, end, base, bytes);
	for (const struct claim *by = k; by < end && by->address == base; by++) {
		const struct claim *differs;

		if (m->v.pair[by->pair].old->bytes > bytes || !m->v.pair[by->pair].new)
			continue;
		differs = odd_find(m, by, k, end, base, bytes);
		if (!differs)
			return moving_add(m, by, base, bytes);
		odd = !odd || by == moving ? differs : odd;
	}
	if (!odd)
		return spm_migrate_refuse(m, EPROTOTYPE, moving->pair, moving->address,
		                          "nothing tells what the object that it lies in begins with");
	return spm_migrate_refuse(m, EPROTOTYPE, moving->pair, moving->address,
	                          "another pointer leads to %s there, at 0x%llx", name_of(m, odd->pair),
	                          (unsigned long long)odd->address);
}

static int objects_judge(struct migration *m, const struct claim *claim, size_t n)
{
	int err = 0;

	for (size_t i = 0, end; i < n && !err; i = end) {
		uint64_t base, bytes;

		end = i + 1;
		if (!spm_migrate_object(m->c, claim[i].address, &base, &bytes))
			continue;
		while (end < n && claim[end].address - base < bytes)
			end++;
		err = object_judge(m, claim + i, claim + end, base, bytes);
	}
	return err;
}

static int wholes_list(struct migration *m)
{
	const struct types_comparison *found = m->job->found;

	for (size_t i = 0; i < found->changes; i++) /* also what no pointer led to */
		if (found->change[i].new &&spm_is_aggregate(found->change[i].old) && found->change[i].old->bytes &&
		    spm_pair_get(&m->v, found->change[i].old, found->change[i].new) < 0)
			return spm_migrate_no_memory(m);
	m->whole = calloc(m->v.pairs, sizeof(*m->whole));
	if (!m->whole)
		return spm_migrate_no_memory(m);
	for (uint32_t i = 0; i < m->v.pairs; i++)
		if (m->v.pair[i].old->kind == PTYPE_STRUCT && is_moving(m, i))
			m->whole[m->wholes++] = i;
	return 0;
}

int spm_migrate_look(struct migration *m)
{
	struct claims *l = &m->strong;
	int err = walk(m);

	if (!err)
		err = wholes_list(m);
	if (err)
		return err;
	qsort(l->claim, l->n, sizeof(*l->claim), by_address); /* the buckets are of no use from here on */
	err = objects_judge(m, l->claim, l->n);
	return err ? err : spm_migrate_untold_check(m);
}
