/* test_ds_string.c - what <softpm/string.h> promises. */
#include "../../ds/string.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <stdlib.h>
#include <string.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

static void is(const struct pstring *s, const char *text)
{
	assert_true(spm_string_check(s));
	assert_string_equal(pstring_c_str(s), text);
	assert_int_equal(pstring_length(s), strlen(text));
}

static void a_zeroed_string_is_an_empty_one(void **state)
{
	struct pstring s = {0};

	(void)state;
	is(&s, "");
	assert_int_equal(pstring_find(&s, 0, "", 0), 0);
	assert_int_equal(pstring_find(&s, 0, "a", 1), PSTRING_NONE);
	assert_int_equal(pstring_compare(&s, &s), 0);
	assert_int_equal(pstring_remove(&s, 0, 0), 0);
	assert_int_equal(pstring_fit(&s), 0);
	assert_non_null(pstring_slice(&s, 0, 0).bytes);
	is(&s, "");
	assert_int_equal(pstring_append(&s, NULL, 0), 0);
	is(&s, "");
	assert_int_equal(pstring_add(&s, "now there is something"), 0);
	is(&s, "now there is something");
	pstring_clear(&s);
	is(&s, "");
}

static void text_is_put_together(void **state)
{
	struct pstring *s = pstring_from("one");

	(void)state;
	assert_int_equal(pstring_add(s, " three"), 0);
	assert_int_equal(pstring_insert(s, 3, " two", 4), 0);
	assert_int_equal(pstring_printf(s, ", %d, %s", 4, "five"), 0);
	is(s, "one two three, 4, five");
	assert_int_equal(pstring_insert(s, 0, "zero ", 5), 0);
	assert_int_equal(pstring_remove(s, 5, 4), 0);
	is(s, "zero two three, 4, five");
	assert_int_equal(pstring_set(s, "short", 5), 0);
	is(s, "short");
	pstring_free(s);
}

static void any_bytes_are_kept(void **state)
{
	struct pstring *s = pstring_of("a\0b", 3);

	(void)state;
	assert_int_equal(pstring_length(s), 3);
	assert_int_equal(pstring_append(s, "\0", 1), 0);
	assert_memory_equal(pstring_c_str(s), "a\0b\0", 5);
	assert_int_equal(pstring_find(s, 0, "b\0", 2), 2);
	assert_true(spm_string_check(s));
	pstring_free(s);
}

static void what_is_not_there_is_refused(void **state)
{
	struct pstring *s = pstring_from("text");

	(void)state;
	errno = 0;
	assert_int_equal(pstring_insert(s, 5, "x", 1), -1);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(pstring_remove(s, 2, 3), -1);
	assert_int_equal(pstring_remove(s, 2, SIZE_MAX), -1);
	assert_null(pstring_slice(s, 5, 0).bytes);
	assert_null(pstring_slice(s, 1, SIZE_MAX).bytes);
	assert_int_equal(errno, ERANGE);
	assert_int_equal(pstring_append(s, "x", SIZE_MAX), -1);
	assert_int_equal(pstring_reserve(s, SIZE_MAX), -1);
	assert_int_equal(errno, ENOMEM);
	is(s, "text");
	pstring_free(s);
}

static void a_string_takes_bytes_of_its_own(void **state)
{
	struct pstring *s = pstring_from("ab");

	(void)state;
	for (int i = 0; i < 12; i++)
		assert_int_equal(pstring_append(s, pstring_c_str(s), pstring_length(s)), 0);
	assert_int_equal(pstring_length(s), 2 << 12);
	for (size_t i = 0; i < pstring_length(s); i++)
		assert_int_equal(pstring_c_str(s)[i], "ab"[i % 2]);
	pstring_set(s, "abcdef", 6);
	assert_int_equal(pstring_insert(s, 3, pstring_c_str(s) + 1, 4), 0); /* on both sides of the gap */
	is(s, "abcbcdedef");
	assert_int_equal(pstring_insert(s, 0, pstring_c_str(s) + 8, 2), 0);
	is(s, "efabcbcdedef");
	assert_int_equal(pstring_set(s, pstring_c_str(s) + 2, 3), 0);
	is(s, "abc");
	assert_int_equal(pstring_printf(s, "%s%s", pstring_c_str(s), pstring_c_str(s)), 0);
	is(s, "abcabcabc");
	pstring_free(s);
}

static void order_is_that_of_bytes_and_length(void **state)
{
	struct pstring *a = pstring_from("abc"), *b = pstring_from("abcd"), *c = pstring_of("ab\xff", 3);

	(void)state;
	assert_true(pstring_compare(a, b) < 0 && pstring_compare(b, a) > 0);
	assert_true(pstring_compare(a, c) < 0 && pstring_compare(c, b) > 0);
	assert_int_equal(pstring_compare(a, a), 0);
	pstring_free(a);
	pstring_free(b);
	pstring_free(c);
}

static void bytes_are_found(void **state)
{
	struct pstring *s = pstring_from("abcabc");
	struct pstring_run slice;

	(void)state;
	assert_int_equal(pstring_find(s, 0, "bc", 2), 1);
	assert_int_equal(pstring_find(s, 2, "bc", 2), 4);
	assert_int_equal(pstring_find(s, 5, "bc", 2), PSTRING_NONE);
	assert_int_equal(pstring_find(s, 7, "", 0), PSTRING_NONE);
	slice = pstring_slice(s, 2, 3);
	assert_int_equal(slice.length, 3);
	assert_memory_equal(slice.bytes, "cab", 3);
	pstring_free(s);
}

static void memory_is_had_before_it_is_needed_and_given_back(void **state)
{
	struct pstring *s = pstring_from("text");
	const char *bytes;

	(void)state;
	assert_int_equal(pstring_reserve(s, 100000), 0);
	bytes = pstring_c_str(s);
	for (int i = 0; i < 49998; i++)
		assert_int_equal(pstring_add(s, "ab"), 0);
	assert_ptr_equal(pstring_c_str(s), bytes);
	assert_int_equal(pstring_remove(s, 4, 99996), 0);
	assert_int_equal(pstring_fit(s), 0);
	is(s, "text");
	assert_in_range(pUsableSize(pstring_c_str(s)), 5, 64);
	pstring_free(s);
}

/* It would be taken for one, in memory that is searched, and be zero after a restore if it led to where a library was. */
static void no_length_looks_like_an_address(void **state)
{
	struct pstring *s = pstring_make();

	(void)state;
	assert_int_equal(pstring_reserve(s, 6 << 20), 0);
	assert_true(spm_string_check(s) && s->marked_length >> 47 && s->marked_room >> 47);
	assert_int_equal(pstring_add(s, "text"), 0);
	assert_true(s->marked_length >> 47 && s->marked_room >> 47);
	pstring_free(s);
}

struct root {
	struct pstring *whole;
	struct pstring part;
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
	root->whole = pstring_from("one");
	for (int i = 0; i < 10000; i++)
		EXPECT(!pstring_printf(root->whole, " %d", i));
	EXPECT(!pstring_add(&root->part, "part") && pPointSync(id) && !pVClose());
	return 0;
}

static int come_back(const char *volume)
{
	const struct root *root;
	void *memory;

	EXPECT(!pVOpen(volume) && pCRestore(1, &memory));
	root = memory;
	EXPECT(spm_string_check(root->whole) && spm_string_check(&root->part));
	EXPECT(pstring_length(root->whole) == 3 + 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5);
	EXPECT(pstring_find(root->whole, 0, " 9998 9999", 10) != PSTRING_NONE);
	EXPECT(!strcmp(pstring_c_str(&root->part), "part") && !pVClose());
	return 0;
}

static void strings_come_back_in_another_process(void **state)
{
	const char *volume = scratch("strings");

	(void)state;
	in_process(keep, volume);
	in_process(come_back, volume);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_zeroed_string_is_an_empty_one),
	        cmocka_unit_test(text_is_put_together),
	        cmocka_unit_test(any_bytes_are_kept),
	        cmocka_unit_test(what_is_not_there_is_refused),
	        cmocka_unit_test(a_string_takes_bytes_of_its_own),
	        cmocka_unit_test(order_is_that_of_bytes_and_length),
	        cmocka_unit_test(bytes_are_found),
	        cmocka_unit_test(memory_is_had_before_it_is_needed_and_given_back),
	        cmocka_unit_test(no_length_looks_like_an_address),
	        cmocka_unit_test(strings_come_back_in_another_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
