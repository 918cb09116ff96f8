/* place.c - what is inside a place: members, elements, words. See place.h. */
#include "place.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBERS_DEEP = 64, RUN_BYTES = 32, TEXT_LEAST = 4, KEY_BYTES = 200 };

static const struct ptype type_void = {.kind = PTYPE_VOID, .name = "void"};
static const struct ptype type_char = {.kind = PTYPE_CHAR, .name = "char", .bytes = 1};
static const struct ptype type_chars = {.kind = PTYPE_ARRAY, .name = "", .of = &type_char}; /* as many as there are */
static const struct ptype type_long = {.kind = PTYPE_INT, .name = "long", .bytes = 8};
static const struct ptype type_unsigned = {.kind = PTYPE_UNSIGNED, .name = "unsigned long", .bytes = 8};
static const struct ptype type_double = {.kind = PTYPE_FLOAT, .name = "double", .bytes = 8};
const struct ptype type_pointer = {.kind = PTYPE_POINTER, .name = "", .bytes = 8, .of = &type_void};
const struct ptype type_string = {.kind = PTYPE_ARRAY, .name = "", .of = &type_char};
const struct ptype type_words = {.kind = PTYPE_UNKNOWN, .name = ""};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- members ---- */

static const struct pmember *member_within(const struct ptype *type, const char *name, uint64_t *offset, unsigned deep)
{
	for (size_t i = 0; i < type->members; i++) {
		const struct pmember *m = &type->member[i], *within;

		if (m->name[0] && !strcmp(m->name, name))
			return m;
		if (m->name[0] || deep == MEMBERS_DEEP)
			continue;
		within = member_within(m->type, name, offset, deep + 1);
		if (!within)
			continue;
		*offset += m->offset;
		return within;
	}
	return NULL;
}

const struct pmember *member_find(const struct ptype *type, const char *name, uint64_t *offset)
{
	return member_within(type, name, offset, 0);
}

static bool is_flexible(const struct ptype *type)
{
	return type->kind == PTYPE_ARRAY && !type->count;
}

struct place place_member(const struct place *p, const struct pmember *m)
{
	uint64_t room = m->offset < p->bytes ? p->bytes - m->offset : 0;

	return (struct place){.address = p->address + m->offset,
	                      .bytes = is_flexible(m->type) ? room : least(room, m->type->bytes),
	                      .type = m->type,
	                      .bit = m->bit_offset,
	                      .bits = m->bits,
	                      .is_plain = p->is_plain,
	                      .chosen = m->choice ? m : NULL};
}

bool place_holds(struct plook *look, const struct place *p, const struct pmember **out)
{
	return p->chosen && p->type == p->chosen->type && pLookHolds(look, p->chosen, p->address, out) == 1;
}

static bool is_same_type(const struct ptype *a, const struct ptype *b)
{
	return a == b || (a->kind == b->kind && a->name[0] && !strcmp(a->name, b->name));
}

static bool is_record(const struct ptype *type)
{
	return type && (type->kind == PTYPE_STRUCT || type->kind == PTYPE_UNION) && type->bytes;
}

/* A pointer to another one of its own type. */
static bool is_link(const struct ptype *type, const struct pmember *m)
{
	return !m->bits && m->type->kind == PTYPE_POINTER && m->type->of && is_same_type(m->type->of, type) &&
	       (strcasestr(m->name, "next") || strcasestr(m->name, "prev"));
}

static bool link_find(const struct ptype *type, uint64_t *at)
{
	for (size_t i = 0; i < type->members; i++)
		if (is_link(type, &type->member[i]) && strcasestr(type->member[i].name, "next")) {
			*at = type->member[i].offset;
			return true;
		}
	return false;
}

/* ---- heads of <sys/queue.h> ---- */

static const struct queue_names {
	const char *first, *next, *prev;
} queues[] = {{"lh_first", "le_next", "le_prev"},
              {"slh_first", "sle_next", NULL},
              {"stqh_first", "stqe_next", NULL},
              {"tqh_first", "tqe_next", "tqe_prev"}};

/* Of an element's entries the one that this head's list goes along: its pointer back leads to the head. */
static bool entry_is_of(struct plook *look, const struct pmember *entry, const struct queue_names *q, uint64_t head,
                        uint64_t first)
{
	uint64_t at = 0, back = 0;
	const struct pmember *prev = q->prev ? member_find(entry->type, q->prev, &at) : NULL;

	if (!prev || !first)
		return true;
	return !pLookRead(look, first + entry->offset + at + prev->offset, &back, sizeof(back)) && back == head;
}

static bool entry_find(struct plook *look, const struct ptype *element, const struct queue_names *q, uint64_t head,
                       uint64_t *next_at)
{
	uint64_t first = 0;

	if (pLookRead(look, head, &first, sizeof(first)))
		return false;
	for (size_t i = 0; i < element->members; i++) {
		const struct pmember *entry = &element->member[i], *next;
		uint64_t at = 0;

		next = is_record(entry->type) ? member_find(entry->type, q->next, &at) : NULL;
		if (!next || next->type->kind != PTYPE_POINTER || !entry_is_of(look, entry, q, head, first))
			continue;
		*next_at = entry->offset + at + next->offset;
		return true;
	}
	return false;
}

/* A head, of a list of what its first pointer leads to. */
static bool queue_open(struct plook *look, const struct place *p, struct inside *in)
{
	for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		uint64_t at = 0;
		const struct pmember *first = member_find(p->type, queues[i].first, &at);

		if (!first || first->type->kind != PTYPE_POINTER || !is_record(first->type->of) || at)
			continue;
		if (!entry_find(look, first->type->of, &queues[i], p->address + first->offset, &in->next_at))
			continue;
		in->shape = SHAPE_LIST;
		in->of = place_member(p, first);
		in->count = UINT64_MAX;
		return true;
	}
	return false;
}

/* ---- the ds library's ---- */

/* What its typed names tell of the elements (softpm/array.h, ...: arrays of no length). */
static const struct ptype *element_type(const struct ptype *type, const char *name)
{
	uint64_t at = 0;
	const struct pmember *m = member_find(type, name, &at);
	const struct ptype *of = m && m->type->kind == PTYPE_ARRAY ? m->type->of : NULL;

	return of && of->kind == PTYPE_POINTER && of->of && of->of->kind != PTYPE_VOID ? of->of : NULL;
}

static enum spm_seen_kind seen_named(const char *name)
{
	static const struct {
		const char *name;
		enum spm_seen_kind kind;
	} names[] = {{"struct parray", SPM_SEEN_ARRAY},
	             {"struct plist", SPM_SEEN_LIST},
	             {"struct phash", SPM_SEEN_HASH},
	             {"struct ptree", SPM_SEEN_TREE},
	             {"struct spm_shown_items", SPM_SEEN_ITEMS},
	             {"struct pstring", SPM_SEEN_STRING}};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(name, names[i].name))
			return names[i].kind;
	return SPM_SEEN_NONE;
}

/* One of these, or a struct that begins with one and has nothing else. */
static enum spm_seen_kind seen_kind(const struct ptype *type)
{
	enum spm_seen_kind kind = seen_named(type->name);

	if (kind || type->kind != PTYPE_STRUCT || !type->members || type->member[0].type->bytes != type->bytes)
		return kind;
	return seen_named(type->member[0].type->name);
}

static bool seen_open(struct plook *look, const struct place *p, struct inside *in)
{
	struct spm_seeing *s;

	in->seen = p->type       ? seen_kind(p->type)
	           : p->is_plain ? SPM_SEEN_NONE
	                         : spm_see_kind(look, p->address, p->bytes);
	if (!in->seen || in->seen == SPM_SEEN_STRING)
		return false;
	s = malloc(sizeof(*s));
	if (!s)
		out_of_memory();
	in->count = UINT64_MAX;
	if (spm_see_begin(s, look, in->seen, p->address))
		in->seen = SPM_SEEN_NONE; /* not begun, or overwritten: as any other struct */
	else
		in->count = s->count;
	free(s);
	if (!in->seen)
		return false;
	in->shape = SHAPE_SEEN;
	if (in->seen == SPM_SEEN_ITEMS) {
		in->key = in->value = &type_chars;
	} else if (p->type) {
		in->value = element_type(p->type, "value_of_");
		in->key = element_type(p->type, "key_of_");
	}
	return true;
}

/* ---- opening ---- */

static void elements_open(const struct place *p, const struct ptype *type, uint64_t count, struct inside *in)
{
	uint64_t room = type->bytes ? p->bytes / type->bytes : 0;

	in->of = *p;
	in->of.is_object = false;
	in->of.type = type;
	in->count = count && count < room ? count : room;
	in->shape = in->count ? SHAPE_ELEMENTS : SHAPE_LEAF;
}

static void union_open(struct plook *look, const struct place *p, struct inside *in)
{
	bool is_known = place_holds(look, p, &in->only);

	in->shape = is_known && !in->only ? SHAPE_LEAF : SHAPE_MEMBERS;
}

/* No pointer. */
static void there_open(struct plook *look, const struct place *p, struct inside *in)
{
	const struct ptype *type = p->type;

	in->of = *p;
	in->of.is_object = false;
	if (!type || type->kind == PTYPE_VOID || type->kind == PTYPE_FUNCTION ||
	    (!type->bytes && type->kind != PTYPE_ARRAY)) {
		if (type && type->kind == PTYPE_UNKNOWN)
			return;
		in->of.type = NULL;
		in->shape = seen_open(look, &in->of, in) ? SHAPE_SEEN : SHAPE_WORDS;
	} else if (type->kind == PTYPE_ARRAY) {
		if (type->of->kind != PTYPE_CHAR)
			elements_open(p, type->of, type->count, in);
	} else if (is_record(type) && seen_kind(type) != SPM_SEEN_STRING && !seen_open(look, p, in) &&
	           !queue_open(look, p, in)) {
		union_open(look, p, in);
	}
}

static bool is_zero(struct plook *look, uint64_t address, uint64_t bytes)
{
	unsigned char buffer[64], any = 0;

	if (bytes > sizeof(buffer) || pLookRead(look, address, buffer, bytes))
		return false;
	for (uint64_t i = 0; i < bytes; i++)
		any |= buffer[i];
	return !any;
}

struct place place_at(struct plook *look, uint64_t address, const struct ptype *type)
{
	struct place p = {.address = address, .type = type && type->kind != PTYPE_VOID && type->bytes ? type : NULL};
	struct pobject o;

	if (pLookObject(look, address, &o) != 1)
		return p;
	p.bytes = o.address + o.bytes - address;
	p.is_plain = o.has_no_pointers;
	if (!p.type && o.address == address)
		p.type = o.type;
	return p;
}

static bool ends_flexible(const struct ptype *type)
{
	return type->members && is_flexible(type->member[type->members - 1].type);
}

/* A pointer that says nothing, or only with what the object begins: but a link leads to the next element of its list. */
const struct ptype *told_type(const struct pobject *o, uint64_t target, const struct ptype *type)
{
	uint64_t at;
	bool is_vague = !type || !type->bytes || type->kind == PTYPE_CHAR || type->kind == PTYPE_UNKNOWN;

	if (!o->type || target != o->address || !o->type->bytes || o->type->bytes > o->bytes)
		return NULL;
	return is_vague || (is_record(type) && is_record(o->type) && o->type->bytes > type->bytes &&
	                    !link_find(type, &at))
	               ? o->type
	               : NULL;
}

/* Of no type, if it has not the room for it. */
static struct place type_that_fits(struct place p)
{
	if (p.type && p.type->kind != PTYPE_ARRAY && (!p.type->bytes || p.type->bytes > p.bytes))
		p.type = NULL;
	return p;
}

/* The object that a pointer leads into, as what the program said it is, if it did. */
static struct place object_place(const struct inside *in)
{
	return (struct place){.address = in->object.address,
	                      .bytes = in->object.bytes,
	                      .type = in->object.type,
	                      .is_plain = in->object.has_no_pointers != 0};
}

/* What a pointer to `type` leads to, which is in in->object. */
static void led_open(struct plook *look, uint64_t target, const struct ptype *type, struct inside *in)
{
	const struct ptype *told = told_type(&in->object, target, type);
	struct place p = type_that_fits(place_at(look, target, told ? told : type));
	uint64_t room;

	in->is_led = true;
	in->is_told = told;
	if (!p.type &&
	    !seen_open(look, &p, in)) /* all of it: what leads into its middle says nothing of where it begins */
		p = type_that_fits(object_place(in));
	if (!p.type || p.type->kind == PTYPE_ARRAY) {
		there_open(look, &p, in);
		return;
	}
	room = p.bytes / p.type->bytes;
	if (is_record(p.type) && link_find(p.type, &in->next_at)) {
		in->shape = SHAPE_LIST;
		in->of = p;
		in->count = UINT64_MAX;
		return;
	}
	/* Of small ones there is room for one more in the smallest object. */
	if (is_record(p.type) &&
	    (room == 1 || ends_flexible(p.type) ||
	     (p.bytes <= 64 && is_zero(look, p.address + p.type->bytes, p.bytes - p.type->bytes)))) {
		there_open(look, &p, in);
		return;
	}
	if (room > 1 && p.bytes <= 16 && is_zero(look, p.address + p.type->bytes, p.bytes - p.type->bytes))
		room = 1;
	elements_open(&p, p.type, room, in);
}

int place_open(struct plook *look, const struct place *p, struct inside *in)
{
	uint64_t target = 0;
	int is_there;

	memset(in, 0, sizeof(*in));
	in->of = *p;
	in->of.is_object = false;
	if (!p->type || p->type->kind != PTYPE_POINTER || p->is_object) {
		there_open(look, p, in);
		in->is_led = p->is_object && pLookObject(look, p->address, &in->object) == 1;
		return 0;
	}
	if (p->bytes < sizeof(target) || !p->type->of || p->type->of->kind == PTYPE_FUNCTION)
		return 0;
	if (pLookRead(look, p->address, &target, sizeof(target)))
		return -1;
	is_there = p->is_plain ? 0 : pLookObject(look, target, &in->object);
	if (is_there == 1 && (p->type->of->kind != PTYPE_CHAR || told_type(&in->object, target, p->type->of)))
		led_open(look, target, p->type->of, in);
	in->is_led = is_there == 1;
	return is_there < 0 ? -1 : 0;
}

bool inside_is_map(const struct inside *in)
{
	return in->shape == SHAPE_SEEN &&
	       (in->seen == SPM_SEEN_HASH || in->seen == SPM_SEEN_TREE || in->seen == SPM_SEEN_ITEMS);
}

bool inside_is_numbers(const struct inside *in)
{
	if (in->shape != SHAPE_ELEMENTS)
		return false;
	switch (in->of.type->kind) {
	case PTYPE_BOOL:
	case PTYPE_CHAR:
	case PTYPE_INT:
	case PTYPE_UNSIGNED:
	case PTYPE_FLOAT:
	case PTYPE_ENUM:
		return true;
	default:
		return false;
	}
}

/* ---- one child after the other ---- */

int cursor_open(struct plook *look, const struct inside *in, struct cursor *c)
{
	*c = (struct cursor){.look = look, .in = *in};
	if (in->shape == SHAPE_LIST)
		c->link = in->is_led ? in->of.address : 0;
	if (in->shape == SHAPE_LIST && !in->is_led && pLookRead(look, in->of.address, &c->link, sizeof(c->link)))
		return -1;
	if (in->shape != SHAPE_SEEN)
		return 0;
	c->seeing = malloc(sizeof(*c->seeing));
	if (!c->seeing)
		out_of_memory();
	return spm_see_begin(c->seeing, look, in->seen, in->of.address);
}

void cursor_close(struct cursor *c)
{
	free(c->seeing);
	c->seeing = NULL;
}

static int members_next(struct cursor *c, struct child *out)
{
	const struct ptype *type = c->in.of.type;
	const struct pmember *m;

	while (c->next < type->members) {
		m = c->in.only ? c->in.only : &type->member[c->next];
		c->next = c->in.only ? type->members : c->next + 1;
		out->place = place_member(&c->in.of, m);
		if (is_flexible(m->type) && (c->next < type->members || !out->place.bytes))
			continue; /* of no length */
		out->is_link = c->is_element && is_link(type, m);
		snprintf(out->step, sizeof(out->step), "%s%s", !m->name[0] ? "" : c->in.is_led ? "->" : ".", m->name);
		return 1;
	}
	return 0;
}

static int elements_next(struct cursor *c, struct child *out)
{
	if (c->next >= c->in.count)
		return 0;
	out->place = c->in.of;
	out->place.bytes = c->in.of.type->bytes;
	out->place.address += c->next * out->place.bytes;
	snprintf(out->step, sizeof(out->step), "[%llu]", (unsigned long long)c->next++);
	return 1;
}

static int list_next(struct cursor *c, struct child *out, const char **why)
{
	const struct ptype *type = c->in.is_led ? c->in.of.type : c->in.of.type->of;

	if (!c->link)
		return 0;
	if (c->next / 512 > pLookVersion(c->look)->pages) {
		*why = "the list leads in circles: it has more elements than the version has words";
		c->link = 0;
		return -1;
	}
	out->place = place_at(c->look, c->link, type);
	if (out->place.bytes < type->bytes) {
		*why = "the list leads to where there is no such element";
		c->link = 0;
		return -1;
	}
	out->place.bytes = type->bytes;
	snprintf(out->step, sizeof(out->step), "[%llu]", (unsigned long long)c->next++);
	if (!pLookRead(c->look, c->link + c->in.next_at, &c->link, sizeof(c->link)))
		return 1;
	c->link = 0;
	*why = pErrorMsg();
	return -1;
}

/* The step of a map's entry: its key, or its number if that is too long, or no text. */
static void key_step(struct cursor *c, const struct place *key, struct child *out)
{
	uint64_t number = c->seeing->next - 1;
	struct value v;
	char *text = NULL;
	size_t n = 0;
	FILE *f;

	place_value(c->look, key, KEY_BYTES + 1, &v);
	f = open_memstream(&text, &n);
	if (!f)
		out_of_memory();
	value_print(f, &v);
	if (fclose(f))
		out_of_memory();
	if (v.kind == VALUE_NONE || v.kind == VALUE_DAMAGE || v.kind == VALUE_WORDS || v.all > KEY_BYTES ||
	    n + 3 > sizeof(out->step))
		snprintf(out->step, sizeof(out->step), "[#%llu]", (unsigned long long)number);
	else
		snprintf(out->step, sizeof(out->step), "[%s]", text);
	value_free(&v);
	free(text);
}

static struct place key_place(const struct cursor *c, const struct spm_seen *seen)
{
	struct place key = {.address = seen->key, .bytes = seen->key_bytes, .type = c->in.key};
	struct pobject o;

	switch (seen->key_kind) {
	case PKEY_STRING:
		key.type = &type_string;
		key.bytes = pLookObject(c->look, seen->key, &o) == 1 ? o.address + o.bytes - seen->key : 0;
		break;
	case PKEY_INT64:
		key.type = &type_long;
		break;
	case PKEY_UINT64:
		key.type = key.type ? key.type : &type_unsigned;
		break;
	case PKEY_DOUBLE:
		key.type = &type_double;
		break;
	default:
		key.type = key.type ? key.type : &type_words;
	}
	return key;
}

static int seen_next(struct cursor *c, struct child *out, const char **why)
{
	const struct ptype *type = c->in.value;
	struct spm_seen seen;
	int result = spm_see_next(c->seeing, &seen);
	struct place key;

	if (result < 0)
		*why = "the structure is damaged";
	if (result != 1)
		return result;
	c->next = c->seeing->next;
	out->place = (struct place){.address = seen.value, .bytes = seen.value_bytes};
	out->place.is_plain = seen.value_bytes && place_at(c->look, seen.value, NULL).is_plain;
	out->place.type = type && (type->bytes == seen.value_bytes || type == &type_chars) ? type : NULL;
	if (seen.key_kind) {
		key = key_place(c, &seen);
		key_step(c, &key, out);
	} else {
		snprintf(out->step, sizeof(out->step), "[%llu]", (unsigned long long)c->next - 1);
	}
	if (!out->place.type && seen.value_bytes <= 8)
		out->place.type = &type_words;
	return 1;
}

/* ---- words ---- */

/* How many bytes of text are there, ended by a zero, or where the memory ends; 0: it is none. */
static uint64_t text_bytes_at(const unsigned char *bytes, uint64_t n)
{
	uint64_t i = 0;

	while (i < n && bytes[i]) {
		size_t character = text_character(bytes + i, n - i);

		if (!character || !text_is_usual(bytes + i, character))
			return 0;
		i += character;
	}
	return i >= TEXT_LEAST && i < n ? i + 1 : 0;
}

static bool word_leads(struct cursor *c, uint64_t word)
{
	struct pobject o;

	return !c->in.of.is_plain && (pLookObject(c->look, word, &o) == 1 || pLookOutside(c->look, word));
}

/* How many bytes of words there are before something else begins: at most RUN_BYTES. Text may begin in the middle of a word. */
static uint64_t words_run(struct cursor *c, const unsigned char *bytes, uint64_t n)
{
	for (uint64_t length = 4 - c->next % 4; length < least(n, RUN_BYTES); length += 4) {
		uint64_t word = 0;

		if (text_bytes_at(bytes + length, n - length))
			return length;
		if ((c->next + length) % 8)
			continue;
		memcpy(&word, bytes + length, least(n - length, 8));
		if (!word || (n - length >= 8 && word_leads(c, word)))
			return length;
	}
	return least(n, RUN_BYTES);
}

/* What begins at c->next, where a word is not zero: a pointer, text, or some words. */
static void run_see(struct cursor *c, struct child *out, const unsigned char *bytes, uint64_t n)
{
	uint64_t word = 0, length;

	out->place = c->in.of;
	out->place.address += c->next;
	memcpy(&word, bytes, least(n, sizeof(word)));
	if (n >= 8 && c->next % 8 == 0 && word_leads(c, word)) {
		out->place.type = &type_pointer;
		length = 8;
	} else if ((length = text_bytes_at(bytes, n))) {
		out->place.type = &type_string;
	} else {
		out->place.type = &type_words;
		length = words_run(c, bytes, n);
	}
	out->place.bytes = length;
	c->next += length;
}

/* The first byte of a word that is not zero; n: there is none. */
static uint64_t zeros_pass(const unsigned char *bytes, uint64_t n, unsigned in_word)
{
	for (uint64_t i = 0; i < n; i++)
		if (bytes[i])
			return i < 8 - in_word ? 0 : i - (i + in_word) % 8;
	return n;
}

static int words_next(struct cursor *c, struct child *out, const char **why)
{
	unsigned char bytes[256];

	while (c->next < c->in.of.bytes) {
		uint64_t n = least(c->in.of.bytes - c->next, sizeof(bytes)), zeros;

		if (pLookRead(c->look, c->in.of.address + c->next, bytes, n)) {
			*why = pErrorMsg();
			c->next += 4096 - (c->in.of.address + c->next) % 4096; /* pages behind may be whole */
			return -1;
		}
		zeros = zeros_pass(bytes, n, c->next % 8);
		if (zeros) {
			c->next += zeros;
			continue;
		}
		snprintf(out->step, sizeof(out->step), "+%llu", (unsigned long long)c->next);
		run_see(c, out, bytes, n);
		return 1;
	}
	return 0;
}

int cursor_next(struct cursor *c, struct child *out, const char **why)
{
	out->is_link = false;
	switch (c->in.shape) {
	case SHAPE_MEMBERS:
		return members_next(c, out);
	case SHAPE_ELEMENTS:
		return elements_next(c, out);
	case SHAPE_LIST:
		return list_next(c, out, why);
	case SHAPE_SEEN:
		return seen_next(c, out, why);
	case SHAPE_WORDS:
		return words_next(c, out, why);
	default:
		return 0;
	}
}

int cursor_skip(struct cursor *c, uint64_t n, const char **why)
{
	struct child child;
	int result = 1;

	if (c->in.shape == SHAPE_ELEMENTS || c->in.shape == SHAPE_MEMBERS || c->in.shape == SHAPE_WORDS) {
		c->next = n;
		return cursor_left(c) > 0;
	}
	if (c->in.shape == SHAPE_SEEN) {
		result = spm_see_skip(c->seeing, n);
		c->next = c->seeing->next;
		if (result < 0)
			*why = "the structure is damaged";
		return result;
	}
	while (c->next < n && result == 1)
		result = cursor_next(c, &child, why);
	return result;
}

uint64_t cursor_left(const struct cursor *c)
{
	uint64_t all = UINT64_MAX;

	if (c->in.shape == SHAPE_MEMBERS && c->in.only)
		return c->next ? 0 : 1;
	if (c->in.shape == SHAPE_MEMBERS)
		all = c->in.of.type->members;
	else if (c->in.shape == SHAPE_ELEMENTS || c->in.shape == SHAPE_SEEN)
		all = c->in.count;
	else if (c->in.shape == SHAPE_WORDS)
		all = c->in.of.bytes;
	return all == UINT64_MAX || all < c->next ? (all == UINT64_MAX ? all : 0) : all - c->next;
}
