/* heads.c - which chains there are: the extent tables say where heads are, and of which container. */
#include "volume/internal.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

uint64_t spm_head_block_of(uint64_t first_block)
{
	return first_block + (first_block % GROUP_BLOCKS == 0 ? GROUP_RESERVED_BLOCKS : 0);
}

struct search {
	struct volume *volume;
	int magic;
	const char *branch; /* NULL: any, or that with the id */
	uint64_t id;
	struct chain_head head;
	uint64_t first_block;
	int (*fn)(int magic, const char *branch, void *arg);
	int (*head_fn)(const struct chain_head *head, void *arg);
	int (*place_fn)(uint64_t first_block, const struct chain_head *head, void *arg);
	void *arg;
	bool is_damaged; /* a head that was passed over */
};

static bool origin_is_sane(const struct chain_head *h)
{
	return h->parent_chain ? h->origin_seq && h->origin_version && h->origin_seq <= INT64_MAX &&
	                                 h->origin_version <= INT64_MAX
	                       : !h->origin_seq && !h->origin_version;
}

bool spm_is_chain(const struct extent_entry *e)
{
	return e->owner && (e->flags & (EXTENT_FIRST | EXTENT_DELETING)) == EXTENT_FIRST;
}

/* What lies there may be another chain's head by now. */
static bool is_deleted(struct volume *v, uint64_t first_block, uint64_t owner)
{
	struct extent_entry e;

	return !spm_extent_read(v, first_block, &e) && !(spm_is_chain(&e) && e.owner == owner);
}

/* 1: the chain has just been deleted. */
static int head_read(struct volume *v, uint64_t first_block, uint64_t owner, struct chain_head *out)
{
	uint64_t at = spm_head_block_of(first_block);
	struct chain_head *h = aligned_alloc(SPM_BLOCK_BYTES, SPM_BLOCK_BYTES);
	int err = h ? spm_mirror_read(v, at, h, offsetof(struct chain_head, sum), FORMAT_HEAD_MAGIC) : -ENOMEM;

	if (!err && (h->chain_id != owner || h->run_count > HEAD_RUNS_MAX || !memchr(h->branch, 0, sizeof(h->branch)) ||
	             !origin_is_sane(h)))
		err = -EUCLEAN;
	if (err == -EUCLEAN && is_deleted(v, first_block, owner))
		err = 1;
	else if (err == -EUCLEAN)
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

static int search_step(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	struct search *s = arg;
	int err;

	if (!spm_is_chain(e) || e->magic != s->magic)
		return 0;
	if (s->branch ? spm_name_hash(s->branch) != e->flags >> EXTENT_HASH_SHIFT : s->id && s->id != e->owner)
		return 0;
	err = head_read(s->volume, first_block, e->owner, &s->head);
	if (err)
		return err < 0 ? err : 0;
	if (s->branch && strcmp(s->head.branch, s->branch))
		return 0;
	s->first_block = first_block;
	s->id = e->owner;
	return 1;
}

int spm_head_find(struct volume *v, int magic, const char *branch, uint64_t id, struct chain_head *head,
                  uint64_t *first_block)
{
	struct search s = {.volume = v, .magic = magic, .branch = branch, .id = id};
	int found = spm_extents_each(v, search_step, &s);

	if (found == 1) {
		*head = s.head;
		*first_block = s.first_block;
	}
	return found;
}

static int head_visit(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	struct search *s = arg;
	int err;

	if (!spm_is_chain(e) || e->magic != s->magic)
		return 0;
	err = head_read(s->volume, first_block, e->owner, &s->head);
	if (err == -EUCLEAN) {
		s->is_damaged = true;
		s->head = (struct chain_head){.chain_id = e->owner, .container = e->magic};
		return s->place_fn ? s->place_fn(first_block, &s->head, s->arg) : 0;
	}
	if (err)
		return err < 0 ? err : 0;
	return s->head_fn ? s->head_fn(&s->head, s->arg) : s->place_fn(first_block, &s->head, s->arg);
}

int spm_heads_each(struct volume *v, int magic, int (*fn)(const struct chain_head *head, void *arg), void *arg)
{
	struct search s = {.volume = v, .magic = magic, .head_fn = fn, .arg = arg};
	int result = spm_extents_each(v, head_visit, &s);

	return result || !s.is_damaged ? result : -EUCLEAN;
}

static int chain_visit(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	struct search *s = arg;
	int err;

	if (!spm_is_chain(e))
		return 0;
	err = head_read(s->volume, first_block, e->owner, &s->head);
	if (err < 0)
		return s->fn(e->magic, NULL, s->arg);
	return !err && spm_is_branch(s->head.branch) ? s->fn(e->magic, s->head.branch, s->arg) : 0;
}

int spm_volume_each_chain(struct volume *v, int (*fn)(int magic, const char *branch, void *arg), void *arg)
{
	struct search s = {.volume = v, .fn = fn, .arg = arg};

	return spm_extents_each(v, chain_visit, &s);
}

int spm_head_places_each(struct volume *v, int magic,
                         int (*fn)(uint64_t first_block, const struct chain_head *head, void *arg), void *arg)
{
	return spm_extents_each(v, head_visit,
	                        &(struct search){.volume = v, .magic = magic, .place_fn = fn, .arg = arg});
}
