/* freemap.c - which blocks of the chain's extents nobody needs; next-fit, so that writes go on where the last ended. */
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
	c->free_blocks += free ? 1u : UINT64_MAX;
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
	for (unsigned b = (unsigned)reserved; b < EXTENT_BLOCKS; b++)
		set_free(c, &more[i], b, true);
	return 0;
}

static struct extent *extent_of(struct chain *c, uint64_t block)
{
	size_t low = 0, high = c->extents;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->extent[middle].first + EXTENT_BLOCKS <= block)
			low = middle + 1;
		else
			high = middle;
	}
	return low < c->extents && c->extent[low].first <= block ? &c->extent[low] : NULL;
}

int spm_free_use(struct chain *c, uint64_t block, uint64_t blocks)
{
	for (uint64_t b = block; b < block + blocks; b++) {
		struct extent *e = extent_of(c, b);

		if (!e)
			return -EINVAL;
		if (!is_free(e, (unsigned)(b - e->first)))
			return -EEXIST;
		set_free(c, e, (unsigned)(b - e->first), false);
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

/* More extents: an eighth of what the chain has, within bounds, so that taking them stays rare. */
static int extents_more(struct chain *c, uint64_t blocks)
{
	uint64_t wanted = (blocks + EXTENT_BLOCKS - 1) / EXTENT_BLOCKS, eighth = c->extents / 8;
	unsigned got;
	uint64_t first;
	int err;

	if (eighth > 32)
		eighth = 32;
	wanted = wanted > eighth ? wanted : eighth;
	if (wanted > GROUP_EXTENTS - 1)
		wanted = GROUP_EXTENTS - 1;
	err = spm_extents_take(c->volume, c->id, c->magic, NULL, NULL, (unsigned)(wanted ? wanted : 1), &first, &got);
	for (unsigned i = 0; !err && i < got; i++)
		err = spm_free_add_extent(c, first + i * EXTENT_BLOCKS, false);
	return err;
}

int spm_free_ensure(struct chain *c, uint64_t blocks)
{
	while (c->free_blocks < blocks) {
		int err = extents_more(c, blocks - c->free_blocks);

		if (err)
			return err;
	}
	return 0;
}

/* The next free block at or after the cursor, wrapping round once. */
static bool cursor_advance(struct chain *c)
{
	for (size_t tried = 0; tried <= c->extents; tried++) {
		struct extent *e = &c->extent[c->cursor_extent];

		while (e->free_count && c->cursor_block < EXTENT_BLOCKS) {
			uint64_t word = e->free[c->cursor_block >> 6] >> (c->cursor_block & 63);

			if (word) {
				c->cursor_block += (unsigned)__builtin_ctzll(word);
				return true;
			}
			c->cursor_block = (c->cursor_block | 63) + 1;
		}
		c->cursor_extent = (c->cursor_extent + 1) % c->extents;
		c->cursor_block = 0;
	}
	return false;
}

int spm_free_take(struct chain *c, uint64_t most, struct block_run *run)
{
	int err = spm_free_ensure(c, 1);

	if (err)
		return err;
	if (c->cursor_extent >= c->extents)
		c->cursor_extent = 0;
	SPM_CHECK(cursor_advance(c));
	*run = (struct block_run){c->extent[c->cursor_extent].first + c->cursor_block, 0};
	while (run->blocks < most) {
		struct extent *e = &c->extent[c->cursor_extent];

		if (c->cursor_block == EXTENT_BLOCKS) { /* runs go on into an extent that follows directly */
			if (c->cursor_extent + 1 >= c->extents || e[1].first != e->first + EXTENT_BLOCKS)
				break;
			c->cursor_extent++;
			c->cursor_block = 0;
			continue;
		}
		if (!is_free(e, c->cursor_block))
			break;
		set_free(c, e, c->cursor_block++, false);
		run->blocks++;
	}
	return 0;
}
