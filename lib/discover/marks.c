/* marks.c - see marks.h. */
#include "discover/marks.h"

#include <string.h>

struct marks *spm_marks_new(void)
{
	return spm_pages_map(sizeof(struct marks), false);
}

void spm_marks_free(struct marks *m)
{
	spm_pages_unmap(m, sizeof(*m));
}

static struct slice_marks *slice_have(const struct marks *m, pageno_t page)
{
	return m->slice[page / SPM_SLICE_PAGES];
}

static void slice_note_used(struct marks *m, unsigned slice)
{
	unsigned u = m->used_count++;

	for (; u > 0 && m->used[u - 1] > slice; u--)
		m->used[u] = m->used[u - 1];
	m->used[u] = (uint16_t)slice;
}

static struct slice_marks *slice_make(struct marks *m, pageno_t page)
{
	unsigned slice = page / SPM_SLICE_PAGES;

	if (!m->slice[slice]) {
		m->slice[slice] = &m->room[slice];
		slice_note_used(m, slice);
	}
	return m->slice[slice];
}

static void bit_set(uint64_t *map, pageno_t page)
{
	map[page % SPM_SLICE_PAGES / 64] |= UINT64_C(1) << (page & 63);
}

static bool bit_has(const uint64_t *map, pageno_t page)
{
	return (map[page % SPM_SLICE_PAGES / 64] >> (page & 63)) & 1;
}

void spm_marks_touch(struct marks *m, pageno_t page)
{
	bit_set(slice_make(m, page)->touched, page);
}

void spm_marks_set_member(struct marks *m, pageno_t page)
{
	bit_set(slice_make(m, page)->member, page);
}

bool spm_marks_is_member(const struct marks *m, pageno_t page)
{
	const struct slice_marks *sm = slice_have(m, page);

	return sm && bit_has(sm->member, page);
}

/* Touches the pages that a slot lies on and the span's first, which carries the live set. */
void spm_marks_touch_slot(struct marks *m, const struct span *s, unsigned slot)
{
	uint64_t from = spm_slot_address(s, slot);
	pageno_t last = spm_page_of(from + s->slot_bytes - 1);

	for (pageno_t p = spm_page_of(from); p <= last; p++)
		spm_marks_touch(m, p);
	spm_marks_touch(m, s->first);
}

/* Before its first slot becomes live. */
void spm_marks_begin_span(struct marks *m, struct span *s)
{
	bit_set(slice_make(m, s->first)->heads, s->first);
	if (!s->is_marked) /* the store is a fence, and would make the trace wait for each word before it */
		s->is_marked = 1;
}

void spm_marks_restore(struct marks *m, struct span *s, const struct slotset *live)
{
	struct slice_marks *sm = slice_make(m, s->first);

	sm->live[s->first % SPM_SLICE_PAGES] = *live;
	bit_set(sm->heads, s->first);
	s->is_marked = 1;
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		m->live_bytes += s->slot_bytes * (unsigned)__builtin_popcountll(live->word[w]);
}

void spm_marks_drop(struct marks *m, const struct span *s, const struct slotset *slots)
{
	struct slice_marks *sm = slice_have(m, s->first);
	struct slotset *live;

	if (!sm)
		return;
	live = &sm->live[s->first % SPM_SLICE_PAGES];
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		uint64_t gone = live->word[w] & slots->word[w];

		live->word[w] &= ~gone;
		for (; gone; gone &= gone - 1) {
			spm_marks_touch_slot(m, s, w * 64 + (unsigned)__builtin_ctzll(gone));
			m->live_bytes -= s->slot_bytes;
		}
	}
}

struct slotset spm_marks_live(const struct marks *m, const struct span *s)
{
	const struct slice_marks *sm = slice_have(m, s->first);

	return sm ? sm->live[s->first % SPM_SLICE_PAGES] : (struct slotset){{0}};
}

bool spm_marks_has(const struct marks *m, const struct span *s, unsigned slot)
{
	const struct slice_marks *sm = slice_have(m, s->first);

	return sm && slotset_has(&sm->live[s->first % SPM_SLICE_PAGES], slot);
}

uint64_t spm_marks_live_bytes(const struct marks *m)
{
	return m->live_bytes;
}

void spm_marks_set_dirty(struct marks *m, pageno_t first, uint32_t pages)
{
	for (pageno_t p = first; p < first + pages; p++) {
		struct slice_marks *sm = slice_have(m, p);

		if (!sm) { /* nothing of the container in this slice */
			p |= SPM_SLICE_PAGES - 1;
			continue;
		}
		bit_set(sm->dirty, p);
	}
}

void spm_marks_take_dirty(struct marks *m, void (*fn)(pageno_t page, void *arg), void *arg)
{
	for (unsigned u = 0; u < m->used_count; u++) {
		unsigned i = m->used[u];
		struct slice_marks *sm = m->slice[i];

		for (unsigned w = 0; w < SPM_MARKS_WORDS; w++) {
			uint64_t bits = sm->dirty[w] & sm->member[w];

			if (!sm->dirty[w])
				continue;
			sm->dirty[w] = 0;
			sm->touched[w] |= bits;
			for (; bits; bits &= bits - 1)
				fn(i * SPM_SLICE_PAGES + w * 64 + (pageno_t)__builtin_ctzll(bits), arg);
		}
	}
}

/* Chunks of less than 64 pages: all bits of a chunk in which one is set. */
static uint64_t chunks_fill(uint64_t bits, unsigned chunk_pages)
{
	uint64_t chunk = (UINT64_C(1) << chunk_pages) - 1, filled = 0;

	for (; bits; bits &= ~filled)
		filled |= chunk << __builtin_ctzll(bits) / chunk_pages * chunk_pages;
	return filled;
}

static void slice_touch_chunks(struct slice_marks *sm, unsigned chunk_pages)
{
	unsigned words = chunk_pages < 64 ? 1 : chunk_pages / 64;

	for (unsigned from = 0; from < SPM_MARKS_WORDS; from += words) {
		uint64_t any = 0;

		for (unsigned w = from; w < from + words; w++)
			any |= sm->touched[w];
		if (any && chunk_pages < 64)
			any = chunks_fill(any, chunk_pages);
		else if (any)
			any = ~UINT64_C(0);
		for (unsigned w = from; w < from + words; w++)
			sm->touched[w] |= sm->member[w] & any;
	}
}

void spm_marks_touch_chunks(struct marks *m, unsigned chunk_pages)
{
	for (unsigned u = 0; u < m->used_count; u++)
		slice_touch_chunks(m->slice[m->used[u]], chunk_pages);
}

size_t spm_marks_touched(const struct marks *m)
{
	size_t pages = 0;

	for (unsigned u = 0; u < m->used_count; u++)
		for (unsigned w = 0; w < SPM_MARKS_WORDS; w++)
			pages += (unsigned)__builtin_popcountll(m->slice[m->used[u]]->touched[w]);
	return pages;
}

/* Whether the page belongs to the version by the present marks. */
static bool page_is_live(const struct marks *m, pageno_t page)
{
	const struct span *s = spm_span_of(spm_page_address(page));
	unsigned first, last;
	struct slotset live;

	if (!s)
		return false;
	live = spm_marks_live(m, s);
	if (slotset_empty(&live))
		return false;
	if (page == s->first)
		return true;
	spm_page_slots(s, page, &first, &last);
	for (unsigned i = first; i <= last; i++)
		if (slotset_has(&live, i))
			return true;
	return false;
}

static void touched_page_take(struct marks *m, struct slice_marks *sm, pageno_t page,
                              void (*fn)(pageno_t, bool, bool, void *), void *arg)
{
	bool was_member = bit_has(sm->member, page);
	bool is_live = page_is_live(m, page);

	if (is_live)
		bit_set(sm->member, page);
	else
		sm->member[page % SPM_SLICE_PAGES / 64] &= ~(UINT64_C(1) << (page & 63));
	if (is_live || was_member)
		fn(page, is_live, was_member, arg);
}

void spm_marks_take_touched(struct marks *m, void (*fn)(pageno_t, bool, bool, void *), void *arg)
{
	for (unsigned u = 0; u < m->used_count; u++) {
		unsigned i = m->used[u];
		struct slice_marks *sm = m->slice[i];

		for (unsigned w = 0; w < SPM_MARKS_WORDS; w++) {
			uint64_t bits = sm->touched[w];

			for (sm->touched[w] = 0; bits; bits &= bits - 1)
				touched_page_take(m, sm, i * SPM_SLICE_PAGES + w * 64 + (pageno_t)__builtin_ctzll(bits),
				                  fn, arg);
		}
	}
}

/* Calls fn for each page in a slice's `heads`. */
static void each_head(struct marks *m, void (*fn)(struct marks *m, struct slice_marks *sm, pageno_t head, void *arg),
                      void *arg)
{
	for (unsigned u = 0; u < m->used_count; u++) {
		unsigned i = m->used[u];
		struct slice_marks *sm = m->slice[i];

		for (unsigned w = 0; w < SPM_MARKS_WORDS; w++)
			for (uint64_t bits = sm->heads[w]; bits; bits &= bits - 1)
				fn(m, sm, i * SPM_SLICE_PAGES + w * 64 + (pageno_t)__builtin_ctzll(bits), arg);
	}
}

struct span_visit {
	void (*fn)(struct span *s, const struct slotset *live, void *arg);
	void *arg;
};

static void head_visit(struct marks *m, struct slice_marks *sm, pageno_t head, void *arg)
{
	struct span_visit *v = arg;
	struct slotset *live = &sm->live[head % SPM_SLICE_PAGES];

	(void)m;
	if (!slotset_empty(live))
		v->fn(&spm_spans[head], live, v->arg);
}

void spm_marks_each_span(struct marks *m, void (*fn)(struct span *, const struct slotset *, void *), void *arg)
{
	struct span_visit v = {fn, arg};

	each_head(m, head_visit, &v);
}

static void head_set_aside(struct marks *m, struct slice_marks *sm, pageno_t head, void *arg)
{
	unsigned i = head % SPM_SLICE_PAGES;

	(void)m, (void)arg;
	sm->aside[i] = sm->live[i];
	sm->live[i] = (struct slotset){{0}};
}

int spm_marks_begin_anew(struct marks *m)
{
	each_head(m, head_set_aside, NULL);
	m->live_bytes = 0;
	m->is_anew = true;
	return 0;
}

/* Touches the pages of the slots that became live or dead by the full trace. */
static void head_compare(struct marks *m, struct slice_marks *sm, pageno_t head, void *arg)
{
	unsigned i = head % SPM_SLICE_PAGES;
	const struct span *s = &spm_spans[head];

	(void)arg;
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		for (uint64_t diff = sm->aside[i].word[w] ^ sm->live[i].word[w]; diff; diff &= diff - 1)
			spm_marks_touch_slot(m, s, w * 64 + (unsigned)__builtin_ctzll(diff));
	sm->aside[i] = (struct slotset){{0}};
}

void spm_marks_end_anew(struct marks *m)
{
	m->is_anew = false;
	each_head(m, head_compare, NULL);
}
