/* lint.c - softpm lint: what in a version will not survive, or is not as it seems, and what takes its room.
 *
 *   pointers that lead out: to stacks and libc's heap, which are NULL after a restore; to places without a symbol, which are NULL in a program that
 *     is built anew
 *   pointers to where there is no object; numbers that look like addresses: they keep no objects alive (but for uintptr_t); words that
 *     may be pointers or not, as nobody told
 *   objects reachable only past an end: nothing leads into them but their end, so the next full trace drops them; or what keeps them alive is meant as
 *     the end of the object before
 *   objects that nothing leads to that has a type, though they are in the version: words that look like pointers, and hints, keep them
 *   the objects with most bytes behind them, each object counted for the one by which it was met first
 *
 * With --path: who keeps that object alive, from the root to it.
 *
 * Most objects lie right behind another. So a pointer that leads there means the end of the object before only if it is called so (`end`, `last`, ...),
 * or if nothing begins there.
 */
#include "naming.h"
#include "walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_USUAL = 20, BIGGEST = 10 };
enum finding { OUT_NAMED, OUT_NAMELESS, LOST, NOWHERE, NUMBER, UNTYPED, DAMAGE, PAST_END, FINDINGS };

static const uint64_t heap_start = UINT64_C(0x6a8100000000), heap_end = UINT64_C(0x6b0000000000); /* docs/format.md */

/* A pointer right behind an object. */
struct ending {
	uint64_t before, behind; /* that object, and the one that begins there, 0: none */
	char *path;
};

struct linting {
	struct plook *look;
	struct json_object *list; /* NULL: text */
	uint64_t n[FINDINGS], most;
	uint64_t words; /* of no type, that are taken for pointers */
	bool has_types;
	struct ending *ending;
	size_t endings, endings_room;
	uint64_t *led; /* objects that pointers lead to which are not meant as ends: by hash; 0: free */
	size_t leds, leds_room;
};

static const char *const finding_words[] = {
        [OUT_NAMED] = "leads to code or static data",
        [OUT_NAMELESS] = "leads out to where there is no symbol: NULL in a program that is built anew",
        [LOST] = "leads out: NULL after a restore",
        [NOWHERE] = "leads to where there is no object",
        [NUMBER] = "is a number that is an object's address: it keeps no object alive",
        [UNTYPED] = "may be a pointer, or a number: nobody told",
        [DAMAGE] = "can't be read",
        [PAST_END] = ""};
static const char *const finding_names[] = {[OUT_NAMED] = "outside", [OUT_NAMELESS] = "outside_without_symbol",
                                            [LOST] = "lost",         [NOWHERE] = "no_object",
                                            [NUMBER] = "ambiguous",  [UNTYPED] = "untyped",
                                            [DAMAGE] = "damage",     [PAST_END] = "past_end"};

/* As discovery takes it: uintptr_t for a pointer, all others for none. */
static const char *number_words(const struct linting *l, const struct row *r)
{
	const char *type = r->place->type ? r->place->type->name : "";
	struct pobject o;

	if (pLookObject(l->look, r->value->number, &o) != 1)
		return "is a number that looks like an address, and no object is there: numbers keep none alive";
	return strcmp(type, "uintptr_t") != 0 && strcmp(type, "intptr_t") != 0
	               ? finding_words[NUMBER]
	               : "is a number that is an object's address: it keeps the object alive";
}

static void finding_tell(struct linting *l, enum finding f, const struct row *r)
{
	struct json_object *o;
	char *path;

	if (l->n[f]++ >= l->most || f == OUT_NAMED)
		return;
	path = step_path(r->before, r->step);
	if (l->list) {
		o = json_object_new_object();
		json_text(o, "finding", finding_names[f]);
		json_text(o, "path", path);
		json_text(o, "type", type_text(r->place->type));
		json_object_array_add(l->list, o);
	} else {
		printf("%s = ", text_plain(path));
		value_print(stdout, r->value);
		printf(": %s\n", f == NUMBER ? number_words(l, r) : finding_words[f]);
	}
	free(path);
}

/* "libc.so.6+0x1234": a module and a distance. */
static bool is_nameless(const char *name)
{
	const char *plus = strrchr(name, '+');

	return plus && !strncmp(plus, "+0x", 3);
}

static bool is_address(const struct row *r)
{
	return !r->place->bits && r->place->bytes == 8 && !r->place->is_plain &&
	       (r->value->kind == VALUE_INT || r->value->kind == VALUE_UNSIGNED) && r->value->number >= heap_start &&
	       r->value->number < heap_end;
}

/* ---- pointers right behind objects ---- */

static uint64_t *led_slot(const struct linting *l, uint64_t object)
{
	size_t i = (size_t)((object >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (l->leds_room - 1);

	while (l->led[i] && l->led[i] != object)
		i = (i + 1) & (l->leds_room - 1);
	return &l->led[i];
}

static void led_add(struct linting *l, uint64_t object)
{
	uint64_t *old = l->led;
	size_t n = l->leds_room;

	if (l->leds >= n / 2) {
		l->leds_room = n ? n * 2 : 1024;
		l->led = calloc(l->leds_room, sizeof(*l->led));
		if (!l->led)
			out_of_memory();
		for (size_t i = 0; i < n; i++)
			if (old[i])
				*led_slot(l, old[i]) = old[i];
		free(old);
	}
	l->leds += !*led_slot(l, object);
	*led_slot(l, object) = object;
}

/* By its last member's name. */
static bool is_called_end(const struct row *r)
{
	static const char *const names[] = {"end", "last", "limit", "stop", "past", "finish", "bound"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasestr(r->step, names[i]))
			return true;
	return false;
}

static void ending_add(struct linting *l, const struct row *r, uint64_t before, uint64_t behind)
{
	if (l->endings == l->endings_room) {
		l->endings_room = l->endings_room * 2 + 64;
		l->ending = realloc(l->ending, l->endings_room * sizeof(*l->ending));
		if (!l->ending)
			out_of_memory();
	}
	l->ending[l->endings++] =
	        (struct ending){.before = before, .behind = behind, .path = step_path(r->before, r->step)};
}

/* Whether it leads to the end of an object. */
static bool is_ending(struct linting *l, const struct row *r)
{
	uint64_t target = r->value->number;
	struct pobject before, behind;
	bool is_into = pLookObject(l->look, target, &behind) == 1,
	     is_behind = target && (!is_into || target == behind.address) &&
	                 pLookObject(l->look, target - 1, &before) == 1 && before.address + before.bytes == target,
	     is_meant = is_behind && (!is_into || is_called_end(r));

	if (is_into && !is_meant)
		led_add(l, behind.address);
	if (is_meant)
		ending_add(l, r, before.address, is_into ? behind.address : 0);
	return is_meant;
}

static void past_end_tell(struct linting *l, const struct ending *e, uint64_t object, const char *words)
{
	char address[32];
	struct json_object *o;

	snprintf(address, sizeof(address), "0x%" PRIx64, object);
	if (l->n[PAST_END]++ >= l->most)
		return;
	if (l->list) {
		o = json_object_new_object();
		json_text(o, "finding", finding_names[PAST_END]);
		json_text(o, "path", e->path);
		json_text(o, "type", "");
		json_text(o, "address", address);
		json_text(o, "why", words);
		json_object_array_add(l->list, o);
	} else {
		printf("%s: %s: %s\n", text_plain(e->path), address, words);
	}
}

/* Objects that nothing leads to but what is an end: each once. */
static void endings_tell(struct linting *l, const struct naming *names)
{
	for (size_t i = 0; i < l->endings; i++) {
		const struct ending *e = &l->ending[i];

		if (e->behind && !*led_slot(l, e->behind)) {
			past_end_tell(l, e, e->behind,
			              "only what is called an end of the object before leads to this one, and keeps it "
			              "alive");
			led_add(l, e->behind);
		}
		if (!naming_find(names, e->before) && !*led_slot(l, e->before)) {
			past_end_tell(l, e, e->before,
			              "nothing leads into this object, only to its end: it does not survive a full "
			              "trace");
			led_add(l, e->before);
		}
		free(e->path);
	}
	free(l->ending);
	free(l->led);
}

static enum finding outside_kind(const char *name)
{
	return name[0] == '(' ? LOST : is_nameless(name) ? OUT_NAMELESS : OUT_NAMED;
}

static int row_lint(const struct row *r, void *arg)
{
	struct linting *l = arg;
	bool is_end =
	        r->value->is_pointer &&
	        (r->value->kind == VALUE_POINTER || r->value->kind == VALUE_NOWHERE || r->value->kind == VALUE_TEXT) &&
	        is_ending(l, r);

	if (r->value->kind == VALUE_CODE)
		finding_tell(l, outside_kind(r->value->name), r);
	else if (r->value->kind == VALUE_NOWHERE && !is_end)
		finding_tell(l, NOWHERE, r);
	else if (is_address(r))
		finding_tell(l, NUMBER, r);
	else if (r->damage || r->value->kind == VALUE_DAMAGE)
		finding_tell(l, DAMAGE, r);
	l->words += r->place->type == &type_pointer;
	if (r->place->type == &type_pointer && l->has_types && r->value->kind == VALUE_POINTER)
		finding_tell(l, UNTYPED, r);
	return 0;
}

/* ---- objects ---- */

struct totals {
	const struct naming *names;
	uint64_t objects, bytes, unmet, unmet_bytes;
};

static int object_count(const struct pobject *o, void *arg)
{
	struct totals *t = arg;

	t->objects++;
	t->bytes += o->bytes;
	if (!naming_find(t->names, o->address)) {
		t->unmet++;
		t->unmet_bytes += o->bytes;
	}
	return 0;
}

static int by_all_bytes(const void *a, const void *b)
{
	const struct named *x = *(const struct named *const *)a, *y = *(const struct named *const *)b;

	return (x->all_bytes < y->all_bytes) - (x->all_bytes > y->all_bytes);
}

static void subtree_tell(struct linting *l, const struct naming *names, const struct named *n)
{
	char *path = naming_path(names, n);
	struct json_object *o;

	if (l->list) {
		o = json_object_new_object();
		json_text(o, "finding", "subtree");
		json_text(o, "path", path);
		json_text(o, "type", type_text(n->place.type));
		json_count(o, "bytes", n->all_bytes);
		json_object_array_add(l->list, o);
	} else {
		printf("  %10s  %s\n", text_bytes(n->all_bytes), text_plain(path));
	}
	free(path);
}

/* Not more than what all lie behind. */
static void subtrees_tell(struct linting *l, struct naming *names)
{
	size_t n = naming_count(names), shown = 0;
	const struct named **all = calloc(n + 1, sizeof(*all));

	if (!all)
		out_of_memory();
	naming_sum(names);
	for (size_t i = 0; i < n; i++)
		all[i] = naming_at(names, i);
	qsort(all, n, sizeof(*all), by_all_bytes);
	if (!l->list && n)
		puts("most bytes behind:");
	for (size_t i = 0; i < n && shown < BIGGEST; i++) {
		if (all[i]->kind == NAMED_OWN)
			continue;
		subtree_tell(l, names, all[i]);
		shown++;
	}
	free(all);
}

static void totals_print(const struct linting *l, const struct totals *t)
{
	printf("%" PRIu64 " objects, %s", t->objects, text_bytes(t->bytes));
	if (t->unmet)
		printf("; %" PRIu64 " of them, %s, are led to by nothing that has a type, or is a pointer", t->unmet,
		       text_bytes(t->unmet_bytes));
	printf("\npointers to code or static data: %" PRIu64 ", %" PRIu64
	       " of them without symbol; NULL after a restore: %" PRIu64 "; to no object: %" PRIu64
	       "; numbers that are addresses: %" PRIu64 "; words of no type that are taken for pointers: %" PRIu64
	       "; reachable only past an end: %" PRIu64 "\n",
	       l->n[OUT_NAMED] + l->n[OUT_NAMELESS], l->n[OUT_NAMELESS], l->n[LOST], l->n[NOWHERE], l->n[NUMBER],
	       l->words, l->n[PAST_END]);
}

static void totals_json(struct linting *l, const struct totals *t)
{
	struct json_object *o = json_object_new_object();

	json_count(o, "objects", t->objects);
	json_count(o, "bytes", t->bytes);
	json_count(o, "objects_not_met", t->unmet);
	json_count(o, "bytes_not_met", t->unmet_bytes);
	for (unsigned i = 0; i < FINDINGS; i++)
		json_count(o, finding_names[i], l->n[i]);
	json_count(o, "untyped_pointers", l->words);
	json_object_object_add(o, "findings", l->list);
	json_print(o);
}

static int version_lint(const struct options *o, struct plook *look)
{
	struct walk_limits limits = {UINT32_MAX, UINT64_MAX, 0, 64};
	struct linting l = {.look = look, .most = o->is_all ? UINT64_MAX : o->limit ? o->limit : LINES_USUAL};
	struct place root = place_root(look);
	struct totals totals = {0};
	struct naming *names;

	if (o->is_json)
		l.list = json_object_new_array();
	l.has_types = pLookType(look);
	led_add(&l, root.address);
	walk(look, &root, "root", &limits, row_lint, &l);
	names = naming_do(look, NULL, 0, UINT64_MAX, NULL, NULL, NULL);
	totals.names = names;
	endings_tell(&l, names);
	subtrees_tell(&l, names);
	if (pLookObjects(look, 0, object_count, &totals) < 0)
		complain("%s", pErrorMsg());
	if (o->is_json)
		totals_json(&l, &totals);
	else
		totals_print(&l, &totals);
	naming_free(names);
	return l.n[DAMAGE] ? TOOL_NO : TOOL_OK;
}

/* ---- who keeps an object ---- */

static void keeper_tell(const struct naming *names, const struct named *n, struct json_object *list)
{
	char *path = naming_path(names, n), address[32];
	struct json_object *o;

	snprintf(address, sizeof(address), "0x%" PRIx64, n->object);
	if (list) {
		o = json_object_new_object();
		json_text(o, "address", address);
		json_text(o, "path", path);
		json_text(o, "type", type_text(n->place.type));
		json_count(o, "bytes", n->bytes);
		json_object_array_add(list, o);
	} else {
		printf("%s  %8s  %s\n", address, text_bytes(n->bytes), text_plain(path));
	}
	free(path);
}

static int object_keepers(const struct options *o, struct plook *look, const struct pobject *object)
{
	struct naming *names = naming_do(look, &object->address, 1, UINT64_MAX, NULL, NULL, NULL);
	const struct named *n = naming_find(names, object->address), *way[WALK_DEPTH_MOST * 10];
	struct json_object *list = o->is_json ? json_object_new_array() : NULL;
	size_t steps = 0;

	for (; n && steps < sizeof(way) / sizeof(way[0]); n = naming_at(names, n->from)) {
		way[steps++] = n;
		if (n == naming_at(names, n->from))
			break;
	}
	if (!steps)
		complain("nothing that is known to be a pointer leads to 0x%" PRIx64, object->address);
	while (steps)
		keeper_tell(names, way[--steps], list);
	if (list)
		json_print(list);
	naming_free(names);
	return n ? TOOL_OK : TOOL_NO;
}

static int path_lint(const struct options *o, struct plook *look)
{
	struct pobject object;
	struct place place;
	struct inside in;
	uint64_t from;

	if (path_find(look, o->path, &place, &from))
		return TOOL_NO;
	if (place_open(look, &place, &in))
		return complain("%s", pErrorMsg());
	if (pLookObject(look, in.is_led ? in.object.address : place.address, &object) != 1)
		return complain("%s: there is no object", text_plain(o->path));
	return object_keepers(o, look, &object);
}

static int lint_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct plook *look = look_open(c, argc ? argv[argc - 1] : NULL);
	int status;

	if (!look)
		return TOOL_NO;
	status = o->path ? path_lint(o, look) : version_lint(o, look);
	pLookClose(look);
	return status;
}

int tool_lint(const struct options *o, int argc, char **argv)
{
	return container_run_for(o, argc > 1 ? argv[0] : NULL, argc, argv, lint_run);
}
