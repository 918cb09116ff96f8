/* prune.c - dropping at once what points would let go of in small steps (volume/prune.h). */
#include "container.h"

#include <errno.h>
#include <string.h>

struct pruning {
	int magic;
	const struct pprune *how;
	bool is_there;
	int stopped;
};

/* What the branch's newest version says, but for what the caller says. */
static int retention_set(struct chain *c, const struct pprune *how)
{
	struct version_info info;
	int err = spm_chain_newest(c, &info);

	if (err)
		return err;
	spm_chain_retain(c, &(struct retention){how->versions_kept ? *how->versions_kept : info.versions_kept,
	                                        how->keep_seconds ? *how->keep_seconds : info.keep_seconds,
	                                        {info.thin[0], info.thin[1]}});
	return 0;
}

/* A branch without a version has nothing to drop. */
static int chain_prune(struct chain *c, const struct pprune *how, struct ppruned *out)
{
	struct pruned pruned = {0};
	int err = retention_set(c, how);

	if (!err)
		err = spm_chain_prune(c, how->is_dry, &pruned);
	spm_chain_retain(c, NULL);
	out->versions = pruned.versions;
	out->bytes = pruned.blocks * SPM_BLOCK_BYTES;
	out->returned_bytes = pruned.extents << 20;
	return err == -ENOENT ? 0 : err;
}

/* Whoever writes the branch in this process has its chain; beside points it may be pruned. */
static int open_prune(struct container *c, const struct pprune *how, struct ppruned *out)
{
	int err;

	spm_container_halt(c);
	err = chain_prune(c->chain, how, out);
	spm_container_go_on(c);
	return err;
}

static int closed_prune(int magic, const char *branch, const struct pprune *how, struct ppruned *out)
{
	struct chain *c;
	int err = spm_chain_open(spm_volume_current(), magic, branch, CHAIN_WRITE, spm_volume_wait_ms(), &c);

	if (err)
		return err;
	err = chain_prune(c, how, out);
	spm_chain_close(c);
	return err;
}

/* What a parent had open at the fork is not this process's, which has only a copy of what its writer knows. */
static int open_or_inherited_prune(struct container *c, const struct pprune *how, struct ppruned *out)
{
	int err = c->is_inherited ? -ECHILD : open_prune(c, how, out);

	spm_container_put(c);
	return err;
}

static int named_prune(int magic, const char *branch, const struct pprune *how, struct ppruned *out)
{
	struct container *open = spm_container_open(magic, branch);

	return open ? open_or_inherited_prune(open, how, out) : closed_prune(magic, branch, how, out);
}

/* NULL: for no reason that is the branch's alone. */
static const char *why_skipped(int err)
{
	if (err == -ECHILD)
		return "it belongs to the process that forked this one";
	return err == -EAGAIN || err == -EBUSY || err == -EUCLEAN ? spm_volume_error_of(err) : NULL;
}

static int branch_prune(int magic, const char *branch, void *arg)
{
	struct pruning *p = arg;
	struct ppruned out = {.branch = branch ? branch : ""};
	int err = 0;

	if (magic != p->magic)
		return 0;
	p->is_there = true;
	if (branch)
		err = named_prune(magic, branch, p->how, &out);
	if (err == -ENOENT) /* it was deleted meanwhile */
		return 0;
	/* Where the head is damaged nobody knows what its versions were. */
	out.skipped = branch ? why_skipped(err) : "its head is damaged in both copies";
	if (err && !out.skipped)
		return err;
	p->stopped = p->how->fn ? p->how->fn(&out, p->how->arg) : 0;
	return p->stopped != 0;
}

int pPrune(int magic, const struct pprune *how)
{
	static const struct pprune as_attributes_say = {.is_dry = 0};
	struct pruning p = {.magic = magic, .how = how ? how : &as_attributes_say};
	int err;

	if (!spm_volume_current() || spm_containers_sync(magic))
		return -1;
	err = spm_volume_each_chain(spm_volume_current(), branch_prune, &p);
	if (p.stopped)
		return p.stopped;
	if (err < 0)
		return spm_fail_volume(err);
	return p.is_there ? 0 : spm_fail(ENOENT, "the volume has no container %d", magic);
}
