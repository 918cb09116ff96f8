/* capture.c - the instant of a persistence point: from dirty pages to an image.
 *
 *   stop threads -> drain frees (unmark) -> collect dirty pages -> trace -> copy touched pages -> go on
 *
 * Frees and dirty pages belong to the process, not to a container: each capture hands them to all open
 * containers, which keep them until their own next point.
 *
 * Nothing between stop and go may take a lock or call malloc: a stopped thread may hold any of them. All tables
 * used here are address space reserved beforehand.
 */
#include "container.h"
#include "snapshot/stop.h"
#include "track/track.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static pthread_mutex_t capture_lock = PTHREAD_MUTEX_INITIALIZER;

/* Address space for an image: as many pages as the machine could ever freeze. */
static const size_t image_pages_most = (size_t)1 << 25; /* 128 GiB */
static const size_t image_keep_pages = 4096;

void spm_capture_lock(void)
{
	spm_park();
	pthread_mutex_lock(&capture_lock);
	spm_unpark();
}

void spm_capture_unlock(void)
{
	pthread_mutex_unlock(&capture_lock);
}

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void release(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}

void spm_image_free(struct image *image)
{
	release(image->frozen, image_pages_most * sizeof(*image->frozen));
	release(image->copies, image_pages_most * SPM_PAGE_BYTES);
	release(image->changes, image_pages_most * sizeof(*image->changes));
	*image = (struct image){0};
}

static int image_prepare(struct image *image)
{
	if (image->frozen)
		return 0;
	image->frozen = reserve(image_pages_most * sizeof(*image->frozen));
	image->copies = reserve(image_pages_most * SPM_PAGE_BYTES);
	image->changes = reserve(image_pages_most * sizeof(*image->changes));
	if (image->frozen && image->copies && image->changes)
		return 0;
	spm_image_free(image);
	return -ENOMEM;
}

/* Gives back what a large image used; keeps the buffers of small ones warm. */
static void image_reset(struct image *image)
{
	size_t more = image->pages_most > image_keep_pages ? image->pages_most - image_keep_pages : 0;

	if (more) {
		madvise(image->copies + image_keep_pages * SPM_PAGE_BYTES, more * SPM_PAGE_BYTES, MADV_DONTNEED);
		image->pages_most = image_keep_pages;
	}
	image->pages = 0;
	image->dirty_pages = 0;
}

struct freed {
	struct span *span;
	const struct slotset *slots;
	bool is_still_marked;
};

static void container_drop_freed(struct container *c, void *arg)
{
	struct freed *f = arg;
	struct slotset live;

	spm_marks_drop(c->marks, f->span, f->slots);
	spm_hints_forget(&c->hints, f->span, f->slots);
	live = spm_marks_live(c->marks, f->span);
	f->is_still_marked |= !slotset_empty(&live);
}

static void span_freed(struct span *s, const struct slotset *slots, void *arg)
{
	struct freed f = {s, slots, false};

	(void)arg;
	spm_container_each(container_drop_freed, &f);
	if (!f.is_still_marked)
		s->is_marked = 0;
}

struct run {
	pageno_t first;
	uint32_t pages;
};

static void container_set_dirty(struct container *c, void *arg)
{
	struct run *r = arg;

	spm_marks_set_dirty(c->marks, r->first, r->pages);
}

static void run_is_dirty(pageno_t first, uint32_t pages, void *arg)
{
	struct run r = {first, pages};

	(void)arg;
	spm_container_each(container_set_dirty, &r);
}

static void run_collect(pageno_t first, uint32_t pages, void *arg)
{
	int *err = arg;

	if (spm_track_collect(first, pages, run_is_dirty, NULL)) {
		run_is_dirty(first, pages, NULL);
		*err = -EIO;
	}
}

int spm_capture_settle(pageno_t first, uint32_t pages)
{
	return spm_track_collect(first, pages, run_is_dirty, NULL);
}

static void place_zero(uint64_t place, void *arg)
{
	memset((unsigned char *)arg + place % SPM_PAGE_BYTES, 0, sizeof(void *));
}

static void page_freeze(pageno_t page, bool is_live, bool was_member, void *arg)
{
	struct container *c = arg;
	struct image *image = &c->image;
	struct frozen_page *f = &image->frozen[image->pages];
	struct span *s;

	(void)was_member;
	if (image->pages == image_pages_most)
		spm_panic("a point of more than 128 GiB of changed pages");
	*f = (struct frozen_page){.page = page, .is_removed = !is_live};
	if (is_live) {
		s = spm_span_of(spm_page_address(page));
		f->span_address = spm_page_address(s->first);
		f->slot_bytes = s->slot_bytes;
		f->recip = s->recip;
		f->slots = s->slots;
		f->live = spm_marks_live(c->marks, s);
		f->meta.span_pages = s->pages;
		f->meta.page_in_span = page - s->first;
		f->meta.class = s->class;
		f->meta.flags = s->flags;
		if (page == s->first)
			f->meta.live = f->live;
		memcpy(image->copies + image->pages * SPM_PAGE_BYTES, (void *)(uintptr_t)spm_page_address(page),
		       SPM_PAGE_BYTES);
		spm_hints_each_excluded(&c->hints, spm_page_address(page), SPM_PAGE_BYTES, place_zero,
		                        image->copies + image->pages * SPM_PAGE_BYTES);
	}
	image->pages++;
}

/* By itself a full trace comes no sooner than all points since the last one have cost many times as much: its time
 * grows with the container, theirs need not. */
static bool wants_full_trace(const struct container *c)
{
	enum { PAYS_FROM = 16 };

	return c->wants_full_trace ||
	       (c->attr.full_trace_every && c->points_since_full_trace >= c->attr.full_trace_every &&
	        c->pause_ns_since_full_trace >= PAYS_FROM * c->full_trace_ns);
}

/* What happens while everybody stands still. */
static int capture_stopped(struct container *c, bool is_full)
{
	int lost = 0, err;

	spm_heap_drain_freed(span_freed, NULL);
	spm_heap_each_run(run_collect, &lost);
	err = is_full ? spm_trace_full(c->marks, c->root, &c->hints)
	              : spm_trace_incremental(c->marks, c->root, &c->hints);
	if (err)
		return err;
	spm_marks_take_touched(c->marks, page_freeze, c);
	c->image.live_bytes = spm_marks_live_bytes(c->marks);
	return 0;
}

int spm_capture(struct container *c)
{
	bool is_full = wants_full_trace(c), stop = c->attr.stop_threads;
	uint64_t started;
	int err = image_prepare(&c->image);

	if (err)
		return err;
	image_reset(&c->image);
	spm_capture_lock();
	err = spm_track_init();
	started = spm_now_ns();
	if (!err && stop)
		err = spm_stop_begin();
	if (!err) {
		err = capture_stopped(c, is_full);
		if (stop)
			spm_stop_end();
	}
	spm_capture_unlock();
	c->image.captured_ns = spm_now_ns();
	c->image.pause_ns = c->image.captured_ns - started;
	c->image.is_full_trace = is_full;
	if (err)
		c->wants_full_trace = true;
	if (c->image.pages > c->image.pages_most)
		c->image.pages_most = c->image.pages;
	c->image.root = c->root;
	c->image.root_bytes = c->root_bytes;
	return err;
}

int spm_capture_drain(void)
{
	int err;

	spm_capture_lock();
	err = spm_stop_begin();
	if (!err) {
		spm_heap_drain_freed(span_freed, NULL);
		spm_stop_end();
	}
	spm_capture_unlock();
	return err;
}

void spm_capture_undo(struct container *c)
{
	spm_capture_lock();
	for (size_t i = 0; i < c->image.pages; i++) {
		pageno_t page = (pageno_t)c->image.frozen[i].page;

		spm_marks_touch(c->marks, page);
		if (c->image.frozen[i].is_removed) /* the newest version still has it */
			spm_marks_set_member(c->marks, page);
	}
	spm_capture_unlock();
}
