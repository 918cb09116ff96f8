/* fields.h - the members of a struct or union as one names them: those of anonymous structs and of base classes in their place. */
#ifndef SPM_FIELDS_H
#define SPM_FIELDS_H

#include "types/types.h"

struct field {
	const char *name; /* "": an anonymous union */
	const struct ptype *type;
	uint64_t bit; /* from the beginning */
	unsigned bits;
	bool has_moved; /* for the caller */
	const struct pchoice *choice;
};
struct fields { /* all zero: none; `field` is to be freed */
	struct field *field;
	size_t n, room, steps;
};

static inline bool spm_is_aggregate(const struct ptype *t)
{
	return t->kind == PTYPE_STRUCT || t->kind == PTYPE_UNION;
}

/* For tables of pairs of types. */
static inline size_t spm_types_hash(const struct ptype *a, const struct ptype *b)
{
	uint64_t key = (uintptr_t)a * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)b * UINT64_C(0xc2b2ae3d27d4eb4f);

	return (size_t)(key ^ key >> 29);
}

/* with_unions: those of anonymous unions, too, else such a union is one field. 0 or -ENOMEM; -E2BIG: they are too many. */
int spm_fields_add(struct fields *f, const struct ptype *t, bool with_unions);
/* Of that name; the one in the same place if there are several. */
struct field *spm_field_find(const struct fields *f, const struct field *like);
/* The bit behind it. */
uint64_t spm_field_end(const struct field *f);

/* It is, or its last member ends with, an array of as many as there is room for. (Arrays without a length elsewhere are marks of a place.) */
bool spm_is_flexible(const struct ptype *t);

#endif
