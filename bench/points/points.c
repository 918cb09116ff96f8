/* points.c - what a persistence point costs the program.
 *
 *   bench_points FOLDER [LARGEST_MIB]      (4096; smaller machines leave out what does not fit; FOLDER is not removed)
 *
 * 1. The pause of an asynchronous pPoint, by a clock around the call, for dirty sets of 4 KiB to 1 GiB, in a container of 2 GiB
 *    of arrays without pointers and in one long list. A point waits for the one before it to be written, which is
 *    not the pause in question: pSync comes between, outside the clock.
 * 2. Ten dirty pages in containers of 1 MiB to 4 GiB: pause, and the whole point until it is durable.
 *
 * Every point's dirty pages are spread evenly over the container. The containers of a run follow each other in one process.
 */
#include <softpm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAGE = 4096, ARRAY = 1 << 20, NODE = 256, SAMPLES_MOST = 1000 };

struct node {
	struct node *next;
	uint64_t value[NODE / 8 - 1];
};
struct root {
	char **array; /* of ARRAY bytes each */
	struct node *list;
	struct node **stop; /* a node of about every page, for writing without a walk */
};

static struct root *root;
static int container;
static uint64_t container_bytes, written; /* written: no value twice */

static void need(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, pErrorMsg());
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void container_begin(int magic, uint64_t bytes)
{
	struct cattr *attr;

	container = pCAlloc(magic, sizeof(*root), (void **)&root);
	need(container > 0, "pCAlloc");
	attr = pCGetAttr(magic);
	need(attr != NULL, "pCGetAttr");
	attr->versions_kept = 1;
	need(!pCSetAttr(container, attr), "pCSetAttr");
	pCAttrFree(attr);
	container_bytes = bytes;
}

static void arrays_make(int magic, uint64_t bytes)
{
	container_begin(magic, bytes);
	root->array = pCalloc(bytes / ARRAY, sizeof(char *));
	need(root->array != NULL, "pCalloc");
	for (uint64_t i = 0; i < bytes / ARRAY; i++) {
		root->array[i] = pMallocNoPtr(ARRAY);
		need(root->array[i] != NULL, "pMallocNoPtr");
		memset(root->array[i], (int)i | 1, ARRAY);
	}
	need(pPointSync(container) > 0, "pPointSync");
}

static void list_make(int magic, uint64_t bytes)
{
	container_begin(magic, bytes);
	root->stop = pMallocNoPtr(bytes / PAGE *
	                          sizeof(struct node *)); /* no roots of their own: the list is found by walking it */
	need(root->stop != NULL, "pMallocNoPtr");
	for (uint64_t i = 0; i < bytes / NODE; i++) {
		struct node *n = pMalloc(sizeof(*n));

		need(n != NULL, "pMalloc");
		n->value[0] = i;
		n->next = root->list;
		root->list = n;
		if (i % (PAGE / NODE) == 0)
			root->stop[i / (PAGE / NODE)] = n;
	}
	need(pPointSync(container) > 0, "pPointSync");
}

static void array_write(uint64_t page, uint64_t value)
{
	memcpy(root->array[page * PAGE / ARRAY] + page * PAGE % ARRAY, &value, sizeof(value));
}

static void list_write(uint64_t page, uint64_t value)
{
	root->stop[page]->value[1] = value;
}

static int order(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

static double percentile(uint64_t *sample, int n, int percent)
{
	int i = n * percent / 100;

	qsort(sample, (size_t)n, sizeof(*sample), order);
	return (double)sample[i < n ? i : n - 1] / 1e3;
}

static void row(const char *what, uint64_t dirty_pages, int rounds, void (*page_write)(uint64_t page, uint64_t value))
{
	static uint64_t pause[SAMPLES_MOST], whole[SAMPLES_MOST];
	uint64_t pages = container_bytes / PAGE, step = pages / dirty_pages;

	for (int round = 0; round < rounds; round++) {
		uint64_t began;

		for (uint64_t i = 0; i < dirty_pages; i++)
			page_write((i * step + (uint64_t)round) % pages, ++written);
		began = now_ns();
		need(pPoint(container) > 0, "pPoint");
		pause[round] = now_ns() - began;
		need(!pSync(container), "pSync");
		whole[round] = now_ns() - began;
	}
	printf("| %s | %.0f | %.0f | %d | %.0f | %.0f | %.0f |\n", what, (double)container_bytes / (1 << 20),
	       (double)dirty_pages * PAGE / 1024, rounds, percentile(pause, rounds, 50), percentile(pause, rounds, 99),
	       percentile(whole, rounds, 50));
	fflush(stdout);
}

static void head(const char *title)
{
	printf("\n%s\n\n| container of | MiB | dirty KiB | points | pause p50, us | pause p99 (few points: longest), "
	       "us | durable after p50, us |\n"
	       "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
	       title);
}

/* Gives the heap back too, or the containers of the run would not fit into memory together. */
static void container_end(int magic, int is_list)
{
	struct node *n = root->list, *next;

	for (uint64_t i = 0; !is_list && i < container_bytes / ARRAY; i++)
		pFree(root->array[i]);
	for (; n; n = next) {
		next = n->next;
		pFree(n);
	}
	pFree(is_list ? (void *)root->stop : (void *)root->array);
	need(!pCDelete(magic), "pCDelete");
}

static void pauses(uint64_t mib, int is_list)
{
	static const uint64_t dirty_kib[] = {4, 1024, 100 * 1024, 1024 * 1024};
	static const int rounds[] = {300, 200, 15, 3};

	(is_list ? list_make : arrays_make)(100 + is_list, mib << 20);
	for (unsigned i = 0; i < 4; i++)
		if (dirty_kib[i] <= mib * 1024 / 2)
			row(is_list ? "a list" : "arrays", dirty_kib[i] / 4, rounds[i],
			    is_list ? list_write : array_write);
	container_end(100 + is_list, is_list);
}

int main(int argc, char **argv)
{
	char path[4096];
	uint64_t largest = argc > 2 ? strtoull(argv[2], NULL, 10) : 4096;

	need(argc > 1, "usage: bench_points FOLDER [LARGEST_MIB]");
	snprintf(path, sizeof(path), "%s/points.vol", argv[1]);
	need(!pVOpen(path), "pVOpen");
	head("Pause by dirty set");
	pauses(largest < 2048 ? largest : 2048, 0);
	pauses(largest < 2048 ? largest : 2048, 1);
	head("Ten dirty pages, by size of container");
	for (uint64_t mib = 1; mib <= largest; mib *= 4) {
		arrays_make(200, mib << 20);
		row("arrays", 10, 300, array_write);
		container_end(200, 0);
	}
	need(!pVClose(), "pVClose");
	return 0;
}
