/* see_items.h - for see.c: see_items.c */
#ifndef SPM_DS_SEE_ITEMS_H
#define SPM_DS_SEE_ITEMS_H

#include "see.h"

/* Whether the numbers make sense. */
bool spm_items_are_ones(const struct spm_shown_items *h);
/* As spm_see_next. */
int spm_items_next(struct spm_seeing *s, struct spm_seen *out);

#endif
