/* trace.c - see trace.h.
 *
 * A trace waits for memory more than it computes: each pointer leads to four places (the page's span number, the span,
 * its marks, the slot), seldom in a cache. So all of them are asked for when the pointer is found, and used AHEAD
 * pointers later:
 *
 *   range_scan -> pointer found, prefetched -> ring of AHEAD words -> marked -> stack of ranges -> range_scan
 *
 * What comes back from the depth of the stack is asked for again, SOON ranges before its turn. One long list gains
 * nothing by this: where it goes on is only known from the node that is awaited.
 */
#include "discover/trace.h"

#include <errno.h>
#include <sys/mman.h>

enum { AHEAD = 16, SOON = 8 }; /* AHEAD: a power of two */

struct range {
	uint64_t from, bytes; /* multiples of 8 */
};

/* A word that leads into a span. */
struct found {
	uint64_t word;
	pageno_t head; /* the span's first page */
};

/* The stack is address space only until it is used; no container can need more than one entry a slot. */
static const size_t stack_bytes = (size_t)1 << 36;
static const size_t stack_keep_bytes = (size_t)1 << 20;

struct trace {
	struct marks *marks;
	const struct hints *hints;
	bool has_found; /* a slot became live */
	struct found ring[AHEAD];
	unsigned put, taken; /* counts; the difference is in the ring */
	struct range *stack;
	size_t depth, deepest;
};

static struct range *stack_memory; /* kept from trace to trace; points are serialized */

static int trace_begin(struct trace *t, struct marks *m, const struct hints *hints)
{
	if (!stack_memory) {
		void *p = mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		               -1, 0);

		if (p == MAP_FAILED)
			return -ENOMEM;
		stack_memory = p;
	}
	*t = (struct trace){.marks = m, .hints = hints, .stack = stack_memory};
	return 0;
}

static void trace_end(struct trace *t)
{
	size_t used = t->deepest * sizeof(struct range);

	if (used > stack_keep_bytes)
		madvise((char *)t->stack + stack_keep_bytes, used - stack_keep_bytes, MADV_DONTNEED);
}

/* The slot that the word lies in becomes live, if it is allocated and not live yet. */
static inline void found_mark(struct trace *t, struct found f)
{
	struct span *s = &spm_spans[f.head];
	unsigned slot = spm_span_slot(s, f.word);

	if (slot >= s->slots || !spm_slot_is_allocated(s, slot) || !spm_marks_add(t->marks, s, slot))
		return;
	t->has_found = true;
	if (s->flags & HEAP_NOPTR)
		return;
	t->stack[t->depth++] = (struct range){spm_slot_address(s, slot), s->slot_bytes};
	if (t->depth > t->deepest)
		t->deepest = t->depth;
}

static inline void oldest_mark(struct trace *t)
{
	found_mark(t, t->ring[t->taken++ % AHEAD]);
}

/* A word of the window: what it leads to will be looked at when it has come from memory. */
static inline void word_follow(struct trace *t, uint64_t word)
{
	uint32_t head = spm_page_span[spm_page_of(word)];

	if (!head)
		return;
	head--;
	__builtin_prefetch((const void *)(uintptr_t)word);
	__builtin_prefetch(&spm_spans[head]);
	__builtin_prefetch(&spm_spans[head].remote);
	__builtin_prefetch(spm_marks_place(t->marks, head));
	if (t->put - t->taken == AHEAD)
		oldest_mark(t);
	t->ring[t->put++ % AHEAD] = (struct found){word, head};
}

static void range_scan(struct trace *t, struct range r)
{
	const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)r.from;
	const volatile uint64_t *end = (const volatile uint64_t *)(uintptr_t)(r.from + r.bytes);

	for (; word < end; word++) {
		uint64_t value = *word;

		if (spm_in_window(value) && !spm_hints_is_excluded(t->hints, (uintptr_t)word))
			word_follow(t, value);
	}
}

/* Until there is nothing left to scan. */
static void all_follow(struct trace *t)
{
	for (;;) {
		if (t->depth) {
			struct range r = t->stack[--t->depth];

			if (t->depth >= SOON)
				__builtin_prefetch((const void *)(uintptr_t)t->stack[t->depth - SOON].from);
			range_scan(t, r);
		} else if (t->put != t->taken) {
			oldest_mark(t);
		} else {
			return;
		}
	}
}

/* Scans the live slots of a dirty page, as far as they lie on it. */
static void page_scan(pageno_t page, void *arg)
{
	struct trace *t = arg;
	uint64_t from = spm_page_address(page), end = from + SPM_PAGE_BYTES;
	struct span *s = spm_span_of(from);
	struct slotset live;
	unsigned first, last;

	if (!s || s->flags & HEAP_NOPTR)
		return;
	live = spm_marks_live(t->marks, s);
	spm_page_slots(s, page, &first, &last);
	for (unsigned i = first; i <= last; i++) {
		uint64_t at = spm_slot_address(s, i);
		uint64_t low = at > from ? at : from;
		uint64_t high = at + s->slot_bytes < end ? at + s->slot_bytes : end;

		if (slotset_has(&live, i)) {
			range_scan(t, (struct range){low, high - low});
			all_follow(t);
		}
	}
}

static bool is_live(const struct trace *t, uint64_t address)
{
	struct span *s = spm_span_of(address);
	unsigned slot = s ? spm_span_slot(s, address) : 0;

	return s && slot < s->slots && spm_marks_has(t->marks, s, slot);
}

/* What live objects refer to by the program's word; that may make more objects live. */
static void references_follow(struct trace *t)
{
	const struct hints *h = t->hints;

	do {
		t->has_found = false;
		for (size_t i = 0; i < h->reference_count; i++)
			if (is_live(t, h->reference[i].object)) {
				word_follow(t, h->reference[i].target);
				all_follow(t);
			}
	} while (t->has_found);
}

int spm_trace_incremental(struct marks *m, uint64_t root, const struct hints *hints)
{
	struct trace t;
	int err = trace_begin(&t, m, hints);

	if (err)
		return err;
	word_follow(&t, root);
	all_follow(&t);
	spm_marks_take_dirty(m, page_scan, &t);
	references_follow(&t);
	trace_end(&t);
	return 0;
}

static void page_ignore(pageno_t page, void *arg)
{
	(void)page, (void)arg;
}

int spm_trace_full(struct marks *m, uint64_t root, const struct hints *hints)
{
	struct trace t;
	int err = trace_begin(&t, m, hints);

	if (err)
		return err;
	spm_marks_take_dirty(m, page_ignore, NULL);
	spm_marks_begin_anew(m);
	word_follow(&t, root);
	all_follow(&t);
	references_follow(&t);
	spm_marks_end_anew(m);
	trace_end(&t);
	return 0;
}
