/* chain.c - opening, making and closing chains; their lists of dead blocks and records.
 *
 * Opening for writing reads only. What it finds may have been left by a process that was killed: a record, or a head, that other processes
 * see but that is in the device's cache only; a head whose second copy is still the one before. That is enough to restore from, and not
 * to build on. If the power goes now,
 *   nothing was written since   the next one finds this or the version before, which nobody was told is durable
 *   a record is written         it says that the one before was durable
 *   any free block is           the head before this one may need it, and must not come back: not by a second copy either
 *   a branch or tag is          it names a version that must be there
 * Hence spm_chain_settle before the first write of a writer, and a flush before a name.
 */
#include "volume/history.h"
#include "volume/pins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SMALL_PAGES = 1024, ASK_BLOCKS = 16 };

/* Makes room for `more` at the end of an array whose front is consumed. */
static int list_room(void **list, size_t *from, size_t *to, size_t *room, size_t entry, size_t more)
{
	size_t wanted;
	void *bigger;

	if (*from && *from >= *room / 2) {
		memmove(*list, (char *)*list + *from * entry, (*to - *from) * entry);
		*to -= *from;
		*from = 0;
	}
	if (*room - *to >= more)
		return 0;
	wanted = *room * 2 + more;
	bigger = realloc(*list, wanted * entry);
	if (!bigger)
		return -ENOMEM;
	*list = bigger;
	*room = wanted;
	return 0;
}

int spm_lists_prepare(struct chain *c, size_t deads, size_t records)
{
	int err = list_room((void **)&c->dead, &c->dead_from, &c->dead_to, &c->dead_room, sizeof(*c->dead), deads);

	return err ? err
	           : list_room((void **)&c->record, &c->record_from, &c->record_to, &c->record_room, sizeof(*c->record),
	                       records);
}

int spm_dead_add(struct chain *c, const struct place *p, uint64_t death)
{
	int err;

	if (!p->block || p->birth <= c->head.origin_seq) /* an origin's block is not ours */
		return 0;
	err = spm_lists_prepare(c, 1, 0);
	if (!err)
		c->dead[c->dead_to++] = (struct dead){p->block, p->birth, death};
	return err;
}

int spm_record_add(struct chain *c, const struct record_place *r)
{
	int err = spm_lists_prepare(c, 0, 1);

	if (!err)
		c->record[c->record_to++] = *r;
	return err;
}

struct chain *spm_chain_new(struct volume *v, int magic, const char *branch)
{
	struct chain *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->buffer = aligned_alloc(SPM_BLOCK_BYTES, BUFFER_BYTES);
	if (!c->buffer) {
		free(c);
		return NULL;
	}
	c->volume = v;
	c->magic = magic;
	strncpy(c->branch, branch, sizeof(c->branch) - 1);
	pthread_mutex_init(&c->maintain_lock, NULL);
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

/* What a chain is that is no branch. */
const char *spm_chain_kind(const char *name)
{
	return spm_is_log(name) ? "its recorded inputs" : "the list of its names";
}

void spm_writer_unlock(struct chain *c)
{
	if (!c->is_writer)
		return;
	c->volume->driver->ops->unlock(c->volume->driver, LOCK_CHAINS + c->id);
	spm_writing_end(c);
	c->is_writer = false;
}

void spm_chain_free(struct chain *c)
{
	spm_writer_unlock(c);
	if (c->pinned_seq)
		spm_version_unpin(c, c->pinned_seq);
	spm_map_free(&c->map);
	spm_history_free(&c->history);
	free(c->extent);
	free(c->dead);
	free(c->record);
	free(c->buffer);
	spm_bases_free(c->bases);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->maintain_lock);
	free(c);
}

static int driver_lock(struct chain *c, unsigned wait_ms)
{
	const struct driver_ops *ops = c->volume->driver->ops;
	int holder = 0, err = ops->lock(c->volume->driver, LOCK_CHAINS + c->id, wait_ms, &holder);

	if (err == -EAGAIN && holder)
		return spm_volume_fail(err,
		                       "container %d is being written by process %d; wait for it with ?wait=SECONDS in "
		                       "the volume's name",
		                       c->magic, holder);
	if (err == -EAGAIN)
		return spm_volume_fail(err, "container %d is being written by somebody else", c->magic);
	if (err)
		return spm_volume_fail(err, "container %d can't be locked for writing: %s", c->magic, strerror(-err));
	return 0;
}

int spm_writer_lock(struct chain *c, unsigned wait_ms)
{
	int err = spm_writing_begin(c, wait_ms);

	if (err == -EBUSY)
		return spm_volume_fail(err, "container %d, %s%s, is open for writing in this process", c->magic,
		                       spm_is_branch(c->branch) ? "branch " : spm_chain_kind(c->branch),
		                       spm_is_branch(c->branch) ? c->branch : "");
	if (err)
		return err;
	err = driver_lock(c, wait_ms);
	if (err)
		spm_writing_end(c);
	c->is_writer = !err;
	return err;
}

static int extent_note(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	struct chain *c = arg;

	if (e->owner != c->id)
		return 0;
	if (spm_is_chain(e) && spm_head_block_of(first_block) != c->head_block)
		return spm_volume_fail(
		        -EUCLEAN,
		        "container %d: the extents at blocks %llu and %llu both claim to begin its chain; it "
		        "can be read but not written: restore the volume from a copy",
		        c->magic, (unsigned long long)c->head_block, (unsigned long long)first_block);
	return spm_free_add_extent(c, first_block, spm_is_chain(e));
}

static int chain_must_be_absent(struct chain *c)
{
	struct chain_head head;
	uint64_t first;
	int found = spm_head_find(c->volume, c->magic, c->branch, 0, &head, &first);

	if (found <= 0)
		return found;
	return strcmp(c->branch, "main")
	               ? spm_volume_fail(-EEXIST, "container %d has a branch %s already", c->magic, c->branch)
	               : spm_volume_fail(-EEXIST, "the volume has container %d already", c->magic);
}

struct birth {
	struct chain *chain;
	const struct chain *from; /* what it branches off; NULL: it begins empty */
};

/* A version that is not the chain's own is its parent's. */
static void origin_set(struct chain_head *head, const struct chain *from)
{
	bool is_own = from->seq > from->head.origin_seq;

	head->parent_chain = is_own ? from->id : from->head.parent_chain;
	head->origin_seq = from->seq;
	head->origin_version = from->newest.version;
}

static int head_write_new(struct chain *c)
{
	struct chain_head *block = calloc(1, SPM_BLOCK_BYTES);
	int err = -ENOMEM;

	if (block) {
		*block = c->head;
		err = spm_mirror_make(c->volume, c->head_block, block, offsetof(struct chain_head, sum));
	}
	free(block);
	return err;
}

/* Before anything says that the chain exists; nobody else takes an extent meanwhile, so nobody else makes the same
 * chain. */
static int head_make(uint64_t first_block, void *arg)
{
	struct birth *b = arg;
	struct chain *c = b->chain;
	int err = chain_must_be_absent(c);

	if (!err)
		err = spm_free_add_extent(c, first_block, true);
	c->head_block = spm_head_block_of(first_block);
	for (unsigned i = 0; i < 2 && !err; i++) {
		c->next[i] = (struct block_run){c->head_block + 2 + i * PLACE_BLOCKS, PLACE_BLOCKS};
		err = spm_free_use(c, c->next[i].block, PLACE_BLOCKS);
	}
	c->head = (struct chain_head){.magic = FORMAT_HEAD_MAGIC, .chain_id = c->id, .container = c->magic};
	memcpy(c->head.branch, c->branch, sizeof(c->branch));
	memcpy(c->head.next, c->next, sizeof(c->next));
	if (b->from)
		origin_set(&c->head, b->from);
	c->head.durable_seq = c->head.origin_seq;
	if (!err)
		err = spm_index_load(c, false); /* there is none: what stands for it */
	return err ? err : head_write_new(c);
}

static int chain_make(struct volume *v, int magic, const char *branch, const struct chain *from, struct chain **out)
{
	struct chain *c = spm_chain_new(v, magic, branch);
	uint64_t first;
	unsigned got;
	int err;

	if (!c)
		return -ENOMEM;
	if (getrandom(&c->id, 5, 0) != 5 || !c->id)
		c->id = spm_now_ns() & 0xffffffffff;
	err = spm_writer_lock(c, 0);
	if (!err)
		err = spm_extents_take(v, c->id, magic, spm_name_hash(branch), head_make, &(struct birth){c, from}, 1,
		                       &first, &got);
	c->seq = c->head.origin_seq;
	c->deads_from = c->records_from = c->seq + 1;
	c->is_settled = true;
	if (err)
		spm_chain_free(c);
	else
		*out = c;
	return err;
}

int spm_chain_create(struct volume *v, int magic, const char *branch, struct chain **out)
{
	return chain_make(v, magic, branch, NULL, out);
}

int spm_chain_have(struct volume *v, int magic, const char *branch, unsigned wait_ms, struct chain **out)
{
	int err = spm_chain_open(v, magic, branch, CHAIN_WRITE, wait_ms, out);

	if (err == -ENOENT)
		err = spm_chain_create(v, magic, branch, out);
	if (err == -EEXIST) /* somebody else was faster */
		err = spm_chain_open(v, magic, branch, CHAIN_WRITE, wait_ms, out);
	return err;
}

/* No block is claimed twice by what the newest version needs, maps and index, and none of theirs is free; records have places. So
 * whatever else the disk may say, nothing of these is written over. */
struct claims {
	struct chain *c;
	struct extent *space; /* a copy of the extents; bits of what is claimed */
};

static int map_claim(const struct source_run *r, bool is_kept, void *arg)
{
	struct claims *k = arg;

	(void)is_kept;
	return r->block && r->birth > k->c->head.origin_seq ? spm_free_claim(k->c, k->space, r->block, r->pages) : 0;
}

static int runs_claim(struct claims *k, const struct block_run *run, uint64_t runs)
{
	int err = 0;

	for (uint64_t i = 0; i < runs && !err; i++)
		err = spm_free_claim(k->c, k->space, run[i].block, run[i].blocks);
	return err;
}

static int claims_check(struct claims *k)
{
	struct chain *c = k->c;
	int err = spm_map_each_run(&c->map, map_claim, k);

	for (size_t i = 0; i < c->history.segments && !err; i++)
		err = runs_claim(k, c->history.segment[i].run, c->history.segment[i].e.runs);
	if (!err)
		err = runs_claim(k, c->head.run, c->head.run_count);
	for (unsigned i = 0; i < 2 && !err; i++)
		err = c->next[i].blocks ? spm_free_use(c, c->next[i].block, c->next[i].blocks) : -EUCLEAN;
	return err;
}

static int space_check(struct chain *c)
{
	struct claims k = {c, calloc(c->extents + 1, sizeof(*k.space))};
	int err = k.space ? 0 : -ENOMEM;

	for (size_t i = 0; i < c->extents && !err; i++)
		k.space[i].first = c->extent[i].first;
	if (!err && claims_check(&k))
		err = spm_volume_fail(-EUCLEAN,
		                      "container %d: its maps claim a block that is free, not its own, or claimed "
		                      "twice; it can be read but "
		                      "not written: restore the volume from a copy",
		                      c->magic);
	free(k.space);
	return err;
}

/* Versions behind the newest were given up: what the index says of space has them still. */
static int space_recount(struct chain *c)
{
	struct extent *needed = calloc(c->extents + 1, sizeof(*needed));
	int err = needed ? 0 : -ENOMEM;

	for (size_t i = 0; i < c->extents && !err; i++)
		needed[i].first = c->extent[i].first;
	if (!err)
		err = spm_space_needed(c, needed);
	for (size_t i = 0; i < c->extents && !err; i++)
		for (unsigned b = 0; b < EXTENT_BLOCKS; b++) {
			uint64_t block = c->extent[i].first + b;
			bool is_needed = needed[i].free[b >> 6] >> (b & 63) & 1;

			if (is_needed == spm_free_has(c, block) && is_needed)
				spm_free_use(c, block, 1);
			else if (!is_needed && !spm_free_has(c, block) && block % GROUP_BLOCKS >= GROUP_RESERVED_BLOCKS)
				spm_free_give(c, block, 1);
		}
	free(needed);
	for (unsigned i = 0; i < 2 && !err; i++)
		spm_free_give(c, c->next[i].block, c->next[i].blocks);
	c->index_seq = c->seq;
	return err;
}

/* The two copies of the head are made the same, if a crash or damage left them different. Nothing else may be written before: the
 * first write of the next head would leave only an older one than that found, whose blocks may be in use again by then. */
static int head_repair(struct chain *c)
{
	struct chain_head *block;
	int err = -ENOMEM;

	if (!spm_mirror_is_torn(c->volume, c->head_block))
		return 0;
	block = calloc(1, SPM_BLOCK_BYTES);
	if (block) {
		*block = c->head;
		err = spm_mirror_write(c->volume, c->head_block, block, offsetof(struct chain_head, sum));
	}
	free(block);
	return err;
}

int spm_chain_settle_locked(struct chain *c)
{
	int err;

	if (!c->is_writer || c->is_settled)
		return 0;
	err = spm_volume_flush(c->volume);
	if (!err)
		err = head_repair(c);
	c->is_settled = !err;
	return err;
}

int spm_chain_settle(struct chain *c)
{
	int err;

	pthread_mutex_lock(&c->lock);
	err = spm_chain_settle_locked(c);
	pthread_mutex_unlock(&c->lock);
	return err;
}

/* Nothing is written yet (spm_chain_settle), unless versions are given up. */
static int writer_begin(struct chain *c, unsigned flags)
{
	int err = c->seq < c->index_seq ? space_recount(c) : 0;

	if (!err)
		err = space_check(c);
	return !err && flags & CHAIN_NEWEST_WHOLE ? spm_chain_note_durable(c) : err;
}

static int chain_load(struct chain *c, unsigned flags)
{
	bool writes = flags & CHAIN_WRITE;
	int err = writes ? spm_extents_each(c->volume, extent_note, c) : 0;

	if (!err)
		err = spm_index_load(c, writes);
	if (!err)
		err = spm_chain_recover(c, flags);
	return !err && writes ? writer_begin(c, flags) : err;
}

/* The version, of this chain, that has this number: c->seq and its map. */
static int version_seek(struct chain *c, uint64_t version)
{
	const struct history *h = &c->history;
	size_t i = h->segments;
	struct replay r;
	int err;

	while (i && h->segment[i - 1].e.version > version)
		i--;
	if (!i)
		return -ENOENT;
	err = spm_replay_begin(&r, c, &h->segment[i - 1], &c->map);
	while (!err && r.info.version < version)
		err = spm_replay_step(&r);
	if (!err && (r.info.version != version || (r.seq <= c->index_seq && !spm_kept_has(&c->history, r.seq))))
		return -ENOENT;
	c->is_at_version = true;
	c->seq = r.seq;
	c->newest = r.info;
	for (uint64_t seq = c->index_seq + 1; seq <= r.seq && !err; seq++) /* the index does not know them */
		err = spm_kept_add_newest(&c->history, seq, 0);
	return err;
}

/* To the chain that the version is of: this, or one that it branched off. 0, or 1: this is not it, look at the parent. */
static int version_load(struct chain *c, uint64_t version)
{
	int err;

	if (c->head.parent_chain && version <= c->head.origin_version)
		return 1;
	err = spm_index_load(c, false);
	if (!err)
		err = version_seek(c, version);
	return err == -ENOENT ? spm_volume_fail(err, "container %d: branch %s has no version %llu, or not any more",
	                                        c->magic, c->branch, (unsigned long long)version)
	                      : err;
}

/* Once it is pinned, it must still be there. -EAGAIN: all may be different now. */
static int reader_pin(struct chain *c)
{
	struct chain_head head;
	uint64_t first;
	int err = c->seq ? spm_version_pin(c, c->seq) : 0;

	if (err)
		return err;
	c->pinned_seq = c->seq;
	err = spm_head_find(c->volume, c->magic, NULL, c->id, &head, &first);
	if (err < 0)
		return err;
	return err && head.index_sum == c->head.index_sum && head.index_bytes == c->head.index_bytes ? 0 : -EAGAIN;
}

struct wanted {
	int magic;
	const char *branch;
	uint64_t id; /* if branch is NULL */
	unsigned flags, wait_ms;
	uint64_t version; /* 0: the newest */
};

/* Finds it; of a writer, with its lock. */
static int chain_find(struct volume *v, const struct wanted *w, struct chain **out)
{
	struct chain *c = spm_chain_new(v, w->magic, w->branch ? w->branch : "");
	uint64_t first = 0;
	int err = c ? spm_head_find(v, w->magic, w->branch, w->id, &c->head, &first) : -ENOMEM;

	if (err == 0)
		err = w->branch && *w->branch && strcmp(w->branch, "main")
		              ? spm_volume_fail(-ENOENT, "container %d has no branch %s", w->magic, w->branch)
		              : spm_volume_fail(-ENOENT, "the volume has no container %d", w->magic);
	if (err < 0)
		goto fail;
	c->id = c->head.chain_id;
	memcpy(c->branch, c->head.branch, sizeof(c->branch));
	err = w->flags & CHAIN_WRITE ? spm_writer_lock(c, w->wait_ms) : 0;
	/* The lock is ours now; what was read before it may be old. */
	if (!err && w->flags & CHAIN_WRITE) {
		err = spm_head_find(v, w->magic, NULL, c->id, &c->head, &first);
		err = err == 1 ? 0
		      : err    ? err
		               : spm_volume_fail(-ENOENT, "container %d was deleted meanwhile", c->magic);
	}
	if (err)
		goto fail;
	c->head_block = spm_head_block_of(first);
	*out = c;
	return 0;
fail:
	if (c)
		spm_chain_free(c);
	return err;
}

int spm_chain_open_history(struct volume *v, int magic, const char *branch, uint64_t id, struct chain **out)
{
	struct chain *c;
	int err = chain_find(v, &(struct wanted){.magic = magic, .branch = branch, .id = id}, &c);

	if (err)
		return err;
	err = spm_index_load(c, false);
	if (err)
		spm_chain_free(c);
	else
		*out = c;
	return err;
}

static int chain_open_once(struct volume *v, struct wanted w, struct chain **out)
{
	struct chain *c = NULL;
	int err = 1;

	for (unsigned depth = 0; err == 1; depth++) {
		err = chain_find(v, &w, &c);
		if (err)
			return err;
		err = w.version ? version_load(c, w.version) : chain_load(c, w.flags);
		if (err == 1) {
			w.id = c->head.parent_chain;
			w.branch = NULL;
			spm_chain_free(c);
		}
		if (err == 1 && depth > BRANCH_DEPTH_MOST)
			return spm_volume_fail(-EUCLEAN, "container %d: its branches begin with each other", w.magic);
	}
	if (!err && !(w.flags & CHAIN_WRITE))
		err = reader_pin(c);
	if (err)
		spm_chain_free(c);
	else
		*out = c;
	return err;
}

static int version_hold_once(struct volume *v, int magic, const struct version_found *at, struct chain **out)
{
	struct chain *c;
	int err = spm_chain_open_history(v, magic, NULL, at->chain_id, &c);

	if (err)
		return err;
	c->seq = at->seq;
	c->newest = at->info;
	if (at->seq <= c->index_seq && at->seq > c->head.origin_seq && !spm_kept_has(&c->history, at->seq))
		err = spm_volume_fail(-ENOENT, "container %d: version %llu is not there any more", magic,
		                      (unsigned long long)at->info.version);
	if (!err)
		err = reader_pin(c);
	if (err)
		spm_chain_free(c);
	else
		*out = c;
	return err;
}

int spm_version_hold(struct volume *v, int magic, const struct version_found *at, struct chain **out)
{
	int err = -EAGAIN;

	for (unsigned tries = 0; err == -EAGAIN && tries < 20; tries++) { /* its writer is at work */
		if (tries)
			spm_sleep_ms(tries);
		err = version_hold_once(v, magic, at, out);
	}
	return err;
}

static int branch_hold_once(struct volume *v, int magic, const char *branch, struct chain **out)
{
	struct chain *c;
	int err = spm_chain_open_history(v, magic, branch, 0, &c);

	if (err)
		return err;
	c->seq = 1; /* any */
	err = reader_pin(c);
	if (err)
		spm_chain_free(c);
	else
		*out = c;
	return err;
}

int spm_branch_hold(struct volume *v, int magic, const char *branch, struct chain **out)
{
	int err = -EAGAIN;

	for (unsigned tries = 0; err == -EAGAIN && tries < 20; tries++) { /* its writer is at work */
		if (tries)
			spm_sleep_ms(tries);
		err = branch_hold_once(v, magic, branch, out);
	}
	return err;
}

int spm_branch_exists(struct volume *v, int magic, const char *branch)
{
	struct chain_head head;
	uint64_t first;

	return spm_head_find(v, magic, branch, 0, &head, &first);
}

int spm_branch_create(struct volume *v, int magic, const char *branch, const struct version_found *at)
{
	struct chain *from, *made;
	int err = spm_version_hold(v, magic, at, &from);

	if (err)
		return err;
	err = spm_volume_flush(v); /* the version that it begins with may not be durable yet */
	if (!err)
		err = chain_make(v, magic, branch, from, &made);
	if (!err)
		spm_chain_free(made);
	spm_chain_free(from);
	return err;
}

static int chain_open(struct volume *v, const struct wanted *w, struct chain **out)
{
	int err = chain_open_once(v, *w, out);

	/* A writer may move on while a reader follows it: what looks damaged then is gone at the next look. */
	for (unsigned tries = 1; (err == -EUCLEAN || err == -EAGAIN) && !(w->flags & CHAIN_WRITE) && tries < 20;
	     tries++) {
		if (err == -EAGAIN)
			spm_sleep_ms(tries);
		else if (tries >= 5)
			break;
		err = chain_open_once(v, *w, out);
	}
	return err;
}

int spm_chain_open(struct volume *v, int magic, const char *branch, unsigned flags, unsigned wait_ms,
                   struct chain **out)
{
	return chain_open(v, &(struct wanted){.magic = magic, .branch = branch, .flags = flags, .wait_ms = wait_ms},
	                  out);
}

int spm_chain_open_version(struct volume *v, int magic, const char *branch, uint64_t version, struct chain **out)
{
	return chain_open(v, &(struct wanted){.magic = magic, .branch = branch, .version = version}, out);
}

int spm_chain_open_parent(struct chain *c, struct chain **out)
{
	if (!c->head.parent_chain)
		return -ENOENT;
	return chain_open(
	        c->volume,
	        &(struct wanted){.magic = c->magic, .id = c->head.parent_chain, .version = c->head.origin_version},
	        out);
}

bool spm_chain_is_noted(const struct chain *c)
{
	return c->head.durable_seq >= c->seq;
}

uint64_t spm_chain_id(const struct chain *c)
{
	return c->id;
}

void spm_chain_about(const struct chain *c, struct chain_about *out)
{
	*out = (struct chain_about){.branch = c->branch,
	                            .is_branch = c->head.parent_chain != 0,
	                            .origin_version = c->head.origin_version,
	                            .chain_id = c->id,
	                            .seq = c->seq};
}

void spm_chain_position(const struct chain *c, struct version_found *out)
{
	*out = (struct version_found){c->newest, c->id, c->seq};
}

void spm_chain_leave(struct chain *c)
{
	c->is_writer = false;
	c->pinned_seq = 0;
	spm_chain_free(c);
}

struct asking {
	struct chain *c;
	struct nears nears;
};

static void blocks_ask(struct asking *a, uint64_t block, uint64_t blocks)
{
	for (uint64_t b = 0; b < blocks; b += ASK_BLOCKS)
		spm_chain_near(a->c, &a->nears, block + b);
}

static int run_ask(const struct source_run *r, bool is_kept, void *arg)
{
	(void)is_kept;
	if (r->block)
		blocks_ask(arg, r->block, r->pages);
	return 0;
}

static void runs_ask(struct asking *a, const struct block_run *run, uint64_t runs)
{
	for (uint64_t i = 0; i < runs; i++)
		blocks_ask(a, run[i].block, run[i].blocks);
}

/* What was written went past the kernel's cache, where other programs' files are after a run; and small containers are those of programs
 * that run often. So what a restore reads is asked for: tables, head, index, map, records since then, pages. */
static void small_ask(struct chain *c)
{
	struct asking a = {c, {.is_dense = true}};
	const struct segment *s = c->history.segments ? &c->history.segment[c->history.segments - 1] : NULL;

	if (!c->is_writer || !c->is_settled || !spm_is_branch(c->branch) || c->map.pages > SMALL_PAGES || !s)
		return;
	blocks_ask(&a, 0, GROUP_RESERVED_BLOCKS);
	blocks_ask(&a, c->head_block, 2);
	runs_ask(&a, c->head.run, c->head.run_count);
	runs_ask(&a, s->run, s->e.runs);
	for (size_t i = c->record_from; i < c->record_to; i++)
		if (c->record[i].seq > s->e.seq)
			blocks_ask(&a, c->record[i].block, 1);
	runs_ask(&a, c->next, 2);
	spm_map_each_run(&c->map, run_ask, &a);
}

void spm_chain_close(struct chain *c)
{
	if (c->is_writer && c->is_settled && !spm_chain_is_noted(c))
		spm_chain_note_durable(c); /* a failure costs only the knowledge */
	small_ask(c);
	spm_chain_free(c);
}

/* A branch without versions of its own is at its parent's. */
int spm_chain_newest_found(struct chain *c, struct version_found *out)
{
	bool is_own;
	int err = -ENOENT;

	pthread_mutex_lock(&c->lock);
	is_own = c->seq > c->head.origin_seq;
	if (c->newest.version) {
		*out = (struct version_found){c->newest, is_own ? c->id : c->head.parent_chain, c->seq};
		err = 0;
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

int spm_chain_newest(struct chain *c, struct version_info *out)
{
	int err = -ENOENT;

	pthread_mutex_lock(&c->lock);
	if (c->newest.version) {
		*out = c->newest;
		err = 0;
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}
