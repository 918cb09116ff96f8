/* debug_find.c - the definition of a name in a module, if all its units agree on it.
 *
 * A header's struct is defined in each unit that includes it. Definitions are the same if they have the same size and members; what
 * these are of counts by its name and size, if it has a name, so none needs to be followed far.
 */
#include "types/debug.h"

#include <dwarf.h>
#include <errno.h>
#include <string.h>
#include <xxhash.h>

enum { DEPTH_MOST = 16 };

static uint64_t sum_of(Dwarf_Die *die, uint64_t sum, unsigned depth);

static uint64_t sum_number(uint64_t number, uint64_t sum)
{
	return XXH3_64bits_withSeed(&number, sizeof(number), sum);
}

static uint64_t sum_name(Dwarf_Die *die, uint64_t sum)
{
	const char *name = dwarf_diename(die);

	return name ? XXH3_64bits_withSeed(name, strlen(name), sum) : sum;
}

static uint64_t bytes_of(Dwarf_Die *die)
{
	int bytes = dwarf_bytesize(die);

	return bytes > 0 ? (uint64_t)bytes : 0;
}

/* What a member, an array or a pointer is of. is_far: behind a pointer, where it may be only declared. */
static uint64_t sum_type(Dwarf_Die *die, uint64_t sum, bool is_far, unsigned depth)
{
	Dwarf_Die type;
	int tag;

	if (!spm_die_type(die, &type) || dwarf_peel_type(&type, &type) || !depth)
		return sum_number(0, sum);
	tag = dwarf_tag(&type);
	if (spm_die_space(tag) == DEBUG_OTHER || !dwarf_diename(&type))
		return sum_of(&type, sum, depth - 1);
	sum = sum_name(&type, sum_number(spm_die_space(tag), sum));
	return is_far ? sum : sum_number(bytes_of(&type), sum);
}

static uint64_t sum_child(Dwarf_Die *die, uint64_t sum, unsigned depth)
{
	uint64_t bit = 0, bits = 0;

	switch (dwarf_tag(die)) {
	case DW_TAG_member:
	case DW_TAG_inheritance:
		spm_die_place(die, &bit, &bits);
		return sum_type(die, sum_number(bits, sum_number(bit, sum_name(die, sum))), false, depth);
	case DW_TAG_enumerator:
		return sum_number((uint64_t)spm_die_value(die), sum_name(die, sum));
	case DW_TAG_subrange_type:
		return sum_number(spm_die_count(die), sum);
	default:
		return sum;
	}
}

/* Base types count by what they are: compilers name them differently. Functions are all the same. */
static uint64_t sum_of(Dwarf_Die *die, uint64_t sum, unsigned depth)
{
	int tag = dwarf_tag(die);
	uint64_t encoding = 0;
	Dwarf_Die child;

	sum = sum_number(bytes_of(die), sum_number((uint64_t)(spm_die_space(tag) == DEBUG_OTHER ? tag : 0), sum));
	if (tag == DW_TAG_subroutine_type)
		return sum;
	if (tag == DW_TAG_base_type && spm_die_number(die, DW_AT_encoding, &encoding))
		return sum_number(encoding, sum);
	if (spm_die_has(die, DW_AT_type))
		sum = sum_type(die, sum, tag != DW_TAG_array_type, depth);
	if (dwarf_child(die, &child))
		return sum;
	do
		sum = sum_child(&child, sum, depth);
	while (!dwarf_siblingof(&child, &child));
	return sum;
}

static bool is_it(const struct debug_entry *e, enum debug_space space, const char *name)
{
	return e->space == space && !e->is_declaration && !strcmp(e->name, name);
}

static size_t first_of(const struct debug_module *m, uint64_t hash)
{
	size_t low = 0, high = m->entries;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (m->entry[middle].hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A typedef is what it is of. */
static uint64_t sum_entry(struct debug_entry *e)
{
	int tag = dwarf_tag(&e->die);

	return tag == DW_TAG_typedef ? sum_type(&e->die, 0, false, DEPTH_MOST) : sum_of(&e->die, 0, DEPTH_MOST);
}

int spm_debug_find(struct debug *d, struct debug_module *m, enum debug_space space, const char *name, Dwarf_Die *out)
{
	uint64_t hash = spm_debug_hash(space, name), sum = 0;
	struct debug_entry *found = NULL;

	if (!spm_debug_is_indexed(d, m))
		return 0;
	if (m->is_short)
		return -ENOMEM;
	for (size_t i = first_of(m, hash); i < m->entries && m->entry[i].hash == hash; i++) {
		struct debug_entry *e = &m->entry[i];

		if (!is_it(e, space, name))
			continue;
		if (found && sum_entry(e) != sum)
			return -EEXIST;
		if (!found)
			sum = sum_entry(e);
		found = e;
	}
	if (!found)
		return 0;
	*out = found->die;
	return 1;
}

uint64_t spm_die_sum(Dwarf_Die *die)
{
	return sum_of(die, 0, DEPTH_MOST);
}
