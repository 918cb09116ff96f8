/* string.h - strings that know their length, and grow.
 *
 *     struct person { struct pstring name; ... };             zeroed: an empty string
 *
 *     if (pstring_printf(&person->name, "%s %s", first, last))
 *             return -1;                                       (ENOMEM)
 *     puts(pstring_c_str(&person->name));
 *
 * Conventions are those of common.h. The bytes may be any, zeros too; behind the last one there is always a zero that does not count. They are
 * kept in memory that is never searched, so they can't hold pointers. What is asked for by place is checked: -1, or NULL, with
 * errno ERANGE where the string is shorter.
 */
#ifndef SOFTPM_STRING_H
#define SOFTPM_STRING_H

#include <softpm/common.h>

#include <stdarg.h>

#ifdef __cplusplus
extern "C" {
#endif

/* To be had from pstring_make, or as a part of something else: all zeros is an empty string. Its fields are for the functions below. It lies in
 * memory that is searched for pointers, where no number may look like an address: so the top bit is set beside lengths. */
struct pstring {
	size_t marked_length;
	size_t marked_room; /* bytes that memory is there for, without the last zero */
	char *bytes;        /* NULL: none yet; then the others are 0 */
};
/* Bytes of a string, or any others; no zero behind them. */
struct pstring_run {
	const char *bytes;
	size_t length;
};

struct pstring *pstring_make(void);
/* What is at text, up to its zero. */
struct pstring *pstring_from(const char *text);
struct pstring *pstring_of(const void *bytes, size_t n);
void pstring_free(struct pstring *s); /* NULL: nothing */
/* Gives back all memory, and leaves it empty: for strings that are part of something else. */
void pstring_clear(struct pstring *s);

static inline size_t pstring_length(const struct pstring *s)
{
	return s->marked_length & SIZE_MAX >> 1;
}
/* The bytes and the zero, good until the string changes. Never NULL. */
static inline const char *pstring_c_str(const struct pstring *s)
{
	return s->bytes ? s->bytes : "";
}

/* The functions below that take bytes may be given some of the same string. */

/* What was there before is gone. */
int pstring_set(struct pstring *s, const void *bytes, size_t n);
int pstring_append(struct pstring *s, const void *bytes, size_t n);
/* What is at text, up to its zero. */
int pstring_add(struct pstring *s, const char *text);
/* Appends as printf prints. EOVERFLOW, EILSEQ: as there. */
int pstring_printf(struct pstring *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
int pstring_vprintf(struct pstring *s, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
/* Before the byte at that place, or behind the last one. ERANGE. */
int pstring_insert(struct pstring *s, size_t at, const void *bytes, size_t n);
/* n bytes from there on. ERANGE: not all are there, none is taken. */
int pstring_remove(struct pstring *s, size_t at, size_t n);
/* Room for n bytes in all: nothing fails, or asks for memory, until there are more. */
int pstring_reserve(struct pstring *s, size_t n);
/* Gives back room that is not used. */
int pstring_fit(struct pstring *s);

/* As memcmp, and a beginning comes before the whole: < 0, 0, > 0. */
int pstring_compare(const struct pstring *a, const struct pstring *b);
/* Place of the first such bytes that begin at `from` or later; PSTRING_NONE: there are none. */
#define PSTRING_NONE SIZE_MAX
size_t pstring_find(const struct pstring *s, size_t from, const void *bytes, size_t n);
/* n bytes from `at` on, good until the string changes. bytes NULL and ERANGE: not all are there. */
struct pstring_run pstring_slice(const struct pstring *s, size_t at, size_t n);

#ifdef __cplusplus
}
#endif
#endif
