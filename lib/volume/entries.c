/* entries.c - see entries.h. */
#include "volume/entries.h"

#include <string.h>

enum { HAS_IS = 1, HAS_WAS = 2 };

static_assert(sizeof(struct page_run) == 16 && sizeof(struct run_place) == 32, "page runs");
static_assert(ENTRY_BYTES_MOST == sizeof(struct page_run) + 2 * (sizeof(struct run_place) + sizeof(struct slotset) + 8),
              "an entry that shares nothing");

static uint32_t next_in_span(uint32_t page_in_span, uint32_t span_pages)
{
	return page_in_span + 1 == span_pages ? 0 : page_in_span + 1;
}

/* Pages without content never share a run: so there is a checksum for each page of one, and a few bytes can't claim to
 * be billions of pages. */
static bool goes_on(const struct place *last, const struct place *p)
{
	const struct page_meta *a = &last->meta, *b = &p->meta;

	if (!last->birth || !p->birth)
		return !last->birth && !p->birth;
	return last->block && !last->granules && !p->granules && p->block == last->block + 1 &&
	       p->birth == last->birth && a->span_pages == b->span_pages && a->class == b->class &&
	       a->flags == b->flags && b->page_in_span == next_in_span(a->page_in_span, a->span_pages);
}

static void bytes_put(struct entry_writer *w, const void *bytes, size_t n)
{
	if (w->to)
		memcpy(w->to + w->bytes, bytes, n);
	w->bytes += n;
}

static void run_place_put(struct entry_writer *w, const struct place *p)
{
	struct run_place out = {p->block,      p->birth, p->meta.span_pages, p->meta.page_in_span, p->meta.class,
	                        p->meta.flags, {0},      p->granules};

	if (p->birth)
		bytes_put(w, &out, sizeof(out));
}

static void page_put(struct entry_writer *w, const struct place *p)
{
	if (p->birth && !p->meta.page_in_span)
		bytes_put(w, &p->meta.live, sizeof(p->meta.live));
	if (p->birth && p->block)
		bytes_put(w, &p->sum, sizeof(p->sum));
}

static void run_begin(struct entry_writer *w, const struct record_entry *e)
{
	struct page_run run = {e->page, 0, (e->is.birth ? HAS_IS : 0) | (e->was.birth ? HAS_WAS : 0)};

	w->run_at = w->bytes;
	w->run_pages = 0;
	bytes_put(w, &run, sizeof(run));
	run_place_put(w, &e->is);
	run_place_put(w, &e->was);
}

void spm_entry_put(struct entry_writer *w, const struct record_entry *e)
{
	if (!w->run_pages || w->run_pages == UINT32_MAX || e->page != w->last.page + 1 ||
	    !goes_on(&w->last.is, &e->is) || !goes_on(&w->last.was, &e->was))
		run_begin(w, e);
	page_put(w, &e->is);
	page_put(w, &e->was);
	if (e->is.patch)
		bytes_put(w, e->is.patch, spm_patch_bytes(e->is.granules));
	w->last = *e;
	w->run_pages++;
	if (w->to)
		memcpy(w->to + w->run_at + offsetof(struct page_run, pages), &w->run_pages, sizeof(w->run_pages));
}

static bool bytes_get(struct entry_cursor *c, void *bytes, size_t n)
{
	if ((size_t)(c->end - c->at) < n)
		return false;
	memcpy(bytes, c->at, n);
	c->at += n;
	return true;
}

static bool run_place_is_sane(const struct run_place *p, uint32_t pages)
{
	if (!p->birth || (p->granules && (!p->block || !spm_patch_is_possible(p->granules))))
		return false;
	return pages == 1 || (p->block && !p->granules);
}

static bool run_place_get(struct entry_cursor *c, struct place *p, uint32_t pages)
{
	struct run_place in;

	if (!bytes_get(c, &in, sizeof(in)) || !run_place_is_sane(&in, pages))
		return false;
	p->block = in.block;
	p->birth = in.birth;
	p->meta.span_pages = in.span_pages;
	p->meta.page_in_span = in.page_in_span;
	p->meta.class = in.class;
	p->meta.flags = in.flags;
	p->granules = in.granules;
	return true;
}

static bool run_get(struct entry_cursor *c)
{
	struct page_run run;

	if (!bytes_get(c, &run, sizeof(run)) || !run.pages || !run.places || run.places > (HAS_IS | HAS_WAS) ||
	    run.page > UINT64_MAX - run.pages)
		return false;
	c->entry = (struct record_entry){.page = run.page};
	c->left = run.pages;
	return (!(run.places & HAS_IS) || run_place_get(c, &c->entry.is, run.pages)) &&
	       (!(run.places & HAS_WAS) || (run_place_get(c, &c->entry.was, run.pages) && !c->entry.was.granules));
}

static void place_advance(struct place *p)
{
	if (!p->birth)
		return;
	p->block++;
	if (!p->meta.page_in_span)
		memset(&p->meta.live, 0, sizeof(p->meta.live));
	p->meta.page_in_span = next_in_span(p->meta.page_in_span, p->meta.span_pages);
}

static bool page_get(struct entry_cursor *c, struct place *p)
{
	if (!p->birth)
		return true;
	if (!p->meta.page_in_span && !bytes_get(c, &p->meta.live, sizeof(p->meta.live)))
		return false;
	return !p->block || bytes_get(c, &p->sum, sizeof(p->sum));
}

/* One that is as before is not told again. */
static bool patch_get(struct entry_cursor *c)
{
	struct place *is = &c->entry.is, *was = &c->entry.was;
	uint32_t bytes = spm_patch_bytes(is->granules);

	if (!bytes || (was->birth && was->block == is->block && was->sum == is->sum))
		return true;
	if ((size_t)(c->end - c->at) < bytes)
		return false;
	is->patch = c->at;
	c->at += bytes;
	return true;
}

bool spm_entry_next(struct entry_cursor *c)
{
	if (c->left) {
		c->entry.page++;
		place_advance(&c->entry.is);
		place_advance(&c->entry.was);
	} else if (c->at == c->end || c->is_broken) {
		return false;
	} else if (!run_get(c)) {
		c->is_broken = true;
		return false;
	}
	c->is_broken = !page_get(c, &c->entry.is) || !page_get(c, &c->entry.was) || !patch_get(c);
	c->left = c->is_broken ? 0 : c->left - 1;
	return !c->is_broken;
}

bool spm_entry_run(struct entry_cursor *c, struct source_run *out)
{
	const size_t header = sizeof(struct page_run) + sizeof(struct run_place);
	struct page_run run;
	struct run_place is;
	uint64_t bytes;

	if (c->left || c->is_broken || (size_t)(c->end - c->at) < header)
		return false;
	memcpy(&run, c->at, sizeof(run));
	memcpy(&is, c->at + sizeof(run), sizeof(is));
	if (run.places != HAS_IS || !run.pages || run.page > UINT64_MAX - run.pages ||
	    !run_place_is_sane(&is, run.pages) || is.block > UINT64_MAX - run.pages ||
	    (run.pages > 1 && is.page_in_span >= is.span_pages))
		return false;
	*out = (struct source_run){run.page,        is.block, is.birth, run.pages,   is.span_pages,
	                           is.page_in_span, is.class, is.flags, is.granules, c->at + header};
	bytes = spm_source_length(out);
	if ((size_t)(c->end - out->bytes) < bytes)
		return false;
	c->at = out->bytes + bytes;
	return true;
}
