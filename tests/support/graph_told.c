/* graph_told.c - see graph_told.h. */
#include "graph_told.h"
#include "expect.h"

#include <string.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

struct telling {
	struct graph *g;
	struct pending *pending;
	int next; /* the version that may come next */
	unsigned n;
	bool is_seen[GRAPH_BRANCHES + GRAPH_TAGS]; /* the branch or tag */
};

static bool version_is(const struct graph *g, const struct pversion *p, int v)
{
	const struct graph_version *m = &g->version[v];

	return p->parent == graph_number(g, m->parent) && (uint64_t)p->time_ns == m->time_ns &&
	       !strcmp(p->message, m->message) && !strcmp(p->branch, g->branch[m->branch].name);
}

static bool version_may_miss(const struct graph *g, int v)
{
	if (!graph_must(g, v, true))
		return true;
	fprintf(stderr, "container %d, branch %s, version %lld is not told\n", g->magic,
	        g->branch[g->version[v].branch].name, (long long)g->version[v].number);
	return false;
}

static int version_check(const struct pversion *p, void *arg)
{
	struct telling *t = arg;

	while (t->next != NONE && graph_number(t->g, t->next) != p->version) {
		if (!version_may_miss(t->g, t->next))
			return 1;
		t->next = t->g->version[t->next].parent;
	}
	EXPECT(t->next != NONE);
	EXPECT(version_is(t->g, p, t->next));
	t->next = t->g->version[t->next].parent;
	t->n++;
	return 0;
}

static int versions_check(struct graph *g, int branch)
{
	struct telling t = {.g = g, .next = g->branch[branch].newest};
	bool is_right = true;

	if (t.next == NONE)
		return 0;
	EXPECT(!pVersions(g->magic, g->branch[branch].name, version_check, &t));
	EXPECT(t.n > 0);
	for (; t.next != NONE && is_right; t.next = g->version[t.next].parent)
		is_right = version_may_miss(g, t.next);
	return !is_right;
}

static int branch_check(const struct pbranch *p, void *arg)
{
	struct telling *t = arg;
	struct graph *g = t->g;
	int b = graph_branch_named(g, p->name), origin;

	EXPECT(b != NONE && !t->is_seen[b] && g->branch[b].is_there && !p->damage);
	t->is_seen[b] = true;
	origin = g->branch[b].origin;
	EXPECT(p->newest == graph_number(g, g->branch[b].newest));
	EXPECT(p->origin == graph_number(g, origin));
	EXPECT(!strcmp(p->parent, origin == NONE ? "" : g->branch[g->version[origin].branch].name));
	EXPECT(p->is_current == (b == g->current));
	if (p->newest)
		EXPECT((uint64_t)p->time_ns == g->version[g->branch[b].newest].time_ns);
	return 0;
}

static int tag_check(const struct ptag *p, void *arg)
{
	struct telling *t = arg;
	int tag = graph_tag_named(t->g, p->name);

	EXPECT(tag != NONE && !t->is_seen[tag] && t->g->tag[tag].version != NONE);
	t->is_seen[tag] = true;
	EXPECT(p->version == graph_number(t->g, t->g->tag[tag].version));
	EXPECT((uint64_t)p->time_ns == t->g->tag[tag].time_ns);
	return 0;
}

static int names_check(struct graph *g)
{
	struct telling branches = {.g = g}, tags = {.g = g};

	EXPECT(!pBranches(g->magic, branch_check, &branches) && !pTags(g->magic, tag_check, &tags));
	for (int b = 0; b < GRAPH_BRANCHES; b++)
		EXPECT(branches.is_seen[b] == g->branch[b].is_there || (!b && g->branch[0].newest == NONE));
	for (int i = 0; i < GRAPH_TAGS; i++)
		EXPECT(tags.is_seen[i] == (g->tag[i].version != NONE));
	return 0;
}

bool graph_is_told(struct graph *g, int branch)
{
	bool is_right = !names_check(g);

	for (int b = 0; b < GRAPH_BRANCHES && is_right; b++)
		if (g->branch[b].is_there && (branch == NONE || b == branch))
			is_right = !versions_check(g, b);
	return is_right;
}

/* ---- after a death ---- */

static bool is_pending(const struct telling *t, enum pending_kind kind, int name)
{
	return t->pending->graph == t->g && t->pending->kind == kind && t->pending->name == name;
}

static int newest_recover(const struct telling *t, int b, int64_t number)
{
	struct graph *g = t->g;
	int durable = g->branch[b].durable, newest = graph_numbered(g, number);

	if (newest == NONE && number) {
		EXPECT(is_pending(t, PENDING_POINT, b) && number > graph_highest(g));
		t->pending->point.number = number;
		newest = graph_add(g, b, &t->pending->point);
	}
	EXPECT(newest == NONE || graph_has(g, b, newest));
	graph_cut(g, b, newest);
	EXPECT(durable == NONE || graph_has(g, b, durable));
	return 0;
}

static int branch_recover(const struct pbranch *p, void *arg)
{
	struct telling *t = arg;
	struct graph *g = t->g;
	int b = graph_branch_named(g, p->name);

	EXPECT(b != NONE && !p->damage);
	t->is_seen[b] = true;
	if (!g->branch[b].is_there) {
		EXPECT(is_pending(t, PENDING_BRANCH, b));
		graph_seen(g, t->pending->version);
		graph_branch_off(g, b, t->pending->version);
	}
	EXPECT(!newest_recover(t, b, p->newest));
	if (p->is_current && b != g->current) {
		EXPECT(is_pending(t, PENDING_CURRENT, b));
		g->current = b;
	}
	return 0;
}

static int tag_recover(const struct ptag *p, void *arg)
{
	struct telling *t = arg;
	int tag = graph_tag_named(t->g, p->name);

	EXPECT(tag != NONE);
	t->is_seen[tag] = true;
	if (t->g->tag[tag].version != NONE)
		return 0;
	EXPECT(is_pending(t, PENDING_TAG, tag));
	graph_seen(t->g, t->pending->version);
	t->g->tag[tag].version = t->pending->version;
	t->g->tag[tag].time_ns = (uint64_t)p->time_ns;
	return 0;
}

/* What was there and is not told must have been on its way out. */
static int lost_recover(const struct telling *branches, const struct telling *tags)
{
	struct graph *g = branches->g;

	for (int b = 1; b < GRAPH_BRANCHES; b++)
		if (g->branch[b].is_there && !branches->is_seen[b]) {
			EXPECT(is_pending(branches, PENDING_BRANCH_DELETE, b));
			graph_branch_remove(g, b);
		}
	for (int i = 0; i < GRAPH_TAGS; i++)
		if (g->tag[i].version != NONE && !tags->is_seen[i]) {
			EXPECT(is_pending(tags, PENDING_TAG_DELETE, i));
			g->tag[i].version = NONE;
		}
	return 0;
}

bool graph_recover(struct graph *g, struct pending *p)
{
	struct telling branches = {.g = g, .pending = p}, tags = branches;

	for (int v = 0; v < g->versions; v++)
		g->version[v].views = 0;
	if (pBranches(g->magic, branch_recover, &branches) || pTags(g->magic, tag_recover, &tags))
		return false;
	if (!branches.is_seen[0] && newest_recover(&branches, 0, 0))
		return false;
	return !lost_recover(&branches, &tags);
}
