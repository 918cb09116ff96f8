/* adapter.h - what the files of this folder know of each other. */
#ifndef SPM_MEMCACHED_ADAPTER_H
#define SPM_MEMCACHED_ADAPTER_H

#include "memcached.h"

#include <stdint.h>

enum { CACHE_MAGIC = 11211 };
enum { SYNC_ALWAYS = 0, SYNC_OFF = -1 }; /* else milliseconds */

struct port {
	const char *volume; /* NULL: no SoftPM */
	int sync;
	int id; /* of the container */
	bool is_restored;
};
extern struct port spm_port;

/* Says why, with what SoftPM or errno tells, and ends the process. */
void spm_port_die(const char *what) __attribute__((noreturn));
/* The caller is to end the process, and nobody else. false: somebody else is. */
bool spm_port_end_begin(void);
void spm_port_end_cancel(void);
/* This process becomes a new server with the same arguments. By a thread in no gate, after spm_port_end_begin. */
void spm_port_restart(void) __attribute__((noreturn));

/* ---- memcached.c ---- */

void conn_send_last(conn *c);

/* ---- bdb.c ---- */

bool spm_bdb_option(const char *option); /* as spm_port_option */
void spm_bdb_open(void);
int spm_bdb_stop(void); /* 0: all is durable */

/* ---- keep.c ---- */

void spm_keep_new(void);           /* a cache begins */
void spm_keep_restore(void *root); /* or goes on; before any thread is made */
void spm_keep_restore_stats(void); /* when the workers are there */
/* Whether a server with these options could go on from this version. false: why (of `room` bytes) says why not. */
bool spm_keep_try(const char *ref, char *why, size_t room);
/* The gates are closed: all that a version must have is in the container. 0 or -1, errno is ENOMEM. */
int spm_keep_capture(void);

/* ---- gate.c ---- */

void spm_gates_close(void);
void spm_gates_open(void);
/* They are closed: spm_port_held for each item that a connection holds. */
void spm_gates_held(void);

/* ---- points.c ---- */

int spm_points_start(void);
/* Makes a version of all that is there, durable. 0 or -1. By a thread in no gate. */
int spm_points_now(void);
/* The last one: the gates stay closed, and replies that waited for it are sent. 0 or -1 and errno. */
int spm_points_stop(void);
/* A thread begins with a connection, and is done with it (NULL: closed): what it changed, and was not parked for, is to become durable. */
void spm_points_begin(struct conn *c);
void spm_points_note(struct conn *c);

struct points_stats {
	uint64_t points, failures, waits; /* waits: times that a connection was parked */
	char last_failure[200];           /* "": the last one was none */
};
void spm_points_stats(struct points_stats *out);

#endif
