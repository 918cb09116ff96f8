/* graph_refs.c - see graph_refs.h. */
#include "graph_refs.h"
#include "scratch.h"

#include <stdio.h>
#include <time.h>

static unsigned below(uint64_t *random, unsigned n)
{
	return (unsigned)(test_random(random) % n);
}

int branch_random(const struct graph *g, uint64_t *random)
{
	int b = (int)below(random, GRAPH_BRANCHES);

	while (!g->branch[b].is_there)
		b = (b + 1) % GRAPH_BRANCHES;
	return b;
}

/* One that the branch has. */
static int version_random(const struct graph *g, int branch, uint64_t *random)
{
	int v = g->branch[branch].newest, n = 0;

	for (int at = v; at != NONE; at = g->version[at].parent)
		if (below(random, (unsigned)++n) == 0)
			v = at;
	return v;
}

static void target_branch(struct target *t, const struct graph *g)
{
	t->is_branch = true;
	snprintf(t->ref, sizeof(t->ref), "%s", g->branch[t->branch].name);
	answer_is(&t->answer, g, g->branch[t->branch].newest);
}

static void target_tag(struct target *t, const struct graph *g, uint64_t *random)
{
	const struct graph_tag *tag = &g->tag[below(random, GRAPH_TAGS)];

	t->branch = NONE;
	snprintf(t->ref, sizeof(t->ref), "%s", tag->name);
	answer_is(&t->answer, g, tag->version);
}

static void target_number(struct target *t, const struct graph *g, uint64_t *random)
{
	int v = version_random(g, t->branch, random);
	bool is_bare = below(random, 2);

	snprintf(t->ref, sizeof(t->ref), "%s%s%lld", is_bare ? "" : g->branch[t->branch].name, is_bare ? "" : ":",
	         (long long)graph_number(g, v));
	answer_is(&t->answer, g, v);
	if (is_bare)
		t->branch = NONE;
}

static void target_before(struct target *t, const struct graph *g, bool is_implicit, uint64_t *random)
{
	const char *base = is_implicit && below(random, 2) ? "" : g->branch[t->branch].name;
	unsigned steps = below(random, 5);

	if (steps == 1 && below(random, 2))
		snprintf(t->ref, sizeof(t->ref), "%s~", base);
	else if (steps > 1 && below(random, 2))
		snprintf(t->ref, sizeof(t->ref), "%s~~%u", base, steps - 1);
	else
		snprintf(t->ref, sizeof(t->ref), "%s~%u", base, steps);
	answer_before(&t->answer, g, g->branch[t->branch].newest, steps);
}

static void target_time(struct target *t, const struct graph *g, bool is_implicit, uint64_t *random)
{
	static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"};
	static const char *const starts[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:00",
	                                     "%Y-%m-%dT00:00:00"};
	const struct graph_version *v = &g->version[version_random(g, t->branch, random)];
	time_t s = (time_t)(v->time_ns / 1000000000) + (time_t)below(random, 3) - 1;
	unsigned format = below(random, 4);
	char at[40], start[40];
	struct tm tm;

	strftime(at, sizeof(at), formats[format], localtime_r(&s, &tm));
	strftime(start, sizeof(start), starts[format], &tm);
	strptime(start, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(t->ref, sizeof(t->ref), "%s@%s", is_implicit && below(random, 2) ? "" : g->branch[t->branch].name, at);
	answer_at(&t->answer, g, t->branch, ((uint64_t)mktime(&tm) + 1) * 1000000000);
}

void target_choose(struct target *t, const struct graph *g, int context, uint64_t *random)
{
	bool is_implicit = context != NONE && below(random, 3) == 0;
	unsigned kind = below(random, 7);

	*t = (struct target){.branch = is_implicit ? context : branch_random(g, random)};
	if (g->branch[t->branch].newest == NONE || kind == 6) {
		snprintf(t->ref, sizeof(t->ref), "%s", kind == 6 ? "no-such" : g->branch[t->branch].name);
		answer_is(&t->answer, g, NONE);
	} else if (kind == 1) {
		target_tag(t, g, random);
	} else if (kind == 2) {
		target_number(t, g, random);
	} else if (kind == 3) {
		target_before(t, g, is_implicit, random);
	} else if (kind == 4) {
		target_time(t, g, is_implicit, random);
	} else {
		target_branch(t, g);
	}
}
