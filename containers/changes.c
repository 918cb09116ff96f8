/* changes.c - see changes.h. What is done to a page before it is written:
 *
 * What it holds beyond live slots is made zero (nothing unreachable reaches the disk), pointers to memory that will not be
 * there after a restart too, and pointers into code and static data become words that mean the same in every process
 * (discover/outside.h). What types say to be a number stays as it is (plain.h). If the container was moved, pages and pointers get the addresses that its versions know (moved.h).
 */
#include "changes.h"
#include "heapimage.h"
#include "snapshot/stop.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static void copy_zero(unsigned char *copy, uint64_t page_at, uint64_t from, uint64_t to)
{
	uint64_t end = page_at + SPM_PAGE_BYTES;

	from = from > page_at ? from : page_at;
	to = to < end ? to : end;
	if (from < to)
		memset(copy + (from - page_at), 0, to - from);
}

/* Zeroes all that no live slot covers. */
static void dead_slots_zero(const struct frozen_run *r, uint64_t at, unsigned char *copy)
{
	uint64_t offset = at - r->span_address;
	unsigned first = (unsigned)((offset * r->recip) >> 32);
	unsigned last = (unsigned)(((offset + SPM_PAGE_BYTES - 1) * r->recip) >> 32);

	for (unsigned i = first; i <= last && i < r->slots; i++) {
		uint64_t slot = r->span_address + i * r->slot_bytes;

		if (!slotset_has(&r->live, i))
			copy_zero(copy, at, slot, slot + r->slot_bytes);
	}
	copy_zero(copy, at, r->span_address + r->slots * r->slot_bytes, at + SPM_PAGE_BYTES);
}

struct left_note {
	struct container *c;
	uint64_t page_at;
	bool is_unlike;
};

void spm_left_add(struct left *left, uint64_t place, uint64_t value, const char *what)
{
	struct outside_pointer *more;

	if ((left->n & (left->n + 1)) == 0) { /* full: 0, 1, 3, 7, ... */
		more = realloc(left->pointer, (left->n * 2 + 1) * sizeof(*more));
		if (!more)
			return;
		left->pointer = more;
	}
	more = &left->pointer[left->n++];
	*more = (struct outside_pointer){.place = place, .value = value};
	strncpy(more->what, what, sizeof(more->what) - 1);
}

int spm_left_each(const struct left *left, int (*fn)(void *place, void *value, const char *what, void *arg), void *arg)
{
	int result = 0;

	for (size_t i = 0; i < left->n && !result; i++)
		result = fn((void *)(uintptr_t)left->pointer[i].place, (void *)(uintptr_t)left->pointer[i].value,
		            left->pointer[i].what, arg);
	return result;
}

static void pointer_left(unsigned offset, uint64_t value, const char *what, void *arg)
{
	struct left_note *note = arg;

	note->is_unlike = true;
	spm_left_add(&note->c->left, note->page_at + offset, value, what);
}

static struct page_meta meta_of(const struct frozen_run *r, pageno_t page)
{
	struct page_meta meta = {
	        .span_pages = r->span_pages,
	        .page_in_span = page - spm_page_of(r->span_address),
	        .class = r->class,
	        .flags = r->flags,
	};

	if (!meta.page_in_span)
		meta.live = r->live;
	return meta;
}

/* A touched page. */
struct touched {
	const struct frozen_run *run;
	pageno_t page;
};

static void excluded_note(uint64_t place, void *arg)
{
	(void)place;
	((struct left_note *)arg)->is_unlike = true;
}

static struct page_change page_prepare(struct container *c, struct touched t, unsigned char *copy)
{
	struct left_note note = {c, spm_page_address(t.page), false};
	struct page_change ch = {.page = spm_moved_page(c->moved, t.page), .is_removed = t.run->is_removed};
	struct aside numbers;

	if (ch.is_removed) {
		spm_plain_drop(c, t.page);
		return ch;
	}
	ch.meta = meta_of(t.run, t.page);
	dead_slots_zero(t.run, note.page_at, copy);
	spm_plain_find(c, t.run, t.page, (uint64_t *)(void *)copy, &numbers);
	if (!(ch.meta.flags & HEAP_NOPTR)) {
		spm_heapimage_cut((uint64_t *)(void *)copy, pointer_left, &note);
		if (spm_outside_encode(c->outside, (uint64_t *)(void *)copy, pointer_left, &note))
			ch.meta.flags |= PAGE_OUTSIDE;
		spm_moved_words(c->moved, (uint64_t *)(void *)copy);
		spm_plain_put_back(&numbers, (uint64_t *)(void *)copy);
		spm_hints_each_excluded(&c->hints, note.page_at, SPM_PAGE_BYTES, excluded_note, &note);
		spm_marks_set_unlike(c->marks, t.page, note.is_unlike);
	}
	ch.data = copy;
	ch.sum = spm_page_sum(copy);
	ch.has_sum = true;
	return ch;
}

/* Reads what a clone keeps: live pages that follow each other in memory in one go. */
static int pages_read(struct memory_clone *clone, const struct touched *t, size_t n, unsigned char *to)
{
	int err = 0;

	for (size_t i = 0, end; i < n && !err; i = end) {
		end = i + 1;
		if (t[i].run->is_removed)
			continue;
		while (end < n && t[end].page == t[i].page + (end - i) && !t[end].run->is_removed)
			end++;
		err = spm_clone_read(clone, spm_page_address(t[i].page), (end - i) * SPM_PAGE_BYTES,
		                     to + i * SPM_PAGE_BYTES);
	}
	return err;
}

/* The places are in ascending order, as the pages are. */
static void pages_exclude(struct changes *s, const struct touched *t, size_t n, unsigned char *to)
{
	const struct image *image = &s->c->image;
	size_t e = s->excluded;

	for (size_t i = 0; i < n; i++)
		for (; e < image->excluded_count && spm_page_of(image->excluded[e]) == t[i].page; e++)
			memset(to + i * SPM_PAGE_BYTES + image->excluded[e] % SPM_PAGE_BYTES, 0, sizeof(void *));
	s->excluded = e;
}

/* Whether the batch may go on with this page after n others: it ends before a chunk that might not be in it as a whole. */
static bool has_room(const struct changes *s, size_t n, pageno_t page, pageno_t before)
{
	return !n || n + s->chunk_pages <= CHANGES_BATCH ||
	       (n < CHANGES_BATCH && page / s->chunk_pages == before / s->chunk_pages);
}

/* So few that they are still in the processor's second cache when they have been read and are prepared. */
enum { PIECE_PAGES = 64 };

/* The next touched pages, behind the n that the batch has. */
static size_t piece_next(struct changes *s, size_t n, struct touched *t)
{
	const struct image *image = &s->c->image;
	size_t i = 0;

	while (i < PIECE_PAGES && s->run < image->runs) {
		const struct frozen_run *r = &image->frozen[s->run];
		pageno_t page = r->first + s->in_run;

		if (!has_room(s, n + i, page, s->last))
			break;
		t[i++] = (struct touched){r, s->last = page};
		if (++s->in_run == r->pages) {
			s->run++;
			s->in_run = 0;
		}
	}
	return i;
}

static int pages_add(struct changes *s, struct batch *b)
{
	struct image *image = &s->c->image;
	struct touched t[PIECE_PAGES];
	size_t n;
	int err = 0;

	while (!err && (n = piece_next(s, b->n, t))) {
		unsigned char *copies = image->copies + s->pages * SPM_PAGE_BYTES;

		if (image->clone.child) {
			copies = b->pages + b->n * SPM_PAGE_BYTES;
			err = pages_read(&image->clone, t, n, copies);
			pages_exclude(s, t, n, copies);
		}
		for (size_t i = 0; i < n && !err; i++)
			b->change[b->n++] = page_prepare(s->c, t[i], copies + i * SPM_PAGE_BYTES);
		s->pages += n;
	}
	return err;
}

/* After all pages: they tell what the table of modules must have. */
static int blob_add(struct changes *s, struct batch *b)
{
	int err = 0;

	if (!s->is_blob_known && spm_blob_has_changed(s->c))
		err = spm_blob_save(s->c, &s->blob_bytes, &s->blob_pages);
	s->is_blob_known = true;
	for (; !err && s->blob < s->blob_pages && b->n < CHANGES_BATCH; s->blob++)
		b->change[b->n++] = (struct page_change){.page = SPM_BLOB_PAGE + s->blob,
		                                         .data = s->blob_bytes + s->blob * SPM_PAGE_BYTES};
	return err;
}

static int batch_prepare(struct changes *s, struct batch *b)
{
	struct container *c = s->c;
	int err;

	b->n = 0;
	err = pages_add(s, b);
	if (err || s->pages < c->image.pages)
		return err;
	err = blob_add(s, b);
	b->is_last = s->blob == s->blob_pages;
	return err;
}

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem))
		; /* a signal */
}

static void *helper_main(void *arg)
{
	struct changes *s = arg;
	struct batch *b;
	unsigned n = 0;

	spm_stop_exempt_self();
	do {
		b = &s->batch[n++ % 2];
		wait_for(&s->room);
		if (s->is_ending)
			break;
		b->err = batch_prepare(s, b);
		sem_post(&s->ready);
	} while (!b->err && !b->is_last);
	spm_clone_drop(
	        &s->c->image.clone); /* takes milliseconds: while the last batch and the record are being written */
	return NULL;
}

static int changes_next(struct change_source *source, struct page_change **changes, size_t *n)
{
	struct changes *s = (struct changes *)source;
	struct batch *b = &s->batch[s->taken % 2];

	if (!s->has_helper) {
		b->err = batch_prepare(s, b);
	} else {
		if (s->taken)
			sem_post(&s->room);
		wait_for(&s->ready);
	}
	s->taken++;
	*changes = b->change;
	*n = b->n;
	source->is_over = b->is_last;
	return b->err;
}

static bool helper_start(struct changes *s)
{
	sigset_t all, before;
	int err;

	sem_init(&s->ready, 0, 0);
	sem_init(&s->room, 0, 2);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&s->helper, NULL, helper_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return !err;
}

/* Where copies would lie, beyond their first 2 MiB: in huge pages, which the device takes in larger pieces. */
static unsigned char *buffer_of(const struct image *image, unsigned i)
{
	uintptr_t huge = (uintptr_t)image->copies / CHANGES_BYTES + 2;

	return (unsigned char *)((huge + i) * CHANGES_BYTES);
}

void spm_changes_begin(struct changes *s, struct container *c, uint64_t chunk_pages)
{
	*s = (struct changes){.source = {.next = changes_next, .changes_most = c->image.pages},
	                      .c = c,
	                      .chunk_pages = chunk_pages ? chunk_pages : 1};
	spm_outside_name_lost(c->outside, spm_chain_names_lost(c->chain));
	for (unsigned i = 0; i < 2; i++) {
		s->batch[i].change = c->image.changes + (size_t)i * CHANGES_BATCH;
		s->batch[i].pages = buffer_of(&c->image, i);
	}
	s->has_helper = c->image.pages > CHANGES_BATCH && helper_start(s);
}

void spm_changes_end(struct changes *s)
{
	if (s->has_helper) {
		s->is_ending = true;
		sem_post(&s->room);
		pthread_join(s->helper, NULL);
	}
	free(s->blob_bytes);
	spm_clone_drop(&s->c->image.clone);
}
