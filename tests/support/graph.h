/* graph.h - what the versions, branches and tags of one container must be: a table that is changed as the library is, and that tells
 * what the library may answer.
 *
 * Retention lets versions go, but does not say when. So a version is there for certain until it is let go for the first time, be it for
 * a moment only; from then on it may be there or not, until it is seen and held again (tagged, branched off, viewed). All indexes are into
 * the arrays, NONE for none.
 */
#ifndef TEST_GRAPH_H
#define TEST_GRAPH_H

#include "softpm.h"
#include "things.h"

enum { NONE = -1, GRAPH_VERSIONS = 96, GRAPH_BRANCHES = 7, GRAPH_TAGS = 5, GRAPH_MESSAGE = 24 };

struct policy { /* as struct cattr has it */
	unsigned versions_kept, keep_seconds, older[2], every[2];
};
struct graph_version {
	int64_t number;
	uint64_t time_ns;
	int parent, branch;
	char message[GRAPH_MESSAGE];
	struct content content;
	struct policy policy;
	bool is_there, may_be_gone;
	unsigned views; /* that hold it */
};
struct graph_branch {
	const char *name;
	bool is_there;
	int origin, newest, durable; /* versions; newest: its origin, if it has none of its own */
};
struct graph_tag {
	const char *name;
	int version; /* NONE: the tag is not there */
	uint64_t time_ns;
};
struct graph {
	int magic, versions, current;
	struct graph_version version[GRAPH_VERSIONS];
	struct graph_branch branch[GRAPH_BRANCHES]; /* 0: main */
	struct graph_tag tag[GRAPH_TAGS];
};

void graph_begin(struct graph *g, int magic);
/* The branch's newest from now on; its index. */
int graph_add(struct graph *g, int branch, const struct graph_version *v);
/* A crash has lost what came after that version. */
void graph_cut(struct graph *g, int branch, int newest);
void graph_branch_off(struct graph *g, int branch, int origin);
void graph_branch_remove(struct graph *g, int branch);
int graph_branch_named(const struct graph *g, const char *name); /* there or not */
int graph_tag_named(const struct graph *g, const char *name);
/* Of those that are there; 0: none has it. */
int graph_numbered(const struct graph *g, int64_t number);
int64_t graph_number(const struct graph *g, int version); /* NONE: 0 */
int64_t graph_highest(const struct graph *g);

/* Versions that somebody has gone on from are origins: those of other branches. */
bool graph_is_origin(const struct graph *g, int version);
bool graph_is_tagged(const struct graph *g, int version);
bool graph_has_children(const struct graph *g, int branch);
/* Whether the branch has the version, be it from a branch that it comes from. */
bool graph_has(const struct graph *g, int branch, int version);

/* Time has come this far, or something has changed: what is to go from now on? */
void graph_age(struct graph *g, uint64_t now_ns);
/* It has been seen. */
void graph_seen(struct graph *g, int version);
/* It is there for certain; `told`: and a list of versions tells it, though it should be there only because it is being read. */
bool graph_must(const struct graph *g, int version, bool told);

/* Which versions may be meant; or none if `may_miss`. */
struct answer {
	bool may_be[GRAPH_VERSIONS], may_miss;
};
void answer_is(struct answer *a, const struct graph *g, int version);
/* The `steps`-th version before this one. */
void answer_before(struct answer *a, const struct graph *g, int version, unsigned steps);
/* The branch's newest not after that time. */
void answer_at(struct answer *a, const struct graph *g, int branch, uint64_t time_ns);

#endif
