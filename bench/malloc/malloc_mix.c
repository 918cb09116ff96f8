/* malloc_mix.c - what an allocation costs in a program that uses what it allocates.
 *
 * Keeps a set of live objects with sizes log-uniform from 16 B to 64 KiB, replaces a random one per step and fills the
 * new one wholly. Calls plain malloc and free, so the allocator is chosen by LD_PRELOAD (run.sh).
 *
 *   malloc_mix single|two|handoff [steps]
 *
 *   single   one thread       two      two threads, a set each       handoff   one allocates, the other frees
 *
 * Prints: ns per step (one malloc, one fill, one free), and peak resident KiB.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { LIVE = 10000, RING = 1024 };

static long steps = 2000000;
static _Atomic(void *) ring[RING];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Log-uniform: a doubling at random, then evenly inside it. */
static size_t random_size(uint64_t *x)
{
	uint64_t r = next_random(x);
	size_t base = (size_t)16 << (r % 12);

	return base + (size_t)((r >> 16) % base);
}

static void *filled(uint64_t *x)
{
	size_t bytes = random_size(x);
	void *p = malloc(bytes);

	if (!p)
		abort();
	memset(p, 0x5a, bytes);
	return p;
}

static void *churn(void *arg)
{
	uint64_t x = (uintptr_t)arg * 0x9e3779b97f4a7c15u + 1;
	void **live = calloc(LIVE, sizeof(*live));

	for (long i = 0; i < steps; i++) {
		size_t j = next_random(&x) % LIVE;

		free(live[j]);
		live[j] = filled(&x);
	}
	for (size_t j = 0; j < LIVE; j++)
		free(live[j]);
	free(live);
	return NULL;
}

static void *produce(void *arg)
{
	uint64_t x = (uintptr_t)arg * 0x9e3779b97f4a7c15u + 1;

	for (long i = 0; i < steps; i++) {
		void *p = filled(&x);

		while (atomic_load(&ring[i % RING]))
			__builtin_ia32_pause();
		atomic_store(&ring[i % RING], p);
	}
	return NULL;
}

static void *consume(void *arg)
{
	(void)arg;
	for (long i = 0; i < steps; i++) {
		void *p;

		while (!(p = atomic_load(&ring[i % RING])))
			__builtin_ia32_pause();
		atomic_store(&ring[i % RING], NULL);
		free(p);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *mix = argc > 1 ? argv[1] : "single";
	struct rusage usage;
	pthread_t t;
	double start, spent;

	if (argc > 2)
		steps = atol(argv[2]);
	start = now();
	if (!strcmp(mix, "single")) {
		churn((void *)1);
	} else if (!strcmp(mix, "two")) {
		pthread_create(&t, NULL, churn, (void *)2);
		churn((void *)1);
		pthread_join(t, NULL);
	} else if (!strcmp(mix, "handoff")) {
		pthread_create(&t, NULL, consume, NULL);
		produce((void *)1);
		pthread_join(t, NULL);
	} else {
		fprintf(stderr, "usage: malloc_mix single|two|handoff [steps]\n");
		return 2;
	}
	spent = now() - start;
	getrusage(RUSAGE_SELF, &usage);
	printf("%.1f %ld\n", spent / (double)steps, usage.ru_maxrss);
	return 0;
}
