/* in_place.c - see in_place.h. Pages have two numbers: that in versions, and, if the container was moved, another in memory. */
#include "in_place.h"
#include "container.h"
#include "heap/class.h"
#include "lazy.h"
#include "numbers.h"
#include "volume/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAGES_MOST = 16384, READ_PAGES = 64 };
static const uint64_t window_pages = (SPM_WINDOW_END - SPM_WINDOW_START) / SPM_PAGE_BYTES;

/* What begins at a page of memory, now and in the other version. */
struct span_change {
	pageno_t first;
	struct span *now;    /* NULL: no span begins there */
	struct span_row row; /* of the version's; pages 0: none */
	bool is_alike;       /* the span stays */
	struct slotset had, wanted, gone, come;
};

struct in_place {
	struct container *c, *next;
	const struct moved *moved;
	uint64_t version;
	struct source_list wanted; /* all pages of the other version */
	struct numbers page;       /* that are looked at: as in versions */
	bool is_too_much;
	unsigned char *content;     /* 4096 bytes for each of them */
	struct span_change *change; /* ascending */
	size_t changes;
	struct slots_given *given; /* of those changes that give up something */
	size_t gives;
	struct slots_taken *taken;
	size_t takes;
};

/* ---- which pages ---- */

static void page_note(struct in_place *p, uint64_t page)
{
	p->is_too_much |= p->page.n >= 8 * PAGES_MOST;
	if (!p->is_too_much)
		spm_numbers_add(&p->page, page);
}

/* Whether they are so few that it is worth it. */
static bool pages_are_few(struct in_place *p)
{
	spm_numbers_settle(&p->page);
	return !p->is_too_much && !p->page.is_short && p->page.n <= PAGES_MOST;
}

static void range_note(uint64_t page, uint64_t pages, void *arg)
{
	struct in_place *p = arg;

	p->is_too_much |= page < SPM_BLOB_PAGE && page + pages > window_pages;
	for (uint64_t i = 0; i < pages && page < SPM_BLOB_PAGE && !p->is_too_much; i++)
		page_note(p, page + i);
}

static void strayed_note(pageno_t page, void *arg)
{
	struct in_place *p = arg;

	page_note(p, spm_moved_page(p->moved, page));
}

static bool pages_find(struct in_place *p)
{
	struct source_list had = {0};

	if (spm_chain_list(p->next->chain, &p->wanted))
		return false;
	if (p->next->chain != p->c->chain) {
		if (spm_chain_list(p->c->chain, &had))
			return false;
		spm_source_lists_differ(&had, &p->wanted, range_note, p);
		spm_source_list_free(&had);
	}
	spm_marks_each_strayed(p->c->marks, strayed_note, p);
	return pages_are_few(p);
}

/* ---- which spans ---- */

static pageno_t in_memory(const struct in_place *p, uint64_t page)
{
	return (pageno_t)spm_moved_page(p->moved, page);
}

/* The run and the page in it at which the span of page k of r begins in the version. */
static const struct source_run *head_of(const struct in_place *p, const struct source_run *r, uint32_t *k)
{
	uint32_t in_span = spm_source_page_in_span(r, *k);
	const struct source_run *head =
	        in_span > r->page + *k ? NULL : spm_source_find(&p->wanted, r->page + *k - in_span, k);

	return head && !spm_source_page_in_span(head, *k) && head->span_pages == r->span_pages &&
	                       in_span < r->span_pages && head->class == r->class
	               ? head
	               : NULL;
}

/* The version's span that begins there, if it lies in memory as in the version. */
static bool row_fill(const struct in_place *p, struct span_change *ch)
{
	uint64_t page = spm_moved_page(p->moved, ch->first);
	uint32_t k;
	const struct source_run *r = spm_source_find(&p->wanted, page, &k);

	if (!r || spm_source_page_in_span(r, k))
		return true;
	ch->wanted = spm_source_live(r, k);
	ch->row = (struct span_row){.first = ch->first,
	                            .pages = r->span_pages,
	                            .class = r->class,
	                            .flags = r->flags & HEAP_NOPTR,
	                            .spans = 1,
	                            .live = (const unsigned char *)&ch->come};
	return !slotset_empty(&ch->wanted) && page + r->span_pages <= window_pages &&
	       in_memory(p, page + r->span_pages - 1) == (uint64_t)ch->first + r->span_pages - 1;
}

static bool change_fill(const struct in_place *p, struct span_change *ch)
{
	struct span *s = spm_span_of(spm_page_address(ch->first));

	ch->now = s && s->first == ch->first ? s : NULL;
	if (!row_fill(p, ch))
		return false;
	if (ch->now)
		ch->had = spm_marks_live(p->c->marks, ch->now);
	ch->is_alike = ch->now && ch->now->pages == ch->row.pages && ch->now->class == ch->row.class &&
	               ch->now->flags == ch->row.flags;
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		uint64_t both = ch->is_alike ? ch->had.word[w] & ch->wanted.word[w] : 0;

		ch->gone.word[w] = ch->had.word[w] & ~both;
		ch->come.word[w] = ch->wanted.word[w] & ~both;
	}
	return true;
}

/* Where spans begin that have one of the pages, now or in the version. */
static bool heads_find(const struct in_place *p, struct numbers *head)
{
	for (size_t i = 0; i < p->page.n; i++) {
		const struct span *s = spm_span_of(spm_page_address(in_memory(p, p->page.number[i])));
		uint32_t k;
		const struct source_run *r = spm_source_find(&p->wanted, p->page.number[i], &k);

		if (s)
			spm_numbers_add(head, s->first);
		if (r) {
			r = head_of(p, r, &k);
			if (!r)
				return false;
			spm_numbers_add(head, in_memory(p, r->page + k));
		}
	}
	spm_numbers_settle(head);
	return !head->is_short;
}

static bool changes_find(struct in_place *p)
{
	struct numbers head = {.n = 0};
	bool is_done = heads_find(p, &head);

	p->changes = head.n;
	if (is_done)
		p->change = calloc(p->changes + 1, sizeof(*p->change));
	is_done = is_done && p->change;
	for (size_t i = 0; i < p->changes && is_done; i++) {
		p->change[i].first = (pageno_t)head.number[i];
		is_done = change_fill(p, &p->change[i]);
	}
	spm_numbers_free(&head);
	return is_done;
}

static uint64_t slot_bytes(const struct span_row *row)
{
	return row->class == SPM_CLASS_LARGE ? (uint64_t)row->pages * SPM_PAGE_BYTES
	                                     : spm_classes[row->class].slot_bytes;
}

/* Of slots that come, all pages are looked at: memory there may hold anything, also where the versions agree. */
static bool come_pages_note(struct in_place *p)
{
	for (size_t i = 0; i < p->changes; i++) {
		const struct span_change *ch = &p->change[i];

		if (ch->row.pages && ch->row.class != SPM_CLASS_LARGE && ch->row.class >= SPM_CLASSES)
			return false;
		for (unsigned slot = 0; ch->row.pages && slot < SPM_SPAN_SLOTS_MAX && !p->is_too_much; slot++) {
			uint64_t from = slot * slot_bytes(&ch->row), to = from + slot_bytes(&ch->row) - 1;

			if (!slotset_has(&ch->come, slot))
				continue;
			if (to / SPM_PAGE_BYTES >= ch->row.pages)
				return false;
			for (uint64_t n = from / SPM_PAGE_BYTES; n <= to / SPM_PAGE_BYTES; n++)
				page_note(p, spm_moved_page(p->moved, ch->first + n));
		}
	}
	return pages_are_few(p);
}

/* ---- what is in the pages ---- */

/* As many pages from the i-th on as one read brings; 0: it has no content. */
static size_t sources_gather(const struct in_place *p, size_t i, struct page_source *source,
                             const struct source_run **run)
{
	size_t n = 0;

	for (; n < READ_PAGES && i + n < p->page.n; n++) {
		uint32_t k;
		const struct source_run *r = spm_source_find(&p->wanted, p->page.number[i + n], &k);

		if (!r || !r->block)
			break;
		source[n] = spm_source_of(r, k);
		run[n] = r;
		if (n && source[n].block != source[n - 1].block + 1)
			break;
	}
	return n;
}

static bool pages_read(struct in_place *p)
{
	struct page_source source[READ_PAGES];
	const struct source_run *run[READ_PAGES];
	size_t n;

	p->content = spm_pages_map((p->page.n + 1) * SPM_PAGE_BYTES, false);
	if (!p->content)
		return false;
	for (size_t i = 0; i < p->page.n; i += n ? n : 1) {
		unsigned char *to = p->content + i * SPM_PAGE_BYTES;

		n = sources_gather(p, i, source, run);
		if (n && spm_chain_read_run(p->next->chain, p->version, source, n, to))
			return false;
		for (size_t j = 0; j < n; j++)
			spm_page_mend(p->next, run[j]->flags, source[j].page,
			              (uint64_t *)(void *)(to + j * SPM_PAGE_BYTES));
	}
	return true;
}

/* ---- what the version says beside ---- */

static bool blob_load(struct in_place *p)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < p->wanted.n; i++)
		pages += p->wanted.run[i].page >= SPM_BLOB_PAGE ? p->wanted.run[i].pages : 0;
	return !spm_blob_load(p->next, pages) && !spm_typing_check(p->next) && !p->next->growth;
}

/* In a live slot of the version, or who restores it says what is wrong. */
static bool root_find(struct in_place *p, const struct version_info *info)
{
	uint64_t root = info->root, offset;
	struct span_row row;
	struct slotset live;
	const struct source_run *r;
	uint32_t k;

	if (!spm_in_window(root))
		return false;
	r = spm_source_find(&p->wanted, spm_page_of(root), &k);
	r = r ? head_of(p, r, &k) : NULL;
	if (!r || (r->class != SPM_CLASS_LARGE && r->class >= SPM_CLASSES))
		return false;
	row = (struct span_row){.pages = r->span_pages, .class = r->class};
	live = spm_source_live(r, k);
	offset = root - spm_page_address((pageno_t)(r->page + k));
	p->next->root = spm_moved_address(p->moved, root);
	p->next->root_bytes = info->root_bytes;
	return offset / slot_bytes(&row) < SPM_SPAN_SLOTS_MAX &&
	       slotset_has(&live, (unsigned)(offset / slot_bytes(&row)));
}

static bool prepare(struct in_place *p, const struct version_info *info)
{
	return pages_find(p) && blob_load(p) && spm_outside_agree(p->c->outside, p->next->outside) && changes_find(p) &&
	       come_pages_note(p) && pages_read(p) && root_find(p, info);
}

/* $SOFTPM_SWITCH=beside: never, for tests. */
static bool is_wanted(const struct container *c)
{
	const char *wish = getenv("SOFTPM_SWITCH");

	return !c->lazy && (!wish || strcmp(wish, "beside"));
}

struct in_place *spm_in_place_prepare(struct container *c, struct container *next)
{
	struct version_info info;
	struct in_place *p;
	bool is_done;

	if (!is_wanted(c) || spm_chain_newest(next->chain, &info))
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	*p = (struct in_place){.c = c, .next = next, .moved = c->moved, .version = info.version};
	spm_container_describe(next, &info);
	next->moved = c->moved; /* for those who mend */
	is_done = prepare(p, &info);
	next->moved = NULL;
	if (is_done)
		return p;
	spm_in_place_end(p);
	return NULL;
}

void spm_in_place_end(struct in_place *p)
{
	if (!p)
		return;
	if (p->content)
		spm_pages_unmap(p->content, (p->page.n + 1) * SPM_PAGE_BYTES);
	spm_source_list_free(&p->wanted);
	spm_numbers_free(&p->page);
	free(p->change);
	free(p->given);
	free(p->taken);
	free(p);
}

/* ---- the exchange ---- */

/* Whether another container holds slots that stay: what is in them is its state, too. */
static bool is_anothers(const struct in_place *p, const struct span_change *ch)
{
	struct slotset stay = ch->had, alone;
	bool has_others;

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		stay.word[w] &= ~ch->gone.word[w];
	if (slotset_empty(&stay))
		return false;
	alone = spm_container_alone(p->c, ch->now, &stay, &has_others);
	return memcmp(&alone, &stay, sizeof(stay));
}

static bool deal_make(struct in_place *p)
{
	p->given = calloc(p->changes + 1, sizeof(*p->given));
	p->taken = calloc(p->changes + 1, sizeof(*p->taken));
	for (size_t i = 0; i < p->changes && p->given && p->taken; i++) {
		struct span_change *ch = &p->change[i];
		bool has_others;

		if (is_anothers(p, ch))
			return false;
		if (!slotset_empty(&ch->gone))
			p->given[p->gives++] = (struct slots_given){
			        .span = ch->now, .slots = spm_container_alone(p->c, ch->now, &ch->gone, &has_others)};
		if (!slotset_empty(&ch->come))
			p->taken[p->takes++].row = ch->row;
	}
	return p->given && p->taken;
}

static void lives_set(struct in_place *p, bool is_back)
{
	for (size_t i = 0; i < p->changes; i++) {
		const struct span_change *ch = &p->change[i];
		struct slotset stay = ch->had;

		for (unsigned w = 0; w < SPM_SLOT_WORDS && !is_back; w++)
			stay.word[w] &= ~ch->gone.word[w];
		if (ch->now)
			spm_marks_set_live(p->next->marks, ch->now, &stay);
	}
}

static void wanted_set(struct in_place *p)
{
	for (size_t i = 0; i < p->changes; i++) {
		const struct span_change *ch = &p->change[i];

		if (!slotset_empty(&ch->wanted))
			spm_marks_set_live(p->next->marks, spm_span_of(spm_page_address(ch->first)), &ch->wanted);
	}
}

/* Bytes that are right already are left alone, so that their page is not one that was written. */
static void bytes_copy(unsigned char *page, const unsigned char *content, uint64_t from, uint64_t to)
{
	if (from < to && memcmp(page + from, content + from, to - from))
		memcpy(page + from, content + from, to - from);
}

static void page_copy(struct in_place *p, pageno_t page, const unsigned char *content)
{
	const struct span *s = spm_span_of(spm_page_address(page));
	uint64_t at = (uint64_t)(page - s->first) << SPM_PAGE_SHIFT, end = at + SPM_PAGE_BYTES;
	struct slotset live = spm_marks_live(p->next->marks, s);
	unsigned first, last;

	spm_page_slots(s, page, &first, &last);
	for (unsigned slot = first; slot <= last; slot++) {
		uint64_t from = slot * s->slot_bytes, to = from + s->slot_bytes;

		if (slotset_has(&live, slot))
			bytes_copy((unsigned char *)(uintptr_t)spm_page_address(page), content,
			           (from > at ? from : at) - at, (to < end ? to : end) - at);
	}
}

static void pages_put(struct in_place *p)
{
	for (size_t i = 0; i < p->page.n; i++) {
		pageno_t page = in_memory(p, p->page.number[i]);
		uint32_t k;
		bool is_member = spm_source_find(&p->wanted, p->page.number[i], &k);

		spm_marks_put_member(p->next->marks, page, is_member);
		if (is_member)
			page_copy(p, page, p->content + i * SPM_PAGE_BYTES);
	}
}

static void gone_free(struct in_place *p)
{
	for (const struct slots_given *g = p->given; g < p->given + p->gives; g++) {
		struct slotset live = spm_marks_live(p->next->marks, g->span);
		bool has_others;

		if (g->is_unmade)
			continue;
		spm_container_alone(p->c, g->span, &g->slots, &has_others);
		if (!has_others && slotset_empty(&live))
			g->span->is_marked = 0;
		for (unsigned slot = 0; slot < g->span->slots; slot++)
			if (slotset_has(&g->slots, slot))
				spm_heap_free((void *)(uintptr_t)spm_slot_address(g->span, slot));
	}
}

/* What was copied is no change, but pages may be others', too. */
static void pages_settle(struct in_place *p)
{
	for (size_t i = 0, next; i < p->page.n; i = next) {
		pageno_t first = in_memory(p, p->page.number[i]), end = first + 1;

		for (next = i + 1; next < p->page.n && in_memory(p, p->page.number[next]) == end; next++)
			end++;
		if (spm_capture_settle(first, end - first))
			spm_capture_set_dirty(first, end - first);
	}
	spm_marks_settle(p->next->marks);
}

bool spm_in_place_apply(struct in_place *p)
{
	if (!deal_make(p))
		return false;
	lives_set(p, false);
	if (spm_heap_exchange(p->given, p->gives, p->taken, p->takes, p->next->arena)) {
		lives_set(p, true);
		return false;
	}
	wanted_set(p);
	pages_put(p);
	gone_free(p);
	pages_settle(p);
	p->c->pages_switched += p->page.n;
	spm_blob_settle(p->next);
	spm_exact_begin(p->next, true);
	p->next->wants_full_trace = p->c->wants_full_trace; /* what did not change is not worth one */
	return true;
}
