/* patch.c - see patch.h. */
#include "volume/patch.h"
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

void spm_patch_cut(const void *page, uint32_t granules, unsigned char *patch)
{
	for (uint32_t left = granules; left; left &= left - 1, patch += GRANULE_BYTES)
		memcpy(patch, (const unsigned char *)page + __builtin_ctz(left) * GRANULE_BYTES, GRANULE_BYTES);
}

unsigned char *spm_patch_copy(uint32_t granules, const unsigned char *patch)
{
	unsigned char *copy = malloc(spm_patch_bytes(granules));

	if (copy)
		memcpy(copy, patch, spm_patch_bytes(granules));
	return copy;
}

bool spm_page_finish(void *page, uint32_t granules, const unsigned char *patch, uint64_t sum)
{
	for (uint32_t left = granules; left; left &= left - 1, patch += GRANULE_BYTES)
		memcpy((unsigned char *)page + __builtin_ctz(left) * GRANULE_BYTES, patch, GRANULE_BYTES);
	return XXH3_64bits(page, SPM_PAGE_BYTES) == sum;
}

/* ---- bases ---- */

/* Sets are found by block number, so blocks written together lie together here, too: of a chain with few hot pages most of the table
 * is never touched. */
enum { WAYS = 4, SETS = 8192 };

struct base {
	uint64_t block, birth, used; /* birth 0: there is none */
	uint64_t sum[GRANULES];
};

/* Of so few bytes as a granule has, the checksum can't tell some contents apart that are easily made: a program's data may come from
 * people who would. Nobody knows the seed. */
struct bases {
	struct base base[SETS][WAYS];
	uint64_t clock, seed;
};

struct bases *spm_bases_new(void)
{
	struct bases *b = spm_pages_map(sizeof(*b), false);

	if (b && getrandom(&b->seed, sizeof(b->seed), GRND_NONBLOCK) != sizeof(b->seed))
		b->seed = spm_now_ns();
	return b;
}

void spm_bases_free(struct bases *b)
{
	if (b)
		spm_pages_unmap(b, sizeof(*b));
}

static uint64_t granule_sum(const struct bases *b, const void *page, unsigned g)
{
	return XXH3_64bits_withSeed((const unsigned char *)page + g * GRANULE_BYTES, GRANULE_BYTES, b->seed);
}

static struct base *base_find(struct bases *b, uint64_t block, uint64_t birth)
{
	struct base *set = b->base[block % SETS];

	for (unsigned i = 0; i < WAYS; i++)
		if (set[i].block == block && set[i].birth == birth)
			return &set[i];
	return NULL;
}

static struct base *base_oldest(struct bases *b, uint64_t block)
{
	struct base *set = b->base[block % SETS], *oldest = set;

	for (unsigned i = 1; i < WAYS; i++)
		if (set[i].used < oldest->used)
			oldest = &set[i];
	return oldest;
}

void spm_bases_note(struct bases *b, uint64_t block, uint64_t birth, const void *page)
{
	struct base *base = base_oldest(b, block);

	base->block = block;
	base->birth = birth;
	base->used = ++b->clock;
	for (unsigned g = 0; g < GRANULES; g++)
		base->sum[g] = granule_sum(b, page, g);
}

bool spm_bases_compare(struct bases *b, uint64_t block, uint64_t birth, const void *page, uint32_t *granules)
{
	struct base *base = base_find(b, block, birth);

	if (!base)
		return false;
	base->used = ++b->clock;
	*granules = 0;
	for (unsigned g = 0, changed = 0; g < GRANULES; g++) {
		if (base->sum[g] == granule_sum(b, page, g))
			continue;
		if (++changed > PATCH_GRANULES_MOST)
			return false;
		*granules |= UINT32_C(1) << g;
	}
	return true;
}
