/* switch.c - pCSwitch: another version in the place of the one that a container shows.
 *
 *   the other version is restored beside it -> the branch becomes current -> the two change places -> the first is forgotten
 *
 * Until they change places the container is as it was, and everything that can fail comes before. Large versions come lazily, so
 * little is read of a version that is only passed. Points wait meanwhile.
 */
#include "container.h"
#include "lazy.h"
#include "refs.h"

#include <errno.h>
#include <string.h>

static int unsaved_refuse(struct container *c)
{
	bool has_changes = false;
	int err = spm_capture_look(c, &has_changes);

	if (err)
		return spm_fail(-err, "container %d: its changes can't be looked for: %s", c->magic, strerror(-err));
	if (c->is_view || (!has_changes && c->durable))
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

/* What belongs to a version, not to the call of pCAlloc or pCRestore. Between spm_capture_begin and _end. */
static void exchange(struct container *a, struct container *b)
{
	char branch[sizeof(a->branch)];

	memcpy(branch, a->branch, sizeof(branch));
	memcpy(a->branch, b->branch, sizeof(branch));
	memcpy(b->branch, branch, sizeof(branch));
	EXCHANGE(is_view);
	EXCHANGE(chain);
	EXCHANGE(lazy);
	EXCHANGE(moved);
	EXCHANGE(marks);
	EXCHANGE(outside);
	EXCHANGE(arena);
	EXCHANGE(root);
	EXCHANGE(root_bytes);
	EXCHANGE(attr);
	EXCHANGE(is_attr_changed);
	EXCHANGE(hints);
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

static int next_fill(struct container *c, struct container *next, const struct resolved *at)
{
	if (at->is_branch ? branch_get(c, next, at) : spm_container_view(next, at))
		return -1;
	if ((next->chain == c->chain && lazy_settle(c)) || spm_container_fill(next))
		return -1;
	if (!at->is_branch || !spm_current_branch_set(c->magic, at->branch))
		return 0;
	spm_container_forget(next);
	return -1;
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

static int switch_to(struct container *c, const struct resolved *at)
{
	int err = spm_capture_drain(); /* what was freed is not forgotten with the rest: it may be another's by now */
	struct container *next = err ? NULL : spm_container_new(c->magic);

	if (err)
		return spm_fail(-err, "container %d: what was freed can't be looked for: %s", c->magic, strerror(-err));
	if (!next)
		return spm_fail(ENOMEM, "no memory for container %d", c->magic);
	if (next_fill(c, next, at)) {
		discard(next, c);
		return -1;
	}
	spm_capture_begin();
	pthread_mutex_lock(&c->lock);
	exchange(c, next);
	pthread_mutex_unlock(&c->lock);
	spm_capture_end();
	spm_version_number_see(c, next->number);
	spm_version_number_see(c, next->number_seen);
	spm_container_forget(next);
	discard(next, c);
	return 0;
}

static int switch_halted(struct container *c, const char *ref, void **cStruct)
{
	bool is_forced = *ref == '!';
	struct resolved at;

	if (spm_ref_resolve(c->magic, c->branch, ref + is_forced, &at) || (!is_forced && unsaved_refuse(c)))
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
	if (!result) {
		spm_container_halt(c);
		result = switch_halted(c, ref, cStruct);
		spm_container_go_on(c);
	}
	spm_container_put(c);
	return result;
}
