/* branch.c - softpm branch: lists, makes and deletes the branches of a container. */
#include "tool.h"

#include <stdio.h>

static struct json_object *branch_json(const struct branch *b)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "name", b->name);
	json_text(o, "parent", b->parent[0] ? b->parent : NULL);
	json_count(o, "origin", (uint64_t)b->origin);
	json_count(o, "newest", (uint64_t)b->newest);
	if (b->newest)
		json_time(o, "time", b->time_ns);
	else
		json_text(o, "time", NULL);
	json_count(o, "pages", b->pages);
	json_count(o, "live_bytes", b->live_bytes);
	json_object_object_add(o, "is_current", json_object_new_boolean(b->is_current));
	json_text(o, "damage", b->damage);
	return o;
}

static void list_json(const struct names *names)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < names->branches; i++)
		json_object_array_add(all, branch_json(&names->branch[i]));
	json_print(all);
}

static void row_add(struct table *t, const struct branch *b, bool with_damage)
{
	table_addf(t, "%s %s", b->is_current ? "*" : " ", b->name);
	table_add(t, b->parent[0] ? text_version(b->parent, b->origin) : "-");
	if (b->newest)
		table_addf(t, "%lld", (long long)b->newest);
	else
		table_add(t, "-");
	table_add(t, b->newest ? text_time(b->time_ns) : "-");
	table_addf(t, "%llu", (unsigned long long)b->pages);
	table_add(t, text_bytes(b->live_bytes));
	if (with_damage)
		table_add(t, b->damage ? b->damage : "");
}

static void list_text(const struct names *names)
{
	static const char *const heads[] = {"  BRANCH", "FROM", ">NEWEST", "TIME", ">PAGES", ">LIVE", "DAMAGE"};
	bool is_damaged = false;
	struct table *t;

	for (size_t i = 0; i < names->branches; i++)
		is_damaged |= names->branch[i].damage != NULL;
	t = table_new(is_damaged ? 7 : 6, heads);
	for (size_t i = 0; i < names->branches; i++)
		row_add(t, &names->branch[i], is_damaged);
	table_print(t);
}

static int branch_list(const struct options *o, const struct listed *c)
{
	struct names *names = names_read(c, false);

	if (!names)
		return TOOL_NO;
	(o->is_json ? list_json : list_text)(names);
	names_free(names);
	return TOOL_OK;
}

static int branch_make(const struct options *o, const struct listed *c, const char *name, const char *ref)
{
	const struct branch *b;
	struct names *names;

	if (pBranch(c->magic, name, ref))
		return complain("%s", pErrorMsg());
	names = names_read(c, false);
	if (!names)
		return TOOL_NO;
	b = branch_find(names, name);
	if (b && o->is_json)
		json_print(branch_json(b));
	else if (b)
		printf("branch %s of container %s begins with version %s\n", name, text_container(c),
		       text_version(b->parent, b->origin));
	names_free(names);
	return TOOL_OK;
}

static int branch_delete(const struct listed *c, const char *name)
{
	if (pBranchDelete(c->magic, name))
		return complain("%s", pErrorMsg());
	printf("branch %s of container %s deleted\n", name, text_container(c));
	return TOOL_OK;
}

static int branch_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	if (o->is_delete)
		return branch_delete(c, argv[1]);
	return argc < 2 ? branch_list(o, c) : branch_make(o, c, argv[1], argc > 2 ? argv[2] : NULL);
}

int tool_branch(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, branch_run);
}
