/* ndarray.c - arrays of several dimensions, and views of them, see <softpm/array.h>.
 *
 * A view is an address and a step in bytes for each dimension. All that makes views only makes such steps: a slice moves the
 * address and shortens the shape, picking an index drops a dimension, swapping two makes the transpose.
 */
#include <softpm/array.h>

#include <errno.h>
#include <string.h>

static struct pndview no_view(int error)
{
	errno = error;
	return (struct pndview){0};
}

/* Bytes of an array of that shape, and the steps of it; -1: EINVAL, ENOMEM. */
static int lay_out(struct pndview *v, size_t *all)
{
	*all = v->bytes;
	if (!v->bytes || !v->dims || v->dims > PNDARRAY_DIMS) {
		errno = EINVAL;
		return -1;
	}
	for (unsigned d = v->dims; d--;) {
		v->stride[d] = (ptrdiff_t)*all;
		if (__builtin_mul_overflow(*all, v->shape[d] ? v->shape[d] : 1, all) || *all > PTRDIFF_MAX) {
			errno = ENOMEM;
			return -1;
		}
	}
	return 0;
}

struct pndarray *pndarray_make(size_t bytes, unsigned flags, unsigned dims, const size_t *shape)
{
	struct pndview all = {.bytes = bytes, .dims = dims};
	struct pndarray *a;
	size_t total;

	for (unsigned d = 0; d < dims && d < PNDARRAY_DIMS; d++)
		all.shape[d] = shape[d];
	if (lay_out(&all, &total))
		return NULL;
	a = pMalloc(sizeof(*a));
	if (!a)
		return NULL;
	all.data = flags & PARRAY_PLAIN ? pMallocNoPtr(total) : pMalloc(total);
	if (!all.data) {
		pFree(a);
		return NULL;
	}
	a->all = all;
	return a;
}

void pndarray_free(struct pndarray *a)
{
	if (!a)
		return;
	pFree(a->all.data);
	pFree(a);
}

struct pndarray *pndarray_copy(const struct pndview *v, unsigned flags)
{
	struct pndarray *a = pndarray_make(v->bytes, flags, v->dims, v->shape);
	size_t index[PNDARRAY_DIMS] = {0};
	char *to = a ? a->all.data : NULL;

	if (a && pndview_count(v))
		do {
			memcpy(to, pndview_at(v, v->dims, index), v->bytes);
			to += v->bytes;
		} while (pndview_next(v, v->dims, index));
	return a;
}

size_t pndview_count(const struct pndview *v)
{
	size_t n = v->dims ? 1 : 0;

	for (unsigned d = 0; d < v->dims; d++)
		n *= v->shape[d];
	return n;
}

/* Whether start + (count - 1) * step and all before it are indices below n; by division, for it could overflow. */
static bool is_within(size_t n, size_t start, size_t count, ptrdiff_t step)
{
	size_t by = step < 0 ? 0 - (size_t)step : (size_t)step;

	if (!count)
		return start <= n;
	return start < n && count - 1 <= (step < 0 ? start : n - 1 - start) / by;
}

struct pndview pndview_slice(const struct pndview *v, unsigned dim, size_t start, size_t count, ptrdiff_t step)
{
	struct pndview part = *v;

	if (dim >= v->dims || !step)
		return no_view(EINVAL);
	if (!is_within(v->shape[dim], start, count, step))
		return no_view(ERANGE);
	/* With less than two elements the step is never taken, and might overflow. */
	part.data = count ? (char *)v->data + (ptrdiff_t)start * v->stride[dim] : v->data;
	part.shape[dim] = count;
	part.stride[dim] = count > 1 ? v->stride[dim] * step : v->stride[dim];
	return part;
}

struct pndview pndview_pick(const struct pndview *v, unsigned dim, size_t index)
{
	struct pndview part = *v;

	if (dim >= v->dims || v->dims == 1)
		return no_view(EINVAL);
	if (index >= v->shape[dim])
		return no_view(ERANGE);
	part.data = (char *)v->data + (ptrdiff_t)index * v->stride[dim];
	part.dims--;
	for (unsigned d = dim; d < part.dims; d++) {
		part.shape[d] = v->shape[d + 1];
		part.stride[d] = v->stride[d + 1];
	}
	part.shape[part.dims] = 0;
	part.stride[part.dims] = 0;
	return part;
}

struct pndview pndview_swap(const struct pndview *v, unsigned dim, unsigned other)
{
	struct pndview swapped = *v;

	if (dim >= v->dims || other >= v->dims)
		return no_view(EINVAL);
	swapped.shape[dim] = v->shape[other];
	swapped.stride[dim] = v->stride[other];
	swapped.shape[other] = v->shape[dim];
	swapped.stride[other] = v->stride[dim];
	return swapped;
}

bool pndview_next(const struct pndview *v, unsigned dims, size_t *index)
{
	if (dims != v->dims) {
		errno = EINVAL;
		return false;
	}
	for (unsigned d = dims; d--;) {
		if (++index[d] < v->shape[d])
			return true;
		index[d] = 0;
	}
	return false;
}
