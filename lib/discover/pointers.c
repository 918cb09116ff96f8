/* pointers.c - see pointers.h.
 *
 * Every type that some pointer leads to gets a number first, so that claims can name it; then each that is a struct is laid out flat, word by
 * word. Types come from a volume and may be anything within the limits of types.h, so laying out counts its steps: who needs too many, and
 * what is too large, claims nothing.
 */
#include "discover/pointers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MOST = 1 << 17, CLAIMS_MOST = 1 << 22, STEPS_MOST = 1 << 25 };
enum { NOTHING = UINT16_MAX }; /* no member covers the word */
static_assert(KINDS_MOST - 1 == NOTHING, "no kind has that number");

struct layout {
	const struct ptype *type; /* all of them */
	struct pointers *to;
	uint16_t *kind_of; /* by number of the type that is led to; 0: none does */
	uint64_t steps;
	bool is_short; /* no memory */
};

static bool is_address_number(const struct ptype *t)
{
	return !strcmp(t->name, "uintptr_t") || !strcmp(t->name, "intptr_t");
}

static bool is_number(const struct ptype *t)
{
	switch (t->kind) {
	case PTYPE_BOOL:
	case PTYPE_CHAR:
	case PTYPE_INT:
	case PTYPE_UNSIGNED:
	case PTYPE_FLOAT:
	case PTYPE_ENUM:
		return !is_address_number(t);
	default:
		return false;
	}
}

/* ---- kinds ---- */

/* Of an array: of what it is of, in the end. */
static const struct ptype *element_of(const struct ptype *t)
{
	while (t->kind == PTYPE_ARRAY)
		t = t->of;
	return t;
}

/* What a slot is taken for that a pointer to t leads to: KIND_FIRST, if it needs a kind of its own. */
static unsigned kind_wanted(const struct ptype *t)
{
	const struct ptype *e = t ? element_of(t) : NULL;

	if (!e || !e->bytes || e->kind == PTYPE_CHAR)
		return KIND_ANY;
	if (is_number(e))
		return KIND_PLAIN;
	if (e->kind == PTYPE_POINTER || e->kind == PTYPE_STRUCT || e->kind == PTYPE_UNION)
		return KIND_FIRST;
	return KIND_ANY;
}

static void kind_number(struct layout *l, const struct ptype *t)
{
	uint16_t *kind = &l->kind_of[t - l->type];
	unsigned wanted = kind_wanted(t);

	if (*kind)
		return;
	if (wanted == KIND_FIRST)
		wanted = l->to->kinds < KINDS_MOST - 1 ? l->to->kinds++ : KIND_ANY;
	*kind = (uint16_t)wanted;
}

static unsigned claim_of_pointer(const struct layout *l, const struct ptype *pointer)
{
	return pointer->of ? l->kind_of[pointer->of - l->type] : KIND_ANY;
}

static bool is_too_long(const struct layout *l)
{
	return l->is_short || l->steps > STEPS_MOST;
}

/* ---- claims ---- */

struct words {
	uint16_t *claim;
	uint64_t first, end; /* those that are laid out */
};

static void word_claim(struct words *w, uint64_t word, unsigned claim)
{
	uint16_t *c = word - w->first < w->end - w->first ? &w->claim[word - w->first] : NULL;

	if (c)
		*c = (uint16_t)(*c == NOTHING || *c == claim ? claim : KIND_ANY);
}

/* A number is in each word that it touches, so no pointer is. */
static void number_claim(struct words *w, uint64_t from, uint64_t bytes)
{
	uint64_t end = (from + bytes + 7) / 8;

	for (uint64_t word = from / 8; word < end && word < w->end; word++)
		word_claim(w, word, CLAIM_PLAIN);
}

/* A pointer may be where there is room for one. */
static void anything_claim(struct words *w, uint64_t from, uint64_t bytes)
{
	uint64_t end = (from + bytes) / 8;

	for (uint64_t word = (from + 7) / 8; word < end && word < w->end; word++)
		word_claim(w, word, KIND_ANY);
}

static void value_claim(struct layout *l, struct words *w, const struct ptype *t, uint64_t at);

static void array_claim(struct layout *l, struct words *w, const struct ptype *t, uint64_t at)
{
	const struct ptype *e = element_of(t);

	l->steps += t->bytes / 8 < w->end ? t->bytes / 8 : w->end;
	if (e->kind == PTYPE_CHAR)
		anything_claim(w, at, t->bytes);
	else if (is_number(e))
		number_claim(w, at, t->bytes);
	else
		for (uint64_t i = 0; i < t->count && at + i * t->of->bytes < w->end * 8 && !is_too_long(l); i++)
			value_claim(l, w, t->of, at + i * t->of->bytes);
}

/* What all members say that say something. */
static void union_claim(struct layout *l, struct words *w, const struct ptype *t, uint64_t at)
{
	uint64_t first = at / 8, end = (at + t->bytes + 7) / 8;
	struct words each = {NULL, first, end < w->end ? end : w->end};
	size_t bytes = first < each.end ? (each.end - first) * sizeof(*each.claim) : 0;

	each.claim = malloc(bytes + 1);
	if (!each.claim) {
		l->is_short = true;
		return;
	}
	for (size_t i = 0; i < t->members && !is_too_long(l); i++) {
		memset(each.claim, 0xff, bytes);
		l->steps += bytes;
		value_claim(l, &each, t->member[i].type, at + t->member[i].offset);
		for (uint64_t word = first; word < each.end; word++)
			if (each.claim[word - first] != NOTHING)
				word_claim(w, word, each.claim[word - first]);
	}
	free(each.claim);
}

static void struct_claim(struct layout *l, struct words *w, const struct ptype *t, uint64_t at)
{
	for (size_t i = 0; i < t->members; i++) {
		const struct pmember *m = &t->member[i];

		if (m->bits)
			number_claim(w, at + m->offset, (m->bit_offset + m->bits + 7) / 8);
		else
			value_claim(l, w, m->type, at + m->offset);
	}
}

static void value_claim(struct layout *l, struct words *w, const struct ptype *t, uint64_t at)
{
	l->steps++;
	if (!t->bytes || at / 8 >= w->end || is_too_long(l))
		return;
	if (t->kind == PTYPE_ARRAY)
		array_claim(l, w, t, at);
	else if (t->kind == PTYPE_STRUCT)
		struct_claim(l, w, t, at);
	else if (t->kind == PTYPE_UNION)
		union_claim(l, w, t, at);
	else if (t->kind == PTYPE_POINTER && at % 8 == 0)
		word_claim(w, at / 8, claim_of_pointer(l, t));
	else if (is_number(t))
		number_claim(w, at, t->bytes);
	else
		anything_claim(w, at, t->bytes);
}

/* ---- all of it ---- */

static bool claims_room(struct pointers *p, uint32_t words)
{
	uint16_t *more = realloc(p->claim, (p->claims + words + 1) * sizeof(*more));

	if (more)
		p->claim = more;
	return more != NULL;
}

/* Of numbers and pointers: one word, and all others are the same. */
static void kind_fill(struct layout *l, const struct ptype *t, struct pointer_kind *k)
{
	const struct ptype *e = element_of(t);
	struct pointers *p = l->to;
	uint64_t words = e->kind == PTYPE_POINTER ? 1 : (t->bytes + 7) / 8;
	struct words w;

	*k = (struct pointer_kind){.first = p->claims, .beyond = KIND_ANY};
	words = words < WORDS_MOST ? words : WORDS_MOST;
	if (words > CLAIMS_MOST - p->claims)
		return;
	if (!claims_room(p, (uint32_t)words)) {
		l->is_short = true;
		return;
	}
	w = (struct words){p->claim + p->claims, 0, words};
	memset(w.claim, 0xff, words * sizeof(*w.claim));
	value_claim(l, &w, e->kind == PTYPE_POINTER ? e : t, 0);
	for (uint64_t i = 0; i < words; i++)
		w.claim[i] = w.claim[i] == NOTHING ? (uint16_t)KIND_ANY : w.claim[i];
	if (e->kind == PTYPE_POINTER)
		k->beyond = w.claim[0];
	k->words = (uint32_t)words;
	p->claims += (uint32_t)words;
}

/* Whether it was all laid out. */
static bool all_fill(struct layout *l, size_t types)
{
	struct pointers *p = l->to;

	p->kind = calloc(p->kinds, sizeof(*p->kind));
	if (!p->kind || !claims_room(p, 1))
		return false;
	for (unsigned i = 0; i < KIND_FIRST; i++)
		p->kind[i].beyond = KIND_ANY;
	p->claim[0] = CLAIM_PLAIN;
	p->claims = 1;
	p->kind[KIND_PLAIN] = (struct pointer_kind){.first = 0, .words = 1, .beyond = CLAIM_PLAIN};
	for (size_t i = 0; i < types && !l->is_short; i++)
		if (l->kind_of[i] >= KIND_FIRST)
			kind_fill(l, &l->type[i], &p->kind[l->kind_of[i]]);
	return !l->is_short;
}

/* Claims nothing. */
static void all_forget(struct pointers *p)
{
	for (unsigned i = 0; i < p->kinds; i++)
		p->kind[i] = (struct pointer_kind){.beyond = KIND_ANY};
}

static void kinds_number(struct layout *l, size_t types)
{
	l->to->kinds = KIND_FIRST;
	for (size_t i = 0; i < types; i++)
		if (l->type[i].kind == PTYPE_POINTER && l->type[i].of)
			kind_number(l, l->type[i].of);
}

static void roots_number(struct layout *l, const struct ptype *const *root, size_t roots)
{
	for (size_t i = 0; i < roots; i++) {
		if (root[i])
			kind_number(l, root[i]);
		l->to->root[i] = root[i] ? l->kind_of[root[i] - l->type] : KIND_ANY;
	}
	l->to->roots = roots;
}

struct pointers *spm_pointers_new(const struct ptype *type, size_t types, const struct ptype *const *root, size_t roots)
{
	struct layout l = {
	        .type = type, .to = calloc(1, sizeof(*l.to)), .kind_of = calloc(types + 1, sizeof(*l.kind_of))};
	bool is_done;

	if (l.to)
		l.to->root = calloc(roots + 1, sizeof(*l.to->root));
	is_done = l.to && l.kind_of && l.to->root;
	if (is_done) {
		kinds_number(&l, types);
		roots_number(&l, root, roots);
		is_done = all_fill(&l, types);
	}
	free(l.kind_of);
	if (is_done && l.steps > STEPS_MOST)
		all_forget(l.to);
	if (is_done)
		return l.to;
	spm_pointers_free(l.to);
	return NULL;
}

void spm_pointers_free(struct pointers *p)
{
	if (!p)
		return;
	free(p->kind);
	free(p->claim);
	free(p->root);
	free(p);
}

/* ---- two of them ---- */

/* Whether what stays can be right if `other` is: it says as much or less, and no number is where that has a pointer. */
static bool can_stay(unsigned stays, unsigned other)
{
	return stays == other || stays == KIND_ANY || (stays != CLAIM_PLAIN && other == KIND_ANY);
}

/* An array of numbers or pointers is what is only taken for one. */
static bool says_more(const struct pointers *p, unsigned a, unsigned b)
{
	bool a_ends = p->kind[a].beyond == KIND_ANY, b_ends = p->kind[b].beyond == KIND_ANY;

	return a_ends != b_ends ? a_ends : p->kind[a].words > p->kind[b].words;
}

unsigned spm_pointers_choose(const struct pointers *p, unsigned has, unsigned comes)
{
	unsigned stays = says_more(p, comes, has) ? comes : has, other = stays == has ? comes : has;
	uint32_t words = p->kind[has].words < p->kind[comes].words ? p->kind[has].words : p->kind[comes].words;

	for (uint32_t i = 0; i < words; i++)
		if (!can_stay(spm_pointers_claim(p, stays, i), spm_pointers_claim(p, other, i)))
			return KIND_MIXED;
	return stays;
}

unsigned spm_pointers_choose_within(const struct pointers *p, unsigned has, uint64_t at, unsigned comes)
{
	for (uint32_t i = 0; i < p->kind[comes].words; i++)
		if (!can_stay(spm_pointers_claim(p, has, at + i), spm_pointers_claim(p, comes, i)))
			return KIND_MIXED;
	return has;
}
