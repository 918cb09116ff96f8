/* crash_kill.c - SIGKILL at random moments, several threads, several containers, both trackers.
 *
 * The victim runs three threads: one writes container 1 with asynchronous points and a sync now and then, one writes
 * container 2 with synchronous points, one only allocates and frees. After each sync they note, in memory shared with
 * the test, how many steps are durable. Container 1 is written in chunks of 16 KiB. In some lives every point is frozen by a clone of the process. After the kill
 * another process restores both: each must be whole by an independent model, and not older than the note. The volume
 * lives on from kill to kill.
 */
#include "book.h"
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

static volatile uint64_t *durable; /* [3], shared */
static const char *volume;
static uint64_t seed;

static void give_up(int code)
{
	fprintf(stderr, "%s\n", pErrorMsg());
	_exit(code);
}

static void chunks_set(int id)
{
	struct cattr *attr = pCGetAttr(1);

	if (!attr)
		give_up(7);
	attr->chunk_bytes = 16384;
	if (pCSetAttr(id, attr))
		give_up(7);
	pCAttrFree(attr);
}

static struct book *book_open(int magic, int *id)
{
	void *root;

	*id = pCRestore(magic, &root);
	if (*id)
		return root;
	if (errno != ENOENT)
		give_up(6);
	*id = pCAlloc(magic, sizeof(struct book), &root);
	if (!*id) {
		fprintf(stderr, "container %d: %s\n", magic, pErrorMsg());
		_exit(2);
	}
	((struct book *)root)->seed = seed + (unsigned)magic;
	if (magic == 1)
		chunks_set(*id);
	return root;
}

static void *write_async(void *arg)
{
	int id;
	struct book *b = book_open(1, &id);

	(void)arg;
	for (unsigned i = 0;; i++) {
		for (unsigned n = 0; n < 5; n++)
			book_step(b);
		if (!pPoint(id))
			give_up(3);
		if (i % 8 == 7) {
			if (pSync(id))
				give_up(4);
			durable[1] = b->steps;
		}
	}
	return NULL;
}

static void *write_sync(void *arg)
{
	int id;
	struct book *b = book_open(2, &id);

	(void)arg;
	for (;;) {
		book_step(b);
		if (!pPointSync(id))
			give_up(5);
		durable[2] = b->steps;
	}
	return NULL;
}

static void *make_noise(void *arg)
{
	void *kept[64] = {0};
	uint64_t state = seed;

	(void)arg;
	for (;;) {
		uint64_t r = test_random(&state);

		pFree(kept[r % 64]);
		kept[r % 64] = pMalloc(r >> 40 & 2047);
		if (r % 1024 == 0)
			usleep(100);
	}
	return NULL;
}

static void victim(void)
{
	pthread_t t;

	if (pVOpen(volume)) {
		fprintf(stderr, "%s\n", pErrorMsg());
		_exit(1);
	}
	pthread_create(&t, NULL, write_async, NULL);
	pthread_create(&t, NULL, make_noise, NULL);
	write_sync(NULL);
}

static void one_check(int magic)
{
	void *root;
	int id = pCRestore(magic, &root);
	const struct book *b = root;

	if (!id && !durable[magic])
		return; /* killed before its first point */
	if (!id) {
		fprintf(stderr, "container %d: %s\n", magic, pErrorMsg());
		_exit(10);
	}
	if (b->steps < durable[magic]) {
		fprintf(stderr, "container %d: %llu steps were durable, %llu are back\n", magic,
		        (unsigned long long)durable[magic], (unsigned long long)b->steps);
		_exit(11);
	}
	durable[magic] = b->steps;
	if (!book_is_right(b))
		_exit(12);
}

static void check(void)
{
	if (pVOpen(volume)) {
		fprintf(stderr, "%s\n", pErrorMsg());
		_exit(13);
	}
	one_check(1);
	one_check(2);
	_exit(0); /* without closing: the next victim finds what a crash leaves */
}

static int run(void (*fn)(void), const char *tracker, const char *freeze, unsigned kill_after_us)
{
	int status;
	pid_t child = fork();

	if (!child) {
		setenv("SOFTPM_TRACK", tracker, 1);
		setenv("SOFTPM_FREEZE", freeze, 1);
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

static void restore_after_kill_keeps_every_synced_version(void **state)
{
	const char *forced = getenv("SOFTPM_TRACK");
	const char *const tracker[] = {forced ? forced : "wp", forced ? forced : "mprotect"};
	uint64_t kills = test_number("SOFTPM_KILLS", 100), random;

	(void)state;
	random = seed = test_seed();
	volume = scratch("kill.vol");
	durable = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (uint64_t i = 0; i < kills; i++) {
		const char *t = tracker[i % 2], *freeze = i % 8 < 6 ? "" : "clone";

		if (durable[1] > 100000) { /* the model replays all steps: begin again before that takes long */
			unlink(volume);
			durable[1] = durable[2] = 0;
		}
		assert_int_equal(run(victim, t, freeze, 1000 + (unsigned)(test_random(&random) % 80000)), 0);
		assert_int_equal(run(check, t, freeze, 0), 0);
	}
	printf("%llu kills; %llu asynchronous and %llu synchronous steps\n", (unsigned long long)kills,
	       (unsigned long long)durable[1], (unsigned long long)durable[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(restore_after_kill_keeps_every_synced_version)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
