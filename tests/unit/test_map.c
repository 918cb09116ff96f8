/* test_map.c - the map against a plain table: runs that stay in the bytes they came in, and pages that change among them.
 */
#include "scratch.h"
#include "volume/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { HEAP_PAGES = 5 * MAP_LEAF_PAGES, BLOB_PAGES = 100, PAGES = HEAP_PAGES + BLOB_PAGES, ROUNDS = 60, CHANGES = 400 };

static struct place model[PAGES], before[PAGES]; /* birth 0: not there */
static uint64_t random_state;

static uint64_t below(uint64_t n)
{
	return test_random(&random_state) % n;
}

static uint64_t page_of(size_t n)
{
	return n < HEAP_PAGES ? n + 7 * MAP_LEAF_PAGES : SPM_BLOB_PAGE + n - HEAP_PAGES;
}

static size_t index_of(uint64_t page)
{
	return page < SPM_BLOB_PAGE ? page - 7 * MAP_LEAF_PAGES : page - SPM_BLOB_PAGE + HEAP_PAGES;
}

static unsigned char patches[4096 + PATCH_BYTES_MOST];

static struct place place_any(void)
{
	struct place p = {.birth = 1 + below(3), .block = below(8) ? 1 + below(1000) : 0};

	if (p.block && !below(4)) {
		p.granules = UINT32_C(1) << below(32) | UINT32_C(7) << below(32);
		p.patch = patches + below(4096);
	}

	p.sum = p.block ? test_random(&random_state) : 0;
	p.meta.span_pages = (uint32_t)below(5);
	p.meta.page_in_span = (uint32_t)below(3);
	p.meta.class = (uint8_t)below(3);
	if (!p.meta.page_in_span)
		memset(&p.meta.live, (int)below(256), sizeof(p.meta.live));
	return p;
}

static struct place place_after(const struct place *last)
{
	struct place p = *last;

	if (!below(100) || !p.birth || !p.block || p.granules || p.meta.page_in_span >= p.meta.span_pages)
		return below(8) ? place_any() : (struct place){0};
	p.block++;
	p.sum = test_random(&random_state);
	p.meta.page_in_span = (p.meta.page_in_span + 1) % p.meta.span_pages;
	memset(&p.meta.live, p.meta.page_in_span ? 0 : (int)below(256), sizeof(p.meta.live));
	return p;
}

/* Pages [from, end) of the model, anew, come into the map from one image. Runs that make no sense come page by page. */
static void image_add(struct map *m, size_t from, size_t end)
{
	unsigned char *image = malloc((end - from) * (ENTRY_BYTES_MOST + PATCH_BYTES_MOST) + 1);
	struct entry_writer w = {.to = image};
	struct entry_cursor e = {.at = image};
	struct source_run run;
	bool is_kept = below(4);

	assert_non_null(image);
	for (size_t i = from; i < end; i++) {
		model[i] = place_after(i > from ? &model[i - 1] : &(struct place){0});
		if (model[i].birth)
			spm_entry_put(&w, &(struct record_entry){.page = page_of(i), .is = model[i]});
	}
	e.end = image + w.bytes;
	if (is_kept)
		assert_int_equal(spm_map_keep(m, image), 0);
	for (;;) {
		if (spm_entry_run(&e, &run))
			assert_int_equal(spm_map_add(m, &run, is_kept), 0);
		else if (spm_entry_next(&e))
			assert_int_equal(spm_map_change(m, e.entry.page, &e.entry.was, &e.entry.is), 0);
		else
			break;
	}
	assert_false(e.is_broken);
	if (!is_kept)
		free(image);
}

static void map_make(struct map *m)
{
	size_t middle = below(HEAP_PAGES - 100);

	memset(model, 0, sizeof(model));
	image_add(m, 0, middle);
	image_add(m, middle, HEAP_PAGES - below(100));
	image_add(m, HEAP_PAGES, PAGES);
}

/* A patch that stays is not told again. */
static void page_keep_patch(struct map *m, size_t i)
{
	struct place from = model[i], to, wrong;

	model[i].meta.class ^= 1;
	to = model[i];
	to.patch = NULL;
	wrong = to;
	wrong.granules ^= 1;
	assert_int_equal(spm_map_change(m, page_of(i), &from, &wrong), -EUCLEAN);
	assert_int_equal(spm_map_change(m, page_of(i), &from, &to), 0);
}

static void page_change(struct map *m)
{
	size_t i = below(PAGES);
	struct place from = model[i], wrong = from;

	wrong.sum++;
	assert_int_equal(spm_map_change(m, page_of(i), &wrong, &from), -EUCLEAN);
	if (from.granules && below(2)) {
		page_keep_patch(m, i);
		return;
	}
	model[i] = below(2) ? place_any() : place_after(i ? &model[i - 1] : &(struct place){0});
	if (model[i].birth && !below(4)) /* like those beside it but for this */
		model[i].birth += 1;
	assert_int_equal(spm_map_change(m, page_of(i), &from, &model[i]), 0);
}

static void place_expect(const struct place *p, const struct place *expected)
{
	assert_true(spm_place_is(p, expected) && p->granules == expected->granules);
	if (p->granules)
		assert_memory_equal(p->patch, expected->patch, spm_patch_bytes(p->granules));
}

static void page_expect(const struct map *m, size_t i)
{
	struct place room;
	const struct place *p = spm_map_get(m, page_of(i), &room);

	assert_int_equal(p != NULL, model[i].birth != 0);
	if (p)
		place_expect(p, &model[i]);
}

static int page_told(uint64_t page, const struct place *p, void *arg)
{
	size_t i = index_of(page), *next = arg;

	for (; *next < i; ++*next)
		assert_int_equal(model[*next].birth, 0);
	assert_int_equal(*next, i);
	place_expect(p, &model[i]);
	++*next;
	return 0;
}

static void map_expect(const struct map *m)
{
	size_t next = 0;
	uint64_t pages = 0, patch_bytes = 0;

	assert_int_equal(spm_map_each(m, page_told, &next), 0);
	for (; next < PAGES; next++)
		assert_int_equal(model[next].birth, 0);
	for (size_t i = 0; i < PAGES; i++) {
		pages += model[i].birth != 0;
		patch_bytes += spm_patch_bytes(model[i].granules);
	}
	assert_int_equal(m->pages, pages);
	assert_int_equal(m->patch_bytes, patch_bytes);
}

/* What the list says is what the map was when it was made. */
static void list_expect(const struct source_list *list, const struct place *expected)
{
	size_t seen = 0, there = 0;

	for (size_t r = 0; r < list->n; r++)
		for (uint32_t k = 0; k < list->run[r].pages; k++, seen++) {
			struct page_source s = spm_source_of(&list->run[r], k);
			struct page_meta meta = spm_source_meta(&list->run[r], k);
			const struct place *p = &expected[index_of(s.page)];

			assert_true(p->birth && p->birth == list->run[r].birth);
			assert_true(s.block == p->block && s.sum == p->sum);
			assert_memory_equal(&meta, &p->meta, sizeof(meta));
			assert_int_equal(s.granules, p->granules);
			if (s.granules)
				assert_memory_equal(s.patch, p->patch, spm_patch_bytes(s.granules));
		}
	for (size_t i = 0; i < PAGES; i++)
		there += expected[i].birth != 0;
	assert_int_equal(seen, there);
}

static void the_map_is_what_was_put_into_it(void **state)
{
	(void)state;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct map *m = calloc(1, sizeof(*m));
		struct source_list list;

		assert_non_null(m);
		map_make(m);
		map_expect(m);
		for (unsigned i = 0; i < below(CHANGES); i++) {
			page_expect(m, below(PAGES));
			page_change(m);
		}
		map_expect(m);
		assert_int_equal(spm_map_list(m, &list), 0);
		memcpy(before, model, sizeof(before));
		for (unsigned i = 0; i < CHANGES; i++)
			page_change(m);
		list_expect(&list, before);
		map_expect(m);
		spm_source_list_free(&list);
		spm_map_free(m);
		free(m);
	}
}

/* However it lies to what is there, and kept or not: a page has one place. */
static void no_page_comes_twice(void **state)
{
	unsigned char bytes[8 * 20] = {0};
	struct source_run run = {.page = 100,
	                         .block = 50,
	                         .birth = 1,
	                         .pages = 10,
	                         .span_pages = 100,
	                         .page_in_span = 1,
	                         .bytes = bytes};
	struct map *m = calloc(1, sizeof(*m));

	(void)state;
	assert_non_null(m);
	assert_int_equal(spm_map_add(m, &run, true), 0);
	for (uint64_t page = 91; page < 110; page++) {
		run.page = page;
		assert_int_equal(spm_map_add(m, &run, page & 1), -EUCLEAN);
	}
	run.page = SPM_BLOB_PAGE - 5;
	assert_int_equal(spm_map_add(m, &run, true), -EUCLEAN);
	run.page = UINT64_MAX - 50;
	assert_int_equal(spm_map_add(m, &run, true), -EUCLEAN);
	spm_map_free(m);
	free(m);
}

/* A gigabyte that is only read needs no places: but a page of it that changes gets its leaf. */
static void only_what_changes_is_unpacked(void **state)
{
	enum { GIB_PAGES = 262144 };
	unsigned char *bytes = calloc(GIB_PAGES, 8);
	struct source_run run = {.page = 3 * MAP_LEAF_PAGES,
	                         .block = 50,
	                         .birth = 1,
	                         .pages = GIB_PAGES,
	                         .span_pages = GIB_PAGES + 1,
	                         .page_in_span = 1,
	                         .bytes = bytes};
	struct map *m = calloc(1, sizeof(*m));
	struct place room, gone = {0};
	size_t leaves = 0;

	(void)state;
	assert_true(bytes && m);
	assert_int_equal(spm_map_keep(m, bytes), 0);
	assert_int_equal(spm_map_add(m, &run, true), 0);
	assert_non_null(spm_map_get(m, run.page + 100000, &room));
	assert_null(m->leaf);
	assert_int_equal(spm_map_change(m, run.page + 100000, &room, &gone), 0);
	for (size_t l = 0; l < MAP_LEAVES; l++)
		leaves += m->leaf[l] != NULL;
	assert_int_equal(leaves, 1);
	assert_null(spm_map_get(m, run.page + 100000, &room));
	assert_int_equal(spm_map_get(m, run.page + 100001, &room)->block, 100051);
	spm_map_free(m);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_map_is_what_was_put_into_it),
	        cmocka_unit_test(no_page_comes_twice),
	        cmocka_unit_test(only_what_changes_is_unpacked),
	};

	random_state = test_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
