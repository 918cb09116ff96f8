/* wp.c - the kernel's asynchronous write-protect: the first write to a protected page costs a short fault and no signal, and
 * PAGEMAP_SCAN tells which pages were written and protects them again, in one pass over the page tables.
 *
 * Protecting in that pass costs little by itself, but for each 2 MiB with a written page the kernel interrupts every processor that
 * ran the process since it was last interrupted so, even if it idles: 12 to 65 us for idle virtual processors.
 * UFFDIO_WRITEPROTECT, a call of 1 to 2 us for each page, interrupts only processors that run the process now. So if other
 * threads ran lately (spm_track_note_others) a collect begins with looking only, protects what it finds by a call each, and
 * protects in the pass from the FEWth region on. What is written between look and call lies on a page that is
 * reported and copied later, or is reported next time.
 *
 * Registration is by range and lost with the mapping (mremap, MAP_FIXED): the scan then fails with EPERM, and the
 * range is registered anew; its populated pages count as written. A scan that fails half way has protected the pages before
 * the failure, and written their regions, but does not return how many: `region` is zero before each scan, so they
 * are found nevertheless. Asked for are pages that are WRITTEN, not PFNZERO, and PRESENT or SWAPPED: plain
 * WRITTEN would also count, and build page tables for, all that was never touched. "Not FILE" is not asked for: the window
 * holds anonymous memory only, and the kernel would look at the struct page of every page (bench/track).
 *
 * The kernel is three times as fast if all that it is asked is WRITTEN (169 us a GiB in small pages, else 499: bench/track). So
 * where a whole 2 MiB is known to be there, nothing else is asked. Memory that is given back later is reported once more.
 *
 * A huge page is skipped in one step while nobody writes it; a write splits it for good. Collapsing it again needs it without
 * protection for a moment:
 *
 *   hash -> look: nothing written, all small pages -> open -> collapse -> protect -> hash
 *
 * Other threads stand still meanwhile: hashes do not show a pointer that was written again, to another object at the same
 * address. They are for what the kernel writes on behalf of a thread that stands in a system call: if they differ, the
 * range is left open, and the next collect reports all of it.
 */
#include "heap/heap.h"
#include "track/internal.h"
#include "track/kernel_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

enum { REGIONS = 512, FEW = 16, HUGE_PAGES = 512, HUGE_BYTES = HUGE_PAGES * SPM_PAGE_BYTES };

static int uffd = -1, pagemap = -1;
static bool have_others_run;
static bool uffd_serves_kernel; /* it may also be asked for pages that the kernel touches for the program (missing.h) */
static struct page_region region[REGIONS]; /* collects are serialized; all zero between scans */

/* Of each 2 MiB: how many pages were reported since somebody last looked whether all are there; or DENSE: they are. */
enum { DENSE = 0xffff };
static uint16_t reported[SPM_SLICES * (SPM_SLICE_BYTES / HUGE_BYTES)];

static uint16_t *reported_of(uint64_t at)
{
	return &reported[(at - SPM_WINDOW_START) / HUGE_BYTES];
}

/* The end of what is dense, or not, as `at` is. */
static uint64_t stretch_end(uint64_t at, uint64_t to)
{
	uint64_t end = (at & ~(uint64_t)(HUGE_BYTES - 1)) + HUGE_BYTES;

	while (end < to && (*reported_of(end) == DENSE) == (*reported_of(at) == DENSE))
		end += HUGE_BYTES;
	return end < to ? end : to;
}

static int uffd_open_as(int flags)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) || !(api.features & UFFD_FEATURE_WP_ASYNC)) {
		close(fd);
		return -ENOSYS;
	}
	return fd;
}

static int uffd_open(void)
{
	int fd = uffd_open_as(0);

	uffd_serves_kernel = fd >= 0;
	return fd >= 0 ? fd : uffd_open_as(UFFD_USER_MODE_ONLY);
}

int spm_wp_descriptor(bool serves_kernel)
{
	return serves_kernel && !uffd_serves_kernel ? -1 : uffd;
}

static int range_protect(uint64_t from, uint64_t bytes, bool protect)
{
	struct uffdio_writeprotect w = {{from, bytes}, protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &w) ? -errno : 0;
}

/* Lists in `region` what was written, and protects it unless only few are wanted. Returns how many regions; *err is 0 or the
 * failure after them. */
static unsigned scan(uint64_t from, uint64_t to, bool is_dense, bool is_few, uint64_t *walked, int *err)
{
	struct pm_scan_arg arg = {
	        .size = sizeof(arg),
	        .flags = PM_SCAN_CHECK_WPASYNC | (is_few ? 0 : PM_SCAN_WP_MATCHING),
	        .start = from,
	        .end = to,
	        .vec = (uintptr_t)region,
	        .vec_len = is_few ? FEW : REGIONS,
	        .category_inverted = is_dense ? 0 : PAGE_IS_PFNZERO,
	        .category_mask = is_dense ? PAGE_IS_WRITTEN : PAGE_IS_WRITTEN | PAGE_IS_PFNZERO,
	        .category_anyof_mask = is_dense ? 0 : PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	        .return_mask = PAGE_IS_WRITTEN,
	};
	int result = ioctl(pagemap, PAGEMAP_SCAN, &arg);
	unsigned n = 0;

	*err = result < 0 ? -errno : 0;
	*walked = arg.walk_end;
	while (n < REGIONS && region[n].end)
		n++;
	return n;
}

/* The first failure; what is not protected is reported again. */
static int regions_protect(unsigned n)
{
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++)
		err = range_protect(region[i].start, region[i].end - region[i].start, true);
	return err;
}

/* Protects and lists in `region` what was written. */
static unsigned take(uint64_t from, uint64_t to, bool is_dense, bool is_few, uint64_t *walked, int *err)
{
	unsigned n = scan(from, to, is_dense, is_few, walked, err);
	int protect_err = is_few ? regions_protect(n) : 0;

	*err = *err ? *err : protect_err;
	return n;
}

static bool is_all_there(uint64_t at)
{
	struct page_region there = {0};
	struct pm_scan_arg arg = {
	        .size = sizeof(arg),
	        .start = at,
	        .end = at + HUGE_BYTES,
	        .vec = (uintptr_t)&there,
	        .vec_len = 1,
	        .category_inverted = PAGE_IS_PFNZERO,
	        .category_mask = PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
	        .return_mask = PAGE_IS_PRESENT,
	};

	return ioctl(pagemap, PAGEMAP_SCAN, &arg) == 1 && there.start == at && there.end == at + HUGE_BYTES;
}

static void range_count(uint64_t at, uint64_t pages)
{
	uint16_t *n = reported_of(at);

	*n = (uint16_t)(*n + pages); /* at most twice 512 */
	if (*n >= HUGE_PAGES)
		*n = is_all_there(at) ? DENSE : 0;
}

static void regions_count(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (uint64_t at = region[i].start, end; at < region[i].end; at = end) {
			uint64_t range = at & ~(uint64_t)(HUGE_BYTES - 1);

			end = range + HUGE_BYTES < region[i].end ? range + HUGE_BYTES : region[i].end;
			range_count(range, (end - at) / SPM_PAGE_BYTES);
		}
}

static void regions_report(unsigned n, void (*dirty)(pageno_t, uint32_t, void *), void *arg)
{
	for (unsigned i = 0; i < n; i++)
		dirty(spm_page_of(region[i].start), (uint32_t)((region[i].end - region[i].start) / SPM_PAGE_BYTES),
		      arg);
	memset(region, 0, n * sizeof(*region));
}

static int exactly_register(uint64_t from, uint64_t to)
{
	struct uffdio_register r = {.range = {from, to - from}, .mode = UFFDIO_REGISTER_MODE_WP};

	return ioctl(uffd, UFFDIO_REGISTER, &r) ? -errno : 0;
}

/* Whole slices if possible: a registration that ends inside a mapping splits it. */
static int range_register(uint64_t from, uint64_t to)
{
	uint64_t slice_from = from - (from - SPM_WINDOW_START) % SPM_SLICE_BYTES;
	uint64_t slice_to = to + (SPM_SLICE_BYTES - (to - SPM_WINDOW_START) % SPM_SLICE_BYTES) % SPM_SLICE_BYTES;

	return exactly_register(slice_from, slice_to) ? exactly_register(from, to) : 0;
}

/* The page is written, and must be seen just once, by either way to protect it. */
static int page_probe(volatile char *page)
{
	uint64_t at = (uintptr_t)page, walked;
	unsigned seen = 0, n;
	int err = exactly_register(at, at + SPM_PAGE_BYTES);

	for (unsigned turn = 0; turn < 8 && !err; turn++) {
		if (turn % 2 == 0)
			*page = 1;
		n = take(at, at + SPM_PAGE_BYTES, false, turn < 4, &walked, &err);
		memset(region, 0, n * sizeof(*region));
		seen |= n << turn;
	}
	return err ? err : seen == 0x55 ? 0 : -ENOSYS;
}

/* Whether it works here: system call filters and emulated kernels have their own ideas. */
static int probe(void)
{
	void *page = mmap(NULL, SPM_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err;

	if (page == MAP_FAILED)
		return -ENOMEM;
	err = page_probe(page);
	munmap(page, SPM_PAGE_BYTES);
	return err;
}

static void wp_close(void)
{
	if (uffd >= 0)
		close(uffd);
	if (pagemap >= 0)
		close(pagemap);
	uffd = pagemap = -1;
}

static int wp_init(void)
{
	int err = 0;

	uffd = uffd_open();
	if (uffd < 0) {
		err = uffd;
		uffd = -1;
		return err;
	}
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	err = pagemap < 0 ? -errno : probe();
	if (err)
		wp_close();
	return err;
}

/* A lost registration is noticed by itself, and given back pages are populated again only by writes. */
static void wp_forget(pageno_t first, uint32_t pages)
{
	uint64_t at = spm_page_address(first), to = at + (uint64_t)pages * SPM_PAGE_BYTES;

	for (at &= ~(uint64_t)(HUGE_BYTES - 1); at < to; at += HUGE_BYTES)
		*reported_of(at) = 0;
}

void spm_wp_note_others(bool have_run)
{
	have_others_run = have_run;
}

static int wp_collect(pageno_t first, uint32_t pages, void (*dirty)(pageno_t, uint32_t, void *), void *arg)
{
	uint64_t at = spm_page_address(first), to = at + (uint64_t)pages * SPM_PAGE_BYTES, walked;
	bool is_registered = false;
	unsigned found = have_others_run ? 0 : FEW;

	while (at < to) {
		bool is_dense = *reported_of(at) == DENSE;
		unsigned n;
		int err;

		n = take(at, stretch_end(at, to), is_dense, found < FEW, &walked, &err);
		found += n;
		if (!is_dense)
			regions_count(n);
		regions_report(n, dirty, arg);
		if (err == -EPERM && !is_registered) {
			wp_forget(spm_page_of(at), (uint32_t)((to - at) / SPM_PAGE_BYTES));
			err = range_register(at, to);
			if (err)
				return err;
			is_registered = true;
			continue;
		}
		if (err)
			return err;
		if (walked <= at)
			return -EIO;
		at = walked;
		is_registered = false;
	}
	return 0;
}

/* Looks for runs of small pages that are present and not written, without protecting anything. Returns 1 and the first
 * such run, 0 if there is none, or -errno. */
static int cold_find(uint64_t from, uint64_t to, struct page_region *found)
{
	struct pm_scan_arg arg = {
	        .size = sizeof(arg),
	        .flags = PM_SCAN_CHECK_WPASYNC,
	        .start = from,
	        .end = to,
	        .vec = (uintptr_t)found,
	        .vec_len = 1,
	        .category_inverted = PAGE_IS_WRITTEN | PAGE_IS_FILE | PAGE_IS_PFNZERO | PAGE_IS_HUGE,
	        .category_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN | PAGE_IS_FILE | PAGE_IS_PFNZERO | PAGE_IS_HUGE,
	        .return_mask = PAGE_IS_PRESENT,
	};
	int n = ioctl(pagemap, PAGEMAP_SCAN, &arg);

	return n < 0 ? -errno : n;
}

static bool wp_is_cold(pageno_t first, uint32_t pages)
{
	uint64_t at = spm_page_address(first), to = at + (uint64_t)pages * SPM_PAGE_BYTES;
	struct page_region cold;

	return cold_find(at, to, &cold) > 0 && cold.start == at && cold.end == to;
}

/* 1: the 2 MiB are a huge page now, 0: they are not, and nothing is lost, or -errno, and nothing is lost. */
static int huge_collapse(uint64_t at)
{
	void *bytes = (void *)(uintptr_t)at;
	uint64_t hash = XXH3_64bits(bytes, HUGE_BYTES);
	struct page_region cold;
	int is_cold = cold_find(at, at + HUGE_BYTES, &cold), is_huge, err;

	if (is_cold <= 0)
		return is_cold;
	if (cold.start != at || cold.end != at + HUGE_BYTES)
		return 0;
	err = range_protect(at, HUGE_BYTES, false);
	if (err)
		return err; /* what was opened is reported by the next collect */
	is_huge = !madvise(bytes, HUGE_BYTES, MADV_COLLAPSE);
	err = range_protect(at, HUGE_BYTES, true);
	if (err || XXH3_64bits(bytes, HUGE_BYTES) != hash)
		return range_protect(at, HUGE_BYTES, false) ? -EIO : err;
	return is_huge;
}

static int wp_collapse(pageno_t first, uint32_t pages)
{
	uint64_t at = spm_page_address(first), to = at + (uint64_t)pages * SPM_PAGE_BYTES;
	struct page_region cold;
	int collapsed = 0, n;

	while ((n = cold_find(at, to, &cold)) > 0) {
		for (at = (cold.start + HUGE_BYTES - 1) & ~(uint64_t)(HUGE_BYTES - 1); at + HUGE_BYTES <= cold.end;
		     at += HUGE_BYTES) {
			n = huge_collapse(at);
			if (n < 0)
				return n;
			collapsed += n;
		}
		at = cold.end;
	}
	return n < 0 && n != -EPERM ? n : collapsed; /* EPERM: from here on not collected yet, so not cold */
}

/* The child's memory is not watched; its copies of the descriptors speak of the parent. */
static void wp_after_fork(void)
{
	wp_close();
}

const struct tracker spm_track_wp = {"wp", wp_init, wp_collect, wp_is_cold, wp_collapse, wp_forget, wp_after_fork};
