/* grown.h - whether the objects of a container have room for types that grew since its version was made.
 *
 *   root, and what pCSetType told of -> pointers, by the old types -> each object of a type that grew: is it one, alone, with room for more, and nothing there?
 *
 * An object has what was asked for, rounded up to its size class, so a field more often fits. It must not be one of an array, where it would be the
 * next one's beginning: that is sure only of what begins its object and is more than half of it. Types that lead to none that grew are passed
 * over. What only a void pointer leads to has no type, and is not looked at, unless the program told of it.
 */
#ifndef SPM_GROWN_H
#define SPM_GROWN_H

#include "container.h"
#include "types/compare.h"

/* Its pages are all there. 0, or -1 and the error is set: EPROTOTYPE: one has no room. */
int spm_grown_check(struct container *c, const struct types *old, const struct types_comparison *grown);

#endif
