/* structures.c - the measuring half of every program here; see structures.h. */
#include "structures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POINTS_MOST = 1000 };

struct setting {
	const char *folder, *name, *variant;
	uint64_t elements, batch, points;
};

static const struct system *system_;
static const struct structure *structure;
static struct setting setting;
static uint64_t step; /* multiples of it reach all keys, evenly spread */
static uint64_t *key; /* of a batch */
static volatile char sink;
static uint64_t hash, count;

static struct entry entry_of(uint64_t number, uint64_t round)
{
	struct entry e = {.key = number};
	uint64_t seed = (number + 1) * 2654435761u + round * UINT64_C(0x9e3779b97f4a7c15);

	for (size_t i = 0; i < VALUE_BYTES; i += sizeof(seed)) {
		random_next(&seed);
		memcpy(e.value + i, &seed, sizeof(seed));
	}
	return e;
}

static int key_order(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return a < b ? -1 : a > b;
}

/* All batches of one operation together have no key twice. */
static void batch_draw(uint64_t number)
{
	for (uint64_t i = 0; i < setting.batch; i++)
		key[i] = (number * setting.batch + i) * step % setting.elements;
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
		sink = (char)(sink + structure->find(key[i])[0]);
}

static void modify(uint64_t number)
{
	batch_draw(number);
	for (uint64_t i = 0; i < setting.batch; i++) {
		struct entry e = entry_of(key[i], number + 1);

		memcpy(structure->find(key[i]), e.value, VALUE_BYTES);
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
		structure->remove(key[i]);
		note(REMOVED, &(struct entry){.key = key[i]});
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

		if (structure->batch_begin)
			structure->batch_begin();
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
	measure("query", query, setting.points);
	measure("modify", modify, setting.points);
	measure("add", add, setting.points);
	measure("remove", remove_some, setting.points);
	structure->each(element_look);
}

/* In a process that began at began_ns: the structure comes back, and all of it is looked at. */
static void restore(const char *began_ns, const char *expected)
{
	uint64_t began = strtoull(began_ns, NULL, 0);

	structure->each(element_look);
	row("restore", (double)(now_ns() - began) / 1e3, "us");
	row("resident", resident_bytes() / (double)count, "bytes/element");
	need(hash == strtoull(expected, NULL, 0), "bringing the structure back as it was");
	row_data(hash);
}

static void start_anew(char **argv)
{
	char began[32], expected[32];
	const char *arguments[10];

	for (size_t i = 0; i < 7; i++)
		arguments[i] = argv[i];
	snprintf(expected, sizeof(expected), "%llu", (unsigned long long)hash);
	arguments[7] = began;
	arguments[8] = expected;
	arguments[9] = NULL;
	fflush(stdout);
	snprintf(began, sizeof(began), "%llu", (unsigned long long)now_ns());
	execv("/proc/self/exe", (char **)(uintptr_t)arguments);
	need(false, "starting anew");
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

static void setting_read(char **argv)
{
	setting = (struct setting){argv[1],
	                           argv[2],
	                           argv[6],
	                           strtoull(argv[3], NULL, 0),
	                           strtoull(argv[4], NULL, 0),
	                           strtoull(argv[5], NULL, 0)};
	need(setting.elements && setting.elements <= 100000000, "ELEMENTS");
	need(setting.points && setting.points <= POINTS_MOST, "POINTS");
	need(setting.batch && setting.batch * setting.points <= setting.elements,
	     "BATCH (times POINTS: ELEMENTS at most)");
	for (size_t i = 0; system_->structure[i]; i++)
		if (!strcmp(system_->structure[i]->name, setting.name))
			structure = system_->structure[i];
	need(structure != NULL, "finding a structure of that name");
	step = step_of(setting.elements);
	key = calloc(setting.batch, sizeof(*key));
	need(key != NULL, "calloc");
}

int structures_main(int argc, char **argv, const struct system *s)
{
	bool is_anew = argc == 9;

	need(argc == 7 || is_anew, "usage: FOLDER STRUCTURE ELEMENTS BATCH POINTS VARIANT:");
	system_ = s;
	setting_read(argv);
	s->open(setting.folder, setting.name, setting.variant);
	if (is_anew)
		restore(argv[7], argv[8]);
	else
		run();
	s->close();
	if (!is_anew)
		start_anew(argv);
	return 0;
}
