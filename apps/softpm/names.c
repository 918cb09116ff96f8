/* names.c - the branches and tags of a container, and which of them are on a version.
 *
 * A version is known by its branch and its number: branches that are written at the same time may have the same numbers. A tag tells
 * the number only, so what it names is asked for by its name.
 */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
	char *same = strdup(text ? text : "");

	if (!same)
		out_of_memory();
	return same;
}

static int branch_add(const struct pbranch *b, void *arg)
{
	struct names *names = arg;
	struct branch *more;

	if (branch_find(names, b->name)) /* one whose name is damaged is called main */
		return 0;
	more = realloc(names->branch, (names->branches + 1) * sizeof(*more));
	if (!more)
		out_of_memory();
	names->branch = more;
	more[names->branches++] = (struct branch){.name = copy(b->name),
	                                          .parent = copy(b->parent),
	                                          .damage = b->damage ? copy(b->damage) : NULL,
	                                          .origin = b->origin,
	                                          .newest = b->newest,
	                                          .time_ns = b->time_ns,
	                                          .pages = b->pages,
	                                          .live_bytes = b->live_bytes,
	                                          .is_current = b->is_current};
	return 0;
}

static int tag_add(const struct ptag *t, void *arg)
{
	struct names *names = arg;
	struct tag *more = realloc(names->tag, (names->tags + 1) * sizeof(*more));

	if (!more)
		out_of_memory();
	names->tag = more;
	more[names->tags++] = (struct tag){.name = copy(t->name), .version = t->version, .time_ns = t->time_ns};
	return 0;
}

static int version_note(const struct pversion *v, void *arg)
{
	struct tag *t = arg;

	t->branch = copy(v->branch);
	t->message = copy(v->message);
	return 1;
}

static void tag_follow(int magic, struct tag *t)
{
	if (pVersions(magic, t->name, version_note, t) == 1)
		return;
	t->damage = copy(pErrorMsg());
	t->branch = copy("");
	t->message = copy("");
}

struct names *names_read(const struct listed *c, bool with_tags)
{
	struct names *names = calloc(1, sizeof(*names));

	if (!names)
		out_of_memory();
	if (pBranches(c->magic, branch_add, names) || (with_tags && pTags(c->magic, tag_add, names))) {
		complain("%s", pErrorMsg());
		names_free(names);
		return NULL;
	}
	for (size_t i = 0; i < names->tags; i++)
		tag_follow(c->magic, &names->tag[i]);
	return names;
}

void names_free(struct names *names)
{
	for (size_t i = 0; i < names->branches; i++) {
		free(names->branch[i].name);
		free(names->branch[i].parent);
		free(names->branch[i].damage);
	}
	for (size_t i = 0; i < names->tags; i++) {
		free(names->tag[i].name);
		free(names->tag[i].branch);
		free(names->tag[i].message);
		free(names->tag[i].damage);
	}
	free(names->branch);
	free(names->tag);
	free(names);
}

bool branch_has_own(const struct branch *b)
{
	return b->newest > b->origin;
}

bool branch_is_on(const struct branch *b, const struct pversion *v)
{
	return b->newest == v->version && !strcmp(branch_has_own(b) ? b->name : b->parent, v->branch);
}

bool tag_is_on(const struct tag *t, const struct pversion *v)
{
	return t->version == v->version && !strcmp(t->branch, v->branch);
}

const struct branch *branch_find(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->branches; i++)
		if (!strcmp(names->branch[i].name, name))
			return &names->branch[i];
	return NULL;
}

const struct tag *tag_find(const struct names *names, const char *name)
{
	for (size_t i = 0; i < names->tags; i++)
		if (!strcmp(names->tag[i].name, name))
			return &names->tag[i];
	return NULL;
}

char *names_on(const struct names *names, const struct pversion *v)
{
	const char *between = "";
	char *text = NULL;
	size_t bytes;
	FILE *f = open_memstream(&text, &bytes);

	if (!f)
		out_of_memory();
	for (size_t i = 0; i < names->branches; i++)
		if (branch_is_on(&names->branch[i], v)) {
			fprintf(f, "%s%s%s", between, names->branch[i].is_current ? "*" : "", names->branch[i].name);
			between = ", ";
		}
	for (size_t i = 0; i < names->tags; i++)
		if (tag_is_on(&names->tag[i], v)) {
			fprintf(f, "%s%s", between, names->tag[i].name);
			between = ", ";
		}
	if (fclose(f) || !text)
		out_of_memory();
	return text;
}

struct json_object *json_version(const struct names *names, const struct pversion *v)
{
	struct json_object *o = json_object_new_object(), *branches = json_object_new_array(),
	                   *tags = json_object_new_array();

	for (size_t i = 0; i < names->branches; i++)
		if (branch_is_on(&names->branch[i], v))
			json_object_array_add(branches, json_string(names->branch[i].name));
	for (size_t i = 0; i < names->tags; i++)
		if (tag_is_on(&names->tag[i], v))
			json_object_array_add(tags, json_string(names->tag[i].name));
	json_count(o, "version", (uint64_t)v->version);
	json_count(o, "parent", (uint64_t)v->parent);
	json_time(o, "time", v->time_ns);
	json_text(o, "branch", v->branch);
	json_object_object_add(o, "branches", branches);
	json_object_object_add(o, "tags", tags);
	json_text(o, "message", v->message);
	json_count(o, "pages", v->pages);
	json_count(o, "live_bytes", v->live_bytes);
	json_count(o, "stored_pages", v->stored_pages);
	json_count(o, "stored_bytes", v->stored_bytes);
	json_count(o, "pause_ns", v->pause_ns);
	return o;
}
