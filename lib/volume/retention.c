/* retention.c - see retention.h. */
#include "volume/retention.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

enum { LOOKS_MOST = 4096 };
static const uint64_t second_ns = 1000000000;

struct looking {
	struct chain *c;
	const struct history *h;
	struct retention policy;
	uint64_t now_ns, newest, from;
	unsigned looks, looks_most;
	int (*drop)(uint64_t seq, void *arg);
	void *arg;

	const struct segment *segment; /* whose records were read up to seq; the next one lies in block */
	uint64_t seq, block;
};

struct retention spm_retention_of(const struct chain *c)
{
	const struct version_info *i = &c->newest;

	return c->has_retention ? c->retention
	                        : (struct retention){i->versions_kept, i->keep_seconds, {i->thin[0], i->thin[1]}};
}

void spm_chain_retain(struct chain *c, const struct retention *r)
{
	pthread_mutex_lock(&c->lock);
	c->has_retention = r != NULL;
	if (r)
		c->retention = *r;
	pthread_mutex_unlock(&c->lock);
}

static bool has_policy(const struct retention *p)
{
	return p->keep_seconds || p->thin[0].older_than_s || p->thin[1].older_than_s;
}

/* Of a version's record: those before it in its segment lead to it. -EILSEQ: one of them can't be read. */
static int time_find(struct looking *l, uint64_t seq, uint64_t *time_ns)
{
	const struct segment *s = spm_segment_of(l->h, seq);

	if (!s)
		return -EILSEQ;
	*time_ns = s->e.time_ns;
	if (s != l->segment || seq <= l->seq) {
		l->segment = s;
		l->seq = s->e.seq;
		l->block = s->e.next[0].block;
	}
	while (l->seq < seq) {
		struct record *r;
		int err = spm_record_read(l->c->volume, l->block, &r);

		if (err)
			return err;
		l->looks++;
		l->block = r->next[0].block;
		*time_ns = r->info.time_ns;
		err = spm_record_is_ours(l->c, r, ++l->seq) ? 0 : -EILSEQ;
		free(r);
		if (err)
			return err;
	}
	return 0;
}

/* The next kept version that is as old. 0: none. */
static uint64_t old_after(struct looking *l, uint64_t seq, uint64_t seconds, uint64_t *time_ns)
{
	seq = spm_kept_after(l->h, seq);
	if (!seq || seq >= l->newest || l->looks >= l->looks_most || time_find(l, seq, time_ns))
		return 0;
	return *time_ns + seconds * second_ns <= l->now_ns ? seq : 0;
}

static int too_old_each(struct looking *l)
{
	uint64_t seq = l->from - 1, time_ns;
	int result = 0;

	while (l->policy.keep_seconds && !result && (seq = old_after(l, seq, l->policy.keep_seconds, &time_ns))) {
		result = l->drop(seq, l->arg);
		l->from = seq + 1;
	}
	return result;
}

static int step_each(struct looking *l, const struct thinning *step, struct thinned *done)
{
	uint64_t seq = done->seen >= l->from ? done->seen : l->from - 1, time_ns;
	int result = 0;

	while (step->older_than_s && step->every_s && !result &&
	       (seq = old_after(l, seq, step->older_than_s, &time_ns))) {
		uint64_t piece = time_ns / (step->every_s * second_ns) + 1;

		if (piece == done->piece)
			result = l->drop(seq, l->arg);
		done->piece = piece;
		done->seen = seq;
	}
	if (done->seen >= l->from)
		l->from = done->seen + 1;
	return result;
}

static uint64_t least(uint64_t a, uint32_t seconds)
{
	return seconds && seconds < a ? seconds : a;
}

/* Often enough that nothing stays an eighth longer than it should. */
static uint64_t due_after(const struct looking *l)
{
	uint64_t seconds = least(8 * 3600, l->policy.keep_seconds);

	for (unsigned i = 0; i < 2; i++)
		seconds = least(least(seconds, l->policy.thin[i].older_than_s), l->policy.thin[i].every_s);
	if (l->looks >= l->looks_most)
		return l->now_ns;
	return l->now_ns + (seconds < 8 ? second_ns : seconds * second_ns / 8);
}

int spm_retention_each(struct chain *c, const struct history *h, uint64_t from, bool is_all,
                       int (*drop)(uint64_t seq, void *arg), void *arg)
{
	struct looking l = {.c = c,
	                    .h = h,
	                    .now_ns = spm_now_real_ns(),
	                    .from = from ? from : 1,
	                    .looks_most = is_all ? UINT_MAX : LOOKS_MOST,
	                    .drop = drop,
	                    .arg = arg};
	int result;

	pthread_mutex_lock(&c->lock);
	l.policy = spm_retention_of(c);
	pthread_mutex_unlock(&c->lock);
	if (!has_policy(&l.policy))
		return 0;
	l.newest = spm_kept_nth_newest(h, 1);
	result = too_old_each(&l);
	for (unsigned i = 2; i > 0 && !result; i--)
		result = step_each(&l, &l.policy.thin[i - 1], &c->thinned[i - 1]);
	pthread_mutex_lock(&c->lock);
	c->retention_due_ns = result ? l.now_ns : due_after(&l);
	pthread_mutex_unlock(&c->lock);
	return result;
}

void spm_retention_forget(struct chain *c)
{
	for (unsigned i = 0; i < 2; i++)
		c->thinned[i] = (struct thinned){0};
}

bool spm_retention_is_due(const struct chain *c, uint64_t now_ns)
{
	struct retention policy = spm_retention_of(c);

	return has_policy(&policy) && now_ns >= c->retention_due_ns;
}
