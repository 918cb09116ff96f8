/* diff.c - two versions' pages beside each other, in the order of their addresses. What they share lies in the same blocks, so only maps
 * are read. */
#include "volume/internal.h"
#include "volume/source.h"

#include <string.h>

#include <errno.h>

/* Where a walk along a version's pages is. */
struct walk_at {
	struct source_list list;
	size_t run;
	uint32_t in_run;
};

static bool is_over(const struct walk_at *w)
{
	return w->run == w->list.n;
}

static uint64_t page_at(const struct walk_at *w)
{
	return is_over(w) ? UINT64_MAX : w->list.run[w->run].page + w->in_run;
}

/* What the version has of this page, and on to the next, if it has it. */
static struct page_side side_take(struct walk_at *w, uint64_t page)
{
	const struct source_run *r = &w->list.run[w->run];
	struct page_side side = {.is_there = false};

	if (page_at(w) != page)
		return side;
	side = (struct page_side){true, spm_source_of(r, w->in_run), spm_source_meta(r, w->in_run)};
	if (++w->in_run == r->pages) {
		w->run++;
		w->in_run = 0;
	}
	return side;
}

/* Without content a page is all zero, and so is no other that has the same sum. */
static bool is_same(const struct page_side *a, const struct page_side *b)
{
	const struct page_source *x = &a->source, *y = &b->source;

	return a->is_there && b->is_there && !x->block == !y->block && x->sum == y->sum;
}

static int pages_compare(struct walk_at w[2], int (*fn)(const struct page_pair *pair, void *arg), void *arg)
{
	int result = 0;

	while (!result && !(is_over(&w[0]) && is_over(&w[1]))) {
		struct page_pair pair = {.page = page_at(&w[0]) < page_at(&w[1]) ? page_at(&w[0]) : page_at(&w[1])};

		for (unsigned i = 0; i < 2; i++)
			pair.side[i] = side_take(&w[i], pair.page);
		pair.is_same = is_same(&pair.side[0], &pair.side[1]);
		result = fn(&pair, arg);
	}
	return result;
}

int spm_chain_compare(struct chain *first, struct chain *second, int (*fn)(const struct page_pair *pair, void *arg),
                      void *arg)
{
	struct walk_at w[2] = {{.run = 0}};
	int result = spm_chain_list(first, &w[0].list);

	if (!result)
		result = spm_chain_list(second, &w[1].list);
	if (!result)
		result = pages_compare(w, fn, arg);
	for (unsigned i = 0; i < 2; i++)
		spm_source_list_free(&w[i].list);
	return result;
}

/* A place in a list. */
struct reading {
	const struct source_list *list;
	size_t run;
	uint32_t k;
};

static uint64_t reading_page(const struct reading *r)
{
	return r->run < r->list->n ? r->list->run[r->run].page + r->k : UINT64_MAX;
}

static uint32_t reading_rest(const struct reading *r)
{
	return r->list->run[r->run].pages - r->k;
}

static void reading_go(struct reading *r, uint32_t pages)
{
	r->k += pages;
	if (r->k == r->list->run[r->run].pages) {
		r->run++;
		r->k = 0;
	}
}

/* Content of the same sum is the same, wherever it lies. */
static bool are_alike(const struct source_run *a, const struct source_run *b)
{
	return !a->block == !b->block && a->span_pages == b->span_pages && a->page_in_span == b->page_in_span &&
	       a->class == b->class && a->flags == b->flags &&
	       !memcmp(a->bytes, b->bytes, spm_source_bytes(a, a->pages));
}

struct telling {
	void (*fn)(uint64_t page, uint64_t pages, void *arg);
	void *arg;
};

/* Both have n pages from these on: as a whole, or page by page if something differs. */
static void parts_compare(const struct reading *a, const struct reading *b, uint32_t n, const struct telling *t)
{
	struct source_run x = spm_source_part(&a->list->run[a->run], a->k, n);
	struct source_run y = spm_source_part(&b->list->run[b->run], b->k, n);

	if (are_alike(&x, &y))
		return;
	for (uint32_t k = 0; k < n; k++) {
		struct source_run p = spm_source_part(&x, k, 1), q = spm_source_part(&y, k, 1);

		if (!are_alike(&p, &q))
			t->fn(x.page + k, 1, t->arg);
	}
}

void spm_source_lists_differ(const struct source_list *first, const struct source_list *second,
                             void (*fn)(uint64_t page, uint64_t pages, void *arg), void *arg)
{
	struct reading a = {first, 0, 0}, b = {second, 0, 0};
	struct telling t = {fn, arg};

	for (;;) {
		uint64_t pa = reading_page(&a), pb = reading_page(&b);
		uint32_t n;

		if (pa == pb && pa == UINT64_MAX)
			return;
		if (pa == pb) {
			n = reading_rest(&a) < reading_rest(&b) ? reading_rest(&a) : reading_rest(&b);
			parts_compare(&a, &b, n, &t);
			reading_go(&b, n);
			reading_go(&a, n);
			continue;
		}
		struct reading *only = pa < pb ? &a : &b;
		uint64_t gap = pa < pb ? pb - pa : pa - pb;

		n = reading_rest(only) < gap ? reading_rest(only) : (uint32_t)gap;
		fn(pa < pb ? pa : pb, n, arg);
		reading_go(only, n);
	}
}
