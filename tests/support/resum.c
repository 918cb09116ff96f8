/* resum.c - see resum.h. In this order, for each sum is taken over those before it:
 *
 *   pages -> places in records and checkpoints -> records by themselves -> from each head: checkpoint, chain of records
 *         -> blocks with a sum of their own
 */
#include "resum.h"

#include "volume/internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct image {
	unsigned char *bytes;
	uint64_t blocks;
	uint64_t *sum; /* of each block as it was at the start; 0: not taken yet */
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
	case FORMAT_CHECKPOINT_MAGIC:
		return RESUM_CHECKPOINT;
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

/* Goes back over what the entries have for this place of a page, which ends at `end`. Returns where it begins. */
static unsigned char *place_fix(struct image *i, const struct place *p, unsigned char *end)
{
	if (!p->birth)
		return end;
	if (p->block) {
		end -= sizeof(p->sum);
		sum_fix(i, p->block, end);
	}
	return p->meta.page_in_span ? end : end - sizeof(p->meta.live);
}

static void entries_fix(struct image *i, unsigned char *entries, unsigned char *end)
{
	struct entry_cursor c = {.at = entries, .end = end};

	while (spm_entry_next(&c))
		place_fix(i, &c.entry.is, place_fix(i, &c.entry.was, entries + (c.at - entries)));
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

static void checkpoint_fix(struct image *i, struct chain_head *h)
{
	uint64_t blocks = (h->checkpoint_bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES;
	unsigned char *piece = blocks && blocks <= i->blocks ? calloc(blocks, SPM_BLOCK_BYTES) : NULL;

	if (piece && h->run_count <= HEAD_RUNS_MAX && h->checkpoint_bytes >= sizeof(struct checkpoint) &&
	    runs_copy(i, h->run, h->run_count, piece, blocks, false)) {
		const struct checkpoint *k = (const struct checkpoint *)(const void *)piece;
		uint64_t room = h->checkpoint_bytes - sizeof(*k);
		uint64_t lists = k->deads * sizeof(struct dead) + k->records * sizeof(struct record_place);

		if (k->deads <= room && k->records <= room && lists <= room)
			entries_fix(i, piece + sizeof(*k), piece + h->checkpoint_bytes - lists);
		h->checkpoint_sum = XXH3_64bits(piece, h->checkpoint_bytes);
		runs_copy(i, h->run, h->run_count, piece, blocks, true);
	}
	free(piece);
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

static void chain_fix(struct image *i, struct chain_head *h)
{
	uint64_t at = h->next[0].block, seq = h->checkpoint_seq, before;

	if (h->checkpoint_seq) {
		checkpoint_fix(i, h);
		before = record_sum_find(i, h->chain_id, h->checkpoint_seq);
		if (before)
			h->record_sum = before;
	}
	before = h->record_sum;
	while (at < i->blocks) {
		struct record *r = (struct record *)(void *)block_at(i, at);

		if (r->magic != FORMAT_RECORD_MAGIC || r->seq != ++seq)
			return;
		before = record_fix(i, at, &before);
		if (!before)
			return;
		at = r->next[0].block;
	}
}

static void own_sum_fix(unsigned char *block)
{
	static_assert(offsetof(struct super, sum) == 8 && offsetof(struct extent_table, sum) == 8 &&
	                      offsetof(struct chain_head, sum) == 8,
	              "all sums lie at the same place");
	uint64_t sum = spm_block_sum(block, SPM_BLOCK_BYTES, 8);

	memcpy(block + 8, &sum, sizeof(sum));
}

void resum(unsigned char *volume, uint64_t bytes)
{
	struct image i = {volume, bytes / SPM_BLOCK_BYTES, calloc(bytes / SPM_BLOCK_BYTES + 1, sizeof(uint64_t))};

	if (!i.sum)
		return;
	for (uint64_t b = 0; b < i.blocks; b++)
		if (resum_kind_of(block_at(&i, b)) == RESUM_RECORD)
			record_fix(&i, b, NULL);
	for (uint64_t b = 0; b < i.blocks; b++)
		if (resum_kind_of(block_at(&i, b)) == RESUM_HEAD)
			chain_fix(&i, (struct chain_head *)(void *)block_at(&i, b));
	for (uint64_t b = 0; b < i.blocks; b++) {
		enum resum_kind kind = resum_kind_of(block_at(&i, b));

		if (kind == RESUM_SUPER || kind == RESUM_TABLE || kind == RESUM_HEAD)
			own_sum_fix(block_at(&i, b));
	}
	free(i.sum);
}
