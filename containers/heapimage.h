/* heapimage.h - one version as one file, which any number of processes map at its own addresses and share.
 *
 *   +--------+------+-------+---------+--------+-------+-------+-------+------------+-----------+-----------+--
 *   | header | runs | mends | modules | sums   | types | hints | spans |  (nothing) |   run 0   |   run 1   |  ...
 *   +--------+------+-------+---------+--------+-------+-------+-------+------------+-----------+-----------+--
 *   0        4096   `------ tables ---' sums_at  types_at                           at multiples of 2 MiB
 *
 * A run is what the version has in slices of the window that follow each other, mostly all of it: the page at address a of a run lies
 * in the file at run.offset + (a - its first address). So opening reads the header and the tables and maps each run by one call, however
 * long it is. Pages that the version does not have, or that are all zero, are holes in the file. An address and its place are the same
 * modulo 2 MiB, so that the page cache may serve huge pages.
 *
 * Pages are as volumes have them: dead slots zero, outward pointers canonical (discover/outside.h). Those that hold canonical words
 * are in the list of mends: who opens the image gets copies of his own of these, and of no others. What looks canonical and is a number (plain.h)
 * is in a list between mends and modules.
 *
 * Valid if and only if the header's sum is right, that of the tables is, the file is as long as the header says, and all
 * numbers keep to what heapimage.c checks. What the pages hold is verified by pImageCheck only, by a sum for each page of each run (0:
 * it is all zero): to do so at opening would read the whole file.
 *
 * Types and hints are the container's (blob.c); spans say where its objects are. They are for who looks into an image (pLookOpenImage), and types
 * for who opens it by another build of the program. Images that were made before there were any have none.
 *
 * All fields are little-endian. docs/format.md tells the same.
 */
#ifndef SPM_HEAPIMAGE_H
#define SPM_HEAPIMAGE_H

#include "container.h"

#include <assert.h>
#include <string.h>

enum {
	HEAPIMAGE_FORMAT = 2,
	HEAPIMAGE_FORMAT_LEAST = 1,
	HEAPIMAGE_BYTE_ORDER = 0x01020304,
	HEAPIMAGE_HEADER_BYTES = 4096
};
enum { HEAPIMAGE_ALIGN_PAGES = 512 }; /* of runs, in the window and in the file */
#define HEAPIMAGE_MAGIC "SPIMAGE1"

struct heapimage_header {
	char magic[8];
	uint64_t sum; /* XXH3 of the 4096 bytes, with this field zero */
	uint32_t format, byte_order;
	uint64_t file_bytes;
	uint64_t tables_bytes,
	        tables_sum; /* right behind the header: runs, mends, plain numbers, the table of modules */
	uint64_t runs, mends, modules_bytes;
	uint64_t sums_at; /* XXH3 of each page of each run, u64; 0: all zero */
	uint64_t pages;   /* of all runs, whether the version has them or not */
	int32_t container;
	uint32_t zero;
	struct version_info info;
	uint64_t types_at, types_bytes, types_sum;
	uint64_t hints_bytes, spans, objects_sum; /* of hints and spans, behind the types */
	uint64_t plains;
	unsigned char rest[4096 - 648];
};
static_assert(sizeof(struct heapimage_header) == HEAPIMAGE_HEADER_BYTES, "on disk");
static_assert(offsetof(struct heapimage_header, info) == 96, "on disk");

struct heapimage_run { /* ascending, no two in one slice */
	uint32_t page, pages;
	uint64_t offset;
};
static_assert(sizeof(struct heapimage_run) == 16, "on disk");

struct heapimage_mend { /* pages that hold canonical words; ascending, each in a run */
	uint32_t page, pages;
};
static_assert(sizeof(struct heapimage_mend) == 8, "on disk");

struct heapimage_span { /* ascending, none in another */
	uint32_t page, pages;
	uint8_t class, flags, zero[6]; /* HEAP_NOPTR */
	struct slotset live;
};
static_assert(sizeof(struct heapimage_span) == 48, "on disk");

/* A file that was found to be an image. */
struct heapimage_file {
	int fd;
	struct heapimage_header h;
	unsigned char *tables;
	const struct heapimage_run *run;
	const struct heapimage_mend *mend;
	struct plain plain; /* of `tables` */
	const void *modules;
};
/* What versions have beside their pages, of an image: to be freed. The sums are right. 0, or -1 and the error is set. */
struct heapimage_told {
	unsigned char *types, *hints; /* NULL: not asked for */
	const unsigned char *spans;   /* f->h.spans of them, behind the hints */
};
int spm_heapimage_types_read(const char *path, const struct heapimage_file *f, unsigned char **types);
int spm_heapimage_told_read(const char *path, const struct heapimage_file *f, struct heapimage_told *out);
/* Reads pages of a run of the image, and verifies them: 0; -EUCLEAN, -EIO. */
int spm_heapimage_pages_read(const struct heapimage_file *f, uint64_t page, uint32_t n, unsigned char *to);
/* 0, or -1 and the error is set: EUCLEAN, or open(2)'s. */
int spm_heapimage_load(const char *path, struct heapimage_file *out);
void spm_heapimage_unload(struct heapimage_file *f);
static inline bool spm_heapimage_is_zero(const unsigned char *page)
{
	return !page[0] && !memcmp(page, page + 1, SPM_PAGE_BYTES - 1);
}
/* Its own field taken for zero. */
uint64_t spm_heapimage_sum(const struct heapimage_header *h);

/* heapimage_open.c: IDs of images, and what pCFree and pOutside do with them. */
bool spm_heapimage_is_id(int id);
bool spm_heapimage_is_open(int id);
int spm_heapimage_of(uint64_t address); /* in the window; the ID, 0: it is in no image */
uint64_t
spm_heapimage_rest(uint64_t address); /* in the window; bytes to the end of the run that it lies in, 0: of none */
void spm_heapimage_close(int id);
int spm_heapimage_outside(int id, int (*fn)(void *place, void *value, const char *what, void *arg), void *arg);
/* Sets the error for any other use of an image's ID. */
void spm_heapimage_refuse(int id);
/* A page's copy on its way to a volume: words that lead into an open image become 0, `left` gets each. */
void spm_heapimage_cut(uint64_t *words, void (*left)(unsigned offset, uint64_t value, const char *what, void *arg),
                       void *arg);
void spm_heapimage_lock(void); /* over a fork */
void spm_heapimage_unlock(void);

#endif
