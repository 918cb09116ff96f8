/* commit.c - make one version durable with one write and one flush.
 *
 *      place reserved for this record
 *   +--------+---------+-----+-----+-----+
 *   | header | entries |  p  |  q  |  r  |     one write, one flush, if it fits
 *   +--------+---------+-----+-----+-----+
 *
 * Until the flush returns, any subset of the sectors may have reached the disk; recovery believes the record only if
 * its own sum and that of every page it carries are right (recover.c). What does not fit goes first: pages and the rest of
 * the record into free blocks, flush, then the record's first block. A crash before that block is whole leaves the version
 * before; everything written so far lies in blocks that are free for it.
 *
 * In memory nothing changes until the record is durable. A failed write of the record leaves the truth unknown: the
 * chain is poisoned until it is opened again. A failure before that gives the blocks back, and the next commit may succeed.
 */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct commit {
	struct chain *c;
	struct record *r;        /* header and entries; c->buffer if small */
	const void **data;       /* for each entry: page to write, or NULL */
	uint64_t data_blocks;
	uint64_t record_blocks;
	struct block_run taken[RECORD_RUNS_MAX]; /* for continuation of the record */
	unsigned taken_count;
	struct block_run *page_run; /* for pages outside the place */
	size_t page_runs;
	struct block_run next;
	uint64_t in_place; /* blocks of the place that are used */
};

static bool places_equal(const struct place *a, const struct place *b)
{
	return a->block == b->block && !memcmp(&a->meta, &b->meta, sizeof(a->meta));
}

/* Turns a change into an entry (its block still open); false if it changes nothing. */
static bool entry_make(struct chain *c, struct page_change *ch, struct record_entry *e, bool *has_data)
{
	struct place *was = spm_map_get(c, ch->page);
	uint64_t seq = c->seq + 1;

	*e = (struct record_entry){.page = ch->page};
	*has_data = false;
	ch->is_stored = false;
	if (was)
		e->was = *was;
	if (ch->is_removed)
		return was != NULL;
	e->is = was ? *was : (struct place){.birth = seq};
	e->is.meta = ch->meta;
	if (ch->data) {
		uint64_t sum = XXH3_64bits(ch->data, SPM_PAGE_BYTES);

		*has_data = !e->is.block || sum != e->is.sum;
		if (*has_data)
			e->is = (struct place){.block = 1, .sum = sum, .birth = seq, .meta = ch->meta};
	}
	ch->is_stored = *has_data;
	return !was || *has_data || !places_equal(was, &e->is);
}

static int entries_make(struct commit *k, struct page_change *changes, size_t n)
{
	struct record_entry *e = (struct record_entry *)(void *)((unsigned char *)k->r + RECORD_HEADER_BYTES);
	uint32_t count = 0;

	for (size_t i = 0; i < n; i++) {
		bool has_data;

		if (!spm_map_page_is_possible(changes[i].page))
			return -EINVAL;
		if (!entry_make(k->c, &changes[i], &e[count], &has_data))
			continue;
		k->data[count++] = has_data ? changes[i].data : NULL;
		k->data_blocks += has_data;
	}
	k->r->entries = count;
	k->r->bytes = RECORD_HEADER_BYTES + count * sizeof(*e);
	k->record_blocks = (k->r->bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES;
	return 0;
}

static void give_back(struct commit *k)
{
	for (unsigned i = 0; i < k->taken_count; i++)
		spm_free_give(k->c, k->taken[i].block, k->taken[i].blocks);
	for (size_t i = 0; i < k->page_runs; i++)
		spm_free_give(k->c, k->page_run[i].block, k->page_run[i].blocks);
	if (k->next.blocks)
		spm_free_give(k->c, k->next.block, k->next.blocks);
}

static bool fits_in_place(const struct commit *k)
{
	return k->record_blocks + k->data_blocks <= k->c->next[0].blocks && k->record_blocks + k->data_blocks <= PLACE_BLOCKS;
}

static struct record_entry *commit_entries(struct commit *k)
{
	return (struct record_entry *)(void *)((unsigned char *)k->r + RECORD_HEADER_BYTES);
}

/* Pages follow the record in its place; the buffer is that stretch of the volume. */
static void pages_place_inline(struct commit *k)
{
	struct record_entry *e = commit_entries(k);
	uint64_t at = k->record_blocks;

	for (uint32_t i = 0; i < k->r->entries; i++) {
		if (!k->data[i])
			continue;
		e[i].is.block = k->c->next[0].block + at;
		memcpy((unsigned char *)k->r + at * SPM_BLOCK_BYTES, k->data[i], SPM_BLOCK_BYTES);
		at++;
	}
	k->r->run[0] = (struct block_run){k->c->next[0].block, k->record_blocks};
	k->r->run_count = 1;
	k->in_place = at;
}

/* Writes pages i.. of the entries into the run, neighbours in memory in one go. */
static int pages_write(struct commit *k, uint32_t *i, struct block_run run)
{
	struct record_entry *e = commit_entries(k);
	const struct driver_ops *ops = k->c->volume->driver->ops;
	uint64_t done = 0;

	while (done < run.blocks) {
		const unsigned char *from = NULL;
		uint64_t n = 0;
		int err;

		for (; *i < k->r->entries && done + n < run.blocks; ++*i) {
			if (!k->data[*i])
				continue;
			if (from && k->data[*i] != from + n * SPM_BLOCK_BYTES)
				break;
			if (!from)
				from = k->data[*i];
			e[*i].is.block = run.block + done + n++;
		}
		err = ops->write(k->c->volume->driver, (run.block + done) * SPM_BLOCK_BYTES, from, n * SPM_BLOCK_BYTES);
		if (err)
			return err;
		done += n;
	}
	return 0;
}

static int run_note(struct commit *k, struct block_run run)
{
	struct block_run *more;

	if ((k->page_runs & (k->page_runs + 1)) == 0) {
		more = realloc(k->page_run, (k->page_runs * 2 + 1) * sizeof(*more));
		if (!more) {
			spm_free_give(k->c, run.block, run.blocks);
			return -ENOMEM;
		}
		k->page_run = more;
	}
	k->page_run[k->page_runs++] = run;
	return 0;
}

static int pages_place_outside(struct commit *k)
{
	uint64_t left = k->data_blocks;
	uint32_t i = 0;

	while (left) {
		struct block_run run;
		int err = spm_free_take(k->c, left, &run);

		if (!err)
			err = run_note(k, run);
		if (!err)
			err = pages_write(k, &i, run);
		if (err)
			return err;
		left -= run.blocks;
	}
	return 0;
}

/* The record's blocks after the first. */
static int rest_take(struct commit *k)
{
	uint64_t left = k->record_blocks - 1;

	k->r->run[0] = (struct block_run){k->c->next[0].block, 1};
	k->r->run_count = 1;
	while (left) {
		struct block_run run;
		int err = k->r->run_count == RECORD_RUNS_MAX ? -ENOSPC : spm_free_take(k->c, left, &run);

		if (err)
			return err;
		k->taken[k->taken_count++] = run;
		k->r->run[k->r->run_count++] = run;
		left -= run.blocks;
	}
	k->in_place = 1;
	return 0;
}

static int rest_write(struct commit *k)
{
	const struct driver_ops *ops = k->c->volume->driver->ops;
	uint64_t done = 1;

	for (unsigned i = 0; i < k->taken_count; i++) {
		int err = ops->write(k->c->volume->driver, k->taken[i].block * SPM_BLOCK_BYTES,
		                     (unsigned char *)k->r + done * SPM_BLOCK_BYTES, k->taken[i].blocks * SPM_BLOCK_BYTES);

		if (err)
			return err;
		done += k->taken[i].blocks;
	}
	return 0;
}

static void header_fill(struct commit *k, struct version_info *info)
{
	struct chain *c = k->c;
	struct record *r = k->r;
	uint64_t seq = c->seq + 1, kept = info->versions_kept;

	r->magic = FORMAT_RECORD_MAGIC;
	r->chain_id = c->id;
	r->seq = seq;
	r->prev_sum = c->last_sum;
	r->durable_seq = c->seq;
	r->oldest_kept = kept && seq > kept && seq - kept + 1 > c->oldest_kept ? seq - kept + 1 : c->oldest_kept;
	r->next[0] = c->next[1];
	r->next[1] = k->next;
	info->version = seq;
	info->parent = c->seq;
	info->pages = c->pages;
	for (uint32_t i = 0; i < r->entries; i++) {
		struct record_entry *e = commit_entries(k);

		info->pages += (uint64_t)(e[i].is.birth != 0) - (uint64_t)(e[i].was.birth != 0);
	}
	info->stored_pages = k->data_blocks;
	info->stored_bytes = (k->data_blocks + k->record_blocks) * SPM_BLOCK_BYTES;
	r->info = *info;
}

static int record_write(struct commit *k, bool is_inline)
{
	struct chain *c = k->c;
	const struct driver_ops *ops = c->volume->driver->ops;
	int err = 0;

	memset((unsigned char *)k->r + k->r->bytes, 0, k->record_blocks * SPM_BLOCK_BYTES - k->r->bytes);
	k->r->is_data_durable = !is_inline;
	k->r->sum = 0;
	k->r->sum = spm_block_sum(k->r, k->r->bytes, offsetof(struct record, sum));
	if (!is_inline) {
		err = rest_write(k);
#ifndef SPM_BREAK_FLUSH /* for the test that proves the power-cut simulator: a flush forgotten */
		if (!err)
			err = ops->flush(c->volume->driver);
		if (err == -EIO)
			c->is_poisoned = true;
#endif
		if (err)
			return err;
	}
	err = ops->write_durable(c->volume->driver, c->next[0].block * SPM_BLOCK_BYTES, k->r,
	                         (is_inline ? k->in_place : 1) * SPM_BLOCK_BYTES);
	if (err)
		c->is_poisoned = true;
	return err;
}

/* Room in the lists for what accept adds, so that it can't fail. */
static int lists_prepare(struct commit *k)
{
	struct chain *c = k->c;
	struct record_entry *e = commit_entries(k);

	for (uint32_t i = 0; i < k->r->entries; i++)
		if (!spm_map_make(c, e[i].page))
			return -ENOMEM;
	while (c->dead_room - c->dead_to < k->r->entries) {
		size_t room = c->dead_room * 2 + k->r->entries;
		struct dead *more = realloc(c->dead, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		c->dead = more;
		c->dead_room = room;
	}
	return 0;
}

/* The record is durable: what it says is so. */
static int accept(struct commit *k, struct version_info *info)
{
	struct chain *c = k->c;
	struct record_entry *e = commit_entries(k);
	struct record_place place = {k->r->seq, k->r->sum, c->next[0].block, k->r->run_count == 1 ? k->record_blocks : 0};
	int err = 0;

	for (uint32_t i = 0; i < k->r->entries; i++) {
		*spm_map_make(c, e[i].page) = e[i].is;
		if (e[i].was.block && e[i].was.block != e[i].is.block && !err)
			err = spm_dead_add(c, e[i].was.block, k->r->seq);
	}
	if (!err)
		err = spm_record_add(c, &place);
	if (c->next[0].blocks > k->in_place)
		spm_free_give(c, c->next[0].block + k->in_place, c->next[0].blocks - k->in_place);
	c->next[0] = c->next[1];
	c->next[1] = k->next;
	c->seq = k->r->seq;
	c->last_sum = k->r->sum;
	c->oldest_kept = k->r->oldest_kept;
	c->pages = info->pages;
	c->newest = *info;
	c->record_bytes_since_checkpoint += k->r->bytes;
	if (err) /* no memory for the lists: the disk is right, this process no longer knows what is free */
		c->is_poisoned = true;
	else
		spm_reclaim(c);
	return 0;
}

static int commit_write(struct commit *k, struct version_info *info)
{
	bool is_inline = fits_in_place(k);
	int err = lists_prepare(k);

	if (!err)
		err = spm_free_ensure(k->c, PLACE_BLOCKS + (is_inline ? 0 : k->record_blocks + k->data_blocks));
	if (!err && is_inline)
		pages_place_inline(k);
	else if (!err)
		err = rest_take(k);
	if (!err && !is_inline)
		err = pages_place_outside(k);
	if (!err)
		err = spm_place_reserve(k->c, &k->next);
	if (!err) {
		header_fill(k, info);
		err = record_write(k, is_inline);
	}
	if (!err)
		return accept(k, info);
	give_back(k);
	return err;
}

/* Memory for header, entries and data pointers; the chain's own buffer if it is enough. */
static int commit_begin(struct commit *k, size_t n)
{
	size_t bytes = RECORD_HEADER_BYTES + n * sizeof(struct record_entry);
	bool is_small = n <= PLACE_BLOCKS && bytes + n * SPM_BLOCK_BYTES <= BUFFER_BYTES;

	k->data = malloc((n + 1) * sizeof(*k->data));
	bytes = (bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES * SPM_BLOCK_BYTES;
	if (bytes < BUFFER_BYTES)
		bytes = BUFFER_BYTES; /* a commit may turn out to fit in its place */
	k->r = is_small ? (void *)k->c->buffer : aligned_alloc(SPM_BLOCK_BYTES, bytes);
	if (!k->data || !k->r)
		return -ENOMEM;
	memset(k->r, 0, RECORD_HEADER_BYTES);
	return 0;
}

static void commit_end(struct commit *k)
{
	if ((unsigned char *)k->r != k->c->buffer)
		free(k->r);
	free(k->data);
	free(k->page_run);
}

/* Recovery replays what has come since the checkpoint: no more than about what the map itself takes. */
static bool wants_checkpoint(const struct chain *c, unsigned weight)
{
	uint64_t state = c->pages * sizeof(struct checkpoint_page) +
	                 (c->record_to - c->record_from) * sizeof(struct record_place) +
	                 (c->dead_to - c->dead_from) * sizeof(struct dead);
	uint64_t limit = state > (1 << 20) ? state : 1 << 20;

	return c->record_bytes_since_checkpoint > limit * weight;
}

static int commit_locked(struct chain *c, struct page_change *changes, size_t n, bool force, struct version_info *info)
{
	struct commit k = {.c = c};
	int err;

	if (c->is_poisoned)
		return spm_volume_fail(-EIO, "container %d: a write of its record failed, so what is on the disk is unsure; close and open it "
		                             "again", c->magic);
	err = commit_begin(&k, n);
	if (!err)
		err = entries_make(&k, changes, n);
	if (!err && !k.r->entries && !force && c->seq)
		*info = c->newest;
	else if (!err)
		err = commit_write(&k, info);
	commit_end(&k);
	if (err)
		return spm_volume_fail(err, "container %d: version %llu could not be written: %s", c->magic,
		                       (unsigned long long)c->seq + 1, strerror(-err));
	if (wants_checkpoint(c, 4)) /* maintain did not come to it; a failure shows at the next commit */
		spm_checkpoint_write(c);
	return 0;
}

int spm_chain_commit(struct chain *c, struct page_change *changes, size_t n, bool force, struct version_info *info)
{
	int err;

	pthread_mutex_lock(&c->lock);
	err = commit_locked(c, changes, n, force, info);
	pthread_mutex_unlock(&c->lock);
	return err;
}

static int maintain_step(struct chain *c, bool idle, bool *again)
{
	enum { AHEAD_BLOCKS = 128 };

	if (c->is_poisoned)
		return -EIO;
	if (c->free_blocks < AHEAD_BLOCKS) {
		*again = true;
		return spm_free_ensure(c, AHEAD_BLOCKS);
	}
	if (wants_checkpoint(c, 1)) {
		*again = true;
		return spm_checkpoint_write(c);
	}
	if (idle && c->durable_noted < c->seq) {
		c->head.durable_seq = c->seq;
		return spm_head_write(c);
	}
	return 0;
}

int spm_chain_maintain(struct chain *c, bool idle, bool *again)
{
	int err;

	*again = false;
	pthread_mutex_lock(&c->lock);
	err = maintain_step(c, idle, again);
	pthread_mutex_unlock(&c->lock);
	return err;
}
