/* recover.c - from what is on the disk to the newest version.
 *
 *   head -> checkpoint -> record, record, record, ... until one is not whole
 *
 * A record counts if and only if its own sum is right, it is this chain's next, it names the sum of the one before, and
 * - unless its pages were flushed before it, or it is known durable (the head or the next record says so) - every page
 * it carries has its sum. The first that does not count, number k, is an unfinished commit, unless something says that
 * k was durable: the head's durable_seq, or a record k + 1 in the other reserved place (written only after k was
 * durable). Then k is damage, and opening fails: an older state is never handed out silently.
 */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { POPULATE_LEAST = 64 };
static const uint64_t kept_bytes_least = 65536; /* of a record: in smaller ones are too few pages to save anything */

bool spm_info_is_sane(const struct version_info *i, uint64_t seq)
{
	return i->version == seq && seq <= INT64_MAX && !i->branch[sizeof(i->branch) - 1] &&
	       !i->name[sizeof(i->name) - 1] && !i->message[sizeof(i->message) - 1];
}

static bool record_is_sane(const struct record *r, uint64_t block)
{
	uint64_t blocks = 0, wanted = (r->bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES;

	if (r->magic != FORMAT_RECORD_MAGIC || r->bytes < RECORD_HEADER_BYTES || r->bytes > UINT64_MAX / 2)
		return false;
	if (!r->run_count || r->run_count > RECORD_RUNS_MAX || r->run[0].block != block)
		return false;
	for (unsigned i = 0; i < r->run_count; i++) {
		if (!r->run[i].blocks || r->run[i].blocks > wanted)
			return false;
		blocks += r->run[i].blocks;
	}
	return blocks == wanted && spm_info_is_sane(&r->info, r->seq);
}

static int record_read_all(struct volume *v, const struct record *first, struct record **out)
{
	uint64_t blocks = (first->bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES, done = 0, size;
	struct record *r;
	int err = spm_volume_bytes(v, &size);

	if (err)
		return err;
	if (first->bytes > size)
		return -EILSEQ;
	r = aligned_alloc(SPM_BLOCK_BYTES, blocks * SPM_BLOCK_BYTES);
	if (!r)
		return -ENOMEM;
	if (blocks >= POPULATE_LEAST)
		spm_pages_populate(r, blocks * SPM_BLOCK_BYTES, 0, blocks * SPM_BLOCK_BYTES);
	for (unsigned i = 0; i < first->run_count && !err; i++) {
		err = spm_blocks_read(v, first->run[i].block, (unsigned char *)r + done * SPM_BLOCK_BYTES,
		                      first->run[i].blocks);
		done += first->run[i].blocks;
	}
	if (!err && (r->bytes != first->bytes || r->sum != spm_block_sum(r, r->bytes, offsetof(struct record, sum))))
		err = -EILSEQ;
	if (err)
		free(r);
	else
		*out = r;
	return err == -ENODATA ? -EILSEQ : err;
}

int spm_record_read(struct volume *v, uint64_t block, struct record **out)
{
	struct record *first = aligned_alloc(SPM_BLOCK_BYTES, SPM_BLOCK_BYTES);
	int err = first ? spm_blocks_read(v, block, first, 1) : -ENOMEM;

	if (err == -ENODATA || (!err && !record_is_sane(first, block)))
		err = -EILSEQ;
	if (!err)
		err = record_read_all(v, first, out);
	free(first);
	return err;
}

/* These answer yes (0) or no (-EILSEQ); any other error is a failure to find out, which must not pass for a no: what is
 * there would be taken for what never was. */
static int place_is_right(struct volume *v, const struct place *p, unsigned char *buffer)
{
	int err = p->block ? spm_blocks_read(v, p->block, buffer, 1) : 0;

	if (err)
		return err == -ENODATA ? -EILSEQ : err;
	return !p->block || XXH3_64bits(buffer, SPM_BLOCK_BYTES) == p->sum ? 0 : -EILSEQ;
}

/* The record after r says that r was durable when it was written. */
static int is_followed(struct chain *c, const struct record *r)
{
	struct record *next;
	int err = spm_record_read(c->volume, r->next[0].block, &next);

	if (err)
		return err;
	if (!spm_record_is_ours(c, next, r->seq + 1) || next->prev_sum != r->sum || next->durable_seq < r->seq)
		err = -EILSEQ;
	free(next);
	return err;
}

/* Whether every page that the record carries is there. Not asked of records known durable: their pages may have been
 * dropped since and their blocks used again; what the newest version still has of them is verified when it is read. */
static int pages_are_whole(struct chain *c, const struct record *r)
{
#ifdef SPM_BREAK_SUM /* for the test that proves the power-cut simulator: believe anything */
	(void)c, (void)r, (void)place_is_right, (void)is_followed;
	return 0;
#else
	struct entry_cursor e = record_entries(r);
	int err;

	if (r->is_data_durable || r->seq <= c->head.durable_seq)
		return 0;
	err = is_followed(c, r);
	if (err != -EILSEQ)
		return err;
	err = 0;
	while (!err && spm_entry_next(&e))
		if (e.entry.is.birth == r->seq)
			err = place_is_right(c->volume, &e.entry.is, c->buffer);
	return err;
#endif
}

bool spm_record_is_ours(const struct chain *c, const struct record *r, uint64_t seq)
{
	return r->chain_id == c->id && r->seq == seq && (seq < c->head.epoch_seq || r->epoch == c->head.epoch);
}

/* All have been read, and were as many as the record says. */
static bool entries_were_right(const struct record *r, const struct entry_cursor *e, uint64_t entries)
{
	return !e->is_broken && entries == r->entries;
}

/* One page. *left: whether there was one. */
static int entry_take(struct chain *c, const struct record *r, struct entry_cursor *e, bool *left)
{
	int err;

	*left = spm_entry_next(e);
	if (!*left)
		return 0;
	err = spm_map_change(c, e->entry.page, &e->entry.was, &e->entry.is);
	if (!err && e->entry.was.block && e->entry.was.block != e->entry.is.block)
		err = spm_dead_add(c, e->entry.was.block, r->seq);
	return err;
}

static int record_apply(struct chain *c, const struct record *r, bool is_kept, uint64_t block)
{
	struct entry_cursor e = record_entries(r);
	struct source_run run = {0};
	uint64_t entries = 0;
	struct record_place place = {r->seq, r->sum, block, r->run_count == 1 ? r->run[0].blocks : 0};
	int err = spm_record_add(c, &place);

	for (bool left = true; !err && left;) {
		if (spm_entry_run(&e, &run)) {
			err = spm_map_add(c, &run, is_kept);
			entries += run.pages;
			continue;
		}
		err = entry_take(c, r, &e, &left);
		entries += left;
	}
	if (!err && (!entries_were_right(r, &e, entries) || c->pages != r->info.pages))
		err = -EUCLEAN;
	c->seq = r->seq;
	c->last_sum = r->sum;
	c->oldest_kept = r->oldest_kept;
	c->newest = r->info;
	memcpy(c->next, r->next, sizeof(c->next));
	c->record_bytes_since_checkpoint += r->bytes;
	return err;
}

int spm_record_undo(struct chain *c, const struct record *r)
{
	struct entry_cursor e = record_entries(r);
	uint32_t entries = 0;
	int err = 0;

	for (; !err && spm_entry_next(&e); entries++)
		err = spm_map_change(c, e.entry.page, &e.entry.is, &e.entry.was);
	return err || entries_were_right(r, &e, entries) ? err : -EUCLEAN;
}

/* The next record, if it counts: 0; -EILSEQ if not. */
static int record_next(struct chain *c, struct record **out)
{
	struct record *r;
	int err = spm_record_read(c->volume, c->next[0].block, &r);

	if (err)
		return err;
	err = spm_record_is_ours(c, r, c->seq + 1) && r->prev_sum == c->last_sum ? pages_are_whole(c, r) : -EILSEQ;
	if (err)
		free(r);
	else
		*out = r;
	return err;
}

/* Does anything say that record seq + 1 was durable? */
static int next_was_durable(struct chain *c)
{
	struct record *r;
	int err;

	if (c->head.durable_seq > c->seq)
		return 0;
	err = spm_record_read(c->volume, c->next[1].block, &r);
	if (err)
		return err;
	if (!spm_record_is_ours(c, r, c->seq + 2) || r->durable_seq <= c->seq)
		err = -EILSEQ;
	free(r);
	return err;
}

/* What lies on the disk of versions after this one must not be taken for versions that are made from now on. It takes
 * effect with the next writing of the head, before anything else is written. */
static void versions_give_up(struct chain *c)
{
	c->head.epoch++;
	c->head.epoch_seq = c->seq + 1;
}

int spm_chain_recover(struct chain *c, unsigned flags)
{
	struct record *r;
	uint64_t block;
	bool is_kept;
	int err = 0;

	c->oldest_kept = 1;
	memcpy(c->next, c->head.next, sizeof(c->next));
	if (c->head.checkpoint_seq)
		err = spm_checkpoint_load(c);
	if (err)
		return err != -EUCLEAN ? err
		                       : spm_volume_fail(err,
		                                         "container %d: the checkpoint at version %llu (block %llu) is "
		                                         "damaged, and all "
		                                         "versions with it: restore the volume from a copy",
		                                         c->magic, (unsigned long long)c->head.checkpoint_seq,
		                                         (unsigned long long)c->head.run[0].block);
	while (!(block = c->next[0].block, err = record_next(c, &r))) {
		is_kept = r->bytes >= kept_bytes_least && !spm_map_keep(c, r);
		err = record_apply(c, r, is_kept, block);
		if (!is_kept)
			free(r);
		if (err == -ENOMEM)
			return err;
		if (err)
			return spm_volume_fail(
			        err,
			        "container %d: the record of version %llu (block %llu) contradicts the map; the newest "
			        "whole version is %llu",
			        c->magic, (unsigned long long)c->seq, (unsigned long long)block,
			        (unsigned long long)c->seq - 1);
	}
	if (flags & CHAIN_NEWEST_WHOLE) {
		if (err != -EILSEQ && err != -EIO)
			return err;
		versions_give_up(c);
		return 0;
	}
	if (err == -EILSEQ)
		err = next_was_durable(c);
	if (!err)
		return spm_volume_fail(
		        -EUCLEAN,
		        "container %d: version %llu is damaged (its record at block %llu or a page it carries); the "
		        "newest whole version is %llu: softpm check tells more",
		        c->magic, (unsigned long long)c->seq + 1, (unsigned long long)c->next[0].block,
		        (unsigned long long)c->seq);
	if (err != -EILSEQ)
		return spm_volume_fail(
		        err,
		        "container %d: whether there is a version %llu can't be found out: %s; the newest "
		        "version known to be whole is %llu",
		        c->magic, (unsigned long long)c->seq + 1, spm_volume_error_of(err), (unsigned long long)c->seq);
	return 0;
}

struct using
{
	struct chain *c;
	struct block_run run; /* neighbours, still to be marked */
};

static int run_use(const struct source_run *r, bool is_kept, void *arg)
{
	struct using *u = arg;
	int err = 0;

	(void)is_kept;
	if (!r->block)
		return 0;
	if (r->block != u->run.block + u->run.blocks) {
		err = spm_free_use(u->c, u->run.block, u->run.blocks);
		u->run = (struct block_run){r->block, 0};
	}
	u->run.blocks += r->pages;
	return err;
}

static int places_use(struct chain *c)
{
	struct using u = {.c = c};
	int err = spm_map_each_run(c, run_use, &u);

	return err ? err : spm_free_use(c, u.run.block, u.run.blocks);
}

static int records_use(struct chain *c)
{
	struct block_run run[RECORD_RUNS_MAX];
	unsigned n;
	int err = 0;

	for (size_t i = c->record_from; i < c->record_to && !err; i++) {
		err = spm_record_runs(c, &c->record[i], run, &n);
		for (unsigned k = 0; k < n && !err; k++)
			err = spm_free_use(c, run[k].block, run[k].blocks);
	}
	return err;
}

/* Everything that is needed is not free; -EUCLEAN if two need the same block. */
int spm_used_mark(struct chain *c)
{
	int err;

	while (c->dead_from < c->dead_to && c->dead[c->dead_from].death <= c->oldest_kept)
		c->dead_from++;
	while (c->record_from < c->record_to && c->record[c->record_from].seq < c->oldest_kept &&
	       c->record[c->record_from].seq <= c->head.checkpoint_seq)
		c->record_from++;
	err = places_use(c);
	for (size_t i = c->dead_from; i < c->dead_to && !err; i++)
		err = spm_free_use(c, c->dead[i].block, 1);
	if (!err)
		err = records_use(c);
	for (unsigned i = 0; i < c->head.run_count && !err; i++)
		err = spm_free_use(c, c->head.run[i].block, c->head.run[i].blocks);
	for (unsigned i = 0; i < 2 && !err; i++)
		err = c->next[i].blocks ? spm_free_use(c, c->next[i].block, c->next[i].blocks) : -EINVAL;
	if (err == -EINVAL || err == -EEXIST || err == -EILSEQ)
		err = spm_volume_fail(
		        -EUCLEAN,
		        "container %d: its maps claim a block twice or one that is not its own; it can be read "
		        "but not written: restore the volume from a copy",
		        c->magic);
	return err;
}
