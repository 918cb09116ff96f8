/* compare.h - whether memory that has one layout can be used by who has been compiled with another.
 *
 * It can if every field of the old types is where it was, and what it was: only then old bytes mean what the program reads. Fields that are only
 * in the new types must have been padding, or lie behind the old end: a type *grew* then, and its objects must have room for more.
 *
 * Two types are compared as often as both are met together, from the roots on, by name of the fields; their own names don't matter. What is only
 * declared, void, or unknown on one side has nothing to compare. The old types come from a volume, and may be anything.
 */
#ifndef SPM_COMPARE_H
#define SPM_COMPARE_H

#include "types/types.h"

struct types_grown {
	const struct ptype *old, *new; /* one that pointers lead to, or the root */
};
enum types_change_flags {
	TYPES_ADDED = 1, /* fields that were not there, where there is room for them; also a larger size */
	TYPES_MOVED =
	        2, /* fields are elsewhere, or arrays longer for what they are of; may be because of what is embedded before them */
	TYPES_CHANGED = 4, /* anything else */
};
struct types_change {
	const struct ptype *old, *new; /* structs, unions, enums; also of pointers to something else, and the like */
	unsigned flags;
};
struct types_comparison { /* to be freed by spm_types_comparison_free */
	struct types_grown *grown;
	size_t grown_count;
	struct types_change *change; /* all that are not as they were, also what fits */
	size_t changes;
	char text[480]; /* of what does not fit, or "" */
	unsigned differences;
};

/* 0 or -ENOMEM; -E2BIG: they are too large to be compared. Then *out has nothing to be freed. */
int spm_types_compare(const struct types *old, const struct types *new, struct types_comparison *out);

void spm_types_comparison_free(struct types_comparison *found);

#endif
