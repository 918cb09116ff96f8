/* versions.c - see versions.h. */
#include "versions.h"

#include <softpm.h>

#include <errno.h>
#include <stdbool.h>

/* 0: in none. */
static int container_find(const void *structure, int *container)
{
	*container = pCOf(structure);
	return *container || errno == ENOENT ? 0 : -1;
}

int spm_versions_find(const void *old, const void *now, int container[2])
{
	if (container_find(old, &container[0]) || container_find(now, &container[1]))
		return -1;
	return container[0] && container[1] && container[0] != container[1];
}
