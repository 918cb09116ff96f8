/* missing.h - pages that are asked for when they are touched, instead of being zero: what lazy restore stands on.
 *
 *   a thread, or the kernel for it, touches a missing page of a watched range -> sleeps
 *   SoftPM's thread: spm_missing_next tells which page -> supply, zero or poison -> the toucher goes on
 *
 * Only with the wp tracker, whose userfaultfd this uses, and only where that also serves the kernel's own accesses
 * (privileged, or vm.unprivileged_userfaultfd=1): otherwise a read(2) into a missing page would fail with EFAULT.
 * A range, once watched, stays so: taking it back would lose which of its pages were written. So somebody must answer for
 * as long as the process lives, also for pages that were given back to the kernel later (they are to be zero).
 * No function allocates or takes a lock, but spm_missing_watch must not run beside itself.
 */
#ifndef SPM_MISSING_H
#define SPM_MISSING_H

#include "base/base.h"

/* After spm_track_init. */
bool spm_missing_is_possible(void);
/* From here on pages of the range are missing; what is there is given back to the kernel. 0 or -errno. */
int spm_missing_watch(pageno_t first, uint32_t pages);
/* Waits until somebody touches a missing page. 0, or -errno: then no more will come. */
int spm_missing_next(pageno_t *page);
/* Puts content at missing pages and wakes who waits for them. The pages count as not written. Those that are there already
 * stay as they are. */
int spm_missing_supply(pageno_t first, uint32_t pages, const void *content);
/* The same with zeros. Returns how many of the pages were missing. */
int spm_missing_zero(pageno_t first, uint32_t pages);
/* Whoever touches the page gets SIGBUS, or EFAULT from a system call; a forked child too. */
int spm_missing_poison(pageno_t page);
/* Lets those who wait for one of the pages touch it once more. */
void spm_missing_wake(pageno_t first, uint32_t pages);

#endif
