/* test_memcachedb_full.c - the disk is really full: writes fail and say so, reads go on, and all is well when there is space again.
 *
 * The file systems are made by the test, in a mount namespace of its own; that takes root's rights. Without, it says so and is skipped.
 */
#include "checks.h"
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DISK = 24 << 20, BALLAST = 6 << 20, VALUE = 3000 };

static bool has_namespace(void)
{
	static bool has;

	if (!has)
		has = !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	return has;
}

static bool tmpfs_mount(void)
{
	char options[40];

	snprintf(options, sizeof(options), "size=%d", DISK);
	return !mount("none", "disk", "tmpfs", 0, options);
}

static bool ext4_mount(void)
{
	char command[200];

	snprintf(command, sizeof(command),
	         "truncate -s %d image && mkfs.ext4 -q image 2>said && mount -o loop image disk 2>said", DISK);
	return !system(command);
}

/* In the folder of the file system; or the test is skipped. */
static void disk_make(bool (*make)(void))
{
	int fd;

	mkdir("disk", 0700);
	if (!has_namespace() || !make()) {
		print_message("skipped: no file system can be mounted here (%s); it takes root\n", strerror(errno));
		skip();
	}
	assert_int_equal(chdir("disk"), 0);
	fd = open("ballast", O_CREAT | O_WRONLY, 0600);
	assert_int_equal(posix_fallocate(fd, 0, BALLAST), 0);
	close(fd);
}

static int disk_gone(void **state)
{
	server_gone(state);
	if (!access("ballast", F_OK) || !access("cache.vol", F_OK)) /* else it was skipped */
		return chdir("..") || umount2("disk", MNT_DETACH);
	return 0;
}

static unsigned sets_until_full(FILE *f)
{
	char value[VALUE], line[LINE_MOST];
	unsigned n = 0;

	memset(value, 'v', VALUE);
	for (;; n++) {
		assert_true(n < 20000);
		assert_true(client_send(f, value, VALUE, "set key%u 0 0 %d", n, VALUE) && client_line(f, line));
		if (strcmp(line, "STORED"))
			break;
	}
	if (strncmp(line, "SERVER_ERROR not durable: ", 26) || !strstr(line, "No space left"))
		fail_msg("%s", line);
	return n;
}

static void values_check(FILE *f, unsigned n, unsigned each)
{
	for (unsigned i = 0; i < n; i += each) {
		char key[20], *value;
		size_t bytes;

		snprintf(key, sizeof(key), "key%u", i);
		value = client_get(f, key, &bytes, NULL);
		if (!value || bytes != VALUE || value[0] != 'v' || memcmp(value, value + 1, VALUE - 1))
			fail_msg("%s of %u is lost", key, n);
		free(value);
	}
}

static void full_and_not(bool (*make)(void))
{
	static const char *const options[] = {"-f", "2", NULL}; /* few slab pages */
	pid_t server;
	unsigned n;
	FILE *f;

	disk_make(make);
	server = server_start("always", options);
	assert_true(server > 0);
	f = client_open();
	n = sets_until_full(f);
	tell(f, "touch key0 1000", "SERVER_ERROR not durable: ");
	values_check(
	        f, n,
	        50); /* what reads note in items is written with the next version: few, or there is no room for it */
	assert_int_equal(unlink("ballast"), 0);
	tell(f, "set after 0 0 1\r\nx", "STORED");
	server = restart_with(server, SIGKILL, "always", options, &f);
	values_check(f, n + 1, 1); /* the one that failed is in the version after */
	value_check(f, "after", "x");
	n = sets_until_full(f); /* again, and the server is killed then */
	server = restart_with(server, SIGKILL, "always", options, &f);
	values_check(f, n, 1);
	fclose(f);
	server_end(server, SIGTERM);
}

static void a_full_tmpfs_is_told_and_got_over(void **state)
{
	(void)state;
	full_and_not(tmpfs_mount);
}

static void a_full_ext4_is_told_and_got_over(void **state)
{
	(void)state;
	full_and_not(ext4_mount);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(a_full_tmpfs_is_told_and_got_over, folder_new, disk_gone),
	        cmocka_unit_test_setup_teardown(a_full_ext4_is_told_and_got_over, folder_new, disk_gone),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
