/* test_trace.c - incremental discovery against a simple reference trace, on random graphs.
 *
 * After every point: what is marked must hold all that is reachable; and what is marked beyond that must be reachable from
 * something that was marked before and not freed. After a full trace: marked is exactly reachable.
 */
#include "container.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NODES = 3000, EDGES = 4, MUTATIONS = 10000, POINT_EVERY = 25 };

struct node {
	uint64_t payload;
	void *edge[EDGES]; /* plain, interior or tagged */
	char body[];
};

/* What the test knows, outside the heap. */
static struct {
	struct node *at; /* NULL: not allocated */
	size_t bytes;
	int edge[EDGES]; /* node number, -1 none */
	bool is_reachable, is_kept, was_marked;
} model[NODES];

struct root {
	struct node *entry[16];
};
static int entry_of[16];
static struct root *root;

static void node_make(int n, uint64_t r)
{
	size_t bytes = sizeof(struct node) + (r % 7 ? r % 300 : r % 20000);

	model[n].at = pMalloc(bytes);
	assert_non_null(model[n].at);
	model[n].bytes = bytes;
	model[n].was_marked = false;
	model[n].at->payload = r;
	for (int e = 0; e < EDGES; e++)
		model[n].edge[e] = -1;
}

/* A pointer to node n: to its start, into its middle, or with low bits set. */
static void *pointer_to(int n, uint64_t r)
{
	char *p = (char *)model[n].at;

	switch (r % 3) {
	case 0:
		return p;
	case 1:
		return p + r / 3 % model[n].bytes;
	default:
		return p + 1 + r / 3 % 7;
	}
}

static void node_free(int n)
{
	/* Whoever points here must forget it, as a correct program does. */
	for (int m = 0; m < NODES; m++)
		for (int e = 0; model[m].at && e < EDGES; e++)
			if (model[m].edge[e] == n) {
				model[m].edge[e] = -1;
				model[m].at->edge[e] = NULL;
			}
	for (int i = 0; i < 16; i++)
		if (entry_of[i] == n) {
			entry_of[i] = -1;
			root->entry[i] = NULL;
		}
	pFree(model[n].at);
	model[n].at = NULL;
	model[n].was_marked = false;
}

static void mutate(uint64_t *random)
{
	uint64_t r = test_random(random);
	int n = (int)(r % NODES), to = (int)((r >> 20) % NODES), e = (int)((r >> 40) % EDGES);

	if (!model[n].at) {
		node_make(n, r >> 8);
	} else if (r >> 60 == 0) {
		node_free(n);
	} else if (r >> 60 < 3) {
		entry_of[r >> 50 & 15] = n;
		root->entry[r >> 50 & 15] = model[n].at;
	} else if (r >> 60 < 6) {
		model[n].edge[e] = -1;
		model[n].at->edge[e] = NULL;
	} else if (model[to].at) {
		model[n].edge[e] = to;
		model[n].at->edge[e] = pointer_to(to, r >> 8);
	}
}

static void flood(int n, bool kept)
{
	static int stack[NODES];
	int depth = 0;

	stack[depth++] = n;
	while (depth) {
		bool *seen = kept ? &model[stack[depth - 1]].is_kept : &model[stack[depth - 1]].is_reachable;
		const int *edge = model[stack[--depth]].edge;

		*seen = true;
		for (int e = 0; e < EDGES; e++) {
			bool *next = edge[e] < 0 ? NULL : kept ? &model[edge[e]].is_kept : &model[edge[e]].is_reachable;

			if (next && !*next) {
				*next = true;
				stack[depth++] = edge[e];
			}
		}
	}
}

/* is_reachable: from the root; is_kept: from the root or from what was marked before. */
static void reference_trace(void)
{
	for (int n = 0; n < NODES; n++)
		model[n].is_reachable = model[n].is_kept = false;
	for (int i = 0; i < 16; i++)
		if (entry_of[i] >= 0) {
			flood(entry_of[i], false);
			flood(entry_of[i], true);
		}
	for (int n = 0; n < NODES; n++)
		if (model[n].at && model[n].was_marked)
			flood(n, true);
}

static bool is_marked(struct container *c, int n)
{
	struct span *s = spm_span_of((uintptr_t)model[n].at);

	return spm_marks_has(c->marks, s, spm_span_slot(s, (uintptr_t)model[n].at));
}

static void compare(struct container *c, bool is_full)
{
	reference_trace();
	for (int n = 0; n < NODES; n++) {
		bool marked = model[n].at && is_marked(c, n);

		if (!model[n].at)
			continue;
		if (model[n].is_reachable && !marked)
			fail_msg("node %d is reachable and not marked", n);
		if (marked && !(is_full ? model[n].is_reachable : model[n].is_kept))
			fail_msg("node %d is marked and not reachable", n);
		model[n].was_marked = marked;
	}
}

static void incremental_trace_equals_the_reference(void **state)
{
	uint64_t random = test_seed();
	struct container *c;
	void *address;
	int id;

	(void)state;
	assert_int_equal(pVOpen(scratch("trace.vol")), 0);
	id = pCAlloc(1, sizeof(struct root), &address);
	assert_true(id > 0);
	root = address;
	memset(entry_of, -1, sizeof(entry_of));
	c = spm_container_get(id);
	for (int i = 0; i < MUTATIONS; i++) {
		bool is_full = i % 1000 == 999;

		mutate(&random);
		if (i % POINT_EVERY)
			continue;
		if (is_full)
			assert_int_equal(pFullTrace(id), 0);
		if (!pPoint(id))
			fail_msg("%s", pErrorMsg());
		assert_int_equal(pSync(id), 0);
		compare(c, is_full);
	}
	assert_int_equal(pFullTrace(id), 0);
	assert_true(pPointSync(id) > 0);
	compare(c, true);
	spm_container_put(c);
	assert_int_equal(pVClose(), 0);
}

/* Two slots of a span, each in a container of its own: one container goes, and the other still hears of frees there. */
static void a_container_that_goes_leaves_the_marks_of_others(void **state)
{
	enum { RARE_BYTES = 3000 };
	void **first, **second, *address;
	struct container *c;
	struct span *s;
	int id, other;

	(void)state;
	assert_int_equal(pVOpen(scratch("two.vol")), 0);
	id = pCAlloc(1, sizeof(*first), &address);
	first = address;
	other = pCAlloc(2, sizeof(*second), &address);
	second = address;
	assert_true(id > 0 && other > 0);
	do {
		*first = *second;
		*second = pMalloc(RARE_BYTES);
		s = spm_span_of((uintptr_t)*second);
	} while (!*first || spm_span_of((uintptr_t)*first) != s);
	assert_true(pPointSync(id) > 0 && pPointSync(other) > 0);
	pCFree(id);
	assert_true(s->is_marked);
	pFree(*second);
	*second = NULL;
	assert_true(pPointSync(other) > 0);
	c = spm_container_get(other);
	for (unsigned slot = 0; slot < s->slots; slot++)
		assert_false(spm_marks_has(c->marks, s, slot));
	spm_container_put(c);
	assert_int_equal(pVClose(), 0);
}

struct link {
	struct link *next;
};

static void long_lists_and_cycles_need_no_recursion(void **state)
{
	struct link *last;
	void *address;
	int id;

	(void)state;
	assert_int_equal(pVOpen(scratch("list.vol")), 0);
	id = pCAlloc(2, sizeof(struct link), &address);
	assert_true(id > 0);
	last = address;
	for (int i = 0; i < 1000000; i++) {
		last->next = pMalloc(sizeof(struct link));
		last = last->next;
	}
	last->next = address;
	assert_true(pPointSync(id) > 0);
	assert_int_equal(pVClose(), 0);
	id = pCRestore(2, &address);
	assert_int_equal(id, 0); /* no volume chosen: $SOFTPM_VOLUME or softpm.vol, which has no container 2 */
	assert_int_equal(pVClose(), 0);
	assert_int_equal(pVOpen(scratch("list.vol")), 0);
	id = pCRestore(2, &address);
	if (!id)
		fail_msg("%s", pErrorMsg());
	last = address;
	for (int i = 0; i < 1000000; i++)
		last = last->next;
	assert_ptr_equal(last->next, address);
	assert_int_equal(pVClose(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(incremental_trace_equals_the_reference),
	        cmocka_unit_test(a_container_that_goes_leaves_the_marks_of_others),
	        cmocka_unit_test(long_lists_and_cycles_need_no_recursion),
	};

	setenv("SOFTPM_VOLUME", scratch("default.vol"), 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
