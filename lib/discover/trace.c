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
 * With kinds, a pointer in the ring has the kind of what it leads to, and a range that of its slot. A slot that turns out to be something else is scanned
 * again as that. Who got a kind by a word that the other says something else of has it wrongly: when all else is done it becomes MIXED, and
 * those who got theirs by its words, too.
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

/* What is done for each pointer exists twice: types cost nothing where there are none. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
	PAGES = SPM_SLICES * SPM_SLICE_PAGES,
	AHEAD = 16, /* a power of two */
	SOON = 8,
	ONWARD_BYTES = 512, /* how far ahead memory in the order of its links is asked for */
	PIECE_BYTES = 1024  /* of a large range that is scanned before what it leads to */
};

struct range {
	uint64_t from, bytes; /* multiples of 8; typed traces have a kind in the upper 16 bits of bytes */
};
enum { KIND_BIT = 48 };
static const uint64_t kind_less = (UINT64_C(1) << KIND_BIT) - 1;

/* What the slot was taken for, and is. */
struct correction {
	uint64_t slot;
	uint16_t was, is;
};

struct view {
	_Alignas(64) uint64_t start; /* the span's */
	uint64_t bytes;              /* of all its slots */
	uint64_t slot_bytes;
	uint32_t recip;
	uint32_t flags : 8, row : 24; /* row: of the kinds; 0: none */
	struct slotset missing;       /* allocated, and not live so far */
};
static_assert(sizeof(struct view) == 64, "one cache line");

/* Address space only, until it is used. view_of is never cleared: a number counts only if that view covers the page. */
struct tables {
	uint32_t view_of[PAGES];
	struct view view[PAGES];
	struct slotset missed[PAGES];        /* as `missing` was at first */
	struct range stack[(size_t)1 << 32]; /* no container can need more than one a slot */
	struct correction correction[(size_t)1 << 32];
};
static_assert(!(offsetof(struct tables, view) % SPM_PAGE_BYTES) &&
                      !(offsetof(struct tables, missed) % SPM_PAGE_BYTES) &&
                      !(offsetof(struct tables, stack) % SPM_PAGE_BYTES),
              "given back by pages");

struct trace {
	struct marks *marks;
	const struct hints *hints;
	struct kinds *kinds;             /* NULL: nobody says what slots are */
	const struct pointer_kind *kind; /* theirs, and their claims */
	const uint16_t *claim;
	struct tables *tables;
	uint32_t views;
	bool others_run;
	bool has_found;       /* a slot became live */
	unsigned put, taken;  /* counts; the difference is in the ring */
	uint64_t ring[AHEAD]; /* typed: with the kind of what it leads to in the upper 16 bits */
	size_t depth, deepest, corrections, corrections_most;
};
static_assert(SPM_SLICES * (SPM_SLICE_PAGES / 8) < KIND_ROWS, "mostly there are rows enough"); /* spans of 8 pages */

static struct tables *tables; /* kept from trace to trace; points are serialized */

static int trace_begin(struct trace *t, struct marks *m, const struct hints *hints, struct kinds *kinds,
                       bool others_run)
{
	if (!tables) {
		void *p = mmap(NULL, sizeof(*tables), PROT_READ | PROT_WRITE,
		               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (p == MAP_FAILED)
			return -ENOMEM;
		tables = p;
		spm_table_note(p, sizeof(*tables));
	}
	*t = (struct trace){.marks = m, .hints = hints, .kinds = kinds, .tables = tables, .others_run = others_run};
	if (kinds) {
		kinds->suspects = 0;
		t->kind = kinds->pointers->kind;
		t->claim = kinds->pointers->claim;
	}
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
	table_settle(t->tables->correction, t->corrections_most * sizeof(struct correction));
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
	                                   .row = t->kinds ? spm_kinds_row(t->kinds, s->first) & (KIND_ROWS - 1) : 0,
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

ALWAYS_INLINE void range_push(struct trace *t, uint64_t from, uint64_t bytes, unsigned kind, bool is_typed)
{
	t->tables->stack[t->depth++] = (struct range){from, is_typed ? bytes | (uint64_t)kind << KIND_BIT : bytes};
	if (t->depth > t->deepest)
		t->deepest = t->depth;
}

/* ---- kinds ---- */

static inline uint16_t *kind_at(struct trace *t, const struct view *v, unsigned slot)
{
	return &spm_kinds_in(t->kinds, v->row)[slot];
}

/* It has none, or the program says what it is. */
static __attribute__((noinline)) unsigned kind_begin_rarely(struct trace *t, struct view *v, unsigned slot,
                                                            unsigned kind)
{
	int told = spm_hints_type_of(t->hints, v->start + slot * v->slot_bytes);

	if (told >= 0 && (size_t)told < t->kinds->pointers->roots)
		kind = t->kinds->pointers->root[told];
	if (!v->row)
		v->row = spm_kinds_row_have(t->kinds, spm_page_of(v->start)) & (KIND_ROWS - 1);
	if (!v->row)
		return KIND_ANY;
	*kind_at(t, v, slot) = (uint16_t)kind;
	return kind;
}

/* The slot has just become live. What it is taken for. */
ALWAYS_INLINE unsigned kind_begin(struct trace *t, struct view *v, unsigned slot, bool is_start, unsigned kind)
{
	kind = is_start ? kind : KIND_ANY;
	if (!v->row || t->hints->typed_count)
		return kind_begin_rarely(t, v, slot, kind);
	*kind_at(t, v, slot) = (uint16_t)kind;
	return kind;
}

static void correction_add(struct trace *t, uint64_t slot, unsigned was, unsigned is)
{
	t->tables->correction[t->corrections++] = (struct correction){slot, (uint16_t)was, (uint16_t)is};
	if (t->corrections > t->corrections_most)
		t->corrections_most = t->corrections;
}

static void kind_change(struct trace *t, const struct view *v, unsigned slot, unsigned kind)
{
	uint16_t *has = kind_at(t, v, slot);
	uint64_t start = v->start + slot * v->slot_bytes;

	if (*has > KIND_MIXED)
		correction_add(t, start, *has, kind);
	*has = (uint16_t)kind;
	range_push(t, start, v->slot_bytes, kind, true);
}

static bool slot_is_live(const struct view *v, unsigned slot)
{
	return spm_slot_is_allocated(spm_span_of(v->start), slot) && !slotset_has(&v->missing, slot);
}

/* A typed pointer leads to a slot of another kind. */
static __attribute__((noinline)) void kind_compare(struct trace *t, const struct view *v, unsigned slot, uint64_t word,
                                                   unsigned kind)
{
	uint64_t offset = word - v->start - slot * v->slot_bytes;
	unsigned has = *kind_at(t, v, slot), is = has;

	if (has == KIND_NONE || has == KIND_MIXED || !slot_is_live(v, slot))
		return;
	if (has == KIND_ANY)
		is = !offset && slotset_has(&t->tables->missed[v - t->tables->view], slot) ? kind : has;
	else if (!offset)
		is = spm_pointers_choose(t->kinds->pointers, has, kind);
	else if (offset % 8 == 0)
		is = spm_pointers_choose_within(t->kinds->pointers, has, offset / 8, kind);
	if (is != has)
		kind_change(t, v, slot, is);
}

/* A word of a slot gave its target a kind that the word does not vouch for any more. */
static void target_correct(struct trace *t, uint64_t word, unsigned kind)
{
	struct view *v = spm_in_window(word) ? view_at(t, word) : NULL;
	unsigned slot = v ? view_slot(v, word) : 0;

	if (v && v->row && word == v->start + slot * v->slot_bytes && *kind_at(t, v, slot) == kind &&
	    slot_is_live(v, slot))
		kind_change(t, v, slot, KIND_MIXED);
}

static void slot_correct(struct trace *t, struct correction c)
{
	const struct pointer_kind *was = &t->kinds->pointers->kind[c.was];
	const struct view *v = view_at(t, c.slot);
	const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)c.slot;
	uint64_t words = v->slot_bytes / 8;

	if (was->beyond <= KIND_MIXED && was->words < words)
		words = was->words;
	for (uint64_t i = 0; i < words; i++) {
		unsigned claimed = spm_pointers_claim(t->kinds->pointers, c.was, i);

		if (claimed > KIND_MIXED && claimed != spm_pointers_claim(t->kinds->pointers, c.is, i))
			target_correct(t, word[i], claimed);
	}
}

/* ---- */

/* The slot that the word leads to becomes live, if it is allocated and not live yet. */
ALWAYS_INLINE void word_mark(struct trace *t, uint64_t word, unsigned kind, bool is_typed)
{
	struct view *v = view_at(t, word);
	unsigned slot;
	uint64_t start;

	if (!v)
		return;
	slot = view_slot(v, word);
	start = v->start + slot * v->slot_bytes;
	if (!slotset_has(&v->missing, slot)) {
		if (is_typed && kind > KIND_MIXED && v->row && (word != start || *kind_at(t, v, slot) != kind))
			kind_compare(t, v, slot, word, kind);
		return;
	}
	slotset_drop(&v->missing, slot);
	t->has_found = true;
	if (v->flags & HEAP_NOPTR)
		return;
	range_push(t, start, v->slot_bytes, is_typed ? kind_begin(t, v, slot, word == start, kind) : KIND_ANY,
	           is_typed);
}

ALWAYS_INLINE void oldest_mark(struct trace *t, bool is_typed)
{
	uint64_t word = t->ring[t->taken++ % AHEAD];

	word_mark(t, is_typed ? word & kind_less : word, is_typed ? (unsigned)(word >> KIND_BIT) : KIND_ANY, is_typed);
}

/* A word of the window: what it leads to will be looked at when it has come from memory. */
ALWAYS_INLINE void word_follow(struct trace *t, uint64_t word, unsigned kind, bool is_typed)
{
	__builtin_prefetch((const void *)(uintptr_t)word);
	__builtin_prefetch(&t->tables->view[t->tables->view_of[spm_page_of(word)]]);
	if (t->put - t->taken == AHEAD)
		oldest_mark(t, is_typed);
	t->ring[t->put++ % AHEAD] = is_typed ? word | (uint64_t)kind << KIND_BIT : word;
}

ALWAYS_INLINE bool may_be_pointer(const struct trace *t, const volatile uint64_t *word, uint64_t value)
{
	return spm_in_window(value) && !spm_hints_is_excluded(t->hints, (uintptr_t)word);
}

ALWAYS_INLINE void value_follow(struct trace *t, const volatile uint64_t *word, uint64_t value, unsigned kind,
                                bool is_typed)
{
	if (value - (uintptr_t)word < SPM_PAGE_BYTES) /* memory in the order of its links: it will go on so */
		__builtin_prefetch((const void *)(uintptr_t)(value + ONWARD_BYTES));
	word_follow(t, value, kind, is_typed);
}

ALWAYS_INLINE void range_scan(struct trace *t, struct range r, bool is_typed)
{
	const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)r.from;
	const volatile uint64_t *end = (const volatile uint64_t *)(uintptr_t)(r.from + r.bytes);

	for (; word < end; word++) {
		uint64_t value = *word;

		if (may_be_pointer(t, word, value))
			value_follow(t, word, value, KIND_ANY, is_typed);
	}
}

/* Of a slot whose kind claims something. before: so many bytes of the slot come before the range. */
ALWAYS_INLINE void claimed_scan(struct trace *t, struct range r, unsigned kind, uint64_t before)
{
	const struct pointer_kind *const k = &t->kind[kind];
	const uint64_t words = k->words;
	const uint16_t *const claims = t->claim + k->first;
	const volatile uint64_t *word = (const volatile uint64_t *)(uintptr_t)r.from;
	const volatile uint64_t *end = (const volatile uint64_t *)(uintptr_t)(r.from + r.bytes);
	const uint64_t slot = r.from - before;

	for (; word < end; word++) {
		uint64_t value = *word, number;
		unsigned claim;

		if (!may_be_pointer(t, word, value))
			continue;
		number = ((uintptr_t)word - slot) / 8;
		claim = number < words ? claims[number] : k->beyond;
		if (claim == CLAIM_PLAIN)
			spm_kinds_suspect_add(t->kinds, (uintptr_t)word, value);
		else
			value_follow(t, word, value, claim, true);
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

/* All words that a kind claims are one piece; those behind are all the same. The rest goes back to the stack. */
static __attribute__((noinline)) struct range typed_range_cut(struct trace *t, struct range r, unsigned kind)
{
	const struct pointer_kind *k = &t->kind[kind];
	uint64_t most = k->words <= PIECE_BYTES / 8 ? PIECE_BYTES : k->words * UINT64_C(8);

	if (r.bytes > most) {
		range_push(t, r.from + most, r.bytes - most, k->beyond == KIND_ANY ? KIND_ANY : kind, true);
		r.bytes = most;
	}
	return r;
}

/* The same as piece_take. */
static inline void typed_piece_scan(struct trace *t)
{
	struct range *top = &t->tables->stack[--t->depth], r = {top->from, top->bytes & kind_less};
	unsigned kind = (unsigned)(top->bytes >> KIND_BIT);

	if (t->depth >= SOON)
		__builtin_prefetch((const void *)(uintptr_t)top[-SOON].from);
	if (r.bytes > PIECE_BYTES)
		r = typed_range_cut(t, r, kind);
	if (kind <= KIND_MIXED)
		range_scan(t, r, true);
	else
		claimed_scan(t, r, kind, 0);
}

/* Until there is nothing left to scan. */
static void all_follow_typed(struct trace *t)
{
	for (;;) {
		if (t->depth)
			typed_piece_scan(t);
		else if (t->put != t->taken)
			oldest_mark(t, true);
		else if (t->corrections)
			slot_correct(t, t->tables->correction[--t->corrections]);
		else
			return;
	}
}

static void all_follow(struct trace *t)
{
	if (t->kinds) {
		all_follow_typed(t);
		return;
	}
	for (;;) {
		if (t->depth)
			range_scan(t, piece_take(t), false);
		else if (t->put != t->taken)
			oldest_mark(t, false);
		else
			return;
	}
}

static void follow(struct trace *t, uint64_t word, unsigned kind)
{
	if (t->kinds)
		word_follow(t, word, kind, true);
	else
		word_follow(t, word, KIND_ANY, false);
}

/* Scans the slots of a dirty page that were live before, as far as they lie on it. */
static void page_scan(pageno_t page, void *arg)
{
	struct trace *t = arg;
	uint64_t from = spm_page_address(page), end = from + SPM_PAGE_BYTES;
	struct span *s = spm_span_of(from);
	struct slotset live;
	unsigned first, last;
	const uint16_t *kind;

	if (!s || s->flags & HEAP_NOPTR)
		return;
	live = spm_marks_live(t->marks, s);
	kind = t->kinds ? spm_kinds_in(t->kinds, spm_kinds_row(t->kinds, s->first)) : NULL;
	spm_page_slots(s, page, &first, &last);
	for (unsigned i = first; i <= last; i++) {
		uint64_t at = spm_slot_address(s, i);
		uint64_t low = at > from ? at : from;
		uint64_t high = at + s->slot_bytes < end ? at + s->slot_bytes : end;

		if (!slotset_has(&live, i))
			continue;
		if (!kind)
			range_scan(t, (struct range){low, high - low}, false);
		else
			claimed_scan(t, (struct range){low, high - low}, kind[i], low - at);
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
				follow(t, h->reference[i].target, KIND_ANY);
				all_follow(t);
			}
	} while (t->has_found);
}

/* A kind that was learned before may be out of date: who keeps memory of his own may use what was a struct for something else, to which no
 * typed pointer leads. So the slot of a number that leads to the start of what nothing else leads to is not believed any more. */
static void suspects_follow(struct trace *t)
{
	for (size_t i = 0; t->kinds && i < t->kinds->suspects; i++) {
		struct suspect s = spm_kinds_suspect(t->kinds, i);
		struct view *to = view_at(t, s.value), *from = view_at(t, s.place);
		unsigned slot = to ? view_slot(to, s.value) : 0;

		if (!to || !from || !from->row || s.value != to->start + slot * to->slot_bytes ||
		    !slotset_has(&to->missing, slot) || spm_kinds_is_known(t->kinds, s))
			continue;
		slot = view_slot(from, s.place);
		*kind_at(t, from, slot) = KIND_MIXED;
		range_push(t, from->start + slot * from->slot_bytes, from->slot_bytes, KIND_MIXED, true);
		all_follow(t);
	}
}

int spm_trace_incremental(struct marks *m, uint64_t root, const struct hints *hints, struct kinds *kinds,
                          bool others_run)
{
	struct trace t;
	int err = trace_begin(&t, m, hints, kinds, others_run);

	if (err)
		return err;
	follow(&t, root, kinds ? kinds->pointers->root[0] : KIND_ANY);
	spm_marks_take_dirty(m, page_scan, &t);
	all_follow(&t);
	suspects_follow(&t);
	references_follow(&t);
	suspects_follow(&t);
	return trace_end(&t);
}

static void page_ignore(pageno_t page, void *arg)
{
	(void)page, (void)arg;
}

int spm_trace_full(struct marks *m, uint64_t root, const struct hints *hints, struct kinds *kinds, bool others_run)
{
	struct trace t;
	int err = trace_begin(&t, m, hints, kinds, others_run);

	if (err)
		return err;
	spm_marks_take_dirty(m, page_ignore, NULL);
	spm_marks_begin_anew(m);
	if (kinds)
		spm_kinds_forget(kinds);
	follow(&t, root, kinds ? kinds->pointers->root[0] : KIND_ANY);
	all_follow(&t);
	references_follow(&t);
	err = trace_end(&t);
	if (kinds && !err)
		kinds->is_whole = kinds->rows < KIND_ROWS;
	spm_marks_end_anew(m);
	return err;
}
