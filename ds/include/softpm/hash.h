/* hash.h - hashtables: maps and sets in no order, found in one look.
 *
 *     PHASH_OF(ages, const char *, int);
 *
 *     root->ages = ages_make();
 *     if (!ages_put(root->ages, "Ann", 37))
 *             return -1;                                  (ENOMEM)
 *     int *age = ages_get(root->ages, "Ann");             (NULL: not there)
 *     struct ages_iter it;
 *     for (ages_start(&it, root->ages); ages_next(&it);)
 *             printf("%s is %d\n", it.key, *it.value);
 *
 * Conventions are those of common.h. Keys are of any kind but PKEY_CUSTOM. Those of kind PKEY_BYTES are the same if all their bytes are, so
 * structures as keys may have no gaps that differ. Keys and values lie in pages of 4096 bytes (larger ones for entries of more than 336, smaller
 * ones in small tables); a lookup among 10 million reads one page, mostly in one or two places of it. A table grows and shrinks page by
 * page: no operation copies all of it. An operation on one key writes to the page that the key lies in and no other, but that about one
 * in a hundred insertions (removals) splits a page in two (makes one of two), which writes to three to six. The copy of a string, which is
 * made when it is added, lies elsewhere: one page more.
 *
 * Where values may be pointers, keys lie in memory that is searched for these: a number that looks like an address may then be another after a
 * restore, and is found no more (softpm.h; in programs linked with -no-pie some numbers of millions do). A tree keeps numbers elsewhere.
 *
 * Where a value lies it stays until something is added to the table or removed from it. Its place is aligned as its size demands, up to 8 bytes.
 *
 * Each table hashes (XXH3) with random numbers of its own. Who does not know them can't choose keys that slow the table down, as far as is
 * known of XXH3; it is no cryptographic function, so who can measure how long single lookups take, or read the volume, might find some. A table
 * with such keys goes on working, until so many as a page holds have the same 64 bits: EOVERFLOW.
 */
#ifndef SOFTPM_HASH_H
#define SOFTPM_HASH_H

#include <softpm/common.h>

#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Its fields are for the functions below. */
struct phash {
	uintptr_t root;
	uint64_t id;
	uint16_t key_bytes, value_at, entries_at, slots;
	uint16_t bucket_bytes, entry_bytes, groups, group_slots;
	uint16_t value_bytes;
	uint8_t way, flags;
	uint32_t magic;
	uint64_t secret[24];
};

/* An empty table. EINVAL: no such type: PKEY_CUSTOM, PMAP_DUPLICATES, or key_bytes or value_bytes out of range; else getrandom(2)'s errno. */
struct phash *phash_make(const struct pmap_type *type);
void phash_free(struct phash *t); /* NULL: nothing */

/* In all that follows `key` is the address of a key or, for PKEY_STRING, the string itself.
 *
 * The key's value, in the table; NULL: it is not there. Of a set: any address that is not NULL. */
void *phash_get(const struct phash *t, const void *key);
/* The value, which may lie in the table, becomes that of the key, which is added if it is not there. value NULL: zero if the key is added, else
 * as it is. Returns where the value lies, NULL if there is no memory. EOVERFLOW. */
void *phash_put(struct phash *t, const void *key, const void *value);
/* The same, but EEXIST if the key is there. */
void *phash_add(struct phash *t, const void *key, const void *value);
/* False: it is not there. *value, unless value is NULL, becomes what it had. key may be that of an iterator, and is not needed after. */
bool phash_remove(struct phash *t, const void *key, void *value);
/* Adds up what the pages hold: a number in one place would be one more page that each insertion writes to. 10 million entries take a few
 * milliseconds. */
uint64_t phash_count(const struct phash *t);
void phash_clear(struct phash *t);
/* Splits pages until n keys have room: adding up to so many in all takes hardly any more memory. Room that is not used is given back when
 * keys are removed. After a failure some of it may be there. */
int phash_reserve(struct phash *t, uint64_t n);

/* ---- iteration ---- */

enum { PHASH_SLOTS_MAX = 800 };
/* Goes through a table in the order of the hashes. It holds no resource, and may be dropped, or copied, at any time. */
struct phash_iter {
	const void *key; /* as above */
	void *value;
	/* For the functions. */
	const struct phash *table;
	const void *bucket;
	uint64_t changes, hash;
	bool is_visited;
	uint32_t entries, next;
	uint16_t slot[PHASH_SLOTS_MAX];
};
/* Before the first entry. */
void phash_start(struct phash_iter *it, const struct phash *t);
/* To the next entry: true; false: there is none. The table may change between calls in any way but phash_free: each key that is there
 * from phash_start on to the end comes exactly once, one that is added or removed meanwhile once or not at all. key and value of the
 * iterator are good as those of phash_get are; the next call does not need them. (Of several strings, or keys of more than 8 bytes, with the
 * same 64 bits of hash, which chance makes of one pair in ten million million millions, those not visited yet are left out if the
 * page that they lie in changes just then.) */
bool phash_next(struct phash_iter *it);

/* ---- versions ----
 *
 * The tables may be in containers, views and clones of them (pCOpenAt, pCClone), or volatile; nobody else may change them meanwhile. Values
 * that are or have pointers are the same if these lead to the same place (pSame); what lies there is not looked at. */

/* What changed from one table to another: fn for each key that only one of them has, or that has different values, in no order, until it
 * returns non-zero, which is returned; -1 on failure. fn may not change the tables. Of two versions of one table in open containers only pages
 * that differ are looked at (pDiffer), all of two other tables. EINVAL: they are of different types; else as pDiffer. */
int phash_diff(const struct phash *before, const struct phash *after, pchange_fn *fn, void *arg);
/* Brings what changed from base to theirs into ours, as far as ours did not change the same keys otherwise: those are conflicts. how NULL: all
 * zero. It takes as long as phash_diff of base and theirs. On failure what was merged before stays, and *result tells of it; it is to be
 * released in any case. EINVAL: different types, ours is one of the others, or values that may hold pointers and no how->copy; ECANCELED: how->resolve said
 * PMERGE_STOP; how->copy's errno; EOVERFLOW; as pDiffer. */
int phash_merge(const struct phash *base, struct phash *ours, const struct phash *theirs, const struct pmerge *how,
                struct pmerged *result);

/* ---- checking ---- */

/* Looks at all of the table, whatever its memory holds. 0: whole; -1 with EUCLEAN: `why` gets a sentence (bytes: its room; 0: none). For tests,
 * and for who suspects that memory was overwritten: all other functions believe what they find. */
int phash_check(const struct phash *t, char *why, size_t bytes);

/* ---- typed tables (C only) ----
 *
 * PHASH_OF(NAME, K, V);            maps from K to V: struct NAME, struct NAME_iter, and the functions below
 * PHASH_PLAIN_OF(NAME, K, V);      the same where K and V may be structures, and there are no pointers in either (but that K may be a
 *                                  string): points, clones and views cost less, for pages of such keys are never searched
 * PHASH_SET_OF(NAME, K);           sets: no values
 * PHASH_WITH(NAME, K, V, FLAGS);   by choice: enum pmap_flags
 * PHASH_SET_WITH(NAME, K, FLAGS);
 *
 * Integers of other widths, and float, are no keys: convert to int64_t, uint64_t or double. Arithmetic types as V never need PLAIN.
 */
#ifndef __cplusplus

#define PHASH_OF(NAME, K, V) PHASH_WITH(NAME, K, V, 0)
#define PHASH_PLAIN_OF(NAME, K, V) PHASH_WITH(NAME, K, V, PMAP_PLAIN_KEYS | PMAP_PLAIN_VALUES)
#define PHASH_SET_OF(NAME, K) PHASH_SET_WITH(NAME, K, 0)

/* What a function that takes any key wants, and where an iterator has a K: strings as they are, others by address. */
#define PHASH_KEY_(key) _Generic((key), char * : (key), const char * : (key), default : &(key))
#define PHASH_ITER_KEY_(K, key)                                                                                        \
	_Generic((K *)0, char ** : (const void *)&(key), const char ** : (const void *)&(key), default : (key))

#define PHASH_WITH(NAME, K, V, FLAGS)                                                                                  \
	PHASH_COMMON_(NAME, K, V, (FLAGS) | (PDS_MAY_POINT(V) ? 0U : (unsigned)PMAP_PLAIN_VALUES), sizeof(V));         \
	_Static_assert(sizeof(V) <= 1024, "keep a value of more than 1024 bytes by a pointer");                        \
	_Static_assert(_Alignof(V) <= 8, "a value is aligned to 8 bytes at most");                                     \
	struct NAME##_iter {                                                                                           \
		K key;                                                                                                 \
		V *value;                                                                                              \
		struct phash_iter iter;                                                                                \
	};                                                                                                             \
	PDS_INLINE V *NAME##_get(const struct NAME *t, K key)                                                          \
	{                                                                                                              \
		return (V *)phash_get(&t->hash, PHASH_KEY_(key));                                                      \
	}                                                                                                              \
	PDS_INLINE V *NAME##_put(struct NAME *t, K key, V value)                                                       \
	{                                                                                                              \
		return (V *)phash_put(&t->hash, PHASH_KEY_(key), &value);                                              \
	}                                                                                                              \
	PDS_INLINE V *NAME##_add(struct NAME *t, K key, V value)                                                       \
	{                                                                                                              \
		return (V *)phash_add(&t->hash, PHASH_KEY_(key), &value);                                              \
	}                                                                                                              \
	/* As get, but what is not there is added, zero: ++*words_at(t, "the"). */                                     \
	PDS_INLINE V *NAME##_at(struct NAME *t, K key)                                                                 \
	{                                                                                                              \
		return (V *)phash_put(&t->hash, PHASH_KEY_(key), NULL);                                                \
	}                                                                                                              \
	PDS_INLINE bool NAME##_remove(struct NAME *t, K key, V *value)                                                 \
	{                                                                                                              \
		return phash_remove(&t->hash, PHASH_KEY_(key), value);                                                 \
	}                                                                                                              \
	PDS_INLINE bool NAME##_next(struct NAME##_iter *it)                                                            \
	{                                                                                                              \
		if (!phash_next(&it->iter))                                                                            \
			return false;                                                                                  \
		memcpy(&it->key, PHASH_ITER_KEY_(K, it->iter.key), sizeof(K));                                         \
		it->value = (V *)it->iter.value;                                                                       \
		return true;                                                                                           \
	}                                                                                                              \
	PHASH_START_(NAME)

#define PHASH_SET_WITH(NAME, K, FLAGS)                                                                                 \
	PHASH_COMMON_(NAME, K, void, FLAGS, 0);                                                                        \
	struct NAME##_iter {                                                                                           \
		K key;                                                                                                 \
		struct phash_iter iter;                                                                                \
	};                                                                                                             \
	/* False: no memory. */                                                                                        \
	PDS_INLINE bool NAME##_put(struct NAME *t, K key)                                                              \
	{                                                                                                              \
		return phash_put(&t->hash, PHASH_KEY_(key), NULL) != NULL;                                             \
	}                                                                                                              \
	/* False: no memory, or (EEXIST) it is there. */                                                               \
	PDS_INLINE bool NAME##_add(struct NAME *t, K key)                                                              \
	{                                                                                                              \
		return phash_add(&t->hash, PHASH_KEY_(key), NULL) != NULL;                                             \
	}                                                                                                              \
	PDS_INLINE bool NAME##_remove(struct NAME *t, K key)                                                           \
	{                                                                                                              \
		return phash_remove(&t->hash, PHASH_KEY_(key), NULL);                                                  \
	}                                                                                                              \
	PDS_INLINE bool NAME##_next(struct NAME##_iter *it)                                                            \
	{                                                                                                              \
		if (!phash_next(&it->iter))                                                                            \
			return false;                                                                                  \
		memcpy(&it->key, PHASH_ITER_KEY_(K, it->iter.key), sizeof(K));                                         \
		return true;                                                                                           \
	}                                                                                                              \
	PHASH_START_(NAME)

#define PHASH_START_(NAME)                                                                                             \
	PDS_INLINE void NAME##_start(struct NAME##_iter *it, const struct NAME *t)                                     \
	{                                                                                                              \
		phash_start(&it->iter, &t->hash);                                                                      \
	}                                                                                                              \
	struct NAME

#define PHASH_COMMON_(NAME, K, V, FLAGS, VALUE_BYTES)                                                                  \
	struct NAME {                                                                                                  \
		struct phash hash;                                                                                     \
		__extension__ K *key_of_[0];                                                                           \
		__extension__ V *value_of_[0];                                                                         \
	};                                                                                                             \
	_Static_assert(sizeof(K) <= 1024, "a key has 1024 bytes at most");                                             \
	_Static_assert(PKEY_KIND_OF(K) == PKEY_STRING || !PDS_IS_POINTER(K), "a pointer is no key: common.h");         \
	_Static_assert(_Alignof(K) <= 8, "a key is aligned to 8 bytes at most");                                       \
	_Static_assert(PKEY_KIND_OF(K) != PKEY_BYTES || PDS_MAY_POINT(K),                                              \
	               "a number that is a key is an int64_t, uint64_t or double");                                    \
	PDS_INLINE struct NAME *NAME##_make(void)                                                                      \
	{                                                                                                              \
		struct pmap_type type = {PKEY_KIND_OF(K), FLAGS, sizeof(K), VALUE_BYTES, NULL};                        \
                                                                                                                       \
		return (struct NAME *)phash_make(&type);                                                               \
	}                                                                                                              \
	PDS_INLINE void NAME##_free(struct NAME *t)                                                                    \
	{                                                                                                              \
		phash_free((struct phash *)t);                                                                         \
	}                                                                                                              \
	PDS_INLINE bool NAME##_has(const struct NAME *t, K key)                                                        \
	{                                                                                                              \
		return phash_get(&t->hash, PHASH_KEY_(key)) != NULL;                                                   \
	}                                                                                                              \
	PDS_INLINE uint64_t NAME##_count(const struct NAME *t)                                                         \
	{                                                                                                              \
		return phash_count(&t->hash);                                                                          \
	}                                                                                                              \
	PDS_INLINE void NAME##_clear(struct NAME *t)                                                                   \
	{                                                                                                              \
		phash_clear(&t->hash);                                                                                 \
	}                                                                                                              \
	PDS_INLINE int NAME##_reserve(struct NAME *t, uint64_t n)                                                      \
	{                                                                                                              \
		return phash_reserve(&t->hash, n);                                                                     \
	}                                                                                                              \
	PDS_INLINE int NAME##_diff(const struct NAME *before, const struct NAME *after, pchange_fn *fn, void *arg)     \
	{                                                                                                              \
		return phash_diff(&before->hash, &after->hash, fn, arg);                                               \
	}                                                                                                              \
	PDS_INLINE int NAME##_merge(const struct NAME *base, struct NAME *ours, const struct NAME *theirs,             \
	                            const struct pmerge *how, struct pmerged *result)                                  \
	{                                                                                                              \
		return phash_merge(&base->hash, &ours->hash, &theirs->hash, how, result);                              \
	}                                                                                                              \
	struct NAME

#endif

#ifdef __cplusplus
}
#endif
#endif
