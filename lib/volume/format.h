/* format.h - a volume, byte by byte. docs/format.md says the same in words. All fields little-endian.
 *
 *   volume   group 0 | group 1 | ...                     128 MiB each; the last may be shorter
 *   group    extent 0 .. extent 127                      1 MiB each
 *            blocks 0..15 of extent 0 are reserved: 0, 1 superblock and mirror (group 0 only),
 *            2, 3 the group's extent table and mirror
 *   chain    its first extent begins with the head and its mirror; all else in its extents is
 *            records, pages and checkpoints, anywhere
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
#define FORMAT_CHECKPOINT_MAGIC UINT64_C(0x31544e494f504b43)

enum {
	FORMAT_VERSION = 2,
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

/* Numbers of locks (driver.h): for changing extent tables; LOCK_CHAINS + id, as long as a writer has the chain open. */
enum { LOCK_TABLES = 1, LOCK_CHAINS = 16 };

enum extent_flags { EXTENT_FIRST = 1, EXTENT_DELETING = 2 };
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
	uint64_t parent_chain, parent_version; /* where it branched off; 0 */
	uint64_t durable_seq;                  /* newest record known durable when this was written */
	uint64_t checkpoint_seq;               /* 0: no checkpoint, the chain begins empty */
	uint64_t checkpoint_sum, checkpoint_bytes;
	uint64_t epoch, epoch_seq; /* records from epoch_seq on count only if they are of this epoch */
	uint64_t record_sum;       /* of record checkpoint_seq: what the next one names as prev_sum */
	struct block_run next[2];  /* reserved for records checkpoint_seq + 1 and + 2 */
	struct block_run run[HEAD_RUNS_MAX];
};

struct place {          /* where a page of a version is */
	uint64_t block; /* 0: no content, all zero */
	uint64_t sum;   /* of its 4096 bytes */
	uint64_t birth; /* record that wrote the block; 0 in `was`: the page was not in the version */
	struct page_meta meta;
};

/* Entries (entries.h): this, for each place that it has a run_place, `is` first, then for each page, for each place, the live
 * slots (if it is its span's first) and the sum (if it has a block). The next page is one page, one block, and one place
 * in the span further; after the span's last comes the first of a span like it. */
struct page_run {
	uint64_t page;
	uint32_t pages;  /* 1 if one of the places has no block */
	uint32_t places; /* 1: is, 2: was */
};
struct run_place {
	uint64_t block, birth; /* birth is not 0 */
	uint32_t span_pages, page_in_span;
	uint8_t class, flags, zero[6];
};

struct record {
	uint64_t magic, sum;
	uint64_t chain_id, seq;
	uint64_t prev_sum;
	uint64_t durable_seq;
	uint64_t oldest_kept;
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

/* A checkpoint: this, then entries (without was), deads, records. */
struct checkpoint {
	uint64_t magic, chain_id, seq, bytes;
	uint64_t pages, deads, records, oldest_kept;
	struct version_info info;
};
struct dead { /* a block that no version from `death` on needs */
	uint64_t block, death;
};
struct record_place { /* every record whose version is kept, or that is younger than the checkpoint */
	uint64_t seq, sum, block;
	uint64_t blocks; /* it is one run of so many; 0: its header tells */
};

static_assert(sizeof(struct page_meta) == 48, "page_meta");
static_assert(sizeof(struct super) == 56, "super");
static_assert(sizeof(struct extent_table) <= SPM_BLOCK_BYTES, "extent table fits its block");
static_assert(sizeof(struct chain_head) <= SPM_BLOCK_BYTES, "head fits its block");
static_assert(sizeof(struct record) <= RECORD_HEADER_BYTES, "record header");

#endif
