/* exact.c - discovery by types: when a container has what it takes, and what a trace found.
 *
 * A container has kinds (discover/kinds.h) if it has types and $SOFTPM_TYPES does not forbid it. They begin empty when its types become known: at a
 * restore, pCSwitch, or pCSetAttr. Slots then have none until a full trace, so the next point makes one; after a lazy restore, where it
 * would have to wait for all pages, and after an exchange in place, the next that comes by itself.
 *
 * Suspects that are lost come first in the kinds' list, until the next trace.
 *
 * A trace beside running threads can't keep kinds: a slot may be freed and allocated again while it is looked at. So it forgets all.
 */
#include "container.h"
#include "lazy.h"

#include <stdlib.h>

enum { LOST_TOLD = 1000 };

/* Hints speak of roots by number. */
static struct pointers *pointers_make(const struct types *t)
{
	const struct ptype **root = calloc(t->roots, sizeof(*root));
	struct pointers *p;

	for (size_t i = 0; root && i < t->roots; i++)
		root[i] = t->all_roots[i].type;
	p = root ? spm_pointers_new(t->type, t->types, root, t->roots) : NULL;
	free(root);
	return p;
}

void spm_exact_begin(struct container *c, bool is_restored)
{
	struct kinds *before = c->kinds;

	c->kinds = NULL;
	spm_kinds_free(before);
	if (!c->types || c->is_view || !spm_typing_is_wanted())
		return;
	c->kinds = spm_kinds_new(pointers_make(c->types));
	if (c->kinds)
		c->kinds->is_whole = is_restored;
	c->wants_full_trace |= c->kinds && !c->lazy;
}

struct kinds *spm_exact_kinds(struct container *c, bool others_run)
{
	if (c->kinds && others_run)
		spm_kinds_forget(c->kinds);
	return others_run ? NULL : c->kinds;
}

static unsigned claim_at(const struct container *c, uint64_t place)
{
	const struct span *s = spm_span_of(place);
	unsigned slot = s ? spm_span_slot(s, place) : 0, kind;

	if (!s || slot >= s->slots || !spm_marks_has(c->marks, s, slot))
		return KIND_ANY;
	kind = spm_kinds_of(c->kinds, s->first, slot);
	return kind == KIND_NONE && c->kinds->is_whole
	               ? CLAIM_PLAIN /* as it was found before */
	               : spm_pointers_claim(c->kinds->pointers, kind, (place - spm_slot_address(s, slot)) / 8);
}

static uint64_t other_place(const struct container *c, uint64_t place)
{
	return spm_moved_address(c->moved, place);
}

/* A number that the newest version has for a pointer: so it looks now, or looked then. */
static void suspect_see(struct container *c, const struct suspect *s)
{
	if (claim_at(c, s->place) != CLAIM_PLAIN)
		return;
	if (!spm_plain_has(&c->plain, other_place(c, s->place)))
		spm_marks_touch(c->marks, spm_page_of(s->place));
	if (!spm_kinds_is_lost(c->marks, s->value))
		return;
	spm_kinds_suspect_put(c->kinds, c->image.lost++, *s);
	spm_kinds_know(c->kinds, *s);
}

void spm_exact_tell(struct container *c)
{
	for (size_t i = 0; i < c->image.lost && i < LOST_TOLD; i++) {
		struct suspect s = spm_kinds_suspect(c->kinds, i);

		spm_left_add(
		        &c->left, s.place, s.value,
		        "object of the heap that nothing else leads to, from a number by its type: it is not kept");
	}
}

void spm_exact_settle(struct container *c)
{
	c->image.lost = 0;
	for (size_t i = 0; i < c->kinds->suspects; i++) {
		struct suspect s = spm_kinds_suspect(c->kinds, i);

		suspect_see(c, &s);
	}
	for (size_t i = 0; i < c->plain.n; i++) /* a pointer that the newest version has for a number */
		if (claim_at(c, other_place(c, c->plain.place[i])) != CLAIM_PLAIN)
			spm_marks_touch(c->marks, spm_page_of(other_place(c, c->plain.place[i])));
}
