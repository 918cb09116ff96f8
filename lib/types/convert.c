/* convert.c - see convert.h: the pairs, and places in them. What makes bytes of bytes is in convert_bytes.c. */
#include "types/convert.h"
#include "types/fields.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS_MOST = 1000000 };

/* ---- the table ---- */

static size_t pair_slot(const struct conversion *c, const struct ptype *old, const struct ptype *new)
{
	size_t i = spm_types_hash(old, new) & (c->slots - 1);

	while (c->slot[i] && (c->pair[c->slot[i] - 1].old != old || c->pair[c->slot[i] - 1].new != new))
		i = (i + 1) & (c->slots - 1);
	return i;
}

static bool room_make(struct conversion *c)
{
	size_t room = c->room ? c->room * 2 : 64;
	struct types_pair *more;
	uint32_t *slot;

	if (c->pairs < c->room)
		return true;
	more = realloc(c->pair, room * sizeof(*more));
	if (more)
		c->pair = more;
	slot = more ? calloc(room * 2, sizeof(*slot)) : NULL;
	if (!slot)
		return false;
	free(c->slot);
	c->slot = slot;
	c->slots = room * 2;
	c->room = room;
	for (size_t i = 0; i < c->pairs; i++)
		c->slot[pair_slot(c, more[i].old, more[i].new)] = (uint32_t)i + 1;
	return true;
}

/* ---- which have pointers ---- */

enum { NOT_KNOWN, HAS, HAS_NOT };

static bool pointers_find(const struct types *t, const struct ptype *p, unsigned char *known)
{
	unsigned char *own = &known[p - t->type];

	if (*own == NOT_KNOWN) {
		*own = p->kind == PTYPE_POINTER ? HAS : HAS_NOT;
		if (p->kind == PTYPE_ARRAY && pointers_find(t, p->of, known))
			*own = HAS;
		for (size_t i = 0; i < p->members; i++)
			if (pointers_find(t, p->member[i].type, known))
				*own = HAS;
	}
	return *own == HAS;
}

static bool *pointers_list(const struct types *t)
{
	unsigned char *known = calloc(t->types, 1);
	bool *has = calloc(t->types, sizeof(*has));

	for (size_t i = 0; i < t->types && known && has; i++)
		has[i] = pointers_find(t, &t->type[i], known);
	if (!known) {
		free(has);
		has = NULL;
	}
	free(known);
	return has;
}

int spm_conversion_begin(struct conversion *c)
{
	c->has_pointers = pointers_list(c->old);
	c->has_pointers_new = pointers_list(c->new);
	return c->has_pointers && c->has_pointers_new && room_make(c) ? 0 : -ENOMEM;
}

void spm_conversion_free(struct conversion *c)
{
	for (size_t i = 0; i < c->pairs; i++)
		free(c->pair[i].step);
	free(c->pair);
	free(c->slot);
	free(c->has_pointers);
	free(c->has_pointers_new);
}

/* ---- whether a pair is the same ---- */

static bool is_number(const struct ptype *t)
{
	return t->kind >= PTYPE_BOOL && t->kind <= PTYPE_ENUM;
}

/* None of the old names means another value. */
static bool are_values_kept(const struct ptype *old, const struct ptype *new)
{
	bool are = true;

	for (size_t i = 0; i < old->values && are; i++) {
		bool is_there = false, is_kept = false;

		for (size_t k = 0; k < new->values && !is_kept; k++) {
			bool is_it = !strcmp(old->value[i].name, new->value[k].name);

			is_there |= is_it;
			is_kept = is_it && old->value[i].value == new->value[k].value;
		}
		are = is_kept || !is_there;
	}
	return are;
}

static bool is_scalar_same(const struct ptype *old, const struct ptype *new)
{
	if (old->bytes != new->bytes)
		return false;
	if (old->kind == PTYPE_ENUM && new->kind == PTYPE_ENUM)
		return are_values_kept(old, new);
	if (old->kind == new->kind || old->kind == PTYPE_UNKNOWN || new->kind == PTYPE_UNKNOWN)
		return true;
	return is_number(old) && is_number(new) && old->kind != PTYPE_FLOAT && new->kind != PTYPE_FLOAT &&
	       (old->kind == PTYPE_ENUM || new->kind == PTYPE_ENUM);
}

static void scalar_judge(struct types_pair *p)
{
	p->is_same = p->fits = !spm_is_aggregate(p->old) && !spm_is_aggregate(p->new) && p->old->kind != PTYPE_ARRAY &&
	                       p->new->kind != PTYPE_ARRAY &&is_scalar_same(p->old, p->new);
}

/* ---- structs and unions ---- */

/* Of anonymous unions: the first that has a member of the same name. */
static const struct field *union_find(const struct fields *news, const struct field *old)
{
	for (size_t i = 0; i < news->n; i++) {
		const struct field *new = &news->field[i];

		if (*new->name || new->type->kind != old->type->kind)
			continue;
		for (size_t k = 0; k < old->type->members; k++)
			for (size_t m = 0; m < new->type->members; m++)
				if (*old->type->member[k].name &&
				    !strcmp(old->type->member[k].name, new->type->member[m].name))
					return new;
	}
	return NULL;
}

static const struct field *now_find(const struct fields *olds, const struct fields *news, const struct field *old)
{
	const struct field *new = *old->name ? spm_field_find(news, old) : union_find(news, old);

	return new && * old->name &&spm_field_find(olds, new) != old ? NULL : new;
}

static int64_t step_make(struct conversion *c, const struct field *old, const struct field *new, struct pair_step *step)
{
	int64_t inner = spm_pair_get(c, old->type, new ? new->type : NULL);

	*step = (struct pair_step){.name = old->name,
	                           .from_bit = old->bit,
	                           .from_bits = old->bits,
	                           .to_bit = new ? new->bit : 0,
	                           .to_bits = new ? new->bits : 0,
	                           .choice = old->choice,
	                           .pair = inner < 0 ? 0 : (uint32_t)inner,
	                           .is_gone = !new};
	return inner;
}

/* The last one, of structs. */
static bool is_open(const struct ptype *of, const struct fields *fields, const struct field *f)
{
	return of->kind == PTYPE_STRUCT && f == &fields->field[fields->n - 1] && !f->bits && spm_is_flexible(f->type);
}

static bool is_step_kept(const struct pair_step *s)
{
	return !s->is_gone && s->from_bit == s->to_bit && s->from_bits == s->to_bits;
}

static void steps_judge(const struct conversion *c, struct types_pair *p, const struct fields *news)
{
	p->is_same = p->new && p->old->kind == p->new->kind && p->old->bytes == p->new->bytes && p->steps == news->n;
	p->fits = p->new && p->old->kind == p->new->kind && p->old->bytes <= p->new->bytes;
	for (size_t i = 0; i < p->steps; i++) {
		const struct types_pair *in = &c->pair[p->step[i].pair];
		bool is_kept = is_step_kept(&p->step[i]);

		p->is_same &= is_kept && in->is_same;
		p->fits &= is_kept && (in->is_same || (in->fits && in->old->bytes == in->new->bytes));
		p->is_wanted |= in->is_wanted;
	}
}

static int steps_make(struct conversion *c, struct types_pair *p)
{
	struct fields olds = {0}, news = {0};
	int err = spm_fields_add(&olds, p->old, false);

	if (!err && p->new && p->new->kind == p->old->kind)
		err = spm_fields_add(&news, p->new, false);
	if (!err) {
		p->step = calloc(olds.n + 1, sizeof(*p->step));
		err = p->step ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < olds.n && !err; i++) {
		const struct field *old = &olds.field[i], *new = now_find(&olds, &news, old);
		int64_t inner = step_make(c, old, new, &p->step[i]);

		err = inner < 0 ? (int)inner : 0;
		p->step[i].is_open = is_open(p->old, &olds, old);
		p->step[i].is_open_now = new &&is_open(p->new, &news, new);
	}
	p->steps = err ? 0 : olds.n;
	if (!err)
		steps_judge(c, p, &news);
	free(olds.field);
	free(news.field);
	return err;
}

static int array_make(struct conversion *c, struct types_pair *p)
{
	bool are_both = p->new && p->new->kind == PTYPE_ARRAY;
	int64_t inner = spm_pair_get(c, p->old->of, are_both ? p->new->of : NULL);

	if (inner < 0)
		return (int)inner;
	p->inner = (uint32_t)inner;
	p->has_inner = true;
	p->is_wanted = c->pair[inner].is_wanted;
	p->is_same = are_both && p->old->count == p->new->count && c->pair[inner].is_same;
	p->fits = are_both && p->old->count == p->new->count && c->pair[inner].fits &&
	          p->old->of->bytes == p->new->of->bytes;
	return 0;
}

/* In the table already while what is in it is made, which has not got it: nothing is in itself by value. */
int64_t spm_pair_get(struct conversion *c, const struct ptype *old, const struct ptype *new)
{
	struct types_pair p = {.old = old, .new = new};
	uint32_t found = c->slot[pair_slot(c, old, new)];
	int err = 0;

	if (found)
		return found - 1;
	p.has_pointers = c->has_pointers[old - c->old->type];
	p.is_flexible = spm_is_flexible(old);
	if (spm_is_aggregate(old))
		err = steps_make(c, &p);
	else if (old->kind == PTYPE_ARRAY)
		err = array_make(c, &p);
	else if (new)
		scalar_judge(&p);
	if (!err)
		err = c->pairs == PAIRS_MOST ? -E2BIG : room_make(c) ? 0 : -ENOMEM;
	if (err) {
		free(p.step);
		return err;
	}
	if (c->made)
		c->made(&p, c->arg);
	c->slot[pair_slot(c, old, new)] = (uint32_t)c->pairs + 1;
	c->pair[c->pairs] = p;
	return (int64_t)c->pairs++;
}

/* ---- what pointers lead to ---- */

static const struct ptype *by_name(const struct conversion *c, const struct ptype *old)
{
	const char *name = old->name;

	for (size_t i = 0; i < c->renames; i++)
		if (!strcmp(c->renamed[i].was, name))
			name = c->renamed[i].is;
	for (size_t i = 0; i < c->new->types &&*name; i++)
		if (c->new->type[i].bytes && c->new->type[i].kind == old->kind && !strcmp(c->new->type[i].name, name))
			return &c->new->type[i];
	return NULL;
}

int64_t spm_pair_pointee(struct conversion *c, uint32_t pointers)
{
	const struct ptype *old = c->pair[pointers].old->of, *new = c->pair[pointers].new;
	int64_t inner;

	if (c->pair[pointers].has_inner)
		return c->pair[pointers].inner;
	if (!old || !old->bytes)
		return PAIR_NONE;
	new = new &&new->kind == PTYPE_POINTER &&new->of->bytes ? new->of : by_name(c, old);
	inner = spm_pair_get(c, old, new);
	if (inner >= 0) {
		c->pair[pointers].inner = (uint32_t)inner;
		c->pair[pointers].has_inner = true;
	}
	return inner;
}

/* ---- places ---- */

static bool does_cover(const struct conversion *c, const struct pair_step *s, uint64_t offset)
{
	const struct types_pair *in = &c->pair[s->pair];
	uint64_t from = s->from_bit / 8,
	         end = s->from_bits ? (s->from_bit + s->from_bits + 7) / 8 : from + in->old->bytes;

	return offset >= from && (offset < end || s->is_open || (offset == from && !in->old->bytes));
}

/* Pointers are alike, whatever they lead to. */
static bool is_like_type(const struct ptype *a, const struct ptype *b)
{
	return a == b || (a && b && !spm_is_aggregate(a) && a->kind != PTYPE_ARRAY && a->kind == b->kind &&
	                  a->bytes == b->bytes && a->kind != PTYPE_ENUM);
}

static bool is_like(const struct conversion *c, uint32_t pair, uint32_t other)
{
	const struct types_pair *p = &c->pair[pair], *q = &c->pair[other];

	return is_like_type(p->old, q->old) && (!p->new || !q->new || is_like_type(p->new, q->new));
}

bool spm_pair_has(const struct conversion *c, uint32_t pair, uint64_t offset, uint32_t other)
{
	const struct types_pair *p = &c->pair[pair];
	bool has = !offset && is_like(c, pair, other);

	if (!has && p->old->kind == PTYPE_ARRAY && p->has_inner)
		has = spm_pair_has(c, p->inner, offset % p->old->of->bytes, other);
	for (size_t i = 0; i < p->steps && !has; i++)
		if (!p->step[i].from_bits && does_cover(c, &p->step[i], offset))
			has = spm_pair_has(c, p->step[i].pair, offset - p->step[i].from_bit / 8, other);
	return has;
}

uint64_t spm_pair_bytes(const struct conversion *c, uint32_t pair, uint64_t room)
{
	const struct types_pair *p = &c->pair[pair];
	uint64_t most = p->new->bytes;

	if (!p->is_flexible)
		return most;
	if (p->old->kind == PTYPE_ARRAY)
		return p->new->count ? most : room / p->old->of->bytes * p->new->of->bytes;
	for (size_t i = 0; i < p->steps; i++) {
		const struct pair_step *s = &p->step[i];
		uint64_t to = s->to_bit / 8, from = s->from_bit / 8, end = 0;

		if (s->is_open && !s->is_gone && room > from && c->pair[s->pair].new->kind == PTYPE_ARRAY)
			end = to + spm_pair_bytes(c, s->pair, room - from);
		most = end > most ? end : most;
	}
	return most;
}

static bool place_find(const struct conversion *c, uint32_t pair, uint64_t offset, uint64_t to, struct pair_place *out);

static bool array_place(const struct conversion *c, const struct types_pair *p, uint64_t offset, uint64_t to,
                        struct pair_place *out)
{
	uint64_t i = offset / p->old->of->bytes;

	if (p->new->count && i >= p->new->count)
		return out->has_any;
	return place_find(c, p->inner, offset % p->old->of->bytes, to + i * p->new->of->bytes, out);
}

static bool step_place(const struct conversion *c, const struct types_pair *p, uint64_t offset, uint64_t to,
                       struct pair_place *out)
{
	for (size_t i = 0; i < p->steps; i++) {
		const struct pair_step *s = &p->step[i];

		if (s->is_gone || s->from_bits || !does_cover(c, s, offset))
			continue;
		if (place_find(c, s->pair, offset - s->from_bit / 8, to + s->to_bit / 8, out) &&
		    (out->is_exact || p->old->kind == PTYPE_STRUCT))
			return true;
	}
	return out->has_any;
}

/* From the outside to the inside. */
static bool place_find(const struct conversion *c, uint32_t pair, uint64_t offset, uint64_t to, struct pair_place *out)
{
	const struct types_pair *p = &c->pair[pair];

	if (!offset) {
		if (!out->has_any)
			out->to = to;
		out->has_any = true;
		out->is_exact = out->wanted >= 0 ? is_like(c, pair, (uint32_t)out->wanted)
		                                 : out->wanted_new && is_like_type(p->new, out->wanted_new);
		if (out->is_exact) {
			out->to = to;
			return true;
		}
	}
	if (p->steps)
		return step_place(c, p, offset, to, out);
	if (p->old->kind == PTYPE_ARRAY && p->new && p->new->kind == PTYPE_ARRAY)
		return array_place(c, p, offset, to, out);
	if (offset && p->is_same && p->old->kind == PTYPE_UNKNOWN) {
		out->to = to + offset;
		out->has_any = true;
	}
	return out->has_any;
}

bool spm_pair_place(const struct conversion *c, uint32_t pair, uint64_t offset, struct pair_place *place)
{
	place->is_exact = place->has_any = false;
	return place_find(c, pair, offset, 0, place);
}
