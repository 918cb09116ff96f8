/* test_stop.c - between begin and end nobody else moves, and nobody is lost or left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scratch.h"
#include "snapshot/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COUNTERS = 16 };

struct counter {
	_Alignas(64) _Atomic uint64_t value;
	pthread_t thread;
};

static struct counter counters[COUNTERS];
static _Atomic bool is_over;
static _Atomic int started;
static int pipe_ends[2];

static void sleep_us(long us)
{
	struct timespec t = {us / 1000000, us % 1000000 * 1000};

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

static void wait_started(int n)
{
	while (started < n)
		sleep_us(100);
}

static void *count_main(void *arg)
{
	struct counter *c = arg;

	started++;
	while (!is_over)
		c->value++;
	return NULL;
}

static void counters_begin(unsigned n)
{
	is_over = false;
	started = 0;
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_create(&counters[i].thread, NULL, count_main, &counters[i]), 0);
	wait_started((int)n);
}

static void counters_end(unsigned n)
{
	is_over = true;
	for (unsigned i = 0; i < n; i++)
		pthread_join(counters[i].thread, NULL);
}

static void counters_read(uint64_t *values)
{
	for (unsigned i = 0; i < COUNTERS; i++)
		values[i] = counters[i].value;
}

/* However long it takes on a busy machine. */
static void expect_growth(const struct counter *c, uint64_t before)
{
	for (unsigned ms = 0; c->value == before && ms < 60000; ms++)
		sleep_us(1000);
	assert_true(c->value > before);
}

static void expect_standstill(long us)
{
	uint64_t before[COUNTERS], after[COUNTERS];

	counters_read(before);
	sleep_us(us);
	counters_read(after);
	if (memcmp(before, after, sizeof(before)))
		fail_msg("a counter grew while all threads were stopped");
}

static void stopped_threads_stand_still(void **state)
{
	uint64_t before[COUNTERS], t, worst = 0;

	(void)state;
	counters_begin(COUNTERS);
	for (int round = 0; round < 50; round++) {
		t = spm_now_ns();
		assert_int_equal(spm_stop_begin(), 0);
		t = spm_now_ns() - t;
		worst = t > worst ? t : worst;
		expect_standstill(2000);
		counters_read(before);
		spm_stop_end();
		sleep_us(2000);
	}
	/* They go on afterwards, each of them. */
	for (unsigned i = 0; i < COUNTERS; i++)
		expect_growth(&counters[i], before[i]);
	counters_end(COUNTERS);
	print_message("stopping %d running threads: worst of 50: %lu us\n", COUNTERS, (unsigned long)(worst / 1000));
}

static void stops_follow_each_other_at_once(void **state)
{
	(void)state;
	counters_begin(4);
	for (int round = 0; round < 2000; round++) {
		assert_int_equal(spm_stop_begin(), 0);
		if (round % 100 == 0)
			expect_standstill(500);
		spm_stop_end();
	}
	counters_end(4);
}

static void *read_main(void *arg)
{
	char c = 0;

	(void)arg;
	started++;
	return (void *)(intptr_t)(read(pipe_ends[0], &c, 1) == 1 && c == 'x');
}

static void *sleep_main(void *arg)
{
	uint64_t t = spm_now_ns();

	(void)arg;
	started++;
	sleep_us(200000);
	return (void *)(intptr_t)(spm_now_ns() - t >= 200000000);
}

static void *epoll_main(void *arg)
{
	int fd = epoll_create1(EPOLL_CLOEXEC), n;
	struct epoll_event event;
	uint64_t until = spm_now_ns() + 200000000;

	(void)arg;
	started++;
	do
		n = epoll_wait(fd, &event, 1, 50);
	while (spm_now_ns() < until && (!n || errno == EINTR));
	close(fd);
	return (void *)(intptr_t)(n == 0 || errno == EINTR);
}

/* read goes on by SA_RESTART; sleeps and epoll end with EINTR, which programs expect. */
static void threads_in_system_calls_are_stopped_and_go_on(void **state)
{
	void *(*const mains[])(void *) = {read_main, sleep_main, epoll_main};
	pthread_t threads[3];
	void *is_well;

	(void)state;
	started = 0;
	assert_int_equal(pipe(pipe_ends), 0);
	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, mains[i], NULL);
	wait_started(3);
	for (int round = 0; round < 20; round++) {
		uint64_t t = spm_now_ns();

		assert_int_equal(spm_stop_begin(), 0);
		assert_true(spm_now_ns() - t < 400000000);
		spm_stop_end();
		sleep_us(1000);
	}
	assert_int_equal(write(pipe_ends[1], "x", 1), 1);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], &is_well);
		assert_non_null(is_well);
	}
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static _Atomic int woken;

static void *parked_main(void *arg)
{
	char c;

	(void)arg;
	spm_park();
	started++;
	if (read(pipe_ends[0], &c, 1) != 1)
		woken = -1000;
	spm_unpark();
	woken++;
	return NULL;
}

static void parked_threads_are_left_alone_and_wait_in_unpark(void **state)
{
	pthread_t thread;

	(void)state;
	started = woken = 0;
	assert_int_equal(pipe(pipe_ends), 0);
	pthread_create(&thread, NULL, parked_main, NULL);
	wait_started(1);
	assert_int_equal(spm_stop_begin(), 0);
	assert_int_equal(write(pipe_ends[1], "x", 1), 1);
	sleep_us(50000);
	assert_int_equal(woken, 0);
	spm_stop_end();
	pthread_join(thread, NULL);
	assert_int_equal(woken, 1);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void *exempt_main(void *arg)
{
	spm_stop_exempt_self();
	spm_stop_exempt_self();
	return count_main(arg);
}

static void exempt_threads_run_on(void **state)
{
	(void)state;
	is_over = false;
	started = 0;
	pthread_create(&counters[0].thread, NULL, exempt_main, &counters[0]);
	wait_started(1);
	assert_int_equal(spm_stop_begin(), 0);
	expect_growth(&counters[0], counters[0].value);
	spm_stop_end();
	counters_end(1);
}

static void *exempt_stopper_main(void *arg)
{
	spm_stop_exempt_self();
	assert_int_equal(spm_stop_begin(), 0);
	expect_standstill(5000);
	spm_stop_end();
	return arg;
}

/* The stopper is exempt itself, and the one other thread must not be taken for it. */
static void exempt_thread_stops_the_others(void **state)
{
	pthread_t thread;

	(void)state;
	counters_begin(1);
	pthread_create(&thread, NULL, exempt_stopper_main, NULL);
	pthread_join(thread, NULL);
	counters_end(1);
}

static void *brief_main(void *arg)
{
	((struct counter *)arg)->value++;
	return NULL;
}

static void *breeder_main(void *arg)
{
	started++;
	while (!is_over) {
		pthread_t thread;

		if (!pthread_create(&thread, NULL, brief_main, arg))
			pthread_join(thread, NULL);
	}
	return NULL;
}

static void threads_that_come_and_go_are_stopped_too(void **state)
{
	pthread_t breeders[4];

	(void)state;
	is_over = false;
	started = 0;
	for (int i = 0; i < 4; i++)
		pthread_create(&breeders[i], NULL, breeder_main, &counters[i]);
	wait_started(4);
	for (int round = 0; round < 300; round++) {
		assert_int_equal(spm_stop_begin(), 0);
		expect_standstill(300);
		spm_stop_end();
		if (round % 10 == 0)
			sleep_us(1000);
	}
	is_over = true;
	for (int i = 0; i < 4; i++)
		pthread_join(breeders[i], NULL);
}

static void *deaf_main(void *arg)
{
	sigset_t all, end;
	int got;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	sigemptyset(&end);
	sigaddset(&end, SIGUSR2);
	started++;
	sigwait(&end, &got);
	return arg;
}

/* A thread that waits for signals with all of them blocked costs milliseconds once, and fills no queue. */
static void thread_that_blocks_all_signals_does_not_hang_the_stop(void **state)
{
	pthread_t thread;
	uint64_t t, later = 0;

	(void)state;
	started = 0;
	pthread_create(&thread, NULL, deaf_main, NULL);
	wait_started(1);
	for (int round = 0; round < 200; round++) {
		t = spm_now_ns();
		assert_int_equal(spm_stop_begin(), 0);
		spm_stop_end();
		later += round ? spm_now_ns() - t : 0;
	}
	assert_true(later < 199u * 5000000);
	print_message("with a thread in sigwait: %lu us a stop\n", (unsigned long)(later / 199000));
	pthread_kill(thread, SIGUSR2);
	pthread_join(thread, NULL);
}

static void *busy_deaf_main(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	return count_main(arg);
}

/* No state at one instant can be had while such a thread runs: the stop says so, and lets the others go. */
static void thread_that_runs_with_signals_blocked_fails_the_stop(void **state)
{
	(void)state;
	is_over = false;
	started = 0;
	pthread_create(&counters[0].thread, NULL, busy_deaf_main, &counters[0]);
	pthread_create(&counters[1].thread, NULL, count_main, &counters[1]);
	wait_started(2);
	assert_int_equal(spm_stop_begin(), -ETIMEDOUT);
	expect_growth(&counters[1], counters[1].value);
	counters_end(2);
}

static uint64_t own_ran_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void pin_to_first_cpu(void)
{
	cpu_set_t allowed, first;
	int cpu = 0;

	assert_false(sched_getaffinity(0, sizeof(allowed), &allowed));
	while (!CPU_ISSET(cpu, &allowed))
		cpu++;
	CPU_ZERO(&first);
	CPU_SET(cpu, &first);
	assert_false(sched_setaffinity(0, sizeof(first), &first));
}

/* Blocks all signals for twelve milliseconds of its own, which take most of a second or more. */
static void *starved_main(void *arg)
{
	sigset_t all, before;
	uint64_t began;

	pin_to_first_cpu();
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	assert_false(setpriority(PRIO_PROCESS, (id_t)gettid(), 19));
	started++;
	for (began = own_ran_ns(); own_ran_ns() - began < 12000000;)
		;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return count_main(arg);
}

static void thread_that_gets_no_processor_with_signals_blocked_is_waited_for(void **state)
{
	pid_t rival = fork();

	(void)state;
	if (!rival) {
		pin_to_first_cpu();
		alarm(60);
		for (;;)
			;
	}
	is_over = false;
	started = 0;
	pthread_create(&counters[0].thread, NULL, starved_main, &counters[0]);
	wait_started(1);
	assert_int_equal(spm_stop_begin(), 0);
	spm_stop_end();
	kill(rival, SIGKILL);
	waitpid(rival, NULL, 0);
	counters_end(1);
}

static void *fork_child_main(void *arg)
{
	spm_park();
	started++;
	sleep_us(100);
	spm_unpark();
	return count_main(arg);
}

static void stops_work_in_a_forked_child(void **state)
{
	int status = -1;
	pid_t child;

	(void)state;
	spm_park();
	spm_unpark();
	child = fork();
	if (!child) {
		is_over = false;
		started = 0;
		pthread_create(&counters[0].thread, NULL, fork_child_main, &counters[0]);
		wait_started(2);
		if (spm_stop_begin())
			_exit(1);
		uint64_t before = counters[0].value;
		sleep_us(5000);
		if (counters[0].value != before)
			_exit(2);
		spm_stop_end();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

/* The descriptor of /proc/self/task, or -1. */
static int tasks_find(void)
{
	char name[64], target[64];

	for (int fd = 0; fd < 1024; fd++) {
		ssize_t n;

		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		n = readlink(name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = 0;
		if (strstr(target, "/task"))
			return fd;
	}
	return -1;
}

static void a_program_may_close_the_descriptor_or_take_its_number(void **state)
{
	int fd, other = open("/dev/null", O_RDONLY);

	(void)state;
	assert_true(other >= 0);
	counters_begin(2);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(spm_stop_begin(), 0);
		expect_standstill(2000);
		spm_stop_end();
		fd = tasks_find();
		assert_true(fd >= 0);
		if (round == 0)
			close(fd);
		else
			dup2(other, fd);
	}
	assert_int_equal(fcntl(fd, F_GETFD), 0); /* it is the program's now: not closed, not replaced */
	counters_end(2);
	close(other);
}

static void one_thread_pays_almost_nothing(void **state)
{
	uint64_t best = UINT64_MAX;

	(void)state;
	for (int round = 0; round < 1000; round++) {
		uint64_t t = spm_now_ns();

		assert_int_equal(spm_stop_begin(), 0);
		spm_stop_end();
		t = spm_now_ns() - t;
		best = t < best ? t : best;
	}
	print_message("a stop with one thread: %lu ns\n", (unsigned long)best);
	assert_true(best < 100000);
}

static _Atomic bool is_stopping;

/* As a worker does, that a container has just got. */
static void *newborn_main(void *arg)
{
	uint64_t began;

	started++;
	while (!is_stopping)
		;
	began = spm_now_ns();
	while (spm_now_ns() - began < 300000)
		;
	spm_stop_exempt_self();
	while (!is_over)
		sleep_us(100);
	return arg;
}

static uint64_t stop_beside_newborn_ns(void)
{
	sigset_t all, before;
	pthread_t thread;
	uint64_t began;

	is_over = is_stopping = false;
	started = 0;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	assert_int_equal(pthread_create(&thread, NULL, newborn_main, NULL), 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	wait_started(1);
	is_stopping = true;
	began = spm_now_ns();
	assert_int_equal(spm_stop_begin(), 0);
	spm_stop_end();
	began = spm_now_ns() - began;
	is_over = true;
	pthread_join(thread, NULL);
	return began;
}

static void a_stop_goes_on_as_soon_as_a_new_thread_is_exempt(void **state)
{
	uint64_t best = UINT64_MAX;

	(void)state;
	for (unsigned i = 0; i < 50 && best > 900000; i++) {
		uint64_t t = stop_beside_newborn_ns();

		best = t < best ? t : best;
	}
	print_message("a stop beside a thread that is exempt after 300 us: %lu ns\n", (unsigned long)best);
	assert_true(best < 900000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(one_thread_pays_almost_nothing),
	        cmocka_unit_test(stopped_threads_stand_still),
	        cmocka_unit_test(stops_follow_each_other_at_once),
	        cmocka_unit_test(threads_in_system_calls_are_stopped_and_go_on),
	        cmocka_unit_test(parked_threads_are_left_alone_and_wait_in_unpark),
	        cmocka_unit_test(exempt_threads_run_on),
	        cmocka_unit_test(exempt_thread_stops_the_others),
	        cmocka_unit_test(a_stop_goes_on_as_soon_as_a_new_thread_is_exempt),
	        cmocka_unit_test(threads_that_come_and_go_are_stopped_too),
	        cmocka_unit_test(thread_that_blocks_all_signals_does_not_hang_the_stop),
	        cmocka_unit_test(thread_that_runs_with_signals_blocked_fails_the_stop),
	        cmocka_unit_test(thread_that_gets_no_processor_with_signals_blocked_is_waited_for),
	        cmocka_unit_test(stops_work_in_a_forked_child),
	        cmocka_unit_test(a_program_may_close_the_descriptor_or_take_its_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
