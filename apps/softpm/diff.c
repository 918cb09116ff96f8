/* diff.c - softpm diff: how much of a container differs between two versions. */
#include "tool.h"

#include <stdio.h>

struct counts {
	uint64_t changed, added, removed, bytes;
};

static int page_count(const struct pdifference *d, void *arg)
{
	struct counts *n = arg;

	n->changed += d->is_in_first && d->is_in_second;
	n->added += !d->is_in_first;
	n->removed += !d->is_in_second;
	n->bytes += d->bytes;
	return 0;
}

static int diff_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	const char *second = argc > 2 ? argv[2] : "";
	struct counts n = {0};

	if (pDiff(c->magic, argv[1], second, page_count, &n))
		return complain("%s", pErrorMsg());
	if (o->is_json) {
		struct json_object *all = json_object_new_object();

		json_count(all, "pages_changed", n.changed);
		json_count(all, "pages_added", n.added);
		json_count(all, "pages_removed", n.removed);
		json_count(all, "bytes", n.bytes);
		json_print(all);
		return TOOL_OK;
	}
	printf("from %s to %s: %llu pages changed, %llu added, %llu removed; %llu bytes differ\n", argv[1],
	       *second ? second : "the newest version", (unsigned long long)n.changed, (unsigned long long)n.added,
	       (unsigned long long)n.removed, (unsigned long long)n.bytes);
	return TOOL_OK;
}

int tool_diff(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, diff_run);
}
