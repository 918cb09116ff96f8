/* fill.c - see fill.h.
 *
 *   run[]      | piece | piece | piece | ...      each thread takes the next piece, of PIECE_PAGES pages
 *   piece      | run | run | ...                  pages whose places and blocks follow each other: one read
 *
 * Runs are read straight to their places, short enough for the processor's second cache, so that verifying them reads
 * no memory again. Where pages may be protected (mprotect tracker), a read(2) would fail: there they go through a
 * buffer.
 */
#include "fill.h"
#include "snapshot/stop.h"
#include "track/track.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_PAGES = 1024, RUN_PAGES = 64, ALONE_PAGES = 4096, GAP_BLOCKS = 16 };

struct range {
	uint64_t block, end;
};

struct filler {
	struct fill *f;
	unsigned char *buffer;                /* NULL: read in place */
	struct page_source source[RUN_PAGES]; /* of the run that is being gathered */
	const struct source_run *from[RUN_PAGES];
	size_t n;
	struct range range[PIECE_PAGES]; /* of the volume, that a piece comes from */
};

static void run_mend(struct filler *w)
{
	struct fill *f = w->f;

	for (size_t i = 0; i < w->n; i++) {
		uint64_t page = w->source[i].page;

		if (!f->wants_mending(f->arg, w->from[i]))
			continue;
		pthread_mutex_lock(&f->lock);
		f->mend(f->arg, w->from[i], page, (uint64_t *)(uintptr_t)spm_page_address(f->place(f->arg, page)));
		pthread_mutex_unlock(&f->lock);
	}
}

/* Reads what was gathered. */
static int run_fill(struct filler *w)
{
	struct fill *f = w->f;
	void *to;
	int err;

	if (!w->n)
		return 0;
	to = (void *)(uintptr_t)spm_page_address(f->place(f->arg, w->source[0].page));
	err = spm_chain_read_run(f->chain, f->version, w->source, w->n, w->buffer ? w->buffer : to);
	if (err)
		return err;
	if (w->buffer)
		memcpy(to, w->buffer, w->n * SPM_PAGE_BYTES);
	run_mend(w);
	w->n = 0;
	return 0;
}

/* Both at their place in the version and at that in memory. */
static bool follows(const struct filler *w, const struct page_source *s)
{
	const struct page_source *last = &w->source[w->n - 1];
	const struct fill *f = w->f;

	return s->page == last->page + 1 && s->block == last->block + 1 &&
	       f->place(f->arg, s->page) == f->place(f->arg, last->page) + 1;
}

static int page_gather(struct filler *w, const struct source_run *r, uint32_t k)
{
	struct page_source s = spm_source_of(r, k);
	int err = w->n && (w->n == RUN_PAGES || !follows(w, &s)) ? run_fill(w) : 0;

	if (err)
		return err;
	w->from[w->n] = r;
	w->source[w->n++] = s;
	return 0;
}

struct piece {
	size_t run;
	uint32_t page;
};

/* The next one; false: there is none. */
static bool piece_take(struct fill *f, struct piece *p)
{
	uint32_t left = PIECE_PAGES;

	pthread_mutex_lock(&f->lock);
	*p = (struct piece){f->next, f->next_page};
	while (left && f->next < f->n) {
		uint32_t rest = f->run[f->next].pages - f->next_page;

		if (rest > left) {
			f->next_page += left;
			break;
		}
		left -= rest;
		f->next++;
		f->next_page = 0;
	}
	pthread_mutex_unlock(&f->lock);
	return p->run < f->n;
}

/* The page after p's. */
static void piece_step(const struct fill *f, struct piece *p)
{
	if (++p->page == f->run[p->run].pages)
		*p = (struct piece){p->run + 1, 0};
}

static int range_compare(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->block < y->block ? -1 : x->block > y->block;
}

/* The device brings all of a piece side by side, and what lies between two of its pages if that is little: they may be of many versions, each of
 * which wrote its own in a row. */
static void piece_expect(struct filler *w, struct piece p)
{
	const struct fill *f = w->f;
	size_t n = 0;

	for (uint32_t left = PIECE_PAGES; left && p.run < f->n; left--, piece_step(f, &p)) {
		uint64_t block = f->run[p.run].block ? spm_source_of(&f->run[p.run], p.page).block : 0;

		if (n && block == w->range[n - 1].end)
			w->range[n - 1].end++;
		else if (block)
			w->range[n++] = (struct range){block, block + 1};
	}
	qsort(w->range, n, sizeof(*w->range), range_compare);
	for (size_t i = 0, next; i < n; i = next) {
		uint64_t end = w->range[i].end;

		for (next = i + 1; next < n && w->range[next].block <= end + GAP_BLOCKS; next++)
			end = w->range[next].end > end ? w->range[next].end : end;
		spm_chain_expect(f->chain, w->range[i].block, end - w->range[i].block);
	}
}

static int piece_fill(struct filler *w, struct piece p)
{
	const struct fill *f = w->f;
	int err = 0;

	piece_expect(w, p);
	for (uint32_t left = PIECE_PAGES; left && p.run < f->n && !err; left--, piece_step(f, &p))
		if (f->run[p.run].block)
			err = page_gather(w, &f->run[p.run], p.page);
	return err ? err : run_fill(w);
}

static void fail(struct fill *f, int err, const char *why)
{
	pthread_mutex_lock(&f->lock);
	if (!f->error)
		strncpy(f->why, why, sizeof(f->why) - 1);
	f->error = err;
	pthread_mutex_unlock(&f->lock);
}

static void *filler_main(void *arg)
{
	struct fill *f = arg;
	struct filler w = {.f = f};
	struct piece piece;
	int err = 0;

	if (!strcmp(spm_track_name(), "mprotect")) {
		w.buffer = aligned_alloc(SPM_PAGE_BYTES, RUN_PAGES * SPM_PAGE_BYTES);
		if (!w.buffer)
			fail(f, -ENOMEM, "no memory to read a container");
	}
	while (!f->error && !err && piece_take(f, &piece))
		err = piece_fill(&w, piece);
	if (err)
		fail(f, err, spm_volume_error());
	free(w.buffer);
	return NULL;
}

static void *helper_main(void *arg)
{
	spm_stop_exempt_self();
	return filler_main(arg);
}

static bool has_two_processors(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1;
}

int spm_fill_all(struct fill *f, uint64_t pages)
{
	bool wants_help = pages > ALONE_PAGES && has_two_processors();
	sigset_t all, before;
	pthread_t helper;

	pthread_mutex_init(&f->lock, NULL);
	sigfillset(&all);
	sigdelset(&all, SIGSEGV); /* the mprotect tracker's */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	wants_help = wants_help && !pthread_create(&helper, NULL, helper_main, f);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	filler_main(f);
	if (wants_help)
		pthread_join(helper, NULL);
	pthread_mutex_destroy(&f->lock);
	return f->error;
}
