/* discover.c - what discovery costs: a full trace by the shape of the data, an incremental one by the container's size.
 *
 *   bench_discover [LARGEST_MIB [LARGEST_CONTAINER_MIB [DATA]]]      (1024 and 4096: 6 GiB of memory, 100 s of CPU)
 *
 * 1. spm_trace_full over data that is nothing but small objects and pointers, in ms for each MiB of live slots
 *    (spm_marks_live_bytes). `first`: a container without marks, as at its first point; `again`: the median of the
 *    traces that follow, which find their tables in memory. `walk`: for lists, a loop over the links that does nothing
 *    else, the floor for whoever must read a node to know the next. Target: 0.6 ms a MiB, again.
 *    `typed`: again, taking turns with it, by a program that tells its types (discover/kinds.h); `ambiguous`: of all words
 *    of live slots, those of which types do not tell whether they are pointers, or to what.
 *      list, in order     nodes of 64 bytes, each links to the one allocated after it
 *      list, shuffled     the same nodes, linked in random order
 *      tree               a balanced tree of 64-byte nodes whose keys came in random order
 *      hash table         as many chains as half the entries; entries of 32 bytes with strings of 16 to 79
 *      array              one array of pointers to objects of 32 bytes in order of allocation
 * 2. Ten pages of a list are written, spread evenly; then, in us, the median of the steps of a point's discovery in
 *    their order: asking the tracker, spm_trace_incremental, listing the touched pages (spm_marks_take_touched).
 *    Target: the same whatever the container's size.
 *
 * No thread is stopped and nothing is written to a volume. Each row is a process of its own, with an empty heap.
 */
#include "discover/trace.h"
#include "track/track.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NODE = 64, ENTRY = 32, OBJECT = 32, AGAIN_MOST = 101, POINTS = 201, DIRTY_PAGES = 10 };

struct node {
	struct node *left, *right; /* a list has only left */
	uint64_t value[NODE / 8 - 2];
};
struct entry {
	struct entry *next;
	char *string;
	uint64_t hash, value;
};

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_discover: %s failed\n", what);
	exit(1);
}

static void *object_new(size_t bytes)
{
	void *p = spm_heap_alloc(bytes, 0);

	need(p, "spm_heap_alloc");
	return p;
}

/* ---- the data; each returns its root ---- */

static struct node **nodes_make(size_t count)
{
	struct node **node = malloc(count * sizeof(struct node *));

	need(node, "malloc");
	for (size_t i = 0; i < count; i++)
		node[i] = object_new(NODE);
	return node;
}

static void shuffle(struct node **node, size_t count)
{
	for (size_t i = count - 1; i > 0; i--) {
		size_t other = next_random() % (i + 1);
		struct node *n = node[i];

		node[i] = node[other];
		node[other] = n;
	}
}

static void *list_make(struct node **node, size_t count)
{
	struct node *root = node[0];

	for (size_t i = 0; i + 1 < count; i++)
		node[i]->left = node[i + 1];
	free(node);
	return root;
}

static void *list_in_order(size_t bytes)
{
	return list_make(nodes_make(bytes / NODE), bytes / NODE);
}

static void *list_shuffled(size_t bytes)
{
	struct node **node = nodes_make(bytes / NODE);

	shuffle(node, bytes / NODE);
	return list_make(node, bytes / NODE);
}

static void *tree(size_t bytes)
{
	size_t count = bytes / NODE;
	struct node **node = nodes_make(count), *root;

	shuffle(node, count);
	root = node[0];
	for (size_t i = 1; i < count; i++)
		*(i % 2 ? &node[(i - 1) / 2]->left : &node[(i - 1) / 2]->right) = node[i];
	free(node);
	return root;
}

static void *hash_table(size_t bytes)
{
	size_t entries = bytes / (ENTRY + 52 + sizeof(void *) / 2), chains = entries / 2; /* 52: a string's slot */
	struct entry **chain = object_new(chains * sizeof(struct entry *));

	for (size_t i = 0; i < entries; i++) {
		uint64_t hash = next_random();
		size_t length = 15 + (hash >> 32) % 64;
		struct entry *e = object_new(ENTRY);

		e->string = object_new(length + 1);
		memset(e->string, 'a' + (int)(hash >> 48) % 26, length);
		e->hash = hash;
		e->next = chain[hash % chains];
		chain[hash % chains] = e;
	}
	return chain;
}

static void *array(size_t bytes)
{
	size_t objects = bytes / (OBJECT + sizeof(void *));
	uint64_t **at = object_new(objects * sizeof(uint64_t *));

	for (size_t i = 0; i < objects; i++) {
		at[i] = object_new(OBJECT);
		*at[i] = i;
	}
	return at;
}

/* ---- what these types look like, as debug information would tell ---- */

enum { T_NODE, T_TO_NODE, T_NUMBER, T_NUMBERS, T_ENTRY, T_TO_ENTRY, T_CHAR, T_TO_CHAR, T_TO_NUMBER, T_TYPES };
static const struct ptype type[T_TYPES];
static const struct pmember node_member[] = {
        {.name = "left", .type = &type[T_TO_NODE], .offset = offsetof(struct node, left)},
        {.name = "right", .type = &type[T_TO_NODE], .offset = offsetof(struct node, right)},
        {.name = "value", .type = &type[T_NUMBERS], .offset = offsetof(struct node, value)}};
static const struct pmember entry_member[] = {
        {.name = "next", .type = &type[T_TO_ENTRY], .offset = offsetof(struct entry, next)},
        {.name = "string", .type = &type[T_TO_CHAR], .offset = offsetof(struct entry, string)},
        {.name = "hash", .type = &type[T_NUMBER], .offset = offsetof(struct entry, hash)},
        {.name = "value", .type = &type[T_NUMBER], .offset = offsetof(struct entry, value)}};
static const struct ptype type[T_TYPES] = {
        [T_NODE] = {PTYPE_STRUCT, "struct node", sizeof(struct node), .member = node_member, .members = 3},
        [T_TO_NODE] = {PTYPE_POINTER, "", 8, .of = &type[T_NODE]},
        [T_NUMBER] = {PTYPE_UNSIGNED, "unsigned long", 8},
        [T_NUMBERS] = {PTYPE_ARRAY, "", NODE - 16, .of = &type[T_NUMBER], .count = NODE / 8 - 2},
        [T_ENTRY] = {PTYPE_STRUCT, "struct entry", sizeof(struct entry), .member = entry_member, .members = 4},
        [T_TO_ENTRY] = {PTYPE_POINTER, "", 8, .of = &type[T_ENTRY]},
        [T_CHAR] = {PTYPE_CHAR, "char", 1},
        [T_TO_CHAR] = {PTYPE_POINTER, "", 8, .of = &type[T_CHAR]},
        [T_TO_NUMBER] = {PTYPE_POINTER, "", 8, .of = &type[T_NUMBER]}};

/* ---- measuring ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double median(uint64_t *sample, size_t count)
{
	qsort(sample, count, sizeof(*sample), by_size);
	return (double)sample[count / 2];
}

/* In a process of its own. */
static void apart(void (*measure)(const void *arg, size_t bytes), const void *arg, size_t bytes)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	need(child >= 0, "fork");
	if (!child) {
		measure(arg, bytes);
		fflush(stdout);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		fprintf(stderr, "bench_discover: no figure for %zu MiB\n", bytes >> 20);
}

static const struct hints no_hints;

struct shape {
	const char *name;
	void *(*make)(size_t bytes);
	unsigned root; /* its type: of what there may be several */
};

static uint64_t full_trace_ns(struct marks *m, const void *root, struct kinds *kinds)
{
	uint64_t began = spm_now_ns();

	need(!spm_trace_full(m, (uintptr_t)root, &no_hints, kinds, false), "spm_trace_full");
	return spm_now_ns() - began;
}

/* A dash for data that is no list. */
static void walk_print(const struct shape *shape, const void *root, double mib)
{
	uint64_t began = spm_now_ns();

	if (strncmp(shape->name, "list", 4)) {
		printf("- |\n");
		return;
	}
	for (const struct node *volatile n = root; n;)
		n = n->left;
	printf("%.2f |\n", (double)(spm_now_ns() - began) / 1e6 / mib);
}

static void full_trace_row(const void *arg, size_t bytes)
{
	const struct shape *shape = arg;
	const void *root = shape->make(bytes);
	struct marks *m = spm_marks_new();
	const struct ptype *root_type = &type[shape->root];
	struct kinds *kinds = spm_kinds_new(spm_pointers_new(type, T_TYPES, &root_type, 1));
	struct kind_words words;
	uint64_t first, again[AGAIN_MOST], typed[AGAIN_MOST];
	size_t count = bytes >> 20 >= 1024 ? 3 : bytes >> 20 >= 64 ? 11 : AGAIN_MOST;
	double mib;

	need(m && kinds, "spm_marks_new");
	first = full_trace_ns(m, root, NULL);
	full_trace_ns(m, root, kinds);
	for (size_t i = 0; i < count; i++) {
		again[i] = full_trace_ns(m, root, NULL);
		typed[i] = full_trace_ns(m, root, kinds);
	}
	spm_kinds_count(kinds, m, &words);
	mib = (double)spm_marks_live_bytes(m) / (1 << 20);
	need(mib > 0.9 * (double)(bytes >> 20), "finding all that was made");
	printf("| %s | %.0f | %.2f | %.2f | %.2f | %.0f%% | ", shape->name, mib, (double)first / 1e6 / mib,
	       median(again, count) / 1e6 / mib, median(typed, count) / 1e6 / mib,
	       100.0 * (double)words.ambiguous / (double)(words.plain + words.pointers + words.ambiguous));
	walk_print(shape, root, mib);
}

static void run_is_dirty(pageno_t first, uint32_t pages, void *m)
{
	spm_marks_set_dirty(m, first, pages);
}

static void run_collect(pageno_t first, uint32_t pages, void *m)
{
	need(!spm_track_collect(first, pages, run_is_dirty, m), "spm_track_collect");
}

static void page_count(pageno_t page, bool is_live, bool was_member, void *count)
{
	(void)page, (void)is_live, (void)was_member;
	++*(size_t *)count;
}

static struct node *list_with_stops(size_t bytes, struct node **stop)
{
	size_t count = bytes / NODE;
	struct node *root = object_new(NODE), *n = root;

	for (size_t i = 1, s = 0; i < count; i++) {
		n->left = object_new(NODE);
		n = n->left;
		if (i == s * (count / DIRTY_PAGES) + count / DIRTY_PAGES / 2 && s < DIRTY_PAGES)
			stop[s++] = n;
	}
	return root;
}

static void incremental_row(const void *arg, size_t bytes)
{
	static uint64_t collect[POINTS], trace[POINTS], touched[POINTS];
	struct node *stop[DIRTY_PAGES], *root = list_with_stops(bytes, stop);
	struct marks *m = spm_marks_new();
	size_t pages = 0;

	(void)arg;
	need(m && !spm_track_init(), "beginning");
	spm_heap_each_run(run_collect, m);
	full_trace_ns(m, root, NULL);
	spm_marks_take_touched(m, page_count, &pages);
	for (unsigned i = 0; i < POINTS; i++) {
		uint64_t t[4];

		for (unsigned s = 0; s < DIRTY_PAGES; s++)
			stop[s]->value[0]++;
		pages = 0;
		t[0] = spm_now_ns();
		spm_heap_each_run(run_collect, m);
		t[1] = spm_now_ns();
		need(!spm_trace_incremental(m, (uintptr_t)root, &no_hints, NULL, false), "spm_trace_incremental");
		t[2] = spm_now_ns();
		spm_marks_take_touched(m, page_count, &pages);
		t[3] = spm_now_ns();
		need(pages == DIRTY_PAGES, "finding ten touched pages");
		collect[i] = t[1] - t[0];
		trace[i] = t[2] - t[1];
		touched[i] = t[3] - t[2];
	}
	printf("| %zu | %.1f | %.1f | %.1f |\n", bytes >> 20, median(collect, POINTS) / 1e3,
	       median(trace, POINTS) / 1e3, median(touched, POINTS) / 1e3);
}

int main(int argc, char **argv)
{
	static const struct shape shape[] = {{"list, in order", list_in_order, T_NODE},
	                                     {"list, shuffled", list_shuffled, T_NODE},
	                                     {"tree", tree, T_NODE},
	                                     {"hash table", hash_table, T_TO_ENTRY},
	                                     {"array", array, T_TO_NUMBER}};
	static const size_t full_mib[] = {1, 64, 1024}, container_mib[] = {1, 16, 256, 1024, 4096};
	size_t full_most = argc > 1 ? strtoull(argv[1], NULL, 10) : 1024;
	const char *only = argc > 3 ? argv[3] : "";
	size_t container_most = argc > 2 ? strtoull(argv[2], NULL, 10) : 4096;

	printf("Full trace\n\n| data | MiB | first, ms/MiB | again, ms/MiB | typed, ms/MiB | ambiguous | walk, ms/MiB "
	       "|\n| --- | "
	       "---: | ---: | ---: | ---: | ---: | ---: |\n");
	for (unsigned s = 0; s < sizeof(shape) / sizeof(*shape); s++)
		for (unsigned i = 0; i < 3; i++)
			if (full_mib[i] <= full_most && strstr(shape[s].name, only))
				apart(full_trace_row, &shape[s], full_mib[i] << 20);
	printf("\nTen dirty pages\n\n| container, MiB | tracker, us | trace, us | list touched, us |\n"
	       "| ---: | ---: | ---: | ---: |\n");
	for (unsigned i = 0; i < 5; i++)
		if (container_mib[i] <= container_most)
			apart(incremental_row, NULL, container_mib[i] << 20);
	return 0;
}
