/* elfsym.h - symbols of a module's file, static functions included (libelf). */
#ifndef SPM_ELFSYM_H
#define SPM_ELFSYM_H

#include "base/base.h"

/* The symbol that the module offset (virtual address in the file) lies in: name (cut to room) and distance from its start. */
bool spm_elfsym_name(const char *path, uint64_t offset, char *name, size_t room, uint64_t *distance);
/* The module offset of a symbol; false if there is none of that name. */
bool spm_elfsym_find(const char *path, const char *name, uint64_t *offset);

#endif
