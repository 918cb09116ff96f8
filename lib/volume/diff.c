/* diff.c - the pages in which two versions differ. What they share lies in the same blocks, so only maps are read. */
#include "volume/internal.h"

struct comparing {
	const struct map *other;
	bool is_second; /* goes through the second's pages: those that both have were told */
	int (*fn)(const struct page_pair *pair, void *arg);
	void *arg;
};

static struct page_source source_of(uint64_t page, const struct place *p)
{
	return (struct page_source){page, p->block, p->sum};
}

/* Without content a page is all zero, and so is no other that has the same sum. */
static bool is_same(const struct place *a, const struct place *b)
{
	return a->block == b->block || (a->block && b->block && a->sum == b->sum);
}

static int place_compare(uint64_t page, const struct place *p, void *arg)
{
	struct comparing *k = arg;
	struct place room;
	const struct place *other = spm_map_get(k->other, page, &room);
	struct page_source mine = source_of(page, p), theirs;

	if (other && (k->is_second || is_same(p, other)))
		return 0;
	if (other)
		theirs = source_of(page, other);
	return k->fn(k->is_second ? &(struct page_pair){page, NULL, &mine}
	                          : &(struct page_pair){page, &mine, other ? &theirs : NULL},
	             k->arg);
}

int spm_chain_diff(struct chain *first, struct chain *second, int (*fn)(const struct page_pair *pair, void *arg),
                   void *arg)
{
	struct comparing k = {&second->map, false, fn, arg};
	int result = spm_map_each(&first->map, place_compare, &k);

	if (result)
		return result;
	k.other = &first->map;
	k.is_second = true;
	return spm_map_each(&second->map, place_compare, &k);
}
