/* types.h - what a program's types look like in memory, as its debug information tells.
 *
 * Typedefs and qualifiers are left out: what has a name of its own is called by that; a struct, union or enum without one by its typedef.
 * A pointer's type is what the program told of the field (pCSetFieldType), if it did. Types may lead back to themselves by pointers. By value they don't, and structs, unions and arrays are within each other 64 deep at most.
 */
#ifndef SOFTPM_TYPES_H
#define SOFTPM_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ptype_kind {
	PTYPE_VOID,
	PTYPE_BOOL,
	PTYPE_CHAR, /* of one byte: signed or not */
	PTYPE_INT,
	PTYPE_UNSIGNED,
	PTYPE_FLOAT,
	PTYPE_ENUM,
	PTYPE_POINTER, /* of 8 bytes; of C++: references too */
	PTYPE_FUNCTION,
	PTYPE_ARRAY, /* of several dimensions: an array of arrays */
	PTYPE_STRUCT,
	PTYPE_UNION,
	PTYPE_UNKNOWN, /* no more than its size */
};

struct ptype;
struct pmember;
/* Which member of a union holds, as the program told (pCSetUnion): by a number beside it. */
struct pchosen {
	int64_t value;
	const struct pmember *member; /* NULL: none holds */
};
struct pchoice {
	int64_t tag_at; /* of the number, from the union's beginning on: mostly before it */
	const struct pmember *
	        tag; /* an integer, enum, bool or character of at most 8 bytes, also a bit field; its own offset says nothing here */
	const struct pchosen *of; /* compared as the tag's bits: -1 and 255 are the same for a byte */
	size_t n;
};
struct pmember {
	const char *name; /* "": an anonymous struct or union, or a base class */
	const struct ptype *type;
	uint64_t offset;              /* in bytes; of a bit field: of the byte that its lowest bit is in */
	unsigned bit_offset, bits;    /* of a bit field: its lowest bit, from `offset` on; how many, else 0 */
	const struct pchoice *choice; /* of a union: NULL: nobody told which member holds */
};
struct penumerator {
	const char *name;
	int64_t value;
};
struct ptype {
	enum ptype_kind kind;
	const char *name;       /* "struct user", "unsigned long", or "" */
	uint64_t bytes;         /* 0: not known (only declared), or none */
	const struct ptype *of; /* what a pointer leads to; what an array is of, which has bytes; else NULL */
	uint64_t count;         /* of an array; 0: as many as there is room for in the object (a flexible array) */
	const struct pmember *member;    /* of a struct or union, in the order of the declaration */
	const struct penumerator *value; /* of an enum */
	size_t members, values;
};

#ifdef __cplusplus
}
#endif
#endif
