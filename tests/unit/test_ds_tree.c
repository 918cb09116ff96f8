/* test_ds_tree.c - what the typed trees promise, one by one; and what a tree of any kind does at its edges. */
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <softpm/ds.h>
#include <softpm/tree.h>

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

struct place {
	double latitude, longitude;
};
struct person {
	const char *name;
	int born;
};
static int by_birth(const struct person *a, const struct person *b)
{
	return a->born != b->born ? (a->born < b->born ? -1 : 1) : strcmp(a->name, b->name);
}
static int by_length(const char *const *a, const char *const *b)
{
	size_t x = strlen(*a), y = strlen(*b);

	return x < y ? -1 : x > y;
}
PTREE_OF(prices, int64_t, double);
PTREE_OF(words, const char *, int64_t);
PTREE_PLAIN_OF(cities, const char *, struct place);
PTREE_OF(scores, double, uint64_t);
PTREE_SET_OF(numbers, uint64_t);
PTREE_SET_OF(names, const char *);
PTREE_WITH(people, struct person, int, PMAP_PLAIN_VALUES, by_birth);
PTREE_WITH(events, int64_t, int64_t, PMAP_DUPLICATES, NULL);
PTREE_SET_WITH(lengths, const char *, PMAP_DUPLICATES, by_length);

static void assert_whole(const struct ptree *t)
{
	char why[300];

	if (ptree_check(t, why, sizeof(why)))
		fail_msg("%s", why);
}

static void a_typed_map_needs_no_casts(void **state)
{
	struct prices *p = prices_make();
	struct prices_cursor c;
	double was;

	(void)state;
	assert_non_null(prices_put(p, 3, 0.5));
	assert_non_null(prices_put(p, -3, 1.5));
	assert_non_null(prices_put(p, 3, 2.5));
	assert_true(*prices_get(p, 3) == 2.5);
	assert_null(prices_get(p, 4));
	*prices_at(p, 4) += 7;
	*prices_at(p, 4) += 7;
	assert_true(prices_floor(p, 1000, &c) && prices_key(&c) == 4 && *prices_value(&c) == 14);
	assert_true(prices_first(p, &c) && prices_key(&c) == -3);
	assert_true(prices_next(&c) && prices_key(&c) == 3);
	assert_true(prices_rank(p, 4) == 2 && prices_rank_at(&c) == 1 && prices_count(p) == 3);
	assert_true(prices_remove(p, 3, &was) && was == 2.5);
	assert_false(prices_remove(p, 3, NULL));
	assert_true(prices_select(p, 1, &c) && prices_key(&c) == 4);
	prices_clear(p);
	assert_true(prices_count(p) == 0 && !prices_first(p, &c));
	prices_free(p);
	prices_free(NULL);
}

static void strings_are_copied_and_in_order(void **state)
{
	const char *text[] = {"", "b", "ba", "ab", "abcdefgh", "abcdefghi", "abcdefgg", "\xff", "abcdefgh\x01"};
	const char *order[] = {"", "ab", "abcdefgg", "abcdefgh", "abcdefgh\x01", "abcdefghi", "b", "ba", "\xff"};
	struct words *w = words_make();
	struct words_cursor c;
	char key[16];
	size_t i = 0;

	(void)state;
	for (size_t k = 0; k < 9; k++) {
		strcpy(key, text[k]);
		assert_non_null(words_put(w, key, (int64_t)k));
		memset(key, 'x', sizeof(key) - 1);
	}
	for (bool on = words_first(w, &c); on; on = words_next(&c))
		assert_string_equal(words_key(&c), order[i++]);
	assert_int_equal(i, 9);
	assert_true(*words_get(w, "abcdefgh") == 4);
	assert_null(words_get(w, "abcdefghij"));
	assert_whole(&w->tree);
	words_free(w);
}

static void zeros_are_equal_and_nan_is_last(void **state)
{
	struct scores *s = scores_make();
	struct scores_cursor c;

	(void)state;
	scores_put(s, (double)NAN, 1);
	scores_put(s, INFINITY, 2);
	scores_put(s, -0.0, 3);
	scores_put(s, -5e-324, 4);
	assert_true(*scores_put(s, 0.0, 5) == 5 && *scores_put(s, -(double)NAN, 6) == 6);
	assert_true(scores_count(s) == 4);
	assert_true(scores_first(s, &c) && scores_key(&c) < 0);
	assert_true(scores_next(&c) && scores_key(&c) == 0 && !signbit(scores_key(&c)));
	assert_true(scores_last(s, &c) && isnan(scores_key(&c)) && *scores_value(&c) == 6);
	assert_true(scores_floor(s, (double)NAN, &c) && isnan(scores_key(&c)));
	assert_true(scores_lower(s, (double)NAN, &c) && isinf(scores_key(&c)));
	scores_free(s);
}

static void sets_have_no_values(void **state)
{
	struct numbers *n = numbers_make();
	struct names *m = names_make();
	struct numbers_cursor c;

	(void)state;
	assert_true(numbers_put(n, UINT64_MAX) && numbers_put(n, 0) && numbers_put(n, 0));
	assert_false(numbers_add(n, 0));
	assert_int_equal(errno, EEXIST);
	assert_true(numbers_has(n, UINT64_MAX) && !numbers_has(n, 1) && numbers_count(n) == 2);
	assert_true(numbers_upper(n, 0, &c) && numbers_key(&c) == UINT64_MAX);
	assert_false(numbers_upper(n, UINT64_MAX, &c));
	assert_true(numbers_prev(&c) && numbers_key(&c) == UINT64_MAX);
	assert_true(names_put(m, "ada") && names_has(m, "ada") && names_remove(m, "ada") && !names_has(m, "ada"));
	numbers_free(n);
	names_free(m);
}

/* The keys that inner nodes have are those of entries that are there: what hung on others may be freed. */
static void keys_with_pointers_outlive_no_entry(void **state)
{
	enum { PEOPLE = 5000 };
	struct people *t = people_make();
	struct people_cursor c;

	(void)state;
	for (int i = 0; i < PEOPLE; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p%d", i);
		assert_non_null(people_put(t, (struct person){strdup(name), i % 50}, i));
	}
	assert_whole(&t->tree);
	for (int i = 0; people_count(t); i = (i + 1237) % PEOPLE) {
		char name[16];
		struct person who = {name, i % 50};
		char *own;

		snprintf(name, sizeof(name), "p%d", i);
		assert_true(people_find(t, who, &c) && *people_value(&c) == i);
		own = (char *)people_key(&c).name;
		people_remove_at(&c);
		memset(own, '?', strlen(own));
		free(own);
		if (i % 64 == 0)
			assert_whole(&t->tree);
	}
	people_free(t);
}

static void duplicates_stay_in_the_order_of_adding(void **state)
{
	struct events *e = events_make();
	struct lengths *l = lengths_make();
	struct events_cursor c;
	struct lengths_cursor lc;
	int64_t expected = 0;

	(void)state;
	for (int64_t i = 0; i < 3000; i++)
		assert_non_null(events_add(e, i % 3, i));
	assert_whole(&e->tree);
	assert_true(events_rank(e, 1) == 1000 && events_rank(e, 2) == 2000);
	for (bool on = events_find(e, 1, &c); on && events_key(&c) == 1; on = events_next(&c))
		assert_int_equal(*events_value(&c), 1 + 3 * expected++);
	assert_int_equal(expected, 1000);
	assert_true(*events_get(e, 2) == 2);
	assert_true(*events_put(e, 2, -2) == -2 && *events_get(e, 2) == -2 && events_count(e) == 3000);
	assert_true(events_floor(e, 1, &c) && *events_value(&c) == 2998);
	assert_true(lengths_add(l, "one") && lengths_add(l, "two") && lengths_add(l, "") && lengths_count(l) == 3);
	assert_true(lengths_last(l, &lc) && !strcmp(lengths_key(&lc), "two"));
	events_free(e);
	lengths_free(l);
}

static void ascending_keys_fill_nodes_wholly(void **state)
{
	enum { ALL = 1000000 };
	struct numbers *up = numbers_make(), *down = numbers_make();
	uint64_t leaves = 0;
	struct numbers_cursor c;

	(void)state;
	for (uint64_t i = 0; i < ALL; i++)
		assert_true(numbers_put(up, i) && numbers_put(down, ALL - i));
	assert_whole(&up->tree);
	assert_whole(&down->tree);
	assert_int_equal(numbers_count(up), ALL);
	for (bool on = numbers_first(up, &c); on; on = numbers_next_run(&c)) {
		const uint64_t *key;

		assert_true(numbers_run(&c, &key) && *key == numbers_key(&c));
		leaves++;
	}
	assert_true(leaves == (ALL + up->tree.layout[0].max - 1U) / up->tree.layout[0].max);
	for (uint64_t i = 0; i < ALL; i += 997) {
		assert_true(numbers_select(up, i, &c) && numbers_key(&c) == i && numbers_rank_at(&c) == i);
		assert_true(numbers_rank(down, i + 1) == i);
	}
	numbers_free(up);
	numbers_free(down);
}

static void runs_hold_all_entries_side_by_side(void **state)
{
	struct prices *p = prices_make();
	struct prices_cursor c;
	int64_t expected = 0;

	(void)state;
	for (int64_t i = 0; i < 10000; i++)
		prices_put(p, i * 7 % 10000, (double)(i * 7 % 10000));
	for (bool on = prices_first(p, &c); on; on = prices_next_run(&c)) {
		const int64_t *key;
		double *value;
		size_t n = prices_run(&c, &key, &value);

		for (size_t i = 0; i < n; i++, expected++)
			assert_true(key[i] == expected && value[i] == (double)expected);
	}
	assert_int_equal(expected, 10000);
	prices_free(p);
}

static void all_entries_may_be_removed_by_a_cursor(void **state)
{
	struct prices *p = prices_make();
	struct prices_cursor c;

	(void)state;
	for (int way = 0; way < 2; way++) {
		for (int64_t i = 0; i < 100000; i++)
			prices_put(p, i, 1);
		if (way) {
			for (bool on = prices_last(p, &c); on; on = prices_prev(&c))
				if (prices_key(&c) % 1000)
					prices_remove_at(&c);
		} else {
			for (bool on = prices_first(p, &c); on;)
				on = prices_key(&c) % 1000 ? prices_remove_at(&c) : prices_next(&c);
		}
		assert_whole(&p->tree);
		assert_int_equal(prices_count(p), 100);
		for (bool on = prices_first(p, &c); on; on = prices_remove_at(&c))
			assert_int_equal(prices_key(&c) % 1000, 0);
		assert_true(prices_count(p) == 0 && p->tree.levels == 0);
	}
	prices_free(p);
}

static void types_that_make_no_sense_are_refused(void **state)
{
	const struct pmap_type bad[] = {
	        {0, 0, 8, 8, NULL},          {PKEY_CUSTOM + 1, 0, 8, 8, NULL}, {PKEY_CUSTOM, 0, 8, 8, NULL},
	        {PKEY_BYTES, 0, 0, 8, NULL}, {PKEY_BYTES, 0, 1025, 8, NULL},   {PKEY_INT64, 0, 8, 1025, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		assert_null(ptree_make(&bad[i]));
		assert_int_equal(errno, EINVAL);
	}
}

static void without_its_function_a_tree_finds_nothing(void **state)
{
	struct people *t = people_make();
	int (*compare)(const void *, const void *) = t->tree.type.compare;
	struct person ada = {"ada", 1815};
	struct people_cursor c;
	char why[200];

	(void)state;
	people_put(t, ada, 1);
	ptree_set_compare(&t->tree, NULL);
	assert_null(people_get(t, ada));
	assert_false(people_find(t, ada, &c));
	assert_false(people_remove(t, ada, NULL));
	assert_true(people_rank(t, ada) == 0);
	errno = 0;
	assert_null(people_put(t, ada, 2));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ptree_check(&t->tree, why, sizeof(why)), -1);
	ptree_set_compare(&t->tree, compare);
	assert_true(*people_get(t, ada) == 1);
	people_free(t);
}

static void check_names_what_is_broken(void **state)
{
	struct prices *p = prices_make();
	struct ptree_node *root, *leaf;
	uint64_t *key, *first;
	char why[300];

	(void)state;
	for (int64_t i = 0; i < 1000; i++)
		prices_put(p, i, 1);
	root = p->tree.root;
	leaf = *(struct ptree_node **)((char *)root + p->tree.layout[1].column[2].at);
	key = (uint64_t *)((char *)leaf + p->tree.layout[0].column[0].at);
	first = (uint64_t *)(*(char **)(root + 1) + p->tree.layout[1].column[0].at);
	assert_whole(&p->tree);
	key[3] = 77;
	assert_int_equal(ptree_check(&p->tree, why, sizeof(why)), -1);
	assert_int_equal(errno, EUCLEAN);
	assert_non_null(strstr(why, "invariant 3"));
	key[3] = 3;
	first[1]++;
	assert_int_equal(ptree_check(&p->tree, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "invariant 4"));
	first[1]--;
	key[-1]--;
	assert_int_equal(ptree_check(&p->tree, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "invariant 8"));
	key[-1]++;
	leaf->tree ^= 1;
	assert_int_equal(ptree_check(&p->tree, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "invariant 1"));
	leaf->tree ^= 1;
	leaf->entries = 0;
	assert_int_equal(ptree_check(&p->tree, NULL, 0), -1);
}

#ifdef SPM_DEBUG
static void misuse_ends_with_a_sentence(void (*fn)(struct prices *, struct prices_cursor *))
{
	int status;
	pid_t child = fork();

	if (!child) {
		struct prices *p = prices_make();
		struct prices_cursor c;

		signal(SIGABRT, SIG_DFL);
		for (int64_t i = 0; i < 1000; i++)
			prices_put(p, i, 1);
		prices_first(p, &c);
		fn(p, &c);
		_exit(0);
	}
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
static void next_after_put(struct prices *p, struct prices_cursor *c)
{
	prices_put(p, -1, 1);
	prices_next(c);
}
static void remove_after_remove(struct prices *p, struct prices_cursor *c)
{
	prices_remove(p, 500, NULL);
	prices_remove_at(c);
}
static void remove_behind_the_end(struct prices *p, struct prices_cursor *c)
{
	prices_upper(p, 5000, c);
	prices_remove_at(c);
}
static void rank_after_clear(struct prices *p, struct prices_cursor *c)
{
	prices_clear(p);
	prices_rank_at(c);
}
static void misused_cursors_are_caught(void **state)
{
	(void)state;
	misuse_ends_with_a_sentence(next_after_put);
	misuse_ends_with_a_sentence(remove_after_remove);
	misuse_ends_with_a_sentence(remove_behind_the_end);
	misuse_ends_with_a_sentence(rank_after_clear);
}
#endif

static void what_is_added_may_lie_in_the_tree(void **state)
{
	struct events *e = events_make();
	int64_t sevens = 0;
	struct events_cursor c;

	(void)state;
	for (int64_t i = 0; i < 10; i++)
		events_add(e, i, 7 * i);
	for (int i = 0; i < 5000; i++) {
		events_floor(e, 1, &c);
		assert_non_null(ptree_add(&e->tree, ptree_key(&c.cursor), ptree_value(&c.cursor)));
	}
	for (bool on = events_find(e, 1, &c); on && events_key(&c) == 1; on = events_next(&c))
		sevens += *events_value(&c) == 7;
	assert_int_equal(sevens, 5001);
	assert_int_equal(events_count(e), 5010);
	events_free(e);
}

/* ---- keys that look like addresses ---- */

struct words3 {
	uint64_t word[3];
};
PTREE_OF(by_number, uint64_t, char *);
PTREE_WITH(by_words, struct words3, char *, PMAP_PLAIN_KEYS, NULL);
struct look_alike {
	struct by_number *number;
	struct by_words *words;
	uint64_t heap, libc; /* negated, so that they are no addresses */
};
enum { LOOK_ALIKES = 20000 };

static uint64_t look_alike(const struct look_alike *l, uint64_t i)
{
	return i % 2 ? -l->heap + 8 * i : -l->libc + 8 * i;
}
static struct words3 look_alike_words(const struct look_alike *l, uint64_t i)
{
	return (struct words3){{look_alike(l, i), look_alike(l, i + 1), i}};
}
static int look_alikes_are_there(const struct look_alike *l)
{
	struct by_number_cursor c;
	struct by_words_cursor w;
	char text[16], why[300] = "";
	uint64_t n = 0;

	EXPECT(!ptree_check(&l->number->tree, why, sizeof(why)) && !ptree_check(&l->words->tree, why, sizeof(why)));
	for (uint64_t i = 0; i < LOOK_ALIKES; i++) {
		snprintf(text, sizeof(text), "%d", (int)i);
		EXPECT(by_number_find(l->number, look_alike(l, i), &c) && !strcmp(*by_number_value(&c), text));
		EXPECT(by_number_key(&c) == look_alike(l, i));
		EXPECT(by_words_find(l->words, look_alike_words(l, i), &w) && !strcmp(*by_words_value(&w), text));
	}
	for (bool on = by_number_first(l->number, &c); on; on = by_number_next(&c))
		n++;
	EXPECT(n == LOOK_ALIKES);
	return 0;
}
static int make_look_alikes(const char *volume)
{
	struct look_alike *l, *beside;
	int id, view;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*l), (void **)&l));
	EXPECT((l->number = by_number_make()) && (l->words = by_words_make()));
	l->heap = -(uint64_t)(uintptr_t)l;
	l->libc = -(uint64_t)(uintptr_t)&qsort;
	for (uint64_t i = 0; i < LOOK_ALIKES; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", (int)i);
		EXPECT(by_number_put(l->number, look_alike(l, i), pStrdup(text)));
		EXPECT(by_words_put(l->words, look_alike_words(l, i), pStrdup(text)));
	}
	EXPECT(pPointSync(id));
	EXPECT(view = pCOpenAt(1, "main", (void **)&beside));
	EXPECT(!look_alikes_are_there(beside) && !look_alikes_are_there(l));
	return pVClose();
}
static int restore_look_alikes(const char *volume)
{
	struct look_alike *l;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(1, (void **)&l));
	EXPECT(!look_alikes_are_there(l));
	return pVClose();
}

static void keys_that_look_like_addresses_stay(void **state)
{
	(void)state;
	in_process(make_look_alikes, scratch("look_alikes.vol"));
	in_process(restore_look_alikes, scratch("look_alikes.vol"));
}

static void replacing_values_keeps_cursors(void **state)
{
	struct prices *p = prices_make();
	struct prices_cursor c;

	(void)state;
	for (int64_t i = 0; i < 1000; i++)
		prices_put(p, i, 0);
	for (bool on = prices_first(p, &c); on; on = prices_next(&c))
		prices_put(p, prices_key(&c), 2);
	assert_true(*prices_get(p, 999) == 2);
	prices_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_typed_map_needs_no_casts),
	        cmocka_unit_test(strings_are_copied_and_in_order),
	        cmocka_unit_test(zeros_are_equal_and_nan_is_last),
	        cmocka_unit_test(sets_have_no_values),
	        cmocka_unit_test(keys_with_pointers_outlive_no_entry),
	        cmocka_unit_test(duplicates_stay_in_the_order_of_adding),
	        cmocka_unit_test(ascending_keys_fill_nodes_wholly),
	        cmocka_unit_test(runs_hold_all_entries_side_by_side),
	        cmocka_unit_test(all_entries_may_be_removed_by_a_cursor),
	        cmocka_unit_test(types_that_make_no_sense_are_refused),
	        cmocka_unit_test(without_its_function_a_tree_finds_nothing),
	        cmocka_unit_test(check_names_what_is_broken),
	        cmocka_unit_test(what_is_added_may_lie_in_the_tree),
	        cmocka_unit_test(keys_that_look_like_addresses_stay),
	        cmocka_unit_test(replacing_values_keeps_cursors),
#ifdef SPM_DEBUG
	        cmocka_unit_test(misused_cursors_are_caught),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
