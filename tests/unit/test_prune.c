/* test_prune.c - dropping versions at once: which, what becomes free, and that a look changes nothing. */
#include "book.h"
#include "branch_off.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"
#include "sim_driver.h"
#include "softpm.h"
#include "volume/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGES = 30, VERSIONS = 200 };
static const uint64_t second_ns = 1000000000;

static unsigned char bytes[SIM_BYTES_MOST];

/* Page (version % PAGES) and one more are of that version. */
static void commit(struct chain *c, uint64_t version, uint64_t time_ns)
{
	static uint64_t data[2][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct version_info info = {.time_ns = time_ns};
	struct page_change change[2];

	for (unsigned i = 0; i < 2; i++) {
		data[i][0] = version;
		change[i] = (struct page_change){
		        .page = 1000 + (i ? PAGES : version % PAGES), .data = data[i], .meta.span_pages = 1};
	}
	assert_int_equal(spm_chain_commit(c, change, 2, true, &info), 0);
	assert_int_equal(info.version, version);
}

static struct chain *versions_make(struct volume **v, uint64_t step_ns)
{
	struct chain *c;
	bool again;

	memset(bytes, 0, sizeof(bytes));
	assert_int_equal(spm_volume_open(sim_state_driver(bytes, 0), VOLUME_CREATE | VOLUME_EAGER, v), 0);
	assert_int_equal(spm_chain_create(*v, 1, "main", &c), 0);
	for (uint64_t n = 1; n <= VERSIONS; n++) {
		commit(c, n, spm_now_real_ns() - (VERSIONS - n) * step_ns);
		assert_int_equal(spm_chain_maintain(c, false, &again), 0);
	}
	return c;
}

static void version_is_right(struct volume *v, uint64_t version)
{
	uint64_t page[SPM_PAGE_BYTES / 8];
	struct chain *c;

	if (spm_chain_open_version(v, 1, "main", version, &c))
		fail_msg("%s", spm_volume_error());
	for (uint64_t p = 0; p <= PAGES; p++) {
		uint64_t newest = p == PAGES ? version : version - (version + PAGES - p) % PAGES;

		memset(page, 0, sizeof(page));
		assert_int_equal(spm_chain_read(c, 1000 + p, 1, page), 0);
		if (version >= PAGES)
			assert_int_equal(page[0], newest);
	}
	spm_chain_close(c);
}

static bool is_there(struct volume *v, uint64_t version)
{
	struct chain *c;

	if (spm_chain_open_version(v, 1, "main", version, &c))
		return false;
	spm_chain_close(c);
	return true;
}

/* In a chain that is just written, or, opened anew, where most deaths are known from maps only. */
static void what_goes_is_free_and_what_stays_is_whole(void **state)
{
	for (unsigned is_new = 0; is_new < 2; is_new++) {
		struct retention few = {.versions_kept = 7};
		struct pruned dry, real;
		struct volume *v;
		struct chain *c = versions_make(&v, 1), *reader, *branch;
		uint64_t free_before, whole;

		(void)state;
		assert_int_equal(spm_chain_open_version(v, 1, "main", 100, &reader), 0);
		assert_int_equal(branch_off(v, 1, reader, "branch", &branch), 0);
		spm_chain_close(branch);
		spm_chain_close(reader);
		assert_int_equal(spm_chain_open_version(v, 1, "main", 50, &reader), 0);
		if (is_new) {
			spm_chain_close(c);
			assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
		}
		assert_int_equal(spm_chain_prune(c, false, &real), 0); /* all are kept */
		assert_int_equal(real.versions, 0);
		spm_chain_retain(c, &few);
		assert_int_equal(spm_chain_prune(c, true, &dry), 0);
		assert_int_equal(dry.versions, VERSIONS - 7 - 2);
		for (uint64_t n = 1; n <= VERSIONS; n++)
			assert_true(is_there(v, n));
		free_before = c->free_blocks;
		assert_int_equal(spm_chain_prune(c, false, &real), 0);
		assert_int_equal(real.versions, dry.versions);
		assert_int_equal(real.blocks, dry.blocks);
		assert_in_range(c->free_blocks, free_before + real.blocks - 4,
		                free_before + real.blocks + 4); /* the index */
		assert_true(real.blocks > VERSIONS);
		spm_chain_self_check(c);
		spm_chain_retain(c, NULL);
		for (uint64_t n = PAGES; n <= VERSIONS; n++)
			if (n == 50 || n == 100 || n > VERSIONS - 7)
				version_is_right(v, n);
			else
				assert_false(is_there(v, n));
		commit(c, VERSIONS + 1, spm_now_real_ns());
		version_is_right(v, VERSIONS + 1);
		spm_chain_close(reader);
		spm_chain_close(c);
		assert_int_equal(spm_volume_check(v, 1, "main", NULL, NULL, &whole), 0);
		assert_int_equal(spm_volume_check(v, 1, "branch", NULL, NULL, &whole), 0);
		spm_volume_close(v);
	}
}

/* Extents in which nothing is left are for others; what stays and what comes do not meet there. */
static void space_goes_back_to_the_volume(void **state)
{
	static uint64_t data[250][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct version_info info = {.versions_kept = 0};
	struct retention one = {.versions_kept = 1};
	struct volume_info before, after, full;
	struct page_change change[250];
	struct pruned pruned;
	struct volume *v;
	struct chain *c = versions_make(&v, 1), *other;
	uint64_t whole;

	(void)state;
	for (unsigned i = 0; i < 250; i++)
		change[i] = (struct page_change){.page = 9000 + i, .data = data[i], .meta.span_pages = 1};
	for (unsigned n = 0; n < 6; n++) {
		for (unsigned i = 0; i < 250; i++)
			memset(data[i], (int)(n * 50 + i % 50 + 1), sizeof(data[i])); /* whole pages */
		assert_int_equal(spm_chain_commit(c, change, 250, true, &info), 0);
		info.version = 0;
	}
	assert_int_equal(spm_volume_info(v, &before), 0);
	spm_chain_retain(c, &one);
	assert_int_equal(spm_chain_prune(c, false, &pruned), 0);
	assert_int_equal(spm_volume_info(v, &after), 0);
	assert_true(pruned.extents >= 4);
	assert_int_equal(after.free_extents, before.free_extents + pruned.extents);
	spm_chain_self_check(c);
	assert_int_equal(spm_chain_create(v, 2, "main", &other), 0);
	for (unsigned n = 0; n < 3; n++) {
		data[n][0] = n;
		info = (struct version_info){.versions_kept = 0};
		assert_int_equal(spm_chain_commit(other, change, 250, true, &info), 0);
	}
	assert_int_equal(spm_volume_info(v, &full), 0);
	assert_true(full.free_extents < after.free_extents);
	for (uint64_t n = 0; n < 40; n++) { /* it goes on, too */
		info = (struct version_info){.versions_kept = 0};
		data[n][0] = 77 + n;
		assert_int_equal(spm_chain_commit(c, change, 250, true, &info), 0);
		assert_int_equal(spm_chain_prune(c, false, &pruned), 0);
		spm_chain_self_check(c);
	}
	spm_chain_close(other);
	spm_chain_close(c);
	assert_int_equal(spm_volume_check(v, 1, "main", NULL, NULL, &whole), 0);
	assert_int_equal(spm_volume_check(v, 2, "main", NULL, NULL, &whole), 0);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

static void age_and_thinning_hold_at_once(void **state)
{
	struct retention old = {.keep_seconds = 100}, thin = {.thin = {{50, 20}, {0, 0}}};
	struct pruned dry, real;
	struct volume *v;
	struct chain *c = versions_make(&v, second_ns); /* one a second */

	(void)state;
	spm_chain_retain(c, &thin);
	assert_int_equal(spm_chain_prune(c, true, &dry), 0);
	assert_in_range(dry.versions, 130, 145); /* of 150 one in 20 stays */
	spm_chain_retain(c, &old);
	assert_int_equal(spm_chain_prune(c, true, &dry), 0);
	assert_in_range(dry.versions, 98, 102);
	assert_int_equal(spm_chain_prune(c, false, &real), 0);
	assert_in_range(real.versions, dry.versions, dry.versions + 2);
	assert_false(is_there(v, 90));
	version_is_right(v, 110);
	spm_chain_retain(c, &thin);
	assert_int_equal(spm_chain_prune(c, false, &real), 0); /* what a look noted is not taken for done */
	assert_in_range(real.versions, 40, 50);
	assert_int_equal(spm_chain_prune(c, false, &real), 0);
	assert_in_range(real.versions, 0, 1);
	version_is_right(v, VERSIONS);
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* One page, of which so little changes that its block stays. */
static void patch_commit(struct chain *c, uint64_t value, unsigned kept)
{
	static uint64_t page[SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change = {.page = 1000, .data = page, .meta.span_pages = 1};
	struct version_info info = {.versions_kept = kept};
	bool again = true;

	page[0] = value;
	assert_int_equal(spm_chain_commit(c, &change, 1, true, &info), 0);
	while (again)
		assert_int_equal(spm_chain_maintain(c, false, &again), 0);
}

/* Changes that are patches kill no block, but map and records of versions that were dropped wait for the index, too. */
static void old_maps_and_records_do_not_wait_for_blocks_to_die(void **state)
{
	enum { KEPT = 16, MAPS = 3 };
	unsigned maps = 0, commits = 0, since_map = 0;
	struct driver *driver;
	struct volume *v;
	struct chain *c;

	(void)state;
	assert_int_equal(spm_driver_memory_open(UINT64_C(1) << 28, &driver), 0);
	assert_int_equal(spm_volume_open(driver, VOLUME_CREATE, &v), 0);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	while (maps < MAPS) {
		patch_commit(c, ++commits, KEPT);
		assert_int_equal(c->dead_to, c->dead_from);
		since_map = c->history.segments > 1 ? since_map + 1 : 0;
		maps += since_map == 1;
		if (since_map > KEPT + 1)
			fail_msg("%u commits after a map, %u versions being kept, the one before is still there",
			         since_map, KEPT);
	}
	assert_true(commits / maps > 500); /* what went was enough to write an index for */
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* ---- by the public call ---- */

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)
enum { CONTAINER = 7 };

struct branches {
	char name[4][64], skipped[300];
	uint64_t versions[4], bytes;
	unsigned n;
};

static int branch_note(const struct ppruned *p, void *arg)
{
	struct branches *b = arg;

	snprintf(b->name[b->n], sizeof(b->name[0]), "%s", p->branch);
	snprintf(b->skipped, sizeof(b->skipped), "%s", p->skipped ? p->skipped : "");
	b->versions[b->n++] = p->versions;
	b->bytes += p->bytes;
	return 0;
}

static int count(const struct pversion *v, void *arg)
{
	(void)v;
	++*(unsigned *)arg;
	return 0;
}

static unsigned versions_count(const char *ref)
{
	unsigned n = 0;

	return pVersions(CONTAINER, ref, count, &n) ? 0 : n;
}

static int points_make(struct book *b, int id, unsigned n)
{
	while (n--) {
		book_step(b);
		EXPECT(pPointSync(id));
	}
	return 0;
}

/* The container is open, and goes on. */
static int open_ones_are_pruned(const char *volume)
{
	static const unsigned three = 3, none = 0;
	struct branches b = {.n = 0};
	struct pprune how = {.versions_kept = &three, .is_dry = 1, .fn = branch_note, .arg = &b};
	void *root, *view;
	struct cattr *attr;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT(pPrune(CONTAINER, NULL) && errno == ENOENT);
	id = pCAlloc(CONTAINER, sizeof(struct book), &root);
	attr = pCGetAttr(CONTAINER);
	attr->versions_kept = 0;
	attr->chunk_bytes = 2 * SPM_PAGE_BYTES;                         /* whole pages, which go with their versions */
	EXPECT(!pPrune(CONTAINER, &how) && b.n == 1 && !b.versions[0]); /* no version yet */
	EXPECT(id && !pCSetAttr(id, attr) && !points_make(root, id, 40));
	EXPECT(!pTag(CONTAINER, "tagged", "5") && !pBranch(CONTAINER, "branch", "9") &&
	       pCOpenAt(CONTAINER, "12", &view));
	b.n = 0;
	EXPECT(!pPrune(CONTAINER, &how) && b.n == 2 && b.versions[0] == 34 && !*b.skipped && b.bytes);
	EXPECT(versions_count("main") == 40);
	how.is_dry = 0;
	b.n = 0;
	EXPECT(!pPrune(CONTAINER, &how) && b.versions[0] == 34);
	EXPECT(versions_count("main") == 6 && book_is_right(view));
	EXPECT(!points_make(root, id, 10) && versions_count("main") == 16); /* the attribute says all */
	EXPECT(!pPrune(CONTAINER, NULL) && versions_count("main") == 16);
	attr->versions_kept = 4;
	EXPECT(!pCSetAttr(id, attr) && pPointSync(id));
	how.versions_kept = &none;
	b.n = 0;
	EXPECT(!pPrune(CONTAINER, &how) && !b.versions[0]);
	EXPECT(!pPrune(CONTAINER, NULL) && versions_count("main") == 6);
	pCAttrFree(attr);
	EXPECT(pCheck(CONTAINER, NULL, NULL, NULL) == 0);
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id && book_is_right(root) && ((struct book *)root)->steps == 50);
	EXPECT(pCOpenAt(CONTAINER, "tagged", &root) && book_is_right(root));
	EXPECT(pCOpenAt(CONTAINER, "branch", &root) && book_is_right(root));
	EXPECT(!pVClose());
	return 0;
}

static int others_branches_are_left_alone(const char *volume)
{
	static const unsigned one = 1;
	struct branches b = {.n = 0};
	struct pprune how = {.versions_kept = &one, .fn = branch_note, .arg = &b};
	int fd[2], id;
	void *root;
	pid_t child;
	char c;

	EXPECT(!pipe(fd));
	child = fork();
	if (!child) {
		if (pVOpen(volume) || !pCRestore(CONTAINER, &root) || write(fd[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	EXPECT(read(fd[0], &c, 1) == 1);
	EXPECT(!pVOpen(volume) && !pPrune(CONTAINER, &how));
	EXPECT(!strcmp(b.name[0], "main") &&
	       strstr(b.skipped, "is being written by process") == NULL); /* that was branch */
	EXPECT(b.n == 2 && !b.versions[0] && versions_count("main") > 1);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	b.n = 0;
	EXPECT(!pPrune(CONTAINER, &how) && b.versions[0]);
	id = pCRestore(CONTAINER, &root);
	EXPECT(id && book_is_right(root));
	EXPECT(!pVClose());
	return 0;
}

static void the_public_call(void **state)
{
	char volume[200];

	(void)state;
	snprintf(volume, sizeof(volume), "%s", scratch("a.vol"));
	in_process(open_ones_are_pruned, volume);
	in_process(others_branches_are_left_alone, volume);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_goes_is_free_and_what_stays_is_whole),
	        cmocka_unit_test(space_goes_back_to_the_volume),
	        cmocka_unit_test(age_and_thinning_hold_at_once),
	        cmocka_unit_test(old_maps_and_records_do_not_wait_for_blocks_to_die),
	        cmocka_unit_test(the_public_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
