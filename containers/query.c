/* query.c - what a volume holds: containers, versions, counters, damage. For programs and for the softpm tool. */
#include "container.h"
#include "refs.h"
#include "track/track.h"
#include "volume/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct version_visit {
	int (*fn)(const struct pversion *version, void *arg);
	void *arg;
};

struct pversion spm_version_tell(const struct version_info *info)
{
	return (struct pversion){
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
}

static int version_show(const struct version_info *info, void *arg)
{
	struct version_visit *v = arg;
	struct pversion p = spm_version_tell(info);

	return v->fn(&p, v->arg);
}

/* Of the current branch. */
static int chain_read_open(int magic, struct chain **chain)
{
	struct volume *v = spm_volume_current();
	char branch[SPM_NAME_BYTES];
	int err;

	if (!v || spm_current_branch(magic, branch))
		return -1;
	err = spm_chain_open(v, magic, branch, 0, 0, chain);
	return err ? spm_fail_volume(err) : 0;
}

static int chain_open_at(int magic, const char *ref, struct chain **chain)
{
	struct resolved at;
	int err;

	if (!ref)
		return chain_read_open(magic, chain);
	if (spm_ref_resolve(magic, NULL, ref, &at))
		return -1;
	if (!at.is_branch)
		return spm_ref_open(magic, NULL, ref, &at, chain);
	err = spm_chain_open(spm_volume_current(), magic, at.branch, 0, 0, chain);
	return err ? spm_fail_volume(err) : 0;
}

int pVersions(int magic, const char *ref, int (*fn)(const struct pversion *version, void *arg), void *arg)
{
	struct version_visit v = {fn, arg};
	struct chain *chain;
	int result;

	if (chain_open_at(magic, ref, &chain))
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
	char current[SPM_NAME_BYTES];
	struct pcontainer p = {.magic = magic, .branch = current, .name = ""};
	struct version_info info;
	struct chain *chain;
	int err;

	if (branch ? strcmp(branch, "main") != 0 : spm_branch_exists(spm_volume_current(), magic, "main") == 1)
		return 0;
	err = spm_current_branch(magic, current);
	err = err ? -EUCLEAN : spm_chain_open(spm_volume_current(), magic, current, 0, 0, &chain);
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
	struct pauses pauses;

	pthread_mutex_lock(&c->lock);
	pauses = c->pauses; /* who writes a version reads those of the container */
	spm_pauses_refresh(&pauses);
	*out = (struct pstats){
	        .points = c->points,
	        .stored_bytes = c->stored_bytes,
	        .queue = c->is_handed_over,
	        .lag_ns = c->is_handed_over ? spm_now_ns() - c->image.captured_ns : 0,
	        .pause_median_ns = pauses.median_ns,
	        .pause_p99_ns = pauses.p99_ns,
	        .pause_max_ns = pauses.max_ns,
	        .full_traces = c->full_traces,
	        .dirty_pages = c->dirty_pages,
	        .input_bytes = c->input - c->input_saved,
	        .discovery_ns = c->discovery_ns,
	        .freeze_ns = c->freeze_ns,
	        .write_ns = c->write_ns,
	        .flush_ns = c->flush_ns,
	        .words_moved = c->moved ? c->moved->words : 0,
	        .pages_switched = c->pages_switched,
	        .numbers_lost = c->numbers_lost,
	        .tracker = spm_track_name(),
	};
	pthread_mutex_unlock(&c->lock);
}

int pStats(int magic, struct pstats *out)
{
	struct container *c = spm_container_open(magic, NULL);
	struct version_info info;
	struct chain *chain;
	uint64_t id, input_bytes = 0;
	int err;

	if (c) {
		stats_live(c, out);
		spm_container_put(c);
		return 0;
	}
	if (chain_read_open(magic, &chain))
		return -1;
	err = spm_chain_newest(chain, &info);
	id = spm_chain_id(chain);
	spm_chain_close(chain);
	if (err)
		return spm_fail(-err, "container %d has no version yet", magic);
	err = spm_log_bytes(spm_volume_current(), magic, id, info.input, &input_bytes);
	if (err)
		return spm_fail_volume(err);
	*out = (struct pstats){
	        .input_bytes = input_bytes,
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

enum { SENTENCE_BYTES = 600 };

struct check_visit {
	int magic;
	int (*fn)(const char *damage, void *arg);
	void *arg;
	const char *branch; /* that is being looked at */
	char current[SPM_NAME_BYTES];
	char last[SENTENCE_BYTES]; /* that was told: what several branches share is told once */
	uint64_t newest_whole;     /* of the current branch */
	bool is_there, found, is_stopped;
};

static int damage_tell(const char *damage, void *arg)
{
	struct check_visit *k = arg;
	char sentence[SENTENCE_BYTES + SPM_NAME_BYTES + 16];

	if (k->found && !strcmp(damage, k->last))
		return 0;
	k->found = true;
	snprintf(k->last, sizeof(k->last), "%s", damage);
	if (strcmp(k->branch, "main"))
		snprintf(sentence, sizeof(sentence), "branch %s: %s", k->branch, damage);
	else
		snprintf(sentence, sizeof(sentence), "%s", damage);
	k->is_stopped = k->fn && k->fn(sentence, k->arg);
	return k->is_stopped;
}

struct meaning {
	int magic;
	uint64_t whole;
};

static int meaning_look(const struct pversion *version, void *arg)
{
	struct meaning *m = arg;
	char ref[SPM_NAME_BYTES + 32];

	snprintf(ref, sizeof(ref), "%s:%lld", version->branch, (long long)version->version);
	if (!spm_look_check(m->magic, ref))
		m->whole = (uint64_t)version->version;
	return m->whole != 0;
}

/* Of a branch whose bytes are all right: what no checksum tells. What can't be looked at now, as it changes, is not damaged. *whole: the newest
 * version that makes sense. */
static int meaning_check(int magic, const char *branch, struct check_visit *k, uint64_t *whole)
{
	struct meaning m = {.magic = magic};

	if (!*whole || spm_look_check(magic, branch) <= 0)
		return 0;
	damage_tell(pErrorMsg(), k);
	pVersions(magic, branch, meaning_look, &m);
	*whole = m.whole;
	return 1;
}

static int branch_check(int magic, const char *branch, void *arg)
{
	struct check_visit *k = arg;
	uint64_t whole = 0;
	int result;

	if (magic != k->magic)
		return 0;
	k->is_there = true;
	k->branch = branch ? branch : "main";
	if (!branch)
		return damage_tell(
		        "the head of a branch, or of the names, is damaged in both copies: what it held is lost", k);
	result = spm_volume_check(spm_volume_current(), magic, branch, damage_tell, k, &whole);
	if (result == 0)
		result = meaning_check(magic, branch, k, &whole);
	if (!strcmp(branch, k->current))
		k->newest_whole = whole;
	if (result >= 0 && !k->is_stopped)
		result = spm_log_check(spm_volume_current(), magic, branch, damage_tell, k);
	if (result == -ENOENT) /* it was deleted meanwhile */
		return 0;
	return result < 0 ? result : k->is_stopped;
}

int pCheck(int magic, int (*fn)(const char *damage, void *arg), void *arg, int64_t *newest_whole)
{
	struct check_visit k = {.magic = magic, .fn = fn, .arg = arg, .branch = "main"};
	int result;

	if (!spm_volume_current())
		return -1;
	if (spm_current_branch(magic, k.current) && (errno != EUCLEAN || damage_tell(pErrorMsg(), &k)))
		return k.found ? 1 : -1;
	result = spm_volume_each_chain(spm_volume_current(), branch_check, &k);
	if (result < 0)
		return spm_fail_volume(result);
	if (!k.is_there)
		return spm_fail(ENOENT, "the volume has no container %d", magic);
	if (newest_whole)
		*newest_whole = (int64_t)k.newest_whole;
	return k.found;
}
