/* snapshots.c - one pass over all systems with a state of one size; see system.h. Samples go to standard output.
 *
 *   bench_snapshots FOLDER MIB [COUNT [SECONDS]]
 *
 * All systems make their state. Then they take turns with each single command, in changing order:
 *
 *   the first branch (of a state without history), and a page of it changed -> the first version
 *   -> versions 2 to COUNT -> a look at version 1 -> branches 2 to COUNT -> some more branches with a page changed
 *
 * COUNT 1 (the default): what is behind the first version is left out. A system that has spent SECONDS on its versions or
 * branches (but made two) stops there: hundreds of copies of a large state fit neither the disk nor anybody's patience.
 * A sample is a line: MIB, system, what, number, value, separated by tabs.
 *
 * XFS and Btrfs are where FOLDER/xfs, FOLDER/btrfs and FOLDER/subvolume are folders, or are left out. The programs are beside this one;
 * one that is not there is left out. FOLDER is not tidied up.
 */
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AGAIN = 5 };

struct worker {
	const char *program, *variant, *title;
	const char *mount; /* a folder in FOLDER that must be there; NULL: none */
	bool is_in_memory; /* nothing of it is durable */
	FILE *to, *from;   /* NULL: left out, or it failed */
	unsigned done;     /* the number of its last version or branch */
	double spent;      /* seconds, in this phase */
	bool is_full;
};

static struct worker worker[] = {
        {.program = "softpm", .variant = "branch", .title = "SoftPM, pBranch"},
        {.program = "softpm", .variant = "clone", .title = "SoftPM, pCClone"},
        {.program = "reflink", .variant = "file", .title = "XFS, reflink", .mount = "xfs"},
        {.program = "reflink", .variant = "file", .title = "Btrfs, reflink", .mount = "btrfs"},
        {.program = "reflink", .variant = "subvolume", .title = "Btrfs, snapshot", .mount = "subvolume"},
        {.program = "fork", .variant = "held", .title = "fork, child holds it (not durable)", .is_in_memory = true},
        {.program = "fork", .variant = "saved", .title = "fork, child writes it"},
        {.program = "lmdb", .variant = "copy", .title = "LMDB, copy"},
        {.program = "lmdb", .variant = "compact", .title = "LMDB, compacting copy"},
        {.program = "sqlite", .variant = "-", .title = "SQLite, VACUUM INTO"},
};
enum { WORKERS = sizeof(worker) / sizeof(*worker) };

static unsigned mib;
static double seconds;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void progress(const struct worker *w, const char *what, unsigned n)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%u MiB: %s %u, %s\033[K", mib, what, n, w ? w->title : "");
}

static void drop(struct worker *w)
{
	fprintf(stderr, "\n%u MiB: %s failed, and is left out from here on\n", mib, w->title);
	fclose(w->to);
	fclose(w->from);
	w->to = w->from = NULL;
}

static bool line_read(struct worker *w, char *line, size_t bytes)
{
	if (w->from && fgets(line, (int)bytes, w->from))
		return true;
	if (w->from)
		drop(w);
	return false;
}

/* In the child: only it has the other ends of its pipes, so it ends when this program does. */
static void program_run(const struct worker *w, const char *folder, const int to[2], const int from[2])
{
	char self[3000], path[4096], pages[32], where[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		_exit(1);
	self[n] = 0;
	snprintf(path, sizeof(path), "%s/bench_snapshots_%s", dirname(self), w->program);
	snprintf(pages, sizeof(pages), "%u", mib * 256);
	snprintf(where, sizeof(where), "%s/%s%srun-%s-%s", folder, w->mount ? w->mount : "", w->mount ? "/" : "",
	         w->program, w->variant);
	if (access(path, X_OK))
		_exit(77);
	dup2(to[0], STDIN_FILENO);
	dup2(from[1], STDOUT_FILENO);
	for (int fd = 3; fd < 256; fd++)
		close(fd);
	execl(path, path, where, pages, w->variant, (char *)NULL);
	_exit(1);
}

static bool mount_is_there(const struct worker *w, const char *folder)
{
	char path[4096];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", folder, w->mount ? w->mount : "");
	return !stat(path, &st);
}

static void start(struct worker *w, const char *folder)
{
	int to[2], from[2];
	char line[64];
	pid_t child;

	if (!mount_is_there(w, folder) || pipe(to) || pipe(from))
		return;
	progress(w, "making", mib);
	child = fork();
	if (!child)
		program_run(w, folder, to, from);
	close(to[0]);
	close(from[1]);
	w->to = fdopen(to[1], "w");
	w->from = fdopen(from[0], "r");
	if (line_read(w, line, sizeof(line)))
		printf("%u\t%s\tis_in_memory\t1\t%d\n", mib, w->title, w->is_in_memory);
}

static void sample(const struct worker *w, const char *what, unsigned n, double value)
{
	printf("%u\t%s\t%s\t%u\t%.6f\n", mib, w->title, what, n, value);
}

/* One command, and its answer as a sample. */
static bool ask(struct worker *w, char command, unsigned n, const char *what, double value[2])
{
	double begin = now_s();
	char line[128];

	if (!w->to)
		return false;
	progress(w, what, n);
	fprintf(w->to, "%c %u\n", command, n);
	fflush(w->to);
	if (!line_read(w, line, sizeof(line)))
		return false;
	w->spent += now_s() - begin;
	if (!strcmp(line, "full\n")) {
		fprintf(stderr, "\n%u MiB: no room for %s %u of %s\n", mib, what, n, w->title);
		return !(w->is_full = true);
	}
	value[1] = 0;
	sscanf(line, "%lf %lf", &value[0], &value[1]);
	return true;
}

/* Each system once; `first` changes, so that none always follows the same. */
static void turn(char command, unsigned n, const char *what)
{
	double value[2];

	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *w = &worker[(i + n) % WORKERS];

		if (w->is_full || (n > 2 && w->spent > seconds) || !ask(w, command, n, what, value))
			continue;
		w->done = n;
		sample(w, command == 'o' ? "look" : what, n, value[0]);
		if (command == 'c')
			sample(w, "both", n, value[1]);
	}
}

static void space_note(double *space, const char *what)
{
	double value[2];

	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *w = &worker[i];

		if (!ask(w, 's', 0, "space", value))
			continue;
		if (what && w->done > 1)
			sample(w, what, 1, (value[0] - space[i]) / (w->done - 1));
		space[i] = value[0];
		w->spent = 0;
		w->is_full = false;
	}
}

static void history(unsigned count)
{
	double space[WORKERS];
	unsigned branches[WORKERS];

	space_note(space, NULL);
	for (unsigned n = 2; n <= count; n++)
		turn('v', n, "version");
	space_note(space, "version_bytes");
	for (unsigned i = 0; i < AGAIN; i++)
		turn('o', 1, "version");
	space_note(space, NULL);
	for (unsigned n = 2; n <= count; n++)
		turn('b', n, "branch");
	for (unsigned i = 0; i < WORKERS; i++)
		branches[i] = worker[i].done;
	space_note(space, "branch_bytes");
	for (unsigned i = 1; i <= AGAIN; i++)
		for (unsigned k = 0; k < WORKERS; k++) {
			struct worker *w = &worker[(k + i) % WORKERS];
			double value[2];

			if (w->is_full || w->spent > seconds || !ask(w, 'c', branches[w - worker] + i, "branch", value))
				continue;
			sample(w, "both", branches[w - worker] + i, value[1]);
		}
}

int main(int argc, char **argv)
{
	unsigned count = argc > 3 ? (unsigned)atoi(argv[3]) : 1;

	if (argc < 3) {
		fprintf(stderr, "usage: bench_snapshots FOLDER MIB [COUNT [SECONDS]]\n");
		return 2;
	}
	mib = (unsigned)atoi(argv[2]);
	seconds = argc > 4 ? atof(argv[4]) : 6;
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < WORKERS; i++)
		start(&worker[i], argv[1]);
	sync(); /* what one left to be written would be in the next one's way */
	turn('c', 1, "branch");
	turn('v', 1, "version");
	if (count > 1)
		history(count);
	for (unsigned i = 0; i < WORKERS; i++)
		if (worker[i].to)
			fclose(worker[i].to);
	while (wait(NULL) > 0)
		;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	return 0;
}
