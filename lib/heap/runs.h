/* runs.h - the free runs of each arena, by length.
 *
 *   bin  0..63    runs of 1, 2, .. 64 pages
 *        64..91   65 to 80, 81 to 96, ...  four per doubling, to a whole slice
 *
 * A run is the longest stretch of free pages inside one slice; its length is noted at its first page and at its
 * last, so a run that ends beside it finds it. All in tables outside the window, under the window's lock.
 *
 * Invariant: a bin's bit is set if and only if its list is not empty; a run's length is right at both its ends.
 */
#ifndef SPM_RUNS_H
#define SPM_RUNS_H

#include "heap/heap.h"

/* 0 or -ENOMEM; then it may be called again. */
int spm_runs_init(void);

void spm_runs_add(uint32_t arena, pageno_t first, uint32_t pages);
void spm_runs_remove(uint32_t arena, pageno_t first);

/* The length of the run that begins, or ends, at this page; only if one does. */
uint32_t spm_runs_pages(pageno_t end);

/* The shortest run that holds so many pages at a multiple of align: *at is where. 0 or -ENOMEM. */
int spm_runs_find(uint32_t arena, uint32_t pages, uint32_t align, pageno_t *at);

/* Panics unless this is a run of the arena's bins. */
void spm_runs_check(uint32_t arena, pageno_t first, uint32_t pages);

#endif
