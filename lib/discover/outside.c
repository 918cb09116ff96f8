/* outside.c - see outside.h.
 *
 * The table, as it is saved (little-endian, every record as below, without gaps):
 *
 *   +--------+----------------------+----------------------+----------------------+
 *   | header | module_record * n    | target_record * m    | text: "\0" name "\0" |
 *   +--------+----------------------+----------------------+----------------------+
 *
 * Records name their text by its place in the text, 0 being the empty one. A target is one (module, offset) that was encoded;
 * target_slot finds it by hash. What a target or a module is in this process is remembered with the generation of the
 * list of modules (mapped.h) for which it was found.
 *
 * Invariants
 *  1. The text begins and ends with a zero byte; every name in a record is a place in it.
 *  2. Every target's module is in the table, and no (module, offset) is there twice.
 *  3. A module number, once given, means the same build forever.
 */
#include "discover/outside.h"
#include "discover/mapped.h"
#include "heap/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CANON_BASE UINT64_C(0x6b8100000000)
#define LOST_BASE UINT64_C(0x6bff00000000) /* behind the last module */
enum { MODULES_MOST = 126, WORDS = SPM_PAGE_BYTES / 8 };
static const uint64_t table_magic = UINT64_C(0x3253454c55444f4d); /* "MODULES2" */

enum { MODULE_IS_MAIN = 1, MODULE_HAS_BUILD_ID = 2, MODULE_FLAGS = 3 };
enum { TARGET_IS_NAMED = 1, TARGET_IS_FUNCTION = 2, TARGET_FLAGS = 3 };

struct table_header {
	uint64_t magic;
	uint32_t modules, targets, text_bytes, reserved;
};
struct module_record {
	uint32_t name;
	uint16_t flags;
	uint16_t id_bytes;
	unsigned char id[MODULE_ID_BYTES];
};
struct target_record {
	uint32_t offset; /* in the module */
	uint16_t module;
	uint16_t flags;
	uint32_t name, file; /* file: only of a local symbol */
	uint32_t distance;
};
static_assert(sizeof(struct table_header) == 24, "on disk");
static_assert(sizeof(struct module_record) == 40, "on disk");
static_assert(sizeof(struct target_record) == 20, "on disk");

struct module {
	struct module_record r;
	uint32_t generation; /* 0: `here` was never looked for */
	struct module_here *here;
	bool is_same_build;
};
struct target {
	struct target_record r;
	uint32_t generation; /* 0: `address` was never found */
	uint64_t address;
};

struct outside {
	struct module module[MODULES_MOST];
	unsigned modules;
	struct target *target;
	uint32_t targets, target_room;
	uint32_t *slot; /* target + 1, by hash; 0 free; at most half are taken */
	uint32_t slots; /* a power of two, or 0 */
	char *text;
	uint32_t text_bytes, text_room;
	bool has_changed, names_lost;
};

struct outside *spm_outside_new(void)
{
	struct outside *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->names_lost = true;
	o->text = calloc(1, 256);
	if (!o->text) {
		free(o);
		return NULL;
	}
	o->text_room = 256;
	o->text_bytes = 1;
	return o;
}

void spm_outside_free(struct outside *o)
{
	free(o->target);
	free(o->slot);
	free(o->text);
	free(o);
}

/* --- the table in memory --- */

/* The slot that holds the target, or the free one where it would go. */
static uint32_t *target_slot(const struct outside *o, unsigned module, uint32_t offset)
{
	uint64_t key = ((uint64_t)module << 32 | offset) * UINT64_C(0x9e3779b97f4a7c15);
	uint32_t i = (uint32_t)(key >> 32) & (o->slots - 1);

	for (; o->slot[i]; i = (i + 1) & (o->slots - 1)) {
		const struct target_record *r = &o->target[o->slot[i] - 1].r;

		if (r->offset == offset && r->module == module)
			break;
	}
	return &o->slot[i];
}

static struct target *target_find(const struct outside *o, unsigned module, uint32_t offset)
{
	uint32_t found = o->slots ? *target_slot(o, module, offset) : 0;

	return found ? &o->target[found - 1] : NULL;
}

/* Room for slots of `targets` targets; enters those that are there. -EINVAL: one is there twice. */
static int slots_make(struct outside *o, uint32_t targets)
{
	uint32_t slots = 64;

	while (slots / 2 <= targets)
		slots *= 2;
	free(o->slot);
	o->slots = 0;
	o->slot = calloc(slots, sizeof(*o->slot));
	if (!o->slot)
		return -ENOMEM;
	o->slots = slots;
	for (uint32_t i = 0; i < o->targets; i++) {
		uint32_t *slot = target_slot(o, o->target[i].r.module, o->target[i].r.offset);

		if (*slot)
			return -EINVAL;
		*slot = i + 1;
	}
	return 0;
}

static bool target_room(struct outside *o)
{
	uint32_t room = o->target_room * 2 + 32;
	struct target *more;

	if (o->targets == o->target_room) {
		more = realloc(o->target, room * sizeof(*more));
		if (!more)
			return false;
		o->target = more;
		o->target_room = room;
	}
	return (o->slots && o->targets < o->slots / 2) || slots_make(o, o->targets * 2) == 0;
}

/* Its place in the text; 0 (the empty name) if there is no memory. */
static uint32_t text_add(struct outside *o, const char *name)
{
	size_t bytes = strlen(name) + 1;
	uint32_t at = o->text_bytes, room = o->text_room;
	char *more;

	if (bytes == 1 || bytes > UINT32_MAX / 4 || o->text_bytes > UINT32_MAX / 4)
		return 0;
	while (room - at < bytes)
		room *= 2;
	if (room != o->text_room) {
		more = realloc(o->text, room);
		if (!more)
			return 0;
		o->text = more;
		o->text_room = room;
	}
	memcpy(o->text + at, name, bytes);
	o->text_bytes += (uint32_t)bytes;
	return at;
}

/* --- encoding --- */

static bool is_same_build(const struct module_record *r, const struct module_here *m)
{
	return r->id_bytes == m->id_bytes && !memcmp(r->id, m->id, r->id_bytes) &&
	       !(r->flags & MODULE_HAS_BUILD_ID) == !m->has_build_id;
}

static bool is_same_name(const struct outside *o, const struct module_record *r, const struct module_here *m)
{
	return !strcmp(o->text + r->name, m->name);
}

/* The module's number in the container's table; MODULES_MOST if that is full. */
static unsigned module_number(struct outside *o, struct module_here *m)
{
	struct module_record *r;
	unsigned i;

	for (i = 0; i < o->modules; i++)
		if (is_same_build(&o->module[i].r, m) && is_same_name(o, &o->module[i].r, m))
			return i;
	if (i == MODULES_MOST)
		return i;
	o->module[i] = (struct module){0};
	r = &o->module[i].r;
	r->name = text_add(o, m->name);
	if (!r->name)
		return MODULES_MOST;
	r->flags = (uint16_t)((m->is_main ? MODULE_IS_MAIN : 0) | (m->has_build_id ? MODULE_HAS_BUILD_ID : 0));
	r->id_bytes = (uint16_t)m->id_bytes;
	memcpy(r->id, m->id, m->id_bytes);
	o->modules++;
	o->has_changed = true;
	return i;
}

static void target_name(struct outside *o, struct target_record *r, struct module_here *m)
{
	const struct elfsyms *syms = spm_module_syms(m);
	struct elfsym found;

	if (!syms || !spm_elfsyms_at(syms, r->offset, &found) || found.distance > UINT32_MAX)
		return;
	r->name = text_add(o, found.name);
	r->file = text_add(o, found.file);
	if (!r->name || (!r->file && *found.file))
		return;
	r->distance = (uint32_t)found.distance;
	r->flags = (uint16_t)(TARGET_IS_NAMED | (found.is_function ? TARGET_IS_FUNCTION : 0));
}

static bool target_note(struct outside *o, unsigned module, struct module_here *m, uint32_t offset)
{
	struct target *t;

	if (target_find(o, module, offset))
		return true;
	if (!target_room(o))
		return false;
	t = &o->target[o->targets];
	*t = (struct target){.r = {.offset = offset, .module = (uint16_t)module}};
	target_name(o, &t->r, m);
	*target_slot(o, module, offset) = ++o->targets;
	o->has_changed = true;
	return true;
}

/* NULL and the canonical word, or why there is none. */
static const char *canonical(struct outside *o, struct module_here *m, uint64_t address, uint64_t *word)
{
	uint64_t offset = address - m->base;
	unsigned number = module_number(o, m);

	if (number == MODULES_MOST)
		return "module beyond the 126 that a container can know";
	if (offset > UINT32_MAX || !target_note(o, number, m, (uint32_t)offset))
		return offset > UINT32_MAX ? "module larger than 4 GiB" : "module (no memory to note it)";
	*word = CANON_BASE + ((uint64_t)number << 32) + offset;
	return NULL;
}

/* What words that will be NULL led to. */
static const char *const lost[] = {"memory", "stack", "heap of libc"};
enum { LOST = sizeof(lost) / sizeof(lost[0]) };

static uint64_t lost_word(const char *what)
{
	unsigned i = LOST - 1;

	while (i && strcmp(what, lost[i]) != 0)
		i--;
	return LOST_BASE + i;
}

static inline bool may_lead_out(uint64_t word, uint64_t floor)
{
	return word - floor < (UINT64_C(1) << 47) - floor && !spm_in_window(word);
}

/* The first word from `i` on that may lead out; WORDS if there is none. Eight at a time: hardly any does. */
static unsigned candidate_next(const uint64_t *image, unsigned i, uint64_t floor)
{
	for (; i % 8 && i < WORDS; i++)
		if (may_lead_out(image[i], floor))
			return i;
	for (; i < WORDS; i += 8) {
		unsigned any = 0;

		for (unsigned k = 0; k < 8; k++)
			any |= (unsigned)may_lead_out(image[i + k], floor) << k;
		if (any)
			return i + (unsigned)__builtin_ctz(any);
	}
	return WORDS;
}

void spm_outside_name_lost(struct outside *o, bool names)
{
	o->names_lost = names;
}

bool spm_outside_encode(struct outside *o, uint64_t *image,
                        void (*left)(unsigned offset, uint64_t value, const char *what, void *arg), void *arg)
{
	uint64_t floor = spm_mapped_floor();
	bool has_canonical = false;
	unsigned i = candidate_next(image, 0, floor);

	if (i == WORDS)
		return false;
	spm_mapped_lock();
	spm_mapped_refresh();
	floor = spm_mapped_floor();
	for (i = candidate_next(image, i, floor); i < WORDS; i = candidate_next(image, i + 1, floor)) {
		uint64_t word = image[i];
		struct module_here *m = spm_mapped_module_at(word);
		const char *why = m ? canonical(o, m, word, &image[i]) : spm_mapped_other(word);

		has_canonical |= why ? o->names_lost : m != NULL;
		if (!why)
			continue;
		image[i] = o->names_lost ? lost_word(why) : 0;
		left(i * 8, word, why, arg);
	}
	spm_mapped_unlock();
	return has_canonical;
}

/* --- decoding --- */

/* 3: the very module; 2: the same build under another name; 1: another build; 0: another module. */
static int likeness(const struct outside *o, const struct module_record *r, const struct module_here *m)
{
	bool same_name = is_same_name(o, r, m);

	if (is_same_build(r, m))
		return same_name ? 3 : 2;
	return same_name || (m->is_main && r->flags & MODULE_IS_MAIN);
}

static void module_look(struct outside *o, struct module *m)
{
	int best = 0;

	if (m->generation == spm_mapped_generation())
		return;
	m->here = NULL;
	for (unsigned i = 0; i < spm_mapped_modules(); i++) {
		int like = likeness(o, &m->r, spm_mapped_module(i));

		if (like <= best)
			continue;
		best = like;
		m->here = spm_mapped_module(i);
	}
	m->is_same_build = best >= 2;
	m->generation = spm_mapped_generation();
}

static void reason_write(const struct outside *o, const struct target *t, const struct module *m, uint32_t offset,
                         char *out, size_t room)
{
	const char *module = o->text + m->r.name, *how = m->here ? "was rebuilt" : "is not loaded in this process";

	if (!t || !(t->r.flags & TARGET_IS_NAMED))
		snprintf(out, room, "pointer to %.60s+0x%x is NULL now: that module %s, and no symbol names the place",
		         module, offset, how);
	else
		snprintf(out, room, "pointer to %.60s of %.60s+0x%x is NULL now: that module %s%s", o->text + t->r.name,
		         module, t->r.distance, how, m->here ? " without that symbol" : "");
}

/* The address of a named target in another build of its module. */
static uint64_t target_look(const struct outside *o, struct target *t, const struct module *m)
{
	const struct elfsyms *syms;
	struct elfsym want = {o->text + t->r.name, o->text + t->r.file, t->r.distance, t->r.flags & TARGET_IS_FUNCTION};
	uint64_t offset;

	if (t->generation == spm_mapped_generation())
		return t->address;
	syms = spm_module_syms(m->here);
	t->address = syms && spm_elfsyms_find(syms, &want, &offset) ? m->here->base + offset : 0;
	t->generation = spm_mapped_generation();
	return t->address;
}

/* What a canonical word is in this process; itself if it was none; 0 and a sentence if its target is gone. */
static uint64_t address_here(struct outside *o, uint64_t word, char *why, size_t room)
{
	unsigned number = (unsigned)((word - CANON_BASE) >> 32);
	struct module *m = &o->module[number];
	uint32_t offset = (uint32_t)word;
	struct target *t = target_find(o, number, offset);
	uint64_t address = 0;

	module_look(o, m);
	if (m->here && m->is_same_build)
		return t || spm_module_has(m->here, m->here->base + offset) ? m->here->base + offset : word;
	if (m->here && t && t->r.flags & TARGET_IS_NAMED)
		address = target_look(o, t, m);
	if (!address)
		reason_write(o, t, m, offset, why, room);
	return address;
}

void spm_outside_decode(struct outside *o, uint64_t *image, size_t words,
                        void (*warn)(size_t word_index, const char *sentence, void *arg), void *arg)
{
	uint64_t end = (uint64_t)o->modules << 32;
	char why[256];

	spm_mapped_lock();
	spm_mapped_refresh();
	for (size_t i = 0; i < words; i++) {
		if (image[i] - LOST_BASE < LOST)
			image[i] = 0;
		if (image[i] - CANON_BASE >= end)
			continue;
		image[i] = address_here(o, image[i], why, sizeof(why));
		if (!image[i])
			warn(i, why, arg);
	}
	spm_mapped_unlock();
}

/* --- without a process --- */

bool spm_outside_may_be(uint64_t word)
{
	return word - CANON_BASE < (uint64_t)MODULES_MOST << 32 || word - LOST_BASE < LOST;
}

bool spm_outside_name(const struct outside *o, uint64_t word, char *out, size_t room)
{
	unsigned number = (unsigned)((word - CANON_BASE) >> 32);
	uint32_t offset = (uint32_t)word;
	const struct target *t;

	if (word - LOST_BASE < LOST) {
		snprintf(out, room, "(%s)", lost[word - LOST_BASE]);
		return true;
	}
	if (!spm_outside_may_be(word) || number >= o->modules)
		return false;
	t = target_find(o, number, offset);
	if (!t || !(t->r.flags & TARGET_IS_NAMED))
		snprintf(out, room, "%s+0x%x", o->text + o->module[number].r.name, offset);
	else if (t->r.distance)
		snprintf(out, room, "%s+%u", o->text + t->r.name, t->r.distance);
	else
		snprintf(out, room, "%s", o->text + t->r.name);
	return true;
}

/* --- the table as bytes --- */

static bool is_same_record(const struct outside *a, const struct outside *b, unsigned i)
{
	const struct module_record *x = &a->module[i].r, *y = &b->module[i].r;

	return x->flags == y->flags && x->id_bytes == y->id_bytes && !memcmp(x->id, y->id, x->id_bytes) &&
	       !strcmp(a->text + x->name, b->text + y->name);
}

bool spm_outside_agree(const struct outside *a, const struct outside *b)
{
	for (unsigned i = 0; i < a->modules && i < b->modules; i++)
		if (!is_same_record(a, b, i))
			return false;
	return true;
}

bool spm_outside_has_changed(const struct outside *o)
{
	return o->has_changed;
}

int spm_outside_save(struct outside *o, void **bytes, size_t *n)
{
	struct table_header h = {table_magic, o->modules, o->targets, o->text_bytes, 0};
	size_t all = sizeof(h) + o->modules * sizeof(struct module_record) + o->targets * sizeof(struct target_record) +
	             o->text_bytes;
	unsigned char *out = malloc(all), *at = out;

	if (!out)
		return -ENOMEM;
	memcpy(at, &h, sizeof(h));
	at += sizeof(h);
	for (unsigned i = 0; i < o->modules; i++, at += sizeof(struct module_record))
		memcpy(at, &o->module[i].r, sizeof(struct module_record));
	for (uint32_t i = 0; i < o->targets; i++, at += sizeof(struct target_record))
		memcpy(at, &o->target[i].r, sizeof(struct target_record));
	memcpy(at, o->text, o->text_bytes);
	*bytes = out;
	*n = all;
	return 0;
}

void spm_outside_saved(struct outside *o)
{
	o->has_changed = false;
}

static bool module_is_sane(const struct outside *o, const struct module_record *r)
{
	return r->name && r->name < o->text_bytes && r->id_bytes <= MODULE_ID_BYTES && !(r->flags & ~MODULE_FLAGS);
}

static bool target_is_sane(const struct outside *o, const struct target_record *r)
{
	return r->module < o->modules && r->name < o->text_bytes && r->file < o->text_bytes &&
	       !(r->flags & ~TARGET_FLAGS) && (!(r->flags & TARGET_IS_NAMED) || r->name);
}

static int records_load(struct outside *o, const unsigned char *at, const struct table_header *h)
{
	o->text_bytes = o->text_room = h->text_bytes;
	o->text = malloc(h->text_bytes);
	o->target = calloc((size_t)h->targets + 1, sizeof(*o->target));
	if (!o->text || !o->target)
		return -ENOMEM;
	for (; o->modules < h->modules; o->modules++, at += sizeof(struct module_record))
		memcpy(&o->module[o->modules].r, at, sizeof(struct module_record));
	for (; o->targets < h->targets; o->targets++, at += sizeof(struct target_record))
		memcpy(&o->target[o->targets].r, at, sizeof(struct target_record));
	o->target_room = h->targets + 1;
	memcpy(o->text, at, h->text_bytes);
	if (o->text[0] || o->text[h->text_bytes - 1])
		return -EINVAL;
	for (unsigned i = 0; i < o->modules; i++)
		if (!module_is_sane(o, &o->module[i].r))
			return -EINVAL;
	for (uint32_t i = 0; i < o->targets; i++)
		if (!target_is_sane(o, &o->target[i].r))
			return -EINVAL;
	return slots_make(o, o->targets);
}

static bool header_is_sane(const struct table_header *h, size_t n)
{
	return h->magic == table_magic && h->modules <= MODULES_MOST && h->targets < UINT32_MAX / 4 && h->text_bytes &&
	       h->text_bytes < UINT32_MAX / 4 && !h->reserved &&
	       n == sizeof(*h) + h->modules * sizeof(struct module_record) +
	                       (uint64_t)h->targets * sizeof(struct target_record) + h->text_bytes;
}

int spm_outside_load(struct outside *o, const void *bytes, size_t n)
{
	struct table_header h;
	struct outside *fresh, was = *o;
	int err;

	if (n < sizeof(h))
		return -EINVAL;
	memcpy(&h, bytes, sizeof(h));
	if (!header_is_sane(&h, n))
		return -EINVAL;
	fresh = calloc(1, sizeof(*fresh));
	if (!fresh)
		return -ENOMEM;
	err = records_load(fresh, (const unsigned char *)bytes + sizeof(h), &h);
	if (!err) {
		*o = *fresh;
		*fresh = was;
	}
	spm_outside_free(fresh);
	return err;
}
