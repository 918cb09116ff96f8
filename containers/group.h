/* group.h - callers that share one commit.
 *
 *   join -> nobody leads -> leads: takes all who wait by now, commits for them, wakes one of those who came meanwhile to lead next,
 *        |                  tells its group
 *        -> waits --------> is told; or is woken to lead
 *
 * There is one leader at a time, so he is alone with whatever the group commits to.
 */
#ifndef SPM_GROUP_H
#define SPM_GROUP_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

/* A caller that waits for somebody's commit, or for its turn to make one. */
struct member {
	struct member *next;
	sem_t wake;
	bool is_done; /* else it is to lead */
	int64_t number;
	int err;
	char message[512];
	/* NULL, or: to be called by the leader, once the group's state is captured. */
	void (*captured)(void *arg);
	void *arg;
};
struct group { /* guarded by a lock of its owner's */
	struct member *first, *last;
	bool has_leader;                /* one of them leads, or was told to */
	unsigned waiting, waiting_last; /* how many they are; how many shared the last commit */
};

/* Called with the lock. True: the caller leads, and has the lock; false: its commit was made by another, and it has not. */
bool spm_group_join(struct group *g, pthread_mutex_t *lock, struct member *me);
/* By the leader, with the lock: all who wait by now, in the order they came; if several shared the last commit, those who are likely to be
 * about to come are waited for. The caller is among them. */
struct member *spm_group_take(struct group *g, pthread_mutex_t *lock);
/* By the leader, with the lock, after his commit: the next one may lead. */
void spm_group_pass(struct group *g);
/* To all that were taken, without the lock: they are done, and what came of it stands in them. */
void spm_group_tell(struct member *first, const struct member *leader);

#endif
