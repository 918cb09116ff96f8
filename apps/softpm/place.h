/* place.h - places in a version that is looked at: memory taken as a type, what it means, and what is inside.
 *
 *   struct place   ---place_value--->  a number, text, a name                 what one line can tell
 *                  ---place_open---->  struct inside: members, elements, ...   following a pointer if it is one
 *                                          ---cursor_next--->  one child after the other, each with the step that leads there
 *
 * Without a type memory is words: those that lead to objects or to code are pointers, runs of others are text or words; zeros are left out. Linked
 * lists, heads of <sys/queue.h> and the structures of softpm-ds are rows of elements.
 *
 * All memory is untrusted: what a program left there, or whoever made the volume. Nothing is read beyond its object.
 */
#ifndef TOOL_PLACE_H
#define TOOL_PLACE_H

#include "tool.h"

#include "../../ds/see.h"
#include <softpm/look.h>
#include <stdio.h>

struct place {
	uint64_t address, bytes;  /* bytes: to the end of what it may be */
	const struct ptype *type; /* NULL: not known */
	unsigned bit, bits;       /* of a bit field: its lowest bit, and how many; else 0 */
	bool is_plain;            /* memory that has no pointers */
	bool is_object;           /* called by its address, as what a pointer leads to */
	const struct pmember *
	        chosen; /* a union: it is that member, of which the program told when which of its own holds; else NULL */
};

/* ---- values ---- */

enum value_kind {
	VALUE_NONE, /* a struct, an array, a set's element: what there is to tell is inside */
	VALUE_INT,
	VALUE_UNSIGNED,
	VALUE_FLOAT,
	VALUE_BOOL,
	VALUE_ENUM,    /* name is "" if the number has none */
	VALUE_NULL,    /* a pointer */
	VALUE_POINTER, /* to an object: number is its address */
	VALUE_NOWHERE, /* to where there is no object */
	VALUE_CODE,    /* to code or static data of the program: name */
	VALUE_TEXT,    /* bytes, which are text; of a pointer, number is where it leads */
	VALUE_WORDS,   /* bytes that are not */
	VALUE_DAMAGE,  /* name: a sentence */
};
struct value {
	enum value_kind kind;
	int64_t integer;
	uint64_t number;
	double real;
	bool is_char; /* an integer, or words, of these */
	bool is_pointer;
	char name[512];
	unsigned char *bytes; /* n of all */
	uint64_t n, all;
};
/* At most so many bytes of text or words are read. To be released with value_free. */
void place_value(struct plook *look, const struct place *p, uint64_t most, struct value *out);
void value_free(struct value *v);
bool value_is_same(const struct value *a, const struct value *b);
/* Whether a character (text.c) may be in text: not all that a terminal obeys. */
bool text_is_usual(const unsigned char *s, size_t bytes);
/* As one line has it, whatever it is: "-3", "'a'", "\"text\"", "handler". */
void value_print(FILE *to, const struct value *v);
void value_json(FILE *to, const struct value *v);                  /* as JSON */
void text_quote(FILE *to, const unsigned char *bytes, uint64_t n); /* as C has it, without the quotes */
void json_quote(FILE *to, const unsigned char *bytes, uint64_t n); /* as JSON has it, with them */
bool type_is_string(const struct ptype *type);                     /* struct pstring */
/* "struct user *", "int[10]", in one of the buffers of text.c; "": not known. */
const char *type_text(const struct ptype *type);

/* ---- what is inside ---- */

enum shape {
	SHAPE_LEAF,     /* nothing */
	SHAPE_MEMBERS,  /* of a struct or union */
	SHAPE_ELEMENTS, /* one behind another */
	SHAPE_LIST,     /* linked, by the pointer at next_at */
	SHAPE_SEEN,     /* of the ds library, or of memcachedb */
	SHAPE_WORDS,    /* of no known type */
};
struct inside {
	enum shape shape;
	bool is_led;           /* the place is a pointer: then */
	struct pobject object; /* what it leads into */
	struct place
	        of; /* has the members, elements or words; of a list: the first element, or the head's pointer to it */
	uint64_t count; /* of elements; UINT64_MAX: not known */
	uint64_t next_at;
	enum spm_seen_kind seen;
	const struct ptype *key, *value; /* of what is seen; NULL: not known */
	const struct pmember *only;      /* of a union the member that holds; NULL: not known */
	bool is_told;                    /* it is a pointer to an object of which the program told what it is */
};
/* 0; or -1: damage, pErrorMsg() tells. */
int place_open(struct plook *look, const struct place *p, struct inside *in);
/* Of a union: whether it is known which member holds; NULL: none does. */
bool place_holds(struct plook *look, const struct place *p, const struct pmember **out);
/* What an object is that a pointer to `type` leads to the beginning of: as the program told (pCSetType), or NULL: as the pointer says. */
const struct ptype *told_type(const struct pobject *o, uint64_t target, const struct ptype *type);
/* Whether its elements have keys. */
bool inside_is_map(const struct inside *in);
/* Whether all its elements are numbers: then they are told in one line. */
bool inside_is_numbers(const struct inside *in);

enum { STEP_BYTES = 512 };
struct child {
	char step[STEP_BYTES]; /* ".name", "->name", "[3]", "[\"key\"]", "+16" */
	struct place place;
	bool is_link; /* to another element of the list that it is in */
};
struct cursor {
	struct plook *look;
	struct inside in;
	uint64_t next; /* number of the child that comes next; words: its offset */
	uint64_t link; /* list: address of the element that comes next; 0: none */
	struct spm_seeing *seeing;
	bool is_element; /* members: of an element of a list, links are told */
};
/* in->shape is no leaf. -1: damage, or no memory. */
int cursor_open(struct plook *look, const struct inside *in, struct cursor *c);
void cursor_close(struct cursor *c);
/* 1; 0: there is no more; -1: damage, errno and `why` tells. */
int cursor_next(struct cursor *c, struct child *out, const char **why);
/* Elements before the n-th are left out. 1, or 0: it has not so many; -1. */
int cursor_skip(struct cursor *c, uint64_t n, const char **why);
/* How many come yet; UINT64_MAX: not known. */
uint64_t cursor_left(const struct cursor *c);

/* The member of that name, also one of an anonymous struct or union within. Its offset is added to *offset. */
const struct pmember *member_find(const struct ptype *type, const char *name, uint64_t *offset);
/* A place's member. */
struct place place_member(const struct place *p, const struct pmember *m);
/* What a pointer of this type leads to, taken as such. */
struct place place_at(struct plook *look, uint64_t address, const struct ptype *type);

/* For what no program told the type of. */
extern const struct ptype type_pointer, type_string, type_words;

#endif
