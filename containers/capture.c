/* capture.c - the instant of a persistence point: from dirty pages to an image.
 *
 *   stop threads -> collect dirty pages -> drain frees (unmark) -> trace -> copy touched pages, or clone -> go on
 *                                                                    after a clone: list touched pages
 *
 * Frees and dirty pages belong to the process, not to a container: each capture hands them to all open
 * containers, which keep them until their own next point.
 *
 * Nothing between stop and go may take a lock or call malloc: a stopped thread may hold any of them. All tables
 * used here are address space reserved beforehand.
 *
 * With stop_threads 0 nobody is stopped; spans are held instead (heap.h), so the map of a version is right although its words are
 * of different moments. The order matters then: a slot that was freed, allocated again and linked to by a page that this
 * collect took is unmarked by this drain, and found by this trace. Drained before it would be unmarked by the next one only,
 * with no dirty page to lead there.
 */
#include "container.h"
#include "lazy.h"
#include "snapshot/stop.h"
#include "track/track.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static pthread_mutex_t capture_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t capture_ended = PTHREAD_COND_INITIALIZER;
static bool is_capturing;
static _Atomic pthread_t ran_last; /* of those who capture or write */

void spm_capture_after_fork_in_child(void)
{
	pthread_mutex_init(&capture_lock, NULL);
	pthread_cond_init(&capture_ended, NULL);
	is_capturing = false;
}

/* Address space for an image: as many pages as the machine could ever freeze. */
static const size_t image_pages_most = (size_t)1 << 25; /* 128 GiB */
static const size_t changes_bytes = 2 * CHANGES_BATCH * sizeof(struct page_change);

void spm_capture_begin(void)
{
	spm_park();
	pthread_mutex_lock(&capture_lock);
	while (is_capturing)
		pthread_cond_wait(&capture_ended, &capture_lock);
	is_capturing = true;
	pthread_mutex_unlock(&capture_lock);
	spm_unpark();
}

bool spm_capture_try_begin(void)
{
	bool is_free;

	pthread_mutex_lock(&capture_lock);
	is_free = !is_capturing;
	is_capturing = true;
	pthread_mutex_unlock(&capture_lock);
	return is_free;
}

void spm_capture_end(void)
{
	pthread_mutex_lock(&capture_lock);
	is_capturing = false;
	pthread_cond_signal(&capture_ended);
	pthread_mutex_unlock(&capture_lock);
}

/* Beyond the first 2 MiB in huge pages: of a large point's pause a third would be faults on small ones. A clone need
 * not have it. */
static void *reserve(size_t bytes)
{
	enum { SMALL_BYTES = 2 << 20 };
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p + SMALL_BYTES, bytes - SMALL_BYTES, MADV_HUGEPAGE);
	madvise(p, bytes, MADV_DONTFORK);
	return p;
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
	spm_pages_unmap(image->changes, changes_bytes);
	spm_clone_drop(&image->clone);
	free(image->excluded);
	*image = (struct image){0};
}

void spm_image_leave(struct image *image)
{
	image->frozen = NULL;
	image->copies = NULL;
	spm_image_free(image);
}

static int image_prepare(struct image *image)
{
	if (image->frozen)
		return 0;
	image->frozen = reserve(image_pages_most * sizeof(*image->frozen));
	image->copies = reserve(image_pages_most * SPM_PAGE_BYTES);
	image->changes = spm_pages_map(changes_bytes, false);
	if (image->frozen && image->copies && image->changes)
		return 0;
	spm_image_free(image);
	return -ENOMEM;
}

static void buffer_settle(void *p, size_t entry, size_t keep, size_t most)
{
	const size_t page = SPM_PAGE_BYTES;
	size_t kept = (keep * entry + page - 1) / page * page, used = (most * entry + page - 1) / page * page;

	if (used > kept)
		madvise((char *)p + kept, used - kept, MADV_DONTNEED);
	else
		madvise(p, kept, MADV_POPULATE_WRITE); /* older kernels: the next point takes the faults */
}

/* As many pages as the largest of the latest points had, and half as many again, are ready for the next; never more than 256 MiB. */
void spm_image_settle(struct image *image)
{
	const size_t least = 64, most = 65536;
	size_t keep = image->pages_latest + image->pages_latest / 2;

	ran_last = pthread_self();
	keep = keep < least ? least : keep > most ? most : keep;
	if (!image->frozen || (keep >= image->pages_most / 2 && keep <= image->pages_most))
		return;
	buffer_settle(image->frozen, sizeof(*image->frozen), keep, image->pages_most);
	buffer_settle(image->copies, SPM_PAGE_BYTES, keep, image->pages_most);
	image->pages_most = keep;
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
	f->is_still_marked |= !slotset_empty(&live) || spm_hints_name(&c->hints, f->span);
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

void spm_capture_set_dirty(pageno_t first, uint32_t pages)
{
	struct run r = {first, pages};

	spm_container_each(container_set_dirty, &r);
	spm_collapse_note(first, pages);
}

static void run_is_dirty(pageno_t first, uint32_t pages, void *arg)
{
	(void)arg;
	spm_capture_set_dirty(first, pages);
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

static bool run_goes_on(const struct frozen_run *r, pageno_t page, bool is_live)
{
	return page == r->first + r->pages && r->is_removed == !is_live &&
	       (!is_live || spm_page_address(page) < r->span_address + r->span_pages * (uint64_t)SPM_PAGE_BYTES);
}

/* What a page is, but for its bytes. */
static void page_note(struct container *c, pageno_t page, bool is_live)
{
	struct image *image = &c->image;
	struct frozen_run *r = &image->frozen[image->runs];
	const struct span *s;

	if (image->pages++ == image_pages_most)
		spm_panic("a point of more than 128 GiB of changed pages");
	if (image->runs && run_goes_on(r - 1, page, is_live)) {
		r[-1].pages++;
		return;
	}
	image->runs++;
	*r = (struct frozen_run){.first = page, .pages = 1, .is_removed = !is_live};
	if (!is_live)
		return;
	s = spm_span_of(spm_page_address(page));
	r->span_address = spm_page_address(s->first);
	r->slot_bytes = s->slot_bytes;
	r->span_pages = s->pages;
	r->recip = s->recip;
	r->slots = s->slots;
	r->class = s->class;
	r->flags = s->flags;
	r->live = spm_marks_live(c->marks, s);
}

static void place_zero(uint64_t place, void *arg)
{
	memset((unsigned char *)arg + place % SPM_PAGE_BYTES, 0, sizeof(void *));
}

static void page_freeze(pageno_t page, bool is_live, bool was_member, void *arg)
{
	struct container *c = arg;
	unsigned char *copy = c->image.copies + c->image.pages * SPM_PAGE_BYTES;

	(void)was_member;
	page_note(c, page, is_live);
	if (!is_live)
		return;
	memcpy(copy, (void *)(uintptr_t)spm_page_address(page), SPM_PAGE_BYTES);
	spm_hints_each_excluded(&c->hints, spm_page_address(page), SPM_PAGE_BYTES, place_zero, copy);
}

/* By itself a full trace comes no sooner than all points since the last one have cost many times as much: its time
 * grows with the container, theirs need not. */
static bool wants_full_trace(const struct container *c)
{
	enum { PAYS_FROM = 16 };

	return c->wants_full_trace ||
	       (c->image.attr.full_trace_every && c->points_since_full_trace >= c->image.attr.full_trace_every &&
	        c->pause_ns_since_full_trace >= PAYS_FROM * c->full_trace_ns);
}

/* Of the process, as in /proc; 0 if it can't be read. */
static uint64_t resident_pages(void)
{
	char text[128] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	uint64_t pages = 0;
	const char *at = n > 0 ? strchr(text, ' ') : NULL;

	for (; at && at[1] >= '0' && at[1] <= '9'; at++)
		pages = pages * 10 + (uint64_t)(at[1] - '0');
	if (fd >= 0)
		close(fd);
	return pages;
}

/* Copying scattered pages takes 0.8 us each, into warm buffers; cloning, 4 ms for each resident GiB and half a
 * millisecond in all (bench/points), but then 3 to 20 us for each page that the program writes while the clone lives: a map that
 * is updated without a pause, with a point every 10 ms, takes four times as many updates if its 10 MiB are copied
 * (bench/stores). So a clone is for dirty sets whose copies would be a long pause. $SOFTPM_FREEZE=copy|clone forces one, for
 * tests. */
static bool clone_pays(size_t pages)
{
	enum { COPY_PAGES = 16384 };
	const char *forced = getenv("SOFTPM_FREEZE");

	if (forced && *forced)
		return pages && !strcmp(forced, "clone");
	return pages > COPY_PAGES && pages * 800 > resident_pages() * 16 + 500000;
}

static bool clone_try(struct container *c)
{
	return clone_pays(spm_marks_touched(c->marks)) && !spm_clone_make(&c->image.clone);
}

/* What happens while everybody stands still, or spans are held. */
static int capture_stopped(struct container *c, bool is_full, bool can_clone, bool others_run)
{
	struct kinds *kinds;
	int lost = 0, err;

	spm_heap_each_watched_run(run_collect, &lost);
	spm_heap_drain_freed(span_freed, NULL);
	kinds = spm_exact_kinds(c, others_run);
	err = is_full ? spm_trace_full(c->marks, c->root, &c->hints, kinds, others_run)
	              : spm_trace_incremental(c->marks, c->root, &c->hints, kinds, others_run);
	if (err)
		return err;
	c->image.is_exact = kinds != NULL;
	c->image.lost = 0;
	if (kinds)
		spm_exact_settle(c);
	c->image.discovery_ns = spm_now_ns();
	if (c->image.attr.chunk_bytes > SPM_PAGE_BYTES)
		spm_marks_touch_chunks(c->marks, (unsigned)(c->image.attr.chunk_bytes / SPM_PAGE_BYTES));
	if (!can_clone || !clone_try(c))
		spm_marks_take_touched(c->marks, page_freeze, c);
	c->image.live_bytes = spm_marks_live_bytes(c->marks);
	return 0;
}

/* Until quiet_end everybody stands still, or spans are held. */
static int quiet_begin(bool stop)
{
	if (stop)
		return spm_stop_begin();
	spm_heap_hold();
	return 0;
}

static void quiet_end(bool stop)
{
	if (stop)
		spm_stop_end();
	else
		spm_heap_let_go();
}

/* While everybody stands still (`stop`), or spans are held, with what was written and freed by then routed to the containers. What fn gives, or
 * -errno. */
static int look(int (*fn)(struct container *c, bool others_run), struct container *c, bool stop)
{
	int lost = 0, err;

	spm_capture_begin();
	err = spm_track_init();
	if (!err)
		err = quiet_begin(stop);
	if (!err) {
		spm_heap_each_watched_run(run_collect, &lost);
		spm_heap_drain_freed(span_freed, NULL);
		err = fn(c, !stop);
		quiet_end(stop);
	}
	spm_capture_end();
	return err;
}

bool spm_capture_stops(const struct container *c)
{
	return c->attr.stop_threads || !spm_heap_can_hold();
}

/* Whoever writes an image of it reads what slots are: that may not change then. */
static int trace(struct container *c, bool is_written, bool others_run)
{
	struct kinds *kinds = spm_exact_kinds(c, is_written || others_run);

	return spm_trace_incremental(c->marks, c->root, &c->hints, kinds, others_run);
}

/* 1: something differs, or may; 0: nothing does. */
static int changes_trace(struct container *c, bool others_run)
{
	int err = trace(c, false, others_run);

	return err ? err : spm_marks_touched(c->marks) > 0;
}

int spm_capture_look(struct container *c, bool *has_changes)
{
	int result = look(changes_trace, c, spm_capture_stops(c));

	*has_changes = result > 0;
	return result < 0 ? result : 0;
}

struct reach {
	bool others_run;
	int err;
};

static void container_reach(struct container *c, void *arg)
{
	struct reach *r = arg;

	if (!r->err && !c->is_inherited && !c->is_view)
		r->err = trace(c, c->is_busy, r->others_run);
}

static int all_reach(struct container *c, bool others_run)
{
	struct reach r = {others_run, 0};

	(void)c;
	spm_container_each(container_reach, &r);
	return r.err;
}

int spm_capture_reach(bool stop)
{
	return look(all_reach, NULL, stop);
}

int spm_capture(struct container *c)
{
	bool is_full = wants_full_trace(c), stop = c->image.attr.stop_threads || !spm_heap_can_hold(), can_clone;
	uint64_t started;
	const char *why;
	int err = image_prepare(&c->image);

	if (!err && c->lazy && is_full)
		spm_lazy_finish(c->lazy); /* it reads all pages: better now than while threads stand still */
	if (!err && c->lazy)
		err = spm_lazy_error(c->lazy, &why);
	if (err)
		return err;
	c->image.runs = c->image.pages = 0;
	spm_capture_begin();
	can_clone = !spm_lazy_is_any_missing() && !spm_clone_prepare(); /* nobody brings in pages for a clone */
	err = spm_track_init();
	spm_track_note_others(!pthread_equal(atomic_exchange(&ran_last, pthread_self()), pthread_self()));
	spm_collapse_tick();
	started = spm_now_ns();
	if (!err)
		err = quiet_begin(stop);
	if (!err) {
		err = capture_stopped(c, is_full, can_clone, !stop);
		quiet_end(stop);
	}
	c->image.captured_ns = spm_now_ns();
	c->image.pause_ns = c->image.captured_ns - started;
	c->image.discovery_ns -= started; /* if it failed, nobody asks */
	c->image.is_full_trace = is_full;
	c->image.root = c->root;
	c->image.root_bytes = c->root_bytes;
	if (err)
		c->wants_full_trace = true;
	if (!c->image.clone.child)
		spm_capture_end();
	return err;
}

/* ---- after the pause, for a cloned image ---- */

static void excluded_note(uint64_t place, void *arg)
{
	struct image *image = arg;

	image->excluded[image->excluded_count++] = place;
}

/* Marks and spans are still those of the instant: they change in captures only, and this one has not ended; and a span
 * with marks is not recut before the next. */
static void page_list(pageno_t page, bool is_live, bool was_member, void *arg)
{
	struct container *c = arg;

	(void)was_member;
	page_note(c, page, is_live);
	if (is_live && c->image.excluded)
		spm_hints_each_excluded(&c->hints, spm_page_address(page), SPM_PAGE_BYTES, excluded_note, &c->image);
}

static int pages_list(struct container *c)
{
	struct image *image = &c->image;

	image->excluded_count = 0;
	free(image->excluded);
	image->excluded = NULL;
	if (c->hints.excluded_count) {
		image->excluded = malloc(c->hints.excluded_count * sizeof(*image->excluded));
		if (!image->excluded)
			return -ENOMEM;
	}
	spm_marks_take_touched(c->marks, page_list, c);
	return 0;
}

int spm_capture_finish(struct container *c)
{
	int err;

	if (!c->image.clone.child)
		return 0;
	err = pages_list(c);
	spm_capture_end();
	if (err) {
		spm_clone_drop(&c->image.clone);
		spm_capture_undo(c);
	}
	return err;
}

int spm_capture_drain(void)
{
	bool stop = !spm_heap_can_hold();
	int err;

	spm_capture_begin();
	err = quiet_begin(stop);
	if (!err) {
		spm_heap_drain_freed(span_freed, NULL);
		quiet_end(stop);
	}
	spm_capture_end();
	return err;
}

int spm_capture_route(void)
{
	int lost = 0;

	spm_heap_each_watched_run(run_collect, &lost);
	spm_heap_drain_freed(span_freed, NULL);
	return lost;
}

static void run_ignore(pageno_t first, uint32_t pages, void *arg)
{
	(void)first, (void)pages, (void)arg;
}

static void run_watch(pageno_t first, uint32_t pages, void *arg)
{
	if (spm_track_collect(first, pages, run_ignore, NULL))
		run_is_dirty(first, pages, arg);
}

void spm_capture_watch(void)
{
	if (!spm_track_init())
		spm_heap_each_watched_run(run_watch, NULL);
}

void spm_capture_undo(struct container *c)
{
	spm_capture_begin();
	for (const struct frozen_run *r = c->image.frozen; r < c->image.frozen + c->image.runs; r++)
		for (pageno_t page = r->first; page < r->first + r->pages; page++) {
			spm_marks_touch(c->marks, page);
			if (r->is_removed) /* the newest version still has it */
				spm_marks_set_member(c->marks, page);
		}
	spm_capture_end();
}
