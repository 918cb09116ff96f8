/* driver.h - what reads, writes and flushes a volume's blocks.
 *
 * Durability, which the power-cut simulator models and recovery relies on:
 *  - write: may reach the device at any time, in any order, torn at 512 bytes, until a later flush returns.
 *  - write_durable: when it returns 0, just this write is durable.
 *  - flush: when it returns 0, every write that returned before flush was called is durable.
 *  - after a failed flush or write_durable nothing is known: the volume poisons itself.
 * Threads may read, write and flush while another grows it.
 * offset, bytes and (for speed, not need) the buffer are multiples of 4096. 0 or -errno.
 */
#ifndef SPM_DRIVER_H
#define SPM_DRIVER_H

#include "base/base.h"

struct driver;
enum lock_mode { LOCK_NONE, LOCK_SHARED, LOCK_EXCLUSIVE };
struct driver_ops {
	int (*read)(struct driver *d, uint64_t offset, void *buffer, size_t bytes); /* -ENODATA past the end */
	/* NULL, or: these bytes will be read soon; a hint, which may do nothing. */
	void (*expect)(struct driver *d, uint64_t offset, uint64_t bytes);
	int (*write)(struct driver *d, uint64_t offset, const void *buffer, size_t bytes);
	int (*write_durable)(struct driver *d, uint64_t offset, const void *buffer, size_t bytes);
	int (*flush)(struct driver *d);
	int (*size)(struct driver *d, uint64_t *bytes);
	/* Makes [0, bytes) exist, zero where it did not; durable after the next flush. -ENOSPC if the file system or device has
	 * no room. */
	int (*grow)(struct driver *d, uint64_t bytes);
	/* NULL, or: writes zeros to what was grown and is not in use yet, so that the first durable write to it costs no
	 * more than later ones. */
	int (*warm)(struct driver *d, uint64_t offset, uint64_t bytes);
	/* Takes or frees lock number `which` (any number) for this process. wait_ms 0: at once. -EAGAIN if another
	 * holds it, *holder (if not NULL) is its process id or 0. -EAGAIN also within one process if taken twice through
	 * two drivers. */
	int (*lock)(struct driver *d, uint64_t which, unsigned wait_ms, int *holder);
	int (*unlock)(struct driver *d, uint64_t which);
	/* NULL (nobody else is there), or: takes or frees locks [which, which + n) for this process, replacing what it had of them. At
	 * once: -EAGAIN if another holds one in a mode that goes not with this. */
	int (*lock_range)(struct driver *d, uint64_t which, uint64_t n, enum lock_mode mode);
	/* NULL (nobody else can be there), or: opens the same file or device once more, with locks of its own. Closing one of the two may
	 * make this process forget that it told others who holds the locks of the other one: taking those again, which it has, tells it. */
	int (*again)(struct driver *d, struct driver **out);
	void (*close)(struct driver *d);
};
struct driver {
	const struct driver_ops *ops;
};

enum driver_flags { DRIVER_READ_ONLY = 1, DRIVER_CREATE = 2 };

/* A regular file (created 0600) or block device. Refuses, with -EROFS, -ENOTSUP (file system that cannot keep the
 * promise) or the open's errno, writing into `why` (at least 256 bytes) a sentence that names path and reason. */
int spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why);

/* A volume in memory, for tests; grows to limit bytes, then -ENOSPC. */
int spm_driver_memory_open(uint64_t limit, struct driver **out);

#endif
