/* marks.c - see marks.h. */
#include "discover/marks.h"

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

enum {
	BITMAP_WORDS = SPM_SLICE_PAGES / 64,
	SLICE_WORDS = SPM_SLICES / 64,
	MARKS_PAGES = SPM_SLICES * SPM_SLICE_PAGES,
	POPULATE_LEAST = 64
};

static_assert(BITMAP_WORDS == 128, "set_take looks at two words of words");

/* Sets of pages that are mostly empty: found without a look at the slices and words that have none. */
enum set { DIRTY, TOUCHED, SETS };
struct page_set {
	uint64_t words[BITMAP_WORDS / 64]; /* which of word[] are not zero; may name some that are */
	uint64_t word[BITMAP_WORDS];
};

struct slice_marks {
	uint64_t member[BITMAP_WORDS];
	uint64_t unlike[BITMAP_WORDS];
	struct page_set set[SETS];
	uint64_t heads[BITMAP_WORDS]; /* pages with (now or once) a live slot in live[] */
};

/* Reserved for all slices beforehand (9 GiB of addresses, no memory), so that marking, which happens while other
 * threads stand still, can't fail. */
struct marks {
	struct slice_marks *slice[SPM_SLICES]; /* NULL: has no marks */
	uint16_t used[SPM_SLICES];             /* numbers of the slices that have marks, ascending */
	unsigned used_count;
	uint64_t slices[SETS][SLICE_WORDS]; /* those whose page_set has words */
	uint64_t live_bytes;
	bool is_anew;
	struct slice_marks room[SPM_SLICES];
	struct slotset live[MARKS_PAGES];
	struct slotset aside[MARKS_PAGES]; /* during a full trace: what was live before */
};

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

static void bit_put(uint64_t *map, pageno_t page, bool value)
{
	if (value)
		bit_set(map, page);
	else
		map[page % SPM_SLICE_PAGES / 64] &= ~(UINT64_C(1) << (page & 63));
}

static bool bit_has(const uint64_t *map, pageno_t page)
{
	return (map[page % SPM_SLICE_PAGES / 64] >> (page & 63)) & 1;
}

/* Adds bits of a word of 64 pages, the first of which is `first`, in a slice that has marks. */
static void set_add(struct marks *m, enum set set, pageno_t first, uint64_t bits)
{
	unsigned slice = first / SPM_SLICE_PAGES, w = first % SPM_SLICE_PAGES / 64;
	struct page_set *pages = &m->slice[slice]->set[set];

	pages->word[w] |= bits;
	pages->words[w / 64] |= UINT64_C(1) << (w % 64);
	m->slices[set][slice / 64] |= UINT64_C(1) << (slice % 64);
}

/* Takes the first word of the set that has pages out of it; *from is 0 at first, and kept from call to call. False:
 * there is none any more. */
static bool set_take(struct marks *m, enum set set, unsigned *from, pageno_t *first, uint64_t *bits)
{
	for (; *from < SLICE_WORDS; ++*from) {
		uint64_t *slices = &m->slices[set][*from];

		for (; *slices; *slices &= *slices - 1) {
			unsigned slice = *from * 64 + (unsigned)__builtin_ctzll(*slices);
			struct page_set *pages = &m->slice[slice]->set[set];
			unsigned w = pages->words[0] ? 0 : 64;

			if (!pages->words[w / 64])
				continue;
			w += (unsigned)__builtin_ctzll(pages->words[w / 64]);
			pages->words[w / 64] &= pages->words[w / 64] - 1;
			*bits = pages->word[w];
			pages->word[w] = 0;
			*first = slice * SPM_SLICE_PAGES + w * 64;
			return true;
		}
	}
	return false;
}

void spm_marks_touch(struct marks *m, pageno_t page)
{
	slice_make(m, page);
	set_add(m, TOUCHED, page & ~UINT32_C(63), UINT64_C(1) << (page & 63));
}

void spm_marks_set_members(struct marks *m, pageno_t first, uint32_t pages)
{
	while (pages) {
		unsigned bit = first & 63, here = pages < 64 - bit ? pages : 64 - bit;
		uint64_t bits = (here < 64 ? (UINT64_C(1) << here) - 1 : ~UINT64_C(0)) << bit;

		slice_make(m, first)->member[first % SPM_SLICE_PAGES / 64] |= bits;
		first += here;
		pages -= here;
	}
}

bool spm_marks_is_member(const struct marks *m, pageno_t page)
{
	const struct slice_marks *sm = slice_have(m, page);

	return sm && bit_has(sm->member, page);
}

void spm_marks_set_unlike(struct marks *m, pageno_t page, bool is_unlike)
{
	struct slice_marks *sm = slice_have(m, page);

	if (bit_has(sm->unlike, page) != is_unlike)
		bit_put(sm->unlike, page, is_unlike);
}

/* Touches the pages that the slots lie on and the span's first, which carries the live set. */
static void slots_touch(struct marks *m, const struct span *s, const struct slotset *slots)
{
	pageno_t next = s->first; /* those before are touched, or have none of the slots */

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		for (uint64_t bits = slots->word[w]; bits; bits &= bits - 1) {
			uint64_t from = spm_slot_address(s, w * 64 + (unsigned)__builtin_ctzll(bits));
			pageno_t first = spm_page_of(from), last = spm_page_of(from + s->slot_bytes - 1);

			for (next = first > next ? first : next; next <= last; next++)
				spm_marks_touch(m, next);
		}
	if (!slotset_empty(slots))
		spm_marks_touch(m, s->first);
}

static unsigned slots_count(const struct slotset *slots)
{
	unsigned count = 0;

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		count += (unsigned)__builtin_popcountll(slots->word[w]);
	return count;
}

static uint64_t slots_bytes(const struct span *s, const struct slotset *slots)
{
	return slots_count(slots) * s->slot_bytes;
}

void spm_marks_add(struct marks *m, struct span *s, const struct slotset *slots)
{
	struct slice_marks *sm = slice_make(m, s->first);
	struct slotset *live = &m->live[s->first];

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		live->word[w] |= slots->word[w];
	bit_set(sm->heads, s->first);
	s->is_marked = 1;
	m->live_bytes += slots_bytes(s, slots);
	if (!m->is_anew)
		slots_touch(m, s, slots);
}

/* Where every page of live[] will have some: rather than by a fault for each. */
static void live_populate(struct marks *m, const struct span_row *row)
{
	if (row->pages <= SPM_PAGE_BYTES / sizeof(*m->live) && row->spans >= POPULATE_LEAST)
		spm_pages_populate(m, sizeof(*m), offsetof(struct marks, live) + row->first * sizeof(*m->live),
		                   (size_t)row->spans * row->pages * sizeof(*m->live));
}

void spm_marks_restore(struct marks *m, const struct span_row *row)
{
	uint64_t slots = 0;

	live_populate(m, row);
	for (uint32_t i = 0; i < row->spans; i++) {
		pageno_t first = row->first + i * row->pages;
		struct slotset live = spm_row_live(row, i);

		m->live[first] = live;
		bit_set(slice_make(m, first)->heads, first);
		atomic_store_explicit(&spm_spans[first].is_marked, 1, memory_order_relaxed);
		slots += slots_count(&live);
	}
	m->live_bytes += row->spans ? slots * spm_spans[row->first].slot_bytes : 0;
}

void spm_marks_drop(struct marks *m, const struct span *s, const struct slotset *slots)
{
	struct slice_marks *sm = slice_have(m, s->first);
	struct slotset *live, gone;

	if (!sm)
		return;
	live = &m->live[s->first];
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		gone.word[w] = live->word[w] & slots->word[w];
		live->word[w] &= ~gone.word[w];
	}
	m->live_bytes -= slots_bytes(s, &gone);
	slots_touch(m, s, &gone);
}

struct slotset spm_marks_live(const struct marks *m, const struct span *s)
{
	const struct slice_marks *sm = slice_have(m, s->first);

	return sm ? m->live[s->first] : (struct slotset){{0}};
}

bool spm_marks_has(const struct marks *m, const struct span *s, unsigned slot)
{
	const struct slice_marks *sm = slice_have(m, s->first);

	return sm && slotset_has(&m->live[s->first], slot);
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
		set_add(m, DIRTY, p & ~UINT32_C(63), UINT64_C(1) << (p & 63));
	}
}

void spm_marks_take_dirty(struct marks *m, void (*fn)(pageno_t page, void *arg), void *arg)
{
	unsigned from = 0;
	pageno_t first;
	uint64_t bits;

	while (set_take(m, DIRTY, &from, &first, &bits)) {
		const struct slice_marks *sm = slice_have(m, first);
		unsigned w = first % SPM_SLICE_PAGES / 64;

		bits &= sm->member[w] | sm->set[TOUCHED].word[w];
		if (bits)
			set_add(m, TOUCHED, first, bits);
		for (; bits; bits &= bits - 1)
			fn(first + (pageno_t)__builtin_ctzll(bits), arg);
	}
}

static size_t slice_touched(const struct page_set *pages)
{
	size_t count = 0;

	for (unsigned i = 0; i < BITMAP_WORDS / 64; i++)
		for (uint64_t words = pages->words[i]; words; words &= words - 1)
			count += (unsigned)__builtin_popcountll(pages->word[i * 64 + (unsigned)__builtin_ctzll(words)]);
	return count;
}

size_t spm_marks_touched(const struct marks *m)
{
	size_t count = 0;

	for (unsigned i = 0; i < SLICE_WORDS; i++)
		for (uint64_t slices = m->slices[TOUCHED][i]; slices; slices &= slices - 1)
			count += slice_touched(&m->slice[i * 64 + (unsigned)__builtin_ctzll(slices)]->set[TOUCHED]);
	return count;
}

/* Touches the members of a stretch of at most a word. */
static void stretch_touch(struct marks *m, pageno_t first, unsigned pages)
{
	uint64_t bits = (pages < 64 ? (UINT64_C(1) << pages) - 1 : ~UINT64_C(0)) << (first & 63);

	bits &= slice_have(m, first)->member[first % SPM_SLICE_PAGES / 64];
	if (bits)
		set_add(m, TOUCHED, first & ~UINT32_C(63), bits);
}

/* Each word of touched pages is looked at in the order of the pages, and what it touches in words before it has been looked at
 * or touches the same chunk. */
static void word_touch_chunks(struct marks *m, pageno_t word, uint64_t bits, unsigned chunk_pages)
{
	while (bits) {
		pageno_t page = word + (pageno_t)__builtin_ctzll(bits), first = page & ~(chunk_pages - 1);

		for (unsigned done = 0; done < chunk_pages; done += 64)
			stretch_touch(m, first + done, chunk_pages < 64 ? chunk_pages : 64);
		while (bits && word + (pageno_t)__builtin_ctzll(bits) < first + chunk_pages)
			bits &= bits - 1;
	}
}

void spm_marks_touch_chunks(struct marks *m, unsigned chunk_pages)
{
	for (unsigned i = 0; i < SLICE_WORDS; i++)
		for (uint64_t slices = m->slices[TOUCHED][i]; slices; slices &= slices - 1) {
			unsigned slice = i * 64 + (unsigned)__builtin_ctzll(slices);
			const struct page_set *pages = &m->slice[slice]->set[TOUCHED];

			for (unsigned w = 0; w < BITMAP_WORDS; w++)
				word_touch_chunks(m, slice * SPM_SLICE_PAGES + w * 64, pages->word[w], chunk_pages);
		}
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

	bit_put(sm->member, page, is_live);
	if (is_live || was_member)
		fn(page, is_live, was_member, arg);
}

void spm_marks_take_touched(struct marks *m, void (*fn)(pageno_t, bool, bool, void *), void *arg)
{
	unsigned from = 0;
	pageno_t first;
	uint64_t bits;

	while (set_take(m, TOUCHED, &from, &first, &bits))
		for (; bits; bits &= bits - 1)
			touched_page_take(m, slice_have(m, first), first + (pageno_t)__builtin_ctzll(bits), fn, arg);
}

/* Calls fn for each page in a slice's `heads`. */
static void each_head(struct marks *m, void (*fn)(struct marks *m, struct slice_marks *sm, pageno_t head, void *arg),
                      void *arg)
{
	for (unsigned u = 0; u < m->used_count; u++) {
		unsigned i = m->used[u];
		struct slice_marks *sm = m->slice[i];

		for (unsigned w = 0; w < BITMAP_WORDS; w++)
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
	struct slotset *live = &m->live[head];

	(void)sm;
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
	(void)sm, (void)arg;
	m->aside[head] = m->live[head];
	m->live[head] = (struct slotset){{0}};
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
	struct slotset differ;

	(void)sm, (void)arg;
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		differ.word[w] = m->aside[head].word[w] ^ m->live[head].word[w];
	if (!slotset_empty(&differ))
		slots_touch(m, &spm_spans[head], &differ);
	m->aside[head] = (struct slotset){{0}};
}

void spm_marks_end_anew(struct marks *m)
{
	m->is_anew = false;
	each_head(m, head_compare, NULL);
}

/* ---- another version in place ---- */

static void slice_each_strayed(unsigned slice, const struct slice_marks *sm, void (*fn)(pageno_t, void *), void *arg)
{
	for (unsigned w = 0; w < BITMAP_WORDS; w++)
		for (uint64_t bits = sm->set[TOUCHED].word[w] | sm->unlike[w]; bits; bits &= bits - 1)
			fn(slice * SPM_SLICE_PAGES + w * 64 + (pageno_t)__builtin_ctzll(bits), arg);
}

void spm_marks_each_strayed(struct marks *m, void (*fn)(pageno_t page, void *arg), void *arg)
{
	for (unsigned u = 0; u < m->used_count; u++)
		slice_each_strayed(m->used[u], m->slice[m->used[u]], fn, arg);
}

void spm_marks_set_live(struct marks *m, struct span *s, const struct slotset *live)
{
	struct slice_marks *sm = slice_make(m, s->first);

	m->live_bytes -= slots_bytes(s, &m->live[s->first]);
	m->live_bytes += slots_bytes(s, live);
	m->live[s->first] = *live;
	if (slotset_empty(live))
		return;
	bit_set(sm->heads, s->first);
	s->is_marked = 1;
}

void spm_marks_put_member(struct marks *m, pageno_t page, bool is_member)
{
	bit_put(slice_make(m, page)->member, page, is_member);
}

void spm_marks_settle(struct marks *m)
{
	for (unsigned u = 0; u < m->used_count; u++) {
		struct slice_marks *sm = m->slice[m->used[u]];

		memset(sm->set, 0, sizeof(sm->set));
		memset(sm->unlike, 0, sizeof(sm->unlike));
	}
	memset(m->slices, 0, sizeof(m->slices));
}
