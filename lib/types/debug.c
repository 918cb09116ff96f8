/* debug.c - see debug.h. */
#include "types/debug.h"
#include "discover/mapped.h"

#include <assert.h>
#include <dwarf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static char *default_path; /* NULL: libdwfl's */
static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
                                         .find_debuginfo = dwfl_standard_find_debuginfo,
                                         .section_address = dwfl_offline_section_address,
                                         .debuginfo_path = &default_path};

/* ---- modules ---- */

static bool module_copy(struct debug_module *to, const struct module_here *from)
{
	char *name = strdup(from->name);

	to->path = strdup(from->is_main ? "/proc/self/exe" : from->path);
	to->about = (struct types_module){
	        .name = name, .flags = from->is_main ? TYPES_MODULE_IS_MAIN : 0, .id_bytes = from->id_bytes};
	static_assert(sizeof(to->about.id) >= MODULE_ID_BYTES, "a module's ID");
	memcpy(to->about.id, from->id, from->id_bytes);
	to->has_build_id = from->has_build_id;
	return name && to->path;
}

/* The loader tells the program first. */
static int modules_copy(struct debug *d)
{
	unsigned n;
	int err = 0;

	spm_mapped_lock();
	spm_mapped_refresh();
	n = spm_mapped_modules();
	d->module = calloc(n + 1, sizeof(*d->module));
	for (; d->module && d->modules < n && !err; d->modules++)
		err = module_copy(&d->module[d->modules], spm_mapped_module(d->modules)) ? 0 : -ENOMEM;
	spm_mapped_unlock();
	if (err || !d->module)
		return -ENOMEM;
	return n ? 0 : -ENOENT;
}

int spm_debug_open(struct debug *d)
{
	int err;

	*d = (struct debug){0};
	err = modules_copy(d);
	if (!err) {
		d->dwfl = dwfl_begin(&callbacks);
		err = d->dwfl ? 0 : -ENOMEM;
	}
	if (err) {
		spm_debug_close(d);
		return err;
	}
	dwfl_report_begin(d->dwfl);
	for (unsigned i = 0; i < d->modules; i++)
		d->module[i].dwfl = dwfl_report_offline(d->dwfl, d->module[i].about.name, d->module[i].path, -1);
	dwfl_report_end(d->dwfl, NULL, NULL);
	return 0;
}

void spm_debug_close(struct debug *d)
{
	for (unsigned i = 0; i < d->modules; i++) {
		free((void *)(uintptr_t)d->module[i].about.name);
		free(d->module[i].path);
		free(d->module[i].entry);
		free(d->module[i].scoped);
	}
	for (size_t i = 0; i < d->texts; i++)
		free(d->text[i]);
	free(d->text);
	free(d->module);
	if (d->dwfl)
		dwfl_end(d->dwfl);
	*d = (struct debug){0};
}

/* The file may have been replaced since it was loaded. */
static bool is_what_was_loaded(const struct debug_module *m)
{
	const unsigned char *id;
	GElf_Addr address;
	int bytes = dwfl_module_build_id(m->dwfl, &id, &address);

	if (!m->has_build_id)
		return bytes <= 0;
	return bytes >= (int)m->about.id_bytes && !memcmp(id, m->about.id, m->about.id_bytes);
}

bool spm_debug_has(struct debug *d, struct debug_module *m)
{
	Dwarf_Addr bias;

	(void)d;
	if (!m->is_opened && m->dwfl) {
		dwfl_module_getelf(m->dwfl, &bias);
		m->dwarf = is_what_was_loaded(m) ? dwfl_module_getdwarf(m->dwfl, &bias) : NULL;
	}
	m->is_opened = true;
	return m->dwarf;
}

/* ---- names ---- */

struct indexing {
	struct debug *d;
	struct debug_module *m;
	bool has_scopes, is_local; /* local: within functions is looked, too, and only there counts */
	unsigned functions;        /* that it is in */
};

uint64_t spm_debug_hash(enum debug_space space, const char *name)
{
	return XXH3_64bits_withSeed(name, strlen(name), space);
}

/* "scope::name", or the name. */
static const char *scoped(struct indexing *x, const char *scope, const char *name)
{
	struct debug *d = x->d;
	char **more;
	char *text;

	if (!*scope)
		return name;
	more = d->texts & (d->texts - 1) ? d->text : realloc(d->text, (d->texts ? d->texts * 2 : 1) * sizeof(*more));
	if (!more)
		return NULL;
	d->text = more;
	if (asprintf(&text, "%s::%s", scope, name) < 0)
		return NULL;
	return d->text[d->texts++] = text;
}

static void entry_add(struct indexing *x, Dwarf_Die *die, const char *scope)
{
	struct debug_module *m = x->m;
	const char *plain = dwarf_diename(die), *name = plain ? scoped(x, scope, plain) : NULL;
	struct debug_entry *more;

	if (!plain)
		return;
	more = m->entries & (m->entries - 1) ? m->entry
	                                     : realloc(m->entry, (m->entries ? m->entries * 2 : 1) * sizeof(*m->entry));
	m->is_short |= !more || !name;
	if (!more)
		return;
	m->entry = more;
	if (!name)
		return;
	m->entry[m->entries++] = (struct debug_entry){.name = name,
	                                              .die = *die,
	                                              .space = spm_die_space(dwarf_tag(die)),
	                                              .is_scoped = name != plain,
	                                              .is_declaration = spm_die_has(die, DW_AT_declaration)};
}

static void children_index(struct indexing *x, Dwarf_Die *parent, const char *scope);

static void within_index(struct indexing *x, Dwarf_Die *die, const char *scope)
{
	const char *name = dwarf_diename(die), *inner = scoped(x, scope, name ? name : "(anonymous)");

	if (inner)
		children_index(x, die, inner);
	else
		x->m->is_short = true;
}

static void function_index(struct indexing *x, Dwarf_Die *die)
{
	x->functions++;
	children_index(x, die, "");
	x->functions--;
}

static void die_index(struct indexing *x, Dwarf_Die *die, const char *scope)
{
	switch (dwarf_tag(die)) {
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
	case DW_TAG_union_type:
		if (x->has_scopes && dwarf_diename(die) && dwarf_haschildren(die))
			within_index(x, die, scope);
		/* fall through */
	case DW_TAG_enumeration_type:
	case DW_TAG_typedef:
	case DW_TAG_base_type:
		if (!x->is_local || x->functions)
			entry_add(x, die, scope);
		return;
	case DW_TAG_namespace:
		within_index(x, die, scope);
		return;
	case DW_TAG_subprogram:
	case DW_TAG_lexical_block:
		if (x->is_local)
			function_index(x, die);
		return;
	default:
		return;
	}
}

static void children_index(struct indexing *x, Dwarf_Die *parent, const char *scope)
{
	Dwarf_Die die;

	if (dwarf_child(parent, &die))
		return;
	do
		die_index(x, &die, scope);
	while (!dwarf_siblingof(&die, &die));
}

static bool is_c(Dwarf_Die *unit)
{
	int language = dwarf_srclang(unit);

	return language == DW_LANG_C89 || language == DW_LANG_C || language == DW_LANG_C99 || language == DW_LANG_C11 ||
	       language == 0x2c; /* C17 */
}

static void units_index(struct indexing *x, Dwarf *dwarf)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Die unit, sub;
	uint8_t kind;

	while (!dwarf_get_units(dwarf, cu, &cu, NULL, &kind, &unit, &sub)) {
		Dwarf_Die *top = kind == DW_UT_skeleton && dwarf_tag(&sub) > 0 ? &sub : &unit;

		x->has_scopes = !is_c(top);
		x->m->units++;
		children_index(x, top, "");
	}
}

static int by_hash(const void *a, const void *b)
{
	const struct debug_entry *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->die.addr > y->die.addr) - (x->die.addr < y->die.addr);
}

static int by_address(const void *a, const void *b)
{
	const struct debug_entry *const *x = a, *const *y = b;

	return ((*x)->die.addr > (*y)->die.addr) - ((*x)->die.addr < (*y)->die.addr);
}

/* C programs have none of them. */
static void scoped_find(struct debug_module *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->entries; i++)
		n += m->entry[i].is_scoped;
	free(m->scoped);
	m->scoped_count = 0;
	m->scoped = malloc((n + 1) * sizeof(*m->scoped));
	m->is_short |= !m->scoped;
	for (size_t i = 0; m->scoped && i < m->entries; i++)
		if (m->entry[i].is_scoped)
			m->scoped[m->scoped_count++] = &m->entry[i];
	if (m->scoped_count)
		qsort(m->scoped, m->scoped_count, sizeof(*m->scoped), by_address);
}

const char *spm_debug_name(const struct debug_module *m, Dwarf_Die *die)
{
	size_t low = 0, high = m->scoped_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (m->scoped[middle]->die.addr < die->addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < m->scoped_count && m->scoped[low]->die.addr == die->addr)
		return m->scoped[low]->name;
	return dwarf_diename(die);
}

/* What is defined outside the scope that it was declared in: there its name is known. */
static void out_of_line_name(struct debug_module *m)
{
	Dwarf_Attribute a;
	Dwarf_Die declared;

	for (size_t i = 0; i < m->entries; i++) {
		struct debug_entry *e = &m->entry[i];

		if (e->is_scoped || !dwarf_attr(&e->die, DW_AT_specification, &a) || !dwarf_formref_die(&a, &declared))
			continue;
		e->name = spm_debug_name(m, &declared);
		e->is_scoped = true;
	}
}

static void module_index(struct debug *d, struct debug_module *m, bool is_local)
{
	struct indexing x = {.d = d, .m = m, .is_local = is_local};
	size_t before = m->entries;

	units_index(&x, m->dwarf);
	if (dwarf_getalt(m->dwarf)) /* what dwz has put elsewhere */
		units_index(&x, dwarf_getalt(m->dwarf));
	scoped_find(m);
	if (m->scoped_count)
		out_of_line_name(m);
	for (size_t i = before; i < m->entries; i++)
		m->entry[i].hash = spm_debug_hash(m->entry[i].space, m->entry[i].name);
	if (m->entries)
		qsort(m->entry, m->entries, sizeof(*m->entry), by_hash);
	scoped_find(m);
}

bool spm_debug_is_indexed(struct debug *d, struct debug_module *m)
{
	if (!spm_debug_has(d, m))
		return false;
	if (!m->units)
		module_index(d, m, false);
	return true;
}

void spm_debug_index_locals(struct debug *d, struct debug_module *m)
{
	if (!m->has_locals && spm_debug_is_indexed(d, m))
		module_index(d, m, true);
	m->has_locals = true;
}
