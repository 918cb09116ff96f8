/* load_memcachedb.c - a server under all that clients can ask of it, for sanitizers and memcached's own assertions to look at: commands of each
 * kind from several connections at once, evictions, slab moves, crawlers, watchers, versions, and every now and then a new server on the same cache.
 *
 * What replies say other tests check; here each must come. $SOFTPM_LOAD_SECONDS: for how long, 4. $SOFTPM_LOAD_PLAIN: any memcached, without
 * SoftPM.
 */
#include "checks.h"
#include "client.h"
#include "scratch.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIENTS_MOST = 8, NAMES = 3000, VALUE_MOST = 30000, LARGE = 600000 };

static bool is_plain;
static _Atomic uint64_t commands;
static char letters[LARGE], digits[LARGE];

struct command {
	/* 1: number of a key; 2: of another; 3: expiry; 4: bytes of data; 5: a small number; 6: a number that comes once. */
	const char *format;
	unsigned bytes_most;
	const char *data; /* NULL: none */
};
static const struct command of_clients[] = {
        {"set key%1$u 3 %3$u %4$u", VALUE_MOST, letters},
        {"set key%1$u 3 %3$u %4$u", 500, letters},
        {"set key%1$u 3 0 %4$u noreply", 500, letters},
        {"set large%5$u 0 %3$u %4$u", LARGE, letters},
        {"add key%1$u 0 %3$u %4$u", 500, letters},
        {"replace key%1$u 9 %3$u %4$u", VALUE_MOST, letters},
        {"append key%1$u 0 0 %4$u", 30, letters},
        {"prepend key%1$u 0 0 %4$u", 30, letters},
        {"cas key%1$u 0 0 %4$u 12", 500, letters},
        {"set number%5$u 0 %3$u %4$u", 9, digits},
        {"incr number%5$u 17", 0, NULL},
        {"decr number%5$u 3", 0, NULL},
        {"get key%1$u key%2$u", 0, NULL},
        {"gets key%1$u large%5$u", 0, NULL},
        {"get key%1$u", 0, NULL},
        {"gat %3$u key%1$u key%2$u", 0, NULL},
        {"gats %3$u key%1$u", 0, NULL},
        {"touch key%1$u %3$u", 0, NULL},
        {"delete key%1$u", 0, NULL},
        {"delete key%1$u noreply", 0, NULL},
        {"mg key%1$u s v t c f h l", 0, NULL},
        {"mg key%1$u R30 N20 v", 0, NULL},
        {"mg key%1$u q T90 k v", 0, NULL},
        {"ms key%1$u %4$u T5", 500, letters},
        {"ms key%1$u %4$u MA", 30, letters},
        {"md key%1$u I T20", 0, NULL},
        {"ma number%5$u N0 J5 t v", 0, NULL},
        {"me key%1$u", 0, NULL},
};
static const struct command of_operators[] = {
        {"stats", 0, NULL},
        {"stats items", 0, NULL},
        {"stats slabs", 0, NULL},
        {"stats settings", 0, NULL},
        {"stats conns", 0, NULL},
        {"stats softpm", 0, NULL},
        {"stats detail dump", 0, NULL},
        {"stats reset", 0, NULL},
        {"slabs reassign -1 %5$u", 0, NULL},
        {"slabs reassign %5$u -1", 0, NULL},
        {"slabs automove 1", 0, NULL},
        {"lru_crawler crawl all", 0, NULL},
        {"lru_crawler metadump all", 0, NULL},
        {"lru_crawler metadump hash", 0, NULL},
        {"lru_crawler sleep 0", 0, NULL},
        {"lru_crawler disable", 0, NULL},
        {"lru_crawler enable", 0, NULL},
        {"lru temp_ttl 5", 0, NULL},
        {"lru tune 10 25 0.1 2.0", 0, NULL},
        {"cache_memlimit 28", 0, NULL},
        {"verbosity 0", 0, NULL},
        {"flush_all 3", 0, NULL},
        {"softpm log", 0, NULL},
        {"softpm tag tag%6$u", 0, NULL},
        {"softpm branch branch%6$u", 0, NULL},
};

static unsigned below(uint64_t *random, unsigned n)
{
	return (unsigned)(test_random(random) >> 11) % n;
}

/* And a command that says nothing, whose reply is the last one to come. */
static bool send_one(FILE *f, const struct command *c, uint64_t *random)
{
	static _Atomic unsigned once;
	unsigned bytes = c->data ? 1 + below(random, c->bytes_most) : 0, expiry = below(random, 2) * below(random, 4);
	char text[200];

	snprintf(text, sizeof(text), c->format, below(random, NAMES), below(random, NAMES), expiry, bytes,
	         below(random, 30), ++once);
	return client_send(f, c->data, bytes, "%s", text) && client_send(f, NULL, 0, "mn");
}

static bool tell_one(FILE *f, const struct command *c, uint64_t *random)
{
	char line[LINE_MOST];

	if (!send_one(f, c, random))
		return false;
	do
		if (!client_line(f, line))
			return false;
	while (strcmp(line, "MN"));
	commands++;
	return true;
}

/* A few packets of the binary protocol, the last of which is answered last. */
static bool tell_binary(void)
{
	static const unsigned char ask[] = {
	        0x80, 0x11, 0, 1, 8, 0, 0, 0,   0,   0, 0, 10, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	        0,    0,    0, 0, 0, 0, 0, 'k', 'v', /* a quiet set */
	        0x80, 0x0d, 0, 1, 0, 0, 0, 0,   0,   0, 0, 1,  1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 'k', /* and get */
	        0x80, 0x14, 0, 1, 0, 0, 0, 0,   0,   0, 0, 1,  1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 'k', /* a delete */
	        0x80, 0x0a, 0, 0, 0, 0, 0, 0,   0,   0, 0, 0,  5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0,      /* no-op */
	};
	unsigned char head[24];
	FILE *f = client_connect();
	bool is_last = false;

	if (!f)
		return false;
	fwrite(ask, 1, sizeof(ask), f);
	fflush(f);
	while (!is_last && fread(head, 1, sizeof(head), f) == sizeof(head)) {
		char body[256];

		is_last = head[1] == 0x0a;
		if (fread(body, 1, head[11], f) != head[11])
			break;
	}
	fclose(f);
	return is_last;
}

/* They work until the server ends. */
static void *client_main(void *seed)
{
	uint64_t random = (uintptr_t)seed;
	FILE *f = client_open();

	while (f && tell_one(f, &of_clients[below(&random, sizeof(of_clients) / sizeof(*of_clients))], &random)) {
		if (below(&random, 200))
			continue;
		fclose(f); /* with or without what it was about to say */
		f = client_open();
		if (f && !below(&random, 3))
			send_one(f, of_clients, &random);
	}
	if (f)
		fclose(f);
	return NULL;
}

static void *operator_main(void *seed)
{
	uint64_t random = (uintptr_t)seed;
	FILE *f = client_open();

	while (f && tell_one(f, &of_operators[below(&random, sizeof(of_operators) / sizeof(*of_operators))], &random) &&
	       tell_binary())
		usleep(2000);
	if (f)
		fclose(f);
	return NULL;
}

static void *watcher_main(void *seed)
{
	FILE *f = client_open();
	char line[LINE_MOST];

	(void)seed;
	if (f && client_send(f, NULL, 0, "watch fetchers mutations evictions connevents deletions"))
		while (client_line(f, line))
			;
	if (f)
		fclose(f);
	return NULL;
}

/* A server, and all that want something of it for so long. Ends it by this signal; -1: somebody asks it to go on from its branch. */
static void round_run(const char *sync, int signal, useconds_t us, uint64_t *random)
{
	static const char *const options[] = {
	        "-t", "4", "-m", "24", "-o", "slab_automove=2,hashpower=13,hot_lru_pct=10", NULL};
	pthread_t thread[CLIENTS_MOST + 2];
	pid_t server = server_start(is_plain ? NULL : sync, options);
	FILE *f;
	int status;

	assert_true(server > 0);
	for (unsigned i = 0; i < CLIENTS_MOST + 2; i++) {
		void *(*const main)(void *) = i < CLIENTS_MOST    ? client_main
		                              : i == CLIENTS_MOST ? operator_main
		                                                  : watcher_main;

		assert_int_equal(pthread_create(&thread[i], NULL, main, (void *)(uintptr_t)test_random(random)), 0);
	}
	usleep(us);
	if (signal < 0 && !is_plain) {
		f = client_open();
		assert_non_null(f);
		tell(f, "softpm switch main", "OK");
		f = open_again(f);
		usleep(us / 2);
		fclose(f);
	}
	status = server_end(server, signal == SIGKILL ? SIGKILL : SIGTERM);
	if (signal == SIGKILL ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL : status)
		fail_msg("the server ended with status 0x%x", status);
	for (unsigned i = 0; i < CLIENTS_MOST + 2; i++)
		pthread_join(thread[i], NULL);
}

static void each_command_is_answered(void **state)
{
	static const struct {
		const char *sync;
		int signal;
	} round[] = {{"always", SIGTERM}, {"20", SIGKILL}, {"always", SIGKILL}, {"always", -1}, {"20", SIGTERM}};
	enum { ROUNDS = sizeof(round) / sizeof(*round) };
	uint64_t seconds = test_number("SOFTPM_LOAD_SECONDS", 4), random = test_seed();

	(void)state;
	is_plain = getenv("SOFTPM_LOAD_PLAIN");
	memset(letters, 'l', sizeof(letters));
	memset(digits, '1', sizeof(digits));
	for (unsigned i = 0; i < ROUNDS; i++)
		round_run(round[i].sync, round[i].signal, (useconds_t)(seconds * 1000000 / ROUNDS), &random);
	printf("%llu commands\n", (unsigned long long)commands);
	assert_true(commands > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(each_command_is_answered, folder_new, server_gone)};

	signal(SIGPIPE, SIG_IGN);
	alarm(600 + (unsigned)test_number("SOFTPM_LOAD_SECONDS", 4) * 3); /* a reply that does not come */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
