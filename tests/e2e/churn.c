/* churn.c - thousands of points over data that changes all the time and does not grow: the file does not grow either,
 * and what comes back at the end is right. $SOFTPM_CHURN_POINTS (5000) points over $SOFTPM_CHURN_MIB (30); label slow
 * runs 100,000 over 100.
 */
#include "expect.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { VERSIONS_KEPT = 16, CHANGES_MOST = 6, BYTES_MOST = 20000, LOOK_EVERY = 500, SYNC_EVERY = 32 };

struct object {
	uint64_t bytes;
	uint64_t fill; /* what all its words are */
	uint64_t word[];
};
struct root {
	uint64_t objects, points;
	struct object *object[];
};

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

static const char *path;
static uint64_t points, seed;

static void in_process(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		fn();
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		fail_msg("the process ended with status 0x%x", status);
}

static void object_fill(struct object *o, uint64_t fill)
{
	o->fill = fill;
	for (uint64_t i = 0; i < o->bytes / 8; i++)
		o->word[i] = fill;
}

/* Most sizes are small, some are several pages. */
static struct object *object_make(uint64_t *random)
{
	uint64_t r = test_random(random), bytes = r % 16 ? 8 + r / 16 % 2000 : 8 + r / 16 % BYTES_MOST;
	struct object *o = r % 2 ? pMalloc(sizeof(*o) + bytes) : pMallocNoPtr(sizeof(*o) + bytes);

	EXPECT(o);
	o->bytes = bytes;
	object_fill(o, r | 1);
	return o;
}

static void object_change(struct root *r, uint64_t *random)
{
	struct object **o = &r->object[test_random(random) % r->objects];

	if (test_random(random) % 3 == 0) {
		pFree(*o);
		*o = object_make(random);
	} else {
		object_fill(*o, test_random(random) | 1);
	}
}

static struct root *container_make(uint64_t *random, int *id)
{
	uint64_t objects = test_number("SOFTPM_CHURN_MIB", 30) * 650; /* of 1.6 KiB on the average */
	struct cattr *attr;
	struct root *r;

	EXPECT(!pVOpen(path));
	*id = pCAlloc(1, (int)(sizeof(*r) + objects * sizeof(*r->object)), (void **)&r);
	EXPECT(*id);
	attr = pCGetAttr(1);
	EXPECT(attr);
	attr->versions_kept = VERSIONS_KEPT;
	EXPECT(!pCSetAttr(*id, attr));
	pCAttrFree(attr);
	r->objects = objects;
	for (uint64_t i = 0; i < objects; i++)
		r->object[i] = object_make(random);
	EXPECT(pPointSync(*id) == 1);
	return r;
}

static int newest_look(const struct pversion *v, void *arg)
{
	*(uint64_t *)arg = v->live_bytes;
	return 1;
}

static void file_must_be_small(int64_t version)
{
	uint64_t live = 0;
	struct stat st;

	EXPECT(pVersions(1, NULL, newest_look, &live) == 1 && live);
	EXPECT(!stat(path, &st));
	if (version <= 1 || version % 10000 == 0 || (uint64_t)version == points)
		printf("version %lld: %.1f MiB live, file %.1f MiB\n", (long long)version, (double)live / 1048576,
		       (double)st.st_size / 1048576);
	if ((uint64_t)st.st_size >= 3 * live) {
		fprintf(stderr, "version %lld: the file has %llu bytes for %llu that live\n", (long long)version,
		        (unsigned long long)st.st_size, (unsigned long long)live);
		_exit(1);
	}
}

static void points_make(void)
{
	uint64_t random = seed;
	int id;
	struct root *r = container_make(&random, &id);

	file_must_be_small(1);
	for (int64_t version = 2; version <= (int64_t)points; version++) {
		for (uint64_t n = 1 + test_random(&random) % CHANGES_MOST; n > 0; n--)
			object_change(r, &random);
		r->points++;
		EXPECT(pPoint(id) == version);
		if (version % SYNC_EVERY == 0)
			EXPECT(!pSync(id));
		if (version % LOOK_EVERY == 0 || version == (int64_t)points) {
			EXPECT(!pSync(id));
			file_must_be_small(version);
		}
	}
	fflush(stdout);
	EXPECT(!pVClose());
}

static int version_count(const struct pversion *v, void *arg)
{
	(void)v;
	++*(unsigned *)arg;
	return 0;
}

static void see_all_right(void)
{
	unsigned versions = 0;
	struct root *r;

	EXPECT(!pVOpen(path));
	EXPECT(!pCheck(1, NULL, NULL, NULL));
	EXPECT(!pVersions(1, NULL, version_count, &versions) && versions == VERSIONS_KEPT);
	EXPECT(pCRestore(1, (void **)&r));
	EXPECT(r->points == points - 1);
	for (uint64_t i = 0; i < r->objects; i++) {
		const struct object *o = r->object[i];

		for (uint64_t w = 0; w < o->bytes / 8; w++)
			EXPECT(o->word[w] == o->fill && o->fill & 1);
	}
	EXPECT(!pVClose());
}

static void the_file_does_not_grow_when_the_data_does_not(void **state)
{
	(void)state;
	points = test_number("SOFTPM_CHURN_POINTS", 5000);
	seed = test_seed();
	path = scratch("churn.vol");
	in_process(points_make);
	in_process(see_all_right);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_file_does_not_grow_when_the_data_does_not)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
