/* test_memcachedb.c - what a server brings back, versions over the wire, and what goes wrong. */
#include "checks.h"
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { LARGE = 900000 };

static void items_come_back_with_all_that_belongs_to_them(void **state)
{
	pid_t server = server_start("always", none);
	FILE *f = client_open();
	unsigned long long cas, cas_then;
	size_t bytes;
	char line[LINE_MOST];

	(void)state;
	set(f, "stays", "here", "STORED");
	tell(f, "set goes 0 2 4\r\nsoon", "STORED");
	tell(f, "set counted 0 0 2\r\n41", "STORED");
	tell(f, "incr counted 1", "42");
	tell(f, "append stays 0 0 4\r\n and", "STORED");
	tell(f, "prepend stays 0 0 4\r\nnow ", "STORED");
	set(f, "deleted", "x", "STORED");
	tell(f, "delete deleted", "DELETED");
	free(client_get(f, "stays", &bytes, &cas));
	server = restart(server, SIGKILL, "always", &f);
	assert_true(client_send(f, NULL, 0, "get stays") && client_line(f, line));
	assert_string_equal(line, "VALUE stays 5 12");
	assert_true(client_line(f, line) && client_line(f, line));
	value_check(f, "stays", "now here and");
	free(client_get(f, "stays", &bytes, &cas_then));
	assert_true(cas == cas_then);
	value_check(f, "counted", "42");
	value_check(f, "deleted", NULL);
	assert_int_equal(client_stat(f, "", "cmd_touch"), 0);
	assert_true(client_stat(f, "", "total_items") >= 5);
	assert_int_equal(client_stat(f, "softpm", "softpm_restored"), 1);
	set(f, "later", "y", "STORED");
	free(client_get(f, "later", &bytes, &cas_then));
	assert_true(cas_then > cas);
	gone_await(f, "goes"); /* by the wall clock */
	tell(f, "flush_all", "OK");
	server = restart(server, SIGKILL, "always", &f);
	value_check(f, "stays", NULL);
	fclose(f);
	server_end(server, SIGTERM);
}

/* Asynchronous: a gentle end keeps all; off: nothing else does. */
static void a_gentle_end_is_a_version(void **state)
{
	pid_t server = server_start("off", none);
	FILE *f = client_open();

	(void)state;
	set(f, "a", "1", "STORED");
	server = restart(server, SIGTERM, "off", &f);
	value_check(f, "a", "1");
	set(f, "a", "2", "STORED");
	server = restart(server, SIGKILL, "off", &f);
	value_check(f, "a", "1");
	server = restart(server, SIGTERM, "60000", &f);
	set(f, "a", "3", "STORED");
	server = restart(server, SIGTERM, "30", &f);
	value_check(f, "a", "3");
	set(f, "a", "4", "STORED");
	points_await(f);
	server = restart(server, SIGKILL, "30", &f);
	value_check(f, "a", "4");
	fclose(f);
	server_end(server, SIGTERM);
}

static void versions_are_named_over_the_wire(void **state)
{
	pid_t server = server_start("off", none);
	FILE *f = client_open();
	char line[LINE_MOST];
	long long first = 0, second = 0;

	(void)state;
	set(f, "a", "1", "STORED");
	tell(f, "softpm tag one", "OK");
	set(f, "a", "2", "STORED");
	tell(f, "softpm branch other", "OK");
	tell(f, "softpm branch back one", "OK");
	tell(f, "softpm tag one", "CLIENT_ERROR");
	tell(f, "softpm tag two nothing", "CLIENT_ERROR");
	tell(f, "softpm what", "CLIENT_ERROR softpm log");
	tell(f, "softpm", "ERROR");
	assert_true(client_send(f, NULL, 0, "softpm log 2"));
	assert_true(client_line(f, line) && sscanf(line, "VERSION %lld %*d main", &second) == 1);
	assert_true(client_line(f, line) && sscanf(line, "VERSION %lld %*d main", &first) == 1);
	assert_true(client_line(f, line) && !strcmp(line, "END"));
	assert_true(first && second > first);
	fclose(f);
	server_end(server, SIGKILL);
}

/* The file may not grow beyond what it has. */
static void limit_set(pid_t server, rlim_t bytes)
{
	struct rlimit limit = {bytes, RLIM_INFINITY};

	assert_int_equal(prlimit(server, RLIMIT_FSIZE, &limit, NULL), 0);
}

/* A quiet command is silent of success only: its failure comes before the reply to the no-op behind it. */
static void binary_quiet_set_fails(void)
{
	static const unsigned char commands[] = {
	        0x80, 0x11, 0, 1,   8,   0,    0,    0, 0, 0, 0, 10, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	        0,    0,    0, 'k', 'v', 0x80, 0x0a, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0};
	static const unsigned char failed[] = {0x81, 0x11, 0, 0, 0, 0, 0, 0x84, 0, 0, 0, 0, 1, 2, 3, 4};
	unsigned char got[48];
	FILE *f = client_connect();

	assert_non_null(f);
	assert_int_equal(fwrite(commands, 1, sizeof(commands), f), sizeof(commands));
	assert_int_equal(fflush(f), 0);
	assert_int_equal(fread(got, 1, sizeof(got), f), sizeof(got));
	assert_memory_equal(got, failed, sizeof(failed));
	assert_int_equal(got[24], 0x81);
	assert_int_equal(got[25], 0x0a);
	fclose(f);
}

static void without_space_writes_fail_and_reads_go_on(void **state)
{
	pid_t server;
	struct stat st;
	char value[1501] = "", key[40], line[LINE_MOST] = "", *large;
	FILE *f;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	server = server_start("always", none);
	f = client_open();
	set(f, "before", "1", "STORED");
	assert_int_equal(stat("cache.vol", &st), 0);
	limit_set(server, (rlim_t)st.st_size);
	memset(value, 'v', 1500);
	for (int i = 0; i < 20000 && strncmp(line, "SERVER_ERROR", 12); i++) {
		snprintf(key, sizeof(key), "key%d", i);
		assert_true(client_send(f, value, 1500, "set %s 0 0 1500", key) && client_line(f, line));
	}
	if (!strstr(line, "SERVER_ERROR not durable: "))
		fail_msg("%s", line);
	large = calloc(1, LARGE); /* for which there is no room either, as long as it is in no version */
	memset(large, 'l', LARGE);
	assert_true(client_send(f, large, LARGE, "set large 0 0 %d", LARGE) && client_line(f, line));
	assert_non_null(strstr(line, "SERVER_ERROR not durable: "));
	free(large);
	tell(f, "softpm tag full", "SERVER_ERROR not durable: ");
	tell(f, "ms silent 5 q\r\nhello\r\nmn", "SERVER_ERROR not durable: ");
	assert_true(client_line(f, line) && !strcmp(line, "MN"));
	tell(f, "gat 0 key0 nothing key1 key2\r\nmn", "SERVER_ERROR not durable: ");
	assert_true(client_line(f, line) && !strcmp(line, "MN"));
	binary_quiet_set_fails();
	value_check(f, "before", "1");
	assert_true(client_stat(f, "softpm", "softpm_failures") > 0);
	limit_set(server, RLIM_INFINITY);
	set(f, "after", "2", "STORED");
	server = restart(server, SIGKILL, "always", &f);
	value_check(f, "before", "1");
	value_check(f, "after", "2");
	value_check(f, key, value); /* made durable with the next */
	fclose(f);
	server_end(server, SIGTERM);
}

/* A dump of keys waits until its client reads, and holds a lock meanwhile; others are served. */
static void dump_and_wait(const char *which)
{
	pid_t server = server_start("30", none);
	FILE *f = client_open(), *dump = client_open(), *other = client_open(), *more = client_open();
	char command[300];

	for (int i = 0; i < 20000; i++) {
		snprintf(command, sizeof(command), "set %0200d 0 0 1 noreply\r\nx", i);
		assert_true(client_send(f, NULL, 0, "%s", command));
	}
	set(f, "last", "1", "STORED");
	assert_true(client_send(dump, NULL, 0, "lru_crawler metadump %s", which));
	usleep(200000);
	tell(other, "lru_crawler crawl all", "BUSY");
	for (int i = 0; i < 20000; i++) /* in any bucket */
		assert_true(client_send(other, NULL, 0, "touch %0200d 0 noreply", i));
	points_await(f);
	assert_true(client_send(more, NULL, 0, "lru_crawler disable"));
	usleep(100000);
	points_await(f);
	set(f, "a", "2", "STORED");
	fclose(dump);
	tell(other, "touch last 0", "TOUCHED");
	fclose(more);
	fclose(other);
	fclose(f);
	server_end(server, SIGTERM);
}

static void a_client_that_does_not_read_keeps_nobody_waiting(void **state)
{
	(void)state;
	dump_and_wait("all");
}

static void nor_with_a_bucket_locked(void **state)
{
	(void)state;
	dump_and_wait("hash");
}

/* Lines of the dump are as many as items, also if the buckets are long: the client reads at last. */
static void a_slow_dump_is_whole(void **state)
{
	static const char *const options[] = {"-o", "hashpower=13,no_lru_crawler", NULL};
	pid_t server = server_start("off", options);
	FILE *f = client_open(), *dump = client_open();
	char line[LINE_MOST];
	int n = 0;

	(void)state;
	tell(f, "lru_crawler enable", "OK");
	for (int i = 0; i < 11000; i++)
		assert_true(client_send(f, NULL, 0, "set %0240d 0 0 1 noreply\r\nx", i));
	set(f, "last", "1", "STORED");
	assert_true(client_send(dump, NULL, 0, "lru_crawler metadump hash"));
	usleep(100000);
	for (; client_line(dump, line) && strcmp(line, "END"); n++)
		assert_int_equal(strncmp(line, "key=", 4), 0);
	assert_int_equal(n, 11001);
	fclose(dump);
	fclose(f);
	server_end(server, SIGTERM);
}

/* A cache whose crawlers never were, were ended, or were on their way. */
/* Until the thread that was told to end has, memcached knows no better answer than ERROR. */
static void no_crawler_await(FILE *f)
{
	char line[LINE_MOST] = "";

	for (unsigned tries = 0; tries < 1000 && strcmp(line, "CLIENT_ERROR lru crawler disabled") != 0; tries++) {
		assert_true(client_send(f, NULL, 0, "lru_crawler crawl all"));
		assert_true(client_line(f, line));
		if (!strncmp(line, "ERROR", 5))
			usleep(10000);
		else
			assert_string_equal(line, "CLIENT_ERROR lru crawler disabled");
	}
	assert_string_equal(line, "CLIENT_ERROR lru crawler disabled");
}

static void crawlers_come_and_go(void **state)
{
	static const char *const without[] = {"-o", "no_lru_crawler", NULL};
	pid_t server = server_start("always", without);
	FILE *f = client_open();

	(void)state;
	set(f, "a", "1", "STORED");
	tell(f, "lru_crawler crawl all", "CLIENT_ERROR lru crawler disabled");
	server = restart_with(server, SIGKILL, "always", without, &f);
	value_check(f, "a", "1");
	tell(f, "lru_crawler enable", "OK");
	tell(f, "lru_crawler crawl all", "OK");
	set(f, "b", "2", "STORED");
	server = restart_with(server, SIGKILL, "always", without, &f);
	value_check(f, "a", "1");
	value_check(f, "b", "2");
	server = restart(server, SIGTERM, "always", &f); /* with crawlers */
	tell(f, "lru_crawler disable", "OK");
	no_crawler_await(f);
	set(f, "b", "3", "STORED");
	server = restart(server, SIGKILL, "always", &f);
	value_check(f, "a", "1");
	value_check(f, "b", "3");
	fclose(f);
	server_end(server, SIGTERM);
}

/* Who wins the right to make a value anew is the only one, whatever happens to the server. */
static void a_token_is_given_once(void **state)
{
	pid_t server = server_start("always", none);
	FILE *f = client_open();

	(void)state;
	tell(f, "set a 0 100 1\r\nx", "STORED");
	tell(f, "mg a R1000 k", "HD ka W");
	server = restart(server, SIGKILL, "always", &f);
	tell(f, "mg a R1000 k", "HD ka Z");
	fclose(f);
	server_end(server, SIGTERM);
}

static void a_limit_that_was_raised_holds_on(void **state)
{
	static const char *const larger[] = {"-m", "256", NULL}, *const small[] = {"-m", "100", NULL};
	pid_t server = server_start("always", none);
	FILE *f = client_open();

	(void)state;
	tell(f, "cache_memlimit 128", "OK");
	server = restart(server, SIGKILL, "always", &f);
	assert_int_equal(client_stat(f, "", "limit_maxbytes"), 128 << 20);
	server = restart_with(server, SIGKILL, "always", small, &f);
	assert_int_equal(client_stat(f, "", "limit_maxbytes"), 128 << 20);
	server = restart_with(server, SIGKILL, "always", larger, &f);
	assert_int_equal(client_stat(f, "", "limit_maxbytes"), 256 << 20);
	fclose(f);
	server_end(server, SIGTERM);
	is_refused(none, "can't be made smaller: -m 256");
}

/* That one keeps the same statics in another order. */
static void another_build_is_refused(void **state)
{
	const char *this = getenv("SOFTPM_MEMCACHEDB"), *other = getenv("SOFTPM_MEMCACHEDB_OTHER");
	pid_t server = server_start("always", none);

	(void)state;
	assert_true(server > 0);
	server_end(server, SIGTERM);
	setenv("SOFTPM_MEMCACHEDB", other, 1);
	is_refused(none, "another version of this program");
	setenv("SOFTPM_MEMCACHEDB", this, 1);
}

static void what_can_not_be_is_refused_in_words(void **state)
{
	static const struct {
		const char *options[5], *says;
	} refused[] = {
	        {{"-m", "32", NULL}, "can't be made smaller: -m 64"},
	        {{"-f", "1.5", NULL}, "-f 1.25"},
	        {{"-I", "2m", NULL}, "-I"},
	        {{"-C", NULL}, "-C"},
	        {{"-o", "hash_algorithm=jenkins", NULL}, "hash_algorithm"},
	        {{"-L", NULL}, "neither with -L"},
	        {{"-o", "softpm_sync=often", NULL}, "always, off, or a number"},
	        {{"-o", "softpm_speed=9", NULL}, "there are softpm=VOLUME"},
	};
	pid_t server = server_start("always", none);
	FILE *f = client_open();
	int fd;

	(void)state;
	set(f, "a", "1", "STORED");
	fclose(f);
	is_refused(none, "process");
	server_end(server, SIGTERM);
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		is_refused(refused[i].options, refused[i].says);
	fd = open("cache.vol", O_RDWR);
	for (off_t at = 4096; at < 3 << 20; at += 512)
		assert_int_equal(pwrite(fd, "damage", 6, at), 6);
	close(fd);
	is_refused(none, "cache.vol");
	fd = open("cache.vol", O_RDWR | O_TRUNC);
	assert_int_equal(write(fd, "This is no volume", 17), 17);
	close(fd);
	is_refused(none, "cache.vol");
}

/* Such a cache has slab pages of many sizes; to move one would write past its end. */
static void slab_pages_stay_as_the_cache_was_made(void **state)
{
	static const char *const short_pages[] = {"-o", "no_modern", NULL};
	static const char *const moved[] = {"-o", "no_modern,slab_reassign", NULL};
	pid_t server = server_start("always", short_pages);
	FILE *f;

	(void)state;
	assert_true(server > 0);
	f = client_open();
	set(f, "a", "1", "STORED");
	fclose(f);
	server_end(server, SIGTERM);
	is_refused(moved, "-o slab_reassign");
	server = server_start("always", short_pages);
	assert_true(server > 0);
	server_end(server, SIGTERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(items_come_back_with_all_that_belongs_to_them, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(a_gentle_end_is_a_version, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(versions_are_named_over_the_wire, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(without_space_writes_fail_and_reads_go_on, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_keeps_nobody_waiting, folder_new,
	                                        server_gone),
	        cmocka_unit_test_setup_teardown(nor_with_a_bucket_locked, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(a_slow_dump_is_whole, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(crawlers_come_and_go, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(a_token_is_given_once, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(a_limit_that_was_raised_holds_on, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(another_build_is_refused, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(slab_pages_stay_as_the_cache_was_made, folder_new, server_gone),
	        cmocka_unit_test_setup_teardown(what_can_not_be_is_refused_in_words, folder_new, server_gone),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
