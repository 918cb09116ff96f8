/* diff.c - in what two versions differ. */
#include "container.h"
#include "refs.h"

#include <errno.h>
#include <string.h>

struct differing {
	struct chain *chain[2];
	int (*fn)(const struct pdifference *difference, void *arg);
	void *arg;
	int err; /* -errno of a page that could not be read */
};

/* Zeros if the version does not have it. */
static int page_read(struct differing *d, unsigned which, const struct page_source *s, unsigned char *to)
{
	struct version_info info = {0};

	memset(to, 0, SPM_PAGE_BYTES);
	spm_chain_newest(d->chain[which], &info);
	return s && s->block ? spm_chain_read_run(d->chain[which], info.version, s, 1, to) : 0;
}

static int pair_show(const struct page_pair *pair, void *arg)
{
	struct differing *d = arg;
	unsigned char page[2][SPM_PAGE_BYTES];
	struct pdifference difference = {.is_in_first = pair->first != NULL, .is_in_second = pair->second != NULL};

	if (pair->page >= SPM_BLOB_PAGE)
		return 0;
	difference.page = (void *)(uintptr_t)spm_page_address((pageno_t)pair->page);
	d->err = page_read(d, 0, pair->first, page[0]);
	if (!d->err)
		d->err = page_read(d, 1, pair->second, page[1]);
	for (size_t i = 0; i < SPM_PAGE_BYTES && !d->err; i++)
		difference.bytes += page[0][i] != page[1][i];
	return d->err ? -1 : d->fn(&difference, d->arg);
}

int pDiff(int magic, const char *first, const char *second, int (*fn)(const struct pdifference *difference, void *arg),
          void *arg)
{
	struct differing d = {.fn = fn, .arg = arg};
	int result;

	if (!spm_volume_current() || spm_containers_sync(magic) || spm_chain_open_ref(magic, first, &d.chain[0]))
		return -1;
	result = spm_chain_open_ref(magic, second, &d.chain[1]);
	if (!result) {
		result = spm_chain_diff(d.chain[0], d.chain[1], pair_show, &d);
		if (d.err)
			result = spm_fail_volume(d.err);
		spm_chain_close(d.chain[1]);
	}
	spm_chain_close(d.chain[0]);
	return result;
}
