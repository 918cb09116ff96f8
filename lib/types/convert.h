/* convert.h - memory of one layout made into memory of another, by the names of fields.
 *
 *    old types --+
 *                +-- struct types_pair: what is the old type called by which path, and what the new one --> bytes; places of what was inside
 *    new types --+
 *
 * A pair is made when it is asked for, and those of all that is within it by value. What pointers lead to is a pair of its own, by the fields that
 * the pointers are in; where the new type has no such field, or it tells nothing, the new type of the same name is meant.
 *
 * By value: numbers keep their value or do not fit, enumerators keep their name, arrays keep as many elements as both have, pointers and
 * unions of one layout keep their bytes; of a union whose member is told (rules.h) that one is converted. Fields that went are dropped, others zero. What can't be done so is a *problem*: unless it
 * is zero, which it stays.
 *
 * The old types come from a volume and may be anything that spm_types_load takes.
 */
#ifndef SPM_CONVERT_H
#define SPM_CONVERT_H

#include "types/types.h"

struct types_renamed {
	const char *was, *is;
};
struct pair_step {
	const char *name;
	uint64_t from_bit, to_bit;
	unsigned from_bits, to_bits; /* of bit fields */
	uint32_t pair;
	bool is_open, is_open_now;    /* an array that goes on to the end of the object; in the new struct */
	const struct pchoice *choice; /* of the old union: which member holds; NULL: nobody told */
	bool is_gone;                 /* the new one has no such field: of the pair there is only the old type */
};
struct types_pair {
	const struct ptype *old, *new; /* new NULL: there is none */
	bool is_same;                  /* the bytes mean the same in both */
	bool fits;                     /* or do where the new one has more */
	bool has_pointers;             /* the old one, by value */
	bool is_flexible;              /* ends with an array of as many as there is room for */
	bool is_wanted;                /* the caller's: it, or what is in it, is to be converted even if it fits */
	void *own;                     /* the caller's: of this type itself */
	struct pair_step *step;        /* of structs and unions */
	size_t steps;
	uint32_t inner; /* of an array's elements; of what a pointer leads to (spm_pair_pointee) */
	bool has_inner;
};
struct conversion {
	const struct types *old, *new;
	const struct types_renamed *renamed;
	size_t renames;
	struct types_pair *pair;
	size_t pairs, room;
	uint32_t *slot; /* pair + 1, by its types; 0: free */
	size_t slots;
	bool *has_pointers, *has_pointers_new; /* of each type; by value */
	/* For each pair that was made, after those within it: sets is_wanted and own. */
	void (*made)(struct types_pair *pair, void *arg);
	void *arg;
};

enum { PAIR_NONE = -1 };

/* 0 or -ENOMEM. To be freed in either case. */
int spm_conversion_begin(struct conversion *c);
void spm_conversion_free(struct conversion *c);
/* Its number; new NULL: none. -ENOMEM; -E2BIG: they are too many. Pointers to pairs are void then. */
int64_t spm_pair_get(struct conversion *c, const struct ptype *old, const struct ptype *new);
/* Of a pair of pointers (or a pointer that went). PAIR_NONE: what they lead to has no size. Else as spm_pair_get. */
int64_t spm_pair_pointee(struct conversion *c, uint32_t pointers);
/* Whether within the first, at an offset, there is the other. */
bool spm_pair_has(const struct conversion *c, uint32_t pair, uint64_t offset, uint32_t other);
/* How many bytes the new one needs where the old one has so many: more than one by itself if it is flexible. */
uint64_t spm_pair_bytes(const struct conversion *c, uint32_t pair, uint64_t room);
/* Where what was at this offset is by now. wanted: a pair; or, else, wanted_new: that is what is looked for, where several begin there; else it is the outermost.
 * *is_exact: it was found. false: it went. */
struct pair_place {
	int64_t wanted;
	const struct ptype *wanted_new;
	uint64_t to;
	bool is_exact, has_any;
};
bool spm_pair_place(const struct conversion *c, uint32_t pair, uint64_t offset, struct pair_place *place);

/* Converts one after the other. */
struct converting {
	const struct conversion *c;
	/* After all of a pair with `own` was converted; 0; 1: what is a problem within is none any more; or -errno, then it ends. */
	int (*mend)(const struct types_pair *pair, const void *from, void *to, void *arg);
	void *arg;
	char problem[320]; /* the first one: "field pos.x: 70000 does not fit into short", or "" */
	unsigned problems;
	/* Private. */
	const struct pair_path *path;
	const unsigned char *object;
	uint64_t object_bytes;
};
/* `to` is zero. 0, -EDOM: there are problems; or what mend gave. */
int spm_convert(struct converting *v, uint32_t pair, const void *from, uint64_t room_from, void *to, uint64_t room_to);

#endif
