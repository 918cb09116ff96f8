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

enum { CONTAINER = 8 }; /* of the golden volume: the one with a checkpoint */

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

static struct chain_head *head(void)
{
	for (uint64_t b = 0; b < image_bytes / SPM_BLOCK_BYTES; b++) {
		struct chain_head *h = block_at(b);

		if (resum_kind_of(block_at(b)) == RESUM_HEAD && h->container == CONTAINER)
			return h;
	}
	fail_msg("the golden volume has no container %d", CONTAINER);
	return NULL;
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
	assert_true(newest - back > head()->checkpoint_seq);
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

static struct checkpoint *checkpoint(void)
{
	assert_true(head()->checkpoint_seq && head()->run_count == 1);
	return block_at(head()->run[0].block);
}

static struct record_place *checkpoint_record(uint64_t i)
{
	struct checkpoint *k = checkpoint();

	return (struct record_place *)(void *)((unsigned char *)k + k->bytes) - k->records + i;
}

static struct dead *checkpoint_dead(uint64_t i)
{
	return (struct dead *)(void *)checkpoint_record(0) - checkpoint()->deads + i;
}

/* The last of its runs, and the one before. */
static void checkpoint_last_runs(struct page_run **last, struct page_run **before)
{
	struct entry_cursor c = {.at = (unsigned char *)(checkpoint() + 1), .end = (unsigned char *)checkpoint_dead(0)};

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

static void checkpoints_name_has_no_end(void)
{
	memset(checkpoint()->info.message, 'm', sizeof(checkpoint()->info.message));
}

static void checkpoint_has_another_number(void)
{
	checkpoint()->info.version--;
}

static void checkpoint_is_of_the_last_version_ever(void)
{
	head()->checkpoint_seq = checkpoint()->seq = checkpoint()->info.version = UINT64_MAX;
}

static void checkpoint_counts_too_many(void)
{
	checkpoint()->pages += UINT64_C(1) << 60;
}

static void checkpoint_has_a_page_twice(void)
{
	struct page_run *last, *before;

	checkpoint_last_runs(&last, &before);
	last->page = before->page;
}

static void checkpoint_has_a_block_twice(void)
{
	struct page_run *last, *before; /* no later record tells of the last */

	checkpoint_last_runs(&last, &before);
	assert_true(place(last)->block && place(before)->block);
	place(last)->block = place(before)->block;
}

static void checkpoints_deads_are_in_disorder(void)
{
	assert_true(checkpoint()->deads > 1);
	checkpoint_dead(0)->death = UINT64_MAX;
}

static void checkpoints_records_are_in_disorder(void)
{
	assert_true(checkpoint()->records > 1);
	checkpoint_record(0)->seq = checkpoint()->seq;
}

static void checkpoint_is_in_too_many_runs(void)
{
	head()->run_count = UINT32_MAX;
}

static void checkpoint_is_endless(void)
{
	head()->checkpoint_bytes = UINT64_MAX - 100;
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

static const struct malformed {
	const char *what;
	void (*make)(void);
	int reading, writing; /* the errors of opening */
} malformed[] = {
        {"a whole volume", nothing, 0, 0},
        {"a reserved run that goes beyond 2^64", reserved_run_goes_round, 0, -EUCLEAN},
        {"a reserved run of no blocks", reserved_run_is_empty, 0, -EUCLEAN},
        {"a reserved run in a record's place", reserved_run_is_in_use, 0, -EUCLEAN},
        {"a record that calls its version another", record_has_another_number, -EUCLEAN, -EUCLEAN},
        {"a record with a name without end", records_name_has_no_end, -EUCLEAN, -EUCLEAN},
        {"a page that left but has content", page_that_left_has_content, -EUCLEAN, -EUCLEAN},
        {"a page that neither is nor was anywhere", page_is_nowhere, -EUCLEAN, -EUCLEAN},
        {"a run of more pages than it has bytes for", run_has_more_pages_than_bytes, -EUCLEAN, -EUCLEAN},
        {"a record that counts other pages than it has", record_counts_other_pages, -EUCLEAN, -EUCLEAN},
        {"an endless record", record_is_endless, -EUCLEAN, -EUCLEAN},
        {"a page number beyond all", page_is_beyond_all, -EUCLEAN, -EUCLEAN},
        {"a record longer than the volume", record_is_longer_than_the_volume, -EUCLEAN, -EUCLEAN},
        {"a checkpoint with a message without end", checkpoints_name_has_no_end, -EUCLEAN, -EUCLEAN},
        {"a checkpoint that calls its version another", checkpoint_has_another_number, -EUCLEAN, -EUCLEAN},
        {"a checkpoint of version 2^64 - 1", checkpoint_is_of_the_last_version_ever, -EUCLEAN, -EUCLEAN},
        {"a checkpoint that counts more pages than it has", checkpoint_counts_too_many, -EUCLEAN, -EUCLEAN},
        {"a checkpoint with a page twice", checkpoint_has_a_page_twice, -EUCLEAN, -EUCLEAN},
        {"a checkpoint with a block twice", checkpoint_has_a_block_twice, 0, -EUCLEAN},
        {"a checkpoint with dead blocks in disorder", checkpoints_deads_are_in_disorder, -EUCLEAN, -EUCLEAN},
        {"a checkpoint with records in disorder", checkpoints_records_are_in_disorder, -EUCLEAN, -EUCLEAN},
        {"a head with more runs than fit", checkpoint_is_in_too_many_runs, -EUCLEAN, -EUCLEAN},
        {"a head with an endless checkpoint", checkpoint_is_endless, -EUCLEAN, -EUCLEAN},
        {"a head with a branch without end", branch_has_no_end, -EUCLEAN, -EUCLEAN},
        {"two extents that begin one chain", two_extents_begin_the_chain, 0, -EUCLEAN},
        {"a table with more extents than a group has", table_has_too_many_extents, -EUCLEAN, -EUCLEAN},
        {"a table with more groups than a device has", table_has_too_many_groups, -EUCLEAN, -EUCLEAN},
};

static int chain_open(struct volume **v, struct chain **c, unsigned volume_flags, unsigned chain_flags)
{
	int err = spm_volume_open(sim_state_driver(image, image_bytes), volume_flags, v);

	if (err)
		*v = NULL;
	return err ? err : spm_chain_open(*v, CONTAINER, "main", chain_flags, 0, c);
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
	int err = for_writing ? chain_open(&v, &c, VOLUME_CREATE | VOLUME_EAGER, CHAIN_WRITE)
	                      : chain_open(&v, &c, VOLUME_READ_ONLY, 0);

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

/* The checkpoint's list of records leads to one that undoes other changes than were made: the newest version is right,
 * and softpm check says what is not. */
static void check_names_a_record_that_contradicts_the_map(void **state)
{
	char sentence[200] = "";
	struct volume *v;
	uint64_t whole;

	(void)state;
	memcpy(image, golden, sizeof(image));
	assert_true(checkpoint()->records > 1);
	checkpoint_record(checkpoint()->records - 1)->block = checkpoint_record(checkpoint()->records - 2)->block;
	resum(image, image_bytes);
	assert_int_equal(spm_volume_open(sim_state_driver(image, image_bytes), VOLUME_READ_ONLY, &v), 0);
	assert_int_equal(spm_volume_check(v, CONTAINER, "main", sentence_keep, sentence, &whole), 1);
	assert_non_null(strstr(sentence, "contradicts the map"));
	assert_int_equal(whole, record(0)->seq);
	spm_volume_close(v);
}

static int golden_read(void **state)
{
	unsigned char *bytes = sparse_read(test_source("fault/golden.vol.txt"), &image_bytes);

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
	        cmocka_unit_test(check_names_a_record_that_contradicts_the_map),
	};

	return cmocka_run_group_tests(tests, golden_read, NULL);
}
