/* test_ds_hash_versions.c - phash_diff and phash_merge, on versions that are open side by side and on volatile tables, beside plain arrays. */
#include "../../ds/hash.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { UNIVERSE = 20000, KINDS = 3, ROUNDS = 12, CHANGES = 400 };

static const struct pmap_type types[KINDS] = {
        {PKEY_INT64, PMAP_PLAIN_VALUES, 8, 8, NULL},
        {PKEY_STRING, PMAP_PLAIN_VALUES, 0, 8, NULL},
        {PKEY_BYTES, PMAP_PLAIN_KEYS, 200, 0, NULL},
};
struct root {
	struct phash *table[KINDS];
};
/* 0: not there. */
struct model {
	int64_t value[KINDS][UNIVERSE];
};
static uint64_t rnd;

static const void *key_of_id(unsigned kind, int64_t id)
{
	static union {
		int64_t number;
		char bytes[200];
	} key;

	memset(&key, 0, sizeof(key));
	if (kind)
		snprintf(key.bytes, sizeof(key.bytes), "key %d", (int)id);
	else
		key.number = id;
	return &key;
}

static int64_t id_of_key(unsigned kind, const void *key)
{
	return kind ? atoi((const char *)key + 4) : *(const int64_t *)key;
}

/* Some keys of some range, or the lot. */
static int change(struct root *root, struct model *m, unsigned changes)
{
	for (unsigned i = 0; i < changes; i++) {
		unsigned kind = (unsigned)(test_random(&rnd) % KINDS);
		int64_t id = (int64_t)(test_random(&rnd) % UNIVERSE), value = 1 + (int64_t)(test_random(&rnd) % 3);

		if (!types[kind].value_bytes)
			value = 1;
		if (test_random(&rnd) % 5 < 2) {
			phash_remove(root->table[kind], key_of_id(kind, id), NULL);
			value = 0;
		} else {
			EXPECT(phash_put(root->table[kind], key_of_id(kind, id), &value));
		}
		m->value[kind][id] = value;
	}
	return 0;
}

static int is_as(const struct root *root, const struct model *m)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		char why[200];

		EXPECT(!phash_check(root->table[kind], why, sizeof(why)));
		for (int64_t id = 0; id < UNIVERSE; id++) {
			int64_t *value = phash_get(root->table[kind], key_of_id(kind, id));

			EXPECT(!value == !m->value[kind][id]);
			EXPECT(!value || !types[kind].value_bytes || *value == m->value[kind][id]);
		}
	}
	return 0;
}

/* ---- differences ---- */

struct told {
	unsigned kind;
	const struct model *before, *after;
	unsigned char seen[UNIVERSE];
	unsigned changes;
};

static int told_rightly(const struct pchange *c, void *arg)
{
	struct told *told = arg;
	int64_t id = id_of_key(told->kind, c->key);
	int64_t was = told->before->value[told->kind][id], is = told->after->value[told->kind][id];
	bool has_values = types[told->kind].value_bytes;

	EXPECT(!told->seen[id]++);
	EXPECT(was != is);
	EXPECT(c->kind == (!was ? PCHANGE_ADDED : !is ? PCHANGE_REMOVED : PCHANGE_CHANGED));
	EXPECT(!c->old_value == !was && !c->new_value == !is);
	EXPECT(!was || !has_values || *(const int64_t *)c->old_value == was);
	EXPECT(!is || !has_values || *(const int64_t *)c->new_value == is);
	told->changes++;
	return 0;
}

/* Exactly what differs is told. */
static int differences_are_told(const struct root *before, const struct model *was, const struct root *after,
                                const struct model *is)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		struct told told = {.kind = kind, .before = was, .after = is};
		unsigned changes = 0;

		EXPECT(!phash_diff(before->table[kind], after->table[kind], told_rightly, &told));
		for (unsigned id = 0; id < UNIVERSE; id++)
			changes += was->value[kind][id] != is->value[kind][id];
		EXPECT(told.changes == changes);
	}
	return 0;
}

/* ---- merging ---- */

enum policy { LIST, OURS, THEIRS, MIX, POLICIES };

static enum presolution resolve(const struct pconflict *conflict, void *mixed, void *arg)
{
	enum policy policy = *(enum policy *)arg;
	int64_t value = 77;

	(void)conflict;
	if (policy == MIX)
		memcpy(mixed, &value, sizeof(value));
	return policy == OURS ? PMERGE_OURS : policy == THEIRS ? PMERGE_THEIRS : PMERGE_MIXED;
}

/* What a merge makes of ours; *conflicts, *applied: how many there are. */
static void model_merge(const struct model *base, struct model *ours, const struct model *theirs, unsigned kind,
                        enum policy policy, unsigned *conflicts, unsigned *applied)
{
	for (unsigned id = 0; id < UNIVERSE; id++) {
		int64_t b = base->value[kind][id], t = theirs->value[kind][id], *o = &ours->value[kind][id];
		bool is_conflict = b != t && *o != b && *o != t;

		*conflicts += is_conflict;
		if (b != t && *o == b) {
			*o = t;
			++*applied;
		} else if (is_conflict && policy == THEIRS) {
			*o = t;
			++*applied;
		} else if (is_conflict && policy == MIX) {
			*o = 77;
			++*applied;
		}
	}
}

static int conflict_is_one(const struct pconflict *c, unsigned kind, const struct root *ours, const struct model *base,
                           const struct model *mine, const struct model *theirs)
{
	int64_t id = id_of_key(kind, c->key);

	EXPECT(c->ours == phash_get(ours->table[kind], c->key));
	EXPECT((c->base ? *(const int64_t *)c->base : 0) == base->value[kind][id]);
	EXPECT((c->ours ? *(const int64_t *)c->ours : 0) == mine->value[kind][id]);
	EXPECT((c->theirs ? *(const int64_t *)c->theirs : 0) == theirs->value[kind][id]);
	return 0;
}

static int merge(const struct root *base, const struct model *was, struct root *ours, struct model *mine,
                 const struct root *theirs, const struct model *other, enum policy policy)
{
	struct pmerge how = {.resolve = policy == LIST ? NULL : resolve, .arg = &policy};

	for (unsigned kind = 0; kind < KINDS; kind++) {
		unsigned conflicts = 0, applied = 0;
		struct pmerged result;

		model_merge(was, mine, other, kind, policy, &conflicts, &applied);
		EXPECT(!phash_merge(base->table[kind], ours->table[kind], theirs->table[kind], &how, &result));
		EXPECT(result.conflicts == conflicts && result.applied == applied);
		EXPECT(result.unresolved == (policy == LIST ? conflicts : 0));
		for (size_t i = 0; i < result.unresolved; i++)
			EXPECT(!conflict_is_one(&result.conflict[i], kind, ours, was, mine, other));
		pmerged_free(&result);
		pmerged_free(&result);
	}
	return is_as(ours, mine);
}

/* ---- rounds ---- */

static struct model was, mine, others;

static int tables_make(struct root *root)
{
	for (unsigned kind = 0; kind < KINDS; kind++)
		EXPECT(root->table[kind] = phash_make(&types[kind]));
	return 0;
}

/* Each round goes on from the merged state; the changes of a round are few, or about as many as there are keys, so pages split and merge. */
static int merge_branches(const char *volume)
{
	struct root *ours, *clone, *base;
	int id, other, view;
	char branch[32];

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*ours), (void **)&ours));
	EXPECT(!tables_make(ours));
	EXPECT(!change(ours, &mine, 20000));
	for (unsigned round = 0; round < ROUNDS; round++) {
		EXPECT(pPointSync(id));
		was = others = mine;
		snprintf(branch, sizeof(branch), "branch-%u", round);
		EXPECT(other = pCClone(id, branch, (void **)&clone));
		EXPECT(view = pCOpenAt(1, "main", (void **)&base));
		EXPECT(!differences_are_told(base, &was, ours, &mine));
		EXPECT(!change(ours, &mine, round % 3 ? CHANGES : 20000));
		EXPECT(!change(clone, &others, round % 4 ? CHANGES : 20000));
		if (round % 2)
			EXPECT(pPointSync(id) && pPointSync(other));
		EXPECT(!differences_are_told(base, &was, ours, &mine));
		EXPECT(!differences_are_told(clone, &others, base, &was));
		EXPECT(!differences_are_told(ours, &mine, clone, &others));
		EXPECT(!merge(base, &was, ours, &mine, clone, &others, (enum policy)(round % POLICIES)));
		pCFree(other);
		pCFree(view);
	}
	return pVClose();
}

static void branches_are_compared_and_merged(void **state)
{
	(void)state;
	rnd = test_seed();
	in_process(merge_branches, scratch("branches"));
}

static void volatile_tables_are_compared_and_merged(void **state)
{
	struct root base, ours, other;

	(void)state;
	rnd = test_seed();
	memset(&was, 0, sizeof(was));
	mine = others = was;
	assert_int_equal(tables_make(&base) | tables_make(&ours) | tables_make(&other), 0);
	assert_int_equal(change(&base, &was, 5000), 0);
	assert_int_equal(change(&ours, &mine, 5000), 0);
	assert_int_equal(change(&other, &others, 5000), 0);
	assert_int_equal(differences_are_told(&base, &was, &ours, &mine), 0);
	assert_int_equal(differences_are_told(&base, &was, &base, &was), 0);
	assert_int_equal(merge(&base, &was, &ours, &mine, &other, &others, THEIRS), 0);
	for (unsigned kind = 0; kind < KINDS; kind++) {
		phash_free(base.table[kind]);
		phash_free(ours.table[kind]);
		phash_free(other.table[kind]);
	}
}

/* ---- pointers ---- */

PHASH_OF(texts, int64_t, char *);

/* Among a hundred texts, a text replaced by the same at another place differs, for pointers do; others don't, though a clone lies elsewhere. */
static int text_count(const struct pchange *change, void *arg)
{
	int64_t id = *(const int64_t *)change->key;

	EXPECT(id == 7 || id == 8 || id == 200);
	++*(unsigned *)arg;
	return 0;
}

static int text_copy(void *to_place, const void *from_place, void *arg)
{
	const char *const *from = from_place;
	char **to = to_place;

	if (arg) {
		errno = E2BIG;
		return -1;
	}
	return (*to = pStrdup(*from)) ? 0 : -1;
}

static int compare_pointers(const char *volume)
{
	struct texts **ours, **clone, **base;
	struct pmerged merged;
	unsigned changes = 0;
	int id, other;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*ours), (void **)&ours));
	EXPECT(*ours = texts_make());
	for (int64_t i = 0; i < 100; i++)
		EXPECT(texts_put(*ours, i, pStrdup("text")));
	EXPECT(pPointSync(id));
	EXPECT(other = pCClone(id, "other", (void **)&clone));
	EXPECT(pCOpenAt(1, "main", (void **)&base));
	EXPECT(texts_put(*clone, 200, pStrdup("another text")));
	EXPECT(phash_merge(&(*base)->hash, &(*ours)->hash, &(*clone)->hash, NULL, &merged) == -1 && errno == EINVAL);
	EXPECT(phash_merge(&(*base)->hash, &(*ours)->hash, &(*clone)->hash,
	                   &(struct pmerge){.copy = text_copy, .arg = &changes}, &merged) == -1);
	EXPECT(errno == E2BIG && !texts_has(*ours, 200));
	EXPECT(texts_put(*clone, 7, pStrdup("text")));
	EXPECT(texts_remove(*clone, 8, NULL));
	EXPECT(!phash_diff(&(*base)->hash, &(*clone)->hash, text_count, &changes));
	EXPECT(changes == 3);
	EXPECT(!phash_merge(&(*base)->hash, &(*ours)->hash, &(*clone)->hash, &(struct pmerge){.copy = text_copy},
	                    &merged));
	EXPECT(merged.conflicts == 0 && texts_count(*ours) == 100);
	pCFree(other);
	EXPECT(!strcmp(*texts_get(*ours, 7), "text"));
	EXPECT(!strcmp(*texts_get(*ours, 200), "another text"));
	EXPECT(pPointSync(id));
	return pVClose();
}

static void pointers_are_compared_by_where_they_lead_and_copied_by_the_program(void **state)
{
	(void)state;
	in_process(compare_pointers, scratch("pointers"));
}

/* ---- cost, stopping, misuse ---- */

static int stop(const struct pchange *change, void *arg)
{
	(void)change;
	return ++*(int *)arg == 3 ? 42 : 0;
}

static enum presolution stop_merge(const struct pconflict *conflict, void *mixed, void *arg)
{
	(void)conflict, (void)mixed, (void)arg;
	return PMERGE_STOP;
}

static int look_at_little(const char *volume)
{
	struct root *ours, *base;
	struct hash_ranges ranges;
	uint64_t covered = 0;
	int64_t seven = 7;
	int id, ids[2], calls = 0;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*ours), (void **)&ours));
	EXPECT(!tables_make(ours));
	EXPECT(!change(ours, &mine, 60000));
	EXPECT(pPointSync(id));
	EXPECT(ids[0] = pCOpenAt(1, "main", (void **)&base));
	ids[1] = id;
	for (unsigned kind = 0; kind < KINDS; kind++) {
		EXPECT(!spm_hash_changed(base->table[kind], ours->table[kind], ids, true, &ranges));
		EXPECT(!ranges.n);
		free(ranges.range);
	}
	EXPECT(phash_put(ours->table[0], &seven, &(int64_t){70}));
	EXPECT(!spm_hash_changed(base->table[0], ours->table[0], ids, true, &ranges));
	for (size_t i = 0; i < ranges.n; i++)
		covered += (ranges.range[i].end - ranges.range[i].first) >> 32;
	EXPECT(ranges.n && covered <= UINT32_MAX / 16);
	free(ranges.range);
	EXPECT(!change(ours, &mine, 100));
	EXPECT(phash_diff(base->table[0], ours->table[0], stop, &calls) == 42);
	EXPECT(calls == 3);
	return pVClose();
}

static void only_pages_that_differ_are_looked_at(void **state)
{
	(void)state;
	rnd = test_seed();
	in_process(look_at_little, scratch("little"));
}

static void misuse_is_refused_and_a_stopped_merge_says_so(void **state)
{
	struct phash *a = phash_make(&types[0]), *b = phash_make(&types[0]), *c = phash_make(&types[0]),
	             *other = phash_make(&types[1]);
	struct pmerge how = {.resolve = stop_merge};
	struct pmerged merged;
	int64_t key = 1;
	int calls = 0;

	(void)state;
	assert_int_equal(phash_diff(a, other, stop, &calls), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(phash_merge(a, b, other, NULL, &merged), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(phash_merge(a, a, b, NULL, &merged), -1);
	assert_int_equal(errno, EINVAL);
	phash_put(a, &key, &(int64_t){1});
	phash_put(b, &key, &(int64_t){2});
	phash_put(c, &key, &(int64_t){3});
	assert_int_equal(phash_merge(a, b, c, &how, &merged), -1);
	assert_int_equal(errno, ECANCELED);
	assert_int_equal(merged.conflicts, 1);
	pmerged_free(&merged);
	phash_free(a);
	phash_free(b);
	phash_free(c);
	phash_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(branches_are_compared_and_merged),
	        cmocka_unit_test(pointers_are_compared_by_where_they_lead_and_copied_by_the_program),
	        cmocka_unit_test(only_pages_that_differ_are_looked_at),
	        cmocka_unit_test(volatile_tables_are_compared_and_merged),
	        cmocka_unit_test(misuse_is_refused_and_a_stopped_merge_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
