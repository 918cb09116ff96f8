/* type_text.c - see type_text.h. */
#include "type_text.h"

#include <stdbool.h>
#include <stdlib.h>

enum { TYPES_MOST = 1000 };

static bool has_inside(const struct ptype *t)
{
	return t->kind == PTYPE_STRUCT || t->kind == PTYPE_UNION || t->kind == PTYPE_ENUM;
}

static void inside_print(FILE *out, const struct ptype *t)
{
	fputs("{ ", out);
	for (size_t i = 0; i < t->members; i++) {
		const struct pmember *m = &t->member[i];

		fprintf(out, "%s@%llu", m->name, (unsigned long long)m->offset);
		if (m->bits)
			fprintf(out, ":%u+%u", m->bit_offset, m->bits);
		putc(' ', out);
		type_name_print(out, m->type);
		fputs("; ", out);
	}
	for (size_t i = 0; i < t->values; i++)
		fprintf(out, "%s=%lld ", t->value[i].name, (long long)t->value[i].value);
	putc('}', out);
}

void type_name_print(FILE *out, const struct ptype *t)
{
	if (t->kind == PTYPE_POINTER) {
		putc('*', out);
		type_name_print(out, t->of);
	} else if (t->kind == PTYPE_ARRAY) {
		type_name_print(out, t->of);
		fprintf(out, t->count ? "[%llu]" : "[]", (unsigned long long)t->count);
	} else if (t->kind == PTYPE_FUNCTION) {
		fputs("function", out);
	} else if (has_inside(t) && !*t->name) {
		fputs(t->kind == PTYPE_UNION ? "union " : t->kind == PTYPE_ENUM ? "enum " : "", out);
		inside_print(out, t);
	} else if (t->kind == PTYPE_UNKNOWN) {
		fprintf(out, "unknown(%llu)", (unsigned long long)t->bytes);
	} else {
		fputs(t->name, out);
	}
}

void type_print(FILE *out, const struct ptype *t)
{
	fprintf(out, "%s %llu ", t->name, (unsigned long long)t->bytes);
	inside_print(out, t);
	putc('\n', out);
}

static size_t met_add(const struct ptype **met, size_t n, const struct ptype *t)
{
	for (size_t i = 0; i < n; i++)
		if (met[i] == t)
			return n;
	if (n < TYPES_MOST)
		met[n++] = t;
	return n;
}

char *type_text(const struct ptype *root)
{
	const struct ptype *met[TYPES_MOST];
	size_t n = met_add(met, 0, root), bytes;
	char *text;
	FILE *out = open_memstream(&text, &bytes);

	for (size_t i = 0; i < n; i++) {
		const struct ptype *t = met[i];

		if (has_inside(t) && (*t->name || t == root))
			type_print(out, t);
		if (t->of)
			n = met_add(met, n, t->of);
		for (size_t j = 0; j < t->members; j++)
			n = met_add(met, n, t->member[j].type);
	}
	fclose(out);
	return text;
}
