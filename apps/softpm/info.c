/* info.c - softpm info: the volume and its containers. */
#include "tool.h"

#include <stdio.h>

enum { UUID_TEXT = 37 };

static void uuid_text(const unsigned char uuid[16], char text[UUID_TEXT])
{
	char *at = text;

	for (unsigned i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at += snprintf(at, 3, "%02x", uuid[i]);
	}
}

struct counts { /* of a container; < 0: can't be known */
	int branches, tags;
};

static int branch_count(const struct pbranch *branch, void *arg)
{
	(void)branch;
	++*(int *)arg;
	return 0;
}

static int tag_count(const struct ptag *tag, void *arg)
{
	(void)tag;
	++*(int *)arg;
	return 0;
}

static struct counts counts_of(const struct listed *c)
{
	struct counts n = {0};

	if (pBranches(c->magic, branch_count, &n.branches) < 0)
		n.branches = -1;
	if (pTags(c->magic, tag_count, &n.tags) < 0)
		n.tags = -1;
	return n;
}

static void json_known(struct json_object *o, const char *key, int count)
{
	json_object_object_add(o, key, count < 0 ? NULL : json_object_new_int(count));
}

static struct json_object *container_json(const struct listed *c)
{
	struct json_object *o = json_object_new_object();
	struct counts n = counts_of(c);

	json_object_object_add(o, "magic", json_object_new_int(c->magic));
	json_text(o, "name", c->name);
	json_text(o, "branch", c->branch);
	json_count(o, "newest", (uint64_t)c->newest);
	json_count(o, "pages", c->pages);
	json_count(o, "live_bytes", c->live_bytes);
	json_known(o, "branches", n.branches);
	json_known(o, "tags", n.tags);
	json_text(o, "damage", c->damage);
	return o;
}

static void info_json(const char *name, const struct pvolume *v, const char *uuid, const struct list *list)
{
	struct json_object *o = json_object_new_object(), *all = json_object_new_array();

	json_text(o, "volume", name);
	json_count(o, "format", v->format);
	json_text(o, "uuid", uuid);
	json_count(o, "bytes", v->bytes);
	json_count(o, "free_bytes", v->free_bytes);
	for (size_t i = 0; i < list->n; i++)
		json_object_array_add(all, container_json(&list->all[i]));
	json_object_object_add(o, "containers", all);
	json_print(o);
}

static void count_add(struct table *t, int64_t count, bool is_known)
{
	if (is_known)
		table_addf(t, "%lld", (long long)count);
	else
		table_add(t, "-");
}

static void row_add(struct table *t, const struct listed *c, bool with_damage)
{
	struct counts n = counts_of(c);

	table_addf(t, "%d", c->magic);
	table_add(t, c->name[0] ? c->name : "-");
	table_add(t, c->branch);
	count_add(t, c->newest, c->newest > 0);
	table_addf(t, "%llu", (unsigned long long)c->pages);
	table_add(t, text_bytes(c->live_bytes));
	count_add(t, n.branches, n.branches >= 0);
	count_add(t, n.tags, n.tags >= 0);
	if (with_damage)
		table_add(t, c->damage ? c->damage : "");
}

static void info_text(const char *name, const struct pvolume *v, const char *uuid, const struct list *list)
{
	static const char *const heads[] = {">MAGIC", "NAME",      "BRANCH", ">NEWEST", ">PAGES",
	                                    ">LIVE",  ">BRANCHES", ">TAGS",  "DAMAGE"};
	bool is_damaged = false;
	struct table *t;

	printf("volume  %s\nformat  %u\nuuid    %s\n", name, v->format, uuid);
	printf("size    %s, %s of it free\n", text_bytes(v->bytes), text_bytes(v->free_bytes));
	if (!list->n) {
		puts("\nno containers");
		return;
	}
	for (size_t i = 0; i < list->n; i++)
		is_damaged |= list->all[i].damage != NULL;
	puts("");
	t = table_new(is_damaged ? 9 : 8, heads); /* the last column only where it tells something */
	for (size_t i = 0; i < list->n; i++)
		row_add(t, &list->all[i], is_damaged);
	table_print(t);
}

int tool_info(const struct options *o, int argc, char **argv)
{
	struct pvolume v;
	struct list *list;
	char uuid[UUID_TEXT] = "";

	(void)argc;
	(void)argv;
	if (volume_open(o))
		return TOOL_NO;
	if (pVolume(&v))
		return complain("%s", pErrorMsg());
	list = list_read();
	if (!list)
		return TOOL_NO;
	uuid_text(v.uuid, uuid);
	(o->is_json ? info_json : info_text)(volume_name(o), &v, uuid, list);
	list_free(list);
	return TOOL_OK;
}
