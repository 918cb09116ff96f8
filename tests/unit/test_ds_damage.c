/* test_ds_damage.c - the checks of trees and hashtables whose memory was overwritten, anywhere and by anything: they tell, or what they look at is
 * right, and come back in any case. Seed: $SOFTPM_SEED. */
#include "scratch.h"

#include <softpm/hash.h>
#include <softpm/tree.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ENTRIES = 3000, ROUNDS = 3000, OBJECTS = 10000, DAMAGES_MAX = 3 };

static const struct pmap_type types[] = {
        {PKEY_INT64, PMAP_PLAIN_VALUES, 8, 8, NULL},
        {PKEY_DOUBLE, 0, 8, 0, NULL},
        {PKEY_INT64, 0, 8, 8, NULL}, /* values that might be pointers */
        {PKEY_BYTES, PMAP_PLAIN_KEYS | PMAP_PLAIN_VALUES, 20, 4, NULL},
        {PKEY_BYTES, 0, 40, 16, NULL},
        {PKEY_STRING, PMAP_PLAIN_VALUES, 0, 8, NULL},
};
static uint64_t rnd;

/* All objects that a structure is made of. */
static struct {
	unsigned char *at;
	size_t bytes;
} object[OBJECTS];
static size_t objects;

static void objects_find(void *p)
{
	size_t bytes = pReadable(p);

	for (size_t i = 0; i < objects; i++)
		if (object[i].at == p)
			return;
	if (!bytes || objects == OBJECTS)
		return;
	object[objects].at = p;
	object[objects++].bytes = bytes;
	for (size_t i = 0; i + sizeof(uintptr_t) <= bytes; i += sizeof(uintptr_t)) {
		uintptr_t word;

		memcpy(&word, (char *)p + i, sizeof(word));
		objects_find((void *)(word & ~(uintptr_t)15)); /* hashtables have tags in them */
	}
}

/* ---- damage ---- */

struct damage {
	unsigned char *at;
	uint64_t was;
};

/* A word, a byte or a bit; beginnings, and the first objects, more often. */
static struct damage damage(void)
{
	size_t i = test_random(&rnd) % (test_random(&rnd) % 4 || objects < 8 ? objects : 8);
	size_t bytes = test_random(&rnd) % 3 || object[i].bytes < 64 ? object[i].bytes : 64;
	struct damage d = {.at = object[i].at + test_random(&rnd) % (bytes / 8) * 8};
	uint64_t words[] = {0, test_random(&rnd), (uintptr_t)object[test_random(&rnd) % objects].at};

	memcpy(&d.was, d.at, sizeof(d.was));
	if (test_random(&rnd) % 2)
		memcpy(d.at, &words[test_random(&rnd) % 3], sizeof(d.was));
	else if (test_random(&rnd) % 2)
		d.at[test_random(&rnd) % 8] = (unsigned char)test_random(&rnd);
	else
		d.at[test_random(&rnd) % 8] ^= (unsigned char)(1 << test_random(&rnd) % 8);
	return d;
}

static unsigned damage_and_check(void *structure, int (*check)(const void *structure, char *why, size_t bytes))
{
	unsigned told = 0;

	objects = 0;
	objects_find(structure);
	assert_in_range(objects, 8, OBJECTS - 1);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct damage done[DAMAGES_MAX];
		unsigned n = 1 + (unsigned)(test_random(&rnd) % DAMAGES_MAX);
		char why[300] = "";

		for (unsigned i = 0; i < n; i++)
			done[i] = damage();
		if (check(structure, why, sizeof(why))) {
			assert_int_equal(errno, EUCLEAN);
			assert_true(*why);
			told++;
		}
		while (n--)
			memcpy(done[n].at, &done[n].was, sizeof(done[n].was));
	}
	assert_int_equal(check(structure, NULL, 0), 0);
	return told;
}

/* ---- structures ---- */

static const void *key_of(const struct pmap_type *type, unsigned i)
{
	static union {
		int64_t number;
		double real;
		char bytes[64];
	} key;

	memset(&key, 0, sizeof(key));
	if (type->key_kind == PKEY_STRING)
		snprintf(key.bytes, sizeof(key.bytes), "%u is a key", i);
	else if (type->key_kind == PKEY_DOUBLE)
		key.real = i;
	else
		key.number = i;
	return &key;
}

static int tree_check(const void *tree, char *why, size_t bytes)
{
	return ptree_check(tree, why, bytes);
}

static int hash_check(const void *table, char *why, size_t bytes)
{
	return phash_check(table, why, bytes);
}

static void damaged_trees_are_told(void **state)
{
	(void)state;
	rnd = test_seed();
	for (unsigned k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		struct ptree *t = ptree_make(&types[k]);

		for (unsigned i = 0; i < ENTRIES; i++)
			assert_non_null(ptree_put(t, key_of(&types[k], i * 7919 % ENTRIES), NULL));
		assert_in_range(damage_and_check(t, tree_check), ROUNDS / 2, ROUNDS);
		ptree_free(t);
	}
}

static void damaged_hashtables_are_told(void **state)
{
	(void)state;
	rnd = test_seed();
	for (unsigned k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
		struct phash *t = phash_make(&types[k]);

		for (unsigned i = 0; i < ENTRIES; i++)
			assert_non_null(phash_put(t, key_of(&types[k], i), NULL));
		assert_in_range(damage_and_check(t, hash_check), ROUNDS / 2, ROUNDS);
		phash_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(damaged_trees_are_told),
	        cmocka_unit_test(damaged_hashtables_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
