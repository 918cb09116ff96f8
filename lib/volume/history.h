/* history.h - where the map of any version is, and which versions are kept.
 *
 *   segment            segment                                    segment
 *   map r r r r r r    map r r r r r r r r                        map r r r            r: record, one version
 *        ^ kept         ^     ^ ^ kept
 *
 * A segment is a map and the records that followed it, until another map was written; the map of any version is its segment's,
 * changed by the records up to it. Maps are written when the records since the last one weigh more than it will, so any version
 * is as near as any other, and maps cost no more than records do. A chain's first segment has no map: it begins empty, or, if
 * the chain is a branch, with the version that it branched off, its origin, whose seq it goes on from.
 *
 * A version is kept until it is dropped (prune.c). What of a segment lies behind its last kept version goes with that;
 * a segment without kept versions goes as a whole.
 */
#ifndef SPM_HISTORY_H
#define SPM_HISTORY_H

#include "volume/internal.h"

/* The segment that leads to this version, or NULL: none does. */
const struct segment *spm_segment_of(const struct history *h, uint64_t seq);
/* Appends; takes over run. 0 or -ENOMEM. */
int spm_segment_add(struct history *h, const struct segment_entry *e, struct block_run *run);
void spm_history_free(struct history *h);
/* A copy of its own, for changing. 0 or -ENOMEM. */
int spm_history_copy(const struct history *from, struct history *to);

bool spm_kept_has(const struct history *h, uint64_t seq);
/* The nearest kept version after, or before, this one; 0: none. */
uint64_t spm_kept_after(const struct history *h, uint64_t seq);
uint64_t spm_kept_before(const struct history *h, uint64_t seq);
int spm_kept_remove(struct history *h, uint64_t seq); /* one that is kept. 0 or -ENOMEM */
int spm_kept_add_newest(struct history *h, uint64_t seq, uint64_t time_ns);
/* The n-th newest; 0 if there are fewer, or n is 0. */
uint64_t spm_kept_nth_newest(const struct history *h, uint64_t n);

/* Goes through versions from a segment's map on. */
struct replay {
	struct chain *c;
	struct map *map;
	const struct segment *segment;
	uint64_t seq, sum; /* of the record that was taken in last */
	struct version_info info;
	struct block_run next[2];
};
/* Loads the segment's map into `map`, which is empty. -EUCLEAN: the sentence is told. */
int spm_replay_begin(struct replay *r, struct chain *c, const struct segment *s, struct map *map);
/* The record that follows, malloced. -EILSEQ: there is none that belongs here. */
int spm_replay_read(const struct replay *r, struct record **out);
/* Takes it in. -EUCLEAN: it contradicts the map. */
int spm_replay_apply(struct replay *r, const struct record *record, bool is_kept);
/* Before that: whether the map keeps the record's bytes from now on, for its runs to lie in. Else the caller frees them. */
bool spm_replay_keeps(struct replay *r, struct record *record);
/* The sentence about the record that follows; -EUCLEAN. */
int spm_replay_damaged(const struct replay *r);
/* Reads and takes in the one that follows, of the newest segment if it counts. -ENOENT: there is none. -EUCLEAN: there was one; the
 * sentence is told. */
int spm_replay_step(struct replay *r);

/* The map of a version, into an empty one. The chain's own map and lock are not needed, only head and history. -EUCLEAN: the
 * sentence is told. */
int spm_version_load(struct chain *c, uint64_t seq, struct map *map, struct version_info *info);
/* The same, but the caller goes on from there. */
int spm_replay_to(struct replay *r, struct chain *c, uint64_t seq, struct map *map);

#endif
