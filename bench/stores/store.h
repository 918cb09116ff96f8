/* store.h - one question to many stores: how many durable updates of one 100-byte value among 100,000 in a second?
 *
 * Every store is a program of its own:  bench_store_NAME FOLDER SECONDS [THREADS [VARIANT]]
 * It opens the store in FOLDER, or makes and fills it, updates values of random keys for SECONDS, each update durable before
 * the next one begins, reads one back, and prints updates a second and the median and 99th percentile in microseconds.
 * The rest of a round (open, fill, close) is not measured.
 */
#ifndef STORE_H
#define STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEYS = 100000, VALUE_BYTES = 100 };

struct store {
	/* All paths of the store begin with `folder`/. Fills it with KEYS zero values if it is new. */
	void (*open)(const char *folder, const char *variant);
	/* Durable on return. */
	void (*put)(uint32_t key, const char value[VALUE_BYTES]);
	void (*get)(uint32_t key, char value[VALUE_BYTES]); /* NULL: nothing to read back */
	void (*close)(void);
	bool is_threaded; /* put may be called by several threads */
};

int store_main(int argc, char **argv, const struct store *s);

/* Ends the program with a message unless `ok`. */
void need(bool ok, const char *what);
/* "FOLDER/NAME" in static storage, and whether it exists. */
const char *store_path(const char *folder, const char *name);
bool store_exists(const char *path);

#endif
