/* softpm.c - the plain structures (plain.c) with SoftPM: they lie in its memory, hang on a container's root, and pPointSync is the point.
 * Variants: plain. */
#include "plain.h"

#include <softpm.h>
#include <stdio.h>

enum { MAGIC = 5 };

static const char *path;

static void softpm_need(bool ok, const char *what)
{
	if (!ok)
		fprintf(stderr, "%s\n", pErrorMsg());
	need(ok, what);
}

/* persist array list tree hash */
static int container;

static void structures_open(void)
{
	softpm_need(!pVOpen(path), "pVOpen");
	container = pCRestore(MAGIC, (void **)&plain);
	if (container > 0)
		return;
	container = pCAlloc(MAGIC, sizeof(*plain), (void **)&plain);
	softpm_need(container > 0, "pCAlloc");
	plain_init();
}

static void structures_point(void)
{
	softpm_need(pPointSync(container) > 0, "pPointSync");
}
/* end */

static void softpm_open(const char *folder, const char *name, const char *variant)
{
	static char buffer[4096];

	(void)name, (void)variant;
	snprintf(buffer, sizeof(buffer), "%s/softpm.vol", folder);
	path = buffer;
	structures_open();
}

static struct pstats stats(void)
{
	struct pstats s;

	softpm_need(!pStats(MAGIC, &s), "pStats");
	return s;
}

static uint64_t stored_bytes(void)
{
	return stats().stored_bytes;
}

static uint64_t dirty_pages(void)
{
	return stats().dirty_pages;
}

static void softpm_close(void)
{
	softpm_need(!pVClose(), "pVClose");
}

static const struct structure *const structures[] = {&plain_array, &plain_list, &plain_tree, &plain_hash, NULL};

int main(int argc, char **argv)
{
	return structures_main(argc, argv,
	                       &(struct system){structures, softpm_open, NULL, structures_point, stored_bytes,
	                                        dirty_pages, softpm_close});
}
