/* string.h - see <softpm/string.h>. */
#ifndef SPM_DS_STRING_H
#define SPM_DS_STRING_H

#include <softpm/string.h>

/* Whether the invariants hold. */
bool spm_string_check(const struct pstring *s);

#endif
