/* check.c - softpm check: reads everything, names what is damaged and what can still be restored. */
#include "tool.h"

#include <stdio.h>

struct checking {
	bool is_json;
	struct json_object *damages;
};

static int damage_show(const char *damage, void *arg)
{
	struct checking *k = arg;

	progress_clear();
	if (k->is_json)
		json_object_array_add(k->damages, json_string(damage));
	else
		printf("  damage: %s\n", text_plain(damage));
	return 0;
}

static void verdict_text(const struct listed *c, int result, int64_t newest_whole)
{
	if (result == 0 && !c->newest)
		printf("container %s: whole; no version yet\n", text_container(c));
	else if (result == 0)
		printf("container %s: whole; newest version %lld\n", text_container(c), (long long)newest_whole);
	else if (newest_whole)
		printf("container %s: damaged; version %lld can still be restored\n", text_container(c),
		       (long long)newest_whole);
	else
		printf("container %s: damaged; no version can be restored\n", text_container(c));
}

static void verdict_json(const struct listed *c, int result, int64_t newest_whole, struct json_object *damages,
                         struct json_object *all)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "magic", json_object_new_int(c->magic));
	json_text(o, "name", c->name);
	json_object_object_add(o, "is_whole", json_object_new_boolean(result == 0));
	json_count(o, "newest_whole", (uint64_t)newest_whole);
	json_object_object_add(o, "damage", damages);
	json_object_array_add(all, o);
}

/* all: NULL if the answer is for people. */
static int check_one(const struct listed *c, struct json_object *all)
{
	struct checking k = {.is_json = all != NULL};
	int64_t newest_whole = 0;
	int result;

	if (all)
		k.damages = json_object_new_array();
	progress_begin("checking");
	result = pCheck(c->magic, damage_show, &k, &newest_whole);
	progress_end();
	if (result < 0) {
		json_object_put(k.damages);
		return complain("container %s: %s", text_container(c), pErrorMsg());
	}
	if (all)
		verdict_json(c, result, newest_whole, k.damages, all);
	else
		verdict_text(c, result, newest_whole);
	return result ? TOOL_NO : TOOL_OK;
}

/* All containers, or the one that was named. */
static int check_list(const struct list *list, const struct listed *only, struct json_object *all)
{
	int status = TOOL_OK;

	for (size_t i = 0; i < list->n; i++) {
		const struct listed *c = &list->all[i];

		if ((!only || c == only) && check_one(c, all))
			status = TOOL_NO;
	}
	if (!list->n && !all)
		puts("no containers");
	return status;
}

int tool_check(const struct options *o, int argc, char **argv)
{
	const struct listed *only = NULL;
	struct list *list;
	struct json_object *all = NULL;
	int status = TOOL_NO;

	if (volume_open(o))
		return TOOL_NO;
	list = list_read();
	if (!list)
		return TOOL_NO;
	if (argc)
		only = list_find(list, argv[0]);
	if (only || !argc) {
		if (o->is_json)
			all = json_object_new_array();
		status = check_list(list, only, all);
		if (all)
			json_print(all);
	}
	list_free(list);
	return status;
}
