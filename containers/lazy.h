/* lazy.h - a restored container whose pages come when they are touched, or in the background, whichever is first.
 *
 * Every page is verified before anybody sees it. A damaged one is never handed out: whoever touches it is told on standard
 * error, by page, version and block, and gets SIGBUS (a system call: EFAULT); and from when it is known, points and pSync
 * of the container fail with EUCLEAN. The blocks of the version stay as they are until its last page is in.
 */
#ifndef SPM_LAZY_H
#define SPM_LAZY_H

#include "heap/heap.h"
#include "volume/source.h"

struct container;
struct lazy;

/* Whether this machine can do it. After spm_track_init. */
bool spm_lazy_is_possible(void);
/* From here on the pages of run[0..n) (ascending, by where they go), and what lies between them in their 2 MiB, are
 * missing. 0 or -errno; -E2BIG: they are scattered over too many ranges. */
int spm_lazy_watch(const struct source_run *run, size_t n);
/* Of the pages that are watched, these, which all have content, come lazily. On success the list is the struct's, and the version
 * is pinned. 0 or -errno. */
int spm_lazy_new(struct container *of, uint64_t version, const struct source_list *list, struct lazy **out);
/* Puts a watched page there at once: one that does not come lazily. Before start. 0 or -errno. */
int spm_lazy_supply(struct lazy *z, uint64_t page, const void *content);
/* From here on missing pages are answered, and brought in by a thread in the background. 0 or -errno. */
int spm_lazy_start(struct lazy *z);
/* Waits until all are in; what was found damaged, see spm_lazy_error. Touches no heap memory meanwhile. */
void spm_lazy_finish(struct lazy *z);
/* Waits until these pages are in. Nobody touches them by that, so a damaged one is no SIGBUS. 0 or -EUCLEAN: see spm_lazy_error. */
int spm_lazy_have(struct lazy *z, pageno_t first, uint32_t pages);
bool spm_lazy_is_finished(const struct lazy *z);
/* Of any container. Between spm_capture_begin and _end. */
bool spm_lazy_is_any_missing(void);
/* 0, or -errno of the first damage found, and its sentence. */
int spm_lazy_error(const struct lazy *z, const char **why);
/* For tests: true: nothing more is brought in that nobody touches, until false. */
void spm_lazy_hold(bool hold);
/* Gives up what is not in yet: those pages are zero from now on. */
void spm_lazy_free(struct lazy *z);

/* Around a fork (fork.c). Before: waits until all pages of all containers are in; no container becomes lazy until the fork is over. */
void spm_lazy_before_fork(void);
void spm_lazy_after_fork(void); /* in the parent, or if there is no fork after all */
void spm_lazy_after_fork_in_child(void);
/* In the child: frees what was the parent's. */
void spm_lazy_leave(struct lazy *z);

#endif
