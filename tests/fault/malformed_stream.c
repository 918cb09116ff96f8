/* malformed_stream.c - whatever happened to a stream on its way, an import refuses it, or what it gives is what was exported; and the
 * volume is whole. Also of a stream whose checksums are right and whose content means harm.
 */
#include "scratch.h"
#include "sim_driver.h"
#include "streams.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static unsigned char bytes[SIM_BYTES_MOST];
static uint64_t used;

static struct volume *volume_make(void)
{
	struct volume *v;

	memset(bytes, 0, used);
	if (spm_volume_open(sim_state_driver(bytes, 0), VOLUME_CREATE | VOLUME_EAGER, &v))
		fail_msg("%s", spm_volume_error());
	return v;
}

static void volume_end(struct volume *v)
{
	struct volume_info info;

	assert_int_equal(spm_volume_info(v, &info), 0);
	used = info.bytes;
	spm_volume_close(v);
}

static int damage_print(const char *sentence, void *arg)
{
	(void)arg;
	fprintf(stderr, "%s\n", sentence);
	return 0;
}

static int branch_check(int magic, const char *branch, void *arg)
{
	uint64_t newest;

	return branch ? spm_volume_check(arg, magic, branch, damage_print, NULL, &newest) : 1;
}

/* All that there is is whole. */
static void volume_check(struct volume *v, const char *what, uint64_t at)
{
	if (spm_volume_each_chain(v, branch_check, v))
		fail_msg("after the import with %s %llu the volume is damaged", what, (unsigned long long)at);
}

static int example(struct told *told)
{
	struct volume *v = volume_make();
	int fd;

	if (history_make(v))
		fail_msg("%s", spm_volume_error());
	fd = history_stream(v);
	if (fd < 0)
		fail_msg("%s", pErrorMsg());
	assert_int_equal(told_read(v, told), 0);
	volume_end(v);
	return fd;
}

static void it_arrives(void **state)
{
	struct told there, here;
	int fd = example(&there);
	struct volume *v = volume_make();

	(void)state;
	for (unsigned i = 0; i < 2; i++) { /* the second time it is there already */
		if (stream_import(v, fd))
			fail_msg("%s", pErrorMsg());
		assert_int_equal(told_read(v, &here), 0);
		assert_true(told_are_same(&there, &here));
		told_free(&here);
	}
	volume_check(v, "nothing", 0);
	told_free(&there);
	volume_end(v);
	close(fd);
}

static void any_flipped_byte_is_refused(void **state)
{
	struct told told;
	int fd = example(&told);
	off_t length = lseek(fd, 0, SEEK_END);

	(void)state;
	for (off_t at = 0; at < length; at++) {
		struct volume *v = volume_make();
		unsigned char is, bad;

		assert_int_equal(pread(fd, &is, 1, at), 1);
		bad = is ^ (unsigned char)(1 << at % 8);
		assert_int_equal(pwrite(fd, &bad, 1, at), 1);
		if (!stream_import(v, fd))
			fail_msg("byte %lld was flipped, and the stream was imported", (long long)at);
		if (at % 16 == 0)
			volume_check(v, "flipped byte", (uint64_t)at);
		assert_int_equal(pwrite(fd, &is, 1, at), 1);
		volume_end(v);
	}
	told_free(&told);
	close(fd);
}

/* What came of the content with a change at `at`: versions of the example, or refused. */
static bool is_taken(const unsigned char *content, size_t n, const char *what, uint64_t at)
{
	struct volume *v = volume_make();
	int fd = stream_pack(content, n), result;

	assert_true(fd >= 0);
	result = stream_import(v, fd);
	volume_check(v, what, at);
	volume_end(v);
	close(fd);
	return !result;
}

/* A byte may be part of a text or time, which can be any: then that is what is there. */
static void any_changed_item_is_refused_or_makes_sense(void **state)
{
	struct told told;
	int fd = example(&told);
	size_t n, taken = 0;
	unsigned char *content = stream_unpack(fd, &n);

	(void)state;
	assert_non_null(content);
	for (size_t at = 0, step; at < n; at += step) {
		bool is_page = n - at > 512 && !memcmp(content + at, content + at + 256, 256); /* for the most part */

		step = is_page ? 251 : 1;
		content[at] ^= (unsigned char)(1 << at % 8);
		taken += is_taken(content, n, "changed byte", at);
		content[at] ^= (unsigned char)(1 << at % 8);
		if (is_page || at % 4)
			continue;
		content[at] = ~content[at];
		taken += is_taken(content, n, "inverted byte", at);
		content[at] = ~content[at];
	}
	printf("%zu of some %zu changes made sense\n", taken, n);
	assert_true(is_taken(content, n, "nothing at", 0));
	free(content);
	told_free(&told);
	close(fd);
}

static void content_that_ends_anywhere_is_refused(void **state)
{
	struct told told;
	int fd = example(&told);
	size_t n;
	unsigned char *content = stream_unpack(fd, &n);

	(void)state;
	assert_non_null(content);
	for (size_t at = 0; at < n; at += at % 64 ? 1 : 63)
		assert_false(is_taken(content, at, "an end at", at));
	content = realloc(content, n + 8);
	memset(content + n, 0, 8);
	assert_false(is_taken(content, n + 8, "more than", n));
	free(content);
	told_free(&told);
	close(fd);
}

static size_t item_bytes(uint64_t kind)
{
	static const size_t of[] = {[ITEM_HEAD] = sizeof(struct item_head),
	                            [ITEM_VERSION] = sizeof(struct item_version),
	                            [ITEM_PAGE] = sizeof(struct item_page) + SPM_PAGE_BYTES,
	                            [ITEM_META] = sizeof(struct item_page),
	                            [ITEM_GONE] = sizeof(uint64_t),
	                            [ITEM_COMMIT] = sizeof(uint64_t),
	                            [ITEM_TAG] = sizeof(struct item_name),
	                            [ITEM_BRANCH] = sizeof(struct item_name),
	                            [ITEM_END] = sizeof(uint64_t)};

	assert_in_range(kind, ITEM_HEAD, ITEM_END);
	return sizeof(uint64_t) + of[kind];
}

/* Without one of its pages, or with one twice, a version is another one. Names alone may be missing. */
static void no_item_can_be_left_out_or_come_twice(void **state)
{
	struct told told;
	int fd = example(&told);
	size_t n, bytes_of, seen[ITEM_END + 1] = {0};
	unsigned char *content = stream_unpack(fd, &n), *other = malloc(n * 2);
	uint64_t kind;

	(void)state;
	assert_non_null(content);
	for (size_t at = 0; at < n; at += bytes_of) {
		bool is_name;

		memcpy(&kind, content + at, sizeof(kind));
		bytes_of = item_bytes(kind);
		seen[kind]++;
		is_name = kind == ITEM_TAG || kind == ITEM_BRANCH;
		memcpy(other, content, at);
		memcpy(other + at, content + at + bytes_of, n - at - bytes_of);
		if (kind != ITEM_TAG && (kind != ITEM_BRANCH) && is_taken(other, n - bytes_of, "a missing item at", at))
			fail_msg("without the item of kind %d at %zu it was imported", (int)kind, at);
		memcpy(other, content, at + bytes_of);
		memcpy(other + at + bytes_of, content + at, n - at);
		if (is_taken(other, n + bytes_of, "an item twice at", at) != is_name)
			fail_msg("an item of kind %d twice, at %zu, was %s", (int)kind, at,
			         is_name ? "refused" : "imported");
	}
	for (unsigned i = ITEM_HEAD; i <= ITEM_END; i++)
		assert_true(seen[i]); /* the example has all kinds */
	free(other);
	free(content);
	told_free(&told);
	close(fd);
}

/* Also if the state was made to fit: a page that is told twice would be written twice and its block given back twice. */
static void a_page_is_not_told_twice_though_all_else_fits(void **state)
{
	struct told told;
	int fd = example(&told);
	size_t n, at = 0, page, bytes_of;
	unsigned char *content = stream_unpack(fd, &n), *other = malloc(n * 2);
	struct item_page item;
	uint64_t kind = 0, sum;

	(void)state;
	assert_non_null(content);
	for (; kind != ITEM_PAGE; at += item_bytes(kind))
		memcpy(&kind, content + at, sizeof(kind));
	bytes_of = item_bytes(ITEM_PAGE);
	page = at - bytes_of;
	memcpy(&item, content + page + sizeof(kind), sizeof(item));
	memcpy(other, content, at);
	memcpy(other + at, content + page, n - page);
	for (at = page; kind != ITEM_COMMIT; at += item_bytes(kind))
		memcpy(&kind, other + at, sizeof(kind));
	at -= sizeof(sum);
	memcpy(&sum, other + at, sizeof(sum));
	sum += spm_state_of(&item);
	memcpy(other + at, &sum, sizeof(sum));
	assert_false(is_taken(other, n + bytes_of, "a page twice at", at));
	assert_non_null(strstr(pErrorMsg(), "not in order"));
	free(other);
	free(content);
	told_free(&told);
	close(fd);
}

/* Each may be what any point makes, but no point could follow. */
static void numbers_leave_room_for_those_that_follow(void **state)
{
	const uint64_t most = INT64_MAX / 2;
	struct told told;
	int fd = example(&told);
	size_t n, at = 0, bytes_of = 0;
	unsigned char *content = stream_unpack(fd, &n);
	struct item_version v;
	uint64_t kind = 0;

	(void)state;
	assert_non_null(content);
	for (; kind != ITEM_VERSION; at += bytes_of) {
		memcpy(&kind, content + at, sizeof(kind));
		bytes_of = item_bytes(kind);
	}
	at -= sizeof(v);
	memcpy(&v, content + at, sizeof(v));
	v.info.version = most + 1;
	memcpy(content + at, &v, sizeof(v));
	assert_false(is_taken(content, n, "a number at", at));
	assert_non_null(strstr(pErrorMsg(), "makes no sense"));
	v.info.version = 1;
	v.info.input = most + 1;
	memcpy(content + at, &v, sizeof(v));
	assert_false(is_taken(content, n, "a position at", at));
	assert_non_null(strstr(pErrorMsg(), "makes no sense"));
	v.info.input = most - 7;
	memcpy(content + at, &v, sizeof(v));
	assert_true(is_taken(content, n, "a position at", at));
	free(content);
	told_free(&told);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(it_arrives),
	        cmocka_unit_test(any_flipped_byte_is_refused),
	        cmocka_unit_test(any_changed_item_is_refused_or_makes_sense),
	        cmocka_unit_test(no_item_can_be_left_out_or_come_twice),
	        cmocka_unit_test(a_page_is_not_told_twice_though_all_else_fits),
	        cmocka_unit_test(content_that_ends_anywhere_is_refused),
	        cmocka_unit_test(numbers_leave_room_for_those_that_follow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
