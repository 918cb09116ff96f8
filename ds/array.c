/* array.c - vectors that grow, see <softpm/array.h>.
 *
 *   struct parray    piece   [0 .. in_piece)                    up to 64 KiB, or as large as parray_data made it
 *                    chunk ->  [0] [in_piece .. in_piece + c)    c = 1 << shift elements, 32 to 64 KiB
 *                              [1] [in_piece + c .. + 2c)        (one element, if it is larger than that)
 *                              ...
 *
 * As long as there are no chunks the piece is made larger, by copying; with the first chunk it is done with that, so nothing that is
 * in a large vector moves as it grows. Chunks are not larger because a point writes all pages of an object that it finds for the
 * first time, also those that nobody has touched: room that is not used yet costs as much as elements.
 *
 * Invariants (checked by spm_array_check)
 *  1. Room, in_piece + chunks << shift, is at least count; the row of pointers to chunks has CHUNK_ROW places, or if there are more, to the next power
 *     of two at least.
 *  2. With chunks, the piece has room for one chunk's elements at least.
 *  3. What lies between the count and the end of the room is zero: so pushing zeros, and resizing, touch nothing, and elements that are gone
 *     keep nothing alive.
 */
#include "array.h"
#include "misuse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t MAGIC = 0xf0617231;
enum { CHUNK_ROW = 8 };

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void in_piece_set(struct parray *a, size_t n)
{
	a->inverted_in_piece = ~n;
}

static void count_set(struct parray *a, size_t n)
{
	a->inverted_count = ~n;
}

static size_t room(const struct parray *a)
{
	return parray_in_piece(a) + ((size_t)a->chunks << a->shift);
}

/* Memory for n elements; NULL: ENOMEM. */
static void *piece_make(const struct parray *a, size_t n)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, a->bytes, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return a->flags & PARRAY_PLAIN ? pMallocNoPtr(bytes) : pMalloc(bytes);
}

/* How many elements lie one behind another from place i on; i is below the room. */
static size_t run_from(const struct parray *a, size_t i)
{
	size_t in_chunk = (size_t)1 << a->shift;

	return i < parray_in_piece(a) ? parray_in_piece(a) - i : in_chunk - ((i - parray_in_piece(a)) & (in_chunk - 1));
}

/* How many end with the one before place i; i is not 0. */
static size_t run_before(const struct parray *a, size_t i)
{
	return i <= parray_in_piece(a) ? i : ((i - parray_in_piece(a) - 1) & (((size_t)1 << a->shift) - 1)) + 1;
}

bool spm_array_check(const struct parray *a)
{
	static const char zeros[256];

	if (a->magic != MAGIC || parray_count(a) > room(a) || a->ones != UINT16_MAX ||
	    a->shift != parray_shift(a->bytes))
		return false;
	if (a->chunks && parray_in_piece(a) < (size_t)1 << a->shift)
		return false;
	for (size_t i = parray_count(a); i < room(a); i++)
		for (size_t at = 0; at < a->bytes; at += sizeof(zeros))
			if (memcmp((char *)parray_place(a, i) + at, zeros, least(a->bytes - at, sizeof(zeros))))
				return false;
	return true;
}

static void must_be(const struct parray *a)
{
	spm_must(a->magic == MAGIC && parray_count(a) <= room(a),
	         "a parray_ function was given no vector, or one that was freed");
}

/* ---- making ---- */

int parray_init(struct parray *a, size_t bytes, unsigned flags)
{
	if (!bytes || bytes > UINT32_MAX) {
		errno = EINVAL;
		return -1;
	}
	*a = (struct parray){.inverted_count = ~(size_t)0,
	                     .inverted_in_piece = ~(size_t)0,
	                     .bytes = (uint32_t)bytes,
	                     .magic = MAGIC,
	                     .shift = (uint8_t)parray_shift(bytes),
	                     .flags = (uint8_t)flags,
	                     .ones = UINT16_MAX};
	return 0;
}

struct parray *parray_make(size_t bytes, unsigned flags)
{
	struct parray *a = pMalloc(sizeof(*a));

	if (a && parray_init(a, bytes, flags)) {
		pFree(a);
		return NULL;
	}
	return a;
}

/* Gives back chunks until so many are left. */
static void chunks_drop(struct parray *a, size_t left)
{
	while (a->chunks > left) {
		pFree(a->chunk[--a->chunks]);
		a->chunk[a->chunks] = NULL;
	}
	if (!a->chunks) {
		pFree(a->chunk);
		a->chunk = NULL;
	}
}

void parray_clear(struct parray *a)
{
	must_be(a);
	count_set(a, 0);
	chunks_drop(a, 0);
	pFree(a->piece);
	a->piece = NULL;
	in_piece_set(a, 0);
}

void parray_free(struct parray *a)
{
	if (!a)
		return;
	parray_clear(a);
	a->magic = 0;
	pFree(a);
}

/* ---- growing ---- */

/* A row of pointers with room for one more. */
static int row_grow(struct parray *a)
{
	size_t n = a->chunks;
	void **row;

	if (n && (n < CHUNK_ROW || n & (n - 1)))
		return 0;
	row = pMalloc((n ? 2 * n : CHUNK_ROW) * sizeof(*row));
	if (!row)
		return -1;
	if (n)
		memcpy(row, a->chunk, n * sizeof(*row));
	pFree(a->chunk);
	a->chunk = row;
	return 0;
}

static int chunk_add(struct parray *a)
{
	void *chunk;

	if (row_grow(a))
		return -1;
	chunk = piece_make(a, (size_t)1 << a->shift);
	if (!chunk)
		return -1;
	a->chunk[a->chunks++] = chunk;
	return 0;
}

/* Copies the elements, of which none are in chunks, to a piece for n of them, or as many as fill its slot. The caller has the old one. */
static int piece_replace(struct parray *a, size_t n, void **old)
{
	void *piece = piece_make(a, n);

	if (!piece)
		return -1;
	if (parray_count(a))
		memcpy(piece, a->piece, parray_count(a) * a->bytes);
	*old = a->piece;
	a->piece = piece;
	in_piece_set(a, pUsableSize(piece) / a->bytes);
	return 0;
}

/* What of n elements is beyond the piece, in chunks; the piece has one chunk's elements at least, then. */
static size_t chunks_for(const struct parray *a, size_t n)
{
	size_t in_chunk = (size_t)1 << a->shift,
	       in_piece = parray_in_piece(a) > in_chunk ? parray_in_piece(a) : in_chunk;

	return n <= in_piece ? 0 : ((n - in_piece - 1) >> a->shift) + 1;
}

/* Room for n. *old: to be freed when nothing in it is needed any more. On failure all is as it was. */
static int grow(struct parray *a, size_t n, void **old)
{
	size_t in_chunk = (size_t)1 << a->shift, wished = n > 2 * parray_in_piece(a) ? n : 2 * parray_in_piece(a);
	uint32_t before = a->chunks;

	*old = NULL;
	if (n <= room(a))
		return 0;
	if (chunks_for(a, n) > UINT32_MAX / 2) {
		errno = ENOMEM;
		return -1;
	}
	while (a->chunks < chunks_for(a, n))
		if (chunk_add(a))
			goto fail;
	if (parray_in_piece(a) < in_chunk && piece_replace(a, least(wished, in_chunk), old))
		goto fail;
	return 0;
fail:
	chunks_drop(a, before);
	return -1;
}

int parray_reserve(struct parray *a, size_t n)
{
	void *old;

	must_be(a);
	if (grow(a, n, &old))
		return -1;
	pFree(old);
	return 0;
}

void *parray_push(struct parray *a, const void *value)
{
	void *at, *old = NULL;

	must_be(a);
	if (parray_count(a) == room(a) && grow(a, parray_count(a) + 1, &old))
		return NULL;
	at = parray_place(a, parray_count(a));
	if (value)
		memcpy(at, value, a->bytes);
	count_set(a, parray_count(a) + 1);
	pFree(old);
	return at;
}

/* ---- changing ---- */

static void clear(struct parray *a, size_t from, size_t end)
{
	for (size_t run; from < end; from += run) {
		run = least(run_from(a, from), end - from);
		memset(parray_place(a, from), 0, run * a->bytes);
	}
}

int parray_set(struct parray *a, size_t i, const void *value)
{
	void *at = parray_at(a, i);

	if (!at)
		return -1;
	memcpy(at, value, a->bytes);
	return 0;
}

int parray_pop(struct parray *a, void *value)
{
	void *at;

	must_be(a);
	if (!parray_count(a))
		return 0;
	at = parray_place(a, parray_count(a) - 1);
	if (value)
		memcpy(value, at, a->bytes);
	memset(at, 0, a->bytes);
	count_set(a, parray_count(a) - 1);
	return 1;
}

/* Elements on their way to higher places: from the last one on, as long as both sides lie in one piece. */
static void move_up(struct parray *a, size_t from, size_t to, size_t n)
{
	while (n) {
		size_t run = least(n, least(run_before(a, from + n), run_before(a, to + n)));

		n -= run;
		memmove(parray_place(a, to + n), parray_place(a, from + n), run * a->bytes);
	}
}

static void move_down(struct parray *a, size_t from, size_t to, size_t n)
{
	for (size_t run, at = 0; at < n; at += run) {
		run = least(n - at, least(run_from(a, from + at), run_from(a, to + at)));
		memmove(parray_place(a, to + at), parray_place(a, from + at), run * a->bytes);
	}
}

static void put(struct parray *a, size_t i, const void *values, size_t n)
{
	for (size_t run, at = 0; at < n; at += run) {
		run = least(n - at, run_from(a, i + at));
		memcpy(parray_place(a, i + at), (const char *)values + at * a->bytes, run * a->bytes);
	}
}

void *parray_insert(struct parray *a, size_t i, const void *values, size_t n)
{
	size_t count;
	void *old;

	must_be(a);
	if (i > parray_count(a) || !n) {
		errno = n ? ERANGE : EINVAL;
		return NULL;
	}
	if (__builtin_add_overflow(parray_count(a), n, &count)) {
		errno = ENOMEM;
		return NULL;
	}
	if (grow(a, count, &old))
		return NULL;
	pFree(old);
	move_up(a, i, i + n, parray_count(a) - i);
	if (values)
		put(a, i, values, n);
	else
		clear(a, i, least(i + n, parray_count(a)));
	count_set(a, count);
	return parray_place(a, i);
}

int parray_remove(struct parray *a, size_t i, size_t n)
{
	must_be(a);
	if (i > parray_count(a) || n > parray_count(a) - i) {
		errno = ERANGE;
		return -1;
	}
	move_down(a, i + n, i, parray_count(a) - i - n);
	clear(a, parray_count(a) - n, parray_count(a));
	count_set(a, parray_count(a) - n);
	return 0;
}

int parray_resize(struct parray *a, size_t n)
{
	size_t before = parray_count(a);

	if (n >= before) {
		if (parray_reserve(a, n))
			return -1;
		count_set(a, n);
		return 0;
	}
	must_be(a);
	count_set(a, n);
	chunks_drop(a, least(a->chunks, chunks_for(a, n)));
	clear(a, n, least(before, room(a)));
	return 0;
}

int parray_fit(struct parray *a)
{
	void *old = NULL;

	must_be(a);
	chunks_drop(a, least(a->chunks, chunks_for(a, parray_count(a))));
	if (!parray_count(a))
		parray_clear(a);
	else if (!a->chunks && parray_in_piece(a) > parray_count(a) && piece_replace(a, parray_count(a), &old))
		return -1;
	pFree(old);
	return 0;
}

/* ---- as C arrays ---- */

void *parray_run(const struct parray *a, size_t i, size_t *n)
{
	must_be(a);
	*n = i < parray_count(a) ? least(run_from(a, i), parray_count(a) - i) : 0;
	return *n ? parray_place(a, i) : NULL;
}

/* All elements, one behind another. */
static void copy_out(const struct parray *a, char *to)
{
	for (size_t i = 0, n; i < parray_count(a); i += n) {
		const void *run = parray_run(a, i, &n);

		memcpy(to + i * a->bytes, run, n * a->bytes);
	}
}

void *parray_data(struct parray *a)
{
	size_t n = room(a);
	char *piece;

	must_be(a);
	if (a->piece && !a->chunks)
		return a->piece;
	n = n ? n : 1;
	piece = piece_make(a, n);
	if (!piece)
		return NULL;
	copy_out(a, piece);
	chunks_drop(a, 0);
	pFree(a->piece);
	a->piece = piece;
	in_piece_set(a, n);
	return piece;
}

/* ---- order ---- */

int parray_sort(struct parray *a, parray_compare_fn *compare, void *arg)
{
	char *sorted;

	must_be(a);
	if (parray_count(a) < 2)
		return 0;
	sorted = malloc(parray_count(a) * a->bytes);
	if (!sorted)
		return -1;
	copy_out(a, sorted);
	qsort_r(sorted, parray_count(a), a->bytes, compare, arg);
	for (size_t i = 0; i < parray_count(a); i++) {
		void *at = parray_place(a, i);

		if (memcmp(at, sorted + i * a->bytes, a->bytes))
			memcpy(at, sorted + i * a->bytes, a->bytes);
	}
	free(sorted);
	return 0;
}

void *parray_search(const struct parray *a, const void *key, parray_compare_fn *compare, void *arg, size_t *at)
{
	size_t low = 0, high = parray_count(a);

	must_be(a);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(parray_place(a, middle), key, arg) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (at)
		*at = low;
	return low < parray_count(a) && !compare(parray_place(a, low), key, arg) ? parray_place(a, low) : NULL;
}
