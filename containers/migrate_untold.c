/* migrate_untold.c - whether all that a migration must know of is told by types: see migrate.h.
 *
 * Where only void pointers, numbers, entries that lie within (container_of) or memory that no type tells of lead to an object, nothing says what
 * it is: it may be a struct that changed, would stay as it was, and the program would read it as what it is by now. So whatever any
 * word of what is known leads to must be known, if it is large enough; or the program says that such objects are none of those (pCMigrate of "void").
 */
#include "migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_struct(const struct ptype *t)
{
	return t->kind == PTYPE_STRUCT || t->kind == PTYPE_UNION;
}

/* Of the structs that changed. UINT64_MAX: none did. */
static uint64_t smallest(const struct migration *m)
{
	const struct types_comparison *found = m->job->found;
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < found->changes; i++)
		if (is_struct(found->change[i].old) && found->change[i].old->bytes < least)
			least = found->change[i].old->bytes;
	return least;
}

/* ---- objects that are reached, and not known ---- */

struct untold {
	struct migration *m;
	uint64_t least;
	struct marks *harmless; /* found, and too small, or pages of a structure that holds nothing that changed */
	bool *leads;            /* of each old type: to one that changed, or nobody knows where to */
	bool takes_all;         /* whatever is found is harmless */
	uint64_t *todo;
	size_t todos, room;
};

/* The first claim at the address, or behind it. */
static size_t claim_from(const struct claims *l, uint64_t address)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (l->claim[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* "any of struct app at 0x...". */
static void holder_name(const struct migration *m, uint64_t base, uint64_t place, char *out, size_t room)
{
	size_t i = claim_from(&m->strong, base);
	bool is_known = i < m->strong.n && m->strong.claim[i].address == base;
	const struct ptype *t = is_known ? m->v.pair[m->strong.claim[i].pair].old : NULL;
	uint64_t offset = (place - base) % (t && t->bytes ? t->bytes : UINT64_MAX);

	for (size_t k = 0; t && k < t->members; k++)
		if (offset - t->member[k].offset < t->member[k].type->bytes) {
			snprintf(out, room, "%s of %s at 0x%llx", *t->member[k].name ? t->member[k].name : "a field",
			         *t->name ? t->name : m->job->old->root, (unsigned long long)base);
			return;
		}
	snprintf(out, room, "a word at 0x%llx", (unsigned long long)place);
}

static int untold_refuse(const struct migration *m, uint64_t base, uint64_t bytes, uint64_t from, uint64_t place)
{
	char holder[200];

	holder_name(m, from, place, holder, sizeof(holder));
	return spm_fail(EPROTOTYPE,
	                "container %d can't be migrated: nothing tells what the object of %llu bytes at 0x%llx is, to "
	                "which %s leads: the build before can tell (pCSetType, pCSetFieldType); or, if such are none "
	                "of the structs that changed, the program says so: pCMigrate(\"void\", NULL, NULL)",
	                m->c->magic, (unsigned long long)bytes, (unsigned long long)base, holder);
}

static int todo_add(struct untold *u, uint64_t base)
{
	if (u->todos == u->room) {
		uint64_t *more = realloc(u->todo, (u->room * 2 + 64) * sizeof(*more));

		if (!more)
			return spm_migrate_no_memory(u->m);
		u->todo = more;
		u->room = u->room * 2 + 64;
	}
	u->todo[u->todos++] = base;
	return 0;
}

/* What tells of it leads to nothing that changed, or are pointers to pieces: it is a structure's own. */
static bool is_inner(const struct untold *u, uint64_t base)
{
	const struct claims *l = &u->m->strong;
	bool is_one = true;

	for (size_t i = claim_from(l, base); i < l->n && l->claim[i].address == base && is_one; i++) {
		const struct ptype *t = u->m->v.pair[l->claim[i].pair].old;

		is_one = t->kind == PTYPE_POINTER || !u->leads[t - u->m->job->old->type];
	}
	return is_one;
}

static int word_look(struct untold *u, uint64_t word, uint64_t from, uint64_t place)
{
	uint64_t base, bytes;

	if (!spm_migrate_object(u->m->c, word, &base, &bytes) || spm_migrate_is_in(u->harmless, base) ||
	    (spm_migrate_is_in(u->m->told, base) && !(u->takes_all && is_inner(u, base))))
		return 0;
	if (bytes >= u->least && !u->takes_all)
		return untold_refuse(u->m, base, bytes, from, place);
	spm_migrate_note(u->harmless, base);
	return todo_add(u, base);
}

/* Of the object that begins at base. */
static int words_scan(struct untold *u, uint64_t base, uint64_t from, uint64_t end)
{
	int err = 0;

	for (uint64_t at = from; at + sizeof(uint64_t) <= end && !err; at += sizeof(uint64_t)) {
		uint64_t word = *(const uint64_t *)(uintptr_t)at;

		if (spm_in_window(word) && !spm_hints_is_excluded(&u->m->c->hints, at))
			err = word_look(u, word, base, at);
	}
	return err;
}

static int object_scan(struct untold *u, uint64_t base)
{
	uint64_t begin, bytes;

	if (!spm_migrate_object(u->m->c, base, &begin, &bytes) || spm_span_of(base)->flags & HEAP_NOPTR)
		return 0;
	return words_scan(u, base, base, base + bytes);
}

static int todo_scan(struct untold *u)
{
	int err = 0;

	while (u->todos && !err)
		err = object_scan(u, u->todo[--u->todos]);
	return err;
}

static void span_scan(struct span *s, const struct slotset *live, void *arg)
{
	struct untold *u = arg;

	for (unsigned i = 0; i < s->slots && !u->m->err; i++)
		if (slotset_has(live, i))
			u->m->err = object_scan(u, spm_slot_address(s, i));
}

/* What the program said that objects refer to (pHint). */
static int references_look(struct untold *u)
{
	const struct hints *h = &u->m->c->hints;
	int err = 0;

	for (size_t i = 0; i < h->reference_count && !err; i++)
		if (spm_migrate_is_in(u->m->told, h->reference[i].object))
			err = word_look(u, h->reference[i].target, h->reference[i].object, h->reference[i].object);
	return err;
}

/* ---- SoftPM's own structures ---- */

static bool has_by_value(const struct ptype *t, const struct ptype *what)
{
	bool has = t == what || (t->kind == PTYPE_ARRAY && has_by_value(t->of, what));

	for (size_t i = 0; i < t->members && !has; i++)
		has = has_by_value(t->member[i].type, what);
	return has;
}

/* The typed names of <softpm/ds.h> tell by pointers without a number what they are of: struct user *value_of_[0]. NULL: it is none of these. */
static const struct ptype *held_type(const struct pmember *m)
{
	const char *end = strstr(m->name, "_of_");

	return end && !end[4] && m->type->kind == PTYPE_ARRAY && !m->type->count &&
	                       m->type->of->kind == PTYPE_POINTER && m->type->of->of
	               ? m->type->of->of
	               : NULL;
}

/* Values in its pages. */
static int held_check(const struct migration *m, const struct ptype *t)
{
	const struct types_comparison *found = m->job->found;

	for (size_t i = 0; i < t->members; i++) {
		const struct ptype *held = held_type(&t->member[i]);

		for (size_t k = 0; held && k < found->changes; k++)
			if (has_by_value(held, found->change[k].old))
				return spm_fail(EPROTOTYPE,
				                "container %d can't be migrated: %s holds %s in its own pages, not by "
				                "pointers; the build before can copy what is in it to where pointers "
				                "lead to it",
				                m->c->magic, t->name,
				                *held->name ? held->name : "values of a type that changed");
	}
	return 0;
}

static bool is_changed(const struct migration *m, const struct ptype *t)
{
	bool is_one = false;

	for (size_t i = 0; i < m->job->found->changes && !is_one; i++)
		is_one = m->job->found->change[i].old == t;
	return is_one;
}

static bool does_lead(const struct untold *u, const struct ptype *t)
{
	const struct ptype *all = u->m->job->old->type;
	bool leads = t->kind == PTYPE_POINTER && (!t->of || (!t->of->bytes && t->of->kind != PTYPE_FUNCTION));

	leads = leads || (t->of && u->leads[t->of - all]);
	for (size_t i = 0; i < t->members && !leads; i++)
		leads = u->leads[t->member[i].type - all];
	return leads;
}

static int leads_make(struct untold *u)
{
	const struct types *old = u->m->job->old;
	bool is_more = true;

	u->leads = calloc(old->types, sizeof(*u->leads));
	if (!u->leads)
		return spm_migrate_no_memory(u->m);
	for (size_t i = 0; i < old->types; i++)
		u->leads[i] = is_changed(u->m, &old->type[i]);
	while (is_more) {
		is_more = false;
		for (size_t i = old->types; i-- > 0;)
			if (!u->leads[i] && does_lead(u, &old->type[i]))
				is_more = u->leads[i] = true;
	}
	return 0;
}

/* Whether it is one of them, and holds nothing that changed, or leads there. */
static bool is_harmless(const struct untold *u, const struct ptype *t)
{
	bool is_one = false;

	for (size_t i = 0; i < t->members; i++) {
		const struct ptype *held = held_type(&t->member[i]);

		if (held && u->leads[held - u->m->job->old->type])
			return false;
		is_one |= held != NULL;
	}
	return is_one;
}

/* All that the harmless ones lead to, and nothing tells of, is theirs. */
static int pages_take(struct untold *u, const struct ptype *t, uint64_t base, uint64_t at)
{
	int err = 0;

	if (is_harmless(u, t)) {
		err = words_scan(u, base, at, at + t->bytes);
		return err ? err : todo_scan(u);
	}
	for (uint64_t i = 0; t->kind == PTYPE_ARRAY && t->of->members && i < t->count && !err; i++)
		err = pages_take(u, t->of, base, at + i * t->of->bytes);
	for (size_t i = 0; i < t->members && !err; i++)
		if (t->member[i].type->kind == PTYPE_STRUCT || t->member[i].type->kind == PTYPE_ARRAY)
			err = pages_take(u, t->member[i].type, base, at + t->member[i].offset);
	return err;
}

static int structures_take(struct untold *u)
{
	const struct claims *l = &u->m->strong;
	int err = 0;

	u->takes_all = true;
	for (size_t i = 0; i < l->n && !err; i++) {
		const struct ptype *t = u->m->v.pair[l->claim[i].pair].old;
		uint64_t base, bytes, at = l->claim[i].address;

		if (!t->members || !spm_migrate_object(u->m->c, at, &base, &bytes))
			continue;
		do {
			err = pages_take(u, t, base, at);
			at += t->bytes;
		} while (!err && l->claim[i].is_row && at + t->bytes <= base + bytes);
	}
	u->takes_all = false;
	return err;
}

/* ---- all of it ---- */

static int reached_check(struct migration *m)
{
	struct untold u = {.m = m, .least = smallest(m), .harmless = spm_marks_new()};
	int err = u.harmless ? leads_make(&u) : spm_migrate_no_memory(m);

	if (!err && u.least != UINT64_MAX) {
		err = structures_take(&u);
		if (!err)
			spm_marks_each_span(m->told, span_scan, &u);
		err = err ? err : m->err ? m->err : references_look(&u);
		err = err ? err : todo_scan(&u);
	}
	spm_marks_free(u.harmless);
	free(u.leads);
	free(u.todo);
	return err;
}

int spm_migrate_untold_check(struct migration *m)
{
	int err = 0;

	for (size_t i = 0; i < m->v.pairs && !err; i++)
		err = held_check(m, m->v.pair[i].old);
	return err || m->accepts_untold ? err : reached_check(m);
}
