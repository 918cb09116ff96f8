/* crash_open.c - a process is killed in the midst of a write, the next one opens the chain and goes on, and then the power goes. What the
 * killed one left in the device's cache only, or in one of two copies, the next one has seen, and builds on it.
 *
 *   first life    commits, maps and indexes; killed in its 1st, 2nd, 3rd, ... write
 *   second life   opens, which writes nothing, and then (enum then) commits; or writes an index first; or asks that what it found be
 *                 durable; or makes a branch, or a tag, of it; or prunes
 *
 * Then some states are built for every operation of the second life (sim_driver.h): each has a version that was committed, whole, and not
 * older than the last acknowledged one; a branch or tag that is there has its version; and once it has written anything all that is so, too, if
 * the first copy of the head is damaged.
 */
#include "scratch.h"
#include "sim_driver.h"
#include "volume/format.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	CONTAINER = 1,
	OTHER = 2,
	PAGES = 90,
	FIRST_PAGE = 8000,
	FIRST_COMMITS = 16,
	SECOND_COMMITS = 8,
	VERSIONS = FIRST_COMMITS + SECOND_COMMITS + 2
};
enum then { THEN_COMMIT, THEN_INDEX, THEN_SETTLE, THEN_BRANCH, THEN_TAG, THEN_PRUNE, THENS };

static const uint64_t settled = UINT64_C(1) << 32;
static struct sim_log
        sim_log; /* its mark: the newest version that was acknowledged, and whether one of the second life was */
static uint64_t ledger[VERSIONS][PAGES];

static int commit(struct chain *c, uint64_t version, uint64_t *random)
{
	static uint64_t data[PAGES][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change[PAGES];
	struct version_info info = {.versions_kept = 2, .time_ns = version, .branch = "main"};
	unsigned most = test_random(random) % 6 ? 4 : 80; /* 80: not all of it in one write */
	size_t n = 0;
	int err;

	memcpy(ledger[version], ledger[version - 1], sizeof(ledger[version]));
	for (unsigned i = 0; i < PAGES; i++) {
		if (test_random(random) % PAGES >= most)
			continue;
		change[n] = (struct page_change){.page = FIRST_PAGE + i, .data = data[n], .meta.span_pages = 1};
		ledger[version][i] = data[n++][0] = test_random(random);
	}
	err = spm_chain_commit(c, change, n, true, &info);
	if (!err)
		sim_log.mark = version;
	return err;
}

static void first_commits(struct chain *c, uint64_t *random)
{
	bool again;

	for (uint64_t version = 1; version <= FIRST_COMMITS && !commit(c, version, random); version++)
		if (test_random(random) % 2 && spm_chain_maintain(c, true, &again))
			return;
}

static void second_commits(struct chain *c, uint64_t found, uint64_t *random)
{
	bool again;

	for (uint64_t version = found + 1; version <= found + SECOND_COMMITS; version++) {
		assert_int_equal(commit(c, version, random), 0);
		sim_log.mark |= settled;
		if (test_random(random) % 8 == 0)
			assert_int_equal(spm_chain_maintain(c, true, &again), 0);
	}
}

/* Extents that are free: a chain that is made need not wait for the volume to grow. */
static int room_make(struct volume *v)
{
	struct chain *c[2];
	int err = spm_chain_create(v, OTHER, "main", &c[0]);

	if (err)
		return err;
	err = spm_chain_create(v, OTHER, "b", &c[1]);
	spm_chain_close(c[0]);
	if (err)
		return err;
	spm_chain_close(c[1]);
	return 0;
}

/* Returns the volume's length. */
static uint64_t first_life(unsigned char *bytes, uint64_t random)
{
	struct driver *driver = sim_record_on(&sim_log, bytes, 0);
	struct volume *v;
	struct chain *c;
	uint64_t size = 0;

	if (spm_volume_open(driver, VOLUME_CREATE | VOLUME_EAGER, &v))
		return 0;
	if (!room_make(v) && !spm_chain_create(v, CONTAINER, "main", &c)) {
		if (!spm_chain_delete(v, OTHER))
			first_commits(c, &random);
		spm_chain_close(c);
	}
	driver->ops->size(driver, &size);
	spm_volume_close(v);
	return size;
}

static int tag_put(struct refs *refs, void *arg)
{
	const struct version_found *at = arg;

	return spm_refs_put(refs, &(struct ref){.name = "tag",
	                                        .chain_id = at->chain_id,
	                                        .seq = at->seq,
	                                        .version = at->info.version,
	                                        .kind = REF_TAG});
}

static void then_do(struct volume *v, struct chain *c, enum then then, const struct version_found *at)
{
	struct version_found found = *at;
	struct pruned pruned;
	bool again = then == THEN_INDEX;

	while (again)
		assert_int_equal(spm_chain_maintain(c, true, &again), 0);
	if (then == THEN_SETTLE) {
		assert_int_equal(spm_chain_settle(c), 0);
		sim_log.mark = at->info.version;
	}
	if (then == THEN_BRANCH)
		assert_int_equal(spm_branch_create(v, CONTAINER, "branch", at), 0);
	if (then == THEN_TAG)
		assert_int_equal(spm_refs_change(v, CONTAINER, tag_put, &found), 0);
	if (then == THEN_PRUNE) {
		spm_chain_retain(c, &(struct retention){.versions_kept = 1});
		assert_int_equal(spm_chain_prune(c, false, &pruned), 0);
		spm_chain_retain(c, NULL);
	}
}

/* Returns the version that it found, 0: none, and nothing is done. */
static uint64_t second_life(unsigned char *bytes, uint64_t size, enum then then, uint64_t random)
{
	struct version_found at = {.seq = 0};
	struct volume *v;
	struct chain *c;
	size_t ops;

	if (spm_volume_open(sim_record_on(&sim_log, bytes, size), VOLUME_CREATE | VOLUME_EAGER, &v))
		fail_msg("after the kill: %s", spm_volume_error());
	ops = sim_log.ops;
	if (!spm_chain_open(v, CONTAINER, "main", CHAIN_WRITE, 0, &c)) {
		assert_int_equal(sim_log.ops, ops);
		if (!spm_chain_newest_found(c, &at)) {
			assert_in_range(at.info.version, sim_log.mark, sim_log.mark + 1);
			then_do(v, c, then, &at);
			second_commits(c, at.info.version, &random);
			spm_chain_self_check(c);
		}
		spm_chain_close(c);
	}
	spm_volume_close(v);
	return at.info.version;
}

static void version_compare(struct chain *c, uint64_t version)
{
	static uint64_t page[SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));

	for (unsigned i = 0; i < PAGES; i++) {
		memset(page, 0, sizeof(page));
		if (spm_chain_read(c, FIRST_PAGE + i, 1, page))
			fail_msg("version %llu: %s", (unsigned long long)version, spm_volume_error());
		if (page[0] != ledger[version][i])
			fail_msg("version %llu: page %u is another one", (unsigned long long)version, i);
	}
}

/* newest: of those that were committed, or found. */
static void main_check(struct volume *v, uint64_t acked, uint64_t newest)
{
	struct version_info info = {0};
	struct chain *c;

	if (spm_chain_open(v, CONTAINER, "main", 0, 0, &c))
		fail_msg("version %llu was acknowledged: %s", (unsigned long long)acked, spm_volume_error());
	if (!spm_chain_newest(c, &info))
		version_compare(c, info.version);
	assert_in_range(info.version, acked, newest + 1);
	spm_chain_close(c);
}

static void branch_check(struct volume *v, uint64_t found)
{
	struct version_info info = {0};
	struct chain *c;
	int err = spm_chain_open(v, CONTAINER, "branch", 0, 0, &c);

	if (err == -ENOENT)
		return;
	if (err || spm_chain_newest(c, &info))
		fail_msg("the branch: %s", spm_volume_error());
	assert_int_equal(info.version, found);
	version_compare(c, found);
	spm_chain_close(c);
}

static void tag_check(struct volume *v, uint64_t found)
{
	struct refs refs;
	struct chain *c;

	assert_int_equal(spm_refs_load(v, CONTAINER, &refs), 0);
	if (spm_refs_find(&refs, REF_TAG, "tag")) {
		if (spm_chain_open_version(v, CONTAINER, "main", found, &c))
			fail_msg("what is tagged: %s", spm_volume_error());
		version_compare(c, found);
		spm_chain_close(c);
	}
	spm_refs_free(&refs);
}

/* As a process finds it that only reads, and as one that goes on. */
static void state_check(unsigned char *image, uint64_t size, uint64_t acked, uint64_t found)
{
	struct volume *v;
	struct chain *c = NULL;

	if (spm_volume_open(sim_state_driver(image, size), VOLUME_READ_ONLY, &v))
		fail_msg("%s", spm_volume_error());
	main_check(v, acked, acked > found ? acked : found);
	branch_check(v, found);
	tag_check(v, found);
	spm_volume_close(v);
	if (spm_volume_open(sim_state_driver(image, size), VOLUME_CREATE | VOLUME_EAGER, &v) ||
	    spm_chain_open(v, CONTAINER, "main", CHAIN_WRITE, 0, &c))
		fail_msg("to go on: %s", spm_volume_error());
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* The first copy of that of the branch main is. */
static void head_damage(unsigned char *image, uint64_t size)
{
	for (uint64_t at = 0; at + SPM_BLOCK_BYTES <= size; at += SPM_BLOCK_BYTES) {
		const struct chain_head *head = (const void *)(image + at);

		if (head->magic != FORMAT_HEAD_MAGIC || head->container != CONTAINER || strcmp(head->branch, "main"))
			continue;
		memset(image + at, 0, SPM_BLOCK_BYTES);
		return;
	}
}

/* From the first commit, map or index on, the parts of large ones being written before all else; but not while the head is. */
static bool may_be_damaged(const struct sim_op *op)
{
	bool is_head = op->data && *(const uint64_t *)(const void *)op->data == FORMAT_HEAD_MAGIC;

	return (op->mark & settled || op->kind == SIM_WRITE) && !is_head;
}

struct trial {
	uint64_t random, each, states;
	unsigned char *bytes, *image;
	struct sim_disk disk;
};

static void lives_check(struct trial *t, size_t from, uint64_t found)
{
	memset(t->disk.stable, 0, SIM_BYTES_MOST);
	for (size_t i = 0; i <= sim_log.ops; i++) {
		uint64_t mark = i < sim_log.ops ? sim_log.op[i].mark : sim_log.mark;

		for (uint64_t n = 0; i >= from && n < t->each; n++, t->states++) {
			uint64_t size = sim_disk_crash(&t->disk, &sim_log, t->image, &t->random);

			if (n % 2 && i < sim_log.ops && may_be_damaged(&sim_log.op[i]))
				head_damage(t->image, size);
			state_check(t->image, size, mark & ~settled, found);
		}
		if (i < sim_log.ops)
			sim_disk_advance(&t->disk, &sim_log);
	}
}

/* False: the first life was over before. */
static bool lives(struct trial *t, size_t kill_after, enum then then, uint64_t seed)
{
	uint64_t size, found = 0;
	size_t from;
	bool was_killed;

	memset(t->bytes, 0, SIM_BYTES_MOST);
	sim_log = (struct sim_log){.kill_after = kill_after};
	size = first_life(t->bytes, seed);
	was_killed = sim_log.is_dead;
	from = sim_log.ops;
	sim_log.kill_after = 0;
	sim_log.is_dead = false;
	if (was_killed)
		found = second_life(t->bytes, size, then, seed + 1);
	if (found)
		lives_check(t, from, found);
	sim_free(&sim_log, &t->disk);
	t->disk = (struct sim_disk){.stable = t->disk.stable};
	return was_killed;
}

static void what_a_killed_process_left_is_durable_before_anything_rests_on_it(void **state)
{
	uint64_t seed = test_seed();
	struct trial t = {.random = seed,
	                  .each = test_number("SOFTPM_CRASH_STATES", 20000) / 10000,
	                  .bytes = calloc(1, SIM_BYTES_MOST),
	                  .image = calloc(1, SIM_BYTES_MOST),
	                  .disk.stable = calloc(1, SIM_BYTES_MOST)};
	size_t kill_after = 0;
	bool was_killed = true;

	(void)state;
	while (was_killed) {
		kill_after++;
		for (int then = 0; then < THENS; then++)
			was_killed = lives(&t, kill_after, (enum then)then, seed);
	}
	printf("%llu states of %zu kills\n", (unsigned long long)t.states, kill_after - 1);
	free(t.disk.stable);
	free(t.image);
	free(t.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_a_killed_process_left_is_durable_before_anything_rests_on_it)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
