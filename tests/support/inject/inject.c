/* inject.c - see inject.h. */
#include "inject.h"
#include "volume/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum { DESCRIPTORS = 1024 };

static _Atomic int kind, error_to_give;
static _Atomic uint64_t from, to, calls;
static char *where; /* shared with the children, so that it is known of one that died */
static const char *_Atomic volume;
static _Atomic bool is_volume[DESCRIPTORS];
static _Atomic long file_system;
static unsigned volume_flags;

void *__real_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset);

void inject_start(enum inject_kind k, int error, uint64_t nth, uint64_t until)
{
	error_to_give = error;
	from = nth;
	to = until > nth ? until : nth;
	calls = 0;
	if (!where)
		where = __real_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	*where = 0;
	kind = (int)k;
}

bool inject_stop(void)
{
	kind = INJECT_NOTHING;
	return *where != 0;
}

const char *inject_where(void)
{
	return where;
}

void inject_volume(const char *path)
{
	volume = path;
}

void inject_file_system(long magic)
{
	file_system = magic;
}

void inject_volume_flags(unsigned flags)
{
	volume_flags = flags;
}

/* One call: is it to be tampered with? */
static bool is_chosen(const char *name)
{
	uint64_t n = atomic_fetch_add(&calls, 1) + 1;

	if (n < from || n > to)
		return false;
	if (!*where)
		strncpy(where, name, 100);
	return true;
}

static bool is_ours(int fd)
{
	return fd >= 0 && fd < DESCRIPTORS && is_volume[fd];
}

/* By the name of a descriptor. */
static bool is_ours_again(const char *path)
{
	static const char descriptors[] = "/proc/self/fd/";

	return !strncmp(path, descriptors, sizeof(descriptors) - 1) && is_ours(atoi(path + sizeof(descriptors) - 1));
}

/* Sets errno if the call is to fail. */
static bool io_fails(int fd, const char *name, bool needs_room)
{
	if (!is_ours(fd) || !(kind == INJECT_IO || kind == INJECT_KILL || (kind == INJECT_WRITE && needs_room)) ||
	    !is_chosen(name))
		return false;
	if (kind == INJECT_KILL)
		kill(getpid(), SIGKILL);
	errno = error_to_give;
	return true;
}

/* How much of `bytes` a call is to do: an odd number in the midst, so that nothing stays aligned. */
static size_t io_bytes(int fd, const char *name, size_t bytes)
{
	return is_ours(fd) && kind == INJECT_SHORT && bytes > 1 && is_chosen(name) ? (bytes / 2) | 1 : bytes;
}

static bool allocation_fails(const char *name, bool is_of_kind)
{
	if (!is_of_kind || !is_chosen(name))
		return false;
	errno = ENOMEM;
	return true;
}

static bool memory_fails(const char *name)
{
	return allocation_fails(name, kind == INJECT_MEMORY);
}

static bool malloc_fails(const char *name)
{
	return allocation_fails(name, kind == INJECT_MEMORY || kind == INJECT_HEAP);
}

static bool heap_fails(const char *name)
{
	return allocation_fails(name, kind == INJECT_HEAP);
}

/* The linker makes __wrap_NAME what the library calls NAME, and __real_NAME the function itself. */
#define WRAP(type, name, ...)                                                                                          \
	type __real_##name(__VA_ARGS__);                                                                               \
	type __wrap_##name(__VA_ARGS__);                                                                               \
	type __wrap_##name(__VA_ARGS__)

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wreserved-identifier"
#endif

WRAP(int, open, const char *path, int flags, ...)
{
	const char *v = volume;
	bool is_the_volume = v && (!strcmp(path, v) || is_ours_again(path));
	va_list args;
	mode_t mode;
	int fd;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (is_the_volume && kind == INJECT_IO && is_chosen("open")) {
		errno = error_to_give;
		return -1;
	}
	fd = __real_open(path, flags, mode);
	if (fd >= 0 && fd < DESCRIPTORS)
		is_volume[fd] = is_the_volume;
	return fd;
}

WRAP(int, close, int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		is_volume[fd] = false;
	return __real_close(fd);
}

WRAP(ssize_t, pread, int fd, void *buffer, size_t bytes, off_t at)
{
	if (io_fails(fd, "pread", false))
		return -1;
	return __real_pread(fd, buffer, io_bytes(fd, "pread", bytes), at);
}

WRAP(ssize_t, pwritev2, int fd, const struct iovec *piece, int pieces, off_t at, int flags)
{
	struct iovec less = *piece;
	size_t bytes;
	ssize_t n;

	if (io_fails(fd, "pwritev2", true))
		return -1;
	bytes = pieces == 1 ? io_bytes(fd, "pwritev2", piece->iov_len) : piece->iov_len;
	if (pieces != 1 || bytes == piece->iov_len)
		return __real_pwritev2(fd, piece, pieces, at, flags);
	/* O_DIRECT takes whole blocks only: the rest of `bytes` is claimed but not done, so who goes on there and not
	 * at the block's start loses it. */
	less.iov_len = bytes & ~(size_t)4095;
	n = less.iov_len ? __real_pwritev2(fd, &less, 1, at, flags) : 0;
	return n < 0 ? n : (ssize_t)bytes;
}

WRAP(int, fdatasync, int fd)
{
	return io_fails(fd, "fdatasync", true) ? -1 : __real_fdatasync(fd);
}

WRAP(int, fstat, int fd, struct stat *st)
{
	return io_fails(fd, "fstat", false) ? -1 : __real_fstat(fd, st);
}

WRAP(int, fstatfs, int fd, struct statfs *fs)
{
	int result = io_fails(fd, "fstatfs", false) ? -1 : __real_fstatfs(fd, fs);

	if (!result && is_ours(fd) && file_system)
		fs->f_type = file_system;
	return result;
}

WRAP(int, fcntl, int fd, int command, ...)
{
	va_list args;
	void *arg;

	va_start(args, command);
	arg = va_arg(args, void *);
	va_end(args);
	return io_fails(fd, "fcntl", false) ? -1 : __real_fcntl(fd, command, arg);
}

WRAP(int, ioctl, int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	return io_fails(fd, "ioctl", false) ? -1 : __real_ioctl(fd, request, arg);
}

WRAP(void *, malloc, size_t bytes)
{
	return malloc_fails("malloc") ? NULL : __real_malloc(bytes);
}

WRAP(void *, calloc, size_t n, size_t bytes)
{
	return malloc_fails("calloc") ? NULL : __real_calloc(n, bytes);
}

WRAP(void *, realloc, void *p, size_t bytes)
{
	return malloc_fails("realloc") ? NULL : __real_realloc(p, bytes);
}

WRAP(void *, aligned_alloc, size_t align, size_t bytes)
{
	return malloc_fails("aligned_alloc") ? NULL : __real_aligned_alloc(align, bytes);
}

WRAP(void *, pMalloc, size_t bytes)
{
	return heap_fails("pMalloc") ? NULL : __real_pMalloc(bytes);
}

WRAP(void *, pMallocNoPtr, size_t bytes)
{
	return heap_fails("pMallocNoPtr") ? NULL : __real_pMallocNoPtr(bytes);
}

WRAP(void *, pCalloc, size_t n, size_t bytes)
{
	return heap_fails("pCalloc") ? NULL : __real_pCalloc(n, bytes);
}

WRAP(void *, pRealloc, void *p, size_t bytes)
{
	return heap_fails("pRealloc") ? NULL : __real_pRealloc(p, bytes);
}

WRAP(void *, pAlignedAlloc, size_t align, size_t bytes)
{
	return heap_fails("pAlignedAlloc") ? NULL : __real_pAlignedAlloc(align, bytes);
}

WRAP(char *, pStrdup, const char *s)
{
	return heap_fails("pStrdup") ? NULL : __real_pStrdup(s);
}

WRAP(void *, mmap, void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	return memory_fails("mmap") ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, fd, offset);
}

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	return memory_fails("pthread_create") ? EAGAIN : __real_pthread_create(thread, attr, fn, arg);
}

WRAP(int, spm_volume_open, struct driver *driver, unsigned flags, struct volume **out)
{
	return __real_spm_volume_open(driver, flags | volume_flags, out);
}
