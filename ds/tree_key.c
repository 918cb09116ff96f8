/* tree_key.c - comparing keys, and searching for them in a node. See tree_node.h. */
#include "tree_node.h"

#include <string.h>

/* ---- keys and their words ---- */

static uint64_t word_of_double(uint64_t bits)
{
	return bits ^ (bits >> 63 ? ~UINT64_C(0) : SPM_WORD_TOP);
}

uint64_t spm_double_bits(const void *key)
{
	double number;
	uint64_t bits;

	memcpy(&number, key, 8);
	if (number != number)
		return UINT64_C(0x7ff8000000000000);
	memcpy(&bits, key, 8);
	return bits == SPM_WORD_TOP ? 0 : bits;
}

uint64_t spm_string_word(const char *s)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < 8 && s[i]; i++)
		word |= (uint64_t)(unsigned char)s[i] << (56 - 8 * i);
	return word;
}

int spm_stem_compare(const struct spm_stem *stem, const char *string)
{
	return strncmp(stem->text, string, stem->bytes);
}

/* Of a key as it lies in a node; of a string: as it is. */
static inline uint64_t word_of(const struct ptree *t, uint64_t key)
{
	switch (t->type.key_kind) {
	case PKEY_DOUBLE:
		return word_of_double(key);
	case PKEY_INT64:
		return key ^ SPM_WORD_TOP;
	default:
		return key;
	}
}

struct spm_tree_key spm_tree_key(const struct ptree *t, const void *key)
{
	struct spm_tree_key k = {.bytes = key};

	switch (t->type.key_kind) {
	case PKEY_INT64:
	case PKEY_UINT64:
		memcpy(&k.word, key, 8);
		k.word = word_of(t, k.word);
		break;
	case PKEY_DOUBLE:
		k.word = word_of(t, spm_double_bits(key));
		break;
	case PKEY_STRING:
	case PKEY_BYTES:
	case PKEY_CUSTOM:
		break;
	}
	return k;
}

struct spm_tree_key spm_leaf_key(const struct ptree *t, const struct ptree_node *leaf, unsigned i)
{
	if (t->type.key_kind == PKEY_STRING)
		return (struct spm_tree_key){.bytes = spm_node_strings(t, leaf)[i]};
	return spm_tree_key(t, spm_node_at(t, leaf, COLUMN_KEYS, i));
}

/* ---- samples ---- */

/* The samples are the last ones of groups of so many of n keys; the last group has none. */
static size_t group_of(size_t n)
{
	return n / (SPM_SAMPLES + 1) + 1;
}

static void samples_of(const struct ptree *t, const struct ptree_node *node, uint64_t sample[SPM_SAMPLES])
{
	size_t first = node->level > 0, n = node->entries > first ? node->entries - first : 0, group = group_of(n);
	const uint64_t *key = spm_node_words(t, node) + first;

	for (size_t i = 0, last = group - 1; i < SPM_SAMPLES; i++, last += group)
		sample[i] = last < n ? word_of(t, key[last]) : UINT64_MAX;
}

void spm_node_sample(const struct ptree *t, struct ptree_node *node)
{
	if (spm_keys_are_words(t))
		samples_of(t, node, spm_node_samples(t, node));
}

bool spm_node_is_sampled(const struct ptree *t, const struct ptree_node *node)
{
	uint64_t sample[SPM_SAMPLES];

	if (!spm_keys_are_words(t))
		return true;
	samples_of(t, node, sample);
	return !memcmp(sample, spm_node_samples(t, node), sizeof(sample));
}

/* ---- search ---- */

/* How many of n ascending keys have words below that. No branch depends on what is compared. The kind is told apart outside of the loops:
 * doubles, or by which bits keys and words differ. */
static inline __attribute__((always_inline)) size_t keys_below(const uint64_t *key, size_t n, uint64_t below,
                                                               uint64_t turn, bool are_doubles)
{
#define WORD(i) (are_doubles ? word_of_double(from[i]) : from[i] ^ turn)
	const uint64_t *from = key;
	size_t rest = 0;

	while (n > 8) {
		size_t half = n / 2;

		from += half & -(size_t)(WORD(half - 1) < below);
		n -= half;
	}
	for (size_t i = 0; i < n; i++)
		rest += WORD(i) < below;
	return (size_t)(from - key) + rest;
#undef WORD
}

static size_t words_below(const struct ptree *t, const uint64_t *key, size_t n, uint64_t below)
{
	if (t->type.key_kind == PKEY_DOUBLE)
		return keys_below(key, n, below, 0, true);
	return keys_below(key, n, below, t->type.key_kind == PKEY_INT64 ? SPM_WORD_TOP : 0, false);
}

/* A search of n keys that ends between two samples reads these, and what belongs to them: all comes into the cache at once. */
static void prefetch(const struct ptree *t, const struct ptree_node *node, size_t first, size_t n)
{
	enum { WORDS_IN_LINE = 8 };

	for (size_t i = 0; i < n; i += WORDS_IN_LINE)
		__builtin_prefetch(spm_node_words(t, node) + first + i);
	__builtin_prefetch(spm_node_at(t, node, COLUMN_ITEMS, first));
	__builtin_prefetch(spm_node_at(t, node, COLUMN_ITEMS, first + n / 2));
}

/* Of elements [first, entries): how many are below. */
static size_t node_words_below(const struct ptree *t, const struct ptree_node *node, size_t first, uint64_t below)
{
	enum { FEW = 32 };
	const uint64_t *key = spm_node_words(t, node) + first, *sample = spm_node_samples(t, node);
	size_t n = node->entries - first, group = group_of(n), from = 0;

	if (n <= FEW)
		return words_below(t, key, n, below);
#pragma GCC unroll 14
	for (unsigned i = 0; i < SPM_SAMPLES; i++)
		from += sample[i] < below;
	from *= group;
	group = n - from < group ? n - from : group;
	prefetch(t, node, first + from, group);
	return from + words_below(t, key + from, group, below);
}

static size_t node_words_bound(const struct ptree *t, const struct ptree_node *node, unsigned first, uint64_t word,
                               bool or_equal)
{
	if (!or_equal)
		return node_words_below(t, node, first, word);
	return word == UINT64_MAX ? node->entries - first : node_words_below(t, node, first, word + 1);
}

/* As strcmp, of keys with the same word. */
static int compare_bytes(const struct ptree *t, const void *a, const void *b)
{
	switch (t->type.key_kind) {
	case PKEY_STRING:
		return strcmp(a, b);
	case PKEY_BYTES:
		return memcmp(a, b, spm_key_bytes(t));
	case PKEY_CUSTOM:
		return t->type.compare(a, b);
	default:
		return 0;
	}
}

/* Of element i, to a key with the same word. */
static int compare_at(const struct ptree *t, const struct ptree_node *node, unsigned i, const struct spm_tree_key *key)
{
	bool is_string = t->type.key_kind == PKEY_STRING;

	return compare_bytes(t, is_string ? spm_node_strings(t, node)[i] : spm_node_at(t, node, COLUMN_KEYS, i),
	                     key->bytes);
}

/* How many before element `to` are below (or_equal: not above) the key, if those before `from` are. */
static unsigned search(const struct ptree *t, const struct ptree_node *node, unsigned from, unsigned to,
                       const struct spm_tree_key *key, bool or_equal)
{
	while (from < to) {
		unsigned middle = (from + to) / 2;

		if (compare_at(t, node, middle, key) < or_equal)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static unsigned string_bound(const struct ptree *t, const struct ptree_node *node, unsigned first,
                             const struct spm_tree_key *key, bool or_equal)
{
	const struct spm_stem *stem = spm_node_stem(t, node);
	int order = spm_stem_compare(stem, key->bytes);
	unsigned from, to;
	uint64_t word;

	if (order)
		return order < 0 ? node->entries - first : 0;
	word = spm_string_word((const char *)key->bytes + stem->bytes);
	from = to = first + (unsigned)node_words_below(t, node, first, word);
	while (to < node->entries && spm_node_words(t, node)[to] == word)
		to++;
	return search(t, node, from, to, key, or_equal) - first;
}

unsigned spm_node_bound(const struct ptree *t, const struct ptree_node *node, const struct spm_tree_key *key,
                        bool or_equal)
{
	unsigned first = node->level > 0; /* the first child has no key */

	switch (t->type.key_kind) {
	case PKEY_BYTES:
	case PKEY_CUSTOM:
		return search(t, node, first, node->entries, key, or_equal) - first;
	case PKEY_STRING:
		return string_bound(t, node, first, key, or_equal);
	default:
		return (unsigned)node_words_bound(t, node, first, key->word, or_equal);
	}
}

int spm_keys_compare(const struct ptree *t, const struct spm_tree_key *a, const struct spm_tree_key *b)
{
	if (a->word != b->word)
		return a->word < b->word ? -1 : 1;
	return compare_bytes(t, a->bytes, b->bytes);
}

bool spm_leaf_has(const struct ptree *t, const struct ptree_node *leaf, unsigned i, const struct spm_tree_key *key)
{
	struct spm_tree_key there;

	if (i >= leaf->entries)
		return false;
	there = spm_leaf_key(t, leaf, i);
	return !spm_keys_compare(t, &there, key);
}

int spm_leaf_compare(const struct ptree *t, const struct ptree_node *a, unsigned i, const struct ptree_node *b,
                     unsigned j)
{
	struct spm_tree_key x = spm_leaf_key(t, a, i), y = spm_leaf_key(t, b, j);

	return spm_keys_compare(t, &x, &y);
}
