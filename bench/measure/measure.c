/* measure.c - see measure.h. */
#include "measure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s failed (%s)\n", what, strerror(errno));
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

uint64_t hash_of(const void *bytes, size_t n)
{
	const unsigned char *byte = bytes;
	uint64_t hash = n * UINT64_C(0x9e3779b97f4a7c15), word;

	for (; n; byte += sizeof(word), n -= n < sizeof(word) ? n : sizeof(word)) {
		word = 0;
		memcpy(&word, byte, n < sizeof(word) ? n : sizeof(word));
		hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
		hash ^= hash >> 32;
	}
	return hash;
}

static int sample_order(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

double median_of(double *sample, size_t n)
{
	qsort(sample, n, sizeof(*sample), sample_order);
	return n % 2 ? sample[n / 2] : (sample[n / 2 - 1] + sample[n / 2]) / 2;
}

double resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	need(f && fscanf(f, "%*u %lu", &pages) == 1, "/proc/self/statm");
	fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

bool option_text(const char *argument, const char *name, const char **value)
{
	size_t n = strlen(name);

	if (strncmp(argument, name, n) || argument[n] != '=')
		return false;
	*value = argument + n + 1;
	return true;
}

bool option_number(const char *argument, const char *name, uint64_t *value)
{
	const char *text;

	if (!option_text(argument, name, &text))
		return false;
	*value = strtoull(text, NULL, 0);
	return true;
}

void row(const char *metric, double value, const char *unit)
{
	printf("%s\t%.6g\t%s\n", metric, value, unit);
}

void row_data(uint64_t hash)
{
	printf("data\t%016llx\n", (unsigned long long)hash);
}
