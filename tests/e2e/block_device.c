/* block_device.c - a volume on a block device: made, restored, full, and refused where it would overwrite what others
 * own.
 *
 * The device is a loop device over a file, so only root can run this.
 */
#include "book.h"
#include "expect.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { DEVICE_BYTES = 12 << 20, LARGE = 1 << 20 };

static char device[64];
static int device_fd = -1; /* the device is let go of when it is closed */

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

static void in_process(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		fn();
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		fail_msg("the process ended with status 0x%x", status);
}

static int loop_set(int file)
{
	struct loop_config config = {.fd = (__u32)file, .info.lo_flags = LO_FLAGS_AUTOCLEAR};

	for (unsigned tries = 0; tries < 20; tries++) { /* somebody else may take the free one first */
		int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), n = -1;

		if (control >= 0) {
			n = ioctl(control, LOOP_CTL_GET_FREE);
			close(control);
		}
		if (n < 0)
			return -1;
		snprintf(device, sizeof(device), "/dev/loop%d", n);
		device_fd = open(device, O_RDWR | O_CLOEXEC);
		if (device_fd >= 0 && !ioctl(device_fd, LOOP_CONFIGURE, &config))
			return 0;
		if (device_fd >= 0)
			close(device_fd);
		device_fd = -1;
	}
	return -1;
}

static int device_make(void **state)
{
	int file = open(scratch("device.img"), O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	(void)state;
	if (file < 0 || ftruncate(file, DEVICE_BYTES) || geteuid() || loop_set(file))
		print_message("no loop device is to be had here: skipped\n");
	close(file);
	return 0;
}

static int device_free(void **state)
{
	(void)state;
	if (device_fd >= 0)
		close(device_fd);
	return 0;
}

struct chunks {
	struct book book;
	unsigned char *chunk[32];
	uint64_t n;
};

static void chunk_add(struct chunks *c)
{
	c->chunk[c->n] = pMallocNoPtr(LARGE);
	EXPECT(c->chunk[c->n]);
	memset(c->chunk[c->n], (int)c->n + 1, LARGE);
	c->n++;
	book_step(&c->book);
}

static bool chunks_are_right(const struct chunks *c)
{
	for (uint64_t i = 0; i < c->n; i++)
		for (unsigned at = 0; at < LARGE; at++)
			if (c->chunk[i][at] != (unsigned char)(i + 1))
				return false;
	return c->book.steps == c->n && book_is_right(&c->book);
}

static void make_points(void)
{
	struct chunks *c;
	int id;

	EXPECT(!pVOpen(device));
	id = pCAlloc(1, sizeof(*c), (void **)&c);
	EXPECT(id);
	c->book.seed = 3;
	for (unsigned i = 0; i < 3; i++) {
		chunk_add(c);
		EXPECT(pPointSync(id) == i + 1);
	}
	EXPECT(!pVClose());
}

static struct chunks *restore(int *id)
{
	struct chunks *c;

	EXPECT(!pVOpen(device));
	*id = pCRestore(1, (void **)&c);
	EXPECT(*id);
	EXPECT(chunks_are_right(c));
	return c;
}

static volatile int64_t *last_version; /* shared with the processes */

static void fill(void)
{
	int id;
	struct chunks *c = restore(&id);
	int64_t version = 3;

	EXPECT(c->n == 3);
	while (version && c->n < 32) {
		*last_version = version;
		chunk_add(c);
		version = pPointSync(id);
	}
	EXPECT(!version && errno == ENOSPC && strstr(pErrorMsg(), "No space left"));
	EXPECT(chunks_are_right(c));
	EXPECT(!pVClose()); /* the failure was told */
}

/* Each version had one chunk more. */
static void see_the_last(void)
{
	int id;

	EXPECT(restore(&id)->n == (uint64_t)*last_version);
	EXPECT(!pVClose());
	EXPECT(!pVOpen(device) && !pCDelete(1) && !pVClose()); /* then there is room */
}

static void a_device_is_a_volume_until_it_is_full(void **state)
{
	(void)state;
	if (device_fd < 0)
		skip();
	last_version = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(last_version, MAP_FAILED);
	in_process(make_points);
	in_process(fill);
	in_process(see_the_last);
	in_process(make_points);
}

static void refuse(void)
{
	EXPECT(pVOpen(device) && errno == EUCLEAN && strstr(pErrorMsg(), device));
}

/* Many file systems leave the first blocks free: btrfs has its superblock at 64 KiB, UDF and JFS at 32, ZFS a label
 * from 16. */
static void a_device_with_other_content_is_refused_and_left_alone(void **state)
{
	static const off_t mark[] = {0, 1024, 4096, 16384, 32768, 65536};
	static unsigned char begin[1 << 20], found[1 << 20];

	(void)state;
	if (device_fd < 0)
		skip();
	for (unsigned i = 0; i < sizeof(mark) / sizeof(mark[0]); i++) {
		memset(begin, 0, sizeof(begin));
		memset(begin + mark[i], 'y', 64);
		assert_int_equal(pwrite(device_fd, begin, sizeof(begin), 0), sizeof(begin));
		assert_int_equal(fsync(device_fd), 0);
		in_process(refuse);
		assert_int_equal(pread(device_fd, found, sizeof(found), 0), sizeof(found));
		assert_memory_equal(found, begin, sizeof(begin));
	}
}

static void see_three(void)
{
	int id;

	EXPECT(restore(&id)->n == 3);
	EXPECT(!pVClose());
}

/* Of a volume that was being made only the extent table is there. */
static void a_volume_that_was_never_finished_is_made_anew(void **state)
{
	static unsigned char begin[1 << 20];

	(void)state;
	if (device_fd < 0)
		skip();
	memset(begin, 0, sizeof(begin));
	memcpy(begin + 8192, "SPEXTTB1 the rest is torn", 25);
	assert_int_equal(pwrite(device_fd, begin, sizeof(begin), 0), sizeof(begin));
	in_process(make_points);
	in_process(see_three);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_device_is_a_volume_until_it_is_full),
	        cmocka_unit_test(a_device_with_other_content_is_refused_and_left_alone),
	        cmocka_unit_test(a_volume_that_was_never_finished_is_made_anew),
	};

	return cmocka_run_group_tests(tests, device_make, device_free);
}
