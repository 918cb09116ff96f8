/* same.h - whether memory of two containers means the same, though they lie at different places. See softpm.h, pSame. */
#ifndef SPM_SAME_H
#define SPM_SAME_H

#include "moved.h"

/* Where two containers lie; NULL: where their versions say, or no container at all. */
struct places {
	const struct moved *moved[2];
};

/* Words are compared, if `has_pointers`, as those at addresses that are multiples of 8. */
bool spm_is_same(const struct places *p, const void *in_first, const void *in_second, size_t bytes, bool has_pointers);

#endif
