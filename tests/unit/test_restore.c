/* test_restore.c - large containers come back whole and clean, damage is named, and other containers' points go on
 * meanwhile; with each way of restoring and of tracking.
 */
#include "expect.h"
#include "lazy.h"
#include "process.h"
#include "scratch.h"
#include "softpm.h"
#include "track/track.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
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

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

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
	return (number << 32 | i) * 0x9e3779b97f4a7c15u >>
	       34; /* below 2^30: no address of anything, nor in the shadow of a sanitizer */
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

/* ---- lazily: with the fetching thread held, only what is touched comes in ---- */

static struct root *restored;
static int restored_id;

static int restore_held(const char *volume)
{
	void *root;

	spm_lazy_hold(true);
	EXPECT(!pVOpen(volume));
	restored_id = pCRestore(MAGIC, &root);
	EXPECT(restored_id > 0);
	restored = root;
	return 0;
}

static int release_and_wait(void)
{
	spm_lazy_hold(false);
	EXPECT(!pRestoreWait(restored_id));
	return 0;
}

static _Atomic bool readers_end;

static void *nodes_read(void *arg)
{
	uint64_t x = (uintptr_t)arg;
	intptr_t wrong = 0;

	while (!readers_end && !wrong) {
		uint64_t number = 1000 + test_random(&x) % (NODES - 1000);

		wrong = !node_is_right(restored->node[number], number);
	}
	return (void *)wrong;
}

/* Nodes below 1000 are changed, freed and made anew; the others are read by two threads that every point stops. */
static int change_while_missing(const char *volume)
{
	pthread_t reader[2];
	uint64_t x = 12345;
	void *wrong;

	EXPECT(!restore_held(volume));
	for (uintptr_t i = 0; i < 2; i++)
		EXPECT(!pthread_create(&reader[i], NULL, nodes_read, (void *)(i + 1)));
	pCUse(restored_id);
	for (unsigned round = 0; round < 300; round++) {
		uint64_t number = 1 + test_random(&x) % 998;
		struct node **at = &restored->node[number], *n = *at;

		restored->node[number + 1]->next = NULL;
		if (round % 3 == 0) {
			pFree(n); /* perhaps not there yet */
			n = pMalloc(sizeof(*n));
			EXPECT(!n->number && !n->value[399]);
			node_fill(n, number);
		} else if (round % 3 == 1) {
			n = pRealloc(n, sizeof(*n) * 2);
			EXPECT(node_is_right(n, number));
		}
		*at = n;
		n->next = restored->node[number - 1];
		restored->node[number + 1]->next = n;
		EXPECT(pPointSync(restored_id) > 0);
	}
	pCUse(0);
	EXPECT(!release_and_wait());
	readers_end = true;
	for (unsigned i = 0; i < 2; i++)
		EXPECT(!pthread_join(reader[i], &wrong) && !wrong);
	EXPECT(root_is_right(restored));
	EXPECT(!pVClose());
	return 0;
}

static int restore_and_look(const char *volume)
{
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(MAGIC, &root) > 0);
	EXPECT(root_is_right(root));
	EXPECT(!pVClose());
	return 0;
}

static void memory_is_used_freed_and_saved_while_it_is_missing(void **state)
{
	const char *volume = scratch("missing.vol");

	(void)state;
	unlink(volume);
	in_process(make, volume);
	in_process(change_while_missing, volume);
	in_process(restore_and_look, volume);
}

/* The kernel touches missing pages too. */
static int give_to_system_calls(const char *volume)
{
	struct node copy;
	int pipes[2];

	EXPECT(!restore_held(volume));
	EXPECT(!pipe(pipes));
	for (unsigned number = 5; number + 60 < NODES; number += 999) {
		EXPECT(write(pipes[1], restored->node[number], sizeof(copy)) == sizeof(copy));
		EXPECT(read(pipes[0], &copy, sizeof(copy)) == sizeof(copy));
		EXPECT(node_is_right(&copy, number));
		copy.number++;
		EXPECT(write(pipes[1], &copy, 24) == 24);
		EXPECT(read(pipes[0], restored->node[number + 60], 24) == 24);
		restored->node[number + 60]->next = restored->node[number + 59];
		EXPECT(restored->node[number + 60]->value[399] == (value_of(number + 60, 399) | 1));
	}
	EXPECT(pPointSync(restored_id) == 2);
	EXPECT(!release_and_wait());
	EXPECT(!pVClose());
	return 0;
}

static int look_at_what_system_calls_wrote(const char *volume)
{
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(MAGIC, &root) > 0);
	restored = root;
	for (unsigned number = 5; number + 60 < NODES; number += 999)
		EXPECT(restored->node[number + 60]->number == number + 1);
	EXPECT(!pVClose());
	return 0;
}

static void system_calls_read_and_write_missing_memory(void **state)
{
	const char *volume = scratch("calls.vol");

	(void)state;
	unlink(volume);
	in_process(make, volume);
	in_process(give_to_system_calls, volume);
	in_process(look_at_what_system_calls_wrote, volume);
}

static void *release_soon(void *arg)
{
	usleep(20000);
	spm_lazy_hold(false);
	return arg;
}

/* The child sees what the parent would. */
static int fork_while_missing(const char *volume)
{
	pthread_t thread;
	int status;
	pid_t child;

	EXPECT(!restore_held(volume));
	EXPECT(!pthread_create(&thread, NULL, release_soon, NULL));
	child = fork();
	if (!child)
		_exit(!root_is_right(restored));
	EXPECT(waitpid(child, &status, 0) == child && !status);
	pthread_join(thread, NULL);
	EXPECT(root_is_right(restored));
	EXPECT(!pVClose());
	return 0;
}

static void a_forked_child_has_all_memory(void **state)
{
	const char *volume = scratch("fork.vol");

	(void)state;
	unlink(volume);
	in_process(make, volume);
	in_process(fork_while_missing, volume);
}

static int end_while_missing(const char *volume)
{
	EXPECT(!restore_held(volume));
	EXPECT(node_is_right(restored->node[9], 9));
	pCFree(restored_id);
	EXPECT(!pVClose());
	EXPECT(!restore_held(volume));
	EXPECT(node_is_right(restored->node[9], 9));
	EXPECT(!pVClose());
	EXPECT(!restore_held(volume));
	EXPECT(!pCDelete(MAGIC));
	EXPECT(!pVClose());
	return 0;
}

static void a_container_ends_while_it_is_missing(void **state)
{
	const char *volume = scratch("end.vol");

	(void)state;
	unlink(volume);
	in_process(make, volume);
	in_process(end_while_missing, volume);
}

/* What was freed and saved so is no more in the newest version, and one version is kept: its blocks are written again. */
static int reuse_blocks_while_missing(const char *volume)
{
	struct cattr *attr;

	EXPECT(!restore_held(volume));
	attr = pCGetAttr(MAGIC);
	EXPECT(attr);
	attr->versions_kept = 1;
	EXPECT(!pCSetAttr(restored_id, attr));
	pCAttrFree(attr);
	for (unsigned i = 200; i < NODES; i++) {
		pFree(restored->node[i]);
		restored->node[i] = NULL;
	}
	restored->first = restored->node[199];
	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 200; i++)
			restored->node[i]->value[7] = round;
		EXPECT(pPointSync(restored_id) > 0);
	}
	EXPECT(!release_and_wait());
	EXPECT(!pVClose());
	return 0;
}

static void blocks_of_missing_pages_are_not_used_again(void **state)
{
	const char *volume = scratch("blocks.vol");

	(void)state;
	unlink(volume);
	in_process(make, volume);
	in_process(reuse_blocks_while_missing, volume);
}

enum { BLOCK_BYTES = 24 << 20 };

static int make_block(const char *volume)
{
	void *root;
	char **block;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(MAGIC, 64, &root);
	EXPECT(id > 0);
	block = root;
	pCUse(id);
	*block = pMalloc(BLOCK_BYTES);
	memset(*block, 'x', BLOCK_BYTES);
	EXPECT(pPointSync(id) == 1);
	EXPECT(!pVClose());
	return 0;
}

/* Freed pages go back to the kernel, and are zero when they are handed out again. */
static int recycle_while_missing(const char *volume)
{
	char **block, *again;

	EXPECT(!restore_held(volume));
	block = (char **)restored;
	pCUse(restored_id);
	EXPECT((*block)[12345] == 'x');
	pFree(*block);
	*block = NULL;
	for (unsigned i = 0; i < 3; i++)
		EXPECT(pPointSync(restored_id) == 2);
	again = pMalloc(BLOCK_BYTES);
	for (unsigned i = 0; i < BLOCK_BYTES / 2; i++)
		EXPECT(!again[i]);
	EXPECT(!release_and_wait());
	for (unsigned i = 0; i < BLOCK_BYTES; i++)
		EXPECT(!again[i]);
	EXPECT(!pVClose());
	return 0;
}

static void freed_memory_is_zero_although_it_was_missing(void **state)
{
	const char *volume = scratch("recycle.vol");

	(void)state;
	unlink(volume);
	in_process(make_block, volume);
	in_process(recycle_while_missing, volume);
}

enum { BLOCKS = 8, SHARE_BYTES = 10 << 20 };
struct blocks {
	unsigned char *block[BLOCKS];
};

static int make_blocks(const char *volume)
{
	struct blocks *b;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(MAGIC, sizeof(*b), &root);
	EXPECT(id > 0);
	b = root;
	pCUse(id);
	for (unsigned i = 0; i < BLOCKS; i++) {
		b->block[i] = pMallocNoPtr(SHARE_BYTES);
		memset(b->block[i], 1, SHARE_BYTES);
	}
	EXPECT(pPointSync(id) == 1);
	EXPECT(!pVClose());
	return 0;
}

static int blocks_again(const char *volume)
{
	struct blocks *b;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(MAGIC, &root);
	EXPECT(id > 0 && !pRestoreWait(id));
	b = root;
	pCUse(id);
	for (unsigned n = 2; n < 5; n++) {
		for (unsigned i = 0; i < BLOCKS; i++)
			memset(b->block[i], (int)n, SHARE_BYTES);
		EXPECT(pPointSync(id) > 0);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		if (i % 3) {
			pFree(b->block[i]);
			b->block[i] = NULL;
		}
	EXPECT(pPointSync(id) > 0 && pPointSync(id) > 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		if (i % 3)
			b->block[i] = pMallocNoPtr(SHARE_BYTES);
	alarm(60); /* not for ever */
	EXPECT(pPointSync(id) > 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		for (unsigned at = 0; at < SHARE_BYTES; at += PAGE)
			EXPECT(b->block[i][at] == (i % 3 ? 0 : 4));
	EXPECT(!pVClose());
	return 0;
}

/* Blocks that were written over until they were known as whole, given back, and handed out again: the marks that watching
 * leaves on pages that are not there must not keep them from becoming zero. */
static void memory_that_was_lazy_is_zero_when_it_is_handed_out_again(void **state)
{
	const char *volume = scratch("again.vol");

	(void)state;
	unlink(volume);
	in_process(make_blocks, volume);
	in_process(blocks_again, volume);
}

enum { MENDED = 100000, PLAIN_BYTES = 48 << 20 };
struct mended {
	int (*function)(const char *text);
	uint64_t value[15];
};
struct mixed {
	struct mended *node[MENDED];
	unsigned char *plain;
};

static int make_mixed(const char *volume)
{
	struct mixed *m;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(MAGIC, sizeof(*m), &root);
	EXPECT(id > 0);
	m = root;
	pCUse(id);
	for (unsigned i = 0; i < MENDED; i++) {
		m->node[i] = pMalloc(sizeof(struct mended));
		m->node[i]->function = puts;
		m->node[i]->value[14] = i;
	}
	m->plain = pMallocNoPtr(PLAIN_BYTES);
	memset(m->plain, 'p', PLAIN_BYTES);
	EXPECT(pPointSync(id) == 1);
	EXPECT(!pVClose());
	return 0;
}

static int look_at_mixed(const char *volume)
{
	struct mixed *m;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(MAGIC, &root);
	EXPECT(id > 0);
	m = root;
	for (unsigned i = 0; i < MENDED; i++)
		EXPECT(m->node[i]->function == puts && m->node[i]->value[14] == i);
	EXPECT(m->plain[PLAIN_BYTES - 1] == 'p');
	EXPECT(pPointSync(id) == 1);
	EXPECT(!pVClose());
	return 0;
}

/* Memory that must be mended at once lies apart from what comes later. */
static void what_is_mended_at_once_may_lie_anywhere(void **state)
{
	const char *volume = scratch("mixed.vol");

	(void)state;
	unlink(volume);
	in_process(make_mixed, volume);
	in_process(look_at_mixed, volume);
}

static int damage_found_in_the_background(const char *volume)
{
	EXPECT(!restore_held(volume));
	EXPECT(pPointSync(restored_id) == 1); /* nobody knows yet */
	spm_lazy_hold(false);
	EXPECT(pRestoreWait(restored_id) == -1 && errno == EUCLEAN);
	EXPECT(strstr(pErrorMsg(), "page ") && strstr(pErrorMsg(), "version 1") && strstr(pErrorMsg(), "damaged"));
	EXPECT(!pPoint(restored_id) && errno == EUCLEAN && strstr(pErrorMsg(), "page "));
	EXPECT(!pPointSync(restored_id) && errno == EUCLEAN && strstr(pErrorMsg(), "page "));
	EXPECT(pSync(restored_id) == -1 && errno == EUCLEAN && strstr(pErrorMsg(), "page "));
	pCFree(restored_id);
	pVClose();
	return 0;
}

static int node_await(unsigned number)
{
	return pRestoreWaitFor(restored_id, restored->node[number], sizeof(struct node));
}

static int comes_when_it_is_asked_for(const char *volume)
{
	EXPECT(!restore_held(volume));
	EXPECT(!node_await(6000) && node_is_right(restored->node[6000], 6000) && !node_await(6000));
	EXPECT(pRestoreWaitFor(restored_id, (void *)(uintptr_t)&restored_id, 1) == -1 && errno == EINVAL);
	spm_lazy_hold(false);
	EXPECT(!pRestoreWait(restored_id) && node_await(0) == 1 && root_is_right(restored));
	EXPECT(!pVClose());
	return 0;
}

static int damage_is_told_to_who_asks(const char *volume)
{
	EXPECT(!restore_held(volume));
	EXPECT(!node_await(100) && node_is_right(restored->node[100], 100));
	for (unsigned twice = 0; twice < 2; twice++) {
		EXPECT(node_await(6000) == -1 && errno == EUCLEAN);
		EXPECT(strstr(pErrorMsg(), "page ") && strstr(pErrorMsg(), "damaged"));
		EXPECT(!node_await(100));
	}
	EXPECT(!pPointSync(restored_id) && errno == EUCLEAN);
	spm_lazy_hold(false);
	EXPECT(pRestoreWait(restored_id) == -1 && !node_await(7000) && node_await(6000) == -1);
	pCFree(restored_id);
	pVClose();
	return 0;
}

static volatile uint64_t seen;

static void node_touch(unsigned number)
{
	for (unsigned i = 0; i < 400; i++)
		seen += restored->node[number]->value[i];
}

/* The child inherits no way to get missing pages. */
static int damage_touched_in_a_child(const char *volume)
{
	int status;
	pid_t child;

	EXPECT(!restore_held(volume));
	spm_lazy_hold(false);
	child = fork();
	if (!child) {
		signal(SIGBUS, SIG_DFL); /* not the test runner's */
		node_touch(6000);
		_exit(0);
	}
	EXPECT(waitpid(child, &status, 0) == child);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	return 0;
}

static int dies_with_a_sentence(const char *volume)
{
	char text[1024] = "";
	int status, pipes[2];
	pid_t child;

	EXPECT(!pipe(pipes));
	child = fork();
	if (!child) {
		dup2(pipes[1], STDERR_FILENO);
		signal(SIGBUS, SIG_DFL); /* not the test runner's */
		EXPECT(!restore_held(volume));
		for (unsigned i = 4000; i < 5000; i++)
			node_touch(i);
		EXPECT(write(pipes[1], restored->node[6000], sizeof(struct node)) == -1 && errno == EFAULT);
		node_touch(6000);
		return 1;
	}
	close(pipes[1]);
	EXPECT(waitpid(child, &status, 0) == child);
	EXPECT(read(pipes[0], text, sizeof(text) - 1) > 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGBUS)
		fprintf(stderr, "%s", text);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	EXPECT(strstr(text, "page ") && strstr(text, "version 1") && strstr(text, "damaged"));
	return 0;
}

static void a_damaged_page_is_named_and_never_seen(void **state)
{
	const char *volume = scratch("lazydamage.vol");

	(void)state;
	unlink(volume);
	in_process(make, volume);
	in_process(comes_when_it_is_asked_for, volume);
	a_byte_flip(volume, node_place(volume, 6000));
	in_process(damage_is_told_to_who_asks, volume);
	in_process(damage_found_in_the_background, volume);
	in_process(dies_with_a_sentence, volume);
	in_process(damage_touched_in_a_child, volume);
}

static int lazy_wp(void **state)
{
	(void)state;
	return setenv("SOFTPM_RESTORE", "lazy", 1) || unsetenv("SOFTPM_TRACK");
}

static bool can_be_lazy(void)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(lazy_wp(NULL) || spm_track_init() || !spm_lazy_is_possible());
	waitpid(child, &status, 0);
	return !status;
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

static uint64_t mapped_pages(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long long pages = 0;

	if (f && fscanf(f, "%llu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages;
}

/* Two threads bring in pages, and finish at the same time. */
static int wait_often(const char *volume)
{
	enum { BYTES = 4 << 20, TIMES = 300, FIRST_TIMES = 20, LEAST_OF_A_LIST = BYTES / PAGE * 40 / PAGE };
	uint64_t mapped = 0;
	void *at;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(12, 64, &at)) > 0);
	*(void **)at = memset(pMallocNoPtr(BYTES), 3, BYTES);
	EXPECT(pPointSync(id));
	for (unsigned i = 0; i < TIMES; i++) {
		pCFree(id);
		EXPECT((id = pCRestore(12, &at)) > 0);
		EXPECT(!pRestoreWait(id));
		EXPECT((*(char **)at)[i * 4096] == 3);
		mapped = i == FIRST_TIMES ? mapped_pages() : mapped;
	}
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
	EXPECT(mapped && mapped_pages() < mapped + (TIMES - FIRST_TIMES) * LEAST_OF_A_LIST / 2);
#endif
	EXPECT(!pVClose());
	return 0;
}

static void a_lazy_restore_ends_once(void **state)
{
	(void)state;
	in_process(wait_often, scratch("often.vol"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_large_container_comes_back_whole_and_clean),
	        cmocka_unit_test(an_eager_restore_refuses_a_damaged_page),
	        cmocka_unit_test(a_restore_and_other_containers_points_do_not_disturb_each_other),
	};

	const struct CMUnitTest lazily[] = {
	        cmocka_unit_test(a_large_container_comes_back_whole_and_clean),
	        cmocka_unit_test(a_restore_and_other_containers_points_do_not_disturb_each_other),
	        cmocka_unit_test(memory_is_used_freed_and_saved_while_it_is_missing),
	        cmocka_unit_test(system_calls_read_and_write_missing_memory),
	        cmocka_unit_test(a_forked_child_has_all_memory),
	        cmocka_unit_test(a_container_ends_while_it_is_missing),
	        cmocka_unit_test(blocks_of_missing_pages_are_not_used_again),
	        cmocka_unit_test(freed_memory_is_zero_although_it_was_missing),
	        cmocka_unit_test(memory_that_was_lazy_is_zero_when_it_is_handed_out_again),
	        cmocka_unit_test(what_is_mended_at_once_may_lie_anywhere),
	        cmocka_unit_test(a_damaged_page_is_named_and_never_seen),
	        cmocka_unit_test(a_lazy_restore_ends_once),
	};
	int failed = cmocka_run_group_tests_name("eager, wp", tests, eager_wp, NULL);

	failed += cmocka_run_group_tests_name("eager, mprotect", tests, eager_mprotect, NULL);
	if (!can_be_lazy())
		printf("lazy restore is not possible here\n");
	else
		failed += cmocka_run_group_tests_name("lazy", lazily, lazy_wp, NULL);
	return failed;
}
