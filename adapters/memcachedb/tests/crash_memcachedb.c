/* crash_memcachedb.c - the server is killed while sixteen clients change its cache (ledger.h): nothing acknowledged is lost. */
#include "checks.h"
#include "client.h"
#include "ledger.h"
#include "scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

static void round_run(uint64_t *random)
{
	static const char *const options[] = {"-t", "4", "-m", "256", "-o", "slab_automove=1,hashpower=16", NULL};
	bool is_gentle = test_random(random) % 8 == 0;
	uint64_t enough = ledger_done() + CLIENTS + 1;
	pid_t server = server_start("always", options);

	assert_true(server > 0);
	ledger_check();
	clients_start();
	usleep(20000 + (useconds_t)(test_random(random) % 150000));
	ledger_await(enough);
	server_end(server, is_gentle ? SIGTERM : SIGKILL);
	clients_join();
}

static void nothing_acknowledged_is_lost(void **state)
{
	uint64_t kills = test_number("SOFTPM_KILLS", 50), random = test_seed(), done;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	ledger_begin(&random);
	for (uint64_t i = 0; i < kills; i++)
		round_run(&random);
	done = ledger_done();
	printf("%llu commands acknowledged, %llu kills\n", (unsigned long long)done, (unsigned long long)kills);
	assert_true(done > kills * CLIENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(nothing_acknowledged_is_lost, folder_new, server_gone)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
