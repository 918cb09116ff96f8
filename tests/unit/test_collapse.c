/* test_collapse.c - memory that was written here and there, and is left alone then, is in huge pages again after a while, without
 * anybody asking, and what it holds and what is written to it meanwhile is in the versions.
 */
#include "expect.h"
#include "heap/heap.h"
#include "scratch.h"
#include "softpm.h"
#include "track/track.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAGIC = 3, MIB = 64, WORDS = MIB << 17, WORDS_A_PAGE = 512, PATIENCE_S = 60 };

struct root {
	uint64_t *word;
};

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

static int in_process(int (*fn)(const char *volume), const char *volume)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(fn(volume));
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* MiB of the heap window in huge pages. */
static unsigned long huge_mib(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	unsigned long from, to, kib, sum = 0;
	int is_ours = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			is_ours = spm_in_window(from);
		else if (is_ours && sscanf(line, "AnonHugePages: %lu kB", &kib) == 1)
			sum += kib / 1024;
	}
	if (f)
		fclose(f);
	return sum;
}

/* A word in every other page: so every huge page is split. */
static void write_here_and_there(uint64_t *word, uint64_t value)
{
	for (unsigned i = 0; i < WORDS; i += 2 * WORDS_A_PAGE)
		word[i] = value;
}

enum { SKIPPED = 77 };

static int write_and_wait(const char *volume)
{
	unsigned long before, split;
	struct root *r;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(MAGIC, sizeof(*r), &root);
	EXPECT(id > 0);
	r = root;
	r->word = pMalloc(WORDS * sizeof(uint64_t));
	for (unsigned i = 0; i < WORDS; i++)
		r->word[i] = i & 0xffff;
	EXPECT(pPointSync(id) == 1);
	before = huge_mib();
	if (strcmp(spm_track_name(), "wp") || before < MIB / 2)
		return SKIPPED;
	write_here_and_there(r->word, 1);
	split = huge_mib(); /* what no point has seen is not cold, however long this takes */
	EXPECT(split < before / 2);
	EXPECT(pPointSync(id) == 2);
	for (unsigned waited = 0; huge_mib() < before * 3 / 4; waited++) {
		EXPECT(waited < PATIENCE_S * 100);
		usleep(10000);
		r->word[7] = waited; /* its huge page is never left alone */
		EXPECT(pPoint(id) > 2);
	}
	r->word[7] = 7;
	write_here_and_there(r->word, 2);
	EXPECT(pPointSync(id) > 2);
	EXPECT(!pVClose());
	return 0;
}

static int look(const char *volume)
{
	struct root *r;
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(MAGIC, &root) > 0);
	r = root;
	for (unsigned i = 0; i < WORDS; i++)
		EXPECT(r->word[i] == (i % (2 * WORDS_A_PAGE) ? i & 0xffff : 2));
	EXPECT(!pVClose());
	return 0;
}

/* The worker that collapses is also the one that reads pages out of a clone: it must not wait for itself. */
static void cold_memory_is_in_huge_pages_again(void **state)
{
	const char *volume = scratch(*state);
	int result;

	setenv("SOFTPM_FREEZE", *state, 1);
	result = in_process(write_and_wait, volume);
	if (result == SKIPPED) {
		print_message("no huge pages to be had, or no asynchronous write-protect\n");
		skip();
	}
	assert_int_equal(result, 0);
	assert_int_equal(in_process(look, volume), 0);
}

/* ---- a pointer is written while its page is being collapsed ---- */

enum { TABLE_WORDS = 1 << 20, PLACE = 600000, ADVICE_COLLAPSE = 25 };
enum { CLOSED, OPEN, STORED };
static _Atomic int window;
static uintptr_t watched;

/* In place of the C library's: holds the window open for a while. */
int madvise(void *at, size_t bytes, int advice)
{
	int result = (int)syscall(SYS_madvise, at, bytes, advice);

	if (advice == ADVICE_COLLAPSE && watched - (uintptr_t)at < bytes && window == CLOSED) {
		window = OPEN;
		for (unsigned i = 0; i < 200 && window == OPEN; i++)
			usleep(1000);
	}
	return result;
}

struct table {
	char **text;
};

/* Until the heap hands out the same place again. */
static char *text_again(const char *was)
{
	for (unsigned i = 0; i < 1000000; i++) {
		char *text = pMalloc(1000);

		if (text == was)
			return text;
	}
	return NULL;
}

static int store_in_the_window(const char *volume)
{
	struct table *t;
	char *was;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(MAGIC, sizeof(*t), &root);
	EXPECT(id > 0);
	t = root;
	pCUse(id);
	t->text = pMalloc(TABLE_WORDS * sizeof(char *));
	for (unsigned i = 0; i < TABLE_WORDS; i++)
		t->text[i] = (char *)t->text;
	t->text[PLACE] = was = pMalloc(1000);
	strcpy(was, "old");
	EXPECT(pPointSync(id) == 1);
	if (strcmp(spm_track_name(), "wp") || huge_mib() < 4)
		return SKIPPED;
	for (unsigned i = 1; i < TABLE_WORDS; i += WORDS_A_PAGE)
		t->text[i] = NULL;
	EXPECT(pPointSync(id) == 2);
	watched = (uintptr_t)&t->text[PLACE];
	for (unsigned waited = 0; window == CLOSED; waited++) {
		EXPECT(waited < PATIENCE_S * 1000);
		usleep(1000);
	}
	pFree(was);
	t->text[PLACE] = text_again(was);
	EXPECT(t->text[PLACE] == was);
	strcpy(was, "new");
	window = STORED;
	usleep(300000); /* the window is closed */
	EXPECT(pPointSync(id) == 3);
	EXPECT(!pVClose());
	return 0;
}

static int look_at_text(const char *volume)
{
	struct table *t;
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(MAGIC, &root) > 0);
	t = root;
	EXPECT(!strcmp(t->text[PLACE], "new"));
	EXPECT(!pVClose());
	return 0;
}

/* The same pointer as before, to another object: no byte of its page differs. */
static void a_pointer_written_during_a_collapse_is_followed(void **state)
{
	const char *volume = scratch("window.vol");
	int result;

	(void)state;
	unsetenv("SOFTPM_FREEZE");
	result = in_process(store_in_the_window, volume);
	if (result == SKIPPED)
		skip();
	assert_int_equal(result, 0);
	assert_int_equal(in_process(look_at_text, volume), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_prestate(cold_memory_is_in_huge_pages_again, "copy"),
	        cmocka_unit_test_prestate(cold_memory_is_in_huge_pages_again, "clone"),
	        cmocka_unit_test(a_pointer_written_during_a_collapse_is_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
