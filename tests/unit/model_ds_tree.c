/* model_ds_tree.c - trees of all kinds against a sorted array, with random operations, points, restores, switches and kills.
 *
 * The keys of each kind are made from small numbers, in their order, so one model serves all: an array of numbers and values. It lies in the
 * tree's container, so whichever version comes back, the tree must be what the model is. Each kind lives in several processes, which end in
 * different ways. $SOFTPM_SEED repeats a run, $SOFTPM_MODEL_OPERATIONS sets how long each kind is worked on, $SOFTPM_MODEL_KIND takes one alone.
 */
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <softpm/tree.h>

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(99))

#ifdef __SANITIZE_ADDRESS__
enum { OPERATIONS = 20000 };
#else
enum { OPERATIONS = 100000 };
#endif
enum { ENTRIES_MAX = 4000, KEY_MAX = 1024, VALUE_MAX = 1024 };

struct kind {
	const char *name;
	struct pmap_type type;
	uint32_t numbers; /* keys are made from 0 .. numbers - 1 */
	void (*key)(uint32_t number, uint64_t random, void *key);
};
struct entry {
	uint32_t number;
	uint64_t value;
};
struct root {
	struct ptree *tree;
	struct entry *entry; /* sorted by number; with duplicates in the order of adding */
	uint64_t entries, operations, serial, random;
};
static const struct kind *kind;
static struct root *root;
static int id;

/* ---- keys ---- */

static void key_int64(uint32_t number, uint64_t random, void *key)
{
	int64_t k = number == 0 ? INT64_MIN : number == 2999 ? INT64_MAX : ((int64_t)number - 1500) * 1000003;

	(void)random;
	memcpy(key, &k, sizeof(k));
}

static void key_uint64(uint32_t number, uint64_t random, void *key)
{
	uint64_t k = number == 2999 ? UINT64_MAX : number * UINT64_C(0x15d867c3ece2a5);

	(void)random;
	memcpy(key, &k, sizeof(k));
}

static void key_double(uint32_t number, uint64_t random, void *key)
{
	double k = ((double)number - 1500) * 0.37;

	if (number == 0)
		k = -INFINITY;
	if (number == 1500)
		k = random & 1 ? -0.0 : 0.0;
	if (number == 2998)
		k = INFINITY;
	if (number == 2999)
		k = random & 1 ? -(double)NAN : (double)NAN;
	memcpy(key, &k, sizeof(k));
}

static void key_bytes(uint32_t number, uint64_t random, void *key)
{
	unsigned char *k = key;

	(void)random;
	memset(k, 0x80, kind->type.key_bytes);
	k[kind->type.key_bytes - 2] = (unsigned char)(number >> 8);
	k[kind->type.key_bytes - 1] = (unsigned char)number;
}

/* In their order by the digits; they differ within the first 8 bytes, or not. */
static void key_string(uint32_t number, uint64_t random, void *key)
{
	(void)random;
	if (number == 0)
		*(char *)key = 0;
	else
		sprintf(key, "%04" PRIu32 "%.*s", number, (int)(number % 9), "\xff\xc3\xa4-tail!");
}

static void key_long_string(uint32_t number, uint64_t random, void *key)
{
	(void)random;
	sprintf(key, "a/long/way/in/common/%s%05" PRIu32, number < 1000 ? "" : "and/more/", number);
}

/* A structure with a pointer, ordered by what that leads to. */
struct named {
	uint32_t unused;
	const char *digits;
};
static char digits[3000][8];
static int compare_named(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	return strcmp(x->digits, y->digits);
}
static void key_named(uint32_t number, uint64_t random, void *key)
{
	struct named k = {(uint32_t)random, digits[number]};

	memcpy(key, &k, sizeof(k));
}

enum { PLAIN = PMAP_PLAIN_KEYS | PMAP_PLAIN_VALUES };
static const struct kind kinds[] = {
        {"int64 to int64", {PKEY_INT64, PLAIN, 8, 8, NULL}, 3000, key_int64},
        {"int64 to 8 bytes, which may be pointers", {PKEY_INT64, 0, 8, 8, NULL}, 3000, key_int64},
        {"a set of uint64", {PKEY_UINT64, 0, 8, 0, NULL}, 3000, key_uint64},
        {"double to 25 bytes", {PKEY_DOUBLE, PMAP_PLAIN_VALUES, 8, 25, NULL}, 3000, key_double},
        {"3 bytes to 8, which may be pointers", {PKEY_BYTES, PMAP_PLAIN_KEYS, 3, 8, NULL}, 3000, key_bytes},
        {"250 bytes to 250", {PKEY_BYTES, PLAIN, 250, 250, NULL}, 3000, key_bytes},
        {"1024 bytes to 1024", {PKEY_BYTES, 0, 1024, 1024, NULL}, 300, key_bytes},
        {"strings to int64", {PKEY_STRING, PMAP_PLAIN_VALUES, 0, 8, NULL}, 3000, key_string},
        {"a set of long strings", {PKEY_STRING, 0, 0, 0, NULL}, 3000, key_long_string},
        {"structures by a function", {PKEY_CUSTOM, 0, sizeof(struct named), 40, compare_named}, 3000, key_named},
        {"int64, duplicates", {PKEY_INT64, PLAIN | PMAP_DUPLICATES, 8, 8, NULL}, 40, key_int64},
        {"250 bytes, duplicates", {PKEY_BYTES, PLAIN | PMAP_DUPLICATES, 250, 250, NULL}, 100, key_bytes},
        {"strings, duplicates", {PKEY_STRING, PMAP_DUPLICATES, 0, 100, NULL}, 200, key_long_string},
        {"structures, duplicates",
         {PKEY_CUSTOM, PMAP_DUPLICATES, sizeof(struct named), 300, compare_named},
         300,
         key_named},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static uint64_t draw(uint64_t below)
{
	return test_random(&root->random) % below;
}

static const void *key_of(uint32_t number)
{
	static _Alignas(16) char key[KEY_MAX];
	static uint64_t random;

	kind->key(number, test_random(&random), key);
	return key;
}

/* ---- values: a number, as often as there is room; no word of it looks like an address, which a restore might change ---- */

static const void *value_of(uint64_t number)
{
	static char value[VALUE_MAX];

	for (uint32_t i = 0; i < kind->type.value_bytes; i++)
		value[i] = (char)(0xc0 | (number >> (i % 8 * 6) & 0x3f));
	return value;
}

static bool value_is(const void *value, uint64_t number)
{
	return value && !memcmp(value, value_of(number), kind->type.value_bytes);
}

/* ---- the model ---- */

static bool has_duplicates(void)
{
	return kind->type.flags & PMAP_DUPLICATES;
}

/* How many entries are below the number, or_equal: not above it. */
static uint64_t model_bound(uint32_t number, bool or_equal)
{
	uint64_t from = 0, to = root->entries;

	while (from < to) {
		uint64_t middle = (from + to) / 2;

		if (root->entry[middle].number < number + or_equal)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static bool model_has(uint64_t at, uint32_t number)
{
	return at < root->entries && root->entry[at].number == number;
}

static void model_insert(uint64_t at, uint32_t number, uint64_t value)
{
	memmove(&root->entry[at + 1], &root->entry[at], (root->entries++ - at) * sizeof(struct entry));
	root->entry[at] = (struct entry){number, value};
}

static void model_remove(uint64_t at)
{
	memmove(&root->entry[at], &root->entry[at + 1], (--root->entries - at) * sizeof(struct entry));
}

/* Whether the cursor is where the model has entry `at`, or off. */
static void expect_at(const struct ptree_cursor *c, uint64_t at)
{
	struct ptree_cursor there;

	EXPECT(ptree_is_on(c) == (at < root->entries));
	if (at >= root->entries)
		return;
	EXPECT(value_is(ptree_value(c), root->entry[at].value));
	EXPECT(ptree_seek(c->tree, PTREE_EQUAL, ptree_key(c), &there));
	EXPECT(ptree_rank(c->tree, key_of(root->entry[at].number)) == model_bound(root->entry[at].number, false));
	EXPECT(ptree_rank_at(&there) == model_bound(root->entry[at].number, false));
}

static void expect_the_same(const char *when)
{
	struct ptree_cursor c;
	char why[300];
	uint64_t i = 0;

	if (ptree_check(root->tree, why, sizeof(why)))
		EXPECT_ELSE(false, fprintf(stderr, "%s: %s\n", when, why); _exit(99));
	EXPECT(ptree_count(root->tree) == root->entries);
	for (bool on = ptree_first(root->tree, &c); on; on = ptree_next(&c), i++) {
		EXPECT(i < root->entries && value_is(ptree_value(&c), root->entry[i].value));
		if (!has_duplicates())
			EXPECT(value_is(ptree_get(root->tree, key_of(root->entry[i].number)), root->entry[i].value));
	}
	EXPECT(i == root->entries);
	for (bool on = ptree_last(root->tree, &c); on; on = ptree_prev(&c))
		EXPECT(i-- && value_is(ptree_value(&c), root->entry[i].value));
	EXPECT(!i);
}

/* ---- operations ---- */

static void put(uint32_t number)
{
	uint64_t at = model_bound(number, false), value = ++root->serial;
	const void *there = ptree_put(root->tree, key_of(number), value_of(value));

	if (model_has(at, number))
		root->entry[at].value = value;
	else
		model_insert(at, number, value);
	EXPECT(value_is(there, value));
}

static void add(uint32_t number)
{
	uint64_t at = model_bound(number, has_duplicates()), value = ++root->serial;
	const void *there = ptree_add(root->tree, key_of(number), value_of(value));

	if (!has_duplicates() && model_has(at, number)) {
		EXPECT(!there && errno == EEXIST);
		return;
	}
	EXPECT(value_is(there, value));
	model_insert(at, number, value);
}

static void take(uint32_t number)
{
	uint64_t at = model_bound(number, false);
	char value[VALUE_MAX];
	bool was_there = ptree_remove(root->tree, key_of(number), value);

	EXPECT(was_there == model_has(at, number));
	if (!was_there)
		return;
	EXPECT(value_is(value, root->entry[at].value));
	model_remove(at);
}

static void look(uint32_t number)
{
	uint64_t at = model_bound(number, false);
	const void *there = ptree_get(root->tree, key_of(number));

	EXPECT(!there == !model_has(at, number));
	EXPECT(!there || value_is(there, root->entry[at].value));
}

static void seek(uint32_t number)
{
	uint64_t before = model_bound(number, false), after = model_bound(number, true);
	struct ptree_cursor c;

	EXPECT(ptree_seek(root->tree, PTREE_EQUAL, key_of(number), &c) == model_has(before, number));
	expect_at(&c, before);
	ptree_seek(root->tree, PTREE_CEILING, key_of(number), &c);
	expect_at(&c, before);
	ptree_seek(root->tree, PTREE_UPPER, key_of(number), &c);
	expect_at(&c, after);
	ptree_seek(root->tree, PTREE_FLOOR, key_of(number), &c);
	expect_at(&c, after - 1);
	ptree_seek(root->tree, PTREE_LOWER, key_of(number), &c);
	expect_at(&c, before - 1);
	before = draw(root->entries + 2);
	EXPECT(ptree_select(root->tree, before, &c) == (before < root->entries));
	expect_at(&c, before);
	EXPECT(ptree_rank_at(&c) == (before < root->entries ? before : root->entries));
}

/* Steps, and removals, by one cursor. `at` is where it is in the model: entries if behind the last, -1 if before the first. */
static void wander(uint32_t number, unsigned steps)
{
	uint64_t at = model_bound(number, false);
	struct ptree_cursor c;
	unsigned way = (unsigned)draw(6);

	ptree_seek(root->tree, PTREE_CEILING, key_of(number), &c);
	for (unsigned i = 0; i < steps; i++) {
		if (at < root->entries && draw(2)) {
			model_remove(at);
			EXPECT(ptree_remove_at(&c) == (at < root->entries));
		} else if (way == draw(7) % 2) {
			at += at + 1 <= root->entries;
			EXPECT(ptree_next(&c) == (at < root->entries));
		} else {
			at -= at != UINT64_MAX;
			EXPECT(ptree_prev(&c) == (at < root->entries));
		}
		EXPECT(ptree_is_on(&c) == (at < root->entries));
		EXPECT(at >= root->entries || value_is(ptree_value(&c), root->entry[at].value));
	}
}

static void operate(void)
{
	uint32_t number = (uint32_t)draw(kind->numbers);
	/* Long times of growing, or shrinking. */
	bool grows = root->operations / 8192 % 2 == 0 && root->entries < ENTRIES_MAX - 2;
	uint64_t what = draw(100);

	root->operations++;
	if (what < 30)
		look(number);
	else if (what < 34)
		seek(number);
	else if (what < (grows ? 60 : 40))
		put(number);
	else if (what < (grows ? 85 : 50) && root->entries < ENTRIES_MAX - 2)
		add(number);
	else if (what < 99 || draw(40))
		take(number);
	else if (draw(400))
		wander(number, grows ? 4 : 200);
	else
		ptree_clear(root->tree), root->entries = 0;
}

/* ---- lives ---- */

static void begin(int magic)
{
	void *memory;

	id = pCRestore(magic, &memory);
	if (id) {
		root = memory;
		return;
	}
	EXPECT(errno == ENOENT);
	EXPECT(id = pCAlloc(magic, sizeof(struct root), &memory));
	root = memory;
	EXPECT(root->tree = ptree_make(&kind->type));
	EXPECT(root->entry = pMallocNoPtr(ENTRIES_MAX * sizeof(struct entry)));
	root->random = test_number("SOFTPM_SEED", 1) + (uint64_t)magic;
}

/* Some versions back, and here again. */
static void visit_the_past(uint64_t steps)
{
	char ref[32];
	void *memory;

	EXPECT(pPointSync(id));
	snprintf(ref, sizeof(ref), "main~%" PRIu64, steps);
	if (pCSwitch(id, ref, &memory)) {
		EXPECT(errno == ENOENT); /* so many there are not yet */
		return;
	}
	root = memory;
	expect_the_same("switched to the past");
	EXPECT(!pCSwitch(id, "main", &memory));
	root = memory;
	expect_the_same("switched back");
}

/* Beside the live tree. */
static void view_the_past(int magic)
{
	struct root *live = root;
	void *memory;
	int view;

	if (!(view = pCOpenAt(magic, "~", &memory))) {
		EXPECT(errno == ENOENT);
		return;
	}
	root = memory;
	expect_the_same("a view");
	root = live;
	pCFree(view);
	expect_the_same("beside a view");
}

/* so many operations; then the process is killed, or ends with or without a point. */
static void live(int magic, uint64_t operations, uint64_t seed)
{
	uint64_t luck = seed;
	bool is_killed = test_random(&luck) % 2;

	begin(magic);
	expect_the_same("restored");
	for (uint64_t i = 0; i < operations; i++) {
		uint64_t event = test_random(&luck) % 20000;

		operate();
		if (event < 10)
			EXPECT(pPoint(id));
		else if (event == 10)
			visit_the_past(test_random(&luck) % 5);
		else if (event == 11)
			view_the_past(magic);
		else if (event < 16)
			expect_the_same("live");
	}
	expect_the_same("live");
	EXPECT(is_killed ? pPoint(id) : pPointSync(id));
	if (is_killed)
		raise(SIGKILL);
	EXPECT(!pVClose());
	_exit(0);
}

static uint64_t operations_of(int magic)
{
	void *memory;
	int view = pCOpenAt(magic, "main", &memory);
	uint64_t done = view ? ((struct root *)memory)->operations : 0;

	pCFree(view);
	return done;
}

static int tell_operations(const char *pipe_end)
{
	uint64_t done = operations_of((int)(kind - kinds) + 1);

	return write(atoi(pipe_end), &done, sizeof(done)) == sizeof(done) ? 0 : 1;
}

/* How far the kind has come; asked in a process, for the volume is its writers'. */
static uint64_t ask_operations(void)
{
	int ends[2];
	char end[16];
	uint64_t done;

	assert_int_equal(pipe(ends), 0);
	snprintf(end, sizeof(end), "%d", ends[1]);
	in_process(tell_operations, end);
	assert_int_equal(read(ends[0], &done, sizeof(done)), sizeof(done));
	close(ends[0]);
	close(ends[1]);
	return done;
}

static void every_kind_is_what_the_model_is(void **state)
{
	uint64_t seed = test_seed(), all = test_number("SOFTPM_MODEL_OPERATIONS", OPERATIONS);
	char text[32];

	(void)state;
	snprintf(text, sizeof(text), "%" PRIu64, seed);
	setenv("SOFTPM_SEED", text, 1);
	setenv("SOFTPM_VOLUME", scratch("model.vol"), 1);
	for (uint32_t i = 0; i < 3000; i++)
		snprintf(digits[i], sizeof(digits[i]), "%04" PRIu32, i);
	for (kind = kinds; kind < kinds + KINDS; kind++) {
		if (test_number("SOFTPM_MODEL_KIND", (uint64_t)(kind - kinds)) != (uint64_t)(kind - kinds))
			continue;
		for (unsigned lives = 0; ask_operations() < all; lives++) {
			uint64_t luck = test_random(&seed);
			int status;
			pid_t child = fork();

			if (!child)
				live((int)(kind - kinds) + 1, all / 4 + 1, luck);
			waitpid(child, &status, 0);
			if (!(WIFEXITED(status) && !WEXITSTATUS(status)) &&
			    !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
				fail_msg("%s, life %u: status 0x%x", kind->name, lives, (unsigned)status);
			assert_true(lives < 100);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind_is_what_the_model_is)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
