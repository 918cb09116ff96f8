/* test_memcachedb_switch.c - softpm switch: the process goes on from another branch. */
#include "checks.h"
#include "client.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS = 24, ROUNDS = 15 };

static void a_server_goes_on_from_another_branch(void **state)
{
	pid_t server = server_start("always", none);
	FILE *f = client_open();

	(void)state;
	set(f, "a", "1", "STORED");
	tell(f, "softpm branch other", "OK");
	set(f, "a", "2", "STORED");
	tell(f, "softpm switch nothing", "CLIENT_ERROR");
	tell(f, "softpm switch other", "OK");
	f = open_again(f);
	value_check(f, "a", "1");
	set(f, "a", "3", "STORED");
	tell(f, "softpm switch main", "OK");
	f = open_again(f);
	value_check(f, "a", "2");
	tell(f, "softpm switch other", "OK");
	f = open_again(f);
	value_check(f, "a", "3");
	assert_int_equal(waitpid(server, NULL, WNOHANG), 0);
	server = restart(server, SIGKILL, "always", &f);
	value_check(f, "a", "3");
	fclose(f);
	server_end(server, SIGTERM);
}

/* One of them is obeyed, and the other one is, or is told that it can't be, or its connection is closed. */
static void of_two_switches_one_is_obeyed(void **state)
{
	pid_t server = server_start("always", none);
	FILE *f = client_open();

	(void)state;
	tell(f, "softpm branch other", "OK");
	for (int i = 0; i < ROUNDS; i++) {
		FILE *one = client_open(), *two = client_open();
		char line[LINE_MOST], value[20];

		snprintf(value, sizeof(value), "%d", i);
		set(f, "a", value, "STORED");
		assert_true(client_send(one, NULL, 0, "softpm switch main") &&
		            client_send(two, NULL, 0, "softpm switch main"));
		if (client_line(one, line) && strcmp(line, "OK"))
			assert_string_equal(line,
			                    "SERVER_ERROR the server is about to end, or to go on from another branch");
		fclose(one);
		fclose(two);
		f = open_again(f);
		value_check(f, "a", value);
	}
	fclose(f);
	assert_int_equal(waitpid(server, NULL, WNOHANG), 0);
	server_end(server, SIGTERM);
}

/* Each client sets its key to the round's number; what is there afterwards without having been acknowledged was not answered. */
static void round_of_sets(FILE *const client[CLIENTS], int round, bool is_acknowledged[CLIENTS])
{
	for (int i = 0; i < CLIENTS; i++)
		assert_true(client_send(client[i], NULL, 0, "set key%d 0 0 2\r\n%02d", i, round));
	for (int i = 0; i < CLIENTS; i++) {
		char line[LINE_MOST];

		is_acknowledged[i] = client_line(client[i], line) && !strcmp(line, "STORED");
		fclose(client[i]);
	}
}

static void clients_are_answered_before_a_switch(void **state)
{
	pid_t server = server_start("always", none);
	FILE *f = client_open();

	(void)state;
	for (int round = 10; round < 10 + ROUNDS; round++) {
		FILE *client[CLIENTS], *admin = client_open();
		bool is_acknowledged[CLIENTS];
		char line[LINE_MOST];

		for (int i = 0; i < CLIENTS; i++)
			client[i] = client_open();
		assert_true(client_send(admin, NULL, 0, "softpm switch main"));
		round_of_sets(client, round, is_acknowledged);
		assert_true(client_line(admin, line) && !strcmp(line, "OK"));
		fclose(admin);
		f = open_again(f);
		for (int i = 0; i < CLIENTS; i++) {
			size_t bytes;
			char key[20], *value;

			snprintf(key, sizeof(key), "key%d", i);
			value = client_get(f, key, &bytes, NULL);
			if ((value && atoi(value) == round) != is_acknowledged[i])
				fail_msg("round %d: %s is %.2s, and was%s acknowledged", round, key,
				         value ? value : "none", is_acknowledged[i] ? "" : " not");
			free(value);
		}
	}
	fclose(f);
	server_end(server, SIGTERM);
}

static void a_daemon_stays_the_same_process(void **state)
{
	static const char *const daemon[] = {"-d", "-r", NULL};
	pid_t starter = server_spawn("always", daemon), server;
	FILE *f = NULL;

	(void)state;
	assert_int_equal(waitpid(starter, NULL, 0), starter);
	for (int tries = 0; !f && tries < 1000; tries++) {
		usleep(10000);
		f = client_open();
	}
	assert_non_null(f);
	server = (pid_t)client_stat(f, "", "pid");
	server_is_daemon(server);
	tell(f, "softpm switch main", "OK");
	f = open_again(f);
	assert_int_equal(client_stat(f, "", "pid"), server);
	fclose(f);
}

/* What would not come up is not switched to. */
static void a_branch_that_needs_more_memory_is_refused(void **state)
{
	static const char *const larger[] = {"-m", "128", NULL};
	pid_t server = server_start("always", none);
	FILE *f = client_open();
	char command[1000];

	(void)state;
	tell(f, "softpm branch small", "OK");
	server = restart_with(server, SIGTERM, "always", larger, &f);
	fclose(f);
	server_end(server, SIGTERM);
	snprintf(command, sizeof(command), "%s/softpm -v cache.vol switch 11211 small", getenv("SOFTPM_BUILD"));
	assert_int_equal(system(command), 0);
	server = server_start("always", none);
	f = client_open();
	tell(f, "softpm switch main", "CLIENT_ERROR the cache in cache.vol has a limit of 128 MiB");
	set(f, "a", "1", "STORED");
	tell(f, "softpm switch small", "OK");
	f = open_again(f);
	value_check(f, "a", "1");
	fclose(f);
	server_end(server, SIGTERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(a_server_goes_on_from_another_branch, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(of_two_switches_one_is_obeyed, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(clients_are_answered_before_a_switch, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(a_daemon_stays_the_same_process, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(a_branch_that_needs_more_memory_is_refused, folder_new, server_gone),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
