/* versions.c - see versions.h. */
#include "versions.h"

#include <softpm.h>

#include <errno.h>
#include <stdbool.h>

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
