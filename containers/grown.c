/* grown.c - see grown.h. */
#include "grown.h"
#include "migrate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PASSES_MOST = 1000 };

struct place {
	uint64_t address;
	const struct ptype *type;
};
struct walk {
	struct container *c;
	const struct types *old;
	const struct types_comparison *grown;
	bool *leads;       /* of each type: to one that grew, or it is one */
	struct place *met; /* by hash; address 0: free */
	size_t met_count, met_room;
	struct place *todo;
	size_t todos, todo_room;
};

static const struct types_grown *grown_find(const struct walk *w, const struct ptype *t)
{
	for (size_t i = 0; i < w->grown->grown_count; i++)
		if (w->grown->grown[i].old == t)
			return &w->grown->grown[i];
	return NULL;
}

/* ---- which types lead there ---- */

static bool does_lead(const struct walk *w, const struct ptype *t)
{
	bool leads = t->of && w->leads[t->of - w->old->type];

	for (size_t i = 0; i < t->members && !leads; i++)
		leads = w->leads[t->member[i].type - w->old->type];
	return leads;
}

/* In passes, until nothing is added; after many all lead, which is dearer and no less right. */
static bool leads_make(struct walk *w)
{
	bool is_more = true;

	w->leads = calloc(w->old->types, sizeof(*w->leads));
	if (!w->leads)
		return false;
	for (size_t i = 0; i < w->grown->grown_count; i++)
		w->leads[w->grown->grown[i].old - w->old->type] = true;
	for (unsigned pass = 0; is_more && pass < PASSES_MOST; pass++) {
		is_more = false;
		for (size_t i = w->old->types; i-- > 0;) {
			bool before = w->leads[i];

			w->leads[i] = before || does_lead(w, &w->old->type[i]);
			is_more |= before != w->leads[i];
		}
	}
	if (is_more)
		memset(w->leads, true, w->old->types * sizeof(*w->leads));
	return true;
}

/* ---- the walk ---- */

static struct place *met_slot(const struct walk *w, uint64_t address, const struct ptype *type)
{
	uint64_t key = (address ^ (uint64_t)(type - w->old->type) << 40) * UINT64_C(0x9e3779b97f4a7c15);
	size_t i = (key >> 20) & (w->met_room - 1);

	while (w->met[i].address && (w->met[i].address != address || w->met[i].type != type))
		i = (i + 1) & (w->met_room - 1);
	return &w->met[i];
}

static bool met_grow(struct walk *w)
{
	struct place *old = w->met;
	size_t n = w->met_room;

	if (w->met_count * 2 < n)
		return true;
	w->met = calloc(n ? n * 2 : 1024, sizeof(*w->met));
	if (!w->met) {
		w->met = old;
		return false;
	}
	w->met_room = n ? n * 2 : 1024;
	for (size_t i = 0; i < n; i++)
		if (old[i].address)
			*met_slot(w, old[i].address, old[i].type) = old[i];
	free(old);
	return true;
}

static int no_memory(const struct walk *w)
{
	return spm_fail(ENOMEM, "container %d: no memory to look for objects of types that grew", w->c->magic);
}

static int todo_add(struct walk *w, uint64_t address, const struct ptype *type)
{
	struct place *more;

	if (!met_grow(w))
		return no_memory(w);
	if (met_slot(w, address, type)->address)
		return 0;
	*met_slot(w, address, type) = (struct place){address, type};
	w->met_count++;
	if (w->todos == w->todo_room) {
		more = realloc(w->todo, (w->todo_room * 2 + 64) * sizeof(*more));
		if (!more)
			return no_memory(w);
		w->todo = more;
		w->todo_room = w->todo_room * 2 + 64;
	}
	w->todo[w->todos++] = (struct place){address, type};
	return 0;
}

/* The object of the container that the address lies in. */
static bool object_at(const struct walk *w, uint64_t address, uint64_t *base, uint64_t *bytes)
{
	struct span *s = spm_in_window(address) ? spm_span_of(address) : NULL;
	unsigned slot = s ? spm_span_slot(s, address) : 0;

	if (!s || slot >= s->slots || !spm_marks_has(w->c->marks, s, slot))
		return false;
	*base = spm_slot_address(s, slot);
	*bytes = s->slot_bytes;
	return true;
}

static bool is_zero(uint64_t from, uint64_t bytes)
{
	const unsigned char *at = (const unsigned char *)(uintptr_t)from;

	while (bytes && !*at)
		at++, bytes--;
	return !bytes;
}

static int refuse(const struct walk *w, const struct types_grown *g, uint64_t address, const char *why)
{
	char advice[160];

	spm_migrate_advise(g->old, w->old, advice, sizeof(advice));
	return spm_fail(
	        EPROTOTYPE,
	        "container %d can't be used by this build of the program: %s grew from %llu to %llu bytes, and its "
	        "object at 0x%llx %s%s",
	        w->c->magic, *g->old->name ? g->old->name : w->old->root, (unsigned long long)g->old->bytes,
	        (unsigned long long)g->new->bytes, (unsigned long long)address, why, advice);
}

static int room_check(const struct walk *w, const struct types_grown *g, uint64_t address, uint64_t base,
                      uint64_t bytes)
{
	bool is_root = address == w->c->root;

	if (address != base)
		return refuse(w, g, address, "lies within a larger one");
	if (!is_root && bytes / 2 >= g->old->bytes)
		return refuse(w, g, address, "may be an array of them");
	if (bytes < g->new->bytes)
		return refuse(w, g, address, "has no room for more");
	if (!is_zero(base + g->old->bytes, g->new->bytes - g->old->bytes))
		return refuse(w, g, address, "has something behind it");
	return 0;
}

static int follow(struct walk *w, uint64_t address, const struct ptype *type)
{
	const struct types_grown *g = grown_find(w, type);
	uint64_t base, bytes;

	if (!object_at(w, address, &base, &bytes))
		return 0;
	if (g && room_check(w, g, address, base, bytes))
		return -1;
	return type->bytes ? todo_add(w, address, type) : 0;
}

static int value_look(struct walk *w, uint64_t at, const struct ptype *t, uint64_t room)
{
	uint64_t word, n;
	int err = 0;

	if (!w->leads[t - w->old->type] || t->bytes > room)
		return 0;
	if (t->kind == PTYPE_POINTER) {
		memcpy(&word, (const void *)(uintptr_t)at, sizeof(word));
		return follow(w, word, t->of);
	}
	if (t->kind == PTYPE_ARRAY) {
		n = t->count ? t->count : room / t->of->bytes;
		for (uint64_t i = 0; i < n && !err; i++)
			err = value_look(w, at + i * t->of->bytes, t->of, t->of->bytes);
	}
	for (size_t i = 0; i < t->members && !err; i++)
		if (!t->member[i].bits)
			err = value_look(w, at + t->member[i].offset, t->member[i].type, room - t->member[i].offset);
	return err;
}

/* It may be the first of an array. */
static int place_look(struct walk *w, const struct place *p)
{
	uint64_t base, bytes, room;
	int err;

	if (!object_at(w, p->address, &base, &bytes))
		return 0;
	room = bytes - (p->address - base);
	err = value_look(w, p->address, p->type, room);
	for (uint64_t at = p->type->bytes; p->address != w->c->root && at + p->type->bytes <= room && !err;
	     at += p->type->bytes)
		err = value_look(w, p->address + at, p->type, p->type->bytes);
	return err;
}

/* What the program told of objects by themselves. */
static int told_follow(struct walk *w)
{
	const struct hints *h = &w->c->hints;
	int err = 0;

	for (size_t i = 0; i < h->typed_count && !err; i++) {
		const struct ptype *type = w->old->all_roots[h->typed[i] >> HINTS_TYPE_BIT].type;

		if (type)
			err = follow(w, spm_hints_typed_address(h->typed[i]), type);
	}
	return err;
}

int spm_grown_check(struct container *c, const struct types *old, const struct types_comparison *grown)
{
	struct walk w = {.c = c, .old = old, .grown = grown};
	int err = leads_make(&w) ? follow(&w, c->root, &old->type[0]) : no_memory(&w);

	if (!err)
		err = told_follow(&w);
	while (w.todos && !err) {
		struct place p = w.todo[--w.todos];

		err = place_look(&w, &p);
	}
	free(w.leads);
	free(w.met);
	free(w.todo);
	return err;
}
