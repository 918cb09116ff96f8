/* restore.c - from a version back to memory: every page to its own address.
 *
 *   page map -> slices claimed -> spans made -> pages read, verified -> outward words mended -> marks
 *
 * Nothing is looked at on the way unless it must be: pages without outward pointers are only read. If a slice of the
 * container is in use in this process (another container that was made in another process, or an earlier restore), or is the window's
 * first, its run of slices lies elsewhere as a whole, and every word that points into it is changed (moved.h). That cannot be told
 * from an integer that looks the same, so it is done only then.
 *
 * The volume is untrusted input: page numbers, classes and spans are checked here or by the heap, and a root that is in
 * no live slot is refused.
 */
#include "container.h"
#include "fill.h"
#include "heap/window.h"
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
	struct source_list list; /* numbers as in the version */
	size_t n;                /* so many runs are of the heap; the others are the blob's */
	uint64_t pages, blob_pages;
	bool is_used[SPM_SLICES];
	bool is_crossed[SPM_SLICES]; /* a span goes on there that began in the slice before */
	size_t spans;                /* so many are made */
};

static int damaged(const struct loading *l, const char *what, uint64_t where)
{
	return spm_fail(EUCLEAN, "container %d is damaged: %s (page %llu); see softpm check", l->c->magic, what,
	                (unsigned long long)where);
}

static uint64_t last_page(const struct source_run *r)
{
	return r->page + r->pages - 1;
}

static void runs_count(struct loading *l)
{
	for (size_t i = 0; i < l->list.n; i++) {
		bool is_blob = l->list.run[i].page >= SPM_BLOB_PAGE;

		l->n += !is_blob;
		*(is_blob ? &l->blob_pages : &l->pages) += l->list.run[i].pages;
	}
}

/* Checks what a run claims and notes the slices of every span that begins in it. */
static int slices_note(struct loading *l, const struct source_run *r)
{
	uint32_t last_in_span = spm_source_page_in_span(r, r->pages - 1), head = spm_source_head(r, 0);
	uint64_t end = last_page(r) - last_in_span + r->span_pages;

	if (r->page_in_span >= r->span_pages || r->page_in_span > r->page || last_page(r) >= window_pages ||
	    end > window_pages)
		return damaged(l, "its page map holds an impossible page", r->page);
	for (uint64_t s = (r->page + head) / SPM_SLICE_PAGES; head < r->pages && s <= (end - 1) / SPM_SLICE_PAGES; s++)
		l->is_used[s] = true;
	for (uint64_t s = r->page / SPM_SLICE_PAGES + 1; s <= (end - 1) / SPM_SLICE_PAGES; s++)
		l->is_crossed[s] |= s * SPM_SLICE_PAGES > last_page(r) ||
		                    spm_source_page_in_span(r, (uint32_t)(s * SPM_SLICE_PAGES - r->page));
	return 0;
}

static int all_slices_note(struct loading *l)
{
	int err = 0;

	for (size_t i = 0; i < l->n && !err; i++)
		err = slices_note(l, &l->list.run[i]);
	return err;
}

/* Each slice where it is. */
static struct moved *moved_new(void)
{
	struct moved *m = calloc(1, sizeof(*m));

	for (unsigned s = 0; s < SPM_SLICES && m; s++)
		m->slice[s] = (uint16_t)s;
	return m;
}

/* Whether the version has something there: then they are, or will be, swapped themselves. */
static bool are_used(const struct loading *l, pageno_t place, unsigned n)
{
	bool are = false;

	for (unsigned s = 0; s < n; s++)
		are |= l->is_used[place / SPM_SLICE_PAGES + s];
	return are;
}

/* Swaps slices [from, from + n) with free ones, which are none of the version's: of a run that moves because one of its slices is
 * taken, others may be free. Those are the container's then, for what it allocates, and others are looked for; also if another
 * thread takes one between finding and claiming. */
static int run_move(struct loading *l, unsigned from, unsigned n)
{
	struct container *c = l->c;
	pageno_t place = 0;
	int err = -EEXIST;

	if (!c->moved)
		c->moved = moved_new();
	if (!c->moved)
		return -ENOMEM;
	for (unsigned tries = 0; err == -EEXIST && tries < 1000; tries++) {
		err = spm_heap_find_slices(n, &place);
		if (!err)
			err = spm_heap_claim(place, n * SPM_SLICE_PAGES, c->arena);
		if (!err && are_used(l, place, n))
			err = -EEXIST;
	}
	for (unsigned s = 0; !err && s < n; s++) {
		c->moved->slice[from + s] = (uint16_t)(place / SPM_SLICE_PAGES + s);
		c->moved->slice[place / SPM_SLICE_PAGES + s] = (uint16_t)(from + s);
	}
	return err;
}

/* Not if a span would lie across the border of what another container has moved: that could not have it in a version. */
static int run_claim(struct loading *l, unsigned from, unsigned n)
{
	for (unsigned s = from + 1; s < from + n; s++)
		if (l->is_crossed[s] && spm_run_is_fenced(s * SPM_SLICE_PAGES, 1))
			return -EEXIST;
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

/* What lies on either side of a run that was moved is not beside it in the version: no span may cross over. */
static void fences_set(const struct moved *m, int fences)
{
	for (uint32_t s = 0; m && s + 1 < SPM_SLICES; s++)
		if (m->slice[s + 1] != m->slice[s] + 1)
			spm_heap_fence(s + 1, fences);
}

void spm_restore_end(struct container *c)
{
	fences_set(c->moved, -1);
	free(c->moved);
	c->moved = NULL;
}

/* In this process, now. */
static bool is_crossed_here(unsigned slice)
{
	const struct span *s = spm_span_of(spm_page_address(slice * SPM_SLICE_PAGES));

	return s && s->first < slice * SPM_SLICE_PAGES;
}

/* Other containers' spans that lie across the border of a run: what they cover is moved with it, for the program may make them
 * this container's, too, and in its versions a span must be in one piece. */
static void runs_widen(struct loading *l)
{
	for (unsigned s = 1; s < SPM_SLICES; s++)
		l->is_used[s] |= l->is_used[s - 1] && is_crossed_here(s);
	for (unsigned s = SPM_SLICES - 1; s; s--)
		l->is_used[s - 1] |= l->is_used[s] && is_crossed_here(s);
}

/* All runs that find their own place free get it before any other is moved: it might be moved right there. */
static int slices_claim(struct loading *l)
{
	bool *is_taken =
	        calloc(SPM_SLICES, sizeof(*is_taken)); /* by the run that begins there: somebody else has its place */
	int err = is_taken ? 0 : -ENOMEM;
	unsigned n;

	runs_widen(l);
	for (unsigned from = 0; !err && (n = run_next(l, &from)); from += n) {
		err = run_claim(l, from, n);
		is_taken[from] = err == -EEXIST;
		err = is_taken[from] ? 0 : err;
	}
	for (unsigned from = 0; !err && (n = run_next(l, &from)); from += n)
		err = is_taken[from] ? run_move(l, from, n) : 0;
	free(is_taken);
	fences_set(l->c->moved, 1);
	return err ? spm_fail(-err, "container %d: no place in the heap window for its slices: %s", l->c->magic,
	                      strerror(-err))
	           : 0;
}

static pageno_t moved_page(const struct loading *l, uint64_t page)
{
	return (pageno_t)spm_moved_page(l->c->moved, page);
}

/* The spans that begin in the run, from page k on, `most` at most. None: spans is 0. */
static struct span_row spans_of(const struct loading *l, const struct source_run *r, uint32_t k, uint32_t most)
{
	uint32_t head = spm_source_head(r, k), spans = head < r->pages ? (r->pages - head - 1) / r->span_pages + 1 : 0;

	return (struct span_row){.first = moved_page(l, r->page) + head,
	                         .pages = r->span_pages,
	                         .class = r->class,
	                         .flags = r->flags & HEAP_NOPTR,
	                         .spans = spans < most ? spans : most,
	                         .live = r->bytes + spm_source_bytes(r, head),
	                         .stride = sizeof(struct slotset) + r->span_pages * sizeof(uint64_t)};
}

static int span_is_wrong(const struct loading *l, const struct source_run *r, uint32_t k, int err)
{
	struct slotset live = spm_source_live(r, k);

	if (err == -ENOMEM)
		return spm_fail(ENOMEM, "container %d: no memory for its pages", l->c->magic);
	if (err == -EEXIST)
		return damaged(l, "a span overlaps another", r->page + k);
	return damaged(l, slotset_empty(&live) ? "a span has no live slot" : "a span makes no sense", r->page + k);
}

/* All at once; if that fails one by one, to name the one that is wrong. */
static int run_spans_make(struct loading *l, const struct source_run *r)
{
	struct span_row all = spans_of(l, r, 0, UINT32_MAX);
	int err = all.spans ? spm_heap_restore_spans(&all, l->c->arena) : 0;

	l->spans += err ? 0 : all.spans;
	for (uint32_t k = spm_source_head(r, 0); err && k < r->pages; k = spm_source_head(r, k + 1)) {
		struct span_row one = spans_of(l, r, k, 1);

		err = spm_heap_restore_spans(&one, l->c->arena);
		if (err)
			return span_is_wrong(l, r, k, err);
		l->spans++;
	}
	return 0;
}

static bool is_in_its_span(const struct loading *l, const struct source_run *r, uint32_t k)
{
	pageno_t page = moved_page(l, r->page + k);
	const struct span *s = spm_span_of(spm_page_address(page));

	return s && s->first == page - spm_source_page_in_span(r, k);
}

/* The pages before the first that begins a span: theirs is made. */
static bool begins_in_its_span(const struct loading *l, const struct source_run *r)
{
	uint32_t head = spm_source_head(r, 0);

	return !head || (is_in_its_span(l, r, 0) && is_in_its_span(l, r, head - 1));
}

/* Else another container's span is there. */
static bool is_ours(const struct loading *l, const struct source_run *r)
{
	for (uint64_t s = r->page / SPM_SLICE_PAGES; s <= last_page(r) / SPM_SLICE_PAGES; s++)
		if (!l->is_used[s])
			return false;
	return true;
}

/* A span's first page comes before its others. */
static int spans_make(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct source_run *r = &l->list.run[i];

		if (!is_ours(l, r) || !begins_in_its_span(l, r))
			return damaged(l, "a page belongs to no span", r->page);
		if (run_spans_make(l, r))
			return -1;
	}
	return 0;
}

static void span_unmake(const struct loading *l, const struct source_run *r, uint32_t k)
{
	const struct span *s = spm_span_of(spm_page_address(moved_page(l, r->page + k)));
	struct slotset live = spm_source_live(r, k);

	for (unsigned slot = 0; slot < s->slots; slot++)
		if (slotset_has(&live, slot) && spm_slot_is_allocated(s, slot))
			spm_heap_free((void *)(uintptr_t)spm_slot_address(s, slot));
}

/* After a failure: nobody else will ever free them. Not lazy ones: freeing touches their pages, which may not be had.
 */
static void spans_unmake(struct loading *l)
{
	int error = errno;

	for (size_t i = 0; i < l->n && !l->c->lazy; i++) {
		const struct source_run *r = &l->list.run[i];

		for (uint32_t k = spm_source_head(r, 0); k < r->pages && l->spans; k = spm_source_head(r, k + 1)) {
			span_unmake(l, r, k);
			l->spans--;
		}
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

	spm_left_add(&note->c->left, note->page_at + word * 8, 0, sentence);
}

void spm_page_mend(struct container *c, uint8_t flags, uint64_t page, uint64_t *word)
{
	struct warn_note note = {c, spm_page_address((pageno_t)spm_moved_page(c->moved, page))};
	struct aside numbers;

	if (flags & HEAP_NOPTR)
		return;
	spm_plain_set_aside(&c->plain, page, word, &numbers);
	if (flags & PAGE_OUTSIDE)
		spm_outside_decode(c->outside, word, SPM_PAGE_BYTES / 8, pointer_lost, &note);
	if (c->moved)
		c->moved->words += spm_moved_words(c->moved, word);
	spm_plain_put_back(&numbers, word);
}

static pageno_t fill_place(const void *arg, uint64_t page)
{
	return moved_page(arg, page);
}

static bool wants_mending(const void *arg, const struct source_run *r)
{
	const struct loading *l = arg;

	return !(r->flags & HEAP_NOPTR) && (r->flags & PAGE_OUTSIDE || l->c->moved);
}

static void words_mend(void *arg, const struct source_run *r, uint64_t page, uint64_t *word)
{
	spm_page_mend(((struct loading *)arg)->c, r->flags, page, word);
}

static int pages_fill(struct loading *l)
{
	struct fill f = {.chain = l->c->chain,
	                 .version = l->version,
	                 .run = l->list.run,
	                 .n = l->n,
	                 .place = fill_place,
	                 .wants_mending = wants_mending,
	                 .mend = words_mend,
	                 .arg = l};
	int err = spm_fill_all(&f, l->pages);

	return err ? spm_fail(-err, "%s", f.why) : 0;
}

/* Pages with pointers out of the heap come at once: what mending those asks (the loader, malloc) must not be asked while threads
 * stand still. */
static bool comes_lazily(const struct source_run *r)
{
	return r->block && (r->flags & HEAP_NOPTR || !(r->flags & PAGE_OUTSIDE));
}

/* $SOFTPM_RESTORE; else lazy if it is worth it: eager is as fast for small containers, and refuses a damaged one at
 * once. `lazy`: pages that may come later. */
static bool wants_lazy(const struct loading *l, uint64_t lazy)
{
	const char *wish = getenv("SOFTPM_RESTORE");

	if (wish && !strcmp(wish, "lazy"))
		return lazy > 0;
	return lazy > lazy_pages_least && l->pages - lazy < l->pages / 16;
}

static bool may_be_lazy(const struct loading *l)
{
	const char *wish = getenv("SOFTPM_RESTORE");

	return l->c->arena && !l->c->growth && spm_lazy_is_possible() && (!wish || strcmp(wish, "eager"));
}

static int page_mend_now(struct loading *l, const struct source_run *r, uint32_t k)
{
	uint64_t word[SPM_PAGE_BYTES / 8];
	struct page_source s = spm_source_of(r, k);
	int err = spm_chain_read_run(l->c->chain, l->version, &s, 1, word);

	if (err)
		return spm_fail_volume(err);
	words_mend(l, r, s.page, word);
	err = spm_lazy_supply(l->c->lazy, moved_page(l, s.page), word);
	return err ? spm_fail(-err, "container %d: no memory for its pages", l->c->magic) : 0;
}

static int pages_mend_now(struct loading *l)
{
	int err = 0;

	for (size_t i = 0; i < l->n && !err; i++) {
		const struct source_run *r = &l->list.run[i];

		for (uint32_t k = 0; r->block && !comes_lazily(r) && k < r->pages && !err; k++)
			err = page_mend_now(l, r, k);
	}
	return err;
}

static int by_page(const void *a, const void *b)
{
	const struct source_run *x = a, *y = b;

	return (x->page > y->page) - (x->page < y->page);
}

/* The heap's runs by where they go. A run lies in slices that are moved together. Their bytes are still the other list's. */
static int moved_list(const struct loading *l, struct source_list *out)
{
	*out = (struct source_list){.pages = l->list.pages, .room = l->list.room, .n = l->n};
	out->run = spm_pages_map((out->pages + 1) * sizeof(*out->run), false);
	for (size_t i = 0; i < l->n && out->run; i++) {
		out->run[i] = l->list.run[i];
		out->run[i].page = moved_page(l, l->list.run[i].page);
	}
	if (out->run && l->c->moved)
		qsort(out->run, out->n, sizeof(*out->run), by_page);
	return out->run ? 0 : -ENOMEM;
}

static void later_only(struct source_list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		if (comes_lazily(&list->run[i]))
			list->run[n++] = list->run[i];
	list->n = n;
}

static int lazy_make(struct loading *l)
{
	struct source_list later;
	int err = moved_list(l, &later);

	if (err)
		return err;
	err = spm_lazy_watch(later.run, later.n);
	later_only(&later);
	later.bytes = l->list.bytes;
	if (!err)
		err = spm_lazy_new(l->c, l->version, &later, &l->c->lazy);
	if (!err) {
		l->list.bytes = NULL;
		return 0;
	}
	later.bytes = NULL;
	spm_source_list_free(&later);
	return err;
}

/* 1: it can't be done lazily after all. */
static int pages_lazy(struct loading *l)
{
	uint64_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += comes_lazily(&l->list.run[i]) ? l->list.run[i].pages : 0;
	if (!wants_lazy(l, n))
		return 1;
	return lazy_make(l) ? 1 : pages_mend_now(l);
}

static int pages_bring(struct loading *l)
{
	int result = may_be_lazy(l) ? pages_lazy(l) : 1;

	return result == 1 ? pages_fill(l) : result;
}

static void marks_make(struct loading *l)
{
	for (size_t i = 0; i < l->n; i++) {
		const struct source_run *r = &l->list.run[i];
		struct span_row row = spans_of(l, r, 0, UINT32_MAX);

		spm_marks_restore(l->c->marks, &row);
		spm_marks_set_members(l->c->marks, moved_page(l, r->page), r->pages);
	}
	spm_blob_settle(l->c);
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
		return err ? spm_fail(-err,
		                      "no memory for the thread that restores container %d: call again when there is "
		                      "some",
		                      l->c->magic)
		           : 0;
	}
	spm_capture_begin();
	for (size_t i = 0, next; i < l->n && !err; i = next) {
		pageno_t first = moved_page(l, l->list.run[i].page), end = first + l->list.run[i].pages;

		for (next = i + 1; next < l->n && moved_page(l, l->list.run[next].page) == end; next++)
			end += l->list.run[next].pages;
		err = spm_capture_settle(first, end - first);
	}
	spm_capture_end();
	return unwatched(l, err);
}

static int root_set(struct loading *l, const struct version_info *info)
{
	uint64_t root = info->root;
	struct span *s;

	if (spm_in_window(root))
		root = spm_moved_address(l->c->moved, root);
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
	if (spm_chain_list(l->c->chain, &l->list))
		return spm_fail(ENOMEM, "container %d: no memory to restore it", l->c->magic);
	runs_count(l);
	if (unwatched(l, spm_track_init()) || spm_blob_load(l->c, l->blob_pages) || spm_typing_check(l->c) ||
	    all_slices_note(l) || slices_claim(l) || spans_make(l))
		return -1;
	if (pages_bring(l))
		return -1;
	marks_make(l);
	return root_set(l, info) || spm_typing_check_objects(l->c) || settle(l) ? -1 : 0;
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
	else
		spm_exact_begin(c, !c->wants_full_trace); /* a migration wants one: it has made objects */
	spm_typing_check_end(c);
	spm_source_list_free(&l->list);
	free(l);
	return err;
}
