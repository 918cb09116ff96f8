/* test_ds_array_merge.c - parray_diff and parray_merge: small random vectors against what comparing element by element gives, and large ones in
 * containers that are open beside each other. */
#include "../../ds/array.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

PARRAY_OF(numbers, int64_t);
PARRAY_OF(names, const char *);

enum { ROUNDS = 100000, LARGE = 1000000, CHANGES = 20 };

static uint64_t rnd;

static size_t below(size_t n)
{
	return (size_t)(test_random(&rnd) % n);
}

/* ---- small ones ---- */

enum { MOST = 8, NONE = -1 };
/* A vector as the model has it: NONE behind the last one. */
struct row {
	int64_t at[MOST];
};

static struct row row_random(void)
{
	struct row r;
	size_t n = below(MOST + 1);

	for (size_t i = 0; i < MOST; i++)
		r.at[i] = i < n ? (int64_t)below(3) : NONE;
	return r;
}

/* The row, with some changes. */
static struct row row_changed(struct row r)
{
	for (size_t k = below(4); k; k--) {
		size_t i = below(MOST);

		r.at[i] = r.at[i] == NONE ? NONE : (int64_t)below(3);
	}
	for (size_t i = 0, n = below(MOST + 1); i < MOST && !below(2); i++) {
		bool is_in = i < n;

		for (size_t k = 0; k < MOST && below(2); k++)
			r.at[k] = k >= n ? NONE : r.at[k] == NONE && is_in ? (int64_t)below(3) : r.at[k];
	}
	for (size_t i = 1; i < MOST; i++) /* no holes */
		r.at[i] = r.at[i - 1] == NONE ? NONE : r.at[i];
	return r;
}

static struct numbers *numbers_of(const struct row *r)
{
	struct numbers *a = numbers_make();

	for (size_t i = 0; i < MOST && r->at[i] != NONE; i++)
		assert_non_null(numbers_push(a, r->at[i]));
	return a;
}

static struct row row_of(const struct numbers *a)
{
	struct row r;

	for (size_t i = 0; i < MOST; i++)
		r.at[i] = i < numbers_count(a) ? *numbers_at(a, i) : NONE;
	return r;
}

/* What is to come next, by index. */
struct expected {
	struct row old, new;
	size_t next, told, stop_after;
};

static int64_t value_of(const void *at)
{
	return at ? *(const int64_t *)at : NONE;
}

static int is_expected(const struct pchange *change, void *arg)
{
	struct expected *e = arg;

	while (e->next < MOST && e->old.at[e->next] == e->new.at[e->next])
		e->next++;
	assert_int_equal(change->index, e->next);
	assert_int_equal(value_of(change->old_value), e->old.at[e->next]);
	assert_int_equal(value_of(change->new_value), e->new.at[e->next]);
	assert_int_equal(change->kind, !change->old_value   ? PCHANGE_ADDED
	                               : !change->new_value ? PCHANGE_REMOVED
	                                                    : PCHANGE_CHANGED);
	e->next++;
	return ++e->told == e->stop_after ? 17 : 0;
}

static void diff_tells_each_element_that_differs(void **state)
{
	(void)state;
	rnd = test_seed();
	for (unsigned round = 0; round < ROUNDS / 10; round++) {
		struct expected e = {.old = row_random(), .stop_after = below(4) ? 0 : 1 + below(5)};
		struct numbers *old, *new;
		int result;

		e.new = row_changed(e.old);
		old = numbers_of(&e.old);
		new = numbers_of(&e.new);
		result = numbers_diff(old, new, is_expected, &e);
		assert_int_equal(result, e.stop_after && e.told == e.stop_after ? 17 : 0);
		if (!result)
			for (; e.next < MOST; e.next++)
				assert_int_equal(e.old.at[e.next], e.new.at[e.next]);
		numbers_free(old);
		numbers_free(new);
	}
}

/* Decides as the model does, for it is asked in the same order: by index. */
struct deciding {
	enum presolution decision[MOST];
	struct row base, ours, theirs;
};

static enum presolution decide(const struct pconflict *c, void *mixed, void *arg)
{
	const struct deciding *d = arg;

	assert_true(c->index < MOST);
	assert_int_equal(value_of(c->base), d->base.at[c->index]);
	assert_int_equal(value_of(c->ours), d->ours.at[c->index]);
	assert_int_equal(value_of(c->theirs), d->theirs.at[c->index]);
	*(int64_t *)mixed = 100 + (int64_t)c->index;
	return d->decision[c->index];
}

/* Each index by itself; then the holes are filled. */
static struct row merged(const struct deciding *d, bool is_asked, size_t *conflicts)
{
	struct row r;
	size_t n = 0;

	*conflicts = 0;
	for (size_t i = 0; i < MOST; i++) {
		int64_t base = d->base.at[i], ours = d->ours.at[i], theirs = d->theirs.at[i];

		r.at[i] = theirs == base ? ours : theirs;
		if (theirs != base && ours != base && ours != theirs) {
			(*conflicts)++;
			r.at[i] = !is_asked || d->decision[i] == PMERGE_OURS ? ours
			          : d->decision[i] == PMERGE_THEIRS          ? theirs
			                                                     : 100 + (int64_t)i;
		}
		if (r.at[i] != NONE)
			n = i + 1;
	}
	for (size_t i = 0; i < n; i++)
		if (r.at[i] == NONE)
			r.at[i] = d->ours.at[i] == NONE ? d->theirs.at[i] : d->ours.at[i];
	return r;
}

static void merge_joins_what_both_have_changed(void **state)
{
	(void)state;
	rnd = test_seed();
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct deciding d = {.base = row_random()};
		bool is_asked = below(3);
		struct pmerge how = {.resolve = is_asked ? decide : NULL, .arg = &d};
		struct numbers *base, *ours, *theirs;
		struct row wanted, is;
		struct pmerged result;
		size_t conflicts;

		d.ours = row_changed(d.base);
		d.theirs = row_changed(d.base);
		for (size_t i = 0; i < MOST; i++)
			d.decision[i] = (enum presolution)below(3);
		base = numbers_of(&d.base);
		ours = numbers_of(&d.ours);
		theirs = numbers_of(&d.theirs);
		wanted = merged(&d, is_asked, &conflicts);
		assert_int_equal(numbers_merge(base, ours, theirs, is_asked || below(2) ? &how : NULL, &result), 0);
		is = row_of(ours);
		assert_memory_equal(&is, &wanted, sizeof(is));
		assert_int_equal(result.conflicts, conflicts);
		assert_int_equal(result.unresolved, is_asked ? 0 : conflicts);
		for (size_t k = 0; k < result.unresolved; k++) {
			const struct pconflict *c = &result.conflict[k];

			assert_int_equal(value_of(c->base), d.base.at[c->index]);
			assert_int_equal(value_of(c->ours), d.ours.at[c->index]);
			assert_int_equal(value_of(c->theirs), d.theirs.at[c->index]);
		}
		assert_true(spm_array_check(&ours->array));
		pmerged_free(&result);
		numbers_free(base);
		numbers_free(ours);
		numbers_free(theirs);
	}
}

static enum presolution stop(const struct pconflict *c, void *mixed, void *arg)
{
	(void)c;
	(void)mixed;
	(void)arg;
	return PMERGE_STOP;
}

static void a_merge_that_makes_no_sense_is_refused(void **state)
{
	struct row zero = {{0, 0, NONE, NONE, NONE, NONE, NONE, NONE}}, one = zero, two = zero;
	struct numbers *base = numbers_of(&zero), *ours, *theirs;
	struct names *texts = names_make();
	struct parray *bytes = parray_make(1, PARRAY_PLAIN);
	struct pmerge how = {.resolve = stop};
	struct pmerged result;

	(void)state;
	one.at[1] = 1;
	two.at[1] = 2;
	ours = numbers_of(&one);
	theirs = numbers_of(&two);
	assert_int_equal(numbers_merge(base, ours, theirs, &how, &result), -1);
	assert_int_equal(errno, ECANCELED);
	assert_int_equal(*numbers_at(ours, 1), 1);
	assert_int_equal(names_merge(texts, texts, texts, NULL, &result), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(parray_merge(bytes, bytes, &base->array, NULL, &result), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(parray_diff(bytes, &base->array, is_expected, NULL), -1);
	assert_int_equal(errno, EINVAL);
	assert_null(result.conflict);
	parray_free(bytes);
	names_free(texts);
	numbers_free(base);
	numbers_free(ours);
	numbers_free(theirs);
}

/* ---- large ones, in containers ---- */

struct root {
	struct numbers *numbers, *others; /* others: as many, but other ones */
	struct names *names;
};

static struct root *made(int *id)
{
	struct root *root;
	void *memory;

	*id = pCAlloc(1, sizeof(*root), &memory);
	root = memory;
	root->numbers = numbers_make();
	root->others = numbers_make();
	root->names = names_make();
	for (int i = 0; i < LARGE; i++)
		if (!numbers_push(root->numbers, i) || !numbers_push(root->others, -i - 1))
			return NULL;
	for (int i = 0; i < LARGE / 20; i++) {
		char text[24];

		sprintf(text, "name %d", i);
		if (!names_push(root->names, pStrdup(text)))
			return NULL;
	}
	return pPointSync(*id) && !pCTag(*id, "made", NULL) ? root : NULL;
}

static int count(const struct pchange *change, void *arg)
{
	(void)change;
	++*(size_t *)arg;
	return 0;
}

static size_t differing(const struct parray *a, const struct parray *b)
{
	size_t n = 0;

	return parray_diff(a, b, count, &n) ? SIZE_MAX : n;
}

static size_t naively(const struct numbers *a, const struct numbers *b)
{
	size_t n = 0, most = numbers_count(a) > numbers_count(b) ? numbers_count(a) : numbers_count(b);

	for (size_t i = 0; i < most; i++) {
		const int64_t *x = numbers_at(a, i), *y = numbers_at(b, i);

		n += !x || !y || *x != *y;
	}
	return n;
}

/* Piece of elements that nobody changes: who touches it dies. */
static int untouchable(const struct numbers *a, int protection)
{
	size_t n;
	void *piece = a->array.chunk[102];

	EXPECT(numbers_at(a, 850000) >= (int64_t *)piece && numbers_run(a, 850000, &n) < (int64_t *)piece + 8192);
	return mprotect(piece, 65536, protection);
}

static int few_are_compared(const char *volume)
{
	struct root *now, *then;
	struct parray copy;
	void *memory;
	int id;

	rnd = test_seed();
	EXPECT(!pVOpen(volume));
	now = made(&id);
	EXPECT(now && pCOpenAt(1, "made", &memory));
	then = memory;
	EXPECT(!differing(&then->numbers->array, &now->numbers->array));
	EXPECT(!differing(&then->names->array, &now->names->array));
	for (unsigned round = 0; round < CHANGES; round++) {
		switch (below(4)) {
		case 0:
			EXPECT(numbers_push(now->numbers, 5));
			break;
		case 1:
			EXPECT(numbers_pop(now->numbers, NULL));
			break;
		default:
			*numbers_at(now->numbers, below(LARGE / 2)) = -(int64_t)below(3);
		}
		if (!below(3))
			EXPECT(pPoint(id)); /* whether it is in a version makes no difference */
		EXPECT(differing(&then->numbers->array, &now->numbers->array) == naively(then->numbers, now->numbers));
		EXPECT(differing(&now->numbers->array, &then->numbers->array) == naively(then->numbers, now->numbers));
	}
	/* A header that is in no container: all is compared. */
	copy = then->numbers->array;
	EXPECT(differing(&copy, &now->numbers->array) == naively(then->numbers, now->numbers));

	EXPECT(!untouchable(then->numbers, PROT_NONE) && !untouchable(now->numbers, PROT_NONE));
	EXPECT(differing(&then->numbers->array, &now->numbers->array) > 0);
	EXPECT(!untouchable(then->numbers, PROT_READ | PROT_WRITE) &&
	       !untouchable(now->numbers, PROT_READ | PROT_WRITE));

	/* Pointers are the same that lead to the same place. */
	EXPECT(names_set(now->names, 7, pStrdup("name 7")) == 0);
	*names_at(now->names, 40000) = *names_at(now->names, 40001);
	EXPECT(differing(&then->names->array, &now->names->array) == 2);

	/* Elements at other places: all are compared. */
	EXPECT(differing(&then->numbers->array, &now->others->array) == naively(then->numbers, now->others));
	EXPECT(numbers_data(now->numbers) && pPoint(id));
	EXPECT(differing(&then->numbers->array, &now->numbers->array) == naively(then->numbers, now->numbers));
	EXPECT(differing(&now->numbers->array, &then->numbers->array) == naively(then->numbers, now->numbers));
	EXPECT(!numbers_remove(now->numbers, 0, LARGE - 100));
	EXPECT(!numbers_fit(now->numbers));
	EXPECT(differing(&then->numbers->array, &now->numbers->array) == naively(then->numbers, now->numbers));
	EXPECT(!pVClose());
	return 0;
}

static int copy_name(void *ours, const void *theirs, void *arg)
{
	(void)arg;
	*(const char **)ours = pStrdup(*(const char *const *)theirs);
	return *(const char **)ours ? 0 : -1;
}

static enum presolution ours_first(const struct pconflict *c, void *mixed, void *arg)
{
	char text[50];

	(void)arg;
	snprintf(text, sizeof(text), "%s, %s", *(const char *const *)c->ours, *(const char *const *)c->theirs);
	*(const char **)mixed = pStrdup(text);
	return PMERGE_MIXED;
}

static int branches_are_merged(const char *volume)
{
	struct pmerge how = {.resolve = ours_first, .copy = copy_name};
	struct root *ours, *theirs, *base;
	struct pmerged result;
	void *memory;
	int id, branch;

	EXPECT(!pVOpen(volume));
	ours = made(&id);
	EXPECT(ours);
	branch = pCClone(id, "theirs", &memory);
	EXPECT(branch);
	theirs = memory;
	EXPECT(pCOpenAt(1, "made", &memory));
	base = memory;

	*numbers_at(ours->numbers, 10) = -1;
	*numbers_at(theirs->numbers, 900000) = -2;
	*numbers_at(ours->numbers, 500) = -3;
	*numbers_at(theirs->numbers, 500) = -4;
	EXPECT(numbers_push(theirs->numbers, -5));
	EXPECT(!numbers_merge(base->numbers, ours->numbers, theirs->numbers, NULL, &result));
	EXPECT(result.applied == 2 && result.conflicts == 1 && result.unresolved == 1);
	EXPECT(result.conflict->index == 500 && *(const int64_t *)result.conflict->base == 500);
	EXPECT(*(const int64_t *)result.conflict->ours == -3 && *(const int64_t *)result.conflict->theirs == -4);
	pmerged_free(&result);
	EXPECT(*numbers_at(ours->numbers, 10) == -1 && *numbers_at(ours->numbers, 900000) == -2);
	EXPECT(*numbers_at(ours->numbers, 500) == -3 && *numbers_at(ours->numbers, LARGE) == -5);
	EXPECT(spm_array_check(&ours->numbers->array));

	EXPECT(!names_set(theirs->names, 3, pStrdup("three")) && !names_set(theirs->names, 4, pStrdup("four")));
	EXPECT(!names_set(ours->names, 4, pStrdup("4")) && !names_set(ours->names, 30000, pStrdup("30000")));
	EXPECT(!names_merge(base->names, ours->names, theirs->names, &how, &result));
	EXPECT(result.applied == 2 && result.conflicts == 1 && !result.unresolved);
	pmerged_free(&result);
	pCFree(branch);
	EXPECT(!strcmp(*names_at(ours->names, 3), "three") && !strcmp(*names_at(ours->names, 4), "4, four"));
	EXPECT(!strcmp(*names_at(ours->names, 30000), "30000") && pPointSync(id) && !pVClose());
	return 0;
}

static void only_what_may_differ_is_compared(void **state)
{
	(void)state;
	in_process(few_are_compared, scratch("diff"));
}

static void two_branches_become_one(void **state)
{
	(void)state;
	in_process(branches_are_merged, scratch("merge"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(diff_tells_each_element_that_differs),
	        cmocka_unit_test(merge_joins_what_both_have_changed),
	        cmocka_unit_test(a_merge_that_makes_no_sense_is_refused),
	        cmocka_unit_test(only_what_may_differ_is_compared),
	        cmocka_unit_test(two_branches_become_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
