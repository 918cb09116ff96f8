/* scratch.c - see scratch.h. */
#include "scratch.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static char folder[256];
static pid_t owner;

static void folder_remove(void)
{
	DIR *d = getpid() == owner && !getenv("SOFTPM_KEEP") ? opendir(folder) : NULL;

	if (!d)
		return;
	for (struct dirent *e; (e = readdir(d));) {
		char path[600];

		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		if (e->d_name[0] != '.')
			unlink(path);
	}
	closedir(d);
	rmdir(folder);
}

const char *scratch(const char *name)
{
	static char path[4][512];
	static unsigned next;
	char *p = path[next++ % 4];

	if (!folder[0]) {
		const char *base = getenv("TMPDIR");

		snprintf(folder, sizeof(folder), "%s/softpm-test-XXXXXX", base ? base : ".");
		if (!mkdtemp(folder)) {
			perror(folder);
			exit(1);
		}
		owner = getpid();
		atexit(folder_remove);
	}
	snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
	return p;
}

uint64_t test_number(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

uint64_t test_seed(void)
{
	uint64_t seed = 0;

	if (getrandom(&seed, sizeof(seed), 0) < 0)
		perror("getrandom");
	seed = test_number("SOFTPM_SEED", seed | 1);
	printf("SOFTPM_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

uint64_t test_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}
