/* malformed.c - what the sums say is right may still make no sense: somebody wrote it so. A volume whose fields
 * contradict each other is refused, in words, when it is read or at the latest when it is opened for writing; nothing
 * is believed that could break an invariant. Each case is of a kind that tests/fuzz found, or that the reading of the
 * code did.
 */
#include "resum.h"
#include "scratch.h"
#include "sim_driver.h"
#include "sparse.h"
#include "volume/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CONTAINER = 8 }; /* of the golden volume: the one with several segments, and a branch */

static unsigned char image[SIM_BYTES_MOST], golden[SIM_BYTES_MOST];
static uint64_t image_bytes;

static void *block_at(uint64_t block)
{
	return image + block * SPM_BLOCK_BYTES;
}

static struct extent_table *table(void)
{
	return block_at(TABLE_BLOCK);
}

static struct chain_head *head_of(const char *branch)
{
	for (uint64_t b = 0; b < image_bytes / SPM_BLOCK_BYTES; b++) {
		struct chain_head *h = block_at(b);

		if (resum_kind_of(block_at(b)) == RESUM_HEAD && h->container == CONTAINER && !strcmp(h->branch, branch))
			return h;
	}
	fail_msg("the golden volume has no branch %s of container %d", branch, CONTAINER);
	return NULL;
}

static struct chain_head *head(void)
{
	return head_of("main");
}

/* ---- the index ---- */

static struct index *index_of_main(void)
{
	assert_true(head()->index_bytes && head()->run_count == 1);
	return block_at(head()->run[0].block);
}

static void *behind(struct segment_entry *e)
{
	return (unsigned char *)(e + 1) + e->runs * sizeof(struct block_run);
}

static struct segment_entry *segment(uint64_t i)
{
	struct segment_entry *e = (struct segment_entry *)(void *)(index_of_main() + 1);

	assert_true(i < index_of_main()->segments);
	for (; i > 0; i--)
		e = behind(e);
	return e;
}

static struct segment_entry *newest_segment(void)
{
	return segment(index_of_main()->segments - 1);
}

static struct block_run *map_run(struct segment_entry *e)
{
	assert_true(e->map_bytes && e->runs == 1);
	return (struct block_run *)(void *)(e + 1);
}

static struct kept_range *kept(uint64_t i)
{
	assert_true(i < index_of_main()->kept);
	return (struct kept_range *)behind(newest_segment()) + i;
}

static struct space_entry *space(void)
{
	assert_true(index_of_main()->space);
	return (struct space_entry *)(void *)(kept(0) + index_of_main()->kept);
}

/* The bit that says whether a block is free. */
static void block_say(uint64_t block, bool is_free)
{
	unsigned char *bits = (unsigned char *)(space() + 1);

	assert_true(space()->kind == SPACE_MIXED && block - space()->block < EXTENT_BLOCKS);
	block -= space()->block;
	bits[block / 8] =
	        (unsigned char)(is_free ? bits[block / 8] | 1 << block % 8 : bits[block / 8] & ~(1 << block % 8));
}

static struct map_image *map(void)
{
	return block_at(map_run(newest_segment())->block);
}

/* The newest record, or the one `back` before. */
static struct record *record(unsigned back)
{
	struct record *of_seq[64] = {0};
	unsigned newest = 0;

	for (uint64_t b = 0; b < image_bytes / SPM_BLOCK_BYTES; b++) {
		struct record *r = block_at(b);

		if (resum_kind_of(block_at(b)) != RESUM_RECORD || r->chain_id != head()->chain_id || r->seq >= 64)
			continue;
		of_seq[r->seq] = r;
		newest = r->seq > newest ? (unsigned)r->seq : newest;
	}
	assert_true(newest - back > newest_segment()->seq);
	assert_non_null(of_seq[newest - back]);
	return of_seq[newest - back];
}

/* Its first run, and that run's first place. */
static struct page_run *run(unsigned back)
{
	return (struct page_run *)(void *)((unsigned char *)record(back) + RECORD_HEADER_BYTES);
}

static struct run_place *place(struct page_run *r)
{
	return (struct run_place *)(void *)(r + 1);
}

/* The last of its runs, and the one before. */
static void map_last_runs(struct page_run **last, struct page_run **before)
{
	struct entry_cursor c = {.at = (unsigned char *)(map() + 1), .end = (unsigned char *)map() + map()->bytes};

	*last = *before = NULL;
	for (;;) {
		struct page_run *r = (struct page_run *)(uintptr_t)c.at;

		if (!c.left && c.at < c.end) {
			*before = *last;
			*last = r;
		}
		if (!spm_entry_next(&c))
			break;
	}
	assert_true(!c.is_broken && *before);
}

/* --- the cases --- */

static void nothing(void)
{
}

static void reserved_run_goes_round(void)
{
	record(0)->next[1].blocks = UINT64_MAX;
}

static void reserved_run_is_empty(void)
{
	record(0)->next[0].blocks = 0;
}

static void reserved_run_is_in_use(void)
{
	record(0)->next[0] = record(1)->run[0];
}

static void record_has_another_number(void)
{
	record(1)->info.version++; /* the newest would only be taken for an unfinished commit */
}

static void records_name_has_no_end(void)
{
	memset(record(1)->info.name, 'n', sizeof(record(1)->info.name));
}

static void page_that_left_has_content(void)
{
	place(run(0))->birth = 0;
	assert_true(place(run(0))->block);
}

static void page_is_nowhere(void)
{
	run(0)->places = 0;
}

static void page_is_beyond_all(void)
{
	run(0)->page = UINT64_MAX - 1;
}

static void run_has_more_pages_than_bytes(void)
{
	run(0)->pages = UINT32_MAX;
}

/* The first of the newest record's runs whose page has a patch. */
static struct page_run *patched_run(void)
{
	struct entry_cursor c = {.at = (unsigned char *)run(0), .end = (unsigned char *)record(0) + record(0)->bytes};
	struct page_run *r;

	do {
		r = (struct page_run *)(uintptr_t)c.at;
		assert_true(spm_entry_next(&c));
	} while (c.left || !c.entry.is.patch);
	assert_int_equal(r->places, 3);
	return r;
}

static void patch_has_too_many_granules(void)
{
	place(patched_run())->granules = 0x1ff;
}

static void patch_has_more_granules_than_bytes(void)
{
	struct run_place *is = place(patched_run());

	record(0)->bytes = (uint64_t)((unsigned char *)(is + 2) - (unsigned char *)record(0)) + 2 * 40;
	is->granules = 0xff;
}

static void patch_has_no_block(void)
{
	place(patched_run())->block = 0;
}

static void patch_was_another(void)
{
	(place(patched_run()) + 1)->granules = 1;
}

static void patch_is_of_two_pages(void)
{
	patched_run()->pages = 2;
}

/* Block and sum are as before, so there is no patch to be read, but before there was none. */
static void patch_is_that_of_none_before(void)
{
	struct page_run *r = run(0);
	unsigned char *sums = (unsigned char *)(place(r) + 2);
	uint64_t live = place(r)->page_in_span ? 0 : sizeof(struct slotset);

	assert_true(!place(r)->granules && r->pages == 1 && r->places == 3);
	place(r)->block = (place(r) + 1)->block;
	memcpy(sums + live, sums + 2 * live + 8, 8);
	place(r)->birth = (place(r) + 1)->birth;
	place(r)->granules = 1;
}

static void record_counts_other_pages(void)
{
	record(1)->entries++;
}

static void record_is_longer_than_the_volume(void)
{
	record(1)->bytes = UINT64_C(1) << 40;
}

static void record_is_endless(void)
{
	record(1)->bytes = UINT64_MAX - 100;
}

static void maps_message_has_no_end(void)
{
	memset(map()->info.message, 'm', sizeof(map()->info.message));
}

static void map_has_another_number(void)
{
	map()->info.version--;
}

static void map_counts_too_many(void)
{
	map()->pages += UINT64_C(1) << 60;
}

static void map_has_a_page_twice(void)
{
	struct page_run *last, *before;

	map_last_runs(&last, &before);
	last->page = before->page;
}

static void map_has_a_block_twice(void)
{
	struct page_run *last, *before; /* no later record tells of the last */

	map_last_runs(&last, &before);
	assert_true(place(last)->block && place(before)->block);
	place(last)->block = place(before)->block;
}

static void map_has_a_page_of_the_future(void)
{
	struct page_run *last, *before;

	map_last_runs(&last, &before);
	place(last)->birth = newest_segment()->seq + 1;
}

static void maps_run_is_too_long(void)
{
	map_run(newest_segment())->blocks++;
}

static void maps_run_is_endless(void)
{
	map_run(newest_segment())->blocks = UINT64_MAX;
}

static void maps_run_goes_round(void)
{
	map_run(newest_segment())->block = UINT64_MAX;
}

static void old_maps_run_goes_round(void)
{
	map_run(segment(index_of_main()->segments - 2))->block = UINT64_MAX;
}

static void map_has_endless_runs(void)
{
	newest_segment()->runs = UINT64_MAX;
}

static void map_has_no_runs(void)
{
	map_run(newest_segment())->blocks = 0;
}

static void map_is_endless(void)
{
	newest_segment()->map_bytes = UINT64_MAX - 100;
}

static void maps_block_is_free(void)
{
	block_say(map_run(newest_segment())->block, true);
}

static void old_maps_block_is_free(void)
{
	block_say(map_run(segment(index_of_main()->segments - 2))->block, true);
}

static void maps_page_is_free(void)
{
	struct page_run *last, *before;

	map_last_runs(&last, &before);
	assert_true(place(last)->block);
	block_say(place(last)->block, true);
}

static void segment_is_of_the_last_version_ever(void)
{
	newest_segment()->seq = UINT64_MAX - 1;
}

static void segment_ends_before_it_begins(void)
{
	assert_true(segment(1)->seq > 1);
	segment(1)->last = segment(1)->seq - 1;
}

static void segment_ends_behind_the_next(void)
{
	segment(0)->last = segment(1)->seq + 1;
}

static void segment_does_not_end(void)
{
	segment(0)->last = UINT64_MAX;
}

static void newest_segment_ends(void)
{
	newest_segment()->last = newest_segment()->seq + 1;
}

static void segments_are_in_disorder(void)
{
	segment(1)->seq = segment(0)->seq;
}

static void segments_versions_are_in_disorder(void)
{
	segment(1)->version = segment(0)->version;
}

static void segment_has_neither_map_nor_origin(void)
{
	newest_segment()->map_bytes = 0;
}

static void segment_is_of_another_version(void)
{
	newest_segment()->version++;
}

static void segment_names_another_record(void)
{
	newest_segment()->next[0].block++;
}

static void index_has_no_segments(void)
{
	index_of_main()->segments = 0;
}

static void index_has_endless_segments(void)
{
	index_of_main()->segments = UINT64_MAX;
}

static void index_has_endless_kept_ranges(void)
{
	index_of_main()->kept = UINT64_MAX / sizeof(struct kept_range) + 2;
}

static void index_has_endless_space(void)
{
	index_of_main()->space = UINT64_MAX;
}

static void index_is_longer_than_the_head_says(void)
{
	index_of_main()->bytes = head()->index_bytes + 1;
}

static void index_is_shorter_than_itself(void)
{
	index_of_main()->bytes = sizeof(struct index) - 1;
}

static void index_is_of_the_future(void)
{
	index_of_main()->seq++;
}

static void index_is_of_versions_that_are_not_there(void)
{
	index_of_main()->seq += 100;
	kept(index_of_main()->kept - 1)->to += 100;
}

static void index_is_of_another_chain(void)
{
	index_of_main()->chain_id++;
}

static void kept_ranges_are_in_disorder(void)
{
	struct kept_range first = *kept(0);

	*kept(0) = *kept(1);
	*kept(1) = first;
}

static void kept_ranges_touch(void)
{
	kept(0)->to = kept(1)->from - 1;
}

static void kept_range_ends_before_it_begins(void)
{
	kept(1)->from = kept(1)->to + 1;
}

static void kept_range_begins_with_nothing(void)
{
	kept(0)->from = 0;
}

static void newest_version_is_not_kept(void)
{
	kept(index_of_main()->kept - 1)->to--;
}

static void space_is_not_its_own(void)
{
	space()->block += EXTENT_BLOCKS;
}

static void space_is_nowhere(void)
{
	space()->block = UINT64_MAX - EXTENT_BLOCKS + 1;
}

static void space_begins_within_an_extent(void)
{
	space()->block++;
}

static void space_is_of_no_extents(void)
{
	space()->extents = 0;
}

static void space_is_of_no_kind(void)
{
	space()->kind = 3;
}

static void space_of_bits_is_of_two_extents(void)
{
	space()->extents = 2;
}

static void space_is_endless(void)
{
	space()->kind = SPACE_USED;
	space()->extents = UINT32_MAX;
}

/* There is room behind it: what the index's length leaves over. */
static void space_is_there_twice(void)
{
	struct index *k = index_of_main();
	size_t bytes = sizeof(struct space_entry) + EXTENT_BLOCKS / 8;

	assert_true(k->space == 1 && k->bytes + bytes <= head()->index_bytes);
	memcpy((unsigned char *)k + k->bytes, space(), bytes);
	k->space++;
	k->bytes += bytes;
}

static void index_is_in_too_many_runs(void)
{
	head()->run_count = UINT32_MAX;
}

static void indexes_run_is_too_long(void)
{
	head()->run[0].blocks++;
}

static void index_is_endless(void)
{
	head()->index_bytes = UINT64_MAX - 100;
}

static void index_is_its_own_free_space(void)
{
	block_say(head()->run[0].block, true);
}

static void branch_has_no_end(void)
{
	memset(head()->branch, 'b', sizeof(head()->branch));
}

static void two_extents_begin_the_chain(void)
{
	struct extent_table *t = table();

	for (unsigned i = 0; i < t->extents; i++)
		if (!t->entry[i].owner || t->entry[i].magic != CONTAINER) {
			t->entry[i] = (struct extent_entry){head()->chain_id, CONTAINER + 1, EXTENT_FIRST};
			return;
		}
	fail_msg("the golden volume has no extent to spare");
}

static void table_has_too_many_extents(void)
{
	table()->extents = UINT32_MAX;
}

static void table_has_too_many_groups(void)
{
	table()->groups = UINT64_MAX;
}

/* ---- branches ---- */

static void branch_begins_with_itself(void)
{
	head_of("side")->parent_chain = head_of("side")->chain_id;
}

static void branches_begin_with_each_other(void)
{
	head()->parent_chain = head_of("side")->chain_id;
	head()->origin_seq = head()->origin_version = 1;
	segment(0)->map_bytes = 0; /* so that its first segment begins there */
	segment(0)->runs = 0;
}

static void origin_is_another_chain(void)
{
	head_of("side")->parent_chain++;
}

static void origin_is_not_there(void)
{
	head_of("side")->origin_seq = 1000;
}

static void origin_is_beyond_all(void)
{
	head_of("side")->origin_seq = UINT64_MAX - 2;
}

static void origin_is_of_no_chain(void)
{
	head_of("side")->parent_chain = 0;
}

static void origin_was_dropped(void)
{
	head_of("side")->origin_seq = 1;
}

static void origin_has_another_number(void)
{
	head_of("side")->origin_version++;
}

static const struct malformed {
	const char *what;
	void (*make)(void);
	int reading, writing; /* the errors of opening */
	const char *branch;   /* NULL: main */
} malformed[] = {
        {"a whole volume", nothing, 0, 0, NULL},
        {"a reserved run that goes beyond 2^64", reserved_run_goes_round, 0, -EUCLEAN, NULL},
        {"a reserved run of no blocks", reserved_run_is_empty, 0, -EUCLEAN, NULL},
        {"a reserved run in a record's place", reserved_run_is_in_use, 0, -EUCLEAN, NULL},
        {"a record that calls its version another", record_has_another_number, -EUCLEAN, -EUCLEAN, NULL},
        {"a record with a name without end", records_name_has_no_end, -EUCLEAN, -EUCLEAN, NULL},
        {"a page that left but has content", page_that_left_has_content, -EUCLEAN, -EUCLEAN, NULL},
        {"a page that neither is nor was anywhere", page_is_nowhere, -EUCLEAN, -EUCLEAN, NULL},
        {"a run of more pages than it has bytes for", run_has_more_pages_than_bytes, -EUCLEAN, -EUCLEAN, NULL},
        {"a patch of too many granules", patch_has_too_many_granules, -EUCLEAN, -EUCLEAN, NULL},
        {"a patch of more granules than it has bytes for", patch_has_more_granules_than_bytes, -EUCLEAN, -EUCLEAN,
         NULL},
        {"a patch of a page without a block", patch_has_no_block, -EUCLEAN, -EUCLEAN, NULL},
        {"a patch where the page was", patch_was_another, -EUCLEAN, -EUCLEAN, NULL},
        {"a patch of two pages", patch_is_of_two_pages, -EUCLEAN, -EUCLEAN, NULL},
        {"a patch that is as before, where there was none", patch_is_that_of_none_before, -EUCLEAN, -EUCLEAN, NULL},
        {"a record that counts other pages than it has", record_counts_other_pages, -EUCLEAN, -EUCLEAN, NULL},
        {"an endless record", record_is_endless, -EUCLEAN, -EUCLEAN, NULL},
        {"a page number beyond all", page_is_beyond_all, -EUCLEAN, -EUCLEAN, NULL},
        {"a record longer than the volume", record_is_longer_than_the_volume, -EUCLEAN, -EUCLEAN, NULL},
        {"a map with a message without end", maps_message_has_no_end, -EUCLEAN, -EUCLEAN, NULL},
        {"a map that calls its version another", map_has_another_number, -EUCLEAN, -EUCLEAN, NULL},
        {"a map that counts more pages than it has", map_counts_too_many, -EUCLEAN, -EUCLEAN, NULL},
        {"a map with a page twice", map_has_a_page_twice, -EUCLEAN, -EUCLEAN, NULL},
        {"a map with a block twice", map_has_a_block_twice, 0, -EUCLEAN, NULL},
        {"a map with a page that is written later", map_has_a_page_of_the_future, -EUCLEAN, -EUCLEAN, NULL},
        {"a map whose run is too long", maps_run_is_too_long, -EUCLEAN, -EUCLEAN, NULL},
        {"a map whose run is endless", maps_run_is_endless, -EUCLEAN, -EUCLEAN, NULL},
        {"a map whose run goes beyond 2^64", maps_run_goes_round, -EUCLEAN, -EUCLEAN, NULL},
        {"an older map whose run goes beyond 2^64", old_maps_run_goes_round, 0, -EUCLEAN, NULL},
        {"a map with endless runs", map_has_endless_runs, -EUCLEAN, -EUCLEAN, NULL},
        {"a map with a run of no blocks", map_has_no_runs, -EUCLEAN, -EUCLEAN, NULL},
        {"an endless map", map_is_endless, -EUCLEAN, -EUCLEAN, NULL},
        {"a map in a free block", maps_block_is_free, 0, -EUCLEAN, NULL},
        {"an older map in a free block", old_maps_block_is_free, 0, -EUCLEAN, NULL},
        {"a page in a free block", maps_page_is_free, 0, -EUCLEAN, NULL},
        {"a segment of version 2^64 - 2", segment_is_of_the_last_version_ever, -EUCLEAN, -EUCLEAN, NULL},
        {"a segment that ends before it begins", segment_ends_before_it_begins, -EUCLEAN, -EUCLEAN, NULL},
        {"a segment that ends behind the next", segment_ends_behind_the_next, -EUCLEAN, -EUCLEAN, NULL},
        {"a segment that does not end before the next", segment_does_not_end, -EUCLEAN, -EUCLEAN, NULL},
        {"a newest segment that ends", newest_segment_ends, -EUCLEAN, -EUCLEAN, NULL},
        {"segments in disorder", segments_are_in_disorder, -EUCLEAN, -EUCLEAN, NULL},
        {"segments with versions in disorder", segments_versions_are_in_disorder, -EUCLEAN, -EUCLEAN, NULL},
        {"a segment with neither a map nor an origin", segment_has_neither_map_nor_origin, -EUCLEAN, -EUCLEAN, NULL},
        {"a segment that calls its version another", segment_is_of_another_version, -EUCLEAN, -EUCLEAN, NULL},
        {"a segment with a record elsewhere", segment_names_another_record, -EUCLEAN, -EUCLEAN, NULL},
        {"an index without segments", index_has_no_segments, -EUCLEAN, -EUCLEAN, NULL},
        {"an index with endless segments", index_has_endless_segments, -EUCLEAN, -EUCLEAN, NULL},
        {"an index with endless kept ranges", index_has_endless_kept_ranges, -EUCLEAN, -EUCLEAN, NULL},
        {"an index with endless space", index_has_endless_space, 0, -EUCLEAN, NULL},
        {"an index longer than the head says", index_is_longer_than_the_head_says, -EUCLEAN, -EUCLEAN, NULL},
        {"an index shorter than its beginning", index_is_shorter_than_itself, -EUCLEAN, -EUCLEAN, NULL},
        {"an index of a later version", index_is_of_the_future, -EUCLEAN, -EUCLEAN, NULL},
        {"an index of versions that are not there", index_is_of_versions_that_are_not_there, -EUCLEAN, -EUCLEAN, NULL},
        {"an index of another chain", index_is_of_another_chain, -EUCLEAN, -EUCLEAN, NULL},
        {"kept ranges in disorder", kept_ranges_are_in_disorder, -EUCLEAN, -EUCLEAN, NULL},
        {"kept ranges that touch", kept_ranges_touch, -EUCLEAN, -EUCLEAN, NULL},
        {"a kept range that ends before it begins", kept_range_ends_before_it_begins, -EUCLEAN, -EUCLEAN, NULL},
        {"a kept range that begins with version 0", kept_range_begins_with_nothing, -EUCLEAN, -EUCLEAN, NULL},
        {"a newest version that is not kept", newest_version_is_not_kept, -EUCLEAN, -EUCLEAN, NULL},
        {"space that is not the chain's", space_is_not_its_own, 0, -EUCLEAN, NULL},
        {"space beyond all", space_is_nowhere, 0, -EUCLEAN, NULL},
        {"space that begins within an extent", space_begins_within_an_extent, 0, -EUCLEAN, NULL},
        {"space of no extents", space_is_of_no_extents, 0, -EUCLEAN, NULL},
        {"space of no kind", space_is_of_no_kind, 0, -EUCLEAN, NULL},
        {"bits of space for two extents", space_of_bits_is_of_two_extents, 0, -EUCLEAN, NULL},
        {"endless space", space_is_endless, 0, -EUCLEAN, NULL},
        {"space that is told twice", space_is_there_twice, 0, -EUCLEAN, NULL},
        {"an index in a free block", index_is_its_own_free_space, 0, -EUCLEAN, NULL},
        {"a head with more runs than fit", index_is_in_too_many_runs, -EUCLEAN, -EUCLEAN, NULL},
        {"a head with a run longer than its index", indexes_run_is_too_long, -EUCLEAN, -EUCLEAN, NULL},
        {"a head with an endless index", index_is_endless, -EUCLEAN, -EUCLEAN, NULL},
        {"a branch that begins with itself", branch_begins_with_itself, -EUCLEAN, -EUCLEAN, "side"},
        {"branches that begin with each other", branches_begin_with_each_other, -EUCLEAN, -EUCLEAN, "side"},
        {"a branch of a chain that is not there", origin_is_another_chain, -EUCLEAN, -EUCLEAN, "side"},
        {"a branch of a version that is not there", origin_is_not_there, -EUCLEAN, -EUCLEAN, "side"},
        {"a branch of version 2^64 - 3", origin_is_beyond_all, -EUCLEAN, -EUCLEAN, "side"},
        {"a branch of no chain", origin_is_of_no_chain, -EUCLEAN, -EUCLEAN, "side"},
        {"a branch of a version that was dropped", origin_was_dropped, -EUCLEAN, -EUCLEAN, "side"},
        {"a branch that calls its origin another", origin_has_another_number, -EUCLEAN, -EUCLEAN, "side"},
        {"a head with a branch without end", branch_has_no_end, -EUCLEAN, -EUCLEAN, NULL},
        {"two extents that begin one chain", two_extents_begin_the_chain, 0, -EUCLEAN, NULL},
        {"a table with more extents than a group has", table_has_too_many_extents, -EUCLEAN, -EUCLEAN, NULL},
        {"a table with more groups than a device has", table_has_too_many_groups, -EUCLEAN, -EUCLEAN, NULL},
};

static int chain_open(struct volume **v, struct chain **c, const char *branch, unsigned volume_flags,
                      unsigned chain_flags)
{
	int err = spm_volume_open(sim_state_driver(image, image_bytes), volume_flags, v);

	if (err)
		*v = NULL;
	return err ? err : spm_chain_open(*v, CONTAINER, branch ? branch : "main", chain_flags, 0, c);
}

/* What opens for writing can be written, and its accounts are right. */
static void commits_make(struct chain *c)
{
	static unsigned char data[SPM_PAGE_BYTES] __attribute__((aligned(4096)));
	struct page_change change = {.page = 77, .data = data, .meta.span_pages = 1};
	struct version_info info = {.versions_kept = 3, .branch = "main"};
	bool again;

	spm_chain_self_check(c);
	for (unsigned i = 0; i < 6; i++) {
		data[0]++;
		assert_int_equal(spm_chain_commit(c, &change, 1, true, &info), 0);
		assert_int_equal(spm_chain_maintain(c, true, &again), 0);
		spm_chain_self_check(c);
	}
}

/* Opened so, the present image gives what is expected; an error comes with a sentence. */
static void opens_as_expected(const struct malformed *m, bool for_writing)
{
	struct volume *v;
	struct chain *c = NULL;
	int expected = for_writing ? m->writing : m->reading;
	int err = for_writing ? chain_open(&v, &c, m->branch, VOLUME_CREATE | VOLUME_EAGER, CHAIN_WRITE)
	                      : chain_open(&v, &c, m->branch, VOLUME_READ_ONLY, 0);

	if (err != expected)
		fail_msg("%s, opened for %s: expected %d, got %d (%s)", m->what, for_writing ? "writing" : "reading",
		         expected, err, err ? spm_volume_error() : "");
	if (err && strlen(spm_volume_error()) < 30)
		fail_msg("%s: there is no sentence: '%s'", m->what, spm_volume_error());
	if (!err && for_writing)
		commits_make(c);
	if (!err)
		spm_chain_close(c);
	if (v)
		spm_volume_close(v);
}

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		memcpy(image, golden, sizeof(image));
		malformed[i].make();
		resum(image, image_bytes);
		opens_as_expected(&malformed[i], false);
		opens_as_expected(&malformed[i], true);
	}
}

static int sentence_keep(const char *sentence, void *arg)
{
	snprintf(arg, 200, "%s", sentence);
	return 0;
}

static struct volume *image_open(void)
{
	struct volume *v;

	assert_int_equal(spm_volume_open(sim_state_driver(image, image_bytes), VOLUME_READ_ONLY, &v), 0);
	return v;
}

static int branch_version_open(const char *branch, uint64_t version)
{
	struct volume *v = image_open();
	struct chain *c;
	int err = spm_chain_open_version(v, CONTAINER, branch, version, &c);

	if (!err)
		spm_chain_close(c);
	spm_volume_close(v);
	return err;
}

static int version_open(uint64_t version)
{
	return branch_version_open("main", version);
}

static void an_endless_row_of_branches_has_no_version(void **state)
{
	(void)state;
	memcpy(image, golden, sizeof(image));
	branch_begins_with_itself();
	resum(image, image_bytes);
	assert_int_equal(branch_version_open("side", 1), -EUCLEAN);
	memcpy(image, golden, sizeof(image));
	branches_begin_with_each_other();
	resum(image, image_bytes);
	assert_int_equal(branch_version_open("side", 1), -EUCLEAN);
}

/* An older segment's map that says other things than were: the newest version is right, softpm check says what is not, and
 * who asks for an older one is told. */
static void check_names_a_record_that_contradicts_an_older_map(void **state)
{
	struct segment_entry *older;
	struct run_place *first;
	struct map_image *k;
	char sentence[200] = "";
	struct volume *v;
	uint64_t whole;

	(void)state;
	memcpy(image, golden, sizeof(image));
	older = segment(index_of_main()->segments - 2);
	assert_true(older->last > older->seq);
	k = block_at(map_run(older)->block);
	first = place((struct page_run *)(void *)(k + 1));
	first->birth = first->birth == 1 ? 2 : 1;
	resum(image, image_bytes);
	v = image_open();
	assert_int_equal(spm_volume_check(v, CONTAINER, "main", sentence_keep, sentence, &whole), 1);
	assert_non_null(strstr(sentence, "contradicts the map"));
	assert_int_equal(whole, record(0)->info.version);
	spm_volume_close(v);
	assert_int_equal(version_open(older->version + 1), -EUCLEAN);
	assert_int_equal(version_open(record(0)->info.version), 0);
}

/* What is damaged is not called absent. */
static void an_older_version_behind_a_damaged_record_is_damaged(void **state)
{
	struct segment_entry *older;

	(void)state;
	memcpy(image, golden, sizeof(image));
	older = segment(index_of_main()->segments - 2);
	assert_int_equal(version_open(older->version + 1), 0);
	((unsigned char *)block_at(older->next[0].block))[600] ^= 1;
	assert_int_equal(version_open(older->version + 1), -EUCLEAN);
	assert_int_equal(version_open(record(0)->info.version), 0);
}

/* A commit that the power interrupted is no version, however one asks for it. */
static void a_version_that_was_never_whole_is_not_there(void **state)
{
	uint64_t version;

	(void)state;
	memcpy(image, golden, sizeof(image));
	version = record(0)->info.version;
	assert_true(!record(0)->is_data_durable && place(run(0))->birth == record(0)->seq);
	((unsigned char *)block_at(place(run(0))->block))[5] ^= 1;
	assert_int_equal(version_open(version), -ENOENT);
	assert_int_equal(version_open(version - 1), 0);
}

static int golden_read(void **state)
{
	unsigned char *bytes = sparse_read(test_source("fault/golden-4.vol.txt"), &image_bytes);

	(void)state;
	assert_non_null(bytes);
	assert_true(image_bytes <= sizeof(golden));
	memcpy(golden, bytes, image_bytes);
	free(bytes);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_makes_no_sense_is_refused),
	        cmocka_unit_test(an_endless_row_of_branches_has_no_version),
	        cmocka_unit_test(check_names_a_record_that_contradicts_an_older_map),
	        cmocka_unit_test(an_older_version_behind_a_damaged_record_is_damaged),
	        cmocka_unit_test(a_version_that_was_never_whole_is_not_there),
	};

	return cmocka_run_group_tests(tests, golden_read, NULL);
}
