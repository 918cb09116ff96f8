/* test_window.c - data that is no pointer does not look like one.
 *
 * The worst case of a heap that fills the first 4 GiB of the window is taken, and what programs keep most: pairs of
 * small numbers, times, doubles, text, and noise. None may fall inside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "heap/heap.h"

#include <string.h>

enum { ROUNDS = 20000000 };

static uint64_t x = 88172645463325252u;
static uint64_t hits;

static uint64_t next_random(void)
{
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static void offer(uint64_t word)
{
	hits += spm_in_window(word) && word - SPM_WINDOW_START < UINT64_C(4) << 30;
}

static void offer_double(double d)
{
	uint64_t word;

	memcpy(&word, &d, sizeof(word));
	offer(word);
}

/* {any 32-bit number, one below 10,000}: lengths, counts, indexes, colours. */
static void pairs_of_numbers_are_no_addresses(void **state)
{
	(void)state;
	hits = 0;
	for (uint64_t high = 0; high < 10000; high++)
		for (int i = 0; i < 2000; i++)
			offer(high << 32 | (uint32_t)next_random());
	for (uint64_t high = 1; high < 10000; high++) /* small negative numbers */
		for (int i = 0; i < 2000; i++)
			offer((uint64_t)(uint32_t)-high << 32 | (uint32_t)next_random());
	assert_int_equal(hits, 0);
}

static void integers_are_no_addresses(void **state)
{
	(void)state;
	hits = 0;
	for (int64_t i = -ROUNDS; i < ROUNDS; i++)
		offer((uint64_t)i);
	for (int bit = 0; bit < 64; bit++)
		for (int off = -1000; off <= 1000; off++)
			offer((UINT64_C(1) << bit) + (uint64_t)off);
	for (uint64_t power = 1; power < UINT64_MAX / 10; power *= 10)
		for (uint64_t m = 1; m < 10; m++)
			offer(power * m);
	assert_int_equal(hits, 0);
}

/* 1980 to 2100 in seconds, milliseconds, microseconds and nanoseconds, and as seconds beside nanoseconds. (Microseconds
 * since 1970 pass through the window in September 1973, nanoseconds since boot after 32.5 hours, for nine minutes.) */
static void times_are_no_addresses(void **state)
{
	const uint64_t start = 315532800, end = UINT64_C(4102444800);

	(void)state;
	hits = 0;
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t s = start + next_random() % (end - start), ns = next_random() % 1000000000;

		offer(s);
		offer(s * 1000 + ns / 1000000);
		offer(s * 1000000 + ns / 1000);
		offer(s * 1000000000 + ns);
		offer(ns << 32 | s % (UINT64_C(1) << 31));
	}
	assert_int_equal(hits, 0);
}

static void doubles_are_no_addresses(void **state)
{
	(void)state;
	hits = 0;
	for (int i = 0; i < ROUNDS; i++) {
		double unit = (double)(next_random() >> 11) * 0x1p-53;

		offer_double(unit);
		offer_double(-unit * 1e9);
		offer_double(unit * 1e300);
		offer_double(1e-300 * unit);
		offer_double((double)i);
		offer_double((double)i / 100);
	}
	assert_int_equal(hits, 0);
}

static void text_is_no_address(void **state)
{
	(void)state;
	hits = 0;
	for (int i = 0; i < ROUNDS; i++) {
		char text[8];
		uint64_t r = next_random(), word;

		for (int c = 0; c < 8; c++, r >>= 8)
			text[c] = (char)(' ' + (r & 0xff) % 95);
		for (int end = 8; end > 0; end--) { /* also when it ends in the middle of the word */
			if (end < 8)
				text[end] = 0;
			memcpy(&word, text, 8);
			offer(word);
		}
	}
	assert_int_equal(hits, 0);
}

static void noise_is_no_address(void **state)
{
	(void)state;
	hits = 0;
	for (int i = 0; i < 5 * ROUNDS; i++)
		offer(next_random());
	assert_int_equal(hits, 0);
}

static void the_bounds_are_exact(void **state)
{
	(void)state;
	assert_false(spm_in_window(SPM_WINDOW_START - 1));
	assert_true(spm_in_window(SPM_WINDOW_START));
	assert_true(spm_in_window(SPM_WINDOW_END - 1));
	assert_false(spm_in_window(SPM_WINDOW_END));
	assert_int_equal(SPM_WINDOW_START + (uint64_t)SPM_SLICES * SPM_SLICE_BYTES, SPM_WINDOW_END);
	assert_int_equal(spm_page_of(spm_page_address(12345678)), 12345678);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(pairs_of_numbers_are_no_addresses),
	        cmocka_unit_test(integers_are_no_addresses),
	        cmocka_unit_test(times_are_no_addresses),
	        cmocka_unit_test(doubles_are_no_addresses),
	        cmocka_unit_test(text_is_no_address),
	        cmocka_unit_test(noise_is_no_address),
	        cmocka_unit_test(the_bounds_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
