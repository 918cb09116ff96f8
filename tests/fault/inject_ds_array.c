/* inject_ds_array.c - vectors, arrays and strings with their 1st, 2nd, 3rd, ... allocation failing, until an operation is done without one:
 * what fails says ENOMEM and leaves the structure as it was, and the same call succeeds when there is memory again. */
#include "../../ds/array.h"
#include "../../ds/string.h"
#include "inject.h"
#include "scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

PARRAY_OF(numbers, int64_t);
PARRAY_OF(texts, const char *);
PNDARRAY_OF(grid, int);

static size_t sizes[] = {0, 1, 100, 8191, 8192, 8193, 16384, 100000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static struct numbers *numbers_of(size_t n)
{
	struct numbers *a = numbers_make();

	assert_non_null(a);
	for (size_t i = 0; i < n; i++)
		assert_non_null(numbers_push(a, (int64_t)(n - i)));
	return a;
}

static void is_as_made(const struct numbers *a, size_t n)
{
	assert_true(spm_array_check(&a->array));
	assert_int_equal(numbers_count(a), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(*numbers_at(a, i), n - i);
}

static int by_number(const int64_t *x, const int64_t *y, void *arg)
{
	(void)arg;
	return (*x > *y) - (*x < *y);
}

/* 0: done. */
static int push(struct numbers *a)
{
	return numbers_push(a, 7) ? 0 : -1;
}

static int insert(struct numbers *a)
{
	return numbers_insert(a, 0, NULL, 30000) ? 0 : -1;
}

static int resize(struct numbers *a)
{
	return numbers_resize(a, numbers_count(a) + 200000);
}

static int reserve(struct numbers *a)
{
	return numbers_reserve(a, numbers_count(a) + 20000);
}

static int fit(struct numbers *a)
{
	return numbers_fit(a);
}

static int data(struct numbers *a)
{
	return numbers_data(a) ? 0 : -1;
}

static int sort(struct numbers *a)
{
	return numbers_sort(a, by_number, NULL);
}

/* Whether one of the allocations failed. */
static bool one_fails(int (*operation)(struct numbers *a), size_t n, uint64_t nth)
{
	struct numbers *a = numbers_of(n);
	bool has_failed;
	int result;

	inject_start(INJECT_HEAP, 0, nth, nth);
	errno = 0;
	result = operation(a);
	has_failed = inject_stop();
	assert_int_equal(result, has_failed ? -1 : 0);
	if (has_failed) {
		assert_int_equal(errno, ENOMEM);
		is_as_made(a, n);
		assert_int_equal(operation(a), 0);
	}
	assert_true(spm_array_check(&a->array));
	numbers_free(a);
	return has_failed;
}

static void a_vector_without_memory_is_as_it_was(void **state)
{
	static int (*const operation[])(struct numbers * a) = {push, insert, resize, reserve, fit, data, sort};
	unsigned failures = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(operation) / sizeof(operation[0]); i++)
		for (unsigned k = 0; k < SIZES; k++)
			for (uint64_t nth = 1; one_fails(operation[i], sizes[k], nth); nth++)
				failures++;
	assert_in_range(failures, 100, 1000);
}

static void nothing_is_made_without_memory(void **state)
{
	(void)state;
	for (uint64_t nth = 1;; nth++) {
		struct grid *g;
		bool has_failed;

		inject_start(INJECT_HEAP, 0, nth, nth);
		g = grid_make(PINDEX(10, 20));
		has_failed = inject_stop();
		assert_true(!g == has_failed);
		grid_free(g);
		if (!has_failed)
			break;
		assert_int_equal(errno, ENOMEM);
	}
	inject_start(INJECT_HEAP, 0, 1, 1);
	assert_null(texts_make());
	assert_true(inject_stop());
}

static int note(const struct pchange *change, void *arg)
{
	*(size_t *)arg += change->index;
	return 0;
}

/* base: 0, 1, ...; ours: element 5 is -5, and there are 3 more; theirs: 5 is -6, 20000 is -7. */
static int merge(struct numbers *base, struct numbers *ours, struct numbers *theirs, struct pmerged *result)
{
	size_t sum = 0;

	if (numbers_diff(base, theirs, note, &sum))
		return -1;
	assert_int_equal(sum, 20005);
	return numbers_merge(base, ours, theirs, NULL, result);
}

static void a_merge_without_memory_is_as_it_was(void **state)
{
	struct numbers *base = numbers_of(30000), *theirs = numbers_of(30000);
	unsigned failures = 0;
	bool has_failed = true;

	(void)state;
	numbers_set(theirs, 5, -6);
	numbers_set(theirs, 20000, -7);
	for (uint64_t nth = 1; has_failed; nth++) {
		struct numbers *ours = numbers_of(30000);
		struct pmerged result;
		int is;

		numbers_set(ours, 5, -5);
		inject_start(INJECT_HEAP, 0, nth, nth);
		is = merge(base, ours, theirs, &result);
		has_failed = inject_stop();
		if (is) {
			assert_true(has_failed && errno == ENOMEM && ++failures);
			assert_null(result.conflict);
			assert_int_equal(*numbers_at(ours, 5), -5);
			assert_int_equal(*numbers_at(ours, 20000), 10000);
			is = merge(base, ours, theirs, &result);
		}
		assert_int_equal(is, 0);
		assert_true(result.conflicts == 1 && result.unresolved == 1 && result.applied == 1);
		assert_true(*numbers_at(ours, 5) == -5 && *numbers_at(ours, 20000) == -7);
		assert_true(spm_array_check(&ours->array));
		pmerged_free(&result);
		numbers_free(ours);
	}
	assert_in_range(failures, 4, 100);
	numbers_free(base);
	numbers_free(theirs);
}

static int add(struct pstring *s)
{
	return pstring_add(s, " and so on, and on, and on, and on");
}

static int add_itself(struct pstring *s)
{
	return pstring_insert(s, 1, pstring_c_str(s), pstring_length(s));
}

static int string_set(struct pstring *s)
{
	char text[200] = {0};

	return pstring_set(s, text, sizeof(text));
}

static int string_fit(struct pstring *s)
{
	return pstring_fit(s);
}

static void a_string_without_memory_is_as_it_was(void **state)
{
	static int (*const operation[])(struct pstring * s) = {add, add_itself, string_set, string_fit};
	const char *text = "something that is longer than its slot has room for twice";

	(void)state;
	for (unsigned i = 0; i < sizeof(operation) / sizeof(operation[0]); i++) {
		struct pstring *s = pstring_from(text);

		if (operation[i] == string_fit)
			assert_int_equal(pstring_reserve(s, 1000), 0);
		inject_start(INJECT_HEAP, 0, 1, 1);
		assert_int_equal(operation[i](s), -1);
		assert_true(inject_stop() && errno == ENOMEM);
		assert_string_equal(pstring_c_str(s), text);
		assert_true(spm_string_check(s));
		assert_int_equal(operation[i](s), 0);
		assert_true(spm_string_check(s));
		pstring_free(s);
	}
	for (uint64_t nth = 1; nth < 3; nth++) {
		inject_start(INJECT_HEAP, 0, nth, nth);
		assert_null(pstring_from(text));
		assert_true(inject_stop() && errno == ENOMEM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_vector_without_memory_is_as_it_was),
	        cmocka_unit_test(nothing_is_made_without_memory),
	        cmocka_unit_test(a_merge_without_memory_is_as_it_was),
	        cmocka_unit_test(a_string_without_memory_is_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
