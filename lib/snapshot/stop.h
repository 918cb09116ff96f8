/* stop.h - one instant for all threads.
 *
 * Every other thread of the process is interrupted by a signal and waits in its handler until spm_stop_end.
 * Threads inside a SoftPM wait (spm_park) touch no heap memory and are left alone, and so are SoftPM's own threads.
 * With one thread nothing but one fstat is done (link count of /proc/self/task, which stays open).
 */
#ifndef SPM_STOP_H
#define SPM_STOP_H

#include "base/base.h"

/* Stops all other threads (new ones that appear meanwhile too). Between begin and end the caller may use no libc function
 * that takes a lock (malloc, stdio) . Not reentrant: the caller serializes. 0 or -errno (then nobody is stopped). */
int spm_stop_begin(void);
void spm_stop_end(void);

/* Whether it would have nobody to stop. As spm_stop_begin: the caller serializes. */
bool spm_stop_is_alone(void);

/* The calling thread promises to touch no heap memory until spm_unpark (which waits while a stop is on). */
void spm_park(void);
void spm_unpark(void);
/* Marks the calling thread as SoftPM's own: never stopped. */
void spm_stop_exempt_self(void);

#endif
