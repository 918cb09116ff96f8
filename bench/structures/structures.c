/* structures.c - the measuring half of every program here; see structures.h. */
#include "structures.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POINTS_MOST = 1000, ARGUMENTS_MOST = 12 };

static const struct system *system_;
static const struct structure *structure;
static struct setting setting = {.locality = -1};
static uint64_t step; /* multiples of it reach all keys, evenly spread */
static uint64_t *key; /* of a batch: their numbers */
static volatile char sink;
static uint64_t hash, count;
static double resident_before;

/* A map's has its top bit set: it looks like no address. */
static uint64_t key_of(uint64_t number)
{
	return structure->is_map ? number * UINT64_C(0x9e3779b97f4a7c15) | UINT64_C(1) << 63 : number;
}

static struct entry entry_of(uint64_t number, uint64_t round)
{
	struct entry e = {.key = key_of(number)};
	uint64_t seed = (number + 1) * 2654435761u + round * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i < VALUE_BYTES; i += sizeof(seed)) {
		uint64_t word = random_next(&seed) | UINT64_C(1) << 63; /* looks like no address */

		memcpy(e.value + i, &word, sizeof(word));
	}
	return e;
}

static int key_order(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* All batches of one operation together have no key twice. */
static void batch_spread(uint64_t number)
{
	for (uint64_t i = 0; i < setting.batch; i++)
		key[i] = (number * setting.batch + i) * step % setting.elements;
}

static void batch_local(uint64_t number)
{
	uint64_t seed = number + 1, last = 0;

	for (uint64_t i = 0; i < setting.batch; i++) {
		bool is_next = i && (double)(random_next(&seed) >> 11) * 0x1p-53 < setting.locality;

		last = (is_next ? last + 1 : random_next(&seed)) % setting.elements;
		key[i] = last;
	}
}

static void batch_draw(uint64_t number)
{
	if (structure->batch_begin)
		structure->batch_begin();
	if (setting.locality < 0)
		batch_spread(number);
	else
		batch_local(number);
	qsort(key, setting.batch, sizeof(*key), key_order);
}

/* ---- the operations on one batch ---- */

static void note(enum change_kind kind, const struct entry *entry)
{
	if (system_->note)
		system_->note(kind, entry);
}

static void element_add(uint64_t number)
{
	struct entry e = entry_of(number, 0);

	structure->add(&e);
	note(ADDED, &e);
}

static void create(uint64_t number)
{
	(void)number;
	for (uint64_t i = 0; i < setting.elements; i++)
		element_add(i);
}

static void query(uint64_t number)
{
	batch_draw(number);
	for (uint64_t i = 0; i < setting.batch; i++)
		sink = (char)(sink + structure->find(key_of(key[i]))[0]);
}

static void modify(uint64_t number)
{
	batch_draw(number);
	for (uint64_t i = 0; i < setting.batch; i++) {
		struct entry e = entry_of(key[i], number + 1);

		memcpy(structure->find(key_of(key[i])), e.value, VALUE_BYTES);
		note(CHANGED, &e);
	}
}

static void add(uint64_t number)
{
	for (uint64_t i = 0; i < setting.batch; i++)
		element_add(setting.elements + number * setting.batch + i);
}

static void remove_some(uint64_t number)
{
	batch_draw(number);
	for (uint64_t i = 0; i < setting.batch; i++) {
		structure->remove(key_of(key[i]));
		note(REMOVED, &(struct entry){.key = key_of(key[i])});
	}
}

/* ---- measuring ---- */

static void rows(const char *operation, double *us, uint64_t points, uint64_t bytes, uint64_t pages)
{
	char metric[64];

	row(operation, median_of(us, points), "us");
	if (!strcmp(operation, "query"))
		return;
	snprintf(metric, sizeof(metric), "%s, stored", operation);
	row(metric, (double)bytes / 1024 / (double)points, "KiB");
	if (!system_->dirty_pages)
		return;
	snprintf(metric, sizeof(metric), "%s, dirty", operation);
	row(metric, (double)pages / (double)points, "pages");
}

static void measure(const char *operation, void (*batch)(uint64_t number), uint64_t points)
{
	static double us[POINTS_MOST];
	uint64_t bytes = system_->stored_bytes(), pages = system_->dirty_pages ? system_->dirty_pages() : 0;

	for (uint64_t i = 0; i < points; i++) {
		uint64_t began = now_ns();

		batch(i);
		if (batch != query)
			system_->point();
		us[i] = (double)(now_ns() - began) / 1e3;
	}
	rows(operation, us, points, system_->stored_bytes() - bytes,
	     system_->dirty_pages ? system_->dirty_pages() - pages : 0);
}

static void element_look(uint64_t number, const char *value)
{
	hash += hash_of(&number, sizeof(number)) ^ hash_of(value, VALUE_BYTES);
	count++;
}

static void run(void)
{
	measure("create", create, 1);
	if (setting.locality < 0)
		measure("query", query, setting.points);
	measure("modify", modify, setting.points);
	if (setting.locality < 0) {
		measure("add", add, setting.points);
		measure("remove", remove_some, setting.points);
	}
	structure->each(element_look);
}

/* The structure comes back, and all of it is looked at. */
static void restore(void)
{
	structure->each(element_look);
	row("restore", (double)(now_ns() - setting.began_ns) / 1e3, "us");
	row("resident", (resident_bytes() - resident_before) / (double)count, "bytes/element");
	need(hash == setting.expected, "bringing the structure back as it was");
	row_data(hash);
}

static void start_anew(int argc, char **argv)
{
	char began[40], expected[40], *arguments[ARGUMENTS_MOST + 3] = {NULL};

	need(argc <= ARGUMENTS_MOST, "starting anew with so many arguments");
	memcpy(arguments, argv, (size_t)argc * sizeof(*argv));
	arguments[argc] = began;
	arguments[argc + 1] = expected;
	fflush(stdout);
	snprintf(expected, sizeof(expected), "expected=%llu", (unsigned long long)hash);
	snprintf(began, sizeof(began), "began=%llu", (unsigned long long)now_ns());
	execv("/proc/self/exe", arguments);
	need(false, "starting anew");
}

/* ---- several processes ---- */

static struct shared {
	pthread_barrier_t all;
	_Atomic uint64_t hash;
} * shared;

static void one_of_many(void)
{
	uint64_t began, created, changed;

	system_->open(&setting);
	pthread_barrier_wait(&shared->all);
	began = now_ns();
	create(0);
	system_->point();
	pthread_barrier_wait(&shared->all);
	created = now_ns();
	for (uint64_t i = 0; i < setting.points; i++) {
		modify(i);
		system_->point();
	}
	pthread_barrier_wait(&shared->all);
	changed = now_ns();
	structure->each(element_look);
	shared->hash += hash;
	pthread_barrier_wait(&shared->all);
	if (setting.process == 0) {
		row("create", (double)(created - began) / 1e3, "us");
		row("modify", (double)(setting.points * setting.processes) * 1e9 / (double)(changed - created),
		    "points/s");
		row_data(shared->hash);
	}
	system_->close();
}

static void run_together(void)
{
	pthread_barrierattr_t attr;
	int status;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(shared != MAP_FAILED, "mmap");
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->all, &attr, (unsigned)setting.processes);
	for (; setting.process < setting.processes; setting.process++)
		if (!fork()) {
			one_of_many();
			exit(0);
		}
	for (uint64_t i = 0; i < setting.processes; i++)
		need(wait(&status) > 0 && !status, "a process");
}

/* The golden section of n, or a little more, without a divisor that n has too. */
static uint64_t step_of(uint64_t n)
{
	uint64_t golden = (uint64_t)((double)n * 0.6180339887498949) | 1, a, b, rest;

	for (;; golden++) {
		for (a = n, b = golden; b; b = rest) {
			rest = a % b;
			a = b;
		}
		if (a == 1)
			return golden;
	}
}

static void option_read(const char *argument)
{
	const char *text;

	if (option_text(argument, "locality", &text))
		setting.locality = atof(text);
	else
		need(option_number(argument, "elements", &setting.elements) ||
		             option_number(argument, "batch", &setting.batch) ||
		             option_number(argument, "points", &setting.points) ||
		             option_number(argument, "chunk", &setting.chunk_bytes) ||
		             option_number(argument, "processes", &setting.processes) ||
		             option_number(argument, "began", &setting.began_ns) ||
		             option_number(argument, "expected", &setting.expected),
		     argument);
}

static void setting_read(int argc, char **argv)
{
	need(argc > 3, "usage: FOLDER VARIANT STRUCTURE NAME=VALUE...:");
	setting.folder = argv[1];
	setting.variant = argv[2];
	setting.structure = argv[3];
	for (int i = 4; i < argc; i++)
		option_read(argv[i]);
	need(setting.elements && setting.elements <= 100000000, "elements");
	need(setting.points && setting.points <= POINTS_MOST, "points");
	need(setting.batch && setting.batch * setting.points <= setting.elements,
	     "batch (times points: elements at most)");
	for (size_t i = 0; system_->structure[i]; i++)
		if (!strcmp(system_->structure[i]->name, setting.structure))
			structure = system_->structure[i];
	need(structure != NULL, "finding a structure of that name");
	step = step_of(setting.elements);
	key = calloc(setting.batch, sizeof(*key));
	need(key != NULL, "calloc");
}

int structures_main(int argc, char **argv, const struct system *s)
{
	system_ = s;
	setting_read(argc, argv);
	if (setting.processes) {
		run_together();
		return 0;
	}
	resident_before = resident_bytes();
	s->open(&setting);
	if (setting.began_ns)
		restore();
	else
		run();
	s->close();
	if (!setting.began_ns)
		start_anew(argc, argv);
	return 0;
}
