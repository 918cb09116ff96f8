/* transfer.c - what export and import share: the state of a version. */
#include "transfer.h"

#include <errno.h>
#include <xxhash.h>

static const unsigned char zeros[SPM_PAGE_BYTES];

uint64_t spm_state_of(const struct item_page *p)
{
	return XXH3_64bits(p, sizeof(*p));
}

struct item_page spm_item_page(uint64_t page, const struct page_source *source, const struct page_meta *meta)
{
	return (struct item_page){page, source->block ? source->sum : spm_page_sum(zeros), *meta};
}

static uint64_t run_state(const struct source_run *r)
{
	uint64_t state = 0;

	for (uint32_t k = 0; k < r->pages; k++) {
		struct page_source source = spm_source_of(r, k);
		struct page_meta meta = spm_source_meta(r, k);
		struct item_page p = spm_item_page(source.page, &source, &meta);

		state += spm_state_of(&p);
	}
	return state;
}

int spm_state_find(struct chain *c, uint64_t *state)
{
	struct source_list list;
	int err = spm_chain_list(c, &list);

	*state = 0;
	if (err)
		return err;
	for (size_t i = 0; i < list.n; i++)
		*state += run_state(&list.run[i]);
	spm_source_list_free(&list);
	return 0;
}
