/* prune.c - see prune.h. */
#include "volume/prune.h"
#include "volume/pins.h"
#include "volume/refs.h"
#include "volume/retention.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* In one go: so many, and so many of those whose maps must be read. */
enum { DROPS_MOST = 65536, SLOW_DROPS_MOST = 64, EARLY_DROPS_LEAST = 16 };

/* Versions below are not to be kept. */
static uint64_t bound_of(const struct chain *c, const struct history *h)
{
	return spm_kept_nth_newest(h, spm_retention_of(c).versions_kept);
}

/* ---- blocks ---- */

static int run_add(struct drops *d, uint64_t block, uint64_t blocks)
{
	struct block_run *more;

	if (d->runs && d->run[d->runs - 1].block + d->run[d->runs - 1].blocks == block) {
		d->run[d->runs - 1].blocks += blocks;
		return 0;
	}
	if ((d->runs & (d->runs + 1)) == 0) { /* full: 0, 1, 3, 7, ... */
		more = realloc(d->run, (d->runs * 2 + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		d->run = more;
	}
	d->run[d->runs++] = (struct block_run){block, blocks};
	return 0;
}

static int runs_add(struct drops *d, const struct block_run *run, uint64_t n)
{
	int err = 0;

	for (uint64_t i = 0; i < n && !err; i++)
		err = run_add(d, run[i].block, run[i].blocks);
	return err;
}

static bool is_freed(const struct drop *v, uint64_t block, uint64_t birth)
{
	return block && birth > v->before && birth <= v->seq;
}

/* The first death after version seq. */
static size_t death_after(const struct chain *c, uint64_t seq)
{
	size_t low = c->dead_from, high = c->dead_to;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (c->dead[middle].death <= seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct blocks_visit {
	void (*fn)(uint64_t block, uint64_t blocks, void *arg);
	void *arg;
	bool forgets; /* the deaths that it tells of */
};

static void late_deaths_each(struct chain *c, const struct drop *v, const struct blocks_visit *visit)
{
	for (size_t i = death_after(c, v->seq); i < c->dead_to && c->dead[i].death <= v->after; i++) {
		struct dead *k = &c->dead[i];

		if (!is_freed(v, k->block, k->birth))
			continue;
		visit->fn(k->block, 1, visit->arg);
		if (visit->forgets)
			k->block = 0;
	}
}

static void blocks_each(struct chain *c, const struct drops *d, const struct blocks_visit *visit)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->drop[i].is_late)
			late_deaths_each(c, &d->drop[i], visit);
	for (size_t i = 0; i < d->runs; i++)
		visit->fn(d->run[i].block, d->run[i].blocks, visit->arg);
}

void spm_drops_each_block(struct chain *c, const struct drops *d,
                          void (*fn)(uint64_t block, uint64_t blocks, void *arg), void *arg)
{
	blocks_each(c, d, &(struct blocks_visit){fn, arg, false});
}

static void block_free(uint64_t block, uint64_t blocks, void *arg)
{
	spm_free_give(arg, block, blocks);
}

void spm_drops_take_effect(struct chain *c, const struct drops *d)
{
	blocks_each(c, d, &(struct blocks_visit){block_free, c, true});
	while (c->dead_from < c->dead_to && !c->dead[c->dead_from].block)
		c->dead_from++;
}

/* ---- deaths that nobody remembers ---- */

/* Between versions: `at` is the one that was reached. */
struct walk {
	struct replay at;
	struct map map;
	bool is_begun;
};

static void walk_end(struct walk *w)
{
	spm_map_free(&w->map);
	w->is_begun = false;
}

struct compare {
	struct drops *d;
	const struct drop *v;
	struct map *after;
};

static int place_compare(uint64_t page, const struct place *p, void *arg)
{
	struct compare *k = arg;
	struct place room;
	const struct place *after = spm_map_get(k->after, page, &room);

	if (!is_freed(k->v, p->block, p->birth) || (after && after->block == p->block))
		return 0;
	return run_add(k->d, p->block, 1);
}

static int record_walk(struct walk *w, struct drops *d, const struct drop *v)
{
	struct record *record;
	struct entry_cursor e;
	int err = spm_replay_read(&w->at, &record);

	if (err)
		return err;
	e = record_entries(record);
	while (!err && spm_entry_next(&e))
		if (e.entry.was.block != e.entry.is.block && is_freed(v, e.entry.was.block, e.entry.was.birth))
			err = run_add(d, e.entry.was.block, 1);
	if (!err)
		err = spm_replay_apply(&w->at, record, false);
	free(record);
	return err;
}

/* To the next segment's version, whose map is compared. */
static int segment_walk(struct chain *c, struct walk *w, struct drops *d, const struct drop *v)
{
	struct walk next = {.is_begun = true};
	int err = spm_replay_to(&next.at, c, v->after, &next.map);

	if (!err)
		err = spm_map_each(&w->map, place_compare, &(struct compare){d, v, &next.map});
	walk_end(w);
	if (err) {
		walk_end(&next);
		return err;
	}
	*w = next;
	w->at.map = &w->map;
	return 0;
}

/* From v to the kept version after it. The walk may be there already. */
static int early_deaths_find(struct chain *c, struct walk *w, struct drops *d, const struct drop *v)
{
	int err = 0;

	if (w->is_begun && w->at.seq != v->seq)
		walk_end(w);
	if (!w->is_begun) {
		err = spm_replay_to(&w->at, c, v->seq, &w->map);
		w->is_begun = true;
	}
	if (!err && v->after > w->at.segment->e.last)
		return segment_walk(c, w, d, v);
	while (!err && w->at.seq < v->after)
		err = record_walk(w, d, v);
	return err;
}

/* ---- segments ---- */

static size_t record_index(const struct chain *c, uint64_t seq)
{
	return c->record_from + (size_t)(seq - c->records_from);
}

/* Where a record is that nobody remembers must be asked of those before it. What is unreadable stays used. */
static int old_records_free(struct chain *c, struct drops *d, const struct segment *s, uint64_t from, uint64_t to)
{
	uint64_t block = s->e.next[0].block, seq = s->e.seq + 1;
	int err = 0;

	for (; seq <= to && !err; seq++) {
		struct record *record;

		if (spm_record_read(c->volume, block, &record))
			return 0;
		block = record->next[0].block;
		if (!spm_record_is_ours(c, record, seq))
			seq = to;
		else if (seq >= from)
			err = runs_add(d, record->run, record->run_count);
		free(record);
	}
	return err;
}

static int late_record_free(struct chain *c, struct drops *d, uint64_t seq)
{
	struct record_place place;
	struct record *record;
	int err;

	pthread_mutex_lock(&c->lock);
	place = c->record[record_index(c, seq)];
	pthread_mutex_unlock(&c->lock);
	if (place.blocks)
		return run_add(d, place.block, place.blocks);
	if (spm_record_read(c->volume, place.block, &record))
		return 0;
	err = runs_add(d, record->run, record->run_count);
	free(record);
	return err;
}

static int records_free(struct chain *c, struct drops *d, const struct segment *s, uint64_t from, uint64_t to)
{
	int err = 0;

	if (from < c->records_from)
		err = old_records_free(c, d, s, from, to < c->records_from ? to : c->records_from - 1);
	for (uint64_t seq = from > c->records_from ? from : c->records_from; seq <= to && !err; seq++)
		err = late_record_free(c, d, seq);
	return err;
}

/* What of the segment no kept version needs. False: all of it goes. */
static int segment_trim(struct chain *c, struct drops *d, struct segment *s, uint64_t next_seq, bool *is_needed)
{
	uint64_t last = spm_kept_before(&d->history, next_seq), from;
	int err = 0;

	*is_needed = spm_kept_has(&d->history, s->e.seq) || last > s->e.seq;
	if (last > s->e.seq && last + 1 == next_seq && spm_kept_has(&d->history, next_seq))
		last++; /* it tells more of that version than its map does */
	from = *is_needed && last > s->e.seq ? last + 1 : s->e.seq + 1;
	if (from <= s->e.last)
		err = records_free(c, d, s, from, s->e.last);
	if (!err && !*is_needed)
		err = runs_add(d, s->run, s->e.runs);
	if (from <= s->e.last)
		s->e.last = from - 1;
	return err;
}

static int segments_trim(struct chain *c, struct drops *d)
{
	struct history *h = &d->history;
	size_t left = 0;
	int err = 0;

	for (size_t i = 0; i < h->segments; i++) {
		bool is_needed = true;

		if (i + 1 < h->segments && !err)
			err = segment_trim(c, d, &h->segment[i], h->segment[i + 1].e.seq, &is_needed);
		if (is_needed)
			h->segment[left++] = h->segment[i];
		else
			free(h->segment[i].run);
	}
	h->segments = left;
	return err;
}

/* ---- which ---- */

static int drop_add(struct drops *d, uint64_t seq)
{
	struct drop *more;

	if ((d->n & (d->n + 1)) == 0) {
		more = realloc(d->drop, (d->n * 2 + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		d->drop = more;
	}
	d->drop[d->n++] = (struct drop){.seq = seq};
	return 0;
}

/* All that the policy lets go, from the oldest on, as far as they are not kept by name. */
static int candidates_find(struct chain *c, struct drops *d, uint64_t bound, uint64_t late_from)
{
	struct keepers keepers;
	size_t early = 0;
	uint64_t oldest = spm_kept_after(&d->history, 0);
	int err;

	if (!oldest || oldest >= bound)
		return 0;
	err = spm_keepers_find(c, true, &keepers);
	if (err)
		return err == -ENOMEM ? err : 0; /* who can't be asked may need any of them */
	for (uint64_t seq = oldest; seq && seq < bound && !err; seq = spm_kept_after(&d->history, seq)) {
		if (spm_keepers_has(&keepers, seq))
			continue;
		if (!d->is_all && (d->n == DROPS_MOST || early == SLOW_DROPS_MOST)) {
			d->seen = seq;
			break;
		}
		early += seq + 1 < late_from;
		err = drop_add(d, seq);
	}
	spm_keepers_free(&keepers);
	return err;
}

struct age_drops {
	struct drops *d;
	const struct keepers *keepers;
	uint64_t late_from;
	size_t early;
};

/* 1: enough for one round. */
static int age_drop(uint64_t seq, void *arg)
{
	struct age_drops *a = arg;

	if (spm_keepers_has(a->keepers, seq))
		return 0;
	a->early += seq + 1 < a->late_from;
	if (drop_add(a->d, seq))
		return -ENOMEM;
	return !a->d->is_all && (a->early >= SLOW_DROPS_MOST || a->d->n >= DROPS_MOST);
}

/* Behind those that are too many. */
static int old_find(struct chain *c, struct drops *d, uint64_t bound, uint64_t late_from)
{
	struct keepers keepers;
	struct age_drops a = {d, &keepers, late_from, 0};
	int err;

	if (d->seen < bound) /* there is enough for one round */
		return 0;
	err = spm_keepers_find(c, true, &keepers);
	if (err)
		return err == -ENOMEM ? err : 0;
	err = spm_retention_each(c, &d->history, bound, d->is_all, age_drop, &a);
	spm_keepers_free(&keepers);
	return err < 0 ? err : 0;
}

/* Those that somebody reads, or whom somebody gave a name meanwhile, stay. */
static int candidates_seize(struct chain *c, struct drops *d)
{
	struct keepers keepers;
	size_t n = 0;
	int err = 0;

	if (!d->n)
		return 0;
	err = spm_drop_begin(c, d->drop[0].seq, d->drop[d->n - 1].seq);
	for (size_t i = 0; i < d->n && !err; i++)
		if (spm_drop_try(c, d->drop[i].seq))
			d->drop[n++] = d->drop[i];
	d->n = n;
	if (!err)
		err = spm_keepers_find(c, true, &keepers);
	if (err == -ENOMEM)
		return err;
	n = 0;
	for (size_t i = 0; i < d->n; i++) {
		if (err || spm_keepers_has(&keepers, d->drop[i].seq))
			spm_drop_done(c, d->drop[i].seq);
		else
			d->drop[n++] = d->drop[i];
	}
	d->n = n;
	if (!err)
		spm_keepers_free(&keepers);
	return 0;
}

/* In ascending order: then the one before it is kept for good, and the one after it as long as it matters. */
static int candidates_drop(struct chain *c, struct drops *d, uint64_t late_from)
{
	struct walk w = {.is_begun = false};
	int err = 0;

	for (size_t i = 0; i < d->n && !err; i++) {
		struct drop *v = &d->drop[i];
		uint64_t before = spm_kept_before(&d->history, v->seq);

		v->before = before > c->head.origin_seq ? before : c->head.origin_seq;
		v->after = spm_kept_after(&d->history, v->seq);
		v->is_late = v->seq + 1 >= late_from;
		if (!v->is_late)
			err = early_deaths_find(c, &w, d, v);
		if (err && err != -ENOMEM) { /* what can't be read can't be freed, but is not in the way */
			walk_end(&w);
			err = 0;
		}
		if (!err)
			err = spm_kept_remove(&d->history, v->seq);
	}
	walk_end(&w);
	return err;
}

int spm_drops_make(struct chain *c, bool is_all, struct drops *d)
{
	uint64_t bound, late_from;
	size_t chosen;
	int err;

	*d = (struct drops){.is_all = is_all};
	pthread_mutex_lock(&c->lock);
	err = spm_history_copy(&c->history, &d->history);
	bound = bound_of(c, &c->history);
	late_from = c->deads_from;
	pthread_mutex_unlock(&c->lock);
	d->seen = bound;
	if (!err)
		err = candidates_find(c, d, bound, late_from);
	if (!err)
		err = old_find(c, d, bound, late_from);
	chosen = err ? 0 : d->n;
	if (err)
		d->n = 0;
	if (!err)
		err = candidates_seize(c, d);
	if (d->n < chosen)
		spm_retention_forget(c);
	pthread_mutex_lock(&c->lock);
	c->deaths_seen = d->n ? d->seen : bound; /* those that must stay are not asked again and again */
	pthread_mutex_unlock(&c->lock);
	if (!err)
		err = candidates_drop(c, d, late_from);
	if (!err)
		err = segments_trim(c, d);
	if (err)
		spm_drops_end(c, d);
	return err;
}

void spm_drops_end(struct chain *c, struct drops *d)
{
	for (size_t i = 0; i < d->n; i++)
		spm_drop_done(c, d->drop[i].seq);
	spm_drop_end(c);
	spm_history_free(&d->history);
	free(d->drop);
	free(d->run);
	*d = (struct drops){0};
}

/* ---- all at once ---- */

static void blocks_count(uint64_t block, uint64_t blocks, void *arg)
{
	(void)block;
	*(uint64_t *)arg += blocks;
}

/* What looking for versions to drop has noted, so that it need not look again. */
struct looked {
	struct thinned thinned[2];
	uint64_t retention_due_ns, deaths_seen;
};

static struct looked looked_note(struct chain *c)
{
	struct looked l;

	pthread_mutex_lock(&c->lock);
	l = (struct looked){{c->thinned[0], c->thinned[1]}, c->retention_due_ns, c->deaths_seen};
	pthread_mutex_unlock(&c->lock);
	return l;
}

static void looked_undo(struct chain *c, const struct looked *l)
{
	pthread_mutex_lock(&c->lock);
	memcpy(c->thinned, l->thinned, sizeof(c->thinned));
	c->retention_due_ns = l->retention_due_ns;
	c->deaths_seen = l->deaths_seen;
	pthread_mutex_unlock(&c->lock);
}

/* The index on the disk says that nothing of them is in use, and nobody takes of them what the chain has forgotten; until the tables
 * say so, too, a crash leaves them the chain's. */
static int extents_give_back(struct chain *c, struct pruned *out)
{
	uint64_t *first;
	size_t n = 0;
	int err;

	pthread_mutex_lock(&c->lock);
	first = malloc((c->extents + 1) * sizeof(*first));
	if (first)
		n = spm_free_forget(c, first);
	pthread_mutex_unlock(&c->lock);
	err = !first ? -ENOMEM : n ? spm_extents_give(c->volume, c->id, first, n) : 0;
	out->extents = err ? 0 : n;
	free(first);
	return err;
}

static int prune(struct chain *c, bool is_dry, struct pruned *out)
{
	struct looked before = looked_note(c);
	struct drops d;
	int err = spm_drops_make(c, true, &d);

	if (err)
		return err;
	*out = (struct pruned){.versions = d.n};
	pthread_mutex_lock(&c->lock);
	spm_drops_each_block(c, &d, blocks_count, &out->blocks);
	pthread_mutex_unlock(&c->lock);
	if (d.n && !is_dry)
		err = spm_index_write_with(c, false, &d);
	spm_drops_end(c, &d);
	if (!err && !is_dry)
		err = extents_give_back(c, out);
	if (is_dry)
		looked_undo(c, &before);
	return err;
}

int spm_chain_prune(struct chain *c, bool is_dry, struct pruned *out)
{
	int err;

	pthread_mutex_lock(&c->maintain_lock);
	err = prune(c, is_dry, out);
	pthread_mutex_unlock(&c->maintain_lock);
	return err;
}

/* ---- when it is time ---- */

/* The map, and records, of which each has a block at least. */
static uint64_t segment_blocks(const struct segment *s)
{
	uint64_t blocks = s->e.last - s->e.seq;

	for (uint64_t i = 0; i < s->e.runs; i++)
		blocks += s->run[i].blocks;
	return blocks;
}

/* Of segments that no version from the bound on needs, and some did when versions were last dropped. */
static uint64_t droppable_segments(const struct chain *c, uint64_t bound)
{
	const struct segment *s = c->history.segment;
	uint64_t blocks = 0;

	for (size_t i = 0; i + 1 < c->history.segments && s[i + 1].e.seq <= bound; i++)
		blocks += s[i + 1].e.seq > c->deaths_seen ? segment_blocks(&s[i]) : 0;
	return blocks;
}

uint64_t spm_droppable_blocks(struct chain *c)
{
	uint64_t bound = bound_of(c, &c->history);

	if (bound <= c->deaths_seen)
		return 0;
	return death_after(c, bound) - death_after(c, c->deaths_seen) + droppable_segments(c, bound);
}

bool spm_has_early_drops(const struct chain *c)
{
	const struct history *h = &c->history;
	uint64_t bound = bound_of(c, h), to = bound + 1 < c->deads_from ? bound : c->deads_from - 1, n = 0;

	for (size_t i = 0; i < h->kept_count && h->kept[i].from < to; i++) {
		uint64_t from = h->kept[i].from > c->deaths_seen ? h->kept[i].from : c->deaths_seen;
		uint64_t end = h->kept[i].to < to ? h->kept[i].to + 1 : to;

		n += end > from ? end - from : 0;
	}
	return n >= EARLY_DROPS_LEAST;
}
