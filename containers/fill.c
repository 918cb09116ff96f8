/* fill.c - see fill.h.
 *
 *   source[]   | piece | piece | piece | ...      each thread takes the next piece, of PIECE_PAGES entries
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

enum { PIECE_PAGES = 1024, RUN_PAGES = 64, ALONE_PAGES = 4096 };

struct filler {
	struct fill *f;
	unsigned char *buffer; /* NULL: read in place */
};

/* The length of the run that begins at i. */
static size_t run_length(const struct fill *f, size_t i, size_t end)
{
	const struct page_source *s = &f->source[i];
	pageno_t to = f->place(f->arg, s->page);
	size_t n = 1;

	while (n < RUN_PAGES && i + n < end && s[n].page == s->page + n && s[n].block == s->block + n &&
	       f->place(f->arg, s[n].page) == to + n)
		n++;
	return n;
}

static void run_mend(struct fill *f, size_t i, size_t n)
{
	for (size_t k = i; k < i + n; k++) {
		if (!f->wants_mending(f->arg, k))
			continue;
		pthread_mutex_lock(&f->lock);
		f->mend(f->arg, k, (uint64_t *)(uintptr_t)spm_page_address(f->place(f->arg, f->source[k].page)));
		pthread_mutex_unlock(&f->lock);
	}
}

static int run_fill(struct filler *w, size_t i, size_t n)
{
	struct fill *f = w->f;
	void *to = (void *)(uintptr_t)spm_page_address(f->place(f->arg, f->source[i].page));
	int err = spm_chain_read_run(f->chain, f->version, &f->source[i], n, w->buffer ? w->buffer : to);

	if (err)
		return err;
	if (w->buffer)
		memcpy(to, w->buffer, n * SPM_PAGE_BYTES);
	run_mend(f, i, n);
	return 0;
}

static int piece_fill(struct filler *w, size_t from)
{
	const struct fill *f = w->f;
	size_t end = from + PIECE_PAGES < f->n ? from + PIECE_PAGES : f->n, n;

	for (size_t i = from; i < end; i += n) {
		int err = 0;

		n = 1;
		if (f->source[i].block) {
			n = run_length(f, i, end);
			err = run_fill(w, i, n);
		}
		if (err)
			return err;
	}
	return 0;
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
	size_t piece;
	int err = 0;

	if (!strcmp(spm_track_name(), "mprotect")) {
		w.buffer = aligned_alloc(SPM_PAGE_BYTES, RUN_PAGES * SPM_PAGE_BYTES);
		if (!w.buffer)
			fail(f, -ENOMEM, "no memory to read a container");
	}
	while (!f->error && !err && (piece = f->next++) * PIECE_PAGES < f->n)
		err = piece_fill(&w, piece * PIECE_PAGES);
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

int spm_fill_all(struct fill *f)
{
	bool wants_help = f->n > ALONE_PAGES && has_two_processors();
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
