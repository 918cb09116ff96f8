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
#include "track/track.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t window_pages = (SPM_WINDOW_END - SPM_WINDOW_START) / SPM_PAGE_BYTES;

struct loaded_page {
	uint64_t page; /* as in the version */
	struct page_meta meta;
	bool has_data;
};

struct loading {
	struct container *c;
	struct loaded_page *page;
	size_t n, room;
	uint64_t blob_pages;
	bool is_used[SPM_SLICES];
	int32_t moved_by[SPM_SLICES]; /* slices */
	bool is_moved;
};

static int damaged(const struct loading *l, const char *what, uint64_t where)
{
	return spm_fail(EUCLEAN, "container %d is damaged: %s (page %llu); see softpm check", l->c->magic, what,
	                (unsigned long long)where);
}

static int page_note(uint64_t page, const struct page_meta *meta, bool has_data, void *arg)
{
	struct loading *l = arg;

	if (page >= SPM_BLOB_PAGE) {
		l->blob_pages++;
		return 0;
	}
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 1024;
		struct loaded_page *more = realloc(l->page, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->page = more;
		l->room = room;
	}
	l->page[l->n++] = (struct loaded_page){page, *meta, has_data};
	return 0;
}

static bool is_head(const struct loaded_page *p)
{
	return p->meta.page_in_span == 0;
}

/* Checks what every page claims and notes the slices of every span. */
static int slices_note(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct loaded_page *p = &l->page[i];
		uint64_t head = p->page - p->meta.page_in_span, end = head + p->meta.span_pages;

		if (p->page >= window_pages || p->meta.page_in_span > p->page || !p->meta.span_pages ||
		    end > window_pages || p->meta.page_in_span >= p->meta.span_pages)
			return damaged(l, "its page map holds an impossible page", p->page);
		for (uint64_t s = head / SPM_SLICE_PAGES; is_head(p) && s <= (end - 1) / SPM_SLICE_PAGES; s++)
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

static int spans_make(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct loaded_page *p = &l->page[i];
		int err;

		if (!is_head(p))
			continue;
		if (slotset_empty(&p->meta.live))
			return damaged(l, "a span has no live slot", p->page);
		err = spm_heap_restore_span(moved_page(l, p->page), p->meta.span_pages, p->meta.class,
		                            p->meta.flags & HEAP_NOPTR, &p->meta.live, l->c->arena);
		if (err == -ENOMEM)
			return spm_fail(ENOMEM, "container %d: no memory for its pages", l->c->magic);
		if (err)
			return damaged(l, "a span makes no sense or overlaps another", p->page);
	}
	return 0;
}

static bool is_in_its_span(const struct loading *l, const struct loaded_page *p)
{
	pageno_t page = moved_page(l, p->page);
	const struct span *s = spm_span_of(spm_page_address(page));

	return s && s->first == page - p->meta.page_in_span;
}

/* A system call can't write to a page that the mprotect tracker still protects from an earlier use. */
static void pages_open(pageno_t first, size_t n)
{
	for (size_t i = 0; i < n; i++)
		*(volatile unsigned char *)(uintptr_t)spm_page_address(first + (pageno_t)i) = 0;
}

/* Reads runs of pages that follow each other, straight to their places. */
static int pages_read(struct loading *l)
{
	for (size_t i = 0; i < l->n;) {
		size_t n = 0;
		int err;

		while (i + n < l->n && l->page[i + n].page == l->page[i].page + n &&
		       l->moved_by[l->page[i + n].page / SPM_SLICE_PAGES] ==
		               l->moved_by[l->page[i].page / SPM_SLICE_PAGES]) {
			if (!is_in_its_span(l, &l->page[i + n]))
				return damaged(l, "a page belongs to no span", l->page[i + n].page);
			n++;
		}
		pages_open(moved_page(l, l->page[i].page), n);
		err = spm_chain_read(l->c->chain, l->page[i].page, n,
		                     (void *)(uintptr_t)spm_page_address(moved_page(l, l->page[i].page)));
		if (err)
			return spm_fail_volume(err);
		i += n;
	}
	return 0;
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

static void words_mend(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct loaded_page *p = &l->page[i];
		struct warn_note note = {l->c, spm_page_address(moved_page(l, p->page))};
		uint64_t *word = (uint64_t *)(uintptr_t)note.page_at;

		if (p->meta.flags & HEAP_NOPTR || !p->has_data)
			continue;
		if (p->meta.flags & PAGE_OUTSIDE)
			spm_outside_decode(l->c->outside, word, SPM_PAGE_BYTES / 8, pointer_lost, &note);
		for (unsigned w = 0; l->is_moved && w < SPM_PAGE_BYTES / 8; w++)
			if (spm_in_window(word[w]))
				word[w] = moved_word(l, word[w]);
	}
}

static int stale_note(struct loading *l)
{
	l->c->stale = malloc(l->n * sizeof(*l->c->stale) + 1);
	if (!l->c->stale)
		return spm_fail(ENOMEM, "container %d: no memory to move it", l->c->magic);
	for (size_t i = 0; i < l->n; i++)
		if (l->moved_by[l->page[i].page / SPM_SLICE_PAGES])
			l->c->stale[l->c->stale_count++] = l->page[i].page;
	return 0;
}

static int marks_make(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct loaded_page *p = &l->page[i];
		pageno_t page = moved_page(l, p->page);

		if (is_head(p))
			spm_marks_restore(l->c->marks, spm_span_of(spm_page_address(page)), &p->meta.live);
		if (page == p->page)
			spm_marks_set_member(l->c->marks, page);
		if (l->is_moved)
			spm_marks_touch(l->c->marks, page);
	}
	if (!l->is_moved)
		return 0;
	/* Until the first point the moved pages are no members, so writes to them are not told apart: trace all. */
	l->c->wants_full_trace = true;
	return stale_note(l);
}

/* From here on the tracker watches: what was just read is not dirty. */
static int settle(struct loading *l)
{
	int err = spm_track_init();

	for (size_t i = 0; i < l->n && !err;) {
		pageno_t first = moved_page(l, l->page[i].page);
		uint32_t n = 1;

		while (i + n < l->n && moved_page(l, l->page[i + n].page) == first + n)
			n++;
		err = spm_capture_settle(first, n);
		i += n;
	}
	return err ? spm_fail(-err, "container %d: its pages can't be watched for writes: %s", l->c->magic,
	                      strerror(-err))
	           : 0;
}

static int blob_load(struct loading *l)
{
	uint64_t bytes;
	unsigned char *blob;
	int err;

	if (!l->blob_pages)
		return 0;
	if (l->blob_pages > 65536)
		return damaged(l, "its table of modules is too long", SPM_BLOB_PAGE);
	blob = calloc(l->blob_pages, SPM_PAGE_BYTES);
	if (!blob)
		return spm_fail(ENOMEM, "container %d: no memory for its table of modules", l->c->magic);
	err = spm_chain_read(l->c->chain, SPM_BLOB_PAGE, l->blob_pages, blob);
	if (err) {
		free(blob);
		return spm_fail_volume(err);
	}
	memcpy(&bytes, blob, 8);
	err = bytes > l->blob_pages * SPM_PAGE_BYTES - 8 ? -EINVAL : spm_outside_load(l->c->outside, blob + 8, bytes);
	free(blob);
	return err ? damaged(l, "its table of modules is malformed", SPM_BLOB_PAGE) : 0;
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

/* Other containers' captures wait: they would watch, and protect, pages that are still being read. */
static int pages_load(struct loading *l, const struct version_info *info)
{
	int err;

	spm_capture_lock();
	err = spans_make(l) || pages_read(l) ? -1 : 0;
	if (!err) {
		words_mend(l);
		err = marks_make(l) || root_set(l, info) || settle(l) ? -1 : 0;
	}
	spm_capture_unlock();
	return err;
}

static int load(struct loading *l, const struct version_info *info)
{
	int err = spm_chain_each_page(l->c->chain, page_note, l);

	if (err)
		return spm_fail_volume(err);
	if (blob_load(l) || slices_note(l) || slices_claim(l))
		return -1;
	return pages_load(l, info);
}

int spm_restore(struct container *c, const struct version_info *info)
{
	struct loading *l = calloc(1, sizeof(*l));
	int err;

	if (!l)
		return spm_fail(ENOMEM, "container %d: no memory to restore it", c->magic);
	l->c = c;
	spm_heap_init();
	err = spm_heap_init() ? spm_fail(ENOMEM, "the heap window can't be had") : load(l, info);
	free(l->page);
	free(l);
	return err;
}
