/* trace.c - see trace.h.
 *
 * A trace waits for memory more than it computes. So
 *
 *   - What a span is, and which of its slots may still become live, is gathered in one cache line, its view, when the
 *     trace first meets the span. Marks are told what became live at the end, a span at a time.
 *   - View and slot are asked for when a pointer is found, and used when AHEAD more have been found. Ranges that come
 *     back from the depth of the stack are asked for again, SOON ranges before their turn.
 *
 *        +-> range_scan -> pointer, prefetched -> ring of AHEAD words -> marked in its view -> stack of ranges -+
 *        +------------------------------------------------------------------------------------------------------+
 *
 * Beside running threads spans are held (heap.h), so a view stays true but for `missing`: slots in it may be freed. So all spans
 * that will have marks are made known as marked before it is looked, at the end, which of the slots found are allocated
 * still. One that was freed and allocated again meanwhile is marked too, without having been scanned: what the program
 * wrote there it wrote after its pages were taken as dirty, so the next trace scans them.
 *
 * One long list gains nothing by this: where it goes on is only known from the node that is awaited (bench/discover
 * shows both). Only if its nodes lie in the order of the links can those to come be guessed.
 */
#include "discover/trace.h"
#include "heap/tables.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
	PAGES = SPM_SLICES * SPM_SLICE_PAGES,
	AHEAD = 16, /* a power of two */
	SOON = 8,
	ONWARD_BYTES = 512, /* how far ahead memory in the order of its links is asked for */
	PIECE_BYTES = 1024  /* of a large range that is scanned before what it leads to */
};

struct range {
	uint64_t from, bytes; /* multiples of 8 */
};

struct view {
	_Alignas(64) uint64_t start; /* the span's */
	uint64_t bytes;              /* of all its slots */
	uint64_t slot_bytes;
	uint32_t recip;
	uint8_t flags;
	struct slotset missing; /* allocated, and not live so far */
};
static_assert(sizeof(struct view) == 64, "one cache line");

/* Address space only, until it is used. view_of is never cleared: a number counts only if that view covers the page. */
struct tables {
	uint32_t view_of[PAGES];
	struct view view[PAGES];
	struct slotset missed[PAGES];        /* as `missing` was at first */
	struct range stack[(size_t)1 << 32]; /* no container can need more than one a slot */
};
static_assert(!(offsetof(struct tables, view) % SPM_PAGE_BYTES) &&
                      !(offsetof(struct tables, missed) % SPM_PAGE_BYTES) &&
                      !(offsetof(struct tables, stack) % SPM_PAGE_BYTES),
              "given back by pages");

struct trace {
	struct marks *marks;
	const struct hints *hints;
	struct tables *tables;
	uint32_t views;
	bool others_run;
	bool has_found;      /* a slot became live */
	unsigned put, taken; /* counts; the difference is in the ring */
	uint64_t ring[AHEAD];
	size_t depth, deepest;
};

static struct tables *tables; /* kept from trace to trace; points are serialized */

static int trace_begin(struct trace *t, struct marks *m, const struct hints *hints, bool others_run)
{
	if (!tables) {
		void *p = mmap(NULL, sizeof(*tables), PROT_READ | PROT_WRITE,
		               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return -ENOMEM;
		tables = p;
		spm_table_note(p, sizeof(*tables));
	}
	*t = (struct trace){.marks = m, .hints = hints, .tables = tables, .others_run = others_run};
	return 0;
}

/* Gives back what is used beyond the first MiB, which the next trace finds in memory. */
static void table_settle(void *table, size_t used)
{
	const size_t keep = (size_t)1 << 20;

	if (used > keep)
		madvise((char *)table + keep, used - keep, MADV_DONTNEED);
}

/* From here on other threads note what they free in the spans where slots became live. If there are none, no processor need be
 * interrupted to see that. */
static int spans_mark(struct trace *t)
{
	bool has_any = false;

	for (uint32_t n = 0; n < t->views; n++)
		if (memcmp(&t->tables->view[n].missing, &t->tables->missed[n], sizeof(struct slotset))) {
			spm_span_of(t->tables->view[n].start)->is_marked = 1;
			has_any = true;
		}
	return has_any ? spm_heap_show_marks() : 0;
}

/* Marks get what became live, and is allocated still. */
static void view_end(struct trace *t, const struct view *v, const struct slotset *missed)
{
	struct span *s = spm_span_of(v->start);
	struct slotset more = spm_span_allocated(s);

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		more.word[w] &= missed->word[w] & ~v->missing.word[w];
	if (!slotset_empty(&more))
		spm_marks_add(t->marks, s, &more);
}

static int trace_end(struct trace *t)
{
	int err = t->others_run ? spans_mark(t) : 0;

	for (uint32_t n = 0; n < t->views && !err; n++)
		view_end(t, &t->tables->view[n], &t->tables->missed[n]);
	table_settle(t->tables->view, t->views * sizeof(struct view));
	table_settle(t->tables->missed, t->views * sizeof(struct slotset));
	table_settle(t->tables->stack, t->deepest * sizeof(struct range));
	return err;
}

static inline bool view_covers(const struct trace *t, uint32_t n, uint64_t address)
{
	return n < t->views && address - t->tables->view[n].start < t->tables->view[n].bytes;
}

static uint32_t view_make(struct trace *t, const struct span *s)
{
	uint32_t n = t->views++;
	struct slotset missing = spm_span_allocated(s), live = spm_marks_live(t->marks, s);

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		missing.word[w] &= ~live.word[w];
	t->tables->missed[n] = missing;
	t->tables->view[n] = (struct view){.start = spm_page_address(s->first),
	                                   .bytes = s->slots * s->slot_bytes,
	                                   .slot_bytes = s->slot_bytes,
	                                   .recip = s->recip,
	                                   .flags = s->flags,
	                                   .missing = missing};
	return n;
}

/* The trace has not met this page. NULL: no slot is there. */
static __attribute__((noinline)) struct view *page_meet(struct trace *t, uint64_t address)
{
	const struct span *s = spm_span_of(address);
	uint32_t n;

	if (!s)
		return NULL;
	n = t->tables->view_of[s->first];
	if (!view_covers(t, n, spm_page_address(s->first)))
		n = view_make(t, s);
	t->tables->view_of[s->first] = n;
	t->tables->view_of[spm_page_of(address)] = n;
	return view_covers(t, n, address) ? &t->tables->view[n] : NULL;
}

/* The view of the span that has a slot at this window address, or NULL. */
static inline struct view *view_at(struct trace *t, uint64_t address)
{
	uint32_t n = t->tables->view_of[spm_page_of(address)];

	return view_covers(t, n, address) ? &t->tables->view[n] : page_meet(t, address);
}

static inline unsigned view_slot(const struct view *v, uint64_t address)
{
	return (unsigned)(((address - v->start) * v->recip) >> 32);
}

/* The slot that the word leads to becomes live, if it is allocated and not live yet. */
static inline void word_mark(struct trace *t, uint64_t word)
{
	struct view *v = view_at(t, word);
	unsigned slot;

	if (!v)
		return;
	slot = view_slot(v, word);
	if (!slotset_has(&v->missing, slot))
		return;
	slotset_drop(&v->missing, slot);
	t->has_found = true;
	if (v->flags & HEAP_NOPTR)
		return;
	t->tables->stack[t->depth++] = (struct range){v->start + slot * v->slot_bytes, v->slot_bytes};
	if (t->depth > t->deepest)
		t->deepest = t->depth;
}

static inline void oldest_mark(struct trace *t)
{
	word_mark(t, t->ring[t->taken++ % AHEAD]);
}

/* A word of the window: what it leads to will be looked at when it has come from memory. */
static inline void word_follow(struct trace *t, uint64_t word)
{
	__builtin_prefetch((const void *)(uintptr_t)word);
	__builtin_prefetch(&t->tables->view[t->tables->view_of[spm_page_of(word)]]);
	if (t->put - t->taken == AHEAD)
		oldest_mark(t);
	t->ring[t->put++ % AHEAD] = word;
}

static inline void range_scan(struct trace *t, struct range r)
{
	const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)r.from;
	const volatile uint64_t *end = (const volatile uint64_t *)(uintptr_t)(r.from + r.bytes);

	for (; word < end; word++) {
		uint64_t value = *word;

		if (!spm_in_window(value) || spm_hints_is_excluded(t->hints, (uintptr_t)word))
			continue;
		if (value - (uintptr_t)word < SPM_PAGE_BYTES) /* memory in the order of its links: it will go on so */
			__builtin_prefetch((const void *)(uintptr_t)(value + ONWARD_BYTES));
		word_follow(t, value);
	}
}

/* The top of the stack, or of a large one the first piece: what that leads to comes before the rest, while it is still
 * in the cache, and does not pile up on the stack. */
static struct range piece_take(struct trace *t)
{
	struct range *top = &t->tables->stack[t->depth - 1], piece = *top;

	if (piece.bytes > PIECE_BYTES) {
		piece.bytes = PIECE_BYTES;
		top->from += PIECE_BYTES;
		top->bytes -= PIECE_BYTES;
		return piece;
	}
	t->depth--;
	if (t->depth >= SOON)
		__builtin_prefetch((const void *)(uintptr_t)top[-SOON].from);
	return piece;
}

/* Until there is nothing left to scan. */
static void all_follow(struct trace *t)
{
	for (;;) {
		if (t->depth)
			range_scan(t, piece_take(t));
		else if (t->put != t->taken)
			oldest_mark(t);
		else
			return;
	}
}

/* Scans the slots of a dirty page that were live before, as far as they lie on it. */
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

		if (slotset_has(&live, i))
			range_scan(t, (struct range){low, high - low});
	}
}

static bool is_live(struct trace *t, uint64_t address)
{
	const struct span *s = spm_span_of(address);
	const struct view *v = s ? view_at(t, address) : NULL;

	return v && spm_slot_is_allocated(s, view_slot(v, address)) && !slotset_has(&v->missing, view_slot(v, address));
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

int spm_trace_incremental(struct marks *m, uint64_t root, const struct hints *hints, bool others_run)
{
	struct trace t;
	int err = trace_begin(&t, m, hints, others_run);

	if (err)
		return err;
	word_follow(&t, root);
	spm_marks_take_dirty(m, page_scan, &t);
	all_follow(&t);
	references_follow(&t);
	return trace_end(&t);
}

static void page_ignore(pageno_t page, void *arg)
{
	(void)page, (void)arg;
}

int spm_trace_full(struct marks *m, uint64_t root, const struct hints *hints, bool others_run)
{
	struct trace t;
	int err = trace_begin(&t, m, hints, others_run);

	if (err)
		return err;
	spm_marks_take_dirty(m, page_ignore, NULL);
	spm_marks_begin_anew(m);
	word_follow(&t, root);
	all_follow(&t);
	references_follow(&t);
	err = trace_end(&t);
	spm_marks_end_anew(m);
	return err;
}
