/* switch.c - pCSwitch: another version in the place of the one that a container shows.
 *
 *   little differs    what differs is read -> the branch becomes current -> it is exchanged in place (in_place.h)
 *   else              the version is restored beside it -> the branch becomes current -> the two change places -> the first is forgotten
 *
 * Until then the container is as it was, and everything that can fail comes before. Large versions come lazily, so
 * little is read of a version that is only passed. Points wait meanwhile.
 */
#include "container.h"
#include "in_place.h"
#include "lazy.h"
#include "refs.h"

#include <errno.h>
#include <string.h>

/* Pages that were written need not differ: they may be others', too. 1: it has; 0: it has not; or -errno. */
static int has_unsaved(struct container *c)
{
	int err = spm_capture(c);

	if (!err)
		err = spm_capture_finish(c);
	return err ? err : spm_image_is_news(c);
}

/* Looks at what was written in any case: the marks tell of it then. */
static int unsaved_refuse(struct container *c, bool is_forced)
{
	bool is_written = false;
	int has = spm_capture_look(c, &is_written);

	if (!has && is_written && !is_forced && !c->is_view)
		has = has_unsaved(c);
	if (has < 0)
		return spm_fail(-has, "container %d: its changes can't be looked for: %s", c->magic, strerror(-has));
	if (is_forced || c->is_view || (!has && c->durable))
		return 0;
	return spm_fail(
	        EBUSY,
	        "container %d has changes since version %lld that no point has saved: make one, or give them up with "
	        "\"!\" before the ref",
	        c->magic, (long long)c->durable);
}

/* Of the same branch: the chain is the container's already. */
static int branch_get(struct container *c, struct container *next, const struct resolved *at)
{
	struct container *other = spm_container_open(c->magic, at->branch);
	int err;

	memcpy(next->branch, at->branch, sizeof(next->branch));
	if (other)
		spm_container_put(other);
	if (other && other != c)
		return spm_fail(EBUSY, "container %d, branch %s is open in this process", c->magic, at->branch);
	if (other) {
		next->chain = c->chain;
		next->log = c->log;
		return 0;
	}
	err = spm_chain_open(spm_volume_current(), c->magic, at->branch, CHAIN_WRITE, spm_volume_wait_ms(),
	                     &next->chain);
	return err ? spm_fail_volume(err) : 0;
}

#define EXCHANGE(field)                                                                                                \
	do {                                                                                                           \
		__typeof__(a->field) held = a->field;                                                                  \
		a->field = b->field;                                                                                   \
		b->field = held;                                                                                       \
	} while (0)

/* Where a version lies in memory. Between spm_capture_begin and _end. */
static void place_exchange(struct container *a, struct container *b)
{
	EXCHANGE(lazy);
	EXCHANGE(moved);
	EXCHANGE(marks);
	EXCHANGE(arena);
}

/* What belongs to a version, not to the call of pCAlloc or pCRestore. Between spm_capture_begin and _end. */
static void exchange(struct container *a, struct container *b)
{
	char branch[sizeof(a->branch)];

	memcpy(branch, a->branch, sizeof(branch));
	memcpy(a->branch, b->branch, sizeof(branch));
	memcpy(b->branch, branch, sizeof(branch));
	place_exchange(a, b);
	EXCHANGE(is_view);
	EXCHANGE(chain);
	EXCHANGE(outside);
	EXCHANGE(root);
	EXCHANGE(root_bytes);
	EXCHANGE(attr);
	EXCHANGE(is_attr_changed);
	EXCHANGE(types);
	EXCHANGE(are_types_changed);
	EXCHANGE(hints);
	EXCHANGE(kinds);
	EXCHANGE(plain);
	EXCHANGE(wants_full_trace);
	EXCHANGE(newest);
	EXCHANGE(durable);
	EXCHANGE(number);
	EXCHANGE(log);
	EXCHANGE(input);
	EXCHANGE(input_saved);
	EXCHANGE(inputs_needless);
	EXCHANGE(left);
}

/* Two restores of one chain at a time would have one pin. */
static int lazy_settle(struct container *c)
{
	const char *why;

	if (!c->lazy)
		return 0;
	spm_lazy_finish(c->lazy);
	if (spm_lazy_error(c->lazy, &why))
		return spm_fail(EUCLEAN, "%s", why);
	spm_lazy_free(c->lazy);
	c->lazy = NULL;
	return 0;
}

static int next_open(struct container *c, struct container *next, const struct resolved *at)
{
	const char *why;

	if (c->lazy && spm_lazy_is_finished(c->lazy) && !spm_lazy_error(c->lazy, &why) && lazy_settle(c))
		return -1;
	return at->is_branch ? branch_get(c, next, at) : spm_container_view(next, at);
}

/* Beside what c shows. */
static int next_fill(struct container *c, struct container *next)
{
	struct version_info info;

	if ((next->chain == c->chain && lazy_settle(c)) || spm_container_fill(next))
		return -1;
	c->pages_switched += spm_chain_newest(next->chain, &info) ? 0 : info.pages;
	return 0;
}

/* The chain of `gone`, and its log, may be the other's. */
static void discard(struct container *gone, const struct container *other)
{
	int error = errno;

	if (gone->lazy)
		spm_lazy_free(gone->lazy); /* it has the chain still */
	gone->lazy = NULL;
	if (gone->chain == other->chain) {
		gone->chain = NULL;
		gone->log = NULL;
	}
	spm_container_free(gone);
	errno = error;
}

static void change_places(struct container *c, struct container *next)
{
	pthread_mutex_lock(&c->lock);
	exchange(c, next);
	pthread_mutex_unlock(&c->lock);
}

static bool is_done_in_place(struct container *c, struct container *next, struct in_place *p)
{
	bool is_done;

	spm_capture_begin();
	place_exchange(c, next);
	is_done = spm_in_place_apply(p);
	if (is_done)
		change_places(c, next);
	else
		place_exchange(c, next);
	spm_capture_end();
	return is_done;
}

static void do_beside(struct container *c, struct container *next)
{
	spm_capture_begin();
	change_places(c, next);
	spm_capture_end();
	spm_container_forget(next);
}

/* If a slot that p wants is somebody else's, it goes beside after all; if that fails the current branch is again what it was. */
static int next_take(struct container *c, struct container *next, struct in_place *p, const struct resolved *at)
{
	char before[SPM_NAME_BYTES];

	if (spm_current_branch(c->magic, before) || (!p && next_fill(c, next)))
		return -1;
	if (at->is_branch && spm_current_branch_set(c->magic, at->branch)) {
		if (!p)
			spm_container_forget(next);
		return -1;
	}
	if (p && is_done_in_place(c, next, p))
		return 0;
	if (p && next_fill(c, next)) {
		int error = errno;

		if (at->is_branch)
			spm_current_branch_set(c->magic, before);
		errno = error;
		return -1;
	}
	do_beside(c, next);
	return 0;
}

static int switch_to(struct container *c, const struct resolved *at)
{
	struct container *next = spm_container_new(c->magic);
	struct in_place *p = NULL;
	int result;

	if (!next)
		return spm_fail(ENOMEM, "no memory for container %d", c->magic);
	result = next_open(c, next, at);
	if (!result) {
		p = spm_in_place_prepare(c, next);
		result = next_take(c, next, p, at);
		spm_in_place_end(p);
	}
	if (!result) {
		spm_version_number_see(c, next->number);
		spm_version_number_see(c, next->number_seen);
	}
	discard(next, c);
	return result;
}

static int switch_halted(struct container *c, const char *ref, void **cStruct)
{
	bool is_forced = *ref == '!';
	struct resolved at;

	if (spm_ref_resolve(c->magic, c->branch, ref + is_forced, &at) || unsaved_refuse(c, is_forced))
		return -1;
	if (switch_to(c, &at))
		return -1;
	*cStruct = (void *)(uintptr_t)c->root;
	return 0;
}

int pCSwitch(int cID, const char *ref, void **cStruct)
{
	struct container *c = spm_container_get(cID);
	int result;

	if (!c)
		return -1;
	if (!ref || !cStruct) {
		spm_container_put(c);
		return spm_fail(EINVAL, "pCSwitch: no ref, or no place for the root's address");
	}
	result = spm_containers_sync(c->magic);
	if (!result || *ref == '!') { /* who gives up changes gives up points that failed */
		spm_container_halt(c);
		result = switch_halted(c, ref, cStruct);
		spm_container_go_on(c);
	}
	spm_container_put(c);
	return result;
}
