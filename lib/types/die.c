/* die.c - what single entries of debug information say: compilers and versions of DWARF say it differently. */
#include "types/debug.h"

#include <dwarf.h>

bool spm_die_has(Dwarf_Die *die, unsigned attribute)
{
	return dwarf_hasattr(die, attribute);
}

bool spm_die_number(Dwarf_Die *die, unsigned attribute, uint64_t *out)
{
	Dwarf_Attribute a;
	Dwarf_Word value;

	if (!dwarf_attr(die, attribute, &a) || dwarf_formudata(&a, &value))
		return false;
	*out = value;
	return true;
}

bool spm_die_type(Dwarf_Die *die, Dwarf_Die *out)
{
	Dwarf_Attribute a;

	return dwarf_attr(die, DW_AT_type, &a) && dwarf_formref_die(&a, out);
}

enum debug_space spm_die_space(int tag)
{
	switch (tag) {
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
		return DEBUG_STRUCT;
	case DW_TAG_union_type:
		return DEBUG_UNION;
	case DW_TAG_enumeration_type:
		return DEBUG_ENUM;
	default:
		return DEBUG_OTHER;
	}
}

/* A constant, or the expression that adds one. Without it: at the beginning, as a union's. */
static bool location(Dwarf_Die *member, uint64_t *out)
{
	Dwarf_Attribute a;
	Dwarf_Word value;
	Dwarf_Op *op;
	size_t n;

	*out = 0;
	if (!dwarf_attr(member, DW_AT_data_member_location, &a))
		return true;
	if (!dwarf_formudata(&a, &value)) {
		*out = value;
		return true;
	}
	if (dwarf_getlocation(&a, &op, &n) || n != 1 || op->atom != DW_OP_plus_uconst)
		return false;
	*out = op->number;
	return true;
}

/* The unit that a bit field is stored in: its own size or that of its type. */
static uint64_t storage_bytes(Dwarf_Die *member)
{
	uint64_t bytes = 0;
	Dwarf_Die type;
	Dwarf_Word size;

	if (spm_die_number(member, DW_AT_byte_size, &bytes))
		return bytes;
	return spm_die_type(member, &type) && !dwarf_aggregate_size(&type, &size) ? size : 0;
}

bool spm_die_place(Dwarf_Die *member, uint64_t *bit, uint64_t *bits)
{
	uint64_t bytes, from_top;

	*bits = 0;
	spm_die_number(member, DW_AT_bit_size, bits);
	if (spm_die_number(member, DW_AT_data_bit_offset, bit))
		return true;
	if (!location(member, &bytes) || bytes > UINT64_MAX / 16)
		return false;
	*bit = bytes * 8;
	if (*bits && spm_die_number(member, DW_AT_bit_offset, &from_top)) /* counted from the highest bit of the unit */
		*bit += storage_bytes(member) * 8 - from_top - *bits;
	return true;
}

int64_t spm_die_value(Dwarf_Die *enumerator)
{
	Dwarf_Attribute a;
	Dwarf_Sword value = 0;
	Dwarf_Word word = 0;

	if (!dwarf_attr(enumerator, DW_AT_const_value, &a))
		return 0;
	if (a.form == DW_FORM_sdata || a.form == DW_FORM_implicit_const) {
		dwarf_formsdata(&a, &value);
		return value;
	}
	dwarf_formudata(&a, &word); /* the forms of a fixed size don't tell: gcc has non-negative ones in them */
	return (int64_t)word;
}

uint64_t spm_die_count(Dwarf_Die *subrange)
{
	uint64_t number;

	if (spm_die_number(subrange, DW_AT_count, &number))
		return number;
	if (!spm_die_number(subrange, DW_AT_upper_bound, &number))
		return 0;
	return number == UINT32_MAX || number == UINT64_MAX ? 0 : number + 1; /* -1: that's [0] */
}
