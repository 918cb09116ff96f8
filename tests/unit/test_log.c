/* test_log.c - the log of a branch: what was appended comes back, whole and in order, from any position that is kept; what is needless
 * goes, and so does its space; what is damaged is named.
 *
 * The model: the lengths and seeds of all inputs, and their positions.
 */
#include "scratch.h"
#include "volume/internal.h"
#include "volume/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CONTAINER = 5, INPUTS_MOST = 60000, GROUP_MOST = 8, LARGEST = 5 << 20, MEMORY_BYTES = 1 << 28 };
static const uint64_t branch_id = 0xabcdef;

static struct {
	uint64_t seed, end;
	size_t n;
} input[INPUTS_MOST];
static size_t inputs;
static uint64_t seed;
static unsigned char *room; /* for a group of inputs */

static void must(int err, const char *what)
{
	if (err)
		fail_msg("%s: %d, %s", what, err, spm_volume_error());
}

static struct volume *volume_make(struct driver **d)
{
	struct volume *v;

	assert_int_equal(spm_driver_memory_open(MEMORY_BYTES, d), 0);
	must(spm_volume_open(*d, VOLUME_CREATE | VOLUME_EAGER, &v), "a volume");
	return v;
}

static struct log *log_open(struct volume *v, uint64_t position)
{
	struct log *l;

	must(spm_log_open(v, CONTAINER, branch_id, position, 0, &l), "the log");
	return l;
}

static void bytes_fill(unsigned char *to, size_t n, uint64_t s)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)((s + i * 7) >> (i % 5));
}

/* Nothing, a few bytes, about what ends a page, many pages. */
static size_t length_random(void)
{
	switch (test_random(&seed) % 40) {
	case 0:
		return 0;
	case 1:
		return test_random(&seed) % 20000;
	case 2:
		return 4096 - 64 + test_random(&seed) % 80;
	default:
		return test_random(&seed) % 300;
	}
}

static void append(struct log *l, unsigned n, size_t length, uint64_t needless)
{
	struct log_input in[GROUP_MOST];
	unsigned char *to = room;

	assert_true(inputs + n <= INPUTS_MOST);
	for (unsigned i = 0; i < n; i++) {
		size_t bytes = length ? length : length_random();

		in[i] = (struct log_input){.bytes = to, .n = bytes, .next = i + 1 < n ? &in[i + 1] : NULL};
		input[inputs + i].n = bytes;
		input[inputs + i].seed = test_random(&seed);
		bytes_fill(to, bytes, input[inputs + i].seed);
		to += bytes;
	}
	must(spm_log_append(l, in, needless), "appending");
	for (unsigned i = 0; i < n; i++) {
		uint64_t before = inputs ? input[inputs - 1].end : 0;

		assert_true(in[i].end > before);
		input[inputs++].end = in[i].end;
	}
	assert_int_equal(spm_log_end(l), input[inputs - 1].end);
}

struct expected {
	size_t next, stop;
};

static int input_compare(const void *bytes, size_t n, uint64_t end, void *arg)
{
	static unsigned char right[LARGEST];
	struct expected *e = arg;
	size_t i = e->next++;

	assert_true(i < inputs);
	assert_int_equal((uintptr_t)bytes % 8, 0);
	assert_int_equal(n, input[i].n);
	assert_int_equal(end, input[i].end);
	bytes_fill(right, n, input[i].seed);
	assert_memory_equal(bytes, right, n);
	return e->next == e->stop ? 7 : 0;
}

/* From behind the input before `from` on. */
static void compare(struct volume *v, size_t from)
{
	struct expected e = {from, 0};

	must(spm_log_each(v, CONTAINER, branch_id, from ? input[from - 1].end : 0, input_compare, &e), "reading");
	assert_int_equal(e.next, inputs);
}

static void maintain(struct log *l)
{
	bool again = true;

	while (again)
		must(spm_log_maintain(l, true, &again), "maintaining");
}

static int none_expected(const void *bytes, size_t n, uint64_t end, void *arg)
{
	(void)bytes, (void)n, (void)end, (void)arg;
	fail_msg("an input where there is none");
	return 0;
}

static void what_was_appended_comes_back_in_order(void **state)
{
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct log *l;

	(void)state;
	seed = test_seed();
	inputs = 0;
	must(spm_log_each(v, CONTAINER, branch_id, 0, none_expected, NULL), "no log");
	l = log_open(v, 0);
	must(spm_log_each(v, CONTAINER, branch_id, 0, none_expected, NULL), "an empty log");
	for (unsigned round = 0; round < 400; round++) {
		append(l, 1 + (unsigned)(test_random(&seed) % GROUP_MOST), 0, 0);
		if (round % 3 == 0)
			maintain(l);
		if (round % 50 == 0) {
			spm_log_close(l);
			l = log_open(v, 12345678); /* it is there, and begins where it does */
			compare(v, 0);
		}
	}
	append(l, 1, LARGEST, 0);
	append(l, 2, 3 << 20, 0);
	append(l, 1, 0, 0);
	for (unsigned i = 0; i < 20; i++)
		compare(v, test_random(&seed) % inputs);
	compare(v, inputs);
	spm_log_close(l);
	assert_int_equal(spm_log_check(v, CONTAINER, "main", NULL, NULL), 0);
	spm_volume_close(v);
}

/* Each input ends a page exactly, or leaves so few bytes that the next header lies across the border. */
static void page_borders_are_nothing_special(void **state)
{
	static const size_t length[] = {4080, 4072, 4064, 4056, 8, 1, 0, 4096, 8176, 16, 24};
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct log *l = log_open(v, 0);

	(void)state;
	inputs = 0;
	seed = 1;
	for (unsigned i = 0; i < 300; i++) {
		struct log_input in = {.bytes = room, .n = length[i % 11]};

		input[inputs].n = in.n;
		input[inputs].seed = i;
		bytes_fill(room, in.n, i);
		must(spm_log_append(l, &in, 0), "appending");
		input[inputs++].end = in.end;
		if (i % 7 == 0) {
			spm_log_close(l);
			l = log_open(v, 0);
		}
	}
	for (size_t from = 0; from < inputs; from++)
		compare(v, from);
	spm_log_close(l);
	spm_volume_close(v);
}

static void a_log_begins_at_its_position(void **state)
{
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct expected e = {0, 0};
	struct log *l = log_open(v, 1000);
	uint64_t bytes;

	(void)state;
	seed = 2;
	inputs = 0;
	assert_int_equal(spm_log_end(l), 1000);
	spm_log_close(l); /* nothing was appended: it may begin elsewhere */
	l = log_open(v, 77776);
	append(l, 3, 0, 0);
	must(spm_log_each(v, CONTAINER, branch_id, 77776, input_compare, &e), "reading");
	assert_int_equal(e.next, 3);
	must(spm_log_bytes(v, CONTAINER, branch_id, 77776, &bytes), "bytes");
	assert_int_equal(bytes, input[2].end - 77776);
	assert_int_equal(spm_log_each(v, CONTAINER, branch_id, 77768, none_expected, NULL), -ENOENT);
	assert_int_equal(spm_log_each(v, CONTAINER, branch_id, 77784, none_expected, NULL), -EUCLEAN);
	assert_int_equal(spm_log_each(v, CONTAINER, branch_id, input[2].end + 8, none_expected, NULL), -EUCLEAN);
	spm_log_close(l);
	must(spm_log_delete(v, CONTAINER, branch_id), "deleting");
	must(spm_log_delete(v, CONTAINER, branch_id), "deleting none");
	must(spm_log_each(v, CONTAINER, branch_id, 5, none_expected, NULL), "no log");
	spm_volume_close(v);
}

static void a_log_ends_before_positions_do(void **state)
{
	const uint64_t position = (UINT64_C(1) << 63) - 4096;
	struct log_input in = {.bytes = "input", .n = 5000};
	struct expected e = {0, 0};
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct log *l = log_open(v, position);

	(void)state;
	seed = 3;
	inputs = 0;
	append(l, 1, 100, 0);
	in.bytes = room;
	assert_int_equal(spm_log_append(l, &in, 0), -EFBIG);
	spm_log_close(l);
	must(spm_log_each(v, CONTAINER, branch_id, position, input_compare, &e), "reading");
	assert_int_equal(e.next, 1);
	spm_volume_close(v);
}

static void a_replay_stops_where_it_is_told(void **state)
{
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct log *l = log_open(v, 0);
	struct expected e = {0, 5};

	(void)state;
	inputs = 0;
	append(l, 8, 100, 0);
	assert_int_equal(spm_log_each(v, CONTAINER, branch_id, 0, input_compare, &e), 7);
	assert_int_equal(e.next, 5);
	spm_log_close(l);
	spm_volume_close(v);
}

static size_t log_pages(struct volume *v)
{
	struct chain *c;
	size_t pages;

	must(spm_chain_open(v, CONTAINER, ":abcdef", 0, 0, &c), "the log's chain");
	pages = c->map.pages;
	spm_chain_close(c);
	return pages;
}

/* Much more than the volume's bytes goes through, and never more than a window of it is needed. */
static void needless_inputs_go_with_their_space(void **state)
{
	enum { WINDOW = 300 };
	struct volume_info info;
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct log *l = log_open(v, 0);

	(void)state;
	seed = test_seed();
	inputs = 0;
	for (unsigned round = 0; round < 6000; round++) {
		size_t oldest = inputs > WINDOW ? inputs - WINDOW : 0;

		append(l, 1 + round % 8, round % 100 == 99 ? 500000 : 0, oldest ? input[oldest - 1].end : 0);
		if (round % 16 == 0)
			maintain(l);
		if (round % 500 == 0) {
			compare(v, oldest);
			spm_log_close(l);
			l = log_open(v, 0);
		}
	}
	/* What is left to drop goes within a few commits. */
	for (unsigned i = 0; i < 600; i++)
		append(l, 1, 16, input[inputs - 1].end);
	assert_true(log_pages(v) <= 2);
	assert_int_equal(spm_log_each(v, CONTAINER, branch_id, input[inputs - 2000].end, none_expected, NULL), -ENOENT);
	maintain(l);
	must(spm_volume_info(v, &info), "info");
	assert_true((info.extents - info.free_extents) << 20 < MEMORY_BYTES / 4);
	spm_log_close(l);
	assert_int_equal(spm_log_check(v, CONTAINER, "main", NULL, NULL), 0);
	spm_volume_close(v);
}

/* One commit lets go of a bounded number of pages, however long the input was that they held. */
static void a_long_needless_input_goes_step_by_step(void **state)
{
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct log *l = log_open(v, 0);
	size_t pages;

	(void)state;
	inputs = 0;
	append(l, 1, LARGEST, 0);
	pages = log_pages(v);
	append(l, 1, 8, input[0].end);
	assert_in_range(pages - log_pages(v), 1, 40);
	assert_int_equal(spm_log_each(v, CONTAINER, branch_id, 0, none_expected, NULL), -ENOENT);
	compare(v, 1);
	for (unsigned i = 0; i < 100; i++)
		append(l, 1, 8, input[0].end);
	assert_true(log_pages(v) <= 3);
	compare(v, 1);
	spm_log_close(l);
	spm_volume_close(v);
}

/* The disk is full: the log is as it was, and goes on when there is room. */
static void a_full_disk_leaves_the_log_as_it_was(void **state)
{
	struct log_input large = {.bytes = room, .n = LARGEST};
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct log *l = log_open(v, 0);
	int err = 0;

	(void)state;
	inputs = 0;
	append(l, 3, 100, 0);
	while (!(err = spm_log_append(l, &large, 0)))
		assert_true(spm_log_end(l) < MEMORY_BYTES);
	assert_int_equal(err, -ENOSPC);
	inputs = 3;
	append(l, 8, 10, 0);
	spm_log_close(l);
	l = log_open(v, 0);
	append(l, 8, 10, 0);
	spm_log_close(l);
	spm_volume_close(v);
}

static int sentence_note(const char *sentence, void *arg)
{
	snprintf(arg, 800, "%s", sentence);
	return 0;
}

/* What the chain's own sums do not see: a log whose bytes contradict each other. */
static void a_log_that_contradicts_itself_is_refused(void **state)
{
	static unsigned char page[SPM_PAGE_BYTES] __attribute__((aligned(4096)));
	static const uint64_t wrong[][2] = {{8, 16}, {0, 1 << 30}, {0, UINT64_MAX - 7}, {UINT64_MAX, 4}};
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct page_change change = {.page = 0, .data = page};
	uint64_t position[3] = {0, 4000, 0};
	struct version_info info = {.versions_kept = 1};
	char sentence[800] = "";
	struct chain *main_chain, *c;
	char name[64];

	(void)state;
	must(spm_chain_create(v, CONTAINER, "main", &main_chain), "main");
	snprintf(name, sizeof(name), ":%llx", (unsigned long long)spm_chain_id(main_chain));
	must(spm_chain_create(v, CONTAINER, name, &c), "its log");
	for (unsigned i = 0; i < 8; i++) {
		memset(page, 0, sizeof(page));
		if (i < 4)
			memcpy(page, wrong[i], 16);
		position[1] = i == 4 ? 4001 : i == 5 ? UINT64_C(1) << 63 : i == 6 ? 3 * SPM_PAGE_BYTES : 4000;
		position[0] = i == 7 ? 4008 : 0;
		memcpy(info.message, position, sizeof(position));
		must(spm_chain_commit(c, &change, 1, true, &info), "a commit");
		assert_int_equal(
		        spm_log_each(v, CONTAINER, spm_chain_id(main_chain), i == 7 ? 4008 : 0, none_expected, NULL),
		        -EUCLEAN);
		assert_non_null(strstr(spm_volume_error(), "recorded inputs"));
		assert_int_equal(spm_log_check(v, CONTAINER, "main", sentence_note, sentence), 1);
		assert_non_null(strstr(sentence, "inputs of branch main: container 5"));
	}
	spm_chain_close(c);
	spm_chain_close(main_chain);
	spm_volume_close(v);
}

static int branch_note(int magic, const char *branch, void *arg)
{
	(void)magic;
	strcat(arg, branch);
	return 0;
}

/* Logs whose branch a crash has deleted without them go with the next branch, or the container. */
static void logs_go_with_their_branches(void **state)
{
	struct volume_info before, after;
	struct driver *d;
	struct volume *v = volume_make(&d);
	struct chain *main_chain, *branch;
	struct version_info info = {.versions_kept = 1};
	struct version_found at;
	char names[100] = "";
	struct log *l;
	uint64_t id;

	(void)state;
	must(spm_volume_info(v, &before), "info");
	must(spm_chain_create(v, CONTAINER, "main", &main_chain), "main");
	must(spm_chain_commit(main_chain, NULL, 0, true, &info), "a version");
	must(spm_version_find(v, CONTAINER, "main", BY_NUMBER, 1, &at), "it");
	must(spm_branch_create(v, CONTAINER, "try", &at), "a branch");
	must(spm_chain_open(v, CONTAINER, "try", CHAIN_WRITE, 0, &branch), "it");
	id = spm_chain_id(branch);
	spm_chain_close(branch);
	for (unsigned i = 0; i < 3; i++) { /* main's, the branch's, nobody's */
		inputs = 0;
		must(spm_log_open(v, CONTAINER,
		                  i == 0   ? spm_chain_id(main_chain)
		                  : i == 1 ? id
		                           : 99,
		                  0, 0, &l),
		     "a log");
		append(l, 1, 10, 0);
		if (i == 1)
			assert_int_equal(spm_branch_delete(v, CONTAINER, "try"), -EBUSY);
		spm_log_close(l);
	}
	must(spm_volume_each_chain(v, branch_note, names), "listing");
	assert_string_equal(names, "maintry");
	spm_chain_close(main_chain);
	must(spm_volume_info(v, &after), "info");
	assert_int_equal(after.chains, 5);
	must(spm_branch_delete(v, CONTAINER, "try"), "deleting a branch");
	must(spm_volume_info(v, &after), "info");
	assert_int_equal(after.chains, 2);
	must(spm_chain_delete(v, CONTAINER), "deleting all");
	must(spm_volume_info(v, &after), "info");
	assert_int_equal(after.extents - after.free_extents, before.extents - before.free_extents);
	spm_volume_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_was_appended_comes_back_in_order),
	        cmocka_unit_test(page_borders_are_nothing_special),
	        cmocka_unit_test(a_log_begins_at_its_position),
	        cmocka_unit_test(a_log_ends_before_positions_do),
	        cmocka_unit_test(a_replay_stops_where_it_is_told),
	        cmocka_unit_test(needless_inputs_go_with_their_space),
	        cmocka_unit_test(a_long_needless_input_goes_step_by_step),
	        cmocka_unit_test(a_full_disk_leaves_the_log_as_it_was),
	        cmocka_unit_test(a_log_that_contradicts_itself_is_refused),
	        cmocka_unit_test(logs_go_with_their_branches),
	};

	room = calloc(GROUP_MOST, LARGEST);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
