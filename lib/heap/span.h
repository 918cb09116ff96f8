/* span.h - making and unmaking spans; what the stopped world asks of them.
 *
 *            spm_span_new                     last free slot taken
 *   none ------------------> SPAN_CURRENT <------------------------ SPAN_LISTED
 *    ^                            | no free slot left                    ^   |
 *    |                            v                                      |   |
 *    |                        SPAN_FULL ---------------------------------+   |
 *    +------------- spm_span_release: all slots free, not marked ------------+
 *
 * (heap.c moves spans between the states on the right.) A large span goes from SPAN_LARGE straight to none.
 */
#ifndef SPM_SPAN_H
#define SPM_SPAN_H

#include "heap/class.h"
#include "heap/heap.h"

enum span_state { SPAN_NONE, SPAN_CURRENT, SPAN_LISTED, SPAN_FULL, SPAN_LARGE };

int spm_span_init(void);

struct span *spm_span_new(unsigned class, unsigned flags, uint32_t arena, struct heap *owner);
struct span *spm_span_new_large(uint32_t pages, uint32_t align, unsigned flags, uint32_t arena);
/* Makes a span on just these pages with just these slots allocated; what they hold is not known to be zero. 0 or
 * -EEXIST. */
int spm_span_restore(pageno_t first, uint32_t pages, unsigned class, unsigned flags, const struct slotset *live,
                     uint32_t arena, struct span **out);
/* All slots are free and it is not marked; the caller is its owner, or freed its one slot. */
void spm_span_release(struct span *s);
/* Adds so many pages at the end of a large span. 0 or an error, then nothing changed. *is_zero: of the added. */
int spm_span_extend(struct span *s, uint32_t pages, bool *is_zero);

/* The slots whose bit is set have been freed: the next drain will tell. For marked spans. */
void spm_span_note_freed(struct span *s, unsigned word, uint64_t bits);
/* The same for bits in s->remote. */
void spm_span_note_remote(struct span *s);

/* All slots 0..slots-1 of the span. */
struct slotset spm_span_all(const struct span *s);

/* The drain hands over spans that are wholly free and no longer marked (heap.c). Stopped: takes no lock. */
void spm_heap_queue_idle(struct span *s);

#endif
