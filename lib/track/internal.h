/* internal.h - one way of tracking, as track.c sees it. Arguments and results as in track.h. */
#ifndef SPM_TRACK_INTERNAL_H
#define SPM_TRACK_INTERNAL_H

#include "base/base.h"

struct tracker {
	const char *name;
	int (*init)(void);
	int (*collect)(pageno_t first, uint32_t pages, void (*dirty)(pageno_t first, uint32_t pages, void *arg),
	               void *arg);
	bool (*is_cold)(pageno_t first, uint32_t pages);
	int (*collapse)(pageno_t first, uint32_t pages);
	void (*forget)(pageno_t first, uint32_t pages);
	void (*after_fork)(void);
};
extern const struct tracker spm_track_wp, spm_track_mprotect;

void spm_wp_note_others(bool have_run);

/* The userfaultfd of the wp tracker; -1 if it is not in use, or serves_kernel is wanted and it is not of that kind. */
int spm_wp_descriptor(bool serves_kernel);

#endif
