/* heapimage.c - whether a file is an image, what it says of itself, and whether every page is right. The file is untrusted. */
#include "heapimage.h"
#include "types/types.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { CHECK_PAGES = 256 };
static const uint64_t window_pages = (SPM_WINDOW_END - SPM_WINDOW_START) / SPM_PAGE_BYTES;

uint64_t spm_heapimage_sum(const struct heapimage_header *h)
{
	struct heapimage_header copy = *h;

	copy.sum = 0;
	return XXH3_64bits(&copy, sizeof(copy));
}

/* -ENODATA: the file ends before. */
static int bytes_read(int fd, uint64_t offset, void *buffer, size_t bytes)
{
	unsigned char *at = buffer;

	while (bytes) {
		ssize_t n = TEMP_FAILURE_RETRY(pread(fd, at, bytes, (off_t)offset));

		if (n <= 0)
			return n ? -errno : -ENODATA;
		at += n;
		offset += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int no_image(const char *path, const char *why)
{
	return spm_fail(EUCLEAN, "%s is no image that can be opened: %s; write it anew with softpm image", path, why);
}

static int header_check(const char *path, const struct heapimage_header *h, uint64_t file_bytes)
{
	if (memcmp(h->magic, HEAPIMAGE_MAGIC, sizeof(h->magic)))
		return no_image(path, "it does not begin as one");
	if (h->byte_order != HEAPIMAGE_BYTE_ORDER || h->format < HEAPIMAGE_FORMAT_LEAST || h->format > HEAPIMAGE_FORMAT)
		return spm_fail(
		        EUCLEAN,
		        "%s is an image of format %u; this SoftPM knows format %d: write it anew with softpm image",
		        path, h->format, HEAPIMAGE_FORMAT);
	if (h->sum != spm_heapimage_sum(h))
		return no_image(path, "its header is damaged");
	if (h->file_bytes != file_bytes)
		return spm_fail(EUCLEAN, "%s has %llu bytes instead of %llu: it was not copied whole; copy it again",
		                path, (unsigned long long)file_bytes, (unsigned long long)h->file_bytes);
	if (!h->runs || h->runs > SPM_SLICES || h->mends > window_pages || h->modules_bytes > UINT32_MAX ||
	    h->plains > h->tables_bytes / sizeof(uint64_t) ||
	    h->tables_bytes != h->runs * sizeof(struct heapimage_run) + h->mends * sizeof(struct heapimage_mend) +
	                               h->plains * sizeof(uint64_t) + h->modules_bytes ||
	    h->tables_bytes > file_bytes - HEAPIMAGE_HEADER_BYTES)
		return no_image(path, "the lengths of its tables make no sense");
	if (h->pages > window_pages || h->sums_at % sizeof(uint64_t) || h->sums_at > file_bytes ||
	    h->pages * sizeof(uint64_t) > file_bytes - h->sums_at)
		return no_image(path, "its checksums lie outside of the file");
	if (h->types_bytes > TYPES_BYTES_MOST || h->hints_bytes > UINT32_MAX || h->spans > window_pages ||
	    h->types_at > file_bytes ||
	    h->types_bytes + h->hints_bytes + h->spans * sizeof(struct heapimage_span) > file_bytes - h->types_at)
		return no_image(path, "what it says of its objects lies outside of the file");
	return 0;
}

static uint64_t end_of(uint32_t page, uint32_t pages)
{
	return (uint64_t)page + pages;
}

static bool run_is_sane(const struct heapimage_run *r, const struct heapimage_run *before, uint64_t file_bytes)
{
	uint64_t bytes = (uint64_t)r->pages * SPM_PAGE_BYTES;

	return r->pages && end_of(r->page, r->pages) <= window_pages && !(r->offset % SPM_PAGE_BYTES) &&
	       r->offset <= file_bytes && bytes <= file_bytes - r->offset &&
	       (!before || (end_of(before->page, before->pages) - 1) / SPM_SLICE_PAGES < r->page / SPM_SLICE_PAGES);
}

static int runs_check(const char *path, const struct heapimage_file *f)
{
	uint64_t pages = 0;

	for (uint64_t i = 0; i < f->h.runs; i++) {
		if (!run_is_sane(&f->run[i], i ? &f->run[i - 1] : NULL, f->h.file_bytes))
			return no_image(path, "its table of runs makes no sense");
		pages += f->run[i].pages;
	}
	return pages == f->h.pages ? 0 : no_image(path, "its table of runs makes no sense");
}

/* The run that has these bytes, from i on; h.runs: none. */
static uint64_t run_with(const struct heapimage_file *f, uint64_t i, uint64_t page, uint64_t end)
{
	while (i < f->h.runs && page >= end_of(f->run[i].page, f->run[i].pages))
		i++;
	return i < f->h.runs && page >= f->run[i].page && end <= end_of(f->run[i].page, f->run[i].pages) ? i
	                                                                                                 : f->h.runs;
}

static int mends_check(const char *path, const struct heapimage_file *f)
{
	uint64_t run = 0, last = 0;

	for (uint64_t i = 0; i < f->h.mends; i++) {
		const struct heapimage_mend *m = &f->mend[i];

		run = run_with(f, run, m->page, end_of(m->page, m->pages));
		if (!m->pages || m->page < last || run == f->h.runs)
			return no_image(path, "its list of pages with pointers out of the heap makes no sense");
		last = end_of(m->page, m->pages);
	}
	return 0;
}

static int root_check(const char *path, const struct heapimage_file *f)
{
	uint64_t root = f->h.info.root, bytes = f->h.info.root_bytes, room = SPM_WINDOW_END - root;

	if (!spm_in_window(root) || !bytes || bytes > room ||
	    run_with(f, 0, spm_page_of(root), (uint64_t)spm_page_of(root + bytes - 1) + 1) == f->h.runs)
		return no_image(path, "its root lies outside of it");
	return 0;
}

static int tables_read(const char *path, struct heapimage_file *f)
{
	int err;

	f->tables = malloc(f->h.tables_bytes);
	if (!f->tables)
		return spm_fail(ENOMEM, "%s: no memory for its tables", path);
	err = bytes_read(f->fd, HEAPIMAGE_HEADER_BYTES, f->tables, f->h.tables_bytes);
	if (err)
		return spm_fail(-err, "%s: %s", path, strerror(-err));
	if (XXH3_64bits(f->tables, f->h.tables_bytes) != f->h.tables_sum)
		return no_image(path, "its tables are damaged");
	f->run = (const void *)f->tables;
	f->mend = (const void *)(f->run + f->h.runs);
	f->plain = (struct plain){
	        .place = (uint64_t *)(void *)(f->tables + f->h.runs * sizeof(*f->run) + f->h.mends * sizeof(*f->mend)),
	        .n = f->h.plains};
	f->modules = f->plain.place + f->h.plains;
	f->h.info.branch[sizeof(f->h.info.branch) - 1] = 0;
	f->h.info.name[sizeof(f->h.info.name) - 1] = 0;
	if (!spm_plain_is_sane(&f->plain))
		return no_image(path, "its list of numbers makes no sense");
	return runs_check(path, f) || mends_check(path, f) || root_check(path, f) ? -1 : 0;
}

static int load(const char *path, struct heapimage_file *f)
{
	struct stat st;
	int err;

	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f->fd < 0 || fstat(f->fd, &st))
		return spm_fail(errno, "image %s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return spm_fail(EINVAL, "%s is no regular file, and so no image", path);
	err = bytes_read(f->fd, 0, &f->h, sizeof(f->h));
	if (err == -ENODATA)
		return no_image(path, "it is too short");
	if (err)
		return spm_fail(-err, "image %s: %s", path, strerror(-err));
	return header_check(path, &f->h, (uint64_t)st.st_size) ? -1 : tables_read(path, f);
}

int spm_heapimage_load(const char *path, struct heapimage_file *out)
{
	struct heapimage_file f = {.fd = -1};
	int error;

	if (!path)
		return spm_fail(EINVAL, "no image was given");
	if (!load(path, &f)) {
		*out = f;
		return 0;
	}
	error = errno;
	spm_heapimage_unload(&f);
	errno = error;
	return -1;
}

void spm_heapimage_unload(struct heapimage_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	free(f->tables);
	f->fd = -1;
	f->tables = NULL;
}

/* n bytes of the file that have this sum, to be freed. */
static int summed_read(const char *path, const struct heapimage_file *f, uint64_t at, uint64_t n, uint64_t sum,
                       unsigned char **out)
{
	unsigned char *bytes = malloc(n + 1);
	int err = bytes ? bytes_read(f->fd, at, bytes, n) : -ENOMEM;

	if (err)
		spm_fail(-err, "%s: %s", path, strerror(-err));
	else if (n && XXH3_64bits(bytes, n) != sum)
		err = no_image(path, "what it says of its types and objects is damaged");
	if (!err)
		*out = bytes;
	else
		free(bytes);
	return err ? -1 : 0;
}

int spm_heapimage_types_read(const char *path, const struct heapimage_file *f, unsigned char **types)
{
	return summed_read(path, f, f->h.types_at, f->h.types_bytes, f->h.types_sum, types);
}

int spm_heapimage_told_read(const char *path, const struct heapimage_file *f, struct heapimage_told *out)
{
	uint64_t n = f->h.hints_bytes + f->h.spans * sizeof(struct heapimage_span);

	*out = (struct heapimage_told){NULL, NULL, NULL};
	if (spm_heapimage_types_read(path, f, &out->types))
		return -1;
	if (summed_read(path, f, f->h.types_at + f->h.types_bytes, n, f->h.objects_sum, &out->hints)) {
		free(out->types);
		return -1;
	}
	out->spans = out->hints + f->h.hints_bytes;
	return 0;
}

int spm_heapimage_pages_read(const struct heapimage_file *f, uint64_t page, uint32_t n, unsigned char *to)
{
	uint64_t sums = f->h.sums_at, sum, i = run_with(f, 0, page, page + n);
	int err;

	if (i == f->h.runs) { /* the run has not all of the span */
		memset(to, 0, (size_t)n * SPM_PAGE_BYTES);
		return 0;
	}
	for (uint64_t k = 0; k < i; k++)
		sums += f->run[k].pages * sizeof(uint64_t);
	page -= f->run[i].page;
	err = bytes_read(f->fd, f->run[i].offset + page * SPM_PAGE_BYTES, to, (size_t)n * SPM_PAGE_BYTES);
	for (uint32_t k = 0; k < n && !err; k++, to += SPM_PAGE_BYTES) {
		err = bytes_read(f->fd, sums + (page + k) * sizeof(sum), &sum, sizeof(sum));
		if (!err && (sum ? XXH3_64bits(to, SPM_PAGE_BYTES) != sum : !spm_heapimage_is_zero(to)))
			err = -EUCLEAN;
	}
	return err;
}

static uint64_t mended_pages(const struct heapimage_file *f)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < f->h.mends; i++)
		n += f->mend[i].pages;
	return n;
}

int pImageInfo(const char *path, struct pimage *out)
{
	struct heapimage_file f;

	if (spm_heapimage_load(path, &f))
		return -1;
	*out = (struct pimage){.magic = f.h.container,
	                       .version = (int64_t)f.h.info.version,
	                       .time_ns = (int64_t)f.h.info.time_ns,
	                       .pages = f.h.info.pages,
	                       .live_bytes = f.h.info.live_bytes,
	                       .file_bytes = f.h.file_bytes,
	                       .own_pages = mended_pages(&f)};
	strcpy(out->name, f.h.info.name);
	strcpy(out->branch, f.h.info.branch);
	spm_heapimage_unload(&f);
	return 0;
}

/* ---- verifying ---- */

struct checking {
	const char *path;
	const struct heapimage_file *f;
	int (*fn)(const char *damage, void *arg);
	void *arg;
	bool has_found, is_stopped;
	unsigned char *page; /* CHECK_PAGES of them */
	uint64_t sum[CHECK_PAGES];
};

static void damage_tell(struct checking *k, const char *sentence)
{
	k->has_found = true;
	k->is_stopped = k->fn && k->fn(sentence, k->arg);
}

static void page_check(struct checking *k, const struct heapimage_run *r, uint32_t n, const unsigned char *page,
                       uint64_t sum)
{
	if (sum ? XXH3_64bits(page, SPM_PAGE_BYTES) == sum : spm_heapimage_is_zero(page))
		return;
	spm_fail(EUCLEAN, "%s: the page at 0x%llx (byte %llu of the file) is damaged", k->path,
	         (unsigned long long)spm_page_address(r->page + n),
	         (unsigned long long)(r->offset + (uint64_t)n * SPM_PAGE_BYTES));
	damage_tell(k, pErrorMsg());
}

/* sums: where the run's are. */
static int run_check(struct checking *k, const struct heapimage_run *r, uint64_t sums)
{
	uint32_t n;
	int err = 0;

	for (uint32_t at = 0; at < r->pages && !err && !k->is_stopped; at += n) {
		n = r->pages - at < CHECK_PAGES ? r->pages - at : CHECK_PAGES;
		err = bytes_read(k->f->fd, sums + at * sizeof(uint64_t), k->sum, n * sizeof(uint64_t));
		if (!err)
			err = bytes_read(k->f->fd, r->offset + (uint64_t)at * SPM_PAGE_BYTES, k->page,
			                 n * SPM_PAGE_BYTES);
		for (uint32_t i = 0; i < n && !err && !k->is_stopped; i++)
			page_check(k, r, at + i, k->page + i * SPM_PAGE_BYTES, k->sum[i]);
	}
	return err;
}

static int pages_check(struct checking *k)
{
	uint64_t sums = k->f->h.sums_at;
	int err = 0;

	k->page = malloc(CHECK_PAGES * SPM_PAGE_BYTES);
	if (!k->page)
		return spm_fail(ENOMEM, "%s: no memory to verify it", k->path);
	for (uint64_t i = 0; i < k->f->h.runs && !err && !k->is_stopped; i++) {
		err = run_check(k, &k->f->run[i], sums);
		sums += k->f->run[i].pages * sizeof(uint64_t);
	}
	free(k->page);
	return err ? spm_fail(-err, "%s: %s", k->path, strerror(-err)) : k->has_found;
}

/* 0, 1: damage was found; -1. */
static int told_check(struct checking *k)
{
	struct heapimage_told told;

	if (spm_heapimage_told_read(k->path, k->f, &told)) {
		if (errno != EUCLEAN)
			return -1;
		damage_tell(k, pErrorMsg());
		return 1;
	}
	free(told.types);
	free(told.hints);
	return 0;
}

int pImageCheck(const char *path, int (*fn)(const char *damage, void *arg), void *arg)
{
	struct checking k = {.path = path, .fn = fn, .arg = arg};
	struct heapimage_file f;
	int result;

	if (spm_heapimage_load(path, &f)) {
		if (errno != EUCLEAN)
			return -1;
		damage_tell(&k, pErrorMsg());
		return 1;
	}
	k.f = &f;
	result = told_check(&k);
	if (!result)
		result = pages_check(&k);
	spm_heapimage_unload(&f);
	return result;
}
