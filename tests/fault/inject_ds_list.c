/* inject_ds_list.c - lists with their 1st, 2nd, 3rd, ... allocation failing, until an operation is done without one: what fails says ENOMEM
 * and leaves the lists as they were, and the same call succeeds when there is memory again. */
#include "../../ds/list.h"
#include "inject.h"
#include "scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

PLIST_OF(numbers, int64_t);

struct lists {
	struct numbers *a, *b;
};

static void lists_make(struct lists *l, int64_t n)
{
	l->a = numbers_make();
	l->b = numbers_make();
	assert_true(l->a && l->b);
	for (int64_t i = 0; i < n; i++)
		assert_non_null(numbers_push(l->a, i));
}

static void are_as_made(const struct lists *l, int64_t n)
{
	const struct numbers_node *k = numbers_first(l->a);

	assert_true(spm_list_check(&l->a->list) && spm_list_check(&l->b->list));
	assert_true(numbers_count(l->a) == (size_t)n && !numbers_count(l->b));
	for (int64_t i = 0; i < n; i++, k = numbers_next(k))
		assert_int_equal(k->value, i);
}

/* 0: done. */
static int push(struct lists *l)
{
	return numbers_push(l->a, 7) ? 0 : -1;
}

static int push_front(struct lists *l)
{
	return numbers_push_front(l->b, 7) ? 0 : -1;
}

static int insert_after(struct lists *l)
{
	return numbers_insert_after(l->a, numbers_first(l->a), 7) ? 0 : -1;
}

static int move(struct lists *l)
{
	struct numbers_node *n = numbers_first(l->a);

	return n ? numbers_move(l->b, NULL, l->a, n) : 0;
}

static int move_all(struct lists *l)
{
	struct numbers_node *n = numbers_first(l->a);

	return n ? numbers_move_range(l->b, NULL, l->a, n, numbers_last(l->a)) : 0;
}

/* Whether one of the allocations failed. */
static bool one_fails(int (*operation)(struct lists *l), int64_t n, uint64_t nth)
{
	struct lists l;
	bool has_failed;
	int result;

	lists_make(&l, n);
	inject_start(INJECT_HEAP, 0, nth, nth);
	errno = 0;
	result = operation(&l);
	has_failed = inject_stop();
	assert_int_equal(result, has_failed ? -1 : 0);
	if (has_failed) {
		assert_int_equal(errno, ENOMEM);
		are_as_made(&l, n);
		assert_int_equal(operation(&l), 0);
	}
	assert_true(spm_list_check(&l.a->list) && spm_list_check(&l.b->list));
	numbers_free(l.a);
	numbers_free(l.b);
	return has_failed;
}

static void a_list_without_memory_is_as_it_was(void **state)
{
	static int (*const operation[])(struct lists * l) = {push, push_front, insert_after, move, move_all};
	unsigned failures = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof(operation) / sizeof(operation[0]); i++)
		for (int64_t n = 0; n < 4; n++)
			for (uint64_t nth = 1; one_fails(operation[i], n, nth); nth++)
				failures++;
	assert_in_range(failures, 15, 100);
}

static int add(const struct pchange *change, void *arg)
{
	++*(unsigned *)arg;
	(void)change;
	return 0;
}

/* Volatile memory that a comparison asks for. */
static void a_comparison_without_memory_fails(void **state)
{
	unsigned told = 0, failures = 0;
	struct numbers *live, *old, *more;
	void *root;
	int id;

	(void)state;
	assert_int_equal(pVOpen(scratch("compared")), 0);
	id = pCAlloc(1, sizeof(*live), &root);
	assert_true(id > 0);
	live = root;
	assert_int_equal(numbers_init(live), 0);
	for (int64_t i = 0; i < 100; i++)
		numbers_push(live, i);
	assert_true(pPointSync(id) > 0 && pCOpenAt(1, "main", &root) > 0);
	old = root;
	more = numbers_make();
	numbers_push(more, 100);
	numbers_splice(live, NULL, more);
	numbers_pop_front(live, NULL);
	for (uint64_t nth = 1;; nth++) {
		bool has_failed;
		int result;

		told = 0;
		inject_start(INJECT_MEMORY, 0, nth, nth);
		result = numbers_diff(old, live, add, &told);
		has_failed = inject_stop();
		if (!result)
			assert_int_equal(told, 2);
		if (!has_failed)
			break;
		if (!result) /* it struck the container's worker */
			continue;
		failures++;
		assert_true(result == -1 && errno == ENOMEM);
	}
	assert_in_range(failures, 3, 100);
	assert_int_equal(pVClose(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_list_without_memory_is_as_it_was),
	        cmocka_unit_test(a_comparison_without_memory_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
