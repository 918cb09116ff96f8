/* test_running.c - captures beside threads that run on (attribute stop_threads 0) and do to the heap what they like: whole spans
 * come and go, slots are freed by other threads than made them, large ones grow.
 *
 * Races are made certain where they can be: a system call in the midst of a capture calls the test, which does then what
 * another thread might. The rest is left to chance: after each round, when the threads have come to rest, a point is made, and
 * then what is marked is allocated, in a span that knows of it, and what can be reached is marked. Of the versions that were made
 * beside them none may be refused.
 */
#include "container.h"
#include "expect.h"
#include "scratch.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dlfcn.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cmocka.h>

enum { THREADS = 3, CELLS = 64, BURST = 8, ROUNDS = 10, ROUND_MS = 150, UNWRITTEN = 8, OPENED = 60 };

struct thing {
	uint64_t bytes;
	struct thing *inner; /* a thing has one or none */
};

struct root {
	_Atomic(struct thing *) cell[CELLS];
};

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

/* --- what a capture calls --- */

static void (*at_collect)(void), (*at_barrier)(void); /* the next time */

static void call_once(void (**at)(void))
{
	void (*fn)(void) = *at;

	*at = NULL;
	if (fn)
		fn();
}

/* The one way to track asks PAGEMAP_SCAN, the other protects. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	call_once(&at_collect);
	return ((int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl"))(fd, request, arg);
}

int mprotect(void *at, size_t bytes, int protection)
{
	call_once(&at_collect);
	return ((int (*)(void *, size_t, int))dlsym(RTLD_NEXT, "mprotect"))(at, bytes, protection);
}

/* Most have fewer arguments than are read. */
__attribute__((no_sanitize("address"))) long syscall(long number, ...)
{
	long arg[6];
	va_list args;

	va_start(args, number);
	for (unsigned i = 0; i < 6; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_membarrier && arg[0] == MEMBARRIER_CMD_PRIVATE_EXPEDITED)
		call_once(&at_barrier);
	return ((long (*)(long, ...))dlsym(RTLD_NEXT, "syscall"))(number, arg[0], arg[1], arg[2], arg[3], arg[4],
	                                                          arg[5]);
}

/* --- threads that do what they like --- */

static pthread_barrier_t goes_on, is_at_rest;
static atomic_bool shall_rest, is_over;
static struct root *root;

static struct thing *thing_make(uint64_t r)
{
	size_t bytes = sizeof(struct thing) + (r % 16 ? r % 4000 : r % 40000);
	struct thing *t = pCalloc(1, bytes);

	EXPECT(t);
	t->bytes = bytes;
	((unsigned char *)t)[bytes - 1] |= r % 16 ? 0 : 1; /* so that the last page is one of it */
	return t;
}

static void thing_free(struct thing *t)
{
	if (t)
		pFree(t->inner);
	pFree(t);
}

/* Fills some cells that lie together with things of about a size, then empties most of them: spans come and go. */
static void burst(uint64_t *random)
{
	uint64_t r = test_random(random), from = (r >> 32) % (CELLS - BURST);

	for (unsigned i = 0; i < BURST; i++) {
		struct thing *t = thing_make(r % 40000);

		t->inner = i % 3 ? NULL : thing_make(test_random(random) % 4000);
		thing_free(atomic_exchange(&root->cell[from + i], t));
	}
	for (unsigned i = 0; i < BURST; i++)
		if (i % 8 || r >> 62)
			thing_free(atomic_exchange(&root->cell[from + i], NULL));
}

/* A thing grows, if it can where it is. */
static void grow(uint64_t *random)
{
	uint64_t r = test_random(random);
	struct thing *t = atomic_exchange(&root->cell[r % CELLS], NULL);

	if (!t)
		return;
	t = pRealloc(t, t->bytes + 8000);
	EXPECT(t);
	t->bytes += 8000;
	if (t->bytes > 60000)
		thing_free(t);
	else
		thing_free(atomic_exchange(&root->cell[r % CELLS], t));
}

static void *live_on(void *arg)
{
	uint64_t random = test_seed() + *(unsigned *)arg;

	for (;;) {
		while (!shall_rest) {
			burst(&random);
			grow(&random);
		}
		pthread_barrier_wait(&is_at_rest);
		pthread_barrier_wait(&goes_on);
		if (is_over)
			return NULL;
	}
}

static void is_marked(const struct container *c, const void *p)
{
	const struct span *s = spm_span_of((uintptr_t)p);

	EXPECT(s && spm_marks_has(c->marks, s, spm_span_slot(s, (uintptr_t)p)));
}

static void span_check(struct span *s, const struct slotset *live, void *arg)
{
	struct slotset allocated = spm_span_allocated(s);

	(void)arg;
	EXPECT(spm_span_of(spm_page_address(s->first)) == s);
	EXPECT(s->is_marked);
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		EXPECT(!(live->word[w] & ~allocated.word[w]));
}

static void check(struct container *c)
{
	spm_heap_check();
	spm_marks_each_span(c->marks, span_check, NULL);
	for (unsigned i = 0; i < CELLS; i++) {
		const struct thing *t = root->cell[i];

		if (!t)
			continue;
		is_marked(c, t);
		if (t->inner)
			is_marked(c, t->inner);
	}
}

static int container_make(const char *volume)
{
	struct cattr *attr;
	void *address;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*root), &address);
	EXPECT(id);
	root = address;
	attr = pCGetAttr(1);
	EXPECT(attr);
	attr->stop_threads = 0;
	attr->versions_kept = 0;
	attr->full_trace_every = 5;
	EXPECT(!pCSetAttr(id, attr));
	pCAttrFree(attr);
	return id;
}

static void points_beside_them(struct container *c, int id)
{
	uint64_t end = spm_now_ns() + ROUND_MS * UINT64_C(1000000);

	while (spm_now_ns() < end) {
		for (unsigned i = 0; i < UNWRITTEN; i++) {
			EXPECT(!spm_capture(c) && !spm_capture_finish(c));
			spm_capture_undo(c);
		}
		EXPECT(pPointSync(id));
	}
	shall_rest = true;
	pthread_barrier_wait(&is_at_rest);
	EXPECT(pPointSync(id));
	check(c);
}

static void points_beside_running_threads(const char *volume)
{
	pthread_t thread[THREADS];
	unsigned number[THREADS];
	int id = container_make(volume);
	struct container *c = spm_container_get(id);

	pthread_barrier_init(&is_at_rest, NULL, THREADS + 1);
	pthread_barrier_init(&goes_on, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++) {
		number[i] = i;
		EXPECT(!pthread_create(&thread[i], NULL, live_on, &number[i]));
	}
	for (unsigned round = 0; round < ROUNDS; round++) {
		points_beside_them(c, id);
		shall_rest = false;
		is_over = round == ROUNDS - 1;
		pthread_barrier_wait(&goes_on);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	_exit(0); /* as a crash */
}

struct list {
	int64_t version[10000];
	unsigned n;
};

static int version_note(const struct pversion *v, void *arg)
{
	struct list *list = arg;

	if (list->n < sizeof(list->version) / sizeof(list->version[0]))
		list->version[list->n++] = v->version;
	return 0;
}

static void version_open(const char *volume, int64_t version)
{
	char ref[32];
	void *address;

	snprintf(ref, sizeof(ref), "%lld", (long long)version);
	EXPECT(!pVOpen(volume) && pCOpenAt(1, ref, &address));
}

/* Each in a process of its own, as after a crash. */
static void versions_open(const char *volume, const struct list *list)
{
	for (unsigned i = 0; i < list->n; i += 1 + list->n / OPENED) {
		pid_t child = fork();
		int status;

		if (!child) {
			version_open(volume, list->version[i]);
			_exit(0);
		}
		EXPECT(waitpid(child, &status, 0) == child && !status);
	}
}

static void newest_is_right(const char *volume)
{
	void *address;

	EXPECT(!pVOpen(volume) && pCRestore(1, &address));
	root = address;
	for (unsigned i = 0; i < CELLS; i++) {
		const struct thing *t = root->cell[i];

		EXPECT(!t || (t->bytes >= sizeof(*t) && pUsableSize(t) >= t->bytes));
		EXPECT(!t || !t->inner || pUsableSize(t->inner) >= t->inner->bytes);
	}
}

static void all_versions_open(const char *volume)
{
	static struct list list;

	EXPECT(!pVOpen(volume));
	EXPECT(!pVersions(1, NULL, version_note, &list));
	EXPECT(list.n > ROUNDS);
	EXPECT(!pVClose());
	versions_open(volume, &list);
	newest_is_right(volume);
	_exit(0);
}

/* --- certain races --- */

enum { RARE_BYTES = 5000 }; /* no other allocation is of its class */

static struct thing *put(unsigned i, size_t bytes)
{
	struct thing *t = pCalloc(1, bytes);

	EXPECT(t);
	t->bytes = bytes;
	root->cell[i] = t;
	return t;
}

static void again(unsigned i, size_t bytes)
{
	struct thing *t = root->cell[i];

	root->cell[i] = NULL;
	pFree(t);
	EXPECT(put(i, bytes) == t);
}

static void link_anew(void)
{
	again(0, RARE_BYTES);
}

static void a_slot_linked_anew_before_the_collect(const char *volume)
{
	int id = container_make(volume);
	struct container *c = spm_container_get(id);

	put(0, RARE_BYTES);
	EXPECT(pPointSync(id));
	at_collect = link_anew;
	EXPECT(pPointSync(id));
	EXPECT(!at_collect);
	EXPECT(pPointSync(id));
	check(c);
	_exit(0);
}

enum { LARGE, GROWING, SMALL };
static const size_t large_bytes = 100000;
static struct span *found[3];

static void free_what_was_found(void)
{
	for (unsigned i = 0; i < 3; i++) {
		found[i] = spm_span_of((uintptr_t)root->cell[i]);
		EXPECT(found[i]->is_marked);
	}
	pFree(atomic_exchange(&root->cell[LARGE], NULL));
	root->cell[GROWING] = pRealloc(root->cell[GROWING], 2 * large_bytes);
	again(SMALL, RARE_BYTES);
}

static bool is_free_of_marks(const struct container *c, const struct span *s)
{
	struct slotset live = spm_marks_live(c->marks, s);

	return slotset_empty(&live);
}

static void frees_between_trace_and_marks(const char *volume)
{
	int id = container_make(volume);
	struct container *c = spm_container_get(id);

	EXPECT(pPointSync(id));
	put(LARGE, large_bytes);
	put(GROWING, large_bytes);
	put(SMALL, RARE_BYTES);
	at_barrier = free_what_was_found;
	EXPECT(pPointSync(id));
	EXPECT(!at_barrier || !spm_heap_can_hold());
	for (unsigned i = 0; i < 3 && !at_barrier; i++) {
		EXPECT(spm_span_of(spm_page_address(found[i]->first)) == found[i]);
		EXPECT(is_free_of_marks(c, found[i]) == (i != SMALL));
	}
	EXPECT(pPointSync(id));
	check(c);
	pFree(pMalloc(large_bytes * 10)); /* looks for large spans to give back */
	for (unsigned i = 0; i < SMALL && !at_barrier; i++)
		EXPECT(!spm_span_of(spm_page_address(found[i]->first)));
	_exit(0);
}

static void in_process(void (*fn)(const char *volume), const char *volume)
{
	int status;
	pid_t child = fork();

	if (!child) {
		alarm(300);
		fn(volume);
	}
	waitpid(child, &status, 0);
	if (status)
		fail_msg("the process ended with status 0x%x", status);
}

static void versions_made_beside_running_threads_are_whole(void **state)
{
	const char *volume = scratch("running.vol");

	(void)state;
	in_process(points_beside_running_threads, volume);
	in_process(all_versions_open, volume);
}

static void what_is_freed_and_linked_anew_before_pages_are_collected_stays_marked(void **state)
{
	(void)state;
	in_process(a_slot_linked_anew_before_the_collect, scratch("anew.vol"));
}

static void what_is_freed_between_trace_and_marks_is_not_marked(void **state)
{
	(void)state;
	in_process(frees_between_trace_and_marks, scratch("freed.vol"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_freed_and_linked_anew_before_pages_are_collected_stays_marked),
	        cmocka_unit_test(what_is_freed_between_trace_and_marks_is_not_marked),
	        cmocka_unit_test(versions_made_beside_running_threads_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
