/* climb.c - see climb.h. */
#include "climb.h"
#include "tool.h"

#include <softpm/look.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 20, PAGE_BITS = 12, FILTER_BITS = 1 << 20, OBJECTS_MOST = 200000, AHEAD = 4 };

struct piece { /* spans that follow each other, or a part of a large one */
	uint64_t address, bytes;
};
struct climb {
	struct plook *look;
	struct piece *piece;
	size_t pieces, room;
	uint64_t bytes;
	uint64_t *object; /* the set, by hash; 0: free */
	size_t objects, slots;
	uint64_t low, high; /* all of them lie in between */
	unsigned char *block;
	unsigned passes;
	unsigned char filter[FILTER_BITS / 8]; /* by page: one of the set may lie there */
};

/* ---- the set ---- */

static uint64_t *object_slot(const struct climb *c, uint64_t object)
{
	size_t i = (size_t)((object >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (c->slots - 1);

	while (c->object[i] && c->object[i] != object)
		i = (i + 1) & (c->slots - 1);
	return &c->object[i];
}

static void slots_grow(struct climb *c)
{
	uint64_t *old = c->object;
	size_t n = c->slots;

	if (c->objects < n / 2)
		return;
	c->slots = n ? n * 2 : 1024;
	c->object = calloc(c->slots, sizeof(*c->object));
	if (!c->object)
		out_of_memory();
	for (size_t i = 0; i < n; i++)
		if (old[i])
			*object_slot(c, old[i]) = old[i];
	free(old);
}

static void filter_set(struct climb *c, const struct pobject *o)
{
	uint64_t first = o->address >> PAGE_BITS, last = (o->address + o->bytes - 1) >> PAGE_BITS;

	for (uint64_t page = first; page <= last && page - first < FILTER_BITS; page++)
		c->filter[page % FILTER_BITS / 8] |= (unsigned char)(1 << page % 8);
}

static void object_add(struct climb *c, const struct pobject *o)
{
	uint64_t *slot;

	slots_grow(c);
	slot = object_slot(c, o->address);
	if (*slot || c->objects == OBJECTS_MOST)
		return;
	*slot = o->address;
	c->objects++;
	filter_set(c, o);
	c->low = o->address < c->low ? o->address : c->low;
	c->high = o->address + o->bytes > c->high ? o->address + o->bytes : c->high;
}

bool climb_has(const struct climb *c, uint64_t object)
{
	return *object_slot(c, object) != 0;
}

static inline bool may_lead(const struct climb *c, uint64_t word)
{
	uint64_t page = word >> PAGE_BITS;

	return word - c->low < c->high - c->low && c->filter[page % FILTER_BITS / 8] >> page % 8 & 1;
}

bool climb_leads(const struct climb *c, uint64_t word)
{
	struct pobject o;

	return may_lead(c, word) && pLookObject(c->look, word, &o) == 1 && climb_has(c, o.address);
}

/* ---- passes ---- */

static void piece_add(struct climb *c, uint64_t address, uint64_t bytes)
{
	struct piece *last = c->pieces ? &c->piece[c->pieces - 1] : NULL;

	if (last && last->address + last->bytes == address && last->bytes + bytes <= BLOCK_BYTES) {
		last->bytes += bytes;
		return;
	}
	if (c->pieces == c->room) {
		c->room = c->room * 2 + 256;
		c->piece = realloc(c->piece, c->room * sizeof(*c->piece));
		if (!c->piece)
			out_of_memory();
	}
	c->piece[c->pieces++] = (struct piece){address, bytes};
}

static int span_add(const struct pspan *s, void *arg)
{
	struct climb *c = arg;

	if (s->has_no_pointers)
		return 0;
	for (uint64_t at = 0; at < s->bytes; at += BLOCK_BYTES)
		piece_add(c, s->address + at, s->bytes - at < BLOCK_BYTES ? s->bytes - at : BLOCK_BYTES);
	c->bytes += s->bytes;
	return 0;
}

struct climb *climb_begin(struct plook *look, const uint64_t *wanted, size_t n)
{
	struct climb *c = calloc(1, sizeof(*c));

	if (!c)
		out_of_memory();
	*c = (struct climb){.look = look, .low = UINT64_MAX};
	c->block = malloc(BLOCK_BYTES);
	if (!c->block)
		out_of_memory();
	slots_grow(c);
	for (size_t i = 0; i < n; i++) {
		struct pobject o;

		if (pLookObject(look, wanted[i], &o) == 1)
			object_add(c, &o);
	}
	if (pLookSpans(look, span_add, c))
		c->pieces = 0;
	return c;
}

void climb_free(struct climb *c)
{
	free(c->piece);
	free(c->object);
	free(c->block);
	free(c);
}

uint64_t climb_pass_bytes(const struct climb *c)
{
	return c->bytes;
}

/* What has the word joins the set. */
static void word_take(struct climb *c, uint64_t place, uint64_t word)
{
	struct pobject o;

	if (climb_leads(c, word) && pLookObject(c->look, place, &o) == 1 && !climb_has(c, o.address))
		object_add(c, &o);
}

static void piece_climb(struct climb *c, const struct piece *p, bool is_upward)
{
	size_t n = p->bytes / sizeof(uint64_t);

	for (size_t i = 0; i < n; i++) {
		size_t k = is_upward ? i : n - 1 - i;
		uint64_t word;

		memcpy(&word, c->block + k * sizeof(word), sizeof(word));
		if (may_lead(c, word))
			word_take(c, p->address + k * sizeof(word), word);
	}
}

static const struct piece *piece_at(const struct climb *c, size_t i, bool is_upward)
{
	return &c->piece[is_upward ? i : c->pieces - 1 - i];
}

bool climb_pass(struct climb *c)
{
	bool is_upward = c->passes++ % 2;
	size_t before = c->objects;

	for (size_t i = 0; i < c->pieces + AHEAD; i++) {
		const struct piece *p;

		if (i < c->pieces) {
			p = piece_at(c, i, is_upward);
			pLookExpect(c->look, p->address, p->bytes);
		}
		if (i < AHEAD)
			continue;
		p = piece_at(c, i - AHEAD, is_upward);
		if (pLookRead(c->look, p->address, c->block, p->bytes))
			continue; /* what is damaged leads nowhere */
		piece_climb(c, p, is_upward);
	}
	return c->objects > before;
}
