/* read.c - pages of a version, always verified. */
#include "volume/history.h"
#include "volume/pins.h"

#include <errno.h>

enum { NEAR_BLOCKS = 64 };
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
	    last->granules || page->granules || page->page != last->page + last->pages ||
	    page->block != last->block + last->pages || page->birth != last->birth ||
	    page->span_pages != last->span_pages || page->class != last->class || page->flags != last->flags ||
	    last->page_in_span >= last->span_pages || page->page_in_span != spm_source_page_in_span(last, last->pages))
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
	memcpy(to, r->bytes, spm_source_length(r));
	if (!is_joined(l, r)) {
		l->list.run[l->list.n] = *r;
		l->list.run[l->list.n++].bytes = to;
	}
	l->used += spm_source_length(r);
	return 0;
}

/* Room for as many runs and bytes as there may be at most: only what is used is touched. */
int spm_map_list(const struct map *m, struct source_list *out)
{
	struct listing l = {{.pages = m->pages, .room = (m->pages + 1) * SOURCE_BYTES_MOST + m->patch_bytes}, 0};

	l.list.run = spm_pages_map((m->pages + 1) * sizeof(*l.list.run), false);
	l.list.bytes = spm_pages_map(l.list.room, false);
	if (!l.list.run || !l.list.bytes) {
		spm_source_list_free(&l.list);
		return -ENOMEM;
	}
	spm_map_each_run(m, run_list, &l);
	*out = l.list;
	return 0;
}

int spm_chain_list(struct chain *c, struct source_list *out)
{
	return spm_map_list(&c->map, out);
}

void spm_source_list_free(struct source_list *l)
{
	spm_pages_unmap(l->run, (l->pages + 1) * sizeof(*l->run));
	spm_pages_unmap(l->bytes, l->room);
	*l = (struct source_list){0};
}

const struct source_run *spm_source_find(const struct source_list *l, uint64_t page, uint32_t *k)
{
	size_t low = 0, high = l->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (l->run[middle].page + l->run[middle].pages <= page)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == l->n || l->run[low].page > page)
		return NULL;
	*k = (uint32_t)(page - l->run[low].page);
	return &l->run[low];
}

/* Several may let go at once: one does. */
int spm_chain_pin(struct chain *c, bool is_pinned)
{
	uint64_t seq;
	int err;

	if (!c->is_writer)
		return 0;
	if (!is_pinned) { /* commits may be made meanwhile */
		seq = atomic_exchange(&c->pinned_seq, 0);
		if (seq)
			spm_version_unpin(c, seq);
		return 0;
	}
	seq = c->seq;
	err = spm_version_pin(c, seq);
	c->pinned_seq = err ? 0 : seq;
	return err;
}

int spm_page_damaged(const struct chain *c, uint64_t version, uint64_t page, uint64_t block)
{
	return spm_volume_fail(-EUCLEAN, "container %d: page %llu of version %llu (block %llu) is damaged", c->magic,
	                       (unsigned long long)page, (unsigned long long)version, (unsigned long long)block);
}

void spm_chain_near(struct chain *c, struct nears *nears, uint64_t block)
{
	uint64_t window = block / NEAR_BLOCKS + 1;
	unsigned i;

	for (i = 0; i < NEARS && nears->window[i] != window; i++)
		;
	if (i == NEARS) {
		i = nears->next++ % NEARS;
		nears->window[i] = window;
		nears->is_expected[i] = false;
		if (!nears->is_dense)
			return;
	}
	if (!nears->is_expected[i]) {
		spm_blocks_expect(c->volume, (window - 1) * NEAR_BLOCKS, NEAR_BLOCKS);
		nears->is_expected[i] = true;
	}
}

bool spm_chain_names_lost(const struct chain *c)
{
	return c->volume->super.version >= FORMAT_VERSION_LOST;
}

void spm_chain_expect(struct chain *c, uint64_t block, uint64_t blocks)
{
	spm_blocks_expect(c->volume, block, blocks);
}

int spm_chain_read_run(struct chain *c, uint64_t version, const struct page_source *source, size_t n, void *buffer)
{
	int err = spm_blocks_read(c->volume, source->block, buffer, n);

	if (err && err != -ENODATA)
		return spm_volume_fail(err, "container %d: %s", c->magic, spm_volume_error_of(err));
	for (size_t i = 0; i < n; i++)
		if (err || !spm_page_finish((unsigned char *)buffer + i * SPM_BLOCK_BYTES, source[i].granules,
		                            source[i].patch, source[i].sum))
			return spm_page_damaged(c, version, source[i].page, source[i].block);
	return 0;
}

static struct page_source source_of(uint64_t page, const struct place *p)
{
	return (struct page_source){page, p->block, p->sum, p->granules, p->patch};
}

/* As many of the pages from `first` on as have content in blocks that follow each other, up to `most`. */
static size_t run_gather(struct chain *c, uint64_t first, size_t most, struct page_source *out)
{
	size_t n = 0;

	for (; n < most; n++) {
		struct place room;
		const struct place *p = spm_map_get(&c->map, first + n, &room);

		if (!p || !p->block || (n && p->block != out[0].block + n))
			break;
		out[n] = source_of(first + n, p);
	}
	return n;
}

bool spm_chain_page(struct chain *c, uint64_t page, struct page_source *source, struct page_meta *meta)
{
	struct place room;
	const struct place *p = spm_map_get(&c->map, page, &room);

	if (!p)
		return false;
	*source = source_of(page, p);
	*meta = p->meta;
	return true;
}

int spm_chain_read(struct chain *c, uint64_t first, size_t n, void *buffer)
{
	struct page_source source[READ_BLOCKS];

	for (size_t i = 0; i < n;) {
		size_t run = run_gather(c, first + i, n - i < READ_BLOCKS ? n - i : READ_BLOCKS, source);
		int err = run ? spm_chain_read_run(c, c->newest.version, source, run,
		                                   (unsigned char *)buffer + i * SPM_BLOCK_BYTES)
		              : 0;

		if (err)
			return err;
		i += run ? run : 1;
	}
	return 0;
}
