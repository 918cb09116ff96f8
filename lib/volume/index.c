/* index.c - what recovery can't tell from the newest records: where older versions are, which are kept, which blocks are free.
 *
 *   1. choose versions to drop (prune.c)                      2. build map and index in memory, take blocks for them
 *   3. write both, flush     4. write the head (mirrored) that names the index     5. only now free what nobody needs any more
 * Only 2 and 5 hold the chain's lock: commits go on meanwhile, into places that step 2 noted.
 * A crash before 4 leaves the old head, whose index, maps and records are untouched; their blocks are not free until 5. The new
 * index says already that they are: nobody takes them before 5, and after a crash behind 4 they are.
 *
 * The index alone is written when enough blocks wait to become free, with a map when the records since the last one weigh
 * more than it will: so the cost of both stays a constant factor of what commits write, and recovery reads about as much as the
 * map is long.
 */
#include "volume/prune.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { DEADS_MOST = 1 << 20, RECORDS_MOST = 1 << 16 }; /* remembered */

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

/* ---- building ---- */

/* What is written, and what will be so when it is. */
struct plan {
	struct chain *c;
	struct drops *drops;
	struct extent *space; /* free as the index tells it */
	unsigned char *map, *index;
	uint64_t map_bytes, index_bytes;
	struct block_run map_run[HEAD_RUNS_MAX], index_run[HEAD_RUNS_MAX];
	unsigned map_runs, index_runs;
	struct chain_head head;
	uint64_t seq, record_bytes;
	bool has_map;
	bool is_amiss; /* what the disk says would free a block twice, or one that is not ours */
};

struct bytes { /* to: NULL: counts only */
	unsigned char *to;
	uint64_t n;
};

static void put(struct bytes *b, const void *from, size_t n)
{
	if (b->to)
		memcpy(b->to + b->n, from, n);
	b->n += n;
}

static unsigned free_most(const struct extent *e)
{
	return EXTENT_BLOCKS - (e->first % GROUP_BLOCKS ? 0 : GROUP_RESERVED_BLOCKS);
}

static uint64_t space_put(const struct extent *e, size_t n, struct bytes *b)
{
	uint64_t entries = 0;

	for (size_t i = 0, next; i < n; i = next) {
		struct space_entry s = {e[i].first, 1, e[i].free_count ? SPACE_MIXED : SPACE_USED};

		next = i + 1;
		if (e[i].free_count == free_most(&e[i]))
			continue;
		while (s.kind == SPACE_USED && next < n && !e[next].free_count &&
		       e[next].first == e[next - 1].first + EXTENT_BLOCKS)
			next++;
		s.extents = (uint32_t)(next - i);
		put(b, &s, sizeof(s));
		if (s.kind == SPACE_MIXED)
			put(b, e[i].free, sizeof(e[i].free));
		entries++;
	}
	return entries;
}

static void index_put(const struct plan *p, struct bytes *b)
{
	const struct history *h = &p->drops->history;
	struct index head = {FORMAT_INDEX_MAGIC, p->c->id, 0, p->seq, h->segments, h->kept_count, 0};

	b->n = sizeof(head);
	for (size_t i = 0; i < h->segments; i++) {
		put(b, &h->segment[i].e, sizeof(h->segment[i].e));
		put(b, h->segment[i].run, h->segment[i].e.runs * sizeof(struct block_run));
	}
	put(b, h->kept, h->kept_count * sizeof(*h->kept));
	head.space = space_put(p->space, p->c->extents, b);
	head.bytes = b->n;
	if (b->to)
		memcpy(b->to, &head, sizeof(head));
}

static void space_free(uint64_t block, uint64_t blocks, void *arg)
{
	struct plan *p = arg;

	p->is_amiss |= spm_space_set(p->space, p->c->extents, block, blocks) != 0;
}

static void runs_give(struct chain *c, const struct block_run *run, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		spm_free_give(c, run[i].block, run[i].blocks);
}

/* Free as it will be: without what the index sets free, the index before, and the places of records, which tell of themselves. */
static int space_plan(struct plan *p)
{
	struct chain *c = p->c;

	free(p->space);
	p->space = malloc((c->extents + 1) * sizeof(*p->space));
	if (!p->space)
		return -ENOMEM;
	memcpy(p->space, c->extent, c->extents * sizeof(*p->space));
	spm_drops_each_block(c, p->drops, space_free, p);
	for (unsigned i = 0; i < c->head.run_count; i++)
		space_free(c->head.run[i].block, c->head.run[i].blocks, p);
	for (unsigned i = 0; i < 2; i++)
		space_free(c->next[i].block, c->next[i].blocks, p);
	return p->is_amiss ? spm_volume_fail(-EUCLEAN,
	                                     "container %d: versions to be dropped claim a block twice, or one that is "
	                                     "not their own: restore the volume from a copy",
	                                     c->magic)
	                   : 0;
}

static uint64_t blocks_of(uint64_t bytes)
{
	return (bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES;
}

/* Its own blocks change what it says, and so its length: room is left for that. */
static int index_plan(struct plan *p)
{
	int err;

	for (uint64_t slack = 512;; slack *= 4) {
		struct bytes b = {0};

		err = space_plan(p);
		if (err)
			return err;
		index_put(p, &b);
		p->index_bytes = b.n + slack;
		p->index_runs = 0;
		err = spm_free_take_few(p->c, blocks_of(p->index_bytes), HEAD_RUNS_MAX, p->index_run, &p->index_runs);
		if (!err)
			err = space_plan(p);
		if (!err)
			index_put(p, &b);
		if (!err && b.n <= p->index_bytes)
			break;
		runs_give(p->c, p->index_run, p->index_runs);
		p->index_runs = 0;
		if (err)
			return err;
	}
	p->index = aligned_alloc(SPM_BLOCK_BYTES, blocks_of(p->index_bytes) * SPM_BLOCK_BYTES);
	if (!p->index)
		return -ENOMEM;
	memset(p->index, 0, blocks_of(p->index_bytes) * SPM_BLOCK_BYTES);
	index_put(p, &(struct bytes){.to = p->index});
	return 0;
}

/* From here on records belong to a new segment. */
static int segment_plan(struct plan *p)
{
	struct chain *c = p->c;
	struct history *h = &p->drops->history;
	struct segment_entry e = {.seq = c->seq,
	                          .last = UINT64_MAX,
	                          .version = c->newest.version,
	                          .time_ns = c->newest.time_ns,
	                          .record_sum = c->last_sum};
	struct block_run *run;
	int err = spm_map_image_make(&c->map, c->id, c->seq, &c->newest, &p->map, &p->map_bytes);

	if (!err)
		err = spm_free_take_few(c, blocks_of(p->map_bytes), HEAD_RUNS_MAX, p->map_run, &p->map_runs);
	if (err)
		return err;
	e.runs = p->map_runs;
	e.map_bytes = p->map_bytes;
	e.map_sum = XXH3_64bits(p->map, p->map_bytes);
	memcpy(e.next, c->next, sizeof(e.next));
	run = malloc(p->map_runs * sizeof(*run));
	if (!run)
		return -ENOMEM;
	memcpy(run, p->map_run, p->map_runs * sizeof(*run));
	err = spm_segment_add(h, &e, run);
	if (err)
		free(run);
	else if (h->segments > 1)
		h->segment[h->segments - 2].e.last = c->seq;
	return err;
}

/* What was committed since the drops were chosen is kept. */
static int history_catch_up(struct plan *p)
{
	struct history *h = &p->drops->history;
	const struct history *now = &p->c->history;

	if (!now->kept_count)
		return 0;
	if (!h->kept_count)
		return spm_kept_add_newest(h, p->c->seq, p->c->newest.time_ns);
	h->kept[h->kept_count - 1].to = p->c->seq;
	return 0;
}

static int plan_make(struct plan *p, bool with_map)
{
	struct chain *c = p->c;
	int err = history_catch_up(p);

	p->seq = c->seq;
	p->record_bytes = c->record_bytes_since_map;
	p->has_map = with_map && p->drops->history.segment[p->drops->history.segments - 1].e.seq < c->seq;
	if (!err && p->has_map)
		err = segment_plan(p);
	if (!err)
		err = index_plan(p);
	if (err) {
		runs_give(c, p->map_run, p->map_runs);
		runs_give(c, p->index_run, p->index_runs);
		return err;
	}
	p->head = c->head;
	p->head.durable_seq = c->seq;
	p->head.index_bytes = p->index_bytes;
	p->head.index_sum = XXH3_64bits(p->index, p->index_bytes);
	memset(p->head.run, 0, sizeof(p->head.run));
	memcpy(p->head.run, p->index_run, p->index_runs * sizeof(*p->index_run));
	p->head.run_count = p->index_runs;
	c->planned[0].run = p->map_run;
	c->planned[0].runs = p->map_runs;
	c->planned[1].run = p->index_run;
	c->planned[1].runs = p->index_runs;
	return 0;
}

/* ---- writing ---- */

static int plan_write(struct plan *p)
{
	int err = p->has_map ? spm_runs_write(p->c->volume, p->map_run, p->map_runs, p->map) : 0;

	if (!err)
		err = spm_runs_write(p->c->volume, p->index_run, p->index_runs, p->index);
	if (!err)
		err = spm_volume_flush(p->c->volume);
	return err ? err : spm_head_write(p->c, &p->head);
}

/* Bounds what is remembered; what is forgotten can be read. */
static void memory_bound(struct chain *c)
{
	size_t deads = c->dead_to - c->dead_from, records = c->record_to - c->record_from;

	if (deads > DEADS_MOST) {
		c->deads_from = c->dead[c->dead_to - DEADS_MOST / 2].death + 1;
		while (c->dead_from < c->dead_to && c->dead[c->dead_from].death < c->deads_from)
			c->dead_from++;
	}
	if (records > RECORDS_MOST) {
		c->record_from = c->record_to - RECORDS_MOST / 2;
		c->records_from = c->record[c->record_from].seq;
	}
}

static void records_forget(struct chain *c, uint64_t seq)
{
	while (c->record_from < c->record_to && c->record[c->record_from].seq <= seq)
		c->record_from++;
	if (c->records_from <= seq)
		c->records_from = seq + 1;
}

/* What commits have done to it since the plan was made is only at its newest end. */
static int history_replace(struct plan *p, struct history *h)
{
	struct chain *c = p->c;
	int err = history_catch_up(p);

	if (!err) {
		*h = c->history;
		c->history = p->drops->history;
		p->drops->history = (struct history){0};
	}
	return err;
}

static void plan_take_effect(struct plan *p, const struct chain_head *before)
{
	struct chain *c = p->c;
	struct history old = {0};
	int err = history_replace(p, &old);

	SPM_CHECK(!err); /* it had a range to extend */
	spm_history_free(&old);
	spm_drops_take_effect(c, p->drops);
	runs_give(c, before->run, before->run_count);
	c->index_seq = p->seq;
	if (p->has_map)
		c->record_bytes_since_map -= p->record_bytes;
	records_forget(c, c->history.segment[0].e.seq);
	memory_bound(c);
}

static int plan_carry_out(struct plan *p, bool with_map)
{
	struct chain *c = p->c;
	struct chain_head before;
	int err;

	pthread_mutex_lock(&c->lock);
	before = c->head;
	err = spm_chain_settle_locked(c);
	if (!err)
		err = plan_make(p, with_map);
	pthread_mutex_unlock(&c->lock);
	if (err)
		return err;
	err = plan_write(p);
	pthread_mutex_lock(&c->lock);
	c->planned[0].runs = c->planned[1].runs = 0;
	if (!err) {
		plan_take_effect(p, &before);
	} else {
		runs_give(c, p->map_run, p->map_runs);
		runs_give(c, p->index_run, p->index_runs);
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

int spm_index_write_with(struct chain *c, bool with_map, struct drops *drops)
{
	struct plan *p = calloc(1, sizeof(*p));
	int err;

	if (!p)
		return -ENOMEM;
	p->c = c;
	p->drops = drops;
	err = plan_carry_out(p, with_map);
	free(p->space);
	free(p->map);
	free(p->index);
	free(p);
	return err;
}

int spm_index_write(struct chain *c, bool with_map)
{
	struct drops drops;
	int err = spm_drops_make(c, false, &drops);

	if (err)
		return err;
	err = spm_index_write_with(c, with_map, &drops);
	spm_drops_end(c, &drops);
	return err;
}

/* ---- loading ---- */

struct bytes_left {
	const unsigned char *at;
	uint64_t n;
};

static const void *take(struct bytes_left *b, uint64_t n, uint64_t of)
{
	const unsigned char *at = b->at;

	if (n > b->n / of)
		return NULL;
	b->at += n * of;
	b->n -= n * of;
	return at;
}

static bool segment_is_sane(const struct chain *c, const struct segment_entry *e)
{
	const struct history *h = &c->history;
	const struct segment_entry *before = h->segments ? &h->segment[h->segments - 1].e : NULL;

	if (e->last < e->seq || (e->last != UINT64_MAX && e->last > INT64_MAX))
		return false;
	if (!e->map_bytes)
		return !before && e->seq == c->head.origin_seq && !e->runs;
	return e->seq > c->head.origin_seq &&
	       (!before || (e->seq > before->seq && e->seq >= before->last && e->version > before->version));
}

static int segment_take(struct chain *c, struct bytes_left *b)
{
	struct segment_entry e;
	const void *from = take(b, 1, sizeof(e)), *runs;
	struct block_run *run;
	int err;

	if (!from)
		return -EUCLEAN;
	memcpy(&e, from, sizeof(e));
	runs = take(b, e.runs, sizeof(*run));
	if (!runs || !segment_is_sane(c, &e))
		return -EUCLEAN;
	run = malloc(e.runs * sizeof(*run) + 1);
	if (!run)
		return -ENOMEM;
	memcpy(run, runs, e.runs * sizeof(*run));
	err = spm_segment_add(&c->history, &e, run);
	if (err)
		free(run);
	return err;
}

static int kept_take(struct history *h, struct bytes_left *b, uint64_t n)
{
	const void *from = take(b, n, sizeof(*h->kept));

	h->kept = from ? malloc(n * sizeof(*h->kept) + 1) : NULL;
	if (!h->kept)
		return from ? -ENOMEM : -EUCLEAN;
	memcpy(h->kept, from, n * sizeof(*h->kept));
	h->kept_count = n;
	for (uint64_t i = 0; i < n; i++) {
		const struct kept_range *k = &h->kept[i];

		if (!k->from || k->from > k->to || k->to > INT64_MAX || (i && k->from <= h->kept[i - 1].to + 1))
			return -EUCLEAN;
	}
	return 0;
}

static int mixed_use(struct chain *c, const struct space_entry *s, const unsigned char *bits)
{
	int err = 0;

	for (unsigned b = s->block % GROUP_BLOCKS ? 0 : GROUP_RESERVED_BLOCKS; b < EXTENT_BLOCKS && !err; b++)
		if (!(bits[b / 8] >> b % 8 & 1) && !spm_is_head_block(c, s->block + b))
			err = spm_free_use(c, s->block + b, 1);
	return err;
}

static int used_use(struct chain *c, const struct space_entry *s)
{
	int err = 0;

	for (uint64_t b = s->block; b < s->block + (uint64_t)s->extents * EXTENT_BLOCKS && !err; b++)
		if (b % GROUP_BLOCKS >= GROUP_RESERVED_BLOCKS && !spm_is_head_block(c, b))
			err = spm_free_use(c, b, 1);
	return err;
}

/* The chain's extents are there, all free. */
static int space_take(struct chain *c, struct bytes_left *b, uint64_t n)
{
	int err = 0;

	for (uint64_t i = 0; i < n && !err; i++) {
		const void *from = take(b, 1, sizeof(struct space_entry)), *bits;
		struct space_entry s;

		if (!from)
			return -EUCLEAN;
		memcpy(&s, from, sizeof(s));
		if (s.block % EXTENT_BLOCKS || !s.extents || (s.kind == SPACE_MIXED && s.extents != 1))
			return -EUCLEAN;
		if (s.kind == SPACE_MIXED) {
			bits = take(b, 1, EXTENT_BLOCKS / 8);
			err = bits ? mixed_use(c, &s, bits) : -EUCLEAN;
		} else {
			err = s.kind == SPACE_USED ? used_use(c, &s) : -EUCLEAN;
		}
	}
	return err == -ENOMEM || !err ? err : -EUCLEAN;
}

/* The newest segment leads on, and the newest version then was kept, unless it was the origin. */
static bool history_is_sane(const struct chain *c, uint64_t seq)
{
	const struct history *h = &c->history;
	const struct segment_entry *newest = &h->segment[h->segments - 1].e;

	if (newest->last != UINT64_MAX || seq < newest->seq || seq > INT64_MAX)
		return false;
	return h->kept_count ? h->kept[0].from > c->head.origin_seq && h->kept[h->kept_count - 1].to == seq
	                     : seq == c->head.origin_seq;
}

static int index_take(struct chain *c, const struct index *k, bool with_space)
{
	struct bytes_left b = {(const unsigned char *)(k + 1), k->bytes - sizeof(*k)};
	struct history *h = &c->history;
	int err = k->segments ? 0 : -EUCLEAN;

	for (uint64_t i = 0; i < k->segments && !err; i++)
		err = segment_take(c, &b);
	if (!err)
		err = kept_take(h, &b, k->kept);
	if (!err && !history_is_sane(c, k->seq))
		err = -EUCLEAN;
	if (!err && with_space)
		err = space_take(c, &b, k->space);
	c->index_seq = k->seq;
	return err;
}

static int index_read(struct chain *c, struct index **out)
{
	uint64_t bytes = c->head.index_bytes, blocks = blocks_of(bytes), size;
	struct index *k;
	int err = spm_volume_bytes(c->volume, &size);

	if (err)
		return err;
	if (bytes < sizeof(*k) || bytes > size)
		return -EUCLEAN;
	k = aligned_alloc(SPM_BLOCK_BYTES, blocks * SPM_BLOCK_BYTES);
	if (!k)
		return -ENOMEM;
	err = spm_runs_read(c->volume, c->head.run, c->head.run_count, k, blocks);
	if (!err && (XXH3_64bits(k, bytes) != c->head.index_sum || k->magic != FORMAT_INDEX_MAGIC ||
	             k->chain_id != c->id || k->bytes > bytes || k->bytes < sizeof(*k)))
		err = -EUCLEAN;
	if (err)
		free(k);
	else
		*out = k;
	return err;
}

/* A chain that never had an index: one segment, which begins with the origin. */
static int origin_begin(struct chain *c)
{
	struct segment_entry e = {.seq = c->head.origin_seq, .last = UINT64_MAX, .version = c->head.origin_version};

	memcpy(e.next, c->head.next, sizeof(e.next));
	c->index_seq = c->head.origin_seq;
	return spm_segment_add(&c->history, &e, NULL);
}

int spm_index_load(struct chain *c, bool with_space)
{
	struct index *k = NULL;
	int err;

	if (!c->head.index_bytes)
		return origin_begin(c);
	err = index_read(c, &k);
	if (!err)
		err = index_take(c, k, with_space);
	free(k);
	if (err == -EUCLEAN)
		spm_volume_fail(
		        err,
		        "container %d: the index of its versions (block %llu) is damaged, and all versions with it: "
		        "restore the volume from a copy",
		        c->magic, (unsigned long long)c->head.run[0].block);
	return err;
}
