/* check.c - verifies everything of a chain, version by version from the oldest on; and, for tests, its state in memory. */
#include "volume/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct page_at {
	uint64_t page, block;
};
struct pages {
	struct page_at *at;
	size_t n;
};

struct check {
	struct chain *c;
	int (*fn)(const char *sentence, void *arg);
	void *arg;
	struct pages bad;     /* of the version that was reached */
	struct pages covered; /* of the one that was looked at last: a patch hides a part of the block, which was not */
	uint64_t checked;     /* seq of the version that was looked at last */
	bool is_begun, is_behind; /* behind: the map has changed since in ways that were not looked at */
	uint64_t version;         /* that is being looked at */
	uint64_t whole;           /* newest whole one so far */
	bool found;
	unsigned char page[SPM_BLOCK_BYTES];
};

static int report(struct check *k, const char *sentence)
{
	k->found = true;
	return k->fn ? k->fn(sentence, k->arg) : 0;
}

static bool is_right(struct check *k, const struct place *p)
{
	return !p->block || (!spm_blocks_read(k->c->volume, p->block, k->page, 1) &&
	                     spm_page_finish(k->page, p->granules, p->patch, p->sum));
}

static int page_add(struct pages *l, uint64_t page, uint64_t block)
{
	struct page_at *more = realloc(l->at, (l->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->at = more;
	l->at[l->n++] = (struct page_at){page, block};
	return 0;
}

static bool is_known_bad(const struct check *k, uint64_t page, uint64_t block)
{
	for (size_t i = 0; i < k->bad.n; i++)
		if (k->bad.at[i].page == page && k->bad.at[i].block == block)
			return true;
	return false;
}

static int page_check(struct check *k, uint64_t page, const struct place *p)
{
	if (is_right(k, p) || is_known_bad(k, page, p->block))
		return 0;
	if (page_add(&k->bad, page, p->block))
		return -ENOMEM;
	spm_page_damaged(k->c, k->version, page, p->block);
	return report(k, spm_volume_error());
}

static int place_check(uint64_t page, const struct place *p, void *arg)
{
	struct check *k = arg;

	return k->is_begun && p->birth <= k->checked && !p->granules ? 0 : page_check(k, page, p);
}

static int record_check(struct check *k, const struct record *record)
{
	struct entry_cursor e = record_entries(record);
	int result = 0;

	while (!result && spm_entry_next(&e))
		if (e.entry.is.birth && (e.entry.is.birth == record->seq || e.entry.is.sum != e.entry.was.sum))
			result = page_check(k, e.entry.page, &e.entry.is);
	return result;
}

/* Pages that have other blocks now, or what was bad in a patch, are bad no more. */
static void bad_forget(struct check *k, const struct map *map)
{
	size_t n = 0;

	for (size_t i = 0; i < k->bad.n; i++) {
		struct place room;
		const struct place *p = spm_map_get(map, k->bad.at[i].page, &room);

		if (p && p->block == k->bad.at[i].block && !(p->granules && is_right(k, p)))
			k->bad.at[n++] = k->bad.at[i];
	}
	k->bad.n = n;
}

static int covered_note(uint64_t page, const struct place *p, void *arg)
{
	return p->granules ? page_add(&((struct check *)arg)->covered, page, p->block) : 0;
}

/* Before versions that are not looked at, one by one. */
static int covered_find(struct check *k, const struct replay *r)
{
	bool goes_on = r->seq < r->segment->e.last && spm_kept_has(&k->c->history, r->seq + 1);

	k->covered.n = 0;
	return !goes_on && r->map->patch_bytes ? spm_map_each(r->map, covered_note, k) : 0;
}

/* Those that have no patch any more. */
static int covered_check(struct check *k, const struct map *map)
{
	int result = 0;

	for (size_t i = 0; i < k->covered.n && !result; i++) {
		struct place room;
		const struct place *p = spm_map_get(map, k->covered.at[i].page, &room);

		if (p && p->block == k->covered.at[i].block && !p->granules)
			result = page_check(k, k->covered.at[i].page, p);
	}
	return result;
}

static int pages_check(struct check *k, const struct map *map)
{
	int result = spm_map_each(map, place_check, k);

	return result ? result : covered_check(k, map);
}

/* record: that made the version; NULL: it comes from a map. */
static int version_check(struct check *k, const struct replay *r, const struct record *record)
{
	int result;

	if (!spm_kept_has(&k->c->history, r->seq) && r->seq != k->c->seq) { /* a fresh branch has its origin only */
		k->is_behind = true;
		return 0;
	}
	k->version = r->info.version;
	bad_forget(k, r->map);
	result = k->is_behind || !record || !k->is_begun ? pages_check(k, r->map) : record_check(k, record);
	k->checked = r->seq;
	k->is_begun = true;
	k->is_behind = false;
	if (!k->bad.n)
		k->whole = r->info.version;
	return result ? result : covered_find(k, r);
}

static int versions_unreachable(struct check *k)
{
	k->is_behind = true;
	return report(k, spm_volume_error());
}

static int record_bad(struct check *k, const struct replay *r, const char *what)
{
	spm_volume_fail(
	        -EUCLEAN,
	        "container %d: the record after version %llu (block %llu) %s: versions from there to the next map "
	        "can't be reached",
	        k->c->magic, (unsigned long long)r->info.version, (unsigned long long)r->next[0].block, what);
	return versions_unreachable(k);
}

static int records_check(struct check *k, struct replay *r, uint64_t last)
{
	int result = 0;

	while (r->seq < last && !result) {
		struct record *record;

		if (spm_replay_read(r, &record))
			return record_bad(k, r, "is damaged");
		result = spm_replay_apply(r, record, false);
		if (!result)
			result = version_check(k, r, record);
		free(record);
		if (result == -EUCLEAN)
			return record_bad(k, r, "contradicts the map");
	}
	return result;
}

static int segment_check(struct check *k, const struct segment *s)
{
	uint64_t last = s->e.last < k->c->seq ? s->e.last : k->c->seq;
	struct map map = {0};
	struct replay r;
	int result = spm_replay_begin(&r, k->c, s, &map);

	if (result == -EUCLEAN)
		result = versions_unreachable(k);
	else if (!result && (k->checked < s->e.seq || !k->is_begun))
		result = version_check(k, &r, NULL);
	if (!result)
		result = records_check(k, &r, last);
	spm_map_free(&map);
	return result;
}

static int versions_check(struct check *k)
{
	const struct history *h = &k->c->history;
	int result = 0;

	for (size_t i = 0; i < h->segments && !result; i++)
		result = segment_check(k, &h->segment[i]);
	return result;
}

int spm_volume_check(struct volume *v, int magic, const char *branch, int (*fn)(const char *sentence, void *arg),
                     void *arg, uint64_t *newest_whole)
{
	struct check k = {.fn = fn, .arg = arg};
	int result = spm_chain_open(v, magic, branch, 0, 0, &k.c);

	*newest_whole = 0;
	if (result == -EUCLEAN) {
		report(&k, spm_volume_error());
		result = spm_chain_open(v, magic, branch, CHAIN_NEWEST_WHOLE, 0, &k.c);
		if (result == -EUCLEAN)
			return 1;
	}
	if (result)
		return result;
	result = versions_check(&k);
	*newest_whole = k.whole;
	spm_chain_close(k.c);
	free(k.bad.at);
	free(k.covered.at);
	return result < 0 ? result : k.found;
}

static void space_check(struct chain *c, const struct extent *needed)
{
	for (size_t i = 0; i < c->extents; i++)
		for (unsigned b = 0; b < EXTENT_BLOCKS; b++) {
			uint64_t block = c->extent[i].first + b;
			bool is_needed = needed[i].free[b >> 6] >> (b & 63) & 1;

			if (block % GROUP_BLOCKS >= GROUP_RESERVED_BLOCKS && is_needed == spm_free_has(c, block))
				spm_panic("invariant 1: block %llu is %s", (unsigned long long)block,
				          is_needed ? "free and needed" : "neither free nor needed");
		}
}

static void order_check(const struct chain *c)
{
	const struct history *h = &c->history;

	for (size_t i = c->dead_from + 1; i < c->dead_to; i++)
		SPM_CHECK(c->dead[i].death >= c->dead[i - 1].death);
	for (size_t i = c->record_from; i < c->record_to; i++)
		SPM_CHECK(c->record[i].seq == c->records_from + (i - c->record_from));
	for (size_t i = 1; i < h->segments; i++)
		SPM_CHECK(h->segment[i].e.seq > h->segment[i - 1].e.seq &&
		          h->segment[i].e.seq >= h->segment[i - 1].e.last);
	for (size_t i = 1; i < h->kept_count; i++)
		SPM_CHECK(h->kept[i].from > h->kept[i - 1].to + 1 && h->kept[i].from <= h->kept[i].to);
	SPM_CHECK(!h->kept_count || h->kept[h->kept_count - 1].to == c->seq);
}

void spm_chain_self_check(struct chain *c)
{
	struct extent *needed = calloc(c->extents + 1, sizeof(*needed));

	pthread_mutex_lock(&c->lock);
	order_check(c); /* invariant 2 */
	for (size_t i = 0; i < c->extents; i++)
		needed[i].first = c->extent[i].first;
	if (spm_space_needed(c, needed))
		spm_panic("what is needed can't be found out: %s", spm_volume_error());
	space_check(c, needed);
	pthread_mutex_unlock(&c->lock);
	free(needed);
}
