/* tree_node.c - see tree_node.h. */
#include "tree_node.h"

#include <string.h>
#include <xxhash.h>

/* ---- layout ---- */

enum { NODE_BYTES = 4096, ENTRIES_MIN = 7 };

static bool keys_have_pointers(const struct pmap_type *type)
{
	return (type->key_kind == PKEY_BYTES || type->key_kind == PKEY_CUSTOM) && !(type->flags & PMAP_PLAIN_KEYS);
}

static bool leaves_have_pointers(const struct pmap_type *type)
{
	return keys_have_pointers(type) || type->key_kind == PKEY_STRING ||
	       (type->value_bytes && !(type->flags & PMAP_PLAIN_VALUES));
}

/* The column begins behind *at, at a multiple of 16: keys and values of any type are aligned. */
static void lay_column(struct ptree_layout *layout, unsigned column, const uint32_t *bytes, size_t *at)
{
	*at = (*at + 15) & ~(size_t)15;
	layout->column[column] = (struct ptree_column){(uint16_t)*at, (uint16_t)bytes[column], UINT32_MAX};
	*at += (size_t)bytes[column] * layout->max;
}

/* Whether so many elements fit into a node, or each of its parts, of so many bytes. */
static bool lay_out(struct ptree_layout *layout, const uint32_t *bytes, size_t header, bool is_split, size_t max,
                    size_t room)
{
	size_t node = header, plain = 0;

	layout->max = (uint16_t)max;
	layout->top = UINT16_MAX;
	lay_column(layout, COLUMN_KEYS, bytes, is_split ? &plain : &node);
	lay_column(layout, COLUMN_STRINGS, bytes, &node);
	lay_column(layout, COLUMN_ITEMS, bytes, &node);
	lay_column(layout, COLUMN_COUNTS, bytes, is_split ? &plain : &node);
	layout->bytes = (uint16_t)node;
	layout->plain_bytes = (uint16_t)plain;
	return node <= room && plain <= room;
}

/* As many as fit, ENTRIES_MIN at least. */
static void lay_out_best(struct ptree_layout *layout, const uint32_t *bytes, size_t header, bool is_split)
{
	size_t room = NODE_BYTES, max;

	while (!lay_out(layout, bytes, header, is_split, ENTRIES_MIN, room))
		room *= 2;
	for (max = room / (bytes[0] > bytes[2] ? bytes[0] : bytes[2]);
	     !lay_out(layout, bytes, header, is_split, max, room);)
		max--;
	/* Whole pages, whose slots in the heap begin where pages do. */
	if (layout->bytes > room / 2)
		layout->bytes = (uint16_t)room;
	if (layout->plain_bytes > room / 2)
		layout->plain_bytes = (uint16_t)room;
}

static bool type_makes_sense(const struct pmap_type *type)
{
	if (type->key_kind < PKEY_INT64 || type->key_kind > PKEY_CUSTOM)
		return false;
	if (!type->key_bytes || type->key_bytes > 1024 || type->value_bytes > 1024)
		return false;
	return type->key_kind != PKEY_CUSTOM || type->compare;
}

bool spm_tree_lay_out(struct ptree *t)
{
	uint32_t strings = t->type.key_kind == PKEY_STRING ? sizeof(char *) : 0;
	bool has_pointers;

	if (t->type.key_kind < PKEY_BYTES || t->type.key_kind == PKEY_STRING)
		t->type.key_bytes = 8;
	if (!type_makes_sense(&t->type))
		return false;
	has_pointers = leaves_have_pointers(&t->type);
	lay_out_best(&t->layout[0], (uint32_t[]){t->type.key_bytes, strings, t->type.value_bytes, 0},
	             has_pointers ? SPM_SPLIT_HEADER : SPM_HEADER,
	             has_pointers && !strings && !keys_have_pointers(&t->type));
	lay_out_best(&t->layout[1], (uint32_t[]){t->type.key_bytes, strings, sizeof(void *), 0}, SPM_SPLIT_HEADER,
	             true);
	lay_out_best(&t->layout[2], (uint32_t[]){t->type.key_bytes, strings, sizeof(void *), sizeof(uint64_t)},
	             SPM_SPLIT_HEADER, true);
	return true;
}

static void *allocate(size_t bytes, bool has_pointers)
{
	return has_pointers ? pMalloc(bytes) : pMallocNoPtr(bytes);
}

struct ptree_node *spm_node_make(const struct ptree *t, unsigned level)
{
	const struct ptree_layout *layout = &t->layout[spm_layout_of(level)];
	struct ptree_node *node = allocate(layout->bytes, level || leaves_have_pointers(&t->type));
	void *plain;

	if (!node)
		return NULL;
	*node = (struct ptree_node){.tree = t->id, .magic = SPM_TREE_MAGIC, .level = (uint8_t)level, .top = UINT8_MAX};
	if (!layout->plain_bytes)
		return node;
	plain = allocate(layout->plain_bytes, keys_have_pointers(&t->type));
	if (plain) {
		((struct spm_split *)node)->plain = plain;
		return node;
	}
	pFree(node);
	return NULL;
}

void spm_node_release(const struct ptree *t, struct ptree_node *node)
{
	if (t->layout[spm_layout_of(node->level)].plain_bytes)
		pFree(((struct spm_split *)node)->plain);
	pFree(node);
}

void spm_node_free(const struct ptree *t, struct ptree_node *node)
{
	for (unsigned i = 0; node->level && i < node->entries; i++)
		spm_node_free(t, spm_node_child(t, node, i));
	for (unsigned i = 0; !node->level && t->type.key_kind == PKEY_STRING && i < node->entries; i++)
		pFree(spm_node_strings(t, node)[i]);
	spm_node_release(t, node);
}

uint64_t spm_node_total(const struct ptree *t, const struct ptree_node *node)
{
	uint64_t total = 0;

	if (!node->level)
		return node->entries;
	for (unsigned i = 0; i < node->entries; i++)
		total += node->level == 1 ? spm_node_child(t, node, i)->entries : spm_node_counts(t, node)[i];
	return total;
}

/* ---- keys and their words ---- */

static uint64_t word_of_double(uint64_t bits)
{
	return bits ^ (bits >> 63 ? ~UINT64_C(0) : SPM_WORD_TOP);
}

/* Of all that are equal one. */
static uint64_t double_bits(const void *key)
{
	double number;
	uint64_t bits;

	memcpy(&number, key, 8);
	if (number != number)
		return UINT64_C(0x7ff8000000000000);
	memcpy(&bits, key, 8);
	return bits == SPM_WORD_TOP ? 0 : bits;
}

static uint64_t word_of_string(const char *s)
{
	uint64_t word = 0;

	for (unsigned i = 0; i < 8 && s[i]; i++)
		word |= (uint64_t)(unsigned char)s[i] << (56 - 8 * i);
	return word;
}

struct spm_tree_key spm_tree_key(const struct ptree *t, const void *key)
{
	struct spm_tree_key k = {.bytes = key};

	switch (t->type.key_kind) {
	case PKEY_INT64:
	case PKEY_UINT64:
		memcpy(&k.word, key, 8);
		k.word ^= t->type.key_kind == PKEY_INT64 ? SPM_WORD_TOP : 0;
		break;
	case PKEY_DOUBLE:
		k.word = word_of_double(double_bits(key));
		break;
	case PKEY_STRING:
		k.word = word_of_string(key);
		break;
	case PKEY_BYTES:
	case PKEY_CUSTOM:
		break;
	}
	return k;
}

struct spm_tree_key spm_leaf_key(const struct ptree *t, const struct ptree_node *leaf, unsigned i)
{
	if (t->type.key_kind == PKEY_STRING)
		return (struct spm_tree_key){spm_node_strings(t, leaf)[i], spm_node_words(t, leaf)[i]};
	return spm_tree_key(t, spm_node_at(t, leaf, COLUMN_KEYS, i));
}

void spm_leaf_set_key(const struct ptree *t, struct ptree_node *leaf, unsigned i, const struct spm_tree_key *key,
                      char *string)
{
	switch (t->type.key_kind) {
	case PKEY_DOUBLE:
		spm_node_words(t, leaf)[i] = double_bits(key->bytes);
		break;
	case PKEY_STRING:
		spm_node_words(t, leaf)[i] = key->word;
		spm_node_strings(t, leaf)[i] = string;
		break;
	default:
		memcpy(spm_node_at(t, leaf, COLUMN_KEYS, i), key->bytes, spm_key_bytes(t));
	}
}

static const struct ptree_node *first_leaf(const struct ptree *t, const struct ptree_node *node, unsigned i)
{
	for (node = spm_node_child(t, node, i); node->level;)
		node = spm_node_child(t, node, 0);
	return node;
}

void spm_node_set_first(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	for (unsigned c = COLUMN_KEYS; c <= COLUMN_STRINGS; c++) {
		size_t bytes = t->layout[0].column[c].bytes;

		if (!i)
			memset(spm_node_at(t, node, c, 0), 0, bytes);
		else
			memcpy(spm_node_at(t, node, c, i), spm_node_at(t, first_leaf(t, node, i), c, 0), bytes);
	}
}

bool spm_node_has_first(const struct ptree *t, const struct ptree_node *node, unsigned i)
{
	static const char zero[1024];

	for (unsigned c = COLUMN_KEYS; c <= COLUMN_STRINGS; c++) {
		const void *first = i ? spm_node_at(t, first_leaf(t, node, i), c, 0) : zero;

		if (memcmp(spm_node_at(t, node, c, i), first, t->layout[0].column[c].bytes))
			return false;
	}
	return true;
}

/* ---- search ---- */

/* How many of n ascending keys have words below that. Turned over: the bits in which keys and words differ; of doubles it takes more.
 * No branch depends on what is compared. */
static inline __attribute__((always_inline)) unsigned words_below(const uint64_t *word, unsigned n, uint64_t below,
                                                                  uint64_t turn, bool are_doubles)
{
#define WORD(i) (are_doubles ? word_of_double(word[i]) : word[i] ^ turn)
	const uint64_t *begin = word;
	unsigned rest = 0;

	while (n > 8) {
		unsigned half = n / 2;

		word += WORD(half - 1) < below ? half : 0;
		n -= half;
	}
	for (unsigned i = 0; i < n; i++)
		rest += WORD(i) < below;
	return (unsigned)(word - begin) + rest;
#undef WORD
}

/* Of elements [first, entries): how many are below. */
static unsigned node_words_below(const struct ptree *t, const struct ptree_node *node, unsigned first, uint64_t below)
{
	const uint64_t *word = spm_node_words(t, node) + first;
	unsigned n = node->entries - first;

	if (t->type.key_kind == PKEY_DOUBLE)
		return words_below(word, n, below, 0, true);
	return words_below(word, n, below, t->type.key_kind == PKEY_INT64 ? SPM_WORD_TOP : 0, false);
}

static unsigned node_words_bound(const struct ptree *t, const struct ptree_node *node, unsigned first, uint64_t word,
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

unsigned spm_node_bound(const struct ptree *t, const struct ptree_node *node, const struct spm_tree_key *key,
                        bool or_equal)
{
	unsigned first = node->level > 0; /* the first child has no key */

	switch (t->type.key_kind) {
	case PKEY_BYTES:
	case PKEY_CUSTOM:
		return search(t, node, first, node->entries, key, or_equal) - first;
	case PKEY_STRING: {
		unsigned from = first + node_words_bound(t, node, first, key->word, false);
		unsigned to = from;

		while (to < node->entries && spm_node_words(t, node)[to] == key->word)
			to++;
		return search(t, node, from, to, key, or_equal) - first;
	}
	default:
		return node_words_bound(t, node, first, key->word, or_equal);
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

/* ---- elements ---- */

void spm_node_open(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	for (unsigned c = 0; c < PTREE_COLUMNS; c++) {
		size_t bytes = t->layout[spm_layout_of(node->level)].column[c].bytes;
		char *at = spm_node_at(t, node, c, i);

		if (!bytes)
			continue;
		memmove(at + bytes, at, (node->entries - i) * bytes);
		memset(at, 0, bytes);
	}
	node->entries++;
}

void spm_node_close(const struct ptree *t, struct ptree_node *node, unsigned i)
{
	node->entries--;
	for (unsigned c = 0; c < PTREE_COLUMNS; c++) {
		size_t bytes = t->layout[spm_layout_of(node->level)].column[c].bytes, behind = node->entries - i;
		char *at = spm_node_at(t, node, c, i);

		memmove(at, at + bytes, behind * bytes);
		memset(at + behind * bytes, 0, bytes);
	}
}

static uint64_t *stamp_of(struct ptree_node *leaf)
{
	return &((struct spm_split *)leaf)->stamp;
}

static void stamp(struct ptree_node *leaf, const void *bytes, size_t n)
{
	*stamp_of(leaf) = XXH3_64bits_withSeed(bytes, n, *stamp_of(leaf)) | SPM_WORD_TOP;
}

void spm_leaf_stamp(const struct ptree *t, struct ptree_node *leaf, unsigned i)
{
	const void *key = spm_leaf_key(t, leaf, i).bytes;

	if (spm_leaf_is_stamped(t))
		stamp(leaf, key, t->type.key_kind == PKEY_STRING ? strlen(key) : spm_key_bytes(t));
}

void spm_node_pour(const struct ptree *t, struct ptree_node *from, unsigned first, struct ptree_node *to)
{
	size_t n = from->entries - first;

	for (unsigned c = 0; c < PTREE_COLUMNS; c++) {
		size_t bytes = n * t->layout[spm_layout_of(from->level)].column[c].bytes;
		char *at = spm_node_at(t, from, c, first);

		memcpy(spm_node_at(t, to, c, to->entries), at, bytes);
		memset(at, 0, bytes);
	}
	if (!to->level && spm_leaf_is_stamped(t))
		stamp(to, stamp_of(from), sizeof(uint64_t));
	to->entries = (uint16_t)(to->entries + n);
	from->entries = (uint16_t)first;
}
