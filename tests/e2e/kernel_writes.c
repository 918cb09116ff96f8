/* kernel_writes.c - what the kernel writes for the program (read, recv, io_uring) into pages that the last point left
 * clean is in the next version. Where pages are tracked by mprotect, as the manual says, such a call fails with EFAULT
 * instead, until the program itself has written to the page; nothing is lost silently.
 */
#include "expect.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SKIPPED = 77, PAGE = 4096, TEXT = 700 };

/* In the middle of a large object, so that the page's neighbours are the container's, too. */
struct root {
	char *buffer;
};
enum { BUFFER = 16 * PAGE, AT = 7 * PAGE + 1000 };

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

static void in_process(int (*fn)(const char *volume), const char *volume, const char *tracker)
{
	int status;
	pid_t child = fork();

	if (!child) {
		setenv("SOFTPM_TRACK", tracker, 1);
		_exit(fn(volume));
	}
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		skip();
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("%s: the process ended with status 0x%x", tracker, status);
}

/* --- ways for the kernel to write `text` to `to`: the number of bytes, or -errno; `impossible`: can't be tried here
 * --- */

static const char *text;
static const int impossible = -100000;

static int by_read(void *to)
{
	int p[2];
	ssize_t n;

	if (pipe(p) || write(p[1], text, TEXT) != TEXT)
		return impossible;
	n = read(p[0], to, TEXT);
	n = n < 0 ? -errno : n;
	close(p[0]);
	close(p[1]);
	return (int)n;
}

static int by_recv(void *to)
{
	int s[2];
	ssize_t n;

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, s) || send(s[1], text, TEXT, 0) != TEXT)
		return impossible;
	n = recv(s[0], to, TEXT, 0);
	n = n < 0 ? -errno : n;
	close(s[0]);
	close(s[1]);
	return (int)n;
}

static int by_readv(void *to)
{
	struct iovec piece[2] = {{to, 300}, {(char *)to + 300, TEXT - 300}};
	int fd = memfd_create("text", 0);
	ssize_t n;

	if (fd < 0 || pwrite(fd, text, TEXT, 0) != TEXT)
		return impossible;
	n = preadv(fd, piece, 2, 0);
	n = n < 0 ? -errno : n;
	close(fd);
	return (int)n;
}

/* The raw interface, which needs no library: one read, submitted and waited for. */
struct uring {
	int fd;
	struct io_uring_params p;
	unsigned char *sq, *cq;
	struct io_uring_sqe *sqe;
};

static void *uring_map(const struct uring *u, size_t bytes, off_t what)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, what);

	return p == MAP_FAILED ? NULL : p;
}

static int uring_open(struct uring *u)
{
	*u = (struct uring){0};
	u->fd = (int)syscall(SYS_io_uring_setup, 4, &u->p);
	if (u->fd < 0)
		return -1;
	u->sq = uring_map(u, u->p.sq_off.array + u->p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	u->cq = uring_map(u, u->p.cq_off.cqes + u->p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	u->sqe = uring_map(u, u->p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	return u->sq && u->cq && u->sqe ? 0 : -1;
}

static int uring_read(struct uring *u, int fd, void *to)
{
	_Atomic unsigned *tail = (_Atomic unsigned *)(void *)(u->sq + u->p.sq_off.tail);
	unsigned *array = (unsigned *)(void *)(u->sq + u->p.sq_off.array);
	struct io_uring_cqe *cqe = (struct io_uring_cqe *)(void *)(u->cq + u->p.cq_off.cqes);

	u->sqe[0] = (struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = fd, .addr = (uintptr_t)to, .len = TEXT};
	array[0] = 0;
	atomic_store(tail, 1);
	if (syscall(SYS_io_uring_enter, u->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return impossible;
	atomic_thread_fence(memory_order_acquire);
	return cqe[0].res;
}

static int by_io_uring(void *to)
{
	struct uring u;
	int p[2], n = impossible;

	if (pipe(p) || write(p[1], text, TEXT) != TEXT)
		return impossible;
	if (!uring_open(&u))
		n = uring_read(&u, p[0], to);
	else
		fprintf(stderr, "no io_uring here: %s\n", strerror(errno));
	if (u.fd >= 0)
		close(u.fd);
	close(p[0]);
	close(p[1]);
	return n;
}

static const struct way {
	const char *name;
	int (*write)(void *to);
} ways[] = {{"read", by_read}, {"recv", by_recv}, {"preadv", by_readv}, {"io_uring", by_io_uring}};
enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static void text_set(unsigned i)
{
	static char bytes[TEXT];

	memset(bytes, (int)('a' + i), TEXT);
	text = bytes;
}

/* --- */

static int clean_container(const char *volume, struct root **r)
{
	int id;

	if (pVOpen(volume))
		return 0;
	id = pCAlloc(1, sizeof(**r), (void **)r);
	(*r)->buffer = pMallocNoPtr(BUFFER);
	memset((*r)->buffer, '.', BUFFER);
	return pPointSync(id) == 1 && pPointSync(id) == 1 ? id : 0;
}

static int write_clean_pages(const char *volume)
{
	struct pstats stats;
	struct root *r;
	int64_t version = 1;
	int id = clean_container(volume, &r);

	EXPECT(id);
	EXPECT(!pStats(1, &stats));
	if (strcmp(stats.tracker, "wp"))
		return SKIPPED;
	for (unsigned i = 0; i < WAYS; i++) {
		char *to = r->buffer + AT + i * 2 * PAGE;
		int n;

		text_set(i);
		n = ways[i].write(to);
		if (n == impossible)
			continue;
		if (n != TEXT)
			return fprintf(stderr, "%s gave %d\n", ways[i].name, n), 1;
		version++;
		if (pPointSync(id) != version)
			return fprintf(stderr, "%s made no new version: its page was not seen to change\n",
			               ways[i].name),
			       1;
		EXPECT(pPointSync(id) == version);
	}
	EXPECT(version > 3);
	return 0;
}

static int see_what_was_written(const char *volume)
{
	struct root *r;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(1, (void **)&r));
	for (unsigned i = 0; i < WAYS; i++) {
		const char *at = r->buffer + AT + i * 2 * PAGE;

		text_set(i);
		if (at[0] == '.' && !strcmp(ways[i].name, "io_uring"))
			continue;
		if (memcmp(at, text, TEXT) || at[-1] != '.' || at[TEXT] != '.')
			return fprintf(stderr, "what %s wrote is not back\n", ways[i].name), 1;
	}
	return 0;
}

static void what_the_kernel_writes_is_in_the_next_version(void **state)
{
	const char *volume = scratch("wp.vol");

	(void)state;
	in_process(write_clean_pages, volume, "wp");
	in_process(see_what_was_written, volume, "wp");
}

/* Restored pages are clean, too. */
static int write_restored_pages(const char *volume)
{
	struct root *r;
	int64_t version;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(1, (void **)&r);
	EXPECT(id);
	version = pPointSync(id);
	text_set(0);
	EXPECT(by_read(r->buffer + 3 * PAGE - TEXT / 2) == TEXT);
	EXPECT(pPointSync(id) == version + 1);
	return 0;
}

static int see_two_pages(const char *volume)
{
	struct root *r;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(1, (void **)&r));
	text_set(0);
	EXPECT(!memcmp(r->buffer + 3 * PAGE - TEXT / 2, text, TEXT));
	return 0;
}

static void so_it_is_after_a_restore(void **state)
{
	const char *volume = scratch("restored.vol");

	(void)state;
	in_process(write_clean_pages, volume, "wp");
	in_process(write_restored_pages, volume, "wp");
	in_process(see_two_pages, volume, "wp");
}

static int fail_and_go_on(const char *volume)
{
	struct root *r;
	int64_t version = 1;
	int id = clean_container(volume, &r);

	EXPECT(id);
	for (unsigned i = 0; i < WAYS; i++) {
		char *to = r->buffer + AT + i * 2 * PAGE;
		int n;

		text_set(i);
		n = ways[i].write(to);
		if (n == impossible)
			continue;
		if (n != -EFAULT)
			return fprintf(stderr, "%s into a protected page gave %d\n", ways[i].name, n), 1;
		EXPECT(to[0] == '.' && pPointSync(id) == version);
		to[0] = ','; /* the program's own write opens the page */
		n = ways[i].write(to);
		if (n != TEXT)
			return fprintf(stderr, "%s into a written page gave %d\n", ways[i].name, n), 1;
		EXPECT(pPointSync(id) == ++version);
	}
	return 0;
}

static void with_mprotect_the_call_fails_until_the_program_has_written(void **state)
{
	const char *volume = scratch("mprotect.vol");

	(void)state;
	in_process(fail_and_go_on, volume, "mprotect");
	in_process(see_what_was_written, volume, "mprotect");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_the_kernel_writes_is_in_the_next_version),
	        cmocka_unit_test(so_it_is_after_a_restore),
	        cmocka_unit_test(with_mprotect_the_call_fails_until_the_program_has_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
