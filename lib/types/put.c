/* put.c - see put.h. */
#include "types/put.h"
#include "types/types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void spm_put(struct types_writing *w, const void *bytes, size_t n)
{
	size_t room = (w->n + n) * 2;
	unsigned char *more;

	if (w->n + n > w->room) {
		more = realloc(w->bytes, room);
		w->is_short |= !more;
		if (!more)
			return;
		w->bytes = more;
		w->room = room;
	}
	if (n)
		memcpy(w->bytes + w->n, bytes, n);
	w->n += n;
}

void spm_put_number(struct types_writing *w, uint64_t number)
{
	unsigned char byte[10], n = 0;

	for (; number > 0x7f; number >>= 7)
		byte[n++] = (unsigned char)(number | 0x80);
	byte[n++] = (unsigned char)number;
	spm_put(w, byte, n);
}

void spm_put_signed(struct types_writing *w, int64_t number)
{
	uint64_t value = (uint64_t)number;

	spm_put_number(w, value << 1 ^ (0 - (value >> 63)));
}

void spm_put_name(struct types_writing *w, const char *name)
{
	spm_put(w, name, strnlen(name, TYPES_NAME_MOST - 1));
	spm_put(w, "", 1);
}

int spm_put_end(struct types_writing *w, int err, void **bytes, size_t *n)
{
	struct types *t;

	if (!err)
		err = w->is_short ? -ENOMEM : spm_types_load(w->bytes, w->n, &t);
	if (err) {
		free(w->bytes);
		return err == -EINVAL ? -E2BIG : err;
	}
	spm_types_free(t);
	*bytes = w->bytes;
	*n = w->n;
	return 0;
}
