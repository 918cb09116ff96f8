/* volume.c - superblock, mirrored blocks, extent tables. See format.h.
 *
 * A crash between any two lines: extents are taken by one mirrored write of a table, so an extent is owned or free,
 * never half; the file grows before a table tells of it; a chain exists once its first extent's entry says FIRST, and
 * its head is whole before. Deleting marks the first extent DELETING, then frees the others, then the first; whoever
 * opens the volume for writing finishes that.
 */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#define XXH_STATIC_LINKING_ONLY /* for the size of its state */
#include <xxhash.h>

uint64_t spm_block_sum(const void *block, size_t bytes, size_t sum_offset)
{
	static const uint64_t zero;
	XXH3_state_t state;

	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, block, sum_offset);
	XXH3_64bits_update(&state, &zero, 8);
	XXH3_64bits_update(&state, (const unsigned char *)block + sum_offset + 8, bytes - sum_offset - 8);
	return XXH3_64bits_digest(&state);
}

int spm_blocks_read(struct volume *v, uint64_t block, void *buffer, uint64_t blocks)
{
	int err;

	if (block > UINT64_MAX / SPM_BLOCK_BYTES / 2 || blocks > (UINT64_C(1) << 40))
		return -ENODATA;
	err = v->driver->ops->read(v->driver, block * SPM_BLOCK_BYTES, buffer, blocks * SPM_BLOCK_BYTES);
	return err && err != -ENODATA ? spm_volume_fail_io(err, "reading", block) : err;
}

void spm_blocks_expect(struct volume *v, uint64_t block, uint64_t blocks)
{
	if (v->driver->ops->expect)
		v->driver->ops->expect(v->driver, block * SPM_BLOCK_BYTES, blocks * SPM_BLOCK_BYTES);
}

static int poisoned(struct volume *v)
{
	return atomic_load(&v->is_poisoned)
	               ? spm_volume_fail(
	                         -EIO,
	                         "an earlier write or flush of the volume failed, so what is on the disk is unsure; "
	                         "close the volume and open it again")
	               : 0;
}

/* Asked before and after: a flush reports the kernel's failure to write once, perhaps to another thread. */
static int poison_if(struct volume *v, int err)
{
	if (err)
		atomic_store(&v->is_poisoned, true);
	return err ? err : poisoned(v);
}

static _Thread_local uint64_t waited_ns;

uint64_t spm_volume_waited_ns(void)
{
	return waited_ns;
}

int spm_blocks_write(struct volume *v, uint64_t block, const void *buffer, uint64_t blocks)
{
	uint64_t began = spm_now_ns();
	int err = poisoned(v);

	if (err)
		return err;
	err = v->driver->ops->write(v->driver, block * SPM_BLOCK_BYTES, buffer, blocks * SPM_BLOCK_BYTES);
	waited_ns += spm_now_ns() - began;
	return err ? spm_volume_fail_io(err, "writing", block) : 0;
}

int spm_blocks_write_durable(struct volume *v, uint64_t block, const void *buffer, uint64_t blocks)
{
	uint64_t began = spm_now_ns();
	int err = poisoned(v);

	if (err)
		return err;
	err = v->driver->ops->write_durable(v->driver, block * SPM_BLOCK_BYTES, buffer, blocks * SPM_BLOCK_BYTES);
	waited_ns += spm_now_ns() - began;
	return poison_if(v, err);
}

int spm_volume_flush(struct volume *v)
{
	uint64_t began = spm_now_ns();
	int err = poisoned(v);

	if (err)
		return err;
	err = v->driver->ops->flush(v->driver);
	waited_ns += spm_now_ns() - began;
	return poison_if(v, err);
}

int spm_volume_bytes(struct volume *v, uint64_t *bytes)
{
	int err = v->driver->ops->size(v->driver, bytes);

	return err ? spm_volume_fail(err, "the volume's length can't be had: %s", strerror(-err)) : 0;
}

static void *block_new(void)
{
	void *b = aligned_alloc(SPM_BLOCK_BYTES, SPM_BLOCK_BYTES);

	return b ? memset(b, 0, SPM_BLOCK_BYTES) : NULL;
}

int spm_mirror_write(struct volume *v, uint64_t block, void *content, size_t sum_offset)
{
	uint64_t sum = 0;
	int err;

	memcpy((unsigned char *)content + sum_offset, &sum, 8);
	sum = spm_block_sum(content, SPM_BLOCK_BYTES, sum_offset);
	memcpy((unsigned char *)content + sum_offset, &sum, 8);
	err = spm_blocks_write_durable(v, block, content, 1);
	return err ? err : spm_blocks_write_durable(v, block + 1, content, 1);
}

/* Both copies at once. */
static int mirror_put(struct volume *v, uint64_t block, const void *content, size_t sum_offset,
                      int (*write)(struct volume *v, uint64_t block, const void *buffer, uint64_t blocks))
{
	unsigned char *both = aligned_alloc(SPM_BLOCK_BYTES, 2 * SPM_BLOCK_BYTES);
	uint64_t sum;
	int err;

	if (!both)
		return -ENOMEM;
	memcpy(both, content, SPM_BLOCK_BYTES);
	sum = spm_block_sum(both, SPM_BLOCK_BYTES, sum_offset);
	memcpy(both + sum_offset, &sum, 8);
	memcpy(both + SPM_BLOCK_BYTES, both, SPM_BLOCK_BYTES);
	err = write(v, block, both, 2);
	free(both);
	return err;
}

int spm_mirror_make(struct volume *v, uint64_t block, const void *content, size_t sum_offset)
{
	return mirror_put(v, block, content, sum_offset, spm_blocks_write_durable);
}

static bool block_is_whole(const void *content, size_t sum_offset, uint64_t magic)
{
	uint64_t found, sum;

	memcpy(&found, content, 8);
	memcpy(&sum, (const unsigned char *)content + sum_offset, 8);
	return found == magic && sum == spm_block_sum(content, SPM_BLOCK_BYTES, sum_offset);
}

static int mirror_read_once(struct volume *v, uint64_t block, void *content, size_t sum_offset, uint64_t magic)
{
	int result = -EUCLEAN;

	for (uint64_t copy = 0; copy < 2; copy++) {
		int err = spm_blocks_read(v, block + copy, content, 1);

		if (!err && block_is_whole(content, sum_offset, magic))
			return 0;
		if (err && err != -ENODATA)
			result = err; /* what can't be read now may be well */
	}
	return result;
}

/* Another process may be writing them, first the one and then the other, just as fast as they are read. */
int spm_mirror_read(struct volume *v, uint64_t block, void *content, size_t sum_offset, uint64_t magic)
{
	int err = mirror_read_once(v, block, content, sum_offset, magic);

	for (unsigned tries = 1; err == -EUCLEAN && tries < 3; tries++) {
		spm_sleep_ms(1);
		err = mirror_read_once(v, block, content, sum_offset, magic);
	}
	return err;
}

bool spm_mirror_is_torn(struct volume *v, uint64_t block)
{
	unsigned char *both = aligned_alloc(SPM_BLOCK_BYTES, 2 * SPM_BLOCK_BYTES);
	bool is_torn =
	        !both || spm_blocks_read(v, block, both, 2) || memcmp(both, both + SPM_BLOCK_BYTES, SPM_BLOCK_BYTES);

	free(both);
	return is_torn;
}

static int table_read(struct volume *v, uint64_t group, struct extent_table *t)
{
	int err = spm_mirror_read(v, group * GROUP_BLOCKS + TABLE_BLOCK, t, offsetof(struct extent_table, sum),
	                          FORMAT_TABLE_MAGIC);

	if (!err && (t->group != group || t->extents > GROUP_EXTENTS))
		err = -EUCLEAN;
	if (err == -EUCLEAN)
		spm_volume_fail(
		        err,
		        "the extent table of group %llu (blocks %llu and %llu) is damaged in both copies: what it "
		        "holds is lost; restore the volume from a copy",
		        (unsigned long long)group, (unsigned long long)(group * GROUP_BLOCKS + TABLE_BLOCK),
		        (unsigned long long)(group * GROUP_BLOCKS + TABLE_BLOCK + 1));
	return err;
}

static int table_write(struct volume *v, struct extent_table *t)
{
	return spm_mirror_write(v, (uint64_t)t->group * GROUP_BLOCKS + TABLE_BLOCK, t,
	                        offsetof(struct extent_table, sum));
}

static int tables_lock(struct volume *v)
{
	int err;

	pthread_mutex_lock(&v->lock);
	err = v->driver->ops->lock(v->driver, LOCK_TABLES, 60000, NULL);
	if (err)
		pthread_mutex_unlock(&v->lock);
	if (err == -EAGAIN)
		return spm_volume_fail(err,
		                       "the volume's extent tables are locked by another process for over a minute");
	return err ? spm_volume_fail(err, "locking the volume's extent tables failed: %s", strerror(-err)) : 0;
}

static void tables_unlock(struct volume *v)
{
	v->driver->ops->unlock(v->driver, LOCK_TABLES);
	pthread_mutex_unlock(&v->lock);
}

static int groups_count(struct volume *v, struct extent_table *t, uint64_t *groups)
{
	int err = table_read(v, 0, t);

	if (!err && (!t->groups || t->groups > (UINT64_C(1) << 32)))
		err = spm_volume_fail(-EUCLEAN, "the extent table of group 0 names %llu groups",
		                      (unsigned long long)t->groups);
	if (!err)
		*groups = t->groups;
	return err;
}

int spm_extents_each(struct volume *v, int (*fn)(uint64_t first_block, const struct extent_entry *e, void *arg),
                     void *arg)
{
	struct extent_table *t = block_new();
	uint64_t groups = 0;
	int result = t ? groups_count(v, t, &groups) : -ENOMEM;

	for (uint64_t g = 0; g < groups && !result; g++) {
		result = table_read(v, g, t);
		for (unsigned i = 0; !result && i < t->extents; i++)
			result = fn(g * GROUP_BLOCKS + i * EXTENT_BLOCKS, &t->entry[i], arg);
	}
	free(t);
	return result;
}

int spm_extent_read(struct volume *v, uint64_t first_block, struct extent_entry *out)
{
	struct extent_table *t = block_new();
	int err = t ? table_read(v, first_block / GROUP_BLOCKS, t) : -ENOMEM;

	if (!err)
		*out = t->entry[first_block % GROUP_BLOCKS / EXTENT_BLOCKS];
	free(t);
	return err;
}

/* The longest run of free extents in the table, up to n. */
static unsigned run_find(const struct extent_table *t, unsigned n, unsigned *from)
{
	unsigned best = 0, run = 0;

	for (unsigned i = 0; i < t->extents && best < n; i++) {
		run = t->entry[i].owner ? 0 : run + 1;
		if (run > best) {
			best = run;
			*from = i + 1 - run;
		}
	}
	return best;
}

static int volume_bytes_have(struct volume *v, uint64_t bytes)
{
	int err = v->driver->ops->grow(v->driver, bytes);

	if (err)
		spm_volume_fail_io(err, "growing to", bytes / SPM_BLOCK_BYTES);
	return err;
}

/* Makes n more extents exist in the last group (as many as fit), or some more if there are many: small chains come in numbers. The
 * file is longer before the table says so. */
static int group_extend(struct volume *v, struct extent_table *t, unsigned n)
{
	unsigned more = n > t->extents / 8 ? n : t->extents / 8;
	unsigned to = t->extents + more < GROUP_EXTENTS ? t->extents + more : GROUP_EXTENTS;
	int err = volume_bytes_have(v, ((uint64_t)t->group * GROUP_BLOCKS + to * (uint64_t)EXTENT_BLOCKS) *
	                                       SPM_BLOCK_BYTES);

	/* Not enough room for all: one is enough to go on. */
	if (err == -ENOSPC && to > t->extents + 1) {
		to = t->extents + 1;
		err = volume_bytes_have(v, ((uint64_t)t->group * GROUP_BLOCKS + to * (uint64_t)EXTENT_BLOCKS) *
		                                   SPM_BLOCK_BYTES);
	}
	if (!err)
		err = spm_volume_flush(v);
	if (!err)
		t->extents = to;
	return err;
}

static int group_add(struct volume *v, struct extent_table *t, uint64_t group, unsigned n)
{
	memset(t, 0, SPM_BLOCK_BYTES);
	t->magic = FORMAT_TABLE_MAGIC;
	t->group = (uint32_t)group;
	return group_extend(v, t, n);
}

/* Tells group 0 of one group more; t is kept as it is. */
static int group_announce(struct volume *v, uint64_t group)
{
	struct extent_table *zero = block_new();
	int err = zero ? table_read(v, 0, zero) : -ENOMEM;

	if (!err) {
		zero->groups = group + 1;
		err = table_write(v, zero);
	}
	free(zero);
	return err;
}

static int extents_find(struct volume *v, struct extent_table *t, uint64_t groups, unsigned n, unsigned *from,
                        unsigned *got)
{
	bool is_new = false;
	int err;

	for (uint64_t g = 0; g < groups; g++) {
		err = table_read(v, g, t);
		if (err)
			return err;
		*got = run_find(t, n, from);
		if (*got == n || (*got && g + 1 < groups && *got > n / 2))
			return 0;
	}
	if (t->extents == GROUP_EXTENTS) {
		err = group_add(v, t, groups, n);
		is_new = true;
	} else {
		err = group_extend(v, t, n);
	}
	if (!err && is_new)
		err = table_write(v, t);
	if (!err && is_new)
		err = group_announce(v, groups);
	*got = run_find(t, n, from);
	return err && *got ? 0 : err;
}

uint32_t spm_name_hash(const char *branch)
{
	return (uint32_t)(XXH3_64bits(branch, strlen(branch)) & 0xffffff);
}

int spm_extents_take(struct volume *v, uint64_t owner, int magic, uint32_t hash,
                     int (*first)(uint64_t block, void *arg), void *arg, unsigned n, uint64_t *first_block,
                     unsigned *got)
{
	struct extent_table *t = block_new();
	uint64_t groups;
	unsigned from = 0;
	int err = t ? tables_lock(v) : -ENOMEM;

	if (err)
		goto out;
	err = groups_count(v, t, &groups);
	if (!err)
		err = extents_find(v, t, groups, n, &from, got);
	*first_block = (uint64_t)t->group * GROUP_BLOCKS + from * (uint64_t)EXTENT_BLOCKS;
	if (!err && first)
		err = first(*first_block, arg);
	for (unsigned i = from; !err && i < from + *got; i++)
		t->entry[i] = (struct extent_entry){owner, magic,
		                                    first && i == from ? EXTENT_FIRST | hash << EXTENT_HASH_SHIFT : 0};
	if (!err)
		err = table_write(v, t);
	tables_unlock(v);
out:
	free(t);
	return err;
}

void spm_blocks_warm(struct volume *v, uint64_t block, uint64_t blocks)
{
	const struct driver_ops *ops = v->driver->ops;

	if (!ops->warm)
		return;
	ops->warm(v->driver, block * SPM_BLOCK_BYTES, blocks * SPM_BLOCK_BYTES);
	spm_volume_flush(v); /* or the zeros might come after what is written there next */
}

void spm_extents_warm(struct volume *v, uint64_t first_block, unsigned n)
{
	uint64_t from = first_block % GROUP_BLOCKS ? first_block : first_block + GROUP_RESERVED_BLOCKS;

	spm_blocks_warm(v, from, first_block + (uint64_t)n * EXTENT_BLOCKS - from);
}

/* One pass over all tables under the lock: `change` says whether it changed the entry. */
static int extents_change(struct volume *v, bool (*change)(struct extent_entry *e, uint64_t owner), uint64_t owner)
{
	struct extent_table *t = block_new();
	uint64_t groups = 0;
	int err = t ? groups_count(v, t, &groups) : -ENOMEM;

	for (uint64_t g = 0; g < groups && !err; g++) {
		bool changed = false;

		err = table_read(v, g, t);
		for (unsigned i = 0; !err && i < t->extents; i++)
			changed |= t->entry[i].owner == owner && change(&t->entry[i], owner);
		if (changed && !err)
			err = table_write(v, t);
	}
	free(t);
	return err;
}

static bool entry_condemn(struct extent_entry *e, uint64_t owner)
{
	(void)owner;
	if (!(e->flags & EXTENT_FIRST))
		return false;
	e->flags |= EXTENT_DELETING;
	return true;
}

static bool entry_free_rest(struct extent_entry *e, uint64_t owner)
{
	(void)owner;
	if (e->flags & EXTENT_FIRST)
		return false;
	*e = (struct extent_entry){0};
	return true;
}

static bool entry_free(struct extent_entry *e, uint64_t owner)
{
	(void)owner;
	*e = (struct extent_entry){0};
	return true;
}

int spm_extents_release(struct volume *v, uint64_t owner)
{
	int err = tables_lock(v);

	if (err)
		return err;
	err = extents_change(v, entry_condemn, owner);
	if (!err)
		err = extents_change(v, entry_free_rest, owner);
	if (!err)
		err = extents_change(v, entry_free, owner);
	tables_unlock(v);
	return err;
}

/* Those of this table that are to go. */
static bool table_give(struct extent_table *t, uint64_t owner, const uint64_t *first, size_t n)
{
	uint64_t begin = (uint64_t)t->group * GROUP_BLOCKS;
	bool changed = false;

	for (size_t i = 0; i < n; i++) {
		uint64_t e = (first[i] - begin) / EXTENT_BLOCKS;

		if (first[i] < begin || e >= t->extents || t->entry[e].owner != owner)
			continue;
		t->entry[e] = (struct extent_entry){0};
		changed = true;
	}
	return changed;
}

int spm_extents_give(struct volume *v, uint64_t owner, const uint64_t *first, size_t n)
{
	struct extent_table *t = block_new();
	uint64_t groups = 0;
	int err = t ? tables_lock(v) : -ENOMEM;

	if (err) {
		free(t);
		return err;
	}
	err = groups_count(v, t, &groups);
	for (uint64_t g = 0; g < groups && !err; g++) {
		err = table_read(v, g, t);
		if (!err && table_give(t, owner, first, n))
			err = table_write(v, t);
	}
	tables_unlock(v);
	free(t);
	return err;
}

static int condemned_find(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	(void)first_block;
	if (!(e->flags & EXTENT_DELETING))
		return 0;
	*(uint64_t *)arg = e->owner;
	return 1;
}

/* Finishes deletions that a crash cut short. */
static int deletions_finish(struct volume *v)
{
	uint64_t owner = 0;
	int found;

	while ((found = spm_extents_each(v, condemned_find, &owner)) == 1) {
		int err = spm_extents_release(v, owner);

		if (err)
			return err;
	}
	return found;
}

/* The first extent, durable with its table: all written, for it is where small commits will go. */
static int first_extent_make(struct volume *v)
{
	struct extent_table *t = block_new();
	int err = t ? volume_bytes_have(v, EXTENT_BYTES) : -ENOMEM;

	if (!err) {
		if (v->driver->ops->warm)
			v->driver->ops->warm(v->driver, 0, EXTENT_BYTES);
		*t = (struct extent_table){.magic = FORMAT_TABLE_MAGIC, .extents = 1, .groups = 1};
		err = mirror_put(v, TABLE_BLOCK, t, offsetof(struct extent_table, sum), spm_blocks_write);
	}
	free(t);
	return err ? err : spm_volume_flush(v);
}

/* The superblock comes last, both copies at once: it fits one sector, so of each copy a crash leaves all or nothing. */
static int super_make(struct volume *v)
{
	struct super *s = block_new();
	struct timespec now;
	int err = s ? first_extent_make(v) : -ENOMEM;

	clock_gettime(CLOCK_REALTIME, &now);
	if (!err) {
		*s = (struct super){.magic = FORMAT_SUPER_MAGIC,
		                    .version = FORMAT_VERSION,
		                    .endian = FORMAT_ENDIAN,
		                    .page_bytes = SPM_PAGE_BYTES,
		                    .block_bytes = SPM_BLOCK_BYTES,
		                    .created_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec};
		if (getrandom(s->uuid, sizeof(s->uuid), 0) != sizeof(s->uuid))
			err = -EIO;
	}
	if (!err)
		err = spm_mirror_make(v, 0, s, offsetof(struct super, sum));
	free(s);
	return err;
}

static int super_read(struct volume *v)
{
	struct super *s = block_new();
	int err = s ? spm_mirror_read(v, 0, s, offsetof(struct super, sum), FORMAT_SUPER_MAGIC) : -ENOMEM;

	if (err == -EUCLEAN)
		spm_volume_fail(
		        err, "this is no SoftPM volume, or both copies of its superblock (blocks 0 and 1) are damaged");
	else if (!err &&
	         (s->endian != FORMAT_ENDIAN || s->page_bytes != SPM_PAGE_BYTES || s->block_bytes != SPM_BLOCK_BYTES))
		err = spm_volume_fail(-ENOTSUP,
		                      "the volume was written on a machine of another byte order or page size");
	else if (!err && (s->version < FORMAT_VERSION_LEAST || s->version > FORMAT_VERSION))
		err = spm_volume_fail(-ENOTSUP, "the volume has format %u; this library reads formats %d to %d",
		                      s->version, FORMAT_VERSION_LEAST, FORMAT_VERSION);
	if (!err)
		v->super = *s;
	free(s);
	return err;
}

/* Zero, or the extent table of a volume that was not finished. */
static int block_is_nobodys(struct volume *v, uint64_t block, bool *nobodys)
{
	uint64_t *b = block_new();
	int err = b ? spm_blocks_read(v, block, b, 1) : -ENOMEM;

	*nobodys = true;
	for (size_t i = 0; !err && i < SPM_BLOCK_BYTES / 8; i++)
		*nobodys &= !b[i];
	if (!err && (block == TABLE_BLOCK || block == TABLE_BLOCK + 1))
		*nobodys |= b[0] == FORMAT_TABLE_MAGIC;
	free(b);
	return err;
}

/* An empty file, a device that begins with zeros, or what a crash left of creating: the superblock is written last, and
 * a superblock fits one sector, so then both copies are zero. Anything else is somebody's data; file systems have their
 * mark up to 64 KiB behind the start of a device (btrfs). */
static int is_unborn(struct volume *v, bool *unborn)
{
	uint64_t bytes = 0;
	int err = spm_volume_bytes(v, &bytes);
	uint64_t blocks = bytes < EXTENT_BYTES ? bytes / SPM_BLOCK_BYTES : EXTENT_BLOCKS;

	*unborn = !err && bytes == 0;
	if (err || bytes < 2 * SPM_BLOCK_BYTES)
		return err;
	*unborn = true;
	for (uint64_t i = 0; i < blocks && !err && *unborn; i++)
		err = block_is_nobodys(v, i, unborn);
	return err;
}

/* Makes both copies of a mirrored block the same, if a crash or damage left them different. */
static int mirror_repair(struct volume *v, uint64_t block, size_t sum_offset, uint64_t magic)
{
	unsigned char *good = block_new();
	int err = good ? spm_mirror_read(v, block, good, sum_offset, magic) : -ENOMEM;

	if (!err && spm_mirror_is_torn(v, block))
		err = spm_mirror_write(v, block, good, sum_offset);
	free(good);
	return err;
}

static int mirrors_repair(struct volume *v)
{
	struct extent_table *t = block_new();
	uint64_t groups = 0;
	int err = t ? tables_lock(v) : -ENOMEM;

	if (err) {
		free(t);
		return err;
	}
	err = mirror_repair(v, 0, offsetof(struct super, sum), FORMAT_SUPER_MAGIC);
	if (!err)
		err = groups_count(v, t, &groups);
	for (uint64_t g = 0; g < groups && !err; g++) {
		err = table_read(v, g, t);
		if (!err)
			err = mirror_repair(v, g * GROUP_BLOCKS + TABLE_BLOCK, offsetof(struct extent_table, sum),
			                    FORMAT_TABLE_MAGIC);
	}
	tables_unlock(v);
	free(t);
	return err;
}

int spm_volume_open(struct driver *driver, unsigned flags, struct volume **out)
{
	struct volume *v = calloc(1, sizeof(*v));
	bool unborn = false;
	int err = v ? 0 : -ENOMEM;

	if (err) {
		driver->ops->close(driver);
		return err;
	}
	v->driver = driver;
	v->flags = flags;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->pins_lock, NULL);
	if (flags & VOLUME_CREATE) {
		err = tables_lock(v);
		if (!err) {
			err = is_unborn(v, &unborn);
			if (!err && unborn)
				err = super_make(v);
			tables_unlock(v);
		}
	}
	if (!err)
		err = super_read(v);
	if (!err && !(flags & VOLUME_READ_ONLY))
		err = mirrors_repair(v);
	if (!err && !(flags & VOLUME_READ_ONLY))
		err = deletions_finish(v);
	if (err)
		spm_volume_close(v);
	else
		*out = v;
	return err;
}

void spm_volume_close(struct volume *v)
{
	v->driver->ops->close(v->driver);
	pthread_mutex_destroy(&v->lock);
	pthread_mutex_destroy(&v->pins_lock);
	free(v->pin);
	free(v->writing);
	free(v);
}

int spm_volume_heir(struct volume *v, struct driver **out)
{
	return v->driver->ops->again ? v->driver->ops->again(v->driver, out) : -ENOTSUP;
}

void spm_volume_heir_close(struct volume *v, struct driver *heir)
{
	heir->ops->close(heir);
	pthread_mutex_lock(&v->pins_lock);
	for (size_t i = 0; i < v->writings; i++)
		v->driver->ops->lock(v->driver, LOCK_CHAINS + v->writing[i], 0, NULL);
	pthread_mutex_unlock(&v->pins_lock);
}

void spm_volume_leave(struct volume *v)
{
	v->driver->ops->close(v->driver);
	free(v->pin);
	free(v->writing);
	free(v);
}

static int entry_count(uint64_t first_block, const struct extent_entry *e, void *arg)
{
	struct volume_info *info = arg;

	(void)first_block;
	info->extents++;
	info->free_extents += !e->owner;
	info->chains += (e->flags & (EXTENT_FIRST | EXTENT_DELETING)) == EXTENT_FIRST;
	return 0;
}

int spm_volume_info(struct volume *v, struct volume_info *out)
{
	struct volume_info info = {.format = v->super.version};
	int err = spm_volume_bytes(v, &info.bytes);

	memcpy(info.uuid, v->super.uuid, sizeof(info.uuid));
	if (!err)
		err = spm_extents_each(v, entry_count, &info);
	if (!err)
		*out = info;
	return err;
}
