/* see.c - see see.h. */
#include "see.h"
#include "see_items.h"
#include "hash.h"
#include "list.h"
#include "tree_node.h"

#include <errno.h>
#include <stddef.h>

static const uint32_t ARRAY_MAGIC = 0xf0617231, LIST_MAGIC = 0x706c7331;

static int damaged(void)
{
	errno = EUCLEAN;
	return -1;
}

static bool array_is_one(const struct parray *a)
{
	return a->magic == ARRAY_MAGIC && a->ones == UINT16_MAX && a->bytes && a->shift == parray_shift(a->bytes);
}

static bool list_is_one(const struct plist *l)
{
	return l->magic == LIST_MAGIC && l->bytes;
}

static bool hash_is_one(const struct phash *t)
{
	struct phash again = {.way = t->way, .key_bytes = t->key_bytes, .value_bytes = t->value_bytes};

	if (t->magic != TABLE_MAGIC || t->way > WAY_STRING || t->key_bytes > PMAP_BYTES_MAX || !t->key_bytes ||
	    t->value_bytes > PMAP_BYTES_MAX || !t->groups || t->groups > 64 || !t->group_slots ||
	    t->group_slots > GROUP_SLOTS_MAX)
		return false;
	spm_hash_lay_out_entries(&again);
	return t->value_at == again.value_at && t->entry_bytes == again.entry_bytes &&
	       t->entries_at >= sizeof(struct bucket) + t->groups * 16u;
}

/* Made anew from its type, it must be laid out as it says. */
static bool tree_is_one(const struct ptree *t)
{
	struct ptree again = {.type = t->type};

	if (!(t->id & SPM_WORD_TOP) || t->top != UINT32_MAX || t->levels > PTREE_LEVELS ||
	    t->layout[0].top != UINT16_MAX || t->layout[0].column[COLUMN_ITEMS].top != UINT32_MAX)
		return false;
	again.type.key_bytes = t->layout[0].column[COLUMN_KEYS].bytes;
	again.type.value_bytes = t->layout[0].column[COLUMN_ITEMS].bytes;
	again.type.compare = (int (*)(const void *, const void *))(uintptr_t)1; /* called by nobody */
	return spm_tree_lay_out(&again) && !memcmp(again.layout, t->layout, sizeof(t->layout));
}

enum spm_seen_kind spm_see_kind(struct plook *look, uint64_t address, uint64_t bytes)
{
	struct spm_seeing s = {.look = look};

	memset(&s.header, 0, sizeof(s.header));
	if (pLookRead(look, address, &s.header, bytes < sizeof(s.header) ? bytes : sizeof(s.header)))
		return SPM_SEEN_NONE;
	if (bytes >= sizeof(s.header.array) && array_is_one(&s.header.array))
		return SPM_SEEN_ARRAY;
	if (bytes >= sizeof(s.header.list) && list_is_one(&s.header.list))
		return SPM_SEEN_LIST;
	if (bytes >= sizeof(s.header.hash) && hash_is_one(&s.header.hash))
		return SPM_SEEN_HASH;
	if (bytes >= sizeof(s.header.tree) && tree_is_one(&s.header.tree))
		return SPM_SEEN_TREE;
	if (bytes >= sizeof(s.header.items) && spm_items_are_ones(&s.header.items))
		return SPM_SEEN_ITEMS;
	return SPM_SEEN_NONE;
}

/* The object that the address begins in has so many bytes from there on. */
static bool has_bytes(struct plook *look, uint64_t address, uint64_t bytes)
{
	struct pobject o;

	return pLookObject(look, address, &o) == 1 && o.address + o.bytes - address >= bytes;
}

static int word_read(struct plook *look, uint64_t address, uint64_t *word)
{
	return pLookRead(look, address, word, sizeof(*word));
}

static void visited(struct spm_seeing *s, uint64_t address)
{
	if (s->visit && address)
		s->visit(address, s->arg);
}

/* ---- trees ---- */

static int tree_down(struct spm_seeing *s, uint64_t node)
{
	const struct ptree *t = &s->header.tree;
	struct spm_split split;
	const struct ptree_layout *layout;
	unsigned level = t->levels - 1 - s->levels;

	layout = &t->layout[spm_layout_of(level)];
	if (!has_bytes(s->look, node, layout->bytes) || layout->bytes < sizeof(split.node))
		return damaged();
	memset(&split, 0, sizeof(split));
	if (pLookRead(s->look, node, &split, layout->bytes < sizeof(split) ? layout->bytes : sizeof(split)))
		return -1;
	if (split.node.tree != t->id || split.node.magic != SPM_TREE_MAGIC || split.node.level != level ||
	    split.node.entries > layout->max)
		return damaged();
	s->way[s->levels].node = node;
	s->way[s->levels].plain = layout->plain_bytes ? (uintptr_t)split.plain : node;
	s->way[s->levels].entries = split.node.entries;
	s->way[s->levels].next = 0;
	if (layout->plain_bytes && !has_bytes(s->look, s->way[s->levels].plain, layout->plain_bytes))
		return damaged();
	visited(s, node);
	visited(s, s->way[s->levels].plain);
	s->levels++;
	return 0;
}

static int tree_begin(struct spm_seeing *s)
{
	const struct ptree *t = &s->header.tree;

	if (!tree_is_one(t) || !t->root != !t->levels)
		return damaged();
	return t->root ? tree_down(s, (uintptr_t)t->root) : 0;
}

static uint64_t tree_at(const struct spm_seeing *s, unsigned at, unsigned column, uint32_t i)
{
	const struct ptree_layout *layout = &s->header.tree.layout[spm_layout_of(s->header.tree.levels - 1 - at)];
	uint64_t base = column == COLUMN_KEYS || column == COLUMN_COUNTS ? s->way[at].plain : s->way[at].node;

	return base + layout->column[column].at + (uint64_t)i * layout->column[column].bytes;
}

static int tree_leaf_tell(struct spm_seeing *s, struct spm_seen *out)
{
	const struct ptree *t = &s->header.tree;
	unsigned at = s->levels - 1;
	uint32_t i = s->way[at].next++;

	*out = (struct spm_seen){.key = tree_at(s, at, COLUMN_KEYS, i),
	                         .value = tree_at(s, at, COLUMN_ITEMS, i),
	                         .key_bytes = (uint32_t)spm_key_bytes(t),
	                         .value_bytes = (uint32_t)spm_value_bytes(t),
	                         .key_kind = t->type.key_kind};
	if (t->type.key_kind != PKEY_STRING)
		return 1;
	out->key_bytes = 0;
	if (word_read(s->look, tree_at(s, at, COLUMN_STRINGS, i), &out->key))
		return -1;
	visited(s, out->key);
	return 1;
}

static int tree_next(struct spm_seeing *s, struct spm_seen *out)
{
	if (!s->next && s->levels == 1) { /* read when nobody was told */
		visited(s, s->way[0].node);
		visited(s, s->way[0].plain);
	}
	while (s->levels) {
		unsigned at = s->levels - 1;
		uint64_t child;

		if (s->way[at].next == s->way[at].entries)
			s->levels--;
		else if (s->levels == s->header.tree.levels)
			return tree_leaf_tell(s, out);
		else if (word_read(s->look, tree_at(s, at, COLUMN_ITEMS, s->way[at].next++), &child) ||
		         tree_down(s, child))
			return -1;
	}
	return 0;
}

/* ---- hashtables ---- */

static int bucket_reach(struct spm_seeing *s, uint64_t *bucket)
{
	uint64_t word = s->header.hash.root, hash = s->from, at = word;
	unsigned bits;

	for (unsigned all = 0; (bits = tag_of(word)); hash <<= bits) {
		all += bits;
		if (all > DEPTH_MAX || bits > NODE_BITS_MAX ||
		    word_read(s->look, (word & ~UINT64_C(15)) + (hash >> (64 - bits)) * sizeof(word), &word))
			return all > DEPTH_MAX || bits > NODE_BITS_MAX ? damaged() : -1;
		visited(s, at & ~UINT64_C(15));
		at = word;
	}
	*bucket = word;
	return 0;
}

/* The bucket that has hash s->from. */
static int bucket_enter(struct spm_seeing *s)
{
	const struct phash *t = &s->header.hash;
	struct bucket b;

	if (bucket_reach(s, &s->bucket.address) || pLookRead(s->look, s->bucket.address, &b, sizeof(b)))
		return -1;
	if (b.magic != BUCKET_MAGIC || b.id != t->id || b.depth > DEPTH_MAX || bucket_first(&b) != s->from ||
	    !has_bytes(s->look, s->bucket.address,
	               t->entries_at + (uint64_t)t->groups * t->group_slots * t->entry_bytes) ||
	    pLookRead(s->look, s->bucket.address + sizeof(b), s->bucket.group, t->groups * 16))
		return damaged();
	s->bucket.end = bucket_end(&b);
	s->bucket.is_last = !s->bucket.end;
	if (!s->bucket.is_last && s->bucket.end <= s->from)
		return damaged();
	visited(s, s->bucket.address);
	s->bucket.is_open = true;
	s->bucket.slot = 0;
	return 0;
}

static int hash_tell(struct spm_seeing *s, unsigned slot, struct spm_seen *out)
{
	static const enum pkey_kind kind[] = {PKEY_UINT64, PKEY_DOUBLE, PKEY_BYTES, PKEY_STRING};
	const struct phash *t = &s->header.hash;
	uint64_t entry =
	        s->bucket.address + t->entries_at + (uint64_t)(slot / 16 * t->group_slots + slot % 16) * t->entry_bytes;

	*out = (struct spm_seen){.key = entry,
	                         .value = entry + t->value_at,
	                         .key_bytes = t->key_bytes,
	                         .value_bytes = t->value_bytes,
	                         .key_kind = kind[t->way]};
	if (t->way != WAY_STRING)
		return 1;
	out->key_bytes = 0;
	if (word_read(s->look, entry + offsetof(struct string_key, text), &out->key))
		return -1;
	visited(s, out->key);
	return 1;
}

static int hash_next(struct spm_seeing *s, struct spm_seen *out)
{
	const struct phash *t = &s->header.hash;

	for (;;) {
		if (!s->bucket.is_open && bucket_enter(s))
			return -1;
		for (; s->bucket.slot < t->groups * 16u; s->bucket.slot++)
			if (s->bucket.slot % 16 < t->group_slots && s->bucket.group[s->bucket.slot] != FREE)
				return hash_tell(s, s->bucket.slot++, out);
		if (s->bucket.is_last)
			return 0;
		s->from = s->bucket.end;
		s->bucket.is_open = false;
	}
}

/* ---- vectors, lists ---- */

static int array_next(struct spm_seeing *s, struct spm_seen *out)
{
	const struct parray *a = &s->header.array;
	uint64_t i = s->next, in_piece = parray_in_piece(a), base = (uintptr_t)a->piece, in_chunk = i - in_piece;

	if (!i)
		visited(s, (uintptr_t)a->chunk);
	if (i >= s->count)
		return 0;
	if (i >= in_piece) {
		if (in_chunk >> a->shift >= a->chunks)
			return damaged();
		if (word_read(s->look, (uintptr_t)a->chunk + (in_chunk >> a->shift) * sizeof(base), &base))
			return -1;
		i = in_chunk & ((UINT64_C(1) << a->shift) - 1);
	}
	if (i * a->bytes / a->bytes != i || !has_bytes(s->look, base + i * a->bytes, a->bytes))
		return damaged();
	if (!i)
		visited(s, base);
	*out = (struct spm_seen){.value = base + i * a->bytes, .value_bytes = a->bytes};
	return 1;
}

static int list_next(struct spm_seeing *s, struct spm_seen *out)
{
	uint64_t node = s->node;

	if (!s->next)
		visited(s, (uintptr_t)s->header.list.owner);
	if (!node || s->next >= s->count) /* one that leads round ends all the same */
		return 0;
	if (!has_bytes(s->look, node, sizeof(struct plist_node) + s->header.list.bytes))
		return damaged();
	visited(s, node);
	*out = (struct spm_seen){.value = node + sizeof(struct plist_node), .value_bytes = s->header.list.bytes};
	return word_read(s->look, node + offsetof(struct plist_node, next), &s->node) ? -1 : 1;
}

/* ---- memcachedb's ---- */

static int items_begin(struct spm_seeing *s)
{
	const struct spm_shown_items *h = &s->header.items;

	if (!spm_items_are_ones(h) || !has_bytes(s->look, h->table, UINT64_C(8) << h->power) ||
	    (h->is_expanding && !has_bytes(s->look, h->old_table, UINT64_C(4) << h->power)))
		return damaged();
	visited(s, h->table);
	return 0;
}

/* ---- any ---- */

static int header_look(struct spm_seeing *s)
{
	s->count = UINT64_MAX;
	switch (s->kind) {
	case SPM_SEEN_ARRAY:
		s->count = parray_count(&s->header.array);
		return array_is_one(&s->header.array) ? 0 : damaged();
	case SPM_SEEN_LIST:
		s->count = plist_count(&s->header.list);
		s->node = (uintptr_t)s->header.list.first;
		return list_is_one(&s->header.list) ? 0 : damaged();
	case SPM_SEEN_HASH:
		return hash_is_one(&s->header.hash) ? 0 : damaged();
	case SPM_SEEN_TREE:
		return tree_begin(s);
	case SPM_SEEN_ITEMS:
		return items_begin(s);
	default:
		return damaged();
	}
}

int spm_see_begin(struct spm_seeing *s, struct plook *look, enum spm_seen_kind kind, uint64_t address)
{
	static const size_t bytes[] = {
	        [SPM_SEEN_ARRAY] = sizeof(struct parray),
	        [SPM_SEEN_LIST] = sizeof(struct plist),
	        [SPM_SEEN_HASH] = sizeof(struct phash),
	        [SPM_SEEN_TREE] = sizeof(struct ptree),
	        [SPM_SEEN_ITEMS] = sizeof(struct spm_shown_items),
	};

	memset(s, 0, sizeof(*s));
	s->look = look;
	s->kind = kind;
	if (kind < SPM_SEEN_ARRAY || kind > SPM_SEEN_ITEMS)
		return damaged();
	return pLookRead(look, address, &s->header, bytes[kind]) ? -1 : header_look(s);
}

int spm_see_next(struct spm_seeing *s, struct spm_seen *out)
{
	int result;

	if (s->next > pLookVersion(s->look)->live_bytes)
		return damaged(); /* more elements than bytes */
	switch (s->kind) {
	case SPM_SEEN_ARRAY:
		result = array_next(s, out);
		break;
	case SPM_SEEN_LIST:
		result = list_next(s, out);
		break;
	case SPM_SEEN_HASH:
		result = hash_next(s, out);
		break;
	case SPM_SEEN_ITEMS:
		result = spm_items_next(s, out);
		break;
	default:
		result = tree_next(s, out);
	}
	s->next += result == 1;
	return result;
}

int spm_see_skip(struct spm_seeing *s, uint64_t n)
{
	struct spm_seen seen;
	int result = 1;

	if (s->kind == SPM_SEEN_ARRAY) {
		s->next = n;
		return n < s->count;
	}
	while (s->next < n && result == 1)
		result = spm_see_next(s, &seen);
	return result;
}

int spm_see_string(struct plook *look, uint64_t address, uint64_t *bytes, uint64_t *length)
{
	struct pstring s;

	if (pLookRead(look, address, &s, sizeof(s)))
		return -1;
	*bytes = (uintptr_t)s.bytes;
	*length = pstring_length(&s);
	if (s.bytes && (!(s.marked_length & SPM_WORD_TOP) || !has_bytes(look, *bytes, *length)))
		return damaged();
	return s.bytes || !*length ? 0 : damaged();
}
