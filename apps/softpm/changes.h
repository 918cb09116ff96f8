/* changes.h - what changed between two versions, field by field, by the program's types. */
#ifndef TOOL_CHANGES_H
#define TOOL_CHANGES_H

#include "tool.h"

struct changed { /* an object, as pDiff tells it */
	uint64_t address, size, bytes;
	bool is_in_first, is_in_second;
};
/* Whether the second of the versions has types; what the first lacks is taken as the second says. */
bool changes_can(const struct listed *c, const char *second);
/* Prints a line for each, or adds an object to `list` if that is not NULL. Refs as for pDiff. limit: lines at most. TOOL_OK, or TOOL_NO and the
 * reason said. *has_more: there were more, or objects without a path. */
int changes_tell(const struct options *o, const struct listed *c, const char *first, const char *second,
                 const struct changed *object, size_t n, struct json_object *list, bool *has_more);

#endif
