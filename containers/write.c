/* write.c - from an image to a version: the program runs on while this works on the copies.
 *
 * What a copy holds beyond live slots is made zero (nothing unreachable reaches the disk), pointers to memory that will
 * not be there after a restart too, and pointers into code and static data become words that mean the same in every
 * process (discover/outside.h).
 */
#include "container.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void copy_zero(unsigned char *copy, uint64_t page_at, uint64_t from, uint64_t to)
{
	uint64_t end = page_at + SPM_PAGE_BYTES;

	from = from > page_at ? from : page_at;
	to = to < end ? to : end;
	if (from < to)
		memset(copy + (from - page_at), 0, to - from);
}

/* Zeroes all that no live slot covers. */
static void dead_slots_zero(const struct frozen_page *f, unsigned char *copy)
{
	uint64_t at = spm_page_address((pageno_t)f->page), offset = at - f->span_address;
	unsigned first = (unsigned)((offset * f->recip) >> 32);
	unsigned last = (unsigned)(((offset + SPM_PAGE_BYTES - 1) * f->recip) >> 32);

	for (unsigned i = first; i <= last && i < f->slots; i++) {
		uint64_t slot = f->span_address + i * f->slot_bytes;

		if (!slotset_has(&f->live, i))
			copy_zero(copy, at, slot, slot + f->slot_bytes);
	}
	copy_zero(copy, at, f->span_address + f->slots * f->slot_bytes, at + SPM_PAGE_BYTES);
}

struct left_note {
	struct container *c;
	uint64_t page_at;
};

void spm_left_add(struct container *c, uint64_t place, uint64_t value, const char *what)
{
	struct outside_pointer *more;

	if ((c->left_count & (c->left_count + 1)) == 0) { /* full: 0, 1, 3, 7, ... */
		more = realloc(c->left, (c->left_count * 2 + 1) * sizeof(*more));
		if (!more)
			return;
		c->left = more;
	}
	more = &c->left[c->left_count++];
	*more = (struct outside_pointer){.place = place, .value = value};
	strncpy(more->what, what, sizeof(more->what) - 1);
}

static void pointer_left(unsigned offset, uint64_t value, const char *what, void *arg)
{
	struct left_note *note = arg;

	spm_left_add(note->c, note->page_at + offset, value, what);
}

static void page_prepare(struct container *c, size_t i)
{
	struct frozen_page *f = &c->image.frozen[i];
	unsigned char *copy = c->image.copies + i * SPM_PAGE_BYTES;
	struct left_note note = {c, spm_page_address((pageno_t)f->page)};

	c->image.changes[i] = (struct page_change){.page = f->page, .is_removed = f->is_removed};
	if (f->is_removed)
		return;
	dead_slots_zero(f, copy);
	if (!(f->meta.flags & HEAP_NOPTR) &&
	    spm_outside_encode(c->outside, (uint64_t *)(void *)copy, pointer_left, &note))
		f->meta.flags |= PAGE_OUTSIDE;
	c->image.changes[i].data = copy;
	c->image.changes[i].meta = f->meta;
}

static int blob_add(struct container *c, size_t *n, unsigned char **blob)
{
	size_t pages;
	int err = spm_blob_save(c, blob, &pages);

	for (size_t i = 0; !err && i < pages; i++)
		c->image.changes[(*n)++] =
		        (struct page_change){.page = SPM_BLOB_PAGE + i, .data = *blob + i * SPM_PAGE_BYTES};
	return err;
}

/* After relocation the newest version still has pages at the old addresses. */
static void stale_add(struct container *c, size_t *n)
{
	for (size_t i = 0; i < c->stale_count; i++)
		if (!spm_marks_is_member(c->marks, (pageno_t)c->stale[i]))
			c->image.changes[(*n)++] = (struct page_change){.page = c->stale[i], .is_removed = true};
}

static void info_fill(struct container *c, struct version_info *info)
{
	const struct image *image = &c->image;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	*info = (struct version_info){
	        .time_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
	        .root = image->root,
	        .root_bytes = image->root_bytes,
	        .live_bytes = image->live_bytes,
	        .pause_ns = image->pause_ns,
	        .queue = 1,
	        .lag_ns = spm_now_ns() - image->captured_ns,
	        .branch = "main",
	        .pid = (uint32_t)getpid(),
	};
	/* Percentiles cost a walk over the buckets: now and then is enough. */
	if (c->points % 64 == 0 || c->points < 64)
		spm_pauses_refresh(&c->pauses);
	info->pause_median_ns = c->pauses.median_ns;
	info->pause_p99_ns = c->pauses.p99_ns;
	info->pause_max_ns = c->pauses.max_ns;
	memcpy(info->message, c->message, sizeof(info->message));
	spm_attr_to_info(&c->attr, info);
}

static int image_commit(struct container *c, bool is_forced, struct version_info *info)
{
	unsigned char *blob = NULL;
	size_t n = c->image.pages;
	int err = 0;

	c->left_count = 0;
	for (size_t i = 0; i < n; i++)
		page_prepare(c, i);
	stale_add(c, &n);
	if (spm_blob_has_changed(c))
		err = blob_add(c, &n, &blob);
	info_fill(c, info);
	if (!err)
		err = spm_chain_commit(c->chain, c->image.changes, n, is_forced, info);
	if (!err && blob)
		spm_blob_saved(c);
	free(blob);
	return err;
}

int spm_image_write(struct container *c, bool is_forced, int64_t *version)
{
	struct version_info info;
	int err;

	if (!c->image.pages && !c->stale_count && !is_forced && c->durable) {
		*version = c->durable;
		return 0;
	}
	err = image_commit(c, is_forced, &info);
	c->image.pages_last = c->image.pages;
	if (c->image.pages_last > c->image.pages_most)
		c->image.pages_most = c->image.pages_last;
	if (err) {
		spm_capture_undo(c);
		return err;
	}
	c->stale_count = 0;
	c->stored_bytes += info.stored_bytes;
	*version = (int64_t)info.version;
	return 0;
}
