/* tree.h - ordered maps and sets.
 *
 * A typed map is declared once, at file level, and used without casts:
 *
 *     PTREE_OF(prices, int64_t, double);
 *
 *     struct prices *p = prices_make();
 *     struct prices_cursor c;
 *
 *     if (!prices_put(p, 20261121, 17.5))
 *             return perror("prices"), 1;
 *     double *price = prices_get(p, 20261121);
 *     for (bool on = prices_ceiling(p, 20260101, &c); on; on = prices_next(&c))
 *             printf("%" PRId64 " %g\n", prices_key(&c), *prices_value(&c));
 *
 * Keys are int64_t, uint64_t, double, const char * (the tree keeps a copy of the string), or any type that is compared byte by byte,
 * so without padding, or by a function of the program. Values are of any type, and copied. One of more than 1024 bytes is
 * kept by a pointer to it.
 *
 * What it costs. Entries lie side by side in leaves of 4096 bytes (more if an entry has more than 580), in order; the way to a leaf goes
 * through about log(n) / log(128) nodes. Replacing a value writes to one page; adding or removing an entry to the leaf (two pages,
 * if keys have no pointers but values may) and, of trees with more than about a hundred thousand entries (30,000 strings), to one page per
 * level above the second, whose counts make rank and select fast. Entries that are added in ascending order, behind all others, fill the
 * leaves wholly. A tree with one entry has a whole leaf.
 *
 * What moves. Adding and removing entries moves others, so pointers to values, and keys, that the functions give are good until an entry
 * is added or removed. A cursor is good for as long, but that entries may be removed by itself: it then stands on the next one. Misuse
 * is caught if the library was built with SPM_DEBUG.
 */
#ifndef SOFTPM_TREE_H
#define SOFTPM_TREE_H

#include <softpm/common.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of the library, and of the inline functions below: not to be touched. ds/tree_node.h tells what they mean. Where it says top, all bits are
 * set, in ids and counters the first: so no word of them looks like an address, which a restore might change. */
enum { PTREE_LEVELS = 16, PTREE_COLUMNS = 4 };
struct ptree_node {
	uint64_t tree;
	uint32_t magic;
	uint16_t entries;
	uint8_t level, top;
};
struct ptree_column {
	uint16_t at, bytes;
	uint32_t top;
};
struct ptree_layout {
	uint16_t max, bytes, plain_bytes, top;
	struct ptree_column column[PTREE_COLUMNS];
};
struct ptree {
	uint64_t id;
	struct pmap_type type; /* the sizes are in layout[0] */
	struct ptree_node *root;
	uint64_t changes;
	uint32_t levels, top;
	struct ptree_layout layout[3];
};

/* A place in a tree: on an entry, before the first one, or behind the last. It belongs to the program, on the stack or anywhere. */
struct ptree_cursor {
	struct ptree *tree;
	uint64_t changes;
	struct {
		struct ptree_node *node;
		uint32_t index;
	} path[PTREE_LEVELS];
};

/* ---- trees ----
 *
 * The typed functions, NAME_make and so on, do what their namesakes here do. A `key` is the address of one; of PKEY_STRING: the string. */

/* key_bytes of numbers and strings need not be given. EINVAL: no such kind, a key or value of too many bytes, or PKEY_CUSTOM
 * without compare. */
struct ptree *ptree_make(const struct pmap_type *type);
/* NULL is no tree: nothing is done. */
void ptree_free(struct ptree *tree);
/* Removes all entries. */
void ptree_clear(struct ptree *tree);
/* Adds up to some hundred numbers. */
uint64_t ptree_count(const struct ptree *tree);
/* PKEY_CUSTOM: says anew how keys compare. A restore finds the function again by its symbol; where the program has none of that name any
 * more, nothing is found in the tree, and nothing can be added (EINVAL), until this was called. It must order the keys that
 * are there as the one before. */
void ptree_set_compare(struct ptree *tree, int (*compare)(const void *a, const void *b));

/* The value of that key, with duplicates of the first; NULL: it is not there. Sets: anything but NULL. */
void *ptree_get(const struct ptree *tree, const void *key);
/* The value, which may lie in the tree, as the key may, becomes that of the key, which is added if it is not there (with duplicates: the
 * first's value is replaced). The key that is there stays. value NULL: one that is added is zero, one that is there stays as it is. Returns
 * where the value lies, NULL if there is no memory. */
void *ptree_put(struct ptree *tree, const void *key, const void *value);
/* Adds an entry: behind those with the same key if the tree has PMAP_DUPLICATES, else EEXIST if there is one. value NULL: zeros. Returns where
 * the value lies, NULL on failure. */
void *ptree_add(struct ptree *tree, const void *key, const void *value);
/* Removes the entry with that key, with duplicates the first. *value, unless value is NULL, becomes what it had. False: there is none. */
bool ptree_remove(struct ptree *tree, const void *key, void *value);

/* ---- cursors ----
 *
 * All return whether the cursor stands on an entry then. */

enum ptree_where {
	PTREE_EQUAL,   /* the first entry with that key */
	PTREE_CEILING, /* the first whose key is not less */
	PTREE_UPPER,   /* the first whose key is greater */
	PTREE_FLOOR,   /* the last whose key is not greater */
	PTREE_LOWER,   /* the last whose key is less */
};
/* If there is no such entry, the cursor stands where it would be: behind the last (PTREE_EQUAL: on the one that would follow), or before
 * the first. */
bool ptree_seek(const struct ptree *tree, enum ptree_where where, const void *key, struct ptree_cursor *cursor);
bool ptree_first(const struct ptree *tree, struct ptree_cursor *cursor);
bool ptree_last(const struct ptree *tree, struct ptree_cursor *cursor);
/* The entry with so many before it. */
bool ptree_select(const struct ptree *tree, uint64_t rank, struct ptree_cursor *cursor);
/* Removes the entry that the cursor is on; it then stands on the next one, or behind the last: ptree_prev goes to the one before. */
bool ptree_remove_at(struct ptree_cursor *cursor);
bool ptree_next_leaf(struct ptree_cursor *cursor);
bool ptree_prev_leaf(struct ptree_cursor *cursor);

static inline bool ptree_is_on(const struct ptree_cursor *cursor)
{
	return cursor->path[0].index < cursor->path[0].node->entries;
}
static inline bool ptree_next(struct ptree_cursor *cursor)
{
	/* Before the first it is UINT32_MAX. */
	uint32_t next = cursor->path[0].index + 1;

	if (next >= cursor->path[0].node->entries || cursor->changes != cursor->tree->changes)
		return ptree_next_leaf(cursor);
	cursor->path[0].index = next;
	return true;
}
static inline bool ptree_prev(struct ptree_cursor *cursor)
{
	uint32_t index = cursor->path[0].index;

	if (index - 1 >= cursor->path[0].node->entries || cursor->changes != cursor->tree->changes)
		return ptree_prev_leaf(cursor);
	cursor->path[0].index = index - 1;
	return true;
}

/* Of the entry that the cursor is on. A key may not be changed. */
static inline const void *ptree_key_place(const struct ptree_cursor *cursor)
{
	int column = cursor->tree->type.key_kind == PKEY_STRING;
	const struct ptree_layout *layout = &cursor->tree->layout[0];
	const struct ptree_node *node = cursor->path[0].node;
	const void *base = layout->plain_bytes && !column ? *(void *const *)(node + 1) : node;

	return (const char *)base + layout->column[column].at +
	       (size_t)cursor->path[0].index * layout->column[column].bytes;
}
static inline const void *ptree_key(const struct ptree_cursor *cursor)
{
	const void *place = ptree_key_place(cursor);

	return cursor->tree->type.key_kind == PKEY_STRING ? *(const char *const *)place : place;
}
static inline void *ptree_value(const struct ptree_cursor *cursor)
{
	const struct ptree_layout *layout = &cursor->tree->layout[0];

	return (char *)cursor->path[0].node + layout->column[2].at +
	       (size_t)cursor->path[0].index * layout->column[2].bytes;
}
/* How many entries, from that which the cursor is on, lie side by side: their keys from ptree_key_place on, their values from ptree_value
 * on. Loops over these go at the speed of memory; ptree_next_leaf goes to the first behind them. 0: it is on none. */
static inline size_t ptree_run(const struct ptree_cursor *cursor)
{
	return ptree_is_on(cursor) ? cursor->path[0].node->entries - cursor->path[0].index : 0;
}

/* How many entries have a lesser key. */
uint64_t ptree_rank(const struct ptree *tree, const void *key);
/* How many entries are before the cursor. */
uint64_t ptree_rank_at(const struct ptree_cursor *cursor);

/* ---- versions ----
 *
 * The trees may be in containers, views and clones of them (pCOpenAt, pCClone), or volatile; nobody else may change them meanwhile. Values
 * that are or have pointers are the same if these lead to the same place (pSame); what lies there is not looked at. Keys that have pointers
 * must not lead to what changed. */

/* What changed from one tree to another: fn for each key that only one of them has, or that has different values, in ascending order, until it
 * returns non-zero, which is returned; -1 on failure. fn may not change the trees. With duplicates, of the entries of a key those are told that
 * were removed, then those that were added. Of two versions of one tree in open containers only pages that differ are looked at
 * (pDiffer), all of two other trees. EINVAL: they are of different types; else as pDiffer. */
int ptree_diff(const struct ptree *before, const struct ptree *after, pchange_fn *fn, void *arg);
/* Brings what changed from base to theirs into ours, as far as ours did not change the same keys otherwise: those are conflicts. With
 * duplicates there are none: what theirs removed goes, if ours still has it, what theirs added comes in. how NULL: all zero. It takes as
 * long as ptree_diff of base and theirs. On failure what was merged before stays, and *result tells of it; it is to be released in any case.
 * Keys are copied as they are: those that have pointers only make sense if these lead out of the containers.
 * EINVAL: different types, ours is one of the others, or values that may hold pointers and no how->copy; ECANCELED: how->resolve said
 * PMERGE_STOP; how->copy's errno; as pDiffer. */
int ptree_merge(const struct ptree *base, struct ptree *ours, const struct ptree *theirs, const struct pmerge *how,
                struct pmerged *result);

/* Looks at the whole tree, whatever its memory holds (but that of PKEY_CUSTOM the function is called). 0: whole; -1 with EUCLEAN: `why` gets a
 * sentence (bytes: its room; 0: none). For tests, and for who suspects that memory was overwritten: all other functions believe what they
 * find. */
int ptree_check(const struct ptree *tree, char *why, size_t bytes);

#ifdef __cplusplus
}
#endif

/* ---- typed trees (C only) ----
 *
 * PTREE_OF(NAME, K, V);            a map from K to V: struct NAME, struct NAME_cursor, and the functions below
 * PTREE_PLAIN_OF(NAME, K, V);      the same where K and V are structures (arrays in structures, unions) without pointers: points,
 *                                  clones and views cost less, for leaves are never searched
 * PTREE_SET_OF(NAME, K);           a set: no values
 * PTREE_WITH(NAME, K, V, FLAGS, COMPARE);
 * PTREE_SET_WITH(NAME, K, FLAGS, COMPARE);    all by choice: enum pmap_flags, and int COMPARE(K const *, K const *) or NULL
 *
 * Integers of other widths, and float, are no keys: convert to int64_t, uint64_t or double. Arithmetic types as V never need PLAIN.
 */
#ifndef __cplusplus

#define PTREE_OF(NAME, K, V) PTREE_WITH(NAME, K, V, 0, NULL)
#define PTREE_PLAIN_OF(NAME, K, V) PTREE_WITH(NAME, K, V, PMAP_PLAIN_KEYS | PMAP_PLAIN_VALUES, NULL)
#define PTREE_SET_OF(NAME, K) PTREE_SET_WITH(NAME, K, 0, NULL)

#define PTREE_WITH(NAME, K, V, FLAGS, COMPARE)                                                                         \
	PTREE_COMMON_(NAME, K, V, (FLAGS) | (PDS_MAY_POINT(V) ? 0 : PMAP_PLAIN_VALUES), sizeof(V), COMPARE)            \
	_Static_assert(sizeof(V) <= 1024, "keep a value of more than 1024 bytes by a pointer");                        \
	_Static_assert(_Alignof(V) <= 16, "a value is aligned to 16 bytes at most");                                   \
	PDS_INLINE V *NAME##_get(const struct NAME *t, K key)                                                          \
	{                                                                                                              \
		return (V *)ptree_get(&t->tree, NAME##_wanted_(&key));                                                 \
	}                                                                                                              \
	PDS_INLINE V *NAME##_put(struct NAME *t, K key, V value)                                                       \
	{                                                                                                              \
		return (V *)ptree_put(&t->tree, NAME##_wanted_(&key), &value);                                         \
	}                                                                                                              \
	PDS_INLINE V *NAME##_add(struct NAME *t, K key, V value)                                                       \
	{                                                                                                              \
		return (V *)ptree_add(&t->tree, NAME##_wanted_(&key), &value);                                         \
	}                                                                                                              \
	/* As get, but what is not there is added, zero: ++*words_at(t, "the"). */                                     \
	PDS_INLINE V *NAME##_at(struct NAME *t, K key)                                                                 \
	{                                                                                                              \
		return (V *)ptree_put(&t->tree, NAME##_wanted_(&key), NULL);                                           \
	}                                                                                                              \
	PDS_INLINE bool NAME##_remove(struct NAME *t, K key, V *value)                                                 \
	{                                                                                                              \
		return ptree_remove(&t->tree, NAME##_wanted_(&key), value);                                            \
	}                                                                                                              \
	/* As ptree_run; *keys and *values are where the keys and values begin. */                                     \
	PDS_INLINE size_t NAME##_run(const struct NAME##_cursor *c, K const **keys, V **values)                        \
	{                                                                                                              \
		*keys = (K const *)ptree_key_place(&c->cursor);                                                        \
		*values = (V *)ptree_value(&c->cursor);                                                                \
		return ptree_run(&c->cursor);                                                                          \
	}                                                                                                              \
	PDS_INLINE V *NAME##_value(const struct NAME##_cursor *c)                                                      \
	{                                                                                                              \
		return (V *)((char *)c->cursor.path[0].node + c->cursor.tree->layout[0].column[2].at) +                \
		       c->cursor.path[0].index;                                                                        \
	}                                                                                                              \
	struct NAME

#define PTREE_SET_WITH(NAME, K, FLAGS, COMPARE)                                                                        \
	PTREE_COMMON_(NAME, K, void, FLAGS, 0, COMPARE)                                                                \
	PDS_INLINE bool NAME##_has(const struct NAME *t, K key)                                                        \
	{                                                                                                              \
		return ptree_get(&t->tree, NAME##_wanted_(&key));                                                      \
	}                                                                                                              \
	PDS_INLINE size_t NAME##_run(const struct NAME##_cursor *c, K const **keys)                                    \
	{                                                                                                              \
		*keys = (K const *)ptree_key_place(&c->cursor);                                                        \
		return ptree_run(&c->cursor);                                                                          \
	}                                                                                                              \
	/* False: no memory. */                                                                                        \
	PDS_INLINE bool NAME##_put(struct NAME *t, K key)                                                              \
	{                                                                                                              \
		return ptree_put(&t->tree, NAME##_wanted_(&key), NULL);                                                \
	}                                                                                                              \
	/* False: no memory, or (EEXIST) it is there. */                                                               \
	PDS_INLINE bool NAME##_add(struct NAME *t, K key)                                                              \
	{                                                                                                              \
		return ptree_add(&t->tree, NAME##_wanted_(&key), NULL);                                                \
	}                                                                                                              \
	PDS_INLINE bool NAME##_remove(struct NAME *t, K key)                                                           \
	{                                                                                                              \
		return ptree_remove(&t->tree, NAME##_wanted_(&key), NULL);                                             \
	}                                                                                                              \
	struct NAME

#define PTREE_SEEK_(NAME, K, FUNCTION, WHERE)                                                                          \
	PDS_INLINE bool NAME##_##FUNCTION(const struct NAME *t, K key, struct NAME##_cursor *c)                        \
	{                                                                                                              \
		return ptree_seek(&t->tree, WHERE, NAME##_wanted_(&key), &c->cursor);                                  \
	}

#define PTREE_COMMON_(NAME, K, V, FLAGS, VALUE_BYTES, COMPARE)                                                         \
	struct NAME {                                                                                                  \
		struct ptree tree;                                                                                     \
		__extension__ K *key_of_[0];                                                                           \
		__extension__ V *value_of_[0];                                                                         \
	};                                                                                                             \
	struct NAME##_cursor {                                                                                         \
		struct ptree_cursor cursor;                                                                            \
	};                                                                                                             \
	/* Not called if COMPARE is NULL. */                                                                           \
	PDS_INLINE int NAME##_compare_(const void *a, const void *b)                                                   \
	{                                                                                                              \
		int (*compare)(K const *, K const *) = COMPARE;                                                        \
                                                                                                                       \
		return compare ? compare((K const *)a, (K const *)b) : 0;                                              \
	}                                                                                                              \
	PDS_INLINE struct pmap_type NAME##_type_(void)                                                                 \
	{                                                                                                              \
		int (*compare)(K const *, K const *) = COMPARE;                                                        \
		enum pkey_kind kind = compare ? PKEY_CUSTOM : PKEY_KIND_OF(K);                                         \
                                                                                                                       \
		return (struct pmap_type){                                                                             \
		        kind,                                                                                          \
		        (FLAGS) | (PDS_MAY_POINT(K) ? 0U : (unsigned)PMAP_PLAIN_KEYS),                                 \
		        sizeof(K),                                                                                     \
		        VALUE_BYTES,                                                                                   \
		        compare ? NAME##_compare_ : NULL,                                                              \
		};                                                                                                     \
	}                                                                                                              \
	/* What an untyped function wants as a key. */                                                                 \
	PDS_INLINE const void *NAME##_wanted_(K const *key)                                                            \
	{                                                                                                              \
		const void *place = key;                                                                               \
                                                                                                                       \
		return NAME##_type_().key_kind == PKEY_STRING ? *(const char *const *)place : place;                   \
	}                                                                                                              \
	_Static_assert(sizeof(K) <= 1024, "a key has 1024 bytes at most");                                             \
	_Static_assert(_Generic((COMPARE), void * : 0, int : 0, default : 1) || PKEY_KIND_OF(K) == PKEY_STRING ||      \
	                       !PDS_IS_POINTER(K),                                                                     \
	               "a pointer is no key but for a function that compares what it leads to: common.h");             \
	_Static_assert(_Alignof(K) <= 16, "a key is aligned to 16 bytes at most");                                     \
	_Static_assert(_Generic((COMPARE), void * : 0, int : 0, default : 1) || PKEY_KIND_OF(K) != PKEY_BYTES ||       \
	                       PDS_MAY_POINT(K),                                                                       \
	               "a number that is a key is an int64_t, uint64_t or double");                                    \
	PDS_INLINE struct NAME *NAME##_make(void)                                                                      \
	{                                                                                                              \
		struct pmap_type type = NAME##_type_();                                                                \
                                                                                                                       \
		return (struct NAME *)ptree_make(&type);                                                               \
	}                                                                                                              \
	PDS_INLINE void NAME##_free(struct NAME *t)                                                                    \
	{                                                                                                              \
		ptree_free((struct ptree *)t);                                                                         \
	}                                                                                                              \
	PDS_INLINE void NAME##_clear(struct NAME *t)                                                                   \
	{                                                                                                              \
		ptree_clear(&t->tree);                                                                                 \
	}                                                                                                              \
	PDS_INLINE uint64_t NAME##_count(const struct NAME *t)                                                         \
	{                                                                                                              \
		return ptree_count(&t->tree);                                                                          \
	}                                                                                                              \
	PTREE_SEEK_(NAME, K, find, PTREE_EQUAL)                                                                        \
	PTREE_SEEK_(NAME, K, ceiling, PTREE_CEILING)                                                                   \
	PTREE_SEEK_(NAME, K, upper, PTREE_UPPER)                                                                       \
	PTREE_SEEK_(NAME, K, floor, PTREE_FLOOR)                                                                       \
	PTREE_SEEK_(NAME, K, lower, PTREE_LOWER)                                                                       \
	PDS_INLINE bool NAME##_first(const struct NAME *t, struct NAME##_cursor *c)                                    \
	{                                                                                                              \
		return ptree_first(&t->tree, &c->cursor);                                                              \
	}                                                                                                              \
	PDS_INLINE bool NAME##_last(const struct NAME *t, struct NAME##_cursor *c)                                     \
	{                                                                                                              \
		return ptree_last(&t->tree, &c->cursor);                                                               \
	}                                                                                                              \
	PDS_INLINE bool NAME##_next(struct NAME##_cursor *c)                                                           \
	{                                                                                                              \
		return ptree_next(&c->cursor);                                                                         \
	}                                                                                                              \
	/* To the first entry behind a run. */                                                                         \
	PDS_INLINE bool NAME##_next_run(struct NAME##_cursor *c)                                                       \
	{                                                                                                              \
		return ptree_next_leaf(&c->cursor);                                                                    \
	}                                                                                                              \
	PDS_INLINE bool NAME##_prev(struct NAME##_cursor *c)                                                           \
	{                                                                                                              \
		return ptree_prev(&c->cursor);                                                                         \
	}                                                                                                              \
	PDS_INLINE bool NAME##_remove_at(struct NAME##_cursor *c)                                                      \
	{                                                                                                              \
		return ptree_remove_at(&c->cursor);                                                                    \
	}                                                                                                              \
	PDS_INLINE K NAME##_key(const struct NAME##_cursor *c)                                                         \
	{                                                                                                              \
		return *(K const *)ptree_key_place(&c->cursor);                                                        \
	}                                                                                                              \
	PDS_INLINE uint64_t NAME##_rank(const struct NAME *t, K key)                                                   \
	{                                                                                                              \
		return ptree_rank(&t->tree, NAME##_wanted_(&key));                                                     \
	}                                                                                                              \
	PDS_INLINE uint64_t NAME##_rank_at(const struct NAME##_cursor *c)                                              \
	{                                                                                                              \
		return ptree_rank_at(&c->cursor);                                                                      \
	}                                                                                                              \
	PDS_INLINE bool NAME##_select(const struct NAME *t, uint64_t rank, struct NAME##_cursor *c)                    \
	{                                                                                                              \
		return ptree_select(&t->tree, rank, &c->cursor);                                                       \
	}                                                                                                              \
	PDS_INLINE int NAME##_diff(const struct NAME *before, const struct NAME *after, pchange_fn *fn, void *arg)     \
	{                                                                                                              \
		return ptree_diff(&before->tree, &after->tree, fn, arg);                                               \
	}                                                                                                              \
	PDS_INLINE int NAME##_merge(const struct NAME *base, struct NAME *ours, const struct NAME *theirs,             \
	                            const struct pmerge *how, struct pmerged *result)                                  \
	{                                                                                                              \
		return ptree_merge(&base->tree, &ours->tree, &theirs->tree, how, result);                              \
	}

#endif
#endif
