/* merged.c - the list of conflicts that a merge leaves. */
#include "merged.h"

#include <stdlib.h>

int spm_merged_add(struct pmerged *m, const struct pconflict *conflict)
{
	/* Doubled at each power of two: a size of its own would be one more field that users see. */
	if (!(m->unresolved & (m->unresolved - 1))) {
		size_t room = m->unresolved ? 2 * m->unresolved : 1;
		struct pconflict *list = realloc(m->conflict, room * sizeof(*list));

		if (!list)
			return -1;
		m->conflict = list;
	}
	m->conflict[m->unresolved++] = *conflict;
	return 0;
}

void pmerged_free(struct pmerged *m)
{
	free(m->conflict);
	*m = (struct pmerged){0};
}
