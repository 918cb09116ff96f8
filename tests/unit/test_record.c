/* test_record.c - recording and replay: what pRecord acknowledged comes back once and in order, whatever became of points; on any
 * branch; from any version.
 *
 * The state is a list of numbers, the inputs are the numbers. So a state shows which inputs it has, how often, in which order.
 */
#include "expect.h"
#include "process.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { CONTAINER = 7 };

struct root {
	uint64_t n, room;
	uint64_t *number;
};

static int apply(const void *bytes, size_t n, void *arg)
{
	struct root *r = arg;

	if (n != 8)
		return 1;
	if (r->n == r->room) {
		r->room = r->room * 2 + 8;
		r->number = pRealloc(r->number, r->room * 8);
	}
	memcpy(&r->number[r->n++], bytes, 8);
	return 0;
}

/* As a program does it. */
static int input(int id, struct root *r, uint64_t number)
{
	return pRecord(id, &number, 8) ? apply(&number, 8, r) : -1;
}

static int inputs(int id, struct root *r, uint64_t from, uint64_t to)
{
	int result = 0;

	for (; from <= to && !result; from++)
		result = input(id, r, from);
	return result;
}

static bool has(const struct root *r, uint64_t from, uint64_t to)
{
	if (r->n != to - from + 1) {
		fprintf(stderr, "%llu numbers, not %llu to %llu\n", (unsigned long long)r->n, (unsigned long long)from,
		        (unsigned long long)to);
		return false;
	}
	for (uint64_t i = 0; i < r->n; i++)
		if (r->number[i] != from + i)
			return false;
	return true;
}

static int begin(const char *volume, struct root **r)
{
	void *root;
	int id = pVOpen(volume) ? 0 : pCAlloc(CONTAINER, sizeof(struct root), &root);

	if (id)
		*r = root;
	return id;
}

static int restore(const char *volume, struct root **r)
{
	void *root;
	int id = pVOpen(volume) ? 0 : pCRestore(CONTAINER, &root);

	if (id)
		*r = root;
	return id;
}

/* ---- */

static int before_a_crash(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r);
	int64_t last = 0;

	EXPECT(id);
	for (uint64_t i = 1; i <= 100; i++) {
		int64_t number = pRecord(id, &i, 8);

		EXPECT(number > last);
		last = number;
		EXPECT(!apply(&i, 8, r));
		if (i == 40)
			EXPECT(pPointSync(id) == 1);
		if (i == 70)
			EXPECT(pPoint(id) == 2 && !pSync(id));
	}
	return 0; /* no pVClose: as a crash leaves it */
}

static int after_a_crash(const char *volume)
{
	struct pstats stats;
	struct root *r;
	int id = restore(volume, &r);
	uint64_t number = 101;

	EXPECT(id && has(r, 1, 70));
	EXPECT(!pRecord(id, &number, 8) && errno == EBUSY && strstr(pErrorMsg(), "pReplay"));
	EXPECT(pReplay(id, apply, r) == 30 && has(r, 1, 100));
	EXPECT(pReplay(id, apply, r) == 0);
	EXPECT(!inputs(id, r, 101, 110));
	EXPECT(!pStats(CONTAINER, &stats) && stats.input_bytes == 40 * 24);
	EXPECT(pPointSync(id) == 3);
	EXPECT(!pStats(CONTAINER, &stats) && stats.input_bytes == 0);
	EXPECT(!inputs(id, r, 111, 111));
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	EXPECT(!pStats(CONTAINER, &stats) && stats.input_bytes == 24);
	return 0;
}

static int after_another(const char *volume)
{
	struct root *r;
	int id = restore(volume, &r);

	EXPECT(id && has(r, 1, 110) && pReplay(id, apply, r) == 1 && has(r, 1, 111));
	return 0;
}

static void inputs_behind_the_newest_version_come_back(void **state)
{
	const char *volume = scratch("crash.vol");

	(void)state;
	in_process(before_a_crash, volume);
	in_process(after_a_crash, volume);
	in_process(after_another, volume);
}

static int without_a_version(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r);

	EXPECT(id && !inputs(id, r, 1, 50));
	return 0;
}

static int still_without(const char *volume)
{
	struct root *r;
	void *root;
	int id;

	EXPECT(!pVOpen(volume) && !pCRestore(CONTAINER, &root) && errno == ENOENT && !pVClose());
	id = begin(volume, &r);
	EXPECT(id && input(id, r, 0) == -1 && errno == EBUSY);
	EXPECT(pReplay(id, apply, r) == 50 && has(r, 1, 50));
	EXPECT(!inputs(id, r, 51, 60));
	return 0;
}

static int with_one(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r);

	EXPECT(id && pReplay(id, apply, r) == 60 && pPointSync(id) == 1 && !pVClose());
	id = restore(volume, &r);
	EXPECT(id && has(r, 1, 60) && pReplay(id, apply, r) == 0);
	return 0;
}

static void inputs_before_the_first_version_come_back(void **state)
{
	const char *volume = scratch("first.vol");

	(void)state;
	in_process(without_a_version, volume);
	in_process(still_without, volume);
	in_process(with_one, volume);
}

/* A point inside the replay, and a replay that stops, and goes on. */
struct slow {
	struct root *r;
	int id;
	uint64_t stop_at;
};

static int apply_some(const void *bytes, size_t n, void *arg)
{
	struct slow *s = arg;

	if (s->r->n + 1 == s->stop_at)
		return -1;
	if (apply(bytes, n, s->r))
		return 1;
	return s->r->n % 10 == 0 && !pPoint(s->id);
}

static int stopped(const char *volume)
{
	struct slow s = {.stop_at = 26};
	struct root *r = NULL;

	s.id = begin(volume, &r);
	s.r = r;
	EXPECT(s.id && !inputs(s.id, r, 1, 9) && pPointSync(s.id) == 1 && !inputs(s.id, r, 10, 50) && !pVClose());
	s.id = restore(volume, &s.r);
	EXPECT(s.id && has(s.r, 1, 9));
	EXPECT(pReplay(s.id, apply_some, &s) == -1 && errno == ECANCELED && has(s.r, 1, 25));
	EXPECT(input(s.id, s.r, 51) == -1 && errno == EBUSY);
	EXPECT(!pSync(s.id));
	return 0;
}

static int gone_on(const char *volume)
{
	struct slow s = {.stop_at = 0};

	s.id = restore(volume, &s.r);
	EXPECT(s.id && has(s.r, 1, 20)); /* of the point inside */
	EXPECT(pReplay(s.id, apply_some, &s) == 30 && has(s.r, 1, 50));
	EXPECT(!pVClose());
	s.id = restore(volume, &s.r);
	EXPECT(s.id && has(s.r, 1, 50) && pReplay(s.id, apply, s.r) == 0);
	EXPECT(pReplay(s.id, NULL, NULL) == -1 && errno == EINVAL);
	return 0;
}

static void a_replay_may_make_points_stop_and_go_on(void **state)
{
	const char *volume = scratch("stop.vol");

	(void)state;
	in_process(stopped, volume);
	in_process(gone_on, volume);
}

/* The version after 1 is captured, and with it inputs, but it never reaches the disk; its number is used again. */
static int version_lost(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r);

	EXPECT(id && !inputs(id, r, 1, 10) && pPointSync(id) == 1 && !inputs(id, r, 11, 20));
	r->number[r->n] = 0;
	EXPECT(!pVClose()); /* for the copy: a volume without the point that comes next */
	EXPECT(!pVOpen(volume));
	return 0;
}

static int version_made_anew(const char *volume)
{
	struct root *r;
	int id = restore(volume, &r);

	EXPECT(id && has(r, 1, 10) && pReplay(id, apply, r) == 10 && pPointSync(id) == 2 && !inputs(id, r, 21, 25));
	EXPECT(!pVClose());
	id = restore(volume, &r);
	EXPECT(id && has(r, 1, 20) && pReplay(id, apply, r) == 5 && has(r, 1, 25));
	EXPECT(pPoint(id) == 3 && pPoint(id) == 3 && !inputs(id, r, 26, 27)); /* no version for nothing */
	EXPECT(pPoint(id) == 4 && !inputs(id, r, 28, 30) && !pVClose());
	id = restore(volume, &r);
	EXPECT(id && has(r, 1, 27) && pReplay(id, apply, r) == 3 && has(r, 1, 30) && pPointSync(id) == 5);
	EXPECT(pRecord(id, NULL, 0) && pPoint(id) == 6 && pRecord(id, NULL, 0) && pPointSync(id) == 7); /* to say so */
	EXPECT(pPointSync(id) == 7 && pPoint(id) == 7 && !pVClose());
	id = restore(volume, &r);
	EXPECT(id && has(r, 1, 30) && pReplay(id, apply, r) == 0);
	return 0;
}

static void points_make_no_difference_to_the_inputs(void **state)
{
	const char *volume = scratch("lost.vol");

	(void)state;
	in_process(version_lost, volume);
	in_process(version_made_anew, volume);
}

/* ---- branches ---- */

/* Ten versions, of ten inputs each, and five more inputs. */
static int history_make(const char *volume, struct root **r)
{
	int id = begin(volume, r);

	for (uint64_t i = 0; id && i < 10; i++)
		if (inputs(id, *r, i * 10 + 1, i * 10 + 10) || !pPointSync(id))
			return 0;
	return inputs(id, *r, 101, 105) ? 0 : id;
}

static int look_for_a_bug(const char *volume)
{
	struct root *r, *old, *bug;
	void *root;
	int id = history_make(volume, &r), view, clone;

	EXPECT(id);
	view = pCOpenAt(CONTAINER, "main~5", &root);
	old = root;
	EXPECT(view && has(old, 1, 50));
	clone = pCClone(view, "bug", &root);
	bug = root;
	EXPECT(clone && has(bug, 1, 50));
	EXPECT(pReplay(clone, apply, bug) == 0); /* its own: none yet */
	EXPECT(pReplay(view, apply, bug) == 55 && has(bug, 1, 105) && has(old, 1, 50));
	EXPECT(!pRecord(view, "x", 1) && errno == EROFS);
	EXPECT(!inputs(clone, bug, 106, 107) && pPointSync(clone) && !inputs(clone, bug, 108, 109));
	EXPECT(!inputs(id, r, 106, 106)); /* of another number there */
	bug = NULL;
	EXPECT(pCOpenAt(CONTAINER, "bug", &root) && pReplay(clone, apply, r) == 0);
	EXPECT(pReplay(view, apply, old) == 56 && has(old, 1, 106)); /* once more, into the view itself */
	EXPECT(!pVClose());
	return 0;
}

static int restore_both(const char *volume)
{
	struct root *r, *bug;
	void *root;
	int id = restore(volume, &r);

	EXPECT(id && has(r, 1, 100) && pReplay(id, apply, r) == 6 && has(r, 1, 106));
	EXPECT(pCSwitch(id, "bug", &root) == -1 && errno == EBUSY); /* unsaved */
	EXPECT(!pCSwitch(id, "!bug", &root));
	bug = root;
	EXPECT(has(bug, 1, 107) && pReplay(id, apply, bug) == 2 && has(bug, 1, 109));
	EXPECT(!inputs(id, bug, 110, 111));
	EXPECT(!pCSwitch(id, "!bug", &root)); /* the same branch: what no version has is to be replayed again */
	bug = root;
	EXPECT(has(bug, 1, 107) && input(id, bug, 112) == -1 && errno == EBUSY);
	EXPECT(pReplay(id, apply, bug) == 4 && has(bug, 1, 111) && !inputs(id, bug, 112, 112) && pPointSync(id));
	EXPECT(!pCSwitch(id, "main", &root));
	r = root;
	EXPECT(has(r, 1, 100) && pReplay(id, apply, r) == 6 && !inputs(id, r, 107, 108) && pPointSync(id));
	EXPECT(!pCSwitch(id, "main~3", &root) && !pRecord(id, "x", 1) && errno == EROFS);
	EXPECT(has(root, 1, 80) && pReplay(id, apply, root) == 28 && has(root, 1, 108));
	EXPECT(!pCSwitch(id, "main", &root) && has(root, 1, 108) && pReplay(id, apply, root) == 0);
	EXPECT(!pVClose());
	return 0;
}

static int nothing_is_left(const char *volume)
{
	struct pvolume before, after;
	struct root *r;
	void *root;
	int id = restore(volume, &r), view;

	EXPECT(id);
	EXPECT(!pVolume(&before));
	view = pCOpenAt(CONTAINER, "bug", &root);
	EXPECT(view && pBranchDelete(CONTAINER, "bug") == -1 && errno == EAGAIN);
	pCFree(view);
	EXPECT(!pBranchDelete(CONTAINER, "bug"));
	EXPECT(!pVolume(&after) && after.containers == before.containers - 2);
	EXPECT(!inputs(id, r, 109, 109));
	EXPECT(!pCDelete(CONTAINER));
	EXPECT(!pVolume(&after) && after.containers == 0);
	id = pCAlloc(CONTAINER, sizeof(*r), &root); /* one that has nothing to do with it */
	EXPECT(id && pReplay(id, apply, root) == 0 && !inputs(id, root, 1, 5) && !pVClose());
	return 0;
}

static void each_branch_has_inputs_of_its_own(void **state)
{
	const char *volume = scratch("branches.vol");

	(void)state;
	in_process(look_for_a_bug, volume);
	in_process(restore_both, volume);
	in_process(nothing_is_left, volume);
}

static int branch_count(const struct pbranch *branch, void *arg)
{
	(*(int *)arg) += !strcmp(branch->name, "main") ? 1 : 100;
	return 0;
}

static int container_count(const struct pcontainer *c, void *arg)
{
	(*(int *)arg) += c->damage ? 100 : 1;
	return 0;
}

static int logs_are_not_listed(const char *volume)
{
	int n = 0, containers = 0;
	struct root *r;
	void *root;
	int id = history_make(volume, &r);

	EXPECT(id && !pBranches(CONTAINER, branch_count, &n) && n == 1);
	EXPECT(!pContainers(container_count, &containers) && containers == 1);
	EXPECT(!pCOpenAt(CONTAINER, ":", &root) && errno == EINVAL);
	EXPECT(pBranch(CONTAINER, ":1", "main") == -1 && errno == EINVAL);
	EXPECT(pBranchDelete(CONTAINER, ":1") == -1 && errno == EINVAL);
	EXPECT(pCheck(CONTAINER, NULL, NULL, NULL) == 0);
	EXPECT(!pCOpenAt(CONTAINER, "500", &root) && errno == ENOENT && strstr(pErrorMsg(), "are main;"));
	return 0;
}

static void logs_are_no_branches(void **state)
{
	(void)state;
	in_process(logs_are_not_listed, scratch("listed.vol"));
}

/* ---- threads ---- */

enum { THREADS = 8, EACH = 300 };
struct recorder {
	pthread_t thread;
	int id;
	uint64_t who;
	int64_t number[EACH];
};
static pthread_rwlock_t recording = PTHREAD_RWLOCK_INITIALIZER;
static _Atomic uint64_t applied[THREADS];

static void *record_much(void *arg)
{
	struct recorder *t = arg;

	for (uint64_t i = 0; i < EACH; i++) {
		uint64_t bytes[2] = {t->who, i};

		pthread_rwlock_rdlock(&recording);
		t->number[i] = pRecord(t->id, bytes, sizeof(bytes));
		applied[t->who]++;
		pthread_rwlock_unlock(&recording);
		if (!t->number[i] || (i && t->number[i] <= t->number[i - 1]))
			return arg;
	}
	return NULL;
}

static int apply_counted(const void *bytes, size_t n, void *arg)
{
	const uint64_t *input = bytes;
	uint64_t *count = arg;

	return n != 16 || input[0] >= THREADS || input[1] != count[input[0]]++;
}

static int threads_share_commits(const char *volume)
{
	static struct recorder t[THREADS];
	uint64_t *count;
	struct root *r;
	void *failed, *root;
	int id = begin(volume, &r), points = 0;

	EXPECT(id);
	r->number = count = pCalloc(THREADS, 8);
	for (unsigned i = 0; i < THREADS; i++) {
		t[i].id = id;
		t[i].who = i;
		EXPECT(!pthread_create(&t[i].thread, NULL, record_much, &t[i]));
	}
	for (uint64_t sum = 0; sum < THREADS * EACH; points++) {
		pthread_rwlock_wrlock(&recording);
		sum = 0;
		for (unsigned i = 0; i < THREADS; i++)
			sum += count[i] = applied[i];
		EXPECT(points % 2 ? pPointSync(id) : pPoint(id));
		pthread_rwlock_unlock(&recording);
		usleep(2000);
		EXPECT(sum < THREADS * EACH || !pSync(id));
	}
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT(!pthread_join(t[i].thread, &failed) && !failed);
	/* From any version on, the rest. */
	for (int back = 0; back < 10 && back < points - 2; back++) {
		char ref[16];
		int view;

		snprintf(ref, sizeof(ref), "main~%d", back);
		view = pCOpenAt(CONTAINER, ref, &root);
		EXPECT(view && pReplay(view, apply_counted, ((struct root *)root)->number) >= 0);
		for (unsigned i = 0; i < THREADS; i++)
			EXPECT(((struct root *)root)->number[i] == EACH);
		pCFree(view);
	}
	return 0;
}

static void threads_lose_nothing_and_share_commits(void **state)
{
	(void)state;
	in_process(threads_share_commits, scratch("threads.vol"));
}

/* ---- retention ---- */

static int much_is_recorded(const char *volume)
{
	static char bytes[20000];
	struct cattr *attr;
	struct pvolume v;
	struct root *r;
	void *root;
	int id = begin(volume, &r), view;

	attr = id ? pCGetAttr(CONTAINER) : NULL;
	EXPECT(attr);
	attr->versions_kept = 3;
	EXPECT(!pCSetAttr(id, attr));
	pCAttrFree(attr);
	for (unsigned i = 0; i < 6000; i++) {
		EXPECT(pRecord(id, bytes, sizeof(bytes)));
		r->n++;
		if (i % 10 == 9)
			EXPECT(pPoint(id));
		if (i % 100 == 99)
			usleep(20000);
	}
	EXPECT(!pVolume(&v));
	EXPECT(v.bytes < 80 << 20); /* of 120 MB that were recorded */
	view = pCOpenAt(CONTAINER, "main~2", &root);
	EXPECT(view && ((struct root *)root)->n == 5980);
	return 0;
}

static void inputs_that_no_version_lacks_go(void **state)
{
	(void)state;
	in_process(much_is_recorded, scratch("retention.vol"));
}

/* ---- another process ---- */

static int apply_in_row(const void *bytes, size_t n, void *arg)
{
	uint64_t *last = arg, number;

	memcpy(&number, bytes, n < 8 ? n : 8);
	if (n != 1000 || (*last && number != *last + 1))
		return -1;
	*last = number;
	return 0;
}

enum { LOOKS = 4 };

/* Whenever it looks, it finds all inputs up to one that had been acknowledged before, or a later one. */
static int look_on(const char *volume, const volatile uint64_t *acked, volatile uint64_t *looks)
{
	while (!*acked)
		usleep(1000);
	EXPECT(!pVOpen(volume));
	for (; *acked != UINT64_MAX; ++*looks) {
		uint64_t before = *acked, last = 0;
		void *root;
		int view = pCOpenAt(CONTAINER, *looks % 2 ? "main" : "main~2", &root);

		EXPECT(view || before < 500);
		if (!view)
			continue;
		last = ((struct root *)root)->n;
		EXPECT(pReplay(view, apply_in_row, &last) >= 0 || errno == ENOENT);
		EXPECT(errno == ENOENT || last >= before || before == UINT64_MAX);
		errno = 0;
		pCFree(view);
	}
	EXPECT(!pVClose());
	return 0;
}

static int recorded_while_another_looks_on(const char *volume)
{
	volatile uint64_t *acked = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	volatile uint64_t *looks = acked + 1;
	static uint64_t bytes[125];
	struct cattr *attr;
	struct root *r;
	int id, status;
	pid_t child;

	child = fork();
	if (!child)
		_exit(look_on(volume, acked, looks));
	id = begin(volume, &r);
	attr = id ? pCGetAttr(CONTAINER) : NULL;
	EXPECT(attr);
	attr->versions_kept = 4;
	EXPECT(!pCSetAttr(id, attr));
	pCAttrFree(attr);
	for (unsigned i = 0; i < 6000 || (*looks < LOOKS && !waitpid(child, &status, WNOHANG)); i++) {
		bytes[0] = r->n + 1;
		EXPECT(pRecord(id, bytes, sizeof(bytes)));
		*acked = ++r->n;
		EXPECT(i % 100 || pPoint(id));
	}
	*acked = UINT64_MAX;
	EXPECT(waitpid(child, &status, 0) == child && !status);
	return 0;
}

static void others_may_replay_what_is_being_recorded(void **state)
{
	(void)state;
	in_process(recorded_while_another_looks_on, scratch("onlooker.vol"));
}

/* ---- damage ---- */

static int damaged_make(const char *volume)
{
	struct root *r;
	uint64_t i;
	int id = begin(volume, &r);

	EXPECT(id && !inputs(id, r, 1, 3) && pPointSync(id) == 1);
	for (i = 0; i < 2000; i++)
		EXPECT(pRecord(id, "damage this input", 17));
	EXPECT(!pVClose());
	return 0;
}

static void damage(const char *volume)
{
	int fd = open(volume, O_RDWR);
	off_t size = lseek(fd, 0, SEEK_END);
	char *all = malloc((size_t)size), *at;

	assert_true(pread(fd, all, (size_t)size, 0) == size);
	at = all;
	for (size_t left = (size_t)size; left > 17; left--, at++) /* every copy */
		if (*at == 'd' && !memcmp(at, "damage this input", 17))
			*at = 'D';
	assert_true(pwrite(fd, all, (size_t)size, 0) == size);
	free(all);
	close(fd);
}

static int sentence_note(const char *sentence, void *arg)
{
	snprintf(arg, 200, "%s", sentence);
	return 0;
}

static int damaged_is_told(const char *volume)
{
	char sentence[200] = "";
	struct root *r;
	uint64_t number = 4;
	int id = restore(volume, &r);

	EXPECT(id && has(r, 1, 3)); /* the version is whole */
	EXPECT(pReplay(id, apply, r) == -1 && errno == EUCLEAN && strstr(pErrorMsg(), "recorded inputs"));
	EXPECT(pCheck(CONTAINER, sentence_note, sentence, NULL) == 1 && strstr(sentence, "inputs of branch main"));
	EXPECT(!pRecord(id, &number, 8) && (errno == EBUSY || errno == EUCLEAN));
	EXPECT(!pRecordDrop(id) && pReplay(id, apply, r) == 0 && !inputs(id, r, 4, 6));
	EXPECT(!pRecordDrop(id) && !pRecord(id, &number, 8) && errno == EBUSY && strstr(pErrorMsg(), "point"));
	EXPECT(pPointSync(id) == 2 && !inputs(id, r, 7, 9));
	EXPECT(pCheck(CONTAINER, NULL, NULL, NULL) == 0);
	EXPECT(!pVClose());
	id = restore(volume, &r);
	EXPECT(id && has(r, 1, 6) && pReplay(id, apply, r) == 3 && has(r, 1, 9));
	return 0;
}

static void damaged_inputs_are_named_and_can_be_given_up(void **state)
{
	const char *volume = scratch("damaged.vol");

	(void)state;
	in_process(damaged_make, volume);
	damage(volume);
	in_process(damaged_is_told, volume);
}

/* A forked child has the inputs in memory, but not on its branch, until its first point. */
static int fork_off(const char *volume, int id, struct root *r)
{
	uint64_t number = 31;
	struct root *bug;
	void *root;

	EXPECT(!pRecord(id, &number, 8) && errno == ECHILD);
	EXPECT(!pCFork(id, "child") && has(r, 1, 30));
	EXPECT(pReplay(id, apply, r) == 0);
	EXPECT(!pRecord(id, &number, 8) && errno == EBUSY && strstr(pErrorMsg(), "point"));
	EXPECT(pPointSync(id) && !inputs(id, r, 31, 40));
	EXPECT(!pVClose() && !pVOpen(volume) && (id = pCOpenBranch(CONTAINER, "child", &root)));
	bug = root;
	EXPECT(has(bug, 1, 30) && pReplay(id, apply, bug) == 10 && has(bug, 1, 40) && !pVClose());
	return 0;
}

static int forked(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r), status;
	pid_t child;

	EXPECT(id && !inputs(id, r, 1, 20) && pPointSync(id) && !inputs(id, r, 21, 30));
	child = fork();
	if (!child)
		_exit(fork_off(volume, id, r));
	EXPECT(!inputs(id, r, 31, 33) && waitpid(child, &status, 0) == child && !status);
	EXPECT(!inputs(id, r, 34, 35) && !pVClose());
	id = restore(volume, &r);
	EXPECT(id && pReplay(id, apply, r) == 15 && has(r, 1, 35));
	return 0;
}

static _Atomic bool is_enough;

static void *record_on(void *arg)
{
	struct recorder *t = arg;
	static const char bytes[5000];

	while (!is_enough)
		if (!pRecord(t->id, bytes, t->who * 1200) && errno != EBUSY) /* that is after pRecordDrop */
			return arg;
	return NULL;
}

/* Begins and ends some threads that record, and runs fn meanwhile. */
static int amidst(const char *volume, int (*fn)(int id, const char *volume))
{
	static struct recorder t[4];
	void *failed;
	struct root *r;
	int id = begin(volume, &r), result;

	EXPECT(id && pPointSync(id));
	for (unsigned i = 0; i < 4; i++) {
		t[i].id = id;
		t[i].who = i;
		EXPECT(!pthread_create(&t[i].thread, NULL, record_on, &t[i]));
	}
	result = fn(id, volume);
	is_enough = true;
	for (unsigned i = 0; i < 4; i++)
		EXPECT(!pthread_join(t[i].thread, &failed) && !failed);
	EXPECT(!pVClose());
	return result;
}

static int drop_amidst(int id, const char *volume)
{
	(void)volume;
	for (unsigned n = 0; n < 40; n++) {
		EXPECT(!pRecordDrop(id) && pPointSync(id));
		usleep(n * 200);
	}
	return 0;
}

static int ignore(const void *bytes, size_t n, void *arg)
{
	(void)bytes, (void)n, (void)arg;
	return 0;
}

static int dropped_amidst(const char *volume)
{
	struct root *r;
	int id;

	EXPECT(!amidst(volume, drop_amidst));
	id = restore(volume, &r);
	EXPECT(id && pReplay(id, ignore, NULL) >= 0 && pRecord(id, "x", 1) && !pVClose());
	return 0;
}

static void inputs_are_given_up_while_others_come(void **state)
{
	(void)state;
	in_process(dropped_amidst, scratch("dropped.vol"));
}

static int forked_once(int id, unsigned n)
{
	char name[16];
	uint64_t number = 1;

	snprintf(name, sizeof(name), "child-%u", n);
	EXPECT(!pCFork(id, name) && pPointSync(id) && pRecord(id, &number, 8) && !pVClose());
	return 0;
}

/* What another thread is just recording is nothing to the child. */
static int fork_amidst(int id, const char *volume)
{
	int status;

	(void)volume;
	for (unsigned n = 0; n < 25; n++) {
		pid_t child;

		usleep(n * 100);
		child = fork();
		if (!child)
			_exit(forked_once(id, n));
		EXPECT(waitpid(child, &status, 0) == child && !status);
	}
	return 0;
}

static int forked_amidst(const char *volume)
{
	return amidst(volume, fork_amidst);
}

static void a_fork_waits_for_inputs_under_way(void **state)
{
	(void)state;
#ifdef __SANITIZE_ADDRESS__
	skip(); /* its allocator takes no locks for a fork: the child would wait for ever for one that a thread had */
#endif
	in_process(forked_amidst, scratch("amidst.vol"));
}

static void a_forked_child_has_inputs_of_its_own(void **state)
{
	(void)state;
	in_process(forked, scratch("forked.vol"));
}

static int misuse(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r), status;
	pid_t child;

	EXPECT(id && !pRecord(0, "x", 1) && errno == EINVAL && !pRecord(id, NULL, 1) && errno == EINVAL);
	EXPECT(pRecord(id, NULL, 0) && pReplay(0, apply, r) == -1 && errno == EINVAL);
	EXPECT(!pRecord(id, "x", (size_t)1 << 60) && pRecord(id, "x", 1));
	child = fork();
	if (!child)
		_exit(!pRecord(id, "x", 1) && errno == ECHILD && pReplay(id, apply, r) == -1 && errno == ECHILD ? 0
		                                                                                                : 1);
	EXPECT(waitpid(child, &status, 0) == child && !status);
	pCFree(id);
	EXPECT(!pRecord(id, "x", 1) && errno == EINVAL);
	return 0;
}

static struct root *nested;
static int nested_id;

/* The first input is applied, and all others by another replay. */
static int apply_all(const void *bytes, size_t n, void *arg)
{
	return apply(bytes, n, arg) || (nested->n == 1 && pReplay(nested_id, apply, arg) != 4);
}

static int two_replays_make(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r);

	EXPECT(id && pPointSync(id) == 1 && !inputs(id, r, 1, 5));
	return 0;
}

static int two_replays_meet(const char *volume)
{
	nested_id = restore(volume, &nested);
	EXPECT(nested_id && has(nested, 1, 0));
	EXPECT(pReplay(nested_id, apply_all, nested) == 1 && has(nested, 1, 5));
	EXPECT(pReplay(nested_id, apply, nested) == 0 && !inputs(nested_id, nested, 6, 7));
	return 0;
}

static void an_input_is_handed_over_once(void **state)
{
	const char *volume = scratch("twice.vol");

	(void)state;
	in_process(two_replays_make, volume);
	in_process(two_replays_meet, volume);
}

static void misuse_is_refused(void **state)
{
	(void)state;
	in_process(misuse, scratch("misuse.vol"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(inputs_behind_the_newest_version_come_back),
	        cmocka_unit_test(inputs_before_the_first_version_come_back),
	        cmocka_unit_test(a_replay_may_make_points_stop_and_go_on),
	        cmocka_unit_test(points_make_no_difference_to_the_inputs),
	        cmocka_unit_test(each_branch_has_inputs_of_its_own),
	        cmocka_unit_test(logs_are_no_branches),
	        cmocka_unit_test(threads_lose_nothing_and_share_commits),
	        cmocka_unit_test(inputs_that_no_version_lacks_go),
	        cmocka_unit_test(others_may_replay_what_is_being_recorded),
	        cmocka_unit_test(damaged_inputs_are_named_and_can_be_given_up),
	        cmocka_unit_test(a_forked_child_has_inputs_of_its_own),
	        cmocka_unit_test(a_fork_waits_for_inputs_under_way),
	        cmocka_unit_test(inputs_are_given_up_while_others_come),
	        cmocka_unit_test(an_input_is_handed_over_once),
	        cmocka_unit_test(misuse_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
