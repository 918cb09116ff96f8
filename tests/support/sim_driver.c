/* sim_driver.c - see sim_driver.h. */
#include "sim_driver.h"
#include "scratch.h"
#include "volume/format.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all logs, and what is done while they are written */

struct sim {
	struct driver driver;
	struct sim_log *log;
	unsigned char *bytes;
	uint64_t size;
	bool is_callers; /* the bytes */
	bool is_tables_locked;
};

static struct sim *sim_of(struct driver *d)
{
	return (struct sim *)d;
}

static void op_add(struct sim *s, enum sim_kind kind, uint64_t offset, const void *buffer, size_t bytes)
{
	struct sim_log *log = s->log;
	struct sim_op *op;

	if (!log)
		return;
	log->op = realloc(log->op, (log->ops + 1) * sizeof(*log->op));
	op = &log->op[log->ops++];
	*op = (struct sim_op){.kind = kind, .offset = offset, .bytes = bytes, .mark = log->mark};
	if (buffer) {
		op->data = malloc(bytes);
		memcpy(op->data, buffer, bytes);
	}
}

static void hook_call(struct sim *s)
{
	void (*hook)(void *arg) = s->log ? s->log->hook : NULL;

	if (hook && !s->is_tables_locked) {
		s->log->hook = NULL;
		hook(s->log->hook_arg);
	}
}

static int sim_read(struct driver *d, uint64_t offset, void *buffer, size_t bytes)
{
	struct sim *s = sim_of(d);

	if (offset > s->size || bytes > s->size - offset)
		return -ENODATA;
	memcpy(buffer, s->bytes + offset, bytes);
	return 0;
}

static bool is_dead(const struct sim *s)
{
	return s->log && s->log->is_dead;
}

/* In this operation. */
static bool is_killed(struct sim *s)
{
	bool is = s->log && s->log->kill_after && s->log->ops >= s->log->kill_after;

	if (is)
		s->log->is_dead = true;
	return is;
}

static int put_locked(struct sim *s, enum sim_kind kind, uint64_t offset, const void *buffer, size_t bytes)
{
	bool dies;

	if (is_dead(s))
		return -EIO;
	dies = is_killed(s);
	if (offset + bytes > SIM_BYTES_MOST)
		return -ENOSPC;
	op_add(s, dies ? SIM_WRITE : kind, offset, buffer, bytes);
	memcpy(s->bytes + offset, buffer, bytes);
	if (s->size < offset + bytes)
		s->size = offset + bytes;
	return dies ? -EIO : 0;
}

static int put(struct sim *s, enum sim_kind kind, uint64_t offset, const void *buffer, size_t bytes)
{
	int err;

	pthread_mutex_lock(&lock);
	err = put_locked(s, kind, offset, buffer, bytes);
	pthread_mutex_unlock(&lock);
	if (!err)
		hook_call(s);
	return err;
}

static int sim_write(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	return put(sim_of(d), SIM_WRITE, offset, buffer, bytes);
}

static int sim_write_durable(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	return put(sim_of(d), SIM_WRITE_DURABLE, offset, buffer, bytes);
}

static int sim_flush(struct driver *d)
{
	struct sim *s = sim_of(d);
	int err = 0;

	pthread_mutex_lock(&lock);
	if (is_dead(s) || is_killed(s))
		err = -EIO;
	else
		op_add(s, SIM_FLUSH, 0, NULL, 0);
	pthread_mutex_unlock(&lock);
	if (!err)
		hook_call(s);
	return err;
}

static int sim_size(struct driver *d, uint64_t *bytes)
{
	*bytes = sim_of(d)->size;
	return 0;
}

static int sim_grow(struct driver *d, uint64_t bytes)
{
	struct sim *s = sim_of(d);
	int err = 0;

	if (bytes > SIM_BYTES_MOST)
		return -ENOSPC;
	pthread_mutex_lock(&lock);
	if (bytes > s->size && is_dead(s)) {
		err = -EIO;
	} else if (bytes > s->size) {
		op_add(s, SIM_GROW, bytes, NULL, 0);
		s->size = bytes;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

static int sim_lock(struct driver *d, uint64_t which, unsigned wait_ms, int *holder)
{
	(void)wait_ms, (void)holder;
	if (which == LOCK_TABLES)
		sim_of(d)->is_tables_locked = true;
	return 0;
}

static int sim_unlock(struct driver *d, uint64_t which)
{
	if (which == LOCK_TABLES)
		sim_of(d)->is_tables_locked = false;
	return 0;
}

static void sim_close(struct driver *d)
{
	if (!sim_of(d)->is_callers)
		free(sim_of(d)->bytes);
	free(d);
}

static const struct driver_ops sim_ops = {
        .read = sim_read,
        .write = sim_write,
        .write_durable = sim_write_durable,
        .flush = sim_flush,
        .size = sim_size,
        .grow = sim_grow,
        .lock = sim_lock,
        .unlock = sim_unlock,
        .close = sim_close,
};

struct driver *sim_record(struct sim_log *log)
{
	struct sim *s = calloc(1, sizeof(*s));

	s->driver.ops = &sim_ops;
	s->log = log;
	s->bytes = calloc(1, SIM_BYTES_MOST);
	return &s->driver;
}

struct driver *sim_record_on(struct sim_log *log, unsigned char *bytes, uint64_t size)
{
	struct sim *s = calloc(1, sizeof(*s));

	s->driver.ops = &sim_ops;
	s->log = log;
	s->bytes = bytes;
	s->size = size;
	s->is_callers = true;
	return &s->driver;
}

struct driver *sim_state_driver(unsigned char *bytes, uint64_t size)
{
	return sim_record_on(NULL, bytes, size);
}

/* Copies the whole write, or a random choice of its sectors. */
static void op_apply(unsigned char *to, const struct sim_op *op, bool is_torn, uint64_t *random)
{
	for (size_t at = 0; at < op->bytes; at += SECTOR)
		if (!is_torn || test_random(random) & 1)
			memcpy(to + op->offset + at, op->data + at, SECTOR);
}

void sim_disk_advance(struct sim_disk *disk, const struct sim_log *log)
{
	const struct sim_op *op = &log->op[disk->done++];

	if (op->kind == SIM_GROW) {
		disk->size_now = op->offset;
	} else if (op->kind == SIM_WRITE) {
		disk->pending = realloc(disk->pending, (disk->pendings + 1) * sizeof(*disk->pending));
		disk->pending[disk->pendings++] = op;
	} else if (op->kind == SIM_WRITE_DURABLE) {
		op_apply(disk->stable, op, false, NULL);
		if (disk->size_stable < op->offset + op->bytes)
			disk->size_stable = op->offset + op->bytes;
	} else {
		for (size_t i = 0; i < disk->pendings; i++)
			op_apply(disk->stable, disk->pending[i], false, NULL);
		disk->pendings = 0;
		disk->size_stable = disk->size_now;
	}
	if (disk->size_now < disk->size_stable)
		disk->size_now = disk->size_stable;
}

uint64_t sim_disk_crash(const struct sim_disk *disk, const struct sim_log *log, unsigned char *state, uint64_t *random)
{
	const struct sim_op *next = disk->done < log->ops ? &log->op[disk->done] : NULL;
	uint64_t size = test_random(random) & 1 ? disk->size_stable : disk->size_now;
	size_t n = disk->pendings;

	memcpy(state, disk->stable, disk->size_now > disk->size_stable ? disk->size_now : disk->size_stable);
	for (size_t i = 0; i < n; i++) {
		/* In any order: each is applied at a random turn, or never. */
		const struct sim_op *op = disk->pending[test_random(random) % n];
		uint64_t fate = test_random(random) % 3;

		if (fate)
			op_apply(state, op, fate == 1, random);
		if (fate && size < op->offset + op->bytes)
			size = op->offset + op->bytes;
	}
	if (next && next->data && test_random(random) % 2) {
		op_apply(state, next, test_random(random) % 4 != 0, random);
		if (size < next->offset + next->bytes)
			size = next->offset + next->bytes;
	}
	return size;
}

void sim_free(struct sim_log *log, struct sim_disk *disk)
{
	for (size_t i = 0; i < log->ops; i++)
		free(log->op[i].data);
	free(log->op);
	free(disk->pending);
}

void sim_each_crash(struct sim_log *log, uint64_t states, uint64_t seed,
                    void (*check)(const struct sim_crash *crash, void *arg), void *arg)
{
	struct sim_disk disk = {.stable = calloc(1, SIM_BYTES_MOST)};
	struct sim_crash crash = {.state = calloc(1, SIM_BYTES_MOST)};

	for (size_t i = 0; i <= log->ops; i++) {
		crash.mark = i < log->ops ? log->op[i].mark : log->mark;
		for (; crash.number < states * (i + 1) / (log->ops + 1); crash.number++) {
			crash.size = sim_disk_crash(&disk, log, crash.state, &seed);
			check(&crash, arg);
		}
		if (i < log->ops)
			sim_disk_advance(&disk, log);
	}
	printf("%llu states of %zu operations\n", (unsigned long long)crash.number, log->ops);
	sim_free(log, &disk);
	free(disk.stable);
	free(crash.state);
}
