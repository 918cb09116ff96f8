/* group.c - see group.h. */
#include "group.h"
#include "base/base.h"
#include "snapshot/stop.h"

#include <sched.h>

static void wait_woken(struct member *m)
{
	spm_park();
	while (sem_wait(&m->wake))
		; /* a signal */
	spm_unpark();
}

static void append(struct group *g, struct member *me)
{
	me->next = NULL;
	if (g->last)
		g->last->next = me;
	else
		g->first = me;
	g->last = me;
	g->waiting++;
}

bool spm_group_join(struct group *g, pthread_mutex_t *lock, struct member *me)
{
	sem_init(&me->wake, 0, 0);
	append(g, me);
	if (g->has_leader) {
		pthread_mutex_unlock(lock);
		wait_woken(me);
		if (me->is_done)
			return false;
		spm_park();
		pthread_mutex_lock(lock);
		spm_unpark();
	}
	g->has_leader = true;
	return true;
}

/* Whoever shared the last commit is likely to be about to come again: waiting for them costs less than stopping them, and a
 * commit for the first who is back, and another for the rest. Never longer than half of what a commit takes. */
static void gather(const struct group *g, pthread_mutex_t *lock)
{
	enum { PATIENCE_NS = 60000 };
	uint64_t until = g->waiting_last > 1 ? spm_now_ns() + PATIENCE_NS : 0;

	while (g->waiting < g->waiting_last && spm_now_ns() < until) {
		pthread_mutex_unlock(lock);
		sched_yield();
		pthread_mutex_lock(lock);
	}
}

struct member *spm_group_take(struct group *g, pthread_mutex_t *lock)
{
	struct member *first;

	gather(g, lock);
	first = g->first;
	g->first = g->last = NULL;
	g->waiting_last = g->waiting;
	g->waiting = 0;
	return first;
}

void spm_group_pass(struct group *g)
{
	g->has_leader = g->first != NULL;
	if (g->first)
		sem_post(&g->first->wake);
}

void spm_group_tell(struct member *first, const struct member *leader)
{
	for (struct member *m = first, *next; m; m = next) {
		next = m->next; /* its stack may be gone once it is woken */
		m->is_done = true;
		if (m != leader)
			sem_post(&m->wake);
	}
}
