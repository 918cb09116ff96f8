/* value.c - what a place holds, as one line tells it, for people and for programs. See place.h. */
#include "place.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void value_damaged(struct value *v)
{
	v->kind = VALUE_DAMAGE;
	snprintf(v->name, sizeof(v->name), "%s", pErrorMsg());
}

/* ---- numbers ---- */

static bool is_unsigned(const struct ptype *type)
{
	return type->kind == PTYPE_UNSIGNED || (type->kind == PTYPE_CHAR && strstr(type->name, "unsigned"));
}

static uint64_t bits_of(uint64_t word, const struct place *p, unsigned *bits)
{
	*bits = p->bits && p->bits < 64 ? p->bits : p->bits || p->bytes >= 8 ? 64 : (unsigned)p->bytes * 8;
	if (p->bits)
		word >>= p->bit & 63;
	return *bits < 64 ? word & ((UINT64_C(1) << *bits) - 1) : word;
}

static int64_t sign_extend(uint64_t word, unsigned bits)
{
	return (int64_t)(word << (64 - bits)) >> (64 - bits);
}

static void enum_name(const struct ptype *type, struct value *v)
{
	for (size_t i = 0; i < type->values; i++)
		if (type->value[i].value == v->integer || (uint64_t)type->value[i].value == v->number) {
			snprintf(v->name, sizeof(v->name), "%s", type->value[i].name);
			return;
		}
}

static void real_read(const unsigned char *bytes, uint64_t n, struct value *v)
{
	long double wide = 0;
	float narrow;

	v->kind = VALUE_FLOAT;
	if (n == sizeof(narrow)) {
		memcpy(&narrow, bytes, sizeof(narrow));
		v->real = (double)narrow;
	} else if (n == sizeof(v->real)) {
		memcpy(&v->real, bytes, sizeof(v->real));
	} else {
		memcpy(&wide, bytes, n < 10 ? n : 10);
		v->real = (double)wide;
	}
}

static void number_read(struct plook *look, const struct place *p, struct value *v)
{
	unsigned char bytes[16] = {0};
	uint64_t word, n = p->bits ? (p->bit + p->bits + 7) / 8 : p->bytes;
	unsigned bits;

	if (!n || n > sizeof(bytes)) {
		v->kind = VALUE_NONE;
		return;
	}
	if (pLookRead(look, p->address, bytes, n)) {
		value_damaged(v);
		return;
	}
	memcpy(&word, bytes, sizeof(word));
	v->number = bits_of(word, p, &bits);
	v->integer = sign_extend(v->number, bits);
	if (p->type->kind == PTYPE_FLOAT) {
		real_read(bytes, n, v);
	} else if (p->type->kind == PTYPE_BOOL) {
		v->kind = VALUE_BOOL;
	} else if (p->type->kind == PTYPE_ENUM) {
		v->kind = VALUE_ENUM;
		enum_name(p->type, v);
	} else {
		v->kind = is_unsigned(p->type) ? VALUE_UNSIGNED : VALUE_INT;
		v->is_char = p->type->kind == PTYPE_CHAR;
	}
}

/* ---- text, words ---- */

bool text_is_usual(const unsigned char *s, size_t bytes)
{
	return !text_is_control(s, bytes) || (*s >= '\a' && *s <= '\r') || *s == '\033';
}

static bool is_text(const unsigned char *bytes, uint64_t n, bool is_cut)
{
	for (uint64_t i = 0; i < n;) {
		size_t character = text_character(bytes + i, n - i);

		if (!character)
			return is_cut && n - i < 4; /* in the middle of a character */
		if (!text_is_usual(bytes + i, character))
			return false;
		i += character;
	}
	return true;
}

/* Up to the first zero, if it is text; else all. */
static void text_read(struct plook *look, uint64_t address, uint64_t bytes, uint64_t most, struct value *v)
{
	uint64_t n = bytes < most ? bytes : most;
	unsigned char *zero;

	v->kind = VALUE_TEXT;
	v->bytes = malloc(n + 1);
	if (!v->bytes)
		out_of_memory();
	if (pLookRead(look, address, v->bytes, n)) {
		value_damaged(v);
		return;
	}
	v->bytes[n] = 0;
	zero = memchr(v->bytes, 0, n);
	v->n = zero ? (uint64_t)(zero - v->bytes) : n;
	v->all = zero ? v->n : bytes;
	if (is_text(v->bytes, v->n, v->all > v->n))
		return;
	v->kind = VALUE_WORDS;
	v->is_char = true;
	v->n = n;
	v->all = bytes;
}

static void words_read(struct plook *look, const struct place *p, uint64_t most, struct value *v)
{
	v->kind = VALUE_WORDS;
	v->all = p->bytes;
	v->n = p->bytes < most ? p->bytes : most;
	v->bytes = malloc(v->n + 1);
	if (!v->bytes)
		out_of_memory();
	if (pLookRead(look, p->address, v->bytes, v->n))
		value_damaged(v);
}

bool type_is_string(const struct ptype *type)
{
	return type && type->kind == PTYPE_STRUCT && !strcmp(type->name, "struct pstring");
}

static void string_read(struct plook *look, uint64_t address, uint64_t most, struct value *v)
{
	uint64_t bytes, length;

	if (!spm_see_string(look, address, &bytes, &length))
		text_read(look, bytes, length, most, v);
}

/* ---- pointers ---- */

static void pointer_read(struct plook *look, const struct place *p, uint64_t most, struct value *v)
{
	const struct ptype *to = p->type->of;
	const char *name;
	struct pobject o;
	int is_there;

	if (p->bytes < sizeof(v->number))
		return;
	if (pLookRead(look, p->address, &v->number, sizeof(v->number))) {
		value_damaged(v);
		return;
	}
	v->is_pointer = true;
	v->kind = v->number ? VALUE_NOWHERE : VALUE_NULL;
	is_there = pLookObject(look, v->number, &o);
	if (is_there < 0) {
		value_damaged(v);
	} else if (is_there && to && to->kind == PTYPE_CHAR && !told_type(&o, v->number, to)) {
		text_read(look, v->number, o.address + o.bytes - v->number, most, v);
	} else if (is_there) {
		v->kind = VALUE_POINTER;
		if (type_is_string(to) && o.address + o.bytes - v->number >= to->bytes)
			string_read(look, v->number, most, v);
	} else if ((name = pLookOutside(look, v->number))) {
		v->kind = VALUE_CODE;
		snprintf(v->name, sizeof(v->name), "%s", name);
	}
}

void place_value(struct plook *look, const struct place *p, uint64_t most, struct value *v)
{
	memset(v, 0, sizeof(*v));
	if (!p->type)
		return;
	switch (p->type->kind) {
	case PTYPE_BOOL:
	case PTYPE_CHAR:
	case PTYPE_INT:
	case PTYPE_UNSIGNED:
	case PTYPE_FLOAT:
	case PTYPE_ENUM:
		number_read(look, p, v);
		break;
	case PTYPE_POINTER:
		pointer_read(look, p, most, v);
		break;
	case PTYPE_ARRAY:
		if (p->type->of && p->type->of->kind == PTYPE_CHAR)
			text_read(look, p->address, p->bytes, most, v);
		break;
	case PTYPE_UNKNOWN:
		words_read(look, p, most, v);
		break;
	case PTYPE_STRUCT:
		if (type_is_string(p->type))
			string_read(look, p->address, most, v);
		break;
	default:
		break;
	}
}

void value_free(struct value *v)
{
	free(v->bytes);
	v->bytes = NULL;
}

bool value_is_same(const struct value *a, const struct value *b)
{
	if (a->kind != b->kind || strcmp(a->name, b->name) != 0 || a->all != b->all || a->n != b->n)
		return false;
	if (a->bytes)
		return !b->bytes ? false : !memcmp(a->bytes, b->bytes, a->n);
	return a->kind == VALUE_FLOAT ? !memcmp(&a->real, &b->real, sizeof(a->real)) : a->number == b->number;
}

/* ---- for people ---- */

static void byte_quote(FILE *to, unsigned char c)
{
	static const char letters[] = "abtnvfr";

	if (c >= 7 && c <= 13)
		fprintf(to, "\\%c", letters[c - 7]);
	else
		fprintf(to, "\\x%02x", c);
}

void text_quote(FILE *to, const unsigned char *bytes, uint64_t n)
{
	for (uint64_t i = 0; i < n;) {
		size_t character = text_character(bytes + i, n - i);

		if (!character || text_is_control(bytes + i, character)) {
			byte_quote(to, bytes[i++]);
			continue;
		}
		if (bytes[i] == '"' || bytes[i] == '\\')
			fputc('\\', to);
		fwrite(bytes + i, 1, character, to);
		i += character;
	}
}

static void words_print(FILE *to, const struct value *v, const char *between)
{
	for (uint64_t i = 0; i < v->n && !v->is_char; i += 8) {
		uint64_t word = 0;

		memcpy(&word, v->bytes + i, v->n - i < 8 ? v->n - i : 8);
		fprintf(to, "%s0x%" PRIx64, i ? between : "", word);
	}
	for (uint64_t i = 0; i < v->n && v->is_char; i++)
		fprintf(to, "%s%02x", i ? between : "", v->bytes[i]);
}

/* As few digits as tell it from all others. */
static void real_print(FILE *to, double real)
{
	char text[64];

	for (int digits = 6; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, real);
		if (strtod(text, NULL) == real)
			break;
	}
	fputs(text, to);
}

static void integer_print(FILE *to, const struct value *v)
{
	if (v->kind == VALUE_INT)
		fprintf(to, "%" PRId64, v->integer);
	else
		fprintf(to, "%" PRIu64, v->number);
	if (v->is_char && v->number >= ' ' && v->number < 0x7f)
		fprintf(to, " '%c'", (int)v->number);
}

static void text_print(FILE *to, const struct value *v)
{
	fputc('"', to);
	text_quote(to, v->bytes, v->n);
	fputc('"', to);
	if (v->all > v->n)
		fprintf(to, "... %" PRIu64 " bytes more", v->all - v->n);
}

void value_print(FILE *to, const struct value *v)
{
	switch (v->kind) {
	case VALUE_NONE:
		break;
	case VALUE_INT:
	case VALUE_UNSIGNED:
		integer_print(to, v);
		break;
	case VALUE_FLOAT:
		real_print(to, v->real);
		break;
	case VALUE_BOOL:
		fputs(v->number ? "true" : "false", to);
		break;
	case VALUE_ENUM:
		if (v->name[0])
			fputs(text_plain(v->name), to);
		else
			fprintf(to, "%" PRId64, v->integer);
		break;
	case VALUE_NULL:
		fputs("NULL", to);
		break;
	case VALUE_POINTER:
		fprintf(to, "0x%" PRIx64, v->number);
		break;
	case VALUE_NOWHERE:
		fprintf(to, "0x%" PRIx64 " (no object)", v->number);
		break;
	case VALUE_CODE:
		fputs(text_plain(v->name), to);
		break;
	case VALUE_TEXT:
		text_print(to, v);
		break;
	case VALUE_WORDS:
		words_print(to, v, " ");
		if (v->all > v->n)
			fprintf(to, " ... %" PRIu64 " bytes more", v->all - v->n);
		break;
	case VALUE_DAMAGE:
		fprintf(to, "(%s)", text_plain(v->name));
	}
}

/* ---- for programs ---- */

void json_quote(FILE *to, const unsigned char *bytes, uint64_t n)
{
	fputc('"', to);
	for (uint64_t i = 0; i < n;) {
		size_t character = text_character(bytes + i, n - i);

		if (!character) {
			fputs("\\ufffd", to);
			i++;
			continue;
		}
		if (text_is_control(bytes + i, character))
			fprintf(to, "\\u%04x", character == 1 ? bytes[i] : (unsigned)bytes[i + 1]);
		else if (bytes[i] == '"' || bytes[i] == '\\')
			fprintf(to, "\\%c", bytes[i]);
		else
			fwrite(bytes + i, 1, character, to);
		i += character;
	}
	fputc('"', to);
}

static void json_words(FILE *to, const struct value *v)
{
	fputc('[', to);
	for (uint64_t i = 0; i < v->n; i += 8) {
		uint64_t word = 0;

		memcpy(&word, v->bytes + i, v->n - i < 8 ? v->n - i : 8);
		fprintf(to, "%s\"0x%" PRIx64 "\"", i ? ", " : "", word);
	}
	fputc(']', to);
}

static void json_name(FILE *to, const char *name)
{
	json_quote(to, (const unsigned char *)name, strlen(name));
}

void value_json(FILE *to, const struct value *v)
{
	switch (v->kind) {
	case VALUE_NONE:
	case VALUE_NULL:
	case VALUE_DAMAGE:
		fputs("null", to);
		break;
	case VALUE_INT:
		fprintf(to, "%" PRId64, v->integer);
		break;
	case VALUE_UNSIGNED:
		fprintf(to, "%" PRIu64, v->number);
		break;
	case VALUE_FLOAT:
		if (isfinite(v->real))
			fprintf(to, "%.17g", v->real);
		else
			fputs(isnan(v->real) ? "\"NaN\"" : v->real < 0 ? "\"-Infinity\"" : "\"Infinity\"", to);
		break;
	case VALUE_BOOL:
		fputs(v->number ? "true" : "false", to);
		break;
	case VALUE_ENUM:
		if (v->name[0])
			json_name(to, v->name);
		else
			fprintf(to, "%" PRId64, v->integer);
		break;
	case VALUE_POINTER:
	case VALUE_NOWHERE:
		fprintf(to, "\"0x%" PRIx64 "\"", v->number);
		break;
	case VALUE_CODE:
		json_name(to, v->name);
		break;
	case VALUE_TEXT:
		json_quote(to, v->bytes, v->n);
		break;
	case VALUE_WORDS:
		json_words(to, v);
	}
}

/* ---- types ---- */

const char *type_text(const struct ptype *type)
{
	char text[256] = "", stars[64] = "";
	unsigned n = 0;

	for (; type && n < 20; n++) {
		if (type->kind == PTYPE_POINTER && type->of && type->of->kind == PTYPE_FUNCTION)
			return text_plain("function *");
		if (type->kind == PTYPE_POINTER && !type->name[0] && type->of)
			memmove(stars + 1, stars, sizeof(stars) - 2), stars[0] = '*';
		else if (type->kind == PTYPE_ARRAY && type->of)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), type->count ? "[%llu]" : "[]",
			         (unsigned long long)type->count);
		else
			break;
		type = type->of;
	}
	if (!type || !type->name[0])
		return n ? text_plain("") : "";
	return text_plain_format("%s%s%s%s", type->name, stars[0] ? " " : "", stars, text);
}
