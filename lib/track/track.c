/* track.c - chooses between the kernel's asynchronous write-protect and mprotect: the first that works, or the one
 * that $SOFTPM_TRACK names, which then must. A forked child chooses again, for descriptors and registrations
 * belong to its parent. */
#include "track/track.h"
#include "track/internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const struct tracker *chosen;
static pthread_mutex_t choice_lock = PTHREAD_MUTEX_INITIALIZER;

static int choose(void)
{
	static const struct tracker *const all[] = {&spm_track_wp, &spm_track_mprotect};
	const char *forced = getenv("SOFTPM_TRACK");
	int err = -ENOSYS;

	for (unsigned i = 0; i < 2 && !chosen; i++) {
		if (forced && *forced && strcmp(forced, all[i]->name))
			continue;
		err = all[i]->init();
		if (!err)
			chosen = all[i];
	}
	return chosen ? 0 : err;
}

int spm_track_init(void)
{
	int err;

	pthread_mutex_lock(&choice_lock);
	err = chosen ? 0 : choose();
	pthread_mutex_unlock(&choice_lock);
	return err;
}

const char *spm_track_name(void)
{
	return chosen ? chosen->name : "";
}

int spm_track_collect(pageno_t first, uint32_t pages, void (*dirty)(pageno_t first, uint32_t pages, void *arg),
                      void *arg)
{
	return chosen ? chosen->collect(first, pages, dirty, arg) : -ENOSYS;
}

void spm_track_note_others(bool have_run)
{
	spm_wp_note_others(have_run);
}

bool spm_track_is_cold(pageno_t first, uint32_t pages)
{
	return chosen && chosen->is_cold(first, pages);
}

int spm_track_collapse(pageno_t first, uint32_t pages)
{
	return chosen ? chosen->collapse(first, pages) : -ENOSYS;
}

void spm_track_forget(pageno_t first, uint32_t pages)
{
	if (chosen)
		chosen->forget(first, pages);
}

void spm_track_after_fork(void)
{
	if (chosen)
		chosen->after_fork();
	chosen = NULL; /* the child prepares its own when it wants one */
	pthread_mutex_init(&choice_lock, NULL);
}
