/* log.h - the inputs of a branch, in the order in which they were recorded.
 *
 *   position   begin                                                  end
 *     |          |                                                      |
 *     v          v                                                      v
 *     ...........[at|bytes| input |pad][at|bytes| input |pad][at|bytes| input |pad]
 *     |   page   |   page   |   page   |   page   |   page   |   page   |   page   |
 *
 * A log is a stream of inputs, each behind a header of 16 bytes and padded to a multiple of 8. Positions count its bytes since the
 * beginning of all time, so a position tells what a version has in it: the inputs before it. The
 * version's description names it (version_info.input), and the inputs that it lacks are found without a search.
 *
 * The stream is kept in a chain of its own, whose name is a colon and the number of the branch's chain: no branch can have it. Page n of
 * the stream is page n of that chain (modulo 2^31), and the description of its newest version says where the stream begins and ends:
 * so one commit, of the page that the stream ended in and those behind it, appends any number of inputs, and a crash leaves all of
 * them or none. Only the newest version of the log is kept.
 *
 * The inputs that no version lacks are let go: `begin` moves at once, their pages leave the chain with the commits that follow, a bounded
 * number each.
 */
#ifndef SPM_LOG_H
#define SPM_LOG_H

#include "volume/volume.h"

struct log;
struct log_input {
	const void *bytes;
	size_t n;
	uint64_t end;           /* out: the position behind it */
	struct log_input *next; /* to be recorded behind this one */
};

/* The log of the branch whose chain has that id, for writing. If there is none, it begins at `position`. One writer at a
 * time: that of the branch. Errors as spm_chain_open's. */
int spm_log_open(struct volume *v, int magic, uint64_t chain_id, uint64_t position, unsigned wait_ms, struct log **out);
void spm_log_close(struct log *l);
void spm_log_leave(struct log *l);         /* as spm_chain_leave */
uint64_t spm_log_end(const struct log *l); /* the position behind the newest input */
/* All inputs of the list, durable on return, or, on failure, none of them, and the log is as it was. What lies before `needless` may be
 * let go. One call at a time. -EFBIG: there is no room for so much in any log. */
int spm_log_append(struct log *l, struct log_input *first, uint64_t needless);
/* As spm_chain_maintain. */
int spm_log_maintain(struct log *l, bool idle, bool *again);

/* fn for the inputs behind `position`, of the log of the branch whose chain has that id, as it is now: until fn returns non-zero,
 * which is returned. bytes: aligned to 8, good during the call. `end`: the position behind it. No log: no inputs. -ENOENT: some of
 * them are not kept any more; -EUCLEAN. */
int spm_log_each(struct volume *v, int magic, uint64_t chain_id, uint64_t position,
                 int (*fn)(const void *bytes, size_t n, uint64_t end, void *arg), void *arg);
/* It must not be open. No log: 0. Errors as spm_branch_delete's. */
int spm_log_delete(struct volume *v, int magic, uint64_t chain_id);
/* Verifies all inputs of that branch: fn gets a sentence for the first damage, if there is one. Returns 0, 1 if there is, or -errno. */
int spm_log_check(struct volume *v, int magic, const char *branch, int (*fn)(const char *sentence, void *arg),
                  void *arg);
/* Whether the branch has inputs, or had: then its versions' positions are those of its log. 1, 0 or -errno. */
int spm_log_exists(struct volume *v, int magic, uint64_t chain_id);
/* Its bytes behind the position. 0 or -errno. */
int spm_log_bytes(struct volume *v, int magic, uint64_t chain_id, uint64_t position, uint64_t *bytes);

#endif
