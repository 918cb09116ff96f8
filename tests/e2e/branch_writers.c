/* branch_writers.c - one container, a branch of it for each of several writing processes, which drop old versions all the time; others
 * read versions, and make and delete branches and tags of all of them. Any of them is killed at any instant and started again. What a
 * writer had acknowledged is there, what a reader opens is right, and in the end the volume is whole and has not grown without end.
 *
 * $SOFTPM_SECONDS says how long; $SOFTPM_SEED which processes are killed when.
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

enum { CONTAINER = 3, WRITERS = 5, READERS = 3, NAMERS = 2, PROCESSES = WRITERS + READERS + NAMERS, KEPT = 3 };
enum { STEPS_MOST = 4000, MIB_MOST = 200 };

static struct shared {
	volatile uint64_t synced[WRITERS]; /* steps that a writer's last pSync promised */
	volatile unsigned reads, names, points;
	volatile bool is_over;
} * shared;

static const char *volume;

static void branch_name(char *name, unsigned i)
{
	sprintf(name, "w%u", i);
}

/* A branch that took STEPS_MOST steps begins again, with the seed it has: checking a book takes time by its steps. */
static void book_clear(struct book *b)
{
	for (unsigned i = 0; i < BOOK_BUCKETS; i++)
		for (struct entry *e = b->bucket[i], *next; e; e = next) {
			next = e->next;
			pFree(e->text);
			pFree(e);
		}
	memset(b->bucket, 0, sizeof(b->bucket));
	b->steps = 0;
}

static void write_on(unsigned i, uint64_t seed)
{
	char name[16];
	void *root;
	struct book *b;
	int id;

	branch_name(name, i);
	id = pCOpenBranch(CONTAINER, name, &root);
	EXPECT(id);
	b = root;
	EXPECT(book_is_right(b));
	EXPECT(b->steps >= shared->synced[i]);
	while (!shared->is_over) {
		if (b->steps >= STEPS_MOST) {
			shared->synced[i] = 0;
			book_clear(b);
		}
		for (uint64_t n = test_random(&seed) % 4; n; n--)
			book_step(b);
		EXPECT(pPoint(id));
		if (test_random(&seed) % 2) {
			uint64_t steps = b->steps;

			EXPECT(!pSync(id));
			shared->synced[i] = steps;
		}
		shared->points++;
		if (test_random(&seed) % 64 == 0)
			usleep(25000); /* for the worker's upkeep */
	}
	EXPECT(!pSync(id));
}

static void read_any(uint64_t seed)
{
	while (!shared->is_over) {
		uint64_t r = test_random(&seed);
		char ref[32];
		void *root;
		int id;

		if (r >> 62)
			sprintf(ref, "w%u~%u", (unsigned)(r % WRITERS), (unsigned)(r >> 32) % (KEPT + 1));
		else
			sprintf(ref, "%s%u", r >> 61 ? "tag" : "try", (unsigned)(r >> 40) % 4);
		id = pCOpenAt(CONTAINER, ref, &root);
		EXPECT(id || errno == ENOENT); /* dropped meanwhile, or never made */
		if (!id)
			continue;
		EXPECT(book_is_right(root));
		pCFree(id);
		shared->reads++;
	}
}

static void name_any(uint64_t seed)
{
	while (!shared->is_over) {
		uint64_t r = test_random(&seed);
		char ref[32], name[32];

		sprintf(ref, "w%u~%u", (unsigned)(r % WRITERS), (unsigned)(r >> 32) % KEPT);
		sprintf(name, "%s%u", r >> 62 & 1 ? "tag" : "try", (unsigned)(r >> 40) % 4);
		if (r >> 63)
			EXPECT(!(*name == 't' && name[1] == 'a' ? pTagDelete : pBranchDelete)(CONTAINER, name) ||
			       errno == ENOENT || errno == EBUSY || errno == EAGAIN);
		else
			EXPECT(!(*name == 't' && name[1] == 'a' ? pTag : pBranch)(CONTAINER, name, ref) ||
			       errno == ENOENT || errno == EEXIST);
		shared->names++;
	}
}

static pid_t start(unsigned i, uint64_t seed)
{
	pid_t child = fork();

	if (child)
		return child;
	alarm(240);
	EXPECT(!pVOpen(volume));
	if (i < WRITERS)
		write_on(i, seed);
	else if (i < WRITERS + READERS)
		read_any(seed);
	else
		name_any(seed);
	EXPECT(!pVClose());
	_exit(0);
}

static void finish(pid_t child, bool may_be_killed)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	if (status && !(may_be_killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
		fail_msg("a process ended with status 0x%x", status);
}

static void make(void)
{
	struct cattr *attr;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(CONTAINER, sizeof(struct book), &root);
	attr = pCGetAttr(CONTAINER);
	EXPECT(id && attr);
	attr->versions_kept = KEPT;
	((struct book *)root)->seed = 5;
	for (unsigned i = 0; i < 100; i++)
		book_step(root);
	EXPECT(!pCSetAttr(id, attr) && pPointSync(id));
	for (unsigned i = 0; i < WRITERS; i++) {
		char name[16];

		branch_name(name, i);
		EXPECT(!pBranch(CONTAINER, name, NULL));
	}
	EXPECT(!pVClose());
	_exit(0);
}

static int damage_print(const char *damage, void *arg)
{
	(void)arg;
	fprintf(stderr, "%s\n", damage);
	return 0;
}

static void look(void)
{
	EXPECT(!pVOpen(volume));
	EXPECT(!pCheck(CONTAINER, damage_print, NULL, NULL));
	for (unsigned i = 0; i < WRITERS; i++) {
		char name[16];
		void *root;

		branch_name(name, i);
		EXPECT(pCOpenBranch(CONTAINER, name, &root));
		EXPECT(book_is_right(root));
		EXPECT(((struct book *)root)->steps >= shared->synced[i]);
	}
	EXPECT(!pVClose());
	_exit(0);
}

static void in_process(void (*fn)(void))
{
	pid_t child = fork();

	if (!child)
		fn();
	finish(child, false);
}

static uint64_t volume_mib(void)
{
	struct stat st;

	assert_int_equal(stat(volume, &st), 0);
	return (uint64_t)st.st_size >> 20;
}

static void branches_with_a_writer_each_stay_whole(void **state)
{
	uint64_t seed = test_seed(), seconds = test_number("SOFTPM_SECONDS", 8), half_mib = 0;
	time_t begin = time(NULL);
	pid_t process[PROCESSES];
	unsigned kills = 0;

	(void)state;
	volume = scratch("writers.vol");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(shared, MAP_FAILED);
	in_process(make);
	for (unsigned i = 0; i < PROCESSES; i++)
		process[i] = start(i, test_random(&seed));
	while ((uint64_t)(time(NULL) - begin) < seconds) {
		unsigned victim = (unsigned)(test_random(&seed) % PROCESSES);

		usleep((unsigned)(test_random(&seed) % 60000));
		kill(process[victim], SIGKILL);
		finish(process[victim], true);
		process[victim] = start(victim, test_random(&seed));
		kills++;
		if (!half_mib && (uint64_t)(time(NULL) - begin) >= seconds / 2)
			half_mib = volume_mib();
	}
	shared->is_over = true;
	for (unsigned i = 0; i < PROCESSES; i++)
		finish(process[i], false);
	printf("%u points, %u reads, %u names, %u kills; %llu MiB in the middle, %llu in the end\n", shared->points,
	       shared->reads, shared->names, kills, (unsigned long long)half_mib, (unsigned long long)volume_mib());
	assert_true(shared->points && shared->reads && shared->names);
	assert_true(volume_mib() < MIB_MOST);
	in_process(look);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(branches_with_a_writer_each_stay_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
