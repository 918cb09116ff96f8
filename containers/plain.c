/* plain.c - see plain.h. */
#include "plain.h"
#include "container.h"
#include "discover/mapped.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char plain_magic[8] = "SPMPLAIN";
enum { WORDS = SPM_PAGE_BYTES / 8 };

void spm_plain_free(struct plain *p)
{
	free(p->place);
	*p = (struct plain){0};
}

int spm_plain_copy(const struct plain *from, struct plain *to)
{
	*to = (struct plain){0};
	if (!from->n)
		return 0;
	to->place = malloc(from->n * sizeof(*to->place));
	if (!to->place)
		return -ENOMEM;
	memcpy(to->place, from->place, from->n * sizeof(*to->place));
	to->n = to->room = from->n;
	return 0;
}

static size_t place_from(const struct plain *p, uint64_t place)
{
	return spm_places_from(p->place, p->n, place);
}

bool spm_plain_has(const struct plain *p, uint64_t place)
{
	size_t i = place_from(p, place);

	return i < p->n && p->place[i] == place;
}

/* ---- a page ---- */

static void word_set_aside(uint64_t *word, unsigned i, struct aside *out)
{
	out->at[out->n] = (uint16_t)i;
	out->value[out->n++] = word[i];
	word[i] = 0;
}

void spm_plain_set_aside(const struct plain *p, uint64_t page, uint64_t *word, struct aside *out)
{
	uint64_t from = spm_page_address((pageno_t)page);

	out->n = 0;
	for (size_t i = p->n ? place_from(p, from) : 0; i < p->n && p->place[i] - from < SPM_PAGE_BYTES; i++)
		word_set_aside(word, (unsigned)(p->place[i] - from) / 8, out);
}

void spm_plain_put_back(const struct aside *a, uint64_t *word)
{
	for (unsigned i = 0; i < a->n; i++)
		word[a->at[i]] = a->value[i];
}

/* ---- a page that is written ---- */

struct finding {
	struct container *c;
	const struct frozen_run *run;
	const uint16_t *kind; /* of the span's slots */
	uint64_t here, there; /* the page's address in memory, and in versions */
};

static unsigned kind_of_word(const struct finding *f, unsigned i, uint64_t *in_slot)
{
	uint64_t offset = f->here + i * UINT64_C(8) - f->run->span_address;
	unsigned slot = (unsigned)((offset * f->run->recip) >> 32);

	*in_slot = offset - slot * f->run->slot_bytes;
	return slot < f->run->slots ? f->kind[slot] : KIND_ANY;
}

/* Whether it was found to be a number, and nobody has looked since. */
static bool was_plain(const struct finding *f, unsigned i)
{
	uint64_t in_slot;

	return f->c->kinds->is_whole && kind_of_word(f, i, &in_slot) == KIND_NONE;
}

static bool is_plain(const struct finding *f, unsigned i)
{
	uint64_t in_slot;
	unsigned kind = kind_of_word(f, i, &in_slot);

	if (kind == KIND_NONE)
		return f->c->kinds->is_whole && spm_plain_has(&f->c->plain, f->there + i * UINT64_C(8));
	return spm_pointers_claim(f->c->kinds->pointers, kind, in_slot / 8) == CLAIM_PLAIN;
}

/* What a restore would change. */
static bool needs_place(uint64_t value)
{
	return spm_in_window(value) || spm_outside_may_be(value);
}

static bool room_have(struct plain *p, size_t more)
{
	uint64_t *place;

	if (p->n + more <= p->room)
		return true;
	place = realloc(p->place, (p->n + more) * 2 * sizeof(*place));
	if (!place)
		return false;
	p->place = place;
	p->room = (p->n + more) * 2;
	return true;
}

/* Instead of those that the list has of that page. */
static void places_replace(struct plain *p, uint64_t page_at, const uint64_t *place, size_t n)
{
	size_t from = place_from(p, page_at), to = place_from(p, page_at + SPM_PAGE_BYTES);

	if (to - from == n && (!n || !memcmp(p->place + from, place, n * sizeof(*place))))
		return;
	p->has_changed = true;
	if (!room_have(p, n)) {
		p->is_short = true;
		return;
	}
	memmove(p->place + from + n, p->place + to, (p->n - to) * sizeof(*place));
	if (n)
		memcpy(p->place + from, place, n * sizeof(*place));
	p->n += n;
	p->n -= to - from;
}

static void page_find(const struct finding *f, uint64_t *word, struct aside *out)
{
	uint64_t place[WORDS], floor = spm_mapped_floor();
	size_t n = 0;

	for (unsigned i = 0; i < WORDS; i++) {
		bool may_be = word[i] - floor < (UINT64_C(1) << 47) - floor, is = may_be && is_plain(f, i);

		if (is ? needs_place(word[i])
		       : f->c->plain.n && spm_plain_has(&f->c->plain, f->there + i * UINT64_C(8)) && was_plain(f, i))
			place[n++] = f->there + i * UINT64_C(8);
		if (is)
			word_set_aside(word, i, out);
	}
	places_replace(&f->c->plain, f->there, place, n);
}

void spm_plain_find(struct container *c, const struct frozen_run *r, uint32_t page, uint64_t *word, struct aside *out)
{
	struct finding f = {.c = c, .run = r, .here = spm_page_address(page)};

	out->n = 0;
	f.there = spm_page_address((pageno_t)spm_moved_page(c->moved, page));
	if (!c->kinds || !c->image.is_exact || r->flags & HEAP_NOPTR) {
		places_replace(&c->plain, f.there, NULL, 0);
		return;
	}
	f.kind = spm_kinds_in(c->kinds, spm_kinds_row(c->kinds, spm_page_of(r->span_address)));
	page_find(&f, word, out);
}

void spm_plain_drop(struct container *c, uint32_t page)
{
	places_replace(&c->plain, spm_page_address((pageno_t)spm_moved_page(c->moved, page)), NULL, 0);
}

/* ---- as bytes ---- */

size_t spm_plain_bytes(const struct plain *p)
{
	return p->n ? sizeof(plain_magic) + sizeof(uint64_t) + p->n * sizeof(*p->place) : 0;
}

void spm_plain_save(const struct plain *p, void *out)
{
	unsigned char *at = out;
	uint64_t n = p->n;

	if (!n)
		return;
	memcpy(at, plain_magic, sizeof(plain_magic));
	memcpy(at + sizeof(plain_magic), &n, sizeof(n));
	memcpy(at + sizeof(plain_magic) + sizeof(n), p->place, n * sizeof(*p->place));
}

bool spm_plain_is_sane(const struct plain *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (!spm_in_window(p->place[i]) || p->place[i] % 8 || (i && p->place[i] <= p->place[i - 1]))
			return false;
	return true;
}

size_t spm_plain_length(const void *bytes, size_t n)
{
	const size_t head = sizeof(plain_magic) + sizeof(uint64_t);
	uint64_t count;

	if (n < head || memcmp(bytes, plain_magic, sizeof(plain_magic)))
		return 0;
	memcpy(&count, (const unsigned char *)bytes + sizeof(plain_magic), sizeof(count));
	return count && count <= (n - head) / sizeof(uint64_t) ? head + count * sizeof(uint64_t) : 0;
}

int spm_plain_load(struct plain *p, const void *bytes, size_t n)
{
	const size_t head = sizeof(plain_magic) + sizeof(uint64_t);
	size_t count = n ? (n - head) / sizeof(uint64_t) : 0;
	struct plain fresh = {0};

	if (count && !room_have(&fresh, count))
		return -ENOMEM;
	if (count)
		memcpy(fresh.place, (const unsigned char *)bytes + head, count * sizeof(uint64_t));
	fresh.n = count;
	if (!spm_plain_is_sane(&fresh)) {
		spm_plain_free(&fresh);
		return -EINVAL;
	}
	spm_plain_free(p);
	*p = fresh;
	return 0;
}
