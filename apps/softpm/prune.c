/* prune.c - softpm prune: drops now what a container's attributes let go. */
#include "tool.h"

#include <stdio.h>

struct dropping {
	const struct options *o;
	struct json_object *array; /* or text */
	int status;
};

static struct json_object *branch_json(const struct ppruned *p)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "branch", p->branch);
	json_count(o, "versions", p->versions);
	json_count(o, "bytes", p->bytes);
	json_count(o, "returned_bytes", p->returned_bytes);
	json_text(o, "skipped", p->skipped);
	return o;
}

static void branch_text(const struct options *o, const struct ppruned *p)
{
	printf("branch %s: %llu version%s %s, %s %s", text_plain(p->branch), (unsigned long long)p->versions,
	       p->versions == 1 ? "" : "s", o->is_dry ? "would be dropped" : "dropped", text_bytes(p->bytes),
	       o->is_dry ? "would be free" : "free");
	if (p->returned_bytes)
		printf("; %s given back to the volume", text_bytes(p->returned_bytes));
	putchar('\n');
}

static int branch_show(const struct ppruned *p, void *arg)
{
	struct dropping *d = arg;

	progress_clear();
	if (p->skipped)
		d->status = TOOL_NO;
	if (d->array)
		json_object_array_add(d->array, branch_json(p));
	else if (p->skipped)
		complain("branch %s: nothing done: %s", p->branch, p->skipped);
	else
		branch_text(d->o, p);
	return 0;
}

static int prune_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct dropping d = {.o = o, .array = o->is_json ? json_object_new_array() : NULL};
	struct pprune how = {.versions_kept = o->keep,
	                     .keep_seconds = o->keep_seconds,
	                     .is_dry = o->is_dry,
	                     .fn = branch_show,
	                     .arg = &d};
	int result;

	(void)argc, (void)argv;
	progress_begin("pruning");
	result = pPrune(c->magic, &how);
	progress_end();
	if (result)
		d.status = complain("%s", pErrorMsg());
	if (d.array)
		json_print(d.array);
	return d.status;
}

int tool_prune(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, prune_run);
}
