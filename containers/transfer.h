/* transfer.h - what pExport puts into a stream (stream/stream.h) and pImport takes from it: items, one behind the other.
 *
 *   head  ( version  ( page | meta | gone )...  commit  ( tag | branch )... )...  end
 *
 * A version is told as what changed since the version before it: that of the same branch, the one that the branch begins with, or
 * the base of an increment; one that begins empty is told whole. Pages come ascending, each once. The state of a version is a
 * sum over its pages that takes no more than the changes to bring up to date: so both sides know of each version whether they mean
 * the same, and an importer that it did not commit anything else. A tag or branch stands behind the version that it names, so
 * that this is never without it. docs/stream-format.md tells each field.
 */
#ifndef SPM_TRANSFER_H
#define SPM_TRANSFER_H

#include "container.h"
#include "stream/stream.h"
#include "volume/source.h"

#include <assert.h>

enum item_kind {
	ITEM_HEAD = 1,
	ITEM_VERSION,
	ITEM_PAGE,   /* struct item_page, then its 4096 bytes */
	ITEM_META,   /* struct item_page: its content is as before */
	ITEM_GONE,   /* uint64_t: its number; the page is not in the version any more */
	ITEM_COMMIT, /* uint64_t: the state of the version */
	ITEM_TAG,
	ITEM_BRANCH, /* struct item_name without time: a branch begins with the version */
	ITEM_END     /* uint64_t: how many versions there were */
};

enum transfer_flags { TRANSFER_HISTORY = 1, TRANSFER_INCREMENT = 2 };
enum { TRANSFER_MACHINE = 62 /* x86-64, as ELF calls it */ };

/* Items begin with a uint64_t: their kind. All are little-endian, as they are in memory. */
struct item_head {
	int32_t magic; /* of the container */
	uint32_t flags, machine, page_bytes;
	uint64_t versions;          /* about how many will come */
	char name[64], current[64]; /* of the container; its current branch */
};
struct item_version {
	uint64_t before, before_time_ns,
	        before_state; /* number, time and state of the version that it is told against; 0: whole */
	struct version_info info;
};
struct item_page {
	uint64_t page, sum;
	struct page_meta meta;
};
struct item_name {
	char name[64];
	uint64_t time_ns;
};

static_assert(sizeof(struct item_head) == 152 && sizeof(struct item_version) == 520 && sizeof(struct item_page) == 64 &&
                      sizeof(struct item_name) == 72,
              "items of a stream");

/* What a page adds to the state of a version that has it. */
uint64_t spm_state_of(const struct item_page *p);
/* A page of a version as an item: one without content has zeros. */
struct item_page spm_item_page(uint64_t page, const struct page_source *source, const struct page_meta *meta);
/* The state of the version that a chain shows. 0 or -ENOMEM. */
int spm_state_find(struct chain *c, uint64_t *state);

/* The calls behind pExport and pImport, on any volume. */
struct resolved;
struct exporting {
	struct volume *volume;
	int magic, fd;
	const struct resolved *at, *since; /* NULL: all branches; NULL: whole */
	bool is_history;                   /* with since: also the versions between */
	int (*fn)(const struct ptransfer *t, void *arg);
	void *arg;
};
int spm_export(const struct exporting *what);
/* v NULL: the process's own, which is opened once the stream has begun as one. */
int spm_import(struct volume *v, int fd, const struct pimport *how);

#endif
