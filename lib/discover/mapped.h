/* mapped.h - what is mapped in this process besides the heap: modules, and everything else.
 *
 * Process-wide. Everything but spm_mapped_floor is called between lock and unlock; pointers returned are good until the
 * unlock or the next refresh. Lock order: this lock, then the loader's.
 */
#ifndef SPM_MAPPED_H
#define SPM_MAPPED_H

#include "discover/elfsym.h"

enum { MODULE_RANGES_MOST = 12, MODULE_NAME_BYTES = 256, MODULE_ID_BYTES = 32 };

struct module_here {
	uint64_t base;
	uint64_t start[MODULE_RANGES_MOST], end[MODULE_RANGES_MOST]; /* its PT_LOAD segments */
	unsigned ranges;
	bool is_main;
	bool has_build_id; /* else id is a hash of the segments that are not writable */
	unsigned char id[MODULE_ID_BYTES];
	unsigned id_bytes;
	char path[4096];
	char name[MODULE_NAME_BYTES]; /* path without folders */
	struct elfsyms *syms;         /* read when first asked for */
	bool syms_were_read;
};

void spm_mapped_lock(void);
void spm_mapped_unlock(void);

/* Renews the list of modules if the loader has loaded or unloaded any: about 50 ns if it has not. */
void spm_mapped_refresh(void);
/* Changes with every renewal of the list. */
uint32_t spm_mapped_generation(void);
/* No module or mapping that is known lies below; at least 0x10000. Takes no lock: for a first, cheap comparison. */
uint64_t spm_mapped_floor(void);

unsigned spm_mapped_modules(void);
struct module_here *spm_mapped_module(unsigned i);
/* The module that has this address in a segment, or NULL. */
struct module_here *spm_mapped_module_at(uint64_t address);
bool spm_module_has(const struct module_here *m, uint64_t address);
/* NULL: its file has no symbols, or is not what was loaded. */
const struct elfsyms *spm_module_syms(struct module_here *m);

/* What is mapped at an address that belongs to no module, in words ("stack", "heap of libc", a file's name), or NULL: nothing. */
const char *spm_mapped_other(uint64_t address);

#endif
