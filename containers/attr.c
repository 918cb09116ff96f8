/* attr.c - a container's attributes; they travel in each version's description, but for the type, which its blob has. */
#include "container.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTR_RUN_ON = 1 }; /* attr_flags: other threads are not stopped */

void spm_attr_default(struct cattr *attr)
{
	*attr = (struct cattr){
	        .versions_kept = 16, .chunk_bytes = SPM_PAGE_BYTES, .stop_threads = 1, .full_trace_every = 1000};
}

void spm_attr_to_info(const struct cattr *attr, struct version_info *info)
{
	memcpy(info->name, attr->name, sizeof(info->name));
	info->versions_kept = attr->versions_kept;
	info->chunk_bytes = (uint32_t)attr->chunk_bytes;
	info->attr_flags = attr->stop_threads ? 0 : ATTR_RUN_ON;
	info->full_trace_every = attr->full_trace_every;
	info->keep_seconds = attr->keep_seconds;
	for (unsigned i = 0; i < 2; i++)
		info->thin[i] = (struct thinning){attr->thin[i].older_than_seconds, attr->thin[i].every_seconds};
}

void spm_attr_from_info(struct cattr *attr, const struct version_info *info)
{
	memcpy(attr->name, info->name, sizeof(attr->name));
	attr->name[sizeof(attr->name) - 1] = 0;
	attr->versions_kept = info->versions_kept;
	attr->chunk_bytes = info->chunk_bytes;
	attr->stop_threads = !(info->attr_flags & ATTR_RUN_ON);
	attr->full_trace_every = info->full_trace_every;
	attr->keep_seconds = info->keep_seconds;
	for (unsigned i = 0; i < 2; i++) {
		attr->thin[i].older_than_seconds = info->thin[i].older_than_s;
		attr->thin[i].every_seconds = info->thin[i].every_s;
	}
}

int spm_attr_check(const struct cattr *attr)
{
	size_t chunk = attr->chunk_bytes;

	if (!memchr(attr->name, 0, sizeof(attr->name)))
		return spm_fail(EINVAL, "attribute name: longer than %zu bytes", sizeof(attr->name) - 1);
	if (!memchr(attr->type, 0, sizeof(attr->type)))
		return spm_fail(EINVAL, "attribute type: longer than %zu bytes", sizeof(attr->type) - 1);
	if (chunk < SPM_PAGE_BYTES || chunk > (1 << 20) || (chunk & (chunk - 1)))
		return spm_fail(EINVAL, "attribute chunk_bytes: %zu is no power of two from 4096 to 1048576", chunk);
	for (unsigned i = 0; i < 2; i++)
		if (!attr->thin[i].older_than_seconds != !attr->thin[i].every_seconds)
			return spm_fail(EINVAL, "attribute thin[%u]: both of its numbers are 0, or none", i);
	if (attr->thin[1].older_than_seconds && attr->thin[1].older_than_seconds <= attr->thin[0].older_than_seconds)
		return spm_fail(EINVAL, "attribute thin[1]: it must be of older versions than thin[0]");
	return 0;
}

/* types: to be the container's, unless they are the same. They are saved by whoever makes a point. */
static void attr_set(struct container *c, const struct cattr *attr, struct types *types, bool are_same)
{
	spm_container_lock(c);
	while (!are_same && c->is_busy)
		pthread_cond_wait(&c->changed, &c->lock);
	if (!are_same) {
		spm_typing_set(c, types);
		spm_exact_begin(c, false);
		c->are_types_changed = true;
	}
	c->attr = *attr;
	c->is_attr_changed = true;
	pthread_mutex_unlock(&c->lock);
}

int pCSetAttr(int cID, const struct cattr *attr)
{
	struct types *types;
	struct container *c;
	bool are_same;
	int err;

	if (!attr)
		return spm_fail(EINVAL, "pCSetAttr: no attributes given");
	if (spm_attr_check(attr))
		return -1;
	c = spm_container_get(cID);
	if (!c)
		return -1;
	spm_typing_lock();
	err = spm_typing_read(c, attr, __builtin_return_address(0), &types, &are_same);
	if (!err)
		attr_set(c, attr, types, are_same);
	spm_typing_unlock();
	spm_container_put(c);
	return err;
}

/* The chain's newest version's type. */
static int type_read(struct chain *chain, int magic, struct cattr *attr)
{
	struct page_source source;
	struct page_meta meta;
	struct types *types = NULL;
	struct blob_parts parts;
	unsigned char *blob;
	uint64_t pages = 0;
	int err;

	while (spm_chain_page(chain, SPM_BLOB_PAGE + pages, &source, &meta))
		pages++;
	err = spm_blob_read(chain, magic, pages, &blob, &parts);
	if (!err)
		err = spm_typing_load(magic, &parts, &types);
	if (types)
		snprintf(attr->type, sizeof(attr->type), "%s", types->root);
	spm_types_free(types);
	free(blob);
	return err;
}

/* From the volume, for a container that is not open here. */
static int attr_read(int magic, struct cattr *attr)
{
	struct volume *v = spm_volume_current();
	struct version_info info;
	struct chain *chain;
	int err;

	if (!v)
		return -1;
	err = spm_chain_open(v, magic, "main", 0, 0, &chain);
	if (err)
		return spm_fail_volume(err);
	err = spm_chain_newest(chain, &info);
	if (err)
		err = spm_fail(-err, "container %d has no version yet", magic);
	else
		err = type_read(chain, magic, attr);
	if (!err)
		spm_attr_from_info(attr, &info);
	spm_chain_close(chain);
	return err;
}

struct cattr *pCGetAttr(int magic)
{
	struct cattr *attr = malloc(sizeof(*attr));
	struct container *c;

	if (!attr) {
		spm_fail(ENOMEM, "no memory for the attributes of container %d", magic);
		return NULL;
	}
	spm_attr_default(attr);
	c = spm_container_open(magic, NULL);
	if (c) {
		pthread_mutex_lock(&c->lock);
		*attr = c->attr;
		pthread_mutex_unlock(&c->lock);
		spm_container_put(c);
	} else if (attr_read(magic, attr)) {
		free(attr);
		return NULL;
	}
	return attr;
}

void pCAttrFree(struct cattr *attr)
{
	free(attr);
}
