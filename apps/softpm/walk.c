/* walk.c - see walk.h.
 *
 *   frames    the way down: of each place that is being told, a cursor at the child that comes next
 *   seen      by object: which parts of it were told, as what, by which path; lists' elements, of which an object may have many, by page
 *   later     what lay too deep
 */
#include "walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT_MOST = 10000, SEEN_PAGE = 4096 }; /* elements of a list that are not told but counted */

struct part { /* of an object: [from, end) was told as that type */
	uint64_t object, from, end;
	uint64_t key; /* by which it is found: the object, or the page + 1 */
	const struct ptype *type;
	const struct step *step; /* of the pointer that led there or, !is_led, of the place itself */
	bool is_array;           /* of that type, one behind another */
	bool is_led, is_alias;   /* alias: of an element of one list that was told before, in another */
	uint64_t link;           /* of an element: where the pointer to the next one is, + 1 */
	size_t before;           /* another one of the object + 1 */
};
struct seen {
	struct part *part;
	size_t n, room;
	size_t *slot; /* by object: the newest part + 1; 0: free */
	size_t slots;
};
struct frame {
	struct cursor cursor;
	const struct step *step;
	unsigned depth;
	uint64_t told;
	uint64_t end;     /* of a list: so many elements are its own; UINT64_MAX: not a list */
	uint64_t more;    /* behind them */
	bool was_damaged; /* that is told, and there is no more */
};
struct later {
	uint64_t address;
	const struct ptype *type;
};
struct walking {
	struct plook *look;
	const struct walk_limits *limits;
	int (*fn)(const struct row *row, void *arg);
	void *arg;
	struct seen seen;
	struct frame *frame;
	size_t frames, frames_room;
	struct later *later;
	size_t laters, laters_room, laters_done;
	struct step **step; /* all, to be freed */
	size_t steps, steps_room;
};

/* Room for one more. */
static void *grown(void *all, size_t n, size_t *room, size_t bytes)
{
	if (n < *room)
		return all;
	*room = *room * 2 + 64;
	all = realloc(all, *room * bytes);
	if (!all)
		out_of_memory();
	return all;
}

static const struct step *step_keep(struct walking *w, const struct step *before, const char *text)
{
	w->step = grown(w->step, w->steps, &w->steps_room, sizeof(*w->step));
	return w->step[w->steps++] = step_make(before, text);
}

/* ---- what was seen ---- */

static uint64_t page_key(uint64_t address)
{
	return address / SEEN_PAGE * SEEN_PAGE + 1;
}

static size_t *seen_slot(const struct seen *s, uint64_t key)
{
	size_t i = (size_t)((key >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (s->slots - 1);

	while (s->slot[i] && s->part[s->slot[i] - 1].key != key)
		i = (i + 1) & (s->slots - 1);
	return &s->slot[i];
}

static void seen_grow(struct seen *s)
{
	if (s->n < s->slots / 2)
		return;
	free(s->slot);
	s->slots = s->slots ? s->slots * 2 : 1024;
	s->slot = calloc(s->slots, sizeof(*s->slot));
	if (!s->slot)
		out_of_memory();
	for (size_t i = 0; i < s->n; i++)
		*seen_slot(s, s->part[i].key) = i + 1;
}

/* One that tells a type, if there is any. */
static const struct part *seen_under(const struct walking *w, uint64_t key, uint64_t address)
{
	const struct part *found = NULL;

	for (size_t i = w->seen.slots ? *seen_slot(&w->seen, key) : 0; i; i = w->seen.part[i - 1].before) {
		const struct part *p = &w->seen.part[i - 1];

		if (p->is_alias || address - p->from >= p->end - p->from)
			continue;
		if (p->type)
			return p;
		found = p;
	}
	return found;
}

static const struct part *seen_find(const struct walking *w, uint64_t object, uint64_t address)
{
	const struct part *p = seen_under(w, object, address);

	return p ? p : seen_under(w, page_key(address), address);
}

/* As an element of a list that goes on alike: what comes behind was seen, too. */
static bool seen_linked(const struct walking *w, const struct part *element)
{
	for (size_t i = w->seen.slots ? *seen_slot(&w->seen, element->key) : 0; i; i = w->seen.part[i - 1].before)
		if (w->seen.part[i - 1].from == element->from && w->seen.part[i - 1].link == element->link)
			return true;
	return false;
}

static void seen_put(struct walking *w, const struct part *part, uint64_t key)
{
	struct seen *s = &w->seen;
	size_t *slot;

	seen_grow(s);
	s->part = grown(s->part, s->n, &s->room, sizeof(*s->part));
	slot = seen_slot(s, key);
	s->part[s->n] = *part;
	s->part[s->n].key = key;
	s->part[s->n++].before = *slot;
	*slot = s->n;
}

static void seen_add(struct walking *w, const struct part *part)
{
	seen_put(w, part, part->key);
	if (part->key != part->object && page_key(part->end - 1) != part->key)
		seen_put(w, part, page_key(part->end - 1));
}

/* What it is called that lies there; to be freed. */
static char *part_path(const struct part *p, uint64_t address)
{
	char within[STEP_BYTES + 32];
	uint64_t offset = address - p->from, n = 0;

	if (p->is_array && offset) {
		n = (uint64_t)snprintf(within, sizeof(within), "[%llu]", (unsigned long long)(offset / p->type->bytes));
		offset %= p->type->bytes;
	}
	path_within(p->type, offset, p->is_led && !n, within + n, STEP_BYTES);
	return step_path(p->step, within);
}

/* The part that tells as much as this would; else NULL. */
static const struct part *seen_already(const struct walking *w, const struct inside *in)
{
	const struct part *p;

	if (!in->is_led || in->shape == SHAPE_LEAF)
		return NULL;
	p = seen_find(w, in->object.address, in->of.address);
	return p && (p->type || !in->of.type) ? p : NULL;
}

/* Elements up to those that were told already: an array is told once, whichever of its elements are pointed to, and in whatever order. */
static bool is_clipped(struct walking *w, struct inside *in, const struct part *part)
{
	uint64_t bytes = in->shape == SHAPE_ELEMENTS ? in->of.type->bytes : 0;

	for (size_t i = w->seen.slots && bytes ? *seen_slot(&w->seen, part->key) : 0; i;
	     i = w->seen.part[i - 1].before) {
		struct part *told = &w->seen.part[i - 1];

		if (told->type != part->type || !told->is_led || told->end != part->end || told->from <= part->from ||
		    (told->from - part->from) % bytes)
			continue;
		if (!inside_is_numbers(in))
			in->count = (told->from - part->from) / bytes;
		told->from = part->from;
		told->step = part->step;
		return true;
	}
	return false;
}

static void inside_note(struct walking *w, struct inside *in, const struct step *step)
{
	struct part part = {.object = in->object.address,
	                    .key = in->object.address,
	                    .from = in->of.address,
	                    .end = in->object.address + in->object.bytes,
	                    .type = in->of.type,
	                    .step = step,
	                    .is_array = in->shape == SHAPE_ELEMENTS,
	                    .is_led = true};

	if (in->is_led && in->shape != SHAPE_LIST && !is_clipped(w, in, &part))
		seen_add(w, &part);
}

/* ---- lists ---- */

static struct part element_part(struct walking *w, const struct cursor *c, const struct child *child)
{
	struct part part = {.from = child->place.address,
	                    .end = child->place.address + child->place.bytes,
	                    .type = child->place.type,
	                    .link = c->in.next_at + 1};
	struct pobject o;

	if (pLookObject(w->look, child->place.address, &o) == 1)
		part.object = o.address;
	part.key = child->place.bytes <= SEEN_PAGE ? page_key(part.from) : part.object;
	return part;
}

/* Its elements are noted before any of them is told: who leads to one from another is not to tell the rest of the list. */
static void list_note(struct walking *w, struct frame *f)
{
	uint64_t most = w->limits->elements;
	struct child child;
	const char *why;
	struct cursor c;

	if (cursor_open(w->look, &f->cursor.in, &c))
		return;
	f->end = 0;
	f->more = 0;
	if (f->cursor.next && cursor_skip(&c, f->cursor.next, &why) == 1)
		f->end = f->cursor.next;
	while (cursor_next(&c, &child, &why) == 1) {
		struct part part = element_part(w, &c, &child);

		if (seen_linked(w, &part))
			break;
		if (f->end - f->cursor.next < most) {
			part.is_alias = seen_find(w, part.object, part.from) != NULL;
			part.step = step_keep(w, f->step, child.step);
			seen_add(w, &part);
			f->end++;
		} else if (++f->more == COUNT_MOST) {
			f->more = UINT64_MAX;
			break;
		}
	}
	cursor_close(&c);
}

/* ---- rows ---- */

static int row_tell(struct walking *w, const struct row *row)
{
	return w->fn(row, w->arg);
}

static void frame_push(struct walking *w, const struct inside *in, const struct step *step, unsigned depth,
                       uint64_t from, const char **damage)
{
	struct frame *f;

	w->frame = grown(w->frame, w->frames, &w->frames_room, sizeof(*w->frame));
	f = &w->frame[w->frames];
	*f = (struct frame){.step = step, .depth = depth, .end = UINT64_MAX};
	if (cursor_open(w->look, in, &f->cursor)) {
		*damage = pErrorMsg();
		cursor_close(&f->cursor);
		return;
	}
	f->cursor.is_element = w->frames && w->frame[w->frames - 1].end != UINT64_MAX;
	if (from)
		cursor_skip(&f->cursor, from, damage);
	if (in->shape == SHAPE_LIST)
		list_note(w, f);
	w->frames++;
}

static uint64_t count_of(const struct walking *w, const struct inside *in)
{
	const struct frame *f = w->frames ? &w->frame[w->frames - 1] : NULL;

	if (in->shape != SHAPE_LIST)
		return in->count;
	return f && f->end != UINT64_MAX && f->more != UINT64_MAX ? f->end + f->more : UINT64_MAX;
}

static void later_add(struct walking *w, const struct inside *in)
{
	w->later = grown(w->later, w->laters, &w->laters_room, sizeof(*w->later));
	w->later[w->laters++] = (struct later){in->of.address, in->of.type};
}

/* Goes in, if there is anything; what the row is to tell of it. */
static void row_enter(struct walking *w, struct row *row, struct inside *in, const struct step *before, uint64_t from)
{
	const struct step *step;

	if (in->shape == SHAPE_LEAF)
		return;
	if (row->depth >= w->limits->depth && !inside_is_numbers(in)) {
		row->has_more = MORE_DEPTH;
		return;
	}
	if (row->depth >= WALK_DEPTH_MOST && in->is_led && !inside_is_numbers(in)) {
		row->has_more = MORE_LATER;
		later_add(w, in);
		return;
	}
	step = step_keep(w, before, row->step);
	inside_note(w, in, step);
	if (inside_is_numbers(in))
		return;
	row->is_expanded = true;
	frame_push(w, in, step, row->depth, from, &row->damage);
	row->count = count_of(w, in);
}

/* The part that tells an element of a list, if that is in another list, or elsewhere; else NULL. */
static const struct part *element_elsewhere(struct walking *w, const struct place *place, const struct step *before)
{
	const struct frame *f = w->frames ? &w->frame[w->frames - 1] : NULL;
	const struct part *p;
	struct pobject o;

	if (!f || f->end == UINT64_MAX || f->step != before || pLookObject(w->look, place->address, &o) != 1)
		return NULL;
	p = seen_find(w, o.address, place->address);
	return p && p->step && p->step->before != before ? p : NULL;
}

static int place_tell(struct walking *w, const struct place *place, const struct step *before, const char *step,
                      unsigned depth, bool is_link, uint64_t from)
{
	struct row row = {.before = before, .step = step, .depth = depth, .place = place, .is_link = is_link};
	const struct part *part;
	struct inside inside;
	struct value value;
	char *path = NULL;
	int result;

	if (place_open(w->look, place, &inside)) {
		row.damage = pErrorMsg();
		inside.shape = SHAPE_LEAF;
	}
	row.inside = &inside;
	row.count = inside.count;
	place_value(w->look, place, w->limits->text, &value);
	row.value = &value;
	part = element_elsewhere(w, place, before);
	if (!part)
		part = seen_already(w, &inside);
	if (part)
		row.seen = path = part_path(part, inside.of.address);
	else if (!is_link)
		row_enter(w, &row, &inside, before, from);
	result = row_tell(w, &row);
	value_free(&value);
	free(path);
	return result;
}

/* A row that stands for what comes yet, or tells why it ends. */
static int rest_tell(struct walking *w, struct frame *f, uint64_t more, const char *damage)
{
	static const struct value none = {.kind = VALUE_NONE};
	static const struct place nowhere = {0};
	struct row row = {.before = f->step,
	                  .step = "",
	                  .depth = f->depth + 1,
	                  .place = &nowhere,
	                  .inside = &f->cursor.in,
	                  .value = &none,
	                  .has_more = damage ? MORE_NONE : MORE_ELEMENTS,
	                  .more = more,
	                  .damage = damage};

	return row_tell(w, &row);
}

static int frame_end(struct walking *w)
{
	cursor_close(&w->frame[--w->frames].cursor);
	return 0;
}

/* Of a list: the element behind its own ones, which were seen elsewhere. */
static int joined_tell(struct walking *w, struct frame *f)
{
	struct child child;
	struct part part;
	const struct part *seen;
	const char *why = "";
	struct row row = {.before = f->step, .step = child.step, .depth = f->depth + 1, .place = &child.place};
	struct inside leaf = {.shape = SHAPE_LEAF};
	struct value none = {.kind = VALUE_NONE};
	char *path;
	int result = cursor_next(&f->cursor, &child, &why);

	if (result < 0)
		return rest_tell(w, f, 0, why);
	part = element_part(w, &f->cursor, &child);
	seen = result ? seen_find(w, part.object, part.from) : NULL;
	if (!seen)
		return 0;
	path = part_path(seen, part.from);
	row.inside = &leaf;
	row.value = &none;
	row.seen = path;
	result = row_tell(w, &row);
	free(path);
	return result;
}

/* A child of the last frame, or its end. */
static int frame_go_on(struct walking *w)
{
	struct frame *f = &w->frame[w->frames - 1];
	bool is_row = f->cursor.in.shape != SHAPE_MEMBERS;
	struct child child;
	const char *why = "";
	int result;

	if (f->was_damaged)
		return frame_end(w);
	if (f->end != UINT64_MAX && f->cursor.next == f->end) {
		result = f->more ? rest_tell(w, f, f->more, NULL) : joined_tell(w, f);
		frame_end(w);
		return result;
	}
	if (is_row && f->told == w->limits->elements && cursor_left(&f->cursor)) {
		result = rest_tell(w, f, cursor_left(&f->cursor), NULL);
		frame_end(w);
		return result;
	}
	result = cursor_next(&f->cursor, &child, &why);
	if (result < 0) {
		f->was_damaged = f->cursor.in.shape != SHAPE_WORDS;
		return rest_tell(w, f, 0, why);
	}
	if (!result)
		return frame_end(w);
	f->told++;
	result = place_tell(w, &child.place, f->step, child.step, f->depth + 1, child.is_link, 0);
	return result;
}

/* ---- all ---- */

static int later_begin(struct walking *w)
{
	struct later l = w->later[w->laters_done++];
	struct place p = place_at(w->look, l.address, l.type);
	char step[STEP_BYTES];
	struct pobject o;

	p.is_object = true;
	if (pLookObject(w->look, l.address, &o) != 1 || seen_find(w, o.address, l.address))
		return 0;
	if (l.type)
		snprintf(step, sizeof(step), "(%s *)0x%llx", type_text(l.type), (unsigned long long)l.address);
	else
		snprintf(step, sizeof(step), "0x%llx", (unsigned long long)l.address);
	return place_tell(w, &p, NULL, step, 0, false, 0);
}

static void walking_free(struct walking *w)
{
	while (w->frames)
		frame_end(w);
	for (size_t i = 0; i < w->steps; i++)
		free(w->step[i]);
	free(w->step);
	free(w->frame);
	free(w->later);
	free(w->seen.part);
	free(w->seen.slot);
}

int walk(struct plook *look, const struct place *place, const char *path, const struct walk_limits *limits,
         int (*fn)(const struct row *row, void *arg), void *arg)
{
	struct walking w = {.look = look, .limits = limits, .fn = fn, .arg = arg};
	int result = place_tell(&w, place, NULL, path, 0, false, limits->from);

	while (!result && (w.frames || w.laters_done < w.laters))
		result = w.frames ? frame_go_on(&w) : later_begin(&w);
	walking_free(&w);
	return result;
}
