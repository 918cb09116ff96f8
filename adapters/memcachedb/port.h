/* port.h - the few calls that memcached.patch adds to memcached. Without -o softpm=VOLUME they do nothing.
 *
 *   port.c      the options; start, restore, end
 *   keep.c      what of memcached a version has: slab pages, hash table, and the statics that lead to them
 *   gate.c      nobody is in the midst of a change when a point captures the cache
 *   points.c    when changes become a version; replies that wait until theirs is durable
 *   bdb.c       Berkeley DB instead, to compare
 *   commands.c  softpm log, tag, branch, switch; stats softpm
 */
#ifndef SPM_MEMCACHED_PORT_H
#define SPM_MEMCACHED_PORT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct conn;
struct event_base;

/* ---- port.c ---- */

/* A sub-option of -o, "name=value". Whether it is ours; ends the process with a sentence if it is wrong. */
bool spm_port_option(const char *option);
/* After the options are read, and what forks has forked: brings back the newest version, or begins a cache. Ends the process with a
 * sentence if that can't be. has_other_memory: items are to lie elsewhere than in memory from malloc. */
void spm_port_open(bool has_other_memory);
bool spm_port_is_anew(void);     /* this process was the server before already, see commands.c: softpm switch */
bool spm_port_is_restored(void); /* the cache is there already; current_time says how old it is */
/* All threads are there, and have served nobody. */
void spm_port_start(void);
/* Nothing changes from here on. 0: all is durable. */
int spm_port_stop(void);

/* ---- keep.c ---- */

/* At file scope: the static, or global, x is part of a version. */
#define SPM_PORT_KEEP(x)                                                                                               \
	__attribute__((constructor)) static void spm_keep_##x(void)                                                    \
	{                                                                                                              \
		spm_port_keep(#x, (void *)&(x), sizeof(x));                                                            \
	}
void spm_port_keep(const char *name, void *p, size_t bytes);
void *spm_port_malloc(size_t bytes);
void *spm_port_calloc(size_t n, size_t bytes);
void *spm_port_realloc(void *p, size_t bytes);
void spm_port_free(void *p);
/* The pseudo-items of the crawlers, which are linked into the lists of items. */
void *spm_port_crawlers(size_t n, size_t bytes);
/* Called by items.c for each item that an entry of the bump buffers holds. */
void spm_port_held(void *item);

/* ---- gate.c ---- */

/* Around all that a thread which serves connections does with one. It holds no lock when it comes in. */
void spm_port_enter(struct conn *c);
void spm_port_leave(struct conn *c);
/* Around each small step of the other threads that change the cache. They may hold locks. */
void spm_port_step_begin(void);
void spm_port_step_end(void);
void spm_port_new(struct conn *c); /* a connection begins */
/* How long the lists of items are left alone at least, in us, before what is due is moved in one go; 0: as memcached likes. */
unsigned spm_port_upkeep_us(void);
/* Takes a lock of memcached's, in a gate. false: not taken, somebody is about what *is_long_held says, and may be for as long as a client
 * keeps him waiting. */
bool spm_port_lock(pthread_mutex_t *lock, const volatile bool *is_long_held);

/* ---- points.c ---- */

/* This thread has changed what a client may know of. */
void spm_port_changed(void);
void spm_port_item_changed(void *item); /* that is there already */
void spm_port_unchanged(void);          /* it was only the removal of something that had expired */
/* Whether the replies of c have to wait. It comes back by conn_worker_readd then. */
bool spm_port_park(struct conn *c);
/* A worker has this event base; the next one the next, in the order of their numbers. */
void spm_port_worker(struct event_base *base);

/* ---- bdb.c: items are in Berkeley DB, none is linked ---- */

bool spm_bdb_is_on(void);
void *spm_bdb_get(const char *key, size_t length); /* an item that is only the caller's; NULL: there is none */
int spm_bdb_put(void *item);                       /* 1 */
void spm_bdb_store(void *item);                    /* as it is */
void spm_bdb_remove(void *item);

/* ---- commands.c ---- a and b: NULL if there are no such words */

void spm_port_command(struct conn *c, const char *what, const char *a, const char *b);
void spm_port_stats(void (*add)(const char *, unsigned short, const char *, unsigned, const void *), struct conn *c);

#endif
