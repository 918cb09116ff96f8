/* format.h - a volume, byte by byte. docs/format.md says the same in words. All fields little-endian.
 *
 *   volume   group 0 | group 1 | ...                     128 MiB each; the last may be shorter
 *   group    extent 0 .. extent 127                      1 MiB each
 *            blocks 0..15 of extent 0 are reserved: 0, 1 superblock and mirror (group 0 only),
 *            2, 3 the group's extent table and mirror
 *   chain    its first extent begins with the head and its mirror; all else in its extents is
 *            records, pages, maps and the index, anywhere
 *
 * A mirrored block is valid if its sum is right. It is changed by writing the first copy, durable, then the second,
 * so at every instant one copy is whole, and the first, if whole, is the newer.
 */
#ifndef SPM_FORMAT_H
#define SPM_FORMAT_H

#include "volume/volume.h"

#include <assert.h>

#define FORMAT_SUPER_MAGIC UINT64_C(0x31564d5054464f53)  /* "SOFTPMV1" */
#define FORMAT_TABLE_MAGIC UINT64_C(0x3142545458455053)  /* "SPEXTTB1" */
#define FORMAT_HEAD_MAGIC UINT64_C(0x3144414548435053)   /* "SPCHEAD1" */
#define FORMAT_RECORD_MAGIC UINT64_C(0x3144524f43525053) /* "SPRCORD1" */
#define FORMAT_MAP_MAGIC UINT64_C(0x314d4950414d5053)    /* "SPMAPIM1" */
#define FORMAT_INDEX_MAGIC UINT64_C(0x3158444e49435053)  /* "SPCINDX1" */

enum {
	FORMAT_VERSION = 5,
	FORMAT_VERSION_LOST =
	        5, /* from this one on pages have words for pointers that will be NULL, before that zeros */
	FORMAT_VERSION_PATCHES = 4, /* and from this one on patches */
	FORMAT_VERSION_LEAST = 3,
	FORMAT_ENDIAN = 0x01020304,
	EXTENT_BLOCKS = 256,
	EXTENT_BYTES = EXTENT_BLOCKS * SPM_BLOCK_BYTES,
	GROUP_EXTENTS = 128,
	GROUP_BLOCKS = GROUP_EXTENTS * EXTENT_BLOCKS,
	GROUP_RESERVED_BLOCKS = 16,
	TABLE_BLOCK = 2, /* in the group; its mirror follows */
	HEAD_RUNS_MAX = 200,
	RECORD_RUNS_MAX = 32,
	RECORD_HEADER_BYTES = 1152,
};

/* Every checksum is XXH3_64bits of the whole block or record with this field zero. */
struct super {
	uint64_t magic, sum;
	uint32_t version, endian, page_bytes, block_bytes;
	uint8_t uuid[16];
	uint64_t created_ns;
};

/* Numbers of locks (driver.h): for changing extent tables; LOCK_CHAINS + id, as long as a writer has the chain open;
 * LOCK_VERSIONS + (first extent of the chain << 32) + seq, lower 32 bits: shared by who reads the version, exclusive while it is
 * being dropped. */
enum { LOCK_TABLES = 1, LOCK_CHAINS = 16 };
#define LOCK_VERSIONS (UINT64_C(1) << 61)

enum extent_flags {
	EXTENT_FIRST = 1,
	EXTENT_DELETING = 2,
	EXTENT_HASH_SHIFT = 8
}; /* FIRST: the upper 24 bits are a hash of the
                                                                                       branch's name */
struct extent_entry {
	uint64_t owner; /* chain id; 0: free */
	int32_t magic;
	uint32_t flags;
};
struct extent_table {
	uint64_t magic, sum;
	uint32_t group;
	uint32_t extents; /* that exist in this group */
	uint64_t groups;  /* in the volume; group 0 only */
	struct extent_entry entry[GROUP_EXTENTS];
};

struct block_run {
	uint64_t block, blocks;
};

struct chain_head {
	uint64_t magic, sum;
	uint64_t chain_id;
	int32_t container;
	uint32_t run_count;
	char branch[64];
	uint64_t parent_chain; /* where it branched off: the origin; 0: it begins empty */
	uint64_t origin_seq, origin_version;
	uint64_t durable_seq;                /* newest record known durable when this was written */
	uint64_t index_sum, index_bytes;     /* 0: no index: one segment, which begins with the origin */
	uint64_t epoch, epoch_seq;           /* records from epoch_seq on count only if they are of this epoch */
	struct block_run next[2];            /* without index: reserved for the first two records */
	struct block_run run[HEAD_RUNS_MAX]; /* where the index lies */
};

struct place {          /* where a page of a version is */
	uint64_t block; /* 0: no content, all zero */
	uint64_t sum;   /* of its 4096 bytes */
	uint64_t birth; /* record that wrote the block; 0 in `was`: the page was not in the version */
	struct page_meta meta;
	uint32_t granules;          /* of the patch (patch.h) that makes the page of what the block has */
	const unsigned char *patch; /* in an entry NULL: as it was */
};

/* Entries (entries.h): this, for each place that it has a run_place, `is` first, then for each page, for each place, the live
 * slots (if it is its span's first) and the sum (if it has a block). The next page is one page, one block, and one place
 * in the span further; after the span's last comes the first of a span like it. If `is` has granules, the run is of one page, and its
 * patch follows, unless block and sum of `was` are the same: then it is that of the version before. */
struct page_run {
	uint64_t page;
	uint32_t pages;  /* 1 if one of the places has no block, or has granules */
	uint32_t places; /* 1: is, 2: was */
};
struct run_place {
	uint64_t block, birth; /* birth is not 0 */
	uint32_t span_pages, page_in_span;
	uint8_t class, flags, zero[2];
	uint32_t granules; /* of `was`: 0 */
};

struct record {
	uint64_t magic, sum;
	uint64_t chain_id, seq;
	uint64_t prev_sum;
	uint64_t durable_seq;
	uint64_t bytes;           /* of header and entries */
	uint32_t entries;         /* pages in them */
	uint32_t is_data_durable; /* its pages were flushed before it was written */
	uint32_t run_count;
	uint32_t epoch; /* how often a newer, damaged version had been given up by then */
	struct block_run next[2];
	struct block_run
	        run[RECORD_RUNS_MAX]; /* where the bytes beyond the first block(s) are; run[0] begins with this block */
	struct version_info info;
};

/* All pages of one version: this, then entries (without was). */
struct map_image {
	uint64_t magic, chain_id, seq, bytes;
	uint64_t pages;
	struct version_info info;
};

/* What a chain has beside its newest records: this, then segments (each followed by its runs), ranges of kept versions,
 * space. */
struct index {
	uint64_t magic, chain_id, bytes;
	uint64_t seq;                   /* what it says of space is of just after this record */
	uint64_t segments, kept, space; /* how many there are */
};
/* A map, and records that follow it. The map of any version is that of a segment, changed by its records up to the version's. */
struct segment_entry {
	uint64_t seq;  /* of the version that the map is of */
	uint64_t last; /* records seq + 1 .. last are there; UINT64_MAX: the newest segment, all that follow */
	uint64_t version, time_ns;   /* of seq */
	uint64_t map_sum, map_bytes; /* 0: it begins with the chain's origin */
	uint64_t record_sum;         /* of record seq: what the next one names as prev_sum */
	struct block_run next[2];    /* of records seq + 1 and seq + 2 */
	uint64_t runs;               /* of the map */
};
struct kept_range { /* versions that must stay readable */
	uint64_t from, to;
	uint64_t time_ns; /* of version `from` */
};
enum space_kind { SPACE_USED = 1, SPACE_MIXED = 2 };
struct space_entry { /* extents of the chain that are not wholly free; a mixed one is followed by a bit for each free block */
	uint64_t block;
	uint32_t extents, kind;
};

static_assert(sizeof(struct page_meta) == 48, "page_meta");
static_assert(sizeof(struct super) == 56, "super");
static_assert(sizeof(struct extent_table) <= SPM_BLOCK_BYTES, "extent table fits its block");
static_assert(sizeof(struct chain_head) <= SPM_BLOCK_BYTES, "head fits its block");
static_assert(sizeof(struct record) <= RECORD_HEADER_BYTES, "record header");
static_assert(sizeof(struct map_image) == 536 && sizeof(struct index) == 56, "map and index");
static_assert(sizeof(struct segment_entry) == 96 && sizeof(struct space_entry) == 16, "entries of the index");

#endif
