/* mprotect.c - the way for older kernels: pages are read-only until their first write, whose SIGSEGV marks them.
 *
 *   state of a page   0 not watched   1 protected   2 written
 *
 * A fault on a page that is not ours, or not protected by us, goes to the handler that was there before. A system call
 * that writes into a protected page fails with EFAULT: the manual says so. When the kernel's limit on mappings is
 * reached, mprotect fails: then the 2 MiB around the page are opened as a whole and count as written.
 */
#include "heap/heap.h"
#include "track/internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

enum { UNWATCHED, PROTECTED, WRITTEN, CHUNK_PAGES = 512 };

static unsigned char *state;
static struct sigaction before;

static void open_chunk(pageno_t page)
{
	pageno_t from = page / CHUNK_PAGES * CHUNK_PAGES;

	/* Neighbours that are protected become written: opened, so no write to them would be seen. The bytes of
	 * PROT_NONE or unwatched pages beside them must stay as they are: only runs of protected pages are opened. */
	for (pageno_t p = from; p < from + CHUNK_PAGES; p++) {
		unsigned char was = PROTECTED;

		if (__atomic_compare_exchange_n(&state[p], &was, WRITTEN, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) || p == page)
			if (mprotect((void *)(uintptr_t)spm_page_address(p), SPM_PAGE_BYTES, PROT_READ | PROT_WRITE) && p == page)
				spm_panic("the page at 0x%llx can't be made writable: too many mappings (vm.max_map_count)",
				          (unsigned long long)spm_page_address(p));
	}
}

static void pass_on(int signal, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(signal, info, context);
	} else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
		struct sigaction fatal = {.sa_handler = SIG_DFL};

		sigaction(SIGSEGV, &fatal, NULL); /* the instruction faults again */
	} else {
		before.sa_handler(signal);
	}
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	uint64_t at = (uintptr_t)info->si_addr;
	int saved = errno;
	pageno_t page;

	if (!spm_in_window(at) || state[spm_page_of(at)] == UNWATCHED) {
		pass_on(signal, info, context);
		return;
	}
	page = spm_page_of(at);
	__atomic_store_n(&state[page], WRITTEN, __ATOMIC_RELEASE);
	if (mprotect((void *)(uintptr_t)(at & ~(uint64_t)(SPM_PAGE_BYTES - 1)), SPM_PAGE_BYTES, PROT_READ | PROT_WRITE))
		open_chunk(page);
	errno = saved;
}

static int mp_init(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
	size_t pages = (SPM_WINDOW_END - SPM_WINDOW_START) / SPM_PAGE_BYTES;
	void *p = mmap(NULL, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	state = p;
	sigemptyset(&action.sa_mask);
	return sigaction(SIGSEGV, &action, &before) ? -errno : 0;
}

static int run_protect(pageno_t from, uint32_t pages)
{
	return mprotect((void *)(uintptr_t)spm_page_address(from), (size_t)pages * SPM_PAGE_BYTES, PROT_READ);
}

/* Reports a run of pages that are not protected and protects it; if that fails it stays written, and is reported
 * again next time. */
static void run_take(pageno_t from, uint32_t pages, void (*dirty)(pageno_t, uint32_t, void *), void *arg)
{
	memset(state + from, PROTECTED, pages);
	if (run_protect(from, pages))
		memset(state + from, WRITTEN, pages);
	dirty(from, pages, arg);
}

static int mp_collect(pageno_t first, uint32_t pages, void (*dirty)(pageno_t, uint32_t, void *), void *arg)
{
	pageno_t end = first + pages;

	for (pageno_t p = first; p < end;) {
		pageno_t from = p;

		while (p < end && state[p] != PROTECTED)
			p++;
		if (p > from)
			run_take(from, p - from, dirty, arg);
		while (p < end && state[p] == PROTECTED)
			p++;
	}
	return 0;
}

static void mp_forget(pageno_t first, uint32_t pages)
{
	memset(state + first, UNWATCHED, pages);
}

static void mp_after_fork(void)
{
	/* The protection is inherited and so is the handler: writes in the child just open their pages. */
}

const struct tracker spm_track_mprotect = {"mprotect", mp_init, mp_collect, mp_forget, mp_after_fork};
