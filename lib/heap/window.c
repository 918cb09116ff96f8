/* window.c - see window.h.
 *
 * The whole window is one PROT_NONE mapping made once. A slice is made readable and writable when it is first used,
 * and stays so. What is taken is the shortest free run that serves, from the arena's bins (runs.h): first-fit left a
 * quarter of bench/malloc's pages in holes.
 *
 * Pages given back stay with the process, marked written, for the next span that wants them. When there are too many
 * of them the kernel gets them back (purge).
 */
#include "heap/runs.h"
#include "heap/tables.h"
#include "heap/window.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

struct slice {
	uint64_t used[SPM_SLICE_WORDS];
	uint64_t written[SPM_SLICE_WORDS]; /* only meaningful where used is clear, or was set by spm_run_take */
	uint64_t unwatched[SPM_SLICE_WORDS];
	uint32_t arena;
	uint32_t free_pages;
	uint32_t unwatched_pages;
	uint32_t next; /* slice number plus one */
	bool is_used;
	bool is_open;
	uint16_t fences; /* at its beginning */
};

enum { IDLE_PAGES_MIN = 4096, BIG_PAGES = 1024 };

static pthread_mutex_t window_lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP; /* held shortly: spin before sleeping */
static struct slice *slices;
static _Atomic bool is_lent[SPM_SLICES];
static uint32_t *arena_slices; /* head of each arena's list: slice number plus one */
static uint32_t arenas = 1;
static uint32_t *spare_arena, spare_arenas; /* to be had again */
static uint32_t cursor;                     /* where to look for the next unused slice: few lie before it */
static uint32_t cursor_first;               /* where it began */
static uint32_t slice_limit;                /* one past the highest slice ever used */
static uint32_t slice_first = SPM_SLICES;   /* the lowest ever used */
static uint64_t idle_pages;                 /* written and in no span */
static uint64_t taken_pages;
static bool is_big; /* slices may be served in huge pages; once set it stays */

void (*spm_window_on_give_back)(pageno_t first, uint32_t pages);

void spm_window_lock(void)
{
	pthread_mutex_lock(&window_lock);
}

void spm_window_unlock(void)
{
	pthread_mutex_unlock(&window_lock);
}

static uint32_t start_slice(void)
{
	const char *wish = getenv("SOFTPM_HEAP_START");
	uint32_t n = 0;

	if (wish)
		return (uint32_t)(strtoul(wish, NULL, 0) % SPM_SLICES);
	if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
		n = (uint32_t)spm_now_ns();
	return n % SPM_SLICES;
}

static int window_map(void)
{
	void *at = (void *)SPM_WINDOW_START;
	size_t bytes = SPM_WINDOW_END - SPM_WINDOW_START;
	void *p = mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	if (p != at) {
		munmap(p, bytes); /* a kernel before 4.17, which takes the address as a hint */
		return -EEXIST;
	}
	cursor = cursor_first = start_slice();
	return 0;
}

int spm_window_init(void)
{
	static bool is_mapped;
	int err = is_mapped ? 0 : window_map();

	is_mapped = !err;
	if (err || spm_table_have((void **)&slices, SPM_SLICES * sizeof(*slices)))
		return err ? err : -ENOMEM;
	err = spm_table_have((void **)&arena_slices, SPM_ARENAS * sizeof(*arena_slices));
	if (!err)
		err = spm_table_have((void **)&spare_arena, SPM_ARENAS * sizeof(*spare_arena));
	return err ? err : spm_runs_init();
}

static bool is_set(const uint64_t *words, uint32_t n)
{
	return (words[n >> 6] >> (n & 63)) & 1;
}

/* The first page at or after `from` whose bit is `value`; SPM_SLICE_PAGES if none. */
static uint32_t next_bit(const uint64_t *words, uint32_t from, bool value)
{
	uint64_t flip = value ? 0 : ~UINT64_C(0);
	uint32_t w = from >> 6;
	uint64_t word;

	if (from >= SPM_SLICE_PAGES)
		return SPM_SLICE_PAGES;
	word = (words[w] ^ flip) & (~UINT64_C(0) << (from & 63));
	while (!word) {
		if (++w == SPM_SLICE_WORDS)
			return SPM_SLICE_PAGES;
		word = words[w] ^ flip;
	}
	return w * 64 + (uint32_t)__builtin_ctzll(word);
}

static void set_bits(uint64_t *words, uint32_t from, uint32_t n, bool value)
{
	while (n) {
		uint32_t bit = from & 63;
		uint32_t here = n < 64 - bit ? n : 64 - bit;
		uint64_t mask = (here == 64 ? ~UINT64_C(0) : (UINT64_C(1) << here) - 1) << bit;

		if (value)
			words[from >> 6] |= mask;
		else
			words[from >> 6] &= ~mask;
		from += here;
		n -= here;
	}
}

static uint32_t count_bits(const uint64_t *words, uint32_t from, uint32_t n)
{
	uint32_t count = 0;
	uint32_t end = from + n;

	for (uint32_t p = next_bit(words, from, true); p < end;) {
		uint32_t stop = next_bit(words, p, false);

		if (stop > end)
			stop = end;
		count += stop - p;
		p = next_bit(words, stop, true);
	}
	return count;
}

static void allow_huge(uint32_t n)
{
	madvise((void *)spm_page_address(n * SPM_SLICE_PAGES), SPM_SLICE_BYTES, MADV_HUGEPAGE);
}

/* A program with little memory gets it by the page: rounded up to huge pages it would be a third more. */
static void become_big(void)
{
	is_big = true;
	for (uint32_t n = slice_first; n < slice_limit; n++)
		if (slices[n].is_open)
			allow_huge(n);
}

/* Makes an unused slice the arena's. */
static int slice_adopt(uint32_t n, uint32_t arena)
{
	struct slice *s = &slices[n];
	void *at = (void *)spm_page_address(n * SPM_SLICE_PAGES);

	if (!s->is_open) {
		if (mprotect(at, SPM_SLICE_BYTES, PROT_READ | PROT_WRITE))
			return -ENOMEM;
		s->is_open = true;
		if (is_big)
			allow_huge(n);
	}
	s->free_pages = SPM_SLICE_PAGES;
	spm_runs_add(arena, n * SPM_SLICE_PAGES, SPM_SLICE_PAGES);
	s->arena = arena;
	s->next = arena_slices[arena];
	s->is_used = true;
	arena_slices[arena] = n + 1;
	if (n >= slice_limit)
		slice_limit = n + 1;
	if (n < slice_first)
		slice_first = n;
	return 0;
}

/* Tells the kernel that the slice's idle pages are not needed. */
static void slice_purge(uint32_t n)
{
	struct slice *s = &slices[n];
	uint32_t p = next_bit(s->written, 0, true);

	while (p < SPM_SLICE_PAGES) {
		uint32_t end = next_bit(s->written, p, false);
		void *at = (void *)spm_page_address(n * SPM_SLICE_PAGES + p);

		if (spm_window_on_give_back)
			spm_window_on_give_back(n * SPM_SLICE_PAGES + p, end - p);
		if (!madvise(at, (size_t)(end - p) << SPM_PAGE_SHIFT, MADV_DONTNEED)) {
			set_bits(s->written, p, end - p, false);
			idle_pages -= end - p;
		}
		p = next_bit(s->written, end, true);
	}
}

static bool slice_is_empty(uint32_t n)
{
	return slices[n].free_pages == SPM_SLICE_PAGES;
}

/* The last slice of the common arena stays: a program that frees all it has soon wants some again. */
static void slice_drop_if_empty(uint32_t n)
{
	struct slice *s = &slices[n];
	uint32_t *link = &arena_slices[s->arena];

	if (!slice_is_empty(n) || (s->arena == 0 && *link == n + 1 && !s->next))
		return;
	slice_purge(n);
	spm_runs_remove(s->arena, n * SPM_SLICE_PAGES);
	while (*link != n + 1)
		link = &slices[*link - 1].next;
	*link = s->next;
	s->is_used = false;
	if ((n + SPM_SLICES - cursor_first) % SPM_SLICES < (cursor + SPM_SLICES - cursor_first) % SPM_SLICES)
		cursor = n;
}

/* In bench/malloc this limit is seldom reached; purging at each one reached cost a quarter of the time when first-fit
 * left that many holes. */
static void purge_if_too_many(void)
{
	uint64_t limit = taken_pages / 8;

	if (limit < IDLE_PAGES_MIN)
		limit = IDLE_PAGES_MIN;
	if (idle_pages <= limit)
		return;
	for (uint32_t n = slice_limit; n-- > slice_first && idle_pages > limit / 2;)
		if (slices[n].is_used)
			slice_purge(n);
}

/* The first page of the free run that free page p of slice n lies in. */
static uint32_t run_start(uint32_t n, uint32_t p)
{
	const uint64_t *used = slices[n].used;

	while (p && !is_set(used, p - 1))
		p = (p & 63) == 0 && !used[(p - 1) >> 6] ? p - 64 : p - 1;
	return p;
}

/* Cuts pages [p, p+pages) of slice n out of the free run they lie in. */
static void run_cut(uint32_t n, uint32_t p, uint32_t pages)
{
	uint32_t arena = slices[n].arena;
	uint32_t start = run_start(n, p);
	pageno_t first = n * SPM_SLICE_PAGES + start;
	uint32_t end = start + spm_runs_pages(first);

	spm_runs_remove(arena, first);
	if (start < p)
		spm_runs_add(arena, first, p - start);
	if (p + pages < end)
		spm_runs_add(arena, n * SPM_SLICE_PAGES + p + pages, end - p - pages);
}

/* Pages [p, p+pages) of slice n, which are not used, become a free run, with the free ones on either side. */
static void run_join(uint32_t n, uint32_t p, uint32_t pages)
{
	struct slice *s = &slices[n];
	pageno_t base = n * SPM_SLICE_PAGES;

	if (p + pages < SPM_SLICE_PAGES && !is_set(s->used, p + pages)) {
		spm_runs_remove(s->arena, base + p + pages);
		pages += spm_runs_pages(base + p + pages);
	}
	if (p && !is_set(s->used, p - 1)) {
		uint32_t before = spm_runs_pages(base + p - 1);

		spm_runs_remove(s->arena, base + p - before);
		p -= before;
		pages += before;
	}
	spm_runs_add(s->arena, base + p, pages);
}

/* Pages [p, p+pages) of slice n, which are free, become used. */
static bool slice_take(uint32_t n, uint32_t p, uint32_t pages)
{
	struct slice *s = &slices[n];
	uint32_t written = count_bits(s->written, p, pages);

	run_cut(n, p, pages);
	set_bits(s->used, p, pages, true);
	set_bits(s->written, p, pages, false);
	s->free_pages -= pages;
	idle_pages -= written;
	taken_pages += pages;
	if (!is_big && taken_pages >= BIG_PAGES)
		become_big();
	return written == 0;
}

static bool run_take_in(pageno_t first, uint32_t pages)
{
	bool is_zero = true;

	while (pages) {
		uint32_t p = first % SPM_SLICE_PAGES;
		uint32_t here = pages < SPM_SLICE_PAGES - p ? pages : SPM_SLICE_PAGES - p;

		is_zero &= slice_take(first / SPM_SLICE_PAGES, p, here);
		first += here;
		pages -= here;
	}
	return is_zero;
}

/* A run of unused slices, looked for from the cursor on, then from the start. */
static int slices_find(uint32_t count, uint32_t *first)
{
	uint32_t run = 0;

	for (uint32_t i = 0; i < 2 * (uint32_t)SPM_SLICES; i++) {
		uint32_t n = (cursor + i) % SPM_SLICES;

		if (slices[n].fences)
			run = 0;
		if (!n || is_lent[n] || slices[n].is_used) { /* nor do runs wrap round */
			run = 0;
			continue;
		}
		if (++run == count) {
			*first = n + 1 - count;
			return 0;
		}
	}
	return -ENOMEM;
}

static int take_new_slices(uint32_t arena, uint32_t pages, pageno_t *first)
{
	uint32_t count = (pages + SPM_SLICE_PAGES - 1) / SPM_SLICE_PAGES;
	uint32_t n;
	int err = slices_find(count, &n);

	if (err)
		return err;
	for (uint32_t i = 0; i < count; i++) {
		err = slice_adopt(n + i, arena);
		if (err)
			return err; /* those adopted stay with the arena, empty */
	}
	if (count == 1 || n == cursor)
		cursor = (n + count) % SPM_SLICES;
	*first = n * SPM_SLICE_PAGES;
	return 0;
}

static int find_run(uint32_t arena, uint32_t pages, uint32_t align, pageno_t *first)
{
	int err = pages <= SPM_SLICE_PAGES ? spm_runs_find(arena, pages, align, first) : -ENOMEM;

	return err ? take_new_slices(arena, pages, first) : 0;
}

int spm_run_take(uint32_t arena, uint32_t pages, uint32_t align, pageno_t *first, bool *is_zero)
{
	int err;

	spm_window_lock();
	err = find_run(arena, pages, align, first);
	if (!err)
		*is_zero = run_take_in(*first, pages);
	spm_window_unlock();
	return err;
}

void spm_heap_fence(uint32_t slice, int fences)
{
	spm_window_lock();
	if (slice < SPM_SLICES)
		slices[slice].fences = (uint16_t)(slices[slice].fences + fences);
	spm_window_unlock();
}

bool spm_run_is_fenced(pageno_t first, uint32_t pages)
{
	uint64_t from = ((uint64_t)first + SPM_SLICE_PAGES - 1) / SPM_SLICE_PAGES;
	uint64_t to = ((uint64_t)first + pages + SPM_SLICE_PAGES - 1) / SPM_SLICE_PAGES;

	for (uint64_t n = from; n < to && n < SPM_SLICES; n++)
		if (slices[n].fences)
			return true;
	return false;
}

bool spm_run_is_free(uint32_t arena, pageno_t first, uint32_t pages)
{
	while (pages) {
		uint32_t p = first % SPM_SLICE_PAGES;
		uint32_t here = pages < SPM_SLICE_PAGES - p ? pages : SPM_SLICE_PAGES - p;
		const struct slice *s = &slices[first / SPM_SLICE_PAGES];

		if (!s->is_used || s->arena != arena || next_bit(s->used, p, true) < p + here)
			return false;
		first += here;
		pages -= here;
	}
	return true;
}

int spm_run_take_at(uint32_t arena, pageno_t first, uint32_t pages, bool *is_zero)
{
	if (!pages || (uint64_t)first + pages > (uint64_t)SPM_SLICES * SPM_SLICE_PAGES ||
	    !spm_run_is_free(arena, first, pages))
		return -EEXIST;
	*is_zero = run_take_in(first, pages);
	return 0;
}

static void slice_set_unwatched(struct slice *s, uint32_t p, uint32_t pages, bool value)
{
	s->unwatched_pages -= count_bits(s->unwatched, p, pages);
	set_bits(s->unwatched, p, pages, value);
	s->unwatched_pages += value ? pages : 0;
}

void spm_run_unwatch(pageno_t first, uint32_t pages)
{
	while (pages) {
		uint32_t p = first % SPM_SLICE_PAGES;
		uint32_t here = pages < SPM_SLICE_PAGES - p ? pages : SPM_SLICE_PAGES - p;

		slice_set_unwatched(&slices[first / SPM_SLICE_PAGES], p, here, true);
		first += here;
		pages -= here;
	}
}

static void slice_give(uint32_t n, uint32_t p, uint32_t pages)
{
	struct slice *s = &slices[n];

	if (s->unwatched_pages)
		slice_set_unwatched(s, p, pages, false);
	set_bits(s->written, p, pages, true);
	set_bits(s->used, p, pages, false);
	s->free_pages += pages;
	run_join(n, p, pages);
	idle_pages += pages;
	taken_pages -= pages;
	slice_drop_if_empty(n);
}

void spm_run_give(pageno_t first, uint32_t pages)
{
	while (pages) {
		uint32_t p = first % SPM_SLICE_PAGES;
		uint32_t here = pages < SPM_SLICE_PAGES - p ? pages : SPM_SLICE_PAGES - p;

		slice_give(first / SPM_SLICE_PAGES, p, here);
		first += here;
		pages -= here;
	}
	purge_if_too_many();
}

/* Appends a run to the one gathered so far, or hands that out and begins anew. */
struct gather {
	pageno_t first;
	uint32_t pages;
	void (*fn)(pageno_t first, uint32_t pages, void *arg);
	void *arg;
};

static void gather_add(struct gather *g, pageno_t first, uint32_t pages)
{
	if (g->pages && g->first + g->pages == first) {
		g->pages += pages;
		return;
	}
	if (g->pages)
		g->fn(g->first, g->pages, g->arg);
	g->first = first;
	g->pages = pages;
}

/* The runs of pages whose bit is set. is_full: all are. */
static void slice_gather(struct gather *g, uint32_t n, const uint64_t *words, bool is_full)
{
	uint32_t p = next_bit(words, 0, true);

	while (p < SPM_SLICE_PAGES) {
		uint32_t end = is_full ? SPM_SLICE_PAGES : next_bit(words, p, false);

		gather_add(g, n * SPM_SLICE_PAGES + p, end - p);
		p = next_bit(words, end, true);
	}
}

/* Where nothing is watched, nothing is looked at. */
static void slice_gather_watched(struct gather *g, uint32_t n, const struct slice *s)
{
	uint64_t watched[SPM_SLICE_WORDS];

	if (s->unwatched_pages == SPM_SLICE_PAGES - s->free_pages)
		return;
	for (unsigned w = 0; w < SPM_SLICE_WORDS; w++)
		watched[w] = s->used[w] & ~s->unwatched[w];
	slice_gather(g, n, watched, false);
}

/* Stopped: reads without the lock. */
void spm_window_each_run(bool is_watched, void (*fn)(pageno_t first, uint32_t pages, void *arg), void *arg)
{
	struct gather g = {.fn = fn, .arg = arg};

	for (uint32_t n = slice_first; n < slice_limit; n++) {
		const struct slice *s = &slices[n];

		if (s->is_used && is_watched && s->unwatched_pages)
			slice_gather_watched(&g, n, s);
		else if (s->is_used)
			slice_gather(&g, n, s->used, !s->free_pages);
	}
	if (g.pages)
		fn(g.first, g.pages, arg);
}

uint64_t spm_window_slices(void)
{
	uint64_t count = 0;

	for (uint32_t n = slice_first; n < slice_limit; n++)
		count += slices[n].is_used;
	return count;
}

/* Invariants 2, 3 and 5 (1 and 4 would need the whole window read). */
void spm_window_check(void)
{
	for (uint32_t n = slice_first; n < slice_limit; n++) {
		const struct slice *s = &slices[n];

		if (!s->is_used)
			continue;
		SPM_CHECK(s->free_pages == SPM_SLICE_PAGES - count_bits(s->used, 0, SPM_SLICE_PAGES));
		SPM_CHECK(s->unwatched_pages == count_bits(s->unwatched, 0, SPM_SLICE_PAGES));
		for (unsigned w = 0; w < SPM_SLICE_WORDS; w++)
			SPM_CHECK(!(s->unwatched[w] & ~s->used[w]));
		for (uint32_t p = next_bit(s->used, 0, false); p < SPM_SLICE_PAGES;) {
			uint32_t end = next_bit(s->used, p, true);

			spm_runs_check(s->arena, n * SPM_SLICE_PAGES + p, end - p);
			p = next_bit(s->used, end, false);
		}
	}
}

uint32_t spm_arena_new(void)
{
	uint32_t arena = 0;

	if (spm_heap_init())
		return 0;
	spm_window_lock();
	if (spare_arenas)
		arena = spare_arena[--spare_arenas];
	else if (arenas < SPM_ARENAS)
		arena = arenas++;
	spm_window_unlock();
	return arena; /* none left: the common one serves as well */
}

void spm_arena_clear(uint32_t arena, bool may_go)
{
	spm_window_lock();
	for (uint32_t n = arena_slices[arena], next; n; n = next) {
		next = slices[n - 1].next;
		slice_drop_if_empty(n - 1);
	}
	if (may_go && !arena_slices[arena])
		spare_arena[spare_arenas++] = arena;
	spm_window_unlock();
}

static int claim_slices(uint32_t from, uint32_t to, uint32_t arena)
{
	for (uint32_t n = from; n < to; n++)
		if (!n || is_lent[n] || (slices[n].is_used && slices[n].arena != arena))
			return -EEXIST;
	for (uint32_t n = from; n < to; n++)
		if (!slices[n].is_used && slice_adopt(n, arena))
			return -ENOMEM;
	return 0;
}

int spm_heap_claim(pageno_t first, uint32_t pages, uint32_t arena)
{
	uint64_t end = (uint64_t)first + pages;
	int err = spm_heap_init();

	if (err)
		return err;
	if (!pages || end > (uint64_t)SPM_SLICES * SPM_SLICE_PAGES || arena >= arenas)
		return -EINVAL;
	spm_window_lock();
	err = claim_slices(first / SPM_SLICE_PAGES, (uint32_t)((end + SPM_SLICE_PAGES - 1) / SPM_SLICE_PAGES), arena);
	spm_window_unlock();
	return err;
}

int spm_run_have_slices(pageno_t first, uint32_t pages, uint32_t arena, uint32_t *whose)
{
	uint32_t from = first / SPM_SLICE_PAGES, to = (first + pages - 1) / SPM_SLICE_PAGES + 1;

	*whose = slices[from].is_used ? slices[from].arena : arena;
	for (uint32_t n = from; n < to; n++)
		if ((slices[n].is_used ? slices[n].arena : arena) != *whose)
			return -EEXIST;
	return claim_slices(from, to, *whose);
}

int spm_heap_find_slices(uint32_t count, pageno_t *first)
{
	uint32_t n;
	int err = spm_heap_init();

	if (err)
		return err;
	if (!count || count >= SPM_SLICES)
		return -ENOMEM;
	spm_window_lock();
	err = slices_find(count, &n);
	spm_window_unlock();
	if (!err)
		*first = n * SPM_SLICE_PAGES;
	return err;
}

/* Only these were ever used: of the others not even the table is touched, which would cost a fault for every other slice. */
static bool was_used(uint32_t n)
{
	return n >= slice_first && n < slice_limit;
}

/* What the heap knows of its pages is void. */
static void slice_forget(uint32_t n)
{
	struct slice *s = &slices[n];

	if (!s->is_open)
		return;
	idle_pages -= count_bits(s->written, 0, SPM_SLICE_PAGES);
	set_bits(s->written, 0, SPM_SLICE_PAGES, false);
	s->is_open = false;
}

static int slices_lend(uint32_t from, uint32_t to, uint32_t *taken, uint32_t *arena)
{
	for (uint32_t n = from; n < to; n++)
		if (is_lent[n] || (was_used(n) && slices[n].is_used)) {
			*taken = n;
			*arena = is_lent[n] ? (uint32_t)SPM_ARENA_LENT : slices[n].arena;
			return -EEXIST;
		}
	for (uint32_t n = from; n < to; n++) {
		if (was_used(n))
			slice_forget(n);
		is_lent[n] = true;
	}
	return 0;
}

int spm_heap_lend(uint32_t slice, uint32_t n, uint32_t *taken, uint32_t *arena)
{
	int err = spm_heap_init();

	if (err)
		return err;
	if (!n || slice >= SPM_SLICES || n > SPM_SLICES - slice)
		return -EINVAL;
	spm_window_lock();
	err = slices_lend(slice, slice + n, taken, arena);
	spm_window_unlock();
	return err;
}

/* Where the kernel has no memory even for that they stay lent. */
void spm_heap_take_back(uint32_t slice, uint32_t n)
{
	void *at = (void *)spm_page_address(slice * SPM_SLICE_PAGES);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

	if (mmap(at, n * SPM_SLICE_BYTES, PROT_NONE, flags, -1, 0) == MAP_FAILED)
		return;
	spm_window_lock();
	for (uint32_t i = slice; i < slice + n; i++)
		is_lent[i] = false;
	spm_window_unlock();
}

bool spm_heap_is_lent(uint64_t address)
{
	return is_lent[(address - SPM_WINDOW_START) / SPM_SLICE_BYTES];
}
