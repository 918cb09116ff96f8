/* log.c - softpm log: the versions of a container, newest first. */
#include "tool.h"

#include <stdio.h>

struct showing {
	uint64_t left; /* versions still to show */
	struct table *table;
	struct json_object *array;
};

static void version_json(const struct pversion *v, struct json_object *array)
{
	struct json_object *o = json_object_new_object();

	json_count(o, "version", (uint64_t)v->version);
	json_count(o, "parent", (uint64_t)v->parent);
	json_time(o, "time", v->time_ns);
	json_text(o, "branch", v->branch);
	json_text(o, "message", v->message);
	json_count(o, "pages", v->pages);
	json_count(o, "live_bytes", v->live_bytes);
	json_count(o, "stored_pages", v->stored_pages);
	json_count(o, "stored_bytes", v->stored_bytes);
	json_count(o, "pause_ns", v->pause_ns);
	json_object_array_add(array, o);
}

static void version_row(const struct pversion *v, struct table *t)
{
	char number[32];

	snprintf(number, sizeof(number), "%lld", (long long)v->version);
	table_add(t, number);
	table_add(t, text_time(v->time_ns));
	table_add(t, text_span(v->pause_ns));
	table_add(t, text_bytes(v->stored_bytes));
	table_add(t, text_bytes(v->live_bytes));
	table_add(t, v->message);
}

static int version_show(const struct pversion *v, void *arg)
{
	struct showing *s = arg;

	if (s->array)
		version_json(v, s->array);
	else
		version_row(v, s->table);
	return --s->left == 0;
}

static int log_show(const struct options *o, const struct listed *c)
{
	static const char *const heads[] = {">VERSION", "TIME", ">PAUSE", ">STORED", ">LIVE", "MESSAGE"};
	struct showing s = {.left = o->limit ? o->limit : UINT64_MAX};
	int result;

	if (o->is_json)
		s.array = json_object_new_array();
	else
		s.table = table_new(6, heads);
	result = pVersions(c->magic, NULL, version_show, &s);
	if (result < 0)
		complain("container %s: %s", text_container(c), pErrorMsg());
	if (o->is_json)
		json_print(s.array);
	else
		table_print(s.table);
	return result < 0 ? TOOL_NO : TOOL_OK;
}

int tool_log(const struct options *o, int argc, char **argv)
{
	const struct listed *c;
	struct list *list;
	int status = TOOL_NO;

	if (volume_open(o))
		return TOOL_NO;
	list = list_read();
	if (!list)
		return TOOL_NO;
	c = list_find(list, argc ? argv[0] : NULL);
	if (c)
		status = log_show(o, c);
	list_free(list);
	return status;
}
