/* mprotect.c - the way for older kernels: pages are read-only until their first write, whose SIGSEGV marks them.
 *
 *   UNWATCHED --collect, if populated and writable--> PROTECTED --fault--> WRITTEN --collect--> PROTECTED
 *       any --forget--> FORGOTTEN: as UNWATCHED, but the page may still be read-only by our doing: a fault opens it
 *
 * Pages that are not populated are not protected: fresh memory costs no faults, and its first collect finds it in
 * /proc/self/pagemap. A write that the kernel does for the program into a protected page fails with EFAULT: the manual says so.
 *
 * Invariants
 *  1. A page that is PROTECTED is read-only, or a thread is between mprotect and the store of WRITTEN: a handler first opens
 *     the page and then stores, a collect first stores and then protects. So whatever the order in which the two mix, no page
 *     is left PROTECTED and writable.
 *  2. A stop never cuts a handler in two: it runs with all signals blocked.
 *
 * The kernel limits the number of mappings (65,530). When one more page can't be opened for that reason, protected runs between
 * written pages are opened as a whole, 2 MiB at a time: that needs no further mapping and frees two for each. They count as
 * written. The last resort is to open the whole run that the page lies in.
 */
#include "heap/heap.h"
#include "track/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { UNWATCHED, PROTECTED, WRITTEN, FORGOTTEN };
enum { CHUNK_PAGES = 512, GAP_PAGES = 512, BATCH_PAGES = 512 };

static const size_t window_pages = (SPM_WINDOW_END - SPM_WINDOW_START) / SPM_PAGE_BYTES;
static unsigned char *state;    /* of each page of the window */
static struct sigaction before; /* the application's handler */
static int pagemap = -1;
static pageno_t watched_from = UINT32_MAX, watched_to; /* all pages that were ever protected */
static _Atomic unsigned handling;                      /* threads that are in the handler */
static bool is_widening;                               /* lock: mappings have run out, and one thread makes room */

static bool run_set(pageno_t from, pageno_t to, int protection)
{
	return !mprotect((void *)(uintptr_t)spm_page_address(from), (size_t)(to - from) * SPM_PAGE_BYTES, protection);
}

/* In the handler, like all down to on_fault. */
static bool run_open(pageno_t from, pageno_t to)
{
	if (!run_set(from, to, PROT_READ | PROT_WRITE))
		return false;
	for (pageno_t p = from; p < to; p++)
		__atomic_store_n(&state[p], WRITTEN, __ATOMIC_RELEASE);
	return true;
}

static unsigned char state_of(pageno_t page)
{
	return page < window_pages ? __atomic_load_n(&state[page], __ATOMIC_ACQUIRE) : UNWATCHED;
}

/* Opens the protected runs that lie in the chunk between written pages. Returns how many. */
static unsigned chunk_open(pageno_t chunk)
{
	unsigned opened = 0;
	pageno_t end = chunk + CHUNK_PAGES;

	for (pageno_t p = chunk; p < end; p++) {
		pageno_t from = p;

		while (p < end && state_of(p) == PROTECTED)
			p++;
		if (p > from && from && state_of(from - 1) == WRITTEN && state_of(p) == WRITTEN)
			opened += run_open(from, p);
	}
	return opened;
}

/* Frees mappings somewhere else, where the last search ended. */
static bool elsewhere_open(void)
{
	static pageno_t cursor;
	pageno_t chunks = (watched_to - watched_from) / CHUNK_PAGES + 2;

	for (pageno_t i = 0; i < chunks; i++) {
		if (cursor < watched_from || cursor >= watched_to)
			cursor = watched_from;
		cursor = cursor / CHUNK_PAGES * CHUNK_PAGES;
		if (memchr(state + cursor, WRITTEN, CHUNK_PAGES) && chunk_open(cursor))
			return true;
		cursor += CHUNK_PAGES;
		if (cursor < watched_from)
			cursor = watched_from;
	}
	return false;
}

static bool whole_run_open(pageno_t page)
{
	pageno_t from = page, to = page + 1;

	while (from && state_of(from - 1) == PROTECTED)
		from--;
	while (state_of(to) == PROTECTED)
		to++;
	return run_open(from, to);
}

static void page_open_widely(pageno_t page)
{
	while (__atomic_test_and_set(&is_widening, __ATOMIC_ACQUIRE))
		sched_yield();
	while (!run_open(page, page + 1)) {
		if (chunk_open(page / CHUNK_PAGES * CHUNK_PAGES) || elsewhere_open())
			continue;
		if (!whole_run_open(page))
			spm_panic("the page at 0x%llx can't be made writable: too many mappings (vm.max_map_count)",
			          (unsigned long long)spm_page_address(page));
	}
	__atomic_clear(&is_widening, __ATOMIC_RELEASE);
}

/* The mask that the kernel would have set for the handler that was there before. The kernel's own part of uc_sigmask is 8
 * bytes; what follows them is something else. */
static void mask_as_expected(int signal, const ucontext_t *context)
{
	sigset_t mask = before.sa_mask;
	uint64_t interrupted, words;

	memcpy(&interrupted, &context->uc_sigmask, sizeof(interrupted));
	if (!(before.sa_flags & SA_NODEFER))
		sigaddset(&mask, signal);
	memcpy(&words, &mask, sizeof(words));
	words |= interrupted;
	memcpy(&mask, &words, sizeof(words));
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static void pass_on(int signal, siginfo_t *info, void *context)
{
	bool is_sent = info->si_code <= 0; /* by kill(2): the instruction will not fault again */

	if (before.sa_flags & SA_SIGINFO) {
		mask_as_expected(signal, context);
		before.sa_sigaction(signal, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		mask_as_expected(signal, context);
		before.sa_handler(signal);
	} else if (!is_sent || before.sa_handler == SIG_DFL) {
		struct sigaction fatal = {.sa_handler = SIG_DFL};

		sigaction(SIGSEGV, &fatal, NULL);
		if (is_sent) /* blocked now, delivered on return */
			syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
	}
}

static bool is_write(const ucontext_t *context)
{
#ifdef __x86_64__
	return context->uc_mcontext.gregs[REG_ERR] & 2;
#else
	(void)context;
	return true;
#endif
}

static void on_fault(int signal, siginfo_t *info, void *context)
{
	uint64_t at = (uintptr_t)info->si_addr;
	int saved = errno;

	if (info->si_code != SEGV_ACCERR || !spm_in_window(at) || !is_write(context) ||
	    state_of(spm_page_of(at)) == UNWATCHED || spm_heap_is_lent(at)) {
		pass_on(signal, info, context);
		return;
	}
	handling++;
	if (!run_open(spm_page_of(at), spm_page_of(at) + 1))
		page_open_widely(spm_page_of(at));
	handling--;
	errno = saved;
}

static int mp_init(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	void *p;

	if (pagemap < 0)
		pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return -errno;
	if (state) /* in a forked child: the handler is there */
		return 0;
	p = mmap(NULL, window_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	state = p;
	sigfillset(&action.sa_mask);
	return sigaction(SIGSEGV, &action, &before) ? -errno : 0;
}

/* Reads /proc/self/maps from the front on; the addresses asked for only grow. */
struct maps {
	int fd; /* -1: not open yet */
	uint64_t from, to;
	bool is_writable;
	size_t at, filled;
	char text[4096];
};

static int maps_byte(struct maps *m)
{
	if (m->at == m->filled) {
		ssize_t n = read(m->fd, m->text, sizeof(m->text));

		if (n <= 0)
			return -1;
		m->filled = (size_t)n;
		m->at = 0;
	}
	return (unsigned char)m->text[m->at++];
}

static uint64_t maps_number(struct maps *m)
{
	uint64_t number = 0;
	int c;

	while ((c = maps_byte(m)) >= '0' && c != ' ')
		number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	return number;
}

static bool maps_next(struct maps *m)
{
	int c;

	m->from = maps_number(m);
	m->to = maps_number(m);
	m->is_writable = maps_byte(m) == 'r';
	m->is_writable &= maps_byte(m) == 'w';
	while ((c = maps_byte(m)) != '\n')
		if (c < 0)
			return false;
	return true;
}

/* Whether the page is readable and writable; *end is the first page for which that may be different. */
static bool maps_writable(struct maps *m, pageno_t page, pageno_t *end)
{
	uint64_t at = spm_page_address(page);

	if (m->fd < 0)
		m->fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	while (m->to <= at)
		if (m->fd < 0 || !maps_next(m))
			m->from = m->to = UINT64_MAX;
	*end = (pageno_t)(((at < m->from ? m->from : m->to) - SPM_WINDOW_START) >> SPM_PAGE_SHIFT);
	if ((at < m->from ? m->from : m->to) > SPM_WINDOW_END)
		*end = (pageno_t)window_pages;
	return at >= m->from && m->is_writable;
}

struct collect {
	void (*dirty)(pageno_t, uint32_t, void *);
	void *arg;
	pageno_t from, to; /* to be protected in one go */
	struct maps maps;
};

static void span_protect(struct collect *c)
{
	/* A span that could not be protected stays written, and is reported again next time. */
	if (c->to > c->from && !run_set(c->from, c->to, PROT_READ))
		memset(state + c->from, WRITTEN, c->to - c->from);
	c->from = c->to = 0;
}

/* Reports a run and puts it among what will be protected, together with protected pages before it. */
static void run_take(struct collect *c, pageno_t from, pageno_t to)
{
	memset(state + from, PROTECTED, to - from);
	c->dirty(from, to - from, c->arg);
	if (c->from == c->to)
		c->from = from;
	c->to = to;
	watched_from = from < watched_from ? from : watched_from;
	watched_to = to > watched_to ? to : watched_to;
}

/* Takes those pages of a run without protection of ours that are populated: present or swapped out, and not an untouched page
 * of a file. */
static int run_examine(struct collect *c, pageno_t from, pageno_t to)
{
	uint64_t entry[BATCH_PAGES];
	pageno_t writable_to = from;
	bool is_writable = false;

	span_protect(c);
	while (from < to) {
		pageno_t n = to - from < BATCH_PAGES ? to - from : BATCH_PAGES;
		off_t at = (off_t)((spm_page_address(from) >> SPM_PAGE_SHIFT) * sizeof(*entry));

		if (pread(pagemap, entry, n * sizeof(*entry), at) != (ssize_t)(n * sizeof(*entry)))
			return -EIO;
		for (pageno_t i = 0; i < n; i++) {
			bool is_populated = entry[i] >> 62 && !(entry[i] >> 61 & 1);

			if (is_populated && from + i >= writable_to)
				is_writable = maps_writable(&c->maps, from + i, &writable_to);
			if (!is_populated || !is_writable)
				span_protect(c);
			else
				run_take(c, from + i, from + i + 1);
		}
		from += n;
	}
	span_protect(c);
	return 0;
}

/* The end of the run of pages in the same state. */
static pageno_t run_end(pageno_t p, pageno_t end)
{
	unsigned char first = state[p];
	uint64_t same = 0x0101010101010101u * first, word;

	for (; p + 8 <= end; p += 8) {
		memcpy(&word, state + p, sizeof(word));
		if (word != same)
			break;
	}
	while (p < end && state[p] == first)
		p++;
	return p;
}

static int collect_runs(struct collect *c, pageno_t first, pageno_t end)
{
	int err = 0;

	for (pageno_t p = first, next; p < end && !err; p = next) {
		unsigned char now = state[p];

		next = run_end(p, end);
		if (now == WRITTEN)
			run_take(c, p, next);
		else if (now != PROTECTED)
			err = run_examine(c, p, next);
		else if (next - p > GAP_PAGES)
			span_protect(c);
	}
	span_protect(c);
	return err;
}

static int mp_collect(pageno_t first, uint32_t pages, void (*dirty)(pageno_t, uint32_t, void *), void *arg)
{
	struct collect c = {.dirty = dirty, .arg = arg, .maps.fd = -1};
	int err = collect_runs(&c, first, first + pages);

	if (c.maps.fd >= 0)
		close(c.maps.fd);
	return err;
}

/* Its collect reads the table of states, not page tables: nothing to gain. */
static bool mp_is_cold(pageno_t first, uint32_t pages)
{
	(void)first, (void)pages;
	return false;
}

static int mp_collapse(pageno_t first, uint32_t pages)
{
	(void)first, (void)pages;
	return 0;
}

static void mp_forget(pageno_t first, uint32_t pages)
{
	for (pageno_t p = first, next; p < first + pages; p = next) {
		next = run_end(p, first + pages);
		if (state[p] != UNWATCHED)
			memset(state + p, FORGOTTEN, next - p);
	}
}

/* The protection, the states and the handler are inherited; the page map is still the parent's. If the fork has cut a handler in two,
 * there is a page that is PROTECTED and writable: then they are all looked at again. */
static void mp_after_fork(void)
{
	if (handling && watched_from < watched_to)
		mp_forget(watched_from, watched_to - watched_from);
	handling = 0;
	is_widening = false;
	close(pagemap);
	pagemap = -1;
}

const struct tracker spm_track_mprotect = {"mprotect",  mp_init,   mp_collect,   mp_is_cold,
                                           mp_collapse, mp_forget, mp_after_fork};
