/* fork.c - what fork(2) makes of the containers that are open, and pCFork.
 *
 *   parent, before     every container is halted: points under way are waited for; lazy ones have all their pages; no capture
 *                      is under way; the heir is opened: the volume once more, with locks of its own
 *   parent, after      the heir is closed, all goes on
 *   child              has the memory as it was at the fork, and the heir. Containers are inherited: they can be read, and no call
 *                      takes them (ECHILD), but
 *   pCFork             a branch is made of the version that the container was at, by the heir's volume; the new branch's chain
 *                      takes the place of the parent's, and a worker is started: now it is a container like any other
 *
 * The child's memory is newer than that version by what was changed since the last point: these are unsaved changes, in the child as in
 * the parent. The version is the last one that was durable at the fork, which has all that points had captured by then, for
 * the fork waited for them (if one of them had failed, what it captured counts as changed again). It is pinned through the
 * heir (volume.h): the parent may make any number of points, and end, before the child calls pCFork.
 *
 * What the child writes is tracked from the fork on: what was written before is routed to the containers just before the fork, as
 * a point does it, and the child watches all pages anew, for the kernel drops that with the fork. Not if the parent has other
 * threads: they would write in between, and can't be stopped over a fork (glibc takes malloc's locks, which a stopped
 * thread may have). Then the child's first point finds all pages written that are there. It traces from the root anew, too: a
 * thread may have been cut off by the fork between freeing a slot and telling of it (heap.h, invariant 3). Pages that are
 * the same as in the version are not written in either case.
 *
 * No thread of the parent but the one that forked is in the child. Locks that others may have held are held by the fork, or made
 * anew in the child if nothing that they guard is used there. Order: one fork (or pDiffer) at a time; containers (their points); lazy's; the capture;
 * the table; what maps are known (discover/mapped.h); images; then the heap's (heap.c).
 */
#include "container.h"
#include "discover/mapped.h"
#include "heapimage.h"
#include "lazy.h"
#include "refs.h"
#include "snapshot/stop.h"
#include "track/track.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER; /* and of others who halt several containers */
static struct driver *heir;
static int heir_error; /* why there is none */
static bool is_routed; /* what was written before the fork */

void spm_halts_lock(void)
{
	pthread_mutex_lock(&fork_lock);
}

void spm_halts_unlock(void)
{
	pthread_mutex_unlock(&fork_lock);
}

static void containers_hold(void)
{
	struct container *c;

	while ((c = spm_table_hold_next()))
		spm_container_halt(c);
}

static void containers_release(void)
{
	struct container *c;

	while (spm_table_release_next(&c)) {
		spm_container_go_on(c);
		spm_container_put(c);
	}
}

/* Another thread may open a container while we wait for something else. */
static void all_hold(void)
{
	for (;;) {
		containers_hold();
		spm_lazy_before_fork();
		spm_capture_begin();
		if (spm_table_lock_held())
			return;
		spm_capture_end();
		spm_lazy_after_fork();
	}
}

static void before_fork(void)
{
	pthread_mutex_lock(&fork_lock);
	all_hold();
	spm_mapped_lock();
	spm_heapimage_lock();
	heir = NULL;
	if (spm_table_has_heritage()) /* else, in a child that has none itself, there is the same reason still */
		heir_error = spm_table_heir(&heir);
	if (heir_error)
		heir = NULL;
	is_routed = heir && spm_stop_is_alone() && !spm_capture_route();
}

static void after_fork_in_parent(void)
{
	if (heir)
		spm_table_heir_close(heir);
	spm_heapimage_unlock();
	spm_mapped_unlock();
	spm_table_unlock();
	spm_capture_end();
	spm_lazy_after_fork();
	containers_release();
	pthread_mutex_unlock(&fork_lock);
}

static void after_fork_in_child(void)
{
	spm_heapimage_unlock();
	spm_mapped_unlock();
	spm_track_after_fork();
	spm_capture_after_fork_in_child();
	spm_lazy_after_fork_in_child();
	spm_table_after_fork_in_child(heir, is_routed);
	if (is_routed)
		spm_capture_watch();
	pthread_mutex_init(&fork_lock, NULL);
}

__attribute__((constructor)) static void watch_fork(void)
{
	pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* ---- pCFork ---- */

static int fork_check(struct container *c, const char *branch)
{
	const char *why;

	if (!branch)
		return spm_fail(EINVAL, "pCFork: no name for the branch");
	if (c->is_view)
		return spm_fail(
		        EROFS,
		        "container %d is read-only here: it shows version %lld; pCFork is for one that is written",
		        c->magic, (long long)c->durable);
	if (!c->durable)
		return spm_fail(ENOENT, "container %d had no version at the fork that a branch could begin with",
		                c->magic);
	if (c->lazy && spm_lazy_error(c->lazy, &why))
		return spm_fail(EUCLEAN, "%s", why);
	if (heir_error)
		return spm_fail(-heir_error,
		                "container %d: the volume could not be opened for this process at the fork: %s",
		                c->magic, strerror(-heir_error));
	return 0;
}

/* A chain of a new branch, which begins with the version that the container was at. */
static int branch_begin(struct container *c, const char *branch, struct chain **out)
{
	struct volume *v = spm_volume_current();
	struct version_found at;
	int err;

	spm_chain_position(c->chain, &at);
	if (spm_branch_make(c->magic, branch, &at))
		return -1;
	err = spm_chain_open(v, c->magic, branch, CHAIN_WRITE, spm_volume_wait_ms(), out);
	if (!err)
		return 0;
	spm_fail_volume(err);
	spm_branch_take_back(c->magic, branch);
	return -1;
}

/* Not to be seen by a capture, or a fork, half done: the caller has its locks. */
static void chain_put(struct container *c, struct chain *chain, const char *branch)
{
	spm_chain_pin_for(c->chain, spm_volume_heirloom(), false);
	spm_container_leave(c);
	c->chain = chain;
	snprintf(c->branch, sizeof(c->branch), "%s", branch);
	c->number = c->newest = c->durable;
	spm_container_own(c);
}

static int branch_take(struct container *c, const char *branch)
{
	struct chain *chain;
	int err;

	if (branch_begin(c, branch, &chain))
		return -1;
	err = spm_worker_start(c);
	if (err) {
		spm_chain_close(chain);
		spm_fail(ENOMEM,
		         "no memory for the thread that writes container %d (%s): call again when there is some",
		         c->magic, strerror(err));
		spm_branch_take_back(c->magic, branch);
		return -1;
	}
	spm_capture_begin();
	chain_put(c, chain, branch);
	spm_capture_end();
	return 0;
}

/* After a failure it is as before: the next try begins with a volume that nothing has happened to. */
static int container_take(struct container *c, const char *branch)
{
	bool is_new;
	int err;

	if (fork_check(c, branch))
		return -1;
	err = spm_volume_inherit(&is_new);
	if (err)
		return spm_fail(-err, "the volume can't be opened for this process: %s", spm_volume_error_of(err));
	err = branch_take(c, branch);
	if (err && is_new) {
		int error = errno;

		spm_volume_disinherit();
		errno = error;
	}
	return err;
}

int pCFork(int cID, const char *branch)
{
	struct container *c;
	int result = -1;

	pthread_mutex_lock(&fork_lock);
	c = spm_container_inherited(cID);
	if (c)
		result = container_take(c, branch);
	pthread_mutex_unlock(&fork_lock);
	return result;
}
