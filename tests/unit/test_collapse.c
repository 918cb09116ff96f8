/* test_collapse.c - memory that was written here and there, and is left alone then, is in huge pages again after a while, without
 * anybody asking, and what it holds and what is written to it meanwhile is in the versions.
 */
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAGIC = 3, MIB = 64, WORDS = MIB << 17, WORDS_A_PAGE = 512, PATIENCE_S = 60 };

struct root {
	uint64_t *word;
};

#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: expected %s; errno %d, %s\n", __FILE__, __LINE__, #cond, errno,        \
			        pErrorMsg());                                                                          \
			return 1;                                                                                      \
		}                                                                                                      \
	} while (0)

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
	EXPECT(pPointSync(id) == 2);
	split = huge_mib();
	EXPECT(split < before / 2);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_prestate(cold_memory_is_in_huge_pages_again, "copy"),
	        cmocka_unit_test_prestate(cold_memory_is_in_huge_pages_again, "clone"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
