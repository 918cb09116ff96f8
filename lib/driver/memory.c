/* memory.c - a volume in memory, for tests.
 *
 * As in a file, one thread may grow it while others read and write: its bytes never move. Address space for all that it may have
 * is taken when it is opened.
 */
#include "base/base.h"
#include "driver/driver.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct memory {
	struct driver driver;
	unsigned char *bytes; /* zero from `size` to `limit` */
	_Atomic uint64_t size;
	uint64_t limit;
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
	uint64_t size = m->size;

	if (bytes > m->limit)
		return -ENOSPC;
	while (size < bytes && !atomic_compare_exchange_weak(&m->size, &size, bytes))
		;
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
	spm_pages_unmap(memory_of(d)->bytes, memory_of(d)->limit);
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
	m->bytes = spm_pages_map(limit, false);
	if (!m->bytes) {
		free(m);
		return -ENOMEM;
	}
	m->driver.ops = &memory_ops;
	m->limit = limit;
	*out = &m->driver;
	return 0;
}
