/* points.c - when changes become a version.
 *
 *   a worker                          the thread here
 *   changes the cache, in its gate
 *   parks the connection              closes the gates: all changes until now are in this version; opens them
 *   serves others                     writes it
 *   takes it back, sends the replies  tells the workers
 *
 * Versions are counted: `captured` only changes while all gates are closed, so what a worker changes belongs to captured + 1. While one
 * version is written all that want the next one gather. One thread at a time makes a version (is_making).
 *
 * A worker that has nobody left to serve, for all of its connections are parked, makes the version itself: what it takes to wake two threads is as
 * long as the write. Who connects to this worker just then waits for that one flush; nobody else ever waits for one.
 */
#include "adapter.h"

#include <errno.h>
#include <event.h>
#include <pthread.h>
#include <sched.h>
#include <softpm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BINARY_INTERNAL_ERROR = 0x84 }; /* of the protocol; protocol_binary.h lacks it */

struct parked {
	struct conn *c;
	uint64_t needs;
};
/* The lists belong to the worker, and to who ends the server; `waiting` and the descriptor to everybody. */
struct worker {
	struct worker *next;
	struct event_base *base;
	struct event event, lead; /* lead: is activated by the worker itself, to run after what has arrived by then */
	int fd;
	int waiting; /* connections; atomic */
	int open; /* connections; the worker's own; those that were closed while nobody served them are counted still */
	uint64_t needs;       /* the newest version that one of them was parked for */
	pthread_mutex_t lock; /* of what follows */
	struct parked *parked;
	size_t n, room;
	struct conn *returning; /* taken from the list, and not yet in its gate if its state is conn_io_queue still */
};

static struct worker *workers;
static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake, settled_more;
	pthread_t thread;
	bool is_ending, is_last, is_making;
	uint64_t wanted;   /* the newest version that somebody waits for, or that ought to be made */
	uint64_t captured; /* changes with all gates closed; read in any gate */
	uint64_t settled;  /* of which it is known whether they are durable; atomic */
	uint64_t durable;  /* atomic */
	int err;           /* of the last one that failed */
	char why[200];
	struct points_stats stats; /* but for waits */
	uint64_t waits;            /* atomic */
} points = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .settled_more = PTHREAD_COND_INITIALIZER};

static __thread struct conn *current; /* what this thread serves; NULL: none */
static __thread struct worker *own;   /* NULL: the thread is no worker */
static __thread bool has_changed, had_changed;

/* ---- what threads change ---- */

/* A quiet command of the binary protocol leaves its reply empty: what it needs to become a failure. */
static void reply_prepare(mc_resp *r)
{
	protocol_binary_response_header *h = (void *)r->wbuf;

	h->response.magic = PROTOCOL_BINARY_RES;
	h->response.opcode = current->binary_header.request.opcode;
	h->response.opaque = current->opaque;
}

void spm_port_changed(void)
{
	had_changed = has_changed;
	has_changed = true;
	if (!current || !current->resp)
		return;
	current->resp->spm_tells_change = true;
	if (current->protocol == binary_prot && !current->resp->iovcnt)
		reply_prepare(current->resp);
}

void spm_port_item_changed(void *item)
{
	spm_port_changed();
	if (spm_bdb_is_on())
		spm_bdb_store(item);
}

void spm_port_unchanged(void)
{
	has_changed = had_changed;
	if (current && current->resp)
		current->resp->spm_tells_change = false;
}

static struct worker *worker_of(const struct conn *c)
{
	struct worker *w = workers;

	while (w->base != c->thread->base)
		w = w->next;
	return w;
}

void spm_port_new(struct conn *c)
{
	c->spm_changes = 0;
	c->spm_is_open = false;
}

void spm_points_begin(struct conn *c)
{
	current = c;
	has_changed = had_changed = false;
	if (c->spm_is_open || c->state == conn_listening)
		return;
	c->spm_is_open = true;
	own = worker_of(c);
	own->open++;
}

/* Outside of gates: the next one may be captured just now. */
static uint64_t captured_now(void)
{
	return __atomic_load_n(&points.captured, __ATOMIC_RELAXED);
}

static void want(uint64_t version)
{
	if (__atomic_load_n(&points.wanted, __ATOMIC_RELAXED) >= version)
		return;
	pthread_mutex_lock(&points.lock);
	if (points.wanted < version)
		__atomic_store_n(&points.wanted, version, __ATOMIC_RELAXED);
	if (!points.is_making) /* else it is looked for afterwards */
		pthread_cond_signal(&points.wake);
	pthread_mutex_unlock(&points.lock);
}

/* The caller makes a version, and nobody else. false: somebody does already, or the last one is about to be made. */
static bool making_begin(void)
{
	bool begins;

	pthread_mutex_lock(&points.lock);
	begins = !points.is_making && !points.is_ending;
	points.is_making |= begins;
	pthread_mutex_unlock(&points.lock);
	return begins;
}

static void making_end(void)
{
	pthread_mutex_lock(&points.lock);
	points.is_making = false;
	if (points.wanted > captured_now())
		pthread_cond_signal(&points.wake);
	pthread_cond_broadcast(&points.settled_more);
	pthread_mutex_unlock(&points.lock);
}

/* By a worker, about its own. */
static bool may_lead(const struct worker *w)
{
	return __atomic_load_n(&w->waiting, __ATOMIC_RELAXED) >= w->open;
}

void spm_points_note(struct conn *c)
{
	current = NULL;
	if (!c && own)
		own->open--;
	if (!has_changed || spm_port.sync != SYNC_ALWAYS)
		return;
	if (c)
		c->spm_changes = points.captured + 1;
	want(points.captured + 1);
}

/* ---- parking ---- */

static void parked_add(struct worker *w, struct parked p)
{
	pthread_mutex_lock(&w->lock);
	if (w->n == w->room) {
		w->room = w->room ? w->room * 2 : 64;
		w->parked = realloc(w->parked, w->room * sizeof(*w->parked));
		if (!w->parked)
			spm_port_die("a list of connections");
	}
	w->parked[w->n++] = p;
	pthread_mutex_unlock(&w->lock);
}

bool spm_port_park(struct conn *c)
{
	struct worker *w;

	if (!spm_port.volume || spm_port.sync != SYNC_ALWAYS)
		return false;
	if (has_changed) {
		c->spm_changes = points.captured + 1;
		has_changed = false;
	}
	if (!c->resp_head || c->spm_changes <= __atomic_load_n(&points.durable, __ATOMIC_ACQUIRE))
		return false;
	w = worker_of(c);
	parked_add(w, (struct parked){c, c->spm_changes});
	__atomic_fetch_add(&w->waiting, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&points.waits, 1, __ATOMIC_RELAXED);
	if (w->needs < c->spm_changes)
		w->needs = c->spm_changes;
	if (may_lead(w))
		event_active(&w->lead, EV_READ, 0);
	else
		want(c->spm_changes);
	if (__atomic_load_n(&points.settled, __ATOMIC_SEQ_CST) >= c->spm_changes)
		eventfd_write(w->fd,
		              1); /* a change of an earlier event: its version may be through, and nobody was told */
	return true;
}

static bool tells_change(const mc_resp *r)
{
	return r->spm_tells_change && !(r->skip && !r->iovcnt); /* a text command with noreply has no reply */
}

static void reply_fail(const struct conn *c, mc_resp *r)
{
	int n;

	r->skip = false;
	if (c->protocol == binary_prot) {
		protocol_binary_response_header *h = (void *)r->wbuf;

		h->response.status = htons(BINARY_INTERNAL_ERROR);
		h->response.bodylen = h->response.keylen = 0;
		h->response.extlen = 0;
		n = sizeof(h->bytes);
	} else {
		pthread_mutex_lock(&points.lock);
		n = snprintf(r->wbuf, sizeof(r->wbuf), "SERVER_ERROR not durable: %s\r\n", points.why);
		pthread_mutex_unlock(&points.lock);
	}
	r->iov[0].iov_base = r->wbuf;
	r->iov[0].iov_len = (size_t)n;
	r->iovcnt = 1;
	r->tosend = n;
	r->chunked_data_iov = 0;
	r->chunked_total = 0;
}

static void reply_silence(mc_resp *r)
{
	r->skip = true;
	r->iovcnt = 0;
	r->tosend = 0;
}

/* The replies that say that something was changed say instead that it is not durable; those of quiet commands, too, which are silent of
 * success only. What gat says of several keys is one reply. */
static void replies_fail(struct conn *c)
{
	for (mc_resp *r = c->resp_head, *last; r; r = last->next) {
		bool fails = tells_change(r);

		for (last = r; last->spm_goes_on && last->next; fails |= tells_change(last))
			last = last->next;
		for (; fails && r != last; r = r->next)
			reply_silence(r);
		if (fails)
			reply_fail(c, last);
	}
}

/* Takes from the list the first, from *at on, whose version is settled; it is `returning` then. NULL: there is none. */
static struct conn *parked_take(struct worker *w, size_t *at, uint64_t settled, uint64_t durable)
{
	struct parked p;

	pthread_mutex_lock(&w->lock);
	w->returning = NULL;
	for (; *at < w->n && !w->returning; *at += !w->returning) {
		p = w->parked[*at];
		if (p.needs > settled)
			continue;
		w->parked[*at] = w->parked[--w->n];
		w->returning = p.c;
		if (p.needs > durable)
			replies_fail(p.c);
		p.c->spm_changes = 0;
	}
	pthread_mutex_unlock(&w->lock);
	return w->returning;
}

/* Those of the worker whose version is settled go on. Who is parked anew meanwhile needs a later one. */
static void settled_return(struct worker *w)
{
	uint64_t settled = __atomic_load_n(&points.settled, __ATOMIC_SEQ_CST);
	uint64_t durable = __atomic_load_n(&points.durable, __ATOMIC_ACQUIRE);
	struct conn *c;
	size_t at = 0;

	while ((c = parked_take(w, &at, settled, durable))) {
		__atomic_fetch_sub(&w->waiting, 1, __ATOMIC_RELAXED);
		conn_worker_readd(c);
	}
}

static void parked_return(evutil_socket_t fd, short which, void *arg)
{
	eventfd_t ignored;

	(void)which;
	eventfd_read(fd, &ignored); /* first: what is settled from here on is told again */
	settled_return(arg);
}

/* All gates are closed for good, and all versions settled: connections get the replies that they wait for. */
static void parked_send_all(void)
{
	uint64_t durable = __atomic_load_n(&points.durable, __ATOMIC_ACQUIRE);

	for (struct worker *w = workers; w; w = w->next) {
		pthread_mutex_lock(&w->lock);
		if (w->returning && w->returning->state == conn_io_queue && !w->returning->spm_changes)
			conn_send_last(w->returning);
		for (size_t i = 0; i < w->n; i++) {
			if (w->parked[i].c->state != conn_io_queue)
				continue; /* closed */
			if (w->parked[i].needs > durable)
				replies_fail(w->parked[i].c);
			conn_send_last(w->parked[i].c);
		}
		pthread_mutex_unlock(&w->lock);
	}
}

/* ---- making a version ---- */

static void captured(void *is_open)
{
	if (points.is_last)
		return;
	spm_gates_open();
	*(bool *)is_open = true;
}

/* Of all until now, durable. Returns 0 or an errno. */
static int version_make(uint64_t *version)
{
	bool is_open = false;
	int err = 0;

	spm_gates_close();
	*version = points.captured + 1;
	__atomic_store_n(&points.captured, *version, __ATOMIC_RELAXED);
	if (spm_keep_capture() || !pPointSyncThen(spm_port.id, captured, &is_open))
		err = errno;
	if (!is_open && !points.is_last)
		spm_gates_open();
	return err;
}

static void workers_tell(const struct worker *but)
{
	for (struct worker *w = workers; w; w = w->next)
		if (w != but && __atomic_load_n(&w->waiting, __ATOMIC_SEQ_CST))
			eventfd_write(w->fd, 1);
}

/* Between making_begin and making_end. All workers but this one are told. */
static void point(const struct worker *but)
{
	uint64_t version;
	int err = version_make(&version);

	pthread_mutex_lock(&points.lock);
	points.stats.points++;
	points.err = err;
	if (err) {
		points.stats.failures++;
		if (!*points.why)
			fprintf(stderr, "memcachedb: a change is not durable: %s\n", pErrorMsg());
		snprintf(points.why, sizeof(points.why), "%s", pErrorMsg());
	} else {
		*points.why = 0;
		__atomic_store_n(&points.durable, version, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&points.settled, version, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&points.lock);
	workers_tell(but);
}

/* A worker whose connections all wait makes the version that they wait for. Else, or if somebody makes one just now, it is wanted. */
static void lead(evutil_socket_t fd, short which, void *arg)
{
	struct worker *w = arg;

	(void)fd, (void)which;
	if (!may_lead(w) || !making_begin()) {
		want(w->needs);
		return;
	}
	if (captured_now() < w->needs)
		point(w);
	making_end();
	settled_return(w);
}

void spm_port_worker(struct event_base *base)
{
	struct worker *w;

	if (!spm_port.volume)
		return;
	w = calloc(1, sizeof(*w));
	if (!w)
		spm_port_die("a worker");
	w->base = base;
	pthread_mutex_init(&w->lock, NULL);
	w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->fd < 0)
		spm_port_die("a worker");
	event_set(&w->event, w->fd, EV_READ | EV_PERSIST, parked_return, w);
	event_base_set(base, &w->event);
	event_set(&w->lead, -1, 0, lead, w);
	event_base_set(base, &w->lead);
	if (event_add(&w->event, NULL))
		spm_port_die("a worker");
	w->next = workers;
	workers = w;
}

/* ---- the thread ---- */

/* The lock is held. */
static void wait_for_work(void)
{
	struct timespec until;

	if (spm_port.sync <= 0) {
		pthread_cond_wait(&points.wake, &points.lock);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += spm_port.sync / 1000;
	until.tv_nsec += spm_port.sync % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	if (pthread_cond_clockwait(&points.wake, &points.lock, CLOCK_MONOTONIC, &until) == ETIMEDOUT &&
	    points.wanted <= captured_now())
		__atomic_store_n(&points.wanted, captured_now() + 1, __ATOMIC_RELAXED);
}

static void *thread_main(void *arg)
{
	static const struct sched_param none;

	(void)arg;
	if (spm_port.sync != SYNC_ALWAYS) /* nobody waits for it: it preempts nobody */
		sched_setscheduler(0, SCHED_BATCH, &none);
	pthread_mutex_lock(&points.lock);
	while (!points.is_ending) {
		if (points.wanted <= captured_now() || points.is_making) {
			wait_for_work();
			continue;
		}
		points.is_making = true;
		pthread_mutex_unlock(&points.lock);
		point(NULL);
		making_end();
		pthread_mutex_lock(&points.lock);
	}
	pthread_mutex_unlock(&points.lock);
	return NULL;
}

int spm_points_start(void)
{
	point(NULL); /* what was begun, or mended after a restore */
	errno = points.err;
	if (points.err)
		return -1;
	errno = pthread_create(&points.thread, NULL, thread_main, NULL);
	if (errno)
		return -1;
	thread_setname(points.thread, "mc-softpm");
	return 0;
}

int spm_points_now(void)
{
	uint64_t version;
	int err;

	pthread_mutex_lock(&points.lock);
	version = captured_now() + 1;
	if (points.wanted < version)
		__atomic_store_n(&points.wanted, version, __ATOMIC_RELAXED);
	pthread_cond_signal(&points.wake);
	while (points.settled < version)
		pthread_cond_wait(&points.settled_more, &points.lock);
	err = points.durable >= version ? 0 : points.err;
	pthread_mutex_unlock(&points.lock);
	return err ? -1 : 0;
}

int spm_points_stop(void)
{
	pthread_mutex_lock(&points.lock);
	points.is_ending = true;
	pthread_cond_signal(&points.wake);
	pthread_mutex_unlock(&points.lock);
	pthread_join(points.thread, NULL);
	pthread_mutex_lock(&points.lock);
	while (points.is_making) /* a worker does */
		pthread_cond_wait(&points.settled_more, &points.lock);
	points.is_last = true;
	pthread_mutex_unlock(&points.lock);
	point(NULL);
	parked_send_all();
	errno = points.err;
	return points.err ? -1 : 0;
}

void spm_points_stats(struct points_stats *out)
{
	pthread_mutex_lock(&points.lock);
	*out = points.stats;
	out->waits = __atomic_load_n(&points.waits, __ATOMIC_RELAXED);
	snprintf(out->last_failure, sizeof(out->last_failure), "%s", points.why);
	pthread_mutex_unlock(&points.lock);
}
