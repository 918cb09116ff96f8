/* hash.c - the hashtable's operations, see hash.h. */
#include "hash.h"

#include <errno.h>
#include <sys/random.h>

/* ---- the table ---- */

static bool type_is_good(const struct pmap_type *type)
{
	if (type->key_kind < PKEY_INT64 || type->key_kind > PKEY_STRING || type->flags & PMAP_DUPLICATES)
		return false;
	if (type->key_kind == PKEY_BYTES && (!type->key_bytes || type->key_bytes > PMAP_BYTES_MAX))
		return false;
	return type->value_bytes <= PMAP_BYTES_MAX;
}

/* What an object of so many bytes may have to be aligned to. */
static uint32_t alignment_of(uint32_t bytes)
{
	uint32_t lowest = bytes & -bytes;

	return !lowest || lowest > 8 ? 8 : lowest;
}

static uint32_t align_up(uint32_t n, uint32_t align)
{
	return (n + align - 1) & ~(align - 1);
}

static void kinds_set(struct phash *t, const struct pmap_type *type)
{
	bool is_bytes = type->key_kind == PKEY_BYTES;

	t->key_bytes = is_bytes ? (uint16_t)type->key_bytes : sizeof(uint64_t);
	if (type->key_kind == PKEY_STRING) {
		t->way = WAY_STRING;
		t->key_bytes = sizeof(struct string_key);
	} else if (type->key_kind == PKEY_DOUBLE) {
		t->way = WAY_DOUBLE;
	} else {
		t->way = t->key_bytes == sizeof(uint64_t) ? WAY_WORD : WAY_BYTES;
	}
	if (type->flags & PMAP_PLAIN_VALUES || !type->value_bytes)
		t->flags |= VALUES_ARE_PLAIN;
	if (t->flags && t->way != WAY_STRING && (!is_bytes || type->flags & PMAP_PLAIN_KEYS))
		t->flags |= BUCKETS_ARE_PLAIN;
}

/* Entries have four bytes at least, so that an iterator has room for all of a bucket. */
void spm_hash_lay_out_entries(struct phash *t)
{
	uint32_t key_align = alignment_of(t->key_bytes);
	uint32_t value_align = t->value_bytes ? alignment_of(t->value_bytes) : 1;
	uint32_t bytes;

	t->value_at = (uint16_t)align_up(t->key_bytes, value_align);
	bytes = align_up((uint32_t)t->value_at + t->value_bytes, key_align > value_align ? key_align : value_align);
	t->entry_bytes = (uint16_t)(bytes < 4 ? 4 : bytes);
}

/* The ID and the secret. */
static int secret_make(struct phash *t)
{
	if (getrandom(t->secret, sizeof(t->secret), 0) != sizeof(t->secret) ||
	    getrandom(&t->id, sizeof(t->id), 0) != sizeof(t->id))
		return -1;
	t->id |= TOP_BIT;
	for (unsigned i = 0; i < sizeof(t->secret) / sizeof(*t->secret); i++)
		t->secret[i] |= TOP_BIT;
	return 0;
}

struct phash *phash_make(const struct pmap_type *type)
{
	struct phash *t;

	if (!type_is_good(type)) {
		errno = EINVAL;
		return NULL;
	}
	t = pMalloc(sizeof(*t));
	if (!t)
		return NULL;
	t->magic = TABLE_MAGIC;
	kinds_set(t, type);
	t->value_bytes = (uint16_t)type->value_bytes;
	spm_hash_lay_out_entries(t);
	spm_hash_shape(t, spm_hash_bytes_min(t));
	if (!secret_make(t))
		t->root = (uintptr_t)spm_bucket_make(t, 0, 0);
	if (!t->root) {
		pFree(t);
		return NULL;
	}
	return t;
}

void phash_free(struct phash *t)
{
	if (!t)
		return;
	spm_hash_unmake(t, NULL);
	pFree(t);
}

void phash_clear(struct phash *t)
{
	struct bucket *kept = bucket_of(t, 0);
	uint64_t changes = spm_hash_unmake(t, kept);

	spm_bucket_reset(t, kept, changes + 1);
	t->root = (uintptr_t)kept;
	spm_hash_resize(t, spm_hash_bytes_min(t)); /* if there is memory */
}

/* ---- keys ---- */

/* All zeros are one number, and all NaNs. */
static uint64_t double_word(const void *key)
{
	uint64_t word;
	double d;

	memcpy(&d, key, sizeof(d));
	d = d == 0 ? 0 : d != d ? __builtin_nan("") : d;
	memcpy(&word, &d, sizeof(word));
	return word;
}

static inline struct sought seek(const struct phash *t, const void *key)
{
	struct sought s = {.key = key};

	if (t->way <= WAY_DOUBLE) {
		if (t->way == WAY_WORD)
			memcpy(&s.word, key, sizeof(s.word));
		else
			s.word = double_word(key);
		s.hash = hash_of_word(t, s.word);
	} else if (t->way == WAY_BYTES) {
		s.bytes = t->key_bytes;
		s.hash = spm_hash_of_bytes(t, key, s.bytes);
	} else {
		s.bytes = strlen(key) + 1;
		s.hash = spm_hash_of_bytes(t, key, s.bytes - 1) & ~UINT64_C(1);
	}
	return s;
}

/* What an entry holds of the key; -1: ENOMEM. A string is copied. */
static int key_make(const struct phash *t, const struct sought *s, void *entry_key)
{
	struct string_key key = {s->hash >> 1 | TOP_BIT, NULL};

	if (t->way <= WAY_DOUBLE) {
		memcpy(entry_key, &s->word, sizeof(s->word));
	} else if (t->way == WAY_BYTES) {
		memcpy(entry_key, s->key, s->bytes);
	} else {
		key.text = pMallocNoPtr(s->bytes);
		if (!key.text)
			return -1;
		memcpy(key.text, s->key, s->bytes);
		memcpy(entry_key, &key, sizeof(key));
	}
	return 0;
}

static void key_free(const struct phash *t, const void *entry_key)
{
	if (t->way == WAY_STRING)
		pFree(((const struct string_key *)entry_key)->text);
}

/* ---- operations ---- */

/* The bucket for one more entry. */
static struct bucket *bucket_with_room(struct phash *t, uint64_t hash)
{
	struct bucket *b;

	while ((b = bucket_of(t, hash))->count == t->slots) {
		if (spm_hash_grow(t, hash))
			return NULL;
	}
	return b;
}

/* A key that is not there; value NULL: zeros. Both are copied before anything moves, for they may lie in the table. */
static void *entry_add(struct phash *t, const struct sought *s, const void *value)
{
	uint64_t entry[2 * PMAP_BYTES_MAX / 8];
	struct bucket *b;
	unsigned char *at;

	if (key_make(t, s, entry))
		return NULL;
	if (value)
		memcpy((unsigned char *)entry + t->value_at, value, t->value_bytes);
	b = bucket_with_room(t, s->hash);
	if (!b) {
		key_free(t, entry);
		return NULL;
	}
	b->changes++;
	at = spm_bucket_place(t, b, s->hash);
	memcpy(at, entry, t->key_bytes);
	at += t->value_at;
	if (value)
		memcpy(at, (unsigned char *)entry + t->value_at, t->value_bytes);
	return at;
}

/* The entry with that key, or NULL and what was looked for. */
static unsigned char *entry_of(const struct phash *t, const void *key, struct sought *s)
{
	*s = seek(t, key);
	return bucket_find(t, bucket_of(t, s->hash), s);
}

void *phash_get(const struct phash *t, const void *key)
{
	struct sought s;
	unsigned char *entry = entry_of(t, key, &s);

	return entry ? entry + t->value_at : NULL;
}

void *phash_put(struct phash *t, const void *key, const void *value)
{
	struct sought s;
	unsigned char *entry = entry_of(t, key, &s);

	if (!entry)
		return entry_add(t, &s, value);
	if (value)
		memmove(entry + t->value_at, value, t->value_bytes);
	return entry + t->value_at;
}

void *phash_add(struct phash *t, const void *key, const void *value)
{
	struct sought s;

	if (!entry_of(t, key, &s))
		return entry_add(t, &s, value);
	errno = EEXIST;
	return NULL;
}

/* Buckets with few entries look at their neighbour, which is another page to read, at each eighth removal only. */
bool phash_remove(struct phash *t, const void *key, void *value)
{
	struct sought s;
	unsigned char *entry = entry_of(t, key, &s);
	struct bucket *b = bucket_of(t, s.hash);
	void *text;

	if (!entry)
		return false;
	if (value)
		memcpy(value, entry + t->value_at, t->value_bytes);
	text = t->way == WAY_STRING ? ((struct string_key *)(void *)entry)->text : NULL;
	spm_bucket_take(t, b, slot_of(t, b, entry), s.hash);
	pFree(text);
	if (b->count < t->slots / 4 && !(b->count & 7))
		spm_hash_shrink(t, s.hash);
	return true;
}

uint64_t phash_count(const struct phash *t)
{
	return spm_hash_count(t);
}

/* Buckets that get three quarters of their slots' worth on the average are seldom full. */
static unsigned depth_for(const struct phash *full, uint64_t n)
{
	unsigned each = full->slots - full->slots / 4u;
	unsigned depth = 0;

	while (depth < DEPTH_MAX && n / each >> depth)
		depth++;
	return depth;
}

int phash_reserve(struct phash *t, uint64_t n)
{
	uint64_t at = 0;
	unsigned depth;

	while (t->slots < n && t->bucket_bytes < spm_hash_bytes_full(t)) {
		if (spm_hash_resize(t, 2 * t->bucket_bytes))
			return -1;
	}
	depth = t->slots < n ? depth_for(t, n) : 0;
	if (depth > RESERVED_DEPTH_MAX) {
		errno = ENOMEM;
		return -1;
	}
	do {
		while (bucket_of(t, at)->depth < depth) {
			if (spm_hash_grow(t, at))
				return -1;
		}
		at = bucket_end(bucket_of(t, at));
	} while (at);
	return 0;
}
