/* graph.c - all versions of a container as one row, newest first, with lines from each to the one before it.
 *
 *     o      (try)        Each branch with versions of its own is a lane. A lane takes a column when its newest version is drawn,
 *   o |      (*main)      to the right of the lane that it comes from, and gives it back where it began: just above its origin, which
 *   | o                   stands on that other lane. So no line leads upwards: a version is drawn before the one that it was made
 *   |/                    from, whatever the clocks said.
 *   o        (v1)
 *
 * Invariants: a lane's column is higher than that of its parent; the version at which a lane stands is drawn only when all lanes
 * that begin there, or below, have been drawn.
 */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_COLUMN = -1 };

struct lane {
	const struct branch *branch;
	struct lane *parent;  /* NULL: it began empty, or with what can't be read */
	struct pversion *own; /* newest first; the messages are copies */
	size_t n, at;         /* at: the next to be drawn */
	int column;
};

struct graph {
	struct lane *lane;
	size_t lanes;
	struct lane **column; /* who has it, or NULL; as many as lanes */
	size_t columns;       /* that were ever taken */
	uint64_t limit;       /* more of one lane are never asked for */
	char *lines;
};

/* ---- reading ---- */

struct reading {
	struct lane *lane;
	uint64_t limit;
};

static int own_add(const struct pversion *v, void *arg)
{
	struct reading *r = arg;
	struct lane *l = r->lane;

	if (l->n == r->limit || strcmp(v->branch, l->branch->name) != 0)
		return 1;             /* from here on they are those of the branch that it comes from */
	if ((l->n & (l->n + 1)) == 0) /* full: 0, 1, 3, 7, ... */
		l->own = realloc(l->own, (l->n * 2 + 1) * sizeof(*l->own));
	if (!l->own)
		out_of_memory();
	l->own[l->n] = *v;
	l->own[l->n].branch = l->branch->name;
	l->own[l->n].message = strdup(v->message);
	if (!l->own[l->n++].message)
		out_of_memory();
	return 0;
}

static struct lane *lane_find(const struct graph *g, const char *branch)
{
	for (size_t i = 0; i < g->lanes; i++)
		if (!strcmp(g->lane[i].branch->name, branch))
			return &g->lane[i];
	return NULL;
}

struct graph *graph_read(const struct listed *c, const struct names *names, uint64_t limit, int *status)
{
	struct graph *g = calloc(1, sizeof(*g));

	if (!g)
		out_of_memory();
	g->lane = calloc(names->branches, sizeof(*g->lane));
	g->column = calloc(names->branches, sizeof(struct lane *));
	g->lines = malloc(names->branches * 2 + 1);
	if (names->branches && (!g->lane || !g->column || !g->lines))
		out_of_memory();
	for (size_t i = 0; i < names->branches; i++) {
		const struct branch *b = &names->branch[i];
		struct lane *l = &g->lane[g->lanes];

		if (!*b->name)
			*status = complain("a branch: %s", b->damage);
		if (!*b->name || (!b->damage && !branch_has_own(b)))
			continue;
		*l = (struct lane){.branch = b, .column = NO_COLUMN};
		if (pVersions(c->magic, b->name, own_add, &(struct reading){l, limit}) < 0)
			*status = complain("branch %s: %s", b->name, pErrorMsg());
		g->lanes++;
	}
	for (size_t i = 0; i < g->lanes; i++)
		g->lane[i].parent = lane_find(g, g->lane[i].branch->parent);
	return g;
}

void graph_free(struct graph *g)
{
	for (size_t i = 0; i < g->lanes; i++) {
		for (size_t j = 0; j < g->lane[i].n; j++)
			free((char *)(uintptr_t)g->lane[i].own[j].message);
		free(g->lane[i].own);
	}
	free(g->lane);
	free(g->column);
	free(g->lines);
	free(g);
}

bool graph_is_line(const struct graph *g)
{
	return g->lanes < 2;
}

/* ---- the order ---- */

static bool is_drawn(const struct lane *l)
{
	return l->at == l->n;
}

/* Whether the lane comes from the version at which `from` stands, or one below. */
static bool begins_at(const struct lane *l, const struct lane *from)
{
	return l->parent == from && l->branch->origin >= from->own[from->at].version;
}

static bool is_blocked(const struct graph *g, const struct lane *l)
{
	for (size_t i = 0; i < g->lanes; i++)
		if (!is_drawn(&g->lane[i]) && begins_at(&g->lane[i], l))
			return true;
	return false;
}

static bool is_newer(const struct lane *a, const struct lane *b)
{
	const struct pversion *one = &a->own[a->at], *other = &b->own[b->at];

	return one->time_ns != other->time_ns ? one->time_ns > other->time_ns : one->version > other->version;
}

/* The last ones are most likely the newest: so few are asked whether they are blocked, which takes long. */
static struct lane *lane_next(const struct graph *g)
{
	struct lane *next = NULL;

	for (size_t i = g->lanes; i > 0; i--) {
		struct lane *l = &g->lane[i - 1];

		if (!is_drawn(l) && (!next || is_newer(l, next)) && !is_blocked(g, l))
			next = l;
	}
	return next;
}

/* ---- the lines ---- */

static void column_take(struct graph *g, struct lane *l)
{
	size_t i = 0;

	if (l->column != NO_COLUMN)
		return;
	if (l->parent) {
		column_take(g, l->parent);
		i = (size_t)l->parent->column + 1;
	}
	while (g->column[i])
		i++;
	g->column[i] = l;
	l->column = (int)i;
	if (i >= g->columns)
		g->columns = i + 1;
}

static void column_give_back(struct graph *g, struct lane *l)
{
	g->column[l->column] = NULL;
	l->column = NO_COLUMN;
}

/* The lines that pass by. A lane that only keeps its column for what comes below has none. */
static void passing_draw(struct graph *g)
{
	memset(g->lines, ' ', g->columns * 2);
	for (size_t i = 0; i < g->columns; i++) {
		const struct lane *l = g->column[i];

		if (l && l->at > 0)
			g->lines[i * 2] = '|';
	}
	g->lines[g->columns * 2] = 0;
}

static void lines_end(struct graph *g)
{
	size_t n = strlen(g->lines);

	while (n && g->lines[n - 1] == ' ')
		g->lines[--n] = 0;
}

static void node_draw(struct graph *g, const struct lane *l)
{
	passing_draw(g);
	g->lines[l->column * 2] = 'o';
	lines_end(g);
}

/* From the lane's column to that of its parent: |_|/ */
static void join_draw(struct graph *g, const struct lane *l)
{
	int to = l->parent->column * 2, from = l->column * 2;

	passing_draw(g);
	g->lines[from] = ' ';
	g->lines[from - 1] = '/';
	for (int i = to + 1; i < from - 1; i++)
		if (g->lines[i] == ' ')
			g->lines[i] = '_';
	lines_end(g);
}

/* The rightmost lane that has been drawn and ends where l stands. */
static struct lane *join_next(const struct graph *g, const struct lane *l)
{
	for (size_t i = g->columns; i > 0; i--)
		if (g->column[i - 1] && is_drawn(g->column[i - 1]) && begins_at(g->column[i - 1], l))
			return g->column[i - 1];
	return NULL;
}

bool graph_next(struct graph *g, struct graph_row *row)
{
	struct lane *l = lane_next(g), *joined = l ? join_next(g, l) : NULL;

	if (!l)
		return false;
	row->lines = g->lines;
	if (joined) {
		join_draw(g, joined);
		column_give_back(g, joined);
		row->version = NULL;
		return true;
	}
	column_take(g, l);
	node_draw(g, l);
	row->version = &l->own[l->at++];
	return true;
}
