/* port.c - options, start, restore, end. */
#include "adapter.h"

#include <errno.h>
#include <limits.h>
#include <softpm.h>
#include <stdlib.h>
#include <string.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

static const char *const anew = "MEMCACHEDB_ANEW"; /* in the environment: the process */

struct port spm_port;
/* Who ends this process, or lets it begin anew, holds it, for good. */
static pthread_mutex_t ending = PTHREAD_MUTEX_INITIALIZER;
static bool is_stopping; /* main waits for it; atomic */
static struct {
	bool is; /* the volume is closed */
	int result;
} stopped;

void spm_port_die(const char *what)
{
	int error = errno;

	fprintf(stderr, "memcachedb: %s: %s\n", what, *pErrorMsg() ? pErrorMsg() : strerror(error));
	exit(EX_SOFTWARE);
}

static int sync_parse(const char *value)
{
	char *end;
	long ms;

	if (!strcmp(value, "always"))
		return SYNC_ALWAYS;
	if (!strcmp(value, "off"))
		return SYNC_OFF;
	ms = strtol(value, &end, 10);
	if (*value && !*end && ms > 0 && ms <= INT_MAX)
		return (int)ms;
	fprintf(stderr, "memcachedb: softpm_sync=%s: always, off, or a number of milliseconds\n", value);
	exit(EX_USAGE);
}

bool spm_port_option(const char *option)
{
	if (!option)
		return false;
	if (spm_bdb_option(option))
		return true;
	if (!strncmp(option, "softpm=", 7) && option[7])
		spm_port.volume = strdup(option + 7);
	else if (!strncmp(option, "softpm_sync=", 12))
		spm_port.sync = sync_parse(option + 12);
	else if (!strncmp(option, "softpm", 6)) {
		fprintf(stderr, "memcachedb: -o %s: there are softpm=VOLUME and softpm_sync=always|MS|off\n", option);
		exit(EX_USAGE);
	} else
		return false;
	return true;
}

bool spm_port_is_restored(void)
{
	return spm_port.is_restored;
}

void spm_port_open(bool has_other_memory)
{
	void *root;

	spm_bdb_open();
	if (!spm_port.volume)
		return;
	if (spm_bdb_is_on()) {
		fprintf(stderr, "memcachedb: either -o softpm or -o bdb\n");
		exit(EX_USAGE);
	}
	if (has_other_memory) {
		fprintf(stderr, "memcachedb: -o softpm goes neither with -L, nor -e, nor ext_path\n");
		exit(EX_USAGE);
	}
	prctl(PR_SET_DUMPABLE, 1); /* after -u the process could not read its own page map in /proc */
	if (pVOpen(spm_port.volume))
		spm_port_die(spm_port.volume);
	spm_port.id = pCRestore(CACHE_MAGIC, &root);
	if (!spm_port.id && errno != ENOENT)
		spm_port_die(spm_port.volume);
	spm_port.is_restored = spm_port.id != 0;
	if (spm_port.id)
		spm_keep_restore(root);
	else
		spm_keep_new();
}

void spm_port_start(void)
{
	if (!spm_port.volume)
		return;
	if (spm_port.is_restored)
		spm_keep_restore_stats();
	if (spm_points_start())
		spm_port_die(spm_port.volume);
}

bool spm_port_is_anew(void)
{
	const char *process = getenv(anew);

	return process && atoi(process) == getpid();
}

static int stop(void)
{
	int failed = spm_points_stop();

	if (failed)
		fprintf(stderr, "memcachedb: %s: %s\n", spm_port.volume, pErrorMsg());
	return pVClose() || failed ? -1 : 0; /* the cache's memory goes with the volume: nobody is let in any more */
}

int spm_port_stop(void)
{
	if (!spm_port.volume)
		return spm_bdb_stop();
	__atomic_store_n(&is_stopping, true, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&ending);
	return stopped.is ? stopped.result : stop();
}

bool spm_port_end_begin(void)
{
	return !pthread_mutex_trylock(&ending);
}

void spm_port_end_cancel(void)
{
	pthread_mutex_unlock(&ending);
}

/* As the process was started. */
static char **arguments(void)
{
	static char text[1 << 16], *argv[1024];
	FILE *f = fopen("/proc/self/cmdline", "re");
	size_t bytes = f ? fread(text, 1, sizeof(text) - 2, f) : 0, n = 0;

	if (f)
		fclose(f);
	for (char *at = text; at < text + bytes && n < 1023; at += strlen(at) + 1)
		argv[n++] = at;
	return argv;
}

void spm_port_restart(void)
{
	char process[20];

	stopped.result = stop();
	stopped.is = true;
	if (__atomic_load_n(&is_stopping, __ATOMIC_SEQ_CST)) { /* main has waited for this */
		pthread_mutex_unlock(&ending);
		for (;;)
			pause();
	}
	snprintf(process, sizeof(process), "%d", getpid());
	setenv(anew, process, 1);
	close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
	execv("/proc/self/exe", arguments());
	spm_port_die("/proc/self/exe");
}
