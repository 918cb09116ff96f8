/* progress.c - on a terminal, how far long work has come: a line on standard error that is gone when the work is done. What the work
 * reads of the volume is what the process reads, as the kernel counts it. */
#include "tool.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 200 };

static pthread_t painter;
static sem_t done;
static const char *work_name;
static bool is_painting, has_line;

static uint64_t bytes_read(void)
{
	FILE *f = fopen("/proc/self/io", "r");
	unsigned long long bytes = 0;

	if (f && fscanf(f, "rchar: %llu", &bytes) != 1)
		bytes = 0;
	if (f)
		fclose(f);
	return bytes;
}

static bool is_done_after(unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return !sem_timedwait(&done, &until);
}

static void *paint(void *arg)
{
	uint64_t before = bytes_read();

	(void)arg;
	do
		fprintf(stderr, "\r\033[K%s: %.0f MiB read", work_name, (double)(bytes_read() - before) / 1048576);
	while (!is_done_after(STEP_MS));
	fputs("\r\033[K", stderr);
	return NULL;
}

void progress_begin(const char *what)
{
	work_name = what;
	is_painting = isatty(STDERR_FILENO) && !sem_init(&done, 0, 0) && !pthread_create(&painter, NULL, paint, NULL);
}

void progress_clear(void)
{
	if (is_painting || has_line)
		fputs("\r\033[K", stderr);
	has_line = false;
}

/* Not more often than anybody can read. */
static bool is_time(void)
{
	static struct timespec last;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - last.tv_sec) * 1000 + (now.tv_nsec - last.tv_nsec) / 1000000 < STEP_MS)
		return false;
	last = now;
	return true;
}

void progress_line(const char *format, ...)
{
	va_list args;

	if (!isatty(STDERR_FILENO) || !is_time())
		return;
	fputs("\r\033[K", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	has_line = true;
}

void progress_end(void)
{
	if (!is_painting)
		return;
	sem_post(&done);
	pthread_join(painter, NULL);
	sem_destroy(&done);
	is_painting = false;
}
