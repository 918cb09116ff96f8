/* hash_iter.c - going through a hashtable while it changes.
 *
 * The order is that of the hashes, which no split, merge or removal changes: an iterator is, in essence, the hash that it has come to. So that a
 * bucket is not searched for the next higher hash again and again, the iterator sorts its slots once. It does so again if the bucket that has
 * the hash now is another one, or its `changes` are not those that were seen: an entry may have come to any slot since. For each hash the
 * changes of its bucket only grow, so a bucket that was freed and made anew at the same place is not taken for itself. Removals count as no
 * change: slots that became free are passed over. Nor do splits: what stays, stays where it is, and what goes has a bucket of its own, which comes
 * next.
 */
#include "hash.h"

#include <assert.h>

static_assert((BUCKET_BYTES - sizeof(struct bucket)) / (16 + GROUP_SLOTS_MAX * 4) * GROUP_SLOTS_MAX <= PHASH_SLOTS_MAX,
              "entries of 4 bytes fill a bucket");

struct place {
	uint64_t hash;
	uint16_t slot;
};

void phash_start(struct phash_iter *it, const struct phash *t)
{
	it->table = t;
	it->bucket = NULL;
	it->hash = 0;
	it->is_visited = false;
}

/* Those still to come, in order of slots. */
static unsigned places_list(const struct phash_iter *it, const struct bucket *b, struct place *place)
{
	const struct phash *t = it->table;
	unsigned n = 0;

	for (unsigned s = 0; (s = spm_bucket_next(t, b, s)) != NONE; s++) {
		uint64_t hash = hash_of_entry(t, entry_at(t, b, s));

		if (hash > it->hash || (hash == it->hash && !it->is_visited))
			place[n++] = (struct place){hash, (uint16_t)s};
	}
	return n;
}

/* By insertion, of what has been put in order by eight bits already: so a place moves by one or two. */
static void sort_rest(struct place *place, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct place p = place[i];
		unsigned k = i;

		for (; k && place[k - 1].hash > p.hash; k--)
			place[k] = place[k - 1];
		place[k] = p;
	}
}

/* By the eight bits behind those that all have. */
static void sort(const struct place *from, unsigned n, unsigned depth, struct place *to)
{
	uint16_t before[257] = {0};

	for (unsigned i = 0; i < n; i++)
		before[(from[i].hash << depth >> 56) + 1]++;
	for (unsigned i = 0; i < 256; i++)
		before[i + 1] = (uint16_t)(before[i + 1] + before[i]);
	for (unsigned i = 0; i < n; i++)
		to[before[from[i].hash << depth >> 56]++] = from[i];
	sort_rest(to, n);
}

static void bucket_enter(struct phash_iter *it, const struct bucket *b)
{
	struct place listed[PHASH_SLOTS_MAX], sorted[PHASH_SLOTS_MAX];

	it->bucket = b;
	it->changes = b->changes;
	it->next = 0;
	it->entries = places_list(it, b, listed);
	sort(listed, it->entries, b->depth, sorted);
	for (unsigned i = 0; i < it->entries; i++)
		it->slot[i] = sorted[i].slot;
}

/* The next of the bucket that the iterator is in. */
static bool entry_next(struct phash_iter *it)
{
	const struct phash *t = it->table;
	const struct bucket *b = it->bucket;

	while (it->next < it->entries) {
		unsigned slot = it->slot[it->next++];
		const unsigned char *entry = entry_at(t, b, slot);

		if (slot_is_free(b, slot))
			continue;
		it->hash = hash_of_entry(t, entry);
		it->is_visited = true;
		it->key = t->way == WAY_STRING ? ((const struct string_key *)(const void *)entry)->text
		                               : (const void *)entry;
		it->value = (void *)(uintptr_t)(entry + t->value_at);
		return true;
	}
	return false;
}

bool phash_next(struct phash_iter *it)
{
	const struct bucket *b = bucket_of(it->table, it->hash);

	if (b != it->bucket || b->changes != it->changes)
		bucket_enter(it, b);
	while (!entry_next(it)) {
		uint64_t end = bucket_end(b);

		if (!end)
			return false;
		it->hash = end;
		it->is_visited = false;
		b = bucket_of(it->table, end);
		bucket_enter(it, b);
	}
	return true;
}
