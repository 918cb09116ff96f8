/* softpm.c - the plain structures (plain.c) with SoftPM: they lie in its memory, hang on a container's root, and pPointSync is the point.
 * Variants: plain. Each process has a container of its own in one volume. */
#include "plain.h"

#include <softpm.h>
#include <stdio.h>

enum { MAGIC_FIRST = 5 };

static const char *path;
static int magic;

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
	container = pCRestore(magic, (void **)&plain);
	if (container > 0)
		return;
	container = pCAlloc(magic, sizeof(*plain), (void **)&plain);
	softpm_need(container > 0, "pCAlloc");
	plain_init();
}

static void structures_point(void)
{
	softpm_need(pPointSync(container) > 0, "pPointSync");
}
/* end */

static void chunk_set(uint64_t bytes)
{
	struct cattr *attr = pCGetAttr(magic);

	softpm_need(attr != NULL, "pCGetAttr");
	attr->chunk_bytes = bytes;
	softpm_need(!pCSetAttr(container, attr), "pCSetAttr");
	pCAttrFree(attr);
}

static void softpm_open(const struct setting *setting)
{
	static char buffer[4096];

	snprintf(buffer, sizeof(buffer), "%s/softpm.vol", setting->folder);
	path = buffer;
	magic = MAGIC_FIRST + (int)setting->process;
	structures_open();
	if (setting->chunk_bytes && !setting->began_ns)
		chunk_set(setting->chunk_bytes);
}

static struct pstats stats(void)
{
	struct pstats s;

	softpm_need(!pStats(magic, &s), "pStats");
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
