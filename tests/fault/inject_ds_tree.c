/* inject_ds_tree.c - trees with their 1st, 2nd, 3rd, ... allocation failing, until an operation is done without one: what fails says ENOMEM and
 * leaves the tree as it was, and the same call succeeds when there is memory again. */
#include "inject.h"
#include "scratch.h"

#include <softpm/tree.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct wide {
	char text[500];
};
PTREE_PLAIN_OF(wides, struct wide, struct wide);
PTREE_OF(words, const char *, int64_t);
PTREE_WITH(events, int64_t, int64_t, PMAP_DUPLICATES, NULL);

static struct wide wide(int i)
{
	struct wide w;

	memset(&w, 0, sizeof(w));
	snprintf(w.text, sizeof(w.text), "%06d", i);
	return w;
}
static bool put_wide(struct ptree *t, int i)
{
	return wides_put((struct wides *)t, wide(i), wide(i));
}
static bool put_word(struct ptree *t, int i)
{
	return words_put((struct words *)t, wide(i).text, i);
}
static bool add_event(struct ptree *t, int i)
{
	return events_add((struct events *)t, i % 7, i);
}

static void assert_whole(const struct ptree *t, uint64_t entries)
{
	char why[300];

	if (ptree_check(t, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(ptree_count(t), entries);
}

/* Each addition, in an order that splits nodes everywhere, with each of its allocations failing. Returns how many failed. */
static unsigned fill(struct ptree *t, bool (*add)(struct ptree *, int), int entries)
{
	unsigned failures = 0, most = 0;

	for (int i = 0; i < entries; i++) {
		uint64_t nth = 1;
		bool has_failed = true;

		for (; has_failed; nth++) {
			bool is_added;

			inject_start(INJECT_HEAP, 0, nth, nth);
			errno = 0;
			is_added = add(t, i * 7919 % entries);
			has_failed = inject_stop();
			assert_int_equal(is_added, !has_failed);
			assert_true(is_added || errno == ENOMEM);
			if (has_failed)
				assert_whole(t, (uint64_t)i);
		}
		failures += (unsigned)nth - 2;
		if (nth - 2 > most)
			most = (unsigned)nth - 2;
	}
	assert_whole(t, (uint64_t)entries);
	printf("%u failures, up to %u in one addition\n", failures, most);
	return failures;
}

static void an_addition_without_memory_leaves_the_tree(void **state)
{
	struct wides *w = wides_make();
	struct words *s = words_make();
	struct events *e = events_make();

	(void)state;
	assert_in_range(fill(&w->tree, put_wide, 3000), 500, 100000);
	assert_true(w->tree.levels >= 4);
	assert_in_range(fill(&s->tree, put_word, 2000), 2000, 100000);
	assert_in_range(fill(&e->tree, add_event, 3000), 10, 100000);
	wides_free(w);
	words_free(s);
	events_free(e);
}

static void removing_needs_no_memory(void **state)
{
	struct words *s = words_make();
	struct words_cursor c;

	(void)state;
	for (int i = 0; i < 3000; i++)
		assert_true(put_word(&s->tree, i));
	inject_start(INJECT_HEAP, 0, 1, UINT64_MAX);
	for (int i = 0; i < 3000; i += 2)
		assert_true(words_remove(s, wide(i).text, NULL));
	for (bool on = words_first(s, &c); on;)
		on = words_remove_at(&c);
	assert_false(inject_stop());
	assert_whole(&s->tree, 0);
	words_free(s);
}

/* A merge that fails leaves a whole tree, and can be made again. */
static void a_merge_without_memory_can_be_made_again(void **state)
{
	bool has_failed = true;
	unsigned failures = 0;

	(void)state;
	for (uint64_t nth = 1; has_failed; nth++) {
		struct words *base = words_make(), *ours = words_make(), *theirs = words_make();
		struct pmerged merged;
		int result;

		for (int i = 0; i < 300; i++)
			assert_true(put_word(&base->tree, i) && put_word(&ours->tree, i + 100) &&
			            put_word(&theirs->tree, i + 200));
		for (int i = 200; i < 220; i++)
			assert_true(words_put(theirs, wide(i).text, -1) && words_put(ours, wide(i).text, -2));
		inject_start(INJECT_HEAP, 0, nth, nth);
		result = ptree_merge(&base->tree, &ours->tree, &theirs->tree, NULL, &merged);
		has_failed = inject_stop();
		failures += has_failed;
		assert_int_equal(result, has_failed ? -1 : 0);
		assert_true(!has_failed || errno == ENOMEM);
		pmerged_free(&merged);
		assert_whole(&ours->tree, words_count(ours));
		assert_int_equal(ptree_merge(&base->tree, &ours->tree, &theirs->tree, NULL, &merged), 0);
		assert_int_equal(merged.unresolved, 20);
		pmerged_free(&merged);
		/* Gone with theirs: 100 to 199; 400 to 499 came in. */
		assert_whole(&ours->tree, 300);
		words_free(base);
		words_free(ours);
		words_free(theirs);
	}
	assert_in_range(failures, 100, 1000);
}

static int copy_counted(void *ours, const void *theirs, void *arg)
{
	memcpy(ours, theirs, sizeof(int64_t));
	++*(uint64_t *)arg;
	return 0;
}

/* Copies may be memory that nobody else knows. */
static void a_merge_of_duplicates_loses_no_copy(void **state)
{
	bool has_failed = true;
	unsigned failures = 0;

	(void)state;
	for (uint64_t nth = 1; has_failed; nth++) {
		struct events *base = events_make(), *ours = events_make(), *theirs = events_make();
		uint64_t copies = 0;
		struct pmerge how = {.copy = copy_counted, .arg = &copies};
		struct pmerged merged;
		int result;

		for (int i = 0; i < 1000; i++)
			assert_true(add_event(&theirs->tree, i));
		inject_start(INJECT_HEAP, 0, nth, nth);
		result = ptree_merge(&base->tree, &ours->tree, &theirs->tree, &how, &merged);
		has_failed = inject_stop();
		failures += has_failed;
		assert_int_equal(result, has_failed ? -1 : 0);
		assert_int_equal(copies, merged.applied);
		assert_whole(&ours->tree, copies);
		pmerged_free(&merged);
		events_free(base);
		events_free(ours);
		events_free(theirs);
	}
	assert_in_range(failures, 3, 1000);
}

static void nothing_is_made_without_memory(void **state)
{
	(void)state;
	inject_start(INJECT_HEAP, 0, 1, 1);
	errno = 0;
	assert_null(words_make());
	assert_int_equal(errno, ENOMEM);
	assert_true(inject_stop());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(an_addition_without_memory_leaves_the_tree),
	        cmocka_unit_test(removing_needs_no_memory),
	        cmocka_unit_test(a_merge_without_memory_can_be_made_again),
	        cmocka_unit_test(a_merge_of_duplicates_loses_no_copy),
	        cmocka_unit_test(nothing_is_made_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
