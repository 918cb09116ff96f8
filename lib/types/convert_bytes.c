/* convert_bytes.c - see convert.h: values of one type made into values of another. */
#include "types/convert.h"
#include "types/fields.h"
#include "types/rules.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Where in the object one is, for who is told of problems. */
struct pair_path {
	const struct pair_path *up;
	const char *name; /* NULL: element i */
	uint64_t i;
};

static void path_write(const struct pair_path *path, char *out, size_t room)
{
	size_t n;

	if (!path)
		return;
	path_write(path->up, out, room);
	n = strlen(out);
	if (path->name)
		snprintf(out + n, room - n, "%s%s", n ? "." : "", path->name);
	else
		snprintf(out + n, room - n, "[%llu]", (unsigned long long)path->i);
}

static int problem(struct converting *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int problem(struct converting *v, const char *format, ...)
{
	char path[160] = "";
	va_list args;
	size_t n;

	if (v->problems++)
		return 0;
	path_write(v->path, path, sizeof(path));
	n = (size_t)snprintf(v->problem, sizeof(v->problem), "%s%s%s", *path ? "field " : "", path, *path ? ": " : "");
	va_start(args, format);
	vsnprintf(v->problem + n, sizeof(v->problem) - n, format, args);
	va_end(args);
	return 0;
}

static bool is_zero(const unsigned char *at, uint64_t bytes)
{
	while (bytes && !*at)
		at++, bytes--;
	return !bytes;
}

/* ---- numbers ---- */

struct number {
	bool is_real, is_negative;
	uint64_t magnitude;
	long double real;
};
/* A field of memory. */
struct bits {
	uint64_t bit;
	unsigned bits; /* 0: no bit field */
};

/* Of up to 64 bits, wherever they begin. */
static uint64_t bits_get(const unsigned char *at, uint64_t bit, unsigned bits)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bits; i++)
		value |= (uint64_t)(at[(bit + i) / 8] >> (bit + i) % 8 & 1) << i;
	return value;
}

static void bits_put(unsigned char *at, uint64_t bit, unsigned bits, uint64_t value)
{
	for (unsigned i = 0; i < bits; i++) {
		unsigned char mask = (unsigned char)(1u << (bit + i) % 8);

		at[(bit + i) / 8] =
		        (unsigned char)((value >> i & 1) ? at[(bit + i) / 8] | mask : at[(bit + i) / 8] & ~mask);
	}
}

static bool is_signed(const struct ptype *t)
{
	bool is = t->kind == PTYPE_INT ||
	          (t->kind == PTYPE_CHAR && strncmp(t->name, "unsigned", 8) != 0 && strcmp(t->name, "char8_t") != 0);

	for (size_t i = 0; i < t->values && t->kind == PTYPE_ENUM; i++)
		is |= t->value[i].value < 0;
	return is;
}

static bool is_real_known(const struct ptype *t)
{
	return t->bytes == sizeof(float) || t->bytes == sizeof(double) ||
	       (t->bytes == sizeof(long double) && !strcmp(t->name, "long double"));
}

static bool is_number_known(const struct ptype *t)
{
	if (t->kind == PTYPE_FLOAT)
		return is_real_known(t);
	return t->kind >= PTYPE_BOOL && t->kind <= PTYPE_ENUM && t->bytes && t->bytes <= sizeof(uint64_t);
}

static long double real_get(const unsigned char *at, uint64_t bytes)
{
	long double wide;
	double middle;
	float narrow;

	if (bytes == sizeof(narrow))
		return (memcpy(&narrow, at, sizeof(narrow)), (long double)narrow);
	if (bytes == sizeof(middle))
		return (memcpy(&middle, at, sizeof(middle)), (long double)middle);
	return (memcpy(&wide, at, sizeof(wide)), wide);
}

static struct number number_get(const struct ptype *t, const unsigned char *at, struct bits place)
{
	unsigned bits = place.bits ? place.bits : (unsigned)t->bytes * 8;
	struct number n = {.is_real = t->kind == PTYPE_FLOAT};

	if (n.is_real) {
		n.real = real_get(at + place.bit / 8, t->bytes);
		return n;
	}
	n.magnitude = bits_get(at, place.bit, bits);
	n.is_negative = is_signed(t) && n.magnitude >> (bits - 1) & 1;
	if (n.is_negative)
		n.magnitude = 0 - (bits < 64 ? n.magnitude | ~UINT64_C(0) << bits : n.magnitude);
	return n;
}

static bool real_put(const struct number *n, const struct ptype *t, unsigned char *at)
{
	long double wide = n->is_real       ? n->real
	                   : n->is_negative ? -(long double)n->magnitude
	                                    : (long double)n->magnitude;
	double middle = (double)wide;
	float narrow = (float)wide;

	if (t->bytes == sizeof(narrow))
		memcpy(at, &narrow, sizeof(narrow));
	else if (t->bytes == sizeof(middle))
		memcpy(at, &middle, sizeof(middle));
	else
		memcpy(at, &wide, 10); /* the others mean nothing */
	if (n->is_real)                /* rounding is what one asked for, losing all is not */
		return wide - wide != 0 || real_get(at, t->bytes) - real_get(at, t->bytes) == 0;
	return real_get(at, t->bytes) == wide;
}

/* To an integer; false: it is none, or is too large. */
static bool real_to_integer(struct number *n)
{
	long double size = n->real < 0 ? -n->real : n->real;

	if (!(size < 18446744073709551616.0L) || size != (long double)(uint64_t)size)
		return false;
	n->is_negative = n->real < 0;
	n->magnitude = (uint64_t)size;
	return true;
}

static bool integer_fits(const struct number *n, const struct ptype *t, unsigned bits)
{
	uint64_t half = UINT64_C(1) << (bits - 1);

	if (t->kind == PTYPE_BOOL)
		return !n->is_negative && n->magnitude <= 1;
	if (!is_signed(t))
		return (!n->is_negative || !n->magnitude) && (bits == 64 || !(n->magnitude >> bits));
	return n->is_negative ? n->magnitude <= half : n->magnitude < half;
}

/* false: it does not fit, and nothing is changed. */
static bool number_put(struct number n, const struct ptype *t, unsigned char *at, struct bits place)
{
	unsigned bits = place.bits ? place.bits : (unsigned)t->bytes * 8;

	if (t->kind == PTYPE_FLOAT) {
		bool fits = real_put(&n, t, at + place.bit / 8);

		if (!fits)
			memset(at + place.bit / 8, 0, t->bytes);
		return fits;
	}
	if ((n.is_real && !real_to_integer(&n)) || !integer_fits(&n, t, bits))
		return false;
	bits_put(at, place.bit, bits, n.is_negative ? 0 - n.magnitude : n.magnitude);
	return true;
}

static void number_write(const struct number *n, char *out, size_t room)
{
	if (n->is_real)
		snprintf(out, room, "%Lg", n->real);
	else
		snprintf(out, room, "%s%llu", n->is_negative && n->magnitude ? "-" : "",
		         (unsigned long long)n->magnitude);
}

static const char *called(const struct ptype *t)
{
	static const char *const kinds[] = {"void",    "bool",     "char",  "integer", "unsigned", "float",  "enum",
	                                    "pointer", "function", "array", "struct",  "union",    "unknown"};

	return *t->name ? t->name : kinds[t->kind];
}

static int number_misfit(struct converting *v, const struct number *n, const struct ptype *t, struct bits place)
{
	char value[64], width[32] = "";

	number_write(n, value, sizeof(value));
	if (place.bits)
		snprintf(width, sizeof(width), " : %u", place.bits);
	return problem(v, "%s does not fit into %s%s", value, called(t), width);
}

/* ---- enumerators ---- */

static int64_t signed_of(const struct number *n)
{
	return (int64_t)(n->is_negative ? 0 - n->magnitude : n->magnitude);
}

/* By its name; by one of them, if the value has several. 0: there is none. */
static bool value_now(const struct types_pair *p, int64_t was, int64_t *is, const char **name)
{
	for (size_t i = 0; i < p->old->values; i++) {
		if (p->old->value[i].value != was)
			continue;
		*name = p->old->value[i].name;
		for (size_t k = 0; k < p->new->values; k++)
			if (!strcmp(p->new->value[k].name, *name)) {
				*is = p->new->value[k].value;
				return true;
			}
	}
	return false;
}

static int enumerator_convert(struct converting *v, const struct types_pair *p, struct number *n)
{
	const char *name = NULL;
	int64_t value = 0;

	if (!value_now(p, signed_of(n), &value, &name)) {
		if (name)
			problem(v, "%s has no %s any more", called(p->new), name);
		else if (signed_of(n)) /* 0 is what nobody has set */
			problem(v, "%lld has no name in %s", (long long)signed_of(n), called(p->old));
		return name || signed_of(n);
	}
	n->is_negative = value < 0;
	n->magnitude = n->is_negative ? 0 - (uint64_t)value : (uint64_t)value;
	return 0;
}

static int number_convert(struct converting *v, const struct types_pair *p, const unsigned char *from, struct bits was,
                          unsigned char *to, struct bits is)
{
	struct number n = number_get(p->old, from, was);
	bool are_enums = p->old->kind == PTYPE_ENUM && p->new->kind == PTYPE_ENUM && p->old->values && p->new->values;

	if (are_enums && !(p->is_same || p->fits) && enumerator_convert(v, p, &n))
		return 0;
	return number_put(n, p->new, to, is) ? 0 : number_misfit(v, &n, p->new, is);
}

/* ---- all others ---- */

static int convert(struct converting *v, uint32_t pair, const unsigned char *from, uint64_t room_from,
                   unsigned char *to, uint64_t room_to);

/* Text that is cut must still end. */
static bool is_text_cut(const struct types_pair *p, const unsigned char *from, uint64_t had, uint64_t has)
{
	return p->old->of->kind == PTYPE_CHAR && has < had && !memchr(from, 0, has) && memchr(from, 0, had);
}

static int array_convert(struct converting *v, const struct types_pair *p, const unsigned char *from,
                         uint64_t room_from, unsigned char *to, uint64_t room_to)
{
	uint64_t had = p->old->count ? p->old->count : room_from / p->old->of->bytes;
	uint64_t has = p->new->count ? p->new->count : room_to / p->new->of->bytes, n = had < has ? had : has;
	struct pair_path here = {v->path, NULL, 0};
	int err = 0;

	if (is_text_cut(p, from, had, has))
		return problem(v, "a text of %zu characters does not fit into %llu", strlen((const char *)from),
		               (unsigned long long)has);
	if (v->c->pair[p->inner].is_same && !v->c->pair[p->inner].is_wanted) {
		memcpy(to, from, n * p->old->of->bytes);
		return 0;
	}
	for (v->path = &here; here.i < n && !err; here.i++)
		err = convert(v, p->inner, from + here.i * p->old->of->bytes, p->old->of->bytes,
		              to + here.i * p->new->of->bytes, p->new->of->bytes);
	v->path = here.up;
	return err;
}

/* What the program's function makes of it. */
static int mended(struct converting *v, const struct types_pair *p, const void *from, void *to, unsigned problems)
{
	int err = p->own ? v->mend(p, from, to, v->arg) : 0;

	if (err > 0)
		v->problems = problems;
	return err < 0 ? err : 0;
}

static int step_convert(struct converting *v, const struct pair_step *s, const unsigned char *from, uint64_t room_from,
                        unsigned char *to, uint64_t room_to);

/* Of a union the member that holds; NULL: none does. */
static int member_convert(struct converting *v, const struct types_pair *p, const struct pmember *member,
                          const unsigned char *from, unsigned char *to)
{
	unsigned problems = v->problems;
	int err = 0;

	for (size_t i = 0; i < p->steps && member && !err; i++) {
		const struct pair_step *s = &p->step[i];

		if (strcmp(s->name, member->name) != 0)
			continue;
		if (!s->is_gone)
			err = step_convert(v, s, from, p->old->bytes, to, p->new->bytes);
		else if (!is_zero(from, p->old->bytes))
			problem(v, "it is its member %s, which is no more", s->name);
	}
	return err ? err : mended(v, p, from, to, problems);
}

static bool does_hold(const struct converting *v, const struct pair_step *s, const unsigned char *at,
                      const struct pmember **member)
{
	const struct types_pair *in = &v->c->pair[s->pair];

	return s->choice && !in->is_same && in->old->kind == PTYPE_UNION &&
	       in->new->kind == PTYPE_UNION &&spm_types_holds(s->choice, v->object, v->object_bytes,
	                                                      (uint64_t)(at - v->object), member);
}

static int step_convert(struct converting *v, const struct pair_step *s, const unsigned char *from, uint64_t room_from,
                        unsigned char *to, uint64_t room_to)
{
	const struct types_pair *in = &v->c->pair[s->pair];
	struct pair_path here = {v->path, s->name, 0};
	const struct pmember *member;
	int err;

	v->path = *s->name ? &here : here.up;
	if (s->from_bits || s->to_bits) {
		if (is_number_known(in->old) && is_number_known(in->new))
			err = number_convert(v, in, from, (struct bits){s->from_bit, s->from_bits}, to,
			                     (struct bits){s->to_bit, s->to_bits});
		else
			err = problem(v, "was %s, is %s", called(in->old), called(in->new));
	} else if (does_hold(v, s, from + s->from_bit / 8, &member)) {
		err = member_convert(v, in, member, from + s->from_bit / 8, to + s->to_bit / 8);
	} else {
		err = convert(v, s->pair, from + s->from_bit / 8,
		              s->is_open ? room_from - s->from_bit / 8 : in->old->bytes, to + s->to_bit / 8,
		              s->is_open_now ? room_to - s->to_bit / 8 : in->new->bytes);
	}
	v->path = here.up;
	return err;
}

static int struct_convert(struct converting *v, const struct types_pair *p, const unsigned char *from,
                          uint64_t room_from, unsigned char *to, uint64_t room_to)
{
	int err = 0;

	for (size_t i = 0; i < p->steps && !err; i++)
		if (!p->step[i].is_gone)
			err = step_convert(v, &p->step[i], from, room_from, to, room_to);
	return err;
}

/* Which member is meant nobody knows: so all must be as they were. */
static int union_convert(struct converting *v, const struct types_pair *p, const unsigned char *from, unsigned char *to)
{
	bool is_alike = p->new->bytes >= p->old->bytes;

	for (size_t i = 0; i < p->steps; i++) {
		const struct pair_step *s = &p->step[i];

		is_alike &= !s->is_gone && s->from_bit == s->to_bit && s->from_bits == s->to_bits &&
		            v->c->pair[s->pair].is_same;
	}
	if (is_alike)
		memcpy(to, from, p->old->bytes);
	else if (!is_zero(from, p->old->bytes))
		problem(v, "which member of %s is meant can't be known", called(p->old));
	return 0;
}

static bool is_word(const struct ptype *t)
{
	return t->kind == PTYPE_POINTER || ((t->kind == PTYPE_UNSIGNED || t->kind == PTYPE_INT) && t->bytes == 8);
}

static int value_convert(struct converting *v, const struct types_pair *p, const unsigned char *from,
                         uint64_t room_from, unsigned char *to, uint64_t room_to)
{
	if (p->is_same && !p->is_wanted && !p->is_flexible)
		memcpy(to, from, p->old->bytes);
	else if (p->old->kind == PTYPE_STRUCT && p->new->kind == PTYPE_STRUCT)
		return struct_convert(v, p, from, room_from, to, room_to);
	else if (p->old->kind == PTYPE_UNION && p->new->kind == PTYPE_UNION)
		return union_convert(v, p, from, to);
	else if (p->old->kind == PTYPE_ARRAY && p->new->kind == PTYPE_ARRAY)
		return array_convert(v, p, from, room_from, to, room_to);
	else if (is_number_known(p->old) && is_number_known(p->new))
		return number_convert(v, p, from, (struct bits){0, 0}, to, (struct bits){0, 0});
	else if (is_word(p->old) && is_word(p->new))
		memcpy(to, from, sizeof(uint64_t));
	else if (!is_zero(from, p->old->bytes))
		problem(v, "was %s of %llu bytes, is %s of %llu", called(p->old), (unsigned long long)p->old->bytes,
		        called(p->new), (unsigned long long)p->new->bytes);
	return 0;
}

static int convert(struct converting *v, uint32_t pair, const unsigned char *from, uint64_t room_from,
                   unsigned char *to, uint64_t room_to)
{
	const struct types_pair *p = &v->c->pair[pair];
	unsigned problems = v->problems;
	int err = value_convert(v, p, from, room_from, to, room_to);

	return err ? err : mended(v, p, from, to, problems);
}

int spm_convert(struct converting *v, uint32_t pair, const void *from, uint64_t room_from, void *to, uint64_t room_to)
{
	int err;

	v->path = NULL;
	v->object = from;
	v->object_bytes = room_from;
	v->problems = 0;
	*v->problem = 0;
	err = convert(v, pair, from, room_from, to, room_to);
	return err ? err : v->problems ? -EDOM : 0;
}
