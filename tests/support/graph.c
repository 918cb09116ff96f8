/* graph.c - see graph.h. */
#include "graph.h"

#include <string.h>

static const char *const branch_names[GRAPH_BRANCHES] = {"main", "try", "b2", "b-3", "four/4", "x", "0x5"};
static const char *const tag_names[GRAPH_TAGS] = {"v1", "v2.0", "good", "1a", "tag-of-a-long-name-that-is-still-fit"};

void graph_begin(struct graph *g, int magic)
{
	memset(g, 0, sizeof(*g));
	g->magic = magic;
	for (int i = 0; i < GRAPH_BRANCHES; i++)
		g->branch[i] = (struct graph_branch){branch_names[i], !i, NONE, NONE, NONE};
	for (int i = 0; i < GRAPH_TAGS; i++)
		g->tag[i] = (struct graph_tag){tag_names[i], NONE, 0};
}

int graph_add(struct graph *g, int branch, const struct graph_version *v)
{
	int n = g->versions++;

	g->version[n] = *v;
	g->version[n].branch = branch;
	g->version[n].parent = g->branch[branch].newest;
	g->version[n].is_there = true;
	g->branch[branch].newest = n;
	return n;
}

void graph_cut(struct graph *g, int branch, int newest)
{
	struct graph_branch *b = &g->branch[branch];

	for (; b->newest != newest; b->newest = g->version[b->newest].parent)
		g->version[b->newest].is_there = false;
	b->durable = newest;
}

void graph_branch_off(struct graph *g, int branch, int origin)
{
	g->branch[branch].is_there = true;
	g->branch[branch].origin = g->branch[branch].newest = g->branch[branch].durable = origin;
}

void graph_branch_remove(struct graph *g, int branch)
{
	graph_cut(g, branch, g->branch[branch].origin);
	g->branch[branch].is_there = false;
}

int graph_branch_named(const struct graph *g, const char *name)
{
	for (int i = 0; i < GRAPH_BRANCHES; i++)
		if (!strcmp(g->branch[i].name, name))
			return i;
	return NONE;
}

int graph_tag_named(const struct graph *g, const char *name)
{
	for (int i = 0; i < GRAPH_TAGS; i++)
		if (!strcmp(g->tag[i].name, name))
			return i;
	return NONE;
}

int graph_numbered(const struct graph *g, int64_t number)
{
	for (int i = 0; i < g->versions; i++)
		if (g->version[i].is_there && g->version[i].number == number)
			return i;
	return NONE;
}

int64_t graph_number(const struct graph *g, int version)
{
	return version == NONE ? 0 : g->version[version].number;
}

int64_t graph_highest(const struct graph *g)
{
	int64_t highest = 0;

	for (int i = 0; i < g->versions; i++)
		if (g->version[i].is_there && g->version[i].number > highest)
			highest = g->version[i].number;
	return highest;
}

bool graph_is_origin(const struct graph *g, int version)
{
	for (int i = 0; i < GRAPH_BRANCHES; i++)
		if (g->branch[i].is_there && g->branch[i].origin == version)
			return true;
	return false;
}

bool graph_is_tagged(const struct graph *g, int version)
{
	for (int i = 0; i < GRAPH_TAGS; i++)
		if (g->tag[i].version == version)
			return true;
	return false;
}

bool graph_has_children(const struct graph *g, int branch)
{
	for (int i = 0; i < GRAPH_BRANCHES; i++)
		if (g->branch[i].is_there && g->branch[i].origin != NONE &&
		    g->version[g->branch[i].origin].branch == branch)
			return true;
	return false;
}

bool graph_has(const struct graph *g, int branch, int version)
{
	int v = g->branch[branch].newest;

	while (v != NONE && v != version)
		v = g->version[v].parent;
	return v != NONE;
}

/* ---- retention ---- */

static bool is_older(const struct graph_version *v, uint64_t now_ns, unsigned seconds)
{
	return v->time_ns + seconds * UINT64_C(1000000000) <= now_ns;
}

/* Of all versions that its branch ever had. */
static bool is_first_of_its_piece(const struct graph *g, const struct graph_version *v, unsigned seconds)
{
	uint64_t piece_ns = seconds * UINT64_C(1000000000);
	const struct graph_version *before = v->parent == NONE ? NULL : &g->version[v->parent];

	return !before || before->branch != v->branch || before->time_ns / piece_ns != v->time_ns / piece_ns;
}

static bool is_let_go_by_age(const struct graph *g, const struct graph_version *v, const struct policy *p,
                             uint64_t now_ns)
{
	if (p->keep_seconds && is_older(v, now_ns, p->keep_seconds))
		return true;
	for (int i = 1; i >= 0; i--)
		if (p->every[i] && is_older(v, now_ns, p->older[i]))
			return !is_first_of_its_piece(g, v, p->every[i]);
	return false;
}

/* All but the branch's newest. */
static bool is_let_go(const struct graph *g, int version, unsigned rank, const struct policy *p, uint64_t now_ns)
{
	const struct graph_version *v = &g->version[version];

	if (v->views || graph_is_origin(g, version) || graph_is_tagged(g, version))
		return false;
	return (p->versions_kept && rank >= p->versions_kept) || is_let_go_by_age(g, v, p, now_ns);
}

static void branch_age(struct graph *g, int branch, uint64_t now_ns)
{
	int newest = g->branch[branch].newest;
	unsigned rank = 0;

	for (int v = newest; v != NONE && g->version[v].branch == branch; v = g->version[v].parent, rank++)
		if (rank && is_let_go(g, v, rank, &g->version[newest].policy, now_ns))
			g->version[v].may_be_gone = true;
}

void graph_age(struct graph *g, uint64_t now_ns)
{
	for (int i = 0; i < GRAPH_BRANCHES; i++)
		if (g->branch[i].is_there)
			branch_age(g, i, now_ns);
}

void graph_seen(struct graph *g, int version)
{
	g->version[version].may_be_gone = false;
}

bool graph_must(const struct graph *g, int version, bool told)
{
	const struct graph_version *v = &g->version[version];
	const struct graph_branch *b = &g->branch[v->branch];
	unsigned rank = 0, kept = g->version[b->newest].policy.versions_kept;

	if (v->may_be_gone || !told || graph_is_origin(g, version) || graph_is_tagged(g, version))
		return !v->may_be_gone;
	for (int n = b->newest; n != version; n = g->version[n].parent)
		rank++;
	return !kept || rank < kept;
}

/* ---- answers ---- */

void answer_is(struct answer *a, const struct graph *g, int version)
{
	*a = (struct answer){.may_miss = true};
	if (version == NONE)
		return;
	a->may_be[version] = true;
	a->may_miss = !graph_must(g, version, false);
}

void answer_before(struct answer *a, const struct graph *g, int version, unsigned steps)
{
	unsigned all = 0, certain = 0; /* from the one before `version` on, to v */

	*a = (struct answer){.may_miss = false};
	if (!steps)
		return answer_is(a, g, version);
	for (int v = g->version[version].parent; v != NONE && certain < steps; v = g->version[v].parent) {
		bool is_certain = graph_must(g, v, false);

		all++;
		certain += is_certain;
		a->may_be[v] = all >= steps && certain - is_certain < steps;
	}
	a->may_miss = certain < steps;
}

void answer_at(struct answer *a, const struct graph *g, int branch, uint64_t time_ns)
{
	*a = (struct answer){.may_miss = true};
	for (int v = g->branch[branch].newest; v != NONE && a->may_miss; v = g->version[v].parent)
		if (g->version[v].time_ns <= time_ns) {
			a->may_be[v] = true;
			a->may_miss = !graph_must(g, v, false);
		}
}
