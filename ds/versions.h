/* versions.h - what the comparisons of all structures begin with: in which containers the two versions are. */
#ifndef SPM_DS_VERSIONS_H
#define SPM_DS_VERSIONS_H

/* *container becomes the ID for pSame, 0 for memory of no container. -1: failure, and errno. */
int spm_versions_find_one(const void *structure, int *container);
/* The same of two. 1: pDiffer may be asked, and gives ENOTSUP if they are not of one magic; 0: it can't tell anything; -1: failure, and
 * errno. */
int spm_versions_find(const void *old, const void *now, int container[2]);

#endif
