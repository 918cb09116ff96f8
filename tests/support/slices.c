/* slices.c - see slices.h. */
#include "slices.h"

#include <errno.h>
#include <string.h>

static struct page_change change[SLICE_MOST];
static unsigned char page[SLICE_MOST][SPM_PAGE_BYTES] __attribute__((aligned(4096)));

static int slices_next(struct change_source *source, struct page_change **changes, size_t *n)
{
	struct slices *s = (struct slices *)source;

	*changes = change;
	*n = s->n - s->at < s->slice ? s->n - s->at : s->slice;
	if (s->at + *n > s->fails_at)
		return -ESRCH;
	memset(page, 0xee, sizeof(page));
	for (size_t i = 0; i < *n; i++, s->at++) {
		change[i] = s->changes[s->at];
		if (!change[i].data)
			continue;
		memcpy(page[i], change[i].data, SPM_PAGE_BYTES);
		change[i].data = page[i];
		change[i].has_sum = s->at % 2;
		change[i].sum = spm_page_sum(page[i]);
	}
	source->is_over = s->at == s->n;
	return 0;
}

struct slices slices_of(struct page_change *changes, size_t n, size_t slice)
{
	return (struct slices){{.next = slices_next, .changes_most = n}, changes, n, 0, slice, SIZE_MAX};
}
