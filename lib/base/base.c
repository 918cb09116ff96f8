/* base.c - see base.h. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

_Noreturn void spm_panic(const char *format, ...)
{
	char text[512];
	va_list args;
	int used = snprintf(text, sizeof(text), "softpm: ");
	int more;

	va_start(args, format);
	more = vsnprintf(text + used, sizeof(text) - (size_t)used - 1, format, args);
	va_end(args);
	if (more > 0)
		used += more;
	if ((size_t)used > sizeof(text) - 2)
		used = (int)sizeof(text) - 2;
	text[used++] = '\n';
	if (write(STDERR_FILENO, text, (size_t)used) < 0) {
		/* nothing left to tell it to */
	}
	abort();
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t spm_now_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

uint64_t spm_now_real_ns(void)
{
	return now_ns(CLOCK_REALTIME);
}

void spm_sleep_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}
enum { HUGE_BYTES = 2 << 20 };

void *spm_pages_map(size_t bytes, bool now)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (now ? MAP_POPULATE : 0);
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void spm_pages_populate(void *all, size_t all_bytes, size_t from, size_t bytes)
{
	uintptr_t first = (uintptr_t)all, end = first + all_bytes / SPM_PAGE_BYTES * SPM_PAGE_BYTES;
	uintptr_t at = (first + from) / SPM_PAGE_BYTES * SPM_PAGE_BYTES, to = first + from + bytes;
	uintptr_t huge = at / HUGE_BYTES * HUGE_BYTES, huge_to = (to + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;

	if (huge < first)
		huge = first;
	if (huge_to > end)
		huge_to = end;
	if (bytes >= HUGE_BYTES / 2)
		madvise((void *)huge, huge_to - huge, MADV_HUGEPAGE);
	madvise((void *)at, to - at, MADV_POPULATE_WRITE); /* before Linux 5.14: page by page after all */
}

void spm_pages_unmap(void *p, size_t bytes)
{
	if (p)
		munmap(p, bytes);
}
