/* source.h - where pages are: runs of neighbours in memory that are neighbours on the disk and alike, a few bytes a page.
 *
 *   bytes   | live slots of page 0 | its sum | its sum of page 1 | ...          | patch, if it is a page that has one
 *
 * as entries.h packs them: for each page 32 bytes of live slots, if it is the first of its span, and 8 of its checksum, if it has
 * a block. Where those of page k are follows from the numbers, so nothing is unpacked before it is asked for.
 */
#ifndef SPM_SOURCE_H
#define SPM_SOURCE_H

#include "volume/patch.h"
#include "volume/volume.h"

#include <string.h>

enum { SOURCE_BYTES_MOST = 40 }; /* of a page, without its patch */

struct source_run {
	uint64_t page, block, birth;       /* of the first; block 0: no content */
	uint32_t pages;                    /* 1 if block is 0, or it has granules */
	uint32_t span_pages, page_in_span; /* of the first; if there are more pages, page_in_span < span_pages */
	uint8_t class, flags;
	uint32_t granules; /* of the patch: patch.h */
	const unsigned char *bytes;
};

static inline uint32_t spm_source_page_in_span(const struct source_run *r, uint32_t k)
{
	return k ? (uint32_t)(((uint64_t)r->page_in_span + k) % r->span_pages) : r->page_in_span;
}

/* The first page from k on that begins a span; r->pages: none. */
static inline uint32_t spm_source_head(const struct source_run *r, uint32_t k)
{
	uint32_t in_span = spm_source_page_in_span(r, k), more = in_span ? r->span_pages - in_span : 0;

	return r->pages - k > more ? k + more : r->pages;
}

/* The bytes of the first k pages, without a patch. */
static inline uint64_t spm_source_bytes(const struct source_run *r, uint32_t k)
{
	uint64_t last = (uint64_t)r->page_in_span + k - 1;
	uint64_t heads = k ? (r->page_in_span == 0) + (k > 1 ? last / r->span_pages : 0) : 0;

	return heads * sizeof(struct slotset) + (r->block ? k * sizeof(uint64_t) : 0);
}

/* Of a page that begins a span. */
static inline struct slotset spm_source_live(const struct source_run *r, uint32_t k)
{
	struct slotset live;

	memcpy(&live, r->bytes + spm_source_bytes(r, k), sizeof(live));
	return live;
}

/* Of a page that has a block. */
static inline uint64_t spm_source_sum(const struct source_run *r, uint32_t k)
{
	uint64_t sum;

	memcpy(&sum, r->bytes + spm_source_bytes(r, k + 1) - sizeof(sum), sizeof(sum));
	return sum;
}

static inline const unsigned char *spm_source_patch(const struct source_run *r)
{
	return r->granules ? r->bytes + spm_source_bytes(r, r->pages) : NULL;
}

/* All of its bytes. */
static inline uint64_t spm_source_length(const struct source_run *r)
{
	return spm_source_bytes(r, r->pages) + spm_patch_bytes(r->granules);
}

static inline struct page_source spm_source_of(const struct source_run *r, uint32_t k)
{
	return (struct page_source){.page = r->page + k,
	                            .block = r->block ? r->block + k : 0,
	                            .sum = r->block ? spm_source_sum(r, k) : 0,
	                            .granules = r->granules,
	                            .patch = spm_source_patch(r)};
}

static inline struct page_meta spm_source_meta(const struct source_run *r, uint32_t k)
{
	struct page_meta m = {r->span_pages, spm_source_page_in_span(r, k), r->class, r->flags, {0}, {{0}}};

	if (!m.page_in_span)
		m.live = spm_source_live(r, k);
	return m;
}

/* Pages [from, from + n) of the run. */
static inline struct source_run spm_source_part(const struct source_run *r, uint32_t from, uint32_t n)
{
	struct source_run part = *r;

	part.page += from;
	part.block += r->block ? from : 0;
	part.pages = n;
	part.page_in_span = spm_source_page_in_span(r, from);
	part.bytes += spm_source_bytes(r, from);
	return part;
}

#endif
