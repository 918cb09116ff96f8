/* freemap.c - which blocks of the chain's extents nobody needs; next-fit, so that writes go on where the last ended.
 *
 * Random overwriting leaves holes everywhere. Records, maps and indexes, which can name few runs, skip holes shorter than
 * they need; pages take long runs first and fill holes only when the chain has twice the room that it needs. An extent
 * remembers a bound on its longest run, so skipping costs a look an extent.
 */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_free(const struct extent *e, unsigned block)
{
	return (e->free[block >> 6] >> (block & 63)) & 1;
}

static void set_free(struct chain *c, struct extent *e, unsigned block, bool free)
{
	uint64_t bit = UINT64_C(1) << (block & 63);

	e->free[block >> 6] = free ? e->free[block >> 6] | bit : e->free[block >> 6] & ~bit;
	e->free_count += free ? 1u : -1u;
	if (free)
		e->longest_most = EXTENT_BLOCKS;
	c->free_blocks += free ? 1u : UINT64_MAX;
}

/* Bits [from, from + n) of a word's. */
static uint64_t bits_of(unsigned from, unsigned n)
{
	return (n < 64 ? (UINT64_C(1) << n) - 1 : ~UINT64_C(0)) << from;
}

int spm_free_add_extent(struct chain *c, uint64_t first_block, bool is_first)
{
	struct extent *more = realloc(c->extent, (c->extents + 1) * sizeof(*more));
	uint64_t reserved = first_block % GROUP_BLOCKS == 0 ? GROUP_RESERVED_BLOCKS : 0;
	size_t i;

	if (!more)
		return -ENOMEM;
	c->extent = more;
	for (i = c->extents++; i > 0 && more[i - 1].first > first_block; i--)
		more[i] = more[i - 1];
	memset(&more[i], 0, sizeof(more[i]));
	more[i].first = first_block;
	if (is_first)
		reserved += 2; /* the head and its mirror */
	memset(more[i].free, 0xff, sizeof(more[i].free));
	more[i].free[0] &= ~bits_of(0, (unsigned)reserved);
	more[i].free_count = EXTENT_BLOCKS - (unsigned)reserved;
	more[i].longest_most = EXTENT_BLOCKS;
	more[i].cold_from = EXTENT_BLOCKS;
	c->free_blocks += more[i].free_count;
	return 0;
}

static struct extent *extent_in(struct extent *extent, size_t n, uint64_t block)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (extent[middle].first + EXTENT_BLOCKS <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low < n && extent[low].first <= block ? &extent[low] : NULL;
}

static struct extent *extent_of(struct chain *c, uint64_t block)
{
	return extent_in(c->extent, c->extents, block);
}

bool spm_is_head_block(const struct chain *c, uint64_t block)
{
	return block == c->head_block || block == c->head_block + 1;
}

bool spm_free_has(struct chain *c, uint64_t block)
{
	struct extent *e = extent_of(c, block);

	return e && is_free(e, (unsigned)(block - e->first));
}

int spm_space_set(struct extent *space, size_t n, uint64_t block, uint64_t blocks)
{
	for (uint64_t i = 0; i < blocks; i++) { /* it may go beyond 2^64 */
		struct extent *e = extent_in(space, n, block + i);
		unsigned bit = e ? (unsigned)(block + i - e->first) : 0;

		if (!e)
			return -EINVAL;
		if (is_free(e, bit))
			return -EEXIST;
		e->free[bit >> 6] |= UINT64_C(1) << (bit & 63);
		e->free_count++;
	}
	return 0;
}

/* False if not all of these blocks of the extent are free. */
static bool extent_use(struct chain *c, struct extent *e, unsigned from, unsigned n)
{
	e->free_count -= n;
	c->free_blocks -= n;
	while (n) {
		unsigned here = n < 64 - (from & 63) ? n : 64 - (from & 63);
		uint64_t bits = bits_of(from & 63, here), *word = &e->free[from >> 6];

		if ((*word & bits) != bits)
			return false;
		*word &= ~bits;
		from += here;
		n -= here;
	}
	return true;
}

int spm_free_use(struct chain *c, uint64_t block, uint64_t blocks)
{
	while (blocks) { /* what is on the disk may say that it goes beyond 2^64 */
		struct extent *e = extent_of(c, block);
		unsigned from = e ? (unsigned)(block - e->first) : 0;
		unsigned n = blocks < EXTENT_BLOCKS - from ? (unsigned)blocks : EXTENT_BLOCKS - from;

		if (!e)
			return -EINVAL;
		if (!extent_use(c, e, from, n))
			return -EEXIST;
		block += n;
		blocks -= n;
	}
	return 0;
}

/* False if one of these blocks is free, or was claimed before. */
static bool extent_claim(const struct extent *e, struct extent *claimed, unsigned from, unsigned n)
{
	while (n) {
		unsigned here = n < 64 - (from & 63) ? n : 64 - (from & 63);
		uint64_t bits = bits_of(from & 63, here);

		if ((e->free[from >> 6] | claimed->free[from >> 6]) & bits)
			return false;
		claimed->free[from >> 6] |= bits;
		from += here;
		n -= here;
	}
	return true;
}

int spm_free_claim(struct chain *c, struct extent *claimed, uint64_t block, uint64_t blocks)
{
	while (blocks) {
		struct extent *e = extent_of(c, block);
		unsigned from = e ? (unsigned)(block - e->first) : 0;
		unsigned n = blocks < EXTENT_BLOCKS - from ? (unsigned)blocks : EXTENT_BLOCKS - from;

		if (!e || !extent_claim(e, &claimed[e - c->extent], from, n))
			return -EUCLEAN;
		block += n;
		blocks -= n;
	}
	return 0;
}

void spm_free_give(struct chain *c, uint64_t block, uint64_t blocks)
{
	for (uint64_t b = block; b < block + blocks; b++) {
		struct extent *e = extent_of(c, b);

		SPM_CHECK(e && !is_free(e, (unsigned)(b - e->first)));
		set_free(c, e, (unsigned)(b - e->first), true);
	}
}

size_t spm_free_forget(struct chain *c, uint64_t *first)
{
	size_t left = 0, n = 0;
	bool has_spare = false;

	for (size_t i = 0; i < c->extents; i++) {
		bool is_free = c->extent[i].free_count == EXTENT_BLOCKS;

		if (is_free && has_spare)
			first[n++] = c->extent[i].first;
		else
			c->extent[left++] = c->extent[i];
		has_spare |= is_free;
	}
	c->extents = left;
	c->free_blocks -= n * EXTENT_BLOCKS;
	c->cursor_extent = c->cursor_block = 0;
	return n;
}

/* More extents: an eighth of what the chain has, within bounds, so that taking them stays rare. */
static unsigned extents_wanted(const struct chain *c, uint64_t blocks)
{
	uint64_t wanted = (blocks + EXTENT_BLOCKS - 1) / EXTENT_BLOCKS, eighth = c->extents / 8;

	if (eighth > 32)
		eighth = 32;
	wanted = wanted > eighth ? wanted : eighth;
	return wanted > GROUP_EXTENTS - 1 ? GROUP_EXTENTS - 1 : (unsigned)wanted;
}

static int extents_add(struct chain *c, uint64_t first, unsigned n, unsigned cold_from)
{
	int err = 0;

	for (uint64_t block = first; !err && block < first + n * (uint64_t)EXTENT_BLOCKS; block += EXTENT_BLOCKS) {
		err = spm_free_add_extent(c, block, false);
		if (!err)
			extent_of(c, block)->cold_from = cold_from;
	}
	return err;
}

/* Those for a commit that is being written: it does not wait for zeros. What it leaves free gets them later. */
static int extents_more(struct chain *c, uint64_t blocks)
{
	unsigned got;
	uint64_t first;
	int err = spm_extents_take(c->volume, c->id, c->magic, 0, NULL, NULL, extents_wanted(c, blocks), &first, &got);

	c->is_cold |= !err;
	return err ? err : extents_add(c, first, got, 0);
}

int spm_free_grow(struct chain *c)
{
	unsigned wanted, got;
	uint64_t first;
	int err;

	pthread_mutex_lock(&c->lock);
	wanted = extents_wanted(c, 1);
	c->lacks_places = false;
	pthread_mutex_unlock(&c->lock);
	err = spm_extents_take(c->volume, c->id, c->magic, 0, NULL, NULL, wanted, &first, &got);
	if (err)
		return err;
	spm_extents_warm(c->volume, first, got);
	pthread_mutex_lock(&c->lock);
	err = extents_add(c, first, got, EXTENT_BLOCKS);
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* The next free blocks that were never written, at most `most`: taken. Of none if there are none. */
static struct block_run cold_take(struct chain *c, unsigned most)
{
	struct block_run run = {0};

	for (size_t i = 0; i < c->extents && !run.blocks; i++)
		for (struct extent *e = &c->extent[i]; e->cold_from < EXTENT_BLOCKS; e->cold_from++) {
			bool is_cold = is_free(e, e->cold_from);

			if (run.blocks == most || (run.blocks && !is_cold))
				break;
			if (!is_cold)
				continue;
			set_free(c, e, e->cold_from, false);
			run.block = run.blocks++ ? run.block : e->first + e->cold_from;
		}
	c->is_cold = run.blocks;
	return run;
}

void spm_free_warm(struct chain *c)
{
	enum { WARM_BLOCKS = 64 };
	struct block_run run;

	pthread_mutex_lock(&c->lock);
	run = cold_take(c, WARM_BLOCKS);
	pthread_mutex_unlock(&c->lock);
	if (!run.blocks)
		return;
	spm_blocks_warm(c->volume, run.block, run.blocks);
	pthread_mutex_lock(&c->lock);
	spm_free_give(c, run.block, run.blocks);
	pthread_mutex_unlock(&c->lock);
}

/* A search for `least` free blocks in a row; `run` blocks before the present one are free. */
struct search {
	uint64_t least, run;
	unsigned longest; /* within the extent */
};

/* Goes on with the extent from block `from`; true when the search ends, just behind the run found. */
static bool extent_search(const struct extent *e, unsigned from, struct search *s, unsigned *end)
{
	unsigned here = 0;

	for (unsigned b = from; b < EXTENT_BLOCKS; b++) {
		if (!is_free(e, b)) {
			if (!e->free[b >> 6])
				b |= 63;
			s->run = here = 0;
			continue;
		}
		here++;
		s->longest = here > s->longest ? here : s->longest;
		if (++s->run == s->least) {
			*end = b + 1;
			return true;
		}
	}
	return false;
}

static bool follows(const struct chain *c, size_t extent)
{
	return extent && c->extent[extent - 1].first + EXTENT_BLOCKS == c->extent[extent].first;
}

/* The first run of `least` free blocks from the cursor on, wrapping round once: sets the cursor to its first block. */
static bool cursor_find(struct chain *c, uint64_t least)
{
	struct search s = {.least = least};

	if (c->cursor_extent >= c->extents)
		c->cursor_extent = c->cursor_block = 0;
	for (size_t tried = 0; tried <= c->extents; tried++) {
		size_t at = (c->cursor_extent + tried) % c->extents;
		struct extent *e = &c->extent[at];
		unsigned from = tried ? 0 : c->cursor_block, end;

		if (!follows(c, at))
			s.run = 0;
		if (e->longest_most < least && e->longest_most < EXTENT_BLOCKS) {
			s.run = 0; /* gives up runs across extents that would need a look at this one */
			continue;
		}
		s.longest = 0;
		if (extent_search(e, from, &s, &end)) {
			uint64_t first = e->first + end - least;

			for (; c->extent[at].first > first; at--)
				;
			c->cursor_extent = at;
			c->cursor_block = (unsigned)(first - c->extent[at].first);
			return true;
		}
		if (!from)
			e->longest_most = s.longest;
	}
	return false;
}

/* Takes what follows the cursor, to `most`. */
static struct block_run cursor_take(struct chain *c, uint64_t most)
{
	struct block_run run = {c->extent[c->cursor_extent].first + c->cursor_block, 0};

	while (run.blocks < most) {
		struct extent *e = &c->extent[c->cursor_extent];

		if (c->cursor_block == EXTENT_BLOCKS) { /* runs go on into an extent that follows directly */
			if (c->cursor_extent + 1 >= c->extents || !follows(c, c->cursor_extent + 1))
				break;
			c->cursor_extent++;
			c->cursor_block = 0;
			continue;
		}
		if (!is_free(e, c->cursor_block))
			break;
		set_free(c, e, c->cursor_block++, false);
		run.blocks++;
	}
	return run;
}

/* Takes extents, if need be for `wanted` blocks in all, until there is such a run. Those that come may lie in several groups,
 * so a run may need more than one try. */
static int run_make(struct chain *c, uint64_t least, uint64_t wanted)
{
	int err = 0;

	for (unsigned tries = 0; tries < 4 && !err; tries++) {
		err = extents_more(c, wanted);
		if (!err && cursor_find(c, least))
			return 0;
	}
	return err ? err : -ENOSPC;
}

static int run_take(struct chain *c, uint64_t least, uint64_t most, uint64_t wanted, struct block_run *run)
{
	int err = 0;

	if (!cursor_find(c, least))
		err = run_make(c, least, wanted);
	while (err == -ENOSPC && least > 1) {
		least /= 2;
		err = cursor_find(c, least) ? 0 : err;
	}
	if (!err)
		*run = cursor_take(c, most);
	return err;
}

int spm_free_take(struct chain *c, uint64_t least, uint64_t most, struct block_run *run)
{
	return run_take(c, least, most, least, run);
}

/* It has twice the room that it needs. */
static bool is_roomy(const struct chain *c)
{
	return c->free_blocks > c->extents * EXTENT_BLOCKS / 2;
}

/* Pages that were overwritten at random leave short runs: where half is free hardly one is as long as a commit of several threads,
 * and one outside its place takes three writes and a flush. A small chain rather grows, to four times what it needs. */
static bool is_roomy_for_places(const struct chain *c)
{
	enum { SMALL_EXTENTS = 64 };

	return is_roomy(c) && (c->extents >= SMALL_EXTENTS || c->free_blocks > c->extents * EXTENT_BLOCKS / 4 * 3);
}

int spm_free_take_place(struct chain *c, uint64_t wanted, uint64_t least, uint64_t most, struct block_run *run)
{
	for (uint64_t n = wanted; n >= least; n = n / 2 > least || n == least ? n / 2 : least)
		if (cursor_find(c, n)) {
			*run = cursor_take(c, most);
			c->lacks_places = n < wanted && !is_roomy_for_places(c);
			return 0;
		}
	return spm_free_take(c, wanted, most, run);
}

int spm_free_take_bulk(struct chain *c, uint64_t most, uint64_t wanted, struct block_run *run)
{
	bool takes_holes = is_roomy(c);

	for (uint64_t least = most < 64 ? most : 64; least; least /= 4) {
		if (cursor_find(c, least)) {
			*run = cursor_take(c, most);
			return 0;
		}
		if (!takes_holes)
			break;
	}
	return run_take(c, takes_holes || most < 16 ? 1 : 16, most, wanted, run);
}

int spm_free_take_few(struct chain *c, uint64_t blocks, unsigned runs_max, struct block_run *run, unsigned *n)
{
	while (blocks) {
		uint64_t left = runs_max - *n;
		int err = left ? spm_free_take(c, (blocks + left - 1) / left, blocks, &run[*n]) : -ENOSPC;

		if (err)
			return err;
		blocks -= run[(*n)++].blocks;
	}
	return 0;
}

void spm_free_extend(struct chain *c, uint64_t most, struct block_run *run)
{
	while (run->blocks < most) {
		struct extent *e = extent_of(c, run->block + run->blocks);
		unsigned b = e ? (unsigned)(run->block + run->blocks - e->first) : 0;

		if (!e || !is_free(e, b))
			return;
		set_free(c, e, b, false);
		run->blocks++;
	}
}
