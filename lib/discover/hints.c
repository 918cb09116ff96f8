/* hints.c - see hints.h. */
#include "discover/hints.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct header {
	uint64_t excluded, references;
};

void spm_hints_free(struct hints *h)
{
	free(h->excluded);
	free(h->reference);
	free(h->typed);
	free(h->slot);
	*h = (struct hints){0};
}

size_t spm_places_from(const uint64_t *place, size_t n, uint64_t least)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (place[middle] < least)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t excluded_from(const struct hints *h, uint64_t place)
{
	return spm_places_from(h->excluded, h->excluded_count, place);
}

bool spm_hints_has_excluded(const struct hints *h, uint64_t place)
{
	size_t i = excluded_from(h, place);

	return i < h->excluded_count && h->excluded[i] == place;
}

int spm_hints_exclude(struct hints *h, uint64_t place)
{
	size_t i = excluded_from(h, place);
	uint64_t *more;

	if (i < h->excluded_count && h->excluded[i] == place)
		return 0;
	more = realloc(h->excluded, (h->excluded_count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	h->excluded = more;
	memmove(more + i + 1, more + i, (h->excluded_count++ - i) * sizeof(*more));
	more[i] = place;
	h->has_changed = true;
	return 0;
}

int spm_hints_refer(struct hints *h, uint64_t object, uint64_t target)
{
	struct reference *more = realloc(h->reference, (h->reference_count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	h->reference = more;
	more[h->reference_count++] = (struct reference){object, target};
	h->has_changed = true;
	return 0;
}

void spm_hints_unrefer(struct hints *h, uint64_t object)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->reference_count; i++)
		if (h->reference[i].object != object)
			h->reference[kept++] = h->reference[i];
	h->has_changed |= kept != h->reference_count;
	h->reference_count = kept;
}

/* ---- types of objects ---- */

static size_t slot_home(const struct hints *h, uint64_t object)
{
	return (object >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20 & (h->slots - 1);
}

/* Where it is, or would be. There are slots. */
static size_t slot_find(const struct hints *h, uint64_t object)
{
	size_t i = slot_home(h, object);

	while (h->slot[i] && spm_hints_typed_address(h->typed[h->slot[i] - 1]) != object)
		i = (i + 1) & (h->slots - 1);
	return i;
}

/* The slot is free from here on, and those behind it are where they are found. */
static void slot_clear(struct hints *h, size_t i)
{
	const size_t mask = h->slots - 1;

	h->slot[i] = 0;
	for (size_t j = (i + 1) & mask; h->slot[j]; j = (j + 1) & mask) {
		size_t home = slot_home(h, spm_hints_typed_address(h->typed[h->slot[j] - 1]));

		if (((j - home) & mask) < ((j - i) & mask))
			continue;
		h->slot[i] = h->slot[j];
		h->slot[j] = 0;
		i = j;
	}
}

/* From typed. */
static void slots_fill(struct hints *h)
{
	if (h->slots)
		memset(h->slot, 0, h->slots * sizeof(*h->slot));
	for (size_t i = 0; i < h->typed_count; i++)
		h->slot[slot_find(h, spm_hints_typed_address(h->typed[i]))] = (uint32_t)i + 1;
}

static int slots_make(struct hints *h, size_t n)
{
	size_t slots = h->slots ? h->slots : 256;
	uint32_t *more;

	if (h->slots > n * 2)
		return 0;
	if (n > UINT32_MAX / 4)
		return -ENOMEM;
	while (slots <= n * 2)
		slots *= 2;
	more = malloc(slots * sizeof(*more));
	if (!more)
		return -ENOMEM;
	free(h->slot);
	h->slot = more;
	h->slots = slots;
	slots_fill(h);
	return 0;
}

static int typed_room_make(struct hints *h)
{
	size_t room = h->typed_room * 2 + 64;
	uint64_t *more;

	if (h->typed_count < h->typed_room)
		return 0;
	more = realloc(h->typed, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	h->typed = more;
	h->typed_room = room;
	return 0;
}

int spm_hints_type(struct hints *h, uint64_t object, unsigned root)
{
	uint64_t typed = object | (uint64_t)root << HINTS_TYPE_BIT;
	size_t i;

	if (typed_room_make(h) || slots_make(h, h->typed_count + 1))
		return -ENOMEM;
	i = slot_find(h, object);
	if (h->slot[i] && h->typed[h->slot[i] - 1] == typed)
		return 1;
	if (!h->slot[i])
		h->slot[i] = (uint32_t)++h->typed_count;
	h->typed[h->slot[i] - 1] = typed;
	h->has_changed = true;
	return 0;
}

/* The last one takes its place. */
void spm_hints_untype(struct hints *h, uint64_t object)
{
	size_t i = h->typed_count ? slot_find(h, object) : 0;
	uint32_t number = h->typed_count ? h->slot[i] : 0;

	if (!number)
		return;
	slot_clear(h, i);
	if (number != h->typed_count) {
		uint64_t last = h->typed[h->typed_count - 1];

		h->slot[slot_find(h, spm_hints_typed_address(last))] = number;
		h->typed[number - 1] = last;
	}
	h->typed_count--;
	h->has_changed = true;
}

void spm_hints_untype_all(struct hints *h)
{
	h->has_changed |= h->typed_count != 0;
	h->typed_count = 0;
	if (h->slots)
		memset(h->slot, 0, h->slots * sizeof(*h->slot));
}

int spm_hints_type_of(const struct hints *h, uint64_t object)
{
	uint32_t number = h->typed_count ? h->slot[slot_find(h, object)] : 0;

	return number ? (int)(h->typed[number - 1] >> HINTS_TYPE_BIT) : -1;
}

static void typed_forget(struct hints *h, const struct span *s, const struct slotset *slots)
{
	for (unsigned slot = 0; slot < s->slots && h->typed_count; slot++)
		if (slotset_has(slots, slot))
			spm_hints_untype(h, spm_slot_address(s, slot));
}

static bool is_typed_in(const struct hints *h, const struct span *s)
{
	for (unsigned slot = 0; slot < s->slots && h->typed_count; slot++)
		if (spm_hints_type_of(h, spm_slot_address(s, slot)) >= 0)
			return true;
	return false;
}

/* ---- both ---- */

void spm_hints_each_excluded(const struct hints *h, uint64_t from, uint64_t bytes,
                             void (*fn)(uint64_t place, void *arg), void *arg)
{
	for (size_t i = excluded_from(h, from); i < h->excluded_count && h->excluded[i] - from < bytes; i++)
		fn(h->excluded[i], arg);
}

static bool is_within(const struct span *s, uint64_t address)
{
	return address - spm_page_address(s->first) < (uint64_t)s->pages * SPM_PAGE_BYTES;
}

static bool is_in(const struct span *s, const struct slotset *slots, uint64_t address)
{
	unsigned slot;

	if (!is_within(s, address))
		return false;
	slot = spm_span_slot(s, address);
	return slot < s->slots && slotset_has(slots, slot);
}

void spm_hints_forget(struct hints *h, const struct span *s, const struct slotset *slots)
{
	size_t first = excluded_from(h, spm_page_address(s->first)), kept = first, i, r = 0;

	for (i = first; i < h->excluded_count; i++)
		if (!is_in(s, slots, h->excluded[i]))
			h->excluded[kept++] = h->excluded[i];
	for (i = 0; i < h->reference_count; i++)
		if (!is_in(s, slots, h->reference[i].object) && !is_in(s, slots, h->reference[i].target))
			h->reference[r++] = h->reference[i];
	h->has_changed |= kept != h->excluded_count || r != h->reference_count;
	h->excluded_count = kept;
	h->reference_count = r;
	typed_forget(h, s, slots);
}

bool spm_hints_name(const struct hints *h, const struct span *s)
{
	size_t first = excluded_from(h, spm_page_address(s->first));
	bool is_named = first < h->excluded_count && is_within(s, h->excluded[first]);

	for (size_t i = 0; i < h->reference_count && !is_named; i++)
		is_named = is_within(s, h->reference[i].object) || is_within(s, h->reference[i].target);
	return is_named || is_typed_in(h, s);
}

void spm_hints_keep(struct hints *h, bool (*is_live)(uint64_t address, void *arg), void *arg)
{
	size_t excluded = 0, references = 0;

	for (size_t i = 0; i < h->excluded_count; i++)
		if (is_live(h->excluded[i], arg))
			h->excluded[excluded++] = h->excluded[i];
	for (size_t i = 0; i < h->reference_count; i++)
		if (is_live(h->reference[i].object, arg) && is_live(h->reference[i].target, arg))
			h->reference[references++] = h->reference[i];
	h->has_changed |= excluded != h->excluded_count || references != h->reference_count;
	h->excluded_count = excluded;
	h->reference_count = references;
	for (size_t i = h->typed_count; i-- > 0;)
		if (!is_live(spm_hints_typed_address(h->typed[i]), arg))
			spm_hints_untype(h, spm_hints_typed_address(h->typed[i]));
}

static int by_address(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void spm_hints_move(struct hints *h, uint64_t (*moved)(uint64_t address, const void *arg), const void *arg)
{
	for (size_t i = 0; i < h->excluded_count; i++)
		h->excluded[i] = moved(h->excluded[i], arg);
	for (size_t i = 0; i < h->reference_count; i++)
		h->reference[i] =
		        (struct reference){moved(h->reference[i].object, arg), moved(h->reference[i].target, arg)};
	for (size_t i = 0; i < h->typed_count; i++) {
		uint64_t address = spm_hints_typed_address(h->typed[i]);

		h->typed[i] = moved(address, arg) | (h->typed[i] ^ address);
	}
	slots_fill(h);
	if (h->excluded_count)
		qsort(h->excluded, h->excluded_count, sizeof(*h->excluded), by_address);
	h->has_changed = true;
}

int spm_hints_copy(const struct hints *from, struct hints *to)
{
	void *bytes;
	size_t n;
	int err = spm_hints_save(from, &bytes, &n);

	*to = (struct hints){0};
	if (err)
		return err;
	err = spm_hints_load(to, bytes, n);
	free(bytes);
	return err;
}

int spm_hints_save(const struct hints *h, void **bytes, size_t *n)
{
	struct header header = {h->excluded_count, h->reference_count};
	size_t excluded = h->excluded_count * sizeof(*h->excluded),
	       references = h->reference_count * sizeof(*h->reference), typed = h->typed_count * sizeof(*h->typed);
	unsigned char *out = malloc(sizeof(header) + excluded + references + typed);

	if (!out)
		return -ENOMEM;
	memcpy(out, &header, sizeof(header));
	if (excluded)
		memcpy(out + sizeof(header), h->excluded, excluded);
	if (references)
		memcpy(out + sizeof(header) + excluded, h->reference, references);
	if (typed)
		memcpy(out + sizeof(header) + excluded + references, h->typed, typed);
	*bytes = out;
	*n = sizeof(header) + excluded + references + typed;
	return 0;
}

static bool are_sane(const struct hints *h)
{
	for (size_t i = 0; i < h->excluded_count; i++)
		if (!spm_in_window(h->excluded[i]) || h->excluded[i] % 8 || (i && h->excluded[i] <= h->excluded[i - 1]))
			return false;
	for (size_t i = 0; i < h->reference_count; i++)
		if (!spm_in_window(h->reference[i].object) || !spm_in_window(h->reference[i].target))
			return false;
	return true;
}

/* No object twice. 0, -EINVAL or -ENOMEM. */
static int typed_load(struct hints *h, const unsigned char *bytes, size_t n)
{
	int err = 0;

	if (!n)
		return 0;
	h->typed_room = n;
	h->typed = malloc(n * sizeof(*h->typed));
	if (!h->typed || slots_make(h, n))
		return -ENOMEM;
	for (size_t i = 0; i < n && !err; i++) {
		uint64_t typed, object;

		memcpy(&typed, bytes + i * sizeof(typed), sizeof(typed));
		object = spm_hints_typed_address(typed);
		if (!spm_in_window(object) || spm_hints_type_of(h, object) >= 0)
			err = -EINVAL;
		else
			err = spm_hints_type(h, object, (unsigned)(typed >> HINTS_TYPE_BIT));
	}
	return err;
}

/* What the header says is there, of n bytes. */
static int parts_load(struct hints *h, const struct header *header, const unsigned char *bytes, size_t n)
{
	size_t excluded = header->excluded * sizeof(*h->excluded),
	       references = header->references * sizeof(*h->reference);

	if (excluded + references > n || (n - excluded - references) % sizeof(*h->typed))
		return -EINVAL;
	*h = (struct hints){.excluded = malloc(excluded + 1),
	                    .excluded_count = header->excluded,
	                    .reference = malloc(references + 1),
	                    .reference_count = header->references};
	if (!h->excluded || !h->reference)
		return -ENOMEM;
	memcpy(h->excluded, bytes, excluded);
	memcpy(h->reference, bytes + excluded, references);
	if (!are_sane(h))
		return -EINVAL;
	bytes += excluded + references;
	return typed_load(h, bytes, (n - excluded - references) / sizeof(*h->typed));
}

int spm_hints_load(struct hints *h, const void *bytes, size_t n)
{
	struct header header;
	struct hints fresh = {0};
	int err;

	if (n < sizeof(header))
		return -EINVAL;
	memcpy(&header, bytes, sizeof(header));
	n -= sizeof(header);
	if (header.excluded > n / sizeof(*h->excluded) || header.references > n / sizeof(*h->reference))
		return -EINVAL;
	err = parts_load(&fresh, &header, (const unsigned char *)bytes + sizeof(header), n);
	if (err) {
		spm_hints_free(&fresh);
		return err;
	}
	fresh.has_changed = false;
	spm_hints_free(h);
	*h = fresh;
	return 0;
}
