/* points.c - when transactions become versions.
 *
 *   synchronous   the end of a transaction
 *   FULL, EXTRA   makes a version and waits until it is durable
 *   NORMAL        leaves that to a thread, which makes one version after the other: of all that ended meanwhile
 *   OFF           the same, 100 ms after the last one
 *
 * Either way a version has whole transactions, all that ended before its last one among them: it is taken while no transaction is
 * half written (is_torn). The thread holds the store's lock for that, so nobody begins to write; FULL has SQLite's EXCLUSIVE lock.
 *
 * A point that a thread failed to make is told to the next transaction that ends, which is rolled back then; it goes into the next
 * version all the same, so nothing committed is lost unless the process ends before.
 *
 * With several databases in one transaction SQLite may end it in the first, and then fail in the second and roll both back. The first has a
 * version too many then (is_ahead), so another is made of what is right.
 */
#include "adapter.h"

#include <errno.h>
#include <signal.h>
#include <softpm.h>
#include <time.h>

enum { LATER_NS = 100000000 };

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

/* All that there is becomes a version. The lock is held during the capture, not while it is written. */
static void point(struct store *s)
{
	int64_t version = pPoint(s->pages.id);
	int rc = SQLITE_OK;

	s->points.is_unsaved = false;
	if (!version)
		rc = spm_sqlite_code(SQLITE_IOERR_WRITE);
	pthread_mutex_unlock(&s->lock);
	if (pSync(s->pages.id))
		rc = spm_sqlite_code(SQLITE_IOERR_FSYNC);
	pthread_mutex_lock(&s->lock);
	if (!rc)
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
		if (!p->is_unsaved || s->is_torn)
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
	int64_t version;

	s->committing++;
	pthread_mutex_unlock(&s->lock);
	version = pPointSync(s->pages.id);
	pthread_mutex_lock(&s->lock);
	if (!--s->committing && s->waiting)
		pthread_cond_broadcast(&s->unlocked);
	if (!version)
		return spm_sqlite_code(SQLITE_IOERR_FSYNC);
	s->points.is_unsaved = false;
	return SQLITE_OK;
}

static int commit_later(struct store *s, uint64_t delay_ns)
{
	struct points *p = &s->points;
	uint64_t due = now_ns() + delay_ns;
	int rc = p->failed;

	p->failed = SQLITE_OK;
	if (rc)
		return rc;
	if (thread_start(s))
		return commit_now(s);
	if (!p->is_unsaved || due < p->due_ns) {
		p->due_ns = due;
		if (!p->is_idle)
			pthread_cond_signal(&p->changed);
	}
	p->is_unsaved = true;
	return SQLITE_OK;
}

/* The bytes are a state of the database again. */
static void settled(struct store *s)
{
	s->is_torn = false;
	if (s->points.is_idle && s->points.is_unsaved)
		pthread_cond_signal(&s->points.changed);
}

int spm_points_commit(struct store *s, int level)
{
	int rc = level >= POINT_NOW ? commit_now(s) : commit_later(s, level == POINT_SOON ? 0 : LATER_NS);

	if (rc)
		return rc;
	s->points.is_ahead = true;
	s->points.level_ahead = level;
	settled(s);
	return SQLITE_OK;
}

int spm_points_rolled_back(struct store *s)
{
	bool is_ahead = s->points.is_ahead;

	s->points.is_ahead = false;
	if (is_ahead && s->points.level_ahead >= POINT_NOW)
		commit_now(s); /* if it fails, the next one has it */
	else if (is_ahead)
		commit_later(s, 0);
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
	if (s->is_torn)
		return SQLITE_BUSY;
	return s->points.is_unsaved ? commit_now(s) : SQLITE_OK;
}

void spm_points_end(struct store *s)
{
	s->points.is_ending = true;
	pthread_cond_signal(&s->points.changed);
	pthread_mutex_unlock(&s->lock);
	if (s->points.has_thread)
		pthread_join(s->points.thread, NULL);
	pthread_mutex_lock(&s->lock);
	if (!s->is_broken)
		spm_points_flush(s);
}
