/* restore.c - from a version back to memory: every page to its own address.
 *
 *   page map -> slices claimed -> spans made -> pages read, verified -> outward words mended -> marks
 *
 * Nothing is looked at on the way unless it must be: pages without outward pointers are only read. If a slice of the
 * container is in use in this process (another container that was made in another process, or an earlier restore),
 * its run of slices moves elsewhere as a whole, and every word that points into it moves along. That cannot be told
 * from an integer that looks the same, so it is done only then. The next point writes all pages at their places.
 *
 * The volume is untrusted input: page numbers, classes and spans are checked here or by the heap, and a root that is in
 * no live slot is refused.
 */
#include "container.h"
#include "fill.h"
#include "lazy.h"
#include "track/track.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t lazy_pages_least = 8192; /* 32 MiB, cached, are there in 15 ms: bench/restore */
static const uint64_t window_pages = (SPM_WINDOW_END - SPM_WINDOW_START) / SPM_PAGE_BYTES;

struct loading {
	struct container *c;
	uint64_t version;
	struct page_source *source;    /* of page i; numbers as in the version */
	const struct page_meta **meta; /* of page i; the chain's */
	size_t n, room;                /* room: pages of the version */
	bool is_source_shared;         /* with the container's struct lazy, which frees it */
	uint64_t blob_pages;
	bool is_used[SPM_SLICES];
	int32_t moved_by[SPM_SLICES]; /* slices */
	bool is_moved;
	size_t spans_of; /* the spans of so many pages are made */
};

static int damaged(const struct loading *l, const char *what, uint64_t where)
{
	return spm_fail(EUCLEAN, "container %d is damaged: %s (page %llu); see softpm check", l->c->magic, what,
	                (unsigned long long)where);
}

static int page_note(const struct page_source *source, const struct page_meta *meta, void *arg)
{
	struct loading *l = arg;

	if (source->page >= SPM_BLOB_PAGE) {
		l->blob_pages++;
		return 0;
	}
	SPM_CHECK(l->n < l->room);
	l->source[l->n] = *source;
	l->meta[l->n++] = meta;
	return 0;
}

static bool is_head(const struct loading *l, size_t i)
{
	return l->meta[i]->page_in_span == 0;
}

/* Checks what every page claims and notes the slices of every span. */
static int slices_note(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct page_meta *m = l->meta[i];
		uint64_t page = l->source[i].page, head = page - m->page_in_span, end = head + m->span_pages;

		if (page >= window_pages || m->page_in_span > page || !m->span_pages || end > window_pages ||
		    m->page_in_span >= m->span_pages)
			return damaged(l, "its page map holds an impossible page", page);
		for (uint64_t s = head / SPM_SLICE_PAGES; is_head(l, i) && s <= (end - 1) / SPM_SLICE_PAGES; s++)
			l->is_used[s] = true;
	}
	return 0;
}

/* Moves slices [from, from + n) to free ones. Between finding and claiming those, another thread may take one: then
 * others are looked for. */
static int run_move(struct loading *l, unsigned from, unsigned n)
{
	pageno_t place = 0;
	int err = -EEXIST;

	for (unsigned tries = 0; err == -EEXIST && tries < 1000; tries++) {
		err = spm_heap_find_slices(n, &place);
		if (!err)
			err = spm_heap_claim(place, n * SPM_SLICE_PAGES, l->c->arena);
	}
	for (unsigned s = from; !err && s < from + n; s++)
		l->moved_by[s] = (int32_t)(place / SPM_SLICE_PAGES) - (int32_t)from;
	l->is_moved |= !err;
	return err;
}

static int run_claim(struct loading *l, unsigned from, unsigned n)
{
	return spm_heap_claim(from * SPM_SLICE_PAGES, n * SPM_SLICE_PAGES, l->c->arena);
}

/* The next run of used slices at or after *from; its length, 0 at the end. */
static unsigned run_next(const struct loading *l, unsigned *from)
{
	unsigned n = 0;

	while (*from < SPM_SLICES && !l->is_used[*from])
		++*from;
	while (*from + n < SPM_SLICES && l->is_used[*from + n])
		n++;
	return n;
}

/* All runs that find their own place free get it before any other is moved: it might be moved right there. */
static int slices_claim(struct loading *l)
{
	bool *is_taken =
	        calloc(SPM_SLICES, sizeof(*is_taken)); /* by the run that begins there: somebody else has its place */
	int err = is_taken ? 0 : -ENOMEM;
	unsigned n;

	for (unsigned from = 0; !err && (n = run_next(l, &from)); from += n) {
		err = run_claim(l, from, n);
		is_taken[from] = err == -EEXIST;
		err = is_taken[from] ? 0 : err;
	}
	for (unsigned from = 0; !err && (n = run_next(l, &from)); from += n)
		err = is_taken[from] ? run_move(l, from, n) : 0;
	free(is_taken);
	return err ? spm_fail(-err, "container %d: no place in the heap window for its slices: %s", l->c->magic,
	                      strerror(-err))
	           : 0;
}

static pageno_t moved_page(const struct loading *l, uint64_t page)
{
	return (pageno_t)((int64_t)page + (int64_t)l->moved_by[page / SPM_SLICE_PAGES] * SPM_SLICE_PAGES);
}

static uint64_t moved_word(const struct loading *l, uint64_t word)
{
	return word + (uint64_t)((int64_t)l->moved_by[spm_page_of(word) / SPM_SLICE_PAGES] * (int64_t)SPM_SLICE_BYTES);
}

static int span_make(struct loading *l, size_t i)
{
	const struct page_meta *m = l->meta[i];
	uint64_t page = l->source[i].page;
	int err;

	if (slotset_empty(&m->live))
		return damaged(l, "a span has no live slot", page);
	err = spm_heap_restore_span(moved_page(l, page), m->span_pages, m->class, m->flags & HEAP_NOPTR, &m->live,
	                            l->c->arena);
	if (err == -ENOMEM)
		return spm_fail(ENOMEM, "container %d: no memory for its pages", l->c->magic);
	return err ? damaged(l, "a span makes no sense or overlaps another", page) : 0;
}

static bool is_in_its_span(const struct loading *l, size_t i)
{
	pageno_t page = moved_page(l, l->source[i].page);
	const struct span *s = spm_span_of(spm_page_address(page));

	return s && s->first == page - l->meta[i]->page_in_span;
}

/* A span's first page comes before its others. */
static int spans_make(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		bool is_ours =
		        l->is_used[l->source[i].page / SPM_SLICE_PAGES]; /* else another container's span is there */

		if (is_head(l, i) && span_make(l, i))
			return -1;
		l->spans_of = i + 1;
		if (!is_ours || !is_in_its_span(l, i))
			return damaged(l, "a page belongs to no span", l->source[i].page);
	}
	return 0;
}

/* After a failure: nobody else will ever free them. Not lazy ones: freeing touches their pages, which may not be had.
 */
static void spans_unmake(struct loading *l)
{
	int error = errno;

	for (size_t i = 0; i < l->spans_of && !l->c->lazy; i++) {
		const struct page_meta *m = l->meta[i];
		const struct span *s =
		        is_head(l, i) ? spm_span_of(spm_page_address(moved_page(l, l->source[i].page))) : NULL;

		for (unsigned slot = 0; s && slot < s->slots; slot++)
			if (slotset_has(&m->live, slot) && spm_slot_is_allocated(s, slot))
				spm_heap_free((void *)(uintptr_t)spm_slot_address(s, slot));
	}
	errno = error;
}

struct warn_note {
	struct container *c;
	uint64_t page_at;
};

static void pointer_lost(size_t word, const char *sentence, void *arg)
{
	struct warn_note *note = arg;

	spm_left_add(note->c, note->page_at + word * 8, 0, sentence);
}

static pageno_t fill_place(const void *arg, uint64_t page)
{
	return moved_page(arg, page);
}

static bool fill_wants_mending(const void *arg, size_t i)
{
	const struct loading *l = arg;
	unsigned flags = l->meta[i]->flags;

	return !(flags & HEAP_NOPTR) && (flags & PAGE_OUTSIDE || l->is_moved);
}

static void words_mend(void *arg, size_t i, uint64_t *word)
{
	struct loading *l = arg;
	struct warn_note note = {l->c, spm_page_address(moved_page(l, l->source[i].page))};

	if (l->meta[i]->flags & PAGE_OUTSIDE)
		spm_outside_decode(l->c->outside, word, SPM_PAGE_BYTES / 8, pointer_lost, &note);
	for (unsigned w = 0; l->is_moved && w < SPM_PAGE_BYTES / 8; w++)
		if (spm_in_window(word[w]))
			word[w] = moved_word(l, word[w]);
}

static int pages_fill(struct loading *l)
{
	struct fill f = {.chain = l->c->chain,
	                 .version = l->version,
	                 .source = l->source,
	                 .n = l->n,
	                 .place = fill_place,
	                 .wants_mending = fill_wants_mending,
	                 .mend = words_mend,
	                 .arg = l};
	int err = spm_fill_all(&f);

	return err ? spm_fail(-err, "%s", f.why) : 0;
}

/* Pages to mend come at once: what mending asks (the loader, malloc) must not be asked while threads stand still. */
static bool comes_lazily(const struct loading *l, size_t i)
{
	return l->source[i].block && !fill_wants_mending(l, i);
}

/* $SOFTPM_RESTORE; else lazy if it is worth it: eager is as fast for small containers, and refuses a damaged one at
 * once. `lazy`: pages that may come later. */
static bool wants_lazy(const struct loading *l, size_t lazy)
{
	const char *wish = getenv("SOFTPM_RESTORE");

	if (wish && !strcmp(wish, "lazy"))
		return lazy > 0;
	return lazy > lazy_pages_least && l->n - lazy < l->n / 16;
}

static bool may_be_lazy(const struct loading *l)
{
	const char *wish = getenv("SOFTPM_RESTORE");

	return !l->is_moved && l->c->arena && spm_lazy_is_possible() && (!wish || strcmp(wish, "eager"));
}

static int pages_mend_now(struct loading *l)
{
	uint64_t word[SPM_PAGE_BYTES / 8];
	int err = 0;

	for (size_t i = 0; i < l->n && !err; i++) {
		if (comes_lazily(l, i) || !l->source[i].block)
			continue;
		err = spm_chain_read_run(l->c->chain, l->version, &l->source[i], 1, word);
		if (err)
			return spm_fail_volume(err);
		words_mend(l, i, word);
		err = spm_lazy_supply(l->c->lazy, l->source[i].page, word);
	}
	return err ? spm_fail(-err, "container %d: no memory for its pages", l->c->magic) : 0;
}

/* Those that may come later: all of `source`, as a rule; else a list of their own. NULL: no memory. */
static struct page_source *lazy_list(struct loading *l, size_t n)
{
	struct page_source *list = n < l->n ? spm_pages_map(n * sizeof(*list) + 1, true) : NULL;
	size_t k = 0;

	for (size_t i = 0; i < l->n && list; i++)
		if (comes_lazily(l, i))
			list[k++] = l->source[i];
	return n < l->n ? list : l->source;
}

/* 1: it can't be done lazily after all. */
static int pages_lazy(struct loading *l)
{
	struct page_source *list;
	size_t n = 0;
	int err;

	for (size_t i = 0; i < l->n; i++)
		n += comes_lazily(l, i);
	if (!wants_lazy(l, n))
		return 1;
	list = lazy_list(l, n);
	if (!list)
		return 1;
	err = spm_lazy_watch(l->source, l->n);
	if (!err)
		err = spm_lazy_new(l->c->chain, l->version, list, n,
		                   (list == l->source ? l->room : n) * sizeof(*list) + 1, &l->c->lazy);
	if (list == l->source)
		l->is_source_shared = !err;
	else if (err)
		spm_pages_unmap(list, n * sizeof(*list) + 1);
	return err ? 1 : pages_mend_now(l);
}

static int pages_bring(struct loading *l)
{
	int result = may_be_lazy(l) ? pages_lazy(l) : 1;

	return result == 1 ? pages_fill(l) : result;
}

static int stale_note(struct loading *l)
{
	l->c->stale = malloc(l->n * sizeof(*l->c->stale) + 1);
	if (!l->c->stale)
		return spm_fail(ENOMEM, "container %d: no memory to move it", l->c->magic);
	for (size_t i = 0; i < l->n; i++)
		if (l->moved_by[l->source[i].page / SPM_SLICE_PAGES])
			l->c->stale[l->c->stale_count++] = l->source[i].page;
	return 0;
}

static uint64_t hint_moved(uint64_t address, const void *arg)
{
	return moved_word(arg, address);
}

static int marks_make(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		pageno_t page = moved_page(l, l->source[i].page);

		if (is_head(l, i))
			spm_marks_restore(l->c->marks, spm_span_of(spm_page_address(page)), &l->meta[i]->live);
		if (page == l->source[i].page)
			spm_marks_set_member(l->c->marks, page);
		if (l->is_moved)
			spm_marks_touch(l->c->marks, page);
	}
	if (!l->is_moved)
		return 0;
	spm_hints_move(&l->c->hints, hint_moved, l);
	/* Until the first point the moved pages are no members, so writes to them are not told apart: trace all. */
	l->c->wants_full_trace = true;
	return stale_note(l);
}

static int unwatched(const struct loading *l, int err)
{
	return err ? spm_fail(-err, "container %d: its pages can't be watched for writes: %s", l->c->magic,
	                      strerror(-err))
	           : 0;
}

/* From here on the tracker watches: what was just read is not dirty. One collect at a time in the process. Lazy pages
 * are watched already, and come as clean ones. */
static int settle(struct loading *l)
{
	int err = 0;

	if (l->c->lazy) {
		err = spm_lazy_start(l->c->lazy);
		return err ? spm_fail(-err, "container %d: no thread to restore it", l->c->magic) : 0;
	}
	spm_capture_begin();
	for (size_t i = 0; i < l->n && !err;) {
		pageno_t first = moved_page(l, l->source[i].page);
		uint32_t n = 1;

		while (i + n < l->n && moved_page(l, l->source[i + n].page) == first + n)
			n++;
		err = spm_capture_settle(first, n);
		i += n;
	}
	spm_capture_end();
	return unwatched(l, err);
}

static int root_set(struct loading *l, const struct version_info *info)
{
	uint64_t root = info->root;
	struct span *s;

	if (spm_in_window(root))
		root = moved_word(l, root);
	s = spm_in_window(root) ? spm_span_of(root) : NULL;
	if (!s || spm_span_slot(s, root) >= s->slots || !spm_marks_has(l->c->marks, s, spm_span_slot(s, root)))
		return damaged(l, "its root is in no live slot", spm_in_window(root) ? spm_page_of(root) : 0);
	l->c->root = root;
	l->c->root_bytes = info->root_bytes;
	return 0;
}

/* Other containers' points go on meanwhile: they know nothing of this one until it is in the table, and if they watch,
 * or protect, pages that are still being read, settle makes that good. */
static int load(struct loading *l, const struct version_info *info)
{
	int err;

	l->room = info->pages;
	l->source = spm_pages_map(l->room * sizeof(*l->source) + 1, true);
	l->meta = spm_pages_map(l->room * sizeof(*l->meta) + 1, true);
	if (!l->source || !l->meta)
		return spm_fail(ENOMEM, "container %d: no memory to restore it", l->c->magic);
	err = spm_chain_each_page(l->c->chain, page_note, l);
	if (err)
		return spm_fail_volume(err);
	if (unwatched(l, spm_track_init()) || spm_blob_load(l->c, l->blob_pages) || slices_note(l) || slices_claim(l) ||
	    spans_make(l))
		return -1;
	return pages_bring(l) || marks_make(l) || root_set(l, info) || settle(l) ? -1 : 0;
}

int spm_restore(struct container *c, const struct version_info *info)
{
	struct loading *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return spm_fail(ENOMEM, "container %d: no memory to restore it", c->magic);
	l->c = c;
	l->version = info->version;
	err = spm_heap_init() ? spm_fail(ENOMEM, "the heap window can't be had") : load(l, info);
	if (err)
		spans_unmake(l);
	if (!l->is_source_shared)
		spm_pages_unmap(l->source, l->room * sizeof(*l->source) + 1);
	spm_pages_unmap(l->meta, l->room * sizeof(*l->meta) + 1);
	free(l);
	return err;
}
