/* container.c - see container.h. */
#include "container.h"

#include <softpm.h>
#include <stdio.h>

enum { MAGIC_FIRST = 5 };

static int magic;

static void softpm_need(bool ok, const char *what)
{
	if (!ok)
		fprintf(stderr, "%s\n", pErrorMsg());
	need(ok, what);
}

/* persist array list tree hash */
static int container;

static bool root_open(const char *path, int bytes, void **root)
{
	softpm_need(!pVOpen(path), "pVOpen");
	container = pCRestore(magic, root);
	if (container > 0)
		return false;
	container = pCAlloc(magic, bytes, root);
	softpm_need(container > 0, "pCAlloc");
	return true;
}

void container_point(void)
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

bool container_open(const struct setting *setting, int bytes, void **root)
{
	char path[4096];
	bool is_new;

	snprintf(path, sizeof(path), "%s/softpm.vol", setting->folder);
	magic = MAGIC_FIRST + (int)setting->process;
	is_new = root_open(path, bytes, root);
	if (is_new && setting->chunk_bytes)
		chunk_set(setting->chunk_bytes);
	return is_new;
}

static struct pstats stats(void)
{
	struct pstats s;

	softpm_need(!pStats(magic, &s), "pStats");
	return s;
}

uint64_t container_stored_bytes(void)
{
	return stats().stored_bytes;
}

uint64_t container_dirty_pages(void)
{
	return stats().dirty_pages;
}

void container_close(void)
{
	softpm_need(!pVClose(), "pVClose");
}
