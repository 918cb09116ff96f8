/* clone.c - see clone.h. */
#include "snapshot/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_MS = 1000, PATIENCE_S = 600 };

/* Shared with the child. */
struct shared {
	_Atomic uint64_t reads;
};
static struct shared *shared;
static int process_fd = -1; /* of this process: readable when it has ended */
static int pipe_fd = -1; /* one end: the other one, open in this process only, is closed when it ends or calls exec */
static pid_t process;
static bool is_unreadable; /* a clone's memory was refused us (set-user-ID and the like): no more clones */

int spm_clone_prepare(void)
{
	int pipes[2];

	if (is_unreadable)
		return -EPERM;
	if (process == getpid())
		return process_fd < 0 || pipe_fd < 0 ? -ENOSYS : 0;
	if (!shared) {
		void *p = mmap(NULL, SPM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return -ENOMEM;
		shared = p;
	}
	process = getpid();
	process_fd = (int)syscall(SYS_pidfd_open, process, 0);
	if (process_fd < 0)
		return -errno;
	pipe_fd = pipe2(pipes, O_CLOEXEC) ? -1 : pipes[0];
	return pipe_fd < 0 ? -errno : 0;
}

/* All but two. */
static void files_close(unsigned keep, unsigned keep_too)
{
	unsigned low = keep < keep_too ? keep : keep_too, high = keep < keep_too ? keep_too : keep;

	if (low > 0)
		syscall(SYS_close_range, 0, low - 1, 0);
	if (high > low + 1)
		syscall(SYS_close_range, low + 1, high - 1, 0);
	syscall(SYS_close_range, high + 1, ~0u, 0);
}

/* Another thread's memory may be half changed in here: system calls only. */
static void child_main(void)
{
	uint64_t reads = atomic_load(&shared->reads);
	struct pollfd parent[2] = {{process_fd, POLLIN, 0}, {pipe_fd, POLLIN, 0}};

	files_close((unsigned)process_fd, (unsigned)pipe_fd);
	for (unsigned unread_s = 0; unread_s < PATIENCE_S; unread_s++) {
		if (syscall(SYS_poll, parent, 2, LOOK_MS) != 0)
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

	if (prctl(PR_GET_DUMPABLE) != 1)
		return -EPERM; /* then its memory could not be read */
	sigfillset(&all);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
	child = syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (child == 0)
		child_main();
	err = child < 0 ? -errno : 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
	if (!err)
		*c = (struct memory_clone){.child = (pid_t)child};
	return err;
}

static int memory_open(struct memory_clone *c)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", c->child);
	c->memory_fd = open(path, O_RDONLY | O_CLOEXEC);
	c->is_open = c->memory_fd >= 0;
	is_unreadable |= !c->is_open && errno != ENOENT;
	return c->is_open ? 0 : errno == ENOENT ? -ESRCH : -errno;
}

/* By the file, not by process_vm_readv(2): that pins the pages, for which the kernel first makes a copy of each for the child. */
int spm_clone_read(struct memory_clone *c, uint64_t address, size_t bytes, void *to)
{
	int err = c->is_open ? 0 : memory_open(c);

	atomic_fetch_add(&shared->reads, 1);
	for (size_t done = 0; !err && done < bytes;) {
		ssize_t got = pread(c->memory_fd, (char *)to + done, bytes - done, (off_t)(address + done));

		if (got > 0)
			done += (size_t)got;
		else if (!got || errno != EINTR)
			err = got ? -errno : -ESRCH;
	}
	return err;
}

void spm_clone_drop(struct memory_clone *c)
{
	if (!c->child)
		return;
	if (c->is_open)
		close(c->memory_fd);
	kill(c->child, SIGKILL);
	while (waitpid(c->child, NULL, __WALL) < 0 && errno == EINTR)
		;
	*c = (struct memory_clone){0};
}
