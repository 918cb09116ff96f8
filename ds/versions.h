/* versions.h - what the comparisons of all structures begin with: in which containers the two versions are. */
#ifndef SPM_DS_VERSIONS_H
#define SPM_DS_VERSIONS_H

#include <stdbool.h>
#include <stddef.h>

/* *container becomes the ID for pSame, 0 for memory of no container. -1: failure, and errno. */
int spm_versions_find_one(const void *structure, int *container);
/* The same of two. 1: pDiffer may be asked, and gives ENOTSUP if they are not of one magic; 0: it can't tell anything; -1: failure, and
 * errno. */
int spm_versions_find(const void *old, const void *now, int container[2]);

/* Whether two values, in containers with these IDs, are the same: bytes or, if they are not plain, pointers to the same place in both. NULL: no
 * value. -1: failure. */
int spm_values_same(size_t bytes, bool are_plain, int first, const void *value, int second, const void *other);

#endif
