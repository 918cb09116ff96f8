/* restored.c - slots that a version has, at the places where it has them: all of a span (restore), or in exchange for others (another
 * version in place). */
#include "heap/guard.h"
#include "heap/internal.h"
#include "heap/window.h"

#include <errno.h>
#include <stdlib.h>

/* Each span has a live slot, and none beyond its slots. */
static int lives_check(const struct span_row *r, unsigned slots)
{
	struct slotset all = spm_slots_all(slots);

	for (uint32_t i = 0; i < r->spans; i++) {
		struct slotset live = spm_row_live(r, i);
		uint64_t beyond = 0;

		for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
			beyond |= live.word[w] & ~all.word[w];
		if (beyond || slotset_empty(&live))
			return -EINVAL;
	}
	return 0;
}

static int row_check(const struct span_row *r)
{
	uint64_t pages = (uint64_t)r->spans * r->pages;
	unsigned slots = 1;

	if (r->flags & ~(unsigned)HEAP_NOPTR)
		return -EINVAL;
	if (r->class != SPM_CLASS_LARGE && (r->class >= SPM_CLASSES || r->pages > SPM_SPAN_PAGES_MAX))
		return -EINVAL;
	if (r->class != SPM_CLASS_LARGE) {
		slots = r->pages * SPM_PAGE_BYTES / spm_classes[r->class].slot_bytes;
		if (r->pages * SPM_PAGE_BYTES % spm_classes[r->class].slot_bytes || slots > SPM_SPAN_SLOTS_MAX)
			return -EINVAL;
	}
	if (!r->first || !pages || r->first + pages > (uint64_t)SPM_SLICES * SPM_SLICE_PAGES)
		return -EINVAL;
	return lives_check(r, slots);
}

/* spm_heaps_lock is held. */
static struct heap *stock_find(uint32_t arena)
{
	struct heap *h = spm_abandoned_heaps;

	while (h && h->arena != arena)
		h = h->abandoned;
	return h;
}

/* A heap on the list for the arena, to own restored spans until a thread takes it over. spm_heaps_lock is held. */
static struct heap *stock(uint32_t arena)
{
	struct heap *h = stock_find(arena);

	if (h)
		return h;
	h = spm_heap_new(arena);
	if (h)
		spm_heap_abandon(h);
	return h;
}

static void restored_to(struct span *s, struct heap *h)
{
	if (s->class == SPM_CLASS_LARGE)
		return;
	s->state = SPAN_FULL;
	__atomic_store_n(&s->owner, h, __ATOMIC_RELEASE);
	spm_heap_refilled(h, s);
}

static int restore_locked(const struct span_row *row, uint32_t arena)
{
	struct heap *h = stock(arena);
	int err = h ? spm_span_restore_begin(row, arena) : -ENOMEM;

	for (uint32_t i = 0; i < row->spans && !err; i++)
		restored_to(spm_span_restore(row, i, arena), h);
	return err;
}

int spm_heap_restore_spans(const struct span_row *row, uint32_t arena)
{
	int err = spm_heap_init();

	if (!err)
		err = arena < SPM_ARENAS ? row_check(row) : -EINVAL;
	if (err)
		return err;
	pthread_mutex_lock(&spm_heaps_lock);
	err = restore_locked(row, arena);
	pthread_mutex_unlock(&spm_heaps_lock);
	return err;
}

/* ---- another version in place ---- */

/* Nobody but the caller allocates in it meanwhile. spm_heaps_lock is held. */
static bool is_at_hand(const struct span *s)
{
	const struct heap *owner = s->owner, *h = spm_my_heaps;

	if (!owner)
		return s->state == SPAN_LARGE;
	while (h && h != owner)
		h = h->sibling;
	for (const struct heap *a = h ? NULL : spm_abandoned_heaps; a && !h; a = a->abandoned)
		h = a == owner ? a : NULL;
	return h;
}

static struct span *span_like(const struct span_row *r)
{
	struct span *s = spm_span_of(spm_page_address(r->first));

	return s && s->first == r->first && s->pages == r->pages && s->class == r->class && s->flags == r->flags ? s
	                                                                                                         : NULL;
}

static int slots_check(const struct span *s, const struct span_row *r)
{
	struct slotset want = spm_row_live(r, 0);
	uint64_t taken = 0;

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		taken |= want.word[w] & ~(s->free.word[w] | atomic_load(&s->remote[w]));
	return taken || !is_at_hand(s) || spm_span_has_news(s, &want) ? -EEXIST : 0;
}

static int by_span(const void *a, const void *b)
{
	const struct slots_given *x = a, *y = b;

	return (x->span > y->span) - (x->span < y->span);
}

static struct slots_given *given_of(struct slots_given *given, size_t gives, struct span *s)
{
	return bsearch(&(struct slots_given){.span = s}, given, gives, sizeof(*given), by_span);
}

/* A large one that is free may be just being freed by another thread. */
static bool may_be_unmade(struct span *s, const struct slots_given *g)
{
	struct slotset all = spm_span_allocated(s);

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		if (all.word[w] & ~(g ? g->slots.word[w] : 0))
			return false;
	return is_at_hand(s) && !spm_span_has_news(s, NULL) && (s->state != SPAN_LARGE || !slotset_empty(&all));
}

/* The window is locked. */
static int place_check(const struct slots_taken *t, struct slots_given *given, size_t gives)
{
	pageno_t page = t->row.first, end = page + t->row.pages;

	if (t->row.pages > 1 && spm_run_is_fenced(page + 1, t->row.pages - 1))
		return -EEXIST;
	while (page < end) {
		struct span *s = spm_span_of(spm_page_address(page));

		if (s ? !may_be_unmade(s, given_of(given, gives, s)) : !spm_run_is_free(t->arena, page, 1))
			return -EEXIST;
		page = s ? s->first + s->pages : page + 1;
	}
	return 0;
}

/* Before the window is locked: what may fail, or takes its lock by itself. spm_heaps_lock is held. */
static int taken_prepare(struct slots_taken *t, uint32_t arena)
{
	int err = t->row.spans == 1 ? row_check(&t->row) : -EINVAL;

	if (err)
		return err;
	spm_window_lock();
	err = spm_run_have_slices(t->row.first, t->row.pages, arena, &t->arena);
	spm_window_unlock();
	return err ? err : stock(t->arena) ? 0 : -ENOMEM;
}

static int taken_check(const struct slots_taken *t, const struct slots_taken *before, struct slots_given *given,
                       size_t gives)
{
	struct span *s = span_like(&t->row);

	if (before && t->row.first < before->row.first + before->row.pages)
		return -EINVAL;
	return s ? slots_check(s, &t->row) : place_check(t, given, gives);
}

/* Those in `remote` still count as used, and the last drain told of them. */
static void slots_take(struct span *s, const struct slotset *want)
{
	for (unsigned slot = 0; slot < s->slots; slot++)
		if (slotset_has(want, slot)) {
			spm_guard_clear(s, slot);
			s->fresh = s->fresh > slot ? s->fresh : (uint16_t)(slot + 1);
		}
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		s->used = (uint16_t)(s->used + __builtin_popcountll(s->free.word[w] & want->word[w]));
		__atomic_store_n(&s->free.word[w], s->free.word[w] & ~want->word[w], __ATOMIC_RELEASE);
		atomic_fetch_and(&s->remote[w], ~want->word[w]);
	}
	if (s->state == SPAN_LISTED && slotset_empty(&s->free)) {
		spm_heap_unlist(s->owner, s);
		s->state = SPAN_FULL;
	}
}

static void span_drop(struct span *s)
{
	struct heap *h = s->owner;

	if (s->state == SPAN_LISTED)
		spm_heap_unlist(h, s);
	if (s->state == SPAN_CURRENT)
		h->current[spm_heap_kind(s)] = &spm_exhausted;
	spm_span_unmake(s);
}

/* It was checked, so nothing fails. */
static void span_put(const struct slots_taken *t, struct slots_given *given, size_t gives)
{
	uint32_t arena;
	bool is_zero;

	for (pageno_t page = t->row.first; page < t->row.first + t->row.pages; page++) {
		struct span *s = spm_span_of(spm_page_address(page));
		struct slots_given *g = s ? given_of(given, gives, s) : NULL;

		if (g)
			g->is_unmade = true;
		if (s)
			span_drop(s);
	}
	/* with their last spans, the slices went back to the window */
	if (spm_run_have_slices(t->row.first, t->row.pages, t->arena, &arena) ||
	    spm_run_take_at(t->arena, t->row.first, t->row.pages, &is_zero))
		spm_panic("heap: pages that were just free are not");
	restored_to(spm_span_restore(&t->row, 0, t->arena), stock_find(t->arena));
}

static void taken_put(const struct slots_taken *t, struct slots_given *given, size_t gives)
{
	struct span *s = span_like(&t->row);
	struct slotset want = spm_row_live(&t->row, 0);

	if (s)
		slots_take(s, &want);
	else
		span_put(t, given, gives);
}

static int exchange_locked(struct slots_given *given, size_t gives, struct slots_taken *taken, size_t takes)
{
	int err = 0;

	for (size_t i = 0; i < takes && !err; i++)
		err = taken_check(&taken[i], i ? &taken[i - 1] : NULL, given, gives);
	for (size_t i = 0; i < takes && !err; i++)
		taken_put(&taken[i], given, gives);
	return err;
}

int spm_heap_exchange(struct slots_given *given, size_t gives, struct slots_taken *taken, size_t takes, uint32_t arena)
{
	int err = spm_heap_init();

	if (err)
		return err;
	spm_heap_release_idle_large();
	pthread_mutex_lock(&spm_heaps_lock);
	for (size_t i = 0; i < takes && !err; i++)
		err = taken_prepare(&taken[i], arena);
	if (!err) {
		spm_window_lock();
		err = exchange_locked(given, gives, taken, takes);
		spm_window_unlock();
	}
	pthread_mutex_unlock(&spm_heaps_lock);
	return err;
}
