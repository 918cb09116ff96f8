/* order.c - tells ThreadSanitizer what the kernel sees to: a descriptor that was closed comes back from a later accept only. memcached keeps its
 * connections by their descriptors, so what one thread wrote of a connection that it closed comes before what another makes of it anew. Linked into
 * the server with --wrap.
 */
#include <sys/socket.h>

enum { DESCRIPTORS = 65536 };

void __tsan_acquire(void *address);
void __tsan_release(void *address);
int __real_close(int fd);
int __real_accept(int fd, struct sockaddr *from, socklen_t *bytes);
int __real_accept4(int fd, struct sockaddr *from, socklen_t *bytes, int flags);
int __wrap_close(int fd);
int __wrap_accept(int fd, struct sockaddr *from, socklen_t *bytes);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *bytes, int flags);

static char place[DESCRIPTORS];

static int accepted(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		__tsan_acquire(&place[fd]);
	return fd;
}

int __wrap_close(int fd)
{
	if (fd >= 0 && fd < DESCRIPTORS)
		__tsan_release(&place[fd]);
	return __real_close(fd);
}

int __wrap_accept(int fd, struct sockaddr *from, socklen_t *bytes)
{
	return accepted(__real_accept(fd, from, bytes));
}

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *bytes, int flags)
{
	return accepted(__real_accept4(fd, from, bytes, flags));
}
