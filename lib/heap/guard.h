/* guard.h - debug builds: a known word at the end of each slot, which a write before the next slot's start destroys.
 *
 *   | slot k-1            | guard | slot k              | guard |
 *                           ^ p[-1] lands here, p = slot k
 *
 * Looked at when slot k is freed, and when slot k-1 is. The guard lies inside the slot, so slots stay where release
 * builds put them and volumes are the same; programs are given SPM_GUARD_BYTES less of each slot.
 *
 * Invariant: while a slot's bit is set in the table of guards, its last bytes are the guard. It is set when the slot is
 * handed out, and stays when it is freed; slots that a restore brought have none until they are allocated again.
 * The first slot of a span is guarded by the last one of the span before, if there is one.
 */
#ifndef SPM_GUARD_H
#define SPM_GUARD_H

#include "heap/heap.h"

#ifdef SPM_DEBUG
enum { SPM_GUARD_BYTES = 8 };

int spm_guard_init(void);
void spm_guard_set(const struct span *s, unsigned slot);
/* Before a large span changes its length: the guard becomes zero, and there is none from then on. (A check by a
 * neighbour could not tell a guard that moved from one that was overwritten.) */
void spm_guard_clear(const struct span *s, unsigned slot);
/* The span begins or ends: no slot has a guard. */
void spm_guard_forget(const struct span *s);
/* The slot is to be freed. Panics, naming the address, if a guard on either side of it was overwritten. */
void spm_guard_check(const struct span *s, unsigned slot);
#else
enum { SPM_GUARD_BYTES = 0 };

static inline int spm_guard_init(void)
{
	return 0;
}
static inline void spm_guard_set(const struct span *s, unsigned slot)
{
	(void)s, (void)slot;
}
static inline void spm_guard_clear(const struct span *s, unsigned slot)
{
	(void)s, (void)slot;
}
static inline void spm_guard_forget(const struct span *s)
{
	(void)s;
}
static inline void spm_guard_check(const struct span *s, unsigned slot)
{
	(void)s, (void)slot;
}
#endif

#endif
