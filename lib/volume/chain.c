/* chain.c - opening, making and closing chains; their lists of dead blocks and records. */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

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

int spm_dead_add(struct chain *c, uint64_t block, uint64_t death)
{
	int err = spm_lists_prepare(c, 1, 0);

	if (!err)
		c->dead[c->dead_to++] = (struct dead){block, death};
	return err;
}

int spm_record_add(struct chain *c, const struct record_place *r)
{
	int err = spm_lists_prepare(c, 0, 1);

	if (!err)
		c->record[c->record_to++] = *r;
	return err;
}

static bool record_is_needed(const struct chain *c, const struct record_place *r)
{
	return r->seq >= c->oldest_kept || r->seq > c->head.checkpoint_seq;
}

/* One that the map keeps, or NULL. */
static const struct record *record_kept(const struct chain *c, uint64_t seq)
{
	for (size_t i = 0; i < c->images; i++) {
		const struct record *r = c->image[i];

		if (r->magic == FORMAT_RECORD_MAGIC && r->seq == seq)
			return r;
	}
	return NULL;
}

int spm_record_runs(struct chain *c, const struct record_place *r, struct block_run *run, unsigned *n)
{
	const struct record *kept = record_kept(c, r->seq);
	struct record *record;
	int err;

	if (r->blocks) {
		run[0] = (struct block_run){r->block, r->blocks};
		*n = 1;
		return 0;
	}
	if (kept) {
		*n = kept->run_count;
		memcpy(run, kept->run, *n * sizeof(*run));
		return 0;
	}
	err = spm_record_read(c->volume, r->block, &record);
	if (err)
		return err;
	*n = record->run_count;
	memcpy(run, record->run, *n * sizeof(*run));
	free(record);
	return 0;
}

void spm_reclaim(struct chain *c)
{
	uint64_t oldest = c->pinned && c->pinned < c->oldest_kept ? c->pinned : c->oldest_kept;
	struct block_run run[RECORD_RUNS_MAX];
	unsigned n;

	for (; c->dead_from < c->dead_to && c->dead[c->dead_from].death <= oldest; c->dead_from++)
		spm_free_give(c, c->dead[c->dead_from].block, 1);
	for (; c->record_from < c->record_to && !record_is_needed(c, &c->record[c->record_from]); c->record_from++)
		if (!spm_record_runs(c, &c->record[c->record_from], run, &n)) /* unreadable: its blocks stay used */
			for (unsigned i = 0; i < n; i++)
				spm_free_give(c, run[i].block, run[i].blocks);
}

static uint64_t head_block_of(uint64_t first_block)
{
	return first_block + (first_block % GROUP_BLOCKS == 0 ? GROUP_RESERVED_BLOCKS : 0);
}

struct search {
	struct volume *volume;
	int magic;
	const char *branch;
	struct chain_head head;
	uint64_t first_block, id;
	int (*fn)(int magic, const char *branch, void *arg);
	void *arg;
};

static int head_read(struct volume *v, uint64_t first_block, uint64_t owner, struct chain_head *out)
{
	uint64_t at = head_block_of(first_block);
	struct chain_head *h = aligned_alloc(SPM_BLOCK_BYTES, SPM_BLOCK_BYTES);
	int err = h ? spm_mirror_read(v, at, h, offsetof(struct chain_head, sum), FORMAT_HEAD_MAGIC) : -ENOMEM;

	if (!err && (h->chain_id != owner || h->run_count > HEAD_RUNS_MAX || !memchr(h->branch, 0, sizeof(h->branch))))
		err = -EUCLEAN;
	if (err == -EUCLEAN)
		spm_volume_fail(err,
		                "the head of the container's chain (blocks %llu and %llu) is damaged in both copies; "
		                "none of its "
		                "versions can be found without it: restore the volume from a copy",
		                (unsigned long long)at, (unsigned long long)at + 1);
	if (!err)
		*out = *h;
	free(h);
	return err;
}

static bool is_chain(const struct extent_entry *e)
{
	return e->owner && (e->flags & (EXTENT_FIRST | EXTENT_DELETING)) == EXTENT_FIRST;
}

static int search_step(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	struct search *s = arg;
	int err;

	if (!is_chain(e) || e->magic != s->magic)
		return 0;
	err = head_read(s->volume, first_block, e->owner, &s->head);
	if (err)
		return err;
	if (s->branch && strcmp(s->head.branch, s->branch))
		return 0;
	s->first_block = first_block;
	s->id = e->owner;
	return 1;
}

/* 1: found, 0: not there, or -errno. */
static int chain_search(struct volume *v, int magic, const char *branch, struct search *s)
{
	*s = (struct search){.volume = v, .magic = magic, .branch = branch};
	return spm_extents_each(v, search_step, s);
}

static int chain_visit(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	struct search *s = arg;

	if (!is_chain(e))
		return 0;
	if (head_read(s->volume, first_block, e->owner, &s->head)) /* its opening will tell why */
		return s->fn(e->magic, "main", s->arg);
	return s->fn(e->magic, s->head.branch, s->arg);
}

int spm_volume_each_chain(struct volume *v, int (*fn)(int magic, const char *branch, void *arg), void *arg)
{
	struct search s = {.volume = v, .fn = fn, .arg = arg};

	return spm_extents_each(v, chain_visit, &s);
}

static struct chain *chain_new(struct volume *v, int magic, const char *branch)
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

static void chain_free(struct chain *c)
{
	if (c->is_writer)
		c->volume->driver->ops->unlock(c->volume->driver, LOCK_CHAINS + c->id);
	spm_map_free(c);
	free(c->extent);
	free(c->dead);
	free(c->record);
	free(c->buffer);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->maintain_lock);
	free(c);
}

static int writer_lock(struct chain *c, unsigned wait_ms)
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
	c->is_writer = true;
	return 0;
}

static int extent_note(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	struct chain *c = arg;

	if (e->owner != c->id)
		return 0;
	if (is_chain(e) && head_block_of(first_block) != c->head_block)
		return spm_volume_fail(
		        -EUCLEAN,
		        "container %d: the extents at blocks %llu and %llu both claim to begin its chain; it "
		        "can be read but not written: restore the volume from a copy",
		        c->magic, (unsigned long long)c->head_block, (unsigned long long)first_block);
	return spm_free_add_extent(c, first_block, is_chain(e));
}

static int chain_must_be_absent(struct chain *c)
{
	struct search s;
	int found = chain_search(c->volume, c->magic, c->branch, &s);

	return found > 0 ? spm_volume_fail(-EEXIST, "the volume has container %d already", c->magic) : found;
}

/* Before anything says that the chain exists; nobody else takes an extent meanwhile, so nobody else makes the same
 * chain. */
static int head_make(uint64_t first_block, void *arg)
{
	struct chain *c = arg;
	int err = chain_must_be_absent(c);

	if (!err)
		err = spm_free_add_extent(c, first_block, true);
	c->head_block = head_block_of(first_block);
	for (unsigned i = 0; i < 2 && !err; i++) {
		c->next[i] = (struct block_run){c->head_block + 2 + i * PLACE_BLOCKS, PLACE_BLOCKS};
		err = spm_free_use(c, c->next[i].block, PLACE_BLOCKS);
	}
	c->head = (struct chain_head){.magic = FORMAT_HEAD_MAGIC, .chain_id = c->id, .container = c->magic};
	memcpy(c->head.branch, c->branch, sizeof(c->branch));
	memcpy(c->head.next, c->next, sizeof(c->next));
	return err ? err : spm_head_write(c, &c->head);
}

int spm_chain_create(struct volume *v, int magic, const char *branch, struct chain **out)
{
	struct chain *c = chain_new(v, magic, branch);
	uint64_t first;
	unsigned got;
	int err;

	if (!c)
		return -ENOMEM;
	if (getrandom(&c->id, 5, 0) != 5 || !c->id)
		c->id = spm_now_ns() & 0xffffffffff;
	err = writer_lock(c, 0);
	if (!err)
		err = spm_extents_take(v, c->id, magic, head_make, c, 1, &first, &got);
	if (err)
		chain_free(c);
	else
		*out = c;
	return err;
}

/* Everything is durable and both heads say so; from here on the chain can be written. */
static int writer_begin(struct chain *c)
{
	int err = spm_volume_flush(c->volume);

	if (!err)
		err = spm_extents_each(c->volume, extent_note, c);
	if (!err)
		err = spm_used_mark(c);
	return err ? err : spm_chain_note_durable(c);
}

static int chain_load(struct chain *c, const struct search *s, unsigned flags)
{
	struct search again;
	int err = 0;

	c->head = s->head;
	c->head_block = head_block_of(s->first_block);
	/* The lock is ours now; what was read before it may be old. */
	err = flags & CHAIN_WRITE ? chain_search(c->volume, c->magic, c->branch, &again) : 1;
	if (err == 0 || (err == 1 && flags & CHAIN_WRITE && again.id != c->id))
		return spm_volume_fail(-ENOENT, "container %d was deleted meanwhile", c->magic);
	if (err < 0)
		return err;
	if (flags & CHAIN_WRITE)
		c->head = again.head;
	err = spm_chain_recover(c, flags);
	return !err && flags & CHAIN_WRITE ? writer_begin(c) : err;
}

static int chain_open_once(struct volume *v, int magic, const char *branch, unsigned flags, unsigned wait_ms,
                           struct chain **out)
{
	struct search s;
	struct chain *c;
	int err = chain_search(v, magic, branch, &s);

	if (err < 0)
		return err;
	if (!err)
		return spm_volume_fail(-ENOENT, "the volume has no container %d", magic);
	c = chain_new(v, magic, branch);
	if (!c)
		return -ENOMEM;
	c->id = s.id;
	err = flags & CHAIN_WRITE ? writer_lock(c, wait_ms) : 0;
	if (!err)
		err = chain_load(c, &s, flags);
	if (err)
		chain_free(c);
	else
		*out = c;
	return err;
}

int spm_chain_open(struct volume *v, int magic, const char *branch, unsigned flags, unsigned wait_ms,
                   struct chain **out)
{
	int err = -EUCLEAN;

	/* A writer may move on while a reader follows it: what looks damaged then is gone at the next look. */
	for (unsigned tries = 0; err == -EUCLEAN && tries < (flags & CHAIN_WRITE ? 1 : 5); tries++)
		err = chain_open_once(v, magic, branch, flags, wait_ms, out);
	return err;
}

void spm_chain_close(struct chain *c)
{
	if (c->is_writer && c->head.durable_seq < c->seq)
		spm_chain_note_durable(c); /* a failure costs only the knowledge */
	chain_free(c);
}

int spm_chain_delete(struct volume *v, int magic)
{
	struct search s;
	int found, deleted = 0;

	while ((found = chain_search(v, magic, NULL, &s)) == 1 || found == -EUCLEAN) {
		struct chain lock = {.volume = v, .id = s.id, .magic = magic};
		int err;

		if (found == -EUCLEAN)
			return found;
		err = writer_lock(&lock, 0);
		if (err)
			return err;
		err = spm_extents_release(v, s.id);
		v->driver->ops->unlock(v->driver, LOCK_CHAINS + s.id);
		if (err)
			return err;
		deleted++;
	}
	if (found < 0)
		return found;
	return deleted ? 0 : spm_volume_fail(-ENOENT, "the volume has no container %d", magic);
}

int spm_chain_newest(struct chain *c, struct version_info *out)
{
	int err = -ENOENT;

	pthread_mutex_lock(&c->lock);
	if (c->seq) {
		*out = c->newest;
		err = 0;
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

int spm_chain_each_version(struct chain *c, int (*fn)(const struct version_info *info, void *arg), void *arg)
{
	int result = 0;

	for (size_t i = c->record_to; i > c->record_from && !result && c->record[i - 1].seq >= c->oldest_kept; i--) {
		struct record *r;

		result = spm_record_read(c->volume, c->record[i - 1].block, &r);
		if (result && result != -EILSEQ)
			return result;
		if (result)
			return spm_volume_fail(
			        -EUCLEAN, "container %d: the record of version %llu (block %llu) is damaged", c->magic,
			        (unsigned long long)c->record[i - 1].seq, (unsigned long long)c->record[i - 1].block);
		result = fn(&r->info, arg);
		free(r);
	}
	return result;
}
