/* debug.h - the debug information of the modules of this process (libdwfl), and where types are defined in it.
 *
 * A module's is read when it is first asked for: that of its file, else of a separate one (by build ID, or .gnu_debuglink). A file that is not
 * what was loaded counts as none.
 */
#ifndef SPM_DEBUG_H
#define SPM_DEBUG_H

#include "types/types.h"

#include <elfutils/libdwfl.h>

/* What a name is of: tags and other names may be the same in C. */
enum debug_space { DEBUG_STRUCT, DEBUG_UNION, DEBUG_ENUM, DEBUG_OTHER };

struct debug_entry {
	uint64_t hash; /* of space and name */
	const char *name;
	Dwarf_Die die;
	enum debug_space space;
	bool is_scoped;      /* the name has more than the DIE says: C++ */
	bool is_declaration; /* only */
};
struct debug_module {
	struct types_module about;
	char *path;
	Dwfl_Module *dwfl;
	bool has_build_id, is_opened, is_used; /* used: types were taken from it */
	Dwarf *dwarf;                          /* NULL: has none */
	struct debug_entry *entry;             /* by hash */
	size_t entries, units;
	struct debug_entry **scoped; /* by address */
	size_t scoped_count;
	bool has_locals; /* types within functions are among them */
	bool is_short;   /* no memory for all of them */
};
struct debug {
	Dwfl *dwfl;
	struct debug_module *module; /* the program first */
	unsigned modules;
	char **text; /* names with scopes */
	size_t texts;
};

/* 0 or -ENOMEM, -ENOENT: the modules can't be listed. */
int spm_debug_open(struct debug *d);
void spm_debug_close(struct debug *d);
/* Whether it has debug information. */
bool spm_debug_has(struct debug *d, struct debug_module *m);
/* The same, and its names are known. */
bool spm_debug_is_indexed(struct debug *d, struct debug_module *m);
uint64_t spm_debug_hash(enum debug_space space, const char *name);
/* The definition of a name in the module. 1: *out is it (all of them are the same); 0: there is none; -EEXIST: there are different ones;
 * -ENOMEM. */
int spm_debug_find(struct debug *d, struct debug_module *m, enum debug_space space, const char *name, Dwarf_Die *out);
/* Adds what is defined within functions to what the module's names are found in. */
void spm_debug_index_locals(struct debug *d, struct debug_module *m);
/* With the scope that it is in, if it has one: C++. NULL: nameless. */
const char *spm_debug_name(const struct debug_module *m, Dwarf_Die *die);

/* Attributes. */
bool spm_die_type(Dwarf_Die *die, Dwarf_Die *out); /* DW_AT_type; false: none, that's void */
bool spm_die_number(Dwarf_Die *die, unsigned attribute, uint64_t *out);
bool spm_die_has(Dwarf_Die *die, unsigned attribute);
enum debug_space spm_die_space(int tag);
/* Where a member begins, in bits, from the beginning of what it is in; bits: of a bit field, else 0. false: no constant says it. */
bool spm_die_place(Dwarf_Die *member, uint64_t *bit, uint64_t *bits);
/* Of a definition: equal if two of them are the same. */
uint64_t spm_die_sum(Dwarf_Die *die);
int64_t spm_die_value(Dwarf_Die *enumerator);
/* How many an array has in this dimension, 0: not told. */
uint64_t spm_die_count(Dwarf_Die *subrange);

#endif
