/* naming.h - the paths of objects: a walk from the root, breadth first, as far as it takes to meet those that are asked for.
 *
 *   object   one node each, when something leads to it for the first time: from which object, by which steps, as what
 *   queue    what is to be looked into: an object, a struct within one, a list, a structure of softpm-ds; a few hundred children of each in turn,
 *            so a large array near the root does not keep the rest waiting
 *
 * What it costs: reading the objects that lie nearer to the root than the last one asked for. A version does not keep who leads to an object: that
 * would be written at each point. So there is a limit, in children looked at; for objects that were not met until then there is the way up (climb.h), by
 * which a second walk is guided.
 */
#ifndef TOOL_NAMING_H
#define TOOL_NAMING_H

#include "climb.h"
#include "path.h"

enum naming_kind {
	NAMED_OBJECT, /* a place of its own */
	NAMED_TEXT,   /* what a char * leads to */
	NAMED_OWN,    /* of a structure of softpm-ds: its entries are told */
	NAMED_ENTRY,  /* one of these: it lies in an object that is asked for */
};
struct named { /* an object */
	uint64_t object, bytes;
	uint32_t from; /* number of the one that leads there; of the root its own */
	enum naming_kind kind;
	struct place place; /* what it was taken for; of text: the pointer */
	bool is_led;        /* ->, not ., comes before its members */
	enum shape shape;   /* of what is inside it, and of elements how many */
	uint64_t count;
	uint64_t link;      /* of a list's element: where the pointer to the next one is, + 1 */
	char *step;         /* from there */
	uint64_t all_bytes; /* with all objects that were met through it first: naming_sum */
};
struct naming;
/* wanted: addresses of objects; n 0: all that there are. fn for each that is met, and for entries in them: `path` is good during the call; until it
 * returns non-zero. children_most: how many are looked at; UINT64_MAX: all. */
struct naming *naming_do(struct plook *look, const uint64_t *wanted, size_t n, uint64_t children_most,
                         const struct climb *guide,
                         void (*fn)(const struct named *named, const struct place *place, const char *path, void *arg),
                         void *arg);
void naming_free(struct naming *names);
/* Whether the walk came to its end, rather than to its limit. */
bool naming_is_whole(const struct naming *names);
size_t naming_count(const struct naming *names);
const struct named *naming_at(const struct naming *names, size_t i);
/* The node of the object; NULL: it was not met. */
const struct named *naming_find(const struct naming *names, uint64_t object);
/* Its path; to be freed. */
char *naming_path(const struct naming *names, const struct named *named);
/* Adds up all_bytes. */
void naming_sum(struct naming *names);

#endif
