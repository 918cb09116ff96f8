/* refusals.c - volumes where none can be, on real file systems: each is refused with the errno that softpm.h names and
 * a sentence that names the path, and what was there is left as it was. A full file system is reported, harms nothing
 * in memory, and the work goes on when there is room again.
 *
 * The mounts are made by processes in mount namespaces of their own, which end with them; only root can do that.
 */
#include "book.h"
#include "expect.h"
#include "scratch.h"
#include "softpm.h"
#include "sparse.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SKIPPED = 77, NOBODY = 65534, LARGE = 1 << 20 };

/* Runs fn in a process of its own; fails if it does not return 0, skips if SKIPPED. */
static void in_process(int (*fn)(const char *path), const char *path)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(fn(path));
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		skip();
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the process ended with status 0x%x", status);
}

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

static bool is_refused(const char *path, int error, const char *word)
{
	if (!pVOpen(path)) {
		fprintf(stderr, "%s was taken for a volume\n", path);
		return false;
	}
	if (errno == error && strstr(pErrorMsg(), path) && strstr(pErrorMsg(), word))
		return true;
	fprintf(stderr, "%s: expected errno %d and a sentence with '%s', got %d: %s\n", path, error, word, errno,
	        pErrorMsg());
	return false;
}

static int points_make(const char *path)
{
	struct book *b;
	int id;

	EXPECT(!pVOpen(path));
	id = pCAlloc(1, sizeof(*b), (void **)&b);
	EXPECT(id);
	b->seed = 5;
	for (unsigned i = 0; i < 20; i++) {
		book_step(b);
		EXPECT(pPointSync(id) > 0);
	}
	EXPECT(!pVClose());
	return 0;
}

static int points_are_there(const char *path)
{
	struct book *b;
	int id;

	EXPECT(!pVOpen(path));
	id = pCRestore(1, (void **)&b);
	EXPECT(id);
	EXPECT(b->steps >= 20 && book_is_right(b));
	EXPECT(!pVClose());
	return 0;
}

/* --- no mount needed --- */

static int refuse_other_kinds(const char *path)
{
	char fifo[600];

	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	EXPECT(!mkdir(path, 0700) && !mkfifo(fifo, 0600));
	EXPECT(is_refused(path, EISDIR, "directory"));
	EXPECT(is_refused(fifo, ENOTSUP, "neither a regular file nor a block device"));
	EXPECT(is_refused("/dev/null", ENOTSUP, "neither a regular file nor a block device"));
	EXPECT(is_refused("no/such/folder/volume", ENOENT, "No such file"));
	EXPECT(!rmdir(path) && !unlink(fifo));
	EXPECT(!points_make(path)); /* and nothing of that is in the way */
	return points_are_there(path);
}

static void what_is_no_file_is_refused(void **state)
{
	(void)state;
	in_process(refuse_other_kinds, scratch("kinds"));
}

static int refuse_content(const char *path)
{
	static unsigned char text[3 * 4096 + 17];
	static const size_t lengths[] = {1, 4096, 8192, sizeof(text)};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint64_t bytes;
		unsigned char *now;

		memset(text, 'x', sizeof(text));
		EXPECT(!file_write(path, text, lengths[i]));
		EXPECT(is_refused(path, EUCLEAN, "no SoftPM volume"));
		now = file_read(path, &bytes);
		EXPECT(now && bytes == lengths[i] && !memcmp(now, text, bytes));
		free(now);
	}
	return 0;
}

static void somebody_elses_file_is_refused_and_left_alone(void **state)
{
	(void)state;
	in_process(refuse_content, scratch("text"));
}

static int make_of_nothing(const char *path)
{
	struct stat st;

	umask(0);
	EXPECT(!points_make(path));
	EXPECT(!stat(path, &st) && (st.st_mode & 07777) == 0600);
	EXPECT(!unlink(path) && !file_write(path, NULL, 0));
	EXPECT(!points_make(path)); /* in the file of 0 bytes */
	return points_are_there(path);
}

static void a_volume_is_made_for_its_owner_alone_also_in_an_empty_file(void **state)
{
	(void)state;
	in_process(make_of_nothing, scratch("empty"));
}

static int as_nobody(const char *path)
{
	char beside[600];

	snprintf(beside, sizeof(beside), "%s.beside", path);
	EXPECT(!setgid(NOBODY) && !setuid(NOBODY));
	if (access(path, F_OK))
		return SKIPPED; /* a folder above it is closed to others */
	EXPECT(is_refused(path, EACCES, "Permission denied"));
	EXPECT(is_refused(beside, EACCES, "Permission denied"));
	return 0;
}

static void what_may_not_be_read_is_refused(void **state)
{
	char folder[600];

	(void)state;
	if (geteuid()) {
		print_message("only root can become nobody\n");
		skip();
	}
	snprintf(folder, sizeof(folder), "%s", scratch(""));
	assert_int_equal(chmod(folder, 0755), 0);
	in_process(points_make, scratch("rooms"));
	in_process(as_nobody, scratch("rooms"));
}

/* --- mounts --- */

static bool mount_begin(const char *folder)
{
	if (geteuid() || unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    (mkdir(folder, 0700) && errno != EEXIST)) {
		fprintf(stderr, "only root can mount: %s\n", strerror(errno));
		return false;
	}
	return true;
}

static const char *in(const char *folder, const char *name)
{
	static char path[2][700];
	static unsigned n;
	char *p = path[n++ % 2];

	snprintf(p, sizeof(path[0]), "%s/%s", folder, name);
	return p;
}

static int refuse_read_only(const char *folder)
{
	const char *volume = in(folder, "v");
	unsigned char *before, *after;
	uint64_t bytes, bytes_after;

	if (!mount_begin(folder) || mount("none", folder, "tmpfs", 0, "size=16m"))
		return SKIPPED;
	EXPECT(!points_make(volume));
	before = file_read(volume, &bytes);
	EXPECT(!mount("none", folder, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL));
	EXPECT(is_refused(volume, EROFS, "read-only file system"));
	EXPECT(is_refused(in(folder, "another"), EROFS, "read-only file system"));
	after = file_read(volume, &bytes_after);
	EXPECT(before && after && bytes == bytes_after && !memcmp(before, after, bytes));
	EXPECT(!mount("none", folder, "tmpfs", MS_REMOUNT, NULL));
	return points_are_there(volume);
}

static void a_read_only_file_system_is_refused(void **state)
{
	(void)state;
	in_process(refuse_read_only, scratch("readonly.d"));
}

static int use_tmpfs(const char *folder)
{
	if (!mount_begin(folder) || mount("none", folder, "tmpfs", 0, "size=16m"))
		return SKIPPED;
	EXPECT(!points_make(in(folder, "v")));
	return points_are_there(in(folder, "v"));
}

static void tmpfs_is_taken(void **state)
{
	(void)state;
	in_process(use_tmpfs, scratch("tmpfs.d"));
}

/* All but `left` bytes of the file system. */
static int filler_make(const char *path, const char *folder, uint64_t left)
{
	static unsigned char some[1 << 16];
	struct statfs fs;
	uint64_t bytes;
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);

	if (fd < 0 || statfs(folder, &fs))
		return -1;
	bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	for (uint64_t done = 0; bytes > left && done < bytes - left; done += sizeof(some))
		if (write(fd, some, sizeof(some)) < 0)
			break;
	return fsync(fd) | close(fd);
}

struct chunks { /* the book, and what fills the volume */
	struct book book;
	unsigned char *chunk[64];
	uint64_t n;
};

static int chunk_add(struct chunks *c)
{
	c->chunk[c->n] = pMallocNoPtr(LARGE);
	if (!c->chunk[c->n])
		return -1;
	memset(c->chunk[c->n], (int)c->n + 1, LARGE);
	c->n++;
	book_step(&c->book);
	return 0;
}

static bool chunks_are_right(const struct chunks *c)
{
	for (uint64_t i = 0; i < c->n; i++)
		for (unsigned at = 0; at < LARGE; at++)
			if (c->chunk[i][at] != (unsigned char)(i + 1))
				return false;
	return c->book.steps == c->n && book_is_right(&c->book);
}

static bool tells_of_a_full_disk(void)
{
	return errno == ENOSPC && strstr(pErrorMsg(), "No space left") && strstr(pErrorMsg(), "make room");
}

/* Another try: a file system may find some room yet, and then the version is made. */
static bool is_made_or_tells(int id, bool is_async, int64_t *last)
{
	int64_t version = is_async ? pPoint(id) : pPointSync(id);

	if (!version || (is_async && pSync(id)))
		return tells_of_a_full_disk();
	if (version != *last && version != *last + 1)
		return false;
	*last = version;
	return true;
}

static int chunks_are_there(const char *volume, uint64_t n)
{
	struct chunks *c;

	EXPECT(!pVOpen(volume));
	EXPECT(pCRestore(2, (void **)&c));
	EXPECT(c->n == n && chunks_are_right(c));
	EXPECT(!pVClose());
	return 0;
}

/* Points by pPointSync and by pPoint and pSync fail, nothing is harmed, and both go on. */
static int fill_and_go_on(const char *folder)
{
	const char *volume = in(folder, "v"), *filler = in(folder, "filler");
	struct chunks *c;
	int64_t last = 0, version = 1;
	int id;

	EXPECT(!filler_make(filler, folder, 6 << 20));
	EXPECT(!pVOpen(volume));
	id = pCAlloc(2, sizeof(*c), (void **)&c);
	EXPECT(id);
	c->book.seed = 9;
	while (version && c->n < 32) {
		EXPECT(!chunk_add(c));
		version = pPointSync(id);
		last = version ? version : last;
	}
	EXPECT(!version && tells_of_a_full_disk());
	EXPECT(last >= 1 && chunks_are_right(c));
	EXPECT(is_made_or_tells(id, false, &last) && is_made_or_tells(id, true, &last));
	EXPECT(chunks_are_right(c));
	EXPECT(!unlink(filler));
	version = pPointSync(id);
	EXPECT(version == last + 1 || version == last);
	last = version;
	EXPECT(!chunk_add(c));
	EXPECT(pPoint(id) == last + 1 && !pSync(id));
	EXPECT(chunks_are_right(c));
	last = (int64_t)c->n;
	EXPECT(!pVClose());
	return chunks_are_there(volume, (uint64_t)last);
}

static int fill_tmpfs(const char *folder)
{
	if (!mount_begin(folder) || mount("none", folder, "tmpfs", 0, "size=32m"))
		return SKIPPED;
	return fill_and_go_on(folder);
}

/* mount(8) frees its loop device when the last mount of it goes, with the namespace. */
static int fill_ext4(const char *folder)
{
	char command[2000];

	snprintf(command, sizeof(command),
	         "truncate -s 40M %s.img && mkfs.ext4 -q -F %s.img && mount -o loop %s.img %s 2>/dev/null", folder,
	         folder, folder, folder);
	if (!mount_begin(folder) || system(command)) {
		fprintf(stderr, "ext4 in a file can't be mounted here\n");
		return SKIPPED;
	}
	return fill_and_go_on(folder);
}

static void a_full_tmpfs_is_told_and_harms_nothing(void **state)
{
	(void)state;
	in_process(fill_tmpfs, scratch("full-tmpfs.d"));
}

static void a_full_ext4_is_told_and_harms_nothing(void **state)
{
	(void)state;
	in_process(fill_ext4, scratch("full-ext4.d"));
}

static int folders_remove(void **state)
{
	static const char *const folder[] = {"readonly.d", "tmpfs.d", "full-tmpfs.d", "full-ext4.d"};

	(void)state;
	for (unsigned i = 0; i < sizeof(folder) / sizeof(folder[0]); i++)
		rmdir(scratch(folder[i]));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(what_is_no_file_is_refused),
	        cmocka_unit_test(somebody_elses_file_is_refused_and_left_alone),
	        cmocka_unit_test(a_volume_is_made_for_its_owner_alone_also_in_an_empty_file),
	        cmocka_unit_test(what_may_not_be_read_is_refused),
	        cmocka_unit_test(a_read_only_file_system_is_refused),
	        cmocka_unit_test(tmpfs_is_taken),
	        cmocka_unit_test(a_full_tmpfs_is_told_and_harms_nothing),
	        cmocka_unit_test(a_full_ext4_is_told_and_harms_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, folders_remove);
}
