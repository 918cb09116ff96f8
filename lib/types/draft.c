/* draft.c - see draft.h. */
#include "types/draft.h"
#include "types/put.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static const uint64_t bytes_most = UINT64_C(1) << 46;

static void *room_make(struct draft *d, void *array, uint32_t n, size_t bytes)
{
	void *more = array;

	if (!(n & (n - 1))) /* full: its room is a power of two */
		more = realloc(array, (n ? (size_t)n * 2 : 1) * bytes);
	d->is_short |= !more;
	return more;
}

uint32_t spm_draft_add(struct draft *d, enum ptype_kind kind, const char *name, uint64_t bytes)
{
	struct draft_type *more = room_make(d, d->type, d->types, sizeof(*more));

	if (!more)
		return 0;
	d->type = more;
	d->type[d->types] = (struct draft_type){.kind = kind, .name = name ? name : "", .bytes = bytes};
	return d->types++;
}

void spm_draft_member_add(struct draft *d, uint32_t type, const struct draft_member *member)
{
	struct draft_type *t = &d->type[type];
	struct draft_member *more = room_make(d, t->member, t->members, sizeof(*more));

	if (!more)
		return;
	t->member = more;
	t->member[t->members++] = *member;
}

void spm_draft_value_add(struct draft *d, uint32_t type, const char *name, int64_t value)
{
	struct draft_type *t = &d->type[type];
	struct penumerator *more = room_make(d, t->value, t->values, sizeof(*more));

	if (!more)
		return;
	t->value = more;
	t->value[t->values++] = (struct penumerator){name, value};
}

const char *spm_draft_text(struct draft *d, const char *before, const char *name)
{
	char **more = room_make(d, d->text, (uint32_t)d->texts, sizeof(*more));
	size_t first = strlen(before), bytes = strlen(name) + 1;
	char *text = malloc(first + bytes);

	d->text = more ? more : d->text;
	if (!more || !text) {
		free(text);
		d->is_short = true;
		return "";
	}
	memcpy(text, before, first);
	memcpy(text + first, name, bytes);
	return d->text[d->texts++] = text;
}

void spm_draft_free(struct draft *d)
{
	for (uint32_t i = 0; i < d->types; i++) {
		free(d->type[i].member);
		free(d->type[i].value);
	}
	for (size_t i = 0; i < d->texts; i++)
		free(d->text[i]);
	free(d->type);
	free(d->text);
	*d = (struct draft){0};
}

/* ---- sizes ---- */

static void unknown_make(struct draft_type *t, uint64_t bytes)
{
	t->kind = PTYPE_UNKNOWN;
	t->bytes = bytes;
}

/* Of an array what it is of comes first. */
static void array_settle(struct draft *d, struct draft_type *t, unsigned depth)
{
	struct draft_type *of = &d->type[t->of];

	if (t->is_settled || t->kind != PTYPE_ARRAY)
		return;
	t->is_settled = true;
	if (depth)
		array_settle(d, of, depth - 1);
	if (!depth || !of->bytes || t->count > bytes_most / of->bytes)
		unknown_make(t, 0);
	else
		t->bytes = t->count * of->bytes;
}

static bool is_scalar(enum ptype_kind kind)
{
	return (kind >= PTYPE_BOOL && kind <= PTYPE_ENUM) || kind == PTYPE_UNKNOWN;
}

static bool fits(const struct draft_type *t, const struct draft_member *m, const struct draft_type *type)
{
	if (type->kind == PTYPE_VOID || type->kind == PTYPE_FUNCTION || m->offset > t->bytes)
		return false;
	if (m->bits)
		return is_scalar(type->kind) && m->bits <= 128 && m->bits <= type->bytes * 8 &&
		       m->offset * 8 + m->bit_offset + m->bits <= t->bytes * 8;
	return type->bytes <= t->bytes - m->offset;
}

static void members_settle(struct draft *d, struct draft_type *t)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->members; i++)
		if (fits(t, &t->member[i], &d->type[t->member[i].type]))
			t->member[kept++] = t->member[i];
	t->members = kept;
}

static void scalar_settle(struct draft_type *t)
{
	bool is_number =
	        t->kind == PTYPE_BOOL || t->kind == PTYPE_INT || t->kind == PTYPE_UNSIGNED || t->kind == PTYPE_FLOAT;

	if (t->bytes > bytes_most)
		unknown_make(t, 0);
	if ((is_number && (!t->bytes || t->bytes > 16)) || (t->kind == PTYPE_ENUM && t->bytes > 16) ||
	    (t->kind == PTYPE_CHAR && t->bytes != 1) || (t->kind == PTYPE_POINTER && t->bytes != 8))
		unknown_make(t, t->bytes);
}

static void sizes_settle(struct draft *d)
{
	for (uint32_t i = 0; i < d->types; i++)
		scalar_settle(&d->type[i]);
	for (uint32_t i = 0; i < d->types; i++)
		array_settle(d, &d->type[i], TYPES_DEPTH_MOST);
	for (uint32_t i = 0; i < d->types; i++)
		members_settle(d, &d->type[i]);
}

/* ---- which types are the same ---- */

static uint64_t sum_text(const char *text, uint64_t sum)
{
	return XXH3_64bits_withSeed(text, strlen(text), sum);
}

static uint64_t sum_number(uint64_t number, uint64_t sum)
{
	return XXH3_64bits_withSeed(&number, sizeof(number), sum);
}

static bool has_of(const struct draft_type *t)
{
	return t->kind == PTYPE_POINTER || t->kind == PTYPE_ARRAY;
}

/* Of what a type is by itself. */
static uint64_t sum_alone(const struct draft_type *t)
{
	uint64_t sum = sum_number(t->bytes, sum_text(t->name, t->kind));

	sum = sum_number(t->count, sum);
	for (uint32_t i = 0; i < t->members; i++) {
		const struct draft_member *m = &t->member[i];

		sum = sum_number(m->offset, sum_text(m->name, sum));
		sum = sum_number(m->bits << 8 | m->bit_offset, sum);
	}
	for (uint32_t i = 0; i < t->values; i++)
		sum = sum_number((uint64_t)t->value[i].value, sum_text(t->value[i].name, sum));
	return sum;
}

static uint64_t sum_further(const struct draft *d, const struct draft_type *t)
{
	uint64_t sum = t->sum;

	if (has_of(t))
		sum = sum_number(d->type[t->of].sum, sum);
	for (uint32_t i = 0; i < t->members; i++)
		sum = sum_number(d->type[t->member[i].type].sum, sum);
	return sum;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint32_t distinct(uint64_t *sum, uint32_t n)
{
	uint32_t found = 0;

	qsort(sum, n, sizeof(*sum), by_number);
	for (uint32_t i = 0; i < n; i++)
		found += !i || sum[i] != sum[i - 1];
	return found;
}

/* Types differ if they do by themselves, or in what they lead to, one step further each time, until that parts no more of them. */
static int sums_make(struct draft *d)
{
	uint64_t *sum = malloc(d->types * sizeof(*sum));
	uint32_t before = 0, now = 0;

	if (!sum)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->types; i++)
		sum[i] = d->type[i].sum = sum_alone(&d->type[i]);
	for (now = distinct(sum, d->types); now > before;) {
		for (uint32_t i = 0; i < d->types; i++)
			sum[i] = sum_further(d, &d->type[i]);
		for (uint32_t i = 0; i < d->types; i++)
			d->type[i].sum = sum[i];
		before = now;
		now = distinct(sum, d->types);
	}
	free(sum);
	return 0;
}

/* ---- from the root on, in the order that they are met ---- */

struct meeting {
	const struct draft *d;
	uint32_t *order, n; /* the types to be told */
	uint32_t *slot;     /* number in `order` + 1, by sum; 0: free */
	size_t slots, members, values;
};

static uint32_t meet(struct meeting *m, uint32_t type)
{
	uint64_t sum = m->d->type[type].sum;
	size_t i = sum & (m->slots - 1);

	while (m->slot[i] && m->d->type[m->order[m->slot[i] - 1]].sum != sum)
		i = (i + 1) & (m->slots - 1);
	if (!m->slot[i]) {
		m->order[m->n++] = type;
		m->slot[i] = m->n;
		m->members += m->d->type[type].members;
		m->values += m->d->type[type].values;
	}
	return m->slot[i] - 1;
}

static int meet_all(struct meeting *m, const struct draft_root *root, size_t n)
{
	m->slots = 64;
	while (m->slots < (size_t)m->d->types * 2)
		m->slots *= 2;
	m->order = malloc(m->d->types * sizeof(*m->order));
	m->slot = calloc(m->slots, sizeof(*m->slot));
	if (!m->order || !m->slot)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (root[i].has_type)
			meet(m, root[i].type);
	for (uint32_t i = 0; i < m->n; i++) {
		const struct draft_type *t = &m->d->type[m->order[i]];

		if (has_of(t))
			meet(m, t->of);
		for (uint32_t j = 0; j < t->members; j++)
			meet(m, t->member[j].type);
	}
	return 0;
}

/* ---- as bytes ---- */

static void put_modules(struct types_writing *w, const struct types_module *module, unsigned modules)
{
	spm_put_number(w, modules);
	for (unsigned i = 0; i < modules; i++) {
		spm_put_number(w, module[i].flags);
		spm_put_name(w, module[i].name);
		spm_put_number(w, module[i].id_bytes);
		spm_put(w, module[i].id, module[i].id_bytes);
	}
}

static void put_members(struct types_writing *w, struct meeting *m, const struct draft_type *t)
{
	spm_put_number(w, t->members);
	for (uint32_t i = 0; i < t->members; i++) {
		const struct draft_member *member = &t->member[i];

		spm_put_name(w, member->name);
		spm_put_number(w, meet(m, member->type));
		spm_put_number(w, member->offset);
		spm_put_number(w, member->bits);
		if (member->bits)
			spm_put_number(w, member->bit_offset);
	}
}

static void put_values(struct types_writing *w, const struct draft_type *t)
{
	spm_put_number(w, t->values);
	for (uint32_t i = 0; i < t->values; i++) {
		spm_put_name(w, t->value[i].name);
		spm_put_signed(w, t->value[i].value);
	}
}

static void put_type(struct types_writing *w, struct meeting *m, const struct draft_type *t)
{
	spm_put_number(w, t->kind);
	spm_put_name(w, t->name);
	spm_put_number(w, t->bytes);
	if (has_of(t))
		spm_put_number(w, meet(m, t->of));
	if (t->kind == PTYPE_ARRAY)
		spm_put_number(w, t->count);
	if (t->kind == PTYPE_STRUCT || t->kind == PTYPE_UNION)
		put_members(w, m, t);
	if (t->kind == PTYPE_ENUM)
		put_values(w, t);
}

static void put_all(struct types_writing *w, struct meeting *m, const struct draft_root *root, size_t n,
                    const struct types_module *module, unsigned modules)
{
	spm_put(w, n > 1 ? "SPTYPES2" : "SPTYPES1", 8);
	put_modules(w, module, modules);
	spm_put_name(w, root[0].name);
	spm_put_number(w, m->n);
	spm_put_number(w, m->members);
	spm_put_number(w, m->values);
	for (uint32_t i = 0; i < m->n; i++)
		put_type(w, m, &m->d->type[m->order[i]]);
	if (n == 1)
		return;
	spm_put_number(w, n - 1);
	for (size_t i = 1; i < n; i++) {
		spm_put_name(w, root[i].name);
		spm_put_number(w, root[i].has_type ? meet(m, root[i].type) + 1 : 0);
	}
	spm_put_number(w, 0); /* rules */
}

int spm_draft_save(struct draft *d, const struct draft_root *root, size_t roots, const struct types_module *module,
                   unsigned modules, void **bytes, size_t *n)
{
	struct meeting m = {.d = d};
	struct types_writing w = {.is_short = false};
	int err = d->is_short ? -ENOMEM : 0;

	if (!err) {
		sizes_settle(d);
		err = sums_make(d);
	}
	if (!err)
		err = meet_all(&m, root, roots);
	if (!err)
		put_all(&w, &m, root, roots, module, modules);
	free(m.order);
	free(m.slot);
	return spm_put_end(&w, err, bytes, n);
}
