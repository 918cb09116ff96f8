/* fuzz_volume.c - libFuzzer target: any bytes, opened as a volume, give versions or a sentence; never a crash, a leak or
 * an endless loop.
 *
 *   packed bytes -> volume in memory -> sums made right -> read: list, each version, each page, check, names
 *                                                       -> write: open, commit, maintain, branch, tag, delete
 *                                                       -> now and then: pLook..., pCRestore, pPointSync, by the public calls
 *
 * Checksums would stop a fuzzer at the first block, so they are made right after each mutation (resum.h); that they are
 * verified is what tests/fault/flip_volume.c is for. The mutator changes fields of the blocks it recognises, rather
 * than bytes.
 *
 *   fuzz_volume CORPUS...                 fuzz on (seeds: fuzz_seeds FOLDER FOLDER)
 *   fuzz_volume -runs=0 CORPUS, or FILE   try again what is there
 */
#include "branch_off.h"
#include "packed.h"
#include "resum.h"
#include "sim_driver.h"
#include "softpm.h"
#include "softpm/look.h"
#include "volume/internal.h"
#include "volume/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHAINS_MOST = 8, MAINTAIN_MOST = 8, VERSIONS_MOST = 8, PAGES_MOST = 5 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t most);

static unsigned char volume_bytes[SIM_BYTES_MOST];
static volatile size_t sink; /* what was read was looked at */

struct chains {
	int magic[CHAINS_MOST];
	char branch[CHAINS_MOST][64];
	unsigned n;
};

static int chain_note(int magic, const char *branch, void *arg)
{
	struct chains *all = arg;

	all->magic[all->n] = magic;
	snprintf(all->branch[all->n], sizeof(all->branch[0]), "%s", branch ? branch : "main");
	return ++all->n == CHAINS_MOST;
}

struct numbers {
	uint64_t version[VERSIONS_MOST];
	unsigned n;
};

static int version_look(const struct version_info *info, void *arg)
{
	struct numbers *numbers = arg;

	sink += strlen(info->branch) + strlen(info->name) + strlen(info->message);
	if (numbers->n < VERSIONS_MOST)
		numbers->version[numbers->n++] = info->version;
	return 0;
}

static void page_look(struct chain *c, const struct source_run *r, uint32_t k)
{
	unsigned char page[SPM_PAGE_BYTES];
	struct page_meta meta = spm_source_meta(r, k);

	sink += spm_source_of(r, k).sum + meta.live.word[0];
	if (!spm_chain_read(c, r->page + k, 1, page))
		sink += page[0] + meta.span_pages;
}

static void pages_look(struct chain *c)
{
	struct source_list list;

	if (spm_chain_list(c, &list))
		return;
	for (size_t i = 0; i < list.n; i++)
		for (uint32_t k = 0; k < list.run[i].pages; k++)
			page_look(c, &list.run[i], k);
	spm_source_list_free(&list);
}

static int sentence_look(const char *sentence, void *arg)
{
	(void)arg;
	sink += strlen(sentence);
	return 0;
}

static void version_open(struct volume *v, int magic, const char *branch, uint64_t version)
{
	struct chain *c;

	if (spm_chain_open_version(v, magic, branch, version, &c)) {
		sentence_look(spm_volume_error(), NULL);
		return;
	}
	pages_look(c);
	spm_chain_close(c);
}

static void chain_look(struct volume *v, int magic, const char *branch)
{
	struct numbers numbers = {.version = {1, 2}, .n = 2}; /* listed or not */
	struct version_info info;
	struct chain *c;
	uint64_t whole;

	if (spm_chain_open(v, magic, branch, 0, 0, &c)) {
		sentence_look(spm_volume_error(), NULL);
	} else {
		if (!spm_chain_newest(c, &info))
			version_look(&info, &numbers);
		spm_chain_each_version(c, version_look, &numbers);
		pages_look(c);
		spm_chain_close(c);
	}
	for (unsigned i = 0; i < numbers.n; i++)
		version_open(v, magic, branch, numbers.version[i]);
	spm_volume_check(v, magic, branch, sentence_look, NULL, &whole);
	spm_log_check(v, magic, branch, sentence_look, NULL);
}

static void names_look(struct volume *v, int magic)
{
	struct refs refs;

	if (spm_refs_load(v, magic, &refs))
		return;
	for (size_t i = 0; i < refs.n; i++)
		sink += strlen(refs.ref[i].name);
	spm_refs_free(&refs);
}

static void volume_look(uint64_t bytes, struct chains *all)
{
	struct volume_info info;
	struct volume *v;

	if (spm_volume_open(sim_state_driver(volume_bytes, bytes), VOLUME_READ_ONLY, &v))
		return;
	spm_volume_info(v, &info);
	spm_volume_each_chain(v, chain_note, all);
	for (unsigned i = 0; i < all->n; i++) {
		chain_look(v, all->magic[i], all->branch[i]);
		names_look(v, all->magic[i]);
	}
	spm_volume_close(v);
}

/* fill 0: what the page holds stays. */
static int commit_one(struct chain *c, uint64_t page, uint64_t fill)
{
	static uint64_t data[SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change = {.page = page, .data = fill ? data : NULL, .meta.span_pages = 1, .meta.class = 1};
	struct version_info info = {.versions_kept = 3, .branch = "main"};

	data[0] = fill;
	return spm_chain_commit(c, &change, 1, true, &info);
}

/* Some that were there: told of otherwise, written, patched. */
static void pages_change(struct chain *c)
{
	uint64_t page[PAGES_MOST];
	struct source_list list;
	size_t n = 0;

	if (spm_chain_list(c, &list))
		return;
	for (; n < PAGES_MOST && n < list.n; n++)
		page[n] = list.run[n * list.n / PAGES_MOST].page;
	spm_source_list_free(&list);
	for (unsigned fill = 0; fill < 3; fill++)
		for (size_t i = 0; i < n; i++)
			if (commit_one(c, page[i], fill))
				return;
}

static int tag_put(struct refs *refs, void *arg)
{
	struct ref ref = {.kind = REF_TAG, .name = "fuzz"};
	struct chain_about about;

	spm_chain_about(arg, &about);
	ref.chain_id = about.chain_id;
	ref.seq = about.seq;
	return spm_refs_put(refs, &ref);
}

static void chain_change(struct volume *v, int magic, const char *branch)
{
	struct chain *c;
	bool again = true;

	if (spm_chain_open(v, magic, branch, CHAIN_WRITE, 0, &c))
		return;
	pages_change(c);
	for (unsigned i = 0; i < MAINTAIN_MOST && !commit_one(c, 500 + i / 3, i + 1); i++)
		if (i % 2)
			spm_chain_maintain(c, true, &again);
	branch_off(v, magic, c, "fuzz", NULL);
	spm_refs_change(v, magic, tag_put, c);
	spm_chain_close(c);
}

/* What comes back once is there when it is opened again. */
static void volume_change(uint64_t bytes, const struct chains *all)
{
	struct volume *v;

	if (spm_volume_open(sim_state_driver(volume_bytes, bytes), VOLUME_CREATE | VOLUME_EAGER, &v))
		return;
	for (unsigned i = 0; i < all->n; i++)
		chain_change(v, all->magic[i], all->branch[i]);
	if (all->n && spm_branch_delete(v, all->magic[0], all->branch[0]))
		spm_chain_delete(v, all->magic[0]);
	spm_volume_close(v);
}

static int container_look(const struct pcontainer *container, void *arg)
{
	struct chains *all = arg;

	sink += strlen(container->name) + (container->damage ? strlen(container->damage) : 0);
	return chain_note(container->magic, container->branch, all);
}

static int difference_look(const struct pdifference *difference, void *arg)
{
	(void)arg;
	sink += difference->bytes + difference->size;
	return 0;
}

static int input_look(const void *bytes, size_t n, void *arg)
{
	(void)arg;
	sink += n ? *(const unsigned char *)bytes + ((const unsigned char *)bytes)[n - 1] : 0;
	return 0;
}

static int object_look(const struct pobject *o, void *arg)
{
	uint64_t word[9];
	struct pobject same;

	if (!pLookRead(arg, o->address + o->bytes / 2, word, sizeof(word)))
		for (unsigned i = 0; i < 9; i++)
			sink += (size_t)pLookObject(arg, word[i], &same) + (pLookOutside(arg, word[i]) ? 1 : 0);
	if (pLookObject(arg, o->address + o->bytes - 1, &same) == 1)
		sink += same.bytes;
	return 0;
}

static void container_look_at(int magic, const char *ref)
{
	struct plook *look = pLookOpen(magic, ref);
	uint64_t address, bytes;
	struct pobject root;

	sink += strlen(pErrorMsg());
	if (!look)
		return;
	pLookRoot(look, &address, &bytes);
	sink += (size_t)pLookObject(look, address, &root) + strlen(pLookVersion(look)->branch);
	sink += (size_t)pLookObjects(look, 0, object_look, look);
	sink += strlen(pErrorMsg());
	pLookClose(look);
}

static void containers_restore(void)
{
	struct chains all = {0};
	void *root;

	pContainers(container_look, &all);
	for (unsigned i = 0; i < all.n; i++) {
		int id;

		container_look_at(all.magic[i], NULL);
		container_look_at(all.magic[i], "~2");
		id = pCRestore(all.magic[i], &root);
		pDiff(all.magic[i], "~", "", difference_look, NULL);
		sink += strlen(pErrorMsg());
		if (id)
			sink += (size_t)pReplay(id, input_look, NULL) + (size_t)pRecord(id, "fuzz", 4) +
			        (size_t)pPointSync(id);
		sink += strlen(pErrorMsg());
	}
}

/* The public calls take a file; this one is in memory. */
static void volume_restore(uint64_t bytes)
{
	int fd = memfd_create("volume", 0);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd >= 0 && write(fd, volume_bytes, bytes) == (ssize_t)bytes && !pVOpen(path)) {
		containers_restore();
		pVClose();
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint64_t used = SIM_BYTES_MOST;
	struct chains all = {0};
	unsigned flags = 0;
	uint64_t bytes;

	memset(volume_bytes, 0, used);
	bytes = used = packed_open(data, size, volume_bytes, &flags);
	if (!bytes)
		return 0;
	if (!(flags & PACKED_SUMS_AS_THEY_ARE))
		resum(volume_bytes, bytes);
	volume_look(bytes, &all);
	if (flags & PACKED_WITH_RESTORE)
		volume_restore(bytes);
	volume_change(bytes, &all);
	used = SIM_BYTES_MOST; /* it may have grown */
	return 0;
}

/* --- the mutator --- */

static uint64_t random_state;

static uint64_t any(uint64_t below)
{
	uint64_t x = random_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (x ^ (x >> 31)) % below;
}

static uint8_t *entry_at(uint8_t *data, uint64_t i)
{
	return data + PACKED_HEADER_BYTES + i * PACKED_ENTRY_BYTES;
}

/* A block whose structure is known, if a few tries find one: pages are many. */
static uint8_t *block_choose(uint8_t *data, uint64_t entries)
{
	uint8_t *block = NULL;

	for (unsigned i = 0; i < 20; i++) {
		block = entry_at(data, any(entries)) + 8;
		if (resum_kind_of(block) != RESUM_OTHER)
			break;
	}
	return block;
}

/* Where fields are; the first one, which tells what the block is, mostly stays. */
static unsigned field_choose(const uint8_t *block, unsigned width)
{
	static const unsigned fields_end[] = {
	        [RESUM_OTHER] = 4096, [RESUM_SUPER] = 56, [RESUM_TABLE] = 128, [RESUM_HEAD] = 280,
	        [RESUM_RECORD] = 160, [RESUM_MAP] = 160,  [RESUM_INDEX] = 512};
	enum resum_kind kind = resum_kind_of(block);
	unsigned end = any(3) ? fields_end[kind] : 4096;

	return (unsigned)any(end / width) * width;
}

static uint64_t value_choose(uint8_t *data, uint64_t entries, uint64_t present)
{
	static const uint64_t edge[] = {0,
	                                1,
	                                2,
	                                3,
	                                16,
	                                32,
	                                64,
	                                127,
	                                128,
	                                255,
	                                256,
	                                4095,
	                                4096,
	                                0x7fffffff,
	                                0x80000000,
	                                0xffffffff,
	                                UINT64_C(0x100000000),
	                                UINT64_C(1) << 52,
	                                INT64_MAX,
	                                UINT64_C(1) << 63,
	                                UINT64_MAX - 1,
	                                UINT64_MAX};
	uint8_t *from = block_choose(data, entries);
	uint64_t value;

	switch (any(4)) {
	case 0:
		return edge[any(sizeof(edge) / sizeof(edge[0]))];
	case 1:
		memcpy(&value, from + field_choose(from, 8), 8);
		return value;
	case 2:
		return present ^ UINT64_C(1) << any(64);
	default:
		return present + any(9) - 4;
	}
}

static void field_change(uint8_t *data, uint64_t entries)
{
	uint8_t *block = block_choose(data, entries);
	unsigned width = any(4) ? 8 : 4;
	uint8_t *field = block + field_choose(block, width);
	uint64_t value = 0;

	memcpy(&value, field, width);
	value = value_choose(data, entries, value);
	memcpy(field, &value, width);
}

static void bytes_change(uint8_t *data, uint64_t entries)
{
	uint8_t *block = block_choose(data, entries);
	size_t at = any(4096 - 64), n = 1 + any(64);

	LLVMFuzzerMutate(block + at, n, n);
}

/* Blocks change places, are lost, or stand in two places; the volume is longer or shorter. */
static size_t blocks_change(uint8_t *data, uint64_t entries)
{
	uint8_t *one = entry_at(data, any(entries)), *other = entry_at(data, any(entries));
	uint32_t number[2], blocks;
	size_t end = PACKED_HEADER_BYTES + entries * PACKED_ENTRY_BYTES;

	memcpy(number, one, 8);
	switch (any(5)) {
	case 0: /* change places */
		memcpy(one, other, 8);
		memcpy(other, number, 8);
		return end;
	case 1: /* lost */
		memmove(one, entry_at(data, entries - 1), PACKED_ENTRY_BYTES);
		return entries > 1 ? end - PACKED_ENTRY_BYTES : end;
	case 2: /* in two places */
		memmove(one + 8, other + 8, 4096);
		return end;
	case 3: /* longer, shorter */
		blocks = 1 + (uint32_t)any(PACKED_BLOCKS_MOST);
		memcpy(data, &blocks, sizeof(blocks));
		return end;
	default: /* elsewhere */
		number[0] = (uint32_t)any(PACKED_BLOCKS_MOST);
		memcpy(one, number, 8);
		return end;
	}
}

static void flags_change(uint8_t *data)
{
	uint32_t flags = (uint32_t)(any(16) ? 0 : PACKED_SUMS_AS_THEY_ARE) | (any(16) ? 0 : PACKED_WITH_RESTORE);

	memcpy(data + 4, &flags, sizeof(flags));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed)
{
	uint64_t entries = bytes < PACKED_HEADER_BYTES ? 0 : (bytes - PACKED_HEADER_BYTES) / PACKED_ENTRY_BYTES;

	if (!entries)
		return LLVMFuzzerMutate(data, bytes, most);
	random_state = seed;
	flags_change(data);
	for (uint64_t n = 1 + any(3); n > 0; n--) {
		uint64_t what = any(16);

		if (what == 0)
			return blocks_change(data, entries);
		if (what < 4)
			bytes_change(data, entries);
		else
			field_change(data, entries);
	}
	return PACKED_HEADER_BYTES + entries * PACKED_ENTRY_BYTES;
}
