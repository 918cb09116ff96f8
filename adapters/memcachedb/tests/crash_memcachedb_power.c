/* crash_memcachedb_power.c - the power goes at any instant of a load, and the server comes up with every acknowledged item.
 *
 * The server runs as it is, with tests/power/record.c preloaded: that writes down each write, flush and growth of the volume, and the time by
 * the ledger's clock when it began. From the record many states of the disk are built (tests/support/sim_driver.h); in each the server is
 * started and must have all that was acknowledged before the operation at which the power went, and nothing that was begun later.
 * On a sample the clients go on from there, and the server is killed once more.
 *
 * $SOFTPM_CRASH_STATES: how many states, 60.
 */
#include "checks.h"
#include "client.h"
#include "ledger.h"
#include "power/record.h"
#include "scratch.h"
#include "sim_driver.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { COMMANDS = 2500 }; /* more would not fit into SIM_BYTES_MOST */

static const char *const options[] = {"-t", "4", "-m", "64", "-f", "2", "-o", "slab_automove=1,hashpower=16", NULL};

/* Shared with the recorder. */
static void clock_start(void)
{
	int fd = open(RECORD_CLOCK, O_RDWR | O_CREAT | O_TRUNC, 0600);
	void *page = MAP_FAILED;

	if (!ftruncate(fd, 4096))
		page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(page != MAP_FAILED);
	close(fd);
	ledger_clock = page;
}

static void load(uint64_t *random)
{
	pid_t server;

	clock_start();
	ledger_large = 600000; /* in chunks */
	ledger_begin(random);
	setenv("SOFTPM_PRELOAD", getenv("SOFTPM_RECORDER"), 1);
	server = server_start("always", options);
	unsetenv("SOFTPM_PRELOAD");
	assert_true(server > 0);
	clients_start();
	ledger_await(COMMANDS);
	server_end(server, SIGTERM);
	clients_join();
}

static void record_read(struct sim_log *log)
{
	FILE *f = fopen(RECORD_LOG, "r");
	struct record r;

	assert_non_null(f);
	while (fread(&r, sizeof(r), 1, f) == 1) {
		struct sim_op op = {r.kind, r.offset, r.bytes, NULL, r.time};

		if (r.kind == SIM_WRITE || r.kind == SIM_WRITE_DURABLE) {
			assert_true(r.offset + r.bytes <= SIM_BYTES_MOST);
			op.data = malloc(r.bytes);
			assert_int_equal(fread(op.data, 1, r.bytes, f), r.bytes);
		}
		log->op = realloc(log->op, (log->ops + 1) * sizeof(*log->op));
		log->op[log->ops++] = op;
	}
	fclose(f);
	log->mark = *ledger_clock;
	assert_true(log->ops > 100);
}

static void volume_write(const unsigned char *bytes, uint64_t size)
{
	int fd = open("cache.vol", O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	close(fd);
}

static pid_t server_check(void)
{
	pid_t server = server_start("always", options);

	assert_true(server > 0);
	ledger_check();
	return server;
}

/* The ledger goes on, too, from what was found. */
static void go_on(pid_t server)
{
	uint64_t enough = ledger_done() + 10 * CLIENTS;

	clients_start();
	ledger_await(enough);
	server_end(server, SIGKILL);
	clients_join();
	server_end(server_check(), SIGKILL);
}

static void state_check(const unsigned char *bytes, uint64_t size, uint64_t time, bool goes_on)
{
	size_t changes[CLIENTS];
	pid_t server;

	volume_write(bytes, size);
	ledger_set_back(time);
	server = server_check();
	if (!goes_on) {
		server_end(server, SIGKILL);
		return;
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		changes[i] = client[i].changes;
	go_on(server);
	for (unsigned i = 0; i < CLIENTS; i++)
		client[i].changes = changes[i];
}

static void crash_check(const struct sim_crash *crash, void *arg)
{
	(void)arg;
	state_check(crash->state, crash->size, crash->mark, crash->number % 16 == 0);
}

static void every_power_cut_leaves_what_was_acknowledged(void **state)
{
	uint64_t random = test_seed();
	struct sim_log log = {.ops = 0};

	(void)state;
	load(&random);
	record_read(&log);
	sim_each_crash(&log, test_number("SOFTPM_CRASH_STATES", 60), random, crash_check, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(every_power_cut_leaves_what_was_acknowledged, folder_new, server_gone)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
