/* compare.c - see compare.h. */
#include "types/compare.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_BYTES = 192, FIELDS_MOST = 16384, PAIRS_MOST = 1000000, TOLD_MOST = 4 };
static const uint64_t steps_most = UINT64_C(1) << 32;

/* A member, with those of anonymous structs and unions and of base classes in their place. */
struct field {
	const char *name;
	const struct ptype *type;
	uint64_t bit; /* from the beginning */
	unsigned bits;
	bool has_moved; /* of an old one */
};
struct fields {
	struct field *field;
	size_t n, room, steps;
};

struct pair {
	const struct ptype *old, *new;
	char *label;     /* what it is called in a sentence */
	bool is_pointed; /* its objects are allocated by themselves */
};
struct comparing {
	struct types_comparison *out;
	struct pair *pair; /* each once; those behind `done` are still to be compared */
	size_t pairs, done, room;
	uint32_t *slot; /* pair + 1, by its types; 0: free */
	size_t slots;
	uint64_t steps; /* what a volume says shall not take for ever */
	int err;
};

/* ---- what is told ---- */

static void tell(struct comparing *c, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void tell(struct comparing *c, const char *label, const char *format, ...)
{
	struct types_comparison *out = c->out;
	size_t n = strlen(out->text);
	va_list args;

	if (out->differences++ >= TOLD_MOST)
		return;
	n += (size_t)snprintf(out->text + n, sizeof(out->text) - n, "%s%s: ", n ? "; " : "", label);
	if (n >= sizeof(out->text))
		return;
	va_start(args, format);
	vsnprintf(out->text + n, sizeof(out->text) - n, format, args);
	va_end(args);
}

/* As one would write it, or nearly. */
static void type_write(const struct ptype *t, char *out, size_t room)
{
	char inner[LABEL_BYTES];

	switch (t->kind) {
	case PTYPE_POINTER:
	case PTYPE_ARRAY:
		*inner = 0;
		if (room > 16)
			type_write(t->of, inner, room / 2 < sizeof(inner) ? room / 2 : sizeof(inner));
		if (t->kind == PTYPE_POINTER)
			snprintf(out, room, "%s%s*", inner, *inner && inner[strlen(inner) - 1] == '*' ? "" : " ");
		else
			snprintf(out, room, t->count ? "%s[%llu]" : "%s[]", inner, (unsigned long long)t->count);
		return;
	case PTYPE_FUNCTION:
		snprintf(out, room, "function");
		return;
	case PTYPE_STRUCT:
	case PTYPE_UNION:
	case PTYPE_ENUM:
		snprintf(out, room, "%s",
		         *t->name                 ? t->name
		         : t->kind == PTYPE_UNION ? "union"
		         : t->kind == PTYPE_ENUM  ? "enum"
		                                  : "struct");
		return;
	default:
		snprintf(out, room, "%s", *t->name ? t->name : "unknown");
	}
}

/* That a field of the old type became one of the new type. */
static void change_tell(struct comparing *c, const char *label, const char *what, const struct ptype *old,
                        const struct ptype *new)
{
	char was[LABEL_BYTES], is[LABEL_BYTES];

	type_write(old, was, sizeof(was));
	type_write(new, is, sizeof(is));
	if (strcmp(was, is))
		tell(c, label, "%swas %s, is %s", what, was, is);
	else
		tell(c, label, "%swas %s of %llu bytes, is one of %llu", what, was, (unsigned long long)old->bytes,
		     (unsigned long long)new->bytes);
}

/* ---- pairs ---- */

static size_t pair_slot(const struct comparing *c, const struct ptype *old, const struct ptype *new)
{
	uint64_t key =
	        ((uintptr_t)old * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uintptr_t) new *UINT64_C(0xc2b2ae3d27d4eb4f));
	size_t i = (key ^ key >> 29) & (c->slots - 1);

	while (c->slot[i] && (c->pair[c->slot[i] - 1].old != old || c->pair[c->slot[i] - 1].new != new))
		i = (i + 1) & (c->slots - 1);
	return i;
}

static bool room_make(struct comparing *c)
{
	size_t room = c->room ? c->room * 2 : 64;
	struct pair *more;

	if (c->pairs < c->room)
		return true;
	more = realloc(c->pair, room * sizeof(*more));
	if (!more)
		return false;
	c->pair = more;
	c->room = room;
	free(c->slot);
	c->slots = room * 2;
	c->slot = calloc(c->slots, sizeof(*c->slot));
	for (size_t i = 0; c->slot && i < c->pairs; i++)
		c->slot[pair_slot(c, more[i].old, more[i].new)] = (uint32_t)i + 1;
	return c->slot;
}

static void grown_add(struct comparing *c, const struct ptype *old, const struct ptype *new)
{
	struct types_comparison *out = c->out;
	struct types_grown *more = realloc(out->grown, (out->grown_count + 1) * sizeof(*more));

	if (!more) {
		c->err = -ENOMEM;
		return;
	}
	out->grown = more;
	more[out->grown_count++] = (struct types_grown){old, new};
}

static bool is_aggregate(const struct ptype *t)
{
	return t->kind == PTYPE_STRUCT || t->kind == PTYPE_UNION;
}

static bool did_grow(const struct pair *p)
{
	return p->is_pointed && is_aggregate(p->old) && p->old->bytes && p->new->bytes > p->old->bytes;
}

/* label: of what they are called by if the old type has no name. */
static void pair_add(struct comparing *c, const struct ptype *old, const struct ptype *new, const char *label,
                     bool is_pointed)
{
	struct pair *p;

	if (c->err)
		return;
	if (c->pairs == PAIRS_MOST || !room_make(c)) {
		c->err = c->pairs == PAIRS_MOST ? -E2BIG : -ENOMEM;
		return;
	}
	if (c->slot[pair_slot(c, old, new)]) {
		p = &c->pair[c->slot[pair_slot(c, old, new)] - 1];
	} else {
		p = &c->pair[c->pairs];
		*p = (struct pair){old, new, strdup(is_aggregate(old) && *old->name ? old->name : label), false};
		if (!p->label) {
			c->err = -ENOMEM;
			return;
		}
		c->slot[pair_slot(c, old, new)] = (uint32_t)++c->pairs;
	}
	if (is_pointed && !p->is_pointed) {
		p->is_pointed = true;
		if (did_grow(p))
			grown_add(c, old, new);
	}
}

/* ---- values ---- */

static bool is_integer(const struct ptype *t)
{
	return t->kind == PTYPE_INT || t->kind == PTYPE_UNSIGNED || t->kind == PTYPE_ENUM;
}

/* An enum that was or becomes a number of its size still means the same. */
static bool is_same_scalar(const struct ptype *old, const struct ptype *new)
{
	if ((!old->bytes && old->kind == PTYPE_UNKNOWN) || (!new->bytes &&new->kind == PTYPE_UNKNOWN))
		return true;
	if (old->kind == PTYPE_ENUM && new->kind == PTYPE_ENUM && (!old->bytes || !new->bytes)) /* only declared */
		return true;
	if (old->bytes != new->bytes)
		return false;
	return old->kind == new->kind || old->kind == PTYPE_UNKNOWN || new->kind == PTYPE_UNKNOWN ||
	       (is_integer(old) && is_integer(new) && (old->kind == PTYPE_ENUM || new->kind == PTYPE_ENUM));
}

static bool has_steps(struct comparing *c, uint64_t old, uint64_t new)
{
	c->steps += old * new;
	if (c->steps > steps_most)
		c->err = -E2BIG;
	return !c->err;
}

/* The one of that name; with that value, if there are several. */
static const struct penumerator *value_find(const struct ptype *t, const struct penumerator *like)
{
	const struct penumerator *found = NULL;

	for (size_t i = 0; i < t->values; i++)
		if (!strcmp(t->value[i].name, like->name) && (!found || t->value[i].value == like->value))
			found = &t->value[i];
	return found;
}

static void enum_compare(struct comparing *c, const struct ptype *old, const struct ptype *new, const char *label)
{
	if (!has_steps(c, old->values, new->values))
		return;
	for (size_t i = 0; i < old->values; i++) {
		const struct penumerator *was = &old->value[i], *is = value_find(new, was);

		if (is && is->value != was->value)
			tell(c, *old->name ? old->name : label, "%s was %lld, is %lld", was->name,
			     (long long)was->value, (long long)is->value);
	}
}

static bool has_inside(const struct ptype *t)
{
	return is_aggregate(t) || t->kind == PTYPE_POINTER || t->kind == PTYPE_ARRAY || t->kind == PTYPE_ENUM;
}

/* What two pointers lead to: of a kind, or one of them does not tell. */
static void pointers_compare(struct comparing *c, const struct ptype *old, const struct ptype *new, const char *label,
                             const char *what, const char *inner)
{
	if (old->of->kind == PTYPE_VOID || new->of->kind == PTYPE_VOID)
		return;
	if (has_inside(old->of) && old->of->kind == new->of->kind)
		pair_add(c, old->of, new->of, inner, true);
	else if (has_inside(old->of) || has_inside(new->of) || !is_same_scalar(old->of, new->of))
		change_tell(c, label, what, old, new);
}

/* what: "field name: ", or "". */
static void value_compare(struct comparing *c, const struct ptype *old, const struct ptype *new, const char *label,
                          const char *what)
{
	char inner[LABEL_BYTES];

	snprintf(inner, sizeof(inner), "%s%s%.*s", label, *what ? ": " : "", *what ? (int)strlen(what) - 2 : 0, what);
	if (old->kind == PTYPE_POINTER && new->kind == PTYPE_POINTER) {
		pointers_compare(c, old, new, label, what, inner);
	} else if (old->kind == PTYPE_ARRAY && new->kind == PTYPE_ARRAY) {
		if (old->count != new->count || old->of->bytes != new->of->bytes)
			change_tell(c, label, what, old, new);
		else
			value_compare(c, old->of, new->of, label, what);
	} else if (is_aggregate(old) && old->kind == new->kind) {
		pair_add(c, old, new, inner, false);
	} else if (is_aggregate(old) || is_aggregate(new) || !is_same_scalar(old, new)) {
		change_tell(c, label, what, old, new);
	} else if (old->kind == PTYPE_ENUM && new->kind == PTYPE_ENUM) {
		pair_add(c, old, new, inner, false);
	}
}

/* ---- structs and unions ---- */

static int fields_add(struct fields *f, const struct ptype *t, uint64_t bit)
{
	f->steps += t->members;
	if (f->steps > FIELDS_MOST)
		return -E2BIG;
	for (size_t i = 0; i < t->members; i++) {
		const struct pmember *m = &t->member[i];
		uint64_t at = bit + m->offset * 8 + m->bit_offset;

		if (!*m->name && is_aggregate(m->type)) {
			int err = fields_add(f, m->type, at);

			if (err)
				return err;
			continue;
		}
		if (f->n == f->room) {
			size_t room = f->room ? f->room * 2 : 32;
			struct field *more = realloc(f->field, room * sizeof(*more));

			if (!more)
				return -ENOMEM;
			f->field = more;
			f->room = room;
		}
		f->field[f->n++] = (struct field){m->name, m->type, at, m->bits, false};
	}
	return 0;
}

/* Of that name; the one in the same place if there are several. */
static struct field *field_find(const struct fields *f, const struct field *like)
{
	struct field *found = NULL;

	for (size_t i = 0; i < f->n; i++)
		if (!strcmp(f->field[i].name, like->name) && (!found || f->field[i].bit == like->bit))
			found = &f->field[i];
	return found;
}

static uint64_t end_of(const struct field *f)
{
	return f->bit + (f->bits ? f->bits : f->type->bytes * 8);
}

static void moved_note(struct fields *olds, const struct fields *news)
{
	for (size_t i = 0; i < olds->n; i++) {
		const struct field *now = field_find(news, &olds->field[i]);

		olds->field[i].has_moved = now && now->bit != olds->field[i].bit;
	}
}

/* What was there has moved. */
static bool is_in_the_midst(const struct field *added, const struct fields *olds)
{
	for (size_t i = 0; i < olds->n; i++)
		if (olds->field[i].has_moved && olds->field[i].bit < end_of(added) &&
		    added->bit < end_of(&olds->field[i]))
			return true;
	return false;
}

static void bits_tell(struct comparing *c, const char *label, const struct field *old, const struct field *new)
{
	char was[32] = "no bit field", is[32] = "no bit field";

	if (old->bits)
		snprintf(was, sizeof(was), "%u bits", old->bits);
	if (new->bits)
		snprintf(is, sizeof(is), "%u bits", new->bits);
	tell(c, label, "field %s: was %s, is %s", old->name, was, is);
}

static void field_compare(struct comparing *c, const char *label, const struct field *old, const struct field *new)
{
	char what[LABEL_BYTES];

	if (old->bit / 8 != new->bit / 8)
		tell(c, label, "field %s moved from offset %llu to %llu", old->name, (unsigned long long)old->bit / 8,
		     (unsigned long long)new->bit / 8);
	else if (old->bit != new->bit)
		tell(c, label, "field %s moved from bit %llu to %llu of offset %llu", old->name,
		     (unsigned long long)old->bit % 8, (unsigned long long)new->bit % 8,
		     (unsigned long long)old->bit / 8);
	if (old->bits != new->bits)
		bits_tell(c, label, old, new);
	snprintf(what, sizeof(what), "field %.160s: ", old->name);
	value_compare(c, old->type, new->type, label, what);
}

/* In the order in which the new type has them. */
static void fields_compare(struct comparing *c, const char *label, const struct fields *olds, const struct fields *news)
{
	for (size_t i = 0; i < news->n; i++) {
		const struct field *new = &news->field[i], *old = field_find(olds, new);

		if (old && field_find(news, old) == new)
			field_compare(c, label, old, new);
		else if (is_in_the_midst(new, olds))
			tell(c, label, "field %s added at offset %llu", new->name, (unsigned long long)new->bit / 8);
	}
	for (size_t i = 0; i < olds->n; i++)
		if (!field_find(news, &olds->field[i]))
			tell(c, label, "field %s removed", olds->field[i].name);
}

static void aggregate_compare(struct comparing *c, const struct pair *p)
{
	struct fields olds = {0}, news = {0};

	if (!p->old->bytes || !p->new->bytes)
		return;
	c->err = fields_add(&olds, p->old, 0);
	if (!c->err)
		c->err = fields_add(&news, p->new, 0);
	if (!c->err && has_steps(c, olds.n, news.n)) {
		unsigned before = c->out->differences;

		moved_note(&olds, &news);
		fields_compare(c, p->label, &olds, &news);
		if (p->new->bytes < p->old->bytes && c->out->differences == before)
			tell(c, p->label, "its size was %llu, is %llu", (unsigned long long)p->old->bytes,
			     (unsigned long long)p->new->bytes);
	}
	free(olds.field);
	free(news.field);
}

static void pair_compare(struct comparing *c, const struct pair *p)
{
	if (p->old->kind == PTYPE_VOID || p->new->kind == PTYPE_VOID)
		return;
	if (is_aggregate(p->old) && p->old->kind == p->new->kind)
		aggregate_compare(c, p);
	else if (p->old->kind == PTYPE_ENUM && p->new->kind == PTYPE_ENUM && p->old->bytes == p->new->bytes)
		enum_compare(c, p->old, p->new, p->label);
	else
		value_compare(c, p->old, p->new, p->label, "");
}

int spm_types_compare(const struct types *old, const struct types *new, struct types_comparison *out)
{
	struct comparing c = {.out = out};
	size_t n;

	*out = (struct types_comparison){.differences = 0};
	for (size_t i = 0; i < old->roots; i++) {
		size_t same = i ? spm_types_root(new, old->all_roots[i].name) : 0;

		if (same < new->roots && old->all_roots[i].type &&new->all_roots[same].type)
			pair_add(&c, old->all_roots[i].type, new->all_roots[same].type, old->all_roots[i].name, true);
	}
	while (c.done < c.pairs && !c.err) {
		struct pair p = c.pair[c.done++]; /* more are added meanwhile */

		pair_compare(&c, &p);
	}
	for (size_t i = 0; i < c.pairs; i++)
		free(c.pair[i].label);
	free(c.pair);
	free(c.slot);
	n = strlen(out->text);
	if (out->differences > TOLD_MOST)
		snprintf(out->text + n, sizeof(out->text) - n, "; and %u more", out->differences - TOLD_MOST);
	if (c.err) {
		free(out->grown);
		*out = (struct types_comparison){.differences = 0};
	}
	return c.err;
}
