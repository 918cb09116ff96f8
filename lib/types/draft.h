/* draft.h - types as they are gathered, until they are bytes (types.h).
 *
 * Types have numbers; what they lead to may be filled in later. Units of a program repeat the types of its headers: at the end types that
 * can't be told apart, however far one follows them, become one. What debug information tells that can't be (a member outside its
 * struct, an array of something without bytes) is left out, or has an unknown type.
 *
 * No memory is remembered (is_short), and told at the end.
 */
#ifndef SPM_DRAFT_H
#define SPM_DRAFT_H

#include "types/types.h"

struct draft_member {
	const char *name;
	uint32_t type;
	uint64_t offset;
	unsigned bit_offset, bits;
};
struct draft_type {
	enum ptype_kind kind;
	const char *name;
	uint64_t bytes, count;
	uint32_t of; /* pointer, array */
	uint32_t members, values;
	struct draft_member *member;
	struct penumerator *value;
	uint64_t sum; /* of all that it is: set when the draft is finished */
	bool is_settled;
};
struct draft {
	struct draft_type *type;
	uint32_t types, room;
	char **text; /* names that were made up, to be freed */
	size_t texts;
	bool is_short;
};

/* Its number; the name is not copied. 0 if there is no memory: so the first one must be had before. */
uint32_t spm_draft_add(struct draft *d, enum ptype_kind kind, const char *name, uint64_t bytes);
void spm_draft_member_add(struct draft *d, uint32_t type, const struct draft_member *member);
void spm_draft_value_add(struct draft *d, uint32_t type, const char *name, int64_t value);
/* "before" "name", kept as long as the draft. */
const char *spm_draft_text(struct draft *d, const char *before, const char *name);

struct draft_root {
	const char *name;
	bool has_type; /* false, not of the first: there is none of that name */
	uint32_t type;
};
/* As bytes, to be freed, with what the roots lead to. -E2BIG: more than TYPES_BYTES_MOST, or deeper than types.h has it; -ENOMEM. */
int spm_draft_save(struct draft *d, const struct draft_root *root, size_t roots, const struct types_module *module,
                   unsigned modules, void **bytes, size_t *n);
void spm_draft_free(struct draft *d);

#endif
