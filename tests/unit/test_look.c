/* test_look.c - pLook...: any version, looked at, has the objects, bytes and names that the program had when it made it; while branches go
 * on, versions are dropped, containers move, and pages are damaged.
 */
#include "container.h"
#include "expect.h"
#include "heap/class.h"
#include "heap/guard.h"
#include "heap/heap.h"
#include "process.h"
#include "scratch.h"
#include "softpm/look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { CONTAINER = 7, THINGS = 300, BESIDES = 60, SHOTS = 12 };

struct world {
	unsigned char *thing[THINGS];
	int (*function)(const char *);
	int *table;
	uint64_t number;
};

/* What the program sees itself, when it makes a version. */
struct shot_object { /* bytes: that the program may use: less in debug builds, which guard what comes behind */
	uint64_t address, bytes;
	bool has_no_pointers;
	unsigned char *content;
};
struct shot {
	int64_t version;
	size_t n;
	struct shot_object object[THINGS + 1];
	const void *beside[BESIDES];
};

static uint64_t rnd;
static size_t bytes_of[THINGS];
static bool is_plain[THINGS];
static void *beside[BESIDES];
static int some_table[16];

static int some_handler(const char *s)
{
	return s[0];
}

static size_t below(size_t n)
{
	return (size_t)(test_random(&rnd) % n);
}

/* No words that look like addresses: they would be zero in a version. */
static void fill(unsigned char *p, size_t bytes)
{
	unsigned seed = (unsigned)below(31);

	for (size_t i = 0; i < bytes; i++)
		p[i] = (unsigned char)(0xc0 | (seed + i / 7));
}

static void thing_change(struct world *w)
{
	size_t i = below(THINGS), bytes = below(20) ? 1 + below(600) : 1 + below(300000);

	if (w->thing[i] && below(3)) {
		fill(w->thing[i], below(bytes_of[i]) + 1);
		return;
	}
	pFree(w->thing[i]);
	w->thing[i] = NULL;
	if (!below(4))
		return;
	is_plain[i] = below(3) == 0;
	w->thing[i] = is_plain[i] ? pMallocNoPtr(bytes) : pMalloc(bytes);
	bytes_of[i] = bytes;
	fill(w->thing[i], bytes);
	if (below(8) == 0 && bytes > 16)
		memcpy(w->thing[i] + 8, &w, sizeof(w));
}

/* In the same spans, and of nobody's interest. */
static void beside_change(void)
{
	size_t i = below(BESIDES), bytes = 16 + below(600);

	pFree(beside[i]);
	beside[i] = pMalloc(bytes);
	memset(beside[i], 0xee, bytes);
}

static void world_change(struct world *w, unsigned steps)
{
	for (; steps > 0; steps--) {
		thing_change(w);
		beside_change();
	}
	w->number++;
}

static void shot_add(struct shot *s, const void *p, bool has_no_pointers)
{
	struct shot_object *o = &s->object[s->n++];

	*o = (struct shot_object){(uintptr_t)p, pUsableSize(p), has_no_pointers, malloc(pUsableSize(p))};
	memcpy(o->content, p, o->bytes);
}

static int by_address(const void *a, const void *b)
{
	const struct shot_object *x = a, *y = b;

	return x->address < y->address ? -1 : x->address > y->address;
}

static void shot_take(struct shot *s, const struct world *w, int64_t version)
{
	s->version = version;
	s->n = 0;
	shot_add(s, w, false);
	for (unsigned i = 0; i < THINGS; i++)
		if (w->thing[i])
			shot_add(s, w->thing[i], is_plain[i]);
	qsort(s->object, s->n, sizeof(s->object[0]), by_address);
	memcpy(s->beside, beside, sizeof(beside));
}

static void shot_free(struct shot *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->object[i].content);
}

/* ---- what looking at it gives ---- */

struct listing {
	const struct shot *shot;
	size_t next;
	uint64_t from;
};

static int object_listed(const struct pobject *o, void *arg)
{
	struct listing *l = arg;
	const struct shot_object *e = &l->shot->object[l->next++];

	return l->next > l->shot->n || o->address != e->address || o->bytes != e->bytes + SPM_GUARD_BYTES ||
	       !o->has_no_pointers != !e->has_no_pointers || o->type;
}

static int listing_is_right(struct plook *look, const struct shot *s, size_t first)
{
	struct listing l = {.shot = s, .next = first};
	uint64_t from = first ? s->object[first - 1].address + 1 : 0;

	EXPECT(pLookObjects(look, from, object_listed, &l) == 0);
	EXPECT(l.next == s->n);
	return 0;
}

struct tally {
	struct plook *look;
	uint64_t objects, end;
};

static int span_counted(const struct pspan *s, void *arg)
{
	struct tally *t = arg;
	struct pobject o;

	t->objects += s->objects;
	EXPECT(s->address >= t->end && s->bytes >= s->objects * s->object_bytes);
	t->end = s->address + s->bytes;
	for (uint64_t at = s->address; at + s->object_bytes <= t->end; at += s->object_bytes)
		if (pLookObject(t->look, at, &o))
			EXPECT(o.address == at && o.bytes == s->object_bytes &&
			       o.has_no_pointers == s->has_no_pointers);
	return 0;
}

static int spans_are_right(struct plook *look, const struct shot *s)
{
	struct tally t = {.look = look};

	EXPECT(!pLookSpans(look, span_counted, &t));
	EXPECT(t.objects == s->n);
	return 0;
}

static int youngest_noted(const struct pspan *s, void *arg)
{
	uint64_t *age = arg;

	*age = s->age < *age ? s->age : *age;
	return 0;
}

/* Words that lead out are others in versions; the root has two. */
static int bytes_are_right(struct plook *look, const struct shot_object *e, uint64_t root)
{
	unsigned char *bytes = malloc(e->bytes + 16);

	memset(bytes, 1, e->bytes + 16);
	EXPECT(!pLookRead(look, e->address, bytes, e->bytes));
	if (e->address == root) {
		size_t from = offsetof(struct world, function), to = offsetof(struct world, number);

		memcpy(bytes + from, e->content + from, to - from);
	}
	EXPECT(!memcmp(bytes, e->content, e->bytes));
	EXPECT(bytes[e->bytes] == 1);
	free(bytes);
	return 0;
}

static int object_is_right(struct plook *look, const struct shot_object *e)
{
	size_t in = below(e->bytes);
	struct pobject o;
	unsigned char byte;

	EXPECT(pLookObject(look, e->address, &o) == 1 && o.address == e->address &&
	       o.bytes == e->bytes + SPM_GUARD_BYTES);
	EXPECT(pLookObject(look, e->address + in, &o) == 1 && o.address == e->address);
	EXPECT(pLookObject(look, e->address + e->bytes - 1, &o) == 1 && o.address == e->address);
	EXPECT(!pLookRead(look, e->address + in, &byte, 1));
	return 0;
}

static int besides_are_nothing(struct plook *look, const struct shot *s)
{
	unsigned char bytes[16], zero[16] = {0};
	struct pobject o;

	for (unsigned i = 0; i < BESIDES; i++)
		if (s->beside[i]) {
			EXPECT(pLookObject(look, (uintptr_t)s->beside[i], &o) == 0);
			EXPECT(!pLookRead(look, (uintptr_t)s->beside[i], bytes, sizeof(bytes)));
			EXPECT(!memcmp(bytes, zero, sizeof(zero)));
		}
	return 0;
}

static int names_are_right(struct plook *look, uint64_t root)
{
	struct world w;

	EXPECT(!pLookRead(look, root, &w, sizeof(w)));
	EXPECT(pLookOutside(look, (uintptr_t)w.function) &&
	       !strcmp(pLookOutside(look, (uintptr_t)w.function), "some_handler"));
	EXPECT(pLookOutside(look, (uintptr_t)w.table) &&
	       !strcmp(pLookOutside(look, (uintptr_t)w.table), "some_table+20"));
	EXPECT(!pLookOutside(look, 0) && !pLookOutside(look, root) && !pLookOutside(look, UINT64_MAX));
	EXPECT(!pLookOutside(look, (uintptr_t)w.function + (UINT64_C(100) << 32)));
	return 0;
}

static int look_is_right(struct plook *look, const struct shot *s, const void *root)
{
	uint64_t address, bytes;

	EXPECT(pLookVersion(look)->version == s->version);
	pLookRoot(look, &address, &bytes);
	EXPECT(address == (uintptr_t)root && bytes == sizeof(struct world));
	EXPECT(!spans_are_right(look, s) && !listing_is_right(look, s, 0) && !listing_is_right(look, s, below(s->n)) &&
	       !listing_is_right(look, s, s->n - 1));
	for (size_t i = 0; i < s->n; i++)
		EXPECT(!bytes_are_right(look, &s->object[i], address) && !object_is_right(look, &s->object[i]));
	return besides_are_nothing(look, s) || names_are_right(look, address);
}

static int outside_is_nothing(struct plook *look)
{
	static const uint64_t place[] = {0, 1, SPM_WINDOW_START, SPM_WINDOW_END - 1, SPM_WINDOW_END, UINT64_MAX};
	unsigned char bytes[64], zero[64] = {0};
	struct pobject o;

	for (unsigned i = 0; i < sizeof(place) / sizeof(place[0]); i++) {
		memset(bytes, 1, sizeof(bytes));
		EXPECT(pLookObject(look, place[i], &o) == 0);
		EXPECT(!pLookRead(look, place[i], bytes, sizeof(bytes)) && !memcmp(bytes, zero, sizeof(zero)));
	}
	EXPECT(!pLookObjects(look, UINT64_MAX, object_listed, NULL) &&
	       !pLookObjects(look, SPM_WINDOW_END, object_listed, NULL));
	return 0;
}

static int world_make(struct world **w)
{
	void *root;
	int id = pCAlloc(CONTAINER, sizeof(**w), &root);

	EXPECT_ELSE(id > 0, return 0);
	*w = root;
	pCUse(id);
	(*w)->function = some_handler;
	(*w)->table = some_table + 5;
	return id;
}

/* ---- the tests ---- */

static int versions_looked_at(const char *volume)
{
	static struct shot shot[SHOTS];
	struct plook *look[SHOTS];
	struct world *w;
	char ref[32];
	int id;

	rnd = test_seed();
	EXPECT(!pVOpen(volume));
	id = world_make(&w);
	EXPECT(id > 0);
	for (unsigned i = 0; i < SHOTS; i++) {
		world_change(w, i ? (unsigned)below(200) : 800);
		shot_take(&shot[i], w, pPointSync(id));
		snprintf(ref, sizeof(ref), "%lld", (long long)shot[i].version);
		look[i] = pLookOpen(CONTAINER, i % 2 ? ref : NULL); /* and is kept from being dropped */
		EXPECT(look[i]);
	}
	for (unsigned i = 0; i < 3 * SHOTS; i++) {
		world_change(w, 20);
		EXPECT(pPointSync(id) > 0);
	}
	for (unsigned i = 0; i < SHOTS; i++) {
		EXPECT(!look_is_right(look[i], &shot[i], w) && !outside_is_nothing(look[i]));
		pLookClose(look[i]);
		shot_free(&shot[i]);
	}
	EXPECT(!pLookOpen(CONTAINER, "nothing") && errno == ENOENT);
	EXPECT(!pLookOpen(CONTAINER + 1, NULL) && errno == ENOENT);
	EXPECT(!pVClose());
	return 0;
}

static void any_version_is_as_the_program_saw_it(void **state)
{
	(void)state;
	in_process(versions_looked_at, scratch("versions.vol"));
}

static int count(const struct pobject *object, void *arg)
{
	(void)object;
	return ++*(int *)arg, 0;
}

/* A container that is smaller than a span: the version has only those pages of it that something lives on. */
static int little_looked_at(const char *volume)
{
	struct plook *look;
	struct pobject o;
	uint64_t root, bytes;
	int objects = 0, id;
	void **place;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(CONTAINER, sizeof(*place), (void **)&place);
	*place = pCalloc(1, 20000); /* four of these fill a span of twenty pages */
	EXPECT(pPointSync(id) > 0);
	look = pLookOpen(CONTAINER, NULL);
	EXPECT(look);
	pLookRoot(look, &root, &bytes);
	EXPECT(pLookObject(look, root, &o) == 1 && pLookObject(look, (uintptr_t)*place, &o) == 1 && o.bytes >= 20000);
	EXPECT(!pLookObjects(look, 0, count, &objects) && objects == 2);
	pLookClose(look);
	EXPECT(!pVClose());
	return 0;
}

static void a_span_may_have_more_pages_than_the_version(void **state)
{
	(void)state;
	in_process(little_looked_at, scratch("little.vol"));
}

/* A page that is written whole is young; others grow older with each version. */
static int ages_told(const char *volume)
{
	unsigned char *page;
	struct plook *look;
	uint64_t age = UINT64_MAX;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(CONTAINER, sizeof(page), &root);
	page = pMallocNoPtr(4096);
	*(void **)root = page;
	for (unsigned i = 0; i < 3; i++) {
		memset(page, (int)i + 1, 4096);
		EXPECT(pPointSync(id) > 0);
	}
	look = pLookOpen(CONTAINER, NULL);
	EXPECT(look && !pLookSpans(look, youngest_noted, &age) && age == 0);
	pLookClose(look);
	for (unsigned i = 0; i < 2; i++) {
		page[100] ^= 1;
		EXPECT(pPointSync(id) > 0);
	}
	age = UINT64_MAX;
	look = pLookOpen(CONTAINER, NULL);
	EXPECT(look && !pLookSpans(look, youngest_noted, &age) && age == 2);
	pLookClose(look);
	EXPECT(!pVClose());
	return 0;
}

static void spans_tell_their_age(void **state)
{
	(void)state;
	in_process(ages_told, scratch("ages.vol"));
}

static int dropped_meanwhile(const char *volume)
{
	static struct shot shot;
	struct pprune prune = {.versions_kept = &(unsigned){1}};
	struct plook *look;
	struct world *w;
	char ref[32];
	int id;

	rnd = test_seed();
	EXPECT(!pVOpen(volume));
	id = world_make(&w);
	world_change(w, 500);
	shot_take(&shot, w, pPointSync(id));
	look = pLookOpen(CONTAINER, "");
	EXPECT(look);
	for (unsigned i = 0; i < 60; i++) {
		world_change(w, 100);
		EXPECT(pPointSync(id) > 0);
		EXPECT(!pPrune(CONTAINER, &prune));
	}
	EXPECT(!look_is_right(look, &shot, w));
	pLookClose(look);
	world_change(w, 1);
	EXPECT(pPointSync(id) > 0 && !pPrune(CONTAINER, &prune));
	snprintf(ref, sizeof(ref), "%lld", (long long)shot.version);
	EXPECT(!pLookOpen(CONTAINER, ref) && errno == ENOENT);
	shot_free(&shot);
	EXPECT(!pVClose());
	return 0;
}

static void a_version_stays_while_it_is_looked_at(void **state)
{
	(void)state;
	in_process(dropped_meanwhile, scratch("dropped.vol"));
}

/* A clone lies elsewhere in this process; its versions say where the original lies. */
static int branches_looked_at(const char *volume)
{
	static struct shot before, after;
	struct world *w, *clone;
	struct plook *look;
	void *root;
	int id, copy;

	rnd = test_seed();
	EXPECT(!pVOpen(volume));
	id = world_make(&w);
	world_change(w, 300);
	shot_take(&before, w, pPointSync(id));
	copy = pCClone(id, "try", &root);
	EXPECT(copy > 0 && root != w);
	clone = root;
	clone->number = 4711;
	EXPECT(pPointSync(copy) > 0);
	world_change(w, 300);
	shot_take(&after, w, pPointSync(id));
	look = pLookOpen(CONTAINER, "try");
	EXPECT(look && !strcmp(pLookVersion(look)->branch, "try") && !strcmp(pLookVersion(look)->message, ""));
	((struct world *)before.object[0].content)->number +=
	        0; /* the root is not the first object, maybe: found below */
	for (size_t i = 0; i < before.n; i++)
		if (before.object[i].address == (uintptr_t)w)
			((struct world *)before.object[i].content)->number = 4711;
	before.version = pLookVersion(look)->version;
	EXPECT(!look_is_right(look, &before, w));
	pLookClose(look);
	look = pLookOpen(CONTAINER, "main");
	EXPECT(look && !look_is_right(look, &after, w));
	pLookClose(look);
	shot_free(&before);
	shot_free(&after);
	EXPECT(!pVClose());
	return 0;
}

static void branches_and_moved_containers_are_as_versions_say(void **state)
{
	(void)state;
	in_process(branches_looked_at, scratch("branches.vol"));
}

/* ---- damage ---- */

enum { BAD_BYTES = 40000 };

static int to_be_damaged(const char *volume)
{
	struct world *w;
	int id;

	rnd = 1;
	EXPECT(!pVOpen(volume));
	id = world_make(&w);
	w->thing[0] = pMalloc(BAD_BYTES);
	for (unsigned i = 0; i < BAD_BYTES; i++)
		w->thing[0][i] = (unsigned char)(0xc0 | i / 4096);
	w->thing[1] = pMalloc(100);
	memset(w->thing[1], 0xd5, 100);
	EXPECT(pPointSync(id) > 0 && !pVClose());
	return 0;
}

static int damage_looked_at(const char *volume)
{
	unsigned char *bytes = malloc(BAD_BYTES);
	uint64_t root, root_bytes;
	struct plook *look;
	struct pobject o;
	struct world w;

	EXPECT(!pVOpen(volume));
	look = pLookOpen(CONTAINER, NULL);
	EXPECT(look);
	pLookRoot(look, &root, &root_bytes);
	EXPECT(!pLookRead(look, root, &w, sizeof(w)));
	for (unsigned twice = 0; twice < 2; twice++) {
		EXPECT(pLookRead(look, (uintptr_t)w.thing[0], bytes, BAD_BYTES) && errno == EUCLEAN);
		EXPECT(strstr(pErrorMsg(), "page ") && strstr(pErrorMsg(), "version 1") &&
		       strstr(pErrorMsg(), "damaged"));
		for (unsigned i = 0; i < 9; i++)
			EXPECT(!pLookRead(look, (uintptr_t)w.thing[0] + i * 4096, bytes, 4096) == (i != 5));
	}
	EXPECT(pLookObject(look, (uintptr_t)w.thing[0] + 5 * 4096, &o) == 1 && o.address == (uintptr_t)w.thing[0]);
	EXPECT(!pLookRead(look, (uintptr_t)w.thing[1], bytes, 100) && bytes[99] == 0xd5);
	pLookClose(look);
	free(bytes);
	EXPECT(!pVClose());
	return 0;
}

/* The block that is 0xc5 all over loses a bit. */
static void page_damage(const char *volume)
{
	unsigned char block[4096], all[4096];
	int fd = open(volume, O_RDWR);
	unsigned done = 0;

	memset(all, 0xc5, sizeof(all));
	assert_true(fd >= 0);
	for (off_t at = 0; pread(fd, block, sizeof(block), at) == (ssize_t)sizeof(block); at += (off_t)sizeof(block))
		if (!memcmp(block, all, sizeof(all))) {
			assert_int_equal(pwrite(fd, "\x45", 1, at + 77), 1);
			done++;
		}
	close(fd);
	assert_int_equal(done, 1);
}

static void a_damaged_page_is_told_to_who_reads_it(void **state)
{
	const char *volume = scratch("damaged.vol");

	(void)state;
	in_process(to_be_damaged, volume);
	page_damage(volume);
	in_process(damage_looked_at, volume);
}

/* ---- maps that no process makes ---- */

/* A version of that one page, all 0xee, looked at. NULL: refused. */
static struct plook *by_hand(int magic, uint64_t page, struct page_meta meta)
{
	static unsigned char data[SPM_PAGE_BYTES] __attribute__((aligned(4096)));
	struct page_change change = {.page = page, .data = data, .meta = meta};
	struct version_info info = {.branch = "main", .root = spm_page_address((pageno_t)page), .root_bytes = 16};
	struct chain *c;

	memset(data, 0xee, sizeof(data));
	if (spm_chain_create(spm_volume_current(), magic, "main", &c) || spm_chain_commit(c, &change, 1, true, &info))
		return NULL;
	spm_chain_close(c);
	return pLookOpen(magic, NULL);
}

static int dead_slots_looked_at(const char *volume)
{
	struct page_meta meta = {.span_pages = 1, .class = 1, .live = {{5}}}; /* of 32 bytes */
	unsigned char bytes[128];
	struct plook *look;
	uint64_t root, n;
	int objects = 0;

	EXPECT(!pVOpen(volume));
	look = by_hand(CONTAINER, 9000, meta);
	EXPECT(look);
	pLookRoot(look, &root, &n);
	EXPECT(!pLookRead(look, root, bytes, sizeof(bytes)));
	for (unsigned i = 0; i < sizeof(bytes); i++)
		EXPECT(bytes[i] == (i / 32 == 0 || i / 32 == 2 ? 0xee : 0));
	EXPECT(!pLookObjects(look, 0, count, &objects) && objects == 2);
	pLookClose(look);
	EXPECT(!pVClose());
	return 0;
}

static int impossible_looked_at(const char *volume)
{
	static const struct page_meta metas[] = {
	        {.span_pages = 1, .class = SPM_CLASSES, .live = {{1}}},
	        {.span_pages = 0, .class = 1, .live = {{1}}},
	        {.span_pages = 50, .class = SPM_CLASS_LARGE, .live = {{1}}},
	        {.span_pages = UINT32_MAX, .class = SPM_CLASS_LARGE, .live = {{1}}},
	        {.span_pages = 5, .page_in_span = 3, .class = 1},
	        {.span_pages = 100000, .page_in_span = 99999, .class = 1},
	};

	EXPECT(!pVOpen(volume));
	for (unsigned i = 0; i < sizeof(metas) / sizeof(metas[0]); i++) {
		struct plook *look = by_hand(100 + (int)i, 9000, metas[i]);
		struct pobject o;
		uint64_t root, n;
		int64_t whole;
		char byte;

		if (!look)
			continue; /* the volume itself had none of it */
		pLookRoot(look, &root, &n);
		EXPECT(pLookObject(look, root, &o) == -1 && errno == EUCLEAN);
		EXPECT(pLookRead(look, root, &byte, 1) == -1 && errno == EUCLEAN);
		EXPECT(pCheck(100 + (int)i, NULL, NULL, &whole) == 1 && !whole);
		pLookClose(look);
	}
	EXPECT(!pVClose());
	return 0;
}

static void dead_slots_read_as_zero(void **state)
{
	(void)state;
	in_process(dead_slots_looked_at, scratch("dead.vol"));
}

static void impossible_maps_are_errors(void **state)
{
	(void)state;
	in_process(impossible_looked_at, scratch("impossible.vol"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(any_version_is_as_the_program_saw_it),
	        cmocka_unit_test(a_span_may_have_more_pages_than_the_version),
	        cmocka_unit_test(spans_tell_their_age),
	        cmocka_unit_test(a_version_stays_while_it_is_looked_at),
	        cmocka_unit_test(branches_and_moved_containers_are_as_versions_say),
	        cmocka_unit_test(a_damaged_page_is_told_to_who_reads_it),
	        cmocka_unit_test(dead_slots_read_as_zero),
	        cmocka_unit_test(impossible_maps_are_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
