/* inject_ds_hash.c - a hashtable with the 1st, 2nd, 3rd, ... allocation failing: it stays whole, and as it was. */
#include "inject.h"
#include "scratch.h"

#include <softpm/hash.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 3000 };

struct row {
	char text[100];
};
PHASH_OF(words, const char *, int64_t);
PHASH_PLAIN_OF(rows, int64_t, struct row);

/* What must be in the table: there[i]. */
static bool there[KEYS];

static const char *word(int64_t i)
{
	static char text[40];

	snprintf(text, sizeof(text), "%d words", (int)i);
	return text;
}

static void is_as_it_was(const struct words *t)
{
	char why[200] = "";
	uint64_t n = 0;

	if (phash_check(&t->hash, why, sizeof(why)))
		fail_msg("after a failure in %s the table is broken: %s", inject_where(), why);
	for (int64_t i = 0; i < KEYS; i++) {
		assert_int_equal(words_has(t, word(i)), there[i]);
		assert_true(!there[i] || *words_get(t, word(i)) == i);
		n += there[i];
	}
	assert_int_equal(words_count(t), n);
}

/* One insertion, with each of its allocations failing, until it succeeds. Returns how many there were. */
static unsigned put_in_spite(struct words *t, int64_t i)
{
	for (unsigned nth = 1;; nth++) {
		const int64_t *value;

		inject_start(INJECT_HEAP, 0, nth, 0);
		errno = 0;
		value = words_put(t, word(i), i);
		if (!inject_stop()) {
			assert_non_null(value);
			there[i] = true;
			return nth - 1;
		}
		assert_null(value);
		assert_int_equal(errno, ENOMEM);
		assert_false(words_has(t, word(i)));
		if (nth > 1)
			is_as_it_was(t);
	}
}

static void an_insertion_that_fails_leaves_the_table_as_it_was(void **state)
{
	struct words *t = words_make();
	unsigned most = 0;

	(void)state;
	for (int64_t i = 0; i < KEYS; i++) {
		unsigned allocations = put_in_spite(t, i);

		most = allocations > most ? allocations : most;
	}
	is_as_it_was(t);
	/* A string, a page, a node. */
	assert_true(most >= 3);
	words_free(t);
	memset(there, 0, sizeof(there));
}

/* What a removal would free it may have to allocate for: then it does without. */
static void removals_never_fail(void **state)
{
	struct words *t = words_make();

	(void)state;
	for (int64_t i = 0; i < KEYS; i++) {
		assert_non_null(words_put(t, word(i), i));
		there[i] = true;
	}
	for (int64_t i = 0; i < KEYS; i++) {
		inject_start(INJECT_HEAP, 0, 1, UINT64_MAX);
		assert_true(words_remove(t, word(i), NULL));
		inject_stop();
		there[i] = false;
		if (i % 100 == 0)
			is_as_it_was(t);
	}
	is_as_it_was(t);
	inject_start(INJECT_HEAP, 0, 1, UINT64_MAX);
	words_clear(t);
	inject_stop();
	is_as_it_was(t);
	assert_non_null(words_put(t, "", 0));
	words_free(t);
}

static void a_table_is_made_or_not(void **state)
{
	struct words *t = NULL;

	(void)state;
	for (unsigned nth = 1; !t; nth++) {
		inject_start(INJECT_HEAP, 0, nth, 0);
		t = words_make();
		assert_int_equal(inject_stop(), !t);
		assert_true(t || errno == ENOMEM);
	}
	words_free(t);
}

static void a_reservation_that_fails_leaves_all_keys(void **state)
{
	struct rows *t = rows_make();
	struct row row = {{0}};
	int result = -1;

	(void)state;
	for (int64_t i = 0; i < 500; i++) {
		row.text[99] = (char)i;
		assert_non_null(rows_put(t, i, row));
	}
	for (unsigned nth = 1; result; nth++) {
		char why[200] = "";

		inject_start(INJECT_HEAP, 0, nth, 0);
		result = rows_reserve(t, 5000);
		assert_int_equal(inject_stop(), result != 0);
		assert_true(!result || errno == ENOMEM);
		assert_int_equal(phash_check(&t->hash, why, sizeof(why)), 0);
		assert_int_equal(rows_count(t), 500);
	}
	for (int64_t i = 0; i < 500; i++)
		assert_int_equal(rows_get(t, i)->text[99], (char)i);
	rows_free(t);
}

static struct words *words_to(int64_t n, int64_t value)
{
	struct words *t = words_make();

	for (int64_t i = 0; i < n; i++)
		assert_non_null(words_put(t, word(i), i < 10 ? value : i));
	return t;
}

/* Ten conflicts, a thousand additions. */
static void a_merge_that_fails_can_be_made_again(void **state)
{
	struct words *base = words_to(100, 1), *ours = words_to(100, 2), *theirs = words_to(1100, 3);
	struct pmerged merged;
	unsigned failures = 0;
	int result = -1;

	(void)state;
	for (unsigned nth = 1; result; nth += 7, failures++) {
		char why[200] = "";

		inject_start(INJECT_HEAP, 0, nth, 0);
		result = phash_merge(&base->hash, &ours->hash, &theirs->hash, NULL, &merged);
		assert_int_equal(inject_stop(), result != 0);
		assert_true(!result || errno == ENOMEM);
		assert_int_equal(phash_check(&ours->hash, why, sizeof(why)), 0);
		for (int64_t i = 0; i < 1100; i++)
			assert_true(i >= 100 ? !words_has(ours, word(i)) || *words_get(ours, word(i)) == i
			                     : *words_get(ours, word(i)) == (i < 10 ? 2 : i));
		assert_true(result || merged.unresolved == 10);
		pmerged_free(&merged);
	}
	assert_true(failures > 10);
	assert_int_equal(words_count(ours), 1100);
	words_free(base);
	words_free(ours);
	words_free(theirs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(an_insertion_that_fails_leaves_the_table_as_it_was),
	        cmocka_unit_test(removals_never_fail),
	        cmocka_unit_test(a_table_is_made_or_not),
	        cmocka_unit_test(a_reservation_that_fails_leaves_all_keys),
	        cmocka_unit_test(a_merge_that_fails_can_be_made_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
