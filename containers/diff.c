/* diff.c - in what two versions differ. */
#include "container.h"
#include "refs.h"

#include <errno.h>
#include <string.h>

struct differing {
	struct chain *chain[2];
	uint64_t version[2];
	int (*fn)(const struct pdifference *difference, void *arg);
	void *arg;
	int err; /* -errno of a page that could not be read */
};

/* Zeros if the version does not have it. */
static int page_read(struct differing *d, unsigned which, const struct page_source *s, unsigned char *to)
{
	memset(to, 0, SPM_PAGE_BYTES);
	return s && s->block ? spm_chain_read_run(d->chain[which], d->version[which], s, 1, to) : 0;
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

static int chain_at(int magic, const char *ref, struct chain **chain, uint64_t *version)
{
	struct resolved at;
	int err;

	if (spm_ref_resolve(magic, NULL, ref ? ref : "", &at))
		return -1;
	*version = at.found.info.version;
	err = spm_chain_open_version(spm_volume_current(), magic, at.branch, *version, chain);
	return err ? spm_fail_volume(err) : 0;
}

int pDiff(int magic, const char *first, const char *second, int (*fn)(const struct pdifference *difference, void *arg),
          void *arg)
{
	struct differing d = {.fn = fn, .arg = arg};
	int result;

	if (!spm_volume_current() || spm_containers_sync(magic) || chain_at(magic, first, &d.chain[0], &d.version[0]))
		return -1;
	result = chain_at(magic, second, &d.chain[1], &d.version[1]);
	if (!result) {
		result = spm_chain_diff(d.chain[0], d.chain[1], pair_show, &d);
		if (d.err)
			result = spm_fail_volume(d.err);
		spm_chain_close(d.chain[1]);
	}
	spm_chain_close(d.chain[0]);
	return result;
}
