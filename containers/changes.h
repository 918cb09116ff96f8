/* changes.h - an image as what a commit takes: its pages, ready to be written, a batch at a time.
 *
 *            helper thread                          whoever commits
 *   clone -> buffer 0 -> zero, mend, sum  ------->  compare, write
 *   clone -> buffer 1 -> zero, mend, sum  ------->  compare, write
 *   ...                                   <-------  buffer 0 is free again
 *
 * While one batch goes to the device the next is prepared. So a large point takes the longer of both, not the sum, and memory for
 * two batches, not for all its pages. An image of one batch needs no helper. Pages that were copied stay where they are; those that a
 * clone keeps are read into two buffers, and the clone is dropped after the last.
 */
#ifndef SPM_CHANGES_H
#define SPM_CHANGES_H

#include "container.h"

struct batch {
	struct page_change *change;
	size_t n;
	unsigned char *pages; /* where to, of a clone */
	bool is_last;
	int err;
};

struct changes {
	struct change_source source; /* first */
	struct container *c;
	uint64_t chunk_pages;
	size_t run;                   /* from which the next page is taken */
	uint32_t in_run;              /* so many of its pages are */
	pageno_t last;                /* the one before */
	size_t pages, excluded, blob; /* so many are in a batch by now */
	unsigned char *blob_bytes;
	size_t blob_pages;
	bool is_blob_known;
	struct batch batch[2];
	unsigned taken; /* batches */
	bool has_helper;
	pthread_t helper;
	_Atomic bool is_ending;
	sem_t ready, room; /* batches prepared and not taken; that may be filled */
};

void spm_changes_begin(struct changes *s, struct container *c, uint64_t chunk_pages);
/* Also in the midst, if the commit failed. */
void spm_changes_end(struct changes *s);

#endif
