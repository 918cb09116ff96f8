/* runs.c - see runs.h. Page 0 of the window is never free, so 0 ends a list. */
#include "heap/runs.h"
#include "heap/tables.h"
#include "heap/window.h"

#include <assert.h>
#include <errno.h>

enum { EXACT = 64, BINS = EXACT + 28, BIN_WORDS = 2 };

static_assert(BINS <= BIN_WORDS * 64, "a bit for each bin");
static_assert((EXACT << 7) == SPM_SLICE_PAGES, "seven doublings of four bins");

struct run {
	uint32_t pages;
	pageno_t next, prev; /* only at the first page */
};

struct bins {
	uint64_t is_filled[BIN_WORDS];
	pageno_t head[BINS];
};

static struct run *runs;  /* by page */
static struct bins *bins; /* by arena */

int spm_runs_init(void)
{
	int err = spm_table_have((void **)&runs, (size_t)SPM_SLICES * SPM_SLICE_PAGES * sizeof(*runs));

	return err ? err : spm_table_have((void **)&bins, SPM_ARENAS * sizeof(*bins));
}

static unsigned bin_of(uint32_t pages)
{
	uint32_t last = pages - 1;
	unsigned log;

	if (pages <= EXACT)
		return last;
	log = 31u - (unsigned)__builtin_clz(last);
	return EXACT + (log - 6) * 4 + ((last >> (log - 2)) & 3);
}

void spm_runs_add(uint32_t arena, pageno_t first, uint32_t pages)
{
	unsigned bin = bin_of(pages);
	struct bins *b = &bins[arena];
	pageno_t next = b->head[bin];

	runs[first] = (struct run){.pages = pages, .next = next};
	runs[first + pages - 1].pages = pages;
	if (next)
		runs[next].prev = first;
	b->head[bin] = first;
	b->is_filled[bin >> 6] |= UINT64_C(1) << (bin & 63);
}

void spm_runs_remove(uint32_t arena, pageno_t first)
{
	struct run *r = &runs[first];
	unsigned bin = bin_of(r->pages);
	struct bins *b = &bins[arena];

	if (r->next)
		runs[r->next].prev = r->prev;
	if (r->prev)
		runs[r->prev].next = r->next;
	else
		b->head[bin] = r->next;
	if (!b->head[bin])
		b->is_filled[bin >> 6] &= ~(UINT64_C(1) << (bin & 63));
}

uint32_t spm_runs_pages(pageno_t end)
{
	return runs[end].pages;
}

/* The first filled bin from this one on, or BINS. */
static unsigned filled_bin(const struct bins *b, unsigned from)
{
	for (unsigned w = from >> 6; w < BIN_WORDS; w++) {
		uint64_t bits = b->is_filled[w];

		if (w == from >> 6)
			bits &= ~UINT64_C(0) << (from & 63);
		if (bits)
			return w * 64 + (unsigned)__builtin_ctzll(bits);
	}
	return BINS;
}

int spm_runs_find(uint32_t arena, uint32_t pages, uint32_t align, pageno_t *at)
{
	const struct bins *b = &bins[arena];

	for (unsigned bin = filled_bin(b, bin_of(pages)); bin < BINS; bin = filled_bin(b, bin + 1))
		for (pageno_t p = b->head[bin]; p; p = runs[p].next) {
			pageno_t aligned = (p + align - 1) & ~(align - 1);

			if (aligned - p > runs[p].pages || runs[p].pages - (aligned - p) < pages)
				continue;
			*at = aligned;
			return 0;
		}
	return -ENOMEM;
}

void spm_runs_check(uint32_t arena, pageno_t first, uint32_t pages)
{
	const struct bins *b = &bins[arena];
	unsigned bin = bin_of(pages);
	pageno_t p;

	SPM_CHECK(runs[first].pages == pages && runs[first + pages - 1].pages == pages);
	SPM_CHECK((b->is_filled[bin >> 6] >> (bin & 63)) & 1);
	for (p = b->head[bin]; p && p != first; p = runs[p].next)
		SPM_CHECK(!runs[p].next || runs[runs[p].next].prev == p);
	SPM_CHECK(p == first);
}
