/* graph_refs.h - random refs, and what they mean. */
#ifndef TEST_GRAPH_REFS_H
#define TEST_GRAPH_REFS_H

#include "graph.h"

struct target {
	char ref[128];
	struct answer answer;
	bool is_branch;
	int branch; /* through which it is found; NONE: any */
};
/* context: the branch that is meant where none is named; NONE: one is named. */
void target_choose(struct target *t, const struct graph *g, int context, uint64_t *random);
int branch_random(const struct graph *g, uint64_t *random);

#endif
