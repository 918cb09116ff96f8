/* span.c - see span.h.
 *
 * A span's struct is filled in before its pages point to it and after the last pointer of an earlier span is gone, so
 * whoever finds a span by address (others may be stopped at any instruction) finds it whole, or with all slots free.
 *
 * Spans with freed slots to be drained are found by two levels of bits:
 *
 *   drain_slices   one bit a slice                  drain_pages   one bit a page: the first page of a span
 *
 * Every free of a slot of a marked span sees to it that both bits are set before it returns, even if another thread
 * is stopped between setting the one and the other; so a drain misses no free that had returned. A free that it does
 * miss had not returned, its slot could not be allocated again yet, and the next drain finds it.
 * The freed slots of a marked span are changed by atomic instructions only: a thread stopped between reading and
 * writing it would bring back bits that the drain took.
 *
 * A span is unmade or made longer with the window's lock held, and only after a look at is_held and is_marked under it. So
 * from spm_heap_hold on each span that is there stays as it is, and one that is marked then does so afterwards.
 */
#include "heap/span.h"
#include "heap/guard.h"
#include "heap/tables.h"
#include "heap/window.h"

#include <assert.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

uint32_t *spm_page_span;
struct span *spm_spans;

enum { WINDOW_PAGES = SPM_SLICES * SPM_SLICE_PAGES, SLICE_BIT_WORDS = SPM_SLICES / 64, POPULATE_LEAST = 64 };

static_assert(SPM_SLICES % 64 == 0, "the slice bits fill words");
static_assert(sizeof(struct span) == 128, "two cache lines");

static _Atomic uint64_t drain_slices[SLICE_BIT_WORDS];
static _Atomic uint64_t *drain_pages;
static bool is_held;                /* the window's lock guards it */
static struct slotset *freed_slots; /* by the span's first page: heap.h, invariant 3. Unmarked spans touch none of it */

int spm_span_init(void)
{
	spm_class_init();
	if (spm_table_have((void **)&spm_page_span, (size_t)WINDOW_PAGES * sizeof(*spm_page_span)) ||
	    spm_table_have((void **)&spm_spans, (size_t)WINDOW_PAGES * sizeof(*spm_spans)))
		return -ENOMEM;
	if (spm_table_have((void **)&freed_slots, (size_t)WINDOW_PAGES * sizeof(*freed_slots)))
		return -ENOMEM;
	return spm_table_have((void **)&drain_pages, (size_t)WINDOW_PAGES / 8);
}

static void point_pages(const struct span *s, uint32_t from, uint32_t to, uint32_t value)
{
	for (uint32_t i = from; i < to; i++)
		__atomic_store_n(&spm_page_span[s->first + i], value, __ATOMIC_RELEASE);
}

/* Everything but is_queued and queue, which outlive the span (heap.c). */
static struct span *span_fill(pageno_t first, const struct span_class *cut, uint32_t pages, bool is_zero)
{
	struct span *s = &spm_spans[first];
	bool is_first =
	        !s->slots; /* there never was one: its freed slots are clear, a look would only cost a page fault */

	s->first = first;
	s->pages = pages;
	s->slot_bytes = cut ? cut->slot_bytes : (uint64_t)pages << SPM_PAGE_SHIFT;
	s->recip = cut ? cut->recip : 0;
	s->slots = (uint16_t)(cut ? pages * SPM_PAGE_BYTES / cut->slot_bytes : 1);
	s->class = cut ? (uint8_t)(cut - spm_classes) : SPM_CLASS_LARGE;
	s->fresh = is_zero ? 0 : s->slots;
	s->used = 0;
	s->next = s->prev = NULL;
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		atomic_store_explicit(&s->remote[w], 0, memory_order_relaxed);
		if (!is_first && freed_slots[first].word[w]) /* reading touches no memory */
			freed_slots[first].word[w] = 0;
	}
	atomic_store_explicit(&s->is_marked, 0, memory_order_relaxed);
	s->free = spm_span_all(s);
	spm_guard_forget(s);
	return s;
}

struct span *spm_span_new(unsigned class, unsigned flags, uint32_t arena, struct heap *owner)
{
	const struct span_class *cut = &spm_classes[class];
	pageno_t first;
	bool is_zero;
	struct span *s;

	if (spm_run_take(arena, cut->pages, 1, &first, &is_zero))
		return NULL;
	s = span_fill(first, cut, cut->pages, is_zero);
	s->flags = (uint8_t)flags;
	s->arena = (uint16_t)arena;
	s->state = SPAN_CURRENT;
	__atomic_store_n(&s->owner, owner, __ATOMIC_RELEASE);
	point_pages(s, 0, s->pages, first + 1);
	return s;
}

struct span *spm_span_new_large(uint32_t pages, uint32_t align, unsigned flags, uint32_t arena)
{
	pageno_t first;
	bool is_zero;
	struct span *s;

	if (spm_run_take(arena, pages, align, &first, &is_zero))
		return NULL;
	s = span_fill(first, NULL, pages, is_zero);
	s->flags = (uint8_t)flags;
	s->arena = (uint16_t)arena;
	s->used = 1; /* before the state: it may be on the list of idle spans from an earlier life */
	__atomic_store_n(&s->state, SPAN_LARGE, __ATOMIC_RELEASE);
	__atomic_store_n(&s->owner, NULL, __ATOMIC_RELEASE);
	point_pages(s, 0, pages, first + 1);
	return s;
}

/* Where every page of the table will hold a span: rather than by a fault for each. */
static void table_populate(const struct span_row *row)
{
	if (row->pages <= SPM_PAGE_BYTES / sizeof(struct span) && row->spans >= POPULATE_LEAST)
		spm_pages_populate(spm_spans, (size_t)WINDOW_PAGES * sizeof(*spm_spans),
		                   row->first * sizeof(*spm_spans),
		                   (size_t)row->spans * row->pages * sizeof(*spm_spans));
}

int spm_span_restore_begin(const struct span_row *row, uint32_t arena)
{
	bool is_zero;
	int err;

	spm_window_lock();
	err = spm_run_take_at(arena, row->first, row->spans * row->pages, &is_zero);
	spm_window_unlock();
	if (!err)
		table_populate(row);
	return err;
}

struct span *spm_span_restore(const struct span_row *row, uint32_t i, uint32_t arena)
{
	const struct span_class *cut = row->class == SPM_CLASS_LARGE ? NULL : &spm_classes[row->class];
	struct span *s = span_fill(row->first + i * row->pages, cut, row->pages, false);
	struct slotset live = spm_row_live(row, i);

	s->flags = row->flags;
	s->arena = (uint16_t)arena;
	__atomic_store_n(&s->owner, NULL, __ATOMIC_RELEASE);
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		s->free.word[w] &= ~live.word[w];
		s->used = (uint16_t)(s->used + __builtin_popcountll(live.word[w]));
	}
	__atomic_store_n(&s->state, SPAN_LARGE, __ATOMIC_RELEASE); /* heap.c knows better */
	point_pages(s, 0, s->pages, s->first + 1);
	return s;
}

/* The window is locked. */
static bool is_fixed(const struct span *s)
{
	return is_held || atomic_load(&s->is_marked);
}

void spm_span_unmake(struct span *s)
{
	spm_guard_forget(s);
	point_pages(s, 0, s->pages, 0);
	__atomic_store_n(&s->state, SPAN_NONE, __ATOMIC_RELEASE);
	__atomic_store_n(&s->owner, NULL, __ATOMIC_RELEASE);
	spm_run_give(s->first, s->pages);
}

/* Told to the drain before the lock is given up: afterwards another may give the span back, and it may be made anew. */
bool spm_span_release(struct span *s, enum span_state as)
{
	bool is_idle, is_refused;

	spm_window_lock();
	is_idle = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE) == as && !s->used;
	is_refused = is_idle && is_fixed(s);
	if (is_refused)
		spm_span_note_freed(s, 0, 1);
	else if (is_idle)
		spm_span_unmake(s);
	spm_window_unlock();
	return !is_refused;
}

static int extend_locked(struct span *s, uint32_t pages, bool *is_zero)
{
	pageno_t end = s->first + s->pages;

	if (is_fixed(s) || spm_run_is_fenced(end, pages) || spm_run_take_at(s->arena, end, pages, is_zero))
		return -EEXIST;
	point_pages(s, s->pages, s->pages + pages, s->first + 1);
	s->pages += pages;
	s->slot_bytes = (uint64_t)s->pages << SPM_PAGE_SHIFT;
	return 0;
}

int spm_span_extend(struct span *s, uint32_t pages, bool *is_zero)
{
	int err;

	spm_window_lock();
	err = extend_locked(s, pages, is_zero);
	spm_window_unlock();
	return err;
}

bool spm_heap_can_hold(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
}

static void hold_set(bool value)
{
	spm_window_lock();
	is_held = value;
	spm_window_unlock();
}

void spm_heap_hold(void)
{
	hold_set(true);
}

void spm_heap_let_go(void)
{
	hold_set(false);
}

void spm_span_forget_hold(void)
{
	is_held = false;
}

int spm_heap_show_marks(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) ? -errno : 0;
}

static void set_bit(_Atomic uint64_t *words, uint32_t n)
{
	uint64_t bit = UINT64_C(1) << (n & 63);

	if (!(atomic_load(&words[n >> 6]) & bit))
		atomic_fetch_or(&words[n >> 6], bit);
}

void spm_span_note_remote(struct span *s)
{
	pageno_t page = (pageno_t)(s - spm_spans);

	set_bit(drain_pages, page);
	set_bit(drain_slices, page / SPM_SLICE_PAGES);
}

void spm_span_note_freed(struct span *s, unsigned word, uint64_t bits)
{
	__atomic_fetch_or(&freed_slots[s - spm_spans].word[word], bits, __ATOMIC_SEQ_CST);
	spm_span_note_remote(s);
}

bool spm_span_has_news(const struct span *s, const struct slotset *slots)
{
	pageno_t page = (pageno_t)(s - spm_spans);
	bool is_to_drain = atomic_load(&drain_pages[page >> 6]) >> (page & 63) & 1;
	uint64_t found = 0;

	for (unsigned w = 0; w < SPM_SLOT_WORDS && slots; w++)
		found |= slots->word[w] & (freed_slots[page].word[w] | atomic_load(&s->remote[w]));
	return is_to_drain && (found || !slots);
}

static bool is_wholly_free(const struct span *s)
{
	struct slotset all = spm_span_all(s);

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		if ((s->free.word[w] | atomic_load(&s->remote[w])) != all.word[w])
			return false;
	return true;
}

/* What was freed since the last time. Bits in remote are told again once their owner collects them: the slot
 * cannot have been allocated again before that. */
static struct slotset take_freed(struct span *s)
{
	struct slotset *row = &freed_slots[s->first];
	struct slotset out;

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		out.word[w] = __atomic_exchange_n(&row->word[w], 0, __ATOMIC_SEQ_CST) | atomic_load(&s->remote[w]);
	return out;
}

static void drain_span(pageno_t page, void (*fn)(struct span *, const struct slotset *, void *), void *arg)
{
	struct span *s = &spm_spans[page];
	struct slotset freed;

	if (spm_page_span[page] != page + 1)
		return; /* given back meanwhile, or half made: nothing was marked in it */
	freed = take_freed(s);
	if (!slotset_empty(&freed))
		fn(s, &freed, arg);
	if (!is_wholly_free(s))
		return;
	if (atomic_load(&s->is_marked))
		spm_span_note_remote(s); /* look again next time */
	else
		spm_heap_queue_idle(s);
}

static void drain_slice(uint32_t slice, void (*fn)(struct span *, const struct slotset *, void *), void *arg)
{
	uint32_t first = slice * (SPM_SLICE_PAGES / 64);

	for (uint32_t w = first; w < first + SPM_SLICE_PAGES / 64; w++) {
		uint64_t bits = atomic_load(&drain_pages[w]) ? atomic_exchange(&drain_pages[w], 0) : 0;

		for (; bits; bits &= bits - 1)
			drain_span(w * 64 + (uint32_t)__builtin_ctzll(bits), fn, arg);
	}
}

void spm_heap_drain_freed(void (*fn)(struct span *s, const struct slotset *freed, void *arg), void *arg)
{
	if (!spm_spans)
		return;
	for (uint32_t w = 0; w < SLICE_BIT_WORDS; w++) {
		uint64_t bits = atomic_load(&drain_slices[w]) ? atomic_exchange(&drain_slices[w], 0) : 0;

		for (; bits; bits &= bits - 1)
			drain_slice(w * 64 + (uint32_t)__builtin_ctzll(bits), fn, arg);
	}
}

void spm_heap_each_run(void (*fn)(pageno_t first, uint32_t pages, void *arg), void *arg)
{
	if (spm_spans)
		spm_window_each_run(false, fn, arg);
}

void spm_heap_each_watched_run(void (*fn)(pageno_t first, uint32_t pages, void *arg), void *arg)
{
	if (spm_spans)
		spm_window_each_run(true, fn, arg);
}

void spm_heap_unwatch(const struct span *s)
{
	spm_window_lock();
	spm_run_unwatch(s->first, s->pages);
	spm_window_unlock();
}

struct tally {
	struct heap_stats stats;
	bool is_checking;
};

/* Invariants 1 and 2 (its part that can be seen from outside) of heap.h. */
static void check_span(const struct span *s)
{
	struct slotset all = spm_span_all(s);

	for (uint32_t i = 0; i < s->pages; i++)
		SPM_CHECK(spm_page_span[s->first + i] == s->first + 1);
	SPM_CHECK(s->state != SPAN_NONE);
	SPM_CHECK(s->class == SPM_CLASS_LARGE || s->class < SPM_CLASSES);
	SPM_CHECK(s->slots * s->slot_bytes <= (uint64_t)s->pages << SPM_PAGE_SHIFT);
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		uint64_t remote = atomic_load(&s->remote[w]);

		SPM_CHECK(!(s->free.word[w] & ~all.word[w]));
		SPM_CHECK(!(remote & s->free.word[w]) && !(remote & ~all.word[w]));
		SPM_CHECK(!(freed_slots[s->first].word[w] & ~all.word[w]));
	}
}

static void tally_span(struct tally *t, const struct span *s)
{
	unsigned used = s->slots;

	if (t->is_checking)
		check_span(s);
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		used -= (unsigned)__builtin_popcountll(s->free.word[w] | atomic_load(&s->remote[w]));
	t->stats.spans++;
	t->stats.pages += s->pages;
	t->stats.allocated_bytes += used * s->slot_bytes;
}

static void tally_run(pageno_t first, uint32_t pages, void *arg)
{
	for (pageno_t p = first; p < first + pages;) {
		uint32_t head = spm_page_span[p];

		if (!head) {
			p++;
			continue;
		}
		tally_span(arg, &spm_spans[head - 1]);
		p = head - 1 + spm_spans[head - 1].pages;
	}
}

void spm_heap_stats(struct heap_stats *out)
{
	struct tally t = {0};

	spm_heap_each_run(tally_run, &t);
	t.stats.slices = spm_spans ? spm_window_slices() : 0;
	*out = t.stats;
}

void spm_heap_check(void)
{
	struct tally t = {.is_checking = true};

	if (!spm_spans)
		return;
	spm_window_check();
	spm_heap_each_run(tally_run, &t);
}
