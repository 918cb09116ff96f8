/* floor.c - what no store on this device can beat: 4 KiB overwritten in space that was written before, then durable.
 * Variants: fdatasync (buffered write, then the flush), direct (O_DIRECT, RWF_DSYNC: one call). */
#include "store.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 16384 };

static int fd;
static bool is_direct;
static _Atomic unsigned next;

static void file_write(const char *path)
{
	static char piece[256 * BLOCK];
	int out = open(path, O_CREAT | O_WRONLY, 0600);

	memset(piece, 'x', sizeof(piece));
	need(out >= 0, "open");
	for (unsigned i = 0; i < BLOCKS / 256; i++)
		need(write(out, piece, sizeof(piece)) == sizeof(piece), "write");
	need(!fsync(out), "fsync");
	close(out);
}

static void floor_open(const char *folder, const char *variant, bool is_lazy)
{
	const char *path = store_path(folder, "blocks");

	need(!is_lazy, "the floor without durability");
	is_direct = !strcmp(variant, "direct");
	if (!store_exists(path))
		file_write(path);
	fd = open(path, O_RDWR | (is_direct ? O_DIRECT : 0));
	need(fd >= 0, "open");
}

static _Thread_local char *block;

static void floor_put(uint64_t key, const char value[VALUE_BYTES])
{
	if (!block)
		need(!posix_memalign((void **)&block, BLOCK, BLOCK), "posix_memalign");
	memcpy(block + (key % 40) * VALUE_BYTES, value, VALUE_BYTES);
}

static void floor_commit(void)
{
	off_t at = (off_t)(next++ % BLOCKS) * BLOCK;
	struct iovec part = {block, BLOCK};

	if (is_direct) {
		need(pwritev2(fd, &part, 1, at, RWF_DSYNC) == BLOCK, "pwritev2");
		return;
	}
	need(pwrite(fd, block, BLOCK, at) == BLOCK, "pwrite");
	need(!fdatasync(fd), "fdatasync");
}

static void floor_sync(void)
{
}

static void floor_close(void)
{
	close(fd);
}

int main(int argc, char **argv)
{
	return store_main(argc, argv,
	                  &(struct store){floor_open, floor_put, floor_commit, floor_sync, NULL, NULL, floor_close,
	                                  .is_threaded = true});
}
