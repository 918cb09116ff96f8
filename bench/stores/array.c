/* array.c - what no store can beat at reading: values in an array in memory, in the order of their keys. Keeps nothing. */
#include "store.h"

#include <stdlib.h>
#include <string.h>

static char (*values)[VALUE_BYTES];

static void array_open(const char *folder, const char *variant, bool is_lazy)
{
	(void)folder, (void)variant, (void)is_lazy;
	values = calloc(store_keys, VALUE_BYTES);
	need(values != NULL, "calloc");
}

static void array_put(uint64_t key, const char value[VALUE_BYTES])
{
	memcpy(values[key], value, VALUE_BYTES);
}

static void nothing(void)
{
}

static void array_get(uint64_t key, char value[VALUE_BYTES])
{
	memcpy(value, values[key], VALUE_BYTES);
}

static unsigned array_scan(uint64_t key, unsigned n, void (*see)(const char value[VALUE_BYTES]))
{
	unsigned seen = 0;

	for (; seen < n && key + seen < store_keys; seen++)
		see(values[key + seen]);
	return seen;
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){array_open, array_put, nothing, nothing, array_get, array_scan, nothing});
}
