/* sim_driver.h - a power-cut simulator: a driver that records every write and flush of a run, and from the record
 * builds what the disk may hold if the power went at any instant.
 *
 * What was flushed, or written durably, is there. Of the rest, and of the operation under way, any subset, in any
 * order, torn at 512 bytes; and the file may have its old or its new length.
 *
 * Threads may write at a time: their operations are recorded, and done, one after the other.
 */
#ifndef TEST_SIM_DRIVER_H
#define TEST_SIM_DRIVER_H

#include "driver/driver.h"

enum { SIM_BYTES_MOST = 32 << 20 };
enum sim_kind { SIM_WRITE, SIM_WRITE_DURABLE, SIM_FLUSH, SIM_GROW };

struct sim_op {
	enum sim_kind kind;
	uint64_t offset;
	size_t bytes;
	unsigned char *data;
	uint64_t mark; /* the log's mark when it was made */
};
struct sim_log {
	struct sim_op *op;
	size_t ops;
	_Atomic uint64_t mark; /* the test's own, noted with each operation */
	/* Called once, after the next write or flush: what another thread does just then. Not while the extent tables
	   are locked, when the other thread might have to wait. */
	void (*hook)(void *arg);
	void *hook_arg;
	/* After so many operations the process is killed, 0: never: its next write is seen by other processes, but in the device's cache
	   only; what it tries later fails and leaves nothing. */
	size_t kill_after;
	bool is_dead;
};
struct driver *sim_record(struct sim_log *log);
/* The next process's, on the bytes that the one before left: at least SIM_BYTES_MOST of room, the caller's. */
struct driver *sim_record_on(struct sim_log *log, unsigned char *bytes, uint64_t size);
/* A volume on the bytes of a crash state (at least SIM_BYTES_MOST of room); they stay the caller's. */
struct driver *sim_state_driver(unsigned char *bytes, uint64_t size);

/* The disk after the first `done` operations. */
struct sim_disk {
	unsigned char *stable; /* SIM_BYTES_MOST, zeroed at the start */
	uint64_t size_stable, size_now;
	const struct sim_op **pending;
	size_t pendings, done;
};
void sim_disk_advance(struct sim_disk *disk, const struct sim_log *log);
void sim_free(struct sim_log *log, struct sim_disk *disk); /* all but disk->stable */
/* One possible state if the power goes now, during the next operation. Returns its length. */
uint64_t sim_disk_crash(const struct sim_disk *disk, const struct sim_log *log, unsigned char *state, uint64_t *random);

/* The power went. */
struct sim_crash {
	unsigned char *state; /* SIM_BYTES_MOST of room; the check may write there */
	uint64_t size;
	uint64_t mark;   /* of the operation under way; when all were done the log's */
	uint64_t number; /* of the state, from 0 on */
};
/* Checks that many states in all, as many of each operation under way as of another, prints the number, and frees the log. */
void sim_each_crash(struct sim_log *log, uint64_t states, uint64_t seed,
                    void (*check)(const struct sim_crash *crash, void *arg), void *arg);

#endif
