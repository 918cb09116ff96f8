/* dwarf.h - the layouts of a type and of all that it leads to, from the debug information of this process's modules.
 *
 * A name is looked for in one module first (the one that asks, or where it was found before), then in the program, then in all others.
 * Units that define it differently are an error, and so are several of the others that do. A type that is only declared where it is
 * needed is taken from any unit or module that defines it; if these differ, it stays one without size.
 */
#ifndef SPM_DWARF_H
#define SPM_DWARF_H

#include "types/types.h"

/* Where to look first. */
struct types_near {
	const void *address;               /* in the module; NULL: not told */
	const struct types_module *module; /* the same, or one with its name; NULL: not told */
};
/* As bytes (types.h), to be freed. -ENOENT: there is no such type; -EINVAL: it is defined differently; both say in `why` what to do;
 * -ENODATA, instead of ENOENT: no module has debug information that tells of types at all; -E2BIG, -ENOMEM. */
int spm_types_read(const char *name, const struct types_near *near, void **bytes, size_t *n, char *why, size_t room);
/* The same for several roots (types.h): of the may_lack ones behind the first there may be no such types. */
struct types_asked {
	const char *const *name;
	size_t n, may_lack;
};
int spm_types_read_all(const struct types_asked *asked, const struct types_near *near, void **bytes, size_t *n,
                       char *why, size_t room);
/* What types are in this process, with their roots and what was told of them by rules. root: instead of the first; NULL: that one. more: another
 * root behind all others, which must be there; NULL: none. Errors as above. */
int spm_types_reread(const struct types *as, const char *root, const char *more, const struct types_near *near,
                     struct types **out, char *why, size_t room);
/* Whether the root's module is in this process, as it was, and of the others that it was read from none is here as another build. */
bool spm_types_are_here(const struct types *t);

#endif
