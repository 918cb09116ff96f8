/* stat.c - softpm stat: what the persistence points of a container cost. */
#include "tool.h"

#include <stdio.h>

static void stats_json(const struct listed *c, const struct pstats *s)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "magic", json_object_new_int(c->magic));
	json_text(o, "name", c->name);
	json_count(o, "points", s->points);
	json_count(o, "stored_bytes", s->stored_bytes);
	json_count(o, "queue", s->queue);
	json_count(o, "lag_ns", s->lag_ns);
	json_count(o, "pause_median_ns", s->pause_median_ns);
	json_count(o, "pause_p99_ns", s->pause_p99_ns);
	json_count(o, "pause_max_ns", s->pause_max_ns);
	json_count(o, "input_bytes", s->input_bytes);
	json_print(o);
}

static void stats_text(const struct listed *c, const struct pstats *s)
{
	printf("container      %s\n", text_container(c));
	printf("points         %llu\n", (unsigned long long)s->points);
	printf("stored         %s\n", text_bytes(s->stored_bytes));
	printf("live           %s in %llu pages\n", text_bytes(c->live_bytes), (unsigned long long)c->pages);
	printf("queue          %llu\n", (unsigned long long)s->queue);
	printf("lag            %s\n", text_span(s->lag_ns));
	printf("pause, median  %s\n", text_span(s->pause_median_ns));
	printf("pause, 99th    %s\n", text_span(s->pause_p99_ns));
	printf("pause, longest %s\n", text_span(s->pause_max_ns));
	printf("inputs         %s behind the newest version\n", text_bytes(s->input_bytes));
}

static int stat_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct pstats stats;

	(void)argc;
	(void)argv;
	if (pStats(c->magic, &stats))
		return complain("container %s: %s", text_container(c), pErrorMsg());
	(o->is_json ? stats_json : stats_text)(c, &stats);
	return TOOL_OK;
}

int tool_stat(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, stat_run);
}
