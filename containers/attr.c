/* attr.c - a container's attributes; they travel in each version's description. */
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
	info->spare[0] = attr->full_trace_every;
}

void spm_attr_from_info(struct cattr *attr, const struct version_info *info)
{
	memcpy(attr->name, info->name, sizeof(attr->name));
	attr->name[sizeof(attr->name) - 1] = 0;
	attr->versions_kept = info->versions_kept;
	attr->chunk_bytes = info->chunk_bytes;
	attr->stop_threads = !(info->attr_flags & ATTR_RUN_ON);
	attr->full_trace_every = (unsigned)info->spare[0];
}

static int attr_check(const struct cattr *attr)
{
	size_t chunk = attr->chunk_bytes;

	if (!memchr(attr->name, 0, sizeof(attr->name)))
		return spm_fail(EINVAL, "attribute name: longer than %zu bytes", sizeof(attr->name) - 1);
	if (chunk < SPM_PAGE_BYTES || chunk > (1 << 20) || (chunk & (chunk - 1)))
		return spm_fail(EINVAL, "attribute chunk_bytes: %zu is no power of two from 4096 to 1048576", chunk);
	return 0;
}

int pCSetAttr(int cID, const struct cattr *attr)
{
	struct container *c;

	if (!attr)
		return spm_fail(EINVAL, "pCSetAttr: no attributes given");
	if (attr_check(attr))
		return -1;
	c = spm_container_get(cID);
	if (!c)
		return -1;
	pthread_mutex_lock(&c->lock);
	c->attr = *attr;
	c->is_attr_changed = true;
	pthread_mutex_unlock(&c->lock);
	spm_container_put(c);
	return 0;
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
	spm_chain_close(chain);
	if (err)
		return spm_fail(-err, "container %d has no version yet", magic);
	spm_attr_from_info(attr, &info);
	return 0;
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
	c = spm_container_by_magic(magic);
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
