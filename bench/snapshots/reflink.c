/* reflink.c - a file on XFS or Btrfs that is written in place; a version or branch is a copy of it that shares its blocks
 * (FICLONE). The kernel writes what is dirty of the file before it copies, so the file itself needs no fsync. Variants: file;
 * subvolume (Btrfs: the file's subvolume is snapshotted instead of the file; that ioctl commits a transaction). */
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

static bool is_subvolume;
static int live, folder, subvolume;

static void live_write(uint64_t page, const void *from, size_t bytes)
{
	need(pwrite(live, from, bytes, (off_t)(page * PAGE)) == (ssize_t)bytes, "pwrite");
}

static void live_open(void)
{
	struct btrfs_ioctl_vol_args live_name = {.name = "live"};

	folder = open(system_folder, O_RDONLY | O_DIRECTORY);
	need(folder >= 0, system_folder);
	if (is_subvolume) {
		need(!ioctl(folder, BTRFS_IOC_SUBVOL_CREATE, &live_name), "BTRFS_IOC_SUBVOL_CREATE");
		subvolume = open(path_of("live"), O_RDONLY | O_DIRECTORY);
		need(subvolume >= 0, "live");
	}
	live = open(path_of(is_subvolume ? "live/state" : "state"), O_RDWR | O_CREAT, 0600);
	need(live >= 0, "state");
}

static void reflink_make(const char *variant)
{
	enum { AT_ONCE = 256 };
	char *buffer = malloc(AT_ONCE * PAGE);

	is_subvolume = !strcmp(variant, "subvolume");
	live_open();
	need(buffer, "malloc");
	for (uint64_t page = 0; page < system_pages; page += AT_ONCE) {
		fill(buffer, AT_ONCE * PAGE);
		live_write(page, buffer, AT_ONCE * PAGE);
	}
	free(buffer);
	need(!fsync(live), "fsync");
	folder_sync();
}

static void reflink_change(uint64_t page)
{
	uint64_t content[PAGE / 8];

	fill(content, PAGE);
	live_write(page, content, PAGE);
}

static bool subvolume_keep(enum kind kind, unsigned n)
{
	struct btrfs_ioctl_vol_args_v2 a = {.fd = subvolume, .flags = kind == VERSION ? BTRFS_SUBVOL_RDONLY : 0};
	int err;

	snprintf(a.name, sizeof(a.name), "%c%u", kind, n);
	err = ioctl(folder, BTRFS_IOC_SNAP_CREATE_V2, &a);
	need(!err || errno == ENOSPC, "BTRFS_IOC_SNAP_CREATE_V2");
	return !err;
}

static bool reflink_keep(enum kind kind, unsigned n)
{
	int copy, err;

	if (is_subvolume)
		return subvolume_keep(kind, n);
	copy = open(path_of_kept(kind, n), O_RDWR | O_CREAT | O_EXCL, 0600);
	need(copy >= 0 || errno == ENOSPC, "the copy");
	if (copy < 0)
		return false;
	err = ioctl(copy, FICLONE, live) || fsync(copy) || fsync(folder);
	need(!err || errno == ENOSPC, "FICLONE, fsync");
	close(copy);
	return !err;
}

static int kept_open(enum kind kind, unsigned n, int flags)
{
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "%c%u%s", kind, n, is_subvolume ? "/state" : "");
	fd = open(path_of(name), flags);
	need(fd >= 0, name);
	return fd;
}

static void reflink_branch_change(unsigned n)
{
	int fd = kept_open(BRANCH, n, O_RDWR);
	uint64_t content[PAGE / 8];

	fill(content, PAGE);
	need(pwrite(fd, content, PAGE, (off_t)(system_pages / 2 * PAGE)) == PAGE && !fsync(fd), "the branch's page");
	close(fd);
}

static void reflink_look(unsigned n)
{
	int fd = kept_open(VERSION, n, O_RDONLY);
	char word[8];

	need(pread(fd, word, sizeof(word), (off_t)(system_pages / 2 * PAGE)) == sizeof(word), "pread");
	close(fd);
}

static uint64_t reflink_space(void)
{
	struct statvfs st;

	need(!syncfs(folder) && !fstatvfs(folder, &st), "statvfs");
	return (st.f_blocks - st.f_bfree) * st.f_frsize;
}

int main(int argc, char **argv)
{
	return system_main(argc, argv,
	                   &(struct system){reflink_make, reflink_change, reflink_keep, reflink_branch_change,
	                                    reflink_look, NULL, reflink_space});
}
