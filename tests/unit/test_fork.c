/* test_fork.c - execution branching: children made by fork(2) go on, writing, each on a branch of its own. Each test runs with both
 * ways of tracking. */
#include "book.h"
#include "expect.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)
#define EXPECT_IN_CHILD(cond) EXPECT_ELSE(cond, _exit(1))

enum { CONTAINER = 7, OTHER = 8, CHILDREN = 6, BIG_BYTES = 48 << 20 };

static bool is_well(pid_t child)
{
	int status;

	return waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status);
}

/* Runs fn in a process of its own, so that the heap begins anew. */
static void in_process(int (*fn)(const char *volume), const char *volume)
{
	pid_t child = fork();

	if (!child) {
		alarm(300);
		exit(fn(volume));
	}
	assert_true(is_well(child));
}

static void with_both_trackers(int (*fn)(const char *volume), const char *name)
{
	static const char *const tracker[] = {"", "mprotect"};
	char file[64];

	for (unsigned i = 0; i < 2; i++) {
		snprintf(file, sizeof(file), "%u%s", i, name);
		setenv("SOFTPM_TRACK", tracker[i], 1);
		in_process(fn, scratch(file));
	}
	unsetenv("SOFTPM_TRACK");
}

static void steps(struct book *b, unsigned n)
{
	while (n--)
		book_step(b);
}

static bool is_at(const struct book *b, uint64_t n)
{
	if (b->steps != n)
		fprintf(stderr, "expected %llu steps, there are %llu\n", (unsigned long long)n,
		        (unsigned long long)b->steps);
	return b->steps == n && book_is_right(b);
}

static struct book *book_make(const char *volume, unsigned n, int *id)
{
	void *root;
	struct book *b;

	if (pVOpen(volume) || !(*id = pCAlloc(CONTAINER, sizeof(*b), &root)))
		return NULL;
	b = root;
	b->seed = 3;
	steps(b, n);
	return pPointSync(*id) ? b : NULL;
}

/* n steps, with a point after each tenth; NULL if one fails. */
static struct book *go_on(struct book *b, int id, unsigned n)
{
	for (unsigned i = 1; i <= n; i++) {
		book_step(b);
		if (i % 10 == 0 && !pPoint(id))
			return NULL;
	}
	return pPointSync(id) ? b : NULL;
}

/* In a process of its own: what another one restores. */
struct expected {
	const char *branch;
	unsigned steps;
};

static int branch_look(const char *volume, struct expected e)
{
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCOpenBranch(CONTAINER, e.branch, &root));
	EXPECT(is_at(root, e.steps));
	EXPECT(!pCheck(CONTAINER, NULL, NULL, NULL));
	EXPECT(!pVClose());
	return 0;
}

static bool branches_are(const char *volume, const struct expected *e, unsigned n)
{
	bool is_right = true;

	for (unsigned i = 0; i < n; i++) {
		pid_t child = fork();

		if (!child)
			_exit(branch_look(volume, e[i]));
		if (!is_well(child)) {
			fprintf(stderr, "branch %s\n", e[i].branch);
			is_right = false;
		}
	}
	return is_right;
}

/* ---- one child ---- */

static int one_child(const char *volume)
{
	int id;
	struct book *b = book_make(volume, 100, &id);
	pid_t child;

	EXPECT(b);
	steps(b, 7); /* no point has them */
	child = fork();
	if (!child) {
		EXPECT_IN_CHILD(is_at(b, 107));
		EXPECT_IN_CHILD(!pPoint(id) && errno == ECHILD && strstr(pErrorMsg(), "pCFork"));
		steps(b, 3); /* nobody tracks them yet */
		EXPECT_IN_CHILD(!pCFork(id, "future"));
		EXPECT_IN_CHILD(pPointSync(id) == 2);
		EXPECT_IN_CHILD(go_on(b, id, 50) && is_at(b, 160));
		EXPECT_IN_CHILD(!pVClose());
		_exit(0);
	}
	EXPECT(go_on(b, id, 61) && is_at(b, 168));
	EXPECT(is_well(child));
	EXPECT(is_at(b, 168));
	EXPECT(!pVClose());
	EXPECT(branches_are(volume, (struct expected[]){{"main", 168}, {"future", 160}}, 2));
	return 0;
}

static void a_child_and_its_parent_go_on_side_by_side(void **state)
{
	(void)state;
	with_both_trackers(one_child, "one.vol");
}

static int first_point(const char *volume)
{
	int id;
	struct book *b = book_make(volume, 100, &id);
	pid_t child;

	EXPECT(b);
	steps(b, 7);
	child = fork();
	if (!child) {
		EXPECT_IN_CHILD(!pCFork(id, "same"));
		EXPECT_IN_CHILD(pPointSync(id) == 2 && pPointSync(id) == 2);
		_exit(0); /* without closing anything */
	}
	EXPECT(is_well(child));
	child = fork();
	if (!child)
		_exit(pCFork(id, "unsaved") || !is_at(b, 107));
	EXPECT(is_well(child));
	EXPECT(!pVClose());
	EXPECT(branches_are(volume, (struct expected[]){{"main", 100}, {"same", 107}, {"unsaved", 100}}, 3));
	return 0;
}

static void what_no_point_had_saved_is_in_the_childs_first(void **state)
{
	(void)state;
	with_both_trackers(first_point, "first.vol");
}

/* ---- refusals ---- */

static int see_branch(const struct pbranch *branch, void *arg)
{
	(void)branch;
	++*(unsigned *)arg;
	return 0;
}

static int refusals_in_child(int id, int view, int fresh)
{
	unsigned branches = 0;
	void *root;

	EXPECT(pVOpen("other.vol") == -1 && errno == ECHILD);
	EXPECT(!pCRestore(CONTAINER, &root) && errno == ECHILD);
	EXPECT(pSync(id) == -1 && errno == ECHILD);
	EXPECT(pCFork(id, NULL) == -1 && errno == EINVAL);
	EXPECT(pCFork(id + 1000, "x") == -1 && errno == EINVAL);
	EXPECT(pCFork(view, "x") == -1 && errno == EROFS);
	EXPECT(pCFork(fresh, "x") == -1 && errno == ENOENT);
	EXPECT(pCFork(id, "a b") == -1 && errno == EINVAL);
	EXPECT(pCFork(id, "main") == -1 && errno == EEXIST);
	EXPECT(pCFork(id, "old") == -1 && errno == EEXIST && strstr(pErrorMsg(), "tag old"));
	EXPECT(!pPoint(id) && errno == ECHILD);
	EXPECT(!pCFork(id, "free"));
	EXPECT(pCFork(id, "again") == -1 && errno == EINVAL && strstr(pErrorMsg(), "pCClone"));
	EXPECT(!pPoint(view) && errno == ECHILD);
	EXPECT(!pCOpenBranch(CONTAINER, "free", &root) && errno == EBUSY);
	EXPECT(!pCOpenBranch(CONTAINER, "main", &root) && (errno == EBUSY || errno == EAGAIN));
	EXPECT(!pCOpenBranch(CONTAINER, "none", &root) && errno == ENOENT);
	EXPECT(!pBranches(CONTAINER, see_branch, &branches) && branches == 2);
	EXPECT(pPointSync(id) == 2);
	EXPECT(!pVClose());
	return 0;
}

static int refusals(const char *volume)
{
	int id, view, fresh;
	struct book *b = book_make(volume, 10, &id);
	void *root;
	pid_t child;

	EXPECT(b && !pCTag(id, "old", NULL));
	view = pCOpenAt(CONTAINER, "old", &root);
	fresh = pCAlloc(OTHER, 64, &root);
	EXPECT(view && fresh);
	EXPECT(pCFork(id, "here") == -1 && errno == EINVAL);
	steps(b, 1);
	child = fork();
	if (!child)
		_exit(refusals_in_child(id, view, fresh));
	EXPECT(is_well(child));
	EXPECT(!pVClose());
	EXPECT(branches_are(volume, (struct expected[]){{"main", 10}, {"free", 11}}, 2));
	return 0;
}

static void what_is_refused_can_be_tried_again(void **state)
{
	(void)state;
	with_both_trackers(refusals, "refused.vol");
}

/* ---- many ---- */

static void name_of(char *name, unsigned i)
{
	sprintf(name, "child-%u", i);
}

static int many_children(const char *volume)
{
	int id;
	struct book *b = book_make(volume, 100, &id);
	struct expected e[CHILDREN + 1] = {{"main", 100 + CHILDREN * 5}};
	char name[CHILDREN][16];
	pid_t child[CHILDREN];

	EXPECT(b);
	for (unsigned i = 0; i < CHILDREN; i++) {
		name_of(name[i], i);
		child[i] = fork();
		if (!child[i]) {
			EXPECT_IN_CHILD(!pCFork(id, name[i]));
			EXPECT_IN_CHILD(go_on(b, id, 40 + i) && !pVClose());
			_exit(0);
		}
		e[i + 1] = (struct expected){name[i], 100 + i * 5 + 40 + i};
		EXPECT(go_on(b, id, 5));
	}
	for (unsigned i = 0; i < CHILDREN; i++)
		EXPECT(is_well(child[i]));
	EXPECT(!pVClose());
	EXPECT(branches_are(volume, e, CHILDREN + 1));
	return 0;
}

static void many_children_write_a_branch_each(void **state)
{
	(void)state;
	with_both_trackers(many_children, "many.vol");
}

/* Each generation but the second calls pCFork; each takes ten steps, and leaves when the next is gone. */
static int generations(struct book *b, int id, unsigned n)
{
	char name[16];
	pid_t child;

	name_of(name, n);
	if (n != 2)
		EXPECT(!pCFork(id, name));
	steps(b, 10);
	if (n != 2)
		EXPECT(pPoint(id));
	child = n < 4 ? fork() : -1;
	if (!child)
		_exit(generations(b, id, n + 1));
	EXPECT(n == 4 || is_well(child));
	steps(b, 1);
	if (n != 2)
		EXPECT(pPointSync(id) && !pVClose());
	return 0;
}

static int grandchildren(const char *volume)
{
	int id;
	struct book *b = book_make(volume, 100, &id);
	pid_t child;

	EXPECT(b);
	child = fork();
	if (!child)
		_exit(generations(b, id, 1));
	EXPECT(is_well(child));
	EXPECT(!pVClose());
	EXPECT(branches_are(
	        volume, (struct expected[]){{"main", 100}, {"child-1", 111}, {"child-3", 131}, {"child-4", 141}}, 4));
	return 0;
}

static void children_of_children_go_on_too(void **state)
{
	(void)state;
	with_both_trackers(grandchildren, "grand.vol");
}

/* ---- what the parent is doing ---- */

/* Many pages, so that writing them takes a while. */
static int under_way(const char *volume)
{
	int id;
	struct book *b = book_make(volume, 10, &id);
	char *big = pMallocNoPtr(BIG_BYTES);
	pid_t child;

	EXPECT(b && big);
	memset(big, 1, BIG_BYTES);
	b->more = big;
	steps(b, 1);
	EXPECT(pPoint(id) == 2);
	child = fork();
	if (!child) {
		EXPECT_IN_CHILD(!pCFork(id, "future"));
		EXPECT_IN_CHILD(pPointSync(id) == 2); /* nothing changed since that point */
		big[BIG_BYTES / 2] = 2;
		steps(b, 1);
		EXPECT_IN_CHILD(pPointSync(id) == 3 && !pVClose());
		_exit(0);
	}
	big[0] = 3;
	EXPECT(pPointSync(id) == 3);
	EXPECT(is_well(child));
	EXPECT(!pVClose());
	EXPECT(branches_are(volume, (struct expected[]){{"main", 11}, {"future", 12}}, 2));
	return 0;
}

static void a_point_under_way_is_what_the_branch_begins_with(void **state)
{
	(void)state;
	with_both_trackers(under_way, "under.vol");
	setenv("SOFTPM_FREEZE", "clone", 1);
	with_both_trackers(under_way, "clone.vol");
	unsetenv("SOFTPM_FREEZE");
}

/* The parent makes points of which it keeps one, and closes, before the child asks for its branch. */
static int late_child(const char *volume)
{
	int id, ready[2];
	struct book *b = book_make(volume, 100, &id);
	struct cattr *attr = pCGetAttr(CONTAINER);
	pid_t child;
	char c;

	EXPECT(b && attr && !pipe(ready));
	attr->versions_kept = 1;
	EXPECT(!pCSetAttr(id, attr) && pPointSync(id));
	pCAttrFree(attr);
	child = fork();
	if (!child) {
		close(ready[1]);
		EXPECT_IN_CHILD(!read(ready[0], &c, 1));
		EXPECT_IN_CHILD(!pCFork(id, "late"));
		EXPECT_IN_CHILD(go_on(b, id, 5) && !pVClose());
		_exit(0);
	}
	for (unsigned i = 0; i < 300; i++) {
		EXPECT(go_on(b, id, 1));
		usleep(i % 100 ? 0 : 30000); /* versions are dropped in idle time */
	}
	EXPECT(!pVClose());
	close(ready[1]);
	EXPECT(is_well(child));
	EXPECT(branches_are(volume, (struct expected[]){{"main", 400}, {"late", 105}}, 2));
	return 0;
}

static void a_branch_can_begin_however_late_it_is_asked_for(void **state)
{
	(void)state;
	with_both_trackers(late_child, "late.vol");
}

static _Atomic bool is_over;

/* Allocates and frees, what no container has and what one has; never ends with less than it began. */
static void *churn(void *arg)
{
	void **list = arg;
	uint64_t state = (uintptr_t)arg;

	while (!is_over) {
		uint64_t r = test_random(&state);
		void **slot = &list[r % 200 + 1];
		void *gone = *slot;

		*slot = pMalloc(16 + (r >> 32) % 3000);
		pFree(gone);
	}
	return NULL;
}

static void *point_often(void *arg)
{
	int id = *(int *)arg;

	while (!is_over)
		if (!pPoint(id))
			return (void *)"a point failed";
	return NULL;
}

struct forest {
	struct book book;
	void **list[3]; /* of each thread that churns */
};

static int threads_run(const char *volume)
{
	int id;
	void *root, *failed = NULL;
	struct forest *f;
	pthread_t thread[4];
	char name[16];

	EXPECT(!pVOpen(volume) && (id = pCAlloc(CONTAINER, sizeof(*f), &root)));
	f = root;
	steps(&f->book, 50);
	for (unsigned i = 0; i < 3; i++)
		f->list[i] = pCalloc(201, sizeof(void *));
	EXPECT(pPointSync(id));
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&thread[i], NULL, churn, f->list[i]);
	pthread_create(&thread[3], NULL, point_often, &id);
	for (unsigned i = 0; i < 12; i++) {
		pid_t child = fork();

		if (!child) {
			name_of(name, i);
			EXPECT_IN_CHILD(!pCFork(id, name));
			for (unsigned k = 0; k < 3; k++)
				for (unsigned j = 1; j <= 200; j++) {
					pFree(f->list[k][j]);
					f->list[k][j] = j % 2 ? pMalloc(100) : NULL;
				}
			EXPECT_IN_CHILD(go_on(&f->book, id, 30) && !pVClose());
			_exit(0);
		}
		EXPECT(is_well(child));
	}
	is_over = true;
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(thread[i], i == 3 ? &failed : NULL);
		EXPECT(!failed);
	}
	EXPECT(!pVClose());
	for (unsigned i = 0; i < 12; i++) {
		name_of(name, i);
		EXPECT(branches_are(volume, (struct expected[]){{name, 80}}, 1));
	}
	return branches_are(volume, (struct expected[]){{"main", 50}}, 1) ? 0 : 1;
}

static void threads_that_allocate_and_make_points_do_not_matter(void **state)
{
	(void)state;
	with_both_trackers(threads_run, "threads.vol");
}

enum { AREA_PAGES = 8192 };

struct area {
	volatile uint64_t *word; /* one in each page counts */
};

static _Atomic bool has_begun;

/* Each page once: it is clean until just before, or just after, the fork. */
static void *write_all_over(void *arg)
{
	volatile uint64_t *word = arg;

	has_begun = true;
	for (unsigned i = 0; i < AREA_PAGES; i++)
		word[i * 512]++;
	return NULL;
}

/* What the child's memory holds is in its first point, also what was written while the fork was under way. */
static int threads_write(const char *volume)
{
	int id = 0;
	void *root, *then;
	pthread_t thread;
	struct area *a;
	pid_t child;
	char name[16];

	EXPECT(!pVOpen(volume) && (id = pCAlloc(CONTAINER, sizeof(*a), &root)));
	a = root;
	a->word = pMallocNoPtr(AREA_PAGES * 4096);
	EXPECT(a->word && pPointSync(id));
	for (unsigned i = 0; i < 10; i++) {
		has_begun = false;
		pthread_create(&thread, NULL, write_all_over, (void *)(uintptr_t)a->word);
		while (!has_begun)
			;
		child = fork();
		if (!child) {
			name_of(name, i);
			EXPECT_IN_CHILD(!pCFork(id, name) && pPointSync(id));
			EXPECT_IN_CHILD(pCOpenAt(CONTAINER, name, &then));
			for (unsigned k = 0; k < AREA_PAGES; k++)
				EXPECT_IN_CHILD(((struct area *)then)->word[k * 512] == a->word[k * 512]);
			_exit(0);
		}
		EXPECT(is_well(child));
		pthread_join(thread, NULL);
		EXPECT(pPointSync(id));
	}
	EXPECT(!pVClose());
	return 0;
}

static void what_threads_write_during_the_fork_is_not_lost(void **state)
{
	(void)state;
	with_both_trackers(threads_write, "written.vol");
}

/* ---- what a fork costs ---- */

static uint64_t dirty_pages(void)
{
	struct pstats s;

	return pStats(CONTAINER, &s) ? UINT64_MAX : s.dirty_pages;
}

static int little_written(const char *volume)
{
	int id = 0;
	struct book *b = book_make(volume, 100, &id);
	char *big = pMallocNoPtr(BIG_BYTES);
	pid_t child;

	EXPECT(b && big);
	memset(big, 1, BIG_BYTES);
	b->more = big;
	EXPECT(pPointSync(id) == 2);
	big[BIG_BYTES / 3] = 2;
	for (unsigned i = 0; i < 3; i++) {
		child = fork();
		if (!child) {
			uint64_t before = dirty_pages();
			char name[16];

			name_of(name, i);
			big[BIG_BYTES / 2] = 3;
			EXPECT_IN_CHILD(!pCFork(id, name));
			steps(b, 1);
			EXPECT_IN_CHILD(pPointSync(id) == 3 && dirty_pages() - before < 50);
			EXPECT_IN_CHILD(pCOpenAt(CONTAINER, name, (void **)&b));
			big = b->more;
			EXPECT_IN_CHILD(is_at(b, 101) && big[BIG_BYTES / 3] == 2 && big[BIG_BYTES / 2] == 3);
			_exit(0);
		}
		EXPECT(is_well(child));
	}
	EXPECT(pPointSync(id) == 3 && dirty_pages() < BIG_BYTES / 4096 + 200);
	EXPECT(!pVClose());
	return 0;
}

static void a_childs_first_point_looks_at_what_was_written_only(void **state)
{
	(void)state;
	with_both_trackers(little_written, "little.vol");
}

/* The child can't have what its parent had. */
static int tracks_otherwise(const char *volume)
{
	int id;
	struct book *b = book_make(volume, 100, &id);
	pid_t child;

	EXPECT(b);
	steps(b, 4);
	setenv("SOFTPM_TRACK", getenv("SOFTPM_TRACK")[0] ? "" : "mprotect", 1);
	child = fork();
	if (!child) {
		steps(b, 4);
		EXPECT_IN_CHILD(!pCFork(id, "other"));
		steps(b, 4);
		EXPECT_IN_CHILD(pPointSync(id) == 2 && go_on(b, id, 50) && !pVClose());
		_exit(0);
	}
	EXPECT(is_well(child));
	EXPECT(!pVClose());
	EXPECT(branches_are(volume, (struct expected[]){{"main", 100}, {"other", 162}}, 2));
	return 0;
}

static void a_child_may_track_otherwise_than_its_parent(void **state)
{
	(void)state;
	with_both_trackers(tracks_otherwise, "otherwise.vol");
}

/* ---- several containers, and those that lie elsewhere ---- */

static int two_containers(const char *volume)
{
	int id, other, clone;
	struct book *b = book_make(volume, 60, &id), *o, *at_clone;
	void *root;
	pid_t child;

	EXPECT(b);
	other = pCAlloc(OTHER, sizeof(*o), &root);
	EXPECT(other);
	o = root;
	steps(o, 20);
	EXPECT(pPointSync(other));
	clone = pCClone(id, "clone", &root); /* lies elsewhere than its versions say */
	EXPECT(clone && root != b);
	at_clone = root;
	steps(at_clone, 5);
	child = fork();
	if (!child) {
		EXPECT_IN_CHILD(!pCFork(clone, "of-clone"));
		EXPECT_IN_CHILD(go_on(at_clone, clone, 20));
		steps(b, 4); /* while it is nobody's */
		EXPECT_IN_CHILD(go_on(at_clone, clone, 20));
		EXPECT_IN_CHILD(!pPoint(id) && errno == ECHILD && !pPoint(other) && errno == ECHILD);
		EXPECT_IN_CHILD(!pCFork(id, "of-main"));
		EXPECT_IN_CHILD(pPointSync(id) && go_on(b, id, 10));
		EXPECT_IN_CHILD(is_at(at_clone, 105) && is_at(b, 74) && is_at(o, 20));
		pCFree(clone);
		EXPECT_IN_CHILD(pCOpenBranch(CONTAINER, "of-clone", &root) && is_at(root, 105));
		EXPECT_IN_CHILD(!pVClose());
		_exit(0);
	}
	EXPECT(is_well(child));
	EXPECT(!pVClose());
	EXPECT(branches_are(volume,
	                    (struct expected[]){{"main", 60}, {"clone", 60}, {"of-clone", 105}, {"of-main", 74}}, 4));
	return 0;
}

static void each_container_is_taken_by_itself_wherever_it_lies(void **state)
{
	(void)state;
	with_both_trackers(two_containers, "two.vol");
}

static int lazy_parent(const char *volume)
{
	int id;
	void *root;
	struct book *b;
	pid_t child = fork();

	if (!child) {
		b = book_make(volume, 400, &id);
		_exit(!b || pVClose());
	}
	EXPECT(is_well(child));
	setenv("SOFTPM_RESTORE", "lazy", 1);
	EXPECT(!pVOpen(volume) && (id = pCRestore(CONTAINER, &root)));
	b = root;
	child = fork();
	if (!child) {
		EXPECT_IN_CHILD(!pCFork(id, "lazy"));
		EXPECT_IN_CHILD(go_on(b, id, 30) && is_at(b, 430) && !pVClose());
		_exit(0);
	}
	EXPECT(go_on(b, id, 20));
	EXPECT(is_well(child));
	EXPECT(!pVClose());
	EXPECT(branches_are(volume, (struct expected[]){{"main", 420}, {"lazy", 430}}, 2));
	return 0;
}

static void a_container_that_comes_lazily_can_be_forked(void **state)
{
	(void)state;
	with_both_trackers(lazy_parent, "lazy.vol");
}

/* ---- the end of a child ---- */

static int killed_child(const char *volume)
{
	int id = 0, told[2], status;
	struct book *b = book_make(volume, 100, &id);
	unsigned synced = 0, now;
	void *root;
	pid_t child;

	EXPECT(b && !pipe(told));
	child = fork();
	if (!child) {
		EXPECT_IN_CHILD(!pCFork(id, "victim"));
		for (;;) {
			steps(b, 1);
			EXPECT_IN_CHILD(pPointSync(id));
			now = (unsigned)b->steps;
			EXPECT_IN_CHILD(write(told[1], &now, sizeof(now)) == sizeof(now));
		}
	}
	while (synced < 300)
		EXPECT(read(told[0], &synced, sizeof(synced)) == sizeof(synced));
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	close(told[1]);
	while (read(told[0], &now, sizeof(now)) == sizeof(now))
		synced = now;
	id = pCOpenBranch(CONTAINER, "victim", &root);
	EXPECT(id);
	b = root;
	EXPECT(b->steps >= synced && is_at(b, b->steps));
	EXPECT(go_on(b, id, 10));
	now = (unsigned)b->steps;
	EXPECT(!pVClose());
	EXPECT(branches_are(volume, (struct expected[]){{"main", 100}, {"victim", now}}, 2));
	return 0;
}

static void a_killed_childs_branch_has_all_its_synced_points(void **state)
{
	(void)state;
	with_both_trackers(killed_child, "killed.vol");
}

/* Others are still told who writes, though the fork opened and closed the volume's file. */
static int writer_is_named(const char *volume)
{
	int id, go[2];
	char pid[32], c;
	void *root;
	pid_t rival;

	EXPECT(!pipe(go));
	snprintf(pid, sizeof(pid), "process %d", (int)getpid());
	rival = fork();
	if (!rival) {
		EXPECT_IN_CHILD(read(go[0], &c, 1) == 1 && !pVOpen(volume));
		EXPECT_IN_CHILD(!pCRestore(CONTAINER, &root) && errno == EAGAIN && strstr(pErrorMsg(), pid));
		_exit(0);
	}
	EXPECT(book_make(volume, 10, &id));
	EXPECT(is_well(fork() ?: (_exit(0), 0)));
	EXPECT(write(go[1], "", 1) == 1 && is_well(rival));
	EXPECT(!pVClose());
	return 0;
}

static void the_parent_is_still_named_as_the_writer(void **state)
{
	(void)state;
	with_both_trackers(writer_is_named, "named.vol");
}

/* ---- what the parent had open is not the child's, though a branch of its own is ---- */

struct pruned_branches {
	unsigned pruned, skipped;
};

static int pruned_note(const struct ppruned *b, void *arg)
{
	struct pruned_branches *p = arg;

	p->pruned += b->versions && !b->skipped;
	p->skipped += b->skipped != NULL;
	return 0;
}

static int prune_beside(const char *volume)
{
	struct pprune to_one = {.versions_kept = &(unsigned){1}, .fn = pruned_note};
	struct pruned_branches p = {0, 0};
	struct book *b;
	void *clone;
	int id, other;
	pid_t child;

	b = book_make(volume, 10, &id);
	EXPECT(b);
	other = pCClone(id, "other", &clone);
	EXPECT(other && go_on(clone, other, 50) && go_on(b, id, 50));
	to_one.arg = &p;
	child = fork();
	if (!child) {
		EXPECT_IN_CHILD(!pCFork(id, "child") && go_on(b, id, 50));
		EXPECT_IN_CHILD(!pPrune(CONTAINER, &to_one) && p.skipped == 2 && p.pruned == 1);
		EXPECT_IN_CHILD(go_on(b, id, 10));
		_exit(pVClose() != 0);
	}
	EXPECT(is_well(child));
	EXPECT(go_on(clone, other, 50));
	EXPECT(!pPrune(CONTAINER, &to_one) && !p.skipped && p.pruned == 3);
	EXPECT(go_on(clone, other, 50) && is_at(clone, 160));
	EXPECT(!pCheck(CONTAINER, NULL, NULL, &(int64_t){0}));
	return pVClose();
}

static void a_child_prunes_only_what_is_its_own(void **state)
{
	(void)state;
	with_both_trackers(prune_beside, "prune_beside.vol");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_child_and_its_parent_go_on_side_by_side),
	        cmocka_unit_test(what_no_point_had_saved_is_in_the_childs_first),
	        cmocka_unit_test(what_is_refused_can_be_tried_again),
	        cmocka_unit_test(many_children_write_a_branch_each),
	        cmocka_unit_test(children_of_children_go_on_too),
	        cmocka_unit_test(a_point_under_way_is_what_the_branch_begins_with),
	        cmocka_unit_test(a_branch_can_begin_however_late_it_is_asked_for),
	        cmocka_unit_test(threads_that_allocate_and_make_points_do_not_matter),
	        cmocka_unit_test(what_threads_write_during_the_fork_is_not_lost),
	        cmocka_unit_test(a_childs_first_point_looks_at_what_was_written_only),
	        cmocka_unit_test(a_child_may_track_otherwise_than_its_parent),
	        cmocka_unit_test(each_container_is_taken_by_itself_wherever_it_lies),
	        cmocka_unit_test(a_container_that_comes_lazily_can_be_forked),
	        cmocka_unit_test(a_killed_childs_branch_has_all_its_synced_points),
	        cmocka_unit_test(the_parent_is_still_named_as_the_writer),
	        cmocka_unit_test(a_child_prunes_only_what_is_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
