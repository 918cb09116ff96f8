/* softpm.h - persistent memory for plain C structures.
 *
 * Keep your state in ordinary heap structures from pMalloc (or link -lsoftpm-malloc and keep calling malloc), hang
 * them all on one root structure, and call pPoint at the moments when the state is worth keeping. Everything
 * reachable from the root is then one new version on disk, atomically; only what changed is written. pCRestore
 * gives the root back after a crash. The idea is that of SoftPM (Guerra et al., "Software Persistent Memory", USENIX ATC
 * 2012): containers, roots, points; finding pointers as conservative garbage collectors do (Boehm and Weiser, 1988).
 *
 * Conventions. IDs and versions are > 0, and 0 means failure; functions that return int otherwise give 0, or -1 on
 * failure. errno says which failure, pErrorMsg() says it in words. All functions may be called by any thread at any time,
 * unless they say otherwise. Besides what they name, they fail with ENOMEM, and those that take an ID with EINVAL (no such
 * container is open) and ECHILD (this process is a child made by fork, and may read the memory, no more, before pCFork). Those that look
 * at the volume open it if need be, and fail as pVOpen then. A thread may not be cancelled (pthread_cancel) in any of them.
 *
 * Limits
 *
 * - Pointers are found at 8-byte aligned places. Those that are unaligned, encoded or compressed need pHint. An integer that looks
 *   like an address in the heap keeps what lies there alive; one that looks like an address of anything else that is mapped is
 *   zero after a restore, and one that looks like an address of code or static data of the program may become another where the program
 *   was built anew: keep large plain data in memory from pMallocNoPtr. In programs linked with -no-pie such addresses are small
 *   (0x400000 and up), as integers of some millions are: link them as compilers do by themselves (-pie).
 * - Objects of the operating system (open files, sockets, threads, locks held) do not persist. A pointer to anything outside
 *   the heap is NULL after a restore (pOutside lists them), unless it leads to code or static data of the program or a library:
 *   these are mended, also if the program was built anew, as long as the symbol is there.
 * - Compilers may assume that memory is only seen by the program: a store just before free(), or one of the value that is
 *   there already, need not happen; what a point captures is what memory holds at that instant.
 * - At a point other threads are stopped by a signal (SIGRTMAX - 2): their blocking calls may return EINTR, even with
 *   SA_RESTART, as poll and nanosleep do after any signal.
 * - Writes that bypass the page tables need pDirty. Before Linux 6.7, or if $SOFTPM_TRACK is "mprotect" (else "wp"), a system call
 *   that writes (read, recv) into memory that the program has not written to itself since the last point fails with EFAULT.
 * - A volume is read on the kind of CPU that wrote it (x86-64).
 */
#ifndef SOFTPM_H
#define SOFTPM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SOFTPM_API __attribute__((visibility("default")))

/* Chooses the process's volume. uri: PATH or file:PATH, a file or block device, with ?wait=SECONDS to wait so long for
 * another writer of a container. In file:PATH %3f stands for a question mark, and %25 for a percent sign. A process that does not call it has $SOFTPM_VOLUME, else softpm.vol in the working
 * directory, from the first call that needs it. A missing file is created (mode 0600). On tmpfs it outlives the process, but
 * not the machine.
 *
 * EINVAL: not such a name; EBUSY: a volume is open already; EUCLEAN: no volume, a damaged one, or one of another format
 * version; EROFS, ENOTSUP: a file system that cannot keep the promise; else open(2)'s errno. */
SOFTPM_API int pVOpen(const char *uri);
/* Waits for all points, forgets all containers (as pCFree), closes the volume. -1: a point failed, with its errno; the
 * volume is closed all the same. No other call may be in progress. */
SOFTPM_API int pVClose(void);

/* Makes a container: magic, any number, is its name; *cStruct becomes the address of its zeroed root structure of cSSize
 * bytes (> 0). Returns the ID that other functions take, 0 on failure. Nothing of it is durable before its first point.
 *
 * EINVAL; EEXIST: the volume has that magic, with versions; EBUSY: it is open in this process; EAGAIN: another process
 * (named) writes it; EMFILE: 4,096 containers are open; ENOSPC, EIO: the volume. */
SOFTPM_API int pCAlloc(int magic, int cSSize, void **cStruct);
/* Brings back the newest version of branch main (or of the branch last switched to): all that was reachable at that point, at the addresses it had. *cStruct
 * becomes the root's address. Returns the ID, 0 on failure. If the addresses are taken in this process (containers made in two
 * processes can want the same), whole slices of 32 MiB move, and all words that look like pointers into them change with them.
 *
 * ENOENT: the volume has no such container, or one without a point (the message tells); EUCLEAN: damage: the message names it
 * and the newest whole version; EAGAIN: another process (named) writes it; EBUSY: it is open in this process; EMFILE.
 *
 * EPROTOTYPE: the version has types (cattr.type), and the program was built anew since with others: the message names struct and field ("struct user:
 * field age moved from offset 16 to 24"), and what to register (pCMigrate). All that brings back a version (pCOpenBranch, pCOpenAt, pCSwitch, pCClone) fails so, and all is as it
 * was: the build before can use it. Fields in padding, or behind the end of a struct, are no harm if their objects have room: they are zero (padding
 * is, unless the program wrote there, as by copying a whole struct from its stack). An object of a struct that grew must be alone: a field more
 * in what may be one of an array is refused, and so is one that would not fit. What fits is the container's type from the next version on.
 * Nothing is looked at if the program is the same build. The check can't be made, and is not, if the program has no debug information or no type of that
 * name; or only void pointers lead to an object, and nobody told what it is (pCSetType). $SOFTPM_TYPES=unchecked leaves it out. Versions that are made then tell no type before
 * pCSetAttr.
 *
 * Where the machine allows it (Linux 6.7, and root or vm.unprivileged_userfaultfd=1), containers over 32 MiB come lazily:
 * pCRestore returns at once, a page is read and verified when it is touched, and a thread brings in the rest. $SOFTPM_RESTORE
 * forces "lazy" or "eager". A damaged page is never handed out. Lazily, only damage to the container's records and maps
 * makes pCRestore fail; a damaged page makes pPoint, pSync and pRestoreWait fail with EUCLEAN from when it is found, and
 * who touches it gets SIGBUS, after a sentence on standard error; a system call gets EFAULT. fork(2) waits until all is in. */
SOFTPM_API int pCRestore(int magic, void **cStruct);
/* ---- versions of a build whose structs were others ----
 *
 * What the message of EPROTOTYPE names is migrated at restore if the program has said, before, that it may be:
 *
 *     pCMigrate("struct user", NULL, NULL);     by the names of fields is right, and enough
 *     id = pCRestore(MAGIC, &root);             struct user may have any layout: the old objects are made into new ones
 *
 * This holds for all that brings back a version (pCRestore, pCOpenBranch, pCOpenAt, pCSwitch, pCClone). Versions in the volume stay as they are, for
 * the build before, too. The next point writes what was migrated, with the new types; until then each restore of the version
 * migrates it again, and a container that pCSwitch should leave has unsaved changes. All pages are read, and so that objects that are reached can be told
 * from those that are not, that point makes a full trace (pFullTrace).
 *
 * By name, each field of the old struct that the new one has: numbers keep their value, between integers of any width, bit fields, float and double
 * (from one kind of char to another they keep their byte, whatever its sign);
 * enumerators keep their name; arrays as many elements as both have; structs within structs likewise; pointers lead to what they led to; unions stay as they
 * are, if all their members do, or it is told which member holds (pCSetUnion), which then is as a field. What went is dropped, and what is added is zero. It is an error (ERANGE), and nothing is restored, if a value does not fit: the
 * message names struct, field, value and address. So it is if a text is cut, an enumerator has no name any more, a union is another, or a number
 * became a struct. A function that is registered for the struct mends what names can't say.
 *
 * An object of a struct that changed gets new memory, and all that leads into it is changed: pointers by what their types say, any other aligned word
 * (of void pointers, unions, uintptr_t, memory that no type tells of), too, if it looks like an address in the object, unless it is a number by its type. An address that the
 * program keeps in another form (hashed, sorted by, encoded) stays what it was. Memory holds as many structs in a row as it has room for, so an array
 * is migrated as a whole; what else lies behind a struct without being declared there (as an array of no length is) must not be.
 * What only void pointers, numbers, pointers to a field or to an entry within (container_of), or memory of no type lead to might be such an
 * object: unless it is smaller than all that changed it must have been told of (pCSetType, pCSetFieldType), by the build before, or the program says that whatever nothing tells of is
 * none, and stays as it was: pCMigrate("void", NULL, NULL). Structures of <softpm/ds.h> that lead to nothing that changed are no matter. Those whose
 * own pages hold what changed can't be migrated; where they hold pointers, what these lead to can, if it is told of and "void" is registered, for their pages.
 *
 * EPROTOTYPE: what changed is not all registered, or an object can't be migrated since pointers say different things of what it is, or only lead to a part of it, something
 * lies behind it, a pointer leads to a field that went, or pHint tells of a pointer to it that can't be seen; or the build has no debug
 * information, so that nobody knows whether anything is to be migrated; ERANGE; what a function returned. */
struct ptype; /* <softpm/types.h> */
/* A struct, union or enum, as the program has it by now ("struct user", "enum colour", "state_t"), may be migrated, from any version: by name, then, unless it is NULL,
 * by the function, which is called for each value of that type, those within it first, if the type differs from the version's. For the process, from now on;
 * again for the same type: replaces. A struct within which only a registered one has changed need not be registered. Nor need
 * what is only longer, if its objects have room; if it is registered it is migrated in any case, so a function can fill what is added.
 *
 * migrate: `from` is the old value, and *was its layout: pMigrateField finds fields in it. `to` is the new one, by name as far as that goes. Pointers in
 * both lead to old objects, as they were, and are changed when all functions were called; so they can be copied. It may allocate memory (pMalloc) for the
 * new value to point to, and call no other function of SoftPM. Arrays: it is called for unused elements, too. Returns 0; or PMIGRATE_MENDED: right,
 * also what by name is an error (those fields are zero before); or an errno, which makes the restore fail with it.
 *
 * EINVAL: no name. */
enum { PMIGRATE_MENDED = -1 };
SOFTPM_API int pCMigrate(const char *type,
                         int (*migrate)(const struct ptype *was, const void *from, const struct ptype *is, void *to,
                                        void *arg),
                         void *arg);
/* What was called `was` is called `type` by now. Names matter only for what no field tells: where the fields that led to it have new names themselves, and a
 * function copies one into the other. EINVAL. */
SOFTPM_API int pCMigrateRenamed(const char *was, const char *type);
/* The address of a field of a value: path is its name, or "pos.x" for one within. NULL: there is none, it has not so many bytes, or is a bit field. For
 * functions of pCMigrate: const int *age = pMigrateField(was, from, "age", sizeof(*age)). */
SOFTPM_API const void *pMigrateField(const struct ptype *type, const void *value, const char *path, size_t bytes);

/* Waits until all pages of a container that is restored lazily are in memory and verified; returns at once for any other.
 * EUCLEAN: the message names a damaged page. */
SOFTPM_API int pRestoreWait(int cID);
/* Waits only for n bytes at p: a program that asks before it touches a page is told of damage, and not by SIGBUS. Returns 0: they are there;
 * 1: and so is all the rest; -1: they are damaged (EUCLEAN), or not in the heap (EINVAL). */
SOFTPM_API int pRestoreWaitFor(int cID, const void *p, size_t n);
/* Persistence point, asynchronous: waits until the point before is written, captures the state, and returns while that is
 * being written. Returns the new version's number, or the present one's if nothing changed, 0 on failure. The program, and other
 * threads, stand still only while the state is captured (pStats tells how long).
 *
 * Any failure leaves memory unharmed and the newest durable version as it was. ENOSPC, EIO: this point, or the one before,
 * could not be written: call again when the cause is gone; EUCLEAN: a lazy restore met damage. */
SOFTPM_API int64_t pPoint(int cID);
/* The same with a message for `softpm log` (at most 199 bytes are kept; NULL: none). */
SOFTPM_API int64_t pPointMsg(int cID, const char *message);
/* Waits until every point so far is durable: no crash of the process or the machine can lose it from then on. -1: one since the
 * last pSync failed, with its errno. */
SOFTPM_API int pSync(int cID);
/* pPoint and pSync in one. Callers at the same time share one capture and one commit (group commit). Fails as pPoint. */
SOFTPM_API int64_t pPointSync(int cID);
/* The same; and as soon as the state is captured, and long before it is durable, captured(arg) is called, by this thread or by one that makes
 * the version for both: who keeps others from changing the state until it is captured lets them go on there. Not called if nothing could be
 * captured; it may call nothing of this container's. */
SOFTPM_API int64_t pPointSyncThen(int cID, void (*captured)(void *arg), void *arg);
/* Waits for the container's points, forgets it and frees what was reachable from its root, but for what another open
 * container has too. The volume keeps its versions. Other calls on it may not be in progress. No failure is told: call
 * pSync first. */
SOFTPM_API void pCFree(int cID);
/* Deletes all versions of a container on disk; if it is open here, forgets it and frees its memory. ENOENT; EAGAIN:
 * another process writes it (named) or reads a version: then nothing is deleted; EIO. */
SOFTPM_API int pCDelete(int magic);
/* ptr is the address of a pointer: it is not followed, and is NULL after restore, in this and all later versions, until
 * the object that it is in is freed. Waits for the point in progress. EINVAL: no aligned address in the heap. */
SOFTPM_API int pExclude(int cID, void *ptr);
/* object refers to target by a pointer that discovery can't see: encoded, not aligned to 8 bytes, or in memory from
 * pMallocNoPtr. target lives as long as object does, in this and all later versions, until one of them is freed. NULL
 * takes back all that was said of this object. If a restore moves the container (see pCRestore), such pointers are not
 * adjusted. Waits for the point in progress. EINVAL: not in the heap. */
SOFTPM_API int pHint(int cID, const void *object, const void *target);

/* Attributes of a container; they are kept with each version. In the comments: what they are without pCSetAttr. */
struct cattr {
	char name[64]; /* for people; "" */
	/* Which versions are kept, beside the newest one, those with tags, those that branches begin with, and those that somebody
	 * reads: the newest versions_kept (16; 0: all), if they are not older than keep_seconds (0: at any age), and
	 * of those older than thin[i].older_than_seconds the first in each thin[i].every_seconds. All versions of the last
	 * hour, one an hour for a day, and one a day after: versions_kept 0, thin {{3600, 3600}, {86400, 86400}}. Others are
	 * dropped in small steps while points are made. */
	unsigned versions_kept;
	unsigned keep_seconds;
	struct {
		unsigned older_than_seconds, every_seconds; /* 0, 0: all */
	} thin[2];                                          /* the second is of older ones */
	/* Unit of writing in bytes, 4096 to 1 MiB, a power of two; 4096. Where a page changed, all pages of its aligned chunk
	 * are written, and lie together: later reads are longer, writes too. */
	size_t chunk_bytes;
	/* 1: other threads are stopped for the instant of capture. 0: they run on; what they change meanwhile may be in the
	 * version or not, word by word, but is in the next. */
	int stop_threads;
	/* Full traces drop unreachable data that was never freed: so many points apart at least, and as rare as it
	 * takes to cost less than a tenth of all pauses; 0: never; 1000. pFullTrace asks for one. */
	unsigned full_trace_every;
	/* Of the root structure: "struct app_state", "state_t"; "". If it is told, versions explain themselves without the program (<softpm/look.h>,
	 * `softpm browse`): pCSetAttr reads what the type is, and all that it leads to, from the debug information of the program and the libraries that
	 * it has loaded, also if that is in files of its own (by build ID or .gnu_debuglink, as debuggers find it), and the container keeps it. For
	 * a type and a build of the program that the container knows nothing is read. The name is looked for in the module that calls
	 * pCSetAttr, then in the program, then in all others. libdw, which reads it, may end the process if it gets no memory.
	 *
	 * What types say to be a number (integers, floats, enums) keeps no object behind the next full trace, and is never changed as a pointer might be: a program that
	 * keeps pointers in integers declares them uintptr_t, names them by pHint (see numbers_lost of pStats, and pOutside), or runs with
	 * $SOFTPM_TYPES=unchecked. All else may be a pointer: what void and char pointers lead to, char arrays, unions whose members disagree, what lies behind
	 * the first struct of an object. Not with stop_threads 0: then all may. */
	char type[128];
};
/* Takes effect at the next point, which makes a version even if nothing else changed. EINVAL names the field; of the type: it is larger than the root
 * structure, or units of the program define it differently; ENOENT: there is no such type: the message tells what to do (mostly:
 * compile with -g). On failure all attributes are as they were. */
SOFTPM_API int pCSetAttr(int cID, const struct cattr *attr);
/* A copy, to be released with pCAttrFree, of an open container's attributes or, if it is not open, of its newest version's.
 * NULL on failure. ENOENT: no such container, or no version yet. */
SOFTPM_API struct cattr *pCGetAttr(int magic);
SOFTPM_API void pCAttrFree(struct cattr *attr);

/* What types don't say, where a container has one (cattr.type): so that what only a void *, a char * or a union leads to is known, to people
 * who look at versions and to whatever else goes by types. All of it is kept with each version, and is told again without harm or cost: what is
 * known already changes nothing. Types are named as in cattr.type; one that is named for the first time is looked for as that is, with the
 * debug information. All three wait for the point in progress, and make the next point a version; NULL instead of a type or tag takes back what
 * was told. A type that the program was built without later says nothing then; one that changed is noticed by who restores (pCRestore,
 * EPROTOTYPE), as the root's.
 *
 * EINVAL: the container has no type; the type has no size; ENOENT: there is no such type; E2BIG: more than 1,000 types, or rules for fields, or
 * 65,536 cases, or all types together take more than 16 MiB. On failure all is as it was. */

/* The object that begins at ptr (what pMalloc returned) is a `type`: it holds until it is freed, also by a pRealloc that moves it, wherever a
 * restore puts it. It need not be reachable yet. Takes some 30 bytes of memory for each object, and writes 8 for each in a version in which one was told of, or one
 * of those was freed: for many objects alike that one field leads to, pCSetFieldType is cheaper. EINVAL: no object of the heap begins at
 * ptr, or it is smaller than the type. */
SOFTPM_API int pCSetType(int cID, const void *ptr, const char *type);
/* A field that is a pointer, an array of such, or leads to such, leads to a `type` in the end: pCSetFieldType(id, "struct node.data", "struct foo") for
 * struct node { void *data; }. Members of structs within are named as in C: "struct pair.a.data" tells only of the struct node that is in struct pair, and of all of them if it is an array.
 * ENOENT: there is no such field, or it is no pointer. */
SOFTPM_API int pCSetFieldType(int cID, const char *field, const char *type);
/* Of a union that is a field, which member holds: that of the case whose value the tag has, a field of the same struct (an integer, enum or bool,
 * also a bit field). member NULL: none holds. A value that is in no case: any may hold. An anonymous union is named by its struct alone. Of
 *
 *     struct value { enum kind kind; union { long number; struct text *text; } u; };
 *
 * pCSetUnion(id, "struct value.u", "kind", (struct pcase[]){{NUMBER, "number"}, {TEXT, "text"}}, 2) tells all there is to know.
 * ENOENT: there is no such union, tag or member. */
struct pcase {
	int64_t value;
	const char *member;
};
SOFTPM_API int pCSetUnion(int cID, const char *field, const char *tag, const struct pcase *cases, size_t n);

/* Drops at the next point whatever became unreachable without being freed. That point's pause grows with the container. */
SOFTPM_API int pFullTrace(int cID);
/* Pointers that led out of the heap at the last point and will be NULL after a restore: fn(address of the pointer, its value,
 * what it led to in words: "stack", "heap of libc", a mapping's name, arg) until it returns non-zero, which is returned. fn may
 * not call functions of SoftPM. Waits for the point in progress. */
SOFTPM_API int pOutside(int cID, int (*fn)(void *place, void *value, const char *what, void *arg), void *arg);

/* The heap: as their namesakes in C, but that memory is zeroed. NULL: ENOMEM. What is not reachable from a container's root does
 * not persist. Freeing what is not allocated ends the program with a sentence. */
SOFTPM_API void *pMalloc(size_t bytes);
SOFTPM_API void *pCalloc(size_t n, size_t bytes);
SOFTPM_API void *pRealloc(void *p, size_t bytes);
/* align: a power of two up to 32 MiB, else EINVAL. */
SOFTPM_API void *pAlignedAlloc(size_t align, size_t bytes);
SOFTPM_API char *pStrdup(const char *s);
SOFTPM_API void pFree(void *p);
/* Bytes that may be used: at least those asked for. 0 for NULL. */
SOFTPM_API size_t pUsableSize(const void *p);
/* Bytes that can be read from p on, which may be any address at all: to the end of the object of the heap that it lies in, or of what an image
 * has there. 0: it lies in none, or that was freed. For who looks at memory that may have been overwritten. */
SOFTPM_API size_t pReadable(const void *p);
/* Memory that the program promises to keep free of pointers: never searched, kept as it is byte by byte. */
SOFTPM_API void *pMallocNoPtr(size_t bytes);
/* These n bytes were changed in a way that no page table sees: O_DIRECT reads that were in flight at a point, registered
 * io_uring buffers, another mapping of the same memory. They are in the next point. */
SOFTPM_API void pDirty(const void *p, size_t n);
/* From now on nobody watches what is written to this object: the program tells it, by a pDirty after each write and before the next point,
 * from whatever thread. What it does not tell may be missing in versions. Then neither points nor first writes to a page cost anything
 * for the object, however large it is: for programs that write through one place, as a database does to its pages. Until the object is
 * freed or its size changed, or its container is forgotten (pCFree) or goes to another version (pCSwitch); what a restore brings back is watched.
 * EINVAL: p is not the beginning of an object of more than 32 KiB. */
SOFTPM_API int pUnwatch(void *p);
/* This thread's allocations are placed with that container from now on (0: none). It makes points of programs with several
 * containers write less; what is reachable decides what persists, here as ever. */
SOFTPM_API int pCUse(int cID);

/* ---- inputs: recording and replay ----
 *
 * A program whose state follows from its inputs need not make a point for each to lose none: it records the input, durably, applies it,
 * and makes a point now and then. After a crash it restores the newest version and is handed the inputs that the version lacks:
 *
 *     pRecord(id, bytes, n); apply(state, bytes, n); answer();           seldom: pPoint(id);
 *     id = pCRestore(MAGIC, &root) (or pCAlloc); pReplay(id, apply, root);
 *
 * What is recorded counts as applied from then on: a point that comes next says that its version has it (and makes one even if
 * nothing else changed). So record, apply, then
 * point, in this order; with several threads, let points (and fork) exclude the others from before pRecord until the input is applied (a
 * read-write lock does; it need not be held while a point is written: pPoint, unlock, pSync). Inputs are in the order of the numbers that
 * pRecord returns; where that matters, threads must apply them in this order.
 *
 * Each branch has inputs of its own. As long as a version is kept, so are the inputs that it lacks, up to the newest of its branch:
 *
 *     past = pCOpenAt(MAGIC, "main~5", &old); bug = pCClone(past, "bug", &state); pReplay(past, apply, state);
 *
 * goes through what happened since then once more, on a branch of its own. */

/* Records an input, n bytes (0 and up), behind those before; durable on return. Returns a number that grows from input to input, 0
 * on failure. Callers at the same time share one commit. Nothing is captured, and nobody stopped; points under way do not matter.
 * After a failure the inputs are as they were; but if the volume must be opened again (EIO), this one may be found there or not.
 *
 * EBUSY: the branch has inputs that this state lacks: pReplay comes first; or the state has inputs that no restore of its branch would
 * find (after pCFork, pRecordDrop): a point comes first; EROFS: a view; EFBIG: more than 4 TiB at once, or 8 TiB that versions
 * lack; EAGAIN, EUCLEAN, ENOSPC, EIO. */
SOFTPM_API int64_t pRecord(int cID, const void *bytes, size_t n);
/* Hands fn the inputs that the container's state lacks, in order: those recorded since its version (of an open container: and that it has
 * neither recorded nor been handed). bytes: aligned to 8, good during the call. fn applies the input, and may make a point then. It
 * returns 0; anything else stops the replay, which goes on with that input if it is called again. fn may not switch the container to
 * another version, and a child that it forks may not return from it. A view lacks the same inputs each
 * time: fn may apply them to a clone of it. Returns how many were applied, -1 on failure.
 *
 * ECANCELED: fn stopped it; EUCLEAN: inputs are damaged; ENOENT: inputs that the version lacks are not kept any more (as a version that is only being
 * read, and would have been dropped otherwise, keeps none); EIO. */
SOFTPM_API int64_t pReplay(int cID, int (*fn)(const void *bytes, size_t n, void *arg), void *arg);
/* Deletes all recorded inputs of the branch, also damaged ones: its versions lack none any more, and pRecord begins anew. No
 * replay of it may be in progress. EROFS; EAGAIN: somebody reads them; EIO. */
SOFTPM_API int pRecordDrop(int cID);

/* ---- versions, branches, tags ----
 *
 * Each point makes a version. A branch is a name for a row of versions that goes on: points of a container extend the branch that it is
 * open on; the first is called main. A tag is a name for one version, which is not dropped as long as it has it. A ref is what
 * calls a version:
 *
 *     main            a branch: its newest version              v1          a tag
 *     42              the version with that number, on whatever branch; main:42 if there are several
 *     main~3  42~  ~  that many versions before (~ alone: before the newest of the current branch)
 *     @2026-11-20T10:00   main@2026-11-20     the newest not after that time, which is local
 *
 * Where no branch is named the current one is meant, which is main until pCSwitch goes to another. Numbers ascend along each
 * branch; branches that are written at the same time by different processes may have the same ones.
 * Names have up to 63 bytes, are no numbers, and have no spaces and none of ~ @ ! : in them.
 *
 * All that takes a ref fails with ENOENT (there is no such thing: the message tells what is there) and EINVAL (it is no ref, or
 * there are several versions with that number: the message tells which). */

/* A read-only view of a version, beside whatever else is open: at other addresses if its own are taken, as pCRestore does. Points
 * of it fail with EROFS; what the program writes into it is nobody's. The version is not dropped before pCFree. Returns the ID, 0 on
 * failure, as pCRestore. */
SOFTPM_API int pCOpenAt(int magic, const char *ref, void **cStruct);
/* Goes to another version: the container's state in memory is replaced by that of a branch, tag or version, *cStruct becomes its
 * root's address; all pointers into the state before are void. A branch becomes the one that points extend, and the current one,
 * which pCRestore brings back; a tag or version is read-only (points fail with EROFS) until it is cloned. "!" before the ref gives
 * up changes that no point has saved, also because a point failed or a lazy restore met damage. No other thread may use the container
 * meanwhile. On failure all is as it was.
 *
 * Only pages that differ are read and touched, as long as these are not more than 16,384; else, or if the program has something else
 * by now where the other version has an object, or another container holds what is to change, that version is restored as by
 * pCRestore, at other addresses.
 *
 * EBUSY: there are unsaved changes, or the branch is open in this process; EAGAIN: another process (named) writes it; EUCLEAN. */
SOFTPM_API int pCSwitch(int cID, const char *ref, void **cStruct);
/* A new branch that begins with the container's last version (points under way are waited for; later changes are not in it), open
 * beside the original as a container of its own: points on one are not seen by the other. Pointers inside lead inside. Returns the
 * ID, 0 on failure. ENOENT: it has no version yet; EEXIST: there is a branch or tag of that name. */
SOFTPM_API int pCClone(int cID, const char *branch, void **cStruct);
/* In a child made by fork(2): the container that the parent had open under this ID, where it lies, with what its memory holds, is from
 * here on a container of this process, on a new branch. The branch begins with the container's last version at the fork (which waits
 * for points under way); what was changed since is in the child's next point. Parent and children go on side by side, each on its own
 * branch. Until then the child may read the container, no call takes it (ECHILD), and the version is not dropped. Containers that
 * it is not called for stay so. If the
 * parent has other threads, the child's first point looks at all pages (and writes those that differ), else at those that were written.
 *
 * EINVAL: the parent had no container with this ID, or this process is no such child; EEXIST: there is a branch or tag of that name: try
 * another; ENOENT: it had no version yet; EROFS: it is a view; EUCLEAN; EAGAIN, EMFILE, ...: the volume could not be
 * opened once more at the fork. */
SOFTPM_API int pCFork(int cID, const char *branch);
/* As pCRestore, but of a branch by name; which one is current stays as it is. So several processes can go on with a branch each.
 * ENOENT: there is no such branch; EBUSY: it is open in this process; EAGAIN: another process (named) writes it. */
SOFTPM_API int pCOpenBranch(int magic, const char *branch, void **cStruct);
/* Names a version of the container. ref NULL or "": its last one (points under way are waited for). Durable on return. EEXIST. */
SOFTPM_API int pCTag(int cID, const char *tag, const char *ref);

/* The same for containers that need not be open here. A branch shares all its data with the version that it begins with,
 * which is not dropped as long as the branch is there. ref NULL: the newest version of the current branch. Durable on return. */
SOFTPM_API int pBranch(int magic, const char *branch, const char *ref);
SOFTPM_API int pTag(int magic, const char *tag, const char *ref);
/* Makes the branch the current one, which pCRestore brings back; containers that are open stay where they are. */
SOFTPM_API int pBranchSwitch(int magic, const char *branch);
/* EBUSY: it is current, open in this process, has branches itself, or a version of it has a tag; EAGAIN: somebody writes or reads
 * it; EINVAL: main goes with the container only. */
SOFTPM_API int pBranchDelete(int magic, const char *branch);
SOFTPM_API int pTagDelete(int magic, const char *tag);

/* What a version tells of itself. Good during the call of fn that gets it. */
struct pversion {
	int64_t version, parent; /* parent 0: the first */
	int64_t time_ns;         /* since 1970 */
	const char *branch, *message;
	uint64_t pages, live_bytes, stored_pages, stored_bytes, pause_ns; /* of 4096 bytes; stored: written for it */
};
/* fn for the version and those before it, back to the first one kept, also on the branches that its branch comes from; until it
 * returns non-zero, which is returned. ref NULL: the newest of the current branch. Works on open and closed containers. EUCLEAN. */
SOFTPM_API int pVersions(int magic, const char *ref, int (*fn)(const struct pversion *version, void *arg), void *arg);

/* A page of 4096 bytes in which two versions differ, or an object: memory from pMalloc. Good during the call of fn that gets it. */
struct pdifference {
	const void *address; /* as versions have it: a container may lie elsewhere in this process */
	uint64_t size;       /* of an object: what pUsableSize says, at least what was asked for */
	int is_object;
	int is_in_first, is_in_second; /* whether the version has it */
	uint64_t bytes;                /* how many differ; what a version does not have is compared as zeros */
};
/* fn for each page that differs, and for each object that differs or that only one of the versions has; ascending, an object after the pages it
 * lies on; until it returns non-zero, which is returned. A ref that is NULL or "": the newest of the current branch. An object that was
 * freed and another that got its place are one that changed, if they are of one size. It reads maps, and the pages that differ.
 * EUCLEAN. */
SOFTPM_API int pDiff(int magic, const char *first, const char *second,
                     int (*fn)(const struct pdifference *difference, void *arg), void *arg);

/* Which open container an object belongs to: p is an address in memory from pMalloc, or in an image. Belongs: it can be reached from the
 * container's root (of two containers that have it, one is named). Returns the ID, 0 on failure. What no container had at its last point
 * costs a look at what changed since in each, as a point takes one. ENOENT: none has it. */
SOFTPM_API int pCOf(const void *p);
/* An object in which two open containers differ. Good during the call of fn that gets it. */
struct pdiffering {
	const void *first, *second; /* where it lies in the one and in the other, in this process; NULL: not there */
	size_t size;                /* what pUsableSize says */
};
/* fn for each object that differs between two open containers of one magic (views, clones, what pCRestore brought back, on any branches), or
 * that only one of them has, until it returns non-zero, which is returned. Both are compared as they are in memory now, with
 * what no point has saved. Pointers that lead to the same place in both do not differ (pSame). An object that was freed and another that
 * got its place are one that changed, if they are of one size and kind.
 *
 * It takes as long as the change is large, beside a look at both as a point takes it, and reading the maps of both versions, if these
 * differ; of what they share no page is touched. Waits for points in progress. Nobody may change the two meanwhile; others may make
 * points. All is compared before the first call of fn, which may call any function; what it frees, by pFree, pCFree or pCSwitch, it may be told
 * nevertheless.
 *
 * ENOTSUP: they are of different magics, or one is an image: compare everything then. */
SOFTPM_API int pDiffer(int first, int second, int (*fn)(const struct pdiffering *object, void *arg), void *arg);
/* Whether bytes in two containers are the same, but for where these lie: aligned words that differ are the same nevertheless if they are
 * pointers to the same place in both, unless the memory is from pMallocNoPtr. An ID may be 0, for memory of no container, or an
 * image's. Returns 1: the same; 0: they differ; -1: failure. */
SOFTPM_API int pSame(int first, const void *in_first, int second, const void *in_second, size_t bytes);

/* ---- images ----
 *
 * An image is one version as one file: any number of processes, on any x86-64 machine, map it at its own addresses and share what the
 * page cache has of it. So a large heap is built once, shipped, and used everywhere at once; opening it takes the same time whatever its
 * size, and no volume. The file is sparse: copy it by what keeps holes (cp, rsync -S, tar -S), or compressed.
 */

/* Writes a version as an image. ref NULL or "": the newest of the current branch. path gets it (mode 0600) when it is whole and durable, an
 * older image of that name is replaced; a crash before may leave a file beside it, path with six more letters. Memory for it does not
 * grow with the version. EEXIST: what has that name is no image; EUCLEAN: damage; ENOSPC, EIO, EACCES, ...: the file. */
SOFTPM_API int pImage(int magic, const char *ref, const char *path);
/* Opens an image; *cStruct becomes its root's address. Returns an ID, 0 on failure. pCFree closes it: pointers into it are void then.
 * pOutside tells which of its pointers into code are NULL (their module is not here, or was rebuilt without the symbol). All other
 * functions that take an ID fail with EROFS. pVClose does not close it.
 *
 * The memory is read-only: a store is SIGSEGV; pFree, pRealloc or pUsableSize of an address in it ends the program with a sentence. Of pages with
 * pointers into code or static data the process gets copies of its own, mended, and opening takes a few microseconds longer for each. A
 * container may point into an image while it is open, but its versions do not: these pointers are NULL after a restore, as all that
 * lead out of the heap, and pOutside lists them.
 *
 * Only what opening reads is verified, not all pages: that is pImageCheck. The file must stay as it is while it is open (SIGBUS, or other
 * content, for who touches it); a new one of that name, by rename(2), is no harm.
 *
 * EUCLEAN: no image, one that is damaged or was not copied whole, or one of another format version; EBUSY: its addresses are taken in
 * this process, by what the message tells. Opened first, it is what is restored later that moves; so a program that wants both opens the image
 * first. EPROTOTYPE: the version has types (cattr.type), and this build of the program has others, as in pCRestore; types that grew are refused, too,
 * as nothing can be moved or looked at. ENOENT, EACCES, ...: open(2)'s errno. */
SOFTPM_API int pCOpenImage(const char *path, void **cStruct);
struct pimage {
	int magic;
	int64_t version, time_ns;
	char name[64], branch[64];
	uint64_t pages, live_bytes;
	uint64_t own_pages;  /* of which each process that opens it has a copy */
	uint64_t file_bytes; /* length; what it takes on the disk is about that of its pages */
};
/* What an image tells of itself. Fails as pCOpenImage. */
SOFTPM_API int pImageInfo(const char *path, struct pimage *out);
/* Verifies all of an image: fn gets a sentence for each damage (good during the call), until it returns non-zero. Returns 0: whole; 1: damage
 * found, or it is no image; -1: could not look. */
SOFTPM_API int pImageCheck(const char *path, int (*fn)(const char *damage, void *arg), void *arg);

/* ---- streams: containers on their way to other volumes ----
 *
 * A stream has versions, compressed and checked, for a file or a pipe: `softpm export | ssh host softpm import`. It is made and taken
 * in with little memory, however large the container is. What it has can be restored on any machine of the same kind, also by
 * another build of the program. Recorded inputs that a version lacks stay behind: a point takes them along.
 */

/* How far it has come. Good during the call of fn that gets it. */
struct ptransfer {
	int magic;
	const char *name, *branch;  /* of the container; that the version is of, "": none yet */
	int64_t version;            /* told or imported last; 0: none yet */
	uint64_t versions, present; /* told or imported; import: that were there already */
	uint64_t versions_all;      /* about how many there are to do in all */
	uint64_t pages, bytes;      /* pages with content; of the stream */
	int is_over;
};

/* All 0: the newest version of the current branch. fn, unless it is NULL, is called now and then, and when all is done; if it
 * returns non-zero, that is returned, and the stream is good for nothing. */
struct pexport {
	const char *ref;   /* of the version; NULL: the newest of the current branch */
	const char *since; /* tell only what changed since that version, which it comes from; NULL: tell it whole */
	int is_history; /* with since: also the versions between. Else, without ref: all branches, tags and versions that are kept */
	int (*fn)(const struct ptransfer *so_far, void *arg);
	void *arg;
};
/* Writes a stream to fd. EUCLEAN: a version is damaged; EAGAIN: what was to be told is just being changed by others; else
 * write(2)'s errno. What was written until then no import takes for whole. */
SOFTPM_API int pExport(int magic, const struct pexport *what, int fd);

struct pimport {
	const int *magic;   /* of the container; NULL: that of the stream */
	const char *branch; /* of a stream without history, see pImport; NULL */
	int (*fn)(const struct ptransfer *so_far, void *arg);
	void *arg;
};
/* Reads one stream from fd into the volume. Each version is there as a whole, and durable, when the next is begun, so an import that was
 * broken off can be made again: versions that are there already are passed over. Numbers, times, messages and attributes are
 * those of the stream; nothing is dropped meanwhile, whatever these say. how: NULL: all 0.
 *
 * A history has its branches by name; they are made, or go on if what is there is a beginning of them. One version becomes branch main
 * of a container that is made for it or, with `branch`, that branch, which must not be there. An increment goes on where its
 * base is the newest version of a branch (of `branch`, which is made if only the version is there): the base must be the very one that
 * the increment was made from.
 *
 * EUCLEAN: the stream is damaged, cut off, or no stream: the message says where; ENOTSUP: it is of another format version or kind of
 * machine; EEXIST: what is there is no beginning of what the stream has, or has recorded inputs; ENOENT: its base is not there; EAGAIN: another process (named)
 * writes the branch; EBUSY: it is open in this process; EINVAL; ENOSPC, EIO: the volume; else read(2)'s errno. */
SOFTPM_API int pImport(int fd, const struct pimport *how);

/* What pPrune does, or would do, with one branch. Good during the call of fn that gets it. */
struct ppruned {
	const char *branch;
	uint64_t versions, bytes; /* that were dropped; that became free by that */
	uint64_t returned_bytes;  /* of what is free, given back to the volume for others; a dry run does not know */
	const char *skipped;      /* NULL, or why nothing was done: others have it open, or it is damaged */
};
struct pprune {
	const unsigned *versions_kept,
	        *keep_seconds; /* as in struct cattr, for this call; NULL: what the attributes say */
	int is_dry;            /* tell what would be dropped */
	int (*fn)(const struct ppruned *branch, void *arg);
	void *arg;
};
/* Drops now, of all branches that nobody else writes, what the container's attributes let go: what would else be dropped in small
 * steps while points are made. Never a branch's newest version, nor one that has a tag, that a branch begins with, or that
 * somebody reads. how: NULL: all 0. fn for each branch, unless it is NULL, until it returns non-zero, which is returned. ENOENT; EIO. */
SOFTPM_API int pPrune(int magic, const struct pprune *how);

/* Good during the call of fn that gets it. */
struct pbranch {
	const char *name, *parent; /* name "": damage has it; parent "": it began empty */
	int64_t origin;            /* version of the parent that it began with */
	int64_t newest, time_ns;   /* its newest version; of a branch without own ones, origin */
	uint64_t pages, live_bytes;
	int is_current;
	const char *damage; /* NULL, or why it can't be read */
};
/* fn for each branch, until it returns non-zero, which is returned. */
SOFTPM_API int pBranches(int magic, int (*fn)(const struct pbranch *branch, void *arg), void *arg);
struct ptag {
	const char *name;
	int64_t version;
	int64_t time_ns; /* when it was given */
};
SOFTPM_API int pTags(int magic, int (*fn)(const struct ptag *tag, void *arg), void *arg);

/* What a volume tells of a container. Good during the call of fn that gets it. */
struct pcontainer {
	int magic;
	const char *name, *branch;
	int64_t newest; /* version, 0: none */
	uint64_t pages, live_bytes;
	const char *damage; /* NULL, or why it can't be read */
};
/* fn for each container of the volume, until it returns non-zero, which is returned. */
SOFTPM_API int pContainers(int (*fn)(const struct pcontainer *container, void *arg), void *arg);

struct pvolume {
	unsigned format; /* version of the format on disk, docs/format.md */
	unsigned char uuid[16];
	uint64_t bytes, free_bytes, containers;
};
SOFTPM_API int pVolume(struct pvolume *out);

struct pstats {
	uint64_t points, stored_bytes, queue,
	        lag_ns; /* queue: points not durable yet; lag: age of the oldest of them */
	uint64_t pause_median_ns, pause_p99_ns, pause_max_ns;
	uint64_t full_traces, dirty_pages; /* in all */
	uint64_t words_moved;    /* pointers, and what looked like some, that were changed because the container lies at
	                                      other addresses here than its versions say (of one that comes lazily: so far) */
	uint64_t pages_switched; /* that pCSwitch looked at: those that differ, or all, if much does */
	const char *tracker;     /* "wp" or "mprotect" */
	uint64_t input_bytes;    /* of inputs (pRecord) that the newest version lacks */
	/* Where the time of all points went; 0 for one that is not open. The pauses: finding what changed, and what it leads to; copying it. Then,
	 * while the program runs or the caller of pPointSync waits: making records of it; waiting for the device. */
	uint64_t discovery_ns, freeze_ns, write_ns, flush_ns;
	/* At the last full trace, or a point since that found more: numbers (by cattr.type) that lead to an object which nothing else leads to. It is not
	 * in the versions. pOutside tells which. A program that keeps pointers in integers sees this, and declares them uintptr_t or names them by pHint. */
	uint64_t numbers_lost;
};
/* Of an open container in this process; for any other, as its newest version recorded them. ENOENT: there is none. */
SOFTPM_API int pStats(int magic, struct pstats *out);

/* Verifies all of a container on disk, every version of every branch: fn gets a sentence for each damage (good during the call), until
 * it returns non-zero. *newest_whole: newest version of the current branch that is wholly right, 0: none. Returns 0: whole; 1: damage
 * found; -1: could not look. It reads all there is, what branches share for each of them. ENOENT; EIO. */
SOFTPM_API int pCheck(int magic, int (*fn)(const char *damage, void *arg), void *arg, int64_t *newest_whole);

/* Why the calling thread's last failed call failed, in words. Never NULL. Valid until its next call. */
SOFTPM_API const char *pErrorMsg(void);
/* "0.1.0" */
SOFTPM_API const char *pVersionString(void);

#ifdef __cplusplus
}
#endif
#endif
