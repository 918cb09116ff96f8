/* gate.c - so that no change is half made when a point captures the cache.
 *
 * Each thread has a gate, a mutex that it holds while it may change the cache. A point closes all gates: it has all mutexes. Nobody takes
 * more than his own, so on the way of a command there is one uncontended mutex.
 *
 * Locks. Those of memcached are below gates. Threads that serve connections hold nothing at their gate, so they may
 * be kept waiting there. The others may hold locks at theirs which someone inside of his gate waits for: these gates are closed last, when no
 * connection is served, and all at once or none. So they have to come with their locks, and take none inside that somebody has who waits for
 * threads that serve connections, or for a client.
 */
#include "adapter.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

struct gate {
	pthread_mutex_t lock;
	struct gate *next;
	struct conn **
	        holding; /* connections of this thread that hold items between two events; conn->spm_place - 1 is the place */
	unsigned held, room;
};
static struct {
	pthread_mutex_t turn; /* held while gates are being closed, and closed; of the list `serving` */
	bool is_closing; /* who comes now waits for his turn: else those inside could pass it on among themselves */
	pthread_mutex_t registry; /* of the list `others`; held while these are closed */
	struct gate *serving, *others;
} gates = {.turn = PTHREAD_MUTEX_INITIALIZER, .registry = PTHREAD_MUTEX_INITIALIZER};
static __thread struct gate *mine;

/* It stays in the list when the thread ends. */
static struct gate *gate_new(struct gate **list, pthread_mutex_t *lock)
{
	struct gate *g = calloc(1, sizeof(*g));

	if (!g)
		spm_port_die("a thread's gate");
	pthread_mutex_init(&g->lock, NULL);
	pthread_mutex_lock(lock);
	g->next = *list;
	*list = g;
	pthread_mutex_unlock(lock);
	return g;
}

static bool holds_items(const struct conn *c)
{
	if (c->item && !c->item_malloced)
		return true;
	for (const mc_resp *r = c->resp_head; r; r = r->next)
		if (r->item)
			return true;
	return false;
}

static void holding_add(struct gate *g, struct conn *c)
{
	if (g->held == g->room) {
		g->room = g->room ? g->room * 2 : 64;
		g->holding = realloc(g->holding, g->room * sizeof(*g->holding));
		if (!g->holding)
			spm_port_die("a list of connections");
	}
	g->holding[g->held++] = c;
	c->spm_place = g->held;
}

static void holding_remove(struct gate *g, struct conn *c)
{
	struct conn *last = g->holding[--g->held];

	g->holding[c->spm_place - 1] = last;
	last->spm_place = c->spm_place;
	c->spm_place = 0;
}

void spm_gates_held(void)
{
	for (const struct gate *g = gates.serving; g; g = g->next)
		for (unsigned i = 0; i < g->held; i++) {
			const struct conn *c = g->holding[i];

			if (c->item && !c->item_malloced)
				spm_port_held(c->item);
			for (const mc_resp *r = c->resp_head; r; r = r->next)
				if (r->item)
					spm_port_held(r->item);
		}
}

void spm_port_enter(struct conn *c)
{
	if (!spm_port.volume)
		return;
	if (!mine)
		mine = gate_new(&gates.serving, &gates.turn);
	if (__atomic_load_n(&gates.is_closing, __ATOMIC_RELAXED)) {
		pthread_mutex_lock(&gates.turn);
		pthread_mutex_unlock(&gates.turn);
	}
	pthread_mutex_lock(&mine->lock);
	if (c->spm_place)
		holding_remove(mine, c);
	spm_points_begin(c);
}

void spm_port_leave(struct conn *c)
{
	if (!spm_port.volume)
		return;
	spm_points_note(c);
	if (c && holds_items(c))
		holding_add(mine, c);
	pthread_mutex_unlock(&mine->lock);
}

void spm_port_step_begin(void)
{
	if (!spm_port.volume)
		return;
	if (!mine)
		mine = gate_new(&gates.others, &gates.registry);
	pthread_mutex_lock(&mine->lock);
}

void spm_port_step_end(void)
{
	if (spm_port.volume)
		pthread_mutex_unlock(&mine->lock);
}

/* As long as memcached sleeps at most. What reads move in the lists would be most of what versions have to write, were it moved bit by bit. */
unsigned spm_port_upkeep_us(void)
{
	return spm_port.volume ? 1000000 : 0;
}

bool spm_port_lock(pthread_mutex_t *lock, const volatile bool *is_long_held)
{
	if (!spm_port.volume)
		return !pthread_mutex_lock(lock);
	while (pthread_mutex_trylock(lock)) {
		if (*is_long_held)
			return false;
		sched_yield();
	}
	return true;
}

/* The first of the list that is held by its thread; NULL: all of them are closed now, and the registry is, so that there are no more. */
static struct gate *others_close(void)
{
	struct gate *held = NULL;

	pthread_mutex_lock(&gates.registry);
	for (struct gate *g = gates.others; g && !held; g = g->next)
		if (pthread_mutex_trylock(&g->lock))
			held = g;
	for (struct gate *g = gates.others; held && g != held; g = g->next)
		pthread_mutex_unlock(&g->lock);
	if (held)
		pthread_mutex_unlock(&gates.registry);
	return held;
}

void spm_gates_close(void)
{
	struct gate *held;

	pthread_mutex_lock(&gates.turn);
	__atomic_store_n(&gates.is_closing, true, __ATOMIC_RELAXED);
	for (struct gate *g = gates.serving; g; g = g->next)
		pthread_mutex_lock(&g->lock);
	while ((held = others_close())) {
		pthread_mutex_lock(&held->lock);
		pthread_mutex_unlock(&held->lock);
	}
}

void spm_gates_open(void)
{
	for (struct gate *g = gates.others; g; g = g->next)
		pthread_mutex_unlock(&g->lock);
	for (struct gate *g = gates.serving; g; g = g->next)
		pthread_mutex_unlock(&g->lock);
	pthread_mutex_unlock(&gates.registry);
	__atomic_store_n(&gates.is_closing, false, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&gates.turn);
}
