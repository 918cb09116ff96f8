/* slices.h - a commit whose changes come in batches, each gone from memory when the next one comes. */
#ifndef TEST_SLICES_H
#define TEST_SLICES_H

#include "volume/volume.h"

enum { SLICE_MOST = 64 };

struct slices {
	struct change_source source;
	struct page_change *changes;
	size_t n, at, slice; /* slice: how many at a time, to SLICE_MOST */
	size_t fails_at;     /* the batch that would go beyond so many fails with -ESRCH */
};
/* All of them; the source may be changed before it is used. */
struct slices slices_of(struct page_change *changes, size_t n, size_t slice);

#endif
