/* changes.c - see changes.h.
 *
 *   objects that differ (pDiff) -> in each of the versions, their paths (naming.h) -> pairs of places -> members that differ
 *
 * An object that both versions have is compared where it lies, by what the second version takes it for. Entries of maps and vectors move within
 * their structure's pages, so those that lie in pages that differ are paired by their paths, which have the key or index.
 *
 * The walk for the paths is bounded (naming.h); what it does not meet is looked for from below (climb.h), which guides another walk. Objects that this
 * does not find either are told by address; as type is taken what the program said (pCSetType) or, else, and then the line says so, what all objects of
 * that size are that were met.
 */
#include "changes.h"
#include "naming.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_USUAL = 1000, WINDOW = 4096, TEXT_MOST = 120, SUMMARY_MOST = 4 };
static const uint64_t children_usual =
        8192; /* looked at for paths, in each version, before the way up is tried; and then again */
static const uint64_t climb_bytes_usual = UINT64_C(5) << 28, climb_bytes_all = UINT64_C(1) << 33; /* read for that */

struct told { /* by naming */
	uint64_t object;
	enum naming_kind kind;
	struct place place;
	enum shape shape;
	uint64_t count;
	bool is_led, is_done;
	char *path;
};
enum { SIZES_MOST = 64 };
struct side {
	struct plook *look;
	struct { /* what objects of that size are; NULL: several things */
		uint64_t bytes;
		const struct ptype *type;
	} size[SIZES_MOST];
	size_t sizes;
	struct told *told;
	uint64_t *met; /* their addresses, sorted */
	size_t n, room;
};
struct comparing {
	struct side side[2];
	struct json_object *list;
	uint64_t lines, lines_most;
	bool has_more;
	bool is_guess; /* the type of the object that is told */
};

static void told_add(const struct named *named, const struct place *place, const char *path, void *arg)
{
	struct side *s = arg;

	if (s->n == s->room) {
		s->room = s->room * 2 + 64;
		s->told = realloc(s->told, s->room * sizeof(*s->told));
		if (!s->told)
			out_of_memory();
	}
	s->told[s->n] = (struct told){.object = named->object,
	                              .kind = named->kind,
	                              .place = *place,
	                              .shape = named->shape,
	                              .count = named->count,
	                              .is_led = named->is_led,
	                              .path = strdup(path)};
	if (!s->told[s->n++].path)
		out_of_memory();
}

/* ---- lines ---- */

static bool line_begin(struct comparing *c)
{
	if (c->lines == c->lines_most)
		c->has_more = true;
	else
		c->lines++;
	return !c->has_more;
}

static struct json_object *value_object(const struct value *v)
{
	struct json_object *o;
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	if (!f)
		out_of_memory();
	value_json(f, v);
	if (fclose(f))
		out_of_memory();
	o = json_tokener_parse(text);
	free(text);
	return o;
}

static const char *guess_text(const struct comparing *c)
{
	return c->is_guess ? " (its type is a guess: others of its size are that)" : "";
}

static struct json_object *line_object(struct comparing *c, const char *change, const char *path, const char *type)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "change", change);
	json_text(o, "path", path);
	json_text(o, "type", type);
	if (c->is_guess)
		json_object_object_add(o, "is_guess", json_object_new_boolean(true));
	json_object_array_add(c->list, o);
	return o;
}

static void value_line(struct comparing *c, const char *path, const struct ptype *type, const struct value *old,
                       const struct value *new)
{
	struct json_object *o;

	if (!line_begin(c))
		return;
	if (c->list) {
		o = line_object(c, "changed", path, type_text(type));
		json_object_object_add(o, "old", value_object(old));
		json_object_object_add(o, "new", value_object(new));
		return;
	}
	printf("%s: ", text_plain(path));
	value_print(stdout, old);
	fputs(" -> ", stdout);
	value_print(stdout, new);
	puts(guess_text(c));
}

/* ---- values within an object ---- */

static void places_compare(struct comparing *c, const struct place *old, const struct place *new, const char *path);

static bool bytes_are_same(struct comparing *c, uint64_t old, uint64_t new, uint64_t n)
{
	unsigned char a[WINDOW], b[WINDOW];

	return n <= WINDOW && !pLookRead(c->side[0].look, old, a, n) && !pLookRead(c->side[1].look, new, b, n) &&
	       !memcmp(a, b, n);
}

static void leaves_compare(struct comparing *c, const struct place *old, const struct place *new, const char *path)
{
	struct value a, b;

	place_value(c->side[0].look, old, TEXT_MOST, &a);
	place_value(c->side[1].look, new, TEXT_MOST, &b);
	if (!value_is_same(&a, &b))
		value_line(c, path, new->type, &a, &b);
	value_free(&a);
	value_free(&b);
}

/* The members of the new type, as the old one has them: by name. */
static void members_compare(struct comparing *c, const struct place *old, const struct place *new, const char *path,
                            bool is_led)
{
	const struct pmember *only[2] = {NULL, NULL};
	bool is_known[2] = {place_holds(c->side[0].look, old, &only[0]), place_holds(c->side[1].look, new, &only[1])};

	for (size_t i = 0; i < new->type->members && !c->has_more; i++) {
		const struct pmember *m = &new->type->member[i], *was = NULL;
		struct place a, b = place_member(new, m);
		char *step;
		uint64_t at = 0;

		if (is_known[1] && m != only[1])
			continue;
		if (is_known[0])
			was = only[0]; /* another one may have held */
		else if (old->type == new->type || !m->name[0])
			was = i < old->type->members ? &old->type->member[i] : NULL;
		else
			was = member_find(old->type, m->name, &at);
		if (!was)
			continue;
		a = place_member(old, was);
		a.address += at;
		if (m->type->kind == PTYPE_ARRAY && !m->type->count && (i + 1 < new->type->members || !b.bytes))
			continue;
		if (asprintf(&step, "%s%s%s", path, !m->name[0] ? "" : is_led ? "->" : ".", m->name) < 0)
			out_of_memory();
		places_compare(c, &a, &b, step);
		free(step);
	}
}

/* first: what the first of them is called. */
static void elements_compare(struct comparing *c, const struct place *old, const struct place *new, uint64_t count,
                             int64_t first, const char *path)
{
	uint64_t bytes = new->type->bytes, window = bytes < WINDOW ? WINDOW / bytes : 1;

	for (uint64_t i = 0; i < count && !c->has_more; i += window) {
		uint64_t n = count - i < window ? count - i : window;

		if (bytes_are_same(c, old->address + i * bytes, new->address + i *bytes, n * bytes))
			continue;
		for (uint64_t k = i; k < i + n; k++) {
			struct place a = *old, b = *new;
			char *step;

			a.address += k * bytes;
			b.address += k * bytes;
			a.bytes = b.bytes = bytes;
			if (asprintf(&step, "%s[%" PRId64 "]", path, first + (int64_t)k) < 0)
				out_of_memory();
			places_compare(c, &a, &b, step);
			free(step);
		}
	}
}

/* Of no known type: word by word. */
static void words_compare(struct comparing *c, const struct place *old, const struct place *new, const char *path)
{
	for (uint64_t at = 0; at < new->bytes && !c->has_more; at += WINDOW) {
		uint64_t n = new->bytes - at < WINDOW ? new->bytes - at : WINDOW;

		if (bytes_are_same(c, old->address + at, new->address + at, n))
			continue;
		for (uint64_t k = at; k < at + n && !c->has_more; k += 8) {
			struct place a = {.address = old->address + k, .bytes = 8, .type = &type_words}, b = a;
			char *step;

			b.address = new->address + k;
			if (asprintf(&step, "%s+%" PRIu64, path, k) < 0)
				out_of_memory();
			leaves_compare(c, &a, &b, step);
			free(step);
		}
	}
}

static void shapes_compare(struct comparing *c, enum shape shape, uint64_t count, const struct place *old,
                           const struct place *new, const char *path, bool is_led)
{
	if (shape == SHAPE_WORDS || !new->type || !old->type)
		words_compare(c, old, new, path);
	else if (shape == SHAPE_ELEMENTS)
		elements_compare(c, old, new, count, 0, path);
	else if (shape == SHAPE_MEMBERS || shape == SHAPE_LIST)
		members_compare(c, old, new, path, is_led);
}

static void places_compare(struct comparing *c, const struct place *old, const struct place *new, const char *path)
{
	bool is_record = new->type && (new->type->kind == PTYPE_STRUCT || new->type->kind == PTYPE_UNION);
	struct inside in = {.shape = SHAPE_LEAF};
	struct place of;

	if (!new->bits && bytes_are_same(c, old->address, new->address, new->bytes))
		return;
	if (!new->type || new->type->kind != PTYPE_POINTER)
		place_open(c->side[1].look, new, &in);
	if (in.shape == SHAPE_LEAF) {
		leaves_compare(c, old, new, path);
		return;
	}
	of = *old;
	if (in.shape == SHAPE_ELEMENTS)
		of.type = old->type && old->type->of ? old->type->of : in.of.type;
	if (in.shape == SHAPE_LIST && is_record)
		members_compare(c, old, new, path, false);
	else
		shapes_compare(c, in.shape, in.count, &of, &in.of, path, false);
}

/* ---- objects ---- */

/* The first members that are values, as they are. */
static void summary_print(struct plook *look, const struct told *t)
{
	unsigned n = 0;

	for (size_t i = 0; t->place.type && i < t->place.type->members && n < SUMMARY_MOST; i++) {
		struct place p = place_member(&t->place, &t->place.type->member[i]);
		struct value v;

		place_value(look, &p, 40, &v);
		if (t->place.type->member[i].name[0] && v.kind != VALUE_NONE && v.kind != VALUE_POINTER) {
			printf("%s%s ", n++ ? ", " : " {", text_plain(t->place.type->member[i].name));
			value_print(stdout, &v);
		}
		value_free(&v);
	}
	fputs(n ? "}" : "", stdout);
}

static void object_line(struct comparing *c, unsigned side, const char *change, const struct told *t, uint64_t size)
{
	struct json_object *o;
	char address[32];
	struct value v;

	if (!line_begin(c))
		return;
	place_value(c->side[side].look, &t->place, TEXT_MOST, &v);
	if (c->list) {
		snprintf(address, sizeof(address), "0x%" PRIx64, t->object);
		o = line_object(c, change, t->path, type_text(t->place.type));
		json_text(o, "address", address);
		json_count(o, "size", size);
		if (v.kind != VALUE_NONE)
			json_object_object_add(o, side ? "new" : "old", value_object(&v));
	} else {
		printf("%c %s", side ? '+' : '-', text_plain(t->path));
		if (type_text(t->place.type)[0])
			printf(": %s", type_text(t->place.type));
		else
			printf(", %s", text_bytes(size));
		fputs(v.kind != VALUE_NONE ? " = " : "", stdout);
		value_print(stdout, &v);
		if (v.kind == VALUE_NONE)
			summary_print(c->side[side].look, t);
		puts(guess_text(c));
	}
	value_free(&v);
}

static const char *change_of(const struct changed *object)
{
	return !object->is_in_first ? "added" : !object->is_in_second ? "removed" : "changed";
}

static void unnamed_line(struct comparing *c, const struct changed *object)
{
	struct json_object *o;
	char address[32];

	snprintf(address, sizeof(address), "0x%" PRIx64, object->address);
	if (!line_begin(c))
		return;
	if (!c->list) {
		printf("%s: %s, %s, %" PRIu64 " bytes differ\n", address, change_of(object), text_bytes(object->size),
		       object->bytes);
		return;
	}
	o = line_object(c, change_of(object), address, "");
	json_text(o, "address", address);
	json_count(o, "size", object->size);
	json_count(o, "bytes", object->bytes);
}

/* As the old version takes it: by the type of the same name, if it has that. */
static struct place place_before(struct comparing *c, const struct place *new)
{
	struct place old = *new;
	const struct ptype *type =
	        new->type &&new->type->name[0] ? pLookTypeNamed(c->side[0].look, new->type->name) : NULL;

	if (type && type->kind == new->type->kind &&new->type->members)
		old.type = type;
	return old;
}

static void changed_tell(struct comparing *c, const struct told *t)
{
	struct place new = t->place, old;

	if (t->kind == NAMED_OWN)
		return;
	if (t->kind == NAMED_TEXT) { /* of the pointer: what it leads to */
		new = (struct place){.type = &type_string};
		if (pLookRead(c->side[1].look, t->place.address, &new.address, sizeof(new.address)))
			return;
		new.bytes = place_at(c->side[1].look, new.address, NULL).bytes;
		leaves_compare(c, &new, &new, t->path);
		return;
	}
	old = place_before(c, &new);
	if (t->shape ==
	    SHAPE_ELEMENTS) { /* what leads there may lead to the middle: those before are [-1], [-2], ... */
		uint64_t before = (new.address - t->object) / new.type->bytes;

		new.address -= before *new.type->bytes;
		old.address = new.address;
		elements_compare(c, &old, &new, t->count + before, -(int64_t)before, t->path);
		return;
	}
	shapes_compare(c, t->shape, t->count, &old, &new, t->path, t->is_led);
}

/* ---- types of objects that were not met ---- */

static void size_note(struct side *s, uint64_t bytes, const struct ptype *type)
{
	size_t i = 0;

	while (i < s->sizes && s->size[i].bytes != bytes)
		i++;
	if (i < s->sizes && s->size[i].type != type)
		s->size[i].type = NULL;
	if (i < s->sizes || s->sizes == SIZES_MOST)
		return;
	s->size[s->sizes].bytes = bytes;
	s->size[s->sizes++].type = type;
}

static void sizes_note(struct side *s, const struct naming *names)
{
	for (size_t i = 0; i < naming_count(names); i++) {
		const struct named *n = naming_at(names, i);
		bool is_one = n->kind == NAMED_OBJECT && n->shape == SHAPE_MEMBERS && n->place.address == n->object;

		size_note(s, n->bytes, is_one ? n->place.type : NULL);
	}
}

/* False: nothing tells its type. */
static bool type_suppose(const struct side *s, const struct changed *object, struct told *t, bool *is_guess)
{
	struct pobject o;
	const struct ptype *type = pLookObject(s->look, object->address, &o) == 1 ? o.type : NULL;

	*is_guess = !type;
	for (size_t i = 0; i < s->sizes && !type; i++)
		if (s->size[i].bytes == object->size)
			type = s->size[i].type;
	if (!type || !type->members || type->bytes > object->size)
		return false;
	*t = (struct told){.object = object->address,
	                   .kind = NAMED_OBJECT,
	                   .place = place_at(s->look, object->address, type),
	                   .shape = SHAPE_MEMBERS,
	                   .is_led = true};
	if (asprintf(&t->path, "(%s *)0x%" PRIx64, type->name, object->address) < 0)
		out_of_memory();
	return true;
}

/* ---- both sides ---- */

static int by_address(const void *a, const void *b)
{
	const struct changed *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

static int by_object(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool told_has(const struct side *s, uint64_t object)
{
	return s->met && bsearch(&object, s->met, s->n, sizeof(object), by_object);
}

/* The addresses of all that were told, to be found again. */
static void met_sort(struct side *s)
{
	s->met = calloc(s->n + 1, sizeof(*s->met));
	if (!s->met)
		out_of_memory();
	for (size_t i = 0; i < s->n; i++)
		s->met[i] = s->told[i].object;
	qsort(s->met, s->n, sizeof(*s->met), by_object);
}

static int by_path(const void *a, const void *b)
{
	return strcmp((*(struct told *const *)a)->path, (*(struct told *const *)b)->path);
}

/* The entries that lie in pages that differ, by path. */
static struct told **entries_of(struct side *s, size_t *n)
{
	struct told **entry = calloc(s->n + 1, sizeof(struct told *));

	if (!entry)
		out_of_memory();
	*n = 0;
	for (size_t i = 0; i < s->n; i++)
		if (s->told[i].kind == NAMED_ENTRY)
			entry[(*n)++] = &s->told[i];
	qsort(entry, *n, sizeof(struct told *), by_path);
	return entry;
}

static void entries_compare(struct comparing *c)
{
	size_t n[2], i = 0, k = 0;
	struct told **old = entries_of(&c->side[0], &n[0]), **new = entries_of(&c->side[1], &n[1]);

	while ((i < n[0] || k < n[1]) && !c->has_more) {
		int order = i == n[0] ? 1 : k == n[1] ? -1 : strcmp(old[i]->path, new[k]->path);

		if (order < 0) {
			object_line(c, 0, "removed", old[i], old[i]->place.bytes);
			i++;
		} else if (order > 0) {
			object_line(c, 1, "added", new[k], new[k]->place.bytes);
			k++;
		} else {
			places_compare(c, &old[i]->place, &new[k]->place, new[k]->path);
			i++;
			k++;
		}
	}
	free(old);
	free(new);
}

/* In the order in which they were met, so from the root on; then entries. */
static void objects_compare(struct comparing *c, const struct changed *object, size_t n)
{
	for (unsigned side = 2; side-- > 0;)
		for (size_t i = 0; i < c->side[side].n && !c->has_more; i++) {
			struct told *t = &c->side[side].told[i];
			const struct changed *d;

			if (t->kind == NAMED_ENTRY)
				continue;
			d = bsearch(&(struct changed){.address = t->object}, object, n, sizeof(*d), by_address);
			if (d && d->is_in_first && d->is_in_second && side)
				changed_tell(c, t);
			else if (d && d->is_in_first != d->is_in_second && t->kind == NAMED_OBJECT)
				object_line(c, side, change_of(d), t, d->size);
		}
	entries_compare(c);
}

/* Those that were not met. */
static void others_compare(struct comparing *c, const struct changed *object, size_t n)
{
	for (size_t i = 0; i < n && !c->has_more; i++) {
		unsigned side = object[i].is_in_second;
		struct told t;

		if (told_has(&c->side[side], object[i].address))
			continue;
		if (!type_suppose(&c->side[side], &object[i], &t, &c->is_guess)) {
			c->is_guess = false;
			unnamed_line(c, &object[i]);
			continue;
		}
		if (object[i].is_in_first && side)
			changed_tell(c, &t);
		else
			object_line(c, side, change_of(&object[i]), &t, object[i].size);
		c->is_guess = false;
		free(t.path);
	}
}

/* Of the wanted, those that were not met yet. */
static size_t unmet(struct side *s, uint64_t *wanted, size_t n)
{
	size_t left = 0;

	free(s->met);
	met_sort(s);
	for (size_t i = 0; i < n; i++)
		if (!told_has(s, wanted[i]))
			wanted[left++] = wanted[i];
	return left;
}

static size_t some_name(struct side *s, uint64_t *wanted, size_t n, uint64_t most, const struct climb *guide)
{
	struct naming *names = naming_do(s->look, wanted, n, most, guide, told_add, s);

	if (!guide)
		sizes_note(s, names);
	naming_free(names);
	return unmet(s, wanted, n);
}

/* By the way up from them, as long as that finds something. */
static size_t far_name(struct side *s, uint64_t *wanted, size_t n, uint64_t bytes_most)
{
	struct climb *c = climb_begin(s->look, wanted, n);
	uint64_t pass = climb_pass_bytes(c);

	for (uint64_t bytes = pass; n && bytes <= bytes_most && climb_pass(c); bytes += pass)
		n = some_name(s, wanted, n, children_usual, c);
	climb_free(c);
	return n;
}

static void side_name(struct side *s, unsigned which, const struct changed *object, size_t n, bool is_all)
{
	uint64_t *wanted = calloc(n + 1, sizeof(*wanted));
	size_t left = 0;

	if (!wanted)
		out_of_memory();
	for (size_t i = 0; i < n; i++)
		if (which ? object[i].is_in_second : object[i].is_in_first)
			wanted[left++] = object[i].address;
	if (left)
		left = some_name(s, wanted, left, children_usual, NULL);
	if (left)
		left = far_name(s, wanted, left, is_all ? climb_bytes_all : climb_bytes_usual);
	if (left && is_all)
		some_name(s, wanted, left, UINT64_MAX, NULL);
	free(wanted);
}

/* What went has a path in the first version only, and entries are paired with those there. */
static bool is_first_needed(const struct side *second, const struct changed *object, size_t n)
{
	bool is_needed = false;

	for (size_t i = 0; i < n; i++)
		is_needed |= !object[i].is_in_second;
	for (size_t i = 0; i < second->n; i++)
		is_needed |= second->told[i].kind == NAMED_OWN;
	return is_needed;
}

static void comparing_end(struct comparing *c)
{
	for (unsigned i = 0; i < 2; i++) {
		for (size_t k = 0; k < c->side[i].n; k++)
			free(c->side[i].told[k].path);
		free(c->side[i].told);
		free(c->side[i].met);
		pLookClose(c->side[i].look);
	}
}

bool changes_can(const struct listed *c, const char *second)
{
	struct plook *look = pLookOpen(c->magic, second);
	bool has_types = look && pLookType(look);

	pLookClose(look);
	return has_types;
}

int changes_tell(const struct options *o, const struct listed *c, const char *first, const char *second,
                 const struct changed *object, size_t n, struct json_object *list, bool *has_more)
{
	struct comparing all = {.list = list, .lines_most = o->is_all ? UINT64_MAX : o->limit ? o->limit : LINES_USUAL};

	all.side[0].look = pLookOpen(c->magic, first);
	all.side[1].look = all.side[0].look ? pLookOpen(c->magic, second) : NULL;
	if (!all.side[1].look) {
		complain("%s", pErrorMsg());
		comparing_end(&all);
		return TOOL_NO;
	}
	side_name(&all.side[1], 1, object, n, o->is_all);
	if (is_first_needed(&all.side[1], object, n))
		side_name(&all.side[0], 0, object, n, o->is_all);
	objects_compare(&all, object, n);
	others_compare(&all, object, n);
	*has_more = all.has_more;
	comparing_end(&all);
	return TOOL_OK;
}
