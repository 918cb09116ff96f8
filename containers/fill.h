/* fill.h - the content of a restored version's pages: read, verified, mended, at their places.
 *
 * fill.c brings in all pages at once, with as many threads as there are processors (two at most).
 */
#ifndef SPM_FILL_H
#define SPM_FILL_H

#include "heap/heap.h"
#include "volume/source.h"

#include <pthread.h>

struct fill {
	struct chain *chain;
	uint64_t version;
	const struct source_run *run; /* ascending; pages without content are left alone */
	size_t n;
	pageno_t (*place)(const void *arg, uint64_t page); /* where a page of the version goes */
	bool (*wants_mending)(const void *arg, const struct source_run *r);
	void (*mend)(void *arg, const struct source_run *r, uint64_t page, uint64_t *words); /* one call at a time */
	void *arg;

	/* fill.c's own */
	size_t next; /* the run and the page in it where the next piece begins */
	uint32_t next_page;
	_Atomic int error;
	char why[512];
	pthread_mutex_t lock; /* next, mend, why */
};

/* So many pages in all. Their spans are made, the tracker is chosen. 0, or -errno and a sentence in f->why. */
int spm_fill_all(struct fill *f, uint64_t pages);

#endif
