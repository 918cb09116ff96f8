/* heap.c - malloc and free.
 *
 *   thread --> struct heap (one per thread and arena)
 *                current[kind]   the span that slots are taken from; kind: size class and "holds pointers"
 *                listed[kind]    other spans with free slots
 *                inbox           spans in which other threads freed slots
 *
 * Allocation takes the lowest free bit of the current span; a free by the owner sets it again; both are plain stores of
 * one word. A free by another thread sets a bit in `remote` by an atomic instruction and puts the span on the inbox of
 * its owner, unless it is there. The owner collects when its current span is used up.
 *
 * The order within a free is always: the slot's bit in free or remote, then is_marked is read, then freed. A stop may
 * fall between any two: if marks are set on the span by that stop, the slot is free already and gets none, or is_marked
 * is seen; nobody can allocate the slot again before the free has told of it, for the one who could is the owner, who
 * is here, or collects and tells it himself.
 *
 * Beside a capture that stops nobody the same order serves: it sets is_marked first, then has each running processor pass a
 * barrier (spm_heap_show_marks), then marks what is allocated still. That replaces the barrier that a free, between the bit
 * and is_marked, does without. Spans are held meanwhile: a free that was unmarked when it looked may not give one back.
 *
 * A thread that ends leaves its heaps, whole, on a list; a thread that begins takes one over. While heaps lie
 * there, others take single spans from them. Only the owner of a span, or the holder of spm_heaps_lock for a heap on the
 * list, changes owner; whoever meets a span in the wrong inbox forwards it.
 *
 * is_queued and queue are never reset with a span: the struct may still be on an inbox when its span is given
 * back or made anew, and whoever finds it there looks at what it is now.
 *
 * Lock order: spm_heaps_lock, then the window's.
 */
#include "heap/heap.h"
#include "heap/class.h"
#include "heap/guard.h"
#include "heap/internal.h"
#include "heap/span.h"
#include "heap/tables.h"
#include "heap/window.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

pthread_mutex_t spm_heaps_lock = PTHREAD_MUTEX_INITIALIZER;
static struct heap *heaps; /* table; the first heap_count are in use */
static uint32_t heap_count;
struct heap *spm_abandoned_heaps;
static _Atomic bool *arena_was_used; /* by threads that may still allocate there */
static _Atomic uint32_t abandoned_count;
static _Atomic(struct span *) idle_large; /* an inbox for spans without owner */
static pthread_key_t exit_key;
struct span spm_exhausted; /* has no slot: what a heap without spans of a kind takes from */

static __thread struct heap *mine __attribute__((tls_model("initial-exec")));
__thread struct heap *spm_my_heaps __attribute__((tls_model("initial-exec")));
static __thread uint32_t my_arena __attribute__((tls_model("initial-exec")));

/* ---- inboxes ---- */

static struct span *queued_after(const struct span *s)
{
	return s->queue ? &spm_spans[s->queue] : NULL;
}

static void inbox_push(_Atomic(struct span *) *inbox, struct span *s)
{
	struct span *head;

	if (atomic_load(&s->is_queued) || atomic_exchange(&s->is_queued, 1))
		return;
	head = atomic_load(inbox);
	do
		s->queue = head ? (pageno_t)(head - spm_spans) : 0;
	while (!atomic_compare_exchange_weak(inbox, &head, s));
}

/* Stopped: no lock. */
void spm_heap_queue_idle(struct span *s)
{
	struct heap *owner = __atomic_load_n(&s->owner, __ATOMIC_ACQUIRE);

	inbox_push(owner ? &owner->inbox : &idle_large, s);
}

void spm_heap_list(struct heap *h, struct span *s)
{
	struct span **head = &h->listed[spm_heap_kind(s)];

	s->prev = NULL;
	s->next = *head;
	if (*head)
		(*head)->prev = s;
	*head = s;
	s->state = SPAN_LISTED;
}

void spm_heap_unlist(struct heap *h, struct span *s)
{
	if (s->prev)
		s->prev->next = s->next;
	else
		h->listed[spm_heap_kind(s)] = s->next;
	if (s->next)
		s->next->prev = s->prev;
}

/* Bits of remote move to free. They leave remote last: at every instant the slot is free in one of them. */
static void collect(struct span *s)
{
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		uint64_t bits = atomic_load_explicit(&s->remote[w], memory_order_acquire);

		if (!bits)
			continue;
		if (bits & s->free.word[w])
			spm_panic("free: double free of 0x%llx",
			          (unsigned long long)spm_slot_address(
			                  s, w * 64 + (unsigned)__builtin_ctzll(bits & s->free.word[w])));
		__atomic_store_n(&s->free.word[w], s->free.word[w] | bits, __ATOMIC_RELEASE);
		s->used = (uint16_t)(s->used - __builtin_popcountll(bits));
		if (atomic_load(&s->is_marked))
			spm_span_note_freed(s, w, bits);
		atomic_fetch_and(&s->remote[w], ~bits);
	}
}

/* A span without allocated slots goes back, but one of a kind is kept. */
static void release_if_idle(struct heap *h, struct span *s)
{
	if (s->used || s->state != SPAN_LISTED)
		return;
	if (!s->next && !s->prev)
		return;
	spm_heap_unlist(h, s);
	if (!spm_span_release(s, SPAN_LISTED))
		spm_heap_list(h, s);
}

/* The owner: the span got free slots. */
void spm_heap_refilled(struct heap *h, struct span *s)
{
	if (s->state == SPAN_FULL && !slotset_empty(&s->free))
		spm_heap_list(h, s);
	release_if_idle(h, s);
}

static void read_inbox(struct heap *h)
{
	struct span *s =
	        atomic_load_explicit(&h->inbox, memory_order_relaxed) ? atomic_exchange(&h->inbox, NULL) : NULL;

	while (s) {
		struct span *next = queued_after(s);
		struct heap *owner;

		atomic_store(&s->is_queued, 0);
		owner = __atomic_load_n(&s->owner, __ATOMIC_ACQUIRE);
		if (owner == h) {
			collect(s);
			spm_heap_refilled(h, s);
		} else if (owner) {
			inbox_push(&owner->inbox, s);
		}
		s = next;
	}
}

/* ---- heaps of threads ---- */

struct heap *spm_heap_new(uint32_t arena)
{
	struct heap *h;

	if (heap_count == HEAPS_MAX)
		return NULL;
	h = &heaps[heap_count++];
	for (unsigned k = 0; k < KINDS; k++)
		h->current[k] = &spm_exhausted;
	h->arena = arena;
	return h;
}

static struct heap *heap_adopt(uint32_t arena)
{
	for (struct heap **link = &spm_abandoned_heaps; *link; link = &(*link)->abandoned) {
		struct heap *h = *link;

		if (h->arena != arena)
			continue;
		*link = h->abandoned;
		atomic_fetch_sub(&abandoned_count, 1);
		return h;
	}
	return NULL;
}

/* No span is the one to allocate from. */
static void heap_rest(struct heap *h)
{
	for (unsigned k = 0; k < KINDS; k++) {
		struct span *s = h->current[k];

		if (s == &spm_exhausted)
			continue;
		h->current[k] = &spm_exhausted;
		collect(s);
		s->state = SPAN_FULL;
		spm_heap_refilled(h, s);
	}
	read_inbox(h);
}

/* spm_heaps_lock is held. */
void spm_heap_abandon(struct heap *h)
{
	heap_rest(h);
	h->abandoned = spm_abandoned_heaps;
	spm_abandoned_heaps = h;
	atomic_fetch_add(&abandoned_count, 1);
}

static void thread_exit(void *first)
{
	struct heap *h = first;

	mine = spm_my_heaps = NULL;
	pthread_mutex_lock(&spm_heaps_lock);
	while (h) {
		struct heap *next = h->sibling;

		spm_heap_abandon(h);
		h = next;
	}
	pthread_mutex_unlock(&spm_heaps_lock);
}

/* This thread's heap for my_arena. */
static struct heap *attach(void)
{
	struct heap *h;

	if (spm_heap_init())
		return NULL;
	for (h = spm_my_heaps; h && h->arena != my_arena; h = h->sibling)
		;
	if (h)
		return mine = h;
	pthread_mutex_lock(&spm_heaps_lock);
	h = heap_adopt(my_arena);
	if (!h)
		h = spm_heap_new(my_arena);
	pthread_mutex_unlock(&spm_heaps_lock);
	if (!h)
		return NULL;
	h->sibling = spm_my_heaps;
	mine = spm_my_heaps = h; /* before the call: it may allocate */
	pthread_setspecific(exit_key, h);
	if (spm_my_heaps != h)
		pthread_setspecific(exit_key, spm_my_heaps);
	return h;
}

/* Also of what others freed, and the one of a kind that is kept. By its owner; or it is abandoned, and spm_heaps_lock is held. */
static void heap_empty(struct heap *h)
{
	heap_rest(h);
	for (unsigned k = 0; k < KINDS; k++)
		for (struct span *s = h->listed[k], *next; s; s = next) {
			next = s->next;
			if (s->used || atomic_load(&s->is_marked))
				continue;
			spm_heap_unlist(h, s);
			if (!spm_span_release(s, SPAN_LISTED))
				spm_heap_list(h, s);
		}
}

void spm_arena_end(uint32_t arena)
{
	if (!arena || spm_heap_init())
		return;
	for (struct heap *h = spm_my_heaps; h; h = h->sibling)
		if (h->arena == arena)
			heap_empty(h);
	pthread_mutex_lock(&spm_heaps_lock);
	for (struct heap *h = spm_abandoned_heaps; h; h = h->abandoned)
		if (h->arena == arena)
			heap_empty(h);
	pthread_mutex_unlock(&spm_heaps_lock);
	spm_arena_clear(arena, !arena_was_used[arena]);
}

uint32_t spm_arena_use(uint32_t arena)
{
	uint32_t before = my_arena;

	my_arena = arena < SPM_ARENAS ? arena : 0;
	if (!spm_heap_init())
		arena_was_used[my_arena] = true;
	mine = NULL;
	return before;
}

/* What failed for want of memory is tried again by the next call; what was had by then is kept. */
static int init(void)
{
	int err = spm_window_init();

	if (!err)
		err = spm_span_init();
	if (!err)
		err = spm_guard_init();
	if (!err)
		err = spm_table_have((void **)&heaps, HEAPS_MAX * sizeof(*heaps));
	if (!err)
		err = spm_table_have((void **)&arena_was_used, SPM_ARENAS * sizeof(*arena_was_used));
	return err ? err : -pthread_key_create(&exit_key, thread_exit);
}

int spm_heap_init(void)
{
	static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
	static _Atomic bool is_ready;
	int err = 0;

	if (LIKELY(atomic_load_explicit(&is_ready, memory_order_acquire)))
		return 0;
	pthread_mutex_lock(&init_lock);
	if (!is_ready)
		err = init();
	if (!err)
		atomic_store_explicit(&is_ready, true, memory_order_release);
	pthread_mutex_unlock(&init_lock);
	return err;
}

/* The child has one thread; the locks must not stay with those it has not. */
static void before_fork(void)
{
	pthread_mutex_lock(&spm_heaps_lock);
	spm_window_lock();
}

static void after_fork(void)
{
	spm_window_unlock();
	pthread_mutex_unlock(&spm_heaps_lock);
}

static void after_fork_in_child(void)
{
	spm_span_forget_hold();
	after_fork();
}

/* Not in init: it may allocate. Before all others (containers/fork.c): so what they do before a fork may still allocate, and what
 * they do after it may again. */
__attribute__((constructor(101))) static void guard_fork(void)
{
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* ---- allocation ---- */

/* A free slot, or SPM_SPAN_SLOTS_MAX. */
static inline unsigned take_slot(struct span *s)
{
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		uint64_t word = s->free.word[w];

		if (!word)
			continue;
		__atomic_store_n(&s->free.word[w], word & (word - 1), __ATOMIC_RELAXED);
		return w * 64 + (unsigned)__builtin_ctzll(word);
	}
	return SPM_SPAN_SLOTS_MAX;
}

/* From a heap that no thread has. spm_heaps_lock is held. */
static struct span *steal_from(struct heap *h, unsigned kind)
{
	struct span *s;

	read_inbox(h);
	s = h->listed[kind];
	if (s)
		spm_heap_unlist(h, s);
	return s;
}

static struct span *steal(struct heap *h, unsigned kind)
{
	struct span *s = NULL;

	if (!atomic_load_explicit(&abandoned_count, memory_order_relaxed))
		return NULL;
	if (pthread_mutex_trylock(&spm_heaps_lock))
		return NULL;
	for (struct heap *a = spm_abandoned_heaps; a && !s; a = a->abandoned)
		if (a->arena == h->arena)
			s = steal_from(a, kind);
	if (s)
		__atomic_store_n(&s->owner, h, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&spm_heaps_lock);
	return s;
}

static struct span *next_listed(struct heap *h, unsigned kind)
{
	struct span *s = h->listed[kind];

	if (s)
		spm_heap_unlist(h, s);
	return s;
}

/* The current span of the kind is used up: another becomes current. NULL: no memory. */
static struct span *refill(struct heap *h, unsigned kind)
{
	struct span *s = h->current[kind];
	unsigned class = kind % SPM_CLASSES;

	read_inbox(h);
	if (s != &spm_exhausted) {
		collect(s);
		if (!slotset_empty(&s->free))
			return s;
		h->current[kind] = &spm_exhausted;
		s->state = SPAN_FULL;
	}
	s = next_listed(h, kind);
	if (!s)
		s = steal(h, kind);
	if (!s)
		s = spm_span_new(class, kind == class ? 0 : HEAP_NOPTR, h->arena, h);
	if (!s)
		return NULL;
	s->state = SPAN_CURRENT;
	h->current[kind] = s;
	return s;
}

static __attribute__((noinline)) struct span *refill_any(unsigned kind)
{
	struct heap *h = mine ? mine : attach();
	struct span *s;

	if (!h)
		return NULL;
	s = h->current[kind];
	return slotset_empty(&s->free) ? refill(h, kind) : s;
}

/* Zeroes the slot from byte `from` on (the caller will write those before), unless it is known to be zero. */
static inline void *hand_out(struct span *s, unsigned slot, size_t from)
{
	char *p = (char *)spm_slot_address(s, slot);

	s->used++;
	if (slot >= s->fresh)
		s->fresh = (uint16_t)(slot + 1);
	else
		memset(p + from, 0, s->slot_bytes - SPM_GUARD_BYTES - from);
	spm_guard_set(s, slot);
	return p;
}

static inline void *alloc_small(unsigned class, unsigned flags, size_t from)
{
	unsigned kind = class + ((flags & HEAP_NOPTR) ? SPM_CLASSES : 0);
	struct heap *h = mine;
	struct span *s = LIKELY(h) ? h->current[kind] : &spm_exhausted;
	unsigned slot = take_slot(s);

	if (UNLIKELY(slot == SPM_SPAN_SLOTS_MAX)) {
		s = refill_any(kind);
		if (!s)
			return NULL;
		slot = take_slot(s);
	}
	return hand_out(s, slot, from);
}

/* Large spans that a drain found wholly free. */
void spm_heap_release_idle_large(void)
{
	struct span *s =
	        atomic_load_explicit(&idle_large, memory_order_relaxed) ? atomic_exchange(&idle_large, NULL) : NULL;

	while (s) {
		struct span *next = queued_after(s);

		atomic_store(&s->is_queued, 0);
		spm_span_release(s, SPAN_LARGE);
		s = next;
	}
}

static void *alloc_large(size_t align, size_t bytes, unsigned flags, size_t from)
{
	struct span *s;
	uint32_t pages;

	if (spm_heap_init() || bytes > SPM_WINDOW_END - SPM_WINDOW_START - SPM_SLICE_BYTES)
		return NULL;
	spm_heap_release_idle_large();
	pages = (uint32_t)((bytes + SPM_PAGE_BYTES - 1) >> SPM_PAGE_SHIFT);
	s = spm_span_new_large(pages ? pages : 1, (uint32_t)(align >> SPM_PAGE_SHIFT), flags & HEAP_NOPTR, my_arena);
	if (!s)
		return NULL;
	__atomic_store_n(&s->free.word[0], 0, __ATOMIC_RELEASE);
	if (s->fresh)
		memset((char *)spm_slot_address(s, 0) + from, 0, s->slot_bytes - from);
	spm_guard_set(s, 0);
	return (void *)spm_slot_address(s, 0);
}

/* What a slot must hold for a program to have so many bytes. */
static inline size_t with_guard(size_t bytes)
{
	return bytes < SIZE_MAX - SPM_GUARD_BYTES ? bytes + SPM_GUARD_BYTES : bytes;
}

void *spm_heap_alloc(size_t bytes, unsigned flags)
{
	bytes = with_guard(bytes);
	if (LIKELY(bytes <= SPM_SMALL_MAX))
		return alloc_small(spm_class_of(bytes), flags, 0);
	return alloc_large(SPM_PAGE_BYTES, bytes, flags, 0);
}

void *spm_heap_alloc_aligned(size_t align, size_t bytes, unsigned flags)
{
	unsigned class;

	if (!align || (align & (align - 1)) || align > SPM_SLICE_BYTES)
		return NULL;
	bytes = with_guard(bytes);
	if (align > SPM_PAGE_BYTES || bytes > SPM_SMALL_MAX)
		return alloc_large(align > SPM_PAGE_BYTES ? align : SPM_PAGE_BYTES, bytes, flags, 0);
	/* Spans begin on a page, so slots of a multiple of align are aligned; the powers of two end the search. */
	class = spm_class_of(bytes > align ? bytes : align);
	if (spm_heap_init())
		return NULL;
	while (spm_classes[class].slot_bytes & (align - 1))
		class ++;
	return alloc_small(class, flags, 0);
}

/* ---- free ---- */

static __attribute__((noinline, noreturn)) void misuse(const void *p)
{
	uint64_t at = (uint64_t)p;
	struct span *s = spm_spans && spm_in_window(at) ? spm_span_of(at) : NULL;

	if (!s && spm_in_window(at) && spm_heap_is_lent(at))
		spm_panic("%p lies in an image (pCOpenImage): what is there can only be read, not freed or resized", p);
	if (!s)
		spm_panic("free: %p is not allocated here (a double free, or memory of another allocator)", p);
	if (spm_span_slot(s, at) < s->slots && spm_slot_address(s, spm_span_slot(s, at)) != at)
		spm_panic("free: %p points into the middle of the allocation at %p", p,
		          (void *)spm_slot_address(s, spm_span_slot(s, at)));
	spm_panic("free: double free of %p", p);
}

/* The span and slot that begin at p and are allocated, or no return. */
static inline struct span *slot_at(const void *p, unsigned *slot)
{
	uint64_t at = (uint64_t)p;
	struct span *s = NULL;

	if (LIKELY(spm_in_window(at) && spm_page_span))
		s = spm_span_of(at);
	if (UNLIKELY(!s))
		misuse(p);
	*slot = spm_span_slot(s, at);
	if (UNLIKELY(*slot >= s->slots || spm_slot_address(s, *slot) != at || !spm_slot_is_allocated(s, *slot)))
		misuse(p);
	return s;
}

static __attribute__((noinline)) void free_large(struct span *s)
{
	if (__atomic_fetch_or(&s->free.word[0], 1, __ATOMIC_SEQ_CST) & 1)
		misuse((void *)spm_slot_address(s, 0));
	s->used = 0;
	if (atomic_load(&s->is_marked))
		spm_span_note_freed(s, 0, 1);
	else
		spm_span_release(s, SPAN_LARGE);
}

static __attribute__((noinline)) void free_remote(struct span *s, unsigned slot)
{
	uint64_t bit = UINT64_C(1) << (slot & 63);
	struct heap *owner;

	if (atomic_fetch_or(&s->remote[slot >> 6], bit) & bit)
		misuse((void *)spm_slot_address(s, slot));
	/* The span may be given back from here on; its struct stays readable. */
	if (atomic_load(&s->is_marked))
		spm_span_note_remote(s);
	owner = __atomic_load_n(&s->owner, __ATOMIC_ACQUIRE);
	if (owner)
		inbox_push(&owner->inbox, s);
}

/* The rest of the owner's free, for spans that are marked, were full, or hold nothing any more. */
static __attribute__((noinline)) void free_seldom(struct heap *h, struct span *s, unsigned slot)
{
	if (atomic_load(&s->is_marked))
		spm_span_note_freed(s, slot >> 6, UINT64_C(1) << (slot & 63));
	spm_heap_refilled(h, s);
}

void spm_heap_free(void *p)
{
	unsigned slot;
	struct span *s;
	uint64_t *word;

	if (UNLIKELY(!p))
		return;
	s = slot_at(p, &slot);
	spm_guard_check(s, slot);
	if (UNLIKELY(s->owner != mine || !mine)) {
		if (s->state == SPAN_LARGE)
			free_large(s);
		else
			free_remote(s, slot);
		return;
	}
	word = &s->free.word[slot >> 6];
	__atomic_store_n(word, *word | UINT64_C(1) << (slot & 63), __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst); /* first free, then is_marked: see above */
	s->used--;
	if (UNLIKELY(!s->used || s->state == SPAN_FULL || atomic_load_explicit(&s->is_marked, memory_order_relaxed)))
		free_seldom(mine, s, slot);
}

size_t spm_heap_usable(const void *p)
{
	unsigned slot;

	return p ? slot_at(p, &slot)->slot_bytes - SPM_GUARD_BYTES : 0;
}

/* ---- realloc ---- */

/* A large slot grows into free pages behind it. Not if some container has marks for it: they are by the old size.
 * A stop may have set them meanwhile: then the slot is moved instead, with the pages it grew by. */
static bool grow_large(struct span *s, size_t bytes)
{
	uint64_t before = s->slot_bytes;
	uint64_t pages = (with_guard(bytes) + SPM_PAGE_BYTES - 1) >> SPM_PAGE_SHIFT;
	bool is_zero;

	if (atomic_load(&s->is_marked) || pages > SPM_SLICES * (uint64_t)SPM_SLICE_PAGES)
		return false;
	spm_guard_clear(s, 0);
	if (spm_span_extend(s, (uint32_t)(pages - s->pages), &is_zero))
		return false;
	if (!is_zero)
		memset((char *)spm_slot_address(s, 0) + before, 0, s->slot_bytes - before);
	return !atomic_load(&s->is_marked);
}

static void *move(void *p, size_t bytes, size_t keep, unsigned flags)
{
	size_t want = with_guard(bytes);
	void *q = want <= SPM_SMALL_MAX ? alloc_small(spm_class_of(want), flags, keep)
	                                : alloc_large(SPM_PAGE_BYTES, want, flags, keep);

	if (!q)
		return NULL;
	memcpy(q, p, keep);
	spm_heap_free(p);
	return q;
}

void *spm_heap_realloc(void *p, size_t bytes)
{
	struct span *s;
	unsigned slot;
	size_t have;

	if (!p)
		return spm_heap_alloc(bytes, 0);
	s = slot_at(p, &slot);
	have = s->slot_bytes - SPM_GUARD_BYTES;
	if (bytes <= have && (bytes >= have / 2 || have <= 64))
		return p;
	if (bytes > have && s->state == SPAN_LARGE && grow_large(s, bytes))
		return p;
	return move(p, bytes, bytes < have ? bytes : have, s->flags);
}
