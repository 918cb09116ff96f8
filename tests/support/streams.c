/* streams.c - see streams.h. */
#include "streams.h"
#include "branch_off.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

/* ---- a history ---- */

static int commit(struct chain *c, uint64_t first, uint64_t pages, uint64_t value, bool is_removed)
{
	static uint64_t data[8][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change[8];
	struct version_info info = {.versions_kept = 0,
	                            .chunk_bytes = SPM_PAGE_BYTES,
	                            .time_ns = value * 1000 + 7,
	                            .name = "history",
	                            .full_trace_every = 1000};

	for (uint64_t i = 0; i < pages; i++) {
		memset(data[i], (int)value, sizeof(data[i]));
		data[i][0] = value * 100 + i;
		change[i] = (struct page_change){.page = first + i, .data = data[i], .is_removed = is_removed};
		change[i].meta =
		        (struct page_meta){.span_pages = (uint32_t)pages, .page_in_span = (uint32_t)i, .class = 3};
		if (!i)
			change[i].meta.live.word[0] = value;
	}
	snprintf(info.message, sizeof(info.message), "value %llu", (unsigned long long)value);
	return spm_chain_commit(c, change, pages, true, &info);
}

/* Only what is known of the page. */
static int meta_commit(struct chain *c, uint64_t page, uint64_t value)
{
	struct page_change change = {.page = page, .meta = {.span_pages = 2, .class = 3, .live.word[0] = value}};
	struct version_info info = {.chunk_bytes = SPM_PAGE_BYTES, .time_ns = value * 1000 + 7};

	return spm_chain_commit(c, &change, 1, true, &info);
}

static int tag_put(struct refs *refs, void *arg)
{
	return spm_refs_put(refs, arg);
}

static int tag_make(struct volume *v, struct chain *c, const char *name)
{
	struct ref ref = {.kind = REF_TAG, .time_ns = 99};
	struct chain_about about;
	struct version_info info;

	spm_chain_about(c, &about);
	if (spm_chain_newest(c, &info))
		return -ENOENT;
	ref.chain_id = about.chain_id;
	ref.seq = about.seq;
	ref.version = info.version;
	strncpy(ref.name, name, sizeof(ref.name) - 1);
	return spm_refs_change(v, HISTORY_MAGIC, tag_put, &ref);
}

#define MUST(call)                                                                                                     \
	do {                                                                                                           \
		int must_err = (call);                                                                                 \
		if (must_err)                                                                                          \
			return must_err;                                                                               \
	} while (0)

int history_make(struct volume *v)
{
	struct chain *c, *branch, *twig;

	MUST(spm_chain_create(v, HISTORY_MAGIC, "main", &c));
	MUST(commit(c, 100, 2, 1, false));
	MUST(commit(c, 100, 1, 2, false));
	MUST(tag_make(v, c, "two"));
	MUST(branch_off(v, HISTORY_MAGIC, c, "branch", &branch));
	MUST(commit(c, 200, 2, 3, false));
	MUST(meta_commit(c, 200, 4));
	MUST(commit(branch, 300, 1, 5, false));
	MUST(branch_off(v, HISTORY_MAGIC, branch, "twig", &twig));
	MUST(branch_off(v, HISTORY_MAGIC, branch, "bare", NULL));
	MUST(commit(branch, 100, 2, 6, true));
	MUST(commit(twig, SPM_BLOB_PAGE, 0, 7, false));
	MUST(tag_make(v, twig, "seven"));
	MUST(commit(c, 100, 2, 8, true));
	spm_chain_close(twig);
	spm_chain_close(branch);
	spm_chain_close(c);
	return 0;
}

int history_stream(struct volume *v)
{
	int fd = memfd_create("stream", 0);
	struct exporting all = {.volume = v, .magic = HISTORY_MAGIC, .fd = fd, .is_history = true};

	if (fd >= 0 && !spm_export(&all))
		return fd;
	close(fd);
	return -1;
}

/* ---- streams ---- */

unsigned char *stream_unpack(int fd, size_t *n)
{
	unsigned char *content = NULL;
	struct stream_in in;
	int err;

	*n = 0;
	lseek(fd, 0, SEEK_SET);
	err = spm_stream_in_begin(&in, fd);
	while (!err && spm_stream_check_over(&in)) {
		size_t more = in.used - in.at;
		unsigned char *longer = more ? realloc(content, *n + more) : NULL;

		err = longer ? 0 : -ENOMEM;
		if (longer)
			content = longer;
		if (!err)
			err = spm_stream_read(&in, content + *n, more);
		*n += more;
	}
	spm_stream_in_end(&in);
	if (!err)
		return content;
	free(content);
	return NULL;
}

int stream_pack(const unsigned char *content, size_t n)
{
	int fd = memfd_create("stream", 0);
	struct stream_out out;
	int err = spm_stream_out_begin(&out, fd);

	if (!err)
		err = spm_stream_write(&out, content, n);
	if (!err)
		err = spm_stream_finish(&out);
	spm_stream_out_end(&out);
	if (!err)
		return fd;
	close(fd);
	return -1;
}

int stream_import(struct volume *v, int fd)
{
	lseek(fd, 0, SEEK_SET);
	return spm_import(v, fd, &(struct pimport){.magic = NULL});
}

/* ---- what is there ---- */

struct reading {
	struct volume *v;
	struct told *told;
	const char *branch;
	uint64_t origin;
	int err;
};

static int version_read(const struct version_info *info, void *arg)
{
	struct reading *r = arg;
	struct told_version *t = realloc(r->told->version, (r->told->n + 1) * sizeof(*t));
	struct chain *c;

	if (!t)
		return r->err = -ENOMEM;
	r->told->version = t;
	if (info->version <= r->origin)
		return 1;
	t += r->told->n++;
	*t = (struct told_version){.number = info->version, .time_ns = info->time_ns};
	memcpy(t->branch, r->branch, strlen(r->branch) + 1);
	t->text_sum = XXH3_64bits(info->name, sizeof(info->name)) ^ XXH3_64bits(info->message, sizeof(info->message));
	r->err = spm_chain_open_version(r->v, HISTORY_MAGIC, r->branch, info->version, &c);
	if (r->err)
		return r->err;
	r->err = spm_state_find(c, &t->state);
	spm_chain_close(c);
	return r->err;
}

static int branch_read(int magic, const char *branch, void *arg)
{
	struct reading *r = arg;
	struct chain_about about;
	struct chain *c;
	int err;

	if (magic != HISTORY_MAGIC)
		return 0;
	err = !branch ? -EUCLEAN : spm_chain_open(r->v, magic, branch, 0, 0, &c);
	if (err)
		return err;
	spm_chain_about(c, &about);
	r->branch = branch;
	r->origin = about.origin_version;
	r->told->names += XXH3_64bits(branch, strlen(branch)) * (about.origin_version + 1);
	err = spm_chain_each_version(c, version_read, r);
	spm_chain_close(c);
	return r->err ? r->err : err < 0 ? err : 0;
}

int told_read(struct volume *v, struct told *out)
{
	struct reading r = {.v = v, .told = out};
	struct refs refs;
	int err;

	*out = (struct told){.n = 0};
	err = spm_volume_each_chain(v, branch_read, &r);
	if (!err)
		err = spm_refs_load(v, HISTORY_MAGIC, &refs);
	if (err) {
		told_free(out);
		return err;
	}
	for (size_t i = 0; i < refs.n; i++)
		out->names += XXH3_64bits(refs.ref[i].name, 64) * (refs.ref[i].version + 1) + refs.ref[i].time_ns;
	spm_refs_free(&refs);
	return 0;
}

bool told_has(const struct told *all, const struct told_version *one)
{
	for (size_t i = 0; i < all->n; i++)
		if (!memcmp(&all->version[i], one, sizeof(*one)))
			return true;
	return false;
}

bool told_are_same(const struct told *a, const struct told *b)
{
	bool are_same = a->n == b->n && a->names == b->names;

	for (size_t i = 0; i < a->n && are_same; i++)
		are_same = told_has(b, &a->version[i]);
	return are_same;
}

void told_free(struct told *t)
{
	free(t->version);
	*t = (struct told){.n = 0};
}
