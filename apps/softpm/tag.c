/* tag.c - softpm tag: lists, gives and takes away the tags of a container's versions. */
#include "tool.h"

#include <stdio.h>

static struct json_object *tag_json(const struct tag *t)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "name", t->name);
	json_text(o, "branch", t->branch[0] ? t->branch : NULL);
	json_count(o, "version", (uint64_t)t->version);
	json_time(o, "tagged", t->time_ns);
	json_text(o, "message", t->message);
	json_text(o, "damage", t->damage);
	return o;
}

static void list_json(const struct names *names)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < names->tags; i++)
		json_object_array_add(all, tag_json(&names->tag[i]));
	json_print(all);
}

static void list_text(const struct names *names)
{
	static const char *const heads[] = {"TAG", "VERSION", "TAGGED", "MESSAGE"};
	struct table *t;

	if (!names->tags) {
		puts("no tags");
		return;
	}
	t = table_new(4, heads);
	for (size_t i = 0; i < names->tags; i++) {
		const struct tag *tag = &names->tag[i];

		table_add(t, tag->name);
		table_add(t, text_version(tag->branch, tag->version));
		table_add(t, text_time(tag->time_ns));
		table_add(t, tag->damage ? tag->damage : tag->message);
	}
	table_print(t);
}

static int tag_list(const struct options *o, const struct listed *c)
{
	struct names *names = names_read(c, true);

	if (!names)
		return TOOL_NO;
	(o->is_json ? list_json : list_text)(names);
	names_free(names);
	return TOOL_OK;
}

static int tag_make(const struct options *o, const struct listed *c, const char *name, const char *ref)
{
	const struct tag *t;
	struct names *names;

	if (pTag(c->magic, name, ref))
		return complain("%s", pErrorMsg());
	names = names_read(c, true);
	if (!names)
		return TOOL_NO;
	t = tag_find(names, name);
	if (t && o->is_json)
		json_print(tag_json(t));
	else if (t)
		printf("tag %s of container %s names version %s\n", name, text_container(c),
		       text_version(t->branch, t->version));
	names_free(names);
	return TOOL_OK;
}

static int tag_delete(const struct listed *c, const char *name)
{
	if (pTagDelete(c->magic, name))
		return complain("%s", pErrorMsg());
	printf("tag %s of container %s deleted\n", name, text_container(c));
	return TOOL_OK;
}

static int tag_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	if (o->is_delete)
		return tag_delete(c, argv[1]);
	return argc < 2 ? tag_list(o, c) : tag_make(o, c, argv[1], argc > 2 ? argv[2] : NULL);
}

int tool_tag(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, tag_run);
}
