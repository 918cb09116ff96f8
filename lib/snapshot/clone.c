/* clone.c - see clone.h. */
#include "snapshot/clone.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 1000, PATIENCE_S = 10 };

/* Shared with the child. */
struct shared {
	_Atomic uint64_t reads;
};
static struct shared *shared;
static int process_fd = -1; /* of this process: readable when it has ended */
static pid_t process;

int spm_clone_prepare(void)
{
	if (process == getpid())
		return process_fd < 0 ? -ENOSYS : 0;
	if (!shared) {
		void *p = mmap(NULL, SPM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return -ENOMEM;
		shared = p;
	}
	process = getpid();
	process_fd = (int)syscall(SYS_pidfd_open, process, 0);
	return process_fd < 0 ? -errno : 0;
}

/* Another thread's memory may be half changed in here: system calls only. */
static void child_main(void)
{
	uint64_t reads = atomic_load(&shared->reads);
	struct pollfd parent = {process_fd, POLLIN, 0};

	if (process_fd > 0)
		syscall(SYS_close_range, 0, process_fd - 1, 0);
	syscall(SYS_close_range, process_fd + 1, ~0u, 0);
	for (unsigned unread_s = 0; unread_s < PATIENCE_S; unread_s++) {
		if (syscall(SYS_poll, &parent, 1, LOOK_MS) != 0)
			break;
		if (atomic_load(&shared->reads) != reads)
			unread_s = 0;
		reads = atomic_load(&shared->reads);
	}
	for (;;)
		syscall(SYS_exit, 0);
}

int spm_clone_make(struct memory_clone *c)
{
	sigset_t all, before;
	long child;
	int err;

	sigfillset(&all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
	child = syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (child == 0)
		child_main();
	err = child < 0 ? -errno : 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
	if (!err)
		c->child = (pid_t)child;
	return err;
}

static size_t pieces_bytes(const struct iovec *piece, unsigned n)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += piece[i].iov_len;
	return bytes;
}

int spm_clone_read(const struct memory_clone *c, struct iovec *piece, unsigned n, void *to)
{
	struct iovec local = {to, pieces_bytes(piece, n)};

	atomic_fetch_add(&shared->reads, 1);
	while (n) {
		ssize_t got = process_vm_readv(c->child, &local, 1, piece, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EFAULT;
		local.iov_base = (char *)local.iov_base + got;
		local.iov_len -= (size_t)got;
		for (; n && (size_t)got >= piece->iov_len; n--, piece++)
			got -= (ssize_t)piece->iov_len;
		if (n) {
			piece->iov_base = (char *)piece->iov_base + got;
			piece->iov_len -= (size_t)got;
		}
	}
	return 0;
}

void spm_clone_drop(struct memory_clone *c)
{
	if (!c->child)
		return;
	kill(c->child, SIGKILL);
	while (waitpid(c->child, NULL, __WALL) < 0 && errno == EINTR)
		;
	c->child = 0;
}
