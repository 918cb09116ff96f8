/* test_exact.c - discovery and relocation by types: numbers are no pointers, and no pointer is taken for a number. */
#include "container.h"
#include "expect.h"
#include "process.h"
#include "scratch.h"
#include "softpm/look.h"

#include <stdlib.h>
#include <string.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { MAGIC = 9, LEAVES = 8 };

struct exact_leaf {
	long number;
	struct exact_leaf *next;
};
struct exact_base {
	long tag, size;
};
struct exact_derived {
	struct exact_base base;
	struct exact_leaf *leaf;
	long number;
};
struct exact_tail {
	long n;
	struct exact_leaf *leaf[];
};
/* The same bytes, said to be two things. */
struct exact_first {
	long number;
	void *object;
};
struct exact_second {
	void *object;
	long number;
};
struct exact_first_view {
	struct exact_first *it;
	long number;
};
struct exact_second_view {
	struct exact_second *it;
	long number;
};
struct exact_block {
	long words[6];
};
struct exact_deep {
	char name[12];
	int small;
	struct {
		bool is;
		union {
			struct exact_leaf *leaf;
			void *any;
		} same;
		unsigned bits : 5;
	} in;
	struct exact_leaf here[2];
	struct exact_leaf *row[3];
	float factor[3];
	_Alignas(32) int far;
};
struct exact_root {
	struct exact_leaf *leaf;
	uint64_t integer;
	double factor;
	struct exact_base *base;
	void *anything;
	union {
		long number;
		struct exact_leaf *leaf;
	} either;
	union {
		long number;
		double factor;
	} number;
	char text[20];
	int pair[3];
	uintptr_t address;
	long *numbers;
	struct exact_leaf **leaves;
	struct exact_leaf *array;
	struct exact_tail *tail;
	void (*call)(void);
	struct exact_first_view *first;
	struct exact_second_view *second;
	struct exact_derived *derived;
	struct exact_block *block;
	struct exact_deep *deep;
	uint64_t more[4];
};

static struct exact_root *root;
static int id;
static struct container *c;
static uint64_t lost_place, lost_count;

static int type_set(const char *type)
{
	struct cattr *attr = pCGetAttr(MAGIC);
	int result;

	snprintf(attr->type, sizeof(attr->type), "%s", type);
	result = pCSetAttr(id, attr);
	pCAttrFree(attr);
	return result;
}

static void begin(const char *volume)
{
	void *address;

	assert_int_equal(pVOpen(scratch(volume)), 0);
	id = pCAlloc(MAGIC, sizeof(struct exact_root), &address);
	assert_true(id > 0);
	root = address;
	if (type_set("struct exact_root"))
		fail_msg("%s", pErrorMsg());
	c = spm_container_get(id);
}

static void end(void)
{
	spm_container_put(c);
	assert_int_equal(pVClose(), 0);
}

static void point(void)
{
	if (pPointSync(id) <= 0)
		fail_msg("%s", pErrorMsg());
}

static bool is_kept(const void *p)
{
	struct span *s = spm_span_of((uintptr_t)p);

	return spm_marks_has(c->marks, s, spm_span_slot(s, (uintptr_t)p));
}

static unsigned kind_of(const void *p)
{
	struct span *s = spm_span_of((uintptr_t)p);

	return spm_kinds_of(c->kinds, s->first, spm_span_slot(s, (uintptr_t)p));
}

static struct exact_leaf *leaf_new(void)
{
	return pMalloc(sizeof(struct exact_leaf));
}

static uint64_t number_of(const void *p)
{
	return (uintptr_t)p;
}

static int lost_note(void *place, void *value, const char *what, void *arg)
{
	(void)arg, (void)value;
	lost_place = (uintptr_t)place;
	lost_count += strstr(what, "number by its type") != NULL;
	return 0;
}

static uint64_t numbers_lost(void)
{
	struct pstats stats;

	assert_int_equal(pStats(MAGIC, &stats), 0);
	return stats.numbers_lost;
}

/* ---- what words hold pointers ---- */

static unsigned claim(const char *type, size_t offset)
{
	const struct ptype *t = spm_types_named(c->types, type);
	struct pointers *p = spm_pointers_new(c->types->type, c->types->types, &t, 1);
	unsigned result;

	assert_non_null(t);
	assert_non_null(p);
	result = spm_pointers_claim(p, p->root[0], offset / 8);
	spm_pointers_free(p);
	return result;
}

static void types_tell_which_words_hold_pointers(void **state)
{
	(void)state;
	begin("words.vol");
	assert_true(claim("struct exact_root", offsetof(struct exact_root, leaf)) >= KIND_FIRST);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, integer)), CLAIM_PLAIN);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, factor)), CLAIM_PLAIN);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, anything)), KIND_ANY);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, either)), KIND_ANY);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, number)), CLAIM_PLAIN);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, text)), KIND_ANY);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, text) + 8), KIND_ANY);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, pair)),
	                 CLAIM_PLAIN); /* with the end of the text */
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, address)), KIND_ANY);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, numbers)), KIND_PLAIN);
	assert_true(claim("struct exact_root", offsetof(struct exact_root, leaves)) >= KIND_FIRST);
	assert_int_equal(claim("struct exact_root", offsetof(struct exact_root, call)), KIND_ANY);
	assert_int_equal(claim("struct exact_root", sizeof(struct exact_root)), KIND_ANY);
	assert_int_equal(claim("struct exact_deep", 0), KIND_ANY);
	assert_int_equal(claim("struct exact_deep", 8), CLAIM_PLAIN);
	assert_int_equal(claim("struct exact_deep", offsetof(struct exact_deep, in.is)), CLAIM_PLAIN);
	assert_int_equal(claim("struct exact_deep", offsetof(struct exact_deep, in.same)), KIND_ANY);
	assert_int_equal(claim("struct exact_deep", offsetof(struct exact_deep, in.same) + 8), CLAIM_PLAIN);
	assert_int_equal(claim("struct exact_deep", offsetof(struct exact_deep, here[1].number)), CLAIM_PLAIN);
	assert_true(claim("struct exact_deep", offsetof(struct exact_deep, here[1].next)) >= KIND_FIRST);
	assert_true(claim("struct exact_deep", offsetof(struct exact_deep, row[2])) >= KIND_FIRST);
	assert_int_equal(claim("struct exact_deep", offsetof(struct exact_deep, factor)), CLAIM_PLAIN);
	assert_int_equal(claim("struct exact_deep", offsetof(struct exact_deep, far)), CLAIM_PLAIN);
	assert_int_equal(claim("struct exact_deep", offsetof(struct exact_deep, far) + 8), KIND_ANY); /* padding */
	assert_int_equal(claim("struct exact_tail", 8), KIND_ANY);
	end();
}

/* ---- what is kept ---- */

static void a_number_keeps_no_object(void **state)
{
	struct exact_leaf *hidden;

	(void)state;
	begin("number.vol");
	hidden = leaf_new();
	root->integer = number_of(hidden);
	point();
	assert_false(is_kept(hidden));
	assert_int_equal(numbers_lost(), 1);
	assert_int_equal(pOutside(id, lost_note, NULL), 0);
	assert_int_equal(lost_count, 1);
	assert_true(lost_place == number_of(&root->integer));
	root->pair[0]++;
	point();
	assert_int_equal(numbers_lost(), 1); /* it is the same one */
	root->number.number = (long)number_of(hidden);
	root->numbers = pMalloc(10 * sizeof(long));
	root->numbers[7] = (long)number_of(hidden);
	point();
	assert_true(is_kept(hidden)); /* other numbers: they may be what is in this memory by now */
	assert_int_equal(pFullTrace(id), 0);
	point();
	assert_false(is_kept(hidden));
	assert_int_equal(numbers_lost(), 3);
	root->pair[0]++;
	root->numbers[8]++;
	point();
	assert_false(is_kept(hidden));
	root->address = number_of(hidden);
	point();
	assert_true(is_kept(hidden));
	assert_int_equal(pFullTrace(id), 0);
	point();
	assert_true(is_kept(hidden));
	assert_int_equal(numbers_lost(), 0);
	end();
}

/* A pool gives memory of one struct to another, to which only a void pointer leads. */
static void memory_that_became_something_else_is_looked_at(void **state)
{
	struct exact_leaf *leaf, *kept;

	(void)state;
	begin("pool.vol");
	leaf = root->leaf = leaf_new();
	leaf->next = NULL;
	leaf->number = 5;
	point();
	leaf->number++;
	point();
	assert_true(kind_of(leaf) > KIND_MIXED);
	root->leaf = NULL;
	root->anything = leaf;
	kept = leaf_new();
	kept->next = NULL;
	leaf->number = (long)number_of(kept);
	point();
	assert_int_equal(kind_of(leaf), KIND_MIXED);
	assert_true(is_kept(kept));
	assert_int_equal(pFullTrace(id), 0);
	point();
	assert_true(is_kept(kept));
	assert_int_equal(numbers_lost(), 0);
	end();
}

static void nothing_is_exact_if_the_user_says_so(void **state)
{
	struct exact_leaf *hidden;

	(void)state;
	setenv("SOFTPM_TYPES", "unchecked", 1);
	begin("unchecked.vol");
	hidden = leaf_new();
	root->integer = number_of(hidden);
	point();
	assert_true(is_kept(hidden));
	end();
	unsetenv("SOFTPM_TYPES");
}

static void what_is_not_said_to_be_a_number_keeps(void **state)
{
	struct exact_leaf *leaf[11];
	struct exact_derived *derived;

	(void)state;
	begin("any.vol");
	for (unsigned i = 0; i < 11; i++)
		leaf[i] = leaf_new();
	root->anything = leaf[0];
	leaf[0]->number = (long)number_of(leaf[1]); /* nobody says what leaf 0 is */
	root->either.leaf = leaf[2];
	memcpy(root->text + (8 - (uintptr_t)root->text % 8) % 8, &leaf[3], sizeof(leaf[3]));
	root->array = pMalloc(3 * sizeof(struct exact_leaf));
	root->array[0].number = (long)number_of(leaf[4]); /* the one that is not kept */
	root->array[1].number = (long)number_of(leaf[5]); /* may be anything */
	root->array[2].next = leaf[6];
	derived = pMalloc(sizeof(*derived));
	derived->leaf = leaf[7];
	root->base = &derived->base;
	root->tail = pMalloc(sizeof(struct exact_tail) + 2 * sizeof(struct exact_leaf *));
	root->tail->leaf[1] = leaf[8];
	root->leaves = pMalloc(3 * sizeof(struct exact_leaf *));
	root->leaves[2] = leaf[9];
	leaf[9]->next = leaf[10];
	point();
	for (unsigned i = 0; i < 11; i++)
		if (is_kept(leaf[i]) != (i != 4))
			fail_msg("leaf %u is%s kept", i, i == 4 ? "" : " not");
	end();
}

/* Where a pointer to the base came first, and where it did not. */
static void a_derived_struct_is_known_by_the_pointer_that_says_more(void **state)
{
	struct exact_leaf *hidden, *seen;
	unsigned kind;

	(void)state;
	begin("derived.vol");
	hidden = leaf_new();
	seen = leaf_new();
	root->derived = pMalloc(sizeof(struct exact_derived));
	root->derived->number = (long)number_of(hidden);
	root->derived->leaf = seen;
	root->base = &root->derived->base;
	point();
	assert_int_equal(pFullTrace(id), 0); /* behind a base anything may be */
	point();
	assert_true(is_kept(seen));
	kind = kind_of(root->derived);
	assert_true(kind > KIND_MIXED);
	assert_int_equal(c->kinds->pointers->kind[kind].words, 4);
	assert_int_equal(numbers_lost(), is_kept(hidden) ? 0 : 1);
	end();
}

static void views_make(bool first_before, struct exact_leaf **leaf)
{
	struct {
		void *object;
		long number;
	} *shared = pMalloc(sizeof(*shared));
	void **object = pMalloc(2 * sizeof(void *));

	for (unsigned i = 0; i < 2; i++)
		object[i] = leaf[i] = leaf_new();
	shared->object = object;
	if (first_before)
		root->first = (void *)shared;
	else
		root->second = (void *)shared;
	point();
	root->first = (void *)shared;
	root->second = (void *)shared;
	point();
}

/* What the first one led to was taken for what it said. Both at once, and one after the other. */
static void who_is_said_to_be_two_things_may_be_anything(void **state)
{
	(void)state;
	begin("mixed.vol");
	for (unsigned i = 0; i < 2; i++) {
		struct exact_leaf *leaf[2];

		root->first = NULL;
		root->second = NULL;
		point();
		views_make(i, leaf);
		assert_true(is_kept(leaf[0]) && is_kept(leaf[1]));
		assert_int_equal(kind_of(root->first), KIND_MIXED);
		assert_int_equal(kind_of(root->first->it), KIND_MIXED);
		assert_int_equal(pFullTrace(id), 0);
		point();
		assert_true(is_kept(leaf[0]) && is_kept(leaf[1]));
		assert_int_equal(kind_of(root->first->it), KIND_MIXED);
	}
	end();
}

static void a_pointer_into_the_midst_counts_if_it_says_something_else(void **state)
{
	struct exact_leaf *within, *kept;

	(void)state;
	begin("midst.vol");
	root->block = pMalloc(sizeof(struct exact_block));
	kept = leaf_new();
	within = (struct exact_leaf *)(void *)&root->block->words[2];
	within->next = kept;
	point();
	root->numbers = &root->block->words[4]; /* numbers they are */
	point();
	assert_false(is_kept(kept));
	assert_true(kind_of(root->block) > KIND_MIXED);
	root->leaf = within;
	point();
	assert_true(is_kept(kept));
	assert_int_equal(kind_of(root->block), KIND_MIXED);
	end();
}

static void a_freed_slot_is_nothing_until_it_is_found_again(void **state)
{
	struct exact_leaf *kept, *leaf;
	void **again;

	(void)state;
	begin("freed.vol");
	kept = leaf_new();
	leaf = root->leaf = leaf_new();
	leaf->number = (long)number_of(kept);
	point();
	assert_false(is_kept(kept));
	assert_true(c->plain.n == 1);
	pFree(leaf);
	root->leaf = NULL;
	do
		again = pMalloc(sizeof(struct exact_leaf));
	while ((void *)again != (void *)leaf);
	again[0] = kept;
	root->anything = again;
	point();
	assert_true(is_kept(kept));
	assert_true(c->plain.n == 0);
	end();
}

static void what_the_program_tells_of_an_object_counts(void **state)
{
	struct exact_leaf *hidden, *leaf;

	(void)state;
	begin("told.vol");
	hidden = leaf_new();
	leaf = leaf_new();
	leaf->number = (long)number_of(hidden);
	root->anything = leaf;
	if (pCSetType(id, leaf, "struct exact_leaf"))
		fail_msg("%s", pErrorMsg());
	point();
	assert_true(is_kept(leaf));
	assert_false(is_kept(hidden));
	end();
}

static void threads_that_run_make_it_conservative(void **state)
{
	struct cattr *attr;
	struct exact_leaf *hidden;

	(void)state;
	begin("running.vol");
	hidden = leaf_new();
	root->integer = number_of(hidden);
	point();
	assert_false(is_kept(hidden));
	attr = pCGetAttr(MAGIC);
	attr->stop_threads = 0;
	assert_int_equal(pCSetAttr(id, attr), 0);
	root->pair[0]++;
	point();
	assert_true(is_kept(hidden));
	attr->stop_threads = 1;
	assert_int_equal(pCSetAttr(id, attr), 0);
	assert_int_equal(pFullTrace(id), 0);
	point();
	assert_false(is_kept(hidden));
	pCAttrFree(attr);
	end();
}

/* ---- numbers that look like pointers ---- */

static int data[10];

static void function(void)
{
}

/* In the order of root->more. */
static uint64_t look_alike(unsigned i)
{
	switch (i) {
	case 0:
		return (uintptr_t)function;
	case 1:
		return UINT64_C(0x6b8100000000) + 64; /* as the word for offset 64 in the container's first module */
	case 2:
		return (uintptr_t)data;
	default:
		return (uintptr_t)__builtin_frame_address(0) & ~UINT64_C(0xfff);
	}
}

static int alikes_make(const char *volume)
{
	void *address;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(MAGIC, sizeof(struct exact_root), &address);
	EXPECT(id > 0);
	root = address;
	EXPECT(!type_set("struct exact_root"));
	root->leaf = leaf_new();
	root->leaf->number = 42;
	root->integer = (uintptr_t)root->leaf;
	root->address = (uintptr_t)root->leaf;
	root->call = function;
	root->anything = data;
	root->numbers = pMalloc(100000);
	for (unsigned i = 0; i < 4; i++)
		root->numbers[i * 2000 + 1] = (long)(root->more[i] = look_alike(i));
	root->numbers[9000] = (long)root->integer;
	EXPECT(pPointSync(id) == 1);
	root->pair[0] = 1;
	EXPECT(pPointSync(id) == 2);
	EXPECT(!pVClose());
	return 0;
}

/* were: what root->more was, if it is not another process's. */
static int alikes_check(const struct exact_root *r, const struct exact_root *was)
{
	EXPECT(r->leaf->number == 42);
	EXPECT(r->address == (uintptr_t)r->leaf);
	EXPECT(r->call == function);
	EXPECT(r->anything == data);
	EXPECT((uint64_t)r->numbers[9000] == r->integer);
	for (unsigned i = 0; i < 4; i++)
		EXPECT((uint64_t)r->numbers[i * 2000 + 1] == r->more[i]);
	EXPECT(r->more[1] == look_alike(1));
	EXPECT(!was || (r->integer == was->integer && !memcmp(r->more, was->more, sizeof(r->more))));
	return 0;
}

static int alikes_restore(const char *volume)
{
	void *address, *beside, *branch;
	int view, clone;

	EXPECT(!pVOpen(volume));
	id = pCRestore(MAGIC, &address);
	EXPECT(id > 0);
	root = address;
	EXPECT(root->more[3]); /* the stack's */
	EXPECT(root->integer == (uintptr_t)root->leaf);
	EXPECT(!alikes_check(root, NULL));
	pBranchDelete(MAGIC, "other");
	view = pCOpenAt(MAGIC, "1", &beside);
	EXPECT(view > 0);
	EXPECT(((struct exact_root *)beside)->leaf != root->leaf);
	EXPECT(!alikes_check(beside, root));
	clone = pCClone(view, "other", &branch);
	EXPECT(clone > 0);
	EXPECT(!alikes_check(branch, root));
	((struct exact_root *)branch)->pair[0] = 7;
	((struct exact_root *)branch)->numbers[2] = 7;
	((struct exact_root *)branch)->leaf->number = 42;
	EXPECT(pPointSync(clone) > 0);
	EXPECT(!alikes_check(branch, root));
	pCFree(clone);
	EXPECT(!pCSwitch(id, "1", &address));
	EXPECT(!alikes_check(address, beside));
	EXPECT(!pCSwitch(id, "main", &address));
	EXPECT(!alikes_check(address, beside));
	((struct exact_root *)address)->numbers[3]++;
	EXPECT(pPointSync(id) > 0);
	pCFree(view);
	EXPECT(!pVClose());
	return 0;
}

/* Of the branch, which was written while it lay elsewhere. */
static int branch_restore(const char *volume)
{
	void *address;

	EXPECT(!pVOpen(volume));
	id = pCOpenBranch(MAGIC, "other", &address);
	EXPECT(id > 0);
	root = address;
	EXPECT(root->pair[0] == 7 && root->numbers[2] == 7);
	EXPECT(root->integer == (uintptr_t)root->leaf);
	EXPECT(!alikes_check(root, NULL));
	EXPECT(!pVClose());
	return 0;
}

static char image[4096];

static int image_make(const char *volume)
{
	EXPECT(!pVOpen(volume));
	EXPECT(!pImage(MAGIC, "2", image));
	EXPECT(!pVClose());
	return 0;
}

static int image_open(const char *path)
{
	void *address;

	id = pCOpenImage(path, &address);
	EXPECT(id);
	EXPECT(!alikes_check(address, NULL));
	pCFree(id);
	return 0;
}

static void numbers_keep_their_values(void **state)
{
	const char *volume = scratch("alike.vol");

	(void)state;
	unlink(volume);
	in_process(alikes_make, volume);
	snprintf(image, sizeof(image), "%s", scratch("alike.image"));
	in_process(image_make, volume);
	in_process(image_open, image);
	in_process(alikes_restore, volume);
	in_process(branch_restore, volume);
	setenv("SOFTPM_RESTORE", "lazy", 1);
	in_process(alikes_restore, volume);
	unsetenv("SOFTPM_RESTORE");
	setenv("SOFTPM_SWITCH", "beside", 1);
	in_process(alikes_restore, volume);
	unsetenv("SOFTPM_SWITCH");
	in_process(branch_restore, volume);
}

static size_t list_make(unsigned char *bytes, uint64_t count, const uint64_t *place, size_t n)
{
	memcpy(bytes, "SPMPLAIN", 8);
	memcpy(bytes + 8, &count, sizeof(count));
	memcpy(bytes + 16, place, n * sizeof(*place));
	return 16 + n * sizeof(*place);
}

static void a_malformed_list_of_numbers_is_refused(void **state)
{
	const uint64_t at = SPM_WINDOW_START + 4096;
	struct plain plain = {0};
	unsigned char bytes[64];
	size_t n = list_make(bytes, 2, (uint64_t[]){at, at + 8}, 2);

	(void)state;
	assert_int_equal(spm_plain_length(bytes, n), n);
	assert_int_equal(spm_plain_length(bytes, n - 1), 0); /* they are hints then, and malformed */
	assert_int_equal(spm_plain_load(&plain, bytes, n), 0);
	assert_true(plain.n == 2 && spm_plain_has(&plain, at + 8));
	list_make(bytes, 2, (uint64_t[]){at, at}, 2);
	assert_int_equal(spm_plain_load(&plain, bytes, n), -EINVAL);
	list_make(bytes, 2, (uint64_t[]){at, at + 4}, 2);
	assert_int_equal(spm_plain_load(&plain, bytes, n), -EINVAL);
	list_make(bytes, 2, (uint64_t[]){8, at}, 2);
	assert_int_equal(spm_plain_load(&plain, bytes, n), -EINVAL);
	list_make(bytes, UINT64_MAX / 8 + 2, (uint64_t[]){at, at + 8}, 2);
	assert_int_equal(spm_plain_length(bytes, n), 0);
	list_make(bytes, 0, (uint64_t[]){at, at + 8}, 2);
	assert_int_equal(spm_plain_length(bytes, n), 0);
	assert_true(plain.n == 2); /* as it was */
	spm_plain_free(&plain);
}

/* ---- random graphs ---- */

enum { NODES = 400, CHANGES = 4000, CHANGES_A_POINT = 20, HEADS = 6 };

/* Two kinds of nodes that begin alike. */
struct exact_any {
	long number;
	struct exact_any *next;
};
struct exact_one {
	struct exact_any any;
	uint64_t number;
	struct exact_two *two;
	void *more;
};
struct exact_two {
	struct exact_any any;
	struct exact_one *one;
	uint64_t number;
	union {
		long number;
		struct exact_two *two;
	} either;
};
struct exact_heads {
	struct exact_one *one[HEADS];
	struct exact_two *two[HEADS];
	struct exact_any *any;
	struct exact_two *wrong[2]; /* nodes of the first kind, that one[] leads to as well */
};

static struct exact_heads *heads;
static struct {
	void *at;
	bool is_two, is_reachable;
	int next, typed, untyped; /* numbers of nodes, or -1 */
} node[NODES];
static int head[2 * HEADS + 1];

static int node_random(uint64_t *random, int kind)
{
	int n;

	do
		n = (int)(test_random(random) % NODES);
	while (!node[n].at || (kind >= 0 && node[n].is_two != kind));
	return n;
}

static void node_make(int n, bool is_two)
{
	node[n].at = pMalloc(is_two ? sizeof(struct exact_two) : sizeof(struct exact_one));
	node[n].is_two = is_two;
	node[n].next = node[n].typed = node[n].untyped = -1;
}

static void node_change(uint64_t *random)
{
	int n = node_random(random, -1);
	struct exact_one *one = node[n].is_two ? NULL : node[n].at;
	struct exact_two *two = node[n].is_two ? node[n].at : NULL;

	node[n].next = node_random(random, -1);
	node[n].typed = node_random(random, one ? 1 : 0);
	node[n].untyped = node_random(random, one ? -1 : 1);
	if (one)
		*one = (struct exact_one){
		        {0, node[node[n].next].at}, 0, node[node[n].typed].at, node[node[n].untyped].at};
	else
		*two = (struct exact_two){{0, node[node[n].next].at}, node[node[n].typed].at, 0, {0}};
	if (two)
		two->either.two = node[node[n].untyped].at;
	((struct exact_any *)node[n].at)->number = (long)number_of(node[node_random(random, -1)].at);
	*(one ? &one->number : &two->number) = number_of(node[node_random(random, -1)].at);
}

static void heads_change(uint64_t *random, bool may_be_wrong)
{
	unsigned i = (unsigned)(test_random(random) % HEADS);

	head[i] = node_random(random, 0);
	head[HEADS + i] = node_random(random, 1);
	head[2 * HEADS] = node_random(random, -1);
	heads->one[i] = node[head[i]].at;
	heads->two[i] = node[head[HEADS + i]].at;
	heads->any = node[head[2 * HEADS]].at;
	for (unsigned w = 0; w < 2; w++)
		heads->wrong[w] = may_be_wrong && head[w] >= 0 ? node[head[w]].at : NULL;
}

static void reach(int n)
{
	if (n < 0 || node[n].is_reachable)
		return;
	node[n].is_reachable = true;
	reach(node[n].next);
	reach(node[n].typed);
	reach(node[n].untyped);
}

/* Nothing is lost. More may be kept: what a number in a node leads to that was met first by a void pointer. */
static void nodes_check(void)
{
	for (int n = 0; n < NODES; n++)
		node[n].is_reachable = false;
	for (unsigned i = 0; i < 2 * HEADS + 1; i++)
		reach(head[i]);
	for (int n = 0; n < NODES; n++)
		if (node[n].is_reachable && !is_kept(node[n].at))
			fail_msg("node %d is lost", n);
}

static void random_graphs_lose_nothing(void **state)
{
	uint64_t random = test_seed();
	void *address;

	(void)state;
	assert_int_equal(pVOpen(scratch("random.vol")), 0);
	id = pCAlloc(MAGIC, sizeof(struct exact_heads), &address);
	assert_true(id > 0);
	heads = address;
	if (type_set("struct exact_heads"))
		fail_msg("%s", pErrorMsg());
	c = spm_container_get(id);
	memset(head, -1, sizeof(head));
	for (int n = 0; n < NODES; n++)
		node_make(n, n % 2);
	for (int i = 0; i < CHANGES; i++) {
		if (test_random(&random) % 8)
			node_change(&random);
		else
			heads_change(&random, i > CHANGES / 2);
		if (i % CHANGES_A_POINT)
			continue;
		if (i % (CHANGES / 10) == 0)
			assert_int_equal(pFullTrace(id), 0);
		point();
		nodes_check();
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(numbers_keep_their_values), /* first: its processes have no volume of this one's */
	        cmocka_unit_test(types_tell_which_words_hold_pointers),
	        cmocka_unit_test(a_number_keeps_no_object),
	        cmocka_unit_test(memory_that_became_something_else_is_looked_at),
	        cmocka_unit_test(nothing_is_exact_if_the_user_says_so),
	        cmocka_unit_test(what_is_not_said_to_be_a_number_keeps),
	        cmocka_unit_test(a_derived_struct_is_known_by_the_pointer_that_says_more),
	        cmocka_unit_test(who_is_said_to_be_two_things_may_be_anything),
	        cmocka_unit_test(a_pointer_into_the_midst_counts_if_it_says_something_else),
	        cmocka_unit_test(a_freed_slot_is_nothing_until_it_is_found_again),
	        cmocka_unit_test(what_the_program_tells_of_an_object_counts),
	        cmocka_unit_test(threads_that_run_make_it_conservative),
	        cmocka_unit_test(a_malformed_list_of_numbers_is_refused),
	        cmocka_unit_test(random_graphs_lose_nothing),
	};

	setenv("SOFTPM_VOLUME", scratch("default.vol"), 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
