/* browse.c - softpm browse: what a version holds, from the root on, as a tree for people or as rows for programs.
 *
 * The JSON is one object: "magic", "version", "time_ns", "branch", "path", then "rows": [...], a row a line, in the order and with the depth of the tree:
 *
 *   path, name, depth        by which `softpm browse --path` finds it; its last step; how deep it lies
 *   type, address, bytes     "" if the type is not known; of the place itself
 *   kind                     number, text, enum, pointer, code, words, struct, array, list, map, memory, damage, more
 *   value                    number, string, true, null; of words, and of arrays of numbers: a list
 *   text_bytes               of text and words: how many there are, if not all are told; hex: all that are told, if they are no UTF-8
 *   to                       of a pointer: the address that it leads to
 *   count                    of elements, if it is known
 *   seen                     the path by which what is inside was told
 *   link                     true: to another element of the same list
 *   more                     what is not told: "depth", "elements" (with left: how many, null: unknown), "later": by its address, behind
 *   damage                   why there is no more
 *
 * and "is_whole": whether nothing was left out, with "rows_left_out": true if the limit of rows cut it short.
 */
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_USUAL = 4, ELEMENTS_USUAL = 100, TEXT_USUAL = 200, NUMBERS_SHOWN = 16, ROWS_MOST = 10000 };
enum { TEXT_BYTES_JSON = 65536 };

struct browsing {
	struct plook *look;
	struct walk_limits limits;
	uint64_t rows, rows_most;
	bool is_cut; /* something was not told */
};

static const char *label_of(const struct row *r)
{
	const char *label = r->step;

	if (!r->before)
		return label;
	if (!label[0] && r->place->type)
		return r->place->type->kind == PTYPE_UNION ? "(union)" : "(struct)";
	return label[0] == '.' ? label + 1 : !strncmp(label, "->", 2) ? label + 2 : label;
}

static const char *seen_text(enum spm_seen_kind kind)
{
	static const char *const names[] = {[SPM_SEEN_ARRAY] = "vector",
	                                    [SPM_SEEN_LIST] = "list",
	                                    [SPM_SEEN_HASH] = "hashtable",
	                                    [SPM_SEEN_TREE] = "tree",
	                                    [SPM_SEEN_ITEMS] = "items"};

	return names[kind] ? names[kind] : "";
}

/* Those of an array that fit into one line; `tell` prints one. */
static void numbers_tell(const struct browsing *b, const struct row *r, uint64_t most,
                         void (*tell)(FILE *to, const struct value *v))
{
	struct cursor c;
	struct child child;
	const char *why;

	if (cursor_open(b->look, r->inside, &c))
		return;
	for (uint64_t n = 0; n < most && cursor_next(&c, &child, &why) == 1; n++) {
		struct value v;

		fputs(n ? ", " : "", stdout);
		place_value(b->look, &child.place, 0, &v);
		tell(stdout, &v);
		value_free(&v);
	}
	cursor_close(&c);
}

/* ---- for people ---- */

static bool is_zero_array(const struct browsing *b, const struct row *r)
{
	unsigned char bytes[4096];
	uint64_t n = r->inside->count * r->inside->of.type->bytes;

	if (n > sizeof(bytes) || pLookRead(b->look, r->inside->of.address, bytes, n))
		return false;
	for (uint64_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

static void numbers_print(const struct browsing *b, const struct row *r)
{
	uint64_t shown = r->inside->count < NUMBERS_SHOWN ? r->inside->count : NUMBERS_SHOWN;

	if (b->limits.elements < shown)
		shown = b->limits.elements;
	if (r->inside->count > 1 && is_zero_array(b, r)) {
		fputs(" = {0}", stdout);
		return;
	}
	fputs(" = {", stdout);
	numbers_tell(b, r, shown, value_print);
	if (r->inside->count > shown)
		printf("%s... %" PRIu64 " more", shown ? ", " : "", r->inside->count - shown);
	putchar('}');
}

static void counts_print(const struct row *r)
{
	const struct inside *in = r->inside;
	bool is_known = r->count != UINT64_MAX;

	if (in->shape == SHAPE_LIST && is_known)
		printf(", list of %" PRIu64, r->count);
	else if (in->shape == SHAPE_LIST && r->is_expanded)
		fputs(", list", stdout);
	else if (in->shape == SHAPE_SEEN)
		printf(is_known ? ", %s of %" PRIu64 : ", %s", seen_text(in->seen), r->count);
	else if (in->shape == SHAPE_ELEMENTS && in->is_led)
		printf(", %" PRIu64 " elements", in->count);
	else if (in->shape == SHAPE_WORDS)
		printf(", %s", text_bytes(in->of.bytes));
}

static void more_print(const struct row *r)
{
	if (r->has_more == MORE_ELEMENTS && r->inside->shape == SHAPE_WORDS)
		printf("... %s more", text_bytes(r->more));
	else if (r->has_more == MORE_ELEMENTS && r->more != UINT64_MAX)
		printf("... %" PRIu64 " more", r->more);
	else if (r->has_more == MORE_ELEMENTS)
		fputs("... and more", stdout);
	else if (r->has_more == MORE_DEPTH)
		fputs(" ...", stdout);
	else if (r->has_more == MORE_LATER)
		fputs(" ... below", stdout);
}

static void value_show(const struct browsing *b, const struct row *r)
{
	if (r->value->kind != VALUE_NONE) {
		fputs(r->value->kind == VALUE_POINTER && r->is_expanded ? " -> " : " = ", stdout);
		value_print(stdout, r->value);
	}
	if (r->seen)
		printf(" (%s)", text_plain(r->seen));
	else if (inside_is_numbers(r->inside) && r->has_more != MORE_DEPTH)
		numbers_print(b, r);
	if (!r->seen && !r->is_link) {
		if (r->inside->is_told)
			printf(", %s", type_text(r->inside->of.type));
		counts_print(r);
	}
}

static int row_print(const struct row *r, void *arg)
{
	struct browsing *b = arg;
	const char *type = type_text(r->place->type);

	b->is_cut |= r->has_more == MORE_DEPTH || r->has_more == MORE_ELEMENTS;
	if (b->rows++ == b->rows_most)
		return 1;
	printf("%*s", (int)r->depth * 2, "");
	fputs(text_plain(label_of(r)), stdout);
	if (r->step[0] && type[0] && r->place->type != &type_string && r->place->type != &type_pointer)
		printf(": %s", type);
	if (r->place->bits)
		printf(" : %u", r->place->bits);
	if (r->step[0])
		value_show(b, r);
	more_print(r);
	if (r->damage)
		printf("%s(%s)", r->step[0] ? " " : "", text_plain(r->damage));
	putchar('\n');
	return 0;
}

/* ---- for programs ---- */

static const char *kind_of(const struct row *r)
{
	static const char *const shapes[] = {
	        [SHAPE_LEAF] = "number", [SHAPE_MEMBERS] = "struct", [SHAPE_ELEMENTS] = "array",
	        [SHAPE_LIST] = "list",   [SHAPE_SEEN] = "list",      [SHAPE_WORDS] = "memory"};
	static const char *const values[] = {
	        [VALUE_INT] = "number",      [VALUE_UNSIGNED] = "number", [VALUE_FLOAT] = "number",
	        [VALUE_BOOL] = "number",     [VALUE_ENUM] = "enum",       [VALUE_NULL] = "pointer",
	        [VALUE_POINTER] = "pointer", [VALUE_NOWHERE] = "pointer", [VALUE_CODE] = "code",
	        [VALUE_TEXT] = "text",       [VALUE_WORDS] = "words",     [VALUE_DAMAGE] = "damage"};

	if (!r->step[0] && r->has_more)
		return "more";
	if (r->value->kind != VALUE_NONE)
		return values[r->value->kind];
	if (inside_is_map(r->inside))
		return "map";
	if (r->inside->shape == SHAPE_LEAF)
		return r->damage ? "damage" : "nothing";
	return shapes[r->inside->shape];
}

static void json_member(const char *name, const char *text)
{
	printf(", \"%s\": ", name);
	json_quote(stdout, (const unsigned char *)text, strlen(text));
}

static bool is_utf8(const struct value *v)
{
	for (uint64_t i = 0, n; i < v->n; i += n)
		if (!(n = text_character(v->bytes + i, v->n - i)))
			return false;
	return true;
}

static void bytes_json(const struct value *v)
{
	if (v->all > v->n)
		printf(", \"text_bytes\": %" PRIu64, v->all);
	if (v->kind == VALUE_TEXT && is_utf8(v))
		return;
	fputs(", \"hex\": \"", stdout);
	for (uint64_t i = 0; i < v->n; i++)
		printf("%02x", v->bytes[i]);
	putchar('"');
}

static void row_value_json(const struct browsing *b, const struct row *r)
{
	uint64_t shown = r->inside->count < b->limits.elements ? r->inside->count : b->limits.elements;

	if (r->value->kind != VALUE_NONE) {
		fputs(", \"value\": ", stdout);
		value_json(stdout, r->value);
	}
	if (r->value->bytes && (r->value->kind == VALUE_TEXT || r->value->kind == VALUE_WORDS))
		bytes_json(r->value);
	if (r->value->kind == VALUE_DAMAGE)
		json_member("damage", r->value->name);
	if (r->value->is_pointer && r->value->number)
		printf(", \"to\": \"0x%" PRIx64 "\"", r->value->number);
	if (!inside_is_numbers(r->inside) || r->seen || r->has_more == MORE_DEPTH)
		return;
	fputs(r->inside->is_led ? ", \"values\": [" : ", \"value\": [", stdout);
	numbers_tell(b, r, shown, value_json);
	putchar(']');
	if (shown < r->inside->count)
		printf(", \"more\": \"elements\", \"left\": %" PRIu64, r->inside->count - shown);
}

static void more_json(const struct row *r)
{
	static const char *const words[] = {
	        [MORE_DEPTH] = "depth", [MORE_ELEMENTS] = "elements", [MORE_LATER] = "later"};

	if (r->has_more)
		json_member("more", words[r->has_more]);
	if (r->has_more == MORE_ELEMENTS && r->more == UINT64_MAX)
		fputs(", \"left\": null", stdout);
	else if (r->has_more == MORE_ELEMENTS)
		printf(", \"left\": %" PRIu64, r->more);
	if (r->damage)
		json_member("damage", r->damage);
}

static int row_json(const struct row *r, void *arg)
{
	struct browsing *b = arg;
	char *path = step_path(r->before, r->step);

	b->is_cut |= r->has_more == MORE_DEPTH || r->has_more == MORE_ELEMENTS || r->damage ||
	             r->value->kind == VALUE_DAMAGE || r->value->all > r->value->n ||
	             (inside_is_numbers(r->inside) && r->inside->count > b->limits.elements);
	if (b->rows++ == b->rows_most) {
		free(path);
		return 1;
	}
	printf("%s    {\"depth\": %u", b->rows > 1 ? ",\n" : "", r->depth);
	json_member("path", path);
	json_member("name", label_of(r));
	json_member("kind", kind_of(r));
	json_member("type", type_text(r->place->type));
	if (r->inside->is_told)
		json_member("object_type", type_text(r->inside->of.type));
	if (r->place->address)
		printf(", \"address\": \"0x%" PRIx64 "\", \"bytes\": %" PRIu64, r->place->address, r->place->bytes);
	if (r->place->bits)
		printf(", \"bit\": %u, \"bits\": %u", r->place->bit, r->place->bits);
	row_value_json(b, r);
	if (r->step[0] && r->count != UINT64_MAX &&
	    (r->inside->shape == SHAPE_ELEMENTS || r->inside->shape == SHAPE_LIST || r->inside->shape == SHAPE_SEEN))
		printf(", \"count\": %" PRIu64, r->count);
	if (r->seen)
		json_member("seen", r->seen);
	if (r->is_link)
		fputs(", \"link\": true", stdout);
	more_json(r);
	putchar('}');
	free(path);
	return 0;
}

static void json_begin(const struct listed *c, const struct pversion *v, const char *path)
{
	printf("{\"magic\": %d, \"version\": %" PRId64 ", \"time_ns\": %" PRId64, c->magic, v->version, v->time_ns);
	json_member("branch", v->branch);
	json_member("path", path);
	fputs(",\n  \"rows\": [\n", stdout);
}

/* ---- both ---- */

static void limits_set(struct browsing *b, const struct options *o)
{
	b->limits.depth = o->is_all ? UINT32_MAX : o->depth ? *o->depth : DEPTH_USUAL;
	b->limits.elements = o->is_all ? UINT64_MAX : o->limit ? o->limit : ELEMENTS_USUAL;
	b->limits.text = o->is_all ? UINT64_MAX / 2 : o->is_json ? TEXT_BYTES_JSON : TEXT_USUAL;
	b->rows_most = o->is_all ? UINT64_MAX : ROWS_MOST;
}

static int version_browse(const struct options *o, const struct listed *c, struct plook *look)
{
	const char *path = o->path && *o->path ? o->path : "root";
	struct browsing b = {.look = look};
	struct place place;
	char *name;
	int is_over;

	limits_set(&b, o);
	if (path_find(look, path, &place, &b.limits.from))
		return TOOL_NO;
	name = strndup(path, b.limits.from ? (size_t)(strrchr(path, '[') - path) : strlen(path));
	if (!name)
		out_of_memory();
	if (o->is_json)
		json_begin(c, pLookVersion(look), name);
	is_over = walk(look, &place, name, &b.limits, o->is_json ? row_json : row_print, &b);
	free(name);
	if (o->is_json)
		printf("\n  ],\n  \"is_whole\": %s,\n  \"rows_left_out\": %s\n}\n",
		       is_over || b.is_cut ? "false" : "true", is_over ? "true" : "false");
	else if (is_over)
		printf("... and more: %d rows are shown; --path, --depth and --limit choose, --all shows all\n",
		       ROWS_MOST);
	return TOOL_OK;
}

static int browse_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct plook *look = look_open(c, argc ? argv[argc - 1] : NULL);
	int status;

	if (!look)
		return TOOL_NO;
	status = version_browse(o, c, look);
	pLookClose(look);
	return status;
}

int tool_browse(const struct options *o, int argc, char **argv)
{
	return container_run_for(o, argc > 1 ? argv[0] : NULL, argc, argv, browse_run);
}
