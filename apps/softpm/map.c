/* map.c - softpm map: where a version's memory goes, by the size of its objects; with --json also where in the heap, and how long ago it changed.
 *
 * The heap is told as cells: its spans, one behind the other without what lies between, cut into pieces of one length.
 */
#include "tool.h"

#include <softpm/look.h>

#include <stdio.h>
#include <stdlib.h>

enum { CELLS_USUAL = 1024, CELLS_MOST = 65536, SIZES_MOST = 64, PAGE_BYTES = 4096 };

struct size { /* of all spans with objects of one size; one size stands for all objects that have spans of their own */
	uint64_t object_bytes, objects, live_bytes, bytes;
};
struct cell {
	uint64_t address, bytes, live_bytes, age;
	uint64_t object_bytes, of_these; /* the size of which there is most, and the bytes of that */
	bool is_patched;
};
struct map {
	struct size size[SIZES_MOST];
	unsigned sizes;
	uint64_t bytes, live_bytes, objects;
	struct cell *cell;
	uint64_t cells, cell_bytes, place; /* place: bytes of spans before */
};

static bool is_large(const struct pspan *s)
{
	return s->bytes == s->object_bytes && s->bytes > PAGE_BYTES;
}

static struct size *size_of(struct map *m, const struct pspan *s)
{
	uint64_t bytes = is_large(s) ? UINT64_MAX : s->object_bytes;
	unsigned i = 0;

	while (i < m->sizes && m->size[i].object_bytes != bytes)
		i++;
	if (i == m->sizes && i < SIZES_MOST - 1)
		m->size[m->sizes++] = (struct size){.object_bytes = bytes};
	return &m->size[i];
}

static int span_add(const struct pspan *s, void *arg)
{
	struct map *m = arg;
	struct size *size = size_of(m, s);

	size->objects += s->objects;
	size->live_bytes += s->objects * s->object_bytes;
	size->bytes += s->bytes;
	m->objects += s->objects;
	m->live_bytes += s->objects * s->object_bytes;
	m->bytes += s->bytes;
	return 0;
}

/* A part of a span, in one cell. */
static void cell_add(struct cell *c, const struct pspan *s, uint64_t from, uint64_t bytes)
{
	if (!c->bytes)
		*c = (struct cell){.address = s->address + from, .age = s->age};
	c->bytes += bytes;
	c->live_bytes += (uint64_t)((double)bytes * (double)(s->objects * s->object_bytes) / (double)s->bytes);
	c->age = s->age < c->age ? s->age : c->age;
	c->is_patched |= s->is_patched;
	if (s->object_bytes == c->object_bytes)
		c->of_these += bytes;
	else if (bytes > c->of_these) {
		c->object_bytes = s->object_bytes;
		c->of_these = bytes;
	}
}

static int span_place(const struct pspan *s, void *arg)
{
	struct map *m = arg;

	for (uint64_t from = 0; from < s->bytes;) {
		uint64_t room = m->cell_bytes - m->place % m->cell_bytes;
		uint64_t bytes = s->bytes - from < room ? s->bytes - from : room;

		cell_add(&m->cell[m->place / m->cell_bytes], s, from, bytes);
		m->place += bytes;
		from += bytes;
	}
	return 0;
}

static int cells_make(struct map *m, struct plook *look, uint64_t most)
{
	m->cell_bytes = PAGE_BYTES;
	while (m->bytes / m->cell_bytes >= most)
		m->cell_bytes *= 2;
	m->cells = (m->bytes + m->cell_bytes - 1) / m->cell_bytes;
	m->cell = calloc(m->cells + 1, sizeof(*m->cell));
	if (!m->cell)
		out_of_memory();
	return pLookSpans(look, span_place, m);
}

static int by_bytes(const void *a, const void *b)
{
	const struct size *one = a, *other = b;

	return one->object_bytes < other->object_bytes ? -1 : one->object_bytes > other->object_bytes;
}

static struct json_object *sizes_json(const struct map *m)
{
	struct json_object *all = json_object_new_array();

	for (unsigned i = 0; i < m->sizes; i++) {
		struct json_object *o = json_object_new_object();

		if (m->size[i].object_bytes == UINT64_MAX)
			json_object_object_add(o, "object_bytes", NULL);
		else
			json_count(o, "object_bytes", m->size[i].object_bytes);
		json_count(o, "objects", m->size[i].objects);
		json_count(o, "live_bytes", m->size[i].live_bytes);
		json_count(o, "bytes", m->size[i].bytes);
		json_object_array_add(all, o);
	}
	return all;
}

static struct json_object *cells_json(const struct map *m)
{
	struct json_object *all = json_object_new_array();

	for (uint64_t i = 0; i < m->cells; i++) {
		struct json_object *o = json_object_new_object();
		char address[32];

		snprintf(address, sizeof(address), "0x%llx", (unsigned long long)m->cell[i].address);
		json_text(o, "address", address);
		json_count(o, "bytes", m->cell[i].bytes);
		json_count(o, "live_bytes", m->cell[i].live_bytes);
		json_count(o, "object_bytes", m->cell[i].object_bytes);
		json_count(o, "age", m->cell[i].age);
		json_object_object_add(o, "is_patched", json_object_new_boolean(m->cell[i].is_patched));
		json_object_array_add(all, o);
	}
	return all;
}

static void map_json(const struct map *m, const struct pversion *v)
{
	struct json_object *o = json_object_new_object();

	json_count(o, "version", (uint64_t)v->version);
	json_text(o, "branch", v->branch);
	json_count(o, "objects", m->objects);
	json_count(o, "live_bytes", m->live_bytes);
	json_count(o, "bytes", m->bytes);
	json_object_object_add(o, "sizes", sizes_json(m));
	json_count(o, "cell_bytes", m->cell_bytes);
	json_object_object_add(o, "cells", cells_json(m));
	json_print(o);
}

static void size_row(struct table *t, const struct size *s, const char *name)
{
	table_add(t, name);
	table_addf(t, "%llu", (unsigned long long)s->objects);
	table_add(t, text_bytes(s->live_bytes));
	table_add(t, text_bytes(s->bytes));
	table_addf(t, "%.0f%%", s->bytes ? 100.0 * (double)s->live_bytes / (double)s->bytes : 0);
}

static void map_text(const struct map *m)
{
	static const char *const heads[] = {">OBJECTS OF", ">COUNT", ">LIVE", ">IN PAGES OF", ">FILLED"};
	struct size all = {.objects = m->objects, .live_bytes = m->live_bytes, .bytes = m->bytes};
	struct table *t = table_new(5, heads);

	for (unsigned i = 0; i < m->sizes; i++)
		size_row(t, &m->size[i],
		         m->size[i].object_bytes == UINT64_MAX ? "larger" : text_bytes(m->size[i].object_bytes));
	size_row(t, &all, "all");
	table_print(t);
}

static int map_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct plook *look = pLookOpen(c->magic, argc > 1 ? argv[1] : "");
	uint64_t cells = o->limit && o->limit < CELLS_MOST ? o->limit : o->limit ? CELLS_MOST : CELLS_USUAL;
	struct map m = {0};
	int status = TOOL_OK;

	if (!look)
		return complain("%s", pErrorMsg());
	if (pLookSpans(look, span_add, &m) || (o->is_json && cells_make(&m, look, cells)))
		status = complain("%s", pErrorMsg());
	qsort(m.size, m.sizes, sizeof(m.size[0]), by_bytes);
	if (status == TOOL_OK && o->is_json)
		map_json(&m, pLookVersion(look));
	else if (status == TOOL_OK)
		map_text(&m);
	free(m.cell);
	pLookClose(look);
	return status;
}

int tool_map(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, map_run);
}
