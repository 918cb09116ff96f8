/* restore.c - how long until a container is there again.
 *
 *   bench_restore FOLDER [RUNS [LARGEST_MIB [VERSIONS_MOST]]]     (5, 4096, 10000; FOLDER is not removed)
 *
 * Containers of 1 MiB to LARGEST_MIB of array (one block of random bytes that may hold pointers) and of tree (nodes of 64 bytes
 * with two pointers each, so that each page is full of them), with the file in the page cache and not in it; and containers of
 * 16 MiB with 1, 100 and 10,000 versions of history, each of which changed one page. Every restore is made by a
 * process of its own. Medians:
 *
 *   first    from before pCRestore to after reading a word in the middle of the data
 *   whole    until all is read, verified and at its place (pRestoreWait)
 *   over     the most memory the process ever had (VmHWM) beyond the data, when all is there
 */
#include <softpm.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAGIC = 5, RUNS_MOST = 101 };

struct node {
	struct node *left, *right;
	uint64_t value[6];
};
struct root {
	uint64_t bytes;
	uint64_t *array;
	struct node *tree;
	struct node *middle;
};
struct figures {
	double first_ms, whole_ms, over_mib;
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
	*x ^= *x << 17;
	return *x;
}

static void array_make(struct root *r, uint64_t bytes)
{
	uint64_t x = 88172645463325252u;

	r->array = pMalloc(bytes);
	need(r->array != NULL, "pMalloc");
	for (uint64_t i = 0; i < bytes / 8; i++)
		r->array[i] = random_next(&x);
}

/* Neighbours in the tree lie far from each other in memory. */
static struct node *tree_make(uint64_t nodes, struct node ***next)
{
	struct node *n;

	if (!nodes)
		return NULL;
	n = *(*next)++;
	n->value[0] = nodes;
	n->left = tree_make((nodes - 1) / 2, next);
	n->right = tree_make(nodes - 1 - (nodes - 1) / 2, next);
	return n;
}

static void nodes_make(struct root *r, uint64_t bytes)
{
	uint64_t n = bytes / sizeof(struct node), x = 88172645463325252u;
	struct node **all = malloc(n * sizeof(struct node *)), **next = all;

	need(all != NULL, "malloc");
	for (uint64_t i = 0; i < n; i++)
		need((all[i] = pMalloc(sizeof(struct node))) != NULL, "pMalloc");
	for (uint64_t i = 1; i < n; i++) {
		uint64_t k = random_next(&x) % i;
		struct node *swap = all[i];

		all[i] = all[k];
		all[k] = swap;
	}
	r->middle = all[n / 2];
	r->tree = tree_make(n, &next);
	free(all);
}

static void change(struct root *r, uint64_t *x)
{
	if (r->array)
		r->array[random_next(x) % (r->bytes / 8)]++;
	else
		r->middle->value[1]++;
}

static void volume_make(const char *path, int is_tree, uint64_t bytes, unsigned versions)
{
	uint64_t x = 1234567;
	struct cattr *attr;
	struct root *r;
	void *root;
	int id;

	need(!pVOpen(path), "pVOpen");
	id = pCAlloc(MAGIC, sizeof(*r), &root);
	need(id > 0, "pCAlloc");
	attr = pCGetAttr(MAGIC);
	need(attr != NULL, "pCGetAttr");
	attr->versions_kept = 0;
	need(!pCSetAttr(id, attr), "pCSetAttr");
	pCAttrFree(attr);
	r = root;
	r->bytes = bytes;
	pCUse(id);
	if (is_tree)
		nodes_make(r, bytes);
	else
		array_make(r, bytes);
	for (unsigned v = 0; v < versions; v++) {
		need(pPointSync(id) > 0, "pPointSync");
		change(r, &x);
	}
	need(!pVClose(), "pVClose");
}

static double memory_most_mib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	double kib = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lf", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib / 1024;
}

static struct figures restore_once(const char *path)
{
	uint64_t started, first, whole;
	struct root *r;
	void *root;
	int id;

	need(!pVOpen(path), "pVOpen");
	started = now_ns();
	id = pCRestore(MAGIC, &root);
	need(id > 0, "pCRestore");
	r = root;
	*(volatile uint64_t *)(r->array ? &r->array[r->bytes / 16] : &r->middle->value[0]);
	first = now_ns();
	need(!pRestoreWait(id), "pRestoreWait");
	whole = now_ns();
	return (struct figures){(double)(first - started) / 1e6, (double)(whole - started) / 1e6,
	                        memory_most_mib() - (double)r->bytes / 1048576};
}

static void cache_fill(const char *path)
{
	static char buffer[1 << 20];
	int fd = open(path, O_RDONLY);

	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	close(fd);
}

static void cache_drop(const char *path)
{
	int fd = open(path, O_RDONLY);

	fdatasync(fd);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

/* In a process of its own. */
static struct figures restore_apart(const char *path)
{
	struct figures f;
	int pipes[2], status;
	pid_t child;

	need(!pipe(pipes), "pipe");
	child = fork();
	if (!child) {
		f = restore_once(path);
		_exit(write(pipes[1], &f, sizeof(f)) != sizeof(f));
	}
	close(pipes[1]);
	if (read(pipes[0], &f, sizeof(f)) != sizeof(f) || waitpid(child, &status, 0) != child || status)
		exit(1);
	close(pipes[0]);
	return f;
}

static int order(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static double median(double *sample, int n)
{
	qsort(sample, (size_t)n, sizeof(*sample), order);
	return sample[n / 2];
}

static struct figures restore_median(const char *path, int is_cold, int runs)
{
	double first[RUNS_MOST], whole[RUNS_MOST], over[RUNS_MOST];

	if (!is_cold)
		cache_fill(path);
	for (int i = 0; i < runs; i++) {
		struct figures f;

		if (is_cold)
			cache_drop(path);
		f = restore_apart(path);
		first[i] = f.first_ms;
		whole[i] = f.whole_ms;
		over[i] = f.over_mib;
	}
	return (struct figures){median(first, runs), median(whole, runs), median(over, runs)};
}

static void row(const char *folder, int is_tree, uint64_t mib, unsigned versions, int runs)
{
	static const char *const ways[] = {"eager", "lazy"};
	char path[4096];
	int status;
	pid_t child;

	snprintf(path, sizeof(path), "%s/restore.vol", folder);
	unlink(path);
	child = fork();
	if (!child) {
		volume_make(path, is_tree, mib << 20, versions);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		exit(1);
	for (int is_cold = 0; is_cold < 2; is_cold++)
		for (int w = 0; w < 2; w++) {
			struct figures f;

			setenv("SOFTPM_RESTORE", ways[w], 1);
			f = restore_median(path, is_cold, runs);
			printf("| %llu | %s | %u | %s | %s | %.2f | %.1f | %.1f |\n", (unsigned long long)mib,
			       is_tree ? "tree" : "array", versions, is_cold ? "cold" : "cached", ways[w], f.first_ms,
			       f.whole_ms, f.over_mib);
			fflush(stdout);
		}
	unlink(path);
}

int main(int argc, char **argv)
{
	int runs = argc > 2 ? atoi(argv[2]) : 5;
	uint64_t largest = argc > 3 ? strtoull(argv[3], NULL, 0) : 4096;
	unsigned versions_most = argc > 4 ? (unsigned)atoi(argv[4]) : 10000;

	if (argc < 2 || runs < 1 || runs > RUNS_MOST) {
		fprintf(stderr, "usage: bench_restore FOLDER [RUNS [LARGEST_MIB [VERSIONS_MOST]]]\n");
		return 2;
	}
	printf("| MiB | data | versions | file | restore | first access, ms | whole, ms | memory over the data, MiB |\n"
	       "| ---: | --- | ---: | --- | --- | ---: | ---: | ---: |\n");
	for (uint64_t mib = 1; mib <= largest; mib *= mib < 64 ? 8 : 4)
		for (int is_tree = 0; is_tree < 2; is_tree++)
			row(argv[1], is_tree, mib, 1, runs);
	for (unsigned versions = 1; versions <= versions_most; versions *= 100)
		row(argv[1], 0, 16, versions, runs);
	return 0;
}
