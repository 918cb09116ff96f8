/* graph_told.h - what the library tells of a container, by its public calls, is what the graph says. */
#ifndef TEST_GRAPH_TOLD_H
#define TEST_GRAPH_TOLD_H

#include "graph.h"

/* What was begun and may be done, or not, when the process dies. */
enum pending_kind {
	PENDING_NOTHING,
	PENDING_POINT,
	PENDING_BRANCH,
	PENDING_BRANCH_DELETE,
	PENDING_TAG,
	PENDING_TAG_DELETE,
	PENDING_CURRENT,
};
struct pending {
	enum pending_kind kind;
	struct graph *graph;
	int name;    /* of the branch or tag */
	int version; /* NONE: of whatever number: */
	struct graph_version point;
};

/* Names, and the versions of a branch; NONE: of all. Says what differs. All points are durable. */
bool graph_is_told(struct graph *g, int branch);
/* After the end of a process: points that were not durable may be lost, and what was pending may be done. The graph becomes as it is told;
 * false: it must not be told like that. */
bool graph_recover(struct graph *g, struct pending *p);

#endif
