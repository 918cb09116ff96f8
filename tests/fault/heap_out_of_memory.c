/* heap_out_of_memory.c - the heap with its 1st, 2nd, 3rd, ... call of mmap, mprotect or madvise failing, until it is
 * used without one failing.
 *
 * Each round is a process of its own, for the heap begins with the process. What fails gives NULL and ENOMEM; all that
 * was allocated before keeps its content, the heap's invariants hold, and when memory is there again the same call
 * succeeds. A refused madvise must not show at all.
 *
 * The calls are caught by functions of the same names in this program, which come before the C library's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "heap/heap.h"
#include "softpm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned calls, fail_from, fail_to; /* 0: none fails */
static bool has_failed, has_failed_visibly;

static bool fails(bool is_visible)
{
	calls++;
	if (!fail_from || calls < fail_from || calls > fail_to)
		return false;
	has_failed = true;
	has_failed_visibly |= is_visible;
	errno = ENOMEM;
	return true;
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	return fails(true) ? MAP_FAILED : (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

int mprotect(void *at, size_t bytes, int protection)
{
	return fails(true) ? -1 : (int)syscall(SYS_mprotect, at, bytes, protection);
}

int madvise(void *at, size_t bytes, int advice)
{
	return fails(false) ? -1 : (int)syscall(SYS_madvise, at, bytes, advice);
}

enum { OBJECTS = 64, EXIT_WHOLE = 0, EXIT_FIRED = 1, EXIT_WRONG = 99 };

static struct {
	unsigned char *at;
	size_t bytes;
} object[OBJECTS];
static unsigned objects;

#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: expected %s; call %u, errno %d\n", __FILE__, __LINE__, #cond, calls,   \
			        errno);                                                                                \
			_exit(EXIT_WRONG);                                                                             \
		}                                                                                                      \
	} while (0)

static void objects_are_whole(void)
{
	for (unsigned i = 0; i < objects; i++)
		EXPECT(!object[i].bytes || (object[i].at[0] == i + 1 && object[i].at[object[i].bytes - 1] == i + 1));
	spm_heap_check();
}

/* What was refused is had as soon as nothing fails any more. */
static void *had(void *p, void *(*again)(size_t, void *), size_t bytes, void *arg)
{
	if (p)
		return p;
	EXPECT(errno == ENOMEM && has_failed_visibly);
	objects_are_whole();
	fail_from = 0;
	p = again(bytes, arg);
	EXPECT(p);
	return p;
}

static void *allocate(size_t bytes, void *unused)
{
	(void)unused;
	return pMalloc(bytes);
}

static void *allocate_aligned(size_t bytes, void *unused)
{
	(void)unused;
	return pAlignedAlloc(65536, bytes);
}

static void *resize(size_t bytes, void *p)
{
	return pRealloc(p, bytes);
}

static void keep(unsigned char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += 4096)
		EXPECT(p[i] == 0);
	p[0] = p[bytes - 1] = (unsigned char)(objects + 1);
	object[objects].at = p;
	object[objects++].bytes = bytes;
}

static void drop(unsigned i)
{
	pFree(object[i].at);
	object[i].at = NULL;
	object[i].bytes = 0;
}

static void grow(unsigned i, size_t bytes)
{
	unsigned char *p = had(resize(bytes, object[i].at), resize, bytes, object[i].at);

	EXPECT(p[0] == i + 1 && p[object[i].bytes - 1] == i + 1);
	p[bytes - 1] = (unsigned char)(i + 1);
	object[i].at = p;
	object[i].bytes = bytes;
}

static void get(size_t bytes)
{
	keep(had(allocate(bytes, NULL), allocate, bytes, NULL), bytes);
}

static void *other_thread(void *unused)
{
	(void)unused;
	get(5000);
	get(50000);
	return NULL;
}

/* Something of all that makes the heap ask the kernel: its first slice, others, several at once, another arena and
 * thread, growing, giving back. */
static void use_the_heap(void)
{
	static const size_t sizes[] = {1, 100, 4000, 30000, 100000, 20 << 20, 20 << 20, 70 << 20, 33 << 20};
	uint32_t arena;
	pthread_t t;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		get(sizes[i]);
	keep(had(allocate_aligned(3 << 20, NULL), allocate_aligned, 3 << 20, NULL), 3 << 20);
	grow(4, 60 << 20);
	grow(1, 40000);
	drop(5);
	drop(7); /* empties slices: given back */
	get(70 << 20);
	EXPECT(!pthread_create(&t, NULL, other_thread, NULL) && !pthread_join(t, NULL));
	arena = spm_arena_new();
	spm_arena_use(arena);
	get(10000);
	get(40 << 20);
	spm_arena_use(0);
	objects_are_whole();
	for (unsigned i = 0; i < objects; i++)
		drop(i);
	spm_heap_check();
	EXPECT(!pMalloc((size_t)1 << 40) && errno == ENOMEM);
	EXPECT(!pMalloc(SIZE_MAX) && errno == ENOMEM);
}

/* False: the heap was used up to its end before the nth call. */
static bool survives(unsigned nth, unsigned until)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		/* cmocka's handlers would end the test in here, as if nothing had been. */
		for (int s = 1; s < NSIG; s++)
			signal(s, SIG_DFL);
		alarm(60);
		calls = 0;
		fail_from = nth;
		fail_to = until;
		use_the_heap();
		_exit(has_failed ? EXIT_FIRED : EXIT_WHOLE);
	}
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) == EXIT_WRONG)
		fail_msg("calls %u to %u failing: status %#x", nth, until, (unsigned)status);
	return WEXITSTATUS(status) == EXIT_FIRED;
}

static void each_call_may_fail_alone(void **state)
{
	unsigned n = 1;

	(void)state;
	while (survives(n, n))
		n++;
	printf("%u calls\n", n - 1);
	assert_in_range(n, 15, 10000);
}

static void all_calls_from_one_on_may_fail(void **state)
{
	(void)state;
	for (unsigned n = 1; survives(n, UINT32_MAX); n++)
		;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(each_call_may_fail_alone),
	        cmocka_unit_test(all_calls_from_one_on_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
