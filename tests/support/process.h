/* process.h - parts of a cmocka test in processes of their own, so that the heap, and what SoftPM knows, begin anew. */
#ifndef TEST_PROCESS_H
#define TEST_PROCESS_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Runs fn; the test fails if it does not return 0. */
static inline void in_process(int (*fn)(const char *volume), const char *volume)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(fn(volume));
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the process ended with status 0x%x", status);
}

/* How many times this process has read from files. */
static inline unsigned long process_reads(void)
{
	char text[512] = "";
	int fd = open("/proc/self/io", O_RDONLY);
	const char *at;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return 0;
	close(fd);
	at = strstr(text, "syscr: ");
	return at ? strtoul(at + 7, NULL, 10) : 0;
}

#endif
