/* fuzz_types.c - libFuzzer target: any bytes, as a container's types (lib/types/types.h), are refused, or are a graph that can be walked: by value
 * without counting steps, with all bytes of a member inside what it is a member of. Two such graphs can be compared.
 *
 *   fuzz_types CORPUS...                 fuzz on (seeds: fuzz_seeds FOLDER FOLDER FOLDER)
 *   fuzz_types -runs=0 CORPUS, or FILE   try again what is there
 */
#include "base/base.h"
#include "types/compare.h"
#include "types/convert.h"
#include "types/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static volatile size_t sink; /* what was said was looked at */
static unsigned steps;

/* Of a union whose tag is within the memory, or before it. */
static void choice_look(const struct pmember *m)
{
	static const unsigned char memory[16] = {1, 2, 3};
	const struct pmember *holds = NULL;

	if (!m->choice)
		return;
	SPM_CHECK(m->type->kind == PTYPE_UNION && spm_types_tag_bytes(m->choice) <= 8);
	if (spm_types_holds(m->choice, memory, sizeof(memory), 0 - (uint64_t)m->choice->tag_at, &holds))
		sink += holds ? strlen(holds->name) : 1;
	sink += spm_types_holds(m->choice, memory, sizeof(memory), 8, &holds);
}

/* By value, once for each place; an array's elements are alike. */
static void walk(const struct ptype *t, uint64_t room, unsigned depth)
{
	SPM_CHECK(depth <= TYPES_DEPTH_MOST && t->bytes <= room);
	sink += strlen(t->name) + t->kind;
	SPM_CHECK(++steps <= TYPES_PARTS_MOST);
	if (t->kind == PTYPE_ARRAY) {
		SPM_CHECK(t->of->bytes && t->count * t->of->bytes == t->bytes);
		walk(t->of, t->count ? t->bytes : t->of->bytes, depth + 1);
	}
	for (size_t i = 0; i < t->members; i++) {
		const struct pmember *m = &t->member[i];

		SPM_CHECK(m->offset <= t->bytes && (m->bits || m->type->bytes <= t->bytes - m->offset));
		SPM_CHECK(m->offset * 8 + m->bit_offset + m->bits <= t->bytes * 8);
		sink += strlen(m->name);
		choice_look(m);
		walk(m->type, m->bits ? m->type->bytes : t->bytes - m->offset, depth + 1);
	}
	for (size_t i = 0; i < t->values; i++)
		sink += strlen(t->value[i].name) + (size_t)t->value[i].value;
}

static int mend(const struct types_pair *pair, const void *from, void *to, void *arg)
{
	(void)from, (void)to, (void)arg;
	return pair->steps & 1;
}

static void made(struct types_pair *pair, void *arg)
{
	pair->own = pair->steps % 3 ? arg : NULL;
	pair->is_wanted |= pair->own != NULL;
}

/* Memory of the root's old type, whatever it holds. */
static void convert(const struct types *old, const struct types *new)
{
	enum { BYTES = 4096 };
	static unsigned char from[BYTES], to[BYTES];
	struct conversion c = {.old = old, .new = new, .made = made, .arg = from};
	struct converting v = {.c = &c, .mend = mend};
	int64_t root = spm_conversion_begin(&c) ? -ENOMEM : spm_pair_get(&c, &old->type[0], &new->type[0]);

	for (unsigned i = 0; i < BYTES; i++)
		from[i] = (unsigned char)(i * i >> 3);
	memset(to, 0, BYTES);
	if (root >= 0 && old->type[0].bytes <= BYTES && new->type[0].bytes <= BYTES) {
		struct pair_place place = {.wanted = PAIR_NONE};

		sink += (size_t)spm_convert(&v, (uint32_t)root, from, BYTES, to, BYTES) + strlen(v.problem);
		for (uint64_t at = 0; at < old->type[0].bytes; at += 7)
			if (spm_pair_place(&c, (uint32_t)root, at, &place))
				SPM_CHECK(place.to <= BYTES || old->type[0].kind == PTYPE_ARRAY);
	}
	for (uint32_t i = 0; i < c.pairs && i < 1000; i++)
		sink += c.pair[i].old->kind == PTYPE_POINTER ? (size_t)spm_pair_pointee(&c, i) : 0;
	spm_conversion_free(&c);
}

/* With itself, from which it can't differ, and with what came first. */
static void compare(const struct types *t)
{
	static struct types *first;
	struct types_comparison c;

	if (!first)
		SPM_CHECK(!spm_types_load(t->bytes, t->n, &first));
	if (!spm_types_compare(t, t, &c)) {
		SPM_CHECK(!c.differences && !c.grown_count);
		spm_types_comparison_free(&c);
	}
	if (!spm_types_compare(t, first, &c)) {
		sink += strlen(c.text) + c.changes;
		spm_types_comparison_free(&c);
	}
	convert(t, t);
	convert(t, first);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct types *t;

	if (spm_types_load(data, n, &t))
		return 0;
	for (size_t i = 0; i < t->types && i < 100; i++) {
		steps = 0;
		walk(&t->type[i], t->type[i].bytes, 1);
		if (t->type[i].kind == PTYPE_POINTER)
			sink += t->type[i].of->bytes;
	}
	for (size_t i = 0; i < t->roots; i++)
		sink += strlen(t->all_roots[i].name) + (t->all_roots[i].type ? t->all_roots[i].type->bytes : 0);
	SPM_CHECK(spm_types_named(t, t->root) == &t->type[0]);
	compare(t);
	for (unsigned i = 0; i < t->modules; i++)
		sink += strlen(t->module[i].name) + t->module[i].id_bytes;
	spm_types_free(t);
	return 0;
}
