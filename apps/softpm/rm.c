/* rm.c - softpm rm: deletes containers with all their versions. */
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

/* Finds all that are named before any is deleted. */
static int rm_all(const struct list *list, int argc, char **argv, const struct listed **found)
{
	int status = TOOL_OK;

	for (int i = 0; i < argc; i++) {
		found[i] = list_find(list, argv[i]);
		for (int j = 0; found[i] && j < i; j++)
			if (found[j]->magic == found[i]->magic)
				return complain("container %s is named twice", text_container(found[i]));
		if (!found[i])
			return TOOL_NO;
	}
	for (int i = 0; i < argc; i++) {
		if (pCDelete(found[i]->magic))
			status = complain("container %s: %s", text_container(found[i]), pErrorMsg());
		else
			printf("container %s deleted\n", text_container(found[i]));
	}
	return status;
}

int tool_rm(const struct options *o, int argc, char **argv)
{
	const struct listed **found;
	struct list *list;
	int status;

	if (volume_open(o))
		return TOOL_NO;
	list = list_read();
	if (!list)
		return TOOL_NO;
	found = calloc((size_t)argc, sizeof(const struct listed *));
	status = found ? rm_all(list, argc, argv, found) : no_memory();
	free(found);
	list_free(list);
	return status;
}
