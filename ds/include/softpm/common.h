/* common.h - what the structures of <softpm/ds.h> have in common: memory, errors, kinds of keys, differences, merging.
 *
 * All structures are plain objects from pMalloc. What is reachable from a container's root persists with the container; what is not
 * is volatile, and needs no volume. Nothing else of SoftPM is called to read or change them.
 *
 * Conventions. _make gives a structure, _free takes it and all that is its own; values that are pointers belong to the program.
 * Functions that need memory return NULL, or -1, with errno ENOMEM if there is none; then the structure is as it was. Other
 * failures are named where they can happen; "not there" is NULL or 0 and sets no errno. What can't be changed while it is open
 * read-only (pCOpenAt) can be read by all functions that take it as const.
 *
 * Threads. As C's own: any number may read, or one may change. So it is with points: a thread that changes a structure while another one
 * calls pPoint may have the change half done in the version; let both exclude each other.
 *
 * Misuse (an iterator used after its structure was changed, other than by itself) aborts with a sentence if the library was built with
 * SPM_DEBUG, else what happens is not defined.
 */
#ifndef SOFTPM_COMMON_H
#define SOFTPM_COMMON_H

#include <softpm.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#else
/* A pointer to the wrong structure, key or value does not compile; newer compilers see to that by themselves. */
#pragma GCC diagnostic error "-Wincompatible-pointer-types"
#pragma GCC diagnostic error "-Wint-conversion"
#endif

/* What the macros that declare a type make of functions; a semicolon comes behind such a macro: PARRAY_OF(scores, double); */
#define PDS_INLINE static inline __attribute__((unused))

/* The structs that such macros declare have arrays of no length, value_of_ and key_of_: they take no room, and tell who looks at a version
 * with the program's types (softpm browse) what the elements are. */

/* ---- keys ----
 *
 * A pointer is no key: in a container that lies elsewhere than it was saved (a view or clone beside it, or where its place was taken) it
 * has another value, and no key with it is found. Number what it leads to, or let a tree compare that (PKEY_CUSTOM). An address that is kept
 * as a uint64_t, in memory that is never searched (PMAP_PLAIN_VALUES), stays the number it was. */

enum pkey_kind {
	PKEY_INT64 = 1,
	PKEY_UINT64,
	PKEY_DOUBLE, /* as numbers; -0 is 0, NaN comes last and equals itself */
	PKEY_BYTES,  /* key_bytes of any kind, compared as memcmp does; no pointers: see below */
	PKEY_STRING, /* const char *; the structure keeps a copy, compared as strcmp does */
	PKEY_CUSTOM, /* key_bytes, ordered by a function of the program; trees only */
};
/* The kind of a C type; integers of other widths do not compile, to be converted by who calls. */
#define PKEY_KIND_OF(K)                                                                                                \
	_Generic((K *)0, int64_t *: PKEY_INT64, long long *: PKEY_INT64, uint64_t *: PKEY_UINT64,                      \
	         unsigned long long *: PKEY_UINT64, double *: PKEY_DOUBLE, char **: PKEY_STRING,                       \
	         const char **: PKEY_STRING, default: PKEY_BYTES)
/* Whether it is a pointer. */
#define PDS_IS_POINTER(T) (__builtin_classify_type(*(T *)0) == 5)
/* Whether a C type may hold pointers. Arithmetic types do not: memory for them is never searched (pMallocNoPtr). */
#define PDS_MAY_POINT(T)                                                                                               \
	_Generic((T *)0, bool * : 0, char * : 0, signed char * : 0, unsigned char * : 0, short * : 0,                  \
	         unsigned short * : 0, int * : 0, unsigned * : 0, long * : 0, unsigned long * : 0, long long * : 0,    \
	         unsigned long long * : 0, float * : 0, double * : 0, default : 1)

enum pmap_flags {
	PMAP_PLAIN_KEYS = 1,   /* of kind PKEY_BYTES or PKEY_CUSTOM: without pointers */
	PMAP_PLAIN_VALUES = 2, /* without pointers */
	PMAP_DUPLICATES = 4,   /* trees: a key may be there several times, in the order in which they were added */
};
/* What a map (tree or hash) is made of; it is kept in the map. */
struct pmap_type {
	enum pkey_kind key_kind;
	unsigned flags;                  /* enum pmap_flags */
	uint32_t key_bytes, value_bytes; /* value_bytes 0: a set. A key, and a value, may have at most 1024 bytes */
	/* PKEY_CUSTOM: < 0, 0, > 0. It must be a function of the program or a library: a restore finds it again by its symbol, also
	 * in a program that was built anew. */
	int (*compare)(const void *a, const void *b);
};

/* ---- differences ---- */

enum pchange_kind { PCHANGE_ADDED = 1, PCHANGE_REMOVED, PCHANGE_CHANGED };
/* Good during the call of the function that gets it. */
struct pchange {
	enum pchange_kind kind;
	const void *key;                   /* PKEY_STRING: the string itself; list: NULL; array: NULL */
	size_t index;                      /* array: of the element; else 0 */
	const void *old_value, *new_value; /* in the structures; NULL: not there */
};
/* Returns 0 to go on; anything else ends the comparison, which returns it. */
typedef int pchange_fn(const struct pchange *change, void *arg);

/* ---- merging ---- */

/* Both sides changed an entry, and not to the same. NULL: it is not there. */
struct pconflict {
	const void *key;
	size_t index;
	const void *base, *ours, *theirs;
};
enum presolution {
	PMERGE_OURS,
	PMERGE_THEIRS, /* also if that is: removed */
	PMERGE_MIXED,  /* what resolve wrote to `mixed`, value_bytes, comes in */
	PMERGE_STOP,   /* the merge returns -1 with ECANCELED; what was merged before stays */
};
struct pmerge {
	/* NULL: ours stays, and the conflict is in the list of the result. */
	enum presolution (*resolve)(const struct pconflict *conflict, void *mixed, void *arg);
	/* Makes ours from a value of theirs, which may hold pointers into theirs; 0, or -1 with errno. NULL: the bytes are copied, which
	 * is refused (EINVAL) if the map does not have PMAP_PLAIN_VALUES. */
	int (*copy)(void *ours, const void *theirs, void *arg);
	void *arg;
};
/* What a merge did. conflict: those that were not resolved; their pointers are good as long as the three structures are there and
 * unchanged. To be released with pmerged_free. */
struct pmerged {
	uint64_t applied, conflicts; /* conflicts: resolved ones too */
	struct pconflict *conflict;
	size_t unresolved; /* entries of conflict */
};
void pmerged_free(struct pmerged *merged);

#ifdef __cplusplus
}
#endif
#endif
