/* kinds.h - what each slot of a container is taken for, as the typed pointers say that led there (pointers.h).
 *
 *   NONE --full trace--> ANY --typed pointer to its start--> a kind --one that contradicts--> MIXED
 *
 * ANY, MIXED and NONE are scanned conservatively. A slot gets its kind when it becomes live, so what is said of slots that are not live means
 * nothing, and nobody need forget what is freed. Of slots that were live before the trace only what contradicts is learned: an incremental
 * trace must not go through all that a typed pointer to old memory leads to. NONE are slots that a restore made live; a full trace knows none.
 *
 * What the program says of an object (hints.h) is its kind from the beginning.
 *
 * If a kind turns out wrong, the slots that were given theirs by its pointers become MIXED too, and so on (trace.c); so a slot keeps a kind only
 * as long as all who gave it one may be right.
 *
 * Suspects are numbers that would be addresses in the window if they were none. If one leads to the start of a slot that nothing else leads to, then most likely the
 * program hides a pointer in a number, or uses the memory for something else by now. An incremental trace, whose kinds may be out of date, takes its slot for MIXED.
 * A full trace, which learns all kinds anew, does not follow it: it is *lost*, and incremental ones don't follow it from then on.
 *
 * All functions are called with other threads stopped, or when no trace runs; spm_kinds_forget at any time.
 */
#ifndef SPM_KINDS_H
#define SPM_KINDS_H

#include "discover/marks.h"
#include "discover/pointers.h"

enum { KIND_ROWS = 1 << 24, KIND_SUSPECTS = 1 << 20, KIND_LOST_KNOWN = 256 };

struct suspect {
	uint64_t place, value;
};
struct kind_row {
	uint16_t kind[SPM_SPAN_SLOTS_MAX];
};
struct kind_tables;
struct kinds {
	struct pointers *pointers;
	struct kind_tables *tables;
	struct kind_row *row;  /* in them */
	_Atomic uint32_t rows; /* so many are used; row 0 is none */
	_Atomic bool
	        is_whole; /* each slot that became live since the beginning has its kind, so those without are restored */
	size_t suspects;                       /* of the last trace: spm_kinds_suspect */
	struct suspect known[KIND_LOST_KNOWN]; /* that the last full trace, whose kinds are right, lost */
	_Atomic unsigned knowns;
};

/* Takes the pointers over, also if it fails. NULL: no memory. */
struct kinds *spm_kinds_new(struct pointers *pointers);
void spm_kinds_free(struct kinds *k); /* NULL: nothing */
/* All slots are of KIND_NONE. */
void spm_kinds_forget(struct kinds *k);

/* The kinds of a span's slots, by its first page. 0: no slot of it has one. */
uint32_t spm_kinds_row(const struct kinds *k, pageno_t first);
/* The same, made if need be; 0: there is no room. */
uint32_t spm_kinds_row_have(struct kinds *k, pageno_t first);
static inline uint16_t *spm_kinds_in(const struct kinds *k, uint32_t row) /* SPM_SPAN_SLOTS_MAX of them */
{
	return k->row[row].kind;
}
static inline unsigned spm_kinds_of(const struct kinds *k, pageno_t first, unsigned slot)
{
	return spm_kinds_in(k, spm_kinds_row(k, first))[slot];
}

void spm_kinds_suspect_add(struct kinds *k, uint64_t place, uint64_t value);
struct suspect spm_kinds_suspect(const struct kinds *k, size_t i);
void spm_kinds_suspect_put(struct kinds *k, size_t i, struct suspect s);
/* It was lost. */
void spm_kinds_know(struct kinds *k, struct suspect s);
bool spm_kinds_is_known(const struct kinds *k, struct suspect s);
/* After the trace: whether the value of a suspect leads to the start of a slot that is allocated and not live. */
bool spm_kinds_is_lost(const struct marks *m, uint64_t value);

/* Words of all live slots by what is known of them: numbers; pointers whose target is known; all others. */
struct kind_words {
	uint64_t plain, pointers, ambiguous;
};
void spm_kinds_count(const struct kinds *k, struct marks *m, struct kind_words *out);

#endif
