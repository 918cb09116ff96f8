/* flip_volume.c - a closed volume with one byte flipped, or cut short: the newest version, right, or a clear error; never an older
 * one, a wrong byte, or a crash. $SOFTPM_FLIP_STRIDE (1: every byte).
 */
#include "scratch.h"
#include "sim_driver.h"
#include "volume/volume.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VERSIONS = 12, PAGES = 6 };

static unsigned char *image;
static uint64_t image_bytes;

static void page_fill(unsigned char *data, uint64_t version, unsigned i)
{
	memset(data, (int)(version * 16 + i), SPM_PAGE_BYTES);
}

/* Page i changes in every version of its parity. */
static uint64_t last_change(unsigned i)
{
	return VERSIONS - (VERSIONS + i) % 2;
}

static void version_make(struct chain *c, uint64_t version)
{
	static unsigned char data[PAGES][SPM_PAGE_BYTES] __attribute__((aligned(4096)));
	struct version_info info = {.versions_kept = 4, .branch = "main"};
	struct page_change change[PAGES];
	unsigned n = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		if ((version + i) % 2)
			continue;
		page_fill(data[n], version, i);
		change[n] = (struct page_change){.page = 100 + i, .data = data[n], .meta.span_pages = 1};
		n++;
	}
	assert_int_equal(spm_chain_commit(c, change, n, true, &info), 0);
}

static int volume_make(void **state)
{
	struct sim_log log = {0};
	struct sim_disk disk = {.stable = calloc(1, SIM_BYTES_MOST)};
	struct volume *v;
	struct chain *c;
	bool again;

	(void)state;
	assert_int_equal(spm_volume_open(sim_record(&log), VOLUME_CREATE, &v), 0);
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	for (uint64_t version = 1; version <= VERSIONS; version++) {
		version_make(c, version);
		if (version == VERSIONS / 2)
			assert_int_equal(spm_chain_maintain(c, true, &again), 0);
	}
	spm_chain_close(c);
	spm_volume_close(v);
	while (disk.done < log.ops)
		sim_disk_advance(&disk, &log);
	image = disk.stable;
	image_bytes = disk.size_now;
	sim_free(&log, &disk);
	return 0;
}

static void content_compare(struct chain *c, const char *what, uint64_t at)
{
	unsigned char found[SPM_PAGE_BYTES], expected[SPM_PAGE_BYTES];

	for (unsigned i = 0; i < PAGES; i++) {
		int err = spm_chain_read(c, 100 + i, 1, found);

		if (err == -EUCLEAN && strstr(spm_volume_error(), "damaged"))
			continue;
		page_fill(expected, last_change(i), i);
		if (err || memcmp(found, expected, sizeof(found)))
			fail_msg("%s %llu: page %u is wrong (%d)", what, (unsigned long long)at, i, err);
	}
}

/* The image, damaged, gives the newest version or a sentence. Whether it opened. */
static bool damaged_open(uint64_t bytes, const char *what, uint64_t at)
{
	struct version_info info;
	struct volume *v;
	struct chain *c;
	uint64_t whole;
	int err = spm_volume_open(sim_state_driver(image, bytes), VOLUME_READ_ONLY, &v);

	if (err && err != -EUCLEAN && err != -ENOTSUP)
		fail_msg("%s %llu: error %d, %s", what, (unsigned long long)at, err, spm_volume_error());
	if (err)
		return false;
	err = spm_chain_open(v, 1, "main", 0, 0, &c);
	if (err && err != -EUCLEAN)
		fail_msg("%s %llu: error %d, %s", what, (unsigned long long)at, err, spm_volume_error());
	if (!err) {
		assert_int_equal(spm_chain_newest(c, &info), 0);
		if (info.version != VERSIONS)
			fail_msg("%s %llu: version %llu came back silently", what, (unsigned long long)at,
			         (unsigned long long)info.version);
		content_compare(c, what, at);
		spm_chain_close(c);
	}
	spm_volume_check(v, 1, "main", NULL, NULL, &whole);
	spm_volume_close(v);
	return !err;
}

/* Of blocks whose bytes are all alike (empty space, pages), a few bytes are enough. */
static bool is_dull(uint64_t at)
{
	uint64_t block = at & ~(uint64_t)(SPM_BLOCK_BYTES - 1);

	return at - block > 64 && !memcmp(image + block, image + block + 1, SPM_BLOCK_BYTES - 1);
}

static void every_flipped_byte_is_harmless_or_named(void **state)
{
	uint64_t stride = test_number("SOFTPM_FLIP_STRIDE", 29), opened = 0, tried = 0;

	(void)state;
	for (uint64_t at = 0; at < image_bytes; at += stride) {
		if (is_dull(at))
			continue;
		image[at] ^= 0x55;
		opened += damaged_open(image_bytes, "byte", at);
		tried++;
		image[at] ^= 0x55;
	}
	printf("%llu bytes flipped: %llu opened, %llu named the damage\n", (unsigned long long)tried,
	       (unsigned long long)opened, (unsigned long long)(tried - opened));
	assert_true(opened > 0 && opened < tried);
}

static void a_volume_cut_short_is_harmless_or_named(void **state)
{
	(void)state;
	for (uint64_t bytes = SPM_BLOCK_BYTES; bytes < image_bytes; bytes += SPM_BLOCK_BYTES)
		damaged_open(bytes, "cut at", bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(every_flipped_byte_is_harmless_or_named),
	        cmocka_unit_test(a_volume_cut_short_is_harmless_or_named),
	};

	return cmocka_run_group_tests(tests, volume_make, NULL);
}
