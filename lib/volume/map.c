/* map.c - page -> place, in two levels: heap pages are dense within slices and slices are few. */
#include "volume/internal.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Blob pages follow the heap's 2^32 page numbers. 2^19 leaves of 2^13 pages reach to 2^32; the last leaves serve the
 * blob. */
enum { BLOB_LEAVES = 16, BLOB_LEAF = MAP_LEAVES - BLOB_LEAVES };

bool spm_map_page_is_possible(uint64_t page)
{
	if (page >= SPM_BLOB_PAGE)
		return page - SPM_BLOB_PAGE < (uint64_t)BLOB_LEAVES * MAP_LEAF_PAGES;
	return page < (uint64_t)BLOB_LEAF * MAP_LEAF_PAGES;
}

static size_t leaf_of(uint64_t page)
{
	return (size_t)(page >= SPM_BLOB_PAGE ? BLOB_LEAF + (page - SPM_BLOB_PAGE) / MAP_LEAF_PAGES
	                                      : page / MAP_LEAF_PAGES);
}

struct place *spm_map_get(struct chain *c, uint64_t page)
{
	struct place *leaf = c->leaf && spm_map_page_is_possible(page) ? c->leaf[leaf_of(page)] : NULL;

	return leaf && leaf[page % MAP_LEAF_PAGES].birth ? &leaf[page % MAP_LEAF_PAGES] : NULL;
}

static void *space(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct place *spm_map_make(struct chain *c, uint64_t page)
{
	struct place **leaf;

	if (!c->leaf)
		c->leaf = space(MAP_LEAVES * sizeof(*c->leaf));
	if (!c->leaf)
		return NULL;
	leaf = &c->leaf[leaf_of(page)];
	if (!*leaf)
		*leaf = space(MAP_LEAF_PAGES * sizeof(**leaf));
	return *leaf ? &(*leaf)[page % MAP_LEAF_PAGES] : NULL;
}

int spm_map_each(struct chain *c, int (*fn)(uint64_t page, struct place *p, void *arg), void *arg)
{
	for (size_t l = 0; c->leaf && l < MAP_LEAVES; l++) {
		uint64_t first = l < BLOB_LEAF ? l * MAP_LEAF_PAGES : SPM_BLOB_PAGE + (l - BLOB_LEAF) * MAP_LEAF_PAGES;

		for (size_t i = 0; c->leaf[l] && i < MAP_LEAF_PAGES; i++) {
			int result = c->leaf[l][i].birth ? fn(first + i, &c->leaf[l][i], arg) : 0;

			if (result)
				return result;
		}
	}
	return 0;
}

void spm_map_free(struct chain *c)
{
	for (size_t l = 0; c->leaf && l < MAP_LEAVES; l++)
		if (c->leaf[l])
			munmap(c->leaf[l], MAP_LEAF_PAGES * sizeof(**c->leaf));
	if (c->leaf)
		munmap(c->leaf, MAP_LEAVES * sizeof(*c->leaf));
	c->leaf = NULL;
	c->pages = 0;
}
