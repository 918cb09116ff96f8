/* fork.c - fork(2), whose child has the state as it was. Variants: held (the child stays, and is the version or branch: in
 * memory only), saved (the child writes all to a file, and ends). */
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN_MOST = 4096 };
static const uint64_t memory_least_kib = 3 << 20; /* others need some, too */

static bool is_saved;
static char *state;
static int version_child[CHILDREN_MOST], branch_child[CHILDREN_MOST]; /* sockets */
static uint64_t changed_pages, held_bytes;

static void fork_make(const char *variant)
{
	is_saved = !strcmp(variant, "saved");
	state = malloc(system_pages * PAGE);
	need(state, "malloc");
	fill(state, system_pages * PAGE);
}

static void fork_change(uint64_t page)
{
	fill(state + page * PAGE, PAGE);
	changed_pages++;
}

static uint64_t number_in(const char *path, const char *key)
{
	FILE *f = fopen(path, "r");
	uint64_t number = 0;
	char line[256];

	need(f, path);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			number = strtoull(line + strlen(key), NULL, 10);
	fclose(f);
	return number;
}

/* c: change a page; o: look at a word. It ends when its parent does. */
static void child_hold(int socket)
{
	char order = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	do {
		if (order == 'c')
			fill(state + system_pages / 2 * PAGE, PAGE);
		if (order == 'o')
			order = state[system_pages / 2 * PAGE];
	} while (write(socket, &order, 1) == 1 && read(socket, &order, 1) == 1);
	_exit(0);
}

static void child_ask(int socket, char order)
{
	need((!order || write(socket, &order, 1) == 1) && read(socket, &order, 1) == 1, "the child");
}

/* Of a version the kernel keeps those pages that its parent writes later. */
static uint64_t child_bytes(pid_t child)
{
	char path[64];
	uint64_t pages = changed_pages;

	snprintf(path, sizeof(path), "/proc/%d/status", child);
	changed_pages = 0;
	return number_in(path, "VmPTE:") * 1024 + pages * PAGE;
}

static pid_t last_child;

static bool hold(int *place)
{
	int pair[2];

	if (number_in("/proc/meminfo", "MemAvailable:") < memory_least_kib)
		return false;
	need(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
	last_child = fork();
	if (!last_child)
		child_hold(pair[1]);
	need(last_child > 0, "fork");
	close(pair[1]);
	*place = pair[0];
	child_ask(*place, 0);
	return true;
}

static void child_save(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	uint64_t bytes = system_pages * PAGE;

	need(fd >= 0, path);
	for (uint64_t at = 0, n; at < bytes; at += n) {
		n = bytes - at < 1 << 20 ? bytes - at : 1 << 20;
		need(write(fd, state + at, n) == (ssize_t)n, "write");
	}
	_exit(close(fd));
}

static bool save(enum kind kind, unsigned n)
{
	pid_t child = fork();
	int status;

	if (!child)
		child_save(path_of_kept(kind, n));
	need(child > 0 && waitpid(child, &status, 0) == child && !status, "the child");
	copy_settle(kind, n);
	return true;
}

static bool fork_keep(enum kind kind, unsigned n)
{
	if (is_saved)
		return save(kind, n);
	return n < CHILDREN_MOST && hold(&(kind == VERSION ? version_child : branch_child)[n]);
}

static void fork_branch_change(unsigned n)
{
	uint64_t content[PAGE / 8];
	int fd;

	if (!is_saved) {
		child_ask(branch_child[n], 'c');
		return;
	}
	fd = open(path_of_kept(BRANCH, n), O_WRONLY);
	fill(content, PAGE);
	need(fd >= 0 && pwrite(fd, content, PAGE, (off_t)(system_pages / 2 * PAGE)) == PAGE && !fsync(fd) && !close(fd),
	     "the branch's page");
}

static void fork_look(unsigned n)
{
	char word[8];
	int fd;

	if (!is_saved) {
		child_ask(version_child[n], 'o');
		return;
	}
	fd = open(path_of_kept(VERSION, n), O_RDONLY);
	need(fd >= 0 && pread(fd, word, sizeof(word), (off_t)(system_pages / 2 * PAGE)) == sizeof(word) && !close(fd),
	     "pread");
}

static void fork_tidy(void)
{
	if (last_child)
		held_bytes += child_bytes(last_child);
	last_child = 0;
}

static uint64_t fork_space(void)
{
	return held_bytes;
}

int main(int argc, char **argv)
{
	bool is_held = argc == 4 && strcmp(argv[3], "saved");

	return system_main(argc, argv,
	                   &(struct system){fork_make, fork_change, fork_keep, fork_branch_change, fork_look, fork_tidy,
	                                    is_held ? fork_space : NULL});
}
