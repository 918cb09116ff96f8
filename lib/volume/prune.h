/* prune.h - dropping versions: which, and which blocks become free by that.
 *
 * A block is needed by the versions birth .. death - 1 of its chain. When version v is dropped, with p the kept version before
 * it and n the one after, the blocks that only v needed are those with p < birth <= v < death <= n. Deaths of late are
 * remembered (chain->dead); of older versions they are found by going from v's map to n's. Branches need nothing that their
 * origin does not, and origins are not dropped: so a chain frees its own blocks without asking others, and never another's.
 *
 * Which versions are dropped: those beyond the newest versions_kept, and those that their age lets go (retention.h), but for tagged
 * ones, origins of branches, and those that are being read.
 */
#ifndef SPM_PRUNE_H
#define SPM_PRUNE_H

#include "volume/history.h"

struct drop {
	uint64_t seq, before, after; /* kept versions around it */
	bool is_late;                /* its deaths are remembered */
};
struct drops {
	struct history history; /* without them; as of when this was made */
	struct drop *drop;
	size_t n;
	uint64_t seen;         /* versions before this one were looked at */
	struct block_run *run; /* that become free, beside those of late deaths */
	size_t runs;
	bool is_all;
};

/* With maintain_lock held, not chain->lock. Until spm_drops_end nobody can begin to read them. is_all: more than is good for a
 * step between commits. */
int spm_drops_make(struct chain *c, bool is_all, struct drops *d);
/* Calls fn for all blocks that become free. With chain->lock held. */
void spm_drops_each_block(struct chain *c, const struct drops *d,
                          void (*fn)(uint64_t block, uint64_t blocks, void *arg), void *arg);
/* The disk says that they are gone: their blocks are free. With chain->lock held. */
void spm_drops_take_effect(struct chain *c, const struct drops *d);
void spm_drops_end(struct chain *c, struct drops *d);

/* About how many blocks wait for versions to be dropped that are not to be kept: those that died in them, and maps and records that only
 * they need; as far as nobody has looked yet. With chain->lock held. */
uint64_t spm_droppable_blocks(struct chain *c);
/* Whether there are more than a few such versions whose deaths nobody remembers. With chain->lock held. */
bool spm_has_early_drops(const struct chain *c);

#endif
