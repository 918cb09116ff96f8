/* trace.h - finding what is reachable from a container's root.
 *
 * Conservative: any 8-byte aligned word of a live slot that, taken as an address, lies in an allocated slot of the
 * heap (anywhere in it, so interior and tagged pointers count) makes that slot live. Nothing moves, so a false hit
 * keeps a little too much and breaks nothing.
 *
 * With types (kinds.h) a word that they say to be a number makes nothing live, and each other one may tell what it leads to.
 *
 * Incremental: a slot can become reachable only by a pointer that somebody stored, and the store made its page dirty;
 * so it is enough to scan the live slots on dirty pages, and then each newly live slot whole. What was freed
 * has been unmarked before (spm_heap_drain_freed). What became unreachable without being freed stays, until a
 * full trace starts from the root with no marks at all.
 *
 * An explicit stack, no recursion: a list of a hundred million nodes costs no more stack than a tree.
 * Runs with the other threads stopped: no locks, no malloc. Or beside them (others_run), with spans held (heap.h): what is marked
 * then was allocated at the end of the trace, and what a thread left alone meanwhile is found.
 */
#ifndef SPM_TRACE_H
#define SPM_TRACE_H

#include "discover/hints.h"
#include "discover/kinds.h"
#include "discover/marks.h"

/* kinds: NULL, or what types say: then numbers are not followed, and what is learned of slots is kept there. Only with the other threads
 * stopped.
 *
 * Traces from the dirty pages of m (which it takes), and from root. 0 or -errno (then m needs a full trace). */
int spm_trace_incremental(struct marks *m, uint64_t root, const struct hints *hints, struct kinds *kinds,
                          bool others_run);
/* Traces anew from root alone. Dirty pages are taken too (they are touched). */
int spm_trace_full(struct marks *m, uint64_t root, const struct hints *hints, struct kinds *kinds, bool others_run);

#endif
