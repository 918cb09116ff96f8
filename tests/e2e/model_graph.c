/* model_graph.c - random histories against a model of the version graph (tests/support/graph.h).
 *
 * A sequence is a volume with two containers and some steps: points, switches, clones, views, branches, tags, retention, time that passes,
 * damage to nothing but the process, which is killed at some call on the volume, or ends without a word. The model lies in memory that
 * outlives the process; the next one looks what became of the step that was under way (it was done, or not), and goes on.
 *
 *      the test ---- two lanes ---- a process each 32 sequences, or until one dies
 *
 * After steps, and after each crash, what the library tells of the graph by its public calls must be what the model says, and so must
 * what memory holds of any version. How sequences run (eager or lazy restore, tracker, maintenance as often as possible, at which slices each
 * process begins) follows from the seed: $SOFTPM_MODEL_SEED is that of the first sequence, the others have those after it,
 * $SOFTPM_MODEL_SEQUENCES tells how many. The volume of a sequence that fails is kept.
 */
#include "expect.h"
#include "graph_refs.h"
#include "graph_told.h"
#include "heap/heap.h"
#include "inject.h"
#include "scratch.h"
#include "softpm.h"
#include "volume/volume.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { GRAPHS = 2, HANDLES = 6, LANES = 2, BATCH = 32, TRACES = 200, STEPS_LEAST = 10, STEPS_MORE = 25 };
enum { FAILED = 99, DIED = 98, SPEED = 10 };

/* Of one lane; it outlives its processes. */
struct world {
	_Atomic uint64_t now_ns;
	uint64_t seed, first_of_process, random, left;
	unsigned steps, step, deaths_left;
	bool is_under_way;
	struct graph graph[GRAPHS];
	struct pending pending;
	char trace[TRACES][160];
	unsigned traced;
	uint64_t sequences, crashes, points, switches, clones, views, moved, gone, lazy;
};
static struct world *world;

/* A container that is open in this process. */
struct handle {
	int id;
	struct graph *graph;
	struct things *root;
	struct content content;
	struct policy policy;
	bool is_view;
	int branch;  /* that it extends; of a view: that of its version */
	int version; /* that it was opened at or that its last point made; NONE */
	bool is_dirty, is_policy_changed, is_restored;
	bool is_touched; /* it, or what lies beside it, was changed, be it back again */
};
static struct handle handles[HANDLES];

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(FAILED))

static unsigned below(unsigned n)
{
	return (unsigned)(test_random(&world->random) % n);
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	char *line = world->trace[world->traced++ % TRACES];
	va_list args;
	int n = snprintf(line, sizeof(world->trace[0]), "%3u  ", world->step);

	va_start(args, format);
	vsnprintf(line + n, sizeof(world->trace[0]) - (size_t)n, format, args);
	va_end(args);
}

/* ---- handles ---- */

static struct handle *handle_random(void)
{
	unsigned first = below(HANDLES);

	for (unsigned i = 0; i < HANDLES; i++)
		if (handles[(first + i) % HANDLES].id)
			return &handles[(first + i) % HANDLES];
	return NULL;
}

static struct handle *handle_free(void)
{
	for (unsigned i = 0; i < HANDLES; i++)
		if (!handles[i].id)
			return &handles[i];
	return NULL;
}

/* Who writes the branch here. */
static struct handle *writer_of(const struct graph *g, int branch)
{
	for (unsigned i = 0; i < HANDLES; i++)
		if (handles[i].id && handles[i].graph == g && !handles[i].is_view && handles[i].branch == branch)
			return &handles[i];
	return NULL;
}

static void view_count(const struct handle *h, bool is_more)
{
	if (h->is_view)
		h->graph->version[h->version].views += is_more ? 1 : -1u;
}

static void handle_check(const struct handle *h)
{
	if (things_are(h->root, &h->content, h->is_restored))
		return;
	fprintf(stderr, "container %d, %s %s, version %lld: memory differs\n", h->graph->magic,
	        h->is_view ? "view on" : "branch", h->graph->branch[h->branch].name,
	        (long long)graph_number(h->graph, h->version));
	_exit(FAILED);
}

/* It shows a version now. */
static void handle_show(struct handle *h, void *root, bool is_view, int branch, int version)
{
	const struct graph_version *v = &h->graph->version[version];

	h->root = root;
	h->is_view = is_view;
	h->branch = is_view ? v->branch : branch;
	h->version = version;
	h->content = v->content;
	h->policy = v->policy;
	h->is_dirty = h->is_touched = h->is_policy_changed = false;
	h->is_restored = true;
	if (is_view)
		graph_seen(h->graph, version);
	view_count(h, true);
	handle_check(h);
}

static void handle_forget(struct handle *h)
{
	view_count(h, false);
	*h = (struct handle){.id = 0};
}

/* All calls that look at versions to name or open one wait for the points of the container's open branches. */
static void all_durable(struct graph *g)
{
	for (int b = 0; b < GRAPH_BRANCHES; b++)
		g->branch[b].durable = g->branch[b].newest;
}

/* Those that have to do with one wait for its own. */
static void own_durable(const struct handle *h)
{
	if (!h->is_view)
		h->graph->branch[h->branch].durable = h->graph->branch[h->branch].newest;
}

/* Those that only tell of them don't. */
static void graph_sync(struct graph *g)
{
	for (unsigned i = 0; i < HANDLES; i++)
		if (handles[i].id && handles[i].graph == g)
			EXPECT(!pSync(handles[i].id));
	all_durable(g);
}

static void pending_set(const struct pending *p)
{
	world->pending = *p;
}

static void pending_done(void)
{
	world->pending.kind = PENDING_NOTHING;
	for (unsigned i = 0; i < GRAPHS; i++)
		graph_age(&world->graph[i], world->now_ns);
}

/* ---- refs ---- */

static int first_note(const struct pversion *v, void *arg)
{
	*(int64_t *)arg = v->version;
	return 1;
}

static int answers(const struct answer *a, int *only)
{
	int n = 0;

	for (int v = 0; v < GRAPH_VERSIONS; v++)
		if (a->may_be[v]) {
			n++;
			*only = v;
		}
	return n;
}

/* If it is not sure what it means, the library is asked first, and then the ref is that version's number. Only for refs that mean the same
 * to all calls. *version NONE: nothing; may_miss: it may be gone by now. */
static void target_settle(struct target *t, struct graph *g, int *version)
{
	int64_t number = 0;
	int result, choices;

	*version = NONE;
	choices = answers(&t->answer, version);
	if (choices + t->answer.may_miss == 1)
		return;
	graph_sync(g);
	result = pVersions(g->magic, t->ref, first_note, &number);
	*version = graph_numbered(g, number);
	if (result < 0) {
		note("%s means nothing", t->ref); /* be it that it was dropped when it had been found */
		EXPECT(errno == ENOENT && (t->answer.may_miss || choices > 1));
		t->answer.may_miss = true;
		*version = NONE;
		return;
	}
	note("%s is version %lld", t->ref, (long long)number);
	EXPECT(result == 1 && *version != NONE && t->answer.may_be[*version]);
	answer_is(&t->answer, g, *version);
	t->is_branch = false;
	if (t->branch == NONE)
		snprintf(t->ref, sizeof(t->ref), "%lld", (long long)number);
	else
		snprintf(t->ref, sizeof(t->ref), "%s:%lld", g->branch[t->branch].name, (long long)number);
}

static void target_pick(struct target *t, struct graph *g, int context, int *version)
{
	target_choose(t, g, g->current == context ? context : NONE, &world->random);
	target_settle(t, g, version);
}

/* ---- what the library tells ---- */

/* Names, and the versions of one branch or all. */
static void graph_check(struct graph *g, bool is_thorough)
{
	graph_sync(g);
	EXPECT(graph_is_told(g, is_thorough ? NONE : branch_random(g, &world->random)));
}

/* Opens and compares. NULL: it is not there, which it may be. */
static struct handle *view_open(struct graph *g, const struct target *t, int version, struct handle *h)
{
	void *root;
	int id = pCOpenAt(g->magic, t->ref, &root);

	note("pCOpenAt(%d, \"%s\") = %d", g->magic, t->ref, id);
	all_durable(g);
	if (!id) {
		EXPECT(errno == ENOENT && t->answer.may_miss);
		return NULL;
	}
	EXPECT(version != NONE);
	h->id = id;
	h->graph = g;
	handle_show(h, root, true, t->branch, version);
	world->views++;
	return h;
}

static int damage_show(const char *sentence, void *arg)
{
	(void)arg;
	fprintf(stderr, "pCheck: %s\n", sentence);
	return 0;
}

/* All that there is of the container. */
static void whole_check(struct graph *g)
{
	struct target t;
	struct handle h = {.id = 0};
	int64_t whole;
	int version;

	if (g->branch[0].newest == NONE)
		return;
	graph_check(g, true);
	for (unsigned i = 0; i < 3; i++) {
		target_pick(&t, g, g->current, &version);
		if (view_open(g, &t, version, &h)) {
			pCFree(h.id);
			handle_forget(&h);
			pending_done();
		}
	}
	EXPECT(pCheck(g->magic, damage_show, NULL, &whole) == 0);
	EXPECT(whole == graph_number(g, g->branch[g->current].newest));
	for (int v = 0; v < g->versions; v++) {
		snprintf(t.ref, sizeof(t.ref), "%lld", (long long)g->version[v].number);
		if (g->version[v].is_there && g->version[v].may_be_gone &&
		    pVersions(g->magic, t.ref, first_note, &whole) < 0)
			world->gone++;
	}
}

/* ---- steps ---- */

static struct graph *graph_random(void)
{
	return &world->graph[below(5) == 0];
}

static void policy_of(const struct cattr *a, struct policy *p)
{
	*p = (struct policy){.versions_kept = a->versions_kept, .keep_seconds = a->keep_seconds};
	for (unsigned i = 0; i < 2; i++) {
		p->older[i] = a->thin[i].older_than_seconds;
		p->every[i] = a->thin[i].every_seconds;
	}
}

/* Containers may share pages. */
static void neighbours_touch(void)
{
	for (unsigned i = 0; i < HANDLES; i++)
		handles[i].is_touched = true;
}

static void step_change(struct handle *h)
{
	const struct graph_version *v = h->version == NONE ? NULL : &h->graph->version[h->version];

	if (below(2))
		EXPECT(!pCUse(below(2) ? h->id : 0));
	EXPECT(!things_change(h->id, h->root, &h->content, &world->random));
	h->is_dirty = !v || memcmp(&v->content, &h->content, sizeof(h->content)) != 0;
	neighbours_touch();
	h->is_restored = false;
	note("%d: changes%s", h->id, h->is_dirty ? "" : " nothing");
}

static void step_attributes(struct handle *h)
{
	struct cattr attr = {.chunk_bytes = 4096u << (below(4) == 0 ? below(3) : 0), .stop_threads = below(2)};

	attr.versions_kept = below(5);
	if (below(3) == 0)
		attr.keep_seconds = 1 + below(100000);
	if (below(3) == 0) {
		attr.thin[0].older_than_seconds = 1 + below(1000);
		attr.thin[0].every_seconds = 1 + below(10000);
		if (below(2)) {
			attr.thin[1].older_than_seconds = attr.thin[0].older_than_seconds + 1 + below(10000);
			attr.thin[1].every_seconds = 1 + below(100000);
		}
	}
	attr.full_trace_every = below(3);
	note("%d: keeps %u, %u s, one of %u after %u, of %u after %u", h->id, attr.versions_kept, attr.keep_seconds,
	     attr.thin[0].every_seconds, attr.thin[0].older_than_seconds, attr.thin[1].every_seconds,
	     attr.thin[1].older_than_seconds);
	EXPECT(!pCSetAttr(h->id, &attr));
	policy_of(&attr, &h->policy);
	h->is_policy_changed = true;
}

static void point_acknowledge(struct handle *h, struct graph_version *v, int64_t number, bool is_sync)
{
	struct graph *g = h->graph;

	if (number == graph_number(g, g->branch[h->branch].newest)) {
		EXPECT(!h->is_dirty && !h->is_policy_changed);
	} else {
		EXPECT(number > graph_highest(g));
		EXPECT(g->versions < GRAPH_VERSIONS);
		v->number = number;
		h->version = graph_add(g, h->branch, v);
	}
	if (is_sync)
		own_durable(h);
	h->is_dirty = h->is_touched = h->is_policy_changed = false;
	world->points++;
}

static void step_point(struct handle *h)
{
	struct pending p = {.kind = PENDING_POINT, .graph = h->graph, .name = h->branch};
	struct graph_version *v = &p.point;
	unsigned kind = below(3);
	int64_t number;

	*v = (struct graph_version){.content = h->content, .policy = h->policy, .time_ns = world->now_ns};
	if (kind == 0)
		snprintf(v->message, sizeof(v->message), "step %u, %u", world->step, below(100));
	if (!h->is_view)
		pending_set(&p);
	number = kind == 0 ? pPointMsg(h->id, v->message) : kind == 1 ? pPoint(h->id) : pPointSync(h->id);
	note("%d: %s = %lld", h->id, kind == 0 ? "pPointMsg" : kind == 1 ? "pPoint" : "pPointSync", (long long)number);
	if (h->is_view) {
		EXPECT(!number && errno == EROFS);
		return;
	}
	EXPECT(number);
	point_acknowledge(h, v, number, kind == 2);
	pending_done();
}

static void step_sync(struct handle *h)
{
	EXPECT(!pSync(h->id));
	note("%d: pSync", h->id);
	own_durable(h);
}

/* No point is under way whose time would not be known. */
static void step_time(void)
{
	for (unsigned i = 0; i < HANDLES; i++)
		if (handles[i].id)
			step_sync(&handles[i]);
	world->now_ns += (1 + below(below(4) ? 100 : 200000)) * UINT64_C(1000000000);
	note("time passes");
	pending_done();
}

static bool switch_may(const struct handle *h, const struct target *t, int version, bool is_forced, int *error)
{
	const struct handle *writer = version != NONE && t->is_branch ? writer_of(h->graph, t->branch) : NULL;

	*error = 0;
	if (version == NONE)
		*error = ENOENT;
	else if (!is_forced && !h->is_view && (h->is_dirty || h->version == NONE))
		*error = EBUSY;
	else if (writer && writer != h)
		*error = EBUSY;
	return !*error;
}

static void step_switch(struct handle *h)
{
	struct graph *g = h->graph;
	struct pending p = {.kind = PENDING_CURRENT, .graph = g};
	bool is_forced = below(2);
	int version, error, result;
	struct target t;
	char ref[140];
	void *root;

	target_pick(&t, g, h->branch, &version);
	snprintf(ref, sizeof(ref), "%s%s", is_forced ? "!" : "", t.ref);
	if (switch_may(h, &t, version, is_forced, &error) && t.is_branch) {
		p.name = t.branch;
		pending_set(&p);
	}
	result = pCSwitch(h->id, ref, &root);
	note("%d: pCSwitch(\"%s\") = %d", h->id, ref, result);
	all_durable(g);
	if (result) {
		EXPECT(errno == error || (errno == ENOENT && t.answer.may_miss) ||
		       (errno == EBUSY && !is_forced && h->is_touched && !h->is_view));
	} else {
		EXPECT(!error);
		neighbours_touch();
		view_count(h, false);
		h->is_view = false;
		handle_show(h, root, !t.is_branch, t.branch, version);
		if (t.is_branch)
			g->current = t.branch;
		world->switches++;
	}
	pending_done();
}

static void step_clone(struct handle *h)
{
	struct graph *g = h->graph;
	int b = (int)below(GRAPH_BRANCHES), origin = h->is_view ? h->version : g->branch[h->branch].newest, id;
	struct pending p = {.kind = PENDING_BRANCH, .graph = g, .name = b, .version = origin};
	struct handle *clone = handle_free();
	bool is_there = g->branch[b].is_there;
	void *root;

	if (!clone)
		return;
	if (!is_there && origin != NONE)
		pending_set(&p);
	id = pCClone(h->id, g->branch[b].name, &root);
	note("%d: pCClone(\"%s\") = %d", h->id, g->branch[b].name, id);
	own_durable(h);
	if (!id) {
		EXPECT(origin == NONE ? errno == ENOENT : is_there && errno == EEXIST);
		return;
	}
	EXPECT(!is_there && origin != NONE);
	graph_seen(g, origin);
	graph_branch_off(g, b, origin);
	clone->id = id;
	clone->graph = g;
	handle_show(clone, root, false, b, origin);
	world->clones++;
	pending_done();
}

static void step_view(struct graph *g)
{
	struct handle *h = handle_free();
	struct target t;
	int version;

	if (!h)
		return;
	target_pick(&t, g, g->current, &version);
	view_open(g, &t, version, h);
	pending_done();
}

static void moved_count(int magic)
{
	struct pstats s;

	if (!pStats(magic, &s))
		world->moved += s.words_moved > 0;
}

static void step_close(struct handle *h)
{
	note("%d: pCFree", h->id);
	handle_check(h);
	neighbours_touch();
	pCFree(h->id);
	own_durable(h);
	handle_forget(h);
	pending_done();
}

/* Made anew, or brought back. */
static void step_open(struct graph *g)
{
	struct handle *h = handle_free();
	bool is_new = g->branch[0].newest == NONE, is_open = writer_of(g, is_new ? 0 : g->current);
	void *root;

	if (!h)
		return;
	h->id = is_new ? pCAlloc(g->magic, sizeof(struct things), &root) : pCRestore(g->magic, &root);
	note("%s(%d) = %d", is_new ? "pCAlloc" : "pCRestore", g->magic, h->id);
	if (is_open) {
		EXPECT(!h->id && errno == EBUSY);
		return;
	}
	EXPECT(h->id);
	h->graph = g;
	if (!is_new) {
		handle_show(h, root, false, g->current, g->branch[g->current].newest);
		moved_count(g->magic);
		return;
	}
	h->root = root;
	h->version = NONE;
	h->policy.versions_kept = 16;
	h->is_dirty = true;
	handle_check(h);
}

/* Of a container that is open, or of any. */
static void step_tag(struct graph *g, struct handle *h)
{
	int tag = (int)below(GRAPH_TAGS), version, result;
	bool is_taken = g->tag[tag].version != NONE, is_own = h && below(2);
	struct pending p = {.kind = PENDING_TAG, .graph = g, .name = tag};
	struct target t = {.ref = ""};

	if (is_own) {
		version = h->is_view ? h->version : g->branch[h->branch].newest;
		answer_is(&t.answer, g, version);
	} else {
		target_pick(&t, g, g->current, &version);
		h = NULL;
	}
	p.version = version;
	if (!is_taken && version != NONE)
		pending_set(&p);
	result = h ? pCTag(h->id, g->tag[tag].name, below(2) ? "" : NULL) : pTag(g->magic, g->tag[tag].name, t.ref);
	note("%s(%d, \"%s\", \"%s\") = %d", h ? "pCTag" : "pTag", g->magic, g->tag[tag].name, t.ref, result);
	all_durable(g);
	if (result) {
		EXPECT((is_taken && errno == EEXIST) || (errno == ENOENT && t.answer.may_miss));
	} else {
		EXPECT(!is_taken && version != NONE);
		graph_seen(g, version);
		g->tag[tag].version = version;
		g->tag[tag].time_ns = world->now_ns;
	}
	pending_done();
}

static void step_tag_delete(struct graph *g)
{
	int tag = (int)below(GRAPH_TAGS), result;
	struct pending p = {.kind = PENDING_TAG_DELETE, .graph = g, .name = tag};
	bool is_there = g->tag[tag].version != NONE;

	pending_set(&p);
	result = pTagDelete(g->magic, g->tag[tag].name);
	note("pTagDelete(%d, \"%s\") = %d", g->magic, g->tag[tag].name, result);
	EXPECT(is_there ? !result : result && errno == ENOENT);
	g->tag[tag].version = NONE;
	pending_done();
}

static void step_branch(struct graph *g)
{
	int b = (int)below(GRAPH_BRANCHES), version, result;
	struct pending p = {.kind = PENDING_BRANCH, .graph = g, .name = b};
	bool is_there = g->branch[b].is_there;
	struct target t;

	target_pick(&t, g, g->current, &version);
	p.version = version;
	if (!is_there && version != NONE)
		pending_set(&p);
	result = pBranch(g->magic, g->branch[b].name, t.ref);
	note("pBranch(%d, \"%s\", \"%s\") = %d", g->magic, g->branch[b].name, t.ref, result);
	all_durable(g);
	if (result) {
		EXPECT((is_there && errno == EEXIST) || (errno == ENOENT && t.answer.may_miss));
	} else {
		EXPECT(!is_there && version != NONE);
		graph_seen(g, version);
		graph_branch_off(g, b, version);
	}
	pending_done();
}

static bool is_viewed(const struct graph *g, int branch)
{
	for (int v = 0; v < g->versions; v++)
		if (g->version[v].is_there && g->version[v].branch == branch && g->version[v].views)
			return true;
	return false;
}

static bool has_tags(const struct graph *g, int branch)
{
	for (int i = 0; i < GRAPH_TAGS; i++)
		if (g->tag[i].version != NONE && g->version[g->tag[i].version].branch == branch)
			return true;
	return false;
}

static void step_branch_delete(struct graph *g)
{
	int b = (int)below(GRAPH_BRANCHES), result, error;
	struct pending p = {.kind = PENDING_BRANCH_DELETE, .graph = g, .name = b};
	bool is_busy = b == g->current || writer_of(g, b) || graph_has_children(g, b) || has_tags(g, b);
	bool is_there = g->branch[b].is_there;

	pending_set(&p);
	result = pBranchDelete(g->magic, g->branch[b].name);
	error = errno;
	note("pBranchDelete(%d, \"%s\") = %d", g->magic, g->branch[b].name, result);
	if (!b)
		EXPECT(result && error == EINVAL);
	else if (!is_there)
		EXPECT(result && error == ENOENT);
	else if (is_busy || is_viewed(g, b))
		EXPECT(result && ((is_busy && error == EBUSY) || (is_viewed(g, b) && error == EAGAIN)));
	else
		EXPECT(!result);
	if (!result)
		graph_branch_remove(g, b);
	pending_done();
}

static void step_branch_switch(struct graph *g)
{
	int b = (int)below(GRAPH_BRANCHES), result;
	struct pending p = {.kind = PENDING_CURRENT, .graph = g, .name = b};

	if (g->branch[b].is_there)
		pending_set(&p);
	result = pBranchSwitch(g->magic, g->branch[b].name);
	note("pBranchSwitch(%d, \"%s\") = %d", g->magic, g->branch[b].name, result);
	EXPECT(g->branch[b].is_there ? !result : result && errno == ENOENT);
	if (!result)
		g->current = b;
	pending_done();
}

struct differences {
	uint64_t pages, bytes, object_bytes, in_first, in_second;
};

static int difference_add(const struct pdifference *p, void *arg)
{
	struct differences *d = arg;

	EXPECT(p->is_in_first || p->is_in_second);
	EXPECT(p->bytes <= p->size);
	if (p->is_object) {
		d->object_bytes += p->bytes;
		return 0;
	}
	EXPECT(p->size == 4096 && ((uintptr_t)p->address & 4095) == 0);
	d->pages++;
	d->bytes += p->bytes;
	d->in_first += p->is_in_first != 0;
	d->in_second += p->is_in_second != 0;
	return 0;
}

/* What differs in one direction differs in the other; and what has other contents does differ. */
static void step_diff(struct graph *g)
{
	struct differences there = {0}, back = {0};
	struct target a, b;
	int first, second;

	target_pick(&a, g, g->current, &first);
	target_pick(&b, g, g->current, &second);
	if (a.answer.may_miss || b.answer.may_miss || first == NONE || second == NONE)
		return;
	note("pDiff(%d, \"%s\", \"%s\")", g->magic, a.ref, b.ref);
	EXPECT(!pDiff(g->magic, a.ref, b.ref, difference_add, &there));
	EXPECT(!pDiff(g->magic, b.ref, a.ref, difference_add, &back));
	all_durable(g);
	EXPECT(there.pages == back.pages && there.bytes == back.bytes);
	EXPECT(there.object_bytes >= there.bytes && back.object_bytes == there.object_bytes);
	EXPECT(there.in_first == back.in_second && there.in_second == back.in_first);
	if (first == second)
		EXPECT(!there.bytes);
	if (memcmp(&g->version[first].content, &g->version[second].content, sizeof(struct content)))
		EXPECT(there.bytes);
}

/* What retention lets go; and not what it keeps, which the next look will tell. */
static void step_prune(struct graph *g)
{
	EXPECT(!pPrune(g->magic, NULL));
	note("pPrune(%d)", g->magic);
	pending_done();
}

/* ---- sequences ---- */

static void handle_step(struct handle *h)
{
	unsigned kind = below(24);

	if (kind < 10) {
		if (below(10))
			step_change(h);
		step_point(h);
	} else if (kind < 12) {
		step_change(h);
	} else if (kind < 17) {
		step_switch(h);
	} else if (kind < 19) {
		step_clone(h);
	} else if (kind < 21) {
		step_attributes(h);
	} else if (kind < 22) {
		step_sync(h);
	} else {
		step_close(h);
	}
}

static void graph_step(struct graph *g)
{
	static void (*const steps[])(struct graph * g) = {step_view,          step_view,   step_open,
	                                                  step_tag_delete,    step_branch, step_branch_delete,
	                                                  step_branch_switch, step_diff,   step_prune};
	struct handle *h = handle_random();
	unsigned kind = below(11);

	if (g->branch[0].newest == NONE)
		step_open(g);
	else if (kind < 9)
		steps[kind](g);
	else
		step_tag(g, h && h->graph == g ? h : NULL);
}

static void volume_open(void);

/* The volume is closed, or the process ends without a word. */
static void step_end(void)
{
	if (below(2) && world->deaths_left) {
		world->deaths_left--;
		note("the process ends");
		_exit(DIED);
	}
	for (unsigned i = 0; i < HANDLES; i++)
		if (handles[i].id)
			handle_check(&handles[i]);
	EXPECT(!pVClose());
	note("pVClose");
	for (unsigned i = 0; i < HANDLES; i++)
		if (handles[i].id)
			handle_forget(&handles[i]);
	for (unsigned i = 0; i < GRAPHS; i++)
		all_durable(&world->graph[i]);
	volume_open();
}

static void step(void)
{
	struct handle *h = handle_random();
	unsigned kind = below(28);

	if (!h && kind < 18)
		step_open(graph_random());
	else if (kind < 18)
		handle_step(h);
	else if (kind < 26)
		graph_step(graph_random());
	else if (kind == 26)
		step_time();
	else
		step_end();
	if (below(3) == 0)
		graph_check(graph_random(), false);
	h = handle_random();
	if (h)
		handle_check(h);
}

static const char *volume_path; /* the lane's */

static void volume_open(void)
{
	if (pVOpen(volume_path)) {
		fprintf(stderr, "pVOpen: %s\n", pErrorMsg());
		_exit(FAILED);
	}
}

/* Perhaps the process is to die at one of the calls to come. */
static void death_plan(void)
{
	if (!world->deaths_left || below(2))
		return;
	world->deaths_left--;
	inject_start(INJECT_KILL, 0, 1 + below(below(2) ? 100 : 1500), 0);
}

static void sequence_begin(void)
{
	world->random = world->seed;
	world->traced = world->step = 0;
	world->steps = STEPS_LEAST + below(STEPS_MORE);
	world->deaths_left = below(4);
	world->now_ns = UINT64_C(1800000000000000000) + below(1000000) * UINT64_C(1000000000);
	for (unsigned i = 0; i < GRAPHS; i++)
		graph_begin(&world->graph[i], (int)i + 1);
	world->pending.kind = PENDING_NOTHING;
	unlink(volume_path);
	volume_open();
	world->is_under_way = true;
	death_plan();
}

static void sequence_run(void)
{
	while (world->step < world->steps) {
		world->step++;
		step();
	}
	for (unsigned i = 0; i < GRAPHS; i++)
		whole_check(&world->graph[i]);
	inject_start(INJECT_NOTHING, 0, 0, 0);
	EXPECT(!pVClose());
	memset(handles, 0, sizeof(handles));
	world->is_under_way = false;
	world->sequences++;
	world->seed++;
	world->left--;
}

/* ---- after a death ---- */

static void recover(void)
{
	note("(another process)");
	death_plan();
	volume_open();
	for (unsigned i = 0; i < GRAPHS; i++)
		EXPECT(graph_recover(&world->graph[i], &world->pending));
	pending_done();
	for (unsigned i = 0; i < GRAPHS; i++)
		graph_check(&world->graph[i], true);
}

/* ---- processes ---- */

/* The same for each process, or not; of one batch in four at the window's ends. */
static void start_set(uint64_t mode)
{
	uint64_t random = mode & 0x80 ? mode : mode + world->seed * 64 + world->step;
	uint64_t start = test_random(&random);
	char number[24];

	if (!(mode & 0xc00))
		start = SPM_SLICES - 2 + start % 4; /* after the last slice comes the first */
	snprintf(number, sizeof(number), "%llu", (unsigned long long)start);
	setenv("SOFTPM_HEAP_START", number, 1);
}

static void mode_set(void)
{
	uint64_t random = world->seed / BATCH;
	uint64_t mode = test_random(&random);

	start_set(mode);
	if (mode & 1)
		setenv("SOFTPM_TRACK", mode & 2 ? "wp" : "mprotect", 1);
	if (mode & 4)
		setenv("SOFTPM_RESTORE", mode & 8 ? "lazy" : "eager", 1);
	if ((mode & 0x70) == 0)
		setenv("SOFTPM_FREEZE", "clone", 1);
	inject_volume_flags(mode & 0x300 ? VOLUME_EAGER : 0);
}

static void process_run(void)
{
	alarm(100);
	for (int i = 1; i < NSIG; i++)
		if (i == SIGSEGV || i == SIGBUS || i == SIGABRT || i == SIGFPE)
			signal(i, SIG_DFL); /* cmocka's handlers would go on with the parent's tests */
	mode_set();
	if (world->is_under_way) {
		recover();
		sequence_run();
	}
	while (world->left && (world->seed % BATCH || world->seed == world->first_of_process)) {
		sequence_begin();
		sequence_run();
	}
	_exit(0);
}

static void trace_show(int status)
{
	unsigned from = world->traced > TRACES ? world->traced - TRACES : 0;

	fprintf(stderr, "the process ended with status 0x%x at step %u of the sequence with seed %llu:\n", status,
	        world->step, (unsigned long long)world->seed);
	for (unsigned i = from; i < world->traced; i++)
		fprintf(stderr, "%s\n", world->trace[i % TRACES]);
	fprintf(stderr,
	        "alone: SOFTPM_MODEL_SEED=%llu SOFTPM_MODEL_SEQUENCES=1; after those that its process had: "
	        "SOFTPM_MODEL_SEED=%llu SOFTPM_MODEL_SEQUENCES=%llu\n",
	        (unsigned long long)world->seed, (unsigned long long)world->first_of_process,
	        (unsigned long long)(world->seed - world->first_of_process + 1));
}

/* Outside the folder, which goes. */
static void volume_keep(void)
{
	const char *base = getenv("TMPDIR");
	char kept[512];

	snprintf(kept, sizeof(kept), "%s/softpm-model-%llu.vol", base ? base : ".", (unsigned long long)world->seed);
	if (!rename(volume_path, kept))
		fprintf(stderr, "its volume, as the process left it: %s\n", kept);
}

static int lane_run(void)
{
	int status;
	pid_t child;

	while (world->left) {
		if (!world->is_under_way)
			world->first_of_process = world->seed;
		child = fork();
		if (!child)
			process_run();
		waitpid(child, &status, 0);
		if (status == SIGKILL || status == DIED << 8) {
			world->crashes++;
		} else if (status) {
			trace_show(status);
			volume_keep();
			return 1;
		}
	}
	return 0;
}

static void histories_are_as_the_model_says(void **state)
{
	uint64_t all = test_number("SOFTPM_MODEL_SEQUENCES", 5000), seed = test_number("SOFTPM_MODEL_SEED", 0);
	struct world *lane[LANES];
	unsigned lanes = all < 2 * BATCH ? 1 : LANES;
	pid_t child[LANES];
	char name[16];
	int status, failed = 0;

	(void)state;
	if (!seed)
		seed = test_seed() >> 16;
	printf("SOFTPM_MODEL_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	for (unsigned i = 0; i < lanes; i++) {
		world = lane[i] = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		world->left = all / lanes + (i < all % lanes);
		world->seed = seed + (i ? lane[0]->left : 0);
		snprintf(name, sizeof(name), "lane%u.vol", i);
		volume_path = strdup(scratch(name));
		child[i] = fork();
		if (!child[i]) {
			inject_clock(&world->now_ns, SPEED);
			inject_volume(volume_path);
			_exit(lane_run());
		}
	}
	for (unsigned i = 0; i < lanes; i++) {
		waitpid(child[i], &status, 0);
		failed |= status;
		printf("%llu sequences, %llu deaths, %llu points, %llu switches, %llu clones, %llu views, %llu "
		       "versions gone, "
		       "%llu containers moved\n",
		       (unsigned long long)lane[i]->sequences, (unsigned long long)lane[i]->crashes,
		       (unsigned long long)lane[i]->points, (unsigned long long)lane[i]->switches,
		       (unsigned long long)lane[i]->clones, (unsigned long long)lane[i]->views,
		       (unsigned long long)lane[i]->gone, (unsigned long long)lane[i]->moved);
	}
	assert_int_equal(failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(histories_are_as_the_model_says)};

	setenv("TZ", "UTC", 1);
	if (!getenv("TMPDIR") && !access("/dev/shm", W_OK))
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
