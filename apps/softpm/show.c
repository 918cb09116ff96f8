/* show.c - softpm show: one version, and the names it has. */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

struct showing {
	const struct options *o;
	const struct listed *c;
	const struct names *names;
};

static void version_text(const struct listed *c, const struct names *names, const struct pversion *v)
{
	char *on = names_on(names, v);

	printf("container  %s\n", text_container(c));
	printf("version    %s\n", text_version(v->branch, v->version));
	if (v->parent)
		printf("parent     %lld\n", (long long)v->parent);
	if (on[0])
		printf("names      %s\n", on);
	printf("time       %s\n", text_time(v->time_ns));
	if (v->message[0])
		printf("message    %s\n", text_plain(v->message));
	printf("live       %s in %llu pages\n", text_bytes(v->live_bytes), (unsigned long long)v->pages);
	printf("stored     %s in %llu pages\n", text_bytes(v->stored_bytes), (unsigned long long)v->stored_pages);
	printf("pause      %s\n", text_span(v->pause_ns));
	free(on);
}

static int version_show(const struct pversion *v, void *arg)
{
	const struct showing *s = arg;

	if (s->o->is_json)
		json_print(json_version(s->names, v));
	else
		version_text(s->c, s->names, v);
	return 1;
}

static int show_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct names *names = names_read(c, true);
	int result;

	(void)argc;
	if (!names)
		return TOOL_NO;
	result = pVersions(c->magic, argv[1], version_show, &(struct showing){o, c, names});
	names_free(names);
	return result < 0 ? complain("%s", pErrorMsg()) : TOOL_OK;
}

int tool_show(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, show_run);
}
