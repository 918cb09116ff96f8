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
	if (chunk < SPM_PAGE_BYTES || chunk > (1 << 20) || (chunk & (chunk - 1)))
		return spm_fail(EINVAL, "attribute chunk_bytes: %zu is no power of two from 4096 to 1048576", chunk);
	for (unsigned i = 0; i < 2; i++)
		if (!attr->thin[i].older_than_seconds != !attr->thin[i].every_seconds)
			return spm_fail(EINVAL, "attribute thin[%u]: both of its numbers are 0, or none", i);
	if (attr->thin[1].older_than_seconds && attr->thin[1].older_than_seconds <= attr->thin[0].older_than_seconds)
		return spm_fail(EINVAL, "attribute thin[1]: it must be of older versions than thin[0]");
	return 0;
}

int pCSetAttr(int cID, const struct cattr *attr)
{
	struct container *c;

	if (!attr)
		return spm_fail(EINVAL, "pCSetAttr: no attributes given");
	if (spm_attr_check(attr))
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
