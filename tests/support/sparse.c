/* sparse.c - see sparse.h. */
#include "sparse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROW = 16 };
static const uint64_t bytes_most = UINT64_C(1) << 30;

static int row_read(const char *line, unsigned char *volume, uint64_t bytes)
{
	char *at;
	uint64_t offset = strtoull(line, &at, 16);

	if (*at++ != ' ' || offset > bytes - ROW)
		return -1;
	for (unsigned i = 0; i < ROW; i++) {
		unsigned byte;

		if (sscanf(at + 2 * i, "%2x", &byte) != 1)
			return -1;
		volume[offset + i] = (unsigned char)byte;
	}
	return 0;
}

unsigned char *sparse_read(const char *path, uint64_t *bytes)
{
	FILE *f = fopen(path, "r");
	unsigned char *volume = NULL;
	char line[128];
	int err = !f;

	if (!err && fgets(line, sizeof(line), f))
		*bytes = strtoull(line, NULL, 10);
	err = err || *bytes < ROW || *bytes > bytes_most;
	if (!err)
		volume = calloc(1, *bytes);
	while (!err && fgets(line, sizeof(line), f))
		err = row_read(line, volume, *bytes);
	if (f)
		fclose(f);
	if (!err)
		return volume;
	fprintf(stderr, "%s is no volume as text\n", path);
	free(volume);
	return NULL;
}

int sparse_write(const char *path, const unsigned char *volume, uint64_t bytes)
{
	static const unsigned char zero[ROW];
	FILE *f = fopen(path, "w");

	if (!f)
		return -1;
	fprintf(f, "%llu\n", (unsigned long long)bytes);
	for (uint64_t at = 0; at + ROW <= bytes; at += ROW) {
		if (!memcmp(volume + at, zero, ROW))
			continue;
		fprintf(f, "%llx ", (unsigned long long)at);
		for (unsigned i = 0; i < ROW; i++)
			fprintf(f, "%02x", volume[at + i]);
		fputc('\n', f);
	}
	return fclose(f);
}

unsigned char *file_read(const char *path, uint64_t *bytes)
{
	FILE *f = fopen(path, "r");
	unsigned char *all = NULL;
	long length = -1;

	if (f && !fseek(f, 0, SEEK_END))
		length = ftell(f);
	if (length >= 0) {
		*bytes = (uint64_t)length;
		all = malloc(*bytes + 1);
		rewind(f);
	}
	if (all && fread(all, 1, *bytes, f) != *bytes) {
		free(all);
		all = NULL;
	}
	if (f)
		fclose(f);
	return all;
}

int file_write(const char *path, const unsigned char *volume, uint64_t bytes)
{
	FILE *f = fopen(path, "w");
	int err = !f || (bytes && fwrite(volume, 1, bytes, f) != bytes);

	if (f)
		err |= fclose(f) != 0;
	return err ? -1 : 0;
}

const char *test_source(const char *name)
{
	static char path[1024];
	const char *source = getenv("SOFTPM_SOURCE");

	snprintf(path, sizeof(path), "%s/tests/%s", source ? source : TEST_SOURCE, name);
	return path;
}
