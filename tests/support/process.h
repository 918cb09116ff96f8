/* process.h - parts of a cmocka test in processes of their own, so that the heap, and what SoftPM knows, begin anew. */
#ifndef TEST_PROCESS_H
#define TEST_PROCESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

#endif
