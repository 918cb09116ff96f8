/* view.c - versions beside each other: read-only views, and clones on branches of their own.
 *
 * A view or clone is a container like any other. Its slices are those of the original, so its restore finds them taken and moves it
 * (restore.c): pointers inside lead inside.
 */
#include "container.h"
#include "refs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* c->chain is open: fills it, and puts it into the table. Takes c over. 0 and the error is set, or its ID. */
static int container_show(struct container *c, void **cStruct)
{
	void *root;
	int id;

	if (spm_container_fill(c)) {
		int error = errno;

		spm_container_free(c);
		errno = error;
		return 0;
	}
	root = (void *)(uintptr_t)c->root;
	id = spm_container_start(c);
	if (id <= 0)
		return 0;
	*cStruct = root;
	return id;
}

/* c->chain is open at the version. Its branch is the one that has made the version: any other may be deleted meanwhile. */
static void view_be(struct container *c)
{
	struct chain_about about;

	spm_chain_about(c->chain, &about);
	snprintf(c->branch, sizeof(c->branch), "%s", about.branch);
	c->is_view = true;
}

int spm_container_view(struct container *c, const struct resolved *at)
{
	int err = spm_chain_open_version(spm_volume_current(), c->magic, at->branch, at->found.info.version, &c->chain);

	if (err)
		return spm_fail_volume(err);
	view_be(c);
	return 0;
}

int pCOpenAt(int magic, const char *ref, void **cStruct)
{
	struct resolved at;
	struct container *c;

	if (!cStruct)
		return spm_fail(EINVAL, "pCOpenAt: no place for the root's address"), 0;
	if (!spm_volume_current() || spm_containers_sync(magic))
		return 0;
	c = spm_container_new(magic);
	if (!c)
		return spm_fail(ENOMEM, "no memory for container %d", magic), 0;
	if (spm_ref_open(magic, NULL, ref, &at, &c->chain)) {
		int error = errno;

		spm_container_free(c);
		errno = error;
		return 0;
	}
	view_be(c);
	return container_show(c, cStruct);
}

/* The version that the container is at. */
static int position(struct container *c, struct version_found *at)
{
	if (pSync(c->id))
		return -1;
	return spm_container_position(c, NULL, at)
	               ? spm_fail(ENOENT, "container %d has no version yet that a branch could begin with", c->magic)
	               : 0;
}

static int chain_take(struct container *c)
{
	int err =
	        spm_chain_open(spm_volume_current(), c->magic, c->branch, CHAIN_WRITE, spm_volume_wait_ms(), &c->chain);

	return err ? spm_fail_volume(err) : 0;
}

/* 0 and the error is set, or the ID. */
static int branch_show(int magic, const char *branch, void **cStruct)
{
	struct container *c = spm_container_begin(magic, branch);

	if (!c)
		return 0;
	if (chain_take(c)) {
		int error = errno;

		spm_container_free(c);
		errno = error;
		return 0;
	}
	return container_show(c, cStruct);
}

int pCClone(int cID, const char *branch, void **cStruct)
{
	struct container *from = spm_container_get(cID);
	struct version_found at;
	int magic, result;

	if (!from)
		return 0;
	magic = from->magic;
	result = cStruct ? position(from, &at) : spm_fail(EINVAL, "pCClone: no place for the root's address");
	spm_container_put(from);
	if (result || spm_branch_make(magic, branch, &at))
		return 0;
	result = branch_show(magic, branch, cStruct);
	if (!result)
		spm_branch_take_back(magic, branch);
	return result;
}
