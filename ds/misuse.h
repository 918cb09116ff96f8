/* misuse.h - builds with SPM_DEBUG end a program that uses a structure wrongly, with a sentence. */
#ifndef SPM_DS_MISUSE_H
#define SPM_DS_MISUSE_H

#include <stdio.h>
#include <stdlib.h>

#ifdef SPM_DEBUG
static inline void spm_must(int is_so, const char *sentence)
{
	if (is_so)
		return;
	fprintf(stderr, "softpm: %s\n", sentence);
	abort();
}
#else
static inline void spm_must(int is_so, const char *sentence)
{
	(void)is_so, (void)sentence;
}
#endif

#endif
