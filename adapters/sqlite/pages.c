/* pages.c - a database file as objects in SoftPM's heap.
 *
 *   root -> header            magic, sizes; no pointers, so that no number is taken for one
 *        -> chunk[0..chunks)  64 KiB each, never searched for pointers: SQLite's pages have arbitrary bytes
 *
 * A chunk is a multiple of every page size of SQLite, so a page lies in one piece, and readers use it where it lies (xFetch). Chunks never
 * move. Growing by one is what a database that grows pays at a point: 16 pages of which most are still empty.
 *
 * A page is written by comparing it with what is there, and copying the cache lines that differ: a page that did not change is not
 * touched, so it is in no version again. Nobody else writes to chunks, so they are not watched: what changed is told (pDirty), and
 * points take no longer if there are more of them. What a restore brought back is watched; to end that takes some microseconds a chunk, so
 * it is done bit by bit, when it is written: who opens a large database need not wait for it.
 *
 * A volume is not to be believed: what a restored root leads to is checked against the heap before it is used. A large database comes from the disk
 * while it is used already, so all that is read here is asked for before (spm_pages_open, spm_pages_at): damage is an error then.
 */
#include "adapter.h"

#include <errno.h>
#include <softpm.h>
#include <string.h>

enum { CHUNK_BYTES = 65536, LINE_BYTES = 64 };

#define PAGES_MAGIC UINT64_C(0xd1b7f3a95c2e8461)

struct pages_header {
	uint64_t magic;
	uint32_t format, chunk_bytes;
	int64_t bytes;
	uint64_t chunks;
};

struct pages_root {
	struct pages_header *header;
	unsigned char **chunk;
};

static struct pages_header *header_new(int id)
{
	struct pages_header *h;

	pCUse(id);
	h = pMallocNoPtr(sizeof(*h));
	pCUse(0);
	if (h)
		*h = (struct pages_header){.magic = PAGES_MAGIC, .format = 1, .chunk_bytes = CHUNK_BYTES};
	return h;
}

void *spm_pages_new(int magic, int *id)
{
	void *memory;
	struct pages_root *root;

	*id = pCAlloc(magic, sizeof(*root), &memory);
	if (!*id)
		return NULL;
	root = memory;
	root->header = header_new(*id);
	if (root->header)
		return root;
	pCFree(*id);
	errno = ENOMEM;
	return NULL;
}

/* So many bytes can be read, and are in memory: 0. -EINVAL: nothing of that size is there; -EUCLEAN: they are damaged. */
static int have(struct pages *p, const void *at, size_t bytes)
{
	int is_all;

	if (pReadable(at) < bytes)
		return -EINVAL;
	is_all = pRestoreWaitFor(p->id, at, bytes);
	if (is_all > 0)
		p->is_coming = false;
	return is_all < 0 ? -errno : 0;
}

static int header_check(const struct pages_header *h)
{
	if (h->magic != PAGES_MAGIC || h->format != 1 || h->chunk_bytes != CHUNK_BYTES || h->bytes < 0)
		return -EINVAL;
	if (h->chunks > INT64_MAX / CHUNK_BYTES || (uint64_t)h->bytes > h->chunks * CHUNK_BYTES)
		return -EINVAL;
	return 0;
}

static int chunks_check(struct pages *p)
{
	uint64_t chunks = p->root->header->chunks;
	int err = chunks ? have(p, p->root->chunk, chunks * sizeof(*p->root->chunk)) : 0;

	for (uint64_t i = 0; i < chunks && !err; i++)
		if (pReadable(p->root->chunk[i]) < CHUNK_BYTES)
			err = -EINVAL;
	return err;
}

int spm_pages_open(struct pages *p, void *root)
{
	int err;

	p->root = root;
	p->is_coming = true;
	err = have(p, p->root, sizeof(*p->root));
	if (!err)
		err = have(p, p->root->header, sizeof(*p->root->header));
	if (!err)
		err = header_check(p->root->header);
	if (!err)
		err = chunks_check(p);
	p->watched_from = 0;
	p->watched_to = err ? 0 : p->root->header->chunks;
	return err;
}

int64_t spm_pages_bytes(const struct pages *p)
{
	return p->root->header->bytes;
}

unsigned char *spm_pages_at(struct pages *p, int64_t at, int64_t *bytes)
{
	int64_t rest = spm_pages_bytes(p) - at, in_chunk = at % CHUNK_BYTES;
	unsigned char *byte;

	*bytes = 0;
	if (at < 0 || rest <= 0)
		return NULL;
	byte = p->root->chunk[at / CHUNK_BYTES] + in_chunk;
	*bytes = rest < CHUNK_BYTES - in_chunk ? rest : CHUNK_BYTES - in_chunk;
	if (p->is_coming && have(p, byte, (size_t)*bytes)) {
		*bytes = -1;
		return NULL;
	}
	return byte;
}

void spm_pages_tell(struct pages *p)
{
	enum { AT_ONCE = 16 };

	for (unsigned i = 0; i < AT_ONCE && p->watched_from < p->watched_to; i++)
		pUnwatch(p->root->chunk[p->watched_from++]);
}

/* Room for so many chunks in the table of them. */
static int table_reserve(struct pages_root *root, uint64_t chunks)
{
	size_t have = root->chunk ? pUsableSize(root->chunk) / sizeof(*root->chunk) : 0;
	unsigned char **more;

	if (chunks <= have)
		return 0;
	more = pRealloc(root->chunk, (chunks < 2 * have ? 2 * have : chunks) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	root->chunk = more;
	return 0;
}

static int chunks_add(struct pages_root *root, uint64_t chunks)
{
	int err = table_reserve(root, chunks);

	for (uint64_t i = root->header->chunks; i < chunks && !err; i++) {
		root->chunk[i] = pMallocNoPtr(CHUNK_BYTES);
		if (!root->chunk[i])
			return -ENOMEM;
		pUnwatch(root->chunk[i]);
		root->header->chunks = i + 1;
	}
	return err;
}

static void chunks_drop(struct pages_root *root, uint64_t chunks)
{
	while (root->header->chunks > chunks) {
		unsigned char **last = &root->chunk[--root->header->chunks];

		pFree(*last);
		*last = NULL;
	}
}

/* What lies behind the end is zero, so it is when the file grows again. 0 or -errno. */
static int tail_clear(struct pages *p, int64_t from)
{
	int64_t n;

	for (unsigned char *at; (at = spm_pages_at(p, from, &n)); from += n) {
		memset(at, 0, (size_t)n);
		pDirty(at, (size_t)n);
	}
	return n < 0 ? -errno : 0;
}

int spm_pages_resize(struct pages *p, int64_t bytes)
{
	struct pages_root *root = p->root;
	uint64_t chunks = ((uint64_t)bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
	int err = 0;

	if (bytes < spm_pages_bytes(p)) {
		chunks_drop(root, chunks);
		p->watched_to = chunks < p->watched_to ? chunks : p->watched_to;
		if (root->header->bytes > (int64_t)(chunks * CHUNK_BYTES))
			root->header->bytes = (int64_t)(chunks * CHUNK_BYTES);
		err = tail_clear(p, bytes);
	} else if (chunks > root->header->chunks) {
		pCUse(p->id);
		err = chunks_add(root, chunks);
		pCUse(0);
	}
	if (!err)
		root->header->bytes = bytes;
	return err;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Whether any differed. libc compares 512 bytes in a third of the time that it takes for eight lines. */
static bool lines_copy(unsigned char *to, const unsigned char *from, int64_t n)
{
	enum { LINES_BYTES = 8 * LINE_BYTES };
	bool have_differed = false;

	for (int64_t i = 0, size; i < n; i += size) {
		size = least(n - i, LINES_BYTES);
		if (!memcmp(to + i, from + i, (size_t)size))
			continue;
		have_differed = true;
		for (int64_t j = i, end = i + size, line; j < end; j += line) {
			line = least(end - j, LINE_BYTES);
			if (memcmp(to + j, from + j, (size_t)line) != 0)
				memcpy(to + j, from + j, (size_t)line);
		}
	}
	return have_differed;
}

int spm_pages_write(struct pages *p, const unsigned char *from, int64_t n, int64_t at)
{
	int64_t piece = 0;
	int err = 0;

	if (at + n > spm_pages_bytes(p))
		err = spm_pages_resize(p, at + n);
	for (; n && !err; n -= piece, from += piece, at += piece) {
		unsigned char *to = spm_pages_at(p, at, &piece);

		if (!to)
			return -errno;
		piece = least(piece, n);
		if (lines_copy(to, from, piece))
			pDirty(to, (size_t)piece);
	}
	return err;
}
