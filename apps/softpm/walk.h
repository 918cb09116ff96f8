/* walk.h - from a place to all that it leads to, a row for each place: what softpm browse shows.
 *
 * Depth first, each object once: who leads to it again is told by which path it was seen. A list's elements are beside each other, not within each
 * other. Nothing is done by recursion, and memory grows with the objects that were seen, not with what they hold.
 */
#ifndef TOOL_WALK_H
#define TOOL_WALK_H

#include "path.h"

enum { WALK_DEPTH_MOST = 100 }; /* what lies deeper comes as a row of its own behind all others, by its address */

struct walk_limits {
	unsigned depth;    /* rows below the first; UINT32_MAX: all */
	uint64_t elements; /* of each array, list, map, or words; UINT64_MAX: all */
	uint64_t from;     /* the first place's elements before that are left out */
	uint64_t text;     /* bytes of a text, or words */
};
enum row_more {
	MORE_NONE,
	MORE_DEPTH,    /* what is inside was not told, as it is too deep */
	MORE_ELEMENTS, /* the row stands for elements that come yet: `more` of them, UINT64_MAX: nobody knows */
	MORE_LATER     /* comes behind, by its address */
};
struct row {
	const struct step *before; /* NULL: the first */
	const char *step;
	unsigned depth;
	const struct place *place;
	const struct inside *inside;
	const struct value *value;
	uint64_t count;   /* of elements, as far as known; UINT64_MAX */
	bool is_expanded; /* rows of what is inside follow */
	bool is_link;     /* to another element of the same list */
	const char *seen; /* by which path it was seen; NULL: not yet */
	enum row_more has_more;
	uint64_t more;
	const char *damage; /* NULL, or why the row has no more */
};
/* fn for each row until it returns non-zero, which is returned. */
int walk(struct plook *look, const struct place *place, const char *path, const struct walk_limits *limits,
         int (*fn)(const struct row *row, void *arg), void *arg);

#endif
