/* array.h - see <softpm/array.h>. */
#ifndef SPM_DS_ARRAY_H
#define SPM_DS_ARRAY_H

#include <softpm/array.h>

/* Whether the invariants hold. */
bool spm_array_check(const struct parray *a);

/* Two vectors whose elements are compared (array_diff.c). */
struct array_pair {
	const struct parray *a[2];
	int id[2]; /* their containers, 0: none */
	bool is_plain;
};
/* 1: pDiffer may be asked; 0: it can't tell anything; -1: failure, and errno. */
int spm_array_pair_begin(struct array_pair *p, const struct parray *old, const struct parray *new);
/* Whether n elements at these places are the same: bytes, or pointers to the same place in both containers. */
bool spm_array_pair_is_same(const struct array_pair *p, const void *old, const void *new, size_t n);

#endif
