/* heap.h - all memory that may become persistent, at addresses that never move.
 *
 *   window   0x6a81'0000'0000 .. 0x6b00'0000'0000   fixed, reserved without being backed
 *     slice  32 MiB, belongs to one arena; relocation moves whole slices
 *       span a run of pages cut into <= 256 equal slots of one size class; or one large slot
 *         slot one allocation
 *
 * The upper 32-bit word of every window address lies in 0x6a81..0x6aff, its fifth byte is 0x81..0xff: neither
 * small integers, nor text, nor doubles, nor timestamps look like one (tests/unit/test_window.c measures it).
 *
 * Which slots are taken is kept in bitmaps outside the window: allocating and freeing write nothing into heap
 * pages, so a free never makes a page dirty, and a stopped thread can leave no list half linked.
 *
 * Invariants
 *  1. page_span[p] is the first page of p's span plus one, or 0 if p belongs to no span.
 *  2. A slot is allocated if and only if its bit is clear in `free` and in `remote`. Right at every instant:
 *     the bit is cleared before the address is handed out, set after the last use.
 *  3. For a marked span, its row of a table of freed slots (with `remote`) holds every slot freed since the last
 *     spm_heap_drain_freed, also if it was allocated again meanwhile: discovery unmarks from it.
 *  4. A span with is_marked set (some container may hold marks for its slots) is not given back, recut or made longer
 *     while its freed slots have not been drained.
 *  5. A slot handed out is zero in all its bytes.
 *
 * Threads: all functions may be called by any thread, unless they say "stopped": those run while no other thread
 * allocates (at a persistence point or a restore), take no lock, and call no libc allocator. "Or held": or else between
 * spm_heap_hold and spm_heap_let_go.
 */
#ifndef SPM_HEAP_H
#define SPM_HEAP_H

#include "base/base.h"

#ifdef __SANITIZE_THREAD__ /* has its shadow there; what volumes such a build makes, no other can read */
#define SPM_WINDOW_START UINT64_C(0x40000000)
#else
#define SPM_WINDOW_START UINT64_C(0x6a8100000000)
#endif
#define SPM_WINDOW_END (SPM_WINDOW_START + (UINT64_C(508) << 30))
#define SPM_SLICE_BYTES (UINT64_C(32) << 20)
enum { SPM_SLICE_PAGES = 8192, SPM_SLICES = 16256 };

enum { SPM_CLASS_LARGE = 255 }; /* one slot that fills the span */

enum heap_flags {
	HEAP_NOPTR = 1, /* the program keeps no pointers here: never scanned */
};

struct span {
	_Alignas(64) pageno_t first; /* first page */
	uint32_t pages;
	uint64_t slot_bytes; /* for SPM_CLASS_LARGE: pages * 4096 */
	uint32_t recip;      /* slot = (offset * recip) >> 32, exact for every offset in the span; 0 if large */
	uint16_t slots;
	uint8_t class;
	uint8_t flags;       /* enum heap_flags */
	struct slotset free; /* written by the owning thread */
	struct heap *owner;  /* NULL: large, belongs to no thread */
	/* end of the first cache line: all that an allocation reads */
	_Atomic uint64_t remote[SPM_SLOT_WORDS]; /* freed by other threads, not yet collected by the owner */
	_Atomic uint8_t is_marked;
	/* The rest is private to lib/heap. */
	_Atomic uint8_t is_queued;
	uint8_t state; /* enum span_state */
	uint16_t arena;
	uint16_t used;            /* slots not in free; the owner's */
	uint16_t fresh;           /* slots from here on were never handed out and their bytes are zero */
	pageno_t queue;           /* while is_queued: the next on the inbox of some heap, by its first page; 0: none */
	struct span *next, *prev; /* the owner's list of spans with free slots */
};

/* The tables, reserved by spm_heap_init; indexed by page. */
extern uint32_t *spm_page_span;
extern struct span *spm_spans;

/* Reserves the window. Called by every entry point below as needed; idempotent, thread safe.
 * $SOFTPM_HEAP_START=N: begin at slice N instead of at a random one (processes that begin at different places
 * seldom need relocation when their containers meet in one process). */
int spm_heap_init(void);

/* bytes 0 gives a unique slot. NULL if memory or the window is exhausted. Zeroed. */
void *spm_heap_alloc(size_t bytes, unsigned flags);
void *spm_heap_alloc_aligned(size_t align, size_t bytes, unsigned flags); /* align: power of two, to 32 MiB */
void *spm_heap_realloc(void *p, size_t bytes);
/* Panics, naming the address, on double free or a foreign pointer; in debug builds also on a write before its start,
 * or past its end. */
void spm_heap_free(void *p);
size_t spm_heap_usable(const void *p);

static inline bool spm_in_window(uint64_t word)
{
	return word - SPM_WINDOW_START < SPM_WINDOW_END - SPM_WINDOW_START;
}
static inline pageno_t spm_page_of(uint64_t address)
{
	return (pageno_t)((address - SPM_WINDOW_START) >> SPM_PAGE_SHIFT);
}
static inline uint64_t spm_page_address(pageno_t page)
{
	return SPM_WINDOW_START + ((uint64_t)page << SPM_PAGE_SHIFT);
}
/* The span that covers a window address, or NULL. Constant time, safe for any window address. */
static inline struct span *spm_span_of(uint64_t address)
{
	uint32_t head = spm_page_span[spm_page_of(address)];

	return head ? &spm_spans[head - 1] : NULL;
}
/* The slot that an address of the span lies in; >= span->slots for the tail that belongs to none. */
static inline unsigned spm_span_slot(const struct span *s, uint64_t address)
{
	uint64_t offset = address - spm_page_address(s->first);

	return (unsigned)((offset * s->recip) >> 32);
}
static inline uint64_t spm_slot_address(const struct span *s, unsigned slot)
{
	return spm_page_address(s->first) + slot * s->slot_bytes;
}
static inline bool spm_slot_is_allocated(const struct span *s, unsigned slot)
{
	uint64_t remote = __atomic_load_n((const uint64_t *)&s->remote[slot >> 6], __ATOMIC_ACQUIRE);

	return !(((s->free.word[slot >> 6] | remote) >> (slot & 63)) & 1);
}
/* All allocated slots at once. */
static inline struct slotset spm_span_allocated(const struct span *s)
{
	struct slotset all = {{0}};

	for (unsigned w = 0; w * 64 < s->slots; w++) {
		uint64_t remote = __atomic_load_n((const uint64_t *)&s->remote[w], __ATOMIC_ACQUIRE);

		all.word[w] = ~(__atomic_load_n(&s->free.word[w], __ATOMIC_RELAXED) | remote);
	}
	if (s->slots & 63)
		all.word[s->slots >> 6] &= (UINT64_C(1) << (s->slots & 63)) - 1;
	return all;
}

/* Arenas keep a container's slots together, in slices of their own; 0 is the common one. Only placement. */
uint32_t spm_arena_new(void);
/* Gives back what is free in it. If no thread ever used it, and nothing is left in it, the next spm_arena_new has it. */
void spm_arena_end(uint32_t arena);
uint32_t spm_arena_use(uint32_t arena); /* for this thread; returns the one used before */

/* For captures that stop nobody. While spans are held none is given back, recut or made longer; what would have been given
 * back is, after the next drain. New ones may come. One hold at a time. */
void spm_heap_hold(void);
void spm_heap_let_go(void);
/* Whether the kernel has the barrier for the next function. */
bool spm_heap_can_hold(void);
/* Held. Slots that are allocated after this are noted when they are freed, if their span's is_marked was set before it. 0, or
 * -errno and nothing is sure. */
int spm_heap_show_marks(void);

/* Stopped, or held. Calls fn for each span with freed slots since the last drain, then forgets them; after that, spans
 * that are wholly free and no longer is_marked may be given back. fn may clear s->is_marked. */
void spm_heap_drain_freed(void (*fn)(struct span *s, const struct slotset *freed, void *arg), void *arg);

/* Stopped, or held (then runs that others take meanwhile may be missing). The runs of pages that hold spans, in address order,
 * merged; calls fn for each. */
void spm_heap_each_run(void (*fn)(pageno_t first, uint32_t pages, void *arg), void *arg);
/* The same without spans of which the program tells what it writes there: a large one is such a span from spm_heap_unwatch on,
 * until it is given back. What they have does not count for the time it takes. */
void spm_heap_each_watched_run(void (*fn)(pageno_t first, uint32_t pages, void *arg), void *arg);
void spm_heap_unwatch(const struct span *s);

/* Restore: claims every slice that covers [first, first+pages) for the arena; -EEXIST if one is in use by another, or is slice 0,
 * of which nobody has anything (then nothing is changed). Claiming a slice the arena has already is no error. */
int spm_heap_claim(pageno_t first, uint32_t pages, uint32_t arena);
/* Spans that are alike, one behind the other, with just these slots allocated: `live` is the first's struct slotset, that of each
 * next one lies `stride` bytes further (at any alignment). */
struct span_row {
	pageno_t first;
	uint32_t pages; /* of each */
	uint8_t class, flags;
	uint32_t spans;
	const unsigned char *live;
	size_t stride;
};
/* Restore, after claim: makes them exist; the pages are readable and writable. What the row says is as some version stored it
 * (untrusted): -EINVAL if it makes no sense, -EEXIST if a span is in the way; then nothing is changed. The free slots are
 * zeroed when they are allocated. */
int spm_heap_restore_spans(const struct span_row *row, uint32_t arena);
static inline struct slotset spm_row_live(const struct span_row *row, uint32_t i)
{
	struct slotset live;

	__builtin_memcpy(&live, row->live + i * row->stride, sizeof(live));
	return live;
}
/* Another version in the place of one that is in memory: the caller gives up slots, and gets others, which may need the room of
 * the first. Both ascend; of a row `spans` is 1. If there is a span like the row's already, the slots in `live`, all of which are free,
 * are allocated in it; else one is made with just these, where only free pages are, slices that nobody uses (the arena claims
 * them), and spans that hold nothing but what is given up: those go, is_unmade is set. What is given up in others stays allocated.
 * All or nothing. -EEXIST: something else is in the way, or belongs to another thread; -EINVAL: a row makes no sense; -ENOMEM. */
struct slots_given {
	struct span *span;
	struct slotset slots;
	bool is_unmade;
};
struct slots_taken {
	struct span_row row;
	uint32_t arena; /* the function's own */
};
int spm_heap_exchange(struct slots_given *given, size_t gives, struct slots_taken *taken, size_t takes, uint32_t arena);
/* As long as there are fences at the beginning of a slice no span is made that begins before it and ends behind. So many more, or
 * less. */
void spm_heap_fence(uint32_t slice, int fences);
/* A run of slices that nobody uses, for relocation: its first page. 0 or -ENOMEM. */
int spm_heap_find_slices(uint32_t slices, pageno_t *first);

/* Slices that nobody uses are lent: the heap keeps off them, and whoever has them maps there what he likes. -EEXIST: one is in use;
 * *taken is the first such, *arena its arena (SPM_ARENA_LENT: lent already). Then nothing is changed. */
enum { SPM_ARENA_LENT = 65536 };
int spm_heap_lend(uint32_t slice, uint32_t slices, uint32_t *taken, uint32_t *arena);
/* Unmaps what is mapped there; the heap may use them again. */
void spm_heap_take_back(uint32_t slice, uint32_t slices);
/* Of an address in the window. Takes no lock. */
bool spm_heap_is_lent(uint64_t address);

struct heap_stats {
	uint64_t spans, pages, allocated_bytes, slices;
};
void spm_heap_stats(struct heap_stats *out);
/* Checks the invariants by number; panics at the first broken one. Stopped. */
void spm_heap_check(void);

#endif
