/* patch.h - pages of which little has changed: the bytes that did, beside the block that has the rest.
 *
 *   page       | 0 | 1 | 2 | ... | 31 |            granules of 128 bytes
 *   granules   bit g: granule g is in the patch
 *   patch      | granule 3 | granule 17 |          in ascending order
 *
 * A patch tells all that differs from what lies in the page's block, whatever versions were between: so a page is one block and at
 * most one patch, and any version is as near as any other. It lies in the record that made it and in maps, never in a block of its own: a
 * commit of few bytes is one block where it would be two, and one of a hundred scattered changes a few blocks where it would be a
 * hundred. A page of which more has changed than PATCH_GRANULES_MOST is written anew.
 *
 * What lies in a block nobody keeps in memory, so blocks that commits of few changes wrote lately are known by the checksums of their
 * granules (struct bases). What is not known is written as a whole, and known from then on.
 */
#ifndef SPM_PATCH_H
#define SPM_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GRANULE_BYTES = 128,
	GRANULES = 32,
	PATCH_GRANULES_MOST = 8,
	PATCH_BYTES_MOST = PATCH_GRANULES_MOST * GRANULE_BYTES
};

static inline uint32_t spm_patch_bytes(uint32_t granules)
{
	return (uint32_t)__builtin_popcount(granules) * GRANULE_BYTES;
}
static inline bool spm_patch_is_possible(uint32_t granules)
{
	return spm_patch_bytes(granules) <= PATCH_BYTES_MOST;
}
/* These granules of the page, one behind the other. */
void spm_patch_cut(const void *page, uint32_t granules, unsigned char *patch);
/* A malloced copy. NULL: no memory. */
unsigned char *spm_patch_copy(uint32_t granules, const unsigned char *patch);
/* Makes of what a block has the page. False: its checksum is another. */
bool spm_page_finish(void *page, uint32_t granules, const unsigned char *patch, uint64_t sum);

/* What blocks hold that were written lately, by block and birth; of bounded size: what was used longest ago is forgotten. */
struct bases;
struct bases *spm_bases_new(void); /* NULL: no memory */
void spm_bases_free(struct bases *b);
void spm_bases_note(struct bases *b, uint64_t block, uint64_t birth, const void *page);
/* Which granules of the page differ from what the block has. False: that is not known, or they are too many for a patch. */
bool spm_bases_compare(struct bases *b, uint64_t block, uint64_t birth, const void *page, uint32_t *granules);

#endif
