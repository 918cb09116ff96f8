/* volume.h - versions on a device: extents, chains of commits, copy-on-write page maps.
 *
 * A volume holds chains. A chain is one branch of one container: a row of versions, each the parent of the next. It begins empty,
 * or with a version of another chain, whose blocks it shares.
 * Each chain owns extents (1 MiB) of the volume, so chains written by different processes meet only when one takes an
 * extent. Everything below is told byte by byte in docs/format.md and volume/format.h.
 *
 * The layer knows nothing of heaps: a page is a number, 4096 bytes, and 48 bytes of meta that it keeps for
 * the caller. Pages numbered SPM_BLOB_PAGE and up are not heap pages (the containers' own tables live there).
 *
 * A struct volume and its chains may be used by several threads; one commit per chain at a time (the caller
 * serializes), maintain may run beside it.
 *
 * Errors are negative errnos; volume_error() gives the sentence (what, where, what to do) of the calling thread's last
 * one. -EUCLEAN damaged   -ENOSPC full   -EAGAIN another process writes this chain   -ENOENT no such   -EEXIST -EIO the
 * device failed: the volume is poisoned, every later write gives -EIO until it is opened again.
 */
#ifndef SPM_VOLUME_H
#define SPM_VOLUME_H

#include "base/base.h"
#include "driver/driver.h"

#define SPM_BLOB_PAGE UINT64_C(0x100000000)

struct volume;
struct chain;

struct page_meta {             /* 48 bytes, on disk as it is (little-endian) */
	uint32_t span_pages;   /* of the span that the page belongs to */
	uint32_t page_in_span; /* 0: the span's first page; only there is live meaningful */
	uint8_t class;
	uint8_t flags;
	uint16_t zero[3];
	struct slotset live; /* slots of the span reachable in this version */
};

/* One page in a commit. */
struct page_change {
	uint64_t page;
	const void *data; /* 4096 bytes; NULL: only the meta changes, content (if any) as before */
	bool is_removed;  /* the page leaves the version */
	bool is_stored; /* out: data, or that of a page of the same chunk, differed from what the chain had: it was written as a whole */
	bool has_sum; /* the caller knows it */
	uint64_t sum; /* out: of data */
	struct page_meta meta;
};

struct version_info { /* what each version tells of itself; fixed part of the commit record */
	uint64_t
	        version; /* number, from 1, higher than all before it on its branch. In: not lower than this; out: set by commit */
	uint64_t parent;  /* number of the parent, 0: none; set by commit */
	uint64_t time_ns; /* CLOCK_REALTIME */
	uint64_t root;    /* heap address */
	uint64_t root_bytes;
	uint64_t pages;                      /* in the version; set by commit */
	uint64_t stored_pages, stored_bytes; /* written for it, as a whole or as patches; set by commit */
	uint64_t live_bytes;
	uint64_t pause_ns;                                    /* how long the program stood still for it */
	uint64_t pause_median_ns, pause_p99_ns, pause_max_ns; /* of this process so far */
	uint64_t queue, lag_ns;
	char branch[64];
	char name[64];          /* the container's */
	uint32_t versions_kept; /* 0: all */
	uint32_t chunk_bytes;
	uint32_t attr_flags;
	uint32_t pid;
	uint32_t full_trace_every;
	uint32_t keep_seconds; /* versions older than this are dropped; 0: at any age they stay */
	struct thinning {      /* of versions older than this, one each so many seconds is kept; 0: all */
		uint32_t older_than_s, every_s;
	} thin[2];      /* the second is of older ones than the first */
	uint64_t input; /* position in the branch's log behind the newest input that it has in it (log.h) */
	char message[200];
};

/* Which versions are kept, beside the newest one and those that are named or read: as in version_info. */
struct retention {
	uint32_t versions_kept, keep_seconds;
	struct thinning thin[2];
};

enum volume_flags {
	VOLUME_READ_ONLY = 1,
	VOLUME_CREATE = 2,
	VOLUME_EAGER = 4, /* for tests: maps and indexes as soon as there is anything to write */
};

/* Takes the driver (closes it at volume close, also on failure). An empty device with VOLUME_CREATE becomes a volume.
 */
int spm_volume_open(struct driver *driver, unsigned flags, struct volume **out);
void spm_volume_close(struct volume *v);

/* What a forked child takes over: the same volume by a driver that the parent opens before the fork. Versions are pinned through it
 * (spm_chain_pin_for) and stay so until it is closed, wherever it is open. */
int spm_volume_heir(struct volume *v, struct driver **out); /* 0 or -errno */
/* In the parent, after the fork. */
void spm_volume_heir_close(struct volume *v, struct driver *heir);
/* In a forked child, which has none of the locks and perhaps not the memory in order that other threads were changing: lets go of
 * the device, and so of the parent's locks, which would else outlive the parent. Of its chains spm_chain_position, _pin_for and
 * _leave may still be called. */
void spm_volume_leave(struct volume *v);
const char *spm_volume_error(void);
/* The same if the last failure was this one, else (a failure so small that nobody spoke of it) a plain sentence. */
const char *spm_volume_error_of(int err);

struct volume_info {
	uint8_t uuid[16];
	uint32_t format;
	uint64_t bytes, extents, free_extents, chains;
};
/* How long this thread has waited for writes and flushes of devices, in all. */
uint64_t spm_volume_waited_ns(void);
int spm_volume_info(struct volume *v, struct volume_info *out);
/* Calls fn for each chain (magic, branch name; NULL: its head is damaged, so who knows) until it returns non-zero, which is returned. */
int spm_volume_each_chain(struct volume *v, int (*fn)(int magic, const char *branch, void *arg), void *arg);

/* A new chain; held for writing by this process. -EEXIST if magic has one with that branch. Durable on return;
 * a chain without any commit is what a crash may leave: it opens with version 0. */
int spm_chain_create(struct volume *v, int magic, const char *branch, struct chain **out);

enum chain_flags {
	CHAIN_WRITE = 1,       /* else a reader: takes no lock, changes nothing */
	CHAIN_NEWEST_WHOLE = 2 /* the user's explicit consent: open the newest whole version although a newer, damaged
	                          one is known */
};
/* A branch that begins with a version that was found. Durable on return; reads no map, so it costs the same for any container. It shares
 * all blocks with its origin, whose writer may be another process. -EEXIST; -ENOENT: the version is there no more. */
struct version_found;
int spm_branch_create(struct volume *v, int magic, const char *branch, const struct version_found *at);
int spm_branch_exists(struct volume *v, int magic, const char *branch); /* 1, 0 or -errno */
/* The branch is not deleted until the chain, which tells no more than its name, is closed. -ENOENT. */
int spm_branch_hold(struct volume *v, int magic, const char *branch, struct chain **out);
/* The same of a version that was found: it is not dropped. -ENOENT: it is there no more. */
int spm_version_hold(struct volume *v, int magic, const struct version_found *at, struct chain **out);
/* Recovers and opens. -EUCLEAN: volume_error() names the damage and the newest whole version. wait_ms: for the
 * writer's lock. */
int spm_chain_open(struct volume *v, int magic, const char *branch, unsigned flags, unsigned wait_ms,
                   struct chain **out);
/* Read-only, at the version with this number that the branch has, or has from the branches that it comes from. Until it is
 * closed the version is not dropped, by whatever process. -ENOENT: there is none, or not any more. */
int spm_chain_open_version(struct volume *v, int magic, const char *branch, uint64_t version, struct chain **out);
/* The chain that this one branched off, read-only at the version where it did. -ENOENT: it is no branch. */
int spm_chain_open_parent(struct chain *c, struct chain **out);
/* What it was opened with is durable on return. Opening does not see to that, and writes nothing: a chain's first commit does, or
 * maintaining it while it is idle, or this. 0 or -errno; a reader's 0 says nothing. */
int spm_chain_settle(struct chain *c);
bool spm_chain_is_noted(const struct chain *c); /* the disk says so, too; while nobody commits or maintains */
struct chain_about {
	const char *branch; /* good as long as the chain is open */
	bool is_branch;     /* it began with origin_version of its parent */
	uint64_t origin_version;
	uint64_t chain_id, seq; /* with which a tag names a version */
};
uint64_t spm_chain_id(const struct chain *c);
void spm_chain_about(const struct chain *c, struct chain_about *out);
/* Whether pages of its volume may have the words that stand for pointers which lead to nothing (discover/outside.h). */
bool spm_chain_names_lost(const struct chain *c);
/* Notes that all is durable, if it is settled: a chain closed so shows any later damage. */
void spm_chain_close(struct chain *c);
/* Its newest version. While nobody commits; takes no lock. */
void spm_chain_position(const struct chain *c, struct version_found *out);
/* While nobody commits: the newest version is not dropped as long as the driver, of the same volume, is open; or (false) it may be
 * again. 0 or -errno. */
int spm_chain_pin_for(struct chain *c, struct driver *heir, bool pin);
void spm_chain_leave(struct chain *c); /* after spm_volume_leave: frees the memory */
/* All chains of the container. -ENOENT; -EAGAIN: somebody writes or reads it. */
int spm_chain_delete(struct volume *v, int magic);
/* -ENOENT; -EAGAIN: somebody writes or reads it; -EBUSY: it has branches itself, a tag names a version of it, or it is the current one. */
int spm_branch_delete(struct volume *v, int magic, const char *branch);

/* Names beside the branches. */
enum ref_kind { REF_TAG = 1, REF_CURRENT = 2 };
struct ref {                             /* on disk as it is, little-endian */
	char name[64];                   /* of a tag; of the current branch */
	uint64_t chain_id, seq, version; /* of a tag */
	uint64_t time_ns;
	uint32_t kind;
	uint32_t zero[7];
};
struct refs {
	struct ref *ref;
	size_t n;
};
int spm_refs_load(struct volume *v, int magic, struct refs *out); /* none: n is 0 */
void spm_refs_free(struct refs *r);
const struct ref *spm_refs_find(const struct refs *r, enum ref_kind kind, const char *name); /* NULL: there is none */
/* Calls `change`, which may change *refs by the functions below, and makes that durable unless it fails. */
int spm_refs_change(struct volume *v, int magic, int (*change)(struct refs *refs, void *arg), void *arg);
int spm_refs_put(struct refs *r, const struct ref *ref); /* instead of one of that kind and name */
bool spm_refs_remove(struct refs *r, enum ref_kind kind, const char *name);

/* Makes one version durable: one write, one flush if small. Returns 0 when durable. changes in any order, no page
 * twice. info: in: time_ns on, out: the fields "set by commit". If the content of every change equals what the chain
 * has, and force is false, no version is made and info->version is the present one. On error nothing changed for the
 * chain unless it is poisoned. */
int spm_chain_commit(struct chain *c, struct page_change *changes, size_t n, bool force, struct version_info *info);

/* What a commit gets its changes from, a batch after the other: so a large one need not have all its pages in memory. */
struct change_source {
	/* Gives a batch, which stays as it is until the next call; with the last one it sets is_over, and is called no more. Pages of one chunk
	 * (info->chunk_bytes) come in one batch. A failure (-errno) is the commit's. */
	int (*next)(struct change_source *s, struct page_change **changes, size_t *n);
	size_t changes_most; /* about how many there are in all; the volume grows accordingly */
	bool is_over;
};
int spm_chain_commit_from(struct chain *c, struct change_source *source, bool force, struct version_info *info);
/* 1: that commit would make a version; 0: the chain has all that already; or -errno. Nothing is changed. */
int spm_chain_would_change(struct chain *c, struct change_source *source);
uint64_t spm_page_sum(const void *page); /* what page_change.sum is */

/* What may be done off the commit path, in one bounded step: growing ahead, writing the map or index out, noting
 * durability, freeing dropped versions' space. *again: there is more to do now. idle: no commit is about. */
int spm_chain_maintain(struct chain *c, bool idle, bool *again);

/* What holds, as long as the chain is open, instead of what its newest version says. All zero: every version is kept. NULL: the
 * version's word again. */
void spm_chain_retain(struct chain *c, const struct retention *r);
/* Drops, in one go, all versions that are not to be kept, and gives extents that are wholly free then back to the volume. is_dry:
 * nothing is changed. */
struct pruned {
	uint64_t versions, blocks; /* that become free */
	uint64_t extents;          /* that were given back */
};
int spm_chain_prune(struct chain *c, bool is_dry, struct pruned *out);

/* Newest version's description; -ENOENT if there is none. */
int spm_chain_newest(struct chain *c, struct version_info *out);
/* From the newest (of one opened at a version: from that) back along parents, also on the branches that it comes from; until fn
 * returns non-zero, which is returned. Versions that are not to be kept any more are left out. */
int spm_chain_each_version(struct chain *c, int (*fn)(const struct version_info *info, void *arg), void *arg);

/* The newest version with a number, or time, up to the limit, that the branch has or has from where it comes from. Reads no map.
 * -ENOENT: none. */
enum version_key { BY_NUMBER, BY_TIME };
struct version_found {
	struct version_info info;
	uint64_t chain_id, seq; /* which it is, whatever way led to it */
};
int spm_version_find(struct volume *v, int magic, const char *branch, enum version_key key, uint64_t limit,
                     struct version_found *out);
/* The highest number that a version of the container has, on any branch but one (NULL: on any). */
int spm_version_highest(struct volume *v, int magic, const char *without, uint64_t *number);
/* The newest of an open chain, or the version that it was opened at, whatever commits are under way. Reads nothing. -ENOENT: none. */
int spm_chain_newest_found(struct chain *c, struct version_found *out);

/* The oldest of the chain's own versions that is to be kept, by count or by name; the caller writes the chain. Reads a stretch of
 * records. -ENOENT: there is none. */
int spm_chain_oldest(struct chain *c, struct version_info *out);

/* Where a page's content is, and its checksum: enough to read and verify it, whatever the chain's map says by then. */
struct page_source {
	uint64_t page;
	uint64_t block; /* 0: all zero, nothing to read */
	uint64_t sum;
	uint32_t granules; /* of its patch: patch.h */
	const unsigned char *patch;
};
/* All pages of the newest version, ascending, as runs (source.h). What it holds does not change with later commits, but ends with
 * the chain. */
struct source_list {
	struct source_run *run;
	size_t n;
	unsigned char *bytes; /* of those runs whose bytes are not the chain's */
	size_t room;          /* for these */
	uint64_t pages;
};
int spm_chain_list(struct chain *c, struct source_list *out); /* 0 or -ENOMEM */
void spm_source_list_free(struct source_list *l);
/* What the newest version has of one page; the patch only until the next commit. False: it does not have it. */
bool spm_chain_page(struct chain *c, uint64_t page, struct page_source *source, struct page_meta *meta);
/* The run that has the page, which is its page *k; NULL: none. */
const struct source_run *spm_source_find(const struct source_list *l, uint64_t page, uint32_t *k);
/* Calls fn for each range of pages that one list has and the other has not, or has otherwise: another content, span or live slots. By
 * what they say; a step a run where they agree. */
void spm_source_lists_differ(const struct source_list *first, const struct source_list *second,
                             void (*fn)(uint64_t page, uint64_t pages, void *arg), void *arg);
/* Keeps the newest version from being dropped, until it is called with false. One pin a chain; a reader has it already. */
int spm_chain_pin(struct chain *c, bool is_pinned);
struct page_side { /* of a page, in one of two versions */
	bool is_there;
	struct page_source source;
	struct page_meta meta;
};
struct page_pair {
	uint64_t page;
	bool is_same; /* its content, and both have it */
	struct page_side side[2];
};
/* Calls fn for each page that either of two chains of a container shows, ascending, until it returns non-zero, which is returned. Reads no
 * page. -ENOMEM. */
int spm_chain_compare(struct chain *first, struct chain *second, int (*fn)(const struct page_pair *pair, void *arg),
                      void *arg);
/* What small commits wrote, their records and pages, lies near each other, and a device brings in a neighbourhood about as fast as a block. To
 * be called before each short read of many: from the second one in a neighbourhood on, all of it is there when it is asked for. Begins as all
 * zero, but for is_dense; may be used by one thread. */
enum { NEARS = 64 };
struct nears {
	uint64_t window[NEARS]; /* + 1 */
	bool is_expected[NEARS];
	unsigned next;
	bool is_dense; /* where one is read there will be others: from the first one on */
};
void spm_chain_near(struct chain *c, struct nears *nears, uint64_t block);
/* A hint: these blocks will be read soon. */
void spm_chain_expect(struct chain *c, uint64_t block, uint64_t blocks);
/* Reads and verifies n pages whose blocks follow each other. The version's number is for the message only. Takes no lock
 * and allocates nothing, unless it fails. -EUCLEAN names page, version and block. */
int spm_chain_read_run(struct chain *c, uint64_t version, const struct page_source *source, size_t n, void *buffer);
/* Reads and verifies pages [first, first+n) of the newest version into buffer (pages absent or without data: left as
 * they are, the buffer being zero). Large reads where blocks are contiguous. -EUCLEAN names page and block. */
int spm_chain_read(struct chain *c, uint64_t first, size_t n, void *buffer);

/* Verifies everything of the container: fn gets a sentence for each damage, until non-zero. *newest_whole: number
 * of the newest version whose every block is right, 0: none. Returns 0, or 1 if damage was found, or -errno. */
int spm_volume_check(struct volume *v, int magic, const char *branch, int (*fn)(const char *sentence, void *arg),
                     void *arg, uint64_t *newest_whole);
/* Number of invariants' checks of the in-memory state against each other (free map, page map); panics by number. */
void spm_chain_self_check(struct chain *c);

#endif
