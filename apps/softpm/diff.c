/* diff.c - softpm diff: how much of a container differs between two versions, and which objects do. */
#include "tool.h"

#include <stdio.h>

struct counts {
	uint64_t changed, added, removed;
};
struct differences {
	bool is_list; /* of objects, to standard output, or, for JSON: */
	struct json_object *objects;
	struct counts page, object;
	uint64_t bytes;
};

static const char *change_of(const struct pdifference *d)
{
	return !d->is_in_first ? "added" : !d->is_in_second ? "removed" : "changed";
}

static void object_json(struct json_object *objects, const struct pdifference *d)
{
	struct json_object *o = json_object_new_object();
	char address[32];

	snprintf(address, sizeof(address), "%p", d->address);
	json_text(o, "address", address);
	json_count(o, "size", d->size);
	json_text(o, "change", change_of(d));
	json_count(o, "bytes", d->bytes);
	json_object_array_add(objects, o);
}

static int difference_note(const struct pdifference *d, void *arg)
{
	struct differences *all = arg;
	struct counts *n = d->is_object ? &all->object : &all->page;

	n->changed += d->is_in_first && d->is_in_second;
	n->added += !d->is_in_first;
	n->removed += !d->is_in_second;
	all->bytes += d->is_object ? 0 : d->bytes;
	if (d->is_object && all->objects)
		object_json(all->objects, d);
	else if (d->is_object && all->is_list)
		printf("%-7s  %p  %s, %llu bytes differ\n", change_of(d), d->address, text_bytes(d->size),
		       (unsigned long long)d->bytes);
	return 0;
}

static void counts_json(struct json_object *o, const struct differences *d)
{
	json_count(o, "pages_changed", d->page.changed);
	json_count(o, "pages_added", d->page.added);
	json_count(o, "pages_removed", d->page.removed);
	json_count(o, "bytes", d->bytes);
	json_count(o, "objects_changed", d->object.changed);
	json_count(o, "objects_added", d->object.added);
	json_count(o, "objects_removed", d->object.removed);
	if (d->objects)
		json_object_object_add(o, "objects", d->objects);
	json_print(o);
}

static void counts_text(const char *first, const char *second, const struct differences *d)
{
	printf("from %s to %s: %llu pages changed, %llu added, %llu removed; %llu bytes differ; "
	       "%llu objects changed, %llu added, %llu removed\n",
	       first, *second ? second : "the newest version", (unsigned long long)d->page.changed,
	       (unsigned long long)d->page.added, (unsigned long long)d->page.removed, (unsigned long long)d->bytes,
	       (unsigned long long)d->object.changed, (unsigned long long)d->object.added,
	       (unsigned long long)d->object.removed);
}

static int diff_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	const char *second = argc > 2 ? argv[2] : "";
	struct differences d = {.is_list = o->has_objects};

	if (o->is_json && o->has_objects)
		d.objects = json_object_new_array();
	if (pDiff(c->magic, argv[1], second, difference_note, &d)) {
		json_object_put(d.objects);
		return complain("%s", pErrorMsg());
	}
	if (o->is_json)
		counts_json(json_object_new_object(), &d);
	else
		counts_text(argv[1], second, &d);
	return TOOL_OK;
}

int tool_diff(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, diff_run);
}
