/* migrate_move.c - new objects for old ones: see migrate.h.
 *
 *    each that moves: new memory -> converted -> pointers, by type, then every other word that leads into an old one -> hints, root -> freed
 *
 * Pointers of which the type is known lead to what is of that type: where a list's entry is the first member, a pointer to the struct and one to the entry are
 * the same number, and may be different ones from now on. All other words (void pointers, numbers, memory that no type tells of) are taken for pointers
 * if they lead into an object that moves, as where a restore moves a container (moved.h); of two things that begin at one place they mean the outer one.
 *
 * What the program's functions allocated is found by following pointers out of the new objects.
 */
#include "migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a function of the program allocated. */
struct fresh {
	uint64_t address;
	const struct ptype *type; /* NULL: not known */
};
struct moves {
	struct migration *m; /* first: callbacks get it for a struct migration */
	struct marks *fresh_seen;
	struct fresh *fresh;
	size_t freshs, fresh_room;
};

/* ---- where things are by now ---- */

static const struct moving *moving_find(const struct migration *m, uint64_t address)
{
	size_t from = 0, to = m->movings;

	if (!spm_migrate_is_in(m->leaving, address))
		return NULL;
	while (to - from > 1) {
		size_t mid = from + (to - from) / 2;

		*(m->moving[mid].from <= address ? &from : &to) = mid;
	}
	return &m->moving[from];
}

/* place: what is looked for. *now: the address. false: it went. */
static bool place_now(const struct migration *m, const struct moving *o, uint64_t address, struct pair_place *place,
                      uint64_t *now)
{
	const struct types_pair *p = &m->v.pair[o->pair];
	uint64_t offset = address - o->from, i = p->is_flexible ? 0 : offset / p->old->bytes;
	unsigned tag = (unsigned)(offset % 8);

	if (i >= o->n && !p->is_flexible) { /* the end of an array */
		*now = o->to + o->n * p->new->bytes + (offset - o->n * p->old->bytes);
		place->is_exact = true;
		return true;
	}
	offset -= i * p->old->bytes;
	*now = o->to + i * p->new->bytes;
	if (spm_pair_place(&m->v, o->pair, offset, place)) {
		*now += place->to;
		return true;
	}
	if (!tag || offset < tag || !spm_pair_place(&m->v, o->pair, offset - tag, place))
		return false;
	*now += place->to + tag; /* programs keep bits there */
	return true;
}

static int gone(const struct migration *m, const struct moving *o, uint64_t address, uint64_t place)
{
	return spm_migrate_refuse(m, EPROTOTYPE, o->pair, o->from,
	                          "a pointer at 0x%llx leads to offset %llu of it, and what was there is no more",
	                          (unsigned long long)place, (unsigned long long)(address - o->from));
}

static void dirty_note(const struct migration *m, uint64_t address, uint64_t bytes)
{
	pageno_t first = spm_page_of(address), last = spm_page_of(address + bytes - 1);

	spm_marks_set_dirty(m->c->marks, first, last - first + 1);
}

static uint64_t word_get(uint64_t place)
{
	uint64_t word;

	memcpy(&word, (const void *)(uintptr_t)place, sizeof(word));
	return word;
}

static void word_put(const struct migration *m, uint64_t place, uint64_t word)
{
	memcpy((void *)(uintptr_t)place, &word, sizeof(word));
	dirty_note(m, place, sizeof(word));
}

/* is_sure: the pointer's type says what must be there. */
static int word_move(const struct migration *m, uint64_t place, struct pair_place *by, bool is_sure)
{
	uint64_t word = word_get(place), now;
	const struct moving *o = moving_find(m, word);

	if (!o)
		return 0;
	if (!place_now(m, o, word, by, &now))
		return gone(m, o, word, place);
	if (is_sure && !by->is_exact)
		return spm_migrate_refuse(m, EPROTOTYPE, o->pair, o->from,
		                          "a pointer at 0x%llx says that something else is at offset %llu of it",
		                          (unsigned long long)place, (unsigned long long)(word - o->from));
	word_put(m, place, now);
	return 0;
}

static bool says_what(const struct ptype *t)
{
	return t && t->bytes && t->kind != PTYPE_VOID && t->kind != PTYPE_CHAR && t->kind != PTYPE_UNKNOWN;
}

/* ---- pointers of objects that stay ---- */

static int staying_pointer(struct migration *m, uint64_t place, uint32_t pointer, bool is_weak)
{
	struct pair_place by = {.wanted = PAIR_NONE};
	bool is_sure = !is_weak && says_what(m->v.pair[pointer].old->of);

	if (!moving_find(m, word_get(place)))
		return 0;
	if (is_sure)
		by.wanted = spm_pair_pointee(&m->v, pointer);
	if (is_sure && by.wanted < 0)
		return spm_migrate_no_memory(m);
	return word_move(m, place, &by, is_sure);
}

static int staying_pointers(struct migration *m)
{
	int err = 0;

	for (size_t i = 0; i < m->strong.n && !err; i++)
		if (!spm_migrate_is_in(m->leaving, m->strong.claim[i].address))
			err = spm_migrate_claim_pointers(m, &m->strong.claim[i], staying_pointer);
	return err;
}

/* ---- pointers of new objects, by the new types ---- */

/* What lies there is neither of the version nor made here. */
static int fresh_add(struct moves *w, uint64_t address, const struct ptype *type)
{
	struct migration *m = w->m;
	struct span *s = spm_in_window(address) ? spm_span_of(address) : NULL;
	unsigned slot = s ? spm_span_slot(s, address) : 0;

	if (!s || slot >= s->slots || !spm_slot_is_allocated(s, slot) || spm_marks_has(m->c->marks, s, slot) ||
	    spm_marks_has(w->fresh_seen, s, slot))
		return 0;
	if (w->freshs == w->fresh_room) {
		size_t room = w->fresh_room ? w->fresh_room * 2 : 256;
		struct fresh *more = realloc(w->fresh, room * sizeof(*more));

		if (!more)
			return spm_migrate_no_memory(m);
		w->fresh = more;
		w->fresh_room = room;
	}
	spm_migrate_note(w->fresh_seen, address);
	w->fresh[w->freshs++] = (struct fresh){address, type};
	return 0;
}

static int new_pointer(struct moves *w, uint64_t place, const struct ptype *of, bool is_weak)
{
	bool is_sure = !is_weak && says_what(of);
	struct pair_place by = {.wanted = PAIR_NONE, .wanted_new = is_sure ? of : NULL};
	uint64_t word = word_get(place);

	return moving_find(w->m, word) ? word_move(w->m, place, &by, is_sure) : fresh_add(w, word, is_sure ? of : NULL);
}

static int new_pointers(struct moves *w, const struct ptype *t, uint64_t at, uint64_t room, bool is_weak);

/* room: what there is from the member on, if it may be longer than it says. */
static int new_member(struct moves *w, const struct pmember *member, uint64_t at, uint64_t room, bool is_weak)
{
	const struct pmember *held;

	if (member->bits)
		return 0;
	at += member->offset;
	if (member->type->kind == PTYPE_UNION && spm_migrate_holds(member->choice, at, &held))
		return held ? new_member(w, held, at, held->type->bytes, is_weak) : 0;
	return new_pointers(w, member->type, at, room, is_weak);
}

static int new_pointers(struct moves *w, const struct ptype *t, uint64_t at, uint64_t room, bool is_weak)
{
	size_t last = t->kind == PTYPE_STRUCT ? t->members - 1 : SIZE_MAX;
	uint64_t n;
	int err = 0;

	if (!w->m->v.has_pointers_new[t - w->m->v.new->type] || t->bytes > room)
		return 0;
	if (t->kind == PTYPE_POINTER)
		return new_pointer(w, at, t->of, is_weak);
	if (t->kind == PTYPE_ARRAY) {
		n = t->count ? t->count : room / t->of->bytes;
		for (uint64_t i = 0; i < n && !err; i++)
			err = new_pointers(w, t->of, at + i * t->of->bytes, t->of->bytes, is_weak);
	}
	for (size_t i = 0; i < t->members && !err; i++)
		err = new_member(w, &t->member[i], at,
		                 i == last ? room - t->member[i].offset : t->member[i].type->bytes,
		                 is_weak || t->kind == PTYPE_UNION);
	return err;
}

static bool is_number(const struct migration *m, uint64_t place)
{
	size_t from = 0, to = m->numbers;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (m->number[mid] == place)
			return true;
		*(m->number[mid] < place ? &from : &to) = m->number[mid] < place ? mid + 1 : mid;
	}
	return false;
}

/* All other words. */
static int words_move(const struct migration *m, uint64_t at, uint64_t bytes)
{
	int err = 0;

	for (uint64_t end = at + bytes; at + sizeof(uint64_t) <= end && !err; at += sizeof(uint64_t)) {
		struct pair_place by = {.wanted = PAIR_NONE};

		if (spm_in_window(word_get(at)) && !is_number(m, at))
			err = word_move(m, at, &by, false);
	}
	return err;
}

static int new_words(struct moves *w, uint64_t at, uint64_t bytes)
{
	int err = words_move(w->m, at, bytes);

	for (uint64_t end = at + bytes; at + sizeof(uint64_t) <= end && !err; at += sizeof(uint64_t))
		err = fresh_add(w, word_get(at), NULL);
	return err;
}

static int new_object(struct moves *w, const struct moving *o)
{
	const struct types_pair *p = &w->m->v.pair[o->pair];
	uint64_t bytes = p->new->bytes;
	int err = 0;

	for (uint64_t i = 0; i < o->n && !err; i++)
		err = new_pointers(w, p->new, o->to + i * bytes, p->is_flexible ? o->to_bytes : bytes, false);
	return err || o->flags & HEAP_NOPTR ? err : new_words(w, o->to, o->to_bytes);
}

static int fresh_object(struct moves *w, struct fresh f)
{
	const struct span *s = spm_span_of(f.address);
	uint64_t base = spm_slot_address(s, spm_span_slot(s, f.address));
	uint64_t bytes = spm_heap_usable((const void *)(uintptr_t)base), each = f.type ? f.type->bytes : 0;
	int err = 0;

	for (uint64_t at = f.address; each && at + each <= base + bytes && !err; at += each)
		err = new_pointers(w, f.type, at, base + bytes - at, false);
	return err || s->flags & HEAP_NOPTR ? err : new_words(w, base, bytes);
}

static int new_objects(struct moves *w)
{
	int err = 0;

	for (size_t i = 0; i < w->m->movings && !err; i++)
		err = new_object(w, &w->m->moving[i]);
	for (size_t i = 0; i < w->freshs && !err; i++)
		err = fresh_object(w, w->fresh[i]);
	return err;
}

/* ---- all other words of the version ---- */

static void span_words(struct span *s, const struct slotset *live, void *arg)
{
	struct migration *m = arg;

	for (unsigned slot = 0; slot < s->slots && !(s->flags & HEAP_NOPTR) && !m->err; slot++)
		if (slotset_has(live, slot) && !spm_marks_has(m->leaving, s, slot))
			m->err = words_move(m, spm_slot_address(s, slot), s->slot_bytes);
}

/* ---- new memory ---- */

static int mend(const struct types_pair *pair, const void *from, void *to, void *arg)
{
	const struct migrate_rule *r = pair->own;
	int *errno_of_it = arg, result = r->fn(pair->old, from, pair->new, to, r->arg);

	if (result > 0)
		*errno_of_it = result;
	return result > 0 ? -result : result == PMIGRATE_MENDED;
}

static int element_convert(const struct migration *m, const struct moving *o, uint64_t i)
{
	const struct types_pair *p = &m->v.pair[o->pair];
	uint64_t from = o->from + i * p->old->bytes, to = o->to + i * p->new->bytes;
	int by_program = 0, err;
	struct converting v = {.c = &m->v, .mend = mend, .arg = &by_program};

	err = spm_convert(&v, o->pair, (const void *)(uintptr_t)from, p->is_flexible ? o->from_bytes : p->old->bytes,
	                  (void *)(uintptr_t)to, p->is_flexible ? o->to_bytes : p->new->bytes);
	if (by_program)
		return spm_migrate_refuse(m, by_program, o->pair, from, "the program's function failed: %s",
		                          strerror(by_program));
	return err ? spm_migrate_refuse(m, ERANGE, o->pair, from, "%s", v.problem) : 0;
}

/* Behind numbers of a few bytes there is room for more, which need not have been asked for. */
static bool is_nothing(const struct moving *o, const struct types_pair *p, uint64_t i)
{
	static const unsigned char zero[8];

	return i && p->old->bytes <= sizeof(zero) &&
	       !memcmp((const void *)(uintptr_t)(o->from + i * p->old->bytes), zero, p->old->bytes);
}

static int object_make(const struct migration *m, struct moving *o)
{
	const struct types_pair *p = &m->v.pair[o->pair];
	uint64_t bytes = p->is_flexible ? spm_pair_bytes(&m->v, o->pair, o->from_bytes) : o->n * p->new->bytes;
	int err = 0;

	if (o->from == m->c->root && bytes < m->c->root_bytes)
		bytes = m->c->root_bytes;
	o->to = (uintptr_t)spm_heap_alloc(bytes, o->flags);
	if (!o->to)
		return spm_migrate_no_memory(m);
	o->to_bytes = spm_heap_usable((const void *)(uintptr_t)o->to);
	for (uint64_t i = 0; i < o->n && !err; i++)
		err = is_nothing(o, p, i) ? 0 : element_convert(m, o, i);
	return err;
}

static int objects_make(const struct migration *m)
{
	uint32_t before = spm_arena_use(m->c->arena);
	int err = 0;

	for (size_t i = 0; i < m->movings && !err; i++)
		err = object_make(m, &m->moving[i]);
	spm_arena_use(before);
	return err;
}

/* ---- hints ---- */

static uint64_t address_now(uint64_t address, const void *arg)
{
	const struct migration *m = arg;
	const struct moving *o = moving_find(m, address);
	struct pair_place by = {.wanted = PAIR_NONE};
	uint64_t now;

	return o && place_now(m, o, address, &by, &now) ? now : address;
}

static int by_place(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int numbers_list(struct migration *m)
{
	const struct plain *p = &m->c->plain;

	m->number = malloc((p->n + 1) * sizeof(*m->number));
	if (!m->number)
		return spm_migrate_no_memory(m);
	for (size_t i = 0; i < p->n; i++)
		m->number[i] = address_now(spm_moved_address(m->c->moved, p->place[i]), m);
	m->numbers = p->n;
	qsort(m->number, m->numbers, sizeof(*m->number), by_place);
	return 0;
}

/* Somewhere in it, at whatever offset, there is the address of something within [to, to + bytes). */
static bool leads_to(uint64_t object, uint64_t to, uint64_t bytes)
{
	const struct span *s = spm_span_of(object);
	uint64_t at = spm_slot_address(s, spm_span_slot(s, object)), end = at + s->slot_bytes;

	for (; at + sizeof(uint64_t) <= end; at++)
		if (word_get(at) - to < bytes)
			return true;
	return false;
}

/* A pointer that discovery can't see must be one that the types tell of. */
static int references_check(const struct migration *m)
{
	for (size_t i = 0; i < m->c->hints.reference_count; i++) {
		const struct reference *r = &m->c->hints.reference[i];
		const struct moving *o = moving_find(m, r->target);

		if (o && !leads_to(address_now(r->object, m), o->to, o->to_bytes))
			return spm_migrate_refuse(
			        m, EPROTOTYPE, o->pair, o->from,
			        "0x%llx refers to it by a pointer that can't be seen (pHint), and would "
			        "not find it where it goes",
			        (unsigned long long)r->object);
	}
	return 0;
}

static bool is_hint_live(uint64_t address, void *arg)
{
	return spm_migrate_is_in(((struct container *)arg)->marks, address);
}

/* ---- the last step ---- */

/* Can't fail. */
static void put(struct migration *m)
{
	struct container *c = m->c;
	struct left *left = &c->left;

	for (size_t i = 0; i < m->movings; i++) {
		spm_migrate_note(c->marks, m->moving[i].to);
		dirty_note(m, m->moving[i].to, m->moving[i].to_bytes);
	}
	if (c->hints.excluded_count || c->hints.reference_count)
		spm_hints_move(&c->hints, address_now, m);
	for (size_t i = 0; i < left->n; i++)
		left->pointer[i].place = address_now(left->pointer[i].place, m);
	if (moving_find(m, c->root)) {
		c->root = address_now(c->root, m);
		if (c->root_bytes < m->v.new->type[0].bytes)
			c->root_bytes = m->v.new->type[0].bytes;
	}
	for (size_t i = 0; i < m->movings; i++) {
		struct span *s = spm_span_of(m->moving[i].from);
		struct slotset slots = {{0}};

		slotset_add(&slots, spm_span_slot(s, m->moving[i].from));
		spm_marks_drop(c->marks, s, &slots);
		spm_heap_free((void *)(uintptr_t)m->moving[i].from);
	}
	for (size_t i = 0; i < c->hints.excluded_count; i++)
		if (c->hints.excluded[i] % 8)
			c->hints.excluded[i] =
			        SPM_WINDOW_START; /* nobody has that; discovery does not see what it spoke of */
	spm_hints_keep(&c->hints, is_hint_live, c);
	c->wants_full_trace = true; /* what only fields that went have led to */
}

static void objects_unmake(const struct migration *m)
{
	int error = errno;

	for (size_t i = 0; i < m->movings; i++)
		if (m->moving[i].to)
			spm_heap_free((void *)(uintptr_t)m->moving[i].to);
	errno = error;
}

static int all_words(struct migration *m)
{
	struct moves w = {.m = m, .fresh_seen = spm_marks_new()};
	int err = w.fresh_seen ? 0 : spm_migrate_no_memory(m);

	for (size_t i = 0; i < m->movings && !err; i++)
		spm_migrate_note(w.fresh_seen, m->moving[i].to);
	if (!err)
		err = numbers_list(m);
	if (!err)
		err = staying_pointers(m);
	if (!err)
		err = new_objects(&w);
	if (!err) {
		spm_marks_each_span(m->c->marks, span_words, m);
		err = m->err;
	}
	spm_marks_free(w.fresh_seen);
	free(w.fresh);
	return err;
}

int spm_migrate_move(struct migration *m)
{
	int err = objects_make(m);

	if (!err)
		err = all_words(m);
	if (!err)
		err = references_check(m);
	if (err)
		objects_unmake(m);
	else
		put(m);
	return err;
}
