/* crash_memcachedb.c - the server is killed while sixteen clients change its cache: what was acknowledged is there, nothing deleted comes
 * back, no value is torn, and the server's own lists agree.
 *
 * Each client has keys of its own and a ledger of what they must hold; of the command under way at the kill both outcomes are right.
 */
#include "checks.h"
#include "client.h"
#include "scratch.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS = 16, KEYS = 40, SMALL = 3000, LARGE = 700000 };

struct value {
	enum { GONE, BYTES, COUNT } kind;
	uint64_t seed; /* of the bytes; or the count */
	size_t bytes;
};
struct client {
	unsigned number;
	uint64_t random;
	struct value now[KEYS], next[KEYS]; /* acknowledged; and what the command under way makes of it */
	bool is_under_way[KEYS];
	_Atomic uint64_t done;
	pthread_t thread;
	char fault[300];
};
static struct client client[CLIENTS];

static void fill(char *to, const struct value *v)
{
	uint64_t seed = v->seed;

	for (size_t i = 0; i < v->bytes; i++)
		to[i] = (char)('a' + (seed + i * (seed % 7 + 1)) % 26);
}

static void fault(struct client *c, unsigned key, const char *what)
{
	if (!*c->fault)
		snprintf(c->fault, sizeof(c->fault), "client %u, key %u: %s", c->number, key, what);
}

/* Sends it, and takes the reply: 1: it was the one expected; 0: the connection is gone. */
static int command(struct client *c, FILE *f, unsigned key, const char *expected, const void *data, size_t bytes,
                   const char *text)
{
	char line[LINE_MOST];

	if (!client_send(f, data, bytes, "%s", text) || !client_line(f, line))
		return 0;
	if (strncmp(line, expected, strlen(expected))) {
		char what[200];

		snprintf(what, sizeof(what), "%.60s: %.100s", text, line);
		fault(c, key, what);
		return 0;
	}
	return 1;
}

static int store(struct client *c, FILE *f, unsigned key, const char *name, bool with_cas)
{
	struct value *next = &c->next[key];
	uint64_t r = test_random(&c->random);
	unsigned long long cas = 0;
	char text[200], *data;
	size_t bytes;
	int ok;

	if (with_cas) {
		data = client_get(f, name, &bytes, &cas);
		if (!data)
			return 0;
		free(data);
	}
	*next = (struct value){BYTES, r % 1000000, (r >> 32) % SMALL};
	if (r % 301 == 0)
		next->bytes = LARGE;
	data = malloc(next->bytes + 1);
	fill(data, next);
	if (with_cas)
		snprintf(text, sizeof(text), "cas %s 0 0 %zu %llu", name, next->bytes, cas);
	else
		snprintf(text, sizeof(text), "set %s 7 1000 %zu", name, next->bytes);
	c->is_under_way[key] = true;
	ok = command(c, f, key, "STORED", data, next->bytes, text);
	free(data);
	return ok;
}

static int count(struct client *c, FILE *f, unsigned key, const char *name)
{
	char text[200], expected[40];

	c->is_under_way[key] = true;
	if (c->now[key].kind != COUNT) {
		c->next[key] = (struct value){COUNT, 0, 0};
		snprintf(text, sizeof(text), "set %s 0 0 1", name);
		return command(c, f, key, "STORED", "0", 1, text);
	}
	c->next[key] = (struct value){COUNT, c->now[key].seed + 7, 0};
	snprintf(text, sizeof(text), "incr %s 7", name);
	snprintf(expected, sizeof(expected), "%llu", (unsigned long long)c->next[key].seed);
	return command(c, f, key, expected, NULL, 0, text);
}

static int drop(struct client *c, FILE *f, unsigned key, const char *name)
{
	char text[200];

	c->next[key] = (struct value){.kind = GONE};
	c->is_under_way[key] = true;
	snprintf(text, sizeof(text), "delete %s", name);
	return command(c, f, key, c->now[key].kind == GONE ? "NOT_FOUND" : "DELETED", NULL, 0, text);
}

static int touch(struct client *c, FILE *f, unsigned key, const char *name)
{
	char text[200];

	snprintf(text, sizeof(text), "touch %s 2000", name);
	return command(c, f, key, c->now[key].kind == GONE ? "NOT_FOUND" : "TOUCHED", NULL, 0, text);
}

static int step(struct client *c, FILE *f)
{
	uint64_t r = test_random(&c->random);
	unsigned key = (unsigned)(r >> 20) % KEYS;
	char name[40];
	int ok;

	snprintf(name, sizeof(name), "client%u-%u", c->number, key);
	switch (r % 8) {
	case 0:
		ok = drop(c, f, key, name);
		break;
	case 1:
	case 2:
		ok = count(c, f, key, name);
		break;
	case 3:
		ok = touch(c, f, key, name);
		break;
	default:
		ok = store(c, f, key, name, r % 8 == 4 && c->now[key].kind != GONE);
	}
	if (!ok)
		return 0;
	if (c->is_under_way[key])
		c->now[key] = c->next[key];
	c->is_under_way[key] = false;
	c->done++;
	return 1;
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	FILE *f = client_open();

	while (f && step(c, f))
		;
	if (f)
		fclose(f);
	return NULL;
}

static bool is_value(const struct value *v, const char *data, size_t bytes)
{
	char *expected;
	bool is_it;

	if (v->kind == GONE || !data)
		return v->kind == GONE && !data;
	if (v->kind == COUNT)
		return *data >= '0' && *data <= '9' && strtoull(data, NULL, 10) == v->seed;
	expected = malloc(v->bytes + 1);
	fill(expected, v);
	is_it = bytes == v->bytes && !memcmp(data, expected, bytes);
	free(expected);
	return is_it;
}

static void ledger_check(struct client *c, FILE *f)
{
	for (unsigned key = 0; key < KEYS; key++) {
		char name[40], *data;
		size_t bytes;
		bool is_next;

		snprintf(name, sizeof(name), "client%u-%u", c->number, key);
		data = client_get(f, name, &bytes, NULL);
		is_next = c->is_under_way[key] && is_value(&c->next[key], data, bytes);
		if (!is_next && !is_value(&c->now[key], data, bytes))
			fail_msg("%s: kind %d seed %llu, %zu bytes was acknowledged%s, %zu bytes are there: %.60s",
			         name, c->now[key].kind, (unsigned long long)c->now[key].seed, c->now[key].bytes,
			         c->is_under_way[key] ? " and another under way" : "", bytes, data ? data : "none");
		if (is_next)
			c->now[key] = c->next[key];
		c->is_under_way[key] = false;
		free(data);
	}
}

/* Items that the lists lead to; -1: a crawler is on its way already. */
static long long items_listed(FILE *f)
{
	long long n = 0;
	char line[LINE_MOST];

	assert_true(client_send(f, NULL, 0, "lru_crawler metadump all"));
	while (client_line(f, line) && strcmp(line, "END")) {
		if (strncmp(line, "key=", 4))
			return -1;
		n++;
	}
	return n;
}

/* It is what the counters say. Items that are in use, or just being moved to another list, are passed over. */
static void lists_check(FILE *f)
{
	long long items = client_stat(f, "", "curr_items"), listed = -1;

	for (int tries = 0; tries < 200 && listed != items; tries++) {
		if (tries)
			usleep(20000);
		listed = items_listed(f);
	}
	assert_int_equal(listed, items);
}

static void all_check(void)
{
	FILE *f = client_open();

	assert_non_null(f);
	for (unsigned i = 0; i < CLIENTS; i++)
		ledger_check(&client[i], f);
	lists_check(f);
	fclose(f);
}

static uint64_t done_in_all(void)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < CLIENTS; i++)
		done += client[i].done;
	return done;
}

/* However long it takes on a busy machine. */
static void commands_await(uint64_t number)
{
	for (unsigned ms = 0; done_in_all() < number && ms < 60000; ms++)
		usleep(1000);
}

static void round_run(uint64_t *random)
{
	static const char *const options[] = {"-t", "4", "-m", "256", "-o", "slab_automove=1,hashpower=16", NULL};
	bool is_gentle = test_random(random) % 8 == 0;
	uint64_t enough = done_in_all() + CLIENTS + 1;
	pid_t server = server_start("always", options);

	assert_true(server > 0);
	all_check();
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&client[i].thread, NULL, client_main, &client[i]), 0);
	usleep(20000 + (useconds_t)(test_random(random) % 150000));
	commands_await(enough);
	server_end(server, is_gentle ? SIGTERM : SIGKILL);
	for (unsigned i = 0; i < CLIENTS; i++) {
		pthread_join(client[i].thread, NULL);
		if (*client[i].fault)
			fail_msg("%s", client[i].fault);
	}
}

static void nothing_acknowledged_is_lost(void **state)
{
	uint64_t kills = test_number("SOFTPM_KILLS", 50), random = test_seed(), done;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < CLIENTS; i++) {
		client[i].number = i;
		client[i].random = test_random(&random);
	}
	for (uint64_t i = 0; i < kills; i++)
		round_run(&random);
	done = done_in_all();
	printf("%llu commands acknowledged, %llu kills\n", (unsigned long long)done, (unsigned long long)kills);
	assert_true(done > kills * CLIENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(nothing_acknowledged_is_lost, folder_new, server_gone)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
