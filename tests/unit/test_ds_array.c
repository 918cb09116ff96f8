/* test_ds_array.c - what <softpm/array.h> promises of vectors and of arrays of several dimensions. */
#include "../../ds/array.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

struct point {
	double x, y, z;
};
PARRAY_OF(numbers, int64_t);
PARRAY_OF(points, struct point);
PARRAY_PLAIN_OF(plain_points, struct point);
PNDARRAY_PLAIN_OF(field, struct point);
PARRAY_OF(names, char *);
PNDARRAY_OF(grid, int);

enum { MANY = 100000 };

static struct numbers *numbers_to(size_t n)
{
	struct numbers *a = numbers_make();

	assert_non_null(a);
	for (size_t i = 0; i < n; i++)
		assert_non_null(numbers_push(a, (int64_t)i));
	return a;
}

static int by_number(const int64_t *x, const int64_t *y, void *arg)
{
	int sign = arg ? -1 : 1;

	return sign * ((*x > *y) - (*x < *y));
}

static void is_counting(const struct numbers *a, size_t n)
{
	assert_int_equal(numbers_count(a), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(*numbers_at(a, i), i);
	assert_true(spm_array_check(&a->array));
}

static void what_is_pushed_is_there(void **state)
{
	struct numbers *a = numbers_to(MANY);
	int64_t last;

	(void)state;
	is_counting(a, MANY);
	for (size_t i = MANY; i--;) {
		assert_int_equal(numbers_pop(a, &last), 1);
		assert_int_equal(last, i);
	}
	assert_int_equal(numbers_pop(a, &last), 0);
	assert_true(spm_array_check(&a->array));
	numbers_free(a);
}

static void an_index_beyond_the_count_is_refused(void **state)
{
	struct numbers *a = numbers_to(10);

	(void)state;
	errno = 0;
	assert_null(numbers_at(a, 10));
	assert_int_equal(errno, ERANGE);
	assert_null(numbers_at(a, SIZE_MAX));
	assert_int_equal(numbers_set(a, 10, 1), -1);
	assert_null(numbers_insert(a, 11, NULL, 1));
	assert_int_equal(errno, ERANGE);
	assert_null(numbers_insert(a, 0, NULL, 0));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(numbers_remove(a, 10, 1), -1);
	assert_int_equal(numbers_remove(a, 1, SIZE_MAX), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(numbers_resize(a, SIZE_MAX / 2), -1);
	assert_int_equal(errno, ENOMEM);
	assert_null(numbers_insert(a, 3, NULL, SIZE_MAX - 1));
	assert_int_equal(errno, ENOMEM);
	is_counting(a, 10);
	numbers_free(a);
}

static void elements_of_a_large_vector_stay_where_they_are(void **state)
{
	struct numbers *a = numbers_to(MANY / 10);
	int64_t **where = malloc(MANY / 10 * sizeof(*where));

	(void)state;
	for (size_t i = 0; i < MANY / 10; i++)
		where[i] = numbers_at(a, i);
	for (size_t i = MANY / 10; i < MANY; i++)
		assert_non_null(numbers_push(a, (int64_t)i));
	assert_int_equal(numbers_reserve(a, 2 * MANY), 0);
	for (size_t i = 0; i < MANY / 10; i++)
		assert_ptr_equal(numbers_at(a, i), where[i]);
	free(where);
	is_counting(a, MANY);
	numbers_free(a);
}

static void a_small_vector_is_a_c_array(void **state)
{
	struct numbers *a = numbers_to(8192);
	int64_t *data;

	(void)state;
	assert_ptr_equal(numbers_data(a), numbers_at(a, 0));
	data = numbers_data(a);
	for (size_t i = 0; i < 8192; i++)
		assert_int_equal(data[i], i);
	numbers_free(a);
}

static void any_vector_becomes_a_c_array(void **state)
{
	struct numbers *a = numbers_to(MANY);
	int64_t *data = numbers_data(a);

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(data[i], i);
	is_counting(a, MANY);
	assert_non_null(numbers_push(a, MANY));
	numbers_free(a);

	/* With its room first it stays one, at the same place. */
	a = numbers_make();
	assert_int_equal(numbers_reserve(a, MANY), 0);
	data = numbers_data(a);
	assert_non_null(data);
	for (size_t i = 0; i < MANY; i++)
		assert_ptr_equal(numbers_push(a, (int64_t)i), data + i);
	assert_ptr_equal(numbers_data(a), data);
	is_counting(a, MANY);
	numbers_free(a);

	a = numbers_make();
	assert_non_null(numbers_data(a)); /* of an empty one too: NULL is a failure */
	numbers_free(a);
}

static void runs_are_all_elements_in_order(void **state)
{
	struct numbers *a = numbers_to(MANY);
	size_t seen = 0;
	int64_t *run;

	(void)state;
	for (size_t i = 0, n; (run = numbers_run(a, i, &n)); i += n)
		for (size_t k = 0; k < n; k++)
			assert_int_equal(run[k], seen++);
	assert_int_equal(seen, MANY);
	numbers_free(a);
}

static void insert_and_remove_shift_what_is_behind(void **state)
{
	struct numbers *a = numbers_to(MANY);
	int64_t more[3] = {-1, -2, -3};

	(void)state;
	assert_ptr_equal(numbers_insert(a, 5, more, 3), numbers_at(a, 5));
	assert_non_null(numbers_insert(a, 50000, NULL, 20000));
	assert_int_equal(numbers_count(a), MANY + 20003);
	assert_int_equal(*numbers_at(a, 4), 4);
	assert_int_equal(*numbers_at(a, 7), -3);
	assert_int_equal(*numbers_at(a, 8), 5);
	assert_int_equal(*numbers_at(a, 49999), 49996);
	for (size_t i = 50000; i < 70000; i++)
		assert_int_equal(*numbers_at(a, i), 0);
	assert_int_equal(*numbers_at(a, 70000), 49997);
	assert_int_equal(*numbers_at(a, MANY + 20002), MANY - 1);
	assert_int_equal(numbers_remove(a, 50000, 20000), 0);
	assert_int_equal(numbers_remove(a, 5, 3), 0);
	is_counting(a, MANY);
	numbers_free(a);
}

static void what_resize_adds_is_zero(void **state)
{
	struct numbers *a = numbers_to(MANY);

	(void)state;
	assert_int_equal(numbers_resize(a, 10001), 0);
	assert_int_equal(numbers_pop(a, NULL), 1);
	is_counting(a, 10000);
	assert_int_equal(numbers_resize(a, MANY), 0);
	for (size_t i = 10000; i < MANY; i++)
		assert_int_equal(*numbers_at(a, i), 0);
	assert_int_equal(numbers_resize(a, 0), 0);
	assert_int_equal(numbers_resize(a, MANY), 0);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(*numbers_at(a, i), 0);
	numbers_free(a);
}

static void fit_gives_back_what_is_not_used(void **state)
{
	struct numbers *a = numbers_to(MANY);

	(void)state;
	assert_non_null(numbers_data(a));
	assert_int_equal(numbers_remove(a, 1000, MANY - 1000), 0);
	assert_int_equal(numbers_fit(a), 0);
	is_counting(a, 1000);
	assert_in_range(pUsableSize(numbers_data(a)), 8000, 12288);
	assert_int_equal(numbers_reserve(a, MANY), 0);
	assert_int_equal(numbers_fit(a), 0);
	assert_int_equal(a->array.chunks, 0);
	is_counting(a, 1000);
	numbers_free(a);
}

static void a_pushed_value_may_be_of_the_vector(void **state)
{
	struct points *a = points_make();

	(void)state;
	assert_non_null(points_push(a, (struct point){1, 2, 3}));
	for (size_t i = 1; i < 10000; i++)
		assert_non_null(parray_push(&a->array, points_at(a, i - 1)));
	for (size_t i = 0; i < 10000; i++)
		assert_true(points_at(a, i)->x == 1 && points_at(a, i)->y == 2 && points_at(a, i)->z == 3);
	points_free(a);
}

static void sorted_is_in_order_and_found(void **state)
{
	struct numbers *a = numbers_make();
	uint64_t random = test_seed();
	size_t at;
	int64_t key;

	(void)state;
	for (size_t i = 0; i < 50000; i++)
		assert_non_null(numbers_push(a, (int64_t)(2 * (test_random(&random) % 30000))));
	assert_int_equal(numbers_sort(a, by_number, NULL), 0);
	for (size_t i = 1; i < 50000; i++)
		assert_true(*numbers_at(a, i - 1) <= *numbers_at(a, i));
	for (size_t i = 0; i < 50000; i++) {
		key = *numbers_at(a, i);
		assert_int_equal(*numbers_search(a, &key, by_number, NULL, &at), key);
		assert_true(at <= i && *numbers_at(a, at) == key && (!at || *numbers_at(a, at - 1) < key));
		key++;
		assert_null(numbers_search(a, &key, by_number, NULL, &at));
		assert_true(at == 50000 || *numbers_at(a, at) > key);
	}
	assert_int_equal(numbers_sort(a, by_number, a), 0);
	for (size_t i = 1; i < 50000; i++)
		assert_true(*numbers_at(a, i - 1) >= *numbers_at(a, i));
	numbers_free(a);
}

static void a_slice_sees_its_run_only(void **state)
{
	struct numbers *a = numbers_to(MANY);
	struct numbers_slice s = numbers_slice(a, 1000, 50000), part = numbers_slice_slice(s, 49990, 10);

	(void)state;
	assert_int_equal(numbers_slice_count(s), 50000);
	assert_int_equal(*numbers_slice_at(s, 0), 1000);
	assert_int_equal(*numbers_slice_at(s, 49999), 50999);
	errno = 0;
	assert_null(numbers_slice_at(s, 50000));
	assert_int_equal(errno, ERANGE);
	assert_int_equal(*numbers_slice_at(part, 9), 50999);
	assert_null(numbers_slice_at(part, 10));
	assert_null(numbers_slice_slice(s, 49990, 11).run.array);
	assert_null(numbers_slice(a, MANY - 1, 2).run.array);
	assert_null(numbers_slice(a, 2, SIZE_MAX).run.array);
	/* What is gone from the vector is gone from it. */
	*numbers_slice_at(s, 1) = 7;
	assert_int_equal(*numbers_at(a, 1001), 7);
	assert_int_equal(numbers_resize(a, 2000), 0);
	assert_int_equal(*numbers_slice_at(s, 999), 1999);
	assert_null(numbers_slice_at(s, 1000));
	numbers_free(a);
}

static void memory_of_plain_elements_is_never_searched(void **state)
{
	(void)state;
	assert_int_equal(numbers_flags, PARRAY_PLAIN);
	assert_int_equal(names_flags, 0);
	assert_int_equal(points_flags, 0); /* a structure may have pointers */
	assert_int_equal(plain_points_flags, PARRAY_PLAIN);
	assert_int_equal(field_flags, PARRAY_PLAIN);
	assert_int_equal(grid_flags, PARRAY_PLAIN);
}

/* A word that is neither small nor beyond what programs may map, unless it is one of these pointers. */
static bool may_be_address(uint64_t word, const void *a, const void *b, const void *c)
{
	return word >= 4096 && word >> 47 == 0 && word != (uintptr_t)a && word != (uintptr_t)b && word != (uintptr_t)c;
}

/* For they are in memory that is searched: a number that led to where a library was would be zero after a restore. */
static void no_number_looks_like_an_address(void **state)
{
	size_t n = 5 << 20;
	struct numbers *a = numbers_make();
	struct grid *g = grid_make(PINDEX(4200, 4300));
	struct grid_view part = grid_view_slice(grid_view_slice(grid_all(g), 1, 4200, 4201, -1), 0, 0, 20, 210);
	struct numbers_slice s;
	uint64_t words[64];

	(void)state;
	assert_int_equal(numbers_resize(a, n), 0);
	for (unsigned is_one = 0; is_one < 2; is_one++) {
		s = numbers_slice(a, n - 100, 100);
		memcpy(words, a, sizeof(*a));
		memcpy(words + sizeof(*a) / 8, &s, sizeof(s));
		for (size_t i = 0; i < (sizeof(*a) + sizeof(s)) / 8; i++)
			assert_false(may_be_address(words[i], a->array.piece, a->array.chunk, a));
		assert_non_null(numbers_data(a));
	}
	memcpy(words, &part, sizeof(part));
	for (size_t i = 0; i < sizeof(part) / 8; i++)
		assert_false(may_be_address(words[i], part.view.data, NULL, NULL));
	numbers_free(a);
	grid_free(g);
}

/* ---- several dimensions ---- */

static struct grid *grid_counting(void)
{
	struct grid *g = grid_make(PINDEX(3, 4, 5));

	assert_non_null(g);
	for (int i = 0; i < 60; i++)
		grid_data(g)[i] = i;
	return g;
}

static void indices_lead_to_their_element(void **state)
{
	struct grid *g = grid_counting();

	(void)state;
	for (size_t i = 0; i < 3; i++)
		for (size_t j = 0; j < 4; j++)
			for (size_t k = 0; k < 5; k++)
				assert_int_equal(*grid_at(g, PINDEX(i, j, k)), (i * 4 + j) * 5 + k);
	errno = 0;
	assert_null(grid_at(g, PINDEX(3, 0, 0)));
	assert_int_equal(errno, ERANGE);
	assert_null(grid_at(g, PINDEX(0, 0, 5)));
	assert_null(grid_at(g, PINDEX(0, SIZE_MAX, 0)));
	assert_null(grid_at(g, PINDEX(0, 0)));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(grid_shape(g, 1), 4);
	grid_free(g);
}

static void parts_are_seen_without_copying(void **state)
{
	struct grid *g = grid_counting();
	struct grid_view all = grid_all(g), plane = grid_view_pick(all, 1, 2);
	struct grid_view column = grid_view_pick(plane, 1, 4), turned = grid_view_swap(all, 0, 2);
	struct grid_view odd = grid_view_slice(all, 2, 1, 2, 2), back = grid_view_slice(all, 0, 2, 3, -1);

	(void)state;
	assert_int_equal(*grid_view_at(plane, PINDEX(2, 3)), *grid_at(g, PINDEX(2, 2, 3)));
	assert_int_equal(*grid_view_at(column, PINDEX(1)), *grid_at(g, PINDEX(1, 2, 4)));
	assert_null(grid_view_at(column, PINDEX(3)));
	assert_int_equal(*grid_view_at(turned, PINDEX(4, 3, 1)), *grid_at(g, PINDEX(1, 3, 4)));
	assert_int_equal(*grid_view_at(odd, PINDEX(1, 1, 1)), *grid_at(g, PINDEX(1, 1, 3)));
	assert_null(grid_view_at(odd, PINDEX(0, 0, 2)));
	assert_int_equal(*grid_view_at(back, PINDEX(0, 1, 1)), *grid_at(g, PINDEX(2, 1, 1)));
	assert_int_equal(*grid_view_at(back, PINDEX(2, 1, 1)), *grid_at(g, PINDEX(0, 1, 1)));
	*grid_view_at(odd, PINDEX(0, 0, 0)) = -1;
	assert_int_equal(*grid_at(g, PINDEX(0, 0, 1)), -1);
	grid_free(g);
}

static void a_part_that_is_not_there_is_refused(void **state)
{
	struct grid *g = grid_counting();
	struct grid_view all = grid_all(g);

	(void)state;
	errno = 0;
	assert_int_equal(grid_view_slice(all, 1, 2, 3, 1).view.dims, 0);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(grid_view_slice(all, 1, 0, 2, 4).view.dims, 0);
	assert_int_equal(grid_view_slice(all, 1, 0, 2, -1).view.dims, 0);
	assert_int_equal(grid_view_slice(all, 1, 1, 2, PTRDIFF_MIN).view.dims, 0);
	assert_int_equal(grid_view_slice(all, 1, 5, 0, 1).view.dims, 0);
	assert_int_equal(grid_view_pick(all, 0, 3).view.dims, 0);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(grid_view_slice(all, 3, 0, 1, 1).view.dims, 0);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(grid_view_slice(all, 0, 0, 1, 0).view.dims, 0);
	assert_int_equal(grid_view_pick(grid_view_pick(grid_view_pick(all, 0, 0), 0, 0), 0, 0).view.dims, 0);
	assert_int_equal(grid_view_swap(all, 0, 3).view.dims, 0);
	/* What is made of such a view is refused too. */
	assert_int_equal(grid_view_pick(grid_view_swap(all, 0, 3), 0, 0).view.dims, 0);
	assert_null(grid_make(0, NULL));
	assert_int_equal(errno, EINVAL);
	assert_null(grid_make(PINDEX(1, 1, 1, 1, 1, 1, 1, 1, 1)));
	assert_null(grid_make(PINDEX(SIZE_MAX / 8, 16)));
	assert_int_equal(errno, ENOMEM);
	assert_null(grid_make(PINDEX(SIZE_MAX / 8, 0, 16)));
	grid_free(g);
}

static void all_of_a_view_is_passed_and_copied_in_order(void **state)
{
	struct grid *g = grid_counting(), *copy;
	struct grid_view turned = grid_view_swap(grid_view_slice(grid_all(g), 1, 3, 4, -1), 0, 2);
	size_t index[3] = {0}, n = 0;

	(void)state;
	copy = grid_copy(turned);
	assert_non_null(copy);
	do
		assert_int_equal(grid_data(copy)[n++], *grid_view_at(turned, 3, index));
	while (grid_view_next(turned, 3, index));
	assert_int_equal(n, 60);
	assert_int_equal(index[0] + index[1] + index[2], 0);
	grid_free(copy);
	grid_free(g);
	g = grid_make(PINDEX(3, 0));
	assert_int_equal(pndview_count(&g->array.all), 0);
	assert_null(grid_at(g, PINDEX(0, 0)));
	grid_free(g);
}

/* ---- restored ---- */

struct root {
	struct plain_points *points; /* with bytes that look like addresses, and must stay */
	struct numbers *numbers;
	struct names names;
	struct grid *grid;
	struct grid_view column;
	struct numbers_slice tail;
};

static int keep(const char *volume)
{
	struct root *root;
	void *memory;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*root), &memory);
	EXPECT(id);
	root = memory;
	root->numbers = numbers_make();
	EXPECT(!names_init(&root->names));
	root->grid = grid_make(PINDEX(100, 200));
	for (int i = 0; i < MANY; i++)
		EXPECT(numbers_push(root->numbers, i));
	for (int i = 0; i < 20000; i++) {
		char text[20];

		sprintf(text, "name %d", i);
		EXPECT(names_push(&root->names, pStrdup(text)));
		grid_data(root->grid)[i] = i;
	}
	root->points = plain_points_make();
	EXPECT(plain_points_push(root->points, (struct point){0, 0, 0}));
	*(void **)plain_points_at(root->points, 0) = stdout; /* of libc's memory: it would be NULL */
	root->column = grid_view_pick(grid_all(root->grid), 1, 7);
	root->tail = numbers_slice(root->numbers, MANY - 10, 10);
	EXPECT(pPointSync(id) && !pVClose());
	return 0;
}

static int is_as_kept(const struct root *root)
{
	EXPECT(spm_array_check(&root->numbers->array) && spm_array_check(&root->names.array));
	EXPECT(numbers_count(root->numbers) == MANY && names_count(&root->names) == 20000);
	for (size_t i = 0; i < MANY; i++)
		EXPECT(*numbers_at(root->numbers, i) == (int64_t)i);
	for (size_t i = 0; i < 20000; i++) {
		char text[20];

		sprintf(text, "name %zu", i);
		EXPECT(!strcmp(*names_at(&root->names, i), text));
	}
	for (size_t i = 0; i < 100; i++)
		EXPECT(*grid_view_at(root->column, PINDEX(i)) == (int)i * 200 + 7);
	EXPECT(*(void **)plain_points_at(root->points, 0));
	EXPECT(*numbers_slice_at(root->tail, 9) == MANY - 1 && !numbers_slice_at(root->tail, 10));
	return 0;
}

static int come_back(const char *volume)
{
	void *memory, *other;
	struct root *root;
	int id, clone;

	EXPECT(!pVOpen(volume));
	id = pCRestore(1, &memory);
	EXPECT(id && !is_as_kept(memory));
	/* Beside it, at other addresses; and both go on. */
	clone = pCClone(id, "other", &other);
	EXPECT(clone && other != memory && !is_as_kept(other));
	root = memory;
	EXPECT(numbers_push(root->numbers, MANY) && !numbers_resize(((struct root *)other)->numbers, 5));
	EXPECT(pPointSync(id) && pPointSync(clone));
	EXPECT(numbers_count(root->numbers) == MANY + 1 && numbers_count(((struct root *)other)->numbers) == 5);
	EXPECT(!pVClose());
	return 0;
}

static void arrays_come_back_in_another_process(void **state)
{
	const char *volume = scratch("arrays");

	(void)state;
	in_process(keep, volume);
	in_process(come_back, volume);
}

/* Bytes that a point stores for one more push, on the whole of so many. */
static int few_pages(const char *volume)
{
	struct pstats before, after;
	struct numbers *a;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(a), &root);
	EXPECT(id);
	*(struct numbers **)root = a = numbers_make();
	for (int i = 0; i < 10 * MANY; i++)
		EXPECT(numbers_push(a, i));
	EXPECT(!numbers_reserve(a, 10 * MANY + 1000) && pPointSync(id) && !pStats(1, &before));
	for (int i = 0; i < 100; i++)
		EXPECT(numbers_push(a, i) && pPointSync(id));
	EXPECT(!pStats(1, &after) && after.dirty_pages - before.dirty_pages <= 2 * 100 + 1);
	EXPECT(!pVClose());
	return 0;
}

static void a_push_writes_to_two_pages(void **state)
{
	(void)state;
	in_process(few_pages, scratch("pages"));
}

#ifdef SPM_DEBUG
static int used_after_free(const char *unused)
{
	struct numbers *a = numbers_to(10);
	size_t n;

	(void)unused;
	signal(SIGABRT, _exit); /* 6 */
	numbers_free(a);
	numbers_run(a, 0, &n);
	return 0;
}

static void a_vector_that_was_freed_is_told(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (!child)
		_exit(used_after_free(""));
	waitpid(child, &status, 0);
	assert_int_equal(status, 6 << 8);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_pushed_is_there),
	        cmocka_unit_test(an_index_beyond_the_count_is_refused),
	        cmocka_unit_test(elements_of_a_large_vector_stay_where_they_are),
	        cmocka_unit_test(a_small_vector_is_a_c_array),
	        cmocka_unit_test(any_vector_becomes_a_c_array),
	        cmocka_unit_test(runs_are_all_elements_in_order),
	        cmocka_unit_test(insert_and_remove_shift_what_is_behind),
	        cmocka_unit_test(what_resize_adds_is_zero),
	        cmocka_unit_test(fit_gives_back_what_is_not_used),
	        cmocka_unit_test(a_pushed_value_may_be_of_the_vector),
	        cmocka_unit_test(sorted_is_in_order_and_found),
	        cmocka_unit_test(a_slice_sees_its_run_only),
	        cmocka_unit_test(memory_of_plain_elements_is_never_searched),
	        cmocka_unit_test(no_number_looks_like_an_address),
	        cmocka_unit_test(indices_lead_to_their_element),
	        cmocka_unit_test(parts_are_seen_without_copying),
	        cmocka_unit_test(a_part_that_is_not_there_is_refused),
	        cmocka_unit_test(all_of_a_view_is_passed_and_copied_in_order),
	        cmocka_unit_test(arrays_come_back_in_another_process),
	        cmocka_unit_test(a_push_writes_to_two_pages),
#ifdef SPM_DEBUG
	        cmocka_unit_test(a_vector_that_was_freed_is_told),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
