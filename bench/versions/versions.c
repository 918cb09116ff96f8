/* versions.c - what history costs: space, points, going back; and what a branch costs.
 *
 *   bench_versions FOLDER [VERSIONS [MIB [LARGEST_MIB]]]     (10000, 100, 4096; FOLDER is not removed)
 *
 * A container of MIB in one array, VERSIONS versions of it, each with 1% of its pages changed at random; all are kept. Bytes of the
 * volume a version, to the changed pages; a durable point at the beginning and at the end of history; and how long a process takes
 * to open the oldest, the middle and the newest version, to a word in its middle and until all is read. Then containers of 10
 * MiB to LARGEST_MIB: the first, the next and the 500th branch of each while it is open here, and some after it was closed, from pBranch to its return
 * (durable), and bytes a branch.
 */
#include <softpm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAGIC = 5, RUNS = 5, BRANCHES = 500, PAGE = 4096, SOME = 20 };

struct root {
	uint64_t bytes;
	char *array;
};

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

static uint64_t random_next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
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

static double file_mib(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (double)st.st_blocks * 512 / (1 << 20);
}

static int container_make(const char *path, uint64_t mib, struct root **root)
{
	struct cattr *attr;
	void *r;
	int id;

	unlink(path);
	need(!pVOpen(path), "pVOpen");
	id = pCAlloc(MAGIC, sizeof(struct root), &r);
	need(id, "pCAlloc");
	attr = pCGetAttr(MAGIC);
	need(attr != NULL, "pCGetAttr");
	attr->versions_kept = 0;
	need(!pCSetAttr(id, attr), "pCSetAttr");
	pCAttrFree(attr);
	*root = r;
	(*root)->bytes = mib << 20;
	(*root)->array = pMallocNoPtr(mib << 20);
	need((*root)->array != NULL, "pMallocNoPtr");
	memset((*root)->array, 1, mib << 20);
	need(pPointSync(id) == 1, "pPointSync");
	return id;
}

static double point(int id, struct root *root, uint64_t *random)
{
	uint64_t pages = root->bytes / PAGE, begin;

	for (uint64_t i = 0; i < pages / 100; i++)
		*(uint64_t *)(void *)(root->array + random_next(random) % pages * PAGE) = *random;
	begin = now_ns();
	need(pPointSync(id) > 0, "pPointSync");
	return (double)(now_ns() - begin) / 1e6;
}

/* In a process of its own. */
static void open_one(const char *path, const char *ref, double *first, double *whole)
{
	double figure[2];
	int channel[2], status;

	need(!pipe(channel), "pipe");
	if (!fork()) {
		uint64_t begin;
		volatile char word;
		void *r;
		int id;

		need(!pVOpen(path), "pVOpen");
		begin = now_ns();
		id = pCOpenAt(MAGIC, ref, &r);
		need(id, "pCOpenAt");
		word = ((struct root *)r)->array[((struct root *)r)->bytes / 2];
		(void)word;
		figure[0] = (double)(now_ns() - begin) / 1e6;
		need(!pRestoreWait(id), "pRestoreWait");
		figure[1] = (double)(now_ns() - begin) / 1e6;
		_exit(write(channel[1], figure, sizeof(figure)) != sizeof(figure));
	}
	close(channel[1]);
	need(read(channel[0], figure, sizeof(figure)) == sizeof(figure), ref);
	close(channel[0]);
	wait(&status);
	*first = figure[0];
	*whole = figure[1];
}

static void open_row(const char *path, const char *what, const char *ref)
{
	double first[RUNS], whole[RUNS];

	for (int i = 0; i < RUNS; i++)
		open_one(path, ref, &first[i], &whole[i]);
	printf("| %s | %.2f | %.1f |\n", what, median(first, RUNS), median(whole, RUNS));
	fflush(stdout);
}

static void history(const char *path, unsigned versions, uint64_t mib)
{
	double early[SOME], late[SOME], base;
	uint64_t random = 88172645463325252u, stored;
	struct root *root;
	char ref[32];
	int id = container_make(path, mib, &root);

	base = file_mib(path);
	for (unsigned i = 0; i < versions; i++) {
		double ms = point(id, root, &random);

		if (i < SOME)
			early[i] = ms;
		if (i >= versions - SOME)
			late[i - (versions - SOME)] = ms;
	}
	need(!pVClose(), "pVClose");
	stored = mib * 256 / 100 * PAGE; /* a few pages are drawn twice */
	printf("\n%u versions of %llu MiB, 1%% changed for each:\n\n", versions + 1, (unsigned long long)mib);
	printf("| bytes a version, KiB | changed pages, KiB | ratio | first points, ms | last points, ms |\n"
	       "| ---: | ---: | ---: | ---: | ---: |\n");
	printf("| %.0f | %.0f | %.3f | %.2f | %.2f |\n\n", (file_mib(path) - base) * 1024 / versions,
	       (double)stored / 1024, (file_mib(path) - base) * 1024 * 1024 / versions / (double)stored,
	       median(early, SOME), median(late, SOME));
	printf("| version opened | first access, ms | whole, ms |\n| --- | ---: | ---: |\n");
	open_row(path, "the oldest", "1");
	snprintf(ref, sizeof(ref), "%u", versions / 2);
	open_row(path, "the middle one", ref);
	snprintf(ref, sizeof(ref), "%u", versions + 1);
	open_row(path, "the newest", ref);
	unlink(path);
}

static void branches_make(const char *prefix, double *ms, unsigned n)
{
	char name[32];

	for (unsigned i = 0; i < n; i++) {
		uint64_t begin = now_ns();

		snprintf(name, sizeof(name), "%s%u", prefix, i);
		need(!pBranch(MAGIC, name, "main"), name);
		ms[i] = (double)(now_ns() - begin) / 1e6;
	}
}

static void branches(const char *path, uint64_t mib)
{
	double open[BRANCHES], closed[SOME], base, grown;
	struct root *root;

	container_make(path, mib, &root);
	base = file_mib(path);
	branches_make("open", open, BRANCHES);
	grown = file_mib(path) - base;
	need(!pVClose() && !pVOpen(path), "the volume");
	branches_make("closed", closed, SOME);
	printf("| %llu | %.2f | %.2f | %.2f | %.2f | %.0f |\n", (unsigned long long)mib, open[0],
	       median(open + 1, SOME), median(open + BRANCHES - SOME, SOME), median(closed, SOME),
	       grown * 1024 / BRANCHES);
	fflush(stdout);
	need(!pVClose(), "pVClose");
	unlink(path);
}

int main(int argc, char **argv)
{
	unsigned versions = argc > 2 ? (unsigned)atoi(argv[2]) : 10000;
	uint64_t mib = argc > 3 ? (uint64_t)atoi(argv[3]) : 100, largest = argc > 4 ? (uint64_t)atoi(argv[4]) : 4096;
	char path[4096];

	if (argc < 2) {
		fprintf(stderr, "usage: bench_versions FOLDER [VERSIONS [MIB [LARGEST_MIB]]]\n");
		return 2;
	}
	snprintf(path, sizeof(path), "%s/bench_versions.vol", argv[1]);
	history(path, versions, mib);
	printf("\nA branch, durable:\n\n| container, MiB | first, ms | the next, ms | 500th, ms | while it is closed, "
	       "ms | KiB a branch "
	       "|\n| ---: | ---: | ---: | ---: | ---: | ---: |\n");
	for (uint64_t size = 10; size <= largest; size = size == 10 ? 100 : size == 100 ? 1024 : size * 4)
		branches(path, size);
	return 0;
}
