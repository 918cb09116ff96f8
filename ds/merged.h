/* merged.h - see <softpm/common.h>. */
#ifndef SPM_DS_MERGED_H
#define SPM_DS_MERGED_H

#include <softpm/common.h>

/* Adds to the list; -1: ENOMEM, nothing was added. */
int spm_merged_add(struct pmerged *m, const struct pconflict *conflict);

#endif
