/* load.c - load for a server of memcached's text protocol, or Redis's: operations a second, and how long they take.
 *
 * Each connection has one command under way; one thread serves all of them. Keys are chosen evenly; all are set once first (fill=0: they are there
 * already; seconds=0: nothing else is done).
 */
#include "measure.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VALUE_MOST = 1 << 20, SAMPLES_MOST = 4 << 20, KINDS = 3 };
enum kind { GET, SET, DELETE };

static struct {
	uint64_t port, connections, keys, bytes, gets, deletes, seconds, fill;
	bool is_redis;
} with = {.port = 11211, .connections = 8, .keys = 100000, .bytes = 100, .gets = 50, .seconds = 2, .fill = 1};

struct connection {
	int fd;
	enum kind kind;
	uint64_t begun_ns;
	size_t have, want; /* of the reply; want 0: not known yet */
	char *reply;
};
static char value[VALUE_MOST];
static uint64_t seed = 88172645463325252;
static double *sample[KINDS];
static size_t samples[KINDS];

static void command_send(struct connection *c, enum kind kind, uint64_t key)
{
	static char text[VALUE_MOST + 256];
	char name[32];
	int n, length = snprintf(name, sizeof(name), "key-%012llu", (unsigned long long)key);
	size_t bytes;

	if (with.is_redis && kind == SET)
		n = snprintf(text, 256, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%llu\r\n", length, name,
		             (unsigned long long)with.bytes);
	else if (with.is_redis)
		n = snprintf(text, 256, "*2\r\n$3\r\n%s\r\n$%d\r\n%s\r\n", kind == GET ? "GET" : "DEL", length, name);
	else if (kind == SET)
		n = snprintf(text, 256, "set %s 0 0 %llu\r\n", name, (unsigned long long)with.bytes);
	else
		n = snprintf(text, 256, "%s %s\r\n", kind == GET ? "get" : "delete", name);
	bytes = (size_t)n;
	if (kind == SET) {
		memcpy(text + bytes, value, with.bytes);
		memcpy(text + bytes + with.bytes, "\r\n", 2);
		bytes += with.bytes + 2;
	}
	c->kind = kind;
	c->have = c->want = 0;
	c->begun_ns = now_ns();
	for (size_t at = 0; at < bytes;) {
		ssize_t sent = send(c->fd, text + at, bytes - at, 0);

		need(sent > 0, "send");
		at += (size_t)sent;
	}
}

/* What the reply comes to in all, as far as its first line is there; 0: not yet. */
static size_t reply_size(const struct connection *c)
{
	const char *end = memchr(c->reply, '\n', c->have);
	unsigned long long bytes;

	if (!end)
		return 0;
	if (with.is_redis && c->reply[0] == '$' && c->reply[1] != '-') {
		bytes = strtoull(c->reply + 1, NULL, 10);
		return (size_t)(end + 1 - c->reply) + bytes + 2;
	}
	if (!with.is_redis && sscanf(c->reply, "VALUE %*s %*u %llu", &bytes) == 1)
		return (size_t)(end + 1 - c->reply) + bytes + 2 + 5;
	return (size_t)(end + 1 - c->reply);
}

static void reply_check(const struct connection *c)
{
	static const char *const right[2][KINDS][2] = {
	        {{"VALUE", "END"}, {"STORED", "STORED"}, {"DELETED", "NOT_FOUND"}},
	        {{"$", "$"}, {"+OK", "+OK"}, {":", ":"}},
	};
	const char *const *r = right[with.is_redis][c->kind];

	if (strncmp(c->reply, r[0], strlen(r[0])) && strncmp(c->reply, r[1], strlen(r[1]))) {
		fprintf(stderr, "unexpected reply: %.*s\n", (int)(c->have < 100 ? c->have : 100), c->reply);
		exit(1);
	}
}

/* Whether the reply is whole now. */
static bool reply_read(struct connection *c)
{
	ssize_t n = recv(c->fd, c->reply + c->have, VALUE_MOST + 256 - c->have, 0);

	need(n > 0, "the server ended");
	c->have += (size_t)n;
	if (!c->want)
		c->want = reply_size(c);
	return c->want && c->have >= c->want;
}

static void connections_open(struct connection *c, int poll)
{
	struct sockaddr_in at = {
	        .sin_family = AF_INET, .sin_port = htons((uint16_t)with.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int on = 1;

	for (uint64_t i = 0; i < with.connections; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &c[i]};

		c[i].reply = malloc(VALUE_MOST + 256);
		c[i].fd = socket(AF_INET, SOCK_STREAM, 0);
		need(c[i].reply && !connect(c[i].fd, (struct sockaddr *)&at, sizeof(at)), "connect");
		setsockopt(c[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		need(!epoll_ctl(poll, EPOLL_CTL_ADD, c[i].fd, &event), "epoll_ctl");
	}
}

static enum kind kind_choose(void)
{
	uint64_t r = random_next(&seed) % 100;

	return r < with.gets ? GET : r < with.gets + with.deletes ? DELETE : SET;
}

/* Commands until the time is over, or, if `loads`, until all keys are set. Returns how many. */
static uint64_t run(struct connection *c, int poll, bool loads)
{
	uint64_t done = 0, next = 0, end = now_ns() + with.seconds * 1000000000;
	struct epoll_event event[256];
	uint64_t under_way = 0;

	for (; next < with.connections && (!loads || next < with.keys); next++, under_way++)
		command_send(&c[next], loads ? SET : kind_choose(), loads ? next : random_next(&seed) % with.keys);
	while (under_way) {
		int n = epoll_wait(poll, event, 256, -1);
		uint64_t now = now_ns();

		for (int i = 0; i < n; i++) {
			struct connection *at = event[i].data.ptr;

			if (!reply_read(at))
				continue;
			reply_check(at);
			done++;
			under_way--;
			if (!loads && samples[at->kind] < SAMPLES_MOST)
				sample[at->kind][samples[at->kind]++] = (double)(now - at->begun_ns) / 1000;
			if (loads ? next == with.keys : now >= end)
				continue;
			command_send(at, loads ? SET : kind_choose(), loads ? next : random_next(&seed) % with.keys);
			next++;
			under_way++;
		}
	}
	return done;
}

static void run_rated(const char *name, struct connection *c, int poll, bool loads)
{
	uint64_t begun = now_ns(), done = run(c, poll, loads);

	row(name, (double)done * 1e9 / (double)(now_ns() - begun), "operations/s");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void latencies(void)
{
	static const char *const name[KINDS] = {"get", "set", "delete"};

	for (int k = 0; k < KINDS; k++) {
		char metric[40];

		if (!samples[k])
			continue;
		qsort(sample[k], samples[k], sizeof(double), compare);
		snprintf(metric, sizeof(metric), "%s median", name[k]);
		row(metric, sample[k][samples[k] / 2], "us");
		snprintf(metric, sizeof(metric), "%s 99%%", name[k]);
		row(metric, sample[k][samples[k] * 99 / 100], "us");
		snprintf(metric, sizeof(metric), "%s 99.9%%", name[k]);
		row(metric, sample[k][samples[k] * 999 / 1000], "us");
	}
}

int main(int argc, char **argv)
{
	struct connection *c;
	uint64_t redis = 0;
	int poll = epoll_create1(0);

	for (int i = 1; i < argc; i++)
		need(option_number(argv[i], "port", &with.port) ||
		             option_number(argv[i], "connections", &with.connections) ||
		             option_number(argv[i], "keys", &with.keys) ||
		             option_number(argv[i], "bytes", &with.bytes) ||
		             option_number(argv[i], "gets", &with.gets) ||
		             option_number(argv[i], "deletes", &with.deletes) ||
		             option_number(argv[i], "seconds", &with.seconds) ||
		             option_number(argv[i], "fill", &with.fill) || option_number(argv[i], "redis", &redis),
		     argv[i]);
	with.is_redis = redis;
	need(with.bytes <= VALUE_MOST && with.connections >= 1 && with.keys >= 1, "arguments");
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (char)('a' + random_next(&seed) % 26);
	for (int k = 0; k < KINDS; k++)
		sample[k] = malloc(SAMPLES_MOST * sizeof(double));
	c = calloc(with.connections, sizeof(*c));
	connections_open(c, poll);
	if (with.fill)
		run_rated("load", c, poll, true);
	if (with.seconds)
		run_rated("operations", c, poll, false);
	latencies();
	return 0;
}
