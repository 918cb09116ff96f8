/* trace.c - see trace.h. */
#include "discover/trace.h"

#include <errno.h>
#include <sys/mman.h>

struct range {
	uint64_t from, bytes;
};

/* The stack is address space only until it is used; no container can need more than one entry a slot. */
static const size_t stack_bytes = (size_t)1 << 36;
static const size_t stack_keep_bytes = (size_t)1 << 20;

struct trace {
	struct marks *marks;
	const struct hints *hints;
	bool found; /* a slot became live */
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

/* The word may be an address: if it lies in an allocated slot that is not live yet, that becomes live. */
static void word_follow(struct trace *t, uint64_t word)
{
	struct span *s = spm_span_of(word);
	unsigned slot;

	if (!s)
		return;
	slot = spm_span_slot(s, word);
	if (slot >= s->slots || !spm_slot_is_allocated(s, slot) || !spm_marks_add(t->marks, s, slot))
		return;
	t->found = true;
	if (s->flags & HEAP_NOPTR)
		return;
	t->stack[t->depth++] = (struct range){spm_slot_address(s, slot), s->slot_bytes};
	if (t->depth > t->deepest)
		t->deepest = t->depth;
}

static void range_scan(struct trace *t, struct range r)
{
	const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)((r.from + 7) & ~UINT64_C(7));
	const volatile uint64_t *end = (const volatile uint64_t *)(uintptr_t)((r.from + r.bytes) & ~UINT64_C(7));

	for (; word < end; word++) {
		uint64_t value = *word;

		if (spm_in_window(value) && !spm_hints_is_excluded(t->hints, (uintptr_t)word))
			word_follow(t, value);
	}
}

static void stack_empty(struct trace *t)
{
	while (t->depth)
		range_scan(t, t->stack[--t->depth]);
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
			stack_empty(t);
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
		t->found = false;
		for (size_t i = 0; i < h->reference_count; i++)
			if (is_live(t, h->reference[i].object)) {
				word_follow(t, h->reference[i].target);
				stack_empty(t);
			}
	} while (t->found);
}

int spm_trace_incremental(struct marks *m, uint64_t root, const struct hints *hints)
{
	struct trace t;
	int err = trace_begin(&t, m, hints);

	if (err)
		return err;
	word_follow(&t, root);
	stack_empty(&t);
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
	stack_empty(&t);
	references_follow(&t);
	spm_marks_end_anew(m);
	trace_end(&t);
	return 0;
}
