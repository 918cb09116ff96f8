/* memory.c - a volume in memory, for tests. */
#include "driver/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct memory {
	struct driver driver;
	unsigned char *bytes;
	uint64_t size, limit;
};

static struct memory *memory_of(struct driver *d)
{
	return (struct memory *)d;
}

static int memory_read(struct driver *d, uint64_t offset, void *buffer, size_t bytes)
{
	struct memory *m = memory_of(d);

	if (offset > m->size || bytes > m->size - offset)
		return -ENODATA;
	memcpy(buffer, m->bytes + offset, bytes);
	return 0;
}

static int memory_grow(struct driver *d, uint64_t bytes)
{
	struct memory *m = memory_of(d);
	unsigned char *more;

	if (bytes <= m->size)
		return 0;
	if (bytes > m->limit)
		return -ENOSPC;
	more = realloc(m->bytes, bytes);
	if (!more)
		return -ENOMEM;
	memset(more + m->size, 0, bytes - m->size);
	m->bytes = more;
	m->size = bytes;
	return 0;
}

static int memory_write(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	int err = memory_grow(d, offset + bytes);

	if (!err)
		memcpy(memory_of(d)->bytes + offset, buffer, bytes);
	return err;
}

/* Nothing to gain, but what is warmed must not be in use: with this, tests notice. */
static int memory_warm(struct driver *d, uint64_t offset, uint64_t bytes)
{
	struct memory *m = memory_of(d);

	if (offset > m->size || bytes > m->size - offset)
		return -ENODATA;
	memset(m->bytes + offset, 0, bytes);
	return 0;
}

static int memory_flush(struct driver *d)
{
	(void)d;
	return 0;
}

static int memory_size(struct driver *d, uint64_t *bytes)
{
	*bytes = memory_of(d)->size;
	return 0;
}

static int memory_lock(struct driver *d, uint64_t which, unsigned wait_ms, int *holder)
{
	(void)d, (void)which, (void)wait_ms, (void)holder;
	return 0;
}

static int memory_unlock(struct driver *d, uint64_t which)
{
	(void)d, (void)which;
	return 0;
}

static void memory_close(struct driver *d)
{
	free(memory_of(d)->bytes);
	free(d);
}

static const struct driver_ops memory_ops = {
        .read = memory_read,
        .write = memory_write,
        .write_durable = memory_write,
        .flush = memory_flush,
        .size = memory_size,
        .grow = memory_grow,
        .warm = memory_warm,
        .lock = memory_lock,
        .unlock = memory_unlock,
        .close = memory_close,
};

int spm_driver_memory_open(uint64_t limit, struct driver **out)
{
	struct memory *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->driver.ops = &memory_ops;
	m->limit = limit;
	*out = &m->driver;
	return 0;
}
