/* running_threads.c - points beside threads that run on (attribute stop_threads 0), and beside threads that sleep in
 * the kernel.
 *
 * Without stopping, a version is no longer one instant for all threads, but what a thread leaves alone during a point
 * is right in it, and nobody is interrupted. With stopping, a thread that is blocked in a system call delays nothing:
 * it is waited for by nobody, and goes on as if nothing had been.
 */
#include "book.h"
#include "expect.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { QUIET = 3, NOISE = 64, ROUNDS = 60, STEPS_MOST = 20, POINTS = 50 };

struct root {
	struct book quiet[QUIET]; /* each changed by one thread, but not during points */
	uint64_t expected[QUIET];
	char *noise[NOISE]; /* changed all the time */
	uint64_t points;
};

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

static void in_process(void (*fn)(const char *volume), const char *volume)
{
	int status;
	pid_t child = fork();

	if (!child) {
		alarm(120); /* a point that waits for somebody who never comes */
		fn(volume);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		fail_msg("the process ended with status 0x%x", status);
}

static struct root *container_make(const char *volume, int stop_threads, int *id)
{
	struct cattr *attr;
	struct root *r;

	EXPECT(!pVOpen(volume));
	*id = pCAlloc(1, sizeof(*r), (void **)&r);
	EXPECT(*id);
	attr = pCGetAttr(1);
	EXPECT(attr);
	attr->stop_threads = stop_threads;
	EXPECT(!pCSetAttr(*id, attr));
	pCAttrFree(attr);
	return r;
}

/* --- running on --- */

static pthread_barrier_t round_begins, round_ends;
static atomic_bool is_over, poll_is_interrupted;
static atomic_ulong noises;
static int poll_pipe[2];

static void *be_quiet_during_points(void *arg)
{
	struct book *b = arg;

	for (unsigned round = 0; round < ROUNDS; round++) {
		pthread_barrier_wait(&round_begins);
		for (uint64_t n = 1 + (b->seed * 7 + round) % STEPS_MOST; n > 0; n--)
			book_step(b);
		pthread_barrier_wait(&round_ends);
	}
	return NULL;
}

static void *be_noisy(void *arg)
{
	struct root *r = arg;

	for (uint64_t n = 0; !is_over; n++) {
		uint64_t i = n * 7919 % NOISE;

		if (n % 3 == 0) {
			pFree(r->noise[i]);
			r->noise[i] = NULL;
			r->noise[i] = pCalloc(1, 16 + n % 6000);
		}
		if (r->noise[i])
			memset(r->noise[i], 'n', 16);
		noises++;
	}
	return NULL;
}

static void *wait_uninterrupted(void *arg)
{
	struct pollfd p = {.fd = poll_pipe[0], .events = POLLIN};

	(void)arg;
	poll_is_interrupted = poll(&p, 1, -1) != 1;
	return NULL;
}

static void threads_start(struct root *r, pthread_t *thread)
{
	EXPECT(!pipe(poll_pipe));
	pthread_barrier_init(&round_begins, NULL, QUIET + 1);
	pthread_barrier_init(&round_ends, NULL, QUIET + 1);
	for (unsigned i = 0; i < QUIET; i++) {
		r->quiet[i].seed = i + 1;
		EXPECT(!pthread_create(&thread[i], NULL, be_quiet_during_points, &r->quiet[i]));
	}
	EXPECT(!pthread_create(&thread[QUIET], NULL, be_noisy, r));
	EXPECT(!pthread_create(&thread[QUIET + 1], NULL, wait_uninterrupted, NULL));
}

static void points_beside_running_threads(const char *volume)
{
	pthread_t thread[QUIET + 2];
	int id;
	struct root *r = container_make(volume, 0, &id);
	int64_t before = 0;

	threads_start(r, thread);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned long noises_then = noises;
		int64_t version;

		pthread_barrier_wait(&round_begins);
		pthread_barrier_wait(&round_ends);
		for (unsigned i = 0; i < QUIET; i++)
			r->expected[i] = r->quiet[i].steps;
		r->points++;
		while (noises == noises_then)
			sched_yield(); /* so that there is noise in every round */
		version = round % 2 ? pPoint(id) : pPointSync(id);
		EXPECT(version > before);
		before = version;
	}
	EXPECT(!pSync(id));
	is_over = true;
	for (unsigned i = 0; i < QUIET + 1; i++)
		pthread_join(thread[i], NULL);
	EXPECT(!pVClose()); /* the version is the last point's */
	EXPECT(write(poll_pipe[1], "x", 1) == 1);
	pthread_join(thread[QUIET + 1], NULL);
	EXPECT(!poll_is_interrupted);
}

static void see_what_was_quiet(const char *volume)
{
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(1, (void **)&r);
	EXPECT(id);
	EXPECT(r->points == ROUNDS);
	for (unsigned i = 0; i < QUIET; i++) {
		EXPECT(r->quiet[i].steps == r->expected[i] && r->quiet[i].steps >= ROUNDS);
		EXPECT(book_is_right(&r->quiet[i]));
	}
	memset(r->noise, 0, sizeof(r->noise)); /* torn: two may be the same, or freed by then */
	EXPECT(pPointSync(id));
	EXPECT(!pVClose());
}

static void what_a_thread_leaves_alone_during_a_point_is_right_in_it(void **state)
{
	const char *volume = scratch("running.vol");

	(void)state;
	in_process(points_beside_running_threads, volume);
	in_process(see_what_was_quiet, volume);
}

/* --- blocked --- */

static int data_pipe[2];
static _Atomic uint32_t futex_word;
static atomic_uint entered, returned;

static void *block_in_read(void *arg)
{
	char byte = 0;

	(void)arg;
	entered++;
	EXPECT(read(data_pipe[0], &byte, 1) == 1 && byte == 'b'); /* restarted, not interrupted */
	returned++;
	return NULL;
}

static void *block_in_futex(void *arg)
{
	(void)arg;
	entered++;
	while (!futex_word)
		syscall(SYS_futex, &futex_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	returned++;
	return NULL;
}

static void *block_in_nanosleep(void *arg)
{
	struct timespec left = {.tv_sec = 100000};

	(void)arg;
	entered++;
	while (!futex_word && nanosleep(&left, &left) && errno == EINTR)
		;
	return NULL;
}

static void points_beside_blocked_threads(const char *volume)
{
	pthread_t thread[3];
	int id;
	struct root *r = container_make(volume, 1, &id);

	EXPECT(!pipe(data_pipe));
	EXPECT(!pthread_create(&thread[0], NULL, block_in_read, NULL));
	EXPECT(!pthread_create(&thread[1], NULL, block_in_futex, NULL));
	EXPECT(!pthread_create(&thread[2], NULL, block_in_nanosleep, NULL));
	while (entered < 3)
		usleep(1000);
	usleep(20000); /* now they are most probably asleep */
	r->quiet[0].seed = 8;
	for (unsigned i = 1; i <= POINTS; i++) {
		book_step(&r->quiet[0]);
		EXPECT(pPointSync(id) == i);
	}
	EXPECT(returned == 0);
	futex_word = 1;
	syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	EXPECT(write(data_pipe[1], "b", 1) == 1);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	EXPECT(returned == 2);
	_exit(0); /* the third sleeps on */
}

static void see_all_steps(const char *volume)
{
	struct root *r;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(1, (void **)&r));
	EXPECT(r->quiet[0].steps == POINTS && book_is_right(&r->quiet[0]));
}

static void threads_blocked_in_the_kernel_delay_no_point(void **state)
{
	const char *volume = scratch("blocked.vol");

	(void)state;
	in_process(points_beside_blocked_threads, volume);
	in_process(see_all_steps, volume);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_a_thread_leaves_alone_during_a_point_is_right_in_it),
	        cmocka_unit_test(threads_blocked_in_the_kernel_delay_no_point),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
