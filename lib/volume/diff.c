/* diff.c - two versions' pages beside each other, in the order of their addresses. What they share lies in the same blocks, so only maps
 * are read. */
#include "volume/internal.h"

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

	return a->is_there && b->is_there && (x->block == y->block || (x->block && y->block && x->sum == y->sum));
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
