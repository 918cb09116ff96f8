/* test_ds_list.c - what <softpm/list.h> promises; plist_diff beside a comparison of all entries. */
#include "../../ds/list.h"
#include "container.h"
#include "expect.h"
#include "lazy.h"
#include "process.h"
#include "scratch.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

struct job {
	int64_t size;
	const char *name;
};
PLIST_OF(jobs, struct job);
PLIST_OF(numbers, int64_t);
PLIST_OF(letters, char);

/* ---- what lists do ---- */

static struct numbers *numbers_to(int64_t n)
{
	struct numbers *l = numbers_make();

	assert_non_null(l);
	for (int64_t i = 0; i < n; i++)
		assert_non_null(numbers_push(l, i));
	return l;
}

/* As the digits of a number say, the first is the highest. */
static void is(const struct numbers *l, const char *digits)
{
	const struct numbers_node *n = numbers_first(l);

	assert_true(spm_list_check(&l->list));
	assert_int_equal(numbers_count(l), strlen(digits));
	for (; n; n = numbers_next(n))
		assert_int_equal(n->value, *digits++ - '0');
}

static struct numbers_node *node_of(const struct numbers *l, int64_t value)
{
	struct numbers_node *n = numbers_first(l);

	while (n && n->value != value)
		n = numbers_next(n);
	return n;
}

static void values_are_where_they_were_put(void **state)
{
	struct numbers *l = numbers_to(3);
	int64_t value = 0;

	(void)state;
	is(l, "012");
	assert_non_null(numbers_push_front(l, 7));
	assert_non_null(numbers_insert(l, node_of(l, 1), 8));
	assert_non_null(numbers_insert_after(l, node_of(l, 1), 9));
	assert_non_null(numbers_insert(l, NULL, 5));
	assert_non_null(numbers_insert_after(l, NULL, 6));
	is(l, "67081925");
	numbers_remove(l, node_of(l, 8));
	assert_true(numbers_pop(l, &value) == 1 && value == 5);
	assert_true(numbers_pop_front(l, &value) == 1 && value == 6);
	is(l, "70192");
	assert_null(numbers_next(numbers_last(l)));
	assert_null(numbers_prev(numbers_first(l)));
	numbers_reverse(l);
	is(l, "29107");
	numbers_clear(l);
	is(l, "");
	assert_int_equal(numbers_pop(l, &value), 0);
	assert_non_null(numbers_push(l, 4));
	is(l, "4");
	numbers_free(l);
	numbers_free(NULL);
	errno = 0;
	assert_null(plist_make(0));
	assert_int_equal(errno, EINVAL);
}

static void lists_are_spliced_and_nodes_stay(void **state)
{
	struct numbers *a = numbers_to(3), *b = numbers_to(2), *c = numbers_to(0);
	struct numbers_node *zero = numbers_first(b), *one;

	(void)state;
	numbers_splice(a, node_of(a, 1), b);
	is(a, "00112");
	is(b, "");
	assert_ptr_equal(zero, numbers_next(numbers_first(a)));
	numbers_splice(a, NULL, b); /* of nothing */
	numbers_splice(b, NULL, a); /* to nothing */
	is(a, "");
	is(b, "00112");
	assert_non_null(numbers_push(a, 8));
	numbers_remove(b, zero);
	one = numbers_prev(numbers_last(b));
	assert_int_equal(numbers_move(a, numbers_first(a), b, one), 0);
	is(a, "18");
	is(b, "012");
	assert_int_equal(numbers_move(b, numbers_first(b), b, numbers_last(b)), 0);
	is(b, "201");
	assert_int_equal(numbers_move_range(c, NULL, b, numbers_first(b), numbers_next(numbers_first(b))), 0);
	is(c, "20");
	is(b, "1");
	numbers_splice(c, numbers_last(c), a);
	numbers_splice(c, NULL, b);
	is(c, "21801");
	assert_true(node_of(c, 1) == one);
	while (numbers_pop_front(c, NULL))
		assert_true(spm_list_check(&c->list));
	numbers_free(a);
	numbers_free(b);
	numbers_free(c);
}

/* A queue that is fed by splicing and never empty keeps no more records than it has nodes. */
static void records_go_with_their_nodes(void **state)
{
	struct numbers *queue = numbers_to(1), *more = numbers_to(0);
	size_t owners = 1;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		numbers_push(more, i);
		numbers_push(more, i);
		numbers_splice(queue, i % 2 ? NULL : numbers_first(queue), more);
		while (numbers_count(queue) > 5)
			numbers_pop_front(queue, NULL);
		assert_true(spm_list_check(&queue->list));
	}
	for (const struct plist_owner *o = queue->list.owner->next; o != queue->list.owner; o = o->next)
		owners++;
	assert_in_range(owners, 1, 6);
	numbers_free(queue);
	numbers_free(more);
}

static int by_thousands(const int64_t *x, const int64_t *y, void *arg)
{
	(void)arg;
	return (*x / 10000 > *y / 10000) - (*x / 10000 < *y / 10000);
}

static void sorting_is_stable(void **state)
{
	uint64_t random = test_seed();

	(void)state;
	for (unsigned n = 0; n < 300; n++) {
		struct numbers *l = numbers_to(0);
		struct numbers_node *before = NULL;

		for (unsigned i = 0; i < n; i++)
			numbers_push(l, (int64_t)(test_random(&random) % 20 * 10000 + i));
		numbers_sort(l, by_thousands, NULL);
		assert_true(spm_list_check(&l->list) && numbers_count(l) == n);
		for (struct numbers_node *k = numbers_first(l); k; before = k, k = numbers_next(k))
			assert_true(!before || before->value < k->value);
		numbers_free(l);
	}
}

static void values_of_any_size_are_kept(void **state)
{
	struct jobs *j = jobs_make();
	struct letters *l = letters_make();
	unsigned sum = 0;

	(void)state;
	assert_non_null(jobs_push(j, (struct job){3, "three"}));
	assert_non_null(jobs_push(j, (struct job){4, "four"}));
	assert_string_equal(jobs_last(j)->value.name, "four");
	for (char c = 'a'; c <= 'z'; c++)
		assert_non_null(letters_push(l, c));
	for (struct letters_node *n = letters_first(l); n; n = letters_next(n))
		sum += (unsigned)n->value;
	assert_int_equal(sum, 26 * ('a' + 'z') / 2);
	jobs_free(j);
	letters_free(l);
}

/* ---- how much is written ---- */

struct root {
	struct numbers *list;
	struct numbers *other;
};
enum { MANY = 200000 };

static uint64_t dirty_pages(void)
{
	struct pstats s;

	return pStats(1, &s) ? 0 : s.dirty_pages;
}

static int few_pages_are_written(const char *volume)
{
	struct root *r;
	struct numbers_node *middle;
	uint64_t before;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*r), &root);
	r = root;
	EXPECT(id);
	r->list = numbers_to(MANY);
	r->other = numbers_to(MANY);
	middle = node_of(r->list, MANY / 2);
	EXPECT(pPointSync(id));
	before = dirty_pages();
	EXPECT(numbers_push(r->list, 1) && pPointSync(id));
	EXPECT(dirty_pages() - before <= 4); /* the list, the node before, the node, and the first page of its span */
	before = dirty_pages();
	middle->value++;
	EXPECT(pPointSync(id) && dirty_pages() - before == 1);
	before = dirty_pages();
	numbers_remove(r->list, middle);
	EXPECT(pPointSync(id) && dirty_pages() - before <= 3);
	before = dirty_pages();
	numbers_splice(r->list, numbers_first(r->list), r->other);
	EXPECT(pPointSync(id) && dirty_pages() - before <= 8); /* two lists, two records, four nodes */
	EXPECT(!pVClose());
	return 0;
}

static void an_operation_writes_few_pages(void **state)
{
	(void)state;
	in_process(few_pages_are_written, scratch("pages"));
}

static int sorted_is_not_written(const char *volume)
{
	struct root *r;
	uint64_t before;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*r), &root);
	r = root;
	EXPECT(id);
	r->list = numbers_to(MANY);
	EXPECT(pPointSync(id));
	before = dirty_pages();
	numbers_sort(r->list, by_thousands, NULL);
	EXPECT(pPointSync(id) && dirty_pages() == before);
	EXPECT(!pVClose());
	return 0;
}

static void what_is_in_order_is_not_written(void **state)
{
	(void)state;
	in_process(sorted_is_not_written, scratch("sorted"));
}

/* ---- plist_diff ---- */

enum { LISTS = 4, ENTRIES_MOST = 20000 };
/* Values are pointers, which differ where views lie elsewhere. */
struct value {
	uint64_t *pointed;
	uint64_t number;
};
PLIST_OF(values, struct value);
struct world {
	struct values *list[LISTS];
};

static uint64_t rnd;

static size_t below(size_t n)
{
	return (size_t)(test_random(&rnd) % n);
}

static struct value value_make(void)
{
	struct value v = {below(2) ? pMallocNoPtr(8) : NULL, test_random(&rnd) % 1000};

	if (v.pointed)
		*v.pointed = 3;
	return v;
}

static struct values_node *any_node(const struct values *l)
{
	struct values_node *n = values_first(l);

	for (size_t k = below(values_count(l) + 1); n && k; k--)
		n = values_next(n);
	return n;
}

static int by_name(const struct value *x, const struct value *y, void *arg)
{
	(void)arg;
	return (x->number > y->number) - (x->number < y->number);
}

static void node_drop(struct values *l, struct values_node *n)
{
	if (!n)
		return;
	pFree(n->value.pointed);
	values_remove(l, n);
}

static void change(struct world *w)
{
	struct values *a = w->list[below(LISTS)], *b = w->list[below(LISTS)];
	struct values_node *n = any_node(a);

	switch (below(300)) {
	case 0:
		values_splice(a, n, b);
		break;
	case 1:
		values_reverse(a);
		break;
	case 2:
		values_sort(a, by_name, NULL);
		break;
	case 3:
		for (struct values_node *k = values_first(a); k; k = values_next(k))
			pFree(k->value.pointed);
		values_clear(a);
		break;
	default:
		switch (below(8)) {
		case 0:
		case 1:
			node_drop(a, n);
			break;
		case 2:
			if (n)
				n->value.number++;
			break;
		case 3:
			if (n) {
				struct values_node *before = any_node(b);

				values_move(b, before == n ? NULL : before, a, n);
			}
			break;
		default:
			values_insert(a, n, value_make());
		}
	}
}

struct entry {
	uint64_t place; /* in versions */
	const struct values_node *node;
	bool is_removed, is_added, is_changed;
};
static struct entries {
	const struct moved *moved;
	size_t n;
	struct entry entry[ENTRIES_MOST];
} of_old, of_now;
static unsigned told, told_wrongly;

static int by_place(const void *x, const void *y)
{
	uint64_t a = ((const struct entry *)x)->place, b = ((const struct entry *)y)->place;

	return (a > b) - (a < b);
}

static void entries_find(struct entries *e, int id, const struct values *l)
{
	struct container *c = spm_container_get(id);

	e->moved = c->moved;
	e->n = 0;
	for (const struct values_node *n = values_first(l); n; n = values_next(n))
		e->entry[e->n++] = (struct entry){.place = spm_moved_address(e->moved, (uintptr_t)n), .node = n};
	qsort(e->entry, e->n, sizeof(*e->entry), by_place);
	spm_container_put(c);
}

static struct entry *entry_at(struct entries *e, const void *value)
{
	struct entry wanted = {.place = 0};

	if (!value)
		return NULL;
	wanted.place = spm_moved_address(e->moved, (uintptr_t)((const struct plist_node *)value - 1));
	return bsearch(&wanted, e->entry, e->n, sizeof(wanted), by_place);
}

static bool is_alike(const struct entry *x, const struct entry *y)
{
	const struct value *a = &x->node->value, *b = &y->node->value;

	if (a->number != b->number || !a->pointed != !b->pointed)
		return false;
	return !a->pointed || spm_moved_address(of_old.moved, (uintptr_t)a->pointed) ==
	                              spm_moved_address(of_now.moved, (uintptr_t)b->pointed);
}

static int note(const struct pchange *change, void *arg)
{
	struct entry *old = entry_at(&of_old, change->old_value), *now = entry_at(&of_now, change->new_value);
	bool is_right = !change->key && !old == !change->old_value && !now == !change->new_value;

	(void)arg;
	told++;
	if (change->kind == PCHANGE_REMOVED) {
		is_right &= old && !now && !old->is_removed && !old->is_changed;
		if (old)
			old->is_removed = true;
	} else if (change->kind == PCHANGE_ADDED) {
		is_right &= !old && now && !now->is_added && !now->is_changed;
		if (now)
			now->is_added = true;
	} else {
		is_right &= old && now && old->place == now->place && !is_alike(old, now) && !old->is_removed &&
		            !now->is_added;
		if (is_right)
			old->is_changed = now->is_changed = true;
	}
	told_wrongly += !is_right;
	return 0;
}

/* What is told of the old list makes the new one. */
static bool is_all_told(void)
{
	for (size_t i = 0; i < of_old.n; i++) {
		const struct entry *old = &of_old.entry[i];
		const struct entry *now = bsearch(old, of_now.entry, of_now.n, sizeof(*old), by_place);

		if (!old->is_removed && !old->is_changed && (!now || now->is_added || !is_alike(old, now)))
			return false;
	}
	for (size_t i = 0; i < of_now.n; i++) {
		const struct entry *now = &of_now.entry[i];
		const struct entry *old = bsearch(now, of_old.entry, of_old.n, sizeof(*now), by_place);

		if (!now->is_added && !now->is_changed && (!old || old->is_removed || !is_alike(old, now)))
			return false;
	}
	return true;
}

struct side {
	int id;
	struct world *w;
};

static int compare(struct side old, struct side now)
{
	for (unsigned l = 0; l < LISTS; l++) {
		told = told_wrongly = 0;
		entries_find(&of_old, old.id, old.w->list[l]);
		entries_find(&of_now, now.id, now.w->list[l]);
		EXPECT(spm_list_check(&now.w->list[l]->list));
		EXPECT(!values_diff(old.w->list[l], now.w->list[l], note, NULL));
		EXPECT(!told_wrongly && is_all_told());
	}
	return 0;
}

static int differences_are_told(const char *volume)
{
	struct side live, view[3] = {{0}};
	void *root;

	rnd = test_seed();
	EXPECT(!pVOpen(volume));
	live.id = pCAlloc(1, sizeof(*live.w), &root);
	live.w = root;
	EXPECT(live.id);
	for (unsigned l = 0; l < LISTS; l++)
		live.w->list[l] = values_make();
	for (unsigned i = 0; i < 1500; i++)
		change(live.w);
	for (unsigned round = 0; round < 120; round++) {
		struct side *v = &view[below(3)];

		for (size_t k = below(3) ? below(20) : below(400); k; k--)
			change(live.w);
		EXPECT(below(2) || pPointSync(live.id));
		if (!v->id || below(4) == 0) {
			if (v->id)
				pCFree(v->id);
			v->id = pPointSync(live.id) ? pCOpenAt(1, below(2) ? "main" : "main~1", &root) : 0;
			EXPECT(v->id || errno == ENOENT);
			v->w = root;
			continue;
		}
		EXPECT(!compare(*v, live) && !compare(live, *v));
		if (view[0].id && view[1].id)
			EXPECT(!compare(view[0], view[1]));
	}
	EXPECT(!pVClose());
	return 0;
}

static void what_differs_is_told(void **state)
{
	(void)state;
	in_process(differences_are_told, scratch("differ1"));
	in_process(differences_are_told, scratch("differ2"));
}

static int many_make(const char *volume)
{
	struct root *r;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*r), &root);
	r = root;
	EXPECT(id);
	r->list = numbers_to(MANY);
	r->other = numbers_to(1000);
	EXPECT(pPointSync(id));
	node_of(r->list, 1000)->value = -1;
	numbers_remove(r->list, node_of(r->list, 100000));
	numbers_insert(r->list, node_of(r->list, 150000), 7);
	numbers_splice(r->list, node_of(r->list, 50000), r->other);
	EXPECT(pPointSync(id));
	EXPECT(!pVClose());
	return 0;
}

static int count(const struct pchange *change, void *arg)
{
	((unsigned *)arg)[change->kind]++;
	return 0;
}

static size_t pages_there(const void *from)
{
	static unsigned char is_in[SPM_SLICE_PAGES];
	uint64_t start = SPM_WINDOW_START + ((uintptr_t)from - SPM_WINDOW_START) / SPM_SLICE_BYTES * SPM_SLICE_BYTES;
	size_t n = 0;

	if (mincore((void *)(uintptr_t)start, SPM_SLICE_BYTES, is_in))
		return SIZE_MAX;
	for (unsigned i = 0; i < SPM_SLICE_PAGES; i++)
		n += is_in[i] & 1;
	return n;
}

static int many_compare(const char *volume)
{
	unsigned changes[4] = {0};
	struct root *old, *now;
	void *root;

	EXPECT(!pVOpen(volume));
	spm_lazy_hold(true);
	EXPECT(pCRestore(1, &root));
	now = root;
	EXPECT(pCOpenAt(1, "main~1", &root));
	old = root;
	EXPECT(!numbers_diff(old->list, now->list, count, changes));
	EXPECT(changes[PCHANGE_CHANGED] == 1 && changes[PCHANGE_REMOVED] == 1 && changes[PCHANGE_ADDED] == 1001);
	EXPECT(pages_there(old) < 1000 && pages_there(now) < 1000); /* of 1,600 */
	memset(changes, 0, sizeof(changes));
	EXPECT(!numbers_diff(old->other, now->other, count, changes));
	EXPECT(!changes[PCHANGE_CHANGED] && changes[PCHANGE_REMOVED] == 1000 && !changes[PCHANGE_ADDED]);
	spm_lazy_hold(false);
	EXPECT(!pVClose());
	return 0;
}

static void a_difference_costs_what_changed(void **state)
{
	const char *volume = scratch("many");

	(void)state;
	if (!spm_lazy_is_possible())
		return;
	setenv("SOFTPM_RESTORE", "lazy", 1);
	in_process(many_make, volume);
	in_process(many_compare, volume);
	unsetenv("SOFTPM_RESTORE");
}

/* The last node has the same neighbours as before, in another list. */
static int come_after_a_neighbour(const char *volume)
{
	unsigned changes[4] = {0};
	struct root *r, *old;
	void *root;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCAlloc(1, sizeof(*r), &root);
	r = root;
	EXPECT(id);
	r->list = numbers_to(1);
	r->other = numbers_to(2);
	EXPECT(pPointSync(id) && pCOpenAt(1, "main", &root));
	old = root;
	EXPECT(!numbers_move(r->list, NULL, r->other, numbers_first(r->other)));
	numbers_splice(r->list, NULL, r->other);
	EXPECT(!numbers_diff(old->list, r->list, count, changes));
	EXPECT(changes[PCHANGE_ADDED] == 2 && !changes[PCHANGE_REMOVED] && !changes[PCHANGE_CHANGED]);
	EXPECT(!numbers_diff(r->list, old->list, count, changes));
	EXPECT(changes[PCHANGE_ADDED] == 2 && changes[PCHANGE_REMOVED] == 2 && !changes[PCHANGE_CHANGED]);
	EXPECT(!pVClose());
	return 0;
}

static void what_comes_unchanged_is_told(void **state)
{
	(void)state;
	in_process(come_after_a_neighbour, scratch("neighbour"));
}

static int stop(const struct pchange *change, void *arg)
{
	(void)change;
	return --*(int *)arg ? 0 : 55;
}

static void unrelated_lists_are_compared_by_value(void **state)
{
	struct numbers *a = numbers_to(9), *b = numbers_to(9);
	unsigned changes[4] = {0};
	int left = 2;

	(void)state;
	assert_int_equal(numbers_diff(a, b, count, changes), 0);
	assert_int_equal(numbers_diff(a, a, count, changes), 0);
	assert_int_equal(changes[1] + changes[2] + changes[3], 0);
	numbers_remove(a, node_of(a, 4));
	node_of(b, 5)->value = 50;
	numbers_push_front(b, 0);
	assert_int_equal(numbers_diff(a, b, count, changes), 0); /* 0 1235 678 / 0 0123450 678 */
	assert_true(changes[PCHANGE_REMOVED] == 4 && changes[PCHANGE_ADDED] == 6 && !changes[PCHANGE_CHANGED]);
	assert_int_equal(numbers_diff(a, b, stop, &left), 55);
	errno = 0;
	assert_int_equal(plist_diff(&a->list, plist_make(3), count, changes), -1);
	assert_int_equal(errno, EINVAL);
	numbers_free(a);
	numbers_free(b);
}

/* It would be taken for one, in memory that is searched, and change with a program that is built anew. */
static void no_count_looks_like_an_address(void **state)
{
	struct numbers *a = numbers_to(5000), *b = numbers_to(5000);

	(void)state;
	numbers_splice(a, NULL, b);
	assert_int_equal(numbers_count(a), 10000);
	assert_true(a->list.inverted_count >> 47 && a->list.inverted_strangers >> 47);
	assert_true(a->list.owner->next->inverted_nodes >> 47);
	numbers_free(a);
	numbers_free(b);
}

#ifdef SPM_DEBUG
static int removed_twice(const char *unused)
{
	struct numbers *l = numbers_to(3);
	struct numbers_node *n = numbers_first(l);

	(void)unused;
	signal(SIGABRT, _exit); /* 6 */
	numbers_remove(l, n);
	numbers_remove(l, n);
	return 0;
}

static int of_another_list(const char *unused)
{
	struct numbers *a = numbers_to(3), *b = numbers_to(3);

	(void)unused;
	signal(SIGABRT, _exit);
	numbers_insert(a, numbers_first(b), 3);
	return 0;
}

static void aborts(int (*fn)(const char *))
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(fn(""));
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == SIGABRT);
}

static void misuse_aborts(void **state)
{
	(void)state;
	aborts(removed_twice);
	aborts(of_another_list);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(values_are_where_they_were_put),
	        cmocka_unit_test(lists_are_spliced_and_nodes_stay),
	        cmocka_unit_test(records_go_with_their_nodes),
	        cmocka_unit_test(sorting_is_stable),
	        cmocka_unit_test(values_of_any_size_are_kept),
	        cmocka_unit_test(an_operation_writes_few_pages),
	        cmocka_unit_test(what_is_in_order_is_not_written),
	        cmocka_unit_test(what_differs_is_told),
	        cmocka_unit_test(what_comes_unchanged_is_told),
	        cmocka_unit_test(a_difference_costs_what_changed),
	        cmocka_unit_test(unrelated_lists_are_compared_by_value),
	        cmocka_unit_test(no_count_looks_like_an_address),
#ifdef SPM_DEBUG
	        cmocka_unit_test(misuse_aborts),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
