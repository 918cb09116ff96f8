/* import_items.c - see import.h: items as they come from the stream, and the pages of a version as a commit takes them. */
#include "import.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { BATCH_PAGES = IMPORT_BATCH_PAGES, AHEAD_PAGES = 16 * BATCH_PAGES };
static const uint64_t window_pages = (SPM_WINDOW_END - SPM_WINDOW_START) / SPM_PAGE_BYTES;

int spm_import_tell(struct import *m)
{
	m->t.bytes = m->in.bytes;
	m->stopped = m->how->fn ? m->how->fn(&m->t, m->how->arg) : 0;
	return m->stopped;
}

/* ---- items ---- */

/* Where in the stream, for people. */
int spm_import_fail(struct import *m, int err)
{
	char where[SPM_NAME_BYTES + 100] = "";

	if (m->version.info.version)
		snprintf(where, sizeof(where), "; version %llu of branch %.63s is the last that it tells of",
		         (unsigned long long)m->version.info.version, m->version.info.branch);
	return spm_fail(-err, "the stream %s%s; %llu versions of it were imported", m->in.why, where,
	                (unsigned long long)m->t.versions);
}

int spm_import_malformed(struct import *m, const char *what)
{
	snprintf(m->in.why, sizeof(m->in.why), "is malformed before byte %llu: %s", (unsigned long long)m->in.bytes,
	         what);
	return spm_import_fail(m, -EUCLEAN);
}

static int take(struct import *m, void *to, size_t n)
{
	int err = spm_stream_read(&m->in, to, n);

	return err ? spm_import_fail(m, err) : 0;
}

static size_t item_bytes(uint64_t kind)
{
	static const size_t bytes[] = {
	        [ITEM_HEAD] = sizeof(struct item_head), [ITEM_VERSION] = sizeof(struct item_version),
	        [ITEM_PAGE] = sizeof(struct item_page), [ITEM_META] = sizeof(struct item_page),
	        [ITEM_GONE] = sizeof(uint64_t),         [ITEM_COMMIT] = sizeof(uint64_t),
	        [ITEM_TAG] = sizeof(struct item_name),  [ITEM_BRANCH] = sizeof(struct item_name),
	        [ITEM_END] = sizeof(uint64_t)};

	return kind < sizeof(bytes) / sizeof(bytes[0]) ? bytes[kind] : 0;
}

/* The next one in m->item, until m->has_item is cleared. */
int spm_import_look(struct import *m)
{
	size_t n;

	if (m->has_item)
		return 0;
	if (take(m, &m->item.kind, sizeof(m->item.kind)))
		return -1;
	n = item_bytes(m->item.kind);
	if (!n)
		return spm_import_malformed(m, "what it holds is of no known kind");
	if (take(m, &m->item.is, n))
		return -1;
	m->has_item = true;
	return 0;
}

static bool is_zero(const void *p, size_t n)
{
	const unsigned char *bytes = p;
	size_t i = 0;

	while (i < n && !bytes[i])
		i++;
	return i == n;
}

/* As far as recovery, and the slices of a restore, must be able to rely on it. */
static bool page_is_sane(const struct item_page *p)
{
	const struct page_meta *m = &p->meta;

	if (p->page >= SPM_BLOB_PAGE)
		return p->page < UINT64_MAX && is_zero(m, sizeof(*m));
	return m->page_in_span < m->span_pages && m->page_in_span <= p->page &&
	       p->page - m->page_in_span + m->span_pages <= window_pages && is_zero(m->zero, sizeof(m->zero)) &&
	       (!m->page_in_span || is_zero(&m->live, sizeof(m->live)));
}

/* ---- a version's pages, as a commit takes them ---- */

static bool is_page(uint64_t kind)
{
	return kind == ITEM_PAGE || kind == ITEM_META || kind == ITEM_GONE;
}

/* The item in m->item is one of a page: the number begins it, whatever kind it is of. */
static uint64_t item_page(const struct import *m)
{
	return m->item.is.number;
}

/* The batch ends before a chunk that might not be in it as a whole. */
static bool has_room(const struct import *m)
{
	uint64_t chunk = m->version.info.chunk_bytes / SPM_PAGE_BYTES;

	return !m->batch || m->batch + chunk <= BATCH_PAGES ||
	       (m->batch < BATCH_PAGES && item_page(m) / chunk == m->change[m->batch - 1].page / chunk);
}

/* Ascending: so a page is told of once. */
static int page_check(struct import *m)
{
	if (item_page(m) < m->next_page)
		return spm_import_malformed(m, "its pages are not in order");
	if (m->item.kind != ITEM_GONE && !page_is_sane(&m->item.is.page))
		return spm_import_malformed(m, "it holds an impossible page");
	m->next_page = item_page(m) + 1;
	return 0;
}

static int content_take(struct import *m, struct page_change *ch)
{
	unsigned char *to = m->pages + m->batch * SPM_PAGE_BYTES;

	if (take(m, to, SPM_PAGE_BYTES))
		return -1;
	if (spm_page_sum(to) != m->item.is.page.sum)
		return spm_import_malformed(m, "a page has not the sum that it is told to have");
	ch->data = to;
	ch->sum = m->item.is.page.sum;
	ch->has_sum = true;
	m->t.pages++;
	return 0;
}

/* The page changes from what the branch has, which is what it was told against. */
static int page_take(struct import *m)
{
	struct page_change *ch = &m->change[m->batch];
	struct page_source source;
	struct page_meta meta;
	bool was_there = m->to.chain && spm_chain_page(m->to.chain, item_page(m), &source, &meta);
	struct item_page was = {0}, *is = &m->item.is.page;

	*ch = (struct page_change){.page = item_page(m), .is_removed = m->item.kind == ITEM_GONE};
	if (page_check(m))
		return -1;
	if (was_there)
		was = spm_item_page(item_page(m), &source, &meta);
	if (!was_there && m->item.kind != ITEM_PAGE)
		return spm_import_malformed(m, "it tells of a change of a page that is not there");
	if (m->item.kind == ITEM_META && is->sum != was.sum)
		return spm_import_malformed(m, "it takes a page's content for another than it is");
	if (m->item.kind == ITEM_PAGE && content_take(m, ch))
		return -1;
	if (!ch->is_removed)
		ch->meta = is->meta;
	m->state += (ch->is_removed ? 0 : spm_state_of(is)) - (was_there ? spm_state_of(&was) : 0);
	m->batch++;
	m->has_item = false;
	return 0;
}

/* After the version's last page. */
static int commit_look(struct import *m)
{
	if (m->item.kind != ITEM_COMMIT)
		return spm_import_malformed(m, "a version does not end");
	if (m->item.is.number != m->state)
		return spm_import_malformed(m, "a version is not what its pages make it");
	m->source.is_over = true;
	m->has_item = false;
	return 0;
}

static int batch_take(struct import *m)
{
	m->batch = 0;
	while (!spm_import_look(m) && is_page(m->item.kind) && has_room(m))
		if (page_take(m))
			return -1;
	if (!m->has_item || (!is_page(m->item.kind) && commit_look(m)))
		return -1;
	m->taken += m->batch;
	return spm_import_tell(m);
}

/* How many changes there are in all is believed only so far: the volume grows accordingly. */
static uint64_t changes_most(const struct import *m)
{
	uint64_t all = m->version.info.pages;

	return all > m->taken + AHEAD_PAGES ? m->taken + AHEAD_PAGES : all;
}

int spm_import_changes(struct change_source *source, struct page_change **changes, size_t *n)
{
	struct import *m = (struct import *)((char *)source - offsetof(struct import, source));

	if (batch_take(m)) {
		m->error = m->stopped ? ECANCELED : errno;
		return -m->error;
	}
	source->changes_most = changes_most(m);
	*changes = m->change;
	*n = m->batch;
	return 0;
}

/* Passes over the version's pages; their frames were checked. */
int spm_import_skip(struct import *m, uint64_t *state)
{
	while (!spm_import_look(m) && is_page(m->item.kind)) {
		if (page_check(m) || (m->item.kind == ITEM_PAGE && take(m, m->pages, SPM_PAGE_BYTES)))
			return -1;
		m->has_item = false;
	}
	if (!m->has_item)
		return -1;
	if (m->item.kind != ITEM_COMMIT)
		return spm_import_malformed(m, "a version does not end");
	*state = m->item.is.number;
	m->has_item = false;
	return 0;
}
