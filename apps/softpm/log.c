/* log.c - softpm log: the versions of a container, newest first; of all branches, or back from one version. */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

struct showing {
	const struct names *names;
	uint64_t left; /* versions still to show */
	bool has_graph;
	struct table *table;
	struct json_object *array; /* or this one */
};

static void showing_begin(struct showing *s, const struct options *o)
{
	static const char *const heads[] = {"", ">VERSION", "TIME", ">PAUSE", ">STORED", ">LIVE", "MESSAGE"};

	s->left = o->limit ? o->limit : UINT64_MAX;
	if (o->is_json)
		s->array = json_object_new_array();
	else
		s->table = s->has_graph ? table_new(7, heads) : table_new(6, heads + 1);
}

static void showing_end(struct showing *s)
{
	if (s->array)
		json_print(s->array);
	else
		table_print(s->table);
}

static void version_row(struct table *t, const struct names *names, const struct pversion *v)
{
	char *on = names_on(names, v);

	table_addf(t, "%lld", (long long)v->version);
	table_add(t, text_time(v->time_ns));
	table_add(t, text_span(v->pause_ns));
	table_add(t, text_bytes(v->stored_bytes));
	table_add(t, text_bytes(v->live_bytes));
	table_addf(t, on[0] ? "(%s)%s%s" : "%s%s%s", on, on[0] && v->message[0] ? " " : "", v->message);
	free(on);
}

static int version_show(const struct pversion *v, void *arg)
{
	struct showing *s = arg;

	if (s->array)
		json_object_array_add(s->array, json_version(s->names, v));
	else
		version_row(s->table, s->names, v);
	return --s->left == 0;
}

/* Lines between two versions. */
static void lines_row(struct table *t, const char *lines)
{
	table_add(t, lines);
	for (unsigned i = 1; i < 7; i++)
		table_add(t, "");
}

/* All branches. */
static int graph_show(const struct options *o, const struct listed *c, const struct names *names)
{
	int status = TOOL_OK;
	struct graph *g = graph_read(c, names, o->limit ? o->limit : UINT64_MAX, &status);
	struct showing s = {.names = names, .has_graph = !graph_is_line(g)};
	struct graph_row row;

	showing_begin(&s, o);
	while (s.left && graph_next(g, &row)) {
		if (row.version && s.table && s.has_graph)
			table_add(s.table, row.lines);
		if (row.version)
			version_show(row.version, &s);
		else if (s.table)
			lines_row(s.table, row.lines);
	}
	showing_end(&s);
	graph_free(g);
	return status;
}

/* From one version back. */
static int line_show(const struct options *o, const struct listed *c, const struct names *names, const char *ref)
{
	struct showing s = {.names = names};
	int status = TOOL_OK;

	showing_begin(&s, o);
	if (pVersions(c->magic, ref, version_show, &s) < 0)
		status = complain("%s", pErrorMsg());
	showing_end(&s);
	return status;
}

static int log_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct names *names = names_read(c, true);
	int status;

	if (!names)
		return TOOL_NO;
	status = argc > 1 ? line_show(o, c, names, argv[1]) : graph_show(o, c, names);
	names_free(names);
	return status;
}

int tool_log(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, log_run);
}
