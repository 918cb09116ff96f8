/* refs.h - what a program calls a version.
 *
 *   ref    base[~[N]]...
 *   base   BRANCH | TAG | NUMBER | BRANCH:NUMBER | [BRANCH]@TIME | nothing
 *   TIME   2026-11-20[T10:00[:30]]     local time: the newest version not after it
 *
 * ~N is the N-th version before. Where no branch is named, the current one is meant: of an open container the one that its points
 * extend, else the one that was switched to last, else main. A number is looked for on all branches.
 */
#ifndef SPM_REFS_PUBLIC_H
#define SPM_REFS_PUBLIC_H

#include "volume/volume.h"

enum { SPM_NAME_BYTES = 64 };

struct resolved {
	char branch[SPM_NAME_BYTES]; /* through which the version can be opened */
	bool is_branch; /* the ref is just the branch's name: its newest version, also when there are more */
	struct version_found found;
};
/* current: NULL: of the volume. 0, or -1 and the error is set: ENOENT, EINVAL, EUCLEAN, ... */
int spm_ref_resolve(int magic, const char *current, const char *ref, struct resolved *out);

/* The same, and the chain, read-only at that version: one that is dropped between the two is looked for anew. */
int spm_ref_open(int magic, const char *current, const char *ref, struct resolved *at, struct chain **out);
/* Read-only, at the version that the ref calls; NULL or "": the newest of the current branch. 0, or -1 and the error is set. */
int spm_chain_open_ref(int magic, const char *ref, struct chain **out);

/* The branch that was switched to last, or main. 0 or -1. */
int spm_current_branch(int magic, char branch[SPM_NAME_BYTES]);
int spm_current_branch_set(int magic, const char *branch);

/* Whether it can be the name of a branch or tag; else the error is set: EINVAL. */
bool spm_name_is_fit(const char *name);

#endif
