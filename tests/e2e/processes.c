/* processes.c - several processes at one volume and at its copies: a second writer is refused by name or waits, and a
 * copy, even one made while the volume is written, is a volume of its own.
 */
#include "book.h"
#include "expect.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
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

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

enum { STEPS = 40, COPIES = 8 };

/* Steps that the processes take together: each waits until the number is reached. */
static volatile unsigned *turn;

static void turn_wait(unsigned n)
{
	while (*turn < n)
		usleep(1000);
}

static int turn_setup(void **state)
{
	(void)state;
	if (!turn)
		turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(turn, MAP_FAILED);
	*turn = 0;
	return 0;
}

static pid_t start(void (*fn)(const char *volume), const char *volume)
{
	pid_t child = fork();

	if (child)
		return child;
	alarm(120); /* a turn that never comes */
	fn(volume);
	_exit(0);
}

static void finish(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	if (status)
		fail_msg("a process ended with status 0x%x", status);
}

static void in_process(void (*fn)(const char *volume), const char *volume)
{
	finish(start(fn, volume));
}

static struct book *book_open(const char *volume, int *id)
{
	struct book *b;

	EXPECT(!pVOpen(volume));
	*id = pCRestore(1, (void **)&b);
	EXPECT(*id);
	EXPECT(book_is_right(b));
	return b;
}

static void steps_take(struct book *b, int id, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		book_step(b);
		EXPECT(pPointSync(id) > 0);
	}
}

static void book_make(const char *volume)
{
	struct book *b;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*b), (void **)&b);
	EXPECT(id);
	b->seed = 11;
	steps_take(b, id, STEPS);
	EXPECT(!pVClose());
}

/* --- waiting --- */

static void hold_for_a_turn(const char *volume)
{
	int id;
	struct book *b = book_open(volume, &id);

	*turn = 1;
	turn_wait(2);
	usleep(50000); /* the other is probably waiting by now; it must not matter */
	steps_take(b, id, 1);
	EXPECT(!pVClose());
}

static void hold_until_killed(const char *volume)
{
	int id;

	book_open(volume, &id);
	*turn = 1;
	for (;;)
		pause();
}

static pid_t holder;

static bool is_refused_by_name(const char *volume, const char *wait)
{
	char name[600], pid[32];
	void *root;

	snprintf(name, sizeof(name), "%s%s", volume, wait);
	snprintf(pid, sizeof(pid), "process %d", (int)holder);
	if (pVOpen(name) || pCRestore(1, &root) || errno != EAGAIN)
		return false;
	if (pCDelete(1) != -1 || errno != EAGAIN || pVClose())
		return false;
	if (pVOpen(name) || pCRestore(1, &root) || errno != EAGAIN)
		return false;
	return strstr(pErrorMsg(), pid) != NULL && !pVClose();
}

static void be_refused(const char *volume)
{
	EXPECT(is_refused_by_name(volume, ""));
	EXPECT(is_refused_by_name(volume, "?wait=0.2"));
}

static void a_second_writer_is_told_who_writes_also_after_waiting(void **state)
{
	const char *volume = scratch("held.vol");

	(void)state;
	in_process(book_make, volume);
	holder = start(hold_for_a_turn, volume);
	turn_wait(1);
	in_process(be_refused, volume);
	*turn = 2;
	finish(holder);
}

static void wait_and_go_on(const char *volume)
{
	char name[600];
	int id;
	struct book *b;

	snprintf(name, sizeof(name), "file:%s?wait=100", volume);
	*turn = 2;
	b = book_open(name, &id);
	EXPECT(b->steps == STEPS + 1); /* what the other did last is there */
	steps_take(b, id, 1);
	EXPECT(!pVClose());
}

static void a_second_writer_waits_until_the_first_lets_go(void **state)
{
	const char *volume = scratch("waited.vol");

	(void)state;
	in_process(book_make, volume);
	holder = start(hold_for_a_turn, volume);
	turn_wait(1);
	in_process(wait_and_go_on, volume);
	finish(holder);
}

static void wait_for_the_killed(const char *volume)
{
	char name[600];
	struct book *b;
	int id;

	snprintf(name, sizeof(name), "%s?wait=100", volume);
	*turn = 2;
	b = book_open(name, &id);
	steps_take(b, id, 1);
	EXPECT(!pVClose());
}

static void a_second_writer_waits_until_the_first_is_killed(void **state)
{
	const char *volume = scratch("killed.vol");
	pid_t second;
	int status;

	(void)state;
	in_process(book_make, volume);
	holder = start(hold_until_killed, volume);
	turn_wait(1);
	second = start(wait_for_the_killed, volume);
	turn_wait(2);
	usleep(50000);
	kill(holder, SIGKILL);
	waitpid(holder, &status, 0);
	finish(second);
}

static void name_badly(const char *volume)
{
	static const char *const bad[] = {"?wait=",   "?wait=soon", "?wait=-1", "?wait=nan",
	                                  "?wait=1s", "?wait=1e9",  "?hurry=1", "?"};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char name[600];

		snprintf(name, sizeof(name), "%s%s", volume, bad[i]);
		EXPECT(pVOpen(name) == -1 && errno == EINVAL && strstr(pErrorMsg(), volume));
	}
	EXPECT(access(volume, F_OK));
}

static void a_badly_written_wait_is_refused(void **state)
{
	(void)state;
	in_process(name_badly, scratch("bad.vol"));
}

/* --- copies --- */

static void copy(const char *from, const char *to)
{
	char command[1300];

	snprintf(command, sizeof(command), "cp %s %s", from, to);
	assert_int_equal(system(command), 0);
}

static void go_on_by_two(const char *volume)
{
	int id;
	struct book *b = book_open(volume, &id);

	*turn += 1; /* one after the other: the parent starts the second when the first is open */
	turn_wait(2);
	steps_take(b, id, 2);
	EXPECT(b->steps == STEPS + 2);
	turn_wait(3);
	EXPECT(!pVClose());
}

static void go_on_by_five(const char *volume)
{
	int id;
	struct book *b = book_open(volume, &id);

	*turn += 1;
	steps_take(b, id, 5);
	EXPECT(b->steps == STEPS + 5);
	*turn = 3;
	EXPECT(!pVClose());
}

static void see_two_more(const char *volume)
{
	int id;

	EXPECT(book_open(volume, &id)->steps == STEPS + 2);
}

static void see_five_more(const char *volume)
{
	int id;

	EXPECT(book_open(volume, &id)->steps == STEPS + 5);
}

static void a_copy_is_a_volume_of_its_own(void **state)
{
	char original[600], second[600];
	pid_t first;

	(void)state;
	snprintf(original, sizeof(original), "%s", scratch("original.vol"));
	snprintf(second, sizeof(second), "%s", scratch("copy.vol"));
	in_process(book_make, original);
	copy(original, second);
	first = start(go_on_by_two, original);
	turn_wait(1);
	in_process(go_on_by_five, second);
	finish(first);
	in_process(see_two_more, original);
	in_process(see_five_more, second);
}

static void write_until_told(const char *volume)
{
	int id;
	struct book *b = book_open(volume, &id);

	*turn = 1;
	while (*turn < 2 && b->steps < 20000)
		steps_take(b, id, 1);
	EXPECT(!pVClose());
}

/* Crash-consistent, or refused as damaged: nothing wrong is handed out. Then it goes on, unlike the original. */
static void see_a_moving_copy(const char *volume)
{
	struct book *b;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(1, (void **)&b);
	if (!id) {
		EXPECT(errno == EUCLEAN && strstr(pErrorMsg(), "container 1") && strlen(pErrorMsg()) > 60);
		return;
	}
	EXPECT(b->steps >= STEPS && book_is_right(b));
	steps_take(b, id, 2);
	EXPECT(!pVClose());
}

static void a_copy_made_while_the_volume_is_written_is_whole_or_refused(void **state)
{
	char original[600], second[600];
	pid_t writer;

	(void)state;
	snprintf(original, sizeof(original), "%s", scratch("moving.vol"));
	snprintf(second, sizeof(second), "%s", scratch("moving-copy.vol"));
	in_process(book_make, original);
	writer = start(write_until_told, original);
	turn_wait(1);
	for (unsigned i = 0; i < COPIES; i++) {
		copy(original, second);
		in_process(see_a_moving_copy, second);
		unlink(second);
	}
	*turn = 2;
	finish(writer);
	in_process(see_a_moving_copy, original);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(a_second_writer_is_told_who_writes_also_after_waiting, turn_setup),
	        cmocka_unit_test_setup(a_second_writer_waits_until_the_first_lets_go, turn_setup),
	        cmocka_unit_test_setup(a_second_writer_waits_until_the_first_is_killed, turn_setup),
	        cmocka_unit_test_setup(a_badly_written_wait_is_refused, turn_setup),
	        cmocka_unit_test_setup(a_copy_is_a_volume_of_its_own, turn_setup),
	        cmocka_unit_test_setup(a_copy_made_while_the_volume_is_written_is_whole_or_refused, turn_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
