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

static void shape_set(struct pndview *v, unsigned d, size_t n)
{
	v->marked_shape[d] = n ^ PNDVIEW_MARK;
}

static void stride_set(struct pndview *v, unsigned d, ptrdiff_t bytes)
{
	v->marked_stride[d] = (size_t)bytes ^ PNDVIEW_MARK;
}

/* An array of that shape, yet without memory, and the bytes that it takes; -1: EINVAL, ENOMEM. */
static int lay_out(struct pndview *v, size_t bytes, unsigned dims, const size_t *shape, size_t *all)
{
	if (!bytes || bytes > UINT32_MAX || !dims || dims > PNDARRAY_DIMS) {
		errno = EINVAL;
		return -1;
	}
	*v = (struct pndview){.bytes = (uint32_t)bytes, .dims = (uint16_t)dims, .ones = UINT16_MAX};
	*all = bytes;
	for (unsigned d = dims; d--;) {
		shape_set(v, d, shape[d]);
		stride_set(v, d, (ptrdiff_t)*all);
		if (__builtin_mul_overflow(*all, shape[d] ? shape[d] : 1, all) || *all > PTRDIFF_MAX / 2) {
			errno = ENOMEM;
			return -1;
		}
	}
	return 0;
}

struct pndarray *pndarray_make(size_t bytes, unsigned flags, unsigned dims, const size_t *shape)
{
	struct pndarray *a;
	struct pndview all;
	size_t total;

	if (lay_out(&all, bytes, dims, shape, &total))
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
	size_t shape[PNDARRAY_DIMS], index[PNDARRAY_DIMS] = {0};
	struct pndarray *a;
	char *to;

	for (unsigned d = 0; d < v->dims; d++)
		shape[d] = pndview_shape(v, d);
	a = pndarray_make(v->bytes, flags, v->dims, shape);
	to = a ? a->all.data : NULL;
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
		n *= pndview_shape(v, d);
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
	if (!is_within(pndview_shape(v, dim), start, count, step))
		return no_view(ERANGE);
	/* With less than two elements the step is never taken, and might overflow. */
	part.data = count ? (char *)v->data + (ptrdiff_t)start * pndview_stride(v, dim) : v->data;
	shape_set(&part, dim, count);
	if (count > 1)
		stride_set(&part, dim, pndview_stride(v, dim) * step);
	return part;
}

struct pndview pndview_pick(const struct pndview *v, unsigned dim, size_t index)
{
	struct pndview part = *v;

	if (dim >= v->dims || v->dims == 1)
		return no_view(EINVAL);
	if (index >= pndview_shape(v, dim))
		return no_view(ERANGE);
	part.data = (char *)v->data + (ptrdiff_t)index * pndview_stride(v, dim);
	part.dims--;
	for (unsigned d = dim; d < part.dims; d++) {
		part.marked_shape[d] = v->marked_shape[d + 1];
		part.marked_stride[d] = v->marked_stride[d + 1];
	}
	return part;
}

struct pndview pndview_swap(const struct pndview *v, unsigned dim, unsigned other)
{
	struct pndview swapped = *v;

	if (dim >= v->dims || other >= v->dims)
		return no_view(EINVAL);
	swapped.marked_shape[dim] = v->marked_shape[other];
	swapped.marked_stride[dim] = v->marked_stride[other];
	swapped.marked_shape[other] = v->marked_shape[dim];
	swapped.marked_stride[other] = v->marked_stride[dim];
	return swapped;
}

bool pndview_next(const struct pndview *v, unsigned dims, size_t *index)
{
	if (dims != v->dims) {
		errno = EINVAL;
		return false;
	}
	for (unsigned d = dims; d--;) {
		if (++index[d] < pndview_shape(v, d))
			return true;
		index[d] = 0;
	}
	return false;
}
