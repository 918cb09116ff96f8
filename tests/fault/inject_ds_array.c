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
	        cmocka_unit_test(a_string_without_memory_is_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
