/* hash_bucket.c - the hashtable's buckets: entries of one page, see hash.h. */
#include "hash.h"

#include <assert.h>

static_assert(sizeof(struct bucket) == 32, "groups are aligned to 16 bytes");

uint64_t spm_hash_of_bytes(const struct phash *t, const void *bytes, size_t n)
{
	return XXH3_64bits_withSecret(bytes, n, t->secret, sizeof(t->secret));
}

/* ---- geometry ---- */

/* Groups of this size that fit. */
static uint32_t groups_that_fit(const struct phash *t, uint32_t bucket_bytes, uint32_t group_slots)
{
	return (uint32_t)(bucket_bytes - sizeof(struct bucket)) / (16 + group_slots * t->entry_bytes);
}

/* The size of groups that gives most slots; or one group, of what fits. */
void spm_hash_shape(struct phash *t, uint32_t bucket_bytes)
{
	uint32_t room = (uint32_t)(bucket_bytes - sizeof(struct bucket) - 16) / t->entry_bytes;
	uint32_t best = room < GROUP_SLOTS_MIN ? room : GROUP_SLOTS_MIN, groups = 1;

	for (uint32_t n = GROUP_SLOTS_MIN; n <= GROUP_SLOTS_MAX; n++) {
		uint32_t fit = groups_that_fit(t, bucket_bytes, n);

		if (fit * n >= groups * best) {
			groups = fit;
			best = n;
		}
	}
	t->bucket_bytes = (uint16_t)bucket_bytes;
	t->groups = (uint16_t)groups;
	t->group_slots = (uint16_t)best;
	t->slots = (uint16_t)(groups * best);
	t->entries_at = (uint16_t)(sizeof(struct bucket) + 16 * groups);
}

static uint32_t bytes_for(const struct phash *t, uint32_t bytes, uint32_t slots)
{
	while (bytes < sizeof(struct bucket) + 16 + slots * t->entry_bytes)
		bytes *= 2;
	return bytes;
}

uint32_t spm_hash_bytes_min(const struct phash *t)
{
	return bytes_for(t, BUCKET_BYTES_MIN, 4);
}

uint32_t spm_hash_bytes_full(const struct phash *t)
{
	return bytes_for(t, BUCKET_BYTES, GROUP_SLOTS_MIN);
}

/* ---- a bucket ---- */

static void groups_clear(const struct phash *t, struct bucket *b)
{
	for (unsigned g = 0; g < t->groups; g++) {
		memset(b->group[g], FREE, t->group_slots);
		memset(b->group[g] + t->group_slots, NO_SLOT, PASSED - t->group_slots);
		b->group[g][PASSED] = 0;
	}
}

struct bucket *spm_bucket_make(const struct phash *t, uint64_t first, unsigned depth)
{
	struct bucket *b = t->flags & BUCKETS_ARE_PLAIN ? pMallocNoPtr(t->bucket_bytes) : pMalloc(t->bucket_bytes);

	if (!b)
		return NULL;
	b->magic = BUCKET_MAGIC;
	b->id = t->id;
	b->depth = (uint8_t)depth;
	b->prefix = first >> 1 | TOP_BIT;
	b->changes = TOP_BIT;
	groups_clear(t, b);
	return b;
}

void spm_bucket_reset(const struct phash *t, struct bucket *b, uint64_t changes)
{
	b->count = 0;
	b->depth = 0;
	b->prefix = TOP_BIT;
	b->changes = changes;
	groups_clear(t, b);
	memset(entry_at(t, b, 0), 0, (size_t)t->slots * t->entry_bytes);
}

unsigned char *spm_bucket_place(const struct phash *t, struct bucket *b, uint64_t hash)
{
	unsigned g = group_of(t, hash), free, nth;

	while (!(free = slots_with(b->group[g], FREE))) {
		if (b->group[g][PASSED] < PASSED_MAX)
			b->group[g][PASSED]++;
		if (++g == t->groups)
			g = 0;
	}
	nth = (unsigned)__builtin_ctz(free);
	b->group[g][nth] = fingerprint_of(hash);
	b->count++;
	return entry_at(t, b, 16 * g + nth);
}

void spm_bucket_take(const struct phash *t, struct bucket *b, unsigned slot, uint64_t hash)
{
	for (unsigned g = group_of(t, hash); g != slot / 16; g = g + 1 == t->groups ? 0 : g + 1) {
		if (b->group[g][PASSED] < PASSED_MAX)
			b->group[g][PASSED]--;
	}
	b->group[slot / 16][slot % 16] = FREE;
	b->count--;
	memset(entry_at(t, b, slot), 0, t->entry_bytes);
}

unsigned spm_bucket_next(const struct phash *t, const struct bucket *b, unsigned slot)
{
	for (unsigned g = slot / 16, from = slot % 16; g < t->groups; g++, from = 0) {
		unsigned used = ~slots_with(b->group[g], FREE) & ((1u << t->group_slots) - 1) & ~0u << from;

		if (used)
			return 16 * g + (unsigned)__builtin_ctz(used);
	}
	return NONE;
}

void spm_bucket_divide(const struct phash *t, struct bucket *from, struct bucket *to, uint64_t bit)
{
	for (unsigned s = 0; (s = spm_bucket_next(t, from, s)) != NONE; s++) {
		unsigned char *entry = entry_at(t, from, s);
		uint64_t hash = hash_of_entry(t, entry);

		if (!(hash & bit))
			continue;
		memcpy(spm_bucket_place(t, to, hash), entry, t->entry_bytes);
		spm_bucket_take(t, from, s, hash);
	}
}

void spm_bucket_copy(const struct phash *was, const struct bucket *from, const struct phash *t, struct bucket *to)
{
	for (unsigned s = 0; (s = spm_bucket_next(was, from, s)) != NONE; s++) {
		const unsigned char *entry = entry_at(was, from, s);

		memcpy(spm_bucket_place(t, to, hash_of_entry(t, entry)), entry, t->entry_bytes);
	}
}
