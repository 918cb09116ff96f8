/* diff.c - softpm diff: how much of a container differs between two versions, which objects do and, if the versions have the program's types,
 * which of their members. */
#include "changes.h"

#include <stdio.h>
#include <stdlib.h>

struct counts {
	uint64_t changed, added, removed;
};
struct differences {
	bool is_list; /* of objects, to standard output, or, for JSON: */
	struct json_object *objects;
	struct counts page, object;
	uint64_t bytes;
	struct changed *changed; /* the objects, if their members are to be told */
	size_t n, room;
	bool has_types;
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

static void changed_add(struct differences *all, const struct pdifference *d)
{
	if (all->n == all->room) {
		all->room = all->room * 2 + 64;
		all->changed = realloc(all->changed, all->room * sizeof(*all->changed));
		if (!all->changed)
			out_of_memory();
	}
	all->changed[all->n++] = (struct changed){.address = (uintptr_t)d->address,
	                                          .size = d->size,
	                                          .bytes = d->bytes,
	                                          .is_in_first = d->is_in_first,
	                                          .is_in_second = d->is_in_second};
}

static int difference_note(const struct pdifference *d, void *arg)
{
	struct differences *all = arg;
	struct counts *n = d->is_object ? &all->object : &all->page;

	n->changed += d->is_in_first && d->is_in_second;
	n->added += !d->is_in_first;
	n->removed += !d->is_in_second;
	all->bytes += d->is_object ? 0 : d->bytes;
	if (d->is_object && all->has_types)
		changed_add(all, d);
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

static int counts_tell(const struct options *o, const char *first, const char *second, const struct differences *d,
                       struct json_object *json)
{
	if (o->is_json)
		counts_json(json, d);
	else
		counts_text(first, second, d);
	return TOOL_OK;
}

/* Members first: the counts are the last line. */
static int members_tell(const struct options *o, const struct listed *c, const char *first, const char *second,
                        struct differences *d, struct json_object *json)
{
	struct json_object *list = o->is_json ? json_object_new_array() : NULL;
	bool has_more = false;
	int status = changes_tell(o, c, first, second, d->changed, d->n, list, &has_more);

	if (list) {
		json_object_object_add(json, "changes", list);
		json_object_object_add(json, "is_whole", json_object_new_boolean(!has_more));
	} else if (has_more) {
		puts("... and more: -n COUNT or --all shows them");
	}
	return status;
}

static int diff_tell(const struct options *o, const struct listed *c, const char *first, const char *second)
{
	struct differences d = {.is_list = o->has_objects};
	struct json_object *json = o->is_json ? json_object_new_object() : NULL;
	int status = TOOL_OK;

	if (json && o->has_objects)
		d.objects = json_object_new_array();
	d.has_types = changes_can(c, second);
	if (pDiff(c->magic, first, second, difference_note, &d)) {
		json_object_put(d.objects);
		json_object_put(json);
		free(d.changed);
		return complain("%s", pErrorMsg());
	}
	if (d.has_types)
		status = members_tell(o, c, first, second, &d, json);
	free(d.changed);
	return status == TOOL_OK ? counts_tell(o, first, second, &d, json) : status;
}

/* CONTAINER REF [REF], or REF REF. */
static int diff_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	bool has_container = argc > 2 || list_is_called(c, argv[0]);

	return diff_tell(o, c, argv[has_container], argc > 1 + has_container ? argv[1 + has_container] : "");
}

int tool_diff(const struct options *o, int argc, char **argv)
{
	return container_run_or_only(o, argc > 2, argc, argv, diff_run);
}
