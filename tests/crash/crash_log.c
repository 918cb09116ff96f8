/* crash_log.c - the power goes at any instant while inputs are appended to a log, needless ones are let go, and its map and index are
 * written: every acknowledged input is there, once and in order; of the group under way all are there or none. And while branches and
 * their logs are deleted: no branch is there without its inputs.
 *
 * The run's ledger says how long each input is, what fills it, and where it ends. Then some states are built for every operation
 * (sim_driver.h), opened, and compared; a sample goes on from there.
 */
#include "scratch.h"
#include "sim_driver.h"
#include "volume/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CONTAINER = 3, BRANCH = 0x77, INPUTS = 1200, GROUP_MOST = 4, WINDOW = 60, LARGEST = 40000 };

static struct {
	uint64_t end;
	size_t n;
	unsigned char fill;
} ledger[INPUTS + GROUP_MOST + 1];
static uint64_t inputs;
static struct sim_log sim_log;

/* The log's mark: acknowledged inputs, those behind the group under way, and those that may be gone. */
static uint64_t mark_of(uint64_t under_way, uint64_t needless)
{
	return inputs | under_way << 20 | needless << 40;
}

static size_t length_random(uint64_t *random)
{
	uint64_t r = test_random(random);

	return r % 50 == 0 ? (r >> 32) % LARGEST : r % 7 == 0 ? 4000 + (r >> 32) % 200 : (r >> 32) % 200;
}

static void append(struct log *l, uint64_t *random)
{
	static unsigned char bytes[GROUP_MOST][LARGEST];
	struct log_input in[GROUP_MOST];
	uint64_t needless = inputs > WINDOW ? inputs - WINDOW : 0;
	unsigned n = 1 + (unsigned)(test_random(random) % GROUP_MOST);

	for (unsigned i = 0; i < n; i++) {
		ledger[inputs + i].n = length_random(random);
		ledger[inputs + i].fill = (unsigned char)test_random(random);
		memset(bytes[i], ledger[inputs + i].fill, ledger[inputs + i].n);
		in[i] = (struct log_input){bytes[i], ledger[inputs + i].n, 0, i + 1 < n ? &in[i + 1] : NULL};
	}
	sim_log.mark = mark_of(inputs + n, needless);
	assert_int_equal(spm_log_append(l, in, needless ? ledger[needless - 1].end : 0), 0);
	for (unsigned i = 0; i < n; i++)
		ledger[inputs++].end = in[i].end;
	sim_log.mark = mark_of(inputs, needless);
}

struct beside {
	struct log *l;
	uint64_t *random;
};

/* In the midst of maintenance. */
static void append_beside(void *arg)
{
	struct beside *b = arg;

	if (test_random(b->random) % 2 && inputs < INPUTS)
		append(b->l, b->random);
}

static void run(uint64_t *random)
{
	struct beside beside = {.random = random};
	struct volume *v;
	struct log *l;
	bool again;

	sim_log.mark = mark_of(0, 0);
	assert_int_equal(spm_volume_open(sim_record(&sim_log), VOLUME_CREATE | VOLUME_EAGER, &v), 0);
	assert_int_equal(spm_log_open(v, CONTAINER, BRANCH, 0, 0, &l), 0);
	while (inputs < INPUTS) {
		append(l, random);
		if (test_random(random) % 3)
			continue;
		beside.l = l;
		sim_log.hook = append_beside;
		sim_log.hook_arg = &beside;
		assert_int_equal(spm_log_maintain(l, test_random(random) & 1, &again), 0);
		sim_log.hook = NULL;
		if (test_random(random) % 8 == 0) {
			spm_log_close(l);
			assert_int_equal(spm_log_open(v, CONTAINER, BRANCH, 0, 0, &l), 0);
		}
	}
	spm_log_close(l);
	spm_volume_close(v);
}

static int input_compare(const void *bytes, size_t n, uint64_t end, void *arg)
{
	uint64_t i = (*(uint64_t *)arg)++;
	const unsigned char *b = bytes;

	if (i >= inputs || n != ledger[i].n || end != ledger[i].end)
		fail_msg("input %llu: %zu bytes to position %llu, expected %zu to %llu", (unsigned long long)i, n,
		         (unsigned long long)end, ledger[i].n, (unsigned long long)ledger[i].end);
	for (size_t k = 0; k < n; k++)
		if (b[k] != ledger[i].fill)
			fail_msg("input %llu: byte %zu is wrong", (unsigned long long)i, k);
	return 0;
}

/* How many there are. */
static uint64_t compare(struct volume *v, uint64_t from)
{
	uint64_t next = from;

	if (spm_log_each(v, CONTAINER, BRANCH, from ? ledger[from - 1].end : 0, input_compare, &next))
		fail_msg("%s", spm_volume_error());
	return next;
}

static void go_on(unsigned char *state, uint64_t size, uint64_t found)
{
	struct log_input in = {.bytes = "more", .n = 4};
	uint64_t bytes;
	struct volume *v;
	struct log *l = NULL;
	bool again = true;

	if (spm_volume_open(sim_state_driver(state, size), VOLUME_CREATE | VOLUME_EAGER, &v) ||
	    spm_log_open(v, CONTAINER, BRANCH, 0, 0, &l))
		fail_msg("going on: %s", spm_volume_error());
	assert_int_equal(spm_log_end(l), found ? ledger[found - 1].end : 0);
	assert_int_equal(spm_log_append(l, &in, found ? ledger[found - 1].end : 0), 0);
	while (again)
		assert_int_equal(spm_log_maintain(l, true, &again), 0);
	assert_int_equal(spm_log_bytes(v, CONTAINER, BRANCH, found ? ledger[found - 1].end : 0, &bytes), 0);
	assert_int_equal(bytes, 24);
	spm_log_close(l);
	spm_volume_close(v);
}

static void state_check(unsigned char *state, uint64_t size, uint64_t mark, bool is_thorough)
{
	uint64_t acked = mark & 0xfffff, under_way = mark >> 20 & 0xfffff, needless = mark >> 40, found;
	struct volume *v;
	int err = spm_volume_open(sim_state_driver(state, size), VOLUME_READ_ONLY, &v);

	if (err && !acked)
		return; /* the volume was being made */
	if (err)
		fail_msg("%s", spm_volume_error());
	found = compare(v, needless);
	if (found != acked && found != under_way)
		fail_msg("%llu inputs were acknowledged, %llu were under way, %llu are there",
		         (unsigned long long)acked, (unsigned long long)under_way, (unsigned long long)found);
	spm_volume_close(v);
	if (is_thorough)
		go_on(state, size, found);
}

static void crash_check(const struct sim_crash *crash, void *arg)
{
	(void)arg;
	state_check(crash->state, crash->size, crash->mark, crash->number % 16 == 0);
}

static void every_crash_leaves_all_acknowledged_inputs(void **state)
{
	uint64_t random = test_seed();

	(void)state;
	run(&random);
	sim_each_crash(&sim_log, test_number("SOFTPM_CRASH_STATES", 20000), random, crash_check, NULL);
	printf("%llu inputs\n", (unsigned long long)inputs);
}

/* ---- deleting ---- */

/* What had been done when an operation was begun. */
enum { BEING_MADE, BRANCH_GOES, ALL_GOES, ALL_IS_GONE };

static struct log *log_make(struct volume *v, struct chain *c, const char *text)
{
	struct log_input in = {.bytes = text, .n = strlen(text)};
	struct log *l;

	assert_int_equal(spm_log_open(v, CONTAINER, spm_chain_id(c), 0, 0, &l), 0);
	assert_int_equal(spm_log_append(l, &in, 0), 0);
	return l;
}

static void deleting_run(void)
{
	struct version_info info = {.versions_kept = 4};
	struct version_found at;
	struct volume *v;
	struct chain *c, *branch;

	sim_log = (struct sim_log){.mark = BEING_MADE};
	assert_int_equal(spm_volume_open(sim_record(&sim_log), VOLUME_CREATE | VOLUME_EAGER, &v), 0);
	assert_int_equal(spm_chain_create(v, CONTAINER, "main", &c), 0);
	assert_int_equal(spm_chain_commit(c, NULL, 0, true, &info), 0);
	assert_int_equal(spm_version_find(v, CONTAINER, "main", BY_NUMBER, 1, &at), 0);
	assert_int_equal(spm_branch_create(v, CONTAINER, "b", &at), 0);
	assert_int_equal(spm_chain_open(v, CONTAINER, "b", CHAIN_WRITE, 0, &branch), 0);
	spm_log_close(log_make(v, c, "main"));
	spm_log_close(log_make(v, branch, "b"));
	spm_chain_close(branch);
	spm_chain_close(c);
	sim_log.mark = BRANCH_GOES;
	assert_int_equal(spm_branch_delete(v, CONTAINER, "b"), 0);
	sim_log.mark = ALL_GOES;
	assert_int_equal(spm_chain_delete(v, CONTAINER), 0);
	sim_log.mark = ALL_IS_GONE;
	spm_volume_close(v);
}

static int text_compare(const void *bytes, size_t n, uint64_t end, void *arg)
{
	const char **text = arg;

	(void)end;
	assert_true(*text && n == strlen(*text) && !memcmp(bytes, *text, n));
	*text = NULL;
	return 0;
}

/* A branch that is there has all its inputs. Whether it is. */
static bool branch_check(struct volume *v, const char *branch)
{
	const char *text = branch;
	struct chain *c;
	int err = spm_chain_open(v, CONTAINER, branch, 0, 0, &c);

	if (err == -ENOENT)
		return false;
	if (err || spm_log_each(v, CONTAINER, spm_chain_id(c), 0, text_compare, &text))
		fail_msg("%s: %s", branch, spm_volume_error());
	if (text)
		fail_msg("%s is there without its inputs", branch);
	spm_chain_close(c);
	return true;
}

static void deleting_check(unsigned char *state, uint64_t size, uint64_t mark)
{
	struct volume_info info;
	struct volume *v;
	bool has_main, has_b;
	int err;

	if (mark == BEING_MADE)
		return;
	assert_int_equal(spm_volume_open(sim_state_driver(state, size), 0, &v), 0);
	has_main = branch_check(v, "main");
	has_b = branch_check(v, "b");
	assert_true(mark == BRANCH_GOES ? has_main : !has_b);
	assert_true(mark != ALL_IS_GONE || !has_main);
	err = spm_chain_delete(v, CONTAINER); /* logs without branches, too */
	assert_true(err == 0 || (err == -ENOENT && !has_main));
	assert_int_equal(spm_volume_info(v, &info), 0);
	assert_int_equal(info.chains, 0);
	assert_int_equal(info.free_extents, info.extents);
	spm_volume_close(v);
}

static void deleting_crash_check(const struct sim_crash *crash, void *arg)
{
	(void)arg;
	deleting_check(crash->state, crash->size, crash->mark);
}

static void no_crash_leaves_a_branch_without_its_inputs(void **state)
{
	uint64_t each = test_number("SOFTPM_CRASH_STATES", 20000) / 200 + 1;

	(void)state;
	deleting_run();
	sim_each_crash(&sim_log, each * (sim_log.ops + 1), test_seed(), deleting_crash_check, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_crash_leaves_all_acknowledged_inputs),
	                                   cmocka_unit_test(no_crash_leaves_a_branch_without_its_inputs)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
