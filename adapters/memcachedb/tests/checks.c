#include "checks.h"
#include "client.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const char *const none[] = {NULL};

int folder_new(void **state)
{
	(void)state;
	server_folder();
	return 0;
}

int server_gone(void **state)
{
	(void)state;
	server_kill_left();
	return 0;
}

void tell(FILE *f, const char *command, const char *expected)
{
	char line[LINE_MOST];

	assert_true(client_send(f, NULL, 0, "%s", command));
	assert_true(client_line(f, line));
	if (strncmp(line, expected, strlen(expected)))
		fail_msg("%s: expected %s, got %s", command, expected, line);
}

void set(FILE *f, const char *key, const char *value, const char *expected)
{
	char command[2000];

	snprintf(command, sizeof(command), "set %s 5 0 %zu\r\n%s", key, strlen(value), value);
	tell(f, command, expected);
}

void value_check(FILE *f, const char *key, const char *expected)
{
	size_t bytes;
	char *value = client_get(f, key, &bytes, NULL);

	if (!value || !expected) {
		assert_true(!value && !expected);
		return;
	}
	assert_int_equal(bytes, strlen(expected));
	assert_memory_equal(value, expected, bytes);
	free(value);
}

pid_t restart_with(pid_t server, int signal, const char *sync, const char *const *options, FILE **f)
{
	if (*f)
		fclose(*f);
	server_end(server, signal);
	server = server_start(sync, options);
	assert_true(server > 0);
	*f = client_open();
	assert_non_null(*f);
	return server;
}

pid_t restart(pid_t server, int signal, const char *sync, FILE **f)
{
	return restart_with(server, signal, sync, none, f);
}

void gone_await(FILE *f, const char *key)
{
	char *value;
	size_t bytes;

	for (unsigned tries = 0; (value = client_get(f, key, &bytes, NULL)) && tries < 600; tries++) {
		free(value);
		usleep(100000);
	}
	assert_null(value);
}

void points_await(FILE *f)
{
	long long until = client_stat(f, "softpm", "softpm_points") + 2;

	for (unsigned tries = 0; client_stat(f, "softpm", "softpm_points") < until; tries++) {
		assert_true(tries < 6000);
		usleep(10000);
	}
}

FILE *open_again(FILE *f)
{
	char line[LINE_MOST];

	assert_false(client_line(f, line));
	fclose(f);
	for (int tries = 0; tries < 1000; tries++) {
		f = client_open();
		if (f)
			return f;
		usleep(10000);
	}
	fail_msg("the server does not come back");
	return NULL;
}

void is_refused(const char *const *options, const char *why)
{
	int fd = open("said", O_CREAT | O_RDWR | O_TRUNC, 0600), err = dup(2), status;
	char said[3000] = "";
	pid_t server;

	dup2(fd, 2);
	server = server_spawn("always", options);
	dup2(err, 2);
	close(err);
	assert_int_equal(waitpid(server, &status, 0), server);
	assert_true(pread(fd, said, sizeof(said) - 1, 0) >= 0);
	close(fd);
	if (!WIFEXITED(status) || !WEXITSTATUS(status) || !strstr(said, why))
		fail_msg("ended by %d, expected %s, said %s", status, why, said);
}
