/* scratch.h - a folder for a test's volumes, gone at exit; and a seed that a failure prints and takes back. */
#ifndef TEST_SCRATCH_H
#define TEST_SCRATCH_H

#include <stdint.h>

/* Path of NAME in the test's own folder (below $TMPDIR or the working directory). Static storage, four at a time. */
const char *scratch(const char *name);
/* $SOFTPM_SEED or a random number; printed. */
uint64_t test_seed(void);
/* The next number of a small generator. */
uint64_t test_random(uint64_t *state);
/* A number from the environment, or the default. */
uint64_t test_number(const char *variable, uint64_t otherwise);

#endif
