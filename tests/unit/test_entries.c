/* test_entries.c - entries as bytes: what comes out is what went in, runs are short, and nonsense is refused. */
#include "scratch.h"
#include "volume/entries.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ENTRIES = 500, ROUNDS = 400 };

static struct record_entry entry[ENTRIES];
static unsigned char bytes[ENTRIES * (ENTRY_BYTES_MOST + PATCH_BYTES_MOST)], patches[4096 + PATCH_BYTES_MOST];
static uint64_t random_state;

static uint64_t below(uint64_t n)
{
	return test_random(&random_state) % n;
}

static struct place place_any(void)
{
	struct place p = {.birth = 1 + below(3), .block = below(8) ? 1 + below(1000) : 0};

	p.sum = p.block ? test_random(&random_state) : 0;
	p.meta.span_pages = (uint32_t)(1 + below(5));
	p.meta.page_in_span = (uint32_t)below(p.meta.span_pages);
	p.meta.class = (uint8_t)below(3);
	p.meta.flags = (uint8_t)below(2);
	if (!p.meta.page_in_span)
		memset(&p.meta.live, (int)below(256), sizeof(p.meta.live));
	return p;
}

/* Usually one that may share the run. */
static struct place place_after(const struct place *last)
{
	struct place p = *last;

	if (!below(10) || !last->birth || !last->block || last->granules)
		return below(8) ? place_any() : (struct place){0};
	p.block++;
	p.sum = test_random(&random_state);
	p.meta.page_in_span = (p.meta.page_in_span + 1) % p.meta.span_pages;
	memset(&p.meta.live, p.meta.page_in_span ? 0 : (int)below(256), sizeof(p.meta.live));
	return p;
}

/* A new one, or that of before. */
static void patch_any(struct record_entry *e)
{
	e->is.granules = UINT32_C(1) << below(32) | UINT32_C(7) << below(32);
	e->is.patch = patches + below(4096);
	if (below(2) && e->was.block) {
		e->is.block = e->was.block;
		e->is.sum = e->was.sum;
		e->is.patch = NULL;
	}
}

static void entry_expect(const struct record_entry *e, struct record_entry expected)
{
	struct record_entry found = *e;

	assert_int_equal(found.is.patch != NULL, expected.is.patch != NULL);
	if (found.is.patch)
		assert_memory_equal(found.is.patch, expected.is.patch, spm_patch_bytes(found.is.granules));
	found.is.patch = expected.is.patch = NULL;
	assert_memory_equal(&found, &expected, sizeof(found));
}

static size_t entries_make(void)
{
	struct entry_writer w = {.to = bytes}, counted = {0};

	for (unsigned i = 0; i < ENTRIES; i++) {
		const struct record_entry *last = i ? &entry[i - 1] : &(struct record_entry){0};

		entry[i].page = last->page + (below(10) ? 1 : 1 + below(100));
		entry[i].is = place_after(&last->is);
		entry[i].was = place_after(&last->was);
		if (!entry[i].is.birth && !entry[i].was.birth)
			entry[i].is = place_any();
		if (entry[i].is.block && !below(4))
			patch_any(&entry[i]);
		spm_entry_put(&w, &entry[i]);
		spm_entry_put(&counted, &entry[i]);
	}
	assert_int_equal(w.bytes, counted.bytes);
	return w.bytes;
}

static void what_comes_out_is_what_went_in(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct entry_cursor c = {.at = bytes, .end = bytes + entries_make()};
		unsigned i = 0;

		for (; spm_entry_next(&c); i++)
			entry_expect(&c.entry, entry[i]);
		assert_false(c.is_broken);
		assert_int_equal(i, ENTRIES);
	}
}

/* A gigabyte in one block: 8 bytes for each page. In spans of four: their live slots too. */
static void neighbours_share_a_run(void **state)
{
	struct record_entry e = {.page = 7, .is = {.block = 100, .sum = 1, .birth = 1, .meta = {.span_pages = 262144}}};
	struct entry_writer large = {0}, small = {0};

	(void)state;
	for (unsigned i = 0; i < 262144; i++, e.page++, e.is.block++, e.is.meta.page_in_span++)
		spm_entry_put(&large, &e);
	e.is.meta = (struct page_meta){.span_pages = 4};
	for (unsigned i = 0; i < 4096; i++, e.page++, e.is.block++, e.is.meta.page_in_span = i % 4)
		spm_entry_put(&small, &e);
	assert_int_equal(large.bytes, 16 + 32 + 32 + 262144 * 8);
	assert_int_equal(small.bytes, 16 + 32 + 1024 * 32 + 4096 * 8);
}

/* Cut anywhere but between runs, it is broken; nothing beyond the end is read (the copy ends where the bytes do). */
static void what_is_cut_short_is_refused(void **state)
{
	size_t n = entries_make(), broken = 0;

	(void)state;
	for (size_t cut = 0; cut < n; cut += 4) {
		unsigned char *copy = malloc(cut + !cut);
		struct entry_cursor c = {.at = copy, .end = copy + cut};
		unsigned i = 0;

		memcpy(copy, bytes, cut);
		for (; spm_entry_next(&c); i++)
			entry_expect(&c.entry, entry[i]);
		assert_true(i < ENTRIES);
		broken += c.is_broken;
		free(copy);
	}
	assert_true(broken > n / 4 * 3 / 4);
}

/* However the bytes are changed, it ends, after no more pages than there are bytes for. */
static void nonsense_ends(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		size_t n = entries_make(), pages = 0;
		unsigned char *copy = malloc(n);
		struct entry_cursor c = {.at = copy, .end = copy + n};

		memcpy(copy, bytes, n);
		for (unsigned i = 0; i < 20; i++)
			copy[below(n)] = (unsigned char)(below(2) ? below(256) : 255);
		while (spm_entry_next(&c))
			pages++;
		assert_true(pages <= n / 8);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_comes_out_is_what_went_in),
	        cmocka_unit_test(neighbours_share_a_run),
	        cmocka_unit_test(what_is_cut_short_is_refused),
	        cmocka_unit_test(nonsense_ends),
	};

	random_state = test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
