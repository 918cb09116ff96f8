#include "ledger.h"
#include "client.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SMALL = 3000 };

struct client client[CLIENTS];
size_t ledger_large = 700000;
_Atomic uint64_t *ledger_clock;

static uint64_t tick(void)
{
	return ledger_clock ? ++*ledger_clock : 0;
}

/* From now on the server may have it. */
static void change_begin(struct client *c, unsigned key, struct value next)
{
	c->next[key] = next;
	c->is_under_way[key] = true;
	if (!ledger_clock)
		return;
	c->history = realloc(c->history, (c->changes + 1) * sizeof(*c->history));
	c->history[c->changes++] = (struct change){key, next, tick(), UINT64_MAX};
}

static void change_end(struct client *c, unsigned key)
{
	c->now[key] = c->next[key];
	c->is_under_way[key] = false;
	if (ledger_clock)
		c->history[c->changes - 1].ended = tick();
}

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
	struct value next;
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
	next = (struct value){BYTES, r % 1000000, r % 301 ? (r >> 32) % SMALL : ledger_large};
	data = malloc(next.bytes + 1);
	fill(data, &next);
	if (with_cas)
		snprintf(text, sizeof(text), "cas %s 0 0 %zu %llu", name, next.bytes, cas);
	else
		snprintf(text, sizeof(text), "set %s 7 1000 %zu", name, next.bytes);
	change_begin(c, key, next);
	ok = command(c, f, key, "STORED", data, next.bytes, text);
	free(data);
	return ok;
}

static int count(struct client *c, FILE *f, unsigned key, const char *name)
{
	char text[200], expected[40];

	if (c->now[key].kind != COUNT) {
		change_begin(c, key, (struct value){COUNT, 0, 0});
		snprintf(text, sizeof(text), "set %s 0 0 1", name);
		return command(c, f, key, "STORED", "0", 1, text);
	}
	change_begin(c, key, (struct value){COUNT, c->now[key].seed + 7, 0});
	snprintf(text, sizeof(text), "incr %s 7", name);
	snprintf(expected, sizeof(expected), "%llu", (unsigned long long)c->next[key].seed);
	return command(c, f, key, expected, NULL, 0, text);
}

static int drop(struct client *c, FILE *f, unsigned key, const char *name)
{
	char text[200];

	change_begin(c, key, (struct value){.kind = GONE});
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
		change_end(c, key);
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

static void client_check(struct client *c, FILE *f)
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

void ledger_check(void)
{
	FILE *f = client_open();

	assert_non_null(f);
	for (unsigned i = 0; i < CLIENTS; i++)
		client_check(&client[i], f);
	lists_check(f);
	fclose(f);
}

uint64_t ledger_done(void)
{
	uint64_t done = 0;

	for (unsigned i = 0; i < CLIENTS; i++)
		done += client[i].done;
	return done;
}

void ledger_await(uint64_t number)
{
	for (unsigned ms = 0; ledger_done() < number && ms < 60000; ms++)
		usleep(1000);
}

void ledger_begin(uint64_t *random)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		client[i].number = i;
		client[i].random = test_random(random);
	}
}

void clients_start(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		assert_int_equal(pthread_create(&client[i].thread, NULL, client_main, &client[i]), 0);
}

void clients_join(void)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		pthread_join(client[i].thread, NULL);
		if (*client[i].fault)
			fail_msg("%s", client[i].fault);
	}
}

static void client_set_back(struct client *c, uint64_t time)
{
	memset(c->now, 0, sizeof(c->now));
	memset(c->is_under_way, 0, sizeof(c->is_under_way));
	for (size_t i = 0; i < c->changes && c->history[i].begun <= time; i++) {
		const struct change *at = &c->history[i];

		if (at->ended <= time)
			c->now[at->key] = at->value;
		else
			c->next[at->key] = at->value;
		c->is_under_way[at->key] = at->ended > time;
	}
}

void ledger_set_back(uint64_t time)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		client_set_back(&client[i], time);
}
