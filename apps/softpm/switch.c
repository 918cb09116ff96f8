/* switch.c - softpm switch: makes another branch of a container the current one. */
#include "tool.h"

#include <stdio.h>

static int switch_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	(void)o, (void)argc;
	if (pBranchSwitch(c->magic, argv[1]))
		return complain("%s", pErrorMsg());
	printf("container %s is on branch %s\n", text_container(c), argv[1]);
	return TOOL_OK;
}

int tool_switch(const struct options *o, int argc, char **argv)
{
	return container_run(o, argc, argv, switch_run);
}
