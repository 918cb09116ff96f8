/* pins.h - versions that are being read, here or by other processes, are not dropped.
 *
 * Who reads a version has a shared lock on its number's byte, which ends with the process however that ends; who drops it has
 * the exclusive one until the disk says that it is gone. A reader pins first and looks then whether the version is still there.
 * Locks belong to the whole process, so within it pins are counted, and where versions are being dropped none is pinned; and who
 * writes a chain is known.
 */
#ifndef SPM_PINS_H
#define SPM_PINS_H

#include "volume/internal.h"

/* 0; -EAGAIN: it, or one near it, is being dropped just now. */
int spm_version_pin(struct chain *c, uint64_t seq);
void spm_version_unpin(struct chain *c, uint64_t seq);

/* Until spm_drop_end nobody here pins a version from..to of the chain. 0 or -ENOMEM. */
int spm_drop_begin(struct chain *c, uint64_t from, uint64_t to);
/* Whether nobody reads it; then nobody will before spm_drop_done. */
bool spm_drop_try(struct chain *c, uint64_t seq);
void spm_drop_done(struct chain *c, uint64_t seq);
void spm_drop_end(struct chain *c);

/* Before the chain is deleted: nobody reads any of its versions, or will before spm_chain_unseize. -EAGAIN: somebody does. */
int spm_chain_seize(struct chain *c);
void spm_chain_unseize(struct chain *c);

/* This process writes the chain from now on. -EBUSY: it does already, and did for wait_ms; -ENOMEM. */
int spm_writing_begin(struct chain *c, unsigned wait_ms);
void spm_writing_end(struct chain *c);

#endif
