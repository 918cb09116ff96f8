/* query.c - what a volume holds: containers, versions, counters, damage. For programs and for the softpm tool. */
#include "container.h"
#include "track/track.h"

#include <errno.h>
#include <string.h>

struct version_visit {
	int (*fn)(const struct pversion *version, void *arg);
	void *arg;
};

static int version_show(const struct version_info *info, void *arg)
{
	struct version_visit *v = arg;
	struct pversion p = {
	        .version = (int64_t)info->version,
	        .parent = (int64_t)info->parent,
	        .time_ns = (int64_t)info->time_ns,
	        .branch = info->branch,
	        .message = info->message,
	        .pages = info->pages,
	        .live_bytes = info->live_bytes,
	        .stored_pages = info->stored_pages,
	        .stored_bytes = info->stored_bytes,
	        .pause_ns = info->pause_ns,
	};

	return v->fn(&p, v->arg);
}

static int chain_read_open(int magic, struct chain **chain)
{
	struct volume *v = spm_volume_current();
	int err;

	if (!v)
		return -1;
	err = spm_chain_open(v, magic, "main", 0, 0, chain);
	return err ? spm_fail_volume(err) : 0;
}

int pVersions(int magic, int (*fn)(const struct pversion *version, void *arg), void *arg)
{
	struct version_visit v = {fn, arg};
	struct chain *chain;
	int result;

	if (chain_read_open(magic, &chain))
		return -1;
	result = spm_chain_each_version(chain, version_show, &v);
	if (result < 0)
		result = spm_fail_volume(result);
	spm_chain_close(chain);
	return result;
}

struct container_visit {
	int (*fn)(const struct pcontainer *container, void *arg);
	void *arg;
};

static int container_show(int magic, const char *branch, void *arg)
{
	struct container_visit *v = arg;
	struct pcontainer p = {.magic = magic, .branch = branch, .name = ""};
	struct version_info info;
	struct chain *chain;
	int err = spm_chain_open(spm_volume_current(), magic, branch, 0, 0, &chain);

	if (err) {
		p.damage = spm_volume_error_of(err);
		return v->fn(&p, v->arg);
	}
	if (!spm_chain_newest(chain, &info)) {
		p.name = info.name;
		p.newest = (int64_t)info.version;
		p.pages = info.pages;
		p.live_bytes = info.live_bytes;
	}
	spm_chain_close(chain);
	return v->fn(&p, v->arg);
}

int pContainers(int (*fn)(const struct pcontainer *container, void *arg), void *arg)
{
	struct container_visit v = {fn, arg};
	struct volume *volume = spm_volume_current();
	int result;

	if (!volume)
		return -1;
	result = spm_volume_each_chain(volume, container_show, &v);
	return result < 0 ? spm_fail_volume(result) : result;
}

int pVolume(struct pvolume *out)
{
	struct volume *v = spm_volume_current();
	struct volume_info info;
	int err;

	if (!v)
		return -1;
	err = spm_volume_info(v, &info);
	if (err)
		return spm_fail_volume(err);
	*out = (struct pvolume){.format = info.format,
	                        .bytes = info.bytes,
	                        .free_bytes = info.free_extents << 20,
	                        .containers = info.chains};
	memcpy(out->uuid, info.uuid, sizeof(out->uuid));
	return 0;
}

static void stats_live(struct container *c, struct pstats *out)
{
	pthread_mutex_lock(&c->lock);
	spm_pauses_refresh(&c->pauses);
	*out = (struct pstats){
	        .points = c->points,
	        .stored_bytes = c->stored_bytes,
	        .queue = c->is_handed_over,
	        .lag_ns = c->is_handed_over ? spm_now_ns() - c->image.captured_ns : 0,
	        .pause_median_ns = c->pauses.median_ns,
	        .pause_p99_ns = c->pauses.p99_ns,
	        .pause_max_ns = c->pauses.max_ns,
	        .full_traces = c->full_traces,
	        .dirty_pages = c->dirty_pages,
	        .tracker = spm_track_name(),
	};
	pthread_mutex_unlock(&c->lock);
}

int pStats(int magic, struct pstats *out)
{
	struct container *c = spm_container_by_magic(magic);
	struct version_info info;
	struct chain *chain;
	int err;

	if (c) {
		stats_live(c, out);
		spm_container_put(c);
		return 0;
	}
	if (chain_read_open(magic, &chain))
		return -1;
	err = spm_chain_newest(chain, &info);
	spm_chain_close(chain);
	if (err)
		return spm_fail(-err, "container %d has no version yet", magic);
	*out = (struct pstats){
	        .points = info.version,
	        .stored_bytes = info.stored_bytes,
	        .queue = info.queue,
	        .lag_ns = info.lag_ns,
	        .pause_median_ns = info.pause_median_ns,
	        .pause_p99_ns = info.pause_p99_ns,
	        .pause_max_ns = info.pause_max_ns,
	        .tracker = "",
	};
	return 0;
}

int pCheck(int magic, int (*fn)(const char *damage, void *arg), void *arg, int64_t *newest_whole)
{
	struct volume *v = spm_volume_current();
	uint64_t whole = 0;
	int result;

	if (!v)
		return -1;
	result = spm_volume_check(v, magic, "main", fn, arg, &whole);
	if (result < 0)
		return spm_fail_volume(result);
	if (newest_whole)
		*newest_whole = (int64_t)whole;
	return result;
}
