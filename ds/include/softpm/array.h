/* array.h - vectors that grow, and arrays of several dimensions.
 *
 *     PARRAY_OF(scores, double);
 *
 *     root->scores = scores_make();
 *     if (!scores_push(root->scores, 9.5))
 *             return -1;                               (ENOMEM)
 *     for (size_t i = 0; i < scores_count(root->scores); i++)
 *             sum += *scores_at(root->scores, i);
 *
 *     PNDARRAY_OF(grid, float);
 *
 *     root->grid = grid_make(PINDEX(100, 200));
 *     *grid_at(root->grid, PINDEX(3, 4)) = 1;
 *
 * Conventions are those of common.h. Elements are held by copy, one behind another; all that is asked for by index is checked: NULL, or
 * -1, with errno ERANGE where there is no such element. Elements that can't hold pointers (numbers, and structures
 * that are declared by PARRAY_PLAIN_OF) are kept in memory that is never searched.
 *
 * A vector of up to 64 KiB is a C array. A larger one is in pieces of 32 to 64 KiB, so that it grows without copying: a push writes to a page of
 * elements and the one that has the count, and what is there stays where it is: pointers to elements are good until something is
 * inserted or removed before them, or one of parray_data, parray_fit and parray_sort is called. parray_data makes any vector a C array;
 * parray_run gives its elements as C arrays, piece by piece.
 */
#ifndef SOFTPM_ARRAY_H
#define SOFTPM_ARRAY_H

#include <softpm/common.h>

#include <errno.h>

#ifdef __cplusplus
extern "C" {
#endif

enum parray_flags { PARRAY_PLAIN = 1 /* elements hold no pointers */ };

/* ---- vectors ---- */

/* To be had from parray_make, or as a part of something else in the heap (parray_init). Its fields are for the functions below. It lies in memory
 * that is searched for pointers, where no number may look like an address (of a program, or libc's heap): so ~ before counts. */
struct parray {
	size_t inverted_count, inverted_in_piece; /* in_piece: room in piece */
	void *piece;                              /* elements 0 to in_piece - 1 */
	void **chunk;                             /* what follows, 1 << shift elements in each */
	uint32_t bytes;                           /* of an element */
	uint32_t magic;
	uint32_t chunks;
	uint8_t shift;
	uint8_t flags;
	uint16_t ones;
};

/* An empty vector of elements of so many bytes. EINVAL: bytes is 0, or 4 GiB and more. */
struct parray *parray_make(size_t bytes, unsigned flags);
void parray_free(struct parray *a); /* NULL: nothing */
/* The same for a vector that is part of something else; parray_clear gives back all memory, and leaves it empty. */
int parray_init(struct parray *a, size_t bytes, unsigned flags);
void parray_clear(struct parray *a);

static inline size_t parray_count(const struct parray *a)
{
	return ~a->inverted_count;
}
/* Room in the first piece. */
static inline size_t parray_in_piece(const struct parray *a)
{
	return ~a->inverted_in_piece;
}
/* Where element i of so many bytes is; it may be beyond the count as long as there is room. Not checked. */
static inline void *parray_place_of(const struct parray *a, size_t i, size_t bytes, unsigned shift)
{
	size_t in_piece = parray_in_piece(a);

	if (i < in_piece)
		return (char *)a->piece + i * bytes;
	i -= in_piece;
	return (char *)a->chunk[i >> shift] + (i & (((size_t)1 << shift) - 1)) * bytes;
}
static inline void *parray_place(const struct parray *a, size_t i)
{
	return parray_place_of(a, i, a->bytes, a->shift);
}
/* Chunks have 1 << shift elements: 32 to 64 KiB, or one element that is larger. With a size that is known when it is compiled it is a number. */
static inline unsigned parray_shift(size_t bytes)
{
	return bytes > 32768 ? 0 : 63u - (unsigned)__builtin_clzll(65536 / bytes);
}
/* ERANGE. */
static inline void *parray_at(const struct parray *a, size_t i)
{
	if (i >= parray_count(a)) {
		errno = ERANGE;
		return NULL;
	}
	return parray_place(a, i);
}
/* ERANGE. */
int parray_set(struct parray *a, size_t i, const void *value);
/* Adds behind the last one. value NULL: zeros; it may be an element of the same vector. Returns the new element, or NULL. */
void *parray_push(struct parray *a, const void *value);
/* The same with zeros. */
static inline void *parray_add(struct parray *a)
{
	size_t count = parray_count(a);

	if (count == parray_in_piece(a) + ((size_t)a->chunks << a->shift))
		return parray_push(a, NULL);
	a->inverted_count--; /* one more */
	return parray_place(a, count);
}
/* Takes the last one: 1, or 0 if there is none. value, unless it is NULL, gets it. */
int parray_pop(struct parray *a, void *value);
/* n elements before element i (or behind the last one); values NULL: zeros, else they lie elsewhere than in the vector. All that is
 * behind moves. Returns the first of them. ERANGE; EINVAL: n is 0. */
void *parray_insert(struct parray *a, size_t i, const void *values, size_t n);
/* Takes n elements out, from i on; all that is behind moves. ERANGE: not all are there, none is taken. */
int parray_remove(struct parray *a, size_t i, size_t n);
/* More are zeros, which touches no memory that it need not; of fewer, whole pieces are given back. */
int parray_resize(struct parray *a, size_t n);
/* Room for n in all: no push or insert up to there fails, or asks for memory. */
int parray_reserve(struct parray *a, size_t n);
/* Gives back room that is not used, but for less than 64 KiB. */
int parray_fit(struct parray *a);
/* The elements as one C array, with all the room that there is, until more than that is put in. What is in pieces is copied once. Never NULL
 * but for ENOMEM. So a vector that has its parray_reserve and parray_data first stays a C array at the same address up to that size. */
void *parray_data(struct parray *a);
/* Elements from i on, as many as lie one behind another: *n of them. NULL and *n 0 behind the last one. All of a vector:
 *
 *     for (size_t i = 0, n; (p = parray_run(a, i, &n)); i += n) */
void *parray_run(const struct parray *a, size_t i, size_t *n);

/* < 0, 0, > 0. */
typedef int parray_compare_fn(const void *x, const void *y, void *arg);
/* Equal ones in no certain order. Pages on which nothing changes place are not written to. Takes volatile memory for a copy: ENOMEM. */
int parray_sort(struct parray *a, parray_compare_fn *compare, void *arg);
/* In a sorted vector: the first element that is equal to key, or NULL. *at, unless it is NULL: the index of the first that is not below key. */
void *parray_search(const struct parray *a, const void *key, parray_compare_fn *compare, void *arg, size_t *at);

/* In which elements two vectors differ, by index, ascending: fn for each, until it returns non-zero, which is returned. Elements that only the longer one
 * has are added, or removed. Pointers to the same place in both are the same (pSame); what they lead to is not looked at.
 *
 * Where the two are in containers that are open beside each other (views, clones, the live one; see pDiffer), only pieces in memory that differs
 * are compared; else all is. ENOMEM; EINVAL: elements are of different sizes. */
int parray_diff(const struct parray *old_array, const struct parray *new_array, pchange_fn *fn, void *arg);
/* Brings into ours what theirs has changed since both were as base, by index. What both changed, and not to the same, is a conflict (common.h). So
 * it suits vectors in which a place means something; where things are inserted and removed, all that is behind has changed.
 *
 * A vector has no holes. Elements that theirs has removed go if all that is behind them goes too; and if one comes in that theirs has beyond the end
 * of ours, those between come with it. how NULL: conflicts are left in *result, and bytes are copied.
 *
 * ENOMEM: nothing was merged, unless it is for the list of conflicts, or copy said so; EINVAL: elements are of different sizes, or hold pointers and there is
 * no how->copy; ECANCELED: PMERGE_STOP. On failure *result is empty. */
int parray_merge(const struct parray *base, struct parray *ours, const struct parray *theirs, const struct pmerge *how,
                 struct pmerged *result);

/* A run of a vector's elements, known by index: it stays good when the vector grows, and elements that are gone from the vector are gone
 * from it. No memory of its own; it may be kept in the heap. */
struct parray_run {
	const struct parray *array;        /* NULL: none */
	size_t marked_start, marked_count; /* the top bit is set beside them */
};
#define PARRAY_MARK ((size_t)1 << 63)
static inline size_t parray_slice_count(struct parray_run s)
{
	return s.marked_count & ~PARRAY_MARK;
}
/* array NULL and ERANGE: not all are there. */
static inline struct parray_run parray_slice(const struct parray *a, size_t start, size_t count)
{
	struct parray_run s = {NULL, 0, 0};

	if (start > parray_count(a) || count > parray_count(a) - start) {
		errno = ERANGE;
		return s;
	}
	s.array = a;
	s.marked_start = start | PARRAY_MARK;
	s.marked_count = count | PARRAY_MARK;
	return s;
}
/* A part of it: start is counted from its first. */
static inline struct parray_run parray_slice_slice(struct parray_run s, size_t start, size_t count)
{
	struct parray_run none = {NULL, 0, 0};

	if (start > parray_slice_count(s) || count > parray_slice_count(s) - start || !s.array) {
		errno = ERANGE;
		return none;
	}
	return parray_slice(s.array, (s.marked_start & ~PARRAY_MARK) + start, count);
}
/* ERANGE. */
static inline void *parray_slice_at(struct parray_run s, size_t i)
{
	if (i >= parray_slice_count(s)) {
		errno = ERANGE;
		return NULL;
	}
	return parray_at(s.array, (s.marked_start & ~PARRAY_MARK) + i);
}

/* C only. A vector of T: struct NAME, and functions NAME_... as those above that take and give a T. T is what can be assigned: no array. */
#define PARRAY_OF(name, T) PARRAY_WITH(name, T, PDS_MAY_POINT(T) ? 0 : PARRAY_PLAIN)
/* The same where T is a structure without pointers: discovery does not look at its numbers then, and merging needs no function that copies. */
#define PARRAY_PLAIN_OF(name, T) PARRAY_WITH(name, T, PARRAY_PLAIN)
#define PARRAY_WITH(name, T, FLAGS)                                                                                    \
	struct name {                                                                                                  \
		struct parray array;                                                                                   \
		__extension__ T *value_of_[0];                                                                         \
	};                                                                                                             \
	struct name##_slice {                                                                                          \
		struct parray_run run;                                                                                 \
	};                                                                                                             \
	struct name##_order {                                                                                          \
		int (*compare)(T const *x, T const *y, void *arg);                                                     \
		void *arg;                                                                                             \
	};                                                                                                             \
	_Static_assert(_Alignof(T) <= 16, "elements of " #name " are aligned to more than 16 bytes");                  \
	enum { name##_flags = (FLAGS) };                                                                               \
	PDS_INLINE struct name *name##_make(void)                                                                      \
	{                                                                                                              \
		return (struct name *)parray_make(sizeof(T), name##_flags);                                            \
	}                                                                                                              \
	PDS_INLINE void name##_free(struct name *a)                                                                    \
	{                                                                                                              \
		parray_free((struct parray *)a);                                                                       \
	}                                                                                                              \
	PDS_INLINE int name##_init(struct name *a)                                                                     \
	{                                                                                                              \
		return parray_init(&a->array, sizeof(T), name##_flags);                                                \
	}                                                                                                              \
	PDS_INLINE void name##_clear(struct name *a)                                                                   \
	{                                                                                                              \
		parray_clear(&a->array);                                                                               \
	}                                                                                                              \
	PDS_INLINE size_t name##_count(const struct name *a)                                                           \
	{                                                                                                              \
		return parray_count(&a->array);                                                                        \
	}                                                                                                              \
	PDS_INLINE T *name##_at(const struct name *a, size_t i)                                                        \
	{                                                                                                              \
		if (i >= parray_count(&a->array)) {                                                                    \
			errno = ERANGE;                                                                                \
			return NULL;                                                                                   \
		}                                                                                                      \
		return (T *)parray_place_of(&a->array, i, sizeof(T), parray_shift(sizeof(T)));                         \
	}                                                                                                              \
	PDS_INLINE int name##_set(struct name *a, size_t i, T value)                                                   \
	{                                                                                                              \
		T *at = name##_at(a, i);                                                                               \
                                                                                                                       \
		if (!at)                                                                                               \
			return -1;                                                                                     \
		*at = value;                                                                                           \
		return 0;                                                                                              \
	}                                                                                                              \
	PDS_INLINE T *name##_push(struct name *a, T value)                                                             \
	{                                                                                                              \
		T *at = (T *)parray_add(&a->array);                                                                    \
                                                                                                                       \
		if (at)                                                                                                \
			*at = value;                                                                                   \
		return at;                                                                                             \
	}                                                                                                              \
	PDS_INLINE int name##_pop(struct name *a, T *value)                                                            \
	{                                                                                                              \
		return parray_pop(&a->array, value);                                                                   \
	}                                                                                                              \
	PDS_INLINE T *name##_insert(struct name *a, size_t i, T const *values, size_t n)                               \
	{                                                                                                              \
		return (T *)parray_insert(&a->array, i, values, n);                                                    \
	}                                                                                                              \
	PDS_INLINE int name##_remove(struct name *a, size_t i, size_t n)                                               \
	{                                                                                                              \
		return parray_remove(&a->array, i, n);                                                                 \
	}                                                                                                              \
	PDS_INLINE int name##_resize(struct name *a, size_t n)                                                         \
	{                                                                                                              \
		return parray_resize(&a->array, n);                                                                    \
	}                                                                                                              \
	PDS_INLINE int name##_reserve(struct name *a, size_t n)                                                        \
	{                                                                                                              \
		return parray_reserve(&a->array, n);                                                                   \
	}                                                                                                              \
	PDS_INLINE int name##_fit(struct name *a)                                                                      \
	{                                                                                                              \
		return parray_fit(&a->array);                                                                          \
	}                                                                                                              \
	PDS_INLINE T *name##_data(struct name *a)                                                                      \
	{                                                                                                              \
		return (T *)parray_data(&a->array);                                                                    \
	}                                                                                                              \
	PDS_INLINE T *name##_run(const struct name *a, size_t i, size_t *n)                                            \
	{                                                                                                              \
		return (T *)parray_run(&a->array, i, n);                                                               \
	}                                                                                                              \
	PDS_INLINE int name##_compare(const void *x, const void *y, void *arg)                                         \
	{                                                                                                              \
		const struct name##_order *order = (const struct name##_order *)arg;                                   \
                                                                                                                       \
		return order->compare((T const *)x, (T const *)y, order->arg);                                         \
	}                                                                                                              \
	PDS_INLINE int name##_sort(struct name *a, int (*compare)(T const *x, T const *y, void *arg), void *arg)       \
	{                                                                                                              \
		struct name##_order order = {compare, arg};                                                            \
                                                                                                                       \
		return parray_sort(&a->array, name##_compare, &order);                                                 \
	}                                                                                                              \
	PDS_INLINE T *name##_search(const struct name *a, T const *key,                                                \
	                            int (*compare)(T const *x, T const *y, void *arg), void *arg, size_t *at)          \
	{                                                                                                              \
		struct name##_order order = {compare, arg};                                                            \
                                                                                                                       \
		return (T *)parray_search(&a->array, key, name##_compare, &order, at);                                 \
	}                                                                                                              \
	PDS_INLINE int name##_diff(const struct name *old, const struct name *new, pchange_fn *fn, void *arg)          \
	{                                                                                                              \
		return parray_diff(&old->array, &new->array, fn, arg);                                                 \
	}                                                                                                              \
	PDS_INLINE int name##_merge(const struct name *base, struct name *ours, const struct name *theirs,             \
	                            const struct pmerge *how, struct pmerged *result)                                  \
	{                                                                                                              \
		return parray_merge(&base->array, &ours->array, &theirs->array, how, result);                          \
	}                                                                                                              \
	PDS_INLINE struct name##_slice name##_slice(const struct name *a, size_t start, size_t count)                  \
	{                                                                                                              \
		struct name##_slice s = {parray_slice(&a->array, start, count)};                                       \
                                                                                                                       \
		return s;                                                                                              \
	}                                                                                                              \
	PDS_INLINE struct name##_slice name##_slice_slice(struct name##_slice s, size_t start, size_t count)           \
	{                                                                                                              \
		s.run = parray_slice_slice(s.run, start, count);                                                       \
		return s;                                                                                              \
	}                                                                                                              \
	PDS_INLINE size_t name##_slice_count(struct name##_slice s)                                                    \
	{                                                                                                              \
		return parray_slice_count(s.run);                                                                      \
	}                                                                                                              \
	PDS_INLINE T *name##_slice_at(struct name##_slice s, size_t i)                                                 \
	{                                                                                                              \
		return (T *)parray_slice_at(s.run, i);                                                                 \
	}                                                                                                              \
	struct name

/* ---- several dimensions ---- */

enum { PNDARRAY_DIMS = 8 };

/* Elements of an array, or of part of it, by indices: a rectangle of it, every second row, a column, its transpose. No memory of its
 * own; it is good as long as the array is there, and may be kept in the heap. Numbers in it are marked, so that none looks like an address. */
struct pndview {
	void *data;     /* element 0, 0, ... */
	uint32_t bytes; /* of an element */
	uint16_t dims, ones;
	size_t marked_shape[PNDARRAY_DIMS];
	size_t marked_stride
	        [PNDARRAY_DIMS]; /* bytes from one element to the next along each dimension; may be negative */
};
#define PNDVIEW_MARK ((size_t)1 << 62)
static inline size_t pndview_shape(const struct pndview *v, unsigned dim)
{
	return dim < v->dims ? v->marked_shape[dim] ^ PNDVIEW_MARK : 0;
}
static inline ptrdiff_t pndview_stride(const struct pndview *v, unsigned dim)
{
	return dim < v->dims ? (ptrdiff_t)(v->marked_stride[dim] ^ PNDVIEW_MARK) : 0;
}
/* Its elements are one C array in which the last index runs fastest: all.data. */
struct pndarray {
	struct pndview all;
};

/* Indices, or a shape: two arguments of the functions that take dims and a row of numbers. C only. */
#define PINDEX(...)                                                                                                    \
	((unsigned)(sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))), ((const size_t[]){__VA_ARGS__})

/* Zeroed. EINVAL: dims is 0 or more than PNDARRAY_DIMS, or bytes is 0, or 4 GiB and more. */
struct pndarray *pndarray_make(size_t bytes, unsigned flags, unsigned dims, const size_t *shape);
void pndarray_free(struct pndarray *a); /* NULL: nothing */
/* An array of its own with the elements of a view. */
struct pndarray *pndarray_copy(const struct pndview *v, unsigned flags);

/* How many elements. */
size_t pndview_count(const struct pndview *v);
/* ERANGE; EINVAL: another number of dimensions. */
static inline void *pndview_at(const struct pndview *v, unsigned dims, const size_t *index)
{
	char *at = (char *)v->data;

	if (dims != v->dims) {
		errno = EINVAL;
		return NULL;
	}
	for (unsigned d = 0; d < dims; d++) {
		if (index[d] >= pndview_shape(v, d)) {
			errno = ERANGE;
			return NULL;
		}
		at += (ptrdiff_t)index[d] * pndview_stride(v, d);
	}
	return at;
}
/* Those with indices start, start + step, ... along a dimension, count of them; step is not 0. A view without dimensions, and ERANGE: not all
 * are there; EINVAL. */
struct pndview pndview_slice(const struct pndview *v, unsigned dim, size_t start, size_t count, ptrdiff_t step);
/* Those that have this index in a dimension, which is gone: a row, a column, a plane. ERANGE; EINVAL, also if it is the only dimension. */
struct pndview pndview_pick(const struct pndview *v, unsigned dim, size_t index);
/* Two dimensions change places. EINVAL. */
struct pndview pndview_swap(const struct pndview *v, unsigned dim, unsigned other);
/* To the next indices, the last running fastest: true; behind the last element: all 0, false. EINVAL, and false: another number of dimensions.
 *
 *     size_t index[2] = {0, 0};
 *     do
 *             use(pndview_at(v, 2, index));
 *     while (pndview_next(v, 2, index));        (if there is an element at all) */
bool pndview_next(const struct pndview *v, unsigned dims, size_t *index);

/* C only. Arrays of T: struct NAME, views of them: struct NAME_view, and functions that take and give a T. */
#define PNDARRAY_OF(name, T) PNDARRAY_WITH(name, T, PDS_MAY_POINT(T) ? 0 : PARRAY_PLAIN)
#define PNDARRAY_PLAIN_OF(name, T) PNDARRAY_WITH(name, T, PARRAY_PLAIN)
#define PNDARRAY_WITH(name, T, FLAGS)                                                                                  \
	struct name {                                                                                                  \
		struct pndarray array;                                                                                 \
	};                                                                                                             \
	struct name##_view {                                                                                           \
		struct pndview view;                                                                                   \
	};                                                                                                             \
	_Static_assert(_Alignof(T) <= 16, "elements of " #name " are aligned to more than 16 bytes");                  \
	enum { name##_flags = (FLAGS) };                                                                               \
	PDS_INLINE struct name *name##_make(unsigned dims, const size_t *shape)                                        \
	{                                                                                                              \
		return (struct name *)pndarray_make(sizeof(T), name##_flags, dims, shape);                             \
	}                                                                                                              \
	PDS_INLINE void name##_free(struct name *a)                                                                    \
	{                                                                                                              \
		pndarray_free((struct pndarray *)a);                                                                   \
	}                                                                                                              \
	PDS_INLINE T *name##_data(const struct name *a)                                                                \
	{                                                                                                              \
		return (T *)a->array.all.data;                                                                         \
	}                                                                                                              \
	PDS_INLINE T *name##_at(const struct name *a, unsigned dims, const size_t *index)                              \
	{                                                                                                              \
		return (T *)pndview_at(&a->array.all, dims, index);                                                    \
	}                                                                                                              \
	PDS_INLINE size_t name##_shape(const struct name *a, unsigned dim)                                             \
	{                                                                                                              \
		return pndview_shape(&a->array.all, dim);                                                              \
	}                                                                                                              \
	PDS_INLINE struct name##_view name##_all(const struct name *a)                                                 \
	{                                                                                                              \
		struct name##_view v = {a->array.all};                                                                 \
                                                                                                                       \
		return v;                                                                                              \
	}                                                                                                              \
	PDS_INLINE struct name##_view name##_view_slice(struct name##_view v, unsigned dim, size_t start,              \
	                                                size_t count, ptrdiff_t step)                                  \
	{                                                                                                              \
		v.view = pndview_slice(&v.view, dim, start, count, step);                                              \
		return v;                                                                                              \
	}                                                                                                              \
	PDS_INLINE struct name##_view name##_view_pick(struct name##_view v, unsigned dim, size_t index)               \
	{                                                                                                              \
		v.view = pndview_pick(&v.view, dim, index);                                                            \
		return v;                                                                                              \
	}                                                                                                              \
	PDS_INLINE struct name##_view name##_view_swap(struct name##_view v, unsigned dim, unsigned other)             \
	{                                                                                                              \
		v.view = pndview_swap(&v.view, dim, other);                                                            \
		return v;                                                                                              \
	}                                                                                                              \
	PDS_INLINE T *name##_view_at(struct name##_view v, unsigned dims, const size_t *index)                         \
	{                                                                                                              \
		return (T *)pndview_at(&v.view, dims, index);                                                          \
	}                                                                                                              \
	PDS_INLINE size_t name##_view_shape(struct name##_view v, unsigned dim)                                        \
	{                                                                                                              \
		return pndview_shape(&v.view, dim);                                                                    \
	}                                                                                                              \
	PDS_INLINE bool name##_view_next(struct name##_view v, unsigned dims, size_t *index)                           \
	{                                                                                                              \
		return pndview_next(&v.view, dims, index);                                                             \
	}                                                                                                              \
	PDS_INLINE struct name *name##_copy(struct name##_view v)                                                      \
	{                                                                                                              \
		return (struct name *)pndarray_copy(&v.view, name##_flags);                                            \
	}                                                                                                              \
	struct name

#ifdef __cplusplus
}
#endif
#endif
