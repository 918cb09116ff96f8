/* processes.c - several processes, each with a container of its own in one volume (as in Figure 12 of the published evaluation).
 *
 *   bench_processes FOLDER [RUNS [MIB]]     (3, 1024; FOLDER is not removed)
 *
 * 1, 2, 4 and 8 processes begin together; MIB is what they have in all. Medians over the runs, each of which takes all rows in turn:
 *
 *   first point   until the last process's first point, of all its memory, is durable; beside it the same bytes written to one
 *                 preallocated, once written file by as many processes, O_DIRECT in pieces of 1 MiB, then fdatasync: the floor
 *   points        synchronous points a second of all processes together, each of which changes one page, for one second;
 *                 beside it as many 4 KiB overwrites of that file, O_DIRECT and RWF_DSYNC
 */
#include <softpm.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES_MOST = 8, RUNS_MOST = 51, PIECE = 1 << 20, PAGE = 4096, ROWS = 4 };

struct shared {
	_Atomic int ready, go, counting, stop;
	_Atomic uint64_t points;
};
struct figures {
	double first_s, points;
};

static struct shared *shared;
static const char *folder;
static uint64_t bytes_in_all;

static void need(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	fprintf(stderr, "%s: %s\n", what, pErrorMsg());
	exit(1);
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static const char *path_of(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

static void begin_together(void)
{
	shared->ready++;
	while (!shared->go)
		usleep(100);
}

static void all_there(int count)
{
	shared->counting++;
	while (shared->counting < count)
		usleep(50);
}

static void fill(uint64_t *word, uint64_t bytes, uint64_t seed)
{
	for (uint64_t i = 0; i < bytes / 8; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		word[i] = seed;
	}
}

static void softpm_process(int number, int count)
{
	uint64_t bytes = bytes_in_all / (uint64_t)count, **array, i = 0;
	void *root;
	int id;

	need(!pVOpen(path_of("processes.vol")), "pVOpen");
	id = pCAlloc(100 + number, 64, &root);
	need(id > 0, "pCAlloc");
	array = root;
	*array = pMallocNoPtr(bytes);
	need(*array != NULL, "pMallocNoPtr");
	fill(*array, bytes, (uint64_t)number + 1);
	begin_together();
	need(pPointSync(id) > 0, "pPointSync");
	all_there(count);
	for (; !shared->stop; i += PAGE / 8) {
		(*array)[i % (bytes / 8)]++;
		need(pPointSync(id) > 0, "pPointSync");
		shared->points++;
	}
	need(!pVClose(), "pVClose");
}

static void floor_process(int number, int count)
{
	uint64_t bytes = bytes_in_all / (uint64_t)count, at = bytes * (uint64_t)number, i = 0;
	unsigned char *piece = aligned_alloc(PAGE, PIECE);
	struct iovec page = {piece, PAGE};
	int fd = open(path_of("floor"), O_WRONLY | O_DIRECT);

	need(fd >= 0 && piece, "open");
	fill((uint64_t *)(void *)piece, PIECE, (uint64_t)number + 1);
	begin_together();
	for (uint64_t done = 0; done < bytes; done += PIECE)
		need(pwrite(fd, piece, PIECE, (off_t)(at + done)) == PIECE, "pwrite");
	need(!fdatasync(fd), "fdatasync");
	all_there(count);
	for (; !shared->stop; i += PAGE) {
		need(pwritev2(fd, &page, 1, (off_t)(at + i % bytes), RWF_DSYNC) == PAGE, "pwritev2");
		shared->points++;
	}
	close(fd);
}

static struct figures run_together(void (*process)(int number, int count), int count)
{
	struct figures f;
	double began;
	int status;

	memset(shared, 0, sizeof(*shared));
	for (int i = 0; i < count; i++)
		if (!fork()) {
			process(i, count);
			_exit(0);
		}
	while (shared->ready < count)
		usleep(100);
	began = now_s();
	shared->go = 1;
	while (shared->counting < count)
		usleep(100);
	f.first_s = now_s() - began;
	shared->points = 0;
	began = now_s();
	sleep(1);
	f.points = (double)shared->points / (now_s() - began);
	shared->stop = 1;
	for (int i = 0; i < count; i++)
		need(wait(&status) > 0 && !status, "a process");
	return f;
}

/* Every byte is there and written: what a store that writes over its own blocks works with. */
static void floor_make(void)
{
	static unsigned char piece[PIECE];
	int fd = open(path_of("floor"), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	need(fd >= 0, "open");
	for (uint64_t done = 0; done < bytes_in_all; done += PIECE)
		need(write(fd, piece, PIECE) == PIECE, "write");
	need(!fsync(fd), "fsync");
	close(fd);
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

int main(int argc, char **argv)
{
	static double first[ROWS][2][RUNS_MOST], points[ROWS][2][RUNS_MOST];
	int runs = argc > 2 ? atoi(argv[2]) : 3;

	if (argc < 2 || runs < 1 || runs > RUNS_MOST) {
		fprintf(stderr, "usage: bench_processes FOLDER [RUNS [MIB]]\n");
		return 2;
	}
	folder = argv[1];
	bytes_in_all = (argc > 3 ? strtoull(argv[3], NULL, 0) : 1024) << 20;
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	floor_make();
	for (int run = 0; run < runs; run++)
		for (int row = 0; row < ROWS; row++) {
			struct figures f = run_together(floor_process, 1 << row);

			first[row][1][run] = f.first_s;
			points[row][1][run] = f.points;
			unlink(path_of("processes.vol"));
			f = run_together(softpm_process, 1 << row);
			first[row][0][run] = f.first_s;
			points[row][0][run] = f.points;
		}
	unlink(path_of("processes.vol"));
	unlink(path_of("floor"));
	printf("| processes | first point of %llu MiB in all, s | floor, s | points/s in all | floor/s |\n"
	       "| ---: | ---: | ---: | ---: | ---: |\n",
	       (unsigned long long)bytes_in_all >> 20);
	for (int row = 0; row < ROWS; row++)
		printf("| %d | %.2f | %.2f | %.0f | %.0f |\n", 1 << row, median(first[row][0], runs),
		       median(first[row][1], runs), median(points[row][0], runs), median(points[row][1], runs));
	return 0;
}
