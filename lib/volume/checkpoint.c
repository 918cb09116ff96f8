/* checkpoint.c - the whole state of a chain in one piece, so that recovery replays few records.
 *
 *   1. build it in memory      2. write it into free blocks   3. flush
 *   4. write the head (mirrored) that names it                5. only now free the one before
 * A crash before 4 leaves the old head, whose checkpoint and records are untouched; its blocks are not free until 5.
 *
 * It is written when the records since the last one weigh more than it will, so its cost stays a constant factor of
 * what commits write, and recovery reads about as much as the map is long.
 */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

int spm_head_write(struct chain *c)
{
	struct chain_head *block = aligned_alloc(SPM_BLOCK_BYTES, SPM_BLOCK_BYTES);
	int err;

	if (!block)
		return -ENOMEM;
	memset(block, 0, SPM_BLOCK_BYTES);
	*block = c->head;
	err = spm_mirror_write(c->volume, c->head_block, block, offsetof(struct chain_head, sum));
	if (!err)
		c->durable_noted = c->head.durable_seq;
	free(block);
	return err;
}

struct image {
	unsigned char *bytes;
	size_t at;
};

static int page_put(uint64_t page, struct place *p, void *arg)
{
	struct image *i = arg;
	struct checkpoint_page out = {page, *p};

	memcpy(i->bytes + i->at, &out, sizeof(out));
	i->at += sizeof(out);
	return 0;
}

static size_t checkpoint_bytes(const struct chain *c)
{
	return sizeof(struct checkpoint) + c->pages * sizeof(struct checkpoint_page) +
	       (c->dead_to - c->dead_from) * sizeof(struct dead) +
	       (c->record_to - c->record_from) * sizeof(struct record_place);
}

static void checkpoint_build(struct chain *c, struct image *i)
{
	struct checkpoint *k = (struct checkpoint *)(void *)i->bytes;
	size_t deads = c->dead_to - c->dead_from, records = c->record_to - c->record_from;

	*k = (struct checkpoint){.magic = FORMAT_CHECKPOINT_MAGIC, .chain_id = c->id, .seq = c->seq,
	                         .bytes = checkpoint_bytes(c), .pages = c->pages, .deads = deads, .records = records,
	                         .oldest_kept = c->oldest_kept, .info = c->newest};
	i->at = sizeof(*k);
	spm_map_each(c, page_put, i);
	if (deads)
		memcpy(i->bytes + i->at, c->dead + c->dead_from, deads * sizeof(struct dead));
	i->at += deads * sizeof(struct dead);
	if (records)
		memcpy(i->bytes + i->at, c->record + c->record_from, records * sizeof(struct record_place));
	SPM_CHECK(i->at + records * sizeof(struct record_place) == k->bytes);
}

/* Writes the image into free blocks; *n runs in run. */
static int image_write(struct chain *c, const struct image *i, uint64_t blocks, struct block_run *run, unsigned *n)
{
	uint64_t done = 0;

	while (done < blocks) {
		int err = *n == HEAD_RUNS_MAX ? -ENOSPC : spm_free_take(c, blocks - done, &run[*n]);

		if (!err) {
			++*n;
			err = c->volume->driver->ops->write(c->volume->driver, run[*n - 1].block * SPM_BLOCK_BYTES,
			                                    i->bytes + done * SPM_BLOCK_BYTES,
			                                    run[*n - 1].blocks * SPM_BLOCK_BYTES);
		}
		if (err)
			return err;
		done += run[*n - 1].blocks;
	}
	return 0;
}

static void runs_give(struct chain *c, const struct block_run *run, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		spm_free_give(c, run[i].block, run[i].blocks);
}

static int head_change(struct chain *c, const struct block_run *run, unsigned n, uint64_t bytes, uint64_t sum)
{
	struct chain_head before = c->head;
	int err;

	c->head.checkpoint_seq = c->seq;
	c->head.checkpoint_bytes = bytes;
	c->head.checkpoint_sum = sum;
	c->head.record_sum = c->last_sum;
	c->head.durable_seq = c->seq;
	memcpy(c->head.next, c->next, sizeof(c->next));
	memset(c->head.run, 0, sizeof(c->head.run));
	memcpy(c->head.run, run, n * sizeof(*run));
	c->head.run_count = n;
	err = spm_head_write(c);
	if (err) { /* the disk may have either head: believe nothing until it is opened again */
		c->is_poisoned = true;
		c->head = before;
	} else {
		runs_give(c, before.run, before.run_count);
	}
	return err;
}

int spm_checkpoint_write(struct chain *c)
{
	uint64_t bytes = checkpoint_bytes(c), blocks = (bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES;
	struct image i = {aligned_alloc(SPM_BLOCK_BYTES, blocks * SPM_BLOCK_BYTES), 0};
	struct block_run run[HEAD_RUNS_MAX];
	unsigned n = 0;
	int err;

	if (!i.bytes)
		return -ENOMEM;
	checkpoint_build(c, &i);
	memset(i.bytes + bytes, 0, blocks * SPM_BLOCK_BYTES - bytes);
	err = spm_free_ensure(c, blocks);
	if (!err)
		err = image_write(c, &i, blocks, run, &n);
	if (!err) {
		err = c->volume->driver->ops->flush(c->volume->driver);
		c->is_poisoned |= err != 0;
	}
	if (err)
		runs_give(c, run, n);
	else
		err = head_change(c, run, n, bytes, XXH3_64bits(i.bytes, bytes));
	if (!err)
		c->record_bytes_since_checkpoint = 0;
	free(i.bytes);
	if (!err)
		spm_reclaim(c);
	return err;
}

static int image_read(struct chain *c, unsigned char *bytes, uint64_t blocks)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < c->head.run_count && i < HEAD_RUNS_MAX; i++) {
		struct block_run r = c->head.run[i];
		int err = r.blocks > blocks - done ? -EUCLEAN : spm_blocks_read(c->volume, r.block, bytes + done * SPM_BLOCK_BYTES, r.blocks);

		if (err)
			return err;
		done += r.blocks;
	}
	return done == blocks ? 0 : -EUCLEAN;
}

static int pages_take(struct chain *c, const struct checkpoint *k)
{
	const struct checkpoint_page *p = (const struct checkpoint_page *)(const void *)(k + 1);

	for (uint64_t i = 0; i < k->pages; i++) {
		struct place *to = spm_map_page_is_possible(p[i].page) && p[i].place.birth ? spm_map_make(c, p[i].page) : NULL;

		if (!to || to->birth)
			return -EUCLEAN;
		*to = p[i].place;
	}
	c->pages = k->pages;
	return 0;
}

static int lists_take(struct chain *c, const struct checkpoint *k)
{
	const struct dead *d = (const struct dead *)(const void *)((const struct checkpoint_page *)(const void *)(k + 1) + k->pages);
	const struct record_place *r = (const struct record_place *)(const void *)(d + k->deads);
	int err = 0;

	for (uint64_t i = 0; i < k->deads && !err; i++)
		err = spm_dead_add(c, d[i].block, d[i].death);
	for (uint64_t i = 0; i < k->records && !err; i++)
		err = spm_record_add(c, &r[i]);
	return err;
}

static bool checkpoint_is_sane(const struct chain *c, const struct checkpoint *k)
{
	uint64_t room = c->head.checkpoint_bytes - sizeof(*k);

	return k->magic == FORMAT_CHECKPOINT_MAGIC && k->chain_id == c->id && k->seq == c->head.checkpoint_seq &&
	       k->bytes == c->head.checkpoint_bytes && k->pages <= room / sizeof(struct checkpoint_page) &&
	       k->deads <= room / sizeof(struct dead) && k->records <= room / sizeof(struct record_place) &&
	       k->pages * sizeof(struct checkpoint_page) + k->deads * sizeof(struct dead) +
	                       k->records * sizeof(struct record_place) == room;
}

int spm_checkpoint_load(struct chain *c)
{
	uint64_t bytes = c->head.checkpoint_bytes, blocks = (bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES, size;
	struct checkpoint *k;
	int err = c->volume->driver->ops->size(c->volume->driver, &size);

	if (err)
		return err;
	if (bytes < sizeof(*k) || bytes > size)
		return -EUCLEAN;
	k = aligned_alloc(SPM_BLOCK_BYTES, blocks * SPM_BLOCK_BYTES);
	if (!k)
		return -ENOMEM;
	err = image_read(c, (unsigned char *)k, blocks);
	if (err == -ENODATA || err == -EIO)
		err = -EUCLEAN;
	if (!err && (XXH3_64bits(k, bytes) != c->head.checkpoint_sum || !checkpoint_is_sane(c, k)))
		err = -EUCLEAN;
	if (!err)
		err = pages_take(c, k);
	if (!err)
		err = lists_take(c, k);
	if (!err) {
		c->seq = k->seq;
		c->oldest_kept = k->oldest_kept;
		c->newest = k->info;
		c->last_sum = c->head.record_sum;
		memcpy(c->next, c->head.next, sizeof(c->next));
	}
	free(k);
	return err;
}
