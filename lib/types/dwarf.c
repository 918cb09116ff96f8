/* dwarf.c - see dwarf.h.
 *
 * A type gets its number in the draft when it is first met, and is looked into later: types that lead to each other need nothing else.
 */
#include "types/dwarf.h"
#include "discover/mapped.h"
#include "types/debug.h"
#include "types/draft.h"

#include <dwarf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct met {
	const void *at; /* of the DIE; NULL: free */
	uint32_t type;
};
struct task {
	Dwarf_Die die;
	struct debug_module *m; /* that it is of */
	uint32_t type;
};
struct reader {
	struct debug debug;
	struct draft draft; /* type 0: void */
	struct met *met;
	size_t met_count, met_room; /* room: a power of two, more than twice as much */
	struct task *task;
	size_t tasks, task_room;
	uint32_t address_number[2]; /* uintptr_t, intptr_t; 0: not met */
	bool is_short;
};

/* ---- which were met ---- */

static struct met *met_slot(const struct reader *r, const void *at)
{
	size_t i = ((uintptr_t)at * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (r->met_room - 1);

	while (r->met[i].at && r->met[i].at != at)
		i = (i + 1) & (r->met_room - 1);
	return &r->met[i];
}

static bool met_grow(struct reader *r)
{
	struct met *old = r->met;
	size_t n = r->met_room;
	struct met *more;

	if (r->met_count * 2 < r->met_room)
		return true;
	more = calloc(n ? n * 2 : 256, sizeof(*more));
	if (!more)
		return false;
	r->met = more;
	r->met_room = n ? n * 2 : 256;
	for (size_t i = 0; i < n; i++)
		if (old[i].at)
			*met_slot(r, old[i].at) = old[i];
	free(old);
	return true;
}

static void task_add(struct reader *r, struct debug_module *m, const Dwarf_Die *die, uint32_t type)
{
	size_t room = r->task_room ? r->task_room * 2 : 64;
	struct task *more = r->tasks < r->task_room ? r->task : realloc(r->task, room * sizeof(*more));

	if (!more) {
		r->is_short = true;
		return;
	}
	r->task_room = r->tasks < r->task_room ? r->task_room : room;
	r->task = more;
	r->task[r->tasks++] = (struct task){*die, m, type};
}

/* ---- definitions ---- */

/* In the other modules; several that differ: none. */
static struct debug_module *find_elsewhere(struct reader *r, struct debug_module *not_in, enum debug_space space,
                                           const char *name, Dwarf_Die *out)
{
	struct debug_module *found = NULL;
	uint64_t sum = 0;
	Dwarf_Die die;

	for (unsigned i = 0; i < r->debug.modules; i++) {
		struct debug_module *m = &r->debug.module[i];
		int has = m == not_in ? 0 : spm_debug_find(&r->debug, m, space, name, &die);

		if (has < 0 || (has && found && spm_die_sum(&die) != sum))
			return NULL;
		if (!has || found)
			continue;
		found = m;
		sum = spm_die_sum(&die);
		*out = die;
	}
	return found;
}

/* Of what is only declared here, where it is defined. Leaves it if there is no such place. */
static void definition_find(struct reader *r, struct debug_module **m, Dwarf_Die *die)
{
	enum debug_space space = spm_die_space(dwarf_tag(die));
	Dwarf_Attribute a;
	Dwarf_Die found;
	const char *name;
	int has;

	if (dwarf_attr(die, DW_AT_signature, &a) && dwarf_formref_die(&a, &found)) {
		*die = found;
		return;
	}
	if (space == DEBUG_OTHER || !spm_die_has(die, DW_AT_declaration) || !spm_debug_is_indexed(&r->debug, *m))
		return;
	name = spm_debug_name(*m, die);
	has = name ? spm_debug_find(&r->debug, *m, space, name, &found) : -EEXIST;
	if (!has) {
		struct debug_module *elsewhere = find_elsewhere(r, *m, space, name, &found);

		has = elsewhere != NULL;
		*m = elsewhere ? elsewhere : *m;
	}
	if (has > 0)
		*die = found;
}

/* ---- from an entry to a type ---- */

static enum ptype_kind base_kind(Dwarf_Die *die, uint64_t bytes)
{
	uint64_t encoding = 0;

	spm_die_number(die, DW_AT_encoding, &encoding);
	switch (encoding) {
	case DW_ATE_boolean:
		return PTYPE_BOOL;
	case DW_ATE_signed_char:
	case DW_ATE_unsigned_char:
		return bytes == 1 ? PTYPE_CHAR : PTYPE_UNKNOWN;
	case DW_ATE_UTF:
		return bytes == 1 ? PTYPE_CHAR : PTYPE_UNSIGNED;
	case DW_ATE_signed:
		return PTYPE_INT;
	case DW_ATE_unsigned:
		return PTYPE_UNSIGNED;
	case DW_ATE_float:
		return PTYPE_FLOAT;
	default:
		return PTYPE_UNKNOWN;
	}
}

/* As one writes them: gcc says "long unsigned int", clang "unsigned long". */
static const char *base_name(const char *name)
{
	static const char *const same[][2] = {{"short int", "short"},
	                                      {"short unsigned int", "unsigned short"},
	                                      {"long int", "long"},
	                                      {"long unsigned int", "unsigned long"},
	                                      {"long long int", "long long"},
	                                      {"long long unsigned int", "unsigned long long"},
	                                      {"__int128 unsigned", "unsigned __int128"}};

	for (size_t i = 0; name && i < sizeof(same) / sizeof(same[0]); i++)
		if (!strcmp(name, same[i][0]))
			return same[i][1];
	return name;
}

static uint64_t bytes_of(Dwarf_Die *die)
{
	uint64_t bytes = 0;

	spm_die_number(die, DW_AT_byte_size, &bytes);
	return bytes;
}

static const char *tagged_name(struct reader *r, const struct debug_module *m, Dwarf_Die *die, const char *alias)
{
	const char *name = spm_debug_name(m, die), *before = "enum ";

	if (!name)
		return alias;
	switch (dwarf_tag(die)) {
	case DW_TAG_structure_type:
		before = "struct ";
		break;
	case DW_TAG_class_type:
		before = "class ";
		break;
	case DW_TAG_union_type:
		before = "union ";
		break;
	default:
		break;
	}
	return spm_draft_text(&r->draft, before, name);
}

static uint32_t aggregate_add(struct reader *r, struct debug_module *m, Dwarf_Die *die, enum ptype_kind kind,
                              const char *alias)
{
	uint64_t bytes = spm_die_has(die, DW_AT_declaration) ? 0 : bytes_of(die);
	uint32_t type = spm_draft_add(&r->draft, kind, tagged_name(r, m, die, alias), bytes);

	if (bytes)
		task_add(r, m, die, type);
	return type;
}

static uint32_t further_add(struct reader *r, struct debug_module *m, Dwarf_Die *die, enum ptype_kind kind,
                            uint64_t bytes)
{
	uint32_t type = spm_draft_add(&r->draft, kind, "", bytes);

	task_add(r, m, die, type);
	return type;
}

static uint32_t pointer_to_member_add(struct reader *r, Dwarf_Die *die)
{
	Dwarf_Die type;
	bool is_function = spm_die_type(die, &type) && dwarf_tag(&type) == DW_TAG_subroutine_type;

	return spm_draft_add(&r->draft, PTYPE_UNKNOWN, "", is_function ? 16 : 8);
}

static uint32_t type_add(struct reader *r, struct debug_module *m, Dwarf_Die *die, const char *alias)
{
	uint64_t bytes = bytes_of(die);

	m->is_used = true;
	switch (dwarf_tag(die)) {
	case DW_TAG_base_type:
		return spm_draft_add(&r->draft, base_kind(die, bytes), base_name(dwarf_diename(die)), bytes);
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
		return aggregate_add(r, m, die, PTYPE_STRUCT, alias);
	case DW_TAG_union_type:
		return aggregate_add(r, m, die, PTYPE_UNION, alias);
	case DW_TAG_enumeration_type:
		return aggregate_add(r, m, die, PTYPE_ENUM, alias);
	case DW_TAG_pointer_type:
	case DW_TAG_reference_type:
	case DW_TAG_rvalue_reference_type:
		return further_add(r, m, die, PTYPE_POINTER, bytes ? bytes : 8);
	case DW_TAG_array_type:
		return further_add(r, m, die, PTYPE_ARRAY, 0);
	case DW_TAG_subroutine_type:
		return spm_draft_add(&r->draft, PTYPE_FUNCTION, "", 0);
	case DW_TAG_ptr_to_member_type:
		return pointer_to_member_add(r, die);
	default:
		return spm_draft_add(&r->draft, PTYPE_UNKNOWN, "", bytes);
	}
}

/* Numbers that may be pointers keep the name that says so. */
static const char *const address_numbers[2][2] = {{"uintptr_t", "__uintptr_t"}, {"intptr_t", "__intptr_t"}};

/* Which of them a typedef's name is; 2: none. */
static unsigned address_number_find(const char *name)
{
	unsigned i = 0;

	while (i < 2 && (!name || (strcmp(name, address_numbers[i][0]) && strcmp(name, address_numbers[i][1]))))
		i++;
	return i;
}

static uint32_t address_number_have(struct reader *r, unsigned which)
{
	if (!r->address_number[which])
		r->address_number[which] = spm_draft_add(&r->draft, which ? PTYPE_INT : PTYPE_UNSIGNED,
		                                         address_numbers[which][0], sizeof(uintptr_t));
	return r->address_number[which];
}

/* Passes typedefs and qualifiers; false: it is void. alias: the last typedef, or NULL; address: the number that is one of these, else 2. */
static bool peel(Dwarf_Die *die, const char **alias, unsigned *address)
{
	*alias = NULL;
	*address = 2;
	for (;;) {
		switch (dwarf_tag(die)) {
		case DW_TAG_typedef:
			*alias = dwarf_diename(die);
			if (*address == 2)
				*address = address_number_find(*alias);
			/* fall through */
		case DW_TAG_const_type:
		case DW_TAG_volatile_type:
		case DW_TAG_restrict_type:
		case DW_TAG_atomic_type:
		case DW_TAG_immutable_type:
		case DW_TAG_packed_type:
		case DW_TAG_shared_type:
			if (!spm_die_type(die, die))
				return false;
			break;
		default:
			return true;
		}
	}
}

static uint32_t type_of(struct reader *r, struct debug_module *m, Dwarf_Die die)
{
	struct draft_type *known;
	const char *alias;
	unsigned address;
	uint32_t type;

	if (!peel(&die, &alias, &address))
		return 0;
	if (address < 2 && dwarf_tag(&die) == DW_TAG_base_type)
		return address_number_have(r, address);
	definition_find(r, &m, &die);
	if (!met_grow(r)) {
		r->is_short = true;
		return 0;
	}
	if (!met_slot(r, die.addr)->at) {
		type = type_add(r, m, &die, alias);
		*met_slot(r, die.addr) = (struct met){die.addr, type};
		r->met_count++;
		return type;
	}
	type = met_slot(r, die.addr)->type;
	known = &r->draft.type[type];
	if (alias && !*known->name && spm_die_space(dwarf_tag(&die)) != DEBUG_OTHER)
		known->name = alias;
	return type;
}

static uint32_t type_of_attribute(struct reader *r, struct debug_module *m, Dwarf_Die *die)
{
	Dwarf_Die type;

	return spm_die_type(die, &type) ? type_of(r, m, type) : 0;
}

/* ---- what is in it ---- */

/* Of a pointer to virtual functions as gcc says it, clang has "_vptr$". */
static const char *member_name(struct reader *r, Dwarf_Die *die)
{
	const char *name = dwarf_tag(die) == DW_TAG_member ? dwarf_diename(die) : NULL;

	if (!name || strncmp(name, "_vptr$", 6) != 0)
		return name ? name : "";
	return spm_draft_text(&r->draft, "_vptr.", name + 6);
}

/* Not what has no constant place: a C++ program finds virtual bases at run time. */
static void member_add(struct reader *r, const struct task *t, Dwarf_Die *die)
{
	struct draft_member m = {.name = member_name(r, die)};
	uint64_t bit, bits;

	if (spm_die_has(die, DW_AT_declaration) || spm_die_has(die, DW_AT_external) || !spm_die_place(die, &bit, &bits))
		return;
	m.offset = bit / 8;
	m.bit_offset = bits ? (unsigned)(bit % 8) : 0;
	m.bits = bits > 128 ? 129 : (unsigned)bits;
	m.type = type_of_attribute(r, t->m, die);
	spm_draft_member_add(&r->draft, t->type, &m);
}

/* Dimensions further in get types of their own. */
static void array_fill(struct reader *r, struct task *t)
{
	uint32_t type = t->type, inner;
	bool is_first = true;
	Dwarf_Die child;

	if (!dwarf_child(&t->die, &child))
		do {
			if (dwarf_tag(&child) != DW_TAG_subrange_type)
				continue;
			if (!is_first) {
				inner = spm_draft_add(&r->draft, PTYPE_ARRAY, "", 0);
				r->draft.type[type].of = inner;
				type = inner;
			}
			is_first = false;
			r->draft.type[type].count = spm_die_count(&child);
		} while (!dwarf_siblingof(&child, &child));
	inner = type_of_attribute(r, t->m, &t->die);
	r->draft.type[type].of = inner;
}

static void children_fill(struct reader *r, struct task *t)
{
	Dwarf_Die child;

	if (dwarf_child(&t->die, &child))
		return;
	do {
		int tag = dwarf_tag(&child);

		if (tag == DW_TAG_member || tag == DW_TAG_inheritance)
			member_add(r, t, &child);
		else if (tag == DW_TAG_enumerator && dwarf_diename(&child))
			spm_draft_value_add(&r->draft, t->type, dwarf_diename(&child), spm_die_value(&child));
	} while (!dwarf_siblingof(&child, &child));
}

static void task_do(struct reader *r, struct task *t)
{
	uint32_t of;

	switch (r->draft.type[t->type].kind) {
	case PTYPE_POINTER:
		of = type_of_attribute(r, t->m, &t->die);
		r->draft.type[t->type].of = of;
		return;
	case PTYPE_ARRAY:
		array_fill(r, t);
		return;
	default:
		children_fill(r, t);
		return;
	}
}

/* ---- the root ---- */

struct root {
	const char *asked, *name; /* without "struct " */
	enum debug_space space;
	bool is_tagged;
	struct debug_module *m;
	Dwarf_Die die;
};

static void name_split(struct root *root, const char *asked)
{
	static const struct {
		const char *tag;
		enum debug_space space;
	} tags[] = {
	        {"struct ", DEBUG_STRUCT}, {"class ", DEBUG_STRUCT}, {"union ", DEBUG_UNION}, {"enum ", DEBUG_ENUM}};

	*root = (struct root){.asked = asked, .name = asked, .space = DEBUG_OTHER};
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (!strncmp(asked, tags[i].tag, strlen(tags[i].tag))) {
			root->name = asked + strlen(tags[i].tag);
			root->space = tags[i].space;
			root->is_tagged = true;
		}
}

/* In C++ a struct's name needs no "struct"; nor here in C, where no other type has it. */
static int find_in(struct reader *r, struct debug_module *m, struct root *root)
{
	int has = spm_debug_find(&r->debug, m, root->space, root->name, &root->die);

	for (enum debug_space s = DEBUG_STRUCT; !has && !root->is_tagged && s < DEBUG_OTHER; s++)
		has = spm_debug_find(&r->debug, m, s, root->name, &root->die);
	if (has)
		root->m = m;
	return has;
}

static bool is_same_id(const struct types_module *a, const struct types_module *b)
{
	return a->id_bytes == b->id_bytes && !memcmp(a->id, b->id, a->id_bytes);
}

/* How much a module is the one that was meant. */
static int likeness(const struct debug_module *m, const struct types_module *like)
{
	if (is_same_id(&m->about, like))
		return 3;
	if (!strcmp(m->about.name, like->name))
		return 2;
	return m->about.flags & like->flags & TYPES_MODULE_IS_MAIN ? 1 : 0;
}

static struct debug_module *module_near(struct reader *r, const struct types_near *near)
{
	struct debug_module *best = &r->debug.module[0];
	const struct module_here *here;
	int most = 0;

	spm_mapped_lock();
	here = near->address ? spm_mapped_module_at((uintptr_t)near->address) : NULL;
	for (unsigned i = 0; here && i < r->debug.modules; i++)
		if (here->id_bytes == r->debug.module[i].about.id_bytes &&
		    !memcmp(here->id, r->debug.module[i].about.id, here->id_bytes))
			best = &r->debug.module[i];
	spm_mapped_unlock();
	for (unsigned i = 0; near->module && i < r->debug.modules; i++) {
		int like = likeness(&r->debug.module[i], near->module);

		if (like > most)
			best = &r->debug.module[i];
		most = like > most ? like : most;
	}
	return best;
}

static int find_in_others(struct reader *r, struct root *root)
{
	struct root found = {.m = NULL};
	int has = 0;

	for (unsigned i = 1; i < r->debug.modules && has >= 0; i++) {
		has = find_in(r, &r->debug.module[i], root);
		if (has > 0 && found.m && spm_die_sum(&found.die) != spm_die_sum(&root->die)) {
			root->m = NULL; /* no one module is it */
			has = -EEXIST;
		} else if (has > 0 && !found.m) {
			found = *root;
		}
	}
	if (has < 0)
		return has;
	if (found.m)
		*root = found;
	return found.m != NULL;
}

static int root_find(struct reader *r, struct root *root, struct debug_module *near)
{
	int has = find_in(r, near, root);

	if (!has)
		has = find_in(r, &r->debug.module[0], root);
	if (!has)
		has = find_in_others(r, root);
	if (!has) {
		spm_debug_index_locals(&r->debug, near);
		has = find_in(r, near, root);
	}
	return has;
}

/* ---- what to say if there is none ---- */

/* Not just int, which -g1 tells of. */
static bool has_types(struct reader *r, struct debug_module *m)
{
	if (spm_debug_is_indexed(&r->debug, m))
		for (size_t i = 0; i < m->entries; i++)
			if (dwarf_tag(&m->entry[i].die) != DW_TAG_base_type)
				return true;
	return false;
}

static int none_tell(struct reader *r, const struct root *root, struct debug_module *near, char *why, size_t room)
{
	bool has_any = false;

	for (unsigned i = 0; i < r->debug.modules; i++)
		has_any |= has_types(r, &r->debug.module[i]);
	if (has_types(r, near))
		snprintf(why, room,
		         "no type %s in %s, nor in the libraries that are loaded: is it spelled right, and does "
		         "the program use it?",
		         root->asked, near->about.name);
	else
		snprintf(why, room, "no type %s in %s: compile it with -g%s", root->asked, near->about.name,
		         near->units ? " (-g1 leaves types out)" : "");
	return has_any ? -ENOENT : -ENODATA;
}

static int root_read(struct reader *r, struct root *root, const struct types_near *near, char *why, size_t room)
{
	struct debug_module *first = module_near(r, near);
	int has = root_find(r, root, first);

	if (has == -EEXIST)
		snprintf(why, room,
		         "type %s is defined differently in several units of %s: give one of them another name",
		         root->asked, root->m ? root->m->about.name : "the libraries that are loaded");
	if (has <= 0)
		return has == -EEXIST ? -EINVAL : has ? has : none_tell(r, root, first, why, room);
	return 0;
}

/* ---- all of it ---- */

/* The root's first. */
static unsigned modules_tell(const struct reader *r, const struct debug_module *first, struct types_module *out)
{
	unsigned n = 0;

	out[n++] = first->about;
	for (unsigned i = 0; i < r->debug.modules && n < TYPES_MODULES_MOST; i++)
		if (r->debug.module[i].is_used && &r->debug.module[i] != first)
			out[n++] = r->debug.module[i].about;
	return n;
}

static int all_read(struct reader *r, struct debug_module *first, struct draft_root *root, size_t roots, void **bytes,
                    size_t *n)
{
	struct types_module module[TYPES_MODULES_MOST];

	while (r->tasks && !r->is_short && !r->draft.is_short) {
		struct task t = r->task[--r->tasks];

		task_do(r, &t);
	}
	if (r->is_short)
		return -ENOMEM;
	return spm_draft_save(&r->draft, root, roots, module, modules_tell(r, first, module), bytes, n);
}

/* *first: the module of the first one. */
static int roots_read(struct reader *r, const struct types_asked *asked, const struct types_near *near,
                      struct draft_root *out, struct debug_module **first, char *why, size_t room)
{
	for (size_t i = 0; i < asked->n; i++) {
		struct root root;
		int err;

		name_split(&root, asked->name[i]);
		err = root_read(r, &root, near, why, room);
		out[i] = (struct draft_root){.name = asked->name[i], .has_type = !err};
		if (err && (!i || i > asked->may_lack || err == -ENOMEM))
			return err;
		if (!err)
			out[i].type = type_of(r, root.m, root.die);
		*first = i ? *first : root.m;
	}
	return 0;
}

int spm_types_read_all(const struct types_asked *asked, const struct types_near *near, void **bytes, size_t *n,
                       char *why, size_t room)
{
	struct draft_root *root = calloc(asked->n, sizeof(*root));
	struct reader r = {.is_short = false};
	struct debug_module *first = NULL;
	int err = root ? spm_debug_open(&r.debug) : -ENOMEM;

	*why = 0;
	if (err) {
		free(root);
		return err == -ENOENT ? -ENODATA : err;
	}
	spm_draft_add(&r.draft, PTYPE_VOID, "void", 0);
	err = r.draft.is_short ? -ENOMEM : roots_read(&r, asked, near, root, &first, why, room);
	if (!err)
		err = all_read(&r, first, root, asked->n, bytes, n);
	spm_draft_free(&r.draft);
	spm_debug_close(&r.debug);
	free(r.met);
	free(r.task);
	free(root);
	return err;
}

int spm_types_read(const char *name, const struct types_near *near, void **bytes, size_t *n, char *why, size_t room)
{
	return spm_types_read_all(&(struct types_asked){&name, 1, 0}, near, bytes, n, why, room);
}

static bool is_here(const struct types_module *m)
{
	for (unsigned i = 0; i < spm_mapped_modules(); i++) {
		const struct module_here *here = spm_mapped_module(i);

		if (here->id_bytes == m->id_bytes && !memcmp(here->id, m->id, m->id_bytes))
			return true;
	}
	return false;
}

static bool is_another_here(const struct types_module *m)
{
	for (unsigned i = 0; i < spm_mapped_modules(); i++)
		if (!strcmp(spm_mapped_module(i)->name, m->name))
			return !is_here(m);
	return false;
}

bool spm_types_are_here(const struct types *t)
{
	bool are;

	spm_mapped_lock();
	spm_mapped_refresh();
	are = is_here(&t->module[0]);
	for (unsigned i = 1; i < t->modules && are; i++)
		are = !is_another_here(&t->module[i]);
	spm_mapped_unlock();
	return are;
}
