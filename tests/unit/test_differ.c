/* test_differ.c - pDiffer, pSame and pCOf: containers of one magic that are open beside each other (the live one, a clone, views) are changed
 * at random; what pDiffer tells of any two of them must be what comparing all their objects gives. */
#include "container.h"
#include "expect.h"
#include "heap/heap.h"
#include "lazy.h"
#include "process.h"
#include "scratch.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { CONTAINER = 7, ROWS = 12, BIGS = 6, PLAINS = 6, BESIDES = 100, WORLDS = 4, OBJECTS_MOST = 20000 };

struct node {
	struct node *next, *other;
	int (*compare)(const char *, const char *);
	uint64_t *extra;
	uint64_t value;
	size_t bytes;
	unsigned char text[];
};
struct block {
	size_t bytes;
	unsigned char *data;
};
struct world {
	struct node *row[ROWS];
	struct block big[BIGS], plain[PLAINS];
	void *excluded;
	void *file; /* of libc's heap */
};

static uint64_t rnd;
static void *libcs;

static size_t below(size_t n)
{
	return (size_t)(test_random(&rnd) % n);
}

/* No words that look like addresses: they would be zero in a version. */
static void fill(unsigned char *p, size_t bytes, uint64_t seed)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (unsigned char)(0xc0 | (seed * 31 + i / 7));
}

/* ---- a world changes ---- */

static void node_add(struct world *w)
{
	size_t bytes = below(8) ? below(200) : below(6000);
	struct node *n = pMalloc(sizeof(*n) + bytes), **at = &w->row[below(ROWS)];

	*n = (struct node){.next = *at, .other = *at, .value = test_random(&rnd) % 1000, .bytes = bytes};
	if (n->other && below(2))
		n->other = n->other->other; /* nodes are dropped in front: it is there as long as this one */
	if (below(8) == 0)
		n->compare = below(2) ? strcmp : strcoll;
	fill(n->text, bytes, n->value);
	*at = n;
}

static void node_drop(struct world *w)
{
	struct node **at = &w->row[below(ROWS)], *gone = *at;

	if (!gone)
		return;
	*at = gone->next;
	pFree(gone->extra);
	pFree(gone);
}

static void node_change(struct world *w)
{
	struct node *n = w->row[below(ROWS)];

	for (size_t k = below(8); n && n->next && k; k--)
		n = n->next;
	if (!n)
		return;
	if (below(2)) { /* only this node, which may be reached for the first time itself, leads there */
		pFree(n->extra);
		n->extra = below(3) ? pMalloc(8 + below(3000)) : NULL;
		if (n->extra)
			*n->extra = test_random(&rnd) % 1000;
	} else if (below(2)) {
		n->value = test_random(&rnd) % 1000;
		fill(n->text, n->bytes, n->value);
	} else {
		n->other = below(2) ? n->next : NULL;
	}
}

/* Memory without pointers may hold what looks like them. */
static void block_change(struct world *w, struct block *b, size_t most, bool may_point)
{
	if (b->data && below(3)) {
		size_t at = below(b->bytes / 8) * 8;

		if (!may_point && below(2))
			memcpy(b->data + at, &(void *){w->row[below(ROWS)]}, 8);
		else
			b->data[at] ^= 0x11;
		return;
	}
	pFree(b->data);
	b->bytes = 8 + below(most);
	b->data = !below(3) ? NULL : may_point ? pMalloc(b->bytes) : pMallocNoPtr(b->bytes);
	if (b->data)
		fill(b->data, b->bytes, test_random(&rnd));
}

static void step(struct world *w)
{
	switch (below(12)) {
	case 0:
		block_change(w, &w->big[below(BIGS)], 200000, true);
		break;
	case 1:
		block_change(w, &w->plain[below(PLAINS)], 9000, false);
		break;
	case 2:
	case 3:
	case 4:
		node_drop(w);
		break;
	case 5:
	case 6:
	case 7:
		node_change(w);
		break;
	default:
		node_add(w);
	}
}

/* What the program has for itself, in the same spans. */
static void beside_change(void)
{
	static unsigned char *beside[BESIDES];
	unsigned i = (unsigned)below(BESIDES);

	pFree(beside[i]);
	beside[i] = below(3) ? pMalloc(below(300)) : NULL;
}

/* ---- all objects of a world, as versions see them ---- */

struct object {
	uint64_t place; /* in versions */
	const unsigned char *at;
	size_t size;
	bool may_point, is_told;
};
struct objects {
	const struct moved *moved;
	struct object *object;
	size_t n;
};

static void object_add(struct objects *all, const void *p)
{
	const struct span *s = spm_span_of((uintptr_t)p);

	if (all->n == OBJECTS_MOST)
		abort();
	all->object[all->n++] = (struct object){.place = spm_moved_address(all->moved, (uintptr_t)p),
	                                        .at = p,
	                                        .size = pUsableSize(p),
	                                        .may_point = !(s->flags & HEAP_NOPTR)};
}

static int by_place(const void *a, const void *b)
{
	uint64_t x = ((const struct object *)a)->place, y = ((const struct object *)b)->place;

	return (x > y) - (x < y);
}

static void objects_find(int id, const struct world *w, struct objects *all)
{
	struct container *c = spm_container_get(id);

	all->moved = c->moved;
	spm_container_put(c);
	all->n = 0;
	object_add(all, w);
	for (unsigned r = 0; r < ROWS; r++)
		for (const struct node *n = w->row[r]; n; n = n->next) {
			object_add(all, n);
			if (n->extra)
				object_add(all, n->extra);
		}
	for (unsigned i = 0; i < BIGS + PLAINS; i++) {
		const struct block *b = i < BIGS ? &w->big[i] : &w->plain[i - BIGS];

		if (b->data)
			object_add(all, b->data);
	}
	qsort(all->object, all->n, sizeof(*all->object), by_place);
}

static struct object *object_at(const struct objects *all, const void *p)
{
	struct object wanted = {.place = spm_moved_address(all->moved, (uintptr_t)p)};

	return bsearch(&wanted, all->object, all->n, sizeof(wanted), by_place);
}

static bool is_alike(const struct objects *a, const struct object *x, const struct objects *b, const struct object *y)
{
	if (x->size != y->size || x->may_point != y->may_point)
		return false;
	for (size_t i = 0; i < x->size; i += 8) {
		uint64_t v, w;

		memcpy(&v, x->at + i, 8);
		memcpy(&w, y->at + i, 8);
		if (x->may_point) {
			v = spm_in_window(v) ? spm_moved_address(a->moved, v) : v;
			w = spm_in_window(w) ? spm_moved_address(b->moved, w) : w;
		}
		if (v != w)
			return false;
	}
	return true;
}

/* ---- what pDiffer tells ---- */

static struct objects all[2];

static void objects_make(void)
{
	for (unsigned i = 0; i < 2; i++)
		all[i].object = malloc(OBJECTS_MOST * sizeof(*all[i].object));
}

static struct telling {
	unsigned calls, wrong;
} telling;

static int differing_note(const struct pdiffering *d, void *arg)
{
	struct object *x = d->first ? object_at(&all[0], d->first) : NULL;
	struct object *y = d->second ? object_at(&all[1], d->second) : NULL;
	struct object *any = x ? x : y;
	bool is_right = arg == &telling && any && d->size == any->size && (!x || x->at == d->first) &&
	                (!y || y->at == d->second) && !x == !d->first && !y == !d->second && !(x && x->is_told) &&
	                !(y && y->is_told);

	if (x && y)
		is_right &= x->place == y->place && !is_alike(&all[0], x, &all[1], y);
	if (x)
		x->is_told = true;
	if (y)
		y->is_told = true;
	telling.calls++;
	telling.wrong += !is_right;
	if (!is_right)
		fprintf(stderr, "told wrongly: %p %p, %zu bytes\n", d->first, d->second, d->size);
	return 0;
}

/* Those of one that are not told are in the other, and alike. */
static bool rest_is_alike(unsigned which)
{
	const struct objects *here = &all[which], *there = &all[!which];

	for (size_t i = 0; i < here->n; i++) {
		const struct object *x = &here->object[i];
		const struct object *y = bsearch(x, there->object, there->n, sizeof(*x), by_place);

		if (!x->is_told && (!y || y->is_told || !is_alike(here, x, there, y))) {
			fprintf(stderr, "not told: %p (at 0x%llx in versions), %zu bytes\n", (const void *)x->at,
			        (unsigned long long)x->place, x->size);
			return false;
		}
	}
	return true;
}

struct side {
	int id;
	struct world *w;
};

static int compare(struct side first, struct side second)
{
	telling = (struct telling){.calls = 0};
	objects_find(first.id, first.w, &all[0]);
	objects_find(second.id, second.w, &all[1]);
	EXPECT(!pDiffer(first.id, second.id, differing_note, &telling));
	EXPECT(!telling.wrong);
	EXPECT(rest_is_alike(0) && rest_is_alike(1));
	return 0;
}

/* Every object of one against what lies there in the other. */
static int words_are_same(struct side first, struct side second)
{
	for (size_t i = 0; i < all[0].n; i++) {
		const struct object *x = &all[0].object[i];
		const struct object *y = bsearch(x, all[1].object, all[1].n, sizeof(*x), by_place);

		if (y && x->size == y->size && x->may_point == y->may_point)
			EXPECT(pSame(first.id, x->at, second.id, y->at, x->size) == is_alike(&all[0], x, &all[1], y));
	}
	return 0;
}

/* ---- random worlds ---- */

static int side_open(struct side *s, const char *ref)
{
	void *root;

	if (s->id)
		pCFree(s->id);
	s->id = pCOpenAt(CONTAINER, ref, &root);
	s->w = root;
	EXPECT(s->id);
	return 0;
}

static int clone_make(struct side *s, int from)
{
	static unsigned clones;
	char name[16];
	void *root;

	if (s->id)
		pCFree(s->id);
	snprintf(name, sizeof(name), "c%d-%u", (int)getpid(), clones++);
	s->id = pCClone(from, name, &root);
	s->w = root;
	EXPECT(s->id);
	return 0;
}

static int side_change(struct side *s, bool is_view)
{
	for (size_t k = below(3) ? below(6) : below(60); k; k--) {
		step(s->w);
		if (below(2))
			beside_change();
	}
	if (is_view)
		return 0;
	s->w->file = below(2) ? libcs : NULL;
	if (below(3) == 0)
		EXPECT(pPoint(s->id));
	if (below(10) == 0)
		EXPECT(!pFullTrace(s->id) && pPointSync(s->id));
	return 0;
}

/* To an older version, mostly in place, and back. */
static int visit(struct side *side)
{
	char ref[16];
	void *root;

	snprintf(ref, sizeof(ref), "!main~%zu", below(6));
	EXPECT(!pCSwitch(side->id, ref, &root));
	side->w = root;
	for (unsigned i = 1; i < WORLDS; i++)
		EXPECT(!compare(side[i], side[0]));
	for (size_t k = below(10); k; k--)
		step(side->w);
	EXPECT(!compare(side[1], side[0]));
	EXPECT(!pCSwitch(side->id, "!main", &root));
	side->w = root;
	for (unsigned i = 1; i < WORLDS; i++)
		EXPECT(!compare(side[0], side[i]));
	return 0;
}

static int wander(struct side *side, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		unsigned a = (unsigned)below(WORLDS), b = (unsigned)below(WORLDS);
		char ref[16];

		EXPECT(!side_change(&side[0], false));
		if (below(2))
			EXPECT(!side_change(&side[1], false));
		if (below(10) == 0)
			EXPECT(!side_change(&side[2], true));
		snprintf(ref, sizeof(ref), "main~%zu", below(6));
		if (below(6) == 0)
			EXPECT(!side_open(&side[2 + below(2)], ref));
		if (below(12) == 0)
			EXPECT(!clone_make(&side[1], side[0].id));
		if (below(12) == 0)
			EXPECT(!visit(side));
		EXPECT(!compare(side[a], side[b]));
		if (below(8) == 0)
			EXPECT(!words_are_same(side[a], side[b]));
	}
	return 0;
}

static int sides_open(struct side *side)
{
	EXPECT(pPointSync(side[0].id));
	EXPECT(!clone_make(&side[1], side[0].id));
	EXPECT(!side_open(&side[2], "main"));
	EXPECT(!side_open(&side[3], "main"));
	return 0;
}

static int worlds_begin(const char *volume)
{
	struct side side[WORLDS] = {{0}};
	struct cattr *attr;
	void *root;

	rnd = test_seed();
	objects_make();
	libcs = malloc(1000);
	EXPECT(!pVOpen(volume));
	side[0].id = pCAlloc(CONTAINER, sizeof(struct world), &root);
	EXPECT(side[0].id);
	side[0].w = root;
	EXPECT(!pExclude(side[0].id, &side[0].w->excluded));
	side[0].w->excluded = root;
	for (unsigned i = 0; i < 10; i++) {
		for (unsigned k = 0; k < 100; k++)
			step(side[0].w);
		EXPECT(pPointSync(side[0].id));
	}
	attr = pCGetAttr(CONTAINER);
	EXPECT(attr);
	attr->chunk_bytes = below(2) ? 4096 : 65536;
	attr->stop_threads = (int)below(2);
	EXPECT(!pCSetAttr(side[0].id, attr));
	pCAttrFree(attr);
	EXPECT(!sides_open(side) && !wander(side, 100));
	EXPECT(!pVClose());
	return 0;
}

/* A view was there first: it is the live one that is moved. */
static int worlds_go_on(const char *volume)
{
	struct side side[WORLDS] = {{0}};
	void *root;

	rnd = test_seed();
	objects_make();
	libcs = malloc(1000);
	EXPECT(!pVOpen(volume));
	EXPECT(!side_open(&side[3], "main~3"));
	side[0].id = pCRestore(CONTAINER, &root);
	EXPECT(side[0].id);
	side[0].w = root;
	EXPECT(!sides_open(side) && !wander(side, 100));
	EXPECT(!pVClose());
	return 0;
}

static void wanders(const char *name)
{
	const char *volume = scratch(name);

	in_process(worlds_begin, volume);
	in_process(worlds_go_on, volume);
}

static void test_what_differs_is_told(void **state)
{
	(void)state;
	wanders("first");
	wanders("second");
}

static void test_what_differs_is_told_by_mprotect(void **state)
{
	(void)state;
	setenv("SOFTPM_TRACK", "mprotect", 1);
	wanders("protected");
	unsetenv("SOFTPM_TRACK");
}

static void test_what_differs_is_told_of_lazy_containers(void **state)
{
	(void)state;
	setenv("SOFTPM_RESTORE", "lazy", 1);
	wanders("lazy");
	unsetenv("SOFTPM_RESTORE");
}

/* ---- beside points and other comparisons ---- */

static struct side shared[2];
static unsigned told_alone;
static _Atomic bool is_over;
static _Atomic unsigned went_wrong;

static int count(const struct pdiffering *d, void *arg)
{
	(void)d;
	++*(unsigned *)arg;
	return 0;
}

static void *makes_points(void *arg)
{
	(void)arg;
	while (!is_over)
		went_wrong += !pPoint(shared[0].id) || !pPointSync(shared[1].id);
	return NULL;
}

static void *compares_backwards(void *arg)
{
	(void)arg;
	while (!is_over) {
		unsigned n = 0;

		went_wrong += pDiffer(shared[1].id, shared[0].id, count, &n) || n != told_alone;
	}
	return NULL;
}

static int compare_beside_points(const char *volume)
{
	pthread_t thread[2];
	void *root;

	rnd = test_seed();
	EXPECT(!pVOpen(volume));
	shared[0].id = pCAlloc(CONTAINER, sizeof(struct world), &root);
	shared[0].w = root;
	for (unsigned k = 0; k < 500; k++)
		step(shared[0].w);
	EXPECT(pPointSync(shared[0].id) && !clone_make(&shared[1], shared[0].id));
	for (unsigned k = 0; k < 50; k++)
		step(shared[k % 2].w);
	EXPECT(!pDiffer(shared[1].id, shared[0].id, count, &told_alone) && told_alone);
	EXPECT(!pthread_create(&thread[0], NULL, makes_points, NULL));
	EXPECT(!pthread_create(&thread[1], NULL, compares_backwards, NULL));
	for (unsigned i = 0; i < 200; i++) {
		unsigned n = 0;

		EXPECT(!pDiffer(shared[0].id, shared[1].id, count, &n) && n == told_alone);
	}
	is_over = true;
	EXPECT(!pthread_join(thread[0], NULL) && !pthread_join(thread[1], NULL) && !went_wrong);
	EXPECT(!pVClose());
	return 0;
}

static void test_others_may_make_points_meanwhile(void **state)
{
	(void)state;
	in_process(compare_beside_points, scratch("beside"));
}

/* ---- what it costs ---- */

enum { PIECES = 4096, PIECE_BYTES = 16384, PIECE_PAGES = PIECE_BYTES / 4096, TOGETHER = 64 };
struct pieces {
	unsigned char *piece[PIECES];
};

/* Pages of the pieces that are in memory, or brought in there. */
static size_t pages_there(const struct pieces *p, bool in_it)
{
	size_t n = 0;

	for (unsigned i = 0; i < PIECES; i++) {
		unsigned char is_in[PIECE_PAGES];

		if (mincore(p->piece[i], PIECE_BYTES, is_in))
			return SIZE_MAX;
		for (unsigned k = 0; k < PIECE_PAGES; k++)
			n += (is_in[k] & 1) == in_it;
	}
	return n;
}

static int pieces_make(const char *volume)
{
	struct pieces *p;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(CONTAINER, sizeof(*p), &root);
	EXPECT(id);
	p = root;
	for (unsigned i = 0; i < PIECES; i++) {
		p->piece[i] = pMallocNoPtr(PIECE_BYTES);
		memset(p->piece[i], 1 + (int)(i % 100), PIECE_BYTES);
	}
	EXPECT(pPointSync(id));
	for (unsigned i = 500; i < PIECES; i += 1000)
		p->piece[i][100]++;
	EXPECT(pPointSync(id));
	EXPECT(!pVClose());
	return 0;
}

static int pieces_compare(const char *volume)
{
	struct pieces *p;
	unsigned told = 0;
	void *root;
	int old, live;

	EXPECT(!pVOpen(volume));
	spm_lazy_hold(true);
	live = pCRestore(CONTAINER, &root);
	EXPECT(live);
	p = root;
	old = pCOpenAt(CONTAINER, "main~1", &root);
	EXPECT(old);
	p->piece[7][5000]++;
	EXPECT(!pDiffer(old, live, count, &told));
	EXPECT(told == 5);
	EXPECT(pages_there(p, true) <= 5 * TOGETHER + TOGETHER);
	EXPECT(pages_there(root, true) <= 5 * TOGETHER + TOGETHER);
	EXPECT(pages_there(p, false) > (size_t)PIECES * PIECE_PAGES / 2);
	spm_lazy_hold(false);
	EXPECT(!pVClose());
	return 0;
}

static void test_what_is_shared_is_not_touched(void **state)
{
	const char *volume = scratch("pieces");

	(void)state;
	if (!spm_lazy_is_possible())
		return;
	setenv("SOFTPM_RESTORE", "lazy", 1);
	in_process(pieces_make, volume);
	in_process(pieces_compare, volume);
	unsetenv("SOFTPM_RESTORE");
}

/* ---- whose it is ---- */

struct holder {
	void *thing;
};

static int whose(const char *volume)
{
	struct holder *a, *b, *seen;
	const char *image = scratch("whose.image");
	void *root, *before;
	int first, second, view, local = 0;

	EXPECT(!pVOpen(volume));
	EXPECT(!pCOf(NULL) && errno == ENOENT);
	EXPECT(!pCOf(&local) && errno == ENOENT);
	first = pCAlloc(1, sizeof(*a), &root);
	a = root;
	second = pCAlloc(2, sizeof(*b), &root);
	b = root;
	EXPECT(first && second && pCOf(a) == first && pCOf(b) == second);
	before = a->thing = pMalloc(100);
	EXPECT(pCOf(before) == first && pCOf((char *)before + 99) == first);
	EXPECT(pPointSync(first));
	a->thing = NULL;
	pFree(before);
	EXPECT(!pCOf(before) && errno == ENOENT);
	while (b->thing != before) /* its place, for another */
		b->thing = pMalloc(100);
	EXPECT(pCOf(before) == second);
	EXPECT(!pCOf(pMalloc(100)) && errno == ENOENT);
	a->thing = pMalloc(20000);
	EXPECT(pPointSync(first) && pPointSync(second));
	view = pCOpenAt(1, "main", &root);
	seen = root;
	EXPECT(view && seen != a && pCOf(seen) == view && pCOf((char *)seen->thing + 10000) == view);
	EXPECT(pCOf((char *)a->thing + 10000) == first);
	EXPECT(pSame(view, seen, first, a, sizeof(*a)) == 1 && pSame(0, seen, 0, a, sizeof(*a)) == 0);
	EXPECT(pSame(view, (char *)seen + 1, first, (char *)a + 1, 7) == 0);
	EXPECT(pDiffer(first, second, count, &local) == -1 && errno == ENOTSUP);
	EXPECT(pDiffer(first, 12345, count, &local) == -1 && errno == EINVAL);
	EXPECT(pSame(first, a, 12345, a, 1) == -1 && errno == EINVAL);
	EXPECT(!pDiffer(first, first, count, &local) && !pDiffer(view, first, count, &local) && !local);
	pCFree(first);
	pCFree(view);
	EXPECT(!pImage(1, "", image));
	EXPECT(!pVClose());
	return 0;
}

static int whose_image(const char *volume)
{
	const char *image = scratch("whose.image");
	struct holder *a;
	void *root;
	int first, shown, local = 0;

	EXPECT(!pVOpen(volume));
	shown = pCOpenImage(image, &root);
	EXPECT(shown && pCOf(root) == shown && pCOf(((struct holder *)root)->thing) == shown);
	first = pCRestore(1, (void **)&a);
	EXPECT(first && pCOf(a) == first);
	EXPECT(pDiffer(shown, first, count, &local) == -1 && errno == ENOTSUP);
	EXPECT(pSame(shown, root, first, a, sizeof(*a)) == 1);
	EXPECT(!pVClose());
	return 0;
}

static int whose_in_child(const char *volume)
{
	struct holder *a;
	void *root;
	int id, status;
	pid_t child;

	EXPECT(!pVOpen(volume));
	id = pCRestore(1, &root);
	a = root;
	EXPECT(id);
	child = fork();
	if (!child) {
		bool is_right = !pCOf(a) && errno == ECHILD;

		is_right &= pDiffer(id, id, count, &status) == -1 && errno == ECHILD;
		is_right &= !pCFork(id, "childs") && pCOf(a) == id;
		_exit(!is_right);
	}
	EXPECT(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
	EXPECT(!pVClose());
	return 0;
}

static void test_an_object_is_one_containers(void **state)
{
	const char *volume = scratch("whose");

	(void)state;
	in_process(whose, volume);
	in_process(whose_image, volume);
	in_process(whose_in_child, volume);
}

/* ---- words that are the same in versions, and mean something else ---- */

static char zeros[16 << 20]; /* so that this module is the larger one */

static uintptr_t module_of(const void *p)
{
	Dl_info about;

	return dladdr(p, &about) ? (uintptr_t)about.dli_fbase : 0;
}

/* Each branch meets its first module after they parted, and points to the same offset in it. */
static int modules_differ(const char *volume)
{
	struct holder *a, *b;
	const void *libcs_own = dlsym(dlopen("libc.so.6", RTLD_NOW), "_IO_2_1_stdout_"); /* far behind */
	uintptr_t own = module_of(zeros) + (uintptr_t)libcs_own - module_of(libcs_own);
	unsigned told = 0;
	void *root;
	int first, second;

	EXPECT(own < (uintptr_t)zeros + sizeof(zeros));
	EXPECT(!pVOpen(volume));
	first = pCAlloc(1, sizeof(*a), &root);
	a = root;
	EXPECT(first && pPointSync(first));
	second = pCClone(first, "second", &root);
	b = root;
	EXPECT(second);
	a->thing = (void *)(uintptr_t)libcs_own;
	b->thing = (void *)own;
	EXPECT(pPointSync(first) && pPointSync(second));
	EXPECT(!pDiffer(first, second, count, &told) && told == 1);
	EXPECT(!pVClose());
	return 0;
}

static void test_a_pointer_to_another_module_differs(void **state)
{
	(void)state;
	in_process(modules_differ, scratch("modules"));
}

/* ---- the telling ends, and containers may, too ---- */

struct ender {
	int id[2], calls;
};

static int ends(const struct pdiffering *d, void *arg)
{
	struct ender *e = arg;

	(void)d;
	for (unsigned i = 0; i < 2 && !e->calls; i++)
		pCFree(e->id[i]);
	return ++e->calls == 3 ? 77 : 0;
}

static int end_meanwhile(const char *volume)
{
	struct world *w;
	struct ender e = {.calls = 0};
	void *root;

	rnd = test_seed();
	EXPECT(!pVOpen(volume));
	e.id[0] = pCAlloc(CONTAINER, sizeof(*w), &root);
	w = root;
	EXPECT(e.id[0] && pPointSync(e.id[0]));
	e.id[1] = pCOpenAt(CONTAINER, "main", &root);
	EXPECT(e.id[1]);
	for (unsigned i = 0; i < 20; i++)
		node_add(w);
	EXPECT(pDiffer(e.id[0], e.id[1], ends, &e) == 77 && e.calls == 3);
	EXPECT(!pVClose());
	return 0;
}

static void test_who_is_told_may_end_it(void **state)
{
	(void)state;
	in_process(end_meanwhile, scratch("ends"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_what_differs_is_told),
	        cmocka_unit_test(test_what_differs_is_told_by_mprotect),
	        cmocka_unit_test(test_what_differs_is_told_of_lazy_containers),
	        cmocka_unit_test(test_others_may_make_points_meanwhile),
	        cmocka_unit_test(test_what_is_shared_is_not_touched),
	        cmocka_unit_test(test_an_object_is_one_containers),
	        cmocka_unit_test(test_a_pointer_to_another_module_differs),
	        cmocka_unit_test(test_who_is_told_may_end_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
