/* model_ds_array.c - vectors and a string beside plain C arrays that get the same million and more random operations.
 *
 * What comes next follows from a random generator alone, so the model of any state is had by taking as many steps. The container lives through
 * many processes: each restores it, brings its copy of the model to the step that the container is at, compares, and goes on, with points and
 * visits to older versions (pCSwitch), until it ends or is killed, by itself at a random step, or by its parent at any instant. What was reported durable is there
 * after that, whole. $SOFTPM_STEPS: how many in all.
 */
#include "../../ds/array.h"
#include "../../ds/string.h"
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
enum { VECTORS = 5, LIVES = 40, VERSIONS = 100000, TEXT_MOST = 30000, COMPARE_EVERY = 4000 };

/* Vector POINTERS has the addresses of numbers, the model the numbers. */
enum { POINTERS = 3 };
static const struct {
	size_t bytes, most;
} shape[VECTORS] = {{8, 30000}, {24, 8000}, {5, 50000}, {8, 12000}, {3000, 150}};

/* ---- the model ---- */

struct model {
	uint64_t random, steps;
	size_t count[VECTORS];
	unsigned char *element[VECTORS]; /* with room for the most */
	size_t length;
	char *text;
};
static struct model model;

struct root {
	uint64_t steps;
	struct parray *vector[VECTORS];
	struct pstring text;
};
static struct root *root;

/* Shared with all processes: what versions are like, and how far the newest that was reported durable is. */
struct note {
	uint64_t durable, visits;
	struct {
		uint64_t steps, digest;
	} version[VERSIONS];
};
static struct note *note;

static size_t below(size_t n)
{
	return (size_t)(test_random(&model.random) % n);
}

static void model_begin(uint64_t seed)
{
	model.random = seed;
	for (unsigned v = 0; v < VECTORS; v++)
		model.element[v] = calloc(shape[v].most, shape[v].bytes);
	model.text = calloc(1, TEXT_MOST + 1);
}

/* ---- operations ---- */

enum what { SET, PUSH, POP, AT, INSERT, REMOVE, RESIZE, RESERVE, FIT, DATA, RUN, SLICE, SORT, TEXT };
struct op {
	enum what what;
	unsigned vector;
	size_t i, n;
	uint64_t seed;
};

static struct op op_next(void)
{
	static const unsigned weight[] = {250, 250, 130, 150, 40, 35, 4, 6, 3, 2, 30, 20, 1, 79};
	struct op op = {.vector = (unsigned)below(VECTORS)};
	size_t count, chosen = below(1000);

	for (op.what = SET; chosen >= weight[op.what]; op.what++)
		chosen -= weight[op.what];
	count = op.what == TEXT ? model.length : model.count[op.vector];
	op.i = below(count + 2);
	op.n = 1 + below(below(50) ? 20 : below(20) ? 200 : shape[op.vector].most / 2);
	op.seed = test_random(&model.random);
	model.steps++;
	return op;
}

/* Element k of those that an operation brings. */
static void value(const struct op *op, size_t k, void *out, size_t bytes)
{
	uint64_t seed = op->seed + k;
	unsigned char *to = out;

	for (size_t at = 0; at < bytes; at += 8) {
		uint64_t word = test_random(&seed) | UINT64_C(0xc0) << 56; /* looks like no address */

		memcpy(to + at, &word, bytes - at < 8 ? bytes - at : 8);
	}
}

static size_t resized(const struct op *op)
{
	return op->seed % 20 == 0 ? 0 : op->seed / 20 % shape[op->vector].most;
}

/* How many an operation brings, so that there are not too many. */
static size_t room_for(const struct op *op, size_t most, size_t count)
{
	return op->n < most - count ? op->n : most - count;
}

static int compare_bytes(const void *x, const void *y, void *bytes)
{
	return memcmp(x, y, *(size_t *)bytes);
}

static int compare_pointed(const void *x, const void *y, void *bytes)
{
	return memcmp(*(void *const *)x, *(void *const *)y, *(size_t *)bytes);
}

static void model_apply(const struct op *op)
{
	size_t bytes = shape[op->vector].bytes, *count = &model.count[op->vector], n;
	unsigned char *e = model.element[op->vector];

	switch (op->what) {
	case SET:
		if (op->i < *count)
			value(op, 0, e + op->i * bytes, bytes);
		break;
	case PUSH:
		if (*count < shape[op->vector].most)
			value(op, 0, e + (*count)++ * bytes, bytes);
		break;
	case POP:
		*count -= *count > 0;
		break;
	case INSERT:
		n = room_for(op, shape[op->vector].most, *count);
		if (op->i > *count)
			break;
		memmove(e + (op->i + n) * bytes, e + op->i * bytes, (*count - op->i) * bytes);
		for (size_t k = 0; k < n; k++)
			value(op, k, e + (op->i + k) * bytes, bytes);
		*count += n;
		break;
	case REMOVE:
		if (op->i > *count || op->n > *count - op->i)
			break;
		*count -= op->n;
		memmove(e + op->i * bytes, e + (op->i + op->n) * bytes, (*count - op->i) * bytes);
		break;
	case RESIZE:
		n = resized(op);
		if (n > *count)
			memset(e + *count * bytes, 0, (n - *count) * bytes);
		*count = n;
		break;
	case SORT:
		qsort_r(e, *count, bytes, compare_bytes, &bytes);
		break;
	default:
		break;
	}
}

/* ---- the same on vectors ---- */

/* What the model has as an element, as the vector has it. */
static const void *as_element(unsigned v, void *bytes)
{
	uint64_t *number;

	if (v != POINTERS)
		return bytes;
	number = pMallocNoPtr(sizeof(*number));
	EXPECT(number);
	*number = *(uint64_t *)bytes;
	*(uint64_t **)bytes = number;
	return bytes;
}

/* The program's part when elements go. */
static void drop(unsigned v, size_t i, size_t n)
{
	for (; v == POINTERS && n--; i++)
		pFree(*(uint64_t **)parray_at(root->vector[v], i));
}

static bool is_element(unsigned v, size_t i, const void *at)
{
	static const uint64_t zero;
	const unsigned char *e = model.element[v] + i * shape[v].bytes;

	if (v == POINTERS)
		at = *(uint64_t *const *)at ? *(uint64_t *const *)at : &zero;
	return !memcmp(at, e, shape[v].bytes);
}

static void insert(const struct op *op, struct parray *a)
{
	size_t bytes = shape[op->vector].bytes, n = room_for(op, shape[op->vector].most, parray_count(a));
	unsigned char *values = malloc(n * bytes + 1);

	if (op->i > parray_count(a) || !n) {
		EXPECT(!parray_insert(a, op->i, values, n));
		free(values);
		return;
	}
	for (size_t k = 0; k < n; k++) {
		value(op, k, values + k * bytes, bytes);
		as_element(op->vector, values + k * bytes);
	}
	EXPECT(parray_insert(a, op->i, values, n) == parray_at(a, op->i));
	free(values);
}

static void run_is_right(const struct op *op, struct parray *a)
{
	size_t n;
	char *run = parray_run(a, op->i, &n);

	EXPECT(!run == (op->i >= parray_count(a)) && !run == !n && op->i + n <= parray_count(a) + 1);
	for (size_t k = 0; k < n; k += 1 + n / 10)
		EXPECT(is_element(op->vector, op->i + k, run + k * shape[op->vector].bytes));
}

static void slice_is_right(const struct op *op, struct parray *a)
{
	struct parray_run s = parray_slice(a, op->i, op->n);
	bool is_there = op->i <= parray_count(a) && op->n <= parray_count(a) - op->i;

	EXPECT(!!s.array == is_there && !parray_slice_at(s, parray_slice_count(s)));
	for (size_t k = 0; k < parray_slice_count(s); k += 1 + parray_slice_count(s) / 10)
		EXPECT(is_element(op->vector, op->i + k, parray_slice_at(s, k)));
}

/* After the model was sorted. */
static void sort(const struct op *op, struct parray *a)
{
	size_t bytes = shape[op->vector].bytes, at;
	parray_compare_fn *compare = op->vector == POINTERS ? compare_pointed : compare_bytes;

	if (op->vector == POINTERS) /* zeros have no number to be compared */
		for (size_t i = 0; i < parray_count(a); i++) {
			uint64_t zero = 0;

			if (!*(uint64_t **)parray_at(a, i))
				EXPECT(!parray_set(a, i, as_element(POINTERS, &zero)));
		}
	EXPECT(!parray_sort(a, compare, &bytes));
	if (parray_count(a)) {
		void *key = parray_at(a, op->seed % parray_count(a));

		EXPECT(!compare(parray_search(a, key, compare, &bytes, &at), key, &bytes));
		EXPECT(!at || compare(parray_at(a, at - 1), key, &bytes) < 0);
	}
}

static void vector_apply(const struct op *op)
{
	struct parray *a = root->vector[op->vector];
	unsigned char bytes[3000];
	size_t n;

	value(op, 0, bytes, shape[op->vector].bytes);
	switch (op->what) {
	case SET:
		if (op->i >= parray_count(a)) {
			EXPECT(parray_set(a, op->i, bytes) == -1 && errno == ERANGE);
			break;
		}
		drop(op->vector, op->i, 1);
		EXPECT(!parray_set(a, op->i, as_element(op->vector, bytes)));
		break;
	case PUSH:
		if (parray_count(a) < shape[op->vector].most)
			EXPECT(parray_push(a, as_element(op->vector, bytes)));
		break;
	case POP:
		n = parray_count(a);
		drop(op->vector, n - 1, n > 0);
		EXPECT(parray_pop(a, NULL) == (n > 0));
		break;
	case INSERT:
		insert(op, a);
		break;
	case REMOVE:
		if (op->i > parray_count(a) || op->n > parray_count(a) - op->i) {
			EXPECT(parray_remove(a, op->i, op->n) == -1 && errno == ERANGE);
			break;
		}
		drop(op->vector, op->i, op->n);
		EXPECT(!parray_remove(a, op->i, op->n));
		break;
	case RESIZE:
		n = resized(op);
		if (n < parray_count(a))
			drop(op->vector, n, parray_count(a) - n);
		EXPECT(!parray_resize(a, n));
		break;
	case RESERVE:
		EXPECT(!parray_reserve(a, op->n * 2));
		break;
	case FIT:
		EXPECT(!parray_fit(a));
		break;
	case DATA:
		EXPECT(parray_data(a) && (!parray_count(a) || parray_data(a) == parray_at(a, 0)));
		break;
	case RUN:
		run_is_right(op, a);
		break;
	case SLICE:
		slice_is_right(op, a);
		break;
	case SORT:
		sort(op, a);
		break;
	default:
		EXPECT(op->i >= parray_count(a) ? !parray_at(a, op->i)
		                                : is_element(op->vector, op->i, parray_at(a, op->i)));
	}
}

/* ---- text ---- */

static size_t text_make(const struct op *op, char *out)
{
	size_t n = op->n < 500 ? op->n : 500;

	for (size_t k = 0; k < n; k++)
		out[k] = (char)(op->seed >> (k % 57));
	return n;
}

/* The model's part: 0 to 3: kinds of operations. */
static void text_model(const struct op *op)
{
	char more[500], *text = model.text;
	size_t n = text_make(op, more), at = op->i;

	if (op->seed % 8 == 0 && model.length > 2000) { /* set */
		memcpy(text, more, n);
		model.length = n;
	} else if (op->seed % 8 < 4) { /* insert */
		if (at > model.length || n > TEXT_MOST - model.length)
			return;
		memmove(text + at + n, text + at, model.length - at);
		memcpy(text + at, more, n);
		model.length += n;
	} else if (op->seed % 8 < 7) { /* remove */
		if (at > model.length || n > model.length - at)
			return;
		memmove(text + at, text + at + n, model.length - at - n);
		model.length -= n;
	}
}

/* To be called before the model's part. */
static void text_apply(const struct op *op)
{
	struct pstring *s = &root->text;
	size_t at = op->i;
	char more[500];
	size_t n = text_make(op, more);

	if (op->seed % 8 == 0 && model.length > 2000) {
		EXPECT(!pstring_set(s, more, n));
	} else if (op->seed % 8 < 4) {
		if (n <= TEXT_MOST - model.length)
			EXPECT(pstring_insert(s, at, more, n) == (at > model.length ? -1 : 0));
	} else if (op->seed % 8 < 7) {
		EXPECT(pstring_remove(s, at, n) == (at > model.length || n > model.length - at ? -1 : 0));
	} else {
		const char *found = at < model.length ? memmem(model.text + at, model.length - at, more, n) : NULL;

		EXPECT(pstring_find(s, at, more, n) == (found ? (size_t)(found - model.text) : PSTRING_NONE));
		EXPECT(!pstring_fit(s));
	}
}

/* ---- steps ---- */

static void step_model(void)
{
	struct op op = op_next();

	if (op.what == TEXT)
		text_model(&op);
	else
		model_apply(&op);
}

static void step(void)
{
	struct op op = op_next();

	if (op.what == TEXT) {
		text_apply(&op);
		text_model(&op);
	} else {
		vector_apply(&op);
		model_apply(&op);
		EXPECT(parray_count(root->vector[op.vector]) == model.count[op.vector]);
	}
	root->steps = model.steps;
}

static void is_the_model(void)
{
	EXPECT(root->steps == model.steps);
	for (unsigned v = 0; v < VECTORS; v++) {
		EXPECT(spm_array_check(root->vector[v]) && parray_count(root->vector[v]) == model.count[v]);
		for (size_t i = 0; i < model.count[v]; i++)
			EXPECT(is_element(v, i, parray_at(root->vector[v], i)));
	}
	EXPECT(spm_string_check(&root->text) && pstring_length(&root->text) == model.length);
	EXPECT(!memcmp(pstring_c_str(&root->text), model.text, model.length));
}

static uint64_t mixed(uint64_t digest, const void *p, size_t bytes)
{
	const unsigned char *from = p;

	for (size_t at = 0; at < bytes; at += 8) {
		uint64_t word = 0;

		memcpy(&word, from + at, bytes - at < 8 ? bytes - at : 8);
		digest = (digest ^ word) * 0x9e3779b97f4a7c15;
		digest ^= digest >> 29;
	}
	return digest;
}

static uint64_t digest_of_model(void)
{
	uint64_t digest = mixed(model.steps, model.text, model.length);

	for (unsigned v = 0; v < VECTORS; v++)
		for (size_t i = 0; i < model.count[v]; i++)
			digest = mixed(digest, model.element[v] + i * shape[v].bytes, shape[v].bytes);
	return digest;
}

static uint64_t digest_of(const struct root *r)
{
	uint64_t digest = mixed(r->steps, pstring_c_str(&r->text), pstring_length(&r->text)), zero = 0;

	for (unsigned v = 0; v < VECTORS; v++)
		for (size_t i = 0; i < parray_count(r->vector[v]); i++) {
			const void *at = parray_at(r->vector[v], i);

			if (v == POINTERS)
				at = *(void *const *)at ? *(void *const *)at : &zero;
			digest = mixed(digest, at, shape[v].bytes);
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

/* A view beside the container, and what differs. */
struct beside {
	int id[2];
	const struct root *old;
	unsigned vector;
	size_t told;
};

static bool differs(const struct beside *b, size_t i)
{
	const void *old = parray_at(b->old->vector[b->vector], i), *now = parray_at(root->vector[b->vector], i);

	return !old || !now || !pSame(b->id[0], old, b->id[1], now, shape[b->vector].bytes);
}

static int difference_is_one(const struct pchange *change, void *arg)
{
	struct beside *b = arg;

	EXPECT(differs(b, change->index));
	EXPECT(change->old_value == parray_at(b->old->vector[b->vector], change->index));
	EXPECT(change->new_value == parray_at(root->vector[b->vector], change->index));
	b->told++;
	return 0;
}

static void differences_are_right(int id, const char *ref)
{
	void *memory;
	struct beside b = {.id = {pCOpenAt(1, ref, &memory), id}};

	EXPECT(b.id[0]);
	b.old = memory;
	for (; b.vector < VECTORS; b.vector++) {
		size_t old = parray_count(b.old->vector[b.vector]), now = parray_count(root->vector[b.vector]), n = 0;

		b.told = 0;
		for (size_t i = 0; i < old || i < now; i++)
			n += differs(&b, i);
		EXPECT(!parray_diff(b.old->vector[b.vector], root->vector[b.vector], difference_is_one, &b));
		EXPECT(b.told == n);
	}
	pCFree(b.id[0]);
}

/* To some older version, first with a look at what has changed since, and back. */
static void visit(int id, uint64_t *random)
{
	int64_t version = newest - (int64_t)(test_random(random) % 12);
	void *memory;
	char ref[32];

	point(id, true);
	if (version < 1 || !note->version[version].digest)
		return;
	snprintf(ref, sizeof(ref), "%lld", (long long)version);
	differences_are_right(id, ref);
	EXPECT(!pCSwitch(id, ref, &memory));
	EXPECT(digest_of(memory) == note->version[version].digest);
	EXPECT(!pCSwitch(id, "main", &memory));
	root = memory;
	is_the_model();
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
	for (unsigned v = 0; v < VECTORS; v++) {
		root->vector[v] = parray_make(shape[v].bytes, v == POINTERS ? 0 : PARRAY_PLAIN);
		EXPECT(root->vector[v]);
	}
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
	is_the_model();
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

static void vectors_and_strings_are_as_plain_arrays(void **state)
{
	const char *volume = scratch("model");
	uint64_t seed = test_seed(), random = seed, steps = test_number("SOFTPM_STEPS", STEPS);
	unsigned lives = 0, kills = 0;

	(void)state;
	note = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(note, MAP_FAILED);
	model_begin(seed);
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
	        cmocka_unit_test(vectors_and_strings_are_as_plain_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
