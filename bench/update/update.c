/* update.c - durable updates of one 100-byte value among 100,000, beside the floor: the bare durable overwrite of 4 KiB of
 * written space, two ways. One thread; the three are run in turn, several rounds; medians.
 *
 *   bench_update [FOLDER]     a folder on a real disk
 */
#include "softpm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { VALUES = 100000, ROUNDS = 7, BLOCK = 4096, FLOOR_BLOCKS = 1024 };
static const double round_seconds = 0.5;

struct value {
	char bytes[100];
};
static struct {
	struct value *value[VALUES];
} *root;
static int container, buffered, direct;
static unsigned char *block;
static unsigned turn;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void softpm_update(void)
{
	snprintf(root->value[turn * 7919 % VALUES]->bytes, 100, "value %u", turn);
	if (!pPointSync(container)) {
		fprintf(stderr, "%s\n", pErrorMsg());
		exit(1);
	}
}

static off_t block_place(void)
{
	block[0]++;
	return (off_t)(turn % FLOOR_BLOCKS) * BLOCK;
}

static void buffered_update(void)
{
	if (pwrite(buffered, block, BLOCK, block_place()) != BLOCK || fdatasync(buffered))
		exit(1);
}

static void direct_update(void)
{
	struct iovec piece = {block, BLOCK};

	if (pwritev2(direct, &piece, 1, block_place(), 0x2 /* RWF_DSYNC */) != BLOCK)
		exit(1);
}

static double rate(void (*update)(void))
{
	double start = now(), end = start;
	unsigned n = 0;

	for (; end - start < round_seconds; end = now(), n++, turn++)
		update();
	return n / (end - start);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void prepare(const char *folder)
{
	char path[512];
	void *at;

	snprintf(path, sizeof(path), "%s/update-floor", folder);
	buffered = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	block = aligned_alloc(BLOCK, BLOCK);
	memset(block, 1, BLOCK);
	for (unsigned i = 0; i < FLOOR_BLOCKS; i++)
		if (pwrite(buffered, block, BLOCK, (off_t)i * BLOCK) != BLOCK)
			exit(1);
	fsync(buffered);
	direct = open(path, O_RDWR | O_DIRECT);
	unlink(path);
	snprintf(path, sizeof(path), "%s/update.vol", folder);
	unlink(path);
	if (pVOpen(path) || !(container = pCAlloc(1, sizeof(*root), &at))) {
		fprintf(stderr, "%s\n", pErrorMsg());
		exit(1);
	}
	unlink(path);
	root = at;
	for (unsigned i = 0; i < VALUES; i++)
		root->value[i] = pMalloc(sizeof(struct value));
	softpm_update();
}

int main(int argc, char **argv)
{
	void (*const way[])(void) = {softpm_update, buffered_update, direct_update};
	const char *const name[] = {"SoftPM pPointSync", "floor: pwrite, fdatasync", "floor: O_DIRECT, RWF_DSYNC"};
	double result[3][ROUNDS], floor;

	prepare(argc > 1 ? argv[1] : ".");
	for (int r = 0; r < ROUNDS; r++)
		for (int w = 0; w < 3; w++)
			result[w][r] = rate(way[w]);
	for (int w = 0; w < 3; w++)
		qsort(result[w], ROUNDS, sizeof(double), by_value);
	floor = result[1][ROUNDS / 2] > result[2][ROUNDS / 2] ? result[1][ROUNDS / 2] : result[2][ROUNDS / 2];
	printf("| durable update of 100 bytes among 100,000 | updates/s | of the floor |\n| --- | --- | --- |\n");
	for (int w = 0; w < 3; w++)
		printf("| %s | %.0f | %.2f |\n", name[w], result[w][ROUNDS / 2], result[w][ROUNDS / 2] / floor);
	return pVClose() != 0;
}
