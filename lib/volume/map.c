/* map.c - page -> place, in two levels: heap pages are dense within slices and slices are few. Of the first level
 * (16 MiB) most is never touched: a flag for every 512 leaves says where to look.
 *
 *   leaf[]    | NULL | NULL | 2048 places | NULL | ...
 *   draft[]   |   run   | run |      run         |        ascending; their bytes lie in image[]
 *
 * Recovery reads the map as runs, as records and map images tell it, and most of a large container is not changed soon. So
 * it makes no leaves of them: runs are drafts of the leaves, and stay in the bytes they were read in. A leaf is made
 * when a page of it is about to change, and from then on it alone tells of its pages, and the drafts that cross it say
 * nothing there. (The places of 1 GiB take 22 MiB; its runs, 2.) Patches of a leaf's pages are malloced, those of drafts lie in their bytes.
 */
#include "volume/internal.h"

#include <errno.h>
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

static uint64_t leaf_page(size_t l)
{
	return l < BLOB_LEAF ? (uint64_t)l * MAP_LEAF_PAGES : SPM_BLOB_PAGE + (l - BLOB_LEAF) * MAP_LEAF_PAGES;
}

/* The first draft that ends behind the page, or m->drafts. */
static size_t draft_from(const struct map *m, uint64_t page)
{
	size_t low = 0, high = m->drafts;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (m->draft[middle].page + m->draft[middle].pages <= page)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Pages [k, k + n) of the run. */
static void places_unpack(const struct source_run *r, uint32_t k, uint64_t n, struct place *out)
{
	struct place p = {.block = r->block ? r->block + k : 0,
	                  .birth = r->birth,
	                  .meta = {.span_pages = r->span_pages, .class = r->class, .flags = r->flags},
	                  .granules = r->granules,
	                  .patch = spm_source_patch(r)};
	const unsigned char *at = r->bytes + spm_source_bytes(r, k);

	p.meta.page_in_span = spm_source_page_in_span(r, k);
	for (; n; n--, p.block++) {
		*out = p;
		if (!p.meta.page_in_span) {
			memcpy(&out->meta.live, at, sizeof(out->meta.live));
			at += sizeof(out->meta.live);
		}
		if (p.block) {
			memcpy(&out->sum, at, sizeof(out->sum));
			at += sizeof(out->sum);
		}
		if (++p.meta.page_in_span == r->span_pages)
			p.meta.page_in_span = 0;
		out++;
	}
}

static struct place place_of(const struct source_run *r, uint32_t k)
{
	struct place p;

	places_unpack(r, k, 1, &p);
	return p;
}

const struct place *spm_map_get(const struct map *m, uint64_t page, struct place *room)
{
	const struct place *leaf = m->leaf && spm_map_page_is_possible(page) ? m->leaf[leaf_of(page)] : NULL;
	size_t d;

	if (leaf)
		return leaf[page % MAP_LEAF_PAGES].birth ? &leaf[page % MAP_LEAF_PAGES] : NULL;
	d = draft_from(m, page);
	if (d == m->drafts || m->draft[d].page > page)
		return NULL;
	*room = place_of(&m->draft[d], (uint32_t)(page - m->draft[d].page));
	return room;
}

static void leaf_free(struct place *leaf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (leaf[i].granules)
			free((void *)(uintptr_t)leaf[i].patch);
	spm_pages_unmap(leaf, MAP_LEAF_PAGES * sizeof(*leaf));
}

static int patch_own(struct place *p)
{
	if (p->granules)
		p->patch = spm_patch_copy(p->granules, p->patch);
	return p->granules && !p->patch ? -ENOMEM : 0;
}

/* Its patches lie in drafts still. NULL: no memory. */
static struct place *leaf_own(struct place *leaf)
{
	for (size_t i = 0; leaf && i < MAP_LEAF_PAGES; i++)
		if (patch_own(&leaf[i])) {
			leaf_free(leaf, i);
			return NULL;
		}
	return leaf;
}

static struct place *leaf_new(const struct map *m, uint64_t first)
{
	struct place *leaf = spm_pages_map(MAP_LEAF_PAGES * sizeof(*leaf), false);

	for (size_t d = draft_from(m, first); leaf && d < m->drafts; d++) {
		const struct source_run *r = &m->draft[d];
		uint64_t page = r->page > first ? r->page : first, end = first + MAP_LEAF_PAGES;

		if (page >= end)
			break;
		end = r->page + r->pages < end ? r->page + r->pages : end;
		if (page < end)
			places_unpack(r, (uint32_t)(page - r->page), end - page, &leaf[page - first]);
	}
	return leaf_own(leaf);
}

struct place *spm_map_make(struct map *m, uint64_t page)
{
	struct place **leaf;

	if (!m->leaf)
		m->leaf = spm_pages_map(MAP_LEAVES * sizeof(*m->leaf), false);
	if (!m->leaf)
		return NULL;
	leaf = &m->leaf[leaf_of(page)];
	if (!*leaf)
		*leaf = leaf_new(m, leaf_page(leaf_of(page)));
	m->has_leaves[leaf_of(page) / MAP_GROUP_LEAVES] = true;
	return *leaf ? &(*leaf)[page % MAP_LEAF_PAGES] : NULL;
}

/* The next leaf from `l` on that is there; MAP_LEAVES: none. */
static size_t leaf_next(const struct map *m, size_t l)
{
	while (m->leaf && l < MAP_LEAVES) {
		if (!m->has_leaves[l / MAP_GROUP_LEAVES])
			l = (l / MAP_GROUP_LEAVES + 1) * MAP_GROUP_LEAVES;
		else if (!m->leaf[l])
			l++;
		else
			return l;
	}
	return MAP_LEAVES;
}

/* ---- drafts ---- */

int spm_map_keep(struct map *m, void *image)
{
	void **more = realloc(m->image, (m->images + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	m->image = more;
	m->image[m->images++] = image;
	return 0;
}

static bool has_leaf(const struct map *m, size_t from, size_t to)
{
	for (size_t l = from; m->leaf && l <= to; l++)
		if (m->leaf[l])
			return true;
	return false;
}

/* Behind all other drafts, and where no leaf is. */
static bool may_be_draft(const struct map *m, const struct source_run *r)
{
	const struct source_run *last = m->drafts ? &m->draft[m->drafts - 1] : NULL;

	return (!last || r->page >= last->page + last->pages) &&
	       !has_leaf(m, leaf_of(r->page), leaf_of(r->page + r->pages - 1));
}

static int draft_add(struct map *m, const struct source_run *r)
{
	if (m->drafts == m->draft_room) {
		size_t room = m->draft_room * 2 + 64;
		struct source_run *more = realloc(m->draft, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->draft = more;
		m->draft_room = room;
	}
	m->draft[m->drafts++] = *r;
	return 0;
}

static int places_add(struct map *m, const struct source_run *r)
{
	for (uint32_t k = 0; k < r->pages; k++) {
		struct place *p = spm_map_make(m, r->page + k);

		if (!p)
			return -ENOMEM;
		if (p->birth)
			return -EUCLEAN;
		*p = place_of(r, k);
		if (patch_own(p)) {
			*p = (struct place){0};
			return -ENOMEM;
		}
	}
	return 0;
}

int spm_map_add(struct map *m, const struct source_run *r, bool is_kept)
{
	uint64_t last = r->page + r->pages - 1;
	int err;

	if (!spm_map_page_is_possible(r->page) || !spm_map_page_is_possible(last) ||
	    (r->page < SPM_BLOB_PAGE) != (last < SPM_BLOB_PAGE))
		return -EUCLEAN;
	err = is_kept && may_be_draft(m, r) ? draft_add(m, r) : places_add(m, r);
	if (!err) {
		m->pages += r->pages;
		m->patch_bytes += spm_patch_bytes(r->granules);
	}
	return err;
}

/* Pages that come and go in order (log.h) leave whole leaves empty: when the last of one goes, they are looked at. What drafts tell of
 * must stay. */
void spm_map_trim(struct map *m, uint64_t page)
{
	size_t l = leaf_of(page), d = draft_from(m, leaf_page(l));

	if (page % MAP_LEAF_PAGES != MAP_LEAF_PAGES - 1 || !m->leaf || !m->leaf[l])
		return;
	if (d < m->drafts && m->draft[d].page <= page)
		return;
	for (size_t i = 0; i < MAP_LEAF_PAGES; i++)
		if (m->leaf[l][i].birth)
			return;
	leaf_free(m->leaf[l], 0);
	m->leaf[l] = NULL;
}

bool spm_place_is(const struct place *a, const struct place *b)
{
	return a->block == b->block && a->sum == b->sum && a->birth == b->birth &&
	       !memcmp(&a->meta, &b->meta, sizeof(a->meta));
}

void spm_map_set(struct map *m, struct place *p, const struct place *to)
{
	struct place is = *to;

	m->pages += (uint64_t)(to->birth != 0) - (uint64_t)(p->birth != 0);
	m->patch_bytes += spm_patch_bytes(to->granules) - (uint64_t)spm_patch_bytes(p->granules);
	if (is.granules && !is.patch)
		is.patch = p->patch;
	else
		free((void *)(uintptr_t)p->patch);
	*p = is;
}

int spm_map_change(struct map *m, uint64_t page, const struct place *from, const struct place *to)
{
	struct place *p, change;

	if (!spm_map_page_is_possible(page))
		return -EUCLEAN;
	p = spm_map_make(m, page);
	if (!p)
		return -ENOMEM;
	if (!spm_place_is(p, from) || (to->granules && !to->patch && to->granules != p->granules))
		return -EUCLEAN;
	change = *to;
	if (change.patch && patch_own(&change))
		return -ENOMEM;
	spm_map_set(m, p, &change);
	return 0;
}

/* ---- all pages ---- */

struct walk {
	int (*fn)(const struct source_run *r, bool is_kept, void *arg);
	void *arg;
	size_t draft;  /* the next */
	uint64_t page; /* before it, all are told of */
};

/* What the drafts say of pages before `end`. */
static int drafts_visit(const struct map *m, struct walk *w, uint64_t end)
{
	int result = 0;

	while (w->draft < m->drafts && m->draft[w->draft].page < end && !result) {
		const struct source_run *r = &m->draft[w->draft];
		uint64_t from = r->page > w->page ? r->page : w->page;
		uint64_t to = r->page + r->pages < end ? r->page + r->pages : end;

		if (from < to) {
			struct source_run part = spm_source_part(r, (uint32_t)(from - r->page), (uint32_t)(to - from));

			result = w->fn(&part, true, w->arg);
		}
		if (r->page + r->pages > end)
			break;
		w->draft++;
	}
	w->page = end;
	return result;
}

static int place_visit(const struct walk *w, uint64_t page, const struct place *p)
{
	unsigned char bytes[SOURCE_BYTES_MOST + PATCH_BYTES_MOST];
	struct source_run r = {
	        page,          p->block,      p->birth,    1,    p->meta.span_pages, p->meta.page_in_span,
	        p->meta.class, p->meta.flags, p->granules, bytes};
	size_t n = 0;

	if (!p->meta.page_in_span) {
		memcpy(bytes, &p->meta.live, sizeof(p->meta.live));
		n = sizeof(p->meta.live);
	}
	memcpy(bytes + n, &p->sum, sizeof(p->sum));
	if (p->granules)
		memcpy(bytes + n + sizeof(p->sum), p->patch, spm_patch_bytes(p->granules));
	return w->fn(&r, false, w->arg);
}

static int leaf_visit(const struct map *m, struct walk *w, size_t l)
{
	int result = drafts_visit(m, w, leaf_page(l));

	for (size_t i = 0; i < MAP_LEAF_PAGES && !result; i++)
		if (m->leaf[l][i].birth)
			result = place_visit(w, leaf_page(l) + i, &m->leaf[l][i]);
	w->page = leaf_page(l) + MAP_LEAF_PAGES;
	return result;
}

int spm_map_each_run(const struct map *m, int (*fn)(const struct source_run *r, bool is_kept, void *arg), void *arg)
{
	struct walk w = {.fn = fn, .arg = arg};
	int result = 0;

	for (size_t l = leaf_next(m, 0); l < MAP_LEAVES && !result; l = leaf_next(m, l + 1))
		result = leaf_visit(m, &w, l);
	return result ? result : drafts_visit(m, &w, UINT64_MAX);
}

struct page_visit {
	int (*fn)(uint64_t page, const struct place *p, void *arg);
	void *arg;
};

static int pages_visit(const struct source_run *r, bool is_kept, void *arg)
{
	const struct page_visit *v = arg;
	int result = 0;

	(void)is_kept;
	for (uint32_t k = 0; k < r->pages && !result; k++) {
		struct place p = place_of(r, k);

		result = v->fn(r->page + k, &p, v->arg);
	}
	return result;
}

int spm_map_each(const struct map *m, int (*fn)(uint64_t page, const struct place *p, void *arg), void *arg)
{
	struct page_visit v = {fn, arg};

	return spm_map_each_run(m, pages_visit, &v);
}

void spm_map_free(struct map *m)
{
	for (size_t l = leaf_next(m, 0); l < MAP_LEAVES; l = leaf_next(m, l + 1))
		leaf_free(m->leaf[l], MAP_LEAF_PAGES);
	if (m->leaf)
		spm_pages_unmap(m->leaf, MAP_LEAVES * sizeof(*m->leaf));
	for (size_t i = 0; i < m->images; i++)
		free(m->image[i]);
	free(m->image);
	free(m->draft);
	m->leaf = NULL;
	m->image = NULL;
	m->draft = NULL;
	memset(m->has_leaves, 0, sizeof(m->has_leaves));
	m->pages = m->patch_bytes = m->drafts = m->draft_room = m->images = 0;
}
