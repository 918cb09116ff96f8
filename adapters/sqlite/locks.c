/* locks.c - SQLite's five locks of a file, between the connections of one process.
 *
 * Other processes are kept out by the volume: it lets one write a container. As in os_unix.c a writer that waits for readers to end
 * (PENDING) keeps new ones out. Who meets a writer that waits for the disk waits with it, for it will be done without anybody's help; who meets any other
 * is told SQLITE_BUSY. If SQLite's busy handler sleeps then, it is woken when the lock can be had, not after the millisecond or more that it
 * asked for.
 *
 * Where transactions that gave their locks back early failed (points.c), who read what they wrote may have locks still, for as long as he likes: a
 * cursor that is open. Nobody waits for him: the store goes back without him, his locks are none from then on, and his next read or
 * lock is refused with the reason. So he must have no pointers into the store's memory: who may have read what is not durable gets copies,
 * made while the store is locked. Only who has an EXCLUSIVE lock is waited for, for he may have written, and writes it back before he gives it up.
 */
#include "adapter.h"

#include <errno.h>
#include <time.h>

/* The lock that this thread was refused last. The file is still open if none was closed since. */
static _Thread_local struct refused {
	struct file *file;
	int level;
	unsigned closed;
} refused;
static _Atomic unsigned closed;

bool spm_locks_is_undone(const struct file *f)
{
	return f->level != SQLITE_LOCK_NONE && f->era != f->store->era;
}

/* Going back raises era first, then durable. */
bool spm_locks_may_be_undone(const struct file *f)
{
	bool is_durable = f->since <= f->store->points.durable;

	return !is_durable || spm_locks_is_undone(f);
}

/* Whether f may not have the lock now, because of another. */
static bool is_kept_out(const struct file *f, int level)
{
	const struct store *s = f->store;

	if (s->points.lost)
		return s->writer && s->writer_level == SQLITE_LOCK_EXCLUSIVE;
	if (level == SQLITE_LOCK_SHARED)
		return s->writer && s->writer_level >= SQLITE_LOCK_PENDING;
	if (s->writer && s->writer != f)
		return true;
	return level == SQLITE_LOCK_EXCLUSIVE && s->shared > 1;
}

void spm_locks_await_commit(struct store *s)
{
	s->waiting++;
	while (s->committing)
		pthread_cond_wait(&s->unlocked, &s->lock);
	s->waiting--;
}

/* Those who wait for the disk, and, where what they wrote is to be undone, those who are being told. */
static void await_others(struct file *f, int level)
{
	struct store *s = f->store;

	while (s->committing && is_kept_out(f, level))
		spm_locks_await_commit(s);
	s->waiting++;
	while (s->points.lost && s->points.awaiting)
		pthread_cond_wait(&s->unlocked, &s->lock);
	s->waiting--;
}

static void note(struct file *f, int level)
{
	struct store *s = f->store;

	if (f->level == SQLITE_LOCK_NONE) {
		s->shared++;
		f->since = s->points.early;
		f->era = s->era;
		f->was_refused = false;
	}
	if (level > SQLITE_LOCK_SHARED) {
		s->writer = f;
		s->writer_level = level;
	}
	f->level = level;
}

int spm_locks_take(struct file *f, int level)
{
	struct store *s = f->store;
	int rc = SQLITE_OK;

	if (level <= f->level)
		return SQLITE_OK;
	if (s->is_view && level > SQLITE_LOCK_SHARED)
		return SQLITE_READONLY;
	pthread_mutex_lock(&s->lock);
	await_others(f, level);
	if (s->is_broken)
		rc = SQLITE_IOERR;
	else if (spm_locks_is_undone(f))
		rc = s->undone;
	else if (s->points.lost && f->level != SQLITE_LOCK_NONE)
		rc = s->points.lost;
	else if (is_kept_out(f, level))
		rc = SQLITE_BUSY;
	else if (s->points.lost)
		rc = spm_store_go_back(s);
	if (!rc)
		note(f, level);
	else if (rc == SQLITE_BUSY && level == SQLITE_LOCK_EXCLUSIVE && (!s->writer || s->writer == f))
		note(f, SQLITE_LOCK_PENDING);
	f->was_refused |= rc == SQLITE_BUSY;
	pthread_mutex_unlock(&s->lock);
	if (rc == SQLITE_BUSY || refused.file)
		refused = (struct refused){rc == SQLITE_BUSY ? f : NULL, level, closed};
	return rc;
}

void spm_locks_forget(void)
{
	closed++;
}

bool spm_locks_sleep(unsigned microseconds)
{
	struct file *f = refused.closed == closed ? refused.file : NULL;
	struct timespec until;

	if (!f)
		return false;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += microseconds / 1000000;
	until.tv_nsec += microseconds % 1000000 * 1000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&f->store->lock);
	f->store->waiting++;
	while (is_kept_out(f, refused.level) &&
	       pthread_cond_timedwait(&f->store->unlocked, &f->store->lock, &until) != ETIMEDOUT)
		;
	f->store->waiting--;
	pthread_mutex_unlock(&f->store->lock);
	return true;
}

/* Who only read does not end before what it read is durable. */
void spm_locks_release(struct file *f, int level)
{
	struct store *s = f->store;
	bool has_read = f->level == SQLITE_LOCK_SHARED && !f->was_refused;

	if (level >= f->level)
		return;
	pthread_mutex_lock(&s->lock);
	spm_locks_give_back(f, level);
	if (has_read && s->points.durable < f->since)
		spm_points_await(s, f->since);
	pthread_mutex_unlock(&s->lock);
}

void spm_locks_give_back(struct file *f, int level)
{
	struct store *s = f->store;

	if (s->writer == f && s->is_torn) { /* nobody can put it right any more: the versions are */
		s->is_broken = true;
		pthread_cond_broadcast(&s->points.made);
	}
	if (s->writer == f)
		s->writer = NULL;
	if (level == SQLITE_LOCK_NONE && !spm_locks_is_undone(f))
		s->shared--;
	f->level = level;
	f->is_ending = false;
	if (s->waiting)
		pthread_cond_broadcast(&s->unlocked);
}
