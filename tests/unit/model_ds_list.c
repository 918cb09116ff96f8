/* model_ds_list.c - lists beside plain C arrays of numbers that get the same million and more random operations. Beside each number is the
 * address of its node, which must never change while the process lives.
 *
 * What comes next follows from a random generator alone, so the model of any state is had by taking as many steps. The container lives through
 * many processes: each restores it, brings its copy of the model to the step that the container is at, compares, and goes on, with points and
 * visits to older versions (pCSwitch), until it ends or is killed, by itself at a random step, or by its parent at any instant. What was
 * reported durable is there after that, whole. $SOFTPM_STEPS: how many in all.
 */
#include "../../ds/list.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

#ifdef __SANITIZE_ADDRESS__
enum { STEPS = 60000 };
#else
enum { STEPS = 1200000 };
#endif
/* Lists 0 to 2 have numbers; 3 and 4 pointers to numbers; 5 and 6 structures of 100 bytes. */
enum { LISTS = 7, MOST = 1000, LIVES = 40, VERSIONS = 100000, COMPARE_EVERY = 2000 };
static const struct {
	unsigned first, lists;
	size_t bytes;
} kind[] = {{0, 3, 8}, {3, 2, 8}, {5, 2, 100}};
static const unsigned kind_of[LISTS] = {0, 0, 0, 1, 1, 2, 2};

/* ---- the model ---- */

struct item {
	uint64_t number;
	struct plist_node *node; /* only while this process has the list */
};
struct row {
	size_t n;
	struct item item[LISTS * MOST];
};
static struct model {
	uint64_t random, steps;
	struct row row[LISTS];
} model;

static struct root {
	uint64_t steps;
	struct plist *list[LISTS - 1], last; /* one is part of the root */
} * root;
static bool is_model_alone;

/* Shared with all processes: what versions are like, and how far the newest that was reported durable is. */
static struct note {
	uint64_t durable, visits;
	struct {
		uint64_t steps, digest;
	} version[VERSIONS];
} * note;

static size_t below(size_t n)
{
	return (size_t)(test_random(&model.random) % n);
}

static struct plist *list_of(struct root *r, unsigned l)
{
	return l == LISTS - 1 ? &r->last : r->list[l];
}

static void row_insert(struct row *r, size_t at, struct item item)
{
	memmove(r->item + at + 1, r->item + at, (r->n++ - at) * sizeof(item));
	r->item[at] = item;
}

static struct item row_remove(struct row *r, size_t at)
{
	struct item item = r->item[at];

	memmove(r->item + at, r->item + at + 1, (--r->n - at) * sizeof(item));
	return item;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = ((const struct item *)a)->number >> 48, y = ((const struct item *)b)->number >> 48;

	return (x > y) - (x < y);
}

/* Stable, as plist_sort. */
static void row_sort(struct row *r)
{
	for (size_t i = 1; i < r->n; i++) {
		struct item item = r->item[i];
		size_t k = i;

		for (; k && by_number(&r->item[k - 1], &item) > 0; k--)
			r->item[k] = r->item[k - 1];
		r->item[k] = item;
	}
}

/* ---- values ---- */

static void *value_make(unsigned l, uint64_t number)
{
	static unsigned char value[100];
	uint64_t *pointed;

	memset(value, (int)(0xc0 | (number & 7)), sizeof(value)); /* looks like no address */
	memcpy(value, &number, sizeof(number));
	if (kind_of[l] != 1)
		return value;
	pointed = pMallocNoPtr(sizeof(*pointed));
	EXPECT(pointed);
	*pointed = number;
	memcpy(value, &pointed, sizeof(pointed));
	return value;
}

static uint64_t number_of(unsigned l, const struct plist_node *n)
{
	const unsigned char *value = plist_value(n);
	const uint64_t *pointed;
	uint64_t number;

	memcpy(&pointed, value, sizeof(pointed));
	memcpy(&number, kind_of[l] == 1 ? (const void *)pointed : value, sizeof(number));
	if (kind_of[l] == 2)
		for (unsigned i = 8; i < 100; i++)
			EXPECT(value[i] == (0xc0 | (number & 7)));
	return number;
}

static void value_drop(unsigned l, const void *value)
{
	void *pointed;

	memcpy(&pointed, value, sizeof(pointed));
	if (kind_of[l] == 1)
		pFree(pointed);
}

static int by_value(const void *x, const void *y, void *arg)
{
	unsigned l = *(unsigned *)arg;
	struct item a = {.number = number_of(l, (const struct plist_node *)x - 1)};
	struct item b = {.number = number_of(l, (const struct plist_node *)y - 1)};

	return by_number(&a, &b);
}

/* ---- operations: each changes the list, unless the model is alone, and the model ---- */

static struct plist_node *node_at(unsigned l, size_t i)
{
	return i < model.row[l].n ? model.row[l].item[i].node : NULL;
}

static uint64_t number_make(void)
{
	return test_random(&model.random) | UINT64_C(0xc0) << 56;
}

static void insert(unsigned l)
{
	size_t at = below(3) ? below(model.row[l].n + 1) : below(2) ? model.row[l].n : 0;
	struct item item = {.number = number_make()};
	unsigned way = (unsigned)below(2);

	if (model.row[l].n >= MOST)
		return;
	if (!is_model_alone) {
		struct plist *list = list_of(root, l);
		void *value = value_make(l, item.number);

		item.node = way && at == model.row[l].n ? plist_push(list, value)
		            : way && !at                ? plist_push_front(list, value)
		            : way                       ? plist_insert(list, node_at(l, at), value)
		                  : plist_insert_after(list, at ? node_at(l, at - 1) : NULL, value);
		EXPECT(item.node);
	}
	row_insert(&model.row[l], at, item);
}

static void pop(unsigned l)
{
	bool is_front = below(2);
	struct row *r = &model.row[l];

	if (!is_model_alone) {
		unsigned char value[100];
		struct plist *list = list_of(root, l);
		int was = is_front ? plist_pop_front(list, value) : plist_pop(list, value);

		EXPECT(was == (r->n > 0));
		if (was)
			value_drop(l, value);
	}
	if (r->n)
		row_remove(r, is_front ? 0 : r->n - 1);
}

static void take(unsigned l)
{
	struct row *r = &model.row[l];
	size_t at = r->n ? below(r->n) : 0;
	struct item gone;

	if (!r->n)
		return;
	gone = row_remove(r, at);
	if (is_model_alone)
		return;
	value_drop(l, plist_value(gone.node));
	plist_remove(list_of(root, l), gone.node);
}

static void set(unsigned l)
{
	struct row *r = &model.row[l];
	uint64_t number = number_make();
	size_t at = below(r->n + 1);

	if (at == r->n)
		return;
	r->item[at].number = number;
	if (is_model_alone)
		return;
	value_drop(l, plist_value(r->item[at].node));
	memcpy(plist_value(r->item[at].node), value_make(l, number), kind[kind_of[l]].bytes);
}

static unsigned another(unsigned l)
{
	return kind[kind_of[l]].first + (unsigned)below(kind[kind_of[l]].lists);
}

static void lists_splice(unsigned to)
{
	unsigned from = another(to);
	struct row *a = &model.row[to], *b = &model.row[from];
	size_t at = below(a->n + 1);

	if (a->n + b->n > 2 * MOST)
		return;
	if (!is_model_alone)
		plist_splice(list_of(root, to), node_at(to, at), list_of(root, from));
	if (to == from)
		return;
	memmove(a->item + at + b->n, a->item + at, (a->n - at) * sizeof(*a->item));
	memcpy(a->item + at, b->item, b->n * sizeof(*a->item));
	a->n += b->n;
	b->n = 0;
}

static void move(unsigned from)
{
	unsigned to = another(from);
	struct row *a = &model.row[from], *b = &model.row[to];
	size_t first = a->n ? below(a->n) : 0, n = below(3) ? 1 : 1 + below(30), at;

	if (!a->n)
		return;
	n = n < a->n - first ? n : a->n - first;
	at = below(b->n + 1);
	if (to == from && at > first && at < first + n)
		at = first + n;
	if (!is_model_alone)
		EXPECT(!(n == 1 ? plist_move(list_of(root, to), node_at(to, at), list_of(root, from),
		                             node_at(from, first))
		                : plist_move_range(list_of(root, to), node_at(to, at), list_of(root, from),
		                                   node_at(from, first), node_at(from, first + n - 1))));
	for (size_t k = 0; k < n; k++) {
		struct item item;

		if (to == from && at > first) {
			item = row_remove(a, first);
			row_insert(b, at - 1, item);
		} else {
			item = row_remove(a, first + (to == from ? k : 0));
			row_insert(b, at + k, item);
		}
	}
}

static void turn(unsigned l)
{
	struct row *r = &model.row[l];

	if (!is_model_alone)
		plist_reverse(list_of(root, l));
	for (size_t i = 0; i < r->n / 2; i++) {
		struct item item = r->item[i];

		r->item[i] = r->item[r->n - 1 - i];
		r->item[r->n - 1 - i] = item;
	}
}

static void sort(unsigned l)
{
	if (!is_model_alone)
		plist_sort(list_of(root, l), by_value, &l);
	row_sort(&model.row[l]);
}

static void clear(unsigned l)
{
	struct plist *list;

	for (size_t i = 0; !is_model_alone && i < model.row[l].n; i++)
		value_drop(l, plist_value(model.row[l].item[i].node));
	model.row[l].n = 0;
	if (is_model_alone)
		return;
	list = list_of(root, l);
	if (l == LISTS - 1) {
		plist_clear(list);
		return;
	}
	plist_free(list);
	root->list[l] = plist_make(kind[kind_of[l]].bytes);
	EXPECT(root->list[l]);
}

static void step(void)
{
	static const struct {
		unsigned weight;
		void (*fn)(unsigned l);
	} op[] = {{4500, insert}, {1300, pop}, {2000, take}, {1400, set}, {60, lists_splice},
	          {700, move},    {15, turn},  {5, sort},    {5, clear}};
	size_t chosen = below(9985);
	unsigned l = (unsigned)below(LISTS), i = 0;

	for (; chosen >= op[i].weight; i++)
		chosen -= op[i].weight;
	op[i].fn(l);
	model.steps++;
	if (!is_model_alone)
		root->steps = model.steps;
}

static void step_model(void)
{
	is_model_alone = true;
	step();
	is_model_alone = false;
}

static void list_is_right(unsigned l)
{
	const struct plist *list = list_of(root, l);
	const struct row *r = &model.row[l];
	size_t i = 0;

	EXPECT(spm_list_check(list) && plist_count(list) == r->n);
	for (const struct plist_node *n = plist_first(list); n; n = plist_next(n), i++)
		EXPECT(number_of(l, n) == r->item[i].number && n == r->item[i].node);
}

static void is_the_model(void)
{
	EXPECT(root->steps == model.steps);
	for (unsigned l = 0; l < LISTS; l++)
		list_is_right(l);
}

/* After a restore. */
static void nodes_find(void)
{
	for (unsigned l = 0; l < LISTS; l++) {
		struct row *r = &model.row[l];
		size_t i = 0;

		EXPECT(plist_count(list_of(root, l)) == r->n);
		for (struct plist_node *n = plist_first(list_of(root, l)); n; n = plist_next(n))
			r->item[i++].node = n;
	}
	is_the_model();
}

static uint64_t mixed(uint64_t digest, uint64_t word)
{
	digest = (digest ^ word) * 0x9e3779b97f4a7c15;
	return digest ^ digest >> 29;
}

static uint64_t digest_of_model(void)
{
	uint64_t digest = model.steps;

	for (unsigned l = 0; l < LISTS; l++)
		for (size_t i = 0; i < model.row[l].n; i++)
			digest = mixed(digest + l, model.row[l].item[i].number);
	return digest;
}

static uint64_t digest_of(struct root *r)
{
	uint64_t digest = r->steps;

	for (unsigned l = 0; l < LISTS; l++) {
		EXPECT(spm_list_check(list_of(r, l)));
		for (const struct plist_node *n = plist_first(list_of(r, l)); n; n = plist_next(n))
			digest = mixed(digest + l, number_of(l, n));
	}
	return digest;
}

/* ---- a process's life ---- */

static int64_t newest;

static void point(int id, bool is_durable)
{
	newest = is_durable ? pPointSync(id) : pPoint(id);
	EXPECT(newest > 0 && newest < VERSIONS);
	note->version[newest].steps = model.steps;
	note->version[newest].digest = digest_of_model();
	if (is_durable)
		note->durable = model.steps;
}

/* To some older version and back. */
static void visit(int id, uint64_t *random)
{
	int64_t version = newest - (int64_t)(test_random(random) % 12);
	void *memory;
	char ref[32];

	point(id, true);
	if (version < 1 || !note->version[version].digest)
		return;
	snprintf(ref, sizeof(ref), "%lld", (long long)version);
	EXPECT(!pCSwitch(id, ref, &memory));
	EXPECT(digest_of(memory) == note->version[version].digest);
	EXPECT(!pCSwitch(id, "main", &memory));
	root = memory;
	nodes_find();
	note->visits++;
}

static int open_container(void)
{
	void *memory;
	int id = pCRestore(1, &memory);

	if (id) {
		root = memory;
		newest = pPoint(id); /* the version that is there: nothing has changed */
		EXPECT(newest > 0);
		memset(&note->version[newest + 1], 0, (VERSIONS - (size_t)newest - 1) * sizeof(note->version[0]));
		return id;
	}
	EXPECT(errno == ENOENT && !note->durable);
	id = pCAlloc(1, sizeof(*root), &memory);
	EXPECT(id);
	root = memory;
	for (unsigned l = 0; l < LISTS - 1; l++) {
		root->list[l] = plist_make(kind[kind_of[l]].bytes);
		EXPECT(root->list[l]);
	}
	EXPECT(!plist_init(&root->last, kind[kind_of[LISTS - 1]].bytes));
	return id;
}

static void live(const char *volume, uint64_t random, uint64_t steps)
{
	uint64_t last = test_random(&random) % 2 ? test_random(&random) % steps : UINT64_MAX;
	int id;

	EXPECT(!pVOpen(volume));
	id = open_container();
	EXPECT(root->steps >= note->durable);
	while (model.steps < root->steps)
		step_model();
	nodes_find();
	for (uint64_t n = 0; n < steps; n++) {
		step();
		if (n % COMPARE_EVERY == 0)
			is_the_model();
		if (test_random(&random) % (steps / 12) == 0)
			point(id, test_random(&random) % 8 == 0);
		if (test_random(&random) % (steps * 2 / 3) == 0)
			visit(id, &random);
		if (n == last)
			kill(getpid(), SIGKILL);
	}
	is_the_model();
	point(id, true);
	EXPECT(!pVClose());
	_exit(0);
}

/* A life, and how it ended: 1 if it was killed. */
static int life(const char *volume, uint64_t *random, uint64_t steps)
{
	uint64_t for_child = test_random(random), patience_us = test_random(random) % 400000;
	bool is_to_die = test_random(random) % 3 == 0;
	pid_t child = fork();
	int status;

	if (!child)
		live(volume, for_child, steps);
	if (is_to_die) {
		usleep((useconds_t)patience_us);
		kill(child, SIGKILL);
	}
	waitpid(child, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			fail_msg("the process ended with status 0x%x", status);
	}
	while (model.steps < note->durable)
		step_model();
	return WIFSIGNALED(status);
}

static void lists_are_as_plain_arrays(void **state)
{
	const char *volume = scratch("model");
	uint64_t seed = test_seed(), random = seed, steps = test_number("SOFTPM_STEPS", STEPS);
	unsigned lives = 0, kills = 0;

	(void)state;
	note = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(note, MAP_FAILED);
	model.random = seed;
	while (model.steps < steps) {
		kills += (unsigned)life(volume, &random, steps / LIVES);
		lives++;
	}
	printf("%llu steps, %u lives, %u killed, %llu visits\n", (unsigned long long)model.steps, lives, kills,
	       (unsigned long long)note->visits);
	assert_true(kills > 3 && note->visits > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(lists_are_as_plain_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
