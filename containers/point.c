/* point.c - persistence points: who captures, who writes, who waits.
 *
 *            pPoint                    pPointSync
 *   idle ----------> busy, capturing      idle ---------> busy, leader captures and writes,
 *                      |                    ^                for all that were waiting by then
 *                      v                    |                  |
 *                 handed over: the worker   +------------------+
 *                 writes ----------------> idle
 *
 * is_busy is the baton: whoever sets it owns the image until it is cleared. Callers of pPointSync that arrive while
 * somebody is busy queue up as waiters; the next leader takes them all, for its capture comes after their arrival,
 * so one commit is durable for the whole group.
 */
#include "container.h"
#include "lazy.h"
#include "snapshot/stop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A wait in here touches no heap memory: other containers' captures need not stop this thread. */
static void wait_changed(struct container *c)
{
	spm_park();
	pthread_cond_wait(&c->changed, &c->lock);
	spm_unpark();
}

static void lock_container(struct container *c)
{
	spm_park();
	pthread_mutex_lock(&c->lock);
	spm_unpark();
}

static void busy_begin(struct container *c, const char *message)
{
	while (c->is_busy)
		wait_changed(c);
	c->is_busy = true;
	memset(c->message, 0, sizeof(c->message));
	if (message)
		strncpy(c->message, message, sizeof(c->message) - 1);
}

static void busy_end(struct container *c)
{
	c->is_busy = false;
	c->is_maintenance_due = true;
	c->collapse = COLLAPSE_LATER;
	pthread_cond_broadcast(&c->changed);
	if (c->is_worker_asleep) /* else it looks by itself soon: a wake-up a point would cost a tenth of the rate */
		pthread_cond_signal(&c->work);
}

/* Captures without the lock; the counters are the baton holder's. */
static int capture(struct container *c)
{
	int err;

	pthread_mutex_unlock(&c->lock);
	err = spm_capture(c);
	lock_container(c);
	if (err)
		return err;
	c->points++;
	c->points_since_full_trace++;
	c->pause_ns_since_full_trace += c->image.pause_ns;
	if (c->image.is_full_trace) {
		c->full_traces++;
		c->points_since_full_trace = c->pause_ns_since_full_trace = 0;
		c->full_trace_ns = c->image.pause_ns;
		c->wants_full_trace = false;
	}
	spm_pauses_add(&c->pauses, c->image.pause_ns);
	return 0;
}

static int write_image(struct container *c, bool is_forced, int64_t *version, char *why)
{
	int err;

	pthread_mutex_unlock(&c->lock);
	err = spm_capture_finish(c);
	if (!err) {
		err = spm_image_write(c, is_forced, version);
		if (err)
			snprintf(why, 512, "%s", spm_volume_error_of(err));
	}
	spm_image_settle(&c->image);
	lock_container(c);
	c->dirty_pages += c->image.pages;
	return err;
}

/* A forced version for changed attributes; the flag is taken, and given back if the point fails. */
static bool take_attr_changed(struct container *c)
{
	bool was = c->is_attr_changed;

	c->is_attr_changed = false;
	return was;
}

static int fail_point(struct container *c, int err, const char *why)
{
	const char *damage;

	if (c->lazy && spm_lazy_error(c->lazy, &damage))
		return spm_fail(EUCLEAN, "%s; found after pCRestore had returned: no version is made of this container any more",
		                damage);
	return spm_fail(-err,
	                "container %d: the persistence point failed: %s; memory is unharmed, version %lld is the "
	                "newest durable one",
	                c->magic, why && *why ? why : strerror(-err), (long long)c->durable);
}

static int64_t point_async(struct container *c, const char *message)
{
	bool is_forced;
	int err;

	busy_begin(c, message);
	if (c->failed && !c->is_failure_told) {
		c->is_failure_told = true;
		busy_end(c);
		fail_point(c, c->failed, c->failed_message);
		return 0;
	}
	is_forced = take_attr_changed(c);
	err = capture(c);
	if (err) {
		c->is_attr_changed |= is_forced;
		busy_end(c);
		fail_point(c, err, NULL);
		return 0;
	}
	if (!c->image.pages && !c->image.clone.child && !is_forced && !c->stale_count && c->newest) {
		busy_end(c);
		return c->newest;
	}
	c->newest = c->durable + 1;
	c->is_handed_over = true;
	pthread_cond_signal(&c->work);
	return c->newest;
}

int64_t pPointMsg(int cID, const char *message)
{
	struct container *c = spm_container_get(cID);
	int64_t version;

	if (!c)
		return 0;
	lock_container(c);
	version = point_async(c, message);
	pthread_mutex_unlock(&c->lock);
	spm_container_put(c);
	return version;
}

int64_t pPoint(int cID)
{
	return pPointMsg(cID, NULL);
}

int pSync(int cID)
{
	struct container *c = spm_container_get(cID);
	const char *why;
	int err;

	if (!c)
		return -1;
	lock_container(c);
	while (c->is_busy)
		wait_changed(c);
	err = c->failed;
	if (!err && c->lazy)
		err = spm_lazy_error(c->lazy, &why);
	if (err)
		fail_point(c, err, c->failed_message);
	c->failed = 0;
	c->is_failure_told = false;
	pthread_mutex_unlock(&c->lock);
	spm_container_put(c);
	return err ? -1 : 0;
}

/* Makes one version for everybody who waits by now. */
static void lead(struct container *c)
{
	struct waiter *group, *next;
	char why[512] = "";
	bool is_forced;
	int64_t version = 0;
	int err;

	busy_begin(c, NULL);
	group = c->waiters;
	c->waiters = NULL;
	is_forced = take_attr_changed(c);
	err = capture(c);
	if (!err)
		err = write_image(c, is_forced, &version, why);
	if (err)
		c->is_attr_changed |= is_forced;
	else
		c->newest = c->durable = version;
	for (; group; group = next) {
		next = group->next; /* the waiter's stack may be gone once it is done */
		group->err = err;
		group->version = version;
		memcpy(group->message, why, sizeof(why));
		group->is_done = true;
	}
	busy_end(c);
}

int64_t pPointSync(int cID)
{
	struct waiter me = {0};
	struct container *c = spm_container_get(cID);

	if (!c)
		return 0;
	lock_container(c);
	me.next = c->waiters;
	c->waiters = &me;
	while (!me.is_done) {
		if (c->is_busy)
			wait_changed(c);
		else
			lead(c);
	}
	if (me.err)
		fail_point(c, me.err, me.message);
	pthread_mutex_unlock(&c->lock);
	spm_container_put(c);
	return me.err ? 0 : me.version;
}

static void worker_write(struct container *c)
{
	int64_t version = 0;
	char why[512] = "";
	int err = write_image(c, true, &version, why);

	if (err) {
		c->failed = err;
		c->is_failure_told = false;
		memcpy(c->failed_message, why, sizeof(why));
		c->newest = c->durable;
		c->is_attr_changed = true; /* perhaps they were in it */
	} else {
		c->newest = c->durable = version;
	}
	c->is_handed_over = false;
	busy_end(c);
}

static bool wait_timed_out(struct container *c, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_cond_timedwait(&c->work, &c->lock, &until) == ETIMEDOUT;
}

static void worker_collapse(struct container *c, unsigned steps)
{
	uint64_t points = c->points;

	do {
		enum collapse left;

		pthread_mutex_unlock(&c->lock);
		left = spm_collapse_step();
		pthread_mutex_lock(&c->lock);
		c->collapse = left;
	} while (c->collapse == COLLAPSE_MORE && --steps && c->points == points && !c->is_handed_over && !c->is_ending);
}

/* Off the commit path: the volume grows ahead, writes its map out, and, when no point came for a while, notes what is
 * durable. */
static void worker_maintain(struct container *c)
{
	uint64_t points = c->points;
	bool is_idle, again = true;

	if (!wait_timed_out(c, 20))
		return; /* there is work */
	is_idle = c->points == points;
	points = c->points;
	for (unsigned steps = 0; again && steps < 64 && !c->is_handed_over; steps++) {
		pthread_mutex_unlock(&c->lock);
		if (spm_chain_maintain(c->chain, is_idle, &again))
			again = false; /* the next point meets the same trouble and reports it */
		pthread_mutex_lock(&c->lock);
	}
	if (is_idle && !again && c->points == points)
		c->is_maintenance_due = false;
	worker_collapse(c, is_idle ? 32 : 1);
}

/* Nothing to do but what may turn cold. */
static void worker_idle(struct container *c)
{
	c->is_worker_asleep = true;
	if (wait_timed_out(c, c->collapse == COLLAPSE_MORE ? 20 : 1000))
		worker_collapse(c, 32);
	c->is_worker_asleep = false;
}

static void worker_sleep(struct container *c)
{
	c->is_worker_asleep = true;
	pthread_cond_wait(&c->work, &c->lock);
	c->is_worker_asleep = false;
}

void *spm_worker_main(void *arg)
{
	struct container *c = arg;

	spm_stop_exempt_self();
	pthread_mutex_lock(&c->lock);
	while (!c->is_ending || c->is_handed_over) {
		if (c->is_handed_over)
			worker_write(c);
		else if (c->is_maintenance_due)
			worker_maintain(c);
		else if (c->collapse != COLLAPSE_NOTHING)
			worker_idle(c);
		else
			worker_sleep(c);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}
