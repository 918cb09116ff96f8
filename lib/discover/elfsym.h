/* elfsym.h - the symbols of a module's file, static functions included (libelf).
 *
 * A symbol is named by its name and, if it is local, by the source file that it comes from: `init` of a.c is not
 * `init` of b.c. A name that is still ambiguous is not found: a wrong function is worse than none.
 */
#ifndef SPM_ELFSYM_H
#define SPM_ELFSYM_H

#include "base/base.h"

struct elfsyms; /* .symtab and .dynsym of one file, copied: the file may change afterwards */

struct elfsym {
	const char *name;
	const char *file;  /* "" for a global symbol; lives as long as the struct elfsyms, as name does */
	uint64_t distance; /* from the symbol's start */
	bool is_function;
};

/* NULL: no such file, no symbols, no memory, or the file's build ID is another (id_bytes 0: not compared). */
struct elfsyms *spm_elfsyms_read(const char *path, const unsigned char *id, size_t id_bytes);
void spm_elfsyms_free(struct elfsyms *s);

/* The symbol that the module offset (virtual address in the file) lies in. */
bool spm_elfsyms_at(const struct elfsyms *s, uint64_t offset, struct elfsym *out);
/* The module offset of want->distance in the symbol of that name and file; false if there is none, if there are several,
 * or if it is too short. A function is never entered in the middle: its rebuilt code has another middle. */
bool spm_elfsyms_find(const struct elfsyms *s, const struct elfsym *want, uint64_t *offset);

#endif
