/* types.h - layouts of types as bytes, to be kept with a container, and back.
 *
 *    debug information --dwarf.h--> struct draft --draft.h--> bytes --spm_types_load--> struct types, a graph of struct ptype
 *
 * The bytes: "SPTYPES1", then numbers (LEB128: seven bits each byte, the lowest first, the upper bit says that more follow; at most ten
 * bytes) and names (that end with a zero byte), without gaps:
 *
 *   modules that the types were read from    number, then of each: flags (1: the program itself), name, bytes of its build ID, these
 *   root                                     its name, as the program gave it; the type is number 0
 *   types, members, values                   how many there are in all
 *   each type                                kind, name, bytes, then by kind
 *       pointer                              number of the type that it leads to
 *       array                                number of the type that it is of; count
 *       struct, union                        members; of each: name, number of the type, offset, bits and, if there are any, bit offset
 *       enum                                 values; of each: name, value (0, -1, 1, -2, ... are 0, 1, 2, 3, ...)
 *
 * If the program told more (rules.h), they begin with "SPTYPES2", and behind the types come
 *
 *   further roots                            their number; of each: its name, number of its type + 1 (0: the build of the program that was asked
 *                                            last has none of that name)
 *   rules                                    their number; of each: path, number of the type that its first name calls + 1 (0: there is none);
 *                                            0 and the number of a root that the field leads to (the first is 0); or 1, the tag's path, cases; of
 *                                            each: value, as an enum's, and name of the member ("": none)
 *
 * They come from a volume, so they may be anything. What spm_types_load takes keeps these invariants
 *
 *  1. Every type that is named is there; pointers have 8 bytes, scalars 1 to 16, functions and void none, nothing more than 2^46.
 *  2. By value, types are within each other at most TYPES_DEPTH_MOST deep, so none is within itself.
 *     With what these have, and so on, a type has at most TYPES_PARTS_MOST members and elements (of an array one counts).
 *  3. An array is of something with bytes, and has count times as many.
 *  4. A member lies in its struct or union, a bit field in a scalar of its type's size.
 */
#ifndef SPM_TYPES_H
#define SPM_TYPES_H

#include "base/base.h"
#include "softpm/types.h"

enum { TYPES_DEPTH_MOST = 64, TYPES_MODULES_MOST = 64, TYPES_NAME_MOST = 4096, TYPES_ID_BYTES = 32 };
enum { TYPES_BYTES_MOST = 16 << 20, TYPES_PARTS_MOST = 1 << 20 };
enum { TYPES_MODULE_IS_MAIN = 1 };
enum { TYPES_ROOTS_MOST = 1024, TYPES_RULES_MOST = 1024, TYPES_CASES_MOST = 65536 }; /* cases: of all rules */

struct types_module {
	const char *name;
	unsigned flags, id_bytes;
	unsigned char id[TYPES_ID_BYTES];
};
struct types_root {
	const char *name;
	const struct ptype *type; /* NULL: there is none of that name; not of the first */
};
struct types_case {
	int64_t value;
	const char *member; /* "": none */
};
/* What the program told of a field: what it leads to, or which member of a union holds. */
struct types_rule {
	const char *path; /* "struct node.data": a type's name, members */
	const char *tag;  /* of a union: path of its tag from the same type on; else NULL */
	unsigned root;    /* of a field */
	const struct types_case *of;
	size_t cases;
	bool fits; /* the types are such that it says something */
};
struct types {
	unsigned char *bytes; /* as loaded; names lead into them */
	size_t n;
	struct types_module module[TYPES_MODULES_MOST]; /* the first is the root's */
	unsigned modules;
	const char *root;             /* its name; the type is type[0] */
	struct types_root *all_roots; /* that one is the first */
	size_t roots;
	struct types_rule *rule;
	size_t rules;
	size_t core_bytes;       /* of `bytes`, before further roots and rules */
	struct types_made *made; /* by rules: rules.c */
	struct ptype *type;
	struct pmember *member;
	struct penumerator *value;
	size_t types, members, values;
};

/* Copies the bytes. -EINVAL: malformed; -ENOMEM. */
int spm_types_load(const void *bytes, size_t n, struct types **out);
void spm_types_free(struct types *t); /* NULL: nothing */
/* Also roots by the names that the program gave it. NULL: none has it. Of several the first one. */
const struct ptype *spm_types_named(const struct types *t, const char *name);
/* Its number, or t->roots. */
size_t spm_types_root(const struct types *t, const char *name);

#endif
