/* internal.h - what the files of lib/volume know of each other.
 *
 * A chain's state in memory
 *   map      page -> where its newest content is (map.c)
 *   free     a bit for each block of the chain's extents: nobody needs it
 *   deads    blocks that no version from `death` on needs, in order of death
 *   records  the records of kept versions and of those since the checkpoint, in order
 *
 * Invariants (spm_chain_self_check)
 *  1. A block of the chain's extents is in exactly one place: free; the map; deads; a record; the checkpoint; one that
 *     is being written; a place reserved for a record; the head; a group's reserved blocks.
 *  2. deads and records are in ascending order; the last record is the newest.
 *  3. Blocks are written only while free or reserved, and only by the commit or checkpoint that took them.
 *
 * chain->lock guards all of it; chain->maintain_lock who writes checkpoints and the head. volume->lock guards the
 * extent tables in this process, driver lock 1 between processes. Order: chain->maintain_lock, chain->lock,
 * volume->lock.
 */
#ifndef SPM_VOLUME_INTERNAL_H
#define SPM_VOLUME_INTERNAL_H

#include "volume/entries.h"

#include <pthread.h>
#include <stdatomic.h>

struct volume {
	struct driver *driver;
	unsigned flags;
	struct super super;
	pthread_mutex_t lock;
	_Atomic bool is_poisoned; /* a flush or durable write failed: nothing is written until it is opened again */
};

enum {
	MAP_LEAF_PAGES = 2048,
	MAP_LEAVES = 1 << 21, /* pages below 2^32 heap, then as many blob pages */
	MAP_GROUP_LEAVES = 512
};

struct extent {
	uint64_t first; /* block */
	uint64_t free[EXTENT_BLOCKS / 64];
	unsigned free_count;
	unsigned longest_most; /* no run within it is longer than this */
};

struct chain {
	struct volume *volume;
	bool is_writer;
	uint64_t id;
	int magic;
	char branch[64];
	uint64_t head_block;
	pthread_mutex_t maintain_lock, lock;

	struct place **leaf; /* [MAP_LEAVES] of MAP_LEAF_PAGES */
	struct source_run *draft;
	size_t drafts, draft_room;
	void **image; /* what drafts lie in */
	size_t images;
	bool has_leaves[MAP_LEAVES / MAP_GROUP_LEAVES];
	uint64_t pages;

	struct extent *extent; /* ascending */
	size_t extents;
	size_t cursor_extent;
	unsigned cursor_block;
	uint64_t free_blocks, planned_blocks; /* planned: of a checkpoint that is being written */

	struct dead *dead;
	size_t dead_from, dead_to, dead_room;
	struct record_place *record;
	size_t record_from, record_to, record_room;

	struct chain_head head; /* as on disk; changed only under both locks */
	uint64_t seq, last_sum, oldest_kept;
	uint64_t pinned; /* a version whose pages are still being read; 0: none */
	struct block_run next[2];
	struct version_info newest;
	uint64_t record_bytes_since_checkpoint;
	_Atomic bool
	        has_work; /* for maintain: so that it need not ask for the lock, which commits hold nearly always */

	unsigned char *buffer; /* for small commits: aligned */
};

/* A place holds a whole small commit. Writing 128 KiB takes less than a second flush; commits below 4 blocks are the
 * rule. */
enum { PLACE_BLOCKS = 32, PLACE_LEAST_BLOCKS = 4, BUFFER_BYTES = PLACE_BLOCKS * SPM_BLOCK_BYTES };

/* error.c: keeps the sentence, returns err. */
int spm_volume_fail(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "WHAT block N of the volume failed: ...", and what to do about it. */
int spm_volume_fail_io(int err, const char *what, uint64_t block);

/* volume.c: mirrored blocks and extents. */
uint64_t spm_block_sum(const void *block, size_t bytes, size_t sum_offset);
int spm_mirror_write(struct volume *v, uint64_t block, void *content, size_t sum_offset);
int spm_mirror_read(struct volume *v, uint64_t block, void *content, size_t sum_offset, uint64_t magic);
int spm_blocks_read(struct volume *v, uint64_t block, void *buffer, uint64_t blocks);
/* A failure of the two last poisons the volume. */
int spm_blocks_write(struct volume *v, uint64_t block, const void *buffer, uint64_t blocks);
int spm_blocks_write_durable(struct volume *v, uint64_t block, const void *buffer, uint64_t blocks);
int spm_volume_flush(struct volume *v);
/* Extents that nobody uses yet: writing to them durably will cost no more than it does later. If that fails, only speed is lost;
 * a trouble that stays shows at the next commit. */
void spm_extents_warm(struct volume *v, uint64_t first_block, unsigned n);
int spm_volume_bytes(struct volume *v, uint64_t *bytes);
/* Takes up to n extents in a row for a chain. If `first`: the extent becomes the chain's first, and `first` is called
 * before anything says so, to write the head. */
int spm_extents_take(struct volume *v, uint64_t owner, int magic, int (*first)(uint64_t block, void *arg), void *arg,
                     unsigned n, uint64_t *first_block, unsigned *got);
int spm_extents_each(struct volume *v, int (*fn)(uint64_t first_block, const struct extent_entry *e, void *arg),
                     void *arg);
int spm_extents_release(struct volume *v, uint64_t owner);

/* map.c */
/* NULL: not in the version. Else it may have been put into *room. */
const struct place *spm_map_get(const struct chain *c, uint64_t page, struct place *room);
struct place *spm_map_make(struct chain *c, uint64_t page); /* birth 0 if it is new; NULL: no memory */
bool spm_map_page_is_possible(uint64_t page);
/* The bytes, from malloc, are the map's from now on. 0 or -ENOMEM. */
int spm_map_keep(struct chain *c, void *image);
/* The pages of the run come into the map. -EUCLEAN if one is there, or can't be. is_kept: the run's bytes lie in an image that the
 * map keeps. */
int spm_map_add(struct chain *c, const struct source_run *r, bool is_kept);
/* The page is no longer at `from` but at `to`. -EUCLEAN if it was not. */
int spm_map_change(struct chain *c, uint64_t page, const struct place *from, const struct place *to);
/* In ascending order, until fn returns non-zero, which is returned. The run's bytes stay only if is_kept. */
int spm_map_each_run(const struct chain *c, int (*fn)(const struct source_run *r, bool is_kept, void *arg), void *arg);
int spm_map_each(const struct chain *c, int (*fn)(uint64_t page, const struct place *p, void *arg), void *arg);
void spm_map_free(struct chain *c);

/* freemap.c */
int spm_free_add_extent(struct chain *c, uint64_t first_block, bool is_first);
int spm_free_use(struct chain *c, uint64_t block, uint64_t blocks); /* -EINVAL if not ours, -EEXIST if not free */
void spm_free_give(struct chain *c, uint64_t block, uint64_t blocks);
/* At least `least` and up to `most` free blocks in a row, after the last ones taken. Takes extents if there are none so
 * long; if the volume is full, what there is. */
int spm_free_take(struct chain *c, uint64_t least, uint64_t most, struct block_run *run);
/* The place for a record: of `wanted` blocks or more, to `most`; but a chain that has twice the room that it must have
 * makes do with `least`. */
int spm_free_take_place(struct chain *c, uint64_t wanted, uint64_t least, uint64_t most, struct block_run *run);
/* Up to `most` for pages: long runs are preferred, but holes are filled before the chain is twice what it must be. If it must
 * grow, then for `wanted`. */
int spm_free_take_bulk(struct chain *c, uint64_t most, uint64_t wanted, struct block_run *run);
/* `blocks` in at most `runs_max` runs, appended to run[*n]. On failure *n tells what to give back. */
int spm_free_take_few(struct chain *c, uint64_t blocks, unsigned runs_max, struct block_run *run, unsigned *n);
/* Makes the run longer by free blocks that follow it, to `most`. */
void spm_free_extend(struct chain *c, uint64_t most, struct block_run *run);
/* Takes more extents off the commit path: called without chain->lock, which is not held while the volume grows. */
int spm_free_grow(struct chain *c);

/* chain.c */
int spm_dead_add(struct chain *c, uint64_t block, uint64_t death);
int spm_record_add(struct chain *c, const struct record_place *r);
int spm_lists_prepare(struct chain *c, size_t deads, size_t records); /* so many adds will not fail */
void spm_reclaim(struct chain *c); /* frees what no version from oldest_kept on needs */
int spm_record_read(struct volume *v, uint64_t block, struct record **out); /* whole, its sum verified; malloced */
bool spm_info_is_sane(const struct version_info *i, uint64_t seq);          /* its text ends, its number is that */
bool spm_record_is_ours(const struct chain *c, const struct record *r, uint64_t seq);
int spm_record_runs(struct chain *c, const struct record_place *r, struct block_run *run, unsigned *n);

/* checkpoint.c: the first two with maintain_lock held, or before anybody else knows the chain */
int spm_checkpoint_write(struct chain *c);
int spm_head_write(struct chain *c, const struct chain_head *head);
int spm_checkpoint_load(struct chain *c);
uint64_t spm_checkpoint_weight(const struct chain *c); /* about how many bytes the next one will have */

/* commit.c: tells the head that all is durable; locks as spm_head_write */
int spm_chain_note_durable(struct chain *c);

/* recover.c */
int spm_chain_recover(struct chain *c, unsigned flags);
int spm_used_mark(struct chain *c);
/* Makes the map that of the version before record r (which made the newest one). */
int spm_record_undo(struct chain *c, const struct record *r);

static inline struct entry_cursor record_entries(const struct record *r)
{
	const unsigned char *bytes = (const unsigned char *)r;

	return (struct entry_cursor){.at = bytes + RECORD_HEADER_BYTES, .end = bytes + r->bytes};
}

#endif
