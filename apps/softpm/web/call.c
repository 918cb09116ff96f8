/* call.c - a command of this program, in a process of its own, with its output in a file without a name. */
#include "../tool.h"
#include "web.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALL_MS = 30000, CALL_BYTES = 64 << 20 };

extern char **environ;

/* 0 or an errno; *process is the child. */
static int call_start(const char *const *arguments, int out, int err, pid_t *process)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none;
	int error = posix_spawn_file_actions_init(&actions);

	if (error)
		return error;
	error = posix_spawnattr_init(&attributes);
	if (error) {
		posix_spawn_file_actions_destroy(&actions);
		return error;
	}
	sigemptyset(&none);
	posix_spawnattr_setsigmask(&attributes, &none); /* the server's threads have some blocked */
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	if (posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", 0, 0) ||
	    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO) ||
	    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO))
		error = ENOMEM;
	else
		error = posix_spawn(process, "/proc/self/exe", &actions, &attributes, (char *const *)(void *)arguments,
		                    environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return error;
}

/* Its exit status; -1: none. */
static int call_wait(pid_t process)
{
	struct rlimit most = {CALL_BYTES, CALL_BYTES};
	struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, process, 0), .events = POLLIN};
	int status = 0;

	prlimit(process, RLIMIT_FSIZE, &most, NULL);
	if (end.fd < 0 || poll(&end, 1, CALL_MS) != 1)
		kill(process, SIGKILL);
	if (end.fd >= 0)
		close(end.fd);
	while (waitpid(process, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static size_t length_of(int fd)
{
	struct stat stat;

	return fd >= 0 && !fstat(fd, &stat) ? (size_t)stat.st_size : 0;
}

int web_call(const char *const *arguments, int *fd, size_t *bytes)
{
	int out = memfd_create("softpm-web", MFD_CLOEXEC), err = memfd_create("softpm-web", MFD_CLOEXEC);
	int status = -1;
	bool is_told;
	pid_t process;

	if (out >= 0 && err >= 0 && !call_start(arguments, out, err, &process))
		status = call_wait(process);
	is_told = status == TOOL_OK || (status == TOOL_NO && !length_of(err)); /* that is an answer, not a failure */
	*fd = is_told ? out : err;
	*bytes = length_of(*fd);
	if (out >= 0 && *fd != out)
		close(out);
	if (err >= 0 && *fd != err)
		close(err);
	return is_told ? 0 : -1;
}
