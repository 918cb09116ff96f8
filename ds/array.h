/* array.h - see <softpm/array.h>. */
#ifndef SPM_DS_ARRAY_H
#define SPM_DS_ARRAY_H

#include <softpm/array.h>

/* Whether the invariants hold. */
bool spm_array_check(const struct parray *a);

#endif
