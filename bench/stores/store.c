/* store.c - durable updates, and what all programs here share; see store.h. */
#include "store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { THREADS_MOST = 64, SAMPLES_MOST = 1 << 20 };

uint64_t store_keys = 100000;
static const struct store *store;
static double seconds;

struct worker {
	pthread_t thread;
	uint64_t seed, updates;
	uint64_t last_key;
	uint32_t samples;
	char last[VALUE_BYTES];
	uint32_t *sample; /* ns */
};

const char *store_path(const char *folder, const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

bool store_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

void store_fill(const struct store *s)
{
	static const char zeros[VALUE_BYTES];

	for (uint64_t key = 0; key < store_keys; key++) {
		s->put(key, zeros);
		if (key % 10000 == 9999)
			s->commit();
	}
	if (store_keys % 10000)
		s->commit();
	s->sync();
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	uint64_t began = now_ns(), end = began + (uint64_t)(seconds * 1e9), before = began, after;

	do {
		w->last_key = random_next(&w->seed) % store_keys;
		snprintf(w->last, sizeof(w->last), "value %llu of key %llu", (unsigned long long)w->seed,
		         (unsigned long long)w->last_key);
		store->put(w->last_key, w->last);
		store->commit();
		after = now_ns();
		if (w->samples < SAMPLES_MOST)
			w->sample[w->samples++] = (uint32_t)(after - before);
		before = after;
		w->updates++;
	} while (after < end);
	return NULL;
}

static int sample_order(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

static void report(struct worker *w, int threads, double elapsed)
{
	size_t n = 0;
	uint64_t updates = 0;
	uint32_t *all = malloc(sizeof(*all) * SAMPLES_MOST * (size_t)threads);

	need(all != NULL, "malloc");
	for (int i = 0; i < threads; i++) {
		memcpy(all + n, w[i].sample, w[i].samples * sizeof(*all));
		n += w[i].samples;
		updates += w[i].updates;
	}
	qsort(all, n, sizeof(*all), sample_order);
	printf("%.0f %.1f %.1f\n", (double)updates / elapsed, all[n / 2] / 1e3, all[n - 1 - n / 100] / 1e3);
	free(all);
}

/* With one thread, the last value put is the one to be read. */
static void read_back(const struct worker *w)
{
	char value[VALUE_BYTES];

	store->get(w->last_key, value);
	need(!memcmp(value, w->last, VALUE_BYTES), "reading back the last value");
}

int store_main(int argc, char **argv, const struct store *s)
{
	static struct worker worker[THREADS_MOST];
	bool is_new;
	int threads = argc > 3 ? atoi(argv[3]) : 1;
	uint64_t began;

	if (argc > 2 && (!strncmp(argv[2], "mix=", 4) || !strcmp(argv[2], "scan") || !strcmp(argv[2], "recover")))
		return mix_main(argc, argv, s);
	need(argc > 2 && threads > 0 && threads <= THREADS_MOST, "usage: FOLDER SECONDS [THREADS [VARIANT]]:");
	need(threads == 1 || s->is_threaded, "this store: more than one thread");
	store = s;
	seconds = atof(argv[2]);
	is_new = mkdir(argv[1], 0700) == 0;
	s->open(argv[1], argc > 4 ? argv[4] : "", false);
	if (is_new && !s->is_zeroed)
		store_fill(s);
	began = now_ns();
	for (int i = 0; i < threads; i++) {
		worker[i].seed = began * 2 + 1 + (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15);
		worker[i].sample = malloc(sizeof(uint32_t) * SAMPLES_MOST);
		need(worker[i].sample != NULL, "malloc");
	}
	began = now_ns();
	for (int i = 1; i < threads; i++)
		need(!pthread_create(&worker[i].thread, NULL, worker_run, &worker[i]), "pthread_create");
	worker_run(&worker[0]); /* so one thread is one, for all stores */
	for (int i = 1; i < threads; i++)
		pthread_join(worker[i].thread, NULL);
	report(worker, threads, (double)(now_ns() - began) / 1e9);
	if (threads == 1 && s->get)
		read_back(&worker[0]);
	s->close();
	return 0;
}
