/* map.c - softpm map: where a version's memory goes, by the size of its objects and, with --subtrees, by the member of the root that leads to them; with --json
 * also where in the heap, and how long ago it changed.
 *
 * The heap is told as cells: its spans, one behind the other without what lies between, cut into pieces of one length.
 */
#include "naming.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELLS_USUAL = 1024, CELLS_MOST = 65536, SIZES_MOST = 64, PAGE_BYTES = 4096 };

struct size { /* of all spans with objects of one size; one size stands for all objects that have spans of their own */
	uint64_t object_bytes, objects, live_bytes, bytes;
};
struct subtree { /* what is met through one member of the root first */
	char *path;
	uint64_t objects, bytes;
};
struct cell {
	uint64_t address, bytes, live_bytes, age;
	uint64_t object_bytes, of_these; /* the size of which there is most, and the bytes of that */
	uint64_t of_subtree;             /* bytes, less those of others that came between */
	uint32_t subtree;                /* number of one that has much of it */
	bool is_patched;
};
struct map {
	struct size size[SIZES_MOST];
	unsigned sizes;
	uint64_t bytes, live_bytes, objects;
	struct cell *cell;
	uint64_t cells, cell_bytes, place; /* place: bytes of spans before */
	struct subtree *subtree;           /* NULL: not asked for */
	uint32_t subtrees;
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

/* ---- subtrees ---- */

/* "root->users[17].name" is "root->users". */
static void path_cut(char *path, size_t root)
{
	size_t first = root + (path[root] == '.' ? 1 : strncmp(path + root, "->", 2) ? 0 : 2);

	for (size_t i = first; path[i]; i++)
		if (i > first && (path[i] == '[' || path[i] == '.' || !strncmp(path + i, "->", 2))) {
			path[i] = 0;
			break;
		}
}

/* Of an object that the root itself leads to. */
static uint32_t subtree_of(struct map *m, const struct naming *names, const struct named *top)
{
	char *path = naming_path(names, top);
	struct subtree *more;

	path_cut(path, strlen(naming_at(names, 0)->step));
	for (uint32_t i = m->subtrees; i-- > 0;) /* mostly the last one */
		if (!strcmp(m->subtree[i].path, path)) {
			free(path);
			return i;
		}
	more = realloc(m->subtree, (m->subtrees + 1) * sizeof(*more));
	if (!more)
		out_of_memory();
	m->subtree = more;
	more[m->subtrees] = (struct subtree){.path = path};
	return m->subtrees++;
}

/* The piece of the heap that the address lies in. */
static struct cell *cell_of(const struct map *m, uint64_t address)
{
	uint64_t low = 0, high = m->cells;

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (m->cell[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &m->cell[low - 1] : NULL;
}

/* The subtree of most bytes wins, if it has more than all others (Boyer and Moore's majority). */
static void cell_vote(struct cell *c, uint32_t subtree, uint64_t bytes)
{
	if (c->subtree == subtree) {
		c->of_subtree += bytes;
	} else if (bytes > c->of_subtree) {
		c->subtree = subtree;
		c->of_subtree = bytes - c->of_subtree;
	} else {
		c->of_subtree -= bytes;
	}
}

static void object_count(struct map *m, const struct named *named, uint32_t subtree)
{
	m->subtree[subtree].objects++;
	m->subtree[subtree].bytes += named->bytes;
	for (uint64_t at = named->object; m->cells && at < named->object + named->bytes;) {
		struct cell *c = cell_of(m, at);
		uint64_t end = named->object + named->bytes;

		if (!c)
			return;
		if (c + 1 < m->cell + m->cells && c[1].address < end)
			end = c[1].address;
		cell_vote(c, subtree, end - at);
		at = end;
	}
}

static void subtrees_find(struct map *m, struct plook *look)
{
	struct naming *names = naming_do(look, NULL, 0, UINT64_MAX, NULL, NULL, NULL);
	size_t n = naming_count(names);
	uint32_t *subtree = calloc(n ? n : 1, sizeof(*subtree));

	if (!subtree)
		out_of_memory();
	for (size_t i = 0; i < n; i++) { /* who leads to an object comes before it */
		const struct named *named = naming_at(names, i);

		subtree[i] = i && named->from ? subtree[named->from] : subtree_of(m, names, named);
		object_count(m, named, subtree[i]);
	}
	free(subtree);
	naming_free(names);
}

static int by_all_bytes(const void *a, const void *b)
{
	const struct subtree *one = a, *other = b;

	return one->bytes > other->bytes ? -1 : one->bytes < other->bytes;
}

/* ---- telling ---- */

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

static struct json_object *subtrees_json(const struct map *m)
{
	struct json_object *all = json_object_new_array();

	for (uint32_t i = 0; i < m->subtrees; i++) {
		struct json_object *o = json_object_new_object();

		json_text(o, "path", m->subtree[i].path);
		json_count(o, "objects", m->subtree[i].objects);
		json_count(o, "bytes", m->subtree[i].bytes);
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
		if (m->subtree && m->cell[i].of_subtree)
			json_count(o, "subtree", m->cell[i].subtree);
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
	if (m->subtree)
		json_object_object_add(o, "subtrees", subtrees_json(m));
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

static void subtrees_text(struct map *m)
{
	static const char *const heads[] = {"THROUGH", ">OBJECTS", ">LIVE"};
	struct table *t = table_new(3, heads);

	qsort(m->subtree, m->subtrees, sizeof(m->subtree[0]), by_all_bytes);
	for (uint32_t i = 0; i < m->subtrees; i++) {
		table_add(t, text_plain(m->subtree[i].path));
		table_addf(t, "%llu", (unsigned long long)m->subtree[i].objects);
		table_add(t, text_bytes(m->subtree[i].bytes));
	}
	putchar('\n');
	table_print(t);
}

static void map_tell(const struct options *o, struct map *m, struct plook *look)
{
	qsort(m->size, m->sizes, sizeof(m->size[0]), by_bytes);
	if (o->has_subtrees)
		subtrees_find(m, look);
	if (o->is_json) {
		map_json(m, pLookVersion(look));
		return;
	}
	map_text(m);
	if (o->has_subtrees)
		subtrees_text(m);
}

static int map_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct plook *look = look_open(c, argc > 1 ? argv[1] : "");
	uint64_t cells = o->limit && o->limit < CELLS_MOST ? o->limit : o->limit ? CELLS_MOST : CELLS_USUAL;
	struct map m = {0};
	int status = TOOL_OK;

	if (!look)
		return TOOL_NO;
	if (pLookSpans(look, span_add, &m) || (o->is_json && cells_make(&m, look, cells)))
		status = complain("%s", pErrorMsg());
	else
		map_tell(o, &m, look);
	for (uint32_t i = 0; i < m.subtrees; i++)
		free(m.subtree[i].path);
	free(m.subtree);
	free(m.cell);
	pLookClose(look);
	return status;
}

int tool_map(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, map_run);
}
