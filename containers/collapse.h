/* collapse.h - huge pages again for memory that was written once and is cold now.
 *
 * The kernel tells which pages were written by looking at each 2 MiB in one step as long as it is a huge page; a write to a
 * watched huge page splits it for good, and looking at 1 GiB takes 0.6 ms from then on instead of 15 us (bench/track). So workers
 * with nothing else to do collapse what was not written for some seconds, 2 MiB at a time. That takes 0.7 ms, for which other
 * threads are stopped: at most once in 20 ms, and only if the container's points stop them too.
 *
 * Of the process, not of a container. All calls between spm_capture_begin and _end, but for the step, which does that itself.
 */
#ifndef SPM_COLLAPSE_H
#define SPM_COLLAPSE_H

#include "base/base.h"

/* A capture begins: what is noted until the next one was written by now. */
void spm_collapse_tick(void);
void spm_collapse_note(pageno_t first, uint32_t pages);

enum collapse { COLLAPSE_NOTHING, COLLAPSE_LATER, COLLAPSE_MORE };
/* One step. What is left to do: nothing, something that is not cold yet, or more at once. */
enum collapse spm_collapse_step(void);

#endif
