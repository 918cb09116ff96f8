/* image.c - softpm image: one version as a file that processes map and share; and whether such a file is whole. */
#include "tool.h"

#include <stdio.h>

static const char *image_container(const struct pimage *i)
{
	return text_container(&(struct listed){.magic = i->magic, .name = (char *)(uintptr_t)i->name});
}

static struct json_object *image_json(const char *path, const struct pimage *i)
{
	struct json_object *o = json_object_new_object();

	json_text(o, "file", path);
	json_object_object_add(o, "magic", json_object_new_int(i->magic));
	json_text(o, "name", i->name);
	json_text(o, "branch", i->branch);
	json_count(o, "version", (uint64_t)i->version);
	json_time(o, "time", i->time_ns);
	json_count(o, "pages", i->pages);
	json_count(o, "own_pages", i->own_pages);
	json_count(o, "live_bytes", i->live_bytes);
	json_count(o, "file_bytes", i->file_bytes);
	return o;
}

static void image_text(const char *path, const char *verdict, const struct pimage *i)
{
	printf("%s: %s; container %s, version %s of %s: %s in %llu pages", path, verdict, image_container(i),
	       text_version(i->branch, i->version), text_time(i->time_ns), text_bytes(i->live_bytes),
	       (unsigned long long)i->pages);
	if (i->own_pages)
		printf(", %llu of which are each process's own", (unsigned long long)i->own_pages);
	putchar('\n');
}

static int made_show(const struct options *o, const char *path)
{
	struct pimage image;

	if (pImageInfo(path, &image))
		return complain("%s", pErrorMsg());
	if (o->is_json)
		json_print(image_json(path, &image));
	else
		image_text(path, "written", &image);
	return TOOL_OK;
}

/* FILE, REF FILE, or CONTAINER REF FILE. */
static int image_make(const struct options *o, const struct listed *c, int argc, char **argv)
{
	const char *path = argv[argc - 1];
	int result;

	progress_begin("writing");
	result = pImage(c->magic, argc > 1 ? argv[argc - 2] : "", path);
	progress_end();
	return result ? complain("%s", pErrorMsg()) : made_show(o, path);
}

static int damage_show(const char *damage, void *arg)
{
	struct json_object *damages = arg;

	progress_clear();
	if (damages)
		json_object_array_add(damages, json_string(damage));
	else
		printf("  damage: %s\n", text_plain(damage));
	return 0;
}

static void verdict_json(const char *path, int result, const struct pimage *image, struct json_object *damages)
{
	struct json_object *o = image ? image_json(path, image) : json_object_new_object();

	json_text(o, "file", path);
	json_object_object_add(o, "is_whole", json_object_new_boolean(result == 0));
	json_object_object_add(o, "damage", damages);
	json_print(o);
}

static int image_check(const struct options *o, const char *path)
{
	struct json_object *damages = o->is_json ? json_object_new_array() : NULL;
	struct pimage image;
	bool is_known = !pImageInfo(path, &image);
	int result;

	progress_begin("checking");
	result = pImageCheck(path, damage_show, damages);
	progress_end();
	if (result < 0) {
		json_object_put(damages);
		return complain("%s", pErrorMsg());
	}
	if (o->is_json)
		verdict_json(path, result, is_known ? &image : NULL, damages);
	else if (is_known)
		image_text(path, result ? "damaged" : "whole", &image);
	else
		printf("%s: damaged\n", path);
	return result ? TOOL_NO : TOOL_OK;
}

int tool_image(const struct options *o, int argc, char **argv)
{
	if (o->is_check)
		return image_check(o, argv[0]);
	return container_run_for(o, argc > 2 ? argv[0] : NULL, argc, argv, image_make);
}
