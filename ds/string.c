/* string.c - strings that know their length, see <softpm/string.h>.
 *
 * Invariants (checked by spm_string_check)
 *  1. With bytes, length is at most room, and bytes has room + 1 of them; both are marked. Without, both are 0.
 *  2. bytes[length] is zero.
 *
 * A string's old bytes are freed only after the new ones were copied, for these may be some of the old ones.
 */
#include "string.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t MARK = SIZE_MAX / 2 + 1;

static size_t room_of(const struct pstring *s)
{
	return s->marked_room & ~MARK;
}

static void room_set(struct pstring *s, size_t n)
{
	s->marked_room = n | MARK;
}

static void length_set(struct pstring *s, size_t n)
{
	s->marked_length = n | MARK;
}

bool spm_string_check(const struct pstring *s)
{
	if (!s->bytes)
		return !s->marked_length && !s->marked_room;
	return s->marked_length & s->marked_room & MARK && pstring_length(s) <= room_of(s) &&
	       room_of(s) < pUsableSize(s->bytes) && !s->bytes[pstring_length(s)];
}

/* ---- memory ---- */

/* Memory for a string of n bytes, and how many more there is room for. */
static char *bytes_make(size_t n, size_t *room)
{
	char *bytes = n == SIZE_MAX ? NULL : pMallocNoPtr(n + 1);

	if (bytes)
		*room = pUsableSize(bytes) - 1;
	else
		errno = ENOMEM;
	return bytes;
}

/* Moves the string to memory for n bytes. *old: what it had, to be freed. */
static int move(struct pstring *s, size_t n, char **old)
{
	size_t room;
	char *bytes = bytes_make(n, &room);

	if (!bytes)
		return -1;
	if (pstring_length(s))
		memcpy(bytes, s->bytes, pstring_length(s));
	*old = s->bytes;
	s->bytes = bytes;
	room_set(s, room);
	length_set(s, pstring_length(s));
	return 0;
}

/* Room for `more` bytes beside those that are there. */
static int grow(struct pstring *s, size_t more, char **old)
{
	size_t n, wished;

	*old = NULL;
	if (more <= room_of(s) - pstring_length(s) && s->bytes)
		return 0;
	if (__builtin_add_overflow(pstring_length(s), more, &n)) {
		errno = ENOMEM;
		return -1;
	}
	wished = room_of(s) + room_of(s) / 2;
	return move(s, n > wished ? n : wished, old);
}

int pstring_reserve(struct pstring *s, size_t n)
{
	char *old = NULL;

	if (n > room_of(s) && move(s, n, &old))
		return -1;
	pFree(old);
	return 0;
}

int pstring_fit(struct pstring *s)
{
	char *old = NULL;

	if (!pstring_length(s))
		pstring_clear(s);
	else if (room_of(s) > pstring_length(s) && move(s, pstring_length(s), &old))
		return -1;
	pFree(old);
	return 0;
}

void pstring_clear(struct pstring *s)
{
	pFree(s->bytes);
	*s = (struct pstring){0};
}

/* ---- making ---- */

struct pstring *pstring_make(void)
{
	return pMalloc(sizeof(struct pstring));
}

struct pstring *pstring_of(const void *bytes, size_t n)
{
	struct pstring *s = pstring_make();

	if (s && pstring_append(s, bytes, n)) {
		pFree(s);
		return NULL;
	}
	return s;
}

struct pstring *pstring_from(const char *text)
{
	return pstring_of(text, strlen(text));
}

void pstring_free(struct pstring *s)
{
	if (!s)
		return;
	pFree(s->bytes);
	pFree(s);
}

/* ---- changing ---- */

/* Where a byte of the string is after `n` bytes came in at `at`. */
static size_t shifted(size_t place, size_t at, size_t n)
{
	return place < at ? place : place + n;
}

/* Copies into the gap of n bytes at `at` what was, before the gap was made, at `from` in the string itself: it may lie on both sides. */
static void fill_from_itself(char *bytes, size_t at, size_t from, size_t n)
{
	size_t before = from < at ? (n < at - from ? n : at - from) : 0;

	memmove(bytes + at, bytes + from, before);
	memmove(bytes + at + before, bytes + shifted(from + before, at, n), n - before);
}

int pstring_insert(struct pstring *s, size_t at, const void *bytes, size_t n)
{
	size_t from = s->bytes ? (uintptr_t)bytes - (uintptr_t)s->bytes : SIZE_MAX;
	bool is_own = from <= pstring_length(s) && s->bytes;
	char *old;

	if (at > pstring_length(s)) {
		errno = ERANGE;
		return -1;
	}
	if (grow(s, n, &old))
		return -1;
	memmove(s->bytes + at + n, s->bytes + at, pstring_length(s) - at);
	if (is_own)
		fill_from_itself(s->bytes, at, from, n);
	else if (n)
		memcpy(s->bytes + at, bytes, n);
	length_set(s, pstring_length(s) + n);
	s->bytes[pstring_length(s)] = 0;
	pFree(old);
	return 0;
}

int pstring_append(struct pstring *s, const void *bytes, size_t n)
{
	return pstring_insert(s, pstring_length(s), bytes, n);
}

int pstring_add(struct pstring *s, const char *text)
{
	return pstring_append(s, text, strlen(text));
}

int pstring_set(struct pstring *s, const void *bytes, size_t n)
{
	size_t room;
	char *fresh;

	if (n > room_of(s) || !s->bytes) {
		fresh = bytes_make(n, &room);
		if (!fresh)
			return -1;
		if (n)
			memcpy(fresh, bytes, n);
		pFree(s->bytes);
		s->bytes = fresh;
		room_set(s, room);
	} else if (n) {
		memmove(s->bytes, bytes, n);
	}
	length_set(s, n);
	s->bytes[n] = 0;
	return 0;
}

int pstring_remove(struct pstring *s, size_t at, size_t n)
{
	if (at > pstring_length(s) || n > pstring_length(s) - at) {
		errno = ERANGE;
		return -1;
	}
	if (!n)
		return 0;
	memmove(s->bytes + at, s->bytes + at + n, pstring_length(s) - at - n);
	length_set(s, pstring_length(s) - n);
	s->bytes[pstring_length(s)] = 0;
	return 0;
}

/* Printed into volatile memory first: arguments may be of the same string. */
int pstring_vprintf(struct pstring *s, const char *format, va_list args)
{
	char *text;
	int n = vasprintf(&text, format, args), result;

	if (n < 0)
		return -1;
	result = pstring_append(s, text, (size_t)n);
	free(text);
	return result;
}

int pstring_printf(struct pstring *s, const char *format, ...)
{
	va_list args;
	int result;

	va_start(args, format);
	result = pstring_vprintf(s, format, args);
	va_end(args);
	return result;
}

/* ---- looking ---- */

int pstring_compare(const struct pstring *a, const struct pstring *b)
{
	size_t n = pstring_length(a) < pstring_length(b) ? pstring_length(a) : pstring_length(b);
	int order = n ? memcmp(a->bytes, b->bytes, n) : 0;

	return order ? order : (pstring_length(a) > pstring_length(b)) - (pstring_length(a) < pstring_length(b));
}

size_t pstring_find(const struct pstring *s, size_t from, const void *bytes, size_t n)
{
	const char *found;

	if (from > pstring_length(s) || n > pstring_length(s) - from)
		return PSTRING_NONE;
	if (!n)
		return from;
	found = memmem(s->bytes + from, pstring_length(s) - from, bytes, n);
	return found ? (size_t)(found - s->bytes) : PSTRING_NONE;
}

struct pstring_run pstring_slice(const struct pstring *s, size_t at, size_t n)
{
	if (at > pstring_length(s) || n > pstring_length(s) - at) {
		errno = ERANGE;
		return (struct pstring_run){NULL, 0};
	}
	return (struct pstring_run){pstring_c_str(s) + at, n};
}
