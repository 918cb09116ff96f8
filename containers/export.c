/* export.c - versions into a stream.
 *
 * Versions are told line by line: a line is a branch's own versions, ascending. Of each version the pages are found by going through
 * its map beside that of the version before; what both have in the same block is not read. The version is open meanwhile, and
 * so is the one before: nobody drops them, and writers go on. Those that are dropped before it is their turn are left out, but
 * not a line's newest: it is held from when it was listed.
 */
#include "refs.h"
#include "transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RUN_PAGES = 64 };

struct line {
	char name[SPM_NAME_BYTES], parent[SPM_NAME_BYTES]; /* parent "": it begins empty */
	uint64_t origin;                                   /* version of the parent */
	uint64_t *version;                                 /* to be told, ascending */
	size_t n;
	struct chain *held;     /* keeps the last of them */
	bool is_begun, is_told; /* that it begins was told; all of it was */
};

/* A version that is open. */
struct shown {
	struct chain *chain; /* NULL: none, which has no pages */
	struct source_list list;
	struct version_info info;
	uint64_t state;
};

struct export
{
	const struct exporting *what;
	struct stream_out out;
	struct line *line;
	size_t lines;
	struct refs refs;
	char name[64]; /* of the container */
	struct shown before, now;
	struct page_source source[RUN_PAGES]; /* to be read in one go */
	struct item_page item[RUN_PAGES];
	size_t run;
	unsigned char *buffer; /* for them */
	struct ptransfer t;
};

/* All that follows returns 0, or -1 and the error is set, or what fn returned. */

static int put(struct export *e, const void *from, size_t n)
{
	int err = spm_stream_write(&e->out, from, n);

	return err ? spm_fail(-err, "the stream can't be written: %s", strerror(-err)) : 0;
}

static int item_put(struct export *e, uint64_t kind, const void *from, size_t n)
{
	return put(e, &kind, sizeof(kind)) ? -1 : put(e, from, n);
}

static int tell(struct export *e)
{
	e->t.bytes = e->out.bytes;
	return e->what->fn ? e->what->fn(&e->t, e->what->arg) : 0;
}

/* ---- pages ---- */

static int run_put(struct export *e)
{
	int err = e->run ? spm_chain_read_run(e->now.chain, e->now.info.version, e->source, e->run, e->buffer) : 0;

	if (err)
		return spm_fail_volume(err);
	for (size_t i = 0; i < e->run && !err; i++) {
		err = item_put(e, ITEM_PAGE, &e->item[i], sizeof(e->item[i]));
		if (!err)
			err = put(e, e->buffer + i * SPM_PAGE_BYTES, SPM_PAGE_BYTES);
	}
	e->t.pages += e->run;
	e->run = 0;
	return err;
}

static int zeros_put(struct export *e, const struct item_page *item)
{
	static const unsigned char zeros[SPM_PAGE_BYTES];

	if (run_put(e) || item_put(e, ITEM_PAGE, item, sizeof(*item)))
		return -1;
	e->t.pages++;
	return put(e, zeros, sizeof(zeros));
}

static int content_put(struct export *e, const struct page_source *source, const struct item_page *item)
{
	bool is_full = e->run == RUN_PAGES;

	if (!source->block)
		return zeros_put(e, item);
	if ((is_full || (e->run && source->block != e->source[e->run - 1].block + 1)) && run_put(e))
		return -1;
	e->source[e->run] = *source;
	e->item[e->run++] = *item;
	return 0;
}

static int gone_put(struct export *e, uint64_t page)
{
	return run_put(e) ? -1 : item_put(e, ITEM_GONE, &page, sizeof(page));
}

/* Goes through the pages of a version, ascending. */
struct cursor {
	const struct source_list *list;
	size_t run;
	uint32_t k;
};

static uint64_t cursor_page(const struct cursor *c)
{
	return c->run < c->list->n ? c->list->run[c->run].page + c->k : UINT64_MAX;
}

static void cursor_next(struct cursor *c)
{
	if (++c->k < c->list->run[c->run].pages)
		return;
	c->run++;
	c->k = 0;
}

static struct item_page cursor_item(const struct cursor *c, struct page_source *source)
{
	const struct source_run *r = &c->list->run[c->run];
	struct page_meta meta = spm_source_meta(r, c->k);

	*source = spm_source_of(r, c->k);
	return spm_item_page(source->page, source, &meta);
}

/* A page that both versions have, or only this. */
static int page_put(struct export *e, const struct cursor *was, const struct cursor *is)
{
	struct page_source source, source_was;
	struct item_page item = cursor_item(is, &source), item_was;

	e->now.state += spm_state_of(&item);
	if (cursor_page(was) != item.page)
		return content_put(e, &source, &item);
	item_was = cursor_item(was, &source_was);
	if (!memcmp(&item, &item_was, sizeof(item)))
		return 0;
	if (item.sum != item_was.sum)
		return content_put(e, &source, &item);
	return run_put(e) ? -1 : item_put(e, ITEM_META, &item, sizeof(item));
}

static int pages_put(struct export *e)
{
	struct cursor was = {&e->before.list, 0, 0}, is = {&e->now.list, 0, 0};
	int result = 0;

	e->now.state = 0;
	while (!result && (cursor_page(&was) != UINT64_MAX || cursor_page(&is) != UINT64_MAX)) {
		if (cursor_page(&was) < cursor_page(&is)) {
			result = gone_put(e, cursor_page(&was));
			cursor_next(&was);
			continue;
		}
		result = page_put(e, &was, &is);
		if (cursor_page(&was) == cursor_page(&is))
			cursor_next(&was);
		cursor_next(&is);
	}
	return result ? result : run_put(e);
}

/* ---- versions ---- */

static void shown_close(struct shown *s)
{
	if (s->list.run)
		spm_source_list_free(&s->list);
	if (s->chain)
		spm_chain_close(s->chain);
	*s = (struct shown){.chain = NULL};
}

static int shown_open(struct export *e, const char *branch, uint64_t version, struct shown *out)
{
	int err = spm_chain_open_version(e->what->volume, e->what->magic, branch, version, &out->chain);

	if (!err)
		err = spm_chain_newest(out->chain, &out->info);
	if (!err)
		err = spm_chain_list(out->chain, &out->list);
	return err ? spm_fail_volume(err) : 0;
}

/* One that is not told, but told against. */
static int before_open(struct export *e, const char *branch, uint64_t version)
{
	int err = shown_open(e, branch, version, &e->before);

	if (err)
		return err;
	err = spm_state_find(e->before.chain, &e->before.state);
	return err ? spm_fail(-err, "no memory for the map of version %llu", (unsigned long long)version) : 0;
}

/* Tags, and branches that begin here. */
static int names_put(struct export *e, const struct line *line)
{
	struct chain_about about;
	int result = 0;

	spm_chain_about(e->now.chain, &about);
	for (size_t i = 0; i < e->refs.n && !result; i++) {
		const struct ref *r = &e->refs.ref[i];
		struct item_name item = {.time_ns = r->time_ns};

		if (r->kind != REF_TAG || r->chain_id != about.chain_id || r->seq != about.seq)
			continue;
		memcpy(item.name, r->name, sizeof(item.name));
		result = item_put(e, ITEM_TAG, &item, sizeof(item));
	}
	for (size_t i = 0; i < e->lines && !result; i++) {
		struct line *l = &e->line[i];
		struct item_name item = {.time_ns = 0};

		if (l->origin != e->now.info.version || strcmp(l->parent, line->name) != 0)
			continue;
		l->is_begun = true;
		memcpy(item.name, l->name, sizeof(item.name));
		result = item_put(e, ITEM_BRANCH, &item, sizeof(item));
	}
	return result;
}

static int version_put(struct export *e, const struct line *line)
{
	struct item_version v = {.info = e->now.info};
	int result;

	if (e->before.chain) {
		v.before = e->before.info.version;
		v.before_time_ns = e->before.info.time_ns;
		v.before_state = e->before.state;
	}
	/* A version that came from another branch with this one is this line's. */
	memset(v.info.branch, 0, sizeof(v.info.branch));
	strcpy(v.info.branch, line->name);
	result = item_put(e, ITEM_VERSION, &v, sizeof(v));
	if (!result)
		result = pages_put(e);
	if (!result)
		result = item_put(e, ITEM_COMMIT, &e->now.state, sizeof(e->now.state));
	if (!result && e->what->is_history)
		result = names_put(e, line);
	if (result)
		return result;
	e->t.branch = line->name;
	e->t.version = (int64_t)v.info.version;
	e->t.versions++;
	return tell(e);
}

/* Versions that nobody keeps may go before they are opened. */
static int line_put(struct export *e, const struct line *line)
{
	int result = 0;

	for (size_t i = 0; i < line->n && !result; i++) {
		result = shown_open(e, line->name, line->version[i], &e->now);
		if (result && errno == ENOENT && i + 1 < line->n) {
			shown_close(&e->now);
			result = 0;
			continue;
		}
		if (!result)
			result = version_put(e, line);
		shown_close(&e->before);
		e->before = e->now;
		e->now = (struct shown){.chain = NULL};
	}
	return result;
}

static int branch_put(struct export *e, struct line *l)
{
	l->is_told = true;
	shown_close(&e->before);
	if (*l->parent && l->n && before_open(e, l->parent, l->origin))
		return -1;
	return line_put(e, l);
}

/* The first that can be told: one that begins empty, main before all others, or whose beginning was told. */
static struct line *line_next(struct export *e)
{
	struct line *next = NULL;

	for (size_t i = 0; i < e->lines; i++) {
		struct line *l = &e->line[i];

		if (!l->is_told && (!*l->parent || l->is_begun) && (!next || !strcmp(l->name, "main")))
			next = l;
	}
	return next;
}

static int lines_put(struct export *e)
{
	struct line *l;
	int result = 0;

	while (!result && (l = line_next(e)))
		result = branch_put(e, l);
	for (size_t i = 0; i < e->lines && !result; i++)
		if (!e->line[i].is_told)
			result = spm_fail(EAGAIN, "branch %s of container %d was just being changed: export it again",
			                  e->line[i].name, e->what->magic);
	return result;
}

/* ---- which versions ---- */

struct listing {
	struct line *line;
	char *name;     /* of the container, from the newest version */
	uint64_t after; /* only later ones */
	uint64_t after_time_ns;
	bool is_met; /* that one was */
};

static int version_add(const struct version_info *info, void *arg)
{
	struct listing *l = arg;
	struct line *line = l->line;

	if (info->version <= l->after) {
		l->is_met = info->version == l->after && info->time_ns == l->after_time_ns;
		return 1;
	}
	if ((line->n & (line->n + 1)) == 0) { /* full: 0, 1, 3, 7, ... */
		uint64_t *more = realloc(line->version, (line->n * 2 + 1) * sizeof(*more));

		if (!more)
			return -ENOMEM;
		line->version = more;
	}
	if (!line->n)
		memcpy(l->name, info->name, sizeof(info->name));
	line->version[line->n++] = info->version;
	return 0;
}

static int newest_hold(struct chain *c, const struct export *e, struct line *line)
{
	struct version_found newest;
	int err = spm_chain_newest_found(c, &newest);

	return err ? err : spm_version_hold(e->what->volume, e->what->magic, &newest, &line->held);
}

/* They are told newest first. */
static int versions_list(struct chain *c, const struct export *e, struct listing *l)
{
	struct line *line = l->line;
	int result = spm_chain_each_version(c, version_add, l);

	if (result >= 0 && line->n)
		result = newest_hold(c, e, line);
	for (size_t i = 0; i < line->n / 2; i++) {
		uint64_t held = line->version[i];

		line->version[i] = line->version[line->n - 1 - i];
		line->version[line->n - 1 - i] = held;
	}
	return result < 0 ? spm_fail_volume(result) : 0;
}

static struct line *line_add(struct export *e, const char *name)
{
	struct line *more = realloc(e->line, (e->lines + 1) * sizeof(*more));

	if (!more) {
		spm_fail(ENOMEM, "no memory for the list of branches");
		return NULL;
	}
	e->line = more;
	more += e->lines++;
	*more = (struct line){.n = 0};
	strncpy(more->name, name, sizeof(more->name) - 1);
	return more;
}

static int origin_find(struct chain *c, struct line *l)
{
	struct chain_about about;
	struct chain *parent;
	int err = spm_chain_open_parent(c, &parent);

	if (err)
		return err == -ENOENT ? 0 : spm_fail_volume(err);
	spm_chain_about(parent, &about);
	strncpy(l->parent, about.branch, sizeof(l->parent) - 1);
	spm_chain_close(parent);
	spm_chain_about(c, &about);
	l->origin = about.origin_version;
	return 0;
}

static int branch_list(int magic, const char *branch, void *arg)
{
	struct export *e = arg;
	struct line *l;
	struct chain *c;
	int err;

	if (magic != e->what->magic)
		return 0;
	if (!branch)
		return spm_fail(
		        EUCLEAN,
		        "container %d: the head of a branch is damaged in both copies: no history is whole without it",
		        magic);
	err = spm_chain_open(e->what->volume, magic, branch, 0, 0, &c);
	if (err)
		return spm_fail_volume(err);
	l = line_add(e, branch);
	err = l ? origin_find(c, l) : -1;
	if (!err)
		err = versions_list(c, e, &(struct listing){.line = l, .name = e->name, .after = l->origin});
	if (l)
		e->t.versions_all += l->n;
	spm_chain_close(c);
	return err;
}

static int history_list(struct export *e)
{
	int err = spm_refs_load(e->what->volume, e->what->magic, &e->refs);

	if (err)
		return spm_fail_volume(err);
	err = spm_volume_each_chain(e->what->volume, branch_list, e);
	if (err)
		return err == -1 ? -1 : spm_fail_volume(err);
	if (!e->lines)
		return spm_fail(ENOENT, "the volume has no container %d", e->what->magic);
	if (!e->t.versions_all)
		return spm_fail(ENOENT, "container %d has no version yet", e->what->magic);
	return 0;
}

/* From the base to the version that is asked for. */
static int increment_list(struct export *e)
{
	const struct version_info *to = &e->what->at->found.info, *base = &e->what->since->found.info;
	struct listing listing = {line_add(e, e->what->at->branch), e->name, base->version, base->time_ns, false};
	struct chain *c;
	int err;

	if (!listing.line)
		return -1;
	err = spm_chain_open_version(e->what->volume, e->what->magic, e->what->at->branch, to->version, &c);
	if (err)
		return spm_fail_volume(err);
	err = versions_list(c, e, &listing);
	spm_chain_close(c);
	if (err)
		return err;
	if (!listing.line->n || !listing.is_met)
		return spm_fail(EINVAL, "container %d: version %llu does not come from version %llu", e->what->magic,
		                (unsigned long long)to->version, (unsigned long long)base->version);
	if (!e->what->is_history) {
		listing.line->version[0] = to->version;
		listing.line->n = 1;
	}
	e->t.versions_all = listing.line->n;
	return 0;
}

static int one_list(struct export *e)
{
	struct line *l = line_add(e, e->what->at->branch);

	if (!l)
		return -1;
	l->version = malloc(sizeof(*l->version));
	if (!l->version)
		return spm_fail(ENOMEM, "no memory for the list of versions");
	memcpy(e->name, e->what->at->found.info.name, sizeof(e->name));
	l->version[0] = e->what->at->found.info.version;
	l->n = 1;
	e->t.versions_all = 1;
	return 0;
}

/* ---- the whole ---- */

static void current_find(const struct export *e, char *name)
{
	strcpy(name, "main");
	for (size_t i = 0; i < e->refs.n; i++)
		if (e->refs.ref[i].kind == REF_CURRENT)
			memcpy(name, e->refs.ref[i].name, SPM_NAME_BYTES);
}

static int head_put(struct export *e)
{
	struct item_head h = {.magic = e->what->magic,
	                      .flags = (e->what->is_history ? TRANSFER_HISTORY : 0) |
	                               (e->what->since ? TRANSFER_INCREMENT : 0),
	                      .machine = TRANSFER_MACHINE,
	                      .page_bytes = SPM_PAGE_BYTES,
	                      .versions = e->t.versions_all};

	e->t.name = e->name;
	memcpy(h.name, e->name, sizeof(h.name));
	current_find(e, h.current);
	return item_put(e, ITEM_HEAD, &h, sizeof(h));
}

static int all_list(struct export *e)
{
	const struct exporting *w = e->what;

	if (!w->at)
		return history_list(e);
	if (!w->since)
		return one_list(e);
	return increment_list(e) ? -1 : before_open(e, w->since->branch, w->since->found.info.version);
}

static int all_put(struct export *e)
{
	int result = head_put(e), err;

	if (!result)
		result = e->what->at ? line_put(e, &e->line[0]) : lines_put(e);
	if (!result)
		result = item_put(e, ITEM_END, &e->t.versions, sizeof(e->t.versions));
	if (result)
		return result;
	err = spm_stream_finish(&e->out);
	if (err)
		return spm_fail(-err, "the stream can't be written: %s", strerror(-err));
	e->t.is_over = true;
	return tell(e);
}

static void export_end(struct export *e)
{
	int error = errno;

	shown_close(&e->before);
	shown_close(&e->now);
	for (size_t i = 0; i < e->lines; i++) {
		free(e->line[i].version);
		if (e->line[i].held)
			spm_chain_close(e->line[i].held);
	}
	free(e->line);
	free(e->buffer);
	spm_refs_free(&e->refs);
	spm_stream_out_end(&e->out);
	free(e);
	errno = error;
}

int spm_export(const struct exporting *what)
{
	struct export *e = calloc(1, sizeof(*e));
	int result;

	if (!e)
		return spm_fail(ENOMEM, "no memory for an export");
	e->what = what;
	e->t = (struct ptransfer){.magic = what->magic, .name = "", .branch = ""};
	e->buffer = aligned_alloc(SPM_PAGE_BYTES, RUN_PAGES * SPM_PAGE_BYTES);
	result = e->buffer ? all_list(e) : spm_fail(ENOMEM, "no memory for an export");
	if (!result) {
		int err = spm_stream_out_begin(&e->out, what->fd);

		result = err ? spm_fail(-err, "the stream can't be written: %s", strerror(-err)) : all_put(e);
	}
	export_end(e);
	return result;
}

int pExport(int magic, const struct pexport *what, int fd)
{
	static const struct pexport newest = {.ref = NULL};
	struct resolved at, since;
	struct exporting x = {.magic = magic, .fd = fd};

	if (!what)
		what = &newest;
	if (what->is_history && what->ref && !what->since)
		return spm_fail(EINVAL, "pExport: a history has all branches, or begins with a version (since)");
	x.volume = spm_volume_current();
	if (!x.volume || spm_containers_sync(magic))
		return -1;
	x.is_history = what->is_history;
	x.fn = what->fn;
	x.arg = what->arg;
	if (!what->is_history || what->since) {
		if (spm_ref_resolve(magic, NULL, what->ref ? what->ref : "", &at))
			return -1;
		x.at = &at;
	}
	if (what->since) {
		if (spm_ref_resolve(magic, NULL, what->since, &since))
			return -1;
		x.since = &since;
	}
	return spm_export(&x);
}
