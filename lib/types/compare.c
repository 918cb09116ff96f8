/* compare.c - see compare.h. */
#include "types/compare.h"
#include "types/fields.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_BYTES = 192, PAIRS_MOST = 1000000, TOLD_MOST = 4 };
static const uint64_t steps_most = UINT64_C(1) << 32;

struct pair {
	const struct ptype *old, *new;
	char *label;     /* what it is called in a sentence */
	bool is_pointed; /* its objects are allocated by themselves */
	unsigned flags;  /* enum types_change_flags */
};
struct comparing {
	struct types_comparison *out;
	struct pair *pair;        /* each once; those behind `done` are still to be compared */
	size_t pairs, done, room; /* the one that is being compared is done - 1 */
	uint32_t *slot;           /* pair + 1, by its types; 0: free */
	size_t slots;
	uint64_t steps; /* what a volume says shall not take for ever */
	int err;
};

/* ---- what is told ---- */

static void tell(struct comparing *c, unsigned flag, const char *label, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
static void tell(struct comparing *c, unsigned flag, const char *label, const char *format, ...)
{
	struct types_comparison *out = c->out;
	size_t n = strlen(out->text);
	va_list args;

	c->pair[c->done - 1].flags |= flag;
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
static void change_tell(struct comparing *c, unsigned flag, const char *label, const char *what,
                        const struct ptype *old, const struct ptype *new)
{
	char was[LABEL_BYTES], is[LABEL_BYTES];

	type_write(old, was, sizeof(was));
	type_write(new, is, sizeof(is));
	if (strcmp(was, is))
		tell(c, flag, label, "%swas %s, is %s", what, was, is);
	else
		tell(c, flag, label, "%swas %s of %llu bytes, is one of %llu", what, was,
		     (unsigned long long)old->bytes, (unsigned long long)new->bytes);
}

/* ---- pairs ---- */

static size_t pair_slot(const struct comparing *c, const struct ptype *old, const struct ptype *new)
{
	size_t i = spm_types_hash(old, new) & (c->slots - 1);

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

static bool did_grow(const struct pair *p)
{
	return p->is_pointed && spm_is_aggregate(p->old) && p->old->bytes && p->new->bytes > p->old->bytes;
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
		*p = (struct pair){old, new, strdup(spm_is_aggregate(old) && *old->name ? old->name : label), false, 0};
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
			tell(c, TYPES_CHANGED, *old->name ? old->name : label, "%s was %lld, is %lld", was->name,
			     (long long)was->value, (long long)is->value);
	}
}

static bool has_inside(const struct ptype *t)
{
	return spm_is_aggregate(t) || t->kind == PTYPE_POINTER || t->kind == PTYPE_ARRAY || t->kind == PTYPE_ENUM;
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
		change_tell(c, TYPES_CHANGED, label, what, old, new);
}

static void value_compare(struct comparing *c, const struct ptype *old, const struct ptype *new, const char *label,
                          const char *what);

/* Of structs that are larger by now: the array has changed with them. */
static void arrays_compare(struct comparing *c, const struct ptype *old, const struct ptype *new, const char *label,
                           const char *what, const char *inner)
{
	bool are_structs = spm_is_aggregate(old->of) && old->of->kind == new->of->kind;
	bool is_moved = are_structs && old->count == new->count;

	if (old->count == new->count && old->of->bytes == new->of->bytes) {
		value_compare(c, old->of, new->of, label, what);
		return;
	}
	change_tell(c, is_moved ? TYPES_MOVED : TYPES_CHANGED, label, what, old, new);
	if (are_structs)
		pair_add(c, old->of, new->of, inner, false);
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
		arrays_compare(c, old, new, label, what, inner);
	} else if (spm_is_aggregate(old) && old->kind == new->kind) {
		pair_add(c, old, new, inner, false);
	} else if (spm_is_aggregate(old) || spm_is_aggregate(new) || !is_same_scalar(old, new)) {
		change_tell(c, TYPES_CHANGED, label, what, old, new);
	} else if (old->kind == PTYPE_ENUM && new->kind == PTYPE_ENUM) {
		pair_add(c, old, new, inner, false);
	}
}

/* ---- structs and unions ---- */

static void moved_note(struct fields *olds, const struct fields *news)
{
	for (size_t i = 0; i < olds->n; i++) {
		const struct field *now = spm_field_find(news, &olds->field[i]);

		olds->field[i].has_moved = now && now->bit != olds->field[i].bit;
	}
}

/* What was there has moved. */
static bool is_in_the_midst(const struct field *added, const struct fields *olds)
{
	for (size_t i = 0; i < olds->n; i++)
		if (olds->field[i].has_moved && olds->field[i].bit < spm_field_end(added) &&
		    added->bit < spm_field_end(&olds->field[i]))
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
	tell(c, TYPES_CHANGED, label, "field %s: was %s, is %s", old->name, was, is);
}

static void field_compare(struct comparing *c, const char *label, const struct field *old, const struct field *new)
{
	char what[LABEL_BYTES];

	if (old->bit / 8 != new->bit / 8)
		tell(c, TYPES_MOVED, label, "field %s moved from offset %llu to %llu", old->name,
		     (unsigned long long)old->bit / 8, (unsigned long long)new->bit / 8);
	else if (old->bit != new->bit)
		tell(c, TYPES_MOVED, label, "field %s moved from bit %llu to %llu of offset %llu", old->name,
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
		const struct field *new = &news->field[i], *old = spm_field_find(olds, new);

		if (old && spm_field_find(news, old) == new)
			field_compare(c, label, old, new);
		else if (is_in_the_midst(new, olds))
			tell(c, TYPES_CHANGED, label, "field %s added at offset %llu", new->name,
			     (unsigned long long)new->bit / 8);
		else if (!old)
			c->pair[c->done - 1].flags |= TYPES_ADDED;
	}
	for (size_t i = 0; i < olds->n; i++)
		if (!spm_field_find(news, &olds->field[i]))
			tell(c, TYPES_CHANGED, label, "field %s removed", olds->field[i].name);
}

static void aggregate_compare(struct comparing *c, const struct pair *p)
{
	struct fields olds = {0}, news = {0};

	if (!p->old->bytes || !p->new->bytes)
		return;
	c->err = spm_fields_add(&olds, p->old, true);
	if (!c->err)
		c->err = spm_fields_add(&news, p->new, true);
	if (!c->err && has_steps(c, olds.n, news.n)) {
		unsigned before = c->out->differences;

		moved_note(&olds, &news);
		fields_compare(c, p->label, &olds, &news);
		if (p->new->bytes > p->old->bytes)
			c->pair[c->done - 1].flags |= TYPES_ADDED;
		if (p->new->bytes < p->old->bytes && c->out->differences == before)
			tell(c, TYPES_CHANGED, p->label, "its size was %llu, is %llu",
			     (unsigned long long)p->old->bytes, (unsigned long long)p->new->bytes);
	}
	free(olds.field);
	free(news.field);
}

static void pair_compare(struct comparing *c, const struct pair *p)
{
	if (p->old->kind == PTYPE_VOID || p->new->kind == PTYPE_VOID)
		return;
	if (spm_is_aggregate(p->old) && p->old->kind == p->new->kind)
		aggregate_compare(c, p);
	else if (p->old->kind == PTYPE_ENUM && p->new->kind == PTYPE_ENUM && p->old->bytes == p->new->bytes)
		enum_compare(c, p->old, p->new, p->label);
	else
		value_compare(c, p->old, p->new, p->label, "");
}

static int changes_list(const struct comparing *c)
{
	struct types_comparison *out = c->out;

	out->change = malloc((c->pairs + 1) * sizeof(*out->change));
	if (!out->change)
		return -ENOMEM;
	for (size_t i = 0; i < c->pairs; i++)
		if (c->pair[i].flags)
			out->change[out->changes++] =
			        (struct types_change){c->pair[i].old, c->pair[i].new, c->pair[i].flags};
	return 0;
}

void spm_types_comparison_free(struct types_comparison *found)
{
	free(found->grown);
	free(found->change);
	*found = (struct types_comparison){.differences = 0};
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
	if (!c.err)
		c.err = changes_list(&c);
	for (size_t i = 0; i < c.pairs; i++)
		free(c.pair[i].label);
	free(c.pair);
	free(c.slot);
	n = strlen(out->text);
	if (out->differences > TOLD_MOST)
		snprintf(out->text + n, sizeof(out->text) - n, "; and %u more", out->differences - TOLD_MOST);
	if (c.err)
		spm_types_comparison_free(out);
	return c.err;
}
