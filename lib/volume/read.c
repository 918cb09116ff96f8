/* read.c - pages of a version, always verified; and the check of everything. */
#include "volume/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { READ_BLOCKS = 64 }; /* what is read is verified while the processor's cache still has it */

/* What the list becomes, and how much of its memory is used. */
struct listing {
	struct source_list list;
	size_t used;
};

/* The page, whose bytes come next, lengthens the last run, if that lies in the list's own bytes. */
static bool is_joined(struct listing *l, const struct source_run *page)
{
	struct source_run *last = l->list.n ? &l->list.run[l->list.n - 1] : NULL;

	if (!last || last->bytes + spm_source_bytes(last, last->pages) != l->list.bytes + l->used || !last->block ||
	    page->page != last->page + last->pages || page->block != last->block + last->pages ||
	    page->birth != last->birth || page->span_pages != last->span_pages || page->class != last->class ||
	    page->flags != last->flags || last->page_in_span >= last->span_pages ||
	    page->page_in_span != spm_source_page_in_span(last, last->pages))
		return false;
	last->pages++;
	return true;
}

static int run_list(const struct source_run *r, bool is_kept, void *arg)
{
	struct listing *l = arg;
	unsigned char *to = l->list.bytes + l->used;

	if (is_kept) {
		l->list.run[l->list.n++] = *r;
		return 0;
	}
	memcpy(to, r->bytes, spm_source_bytes(r, 1));
	if (!is_joined(l, r)) {
		l->list.run[l->list.n] = *r;
		l->list.run[l->list.n++].bytes = to;
	}
	l->used += spm_source_bytes(r, 1);
	return 0;
}

/* Room for as many runs and bytes as there may be at most: only what is used is touched. */
int spm_chain_list(struct chain *c, struct source_list *out)
{
	struct listing l = {{.pages = c->pages}, 0};

	l.list.run = spm_pages_map((c->pages + 1) * sizeof(*l.list.run), false);
	l.list.bytes = spm_pages_map((c->pages + 1) * SOURCE_BYTES_MOST, false);
	if (!l.list.run || !l.list.bytes) {
		spm_source_list_free(&l.list);
		return -ENOMEM;
	}
	spm_map_each_run(c, run_list, &l);
	*out = l.list;
	return 0;
}

void spm_source_list_free(struct source_list *l)
{
	spm_pages_unmap(l->run, (l->pages + 1) * sizeof(*l->run));
	spm_pages_unmap(l->bytes, (l->pages + 1) * SOURCE_BYTES_MOST);
	*l = (struct source_list){0};
}

void spm_chain_pin(struct chain *c, uint64_t version)
{
	pthread_mutex_lock(&c->lock);
	c->pinned = version;
	pthread_mutex_unlock(&c->lock);
}

static int page_damaged(struct chain *c, uint64_t version, const struct page_source *s)
{
	return spm_volume_fail(-EUCLEAN, "container %d: page %llu of version %llu (block %llu) is damaged", c->magic,
	                       (unsigned long long)s->page, (unsigned long long)version, (unsigned long long)s->block);
}

int spm_chain_read_run(struct chain *c, uint64_t version, const struct page_source *source, size_t n, void *buffer)
{
	int err = spm_blocks_read(c->volume, source->block, buffer, n);

	if (err && err != -ENODATA)
		return spm_volume_fail(err, "container %d: %s", c->magic, spm_volume_error_of(err));
	for (size_t i = 0; i < n; i++)
		if (err || XXH3_64bits((unsigned char *)buffer + i * SPM_BLOCK_BYTES, SPM_BLOCK_BYTES) != source[i].sum)
			return page_damaged(c, version, &source[i]);
	return 0;
}

/* As many of the pages from `first` on as have content in blocks that follow each other, up to `most`. */
static size_t run_gather(struct chain *c, uint64_t first, size_t most, struct page_source *out)
{
	size_t n = 0;

	for (; n < most; n++) {
		struct place room;
		const struct place *p = spm_map_get(c, first + n, &room);

		if (!p || !p->block || (n && p->block != out[0].block + n))
			break;
		out[n] = (struct page_source){first + n, p->block, p->sum};
	}
	return n;
}

int spm_chain_read(struct chain *c, uint64_t first, size_t n, void *buffer)
{
	struct page_source source[READ_BLOCKS];

	for (size_t i = 0; i < n;) {
		size_t run = run_gather(c, first + i, n - i < READ_BLOCKS ? n - i : READ_BLOCKS, source);
		int err =
		        run ? spm_chain_read_run(c, c->seq, source, run, (unsigned char *)buffer + i * SPM_BLOCK_BYTES)
		            : 0;

		if (err)
			return err;
		i += run ? run : 1;
	}
	return 0;
}

/* The pages that are damaged in the version the map shows now. */
struct check {
	struct chain *c;
	int (*fn)(const char *sentence, void *arg);
	void *arg;
	uint64_t *bad;
	size_t bad_count;
	int found;
	unsigned char page[SPM_BLOCK_BYTES];
};

static int report(struct check *k, const char *sentence)
{
	k->found = 1;
	return k->fn ? k->fn(sentence, k->arg) : 0;
}

static bool page_is_right(struct check *k, const struct place *p)
{
	return !p->block || (!spm_blocks_read(k->c->volume, p->block, k->page, 1) &&
	                     XXH3_64bits(k->page, SPM_BLOCK_BYTES) == p->sum);
}

static int page_check(uint64_t page, const struct place *p, void *arg)
{
	struct check *k = arg;
	uint64_t *more;

	if (page_is_right(k, p))
		return 0;
	more = realloc(k->bad, (k->bad_count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	k->bad = more;
	k->bad[k->bad_count++] = page;
	page_damaged(k->c, k->c->seq, &(struct page_source){page, p->block, p->sum});
	return report(k, spm_volume_error());
}

/* Before this record, which of the bad pages were right? */
static int bad_before(struct check *k, const struct record *r)
{
	struct entry_cursor e = record_entries(r);
	int result = 0;

	while (spm_entry_next(&e))
		for (size_t b = 0; b < k->bad_count && e.entry.is.block != e.entry.was.block; b++)
			if (k->bad[b] == e.entry.page)
				k->bad[b--] = k->bad[--k->bad_count];
	for (e = record_entries(r); !result && spm_entry_next(&e);)
		if (e.entry.is.block != e.entry.was.block && e.entry.was.birth)
			result = page_check(e.entry.page, &e.entry.was, k);
	return result;
}

static int record_report(struct check *k, const struct record_place *r, const char *what)
{
	spm_volume_fail(-EUCLEAN,
	                "container %d: the record of version %llu (block %llu) %s: versions before it can't be reached",
	                k->c->magic, (unsigned long long)r->seq, (unsigned long long)r->block, what);
	return report(k, spm_volume_error());
}

/* Goes back version by version until one is whole. */
static int versions_check(struct check *k, uint64_t *newest_whole)
{
	struct chain *c = k->c;
	int result = spm_map_each(c, page_check, k);

	*newest_whole = k->bad_count ? 0 : c->seq;
	for (size_t i = c->record_to; i > c->record_from && !result; i--) {
		struct record *r;
		uint64_t seq = c->record[i - 1].seq;

		if (seq <= c->oldest_kept)
			break;
		if (spm_record_read(c->volume, c->record[i - 1].block, &r))
			return record_report(k, &c->record[i - 1], "is damaged");
		result = bad_before(k, r);
		if (!result)
			result = spm_record_undo(c, r);
		free(r);
		if (result == -EUCLEAN)
			return record_report(k, &c->record[i - 1], "contradicts the map");
		c->seq = seq - 1;
		if (!result && !k->bad_count && !*newest_whole)
			*newest_whole = seq - 1;
	}
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
	result = versions_check(&k, newest_whole);
	spm_chain_close(k.c);
	free(k.bad);
	return result < 0 ? result : k.found;
}

/* Invariant 1 by counting: what is used plus what is free is all. */
static int place_count(uint64_t page, const struct place *p, void *arg)
{
	(void)page;
	*(uint64_t *)arg += p->block != 0;
	return 0;
}

void spm_chain_self_check(struct chain *c)
{
	uint64_t used = 0, all = 0;
	struct block_run run[RECORD_RUNS_MAX];
	unsigned n;

	pthread_mutex_lock(&c->lock);
	spm_map_each(c, place_count, &used);
	used += c->planned_blocks + c->dead_to - c->dead_from + c->next[0].blocks + c->next[1].blocks + 2;
	for (unsigned i = 0; i < c->head.run_count; i++)
		used += c->head.run[i].blocks;
	for (size_t i = c->record_from; i < c->record_to; i++)
		if (!spm_record_runs(c, &c->record[i], run, &n))
			for (unsigned k = 0; k < n; k++)
				used += run[k].blocks;
	for (size_t i = 0; i < c->extents; i++)
		all += EXTENT_BLOCKS - (c->extent[i].first % GROUP_BLOCKS ? 0 : GROUP_RESERVED_BLOCKS);
	SPM_CHECK(used + c->free_blocks == all);
	for (size_t i = c->record_from + 1; i < c->record_to; i++)
		SPM_CHECK(c->record[i].seq == c->record[i - 1].seq + 1); /* invariant 2 */
	pthread_mutex_unlock(&c->lock);
}
