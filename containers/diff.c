/* diff.c - in what two versions differ: pages, and the objects (live slots) in them.
 *
 *   pages of either version, ascending -> the span that each version has there -> its live slots on the page -> objects
 *
 * An object is the same in both versions if it has the same address in spans that are cut alike; then its bytes are compared. Any other
 * is in one of them only. It is looked at on each page that differs, or that lies in a span whose live slots do; the last object
 * of a page may go on behind, so each version has one that is not told yet.
 *
 * The maps are untrusted: what a page says of its span is checked.
 */
#include "container.h"
#include "heap/class.h"
#include "refs.h"

#include <errno.h>
#include <string.h>

struct span_at {
	uint64_t head, end;  /* pages; end 0: none */
	uint64_t slot_bytes; /* not 0 if there is a span */
	struct slotset live;
};

struct differing {
	int magic;
	struct chain *chain[2];
	uint64_t version[2];
	struct span_at span[2];
	struct pdifference object[2]; /* not told yet; size 0: none */
	unsigned char content[2][SPM_PAGE_BYTES];
	int (*fn)(const struct pdifference *difference, void *arg);
	void *arg;
	int result; /* fn's, or -1 and the error is set */
};

/* ---- objects ---- */

static int told(struct differing *d, const struct pdifference *difference)
{
	d->result = d->fn(difference, d->arg);
	return d->result;
}

static int object_tell(struct differing *d, unsigned which)
{
	struct pdifference object = d->object[which];
	bool is_same = object.is_in_first && object.is_in_second && !object.bytes;

	d->object[which].size = 0;
	return object.size && !is_same ? told(d, &object) : 0;
}

static uint64_t bytes_differing(const struct differing *d, uint64_t from, uint64_t to)
{
	uint64_t n = 0;

	for (uint64_t i = from; i < to; i++)
		n += d->content[0][i] != d->content[1][i];
	return n;
}

/* Those that end before the page. */
static int objects_tell(struct differing *d, uint64_t page)
{
	for (unsigned i = 0; i < 2; i++)
		if ((uintptr_t)d->object[i].address + d->object[i].size <= spm_page_address((pageno_t)page) &&
		    object_tell(d, i))
			return -1;
	return 0;
}

static int object_add(struct differing *d, unsigned which, const struct pdifference *part)
{
	struct pdifference *open = &d->object[which];

	if (open->size && open->address == part->address) {
		open->bytes += part->bytes;
		return 0;
	}
	if (object_tell(d, which))
		return -1;
	*open = *part;
	return 0;
}

static bool are_cut_alike(const struct span_at *a, const struct span_at *b)
{
	return a->end && a->head == b->head && a->end == b->end && a->slot_bytes == b->slot_bytes;
}

static bool are_alike(const struct span_at *a, const struct span_at *b)
{
	return are_cut_alike(a, b) && !memcmp(&a->live, &b->live, sizeof(a->live));
}

/* A slot's part on the page: of which byte of the page, to which. */
static uint64_t part_begin(uint64_t slot_at, uint64_t page_at)
{
	return slot_at > page_at ? slot_at - page_at : 0;
}

static uint64_t part_end(uint64_t slot_end, uint64_t page_at)
{
	return slot_end - page_at < SPM_PAGE_BYTES ? slot_end - page_at : SPM_PAGE_BYTES;
}

/* The objects that one version has on the page; those that both have are the first's. */
static int objects_see(struct differing *d, unsigned which, uint64_t page, bool is_same)
{
	const struct span_at *s = &d->span[which], *other = &d->span[!which];
	uint64_t from = (page - s->head) * SPM_PAGE_BYTES, slots = (s->end - s->head) * SPM_PAGE_BYTES;
	uint64_t base = spm_page_address((pageno_t)s->head), at = spm_page_address((pageno_t)page);

	if (!s->end)
		return 0;
	slots = slots / s->slot_bytes < SPM_SPAN_SLOTS_MAX ? slots / s->slot_bytes : SPM_SPAN_SLOTS_MAX;
	for (uint64_t i = from / s->slot_bytes; i < slots && i * s->slot_bytes < from + SPM_PAGE_BYTES; i++) {
		uint64_t slot = base + i * s->slot_bytes;
		bool is_in_both = are_cut_alike(s, other) && slotset_has(&other->live, (unsigned)i);
		struct pdifference part = {.address = (void *)(uintptr_t)slot,
		                           .size = s->slot_bytes,
		                           .is_object = 1,
		                           .is_in_first = which == 0 || is_in_both,
		                           .is_in_second = which == 1 || is_in_both};

		if (!slotset_has(&s->live, (unsigned)i) || (which == 1 && is_in_both))
			continue;
		if (!is_same)
			part.bytes = bytes_differing(d, part_begin(slot, at), part_end(slot + s->slot_bytes, at));
		if (object_add(d, which, &part))
			return -1;
	}
	return 0;
}

/* ---- pages ---- */

static int damaged(struct differing *d, uint64_t page)
{
	d->result = spm_fail(
	        EUCLEAN, "container %d is damaged: its page map holds an impossible page (page %llu); see softpm check",
	        d->magic, (unsigned long long)page);
	return -1;
}

/* The span that the version has at the page, which is not before those that were seen. */
static int span_see(struct differing *d, unsigned which, uint64_t page, const struct page_side *side)
{
	const struct page_meta *m = &side->meta;
	struct span_at *s = &d->span[which];

	if (page >= s->end)
		s->end = 0;
	if (!side->is_there)
		return 0;
	if (!m->page_in_span) {
		if (s->end || !m->span_pages || (m->class != SPM_CLASS_LARGE && m->class >= SPM_CLASSES) ||
		    page + m->span_pages > (uint64_t)SPM_SLICES * SPM_SLICE_PAGES)
			return damaged(d, page);
		*s = (struct span_at){page, page + m->span_pages, (uint64_t)m->span_pages * SPM_PAGE_BYTES, m->live};
		if (m->class != SPM_CLASS_LARGE)
			s->slot_bytes = spm_class_bytes(m->class);
	}
	return s->end && page - s->head == m->page_in_span && s->end - s->head == m->span_pages ? 0 : damaged(d, page);
}

/* Zeros if the version does not have it. */
static int content_read(struct differing *d, unsigned which, const struct page_side *side)
{
	int err = 0;

	memset(d->content[which], 0, SPM_PAGE_BYTES);
	if (side->is_there && side->source.block)
		err = spm_chain_read_run(d->chain[which], d->version[which], &side->source, 1, d->content[which]);
	if (err)
		d->result = spm_fail_volume(err);
	return err;
}

static int page_tell(struct differing *d, const struct page_pair *pair)
{
	struct pdifference difference = {.address = (void *)(uintptr_t)spm_page_address((pageno_t)pair->page),
	                                 .size = SPM_PAGE_BYTES,
	                                 .is_in_first = pair->side[0].is_there,
	                                 .is_in_second = pair->side[1].is_there};

	if (content_read(d, 0, &pair->side[0]) || content_read(d, 1, &pair->side[1]))
		return -1;
	difference.bytes = bytes_differing(d, 0, SPM_PAGE_BYTES);
	return told(d, &difference);
}

static int pair_see(const struct page_pair *pair, void *arg)
{
	struct differing *d = arg;

	if (pair->page >= SPM_BLOB_PAGE)
		return 0;
	if (span_see(d, 0, pair->page, &pair->side[0]) || span_see(d, 1, pair->page, &pair->side[1]))
		return -1;
	if (pair->is_same && are_alike(&d->span[0], &d->span[1]))
		return 0;
	if (objects_tell(d, pair->page) || (!pair->is_same && page_tell(d, pair)))
		return -1;
	return objects_see(d, 0, pair->page, pair->is_same) || objects_see(d, 1, pair->page, pair->is_same) ? -1 : 0;
}

static void chains_compare(struct differing *d)
{
	struct version_info info;

	for (unsigned i = 0; i < 2; i++)
		if (!spm_chain_newest(d->chain[i], &info))
			d->version[i] = info.version;
	if (spm_chain_compare(d->chain[0], d->chain[1], pair_see, d) == -ENOMEM && !d->result)
		d->result = spm_fail(ENOMEM, "container %d: no memory to compare its versions", d->magic);
	for (unsigned i = 0; i < 2 && !d->result; i++)
		object_tell(d, i);
}

int pDiff(int magic, const char *first, const char *second, int (*fn)(const struct pdifference *difference, void *arg),
          void *arg)
{
	struct differing d = {.magic = magic, .fn = fn, .arg = arg};

	if (!spm_volume_current() || spm_containers_sync(magic) || spm_chain_open_ref(magic, first, &d.chain[0]))
		return -1;
	d.result = spm_chain_open_ref(magic, second, &d.chain[1]);
	if (!d.result) {
		chains_compare(&d);
		spm_chain_close(d.chain[1]);
	}
	spm_chain_close(d.chain[0]);
	return d.result;
}
