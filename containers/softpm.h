/* softpm.h - persistent memory for plain C structures.
 *
 * Keep your state in ordinary heap structures from pMalloc (or link -lsoftpm-malloc and keep calling malloc), hang
 * them all on one root structure, and call pPoint at the moments when the state is worth keeping. Everything
 * reachable from the root is then one new version on disk, atomically; only what changed is written. pCRestore
 * gives the root back after a crash.
 *
 * Unless a function says otherwise: IDs and versions are > 0, and 0 means failure; other functions return 0, or -1
 * on failure. errno says which, pErrorMsg() says it in words. All functions may be called by any thread.
 *
 * Limits. Pointers are found at 8-byte aligned places; pointers that are encoded, compressed or unaligned need
 * pMallocNoPtr-free plain copies. Objects of the operating system (files, sockets, threads, locks held) do not persist:
 * pointers into memory outside the heap are NULL after restore; pointers into code and static data of the same
 * program are mended. A volume is read on the kind of CPU that wrote it (x86-64).
 */
#ifndef SOFTPM_H
#define SOFTPM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SOFTPM_API __attribute__((visibility("default")))

/* Chooses the process's volume: PATH or file:PATH, with ?wait=SECONDS to wait for another writer of a container.
 * Without it: $SOFTPM_VOLUME, else softpm.vol in the working directory, at the first call that needs it. A missing file
 * is created (mode 0600). EBUSY: containers of another volume are open; EUCLEAN: no volume or a damaged one; EROFS,
 * ENOTSUP: a file system that cannot keep the promise; or open(2)'s errno. A volume on tmpfs outlives the process, but not the
 * machine. */
SOFTPM_API int pVOpen(const char *uri);
/* Finishes outstanding points, forgets all containers, closes the volume. -1 if a point failed (errno of the failure).
 */
SOFTPM_API int pVClose(void);

/* Makes a container known by `magic` with a zeroed root structure of cSSize bytes, stored in *cStruct. Nothing of it is
 * durable before its first point. EEXIST: the volume has that magic; ENOSPC; EAGAIN: another process writes it. */
SOFTPM_API int pCAlloc(int magic, int cSSize, void **cStruct);
/* Brings back the newest version of branch main; the root's address in *cStruct. ENOENT: the volume has none (message
 * tells a container without points from no container); EUCLEAN: damaged: the message names the damage and the newest
 * whole version; EAGAIN: another process (named) writes it; EBUSY: it is open already.
 *
 * Where the machine allows it (Linux 6.7, and root or vm.unprivileged_userfaultfd=1), containers over 32 MiB come lazily:
 * pCRestore returns at once, a page is read and verified when it is touched, and a thread brings in the rest. $SOFTPM_RESTORE
 * forces "lazy" or "eager". A damaged page is not handed out in either case. Lazily, only damage to the container's records and
 * maps makes pCRestore fail; a damaged page makes pPoint, pSync and pRestoreWait fail with EUCLEAN from when it is found, and
 * who touches it gets SIGBUS, after a sentence on standard error; a system call gets EFAULT. fork(2) waits until all is in. */
SOFTPM_API int pCRestore(int magic, void **cStruct);
/* Waits until all pages of a container that is restored lazily are in memory and verified; at once for any other. -1: EUCLEAN,
 * the message names a damaged page; EINVAL. */
SOFTPM_API int pRestoreWait(int cID);
/* Persistence point, asynchronous: returns when the state is captured. The new version's number, or the present one's
 * if nothing changed. Waits for the point before to be written. 0: EIO, ENOSPC (a point before failed: memory is
 * unharmed, call again when the cause is gone), EINVAL: no such container, ECHILD: in a child after fork(2). */
SOFTPM_API int64_t pPoint(int cID);
/* The same with a message for `softpm log` (at most 199 bytes are kept). */
SOFTPM_API int64_t pPointMsg(int cID, const char *message);
/* Waits until every point so far is durable; -1 and errno if one failed since the last pSync. */
SOFTPM_API int pSync(int cID);
/* pPoint and pSync in one; concurrent callers share a commit. */
SOFTPM_API int64_t pPointSync(int cID);
/* Forgets the in-memory container: the volume keeps it. Its heap memory stays allocated. */
SOFTPM_API void pCFree(int cID);
/* Deletes the container's versions, on disk and in memory. ENOENT; EAGAIN: another process writes it. */
SOFTPM_API int pCDelete(int magic);
/* ptr is the address of a pointer: it is not followed, and is NULL after restore, in this and all later versions, until
 * the object that it is in is freed. EINVAL: no aligned address in the heap; ENOMEM. */
SOFTPM_API int pExclude(int cID, void *ptr);
/* object refers to target by a pointer that discovery can't see: encoded, not aligned to 8 bytes, or in memory from
 * pMallocNoPtr. target lives as long as object does, in this and all later versions, until one of them is freed. NULL
 * takes back all that was said of this object. If a restore moves the container (pCRestore beside another container
 * made at the same addresses), such pointers are not adjusted. EINVAL: not in the heap; ENOMEM. */
SOFTPM_API int pHint(int cID, const void *object, const void *target);

struct cattr {
	char name[64];          /* for people; "" */
	unsigned versions_kept; /* 16; 0: all */
	/* Unit of writing, 4096 to 1 MiB, a power of two; 4096. Where a page changed, all pages of its aligned chunk are
	 * written, and lie together: later reads are longer, writes too. */
	size_t chunk_bytes;
	int stop_threads;       /* 1: other threads are stopped for the instant of capture */
	/* Full traces drop unreachable data that was never freed: so many points apart at least, and as rare as it
	 * takes to cost less than a tenth of all pauses; 0: never; 1000. pFullTrace asks for one. */
	unsigned full_trace_every;
};
/* Takes effect at the next point, which makes a version even if nothing else changed. EINVAL names the field. */
SOFTPM_API int pCSetAttr(int cID, const struct cattr *attr);
/* A copy to be released with pCAttrFree, of an open container's or, if it is not open, the volume's. NULL: ENOENT. */
SOFTPM_API struct cattr *pCGetAttr(int magic);
SOFTPM_API void pCAttrFree(struct cattr *attr);

/* Drops at the next point whatever became unreachable without being freed. */
SOFTPM_API int pFullTrace(int cID);
/* Pointers that led out of the heap at the last point: fn(address of the pointer, its value, what: "stack", "heap of
 * libc", a mapping's name, arg) until it returns non-zero. They are NULL after restore. */
SOFTPM_API int pOutside(int cID, int (*fn)(void *place, void *value, const char *what, void *arg), void *arg);

/* The heap: as their namesakes in C; memory is zeroed. */
SOFTPM_API void *pMalloc(size_t bytes);
SOFTPM_API void *pCalloc(size_t n, size_t bytes);
SOFTPM_API void *pRealloc(void *p, size_t bytes);
SOFTPM_API void *pAlignedAlloc(size_t align, size_t bytes);
SOFTPM_API char *pStrdup(const char *s);
SOFTPM_API void pFree(void *p);
SOFTPM_API size_t pUsableSize(const void *p);
/* Memory that the program promises to keep free of pointers: never scanned. */
SOFTPM_API void *pMallocNoPtr(size_t bytes);
/* These bytes were changed in a way that no page table sees (O_DIRECT reads in flight, registered io_uring buffers,
 * another mapping of the same memory). */
SOFTPM_API void pDirty(const void *p, size_t n);
/* This thread's allocations are placed with that container from now on (0: none). Only placement, never meaning. */
SOFTPM_API int pCUse(int cID);

/* What a version tells of itself. */
struct pversion {
	int64_t version, parent;
	int64_t time_ns; /* since 1970 */
	const char *branch, *message;
	uint64_t pages, live_bytes, stored_pages, stored_bytes, pause_ns;
};
/* fn for each version of branch main, newest first, until it returns non-zero (which is returned); -1 on failure. Works
 * on open and closed containers. */
SOFTPM_API int pVersions(int magic, int (*fn)(const struct pversion *version, void *arg), void *arg);

struct pcontainer {
	int magic;
	const char *name, *branch;
	int64_t newest; /* version, 0: none */
	uint64_t pages, live_bytes;
	const char *damage; /* NULL, or why it can't be read */
};
SOFTPM_API int pContainers(int (*fn)(const struct pcontainer *container, void *arg), void *arg);

struct pvolume {
	unsigned format;
	unsigned char uuid[16];
	uint64_t bytes, free_bytes, containers;
};
SOFTPM_API int pVolume(struct pvolume *out);

struct pstats {
	uint64_t points, stored_bytes, queue,
	        lag_ns; /* queue: points not durable yet; lag: age of the oldest of them */
	uint64_t pause_median_ns, pause_p99_ns, pause_max_ns;
	uint64_t full_traces, dirty_pages; /* in all */
	const char *tracker;               /* "wp" or "mprotect" */
};
/* Of an open container in this process; for any other, as its newest version recorded them. */
SOFTPM_API int pStats(int magic, struct pstats *out);

/* Verifies a container on disk: fn gets a sentence for each damage. *newest_whole: newest version that is wholly right,
 * 0: none. 0: whole; 1: damage found; -1: could not look. */
SOFTPM_API int pCheck(int magic, int (*fn)(const char *damage, void *arg), void *arg, int64_t *newest_whole);

/* Why the calling thread's last failed call failed, in words. Never NULL. Valid until its next call. */
SOFTPM_API const char *pErrorMsg(void);
SOFTPM_API const char *pVersionString(void);

#ifdef __cplusplus
}
#endif
#endif
