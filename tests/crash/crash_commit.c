/* crash_commit.c - the power goes at any instant of a run of commits, and the newest version is one that was committed,
 * whole, and not older than the last acknowledged one.
 *
 * The run: two chains, small and large commits, at once and in batches, pages added, changed and removed, versions dropped, maps and indexes, and
 * commits while a map or index is being written. Its ledger says what each version of each chain holds. Then some states
 * are built for every operation (sim_driver.h), opened, and compared. On a sample the volume is opened for writing,
 * goes on, and is opened once more.
 */
#include "scratch.h"
#include "sim_driver.h"
#include "slices.h"
#include "volume/volume.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 96, VERSIONS = 120, CHAINS = 2 };

/* ledger[chain][version][page]: what fills the page (word_of); 0: it is not in the version. */
static uint64_t ledger[CHAINS][VERSIONS + 2][PAGES];
static struct sim_log sim_log;

/* The log's mark: for each chain, what was acknowledged. */
static uint64_t mark_of(const uint64_t *acked)
{
	return acked[0] | acked[1] << 32;
}

static uint64_t page_number(unsigned i)
{
	return i < PAGES - 4 ? 8000 + i * 5 : SPM_BLOB_PAGE + i;
}

/* All words have the upper bits; one, where the lower ones say, has these, too. */
static uint64_t word_of(uint64_t fill, unsigned w)
{
	return fill & (w == fill % 512 ? UINT64_MAX : ~UINT64_C(0xffff));
}

/* Often one that changes two words of the page, so that it is patched. */
static uint64_t fill_next(uint64_t fill, uint64_t r)
{
	return fill && r >> 40 & 1 ? (fill & ~UINT64_C(0xffff)) | (r & 0xffff) : r;
}

static void commit_random(struct chain *c, int chain, uint64_t version, uint64_t *random)
{
	static uint64_t data[PAGES][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change[PAGES];
	struct version_info info = {.versions_kept = 4, .time_ns = version, .branch = "main"};
	unsigned n = 0, most = test_random(random) % 6 ? 4 : 60;
	struct slices slices;

	memcpy(ledger[chain][version], ledger[chain][version - 1], sizeof(ledger[chain][version]));
	for (unsigned i = 0; i < PAGES && n < most; i++) {
		uint64_t r = test_random(random);

		if (r % PAGES >= most)
			continue;
		change[n] =
		        (struct page_change){.page = page_number(i), .data = data[n], .is_removed = (r >> 32) % 8 == 0};
		change[n].meta.span_pages = 1;
		r = fill_next(ledger[chain][version][i], r);
		for (unsigned w = 0; w < SPM_PAGE_BYTES / 8; w++)
			data[n][w] = word_of(r, w);
		ledger[chain][version][i] = change[n].is_removed ? 0 : r;
		n++;
	}
	slices = slices_of(change, n, test_random(random) % 2 ? SLICE_MOST : 1 + test_random(random) % 16);
	assert_int_equal(spm_chain_commit_from(c, &slices.source, true, &info), 0);
	assert_int_equal(info.version, version);
	spm_chain_self_check(c);
}

struct run {
	struct chain *c[CHAINS];
	uint64_t acked[CHAINS], random;
	unsigned commits_beside; /* maintenance */
};

static void commit_next(struct run *r, int chain)
{
	commit_random(r->c[chain], chain, r->acked[chain] + 1, &r->random);
	r->acked[chain]++;
	sim_log.mark = mark_of(r->acked);
}

/* In the midst of maintenance. */
static void commit_beside(void *arg)
{
	struct run *r = arg;
	int chain = (int)(test_random(&r->random) % CHAINS);

	if (test_random(&r->random) % 2) {
		sim_log.hook = commit_beside;
	} else if (r->acked[chain] < VERSIONS) {
		commit_next(r, chain);
		r->commits_beside++;
	}
}

static void maintain(struct run *r, int chain)
{
	bool again;

	sim_log.hook = commit_beside;
	sim_log.hook_arg = r;
	assert_int_equal(spm_chain_maintain(r->c[chain], test_random(&r->random) & 1, &again), 0);
	sim_log.hook = NULL;
	spm_chain_self_check(r->c[chain]);
}

static void run(uint64_t *random)
{
	struct run r = {.random = *random};
	struct volume *v;

	assert_int_equal(spm_volume_open(sim_record(&sim_log), VOLUME_CREATE | VOLUME_EAGER, &v), 0);
	for (int i = 0; i < CHAINS; i++)
		assert_int_equal(spm_chain_create(v, i + 1, "main", &r.c[i]), 0);
	while (r.acked[0] < VERSIONS || r.acked[1] < VERSIONS)
		for (int i = 0; i < CHAINS; i++) {
			if (r.acked[i] < VERSIONS)
				commit_next(&r, i);
			if (test_random(&r.random) % 5 == 0)
				maintain(&r, i);
		}
	assert_true(r.commits_beside > 4);
	for (int i = 0; i < CHAINS; i++)
		spm_chain_close(r.c[i]);
	spm_volume_close(v);
	*random = r.random;
}

/* more: pages that are in the version beside the ledger's. */
static void version_compare(struct chain *c, int chain, uint64_t version, uint64_t more)
{
	static uint64_t page[SPM_PAGE_BYTES / 8];
	uint64_t present = more;
	struct version_info info;

	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t expected = ledger[chain][version][i];

		present += expected != 0;
		memset(page, 0, sizeof(page));
		if (spm_chain_read(c, page_number(i), 1, page))
			fail_msg("chain %d version %llu: %s", chain, (unsigned long long)version, spm_volume_error());
		for (unsigned w = 0; w < SPM_PAGE_BYTES / 8; w++)
			if (page[w] != word_of(expected, w))
				fail_msg("chain %d version %llu page %u: expected %llx, found %llx", chain,
				         (unsigned long long)version, i, (unsigned long long)word_of(expected, w),
				         (unsigned long long)page[w]);
	}
	assert_int_equal(spm_chain_newest(c, &info), 0);
	assert_int_equal(info.pages, present);
}

/* Opens the state for writing, commits, closes, opens: nothing is in the way. */
static void go_on(unsigned char *state, uint64_t size, int chain, uint64_t version)
{
	static unsigned char data[SPM_PAGE_BYTES] __attribute__((aligned(4096)));
	struct page_change change = {.page = 7, .data = data, .meta.span_pages = 1};
	struct version_info info = {.versions_kept = 4, .branch = "main"};
	struct volume *v;
	struct chain *c = NULL;

	data[0] = (unsigned char)version;
	if (spm_volume_open(sim_state_driver(state, size), VOLUME_CREATE, &v) ||
	    spm_chain_open(v, chain + 1, "main", CHAIN_WRITE, 0, &c))
		fail_msg("going on: %s", spm_volume_error());
	spm_chain_self_check(c);
	assert_int_equal(spm_chain_commit(c, &change, 1, true, &info), 0);
	assert_int_equal(info.version, version + 1);
	version_compare(c, chain, version, 1);
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

static void state_check(unsigned char *state, uint64_t size, uint64_t mark, bool goes_on)
{
	uint64_t whole[CHAINS] = {0};
	struct volume *v;
	int err = spm_volume_open(sim_state_driver(state, size), VOLUME_READ_ONLY, &v);

	if (err && !mark) { /* the volume was being made: it can be made anew */
		if (spm_volume_open(sim_state_driver(state, size), VOLUME_CREATE, &v))
			fail_msg("making it anew: %s", spm_volume_error());
		spm_volume_close(v);
		return;
	}
	if (err)
		fail_msg("%s", spm_volume_error());
	for (int i = 0; i < CHAINS; i++) {
		uint64_t acked = mark >> (32 * i) & 0xffffffff;
		struct version_info info = {0};
		struct chain *c;

		err = spm_chain_open(v, i + 1, "main", 0, 0, &c);
		if (err == -ENOENT && !acked)
			continue;
		if (err)
			fail_msg("chain %d, version %llu acknowledged: %s", i, (unsigned long long)acked,
			         spm_volume_error());
		err = spm_chain_newest(c, &info);
		if (info.version < acked || info.version > acked + 1)
			fail_msg("chain %d: version %llu was acknowledged, %llu is back", i, (unsigned long long)acked,
			         (unsigned long long)info.version);
		if (!err)
			version_compare(c, i, info.version, 0);
		whole[i] = info.version;
		spm_chain_close(c);
	}
	spm_volume_close(v);
	for (int i = 0; goes_on && i < CHAINS; i++)
		if (whole[i])
			go_on(state, size, i, whole[i]);
}

static void crash_check(const struct sim_crash *crash, void *arg)
{
	(void)arg;
	state_check(crash->state, crash->size, crash->mark, crash->number % 64 == 0);
}

static void every_crash_leaves_a_whole_version(void **state)
{
	uint64_t random = test_seed();

	(void)state;
	run(&random);
	sim_each_crash(&sim_log, test_number("SOFTPM_CRASH_STATES", 20000), random, crash_check, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_crash_leaves_a_whole_version)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
