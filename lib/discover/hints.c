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
	*h = (struct hints){0};
}

/* Index of the first excluded place at or after `place`. */
static size_t excluded_from(const struct hints *h, uint64_t place)
{
	size_t low = 0, high = h->excluded_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (h->excluded[middle] < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
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
}

bool spm_hints_name(const struct hints *h, const struct span *s)
{
	size_t first = excluded_from(h, spm_page_address(s->first));
	bool is_named = first < h->excluded_count && is_within(s, h->excluded[first]);

	for (size_t i = 0; i < h->reference_count && !is_named; i++)
		is_named = is_within(s, h->reference[i].object) || is_within(s, h->reference[i].target);
	return is_named;
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
	       references = h->reference_count * sizeof(*h->reference);
	unsigned char *out = malloc(sizeof(header) + excluded + references);

	if (!out)
		return -ENOMEM;
	memcpy(out, &header, sizeof(header));
	if (excluded)
		memcpy(out + sizeof(header), h->excluded, excluded);
	if (references)
		memcpy(out + sizeof(header) + excluded, h->reference, references);
	*bytes = out;
	*n = sizeof(header) + excluded + references;
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

int spm_hints_load(struct hints *h, const void *bytes, size_t n)
{
	struct header header;
	struct hints fresh = {0};
	size_t excluded, references;

	if (n < sizeof(header))
		return -EINVAL;
	memcpy(&header, bytes, sizeof(header));
	n -= sizeof(header);
	if (header.excluded > n / sizeof(*h->excluded) || header.references > n / sizeof(*h->reference))
		return -EINVAL;
	excluded = header.excluded * sizeof(*h->excluded);
	references = header.references * sizeof(*h->reference);
	if (excluded + references != n)
		return -EINVAL;
	fresh = (struct hints){malloc(excluded + 1), header.excluded, malloc(references + 1), header.references, false};
	if (!fresh.excluded || !fresh.reference) {
		spm_hints_free(&fresh);
		return -ENOMEM;
	}
	memcpy(fresh.excluded, (const unsigned char *)bytes + sizeof(header), excluded);
	memcpy(fresh.reference, (const unsigned char *)bytes + sizeof(header) + excluded, references);
	if (!are_sane(&fresh)) {
		spm_hints_free(&fresh);
		return -EINVAL;
	}
	spm_hints_free(h);
	*h = fresh;
	return 0;
}
