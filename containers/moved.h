/* moved.h - a container in other slices of the window than its versions say.
 *
 *     in the version   | .. | C | .. | M | ..          slices C and M are swapped: what the version has in C lies in M
 *     in memory        | .. | M | .. | C | ..          here, and what lay in C here would be in M there
 *
 * If a container's slices are taken in this process (by another version of it, as a rule), they are swapped with free ones, run by
 * run, and so is every word that points into either. A swap is its own inverse and loses nothing: pages and words are swapped when
 * they come into memory and swapped back when they are written. So a version looks the same wherever its container lay when it was
 * made, and a page that nobody changed has not changed.
 *
 * What conservative relocation can get wrong: an integer that looks like an address in one of these slices is changed in memory
 * (not in the versions) as a pointer is. Memory from pMallocNoPtr is never touched.
 */
#ifndef SPM_MOVED_H
#define SPM_MOVED_H

#include "heap/heap.h"

struct moved {
	_Atomic uint64_t words; /* that were changed when they came into memory */
	uint16_t slice[SPM_SLICES];
};

/* m NULL, here and below: all slices lie at their own places. */
static inline uint64_t spm_moved_page(const struct moved *m, uint64_t page)
{
	if (!m || page >= (uint64_t)SPM_SLICES * SPM_SLICE_PAGES)
		return page;
	return (uint64_t)m->slice[page / SPM_SLICE_PAGES] * SPM_SLICE_PAGES + page % SPM_SLICE_PAGES;
}

/* Of an address in the window. */
static inline uint64_t spm_moved_address(const struct moved *m, uint64_t address)
{
	uint64_t offset = address - SPM_WINDOW_START;

	return m ? SPM_WINDOW_START + m->slice[offset / SPM_SLICE_BYTES] * SPM_SLICE_BYTES + offset % SPM_SLICE_BYTES
	         : address;
}

/* All words of a page that point into the window. Returns how many it changed. */
static inline unsigned spm_moved_words(const struct moved *m, uint64_t *word)
{
	unsigned changed = 0;

	for (unsigned i = 0; m && i < SPM_PAGE_BYTES / 8; i++) {
		uint64_t moved = spm_in_window(word[i]) ? spm_moved_address(m, word[i]) : word[i];

		changed += moved != word[i];
		word[i] = moved;
	}
	return changed;
}

#endif
