/* track.c - what tracking costs: the first write to a page, and finding the dirty pages of a large heap.
 *
 *   make bench; build/bench_track [GIB...]               (default 1 2 4 8, as memory allows)
 *   SOFTPM_TRACK=mprotect build/bench_track 1
 *
 * Prints one markdown row for each size and each state of the memory:
 *   huge pages    fresh memory in transparent huge pages, as the heap asks for it
 *   written over  after one byte of every page was written since the first collect: huge pages are split
 *   collapsed     after spm_track_collapse of all of it; what that takes is printed below the table
 * Collect times are the median of 21, with no page, one or 1,000 random pages written before.
 */
#include "heap/heap.h"
#include "track/track.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ROUNDS = 21, PAGES_PER_GIB = 1 << 18, SAMPLE = 4096, SIZES_MOST = 16 };

static uint32_t reported;
static uint64_t collapse_ns[SIZES_MOST];
static int collapsed[SIZES_MOST];
static unsigned gib_count;
static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static volatile char *page(uint32_t i)
{
	return (volatile char *)(uintptr_t)spm_page_address(i);
}

static void note(pageno_t first, uint32_t pages, void *arg)
{
	(void)first, (void)arg;
	reported += pages;
}

/* Nanoseconds of one collect. */
static uint64_t collect(uint32_t pages)
{
	uint64_t t = spm_now_ns();
	int err;

	reported = 0;
	err = spm_track_collect(0, pages, note, NULL);
	if (err) {
		fprintf(stderr, "collect: %s\n", strerror(-err));
		exit(1);
	}
	return spm_now_ns() - t;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double median_us(uint32_t pages, uint32_t writes)
{
	uint64_t ns[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		for (uint32_t k = 0; k < writes; k++) /* one in each of as many equal parts: no page twice */
			(*page(pages / writes * k + (uint32_t)(next_random() % (pages / writes))))++;
		ns[i] = collect(pages);
		if (reported < writes)
			fprintf(stderr, "a written page was not reported\n"), exit(1);
	}
	qsort(ns, ROUNDS, sizeof(*ns), by_size);
	return (double)ns[ROUNDS / 2] / 1000;
}

/* Nanoseconds of the first write to a page of a random choice; the collect that follows is thrown away. */
static double first_write_ns(uint32_t pages)
{
	uint64_t t = spm_now_ns();

	for (int i = 0; i < SAMPLE; i++)
		(*page((uint32_t)(next_random() % pages)))++;
	t = spm_now_ns() - t;
	collect(pages);
	return (double)t / SAMPLE;
}

static void row(uint32_t gib, const char *state, uint32_t pages)
{
	double none = median_us(pages, 0), one = median_us(pages, 1), many = median_us(pages, 1000);

	printf("| %u | %s | %.1f | %.1f | %.1f | %.0f |\n", gib, state, none, one, many, first_write_ns(pages));
	fflush(stdout);
}

static void measure(uint32_t gib)
{
	uint32_t pages = gib * PAGES_PER_GIB;
	size_t bytes = (size_t)pages * SPM_PAGE_BYTES;
	void *at = mmap((void *)(uintptr_t)page(0), bytes, PROT_READ | PROT_WRITE,
	                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (at == MAP_FAILED) {
		fprintf(stderr, "%u GiB: %s\n", gib, strerror(errno));
		return;
	}
	madvise(at, bytes, MADV_HUGEPAGE);
	for (uint32_t i = 0; i < pages; i++)
		*page(i) = 1;
	collect(pages);
	row(gib, "huge pages", pages);
	for (uint32_t i = 0; i < pages; i++)
		*page(i) = 2;
	collect(pages);
	row(gib, "written over", pages);
	collapse_ns[gib_count] = spm_now_ns();
	collapsed[gib_count] = spm_track_collapse(0, pages);
	collapse_ns[gib_count] = spm_now_ns() - collapse_ns[gib_count];
	if (collapsed[gib_count] > 0)
		row(gib, "collapsed", pages);
	gib_count++;
	munmap(at, bytes);
	spm_track_forget(0, pages);
}

int main(int argc, char **argv)
{
	static const char *const usual[] = {"1", "2", "4", "8"};
	int err = spm_track_init();

	if (err) {
		fprintf(stderr, "no tracker: %s\n", strerror(-err));
		return 1;
	}
	printf("tracker: %s\n\n", spm_track_name());
	printf("| GiB | state | collect, none written, us | one written, us | 1,000 written, us | first write, ns |\n");
	printf("| ---: | --- | ---: | ---: | ---: | ---: |\n");
	for (int i = 1; i < argc && i <= SIZES_MOST; i++)
		measure((uint32_t)atoi(argv[i]));
	for (int i = 0; i < 4 && argc < 2; i++)
		measure((uint32_t)atoi(usual[i]));
	putchar('\n');
	for (unsigned i = 0; i < gib_count; i++)
		if (collapsed[i] > 0)
			printf("Collapsing %d huge pages: %.0f us each.\n", collapsed[i],
			       (double)collapse_ns[i] / collapsed[i] / 1000);
	return 0;
}
