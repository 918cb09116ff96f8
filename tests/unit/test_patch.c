/* test_patch.c - pages of which little has changed are stored as patches: what is written, and that every version reads as it was. */
#include "branch_off.h"
#include "scratch.h"
#include "sim_driver.h"
#include "slices.h"
#include "volume/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 300, VERSIONS = 120, FIRST = 5000, WORDS = SPM_PAGE_BYTES / 8 };

typedef uint64_t page_words[WORDS] __attribute__((aligned(4096)));

static page_words now[PAGES], model[VERSIONS + 1][PAGES];
static uint8_t class_now[PAGES];
static struct page_change change[PAGES];
static uint64_t random_state;

static uint64_t below(uint64_t n)
{
	return test_random(&random_state) % n;
}

static struct volume *volume_make(unsigned flags)
{
	struct driver *d;
	struct volume *v;

	assert_int_equal(spm_driver_memory_open(1 << 28, &d), 0);
	assert_int_equal(spm_volume_open(d, VOLUME_CREATE | flags, &v), 0);
	return v;
}

static struct page_change change_of(unsigned i)
{
	return (struct page_change){
	        .page = FIRST + i, .data = now[i], .meta = {.span_pages = 1, .class = class_now[i]}};
}

/* One page, as it is now. */
static struct version_info commit(struct chain *c, unsigned i)
{
	struct version_info info = {0};

	change[0] = change_of(i);
	assert_int_equal(spm_chain_commit(c, change, 1, true, &info), 0);
	return info;
}

static void expect(struct chain *c, unsigned i)
{
	static page_words page;

	memset(page, 0, sizeof(page));
	assert_int_equal(spm_chain_read(c, FIRST + i, 1, page), 0);
	assert_memory_equal(page, now[i], sizeof(page));
}

static const struct place *place_of(struct chain *c, unsigned i)
{
	static struct place room;
	const struct place *p = spm_map_get(&c->map, FIRST + i, &room);

	assert_non_null(p);
	return p;
}

static void all_fill(uint64_t with)
{
	memset(class_now, 0, sizeof(class_now));
	for (unsigned i = 0; i < PAGES; i++)
		for (unsigned w = 0; w < WORDS; w++)
			now[i][w] = with * 1000 + i * WORDS + w;
}

static void few_changed_bytes_are_one_block(void **state)
{
	struct volume *v = volume_make(0);
	struct version_info info;
	struct chain *c;
	uint64_t block;

	(void)state;
	all_fill(1);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	info = commit(c, 0);
	assert_true(info.stored_bytes == 2 * SPM_BLOCK_BYTES && info.stored_pages == 1);
	block = place_of(c, 0)->block;
	for (unsigned g = 0; g < PATCH_GRANULES_MOST;
	     g++) { /* a patch has all that changed since the block was written */
		now[0][g * 3 * GRANULE_BYTES / 8] = 77;
		info = commit(c, 0);
		assert_true(info.stored_bytes == SPM_BLOCK_BYTES && info.stored_pages == 1);
		assert_int_equal(spm_patch_bytes(place_of(c, 0)->granules), (g + 1) * GRANULE_BYTES);
		assert_true(place_of(c, 0)->block == block);
		expect(c, 0);
	}
	now[0][WORDS - 1] = 77; /* one granule more */
	info = commit(c, 0);
	assert_int_equal(info.stored_bytes, 2 * SPM_BLOCK_BYTES);
	assert_true(!place_of(c, 0)->granules && place_of(c, 0)->block != block);
	assert_int_equal(c->map.patch_bytes, 0);
	expect(c, 0);
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

static void what_is_again_as_in_the_block_has_no_patch(void **state)
{
	struct volume *v = volume_make(0);
	struct chain *c;
	uint64_t was;

	(void)state;
	all_fill(1);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	commit(c, 0);
	was = now[0][9]++;
	commit(c, 0);
	assert_int_equal(place_of(c, 0)->granules, 1);
	now[0][9] = was;
	assert_int_equal(commit(c, 0).stored_bytes, SPM_BLOCK_BYTES);
	assert_int_equal(place_of(c, 0)->granules, 0);
	expect(c, 0);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* What a process did not write itself it does not know. */
static void the_first_change_after_opening_is_a_whole_page(void **state)
{
	struct volume *v = volume_make(0);
	struct chain *c;

	(void)state;
	all_fill(1);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	commit(c, 0);
	now[0][100]++;
	commit(c, 0);
	spm_chain_close(c);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	assert_int_equal(spm_patch_bytes(place_of(c, 0)->granules), GRANULE_BYTES);
	expect(c, 0);
	now[0][200]++;
	assert_int_equal(commit(c, 0).stored_bytes, 2 * SPM_BLOCK_BYTES);
	now[0][300]++;
	assert_int_equal(commit(c, 0).stored_bytes, SPM_BLOCK_BYTES);
	expect(c, 0);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* Beside a first word that equals the one XXH3 begins with, it does not look at the second. */
static void what_checksums_overlook_is_not(void **state)
{
	struct volume *v = volume_make(0);
	struct chain *c;

	(void)state;
	all_fill(1);
	for (unsigned w = 0; w < WORDS; w += GRANULE_BYTES / 8)
		now[0][w] = UINT64_C(0xbe4ba423396cfeb8);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	commit(c, 0);
	now[0][1] = 1;
	now[0][WORDS - GRANULE_BYTES / 8 + 1] = 1;
	commit(c, 0);
	assert_int_equal(spm_patch_bytes(place_of(c, 0)->granules), 2 * GRANULE_BYTES);
	expect(c, 0);
	spm_chain_close(c);
	spm_volume_close(v);
}

enum { MANY = 2048, CHANGED = 500 };
static page_words many[MANY];
static struct page_change many_change[MANY];

/* Every fourth page gets another word; in batches. */
static struct version_info many_commit(struct chain *c, uint64_t word)
{
	static uint64_t value = UINT64_C(1) << 63; /* never one that was there */
	struct version_info info = {0};
	struct slices s;

	for (unsigned i = 0; i < CHANGED; i++) {
		many[i * 4][word] = ++value;
		many_change[i] = (struct page_change){.page = FIRST + i * 4, .data = many[i * 4], .meta.span_pages = 1};
	}
	s = slices_of(many_change, CHANGED, SLICE_MOST);
	assert_int_equal(spm_chain_commit_from(c, &s.source, true, &info), 0);
	return info;
}

static void many_expect(struct chain *c)
{
	static page_words page;

	for (unsigned i = 0; i < MANY; i++) {
		memset(page, 0, sizeof(page));
		assert_int_equal(spm_chain_read(c, FIRST + i, 1, page), 0);
		assert_memory_equal(page, many[i], sizeof(page));
	}
}

static void a_word_in_each_of_many_pages_is_not_many_pages(void **state)
{
	struct volume *v = volume_make(0);
	struct version_info info = {0};
	struct chain *c;

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		for (unsigned w = 0; w < WORDS; w++)
			many[i][w] = i * WORDS + w;
		many_change[i] = (struct page_change){.page = FIRST + i, .data = many[i], .meta.span_pages = 1};
	}
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	assert_int_equal(spm_chain_commit(c, many_change, MANY, true, &info), 0);
	info = many_commit(c, 1);
	assert_in_range(info.stored_bytes, CHANGED * SPM_PAGE_BYTES, 2 * CHANGED * SPM_PAGE_BYTES);
	for (uint64_t word = 2; word < 2 + PATCH_GRANULES_MOST * 16; word += 16) {
		info = many_commit(c, word);
		assert_int_equal(info.stored_pages, CHANGED);
		assert_in_range(info.stored_bytes, CHANGED * GRANULE_BYTES,
		                CHANGED * ((word / 16 + 1) * GRANULE_BYTES + ENTRY_BYTES_MOST) + 2 * SPM_BLOCK_BYTES);
	}
	many_expect(c);
	spm_chain_self_check(c);
	spm_chain_close(c);
	assert_int_equal(spm_chain_open(v, 1, "main", 0, 0, &c), 0);
	many_expect(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* Where a quarter or more changes at a time, pages follow each other in long writes. */
static void most_pages_are_written_whole(void **state)
{
	struct volume *v = volume_make(0);
	struct version_info info;
	struct chain *c;

	(void)state;
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	for (uint64_t word = 1; word < 4; word++) {
		info = many_commit(c, word); /* there are no others */
		assert_in_range(info.stored_bytes, CHANGED * SPM_PAGE_BYTES, 2 * CHANGED * SPM_PAGE_BYTES);
	}
	assert_int_equal(c->map.patch_bytes, 0);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* Pages with this word, in two batches, of which the second fails. */
static int halves_commit(struct chain *c, uint64_t word, bool fails)
{
	enum { HALF = 30 };
	struct version_info info = {0};
	struct slices s;

	for (unsigned i = 0; i < 2 * HALF; i++) {
		now[i][7] = word;
		change[i] = change_of(i);
	}
	s = slices_of(change, 2 * HALF, HALF);
	s.fails_at = fails ? HALF : SIZE_MAX;
	return spm_chain_commit_from(c, &s.source, true, &info);
}

/* A commit writes where one that failed has written before, as of the same version: what that one wrote is not there. */
static void what_failed_is_no_base(void **state)
{
	struct volume *v = volume_make(0);
	struct chain *c;

	(void)state;
	all_fill(1);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	for (unsigned i = 0; i < 40; i++) /* until all that is free was written to */
		assert_int_equal(halves_commit(c, 1, true), -ESRCH);
	assert_int_equal(halves_commit(c, 2, false), 0);
	assert_int_equal(halves_commit(c, 1, false), 0);
	for (unsigned i = 0; i < PAGES / 5; i++)
		expect(c, i);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* A volume of a format that has none gets none. */
static void an_older_volume_gets_no_patches(void **state)
{
	struct volume *v = volume_make(0);
	struct chain *c;

	(void)state;
	all_fill(1);
	v->super.version = 3;
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	commit(c, 0);
	now[0][100]++;
	assert_int_equal(commit(c, 0).stored_bytes, 2 * SPM_BLOCK_BYTES);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* However many pages change a little: what maps have of patches is bounded, and holes in a page's block stay known. */
static void patches_have_a_bound(void **state)
{
	struct volume *v = volume_make(0);
	struct chain *c;
	uint64_t most = 0;

	(void)state;
	all_fill(1);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	for (unsigned round = 0; round < 40; round++)
		for (unsigned first = 0; first < 8000; first += 200) {
			struct version_info info = {.versions_kept = 1};

			for (unsigned i = 0; i < 200; i++) {
				now[i][0] = first + i;
				now[i][16 * (round % 7)] += first * 200 + i + 1;
				change[i] = change_of(i);
				change[i].page = FIRST + first + i;
			}
			assert_int_equal(spm_chain_commit(c, change, 200, true, &info), 0);
			most = c->map.patch_bytes > most ? c->map.patch_bytes : most;
		}
	assert_in_range(most, 1 << 20, (1 << 20) + 8000 * 256);
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

static void damage_below_a_patch_is_named(void **state)
{
	static unsigned char bytes[SIM_BYTES_MOST];
	static page_words page;
	struct volume *v;
	struct chain *c;
	uint64_t block, whole;

	(void)state;
	all_fill(1);
	assert_int_equal(spm_volume_open(sim_state_driver(bytes, 0), VOLUME_CREATE, &v), 0);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	commit(c, 0);
	now[0][100]++;
	commit(c, 0);
	block = place_of(c, 0)->block;
	spm_chain_close(c);
	bytes[block * SPM_BLOCK_BYTES + 8] ^= 1;
	assert_int_equal(spm_chain_open(v, 1, "main", 0, 0, &c), 0);
	assert_int_equal(spm_chain_read(c, FIRST, 1, page), -EUCLEAN);
	spm_chain_close(c);
	assert_int_equal(spm_volume_check(v, 1, "main", NULL, NULL, &whole), 1);
	assert_int_equal(whole, 0);
	spm_volume_close(v);
}

static int sentence_count(const char *sentence, void *arg)
{
	(void)sentence;
	++*(unsigned *)arg;
	return 0;
}

static void one_is_bad(struct volume *v, uint64_t expected_whole)
{
	unsigned sentences = 0;
	uint64_t whole;

	assert_int_equal(spm_volume_check(v, 1, "main", sentence_count, &sentences, &whole), 1);
	assert_int_equal(sentences, 1);
	assert_int_equal(whole, expected_whole);
}

/* Version 1 is gone, 2 has a patch where the block is damaged, and `last` has none, as 3 has. */
static void damage_is_bared(uint64_t last)
{
	static unsigned char bytes[SIM_BYTES_MOST];
	struct retention kept = {.versions_kept = last == 3 ? 2 : 1};
	struct volume *v;
	struct chain *c, *side;
	struct pruned out;
	uint64_t was;

	memset(bytes, 0, sizeof(bytes));
	all_fill(1);
	assert_int_equal(spm_volume_open(sim_state_driver(bytes, 0), VOLUME_CREATE, &v), 0);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	commit(c, 0);
	was = now[0][0]++;
	commit(c, 0);
	if (last > 3) { /* who keeps 2 */
		assert_int_equal(branch_off(v, 1, c, "side", &side), 0);
		spm_chain_close(side);
	}
	now[0][0] = was;
	for (uint64_t n = 3; n <= last; n++)
		commit(c, n == 3 ? 0 : 1);
	spm_chain_retain(c, &kept);
	assert_int_equal(spm_chain_prune(c, false, &out), 0);
	assert_int_equal(out.versions, last == 3 ? 1 : last - 2);
	bytes[place_of(c, 0)->block * SPM_BLOCK_BYTES + 8] ^= 1;
	spm_chain_close(c);
	one_is_bad(v, 2);
	spm_volume_close(v);
}

static void damage_that_a_patch_hid_is_found(void **state)
{
	(void)state;
	damage_is_bared(3);
	damage_is_bared(4);
	damage_is_bared(7);
}

/* ---- at random, against a copy of each version ---- */

static void page_change_any(unsigned i)
{
	if (!below(6))
		class_now[i]++;
	if (!below(6))
		for (unsigned w = 0; w < WORDS; w++)
			now[i][w] = test_random(&random_state);
	else if (below(6))
		for (uint64_t n = 1 + below(4); n; n--)
			now[i][below(WORDS)] = test_random(&random_state) % 3;
}

/* The blocks that it has written the next one may get, as of the same version. */
static void commit_that_fails(struct chain *c, uint64_t version)
{
	struct version_info info = {0};
	struct slices s;
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		if (below(4)) {
			now[i][below(WORDS)] ^= UINT64_MAX;
			change[n++] = change_of(i);
		}
	s = slices_of(change, n, 1 + below(SLICE_MOST));
	s.fails_at = below(n);
	assert_int_equal(spm_chain_commit_from(c, &s.source, true, &info), -ESRCH);
	memcpy(now, model[version - 1], sizeof(now));
}

static void commit_any(struct chain *c, uint64_t version)
{
	struct version_info info = {0};
	unsigned n = 0, most = below(10) ? 10 : PAGES;
	struct slices s;

	if (!below(6))
		commit_that_fails(c, version);
	for (unsigned i = 0; i < PAGES; i++)
		if (below(PAGES) < most) {
			page_change_any(i);
			change[n++] = change_of(i);
		}
	if (!below(8)) /* pages of a chunk together: no patches, but those that are there stay */
		info.chunk_bytes = 4 * SPM_PAGE_BYTES;
	s = slices_of(change, n, below(2) ? SLICE_MOST : 1 + below(8));
	assert_int_equal(spm_chain_commit_from(c, &s.source, true, &info), 0);
	assert_int_equal(info.version, version);
	memcpy(model[version], now, sizeof(now));
}

static void version_expect(struct chain *c, uint64_t version)
{
	static page_words page;

	for (unsigned i = 0; i < PAGES; i++) {
		memset(page, 0, sizeof(page));
		if (spm_chain_read(c, FIRST + i, 1, page))
			fail_msg("version %llu: %s", (unsigned long long)version, spm_volume_error());
		if (memcmp(page, model[version][i], sizeof(page)))
			fail_msg("page %u of version %llu is another one", i, (unsigned long long)version);
	}
}

static void versions_expect(struct volume *v, const char *branch, uint64_t from, uint64_t to)
{
	struct chain *c;
	uint64_t whole;

	for (uint64_t version = from; version <= to; version++) {
		assert_int_equal(spm_chain_open_version(v, 1, branch, version, &c), 0);
		version_expect(c, version);
		spm_chain_close(c);
	}
	if (spm_volume_check(v, 1, branch, NULL, NULL, &whole))
		fail_msg("%s", spm_volume_error());
	assert_int_equal(whole, to);
}

static void differs_expect(struct volume *v)
{
	uint64_t a = 1 + below(VERSIONS), b = 1 + below(VERSIONS);
	struct source_list list[2];
	struct chain *c[2];

	assert_int_equal(spm_chain_open_version(v, 1, "main", a, &c[0]), 0);
	assert_int_equal(spm_chain_open_version(v, 1, "main", b, &c[1]), 0);
	for (unsigned k = 0; k < 2; k++)
		assert_int_equal(spm_chain_list(c[k], &list[k]), 0);
	for (unsigned i = 0; i < PAGES; i++) {
		uint32_t at[2];
		const struct source_run *r[2];

		for (unsigned k = 0; k < 2; k++) {
			r[k] = spm_source_find(&list[k], FIRST + i, &at[k]);
			assert_non_null(r[k]);
		}
		assert_int_equal(spm_source_of(r[0], at[0]).sum == spm_source_of(r[1], at[1]).sum,
		                 !memcmp(model[a][i], model[b][i], sizeof(model[a][i])));
	}
	for (unsigned k = 0; k < 2; k++) {
		spm_source_list_free(&list[k]);
		spm_chain_close(c[k]);
	}
}

static void every_version_reads_as_it_was(void **state)
{
	struct volume *v = volume_make(VOLUME_EAGER);
	struct chain *c, *side;
	bool again, has_patches = false;

	(void)state;
	random_state = test_seed();
	all_fill(1);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	for (unsigned i = 0; i < PAGES; i++)
		change[i] = change_of(i);
	assert_int_equal(spm_chain_commit(c, change, PAGES, true, &(struct version_info){0}), 0);
	memcpy(model[1], now, sizeof(now));
	for (uint64_t version = 2; version <= VERSIONS; version++) {
		commit_any(c, version);
		spm_chain_self_check(c);
		version_expect(c, version);
		has_patches |= c->map.patch_bytes != 0;
		if (!below(4))
			assert_int_equal(spm_chain_maintain(c, below(2), &again), 0);
		if (!below(20)) {
			spm_chain_close(c);
			assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
			version_expect(c, version);
		}
	}
	assert_true(has_patches);
	versions_expect(v, "main", 1, VERSIONS);
	for (unsigned i = 0; i < 10; i++)
		differs_expect(v);
	assert_int_equal(branch_off(v, 1, c, "side", &side), 0);
	spm_chain_close(c);
	version_expect(side, VERSIONS);
	for (unsigned n = 1; n <= 20; n++) {
		struct version_info info = {0};

		page_change_any(n);
		change[0] = change_of(n);
		assert_int_equal(spm_chain_commit(side, change, 1, true, &info), 0);
		assert_int_equal(info.version, VERSIONS + n);
		expect(side, n);
	}
	spm_chain_self_check(side);
	spm_chain_close(side);
	assert_int_equal(spm_chain_open(v, 1, "side", 0, 0, &side), 0);
	for (unsigned n = 0; n < PAGES; n++)
		expect(side, n);
	spm_chain_close(side);
	spm_volume_close(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(few_changed_bytes_are_one_block),
	        cmocka_unit_test(what_is_again_as_in_the_block_has_no_patch),
	        cmocka_unit_test(the_first_change_after_opening_is_a_whole_page),
	        cmocka_unit_test(what_checksums_overlook_is_not),
	        cmocka_unit_test(a_word_in_each_of_many_pages_is_not_many_pages),
	        cmocka_unit_test(most_pages_are_written_whole),
	        cmocka_unit_test(what_failed_is_no_base),
	        cmocka_unit_test(an_older_volume_gets_no_patches),
	        cmocka_unit_test(patches_have_a_bound),
	        cmocka_unit_test(damage_below_a_patch_is_named),
	        cmocka_unit_test(damage_that_a_patch_hid_is_found),
	        cmocka_unit_test(every_version_reads_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
