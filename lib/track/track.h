/* track.h - which heap pages were written since they were last collected.
 *
 * Two ways, one interface, same tests: `wp`, the kernel's asynchronous write-protect (userfaultfd WP_ASYNC and the
 * PAGEMAP_SCAN ioctl, Linux 6.7 on; sees writes that the kernel does for the program, needs no signal), and
 * `mprotect` with SIGSEGV (any kernel; a read(2) into a protected page fails with EFAULT). $SOFTPM_TRACK forces one.
 *
 * Ranges are registered the first time they are collected, so a program that makes no points pays nothing.
 * The result is a superset: a page may be reported that was not written, never the reverse.
 */
#ifndef SPM_TRACK_H
#define SPM_TRACK_H

#include "base/base.h"

/* Chooses and prepares the tracker; idempotent. 0, or -errno if none works. */
int spm_track_init(void);
const char *spm_track_name(void); /* "wp" or "mprotect" */

/* Reports every run of pages in [first, first+pages) written since the last collect of that range (the first
 * time: all that are populated), and starts watching them again. Other threads are stopped, or the caller
 * accepts that writes racing with the call land on either side. Allocates nothing by malloc. 0 or -errno; after an
 * error everything must be taken as dirty. */
int spm_track_collect(pageno_t first, uint32_t pages, void (*dirty)(pageno_t first, uint32_t pages, void *arg),
                      void *arg);

/* Whether other threads ran since the last collect, so that other processors may have to be told of what is watched again: the way
 * that is cheaper then is dearer otherwise. Only speed depends on it. */
void spm_track_note_others(bool have_run);

/* The range's mapping is gone or was made anew (given back to the kernel): the next collect registers it again.
 * For wp a range that lost its registration is also noticed by itself. */
void spm_track_forget(pageno_t first, uint32_t pages);

/* Whether all of the range is there in small pages, none of them written since it was last collected. */
bool spm_track_is_cold(pageno_t first, uint32_t pages);
/* Makes huge pages again of the 2 MiB ranges, aligned and wholly in [first, first+pages), that were not written since they were
 * last collected and that earlier writes have split: huge pages are what makes a collect of cold memory cheap. Costs about
 * a millisecond for each, so callers do it in idle time, for a piece of the heap at a time, with the other threads
 * stopped. Returns how many were collapsed (always 0 for mprotect) or -errno; loses no write in either case. */
int spm_track_collapse(pageno_t first, uint32_t pages);

/* After fork(2), in the child: drops what the parent owns. */
void spm_track_after_fork(void);

#endif
