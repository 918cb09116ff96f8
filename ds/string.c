/* string.c - strings that know their length, see <softpm/string.h>.
 *
 * Invariants (checked by spm_string_check)
 *  1. With bytes, length is at most room, and bytes has room + 1 of them; without, both are 0.
 *  2. bytes[length] is zero.
 *
 * A string's old bytes are freed only after the new ones were copied, for these may be some of the old ones.
 */
#include "string.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool spm_string_check(const struct pstring *s)
{
	if (!s->bytes)
		return !s->length && !s->room;
	return s->length <= s->room && s->room < pUsableSize(s->bytes) && !s->bytes[s->length];
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
	if (s->length)
		memcpy(bytes, s->bytes, s->length);
	*old = s->bytes;
	s->bytes = bytes;
	s->room = room;
	return 0;
}

/* Room for `more` bytes beside those that are there. */
static int grow(struct pstring *s, size_t more, char **old)
{
	size_t n, wished;

	*old = NULL;
	if (more <= s->room - s->length && s->bytes)
		return 0;
	if (__builtin_add_overflow(s->length, more, &n)) {
		errno = ENOMEM;
		return -1;
	}
	wished = s->room + s->room / 2;
	return move(s, n > wished ? n : wished, old);
}

int pstring_reserve(struct pstring *s, size_t n)
{
	char *old = NULL;

	if (n > s->room && move(s, n, &old))
		return -1;
	pFree(old);
	return 0;
}

int pstring_fit(struct pstring *s)
{
	char *old = NULL;

	if (!s->length)
		pstring_clear(s);
	else if (s->room > s->length && move(s, s->length, &old))
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
	bool is_own = from <= s->length && s->bytes;
	char *old;

	if (at > s->length) {
		errno = ERANGE;
		return -1;
	}
	if (grow(s, n, &old))
		return -1;
	memmove(s->bytes + at + n, s->bytes + at, s->length - at);
	if (is_own)
		fill_from_itself(s->bytes, at, from, n);
	else if (n)
		memcpy(s->bytes + at, bytes, n);
	s->length += n;
	s->bytes[s->length] = 0;
	pFree(old);
	return 0;
}

int pstring_append(struct pstring *s, const void *bytes, size_t n)
{
	return pstring_insert(s, s->length, bytes, n);
}

int pstring_add(struct pstring *s, const char *text)
{
	return pstring_append(s, text, strlen(text));
}

int pstring_set(struct pstring *s, const void *bytes, size_t n)
{
	size_t room;
	char *fresh;

	if (n > s->room || !s->bytes) {
		fresh = bytes_make(n, &room);
		if (!fresh)
			return -1;
		if (n)
			memcpy(fresh, bytes, n);
		pFree(s->bytes);
		*s = (struct pstring){.room = room, .bytes = fresh};
	} else if (n) {
		memmove(s->bytes, bytes, n);
	}
	s->length = n;
	s->bytes[n] = 0;
	return 0;
}

int pstring_remove(struct pstring *s, size_t at, size_t n)
{
	if (at > s->length || n > s->length - at) {
		errno = ERANGE;
		return -1;
	}
	if (!n)
		return 0;
	memmove(s->bytes + at, s->bytes + at + n, s->length - at - n);
	s->length -= n;
	s->bytes[s->length] = 0;
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
	size_t n = a->length < b->length ? a->length : b->length;
	int order = n ? memcmp(a->bytes, b->bytes, n) : 0;

	return order ? order : (a->length > b->length) - (a->length < b->length);
}

size_t pstring_find(const struct pstring *s, size_t from, const void *bytes, size_t n)
{
	const char *found;

	if (from > s->length || n > s->length - from)
		return PSTRING_NONE;
	if (!n)
		return from;
	found = memmem(s->bytes + from, s->length - from, bytes, n);
	return found ? (size_t)(found - s->bytes) : PSTRING_NONE;
}

struct pstring_run pstring_slice(const struct pstring *s, size_t at, size_t n)
{
	if (at > s->length || n > s->length - at) {
		errno = ERANGE;
		return (struct pstring_run){NULL, 0};
	}
	return (struct pstring_run){pstring_c_str(s) + at, n};
}
