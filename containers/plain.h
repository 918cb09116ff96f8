/* plain.h - numbers that look like pointers.
 *
 * Where types say that a word is a number (discover/kinds.h), it is left alone: it is no pointer out of the heap when a page is written, and keeps its
 * value when the page is read again. What reads pages knows no types: a restore that comes page by page can't. So each version has a list of the
 * *places* of numbers that would be changed: those whose value lies in the heap's window, or is as a canonical word (discover/outside.h). It is
 * nearly always empty.
 *
 *   page on its way to a volume:  plain numbers are found by type -> set aside (zero) -> outward pointers mended, words moved -> put back
 *   page on its way to memory:    set aside by the list           -> the same                                                 -> put back
 *
 * Places are addresses as versions have them, wherever the container lies here. The list changes with the pages: a page that is written gets its places
 * anew, so it says of each page what its newest copy has. Whether a number is one nobody says of slots of KIND_NONE, which a restore made live:
 * their places stay.
 *
 * Invariant: place is sorted and has none twice. Used by who writes the image, and while none is written.
 */
#ifndef SPM_PLAIN_H
#define SPM_PLAIN_H

#include "base/base.h"

struct container;
struct frozen_run;

struct plain { /* all zero: none */
	uint64_t *place;
	size_t n, room;
	bool has_changed; /* since it was last saved or loaded */
	bool is_short;    /* no memory: it lacks some */
};
/* Of a page: what is not to be looked at. */
struct aside {
	unsigned n;
	uint16_t at[SPM_PAGE_BYTES / 8];
	uint64_t value[SPM_PAGE_BYTES / 8];
};

void spm_plain_free(struct plain *p);
int spm_plain_copy(const struct plain *from, struct plain *to); /* 0 or -ENOMEM */
bool spm_plain_has(const struct plain *p, uint64_t place);

/* Zeroes the page's plain numbers, by its number in versions. */
void spm_plain_set_aside(const struct plain *p, uint64_t page, uint64_t *word, struct aside *out);
void spm_plain_put_back(const struct aside *a, uint64_t *word);
/* The same for a page of the image, found by type. The list is as the page is from here on. */
void spm_plain_find(struct container *c, const struct frozen_run *r, uint32_t page, uint64_t *word, struct aside *out);
/* The page is in no version any more. */
void spm_plain_drop(struct container *c, uint32_t page);

/* The list as bytes before others: "SPMPLAIN", how many u64, places. None, if it is empty. */
bool spm_plain_is_sane(const struct plain *p); /* keeps the invariant, in the heap's window */
size_t spm_plain_bytes(const struct plain *p);
void spm_plain_save(const struct plain *p, void *out);
/* How many of n untrusted bytes it is that they begin with: 0: none. */
size_t spm_plain_length(const void *bytes, size_t n);
/* So many. -EINVAL: malformed; -ENOMEM. On failure nothing is changed. */
int spm_plain_load(struct plain *p, const void *bytes, size_t n);

#endif
