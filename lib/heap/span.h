/* span.h - making and unmaking spans; what the stopped world asks of them.
 *
 *            spm_span_new                     last free slot taken
 *   none ------------------> SPAN_CURRENT <------------------------ SPAN_LISTED
 *    ^                            | no free slot left                    ^   |
 *    |                            v                                      |   |
 *    |                        SPAN_FULL ---------------------------------+   |
 *    +--- spm_span_release: all slots free, not marked, spans are not held --+
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
/* Takes the pages of a row that makes sense. 0 or -EEXIST. */
int spm_span_restore_begin(const struct span_row *row, uint32_t arena);
/* Then makes span i of it, with just its live slots allocated; what they hold is not known to be zero. */
struct span *spm_span_restore(const struct span_row *row, uint32_t i, uint32_t arena);
/* Gives the span back if it is (still) in that state without a slot in use; the caller is its owner, or it is large. False: it is
 * marked, or spans are held; then the next drain hands it over again. */
bool spm_span_release(struct span *s, enum span_state as);
/* Adds so many pages at the end of a large span, if it is not marked and spans are not held. 0 or -EEXIST, then nothing changed.
 * *is_zero: of the added. */
int spm_span_extend(struct span *s, uint32_t pages, bool *is_zero);

/* The slots whose bit is set have been freed: the next drain will tell. For marked spans. */
void spm_span_note_freed(struct span *s, unsigned word, uint64_t bits);
/* The same for bits in s->remote. */
void spm_span_note_remote(struct span *s);

/* Whether one of these slots (NULL: any) was freed since the last drain, if that is of interest to anybody; maybe also if not. */
bool spm_span_has_news(const struct span *s, const struct slotset *slots);
/* The window is locked. Gives back a span of which the caller knows that nobody needs it. */
void spm_span_unmake(struct span *s);

/* Slots 0..slots-1. */
static inline struct slotset spm_slots_all(unsigned slots)
{
	struct slotset all = {{0}};

	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++) {
		unsigned before = w * 64;

		if (slots >= before + 64)
			all.word[w] = ~UINT64_C(0);
		else if (slots > before)
			all.word[w] = (UINT64_C(1) << (slots - before)) - 1;
	}
	return all;
}
static inline struct slotset spm_span_all(const struct span *s)
{
	return spm_slots_all(s->slots);
}

/* In a forked child, the window locked: whoever held is not there. */
void spm_span_forget_hold(void);

/* The drain hands over spans that are wholly free and no longer marked (heap.c). Stopped: takes no lock. */
void spm_heap_queue_idle(struct span *s);

#endif
