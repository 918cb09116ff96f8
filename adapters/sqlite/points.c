/* points.c - when transactions become versions.
 *
 *   synchronous   the end of a transaction
 *   FULL, EXTRA   makes a version and waits until it is durable
 *   NORMAL        leaves that to a thread, which makes one version after the other: of all that ended meanwhile, and at least for 2 ms
 *   OFF           the same, 100 ms after the first of them
 *
 * Either way a version has whole transactions, all that ended before its last one among them: it is taken while no transaction is
 * half written (is_torn). The thread holds the store's lock for that, so nobody begins to write; FULL has SQLite's EXCLUSIVE lock.
 *
 * A point that a thread failed to make is told to the next transaction that ends, which is rolled back then; it goes into the next
 * version all the same, so nothing committed is lost unless the process ends before.
 *
 * FULL in two steps. Where several connections have the database open, one that ends a transaction, and reads nothing else of it, gives its lock
 * back before its version is durable, and only then waits (early): who ends meanwhile shares the next version. So others see what is not durable
 * yet; but no transaction, also none that only reads, ends before what it saw is. If such a version fails, all who wait for it are told, and
 * before anybody gets a lock again the store goes back to the newest durable version (lost); who still reads is told then (locks.c). So what was acknowledged, but is not durable
 * (later), must not be in memory beside it: then FULL keeps its lock; nor a new schema, which connections know by a number that would be given twice.
 *
 * With several databases in one transaction SQLite may end it in the first, and then fail in the second and roll both back. The first has a
 * version too many then (is_ahead), so another is made of what is right.
 */
#include "adapter.h"

#include <errno.h>
#include <signal.h>
#include <softpm.h>
#include <time.h>

/* Each version takes processor time from who makes transactions, and memory out of its caches: with one every 2 ms NORMAL makes 1.2 times as many
 * transactions of 10,000 rows as with one after the other (bench/sqlite/run.sh); one every 5 ms is not better. */
enum { SOON_NS = 2000000, LATER_NS = 100000000 };

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void wait_until(struct store *s, uint64_t ns)
{
	struct timespec until = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	pthread_cond_timedwait(&s->points.changed, &s->lock, &until);
}

/* A version that is being captured. */
struct capture {
	struct store *store;
	bool is_over;
};

static void captured(void *arg)
{
	struct capture *c = arg;

	c->is_over = true;
	pthread_mutex_unlock(&c->store->lock);
}

/* The lock is held during the capture, not while it is written: others write. This thread does both (nobody else makes versions of the container, so none
 * is shared): SoftPM's worker would be woken in vain. */
static int version_of_ended(struct store *s)
{
	struct capture c = {.store = s};
	int rc = pPointSyncThen(s->pages.id, captured, &c) ? SQLITE_OK : spm_sqlite_code(SQLITE_IOERR_FSYNC);

	if (c.is_over)
		pthread_mutex_lock(&s->lock);
	return rc;
}

/* Nobody writes meanwhile. */
static int version_now(struct store *s)
{
	int rc;

	pthread_mutex_unlock(&s->lock);
	rc = pPointSync(s->pages.id) ? SQLITE_OK : spm_sqlite_code(SQLITE_IOERR_FSYNC);
	pthread_mutex_lock(&s->lock);
	return rc;
}

void spm_points_halt(struct store *s)
{
	while (s->points.has_leader)
		pthread_cond_wait(&s->points.made, &s->lock);
	s->points.has_leader = true;
}

void spm_points_go_on(struct store *s)
{
	s->points.has_leader = false;
	pthread_cond_broadcast(&s->points.made);
}

/* All that there is becomes a version. Nobody else makes one, nor is a transaction half written that the caller does not end. */
static int lead(struct store *s, int (*make)(struct store *s))
{
	struct points *p = &s->points;
	uint64_t upto = s->commits;
	bool was_unsaved = p->is_unsaved;
	int rc;

	p->has_leader = true;
	p->is_unsaved = false;
	p->begun_ns = now_ns();
	rc = make(s);
	if (!rc)
		p->durable = upto;
	else if (p->early > p->durable)
		p->lost = rc;
	p->is_unsaved |= rc && was_unsaved;
	spm_points_go_on(s);
	return rc;
}

static void point(struct store *s)
{
	int rc = SQLITE_OK;

	spm_points_halt(s);
	if (s->is_torn || s->points.lost)
		spm_points_go_on(s);
	else
		rc = lead(s, version_of_ended);
	if (!rc || s->points.lost)
		return;
	s->points.failed = rc;
	s->points.is_unsaved = true;
	s->points.due_ns = now_ns() + LATER_NS;
}

static void idle(struct store *s)
{
	s->points.is_idle = true;
	pthread_cond_wait(&s->points.changed, &s->lock);
	s->points.is_idle = false;
}

static void *thread_main(void *arg)
{
	struct store *s = arg;
	struct points *p = &s->points;

	pthread_mutex_lock(&s->lock);
	while (!p->is_ending) {
		if (!p->is_unsaved || s->is_torn || p->lost)
			idle(s);
		else if (now_ns() < p->due_ns)
			wait_until(s, p->due_ns);
		else
			point(s);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int thread_start(struct store *s)
{
	sigset_t all, before;
	int err;

	if (s->points.has_thread)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&s->points.thread, NULL, thread_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	s->points.has_thread = !err;
	return err;
}

static int commit_now(struct store *s)
{
	int rc;

	s->committing++;
	spm_points_halt(s);
	rc = s->points.lost;
	if (rc)
		spm_points_go_on(s);
	else
		rc = lead(s, version_now);
	if (!--s->committing && s->waiting)
		pthread_cond_broadcast(&s->unlocked);
	return rc;
}

/* When what ends now is to be in a version; the time may be over. */
static void due_note(struct points *p, int level)
{
	uint64_t due;

	if (level < POINT_SOON && p->is_unsaved) /* by then all the more */
		return;
	due = level < POINT_SOON ? now_ns() + LATER_NS : p->begun_ns + SOON_NS;
	if (p->is_unsaved && due >= p->due_ns)
		return;
	p->due_ns = due;
	if (!p->is_idle)
		pthread_cond_signal(&p->changed);
}

static int commit_later(struct store *s, int level)
{
	struct points *p = &s->points;
	int rc = p->failed;

	p->failed = SQLITE_OK;
	if (rc)
		return rc;
	if (thread_start(s))
		return commit_now(s);
	due_note(p, level);
	p->is_unsaved = true;
	return SQLITE_OK;
}

/* The bytes are a state of the database again. */
static void settled(struct store *s)
{
	s->is_torn = s->has_new_schema = false;
	if (s->points.awaiting)
		pthread_cond_broadcast(&s->points.made);
	if (s->points.is_idle && s->points.is_unsaved)
		pthread_cond_signal(&s->points.changed);
}

int spm_points_commit(struct store *s, int level)
{
	struct points *p = &s->points;
	int rc;

	if (p->early > p->durable)
		level = POINT_NOW;
	rc = level >= POINT_NOW ? commit_now(s) : commit_later(s, level);
	if (rc)
		return rc;
	s->commits++;
	if (level >= POINT_NOW)
		p->durable = s->commits;
	else
		p->later = s->commits;
	s->points.is_ahead = true;
	s->points.level_ahead = level;
	settled(s);
	return SQLITE_OK;
}

bool spm_points_may_end_early(const struct store *s)
{
	return s->users > 1 && !s->has_new_schema && !s->points.lost && s->points.later <= s->points.durable;
}

uint64_t spm_points_ended(struct store *s)
{
	s->points.early = ++s->commits;
	settled(s);
	return s->commits;
}

int spm_points_await(struct store *s, uint64_t commit)
{
	struct points *p = &s->points;

	p->awaiting++;
	while (p->durable < commit && !p->lost && !s->is_broken)
		if (p->has_leader || s->is_torn)
			pthread_cond_wait(&p->made, &s->lock);
		else
			lead(s, version_of_ended);
	p->awaiting--;
	if (p->lost && s->waiting)
		pthread_cond_broadcast(&s->unlocked);
	if (p->durable >= commit)
		return SQLITE_OK;
	return p->lost ? p->lost : SQLITE_IOERR;
}

int spm_points_rolled_back(struct store *s)
{
	bool is_ahead = s->points.is_ahead;

	s->points.is_ahead = false;
	if (is_ahead && s->points.level_ahead >= POINT_NOW)
		commit_now(s); /* if it fails, the next one has it */
	else if (is_ahead)
		commit_later(s, POINT_SOON);
	settled(s);
	return SQLITE_OK;
}

/* Nobody waits for it: no thread is started or woken. */
void spm_points_note(struct store *s)
{
	if (s->points.is_unsaved)
		return;
	s->points.is_unsaved = true;
	s->points.due_ns = now_ns() + LATER_NS;
}

int spm_points_flush(struct store *s)
{
	struct points *p = &s->points;

	if (s->is_torn)
		return SQLITE_BUSY;
	return p->has_leader || p->is_unsaved || p->early > p->durable ? commit_now(s) : SQLITE_OK;
}

void spm_points_end(struct store *s)
{
	s->points.is_ending = true;
	pthread_cond_signal(&s->points.changed);
	pthread_mutex_unlock(&s->lock);
	if (s->points.has_thread)
		pthread_join(s->points.thread, NULL);
	pthread_mutex_lock(&s->lock);
	if (!s->is_broken && !s->points.lost)
		spm_points_flush(s);
}
