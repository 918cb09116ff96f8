/* system.c - the measuring half of every program here; see system.h. */
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char *system_folder;
uint64_t system_pages;

static uint64_t random_state = 88172645463325252u;
static uint64_t copied_bytes;
static char copy_old[4096]; /* to be deleted after the command; empty: none */

void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s failed: %s\n", what, strerror(errno));
	exit(1);
}

const char *path_of(const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", system_folder, name);
	return path;
}

const char *path_of_kept(enum kind kind, unsigned n)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%c%u", system_folder, kind, n);
	return path;
}

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	return random_state ^= random_state << 17;
}

void fill(void *to, size_t bytes)
{
	uint64_t *word = to;

	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		word[i] = random_next();
}

uint64_t random_page(void)
{
	return random_next() % system_pages;
}

void folder_sync(void)
{
	int fd = open(system_folder, O_RDONLY | O_DIRECTORY);

	need(fd >= 0 && !fsync(fd) && !close(fd), "fsync of the folder");
}

void copy_settle(enum kind kind, unsigned n)
{
	int fd = open(path_of_kept(kind, n), O_RDONLY);
	struct stat st;

	need(fd >= 0 && !fsync(fd) && !fstat(fd, &st) && !close(fd), "fsync of the copy");
	folder_sync();
	copied_bytes += (uint64_t)st.st_blocks * 512;
	if (n > 2)
		strcpy(copy_old, path_of_kept(kind, n - 1));
}

static void copies_tidy(void)
{
	if (*copy_old)
		need(!unlink(copy_old), "deleting a copy");
	*copy_old = 0;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool version_make(const struct system *s, unsigned n)
{
	for (uint64_t i = 0; i < system_pages / 100; i++)
		s->change(random_page());
	return s->keep(VERSION, n);
}

static void answer(const struct system *s, char command, unsigned n)
{
	double begin = now_ms(), middle;
	bool is_kept = true;

	switch (command) {
	case 'v':
		is_kept = version_make(s, n);
		break;
	case 'b':
	case 'c':
		is_kept = s->keep(BRANCH, n);
		break;
	case 'o':
		s->look(n);
		break;
	default:
		printf("%llu\n", (unsigned long long)(s->space ? s->space() : copied_bytes));
		return;
	}
	middle = now_ms() - begin;
	if (command == 'c' && is_kept)
		s->branch_change(n);
	begin = now_ms() - begin;
	if (s->tidy)
		s->tidy();
	copies_tidy();
	if (!is_kept)
		printf("full\n");
	else if (command == 'c')
		printf("%.6f %.6f\n", middle, begin);
	else
		printf("%.6f\n", middle);
}

int system_main(int argc, char **argv, const struct system *s)
{
	char command;
	unsigned n;

	if (argc != 4) {
		fprintf(stderr, "usage: %s FOLDER PAGES VARIANT, then commands on standard input\n", argv[0]);
		return 2;
	}
	system_folder = argv[1];
	system_pages = strtoull(argv[2], NULL, 10);
	need(!mkdir(system_folder, 0700), system_folder);
	s->make(argv[3]);
	printf("ready\n");
	fflush(stdout);
	while (scanf(" %c %u", &command, &n) == 2) {
		answer(s, command, n);
		fflush(stdout);
	}
	fflush(stdout);
	_exit(0); /* whoever measures deletes all of it */
}
