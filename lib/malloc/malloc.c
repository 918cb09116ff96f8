/* malloc.c - the C allocation functions on SoftPM's heap, for libsoftpm-malloc.so.
 *
 * Linked or preloaded, it serves the whole program, the C library's own callers (strdup, asprintf, getline, ...)
 * included, from the first instruction on; so there is no memory of another allocator to be freed, and a pointer that
 * is not the heap's is a misuse. Nothing here or below calls a function that allocates.
 */
#include "heap/heap.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))

static inline void *or_enomem(void *p)
{
	if (__builtin_expect(!p, 0))
		errno = ENOMEM;
	return p;
}

PUBLIC void *malloc(size_t bytes)
{
	return or_enomem(spm_heap_alloc(bytes, 0));
}

PUBLIC void *calloc(size_t n, size_t each)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, each, &bytes))
		return or_enomem(NULL);
	return or_enomem(spm_heap_alloc(bytes, 0));
}

PUBLIC void free(void *p)
{
	spm_heap_free(p);
}

/* Zero bytes: frees, as the GNU C library does. */
PUBLIC void *realloc(void *p, size_t bytes)
{
	if (p && !bytes) {
		spm_heap_free(p);
		return NULL;
	}
	return or_enomem(spm_heap_realloc(p, bytes));
}

PUBLIC void *reallocarray(void *p, size_t n, size_t each)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, each, &bytes))
		return or_enomem(NULL);
	return realloc(p, bytes);
}

static bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

PUBLIC int posix_memalign(void **out, size_t align, size_t bytes)
{
	void *p;

	if (!is_power_of_two(align) || align < sizeof(void *))
		return EINVAL;
	p = spm_heap_alloc_aligned(align, bytes, 0);
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

PUBLIC void *aligned_alloc(size_t align, size_t bytes)
{
	if (!is_power_of_two(align)) {
		errno = EINVAL;
		return NULL;
	}
	return or_enomem(spm_heap_alloc_aligned(align, bytes, 0));
}

PUBLIC void *memalign(size_t align, size_t bytes)
{
	return aligned_alloc(align, bytes);
}

PUBLIC void *valloc(size_t bytes)
{
	return aligned_alloc(SPM_PAGE_BYTES, bytes);
}

PUBLIC void *pvalloc(size_t bytes)
{
	size_t whole;

	if (__builtin_add_overflow(bytes, (size_t)SPM_PAGE_BYTES - 1, &whole))
		return or_enomem(NULL);
	return aligned_alloc(SPM_PAGE_BYTES, whole & ~((size_t)SPM_PAGE_BYTES - 1));
}

PUBLIC size_t malloc_usable_size(void *p)
{
	return spm_heap_usable(p);
}
