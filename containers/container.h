/* container.h - what the files of containers/ know of each other.
 *
 * The way of a persistence point
 *
 *    pPoint -> capture.c: stop threads, drain frees, collect dirty pages, trace, copy pages -> an image
 *           -> write.c:   zero dead slots, mend outward pointers, commit to the chain      -> a version
 *
 * capture runs while the program stands still; write runs in the caller (pPointSync) or in the container's
 * worker thread (pPoint). A container has one image: the next capture waits until the last one is written.
 * Of a large dirty set the pages are not copied but kept by a clone of the process (snapshot/clone.h); then write
 * fetches them, a batch at a time (changes.h).
 *
 * Locks, in this order
 *   container->lock   everything in struct container but the image's content; never held over I/O or a stop
 *   table_lock        (table.c) which containers are open, the volume
 *   the capture       (capture.c) one at a time in the process; nobody waits for a lock while he has it. It may end in
 *                     another thread than it began
 */
#ifndef SPM_CONTAINER_H
#define SPM_CONTAINER_H

#include "collapse.h"
#include "discover/marks.h"
#include "discover/outside.h"
#include "discover/trace.h"
#include "group.h"
#include "moved.h"
#include "plain.h"
#include "snapshot/clone.h"
#include "softpm.h"
#include "types/types.h"
#include "volume/volume.h"

#include <pthread.h>

enum { PAGE_OUTSIDE = 0x80 }; /* page_meta.flags beside enum heap_flags: has words to mend at restore */

/* How many pages of an image are prepared and written at a time (changes.h); their bytes; how much of the copies is used for them
 * after a clone, in pages. */
enum { CHANGES_BATCH = 1024, CHANGES_BYTES = CHANGES_BATCH * SPM_PAGE_BYTES, CHANGES_COPIES = 4 * CHANGES_BATCH };

/* Touched pages that follow each other in one span, as they were at the instant of the point. */
struct frozen_run {
	pageno_t first;
	uint32_t pages;
	uint64_t span_address, slot_bytes;
	uint32_t span_pages, recip;
	uint16_t slots;
	uint8_t class, flags;
	bool is_removed;     /* from the version: then the span is not told */
	struct slotset live; /* of the span */
};

struct image {
	struct frozen_run *frozen; /* address space for one entry a heap page; filled as far as `runs` */
	unsigned char *copies;     /* 4096 bytes for each of their pages */
	size_t runs, pages, pages_most, pages_latest;
	struct memory_clone
	        clone; /* if there is one, it has the pages, and the beginning of `copies` is for batches of them */
	uint64_t *excluded; /* then: places to be zero in the copies */
	size_t excluded_count;
	struct page_change *changes;                                                       /* of two batches */
	uint64_t root, root_bytes, live_bytes, pause_ns, discovery_ns, dirty_pages, input; /* discovery: of the pause */
	uint64_t captured_ns, stored_bytes; /* stored: of the version, when it is written */
	bool is_full_trace;
	bool is_exact; /* the container's kinds say what its slots are */
	size_t lost;   /* suspects (discover/kinds.h) */
	struct cattr attr;
};

/* Pauses by their logarithm: 8 buckets an octave, so percentiles are right to 9%. */
enum { PAUSE_BUCKETS = 64 * 8 };
struct pauses {
	uint64_t count[PAUSE_BUCKETS], total, max_ns;
	uint64_t median_ns, p99_ns; /* as of the last refresh */
};

struct outside_pointer {
	uint64_t place, value;
	char what[160];
};
/* Pointers that are or will be NULL after a restore. */
struct left {
	struct outside_pointer *pointer;
	size_t n;
};

struct container {
	int id, magic;
	char branch[64]; /* that its points extend */
	bool is_view;    /* of a version: no points are made */
	struct chain *chain;
	struct lazy *lazy; /* NULL: all pages were there from the start */
	bool is_shared;    /* at its end: other containers hold slots that it holds */
	bool is_inherited; /* from the process that forked this one: fork.c */
	bool is_forking;   /* its points wait for a fork that is under way; the table's lock guards it */
	struct marks *marks;
	struct outside *outside;
	uint32_t arena;
	uint64_t root, root_bytes;
	struct cattr attr;
	bool is_attr_changed;
	struct types *types; /* of attr.type; NULL: none. Changed while no point is under way */
	bool are_types_changed;
	struct growth *growth; /* while it is restored: what spm_typing_check has left to look at; NULL: nothing */

	pthread_mutex_t lock;
	pthread_cond_t changed;                 /* is_busy */
	pthread_cond_t work;                    /* for the worker: is_handed_over, is_ending, upkeep_ns */
	bool is_worker_asleep, is_worker_batch; /* batch: it gives way, see point.c */
	bool is_busy;                           /* somebody captures or writes */
	bool is_handed_over; /* the image waits for who writes it: the worker, or pSync if that is first */
	bool is_taken;       /* somebody does */
	_Atomic bool is_ending;
	bool is_halted, is_tended; /* the worker is to do nothing; is at its upkeep */
	unsigned users;            /* calls in progress that hold a reference */
	pthread_t worker;
	struct group pointing; /* callers of pPointSync */
	char message[200];     /* of the image under way */
	int64_t newest;        /* number of the newest version, durable or under way */
	int64_t number;        /* of the one that was made last, or is about to be; guarded by table_lock */
	int64_t number_seen;   /* the highest of branches that are not open; so is this */
	int64_t durable;
	int failed; /* -errno of a point that failed since the last pSync */
	char failed_message[512];
	bool is_failure_told;
	uint64_t upkeep_ns; /* when the worker looks what there is to do beside points; 0: not before the next one */
	bool is_upkeep_far; /* so far that a point brings it forward */
	uint64_t points_at_upkeep; /* at the last one */

	struct group recording;             /* callers of pRecord: record.c */
	struct log *log;                    /* NULL: nothing was recorded since it was opened */
	uint64_t input;                     /* position in the log up to which the state in memory has the inputs */
	uint64_t input_saved;               /* and the newest durable version */
	uint64_t inputs_needless;           /* up to which no version lacks them, as far as is known */
	uint64_t looked_ns, points_at_look; /* when that was looked at */
	bool is_log_used;                   /* since the worker's last upkeep */

	struct image image;
	struct hints hints;  /* changed while no point is under way, or stopped */
	struct kinds *kinds; /* what types say of its slots; NULL: nothing. Changed while no point is under way */
	struct plain plain;  /* numbers that look like pointers, in the newest version, or the one under way */
	uint64_t numbers_lost;
	bool wants_full_trace;
	uint64_t points, full_traces, stored_bytes, dirty_pages;
	uint64_t discovery_ns, freeze_ns, write_ns, flush_ns; /* of all points */
	uint64_t points_since_full_trace, pause_ns_since_full_trace;
	uint64_t full_trace_ns; /* how long the last one took; of the first, all that it found was new */
	struct pauses pauses;
	struct left left;        /* at the last point, or the restore */
	uint64_t pages_switched; /* looked at by pCSwitch */
	struct moved *moved;     /* NULL: it lies where its versions say */
};

/* error.c: sets errno and the sentence; returns -1. */
int spm_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same from a volume call's negative errno, with the volume's own sentence. */
int spm_fail_volume(int err);

/* table.c */
struct container *spm_container_get(int id); /* with a reference; NULL and error set: EINVAL, ECHILD */
void spm_container_put(struct container *c);
/* The same; NULL if it is not open, no error set. No views; branch NULL: any. */
struct container *spm_container_open(int magic, const char *branch);
/* All that are open, one after the other, each with a reference: the first at or behind *place, which is 0 at first; NULL: no more. */
struct container *spm_container_next(unsigned *place);
/* The durable version that memory goes on from. -ENOENT: there is none yet; or the container is inherited, or not on that branch
 * (NULL: any) any more. */
int spm_container_position(struct container *c, const char *branch, struct version_found *out);
/* Forgets all containers with that magic, as pCFree. */
void spm_containers_end(int magic);
/* Waits for the points of all containers with that magic, views or not. 0, or -1 and the error is set. */
int spm_containers_sync(int magic);
/* Waits until what was captured of any container until now is written, or has failed; pSync tells. */
void spm_containers_settle(void);
/* The container whose memory comes from the arena, in words; if there is none they stay as they are. */
void spm_arena_owner(uint32_t arena, char *words, size_t room);
/* c->number becomes one that no version of its container has, on any branch, as far as this process knows. */
void spm_version_number_take(struct container *c);
void spm_version_number_settle(struct container *c, int64_t number);            /* that is how it came */
void spm_version_number_see(struct container *c, int64_t number);               /* a branch that is not open has it */
void spm_container_each(void (*fn)(struct container *c, void *arg), void *arg); /* table locked, or stopped */
struct volume *spm_volume_current(void); /* opens the default one if need be; NULL and error set */
unsigned spm_volume_wait_ms(void);
/* For fork.c, which calls them in this order. With a reference, marked; NULL: all are. Those that are just being ended are passed
 * over: a child has none of them. */
struct container *spm_table_hold_next(void);
bool spm_table_lock_held(void);          /* locks the table if all in it are held, else it gives false */
bool spm_table_has_heritage(void);       /* a child might call pCFork */
int spm_table_heir(struct driver **out); /* with a pin for what each container is at; 0 or -errno */
void spm_table_heir_close(struct driver *d);
void spm_table_unlock(void);
bool spm_table_release_next(struct container **out); /* false: none is held any more */
void spm_table_after_fork_in_child(struct driver *inherited, bool is_routed);
/* In a forked child: its container; NULL and the error set: EINVAL. */
struct container *spm_container_inherited(int id);
void spm_container_own(struct container *c); /* is inherited no more */
void spm_volume_disinherit(void);            /* it has none again */
int spm_volume_inherit(bool *is_new);        /* this process has a volume from here on; 0 or -errno */
struct driver *spm_volume_heirloom(void);    /* what the parent left */
/* Of an inherited container: frees what has to do with the parent's volume. */
void spm_container_leave(struct container *c);
struct container *spm_container_new(int magic);
int spm_container_start(struct container *c); /* into the table; starts its worker; takes ownership */
void spm_container_free(struct container *c); /* one that was never started, or is ended */
void spm_container_end(struct container *c);
void spm_container_forget(struct container *c); /* frees what was reachable from its root, but for what others have */
int spm_worker_start(struct container *c);      /* 0 or an errno */
/* Of live slots of the span, those that no other container holds. *has_others: another holds, or names in hints, some of its slots. Table
 * locked, stopped, or in a capture. */
struct slotset spm_container_alone(const struct container *c, struct span *s, const struct slotset *slots,
                                   bool *has_others);

/* point.c: nobody makes a point or records an input, and the worker does nothing, between these. */
void spm_container_halt(struct container *c);
void spm_container_go_on(struct container *c);
void spm_container_lock(struct container *c);  /* c->lock, where the caller may have to wait */
void spm_container_await(struct container *c); /* c->lock is held: until it is not halted */
void spm_upkeep_soon(struct container *c);     /* c->lock is held: the worker looks what there is to do */
void spm_upkeep_later(struct container *c);    /* before it is started: when the program's beginning is over */

/* record.c: one step of what is to be done beside the inputs, by the worker. Whether there is more to do now. */
bool spm_record_tend(struct container *c, struct log *log, bool is_idle);

/* capture.c: fills c->image. Called by whoever made c busy, without c->lock. 0 or -errno. */
int spm_capture(struct container *c);
/* The rest of it, where the program need not wait: by whoever writes the image, before anything else. 0 or -errno. */
int spm_capture_finish(struct container *c);
/* Whether memory differs, or may, from the newest version; what was found is kept for the next point. By whoever made c busy. 0 or
 * -errno. */
int spm_capture_look(struct container *c, bool *has_changes);
/* Between the points: the next one finds its buffers in memory; those of a large one are given back. */
void spm_image_settle(struct image *image);
/* The version was not written: whatever the image held must go into the next one. */
void spm_capture_undo(struct container *c);
/* Routes what the tracker found to the containers; clears it. For restore. */
int spm_capture_settle(pageno_t first, uint32_t pages);
/* The pages must be taken for written, by all containers. Between begin and end. */
void spm_capture_set_dirty(pageno_t first, uint32_t pages);
/* Waits until no other capture is under way. Not for a worker: one may wait for its worker to read the pages from the clone. */
void spm_capture_begin(void);
bool spm_capture_try_begin(void);
void spm_capture_end(void);
void spm_image_free(struct image *image);
void spm_image_leave(struct image *image); /* in a forked child, where most of it is not mapped */
void spm_capture_after_fork_in_child(void);
/* Around a fork of a process without other threads, between begin and end: what was written by now is routed to the containers, 0 or
 * -errno; in the child: what it writes from here on will be. */
int spm_capture_route(void);
void spm_capture_watch(void);

/* write.c: makes the image a version. The clone, if there is one, is gone then. */
int spm_image_write(struct container *c, bool is_forced, int64_t *version);
/* 1: it would be one; 0: the newest version is the same; or -errno. What the image held goes into the next one. */
int spm_image_is_news(struct container *c);

/* Marks have what was reachable from the containers that this process writes, at one instant, whether a point has found it or not; what
 * was freed until then is routed to all. Not at one instant, if the others are not to `stop`. 0 or -errno: if marks lack something, a later
 * trace finds it. */
int spm_capture_reach(bool stop);
/* Whether its threads are to be stopped for what looks at its memory. */
bool spm_capture_stops(const struct container *c);
/* Routes what was freed until now to the containers, so that hints given from here on are not taken for those of freed
 * objects. 0 or -errno. */
int spm_capture_drain(void);

/* query.c: its strings are those of *info. */
struct pversion spm_version_tell(const struct version_info *info);

/* blob.c: the outside table, the hints and the types, as pages from SPM_BLOB_PAGE on */
bool spm_blob_has_changed(const struct container *c);
int spm_blob_save(struct container *c, unsigned char **out, size_t *pages); /* *out: to be freed; 0 or -errno */
void spm_blob_saved(struct container *c);                                   /* and they are durable */
int spm_blob_load(struct container *c, uint64_t pages);                     /* 0, or -1 and the error is set */
struct blob_parts {
	const void *table, *plain, *hints, *types;
	uint64_t table_bytes, plain_bytes, hints_bytes, types_bytes;
};
/* What the chain's version has: *blob is to be freed, and *parts is of it (none if there are no pages). 0, or -1 and the error is set. */
int spm_blob_read(struct chain *chain, int magic, uint64_t pages, unsigned char **blob, struct blob_parts *parts);
/* Whether the types have all roots that are told of objects. NULL: there are none. */
bool spm_hints_fit(const struct hints *h, const struct types *types);
/* Swap and marks are known now: hints get addresses of this process. Those of objects that were not reachable go: others will get
 * their places. */
void spm_blob_settle(struct container *c);

/* typing.c: what the root is, as pCSetAttr says; telling.c: what pointers and unions are beside that. */
/* *out: the types that a version has, NULL if none. 0, or -1 and the error is set. */
int spm_typing_load(int magic, const struct blob_parts *parts, struct types **out);
/* The container's; takes them over. NULL: none. */
void spm_typing_set(struct container *c, struct types *types);
/* Whoever makes the types of a container anew from those that it has holds this: before c->lock. */
void spm_typing_lock(void);
void spm_typing_unlock(void);
/* A failure to read a type, of lib/types. -1. */
int spm_typing_fail(const char *type, int err, const char *why);
/* attr->type is to be the container's type. *out: its types, NULL if it has them already (*is_same) or there is no type. caller: an address
 * in the module where the name is looked up first. 0, or -1 and the error is set. */
int spm_typing_read(struct container *c, const struct cattr *attr, const void *caller, struct types **out,
                    bool *is_same);
/* Whether this process's build of the program can use the container, whose types were just loaded: what its types are here, if they were read from
 * another build. Where that can't be told it may. 0, or -1 and the error is set: EPROTOTYPE. If types grew, c->growth is set, and objects must be
 * looked at. */
int spm_typing_check(struct container *c);
/* The same of an image with these types: nothing can be looked at, so types may not have grown. */
int spm_typing_check_image(const char *path, const struct types *types);
/* All pages and the root are there: the rest of the check. 0, or -1 and the error is set: EPROTOTYPE. */
int spm_typing_check_objects(struct container *c);
/* c->growth becomes NULL. */
void spm_typing_check_end(struct container *c);

/* Whether the user wants types to count. */
bool spm_typing_is_wanted(void);

/* exact.c: the container's types are these from here on. is_restored: slots that are live have been restored, and nothing was since. */
void spm_exact_begin(struct container *c, bool is_restored);
/* For a trace. NULL: it is to be conservative. Stopped, or held. */
struct kinds *spm_exact_kinds(struct container *c, bool others_run);
/* After a trace with kinds: which pages are different by what it learned, which suspects are lost. Stopped. */
void spm_exact_settle(struct container *c);
void spm_exact_tell(struct container *c); /* them, to pOutside */

/* look.c: whether a version makes sense beyond what its checksums say: spans, root, table of modules, types. 0; 1: it does not,
 * the error tells why; -1: could not look. Reads no page but those of tables. */
int spm_look_check(int magic, const char *ref);

/* open.c */
/* One that is not in the table yet; NULL and the error is set: EBUSY: the branch is open here. */
struct container *spm_container_begin(int magic, const char *branch);
/* From c->chain, what it shows. 0, or -1 and the error is set. */
int spm_container_fill(struct container *c);
/* The part of it that is no memory. */
void spm_container_describe(struct container *c, const struct version_info *info);

/* fork.c: who halts several containers has this before the first, so that no two wait for each other. */
void spm_halts_lock(void);
void spm_halts_unlock(void);

/* view.c: c->chain, of a read-only view of this version. 0, or -1 and the error is set. */
struct resolved;
int spm_container_view(struct container *c, const struct resolved *at);

/* branch.c: a branch that begins with this version. 0, or -1 and the error is set. */
int spm_branch_make(int magic, const char *branch, const struct version_found *at);
/* Whether it can be given to a branch or tag of the container: 0, or -1 and the error is set: EINVAL, EEXIST. */
int spm_name_must_be_free(struct volume *v, int magic, const char *name);
/* It was made, but what it was for has failed: the next try shall not find it. The error stays. */
void spm_branch_take_back(int magic, const char *branch);

/* restore.c */
int spm_restore(struct container *c, const struct version_info *info);
void spm_restore_end(struct container *c); /* at the container's end */
/* A page of a version, just read: the words of it that mean something else in this process. */
void spm_page_mend(struct container *c, uint8_t flags, uint64_t page, uint64_t *word);
/* Remembers a pointer for pOutside, if there is memory. */
void spm_left_add(struct left *left, uint64_t place, uint64_t value, const char *what);
/* As pOutside. */
int spm_left_each(const struct left *left, int (*fn)(void *place, void *value, const char *what, void *arg), void *arg);

/* attr.c */
void spm_attr_default(struct cattr *attr);
int spm_attr_check(const struct cattr *attr); /* 0, or -1 and the error is set: EINVAL */
void spm_attr_to_info(const struct cattr *attr, struct version_info *info);
void spm_attr_from_info(struct cattr *attr, const struct version_info *info);

/* pauses.c */
void spm_pauses_add(struct pauses *p, uint64_t ns);
void spm_pauses_refresh(struct pauses *p);

#endif
