/* commit.c - make one version durable with one write and one flush.
 *
 *      place reserved for this record              next but one
 *   +--------+---------+-----+-----+-----+--------------------
 *   | header | entries |  p  |  q  |  r  | ...                     one write, one flush, if it fits
 *   +--------+---------+-----+-----+-----+--------------------
 *
 * Each record reserves the place of the next but one, right behind itself if it can: so odd and even records fill two
 * stretches of the volume without holes.
 *
 * Until the flush returns, any subset of the sectors may have reached the disk; recovery believes the record only if
 * its own sum and that of every page it carries are right (recover.c). What does not fit goes first: pages and the rest
 * of the record into free blocks, flush, then the record's first block. A crash before that block is whole leaves the
 * version before; everything written so far lies in blocks that are free for it.
 *
 * Of a page that has changed little since its block was written the record itself has what changed (patch.h), if the commit is not large.
 *
 * Changes come in batches (struct change_source). Of one that is not the last, or does not fit, the pages are written at once
 * and only its entries kept, as the bytes they will be in the record: so a commit of any size takes the memory of a batch,
 * and 8 bytes or so a page.
 *
 * In memory nothing changes until the record is durable. A failed write of the record leaves the truth unknown: the
 * volume is poisoned until it is opened again. A failure before that gives the blocks back, and the next commit may
 * succeed.
 */
#include "volume/prune.h"
#include "volume/retention.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { AHEAD_BLOCKS = 128 };
/* A commit of so many changes may have patches, or of one in four pages of the version, up to a quarter of what bases hold. Where more
 * change each time, patches are soon full of granules, and pages one behind the other are written faster. */
enum { PATCHED_LEAST = 256, PATCHED_PART = 4, PATCHED_MOST = 8192 };

struct commit {
	struct chain *c;
	struct change_source *source;
	uint64_t chunk_pages;

	struct record_entry *entry; /* of the batch */
	const void **data;          /* for each entry: page to write, or NULL */
	size_t room;                /* for so many */
	uint32_t entries;
	uint64_t stored; /* pages to write */
	bool may_patch;
	unsigned char **patch; /* those of the entries, in their order, malloced, until the map takes them over */
	size_t patches;
	uint64_t patch_bytes;

	uint64_t changes, data_blocks, deads, pages; /* so far; pages: of the version */
	uint32_t record_entries;
	struct record *r; /* header and entries as bytes; c->buffer if it fits in its place */
	struct entry_writer writer;
	uint64_t record_room, record_blocks;
	struct block_run taken[RECORD_RUNS_MAX - 1]; /* for continuation of the record */
	unsigned taken_count;
	struct block_run *page_run; /* for pages outside the place */
	size_t page_runs;
	uint64_t in_place;     /* blocks of the place that are used */
	struct block_run rest; /* those that are not */
	struct block_run next; /* for the record after the next: `rest`, made longer, or another run */
};

uint64_t spm_page_sum(const void *page)
{
	return XXH3_64bits(page, SPM_PAGE_BYTES);
}

static void content_compare(const struct chain *c, struct page_change *ch)
{
	struct place room;
	const struct place *was = spm_map_get(&c->map, ch->page, &room);

	ch->is_stored = false;
	if (!ch->data || ch->is_removed)
		return;
	if (!ch->has_sum)
		ch->sum = spm_page_sum(ch->data);
	ch->is_stored = !was || !was->block || was->sum != ch->sum;
}

/* If one page of a chunk is written, all are that the caller has given: so they lie together. */
static void chunk_complete(struct page_change *changes, size_t n)
{
	bool is_any_stored = false;

	for (size_t i = 0; i < n; i++)
		is_any_stored |= changes[i].is_stored;
	for (size_t i = 0; i < n && is_any_stored; i++)
		changes[i].is_stored = changes[i].data && !changes[i].is_removed;
}

static void chunks_complete(struct page_change *changes, size_t n, uint64_t chunk_pages)
{
	for (size_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && changes[to].page / chunk_pages == changes[from].page / chunk_pages;)
			to++;
		chunk_complete(changes + from, to - from);
	}
}

/* Turns a change into an entry (its block still open); false if it changes nothing. */
static bool entry_make(const struct chain *c, const struct page_change *ch, struct record_entry *e)
{
	struct place room;
	const struct place *was = spm_map_get(&c->map, ch->page, &room);
	uint64_t seq = c->seq + 1;

	*e = (struct record_entry){.page = ch->page};
	if (was)
		e->was = *was;
	e->was.granules = 0;
	e->was.patch = NULL;
	if (ch->is_removed)
		return was != NULL;
	e->is = was ? *was : (struct place){.birth = seq};
	e->is.patch = NULL; /* as it was */
	e->is.meta = ch->meta;
	if (ch->meta.page_in_span)
		memset(&e->is.meta.live, 0, sizeof(e->is.meta.live));
	if (ch->is_stored)
		e->is = (struct place){.block = 1, .sum = ch->sum, .birth = seq, .meta = e->is.meta};
	return ch->is_stored || !spm_place_is(&e->was, &e->is);
}

int spm_chain_would_change(struct chain *c, struct change_source *source)
{
	struct page_change *changes;
	struct record_entry e;
	bool would = false;
	int err = 0;
	size_t n;

	pthread_mutex_lock(&c->lock);
	while (!err && !would && !source->is_over) {
		err = source->next(source, &changes, &n);
		for (size_t i = 0; i < n && !err && !would; i++) {
			content_compare(c, &changes[i]);
			would = entry_make(c, &changes[i], &e);
		}
	}
	pthread_mutex_unlock(&c->lock);
	return err ? err : would;
}

/* The next of the entries is one. */
static void entry_count(struct commit *k, const void *data)
{
	const struct record_entry *e = &k->entry[k->entries];

	k->data[k->entries++] = data;
	k->stored += data != NULL;
	k->deads += e->was.block && e->was.block != e->is.block;
	k->pages += (uint64_t)(e->is.birth != 0) - (uint64_t)(e->was.birth != 0);
}

/* Maps have them all: so their weight bounds what a map costs, and memory. */
static uint64_t patch_bytes_most(const struct chain *c)
{
	return (UINT64_C(1) << 20) + c->map.pages * (SPM_PAGE_BYTES / 16);
}

static int patch_keep(struct commit *k, unsigned char *patch)
{
	unsigned char **more;

	if ((k->patches & (k->patches + 1)) == 0) { /* full: 0, 1, 3, 7, ... */
		more = realloc(k->patch, (k->patches * 2 + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		k->patch = more;
	}
	k->patch[k->patches++] = patch;
	return 0;
}

/* A block of whose page little has changed stays, and the entry tells what has. */
static int patch_make(struct commit *k, struct page_change *ch, struct record_entry *e)
{
	const struct place *was = &e->was;
	uint32_t granules;
	unsigned char *patch;

	if (!was->block || !spm_bases_compare(k->c->bases, was->block, was->birth, ch->data, &granules) ||
	    k->c->map.patch_bytes + k->patch_bytes + spm_patch_bytes(granules) > patch_bytes_most(k->c))
		return 0;
	e->is.block = was->block;
	e->is.birth = was->birth;
	ch->is_stored = false;
	if (!granules) /* as it was when the block was written */
		return 0;
	patch = malloc(spm_patch_bytes(granules));
	if (!patch || patch_keep(k, patch)) {
		free(patch);
		return -ENOMEM;
	}
	spm_patch_cut(ch->data, granules, patch);
	e->is.granules = granules;
	e->is.patch = patch;
	k->patch_bytes += spm_patch_bytes(granules);
	return 0;
}

static bool is_few(const struct chain *c, size_t changes)
{
	return changes <= PATCHED_LEAST || (changes <= PATCHED_MOST && changes <= c->map.pages / PATCHED_PART);
}

/* Of the first batch: whether it, or, if there are more, all of them, have few enough changes. */
static bool may_patch(struct commit *k, size_t n)
{
	struct chain *c = k->c;
	size_t all = k->source->is_over ? n : k->source->changes_most;

	if (!is_few(c, all) || k->chunk_pages > 1 || c->volume->super.version < FORMAT_VERSION_PATCHES)
		return false;
	if (!c->bases)
		c->bases = spm_bases_new();
	return c->bases != NULL;
}

static int entries_make(struct commit *k, struct page_change *changes, size_t n)
{
	int err = 0;

	k->entries = 0;
	k->stored = 0;
	if (!k->changes)
		k->may_patch = may_patch(k, n);
	for (size_t i = 0; i < n; i++) {
		if (!spm_map_page_is_possible(changes[i].page))
			return -EINVAL;
		content_compare(k->c, &changes[i]);
	}
	if (k->chunk_pages > 1)
		chunks_complete(changes, n, k->chunk_pages);
	for (size_t i = 0; i < n && !err; i++) {
		if (!entry_make(k->c, &changes[i], &k->entry[k->entries]))
			continue;
		if (k->may_patch && changes[i].is_stored)
			err = patch_make(k, &changes[i], &k->entry[k->entries]);
		entry_count(k, changes[i].is_stored ? changes[i].data : NULL);
	}
	k->changes += n;
	k->data_blocks += k->stored;
	k->record_entries += k->entries;
	return err;
}

static int batch_room(struct commit *k, size_t n)
{
	if (k->entry && n <= k->room)
		return 0;
	free(k->entry);
	free(k->data);
	k->entries = 0;
	k->entry = malloc((n + 1) * sizeof(*k->entry));
	k->data = malloc((n + 1) * sizeof(*k->data));
	k->room = n;
	return k->entry && k->data ? 0 : -ENOMEM;
}

/* Room in map and lists for what accept adds, so that it can't fail. */
static int lists_prepare(struct commit *k)
{
	for (uint32_t i = 0; i < k->entries; i++)
		if (!spm_map_make(&k->c->map, k->entry[i].page))
			return -ENOMEM;
	return spm_lists_prepare(k->c, k->deads, 1);
}

static int batch_next(struct commit *k)
{
	struct page_change *changes;
	size_t n;
	int err = k->source->next(k->source, &changes, &n);

	if (err)
		return spm_volume_fail(err, "its pages could not be had: %s", strerror(-err));
	err = batch_room(k, n);
	if (!err)
		err = entries_make(k, changes, n);
	return err ? err : lists_prepare(k);
}

static void entries_put(const struct commit *k, struct entry_writer *w)
{
	for (uint32_t i = 0; i < k->entries; i++)
		spm_entry_put(w, &k->entry[i]);
}

static uint64_t blocks_of(uint64_t bytes)
{
	return (bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES;
}

static bool next_is_rest(const struct commit *k)
{
	return k->next.blocks && k->next.block == k->rest.block;
}

static void give_back(struct commit *k)
{
	for (unsigned i = 0; i < k->taken_count; i++)
		spm_free_give(k->c, k->taken[i].block, k->taken[i].blocks);
	for (size_t i = 0; i < k->page_runs; i++)
		spm_free_give(k->c, k->page_run[i].block, k->page_run[i].blocks);
	if (next_is_rest(k))
		spm_free_give(k->c, k->rest.block + k->rest.blocks, k->next.blocks - k->rest.blocks);
	else
		spm_free_give(k->c, k->next.block, k->next.blocks);
}

/* The pages' blocks follow each other, from `block` on. */
static void blocks_assign(struct commit *k, uint64_t block)
{
	for (uint32_t i = 0; i < k->entries; i++)
		if (k->data[i])
			k->entry[i].is.block = block++;
}

/* Commits differ: those that write many pages make room for the next ones of patches. What places are for follows the largest of the
 * latest. */
static void place_note(struct chain *c, uint64_t blocks)
{
	uint64_t before = c->place_blocks - (c->place_blocks + 15) / 16;

	if (blocks <= PLACE_BLOCKS)
		c->place_blocks = blocks > before ? blocks : before;
}

/* Pages that are written may be patched from now on. If the commit fails, all is forgotten: others will get these blocks, as of the same
 * birth. */
static void bases_note(struct commit *k)
{
	for (uint32_t i = 0; i < k->entries && k->may_patch; i++)
		if (k->data[i])
			spm_bases_note(k->c->bases, k->entry[i].is.block, k->entry[i].is.birth, k->data[i]);
}

static void bases_forget(struct commit *k)
{
	spm_bases_free(k->c->bases);
	k->c->bases = NULL;
}

/* Whether the record with its pages behind it fits. How long it is does not depend on where it lies: a run has pages that
 * this record writes, or none of them. */
static bool fits_in_place(struct commit *k)
{
	uint64_t most = k->c->next[0].blocks;
	struct entry_writer w = {.bytes = RECORD_HEADER_BYTES};

	if (!k->source->is_over || k->stored >= PLACE_BLOCKS)
		return false;
	blocks_assign(k, 1);
	entries_put(k, &w);
	k->record_blocks = blocks_of(w.bytes);
	place_note(k->c, k->record_blocks + k->stored);
	return k->record_blocks + k->stored <= (most < PLACE_BLOCKS ? most : PLACE_BLOCKS);
}

/* Pages follow the record in its place; the buffer is that stretch of the volume. */
static void place_inline(struct commit *k)
{
	uint64_t at = k->record_blocks;

	k->r = (void *)k->c->buffer;
	memset(k->r, 0, RECORD_HEADER_BYTES);
	blocks_assign(k, k->c->next[0].block + at);
	bases_note(k);
	k->writer = (struct entry_writer){.to = (unsigned char *)k->r, .bytes = RECORD_HEADER_BYTES};
	entries_put(k, &k->writer);
	for (uint32_t i = 0; i < k->entries; i++)
		if (k->data[i])
			memcpy((unsigned char *)k->r + at++ * SPM_BLOCK_BYTES, k->data[i], SPM_BLOCK_BYTES);
	k->r->run[0] = (struct block_run){k->c->next[0].block, k->record_blocks};
	k->r->run_count = 1;
	k->in_place = at;
}

/* How many pages, from that of entry i on, follow each other in memory. */
static uint64_t pages_together(const struct commit *k, uint32_t i, uint64_t most)
{
	const unsigned char *first = k->data[i];
	uint64_t n = 1;

	while (n < most && ++i < k->entries) {
		if (!k->data[i])
			continue;
		if (k->data[i] != first + n * SPM_BLOCK_BYTES)
			break;
		n++;
	}
	return n;
}

/* Gives the next pages, up to *n, the blocks from `block` on; returns where they lie together, and how many in *n. Those that have
 * patched ones between them are brought together in the chain's buffer: a write takes as long as copying 20 pages or more. */
static const void *pages_gather(struct commit *k, uint32_t *i, uint64_t block, uint64_t *n)
{
	enum { ENOUGH = 16 };
	unsigned char *to = NULL;
	const void *from;
	uint64_t together;

	while (!k->data[*i])
		++*i;
	from = k->data[*i];
	together = pages_together(k, *i, *n);
	if (together < ENOUGH && together < *n) {
		from = to = k->c->buffer;
		together = *n < PLACE_BLOCKS ? *n : PLACE_BLOCKS;
	}
	*n = together;
	for (uint64_t done = 0; done < together; ++*i) {
		if (!k->data[*i])
			continue;
		if (to)
			memcpy(to + done * SPM_BLOCK_BYTES, k->data[*i], SPM_BLOCK_BYTES);
		k->entry[*i].is.block = block + done++;
	}
	return from;
}

/* Writes pages i.. of the entries into the run. */
static int pages_write(struct commit *k, uint32_t *i, struct block_run run)
{
	int err = 0;

	for (uint64_t done = 0, n; done < run.blocks && !err; done += n) {
		const void *from;

		n = run.blocks - done;
		from = pages_gather(k, i, run.block + done, &n);
		err = spm_blocks_write(k->c->volume, run.block + done, from, n);
	}
	return err;
}

static int run_note(struct commit *k, struct block_run run)
{
	struct block_run *last = k->page_runs ? &k->page_run[k->page_runs - 1] : NULL, *more;

	if (last && last->block + last->blocks == run.block) {
		last->blocks += run.blocks;
		return 0;
	}
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

/* By how many blocks to grow for what is left of this batch, the batches to come, if they are like those before, and, of a large
 * commit, the record: or its end would wait for the zeros that space for small commits gets. */
static uint64_t blocks_wanted(const struct commit *k, uint64_t left)
{
	uint64_t most = k->source->changes_most;
	uint64_t to_come = most > k->changes ? (most - k->changes) * k->data_blocks / k->changes : 0;
	uint64_t all = k->data_blocks + to_come;

	return left + to_come + (all < EXTENT_BLOCKS ? 0 : all / 256 + EXTENT_BLOCKS);
}

static int pages_place_outside(struct commit *k)
{
	uint64_t left = k->stored;
	uint32_t i = 0;

	while (left) {
		struct block_run run;
		int err = spm_free_take_bulk(k->c, left, blocks_wanted(k, left), &run);

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

static int record_grow(struct commit *k, uint64_t bytes)
{
	uint64_t room = blocks_of(k->record_room * 2 + bytes) * SPM_BLOCK_BYTES;
	struct record *more = aligned_alloc(SPM_BLOCK_BYTES, room);

	if (!more)
		return -ENOMEM;
	if (k->r)
		memcpy(more, k->r, k->writer.bytes);
	else
		memset(more, 0, RECORD_HEADER_BYTES);
	free(k->r);
	k->r = more;
	k->record_room = room;
	if (!k->writer.bytes)
		k->writer.bytes = RECORD_HEADER_BYTES;
	k->writer.to = (unsigned char *)more;
	return 0;
}

/* Writes the batch's pages, and keeps its entries for the record. */
static int batch_place_outside(struct commit *k)
{
	uint64_t bytes =
	        RECORD_HEADER_BYTES + k->writer.bytes + k->entries * (uint64_t)ENTRY_BYTES_MOST + k->patch_bytes;
	int err = pages_place_outside(k);

	if (!err && bytes > k->record_room)
		err = record_grow(k, bytes);
	if (err)
		return err;
	bases_note(k);
	entries_put(k, &k->writer);
	return 0;
}

static int batches_place_outside(struct commit *k)
{
	int err = batch_place_outside(k);

	while (!err && !k->source->is_over) {
		err = batch_next(k);
		if (!err)
			err = batch_place_outside(k);
	}
	return err;
}

/* Blocks for all of the record but the first. */
static int record_place_outside(struct commit *k)
{
	uint64_t bytes = k->writer.bytes;
	int err;

	k->record_blocks = blocks_of(bytes);
	memset((unsigned char *)k->r + bytes, 0, k->record_blocks * SPM_BLOCK_BYTES - bytes);
	err = spm_free_take_few(k->c, k->record_blocks - 1, RECORD_RUNS_MAX - 1, k->taken, &k->taken_count);
	k->r->run[0] = (struct block_run){k->c->next[0].block, 1};
	memcpy(k->r->run + 1, k->taken, k->taken_count * sizeof(*k->taken));
	k->r->run_count = 1 + k->taken_count;
	k->in_place = 1;
	return err;
}

/* The place for the record after the next: right behind this one, or, where that is taken, wherever a commit like the latest
 * ones fits. */
static int next_reserve(struct commit *k)
{
	struct chain *c = k->c;
	uint64_t least = c->place_blocks > PLACE_LEAST_BLOCKS ? c->place_blocks : PLACE_LEAST_BLOCKS;
	int err = 0;

	k->rest = (struct block_run){c->next[0].block + k->in_place, c->next[0].blocks - k->in_place};
	k->next = k->rest;
	if (k->rest.blocks)
		spm_free_extend(c, PLACE_BLOCKS, &k->next);
	if (k->next.blocks < least) {
		spm_free_give(c, k->next.block + k->rest.blocks, k->next.blocks - k->rest.blocks);
		err = spm_free_take_place(c, least, PLACE_LEAST_BLOCKS, PLACE_BLOCKS, &k->next);
		if (err)
			k->next = k->rest; /* small, but a place if not empty */
	}
	return k->next.blocks ? 0 : err;
}

static int rest_write(struct commit *k)
{
	uint64_t done = 1;

	for (unsigned i = 0; i < k->taken_count; i++) {
		int err = spm_blocks_write(k->c->volume, k->taken[i].block,
		                           (unsigned char *)k->r + done * SPM_BLOCK_BYTES, k->taken[i].blocks);

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
	uint64_t number = info->version;

	r->magic = FORMAT_RECORD_MAGIC;
	r->entries = k->record_entries;
	r->bytes = k->writer.bytes;
	r->chain_id = c->id;
	r->seq = c->seq + 1;
	r->epoch = (uint32_t)c->head.epoch;
	r->prev_sum = c->last_sum;
	r->durable_seq = c->seq;
	r->next[0] = c->next[1];
	r->next[1] = k->next;
	info->parent = c->newest.version;
	info->version = number > info->parent ? number : info->parent + 1;
	info->pages = k->pages;
	info->stored_pages = k->data_blocks + k->patches;
	info->stored_bytes = (k->data_blocks + k->record_blocks) * SPM_BLOCK_BYTES;
	r->info = *info;
}

static int record_write(struct commit *k, bool is_inline)
{
	int err = 0;

	k->r->is_data_durable = !is_inline;
	k->r->sum = 0;
	k->r->sum = spm_block_sum(k->r, k->r->bytes, offsetof(struct record, sum));
	if (!is_inline) {
		err = rest_write(k);
#ifndef SPM_BREAK_FLUSH /* for the test that proves the power-cut simulator: a flush forgotten */
		if (!err)
			err = spm_volume_flush(k->c->volume);
#endif
		if (err)
			return err;
	}
	return spm_blocks_write_durable(k->c->volume, k->c->next[0].block, k->r, is_inline ? k->in_place : 1);
}

static void entry_accept(struct commit *k, const struct record_entry *e)
{
	struct chain *c = k->c;

	spm_map_set(&c->map, spm_map_make(&c->map, e->page), &e->is);
	if (e->was.block != e->is.block)
		SPM_CHECK(!spm_dead_add(c, &e->was, k->r->seq));
}

/* The map takes over the patches. */
static void entries_accept(struct commit *k)
{
	struct entry_cursor at = record_entries(k->r);
	size_t patch = 0;

	while (spm_entry_next(&at)) {
		if (at.entry.is.patch)
			at.entry.is.patch = k->patch[patch++];
		entry_accept(k, &at.entry);
	}
	SPM_CHECK(!at.is_broken && patch == k->patches);
	k->patches = 0;
}

/* The record is durable: what it says is so. */
static void accept(struct commit *k, struct version_info *info)
{
	struct chain *c = k->c;
	struct record_place place = {k->r->seq, c->next[0].block, k->r->run_count == 1 ? k->record_blocks : 0};

	entries_accept(k);
	SPM_CHECK(!spm_record_add(c, &place));
	SPM_CHECK(!spm_kept_add_newest(&c->history, k->r->seq, info->time_ns));
	if (!next_is_rest(k))
		spm_free_give(c, k->rest.block, k->rest.blocks);
	c->next[0] = c->next[1];
	c->next[1] = k->next;
	c->seq = k->r->seq;
	c->last_sum = k->r->sum;
	SPM_CHECK(c->map.pages == info->pages);
	c->newest = *info;
	c->record_bytes_since_map += k->r->bytes;
}

static int commit_finish(struct commit *k, bool is_inline, struct version_info *info)
{
	int err = next_reserve(k);

	if (err)
		return err;
	header_fill(k, info);
	return record_write(k, is_inline);
}

static int commit_write(struct commit *k, bool force, struct version_info *info)
{
	int err = batch_next(k);
	bool is_inline = !err && fits_in_place(k);

	if (!err && !is_inline)
		err = batches_place_outside(k);
	if (!err && !k->record_entries && !force && k->c->newest.version) {
		*info = k->c->newest;
		return 0;
	}
	if (!err && is_inline)
		place_inline(k);
	else if (!err)
		err = record_place_outside(k);
	if (!err)
		err = commit_finish(k, is_inline, info);
	if (!err) {
		accept(k, info);
		return 0;
	}
	give_back(k);
	bases_forget(k);
	return err;
}

static void commit_end(struct commit *k)
{
	if ((unsigned char *)k->r != k->c->buffer)
		free(k->r);
	for (size_t i = 0; i < k->patches; i++)
		free(k->patch[i]);
	free(k->patch);
	free(k->entry);
	free(k->data);
	free(k->page_run);
}

/* So many bytes of records may be without a map at least. Names are read again and again, by each who asks what a ref means. */
static uint64_t mapless_least(const struct chain *c)
{
	if (c->volume->flags & VOLUME_EAGER)
		return 1 << 12;
	return *c->branch ? 1 << 20 : 1 << 14;
}

/* Recovery replays what has come since: no more than about what the map itself takes. */
static bool wants_map(const struct chain *c, unsigned weight)
{
	uint64_t state = spm_map_weight(c), least = mapless_least(c);
	uint64_t limit = state > least ? state : least;

	return c->record_bytes_since_map > limit * weight;
}

/* What dropped versions held is free only once an index says so. It costs as much as a few commits do, and more in a large chain, which in
 * turn can do longer without a part of its size: an eighth at most, for then commits wait for the index. */
static bool wants_index(struct chain *c, unsigned weight)
{
	uint64_t part = c->map.pages / 32, least = part > 512 ? part : 512;

	return spm_droppable_blocks(c) > (c->volume->flags & VOLUME_EAGER ? 16u : least) * weight;
}

static bool wants_room(const struct chain *c)
{
	return c->free_blocks < AHEAD_BLOCKS || c->lacks_places;
}

static int commit_locked(struct chain *c, struct change_source *source, bool force, struct version_info *info)
{
	uint64_t number = info->version > c->newest.version ? info->version : c->newest.version + 1;
	struct commit k = {
	        .c = c, .source = source, .chunk_pages = info->chunk_bytes / SPM_PAGE_BYTES, .pages = c->map.pages};
	int err;

	if (number > INT64_MAX) /* recovery would not believe it */
		return spm_volume_fail(
		        -EOVERFLOW,
		        "container %d: branch %s ends with the highest number that a version can have: go on "
		        "with a branch that begins with a lower one",
		        c->magic, c->branch);
	err = spm_chain_settle_locked(c);
	if (!err)
		err = commit_write(&k, force, info);
	commit_end(&k);
	if (err && atomic_load(&c->volume->is_poisoned))
		return spm_volume_fail(err,
		                       "container %d: version %llu could not be written: an earlier write or flush of "
		                       "the volume failed, "
		                       "so what is on the disk is unsure; close the volume and open it again",
		                       c->magic, (unsigned long long)number);
	if (err)
		return spm_volume_fail(err, "container %d: version %llu could not be written: %s", c->magic,
		                       (unsigned long long)number, spm_volume_error_of(err));
	return 0;
}

int spm_chain_commit_from(struct chain *c, struct change_source *source, bool force, struct version_info *info)
{
	bool again;
	int err;

	pthread_mutex_lock(&c->lock);
	err = commit_locked(c, source, force, info);
	again = !err && (wants_map(c, 4) || wants_index(c, 4));
	c->has_work = wants_room(c) || c->is_cold || wants_map(c, 1) || wants_index(c, 1) || spm_has_early_drops(c) ||
	              spm_retention_is_due(c, c->newest.time_ns);
	pthread_mutex_unlock(&c->lock);
	if (again && !pthread_mutex_trylock(&c->maintain_lock)) { /* maintain did not come to it, and is not at it */
		spm_index_write(c, wants_map(c, 1));              /* a failure shows at the next commit */
		pthread_mutex_unlock(&c->maintain_lock);
	}
	return err;
}

struct array_source {
	struct change_source source;
	struct page_change *changes;
};

static int array_next(struct change_source *s, struct page_change **changes, size_t *n)
{
	*changes = ((struct array_source *)s)->changes;
	*n = s->changes_most;
	s->is_over = true;
	return 0;
}

int spm_chain_commit(struct chain *c, struct page_change *changes, size_t n, bool force, struct version_info *info)
{
	struct array_source a = {{.next = array_next, .changes_most = n}, changes};

	return spm_chain_commit_from(c, &a.source, force, info);
}

enum work { WORK_NONE, WORK_GROW, WORK_WARM, WORK_MAP, WORK_INDEX, WORK_NOTE };

static enum work work_next(struct chain *c, bool idle)
{
	enum work work = WORK_NONE;

	pthread_mutex_lock(&c->lock);
	if (wants_room(c))
		work = WORK_GROW;
	else if (c->is_cold)
		work = WORK_WARM;
	else if (wants_map(c, 1))
		work = WORK_MAP;
	else if (wants_index(c, 1) || spm_has_early_drops(c) || spm_retention_is_due(c, spm_now_real_ns()))
		work = WORK_INDEX;
	else if (idle && c->head.durable_seq < c->seq)
		work = WORK_NOTE;
	pthread_mutex_unlock(&c->lock);
	return work;
}

int spm_chain_note_durable(struct chain *c)
{
	struct chain_head head;
	int err;

	pthread_mutex_lock(&c->lock);
	err = spm_chain_settle_locked(c);
	head = c->head;
	head.durable_seq = c->seq;
	pthread_mutex_unlock(&c->lock);
	return err ? err : spm_head_write(c, &head);
}

int spm_chain_maintain(struct chain *c, bool idle, bool *again)
{
	enum work work;
	int err = 0;

	*again = false;
	if (!c->is_writer || (!idle && !c->has_work))
		return 0;
	pthread_mutex_lock(&c->maintain_lock);
	c->has_work = false; /* until the next commit finds some */
	work = work_next(c, idle);
	if (work == WORK_GROW)
		err = spm_free_grow(c);
	else if (work == WORK_WARM)
		spm_free_warm(c);
	else if (work == WORK_MAP || work == WORK_INDEX)
		err = spm_index_write(c, work == WORK_MAP);
	else if (work == WORK_NOTE)
		err = spm_chain_note_durable(c);
	pthread_mutex_unlock(&c->maintain_lock);
	*again = work != WORK_NONE && work != WORK_NOTE;
	c->has_work |= *again;
	return err;
}
