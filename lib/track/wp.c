/* wp.c - the kernel's asynchronous write-protect: the first write to a protected page costs a short fault and no signal, and
 * PAGEMAP_SCAN tells which pages were written and protects them again, in one pass over the page tables.
 *
 * Registration is by range and lost with the mapping (mremap, MAP_FIXED): the scan then fails with EPERM, and the
 * range is registered anew. Asked for are pages that are WRITTEN, not FILE, not PFNZERO, and PRESENT or SWAPPED: plain
 * WRITTEN would also count, and build page tables for, all that was never touched.
 */
#include "heap/heap.h"
#include "track/internal.h"
#include "track/kernel_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REGIONS = 512 };

static int uffd = -1, pagemap = -1;

static int uffd_open(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) || !(api.features & UFFD_FEATURE_WP_ASYNC)) {
		close(fd);
		return -ENOSYS;
	}
	return fd;
}

static int scan(uint64_t from, uint64_t to, struct page_region *region, uint64_t *walked)
{
	struct pm_scan_arg arg = {
	        .size = sizeof(arg),
	        .flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
	        .start = from,
	        .end = to,
	        .vec = (uintptr_t)region,
	        .vec_len = REGIONS,
	        .category_inverted = PAGE_IS_FILE | PAGE_IS_PFNZERO,
	        .category_mask = PAGE_IS_WRITTEN | PAGE_IS_FILE | PAGE_IS_PFNZERO,
	        .category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	        .return_mask = PAGE_IS_WRITTEN,
	};
	int n = ioctl(pagemap, PAGEMAP_SCAN, &arg);

	*walked = arg.walk_end;
	return n < 0 ? -errno : n;
}

static int wp_init(void)
{
	struct page_region none[REGIONS];
	uint64_t walked;
	int err;

	uffd = uffd_open();
	if (uffd < 0)
		return uffd;
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	/* An empty range: only whether the call exists. */
	err = pagemap < 0 ? -errno : scan(SPM_WINDOW_START, SPM_WINDOW_START, none, &walked);
	if (err == -EINVAL)
		err = 0;
	if (err < 0) {
		if (pagemap >= 0)
			close(pagemap);
		close(uffd);
		return err;
	}
	return 0;
}

static unsigned char is_registered[SPM_SLICES];

/* Registers the slices of a range that are not yet. They are registered whole and before the first scan: a scan that meets
 * an unregistered part fails after it has protected, and forgotten to tell of, the pages before. */
static int slices_register(uint64_t from, uint64_t to, bool again)
{
	uint64_t first = (from - SPM_WINDOW_START) / SPM_SLICE_BYTES, last = (to - 1 - SPM_WINDOW_START) / SPM_SLICE_BYTES;

	for (uint64_t i = first; i <= last; i++) {
		struct uffdio_register r = {.range = {SPM_WINDOW_START + i * SPM_SLICE_BYTES, SPM_SLICE_BYTES},
		                            .mode = UFFDIO_REGISTER_MODE_WP};

		if (is_registered[i] && !again)
			continue;
		if (ioctl(uffd, UFFDIO_REGISTER, &r))
			return -errno;
		is_registered[i] = 1;
	}
	return 0;
}

static int wp_collect(pageno_t first, uint32_t pages, void (*dirty)(pageno_t, uint32_t, void *), void *arg)
{
	static struct page_region region[REGIONS]; /* collects are serialized */
	uint64_t at = spm_page_address(first), to = at + (uint64_t)pages * SPM_PAGE_BYTES, walked;
	bool was_lost = false;
	int err = slices_register(at, to, false);

	while (at < to && !err) {
		int n = scan(at, to, region, &walked);

		if (n == -EPERM && !was_lost) { /* the mapping was made anew: what was written since is unknown */
			was_lost = true;
			err = slices_register(at, to, true);
			dirty(first, pages, arg);
			continue;
		}
		if (n < 0)
			return n;
		for (int i = 0; i < n; i++)
			dirty(spm_page_of(region[i].start), (uint32_t)((region[i].end - region[i].start) / SPM_PAGE_BYTES), arg);
		if (walked <= at)
			return -EIO;
		at = walked;
	}
	return err;
}

static void wp_forget(pageno_t first, uint32_t pages)
{
	(void)first, (void)pages;
}

static void wp_after_fork(void)
{
	/* The child's memory is not watched; its copies of the descriptors speak of the parent. */
	close(uffd);
	close(pagemap);
	uffd = pagemap = -1;
}

const struct tracker spm_track_wp = {"wp", wp_init, wp_collect, wp_forget, wp_after_fork};
