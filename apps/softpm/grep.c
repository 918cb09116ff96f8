/* grep.c - softpm grep: where in a version a text or a number stands, by path.
 *
 * A number is looked for in numbers, as such, and in pointers; in memory of no type in words and halves of words. Anything else is text: a part of
 * one, or of the name of a function or an enumerator. A number in double quotes is text.
 */
#include "walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MATCHES_USUAL = 1000 };

struct grepping {
	struct plook *look;
	bool is_number, is_real;
	uint64_t number; /* of a negative one too, as 64 bits */
	double real;
	const char *text;
	size_t bytes;
	bool is_json;
	uint64_t matches, most;
	bool is_damaged;
};

/* "\"41\"" is text. */
static void pattern_take(struct grepping *g, char *pattern)
{
	size_t n = strlen(pattern);
	char *end;

	g->text = pattern;
	g->bytes = n;
	if (n >= 2 && pattern[0] == '"' && pattern[n - 1] == '"') {
		g->text = pattern + 1;
		g->bytes = n - 2;
		return;
	}
	errno = 0;
	g->number = pattern[0] == '-' ? (uint64_t)strtoll(pattern, &end, 0) : strtoull(pattern, &end, 0);
	g->is_number = n && !*end && !errno && (pattern[0] == '-' || (pattern[0] >= '0' && pattern[0] <= '9'));
	g->real = strtod(pattern, &end);
	g->is_real = n && !*end && strspn(pattern, "-0123456789.eExX") == n;
}

static bool words_have(const struct grepping *g, const struct value *v)
{
	for (uint64_t i = 0; g->is_number && i + 4 <= v->n; i += 4) {
		uint64_t word = 0;
		uint32_t half;

		memcpy(&half, v->bytes + i, sizeof(half));
		if (half == g->number)
			return true;
		if (i % 8 || i + 8 > v->n)
			continue;
		memcpy(&word, v->bytes + i, sizeof(word));
		if (word == g->number)
			return true;
	}
	return !g->is_number && !g->is_real && memmem(v->bytes, v->n, g->text, g->bytes);
}

static bool is_match(const struct grepping *g, const struct value *v)
{
	bool is_text = !g->is_number && !g->is_real;

	switch (v->kind) {
	case VALUE_INT:
		return g->is_number && (uint64_t)v->integer == g->number;
	case VALUE_UNSIGNED:
	case VALUE_BOOL:
	case VALUE_POINTER:
	case VALUE_NOWHERE:
		return g->is_number && v->number == g->number;
	case VALUE_ENUM:
		return g->is_number ? (uint64_t)v->integer == g->number : is_text && strstr(v->name, g->text);
	case VALUE_FLOAT:
		return g->is_real && (v->real == g->real || v->real == (double)(float)g->real);
	case VALUE_CODE:
		return is_text && strstr(v->name, g->text);
	case VALUE_TEXT:
		return is_text && memmem(v->bytes, v->n, g->text, g->bytes);
	case VALUE_WORDS:
		return words_have(g, v);
	default:
		return false;
	}
}

static int match_tell(struct grepping *g, const char *path, const struct place *place, const struct value *v)
{
	if (g->matches++ == g->most)
		return 1;
	if (!g->is_json) {
		printf("%s", text_plain(path));
		printf(type_text(place->type)[0] ? ": %s = " : "%s = ", type_text(place->type));
		value_print(stdout, v);
		putchar('\n');
		return 0;
	}
	printf("%s    {\"path\": ", g->matches > 1 ? ",\n" : "");
	json_quote(stdout, (const unsigned char *)path, strlen(path));
	fputs(", \"type\": ", stdout);
	json_quote(stdout, (const unsigned char *)type_text(place->type), strlen(type_text(place->type)));
	printf(", \"address\": \"0x%" PRIx64 "\", \"value\": ", place->address);
	value_json(stdout, v);
	putchar('}');
	return 0;
}

/* An array that is one row. */
static int numbers_look(struct grepping *g, const struct row *r)
{
	char *path = step_path(r->before, r->step);
	const char *why;
	struct child child;
	struct cursor c;
	int result = 0;

	if (cursor_open(g->look, r->inside, &c)) {
		free(path);
		return 0;
	}
	while (!result && cursor_next(&c, &child, &why) == 1) {
		struct value v;
		char *whole;

		place_value(g->look, &child.place, 0, &v);
		if (is_match(g, &v)) {
			if (asprintf(&whole, "%s%s", path, child.step) < 0)
				out_of_memory();
			result = match_tell(g, whole, &child.place, &v);
			free(whole);
		}
		value_free(&v);
	}
	cursor_close(&c);
	free(path);
	return result;
}

static int row_look(const struct row *r, void *arg)
{
	struct grepping *g = arg;
	int result = 0;
	char *path;

	g->is_damaged |= r->damage || r->value->kind == VALUE_DAMAGE;
	if (is_match(g, r->value)) {
		path = step_path(r->before, r->step);
		result = match_tell(g, path, r->place, r->value);
		free(path);
	}
	if (!result && !r->seen && !r->is_link && inside_is_numbers(r->inside))
		result = numbers_look(g, r);
	return result;
}

static int grep_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct walk_limits limits = {UINT32_MAX, UINT64_MAX, 0, UINT64_MAX / 2};
	struct grepping g = {.is_json = o->is_json,
	                     .most = o->is_all  ? UINT64_MAX
	                             : o->limit ? o->limit
	                                        : MATCHES_USUAL};
	struct place root;
	bool is_over;

	pattern_take(&g, argv[argc - 1]);
	g.look = look_open(c, argv[argc - 2]);
	if (!g.look)
		return TOOL_NO;
	root = place_root(g.look);
	if (o->is_json)
		fputs("{\"matches\": [\n", stdout);
	is_over = walk(g.look, &root, "root", &limits, row_look, &g);
	if (o->is_json)
		printf("\n  ],\n  \"is_whole\": %s\n}\n", is_over || g.is_damaged ? "false" : "true");
	else if (is_over)
		puts("... and more: -n COUNT or --all shows them");
	pLookClose(g.look);
	if (g.is_damaged)
		complain("a part of the version is damaged, and was not searched: see softpm check");
	return g.matches && !g.is_damaged ? TOOL_OK : TOOL_NO;
}

int tool_grep(const struct options *o, int argc, char **argv)
{
	return container_run_for(o, argc > 2 ? argv[0] : NULL, argc, argv, grep_run);
}
