/* second_reader.c - see second_reader.h. Offsets and names are those of docs/format.md. */
#include "second_reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { BLOCK = 4096, GROUP = 32768, EXTENT = 256, RESERVED = 16, HEADER = 1152, PAGES_MOST = 1 << 16 };
enum { AS_BEFORE = 0xffffffff }; /* granules of a page whose patch is that of the version before */

struct reader {
	const unsigned char *bytes;
	uint64_t blocks;
	int magic;
	uint64_t chain_id;
	const unsigned char *head;
	unsigned char *index; /* NULL: there is none */
	uint64_t seq, last_sum;
	uint64_t next, next_but_one; /* first blocks of the runs reserved for records seq + 1 and seq + 2 */
	struct second_version *out;
};

struct segment {
	uint64_t seq, last, version, map_sum, map_bytes, record_sum, next, next_but_one, runs;
	const unsigned char *run;
};

static uint64_t u64(const unsigned char *p)
{
	uint64_t n = 0;

	for (int i = 7; i >= 0; i--)
		n = n << 8 | p[i];
	return n;
}

static uint32_t u32(const unsigned char *p)
{
	return (uint32_t)(u64(p) & 0xffffffff);
}

/* XXH3 of the bytes with the sum at 8 taken as zero. */
static bool sum_is_right(const unsigned char *p, size_t bytes)
{
	unsigned char *copy = malloc(bytes);
	bool is;

	memcpy(copy, p, bytes);
	memset(copy + 8, 0, 8);
	is = XXH3_64bits(copy, bytes) == u64(p + 8);
	free(copy);
	return is;
}

static const unsigned char *block_at(const struct reader *r, uint64_t block)
{
	return block < r->blocks ? r->bytes + block * BLOCK : NULL;
}

static const unsigned char *mirrored(const struct reader *r, uint64_t block, const char *magic)
{
	for (uint64_t copy = 0; copy < 2; copy++) {
		const unsigned char *p = block_at(r, block + copy);

		if (p && !memcmp(p, magic, 8) && sum_is_right(p, BLOCK))
			return p;
	}
	return NULL;
}

static const char *super_check(const struct reader *r)
{
	const unsigned char *s = mirrored(r, 0, "SOFTPMV1");

	if (!s)
		return "no superblock";
	if (u32(s + 16) < 3 || u32(s + 16) > 5 || u32(s + 20) != 0x01020304 || u32(s + 24) != 4096 ||
	    u32(s + 28) != 4096)
		return "a superblock of another kind";
	return NULL;
}

static bool head_is_it(const struct reader *r, const char *branch, uint64_t id)
{
	return branch ? !strcmp((const char *)r->head + 32, branch) : r->chain_id == id;
}

/* The head of the container's branch; branch NULL: of the chain with that id. */
static const char *head_find(struct reader *r, const char *branch, uint64_t id)
{
	const unsigned char *zero = mirrored(r, 2, "SPEXTTB1");
	uint64_t groups = zero ? u64(zero + 24) : 0;

	for (uint64_t g = 0; g < groups; g++) {
		const unsigned char *t = mirrored(r, g * GROUP + 2, "SPEXTTB1");

		if (!t || u32(t + 16) != g)
			return "a damaged extent table";
		for (uint32_t i = 0; i < u32(t + 20); i++) {
			const unsigned char *e = t + 32 + i * 16;
			uint64_t at = g * GROUP + i * EXTENT + (i == 0 ? RESERVED : 0);

			if (!u64(e) || (int)u32(e + 8) != r->magic || (u32(e + 12) & 0xff) != 1)
				continue;
			r->head = mirrored(r, at, "SPCHEAD1");
			if (!r->head || u64(r->head + 16) != u64(e) || (int)u32(r->head + 24) != r->magic)
				return "a damaged chain head";
			r->chain_id = u64(e);
			if (head_is_it(r, branch, id))
				return NULL;
		}
	}
	return zero ? "no such chain" : "a damaged extent table";
}

/* What lies in the runs, in one piece. */
static unsigned char *runs_gather(const struct reader *r, const unsigned char *run, uint64_t runs, uint64_t bytes)
{
	unsigned char *all = calloc(1, bytes + BLOCK);
	uint64_t done = 0;

	for (uint64_t i = 0; i < runs; i++)
		for (uint64_t b = 0; b < u64(run + i * 16 + 8) && done < bytes; b++, done += BLOCK) {
			const unsigned char *p = block_at(r, u64(run + i * 16) + b);

			memcpy(all + done, p ? p : all, bytes - done < BLOCK ? bytes - done : BLOCK);
		}
	return all;
}

static size_t page_find(const struct second_version *v, uint64_t page)
{
	size_t i = 0;

	while (i < v->pages && v->page[i].page < page)
		i++;
	return i;
}

/* Page k of a run that has `at` for this place; *more: what the run has for the page. */
static struct second_page place_read(uint64_t page, const unsigned char *at, uint32_t k, const unsigned char **more)
{
	uint32_t span_pages = u32(at + 16), in_span = u32(at + 20);
	struct second_page p = {.page = page + k, .block = u64(at) ? u64(at) + k : 0, .birth = u64(at + 8)};

	for (uint32_t i = 0; i < k; i++)
		in_span = in_span + 1 == span_pages ? 0 : in_span + 1;
	memcpy(p.meta, &span_pages, 4);
	memcpy(p.meta + 4, &in_span, 4);
	memcpy(p.meta + 8, at + 24, 2);
	p.granules = u32(at + 28);
	if (!in_span) {
		memcpy(p.meta + 16, *more, 32);
		*more += 32;
	}
	if (p.block) {
		p.sum = u64(*more);
		*more += 8;
	}
	return p;
}

static const unsigned char *patch_read(struct second_page *p, const unsigned char *at)
{
	unsigned n = 0;

	for (unsigned g = 0; g < 32; g++)
		n += p->granules >> g & 1;
	if (n <= 8)
		memcpy(p->patch, at, n * 128);
	return at + n * 128;
}

/* Gives fn the `is` of each page. Returns where the entries end: after so many pages. */
static const unsigned char *entries_each(const unsigned char *at, uint64_t pages,
                                         void (*fn)(struct second_page is, void *arg), void *arg)
{
	while (pages) {
		const unsigned char *is = at + 16, *was = is + (u32(at + 12) & 1 ? 32 : 0);
		const unsigned char *more = was + (u32(at + 12) & 2 ? 32 : 0);

		for (uint32_t k = 0; k < u32(at + 8); k++, pages--) {
			struct second_page p = {.page = u64(at) + k}, before = p;

			if (u32(at + 12) & 1)
				p = place_read(u64(at), is, k, &more);
			if (u32(at + 12) & 2)
				before = place_read(u64(at), was, k, &more);
			if (p.granules && before.birth && before.block == p.block && before.sum == p.sum)
				p.granules = AS_BEFORE;
			else
				more = patch_read(&p, more);
			fn(p, arg);
		}
		at = more;
	}
	return at;
}

static void page_put(struct second_page p, void *arg)
{
	struct second_version *v = arg;
	size_t i = page_find(v, p.page);
	bool is_there = i < v->pages && v->page[i].page == p.page;

	if (!p.birth && is_there) {
		memmove(v->page + i, v->page + i + 1, (--v->pages - i) * sizeof(*v->page));
	} else if (p.birth) {
		if (is_there && p.granules == AS_BEFORE) {
			p.granules = v->page[i].granules;
			memcpy(p.patch, v->page[i].patch, sizeof(p.patch));
		}
		if (!is_there && v->pages < PAGES_MOST)
			memmove(v->page + i + 1, v->page + i, (v->pages++ - i) * sizeof(*v->page));
		v->page[i] = p;
	}
}

static void description_read(struct second_version *v, const unsigned char *d)
{
	v->version = u64(d);
	v->parent = u64(d + 8);
	v->time_ns = u64(d + 16);
	v->root = u64(d + 24);
	v->root_bytes = u64(d + 32);
	v->pages_told = u64(d + 40);
	v->input = u64(d + 288);
	memcpy(v->branch, d + 120, 64);
	memcpy(v->name, d + 184, 64);
	memcpy(v->message, d + 296, 200);
}

/* The record at a block, whole and the chain's own, or NULL. To be freed. */
static unsigned char *record_get(const struct reader *r, uint64_t block, uint64_t seq)
{
	const unsigned char *first = block_at(r, block);
	uint64_t bytes = first ? u64(first + 48) : 0;
	unsigned char *all;

	if (!first || memcmp(first, "SPRCORD1", 8) || bytes < HEADER || bytes > r->blocks * BLOCK ||
	    u32(first + 64) > 32 || u64(first + 104) != block)
		return NULL;
	all = runs_gather(r, first + 104, u32(first + 64), bytes);
	if (sum_is_right(all, bytes) && u64(all + 16) == r->chain_id && u64(all + 24) == seq &&
	    (seq < u64(r->head + 152) || u32(all + 68) == u64(r->head + 144)))
		return all;
	free(all);
	return NULL;
}

static bool was_durable(const struct reader *r, uint64_t seq, uint64_t next_block, const uint64_t *sum)
{
	unsigned char *next = record_get(r, next_block, seq + 1);
	bool was = next && u64(next + 40) >= seq && (!sum || u64(next + 32) == *sum);

	free(next);
	return was || u64(r->head + 120) >= seq;
}

struct look {
	const struct reader *r;
	uint64_t seq;
	bool is_whole;
};

static void page_look(struct second_page is, void *arg)
{
	struct look *l = arg;
	unsigned char content[BLOCK];

	if (is.birth == l->seq && is.block && !second_content(l->r->bytes, l->r->blocks * BLOCK, &is, content))
		l->is_whole = false;
}

static bool pages_are_whole(const struct reader *r, const unsigned char *record)
{
	struct look l = {r, u64(record + 24), true};

	entries_each(record + HEADER, u32(record + 56), page_look, &l);
	return l.is_whole;
}

static bool record_counts(const struct reader *r, const unsigned char *record)
{
	uint64_t sum;

	if (!record || u64(record + 32) != r->last_sum)
		return false;
	sum = u64(record + 8);
	return u32(record + 60) || was_durable(r, r->seq + 1, u64(record + 72), &sum) || pages_are_whole(r, record);
}

static void record_apply(struct reader *r, const unsigned char *record)
{
	entries_each(record + HEADER, u32(record + 56), page_put, r->out);
	description_read(r->out, record + 616);
	r->seq++;
	r->last_sum = u64(record + 8);
	r->next = u64(record + 72);
	r->next_but_one = u64(record + 88);
	r->out->records_replayed++;
}

/* All records that count. */
static const char *records_replay(struct reader *r)
{
	unsigned char *record;

	while (record = record_get(r, r->next, r->seq + 1), record_counts(r, record)) {
		record_apply(r, record);
		free(record);
	}
	free(record);
	return was_durable(r, r->seq + 1, r->next_but_one, NULL) ? "a damaged version" : NULL;
}

/* The next record of a segment that ends with `last`. */
static const char *record_next(struct reader *r, uint64_t last, unsigned char **out)
{
	unsigned char *record = r->seq < last ? record_get(r, r->next, r->seq + 1) : NULL;
	bool is_old = last != UINT64_MAX, is_right = record && u64(record + 32) == r->last_sum;

	*out = record;
	if (r->seq == last)
		return "no such version";
	if (is_old ? is_right : record_counts(r, record))
		return NULL;
	free(record);
	return is_old || was_durable(r, r->seq + 1, r->next_but_one, NULL) ? "a damaged record" : "no such version";
}

/* Records until that seq is reached or, with seq 0, a version with that number. */
static const char *records_replay_to(struct reader *r, uint64_t last, uint64_t seq, uint64_t version)
{
	while (seq ? r->seq < seq : r->out->version < version) {
		unsigned char *record;
		const char *wrong = record_next(r, last, &record);

		if (wrong)
			return wrong;
		record_apply(r, record);
		free(record);
	}
	return NULL;
}

/* ---- index and segments ---- */

static const char *index_read(struct reader *r)
{
	uint64_t bytes = u64(r->head + 136);

	r->index = NULL;
	if (!bytes)
		return NULL;
	if (bytes > r->blocks * BLOCK || u32(r->head + 28) > 200)
		return "an index longer than the volume";
	r->index = runs_gather(r, r->head + 192, u32(r->head + 28), bytes);
	if (XXH3_64bits(r->index, bytes) != u64(r->head + 128) || memcmp(r->index, "SPCINDX1", 8) ||
	    u64(r->index + 8) != r->chain_id || u64(r->index + 16) > bytes)
		return "a damaged index";
	return NULL;
}

static const unsigned char *segment_read(const unsigned char *at, struct segment *s)
{
	*s = (struct segment){u64(at),      u64(at + 8),  u64(at + 16), u64(at + 32), u64(at + 40),
	                      u64(at + 48), u64(at + 56), u64(at + 72), u64(at + 88), at + 96};
	return at + 96 + s->runs * 16;
}

/* The last segment whose version is not above `version` and whose seq is not above `seq`. Returns where the kept ranges are. */
static const unsigned char *segment_find(const struct reader *r, uint64_t seq, uint64_t version, struct segment *out)
{
	const unsigned char *h = r->head, *at = r->index ? r->index + 56 : NULL;
	struct segment s;

	*out = (struct segment){u64(h + 104), UINT64_MAX, u64(h + 112), 0, 0, 0, u64(h + 160), u64(h + 176), 0, NULL};
	if (r->index)
		out->last = 0;
	for (uint64_t i = 0; r->index && i < u64(r->index + 32); i++) {
		at = segment_read(at, &s);
		if (s.seq <= seq && s.version <= version)
			*out = s;
	}
	return at;
}

static bool is_kept(const struct reader *r, const unsigned char *kept)
{
	if (!r->index || r->seq > u64(r->index + 24))
		return true;
	for (uint64_t i = 0; i < u64(r->index + 40); i++)
		if (u64(kept + i * 24) <= r->seq && r->seq <= u64(kept + i * 24 + 8))
			return true;
	return false;
}

static const char *map_read(struct reader *r, const struct segment *s)
{
	unsigned char *k;
	const char *wrong = NULL;

	if (s->map_bytes > r->blocks * BLOCK)
		return "a map longer than the volume";
	k = runs_gather(r, s->run, s->runs, s->map_bytes);
	if (XXH3_64bits(k, s->map_bytes) != s->map_sum || memcmp(k, "SPMAPIM1", 8) || u64(k + 8) != r->chain_id ||
	    u64(k + 16) != s->seq)
		wrong = "a damaged map";
	else if (entries_each(k + 536, u64(k + 32), page_put, r->out) != k + u64(k + 24))
		wrong = "a map of another length";
	if (!wrong)
		description_read(r->out, k + 40);
	free(k);
	return wrong;
}

static const char *origin_read(const struct reader *r);

static const char *segment_begin(struct reader *r, const struct segment *s)
{
	const char *wrong = NULL;

	if (!s->last)
		return "no such version";
	if (s->map_bytes)
		wrong = map_read(r, s);
	else if (u64(r->head + 96))
		wrong = origin_read(r);
	r->seq = s->seq;
	r->last_sum = s->record_sum;
	r->next = s->next;
	r->next_but_one = s->next_but_one;
	return wrong ? wrong : r->out->version == s->version ? NULL : "a segment with the map of another version";
}

/* The version that the chain branched off. */
static const char *origin_read(const struct reader *r)
{
	struct reader parent = *r;
	uint64_t seq = u64(r->head + 104);
	struct segment s;
	const char *wrong = head_find(&parent, NULL, u64(r->head + 96));

	if (!wrong)
		wrong = index_read(&parent);
	if (!wrong) {
		segment_find(&parent, seq, UINT64_MAX, &s);
		wrong = segment_begin(&parent, &s);
	}
	if (!wrong)
		wrong = records_replay_to(&parent, s.last, seq, 0);
	if (parent.index != r->index)
		free(parent.index);
	return wrong;
}

/* In this chain. */
static const char *version_read(struct reader *r, uint64_t version)
{
	struct segment s;
	const char *wrong = index_read(r);
	const unsigned char *kept;

	if (wrong)
		return wrong;
	kept = segment_find(r, UINT64_MAX, version ? version : UINT64_MAX, &s);
	r->out->map_seq = s.map_bytes ? s.seq : 0;
	r->out->segments = r->index ? u64(r->index + 32) : 1;
	wrong = segment_begin(r, &s);
	if (wrong)
		return wrong;
	if (!version)
		return records_replay(r);
	wrong = records_replay_to(r, s.last, 0, version);
	return wrong ? wrong : r->out->version == version && is_kept(r, kept) ? NULL : "no such version";
}

const char *second_read(const unsigned char *volume, uint64_t bytes, int magic, const char *branch, uint64_t version,
                        struct second_version *out)
{
	struct reader r = {.bytes = volume, .blocks = bytes / BLOCK, .magic = magic, .out = out};
	const char *wrong = super_check(&r);

	*out = (struct second_version){.page = calloc(PAGES_MOST + 1, sizeof(*out->page))};
	if (!wrong)
		wrong = head_find(&r, branch, 0);
	out->chain_id = r.chain_id;
	while (!wrong && version && u64(r.head + 96) && version <= u64(r.head + 112))
		wrong = head_find(&r, NULL, u64(r.head + 96));
	if (!wrong)
		wrong = version_read(&r, version);
	free(r.index);
	return wrong;
}

bool second_content(const unsigned char *volume, uint64_t bytes, const struct second_page *p, unsigned char *out)
{
	const unsigned char *patch = p->patch;

	if (!p->block || p->block >= bytes / BLOCK)
		return false;
	memcpy(out, volume + p->block * BLOCK, BLOCK);
	for (unsigned g = 0; g < 32; g++)
		if (p->granules >> g & 1) {
			memcpy(out + g * 128, patch, 128);
			patch += 128;
		}
	return XXH3_64bits(out, BLOCK) == p->sum;
}

void second_free(struct second_version *v)
{
	free(v->page);
}

/* ---- logs ---- */

/* The stream's pages from this position on, in one piece. To be freed. */
static unsigned char *stream_gather(const struct reader *r, uint64_t from, uint64_t to)
{
	unsigned char *all = calloc(to / BLOCK - from / BLOCK + 1, BLOCK);

	for (uint64_t n = from / BLOCK; n <= to / BLOCK; n++) {
		size_t i = page_find(r->out, n % (UINT64_C(1) << 31));

		if (i < r->out->pages && r->out->page[i].page == n % (UINT64_C(1) << 31))
			second_content(r->bytes, r->blocks * BLOCK, &r->out->page[i], all + (n - from / BLOCK) * BLOCK);
	}
	return all;
}

static const char *stream_walk(const unsigned char *at, uint64_t position, uint64_t end,
                               void (*fn)(const unsigned char *input, uint64_t n, void *arg), void *arg)
{
	while (position < end) {
		uint64_t bytes = u64(at + 8), step = 16 + (bytes + 7) / 8 * 8;

		if (u64(at) != position || bytes > end - position || step > end - position)
			return "a damaged input";
		fn(at + 16, bytes, arg);
		position += step;
		at += step;
	}
	return NULL;
}

const char *second_inputs(const unsigned char *volume, uint64_t bytes, int magic, const char *branch,
                          void (*fn)(const unsigned char *input, uint64_t n, void *arg), void *arg)
{
	struct second_version v, log;
	struct reader r = {.bytes = volume, .blocks = bytes / BLOCK, .out = &log};
	const char *wrong = second_read(volume, bytes, magic, branch, 0, &v), *d = log.message;
	unsigned char *stream;
	char name[64];

	snprintf(name, sizeof(name), ":%llx", (unsigned long long)v.chain_id);
	second_free(&v);
	if (wrong)
		return wrong;
	wrong = second_read(volume, bytes, magic, name, 0, &log);
	if (!wrong && (v.input < u64((const unsigned char *)d) || v.input > u64((const unsigned char *)d + 8)))
		wrong = "a version with inputs that the log does not have";
	if (!wrong) {
		stream = stream_gather(&r, v.input, u64((const unsigned char *)d + 8));
		wrong = stream_walk(stream + v.input % BLOCK, v.input, u64((const unsigned char *)d + 8), fn, arg);
		free(stream);
	}
	second_free(&log);
	return wrong;
}
