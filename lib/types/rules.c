/* rules.c - see rules.h. */
#include "types/rules.h"
#include "types/put.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN_MOST = 8 };

/* ---- types of one's own ---- */

/* A copy that may be changed; NULL: there are too many, or no memory. */
static struct ptype *type_copy(struct types *t, const struct ptype *of)
{
	struct types_made *made = t->made;
	struct ptype *copy = &t->type[t->types + made->types];
	struct pmember *member;

	if (made->types == TYPES_MADE_MOST || of->members > TYPES_PARTS_MOST - made->members)
		return NULL;
	*copy = *of;
	if (of->members) {
		member = malloc(of->members * sizeof(*member));
		if (!member)
			return NULL;
		memcpy(member, of->member, of->members * sizeof(*member));
		copy->member = made->member[made->types] = member;
	}
	made->types++;
	made->members += of->members;
	return copy;
}

static bool is_record(const struct ptype *t)
{
	return t->kind == PTYPE_STRUCT || t->kind == PTYPE_UNION;
}

/* ---- paths ---- */

size_t spm_rule_type_bytes(const char *path)
{
	return strcspn(path, ".");
}

/* The next step of a path; its length. */
static size_t step_next(const char **path)
{
	*path += **path == '.';
	return strcspn(*path, ".");
}

/* No name: an anonymous union. */
static bool is_called(const struct pmember *m, const char *name, size_t n)
{
	return n ? strlen(m->name) == n && !memcmp(m->name, name, n) : !*m->name && m->type->kind == PTYPE_UNION;
}

/* The index of the member of that name, or of the anonymous one that has it; type->members: none. */
static size_t member_index(struct types_made *made, const struct ptype *type, const char *name, size_t n,
                           unsigned depth)
{
	made->looks += type->members;
	for (size_t i = 0; i < type->members && made->looks < TYPES_LOOKS_MOST; i++)
		if (is_called(&type->member[i], name, n))
			return i;
	for (size_t i = 0; i < type->members && depth && made->looks < TYPES_LOOKS_MOST; i++) {
		const struct ptype *inner = type->member[i].type;

		if (!*type->member[i].name && is_record(inner) && n &&
		    member_index(made, inner, name, n, depth - 1) < inner->members)
			return i;
	}
	return type->members;
}

/* The struct or union that a member is, or an array is of, as one that nobody else has; NULL: it is none, or too many were made. */
static struct ptype *record_own(struct types *t, struct pmember *m)
{
	const struct ptype **place = &m->type;
	struct ptype *own = NULL;

	for (unsigned depth = 0; !m->bits && depth < CHAIN_MOST && (!own || own->kind == PTYPE_ARRAY); depth++) {
		if (!is_record(*place) && (*place)->kind != PTYPE_ARRAY)
			return NULL;
		own = type_copy(t, *place);
		if (!own)
			return NULL;
		*place = own;
		place = &own->of;
	}
	return own && is_record(own) ? own : NULL;
}

/* The member that a path leads to; NULL: there is none. is_own: it may be changed, as what it lies in by value becomes nobody else's; NULL, too, if
 * too many were made. */
static const struct pmember *member_at(struct types *t, const struct ptype *type, const char *path, uint64_t *offset,
                                       bool is_own)
{
	size_t n = step_next(&path);

	for (unsigned depth = 0; depth < TYPES_DEPTH_MOST && type && is_record(type); depth++) {
		size_t i = member_index(t->made, type, path, n, TYPES_DEPTH_MOST);
		const struct pmember *m = &type->member[i];

		if (i == type->members)
			return NULL;
		*offset += m->offset;
		if (is_called(m, path, n)) {
			path += n;
			if (!*path)
				return m;
			n = step_next(&path);
		}
		type = is_own ? record_own(t, (struct pmember *)(uintptr_t)m) : m->type;
		while (type && type->kind == PTYPE_ARRAY)
			type = type->of;
	}
	return NULL;
}

static struct pmember *member_own(struct types *t, struct ptype *type, const char *path, uint64_t *offset)
{
	return (struct pmember *)(uintptr_t)member_at(t, type, path, offset, true);
}

/* ---- fields ---- */

/* A pointer type, or an array of such, whose pointers lead to `to` in the end; NULL: it is none. */
static const struct ptype *led_to(struct types *t, const struct ptype *type, const struct ptype *to, unsigned deep)
{
	const struct ptype *of = type->of;
	struct ptype *own;

	if (!of || !deep || of->kind == PTYPE_FUNCTION)
		return NULL;
	if (of->kind == PTYPE_POINTER || of->kind == PTYPE_ARRAY)
		of = led_to(t, of, to, deep - 1);
	else
		of = type->kind == PTYPE_POINTER ? to : NULL;
	own = of ? type_copy(t, type) : NULL;
	if (own)
		own->of = of;
	return own;
}

static bool field_apply(struct types *t, const struct types_rule *rule, struct ptype *on, const char *path)
{
	const struct ptype *to = t->all_roots[rule->root].type, *type;
	uint64_t offset = 0;
	struct pmember *m = to ? member_own(t, on, path, &offset) : NULL;

	type = m ? led_to(t, m->type, to, CHAIN_MOST) : NULL;
	if (type)
		m->type = type;
	return type;
}

/* ---- unions ---- */

static bool is_tag(const struct pmember *m)
{
	switch (m->type->kind) {
	case PTYPE_BOOL:
	case PTYPE_CHAR:
	case PTYPE_INT:
	case PTYPE_UNSIGNED:
	case PTYPE_ENUM:
		return m->type->bytes && m->type->bytes <= 8 && m->bits <= 56;
	default:
		return false;
	}
}

static const struct pmember *case_member(struct types_made *made, const struct ptype *type, const char *name)
{
	made->looks += type->members;
	for (size_t i = 0; i < type->members && made->looks < TYPES_LOOKS_MOST; i++)
		if (*name && !strcmp(type->member[i].name, name))
			return &type->member[i];
	return NULL;
}

static bool cases_make(struct types *t, const struct types_rule *rule, const struct ptype *type)
{
	struct pchosen *out = t->made->chosen + t->made->chosens;

	for (size_t i = 0; i < rule->cases; i++) {
		out[i] = (struct pchosen){rule->of[i].value, case_member(t->made, type, rule->of[i].member)};
		if (*rule->of[i].member && !out[i].member)
			return false;
	}
	return true;
}

static bool union_apply(struct types *t, const struct types_rule *rule, struct ptype *on, const char *path)
{
	uint64_t offset = 0, tag_offset = 0;
	struct types_made *made = t->made;
	const struct pmember *tag;
	struct pmember *m = member_own(t, on, path, &offset);

	tag = m ? member_at(t, on, rule->tag, &tag_offset, false) : NULL;
	if (!tag || !is_tag(tag) || m->type->kind != PTYPE_UNION || m->bits || !cases_make(t, rule, m->type))
		return false;
	made->choice[made->choices] = (struct pchoice){.tag_at = (int64_t)(tag_offset - offset),
	                                               .tag = tag,
	                                               .of = made->chosen + made->chosens,
	                                               .n = rule->cases};
	m->choice = &made->choice[made->choices++];
	made->chosens += rule->cases;
	return true;
}

/* is_plain: of a type's own members; those of what lies in it by value, which then is made anew, come later. */
static void rules_apply(struct types *t, bool is_plain)
{
	for (size_t i = 0; i < t->rules; i++) {
		struct types_rule *rule = &t->rule[i];
		const char *path = rule->path + spm_rule_type_bytes(rule->path);

		if (t->made->on[i] && is_plain == !strchr(path + (*path != 0), '.'))
			rule->fits = rule->tag ? union_apply(t, rule, t->made->on[i], path)
			                       : field_apply(t, rule, t->made->on[i], path);
	}
}

void spm_rules_apply(struct types *t)
{
	rules_apply(t, true);
	rules_apply(t, false);
	t->types += t->made->types;
}

void spm_rules_free(struct types *t)
{
	for (size_t i = 0; t->made && i < t->made->types; i++)
		free(t->made->member[i]);
	free(t->made);
	free(t->rule);
}

unsigned spm_types_tag_bytes(const struct pchoice *choice)
{
	const struct pmember *tag = choice->tag;

	return tag->bits ? (tag->bit_offset + tag->bits + 7) / 8 : (unsigned)tag->type->bytes;
}

bool spm_types_holds(const struct pchoice *choice, const void *object, uint64_t bytes, uint64_t at,
                     const struct pmember **out)
{
	unsigned n = spm_types_tag_bytes(choice), bits = choice->tag->bits ? choice->tag->bits : n * 8;
	uint64_t from = at + (uint64_t)choice->tag_at, tag = 0, mask = UINT64_MAX >> (64 - bits);

	if (from > bytes || n > bytes - from)
		return false;
	memcpy(&tag, (const unsigned char *)object + from, n);
	tag >>= choice->tag->bits ? choice->tag->bit_offset : 0;
	for (size_t i = 0; i < choice->n; i++)
		if (!(((uint64_t)choice->of[i].value ^ tag) & mask)) {
			*out = choice->of[i].member;
			return true;
		}
	return false;
}

/* ---- as bytes ---- */

static uint64_t number_of(const struct types *t, const char *name)
{
	const struct ptype *type = spm_types_named(t, name);

	return type ? (uint64_t)(type - t->type) + 1 : 0;
}

static void rule_put(struct types_writing *w, const struct types *t, const struct types_rule *rule)
{
	char type[TYPES_NAME_MOST];
	size_t n = spm_rule_type_bytes(rule->path);

	memcpy(type, rule->path, n < sizeof(type) ? n : 0);
	type[n < sizeof(type) ? n : 0] = 0;
	spm_put_name(w, rule->path);
	spm_put_number(w, number_of(t, type));
	spm_put_number(w, rule->tag != NULL);
	if (!rule->tag) {
		spm_put_number(w, rule->root);
		return;
	}
	spm_put_name(w, rule->tag);
	spm_put_number(w, rule->cases);
	for (size_t i = 0; i < rule->cases; i++) {
		spm_put_signed(w, rule->of[i].value);
		spm_put_name(w, rule->of[i].member);
	}
}

int spm_rules_put(const struct types *t, const char *const *roots, size_t n, const struct types_rule *rules,
                  size_t rule_count, void **bytes, size_t *bytes_n)
{
	struct types_writing w = {.is_short = false};
	const size_t magic_bytes = 8;

	spm_put(&w, n || rule_count ? "SPTYPES2" : "SPTYPES1", magic_bytes);
	spm_put(&w, t->bytes + magic_bytes, t->core_bytes - magic_bytes);
	if (n || rule_count) {
		spm_put_number(&w, n);
		for (size_t i = 0; i < n; i++) {
			spm_put_name(&w, roots[i]);
			spm_put_number(&w, number_of(t, roots[i]));
		}
		spm_put_number(&w, rule_count);
		for (size_t i = 0; i < rule_count; i++)
			rule_put(&w, t, &rules[i]);
	}
	return spm_put_end(&w, 0, bytes, bytes_n);
}
