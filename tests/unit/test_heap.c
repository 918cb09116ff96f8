/* test_heap.c - what heap.h promises, on a live heap. Random tests take their seed from $SEED and print it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "heap/class.h"
#include "heap/guard.h"
#include "heap/heap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t seed = 88172645463325252u;

static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static size_t random_size(void)
{
	uint64_t r = next_random();

	return (size_t)(next_random() >> 11) % ((size_t)16 << (r % 14)) + 1;
}

static bool is_zero(const unsigned char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (p[i])
			return false;
	return true;
}

static void every_offset_resolves_to_its_slot(void **state)
{
	(void)state;
	spm_class_init();
	for (unsigned c = 0; c < SPM_CLASSES; c++) {
		const struct span_class *k = &spm_classes[c];
		uint64_t bytes = (uint64_t)k->pages * SPM_PAGE_BYTES;

		assert_true(k->pages > 0);
		assert_int_equal(bytes, (uint64_t)k->slots * k->slot_bytes);
		assert_in_range(k->slots, 4, SPM_SPAN_SLOTS_MAX);
		for (uint64_t at = 0; at < (uint64_t)SPM_SPAN_PAGES_MAX * SPM_PAGE_BYTES; at++)
			if ((at * k->recip) >> 32 != at / k->slot_bytes)
				fail_msg("class %u offset %llu", c, (unsigned long long)at);
	}
}

static void a_class_is_the_smallest_that_fits(void **state)
{
	(void)state;
	spm_class_init();
	for (size_t n = 0; n <= SPM_SMALL_MAX; n++) {
		unsigned c = spm_class_of(n);

		assert_true(spm_classes[c].slot_bytes >= n);
		assert_true(c == 0 || spm_classes[c - 1].slot_bytes < n);
	}
}

static void slots_are_zero_also_the_second_time(void **state)
{
	enum { N = 2000 };
	static unsigned char *p[N];
	static size_t size[N];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		unsigned j = (unsigned)(next_random() % N);

		spm_heap_free(p[j]);
		size[j] = random_size();
		p[j] = spm_heap_alloc(size[j], next_random() & HEAP_NOPTR);
		assert_non_null(p[j]);
		assert_true(spm_heap_usable(p[j]) >= size[j]);
		size[j] = spm_heap_usable(p[j]);
		if (!is_zero(p[j], size[j]))
			fail_msg("slot of %zu bytes is not zero", size[j]);
		memset(p[j], 0xa5, size[j]);
		if (i % 20000 == 0)
			spm_heap_check();
	}
	for (unsigned j = 0; j < N; j++)
		spm_heap_free(p[j]);
	spm_heap_check();
}

static void alignment_is_kept(void **state)
{
	(void)state;
	for (size_t align = 1; align <= SPM_SLICE_BYTES; align *= 2)
		for (size_t bytes = 1; bytes < 100000; bytes = bytes * 3 + 1) {
			char *p = spm_heap_alloc_aligned(align, bytes, 0);
			char *q = spm_heap_alloc_aligned(align, bytes, 0);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % align, 0);
			assert_int_equal((uintptr_t)q % align, 0);
			assert_true(is_zero((unsigned char *)p, bytes));
			memset(p, 1, bytes);
			spm_heap_free(p);
			spm_heap_free(q);
		}
	assert_null(spm_heap_alloc_aligned(3, 10, 0));
	assert_null(spm_heap_alloc_aligned(2 * SPM_SLICE_BYTES, 10, 0));
}

static void realloc_keeps_the_content(void **state)
{
	(void)state;
	for (int round = 0; round < 300; round++) {
		size_t size = random_size();
		unsigned char *p = spm_heap_alloc(size, 0);

		memset(p, round & 0xff, size);
		for (int i = 0; i < 20; i++) {
			size_t to = i % 5 ? random_size() : random_size() * 8;
			size_t same = to < size ? to : size;

			p = spm_heap_realloc(p, to);
			assert_non_null(p);
			for (size_t b = 0; b < same; b++)
				assert_int_equal(p[b], round & 0xff);
			memset(p, round & 0xff, to);
			size = to;
		}
		spm_heap_free(p);
	}
	spm_heap_check();
}

static void allocations_of_many_slices_work(void **state)
{
	size_t bytes = 3 * SPM_SLICE_BYTES + 12345;
	unsigned char *p = spm_heap_alloc(bytes, 0);
	struct span *s = spm_span_of((uint64_t)p + bytes - 1);

	(void)state;
	assert_non_null(p);
	assert_ptr_equal(s, spm_span_of((uint64_t)p));
	p[0] = p[bytes - 1] = 1;
	assert_int_equal(spm_span_slot(s, (uint64_t)p + bytes - 1), 0);
	spm_heap_check();
	spm_heap_free(p);
	assert_null(spm_heap_alloc(SIZE_MAX / 2, 0));
	assert_null(spm_heap_alloc(UINT64_C(1) << 39, 0));
	spm_heap_check();
}

static void interior_addresses_resolve(void **state)
{
	(void)state;
	for (int i = 0; i < 3000; i++) {
		size_t size = random_size();
		char *p = spm_heap_alloc(size, 0);
		uint64_t at = (uint64_t)p + next_random() % size;
		struct span *s = spm_span_of(at);
		unsigned slot = spm_span_slot(s, at);

		assert_int_equal(spm_slot_address(s, slot), (uint64_t)p);
		assert_true(spm_slot_is_allocated(s, slot));
		if (i & 1) {
			spm_heap_free(p);
			assert_true(spm_span_of(at) != s || !spm_slot_is_allocated(s, slot));
		}
	}
}

/* ---- threads ---- */

enum { RING = 4096, ITEMS = 400000 };
static _Atomic(uint64_t *) ring[RING];

static void *produce(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < ITEMS; i++) {
		size_t words = i % 61 + 1;
		uint64_t *p = spm_heap_alloc(words * 8, 0);

		for (size_t w = 0; w < words; w++) {
			if (p[w])
				abort();
			p[w] = i;
		}
		while (atomic_load(&ring[i % RING]))
			;
		atomic_store(&ring[i % RING], p);
	}
	return NULL;
}

static void *consume(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < ITEMS; i++) {
		size_t words = i % 61 + 1;
		uint64_t *p;

		while (!(p = atomic_load(&ring[i % RING])))
			;
		for (size_t w = 0; w < words; w++)
			if (p[w] != i)
				abort();
		atomic_store(&ring[i % RING], NULL);
		spm_heap_free(p);
	}
	return NULL;
}

static void what_one_thread_allocates_another_frees(void **state)
{
	pthread_t a, b;
	struct heap_stats before, after;

	(void)state;
	spm_heap_stats(&before);
	for (int round = 0; round < 3; round++) {
		pthread_create(&a, NULL, produce, NULL);
		pthread_create(&b, NULL, consume, NULL);
		pthread_join(a, NULL);
		pthread_join(b, NULL);
		spm_heap_check();
	}
	spm_heap_stats(&after);
	assert_int_equal(before.allocated_bytes, after.allocated_bytes);
	assert_true(after.pages < before.pages + 16384); /* a ring full is 1 MiB: spans were used again */
}

static void *short_life(void *out)
{
	for (int i = 0; i < 1000; i++)
		((void **)out)[i] = spm_heap_alloc(100, 0);
	return NULL;
}

static void spans_of_ended_threads_are_used_again(void **state)
{
	static void *p[1000];
	struct heap_stats before, after;
	pthread_t t;

	(void)state;
	spm_heap_stats(&before);
	for (int i = 0; i < 200; i++) {
		pthread_create(&t, NULL, short_life, p);
		pthread_join(t, NULL);
		for (int j = 0; j < 1000; j++)
			spm_heap_free(p[j]);
	}
	spm_heap_stats(&after);
	assert_int_equal(before.allocated_bytes, after.allocated_bytes);
	assert_true(after.pages < before.pages + 500);
	spm_heap_check();
}

/* ---- drain ---- */

struct seen {
	unsigned calls;
	struct span *span;
	struct slotset freed;
	bool clears_mark;
};

static void see(struct span *s, const struct slotset *freed, void *arg)
{
	struct seen *seen = arg;

	seen->calls++;
	seen->span = s;
	seen->freed = *freed;
	if (seen->clears_mark)
		atomic_store(&s->is_marked, 0);
}

static void *free_one(void *p)
{
	spm_heap_free(p);
	return NULL;
}

static void a_drain_tells_each_free_in_marked_spans(void **state)
{
	void *p[300];
	struct seen seen = {0};
	pthread_t t;
	struct span *s;
	int other;

	(void)state;
	spm_heap_drain_freed(see, &seen);
	for (int i = 0; i < 300; i++)
		p[i] = spm_heap_alloc(1000, 0);
	s = spm_span_of((uint64_t)p[150]);
	spm_heap_free(p[0]);
	memset(&seen, 0, sizeof(seen));
	spm_heap_drain_freed(see, &seen);
	assert_int_equal(seen.calls, 0);

	atomic_store(&s->is_marked, 1);
	spm_heap_free(p[150]);
	p[150] = spm_heap_alloc(1000, 0);
	spm_heap_drain_freed(see, &seen);
	assert_int_equal(seen.calls, 1);
	assert_ptr_equal(seen.span, s);
	memset(&seen, 0, sizeof(seen));
	spm_heap_drain_freed(see, &seen);
	assert_int_equal(seen.calls, 0);

	other = spm_span_of((uint64_t)p[149]) == s ? 149 : 151;
	pthread_create(&t, NULL, free_one, p[other]);
	pthread_join(t, NULL);
	spm_heap_drain_freed(see, &seen);
	assert_int_equal(seen.calls, 1);
	assert_ptr_equal(seen.span, s);
	assert_true(slotset_has(&seen.freed, spm_span_slot(s, (uint64_t)p[other])));
	for (int i = 1; i < 300; i++)
		if (i != other)
			spm_heap_free(p[i]);
	assert_ptr_equal(spm_span_of((uint64_t)p[other]), s);
	seen.clears_mark = true;
	spm_heap_drain_freed(see, &seen);
	assert_false(atomic_load(&s->is_marked));
	spm_heap_check();
}

static void a_marked_large_span_waits_for_the_drain(void **state)
{
	char *p = spm_heap_alloc(100000, 0);
	struct span *s = spm_span_of((uint64_t)p);
	struct seen seen = {0};

	(void)state;
	atomic_store(&s->is_marked, 1);
	spm_heap_free(p);
	assert_ptr_equal(spm_span_of((uint64_t)p), s);
	spm_heap_drain_freed(see, &seen); /* the mark stays */
	assert_int_equal(seen.calls, 1);
	assert_true(slotset_has(&seen.freed, 0));
	atomic_store(&s->is_marked, 0);
	spm_heap_drain_freed(see, &seen); /* nothing freed, but now it may go */
	assert_int_equal(seen.calls, 1);
	spm_heap_free(spm_heap_alloc_aligned(8192, 400000, 0));
	assert_null(spm_span_of((uint64_t)p));
	spm_heap_check();
}

/* ---- hold ---- */

static void held_spans_stay_as_they_are_until_the_next_drain(void **state)
{
	char *large = spm_heap_alloc(100000, 0), *growing = spm_heap_alloc(100000, 0), *grown;
	struct span *s = spm_span_of((uint64_t)growing);
	uint32_t pages = s->pages;
	struct seen seen = {.clears_mark = true};

	(void)state;
	spm_heap_drain_freed(see, &seen);
	seen.calls = 0;
	spm_heap_hold();
	grown = spm_heap_realloc(growing, 300000);
	assert_ptr_not_equal(grown, growing);
	assert_int_equal(s->pages, pages);
	spm_heap_free(large);
	assert_non_null(spm_span_of((uint64_t)large));
	spm_heap_let_go();
	spm_heap_drain_freed(see, &seen);
	assert_int_equal(seen.calls, 2);
	spm_heap_free(spm_heap_alloc(1000000, 0));
	assert_null(spm_span_of((uint64_t)large));
	assert_null(spm_span_of((uint64_t)growing));
	spm_heap_free(grown);
	spm_heap_check();
}

static void held_spans_of_small_slots_go_after_the_next_drain(void **state)
{
	static void *p[2000];
	struct heap_stats before, held, after;
	struct seen seen = {0};

	(void)state;
	for (int i = 0; i < 2000; i++)
		p[i] = spm_heap_alloc(3000, 0);
	spm_heap_stats(&before);
	spm_heap_hold();
	for (int i = 0; i < 2000; i++)
		spm_heap_free(p[i]);
	spm_heap_stats(&held);
	assert_int_equal(held.pages, before.pages);
	spm_heap_let_go();
	spm_heap_drain_freed(see, &seen);
	for (int i = 0; i < 300; i++)
		p[i] = spm_heap_alloc(3000, 0); /* looks into the inbox */
	spm_heap_stats(&after);
	assert_true(after.pages + 1000 < before.pages); /* of 1500 */
	for (int i = 0; i < 300; i++)
		spm_heap_free(p[i]);
	spm_heap_check();
}

/* ---- restore ---- */

static int restore_span(pageno_t first, uint32_t pages, uint8_t class, uint8_t flags, const struct slotset *live,
                        uint32_t arena)
{
	return spm_heap_restore_spans(&(struct span_row){.first = first,
	                                                 .pages = pages,
	                                                 .class = class,
	                                                 .flags = flags,
	                                                 .spans = 1,
	                                                 .live = (const unsigned char *)live},
	                              arena);
}

static void restored_spans_serve(void **state)
{
	pageno_t first;
	uint32_t arena = spm_arena_new();
	struct slotset live = {{0}};
	unsigned class = spm_class_of(1024), before;
	uint64_t *slot5, *p;
	struct span *s;

	(void)state;
	assert_int_equal(spm_heap_find_slices(2, &first), 0);
	assert_int_equal(spm_heap_claim(first, 2 * SPM_SLICE_PAGES, arena), 0);
	assert_int_equal(spm_heap_claim(first, 1, arena), 0);
	assert_int_equal(spm_heap_claim(first, 1, spm_arena_new()), -EEXIST);
	assert_int_equal(spm_heap_claim(1, 1, arena), -EEXIST); /* the slice without a first page */
	slotset_add(&live, 5);
	assert_int_equal(restore_span(first + 16, spm_classes[class].pages, (uint8_t) class, 0, &live, arena), 0);
	assert_int_equal(restore_span(first + 17, spm_classes[class].pages, (uint8_t) class, 0, &live, arena), -EEXIST);
	s = spm_span_of(spm_page_address(first + 20));
	assert_int_equal(s->first, first + 16);
	memset((void *)spm_page_address(first + 16), 0xee, (size_t)s->pages * SPM_PAGE_BYTES);
	slot5 = (uint64_t *)spm_slot_address(s, 5);
	assert_true(spm_slot_is_allocated(s, 5));
	assert_false(spm_slot_is_allocated(s, 4));
	spm_heap_check();

	before = spm_arena_use(arena);
	p = spm_heap_alloc(1024 - SPM_GUARD_BYTES, 0);
	assert_ptr_equal(spm_span_of((uint64_t)p), s);
	assert_true(is_zero((unsigned char *)p, 1024 - SPM_GUARD_BYTES));
	assert_ptr_not_equal(p, slot5);
	spm_arena_use(before);
	spm_heap_free(slot5);
	spm_heap_free(p);
	spm_heap_check();
}

static void arenas_keep_to_their_slices(void **state)
{
	uint32_t arena = spm_arena_new();
	char *common = spm_heap_alloc(50, 0), *own, *again;
	uint32_t before = spm_arena_use(arena);

	(void)state;
	own = spm_heap_alloc(50, 0);
	spm_heap_free(common);
	spm_arena_use(before);
	again = spm_heap_alloc(50, 0);
	assert_true(((uint64_t)own ^ (uint64_t)again) >= SPM_SLICE_BYTES || spm_span_of((uint64_t)own)->arena == arena);
	assert_int_equal(spm_span_of((uint64_t)own)->arena, arena);
	assert_int_equal(spm_span_of((uint64_t)again)->arena, before);
	spm_heap_free(own);
	spm_heap_free(again);
}

static void untrusted_spans_are_refused(void **state)
{
	pageno_t first;
	uint32_t arena = spm_arena_new();
	struct slotset one = {{1}}, none = {{0}}, high = {{0, 0, 0, UINT64_C(1) << 63}};
	unsigned small = spm_class_of(20480);
	uint32_t pages;

	(void)state;
	assert_int_equal(spm_heap_find_slices(1, &first), 0);
	assert_int_equal(spm_heap_claim(first, SPM_SLICE_PAGES, arena), 0);
	pages = spm_classes[small].pages;
	assert_int_equal(restore_span(first + 1, pages + 1, (uint8_t)small, 0, &one, arena), -EINVAL);
	assert_int_equal(restore_span(first + 1, pages, (uint8_t)small, 2, &one, arena), -EINVAL);
	assert_int_equal(restore_span(first + 1, pages, SPM_CLASSES, 0, &one, arena), -EINVAL);
	assert_int_equal(restore_span(first + 1, pages, (uint8_t)small, 0, &high, arena), -EINVAL);
	assert_int_equal(restore_span(first + 1, pages, (uint8_t)small, 0, &none, arena), -EINVAL);
	assert_int_equal(restore_span(first + 1, 0, SPM_CLASS_LARGE, 0, &one, arena), -EINVAL);
	assert_int_equal(restore_span(0, 10, SPM_CLASS_LARGE, 0, &one, arena), -EINVAL);
	assert_int_equal(restore_span(UINT32_MAX - 5, 10, SPM_CLASS_LARGE, 0, &one, arena), -EINVAL);
	assert_int_equal(restore_span(first + 1, 10, SPM_CLASS_LARGE, 0, &one, UINT32_MAX), -EINVAL);
	assert_int_equal(spm_heap_claim(UINT32_MAX - 5, 10, arena), -EINVAL);
	assert_int_equal(spm_heap_claim(first, 0, arena), -EINVAL);
	assert_int_equal(restore_span(first + 1, 10, SPM_CLASS_LARGE, HEAP_NOPTR, &one, arena), 0);
	assert_int_equal(restore_span(first + 10, pages, (uint8_t)small, 0, &one, arena), -EEXIST);
	spm_heap_check();
}

/* Whole rows or nothing of them. */
static void spans_are_restored_in_rows(void **state)
{
	enum { SPANS = 300, STRIDE = 45 };
	static unsigned char lives[SPANS * STRIDE];
	struct span_row row = {.class = (uint8_t)spm_class_of(64), .spans = SPANS, .live = lives, .stride = STRIDE};
	uint32_t arena = spm_arena_new();
	struct heap_stats stats, after;
	struct slotset none = {{0}};

	(void)state;
	row.pages = spm_classes[row.class].pages;
	assert_int_equal(spm_heap_find_slices(1, &row.first), 0);
	assert_int_equal(spm_heap_claim(row.first++, SPM_SLICE_PAGES, arena), 0);
	for (unsigned i = 0; i < SPANS; i++) {
		struct slotset live = {{i + 1}};

		memcpy(lives + i * STRIDE, &live, sizeof(live));
	}
	assert_int_equal(spm_heap_restore_spans(&row, arena), 0);
	for (unsigned i = 0; i < SPANS; i++) {
		const struct span *s = spm_span_of(spm_page_address(row.first + (i + 1) * row.pages - 1));
		struct slotset live = {{i + 1}}, allocated = spm_span_allocated(s);

		assert_int_equal(s->first, row.first + i * row.pages);
		assert_memory_equal(&allocated, &live, sizeof(live));
	}
	spm_heap_check();
	spm_heap_stats(&stats);
	row.first += (SPANS - 1) * row.pages;
	assert_int_equal(spm_heap_restore_spans(&row, arena), -EEXIST);
	row.first += row.pages;
	memcpy(lives + (SPANS - 1) * STRIDE, &none, sizeof(none));
	assert_int_equal(spm_heap_restore_spans(&row, arena), -EINVAL);
	spm_heap_stats(&after);
	assert_memory_equal(&after, &stats, sizeof(stats));
	row.spans--;
	assert_int_equal(spm_heap_restore_spans(&row, arena), 0);
	spm_heap_check();
}

/* A volume written when spans of a class had another length. */
static void spans_of_another_length_are_restored(void **state)
{
	pageno_t first;
	uint32_t arena = spm_arena_new(), before;
	struct slotset live = {{UINT64_C(1) << 7}};
	unsigned class = spm_class_of(32768);
	struct span *s;
	void *p[8];

	(void)state;
	assert_int_equal(spm_heap_find_slices(1, &first), 0);
	assert_int_equal(spm_heap_claim(first, SPM_SLICE_PAGES, arena), 0);
	assert_int_not_equal(spm_classes[class].pages, 64);
	assert_int_equal(restore_span(first + 1, 64, (uint8_t) class, 0, &live, arena), 0);
	s = spm_span_of(spm_page_address(first + 64));
	assert_int_equal(s->first, first + 1);
	assert_int_equal(s->slots, 8);
	spm_heap_check();
	before = spm_arena_use(arena);
	for (unsigned i = 0; i < 8; i++)
		p[i] = i < 7 ? spm_heap_alloc(32768 - SPM_GUARD_BYTES, 0) : (void *)spm_slot_address(s, 7);
	for (unsigned i = 0; i < 8; i++) {
		assert_ptr_equal(spm_span_of((uint64_t)p[i]), s);
		spm_heap_free(p[i]);
	}
	spm_arena_use(before);
	spm_heap_check();
}

/* ---- misuse ---- */

static void expect_abort(void (*fn)(char *), char *p, const char *message)
{
	char text[1024] = "", address[32];
	int pipes[2], status;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (!pid) {
		signal(SIGABRT, SIG_DFL);
		dup2(pipes[1], STDERR_FILENO);
		fn(p);
		_exit(0);
	}
	close(pipes[1]);
	if (read(pipes[0], text, sizeof(text) - 1) < 0)
		text[0] = 0;
	close(pipes[0]);
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	snprintf(address, sizeof(address), "%p", (void *)p);
	assert_non_null(strstr(text, address));
	assert_non_null(strstr(text, message));
}

static void free_it(char *p)
{
	spm_heap_free(p);
}

static void free_twice(char *p)
{
	spm_heap_free(p);
	spm_heap_free(p);
}

static void misuse_is_named(void **state)
{
	char *small = spm_heap_alloc(100, 0), *large = spm_heap_alloc(100000, 0);
	pthread_t t;

	(void)state;
	expect_abort(free_twice, small, "double free");
	expect_abort(free_twice, large, "double free");
	expect_abort(free_it, small + 16, "middle");
	expect_abort(free_it, large + 5000, "middle");
	expect_abort(free_it, (char *)&t, "not allocated");
	expect_abort(free_it, (char *)SPM_WINDOW_END - 4096, "not allocated");
	pthread_create(&t, NULL, free_one, small);
	pthread_join(t, NULL);
	expect_abort(free_it, small, "double free");
	spm_heap_free(large);
}

#ifdef SPM_DEBUG
static void write_before(char *p)
{
	p[-1] = 'x';
	spm_heap_free(p);
}

static void write_past(char *p)
{
	p[spm_heap_usable(p)] = 'x';
	spm_heap_free(p);
}

static void writes_outside_an_allocation_are_named(void **state)
{
	(void)state;
	for (size_t bytes = 1; bytes < 300000; bytes = bytes * 3 + 5) {
		char *a = spm_heap_alloc(bytes, 0), *b = spm_heap_alloc(bytes, 0), *last = a < b ? b : a;

		if (spm_span_slot(spm_span_of((uint64_t)last), (uint64_t)last) > 0)
			expect_abort(write_before, last, "before the start");
		expect_abort(write_past, a, "past its end");
		spm_heap_free(a);
		spm_heap_free(b);
	}
}
#endif

static void *churn(void *stop)
{
	while (!atomic_load((_Atomic int *)stop))
		spm_heap_free(spm_heap_alloc(40000, 0));
	return NULL;
}

static void a_child_can_allocate(void **state)
{
	static _Atomic int stop;
	pthread_t t;
	int status;

	(void)state;
	pthread_create(&t, NULL, churn, &stop);
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (!pid) {
			alarm(20);
			spm_heap_free(spm_heap_alloc(50000, 0));
			_exit(0);
		}
		waitpid(pid, &status, 0);
		assert_int_equal(status, 0);
	}
	atomic_store(&stop, 1);
	pthread_join(t, NULL);
}

static unsigned run_covers;

static void run_count(pageno_t first, uint32_t pages, void *arg)
{
	const struct span *s = arg;

	if (first <= s->first && first + pages >= s->first + s->pages)
		run_covers++;
}

/* Slices in the middle have no free page. */
static void runs_cover_allocations_of_several_slices(void **state)
{
	void *p = spm_heap_alloc(3 * SPM_SLICE_BYTES + 5 * SPM_PAGE_BYTES, HEAP_NOPTR);

	(void)state;
	assert_non_null(p);
	run_covers = 0;
	spm_heap_each_run(run_count, spm_span_of((uintptr_t)p));
	assert_int_equal(run_covers, 1);
	spm_heap_free(p);
}

/* Nobody gets lent slices, and they are as new when they are back. */
static void lent_slices_are_nobody_elses(void **state)
{
	uint32_t taken, arena, slice;
	pageno_t first;
	char *p;

	(void)state;
	assert_int_equal(spm_heap_find_slices(3, &first), 0);
	slice = first / SPM_SLICE_PAGES;
	assert_int_equal(spm_heap_lend(slice, 2, &taken, &arena), 0);
	assert_int_equal(spm_heap_lend(slice + 1, 2, &taken, &arena), -EEXIST);
	assert_int_equal(taken, slice + 1);
	assert_int_equal(arena, SPM_ARENA_LENT);
	assert_int_equal(spm_heap_lend(SPM_SLICES - 1, 2, &taken, &arena), -EINVAL);
	assert_true(spm_heap_is_lent(spm_page_address(first)) &&
	            spm_heap_is_lent(spm_page_address(first) + 2 * SPM_SLICE_BYTES - 1));
	assert_false(spm_heap_is_lent(spm_page_address(first) + 2 * SPM_SLICE_BYTES));
	assert_int_equal(spm_heap_claim(first + SPM_SLICE_PAGES, 1, 0), -EEXIST);
	p = spm_heap_alloc(4 * SPM_SLICE_BYTES, HEAP_NOPTR);
	assert_non_null(p);
	assert_false(spm_heap_is_lent((uintptr_t)p));
	spm_heap_check();
	assert_ptr_not_equal(mmap((void *)spm_page_address(first), SPM_PAGE_BYTES, PROT_READ | PROT_WRITE,
	                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
	                     MAP_FAILED);
	*(char *)spm_page_address(first) = 1;
	spm_heap_take_back(slice, 2);
	assert_false(spm_heap_is_lent(spm_page_address(first)));
	assert_int_equal(
	        spm_heap_lend((uint32_t)(((uintptr_t)p - SPM_WINDOW_START) / SPM_SLICE_BYTES), 1, &taken, &arena),
	        -EEXIST);
	assert_int_equal(spm_heap_claim(first, SPM_SLICE_PAGES, 0), 0);
	assert_int_equal(*(char *)spm_page_address(first), 0);
	spm_heap_check();
	spm_heap_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_offset_resolves_to_its_slot),
	        cmocka_unit_test(a_class_is_the_smallest_that_fits),
	        cmocka_unit_test(slots_are_zero_also_the_second_time),
	        cmocka_unit_test(alignment_is_kept),
	        cmocka_unit_test(realloc_keeps_the_content),
	        cmocka_unit_test(allocations_of_many_slices_work),
	        cmocka_unit_test(interior_addresses_resolve),
	        cmocka_unit_test(what_one_thread_allocates_another_frees),
	        cmocka_unit_test(spans_of_ended_threads_are_used_again),
	        cmocka_unit_test(a_drain_tells_each_free_in_marked_spans),
	        cmocka_unit_test(a_marked_large_span_waits_for_the_drain),
	        cmocka_unit_test(held_spans_stay_as_they_are_until_the_next_drain),
	        cmocka_unit_test(held_spans_of_small_slots_go_after_the_next_drain),
	        cmocka_unit_test(restored_spans_serve),
	        cmocka_unit_test(arenas_keep_to_their_slices),
	        cmocka_unit_test(untrusted_spans_are_refused),
	        cmocka_unit_test(spans_are_restored_in_rows),
	        cmocka_unit_test(spans_of_another_length_are_restored),
	        cmocka_unit_test(runs_cover_allocations_of_several_slices),
	        cmocka_unit_test(lent_slices_are_nobody_elses),
	        cmocka_unit_test(misuse_is_named),
#ifdef SPM_DEBUG
	        cmocka_unit_test(writes_outside_an_allocation_are_named),
#endif
	        cmocka_unit_test(a_child_can_allocate),
	};

	if (getenv("SEED"))
		seed = strtoull(getenv("SEED"), NULL, 0) | 1;
	printf("SEED=%llu\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
