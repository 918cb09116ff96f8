/* memory.c - the public names of the heap. */
#include "container.h"
#include "heap/guard.h"
#include "heapimage.h"

#include <errno.h>
#include <string.h>

static void *or_fail(void *p, size_t bytes)
{
	if (!p)
		spm_fail(ENOMEM, "no memory for %zu bytes", bytes);
	return p;
}

void *pMalloc(size_t bytes)
{
	return or_fail(spm_heap_alloc(bytes, 0), bytes);
}

void *pMallocNoPtr(size_t bytes)
{
	return or_fail(spm_heap_alloc(bytes, HEAP_NOPTR), bytes);
}

void *pCalloc(size_t n, size_t bytes)
{
	size_t total;

	if (__builtin_mul_overflow(n, bytes, &total)) {
		spm_fail(ENOMEM, "%zu times %zu bytes is more than any memory", n, bytes);
		return NULL;
	}
	return or_fail(spm_heap_alloc(total, 0), total); /* slots are handed out zeroed */
}

void *pRealloc(void *p, size_t bytes)
{
	return or_fail(spm_heap_realloc(p, bytes), bytes);
}

void *pAlignedAlloc(size_t align, size_t bytes)
{
	if (!align || (align & (align - 1)) || align > SPM_SLICE_BYTES) {
		spm_fail(EINVAL, "alignment %zu is no power of two up to 32 MiB", align);
		return NULL;
	}
	return or_fail(spm_heap_alloc_aligned(align, bytes, 0), bytes);
}

char *pStrdup(const char *s)
{
	size_t bytes = strlen(s) + 1;
	char *copy = pMalloc(bytes);

	return copy ? memcpy(copy, s, bytes) : NULL;
}

void pFree(void *p)
{
	spm_heap_free(p);
}

size_t pUsableSize(const void *p)
{
	return spm_heap_usable(p);
}

size_t pReadable(const void *p)
{
	uint64_t at = (uintptr_t)p, end;
	const struct span *s;
	unsigned slot;

	if (!spm_in_window(at) || !spm_page_span)
		return 0;
	s = spm_span_of(at);
	if (!s)
		return spm_heapimage_rest(at);
	slot = spm_span_slot(s, at);
	if (slot >= s->slots || !spm_slot_is_allocated(s, slot))
		return 0;
	end = spm_slot_address(s, slot) + s->slot_bytes - SPM_GUARD_BYTES;
	return at < end ? end - at : 0;
}

int pCUse(int cID)
{
	struct container *c;

	if (!cID) {
		spm_arena_use(0);
		return 0;
	}
	c = spm_container_get(cID);
	if (!c)
		return -1;
	spm_arena_use(c->arena);
	spm_container_put(c);
	return 0;
}
