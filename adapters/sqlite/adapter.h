/* adapter.h - what the files of this folder know of each other, and the few calls that sqlite.patch adds to SQLite.
 *
 *   SQLite's pager -> vfs.c      the file that SQLite sees: reads, writes, locks
 *                  -> store.c    one container of the volume as that file; shared by all connections of the process
 *                  -> pages.c    its bytes, as objects in SoftPM's heap
 *                  -> points.c   when they become a version
 *
 * Locks, in this order: the one of store.c (which stores there are), a store's (everything in it).
 */
#ifndef SPM_SQLITE_ADAPTER_H
#define SPM_SQLITE_ADAPTER_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what the patch calls ---- */

/* The name of the VFS that a database is opened with: ours if its name, `name`, as SQLite keeps it behind sqlite3_uri_parameter, or
 * the environment asks for it; else what was asked for, but never ours. */
const char *spm_sqlite_vfs(const char *name, const char *vfs, unsigned flags);
int spm_sqlite_has(sqlite3_file *f); /* whether it is one of ours */
/* A transaction is about to end. is_alone: the connection reads nothing else of the database, so the lock will be given back. */
void spm_sqlite_ending(sqlite3_file *f, int is_alone);
/* All that it wrote is in the file. level: 0 synchronous=OFF, 1 NORMAL, 2 FULL. is_final: it must be told now if this fails; else
 * SQLITE_FCNTL_COMMIT_PHASETWO can. An SQLite code. */
int spm_sqlite_commit(sqlite3_file *f, int level, int is_final);
/* All that a transaction wrote was written back to what it was. */
int spm_sqlite_rolled_back(sqlite3_file *f);
/* SQLITE_EXTRA_INIT. */
int spm_sqlite_init(const char *unused);

/* ---- pages.c ---- */

struct pages_root;
struct pages {
	int id; /* of the container */
	struct pages_root *root;
	_Atomic bool is_coming; /* not all of it may be in memory yet: it is asked for before it is touched */
	uint64_t watched_from, watched_to; /* chunks that a restore brought back, and SoftPM still watches */
};

void *spm_pages_new(int magic, int *id); /* its root; NULL and errno */
/* Those of a container that was opened, from its root on, which may still be on its way. 0; -EINVAL: it holds no database; -EUCLEAN: it is
 * damaged. */
int spm_pages_open(struct pages *p, void *root);
/* Some more of what a restore brought back need not be watched any more: who writes tells points what he wrote. Before a transaction writes. */
void spm_pages_tell(struct pages *p);
int64_t spm_pages_bytes(const struct pages *p);
/* The byte at `at`, of which there are `bytes` in one piece from there on. NULL: none; if `bytes` is negative, it can't be read, and errno
 * says why. */
unsigned char *spm_pages_at(struct pages *p, int64_t at, int64_t *bytes);
/* 0 or -errno. What is equal already is not touched. */
int spm_pages_write(struct pages *p, const unsigned char *from, int64_t n, int64_t at);
int spm_pages_resize(struct pages *p, int64_t bytes);

/* ---- store.c ---- */

struct points {
	pthread_t thread;
	pthread_cond_t changed;
	bool has_thread, is_idle, is_ending;
	bool is_unsaved; /* some transaction is in no version yet */
	bool is_ahead;   /* so far has one that may yet be rolled back; of this level */
	int level_ahead;
	uint64_t due_ns;   /* when it is to be in one */
	uint64_t begun_ns; /* when the last one was begun */
	int failed;        /* SQLite code of a point that failed, until it is told */

	pthread_cond_t made; /* durable, has_leader, lost, is_torn */
	bool has_leader;     /* somebody makes a version */
	/* As store->commits counts: what is durable; the last that was acknowledged before it was durable; the last that gave its lock
	 * back before. At most one of the latter two is greater than the first. */
	_Atomic uint64_t durable;
	uint64_t later, early;
	unsigned awaiting; /* who gave their locks back, and wait */
	int lost;          /* SQLite code: what they wait for failed, and is to be undone */
};

struct file;
struct store {
	struct store *next;
	char *path;
	int magic;
	bool is_view;
	_Atomic unsigned users;
	int process;
	struct pages pages;
	pthread_mutex_t lock;
	pthread_cond_t unlocked;
	unsigned waiting;          /* for unlocked */
	unsigned shared;           /* files with any lock */
	const struct file *writer; /* the one beyond SHARED */
	int writer_level;
	unsigned committing;  /* how many make a version, and wait for the disk: nobody writes */
	bool is_torn;         /* part of a transaction is written: the bytes are no state of the database */
	bool is_broken;       /* and will stay so */
	bool has_new_schema;  /* the transaction that is half written */
	_Atomic unsigned era; /* how often it went back to a durable version; locks of an earlier one are none */
	int undone;           /* SQLite code: why, the last time */
	uint64_t commits;
	struct points points;
};

struct store_name {
	const char *path, *ref; /* ref NULL: the newest */
	int magic;
	bool may_create, is_readonly;
};
/* SQLite codes. */
int spm_store_open(const struct store_name *name, struct store **out);
void spm_store_close(struct store *s);
/* The state becomes that of another version, as pCSwitch does; nobody else has the store open. An SQLite code. */
int spm_store_switch(struct store *s, const char *ref);
/* The newest durable version, because a later one failed; nobody has an EXCLUSIVE lock, and s is locked. Others lose theirs (spm_locks_is_undone). */
int spm_store_go_back(struct store *s);
/* From errno, and tells SQLite's log why; `otherwise`: the code of an I/O error. */
int spm_sqlite_code(int otherwise);

struct file {
	sqlite3_file base;
	struct store *store;
	int level;                /* its lock: SQLITE_LOCK_... */
	uint64_t seen;            /* store->commits when it read page 1, or committed */
	uint64_t since;           /* store->points.early when it got its lock */
	unsigned era;             /* store->era then */
	bool was_refused;         /* another, since */
	bool is_ending, is_alone; /* what spm_sqlite_ending said */
	bool is_early;            /* the transaction ends in SQLITE_FCNTL_COMMIT_PHASETWO */
};

/* ---- points.c ---- the store is locked */

enum { POINT_LATER, POINT_SOON, POINT_NOW };       /* synchronous=OFF, NORMAL, FULL */
int spm_points_commit(struct store *s, int level); /* if it fails, the bytes are torn as before */
/* FULL in two steps, if it may: a transaction gets a number, then its lock can be given back, then it becomes durable. */
bool spm_points_may_end_early(const struct store *s);
uint64_t spm_points_ended(struct store *s);
int spm_points_await(struct store *s, uint64_t commit);
/* Between the two nobody makes a version: a function of SoftPM that waits for those under way is told of their failures, in the place of who
 * made them. */
void spm_points_halt(struct store *s);
void spm_points_go_on(struct store *s);
int spm_points_rolled_back(struct store *s);
/* What changed is no part of any transaction: the next version has it, or one that is made when the store is closed. */
void spm_points_note(struct store *s);
void spm_points_end(struct store *s);

/* What ended by now is in a version, and durable. An SQLite code; SQLITE_BUSY: a transaction is half written. */
int spm_points_flush(struct store *s);

/* ---- locks.c ---- */

/* The store is locked: until nobody makes a version. */
void spm_locks_await_commit(struct store *s);
int spm_locks_take(struct file *f, int level);
/* What it read since it got its lock was undone. */
bool spm_locks_is_undone(const struct file *f);
/* What it reads may yet be, or was: it reads copies, while the store is locked. */
bool spm_locks_may_be_undone(const struct file *f);
void spm_locks_release(struct file *f, int level);
void spm_locks_give_back(struct file *f, int level); /* the store is locked */
/* A file is being closed. */
void spm_locks_forget(void);
/* Waits until the lock that this thread was just refused can be had, at most so long; false: there was none. */
bool spm_locks_sleep(unsigned microseconds);

/* ---- sql.c ---- called for each connection */

int spm_sqlite_functions(sqlite3 *db);

#endif
