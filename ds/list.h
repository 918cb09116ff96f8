/* list.h - see <softpm/list.h>; what list.c and list_diff.c share. */
#ifndef SPM_DS_LIST_H
#define SPM_DS_LIST_H

#include <softpm/list.h>

/* Nodes that were made in one list, or came into it one by one: see list.c. */
struct plist_owner {
	struct plist_owner *prev, *next; /* a ring of all that the list has */
	size_t inverted_nodes;           /* ~: how many, if it is not its list's own */
	uint64_t id;                     /* random */
};

/* What a node has to tell that it is of this owner: an address that nothing else holds. */
static inline const char *spm_list_mark(const struct plist_owner *o)
{
	return (const char *)o + 1;
}
static inline struct plist_owner *spm_list_owner(const struct plist_node *n)
{
	return (struct plist_owner *)(uintptr_t)(n->mark - 1);
}

/* Whether the invariants hold. */
bool spm_list_check(const struct plist *l);

#endif
