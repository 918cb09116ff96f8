/* test_branches.c - versions beside each other: views, clones, tags, and what a program calls them. */
#include "book.h"
#include "expect.h"
#include "heap/class.h"
#include "heap/guard.h"
#include "process.h"
#include "scratch.h"
#include "softpm.h"
#include "volume/format.h"
#include "volume/volume.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { CONTAINER = 7, VERSIONS = 20, STEPS = 40 };

static void steps(struct book *b, unsigned n)
{
	while (n--)
		book_step(b);
}

static bool is_at(const struct book *b, uint64_t n)
{
	return b->steps == n && book_is_right(b);
}

/* Versions 1..VERSIONS, with STEPS steps each. All are kept. */
static struct book *book_make(const char *volume, int *id)
{
	struct cattr *attr;
	void *root;

	if (pVOpen(volume))
		return NULL;
	*id = pCAlloc(CONTAINER, sizeof(struct book), &root);
	attr = *id ? pCGetAttr(CONTAINER) : NULL;
	if (!attr)
		return NULL;
	attr->versions_kept = 0;
	if (pCSetAttr(*id, attr))
		return NULL;
	pCAttrFree(attr);
	for (unsigned v = 0; v < VERSIONS; v++) {
		steps(root, STEPS);
		if (pPointSync(*id) != v + 1)
			return NULL;
	}
	return root;
}

static int views_show_their_versions_beside_the_live_one(const char *volume)
{
	struct book *view[4], *live;
	int id, view_id[4];

	live = book_make(volume, &id);
	EXPECT(live);
	for (unsigned i = 0; i < 4; i++) {
		char ref[16];
		void *root;

		snprintf(ref, sizeof(ref), "%u", 1 + i * 5);
		view_id[i] = pCOpenAt(CONTAINER, ref, &root);
		EXPECT(view_id[i]);
		view[i] = root;
		EXPECT(view[i] != live);
	}
	for (unsigned i = 0; i < 4; i++)
		EXPECT(is_at(view[i], (1 + i * 5) * STEPS));
	steps(live, 5);
	EXPECT(pPointSync(id) == VERSIONS + 1);
	for (unsigned i = 0; i < 4; i++)
		EXPECT(is_at(view[i], (1 + i * 5) * STEPS));
	EXPECT(is_at(live, VERSIONS * STEPS + 5));
	EXPECT(!pPoint(view_id[0]) && errno == EROFS);
	EXPECT(!pPointSync(view_id[0]) && errno == EROFS);
	steps(view[1], 30); /* nobody's */
	EXPECT(is_at(view[1], 6 * STEPS + 30) && is_at(view[2], 11 * STEPS) && is_at(live, VERSIONS * STEPS + 5));
	for (unsigned i = 0; i < 4; i++)
		pCFree(view_id[i]);
	EXPECT(is_at(live, VERSIONS * STEPS + 5));
	steps(live, 5);
	EXPECT(pPointSync(id) == VERSIONS + 2);
	EXPECT(!pVClose());
	return 0;
}

static int restored_is(const char *volume, const char *ref, uint64_t n)
{
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = ref ? pCOpenAt(CONTAINER, ref, &root) : pCRestore(CONTAINER, &root);
	EXPECT(id);
	EXPECT(is_at(root, n));
	EXPECT(!pVClose());
	return 0;
}

static int clones_go_their_own_ways(const char *volume)
{
	struct book *live, *clone;
	int64_t on_live, on_clone;
	int id, clone_id;
	void *root;

	live = book_make(volume, &id);
	EXPECT(live);
	steps(live, 1); /* not in the clone */
	clone_id = pCClone(id, "try", &root);
	EXPECT(clone_id && clone_id != id);
	clone = root;
	EXPECT(is_at(clone, VERSIONS * STEPS));
	EXPECT(!pCClone(id, "try", &root) && errno == EEXIST);
	EXPECT(!pCClone(id, "main", &root) && errno == EEXIST);
	EXPECT(!pCClone(id, "12", &root) && errno == EINVAL);
	for (unsigned i = 1; i <= 3; i++) {
		steps(clone, 10);
		steps(live, 100);
		on_clone = pPointSync(clone_id);
		on_live = pPointSync(id);
		EXPECT(on_clone && on_live && on_clone != on_live);
		EXPECT(is_at(clone, VERSIONS * STEPS + i * 10) && is_at(live, VERSIONS * STEPS + 1 + i * 100));
	}
	EXPECT(!pVClose());
	EXPECT(!restored_is(volume, NULL, VERSIONS * STEPS + 301));
	EXPECT(!restored_is(volume, "try", VERSIONS * STEPS + 30));
	EXPECT(!restored_is(volume, "try~1", VERSIONS * STEPS + 20));
	EXPECT(!restored_is(volume, "try~3", VERSIONS * STEPS));
	EXPECT(!restored_is(volume, "try~4", (VERSIONS - 1) * STEPS));
	EXPECT(!restored_is(volume, "main~", VERSIONS * STEPS + 201));
	EXPECT(!pVOpen(volume));
	EXPECT(!pTag(CONTAINER, "kept", "try~1"));
	EXPECT(pBranchDelete(CONTAINER, "try") && errno == EBUSY && strstr(pErrorMsg(), "kept"));
	EXPECT(!pTagDelete(CONTAINER, "kept") && !pBranchDelete(CONTAINER, "try"));
	EXPECT(!pVClose());
	return 0;
}

struct seen {
	int n;
	int64_t first, last;
	char names[200];
};

static int first_see(const struct pversion *v, void *arg)
{
	*(struct pversion *)arg = *v;
	return 1;
}

/* What nobody changed is shared, although every pointer in it is another one here. */
static int a_clones_points_write_only_what_changed(const char *volume)
{
	struct pversion last;
	struct book *live, *clone;
	int id, clone_id;
	void *root;

	live = book_make(volume, &id);
	EXPECT(live);
	for (unsigned i = 0; i < 200; i++) { /* some megabytes */
		void **more = pMalloc(16000);

		EXPECT(more);
		more[0] = live->more;
		more[1000] = more;
		live->more = more;
	}
	EXPECT(pPointSync(id) == VERSIONS + 1);
	clone_id = pCClone(id, "try", &root);
	EXPECT(clone_id);
	clone = root;
	EXPECT(is_at(clone, VERSIONS * STEPS));
	for (void **m = clone->more; m; m = m[0])
		EXPECT(m[1000] == m);
	EXPECT(pPoint(clone_id) == VERSIONS + 1); /* nothing changed */
	steps(clone, 1);
	EXPECT(pPointSync(clone_id));
	EXPECT(pVersions(CONTAINER, "try", first_see, &last) == 1);
	EXPECT(last.stored_pages <= 12 && last.pages > 500);
	((void **)clone->more)[5] = pMalloc(10); /* and what is new lies where there is room */
	EXPECT(pPointSync(clone_id));
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	clone_id = pCOpenAt(CONTAINER, "try", &root);
	EXPECT(clone_id);
	clone = root;
	EXPECT(is_at(clone, VERSIONS * STEPS + 1) && ((void **)clone->more)[5]);
	for (void **m = clone->more; m; m = m[0])
		EXPECT(m[1000] == m);
	EXPECT(!pVClose());
	return 0;
}

static int a_container_goes_from_version_to_version(const char *volume)
{
	struct book *b;
	int64_t version;
	int id;
	void *root;

	b = book_make(volume, &id);
	EXPECT(b);
	EXPECT(pCSwitch(id, "nosuch", &root) && errno == ENOENT);
	EXPECT(is_at(b, VERSIONS * STEPS));
	EXPECT(!pCSwitch(id, "5", &root));
	EXPECT(is_at(root, 5 * STEPS));
	EXPECT(!pPointSync(id) && errno == EROFS);
	EXPECT(!pCSwitch(id, "6", &root) && is_at(root, 6 * STEPS));
	EXPECT(!pCSwitch(id, "main~1", &root) && is_at(root, (VERSIONS - 1) * STEPS));
	EXPECT(!pCSwitch(id, "main", &root) && is_at(root, VERSIONS * STEPS));
	b = root;
	EXPECT(pPoint(id) == VERSIONS); /* nothing changed */
	steps(b, 1);
	EXPECT(pCSwitch(id, "5", &root) && errno == EBUSY && is_at(b, VERSIONS * STEPS + 1));
	EXPECT(pPointSync(id) == VERSIONS + 1);
	steps(b, 1);
	EXPECT(!pCSwitch(id, "!main", &root) && is_at(root, VERSIONS * STEPS + 1));
	EXPECT(!pBranch(CONTAINER, "try", "7"));
	EXPECT(!pCSwitch(id, "try", &root) && is_at(root, 7 * STEPS));
	b = root;
	for (unsigned i = 1; i <= 3; i++) {
		steps(b, 10);
		version = pPointSync(id);
		EXPECT(version == VERSIONS + 1 + i);
	}
	EXPECT(!pCSwitch(id, "main", &root) && is_at(root, VERSIONS * STEPS + 1));
	EXPECT(!pCSwitch(id, "try", &root) && is_at(root, 7 * STEPS + 30));
	EXPECT(pBranchDelete(CONTAINER, "try"));
	EXPECT(!pVClose());
	EXPECT(!restored_is(volume, NULL, 7 * STEPS + 30)); /* the branch switched to last */
	EXPECT(!restored_is(volume, "main", VERSIONS * STEPS + 1));
	EXPECT(!restored_is(volume, "7", 7 * STEPS));
	return 0;
}

struct counts {
	uint64_t changed, added, removed, bytes, bytes_of_last, size_of_last;
	const void *last;
};
struct differences {
	struct counts page, object;
	const void *at;
};

static int difference_see(const struct pdifference *d, void *arg)
{
	struct differences *all = arg;
	struct counts *n = d->is_object ? &all->object : &all->page;

	n->changed += d->is_in_first && d->is_in_second;
	n->added += !d->is_in_first;
	n->removed += !d->is_in_second;
	n->bytes += d->bytes;
	n->bytes_of_last = d->bytes;
	n->size_of_last = d->size;
	n->last = d->address;
	return 0;
}

static int differences_are_told(const char *volume)
{
	struct differences none = {0}, one = {0}, back = {0}, grown = {0};
	struct book *live;
	char *text;
	int id;

	live = book_make(volume, &id);
	EXPECT(live);
	text = pMallocNoPtr(200000);
	live->more = text;
	EXPECT(text && pPointSync(id) == VERSIONS + 1);
	memcpy(text + 100000, "1234567", 7);
	EXPECT(pPointSync(id) == VERSIONS + 2);
	EXPECT(!pDiff(CONTAINER, "7", "7", difference_see, &none) && !none.page.changed && !none.page.bytes);
	EXPECT(!none.object.changed && !none.object.added && !none.object.removed);
	EXPECT(!pDiff(CONTAINER, "21", NULL, difference_see, &one));
	EXPECT(one.page.changed == 1 && one.page.bytes == 7 && !one.page.added && !one.page.removed);
	EXPECT((uintptr_t)one.page.last == ((uintptr_t)text + 100000) / 4096 * 4096);
	EXPECT(one.object.changed == 1 && one.object.bytes == 7 && !one.object.added && !one.object.removed);
	EXPECT(one.object.last == text && one.object.size_of_last >= 200000);
	EXPECT(!pDiff(CONTAINER, "20", "22", difference_see, &grown) && grown.page.added >= 48 && !grown.page.removed);
	EXPECT(grown.object.added == 1 && grown.object.changed == 1 &&
	       !grown.object.removed); /* text, and who has it */
	EXPECT(!pDiff(CONTAINER, "22", "20", difference_see, &back) && back.page.removed == grown.page.added &&
	       back.page.bytes == grown.page.bytes && !back.page.added);
	EXPECT(back.object.removed == 1 && back.object.changed == 1 && !back.object.added);
	EXPECT(pDiff(CONTAINER, "22", "99", difference_see, &back) == -1 && errno == ENOENT);
	EXPECT(pDiff(CONTAINER, "99", "22", difference_see, &back) == -1 && errno == ENOENT);
	EXPECT(!pVClose());
	return 0;
}

/* Against what the test itself did to each object. Debug builds have a guard behind each. */
enum { OBJECTS = 3000 };
struct object_root {
	unsigned char *object[OBJECTS];
	uint64_t size[OBJECTS];
};
enum fate { STAYS, CHANGES, COMES, GOES };
struct fates {
	const struct object_root *first, *second; /* pointers before and after */
	enum fate *fate;
	uint64_t *bytes;
	bool *was_told;
	bool is_right;
	const void *root;
};

static int fate_check(const struct pdifference *d, void *arg)
{
	struct fates *f = arg;
	enum fate is = !d->is_in_first ? COMES : !d->is_in_second ? GOES : CHANGES;
	unsigned i = 0;

	if (!d->is_object || d->address == f->root)
		return 0;
	while (i < OBJECTS && f->first->object[i] != d->address && f->second->object[i] != d->address)
		i++;
	f->is_right &= i < OBJECTS && !f->was_told[i] && f->fate[i] == is && d->size >= f->second->size[i] &&
	               d->bytes - f->bytes[i] <= SPM_GUARD_BYTES;
	if (i < OBJECTS)
		f->was_told[i] = true;
	return 0;
}

static uint64_t object_change(unsigned char *p, uint64_t size, uint64_t *random)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 5; i++) {
		unsigned char *byte = &p[test_random(random) % size];

		n += *byte != 0xee;
		*byte = 0xee;
	}
	return n;
}

/* Sizes of all classes, and large ones; a quarter each of what is there stays, changes, goes; the rest comes, some of it all zero. */
static int objects_that_differ_are_told(const char *volume)
{
	static struct object_root first;
	static enum fate fate[OBJECTS];
	static uint64_t bytes[OBJECTS];
	static bool was_told[OBJECTS];
	uint64_t random = test_seed();
	struct object_root *r;
	struct fates f;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(CONTAINER, sizeof(*r), (void **)&r);
	EXPECT(id);
	for (unsigned i = 0; i < OBJECTS; i++) {
		fate[i] = (enum fate)(test_random(&random) % 4);
		r->size[i] = 16 + test_random(&random) % (UINT64_C(1) << (test_random(&random) % 17));
		if (fate[i] == COMES)
			continue;
		r->object[i] = pMallocNoPtr(r->size[i]);
		memset(r->object[i], (int)(i % 5), r->size[i]);
		bytes[i] = fate[i] == GOES && i % 5 ? r->size[i] : 0;
	}
	EXPECT(pPointSync(id) == 1);
	first = *r;
	for (unsigned i = 0; i < OBJECTS; i++) {
		if (fate[i] == CHANGES)
			bytes[i] = object_change(r->object[i], r->size[i], &random);
		if (fate[i] == COMES) { /* nothing is freed before: none gets another's place */
			r->object[i] = pMallocNoPtr(r->size[i]);
			memset(r->object[i], (int)(i % 3), r->size[i]);
			bytes[i] = i % 3 ? r->size[i] : 0;
		}
	}
	for (unsigned i = 0; i < OBJECTS; i++)
		if (fate[i] == GOES) {
			pFree(r->object[i]);
			r->object[i] = NULL;
		}
	EXPECT(pPointSync(id) == 2);
	f = (struct fates){&first, r, fate, bytes, was_told, true, r};
	EXPECT(!pDiff(CONTAINER, "1", "2", fate_check, &f) && f.is_right);
	for (unsigned i = 0; i < OBJECTS; i++) {
		EXPECT(was_told[i] == (fate[i] != STAYS));
		was_told[i] = false;
		fate[i] = fate[i] == COMES ? GOES : fate[i] == GOES ? COMES : fate[i];
	}
	EXPECT(!pDiff(CONTAINER, "2", "1", fate_check, &f) && f.is_right);
	EXPECT(!pVClose());
	return 0;
}

static int version_see(const struct pversion *v, void *arg)
{
	struct seen *s = arg;

	s->first = s->n++ ? s->first : v->version;
	s->last = v->version;
	return 0;
}

static int tag_count(const struct ptag *t, void *arg)
{
	(void)t;
	((struct seen *)arg)->n++;
	return 0;
}

static int tag_see(const struct ptag *t, void *arg)
{
	struct seen *s = arg;

	s->n++;
	snprintf(s->names + strlen(s->names), 60, "%s=%lld ", t->name, (long long)t->version);
	return 0;
}

static int branch_see(const struct pbranch *b, void *arg)
{
	struct seen *s = arg;

	s->n++;
	snprintf(s->names + strlen(s->names), 60, "%s<%s@%lld=%lld%s ", b->name, b->parent, (long long)b->origin,
	         (long long)b->newest, b->is_current ? "*" : "");
	return 0;
}

static int names_keep_versions(const char *volume)
{
	struct seen tags = {0}, branches = {0}, versions = {0};
	struct cattr *attr;
	struct book *live;
	void *root;
	int id;

	live = book_make(volume, &id);
	EXPECT(live);
	EXPECT(!pCTag(id, "five", "5") && !pCTag(id, "now", NULL) && !pTag(CONTAINER, "third", "~3"));
	EXPECT(pCTag(id, "five", "6") && errno == EEXIST);
	EXPECT(!pBranch(CONTAINER, "old", "7") && pBranch(CONTAINER, "five", "7") && errno == EEXIST);
	attr = pCGetAttr(CONTAINER);
	attr->versions_kept = 2;
	EXPECT(!pCSetAttr(id, attr));
	pCAttrFree(attr);
	for (unsigned i = 0; i < 3000; i++) {
		steps(live, 1);
		EXPECT(pPointSync(id));
	}
	EXPECT(!pTags(CONTAINER, tag_see, &tags) && tags.n == 3);
	EXPECT(!strcmp(tags.names, "five=5 now=20 third=17 "));
	EXPECT(!pBranches(CONTAINER, branch_see, &branches));
	EXPECT(!strcmp(branches.names, "main<@0=3020* old<main@7=7 "));
	EXPECT(!pVersions(CONTAINER, NULL, version_see, &versions));
	EXPECT(versions.n == 6 && versions.first == 3020 && versions.last == 5);
	EXPECT(!pCOpenAt(CONTAINER, "1000", &root) && errno == ENOENT);
	EXPECT(strstr(pErrorMsg(), "five, now, third") && strstr(pErrorMsg(), "main, old"));
	EXPECT(!pVClose());
	EXPECT(!restored_is(volume, "five", 5 * STEPS));
	EXPECT(!restored_is(volume, "5", 5 * STEPS));
	EXPECT(!restored_is(volume, "now", 20 * STEPS));
	EXPECT(!restored_is(volume, "third", 17 * STEPS));
	EXPECT(!restored_is(volume, "old", 7 * STEPS));
	EXPECT(!restored_is(volume, "main~1", VERSIONS * STEPS + 2999));
	EXPECT(!restored_is(volume, NULL, VERSIONS * STEPS + 3000));
	EXPECT(!pVOpen(volume));
	EXPECT(!pTagDelete(CONTAINER, "five") && pTagDelete(CONTAINER, "five") && errno == ENOENT);
	EXPECT(!pTag(CONTAINER, "seven", "old")); /* of main, though the branch has it too */
	EXPECT(pBranchSwitch(CONTAINER, "now") && errno == ENOENT);
	EXPECT(!pBranchSwitch(CONTAINER, "old") && pBranchDelete(CONTAINER, "old") && errno == EBUSY);
	EXPECT(!pBranchSwitch(CONTAINER, "main"));
	EXPECT(!pBranchDelete(CONTAINER, "old") && pBranchDelete(CONTAINER, "old") && errno == ENOENT);
	EXPECT(pBranchDelete(CONTAINER, "main") && errno == EINVAL);
	EXPECT(pTagDelete(99, "five") && errno == ENOENT && pTag(99, "five", NULL) && errno == ENOENT);
	EXPECT(!pVClose());
	EXPECT(!restored_is(volume, "seven", 7 * STEPS));
	return 0;
}

static int refs_that_mean_nothing_say_what_there_is(const char *volume)
{
	static const struct {
		const char *ref;
		int error;
	} bad[] = {
	        {"nosuch", ENOENT},
	        {"21", ENOENT},
	        {"main~20", ENOENT},
	        {"nosuch@2026-01-01", ENOENT},
	        {"@1971-01-01", ENOENT},
	        {"main~x", EINVAL},
	        {"@yesterday", EINVAL},
	        {"@2036-02-30", EINVAL},
	        {"main@2026-04-31T10:00", EINVAL},
	        {"main:99", ENOENT},
	        {"main:5x", EINVAL},
	        {"main:", EINVAL},
	        {":1", EINVAL}, /* the list of names is a chain without name */
	        {"~18446744073709551615~2", ENOENT},
	};
	static const char *const good[] = {
	        "20", "main", "~0", "", "main~0", "main:20", "@2037-12-31T23:59", "main@2037-12-31", "@9999-12-31"};
	struct book *live;
	void *root;
	int id;

	live = book_make(volume, &id);
	EXPECT(live);
	EXPECT(!pCTag(id, "for-the-list-of-names", NULL));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		EXPECT(!pCOpenAt(CONTAINER, bad[i].ref, &root));
		if (errno != bad[i].error)
			fprintf(stderr, "%s: %s\n", bad[i].ref, pErrorMsg());
		EXPECT(!pCOpenAt(CONTAINER, bad[i].ref, &root) && errno == bad[i].error);
	}
	EXPECT(!pCOpenAt(CONTAINER, "nosuch", &root) && strstr(pErrorMsg(), "main"));
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		int view = pCOpenAt(CONTAINER, good[i], &root);

		EXPECT(view);
		EXPECT(is_at(root, VERSIONS * STEPS));
		pCFree(view);
	}
	EXPECT(!pCOpenAt(99, "main", &root) && errno == ENOENT);
	EXPECT(!pVClose());
	return 0;
}

/* Fills `bytes` of a block that lies across the border of two slices, the first of which is the root's. */
static char *block_across(void **root, int id)
{
	enum { MIB = 1 << 20 };
	char *block, *gap, *rest;

	pCUse(id);
	block = pMallocNoPtr(28 * MIB);
	gap = pMallocNoPtr(20 * MIB);
	rest = pMallocNoPtr(8 * MIB);
	root[1] = rest; /* keeps the second slice */
	pFree(gap);
	root[0] = pRealloc(block, 40 * MIB);
	pCUse(0);
	EXPECT_ELSE(root[0] == block && (uintptr_t)rest >> 25 == ((uintptr_t)root >> 25) + 1, return NULL);
	return memset(block, 7, 40 * MIB);
}

static int block_is_whole(const char *block)
{
	for (size_t i = 0; i < (40 << 20); i++)
		EXPECT(block[i] == 7);
	return 0;
}

/* A clone lies elsewhere, and is given what the original has across the border of what was moved. */
static int clones_take_blocks_of_the_original(const char *volume)
{
	void **root, **clone;
	int id, clone_id;
	void *at;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(CONTAINER, 64, &at)));
	root = at;
	EXPECT(pPointSync(id) == 1);
	EXPECT(block_across(root, id));
	EXPECT(pPointSync(id) == 2);
	clone_id = pCOpenAt(CONTAINER, "1", &at);
	EXPECT(clone_id);
	clone_id = pCClone(clone_id, "try", &at);
	EXPECT(clone_id);
	clone = at;
	clone[2] = root[0];
	EXPECT(pPointSync(clone_id));
	pCFree(id); /* what the clone has stays */
	id = pCRestore(CONTAINER, &at);
	EXPECT(id);
	root = at;
	clone[3] = root[0];
	EXPECT(pPointSync(clone_id));
	EXPECT(pCOpenAt(CONTAINER, "try", &at));
	clone = at;
	EXPECT(!block_is_whole(clone[2]) && !block_is_whole(clone[3]));
	EXPECT(!pVClose());
	return 0;
}

/* The clone is there first; then the original comes back, whose block lies across the border of what was moved. */
static int originals_come_back_beside_clones(const char *volume)
{
	void **root, **clone;
	int id, clone_id, view_id;
	void *at, *held[4];

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(CONTAINER, 64, &at)));
	root = at;
	EXPECT(pPointSync(id) == 1);
	EXPECT(block_across(root, id));
	EXPECT(pPointSync(id) == 2);
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	view_id = pCOpenAt(CONTAINER, "1", &at);
	EXPECT(view_id && at == root); /* at its own place */
	for (unsigned i = 0; i < 4; i++)
		held[i] = pMallocNoPtr(30 << 20);
	clone_id = pCClone(view_id, "try", &at);
	EXPECT(clone_id && (uintptr_t)at >> 25 != (uintptr_t)root >> 25 &&
	       (uintptr_t)at >> 25 != ((uintptr_t)root >> 25) + 1);
	clone = at;
	pCFree(view_id);
	for (unsigned i = 0; i < 4; i++)
		pFree(held[i]);
	EXPECT((id = pCRestore(CONTAINER, &at)));
	root = at;
	EXPECT(!block_is_whole(root[0]));
	clone[2] = root[0];
	EXPECT(pPointSync(clone_id));
	EXPECT(pCOpenAt(CONTAINER, "try", &at));
	EXPECT(!block_is_whole(((void **)at)[2]));
	EXPECT(!pVClose());
	return 0;
}

static int root_at_200(const char *volume)
{
	void *root;
	int id;

	setenv("SOFTPM_HEAP_START", "200", 1);
	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(CONTAINER, 64, &root)));
	strcpy(root, "root");
	EXPECT(pPointSync(id) && !pVClose());
	return 0;
}

/* The window has no first page, so nothing that has one can be moved there. */
static int views_lie_at_the_windows_start(const char *volume)
{
	void *root;

	setenv("SOFTPM_HEAP_START", "0", 1);
	EXPECT(!pVOpen(volume));
	for (unsigned i = 0; i < 3; i++)
		EXPECT(pCOpenAt(CONTAINER, "main", &root) && !strcmp(root, "root"));
	EXPECT(!pVClose());
	return 0;
}

struct ring {
	struct ring *next, *before;
};

static void ring_fill(struct ring *root, unsigned n)
{
	*root = (struct ring){root, root};
	while (n--) {
		struct ring *r = pMalloc(sizeof(*r)); /* a span of these is one page */

		*r = (struct ring){root, root->before};
		root->before->next = r;
		root->before = r;
	}
}

static bool ring_is(const struct ring *root, unsigned n)
{
	const struct ring *r = root->next;

	for (; n && r != root && r->before->next == r; n--)
		r = r->next;
	return !n && r == root && r->before->next == r;
}

/* Nor can what begins there take pages elsewhere that would be the first. */
static int clone_of_the_windows_start(const char *volume)
{
	void *root;
	int id;

	setenv("SOFTPM_HEAP_START", "0", 1);
	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(CONTAINER, sizeof(struct ring), &root)));
	EXPECT(pPointSync(id) == 1);
	EXPECT((id = pCClone(id, "try", &root)) && !pCUse(id));
	ring_fill(root, 1000);
	EXPECT(pPointSync(id) == 2 && !pVClose());
	return 0;
}

static int try_comes_back(const char *volume)
{
	void *root;

	EXPECT(!pVOpen(volume));
	EXPECT(pCOpenBranch(CONTAINER, "try", &root));
	EXPECT(ring_is(root, 1000));
	EXPECT(!pVClose());
	return 0;
}

static void test_the_windows_start(void **state)
{
	const char *volume = scratch("start"), *clones = scratch("start_clone");

	(void)state;
	in_process(root_at_200, volume);
	in_process(views_lie_at_the_windows_start, volume);
	in_process(clone_of_the_windows_start, clones);
	in_process(try_comes_back, clones);
}

/* What two one-page spans at the window's start were, where an object is held by one of the other. */
static int window_start_commit(struct chain *c)
{
	static struct ring page[2][SPM_PAGE_BYTES / sizeof(struct ring)];
	struct page_meta meta = {.span_pages = 1, .class = (uint8_t)spm_class_of(sizeof(struct ring)), .live = {{1}}};
	struct ring *at = (void *)SPM_WINDOW_START, *other = (void *)(SPM_WINDOW_START + SPM_PAGE_BYTES);
	struct page_change change[2] = {{.page = 0, .data = page[0], .meta = meta},
	                                {.page = 1, .data = page[1], .meta = meta}};
	struct version_info info;

	page[0][0] = (struct ring){other, other};
	page[1][0] = (struct ring){at, at};
	EXPECT(!spm_chain_newest(c, &info));
	info.root = SPM_WINDOW_START;
	info.root_bytes = sizeof(struct ring);
	EXPECT(!spm_chain_commit(c, change, 2, false, &info));
	return 0;
}

/* Versions that were made while its first slice was in use, and so perhaps its first page. */
static int version_at_the_windows_start(const char *volume)
{
	struct driver *driver;
	struct volume *v;
	struct chain *c;
	char why[512];
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCAlloc(CONTAINER, sizeof(struct ring), &root)));
	ring_fill(root, 10);
	EXPECT(pPointSync(id) == 1 && !pBranch(CONTAINER, "try", "main") && !pVClose());
	EXPECT(!spm_driver_file_open(volume, 0, &driver, why) && !spm_volume_open(driver, 0, &v));
	EXPECT(!spm_chain_open(v, CONTAINER, "try", CHAIN_WRITE, 0, &c));
	EXPECT(!window_start_commit(c));
	spm_chain_close(c);
	spm_volume_close(v);
	return 0;
}

static int windows_start_is_moved(const char *volume)
{
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	EXPECT((id = pCOpenBranch(CONTAINER, "try", &root)));
	EXPECT(ring_is(root, 1) && (uintptr_t)root - SPM_WINDOW_START >= SPM_SLICE_BYTES);
	EXPECT(pPointSync(id) == 2); /* nothing new */
	ring_fill(root, 1000);
	EXPECT(pPointSync(id) == 3);
	EXPECT(!pCSwitch(id, "main", &root) && ring_is(root, 10));
	EXPECT(!pCSwitch(id, "try", &root) && ring_is(root, 1000));
	EXPECT(!pVClose());
	return 0;
}

static void test_versions_at_the_windows_start(void **state)
{
	const char *volume = scratch("start_page");

	(void)state;
	in_process(version_at_the_windows_start, volume);
	in_process(windows_start_is_moved, volume);
	in_process(try_comes_back, volume);
}

/* A number means one version, also when the branch that has it is closed, and when it is opened elsewhere. */
static int numbers_are_given_once(const char *volume)
{
	struct book *live, *clone;
	int id, clone_id;
	void *root;

	live = book_make(volume, &id);
	EXPECT(live);
	clone_id = pCClone(id, "try", &root);
	clone = root;
	for (unsigned i = 1; i <= 3; i++) {
		steps(clone, 1);
		EXPECT(pPointSync(clone_id) == VERSIONS + i);
	}
	pCFree(clone_id);
	EXPECT(pPointSync(id) == VERSIONS); /* nothing new */
	steps(live, 1);
	EXPECT(pPointSync(id) == VERSIONS + 4);
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	clone_id = pCOpenAt(CONTAINER, "try", &root);
	EXPECT(clone_id);
	clone_id = pCClone(clone_id, "again", &root);
	EXPECT(clone_id);
	EXPECT(pPointSync(clone_id) == VERSIONS + 3); /* nothing new */
	steps(root, 1);
	EXPECT(pPointSync(clone_id) == VERSIONS + 5);
	EXPECT(!pBranch(CONTAINER, "third", NULL) && !pCSwitch(clone_id, "third", &root));
	EXPECT(pPointSync(clone_id) == VERSIONS + 4); /* nothing new */
	steps(root, 1);
	EXPECT(pPointSync(clone_id) == VERSIONS + 6);
	steps(root, 1);
	EXPECT(pPointSync(clone_id) == VERSIONS + 7);
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	id = pCOpenAt(CONTAINER, "third~", &root); /* behind its branch's newest, which has the highest number */
	EXPECT(id && !pCSwitch(id, "try", &root));
	steps(root, 1);
	EXPECT(pPointSync(id) == VERSIONS + 8);
	EXPECT(!pVClose());
	return 0;
}

/* A place that was freed, and given to another container before any point: both let go what they had last. */
static int what_was_freed_is_not_freed_with_its_container(const char *volume)
{
	void **old, **other, *root;
	int id, other_id;

	EXPECT(!pVOpen(volume));
	for (int i = 0; i < 2; i++) {
		id = pCAlloc(CONTAINER + i, 64, &root);
		old = root;
		other_id = pCAlloc(CONTAINER + 2 + i, 64, &root);
		other = root;
		*old = pMalloc(100);
		EXPECT(*old && pPointSync(id));
		pFree(*old);
		*other = pMalloc(100);
		EXPECT(*other == *old);
		*old = NULL;
		if (i)
			EXPECT(!pCSwitch(id, "!main", &root));
		else
			pCFree(id);
		EXPECT(pMalloc(100) != *other);
		pFree(*other);
		*other = NULL;
		EXPECT(pPointSync(other_id));
	}
	EXPECT(!pVClose());
	return 0;
}

/* Both copies. */
static int head_damage(const char *volume, const char *branch)
{
	struct chain_head head;
	FILE *f = fopen(volume, "r+");
	int n = 0;

	EXPECT(f);
	for (long at = 0; !fseek(f, at, SEEK_SET) && fread(&head, sizeof(head), 1, f) == 1; at += 4096)
		if (head.magic == FORMAT_HEAD_MAGIC && !strcmp(head.branch, branch)) {
			head.durable_seq++;
			EXPECT(!fseek(f, at, SEEK_SET) && fwrite(&head, sizeof(head), 1, f) == 1);
			n++;
		}
	EXPECT(!fclose(f) && n == 2);
	return 0;
}

static int damage_see(const struct pbranch *b, void *arg)
{
	struct seen *s = arg;

	s->n++;
	if (b->damage)
		snprintf(s->names + strlen(s->names), 60, "<%s>%s", b->name, strstr(b->damage, "head") ? "head" : "");
	return 0;
}

static int a_branch_whose_head_is_damaged_is_in_nobodys_way(const char *volume)
{
	struct seen versions = {.n = 0}, branches = {.n = 0};
	struct book *live;
	int64_t whole;
	void *root;
	int id;

	EXPECT(book_make(volume, &id));
	EXPECT(!pBranch(CONTAINER, "good", "7") && !pBranch(CONTAINER, "bad", "9") && !pVClose());
	EXPECT(!head_damage(volume, "bad"));
	EXPECT(!pVOpen(volume));
	id = pCRestore(CONTAINER, &root);
	live = root;
	EXPECT(id && is_at(live, VERSIONS * STEPS));
	steps(live, 1);
	EXPECT(pPointSync(id) == VERSIONS + 1 && !pTag(CONTAINER, "nine", "9"));
	EXPECT(!pVersions(CONTAINER, NULL, version_see, &versions) && versions.n == VERSIONS + 1);
	EXPECT(!pBranches(CONTAINER, damage_see, &branches) && branches.n == 3 && !strcmp(branches.names, "<>head"));
	EXPECT(pCOpenAt(CONTAINER, "nine", &root) && is_at(root, 9 * STEPS));
	EXPECT(pCOpenAt(CONTAINER, "good~", &root) && is_at(root, 6 * STEPS));
	EXPECT(!pCSwitch(id, "good", &root) && is_at(root, 7 * STEPS) && !pBranchSwitch(CONTAINER, "main"));
	EXPECT(!pCOpenAt(CONTAINER, "bad", &root) && errno == EUCLEAN);
	EXPECT(pCheck(CONTAINER, NULL, NULL, &whole) == 1 && whole == VERSIONS + 1);
	EXPECT(pBranchDelete(CONTAINER, "bad") && errno == EUCLEAN);
	EXPECT(!pVClose() && !pVOpen(volume));
	EXPECT(!pCDelete(CONTAINER) && pCRestore(CONTAINER, &root) == 0 && errno == ENOENT);
	EXPECT(!pVClose());
	return 0;
}

/* Whatever the branch is called by which it was found. */
static int what_is_viewed_outlives_the_name_it_was_found_by(const char *volume)
{
	struct book *view;
	int id, view_id;
	void *root;

	EXPECT(book_make(volume, &id));
	EXPECT(!pBranch(CONTAINER, "one", "7") && !pBranch(CONTAINER, "two", "9"));
	view_id = pCOpenAt(CONTAINER, "one", &root);
	EXPECT(view_id && !pBranchDelete(CONTAINER, "one"));
	EXPECT(!pCTag(view_id, "seven", NULL) && !pCSwitch(view_id, "two~0", &root));
	EXPECT(!pBranchDelete(CONTAINER, "two"));
	EXPECT(pCClone(view_id, "nine", &root));
	view = root;
	EXPECT(is_at(view, 9 * STEPS));
	EXPECT(pCOpenAt(CONTAINER, "seven", &root));
	view = root;
	EXPECT(is_at(view, 7 * STEPS));
	EXPECT(!pVClose());
	return 0;
}

static int no_damage(const char *sentence, void *arg)
{
	(void)arg;
	fprintf(stderr, "%s\n", sentence);
	return 1;
}

static int a_branch_without_versions_is_as_whole_as_its_origin(const char *volume)
{
	int64_t whole;
	int id;

	EXPECT(book_make(volume, &id));
	EXPECT(!pBranch(CONTAINER, "try", "7") && !pBranchSwitch(CONTAINER, "try"));
	EXPECT(!pCheck(CONTAINER, no_damage, NULL, &whole) && whole == 7);
	EXPECT(!pVClose());
	return 0;
}

/* As long as names may be. */
static int a_tag_on_a_long_named_branch_names_its_last_version(const char *volume)
{
	static const char name[] =
	        "a-branch-with-a-long-nam-12"; /* 27 bytes: a short buffer would cut off the number */
	static const char longest[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde";
	struct seen tags = {0};
	int id, clone_id;
	void *root;

	EXPECT(book_make(volume, &id));
	clone_id = pCClone(id, name, &root);
	EXPECT(clone_id);
	for (unsigned i = 0; i < 85; i++) {
		steps(root, 1);
		EXPECT(pPointSync(clone_id));
	}
	EXPECT(!pCTag(clone_id, "a", NULL));
	clone_id = pCClone(clone_id, longest, &root);
	EXPECT(clone_id);
	steps(root, 1);
	EXPECT(pPointSync(clone_id) == 106 && !pCTag(clone_id, "b", NULL));
	EXPECT(!pTags(CONTAINER, tag_see, &tags) && !strcmp(tags.names, "a=105 b=106 "));
	EXPECT(!pVClose());
	return 0;
}

/* ---- several at once in one process ---- */

enum { THREADS = 4, EACH = 30 };

static void *tags_give(void *arg)
{
	long failed = 0;

	for (unsigned i = 0; i < EACH; i++) {
		char name[32];

		snprintf(name, sizeof(name), "tag-%s-%u", (const char *)arg, i);
		failed += pTag(CONTAINER, name, "5") != 0;
	}
	return (void *)failed;
}

static int threads_that_give_names_lose_none(const char *volume)
{
	static const char *const who[THREADS] = {"a", "b", "c", "d"};
	pthread_t thread[THREADS];
	struct seen none = {0};
	void *failed;
	int id;

	EXPECT(book_make(volume, &id));
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT(!pthread_create(&thread[i], NULL, tags_give, (void *)(uintptr_t)who[i]));
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &failed);
		EXPECT(!failed);
	}
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	EXPECT(!pTags(CONTAINER, tag_count, &none) && none.n == THREADS * EACH);
	EXPECT(!pVClose());
	return 0;
}

static void *restore_once(void *arg)
{
	void *root;

	(void)arg;
	return (void *)(intptr_t)pCRestore(CONTAINER, &root);
}

static int of_threads_that_restore_one_does(const char *volume)
{
	int id, got;

	EXPECT(book_make(volume, &id));
	for (unsigned round = 0; round < 50; round++) {
		pthread_t thread[THREADS];

		pCFree(id);
		got = 0;
		for (unsigned i = 0; i < THREADS; i++)
			EXPECT(!pthread_create(&thread[i], NULL, restore_once, NULL));
		for (unsigned i = 0; i < THREADS; i++) {
			void *result;

			pthread_join(thread[i], &result);
			if (result)
				id = (int)(intptr_t)result, got++;
		}
		EXPECT(got == 1);
	}
	EXPECT(!pVClose());
	return 0;
}

static int what_is_open_here_is_not_deleted(const char *volume)
{
	struct book *clone;
	int id, clone_id, view_id;
	void *root;

	EXPECT(book_make(volume, &id));
	clone_id = pCClone(id, "try", &root);
	clone = root;
	EXPECT(clone_id);
	EXPECT(pBranchDelete(CONTAINER, "try") && errno == EBUSY);
	steps(clone, 1);
	EXPECT(pPointSync(clone_id) && is_at(clone, VERSIONS * STEPS + 1));
	view_id = pCOpenAt(CONTAINER, "try", &root);
	EXPECT(view_id);
	pCFree(clone_id);
	EXPECT(pBranchDelete(CONTAINER, "try") && errno == EAGAIN);
	EXPECT(is_at(root, VERSIONS * STEPS + 1));
	pCFree(view_id);
	EXPECT(!pBranchDelete(CONTAINER, "try"));
	EXPECT(!pVClose());
	return 0;
}

/* Of a container that somebody reads nothing is deleted, not even what nobody reads. */
static int deleting_is_all_or_nothing(const char *volume)
{
	int id, ready[2], done[2];
	pid_t reader;
	void *root;
	char byte;

	EXPECT(!pipe(ready) && !pipe(done));
	EXPECT(book_make(volume, &id));
	EXPECT(!pBranch(CONTAINER, "side", "5") && !pTag(CONTAINER, "seven", "7"));
	id = pCClone(id, "read", &root);
	EXPECT(id);
	steps(root, 1);
	EXPECT(pPointSync(id) && !pVClose());
	reader = fork();
	if (!reader) {
		bool is_open = !pVOpen(volume) && pCOpenAt(CONTAINER, "read", &root);

		_exit(write(ready[1], "r", 1) != 1 || read(done[0], &byte, 1) != 1 || !is_open);
	}
	EXPECT(read(ready[0], &byte, 1) == 1);
	EXPECT(!pVOpen(volume));
	EXPECT(pCDelete(CONTAINER) && errno == EAGAIN);
	EXPECT(write(done[1], "d", 1) == 1);
	EXPECT(waitpid(reader, NULL, 0) == reader);
	EXPECT(!pVClose());
	EXPECT(!restored_is(volume, NULL, VERSIONS * STEPS));
	EXPECT(!restored_is(volume, "side", 5 * STEPS));
	EXPECT(!restored_is(volume, "seven", 7 * STEPS));
	EXPECT(!restored_is(volume, "read", VERSIONS * STEPS + 1));
	EXPECT(!pVOpen(volume));
	EXPECT(!pCDelete(CONTAINER));
	EXPECT(pCDelete(CONTAINER) && errno == ENOENT);
	EXPECT(!pVClose());
	return 0;
}

/* Views that were closed leave their places to others; and a container that was closed comes back to its own. */
static int what_is_closed_gives_all_its_memory_back(const char *volume)
{
	void *root, *first = NULL, *view = NULL;
	int id;

	EXPECT(book_make(volume, &id));
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	for (unsigned i = 0; i < 20; i++) {
		id = pCRestore(CONTAINER, &root);
		EXPECT(id && (!i || root == first));
		first = root;
		for (unsigned k = 0; k < 20; k++) {
			void *last = view;
			int view_id = pCOpenAt(CONTAINER, "main~3", &view);

			EXPECT(view_id && (!(i || k) || view == last));
			EXPECT(is_at(view, (VERSIONS - 3) * STEPS));
			pCFree(view_id);
		}
		EXPECT(is_at(root, VERSIONS * STEPS));
		pCFree(id);
	}
	EXPECT(!pVClose());
	return 0;
}

static uint64_t bytes_read(void)
{
	FILE *f = fopen("/proc/self/io", "r");
	unsigned long long n = 0;

	if (!f || fscanf(f, "rchar: %llu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

/* Not its map and records, which are several times as long. */
static int a_branch_of_what_is_open_reads_only_tables(const char *volume)
{
	enum { PAGES = 1 << 14, CHANGED = 1000, PAGE = 4096, TABLES_BYTES = 1 << 17 };
	uint64_t before, random = 1;
	char **at, *array;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(CONTAINER, sizeof(*at), &root);
	EXPECT(id);
	at = root;
	array = *at = pMallocNoPtr((size_t)PAGES * PAGE);
	EXPECT(array);
	memset(array, 1, (size_t)PAGES * PAGE);
	EXPECT(pPointSync(id) == 1);
	for (char n = 2; n <= 10; n++) {
		for (unsigned i = 0; i < CHANGED; i++)
			array[test_random(&random) % PAGES * PAGE] = n;
		array[0] = n;
		EXPECT(pPointSync(id) == n);
	}
	before = bytes_read();
	EXPECT(before);
	EXPECT(!pBranch(CONTAINER, "b", NULL));
	EXPECT(bytes_read() - before < TABLES_BYTES);
	array[0] = 11;
	EXPECT(pPointSync(id) == 11);
	EXPECT(pCOpenAt(CONTAINER, "b", &root));
	EXPECT(**(char **)root == 10 && array[0] == 11);
	EXPECT(!pVClose());
	return 0;
}

/* Whether pages come at once or when they are touched. */
#define IN_PROCESS(name)                                                                                               \
	static void test_##name(void **state)                                                                          \
	{                                                                                                              \
		(void)state;                                                                                           \
		setenv("SOFTPM_RESTORE", "eager", 1);                                                                  \
		in_process(name, scratch(#name));                                                                      \
		setenv("SOFTPM_RESTORE", "lazy", 1);                                                                   \
		in_process(name, scratch(#name "_lazily"));                                                            \
	}
IN_PROCESS(views_show_their_versions_beside_the_live_one)
IN_PROCESS(clones_go_their_own_ways)
IN_PROCESS(a_branch_of_what_is_open_reads_only_tables)
IN_PROCESS(a_clones_points_write_only_what_changed)
IN_PROCESS(a_container_goes_from_version_to_version)
IN_PROCESS(differences_are_told)
IN_PROCESS(objects_that_differ_are_told)
IN_PROCESS(names_keep_versions)
IN_PROCESS(refs_that_mean_nothing_say_what_there_is)
IN_PROCESS(numbers_are_given_once)
IN_PROCESS(what_was_freed_is_not_freed_with_its_container)
IN_PROCESS(a_branch_whose_head_is_damaged_is_in_nobodys_way)
IN_PROCESS(what_is_viewed_outlives_the_name_it_was_found_by)
IN_PROCESS(a_branch_without_versions_is_as_whole_as_its_origin)
IN_PROCESS(a_tag_on_a_long_named_branch_names_its_last_version)
IN_PROCESS(clones_take_blocks_of_the_original)
IN_PROCESS(originals_come_back_beside_clones)
IN_PROCESS(threads_that_give_names_lose_none)
IN_PROCESS(of_threads_that_restore_one_does)
IN_PROCESS(what_is_open_here_is_not_deleted)
IN_PROCESS(deleting_is_all_or_nothing)
IN_PROCESS(what_is_closed_gives_all_its_memory_back)

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_views_show_their_versions_beside_the_live_one),
	        cmocka_unit_test(test_clones_go_their_own_ways),
	        cmocka_unit_test(test_a_branch_of_what_is_open_reads_only_tables),
	        cmocka_unit_test(test_a_clones_points_write_only_what_changed),
	        cmocka_unit_test(test_a_container_goes_from_version_to_version),
	        cmocka_unit_test(test_differences_are_told),
	        cmocka_unit_test(test_objects_that_differ_are_told),
	        cmocka_unit_test(test_names_keep_versions),
	        cmocka_unit_test(test_refs_that_mean_nothing_say_what_there_is),
	        cmocka_unit_test(test_numbers_are_given_once),
	        cmocka_unit_test(test_what_was_freed_is_not_freed_with_its_container),
	        cmocka_unit_test(test_a_branch_whose_head_is_damaged_is_in_nobodys_way),
	        cmocka_unit_test(test_what_is_viewed_outlives_the_name_it_was_found_by),
	        cmocka_unit_test(test_a_branch_without_versions_is_as_whole_as_its_origin),
	        cmocka_unit_test(test_a_tag_on_a_long_named_branch_names_its_last_version),
	        cmocka_unit_test(test_clones_take_blocks_of_the_original),
	        cmocka_unit_test(test_originals_come_back_beside_clones),
	        cmocka_unit_test(test_the_windows_start),
	        cmocka_unit_test(test_versions_at_the_windows_start),
	        cmocka_unit_test(test_threads_that_give_names_lose_none),
	        cmocka_unit_test(test_of_threads_that_restore_one_does),
	        cmocka_unit_test(test_what_is_open_here_is_not_deleted),
	        cmocka_unit_test(test_deleting_is_all_or_nothing),
	        cmocka_unit_test(test_what_is_closed_gives_all_its_memory_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
