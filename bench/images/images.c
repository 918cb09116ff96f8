/* images.c - opening an image: how long, whatever its size.
 *
 *   bench_images FOLDER        (FOLDER is not removed)
 *
 * Images of 10 MiB, 1 GiB and 10 GiB, of which one page in 256 is not zero, so that little is written; they are made by hand, for a volume of
 * that size would take minutes. RUNS processes, one after the other, open each, and touch every page that is not zero. Then one that pImage
 * makes, with a pointer into code in each of its 40 MiB of pages: what mending costs.
 */
#include "heapimage.h"

#include <fcntl.h>
#include <softpm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

enum { MAGIC = 1, RUNS = 9, PAGE = 4096, BLOCK = 1 << 20, STEP = 256 * PAGE };

struct root {
	uint64_t blocks;
	unsigned char *first; /* of the blocks, which follow each other */
};
struct times {
	uint64_t open_ns, touch_ns;
};

static char volume[600], image[600];
static struct times *times; /* shared with the processes */

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

static void in_process(void (*fn)(uint64_t n), uint64_t n)
{
	int status;
	pid_t child = fork();

	if (!child) {
		fn(n);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		exit(1);
}

/* Root and blocks in one run, at a slice far from where heaps begin by chance. */
static void data_make(uint64_t mib)
{
	const uint32_t page = 9000 * SPM_SLICE_PAGES;
	struct heapimage_run run = {page, (uint32_t)(mib * 256 + 512), 0};
	struct heapimage_header h = {
	        .magic = HEAPIMAGE_MAGIC,
	        .format = HEAPIMAGE_FORMAT,
	        .byte_order = HEAPIMAGE_BYTE_ORDER,
	        .tables_bytes = sizeof(run),
	        .runs = 1,
	        .sums_at = 8192,
	        .pages = run.pages,
	        .info = {.version = 1, .root = spm_page_address(page), .root_bytes = sizeof(struct root)}};
	struct root r = {mib, (unsigned char *)(uintptr_t)h.info.root + BLOCK * 2};
	int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);

	run.offset = (h.sums_at + h.pages * 8 + (2 << 20) - 1) >> 21 << 21;
	h.file_bytes = run.offset + (uint64_t)run.pages * PAGE;
	h.tables_sum = XXH3_64bits(&run, sizeof(run));
	h.sum = spm_heapimage_sum(&h);
	need(fd >= 0 && !ftruncate(fd, (off_t)h.file_bytes) && pwrite(fd, &h, sizeof(h), 0) == sizeof(h) &&
	             pwrite(fd, &run, sizeof(run), sizeof(h)) == sizeof(run) &&
	             pwrite(fd, &r, sizeof(r), (off_t)run.offset) == sizeof(r),
	     "image");
	for (uint64_t at = 0; at < mib * BLOCK; at += STEP)
		need(pwrite(fd, "1", 1, (off_t)(run.offset + 2 * BLOCK + at)) == 1, "image");
	need(!fsync(fd), "image");
	close(fd);
}

static void code_make(uint64_t mib)
{
	void *root;
	struct root *r;
	int id;

	unlink(volume);
	unlink(image);
	need(!pVOpen(volume), "pVOpen");
	id = pCAlloc(MAGIC, sizeof(*r), &root);
	need(id, "pCAlloc");
	r = root;
	r->blocks = mib;
	r->first = pMalloc(mib * BLOCK);
	need(r->first != NULL, "pMalloc");
	for (uint64_t i = 0; i < mib * BLOCK; i += PAGE)
		*(int (**)(const char *))(void *)&r->first[i] = puts;
	need(pPointSync(id) > 0 && !pImage(MAGIC, "", image) && !pVClose(), "pImage");
	unlink(volume);
}

static void root_touch(const struct root *r, uint64_t n, uint64_t begin)
{
	uint64_t opened = now_ns(), sum = 0;

	for (uint64_t i = 0; i < r->blocks * BLOCK; i += STEP)
		sum += r->first[i];
	times[n] = (struct times){opened - begin, now_ns() - opened};
	if (!sum)
		exit(1);
}

static void image_open(uint64_t n)
{
	uint64_t begin = now_ns();
	void *root;

	need(pCOpenImage(image, &root), "pCOpenImage");
	root_touch(root, n, begin);
}

static int by_open(const void *a, const void *b)
{
	const struct times *x = a, *y = b;

	return (x->open_ns > y->open_ns) - (x->open_ns < y->open_ns);
}

static void measure(const char *name, void (*make)(uint64_t mib), uint64_t mib)
{
	struct stat st;

	in_process(make, mib);
	for (uint64_t n = 0; n < RUNS; n++)
		in_process(image_open, n);
	qsort(times, RUNS, sizeof(*times), by_open);
	need(!stat(image, &st), "stat");
	printf("%-8s open %6.3f ms (%.3f to %.3f), touch %5.1f ms; %.0f MiB, on the disk %.1f\n", name,
	       (double)times[RUNS / 2].open_ns / 1e6, (double)times[0].open_ns / 1e6,
	       (double)times[RUNS - 1].open_ns / 1e6, (double)times[RUNS / 2].touch_ns / 1e6,
	       (double)st.st_size / BLOCK, (double)st.st_blocks * 512 / BLOCK);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	snprintf(volume, sizeof(volume), "%s/bench-images.vol", argv[1]);
	snprintf(image, sizeof(image), "%s/bench-images.image", argv[1]);
	times = mmap(NULL, RUNS * sizeof(*times), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	measure("10 MiB", data_make, 10);
	measure("1 GiB", data_make, 1024);
	measure("10 GiB", data_make, 10240);
	measure("code", code_make, 40);
	unlink(volume);
	unlink(image);
	return 0;
}
