/* branch.c - making, deleting and listing branches and tags. None of it needs the container to be open. */
#include "container.h"
#include "refs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A branch and a tag of one name could not be told apart. */
int spm_name_must_be_free(struct volume *v, int magic, const char *name)
{
	struct refs refs;
	bool is_tag;
	int err;

	if (!spm_name_is_fit(name))
		return -1;
	err = spm_branch_exists(v, magic, name);
	if (err < 0)
		return spm_fail_volume(err);
	if (err)
		return spm_fail(EEXIST, "container %d has a branch %s already", magic, name);
	err = spm_refs_load(v, magic, &refs);
	if (err)
		return spm_fail_volume(err);
	is_tag = spm_refs_find(&refs, REF_TAG, name);
	spm_refs_free(&refs);
	return is_tag ? spm_fail(EEXIST, "container %d has a tag %s already", magic, name) : 0;
}

/* A version that an open container is just writing can be named. */
static int settled_resolve(int magic, const char *ref, struct resolved *out)
{
	if (!spm_volume_current() || spm_containers_sync(magic))
		return -1;
	return spm_ref_resolve(magic, NULL, ref && *ref ? ref : "~0", out);
}

/* ---- branches ---- */

int spm_branch_make(int magic, const char *branch, const struct version_found *at)
{
	int err;

	if (spm_name_must_be_free(spm_volume_current(), magic, branch))
		return -1;
	err = spm_branch_create(spm_volume_current(), magic, branch, at);
	return err ? spm_fail_volume(err) : 0;
}

void spm_branch_take_back(int magic, const char *branch)
{
	int error = errno;
	char why[512];

	snprintf(why, sizeof(why), "%s", pErrorMsg());
	if (spm_branch_delete(spm_volume_current(), magic, branch))
		spm_fail(error, "%s; branch %s was made all the same", why, branch);
	else
		spm_fail(error, "%s", why);
}

int pBranch(int magic, const char *branch, const char *ref)
{
	struct resolved at;

	return settled_resolve(magic, ref, &at) ? -1 : spm_branch_make(magic, branch, &at.found);
}

int pBranchDelete(int magic, const char *branch)
{
	struct container *open;
	int err;

	if (!spm_name_is_fit(branch) || !spm_volume_current())
		return -1;
	if (!strcmp(branch, "main"))
		return spm_fail(EINVAL, "branch main goes only with the whole container (pCDelete)");
	open = spm_container_open(magic, branch);
	if (open) { /* this process's locks would not be in its own way */
		spm_container_put(open);
		return spm_fail(EBUSY, "branch %s of container %d is open in this process", branch, magic);
	}
	err = spm_branch_delete(spm_volume_current(), magic, branch);
	return err ? spm_fail_volume(err) : 0;
}

int pBranchSwitch(int magic, const char *branch)
{
	struct chain *held;
	int err, result;

	if (!spm_name_is_fit(branch) || !spm_volume_current())
		return -1;
	err = spm_branch_hold(spm_volume_current(), magic, branch, &held);
	if (err == -ENOENT)
		return spm_ref_resolve(magic, NULL, branch, &(struct resolved){.is_branch = false})
		               ? -1
		               : spm_fail(ENOENT, "%s is no branch of container %d", branch, magic);
	if (err)
		return spm_fail_volume(err);
	result = spm_current_branch_set(magic, branch);
	spm_chain_close(held);
	return result;
}

struct branch_visit {
	int magic;
	int (*fn)(const struct pbranch *branch, void *arg);
	void *arg;
	char current[SPM_NAME_BYTES];
};

static int branch_show(struct branch_visit *v, struct chain *c, struct pbranch *b)
{
	struct chain_about about, parent_about;
	struct version_info info;
	struct chain *parent;
	char parent_name[SPM_NAME_BYTES] = "";

	spm_chain_about(c, &about);
	b->parent = parent_name;
	if (!spm_chain_newest(c, &info)) {
		b->newest = (int64_t)info.version;
		b->time_ns = (int64_t)info.time_ns;
		b->pages = info.pages;
		b->live_bytes = info.live_bytes;
	}
	if (about.is_branch && !spm_chain_open_parent(c, &parent)) {
		spm_chain_about(parent, &parent_about);
		snprintf(parent_name, sizeof(parent_name), "%s", parent_about.branch);
		b->origin = (int64_t)about.origin_version;
		spm_chain_close(parent);
	}
	return v->fn(b, v->arg);
}

static int branch_visit(int magic, const char *branch, void *arg)
{
	struct branch_visit *v = arg;
	struct pbranch b = {.name = branch ? branch : "", .parent = ""};
	struct chain *c;
	int err, result;

	if (magic != v->magic)
		return 0;
	b.is_current = !strcmp(b.name, v->current);
	err = branch ? spm_chain_open(spm_volume_current(), magic, branch, 0, 0, &c) : -EUCLEAN;
	if (err) {
		b.damage = spm_volume_error_of(err);
		return v->fn(&b, v->arg);
	}
	result = branch_show(v, c, &b);
	spm_chain_close(c);
	return result;
}

int pBranches(int magic, int (*fn)(const struct pbranch *branch, void *arg), void *arg)
{
	struct branch_visit v = {.magic = magic, .fn = fn, .arg = arg};
	int result;

	if (!spm_volume_current() || spm_current_branch(magic, v.current))
		return -1;
	result = spm_volume_each_chain(spm_volume_current(), branch_visit, &v);
	return result < 0 ? spm_fail_volume(result) : result;
}

/* ---- tags ---- */

static int tag_put(struct refs *refs, void *arg)
{
	return spm_refs_put(refs, arg);
}

/* The version is held open until the tag is there: or it might be dropped before. */
static int tag_make(int magic, const char *tag, const struct resolved *at)
{
	struct ref ref = {.kind = REF_TAG,
	                  .chain_id = at->found.chain_id,
	                  .seq = at->found.seq,
	                  .version = at->found.info.version,
	                  .time_ns = spm_now_real_ns()};
	struct chain *held;
	int err;

	if (spm_name_must_be_free(spm_volume_current(), magic, tag))
		return -1;
	strcpy(ref.name, tag);
	err = spm_chain_open_version(spm_volume_current(), magic, at->branch, ref.version, &held);
	if (err)
		return spm_fail_volume(err);
	err = spm_refs_change(spm_volume_current(), magic, tag_put, &ref);
	if (err)
		spm_fail_volume(err);
	spm_chain_close(held);
	return err ? -1 : 0;
}

int pTag(int magic, const char *tag, const char *ref)
{
	struct resolved at;

	return settled_resolve(magic, ref, &at) ? -1 : tag_make(magic, tag, &at);
}

int pCTag(int cID, const char *tag, const char *ref)
{
	struct container *c = spm_container_get(cID);
	char branch[SPM_NAME_BYTES], own[SPM_NAME_BYTES + 32];
	struct resolved at;
	int magic, result;

	if (!c)
		return -1;
	magic = c->magic;
	strcpy(branch, c->branch);
	result = spm_containers_sync(magic);
	snprintf(own, sizeof(own), "%s:%lld", branch, (long long)c->durable);
	spm_container_put(c);
	if (!result)
		result = spm_ref_resolve(magic, branch, ref && *ref ? ref : own, &at);
	return result ? -1 : tag_make(magic, tag, &at);
}

static int tag_remove(struct refs *refs, void *arg)
{
	return spm_refs_remove(refs, REF_TAG, arg) ? 0 : -ENOENT;
}

int pTagDelete(int magic, const char *tag)
{
	struct refs refs = {0};
	int err;

	if (!spm_name_is_fit(tag) || !spm_volume_current())
		return -1;
	err = spm_refs_load(spm_volume_current(), magic, &refs);
	if (!err)
		err = spm_refs_find(&refs, REF_TAG, tag) ? 0 : -ENOENT;
	spm_refs_free(&refs);
	if (!err)
		err = spm_refs_change(spm_volume_current(), magic, tag_remove, (void *)(uintptr_t)tag);
	if (err == -ENOENT)
		return spm_fail(ENOENT, "container %d has no tag %s", magic, tag);
	return err ? spm_fail_volume(err) : 0;
}

int pTags(int magic, int (*fn)(const struct ptag *tag, void *arg), void *arg)
{
	struct refs refs;
	int err, result = 0;

	if (!spm_volume_current())
		return -1;
	err = spm_refs_load(spm_volume_current(), magic, &refs);
	if (err)
		return spm_fail_volume(err);
	for (size_t i = 0; i < refs.n && !result; i++)
		if (refs.ref[i].kind == REF_TAG)
			result = fn(&(struct ptag){refs.ref[i].name, (int64_t)refs.ref[i].version,
			                           (int64_t)refs.ref[i].time_ns},
			            arg);
	spm_refs_free(&refs);
	return result;
}
