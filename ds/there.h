/* there.h - for checks: whether something is where a pointer leads. In memory that was overwritten that may be anywhere. */
#ifndef SPM_DS_THERE_H
#define SPM_DS_THERE_H

#include <softpm.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline bool spm_is_there(const void *p, size_t bytes)
{
	return !((uintptr_t)p % 16) && pReadable(p) >= bytes;
}
static inline bool spm_string_is_there(const char *s)
{
	size_t bytes = pReadable(s);

	return bytes && memchr(s, 0, bytes);
}

#endif
