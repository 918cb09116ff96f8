/* test_ds_tree_versions.c - ptree_diff and ptree_merge, on versions that are open side by side and on volatile trees, beside plain arrays. */
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <softpm/tree.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

PTREE_WITH(events, int64_t, int64_t, PMAP_DUPLICATES, NULL);

enum { UNIVERSE = 20000, KINDS = 5, ROUNDS = 12, CHANGES = 400 };

static uint64_t compared;

/* Backwards, to be sure that it is asked. */
static int backwards(const void *a, const void *b)
{
	int64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	compared++;
	return x > y ? -1 : x < y;
}

static const struct pmap_type types[KINDS] = {
        {PKEY_INT64, PMAP_PLAIN_VALUES, 8, 8, NULL},
        {PKEY_STRING, PMAP_PLAIN_VALUES, 0, 8, NULL},
        {PKEY_BYTES, PMAP_PLAIN_KEYS, 200, 0, NULL},
        {PKEY_INT64, 0, 8, 8, NULL}, /* values that might be pointers */
        {PKEY_CUSTOM, PMAP_PLAIN_KEYS | PMAP_PLAIN_VALUES, 8, 8, backwards},
};
struct root {
	struct ptree *tree[KINDS];
};
/* 0: not there. */
struct model {
	int64_t value[KINDS][UNIVERSE];
};
static uint64_t rnd;

static bool has_text(unsigned kind)
{
	return types[kind].key_kind == PKEY_STRING || types[kind].key_kind == PKEY_BYTES;
}

/* Strings that differ in their first 8 bytes, or not. */
static const void *key_of_id(unsigned kind, int64_t id)
{
	static union {
		int64_t number;
		char bytes[200];
	} key;

	memset(&key, 0, sizeof(key));
	if (has_text(kind))
		snprintf(key.bytes, sizeof(key.bytes), id % 2 ? "%05d" : "the key %05d", (int)id);
	else
		key.number = id;
	return &key;
}

static int64_t id_of_key(unsigned kind, const void *key)
{
	int64_t id;

	if (has_text(kind))
		return atoi((const char *)key + (*(const char *)key == 't' ? 8 : 0));
	memcpy(&id, key, sizeof(id));
	return id;
}

static int change(struct root *root, struct model *m, unsigned changes)
{
	uint64_t from = test_random(&rnd) % UNIVERSE, some = test_random(&rnd) % 3 ? UNIVERSE : 100;

	for (unsigned i = 0; i < changes; i++) {
		unsigned kind = (unsigned)(test_random(&rnd) % KINDS);
		int64_t id = (int64_t)((from + test_random(&rnd) % some) % UNIVERSE),
		        value = 1 + (int64_t)(test_random(&rnd) % 3);

		if (!types[kind].value_bytes)
			value = 1;
		if (test_random(&rnd) % 5 < 2) {
			ptree_remove(root->tree[kind], key_of_id(kind, id), NULL);
			value = 0;
		} else {
			EXPECT(ptree_put(root->tree[kind], key_of_id(kind, id), &value));
		}
		m->value[kind][id] = value;
	}
	return 0;
}

static int is_as(const struct root *root, const struct model *m)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		char why[300] = "";

		if (ptree_check(root->tree[kind], why, sizeof(why)))
			EXPECT_ELSE(false, fprintf(stderr, "%s\n", why); return 1);
		for (int64_t id = 0; id < UNIVERSE; id++) {
			int64_t *value = ptree_get(root->tree[kind], key_of_id(kind, id));

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
	const struct ptree *tree;
	uint64_t changes;
	char last[200]; /* key */
};

/* Keys come in ascending order, so none twice. */
static int ascends(struct told *told, const void *key)
{
	size_t bytes = types[told->kind].key_kind == PKEY_STRING ? strlen(key) + 1 : types[told->kind].key_bytes;
	bool is_first = !told->changes++;
	int order = 0;

	if (types[told->kind].key_kind == PKEY_CUSTOM)
		order = backwards(told->last, key);
	else if (has_text(told->kind))
		order = strcmp(told->last, key);
	else
		order = id_of_key(told->kind, told->last) < id_of_key(told->kind, key) ? -1 : 1;
	memcpy(told->last, key, bytes);
	return is_first || order < 0;
}

static int told_rightly(const struct pchange *c, void *arg)
{
	struct told *told = arg;
	int64_t id = id_of_key(told->kind, c->key);
	int64_t was = told->before->value[told->kind][id], is = told->after->value[told->kind][id];
	bool has_values = types[told->kind].value_bytes;

	EXPECT(ascends(told, c->key));
	EXPECT(was != is);
	EXPECT(c->kind == (!was ? PCHANGE_ADDED : !is ? PCHANGE_REMOVED : PCHANGE_CHANGED));
	EXPECT(!c->old_value == !was && !c->new_value == !is);
	EXPECT(!was || !has_values || *(const int64_t *)c->old_value == was);
	EXPECT(!is || !has_values || *(const int64_t *)c->new_value == is);
	return 0;
}

/* Exactly what differs is told. */
static int differences_are_told(const struct root *before, const struct model *was, const struct root *after,
                                const struct model *is)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		struct told told = {.kind = kind, .before = was, .after = is};
		unsigned changes = 0;

		EXPECT(!ptree_diff(before->tree[kind], after->tree[kind], told_rightly, &told));
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

static int copy_number(void *ours, const void *theirs, void *arg)
{
	(void)arg;
	memcpy(ours, theirs, sizeof(int64_t));
	return 0;
}

/* What a merge makes of ours; *conflicts, *applied: how many there are. */
static void model_merge(const struct model *base, struct model *ours, const struct model *theirs, unsigned kind,
                        enum policy policy, unsigned *conflicts, unsigned *applied)
{
	for (unsigned id = 0; id < UNIVERSE; id++) {
		int64_t b = base->value[kind][id], t = theirs->value[kind][id], *o = &ours->value[kind][id];
		bool is_conflict = b != t && *o != b && *o != t;

		*conflicts += is_conflict;
		*applied += (b != t && *o == b) || (is_conflict && policy >= THEIRS);
		if ((b != t && *o == b) || (is_conflict && policy == THEIRS))
			*o = t;
		else if (is_conflict && policy == MIX)
			*o = 77;
	}
}

static int conflict_is_one(const struct pconflict *c, unsigned kind, const struct root *ours, const struct model *base,
                           const struct model *mine, const struct model *theirs)
{
	int64_t id = id_of_key(kind, c->key);

	EXPECT(c->ours == ptree_get(ours->tree[kind], c->key));
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

		how.copy = types[kind].flags & PMAP_PLAIN_VALUES ? NULL : copy_number;
		model_merge(was, mine, other, kind, policy, &conflicts, &applied);
		EXPECT(!ptree_merge(base->tree[kind], ours->tree[kind], theirs->tree[kind], &how, &result));
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

static struct model was, mine, theirs;

static int trees_make(struct root *root)
{
	for (unsigned kind = 0; kind < KINDS; kind++)
		EXPECT(root->tree[kind] = ptree_make(&types[kind]));
	return 0;
}

/* Each round goes on from the merged state; the changes of a round are few, or as many as there are keys. */
static int merge_branches(const char *volume)
{
	struct root *ours, *clone, *base;
	int id, other, view;
	char branch[32];

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*ours), (void **)&ours));
	EXPECT(!trees_make(ours));
	EXPECT(!change(ours, &mine, 20000));
	for (unsigned round = 0; round < ROUNDS; round++) {
		EXPECT(pPointSync(id));
		was = theirs = mine;
		snprintf(branch, sizeof(branch), "branch-%u", round);
		EXPECT(other = pCClone(id, branch, (void **)&clone));
		EXPECT(view = pCOpenAt(1, "main", (void **)&base));
		EXPECT(!differences_are_told(base, &was, ours, &mine));
		EXPECT(!change(ours, &mine, round % 3 ? CHANGES : 20000));
		EXPECT(!change(clone, &theirs, round % 4 ? CHANGES : 20000));
		if (round % 2)
			EXPECT(pPointSync(id) && pPointSync(other));
		EXPECT(!differences_are_told(base, &was, ours, &mine));
		EXPECT(!differences_are_told(clone, &theirs, base, &was));
		EXPECT(!differences_are_told(ours, &mine, clone, &theirs));
		EXPECT(!merge(base, &was, ours, &mine, clone, &theirs, (enum policy)(round % POLICIES)));
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

static void volatile_trees_are_compared_and_merged(void **state)
{
	struct root base, ours, other;

	(void)state;
	rnd = test_seed();
	memset(&was, 0, sizeof(was));
	mine = theirs = was;
	assert_int_equal(trees_make(&base) | trees_make(&ours) | trees_make(&other), 0);
	assert_int_equal(change(&base, &was, 5000), 0);
	assert_int_equal(change(&ours, &mine, 5000), 0);
	assert_int_equal(change(&other, &theirs, 5000), 0);
	assert_int_equal(differences_are_told(&base, &was, &ours, &mine), 0);
	assert_int_equal(differences_are_told(&base, &was, &base, &was), 0);
	assert_int_equal(merge(&base, &was, &ours, &mine, &other, &theirs, THEIRS), 0);
	for (unsigned kind = 0; kind < KINDS; kind++) {
		ptree_free(base.tree[kind]);
		ptree_free(ours.tree[kind]);
		ptree_free(other.tree[kind]);
	}
}

/* ---- one promise each ---- */

static int count_changes(const struct pchange *change, void *arg)
{
	(void)change;
	++*(uint64_t *)arg;
	return 0;
}

/* How often keys are compared tells how much of the trees is looked at. */
static int cost_of_few_changes(const char *volume)
{
	enum { MANY = 200000 };
	struct root *ours, *clone, *base;
	struct pmerged merged;
	uint64_t changes = 0;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*ours), (void **)&ours));
	EXPECT(!trees_make(ours));
	for (int64_t i = 0; i < MANY; i++)
		EXPECT(ptree_put(ours->tree[4], &i, &i));
	EXPECT(pPointSync(id));
	EXPECT(pCClone(id, "other", (void **)&clone) && pCOpenAt(1, "main", (void **)&base));
	for (int64_t i = 0; i < MANY; i += MANY / 4)
		EXPECT(ptree_put(clone->tree[4], &i, &(int64_t){-1}));
	compared = 0;
	EXPECT(!ptree_diff(base->tree[4], clone->tree[4], count_changes, &changes));
	EXPECT(changes == 4 && compared < 10000);
	compared = 0;
	EXPECT(!ptree_merge(base->tree[4], ours->tree[4], clone->tree[4], NULL, &merged));
	EXPECT(merged.applied == 4 && compared < 10000);
	pmerged_free(&merged);
	return pVClose();
}

static void the_cost_follows_the_change(void **state)
{
	(void)state;
	in_process(cost_of_few_changes, scratch("cost"));
}

/* A string may get the place of one that was removed, with the same first bytes: no byte of the leaf differs but the stamp. */
static int strings_in_old_places(const char *volume)
{
	struct root *ours, *clone, *base;
	uint64_t changes = 0;
	int64_t value = 1;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*ours), (void **)&ours));
	EXPECT(!trees_make(ours));
	EXPECT(ptree_put(ours->tree[1], "the same beginning 1", &value));
	EXPECT(pPointSync(id));
	EXPECT(pCClone(id, "other", (void **)&clone) && pCOpenAt(1, "main", (void **)&base));
	for (unsigned i = 0; i < 20; i++) {
		char text[32];

		snprintf(text, sizeof(text), "the same beginning %u", i + 1);
		EXPECT(ptree_remove(ours->tree[1], text, NULL));
		snprintf(text, sizeof(text), "the same beginning %u", i + 2);
		EXPECT(ptree_put(ours->tree[1], text, &value));
		changes = 0;
		EXPECT(!ptree_diff(base->tree[1], ours->tree[1], count_changes, &changes));
		EXPECT(changes == 2);
	}
	EXPECT(ptree_remove(clone->tree[1], "the same beginning 1", NULL));
	EXPECT(ptree_put(clone->tree[1], "the same beginning 0", &value));
	changes = 0;
	EXPECT(!ptree_diff(clone->tree[1], ours->tree[1], count_changes, &changes));
	EXPECT(changes == 2);
	return pVClose();
}

static void strings_that_took_the_place_of_others_are_told(void **state)
{
	(void)state;
	in_process(strings_in_old_places, scratch("strings"));
}

/* A child made by fork may not ask which container a tree is in, without which pointers can't be compared: a failure, no wrong answer. */
static int comparison_in_a_child(const char *volume)
{
	struct root *ours, *view;
	struct ptree *more;
	struct pmerged merged;
	uint64_t changes = 0;
	int id, status;
	pid_t child;

	EXPECT(!pVOpen(volume));
	EXPECT(id = pCAlloc(1, sizeof(*ours), (void **)&ours));
	EXPECT(!trees_make(ours));
	for (int64_t i = 0; i < 100; i++)
		EXPECT(ptree_put(ours->tree[3], &i, &(void *){ours}));
	EXPECT(pPointSync(id) && pCOpenAt(1, "main", (void **)&view));
	EXPECT(more = ptree_make(&types[3]));
	for (int64_t i = 0; i < 100; i++)
		EXPECT(ptree_put(more, &i, &(void *){ours}));
	EXPECT(!ptree_diff(view->tree[3], more, count_changes, &changes) && !changes);
	child = fork();
	if (!child) {
		struct pmerge how = {.copy = copy_number};

		EXPECT(ptree_diff(view->tree[3], more, count_changes, &changes) == -1 && errno == ECHILD);
		EXPECT(ptree_merge(view->tree[3], more, ours->tree[3], &how, &merged) == -1 && errno == ECHILD);
		_exit(changes != 0);
	}
	EXPECT(waitpid(child, &status, 0) == child && !status);
	return pVClose();
}

static void a_child_is_told_that_it_can_not_compare(void **state)
{
	(void)state;
	in_process(comparison_in_a_child, scratch("child"));
}

static void comparing_can_be_ended(void **state)
{
	struct root a;
	uint64_t changes = 0;
	struct ptree *b = ptree_make(&types[0]);

	(void)state;
	assert_int_equal(trees_make(&a), 0);
	ptree_put(a.tree[0], &(int64_t){1}, NULL);
	assert_int_equal(ptree_diff(a.tree[0], a.tree[1], count_changes, &changes), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ptree_diff(a.tree[0], b, count_changes, &changes), 0);
	assert_int_equal(changes, 1);
}

static enum presolution stop(const struct pconflict *conflict, void *mixed, void *arg)
{
	(void)conflict, (void)mixed, (void)arg;
	return PMERGE_STOP;
}

static void a_merge_can_be_stopped_and_refuses_what_makes_no_sense(void **state)
{
	struct root base, ours, other;
	struct pmerged result;
	int64_t key = 5;

	(void)state;
	assert_int_equal(trees_make(&base) | trees_make(&ours) | trees_make(&other), 0);
	ptree_put(ours.tree[0], &key, &(int64_t){1});
	ptree_put(other.tree[0], &key, &(int64_t){2});
	assert_int_equal(
	        ptree_merge(base.tree[0], ours.tree[0], other.tree[0], &(struct pmerge){.resolve = stop}, &result), -1);
	assert_int_equal(errno, ECANCELED);
	assert_int_equal(result.conflicts, 1);
	assert_int_equal(ptree_merge(base.tree[0], base.tree[0], other.tree[0], NULL, &result), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(ptree_merge(base.tree[3], ours.tree[3], other.tree[3], NULL, &result), -1);
	assert_int_equal(errno, EINVAL);
	pmerged_free(&result);
}

/* ---- duplicates ---- */

static int note(const struct pchange *c, void *arg)
{
	char *text = arg;

	snprintf(text + strlen(text), 100, " %c%d=%d", c->kind == PCHANGE_ADDED ? '+' : '-',
	         (int)*(const int64_t *)c->key,
	         (int)*(const int64_t *)(c->kind == PCHANGE_ADDED ? c->new_value : c->old_value));
	return 0;
}

static void duplicates_are_removed_and_added(void **state)
{
	static const int64_t values[3][8] = {{1, 2, 3, 4, 0}, {1, 3, 4, 6, 0}, {1, 2, 5, 4, 4, 0}};
	struct events *e[3];
	struct events_cursor c;
	struct pmerged merged;
	char text[1000] = "";
	int sum = 0;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		e[i] = events_make();
		events_add(e[i], 3, 9);
		for (unsigned k = 0; values[i][k]; k++)
			events_add(e[i], 7, values[i][k]);
	}
	events_add(e[2], 8, 1);
	assert_int_equal(events_diff(e[0], e[1], note, text), 0);
	assert_string_equal(text, " -7=2 -7=3 -7=4 +7=3 +7=4 +7=6");
	text[0] = 0;
	assert_int_equal(events_diff(e[0], e[2], note, text), 0);
	assert_string_equal(text, " -7=3 +7=5 +7=4 +8=1");
	assert_int_equal(events_merge(e[0], e[1], e[2], NULL, &merged), 0);
	assert_true(merged.applied == 4 && !merged.conflicts);
	for (bool on = events_first(e[1], &c); on; on = events_next(&c))
		sum = sum * 10 + (int)*events_value(&c);
	assert_int_equal(sum, 9146541);
	for (unsigned i = 0; i < 3; i++)
		events_free(e[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(branches_are_compared_and_merged),
	        cmocka_unit_test(volatile_trees_are_compared_and_merged),
	        cmocka_unit_test(the_cost_follows_the_change),
	        cmocka_unit_test(strings_that_took_the_place_of_others_are_told),
	        cmocka_unit_test(a_child_is_told_that_it_can_not_compare),
	        cmocka_unit_test(comparing_can_be_ended),
	        cmocka_unit_test(a_merge_can_be_stopped_and_refuses_what_makes_no_sense),
	        cmocka_unit_test(duplicates_are_removed_and_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
