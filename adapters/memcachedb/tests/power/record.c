/* record.c - preloaded into a server: writes down what it does to the volume cache.vol, in the order of which it is done.
 *
 * Operations are done one after the other, each after it was written down, so that one which is in the record without having been done can
 * only be the last. Zeros that make grown space fast are writes like others.
 */
#include "record.h"
#include "sim_driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

static struct {
	pthread_mutex_t lock;
	int fd;
	const _Atomic uint64_t *time;
	ssize_t (*pwritev2)(int, const struct iovec *, int, off_t, int);
	int (*fdatasync)(int);
	int (*fallocate)(int, int, off_t, off_t);
} recorder = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The test makes the folder, and is in it. */
__attribute__((constructor)) static void start(void)
{
	int clock = open(RECORD_CLOCK, O_RDWR | O_CLOEXEC);

	recorder.fd = open(RECORD_LOG, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	recorder.time = mmap(NULL, 4096, PROT_READ, MAP_SHARED, clock, 0);
	recorder.pwritev2 = dlsym(RTLD_NEXT, "pwritev2");
	recorder.fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	recorder.fallocate = dlsym(RTLD_NEXT, "fallocate");
	if (clock < 0 || recorder.fd < 0 || recorder.time == MAP_FAILED || !recorder.pwritev2)
		abort();
	close(clock);
}

static bool is_volume(int fd)
{
	struct stat this, volume;

	return !fstat(fd, &this) && !stat("cache.vol", &volume) && this.st_ino == volume.st_ino &&
	       this.st_dev == volume.st_dev;
}

static void put(enum sim_kind kind, off_t offset, const void *data, size_t bytes)
{
	struct record r = {.kind = kind, .offset = (uint64_t)offset, .bytes = bytes, .time = *recorder.time};

	if (write(recorder.fd, &r, sizeof(r)) != sizeof(r) ||
	    (data && write(recorder.fd, data, bytes) != (ssize_t)bytes))
		abort();
}

ssize_t pwritev2(int fd, const struct iovec *piece, int pieces, off_t offset, int flags)
{
	ssize_t n;

	if (!is_volume(fd))
		return recorder.pwritev2(fd, piece, pieces, offset, flags);
	if (pieces != 1)
		abort();
	pthread_mutex_lock(&recorder.lock);
	put(flags & RWF_DSYNC ? SIM_WRITE_DURABLE : SIM_WRITE, offset, piece->iov_base, piece->iov_len);
	n = recorder.pwritev2(fd, piece, pieces, offset, flags);
	if (n != (ssize_t)piece->iov_len)
		abort();
	pthread_mutex_unlock(&recorder.lock);
	return n;
}

int fdatasync(int fd)
{
	int failed;

	if (!is_volume(fd))
		return recorder.fdatasync(fd);
	pthread_mutex_lock(&recorder.lock);
	put(SIM_FLUSH, 0, NULL, 0);
	failed = recorder.fdatasync(fd);
	pthread_mutex_unlock(&recorder.lock);
	return failed;
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
	int failed;

	if (!is_volume(fd))
		return recorder.fallocate(fd, mode, offset, bytes);
	if (mode)
		abort();
	pthread_mutex_lock(&recorder.lock);
	put(SIM_GROW, offset + bytes, NULL, 0);
	failed = recorder.fallocate(fd, mode, offset, bytes);
	pthread_mutex_unlock(&recorder.lock);
	return failed;
}
