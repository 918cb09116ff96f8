/* test_unwatch.c - objects whose changes the program tells (pUnwatch, pDirty): versions have all that was told, and what nobody tells costs
 * nothing, which shows in that it is missing. */
#include "expect.h"
#include "heap/heap.h"
#include "process.h"
#include "scratch.h"

#include <stdlib.h>
#include <string.h>

enum { MAGIC = 9, BYTES = 1 << 20, WORDS = BYTES / 8, OBJECTS = 8 };

struct root {
	uint64_t *told, *watched;
};

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

static int begin(const char *volume, struct root **r)
{
	void *root;
	int id;

	if (pVOpen(volume))
		return 0;
	id = pCAlloc(MAGIC, sizeof(**r), &root);
	*r = root;
	if (!id)
		return 0;
	pCUse(id);
	(*r)->told = pMalloc(BYTES);
	(*r)->watched = pMalloc(BYTES);
	return (*r)->told && (*r)->watched && !pUnwatch((*r)->told) ? id : 0;
}

static void tell(uint64_t *word, uint64_t value)
{
	*word = value;
	pDirty(word, sizeof(*word));
}

/* A version beside what is open has this word. */
static int version_has(const char *ref, size_t word, uint64_t value)
{
	void *root;
	int id = pCOpenAt(MAGIC, ref, &root), has;

	if (!id)
		return 0;
	has = ((struct root *)root)->told[word] == value;
	pCFree(id);
	return has;
}

static int tells(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r);
	int64_t version;

	EXPECT(id);
	r->told[5] = 5; /* before the first point, like all of a new object */
	EXPECT((version = pPointSync(id)) && version_has("main", 5, 5));
	r->told[6] = 6;
	EXPECT(pPointSync(id) == version);
	tell(&r->told[7], 7);
	EXPECT(pPointSync(id) > version && version_has("main", 6, 6) && version_has("main", 7, 7));
	EXPECT(version_has("~1", 7, 0));
	r->watched[0] = 1;
	tell(&r->told[WORDS - 1], 8);
	r->told[WORDS / 2] = 1;
	EXPECT(pPointSync(id) && version_has("main", WORDS - 1, 8) && version_has("main", WORDS / 2, 0));
	tell(&r->told[WORDS / 2], 1);
	spm_heap_check();
	EXPECT(pSync(id) == 0 && pPointSync(id) && version_has("main", WORDS / 2, 1));
	EXPECT(!pVClose());
	return 0;
}

static int is_watched_again(const char *volume)
{
	void *root;
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCRestore(MAGIC, &root)));
	r = root;
	EXPECT(r->told[7] == 7 && r->told[WORDS / 2] == 1);
	r->told[1] = 11;
	EXPECT(pPointSync(id) && version_has("main", 1, 11));
	r->told[2] = 12; /* nobody tells: but it was written before */
	EXPECT(!pUnwatch(r->told) && !pUnwatch(r->told));
	EXPECT(pPointSync(id) && version_has("main", 2, 12));
	tell(&r->told[3], 13);
	EXPECT(pCSwitch(id, "main~1", &root) == -1 && errno == EBUSY);
	EXPECT(!pCSwitch(id, "!main~1", &root));
	r = root;
	EXPECT(r->told[1] == 11 && r->told[2] == 0 && r->told[3] == 0);
	EXPECT(!pVClose());
	return 0;
}

/* Each test runs with each way of tracking. */
static const char *volume_new(const char *name)
{
	const char *volume = scratch(name);

	unlink(volume);
	return volume;
}

static void versions_have_what_was_told(void **state)
{
	const char *volume = volume_new("told.vol");

	(void)state;
	in_process(tells, volume);
	in_process(is_watched_again, volume);
}

static int is_freed(const char *volume)
{
	struct root *r;
	int id = begin(volume, &r);
	uint64_t *before;

	EXPECT(id && pPointSync(id));
	before = r->told;
	pFree(before);
	r->told = NULL;
	EXPECT(pPointSync(id) &&
	       pPointSync(id)); /* the drain lets go of the span, and a large allocation gives it back */
	pFree(pMalloc(BYTES * 2));
	spm_heap_check();
	r->told = pMalloc(BYTES);
	EXPECT(r->told == before && pPointSync(id)); /* else this shows nothing */
	r->told[9] = 9;
	EXPECT(pPointSync(id) && version_has("main", 9, 9));
	r->told = pRealloc(r->told, BYTES / 4);
	EXPECT(!pUnwatch(r->told) && pPointSync(id));
	r->told = pRealloc(r->told, BYTES);
	EXPECT(pPointSync(id));
	r->told[WORDS - 1] = 10;
	EXPECT(pPointSync(id) && version_has("main", WORDS - 1, 10));
	EXPECT(!pVClose());
	spm_heap_check();
	return 0;
}

static void what_gets_the_place_of_a_freed_object_is_watched(void **state)
{
	(void)state;
	in_process(is_freed, volume_new("freed.vol"));
}

static int is_refused(const char *volume)
{
	struct root *r;
	char on_stack[8];

	EXPECT(begin(volume, &r));
	EXPECT(pUnwatch(r) == -1 && errno == EINVAL);
	EXPECT(pUnwatch(&r->told[1]) == -1 && errno == EINVAL);
	EXPECT(pUnwatch(on_stack) == -1 && errno == EINVAL);
	EXPECT(pUnwatch(NULL) == -1 && errno == EINVAL);
	EXPECT(!pVClose());
	return 0;
}

static void only_whole_large_objects_can_be_unwatched(void **state)
{
	(void)state;
	in_process(is_refused, volume_new("refused.vol"));
}

/* Many of them, between watched ones, made and freed; after each point memory and version are the same. */
static int goes_at_random(const char *volume)
{
	uint64_t random = test_seed(), *object[OBJECTS] = {NULL}, **table;
	void *root;
	int id, view;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(MAGIC, sizeof(object), &root)));
	table = root;
	pCUse(id);
	for (int round = 0; round < 60; round++) {
		for (int step = 0; step < 40; step++) {
			unsigned i = (unsigned)(test_random(&random) % OBJECTS);
			size_t word = (size_t)(test_random(&random) % (WORDS / 4));

			if (test_random(&random) % 16 == 0) {
				pFree(table[i]);
				table[i] = NULL;
			}
			if (!table[i]) {
				EXPECT((table[i] = pMallocNoPtr(BYTES / 4)));
				EXPECT(i % 2 || !pUnwatch(table[i]));
			}
			table[i][word] = test_random(&random);
			if (i % 2 == 0)
				pDirty(&table[i][word], 8);
		}
		EXPECT(pPointSync(id) && (view = pCOpenAt(MAGIC, "main", &root)));
		for (unsigned i = 0; i < OBJECTS; i++) {
			uint64_t *saved = ((uint64_t **)root)[i];

			EXPECT(!saved == !table[i] && (!saved || !memcmp(saved, table[i], BYTES / 4)));
		}
		pCFree(view);
		spm_heap_check();
	}
	EXPECT(!pVClose());
	return 0;
}

static void memory_and_versions_stay_the_same(void **state)
{
	(void)state;
	in_process(goes_at_random, volume_new("random.vol"));
}

static int use_mprotect(void **state)
{
	(void)state;
	return setenv("SOFTPM_TRACK", "mprotect", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(versions_have_what_was_told),
	        cmocka_unit_test(what_gets_the_place_of_a_freed_object_is_watched),
	        cmocka_unit_test(only_whole_large_objects_can_be_unwatched),
	        cmocka_unit_test(memory_and_versions_stay_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) + cmocka_run_group_tests(tests, use_mprotect, NULL);
}
