/* test_restore.c - large containers come back whole and clean, damage is named, and other containers' points go on
 * meanwhile; with each way of restoring and of tracking.
 */
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAGIC = 21, OTHER = 22, NODES = 12000, PAGE = 4096 };

#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d (%s, %s): expected %s; errno %d, %s\n", __FILE__, __LINE__,             \
			        getenv("SOFTPM_RESTORE"), getenv("SOFTPM_TRACK"), #cond, errno, pErrorMsg());          \
			return 1;                                                                                      \
		}                                                                                                      \
	} while (0)

/* Runs fn in a process of its own, so that the heap begins anew; fails if it does not return 0. */
static void in_process(int (*fn)(const char *volume), const char *volume)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(fn(volume));
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the process ended with status 0x%x", status);
}

/* A page or so each, so that a container has many pages and they hang together by pointers in each. */
struct node {
	struct node *next;
	int (*function)(const char *);
	uint64_t number, value[400];
};
struct root {
	struct node *first;
	uint64_t changes;
	struct node *node[NODES];
};

static uint64_t value_of(uint64_t number, uint64_t i)
{
	return (number << 32 | i) * 0x9e3779b97f4a7c15u >> 24; /* below 2^40: no address of anything */
}

static void node_fill(struct node *n, uint64_t number)
{
	n->number = number;
	n->function = number % 7 ? NULL : puts;
	for (unsigned i = 0; i < 400; i++)
		n->value[i] = value_of(number, i) | 1;
}

static bool node_is_right(const struct node *n, uint64_t number)
{
	if (n->number != number || n->function != (number % 7 ? NULL : puts))
		return false;
	for (unsigned i = 0; i < 400; i++)
		if (n->value[i] != (value_of(number, i) | 1))
			return false;
	return true;
}

static int container_make(int magic)
{
	struct root *r;
	void *root;
	int id = pCAlloc(magic, sizeof(*r), &root);

	EXPECT(id > 0);
	r = root;
	pCUse(id);
	for (unsigned i = 0; i < NODES; i++) {
		struct node *n = pMalloc(sizeof(*n));

		node_fill(n, i);
		n->next = r->first;
		r->first = r->node[i] = n;
	}
	pCUse(0);
	EXPECT(pPointSync(id) == 1);
	return 0;
}

static bool root_is_right(const struct root *r)
{
	uint64_t number = NODES;

	for (struct node *n = r->first; n; n = n->next)
		if (n != r->node[--number] || !node_is_right(n, number))
			return false;
	return number == 0;
}

static int make(const char *volume)
{
	EXPECT(!pVOpen(volume));
	EXPECT(!container_make(MAGIC));
	EXPECT(!pVClose());
	return 0;
}

static int restore_and_compare(const char *volume)
{
	struct pstats stats;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(MAGIC, &root);
	EXPECT(id > 0);
	EXPECT(root_is_right(root));
	EXPECT(pPointSync(id) == 1);
	EXPECT(!pStats(MAGIC, &stats) && stats.dirty_pages == 0);
	((struct root *)root)->node[77]->value[3] = 5;
	EXPECT(pPointSync(id) == 2);
	EXPECT(!pVClose());
	return 0;
}

static int restore_changed(const char *volume)
{
	struct root *r;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(MAGIC, &root);
	EXPECT(id > 0);
	r = root;
	EXPECT(r->node[77]->value[3] == 5);
	node_fill(r->node[77], 77);
	EXPECT(pPointSync(id) == 3);
	EXPECT(root_is_right(r));
	EXPECT(!pVClose());
	return 0;
}

static void a_large_container_comes_back_whole_and_clean(void **state)
{
	const char *volume = scratch("whole.vol");

	(void)state;
	unlink(volume);
	in_process(make, volume);
	in_process(restore_and_compare, volume);
	in_process(restore_changed, volume);
}

/* Where in the file a page of that node is; there is one version. */
static off_t node_place(const char *volume, uint64_t number)
{
	static uint64_t block[PAGE / 8];
	uint64_t wanted = value_of(number, 200) | 1;
	int fd = open(volume, O_RDONLY);
	off_t at = 0, found = -1;

	for (; found < 0 && read(fd, block, PAGE) == PAGE; at += PAGE)
		for (unsigned i = 0; i < PAGE / 8; i++)
			if (block[i] == wanted)
				found = at + i * 8;
	close(fd);
	return found;
}

static int restore_damaged(const char *volume)
{
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(!pCRestore(MAGIC, &root) && errno == EUCLEAN);
	EXPECT(strstr(pErrorMsg(), "container 21") && strstr(pErrorMsg(), "page ") && strstr(pErrorMsg(), "damaged"));
	EXPECT(!pCRestore(MAGIC, &root) &&
	       errno == EUCLEAN); /* nothing is left of the first try that would be in the way */
	EXPECT(!pVClose());
	return 0;
}

static void a_byte_flip(const char *volume, off_t at)
{
	unsigned char byte = 0;
	int fd = open(volume, O_RDWR);

	assert_true(at > 0 && pread(fd, &byte, 1, at) == 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

static void an_eager_restore_refuses_a_damaged_page(void **state)
{
	const char *volume = scratch("damaged.vol");

	(void)state;
	setenv("SOFTPM_RESTORE", "eager", 1);
	for (uint64_t number = 0; number < NODES; number += NODES - 1) {
		unlink(volume);
		in_process(make, volume);
		a_byte_flip(volume, node_place(volume, number));
		in_process(restore_damaged, volume);
	}
}

struct other {
	int id;
	uint64_t *count;
	_Atomic bool has_failed;
	_Atomic bool is_ending;
};

static void *other_points(void *arg)
{
	struct other *o = arg;

	while (!o->is_ending && !o->has_failed) {
		++*o->count;
		if (pPointSync(o->id) <= 0)
			o->has_failed = true;
	}
	return NULL;
}

static int restore_beside_points(const char *volume)
{
	struct other o = {0};
	pthread_t thread;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	o.id = pCAlloc(OTHER, 64, &root);
	EXPECT(o.id > 0);
	o.count = root;
	EXPECT(!pthread_create(&thread, NULL, other_points, &o));
	for (unsigned round = 0; round < 5; round++) {
		id = pCRestore(MAGIC, &root);
		EXPECT(id > 0);
		EXPECT(root_is_right(root));
		EXPECT(pPointSync(id) >= 1); /* a container that had to be moved makes a version */
		pCFree(id);
	}
	o.is_ending = true;
	pthread_join(thread, NULL);
	EXPECT(!o.has_failed);
	EXPECT(!pVClose());
	return 0;
}

static void a_restore_and_other_containers_points_do_not_disturb_each_other(void **state)
{
	const char *volume = scratch("beside.vol");

	(void)state;
	unlink(volume);
	in_process(make, volume);
	in_process(restore_beside_points, volume);
}

static int eager_wp(void **state)
{
	(void)state;
	return setenv("SOFTPM_RESTORE", "eager", 1) || unsetenv("SOFTPM_TRACK");
}

static int eager_mprotect(void **state)
{
	return eager_wp(state) || setenv("SOFTPM_TRACK", "mprotect", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_large_container_comes_back_whole_and_clean),
	        cmocka_unit_test(an_eager_restore_refuses_a_damaged_page),
	        cmocka_unit_test(a_restore_and_other_containers_points_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests_name("eager, wp", tests, eager_wp, NULL) +
	       cmocka_run_group_tests_name("eager, mprotect", tests, eager_mprotect, NULL);
}
