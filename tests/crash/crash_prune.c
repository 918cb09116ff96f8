/* crash_prune.c - the power goes at any instant while versions are dropped at once, their space goes back to the volume, and another
 * container takes it: the newest version of each, and the one that has a branch, are there and whole.
 */
#include "branch_off.h"
#include "scratch.h"
#include "sim_driver.h"
#include "volume/volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 100, VERSIONS = 12, EVENTS_MOST = 200 };

static struct sim_log sim_log;
/* When an operation was begun, so many versions had been acknowledged; its mark tells which. */
static struct acked {
	uint64_t newest[2];
} acked[EVENTS_MOST], now;
static uint64_t events;

static void acknowledge(unsigned which, uint64_t version)
{
	now.newest[which] = version;
	assert_true(events + 1 < EVENTS_MOST);
	acked[++events] = now;
	sim_log.mark = events;
}

static uint64_t value_of(unsigned which, uint64_t version, unsigned page)
{
	return which * 1000000 + version * 1000 + page + 1;
}

static void commit(struct chain *c, unsigned which)
{
	static uint64_t data[PAGES][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change[PAGES];
	struct version_info info = {.versions_kept = 0};
	uint64_t version = now.newest[which] + 1;

	for (unsigned i = 0; i < PAGES; i++) {
		for (unsigned k = 0; k < SPM_PAGE_BYTES / 8; k += 8) /* all over */
			data[i][k] = value_of(which, version, i);
		change[i] = (struct page_change){.page = 500 + i, .data = data[i], .meta.span_pages = 1};
	}
	assert_int_equal(spm_chain_commit(c, change, PAGES, true, &info), 0);
	assert_int_equal(info.version, version);
	acknowledge(which, version);
}

static void run(void)
{
	struct retention one = {.versions_kept = 1};
	struct pruned pruned;
	struct chain *c[2], *third;
	struct volume *v;

	assert_int_equal(spm_volume_open(sim_record(&sim_log), VOLUME_CREATE | VOLUME_EAGER, &v), 0);
	assert_int_equal(spm_chain_create(v, 1, "main", &c[0]), 0);
	for (unsigned n = 0; n < VERSIONS; n++) {
		commit(c[0], 0);
		if (n == 2)
			assert_int_equal(branch_off(v, 1, c[0], "third", &third), 0);
	}
	spm_chain_close(third);
	spm_chain_retain(c[0], &one);
	for (unsigned turn = 0; turn < 2; turn++) {
		assert_int_equal(spm_chain_prune(c[0], false, &pruned), 0);
		assert_true(turn || (pruned.versions == VERSIONS - 2 && pruned.extents));
		if (!turn)
			assert_int_equal(spm_chain_create(v, 2, "main", &c[1]), 0);
		for (unsigned n = 0; n < 6; n++) {
			commit(c[1], 1);
			if (n % 2)
				commit(c[0], 0);
		}
	}
	spm_chain_close(c[1]);
	spm_chain_close(c[0]);
	spm_volume_close(v);
}

static void version_check(struct chain *c, unsigned which, uint64_t version)
{
	static uint64_t page[SPM_PAGE_BYTES / 8];

	for (unsigned i = 0; i < PAGES; i++) {
		memset(page, 0, sizeof(page));
		if (spm_chain_read(c, 500 + i, 1, page))
			fail_msg("%s", spm_volume_error());
		if (page[0] != value_of(which, version, i))
			fail_msg("container %u, version %llu, page %u is another one", which + 1,
			         (unsigned long long)version, i);
	}
}

static void container_check(struct volume *v, unsigned which, uint64_t newest, unsigned flags)
{
	struct version_info info;
	struct chain *c;

	if (!newest)
		return;
	if (spm_chain_open(v, (int)which + 1, "main", flags, 0, &c))
		fail_msg("container %u: %s", which + 1, spm_volume_error());
	assert_int_equal(spm_chain_newest(c, &info), 0);
	assert_in_range(info.version, newest, newest + 1);
	version_check(c, which, info.version);
	if (flags & CHAIN_WRITE)
		spm_chain_self_check(c);
	spm_chain_close(c);
}

static void state_check(unsigned char *image, uint64_t size, const struct acked *a)
{
	struct volume *v;
	struct chain *c;
	int err = spm_volume_open(sim_state_driver(image, size), VOLUME_CREATE | VOLUME_EAGER, &v);

	if (err && !a->newest[0])
		return; /* the volume was being made */
	if (err)
		fail_msg("%s", spm_volume_error());
	for (unsigned which = 0; which < 2; which++)
		container_check(v, which, a->newest[which], which ? 0 : CHAIN_WRITE);
	if (a->newest[0] > 3) {
		if (spm_chain_open(v, 1, "third", 0, 0, &c))
			fail_msg("%s", spm_volume_error());
		version_check(c, 0, 3);
		spm_chain_close(c);
	}
	spm_volume_close(v);
}

static void crash_check(const struct sim_crash *crash, void *arg)
{
	(void)arg;
	state_check(crash->state, crash->size, &acked[crash->mark]);
}

static void every_crash_leaves_what_was_kept(void **state)
{
	(void)state;
	run();
	sim_each_crash(&sim_log, test_number("SOFTPM_CRASH_STATES", 20000) / 4, test_seed(), crash_check, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_crash_leaves_what_was_kept)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
