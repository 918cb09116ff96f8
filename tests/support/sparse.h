/* sparse.h - a volume as text, in the tree: its length, then those 16-byte rows that are not zero, "OFFSET HEX". */
#ifndef TEST_SPARSE_H
#define TEST_SPARSE_H

#include <stdint.h>

/* NULL and a message on stderr if it can't be read. To be freed. */
unsigned char *sparse_read(const char *path, uint64_t *bytes);
int sparse_write(const char *path, const unsigned char *volume, uint64_t bytes);
/* A whole file, to be freed; and back. NULL and -1 on failure. */
unsigned char *file_read(const char *path, uint64_t *bytes);
int file_write(const char *path, const unsigned char *volume, uint64_t bytes);
/* Path of NAME in the source tree's tests/. Static storage. */
const char *test_source(const char *name);

#endif
