/* numbers.h - a list of numbers (of pages, as a rule) that grows, and is put in order when it has all. */
#ifndef SPM_NUMBERS_H
#define SPM_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct numbers { /* all zero: none */
	uint64_t *number;
	size_t n, room;
	bool is_short; /* there was no memory for all */
};

void spm_numbers_add(struct numbers *l, uint64_t number);
/* Ascending from now on, none twice. */
void spm_numbers_settle(struct numbers *l);
void spm_numbers_free(struct numbers *l);

#endif
