/* missing.c - see missing.h. */
#include "track/missing.h"
#include "heap/heap.h"
#include "track/internal.h"
#include "track/kernel_abi.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

static struct uffdio_range range_of(pageno_t first, uint32_t pages)
{
	return (struct uffdio_range){spm_page_address(first), (uint64_t)pages * SPM_PAGE_BYTES};
}

bool spm_missing_is_possible(void)
{
	return spm_wp_descriptor(true) >= 0;
}

int spm_missing_watch(pageno_t first, uint32_t pages)
{
	struct uffdio_register r = {.range = range_of(first, pages),
	                            .mode = UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MISSING};

	if (madvise((void *)(uintptr_t)r.range.start, r.range.len, MADV_DONTNEED))
		return -errno;
	return ioctl(spm_wp_descriptor(true), UFFDIO_REGISTER, &r) ? -errno : 0;
}

int spm_missing_next(pageno_t *page)
{
	int fd = spm_wp_descriptor(true);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct uffd_msg message;

	for (;;) {
		ssize_t n = read(fd, &message, sizeof(message));

		if (n == sizeof(message) && message.event == UFFD_EVENT_PAGEFAULT)
			break;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		if (n < 0 && poll(&p, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
	*page = spm_page_of(message.arg.pagefault.address);
	return 0;
}

void spm_missing_wake(pageno_t first, uint32_t pages)
{
	struct uffdio_range r = range_of(first, pages);

	ioctl(spm_wp_descriptor(true), UFFDIO_WAKE, &r);
}

/* How many bytes were done, or -errno if none were. */
static int64_t copy(uint64_t to, uint64_t from, uint64_t bytes)
{
	struct uffdio_copy c = {.dst = to, .src = from, .len = bytes, .mode = UFFDIO_COPY_MODE_WP};

	return !ioctl(spm_wp_descriptor(true), UFFDIO_COPY, &c) || c.copy > 0 ? c.copy : -errno;
}

/* Where a scan has left a mark that the page is watched although it is not there, the kernel takes no zero page, but a page of
 * zeros. */
static int64_t zero(uint64_t to, uint64_t from, uint64_t bytes)
{
	static const unsigned char zeros[SPM_PAGE_BYTES] __attribute__((aligned(4096)));
	struct uffdio_zeropage z = {.range = {to, bytes}};

	(void)from;
	if (!ioctl(spm_wp_descriptor(true), UFFDIO_ZEROPAGE, &z) || z.zeropage > 0)
		return z.zeropage;
	return errno == EEXIST ? copy(to, (uintptr_t)zeros, SPM_PAGE_BYTES) : -errno;
}

/* Does what can be done, passing over pages that are there; *put: how many were not. */
static int all_do(int64_t (*step)(uint64_t to, uint64_t from, uint64_t bytes), pageno_t first, uint32_t pages,
                  const void *content, int *put)
{
	uint64_t to = spm_page_address(first), bytes = (uint64_t)pages * SPM_PAGE_BYTES, done = 0;
	int err = 0;

	*put = 0;
	while (done < bytes) {
		int64_t n = step(to + done, (uintptr_t)content + done, bytes - done);

		if (n > 0) {
			done += (uint64_t)n;
			*put += (int)(n / SPM_PAGE_BYTES);
			continue;
		}
		if (n == -EAGAIN)
			continue;
		if (n == -EEXIST)
			spm_missing_wake(first + (pageno_t)(done / SPM_PAGE_BYTES), 1);
		else if (!err)
			err = n ? (int)n : -EIO;
		done += SPM_PAGE_BYTES;
	}
	return err;
}

int spm_missing_supply(pageno_t first, uint32_t pages, const void *content)
{
	int put;

	return all_do(copy, first, pages, content, &put);
}

int spm_missing_zero(pageno_t first, uint32_t pages)
{
	int put, err = all_do(zero, first, pages, NULL, &put);

	return err ? err : put;
}

int spm_missing_poison(pageno_t page)
{
	struct uffdio_poison p = {.range = range_of(page, 1)};

	return ioctl(spm_wp_descriptor(true), UFFDIO_POISON, &p) ? -errno : 0;
}
