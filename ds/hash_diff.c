/* hash_diff.c - what changed from one hashtable to another.
 *
 *   objects that differ  --->  those that are buckets  --->  ranges of hashes  --->  both tables' entries in these ranges, each
 *   (pDiffer)                  of the table before           in order, joined        looked up in the other table
 *
 * Which buckets the table had before is enough. The one that an entry's hash belonged to has other bytes afterwards, or is gone, if the entry came,
 * went, or changed. And the same holds if it was split, or merged with others, for then its header is another: so no bucket
 * of either table lies partly in the joined ranges, and nothing is told twice.
 *
 * Nothing that pDiffer tells is believed but its addresses: an object is a bucket of the table if it looks like one and the directory leads to it.
 */
#include "hash.h"
#include "versions.h"

#include <errno.h>
#include <stdlib.h>

bool spm_hash_is_like(const struct phash *t, const struct phash *other)
{
	return t->way == other->way && t->key_bytes == other->key_bytes && t->value_bytes == other->value_bytes;
}

/* ---- ranges ---- */

static int range_add(struct hash_ranges *list, uint64_t first, uint64_t end)
{
	/* Doubled at each power of two. */
	if (!(list->n & (list->n - 1))) {
		struct hash_range *more = realloc(list->range, (list->n ? 2 * list->n : 1) * sizeof(*more));

		if (!more)
			return -1;
		list->range = more;
	}
	list->range[list->n++] = (struct hash_range){first, end};
	return 0;
}

static int by_first(const void *a, const void *b)
{
	const struct hash_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

/* Sorts, and joins what overlaps or adjoins. */
static void ranges_join(struct hash_ranges *list)
{
	size_t n = 0;

	if (list->n)
		qsort(list->range, list->n, sizeof(*list->range), by_first);
	for (size_t i = 0; i < list->n; i++) {
		struct hash_range *last = n ? &list->range[n - 1] : NULL, r = list->range[i];

		if (last && (!last->end || r.first <= last->end))
			last->end = !last->end || !r.end ? 0 : r.end > last->end ? r.end : last->end;
		else
			list->range[n++] = r;
	}
	list->n = n;
}

struct collecting {
	const struct phash *before;
	struct hash_ranges *list;
};

static bool is_bucket_of(const struct phash *t, const void *object, size_t bytes)
{
	const struct bucket *b = object;

	return b && bytes >= t->bucket_bytes && b->magic == BUCKET_MAGIC && b->id == t->id &&
	       bucket_of(t, bucket_first(b)) == b;
}

static int object_collect(const struct pdiffering *object, void *arg)
{
	const struct collecting *c = arg;
	const struct bucket *b = object->first;

	return is_bucket_of(c->before, b, object->size) ? range_add(c->list, bucket_first(b), bucket_end(b)) : 0;
}

int spm_hash_changed(const struct phash *before, const struct phash *after, const int *container, bool may_ask,
                     struct hash_ranges *list)
{
	struct collecting c = {before, list};
	bool is_one_table = before->id == after->id && !memcmp(before->secret, after->secret, sizeof(before->secret));

	*list = (struct hash_ranges){NULL, 0};
	if (!may_ask || !is_one_table)
		return range_add(list, 0, 0);
	if (!pDiffer(container[0], container[1], object_collect, &c)) {
		ranges_join(list);
		return 0;
	}
	if (errno != ENOTSUP)
		return -1;
	list->n = 0;
	return range_add(list, 0, 0);
}

/* ---- entries ---- */

struct comparing {
	const struct phash *before, *after;
	int container[2];
	pchange_fn *fn;
	void *arg;
	int result;
};

static void tell(struct comparing *c, enum pchange_kind kind, const void *key, const void *was, const void *is)
{
	struct pchange change = {.kind = kind, .key = key, .old_value = was, .new_value = is};

	c->result = c->fn(&change, c->arg);
}

static void compare_before(struct comparing *c, const unsigned char *entry)
{
	const void *key = key_of(c->before, entry), *was = entry + c->before->value_at;
	const void *is = phash_get(c->after, key);
	int same = spm_values_same(c->before->value_bytes, c->before->flags & VALUES_ARE_PLAIN, c->container[0], was,
	                           c->container[1], is);

	if (same < 0)
		c->result = -1;
	else if (!same)
		tell(c, is ? PCHANGE_CHANGED : PCHANGE_REMOVED, key, was, is);
}

static void compare_after(struct comparing *c, const unsigned char *entry)
{
	const void *key = key_of(c->after, entry);

	if (!phash_get(c->before, key))
		tell(c, PCHANGE_ADDED, key, NULL, entry + c->after->value_at);
}

static void compare_bucket(struct comparing *c, const struct phash *t, const struct bucket *b)
{
	for (unsigned s = 0; !c->result && (s = spm_bucket_next(t, b, s)) != NONE; s++) {
		const unsigned char *entry = entry_at(t, b, s);

		if (t == c->before)
			compare_before(c, entry);
		else
			compare_after(c, entry);
	}
}

static void compare_range(struct comparing *c, const struct phash *t, struct hash_range r)
{
	uint64_t at = r.first;

	do {
		const struct bucket *b = bucket_of(t, at);

		compare_bucket(c, t, b);
		at = bucket_end(b);
	} while (at && (!r.end || at < r.end) && !c->result);
}

int phash_diff(const struct phash *before, const struct phash *after, pchange_fn *fn, void *arg)
{
	struct comparing c = {.before = before, .after = after, .fn = fn, .arg = arg};
	struct hash_ranges list = {NULL, 0};
	int may_ask;

	if (!spm_hash_is_like(before, after)) {
		errno = EINVAL;
		return -1;
	}
	if (before == after)
		return 0;
	may_ask = spm_versions_find(before, after, c.container);
	c.result = may_ask < 0 ? -1 : spm_hash_changed(before, after, c.container, may_ask, &list);
	for (size_t i = 0; i < list.n && !c.result; i++) {
		compare_range(&c, before, list.range[i]);
		if (!c.result)
			compare_range(&c, after, list.range[i]);
	}
	free(list.range);
	return c.result;
}
