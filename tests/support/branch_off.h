/* branch_off.h - a branch that begins with what a chain shows. */
#ifndef TEST_BRANCH_OFF_H
#define TEST_BRANCH_OFF_H

#include "volume/volume.h"

/* 0 or -errno. out: NULL, or it is open for writing. */
int branch_off(struct volume *v, int magic, struct chain *from, const char *name, struct chain **out);

#endif
