/* map.c - page -> place, in two levels: heap pages are dense within slices and slices are few. Of the first level
 * (16 MiB) most is never touched: a flag for every 512 leaves says where to look. */
#include "volume/internal.h"

#include <stdlib.h>
#include <string.h>

/* Blob pages follow the heap's 2^32 page numbers. 2^21 leaves of 2^11 pages reach to 2^32; the last leaves serve the
 * blob. */
enum { BLOB_LEAVES = 64, BLOB_LEAF = MAP_LEAVES - BLOB_LEAVES };

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

struct place *spm_map_get(const struct chain *c, uint64_t page)
{
	struct place *leaf = c->leaf && spm_map_page_is_possible(page) ? c->leaf[leaf_of(page)] : NULL;

	return leaf && leaf[page % MAP_LEAF_PAGES].birth ? &leaf[page % MAP_LEAF_PAGES] : NULL;
}

struct place *spm_map_make(struct chain *c, uint64_t page)
{
	struct place **leaf;

	if (!c->leaf)
		c->leaf = spm_pages_map(MAP_LEAVES * sizeof(*c->leaf), false);
	if (!c->leaf)
		return NULL;
	leaf = &c->leaf[leaf_of(page)];
	if (!*leaf)
		*leaf = spm_pages_map(MAP_LEAF_PAGES * sizeof(**leaf), true);
	c->has_leaves[leaf_of(page) / MAP_GROUP_LEAVES] = true;
	return *leaf ? &(*leaf)[page % MAP_LEAF_PAGES] : NULL;
}

/* The next leaf from `l` on that is there; MAP_LEAVES: none. */
static size_t leaf_next(const struct chain *c, size_t l)
{
	while (c->leaf && l < MAP_LEAVES) {
		if (!c->has_leaves[l / MAP_GROUP_LEAVES])
			l = (l / MAP_GROUP_LEAVES + 1) * MAP_GROUP_LEAVES;
		else if (!c->leaf[l])
			l++;
		else
			return l;
	}
	return MAP_LEAVES;
}

int spm_map_each(struct chain *c, int (*fn)(uint64_t page, struct place *p, void *arg), void *arg)
{
	for (size_t l = leaf_next(c, 0); l < MAP_LEAVES; l = leaf_next(c, l + 1)) {
		uint64_t first = l < BLOB_LEAF ? l * MAP_LEAF_PAGES : SPM_BLOB_PAGE + (l - BLOB_LEAF) * MAP_LEAF_PAGES;

		for (size_t i = 0; i < MAP_LEAF_PAGES; i++) {
			int result = c->leaf[l][i].birth ? fn(first + i, &c->leaf[l][i], arg) : 0;

			if (result)
				return result;
		}
	}
	return 0;
}

void spm_map_free(struct chain *c)
{
	for (size_t l = leaf_next(c, 0); l < MAP_LEAVES; l = leaf_next(c, l + 1))
		spm_pages_unmap(c->leaf[l], MAP_LEAF_PAGES * sizeof(**c->leaf));
	if (c->leaf)
		spm_pages_unmap(c->leaf, MAP_LEAVES * sizeof(*c->leaf));
	c->leaf = NULL;
	memset(c->has_leaves, 0, sizeof(c->has_leaves));
	c->pages = 0;
}
