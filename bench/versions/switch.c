/* switch.c - how long pCSwitch takes from version to version, by how much they differ.
 *
 *   bench_switch FOLDER [MIB]        (1024; FOLDER is not removed)
 *
 * A container of MIB in one array, then branches whose versions differ from it in 1, 100 and 10,000 pages at random. There and back, five
 * times, in place, and, interleaved, with the other version restored beside ($SOFTPM_SWITCH=beside, which comes lazily): until the
 * call returns, and until one page that differs has been read.
 */
#include <softpm.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MAGIC = 5, RUNS = 5, PAGE = 4096 };

struct root {
	size_t bytes;
	char *array;
};

static void need(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, pErrorMsg());
	exit(1);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *value, size_t n)
{
	qsort(value, n, sizeof(*value), compare);
	return value[n / 2];
}

static void branch_make(int id, struct root *root, size_t pages)
{
	char name[32];
	void *at;

	snprintf(name, sizeof(name), "by%zu", pages);
	need(!pBranch(MAGIC, name, "main") && !pCSwitch(id, name, &at), name);
	root = at;
	for (size_t i = 0; i < pages; i++)
		root->array[(i * 7919 % (root->bytes / PAGE)) * PAGE]++;
	need(pPointSync(id) > 0, "pPointSync");
	need(!pCSwitch(id, "main", &at), "main");
}

/* There and back: the mean of both. */
static double round_trip(int id, const char *name)
{
	double from = now_ms();
	void *at;

	need(!pCSwitch(id, name, &at), name);
	(void)*(volatile char *)((struct root *)at)->array;
	need(!pCSwitch(id, "main", &at), "main");
	(void)*(volatile char *)((struct root *)at)->array;
	return (now_ms() - from) / 2;
}

static void row(int id, size_t pages)
{
	double in_place[RUNS], beside[RUNS];
	struct pstats before, after;
	char name[32];

	snprintf(name, sizeof(name), "by%zu", pages);
	for (unsigned i = 0; i < RUNS; i++) {
		need(!unsetenv("SOFTPM_SWITCH") && !pRestoreWait(id) && !pStats(MAGIC, &before), "in place");
		in_place[i] = round_trip(id, name);
		need(!pStats(MAGIC, &after) && !setenv("SOFTPM_SWITCH", "beside", 1), "beside");
		beside[i] = round_trip(id, name);
	}
	printf("| %zu | %.2f | %.2f | %llu |\n", pages, median(in_place, RUNS), median(beside, RUNS),
	       (unsigned long long)(after.pages_switched - before.pages_switched) / 2);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 1024, differ[] = {1, 100, 10000};
	char volume[4096];
	struct root *root;
	void *at;
	int id;

	if (argc < 2)
		return fprintf(stderr, "usage: bench_switch FOLDER [MIB]\n"), 2;
	snprintf(volume, sizeof(volume), "%s/switch.vol", argv[1]);
	remove(volume);
	need(!pVOpen(volume), volume);
	id = pCAlloc(MAGIC, sizeof(*root), &at);
	need(id > 0, "pCAlloc");
	root = at;
	root->bytes = mib << 20;
	root->array = pMalloc(root->bytes);
	need(root->array != NULL, "pMalloc");
	for (size_t i = 0; i < root->bytes; i += 512)
		root->array[i] = (char)(i >> 9);
	need(pPointSync(id) > 0, "pPointSync");
	for (size_t i = 0; i < sizeof(differ) / sizeof(*differ); i++)
		branch_make(id, root, differ[i]);
	printf("%zu MiB\n\n| pages that differ | in place, ms | beside, ms | pages looked at |\n| --- | --- | --- | "
	       "--- |\n",
	       mib);
	for (size_t i = 0; i < sizeof(differ) / sizeof(*differ); i++)
		row(id, differ[i]);
	need(!pVClose(), "pVClose");
	remove(volume);
	return 0;
}
