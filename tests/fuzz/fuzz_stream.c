/* fuzz_stream.c - libFuzzer target: any items, as a stream whose frames are right, are imported or refused with a sentence; never a
 * crash, a leak or an endless loop; and the volume is whole.
 *
 *   items -> sums and states made right -> stream -> volume in memory, empty or with a history -> imported, imported again -> check
 *
 * Sums of pages and states of versions would stop a fuzzer at the first version, so they are made right after each mutation; that
 * they are verified is what tests/fault/malformed_stream.c is for, and that frames are, tests/unit/test_stream.c. The mutator changes fields
 * of items, leaves items out and repeats them.
 *
 *   fuzz_stream CORPUS...                 fuzz on (seeds: fuzz_seeds FOLDER FOLDER)
 *   fuzz_stream -runs=0 CORPUS, or FILE   try again what is there
 */
#include "sim_driver.h"
#include "streams.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A first byte with these, then the items. */
enum { WITH_HISTORY = 1, AS_THEY_ARE = 2, NAMED = 4 };
enum { VERSIONS_MOST = 32, PAGES_MOST = 64, ITEMS_MOST = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t most);

static unsigned char volume_bytes[SIM_BYTES_MOST];
static volatile size_t sink; /* what was said was looked at */

static size_t item_bytes(uint64_t kind)
{
	static const size_t of[] = {[ITEM_HEAD] = sizeof(struct item_head),
	                            [ITEM_VERSION] = sizeof(struct item_version),
	                            [ITEM_PAGE] = sizeof(struct item_page) + SPM_PAGE_BYTES,
	                            [ITEM_META] = sizeof(struct item_page),
	                            [ITEM_GONE] = sizeof(uint64_t),
	                            [ITEM_COMMIT] = sizeof(uint64_t),
	                            [ITEM_TAG] = sizeof(struct item_name),
	                            [ITEM_BRANCH] = sizeof(struct item_name),
	                            [ITEM_END] = sizeof(uint64_t)};

	return sizeof(kind) + (kind <= ITEM_END ? of[kind] : 0);
}

/* The length of the item at data, 0: there is no whole one. */
static size_t item_length(const uint8_t *data, size_t n)
{
	uint64_t kind;

	if (n < sizeof(kind))
		return 0;
	memcpy(&kind, data, sizeof(kind));
	return item_bytes(kind) > n ? 0 : item_bytes(kind);
}

/* ---- sums and states ---- */

struct known { /* a version as the stream makes it */
	uint64_t number, time_ns, state;
	struct item_page page[PAGES_MOST];
	size_t pages;
};
static struct known known[VERSIONS_MOST];
static size_t knowns;

static struct known *known_find(uint64_t number)
{
	for (size_t i = knowns; i > 0; i--)
		if (known[i - 1].number == number)
			return &known[i - 1];
	return NULL;
}

static struct known *version_begin(uint8_t *at)
{
	struct known *k = &known[knowns < VERSIONS_MOST ? knowns++ : VERSIONS_MOST - 1], *before;
	struct item_version v;

	memcpy(&v, at, sizeof(v));
	before = known_find(v.before);
	if (before && before != k) {
		*k = *before;
		v.before_time_ns = before->time_ns;
		v.before_state = before->state;
		memcpy(at, &v, sizeof(v));
	} else {
		k->pages = 0;
		k->state = 0;
	}
	k->number = v.info.version;
	k->time_ns = v.info.time_ns;
	return k;
}

static struct item_page *page_find(struct known *k, uint64_t number)
{
	for (size_t i = 0; i < k->pages; i++)
		if (k->page[i].page == number)
			return &k->page[i];
	return NULL;
}

static void page_fix(struct known *k, uint64_t kind, uint8_t *at)
{
	struct item_page p = {0}, *was;

	memcpy(&p, at, kind == ITEM_GONE ? sizeof(p.page) : sizeof(p));
	was = page_find(k, p.page);
	if (was)
		k->state -= spm_state_of(was);
	if (kind == ITEM_GONE) {
		if (was)
			*was = k->page[--k->pages];
		return;
	}
	if (kind == ITEM_PAGE)
		p.sum = spm_page_sum(at + sizeof(p));
	else if (was)
		p.sum = was->sum;
	memcpy(at, &p, sizeof(p));
	if (!was && k->pages < PAGES_MOST)
		was = &k->page[k->pages++];
	if (was)
		*was = p;
	k->state += spm_state_of(&p);
}

static void all_fix(uint8_t *data, size_t n)
{
	struct known *k = NULL;
	uint64_t kind, versions = 0;
	size_t length;

	knowns = 0;
	for (; (length = item_length(data, n)); data += length, n -= length) {
		memcpy(&kind, data, sizeof(kind));
		if (kind == ITEM_VERSION) {
			k = version_begin(data + sizeof(kind));
			versions++;
		} else if (k && (kind == ITEM_PAGE || kind == ITEM_META || kind == ITEM_GONE)) {
			page_fix(k, kind, data + sizeof(kind));
		} else if (k && kind == ITEM_COMMIT) {
			memcpy(data + sizeof(kind), &k->state, sizeof(k->state));
		} else if (kind == ITEM_END) {
			memcpy(data + sizeof(kind), &versions, sizeof(versions));
		}
	}
}

/* ---- the target ---- */

static void must(bool is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "fuzz_stream: %s: %s; %s\n", what, spm_volume_error(), pErrorMsg());
	abort();
}

static int damage_print(const char *sentence, void *arg)
{
	(void)arg;
	fprintf(stderr, "%s\n", sentence);
	return 0;
}

static int branch_check(int magic, const char *branch, void *arg)
{
	uint64_t newest;

	return branch ? spm_volume_check(arg, magic, branch, damage_print, NULL, &newest) : 1;
}

static int transfer_look(const struct ptransfer *t, void *arg)
{
	(void)arg;
	sink += strlen(t->name) + strlen(t->branch) + (size_t)t->version;
	return 0;
}

static void import(struct volume *v, int fd, unsigned flags)
{
	struct pimport how = {.branch = flags & NAMED ? "named" : NULL, .fn = transfer_look};

	for (unsigned i = 0; i < 2; i++) {
		lseek(fd, 0, SEEK_SET);
		if (spm_import(v, fd, &how))
			sink += strlen(pErrorMsg());
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint64_t used = SIM_BYTES_MOST;
	unsigned flags = n ? *data : 0;
	struct volume_info info;
	struct volume *v = NULL;
	uint8_t *items;
	int fd;

	if (!n)
		return 0;
	memset(volume_bytes, 0, used);
	items = malloc(n);
	memcpy(items, data + 1, n - 1);
	if (!(flags & AS_THEY_ARE))
		all_fix(items, n - 1);
	fd = stream_pack(items, n - 1);
	must(fd >= 0 && !spm_volume_open(sim_state_driver(volume_bytes, 0), VOLUME_CREATE | VOLUME_EAGER, &v),
	     "a volume");
	if (flags & WITH_HISTORY)
		must(!history_make(v), "a history");
	import(v, fd, flags);
	must(!spm_volume_each_chain(v, branch_check, v), "the volume is damaged");
	must(!spm_volume_info(v, &info), "the volume's description");
	used = info.bytes;
	spm_volume_close(v);
	close(fd);
	free(items);
	return 0;
}

/* ---- the mutator ---- */

static uint64_t random_state;

static uint64_t any(uint64_t below)
{
	uint64_t x = random_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31)) % below;
}

static uint64_t value_choose(uint64_t present)
{
	static const uint64_t edge[] = {0,
	                                1,
	                                2,
	                                255,
	                                4096,
	                                0x7fffffff,
	                                0xffffffff,
	                                UINT64_C(0x100000000),
	                                UINT64_C(0x100010000),
	                                INT64_MAX,
	                                UINT64_MAX - 1,
	                                UINT64_MAX};

	switch (any(3)) {
	case 0:
		return edge[any(sizeof(edge) / sizeof(edge[0]))];
	case 1:
		return present ^ UINT64_C(1) << any(64);
	default:
		return present + any(9) - 4;
	}
}

/* Not in the midst of a page, for the most part. */
static void field_change(uint8_t *item, size_t length)
{
	size_t width = any(3) ? 8 : 4, fields = any(8) && length > 600 ? 80 : length;
	uint8_t *field = item + any(fields / width) * width;
	uint64_t value = 0;

	memcpy(&value, field, width);
	value = value_choose(value);
	memcpy(field, &value, width);
}

static void text_change(uint8_t *item, size_t length)
{
	size_t at = any(length), n = 1 + any(length - at < 64 ? length - at : 64);

	LLVMFuzzerMutate(item + at, n, n);
}

static size_t item_remove(uint8_t *data, size_t n, size_t at, size_t length)
{
	memmove(data + at, data + at + length, n - at - length);
	return n - length;
}

static size_t item_repeat(uint8_t *data, size_t n, size_t most, size_t from, size_t length, size_t at)
{
	uint8_t item[8 + sizeof(struct item_page) + SPM_PAGE_BYTES];

	if (n + length > most)
		return n;
	memcpy(item, data + from, length);
	memmove(data + at + length, data + at, n - at);
	memcpy(data + at, item, length);
	return n + length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t most, unsigned seed)
{
	static size_t at[ITEMS_MOST], length[ITEMS_MOST];
	size_t items = 0, one, other;

	random_state = seed;
	for (size_t end = 1, l; end < n && items < ITEMS_MOST && (l = item_length(data + end, n - end)); end += l) {
		at[items] = end;
		length[items++] = l;
	}
	if (!items)
		return LLVMFuzzerMutate(data, n, most);
	if (!any(8))
		data[0] = (uint8_t)any(8);
	one = any(items);
	other = any(items);
	switch (any(8)) {
	case 0:
		return item_remove(data, n, at[one], length[one]);
	case 1:
		return item_repeat(data, n, most, at[one], length[one], at[other]);
	case 2:
		text_change(data + at[one], length[one]);
		return n;
	default:
		for (uint64_t times = 1 + any(3); times > 0; times--, one = any(items))
			field_change(data + at[one], length[one]);
		return n;
	}
}
