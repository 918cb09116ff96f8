/* internal.h - what heap.c and restored.c know of each other. */
#ifndef SPM_HEAP_INTERNAL_H
#define SPM_HEAP_INTERNAL_H

#include "heap/class.h"
#include "heap/span.h"

#include <pthread.h>
#include <stdatomic.h>

enum { KINDS = 2 * SPM_CLASSES, HEAPS_MAX = 1 << 20 };

struct heap {
	struct span *current[KINDS]; /* never NULL: at least `exhausted` */
	struct span *listed[KINDS];
	uint32_t arena;
	struct heap *sibling;   /* the same thread's heap for another arena */
	struct heap *abandoned; /* next on the list */
	_Alignas(64) _Atomic(struct span *) inbox;
};

extern pthread_mutex_t spm_heaps_lock;
extern struct heap *spm_abandoned_heaps; /* of no thread; guarded by the lock */
extern __thread struct heap *spm_my_heaps __attribute__((tls_model("initial-exec")));
extern struct span spm_exhausted; /* has no slot: what a heap without spans of a kind takes from */

static inline unsigned spm_heap_kind(const struct span *s)
{
	return s->class + ((s->flags & HEAP_NOPTR) ? (unsigned)SPM_CLASSES : 0);
}

/* A span with free slots joins, or leaves, those of its kind. By the heap's owner. */
void spm_heap_list(struct heap *h, struct span *s);
void spm_heap_unlist(struct heap *h, struct span *s);
/* The span got free slots. By the heap's owner. */
void spm_heap_refilled(struct heap *h, struct span *s);
/* The lock is held. NULL: there are too many. */
struct heap *spm_heap_new(uint32_t arena);
void spm_heap_abandon(struct heap *h);
/* Gives back large spans that a drain found wholly free. */
void spm_heap_release_idle_large(void);

#endif
