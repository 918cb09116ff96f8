/* look.c - a version to look at: objects, bytes and words of it, without a process that has it in memory (softpm/look.h).
 *
 *   address -> page -> the run of the version's map that has it, or the last one before -> its span, cut as the first page says
 *           -> slot -> object
 *   bytes   -> pages, read and verified one at a time, or some ahead where they are asked for in order -> a cache of 32 MiB, of which
 *              only what is used is there
 *
 * A page in the cache is as the version means it: dead slots are zero, also those that died after the page was written.
 *
 * The map is verified, so what is wrong in it was made on purpose: each span is checked where it is met, whoever asks gets EUCLEAN. A
 * damaged page is not kept: each who asks for it is told.
 */
#include "container.h"
#include "heapimage.h"
#include "heap/class.h"
#include "refs.h"
#include "softpm/look.h"
#include "types/rules.h"
#include "volume/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_CACHE_PAGES = 8192, LOOK_AHEAD_PAGES = 32, LOOK_WORD_BYTES = 512 };
static const uint64_t window_pages = (uint64_t)SPM_SLICES * SPM_SLICE_PAGES;
static const size_t content_bytes = (LOOK_CACHE_PAGES + LOOK_AHEAD_PAGES) * (size_t)SPM_PAGE_BYTES;

/* As the version has them. */
struct look_span {
	uint64_t first, pages, slot_bytes, slots;
	uint8_t flags;
	struct slotset live;
};

struct plook {
	int magic;
	struct chain *chain;          /* NULL: an image */
	struct heapimage_file *image; /* NULL: a version of a volume */
	char *path;                   /* of it */
	struct version_info info;
	struct pversion version; /* of it */
	uint64_t seq;            /* of it, in its chain */
	struct source_list list;
	uint64_t cached[LOOK_CACHE_PAGES];        /* page + 1; 0: none */
	unsigned char (*content)[SPM_PAGE_BYTES]; /* of these, and behind them LOOK_AHEAD_PAGES that are being read */
	struct nears nears;
	uint64_t expected; /* the page that comes next if they are asked for in order */
	unsigned char *blob, *image_types;
	struct blob_parts parts; /* of them */
	bool blob_was_read;
	struct types *types; /* NULL: not asked for yet, or none */
	struct hints hints;  /* of them only the types of objects matter */
	bool hints_were_read;
	struct outside *outside; /* NULL: not asked for yet, or damaged */
	char word[LOOK_WORD_BYTES];
};

/* ---- spans ---- */

static int look_damaged(const struct plook *look, uint64_t page)
{
	return spm_fail(EUCLEAN,
	                "container %d is damaged: its page map holds an impossible page (page %llu); see softpm check",
	                look->magic, (unsigned long long)page);
}

/* The last run that begins at or before the page; NULL: none. */
static const struct source_run *run_before(const struct plook *look, uint64_t page)
{
	size_t low = 0, high = look->list.n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (look->list.run[middle].page <= page)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &look->list.run[low - 1] : NULL;
}

/* From the first page of a span, which is the run's page k. */
static int span_take(const struct plook *look, const struct source_run *r, uint32_t k, struct look_span *span)
{
	struct page_meta m = spm_source_meta(r, k);
	uint64_t page = r->page + k;

	if (!m.span_pages || m.page_in_span || (m.class != SPM_CLASS_LARGE && m.class >= SPM_CLASSES) ||
	    page + m.span_pages > window_pages ||
	    (m.class == SPM_CLASS_LARGE &&
	     m.span_pages > look->list.pages)) /* a version has all pages of a large object */
		return look_damaged(look, page);
	*span = (struct look_span){.first = page, .pages = m.span_pages, .slots = 1, .flags = m.flags, .live = m.live};
	span->slot_bytes = span->pages * SPM_PAGE_BYTES;
	if (m.class != SPM_CLASS_LARGE) {
		span->slot_bytes = spm_class_bytes(m.class);
		span->slots = span->pages * SPM_PAGE_BYTES / span->slot_bytes;
	}
	if (span->slots > SPM_SPAN_SLOTS_MAX)
		span->slots = SPM_SPAN_SLOTS_MAX;
	return 0;
}

/* The span that the page lies in. 1: *span; 0: none; -1: the map is damaged, and the error is set. */
static int span_at(const struct plook *look, uint64_t page, struct look_span *span)
{
	const struct source_run *r = run_before(look, page), *head;
	uint64_t last, first;
	uint32_t k;

	if (!r || page >= window_pages)
		return 0;
	last = page - r->page < r->pages ? page : r->page + r->pages - 1;
	k = spm_source_page_in_span(r, (uint32_t)(last - r->page));
	if (k > last)
		return look_damaged(look, last);
	first = last - k;
	head = spm_source_find(&look->list, first, &k);
	if (!head)
		return look_damaged(look, first);
	if (span_take(look, head, k, span))
		return -1;
	return page - first < span->pages;
}

static bool slot_is_live(const struct look_span *span, uint64_t slot)
{
	return slot < span->slots && slotset_has(&span->live, (unsigned)slot);
}

static const struct types *types_see(struct plook *look);
static int blob_see(struct plook *look);

/* Read when an object is first asked for; if they can't be had, nobody told of any. */
static void hints_see(struct plook *look)
{
	const struct types *t;
	int error = errno;

	if (look->hints_were_read)
		return;
	look->hints_were_read = true;
	t = types_see(look);
	if (t && look->parts.hints_bytes &&
	    (spm_hints_load(&look->hints, look->parts.hints, look->parts.hints_bytes) ||
	     !spm_hints_fit(&look->hints, t)))
		spm_hints_free(&look->hints);
	errno = error;
}

static struct pobject object_of(struct plook *look, const struct look_span *span, uint64_t slot)
{
	uint64_t address = spm_page_address((pageno_t)span->first) + slot * span->slot_bytes;
	int root;

	hints_see(look);
	root = spm_hints_type_of(&look->hints, address);
	return (struct pobject){.address = address,
	                        .bytes = span->slot_bytes,
	                        .has_no_pointers = (span->flags & HEAP_NOPTR) != 0,
	                        .type = root < 0 ? NULL : look->types->all_roots[root].type};
}

int pLookObject(struct plook *look, uint64_t address, struct pobject *out)
{
	struct look_span span;
	uint64_t slot;
	int is_there = spm_in_window(address) ? span_at(look, spm_page_of(address), &span) : 0;

	if (is_there != 1)
		return is_there;
	slot = (address - spm_page_address((pageno_t)span.first)) / span.slot_bytes;
	if (!slot_is_live(&span, slot))
		return 0;
	*out = object_of(look, &span, slot);
	return 1;
}

struct look_telling {
	uint64_t from;
	uint64_t behind; /* the last span: no other may begin before */
	int (*fn)(const struct pobject *object, void *arg);
	void *arg;
};

static int span_tell(struct plook *look, const struct look_span *span, const struct look_telling *t)
{
	for (uint64_t slot = 0; slot < span->slots; slot++) {
		struct pobject object = object_of(look, span, slot);
		int result;

		if (!slot_is_live(span, slot) || object.address < t->from)
			continue;
		result = t->fn(&object, t->arg);
		if (result)
			return result;
	}
	return 0;
}

static int run_tell(struct plook *look, const struct source_run *r, struct look_telling *t)
{
	for (uint32_t k = spm_source_head(r, 0); k < r->pages; k = spm_source_head(r, k + 1)) {
		struct look_span span;
		int result;

		if (span_take(look, r, k, &span))
			return -1;
		if (span.first < t->behind)
			return look_damaged(look, span.first);
		t->behind = span.first + span.pages;
		result = span_tell(look, &span, t);
		if (result)
			return result;
	}
	return 0;
}

int pLookObjects(struct plook *look, uint64_t from, int (*fn)(const struct pobject *object, void *arg), void *arg)
{
	struct look_telling t = {.from = from, .fn = fn, .arg = arg};
	const struct source_run *r = look->list.run;
	struct look_span span;
	int result = spm_in_window(from) ? span_at(look, spm_page_of(from), &span) : 0;

	if (result < 0 || from >= SPM_WINDOW_END)
		return result < 0 ? -1 : 0;
	if (spm_in_window(from))
		r = run_before(look, result ? span.first : spm_page_of(from));
	for (r = r ? r : look->list.run, result = 0; r < look->list.run + look->list.n && !result; r++)
		if (r->page < SPM_BLOB_PAGE)
			result = run_tell(look, r, &t);
	return result;
}

/* Of a span that begins in the run: what its pages say, wherever they are. */
static struct pspan span_describe(const struct plook *look, const struct look_span *span, const struct source_run *r)
{
	const struct source_run *end = look->list.run + look->list.n;
	struct pspan s = {.address = spm_page_address((pageno_t)span->first),
	                  .bytes = span->pages * SPM_PAGE_BYTES,
	                  .object_bytes = span->slot_bytes,
	                  .age = look->seq,
	                  .has_no_pointers = (span->flags & HEAP_NOPTR) != 0};

	for (uint64_t slot = 0; slot < span->slots; slot++)
		s.objects += slot_is_live(span, slot);
	for (; r < end && r->page < span->first + span->pages; r++) {
		uint64_t age = look->seq > r->birth ? look->seq - r->birth : 0;

		if (r->block && age < s.age)
			s.age = age;
		s.is_patched |= r->granules != 0;
	}
	return s;
}

int pLookSpans(struct plook *look, int (*fn)(const struct pspan *span, void *arg), void *arg)
{
	const struct source_run *r = look->list.run, *end = r + look->list.n;
	uint64_t behind = 0; /* the last span: no other may begin before */
	int result = 0;

	for (; r < end && r->page < SPM_BLOB_PAGE && !result; r++)
		for (uint32_t k = spm_source_head(r, 0); k < r->pages && !result; k = spm_source_head(r, k + 1)) {
			struct look_span span;
			struct pspan s;

			if (span_take(look, r, k, &span))
				return -1;
			if (span.first < behind)
				return look_damaged(look, span.first);
			behind = span.first + span.pages;
			s = span_describe(look, &span, r);
			result = fn(&s, arg);
		}
	return result;
}

/* ---- bytes ---- */

/* What lies in no live slot of the page. */
static int dead_zero(const struct plook *look, uint64_t page, unsigned char *content)
{
	uint64_t page_at = page * SPM_PAGE_BYTES, from = 0, slot;
	struct look_span span;
	int is_there = span_at(look, page, &span);

	if (is_there != 1) {
		memset(content, 0, SPM_PAGE_BYTES);
		return is_there;
	}
	page_at -= span.first * SPM_PAGE_BYTES;
	for (slot = page_at / span.slot_bytes; slot * span.slot_bytes < page_at + SPM_PAGE_BYTES; slot++) {
		uint64_t begin = slot * span.slot_bytes, end = begin + span.slot_bytes;

		begin = begin > page_at ? begin - page_at : 0;
		end = end - page_at < SPM_PAGE_BYTES ? end - page_at : SPM_PAGE_BYTES;
		if (!slot_is_live(&span, slot))
			memset(content + begin, 0, end - begin);
		from = end;
	}
	memset(content + from, 0, SPM_PAGE_BYTES - from);
	return 0;
}

static int pages_keep(struct plook *look, uint64_t page, uint32_t n)
{
	unsigned char(*buffer)[SPM_PAGE_BYTES] = look->content + LOOK_CACHE_PAGES;

	for (uint32_t i = 0; i < n; i++) {
		if (dead_zero(look, page + i, buffer[i]))
			return -1;
		memcpy(look->content[(page + i) % LOOK_CACHE_PAGES], buffer[i], SPM_PAGE_BYTES);
		look->cached[(page + i) % LOOK_CACHE_PAGES] = page + i + 1;
	}
	return 0;
}

static int image_pages_take(struct plook *look, uint64_t page, uint32_t n)
{
	int err = spm_heapimage_pages_read(look->image, page, n, look->content[LOOK_CACHE_PAGES]);

	return err ? spm_fail(-err, "image %s: the page at 0x%llx %s", look->path,
	                      (unsigned long long)spm_page_address((pageno_t)page),
	                      err == -EUCLEAN ? "is damaged" : "can't be read")
	           : pages_keep(look, page, n);
}

/* Into the cache, n pages of a run from its page k on. 0; -EUCLEAN: nothing was taken in. */
static int pages_take(struct plook *look, const struct source_run *r, uint32_t k, uint32_t n)
{
	unsigned char(*buffer)[SPM_PAGE_BYTES] = look->content + LOOK_CACHE_PAGES;
	struct page_source source[LOOK_AHEAD_PAGES] = {{0}};
	int err = 0;

	for (uint32_t i = 0; i < n; i++)
		source[i] = spm_source_of(r, k + i);
	if (r->block && n == 1)
		spm_chain_near(look->chain, &look->nears, r->block + k);
	if (look->image)
		return image_pages_take(look, r->page + k, n);
	if (r->block)
		err = spm_chain_read_run(look->chain, look->info.version, source, n, buffer);
	else
		memset(buffer, 0, n * SPM_PAGE_BYTES);
	if (err)
		return spm_fail_volume(err);
	return pages_keep(look, r->page + k, n);
}

/* *content: good until the next call; NULL: the version has no such page. */
static int page_see(struct plook *look, uint64_t page, const unsigned char **content)
{
	const struct source_run *r;
	uint32_t k, n;

	*content = look->content[page % LOOK_CACHE_PAGES];
	if (look->cached[page % LOOK_CACHE_PAGES] == page + 1)
		return 0;
	r = spm_source_find(&look->list, page, &k);
	if (!r) {
		*content = NULL;
		return 0;
	}
	n = look->expected != page ? 1 : r->pages - k < LOOK_AHEAD_PAGES ? r->pages - k : LOOK_AHEAD_PAGES;
	look->expected = page + n;
	if (n > 1 && !pages_take(look, r, k, n))
		return 0;
	return pages_take(look, r, k, 1);
}

int pLookRead(struct plook *look, uint64_t address, void *to, size_t n)
{
	unsigned char *out = to;

	while (n) {
		uint64_t in_page = address % SPM_PAGE_BYTES;
		size_t part = n < SPM_PAGE_BYTES - in_page ? n : SPM_PAGE_BYTES - in_page;
		const unsigned char *content = NULL;

		if (spm_in_window(address) && page_see(look, spm_page_of(address), &content))
			return -1;
		if (content)
			memcpy(out, content + in_page, part);
		else
			memset(out, 0, part);
		out += part;
		address += part;
		n -= part;
	}
	return 0;
}

void pLookExpect(struct plook *look, uint64_t address, uint64_t bytes)
{
	const struct source_run *end = look->list.run + look->list.n, *r;
	uint64_t first, last;

	if (!bytes || look->image || !spm_in_window(address) || !spm_in_window(address + bytes - 1))
		return;
	first = spm_page_of(address);
	last = spm_page_of(address + bytes - 1);
	r = run_before(look, first);
	for (r = r ? r : look->list.run; r < end && r->page <= last; r++) {
		uint64_t from = r->page < first ? first : r->page,
		         to = r->page + r->pages - 1 < last ? r->page + r->pages : last + 1;

		if (r->block && to > from)
			spm_chain_expect(look->chain, r->block + (from - r->page), to - from);
	}
}

/* ---- what the version knows beside its pages ---- */

/* 0, or -1 and the error is set. */
static int blob_see(struct plook *look)
{
	uint64_t pages = 0;

	if (look->blob_was_read)
		return 0;
	for (size_t i = look->list.n; i-- > 0 && look->list.run[i].page >= SPM_BLOB_PAGE;)
		pages += look->list.run[i].pages;
	if (spm_blob_read(look->chain, look->magic, pages, &look->blob, &look->parts))
		return -1;
	look->blob_was_read = true;
	return 0;
}

static int outside_see(struct plook *look)
{
	struct outside *o;

	if (look->outside)
		return 0;
	if (blob_see(look))
		return -1;
	o = spm_outside_new();
	if (!o)
		return spm_fail(ENOMEM, "container %d: no memory for its table of modules", look->magic);
	if (look->parts.table_bytes && spm_outside_load(o, look->parts.table, look->parts.table_bytes)) {
		spm_outside_free(o);
		return spm_fail(EUCLEAN, "container %d is damaged: its table of modules is malformed", look->magic);
	}
	look->outside = o;
	return 0;
}

const char *pLookOutside(struct plook *look, uint64_t word)
{
	if (!spm_outside_may_be(word) || outside_see(look))
		return NULL;
	return spm_outside_name(look->outside, word, look->word, sizeof(look->word)) ? look->word : NULL;
}

/* Read when they are first asked for. NULL: the version has none, or they can't be had. */
static const struct types *types_see(struct plook *look)
{
	if (!look->types && !blob_see(look))
		spm_typing_load(look->magic, &look->parts, &look->types);
	return look->types;
}

const struct ptype *pLookType(const struct plook *look)
{
	const struct types *t = types_see((struct plook *)(uintptr_t)look);

	return t ? &t->type[0] : NULL;
}

const struct ptype *pLookTypeNamed(const struct plook *look, const char *name)
{
	const struct types *t = types_see((struct plook *)(uintptr_t)look);

	return t ? spm_types_named(t, name) : NULL;
}

int pLookHolds(struct plook *look, const struct pmember *of, uint64_t address, const struct pmember **out)
{
	unsigned char tag[8] = {0};
	unsigned n;

	if (!of->choice)
		return 0;
	n = spm_types_tag_bytes(of->choice);
	if (n > sizeof(tag) || pLookRead(look, address + (uint64_t)of->choice->tag_at, tag, n))
		return -1;
	return spm_types_holds(of->choice, tag, n, 0 - (uint64_t)of->choice->tag_at, out);
}

/* ---- the version ---- */

const struct pversion *pLookVersion(const struct plook *look)
{
	return &look->version;
}

void pLookRoot(const struct plook *look, uint64_t *address, uint64_t *bytes)
{
	*address = look->info.root;
	*bytes = look->info.root_bytes;
}

static int look_fill(struct plook *look, const char *ref)
{
	struct version_found found;

	if (spm_chain_open_ref(look->magic, ref, &look->chain))
		return -1;
	if (spm_chain_newest_found(look->chain, &found))
		return spm_fail(ENOENT, "container %d has no version yet", look->magic);
	look->info = found.info;
	look->seq = found.seq;
	look->version = spm_version_tell(&look->info);
	look->content = spm_pages_map(content_bytes, false);
	if (!look->content || spm_chain_list(look->chain, &look->list))
		return spm_fail(ENOMEM, "container %d: no memory to look at a version", look->magic);
	return 0;
}

/* ---- an image ---- */

/* A run of pages for each span, as if they had no content: that is read from the image. */
static int image_list(struct plook *look, const unsigned char *spans)
{
	uint64_t n = look->image->h.spans, end = 0, pages = 0;
	struct heapimage_span s;

	for (uint64_t i = 0; i < n; i++) {
		memcpy(&s, spans + i * sizeof(s), sizeof(s));
		if (s.page < end || !s.pages || (uint64_t)s.page + s.pages > window_pages)
			return spm_fail(EUCLEAN, "image %s is damaged: its spans make no sense", look->path);
		end = (uint64_t)s.page + s.pages;
		pages += s.pages;
	}
	look->list.pages = pages;
	look->list.run = spm_pages_map((pages + 1) * sizeof(*look->list.run), false);
	if (!look->list.run)
		return spm_fail(ENOMEM, "image %s: no memory to look into it", look->path);
	for (uint64_t i = 0; i < n; i++, spans += sizeof(s)) {
		memcpy(&s, spans, sizeof(s));
		look->list.run[look->list.n++] =
		        (struct source_run){.page = s.page,
		                            .pages = s.pages,
		                            .span_pages = s.pages,
		                            .class = s.class,
		                            .flags = s.flags & HEAP_NOPTR,
		                            .bytes = spans + offsetof(struct heapimage_span, live)};
	}
	return 0;
}

static int image_fill(struct plook *look, const char *path)
{
	struct heapimage_told told;
	const struct heapimage_header *h;

	look->path = strdup(path ? path : "");
	look->image = calloc(1, sizeof(*look->image));
	look->content = spm_pages_map(content_bytes, false);
	if (!look->path || !look->image || !look->content)
		return spm_fail(ENOMEM, "no memory to look into an image");
	look->image->fd = -1;
	if (spm_heapimage_load(path, look->image))
		return -1;
	h = &look->image->h;
	if (!h->spans)
		return spm_fail(ENOTSUP,
		                "image %s does not tell where its objects are: write it anew with softpm image", path);
	if (spm_heapimage_told_read(path, look->image, &told))
		return -1;
	look->image_types = told.types;
	look->blob = told.hints;
	look->blob_was_read = true;
	look->parts = (struct blob_parts){.table = look->image->modules,
	                                  .hints = told.hints,
	                                  .types = told.types,
	                                  .table_bytes = h->modules_bytes,
	                                  .hints_bytes = h->hints_bytes,
	                                  .types_bytes = h->types_bytes};
	look->magic = h->container;
	look->info = h->info;
	look->info.message[sizeof(look->info.message) - 1] = 0;
	look->version = spm_version_tell(&look->info);
	return image_list(look, told.spans);
}

struct plook *pLookOpenImage(const char *path)
{
	struct plook *look = calloc(1, sizeof(*look));

	if (!look) {
		spm_fail(ENOMEM, "no memory to look into an image");
		return NULL;
	}
	if (!image_fill(look, path))
		return look;
	pLookClose(look);
	return NULL;
}

struct plook *pLookOpen(int magic, const char *ref)
{
	struct plook *look;

	if (!spm_volume_current() || spm_containers_sync(magic))
		return NULL;
	look = calloc(1, sizeof(*look));
	if (!look) {
		spm_fail(ENOMEM, "container %d: no memory to look at a version", magic);
		return NULL;
	}
	look->magic = magic;
	if (!look_fill(look, ref))
		return look;
	pLookClose(look);
	return NULL;
}

void pLookClose(struct plook *look)
{
	int error = errno;

	if (!look)
		return;
	if (look->outside)
		spm_outside_free(look->outside);
	spm_hints_free(&look->hints);
	spm_types_free(look->types);
	free(look->blob);
	spm_pages_unmap(look->content, content_bytes);
	spm_source_list_free(&look->list);
	if (look->chain)
		spm_chain_close(look->chain);
	if (look->image)
		spm_heapimage_unload(look->image);
	free(look->image);
	free(look->image_types);
	free(look->path);
	free(look);
	errno = error;
}

/* ---- for softpm check ---- */

static int span_passed(const struct pspan *span, void *arg)
{
	(void)span, (void)arg;
	return 0;
}

/* Pages whose span's first page says something else, or is not there. */
static int pages_make_sense(const struct plook *look)
{
	for (size_t i = 0; i < look->list.n && look->list.run[i].page < SPM_BLOB_PAGE; i++) {
		struct look_span span;
		int is_there = span_at(look, look->list.run[i].page, &span);

		if (is_there < 0)
			return -1;
		if (!is_there)
			return look_damaged(look, look->list.run[i].page);
	}
	return 0;
}

static int root_makes_sense(struct plook *look)
{
	struct pobject o;
	int is_there = pLookObject(look, look->info.root, &o);

	if (is_there < 0)
		return -1;
	if (!is_there || o.address + o.bytes - look->info.root < look->info.root_bytes)
		return spm_fail(EUCLEAN, "container %d is damaged: its root lies in no object that is large enough",
		                look->magic);
	return 0;
}

static bool hints_make_sense(struct plook *look)
{
	struct hints h = {0};
	int err = !look->parts.hints_bytes ? 0 : spm_hints_load(&h, look->parts.hints, look->parts.hints_bytes);
	bool do_fit = !err && spm_hints_fit(&h, look->types);

	spm_hints_free(&h);
	if (!do_fit)
		spm_fail(err == -ENOMEM ? ENOMEM : EUCLEAN, "container %d is damaged: its hints are malformed",
		         look->magic);
	return do_fit;
}

int spm_look_check(int magic, const char *ref)
{
	struct plook *look = pLookOpen(magic, ref);
	bool is_right = look && !pLookSpans(look, span_passed, NULL) && !pages_make_sense(look) &&
	                !root_makes_sense(look) && !outside_see(look) &&
	                (!look->parts.types_bytes || types_see(look)) && hints_make_sense(look);

	pLookClose(look);
	return is_right ? 0 : errno == EUCLEAN ? 1 : -1;
}
