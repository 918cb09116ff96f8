/* point.c - persistence points: who captures, who writes, who waits.
 *
 *            pPoint                    pPointSync
 *   idle ----------> busy, capturing      idle ---------> busy, leader captures and writes,
 *                      |                    ^                for all that were waiting by then
 *                      v                    |                  |
 *                 handed over: the worker   +------------------+
 *                 (or pSync) writes -----> idle
 *
 * is_busy is the baton: whoever sets it owns the image until it is cleared. Callers of pPointSync that arrive while
 * somebody is busy queue up (group.h); the next leader takes them all, for its capture comes after their arrival,
 * so one commit is durable for the whole group.
 */
#include "container.h"
#include "lazy.h"
#include "snapshot/stop.h"

#include <errno.h>
#include <sched.h>
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

void spm_container_lock(struct container *c)
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

enum { UPKEEP_MS = 20, UPKEEP_FAR_MS = 1000 };

static void upkeep_in(struct container *c, unsigned ms)
{
	uint64_t at = spm_now_ns() + ms * UINT64_C(1000000);

	if (c->upkeep_ns && c->upkeep_ns <= at)
		return;
	c->upkeep_ns = at;
	c->is_upkeep_far = ms > UPKEEP_MS;
}

/* The worker is woken only if it would not look by itself soon: a wake-up a point would cost a tenth of the rate. */
void spm_upkeep_soon(struct container *c)
{
	if (c->upkeep_ns && !c->is_upkeep_far)
		return;
	upkeep_in(c, UPKEEP_MS);
	if (c->is_worker_asleep)
		pthread_cond_signal(&c->work);
}

void spm_upkeep_later(struct container *c)
{
	upkeep_in(c, UPKEEP_FAR_MS);
}

static void busy_end(struct container *c)
{
	c->is_busy = false;
	pthread_cond_broadcast(&c->changed);
	spm_upkeep_soon(c);
}

/* Captures without the lock; the counters are the baton holder's. */
static int capture(struct container *c)
{
	int err;

	c->image.input = c->input;
	pthread_mutex_unlock(&c->lock);
	err = spm_capture(c);
	spm_container_lock(c);
	if (err)
		return err;
	c->points++;
	c->points_since_full_trace++;
	c->pause_ns_since_full_trace += c->image.pause_ns;
	c->discovery_ns += c->image.discovery_ns;
	c->freeze_ns += c->image.pause_ns - c->image.discovery_ns;
	if (c->image.is_full_trace || c->image.lost > c->numbers_lost)
		c->numbers_lost = c->image.lost;
	if (c->image.is_full_trace) {
		c->full_traces++;
		c->points_since_full_trace = c->pause_ns_since_full_trace = 0;
		c->full_trace_ns = c->image.pause_ns;
		c->wants_full_trace = false;
	}
	spm_pauses_add(&c->pauses, c->image.pause_ns);
	/* Percentiles cost a walk over the buckets: now and then is enough. */
	if (c->points % 64 == 0 || c->points < 64)
		spm_pauses_refresh(&c->pauses);
	return 0;
}

static int write_image(struct container *c, bool is_forced, int64_t *version, char *why)
{
	uint64_t began = spm_now_ns(), waited = spm_volume_waited_ns();
	int err;

	pthread_mutex_unlock(&c->lock);
	err = spm_capture_finish(c);
	if (!err) {
		err = spm_image_write(c, is_forced, version);
		if (err)
			snprintf(why, 512, "%s", spm_volume_error_of(err));
	}
	began = spm_now_ns() - began;
	waited = spm_volume_waited_ns() - waited;
	spm_image_settle(&c->image);
	spm_container_lock(c);
	c->write_ns += began - waited;
	c->flush_ns += waited;
	c->dirty_pages += c->image.pages;
	if (!err) {
		c->stored_bytes += c->image.stored_bytes;
		c->input_saved = c->image.input;
	}
	return err;
}

/* The attributes are those of this instant, though they may be changed again before the image is written. Whether there is to be a
 * version even if no page changed: for changed attributes (the flag is taken, and given back if the point fails), and to say that it has
 * inputs that no version has. */
static bool take_attr(struct container *c)
{
	bool was_changed = c->is_attr_changed;

	c->image.attr = c->attr;
	c->is_attr_changed = false;
	return was_changed || c->input != c->input_saved;
}

static int fail_point(struct container *c, int err, const char *why)
{
	const char *damage;

	if (c->lazy && spm_lazy_error(c->lazy, &damage))
		return spm_fail(EUCLEAN,
		                "%s; found after pCRestore had returned: no version is made of this container any more",
		                damage);
	return spm_fail(-err,
	                "container %d: the persistence point failed: %s; memory is unharmed, version %lld is the "
	                "newest durable one",
	                c->magic, why && *why ? why : strerror(-err), (long long)c->durable);
}

static bool may_point(const struct container *c)
{
	if (c->is_view)
		spm_fail(EROFS,
		         "container %d is read-only here: it shows version %lld; a branch that begins with it "
		         "(pCClone) can be "
		         "written",
		         c->magic, (long long)c->durable);
	return !c->is_view;
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
	is_forced = take_attr(c);
	err = capture(c);
	if (err) {
		c->is_attr_changed |= is_forced;
		busy_end(c);
		fail_point(c, err, NULL);
		return 0;
	}
	if (!c->image.pages && !c->image.clone.child && !is_forced && c->newest) {
		busy_end(c);
		return c->newest;
	}
	spm_version_number_take(c);
	c->newest = c->number;
	c->is_handed_over = true;
	return c->newest;
}

int64_t pPointMsg(int cID, const char *message)
{
	struct container *c = spm_container_get(cID);
	int64_t version;
	bool is_work;

	if (!c)
		return 0;
	spm_container_lock(c);
	version = may_point(c) ? point_async(c, message) : 0;
	is_work = c->is_handed_over;
	pthread_mutex_unlock(&c->lock);
	if (is_work)
		pthread_cond_signal(&c->work); /* with the lock, the worker would run into it */
	spm_container_put(c);
	return version;
}

int64_t pPoint(int cID)
{
	return pPointMsg(cID, NULL);
}

/* By the worker, or by pSync if it comes first: who waits for the version need not wait for another thread to be woken, which on busy
 * processors takes longer than the write. */
static void handed_over_write(struct container *c)
{
	int64_t version = 0;
	char why[512] = "";
	int err;

	c->is_taken = true;
	err = write_image(c, true, &version, why);
	if (err) {
		c->failed = err;
		c->is_failure_told = false;
		memcpy(c->failed_message, why, sizeof(why));
		c->newest = c->durable;
		c->is_attr_changed = true; /* perhaps they were in it */
	} else {
		c->newest = c->durable = version;
	}
	spm_version_number_settle(c, c->newest);
	c->is_handed_over = c->is_taken = false;
	busy_end(c);
}

int pSync(int cID)
{
	struct container *c = spm_container_get(cID);
	const char *why;
	int err;

	if (!c)
		return -1;
	spm_container_lock(c);
	if (c->is_handed_over && !c->is_taken)
		handed_over_write(c);
	while (c->is_busy)
		wait_changed(c);
	err = c->failed;
	if (!err && c->lazy)
		err = spm_lazy_error(c->lazy, &why);
	if (err)
		fail_point(c, err, c->failed_message);
	c->failed = 0;
	c->is_failure_told = false;
	if (!err) { /* it was restored, and no point came since */
		err = spm_chain_settle(c->chain);
		if (err)
			spm_fail_volume(err);
	}
	pthread_mutex_unlock(&c->lock);
	spm_container_put(c);
	return err ? -1 : 0;
}

/* What a leader has to tell the group. */
struct outcome {
	struct member *group;
	int err;
	int64_t version;
	char why[512];
};

static void group_tell(const struct outcome *o, const struct member *leader)
{
	for (struct member *m = o->group; m; m = m->next) {
		m->err = o->err;
		m->number = o->version;
		if (o->err)
			memcpy(m->message, o->why, sizeof(m->message));
	}
	spm_group_tell(o->group, leader);
}

static void captured_tell(struct container *c, const struct member *group)
{
	for (const struct member *m = group; m; m = m->next)
		if (m->captured) {
			pthread_mutex_unlock(&c->lock);
			m->captured(m->arg);
			spm_container_lock(c);
		}
}

/* Makes one version for everybody who waits by now, and wakes one of those who came meanwhile to lead next. */
static void lead(struct container *c, struct outcome *o)
{
	bool is_forced;

	busy_begin(c, NULL);
	o->group = spm_group_take(&c->pointing, &c->lock);
	is_forced = take_attr(c);
	o->err = capture(c);
	if (!o->err) {
		captured_tell(c, o->group);
		spm_version_number_take(c);
		o->err = write_image(c, is_forced, &o->version, o->why);
	}
	if (o->err)
		c->is_attr_changed |= is_forced;
	else
		c->newest = c->durable = o->version;
	spm_version_number_settle(c, c->newest);
	spm_group_pass(&c->pointing);
	busy_end(c);
}

/* Led, or done by another. Called with the lock, returns without. */
static void point_shared(struct container *c, struct member *me)
{
	struct outcome o = {.why = ""};

	if (!spm_group_join(&c->pointing, &c->lock, me))
		return;
	lead(c, &o);
	pthread_mutex_unlock(&c->lock);
	group_tell(&o, me);
}

int64_t pPointSync(int cID)
{
	return pPointSyncThen(cID, NULL, NULL);
}

int64_t pPointSyncThen(int cID, void (*captured)(void *arg), void *arg)
{
	struct member me = {.captured = captured, .arg = arg};
	struct container *c = spm_container_get(cID);

	if (!c)
		return 0;
	spm_container_lock(c);
	if (!may_point(c)) {
		pthread_mutex_unlock(&c->lock);
		spm_container_put(c);
		return 0;
	}
	point_shared(c, &me);
	if (me.err) {
		spm_container_lock(c);
		fail_point(c, me.err, me.message);
		pthread_mutex_unlock(&c->lock);
	}
	spm_container_put(c);
	return me.err ? 0 : me.number;
}

/* On a processor that it shares with the program the worker would run at once when it is woken, and pPoint last as long as its
 * write: a thread of this kind preempts nobody, and has the same share otherwise. Not before there is such a write: where points
 * are synchronous, and the worker only looks after the volume, they take 10 us longer with a worker of this kind (bench/stores). */
static void worker_give_way(void)
{
	struct sched_param none = {0};

	if (sched_getscheduler(0) == SCHED_OTHER)
		sched_setscheduler(0, SCHED_BATCH, &none);
}

static void worker_write(struct container *c)
{
	if (!c->is_worker_batch)
		worker_give_way();
	c->is_worker_batch = true;
	handed_over_write(c);
}

static enum collapse worker_collapse(struct container *c)
{
	enum collapse left;

	if (!c->attr.stop_threads)
		return COLLAPSE_NOTHING;
	pthread_mutex_unlock(&c->lock);
	left = spm_collapse_step();
	pthread_mutex_lock(&c->lock);
	return left;
}

/* One step for versions, and one for the log of inputs. Whether there is more to do. */
static bool worker_step(struct container *c, bool is_idle, bool is_log_idle)
{
	struct log *log = c->log;
	bool again;

	pthread_mutex_unlock(&c->lock);
	if (spm_chain_maintain(c->chain, is_idle, &again))
		again = false; /* the next point meets the same trouble and reports it */
	if (log)
		again |= spm_record_tend(c, log, is_log_idle);
	pthread_mutex_lock(&c->lock);
	return again;
}

/* Off the commit path: the volume grows ahead, writes its map out, and, when no point came for a while, notes what is
 * durable; cold memory becomes huge pages. */
static void worker_upkeep(struct container *c)
{
	uint64_t points = c->points;
	bool is_idle = points == c->points_at_upkeep, is_log_idle = !c->is_log_used, again = true;
	enum collapse left;

	c->points_at_upkeep = points;
	c->is_log_used = false;
	c->upkeep_ns = 0;
	c->is_tended = true;
	for (unsigned steps = 0; again && steps < 64 && !c->is_handed_over && !c->is_halted; steps++)
		again = worker_step(c, is_idle, is_log_idle);
	left = worker_collapse(c);
	if (!is_idle || !is_log_idle || again || left == COLLAPSE_MORE)
		upkeep_in(c, UPKEEP_MS);
	else if (left == COLLAPSE_LATER)
		upkeep_in(c, UPKEEP_FAR_MS);
	c->is_tended = false;
	if (c->is_halted)
		pthread_cond_broadcast(&c->changed);
}

static void worker_wait(struct container *c)
{
	struct timespec until = {(time_t)(c->upkeep_ns / 1000000000), (long)(c->upkeep_ns % 1000000000)};

	c->is_worker_asleep = true;
	if (c->upkeep_ns && !c->is_halted)
		pthread_cond_timedwait(&c->work, &c->lock, &until);
	else
		pthread_cond_wait(&c->work, &c->lock);
	c->is_worker_asleep = false;
}

void spm_container_halt(struct container *c)
{
	spm_container_lock(c);
	busy_begin(c, NULL);
	c->is_halted = true;
	while (c->is_tended || c->recording.has_leader)
		wait_changed(c);
	pthread_mutex_unlock(&c->lock);
}

void spm_container_await(struct container *c)
{
	while (c->is_halted)
		wait_changed(c);
}

void spm_container_go_on(struct container *c)
{
	spm_container_lock(c);
	c->is_halted = false;
	busy_end(c);
	pthread_mutex_unlock(&c->lock);
}

void *spm_worker_main(void *arg)
{
	struct container *c = arg;

	spm_stop_exempt_self();
	pthread_mutex_lock(&c->lock);
	while (!c->is_ending || c->is_handed_over) {
		if (c->is_handed_over && !c->is_taken)
			worker_write(c);
		if (c->upkeep_ns && spm_now_ns() >= c->upkeep_ns && !c->is_halted)
			worker_upkeep(c);
		else if (c->is_handed_over ? c->is_taken : !c->is_ending)
			worker_wait(c);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}
