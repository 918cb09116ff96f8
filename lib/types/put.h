/* put.h - numbers and names of types as bytes: what types.h reads. No memory is remembered, and told at the end. */
#ifndef SPM_PUT_H
#define SPM_PUT_H

#include "base/base.h"

struct types_writing {
	unsigned char *bytes;
	size_t n, room;
	bool is_short;
};

void spm_put(struct types_writing *w, const void *bytes, size_t n);
void spm_put_number(struct types_writing *w, uint64_t number);
void spm_put_signed(struct types_writing *w, int64_t number); /* 0, -1, 1, -2, ... as 0, 1, 2, 3, ... */
void spm_put_name(struct types_writing *w, const char *name); /* longer ones are cut */
/* err, or whether they can be read again: then *bytes are the caller's. -E2BIG: they can't; -ENOMEM. */
int spm_put_end(struct types_writing *w, int err, void **bytes, size_t *n);

#endif
