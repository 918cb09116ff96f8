/* delete.c - chains that go: all of a container, or a branch.
 *
 *   looked for -> seized, all or none: nobody writes or reads them -> their extents given back, one chain after the other
 *
 * Between any two of the last the power may go: what is left is a container that is whole.
 */
#include "volume/pins.h"
#include "volume/refs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A chain that is to go: nobody else writes or reads it. */
struct doomed {
	struct chain c;
	struct chain_head head;
	bool is_seized, is_gone;
};

static int doomed_seize(struct doomed *d)
{
	const char *name = d->head.branch;
	int err = spm_writer_lock(&d->c, 0);

	if (err)
		return err;
	err = spm_chain_seize(&d->c);
	d->is_seized = !err;
	if (err == -EAGAIN)
		return spm_volume_fail(err, "container %d, %s%s: somebody reads a version of it", d->c.magic,
		                       spm_is_branch(name) ? "branch " : spm_chain_kind(name),
		                       spm_is_branch(name) ? name : "");
	return err ? spm_volume_fail(err, "container %d: whether somebody reads it can't be found out: %s", d->c.magic,
	                             strerror(-err))
	           : 0;
}

static void doomed_spare(struct doomed *d)
{
	if (d->is_seized)
		spm_chain_unseize(&d->c);
	spm_writer_unlock(&d->c);
}

static struct doomed doomed_of(struct volume *v, const struct chain_head *head, uint64_t first_block)
{
	struct doomed d = {.head = *head};

	d.c.volume = v;
	d.c.id = head->chain_id;
	d.c.magic = head->container;
	d.c.head_block = spm_head_block_of(first_block);
	memcpy(d.c.branch, head->branch, sizeof(d.c.branch));
	return d;
}

struct doomed_list {
	struct volume *v;
	struct doomed *d;
	size_t n;
};

static int doomed_add(uint64_t first_block, const struct chain_head *head, void *arg)
{
	struct doomed_list *l = arg;
	struct doomed *more = realloc(l->d, (l->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	l->d = more;
	more[l->n++] = doomed_of(l->v, head, first_block);
	return 0;
}

static bool has_child(const struct doomed_list *l, const struct doomed *d)
{
	for (size_t i = 0; i < l->n; i++)
		if (!l->d[i].is_gone && l->d[i].head.parent_chain == d->head.chain_id)
			return true;
	return false;
}

/* A branch before what it begins with, then the names, then main: a crash leaves a container that is whole but for the branches that
 * are gone. Logs go last: no branch is left without its inputs; a log that is left without its branch is nobody's. */
static int lateness(const struct doomed_list *l, const struct doomed *d)
{
	if (spm_is_log(d->head.branch))
		return 4;
	return has_child(l, d) ? 3 : !strcmp(d->head.branch, "main") ? 2 : !*d->head.branch;
}

static struct doomed *doomed_next(struct doomed_list *l)
{
	struct doomed *next = NULL;

	for (size_t i = 0; i < l->n; i++)
		if (!l->d[i].is_gone && (!next || lateness(l, &l->d[i]) < lateness(l, next)))
			next = &l->d[i];
	return next;
}

/* All of it or nothing. */
static int doomed_seize_all(struct doomed_list *l)
{
	int err = 0;

	for (size_t i = 0; i < l->n && !err; i++)
		err = doomed_seize(&l->d[i]);
	return err;
}

static int doomed_release_all(struct doomed_list *l)
{
	struct doomed *d;
	int err = 0;

	while (!err && (d = doomed_next(l))) {
		err = spm_extents_release(l->v, d->c.id);
		d->is_gone = true;
	}
	return err;
}

static void doomed_end(struct doomed_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		doomed_spare(&l->d[i]);
	free(l->d);
}

int spm_chain_delete(struct volume *v, int magic)
{
	struct doomed_list l = {.v = v};
	int err = spm_head_places_each(v, magic, doomed_add, &l);

	if (!err && !l.n)
		err = spm_volume_fail(-ENOENT, "the volume has no container %d", magic);
	if (!err)
		err = doomed_seize_all(&l);
	if (!err)
		err = doomed_release_all(&l);
	doomed_end(&l);
	return err;
}

static int child_find(const struct chain_head *head, void *arg)
{
	const struct chain_head *parent = arg;

	if (head->parent_chain != parent->chain_id)
		return 0;
	return spm_volume_fail(-EBUSY, "branch %.63s has a branch itself: delete %.63s first", parent->branch,
	                       head->branch);
}

/* The log of the first that is doomed, and those whose branch is gone already. */
static int log_add(uint64_t first_block, const struct chain_head *head, void *arg)
{
	struct doomed_list *l = arg;
	struct chain_head branch;
	uint64_t id, first;
	int found;

	if (!spm_is_log(head->branch) || head->chain_id == l->d[0].c.id)
		return 0;
	id = strtoull(head->branch + 1, NULL, 16);
	found = id == l->d[0].c.id ? 0 : spm_head_find(l->v, head->container, NULL, id, &branch, &first);
	return found < 0 ? found : found ? 0 : doomed_add(first_block, head, l);
}

static bool is_damaged(struct volume *v, int magic, const char *branch)
{
	struct chain *c;
	int err = spm_chain_open(v, magic, branch, 0, 0, &c);

	if (!err)
		spm_chain_close(c);
	return err == -EUCLEAN;
}

/* The current branch is there, and a version with a tag. What can't be read may go with its tags, though. */
static int name_find(struct volume *v, const struct chain_head *head, bool has_tags)
{
	struct refs refs;
	int err = spm_refs_load(v, head->container, &refs);

	if (!err && spm_refs_find(&refs, REF_CURRENT, head->branch))
		err = spm_volume_fail(-EBUSY,
		                      "branch %.63s is the current one of container %d: switch to another first",
		                      head->branch, head->container);
	for (size_t i = 0; i < refs.n && !err && has_tags; i++)
		if (refs.ref[i].kind == REF_TAG && refs.ref[i].chain_id == head->chain_id)
			err = spm_volume_fail(
			        -EBUSY,
			        "container %d, branch %.63s: tag %.63s names a version of it: delete the tag first",
			        head->container, head->branch, refs.ref[i].name);
	spm_refs_free(&refs);
	return err;
}

static int doomed_must_be_unused(struct volume *v, const struct chain_head *head, bool has_tags)
{
	int err = name_find(v, head, has_tags);

	return err ? err : spm_heads_each(v, head->container, child_find, (void *)(uintptr_t)head);
}

/* Once it is seized nobody begins another branch with it, gives one of its versions a tag, or makes it the current one: all these
 * hold it meanwhile. */
int spm_branch_delete(struct volume *v, int magic, const char *branch)
{
	bool has_tags = !is_damaged(v, magic, branch);
	struct doomed_list l = {.v = v};
	struct chain_head head;
	uint64_t first;
	int err = spm_head_find(v, magic, branch, 0, &head, &first);

	if (err <= 0)
		return err ? err : spm_volume_fail(-ENOENT, "container %d has no branch %s", magic, branch);
	err = doomed_add(first, &head, &l);
	if (!err)
		err = doomed_must_be_unused(v, &head, has_tags);
	if (!err)
		err = spm_head_places_each(v, magic, log_add, &l);
	if (!err)
		err = doomed_seize_all(&l);
	if (!err)
		err = doomed_must_be_unused(v, &head, has_tags);
	if (!err)
		err = doomed_release_all(&l);
	doomed_end(&l);
	return err;
}
