/* test_ds_hash.c - what <softpm/hash.h> promises, one by one. Random operations beside a model: model_ds_hash.c. */
#include "expect.h"
#include "../../ds/hash.h"
#include "process.h"
#include "scratch.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

#ifdef __SANITIZE_ADDRESS__
enum { MANY = 20000 };
#else
enum { MANY = 200000 };
#endif

struct point {
	double x, y;
};
PHASH_OF(numbers, int64_t, int64_t);
PHASH_OF(ages, const char *, int);
PHASH_OF(pointers, uint64_t, char *);
PHASH_OF(reals, double, int64_t);
PHASH_PLAIN_OF(places, struct point, struct point);
PHASH_SET_OF(names, const char *);
PHASH_SET_OF(ids, uint64_t);

static void is_whole(const struct phash *t)
{
	char why[200] = "";

	if (phash_check(t, why, sizeof(why)))
		fail_msg("the table is broken: %s", why);
}

static struct numbers *numbers_to(int64_t n)
{
	struct numbers *t = numbers_make();

	for (int64_t i = 0; i < n; i++)
		assert_non_null(numbers_put(t, i, 3 * i));
	return t;
}

/* ---- operations ---- */

static void what_was_put_is_found_at_any_size(void **state)
{
	struct numbers *t = numbers_make();

	(void)state;
	for (int64_t i = 0; i < MANY; i++) {
		assert_null(numbers_get(t, i));
		assert_non_null(numbers_put(t, i, 3 * i));
		if (!(i & (i + 1))) {
			is_whole(&t->hash);
			assert_int_equal(numbers_count(t), i + 1);
		}
	}
	for (int64_t i = 0; i < MANY; i++)
		assert_int_equal(*numbers_get(t, i), 3 * i);
	assert_null(numbers_get(t, MANY));
	assert_null(numbers_get(t, -1));
	is_whole(&t->hash);
	numbers_free(t);
}

static void put_replaces_add_refuses_at_gives_zero(void **state)
{
	struct numbers *t = numbers_make();

	(void)state;
	assert_int_equal(*numbers_put(t, 7, 1), 1);
	assert_int_equal(*numbers_put(t, 7, 2), 2);
	errno = 0;
	assert_null(numbers_add(t, 7, 3));
	assert_int_equal(errno, EEXIST);
	assert_int_equal(*numbers_get(t, 7), 2);
	assert_int_equal(*numbers_add(t, 8, 3), 3);
	assert_int_equal(++*numbers_at(t, 7), 3);
	assert_int_equal(++*numbers_at(t, 9), 1);
	assert_int_equal(numbers_count(t), 3);
	assert_true(numbers_has(t, 9));
	numbers_free(t);
}

static void remove_tells_what_was_there_and_leaves_nothing(void **state)
{
	struct numbers *t = numbers_to(MANY);
	int64_t value = 0;

	(void)state;
	for (int64_t i = 0; i < MANY; i++) {
		assert_true(numbers_remove(t, i, &value));
		assert_int_equal(value, 3 * i);
		assert_false(numbers_remove(t, i, &value));
		if (i % (MANY / 10) == 0)
			is_whole(&t->hash);
	}
	assert_int_equal(numbers_count(t), 0);
	is_whole(&t->hash);
	numbers_free(t);
}

/* Of every size there is: words, groups and pages of different sizes, also larger than a page. */
static void keys_and_values_have_any_size(void **state)
{
	static const uint32_t bytes[] = {1, 2, 3, 4, 7, 8, 12, 16, 40, 100, 336, 1000, 1024};

	(void)state;
	for (unsigned k = 0; k < 13; k++) {
		for (unsigned v = 0; v < 13; v++) {
			struct pmap_type type = {PKEY_BYTES, k % 2 ? 3 : 0, bytes[k], v ? bytes[v] : 0, NULL};
			struct phash *t = phash_make(&type);
			unsigned n = bytes[k] == 1 ? 200 : 700;
			unsigned char key[1024] = {0}, value[1024];

			for (unsigned i = 0; i < n; i++) {
				memcpy(key, &i, bytes[k] < 2 ? 1 : 2);
				memset(value, (int)(i % 251), sizeof(value));
				assert_non_null(phash_put(t, key, value));
			}
			is_whole(t);
			assert_int_equal(phash_count(t), n);
			for (unsigned i = 0; i < n; i++) {
				unsigned char *found;

				memcpy(key, &i, bytes[k] < 2 ? 1 : 2);
				memset(value, (int)(i % 251), sizeof(value));
				found = phash_get(t, key);
				assert_non_null(found);
				assert_memory_equal(found, value, type.value_bytes);
				if (type.value_bytes && type.value_bytes % 8 == 0)
					assert_int_equal((uintptr_t)found % 8, 0);
			}
			phash_free(t);
		}
	}
}

static void impossible_types_are_refused(void **state)
{
	static const struct pmap_type type[] = {
	        {0, 0, 8, 8, NULL},          {PKEY_CUSTOM, 0, 8, 8, NULL},   {PKEY_INT64, PMAP_DUPLICATES, 8, 8, NULL},
	        {PKEY_BYTES, 0, 0, 8, NULL}, {PKEY_BYTES, 0, 1025, 8, NULL}, {PKEY_BYTES, 0, 8, 1025, NULL},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(type) / sizeof(*type); i++) {
		errno = 0;
		assert_null(phash_make(&type[i]));
		assert_int_equal(errno, EINVAL);
	}
	phash_free(NULL);
}

static void strings_are_copied(void **state)
{
	struct ages *t = ages_make();
	char name[3000];

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		memset(name, 'a' + (int)(i % 26), i);
		snprintf(name + i, 16, "%u", i);
		assert_non_null(ages_put(t, name, (int)i));
	}
	memset(name, 0, sizeof(name));
	is_whole(&t->hash);
	for (unsigned i = 0; i < 2000; i++) {
		memset(name, 'a' + (int)(i % 26), i);
		snprintf(name + i, 16, "%u", i);
		assert_int_equal(*ages_get(t, name), i);
	}
	assert_non_null(ages_put(t, "", -1));
	assert_int_equal(*ages_get(t, ""), -1);
	assert_true(ages_remove(t, "", NULL));
	assert_null(ages_get(t, ""));
	ages_clear(t);
	assert_int_equal(ages_count(t), 0);
	is_whole(&t->hash);
	ages_free(t);
}

static void doubles_are_compared_as_numbers(void **state)
{
	struct reals *t = reals_make();

	(void)state;
	reals_put(t, 0.0, 1);
	reals_put(t, -0.0, 2);
	reals_put(t, NAN, 3);
	reals_put(t, -NAN, 4);
	reals_put(t, INFINITY, 5);
	assert_int_equal(reals_count(t), 3);
	assert_int_equal(*reals_get(t, 0.0), 2);
	assert_int_equal(*reals_get(t, NAN), 4);
	assert_null(reals_get(t, -INFINITY));
	is_whole(&t->hash);
	reals_free(t);
}

static void structures_are_keys_and_values(void **state)
{
	struct places *t = places_make();

	(void)state;
	for (int i = 0; i < 3000; i++)
		places_put(t, (struct point){i, -i}, (struct point){i, 1});
	for (int i = 0; i < 3000; i++)
		assert_true(places_get(t, (struct point){i, -i})->x == i);
	assert_null(places_get(t, (struct point){1, 1}));
	is_whole(&t->hash);
	places_free(t);
}

static void sets_hold_each_key_once(void **state)
{
	struct names *t = names_make();
	struct ids *u = ids_make();
	struct names_iter it;

	(void)state;
	assert_true(names_add(t, "a"));
	assert_false(names_add(t, "a"));
	assert_true(names_put(t, "a"));
	assert_true(names_put(t, "b"));
	assert_int_equal(names_count(t), 2);
	for (names_start(&it, t); names_next(&it);)
		assert_true(!strcmp(it.key, "a") || !strcmp(it.key, "b"));
	assert_true(names_remove(t, "a"));
	assert_false(names_has(t, "a"));
	for (uint64_t i = 0; i < 5000; i++)
		assert_true(ids_add(u, i * i));
	is_whole(&u->hash);
	assert_int_equal(ids_count(u), 5000);
	names_free(t);
	ids_free(u);
}

/* The value is copied although the page that it lies in is split, or made anew, to make room. */
static void a_value_of_the_table_itself_may_be_put(void **state)
{
	struct places *t = places_make();

	(void)state;
	places_put(t, (struct point){0, 0}, (struct point){17, 18});
	for (int i = 1; i < 5000; i++) {
		struct point key = {i, 0}, first = {i - 1, 0};
		struct point *value = phash_put(&t->hash, &key, places_get(t, first));

		assert_true(value->x == 17 && value->y == 18);
	}
	places_free(t);
}

static void clear_gives_back_all_but_a_small_page(void **state)
{
	struct numbers *t = numbers_to(MANY);

	(void)state;
	numbers_clear(t);
	is_whole(&t->hash);
	assert_int_equal(numbers_count(t), 0);
	assert_int_equal(tag_of(t->hash.root), 0);
	assert_int_equal(t->hash.bucket_bytes, BUCKET_BYTES_MIN);
	assert_null(numbers_get(t, 1));
	assert_non_null(numbers_put(t, 1, 1));
	numbers_free(t);
}

static void an_emptied_table_shrinks_to_one_page(void **state)
{
	struct numbers *t = numbers_to(MANY);

	(void)state;
	for (int64_t i = 0; i < MANY; i++)
		numbers_remove(t, (i * 7919) % MANY, NULL);
	assert_int_equal(numbers_count(t), 0);
	assert_int_equal(tag_of(t->hash.root), 0);
	assert_true(t->hash.bucket_bytes < BUCKET_BYTES);
	is_whole(&t->hash);
	numbers_free(t);
}

static void what_is_reserved_needs_no_split(void **state)
{
	struct numbers *t = numbers_make();
	uintptr_t root;

	(void)state;
	assert_int_equal(numbers_reserve(t, 20), 0);
	root = t->hash.root;
	for (int64_t i = 0; i < 20; i++)
		numbers_put(t, i, i);
	assert_int_equal(t->hash.root, root);
	assert_int_equal(numbers_reserve(t, 10000), 0);
	is_whole(&t->hash);
	root = t->hash.root;
	for (uint64_t at = 0, i = 0; i < 64; i++, at += UINT64_C(1) << 58)
		assert_int_equal(bucket_of(&t->hash, at)->depth, 6);
	for (int64_t i = 0; i < 10000; i++)
		numbers_put(t, i, i);
	assert_int_equal(t->hash.root, root);
	for (int64_t i = 0; i < 10000; i++)
		assert_int_equal(*numbers_get(t, i), i);
	assert_int_equal(numbers_reserve(t, 5), 0);
	errno = 0;
	assert_int_equal(numbers_reserve(t, UINT64_MAX), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(t->hash.root, root);
	is_whole(&t->hash);
	numbers_free(t);
}

/* As if all keys had been chosen to have the same bits: nodes lie below nodes, and operations and checks work there. */
static void hashes_that_share_most_bits_are_told_apart(void **state)
{
	struct numbers *t = numbers_to(5000);
	int64_t seven = 7;
	uint64_t hash = hash_of_word(&t->hash, (uint64_t)seven);
	struct bucket *b;

	(void)state;
	while (!spm_hash_grow(&t->hash, hash))
		continue;
	assert_int_equal(errno, EOVERFLOW);
	b = bucket_of(&t->hash, hash);
	assert_int_equal(b->depth, DEPTH_MAX);
	assert_int_equal(b->count, 1);
	is_whole(&t->hash);
	for (int64_t i = 0; i < 5000; i++)
		assert_int_equal(*numbers_get(t, i), 3 * i);
	for (int64_t i = 0; i < 5000; i++)
		assert_true(numbers_remove(t, i, NULL));
	is_whole(&t->hash);
	for (int64_t i = 0; i < 5000; i++)
		assert_non_null(numbers_put(t, i, i));
	is_whole(&t->hash);
	numbers_free(t);
}

static void each_table_hashes_by_numbers_of_its_own(void **state)
{
	struct numbers *a = numbers_make(), *b = numbers_make();

	(void)state;
	assert_true(memcmp(a->hash.secret, b->hash.secret, sizeof(a->hash.secret)) != 0);
	assert_true(a->hash.id != b->hash.id);
	assert_true(hash_of_word(&a->hash, 1) != hash_of_word(&b->hash, 1));
	numbers_free(a);
	numbers_free(b);
}

/* ---- iteration ---- */

static void an_iterator_meets_each_key_once(void **state)
{
	struct numbers *t = numbers_to(MANY);
	unsigned char *seen = calloc(MANY, 1);
	struct numbers_iter it;
	uint64_t n = 0;

	(void)state;
	for (numbers_start(&it, t); numbers_next(&it); n++) {
		assert_int_equal(*it.value, 3 * it.key);
		assert_int_equal(seen[it.key]++, 0);
	}
	assert_int_equal(n, MANY);
	assert_false(numbers_next(&it));
	free(seen);
	numbers_free(t);
}

static void the_current_key_may_be_removed(void **state)
{
	struct numbers *t = numbers_to(MANY);
	struct ages *strings = ages_make();
	struct numbers_iter it;
	struct ages_iter s;
	uint64_t n = 0;
	char name[32];

	(void)state;
	for (numbers_start(&it, t); numbers_next(&it); n++)
		assert_true(numbers_remove(t, it.key, NULL));
	assert_int_equal(n, MANY);
	assert_int_equal(numbers_count(t), 0);
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "name %d", i);
		ages_put(strings, name, i);
	}
	n = 0;
	for (ages_start(&s, strings); ages_next(&s); n++)
		assert_true(ages_remove(strings, s.key, NULL));
	assert_int_equal(n, 3000);
	assert_int_equal(ages_count(strings), 0);
	is_whole(&strings->hash);
	numbers_free(t);
	ages_free(strings);
}

/* Even keys stay; odd ones come and go meanwhile, so that the table grows to many times its size and shrinks again. */
static void what_is_there_all_the_time_is_met_once_while_the_table_grows_and_shrinks(void **state)
{
	enum { STAY = 3000 };
	struct numbers *t = numbers_make();
	unsigned char seen[2 * STAY] = {0};
	struct numbers_iter it;
	uint64_t random = test_seed(), met = 0;

	(void)state;
	for (int64_t i = 0; i < STAY; i++)
		numbers_put(t, 2 * i, 0);
	numbers_start(&it, t);
	while (numbers_next(&it)) {
		bool grows = met / 300 % 2 == 0;

		if (it.key < 2 * STAY && it.key % 2 == 0) {
			assert_int_equal(seen[it.key]++, 0);
			met++;
		}
		for (unsigned i = 0; i < 40; i++) {
			int64_t odd = (int64_t)(test_random(&random) % 20000) * 2 + 1;

			if (grows)
				numbers_put(t, odd, 0);
			else
				numbers_remove(t, odd, NULL);
		}
		for (int64_t i = 0; !grows && met % 300 == 1 && i < 20000; i++)
			numbers_remove(t, 2 * i + 1, NULL);
	}
	assert_int_equal(met, STAY);
	is_whole(&t->hash);
	numbers_free(t);
}

/* In small tables slots are used again at once, and the bucket gets another size again and again. */
static void slots_that_are_used_again_mislead_no_iterator(void **state)
{
	enum { STAY = 12, OTHERS = 40 };
	uint64_t random = test_seed();

	(void)state;
	for (unsigned round = 0; round < 3000; round++) {
		struct numbers *t = numbers_make();
		unsigned char seen[STAY] = {0};
		struct numbers_iter it;
		unsigned met = 0;

		for (int64_t i = 0; i < STAY; i++)
			numbers_put(t, i, i);
		for (int64_t i = 0; i < 6; i++)
			numbers_put(t, STAY + i, i);
		for (numbers_start(&it, t); numbers_next(&it);) {
			if (it.key < STAY) {
				assert_int_equal(seen[it.key]++, 0);
				met++;
			}
			for (unsigned i = 0; i < 4; i++) {
				int64_t other = STAY + (int64_t)(test_random(&random) % OTHERS);

				if (test_random(&random) % 2)
					numbers_put(t, other, 0);
				else
					numbers_remove(t, other, NULL);
			}
		}
		assert_int_equal(met, STAY);
		numbers_free(t);
	}
}

/* A key whose hash is in the upper half, or not, counted from *next on. */
static int64_t number_in(const struct numbers *t, bool is_upper, int64_t *next)
{
	while (hash_of_word(&t->hash, (uint64_t)*next) >> 63 != is_upper)
		++*next;
	return (*next)++;
}

/* Splits the only page; the upper half's is put where that page was, as the heap might do. */
static void split_to(struct numbers *t, void *page)
{
	static void *other[20000];
	uintptr_t *node;
	unsigned n = 0;

	while (n < 20000 && (other[n] = pMallocNoPtr(BUCKET_BYTES)) != page)
		n++;
	assert_true(n < 20000);
	assert_int_equal(spm_hash_grow(&t->hash, 0), 0);
	node = node_of(t->hash.root);
	memcpy(page, (void *)node[1], BUCKET_BYTES);
	pFree((void *)node[1]);
	node[1] = (uintptr_t)page;
	while (n--)
		pFree(other[n]);
}

/* The page that the iterator is in is merged into another one, and comes back at the same place after a split. */
static void a_page_that_comes_back_is_not_taken_for_itself(void **state)
{
	enum { STAY = 45, LOWER = 100 };
	struct numbers *t = numbers_make();
	struct numbers_iter it, copy;
	int64_t stay[STAY], lower[LOWER], gone[STAY], next = 0;
	struct bucket *upper;

	(void)state;
	assert_int_equal(numbers_reserve(t, 300), 0);
	for (unsigned i = 0; i < LOWER; i++)
		numbers_put(t, lower[i] = number_in(t, false, &next), 0);
	/* What goes leaves holes, so that what stays has other slots when it comes back. */
	for (unsigned i = 0; i < STAY; i++)
		numbers_put(t, gone[i] = number_in(t, true, &next), 0);
	for (unsigned i = 0; i < STAY; i++)
		numbers_put(t, stay[i] = number_in(t, true, &next), 0);
	for (unsigned i = 0; i < STAY; i++)
		numbers_remove(t, gone[i], NULL);
	for (unsigned i = 0; i < LOWER - 60; i++)
		numbers_remove(t, lower[i], NULL);
	upper = bucket_of(&t->hash, TOP_BIT);
	upper->changes += 100;
	for (numbers_start(&it, t); numbers_next(&it) && it.iter.bucket != upper;)
		continue;
	assert_ptr_equal(it.iter.bucket, upper);
	spm_hash_shrink(&t->hash, TOP_BIT);
	assert_int_equal(bucket_of(&t->hash, 0)->depth, 0);
	split_to(t, upper);
	for (unsigned i = 0; i < 200; i++) {
		unsigned met = 1; /* it stands on one */

		for (copy = it; numbers_next(&copy);) {
			for (unsigned k = 0; k < STAY; k++)
				met += copy.key == stay[k];
		}
		assert_int_equal(met, STAY);
		numbers_put(t, number_in(t, true, &next), 0);
	}
	numbers_free(t);
}

static void an_iterator_outlives_clear(void **state)
{
	struct numbers *t = numbers_to(5000);
	struct numbers_iter it;
	unsigned n = 0;

	(void)state;
	numbers_start(&it, t);
	assert_true(numbers_next(&it));
	numbers_clear(t);
	assert_false(numbers_next(&it));
	for (int64_t i = 0; i < 5000; i++)
		numbers_put(t, i, 3 * i);
	for (numbers_start(&it, t); numbers_next(&it); n++)
		assert_int_equal(*it.value, 3 * it.key);
	assert_int_equal(n, 5000);
	numbers_free(t);
}

/* ---- dirty pages ----
 *
 * Not in debug builds: the heap takes some bytes of each slot there, so pages of entries lie across two of memory. */

#ifndef SPM_DEBUG

/* In all. What a point captured is counted when it is written, which the next one waits for. */
static uint64_t dirty_pages(int id)
{
	struct pstats stats;

	if (!pPoint(id) || !pPoint(id) || pStats(1, &stats))
		return UINT64_MAX;
	return stats.dirty_pages;
}

/* By how many pages were written for each of the calls of fn(t, from), ..., fn(t, to - 1): dirty[i] counts those that wrote i. */
static int count_dirty(int id, struct numbers *t, int64_t from, int64_t to, int (*fn)(struct numbers *t, int64_t i),
                       unsigned *dirty, unsigned most)
{
	uint64_t before = dirty_pages(id), now;

	for (int64_t i = from; i < to; i++, before = now) {
		EXPECT(!fn(t, i));
		now = dirty_pages(id);
		EXPECT(now - before <= most);
		dirty[now - before]++;
	}
	return 0;
}

static int number_put(struct numbers *t, int64_t i)
{
	return numbers_put(t, i, -1) ? 0 : -1;
}

static int number_remove(struct numbers *t, int64_t i)
{
	return numbers_remove(t, i, NULL) ? 0 : -1;
}

static int number_get(struct numbers *t, int64_t i)
{
	return numbers_has(t, i) ? 0 : -1;
}

static int one_page_for_most_operations(const char *volume)
{
	enum { THERE = 40000, OPERATIONS = 1000, MOST = 8 };
	unsigned added[MOST + 1] = {0}, replaced[MOST + 1] = {0}, removed[MOST + 1] = {0}, read[MOST + 1] = {0};
	struct numbers **root;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*root), (void **)&root));
	EXPECT(*root = numbers_make());
	for (int64_t i = 0; i < THERE; i++)
		EXPECT(numbers_put(*root, i, i));
	EXPECT(!count_dirty(id, *root, 0, OPERATIONS, number_get, read, MOST));
	EXPECT(read[0] == OPERATIONS);
	EXPECT(!count_dirty(id, *root, 0, OPERATIONS, number_put, replaced, MOST));
	EXPECT(replaced[1] == OPERATIONS);
	EXPECT(!count_dirty(id, *root, THERE, THERE + OPERATIONS, number_put, added, MOST));
	EXPECT(added[1] >= OPERATIONS * 9 / 10);
	EXPECT(!count_dirty(id, *root, 0, OPERATIONS, number_remove, removed, MOST));
	EXPECT(removed[1] >= OPERATIONS * 9 / 10);
	return pVClose();
}

static void an_operation_writes_to_one_page_mostly(void **state)
{
	(void)state;
	in_process(one_page_for_most_operations, scratch("dirty"));
}

/* Growing from nothing and shrinking to nothing, a point after each operation. */
static int few_pages_at_most(const char *volume)
{
	enum { N = 3000, MOST = 6 };
	unsigned dirty[MOST + 1] = {0};
	struct numbers **root;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*root), (void **)&root));
	EXPECT(*root = numbers_make());
	EXPECT(!count_dirty(id, *root, 0, N, number_put, dirty, MOST));
	EXPECT(!count_dirty(id, *root, 0, N, number_remove, dirty, MOST));
	return pVClose();
}

static void no_operation_writes_to_more_than_six_pages(void **state)
{
	(void)state;
	in_process(few_pages_at_most, scratch("bound"));
}
#endif

/* ---- persistence ---- */

enum { KEPT = 20000 };

static int tables_fill(const char *volume)
{
	struct {
		struct ages *ages;
		struct pointers *pointers;
		struct numbers *numbers;
	} * root;
	char name[32];
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*root), (void **)&root));
	EXPECT(root->ages = ages_make());
	EXPECT(root->pointers = pointers_make());
	EXPECT(root->numbers = numbers_make());
	for (int i = 0; i < KEPT; i++) {
		snprintf(name, sizeof(name), "name %d", i);
		EXPECT(ages_put(root->ages, name, i % 100));
		EXPECT(pointers_put(root->pointers, (uint64_t)i, pStrdup(name)));
		EXPECT(numbers_put(root->numbers, i, -i));
	}
	EXPECT(pPointSync(id));
	return 0;
}

struct kept {
	struct ages *ages;
	struct pointers *pointers;
	struct numbers *numbers;
};

static int tables_are_kept(const struct kept *root)
{
	char name[32];

	EXPECT(!phash_check(&root->ages->hash, name, sizeof(name)));
	EXPECT(!phash_check(&root->pointers->hash, name, sizeof(name)));
	EXPECT(!phash_check(&root->numbers->hash, name, sizeof(name)));
	EXPECT(ages_count(root->ages) == KEPT);
	for (int i = 0; i < KEPT; i++) {
		snprintf(name, sizeof(name), "name %d", i);
		EXPECT(ages_has(root->ages, name));
		EXPECT(*ages_get(root->ages, name) == i % 100);
		EXPECT(!strcmp(*pointers_get(root->pointers, (uint64_t)i), name));
		EXPECT(*numbers_get(root->numbers, i) == -i);
	}
	return 0;
}

static int tables_beside_each_other(const char *volume)
{
	struct kept *root, *view, *clone;
	int id, other;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCRestore(1, (void **)&root));
	EXPECT(!tables_are_kept(root));
	EXPECT(pCOpenAt(1, "main", (void **)&view));
	EXPECT(!tables_are_kept(view));
	EXPECT(other = pCClone(id, "other", (void **)&clone));
	EXPECT(!tables_are_kept(clone));
	for (int i = 0; i < KEPT; i++)
		EXPECT(numbers_remove(clone->numbers, i, NULL));
	EXPECT(pPointSync(other));
	EXPECT(!tables_are_kept(root));
	EXPECT(!tables_are_kept(view));
	EXPECT(!numbers_count(clone->numbers));
	return pVClose();
}

static void tables_come_back_and_lie_beside_each_other(void **state)
{
	(void)state;
	in_process(tables_fill, scratch("kept"));
	in_process(tables_beside_each_other, scratch("kept"));
}

static void looks_like_no_address(const void *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t word;

		memcpy(&word, (const char *)words + 8 * i, sizeof(word));
		if (word && !(word >> 48))
			fail_msg("word %zu is 0x%llx", i, (unsigned long long)word);
	}
}

/* Pages with pointers in them are searched, and what looks like an address may be changed when a container moves. */
static void nothing_but_pointers_looks_like_an_address(void **state)
{
	struct ages *t = ages_make();
	char name[32];

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		const struct bucket *b = bucket_of(&t->hash, (uint64_t)i << 52);

		looks_like_no_address(&t->hash.id, sizeof(t->hash) / 8 - 1);
		looks_like_no_address(b, (sizeof(*b) + 16u * t->hash.groups) / 8);
		for (unsigned s = 0; (s = spm_bucket_next(&t->hash, b, s)) != NONE; s++)
			looks_like_no_address(entry_at(&t->hash, b, s), 1);
		snprintf(name, sizeof(name), "%u", i);
		assert_non_null(ages_put(t, name, 0));
	}
	ages_free(t);
}

/* ---- checking ---- */

static void check_finds_what_was_overwritten(void **state)
{
	struct numbers *t = numbers_to(3000);
	struct bucket *b = bucket_of(&t->hash, 0);
	unsigned slot = spm_bucket_next(&t->hash, b, 0);
	int64_t *key = (int64_t *)(void *)entry_at(&t->hash, b, slot);
	char why[200];

	(void)state;
	*key ^= 1;
	errno = 0;
	assert_int_equal(phash_check(&t->hash, why, sizeof(why)), -1);
	assert_int_equal(errno, EUCLEAN);
	assert_int_equal(why[0], '5');
	*key ^= 1;
	b->count++;
	assert_int_equal(phash_check(&t->hash, why, sizeof(why)), -1);
	assert_int_equal(why[0], '4');
	b->count--;
	b->depth++;
	assert_int_equal(phash_check(&t->hash, why, sizeof(why)), -1);
	assert_int_equal(why[0], '3');
	b->depth--;
	b->group[0][PASSED]++;
	assert_int_equal(phash_check(&t->hash, NULL, 0), -1);
	b->group[0][PASSED]--;
	t->hash.slots--;
	assert_int_equal(phash_check(&t->hash, why, sizeof(why)), -1);
	assert_int_equal(why[0], '1');
	t->hash.slots++;
	is_whole(&t->hash);
	numbers_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#ifndef SPM_DEBUG
	        cmocka_unit_test(an_operation_writes_to_one_page_mostly),
	        cmocka_unit_test(no_operation_writes_to_more_than_six_pages),
#endif
	        cmocka_unit_test(tables_come_back_and_lie_beside_each_other),
	        cmocka_unit_test(what_was_put_is_found_at_any_size),
	        cmocka_unit_test(put_replaces_add_refuses_at_gives_zero),
	        cmocka_unit_test(remove_tells_what_was_there_and_leaves_nothing),
	        cmocka_unit_test(keys_and_values_have_any_size),
	        cmocka_unit_test(impossible_types_are_refused),
	        cmocka_unit_test(strings_are_copied),
	        cmocka_unit_test(doubles_are_compared_as_numbers),
	        cmocka_unit_test(structures_are_keys_and_values),
	        cmocka_unit_test(sets_hold_each_key_once),
	        cmocka_unit_test(a_value_of_the_table_itself_may_be_put),
	        cmocka_unit_test(clear_gives_back_all_but_a_small_page),
	        cmocka_unit_test(an_emptied_table_shrinks_to_one_page),
	        cmocka_unit_test(what_is_reserved_needs_no_split),
	        cmocka_unit_test(hashes_that_share_most_bits_are_told_apart),
	        cmocka_unit_test(each_table_hashes_by_numbers_of_its_own),
	        cmocka_unit_test(an_iterator_meets_each_key_once),
	        cmocka_unit_test(the_current_key_may_be_removed),
	        cmocka_unit_test(what_is_there_all_the_time_is_met_once_while_the_table_grows_and_shrinks),
	        cmocka_unit_test(slots_that_are_used_again_mislead_no_iterator),
	        cmocka_unit_test(a_page_that_comes_back_is_not_taken_for_itself),
	        cmocka_unit_test(an_iterator_outlives_clear),
	        cmocka_unit_test(nothing_but_pointers_looks_like_an_address),
	        cmocka_unit_test(check_finds_what_was_overwritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
