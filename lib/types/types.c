/* types.c - from untrusted bytes to a sound graph: see types.h. */
#include "types/types.h"
#include "types/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t bytes_most = UINT64_C(1) << 46;

/* What is left to read. is_bad: it was not what it should be; from then on nothing is read. */
struct reading {
	const unsigned char *at, *end;
	bool is_bad;
	struct types *t;
};

static uint64_t number(struct reading *r)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70 && r->at < r->end && !r->is_bad; shift += 7) {
		unsigned char byte = *r->at++;

		if (shift == 63 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return value;
	}
	r->is_bad = true;
	return 0;
}

/* `most` at most. */
static uint64_t number_upto(struct reading *r, uint64_t most)
{
	uint64_t value = number(r);

	r->is_bad |= value > most;
	return r->is_bad ? 0 : value;
}

static int64_t signed_number(struct reading *r)
{
	uint64_t z = number(r);

	return (int64_t)(z >> 1 ^ (0 - (z & 1)));
}

static const char *name(struct reading *r)
{
	size_t room = (size_t)(r->end - r->at);
	const char *start = (const char *)r->at;
	const unsigned char *zero =
	        r->is_bad ? NULL : memchr(start, 0, room < TYPES_NAME_MOST ? room : TYPES_NAME_MOST);

	if (!zero) {
		r->is_bad = true;
		return "";
	}
	r->at = zero + 1;
	return start;
}

static void id_read(struct reading *r, struct types_module *m)
{
	m->id_bytes = (unsigned)number_upto(r, TYPES_ID_BYTES);
	r->is_bad |= m->id_bytes > (size_t)(r->end - r->at);
	if (r->is_bad)
		return;
	memcpy(m->id, r->at, m->id_bytes);
	r->at += m->id_bytes;
}

static void modules_read(struct reading *r)
{
	r->t->modules = (unsigned)number_upto(r, TYPES_MODULES_MOST);
	r->is_bad |= !r->t->modules;
	for (unsigned i = 0; i < r->t->modules && !r->is_bad; i++) {
		struct types_module *m = &r->t->module[i];

		m->flags = (unsigned)number_upto(r, TYPES_MODULE_IS_MAIN);
		m->name = name(r);
		id_read(r, m);
	}
}

/* How many there are: as the least of each takes some bytes, no more than there is room for. */
static size_t count_read(struct reading *r, size_t bytes_least)
{
	return number_upto(r, (size_t)(r->end - r->at) / bytes_least);
}

static const struct ptype *type_ref(struct reading *r)
{
	uint64_t i = number(r);

	if (i >= r->t->types)
		r->is_bad = true;
	return r->is_bad ? NULL : &r->t->type[i];
}

static void member_read(struct reading *r, struct pmember *m)
{
	m->name = name(r);
	m->type = type_ref(r);
	m->offset = number_upto(r, bytes_most);
	m->bits = (unsigned)number_upto(r, 128);
	if (m->bits)
		m->bit_offset = (unsigned)number_upto(r, 7);
}

static void members_read(struct reading *r, struct ptype *p, size_t *used)
{
	p->members = number_upto(r, r->t->members - *used);
	p->member = r->t->member + *used;
	for (size_t i = 0; i < p->members && !r->is_bad; i++)
		member_read(r, &r->t->member[(*used)++]);
}

static void values_read(struct reading *r, struct ptype *p, size_t *used)
{
	p->values = number_upto(r, r->t->values - *used);
	p->value = r->t->value + *used;
	for (size_t i = 0; i < p->values && !r->is_bad; i++) {
		struct penumerator *v = &r->t->value[(*used)++];

		v->name = name(r);
		v->value = signed_number(r);
	}
}

static void types_read(struct reading *r)
{
	size_t members = 0, values = 0;

	for (size_t i = 0; i < r->t->types && !r->is_bad; i++) {
		struct ptype *p = &r->t->type[i];

		p->kind = (enum ptype_kind)number_upto(r, PTYPE_UNKNOWN);
		p->name = name(r);
		p->bytes = number_upto(r, bytes_most);
		if (p->kind == PTYPE_POINTER || p->kind == PTYPE_ARRAY)
			p->of = type_ref(r);
		if (p->kind == PTYPE_ARRAY)
			p->count = number_upto(r, bytes_most);
		if (p->kind == PTYPE_STRUCT || p->kind == PTYPE_UNION)
			members_read(r, p, &members);
		if (p->kind == PTYPE_ENUM)
			values_read(r, p, &values);
	}
	r->is_bad |= members != r->t->members || values != r->t->values;
	r->t->core_bytes = (size_t)(r->at - r->t->bytes);
}

/* ---- what the program told beside ---- */

/* By number + 1; NULL: none. */
static struct ptype *type_maybe(struct reading *r)
{
	uint64_t i = number_upto(r, r->t->types);

	return i ? &r->t->type[i - 1] : NULL;
}

static void roots_read(struct reading *r, bool has_more)
{
	struct types *t = r->t;

	t->roots = 1 + (has_more ? number_upto(r, TYPES_ROOTS_MOST - 1) : 0);
	t->all_roots = calloc(t->roots, sizeof(*t->all_roots));
	if (!t->all_roots)
		return;
	t->all_roots[0] = (struct types_root){t->root, &t->type[0]};
	for (size_t i = 1; i < t->roots && !r->is_bad; i++) {
		t->all_roots[i].name = name(r);
		t->all_roots[i].type = type_maybe(r);
	}
}

static void cases_read(struct reading *r, struct types_rule *rule, size_t *used)
{
	struct types_case *of = r->t->made->told + *used;

	rule->of = of;
	rule->cases = number_upto(r, TYPES_CASES_MOST - *used);
	*used += rule->cases;
	for (size_t i = 0; i < rule->cases && !r->is_bad; i++) {
		of[i].value = signed_number(r);
		of[i].member = name(r);
	}
}

static void rules_read(struct reading *r)
{
	struct types *t = r->t;
	size_t used = 0;

	t->rules = number_upto(r, TYPES_RULES_MOST);
	for (size_t i = 0; i < t->rules && !r->is_bad; i++) {
		struct types_rule *rule = &t->rule[i];

		rule->path = name(r);
		t->made->on[i] = type_maybe(r);
		if (number_upto(r, 1)) {
			rule->tag = name(r);
			cases_read(r, rule, &used);
		} else {
			rule->root = (unsigned)number_upto(r, t->roots - 1);
		}
	}
}

static int told_read(struct reading *r, bool has_more)
{
	struct types *t = r->t;

	roots_read(r, has_more);
	if (!t->all_roots)
		return -ENOMEM;
	if (has_more && !r->is_bad) {
		t->rule = calloc(TYPES_RULES_MOST, sizeof(*t->rule));
		t->made = calloc(1, sizeof(*t->made));
		if (!t->rule || !t->made)
			return -ENOMEM;
		rules_read(r);
	}
	r->is_bad |= r->at != r->end;
	return 0;
}

/* ---- whether it makes sense ---- */

static bool is_scalar(const struct ptype *p)
{
	return (p->kind >= PTYPE_BOOL && p->kind <= PTYPE_ENUM) || p->kind == PTYPE_UNKNOWN;
}

static bool is_member_sound(const struct ptype *of, const struct pmember *m)
{
	uint64_t end = m->offset * 8 + m->bit_offset + m->bits;

	if (m->type->kind == PTYPE_VOID || m->type->kind == PTYPE_FUNCTION)
		return false;
	if (m->bits)
		return is_scalar(m->type) && m->bits <= m->type->bytes * 8 && end <= of->bytes * 8;
	return m->offset <= of->bytes && m->type->bytes <= of->bytes - m->offset;
}

static bool is_array_sound(const struct ptype *p)
{
	return p->of->bytes && p->count <= bytes_most / p->of->bytes && p->bytes == p->count * p->of->bytes;
}

static bool is_sound(const struct ptype *p)
{
	switch (p->kind) {
	case PTYPE_VOID:
	case PTYPE_FUNCTION:
		return !p->bytes;
	case PTYPE_CHAR:
		return p->bytes == 1;
	case PTYPE_BOOL:
	case PTYPE_INT:
	case PTYPE_UNSIGNED:
	case PTYPE_FLOAT:
		return p->bytes && p->bytes <= 16;
	case PTYPE_ENUM: /* 0: only declared */
		return p->bytes <= 16;
	case PTYPE_POINTER:
		return p->bytes == 8;
	case PTYPE_ARRAY:
		return is_array_sound(p);
	case PTYPE_STRUCT:
	case PTYPE_UNION:
		for (size_t i = 0; i < p->members; i++)
			if (!is_member_sound(p, &p->member[i]))
				return false;
		return true;
	case PTYPE_UNKNOWN:
		return true;
	}
	return false;
}

/* What a type has by value: how deep, how many parts in all. depth 0: not known yet. */
struct extent {
	unsigned depth, parts;
};

/* false: too deep, or it is within itself, or it has too many. */
static bool extent_find(const struct types *t, const struct ptype *p, struct extent *known, unsigned left)
{
	struct extent *own = &known[p - t->type], sum = {1, 1};

	if (own->depth)
		return own->depth <= left;
	if (!left)
		return false;
	for (size_t i = 0; i < p->members + (p->kind == PTYPE_ARRAY); i++) {
		const struct ptype *inner = p->kind == PTYPE_ARRAY ? p->of : p->member[i].type;
		struct extent *in = &known[inner - t->type];

		if (!extent_find(t, inner, known, left - 1))
			return false;
		sum.depth = in->depth >= sum.depth ? in->depth + 1 : sum.depth;
		sum.parts += in->parts;
		if (sum.parts > TYPES_PARTS_MOST)
			return false;
	}
	*own = sum;
	return true;
}

static int graph_check(const struct types *t)
{
	struct extent *known = calloc(t->types, sizeof(*known));
	bool is_right = known;

	for (size_t i = 0; i < t->types && is_right; i++)
		is_right = is_sound(&t->type[i]) && extent_find(t, &t->type[i], known, TYPES_DEPTH_MOST);
	free(known);
	if (!known)
		return -ENOMEM;
	return is_right ? 0 : -EINVAL;
}

/* ---- all of it ---- */

static int tables_make(struct reading *r, bool has_more)
{
	struct types *t = r->t;

	t->types = count_read(r, 3);
	t->members = count_read(r, 4);
	t->values = count_read(r, 2);
	if (r->is_bad || !t->types)
		return -EINVAL;
	t->type = calloc(t->types + (has_more ? TYPES_MADE_MOST : 0), sizeof(*t->type));
	t->member = calloc(t->members + 1, sizeof(*t->member));
	t->value = calloc(t->values + 1, sizeof(*t->value));
	return t->type && t->member && t->value ? 0 : -ENOMEM;
}

static int load(struct types *t)
{
	static const char magic[2][8] = {"SPTYPES1", "SPTYPES2"};
	struct reading r = {t->bytes + sizeof(magic[0]), t->bytes + t->n, false, t};
	bool has_more;
	int err;

	if (t->n < sizeof(magic[0]))
		return -EINVAL;
	has_more = !memcmp(t->bytes, magic[1], sizeof(magic[1]));
	if (!has_more && memcmp(t->bytes, magic[0], sizeof(magic[0])))
		return -EINVAL;
	modules_read(&r);
	t->root = name(&r);
	err = tables_make(&r, has_more);
	if (err)
		return err;
	types_read(&r);
	err = r.is_bad ? -EINVAL : told_read(&r, has_more);
	if (!err)
		err = r.is_bad ? -EINVAL : graph_check(t);
	if (!err && t->rules)
		spm_rules_apply(t);
	return err;
}

int spm_types_load(const void *bytes, size_t n, struct types **out)
{
	struct types *t;
	int err;

	if (n > TYPES_BYTES_MOST)
		return -EINVAL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->bytes = malloc(n + 1);
	t->n = n;
	if (t->bytes)
		memcpy(t->bytes, bytes, n);
	err = t->bytes ? load(t) : -ENOMEM;
	if (err)
		spm_types_free(t);
	else
		*out = t;
	return err;
}

void spm_types_free(struct types *t)
{
	if (!t)
		return;
	spm_rules_free(t);
	free(t->bytes);
	free(t->all_roots);
	free(t->type);
	free(t->member);
	free(t->value);
	free(t);
}

size_t spm_types_root(const struct types *t, const char *wanted)
{
	size_t i = 0;

	while (i < t->roots && strcmp(t->all_roots[i].name, wanted) != 0)
		i++;
	return i;
}

const struct ptype *spm_types_named(const struct types *t, const char *wanted)
{
	size_t root = spm_types_root(t, wanted);

	if (root < t->roots && t->all_roots[root].type)
		return t->all_roots[root].type;
	for (size_t i = 0; i < t->types; i++)
		if (*wanted && !strcmp(t->type[i].name, wanted))
			return &t->type[i];
	return NULL;
}
