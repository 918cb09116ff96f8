/* versions.c - a chain's versions: all of them, newest first, or the newest up to a number or time. Records lead forward only: each
 * segment is gone through from its map on. */
#include "volume/history.h"
#include "volume/refs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct infos {
	struct version_info *info;
	size_t n;
};

static int info_add(struct infos *a, const struct version_info *info)
{
	struct version_info *more;

	if ((a->n & (a->n + 1)) == 0) { /* full: 0, 1, 3, 7, ... */
		more = realloc(a->info, (a->n * 2 + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		a->info = more;
	}
	a->info[a->n++] = *info;
	return 0;
}

struct telling {
	struct chain *c;
	int (*fn)(const struct version_info *info, void *arg);
	void *arg;
	uint64_t from, to; /* seqs to tell of, beside: */
	struct keepers keepers;
};

static bool is_told(const struct telling *t, uint64_t seq)
{
	return (seq >= t->from || spm_keepers_has(&t->keepers, seq)) && seq <= t->to &&
	       spm_kept_has(&t->c->history, seq);
}

/* What only the map tells: the version is kept and its record is not. */
static int map_tell(const struct telling *t, const struct segment *s, struct infos *out)
{
	struct version_info info;
	struct map map = {0};
	int err = spm_map_image_load(t->c, s, &map, &info);

	spm_map_free(&map);
	return err ? err : info_add(out, &info);
}

static int records_tell(const struct telling *t, const struct segment *s, struct infos *out)
{
	uint64_t block = s->e.next[0].block, last = s->e.last < t->to ? s->e.last : t->to;
	int err = 0;

	for (uint64_t seq = s->e.seq + 1; seq <= last && !err; seq++) {
		struct record *r;

		err = spm_record_read(t->c->volume, block, &r);
		if (!err && !spm_record_is_ours(t->c, r, seq)) {
			free(r);
			err = -EILSEQ;
		}
		if (err)
			return err == -EILSEQ
			               ? spm_volume_fail(-EUCLEAN,
			                                 "container %d: the record of a version after %llu (block "
			                                 "%llu) is damaged",
			                                 t->c->magic, (unsigned long long)s->e.version,
			                                 (unsigned long long)block)
			               : err;
		block = r->next[0].block;
		if (is_told(t, seq))
			err = info_add(out, &r->info);
		free(r);
	}
	return err;
}

/* The writer has dropped versions since the chain was opened: what it freed may be written over. */
static bool is_overtaken(struct chain *c)
{
	struct chain_head head;
	uint64_t first;

	return !c->is_writer && spm_head_find(c->volume, c->magic, NULL, c->id, &head, &first) == 1 &&
	       head.index_sum != c->head.index_sum;
}

static int segment_tell(const struct telling *t, const struct segment *s, bool has_own_record)
{
	struct infos infos = {0};
	int result = 0;

	if (s->e.map_bytes && is_told(t, s->e.seq) && !has_own_record)
		result = map_tell(t, s, &infos);
	if (!result)
		result = records_tell(t, s, &infos);
	if (result == -EUCLEAN && is_overtaken(t->c))
		result = 0; /* what is kept comes before what was freed */
	for (size_t i = infos.n; i > 0 && !result; i--)
		result = t->fn(&infos.info[i - 1], t->arg);
	free(infos.info);
	return result;
}

static int own_tell(const struct telling *t)
{
	const struct history *h = &t->c->history;
	int result = 0;
	uint64_t oldest = t->keepers.n && t->keepers.seq[0] < t->from ? t->keepers.seq[0] : t->from;

	for (size_t i = h->segments; i > 0 && !result && h->segment[i - 1].e.last >= oldest; i--)
		if (h->segment[i - 1].e.seq <= t->to)
			result = segment_tell(t, &h->segment[i - 1],
			                      i > 1 && h->segment[i - 2].e.last == h->segment[i - 1].e.seq);
	return result;
}

/* The oldest that is to be kept, as the newest version says. An older one may say something else: there it is what is there. */
static uint64_t oldest_told(const struct chain *c)
{
	return c->is_at_version ? 0 : spm_kept_nth_newest(&c->history, c->newest.versions_kept);
}

int spm_chain_each_version(struct chain *c, int (*fn)(const struct version_info *info, void *arg), void *arg)
{
	struct telling t = {c, fn, arg, oldest_told(c), c->seq, {0}};
	struct chain *parent;
	int result = spm_keepers_find(c, false, &t.keepers);

	if (result)
		return result;
	pthread_mutex_lock(&c->maintain_lock); /* what is there stays there */
	result = own_tell(&t);
	pthread_mutex_unlock(&c->maintain_lock);
	spm_keepers_free(&t.keepers);
	if (result || spm_chain_open_parent(c, &parent))
		return result;
	result = spm_chain_each_version(parent, fn, arg);
	spm_chain_close(parent);
	return result;
}

/* ---- the oldest ---- */

static int oldest_take(const struct version_info *info, void *arg)
{
	*(struct version_info *)arg = *info;
	return 1;
}

static uint64_t oldest_seq(const struct telling *t)
{
	const struct history *h = &t->c->history;
	uint64_t seq = spm_kept_after(h, 0);

	while (seq && !is_told(t, seq))
		seq = spm_kept_after(h, seq);
	return seq;
}

/* Of the writer's chain, what commits do not change while it is looked at. */
static int history_view(struct chain *c, struct chain **out)
{
	struct chain *view = spm_chain_new(c->volume, c->magic, c->branch);
	int err = view ? 0 : -ENOMEM;

	if (err)
		return err;
	pthread_mutex_lock(&c->lock);
	view->id = c->id;
	view->head = c->head;
	view->newest = c->newest;
	view->seq = c->seq;
	err = spm_history_copy(&c->history, &view->history);
	pthread_mutex_unlock(&c->lock);
	if (err)
		spm_chain_free(view);
	else
		*out = view;
	return err;
}

int spm_chain_oldest(struct chain *c, struct version_info *out)
{
	struct telling t = {.fn = oldest_take, .arg = out, .to = UINT64_MAX};
	int result;

	pthread_mutex_lock(&c->maintain_lock); /* what is there stays there */
	result = history_view(c, &t.c);
	if (!result)
		result = spm_keepers_find(t.c, true, &t.keepers);
	if (!result) {
		t.from = oldest_told(t.c);
		t.from = t.to = oldest_seq(&t);
		result = t.from ? own_tell(&t) : 0;
		result = result < 0 ? result : result ? 0 : -ENOENT;
	}
	pthread_mutex_unlock(&c->maintain_lock);
	spm_keepers_free(&t.keepers);
	if (t.c)
		spm_chain_free(t.c);
	return result;
}

/* ---- by number or time ---- */

struct finding {
	struct chain *c;
	enum version_key key;
	uint64_t limit, last_seq; /* not behind this one */
	struct version_info info; /* what was found */
	uint64_t seq;             /* 0: nothing */
};

static bool is_within(const struct finding *f, uint64_t version, uint64_t time_ns)
{
	return (f->key == BY_NUMBER ? version : time_ns) <= f->limit;
}

/* 1: it lies behind the limit. */
static int record_look(struct finding *f, const struct record *r)
{
	if (!is_within(f, r->info.version, r->info.time_ns))
		return 1;
	if (r->seq > f->c->index_seq || spm_kept_has(&f->c->history, r->seq)) {
		f->info = r->info;
		f->seq = r->seq;
	}
	return 0;
}

/* The record after the chain's seq, if it is one of these. -EILSEQ: there is none that counts. */
static int record_follow(struct chain *c, uint64_t before, bool is_newest, struct record **out)
{
	struct record *r;
	int err = spm_record_read(c->volume, c->next[0].block, &r);

	if (err)
		return err;
	err = spm_record_is_ours(c, r, c->seq + 1) && r->prev_sum == before ? 0 : -EILSEQ;
	if (!err && is_newest)
		err = spm_record_counts(c, r);
	if (err)
		free(r);
	else
		*out = r;
	return err;
}

/* Behind a segment that was closed all records are there; behind the newest, whoever wrote them says so. */
static int end_judge(struct chain *c, const struct segment *s, int err)
{
	if (err != -EILSEQ)
		return err;
	if (s->e.last == UINT64_MAX)
		err = spm_next_was_durable(c);
	else
		err = 0;
	if (err)
		return err == -EILSEQ ? 0 : err;
	return spm_volume_fail(-EUCLEAN,
	                       "container %d: the record after number %llu of branch %s (block %llu) is damaged",
	                       c->magic, (unsigned long long)c->seq, c->branch, (unsigned long long)c->next[0].block);
}

/* Those that follow the segment's map. */
static int records_look(struct finding *f, const struct segment *s)
{
	uint64_t last = s->e.last < f->last_seq ? s->e.last : f->last_seq, sum = s->e.record_sum;
	struct chain *c = f->c;
	int err = 0;

	c->seq = s->e.seq;
	memcpy(c->next, s->e.next, sizeof(c->next));
	while (c->seq < last && !err) {
		struct record *r;

		err = record_follow(c, sum, s->e.last == UINT64_MAX, &r);
		if (err)
			break;
		err = record_look(f, r);
		c->seq = r->seq;
		memcpy(c->next, r->next, sizeof(c->next));
		sum = r->sum;
		free(r);
	}
	return err == 1 ? 0 : end_judge(c, s, err);
}

static int segment_look(struct finding *f, const struct segment *s)
{
	struct map map = {0};
	int err = records_look(f, s);

	if (err || f->seq || !s->e.map_bytes || !spm_kept_has(&f->c->history, s->e.seq))
		return err;
	err = spm_map_image_load(f->c, s, &map, &f->info);
	spm_map_free(&map);
	f->seq = err ? 0 : s->e.seq;
	return err;
}

static int own_look(struct finding *f)
{
	const struct history *h = &f->c->history;
	int err = 0;

	for (size_t i = h->segments; i > 0 && !err && !f->seq; i--) {
		const struct segment_entry *e = &h->segment[i - 1].e;

		if (e->seq <= f->last_seq && is_within(f, e->version, e->time_ns))
			err = segment_look(f, &h->segment[i - 1]);
	}
	return err;
}

static int find_once(struct volume *v, int magic, const char *branch, enum version_key key, uint64_t limit,
                     struct version_found *out)
{
	struct finding f = {.key = key, .limit = limit, .last_seq = UINT64_MAX};
	int err = spm_chain_open_history(v, magic, branch, 0, &f.c);

	while (!err) {
		uint64_t parent = f.c->head.parent_chain;

		err = own_look(&f);
		if (!err && f.seq)
			*out = (struct version_found){f.info, f.c->id, f.seq};
		f.last_seq = f.c->head.origin_seq;
		spm_chain_free(f.c);
		if (err || f.seq)
			return err;
		err = parent ? spm_chain_open_history(v, magic, NULL, parent, &f.c) : -ENOENT;
	}
	return err;
}

/* Nothing is pinned on the way: a writer may drop, and write over, what is just being read. What looks damaged then is gone at the
 * next look. */
int spm_version_find(struct volume *v, int magic, const char *branch, enum version_key key, uint64_t limit,
                     struct version_found *out)
{
	int err = -EUCLEAN;

	for (unsigned tries = 0; err == -EUCLEAN && tries < 5; tries++)
		err = find_once(v, magic, branch, key, limit, out);
	return err;
}

/* ---- the highest number ---- */

struct numbering {
	struct volume *v;
	const char *without; /* NULL: no branch */
	uint64_t highest;
};

/* A branch that can't be read now will say so when it is opened. */
static int number_note(const struct chain_head *head, void *arg)
{
	struct numbering *n = arg;
	struct finding f = {.key = BY_NUMBER, .limit = UINT64_MAX, .last_seq = UINT64_MAX};

	if (!spm_is_branch(head->branch) || (n->without && !strcmp(head->branch, n->without)))
		return 0;
	f.c = spm_chain_new(n->v, head->container, head->branch);
	if (!f.c)
		return -ENOMEM;
	f.c->id = head->chain_id;
	f.c->head = *head;
	if (!spm_index_load(f.c, false)) {
		const struct segment *newest = &f.c->history.segment[f.c->history.segments - 1];
		uint64_t number;

		records_look(&f, newest);
		number = f.seq ? f.info.version : newest->e.version;
		n->highest = number > n->highest ? number : n->highest;
	}
	spm_chain_free(f.c);
	return 0;
}

int spm_version_highest(struct volume *v, int magic, const char *without, uint64_t *number)
{
	struct numbering n = {v, without, 0};
	int err = spm_heads_each(v, magic, number_note, &n);

	if (err && err != -EUCLEAN) /* a damaged head tells nothing */
		return err;
	*number = n.highest;
	return 0;
}
