/* typing.c - the type of a container's root: pCSetAttr names it, the program's debug information tells what it is (lib/types), the blob keeps
 * that.
 *
 * A program that was built anew may have other types. So whoever restores a version that has types reads what they are in this process, if a module
 * that they were read from is another by now: once for each restore, and nothing if it is the same build. What fits becomes the container's,
 * to be saved with the next version that is made for other reasons. What grew fits if the objects have room (grown.h).
 *
 * A container has a type if and only if it has types, and then the type is their root's name.
 */
#include "container.h"
#include "grown.h"
#include "migrate.h"
#include "types/dwarf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int spm_typing_load(int magic, const struct blob_parts *parts, struct types **out)
{
	int err = 0;

	*out = NULL;
	if (parts->types_bytes)
		err = spm_types_load(parts->types, parts->types_bytes, out);
	if (!err && *out && (!*(*out)->root || strlen((*out)->root) >= sizeof(((struct cattr *)NULL)->type))) {
		spm_types_free(*out);
		*out = NULL;
		err = -EINVAL;
	}
	if (err == -ENOMEM)
		return spm_fail(ENOMEM, "container %d: no memory for its types", magic);
	return err ? spm_fail(EUCLEAN, "container %d is damaged: its types are malformed", magic) : 0;
}

void spm_typing_set(struct container *c, struct types *types)
{
	spm_types_free(c->types);
	c->types = types;
	if (!types)
		spm_hints_untype_all(&c->hints); /* they speak of types by number */
	snprintf(c->attr.type, sizeof(c->attr.type), "%s", types ? types->root : "");
}

/* Then nothing need be read. */
static bool is_known(struct container *c, const char *type)
{
	bool is;

	pthread_mutex_lock(&c->lock);
	is = !strcmp(c->attr.type, type) && (!c->types || spm_types_are_here(c->types));
	pthread_mutex_unlock(&c->lock);
	return is;
}

int spm_typing_fail(const char *type, int err, const char *why)
{
	switch (err) {
	case -ENODATA:
	case -ENOENT:
		return spm_fail(ENOENT, "%s", *why ? why : "the program's modules can't be read");
	case -EINVAL:
		return spm_fail(EINVAL, "%s", why);
	case -E2BIG:
		return spm_fail(E2BIG, "type %s leads to more than can be kept (16 MiB, 64 deep)", type);
	default:
		return spm_fail(ENOMEM, "no memory for what type %s leads to", type);
	}
}

static int size_check(const struct container *c, const struct types *t)
{
	uint64_t bytes = t->type[0].bytes;

	if (!bytes)
		return spm_fail(EINVAL, "attribute type: %s has no size: it is only declared", t->root);
	if (bytes > c->root_bytes)
		return spm_fail(EINVAL,
		                "attribute type: %s has %llu bytes, but the root structure of container %d only %llu",
		                t->root, (unsigned long long)bytes, c->magic, (unsigned long long)c->root_bytes);
	return 0;
}

static int types_get(const struct container *c, const char *type, const void *caller, struct types **out)
{
	struct types_near near = {.address = caller};
	char why[400];
	void *bytes;
	size_t n;
	int err;

	if (c->types) {
		err = spm_types_reread(c->types, type, NULL, &near, out, why, sizeof(why));
	} else {
		err = spm_types_read(type, &near, &bytes, &n, why, sizeof(why));
		if (!err) {
			err = spm_types_load(bytes, n, out);
			free(bytes);
		}
	}
	if (err)
		return spm_typing_fail(type, err, why);
	if (!size_check(c, *out))
		return 0;
	spm_types_free(*out);
	return -1;
}

int spm_typing_read(struct container *c, const struct cattr *attr, const void *caller, struct types **out,
                    bool *is_same)
{
	*out = NULL;
	*is_same = is_known(c, attr->type);
	return *is_same || !*attr->type ? 0 : types_get(c, attr->type, caller, out);
}

/* ---- at restore ---- */

struct growth {
	struct types *here; /* as they are in this process */
	struct types_comparison found;
	struct migrate_job job; /* of a migration; else without rules */
	bool is_migration;
};

void spm_typing_check_end(struct container *c)
{
	if (!c->growth)
		return;
	spm_types_free(c->growth->here);
	spm_types_comparison_free(&c->growth->found);
	spm_migrate_rules_free(&c->growth->job.rules);
	free(c->growth);
	c->growth = NULL;
}

/* $SOFTPM_TYPES=unchecked: the user knows better. */
bool spm_typing_is_wanted(void)
{
	const char *wish = getenv("SOFTPM_TYPES");

	return !wish || strcmp(wish, "unchecked") != 0;
}

/* Nobody knows what this build means by the memory: versions that it makes must not tell what another one meant. */
static int types_drop(struct container *c)
{
	spm_typing_set(c, NULL);
	c->are_types_changed = true;
	return 0;
}

/* Another branch or view of the container, or this one as it is now, may have them. */
static bool here_borrow(const struct container *c, struct types **out)
{
	struct container *other = spm_container_open(c->magic, NULL);
	bool has = false;

	if (!other)
		return false;
	pthread_mutex_lock(&other->lock);
	if (other->types && other->types->roots == 1 && c->types->roots == 1 && !other->types->rules &&
	    !c->types->rules && !strcmp(other->types->root, c->types->root) && spm_types_are_here(other->types))
		has = !spm_types_load(other->types->bytes, other->types->n, out);
	pthread_mutex_unlock(&other->lock);
	spm_container_put(other);
	return has;
}

/* 1: they can't be told. */
static int here_read(const struct container *c, struct types **out)
{
	struct types_near near = {.module = &c->types->module[0]};
	char why[400];
	int err;

	if (here_borrow(c, out))
		return 0;
	err = spm_types_reread(c->types, NULL, NULL, &near, out, why, sizeof(why));
	if (err == -ENOMEM)
		return spm_fail(ENOMEM, "container %d: no memory to look whether its types are those of the program",
		                c->magic);
	return err ? 1 : 0;
}

/* What was found fits. Takes the types over. */
static void types_renew(struct container *c, struct types *here)
{
	uint64_t bytes = here->type[0].bytes;

	if (bytes > c->root_bytes && c->root_bytes)
		c->root_bytes = bytes;
	spm_typing_set(c, here);
	c->are_types_changed = true;
}

/* What has to be done when all objects are there: a look at those that grew, or a migration. */
static int growth_judge(struct container *c, struct growth *g)
{
	g->job.old = c->types;
	g->job.new = g->here;
	g->job.found = &g->found;
	g->is_migration = spm_migrate_is_due(&g->job);
	return g->is_migration ? spm_migrate_permit(c, &g->job) : 0;
}

static int compare_failed(const struct container *c, int err)
{
	if (err == -ENOMEM)
		return spm_fail(ENOMEM, "container %d: no memory to compare its types", c->magic);
	return spm_fail(EPROTOTYPE,
	                "container %d can't be used by this build of the program: its types are too many to be "
	                "compared",
	                c->magic);
}

/* Takes the types over. */
static int types_compare(struct container *c, struct types *here)
{
	struct growth *g = calloc(1, sizeof(*g));
	int err;

	if (!g) {
		spm_types_free(here);
		return compare_failed(c, -ENOMEM);
	}
	c->growth = g;
	g->here = here;
	err = spm_types_compare(c->types, here, &g->found);
	if (!err)
		err = spm_migrate_rules(&g->job.rules);
	err = err ? compare_failed(c, err) : growth_judge(c, g);
	if (!err && !g->is_migration && !g->found.grown_count) {
		g->here = NULL;
		types_renew(c, here);
	}
	if (err || !g->here)
		spm_typing_check_end(c);
	return err;
}

int spm_typing_check(struct container *c)
{
	struct types *here;
	int err;

	spm_typing_check_end(c);
	if (!c->types || spm_types_are_here(c->types))
		return 0;
	if (!spm_typing_is_wanted())
		return types_drop(c);
	err = here_read(c, &here);
	if (err > 0 && spm_migrate_is_any())
		return spm_fail(
		        EPROTOTYPE,
		        "container %d: migrations are registered (pCMigrate), but what %s is in this build can't be "
		        "told: compile it with -g",
		        c->magic, c->types->root);
	if (err)
		return err > 0 ? types_drop(c) : -1;
	return types_compare(c, here);
}

/* 1: they can't be told. */
static int image_here_read(const char *path, const struct types *types, struct types **out)
{
	struct types_near near = {.module = &types->module[0]};
	char why[400];
	int err = spm_types_reread(types, NULL, NULL, &near, out, why, sizeof(why));

	if (err == -ENOMEM)
		return spm_fail(ENOMEM, "image %s: no memory to look whether its types are those of the program", path);
	return err ? 1 : 0;
}

int spm_typing_check_image(const char *path, const struct types *types)
{
	struct types_comparison found;
	struct types *here;
	int err;

	if (spm_types_are_here(types) || !spm_typing_is_wanted())
		return 0;
	err = image_here_read(path, types, &here);
	if (err)
		return err > 0 ? 0 : -1;
	err = spm_types_compare(types, here, &found);
	spm_types_free(here);
	if (err == -ENOMEM)
		return spm_fail(ENOMEM, "image %s: no memory to compare its types", path);
	if (!err && !found.differences && found.grown_count)
		err = spm_fail(EPROTOTYPE,
		               "image %s can't be used by this build of the program: %s has grown, and its objects "
		               "have no room",
		               path, found.grown[0].old->name);
	else if (err || found.differences)
		err = spm_fail(EPROTOTYPE, "image %s can't be used by this build of the program: %s", path,
		               err ? "its types are too many to be compared" : found.text);
	spm_types_comparison_free(&found);
	return err;
}

int spm_typing_check_objects(struct container *c)
{
	struct types *here;

	if (!c->growth)
		return 0;
	if (c->growth->is_migration ? spm_migrate(c, &c->growth->job) : spm_grown_check(c, c->types, &c->growth->found))
		return -1;
	here = c->growth->here;
	c->growth->here = NULL;
	types_renew(c, here);
	return 0;
}
