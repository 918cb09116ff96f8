/* path.h - what places in a version are called, from the root on, as C has it.
 *
 *     root->index.buckets[5]       members, by . or -> after pointers and others alike; elements of arrays, vectors and lists
 *     root->users["bob"].age       values of maps, by their keys as they are shown; [#7]: the entry that is shown as the eighth
 *     root->blob+16                the word at byte 16 of memory whose type is not known
 *     (struct user *)0x6a8100002040->age      from an address on; 0x6a8100002040 alone: of no type
 */
#ifndef TOOL_PATH_H
#define TOOL_PATH_H

#include "place.h"

/* A way, one step after the other. */
struct step {
	const struct step *before; /* NULL: the first */
	char text[];
};
struct step *step_make(const struct step *before, const char *text);
/* The way in one piece, and `behind` behind it; to be freed. */
char *step_path(const struct step *last, const char *behind);

/* The place that a path calls. NULL or "": the root. *from: where its last step [n..] says to begin, else 0. -1: there is none: said to
 * standard error, with what is there instead. */
int path_find(struct plook *look, const char *path, struct place *out, uint64_t *from);
/* What path calls the place at this offset of one of that type, with `.` or, if it is led to, `->` before the first member; "+n" where that is
 * not known. */
void path_within(const struct ptype *type, uint64_t offset, bool is_led, char *out, size_t room);
struct place place_root(struct plook *look);

#endif
