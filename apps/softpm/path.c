/* path.c - see path.h. */
#include "path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* ---- ways ---- */

struct step *step_make(const struct step *before, const char *text)
{
	size_t bytes = strlen(text) + 1;
	struct step *s = malloc(sizeof(*s) + bytes);

	if (!s)
		out_of_memory();
	s->before = before;
	memcpy(s->text, text, bytes);
	return s;
}

char *step_path(const struct step *last, const char *behind)
{
	size_t n = strlen(behind);
	char *path, *at;

	for (const struct step *s = last; s; s = s->before)
		n += strlen(s->text);
	path = malloc(n + 1);
	if (!path)
		out_of_memory();
	at = path + n - strlen(behind);
	strcpy(at, behind);
	for (const struct step *s = last; s; s = s->before) {
		at -= strlen(s->text);
		memcpy(at, s->text, strlen(s->text));
	}
	return path;
}

/* The member that the offset is in; NULL: none. */
static const struct pmember *member_at(const struct ptype *type, uint64_t offset)
{
	for (size_t i = 0; i < type->members; i++)
		if (offset - type->member[i].offset < type->member[i].type->bytes)
			return &type->member[i];
	return NULL;
}

void path_within(const struct ptype *type, uint64_t offset, bool is_led, char *out, size_t room)
{
	const struct pmember *m;
	size_t n = 0;

	for (out[0] = 0; type && n < room; n = strlen(out)) {
		if (type->kind == PTYPE_ARRAY && type->of->bytes) {
			snprintf(out + n, room - n, "[%llu]", (unsigned long long)(offset / type->of->bytes));
			offset %= type->of->bytes;
			type = type->of;
			is_led = false;
			continue;
		}
		m = offset && (type->kind == PTYPE_STRUCT || type->kind == PTYPE_UNION) ? member_at(type, offset)
		                                                                        : NULL;
		if (!m)
			break;
		if (m->name[0])
			snprintf(out + n, room - n, "%s%s", is_led ? "->" : ".", m->name);
		is_led = is_led && !m->name[0];
		offset -= m->offset;
		type = m->type;
	}
	if (offset && n < room)
		snprintf(out + n, room - n, "+%llu", (unsigned long long)offset);
}

/* ---- finding ---- */

struct finding {
	struct plook *look;
	const char *path, *at; /* at: what comes next */
	struct place place;
};

/* What the path calls so far. */
static const char *so_far(const struct finding *f)
{
	return text_plain_format("%.*s", (int)(f->at - f->path), f->path);
}

struct place place_root(struct plook *look)
{
	uint64_t address, bytes;
	struct place p;

	pLookRoot(look, &address, &bytes);
	p = place_at(look, address, pLookType(look));
	p.is_object = true;
	if (p.bytes > bytes)
		p.bytes = bytes;
	if (p.type && p.type->bytes > p.bytes)
		p.type = NULL;
	return p;
}

static int type_unknown(const char *name, size_t n)
{
	return complain("the version knows no type '%s'", text_plain_format("%.*s", (int)n, name)), -1;
}

/* (type *)0x1234 or 0x1234. */
static int address_begin(struct finding *f)
{
	const struct ptype *type = NULL;
	const char *text = f->path, *end = *text == '(' ? strchr(text, ')') : NULL;
	char name[256], *behind;
	uint64_t address;

	if (end) {
		size_t n = (size_t)(end - text) - 1;

		while (n && (text[n] == '*' || text[n] == ' '))
			n--;
		snprintf(name, sizeof(name), "%.*s", (int)n, text + 1);
		type = pLookTypeNamed(f->look, name);
		if (!type)
			return type_unknown(text + 1, n);
		text = end + 1;
	}
	errno = 0;
	address = strtoull(text, &behind, 16);
	if (behind == text || errno)
		return complain("'%s' is no path: it begins with root, or with an address", text_plain(f->path)), -1;
	f->at = behind;
	f->place = place_at(f->look, address, type);
	f->place.is_object = true;
	if (!f->place.bytes)
		return complain("%s: there is no object", so_far(f)), -1;
	return 0;
}

static int path_begin(struct finding *f)
{
	static const char ends[] = ".-[+";

	if (!strncmp(f->path, "root", 4) && (!f->path[4] || strchr(ends, f->path[4]))) {
		f->place = place_root(f->look);
		f->at = f->path + 4;
		return 0;
	}
	return address_begin(f);
}

static const char *shape_text(const struct inside *in)
{
	const char *type = type_text(in->of.type);

	switch (in->shape) {
	case SHAPE_MEMBERS:
		return type[0] ? type : "a structure";
	case SHAPE_ELEMENTS:
		return text_plain_format("%llu elements", (unsigned long long)in->count);
	case SHAPE_LIST:
		return "a list";
	case SHAPE_SEEN:
		return inside_is_map(in) ? "a map" : "a row of elements";
	case SHAPE_WORDS:
		return "memory of no known type";
	default:
		return "nothing inside";
	}
}

/* The names that there are, as far as there is room. */
static void members_list(const struct ptype *type, char *out, size_t room)
{
	out[0] = 0;
	for (size_t i = 0; i < type->members && strlen(out) + 40 < room; i++)
		if (type->member[i].name[0])
			snprintf(out + strlen(out), room - strlen(out), "%s%s", out[0] ? ", " : "",
			         type->member[i].name);
}

/* Where a list is, and a member is asked for, its first element is meant. */
static void list_enter(struct inside *in)
{
	if (in->shape != SHAPE_LIST || !in->is_led)
		return;
	in->shape = SHAPE_MEMBERS;
	in->of.bytes = in->of.type->bytes;
}

static int member_step(struct finding *f, struct inside *in, const char *name, size_t n)
{
	uint64_t offset = 0;
	const struct pmember *m;
	char text[512], all[512];

	snprintf(text, sizeof(text), "%.*s", (int)n, name);
	if (in->shape == SHAPE_ELEMENTS && in->is_led && in->of.type->members) {
		in->shape = SHAPE_MEMBERS; /* of the first */
		in->of.bytes = in->of.type->bytes;
	}
	list_enter(in);
	if (in->of.type && (in->shape == SHAPE_SEEN || in->shape == SHAPE_LIST))
		in->shape = SHAPE_MEMBERS; /* it is a struct, beside being a row */
	if (in->shape != SHAPE_MEMBERS)
		return complain("%s has no member '%s': it is %s", so_far(f), text_plain(text), shape_text(in)), -1;
	m = member_find(in->of.type, text, &offset);
	members_list(in->of.type, all, sizeof(all));
	if (!m)
		return complain("%s: %s has no member '%s'; it has %s", so_far(f), shape_text(in), text_plain(text),
		                text_plain(all)),
		       -1;
	in->of.address += offset;
	in->of.bytes -= offset;
	f->place = place_member(&in->of, m);
	return 0;
}

/* The child that comes next, or the one that is called so. */
static int child_take(struct finding *f, struct cursor *c, const char *step)
{
	struct child child;
	const char *why = "";
	uint64_t n = 0;
	int result;

	while ((result = cursor_next(c, &child, &why)) == 1 && step && strcmp(child.step, step) != 0)
		n++;
	if (result == 1)
		f->place = child.place;
	else if (result < 0)
		complain("%s: %s", so_far(f), why);
	else
		complain("%s has no %s; it has %llu elements", so_far(f), step ? text_plain(step) : "such element",
		         (unsigned long long)(step ? n : c->next));
	return result == 1 ? 0 : -1;
}

/* [n], [#n], ["key"] */
static int element_step(struct finding *f, struct inside *in, const char *text, size_t n)
{
	bool is_map = inside_is_map(in);
	const char *why = "", *digits = text[1] == '#' ? text + 2 : text + 1;
	struct cursor c;
	char step[PATH_BYTES], *end;
	uint64_t number;
	int result;

	snprintf(step, sizeof(step), "%.*s", (int)n, text);
	errno = 0;
	number = strtoull(digits, &end, 0);
	if ((!is_map || text[1] == '#') && (end == digits || *end != ']' || *digits == '-' || errno))
		return complain("%s: %s is no number of an element", so_far(f), text_plain(step)), -1;
	if (in->is_led && in->shape == SHAPE_MEMBERS && !number) {
		f->place = in->of;
		return 0;
	}
	if (in->shape == SHAPE_MEMBERS || in->shape == SHAPE_LEAF || in->shape == SHAPE_WORDS)
		return complain("%s has no element %s: it is %s", so_far(f), text_plain(step), shape_text(in)), -1;
	if (cursor_open(f->look, in, &c))
		return complain("%s: %s", so_far(f), pErrorMsg()), -1;
	if (is_map && text[1] != '#') {
		result = child_take(f, &c, step);
	} else {
		result = cursor_skip(&c, number, &why);
		result = result < 0 ? (complain("%s: %s", so_far(f), why), -1) : child_take(f, &c, NULL);
	}
	cursor_close(&c);
	return result;
}

/* +n: the word there, whatever the type. */
static int word_step(struct finding *f, struct inside *in, uint64_t offset)
{
	struct cursor c;
	char step[64];
	const char *why = "";

	list_enter(in);
	in->of.type = NULL;
	in->shape = SHAPE_WORDS;
	if (offset >= in->of.bytes)
		return complain("%s has %llu bytes", so_far(f), (unsigned long long)in->of.bytes), -1;
	snprintf(step, sizeof(step), "+%llu", (unsigned long long)offset);
	if (cursor_open(f->look, in, &c))
		return complain("%s: %s", so_far(f), pErrorMsg()), -1;
	cursor_skip(&c, offset, &why);
	offset = (uint64_t)child_take(f, &c, step);
	cursor_close(&c);
	return (int)offset;
}

/* The end of a step in brackets, which may have a quoted text; NULL: it has none. */
static const char *bracket_end(const char *text)
{
	bool is_quoted = false;

	for (; *text; text++) {
		if (is_quoted && *text == '\\' && text[1])
			text++;
		else if (*text == '"')
			is_quoted = !is_quoted;
		else if (*text == ']' && !is_quoted)
			return text;
	}
	return NULL;
}

static int not_understood(const struct finding *f)
{
	return complain("'%s' is no path: what comes behind %s is not understood", text_plain(f->path), so_far(f)), -1;
}

/* [n..]: as the place itself, from there on. */
static bool is_from(const char *text, const char *end, uint64_t *from)
{
	char *behind;
	uint64_t n = strtoull(text + 1, &behind, 0);

	if (behind == text + 1 || behind + 2 != end || behind[0] != '.' || behind[1] != '.' || end[1])
		return false;
	*from = n;
	return true;
}

static int step_take(struct finding *f, uint64_t *from)
{
	const char *text = f->at, *end;
	struct inside in;
	char *behind;
	int result;

	if (*text == '[' && (end = bracket_end(text)) && is_from(text, end, from)) {
		f->at = end + 1;
		return 0;
	}
	if (place_open(f->look, &f->place, &in))
		return complain("%s: %s", so_far(f), pErrorMsg()), -1;
	if (f->place.type && f->place.type->kind == PTYPE_POINTER && !in.is_led) {
		struct value v;
		char *line = NULL;
		size_t n;
		FILE *out = open_memstream(&line, &n);

		if (!out)
			out_of_memory();
		place_value(f->look, &f->place, 64, &v);
		value_print(out, &v);
		fclose(out);
		complain("%s leads nowhere: it is %s", so_far(f), line);
		free(line);
		value_free(&v);
		return -1;
	}
	if (*text == '[') {
		end = bracket_end(text);
		if (!end)
			return not_understood(f);
		result = element_step(f, &in, text, (size_t)(end + 1 - text));
		f->at = end + 1;
		return result;
	}
	if (*text == '+') {
		uint64_t offset = strtoull(text + 1, &behind, 0);

		if (behind == text + 1)
			return not_understood(f);
		result = word_step(f, &in, offset);
		f->at = behind;
		return result;
	}
	text += *text == '.' ? 1 : !strncmp(text, "->", 2) ? 2 : 0;
	end = text + strcspn(text, ".-[+");
	if (text == f->at || text == end)
		return not_understood(f);
	result = member_step(f, &in, text, (size_t)(end - text));
	f->at = end;
	return result;
}

int path_find(struct plook *look, const char *path, struct place *out, uint64_t *from)
{
	struct finding f = {.look = look, .path = path && *path ? path : "root"};

	*from = 0;
	if (path_begin(&f))
		return -1;
	while (*f.at)
		if (step_take(&f, from))
			return -1;
	*out = f.place;
	return 0;
}
