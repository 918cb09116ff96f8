/* hash_merge.c - hashtables for map_merge.h. */
#include "hash.h"
#include "map_merge.h"

#include <errno.h>

static void *get(void *t, const void *key)
{
	return phash_get(t, key);
}

static void *put(void *t, const void *key, const void *value)
{
	return phash_put(t, key, value);
}

static void take(void *t, const void *key)
{
	phash_remove(t, key, NULL);
}

int phash_merge(const struct phash *base, struct phash *ours, const struct phash *theirs, const struct pmerge *how,
                struct pmerged *result)
{
	struct spm_map_merge m = {
	        .ours = {ours, get, put, take, ours->value_bytes, ours->flags & VALUES_ARE_PLAIN},
	        .result = result,
	};

	*result = (struct pmerged){0};
	if (!spm_hash_is_like(base, ours) || !spm_hash_is_like(base, theirs)) {
		errno = EINVAL;
		return -1;
	}
	if (spm_map_merge_begin(&m, base, theirs, how))
		return -1;
	return spm_map_merge_end(&m, phash_diff(base, theirs, spm_map_merge_change, &m));
}
