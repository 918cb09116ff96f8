#include "client.h"
#include "scratch.h"

#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <libgen.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t left, daemon_left;

void server_folder(void)
{
	const char *base = getenv("TMPDIR");
	char *absolute = realpath(base ? base : ".", NULL);
	static bool is_there;

	if (!is_there && (setenv("TMPDIR", absolute, 1) || chdir(dirname(strdupa(scratch("."))))))
		abort();
	is_there = true;
	free(absolute);
	unlink("cache.vol");
	unlink("socket");
}

static void server_exec(const char *sync, const char *const *options)
{
	char softpm[100];
	const char *argv[40] = {getenv("SOFTPM_MEMCACHEDB"), "-u", "root", "-U", "0", "-s", "socket", "-o", softpm};
	unsigned n = sync ? 9 : 7;

	if (sync)
		snprintf(softpm, sizeof(softpm), "softpm=cache.vol,softpm_sync=%s", sync);
	else
		argv[n] = NULL;
	for (; *options && n < 39; options++)
		argv[n++] = *options;
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

pid_t server_spawn(const char *sync, const char *const *options)
{
	pid_t parent = getpid();

	left = fork();
	if (!left) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getenv("SOFTPM_PRELOAD"))
			setenv("LD_PRELOAD", getenv("SOFTPM_PRELOAD"), 1);
		if (getppid() != parent)
			_exit(127);
		server_exec(sync, options);
	}
	return left;
}

void server_is_daemon(pid_t server)
{
	daemon_left = server;
}

void server_kill_left(void)
{
	if (left > 0 && !waitpid(left, NULL, WNOHANG))
		server_end(left, SIGKILL);
	if (daemon_left > 0)
		kill(daemon_left, SIGKILL);
	left = daemon_left = 0;
}

pid_t server_start(const char *sync, const char *const *options)
{
	pid_t server = server_spawn(sync, options);
	FILE *f = NULL;

	while (!f) {
		if (waitpid(server, NULL, WNOHANG) == server)
			return 0;
		f = client_open();
		if (!f)
			usleep(2000);
	}
	fclose(f);
	return server;
}

int server_end(pid_t server, int signal)
{
	int status = -1;

	left = 0;
	kill(server, signal);
	waitpid(server, &status, 0);
	return status;
}

FILE *client_connect(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!connect(fd, (struct sockaddr *)&at, sizeof(at)))
		return fdopen(fd, "r+");
	close(fd);
	return NULL;
}

FILE *client_open(void)
{
	char line[LINE_MOST];
	FILE *f = client_connect();

	if (!f)
		return NULL;
	if (client_send(f, NULL, 0, "version") && client_line(f, line))
		return f;
	fclose(f);
	return NULL;
}

bool client_send(FILE *f, const void *data, size_t bytes, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	fputs("\r\n", f);
	if (data) {
		fwrite(data, 1, bytes, f);
		fputs("\r\n", f);
	}
	return !fflush(f);
}

bool client_line(FILE *f, char line[LINE_MOST])
{
	if (!fgets(line, LINE_MOST, f))
		return false;
	line[strcspn(line, "\r\n")] = 0;
	return true;
}

char *client_get(FILE *f, const char *key, size_t *bytes, unsigned long long *cas)
{
	char line[LINE_MOST], *value;
	unsigned long long unique = 0;

	*bytes = 1;
	if (!client_send(f, NULL, 0, "gets %s", key) || !client_line(f, line))
		return NULL;
	if (sscanf(line, "VALUE %*s %*u %zu %llu", bytes, &unique) != 2) {
		*bytes = strcmp(line, "END") != 0;
		return NULL;
	}
	if (cas)
		*cas = unique;
	value = malloc(*bytes + 2);
	if (fread(value, 1, *bytes + 2, f) == *bytes + 2 && client_line(f, line))
		return value;
	free(value);
	*bytes = 1;
	return NULL;
}

long long client_stat(FILE *f, const char *which, const char *name)
{
	char line[LINE_MOST], prefix[100];
	long long value = -1;

	snprintf(prefix, sizeof(prefix), "STAT %s ", name);
	if (!client_send(f, NULL, 0, *which ? "stats %s" : "stats", which))
		return -1;
	while (client_line(f, line) && strcmp(line, "END"))
		if (!strncmp(line, prefix, strlen(prefix)))
			value = atoll(line + strlen(prefix));
	return value;
}
