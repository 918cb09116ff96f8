/* naming.c - see naming.h. */
#include "naming.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURN = 256, ENTRIES = 8 }; /* children of each in turn; entries that cost as much as a child */

struct waiting {
	struct cursor cursor;
	uint32_t node;
	char *prefix; /* from the node to what has the children */
	bool is_list, has_wanted;
	uint64_t mark, lap,
	        laps; /* list: an element before, to see circles by; how many came since, of how many until the next mark */
};
struct naming {
	struct plook *look;
	void (*fn)(const struct named *named, const struct place *place, const char *path, void *arg);
	void *arg;
	struct named *node;
	size_t nodes, nodes_room;
	uint32_t *slot; /* node + 1, by object */
	size_t slots;
	uint64_t *part; /* elements of lists that are parts of objects met before: addresses, by hash; 0: free */
	size_t parts, parts_room;
	uint64_t *wanted; /* sorted */
	bool *is_met;
	size_t n, met;
	struct waiting *queue; /* a ring */
	size_t first, waiting, room;
	struct waiting *current;
	const struct climb *guide;
	uint64_t children, children_most;
	uint64_t entries; /* of structures of softpm-ds: they cost less, and all of one are needed */
	bool was_cut;
};

static int by_address(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* ---- objects ---- */

static uint32_t *node_slot(const struct naming *names, uint64_t object)
{
	size_t i = (size_t)((object >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (names->slots - 1);

	while (names->slot[i] && names->node[names->slot[i] - 1].object != object)
		i = (i + 1) & (names->slots - 1);
	return &names->slot[i];
}

static void slots_grow(struct naming *names)
{
	if (names->nodes < names->slots / 2)
		return;
	free(names->slot);
	names->slots = names->slots ? names->slots * 2 : 1024;
	names->slot = calloc(names->slots, sizeof(*names->slot));
	if (!names->slot || names->nodes > UINT32_MAX / 4)
		out_of_memory();
	for (size_t i = 0; i < names->nodes; i++)
		*node_slot(names, names->node[i].object) = (uint32_t)i + 1;
}

const struct named *naming_find(const struct naming *names, uint64_t object)
{
	uint32_t found = names->slots ? *node_slot(names, object) : 0;

	return found ? &names->node[found - 1] : NULL;
}

static bool is_wanted(const struct naming *names, uint64_t object)
{
	return names->n && bsearch(&object, names->wanted, names->n, sizeof(object), by_address);
}

static void wanted_met(struct naming *names, const struct named *n)
{
	const uint64_t *at = names->n ? bsearch(&n->object, names->wanted, names->n, sizeof(*at), by_address) : NULL;
	char *path;

	if (!at || names->is_met[at - names->wanted])
		return;
	names->is_met[at - names->wanted] = true;
	names->met++;
	if (n->kind == NAMED_OWN && names->current)
		names->current->has_wanted = true;
	if (!names->fn)
		return;
	path = naming_path(names, n);
	names->fn(n, &n->place, path, names->arg);
	free(path);
}

static char *joined(const char *a, const char *b)
{
	size_t n = strlen(a);
	char *text = malloc(n + strlen(b) + 1);

	if (!text)
		out_of_memory();
	memcpy(text, a, n);
	strcpy(text + n, b);
	return text;
}

/* A new one, or NULL: it was met before. Takes the step, if it is new. */
static const struct named *node_add(struct naming *names, const struct named *named)
{
	uint32_t *slot;

	slots_grow(names);
	slot = node_slot(names, named->object);
	if (*slot)
		return NULL;
	if (names->nodes == names->nodes_room) {
		names->nodes_room = names->nodes_room * 2 + 256;
		names->node = realloc(names->node, names->nodes_room * sizeof(*names->node));
		if (!names->node)
			out_of_memory();
	}
	names->node[names->nodes] = *named;
	names->node[names->nodes].all_bytes = named->bytes;
	*slot = (uint32_t)++names->nodes;
	wanted_met(names, &names->node[names->nodes - 1]);
	return &names->node[names->nodes - 1];
}

char *naming_path(const struct naming *names, const struct named *named)
{
	size_t n = 0;
	char *path, *at;

	for (const struct named *i = named;; i = &names->node[i->from]) {
		n += strlen(i->step);
		if (i == &names->node[i->from])
			break;
	}
	path = malloc(n + 1);
	if (!path)
		out_of_memory();
	at = path + n;
	*at = 0;
	for (const struct named *i = named;; i = &names->node[i->from]) {
		at -= strlen(i->step);
		memcpy(at, i->step, strlen(i->step));
		if (i == &names->node[i->from])
			break;
	}
	return path;
}

/* ---- the queue ---- */

static void own_visit(uint64_t address, void *arg)
{
	struct naming *names = arg;
	struct named named = {.from = names->current->node, .kind = NAMED_OWN};
	struct pobject o;

	if (pLookObject(names->look, address, &o) != 1)
		return;
	named.object = o.address;
	named.bytes = o.bytes;
	named.step = joined(names->current->prefix, "");
	if (!node_add(names, &named))
		free(named.step);
	if (is_wanted(names, o.address))
		names->current->has_wanted = true;
}

static void queue_grow(struct naming *names)
{
	size_t room = names->room * 2 + 256;
	struct waiting *more;

	if (names->waiting < names->room)
		return;
	more = malloc(room * sizeof(*more));
	if (!more)
		out_of_memory();
	for (size_t i = 0; i < names->waiting; i++)
		more[i] = names->queue[(names->first + i) % names->room];
	free(names->queue);
	names->queue = more;
	names->first = 0;
	names->room = room;
}

static void queue_put(struct naming *names, const struct waiting *w)
{
	queue_grow(names);
	names->queue[(names->first + names->waiting++) % names->room] = *w;
}

/* Takes the prefix. */
static void inside_put(struct naming *names, const struct inside *in, uint32_t node, char *prefix)
{
	struct waiting w = {.node = node, .prefix = prefix, .is_list = in->shape == SHAPE_LIST};

	if (in->shape == SHAPE_LEAF || inside_is_numbers(in) || cursor_open(names->look, in, &w.cursor)) {
		cursor_close(&w.cursor);
		free(prefix);
		return;
	}
	queue_put(names, &w);
}

/* ---- places ---- */

static void text_note(struct naming *names, const struct place *p, const struct inside *in, uint32_t from, char *step)
{
	struct named named = {.object = in->object.address,
	                      .bytes = in->object.bytes,
	                      .from = from,
	                      .kind = NAMED_TEXT,
	                      .place = *p,
	                      .step = step};

	if (!node_add(names, &named))
		free(step);
}

/* The bytes of a string of softpm-ds, which is at the place, or which that leads to. */
static void string_note(struct naming *names, const struct place *p, const struct inside *in, uint32_t from,
                        const char *step)
{
	bool is_led = in->is_led && p->type->kind == PTYPE_POINTER;
	struct named named = {.from = from, .kind = NAMED_TEXT, .place = *p};
	uint64_t at = p->address, bytes = 0, length;
	struct pobject o;

	if (is_led && pLookRead(names->look, p->address, &at, sizeof(at)))
		return;
	if (!type_is_string(is_led ? p->type->of : p->type) || spm_see_string(names->look, at, &bytes, &length) ||
	    pLookObject(names->look, bytes, &o) != 1)
		return;
	named.object = o.address;
	named.bytes = o.bytes;
	named.step = joined(step, "");
	if (!node_add(names, &named))
		free(named.step);
}

/* What is inside a place; takes the step, which leads there from the node. */
static void place_note(struct naming *names, const struct place *p, uint32_t from, char *step)
{
	struct named named = {.from = from, .kind = NAMED_OBJECT, .step = step};
	struct inside in;

	if (place_open(names->look, p, &in)) {
		free(step);
		return;
	}
	if (names->guide && in.is_led && !climb_has(names->guide, in.object.address)) {
		free(step);
		return;
	}
	if (in.shape == SHAPE_LEAF && p->type)
		string_note(names, p, &in, from, step);
	if (in.is_led && in.shape == SHAPE_LEAF) {
		text_note(names, p, &in, from, step);
	} else if (in.is_led && in.shape != SHAPE_LIST) {
		named.object = in.object.address;
		named.bytes = in.object.bytes;
		named.place = in.of;
		named.is_led = true;
		named.shape = in.shape;
		named.count = in.count;
		if (node_add(names, &named))
			inside_put(names, &in, (uint32_t)names->nodes - 1, joined("", ""));
		else
			free(step);
	} else {
		inside_put(names, &in, from, step);
	}
}

/* Whether the list has led to this element before; sooner or later. */
static bool is_circle(struct waiting *w, uint64_t element)
{
	bool is_mark = element == w->mark;

	if (w->lap++ == w->laps) {
		w->mark = element;
		w->laps = w->laps * 2 + 1;
		w->lap = 0;
	}
	return is_mark;
}

static uint64_t *part_slot(uint64_t *slot, size_t room, uint64_t address)
{
	size_t i = (size_t)((address >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (room - 1);

	while (slot[i] && slot[i] != address)
		i = (i + 1) & (room - 1);
	return &slot[i];
}

/* Whether it was not met before. */
static bool part_add(struct naming *names, uint64_t address)
{
	size_t room = names->parts_room ? names->parts_room * 2 : 256;
	uint64_t *more;

	if (names->parts >= names->parts_room / 2) {
		more = calloc(room, sizeof(*more));
		if (!more)
			out_of_memory();
		for (size_t i = 0; i < names->parts_room; i++)
			if (names->part[i])
				*part_slot(more, room, names->part[i]) = names->part[i];
		free(names->part);
		names->part = more;
		names->parts_room = room;
	}
	more = part_slot(names->part, names->parts_room, address);
	if (*more)
		return false;
	*more = address;
	names->parts++;
	return true;
}

/* One more element in an object that is asked for. */
static void part_tell(struct naming *names, const struct waiting *w, struct named *named, const struct pobject *o,
                      const char *step)
{
	char *path, *whole;

	if (!names->fn || !is_wanted(names, o->address))
		return;
	named->object = o->address;
	named->bytes = o->bytes;
	path = naming_path(names, &names->node[w->node]);
	whole = joined(path, step);
	names->fn(named, &named->place, whole, names->arg);
	free(whole);
	free(path);
}

/* False: a list that goes on alike has it, and what comes behind it. Several elements may be parts of one object; or be elsewhere, too. */
static bool element_note(struct naming *names, struct waiting *w, const struct child *child)
{
	struct named named = {.from = w->node,
	                      .kind = NAMED_OBJECT,
	                      .place = child->place,
	                      .shape = SHAPE_MEMBERS,
	                      .link = w->cursor.in.next_at + 1};
	const struct named *met;
	struct inside in;
	struct pobject o;
	char *step;

	if (is_circle(w, child->place.address) || pLookObject(names->look, child->place.address, &o) != 1)
		return false;
	if (names->guide && !climb_has(names->guide, o.address))
		return false;
	met = naming_find(names, o.address);
	if (met && met->place.address == child->place.address)
		return met->link != named.link;
	if (met && !part_add(names, child->place.address))
		return false;
	step = joined(w->prefix, child->step);
	w->has_wanted |= is_wanted(names, o.address);
	if (met) {
		part_tell(names, w, &named, &o, step);
		if (place_open(names->look, &child->place, &in))
			free(step);
		else
			inside_put(names, &in, w->node, step);
		return true;
	}
	named.object = o.address;
	named.bytes = o.bytes;
	named.step = step;
	node_add(names, &named);
	if (!place_open(names->look, &child->place, &in))
		inside_put(names, &in, (uint32_t)names->nodes - 1, joined("", ""));
	return true;
}

/* An entry of a structure, in an object that is asked for. */
static void entry_tell(struct naming *names, const struct waiting *w, const struct child *child)
{
	struct pobject o;
	char *path, *step, *whole;

	if (!w->has_wanted || !names->fn || pLookObject(names->look, child->place.address, &o) != 1 ||
	    !is_wanted(names, o.address))
		return;
	step = joined(w->prefix, child->step);
	path = naming_path(names, &names->node[w->node]);
	whole = joined(path, step);
	names->fn(&(struct named){.object = o.address, .kind = NAMED_ENTRY, .place = child->place}, &child->place,
	          whole, names->arg);
	free(whole);
	free(path);
	free(step);
}

/* Passes elements that have no word which leads to where the guide does. */
static void elements_pass(const struct naming *names, struct cursor *c)
{
	uint64_t word[1024], bytes = c->in.of.type->bytes, at = c->next * bytes, end = c->in.count * bytes;

	while (at < end) {
		uint64_t from = (c->in.of.address + at) & ~UINT64_C(7), n = c->in.of.address + end - from;

		n = n < sizeof(word) ? n : sizeof(word);
		if (pLookRead(names->look, from, word, n))
			return;
		for (uint64_t i = 0; i < n / sizeof(*word); i++)
			if (climb_leads(names->guide, word[i])) {
				uint64_t place = from + i * sizeof(*word);

				at = place > c->in.of.address ? (place - c->in.of.address) / bytes : 0;
				c->next = at > c->next ? at : c->next;
				return;
			}
		at = from + n - c->in.of.address;
	}
	c->next = c->in.count;
}

/* True: there may be more. */
static bool child_take(struct naming *names, struct waiting *w)
{
	struct child child;
	const char *why;
	int result;

	if (names->guide && w->cursor.in.shape == SHAPE_ELEMENTS)
		elements_pass(names, &w->cursor);
	result = cursor_next(&w->cursor, &child, &why);
	*(w->cursor.seeing ? &names->entries : &names->children) += 1;
	if (result != 1)
		return result < 0 && w->cursor.in.shape == SHAPE_WORDS;
	if (w->is_list)
		return element_note(names, w, &child);
	if (w->cursor.seeing)
		entry_tell(names, w, &child);
	place_note(names, &child.place, w->node, joined(w->prefix, child.step));
	return true;
}

static void turn_take(struct naming *names)
{
	struct waiting w = names->queue[names->first];
	bool has_more = true;

	names->first = (names->first + 1) % names->room;
	names->waiting--;
	if (names->n && names->met == names->n && !w.has_wanted)
		has_more = false; /* all are met: only their entries are to be told yet */
	names->current = &w;
	if (w.cursor.seeing) {
		w.cursor.seeing->visit = own_visit;
		w.cursor.seeing->arg = names;
	}
	for (unsigned i = 0; i < TURN && has_more; i++)
		has_more = child_take(names, &w);
	names->current = NULL;
	if (has_more) {
		queue_put(names, &w);
		return;
	}
	cursor_close(&w.cursor);
	free(w.prefix);
}

struct naming *naming_do(struct plook *look, const uint64_t *wanted, size_t n, uint64_t children_most,
                         const struct climb *guide,
                         void (*fn)(const struct named *named, const struct place *place, const char *path, void *arg),
                         void *arg)
{
	struct naming *names = calloc(1, sizeof(*names));
	struct place root = place_root(look);

	if (!names)
		out_of_memory();
	*names = (struct naming){
	        .look = look, .fn = fn, .arg = arg, .n = n, .children_most = children_most, .guide = guide};
	names->wanted = calloc(n + 1, sizeof(*names->wanted));
	names->is_met = calloc(n + 1, sizeof(*names->is_met));
	if (!names->wanted || !names->is_met)
		out_of_memory();
	if (n)
		memcpy(names->wanted, wanted, n * sizeof(*wanted));
	qsort(names->wanted, n, sizeof(*names->wanted), by_address);
	place_note(names, &root, 0, joined("root", ""));
	while (names->waiting && names->children < children_most && names->entries / ENTRIES < children_most)
		turn_take(names);
	names->was_cut = names->waiting > 0;
	return names;
}

void naming_free(struct naming *names)
{
	for (size_t i = 0; i < names->waiting; i++) {
		struct waiting *w = &names->queue[(names->first + i) % names->room];

		cursor_close(&w->cursor);
		free(w->prefix);
	}
	for (size_t i = 0; i < names->nodes; i++)
		free(names->node[i].step);
	free(names->queue);
	free(names->node);
	free(names->slot);
	free(names->part);
	free(names->wanted);
	free(names->is_met);
	free(names);
}

bool naming_is_whole(const struct naming *names)
{
	return !names->was_cut;
}

size_t naming_count(const struct naming *names)
{
	return names->nodes;
}

const struct named *naming_at(const struct naming *names, size_t i)
{
	return &names->node[i];
}

void naming_sum(struct naming *names)
{
	for (size_t i = names->nodes; i-- > 1;)
		names->node[names->node[i].from].all_bytes += names->node[i].all_bytes;
}
