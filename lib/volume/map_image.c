/* map_image.c - all pages of one version as bytes, so that going to a version replays few records. */
#include "volume/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { PAGE_BYTES_LIKELY = 16 }; /* of a page's entry */

uint64_t spm_map_weight(const struct chain *c)
{
	return c->map.pages * PAGE_BYTES_LIKELY + c->map.patch_bytes;
}

static int page_put(uint64_t page, const struct place *p, void *arg)
{
	spm_entry_put(arg, &(struct record_entry){.page = page, .is = *p});
	return 0;
}

/* Of the room, only what is filled is touched. */
int spm_map_image_make(struct map *m, uint64_t chain_id, uint64_t seq, const struct version_info *info,
                       unsigned char **bytes, uint64_t *length)
{
	size_t most = sizeof(struct map_image) + m->pages * ENTRY_BYTES_MOST + m->patch_bytes, rest;
	unsigned char *image = aligned_alloc(SPM_BLOCK_BYTES, (most / SPM_BLOCK_BYTES + 1) * SPM_BLOCK_BYTES);
	struct entry_writer w = {.to = image, .bytes = sizeof(struct map_image)};

	if (!image)
		return -ENOMEM;
	spm_map_each(m, page_put, &w);
	*(struct map_image *)(void *)image = (struct map_image){.magic = FORMAT_MAP_MAGIC,
	                                                        .chain_id = chain_id,
	                                                        .seq = seq,
	                                                        .bytes = w.bytes,
	                                                        .pages = m->pages,
	                                                        .info = *info};
	rest = w.bytes % SPM_BLOCK_BYTES;
	if (rest)
		memset(image + w.bytes, 0, SPM_BLOCK_BYTES - rest);
	*bytes = image;
	*length = w.bytes;
	return 0;
}

int spm_runs_read(struct volume *v, const struct block_run *run, uint64_t runs, void *to, uint64_t blocks)
{
	uint64_t done = 0;

	for (uint64_t i = 0; i < runs; i++) {
		int err = run[i].blocks > blocks - done
		                  ? -EUCLEAN
		                  : spm_blocks_read(v, run[i].block, (unsigned char *)to + done * SPM_BLOCK_BYTES,
		                                    run[i].blocks);

		if (err)
			return err == -ENODATA ? -EUCLEAN : err;
		done += run[i].blocks;
	}
	return done == blocks ? 0 : -EUCLEAN;
}

int spm_runs_write(struct volume *v, const struct block_run *run, uint64_t runs, const void *from)
{
	uint64_t done = 0;
	int err = 0;

	for (uint64_t i = 0; i < runs && !err; i++) {
		err = spm_blocks_write(v, run[i].block, (const unsigned char *)from + done * SPM_BLOCK_BYTES,
		                       run[i].blocks);
		done += run[i].blocks;
	}
	return err;
}

static int pages_take(const struct map_image *k, struct map *to)
{
	struct entry_cursor e = {.at = (const unsigned char *)(k + 1), .end = (const unsigned char *)k + k->bytes};

	struct source_run run;
	int err = 0;

	while (!err) {
		if (spm_entry_run(&e, &run))
			err = run.birth <= k->seq ? spm_map_add(to, &run, true) : -EUCLEAN;
		else if (spm_entry_next(&e))
			err = e.entry.was.birth || e.entry.is.birth > k->seq
			              ? -EUCLEAN
			              : spm_map_change(to, e.entry.page, &e.entry.was, &e.entry.is);
		else
			break;
	}
	if (err)
		return err;
	return !e.is_broken && to->pages == k->pages && k->pages == k->info.pages ? 0 : -EUCLEAN;
}

static bool image_is_sane(const struct chain *c, const struct segment *s, const struct map_image *k)
{
	return XXH3_64bits(k, s->e.map_bytes) == s->e.map_sum && k->magic == FORMAT_MAP_MAGIC && k->chain_id == c->id &&
	       k->seq == s->e.seq && k->bytes == s->e.map_bytes && spm_info_is_sane(&k->info);
}

int spm_map_image_load(struct chain *c, const struct segment *s, struct map *to, struct version_info *info)
{
	uint64_t blocks = (s->e.map_bytes + SPM_BLOCK_BYTES - 1) / SPM_BLOCK_BYTES, size;
	struct map_image *k = NULL;
	int err = spm_volume_bytes(c->volume, &size);

	if (err)
		return err;
	if (s->e.map_bytes < sizeof(*k) || s->e.map_bytes > size)
		err = -EUCLEAN;
	else if (!(k = aligned_alloc(SPM_BLOCK_BYTES, blocks * SPM_BLOCK_BYTES)))
		return -ENOMEM;
	if (k)
		spm_pages_populate(k, blocks * SPM_BLOCK_BYTES, 0, blocks * SPM_BLOCK_BYTES);
	if (!err)
		err = spm_runs_read(c->volume, s->run, s->e.runs, k, blocks);
	if (!err)
		err = image_is_sane(c, s, k) ? spm_map_keep(to, k) : -EUCLEAN;
	if (err)
		free(k);
	else
		err = pages_take(k, to);
	if (!err)
		*info = k->info;
	if (err == -EUCLEAN)
		spm_volume_fail(
		        err,
		        "container %d: the map of version %llu (block %llu) is damaged, and the versions after it "
		        "with it: restore the volume from a copy",
		        c->magic, (unsigned long long)s->e.version,
		        (unsigned long long)(s->e.runs ? s->run[0].block : 0));
	return err;
}
