/* retention.h - versions that are let go for their age.
 *
 *   now                older_than[0]            older_than[1]                      keep_seconds
 *    | all of them      | one each every_s[0]    | one each every_s[1]              | none
 *
 * Time is cut into pieces of every_s seconds since 1970; of each the first version stays. Going through versions costs reading their
 * records, so each step of the scale remembers how far it came, and a round looks at a bounded number.
 */
#ifndef SPM_RETENTION_H
#define SPM_RETENTION_H

#include "volume/history.h"

/* What holds for the chain. With chain->lock held. */
struct retention spm_retention_of(const struct chain *c);
/* Calls drop for each version from `from` on, ascending, that its age lets go, until it returns non-zero, which is returned. With
 * maintain_lock held. is_all: looks at more than is good for a step between commits. */
int spm_retention_each(struct chain *c, const struct history *h, uint64_t from, bool is_all,
                       int (*drop)(uint64_t seq, void *arg), void *arg);
/* What was told could not be dropped: it will be told again. */
void spm_retention_forget(struct chain *c);
/* Whether it is time to look again. With chain->lock held. */
bool spm_retention_is_due(const struct chain *c, uint64_t now_ns);

#endif
