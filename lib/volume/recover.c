/* recover.c - from what is on the disk to the newest version.
 *
 *   head -> index -> newest map -> record, record, record, ... until one is not whole
 *
 * A record counts if and only if its own sum is right, it is this chain's next, it names the sum of the one before, and
 * - unless its pages were flushed before it, or it is known durable (the head or the next record says so) - every page
 * it carries has its sum. The first that does not count, number k, is an unfinished commit, unless something says that
 * k was durable: the head's durable_seq, or a record k + 1 in the other reserved place (written only after k was
 * durable). Then k is damage, and opening fails: an older state is never handed out silently.
 */
#include "volume/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { POPULATE_LEAST = 64 };

bool spm_info_is_sane(const struct version_info *i)
{
	return i->version && i->version <= INT64_MAX && i->input <= INT64_MAX && i->input % 8 == 0 &&
	       !i->branch[sizeof(i->branch) - 1] && !i->name[sizeof(i->name) - 1] &&
	       !i->message[sizeof(i->message) - 1];
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
	return blocks == wanted && r->seq && r->seq <= INT64_MAX && spm_info_is_sane(&r->info);
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
	if (!err && r->bytes != first->bytes)
		err = -EILSEQ;
	if (err)
		free(r);
	else
		*out = r;
	return err == -ENODATA ? -EILSEQ : err;
}

static bool record_sum_is_right(const struct record *r)
{
	return r->sum == spm_block_sum(r, r->bytes, offsetof(struct record, sum));
}

int spm_record_read(struct volume *v, uint64_t block, struct record **out)
{
	struct record *r = aligned_alloc(SPM_BLOCK_BYTES, SPM_BLOCK_BYTES), *whole = NULL;
	int err = r ? spm_blocks_read(v, block, r, 1) : -ENOMEM;

	if (err == -ENODATA || (!err && !record_is_sane(r, block)))
		err = -EILSEQ;
	if (!err && r->bytes > SPM_BLOCK_BYTES) {
		err = record_read_all(v, r, &whole);
		if (!err) {
			free(r);
			r = whole;
		}
	}
	if (!err && !record_sum_is_right(r))
		err = -EILSEQ;
	if (!err)
		*out = r;
	else
		free(r);
	return err;
}

/* These answer yes (0) or no (-EILSEQ); any other error is a failure to find out, which must not pass for a no: what is
 * there would be taken for what never was. */
static int place_is_right(struct volume *v, const struct place *p, unsigned char *buffer)
{
	int err = p->block ? spm_blocks_read(v, p->block, buffer, 1) : 0;

	if (err)
		return err == -ENODATA ? -EILSEQ : err;
	return !p->block || spm_page_finish(buffer, p->granules, p->patch, p->sum) ? 0 : -EILSEQ;
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
int spm_record_counts(struct chain *c, const struct record *r)
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

/* The next record, if it counts: 0; -EILSEQ if not. */
static int record_next(struct replay *replay, struct record **out)
{
	struct record *r;
	int err = spm_replay_read(replay, &r);

	if (err)
		return err;
	err = spm_record_counts(replay->c, r);
	if (err)
		free(r);
	else
		*out = r;
	return err;
}

/* What it has written is not free; what it did without has died. */
static int record_use(struct chain *c, const struct record *r)
{
	bool is_new = r->seq > c->index_seq;
	struct entry_cursor e = record_entries(r);
	struct source_run run;
	int err = 0;

	for (unsigned i = 0; i < r->run_count && !err && is_new; i++)
		err = spm_free_use(c, r->run[i].block, r->run[i].blocks);
	while (!err) {
		const struct place *is = &e.entry.is, *was = &e.entry.was;

		if (spm_entry_run(&e, &run)) {
			err = run.block && run.birth == r->seq && is_new ? spm_free_use(c, run.block, run.pages) : 0;
			continue;
		}
		if (!spm_entry_next(&e))
			break;
		if (is->block && is->birth == r->seq && is_new)
			err = spm_free_use(c, is->block, 1);
		if (!err && was->block != is->block)
			err = spm_dead_add(c, was, r->seq);
	}
	return err;
}

static int record_take(struct chain *c, struct replay *replay, const struct record *r, bool is_kept)
{
	struct record_place place = {r->seq, replay->next[0].block, r->run_count == 1 ? r->run[0].blocks : 0};
	int err = spm_replay_apply(replay, r, is_kept);

	if (!err && c->is_writer)
		err = record_use(c, r);
	if (!err && c->is_writer)
		err = spm_record_add(c, &place);
	if (!err && r->seq > c->index_seq)
		err = spm_kept_add_newest(&c->history, r->seq, r->info.time_ns);
	c->record_bytes_since_map += r->bytes;
	return err == -ENOMEM || !err ? err : -EUCLEAN;
}

static void newest_note(struct chain *c, const struct replay *r)
{
	c->seq = r->seq;
	c->last_sum = r->sum;
	c->newest = r->info;
	memcpy(c->next, r->next, sizeof(c->next));
}

/* Does anything say that record seq + 1 was durable? */
int spm_next_was_durable(struct chain *c)
{
	struct record *r;
	int err;

	if (c->head.durable_seq > c->seq || c->index_seq > c->seq) /* an index tells of durable versions only */
		return 0;
	err = spm_record_read(c->volume, c->next[1].block, &r);
	if (err)
		return err;
	if (!spm_record_is_ours(c, r, c->seq + 2) || r->durable_seq <= c->seq)
		err = -EILSEQ;
	free(r);
	return err;
}

/* 0: there was a record behind the one that was reached, and is not any more; -EILSEQ: there was none. */
static int next_is_lost(struct replay *r)
{
	if (r->segment->e.last != UINT64_MAX)
		return 0;
	newest_note(r->c, r);
	return spm_next_was_durable(r->c);
}

int spm_replay_step(struct replay *r)
{
	bool is_newest = r->segment->e.last == UINT64_MAX, is_kept;
	struct record *record;
	int err;

	if (r->seq == r->segment->e.last)
		return -ENOENT;
	err = is_newest ? record_next(r, &record) : spm_replay_read(r, &record);
	if (err == -EILSEQ) {
		err = next_is_lost(r);
		return err == -EILSEQ ? -ENOENT : err ? err : spm_replay_damaged(r);
	}
	if (err)
		return err;
	is_kept = spm_replay_keeps(r, record);
	err = spm_replay_apply(r, record, is_kept);
	if (!is_kept)
		free(record);
	return err == -EUCLEAN ? spm_replay_damaged(r) : err;
}

/* What lies on the disk of versions after this one must not be taken for versions that are made from now on. It takes
 * effect with the next writing of the head, before anything else is written. This one is kept from now on, if it was dropped. */
static int versions_give_up(struct chain *c)
{
	struct history *h = &c->history;

	c->head.epoch++;
	c->head.epoch_seq = c->seq + 1;
	while (h->kept_count && h->kept[h->kept_count - 1].from > c->seq)
		h->kept_count--;
	if (h->kept_count && h->kept[h->kept_count - 1].to > c->seq)
		h->kept[h->kept_count - 1].to = c->seq;
	return c->seq == c->head.origin_seq || spm_kept_has(h, c->seq)
	               ? 0
	               : spm_kept_add_newest(h, c->seq, c->newest.time_ns);
}

/* Takes in all records that count. 0, or what is wrong with the first that does not: -EILSEQ, or a failure to find out. */
static int records_take(struct chain *c, struct replay *r)
{
	struct nears nears = {.is_dense = true};
	struct record *record;
	bool is_kept;
	int err;

	for (;;) {
		for (unsigned i = 0; i < 2; i++)
			spm_chain_near(c, &nears, r->next[i].block);
		err = record_next(r, &record);
		if (err)
			return err;
		is_kept = spm_replay_keeps(r, record);
		err = record_take(c, r, record, is_kept);
		if (!is_kept)
			free(record);
		if (err == -EUCLEAN)
			return spm_volume_fail(
			        err,
			        "container %d: the record of version %llu (block %llu) contradicts what was "
			        "before; the newest whole version is %llu",
			        c->magic, (unsigned long long)r->info.version, (unsigned long long)c->next[0].block,
			        (unsigned long long)c->newest.version);
		if (err)
			return err;
		newest_note(c, r);
	}
}

static int end_judge(struct chain *c, int err, unsigned flags)
{
	if (flags & CHAIN_NEWEST_WHOLE) {
		if (err != -EILSEQ && err != -EIO)
			return err;
		return versions_give_up(c);
	}
	if (err == -EILSEQ)
		err = spm_next_was_durable(c);
	if (!err)
		return spm_volume_fail(-EUCLEAN,
		                       "container %d: the version after %llu is damaged (its record at block %llu or a "
		                       "page it carries); the "
		                       "newest whole version is %llu: softpm check tells more",
		                       c->magic, (unsigned long long)c->newest.version,
		                       (unsigned long long)c->next[0].block, (unsigned long long)c->newest.version);
	if (err != -EILSEQ)
		return spm_volume_fail(err,
		                       "container %d: whether there is a version after %llu can't be found out: %s; "
		                       "that is the newest known "
		                       "to be whole",
		                       c->magic, (unsigned long long)c->newest.version, spm_volume_error_of(err));
	return 0;
}

int spm_chain_recover(struct chain *c, unsigned flags)
{
	const struct segment *newest = &c->history.segment[c->history.segments - 1];
	struct replay r;
	int err = spm_replay_begin(&r, c, newest, &c->map);

	if (err)
		return err;
	newest_note(c, &r);
	c->deads_from = c->records_from = r.seq + 1;
	err = records_take(c, &r);
	return err == -EUCLEAN || err == -ENOMEM ? err : end_judge(c, err, flags);
}

/* ---- what is needed ---- */

struct needed {
	struct chain *c;
	struct extent *space;
	int err;
};

static int needed_note(struct needed *n, uint64_t block, uint64_t blocks)
{
	for (uint64_t i = 0; i < blocks && !n->err; i++) {
		n->err = spm_space_set(n->space, n->c->extents, block + i, 1);
		if (n->err == -EEXIST) /* several versions need it */
			n->err = 0;
	}
	return n->err;
}

static int place_needed(uint64_t page, const struct place *p, void *arg)
{
	struct needed *n = arg;

	(void)page;
	return p->block && p->birth > n->c->head.origin_seq ? needed_note(n, p->block, 1) : 0;
}

static int runs_needed(struct needed *n, const struct block_run *run, uint64_t runs)
{
	int err = 0;

	for (uint64_t i = 0; i < runs && !err; i++)
		err = needed_note(n, run[i].block, run[i].blocks);
	return err;
}

static int version_needed(struct needed *n, struct replay *r)
{
	return spm_kept_has(&n->c->history, r->seq) ? spm_map_each(r->map, place_needed, n) : 0;
}

static int segment_needed(struct needed *n, const struct segment *s, struct map *map)
{
	struct chain *c = n->c;
	uint64_t last = s->e.last < c->seq ? s->e.last : c->seq;
	struct replay r;
	int err = spm_replay_begin(&r, c, s, map);

	if (!err)
		err = runs_needed(n, s->run, s->e.runs);
	if (!err)
		err = version_needed(n, &r);
	while (!err && r.seq < last) {
		struct record *record;

		err = spm_replay_read(&r, &record);
		if (err)
			break;
		err = runs_needed(n, record->run, record->run_count);
		if (!err)
			err = spm_replay_apply(&r, record, false);
		free(record);
		if (!err)
			err = version_needed(n, &r);
	}
	return err;
}

int spm_space_needed(struct chain *c, struct extent *needed)
{
	struct needed n = {c, needed, 0};
	int err = needed_note(&n, c->head_block, 2);

	for (size_t i = 0; i < c->history.segments && !err; i++) {
		struct map map = {0};

		err = segment_needed(&n, &c->history.segment[i], &map);
		spm_map_free(&map);
	}
	if (!err)
		err = runs_needed(&n, c->head.run, c->head.run_count);
	for (unsigned i = 0; i < 2 && !err; i++)
		err = runs_needed(&n, c->planned[i].run, c->planned[i].runs);
	return err ? err : runs_needed(&n, c->next, 2);
}
