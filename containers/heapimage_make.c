/* heapimage_make.c - pImage: writes a version as an image (heapimage.h).
 *
 *   page map -> runs and mends -> tables, then pages and their sums as they come from the volume -> flush -> name
 *
 * The file gets its name when all of it is durable: a crash before leaves the name as it was, and a file of another name that is no
 * harm. Pages are read, verified and written a MiB at a time; those that are all zero are left out.
 */
#include "heapimage.h"
#include "refs.h"
#include "volume/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { PIECE_PAGES = 256 };

struct making {
	int magic;
	const char *path;
	struct chain *chain;
	struct source_list list;
	uint64_t blob_pages;
	struct heapimage_header h;
	struct heapimage_run *run;
	struct heapimage_mend *mend;
	unsigned char *blob;
	struct blob_parts parts; /* of it */
	uint64_t spans;
	struct plain plain;
	char temporary[4096];
	int fd;
	uint64_t at_run, sums;      /* the run that pages are written to, and where its sums begin */
	uint32_t piece_page, piece; /* so many pages are gathered from there on */
	unsigned char *page;        /* PIECE_PAGES of them */
	uint64_t sum[PIECE_PAGES];
};

static int no_memory(const struct making *m)
{
	return spm_fail(ENOMEM, "container %d: no memory to make an image", m->magic);
}

static int not_written(const struct making *m)
{
	return spm_fail(errno, "image %s could not be written: %s", m->path, strerror(errno));
}

/* ---- layout ---- */

/* Whether a page goes on in the run: its slice is the run's last, or the one behind. */
static bool is_run_on(const struct heapimage_run *r, uint64_t page)
{
	return page / SPM_SLICE_PAGES <= (r->page + r->pages - 1) / SPM_SLICE_PAGES + 1;
}

static void run_note(struct making *m, const struct source_run *s)
{
	struct heapimage_run *r = m->h.runs ? &m->run[m->h.runs - 1] : NULL;

	if (!r || !is_run_on(r, s->page)) {
		r = &m->run[m->h.runs++];
		r->page = (uint32_t)(s->page / HEAPIMAGE_ALIGN_PAGES * HEAPIMAGE_ALIGN_PAGES);
	}
	r->pages = (uint32_t)(s->page + s->pages - r->page);
}

static void mend_note(struct making *m, const struct source_run *s)
{
	struct heapimage_mend *last = m->h.mends ? &m->mend[m->h.mends - 1] : NULL;

	if (s->flags & HEAP_NOPTR || !(s->flags & PAGE_OUTSIDE) || !s->block)
		return;
	if (last && last->page + last->pages == s->page)
		last->pages += s->pages;
	else
		m->mend[m->h.mends++] = (struct heapimage_mend){(uint32_t)s->page, s->pages};
}

/* Longest tables first; only what is used of them is touched. */
static int runs_make(struct making *m)
{
	m->run = spm_pages_map(SPM_SLICES * sizeof(*m->run), false);
	m->mend = spm_pages_map((m->list.n + 1) * sizeof(*m->mend), false);
	if (!m->run || !m->mend)
		return no_memory(m);
	for (size_t i = 0; i < m->list.n; i++) {
		const struct source_run *s = &m->list.run[i];

		if (s->page >= SPM_BLOB_PAGE) {
			m->blob_pages += s->pages;
			continue;
		}
		if (s->page + s->pages > (uint64_t)SPM_SLICES * SPM_SLICE_PAGES)
			return spm_fail(EUCLEAN,
			                "container %d is damaged: its page map holds an impossible page (page %llu)",
			                m->magic, (unsigned long long)s->page);
		run_note(m, s);
		mend_note(m, s);
		for (uint32_t k = spm_source_head(s, 0); k < s->pages; k = spm_source_head(s, k + 1))
			m->spans++;
	}
	return 0;
}

static uint64_t aligned(uint64_t bytes, uint64_t unit)
{
	return (bytes + unit - 1) / unit * unit;
}

static void places_give(struct making *m)
{
	const uint64_t unit = HEAPIMAGE_ALIGN_PAGES * SPM_PAGE_BYTES;
	struct heapimage_header *h = &m->h;

	for (uint64_t i = 0; i < h->runs; i++)
		h->pages += m->run[i].pages;
	h->modules_bytes = m->parts.table_bytes;
	h->tables_bytes = h->runs * sizeof(*m->run) + h->mends * sizeof(*m->mend) + h->plains * sizeof(uint64_t) +
	                  h->modules_bytes;
	h->sums_at = aligned(sizeof(*h) + h->tables_bytes, SPM_PAGE_BYTES);
	h->types_at = h->sums_at + h->pages * sizeof(uint64_t);
	h->types_bytes = m->parts.types_bytes;
	h->hints_bytes = m->parts.hints_bytes;
	h->spans = m->spans;
	h->file_bytes = h->types_at + h->types_bytes + h->hints_bytes + h->spans * sizeof(struct heapimage_span);
	for (uint64_t i = 0; i < h->runs; i++) {
		m->run[i].offset = aligned(h->file_bytes, unit);
		h->file_bytes = m->run[i].offset + (uint64_t)m->run[i].pages * SPM_PAGE_BYTES;
	}
}

static int plain_read(struct making *m)
{
	int err = spm_plain_load(&m->plain, m->parts.plain, m->parts.plain_bytes);

	m->h.plains = m->plain.n;
	if (err == -ENOMEM)
		return no_memory(m);
	return err ? spm_fail(EUCLEAN, "container %d is damaged: its hints are malformed", m->magic) : 0;
}

static int layout_make(struct making *m)
{
	if (spm_chain_list(m->chain, &m->list))
		return no_memory(m);
	if (runs_make(m) || spm_blob_read(m->chain, m->magic, m->blob_pages, &m->blob, &m->parts))
		return -1;
	if (plain_read(m))
		return -1;
	if (!m->h.runs)
		return spm_fail(EUCLEAN, "container %d is damaged: the version has no pages", m->magic);
	places_give(m);
	return 0;
}

/* ---- writing ---- */

static int bytes_write(struct making *m, uint64_t offset, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;

	while (n) {
		ssize_t done = TEMP_FAILURE_RETRY(pwrite(m->fd, at, n, (off_t)offset));

		if (done < 0)
			return not_written(m);
		at += done;
		offset += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

/* Those that are not all zero; the others are holes. */
static int piece_pages_write(struct making *m, uint64_t offset)
{
	int err = 0;

	for (uint32_t i = 0, end; i < m->piece && !err; i = end) {
		end = i + 1;
		if (!m->sum[i])
			continue;
		while (end < m->piece && m->sum[end])
			end++;
		err = bytes_write(m, offset + (uint64_t)i * SPM_PAGE_BYTES, m->page + (size_t)i * SPM_PAGE_BYTES,
		                  (size_t)(end - i) * SPM_PAGE_BYTES);
	}
	return err;
}

/* What was gathered, which is in one run. */
static int piece_write(struct making *m)
{
	const struct heapimage_run *r;
	uint64_t in_run;

	if (!m->piece)
		return 0;
	while (m->piece_page >= m->run[m->at_run].page + m->run[m->at_run].pages)
		m->sums += m->run[m->at_run++].pages * sizeof(uint64_t);
	r = &m->run[m->at_run];
	in_run = m->piece_page - r->page;
	if (bytes_write(m, m->sums + in_run * sizeof(uint64_t), m->sum, m->piece * sizeof(uint64_t)) ||
	    piece_pages_write(m, r->offset + in_run * SPM_PAGE_BYTES))
		return -1;
	m->piece = 0;
	return 0;
}

/* The next n pages of the version, which follow each other in the volume. */
static int pages_gather(struct making *m, const struct page_source *s, uint32_t n)
{
	unsigned char *to;
	int err;

	if (m->piece && (m->piece_page + m->piece != s->page || m->piece + n > PIECE_PAGES) && piece_write(m))
		return -1;
	if (!m->piece)
		m->piece_page = (uint32_t)s->page;
	to = m->page + (size_t)m->piece * SPM_PAGE_BYTES;
	err = spm_chain_read_run(m->chain, m->h.info.version, s, n, to);
	if (err)
		return spm_fail_volume(err);
	for (uint32_t i = 0; i < n; i++)
		m->sum[m->piece + i] = spm_heapimage_is_zero(to + (size_t)i * SPM_PAGE_BYTES) ? 0 : s[i].sum;
	m->piece += n;
	return 0;
}

static int run_write(struct making *m, const struct source_run *r)
{
	struct page_source s[PIECE_PAGES];
	int err = 0;

	for (uint32_t k = 0, n; k < r->pages && !err; k += n) {
		n = r->pages - k < PIECE_PAGES ? r->pages - k : PIECE_PAGES;
		for (uint32_t i = 0; i < n; i++)
			s[i] = spm_source_of(r, k + i);
		err = pages_gather(m, s, n);
	}
	return err;
}

static int pages_write(struct making *m)
{
	int err = 0;

	m->sums = m->h.sums_at;
	m->page = malloc(PIECE_PAGES * SPM_PAGE_BYTES);
	if (!m->page)
		return no_memory(m);
	for (size_t i = 0; i < m->list.n && !err; i++)
		if (m->list.run[i].page < SPM_BLOB_PAGE && m->list.run[i].block)
			err = run_write(m, &m->list.run[i]);
	return err ? err : piece_write(m);
}

static int tables_write(struct making *m)
{
	size_t runs = m->h.runs * sizeof(*m->run), mends = m->h.mends * sizeof(*m->mend),
	       plains = m->h.plains * sizeof(uint64_t);
	unsigned char *tables = malloc(m->h.tables_bytes);
	int err;

	if (!tables)
		return no_memory(m);
	memcpy(tables, m->run, runs);
	memcpy(tables + runs, m->mend, mends);
	if (plains)
		memcpy(tables + runs + mends, m->plain.place, plains);
	if (m->h.modules_bytes)
		memcpy(tables + runs + mends + plains, m->parts.table, m->h.modules_bytes);
	m->h.tables_sum = XXH3_64bits(tables, m->h.tables_bytes);
	m->h.sum = spm_heapimage_sum(&m->h);
	err = bytes_write(m, sizeof(m->h), tables, m->h.tables_bytes);
	free(tables);
	return err ? err : bytes_write(m, 0, &m->h, sizeof(m->h));
}

static void spans_fill(const struct making *m, unsigned char *to)
{
	for (size_t i = 0; i < m->list.n && m->list.run[i].page < SPM_BLOB_PAGE; i++) {
		const struct source_run *r = &m->list.run[i];

		for (uint32_t k = spm_source_head(r, 0); k < r->pages; k = spm_source_head(r, k + 1)) {
			struct page_meta meta = spm_source_meta(r, k);
			struct heapimage_span s = {.page = (uint32_t)(r->page + k),
			                           .pages = meta.span_pages,
			                           .class = meta.class,
			                           .flags = meta.flags & HEAP_NOPTR,
			                           .live = meta.live};

			memcpy(to, &s, sizeof(s));
			to += sizeof(s);
		}
	}
}

/* Types, hints and spans. The header gets their sums. */
static int told_write(struct making *m)
{
	struct heapimage_header *h = &m->h;
	size_t objects = h->hints_bytes + h->spans * sizeof(struct heapimage_span), n = h->types_bytes + objects;
	unsigned char *told = malloc(n + 1);
	int err;

	if (!told)
		return no_memory(m);
	if (h->types_bytes)
		memcpy(told, m->parts.types, h->types_bytes);
	if (h->hints_bytes)
		memcpy(told + h->types_bytes, m->parts.hints, h->hints_bytes);
	spans_fill(m, told + h->types_bytes + h->hints_bytes);
	h->types_sum = XXH3_64bits(told, h->types_bytes);
	h->objects_sum = XXH3_64bits(told + h->types_bytes, objects);
	err = bytes_write(m, h->types_at, told, n);
	free(told);
	return err;
}

static int content_write(struct making *m)
{
	if (ftruncate(m->fd, (off_t)m->h.file_bytes))
		return not_written(m);
	return told_write(m) || tables_write(m) || pages_write(m) ? -1 : 0;
}

/* ---- the file ---- */

/* An older image is replaced, anything else is not: it may be a volume, say. */
static int name_must_be_free(const char *path)
{
	char magic[8] = "";
	struct stat st;
	int fd;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : spm_fail(errno, "image %s: %s", path, strerror(errno));
	fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0 && pread(fd, magic, sizeof(magic), 0) < 0)
		magic[0] = 0;
	if (fd >= 0)
		close(fd);
	if (!memcmp(magic, HEAPIMAGE_MAGIC, sizeof(magic)) || (fd >= 0 && !st.st_size))
		return 0;
	return spm_fail(EEXIST, "%s is there already, and no image: remove it, or give another name", path);
}

/* So that the name is durable, too. */
static int folder_flush(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[4096] = ".";
	int fd, err;

	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path) + 1, path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	err = fd < 0 || fsync(fd) ? -1 : 0;
	if (fd >= 0)
		close(fd);
	return err;
}

static int file_make(struct making *m)
{
	int n = snprintf(m->temporary, sizeof(m->temporary), "%s.XXXXXX", m->path), err, error;

	if (n < 0 || (size_t)n >= sizeof(m->temporary))
		return spm_fail(ENAMETOOLONG, "the name of the image is too long");
	m->fd = mkostemp(m->temporary, O_CLOEXEC);
	if (m->fd < 0)
		return not_written(m);
	err = content_write(m);
	if (!err && (fsync(m->fd) || rename(m->temporary, m->path)))
		err = not_written(m);
	error = errno;
	if (err)
		unlink(m->temporary);
	close(m->fd);
	errno = error;
	return !err && folder_flush(m->path) ? not_written(m) : err;
}

static int image_make(struct making *m)
{
	if (spm_chain_newest(m->chain, &m->h.info))
		return spm_fail(ENOENT, "container %d has no version yet", m->magic);
	memcpy(m->h.magic, HEAPIMAGE_MAGIC, sizeof(m->h.magic));
	m->h.format = HEAPIMAGE_FORMAT;
	m->h.byte_order = HEAPIMAGE_BYTE_ORDER;
	m->h.container = m->magic;
	return layout_make(m) ? -1 : file_make(m);
}

static void making_free(struct making *m)
{
	spm_pages_unmap(m->run, SPM_SLICES * sizeof(*m->run));
	spm_pages_unmap(m->mend, (m->list.n + 1) * sizeof(*m->mend));
	spm_source_list_free(&m->list);
	free(m->blob);
	spm_plain_free(&m->plain);
	free(m->page);
	if (m->chain)
		spm_chain_close(m->chain);
	free(m);
}

int pImage(int magic, const char *ref, const char *path)
{
	struct making *m;
	int result, error;

	if (!path || !*path)
		return spm_fail(EINVAL, "pImage: no name for the image");
	if (name_must_be_free(path) || !spm_volume_current() || spm_containers_sync(magic))
		return -1;
	m = calloc(1, sizeof(*m));
	if (!m)
		return spm_fail(ENOMEM, "container %d: no memory to make an image", magic);
	m->magic = magic;
	m->path = path;
	result = spm_chain_open_ref(magic, ref, &m->chain) ? -1 : image_make(m);
	error = errno;
	making_free(m);
	errno = error;
	return result;
}
