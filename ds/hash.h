/* hash.h - the hashtable's inside: pages of entries, and the directory that leads to them. See <softpm/hash.h>.
 *
 * Extendible hashing (Fagin et al., 1979) in a trie. A bucket has all entries whose hashes begin with the same `depth` bits. When it
 * is full, half of it goes into a bucket beside it, by the next bit; no other bucket knows. The directory leads from a hash to its bucket by
 * nodes of 2 to 512 words; a node has a word for each value of the next bits, and several words beside each other lead to the same bucket
 * if that has fewer bits. A node doubles when one of its buckets needs another bit; when it has 512 words, a node is put below it instead.
 *
 *   struct phash            node of 2^9 words                   node of 2^1 words     buckets
 *     root  ------------->  +---+---+---+-- ...  --+---+        +---+---+             +-------------------------+
 *     (tag 9)               |   |   | o | tag 1    |   |  --->  | o | o |  -------->  | header | groups | entries |
 *                           +---+---+---+--        +---+        +---+---+             +-------------------------+
 *
 * The low four bits of a word that leads to a node tell how many bits of the hash it takes; 0: the word leads to a bucket. So a lookup
 * touches nothing but the words it follows, all of a directory's page is words, and discovery sees tagged pointers as inner ones.
 *
 * A bucket's slots are in groups of up to 15. Each has 16 bytes: a fingerprint for each slot (some bits of the hash), then how many
 * entries have passed it because it was full. An entry lies in the group that its hash names or, if that is full, in the next with room; so who looks for
 * one compares 16 bytes at a time, and goes on to the next group only if entries passed this one. Removal leaves nothing behind.
 *
 * A table with one bucket has a small one, which doubles until it is of full size.
 *
 * Words that look like addresses. Buckets with pointers in them are searched, and what looks like a pointer may change when a container
 * moves; so nothing of the table's own that is none may look like one. Numbers of 64 bits, and hashes of strings, have their top bit set; of
 * all other words one of the two upper bytes is not 0. Keys that are numbers lie as the program gave them: so <softpm/hash.h> warns.
 *
 * Invariants
 *  1. The table's magic and geometry are right.
 *  2. Each node has 2 to 512 words (and something that only one of these leads to, unless there was no memory when it should shrink).
 *  3. A bucket is found by exactly the words of one node that its depth and prefix say, and has the table's ID.
 *  4. The count is that of the slots in use; of a slot not in use the entry is zero.
 *  5. Each entry's hash begins with the bucket's prefix, and its fingerprint is that of the hash.
 *  6. The last byte of a group counts the entries that lie in groups behind it and would lie in it, or before it, if there had been room; or it
 *     is PASSED_MAX, and stays so.
 *  7. No key is there twice.
 *
 * What changes a table allocates first, and changes it when nothing can fail any more; a split is whole by itself, whatever comes after it.
 */
#ifndef SPM_DS_HASH_H
#define SPM_DS_HASH_H

#define XXH_INLINE_ALL
#include <emmintrin.h>
#include <softpm/hash.h>
#include <string.h>
#include <xxhash.h>

enum {
	TABLE_MAGIC = 0x50486173,  /* "PHas" */
	BUCKET_MAGIC = 0x50486275, /* "PHbu" */
	BUCKET_BYTES = 4096,       /* of full size, unless entries are large */
	BUCKET_BYTES_MIN = 256,
	GROUP_SLOTS_MIN = 12, /* of buckets of full size */
	GROUP_SLOTS_MAX = 15,
	NODE_BITS_MAX = 9,
	DEPTH_MAX = 63,
	RESERVED_DEPTH_MAX = 36, /* more pages than any heap has */
	PASSED = 15,             /* byte of a group that counts the entries which passed it */
	PASSED_MAX = 100,
	FREE = 255,
	NO_SLOT = 254, /* fingerprints are 1 to 253 */
	PMAP_BYTES_MAX = 1024,
	NONE = UINT16_MAX,
};
#define TOP_BIT (UINT64_C(1) << 63)

enum table_flags { VALUES_ARE_PLAIN = 1, BUCKETS_ARE_PLAIN = 2 };
enum key_way { WAY_WORD, WAY_DOUBLE, WAY_BYTES, WAY_STRING };

struct bucket {
	uint16_t count;
	uint8_t depth, zero;
	uint32_t magic;
	uint64_t id;      /* of the table */
	uint64_t prefix;  /* lowest hash that belongs here, halved, and the top bit */
	uint64_t changes; /* since the table began, of these hashes: insertions and merges; and the top bit */
	unsigned char group[][16];
};
struct string_key {
	uint64_t hash; /* halved, and the top bit */
	char *text;
};
/* A key that is looked for. */
struct sought {
	uint64_t hash, word;
	const void *key;
	size_t bytes; /* WAY_BYTES, WAY_STRING (with the 0) */
};

/* ---- hashes: directory bits from the top; bits 1 to 8 the fingerprint, 9 to 32 the group; bit 0 of a string's is 0 ---- */

static inline uint64_t hash_of_word(const struct phash *t, uint64_t word)
{
	return XXH3_64bits_withSecret(&word, sizeof(word), t->secret, sizeof(t->secret));
}

uint64_t spm_hash_of_bytes(const struct phash *t, const void *bytes, size_t n);

static inline uint64_t hash_of_entry(const struct phash *t, const unsigned char *entry)
{
	uint64_t word;

	if (t->way == WAY_BYTES)
		return spm_hash_of_bytes(t, entry, t->key_bytes);
	memcpy(&word, entry, sizeof(word));
	return t->way == WAY_STRING ? word << 1 : hash_of_word(t, word);
}

static inline unsigned char fingerprint_of(uint64_t hash)
{
	return (unsigned char)(1 + ((hash >> 1 & 0xff) * 253 >> 8));
}

static inline unsigned group_of(const struct phash *t, uint64_t hash)
{
	return (unsigned)((hash >> 9 & 0xffffff) * t->groups >> 24);
}

/* ---- buckets ---- */

static inline uint64_t bucket_first(const struct bucket *b)
{
	return b->prefix << 1;
}
/* The first hash beyond; 0: none is. */
static inline uint64_t bucket_end(const struct bucket *b)
{
	return b->depth ? bucket_first(b) + (UINT64_C(1) << (64 - b->depth)) : 0;
}

/* The number of a slot is that of its fingerprint's byte: 16 for each group before, and its place in the group. */
static inline unsigned char *entry_at(const struct phash *t, const struct bucket *b, unsigned slot)
{
	return (unsigned char *)b + t->entries_at + (size_t)(slot / 16 * t->group_slots + slot % 16) * t->entry_bytes;
}
static inline unsigned slot_of(const struct phash *t, const struct bucket *b, const unsigned char *entry)
{
	unsigned nth = (unsigned)(entry - entry_at(t, b, 0)) / t->entry_bytes;

	return nth / t->group_slots * 16 + nth % t->group_slots;
}
static inline bool slot_is_free(const struct bucket *b, unsigned slot)
{
	return b->group[slot / 16][slot % 16] == FREE;
}

/* The slots of a group that have this fingerprint, or FREE, a bit each. */
static inline unsigned slots_with(const unsigned char *group, unsigned char fingerprint)
{
	__m128i all = _mm_load_si128((const __m128i *)(const void *)group);

	return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(all, _mm_set1_epi8((char)fingerprint))) & 0x7fff;
}

static inline bool entry_is(const struct phash *t, const unsigned char *entry, const struct sought *s)
{
	const struct string_key *key = (const void *)entry;

	if (t->way <= WAY_DOUBLE)
		return !memcmp(entry, &s->word, sizeof(s->word));
	if (t->way == WAY_BYTES)
		return !memcmp(entry, s->key, s->bytes);
	return key->hash << 1 == s->hash && !strcmp(key->text, s->key);
}

/* NULL: not there. */
static inline unsigned char *bucket_find(const struct phash *t, const struct bucket *b, const struct sought *s)
{
	unsigned char fingerprint = fingerprint_of(s->hash);
	unsigned g = group_of(t, s->hash);

	for (unsigned n = t->groups; n; n--) {
		const unsigned char *group = b->group[g];

		for (unsigned found = slots_with(group, fingerprint); found; found &= found - 1) {
			unsigned char *entry = entry_at(t, b, 16 * g + (unsigned)__builtin_ctz(found));

			if (entry_is(t, entry, s))
				return entry;
		}
		if (!group[PASSED])
			return NULL;
		if (++g == t->groups)
			g = 0;
	}
	return NULL;
}

/* Geometry of entries, whose keys' and values' sizes are known. */
void spm_hash_lay_out_entries(struct phash *t);
/* Geometry of buckets of this size. */
void spm_hash_shape(struct phash *t, uint32_t bucket_bytes);
/* With room for at least four entries, and of full size. */
uint32_t spm_hash_bytes_min(const struct phash *t);
uint32_t spm_hash_bytes_full(const struct phash *t);

/* An empty one, for the table's present geometry; NULL: ENOMEM. */
struct bucket *spm_bucket_make(const struct phash *t, uint64_t first, unsigned depth);
/* Empties it: what is all hashes from now on. */
void spm_bucket_reset(const struct phash *t, struct bucket *b, uint64_t changes);
/* The entry, zero, for a key that is not there; there must be room. */
unsigned char *spm_bucket_place(const struct phash *t, struct bucket *b, uint64_t hash);
/* `hash` is that of the entry in this slot. */
void spm_bucket_take(const struct phash *t, struct bucket *b, unsigned slot, uint64_t hash);
static inline const void *key_of(const struct phash *t, const unsigned char *entry)
{
	return t->way == WAY_STRING ? ((const struct string_key *)(const void *)entry)->text : (const void *)entry;
}

/* The next slot in use, from `slot` on; NONE: there is none. */
unsigned spm_bucket_next(const struct phash *t, const struct bucket *b, unsigned slot);
/* Moves the entries whose hashes have this bit. */
void spm_bucket_divide(const struct phash *t, struct bucket *from, struct bucket *to, uint64_t bit);
/* All entries; `from` is of the geometry of another table, or of this one before. */
void spm_bucket_copy(const struct phash *was, const struct bucket *from, const struct phash *t, struct bucket *to);

/* ---- the directory ---- */

static inline unsigned tag_of(uintptr_t word)
{
	return word & 15;
}
static inline uintptr_t *node_of(uintptr_t word)
{
	return (uintptr_t *)(word & ~(uintptr_t)15);
}

static inline struct bucket *bucket_of(const struct phash *t, uint64_t hash)
{
	uintptr_t word = t->root;

	for (unsigned bits; (bits = tag_of(word)); hash <<= bits)
		word = node_of(word)[hash >> (64 - bits)];
	return (struct bucket *)word;
}

/* One bucket more of those that may have this hash; -1: ENOMEM, EOVERFLOW, the table is as it was. */
int spm_hash_grow(struct phash *t, uint64_t hash);
/* The bucket of this hash has few entries: one bucket less, if another has few, too, and there is memory. */
void spm_hash_shrink(struct phash *t, uint64_t hash);
/* The only bucket gets another size. */
int spm_hash_resize(struct phash *t, uint32_t bucket_bytes);
uint64_t spm_hash_count(const struct phash *t);
/* Frees all keys, nodes and buckets, but for `kept`; the root leads nowhere then. Returns the highest `changes` of a bucket. */
uint64_t spm_hash_unmake(struct phash *t, const struct bucket *kept);

/* ---- two tables ---- */

/* Hashes from `first` to that before `end`, which may be 0: to the last. */
struct hash_range {
	uint64_t first, end;
};
struct hash_ranges {
	struct hash_range *range;
	size_t n;
};
/* Where versions of a table may differ; all, of other tables, or if not may_ask: pDiffer, of these containers. To be freed by
 * free(list->range), also after a failure, -1. */
int spm_hash_changed(const struct phash *before, const struct phash *after, const int *container, bool may_ask,
                     struct hash_ranges *list);
bool spm_hash_is_like(const struct phash *t, const struct phash *other);

#endif
