/* test_container.c - the contract of containers and points, call by call, on real files. */
#include "base/base.h"
#include "book.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"
#include "softpm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

struct pair {
	struct pair *next, *secret;
	char text[40];
	int (*function)(const char *);
	const char *literal;
	void *outside;
};

static int first_life(const char *volume)
{
	struct pair *p;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT(!pCRestore(7, &root) && errno == ENOENT);
	id = pCAlloc(7, sizeof(struct pair), &root);
	EXPECT(id > 0);
	EXPECT(!pCAlloc(7, sizeof(struct pair), &root) && errno == EBUSY);
	p = root;
	p->next = pMalloc(sizeof(*p));
	strcpy(p->next->text, "reachable-marker");
	EXPECT(pPoint(id) == 1);
	EXPECT(!pSync(id));
	EXPECT(pPoint(id) == 1); /* nothing changed */
	EXPECT(pPointSync(id) == 1);
	strcpy(p->text, "changed");
	EXPECT(pPointMsg(id, "second") == 2);
	EXPECT(!pSync(id));
	EXPECT(!pVClose());
	return 0;
}

static int see_two(const struct pversion *v, void *arg)
{
	int *seen = arg;

	++*seen;
	return v->version == 2 && (v->parent != 1 || strcmp(v->message, "second") || strcmp(v->branch, "main"));
}

static int second_life(const char *volume)
{
	struct pair *p;
	void *root;
	int id, seen = 0;

	EXPECT(!pVOpen(volume));
	EXPECT(!pCAlloc(7, 10, &root) && errno == EEXIST);
	id = pCRestore(7, &root);
	EXPECT(id > 0);
	p = root;
	EXPECT(!strcmp(p->text, "changed") && !strcmp(p->next->text, "reachable-marker"));
	EXPECT(!pVersions(7, NULL, see_two, &seen) && seen == 2);
	EXPECT(pPoint(id) == 2); /* restoring is no change */
	p->next->text[0] = 'R';
	EXPECT(pPointSync(id) == 3);
	pCFree(id);
	id = pCRestore(7, &root); /* again, in the same process */
	EXPECT(id > 0);
	p = root;
	EXPECT(p->next->text[0] == 'R');
	p->next->text[0] = 'S';
	EXPECT(pPointSync(id) == 4);
	EXPECT(!pVClose());
	return 0;
}

static int third_life(const char *volume)
{
	struct pair *p;
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(7, &root) > 0);
	p = root;
	EXPECT(p->next->text[0] == 'S' && !strcmp(p->text, "changed"));
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	EXPECT(!pCDelete(7));
	EXPECT(!pCRestore(7, &root) && errno == ENOENT);
	EXPECT(!pVClose());
	return 0;
}

static void points_make_versions_that_come_back(void **state)
{
	const char *volume = scratch("versions.vol");
	struct stat st;

	(void)state;
	in_process(first_life, volume);
	assert_int_equal(stat(volume, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	in_process(second_life, volume);
	in_process(third_life, volume);
}

static int write_secrets(const char *volume)
{
	struct pair *p, *lost;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(8, sizeof(struct pair), &root);
	EXPECT(id > 0);
	p = root;
	p->secret = pMalloc(sizeof(*p));
	strcpy(p->secret->text, "EXCLUDED-marker-string");
	EXPECT(!pExclude(id, &p->secret));
	p->next = pMalloc(sizeof(*p));
	strcpy(p->next->text, "VISIBLE-marker-string");
	lost = pMalloc(sizeof(*p)); /* beside it, on the same page, reachable from nowhere */
	strcpy(lost->text, "UNREACHABLE-marker-string");
	lost = pMalloc(sizeof(*p));
	strcpy(lost->text, "FREED-marker-string");
	pFree(lost);
	EXPECT(pPointSync(id) > 0);
	EXPECT(p->secret); /* in memory it stays */
	EXPECT(!pVClose());
	return 0;
}

static int read_secrets(const char *volume)
{
	struct pair *p;
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(8, &root) > 0);
	p = root;
	EXPECT(!p->secret);
	EXPECT(!strcmp(p->next->text, "VISIBLE-marker-string"));
	return 0;
}

static bool file_holds(const char *path, const char *marker)
{
	int fd = open(path, O_RDONLY);
	off_t n = lseek(fd, 0, SEEK_END);
	char *all = malloc((size_t)n);
	bool found;

	assert_int_equal(pread(fd, all, (size_t)n, 0), n);
	found = memmem(all, (size_t)n, marker, strlen(marker)) != NULL;
	free(all);
	close(fd);
	return found;
}

static void nothing_unreachable_reaches_the_disk(void **state)
{
	const char *volume = scratch("secrets.vol");

	(void)state;
	in_process(write_secrets, volume);
	assert_true(file_holds(volume, "VISIBLE-marker"));
	assert_false(file_holds(volume, "UNREACHABLE-marker"));
	assert_false(file_holds(volume, "FREED-marker"));
	assert_false(file_holds(volume, "EXCLUDED-marker"));
	in_process(read_secrets, volume);
}

static int point_outside(const char *volume)
{
	char on_stack[16];
	struct pair *p;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(9, sizeof(struct pair), &root);
	EXPECT(id > 0);
	p = root;
	p->function = read_secrets;
	p->literal = "a literal of the program";
	p->outside = on_stack;
	EXPECT(pPointSync(id) > 0);
	EXPECT(p->outside == on_stack);
	EXPECT(!pVClose());
	return 0;
}

static int check_outside(const char *volume)
{
	struct pair *p;
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(9, &root) > 0);
	p = root;
	EXPECT(p->function == read_secrets);
	EXPECT(!strcmp(p->literal, "a literal of the program"));
	EXPECT(!p->outside);
	EXPECT(!pVClose());
	return 0;
}

static void pointers_out_of_the_heap_are_mended_or_null(void **state)
{
	const char *volume = scratch("outside.vol");

	(void)state;
	in_process(point_outside, volume);
	in_process(check_outside, volume);
}

static int make_book(const char *volume, int magic)
{
	void *root;
	int id;

	setenv("SOFTPM_HEAP_START", "100", 1); /* both begin at the same slice */
	EXPECT(!pVOpen(volume));
	id = pCAlloc(magic, sizeof(struct book), &root);
	EXPECT(id > 0);
	((struct book *)root)->seed = (uint64_t)magic;
	for (int i = 0; i < 2000; i++) {
		book_step(root);
		if (i % 100 == 0)
			EXPECT(pPoint(id));
	}
	EXPECT(pPointSync(id));
	EXPECT(!pVClose());
	return 0;
}

static int make_first(const char *volume)
{
	return make_book(volume, 1);
}

static int make_second(const char *volume)
{
	return make_book(volume, 2);
}

static int use_both(const char *volume)
{
	void *root[2];
	int id[2];

	EXPECT(!pVOpen(volume));
	for (int i = 0; i < 2; i++) {
		id[i] = pCRestore(i + 1, &root[i]);
		EXPECT(id[i] > 0);
		EXPECT(book_is_right(root[i]));
	}
	for (int n = 0; n < 500; n++) {
		book_step(root[n % 2]);
		EXPECT(pPoint(id[n % 2]));
	}
	EXPECT(!pVClose());
	return 0;
}

static void containers_made_at_the_same_place_restore_together(void **state)
{
	const char *volume = scratch("both.vol");

	(void)state;
	in_process(make_first, volume);
	in_process(make_second, volume);
	in_process(use_both, volume);
	in_process(use_both, volume);
}

struct shared {
	struct pair *both;
};

static int share(const char *volume)
{
	struct shared *a, *b;
	void *root;
	int ida, idb;

	EXPECT(!pVOpen(volume));
	ida = pCAlloc(1, sizeof(*a), &root);
	a = root;
	idb = pCAlloc(2, sizeof(*b), &root);
	b = root;
	EXPECT(ida > 0 && idb > 0);
	a->both = b->both = pMalloc(sizeof(struct pair));
	strcpy(a->both->text, "one");
	EXPECT(pPointSync(ida) && pPointSync(idb));
	strcpy(a->both->text, "two");
	EXPECT(pPointSync(ida)); /* b's version still says one */
	EXPECT(!pVClose());
	return 0;
}

static int see_shared(const char *volume)
{
	struct shared *a, *b;
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(1, &root));
	a = root;
	EXPECT(pCRestore(2, &root));
	b = root;
	EXPECT(!strcmp(a->both->text, "two"));
	EXPECT(!strcmp(b->both->text, "one"));
	EXPECT(!pVClose());
	return 0;
}

static void shared_data_is_stored_by_each_container(void **state)
{
	const char *volume = scratch("shared.vol");

	(void)state;
	in_process(share, volume);
	in_process(see_shared, volume);
}

/* A container in slice 100 and, if `parts` is 2, in slice 102. */
static int make_scattered(const char *volume, int magic, int parts)
{
	enum { BYTES = 20 << 20 };
	void *root;
	char **part;
	int id;

	setenv("SOFTPM_HEAP_START", "100", 1);
	EXPECT(!pVOpen(volume));
	id = pCAlloc(magic, 2 * sizeof(char *), &root);
	EXPECT(id > 0);
	part = root;
	for (int i = 0; i < parts; i++) {
		pCUse(id);
		part[i] = pMallocNoPtr(BYTES);
		pCUse(0);
		EXPECT(part[i] && pMallocNoPtr(BYTES)); /* somebody else's, in the slice between */
		strcpy(part[i], "whole");
	}
	EXPECT(parts < 2 || (uintptr_t)part[1] >> 25 == ((uintptr_t)part[0] >> 25) + 2);
	EXPECT(pPointSync(id));
	EXPECT(!pVClose());
	return 0;
}

static int make_one_part(const char *volume)
{
	return make_scattered(volume, 3, 1);
}

static int make_two_parts(const char *volume)
{
	return make_scattered(volume, 4, 2);
}

static int use_scattered(const char *volume)
{
	setenv("SOFTPM_HEAP_START", "102", 1); /* the free slices found first are where the second part wants to be */
	EXPECT(!pVOpen(volume));
	for (int magic = 3; magic < 5; magic++) {
		void *root;
		char **part;

		EXPECT(pCRestore(magic, &root) > 0);
		part = root;
		EXPECT(!strcmp(part[0], "whole") && (magic == 3 || !strcmp(part[1], "whole")));
	}
	EXPECT(!pVClose());
	return 0;
}

static void a_slice_is_not_moved_to_where_another_belongs(void **state)
{
	const char *volume = scratch("scattered.vol");

	(void)state;
	in_process(make_one_part, volume);
	in_process(make_two_parts, volume);
	in_process(use_scattered, volume);
}

enum { SLICE = 32 << 20 };

/* A slice's worth of the common memory, at the next free slice. */
static char *slice_fill(void)
{
	return pMallocNoPtr(SLICE - 8192);
}

/* In slices 200 and 201, and in 203. */
static int make_with_a_gap(const char *volume)
{
	void *root;
	char **part;
	int id;

	setenv("SOFTPM_HEAP_START", "200", 1);
	EXPECT(!pVOpen(volume));
	id = pCAlloc(6, 64, &root);
	EXPECT(id > 0);
	part = root;
	pCUse(id);
	part[0] = pMallocNoPtr(SLICE - (1 << 20)); /* beside the root */
	part[1] = slice_fill();
	pCUse(0);
	EXPECT(slice_fill());
	pCUse(id);
	part[2] = slice_fill();
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(((uintptr_t)part[i] >> 25) - ((uintptr_t)root >> 25) == i + i / 2);
		sprintf(part[i], "part %u", i);
	}
	EXPECT(pPointSync(id) && !pVClose());
	return 0;
}

/* 200 and 203 are taken, 201 and 202 are free. */
static int use_with_a_gap(const char *volume)
{
	char *taken[4], **part, text[16];
	void *root;
	int id;

	setenv("SOFTPM_HEAP_START", "200", 1);
	EXPECT(!pVOpen(volume));
	for (unsigned i = 0; i < 4; i++)
		taken[i] = slice_fill();
	pFree(taken[1]);
	pFree(taken[2]);
	id = pCRestore(6, &root);
	EXPECT(id > 0);
	part = root;
	for (unsigned i = 0; i < 3; i++) {
		sprintf(text, "part %u", i);
		EXPECT(!strncmp(part[i], text, 6));
		strcat(part[i], "'");
	}
	EXPECT(pPointSync(id) && !pVClose());
	return 0;
}

static void a_slice_is_not_moved_to_where_its_own_neighbours_belong(void **state)
{
	const char *volume = scratch("gap.vol");

	(void)state;
	in_process(make_with_a_gap, volume);
	for (unsigned i = 0; i < 3; i++) /* what it wrote lies where it belongs */
		in_process(use_with_a_gap, volume);
}

static int make_three_versions(const char *volume)
{
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(5, 64, &root);
	EXPECT(id > 0);
	for (int i = 1; i <= 3; i++) {
		snprintf(root, 64, "a text to be found on the disk, number %d", i);
		EXPECT(pPointSync(id) == i);
	}
	EXPECT(!pVClose());
	return 0;
}

static int damage_third(const char *volume)
{
	static char bytes[8 << 20];
	FILE *f = fopen(volume, "r+");
	size_t n = fread(bytes, 1, sizeof(bytes), f), found = 0;
	const char *text = "disk, number 3";

	for (size_t i = 0; i + strlen(text) < n; i++)
		if (!memcmp(bytes + i, text, strlen(text)))
			found = i;
	EXPECT(found);
	fseek(f, (long)found, SEEK_SET);
	fputc('D', f);
	fclose(f);
	return 0;
}

static int damage_is_named(const char *volume)
{
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(!pCRestore(5, &root) && errno == EUCLEAN);
	EXPECT(strstr(pErrorMsg(), "page"));
	EXPECT(strstr(pErrorMsg(), "newest whole version is 2"));
	EXPECT(!pVClose());
	return 0;
}

static void damage_is_told_with_the_newest_whole_version(void **state)
{
	const char *volume = scratch("damaged.vol");

	(void)state;
	in_process(make_three_versions, volume);
	in_process(damage_third, volume);
	in_process(damage_is_named, volume);
}

static int fork_child(const char *volume)
{
	struct pair *p;
	void *root;
	int id, status;
	pid_t child;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*p), &root);
	EXPECT(id > 0);
	p = root;
	strcpy(p->text, "parent");
	EXPECT(pPointSync(id));
	child = fork();
	if (!child) {
		if (strcmp(p->text, "parent") || pPoint(id) || errno != ECHILD || !strstr(pErrorMsg(), "fork"))
			_exit(1);
		_exit(0);
	}
	waitpid(child, &status, 0);
	EXPECT(status == 0);
	strcpy(p->text, "parent goes on");
	EXPECT(pPointSync(id) == 2);
	EXPECT(!pVClose());
	return 0;
}

static void a_forked_child_reads_and_gets_a_clear_error(void **state)
{
	(void)state;
	in_process(fork_child, scratch("fork.vol"));
}

/* Is killed; leaves a child that goes on living, and one that holds the parent's files for a moment longer. */
static int killed_with_heirs(const char *volume)
{
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, 64, &root);
	EXPECT(pPointSync(id) == 1);
	if (!fork()) {
		fclose(stdout);
		fclose(stderr);
		sleep(3);
		_exit(0);
	}
	if (!syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) { /* without what fork(3) does in the child */
		syscall(SYS_nanosleep, &(struct timespec){.tv_nsec = 200000000}, NULL);
		syscall(SYS_exit, 0);
	}
	kill(getpid(), SIGKILL);
	return 0;
}

static int write_at_once(const char *volume)
{
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(1, &root));
	EXPECT(!pVClose());
	return 0;
}

static void a_killed_writer_locks_nobody_out(void **state)
{
	const char *volume = scratch("heirs.vol");
	int status;
	pid_t child = fork();

	(void)state;
	if (!child)
		_exit(killed_with_heirs(volume));
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status));
	in_process(write_at_once, volume);
}

enum { GROUP_THREADS = 8, GROUP_UPDATES = 200 };
static struct {
	uint64_t value[GROUP_THREADS * 64];
} * group;
static int group_id;

static void *group_update(void *arg)
{
	uint64_t *mine = arg;

	for (int i = 0; i < GROUP_UPDATES; i++) {
		++*mine;
		if (!pPointSync(group_id))
			return (void *)pErrorMsg();
	}
	return NULL;
}

static int times_add_up(const char *volume)
{
	struct pstats before, after;
	uint64_t *value, began, took, told;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(1, 8, &root)) && pPointSync(id) && !pStats(1, &before));
	value = root;
	began = spm_now_ns();
	for (*value = 0; *value < 20; ++*value)
		EXPECT(pPointSync(id));
	took = spm_now_ns() - began;
	EXPECT(!pStats(1, &after) && after.points == before.points + 20);
	EXPECT(after.discovery_ns > before.discovery_ns && after.freeze_ns > before.freeze_ns);
	EXPECT(after.write_ns > before.write_ns && after.flush_ns > before.flush_ns);
	told = after.discovery_ns - before.discovery_ns + after.freeze_ns - before.freeze_ns;
	told += after.write_ns - before.write_ns + after.flush_ns - before.flush_ns;
	EXPECT(told <= took);
	EXPECT(!pVClose());
	return 0;
}

static void where_the_time_of_points_goes_is_told(void **state)
{
	(void)state;
	in_process(times_add_up, scratch("times.vol"));
}

static int group_commit(const char *volume)
{
	pthread_t t[GROUP_THREADS];
	struct pstats stats;
	void *root, *failed;

	EXPECT(!pVOpen(volume));
	group_id = pCAlloc(1, sizeof(*group), &root);
	EXPECT(group_id > 0);
	group = root;
	for (int i = 0; i < GROUP_THREADS; i++)
		pthread_create(&t[i], NULL, group_update, &group->value[i * 64]);
	for (int i = 0; i < GROUP_THREADS; i++) {
		pthread_join(t[i], &failed);
		EXPECT(!failed);
	}
	EXPECT(!pStats(1, &stats) && stats.points < GROUP_THREADS * GROUP_UPDATES);
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(1, &root));
	group = root;
	for (int i = 0; i < GROUP_THREADS; i++)
		EXPECT(group->value[i * 64] == GROUP_UPDATES);
	return 0;
}

static void text_change(void *p)
{
	strcat(((struct pair *)p)->text, ", and later");
}

static int captured_change(const char *volume)
{
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(7, sizeof(struct pair), &root);
	strcpy(((struct pair *)root)->text, "captured");
	EXPECT(pPointSyncThen(id, text_change, root) == 1);
	EXPECT(!strcmp(((struct pair *)root)->text, "captured, and later"));
	return 0;
}

static int captured_restore(const char *volume)
{
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(7, &root) > 0);
	EXPECT(!strcmp(((struct pair *)root)->text, "captured"));
	return 0;
}

static void what_is_changed_once_it_is_captured_is_not_in_the_version(void **state)
{
	(void)state;
	in_process(captured_change, scratch("captured.vol"));
	in_process(captured_restore, scratch("captured.vol"));
}

static void concurrent_sync_points_share_commits(void **state)
{
	(void)state;
	in_process(group_commit, scratch("group.vol"));
}

/* A thread that preempts would run within pPoint, on a processor that it shares with the caller. */
static int worker_policy(const char *volume)
{
	DIR *tasks;
	struct dirent *d;
	struct pstats stats;
	int id, workers = 0;
	void *root;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, 100, &root);
	EXPECT(id > 0 && pPoint(id) == 1);
	do /* pSync would write it, were it first */
		EXPECT(!usleep(1000) && !pStats(1, &stats));
	while (stats.queue);
	EXPECT(!pSync(id));
	tasks = opendir("/proc/self/task");
	EXPECT(tasks);
	while ((d = readdir(tasks)))
		if (atoi(d->d_name) && atoi(d->d_name) != getpid())
			workers += sched_getscheduler(atoi(d->d_name)) == SCHED_BATCH;
	closedir(tasks);
	EXPECT(workers == 1 && sched_getscheduler(0) == SCHED_OTHER);
	EXPECT(!pVClose());
	return 0;
}

static void the_writer_of_points_preempts_nobody(void **state)
{
	(void)state;
	in_process(worker_policy, scratch("policy.vol"));
}

static int attributes(const char *volume)
{
	struct cattr a = {.name = "the book", .versions_kept = 3, .chunk_bytes = 4096, .stop_threads = 1}, *b;
	int id, seen = 0;
	void *root;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, 100, &root);
	EXPECT(pPointSync(id) == 1);
	EXPECT(!pCSetAttr(id, &a));
	EXPECT(pPoint(id) == 2);
	for (int i = 0; i < 20; i++) {
		((int *)root)[0] = i + 1;
		EXPECT(pPointSync(id) == 3 + i);
	}
	EXPECT(!pVersions(1, NULL, see_two, &seen) && seen == 3);
	a.chunk_bytes = 5000;
	EXPECT(pCSetAttr(id, &a) == -1 && errno == EINVAL && strstr(pErrorMsg(), "chunk_bytes"));
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	b = pCGetAttr(1);
	EXPECT(b && !strcmp(b->name, "the book") && b->versions_kept == 3);
	pCAttrFree(b);
	EXPECT(!pCGetAttr(99) && errno == ENOENT);
	EXPECT(!pVClose());
	return 0;
}

/* They are those of the instant of the point, though it be written later. */
static int late_attributes(const char *volume)
{
	struct cattr a = {.versions_kept = 7, .chunk_bytes = 4096, .stop_threads = 1}, *b;
	char *text;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, 100, &root);
	text = *(char **)root = pMallocNoPtr(8 << 20); /* writing it takes a while */
	EXPECT(text && !pCSetAttr(id, &a));
	for (unsigned i = 1; i <= 5; i++) {
		memset(text, (int)i, 8 << 20);
		a.versions_kept = 7;
		EXPECT(!pCSetAttr(id, &a) && pPoint(id) == i);
		a.versions_kept = 1;
		EXPECT(!pCSetAttr(id, &a) && !pSync(id));
	}
	pCFree(id);
	b = pCGetAttr(1);
	EXPECT(b && b->versions_kept == 7);
	pCAttrFree(b);
	EXPECT(!pVClose());
	return 0;
}

static void a_point_under_way_has_the_attributes_of_its_instant(void **state)
{
	(void)state;
	in_process(late_attributes, scratch("late.vol"));
}

static void attributes_travel_with_the_versions(void **state)
{
	(void)state;
	in_process(attributes, scratch("attr.vol"));
}

/* A row of two objects, of which the second is large. */
static struct pair *row_make(void)
{
	struct pair *p = pCalloc(1, sizeof(*p));

	p->next = pCalloc(1, 8 << 20);
	return p;
}

static bool row_is_there(const struct pair *p, const struct pair *next)
{
	return pReadable(p) && pReadable(next);
}

static int forgotten(const char *volume)
{
	struct pair *old, *a, *b, *old_next, *a_next, *moved;
	struct pair *root, *other;
	int id, other_id;
	void *at;

	EXPECT(!pVOpen(volume));
	other_id = pCAlloc(2, sizeof(*other), &at);
	other = at;
	EXPECT(other_id > 0 && pPointSync(other_id) == 1);
	for (unsigned round = 0; round < 20; round++) { /* never a point */
		id = pCAlloc(1, sizeof(*root), &at);
		EXPECT(id > 0);
		root = at;
		root->next = a = row_make();
		a_next = a->next;
		pCFree(id);
		EXPECT(!pReadable(root) && !pReadable(a) && !pReadable(a_next));
	}
	id = pCAlloc(1, sizeof(*root), &at);
	root = at;
	root->next = old = row_make();
	old_next = old->next;
	EXPECT(id > 0 && pPointSync(id) == 1);
	moved = old->secret = row_make();
	EXPECT(pPointSync(id) == 2);
	root->secret = a = row_make(); /* since the point */
	a_next = a->next;
	b = row_make(); /* the program's own */
	b->secret = a;
	old->secret = NULL;
	other->next = moved; /* what no point of the other has found */
	pCFree(id);
	EXPECT(!row_is_there(old, old_next) && !pReadable(a) && !pReadable(a_next));
	EXPECT(row_is_there(b, b->next) && row_is_there(moved, moved->next));
	EXPECT(pPointSync(other_id) == 2);
	pCFree(other_id);
	other_id = pCRestore(2, &at);
	other = at;
	EXPECT(other_id > 0 && row_is_there(other->next, other->next->next));
	EXPECT(!pVClose());
	return 0;
}

static void what_only_a_container_had_goes_with_it(void **state)
{
	(void)state;
	in_process(forgotten, scratch("forgotten.vol"));
}

static int note_stored(const struct pversion *v, void *arg)
{
	*(uint64_t *)arg = v->stored_pages;
	return 1;
}

enum { ARRAY_WORDS = 1 << 18 };

/* In chunks of 16 pages. What is changed and kept is as it would be in pages. */
static int chunks(const char *volume)
{
	struct cattr a = {.versions_kept = 16, .chunk_bytes = 64 << 10, .stop_threads = 1};
	uint64_t **array, stored = 0, x = 99;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, 64, &root);
	EXPECT(!pCSetAttr(id, &a));
	array = root;
	*array = pMalloc(ARRAY_WORDS * sizeof(uint64_t));
	for (unsigned i = 0; i < ARRAY_WORDS; i++)
		(*array)[i] = i;
	EXPECT(pPointSync(id) == 1);
	(*array)[ARRAY_WORDS / 2]++;
	EXPECT(pPointSync(id) == 2);
	EXPECT(pVersions(1, NULL, note_stored, &stored) == 1 && stored == 16);
	(*array)[ARRAY_WORDS / 2]--; /* as it was two versions ago */
	EXPECT(pPointSync(id) == 3);
	EXPECT(pVersions(1, NULL, note_stored, &stored) == 1 && stored == 16);
	for (unsigned round = 0; round < 50; round++) {
		uint64_t at = test_random(&x) % (ARRAY_WORDS - 2);

		(*array)[at]++;
		(*array)[at + 1]--;
		EXPECT(pPointSync(id) > 3);
	}
	EXPECT(!pVClose());
	return 0;
}

static int chunks_look(const char *volume)
{
	uint64_t **array, x = 99;
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(1, &root) > 0);
	array = root;
	for (unsigned round = 0; round < 50; round++) {
		uint64_t at = test_random(&x) % (ARRAY_WORDS - 2);

		(*array)[at]--;
		(*array)[at + 1]++;
	}
	for (unsigned i = 0; i < ARRAY_WORDS; i++)
		EXPECT((*array)[i] == i);
	EXPECT(!pVClose());
	return 0;
}

static void pages_of_a_chunk_are_written_together(void **state)
{
	const char *volume = scratch("chunk.vol");

	(void)state;
	in_process(chunks, volume);
	in_process(chunks_look, volume);
}

static int second_writer(const char *volume)
{
	int ready[2], done[2], status;
	char c, pid[32];
	void *root;
	pid_t child;

	EXPECT(!pipe(ready) && !pipe(done));
	child = fork();
	if (!child) {
		if (pVOpen(volume) || !pCAlloc(1, 100, &root) || !pPointSync(1))
			_exit(1);
		if (write(ready[1], "x", 1) != 1 || read(done[0], &c, 1) != 1)
			_exit(2);
		_exit(0);
	}
	EXPECT(read(ready[0], &c, 1) == 1);
	EXPECT(!pVOpen(volume));
	EXPECT(!pCRestore(1, &root) && errno == EAGAIN);
	snprintf(pid, sizeof(pid), "%d", (int)child);
	EXPECT(strstr(pErrorMsg(), pid));
	EXPECT(write(done[1], "x", 1) == 1);
	waitpid(child, &status, 0);
	EXPECT(status == 0);
	EXPECT(pCRestore(1, &root));
	EXPECT(!pVClose());
	return 0;
}

static void a_second_writer_is_told_who_holds_the_container(void **state)
{
	(void)state;
	in_process(second_writer, scratch("writer.vol"));
}

static int bad_calls(const char *volume)
{
	void *root;

	EXPECT(pVOpen("") == -1 && errno == EINVAL);
	EXPECT(pVOpen("x?wait=no") == -1 && errno == EINVAL);
	EXPECT(pVOpen("file:/nonexistent/%3f%20%2.vol?wait=1") == -1 && strstr(pErrorMsg(), "/nonexistent/? %2.vol"));
	EXPECT(pVOpen("/nonexistent/%3f.vol") == -1 && strstr(pErrorMsg(), "/nonexistent/%3f.vol"));
	EXPECT(pVOpen("/nonexistent/folder/x.vol") == -1 && errno == ENOENT && strstr(pErrorMsg(), "/nonexistent"));
	EXPECT(!pVOpen(volume));
	EXPECT(pVOpen(volume) == -1 && errno == EBUSY);
	EXPECT(!pCAlloc(1, 0, &root) && errno == EINVAL);
	EXPECT(!pPoint(77) && errno == EINVAL);
	EXPECT(pSync(-1) == -1 && errno == EINVAL);
	EXPECT(pCDelete(5) == -1 && errno == ENOENT);
	EXPECT(!pVClose());
	return 0;
}

static void any_address_tells_what_can_be_read_there(void **state)
{
	static const size_t sizes[] = {1, 100, 4096, 5000, 100000, 3 << 20};
	char on_stack = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = i % 2 ? pMalloc(sizes[i]) : pMallocNoPtr(sizes[i]);
		size_t bytes = pUsableSize(p);

		assert_int_equal(pReadable(p), bytes);
		assert_int_equal(pReadable(p + 1), bytes - 1);
		assert_int_equal(pReadable(p + bytes - 1), 1);
		pFree(p);
		assert_int_equal(pReadable(p), 0);
	}
	assert_int_equal(pReadable(NULL), 0);
	assert_int_equal(pReadable(&on_stack), 0);
	for (uint64_t bit = 1; bit; bit *= 2) {
		char *p = pMalloc(64), *wild = (char *)((uintptr_t)p ^ bit);
		size_t bytes = pReadable(wild);

		for (size_t at = 0; at < bytes; at++)
			(void)((volatile char *)wild)[at];
		pFree(p);
	}
}

static void wrong_calls_get_clear_errors(void **state)
{
	(void)state;
	in_process(bad_calls, scratch("bad.vol"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(points_make_versions_that_come_back),
	        cmocka_unit_test(nothing_unreachable_reaches_the_disk),
	        cmocka_unit_test(pointers_out_of_the_heap_are_mended_or_null),
	        cmocka_unit_test(containers_made_at_the_same_place_restore_together),
	        cmocka_unit_test(shared_data_is_stored_by_each_container),
	        cmocka_unit_test(what_only_a_container_had_goes_with_it),
	        cmocka_unit_test(a_slice_is_not_moved_to_where_another_belongs),
	        cmocka_unit_test(a_slice_is_not_moved_to_where_its_own_neighbours_belong),
	        cmocka_unit_test(damage_is_told_with_the_newest_whole_version),
	        cmocka_unit_test(a_forked_child_reads_and_gets_a_clear_error),
	        cmocka_unit_test(a_killed_writer_locks_nobody_out),
	        cmocka_unit_test(where_the_time_of_points_goes_is_told),
	        cmocka_unit_test(concurrent_sync_points_share_commits),
	        cmocka_unit_test(what_is_changed_once_it_is_captured_is_not_in_the_version),
	        cmocka_unit_test(the_writer_of_points_preempts_nobody),
	        cmocka_unit_test(attributes_travel_with_the_versions),
	        cmocka_unit_test(a_point_under_way_has_the_attributes_of_its_instant),
	        cmocka_unit_test(pages_of_a_chunk_are_written_together),
	        cmocka_unit_test(a_second_writer_is_told_who_holds_the_container),
	        cmocka_unit_test(any_address_tells_what_can_be_read_there),
	        cmocka_unit_test(wrong_calls_get_clear_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
