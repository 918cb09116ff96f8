/* test_freeze.c - a version is a state of one instant, however its pages were frozen, while threads store all the time.
 *
 * A writer goes through its cells, each on a page of its own, and gives each the number of the round: at every instant
 * a first part of the cells has this round's number and the rest the one before.
 */
#include "expect.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { WRITERS = 3, CELLS = 2000, CELL_BYTES = 4096, POINTS = 6 };
struct root {
	unsigned char *cells[WRITERS];
};
static atomic_bool is_over;

static _Atomic uint64_t *cell(unsigned char *cells, unsigned i)
{
	return (_Atomic uint64_t *)(void *)(cells + (size_t)i * CELL_BYTES);
}

static void *writer(void *cells)
{
	uint64_t round = atomic_load(cell(cells, CELLS - 1));

	while (!atomic_load(&is_over)) {
		round++;
		for (unsigned i = 0; i < CELLS; i++)
			atomic_store(cell(cells, i), round);
	}
	return NULL;
}

static struct root *root_get(int *id)
{
	void *at;

	*id = pCRestore(1, &at);
	if (*id <= 0 && errno == ENOENT) {
		*id = pCAlloc(1, sizeof(struct root), &at);
		for (int w = 0; *id > 0 && w < WRITERS; w++)
			((struct root *)at)->cells[w] = pCalloc(CELLS, CELL_BYTES);
	}
	return *id > 0 ? at : NULL;
}

static int live(const char *volume)
{
	pthread_t thread[WRITERS];
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((r = root_get(&id)) != NULL);
	for (int w = 0; w < WRITERS; w++)
		pthread_create(&thread[w], NULL, writer, r->cells[w]);
	for (int i = 0; i < POINTS; i++)
		EXPECT(pPoint(id));
	EXPECT(!pSync(id));
	atomic_store(&is_over, true);
	for (int w = 0; w < WRITERS; w++)
		pthread_join(thread[w], NULL);
	return pVClose();
}

static int check(const char *volume)
{
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((r = root_get(&id)) != NULL);
	for (int w = 0; w < WRITERS; w++) {
		uint64_t round = atomic_load(cell(r->cells[w], 0));
		unsigned i = 0;

		while (i < CELLS && atomic_load(cell(r->cells[w], i)) == round)
			i++;
		while (i < CELLS && atomic_load(cell(r->cells[w], i)) == round - 1)
			i++;
		if (i < CELLS)
			fprintf(stderr, "writer %d: cell 0 has %llu, cell %u %llu\n", w, (unsigned long long)round, i,
			        (unsigned long long)atomic_load(cell(r->cells[w], i)));
		EXPECT(i == CELLS);
	}
	return pVClose();
}

static void in_process(int (*fn)(const char *volume), const char *volume, const char *freeze, const char *tracker)
{
	int status;
	pid_t child = fork();

	if (!child) {
		setenv("SOFTPM_FREEZE", freeze, 1);
		setenv("SOFTPM_TRACK", tracker, 1);
		_exit(fn(volume));
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
}

static void a_version_is_of_one_instant(void **state)
{
	const char *const freeze[] = {"copy", "clone"}, *const tracker[] = {"wp", "mprotect"};

	(void)state;
	for (int way = 0; way < 4; way++) {
		const char *volume = scratch("freeze.vol");

		unlink(volume);
		for (int n = 0; n < 3; n++) {
			in_process(live, volume, freeze[way % 2], tracker[way / 2]);
			in_process(check, volume, freeze[way % 2], tracker[way / 2]);
		}
	}
}

/* The process's only child that is not of fork; 0: none. */
static pid_t clone_find(void)
{
	char path[64], text[64] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)syscall(SYS_gettid));
	f = fopen(path, "r");
	if (f && fgets(text, sizeof(text), f))
		fclose(f);
	return (pid_t)atoi(text);
}

/* ---- a point of many batches (containers/changes.h) ---- */

enum { NODES = 60000 };
struct node {
	struct node *next, *excluded;
	int (*function)(const char *volume);
	uint64_t value, filling[28];
};
static const char residue[] = "reached by nobody";

static int many_batches(const char *volume);

/* Every third one is reached by nobody. */
static struct node *nodes_make(void)
{
	struct node *first = NULL, **end = &first;

	for (uint64_t i = 0; i < NODES; i++) {
		struct node *n = pMalloc(sizeof(*n));

		memcpy(n->filling, residue, i % 3 ? 0 : sizeof(residue));
		if (i % 3 == 0)
			continue;
		*n = (struct node){.excluded = first, .function = many_batches, .value = i, .filling = {[27] = ~i}};
		*end = n;
		end = &n->next;
	}
	return first;
}

enum { CHUNK_PAGES = 16, CHUNKS_MOST = 16384 };

/* Takes note of a place's page in its chunk, or that the chunk was changed: the pages to be written for it. */
static unsigned chunk_note(const void *place, const void *near, bool is_changed)
{
	static unsigned member[CHUNKS_MOST], changed[CHUNKS_MOST], pages;
	size_t page = (uintptr_t)place / 4096 - (uintptr_t)near / 4096 / CHUNK_PAGES * CHUNK_PAGES +
	              CHUNKS_MOST / 2 * CHUNK_PAGES;
	size_t chunk = page / CHUNK_PAGES;
	unsigned before = changed[chunk] ? (unsigned)__builtin_popcount(member[chunk]) : 0;

	member[chunk] |= 1u << page % CHUNK_PAGES;
	changed[chunk] |= is_changed;
	pages += (changed[chunk] ? (unsigned)__builtin_popcount(member[chunk]) : 0) - before;
	return pages;
}

static int stored_get(const struct pversion *version, void *arg)
{
	*(uint64_t *)arg = version->stored_pages;
	return 1;
}

static int many_batches(const char *volume)
{
	struct cattr attr = {.versions_kept = 4, .chunk_bytes = CHUNK_PAGES * 4096, .stop_threads = 1};
	uint64_t stored = 0;
	unsigned expected = 0;
	struct node *n;
	void *at;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(3, sizeof(void *), &at)) > 0);
	*(struct node **)at = nodes_make();
	for (n = *(struct node **)at; n; n = n->next)
		EXPECT(n->value % 64 != 1 || !pExclude(id, &n->excluded));
	EXPECT(pPoint(id) == 1);
	for (n = *(struct node **)at; n; n = n->next)
		n->value += NODES; /* while the first version is being written */
	EXPECT(!pSync(id));
	EXPECT(!pCSetAttr(id, &attr));
	EXPECT(pPoint(id) == 2 && !pSync(id));
	chunk_note(at, at, false);
	for (n = *(struct node **)at; n; n = n->next)
		expected = chunk_note(n, at, n->value % 100 == 0);
	for (n = *(struct node **)at; n; n = n->next)
		n->value += n->value % 100 ? 0 : NODES;
	*(struct node *volatile *)at =
	        *(struct node **)at; /* a dirty page before them: batches of 1024 would cut chunks */
	EXPECT(pPointSync(id) == 3);
	EXPECT(pVersions(3, NULL, stored_get, &stored) == 1);
	EXPECT(expected > 2000 && stored == expected); /* all of each chunk in which anything changed, nothing else */
	return pVClose();
}

static bool file_has(const char *path, const char *what)
{
	FILE *f = fopen(path, "r");
	static char bytes[1 << 20];
	size_t n, kept = strlen(what);
	bool has = false;

	memset(bytes, 0, kept);
	while (f && !has && (n = fread(bytes + kept, 1, sizeof(bytes) - kept, f))) {
		has = memmem(bytes, kept + n, what, strlen(what)) != NULL;
		memmove(bytes, bytes + n, kept);
	}
	return !f || fclose(f) || has;
}

static int many_batches_check(const char *volume)
{
	uint64_t i = 0;
	void *at;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(3, &at) > 0);
	for (struct node *n = *(struct node **)at; n; n = n->next, i++) {
		uint64_t number = i / 2 * 3 + i % 2 + 1, value = number + NODES;

		EXPECT(n->value == (value % 100 ? value : value + NODES) && n->filling[27] == ~number);
		EXPECT(n->function == many_batches);
		EXPECT(number % 64 == 1 ? !n->excluded : number == 1 || n->excluded == *(struct node **)at);
	}
	EXPECT(i == NODES / 3 * 2);
	EXPECT(!file_has(volume, residue));
	return pVClose();
}

static void a_point_of_many_batches_has_all_that_is_reachable_and_no_more(void **state)
{
	const char *const freeze[] = {"copy", "clone"};

	(void)state;
	for (int way = 0; way < 2; way++) {
		const char *volume = scratch("batches.vol");

		unlink(volume);
		in_process(many_batches, volume, freeze[way], "wp");
		in_process(many_batches_check, volume, freeze[way], "wp");
	}
}

enum { LARGE_BYTES = 256 << 20, COPIED_BYTES = 60 << 20 };

/* Somebody kills the clone: the point fails, and says so; memory is unharmed and the next point has all. */
static int clone_killed(const char *volume)
{
	unsigned char *bytes;
	void *at;
	int id, failed = 0;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(2, sizeof(void *), &at)) > 0);
	*(unsigned char **)at = bytes = pMalloc(LARGE_BYTES);
	for (int i = 1; i < 20 && !failed; i++) {
		pid_t clone;

		memset(bytes, i, LARGE_BYTES);
		EXPECT(pPoint(id));
		clone = clone_find();
		if (clone)
			kill(clone, SIGKILL);
		failed = pSync(id) ? i : 0;
	}
	EXPECT(failed);
	EXPECT(strstr(pErrorMsg(), "memory is unharmed"));
	EXPECT(!waitpid(-1, NULL, WNOHANG) || errno == ECHILD); /* the program never sees such a child */
	bytes[1] = 0;
	EXPECT(pPointSync(id));
	EXPECT(pVClose() == 0);
	return 0;
}

static int clone_killed_check(const char *volume)
{
	unsigned char *bytes;
	void *at;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(2, &at) > 0);
	bytes = *(unsigned char **)at;
	EXPECT(bytes[1] == 0 && bytes[0]);
	for (size_t i = 2; i < LARGE_BYTES; i++)
		EXPECT(bytes[i] == bytes[0]);
	return pVClose();
}

static void a_killed_clone_fails_the_point_and_nothing_else(void **state)
{
	const char *volume = scratch("killed.vol");

	(void)state;
	in_process(clone_killed, volume, "clone", "wp");
	in_process(clone_killed_check, volume, "clone", "wp");
}

/* For each page that the program writes while a clone lives it pays many times what a copy of it costs. */
static int copies_and_clones(const char *volume)
{
	unsigned char *bytes;
	bool was_cloned = false;
	void *at;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(2, sizeof(void *), &at)) > 0);
	*(unsigned char **)at = bytes = pMalloc(LARGE_BYTES);
	for (int i = 1; i < 20 && !was_cloned; i++) {
		memset(bytes, i, LARGE_BYTES);
		EXPECT(pPoint(id));
		was_cloned = clone_find() != 0;
		EXPECT(!pSync(id));
		memset(bytes, i, COPIED_BYTES);
		EXPECT(pPoint(id) && !clone_find() && !pSync(id));
	}
	EXPECT(was_cloned);
	return pVClose();
}

static void what_is_copied_fast_is_not_cloned(void **state)
{
	(void)state;
	in_process(copies_and_clones, scratch("copied.vol"), "", "wp");
}

/* Such a process may not read its clone's memory: it copies. */
static int without_rights(const char *volume)
{
	unsigned char *bytes;
	void *at;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(2, sizeof(void *), &at)) > 0);
	*(unsigned char **)at = bytes = pMalloc(64 << 20);
	memset(bytes, 1, 64 << 20);
	EXPECT(pPointSync(id) == 1);
	EXPECT(!setuid(65534));
	memset(bytes, 2, 64 << 20);
	EXPECT(pPointSync(id) == 2);
	return pVClose();
}

static void a_process_that_changed_its_user_makes_points(void **state)
{
	(void)state;
	if (getuid()) {
		print_message("needs root\n");
		skip();
	}
	in_process(without_rights, scratch("rights.vol"), "clone", "wp");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_version_is_of_one_instant),
	        cmocka_unit_test(a_point_of_many_batches_has_all_that_is_reachable_and_no_more),
	        cmocka_unit_test(a_killed_clone_fails_the_point_and_nothing_else),
	        cmocka_unit_test(what_is_copied_fast_is_not_cloned),
	        cmocka_unit_test(a_process_that_changed_its_user_makes_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
