/* lazy.c - see lazy.h.
 *
 *   list       pages with content, ascending        piece[]   those of one aligned 256 KiB, where there are any
 *
 *   WAITING --claimed by the answering thread (a page of it was touched) or by the fetching one--> BUSY
 *   BUSY    --read, verified, put in place; damaged pages are noted in `bad`--------------------> DONE
 *
 * The answering thread lives as long as the process: a range once watched stays so, and pages of it that no container waits
 * for (never written, or given back to the kernel) are to be zero. Each lazy container has a fetching thread until all
 * is in.
 *
 * A point may touch missing pages while all other threads stand still, holding any lock. So these two threads are never stopped,
 * and between claiming a piece and finishing it, or under list_lock, they call no libc allocator and take no lock that
 * another thread could hold while it is stopped: list_lock is taken by others only between spm_capture_begin and _end, where
 * nobody else stops threads.
 *
 * Who sleeps for a page is woken when it is put in place; and when a piece is DONE, all who wait for one of its pages touch it
 * again: their question may have been passed over while the piece was BUSY.
 *
 * Memory that is freed and given back to the kernel while it is still missing must not get its former content later: the heap
 * tells (pages_given_back), before it does so; a piece that is BUSY is waited for.
 *
 * A forked child has none of this: fork waits until all is in, and damaged pages are poisoned, which the child inherits.
 */
#include "lazy.h"
#include "container.h"
#include "heap/window.h"
#include "snapshot/stop.h"
#include "track/missing.h"

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PIECE_PAGES = 64, CHUNK_PAGES = 512, RANGES_MOST = 4096 };
enum { AHEAD_PIECES = 4, CALM_PIECES = 16 };
enum { WAITING, BUSY, DONE };

struct piece {
	uint32_t number;          /* its first page is number * PIECE_PAGES */
	uint32_t first;           /* run of the list that has pages of it */
	_Atomic uint64_t dropped; /* pages that are to be zero, by their place in the piece */
	_Atomic uint64_t bad;     /* damaged; changed while BUSY */
	_Atomic int state;
};

enum { PIECE_BYTES = PIECE_PAGES * SPM_PAGE_BYTES };

/* A thread that brings in pages; its buffer is made before it is started, for there it could only give up. */
struct bringer {
	struct lazy *of;       /* NULL: the answering thread, which is of all */
	unsigned char *buffer; /* the thread's own, to be freed */
	pthread_t thread;
};

struct lazy {
	struct lazy *_Atomic next;
	struct chain *chain;
	uint64_t version;
	struct moved *moved;     /* the container's */
	struct plain plain;      /* as the version has it */
	struct source_list list; /* by where the pages go */
	struct piece *piece;
	size_t pieces, piece_room;
	_Atomic size_t cursor, done;
	_Atomic size_t expected; /* the device was asked for pieces before this one, or they were filled */
	_Atomic size_t strayed;  /* `done` when the program last asked for a piece far from the cursor */
	struct bringer fetcher[2];
	unsigned fetchers;
	_Atomic bool is_ending, has_bad;
	bool is_told;          /* on standard error */
	_Atomic bool is_noted; /* somebody fills in these: */
	_Atomic int error;     /* set after why */
	char why[512];
};

static struct lazy *_Atomic list;
static _Atomic unsigned
        readers; /* who walks the list without its lock; what was taken out is freed when there are none */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t begin_lock =
        PTHREAD_MUTEX_INITIALIZER; /* held over a fork: no container becomes lazy meanwhile */
static struct bringer answerer;
static bool has_answerer, has_teller;
static sem_t damage_known, damage_told; /* between the answering thread and the one that writes to standard error */
static char damage_text[700];
static _Atomic bool is_held;

static pageno_t piece_page(const struct piece *p)
{
	return p->number * PIECE_PAGES;
}

/* The piece that the page lies in, or NULL. */
static struct piece *piece_of(const struct lazy *z, pageno_t page)
{
	size_t low = 0, high = z->pieces;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (z->piece[middle].number < page / PIECE_PAGES)
			low = middle + 1;
		else
			high = middle;
	}
	return low < z->pieces && z->piece[low].number == page / PIECE_PAGES ? &z->piece[low] : NULL;
}

/* ---- filling ---- */

static void sentence_note(struct lazy *z, int err)
{
	if (atomic_exchange(&z->is_noted, true))
		return;
	strncpy(z->why, spm_volume_error(), sizeof(z->why) - 1);
	z->error = err;
}

static void pages_put(const struct page_source *s, size_t n, const void *content)
{
	int err = spm_missing_supply((pageno_t)s->page, (uint32_t)n, content);

	if (err)
		spm_panic("the page at 0x%llx can't be brought in: %s",
		          (unsigned long long)spm_page_address((pageno_t)s->page), strerror(-err));
}

/* Pages of a piece with content, and which of them hold no pointers, a bit each. */
struct sources {
	struct page_source page[PIECE_PAGES];
	uint64_t plain;
	size_t n;
};

static void pointers_move(struct lazy *z, const struct sources *s, size_t from, size_t n, unsigned char *buffer)
{
	for (size_t i = 0; i < n && z->moved; i++) {
		uint64_t *word = (uint64_t *)(void *)(buffer + i * SPM_PAGE_BYTES);
		struct aside numbers;

		if (s->plain >> (from + i) & 1)
			continue;
		spm_plain_set_aside(&z->plain, spm_moved_page(z->moved, s->page[from + i].page), word, &numbers);
		z->moved->words += spm_moved_words(z->moved, word);
		spm_plain_put_back(&numbers, word);
	}
}

/* Once more, so that the sentence has the number that the version knows the page by. */
static void page_is_bad(struct lazy *z, struct piece *p, struct page_source s, unsigned char *buffer)
{
	int err;

	p->bad |= UINT64_C(1) << s.page % PIECE_PAGES;
	z->has_bad = true;
	s.page = spm_moved_page(z->moved, s.page);
	err = spm_chain_read_run(z->chain, z->version, &s, 1, buffer);
	sentence_note(z, err ? err : -EUCLEAN);
}

/* Reads, verifies and puts in place pages whose places and blocks follow each other. A failure is looked at page by page. */
static void run_fill(struct lazy *z, struct piece *p, const struct sources *s, size_t from, size_t n,
                     unsigned char *buffer)
{
	if (!spm_chain_read_run(z->chain, z->version, &s->page[from], n, buffer)) {
		pointers_move(z, s, from, n, buffer);
		pages_put(&s->page[from], n, buffer);
	} else if (n > 1) {
		for (size_t i = 0; i < n; i++)
			run_fill(z, p, s, from + i, 1, buffer);
	} else {
		page_is_bad(z, p, s->page[from], buffer);
	}
}

static bool is_dropped(const struct piece *p, const struct page_source *s)
{
	return p->dropped >> s->page % PIECE_PAGES & 1;
}

static void piece_sources(const struct lazy *z, const struct piece *p, struct sources *s)
{
	uint64_t from = piece_page(p), end = from + PIECE_PAGES;

	for (size_t i = p->first; i < z->list.n && z->list.run[i].page < end; i++) {
		const struct source_run *r = &z->list.run[i];
		uint32_t k = r->page < from ? (uint32_t)(from - r->page) : 0;

		for (; k < r->pages && r->page + k < end; k++) {
			s->plain |= (uint64_t)((r->flags & HEAP_NOPTR) != 0) << s->n;
			s->page[s->n++] = spm_source_of(r, k);
		}
	}
}

/* From page i on that are read in one go; 0: that one is not. */
static size_t run_length(const struct piece *p, const struct sources *all, size_t i)
{
	const struct page_source *s = &all->page[i];
	size_t n = 0;

	while (i + n < all->n && s[n].page == s->page + n && s[n].block == s->block + n && !is_dropped(p, &s[n]))
		n++;
	return n;
}

/* What lies scattered the device brings side by side: it is asked for all before the first is waited for. (A hash table of 2 million keys,
 * filled by many points: all read in random order in 1.9 s instead of 5.2, bench/run recovery.) */
static void piece_expect(struct lazy *z, const struct piece *p, const struct sources *all)
{
	size_t n;

	for (size_t i = 0; i < all->n; i += n ? n : 1) {
		n = run_length(p, all, i);
		if (n && n < all->n)
			spm_chain_expect(z->chain, all->page[i].block, n);
	}
}

static void piece_fill(struct lazy *z, struct piece *p, unsigned char *buffer)
{
	struct sources all = {.n = 0};
	size_t n;

	piece_sources(z, p, &all);
	if ((size_t)(p - z->piece) >= z->expected)
		piece_expect(z, p, &all);
	for (size_t i = 0; i < all.n; i += n ? n : 1) {
		n = run_length(p, &all, i);
		if (n)
			run_fill(z, p, &all, i, n, buffer);
	}
}

/* False if somebody else does, or did. */
static bool piece_serve(struct lazy *z, struct piece *p, unsigned char *buffer)
{
	int waiting = WAITING;

	if (!atomic_compare_exchange_strong(&p->state, &waiting, BUSY))
		return false;
	piece_fill(z, p, buffer);
	p->state = DONE;
	spm_missing_wake(piece_page(p), PIECE_PAGES);
	z->done++;
	return true;
}

/* ---- answering ---- */

static void *teller_main(void *arg)
{
	(void)arg;
	spm_stop_exempt_self();
	for (;;) {
		while (sem_wait(&damage_known))
			;
		if (write(STDERR_FILENO, damage_text, strlen(damage_text)) >= 0)
			sem_post(&damage_told);
	}
	return NULL;
}

/* It is said before the process dies of it, but not waited for without end: who touched the page may be in a system call that
 * keeps standard error locked. */
static void damage_tell(struct lazy *z, pageno_t page)
{
	struct timespec until;
	int err;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec++;
	if (!z->is_told) {
		snprintf(damage_text, sizeof(damage_text), "softpm: %s; the program touched such a page: SIGBUS\n",
		         z->why);
		sem_post(&damage_known);
		sem_timedwait(&damage_told, &until);
		z->is_told = true;
	}
	err = spm_missing_poison(page);
	if (err)
		spm_panic("%s", z->why);
}

/* The page, which no container waits for, becomes zero, and if it really was missing those after it too: who needs one page
 * soon needs the next. */
static void pages_zero(const struct piece *p, pageno_t page)
{
	uint64_t bad = p ? p->bad : 0;
	uint32_t n = 1;

	if (spm_missing_zero(page, 1) < 1)
		return;
	while ((page + n) % PIECE_PAGES && !(bad >> (page + n) % PIECE_PAGES & 1))
		n++;
	if (n > 1)
		spm_missing_zero(page + 1, n - 1);
}

static bool has_content(const struct lazy *z, const struct piece *p, pageno_t page)
{
	for (size_t i = p->first; i < z->list.n && z->list.run[i].page <= page; i++)
		if (page < z->list.run[i].page + z->list.run[i].pages)
			return true;
	return false;
}

static bool is_far(const struct lazy *z, const struct piece *p)
{
	size_t at = (size_t)(p - z->piece), cursor = z->cursor;

	return at < cursor || at > cursor + AHEAD_PIECES;
}

/* List locked. */
static void page_answer(pageno_t page, unsigned char *buffer)
{
	struct piece *p = NULL;
	struct lazy *z = list;

	while (z && !(p = piece_of(z, page)))
		z = z->next;
	if (p) {
		if (piece_serve(z, p, buffer) && is_far(z, p))
			z->strayed = z->done;
		if (p->state != DONE && has_content(z, p, page))
			return; /* BUSY: who fills it wakes */
		if (p->bad >> page % PIECE_PAGES & 1) {
			damage_tell(z, page);
			spm_missing_wake(page, 1);
			return;
		}
	}
	pages_zero(p, page);
}

static void *answerer_main(void *arg)
{
	struct bringer *b = arg;
	pageno_t page;

	spm_stop_exempt_self();
	while (!spm_missing_next(&page)) {
		pthread_mutex_lock(&list_lock);
		page_answer(page, b->buffer);
		pthread_mutex_unlock(&list_lock);
	}
	return NULL;
}

/* ---- fetching ---- */

static void pause_shortly(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

void spm_lazy_hold(bool hold)
{
	is_held = hold;
}

/* They came one by one, so they are no huge pages yet. */
static void small_pages_note(const struct lazy *z)
{
	spm_capture_begin();
	spm_collapse_tick();
	for (size_t i = 0; i < z->pieces; i++)
		spm_collapse_note(piece_page(&z->piece[i]), PIECE_PAGES);
	spm_capture_end();
}

/* While this piece is filled the device brings the next ones; unless the program asks for pieces in another order, for then they would only be in the way
 * of these. (A million elements in order, of which 50,000 had been changed, each in another page: 0.22 s instead of 0.34.) */
static void next_expect(struct lazy *z, size_t at)
{
	size_t next = z->expected;

	while (next <= at + AHEAD_PIECES && next < z->pieces && z->done - z->strayed >= CALM_PIECES) {
		struct sources all = {.n = 0};

		if (!atomic_compare_exchange_strong(&z->expected, &next, next + 1))
			continue;
		if (next > at && z->piece[next].state == WAITING) {
			piece_sources(z, &z->piece[next], &all);
			piece_expect(z, &z->piece[next], &all);
		}
		next++;
	}
}

static void *fetcher_main(void *arg)
{
	struct bringer *b = arg;
	struct lazy *z = b->of;
	size_t i;

	spm_stop_exempt_self();
	while (!z->is_ending && (i = z->cursor++) < z->pieces) {
		while (is_held && !z->is_ending)
			pause_shortly();
		if (!z->is_ending) {
			next_expect(z, i);
			piece_serve(z, &z->piece[i], b->buffer);
		}
	}
	spm_pages_unmap(b->buffer, PIECE_BYTES);
	while (!spm_lazy_is_finished(z) && !z->is_ending)
		pause_shortly(); /* the answering thread, or the other fetching one, is at the last piece */
	if (spm_lazy_is_finished(z)) {
		spm_chain_pin(z->chain, false);
		small_pages_note(z);
	}
	return NULL;
}

static int thread_start(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(thread, NULL, fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err ? -ENOMEM : 0; /* its EAGAIN says that, too, and means something else here */
}

static int bringer_start(struct bringer *b, void *(*fn)(void *))
{
	int err;

	b->buffer = spm_pages_map(PIECE_BYTES, true);
	err = b->buffer ? thread_start(&b->thread, fn, b) : -ENOMEM;
	if (err)
		spm_pages_unmap(b->buffer, PIECE_BYTES);
	return err;
}

/* The next one of those that need not be asked. */
static int fetcher_start(struct lazy *z)
{
	struct bringer *b = &z->fetcher[z->fetchers];
	int err;

	b->of = z;
	err = bringer_start(b, fetcher_main);
	z->fetchers += !err;
	return err;
}

bool spm_lazy_is_finished(const struct lazy *z)
{
	return z->done == z->pieces;
}

bool spm_lazy_is_any_missing(void)
{
	for (const struct lazy *z = list; z; z = z->next)
		if (!spm_lazy_is_finished(z))
			return true;
	return false;
}

static void wait_finished(const struct lazy *z)
{
	spm_park();
	while (!spm_lazy_is_finished(z) && !z->is_ending)
		pause_shortly();
	spm_unpark();
}

void spm_lazy_finish(struct lazy *z)
{
	if (spm_lazy_is_finished(z))
		return;
	pthread_mutex_lock(&begin_lock);
	if (z->fetchers == 1) /* somebody waits: two are faster */
		fetcher_start(z);
	pthread_mutex_unlock(&begin_lock);
	wait_finished(z);
}

/* By this thread, which is as one that is never stopped meanwhile; or somebody else is at it, or there is no memory for a buffer, which
 * the fetching thread has. */
static void piece_await(struct lazy *z, struct piece *p)
{
	unsigned char *buffer = p->state == WAITING ? spm_pages_map(PIECE_BYTES, true) : NULL;

	spm_park();
	if (buffer)
		piece_serve(z, p, buffer);
	while (p->state != DONE && !z->is_ending)
		pause_shortly();
	spm_unpark();
	spm_pages_unmap(buffer, PIECE_BYTES);
}

int spm_lazy_have(struct lazy *z, pageno_t first, uint32_t pages)
{
	int err = 0;

	for (pageno_t page = first; page < first + pages && !err; page++) {
		struct piece *p = piece_of(z, page);

		if (p && p->state != DONE)
			piece_await(z, p);
		if (p && p->bad >> page % PIECE_PAGES & 1)
			err = -EUCLEAN;
	}
	return err;
}

int spm_lazy_error(const struct lazy *z, const char **why)
{
	if (z->error)
		*why = z->why;
	return z->error;
}

/* ---- what others do meanwhile ---- */

static void pages_drop(struct lazy *z, pageno_t first, uint32_t pages)
{
	for (pageno_t page = first; page < first + pages; page++) {
		struct piece *p = piece_of(z, page);

		if (!p) {
			page |= PIECE_PAGES - 1;
			continue;
		}
		p->dropped |= UINT64_C(1) << page % PIECE_PAGES;
		while (p->state == BUSY)
			sched_yield();
	}
}

/* The heap gives pages back to the kernel. It holds its lock, and may be stopped here: so no lock of ours. */
static void pages_given_back(pageno_t first, uint32_t pages)
{
	readers++;
	for (struct lazy *z = list; z; z = z->next)
		pages_drop(z, first, pages);
	readers--;
}

static void bad_poison(const struct lazy *z)
{
	for (size_t i = 0; i < z->pieces && z->has_bad; i++)
		for (uint64_t bad = z->piece[i].bad; bad; bad &= bad - 1)
			spm_missing_poison(piece_page(&z->piece[i]) + (pageno_t)__builtin_ctzll(bad));
}

void spm_lazy_before_fork(void)
{
	pthread_mutex_lock(&begin_lock);
	for (struct lazy *z = list; z; z = z->next) {
		wait_finished(z);
		bad_poison(z);
	}
}

void spm_lazy_after_fork(void)
{
	pthread_mutex_unlock(&begin_lock);
}

void spm_lazy_after_fork_in_child(void)
{
	pthread_mutex_init(&begin_lock, NULL);
	pthread_mutex_init(&list_lock, NULL);
	list = NULL;
	readers = 0;
	has_answerer = has_teller = false;
}

/* ---- beginning and ending ---- */

bool spm_lazy_is_possible(void)
{
	return spm_missing_is_possible();
}

static int answerer_have(void)
{
	pthread_t thread;
	int err = 0;

	if (has_answerer)
		return 0;
	if (!has_teller) {
		sem_init(&damage_known, 0, 0);
		sem_init(&damage_told, 0, 0);
		err = thread_start(&thread, teller_main, NULL);
		if (err)
			return err;
		has_teller = true;
		pthread_detach(thread);
	}
	err = bringer_start(&answerer, answerer_main);
	if (err)
		return err;
	pthread_detach(answerer.thread);
	spm_window_on_give_back = pages_given_back;
	has_answerer = true;
	return 0;
}

static uint64_t last_page(const struct source_run *r)
{
	return r->page + r->pages - 1;
}

/* The run begins in the 2 MiB where the one before ends, or in the next. */
static bool is_same_range(const struct source_run *r)
{
	return r->page / CHUNK_PAGES <= last_page(r - 1) / CHUNK_PAGES + 1;
}

/* Watches the aligned 2 MiB in which there are pages; huge pages elsewhere in the window stay possible. */
static int ranges_watch(const struct source_run *r, size_t n)
{
	unsigned ranges = 1;
	int err = 0;

	for (size_t i = 1; i < n; i++)
		ranges += !is_same_range(&r[i]);
	if (ranges > RANGES_MOST)
		return -E2BIG;
	for (size_t i = 0, first = 0; i < n && !err; i++) {
		uint64_t from = r[first].page / CHUNK_PAGES * CHUNK_PAGES,
		         to = (last_page(&r[i]) / CHUNK_PAGES + 1) * CHUNK_PAGES;

		if (i + 1 < n && is_same_range(&r[i + 1]))
			continue;
		err = spm_missing_watch((pageno_t)from, (uint32_t)(to - from));
		first = i + 1;
	}
	return err;
}

static void pieces_cut(struct lazy *z)
{
	for (size_t i = 0; i < z->list.n; i++) {
		uint32_t number = (uint32_t)(z->list.run[i].page / PIECE_PAGES);

		if (z->pieces && z->piece[z->pieces - 1].number == number)
			number++;
		for (; number <= last_page(&z->list.run[i]) / PIECE_PAGES; number++) {
			z->piece[z->pieces].number = number;
			z->piece[z->pieces++].first = (uint32_t)i;
		}
	}
}

/* At least as many as there will be. */
static size_t pieces_most(const struct source_list *pages)
{
	size_t n = 1;

	for (size_t i = 0; i < pages->n; i++)
		n += last_page(&pages->run[i]) / PIECE_PAGES - pages->run[i].page / PIECE_PAGES + 1;
	return n;
}

static void memory_free(struct lazy *z)
{
	spm_source_list_free(&z->list);
	spm_plain_free(&z->plain);
	spm_pages_unmap(z->piece, z->piece_room * sizeof(*z->piece));
	free(z);
}

void spm_lazy_leave(struct lazy *z)
{
	memory_free(z);
}

int spm_lazy_watch(const struct source_run *run, size_t n)
{
	int err;

	pthread_mutex_lock(&begin_lock);
	err = answerer_have();
	if (!err)
		err = ranges_watch(run, n);
	pthread_mutex_unlock(&begin_lock);
	return err;
}

int spm_lazy_new(struct container *of, uint64_t version, const struct source_list *pages, struct lazy **out)
{
	struct chain *c = of->chain;
	struct lazy *z = calloc(1, sizeof(*z));
	int err;

	if (!z)
		return -ENOMEM;
	z->chain = c;
	z->moved = of->moved;
	z->version = version;
	z->piece_room = pieces_most(pages);
	z->piece = spm_pages_map(z->piece_room * sizeof(*z->piece), false);
	if (!z->piece) {
		free(z);
		return -ENOMEM;
	}
	z->list = *pages;
	pieces_cut(z);
	err = spm_plain_copy(&of->plain, &z->plain);
	if (!err)
		err = spm_chain_pin(c, true);
	if (err) {
		spm_plain_free(&z->plain);
		spm_pages_unmap(z->piece, z->piece_room * sizeof(*z->piece));
		free(z);
		return err;
	}
	*out = z;
	return 0;
}

int spm_lazy_supply(struct lazy *z, uint64_t page, const void *content)
{
	(void)z;
	return spm_missing_supply((pageno_t)page, 1, content);
}

static void list_change(struct lazy *z, bool is_in)
{
	struct lazy *_Atomic *link = &list;

	spm_capture_begin();
	pthread_mutex_lock(&list_lock);
	if (is_in) {
		z->next = list;
		list = z;
	} else {
		while (*link && *link != z)
			link = &(*link)->next;
		if (*link)
			*link = z->next;
	}
	pthread_mutex_unlock(&list_lock);
	spm_capture_end();
}

int spm_lazy_start(struct lazy *z)
{
	int err;

	pthread_mutex_lock(&begin_lock);
	list_change(z, true);
	err = fetcher_start(z);
	if (err)
		list_change(z, false);
	pthread_mutex_unlock(&begin_lock);
	return err;
}

void spm_lazy_free(struct lazy *z)
{
	z->is_ending = true;
	for (unsigned i = 0; i < z->fetchers; i++)
		pthread_join(z->fetcher[i].thread, NULL);
	bad_poison(z);
	pthread_mutex_lock(&begin_lock);
	list_change(z, false);
	pthread_mutex_unlock(&begin_lock);
	while (readers)
		sched_yield();
	spm_chain_pin(z->chain, false);
	memory_free(z);
}
