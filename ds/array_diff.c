/* array_diff.c - in which elements two vectors differ.
 *
 * Where both are in containers that can be compared (pDiffer), a piece that lies at the same place in both, and is not among the objects that
 * differ, has the same elements: it is not looked at. Any other is compared by halves until the halves are alike, or one element is left. So
 * without containers, or if elements have other places in the two (parray_data, parray_fit), all elements are compared.
 */
#include "array.h"
#include "versions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Objects of the old vector's container that differ from those of the other; ascending. */
struct objects {
	const void **at;
	size_t n;
};

static int object_note(const struct pdiffering *object, void *arg)
{
	struct objects *all = arg;

	if (!object->first)
		return 0;
	if (!(all->n & (all->n - 1))) {
		const void **more = realloc(all->at, (all->n ? 2 * all->n : 1) * sizeof(*more));

		if (!more)
			return -1;
		all->at = more;
	}
	all->at[all->n++] = object->first;
	return 0;
}

static int by_address(const void *x, const void *y)
{
	uintptr_t a = (uintptr_t) * (void *const *)x, b = (uintptr_t) * (void *const *)y;

	return (a > b) - (a < b);
}

static bool has_object(const struct objects *all, const void *at)
{
	return all->n && bsearch(&at, all->at, all->n, sizeof(*all->at), by_address);
}

/* ---- elements ---- */

int spm_array_pair_begin(struct array_pair *p, const struct parray *old, const struct parray *new)
{
	*p = (struct array_pair){.a = {old, new}, .is_plain = old->flags & new->flags &PARRAY_PLAIN};
	return spm_versions_find(old, new, p->id);
}

bool spm_array_pair_is_same(const struct array_pair *p, const void *old, const void *new, size_t n)
{
	size_t bytes = n * p->a[0]->bytes;

	return p->is_plain ? !memcmp(old, new, bytes) : pSame(p->id[0], old, p->id[1], new, bytes) == 1;
}

struct telling {
	struct array_pair pair;
	pchange_fn *fn;
	void *arg;
};

static int tell(const struct telling *t, enum pchange_kind kind, size_t i)
{
	struct pchange change = {.kind = kind, .index = i};

	if (kind != PCHANGE_ADDED)
		change.old_value = parray_place(t->pair.a[0], i);
	if (kind != PCHANGE_REMOVED)
		change.new_value = parray_place(t->pair.a[1], i);
	return t->fn(&change, t->arg);
}

/* n elements from i on, which lie one behind another in both. */
static int run_compare(const struct telling *t, size_t i, size_t n)
{
	int result;

	if (spm_array_pair_is_same(&t->pair, parray_place(t->pair.a[0], i), parray_place(t->pair.a[1], i), n))
		return 0;
	if (n == 1)
		return tell(t, PCHANGE_CHANGED, i);
	result = run_compare(t, i, n / 2);
	return result ? result : run_compare(t, i + n / 2, n - n / 2);
}

static int all_compare(const struct telling *t, size_t i, size_t end)
{
	const struct parray *old = t->pair.a[0], *new = t->pair.a[1];
	int result = 0;

	while (i < end && !result) {
		size_t a, b, n;

		parray_run(old, i, &a);
		parray_run(new, i, &b);
		n = a < b ? a : b;
		n = n < end - i ? n : end - i;
		result = run_compare(t, i, n);
		i += n;
	}
	return result;
}

/* ---- pieces ---- */

/* Where the pointer that leads to the piece of element i lies. */
static void *const *leading(const struct parray *a, size_t i)
{
	return i < parray_in_piece(a) ? &a->piece : &a->chunk[(i - parray_in_piece(a)) >> a->shift];
}

/* Elements 0 to end - 1 have the same places in their pieces in both. (The last piece may have more room in one of them.) */
static int pieces_compare(const struct telling *t, const struct objects *changed, size_t end)
{
	const struct parray *old = t->pair.a[0], *new = t->pair.a[1];
	int result = 0;

	for (size_t i = 0, n; i < end && !result; i += n) {
		void *const *a = leading(old, i), *const *b = leading(new, i);

		parray_run(old, i, &n);
		n = n < end - i ? n : end - i;
		if (has_object(changed, *a) || pSame(t->pair.id[0], a, t->pair.id[1], b, sizeof(*a)) != 1)
			result = run_compare(t, i, n);
	}
	return result;
}

static bool are_cut_alike(const struct parray *old, const struct parray *new, size_t end)
{
	return parray_in_piece(old) == parray_in_piece(new) ||
	       (end <= parray_in_piece(old) && end <= parray_in_piece(new));
}

/* Whether only some pieces need to be compared; -1: failure. *changed: to be freed. */
static int changed_find(const struct telling *t, size_t end, int may_ask, struct objects *changed)
{
	const struct array_pair *p = &t->pair;

	if (!may_ask || !are_cut_alike(p->a[0], p->a[1], end))
		return 0;
	if (pDiffer(p->id[0], p->id[1], object_note, changed))
		return errno == ENOTSUP ? 0 : -1;
	if (changed->n)
		qsort(changed->at, changed->n, sizeof(*changed->at), by_address);
	return 1;
}

static int common_compare(const struct telling *t, size_t end, int may_ask)
{
	struct objects changed = {.n = 0};
	int result = changed_find(t, end, may_ask, &changed);

	if (result == 1)
		result = pieces_compare(t, &changed, end);
	else if (!result)
		result = all_compare(t, 0, end);
	free(changed.at);
	return result;
}

int parray_diff(const struct parray *old, const struct parray *new, pchange_fn *fn, void *arg)
{
	struct telling t = {.fn = fn, .arg = arg};
	size_t common = parray_count(old) < parray_count(new) ? parray_count(old) : parray_count(new);
	int result, may_ask;

	if (old->bytes != new->bytes) {
		errno = EINVAL;
		return -1;
	}
	may_ask = spm_array_pair_begin(&t.pair, old, new);
	result = may_ask < 0 ? -1 : common_compare(&t, common, may_ask);
	for (size_t i = common; i < parray_count(old) && !result; i++)
		result = tell(&t, PCHANGE_REMOVED, i);
	for (size_t i = common; i < parray_count(new) && !result; i++)
		result = tell(&t, PCHANGE_ADDED, i);
	return result;
}
