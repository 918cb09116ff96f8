/* pointers.h - which words of memory hold pointers, as the program's types say, and what these lead to.
 *
 * What a slot is taken for is its kind. A kind claims of each word of the slot what it is: a number, in which no pointer can be, or a pointer
 * to a slot of some kind.
 *
 *     struct node { struct node *next; long n; void *more; char text[20]; }      claims: node, plain, any, any, any, any ...
 *
 * A number is only what some type says to be one: integers, floats, enums, bit fields. Everything else may be a pointer to anything:
 *
 *   - void *, char *, pointers to functions and to what is only declared
 *   - arrays of char (memory for anything), uintptr_t and intptr_t
 *   - words of a union whose members disagree; words that no member covers (who derives from a struct may use its padding)
 *   - what lies behind the first struct in a slot: a second one, a flexible array, or the rest of a larger struct that begins with it; a
 *     pointer to the first does not tell which
 *
 * Nobody derives from numbers and pointers, so a slot that a long * leads to has nothing but numbers, and one that a T ** leads to nothing but
 * pointers to T. If it is something else after all, another pointer tells so: spm_pointers_choose.
 */
#ifndef SPM_POINTERS_H
#define SPM_POINTERS_H

#include "base/base.h"
#include "softpm/types.h"

enum {
	KIND_NONE,  /* never learned: found by no trace, but restored */
	KIND_ANY,   /* found, but no pointer to its start says what it is */
	KIND_MIXED, /* several say that it is what can't be one */
	KIND_PLAIN, /* numbers */
	KIND_FIRST, /* from here on those of this program */
	KINDS_MOST = 65536
};
enum { CLAIM_PLAIN = 0 }; /* else the kind of what it leads to */

struct pointer_kind {
	uint32_t first, words; /* its claims of the first words; as many as its type has */
	uint32_t beyond;       /* of all words behind these */
	uint32_t reserved;
};
struct pointers {
	struct pointer_kind *kind;
	unsigned kinds;
	uint16_t *claim;
	uint32_t claims;
	uint16_t *root; /* kinds of the types that were asked for */
	size_t roots;
};

/* From a graph of types, and those of it that something is of that no pointer leads to (NULL: not known). NULL: no memory. */
struct pointers *spm_pointers_new(const struct ptype *type, size_t types, const struct ptype *const *root,
                                  size_t roots);
void spm_pointers_free(struct pointers *p); /* NULL: nothing */

static inline unsigned spm_pointers_claim(const struct pointers *p, unsigned kind, uint64_t word)
{
	const struct pointer_kind *k = &p->kind[kind];

	return word < k->words ? p->claim[k->first + word] : k->beyond;
}
/* A slot that was taken for `has` is led to as `comes`, both from KIND_PLAIN on. What it is taken for from here on: the one that says more, if
 * they agree as far as both say something (a struct, and one that begins with it), else KIND_MIXED. */
unsigned spm_pointers_choose(const struct pointers *p, unsigned has, unsigned comes);
/* The same for a pointer to word `at` of the slot. */
unsigned spm_pointers_choose_within(const struct pointers *p, unsigned has, uint64_t at, unsigned comes);

#endif
