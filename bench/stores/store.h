/* store.h - what many stores do with values of 100 bytes, each in a program of its own, bench_store_NAME:
 *
 *     FOLDER SECONDS [THREADS [VARIANT]]
 *
 * How many durable updates of a value among 100,000 in a second (store.c)? The store is opened in FOLDER, or made and filled; values of random
 * keys are updated for SECONDS, each update durable before the next one begins; one is read back. Prints updates a second and the median and
 * 99th percentile in microseconds. The rest (open, fill, close) is not measured.
 *
 *     FOLDER mix=A|B|C|D|E|F VARIANT keys=N operations=N zipfian=0|1 batch=N
 *     FOLDER scan VARIANT keys=N
 *     FOLDER recover VARIANT keys=N
 *
 * Mixes of operations, as YCSB has them, all values read in the order of the keys, and the recovery after a kill (mix.c).
 */
#ifndef STORE_H
#define STORE_H

#include "measure.h"

enum { VALUE_BYTES = 100 };

struct store {
	/* All paths of the store begin with `folder`/. is_lazy: commits need not wait for the device. */
	void (*open)(const char *folder, const char *variant, bool is_lazy);
	/* Adds or changes; part of the transaction that ends with the next commit of this thread. */
	void (*put)(uint64_t key, const char value[VALUE_BYTES]);
	/* Durable on return, unless is_lazy. Only puts came before, of this thread. */
	void (*commit)(void);
	/* What was committed lazily is durable on return. Follows the fill of a new store, too. */
	void (*sync)(void);
	/* The key is there. NULL: nothing to read back */
	void (*get)(uint64_t key, char value[VALUE_BYTES]);
	/* Reads up to n values, in the order of the keys, from that of `key` on; returns how many. NULL, or of some variants 0: can't. */
	unsigned (*scan)(uint64_t key, unsigned n, void (*see)(const char value[VALUE_BYTES]));
	void (*close)(void);
	bool is_threaded; /* put and commit may be called by several threads */
	bool is_zeroed;   /* in its first variant a new store has zero values for all keys */
};

int store_main(int argc, char **argv, const struct store *s);
int mix_main(int argc, char **argv, const struct store *s);

/* How many keys there are at first, 0 to that: known before open. */
extern uint64_t store_keys;

/* Puts zero values for all keys, durably. */
void store_fill(const struct store *s);
/* "FOLDER/NAME" in static storage, and whether it exists. */
const char *store_path(const char *folder, const char *name);
bool store_exists(const char *path);

/* The key with its bytes in an order in which memcmp orders numbers. */
static inline uint64_t key_bytes(uint64_t key)
{
	return __builtin_bswap64(key);
}

#endif
