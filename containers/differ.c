/* differ.c - in which objects two open containers differ, as memory is now.
 *
 *   what changed since its last point, of each     marks, after a look (capture.c)   \
 *   in what the versions below that differ         both maps, by runs                 >  pages -> spans -> slots -> bytes
 *
 * An object is in both if spans cut alike begin at the same page of versions, and the slot is live in both; then it is told if its bytes
 * differ, looked at on noted pages only. Any other is in one of them.
 *
 * Nothing is missed. Of an object in both that differs, the page with the difference is noted: it was written or reached since a
 * point of its container (touched), has a pointer that versions have not (unlike), or the versions differ there. Of one that only one
 * has, the first page of its span is noted, where versions have the live slots, and where marks touch when slots come or go
 * (marks.h, invariant 1); so for each noted page the whole span's live slots are compared.
 *
 * Both containers are halted until spans and slots are known, so points of other threads may come before or after; then bytes are compared,
 * and when all is known it is told, with no lock held and no container: who is told may do what he likes.
 */
#include "container.h"
#include "heap/guard.h"
#include "heapimage.h"
#include "numbers.h"
#include "same.h"
#include "volume/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t window_pages = (SPM_WINDOW_END - SPM_WINDOW_START) / SPM_PAGE_BYTES;

/* Objects of spans that begin at one page of versions and are cut alike; or of one span. */
struct span_pair {
	uint64_t page, pages;
	uint64_t slot_bytes, object_bytes;
	uint64_t at[2]; /* in memory */
	struct slotset live[2], told;
	bool may_point;
};

struct comparing {
	struct container *c[2];
	struct places places;
	struct numbers page; /* that are looked at: as in versions, ascending */
	struct span_pair *pair;
	size_t pairs;
};

static int fail(const struct comparing *d, int err)
{
	return spm_fail(-err, "containers %d and %d can't be compared: %s", d->c[0]->id, d->c[1]->id, strerror(-err));
}

/* ---- which pages ---- */

static void range_note(uint64_t page, uint64_t pages, void *arg)
{
	struct comparing *d = arg;

	for (uint64_t i = 0; i < pages && page + i < window_pages; i++)
		spm_numbers_add(&d->page, page + i);
}

/* Words for code and static data are numbers of modules in versions: alike, they need not mean the same on two branches. */
static void outward_note(struct comparing *d, const struct source_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->run[i].flags & PAGE_OUTSIDE)
			range_note(list->run[i].page, list->run[i].pages, d);
}

static bool are_at_one_version(const struct comparing *d)
{
	struct version_found a, b;

	return !spm_chain_newest_found(d->c[0]->chain, &a) && !spm_chain_newest_found(d->c[1]->chain, &b) &&
	       a.chain_id == b.chain_id && a.seq == b.seq;
}

static int versions_compare(struct comparing *d)
{
	struct source_list list[2] = {{.n = 0}};
	int err = 0;

	if (are_at_one_version(d))
		return 0;
	for (unsigned i = 0; i < 2 && !err; i++)
		err = spm_chain_list(d->c[i]->chain, &list[i]);
	if (!err)
		spm_source_lists_differ(&list[0], &list[1], range_note, d);
	if (!err && !spm_outside_agree(d->c[0]->outside, d->c[1]->outside))
		outward_note(d, &list[0]);
	for (unsigned i = 0; i < 2; i++)
		spm_source_list_free(&list[i]);
	return err;
}

struct straying {
	struct numbers *page;
	const struct moved *moved;
};

static void strayed_note(pageno_t page, void *arg)
{
	const struct straying *s = arg;

	spm_numbers_add(s->page, spm_moved_page(s->moved, page));
}

static void strayed_find(struct comparing *d)
{
	for (unsigned i = 0; i < 2; i++)
		spm_marks_each_strayed(d->c[i]->marks, strayed_note, &(struct straying){&d->page, d->places.moved[i]});
}

/* ---- which spans ---- */

/* That has the page and objects of the container; NULL: none. */
static const struct span *span_at(const struct comparing *d, unsigned which, uint64_t page)
{
	pageno_t here = (pageno_t)spm_moved_page(d->places.moved[which], page);
	const struct span *s = spm_span_of(spm_page_address(here));
	struct slotset live = s ? spm_marks_live(d->c[which]->marks, s) : (struct slotset){{0}};

	return slotset_empty(&live) ? NULL : s;
}

static void heads_find(const struct comparing *d, struct numbers *head)
{
	for (size_t i = 0; i < d->page.n; i++)
		for (unsigned which = 0; which < 2; which++) {
			const struct span *s = span_at(d, which, d->page.number[i]);

			if (s)
				spm_numbers_add(head, spm_moved_page(d->places.moved[which], s->first));
		}
	spm_numbers_settle(head);
}

static bool are_alike(const struct span *a, const struct span *b)
{
	return a && b && a->pages == b->pages && a->class == b->class && a->flags == b->flags;
}

/* NULL: not in this one. */
static void pair_add(struct comparing *d, uint64_t page, const struct span *first, const struct span *second)
{
	const struct span *s[2] = {first, second}, *any = first ? first : second;
	struct span_pair *pair = &d->pair[d->pairs++];

	*pair = (struct span_pair){.page = page,
	                           .pages = any->pages,
	                           .slot_bytes = any->slot_bytes,
	                           .object_bytes = any->slot_bytes - SPM_GUARD_BYTES,
	                           .may_point = !(any->flags & HEAP_NOPTR)};
	for (unsigned i = 0; i < 2; i++)
		if (s[i]) {
			pair->at[i] = spm_page_address(s[i]->first);
			pair->live[i] = spm_marks_live(d->c[i]->marks, s[i]);
		}
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		pair->told.word[w] = pair->live[0].word[w] ^ pair->live[1].word[w];
}

/* That begins just there. */
static const struct span *head_at(const struct comparing *d, unsigned which, uint64_t page)
{
	const struct span *s = span_at(d, which, page);

	return s && spm_moved_page(d->places.moved[which], s->first) == page ? s : NULL;
}

static void pairs_add(struct comparing *d, uint64_t page)
{
	const struct span *first = head_at(d, 0, page), *second = head_at(d, 1, page);

	if (are_alike(first, second)) {
		pair_add(d, page, first, second);
		return;
	}
	if (first)
		pair_add(d, page, first, NULL);
	if (second)
		pair_add(d, page, NULL, second);
}

static int pairs_find(struct comparing *d)
{
	struct numbers head = {.n = 0};
	int err = -ENOMEM;

	heads_find(d, &head);
	if (!d->page.is_short && !head.is_short)
		d->pair = calloc(2 * head.n + 1, sizeof(*d->pair));
	if (d->pair) {
		err = 0;
		for (size_t i = 0; i < head.n; i++)
			pairs_add(d, head.number[i]);
	}
	spm_numbers_free(&head);
	return err;
}

/* Marks change while any container makes a point. */
static int spans_find(struct comparing *d)
{
	int err;

	spm_capture_begin();
	strayed_find(d);
	spm_numbers_settle(&d->page);
	err = pairs_find(d);
	spm_capture_end();
	return err;
}

/* ---- halted ---- */

static int find_halted(struct comparing *d)
{
	bool has_changes;
	int err = 0;

	for (unsigned i = 0; i < 2 && !err; i++) {
		d->places.moved[i] = d->c[i]->moved;
		err = spm_capture_look(d->c[i], &has_changes);
	}
	if (!err)
		err = versions_compare(d);
	if (!err)
		err = spans_find(d);
	return err ? fail(d, err) : 0;
}

static int find(struct comparing *d)
{
	int result;

	spm_halts_lock();
	spm_container_halt(d->c[0]);
	spm_container_halt(d->c[1]);
	result = find_halted(d);
	spm_container_go_on(d->c[1]);
	spm_container_go_on(d->c[0]);
	spm_halts_unlock();
	return result;
}

/* ---- which objects ---- */

/* Compares the part of a slot that lies on a page; offsets from the span's beginning. */
static void slot_compare(const struct comparing *d, struct span_pair *pair, unsigned slot, uint64_t page_from)
{
	uint64_t from = slot * pair->slot_bytes, to = from + pair->object_bytes, page_to = page_from + SPM_PAGE_BYTES;

	if (!slotset_has(&pair->live[0], slot) || slotset_has(&pair->told, slot))
		return;
	from = from > page_from ? from : page_from;
	to = to < page_to ? to : page_to;
	if (from < to && !spm_is_same(&d->places, (void *)(uintptr_t)(pair->at[0] + from),
	                              (void *)(uintptr_t)(pair->at[1] + from), to - from, pair->may_point))
		slotset_add(&pair->told, slot);
}

static void page_compare(const struct comparing *d, struct span_pair *pair, uint64_t page)
{
	uint64_t from = (page - pair->page) * SPM_PAGE_BYTES;

	for (uint64_t slot = from / pair->slot_bytes;
	     slot < SPM_SPAN_SLOTS_MAX && slot * pair->slot_bytes < from + SPM_PAGE_BYTES; slot++)
		slot_compare(d, pair, (unsigned)slot, from);
}

static void bytes_compare(struct comparing *d)
{
	size_t i = 0;

	for (struct span_pair *pair = d->pair; pair < d->pair + d->pairs; pair++) {
		if (!pair->at[0] || !pair->at[1])
			continue;
		while (i < d->page.n && d->page.number[i] < pair->page)
			i++;
		for (; i < d->page.n && d->page.number[i] < pair->page + pair->pages; i++)
			page_compare(d, pair, d->page.number[i]);
	}
}

static const void *slot_in(const struct span_pair *pair, unsigned which, unsigned slot)
{
	return slotset_has(&pair->live[which], slot) ? (void *)(uintptr_t)(pair->at[which] + slot * pair->slot_bytes)
	                                             : NULL;
}

static int pair_tell(const struct span_pair *pair, int (*fn)(const struct pdiffering *, void *), void *arg)
{
	int result = 0;

	for (unsigned slot = 0; slot < SPM_SPAN_SLOTS_MAX && !result; slot++) {
		struct pdiffering object = {.size = pair->object_bytes};

		if (!slotset_has(&pair->told, slot))
			continue;
		object.first = slot_in(pair, 0, slot);
		object.second = slot_in(pair, 1, slot);
		result = fn(&object, arg);
	}
	return result;
}

/* ---- pDiffer ---- */

/* With a reference. */
static struct container *comparable(int id)
{
	if (spm_heapimage_is_open(id)) {
		spm_fail(ENOTSUP, "pDiffer: %d is an image, which has no map to compare", id);
		return NULL;
	}
	return spm_container_get(id);
}

static int compare(struct comparing *d)
{
	if (d->c[0] == d->c[1])
		return 0;
	if (d->c[0]->magic != d->c[1]->magic)
		return spm_fail(ENOTSUP, "pDiffer: containers %d and %d are no versions of one: they are %d and %d",
		                d->c[0]->id, d->c[1]->id, d->c[0]->magic, d->c[1]->magic);
	if (find(d))
		return -1;
	bytes_compare(d);
	return 0;
}

static int get_and_compare(struct comparing *d, int first, int second)
{
	int result = -1;

	d->c[0] = comparable(first);
	if (!d->c[0])
		return -1;
	d->c[1] = comparable(second);
	if (d->c[1]) {
		result = compare(d);
		spm_container_put(d->c[1]);
	}
	spm_container_put(d->c[0]);
	return result;
}

int pDiffer(int first, int second, int (*fn)(const struct pdiffering *object, void *arg), void *arg)
{
	struct comparing d = {.pairs = 0};
	int result = get_and_compare(&d, first, second);

	for (size_t i = 0; i < d.pairs && !result; i++)
		result = pair_tell(&d.pair[i], fn, arg);
	spm_numbers_free(&d.page);
	free(d.pair);
	return result;
}
