/* model_ds_hash.c - hashtables of all kinds of keys beside plain arrays, through more than a million random operations.
 *
 * What operation number i does follows from the seed and i alone, so the number of operations that a state has seen says what must be in it:
 * the container's root has that number. Processes, one after the other, restore the container, work out what must be there, compare, go on,
 * make points, go to older versions and back, or to a clone, and end by closing, without a word, or by SIGKILL at any operation.
 *
 *     $SOFTPM_SEED; $SOFTPM_MODEL_OPERATIONS: of each process
 */
#include "expect.h"
#include "process.h"
#include "scratch.h"

#include <softpm/hash.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)
#define MUST(cond) EXPECT_ELSE(cond, _exit(1))

enum { KINDS = 6, UNIVERSE = 30000, PROCESSES = 24, POINT_EVERY = 3000, COMPARE_EVERY = 40000 };
#ifdef __SANITIZE_ADDRESS__
enum { OPERATIONS = 8000 };
#else
enum { OPERATIONS = 60000 };
#endif

struct large_key {
	uint32_t id;
	unsigned char rest[596];
};
static const struct pmap_type types[KINDS] = {
        {PKEY_INT64, PMAP_PLAIN_VALUES, 8, 8, NULL},
        {PKEY_DOUBLE, PMAP_PLAIN_VALUES, 8, 24, NULL},
        {PKEY_BYTES, PMAP_PLAIN_KEYS | PMAP_PLAIN_VALUES, 12, 5, NULL},
        {PKEY_BYTES, 0, sizeof(struct large_key), 200, NULL},
        {PKEY_STRING, PMAP_PLAIN_VALUES, 0, 8, NULL},
        {PKEY_UINT64, 0, 8, 0, NULL},
};
/* Of large entries there are fewer. */
static const unsigned universe[KINDS] = {UNIVERSE, UNIVERSE, UNIVERSE / 3, 2000, UNIVERSE / 3, UNIVERSE};

struct root {
	uint64_t operations;
	struct phash *table[KINDS];
};
/* What must be there: 0: nothing, else what the value is made of. */
static unsigned char model[KINDS][UNIVERSE];
static uint64_t model_operations, seed;
/* What the processes tell the test. */
struct told {
	uint64_t durable, points, switches, clones, restored, operations;
};
static struct told *told;

/* ---- keys and values ---- */

struct key {
	union {
		int64_t number;
		double real;
		unsigned char bytes[12];
		struct large_key large;
		char string[64];
	};
};

static const void *key_of(unsigned kind, unsigned id, struct key *key)
{
	memset(key, 0, sizeof(*key));
	switch (kind) {
	case 0:
	case 5:
		key->number = (int64_t)id * 1000003 - UNIVERSE / 2;
		break;
	case 1:
		key->real = (id - UNIVERSE / 2.0) / 8;
		break;
	case 2:
		memcpy(key->bytes + id % 9, &id, 3);
		key->bytes[11] = (unsigned char)(id % 9);
		break;
	case 3:
		key->large.id = id;
		memset(key->large.rest, (int)id, sizeof(key->large.rest));
		break;
	default:
		snprintf(key->string, sizeof(key->string), "%0*u", (int)(id % 50), id);
	}
	return key;
}

static void value_of(unsigned kind, unsigned made_of, unsigned char *value)
{
	memset(value, (int)made_of, types[kind].value_bytes);
}

static bool value_is(unsigned kind, const void *value, unsigned made_of)
{
	unsigned char wanted[200];

	value_of(kind, made_of, wanted);
	return !memcmp(value, wanted, types[kind].value_bytes);
}

/* ---- operations; without a root they are done on the model only ---- */

static uint64_t number_for(uint64_t operation)
{
	uint64_t state = seed + operation * UINT64_C(0x9e3779b97f4a7c15);

	return test_random(&state) ^ test_random(&state);
}

static void put(struct phash *t, unsigned kind, unsigned id, unsigned made_of)
{
	unsigned char value[200];
	struct key key;

	if (t) {
		void *place;

		value_of(kind, made_of, value);
		MUST(place = phash_put(t, key_of(kind, id, &key), value));
		MUST(value_is(kind, place, made_of));
	}
	model[kind][id] = (unsigned char)made_of;
}

static void add(struct phash *t, unsigned kind, unsigned id)
{
	struct key key;

	if (t)
		MUST(!phash_add(t, key_of(kind, id, &key), NULL) == !!model[kind][id]);
	if (!model[kind][id])
		put(t, kind, id, 1);
}

static void take(struct phash *t, unsigned kind, unsigned id)
{
	unsigned char value[200];
	struct key key;

	if (t) {
		MUST(phash_remove(t, key_of(kind, id, &key), value) == !!model[kind][id]);
		MUST(!model[kind][id] || value_is(kind, value, model[kind][id]));
	}
	model[kind][id] = 0;
}

static void get(struct phash *t, unsigned kind, unsigned id)
{
	struct key key;
	void *value;

	if (!t)
		return;
	value = phash_get(t, key_of(kind, id, &key));
	MUST(!value == !model[kind][id]);
	MUST(!value || value_is(kind, value, model[kind][id]));
}

/* Takes a quarter out while going through all. */
static void sieve(struct phash *t, unsigned kind, unsigned which)
{
	struct phash_iter it;

	if (t && types[kind].value_bytes) {
		for (phash_start(&it, t); phash_next(&it);) {
			if (*(unsigned char *)it.value % 4 == which)
				MUST(phash_remove(t, it.key, NULL));
		}
	}
	for (unsigned id = 0; types[kind].value_bytes && id < universe[kind]; id++) {
		if (model[kind][id] % 4 == which)
			model[kind][id] = 0;
	}
}

static void rare(struct phash *t, unsigned kind, uint64_t r)
{
	if (r % 16 == 0) {
		if (t)
			phash_clear(t);
		memset(model[kind], 0, UNIVERSE);
	} else if (r % 16 < 4) {
		if (t)
			MUST(!phash_reserve(t, r / 16 % universe[kind]));
	} else {
		sieve(t, kind, (unsigned)(r / 16 % 4));
	}
}

/* Tables grow for some ten thousand operations, and shrink for as many. */
static void operate(struct root *root, uint64_t operation)
{
	uint64_t r = number_for(operation);
	unsigned kind = (unsigned)(r % KINDS), id = (unsigned)((r >> 8) % universe[kind]),
	         what = (unsigned)(r >> 40) % 100;
	unsigned made_of = 1 + (unsigned)(r >> 50) % 255;
	bool grows = operation >> 16 & 1 ? what % 10 < 3 : what % 10 < 7;
	struct phash *t = root ? root->table[kind] : NULL;

	if ((r >> 32) % 4000 == 0)
		rare(t, kind, r >> 45);
	else if (what >= 80)
		get(t, kind, id);
	else if (grows && what >= 70)
		add(t, kind, id);
	else if (grows)
		put(t, kind, id, made_of);
	else
		take(t, kind, id);
	model_operations = operation + 1;
	if (root)
		root->operations = operation + 1;
}

static void model_to(uint64_t operations)
{
	if (operations < model_operations) {
		memset(model, 0, sizeof(model));
		model_operations = 0;
	}
	while (model_operations < operations)
		operate(NULL, model_operations);
}

/* ---- comparing ---- */

static int table_is_as_it_must(const struct phash *t, unsigned kind)
{
	uint64_t count = 0, met = 0;
	struct phash_iter it;
	struct key key;
	char why[200];

	if (phash_check(t, why, sizeof(why))) {
		fprintf(stderr, "table %u is broken: %s\n", kind, why);
		return 1;
	}
	for (unsigned id = 0; id < universe[kind]; id++) {
		void *value = phash_get(t, key_of(kind, id, &key));

		EXPECT(!value == !model[kind][id]);
		EXPECT(!value || value_is(kind, value, model[kind][id]));
		count += value != NULL;
	}
	for (phash_start(&it, t); phash_next(&it); met++)
		EXPECT(phash_get(t, it.key) == it.value);
	EXPECT(met == count);
	EXPECT(phash_count(t) == count);
	return 0;
}

static int all_is_as_it_must(const struct root *root)
{
	model_to(root->operations);
	for (unsigned kind = 0; kind < KINDS; kind++)
		EXPECT(!table_is_as_it_must(root->table[kind], kind));
	return 0;
}

/* ---- a process ---- */

static int begin(struct root **root)
{
	int id = pCRestore(1, (void **)root);

	if (id) {
		MUST((*root)->operations >= told->durable);
		told->restored++;
		MUST(!all_is_as_it_must(*root));
		return id;
	}
	MUST(errno == ENOENT && !told->durable);
	MUST(id = pCAlloc(1, sizeof(**root), (void **)root));
	for (unsigned kind = 0; kind < KINDS; kind++)
		MUST((*root)->table[kind] = phash_make(&types[kind]));
	return id;
}

static int point(int id, const struct root *root, bool is_durable)
{
	uint64_t operations = root->operations;

	EXPECT(is_durable ? pPointSync(id) : pPoint(id));
	if (is_durable)
		told->durable = operations;
	told->points++;
	return 0;
}

static int there_and_back(int id, struct root **root, unsigned versions)
{
	uint64_t operations = (*root)->operations;
	char ref[32];

	snprintf(ref, sizeof(ref), "main~%u", versions);
	EXPECT(!point(id, *root, true));
	if (pCSwitch(id, ref, (void **)root))
		return errno == ENOENT ? 0 : 1;
	EXPECT(!all_is_as_it_must(*root));
	EXPECT(!pCSwitch(id, "main", (void **)root));
	EXPECT((*root)->operations == operations);
	EXPECT(!all_is_as_it_must(*root));
	told->switches++;
	return 0;
}

/* Both go on, and neither sees what the other does; a view of before neither. */
static int beside(int id, struct root *root, unsigned process)
{
	struct root *clone, *view;
	char branch[32];
	int other, old;

	snprintf(branch, sizeof(branch), "branch-%u", process);
	EXPECT(!point(id, root, true));
	EXPECT(other = pCClone(id, branch, (void **)&clone));
	EXPECT(old = pCOpenAt(1, "main", (void **)&view));
	for (unsigned i = 0; i < 3000; i++)
		operate(clone, clone->operations);
	EXPECT(pPointSync(other));
	EXPECT(!all_is_as_it_must(root));
	EXPECT(!all_is_as_it_must(clone));
	EXPECT(!all_is_as_it_must(view));
	model_to(root->operations);
	pCFree(other);
	pCFree(old);
	told->clones++;
	return 0;
}

static int process(const char *volume, unsigned number, uint64_t operations)
{
	uint64_t random = seed ^ number;
	uint64_t killed_at = number % 3 == 1 ? test_random(&random) % operations : operations;
	struct root *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = begin(&root);
	for (uint64_t i = 0; i < operations; i++, told->operations++) {
		if (i == killed_at)
			raise(SIGKILL);
		operate(root, root->operations);
		if (i % POINT_EVERY == POINT_EVERY - 1)
			EXPECT(!point(id, root, test_random(&random) % 4 == 0));
		if (i % COMPARE_EVERY == COMPARE_EVERY - 1)
			EXPECT(!all_is_as_it_must(root));
	}
	if (number % 4 == 0)
		EXPECT(!there_and_back(id, &root, 1 + (unsigned)(test_random(&random) % 12)));
	if (number % 4 == 2)
		EXPECT(!beside(id, root, number));
	if (number % 2)
		return 0;
	EXPECT(!all_is_as_it_must(root));
	EXPECT(!point(id, root, true));
	return pVClose();
}

static void tables_are_as_their_models_through_restores_switches_and_kills(void **state)
{
	uint64_t operations = test_number("SOFTPM_MODEL_OPERATIONS", OPERATIONS);
	const char *volume = scratch("model");

	(void)state;
	seed = test_seed();
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(told, MAP_FAILED);
	for (unsigned i = 0; i < PROCESSES; i++) {
		pid_t child = fork();
		int status;

		if (!child)
			_exit(process(volume, i, operations));
		waitpid(child, &status, 0);
		if (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
			fail_msg("process %u ended with status 0x%x", i, status);
	}
	printf("%llu operations, %llu points, %llu restores, %llu switches, %llu clones\n",
	       (unsigned long long)told->operations, (unsigned long long)told->points,
	       (unsigned long long)told->restored, (unsigned long long)told->switches,
	       (unsigned long long)told->clones);
	assert_true(told->restored >= PROCESSES - 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(tables_are_as_their_models_through_restores_switches_and_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
