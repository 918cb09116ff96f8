/* test_hints.c - pExclude and pHint: what a program says of its pointers holds in all versions, and ends with the
 * object. */
#include "discover/hints.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { KEY = 0x5a5a5a5a };
struct node {
	uint64_t encoded; /* pointer ^ KEY */
	struct node *cache, *other;
	char text[16];
};

static uint64_t encode(const struct node *n)
{
	return (uintptr_t)n ^ ((uint64_t)KEY << 32 | KEY);
}

static struct node *decode(uint64_t encoded)
{
	return (struct node *)(uintptr_t)(encoded ^ ((uint64_t)KEY << 32 | KEY));
}

static struct node *node_new(const char *text)
{
	struct node *n = pCalloc(1, sizeof(*n));

	strcpy(n->text, text);
	return n;
}

static int hint_make(const char *volume)
{
	void *at;
	struct node *root;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(1, sizeof(struct node), &at)) > 0);
	root = at;
	root->encoded = encode(node_new("first"));
	decode(root->encoded)->encoded = encode(node_new("second"));
	root->cache = node_new("cached");
	EXPECT(pHint(id, root, &id) == -1 && errno == EINVAL);
	EXPECT(pExclude(id, &id) == -1 && errno == EINVAL);
	EXPECT(!pHint(id, decode(root->encoded),
	              decode(decode(root->encoded)->encoded))); /* the object is found later */
	EXPECT(!pHint(id, root, decode(root->encoded)));
	EXPECT(!pExclude(id, &root->cache));
	EXPECT(pPointSync(id) == 1);
	EXPECT(!strcmp(root->cache->text, "cached")); /* memory itself keeps it */
	return pVClose();
}

static int hint_check(const char *volume)
{
	void *at;
	struct node *root;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCRestore(1, &at)) > 0);
	root = at;
	EXPECT(!root->cache);
	EXPECT(!strcmp(decode(root->encoded)->text, "first"));
	EXPECT(!strcmp(decode(decode(root->encoded)->encoded)->text, "second"));
	root->cache = node_new("cached again"); /* excluded still: said once, it holds */
	EXPECT(!pFullTrace(id));
	EXPECT(pPointSync(id));
	return pVClose();
}

static void hints_hold_in_all_versions(void **state)
{
	const char *volume = scratch("hints.vol");

	(void)state;
	in_process(hint_make, volume);
	for (int i = 0; i < 3; i++)
		in_process(hint_check, volume);
}

/* Another object at the address of a freed one has none of its hints. */
static int end_make(const char *volume)
{
	void *at;
	struct node *root, *first, *again;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(2, sizeof(struct node), &at)) > 0);
	root = at;
	root->cache = first = node_new("to be freed");
	first->other = node_new("not followed");
	EXPECT(!pExclude(id, &first->other));
	EXPECT(pPointSync(id));
	pFree(first);
	for (again = NULL; again != first;) /* until the address comes again */
		again = node_new("another");
	again->other = node_new("followed");
	root->cache = again;
	EXPECT(pPointSync(id));
	/* an exclusion given after the free, before the next point, stays */
	pFree(again);
	for (first = NULL; first != again;)
		first = node_new("third");
	root->other = first;
	root->cache = node_new("followed");
	first->other = node_new("not followed");
	EXPECT(!pExclude(id, &first->other));
	EXPECT(pPointSync(id));
	return pVClose();
}

static int end_check(const char *volume)
{
	void *at;
	struct node *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(2, &at) > 0);
	root = at;
	EXPECT(!strcmp(root->cache->text, "followed"));
	EXPECT(!strcmp(root->other->text, "third"));
	EXPECT(!root->other->other);
	return pVClose();
}

static int middle_check(const char *volume)
{
	void *at;
	struct node *root, *n;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(3, sizeof(struct node), &at)) > 0);
	root = at;
	root->cache = n = node_new("n");
	EXPECT(!pExclude(id, &n->other));
	EXPECT(pPointSync(id));
	at = n;
	root->cache = NULL;
	pFree(n);
	for (n = NULL; n != at;)
		n = node_new("m");
	root->cache = n;
	n->other = node_new("followed");
	EXPECT(pPointSync(id));
	return pVClose();
}

static int middle_restore(const char *volume)
{
	void *at;
	struct node *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(3, &at) > 0);
	root = at;
	EXPECT(root->cache->other && !strcmp(root->cache->other->text, "followed"));
	return pVClose();
}

/* Also if no point ever found the object. */
static int unseen_make(const char *volume)
{
	void *at;
	struct node *root, *first, *again;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(5, sizeof(struct node), &at)) > 0);
	root = at;
	first = node_new("freed early");
	EXPECT(!pExclude(id, &first->other));
	pFree(first);
	EXPECT(pPointSync(id));
	for (again = NULL; again != first;) /* until the address comes again */
		again = node_new("another");
	again->other = node_new("followed");
	root->cache = again;
	first = node_new("never reached");
	EXPECT(!pExclude(id, &first->other));
	snprintf(root->text, sizeof(root->text), "%zx", (size_t)((char *)first - (char *)root));
	EXPECT(pPointSync(id));
	return pVClose();
}

static int unseen_use(const char *volume)
{
	void *at;
	struct node *root, *n, *unseen;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCRestore(5, &at)) > 0);
	root = at;
	EXPECT(root->cache->other && !strcmp(root->cache->other->text, "followed"));
	unseen = (struct node *)((char *)at + strtoull(root->text, NULL, 16));
	EXPECT(!pCUse(id));
	for (n = NULL; n != unseen;)
		n = node_new("at its address");
	root->cache = n;
	n->other = node_new("followed");
	EXPECT(pPointSync(id));
	return pVClose();
}

static int unseen_check(const char *volume)
{
	void *at;
	struct node *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(5, &at) > 0);
	root = at;
	EXPECT(root->cache->other && !strcmp(root->cache->other->text, "followed"));
	return pVClose();
}

static void a_hint_ends_with_an_object_that_no_point_found(void **state)
{
	const char *volume = scratch("unseen.vol");

	(void)state;
	in_process(unseen_make, volume);
	in_process(unseen_use, volume);
	in_process(unseen_check, volume);
}

static void a_hint_ends_with_its_object(void **state)
{
	const char *volume = scratch("ends.vol");

	(void)state;
	in_process(end_make, volume);
	in_process(end_check, volume);
	in_process(middle_check, volume);
	in_process(middle_restore, volume);
}

static int bytes_note(const struct pversion *v, void *arg)
{
	((uint64_t *)arg)[v->version] = v->live_bytes;
	return 0;
}

/* What a hint alone keeps goes when it is taken back. */
static int take_back(const char *volume)
{
	void *at;
	struct node *root;
	uint64_t bytes[3] = {0};
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(4, sizeof(struct node), &at)) > 0);
	root = at;
	EXPECT(!pHint(id, root, node_new("kept by a hint")));
	EXPECT(pPointSync(id));
	EXPECT(!pHint(id, root, NULL));
	EXPECT(!pFullTrace(id));
	EXPECT(pPointSync(id) == 2);
	EXPECT(!pVersions(4, NULL, bytes_note, bytes));
	EXPECT(bytes[2] < bytes[1]);
	return pVClose();
}

static void a_hint_can_be_taken_back(void **state)
{
	(void)state;
	in_process(take_back, scratch("back.vol"));
}

/* ---- types of objects ---- */

enum { TYPED = 500, TYPED_STEPS = 20000 };

static uint64_t typed_address(unsigned i)
{
	return SPM_WINDOW_START + UINT64_C(1) * i * 48;
}

/* Against an array: what the table of slots finds, whatever was told and taken back. */
static void types_of_objects_are_those_of_a_plain_array(void **state)
{
	int model[TYPED];
	uint64_t seed = test_seed();
	struct hints h = {0}, copy;
	size_t count = 0;

	(void)state;
	for (unsigned i = 0; i < TYPED; i++)
		model[i] = -1;
	for (unsigned step = 0; step < TYPED_STEPS; step++) {
		unsigned i = (unsigned)(test_random(&seed) % TYPED), root = (unsigned)(test_random(&seed) % 1024);

		count += model[i] < 0;
		if (test_random(&seed) % 3) {
			assert_int_equal(spm_hints_type(&h, typed_address(i), root), model[i] == (int)root);
			model[i] = (int)root;
		} else {
			spm_hints_untype(&h, typed_address(i));
			model[i] = -1;
			count--;
		}
		assert_int_equal(h.typed_count, count);
		i = (unsigned)(test_random(&seed) % TYPED);
		assert_int_equal(spm_hints_type_of(&h, typed_address(i)), model[i]);
	}
	assert_int_equal(spm_hints_copy(&h, &copy), 0);
	for (unsigned i = 0; i < TYPED; i++)
		assert_int_equal(spm_hints_type_of(&copy, typed_address(i)), model[i]);
	spm_hints_untype_all(&h);
	assert_int_equal(spm_hints_type_of(&h, typed_address(1)), -1);
	spm_hints_free(&copy);
	spm_hints_free(&h);
}

static int hints_load(const uint64_t *word, size_t n)
{
	struct hints h = {0};
	int err = spm_hints_load(&h, word, n);

	spm_hints_free(&h);
	return err;
}

static void malformed_hints_are_refused(void **state)
{
	const uint64_t a = SPM_WINDOW_START + 4096, type = UINT64_C(3) << HINTS_TYPE_BIT;

	(void)state;
	assert_int_equal(hints_load((uint64_t[]){0, 0}, 16), 0);
	assert_int_equal(hints_load((uint64_t[]){0, 0, a | type, (a + 64) | type}, 32), 0);
	assert_int_equal(hints_load((uint64_t[]){1, 1, a, a, a, a | type}, 48), 0);
	assert_int_equal(hints_load((uint64_t[]){0, 0, a | type, a}, 32), -EINVAL); /* twice */
	assert_int_equal(hints_load((uint64_t[]){0, 0, 4096 | type}, 24), -EINVAL); /* outside */
	assert_int_equal(hints_load((uint64_t[]){0, 0, a | type}, 20), -EINVAL);
	assert_int_equal(hints_load((uint64_t[]){2, 0, a | type}, 24), -EINVAL);
	assert_int_equal(hints_load((uint64_t[]){UINT64_MAX / 8, 0, a}, 24), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(hints_hold_in_all_versions),
	        cmocka_unit_test(a_hint_ends_with_its_object),
	        cmocka_unit_test(a_hint_ends_with_an_object_that_no_point_found),
	        cmocka_unit_test(a_hint_can_be_taken_back),
	        cmocka_unit_test(types_of_objects_are_those_of_a_plain_array),
	        cmocka_unit_test(malformed_hints_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
