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

enum { PIECE_PAGES = 1024, RUN_PAGES = 64, ALONE_PAGES = 4096, SMALL_PAGES = 512, EXPECT_PAGES = 16 };

struct filler {
	struct fill *f;
	unsigned char *buffer;                /* NULL: read in place */
	struct page_source source[RUN_PAGES]; /* of the run that is being gathered */
	const struct source_run *from[RUN_PAGES];
	size_t n;
	struct nears nears;
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
	if (w->n < RUN_PAGES)
		spm_chain_near(f->chain, &w->nears, w->source[0].block);
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

static int piece_fill(struct filler *w, struct piece p)
{
	const struct fill *f = w->f;
	int err = 0;

	for (uint32_t left = PIECE_PAGES; left && p.run < f->n && !err; left--) {
		const struct source_run *r = &f->run[p.run];

		if (r->block)
			err = page_gather(w, r, p.page);
		if (++p.page == r->pages)
			p = (struct piece){p.run + 1, 0};
	}
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

/* The device brings the neighbourhoods side by side, beside what is being read. */
static void all_expect(struct filler *w)
{
	const struct fill *f = w->f;

	for (size_t i = 0; i < f->n; i++)
		for (uint32_t k = 0; f->run[i].block && k < f->run[i].pages; k += EXPECT_PAGES)
			spm_chain_near(f->chain, &w->nears, f->run[i].block + k);
}

static void *filler_main(void *arg)
{
	struct fill *f = arg;
	struct filler w = {.f = f, .nears.is_dense = f->is_small};
	struct piece piece;
	int err = 0;

	if (!strcmp(spm_track_name(), "mprotect")) {
		w.buffer = aligned_alloc(SPM_PAGE_BYTES, RUN_PAGES * SPM_PAGE_BYTES);
		if (!w.buffer)
			fail(f, -ENOMEM, "no memory to read a container");
	}
	if (f->is_small)
		all_expect(&w);
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

	f->is_small = pages <= SMALL_PAGES;
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
