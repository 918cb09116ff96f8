/* hash_directory.c - the hashtable's directory: how it grows and shrinks by a bucket. See hash.h.
 *
 * A split, step by step; b has the bits 01, and only one word of its node:
 *
 *     node 00 01 10 11            node 000 001 010 011 100 101 110 111         node 000 001 010 011 ...
 *          a  b  c  c       ->         a   a   b   b   c   c   c   c      ->        a   a   b   n
 *                            doubled                                      divided
 *
 * and a merge the same way back: n's entries to b (or b's to n, if these are fewer), the words of both to that one, the node halved if no word
 * of it stands alone any more.
 */
#include "hash.h"

#include <errno.h>

/* The node whose words lead to a bucket. */
struct site {
	uintptr_t *word; /* leads to the node; or the root, if there is no node */
	unsigned above;  /* bits of the hash that were taken before it */
};
/* Words of a node that lead to one bucket. */
struct words {
	uintptr_t *first;
	size_t count;
};

static struct site site_of(struct phash *t, uint64_t hash)
{
	struct site s = {&t->root, 0};

	for (unsigned bits; (bits = tag_of(*s.word));) {
		uintptr_t *next = &node_of(*s.word)[hash << s.above >> (64 - bits)];

		if (!tag_of(*next))
			break;
		s.word = next;
		s.above += bits;
	}
	return s;
}

static struct words words_of(const struct site *s, uint64_t hash, unsigned depth)
{
	unsigned bits = tag_of(*s->word);
	size_t count = (size_t)1 << (bits - (depth - s->above)), at = hash << s->above >> (64 - bits);

	return (struct words){&node_of(*s->word)[at & ~(count - 1)], count};
}

static void words_set(struct words w, const struct bucket *b)
{
	for (size_t i = 0; i < w.count; i++)
		w.first[i] = (uintptr_t)b;
}

/* ---- nodes ---- */

static uintptr_t *node_make(unsigned bits)
{
	return pMalloc(sizeof(uintptr_t) << bits);
}

static int node_double(struct site *s)
{
	unsigned bits = tag_of(*s->word);
	uintptr_t *small = node_of(*s->word), *large = node_make(bits + 1);

	if (!large)
		return -1;
	for (size_t i = 0; i < (size_t)2 << bits; i++)
		large[i] = small[i / 2];
	*s->word = (uintptr_t)large | (bits + 1);
	pFree(small);
	return 0;
}

/* Puts a node of two words where one word led to a bucket. */
static int node_below(struct site *s, uint64_t hash)
{
	unsigned bits = tag_of(*s->word);
	uintptr_t *word = bits ? &node_of(*s->word)[hash << s->above >> (64 - bits)] : s->word;
	uintptr_t *node = node_make(1);

	if (!node)
		return -1;
	node[0] = node[1] = *word;
	*word = (uintptr_t)node | 1;
	*s = (struct site){word, s->above + bits};
	return 0;
}

static bool node_has_pairs(const uintptr_t *node, unsigned bits)
{
	for (size_t i = 0; i < (size_t)1 << bits; i += 2) {
		if (node[i] != node[i + 1])
			return false;
	}
	return true;
}

/* If all words are in pairs. A failure leaves it as large as it is. */
static void node_halve(const struct site *s)
{
	unsigned bits = tag_of(*s->word);
	uintptr_t *large = node_of(*s->word), *small;

	if (!node_has_pairs(large, bits))
		return;
	if (bits > 1) {
		small = node_make(bits - 1);
		if (!small)
			return;
		for (size_t i = 0; i < (size_t)1 << (bits - 1); i++)
			small[i] = large[2 * i];
		*s->word = (uintptr_t)small | (bits - 1);
	} else {
		*s->word = large[0];
	}
	pFree(large);
}

/* ---- buckets ---- */

int spm_hash_resize(struct phash *t, uint32_t bucket_bytes)
{
	struct bucket *b, *was_b = (struct bucket *)t->root;
	struct phash was = *t;

	spm_hash_shape(t, bucket_bytes);
	b = spm_bucket_make(t, 0, 0);
	if (!b) {
		*t = was;
		return -1;
	}
	b->changes = was_b->changes + 1;
	spm_bucket_copy(&was, was_b, t, b);
	t->root = (uintptr_t)b;
	pFree(was_b);
	return 0;
}

/* So that a bucket has at least two words. */
static int words_have_two(struct site *s, const struct bucket *b, uint64_t hash)
{
	unsigned bits = tag_of(*s->word);

	if (b->depth - s->above < bits)
		return 0;
	return bits && bits < NODE_BITS_MAX ? node_double(s) : node_below(s, hash);
}

static int split(struct phash *t, struct bucket *b, uint64_t hash)
{
	uint64_t bit = TOP_BIT >> b->depth;
	struct site s = site_of(t, hash);
	struct bucket *beside = spm_bucket_make(t, bucket_first(b) | bit, b->depth + 1u);
	struct words w;

	if (!beside)
		return -1;
	if (words_have_two(&s, b, hash)) {
		pFree(beside);
		return -1;
	}
	w = words_of(&s, hash, b->depth);
	words_set((struct words){w.first + w.count / 2, w.count / 2}, beside);
	b->depth++;
	beside->changes = b->changes;
	spm_bucket_divide(t, b, beside, bit);
	return 0;
}

int spm_hash_grow(struct phash *t, uint64_t hash)
{
	struct bucket *b = bucket_of(t, hash);

	if (t->bucket_bytes < spm_hash_bytes_full(t))
		return spm_hash_resize(t, 2 * t->bucket_bytes);
	if (b->depth == DEPTH_MAX) {
		errno = EOVERFLOW;
		return -1;
	}
	return split(t, b, hash);
}

/* `gone` had the same bits but the last one. */
static void merge(struct phash *t, struct bucket *stays, struct bucket *gone)
{
	uint64_t hash = bucket_first(gone);
	struct site s = site_of(t, hash);

	spm_bucket_copy(t, gone, t, stays);
	if (gone->changes > stays->changes)
		stays->changes = gone->changes;
	stays->changes++;
	if (gone->prefix < stays->prefix)
		stays->prefix = gone->prefix;
	stays->depth--;
	words_set(words_of(&s, hash, stays->depth), stays);
	pFree(gone);
	node_halve(&s);
}

static void shrink_only(struct phash *t, const struct bucket *b)
{
	if (t->bucket_bytes > spm_hash_bytes_min(t) && b->count <= t->slots / 4)
		spm_hash_resize(t, t->bucket_bytes / 2);
}

void spm_hash_shrink(struct phash *t, uint64_t hash)
{
	struct bucket *b = bucket_of(t, hash), *beside;

	if (!b->depth) {
		shrink_only(t, b);
		return;
	}
	beside = bucket_of(t, bucket_first(b) ^ TOP_BIT >> (b->depth - 1));
	if (beside->depth != b->depth || b->count + beside->count > t->slots / 2)
		return;
	if (b->count < beside->count)
		merge(t, beside, b);
	else
		merge(t, b, beside);
}

/* ---- all of it ---- */

/* By the directory, so that the processor waits for many buckets at a time. */
static uint64_t word_count(uintptr_t word)
{
	const uintptr_t *node = node_of(word);
	unsigned bits = tag_of(word);
	uint64_t n = 0;

	if (!bits)
		return ((const struct bucket *)word)->count;
	for (size_t i = 0; i < (size_t)1 << bits; i++) {
		if (!i || node[i] != node[i - 1])
			n += word_count(node[i]);
	}
	return n;
}

uint64_t spm_hash_count(const struct phash *t)
{
	return word_count(t->root);
}

static uint64_t bucket_unmake(const struct phash *t, struct bucket *b, const struct bucket *kept)
{
	uint64_t changes = b->changes;

	if (t->way == WAY_STRING) {
		for (unsigned s = 0; (s = spm_bucket_next(t, b, s)) != NONE; s++)
			pFree(((struct string_key *)(void *)entry_at(t, b, s))->text);
	}
	if (b != kept)
		pFree(b);
	return changes;
}

static uint64_t word_unmake(const struct phash *t, uintptr_t word, const struct bucket *kept)
{
	uintptr_t *node = node_of(word);
	unsigned bits = tag_of(word);
	uint64_t changes = 0;

	if (!bits)
		return bucket_unmake(t, (struct bucket *)word, kept);
	for (size_t i = 0; i < (size_t)1 << bits; i++) {
		uint64_t its = i && node[i] == node[i - 1] ? 0 : word_unmake(t, node[i], kept);

		changes = its > changes ? its : changes;
	}
	pFree(node);
	return changes;
}

uint64_t spm_hash_unmake(struct phash *t, const struct bucket *kept)
{
	uint64_t changes = word_unmake(t, t->root, kept);

	t->root = 0;
	return changes;
}
