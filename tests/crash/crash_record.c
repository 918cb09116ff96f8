/* crash_record.c - SIGKILL at random moments while threads record inputs, and points are made now and then: after restore and replay every
 * acknowledged input is there, once, and each thread's in order.
 *
 * An input is the number of its thread and how many that thread has recorded; the state has, for each thread, how many it has. So applying
 * it shows at once if one is missing or comes twice. After each acknowledgement the thread notes it in memory shared with the test. The
 * volume lives on from kill to kill; in some lives no point is made at all.
 */
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CONTAINER = 1, THREADS = 4, SIZES = 3 };

struct input {
	uint64_t who, number;
	uint64_t rest[1000]; /* some of it */
};
struct state {
	uint64_t count[THREADS];
	uint64_t *copy[THREADS]; /* of each count, elsewhere */
};

static volatile uint64_t *acked; /* [THREADS], shared */
static const char *volume;
static unsigned points_every_us;
static pthread_rwlock_t recording = PTHREAD_RWLOCK_INITIALIZER;
static struct state *s;
static int id;

static void give_up(int code)
{
	fprintf(stderr, "%s\n", pErrorMsg());
	_exit(code);
}

static int apply(const void *bytes, size_t n, void *arg)
{
	const struct input *i = bytes;

	(void)arg;
	if (n < 16 || i->who >= THREADS || i->number != s->count[i->who] + 1) {
		fprintf(stderr, "thread %llu: input %llu after %llu\n", (unsigned long long)i->who,
		        (unsigned long long)i->number, (unsigned long long)s->count[i->who]);
		_exit(20);
	}
	s->count[i->who] = i->number;
	if (!s->copy[i->who])
		s->copy[i->who] = pMalloc(8);
	*s->copy[i->who] = i->number;
	return 0;
}

/* 0: or what is wrong. */
static int restore(void)
{
	void *root;

	if (pVOpen(volume))
		return 1;
	id = pCRestore(CONTAINER, &root);
	if (!id && errno == ENOENT)
		id = pCAlloc(CONTAINER, sizeof(*s), &root);
	if (!id)
		return 2;
	s = root;
	for (unsigned i = 0; i < THREADS; i++)
		if (s->copy[i] && *s->copy[i] != s->count[i])
			return 3;
	return pReplay(id, apply, NULL) < 0 ? 4 : 0;
}

static void *record(void *arg)
{
	static const size_t size[SIZES] = {16, 200, sizeof(struct input)};
	struct input in = {.who = (uintptr_t)arg};

	for (;;) {
		pthread_rwlock_rdlock(&recording);
		in.number = s->count[in.who] + 1;
		if (!pRecord(id, &in, size[in.number % 50 == 0 ? 2 : in.number % 2]))
			give_up(5);
		acked[in.who] = in.number;
		apply(&in, 16, NULL);
		pthread_rwlock_unlock(&recording);
	}
	return NULL;
}

static void victim(void)
{
	int err = restore();

	if (err)
		give_up(err);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&(pthread_t){0}, NULL, record, (void *)i);
	for (unsigned i = 0;; i++) {
		usleep(points_every_us ? points_every_us : 1000000);
		pthread_rwlock_wrlock(&recording);
		if (!(i % 4 ? pPoint(id) : pPointSync(id)))
			give_up(6);
		pthread_rwlock_unlock(&recording);
	}
}

static void check(void)
{
	int err = restore();

	if (err)
		give_up(10 + err);
	for (unsigned i = 0; i < THREADS; i++) {
		if (s->count[i] < acked[i] || s->count[i] > acked[i] + 1) {
			fprintf(stderr, "thread %u: %llu inputs were acknowledged, %llu are there\n", i,
			        (unsigned long long)acked[i], (unsigned long long)s->count[i]);
			_exit(18);
		}
		acked[i] = s->count[i];
	}
	_exit(0); /* without closing: the next victim finds what a crash leaves */
}

static int run(void (*fn)(void), unsigned kill_after_us)
{
	int status;
	pid_t child = fork();

	if (!child) {
		fn();
		_exit(0);
	}
	if (kill_after_us) {
		usleep(kill_after_us);
		kill(child, SIGKILL);
	}
	waitpid(child, &status, 0);
	if (kill_after_us && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void replay_after_kill_brings_back_every_acknowledged_input(void **state)
{
	uint64_t kills = test_number("SOFTPM_KILLS", 100), random = test_seed(), all = 0;

	(void)state;
	volume = scratch("record.vol");
	acked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (uint64_t i = 0; i < kills; i++) {
		points_every_us = i % 4 ? (unsigned)(test_random(&random) % 20000) + 100 : 0;
		assert_int_equal(run(victim, 1000 + (unsigned)(test_random(&random) % 150000)), 0);
		assert_int_equal(run(check, 0), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		all += acked[i];
	printf("%llu kills, %llu inputs\n", (unsigned long long)kills, (unsigned long long)all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(replay_after_kill_brings_back_every_acknowledged_input)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
