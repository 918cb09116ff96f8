/* refs.h - names that lie beside the branches: tags, and the branch that is current.
 *
 * They are kept in a chain of their own, that of the branch without a name, as one page or more of entries; so a change is
 * one commit. The chain is there from the first name on.
 */
#ifndef SPM_REFS_H
#define SPM_REFS_H

#include "volume/internal.h"

/* Versions of one chain that must not be dropped: tagged ones, origins of branches. */
struct keepers {
	uint64_t *seq;
	size_t n;
};
/* -EUCLEAN: what some branches keep can't be read; unless `all`, what others keep is enough then. */
int spm_keepers_find(struct chain *c, bool all, struct keepers *k);
bool spm_keepers_has(const struct keepers *k, uint64_t seq);
void spm_keepers_free(struct keepers *k);

#endif
