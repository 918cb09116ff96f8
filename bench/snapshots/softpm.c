/* softpm.c - SoftPM. Variants: branch (pBranch: the branch is durable, the program stays where it is, and goes to it by pCSwitch), clone
 * (pCClone: the same, and open beside the original). A version is looked at by pCOpenAt, beside the live state. */
#include "system.h"

#include <softpm.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAGIC = 5 };

struct root {
	uint64_t bytes;
	char *array;
};

static struct root *root, *clone_root;
static int id, clone_id, view_id;
static int64_t first_version;
static bool is_clone, is_away;
static char volume[4096];

static void must(bool ok, const char *what)
{
	if (!ok)
		fprintf(stderr, "%s\n", pErrorMsg());
	need(ok, what);
}

static void softpm_make(const char *variant)
{
	struct cattr *attr;
	void *r;

	is_clone = !strcmp(variant, "clone");
	strcpy(volume, path_of("volume"));
	must(!pVOpen(volume), "pVOpen");
	id = pCAlloc(MAGIC, sizeof(struct root), &r);
	must(id, "pCAlloc");
	root = r;
	attr = pCGetAttr(MAGIC);
	must(attr, "pCGetAttr");
	attr->versions_kept = 0;
	must(!pCSetAttr(id, attr), "pCSetAttr");
	pCAttrFree(attr);
	root->bytes = system_pages * PAGE;
	root->array = pMallocNoPtr(root->bytes);
	must(root->array, "pMallocNoPtr");
	fill(root->array, root->bytes);
	must(pPointSync(id) > 0, "pPointSync");
}

static void softpm_change(uint64_t page)
{
	fill(root->array + page * PAGE, PAGE);
}

static bool version_keep(void)
{
	int64_t version = pPointSync(id);

	must(version || errno == ENOSPC, "pPointSync");
	if (!first_version)
		first_version = version;
	return version;
}

static bool softpm_keep(enum kind kind, unsigned n)
{
	char name[16];
	void *r;

	if (kind == VERSION)
		return version_keep();
	snprintf(name, sizeof(name), "b%u", n);
	if (!is_clone) {
		int result = pBranch(MAGIC, name, NULL);

		must(!result || errno == ENOSPC, "pBranch");
		return !result;
	}
	clone_id = pCClone(id, name, &r);
	must(clone_id || errno == ENOSPC, "pCClone");
	clone_root = r;
	return clone_id;
}

static void softpm_branch_change(unsigned n)
{
	char name[16];
	void *r;

	snprintf(name, sizeof(name), "b%u", n);
	if (!is_clone) {
		must(!pCSwitch(id, name, &r), "pCSwitch");
		root = r;
		is_away = true;
	}
	fill((is_clone ? clone_root : root)->array + system_pages / 2 * PAGE, PAGE);
	must(pPointSync(is_clone ? clone_id : id) > 0, "pPointSync");
}

static void softpm_look(unsigned n)
{
	volatile char word;
	char ref[32];
	void *r;

	(void)n; /* the first is looked at: its number depends on the branches made before it */
	snprintf(ref, sizeof(ref), "main:%lld", (long long)first_version);
	view_id = pCOpenAt(MAGIC, ref, &r);
	must(view_id, "pCOpenAt");
	word = ((struct root *)r)->array[system_pages / 2 * PAGE];
	(void)word;
}

static void softpm_tidy(void)
{
	void *r;

	if (view_id)
		pCFree(view_id);
	if (clone_id)
		pCFree(clone_id);
	view_id = clone_id = 0;
	if (!is_away)
		return;
	must(!pCSwitch(id, "main", &r) && !pRestoreWait(id), "pCSwitch back");
	root = r;
	is_away = false;
}

static uint64_t softpm_space(void)
{
	struct stat st;

	need(!stat(volume, &st), volume);
	return (uint64_t)st.st_blocks * 512;
}

int main(int argc, char **argv)
{
	return system_main(argc, argv,
	                   &(struct system){softpm_make, softpm_change, softpm_keep, softpm_branch_change, softpm_look,
	                                    softpm_tidy, softpm_space});
}
