/* test_marks.c - the sets of dirty and touched pages against a plain table, on random pages of slices side by side and far apart. */
#include "discover/marks.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SLICES = 4, PAGES = SLICES * SPM_SLICE_PAGES, ROUNDS = 200, CHANGES = 300 };

static const pageno_t slice_number[SLICES] = {0, 1, 5000, SPM_SLICES - 1};
static bool is_member[PAGES], is_dirty[PAGES], is_touched[PAGES];
static bool was_told[PAGES];
static pageno_t told_last;
static size_t told;

static pageno_t page_of(unsigned n)
{
	return slice_number[n / SPM_SLICE_PAGES] * SPM_SLICE_PAGES + n % SPM_SLICE_PAGES;
}

static void tell(pageno_t page, void *arg)
{
	unsigned slice = 0;

	(void)arg;
	while (slice_number[slice] != page / SPM_SLICE_PAGES)
		assert_true(++slice < SLICES);
	if (told && page <= told_last)
		fail_msg("page %u came after page %u", page, told_last);
	told_last = page;
	told++;
	was_told[slice * SPM_SLICE_PAGES + page % SPM_SLICE_PAGES] = true;
}

static void tell_touched(pageno_t page, bool is_live, bool was_member, void *arg)
{
	assert_false(is_live); /* there are no spans */
	assert_true(was_member);
	tell(page, arg);
}

static void tell_begin(void)
{
	told = 0;
	memset(was_told, 0, sizeof(was_told));
}

static void change(struct marks *m, uint64_t random)
{
	unsigned n = (unsigned)(random % PAGES);
	uint32_t run = 1 + (uint32_t)(random >> 40) % 200;

	switch (random >> 32 & 3) {
	case 0:
	case 1:
		spm_marks_set_member(m, page_of(n));
		is_member[n] = true;
		break;
	case 2:
		spm_marks_touch(m, page_of(n));
		is_touched[n] = true;
		break;
	default:
		run = run < SPM_SLICE_PAGES - n % SPM_SLICE_PAGES ? run : SPM_SLICE_PAGES - n % SPM_SLICE_PAGES;
		spm_marks_set_dirty(m, page_of(n), run);
		memset(is_dirty + n, true, run);
	}
}

static void dirty_take_and_compare(struct marks *m)
{
	tell_begin();
	spm_marks_take_dirty(m, tell, NULL);
	for (unsigned n = 0; n < PAGES; n++) {
		if (was_told[n] != (is_dirty[n] && (is_member[n] || is_touched[n])))
			fail_msg("page %u: dirty %d, member %d, touched %d, told %d", n, is_dirty[n], is_member[n],
			         is_touched[n], was_told[n]);
		is_touched[n] |= was_told[n];
		is_dirty[n] = false;
	}
}

static void touched_take_and_compare(struct marks *m)
{
	size_t touched = 0;

	for (unsigned n = 0; n < PAGES; n++)
		touched += is_touched[n];
	assert_int_equal(spm_marks_touched(m), touched);
	tell_begin();
	spm_marks_take_touched(m, tell_touched, NULL);
	for (unsigned n = 0; n < PAGES; n++) {
		if (was_told[n] != (is_touched[n] && is_member[n]))
			fail_msg("page %u: touched %d, member %d, told %d", n, is_touched[n], is_member[n],
			         was_told[n]);
		is_member[n] &= !is_touched[n];
		is_touched[n] = false;
	}
	assert_int_equal(spm_marks_touched(m), 0);
}

static void dirty_and_touched_pages_are_told_once_and_in_order(void **state)
{
	uint64_t random = test_seed();
	struct marks *m = spm_marks_new();

	(void)state;
	assert_non_null(m);
	assert_int_equal(spm_heap_init(), 0);
	for (unsigned s = 0; s < SLICES; s++) { /* writes to slices without marks are not kept */
		spm_marks_set_member(m, page_of(s * SPM_SLICE_PAGES));
		is_member[s * SPM_SLICE_PAGES] = true;
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (uint64_t i = 0, changes = test_random(&random) % CHANGES; i < changes; i++)
			change(m, test_random(&random));
		if (round % 3)
			dirty_take_and_compare(m);
		if (round % 4)
			touched_take_and_compare(m);
	}
	spm_marks_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(dirty_and_touched_pages_are_told_once_and_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
