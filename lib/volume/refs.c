/* refs.c - see refs.h and, for what others may call, volume.h. */
#include "volume/refs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { REFS_WAIT_MS = 10000, REFS_PAGE_ENTRIES = SPM_PAGE_BYTES / sizeof(struct ref), REFS_PAGES_MOST = 4096 };

static_assert(sizeof(struct ref) == 128, "ref");

static int ref_add(struct refs *r, const struct ref *ref)
{
	struct ref *more = realloc(r->ref, (r->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	r->ref = more;
	more[r->n++] = *ref;
	return 0;
}

struct refs_take {
	struct chain *c;
	struct refs *refs;
};

static int page_take(uint64_t number, const struct place *p, void *arg)
{
	struct refs_take *t = arg;
	struct ref page[REFS_PAGE_ENTRIES] = {0};
	int err = spm_chain_read(t->c, number, 1, page);

	(void)p;
	for (size_t i = 0; i < REFS_PAGE_ENTRIES && !err; i++)
		if (page[i].kind && memchr(page[i].name, 0, sizeof(page[i].name)))
			err = ref_add(t->refs, &page[i]);
	return err;
}

static int refs_take(struct chain *c, struct refs *out)
{
	int err;

	*out = (struct refs){0};
	err = spm_map_each(&c->map, page_take, &(struct refs_take){c, out});
	if (err)
		spm_refs_free(out);
	return err;
}

int spm_refs_load(struct volume *v, int magic, struct refs *out)
{
	struct chain *c;
	int err = spm_chain_open(v, magic, "", 0, 0, &c);

	*out = (struct refs){0};
	if (err)
		return err == -ENOENT ? 0 : err;
	err = refs_take(c, out);
	spm_chain_close(c);
	return err;
}

void spm_refs_free(struct refs *r)
{
	free(r->ref);
	*r = (struct refs){0};
}

const struct ref *spm_refs_find(const struct refs *r, enum ref_kind kind, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->ref[i].kind == kind && !strcmp(r->ref[i].name, name))
			return &r->ref[i];
	return NULL;
}

/* All pages: what is the same is not written. `had` pages were there before. */
static int refs_commit(struct chain *c, const struct refs *r, size_t had)
{
	size_t pages = (r->n + REFS_PAGE_ENTRIES - 1) / REFS_PAGE_ENTRIES, all = pages > had ? pages : had;
	struct page_change *change = calloc(all + 1, sizeof(*change));
	struct ref *entries = aligned_alloc(SPM_PAGE_BYTES, (pages + 1) * SPM_PAGE_BYTES);
	struct version_info info = {.time_ns = spm_now_real_ns(), .versions_kept = 1, .chunk_bytes = SPM_PAGE_BYTES};
	int err = change && entries ? 0 : -ENOMEM;

	if (!err) {
		memset(entries, 0, (pages + 1) * SPM_PAGE_BYTES);
		if (r->n)
			memcpy(entries, r->ref, r->n * sizeof(*entries));
	}
	for (size_t i = 0; i < all && !err; i++)
		change[i] = (struct page_change){.page = SPM_BLOB_PAGE + i,
		                                 .data = entries + (i < pages ? i : 0) * REFS_PAGE_ENTRIES,
		                                 .is_removed = i >= pages};
	if (!err)
		err = spm_chain_commit(c, change, all, true, &info);
	free(change);
	free(entries);
	return err;
}

int spm_refs_change(struct volume *v, int magic, int (*change)(struct refs *refs, void *arg), void *arg)
{
	struct refs refs;
	struct chain *c;
	size_t had;
	bool again;
	int err = spm_chain_have(v, magic, "", REFS_WAIT_MS, &c);

	if (err)
		return err;
	err = refs_take(c, &refs);
	if (!err) {
		had = (refs.n + REFS_PAGE_ENTRIES - 1) / REFS_PAGE_ENTRIES;
		err = change(&refs, arg);
		if (!err) /* what they name may not be durable yet */
			err = spm_volume_flush(v);
		if (!err)
			err = refs_commit(c, &refs, had);
		if (!err)
			spm_chain_maintain(c, false, &again); /* the change is made, whatever comes of this */
		spm_refs_free(&refs);
	}
	spm_chain_close(c);
	return err;
}

int spm_refs_put(struct refs *r, const struct ref *ref)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->ref[i].kind == ref->kind && !strcmp(r->ref[i].name, ref->name)) {
			r->ref[i] = *ref;
			return 0;
		}
	return r->n < REFS_PAGES_MOST * REFS_PAGE_ENTRIES ? ref_add(r, ref) : -E2BIG;
}

bool spm_refs_remove(struct refs *r, enum ref_kind kind, const char *name)
{
	for (size_t i = 0; i < r->n; i++)
		if (r->ref[i].kind == kind && !strcmp(r->ref[i].name, name)) {
			memmove(&r->ref[i], &r->ref[i + 1], (--r->n - i) * sizeof(*r->ref));
			return true;
		}
	return false;
}

/* ---- keepers ---- */

static int keeper_add(struct keepers *k, uint64_t seq)
{
	uint64_t *more = realloc(k->seq, (k->n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	k->seq = more;
	more[k->n++] = seq;
	return 0;
}

struct origins {
	const struct chain *c;
	struct keepers *k;
};

static int origin_note(const struct chain_head *head, void *arg)
{
	struct origins *o = arg;

	return head->parent_chain == o->c->id ? keeper_add(o->k, head->origin_seq) : 0;
}

static int seq_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* -EUCLEAN: not of those whose head can't be read. */
static int keepers_read(struct chain *c, struct keepers *k)
{
	struct refs refs = {0};
	int heads = spm_heads_each(c->volume, c->magic, origin_note, &(struct origins){c, k});
	int err = heads == -EUCLEAN ? 0 : heads;

	if (!err && spm_is_branch(c->branch))
		err = spm_refs_load(c->volume, c->magic, &refs);
	for (size_t i = 0; i < refs.n && !err; i++)
		if (refs.ref[i].kind == REF_TAG && refs.ref[i].chain_id == c->id)
			err = keeper_add(k, refs.ref[i].seq);
	spm_refs_free(&refs);
	if (k->n)
		qsort(k->seq, k->n, sizeof(*k->seq), seq_compare);
	return err ? err : heads;
}

int spm_keepers_find(struct chain *c, bool all, struct keepers *k)
{
	int err;

	*k = (struct keepers){0};
	err = keepers_read(c, k);
	if (err == -EUCLEAN && !all)
		err = 0;
	if (err)
		spm_keepers_free(k);
	return err;
}

bool spm_keepers_has(const struct keepers *k, uint64_t seq)
{
	return k->n && bsearch(&seq, k->seq, k->n, sizeof(*k->seq), seq_compare);
}

void spm_keepers_free(struct keepers *k)
{
	free(k->seq);
	*k = (struct keepers){0};
}
