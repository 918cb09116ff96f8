/* type_text.h - types as text, to compare: what a program would declare, with offsets.
 *
 *   struct user 48 { id@0 int; name@4 char[28]; next@32 *struct user; flag@40:0+3 unsigned int; pos@44 { x@0 float; }; }
 *   enum color 4 { RED=0 BLUE=-1 }
 */
#ifndef TEST_TYPE_TEXT_H
#define TEST_TYPE_TEXT_H

#include "softpm/types.h"

#include <stdio.h>

/* How a member of the type says it. */
void type_name_print(FILE *out, const struct ptype *t);
/* A line for the type. */
void type_print(FILE *out, const struct ptype *t);
/* Lines for it and all that it leads to that has a name, in the order that they are met; to be freed. */
char *type_text(const struct ptype *root);

#endif
