/* test_outside.c - pointers that lead out of the heap: encoded, saved, loaded and decoded in one process. What needs two
 * builds of a program is in tests/e2e/outside_rebuild.sh. */
#include "discover/outside.h"
#include "heap/heap.h"
#include "scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { WORDS = 512 };
static uint64_t page[WORDS], original[WORDS];
static int static_data[64];
static char static_zeros[100000];

static struct {
	unsigned count, offset;
	uint64_t value;
	char what[300];
} seen;

static int static_function(int x)
{
	return x * 3 + static_data[x & 63];
}

static void note_left(unsigned offset, uint64_t value, const char *what, void *arg)
{
	(void)arg;
	seen.count++;
	seen.offset = offset;
	seen.value = value;
	snprintf(seen.what, sizeof(seen.what), "%s", what);
}

static void note_warning(size_t word, const char *sentence, void *arg)
{
	note_left((unsigned)word * 8, 0, sentence, arg);
}

static void page_make(uint64_t word7)
{
	memset(page, 0, sizeof(page));
	memset(&seen, 0, sizeof(seen));
	page[7] = word7;
	memcpy(original, page, sizeof(page));
}

static bool is_canonical(uint64_t word)
{
	return word >= UINT64_C(0x6b8100000000) && word < UINT64_C(0x6bff00000000);
}

/* Encodes, saves, loads into another table, decodes there. */
static void round_trip(uint64_t word)
{
	struct outside *o = spm_outside_new(), *other = spm_outside_new();
	void *bytes;
	size_t n;

	page_make(word);
	assert_true(spm_outside_encode(o, page, note_left, NULL));
	assert_true(is_canonical(page[7]));
	assert_true(spm_outside_has_changed(o));
	assert_int_equal(spm_outside_save(o, &bytes, &n), 0);
	assert_true(spm_outside_has_changed(o)); /* until they are durable */
	spm_outside_saved(o);
	assert_false(spm_outside_has_changed(o));
	assert_int_equal(spm_outside_load(other, bytes, n), 0);
	assert_false(spm_outside_has_changed(other));
	spm_outside_decode(other, page, WORDS, note_warning, NULL);
	assert_memory_equal(page, original, sizeof(page));
	assert_int_equal(seen.count, 0);
	free(bytes);
	spm_outside_free(o);
	spm_outside_free(other);
}

static void pointers_into_modules_survive(void **state)
{
	(void)state;
	round_trip((uint64_t)(uintptr_t)static_function);
	round_trip((uint64_t)(uintptr_t)&static_data[13]);
	round_trip((uint64_t)(uintptr_t)&static_zeros[99999]);
	round_trip((uint64_t)(uintptr_t) "a string literal");
	round_trip((uint64_t)(uintptr_t)nrand48);
	round_trip((uint64_t)(uintptr_t)strlen); /* chosen at run time by the loader */
	round_trip((uint64_t)(uintptr_t)spm_outside_new);
}

static void expect_left(const void *to, const char *what)
{
	struct outside *o = spm_outside_new();
	char name[60];

	page_make((uint64_t)(uintptr_t)to);
	assert_true(spm_outside_encode(o, page, note_left, NULL));
	assert_int_equal(page[7] & ~UINT64_C(3), 0x6bff00000000);
	assert_true(spm_outside_name(o, page[7], name, sizeof(name)) && name[0] == '(');
	spm_outside_decode(o, page, WORDS, note_warning, NULL);
	assert_int_equal(page[7], 0);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.offset, 56);
	assert_int_equal(seen.value, (uint64_t)(uintptr_t)to);
	if (what)
		assert_string_equal(seen.what, what);
	assert_false(spm_outside_has_changed(o));
	spm_outside_free(o);
}

static void pointers_into_other_memory_become_null(void **state)
{
	int on_stack = 1;
	char *small = malloc(100);
	void *mapped;

	(void)state;
	expect_left(&on_stack, "stack");
	expect_left(small, NULL);
	/* Mapped after the mappings were first read: found again, several times. */
	for (int i = 0; i < 5; i++) {
		mapped = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(mapped != MAP_FAILED);
		expect_left((char *)mapped + 4097, NULL);
	}
	free(small);
}

/* The tables take hundreds of GiB of addresses: among a hundred million random words there is one that hits them. */
static void integers_that_hit_our_own_tables_stay(void **state)
{
	struct outside *o;

	(void)state;
	assert_int_equal(spm_heap_init(), 0);
	o = spm_outside_new();
	page_make((uint64_t)(uintptr_t)spm_page_span + 4097);
	assert_false(spm_outside_encode(o, page, note_left, NULL));
	assert_memory_equal(page, original, sizeof(page));
	assert_int_equal(seen.count, 0);
	spm_outside_free(o);
}

/* An address that dangles is no address; when something is mapped there later, it is one. */
static void a_new_mapping_is_seen_at_once(void **state)
{
	struct outside *o = spm_outside_new();
	char *at = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *hole = at + 65536;

	(void)state;
	assert_int_equal(munmap(hole, 65536), 0);
	page_make((uint64_t)(uintptr_t)stdout); /* makes the list of mappings known without the hole */
	spm_outside_encode(o, page, note_left, NULL);
	page_make((uint64_t)(uintptr_t)&state);
	spm_outside_encode(o, page, note_left, NULL);
	assert_true(mmap(hole, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == hole);
	expect_left(hole + 100, NULL);
	spm_outside_free(o);
}

static void everything_else_stays(void **state)
{
	static const uint64_t words[] = {0,
	                                 1,
	                                 65535,
	                                 65536,
	                                 0x20202020,
	                                 UINT32_MAX,
	                                 UINT64_C(1) << 40,
	                                 SPM_WINDOW_START,
	                                 SPM_WINDOW_END - 8,
	                                 UINT64_C(0x6b8100000000),
	                                 UINT64_C(0x6b8200001234),
	                                 UINT64_C(1) << 47,
	                                 UINT64_C(1) << 63,
	                                 UINT64_MAX,
	                                 UINT64_C(0x4000000000000000)};
	struct outside *o = spm_outside_new();
	uint64_t seed = test_seed();

	(void)state;
	page_make(0);
	memcpy(page, words, sizeof(words));
	for (unsigned i = sizeof(words) / 8; i < WORDS; i++)
		page[i] = test_random(&seed) | UINT64_C(1) << 47;
	memcpy(original, page, sizeof(page));
	assert_false(spm_outside_encode(o, page, note_left, NULL));
	assert_memory_equal(page, original, sizeof(page));
	assert_int_equal(seen.count, 0);
	spm_outside_decode(o, page, WORDS, note_warning, NULL);
	assert_memory_equal(page, original, sizeof(page));
	spm_outside_free(o);
}

static void an_unchanged_page_has_unchanged_bytes(void **state)
{
	struct outside *o = spm_outside_new();
	uint64_t first[WORDS];

	(void)state;
	for (int round = 0; round < 3; round++) {
		page_make((uint64_t)(uintptr_t)static_function);
		for (unsigned i = 100; i < 164; i++)
			page[i] = (uint64_t)(uintptr_t)&static_data[i - 100];
		assert_true(spm_outside_encode(o, page, note_left, NULL));
		if (!round)
			memcpy(first, page, sizeof(page));
		assert_memory_equal(page, first, sizeof(page));
	}
	spm_outside_free(o);
}

static void many_targets_are_found_again(void **state)
{
	struct outside *o = spm_outside_new(), *other = spm_outside_new();
	void *bytes;
	size_t n;

	(void)state;
	for (unsigned from = 0; from < sizeof(static_zeros) - WORDS; from += WORDS) {
		for (unsigned i = 0; i < WORDS; i++)
			page[i] = (uint64_t)(uintptr_t)&static_zeros[from + i];
		memcpy(original, page, sizeof(page));
		assert_true(spm_outside_encode(o, page, note_left, NULL));
		spm_outside_decode(o, page, WORDS, note_warning, NULL);
		assert_memory_equal(page, original, sizeof(page));
	}
	assert_int_equal(spm_outside_save(o, &bytes, &n), 0);
	assert_int_equal(spm_outside_load(other, bytes, n), 0);
	assert_true(spm_outside_encode(other, page, note_left, NULL));
	assert_false(spm_outside_has_changed(other)); /* nothing new in that page */
	free(bytes);
	spm_outside_free(o);
	spm_outside_free(other);
}

static unsigned char *table_make(size_t *n, uint64_t *encoded)
{
	struct outside *o = spm_outside_new();
	void *bytes;

	page_make((uint64_t)(uintptr_t)static_function);
	page[8] = (uint64_t)(uintptr_t)&static_data[5];
	page[9] = (uint64_t)(uintptr_t)nrand48;
	assert_true(spm_outside_encode(o, page, note_left, NULL));
	memcpy(encoded, page, sizeof(page));
	assert_int_equal(spm_outside_save(o, &bytes, n), 0);
	spm_outside_free(o);
	return bytes;
}

/* Refused, or loaded and usable: never a crash, and a refused table changes nothing. */
static void try_table(struct outside *o, const unsigned char *bytes, size_t n, const uint64_t *encoded)
{
	unsigned char *exact = malloc(n + 1); /* of exact size, for the sanitizers */
	void *saved;
	size_t saved_bytes;
	int err;

	memcpy(exact, bytes, n);
	err = spm_outside_load(o, exact, n);
	free(exact);
	assert_true(err == 0 || err == -EINVAL);
	memcpy(page, encoded, sizeof(page));
	spm_outside_decode(o, page, WORDS, note_warning, NULL);
	spm_outside_encode(o, page, note_left, NULL);
	assert_int_equal(spm_outside_save(o, &saved, &saved_bytes), 0);
	free(saved);
}

static void a_malformed_table_does_no_harm(void **state)
{
	static uint64_t encoded[WORDS];
	uint64_t seed = test_seed();
	size_t n;
	unsigned char *bytes = table_make(&n, encoded);
	struct outside *o = spm_outside_new();

	(void)state;
	for (size_t i = 0; i < n; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			bytes[i] ^= (unsigned char)(1u << bit);
			try_table(o, bytes, n, encoded);
			bytes[i] ^= (unsigned char)(1u << bit);
		}
	for (size_t cut = 0; cut < n; cut++)
		assert_int_equal(spm_outside_load(o, bytes, cut), -EINVAL);
	for (unsigned round = 0; round < 3000; round++) {
		unsigned char *copy = malloc(n);

		memcpy(copy, bytes, n);
		for (unsigned k = 0; k < 1 + round % 8; k++)
			copy[test_random(&seed) % n] = (unsigned char)test_random(&seed);
		try_table(o, copy, n, encoded);
		free(copy);
	}
	assert_int_equal(spm_outside_load(o, bytes, n), 0);
	free(bytes);
	spm_outside_free(o);
}

static void a_module_that_is_not_loaded_gives_null_and_a_sentence(void **state)
{
	static uint64_t encoded[WORDS];
	size_t n;
	unsigned char *bytes = table_make(&n, encoded), *at;
	struct outside *o = spm_outside_new();

	(void)state;
	/* Another name and another build ID for libc: no such module in this process. */
	at = memmem(bytes, n, "libc.so.6", 9);
	assert_non_null(at);
	memcpy(at, "libX.so.6", 9);
	bytes[24 + 40 + 8] ^= 0x55;
	assert_int_equal(spm_outside_load(o, bytes, n), 0);
	memcpy(page, encoded, sizeof(page));
	memset(&seen, 0, sizeof(seen));
	spm_outside_decode(o, page, WORDS, note_warning, NULL);
	assert_int_equal(page[7], (uint64_t)(uintptr_t)static_function);
	assert_int_equal(page[8], (uint64_t)(uintptr_t)&static_data[5]);
	assert_int_equal(page[9], 0);
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.offset, 72);
	assert_non_null(strstr(seen.what, "nrand48"));
	assert_non_null(strstr(seen.what, "libX.so.6"));
	assert_non_null(strstr(seen.what, "not loaded"));
	free(bytes);
	spm_outside_free(o);
}

/* Another build ID, same file: every named target is found by its symbol. */
static void another_build_is_mended_by_symbol(void **state)
{
	static uint64_t encoded[WORDS];
	size_t n;
	unsigned char *bytes = table_make(&n, encoded);
	struct outside *o = spm_outside_new();

	(void)state;
	bytes[24 + 8] ^= 0x55; /* of the program */
	assert_int_equal(spm_outside_load(o, bytes, n), 0);
	memcpy(page, encoded, sizeof(page));
	memset(&seen, 0, sizeof(seen));
	spm_outside_decode(o, page, WORDS, note_warning, NULL);
	assert_int_equal(seen.count, 0);
	assert_int_equal(page[7], (uint64_t)(uintptr_t)static_function);
	assert_int_equal(page[8], (uint64_t)(uintptr_t)&static_data[5]);
	free(bytes);
	spm_outside_free(o);
}

static void a_page_without_such_words_is_cheap(void **state)
{
	enum { ROUNDS = 200000 };
	struct outside *o = spm_outside_new();
	uint64_t began;

	(void)state;
	page_make((uint64_t)(uintptr_t)static_function);
	spm_outside_encode(o, page, note_left, NULL);
	for (unsigned i = 0; i < WORDS; i++)
		page[i] = i % 3 ? i : SPM_WINDOW_START + i * 64;
	began = spm_now_ns();
	for (unsigned i = 0; i < ROUNDS; i++)
		assert_false(spm_outside_encode(o, page, note_left, NULL));
	print_message("%.2f us a page without outside words\n", (double)(spm_now_ns() - began) / ROUNDS / 1000);
	spm_outside_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(integers_that_hit_our_own_tables_stay),
	        cmocka_unit_test(pointers_into_modules_survive),
	        cmocka_unit_test(pointers_into_other_memory_become_null),
	        cmocka_unit_test(a_new_mapping_is_seen_at_once),
	        cmocka_unit_test(everything_else_stays),
	        cmocka_unit_test(an_unchanged_page_has_unchanged_bytes),
	        cmocka_unit_test(many_targets_are_found_again),
	        cmocka_unit_test(a_malformed_table_does_no_harm),
	        cmocka_unit_test(a_module_that_is_not_loaded_gives_null_and_a_sentence),
	        cmocka_unit_test(another_build_is_mended_by_symbol),
	        cmocka_unit_test(a_page_without_such_words_is_cheap),
	};

	static_data[1] = static_function(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
