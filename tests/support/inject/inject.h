/* inject.h - makes the Nth system call on a volume, or the Nth allocation, of the library fail.
 *
 * The test is linked with --wrap for every name in inject_wrapped.txt, so the real driver's code runs and only what the
 * kernel or libc would answer is replaced. Calls on other files than the volume go through uncounted.
 */
#ifndef TEST_INJECT_H
#define TEST_INJECT_H

#include <stdbool.h>
#include <stdint.h>

enum inject_kind {
	INJECT_NOTHING,
	INJECT_IO,     /* any call on the volume's descriptors gives `error` */
	INJECT_WRITE,  /* those alone that need room: write and flush */
	INJECT_SHORT,  /* reads and writes do less than they were asked for */
	INJECT_MEMORY, /* allocations give ENOMEM, threads EAGAIN */
	INJECT_HEAP,   /* pMalloc and its family too, but for mappings and threads: what a structure asks for */
	INJECT_KILL,   /* the process ends by SIGKILL instead of any call on the volume's descriptors */
};

/* From now on, in any thread, call number `nth` of the kind (from 1) fails, or if `until` > nth, all from nth to until.
 */
void inject_start(enum inject_kind kind, int error, uint64_t nth, uint64_t until);
/* Back to normal. Whether any call was tampered with. */
bool inject_stop(void);
/* Name of the function that failed first, "" if none did. */
const char *inject_where(void);
/* Whose descriptors are tampered with: those opened from now on by exactly this path. */
void inject_volume(const char *path);
/* What fstatfs says of the volume's file system: 0 the truth. */
void inject_file_system(long magic);

/* Every volume is opened with these flags (enum volume_flags) beside its own. */
void inject_volume_flags(unsigned flags);

/* clock.c: clock_gettime tells *real_ns as the time since 1970; and who waits for a time waits for the `speed`-th part, and lives so much
 * later from then on. */
void inject_clock(const _Atomic uint64_t *real_ns, unsigned speed);

#endif
