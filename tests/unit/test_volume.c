/* test_volume.c - chains and their space: what two processes may do at once, fragments, failures, giving up a damaged
 * version. */
#include "driver/driver.h"
#include "scratch.h"
#include "slices.h"
#include "volume/format.h"
#include "volume/volume.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a driver over another, which counts and fails ---- */

struct watch {
	struct driver driver;
	struct driver *under;
	uint64_t flushes, record_at; /* where the last durable write went */
	uint64_t warmed;             /* blocks */
	int fail_flush;              /* -errno for the next flush or durable write */
	unsigned surprises;          /* reads of what was not expected */
	bool is_expected[1 << 16];   /* blocks */
};

static struct watch *watch_of(struct driver *d)
{
	return (struct watch *)d;
}

static int watch_read(struct driver *d, uint64_t offset, void *buffer, size_t bytes)
{
	struct watch *w = watch_of(d);

	w->surprises += !w->is_expected[offset / SPM_BLOCK_BYTES % (1 << 16)];
	return w->under->ops->read(w->under, offset, buffer, bytes);
}

static void watch_expect(struct driver *d, uint64_t offset, uint64_t bytes)
{
	for (uint64_t block = offset / SPM_BLOCK_BYTES; block < (offset + bytes) / SPM_BLOCK_BYTES; block++)
		watch_of(d)->is_expected[block % (1 << 16)] = true;
}

static int watch_write(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	return watch_of(d)->under->ops->write(watch_of(d)->under, offset, buffer, bytes);
}

static int watch_fails(struct watch *w)
{
	int err = w->fail_flush;

	w->flushes++;
	w->fail_flush = 0;
	return err;
}

static int watch_write_durable(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	watch_of(d)->record_at = offset;
	return watch_fails(watch_of(d)) ? -EIO : watch_write(d, offset, buffer, bytes);
}

static int watch_flush(struct driver *d)
{
	return watch_fails(watch_of(d));
}

static int watch_size(struct driver *d, uint64_t *bytes)
{
	return watch_of(d)->under->ops->size(watch_of(d)->under, bytes);
}

static int watch_grow(struct driver *d, uint64_t bytes)
{
	return watch_of(d)->under->ops->grow(watch_of(d)->under, bytes);
}

static int watch_warm(struct driver *d, uint64_t offset, uint64_t bytes)
{
	watch_of(d)->warmed += bytes / SPM_BLOCK_BYTES;
	return watch_of(d)->under->ops->warm(watch_of(d)->under, offset, bytes);
}

static int watch_lock(struct driver *d, uint64_t which, unsigned wait_ms, int *holder)
{
	(void)d, (void)which, (void)wait_ms, (void)holder;
	return 0;
}

static int watch_unlock(struct driver *d, uint64_t which)
{
	(void)d, (void)which;
	return 0;
}

/* The bytes outlive the volume: a test opens them again, and closes them itself. */
static void watch_close(struct driver *d)
{
	(void)d;
}

static const struct driver_ops watch_ops = {
        .read = watch_read,
        .expect = watch_expect,
        .write = watch_write,
        .write_durable = watch_write_durable,
        .flush = watch_flush,
        .size = watch_size,
        .grow = watch_grow,
        .warm = watch_warm,
        .lock = watch_lock,
        .unlock = watch_unlock,
        .close = watch_close,
};

static void watch_open(struct watch *w)
{
	*w = (struct watch){.driver.ops = &watch_ops};
	assert_int_equal(spm_driver_memory_open(UINT64_C(1) << 32, &w->under), 0);
}

static void watch_end(struct watch *w)
{
	w->under->ops->close(w->under);
}

/* ---- commits of pages filled with one number ---- */

enum { PAGES = 4096 };
static unsigned char data[PAGES][SPM_PAGE_BYTES] __attribute__((aligned(4096)));
static struct page_change change[PAGES];

static void page_fill(size_t i, uint64_t page, uint64_t value)
{
	for (size_t w = 0; w < SPM_PAGE_BYTES / 8; w++)
		memcpy(data[i] + w * 8, &value, 8);
	change[i] = (struct page_change){.page = page, .data = data[i], .meta.span_pages = 1};
}

static int commit(struct chain *c, size_t n)
{
	struct version_info info = {.versions_kept = 16, .branch = "main"};

	return spm_chain_commit(c, change, n, true, &info);
}

static uint64_t page_value(struct chain *c, uint64_t page)
{
	uint64_t words[SPM_PAGE_BYTES / 8] = {0};

	assert_int_equal(spm_chain_read(c, page, 1, words), 0);
	return words[17];
}

static void maintain_all(struct chain *c)
{
	for (bool again = true; again;)
		assert_int_equal(spm_chain_maintain(c, false, &again), 0);
}

/* A chain in a new volume. */
static void chain_begin(struct watch *w, struct volume **v, struct chain **c)
{
	watch_open(w);
	assert_int_equal(spm_volume_open(&w->driver, VOLUME_CREATE, v), 0);
	assert_int_equal(spm_chain_create(*v, 1, "main", c), 0);
}

static void chain_end(struct watch *w, struct volume *v, struct chain *c)
{
	spm_chain_close(c);
	spm_volume_close(v);
	watch_end(w);
}

/* Random small commits over a chain of PAGES pages. value[page] follows. */
static void scatter(struct chain *c, unsigned commits, uint64_t *value, uint64_t *random)
{
	for (unsigned n = 0; n < commits; n++) {
		size_t pages = 1 + test_random(random) % 3;

		for (size_t i = 0; i < pages; i++) {
			uint64_t page = (test_random(random) % (PAGES / 3)) * 3 + i; /* no page twice */

			page_fill(i, page, value[page] = test_random(random));
		}
		assert_int_equal(commit(c, pages), 0);
		maintain_all(c);
	}
}

static void a_first_commit_waits_for_six_flushes(void **state)
{
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	watch_open(&w);
	assert_int_equal(spm_volume_open(&w.driver, VOLUME_CREATE, &v), 0);
	assert_int_equal(w.flushes, 2); /* the table, the superblock */
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	assert_int_equal(w.flushes, 5); /* the head, the table's copies */
	page_fill(0, 0, 1);
	assert_int_equal(commit(c, 1), 0);
	assert_int_equal(w.flushes, 6);
	chain_end(&w, v, c);
}

static void space_stays_bounded_and_commits_take_one_flush(void **state)
{
	static uint64_t value[PAGES];
	uint64_t random = test_seed(), bytes, flushes;
	unsigned commits = (unsigned)test_number("SOFTPM_COMMITS", 20000);
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	chain_begin(&w, &v, &c);
	for (size_t i = 0; i < PAGES; i++)
		page_fill(i, i, value[i] = i + 1);
	assert_int_equal(commit(c, PAGES), 0);
	scatter(c, commits / 2, value, &random);
	flushes = w.flushes;
	scatter(c, commits / 2, value, &random);
	spm_chain_self_check(c);
	assert_in_range(w.flushes - flushes, commits / 2,
	                commits / 2 * 11 / 10); /* maps, indexes and growth take some, too */
	assert_int_equal(watch_size(&w.driver, &bytes), 0);
	printf("%u commits: %.2f times the live data\n", commits, (double)bytes / (PAGES * SPM_PAGE_BYTES));
	assert_true(bytes < 3ull * PAGES * SPM_PAGE_BYTES);
	for (size_t i = 0; i < PAGES; i++) /* a large record and many pages find room among the fragments */
		page_fill(i, i, value[i] = ~i);
	assert_int_equal(commit(c, PAGES), 0);
	spm_chain_self_check(c);
	spm_chain_close(c);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	for (size_t i = 0; i < PAGES; i++)
		assert_int_equal(page_value(c, i), value[i]);
	spm_chain_self_check(c);
	chain_end(&w, v, c);
}

/* As threads that share commits make them, of pages that are never written together again: the chain grows until it has runs that
 * long. */
static void commits_of_eight_scattered_pages_take_one_flush_too(void **state)
{
	enum { LIVE = 1024, COMMITS = 3000, TOGETHER = 8 };
	uint64_t random = test_seed(), flushes = 0;
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	chain_begin(&w, &v, &c);
	for (size_t i = 0; i < LIVE; i++)
		page_fill(i, i, i);
	assert_int_equal(commit(c, LIVE), 0);
	for (unsigned n = 0; n < COMMITS; n++) {
		flushes = n == COMMITS / 2 ? w.flushes : flushes;
		for (size_t i = 0; i < TOGETHER; i++)
			page_fill(i, i * LIVE / TOGETHER + test_random(&random) % (LIVE / TOGETHER), n);
		assert_int_equal(commit(c, TOGETHER), 0);
		maintain_all(c);
	}
	assert_in_range(w.flushes - flushes, COMMITS / 2, COMMITS / 2 * 11 / 10);
	spm_chain_self_check(c);
	chain_end(&w, v, c);
}

/* A page each for the changes of many operations: pages and record in one write, where so long a place is free. */
static void commits_of_fifty_pages_mostly_take_one_flush(void **state)
{
	enum { COMMITS = 100, TOGETHER = 50 };
	uint64_t flushes = 0;
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	chain_begin(&w, &v, &c);
	for (unsigned n = 0; n < COMMITS; n++) {
		flushes = n == COMMITS / 2 ? w.flushes : flushes;
		for (size_t i = 0; i < TOGETHER; i++)
			page_fill(i, i * 7, n);
		assert_int_equal(commit(c, TOGETHER), 0);
		maintain_all(c);
	}
	assert_in_range(w.flushes - flushes, COMMITS / 2, COMMITS / 2 * 15 / 10);
	chain_end(&w, v, c);
}

/* A device that was not asked before brings in each of them by itself, which takes as long as all of a neighbourhood. */
static void recovery_expects_the_records_of_small_commits(void **state)
{
	enum { COMMITS = 200, CHANGES = 10 };
	unsigned opened;
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	chain_begin(&w, &v, &c);
	for (uint64_t n = 1; n <= COMMITS; n++) {
		for (uint64_t i = 0; i < CHANGES; i++)
			page_fill(i, i, n);
		assert_int_equal(commit(c, CHANGES), 0);
	}
	spm_chain_close(c);
	spm_volume_close(v);
	w.surprises = 0;
	memset(w.is_expected, 0, sizeof(w.is_expected));
	assert_int_equal(spm_volume_open(&w.driver, 0, &v), 0);
	opened = w.surprises;
	assert_int_equal(spm_chain_open(v, 1, "main", 0, 0, &c), 0);
	assert_int_equal(page_value(c, 0), COMMITS);
	assert_in_range(w.surprises - opened, 1, 4); /* table, head, index */
	chain_end(&w, v, c);
}

/* A program that runs often finds its container as it left it: not on the device only. */
static void a_small_chain_is_asked_for_again_when_it_is_closed(void **state)
{
	enum { COMMITS = 30 };
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	chain_begin(&w, &v, &c);
	for (uint64_t n = 1; n <= COMMITS; n++) {
		page_fill(0, n, n);
		assert_int_equal(commit(c, 1), 0);
	}
	memset(w.is_expected, 0, sizeof(w.is_expected));
	spm_chain_close(c);
	spm_volume_close(v);
	w.surprises = 0;
	assert_int_equal(spm_volume_open(&w.driver, 0, &v), 0);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	for (uint64_t n = 1; n <= COMMITS; n++)
		assert_int_equal(page_value(c, n), n);
	assert_int_equal(w.surprises, 0);
	memset(w.is_expected, 0, sizeof(w.is_expected));
	spm_chain_close(c); /* it has written nothing */
	for (size_t i = 0; i < sizeof(w.is_expected); i++)
		assert_false(w.is_expected[i]);
	spm_volume_close(v);
	watch_end(&w);
}

static uint64_t volume_bytes(struct watch *w)
{
	uint64_t bytes;

	assert_int_equal(w->under->ops->size(w->under, &bytes), 0);
	return bytes;
}

static void pages_commit(struct chain *c, uint64_t first, size_t n, uint64_t value)
{
	for (size_t i = 0; i < n; i++)
		page_fill(i, first + i, value);
	assert_int_equal(commit(c, n), 0);
}

/* The third leaves no run as long as itself: the chain grows for that, but later. The fourth can't be without more space, but gets it as it
 * is: what the commit leaves is written with zeros later. */
static void commits_wait_neither_for_long_runs_nor_for_zeros(void **state)
{
	struct watch w;
	struct volume *v;
	struct chain *c;
	uint64_t bytes, warmed;

	(void)state;
	chain_begin(&w, &v, &c);
	bytes = volume_bytes(&w);
	warmed = w.warmed;
	pages_commit(c, 0, 25, 1);
	pages_commit(c, 0, 24, 2);
	pages_commit(c, 25, 47, 3);
	assert_int_equal(volume_bytes(&w), bytes);
	assert_int_equal(w.warmed, warmed);
	maintain_all(c);
	assert_true(volume_bytes(&w) > bytes);
	bytes = volume_bytes(&w);
	warmed = w.warmed;
	pages_commit(c, 100, 400, 4);
	assert_true(volume_bytes(&w) > bytes);
	assert_int_equal(w.warmed, warmed);
	maintain_all(c);
	assert_true(w.warmed > warmed);
	spm_chain_self_check(c);
	assert_int_equal(page_value(c, 24), 1);
	assert_int_equal(page_value(c, 0), 2);
	assert_int_equal(page_value(c, 71), 3);
	for (uint64_t page = 100; page < 500; page++)
		assert_int_equal(page_value(c, page), 4);
	chain_end(&w, v, c);
}

/* Groups of 128 MiB, each with a table at its start: small and large commits, and growth between them, leave it alone. */
static void a_volume_of_several_groups_keeps_their_tables(void **state)
{
	struct version_info info = {.branch = "main"}; /* all versions are kept */
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	chain_begin(&w, &v, &c);
	for (uint64_t n = 1; n <= 200; n++) {
		size_t pages = n % 10 ? 200 : 2000;

		for (size_t i = 0; i < pages; i++)
			page_fill(i, i, n);
		assert_int_equal(spm_chain_commit(c, change, pages, true, &info), 0);
		if (n % 3)
			maintain_all(c);
	}
	spm_chain_close(c);
	spm_volume_close(v);
	assert_int_equal(spm_volume_open(&w.driver, 0, &v), 0);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	assert_int_equal(page_value(c, 100), 200);
	spm_chain_self_check(c);
	chain_end(&w, v, c);
}

static void a_failed_flush_stops_all_writing_until_the_volume_is_opened_again(void **state)
{
	struct watch w;
	struct volume *v;
	struct chain *c[2];

	(void)state;
	watch_open(&w);
	assert_int_equal(spm_volume_open(&w.driver, VOLUME_CREATE, &v), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(spm_chain_create(v, i, "main", &c[i]), 0);
		page_fill(0, 5, 1);
		assert_int_equal(commit(c[i], 1), 0);
	}
	w.fail_flush = -ENOSPC; /* whatever the reason was */
	page_fill(0, 5, 2);
	assert_true(commit(c[0], 1) < 0);
	assert_int_equal(commit(c[0], 1), -EIO);
	assert_int_equal(commit(c[1], 1), -EIO); /* another chain's writes may be lost by the same flush */
	assert_non_null(strstr(spm_volume_error(), "open it again"));
	for (int i = 0; i < 2; i++)
		spm_chain_close(c[i]);
	spm_volume_close(v);
	assert_int_equal(spm_volume_open(&w.driver, 0, &v), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(spm_chain_open(v, i, "main", CHAIN_WRITE, 0, &c[i]), 0);
		assert_int_equal(page_value(c[i], 5), 1);
		assert_int_equal(commit(c[i], 1), 0);
		assert_int_equal(page_value(c[i], 5), 2);
		spm_chain_close(c[i]);
	}
	spm_volume_close(v);
	watch_end(&w);
}

/* ---- commits in batches ---- */

static int commit_slices(struct chain *c, size_t n, size_t slice, struct version_info *info)
{
	struct slices s = slices_of(change, n, slice);

	return spm_chain_commit_from(c, &s.source, false, info);
}

/* Random changes: added, changed, the same again, removed; value[page] follows. */
static size_t changes_random(uint64_t *value, size_t most, uint64_t *random)
{
	size_t n = 0;

	for (uint64_t page = 0; page < PAGES && n < most; page += 1 + test_random(random) % 4) {
		uint64_t r = test_random(random);

		page_fill(n, page, r % 3 ? r : value[page]);
		change[n++].is_removed = r % 7 == 0;
		value[page] = r % 7 == 0 ? 0 : r % 3 ? r : value[page];
	}
	return n;
}

static void a_commit_in_batches_is_the_same_as_one_at_once(void **state)
{
	static uint64_t value[PAGES];
	uint64_t random = test_seed();
	struct watch w;
	struct volume *v;
	struct chain *c[2];

	(void)state;
	watch_open(&w);
	assert_int_equal(spm_volume_open(&w.driver, VOLUME_CREATE, &v), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(spm_chain_create(v, i + 1, "main", &c[i]), 0);
	for (int round = 0; round < 60; round++) {
		size_t n = changes_random(value, round % 3 ? 30 : 1500, &random);
		struct version_info info[2] = {{.versions_kept = 4}, {.versions_kept = 4}};

		assert_int_equal(spm_chain_commit(c[0], change, n, false, &info[0]), 0);
		assert_int_equal(commit_slices(c[1], n, 1 + test_random(&random) % SLICE_MOST, &info[1]), 0);
		assert_int_equal(info[1].version, info[0].version);
		assert_int_equal(info[1].pages, info[0].pages);
		assert_int_equal(info[1].stored_pages, info[0].stored_pages);
		spm_chain_self_check(c[1]);
	}
	for (int i = 0; i < 2; i++) {
		spm_chain_close(c[i]);
		assert_int_equal(spm_chain_open(v, i + 1, "main", CHAIN_WRITE, 0, &c[i]), 0);
		for (size_t page = 0; page < PAGES; page++)
			assert_int_equal(page_value(c[i], page), value[page]);
		spm_chain_self_check(c[i]);
		spm_chain_close(c[i]);
	}
	spm_volume_close(v);
	watch_end(&w);
}

static void batches_of_unchanged_pages_make_no_version_and_write_nothing(void **state)
{
	struct version_info info = {.versions_kept = 1};
	struct watch w;
	struct volume *v;
	struct chain *c;
	uint64_t flushes;

	(void)state;
	chain_begin(&w, &v, &c);
	for (size_t i = 0; i < 1000; i++)
		page_fill(i, i, i + 1);
	assert_int_equal(commit_slices(c, 1000, 50, &info), 0);
	assert_int_equal(info.stored_pages, 1000);
	flushes = w.flushes;
	assert_int_equal(commit_slices(c, 1000, 50, &info), 0);
	assert_int_equal(info.version, 1);
	assert_int_equal(w.flushes, flushes);
	page_fill(333, 333, 7);
	info = (struct version_info){.chunk_bytes = 8 * SPM_PAGE_BYTES};
	assert_int_equal(commit_slices(c, 1000, 40, &info), 0);
	assert_int_equal(info.version, 2);
	assert_int_equal(info.stored_pages, 8); /* all of its chunk, nothing else */
	spm_chain_self_check(c);
	chain_end(&w, v, c);
}

/* Where the source, or the device, gives up in the midst: what was written is free again, however often. */
static void a_commit_that_fails_in_the_midst_gives_its_blocks_back(void **state)
{
	struct version_info info = {.versions_kept = 2};
	struct watch w = {.driver.ops = &watch_ops};
	uint64_t bytes, bytes_at_first = 0;
	struct volume *v;
	struct chain *c;

	(void)state;
	assert_int_equal(spm_driver_memory_open(8 << 20, &w.under), 0);
	assert_int_equal(spm_volume_open(&w.driver, VOLUME_CREATE, &v), 0);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	for (size_t i = 0; i < PAGES; i++)
		page_fill(i, i, 1);
	assert_int_equal(commit_slices(c, 20, 50, &info), 0);
	for (size_t i = 0; i < 40; i++) {
		struct slices s = slices_of(change, 1000, SLICE_MOST);

		s.fails_at = i * 25;
		page_fill(0, 0, i + 2);
		assert_int_equal(spm_chain_commit_from(c, &s.source, false, &info), -ESRCH);
		assert_int_equal(commit_slices(c, PAGES, SLICE_MOST, &info), -ENOSPC);
		spm_chain_self_check(c);
		assert_int_equal(page_value(c, 0), i ? i + 1 : 1);
		assert_int_equal(page_value(c, 100), 0);
		assert_int_equal(commit_slices(c, 1, 50, &info), 0);
		assert_int_equal(watch_size(&w.driver, &bytes), 0);
		bytes_at_first = i ? bytes_at_first : bytes;
		assert_int_equal(bytes, bytes_at_first);
	}
	spm_chain_close(c);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	assert_int_equal(page_value(c, 0), 41);
	assert_int_equal(page_value(c, 19), 1);
	chain_end(&w, v, c);
}

/* Versions 1 to 3, then version 3's record is destroyed behind the volume's back. */
static void damaged_make(struct watch *w, struct volume **v)
{
	static unsigned char noise[SPM_BLOCK_BYTES];
	struct chain *c;
	uint64_t at = 0;

	watch_open(w);
	assert_int_equal(spm_volume_open(&w->driver, VOLUME_CREATE, v), 0);
	assert_int_equal(spm_chain_create(*v, 1, "main", &c), 0);
	for (uint64_t n = 1; n <= 5; n++) {
		page_fill(0, 9, n);
		assert_int_equal(commit(c, 1), 0);
		if (n == 3)
			at = w->record_at;
	}
	spm_chain_close(c);
	memset(noise, 0x55, sizeof(noise));
	assert_int_equal(watch_write(&w->driver, at, noise, sizeof(noise)), 0);
}

static void versions_given_up_do_not_come_back(void **state)
{
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	damaged_make(&w, &v);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), -EUCLEAN);
	assert_non_null(strstr(spm_volume_error(), "newest whole version is 2"));
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE | CHAIN_NEWEST_WHOLE, 0, &c), 0);
	assert_int_equal(page_value(c, 9), 2);
	page_fill(0, 9, 33);
	assert_int_equal(commit(c, 1), 0); /* in the destroyed record's place, before the old version 4 */
	/* not closed: as after a crash, only the records tell what is there */
	struct chain *again;
	assert_int_equal(spm_chain_open(v, 1, "main", 0, 0, &again), 0);
	assert_int_equal(page_value(again, 9), 33);
	spm_chain_close(again);
	chain_end(&w, v, c);
}

static void no_version_follows_the_last_number(void **state)
{
	struct version_info info = {.version = INT64_MAX, .chunk_bytes = SPM_PAGE_BYTES};
	struct watch w;
	struct volume *v;
	struct chain *c;

	(void)state;
	chain_begin(&w, &v, &c);
	page_fill(0, 9, 1);
	assert_int_equal(spm_chain_commit(c, change, 1, true, &info), 0);
	page_fill(0, 9, 2);
	assert_int_equal(commit(c, 1), -EOVERFLOW);
	spm_chain_close(c);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	assert_int_equal(page_value(c, 9), 1);
	chain_end(&w, v, c);
}

static int count(const char *sentence, void *arg)
{
	(void)sentence;
	++*(int *)arg;
	return 0;
}

static void a_change_of_meta_alone_hides_no_damage(void **state)
{
	struct watch w;
	struct volume *v;
	struct chain *c;
	uint64_t whole, at;
	int damages = 0;

	(void)state;
	chain_begin(&w, &v, &c);
	page_fill(0, 4, 1);
	page_fill(1, 9, 2);
	assert_int_equal(commit(c, 2), 0);
	at = w.record_at;
	change[1].data = NULL;
	change[1].meta.span_pages = 2;
	assert_int_equal(commit(c, 2), 0); /* page 9 keeps its block */
	spm_chain_close(c);
	assert_int_equal(watch_write(&w.driver, at + 2 * SPM_BLOCK_BYTES, data[100], SPM_BLOCK_BYTES), 0); /* page 9 */
	assert_int_equal(spm_volume_check(v, 1, "main", count, &damages, &whole), 1);
	assert_int_equal(whole, 0); /* version 1 has the same damaged page */
	spm_volume_close(v);
	watch_end(&w);
}

/* ---- two processes ---- */

enum { RACES = 60 };

static void race(const char *path, volatile int *made, volatile int *turn, int me)
{
	struct driver *d;
	struct volume *v;
	char why[256];

	if (spm_driver_file_open(path, DRIVER_CREATE, &d, why) || spm_volume_open(d, VOLUME_CREATE, &v))
		_exit(1);
	for (int i = 1; i <= RACES; i++) {
		struct chain *c;
		int err;

		__atomic_fetch_add(&turn[i], 1, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&turn[i], __ATOMIC_SEQ_CST) < 2)
			;
		err = spm_chain_create(v, i, "main", &c);
		if (err && err != -EEXIST)
			_exit(2);
		if (!err)
			__atomic_fetch_add(&made[i], 1, __ATOMIC_SEQ_CST);
	}
	_exit(me & 0);
}

static void one_of_two_processes_makes_a_container(void **state)
{
	const char *path = scratch("race.vol");
	int *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	for (int p = 0; p < 2; p++)
		if (!fork())
			race(path, shared, shared + RACES + 1, p);
	for (int p = 0; p < 2; p++) {
		int status;

		wait(&status);
		assert_int_equal(status, 0);
	}
	for (int i = 1; i <= RACES; i++)
		assert_int_equal(shared[i], 1);
}

struct rewriting {
	struct driver *driver;
	_Atomic bool has_begun, is_ending;
	bool has_failed;
};

static void *rewrite(void *arg)
{
	struct rewriting *r = arg;
	const struct driver_ops *ops = r->driver->ops;
	static unsigned char there[SPM_PAGE_BYTES];

	while (!r->is_ending && !r->has_failed) {
		memset(data[0], ++there[0], SPM_PAGE_BYTES);
		r->has_failed = ops->write(r->driver, 0, data[0], SPM_PAGE_BYTES) ||
		                ops->read(r->driver, 0, there, SPM_PAGE_BYTES) ||
		                memcmp(there, data[0], SPM_PAGE_BYTES);
		r->has_begun = true;
	}
	return NULL;
}

/* A container's worker grows the volume ahead while points are written. */
static void a_volume_in_memory_grows_while_it_is_written(void **state)
{
	enum { STEP = 1 << 20, STEPS = 256 };
	struct rewriting r = {0};
	pthread_t thread;

	(void)state;
	assert_int_equal(spm_driver_memory_open((uint64_t)STEP * STEPS, &r.driver), 0);
	assert_int_equal(pthread_create(&thread, NULL, rewrite, &r), 0);
	while (!r.has_begun)
		sched_yield();
	for (uint64_t n = 1; n <= STEPS; n++)
		assert_int_equal(r.driver->ops->grow(r.driver, n * STEP), 0);
	assert_int_equal(r.driver->ops->grow(r.driver, (uint64_t)STEP * STEPS + 1), -ENOSPC);
	r.is_ending = true;
	pthread_join(thread, NULL);
	assert_false(r.has_failed);
	r.driver->ops->close(r.driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_first_commit_waits_for_six_flushes),
	        cmocka_unit_test(space_stays_bounded_and_commits_take_one_flush),
	        cmocka_unit_test(commits_of_eight_scattered_pages_take_one_flush_too),
	        cmocka_unit_test(commits_of_fifty_pages_mostly_take_one_flush),
	        cmocka_unit_test(recovery_expects_the_records_of_small_commits),
	        cmocka_unit_test(a_small_chain_is_asked_for_again_when_it_is_closed),
	        cmocka_unit_test(commits_wait_neither_for_long_runs_nor_for_zeros),
	        cmocka_unit_test(a_volume_of_several_groups_keeps_their_tables),
	        cmocka_unit_test(a_commit_in_batches_is_the_same_as_one_at_once),
	        cmocka_unit_test(batches_of_unchanged_pages_make_no_version_and_write_nothing),
	        cmocka_unit_test(a_commit_that_fails_in_the_midst_gives_its_blocks_back),
	        cmocka_unit_test(a_failed_flush_stops_all_writing_until_the_volume_is_opened_again),
	        cmocka_unit_test(versions_given_up_do_not_come_back),
	        cmocka_unit_test(no_version_follows_the_last_number),
	        cmocka_unit_test(a_change_of_meta_alone_hides_no_damage),
	        cmocka_unit_test(one_of_two_processes_makes_a_container),
	        cmocka_unit_test(a_volume_in_memory_grows_while_it_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
