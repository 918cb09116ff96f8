/* test_switch.c - pCSwitch in place: a program changes a structure at random, makes points on several branches, and goes from version
 * to version; a digest taken at each point says what must be there. What the program keeps beside, in the same spans, must stay. */
#include "expect.h"
#include "heap/class.h"
#include "heap/heap.h"
#include "process.h"
#include "scratch.h"
#include "softpm.h"
#include "volume/volume.h"

#include <errno.h>
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

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { CONTAINER = 7, ROWS = 24, BIGS = 12, PLAINS = 12, BESIDES = 200, VERSIONS = 600, BRANCHES = 6, ROUNDS = 300 };

struct node {
	struct node *next;
	uint64_t value;
	size_t bytes;
	unsigned char text[];
};
struct block {
	size_t bytes;
	unsigned char *data;
};
struct world {
	uint64_t steps;
	struct node *row[ROWS];
	struct block big[BIGS], plain[PLAINS];
	void *excluded;
	void *file; /* of libc's heap */
	int (*compare)(const char *, const char *);
};

static uint64_t rnd;
static void *libcs;

static size_t below(size_t n)
{
	return (size_t)(test_random(&rnd) % n);
}

/* Bytes that make no word that looks like an address of something mapped: it would be zero in a version. */
static void fill(unsigned char *p, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (unsigned char)(0xc0 | (seed * 31 + i / 7));
}

static void node_add(struct world *w)
{
	size_t bytes = below(8) ? below(200) : below(6000);
	struct node *n = pMalloc(sizeof(*n) + bytes), **at = &w->row[below(ROWS)];

	*n = (struct node){*at, test_random(&rnd), bytes};
	fill(n->text, bytes, n->value);
	*at = n;
}

static void node_drop(struct world *w)
{
	struct node **at = &w->row[below(ROWS)], *gone = *at;

	if (!gone)
		return;
	*at = gone->next;
	pFree(gone);
}

static void node_change(struct world *w)
{
	struct node *n = w->row[below(ROWS)];

	for (size_t k = below(5); n && n->next && k; k--)
		n = n->next;
	if (!n)
		return;
	n->value = test_random(&rnd);
	fill(n->text, n->bytes, n->value);
}

static void block_change(struct block *b, size_t most, void *(*allocate)(size_t))
{
	if (b->data && below(3)) {
		b->data[below(b->bytes)] ^= 0x11;
		return;
	}
	pFree(b->data);
	b->bytes = 1 + below(most);
	b->data = below(3) ? allocate(b->bytes) : NULL;
	if (b->data)
		fill(b->data, b->bytes, test_random(&rnd));
}

static void step(struct world *w)
{
	w->steps++;
	switch (below(12)) {
	case 0:
		block_change(&w->big[below(BIGS)], 200000, pMalloc);
		break;
	case 1:
		block_change(&w->plain[below(PLAINS)], 9000, pMallocNoPtr);
		break;
	case 2:
	case 3:
	case 4:
		node_drop(w);
		break;
	case 5:
	case 6:
		node_change(w);
		break;
	default:
		node_add(w);
	}
}

static uint64_t mix(uint64_t h, const void *p, size_t bytes)
{
	const unsigned char *at = p;

	while (bytes--)
		h = (h ^ *at++) * 0x100000001b3;
	return h;
}

static uint64_t digest(const struct world *w)
{
	uint64_t h = mix(0xcbf29ce484222325, &w->steps, sizeof(w->steps));

	for (unsigned r = 0; r < ROWS; r++)
		for (const struct node *n = w->row[r]; n; n = n->next)
			h = mix(mix(h, &n->value, sizeof(n->value)), n->text, n->bytes);
	for (unsigned i = 0; i < BIGS + PLAINS; i++) {
		const struct block *b = i < BIGS ? &w->big[i] : &w->plain[i - BIGS];

		h = b->data ? mix(h + i, b->data, b->bytes) : h;
	}
	return h;
}

/* What the program has beside the container, in the same spans. */
static struct block beside[BESIDES];

static bool beside_is_right(void)
{
	for (unsigned i = 0; i < BESIDES; i++)
		for (size_t k = 0; k < beside[i].bytes; k++)
			if (beside[i].data[k] != (unsigned char)(i + beside[i].bytes))
				return false;
	return true;
}

static void beside_change(void)
{
	unsigned i = (unsigned)below(BESIDES);

	pFree(beside[i].data);
	beside[i].bytes = below(3) ? below(300) : 0;
	beside[i].data = beside[i].bytes ? pMalloc(beside[i].bytes) : NULL;
	if (beside[i].data)
		memset(beside[i].data, (int)(i + beside[i].bytes), beside[i].bytes);
}

/* The model. */
static uint64_t was[VERSIONS]; /* by number */
static struct line {
	char name[16];
	int64_t newest;
} line[BRANCHES];
static unsigned lines, switches, in_place;

/* The world as a version has it: its pointers out are gone, code is there. */
static bool is_version(const struct world *w, int64_t version)
{
	bool is = digest(w) == was[version] && !w->file && !w->excluded && w->compare == strcmp;

	if (!is)
		fprintf(stderr, "not version %lld: steps %llu, file %p, excluded %p, digest %d\n", (long long)version,
		        (unsigned long long)w->steps, w->file, w->excluded, digest(w) == was[version]);
	return is;
}

struct work {
	_Atomic bool is_begun, is_over;
};

static void *at_work(void *arg)
{
	struct work *work = arg;
	uint64_t state = 1;
	void *p[50] = {0};

	work->is_begun = true; /* before, it blocks signals: a point would wait for it */
	while (!work->is_over) {
		unsigned i = (unsigned)(test_random(&state) % 50);

		pFree(p[i]);
		p[i] = pMalloc(test_random(&state) % 2000);
	}
	for (unsigned i = 0; i < 50; i++)
		pFree(p[i]);
	return NULL;
}

static int point(int id, struct world *w, unsigned on)
{
	w->file = libcs;
	w->excluded = &w->row[0];
	line[on].newest = pPointSync(id);
	EXPECT(line[on].newest > 0 && line[on].newest < VERSIONS);
	was[line[on].newest] = digest(w);
	return 0;
}

static int wander(int id, void *root, unsigned on)
{
	struct world *w = root;
	bool is_view = false, is_changed = false;
	int64_t at = line[on].newest;

	for (unsigned round = 0; round < ROUNDS; round++) {
		char ref[48];

		for (size_t k = below(2) ? below(30) : 0; k; k--) {
			step(w);
			is_changed |= !is_view;
		}
		for (size_t k = below(20); k; k--)
			beside_change();
		if (is_changed && below(3)) {
			EXPECT(!point(id, w, on));
			at = line[on].newest;
			is_changed = false;
		}
		if (below(10) == 0 && lines < BRANCHES) {
			sprintf(line[lines].name, "b%u", lines);
			snprintf(ref, sizeof(ref), "%.15s:%lld", line[on].name, (long long)line[on].newest);
			EXPECT(!pBranch(CONTAINER, line[lines].name, ref));
			line[lines++].newest = line[on].newest;
		}
		switch (below(3)) {
		case 0: /* another branch */
			on = (unsigned)below(lines);
			at = line[on].newest;
			sprintf(ref, "!%.15s", line[on].name);
			is_view = false;
			break;
		case 1: /* any version */
			at = 1 + (int64_t)below((size_t)line[on].newest);
			sprintf(ref, "!%lld", (long long)at);
			if (!was[at])
				continue;
			is_view = true;
			break;
		default:
			continue;
		}
		if (!is_changed && below(2))
			memmove(ref, ref + 1, strlen(ref));
		switches++;
		EXPECT(!pCSwitch(id, ref, &root));
		in_place += root == (void *)w;
		w = root;
		is_changed = false;
		EXPECT(is_version(w, at));
		EXPECT(beside_is_right());
		spm_heap_check();
	}
	for (on = 0; on < lines; on++) {
		char ref[32];

		sprintf(ref, "!%.15s", line[on].name);
		EXPECT(!pCSwitch(id, ref, &root) && is_version(root, line[on].newest));
		step(root);
		EXPECT(!point(id, root, on));
	}
	return 0;
}

static int branches_are_right(const char *volume)
{
	EXPECT(!pVOpen(volume));
	for (unsigned i = 0; i < lines; i++) {
		void *root;

		EXPECT(pCOpenAt(CONTAINER, line[i].name, &root) && is_version(root, line[i].newest));
	}
	EXPECT(!pCheck(CONTAINER, NULL, NULL, &(int64_t){0}));
	EXPECT(!pVClose());
	return 0;
}

static bool has_helper;

static int a_container_wanders(const char *volume)
{
	struct work work = {false, false};
	struct cattr *attr;
	struct pstats stats;
	pthread_t helper;
	struct world *w;
	void *root;
	int id, result;

	rnd = test_seed();
	libcs = malloc(1000);
	EXPECT(!pVOpen(volume));
	id = pCAlloc(CONTAINER, sizeof(struct world), &root);
	EXPECT(id);
	attr = pCGetAttr(CONTAINER);
	attr->versions_kept = 0;
	EXPECT(!pCSetAttr(id, attr));
	pCAttrFree(attr);
	w = root;
	w->compare = strcmp;
	EXPECT(!pExclude(id, &w->excluded));
	strcpy(line[0].name, "main");
	lines = 1;
	for (unsigned i = 0; i < 600; i++)
		step(w);
	EXPECT(!point(id, w, 0));
	EXPECT(!has_helper || !pthread_create(&helper, NULL, at_work, &work));
	while (has_helper && !work.is_begun)
		usleep(1000);
	result = wander(id, root, 0);
	work.is_over = true;
	EXPECT(!has_helper || !pthread_join(helper, NULL));
	EXPECT(!result);
	EXPECT(!pStats(CONTAINER, &stats));
	EXPECT(stats.pages_switched && (getenv("SOFTPM_SWITCH") || in_place > switches / 2));
	pCFree(id);
	spm_heap_check();
	id = pCRestore(CONTAINER, &root);
	EXPECT(id && is_version(root, line[lines - 1].newest));
	EXPECT(!wander(id, root, lines - 1));
	EXPECT(!pVClose());
	return 0;
}

/* In a process each: the second sees what the first knew of the model. */
static void wanders(const char *name)
{
	const char *volume = scratch(name);
	int status;
	pid_t child = fork();

	if (!child) {
		pid_t next;

		if (a_container_wanders(volume))
			_exit(1);
		next = fork();
		if (!next)
			_exit(branches_are_right(volume));
		waitpid(next, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the process ended with status 0x%x", status);
}

static void test_wandering(void **state)
{
	(void)state;
	wanders("first");
	wanders("second");
}

static void test_wandering_beside_a_thread(void **state)
{
	(void)state;
	has_helper = true;
	wanders("helped");
	has_helper = false;
}

static void test_wandering_by_mprotect(void **state)
{
	(void)state;
	setenv("SOFTPM_TRACK", "mprotect", 1);
	wanders("protected");
	unsetenv("SOFTPM_TRACK");
}

static void test_wandering_lazily(void **state)
{
	(void)state;
	setenv("SOFTPM_RESTORE", "lazy", 1);
	wanders("lazy");
	unsetenv("SOFTPM_RESTORE");
}

static int kept_alloc(int magic, size_t bytes, void **root)
{
	struct cattr *attr;
	int id = pCAlloc(magic, (int)bytes, root);

	EXPECT_ELSE(id, return 0);
	attr = pCGetAttr(magic);
	EXPECT_ELSE(attr, return 0);
	attr->versions_kept = 0;
	EXPECT_ELSE(!pCSetAttr(id, attr), return 0);
	pCAttrFree(attr);
	return id;
}

/* Two containers hold one object: the state of the other is not to change. */
static int an_object_is_shared(const char *volume)
{
	struct node **mine, **theirs;
	void *root;
	int id, other;

	EXPECT(!pVOpen(volume));
	id = kept_alloc(CONTAINER, sizeof(*mine), &root);
	mine = root;
	other = kept_alloc(CONTAINER + 1, sizeof(*theirs), &root);
	theirs = root;
	EXPECT(id && other);
	*mine = *theirs = pCalloc(1, sizeof(struct node));
	EXPECT(pPointSync(id) == 1);
	(*mine)->value = 2;
	EXPECT(pPointSync(id) == 2 && pPointSync(other) == 1);
	EXPECT(!pCSwitch(id, "1", &root));
	EXPECT((*(struct node **)root)->value == 0);
	EXPECT((*theirs)->value == 2 && pPointSync(other) == 1);
	EXPECT(!pVClose());
	return 0;
}

static int big_point(int id, struct block *b, size_t mb)
{
	pFree(b->data);
	*b = (struct block){mb << 20, mb ? pCalloc(1, mb << 20) : NULL};
	if (mb)
		b->data[0] = (unsigned char)mb;
	return pPointSync(id) > 0 ? 0 : -1;
}

static bool big_is(const struct block *b, size_t mb, const void *at)
{
	return b->bytes == mb << 20 && b->data == at && b->data[0] == mb && !b->data[b->bytes - 1];
}

/* Objects that are alone in a slice give way to each other there. */
static int a_slice_changes_hands(const char *volume)
{
	struct block *b;
	void *root, *at;
	int id;

	EXPECT(!pVOpen(volume));
	id = kept_alloc(CONTAINER, 2 * sizeof(*b), &root);
	EXPECT(id);
	b = root;
	EXPECT(!big_point(id, &b[1], 20) && !big_point(id, b, 20));
	at = b->data;
	EXPECT(!big_point(id, b, 0) && !big_point(id, b, 0) && !big_point(id, b, 18));
	EXPECT(b->data == at);
	EXPECT(!pCSwitch(id, "2", &root) && root == b && big_is(b, 20, at));
	EXPECT(!pCSwitch(id, "main", &root) && root == b && big_is(b, 18, at));
	spm_heap_check();
	EXPECT(!pVClose());
	return 0;
}

/* A branch, and on it a version with one page more, which makes no sense. */
static int evil_write(const char *volume, const char *branch, const struct page_meta *meta, size_t pages)
{
	static const unsigned char data[SPM_PAGE_BYTES];
	struct page_change change[2];
	struct version_info info;
	struct driver *driver;
	struct volume *v;
	struct chain *c;
	char why[512];

	EXPECT(!pVOpen(volume) && !pBranch(CONTAINER, branch, "main") && !pVClose());
	EXPECT(!spm_driver_file_open(volume, 0, &driver, why) && !spm_volume_open(driver, 0, &v));
	EXPECT(!spm_chain_open(v, CONTAINER, branch, CHAIN_WRITE, 0, &c) && !spm_chain_newest(c, &info));
	for (size_t i = 0; i < pages; i++)
		change[i] = (struct page_change){.page = 3000 + meta[i].page_in_span, .data = data, .meta = meta[i]};
	EXPECT(!spm_chain_commit(c, change, pages, false, &info));
	spm_chain_close(c);
	spm_volume_close(v);
	return 0;
}

static int evil_is_refused(const char *volume, const char *branch)
{
	uint64_t *number;
	void *root, *other;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id);
	number = root;
	EXPECT(*number == 77);
	EXPECT(pCSwitch(id, branch, &other) && errno == EUCLEAN);
	EXPECT(*number == 77);
	*number = 78;
	EXPECT(pPointSync(id) > 2);
	*number = 77;
	EXPECT(pPointSync(id) > 3);
	EXPECT(!pVClose());
	return 0;
}

static int evil_versions_come(const char *volume)
{
	struct page_meta dead = {.span_pages = 1}, beyond[2] = {{.span_pages = 3, .class = SPM_CLASS_LARGE},
	                                                        {.span_pages = 3, .class = SPM_CLASS_LARGE}};
	void *root;
	int id;

	beyond[0].live.word[0] = 1;
	beyond[1].page_in_span = 5;
	EXPECT(!pVOpen(volume));
	id = pCAlloc(CONTAINER, 100, &root);
	EXPECT(id);
	*(uint64_t *)root = 77;
	EXPECT(pPointSync(id) == 1 && !pVClose());
	EXPECT(!evil_write(volume, "dead", &dead, 1) && !evil_is_refused(volume, "dead"));
	EXPECT(!evil_write(volume, "beyond", beyond, 2) && !evil_is_refused(volume, "beyond"));
	return 0;
}

static void test_sharing(void **state)
{
	(void)state;
	in_process(an_object_is_shared, scratch("shared"));
}

static void test_slices(void **state)
{
	(void)state;
	in_process(a_slice_changes_hands, scratch("slices"));
}

static void test_evil_versions(void **state)
{
	(void)state;
	in_process(evil_versions_come, scratch("evil"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_wandering),
	        cmocka_unit_test(test_wandering_beside_a_thread),
	        cmocka_unit_test(test_wandering_by_mprotect),
	        cmocka_unit_test(test_wandering_lazily),
	        cmocka_unit_test(test_sharing),
	        cmocka_unit_test(test_slices),
	        cmocka_unit_test(test_evil_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
