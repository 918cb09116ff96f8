/* kinds.c - see kinds.h. Tables are address space, of which only what is used is there; those of who has ended are used again. */
#include "discover/kinds.h"
#include "heap/tables.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct kind_tables {
	uint32_t row_of[SPM_SLICES * SPM_SLICE_PAGES]; /* counts if that row is of this page */
	pageno_t first[KIND_ROWS];
	_Alignas(2 << 20) struct kind_row row[KIND_ROWS]; /* in huge pages */
	struct suspect suspect[KIND_SUSPECTS];
};

enum { SPARES_MOST = 64 };
static struct kind_tables *_Atomic spare[SPARES_MOST]; /* that nobody has */

static struct kind_tables *tables_get(void)
{
	struct kind_tables *t = NULL;
	void *fresh = NULL;

	for (unsigned i = 0; i < SPARES_MOST && !t; i++)
		t = atomic_exchange(&spare[i], NULL);
	if (!t && !spm_table_have(&fresh, sizeof(*t))) {
		t = fresh;
		madvise(t->row, sizeof(t->row), MADV_HUGEPAGE); /* without gaps */
	}
	return t;
}

static void tables_put(struct kind_tables *t)
{
	struct kind_tables *none = NULL;

	madvise(t, sizeof(*t), MADV_DONTNEED);
	for (unsigned i = 0; i < SPARES_MOST && !atomic_compare_exchange_strong(&spare[i], &none, t); i++)
		none = NULL;
}

struct kinds *spm_kinds_new(struct pointers *pointers)
{
	struct kinds *k = pointers ? calloc(1, sizeof(*k)) : NULL;

	if (k)
		*k = (struct kinds){.pointers = pointers, .tables = tables_get(), .rows = 1, .is_whole = true};
	if (k && k->tables) {
		k->row = k->tables->row;
		return k;
	}
	spm_pointers_free(pointers);
	free(k);
	return NULL;
}

void spm_kinds_free(struct kinds *k)
{
	if (!k)
		return;
	tables_put(k->tables);
	spm_pointers_free(k->pointers);
	free(k);
}

void spm_kinds_forget(struct kinds *k)
{
	k->knowns = 0;
	k->rows = 1;
	k->is_whole = false;
}

uint32_t spm_kinds_row(const struct kinds *k, pageno_t first)
{
	uint32_t row = k->tables->row_of[first];

	return row < k->rows && k->tables->first[row] == first ? row : 0;
}

uint32_t spm_kinds_row_have(struct kinds *k, pageno_t first)
{
	uint32_t row = spm_kinds_row(k, first);

	if (row)
		return row;
	if (k->rows == KIND_ROWS) {
		k->is_whole = false;
		return 0;
	}
	row = k->rows++;
	k->tables->row_of[first] = row;
	k->tables->first[row] = first;
	memset(&k->tables->row[row], 0, sizeof(k->tables->row[row]));
	return row;
}

void spm_kinds_suspect_add(struct kinds *k, uint64_t place, uint64_t value)
{
	if (k->suspects < KIND_SUSPECTS)
		k->tables->suspect[k->suspects++] = (struct suspect){place, value};
}

struct suspect spm_kinds_suspect(const struct kinds *k, size_t i)
{
	return k->tables->suspect[i];
}

void spm_kinds_suspect_put(struct kinds *k, size_t i, struct suspect s)
{
	k->tables->suspect[i] = s;
}

bool spm_kinds_is_known(const struct kinds *k, struct suspect s)
{
	for (unsigned i = 0; i < k->knowns; i++)
		if (k->known[i].place == s.place && k->known[i].value == s.value)
			return true;
	return false;
}

void spm_kinds_know(struct kinds *k, struct suspect s)
{
	if (k->knowns < KIND_LOST_KNOWN && !spm_kinds_is_known(k, s))
		k->known[k->knowns++] = s;
}

bool spm_kinds_is_lost(const struct marks *m, uint64_t value)
{
	const struct span *s = spm_span_of(value);
	unsigned slot = s ? spm_span_slot(s, value) : 0;

	return s && slot < s->slots && spm_slot_address(s, slot) == value && spm_slot_is_allocated(s, slot) &&
	       !spm_marks_has(m, s, slot);
}

/* ---- for those who measure ---- */

struct counting {
	const struct kinds *k;
	struct kind_words *out;
};

static void slot_count(const struct counting *c, unsigned kind, uint64_t words)
{
	uint64_t known = c->k->pointers->kind[kind].words;

	for (uint64_t w = 0; w < known && w < words; w++) {
		unsigned claim = spm_pointers_claim(c->k->pointers, kind, w);

		*(claim == CLAIM_PLAIN ? &c->out->plain
		  : claim == KIND_ANY  ? &c->out->ambiguous
		                       : &c->out->pointers) += 1;
	}
	if (words <= known)
		return;
	switch (c->k->pointers->kind[kind].beyond) {
	case CLAIM_PLAIN:
		c->out->plain += words - known;
		break;
	case KIND_ANY:
		c->out->ambiguous += words - known;
		break;
	default:
		c->out->pointers += words - known;
	}
}

static void span_count(struct span *s, const struct slotset *live, void *arg)
{
	const struct counting *c = arg;

	for (unsigned i = 0; i < s->slots; i++)
		if (slotset_has(live, i) && !(s->flags & HEAP_NOPTR))
			slot_count(c, spm_kinds_of(c->k, s->first, i), s->slot_bytes / 8);
}

void spm_kinds_count(const struct kinds *k, struct marks *m, struct kind_words *out)
{
	struct counting c = {k, out};

	*out = (struct kind_words){0};
	spm_marks_each_span(m, span_count, &c);
}
