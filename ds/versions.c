/* versions.c - see versions.h. */
#include "versions.h"

#include <softpm.h>

#include <errno.h>
#include <string.h>

int spm_versions_find_one(const void *structure, int *container)
{
	*container = pCOf(structure);
	return *container || errno == ENOENT ? 0 : -1;
}

int spm_versions_find(const void *old, const void *now, int container[2])
{
	if (spm_versions_find_one(old, &container[0]) || spm_versions_find_one(now, &container[1]))
		return -1;
	return container[0] && container[1] && container[0] != container[1];
}

int spm_values_same(size_t bytes, bool are_plain, int first, const void *value, int second, const void *other)
{
	if (!value || !other)
		return value == other;
	if (!memcmp(value, other, bytes))
		return 1;
	return are_plain ? 0 : pSame(first, value, second, other, bytes);
}
