/* resum.c - see resum.h. In this order, for each sum is taken over those before it:
 *
 *   pages -> places in records and maps -> records by themselves -> from each head, segment by segment: map, chain of records
 *         -> indexes -> blocks with a sum of their own
 *
 * The sum of a page with a patch is that of block and patch where the patch is told. Where it is not (a page that was so, or is as before)
 * the sum stays: so all patched pages are noted first.
 */
#include "resum.h"

#include "volume/internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct patched {
	uint64_t block, sum;
};

struct image {
	unsigned char *bytes;
	uint64_t blocks;
	uint64_t *sum; /* of each block as it was at the start; 0: not taken yet */
	bool is_noting;
	struct patched *patched;
	size_t patched_count, patched_room;
};

enum resum_kind resum_kind_of(const unsigned char *block)
{
	uint64_t magic;

	memcpy(&magic, block, sizeof(magic));
	switch (magic) {
	case FORMAT_SUPER_MAGIC:
		return RESUM_SUPER;
	case FORMAT_TABLE_MAGIC:
		return RESUM_TABLE;
	case FORMAT_HEAD_MAGIC:
		return RESUM_HEAD;
	case FORMAT_RECORD_MAGIC:
		return RESUM_RECORD;
	case FORMAT_MAP_MAGIC:
		return RESUM_MAP;
	case FORMAT_INDEX_MAGIC:
		return RESUM_INDEX;
	default:
		return RESUM_OTHER;
	}
}

static unsigned char *block_at(const struct image *i, uint64_t block)
{
	return i->bytes + block * SPM_BLOCK_BYTES;
}

static void sum_fix(struct image *i, uint64_t block, unsigned char *sum)
{
	if (block >= i->blocks)
		return;
	if (!i->sum[block])
		i->sum[block] = XXH3_64bits(block_at(i, block), SPM_BLOCK_BYTES);
	memcpy(sum, &i->sum[block], sizeof(i->sum[block]));
}

static void patched_note(struct image *i, const struct place *p)
{
	if (i->patched_count == i->patched_room) {
		i->patched_room = i->patched_room * 2 + 64;
		i->patched = realloc(i->patched, i->patched_room * sizeof(*i->patched));
		if (!i->patched)
			abort();
	}
	i->patched[i->patched_count++] = (struct patched){p->block, p->sum};
}

static bool is_patched(const struct image *i, const struct place *p)
{
	for (size_t n = 0; n < i->patched_count; n++)
		if (i->patched[n].block == p->block && i->patched[n].sum == p->sum)
			return true;
	return false;
}

static void patched_sum_fix(const struct image *i, const struct place *p, unsigned char *sum)
{
	unsigned char page[SPM_BLOCK_BYTES];
	uint64_t right;

	if (p->block >= i->blocks)
		return;
	memcpy(page, block_at(i, p->block), sizeof(page));
	spm_page_finish(page, p->granules, p->patch, 0);
	right = XXH3_64bits(page, sizeof(page));
	memcpy(sum, &right, sizeof(right));
}

/* Goes back over what the entries have for this place of a page, which ends at `end`. Returns where it begins. */
static unsigned char *place_fix(struct image *i, const struct place *p, unsigned char *end)
{
	if (!p->birth)
		return end;
	if (p->block) {
		end -= sizeof(p->sum);
		if (i->is_noting && p->patch)
			patched_note(i, p);
		else if (!i->is_noting && p->patch)
			patched_sum_fix(i, p, end);
		else if (!i->is_noting && !is_patched(i, p))
			sum_fix(i, p->block, end);
	}
	return p->meta.page_in_span ? end : end - sizeof(p->meta.live);
}

static void entries_fix(struct image *i, unsigned char *entries, unsigned char *end)
{
	struct entry_cursor c = {.at = entries, .end = end};

	while (spm_entry_next(&c))
		place_fix(i, &c.entry.is,
		          place_fix(i, &c.entry.was,
		                    entries + (c.at - entries) -
		                            (c.entry.is.patch ? spm_patch_bytes(c.entry.is.granules) : 0)));
}

/* Copies the runs' blocks to (or back from) `piece`, as far as they exist. False if they are not `blocks` in all. */
static bool runs_copy(struct image *i, const struct block_run *run, unsigned n, unsigned char *piece, uint64_t blocks,
                      bool is_back)
{
	uint64_t done = 0;

	for (unsigned r = 0; r < n; r++) {
		size_t bytes = (size_t)run[r].blocks * SPM_BLOCK_BYTES;

		if (run[r].blocks > blocks - done || run[r].block >= i->blocks ||
		    run[r].blocks > i->blocks - run[r].block)
			return false;
		if (is_back)
			memcpy(block_at(i, run[r].block), piece + done * SPM_BLOCK_BYTES, bytes);
		else
			memcpy(piece + done * SPM_BLOCK_BYTES, block_at(i, run[r].block), bytes);
		done += run[r].blocks;
	}
	return done == blocks;
}

/* The record that begins in this block, with the sum of the one before if that is known. Its sum, or 0. */
static uint64_t record_fix(struct image *i, uint64_t block, const uint64_t *before)
{
	struct record r;
	unsigned char *piece;
	uint64_t blocks;

	memcpy(&r, block_at(i, block), sizeof(r));
	blocks = (r.bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES;
	if (!blocks || blocks > i->blocks || r.bytes < RECORD_HEADER_BYTES || r.run_count > RECORD_RUNS_MAX)
		return 0;
	piece = calloc(blocks, SPM_BLOCK_BYTES);
	r.sum = 0;
	if (piece && runs_copy(i, r.run, r.run_count, piece, blocks, false)) {
		struct record *whole = (struct record *)(void *)piece;

		entries_fix(i, piece + RECORD_HEADER_BYTES, piece + r.bytes);
		if (before)
			whole->prev_sum = *before;
		whole->sum = r.sum = spm_block_sum(piece, r.bytes, offsetof(struct record, sum));
		runs_copy(i, r.run, r.run_count, piece, blocks, true);
	}
	free(piece);
	return r.sum;
}

/* Gathers what the runs name, `bytes` long; NULL if they do not. To be freed. */
static unsigned char *piece_take(struct image *i, const struct block_run *run, uint64_t runs, uint64_t bytes)
{
	uint64_t blocks = bytes / SPM_BLOCK_BYTES + (bytes % SPM_BLOCK_BYTES != 0);
	unsigned char *piece =
	        blocks && blocks <= i->blocks && runs <= i->blocks ? calloc(blocks, SPM_BLOCK_BYTES) : NULL;

	if (piece && runs_copy(i, run, (unsigned)runs, piece, blocks, false))
		return piece;
	free(piece);
	return NULL;
}

static void piece_put(struct image *i, const struct block_run *run, uint64_t runs, uint64_t bytes, unsigned char *piece)
{
	runs_copy(i, run, (unsigned)runs, piece, bytes / SPM_BLOCK_BYTES + (bytes % SPM_BLOCK_BYTES != 0), true);
	free(piece);
}

static void map_fix(struct image *i, struct segment_entry *e, const struct block_run *run)
{
	unsigned char *piece =
	        e->map_bytes >= sizeof(struct map_image) ? piece_take(i, run, e->runs, e->map_bytes) : NULL;

	if (!piece)
		return;
	entries_fix(i, piece + sizeof(struct map_image), piece + e->map_bytes);
	e->map_sum = XXH3_64bits(piece, e->map_bytes);
	piece_put(i, run, e->runs, e->map_bytes, piece);
}

/* The sum of record `seq` where it still is. */
static uint64_t record_sum_find(const struct image *i, uint64_t chain, uint64_t seq)
{
	for (uint64_t b = 0; b < i->blocks; b++) {
		const struct record *r = (const struct record *)(const void *)block_at(i, b);

		if (r->magic == FORMAT_RECORD_MAGIC && r->chain_id == chain && r->seq == seq)
			return r->sum;
	}
	return 0;
}

/* The records that follow `seq`, whose sum is `before`. */
static void records_fix(struct image *i, uint64_t at, uint64_t seq, uint64_t last, uint64_t before)
{
	while (at < i->blocks && seq < last) {
		struct record *r = (struct record *)(void *)block_at(i, at);

		if (r->magic != FORMAT_RECORD_MAGIC || r->seq != ++seq)
			return;
		before = record_fix(i, at, &before);
		if (!before)
			return;
		at = r->next[0].block;
	}
}

static void segment_fix(struct image *i, uint64_t chain, struct segment_entry *e, const struct block_run *run)
{
	uint64_t before = e->map_bytes ? record_sum_find(i, chain, e->seq) : 0;

	map_fix(i, e, run);
	if (before)
		e->record_sum = before;
	records_fix(i, e->next[0].block, e->seq, e->last, e->record_sum);
}

static void index_fix(struct image *i, struct chain_head *h)
{
	unsigned char *piece = h->run_count <= HEAD_RUNS_MAX && h->index_bytes >= sizeof(struct index)
	                               ? piece_take(i, h->run, h->run_count, h->index_bytes)
	                               : NULL;
	uint64_t left = h->index_bytes - sizeof(struct index), size;
	struct segment_entry *e;

	if (!piece)
		return;
	e = (struct segment_entry *)(void *)(piece + sizeof(struct index));
	for (uint64_t n = ((struct index *)(void *)piece)->segments; n && left >= sizeof(*e); n--, left -= size) {
		if (e->runs > (left - sizeof(*e)) / sizeof(struct block_run))
			break;
		size = sizeof(*e) + e->runs * sizeof(struct block_run);
		segment_fix(i, h->chain_id, e, (struct block_run *)(void *)(e + 1));
		e = (struct segment_entry *)(void *)((unsigned char *)e + size);
	}
	h->index_sum = XXH3_64bits(piece, h->index_bytes);
	piece_put(i, h->run, h->run_count, h->index_bytes, piece);
}

static void chain_fix(struct image *i, struct chain_head *h)
{
	if (h->index_bytes)
		index_fix(i, h);
	else
		records_fix(i, h->next[0].block, h->origin_seq, UINT64_MAX, 0);
}

static void own_sum_fix(unsigned char *block)
{
	static_assert(offsetof(struct super, sum) == 8 && offsetof(struct extent_table, sum) == 8 &&
	                      offsetof(struct chain_head, sum) == 8,
	              "all sums lie at the same place");
	uint64_t sum = spm_block_sum(block, SPM_BLOCK_BYTES, 8);

	memcpy(block + 8, &sum, sizeof(sum));
}

static void chains_fix(struct image *i)
{
	for (uint64_t b = 0; b < i->blocks; b++)
		if (resum_kind_of(block_at(i, b)) == RESUM_RECORD)
			record_fix(i, b, NULL);
	for (uint64_t b = 0; b < i->blocks; b++)
		if (resum_kind_of(block_at(i, b)) == RESUM_HEAD)
			chain_fix(i, (struct chain_head *)(void *)block_at(i, b));
}

void resum(unsigned char *volume, uint64_t bytes)
{
	struct image i = {.bytes = volume,
	                  .blocks = bytes / SPM_BLOCK_BYTES,
	                  .sum = calloc(bytes / SPM_BLOCK_BYTES + 1, sizeof(uint64_t)),
	                  .is_noting = true};

	if (!i.sum)
		return;
	chains_fix(&i);
	i.is_noting = false;
	chains_fix(&i);
	for (uint64_t b = 0; b < i.blocks; b++) {
		enum resum_kind kind = resum_kind_of(block_at(&i, b));

		if (kind == RESUM_SUPER || kind == RESUM_TABLE || kind == RESUM_HEAD)
			own_sum_fix(block_at(&i, b));
	}
	free(i.sum);
	free(i.patched);
}
