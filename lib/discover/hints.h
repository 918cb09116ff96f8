/* hints.h - what a program says of its pointers that discovery can't see by itself.
 *
 *   excluded    places of pointers that are not to be followed, and are NULL after a restore
 *   references  "object refers to target": a pointer that is encoded, unaligned, or in memory without pointers
 *   typed       what the object at an address is, by the number of a root of the container's types: there may be many, so they are found by hash,
 *               and who tells of one more moves no other
 *
 * A hint speaks of objects, so it ends when a slot it names is freed: another object may get the same address. Hints
 * are kept with each version.
 *
 * Invariants: excluded is sorted and names no place twice; typed names no object twice, and all of them are in the table of slots.
 */
#ifndef SPM_HINTS_H
#define SPM_HINTS_H

#include "base/base.h"
#include "heap/heap.h"

struct reference {
	uint64_t object, target;
};
struct hints { /* all zero: none */
	uint64_t *excluded;
	size_t excluded_count;
	struct reference *reference;
	size_t reference_count;
	uint64_t *typed; /* address, and from bit HINTS_TYPE_BIT on the root's number */
	size_t typed_count, typed_room;
	uint32_t *slot;   /* number in typed + 1, by address; 0: free */
	size_t slots;     /* a power of two, more than twice as many */
	bool has_changed; /* since they were last saved or loaded */
};

enum { HINTS_TYPE_BIT = 48 };

void spm_hints_free(struct hints *h);
/* 0 or -ENOMEM. */
int spm_hints_exclude(struct hints *h, uint64_t place);
int spm_hints_refer(struct hints *h, uint64_t object, uint64_t target);
/* Takes back all references of the object at that address. */
void spm_hints_unrefer(struct hints *h, uint64_t object);
/* The object that begins at that address is of a root's type. 0, 1: that is known; or -ENOMEM. */
int spm_hints_type(struct hints *h, uint64_t object, unsigned root);
/* Takes back what was told of the object. */
void spm_hints_untype(struct hints *h, uint64_t object);
void spm_hints_untype_all(struct hints *h);
/* The number of the root that the object at that address is of, or -1: nobody told. Stopped. */
int spm_hints_type_of(const struct hints *h, uint64_t object);
static inline uint64_t spm_hints_typed_address(uint64_t typed)
{
	return typed & ((UINT64_C(1) << HINTS_TYPE_BIT) - 1);
}
/* Of places in ascending order: the first that is not below `least`; n: all are. */
size_t spm_places_from(const uint64_t *place, size_t n, uint64_t least);
bool spm_hints_has_excluded(const struct hints *h, uint64_t place);
static inline bool spm_hints_is_excluded(const struct hints *h, uint64_t place)
{
	return h->excluded_count && spm_hints_has_excluded(h, place);
}
/* Calls fn for each excluded place in [from, from + bytes). Stopped. */
void spm_hints_each_excluded(const struct hints *h, uint64_t from, uint64_t bytes,
                             void (*fn)(uint64_t place, void *arg), void *arg);
/* The slots are freed: what names them ends. Stopped. */
void spm_hints_forget(struct hints *h, const struct span *s, const struct slotset *slots);
/* Whether one speaks of something in the span. Stopped. */
bool spm_hints_name(const struct hints *h, const struct span *s);
/* Keeps only those that speak of what is_live. */
void spm_hints_keep(struct hints *h, bool (*is_live)(uint64_t address, void *arg), void *arg);
/* 0 or -ENOMEM. */
int spm_hints_copy(const struct hints *from, struct hints *to);
/* Restore moved the container: every address becomes moved(address). */
void spm_hints_move(struct hints *h, uint64_t (*moved)(uint64_t address, const void *arg), const void *arg);

/* As bytes, to be freed by the caller. -ENOMEM. */
int spm_hints_save(const struct hints *h, void **bytes, size_t *n);
/* Replaces all. -EINVAL: malformed (the bytes are untrusted); -ENOMEM. On failure nothing is changed. */
int spm_hints_load(struct hints *h, const void *bytes, size_t n);

#endif
