/* internal.h - what the files of lib/volume know of each other.
 *
 * A chain's state in memory
 *   map       page -> where the newest version's content is
 *   free      a bit for each block of the chain's extents: nobody needs it
 *   segments  where the maps and records of all its versions are (history.h tells of them)
 *   kept      which versions must stay readable
 *   deads     blocks that died lately: which version wrote them, which one did without
 *   records   places of the latest records
 *
 * Invariants (spm_chain_self_check)
 *  1. A block of the chain's extents is not free if and only if a kept version needs it (as a page; as a map or record on the
 *     way to it), or it is the index's, the head's, reserved for a record, being written, or a group's.
 *  2. segments, kept, deads (by death) and records are ascending; the last range of kept ends with the newest version.
 *  3. Blocks are written only while free or reserved, and only by the commit, map or index that took them.
 *  4. What a version needs no more is free only once an index that says so is durable: so what recovery finds free, minus
 *     what later records took, is free.
 *
 * chain->lock guards all of it; chain->maintain_lock who writes maps, the index and the head. volume->lock guards the
 * extent tables in this process, driver lock 1 between processes; volume->pins_lock, which takes no other, pins and writers. Order:
 * chain->maintain_lock, chain->lock, volume->lock.
 */
#ifndef SPM_VOLUME_INTERNAL_H
#define SPM_VOLUME_INTERNAL_H

#include "volume/entries.h"

#include <pthread.h>
#include <stdatomic.h>

struct pin { /* versions that are being read in this process, or, count 0, dropped: pins.h */
	uint64_t chain_id, from, to;
	unsigned count;
};

struct volume {
	struct driver *driver;
	unsigned flags;
	struct super super;
	pthread_mutex_t lock;
	_Atomic bool is_poisoned; /* a flush or durable write failed: nothing is written until it is opened again */
	pthread_mutex_t pins_lock;
	struct pin *pin;
	size_t pins;
	uint64_t *writing; /* chains that somebody in this process writes: driver locks keep out other processes only */
	size_t writings;
};

enum {
	MAP_LEAF_PAGES = 2048,
	MAP_LEAVES = 1 << 21, /* pages below 2^32 heap, then as many blob pages */
	MAP_GROUP_LEAVES = 512
};

enum { BRANCH_DEPTH_MOST = 100 };

/* Chains beside the branches: that of the names has none (refs.h), those of the branches' logs have ones that begin so (log.h). */
#define SPM_LOG_MARK ':'
static inline bool spm_is_log(const char *name)
{
	return *name == SPM_LOG_MARK;
}
static inline bool spm_is_branch(const char *name)
{
	return *name && !spm_is_log(name);
}

struct map {                 /* map.c */
	struct place **leaf; /* [MAP_LEAVES] of MAP_LEAF_PAGES */
	struct source_run *draft;
	size_t drafts, draft_room;
	void **image; /* what drafts lie in */
	size_t images;
	bool has_leaves[MAP_LEAVES / MAP_GROUP_LEAVES];
	uint64_t pages, patch_bytes;
};

struct extent {
	uint64_t first; /* block */
	uint64_t free[EXTENT_BLOCKS / 64];
	unsigned free_count;
	unsigned longest_most; /* no run within it is longer than this */
	unsigned cold_from;    /* what is free there, from here on, was never written */
};

struct segment {
	struct segment_entry e;
	struct block_run *run; /* e.runs of them */
};

struct history { /* history.h */
	struct segment *segment;
	size_t segments;
	struct kept_range *kept;
	size_t kept_count;
};

struct dead {                         /* the versions birth .. death - 1 need the block */
	uint64_t block, birth, death; /* block 0: given back */
};
struct record_place {
	uint64_t seq, block;
	uint64_t blocks; /* it is one run of so many; 0: its header tells */
};

struct chain {
	struct volume *volume;
	bool is_writer;
	bool is_settled;    /* what it was opened with is durable */
	bool is_at_version; /* that was asked for: whether it is the newest nobody knows */
	uint64_t id;
	int magic;
	char branch[64];
	uint64_t head_block;
	pthread_mutex_t maintain_lock, lock;

	struct map map;
	struct history history;
	struct extent *extent; /* ascending */
	size_t extents;
	size_t cursor_extent;
	unsigned cursor_block;
	uint64_t free_blocks;
	struct {
		const struct block_run *run;
		unsigned runs;
	} planned[2]; /* of a map and an index that are being written */

	struct dead *dead; /* all deaths from deads_from on, but for those given back */
	size_t dead_from, dead_to, dead_room;
	uint64_t deads_from;
	struct thinned { /* retention.h: versions up to `seen` were looked at, the last one lies in this piece of time */
		uint64_t seen, piece;
	} thinned[2];
	bool has_retention; /* of its own, not the newest version's */
	struct retention retention;
	uint64_t retention_due_ns;   /* when to look again; since 1970 */
	uint64_t deaths_seen;        /* those up to this version were looked at when versions were last dropped */
	struct record_place *record; /* from records_from on */
	size_t record_from, record_to, record_room;
	uint64_t records_from;

	struct chain_head head; /* as on disk; changed only under both locks */
	uint64_t index_seq;     /* of the index on disk */
	uint64_t seq, last_sum;
	struct block_run next[2];
	uint64_t place_blocks; /* that small commits took lately, at most */
	bool lacks_places;     /* as long as these: more extents are due */
	bool is_cold;          /* an extent may have a cold_from */
	struct version_info newest;
	uint64_t record_bytes_since_map;
	_Atomic uint64_t pinned_seq; /* of a reader: what it pins; 0: nothing */
	unsigned depth;              /* how many branches lead here, while an origin's map is looked for */
	_Atomic bool
	        has_work; /* for maintain: so that it need not ask for the lock, which commits hold nearly always */

	unsigned char *buffer; /* for small commits: aligned */
	struct bases *bases;   /* of a writer, from its first small commit on */
};

/* A place holds a whole small commit. Writing 256 KiB takes less than a second flush (bench/run ycsb, mix A, durable each 100: 23% more
 * than with 32 blocks); commits below 4 blocks are the rule. */
enum { PLACE_BLOCKS = 64, PLACE_LEAST_BLOCKS = 4, BUFFER_BYTES = PLACE_BLOCKS * SPM_BLOCK_BYTES };

/* error.c: keeps the sentence, returns err. */
int spm_volume_fail(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "WHAT block N of the volume failed: ...", and what to do about it. */
int spm_volume_fail_io(int err, const char *what, uint64_t block);

/* volume.c: mirrored blocks and extents. */
uint64_t spm_block_sum(const void *block, size_t bytes, size_t sum_offset);
int spm_mirror_write(struct volume *v, uint64_t block, void *content, size_t sum_offset);
/* One that nothing names yet: both copies at once. */
int spm_mirror_make(struct volume *v, uint64_t block, const void *content, size_t sum_offset);
int spm_mirror_read(struct volume *v, uint64_t block, void *content, size_t sum_offset, uint64_t magic);
bool spm_mirror_is_torn(struct volume *v, uint64_t block); /* the copies differ, or that can't be told */
int spm_blocks_read(struct volume *v, uint64_t block, void *buffer, uint64_t blocks);
/* They will be read soon: a hint. */
void spm_blocks_expect(struct volume *v, uint64_t block, uint64_t blocks);
/* A failure of the two last poisons the volume. */
int spm_blocks_write(struct volume *v, uint64_t block, const void *buffer, uint64_t blocks);
int spm_blocks_write_durable(struct volume *v, uint64_t block, const void *buffer, uint64_t blocks);
int spm_volume_flush(struct volume *v);
/* Blocks, or extents, that nobody uses: writing to them durably will cost no more than it does later. If that fails, only speed is
 * lost; a trouble that stays shows at the next commit. */
void spm_blocks_warm(struct volume *v, uint64_t block, uint64_t blocks);
void spm_extents_warm(struct volume *v, uint64_t first_block, unsigned n);
int spm_volume_bytes(struct volume *v, uint64_t *bytes);
/* What the table keeps of a branch's name: others need not be looked at. */
uint32_t spm_name_hash(const char *branch);
/* Takes up to n extents in a row for a chain. If `first`: the extent becomes the chain's first, and `first` is called
 * before anything says so, to write the head. */
int spm_extents_take(struct volume *v, uint64_t owner, int magic, uint32_t hash,
                     int (*first)(uint64_t block, void *arg), void *arg, unsigned n, uint64_t *first_block,
                     unsigned *got);
int spm_extents_each(struct volume *v, int (*fn)(uint64_t first_block, const struct extent_entry *e, void *arg),
                     void *arg);
int spm_extents_release(struct volume *v, uint64_t owner);
int spm_extent_read(struct volume *v, uint64_t first_block, struct extent_entry *out); /* as it is now */
/* These, by their first blocks, are nobody's any more. */
int spm_extents_give(struct volume *v, uint64_t owner, const uint64_t *first, size_t n);

/* map.c */
/* NULL: not in the version. Else it may have been put into *room. */
const struct place *spm_map_get(const struct map *m, uint64_t page, struct place *room);
struct place *spm_map_make(struct map *m, uint64_t page); /* birth 0 if it is new; NULL: no memory */
bool spm_map_page_is_possible(uint64_t page);
/* The bytes, from malloc, are the map's from now on. 0 or -ENOMEM. */
int spm_map_keep(struct map *m, void *image);
/* The pages of the run come into the map. -EUCLEAN if one is there, or can't be. is_kept: the run's bytes lie in an image that the
 * map keeps. */
int spm_map_add(struct map *m, const struct source_run *r, bool is_kept);
/* But for patches: two places without content or checksum have the same. */
bool spm_place_is(const struct place *a, const struct place *b);
/* A place that spm_map_make gave; takes over the patch, which is malloced. */
void spm_map_set(struct map *m, struct place *p, const struct place *to);
/* The page is no longer at `from` but at `to`, of whose patch there will be a copy. -EUCLEAN if it was not. */
int spm_map_change(struct map *m, uint64_t page, const struct place *from, const struct place *to);
/* In ascending order, until fn returns non-zero, which is returned. The run's bytes stay only if is_kept. */
int spm_map_each_run(const struct map *m, int (*fn)(const struct source_run *r, bool is_kept, void *arg), void *arg);
int spm_map_each(const struct map *m, int (*fn)(uint64_t page, const struct place *p, void *arg), void *arg);
/* The page has left the map: if it was the last in memory of its neighbourhood, that is given back. */
void spm_map_trim(struct map *m, uint64_t page);
int spm_map_list(const struct map *m, struct source_list *out); /* as spm_chain_list */
void spm_map_free(struct map *m);

/* freemap.c */
int spm_free_add_extent(struct chain *c, uint64_t first_block, bool is_first);
int spm_free_use(struct chain *c, uint64_t block, uint64_t blocks); /* -EINVAL if not ours, -EEXIST if not free */
void spm_free_give(struct chain *c, uint64_t block, uint64_t blocks);
bool spm_free_has(struct chain *c, uint64_t block);
/* `claimed` has bits for what was claimed before, extent by extent. -EUCLEAN: one of these was, or is free, or not the chain's. */
int spm_free_claim(struct chain *c, struct extent *claimed, uint64_t block, uint64_t blocks);
bool spm_is_head_block(const struct chain *c, uint64_t block);
/* Sets bits in a copy of the extents. -EINVAL: there is no such extent; -EEXIST: one was set. */
int spm_space_set(struct extent *space, size_t n, uint64_t block, uint64_t blocks);
/* At least `least` and up to `most` free blocks in a row, after the last ones taken. Takes extents if there are none so
 * long; if the volume is full, what there is. */
int spm_free_take(struct chain *c, uint64_t least, uint64_t most, struct block_run *run);
/* The place for a record: of `wanted` blocks or more, to `most`; or of fewer, to `least`: then a chain that has not plenty of room is
 * noted to lack places, and grows off the commit path. */
int spm_free_take_place(struct chain *c, uint64_t wanted, uint64_t least, uint64_t most, struct block_run *run);
/* Up to `most` for pages: long runs are preferred, but holes are filled before the chain is twice what it must be. If it must
 * grow, then for `wanted`. */
int spm_free_take_bulk(struct chain *c, uint64_t most, uint64_t wanted, struct block_run *run);
/* `blocks` in at most `runs_max` runs, appended to run[*n]. On failure *n tells what to give back. */
int spm_free_take_few(struct chain *c, uint64_t blocks, unsigned runs_max, struct block_run *run, unsigned *n);
/* Makes the run longer by free blocks that follow it, to `most`. */
void spm_free_extend(struct chain *c, uint64_t most, struct block_run *run);
/* Forgets extents that are wholly free, but for one, and tells which: first blocks, with room for all. With chain->lock held. */
size_t spm_free_forget(struct chain *c, uint64_t *first);
/* Takes more extents off the commit path: called without chain->lock, which is not held while the volume grows. */
int spm_free_grow(struct chain *c);
/* Writes zeros to some of what commits took and left cold; off the commit path likewise, with maintain_lock held: an index that is written
 * meanwhile would take these blocks for used. */
void spm_free_warm(struct chain *c);

/* chain.c */
int spm_lists_prepare(struct chain *c, size_t deads, size_t records);     /* so many adds will not fail */
int spm_dead_add(struct chain *c, const struct place *p, uint64_t death); /* if it has a block, and one of this chain */
int spm_record_add(struct chain *c, const struct record_place *r);
struct chain *spm_chain_new(struct volume *v, int magic, const char *branch); /* NULL: no memory */
void spm_chain_free(struct chain *c);
/* As spm_chain_settle, with chain->lock held: before a writer writes anything. */
int spm_chain_settle_locked(struct chain *c);
/* For writing; it is made if it is not there. */
int spm_chain_have(struct volume *v, int magic, const char *branch, unsigned wait_ms, struct chain **out);
/* A chain without its map, or version: only head and history. Nothing is pinned. */
int spm_chain_open_history(struct volume *v, int magic, const char *branch, uint64_t id, struct chain **out);
/* The writer's lock: -EAGAIN, and the sentence. Unlocking what is not locked does nothing. */
int spm_writer_lock(struct chain *c, unsigned wait_ms);
void spm_writer_unlock(struct chain *c);
const char *spm_chain_kind(const char *name); /* in words: of one that is no branch */

/* heads.c */
uint64_t spm_head_block_of(uint64_t first_block); /* of a chain's first extent */
bool spm_is_chain(const struct extent_entry *e);  /* the first extent of one that is there */
/* Calls fn with the place of each head of the container; of a damaged one only id and container are told. */
int spm_head_places_each(struct volume *v, int magic,
                         int (*fn)(uint64_t first_block, const struct chain_head *head, void *arg), void *arg);
/* The chain of that branch, or, if branch is NULL, with that id: its head. 1: found, 0: not there, or -errno. */
int spm_head_find(struct volume *v, int magic, const char *branch, uint64_t id, struct chain_head *head,
                  uint64_t *first_block);
/* Calls fn for the head of each chain of the container until it returns non-zero, which is returned. -EUCLEAN, at the end: some can't be
 * read. */
int spm_heads_each(struct volume *v, int magic, int (*fn)(const struct chain_head *head, void *arg), void *arg);

/* map_image.c: one version's map as bytes on the disk. *bytes: with room for whole blocks, to be freed. */
int spm_map_image_make(struct map *m, uint64_t chain_id, uint64_t seq, const struct version_info *info,
                       unsigned char **bytes, uint64_t *length);
int spm_map_image_load(struct chain *c, const struct segment *s, struct map *to, struct version_info *info);
/* Blocks in runs, whole. -EUCLEAN: the runs are not that long. */
int spm_runs_read(struct volume *v, const struct block_run *run, uint64_t runs, void *to, uint64_t blocks);
int spm_runs_write(struct volume *v, const struct block_run *run, uint64_t runs, const void *from);

/* index.c */
/* Replaces c->head, which tells of it: everything is durable on return. Drops versions that are to be kept no more. with_map:
 * a new segment begins. With maintain_lock held, or before anybody else knows the chain. */
int spm_index_write(struct chain *c, bool with_map);
struct drops;
int spm_index_write_with(struct chain *c, bool with_map, struct drops *drops); /* these, whose end is the caller's */
int spm_index_load(struct chain *c, bool with_space);                          /* of c->head */
int spm_head_write(struct chain *c, const struct chain_head *head);
uint64_t spm_map_weight(const struct chain *c); /* about how many bytes the next map will have */

/* read.c: -EUCLEAN, and the sentence. */
int spm_page_damaged(const struct chain *c, uint64_t version, uint64_t page, uint64_t block);

/* commit.c: tells the head that all is durable; locks as spm_head_write */
int spm_chain_note_durable(struct chain *c);

/* recover.c */
/* Of a writer: the extents are there, and the index has been taken into account. */
int spm_chain_recover(struct chain *c, unsigned flags);
/* Sets in `needed`, a copy of the extents without any bit, what invariant 1 says is not free. Reads the maps of all versions. */
int spm_space_needed(struct chain *c, struct extent *needed);
int spm_record_read(struct volume *v, uint64_t block, struct record **out); /* whole, its sum verified; malloced */
bool spm_info_is_sane(const struct version_info *i);                        /* its text ends, its number is one */
/* 0 or -EILSEQ: whether a record of the chain that was read and is whole is one that was committed, as far as its pages say. */
int spm_record_counts(struct chain *c, const struct record *r);
/* 0: something says that the record after c->seq was durable; -EILSEQ: nothing does. */
int spm_next_was_durable(struct chain *c);
bool spm_record_is_ours(const struct chain *c, const struct record *r, uint64_t seq);

static inline struct entry_cursor record_entries(const struct record *r)
{
	const unsigned char *bytes = (const unsigned char *)r;

	return (struct entry_cursor){.at = bytes + RECORD_HEADER_BYTES, .end = bytes + r->bytes};
}

#endif
