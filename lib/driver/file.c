/* file.c - a volume in a regular file or on a block device.
 *
 * Two descriptors of the same file: buffered, for reading, locks and growing; and O_DIRECT for writing, where a
 * RWF_DSYNC write of a few blocks is the cheapest durable thing there is (docs/benchmarks.md). Where O_DIRECT is
 * refused, a buffered write and fdatasync take its place.
 *
 * Locks are open-file-description locks, which neither a fork nor another close(2) can lose; a classic lock beside
 * each tells other processes who holds it. A lock that nobody holds by the latter is one whose holder has just been
 * killed, and whose clone or exit is about to let go of it; or has just been taken. It is waited for.
 */
#include "driver/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { PIECE_BYTES = 4 << 20, ZEROS_BYTES = 1 << 20, FRUITLESS_MOST = 100, ORPHAN_WAIT_MS = 1000 };
static const off_t lock_base = (off_t)1 << 61;
static const off_t holder_base = (off_t)1 << 60;
static const long nfs_magic = 0x6969;

struct file {
	struct driver driver;
	int fd, direct_fd; /* direct_fd -1: none */
	bool is_device;
};

static struct file *file_of(struct driver *d)
{
	return (struct file *)d;
}

static int file_read(struct driver *d, uint64_t offset, void *buffer, size_t bytes)
{
	unsigned char *at = buffer;

	while (bytes) {
		ssize_t n = TEMP_FAILURE_RETRY(pread(file_of(d)->fd, at, bytes, (off_t)offset));

		if (n < 0)
			return -errno;
		if (!n)
			return -ENODATA;
		at += n;
		offset += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

static void file_expect(struct driver *d, uint64_t offset, uint64_t bytes)
{
	posix_fadvise(file_of(d)->fd, (off_t)offset, (off_t)bytes, POSIX_FADV_WILLNEED);
}

/* A write cut short goes on at a block's start, for O_DIRECT takes nothing else. */
static int write_all(int fd, uint64_t offset, const void *buffer, size_t bytes, int flags)
{
	const unsigned char *at = buffer;
	unsigned fruitless = 0;

	while (bytes) {
		struct iovec piece = {(void *)(uintptr_t)at, bytes < PIECE_BYTES ? bytes : PIECE_BYTES};
		ssize_t n = TEMP_FAILURE_RETRY(pwritev2(fd, &piece, 1, (off_t)offset, flags));

		if (n < 0)
			return -errno;
		if ((size_t)n < bytes)
			n -= n % SPM_BLOCK_BYTES;
		if (!n && ++fruitless == FRUITLESS_MOST)
			return -EIO;
		at += n;
		offset += (uint64_t)n;
		bytes -= (size_t)n;
	}
	return 0;
}

static bool goes_direct(const struct file *f, const void *buffer)
{
	return f->direct_fd >= 0 && (uintptr_t)buffer % SPM_BLOCK_BYTES == 0;
}

static int file_write(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	struct file *f = file_of(d);

	return write_all(goes_direct(f, buffer) ? f->direct_fd : f->fd, offset, buffer, bytes, 0);
}

static int file_flush(struct driver *d)
{
	return TEMP_FAILURE_RETRY(fdatasync(file_of(d)->fd)) ? -errno : 0;
}

static int file_write_durable(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	struct file *f = file_of(d);
	int err;

	if (goes_direct(f, buffer) && bytes <= PIECE_BYTES) {
		err = write_all(f->direct_fd, offset, buffer, bytes, RWF_DSYNC);
		if (err != -EOPNOTSUPP && err != -EINVAL)
			return err;
	}
	err = file_write(d, offset, buffer, bytes);
	return err ? err : file_flush(d);
}

static int file_size(struct driver *d, uint64_t *bytes)
{
	struct file *f = file_of(d);
	struct stat st;

	if (f->is_device)
		return TEMP_FAILURE_RETRY(ioctl(f->fd, BLKGETSIZE64, bytes)) ? -errno : 0;
	if (TEMP_FAILURE_RETRY(fstat(f->fd, &st)))
		return -errno;
	*bytes = (uint64_t)st.st_size;
	return 0;
}

static int zeros_write(struct driver *d, uint64_t from, uint64_t to)
{
	void *zeros = aligned_alloc(SPM_BLOCK_BYTES, ZEROS_BYTES);
	int err = zeros ? 0 : -ENOMEM;

	if (zeros)
		memset(zeros, 0, ZEROS_BYTES);
	for (; !err && from < to; from += ZEROS_BYTES)
		err = file_write(d, from, zeros, to - from < ZEROS_BYTES ? (size_t)(to - from) : ZEROS_BYTES);
	free(zeros);
	return err;
}

static int file_grow(struct driver *d, uint64_t bytes)
{
	struct file *f = file_of(d);
	uint64_t have;
	int err = file_size(d, &have);

	if (err || bytes <= have)
		return err;
	if (f->is_device)
		return -ENOSPC;
	have &= ~(uint64_t)(SPM_BLOCK_BYTES - 1);
	err = TEMP_FAILURE_RETRY(fallocate(f->fd, 0, (off_t)have, (off_t)(bytes - have))) ? -errno : 0;
	return err == -EOPNOTSUPP ? zeros_write(d, have, bytes) : err;
}

/* Allocated is not enough: an overwrite of written space is twice as fast to make durable. */
static int file_warm(struct driver *d, uint64_t offset, uint64_t bytes)
{
	return file_of(d)->is_device ? 0 : zeros_write(d, offset, offset + bytes);
}

static int lock_set(int fd, int command, short type, off_t at)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	return TEMP_FAILURE_RETRY(fcntl(fd, command, &l)) ? -errno : 0;
}

static int lock_holder(int fd, off_t at)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	return fcntl(fd, F_GETLK, &l) || l.l_type == F_UNLCK ? 0 : l.l_pid;
}

static int file_lock(struct driver *d, uint64_t which, unsigned wait_ms, int *holder)
{
	struct file *f = file_of(d);
	uint64_t begin = spm_now_ns();
	unsigned pause_us = 100;
	int err;

	while ((err = lock_set(f->fd, F_OFD_SETLK, F_WRLCK, lock_base + (off_t)which)) == -EAGAIN || err == -EACCES) {
		int process = lock_holder(f->fd, holder_base + (off_t)which);
		unsigned patience_ms = process || wait_ms > ORPHAN_WAIT_MS ? wait_ms : ORPHAN_WAIT_MS;

		if (spm_now_ns() - begin >= patience_ms * UINT64_C(1000000)) {
			if (holder)
				*holder = process;
			return -EAGAIN;
		}
		usleep(pause_us);
		pause_us = pause_us < 10000 ? pause_us * 2 : pause_us;
	}
	if (!err)
		lock_set(f->fd, F_SETLK, F_WRLCK, holder_base + (off_t)which);
	return err;
}

static int file_unlock(struct driver *d, uint64_t which)
{
	struct file *f = file_of(d);

	lock_set(f->fd, F_SETLK, F_UNLCK, holder_base + (off_t)which);
	return lock_set(f->fd, F_OFD_SETLK, F_UNLCK, lock_base + (off_t)which);
}

static int file_lock_range(struct driver *d, uint64_t which, uint64_t n, enum lock_mode mode)
{
	static const short type[] = {[LOCK_NONE] = F_UNLCK, [LOCK_SHARED] = F_RDLCK, [LOCK_EXCLUSIVE] = F_WRLCK};
	struct flock l = {
	        .l_type = type[mode], .l_whence = SEEK_SET, .l_start = lock_base + (off_t)which, .l_len = (off_t)n};
	int err = TEMP_FAILURE_RETRY(fcntl(file_of(d)->fd, F_OFD_SETLK, &l)) ? -errno : 0;

	return err == -EACCES ? -EAGAIN : err;
}

/* By the descriptor: the name may be another file's by now. */
static int file_again(struct driver *d, struct driver **out)
{
	char path[32], why[256];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file_of(d)->fd);
	return spm_driver_file_open(path, 0, out, why);
}

static void file_close(struct driver *d)
{
	struct file *f = file_of(d);

	if (f->direct_fd >= 0)
		close(f->direct_fd);
	close(f->fd);
	free(f);
}

static const struct driver_ops file_ops = {
        .read = file_read,
        .expect = file_expect,
        .write = file_write,
        .write_durable = file_write_durable,
        .flush = file_flush,
        .size = file_size,
        .grow = file_grow,
        .warm = file_warm,
        .lock = file_lock,
        .unlock = file_unlock,
        .lock_range = file_lock_range,
        .again = file_again,
        .close = file_close,
};

static int refuse(int err, char *why, const char *path, const char *what)
{
	snprintf(why, 256, "volume %.150s: %s", path, what ? what : strerror(-err));
	return err;
}

/* The file is open; is it something that can keep the promise? */
static int file_judge(struct file *f, const char *path, char *why)
{
	struct statfs fs;
	struct stat st;

	if (TEMP_FAILURE_RETRY(fstat(f->fd, &st)) || TEMP_FAILURE_RETRY(fstatfs(f->fd, &fs)))
		return refuse(-errno, why, path, NULL);
	f->is_device = S_ISBLK(st.st_mode);
	if (!f->is_device && !S_ISREG(st.st_mode))
		return refuse(-ENOTSUP, why, path, "is neither a regular file nor a block device");
	if ((long)fs.f_type == nfs_magic)
		return refuse(-ENOTSUP, why, path,
		              "lies on NFS, whose locks and flushes can't be trusted; use a local file system");
	return 0;
}

/* On some file systems an open can be interrupted. */
static int open_again(const char *path, int flags)
{
	int fd;

	do
		fd = open(path, flags, 0600);
	while (fd < 0 && errno == EINTR);
	return fd;
}

int spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why)
{
	bool reads = flags & DRIVER_READ_ONLY;
	int mode = (reads ? O_RDONLY : O_RDWR) | (!reads && flags & DRIVER_CREATE ? O_CREAT : 0) | O_CLOEXEC;
	struct file *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return refuse(-ENOMEM, why, path, NULL);
	f->driver.ops = &file_ops;
	f->direct_fd = -1;
	f->fd = open_again(path, mode);
	if (f->fd < 0) {
		err = refuse(-errno, why, path, errno == EROFS ? "lies on a read-only file system" : NULL);
		free(f);
		return err;
	}
	err = file_judge(f, path, why);
	if (err) {
		file_close(&f->driver);
		return err;
	}
	if (!reads)
		f->direct_fd = open_again(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	*out = &f->driver;
	return 0;
}
