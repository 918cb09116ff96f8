/* marks.h - which slots belong to a container, and which of its pages the next version must carry.
 *
 * A container is a set of live slots. Per slice that it uses, marks keep
 *   live[page]     the live slots of the span that begins at that page
 *   member         pages that the newest version has
 *   dirty          pages written since the last look (as the tracker told); of those, only members and touched ones count
 *   touched        pages whose image or meta in the next version differs, or may differ, from the last one
 *   unlike         pages with pointers in memory where the newest version has NULL
 *
 * Invariants
 *  1. A page is touched if a live slot on it was written, or a slot on it became live or dead, since the last point.
 *  2. A span with a live slot has is_marked set (heap.h, invariant 4): it is not recut under us.
 *  3. A span's first page belongs to the version whenever any of its slots is live: it carries the span's meta.
 *
 * All functions are called with other threads stopped or the container's image not in use (containers/ serializes),
 * and allocate only by mmap.
 */
#ifndef SPM_MARKS_H
#define SPM_MARKS_H

#include "base/base.h"
#include "heap/heap.h"

struct marks;

struct marks *spm_marks_new(void); /* NULL: no memory */
void spm_marks_free(struct marks *m);

/* The slots, none of which is live, become live. */
void spm_marks_add(struct marks *m, struct span *s, const struct slotset *slots);
/* The slots are no longer live (those that were). */
void spm_marks_drop(struct marks *m, const struct span *s, const struct slotset *slots);
/* Live slots of the span; all empty if the container has none there. */
struct slotset spm_marks_live(const struct marks *m, const struct span *s);
bool spm_marks_has(const struct marks *m, const struct span *s, unsigned slot);
uint64_t spm_marks_live_bytes(const struct marks *m);

/* The tracker saw writes to these pages. */
void spm_marks_set_dirty(struct marks *m, pageno_t first, uint32_t pages);
/* The page must go into the next version although nothing seems to have changed (the last commit failed, ...). */
void spm_marks_touch(struct marks *m, pageno_t page);
/* The pages are in the newest version (restore). */
void spm_marks_set_members(struct marks *m, pageno_t first, uint32_t pages);
/* The slots of these spans are live in the newest version (restore): nothing is touched. */
void spm_marks_restore(struct marks *m, const struct span_row *row);
bool spm_marks_is_member(const struct marks *m, pageno_t page);
/* The page, which was captured, is so now, or is not any more. Only by whoever writes the image. */
void spm_marks_set_unlike(struct marks *m, pageno_t page, bool is_unlike);

/* Calls fn for each dirty page that may have live slots, touches it, and forgets that it is dirty. */
void spm_marks_take_dirty(struct marks *m, void (*fn)(pageno_t page, void *arg), void *arg);
/* Touches the other member pages of each aligned chunk in which a page is touched. chunk_pages: a power of two, at most
 * 8192. */
void spm_marks_touch_chunks(struct marks *m, unsigned chunk_pages);
/* Another version takes the place of the newest one. First, calls fn for each page that is touched or unlike; then, span by span
 * and page by page, what the other has: nothing is touched by that, and nothing is touched or dirty or unlike after the last. */
void spm_marks_each_strayed(struct marks *m, void (*fn)(pageno_t page, void *arg), void *arg);
void spm_marks_set_live(struct marks *m, struct span *s, const struct slotset *live);
void spm_marks_put_member(struct marks *m, pageno_t page, bool is_member);
void spm_marks_settle(struct marks *m);
/* How many pages are touched. */
size_t spm_marks_touched(const struct marks *m);
/* Calls fn for each touched page in ascending order and forgets it: is_live: the page belongs to the version from now
 * on; was_member: it did before. Pages that neither are nor were get no call. */
void spm_marks_take_touched(struct marks *m, void (*fn)(pageno_t page, bool is_live, bool was_member, void *arg),
                            void *arg);
/* Calls fn for each span with live slots. */
void spm_marks_each_span(struct marks *m, void (*fn)(struct span *s, const struct slotset *live, void *arg), void *arg);

/* For a full trace: sets the live slots aside and starts from none; the second call touches and counts what differs. */
int spm_marks_begin_anew(struct marks *m);
void spm_marks_end_anew(struct marks *m);

static inline void spm_marks_set_member(struct marks *m, pageno_t page)
{
	spm_marks_set_members(m, page, 1);
}

/* First and last slot that overlap a page of the span. */
static inline void spm_page_slots(const struct span *s, pageno_t page, unsigned *first, unsigned *last)
{
	uint64_t at = (uint64_t)(page - s->first) << SPM_PAGE_SHIFT;
	uint64_t end = at + SPM_PAGE_BYTES - 1;

	*first = (unsigned)((at * s->recip) >> 32);
	*last = (unsigned)((end * s->recip) >> 32);
	if (*last >= s->slots)
		*last = s->slots - 1u;
}

#endif
