/* measure.h - what the programs that bench/run starts have in common: clocks, random numbers, and how they tell what they measured.
 *
 * Such a program is one system in one setting. It prints a line for each figure, and last what its data comes to, so that the driver can
 * check that all systems of a setting hold the same:
 *
 *     METRIC <tab> VALUE <tab> UNIT
 *     data <tab> HASH
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ends the program with a message unless `ok`. */
void need(bool ok, const char *what);

uint64_t now_ns(void);
/* xorshift; the seed is not 0. */
uint64_t random_next(uint64_t *seed);
/* Summed up over all elements of a collection, it does not depend on their order. */
uint64_t hash_of(const void *bytes, size_t n);
/* Sorts the samples. */
double median_of(double *sample, size_t n);
/* Memory of this process that is resident, in bytes. */
double resident_bytes(void);

/* Whether the argument is NAME=VALUE with this name; then *value gets a number, or what follows the sign. */
bool option_number(const char *argument, const char *name, uint64_t *value);
bool option_text(const char *argument, const char *name, const char **value);

void row(const char *metric, double value, const char *unit);
void row_data(uint64_t hash);

#endif
