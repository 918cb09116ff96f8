/* test_track.c - no written page is missed. The same tests for both trackers: the program starts itself once for each, with
 * $SOFTPM_TRACK set, since a process keeps the tracker it chose.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "heap/heap.h"
#include "scratch.h"
#include "track/track.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AREA_FIRST = 1 << 20, MOST = 1 << 18 };

static unsigned char seen[MOST]; /* how often each page was reported */
static uint32_t seen_pages;
static pageno_t area_first;

static bool is_wp(void)
{
	return !strcmp(spm_track_name(), "wp");
}

static volatile char *page(uint32_t i)
{
	return (volatile char *)(uintptr_t)spm_page_address(area_first + i);
}

static struct sigaction handler_in_place; /* after spm_track_init */

/* A piece of the window that no test has used. Also puts back the tracker's handler, which cmocka replaces at each test. */
static void area_map(uint32_t pages)
{
	static pageno_t next = AREA_FIRST;
	void *p;

	sigaction(SIGSEGV, &handler_in_place, NULL);
	area_first = next;
	next += pages + SPM_SLICE_PAGES - pages % SPM_SLICE_PAGES;
	p = mmap((void *)(uintptr_t)page(0), (size_t)pages * SPM_PAGE_BYTES, PROT_READ | PROT_WRITE,
	         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(p, page(0));
}

static void area_unmap(uint32_t pages)
{
	munmap((void *)(uintptr_t)page(0), (size_t)pages * SPM_PAGE_BYTES);
	spm_track_forget(area_first, pages);
}

static void note(pageno_t first, uint32_t pages, void *arg)
{
	(void)arg;
	seen_pages += pages;
	for (uint32_t i = 0; i < pages && first - area_first + i < MOST; i++)
		seen[first - area_first + i]++;
}

static uint32_t collect(uint32_t pages)
{
	memset(seen, 0, sizeof(seen));
	seen_pages = 0;
	assert_int_equal(spm_track_collect(area_first, pages, note, NULL), 0);
	return seen_pages;
}

static void expect_seen(uint32_t i)
{
	if (!seen[i])
		fail_msg("page %u was written, and not reported", i);
}

static void written_pages_are_seen_once(void **state)
{
	(void)state;
	area_map(64);
	*page(3) = 1;
	*page(60) = 1;
	collect(64);
	expect_seen(3);
	expect_seen(60);
	assert_int_equal(collect(64), 0);
	*page(3) = 2;
	assert_int_equal(collect(64), 1);
	expect_seen(3);
	assert_int_equal(*page(3), 2);
	*page(7) = 2; /* for the first time at all */
	collect(64);
	expect_seen(7);
	assert_int_equal(collect(64), 0);
	area_unmap(64);
}

/* Protected one by one, and from some number on in the pass. */
static void written_pages_are_seen_once_if_others_run(void **state)
{
	static const uint32_t counts[] = {1, 3, 15, 16, 17, 40, 500};

	(void)state;
	area_map(1024);
	spm_track_note_others(true);
	for (unsigned i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		for (uint32_t n = 0; n < counts[i]; n++)
			*page(n * 2) = 1;
		assert_true(collect(1024) >= counts[i]);
		for (uint32_t n = 0; n < counts[i]; n++)
			expect_seen(n * 2);
		assert_int_equal(collect(1024), 0);
	}
	*page(7) = 1;
	*page(300) = 1;
	collect(1024);
	expect_seen(7);
	expect_seen(300);
	spm_track_note_others(false);
	area_unmap(1024);
}

static void nothing_is_seen_without_a_write(void **state)
{
	char sum = 0;

	(void)state;
	area_map(64);
	assert_int_equal(collect(64), 0);
	for (uint32_t i = 0; i < 64; i++)
		*page(i) = 1;
	assert_int_equal(collect(64), 64);
	for (uint32_t i = 0; i < 64; i++)
		sum = (char)(sum + *page(i));
	assert_int_equal(sum, 64);
	assert_int_equal(collect(64), 0);
	area_unmap(64);
}

static void memset_over_many_pages_is_seen_whole(void **state)
{
	enum { PAGES = 8192 };

	(void)state;
	area_map(PAGES);
	madvise((void *)(uintptr_t)page(0), (size_t)PAGES * SPM_PAGE_BYTES, MADV_HUGEPAGE);
	memset((void *)(uintptr_t)page(0), 1, (size_t)PAGES * SPM_PAGE_BYTES);
	assert_int_equal(collect(PAGES), PAGES);
	assert_int_equal(collect(PAGES), 0);
	memset((void *)(uintptr_t)(page(1000) + 5), 2, (size_t)2000 * SPM_PAGE_BYTES);
	collect(PAGES);
	for (uint32_t i = 1000; i <= 3000; i++)
		expect_seen(i);
	assert_true(seen_pages <= 3072); /* at most to the ends of huge pages */
	assert_int_equal(collect(PAGES), 0);
	area_unmap(PAGES);
}

/* Parts of one range, in any order: the parts do not disturb each other. */
static void parts_are_collected_by_themselves(void **state)
{
	(void)state;
	area_map(1024);
	for (uint32_t i = 0; i < 1024; i++)
		*page(i) = 1;
	assert_int_equal(collect(1024), 1024);
	*page(10) = 2;
	*page(1000) = 2;
	collect(500);
	expect_seen(10);
	assert_false(seen[1000]);
	collect(1024);
	expect_seen(1000);
	assert_false(seen[10]);
	area_unmap(1024);
}

static void kernel_writes_are_seen(void **state)
{
	int ends[2];
	ssize_t n;

	(void)state;
	area_map(16);
	memset((void *)(uintptr_t)page(0), 1, (size_t)16 * SPM_PAGE_BYTES);
	collect(16);
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "abcd", 4), 4);
	n = read(ends[0], (void *)(uintptr_t)page(5), 4);
	if (is_wp()) {
		assert_int_equal(n, 4);
		collect(16);
		expect_seen(5);
		assert_int_equal(seen_pages, 1);
	} else { /* the known hole: an error, and no change that nobody sees */
		assert_int_equal(n, -1);
		assert_int_equal(errno, EFAULT);
		*page(5) = *page(5);
		assert_int_equal(read(ends[0], (void *)(uintptr_t)page(5), 4), 4);
		collect(16);
		expect_seen(5);
	}
	close(ends[0]);
	close(ends[1]);
	area_unmap(16);
}

/* A range of 64 GiB with three pages in it. */
static void sparse_ranges_are_cheap(void **state)
{
	enum { PAGES = 16 << 20 };
	uint64_t t;

	(void)state;
	area_map(PAGES);
	*page(0) = *page(PAGES / 2) = *page(PAGES - 1) = 1;
	t = spm_now_ns();
	assert_int_equal(collect(PAGES), 3);
	t = spm_now_ns() - t;
	print_message("%s: first collect of a sparse 64 GiB: %lu us\n", spm_track_name(), (unsigned long)(t / 1000));
	assert_int_equal(collect(PAGES), 0);
	*page(PAGES / 2) = 2;
	*page(PAGES / 2 + 1) = 2;
	assert_int_equal(collect(PAGES), 2);
	area_unmap(PAGES);
}

/* The heap's way: the memory stays mapped. What is written afterwards must be seen. */
static void ranges_given_back_are_watched_again(void **state)
{
	(void)state;
	for (int forget = 0; forget < 2; forget++) {
		area_map(1024);
		memset((void *)(uintptr_t)page(0), 1, (size_t)1024 * SPM_PAGE_BYTES);
		assert_int_equal(collect(1024), 1024);
		assert_int_equal(madvise((void *)(uintptr_t)page(100), (size_t)600 * SPM_PAGE_BYTES, MADV_DONTNEED), 0);
		if (forget)
			spm_track_forget(area_first + 100, 600);
		assert_true(collect(1024) <= (forget ? 0 : 600)); /* they may be reported once */
		assert_int_equal(collect(1024), 0);
		*page(200) = 1;
		*page(50) = 1;
		collect(1024);
		expect_seen(200);
		expect_seen(50);
		*page(200) = 2;
		collect(1024);
		expect_seen(200);
		area_unmap(1024);
	}
}

/* A mapping made anew in the middle is not registered; what is dirty before it must not get lost. */
static void ranges_mapped_anew_are_watched_again(void **state)
{
	(void)state;
	area_map(1024);
	memset((void *)(uintptr_t)page(0), 1, (size_t)1024 * SPM_PAGE_BYTES);
	assert_int_equal(collect(1024), 1024);
	*page(5) = *page(1023) = 2;
	assert_ptr_equal(mmap((void *)(uintptr_t)page(500), (size_t)100 * SPM_PAGE_BYTES, PROT_READ | PROT_WRITE,
	                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
	                 page(500));
	spm_track_forget(area_first + 500, 100);
	*page(550) = 1;
	collect(1024);
	expect_seen(5);
	expect_seen(550);
	expect_seen(1023);
	assert_int_equal(collect(1024), 0);
	*page(550) = 3;
	collect(1024);
	expect_seen(550);
	area_unmap(1024);
}

/* Read-only and inaccessible pages keep their protection. */
static void protection_of_others_is_kept(void **state)
{
	int ends[2];

	(void)state;
	area_map(64);
	memset((void *)(uintptr_t)page(0), 1, (size_t)64 * SPM_PAGE_BYTES);
	mprotect((void *)(uintptr_t)page(20), (size_t)10 * SPM_PAGE_BYTES, PROT_READ);
	mprotect((void *)(uintptr_t)page(40), (size_t)10 * SPM_PAGE_BYTES, PROT_NONE);
	collect(64);
	expect_seen(0);
	expect_seen(30);
	expect_seen(63);
	*page(35) = 2;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "abcd", 4), 4);
	assert_int_equal(read(ends[0], (void *)(uintptr_t)page(25), 4), -1);
	assert_int_equal(read(ends[0], (void *)(uintptr_t)page(45), 4), -1);
	close(ends[0]);
	close(ends[1]);
	area_unmap(64);
}

static sigjmp_buf escape;
static void *volatile fault_at;

static void on_segv(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	fault_at = info->si_addr;
	siglongjmp(escape, 1);
}

/* Installed before the tracker, by main: the tracker's handler must hand on what is not its own. */
static void handler_of_the_application_keeps_working(void **state)
{
	char *foreign = mmap(NULL, SPM_PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	area_map(4);
	*page(0) = 1;
	collect(4);
	for (int round = 0; round < 3; round++) {
		fault_at = NULL;
		if (!sigsetjmp(escape, 1))
			*(volatile char *)foreign = 1;
		assert_ptr_equal(fault_at, foreign);
		*page(0) = 2; /* and the tracker goes on */
		collect(4);
		expect_seen(0);
	}
	munmap(foreign, SPM_PAGE_BYTES);
	fault_at = NULL; /* a window page that does not exist */
	area_unmap(4);
	if (!sigsetjmp(escape, 1))
		*page(1) = 1;
	assert_ptr_equal(fault_at, page(1));
	fault_at = (void *)1; /* a signal that somebody sent */
	if (!sigsetjmp(escape, 1))
		raise(SIGSEGV);
	assert_ptr_not_equal(fault_at, (void *)1);
}

/* Every second of 160,000 pages: more mappings than the kernel allows, if each page is one. */
static void scattered_writes_beyond_the_limit_of_mappings_lose_nothing(void **state)
{
	enum { PAGES = 160000 };

	(void)state;
	area_map(PAGES);
	madvise((void *)(uintptr_t)page(0), (size_t)PAGES * SPM_PAGE_BYTES, MADV_NOHUGEPAGE);
	for (uint32_t i = 0; i < PAGES; i++)
		*page(i) = 1;
	assert_int_equal(collect(PAGES), PAGES);
	for (int round = 0; round < 2; round++) {
		uint64_t t = spm_now_ns();

		for (uint32_t i = 0; i < PAGES; i += 2)
			*page(i) = (char)round;
		t = spm_now_ns() - t;
		collect(PAGES);
		for (uint32_t i = 0; i < PAGES; i += 2)
			expect_seen(i);
		print_message("%s: 80,000 scattered first writes: %lu ns each; %u pages reported\n", spm_track_name(),
		              (unsigned long)(t / 80000), seen_pages);
		assert_int_equal(collect(PAGES), 0);
	}
	area_unmap(PAGES);
}

enum { WRITERS = 4, SHARED = 4096, STEPS = 200000 };

static void *writer_main(void *arg)
{
	uint64_t random = (uintptr_t)arg;

	for (int i = 0; i < STEPS; i++)
		atomic_fetch_add((_Atomic unsigned *)(uintptr_t)page((uint32_t)(test_random(&random) % SHARED)), 1u);
	return NULL;
}

/* Threads write while the main thread collects, each page being copied when it is reported: in the end, after one more
 * collect, all copies are right. */
static void concurrent_writes_are_all_seen_in_the_end(void **state)
{
	static unsigned copy[SHARED];
	pthread_t threads[WRITERS];

	(void)state;
	area_map(SHARED);
	for (int i = 0; i < WRITERS; i++)
		pthread_create(&threads[i], NULL, writer_main, (void *)(uintptr_t)(i + 1));
	for (int round = 0; round <= 100; round++) {
		if (round == 100)
			for (int i = 0; i < WRITERS; i++)
				pthread_join(threads[i], NULL);
		collect(SHARED);
		for (uint32_t i = 0; i < SHARED; i++)
			if (seen[i])
				copy[i] = *(volatile unsigned *)(uintptr_t)page(i);
	}
	for (uint32_t i = 0; i < SHARED; i++)
		if (copy[i] != *(volatile unsigned *)(uintptr_t)page(i))
			fail_msg("page %u: the last write was not reported", i);
	area_unmap(SHARED);
}

static void forked_child_tracks_by_itself(void **state)
{
	int status = -1;
	pid_t child;

	(void)state;
	area_map(64);
	memset((void *)(uintptr_t)page(0), 1, (size_t)64 * SPM_PAGE_BYTES);
	collect(64);
	child = fork();
	if (!child) {
		spm_track_after_fork();
		if (spm_track_init())
			_exit(1);
		*page(3) = 2;
		collect(64);
		if (!seen[3])
			_exit(2);
		if (collect(64))
			_exit(3);
		*page(4) = 2;
		_exit(collect(64) == 1 && seen[4] ? 0 : 4);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(collect(64), 0);
	*page(9) = 3;
	assert_int_equal(collect(64), 1);
	area_unmap(64);
}

/* Every page of 32 MiB was written since the first collect, so no huge page is left. */
static void area_split(uint32_t pages)
{
	area_map(pages);
	madvise((void *)(uintptr_t)page(0), (size_t)pages * SPM_PAGE_BYTES, MADV_HUGEPAGE);
	for (char round = 1; round <= 2; round++) {
		for (uint32_t i = 0; i < pages; i++)
			*page(i) = round, *(volatile uint32_t *)(uintptr_t)(page(i) + 64) = i;
		collect(pages);
	}
}

static void collapsed_ranges_keep_their_bytes_and_their_watch(void **state)
{
	enum { PAGES = 8192 };
	int n;

	(void)state;
	area_split(PAGES);
	*page(700) = 3; /* in the second 2 MiB: not cold */
	n = spm_track_collapse(area_first, PAGES);
	if (is_wp() && n != PAGES / 512 - 1)
		print_message("collapsed only %d of %d: no huge pages to be had?\n", n, PAGES / 512 - 1);
	assert_true(n >= 0);
	assert_true(n < PAGES / 512);
	assert_int_equal(collect(PAGES), 1);
	expect_seen(700);
	assert_int_equal(collect(PAGES), 0);
	for (uint32_t i = 0; i < PAGES; i++) {
		assert_int_equal(*page(i), i == 700 ? 3 : 2);
		assert_int_equal(*(volatile uint32_t *)(uintptr_t)(page(i) + 64), i);
	}
	*page(5) = *page(700) = *page(8000) = 4;
	collect(PAGES);
	expect_seen(5);
	expect_seen(700);
	expect_seen(8000);
	assert_int_equal(collect(PAGES), 0);
	area_unmap(PAGES);
}

/* As concurrent_writes: whoever writes while a range is open for a moment is seen at the next collect. */
static void writes_during_a_collapse_are_seen_in_the_end(void **state)
{
	static unsigned copy[SHARED];
	pthread_t threads[WRITERS];

	(void)state;
	area_split(SHARED);
	for (uint32_t i = 0; i < SHARED; i++)
		copy[i] = *(volatile unsigned *)(uintptr_t)page(i);
	for (int i = 0; i < WRITERS; i++)
		pthread_create(&threads[i], NULL, writer_main, (void *)(uintptr_t)(i + 1));
	for (int round = 0; round <= 100; round++) {
		if (round == 100)
			for (int i = 0; i < WRITERS; i++)
				pthread_join(threads[i], NULL);
		assert_true(spm_track_collapse(area_first, SHARED) >= 0);
		collect(SHARED);
		for (uint32_t i = 0; i < SHARED; i++)
			if (seen[i])
				copy[i] = *(volatile unsigned *)(uintptr_t)page(i);
	}
	for (uint32_t i = 0; i < SHARED; i++)
		if (copy[i] != *(volatile unsigned *)(uintptr_t)page(i))
			fail_msg("page %u: the last write was not reported", i);
	area_unmap(SHARED);
}

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(written_pages_are_seen_once),
	        cmocka_unit_test(written_pages_are_seen_once_if_others_run),
	        cmocka_unit_test(nothing_is_seen_without_a_write),
	        cmocka_unit_test(memset_over_many_pages_is_seen_whole),
	        cmocka_unit_test(parts_are_collected_by_themselves),
	        cmocka_unit_test(kernel_writes_are_seen),
	        cmocka_unit_test(sparse_ranges_are_cheap),
	        cmocka_unit_test(ranges_given_back_are_watched_again),
	        cmocka_unit_test(ranges_mapped_anew_are_watched_again),
	        cmocka_unit_test(protection_of_others_is_kept),
	        cmocka_unit_test(handler_of_the_application_keeps_working),
	        cmocka_unit_test(concurrent_writes_are_all_seen_in_the_end),
	        cmocka_unit_test(scattered_writes_beyond_the_limit_of_mappings_lose_nothing),
	        cmocka_unit_test(collapsed_ranges_keep_their_bytes_and_their_watch),
	        cmocka_unit_test(writes_during_a_collapse_are_seen_in_the_end),
	        cmocka_unit_test(forked_child_tracks_by_itself),
	};
	struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};
	int err;

	sigaction(SIGSEGV, &action, NULL);
	err = spm_track_init();
	sigaction(SIGSEGV, NULL, &handler_in_place);
	if (err == -ENOSYS && !strcmp(getenv("SOFTPM_TRACK"), "wp")) {
		print_message("this kernel has no asynchronous write-protect: skipped\n");
		return 0;
	}
	if (err || strcmp(spm_track_name(), getenv("SOFTPM_TRACK"))) {
		print_error("the tracker %s does not start: %s\n", getenv("SOFTPM_TRACK"), strerror(-err));
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

static int run_with(const char *tracker)
{
	int status = -1;
	pid_t child = fork();

	if (!child) {
		setenv("SOFTPM_TRACK", tracker, 1);
		exit(run_all());
	}
	waitpid(child, &status, 0);
	return status;
}

int main(void)
{
	const char *forced = getenv("SOFTPM_TRACK");
	int failed;

	if (forced && *forced)
		return run_all();
	failed = run_with("wp") != 0;
	failed += run_with("mprotect") != 0;
	return failed;
}
