/* see_items.c - memcachedb's items, bucket after bucket; see see.h and adapters/memcachedb/shown.h. */
#include "see.h"
#include "see_items.h"

#include <errno.h>
#include <string.h>

enum { POWER_MOST = 40, ITEM_MOST = 128 };

bool spm_items_are_ones(const struct spm_shown_items *h)
{
	const uint16_t at[] = {h->next_at, h->bytes_at, h->flags_at, h->key_bytes_at, h->data_at};

	if (h->mark != SPM_SHOWN_MARK || h->power > POWER_MOST || (h->is_expanding && !h->power))
		return false;
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++)
		if (at[i] > ITEM_MOST - sizeof(uint64_t))
			return false;
	return true;
}

/* Of the old table only the buckets that have not been moved yet. */
static uint64_t bucket_end(const struct spm_shown_items *h, bool is_old)
{
	return UINT64_C(1) << (h->power - is_old);
}

/* 1: the first item of the next list that has one; 0: there are no more; -1. */
static int list_next(struct spm_seeing *s)
{
	const struct spm_shown_items *h = &s->header.items;

	while (!s->items.item) {
		bool is_old = s->items.is_old;

		if (s->items.bucket == bucket_end(h, is_old)) {
			if (is_old || !h->is_expanding)
				return 0;
			s->items.is_old = true;
			s->items.bucket =
			        h->expand_bucket < bucket_end(h, true) ? h->expand_bucket : bucket_end(h, true);
			continue;
		}
		if (pLookRead(s->look, (is_old ? h->old_table : h->table) + s->items.bucket++ * 8, &s->items.item, 8))
			return -1;
	}
	return 1;
}

static bool is_within(const struct pobject *o, uint64_t at, uint64_t bytes)
{
	return at >= o->address && at - o->address <= o->bytes && o->bytes - (at - o->address) >= bytes;
}

static int item_tell(struct spm_seeing *s, struct spm_seen *out)
{
	const struct spm_shown_items *h = &s->header.items;
	uint64_t at = s->items.item;
	unsigned char item[ITEM_MOST];
	struct pobject o;
	uint16_t flags;
	uint8_t key_bytes;
	int32_t bytes;

	if (pLookObject(s->look, at, &o) != 1 || !is_within(&o, at, h->data_at) ||
	    pLookRead(s->look, at, item, sizeof(item)))
		return -1;
	if (s->visit)
		s->visit(o.address, s->arg);
	memcpy(&s->items.item, item + h->next_at, sizeof(s->items.item));
	memcpy(&flags, item + h->flags_at, sizeof(flags));
	memcpy(&key_bytes, item + h->key_bytes_at, sizeof(key_bytes));
	memcpy(&bytes, item + h->bytes_at, sizeof(bytes));
	out->key_kind = PKEY_BYTES;
	out->key = at + h->data_at + (flags & h->has_cas ? 8 : 0);
	out->key_bytes = key_bytes;
	out->value = out->key + key_bytes + 1 + (flags & h->has_client_flags ? 4 : 0);
	out->value_bytes = bytes > 2 ? (uint32_t)bytes - 2 : 0;
	if (flags & h->in_chunks) { /* what it leads to is spread: the item itself stands for it */
		out->value = at;
		out->value_bytes = h->data_at;
	}
	return is_within(&o, out->key, key_bytes) && is_within(&o, out->value, out->value_bytes) ? 1 : -1;
}

int spm_items_next(struct spm_seeing *s, struct spm_seen *out)
{
	int result = list_next(s);

	if (result == 1)
		result = item_tell(s, out);
	if (result < 0)
		errno = EUCLEAN;
	return result;
}
