/* hash_check.c - the hashtable's invariants, numbered as in hash.h. */
#include "hash.h"
#include "there.h"

#include <errno.h>
#include <stdio.h>

static bool bytes_are_zero(const unsigned char *p, size_t n)
{
	return !n || (!*p && !memcmp(p, p + 1, n - 1));
}

static bool keys_make_sense(const struct phash *t)
{
	static const uint16_t key_bytes[] = {
	        [WAY_WORD] = 8, [WAY_DOUBLE] = 8, [WAY_STRING] = sizeof(struct string_key)};

	if (t->way == WAY_BYTES)
		return t->key_bytes && t->key_bytes <= PMAP_BYTES_MAX;
	return t->way <= WAY_STRING && t->key_bytes == key_bytes[t->way];
}

static bool bucket_bytes_make_sense(const struct phash *t)
{
	uint32_t full = spm_hash_bytes_full(t);

	if (t->bucket_bytes & (t->bucket_bytes - 1) || t->bucket_bytes > full)
		return false;
	return t->bucket_bytes == full || (t->bucket_bytes >= spm_hash_bytes_min(t) && !tag_of(t->root));
}

static int check_table(const struct phash *t)
{
	struct phash like = *t;

	if (t->magic != TABLE_MAGIC || !(t->id & TOP_BIT) || !keys_make_sense(t) || t->value_bytes > PMAP_BYTES_MAX)
		return 1;
	spm_hash_lay_out_entries(&like);
	if (!bucket_bytes_make_sense(&like))
		return 1;
	spm_hash_shape(&like, t->bucket_bytes);
	return memcmp(&like, t, sizeof(like)) ? 1 : 0;
}

static int check_header(const struct phash *t, const struct bucket *b, uint64_t first, unsigned depth)
{
	if (!spm_is_there(b, t->bucket_bytes) || b->magic != BUCKET_MAGIC || b->id != t->id ||
	    b->prefix != (first >> 1 | TOP_BIT) || b->depth != depth || !(b->changes & TOP_BIT))
		return 3;
	for (unsigned g = 0; g < t->groups; g++)
		for (unsigned i = t->group_slots; i < PASSED; i++)
			if (b->group[g][i] != NO_SLOT)
				return 6;
	return 0;
}

/* Of PKEY_STRING. */
static bool is_text_whole(const struct phash *t, const unsigned char *entry)
{
	const char *text = ((const struct string_key *)(const void *)entry)->text;

	return spm_string_is_there(text) &&
	       (spm_hash_of_bytes(t, text, strlen(text)) & ~UINT64_C(1)) == hash_of_entry(t, entry);
}

/* Counts into passed[] the groups that entries went past. */
static int check_entry(const struct phash *t, const struct bucket *b, unsigned slot, unsigned *passed)
{
	const unsigned char *entry = entry_at(t, b, slot);
	uint64_t hash = hash_of_entry(t, entry);
	unsigned g = group_of(t, hash);

	if (b->depth && (hash ^ bucket_first(b)) >> (64 - b->depth))
		return 5;
	if (b->group[slot / 16][slot % 16] != fingerprint_of(hash))
		return 5;
	if (t->way == WAY_STRING && !is_text_whole(t, entry))
		return 5;
	for (; g != slot / 16; g = g + 1 == t->groups ? 0 : g + 1)
		passed[g]++;
	return 0;
}

static struct sought sought_of(const struct phash *t, const unsigned char *entry)
{
	struct sought s = {.hash = hash_of_entry(t, entry), .key = entry, .bytes = t->key_bytes};

	if (t->way == WAY_STRING)
		s.key = ((const struct string_key *)(const void *)entry)->text;
	else if (t->way != WAY_BYTES)
		memcpy(&s.word, entry, sizeof(s.word));
	return s;
}

/* A key that is there twice is found elsewhere when looked for. */
static int check_is_found(const struct phash *t, const struct bucket *b)
{
	for (unsigned s = 0; (s = spm_bucket_next(t, b, s)) != NONE; s++) {
		struct sought key = sought_of(t, entry_at(t, b, s));

		if (bucket_find(t, b, &key) != entry_at(t, b, s))
			return 7;
	}
	return 0;
}

static int check_entries(const struct phash *t, const struct bucket *b)
{
	unsigned passed[PHASH_SLOTS_MAX] = {0}, count = 0;

	for (unsigned s = 0; s < 16u * t->groups; s++) {
		bool is_free = slot_is_free(b, s);
		int wrong;

		if (s % 16 >= t->group_slots)
			continue;
		wrong = is_free ? 0 : check_entry(t, b, s, passed);
		if (wrong)
			return wrong;
		if (is_free && !bytes_are_zero(entry_at(t, b, s), t->entry_bytes))
			return 4;
		count += !is_free;
	}
	if (count != b->count)
		return 4;
	for (unsigned g = 0; g < t->groups; g++) {
		unsigned said = b->group[g][PASSED];

		if (said > PASSED_MAX || (said < PASSED_MAX && said != passed[g]))
			return 6;
	}
	return check_is_found(t, b);
}

static int check_bucket(const struct phash *t, const struct bucket *b, uint64_t first, unsigned depth)
{
	int wrong = check_header(t, b, first, depth);

	return wrong ? wrong : check_entries(t, b);
}

/* What one word leads to; *words: how many beside each other lead there. */
static int check_word(const struct phash *t, const uintptr_t *word, uint64_t first, unsigned depth, size_t left)
{
	const struct bucket *b = (const struct bucket *)*word;
	size_t words = 1;

	while (words < left && word[words] == *word)
		words++;
	if (words & (words - 1))
		return 3;
	return check_bucket(t, b, first, depth - (unsigned)__builtin_ctzl(words));
}

/* depth: bits of the hash that were taken before the node. */
static int check_node(const struct phash *t, uintptr_t word, uint64_t first, unsigned depth)
{
	const uintptr_t *node = node_of(word);
	unsigned bits = tag_of(word);
	int wrong = 0;

	if (bits > NODE_BITS_MAX || depth + bits > DEPTH_MAX || !spm_is_there(node, sizeof(*node) << bits))
		return 2;
	for (size_t i = 0; i < (size_t)1 << bits && !wrong; i++) {
		uint64_t its = first | (uint64_t)i << (64 - depth - bits);

		if (tag_of(node[i]))
			wrong = check_node(t, node[i], its, depth + bits);
		else if (!i || node[i] != node[i - 1])
			wrong = check_word(t, &node[i], its, depth + bits, ((size_t)1 << bits) - i);
	}
	return wrong;
}

static int broken(const struct phash *t)
{
	int wrong = check_table(t);

	if (wrong)
		return wrong;
	if (tag_of(t->root))
		return check_node(t, t->root, 0, 0);
	return check_bucket(t, (const struct bucket *)t->root, 0, 0);
}

int phash_check(const struct phash *t, char *why, size_t bytes)
{
	static const char *const sentence[] = {
	        NULL,
	        "1: this is no table, or its header was overwritten",
	        "2: a node of the directory is not there, or larger than any can be",
	        "3: a page of entries is not where its header says, or is of another table",
	        "4: a page's count is wrong, or it has something where no entry is",
	        "5: an entry lies in the wrong page, has the wrong fingerprint, or its string was overwritten",
	        "6: a group's number of entries that passed it is wrong, or what lies behind its slots",
	        "7: a key is there twice, or is not found",
	};
	int wrong = broken(t);

	if (!wrong)
		return 0;
	if (bytes)
		snprintf(why, bytes, "%s", sentence[wrong]);
	errno = EUCLEAN;
	return -1;
}
