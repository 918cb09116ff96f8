/* softpm.c - the nodes lie in SoftPM's memory; pPointSync is the point. */
#include "pointers.h"

#include <softpm.h>
#include <stdio.h>

enum { MAGIC = 13 };

static struct root {
	struct node *first;
} * root;
static int container;

static void softpm_need(bool ok, const char *what)
{
	if (!ok)
		fprintf(stderr, "%s\n", pErrorMsg());
	need(ok, what);
}

static struct node *softpm_open(const char *folder)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/softpm.vol", folder);
	softpm_need(!pVOpen(path), "pVOpen");
	container = pCRestore(MAGIC, (void **)&root);
	if (container <= 0)
		container = pCAlloc(MAGIC, sizeof(*root), (void **)&root);
	softpm_need(container > 0, "pCAlloc");
	return root->first;
}

static struct node *softpm_make(void)
{
	return pMalloc(sizeof(struct node));
}

static void softpm_point(struct node *first)
{
	root->first = first;
	softpm_need(pPointSync(container) > 0, "pPointSync");
}

static void softpm_close(void)
{
	softpm_need(!pVClose(), "pVClose");
}

int main(int argc, char **argv)
{
	return pointers_main(argc, argv, &(struct system){softpm_open, softpm_make, softpm_point, softpm_close});
}
