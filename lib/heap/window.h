/* window.h - the window's slices, and runs of pages taken from them.
 *
 * A slice is unused, belongs to one arena, or is lent. Per slice one bit a page says "in a span", another "written since the
 * kernel gave it": a run without written pages is known to be zero. A third says that the program tells what it writes there.
 *
 * Invariants
 *  1. Exactly the slices with is_used set are on their arena's list; none of them is lent.
 *  2. free_pages counts the zero bits of used[].
 *  3. The runs of free pages of the slices in use, and no others, are in the bins of their arena (runs.h).
 *  4. A page with neither of the first two bits set is zero in all its bytes.
 *  5. The third is set for pages in spans only; unwatched_pages counts them.
 *  6. Slice 0 is never used: page 0 may mean "none". The whole slice, not the page: a container whose slices are swapped with others
 *     (moved.h) has in versions the page that lies there in its slice in memory, so a slice without its first page could have no other in
 *     its place.
 *
 * All functions take the one lock of the window, the innermost of the heap, unless they say "locked": their caller has it.
 * spm_window_init, spm_window_each_run and spm_window_check need none.
 * Bits in used[] are set before the run is handed out, so a reader that takes no lock (all others stopped) sees a
 * superset of the pages of all spans.
 */
#ifndef SPM_WINDOW_H
#define SPM_WINDOW_H

#include "heap/heap.h"

enum { SPM_SLICE_WORDS = SPM_SLICE_PAGES / 64, SPM_ARENAS = SPM_ARENA_LENT };

int spm_window_init(void);

/* Called, if it is set, with the lock held, before pages go back to the kernel: from then on they are zero. */
extern void (*spm_window_on_give_back)(pageno_t first, uint32_t pages);

/* Gives back its empty slices. If it has no others and may_go, the next spm_arena_new has it. */
void spm_arena_clear(uint32_t arena, bool may_go);

/* Takes a run for the arena; align in pages. *is_zero: all its bytes are. 0 or -ENOMEM. */
int spm_run_take(uint32_t arena, uint32_t pages, uint32_t align, pageno_t *first, bool *is_zero);
/* Locked. Takes just these pages, in a slice that the arena has. 0 or -EEXIST. */
int spm_run_take_at(uint32_t arena, pageno_t first, uint32_t pages, bool *is_zero);
/* Locked. Whether a span that is made longer by these pages crosses a fence. */
bool spm_run_is_fenced(pageno_t first, uint32_t pages);
/* Locked. Claims those slices of the run that nobody uses. *whose: the arena that has all of them. -EEXIST: several have; -ENOMEM, but
 * not for slices that were in use once. */
int spm_run_have_slices(pageno_t first, uint32_t pages, uint32_t arena, uint32_t *whose);
/* Locked. */
bool spm_run_is_free(uint32_t arena, pageno_t first, uint32_t pages);
/* Locked. */
void spm_run_give(pageno_t first, uint32_t pages);

/* Locked. Pages that are taken; until they are given back. */
void spm_run_unwatch(pageno_t first, uint32_t pages);

/* is_watched: without those. */
void spm_window_each_run(bool is_watched, void (*fn)(pageno_t first, uint32_t pages, void *arg), void *arg);
uint64_t spm_window_slices(void);
void spm_window_check(void);

void spm_window_lock(void);
void spm_window_unlock(void);

#endif
