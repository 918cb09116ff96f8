/* checkpoint.c - the whole state of a chain in one piece, so that recovery replays few records.
 *
 *   1. build it in memory      2. write it into free blocks   3. flush
 *   4. write the head (mirrored) that names it                5. only now free the one before
 * Only 1 and 5 hold the chain's lock: commits go on meanwhile, into places that step 1 noted in the head.
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

enum { PAGE_BYTES_LIKELY = 16 }; /* of a page's entry */

int spm_head_write(struct chain *c, const struct chain_head *head)
{
	struct chain_head *block = aligned_alloc(SPM_BLOCK_BYTES, SPM_BLOCK_BYTES);
	int err;

	if (!block)
		return -ENOMEM;
	memset(block, 0, SPM_BLOCK_BYTES);
	*block = *head;
	err = spm_mirror_write(c->volume, c->head_block, block, offsetof(struct chain_head, sum));
	free(block);
	if (err) /* the disk may have either: the volume is poisoned */
		return err;
	pthread_mutex_lock(&c->lock);
	c->head = *head;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static int page_put(uint64_t page, const struct place *p, void *arg)
{
	spm_entry_put(arg, &(struct record_entry){.page = page, .is = *p});
	return 0;
}

static size_t lists_bytes(const struct chain *c)
{
	return (c->dead_to - c->dead_from) * sizeof(struct dead) +
	       (c->record_to - c->record_from) * sizeof(struct record_place);
}

uint64_t spm_checkpoint_weight(const struct chain *c)
{
	return c->pages * PAGE_BYTES_LIKELY + lists_bytes(c);
}

/* The image, with room for whole blocks; its memory is touched only as far as it is filled. Returns its length, 0: no memory. */
static size_t checkpoint_build(struct chain *c, unsigned char **out)
{
	size_t most = sizeof(struct checkpoint) + c->pages * ENTRY_BYTES_MOST + lists_bytes(c);
	unsigned char *bytes = aligned_alloc(SPM_BLOCK_BYTES, (most / SPM_BLOCK_BYTES + 1) * SPM_BLOCK_BYTES);
	struct entry_writer w = {.to = bytes, .bytes = sizeof(struct checkpoint)};
	struct checkpoint *k = (struct checkpoint *)(void *)bytes;
	size_t deads = c->dead_to - c->dead_from, records = c->record_to - c->record_from;

	if (!bytes)
		return 0;
	spm_map_each(c, page_put, &w);

	*k = (struct checkpoint){.magic = FORMAT_CHECKPOINT_MAGIC,
	                         .chain_id = c->id,
	                         .seq = c->seq,
	                         .bytes = w.bytes + lists_bytes(c),
	                         .pages = c->pages,
	                         .deads = deads,
	                         .records = records,
	                         .oldest_kept = c->oldest_kept,
	                         .info = c->newest};
	if (deads)
		memcpy(bytes + w.bytes, c->dead + c->dead_from, deads * sizeof(struct dead));
	if (records)
		memcpy(bytes + w.bytes + deads * sizeof(struct dead), c->record + c->record_from,
		       records * sizeof(struct record_place));
	*out = bytes;
	return k->bytes;
}

/* All that the checkpoint says, at one instant: its image, its place, the head that will name it. */
struct plan {
	unsigned char *image;
	uint64_t bytes, blocks;
	struct block_run run[HEAD_RUNS_MAX];
	unsigned runs;
	struct chain_head head;
	uint64_t record_bytes;
};

static void runs_give(struct chain *c, const struct block_run *run, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		spm_free_give(c, run[i].block, run[i].blocks);
}

static int plan_make(struct chain *c, struct plan *p)
{
	int err;

	p->bytes = checkpoint_build(c, &p->image);
	if (!p->bytes)
		return -ENOMEM;
	p->blocks = (p->bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES;
	err = spm_free_take_few(c, p->blocks, HEAD_RUNS_MAX, p->run, &p->runs);
	if (err) {
		runs_give(c, p->run, p->runs);
		return err;
	}
	c->planned_blocks = p->blocks;
	memset(p->image + p->bytes, 0, p->blocks * SPM_BLOCK_BYTES - p->bytes);
	p->record_bytes = c->record_bytes_since_checkpoint;
	p->head = c->head;
	p->head.checkpoint_seq = p->head.durable_seq = c->seq;
	p->head.record_sum = c->last_sum;
	memcpy(p->head.next, c->next, sizeof(c->next));
	return 0;
}

static int plan_write(struct chain *c, struct plan *p)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < p->runs; i++) {
		int err = spm_blocks_write(c->volume, p->run[i].block, p->image + done * SPM_BLOCK_BYTES,
		                           p->run[i].blocks);

		if (err)
			return err;
		done += p->run[i].blocks;
	}
	return spm_volume_flush(c->volume);
}

static int plan_announce(struct chain *c, struct plan *p)
{
	p->head.checkpoint_bytes = p->bytes;
	p->head.checkpoint_sum = XXH3_64bits(p->image, p->bytes);
	memset(p->head.run, 0, sizeof(p->head.run));
	memcpy(p->head.run, p->run, p->runs * sizeof(*p->run));
	p->head.run_count = p->runs;
	return spm_head_write(c, &p->head);
}

/* Commits go on while the image is written; the next checkpoint or a replay takes them in. */
static int plan_carry_out(struct chain *c, struct plan *p)
{
	struct chain_head before;
	int err;

	pthread_mutex_lock(&c->lock);
	before = c->head;
	err = plan_make(c, p);
	pthread_mutex_unlock(&c->lock);
	if (err)
		return err;
	err = plan_write(c, p);
	if (!err)
		err = plan_announce(c, p);
	pthread_mutex_lock(&c->lock);
	c->planned_blocks = 0;
	if (err) {
		runs_give(c, p->run, p->runs);
	} else {
		runs_give(c, before.run, before.run_count);
		c->record_bytes_since_checkpoint -= p->record_bytes;
		spm_reclaim(c);
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

int spm_checkpoint_write(struct chain *c)
{
	struct plan *p = calloc(1, sizeof(*p));
	int err = p ? plan_carry_out(c, p) : -ENOMEM;

	if (p)
		free(p->image);
	free(p);
	return err;
}

static int image_read(struct chain *c, unsigned char *bytes, uint64_t blocks)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < c->head.run_count && i < HEAD_RUNS_MAX; i++) {
		struct block_run r = c->head.run[i];
		int err = r.blocks > blocks - done
		                  ? -EUCLEAN
		                  : spm_blocks_read(c->volume, r.block, bytes + done * SPM_BLOCK_BYTES, r.blocks);

		if (err)
			return err;
		done += r.blocks;
	}
	return done == blocks ? 0 : -EUCLEAN;
}

static const unsigned char *lists_of(const struct checkpoint *k)
{
	return (const unsigned char *)k + k->bytes - k->deads * sizeof(struct dead) -
	       k->records * sizeof(struct record_place);
}

static int pages_take(struct chain *c, const struct checkpoint *k)
{
	struct entry_cursor e = {.at = (const unsigned char *)(k + 1), .end = lists_of(k)};
	struct source_run run;
	int err = 0;

	for (bool left = true; !err && left;) {
		if (spm_entry_run(&e, &run))
			err = spm_map_add(c, &run, true);
		else if ((left = spm_entry_next(&e)))
			err = e.entry.was.birth ? -EUCLEAN : spm_map_change(c, e.entry.page, &e.entry.was, &e.entry.is);
	}
	if (err)
		return err;
	return !e.is_broken && c->pages == k->pages && k->pages == k->info.pages ? 0 : -EUCLEAN;
}

/* Invariant 2. */
static bool are_in_order(const struct checkpoint *k, const struct dead *d, const struct record_place *r)
{
	for (uint64_t i = 1; i < k->deads; i++)
		if (d[i].death < d[i - 1].death)
			return false;
	for (uint64_t i = 0; i < k->records; i++)
		if (r[i].seq != k->seq - k->records + 1 + i)
			return false;
	return true;
}

static int lists_take(struct chain *c, const struct checkpoint *k)
{
	const struct dead *d = (const struct dead *)(const void *)lists_of(k);
	const struct record_place *r = (const struct record_place *)(const void *)(d + k->deads);
	int err = 0;

	if (!are_in_order(k, d, r))
		return -EUCLEAN;
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
	       k->bytes == c->head.checkpoint_bytes && k->deads <= room / sizeof(struct dead) &&
	       k->records <= room / sizeof(struct record_place) &&
	       k->deads * sizeof(struct dead) + k->records * sizeof(struct record_place) <= room &&
	       spm_info_is_sane(&k->info, k->seq);
}

int spm_checkpoint_load(struct chain *c)
{
	uint64_t bytes = c->head.checkpoint_bytes, blocks = (bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES, size;
	struct checkpoint *k;
	int err = spm_volume_bytes(c->volume, &size);

	if (err)
		return err;
	if (bytes < sizeof(*k) || bytes > size)
		return -EUCLEAN;
	k = aligned_alloc(SPM_BLOCK_BYTES, blocks * SPM_BLOCK_BYTES);
	if (!k)
		return -ENOMEM;
	spm_pages_populate(k, blocks * SPM_BLOCK_BYTES, 0, blocks * SPM_BLOCK_BYTES);
	err = image_read(c, (unsigned char *)k, blocks);
	if (err == -ENODATA)
		err = -EUCLEAN;
	if (!err && (XXH3_64bits(k, bytes) != c->head.checkpoint_sum || !checkpoint_is_sane(c, k)))
		err = -EUCLEAN;
	if (!err)
		err = spm_map_keep(c, k);
	if (err)
		free(k);
	else
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
	return err;
}
