/* history.c - see history.h. */
#include "volume/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t kept_bytes_least = 65536; /* of a record: in smaller ones are too few pages to save anything */

const struct segment *spm_segment_of(const struct history *h, uint64_t seq)
{
	size_t low = 0, high = h->segments;

	while (low < high) { /* the last that begins at or before seq */
		size_t middle = (low + high) / 2;

		if (h->segment[middle].e.seq <= seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low && h->segment[low - 1].e.last >= seq ? &h->segment[low - 1] : NULL;
}

int spm_segment_add(struct history *h, const struct segment_entry *e, struct block_run *run)
{
	struct segment *more = realloc(h->segment, (h->segments + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	h->segment = more;
	more[h->segments++] = (struct segment){*e, run};
	return 0;
}

void spm_history_free(struct history *h)
{
	for (size_t i = 0; i < h->segments; i++)
		free(h->segment[i].run);
	free(h->segment);
	free(h->kept);
	*h = (struct history){0};
}

static struct block_run *runs_copy(const struct segment *s)
{
	struct block_run *run = malloc(s->e.runs * sizeof(*run) + 1);

	if (run && s->e.runs)
		memcpy(run, s->run, s->e.runs * sizeof(*run));
	return run;
}

int spm_history_copy(const struct history *from, struct history *to)
{
	*to = (struct history){.kept = malloc((from->kept_count + 1) * sizeof(*to->kept))};
	if (!to->kept)
		return -ENOMEM;
	if (from->kept_count)
		memcpy(to->kept, from->kept, from->kept_count * sizeof(*to->kept));
	to->kept_count = from->kept_count;
	for (size_t i = 0; i < from->segments; i++) {
		struct block_run *run = runs_copy(&from->segment[i]);

		if (!run || spm_segment_add(to, &from->segment[i].e, run)) {
			free(run);
			spm_history_free(to);
			return -ENOMEM;
		}
	}
	return 0;
}

/* The first range that ends at or after seq; kept_count: none. */
static size_t range_of(const struct history *h, uint64_t seq)
{
	size_t low = 0, high = h->kept_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (h->kept[middle].to < seq)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool spm_kept_has(const struct history *h, uint64_t seq)
{
	size_t i = range_of(h, seq);

	return i < h->kept_count && h->kept[i].from <= seq;
}

uint64_t spm_kept_after(const struct history *h, uint64_t seq)
{
	size_t i = range_of(h, seq + 1);

	if (i == h->kept_count)
		return 0;
	return h->kept[i].from > seq ? h->kept[i].from : seq + 1;
}

uint64_t spm_kept_before(const struct history *h, uint64_t seq)
{
	size_t i = range_of(h, seq);

	if (i < h->kept_count && h->kept[i].from < seq)
		return seq - 1;
	return i ? h->kept[i - 1].to : 0;
}

static void range_drop(struct history *h, size_t i)
{
	h->kept_count--;
	memmove(&h->kept[i], &h->kept[i + 1], (h->kept_count - i) * sizeof(*h->kept));
}

static int range_insert(struct history *h, size_t i, struct kept_range range)
{
	struct kept_range *more = realloc(h->kept, (h->kept_count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	h->kept = more;
	memmove(&more[i + 1], &more[i], (h->kept_count++ - i) * sizeof(*more));
	more[i] = range;
	return 0;
}

int spm_kept_remove(struct history *h, uint64_t seq)
{
	size_t i = range_of(h, seq);
	struct kept_range *k = &h->kept[i];
	int err = 0;

	if (k->from == seq && k->to == seq) {
		range_drop(h, i);
	} else if (k->to == seq) {
		k->to--;
	} else {
		if (k->from < seq)
			err = range_insert(h, i++, (struct kept_range){k->from, seq - 1, k->time_ns});
		if (!err) {
			h->kept[i].from = seq + 1;
			h->kept[i].time_ns = 0; /* whoever needs it asks the version */
		}
	}
	return err;
}

int spm_kept_add_newest(struct history *h, uint64_t seq, uint64_t time_ns)
{
	if (h->kept_count && h->kept[h->kept_count - 1].to + 1 == seq) {
		h->kept[h->kept_count - 1].to = seq;
		return 0;
	}
	return range_insert(h, h->kept_count, (struct kept_range){seq, seq, time_ns});
}

uint64_t spm_kept_nth_newest(const struct history *h, uint64_t n)
{
	for (size_t i = h->kept_count; n && i > 0; i--) {
		const struct kept_range *k = &h->kept[i - 1];

		if (k->to - k->from >= n - 1)
			return k->to - (n - 1);
		n -= k->to - k->from + 1;
	}
	return 0;
}

/* The map of the version that the chain branched off. Its writer keeps it as long as this chain is there. */
static int origin_load(struct chain *c, struct map *map, struct version_info *info)
{
	struct chain *parent;
	uint64_t first;
	int err;

	*info = (struct version_info){0};
	if (!c->head.parent_chain)
		return 0;
	parent = spm_chain_new(c->volume, c->magic, "");
	if (!parent)
		return -ENOMEM;
	parent->id = c->head.parent_chain;
	parent->depth = c->depth + 1;
	err = parent->depth > BRANCH_DEPTH_MOST
	              ? 0
	              : spm_head_find(c->volume, c->magic, NULL, parent->id, &parent->head, &first);
	if (err == 1)
		err = spm_index_load(parent, false);
	else if (!err)
		err = spm_volume_fail(-EUCLEAN, "container %d: what branch %.64s began with is not there any more",
		                      c->magic, c->branch);
	if (!err)
		err = spm_version_load(parent, c->head.origin_seq, map, info);
	spm_chain_free(parent);
	return err == -ENOENT ? -EUCLEAN : err; /* it was to be kept */
}

int spm_replay_begin(struct replay *r, struct chain *c, const struct segment *s, struct map *map)
{
	int err;

	*r = (struct replay){.c = c, .map = map, .segment = s, .seq = s->e.seq, .sum = s->e.record_sum};
	memcpy(r->next, s->e.next, sizeof(r->next));
	err = s->e.map_bytes ? spm_map_image_load(c, s, map, &r->info) : origin_load(c, map, &r->info);
	if (!err && (r->info.version != s->e.version || r->info.pages != map->pages))
		err = spm_volume_fail(-EUCLEAN, "container %d: the map of version %llu contradicts itself", c->magic,
		                      (unsigned long long)s->e.version);
	return err;
}

int spm_replay_read(const struct replay *r, struct record **out)
{
	struct record *record;
	int err = spm_record_read(r->c->volume, r->next[0].block, &record);

	if (err)
		return err;
	if (!spm_record_is_ours(r->c, record, r->seq + 1) || record->prev_sum != r->sum) {
		free(record);
		return -EILSEQ;
	}
	*out = record;
	return 0;
}

bool spm_replay_keeps(struct replay *r, struct record *record)
{
	return record->bytes >= kept_bytes_least && !spm_map_keep(r->map, record);
}

int spm_replay_apply(struct replay *r, const struct record *record, bool is_kept)
{
	struct entry_cursor e = record_entries(record);
	struct source_run run;
	uint64_t entries = 0;
	int err = 0;

	if (record->info.version <= r->info.version || record->info.parent != r->info.version)
		return -EUCLEAN;
	while (!err) {
		if (spm_entry_run(&e, &run)) {
			err = spm_map_add(r->map, &run, is_kept);
			entries += run.pages;
		} else if (spm_entry_next(&e)) {
			err = spm_map_change(r->map, e.entry.page, &e.entry.was, &e.entry.is);
			entries++;
		} else {
			break;
		}
	}
	if (!err && (e.is_broken || entries != record->entries || r->map->pages != record->info.pages))
		err = -EUCLEAN;
	r->seq = record->seq;
	r->sum = record->sum;
	r->info = record->info;
	memcpy(r->next, record->next, sizeof(r->next));
	return err;
}

int spm_replay_damaged(const struct replay *r)
{
	return spm_volume_fail(-EUCLEAN, "container %d: the record after version %llu (block %llu) is damaged",
	                       r->c->magic, (unsigned long long)r->info.version, (unsigned long long)r->next[0].block);
}

int spm_replay_to(struct replay *r, struct chain *c, uint64_t seq, struct map *map)
{
	const struct segment *s = spm_segment_of(&c->history, seq);
	struct record *record;
	int err = s ? spm_replay_begin(r, c, s, map)
	            : spm_volume_fail(-ENOENT, "container %d: version with record %llu is not there any more", c->magic,
	                              (unsigned long long)seq);

	while (!err && r->seq < seq) {
		err = spm_replay_read(r, &record);
		if (!err) {
			bool is_kept = spm_replay_keeps(r, record);

			err = spm_replay_apply(r, record, is_kept);
			if (!is_kept)
				free(record);
		}
		if (err == -EILSEQ || err == -EUCLEAN)
			err = spm_replay_damaged(r);
	}
	return err;
}

int spm_version_load(struct chain *c, uint64_t seq, struct map *map, struct version_info *info)
{
	struct replay r;
	int err = spm_replay_to(&r, c, seq, map);

	if (!err)
		*info = r.info;
	return err;
}
