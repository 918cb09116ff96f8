/* open.c - making, restoring and deleting containers, and what a program tells of one. */
#include "container.h"
#include "heapimage.h"
#include "lazy.h"
#include "refs.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

struct container *spm_container_begin(int magic, const char *branch)
{
	struct container *c = spm_container_open(magic, branch);

	if (c) {
		spm_container_put(c);
		spm_fail(EBUSY, "container %d%s%s is open in this process", magic,
		         strcmp(branch, "main") ? ", branch " : "", strcmp(branch, "main") ? branch : "");
		return NULL;
	}
	if (!spm_volume_current())
		return NULL;
	c = spm_container_new(magic);
	if (!c)
		spm_fail(ENOMEM, "no memory for container %d", magic);
	else
		snprintf(c->branch, sizeof(c->branch), "%s", branch);
	return c;
}

/* Opens the chain of a container that a crash left before its first point, or makes a new one. */
static int chain_begin(struct container *c)
{
	struct volume *v = spm_volume_current();
	struct version_info info;
	int err = spm_chain_open(v, c->magic, "main", CHAIN_WRITE, spm_volume_wait_ms(), &c->chain);

	if (err == -ENOENT)
		err = spm_chain_create(v, c->magic, "main", &c->chain);
	if (err)
		return spm_fail_volume(err);
	if (!spm_chain_newest(c->chain, &info))
		return spm_fail(
		        EEXIST,
		        "the volume has container %d already: restore it with pCRestore, or delete it with pCDelete",
		        c->magic);
	return 0;
}

static int root_alloc(struct container *c, size_t bytes)
{
	uint32_t before = spm_arena_use(c->arena);
	void *root = spm_heap_alloc(bytes, 0);

	spm_arena_use(before);
	if (!root)
		return spm_fail(ENOMEM, "no memory for a root structure of %zu bytes", bytes);
	c->root = (uintptr_t)root;
	c->root_bytes = bytes;
	return 0;
}

int pCAlloc(int magic, int cSSize, void **cStruct)
{
	struct container *c;
	uint64_t root;
	int id;

	if (cSSize <= 0 || !cStruct)
		return spm_fail(EINVAL, "pCAlloc: the root structure needs a size over 0 and a place for its address"),
		       0;
	c = spm_container_begin(magic, "main");
	if (!c)
		return 0;
	if (chain_begin(c) || root_alloc(c, (size_t)cSSize)) {
		int error = errno;

		spm_container_free(c);
		errno = error;
		return 0;
	}
	root = c->root;
	id = spm_container_start(c);
	if (id <= 0) {
		spm_heap_free((void *)(uintptr_t)root);
		return 0;
	}
	*cStruct = (void *)(uintptr_t)root;
	return id;
}

static int restore(struct container *c)
{
	int err =
	        spm_chain_open(spm_volume_current(), c->magic, c->branch, CHAIN_WRITE, spm_volume_wait_ms(), &c->chain);

	if (err)
		return spm_fail_volume(err);
	if (!spm_chain_is_noted(c->chain))
		spm_upkeep_later(c);
	return spm_container_fill(c);
}

void spm_container_describe(struct container *c, const struct version_info *info)
{
	spm_attr_from_info(&c->attr, info);
	c->newest = c->durable = c->number = (int64_t)info->version;
	c->input = c->input_saved = info->input;
}

int spm_container_fill(struct container *c)
{
	struct version_info info;
	uint64_t highest = 0;
	int err;

	if (spm_chain_newest(c->chain, &info))
		return spm_fail(ENOENT,
		                "container %d exists but never had a persistence point: make it anew with pCAlloc",
		                c->magic);
	spm_container_describe(c, &info);
	/* Of a view's own branch, too: it may be behind that one's newest version, and go to another branch. */
	err = spm_version_highest(spm_volume_current(), c->magic, c->is_view ? NULL : c->branch, &highest);
	spm_version_number_see(c, (int64_t)highest);
	return err ? spm_fail_volume(err) : spm_restore(c, &info);
}

/* To the sentence about damage, which version a user may go back to. The check reads all there is: after this failure
 * it may. */
static void newest_whole_tell(int magic, const char *branch, int64_t tried)
{
	char damage[512];
	uint64_t whole;

	if (errno != EUCLEAN || strstr(pErrorMsg(), "newest whole version"))
		return;
	snprintf(damage, sizeof(damage), "%s", pErrorMsg());
	if (spm_volume_check(spm_volume_current(), magic, branch, NULL, NULL, &whole) < 0 || (int64_t)whole == tried)
		spm_fail(EUCLEAN, "%s", damage);
	else if (whole)
		spm_fail(EUCLEAN, "%s; the newest whole version is %llu", damage, (unsigned long long)whole);
	else
		spm_fail(EUCLEAN, "%s; no version is whole: restore the volume from a copy", damage);
}

static int branch_open(int magic, const char *branch, void **cStruct)
{
	struct container *c = spm_container_begin(magic, branch);
	void *root;
	int id;

	if (!c)
		return 0;
	if (restore(c)) {
		int64_t tried = c->newest;
		int error = errno;

		spm_container_free(c);
		errno = error;
		newest_whole_tell(magic, branch, tried);
		return 0;
	}
	root = (void *)(uintptr_t)c->root;
	id = spm_container_start(c);
	if (id <= 0)
		return 0;
	*cStruct = root;
	return id;
}

int pCRestore(int magic, void **cStruct)
{
	char branch[SPM_NAME_BYTES];

	if (!cStruct)
		return spm_fail(EINVAL, "pCRestore: no place for the root's address"), 0;
	if (!spm_volume_current() || spm_current_branch(magic, branch))
		return 0;
	return branch_open(magic, branch, cStruct);
}

int pCOpenBranch(int magic, const char *branch, void **cStruct)
{
	if (!cStruct)
		return spm_fail(EINVAL, "pCOpenBranch: no place for the root's address"), 0;
	return spm_volume_current() && spm_name_is_fit(branch) ? branch_open(magic, branch, cStruct) : 0;
}

int pRestoreWait(int cID)
{
	struct container *c = spm_container_get(cID);
	const char *why;
	int err = 0;

	if (!c)
		return -1;
	if (c->lazy) {
		spm_lazy_finish(c->lazy);
		err = spm_lazy_error(c->lazy, &why);
	}
	if (err)
		spm_fail(EUCLEAN, "%s", why);
	spm_container_put(c);
	return err ? -1 : 0;
}

/* 1, 0 or -1, as pRestoreWaitFor. */
static int bytes_await(struct container *c, uint64_t from, uint64_t n)
{
	const char *why;

	if (!c->lazy || (spm_lazy_is_finished(c->lazy) && !spm_lazy_error(c->lazy, &why)))
		return 1;
	if (spm_lazy_have(c->lazy, spm_page_of(from), spm_page_of(from + n - 1) - spm_page_of(from) + 1)) {
		spm_lazy_error(c->lazy, &why);
		return spm_fail(EUCLEAN, "%s", why);
	}
	return 0;
}

int pRestoreWaitFor(int cID, const void *p, size_t n)
{
	struct container *c = spm_container_get(cID);
	uint64_t from = (uintptr_t)p;
	int result;

	if (!c)
		return -1;
	if (n && spm_in_window(from) && spm_in_window(from + n - 1))
		result = bytes_await(c, from, n);
	else
		result = spm_fail(EINVAL, "pRestoreWaitFor: %zu bytes at %p are not in the heap", n, p);
	spm_container_put(c);
	return result;
}

int pCDelete(int magic)
{
	struct volume *v = spm_volume_current();
	int err;

	if (!v)
		return -1;
	spm_containers_end(magic);
	err = spm_chain_delete(v, magic);
	return err ? spm_fail_volume(err) : 0;
}

/* Runs fn while no point of the container is under way. */
static int when_idle(int id, int (*fn)(struct container *c, void *arg), void *arg)
{
	struct container *c = spm_container_get(id);
	int result;

	if (!c)
		return -1;
	pthread_mutex_lock(&c->lock);
	while (c->is_busy)
		pthread_cond_wait(&c->changed, &c->lock);
	result = fn(c, arg);
	pthread_mutex_unlock(&c->lock);
	spm_container_put(c);
	return result;
}

/* So that what is freed there is told (heap.h, invariant 4), also if no point has found the object yet. Between begin and end. */
static void span_must_tell(uint64_t address)
{
	struct span *s = spm_span_of(address);

	if (s)
		s->is_marked = 1;
}

static int exclude(struct container *c, void *place)
{
	uint64_t address = (uintptr_t)place;
	int err;

	if (!spm_in_window(address) || address % 8)
		return spm_fail(EINVAL, "pExclude: %p is no aligned pointer in the heap", place);
	spm_capture_begin();
	err = spm_hints_exclude(&c->hints, address);
	span_must_tell(address);
	spm_marks_set_dirty(c->marks, spm_page_of(address), 1);
	spm_capture_end();
	if (err)
		return spm_fail(ENOMEM, "pExclude: no memory");
	c->is_attr_changed = true;
	c->wants_full_trace = true; /* what only this pointer held is to go */
	return 0;
}

/* A hint for an object at an address where another was freed must come after that is known. */
static int hint(int cID, int (*fn)(struct container *c, void *arg), void *arg)
{
	int err = spm_capture_drain();

	return err ? spm_fail(-err, "a hint could not be taken: %s", strerror(-err)) : when_idle(cID, fn, arg);
}

int pExclude(int cID, void *ptr)
{
	return hint(cID, exclude, ptr);
}

static int refer(struct container *c, void *arg)
{
	const struct reference *r = arg;
	int err = 0;

	if (!spm_in_window(r->object) || (r->target && !spm_in_window(r->target)))
		return spm_fail(EINVAL, "pHint: both addresses must lie in the heap");
	c->is_attr_changed = true;
	spm_capture_begin();
	if (r->target) {
		err = spm_hints_refer(&c->hints, r->object, r->target);
		span_must_tell(r->object);
		span_must_tell(r->target);
	} else {
		spm_hints_unrefer(&c->hints, r->object);
	}
	spm_capture_end();
	return err ? spm_fail(ENOMEM, "pHint: no memory") : 0;
}

int pHint(int cID, const void *object, const void *target)
{
	return hint(cID, refer, &(struct reference){(uintptr_t)object, (uintptr_t)target});
}

static int full_trace(struct container *c, void *arg)
{
	(void)arg;
	c->wants_full_trace = true;
	return 0;
}

int pFullTrace(int cID)
{
	return when_idle(cID, full_trace, NULL);
}

struct outside_visit {
	int (*fn)(void *place, void *value, const char *what, void *arg);
	void *arg;
};

static int outside_each(struct container *c, void *arg)
{
	struct outside_visit *v = arg;

	return spm_left_each(&c->left, v->fn, v->arg);
}

int pOutside(int cID, int (*fn)(void *place, void *value, const char *what, void *arg), void *arg)
{
	struct outside_visit v = {fn, arg};

	return spm_heapimage_is_id(cID) ? spm_heapimage_outside(cID, fn, arg) : when_idle(cID, outside_each, &v);
}

struct bytes {
	uint64_t from, n;
};

static void bytes_dirty(struct container *c, void *arg)
{
	struct bytes *b = arg;
	pageno_t first = spm_page_of(b->from), last = spm_page_of(b->from + b->n - 1);

	spm_marks_set_dirty(c->marks, first, last - first + 1);
}

void pDirty(const void *p, size_t n)
{
	struct bytes b = {(uintptr_t)p, n};

	if (!n || !spm_in_window(b.from) || !spm_in_window(b.from + n - 1))
		return;
	spm_capture_begin();
	spm_container_each(bytes_dirty, &b);
	spm_capture_end();
}

/* What is written to it meanwhile the program must tell; what was written before is noted here. */
static void span_unwatch(const struct span *s)
{
	spm_capture_begin();
	if (spm_capture_settle(s->first, s->pages))
		spm_capture_set_dirty(s->first, s->pages);
	spm_heap_unwatch(s);
	spm_capture_end();
}

int pUnwatch(void *p)
{
	uint64_t at = (uintptr_t)p;
	const struct span *s = spm_in_window(at) && spm_page_span ? spm_span_of(at) : NULL;

	if (!s || s->class != SPM_CLASS_LARGE || spm_slot_address(s, 0) != at || !spm_slot_is_allocated(s, 0))
		return spm_fail(EINVAL, "pUnwatch: at %p there is no object of more than 32 KiB", p);
	span_unwatch(s);
	return 0;
}
