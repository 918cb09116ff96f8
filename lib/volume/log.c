/* log.c - see log.h. */
#include "volume/log.h"
#include "volume/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pages of the chain; pages that leave it with one commit at most, beside twice as many as it gets; buffer that is kept from commit to
 * commit; how much is read at a time. */
static const uint64_t ring_pages = UINT64_C(1) << 31;
enum { DROP_PAGES_LEAST = 16, BUFFER_KEPT_PAGES = 64, WINDOW_PAGES = 256 };

struct log_state {       /* on disk as it is, where other descriptions have their message */
	uint64_t begin;  /* position of the oldest input that is kept */
	uint64_t end;    /* behind the newest */
	uint64_t oldest; /* page of the stream from which on pages are there; not behind begin's */
};
struct entry {
	uint64_t at, bytes; /* its own position; how long the input is that follows */
};

static_assert(sizeof(struct log_state) == 24 && sizeof(struct entry) == 16, "on disk");

struct log {
	struct chain *c;
	struct log_state state;
	unsigned char *buffer; /* begins with the page that the stream ends in, as far as it is used */
	size_t pages;          /* of the buffer */
};

static uint64_t page_of(uint64_t position)
{
	return position / SPM_PAGE_BYTES;
}

static uint64_t entry_bytes(uint64_t input)
{
	return sizeof(struct entry) + ((input + 7) & ~UINT64_C(7));
}

static void log_name(char name[64], uint64_t chain_id)
{
	snprintf(name, 64, "%c%" PRIx64, SPM_LOG_MARK, chain_id);
}

static int damaged(const struct chain *c, uint64_t position)
{
	return spm_volume_fail(-EUCLEAN, "container %d: its recorded inputs are damaged at position %llu", c->magic,
	                       (unsigned long long)position);
}

static bool state_is_sane(const struct log_state *s)
{
	return s->begin <= s->end && s->end <= INT64_MAX && s->begin % 8 == 0 && s->end % 8 == 0 &&
	       s->oldest <= page_of(s->begin) && page_of(s->end) - s->oldest < ring_pages;
}

/* Of a log without a version: a crash came before its first input. */
static int state_load(struct chain *c, struct log_state *out)
{
	struct version_info info;

	*out = (struct log_state){0};
	if (spm_chain_newest(c, &info))
		return 0;
	memcpy(out, info.message, sizeof(*out));
	if (state_is_sane(out))
		return 0;
	return spm_volume_fail(-EUCLEAN, "container %d: its recorded inputs are damaged: where they lie makes no sense",
	                       c->magic);
}

/* ---- reading ---- */

static bool pages_are_there(struct chain *c, uint64_t page, uint64_t n)
{
	bool are = true;

	for (uint64_t i = 0; i < n && are; i++) {
		struct place room;
		const struct place *p = spm_map_get(&c->map, (page + i) % ring_pages, &room);

		are = p && p->block;
	}
	return are;
}

static int pages_read(struct chain *c, uint64_t page, uint64_t n, unsigned char *to)
{
	uint64_t before_end = ring_pages - page % ring_pages, part = n < before_end ? n : before_end;
	int err = spm_chain_read(c, page % ring_pages, part, to);

	return err || part == n ? err : spm_chain_read(c, 0, n - part, to + part * SPM_PAGE_BYTES);
}

/* What is wrong with a chain's pages says nothing of inputs. */
static int log_fail(int err)
{
	return spm_volume_fail(err, "the recorded inputs of %s", spm_volume_error_of(err));
}

/* A stretch of the stream in memory. */
struct window {
	struct chain *c;
	uint64_t end; /* of the stream */
	unsigned char *bytes;
	uint64_t room, from, to; /* room: pages; from, to: positions */
};

static int window_move(struct window *w, uint64_t at, uint64_t n)
{
	uint64_t first = page_of(at), pages = page_of(at + n - 1) - first + 1, left = page_of(w->end - 1) - first + 1;
	int err;

	if (pages < WINDOW_PAGES)
		pages = left < WINDOW_PAGES ? left : WINDOW_PAGES;
	if (!pages_are_there(w->c, first, pages))
		return damaged(w->c, at);
	w->from = w->to = 0;
	if (pages > w->room) {
		free(w->bytes);
		w->bytes = aligned_alloc(SPM_PAGE_BYTES, pages * SPM_PAGE_BYTES);
		w->room = w->bytes ? pages : 0;
	}
	if (!w->bytes)
		return -ENOMEM;
	err = pages_read(w->c, first, pages, w->bytes);
	if (err)
		return log_fail(err);
	w->from = first * SPM_PAGE_BYTES;
	w->to = w->from + pages * SPM_PAGE_BYTES;
	return 0;
}

/* n > 0 bytes of the stream, which has them. */
static int window_get(struct window *w, uint64_t at, uint64_t n, const unsigned char **out)
{
	int err = at < w->from || at + n > w->to ? window_move(w, at, n) : 0;

	if (!err)
		*out = w->bytes + (at - w->from);
	return err;
}

/* The input at `at`, and the position behind it. */
static int input_get(struct window *w, uint64_t at, const unsigned char **bytes, uint64_t *n, uint64_t *end)
{
	uint64_t left = w->end - at;
	struct entry e;
	int err;

	if (left < sizeof(e))
		return damaged(w->c, at);
	err = window_get(w, at, sizeof(e), bytes);
	if (err)
		return err;
	memcpy(&e, *bytes, sizeof(e));
	if (e.at != at || e.bytes > left || entry_bytes(e.bytes) > left)
		return damaged(w->c, at);
	*n = e.bytes;
	*end = at + entry_bytes(e.bytes);
	*bytes += sizeof(e);
	return e.bytes ? window_get(w, at + sizeof(e), e.bytes, bytes) : 0;
}

struct inputs {
	int (*fn)(const void *bytes, size_t n, uint64_t end, void *arg);
	void *arg;
};

static int inputs_each(struct chain *c, uint64_t at, uint64_t end, const struct inputs *i)
{
	struct window w = {.c = c, .end = end};
	int result = 0;

	while (at < end && !result) {
		const unsigned char *bytes = NULL;
		uint64_t n = 0, next = end;

		result = input_get(&w, at, &bytes, &n, &next);
		if (!result)
			result = i->fn(bytes, n, next, i->arg);
		at = next;
	}
	free(w.bytes);
	return result;
}

/* -ENOENT: there is none. */
static int log_read_open(struct volume *v, int magic, uint64_t chain_id, struct chain **c, struct log_state *state)
{
	char name[64];
	int err;

	log_name(name, chain_id);
	err = spm_chain_open(v, magic, name, 0, 0, c);
	if (err)
		return err == -EUCLEAN ? log_fail(err) : err;
	err = state_load(*c, state);
	if (err)
		spm_chain_close(*c);
	return err;
}

static int position_check(const struct chain *c, const struct log_state *s, uint64_t position)
{
	if (position < s->begin)
		return spm_volume_fail(
		        -ENOENT,
		        "container %d: the inputs behind position %llu are not kept any more, only those "
		        "behind %llu",
		        c->magic, (unsigned long long)position, (unsigned long long)s->begin);
	return position > s->end ? damaged(c, position) : 0;
}

int spm_log_each(struct volume *v, int magic, uint64_t chain_id, uint64_t position,
                 int (*fn)(const void *bytes, size_t n, uint64_t end, void *arg), void *arg)
{
	struct log_state state;
	struct chain *c;
	int result = log_read_open(v, magic, chain_id, &c, &state);

	if (result)
		return result == -ENOENT ? 0 : result;
	if (c->seq)
		result = position_check(c, &state, position);
	if (!result)
		result = inputs_each(c, position, state.end, &(struct inputs){fn, arg});
	spm_chain_close(c);
	return result;
}

int spm_log_bytes(struct volume *v, int magic, uint64_t chain_id, uint64_t position, uint64_t *bytes)
{
	struct log_state state = {0};
	struct chain *c;
	int err = log_read_open(v, magic, chain_id, &c, &state);

	if (!err)
		spm_chain_close(c);
	if (err && err != -ENOENT)
		return err;
	*bytes = state.end > position ? state.end - position : 0;
	return 0;
}

int spm_log_exists(struct volume *v, int magic, uint64_t chain_id)
{
	struct log_state state;
	struct chain *c;
	int err = log_read_open(v, magic, chain_id, &c, &state);
	bool is_there;

	if (err)
		return err == -ENOENT ? 0 : err;
	is_there = c->seq != 0;
	spm_chain_close(c);
	return is_there;
}

int spm_log_delete(struct volume *v, int magic, uint64_t chain_id)
{
	char name[64];
	int err;

	log_name(name, chain_id);
	err = spm_branch_delete(v, magic, name);
	return err == -ENOENT ? 0 : err;
}

/* ---- writing ---- */

static int tail_load(struct log *l)
{
	uint64_t page = page_of(l->state.end);

	l->buffer = aligned_alloc(SPM_PAGE_BYTES, SPM_PAGE_BYTES);
	l->pages = 1;
	if (!l->buffer)
		return -ENOMEM;
	if (!l->c->seq || l->state.end % SPM_PAGE_BYTES == 0) {
		memset(l->buffer, 0, SPM_PAGE_BYTES);
		return 0;
	}
	return pages_are_there(l->c, page, 1) ? pages_read(l->c, page, 1, l->buffer) : damaged(l->c, l->state.end);
}

static int log_begin(struct log *l, uint64_t position)
{
	int err = state_load(l->c, &l->state);

	if (!err && !l->c->seq)
		l->state = (struct log_state){position, position, page_of(position)};
	if (!err && !state_is_sane(&l->state))
		err = damaged(l->c, position);
	return err ? err : tail_load(l);
}

int spm_log_open(struct volume *v, int magic, uint64_t chain_id, uint64_t position, unsigned wait_ms, struct log **out)
{
	struct log *l = calloc(1, sizeof(*l));
	char name[64];
	int err;

	if (!l)
		return -ENOMEM;
	log_name(name, chain_id);
	err = spm_chain_have(v, magic, name, wait_ms, &l->c);
	if (!err)
		err = log_begin(l, position);
	if (err)
		spm_log_close(l);
	else
		*out = l;
	return err;
}

void spm_log_close(struct log *l)
{
	if (l->c)
		spm_chain_close(l->c);
	free(l->buffer);
	free(l);
}

void spm_log_leave(struct log *l)
{
	spm_chain_leave(l->c);
	free(l->buffer);
	free(l);
}

uint64_t spm_log_end(const struct log *l)
{
	return l->state.end;
}

int spm_log_maintain(struct log *l, bool idle, bool *again)
{
	return spm_chain_maintain(l->c, idle, again);
}

/* What the commit makes of the log. */
struct append {
	struct log *l;
	struct log_state state;
	uint64_t pages, drops;
	struct page_change *change;
};

/* Room for the pages that the inputs lie in. */
static int buffer_have(struct log *l, uint64_t pages)
{
	unsigned char *more;

	if (pages <= l->pages)
		return 0;
	more = aligned_alloc(SPM_PAGE_BYTES, pages * SPM_PAGE_BYTES);
	if (!more)
		return -ENOMEM;
	memcpy(more, l->buffer, SPM_PAGE_BYTES);
	free(l->buffer);
	l->buffer = more;
	l->pages = pages;
	return 0;
}

static unsigned char *input_put(unsigned char *to, uint64_t at, const struct log_input *i)
{
	struct entry e = {at, i->n};
	uint64_t pad = entry_bytes(i->n) - sizeof(e) - i->n;

	memcpy(to, &e, sizeof(e));
	if (i->n)
		memcpy(to + sizeof(e), i->bytes, i->n);
	memset(to + sizeof(e) + i->n, 0, pad);
	return to + entry_bytes(i->n);
}

static int inputs_measure(struct append *a, struct log_input *first)
{
	uint64_t at = a->state.end, most = ring_pages / 2 * SPM_PAGE_BYTES;

	for (struct log_input *i = first; i; i = i->next) {
		if (i->n > most || at - a->state.end + entry_bytes(i->n) > most)
			return -EFBIG;
		at += entry_bytes(i->n);
		i->end = at;
	}
	a->pages = page_of(at - 1) - page_of(a->state.end) + 1;
	a->state.end = at;
	return at > INT64_MAX || page_of(at) - a->state.oldest >= ring_pages ? -EFBIG : 0;
}

static void inputs_put(struct append *a, const struct log_input *first)
{
	uint64_t at = a->l->state.end;
	unsigned char *to = a->l->buffer + at % SPM_PAGE_BYTES;

	for (const struct log_input *i = first; i; i = i->next) {
		to = input_put(to, at, i);
		at = i->end;
	}
	memset(to, 0, (size_t)(a->l->buffer + a->pages * SPM_PAGE_BYTES - to));
}

/* Nothing before `needless` is needed: the log begins there, and some of the pages before it go. */
static void drops_choose(struct append *a, uint64_t needless)
{
	struct log_state *s = &a->state;
	uint64_t most = DROP_PAGES_LEAST + 2 * a->pages, first = page_of(a->l->state.end);

	if (needless > s->begin)
		s->begin = needless < a->l->state.end ? needless : a->l->state.end;
	if (first > page_of(s->begin))
		first = page_of(s->begin);
	a->drops = first - s->oldest < most ? first - s->oldest : most;
	s->oldest += a->drops;
}

static int changes_make(struct append *a)
{
	const struct log *l = a->l;
	uint64_t first = page_of(l->state.end);

	a->change = calloc(a->pages + a->drops, sizeof(*a->change));
	if (!a->change)
		return -ENOMEM;
	for (uint64_t i = 0; i < a->pages; i++)
		a->change[i] =
		        (struct page_change){.page = (first + i) % ring_pages, .data = l->buffer + i * SPM_PAGE_BYTES};
	for (uint64_t i = 0; i < a->drops; i++)
		a->change[a->pages + i] =
		        (struct page_change){.page = (l->state.oldest + i) % ring_pages, .is_removed = true};
	return 0;
}

static int commit(struct append *a)
{
	struct version_info info = {.time_ns = spm_now_real_ns(), .versions_kept = 1, .chunk_bytes = SPM_PAGE_BYTES};

	memcpy(info.message, &a->state, sizeof(a->state));
	return spm_chain_commit(a->l->c, a->change, a->pages + a->drops, true, &info);
}

/* What the chain's map remembers of pages that are gone. */
static void map_trim(struct append *a)
{
	struct chain *c = a->l->c;

	pthread_mutex_lock(&c->lock);
	for (uint64_t i = 0; i < a->drops; i++)
		spm_map_trim(&c->map, a->change[a->pages + i].page);
	pthread_mutex_unlock(&c->lock);
}

static void accept(struct append *a)
{
	struct log *l = a->l;

	map_trim(a);
	l->state = a->state;
	if (l->state.end % SPM_PAGE_BYTES && a->pages > 1)
		memcpy(l->buffer, l->buffer + (a->pages - 1) * SPM_PAGE_BYTES, SPM_PAGE_BYTES);
	if (l->pages > BUFFER_KEPT_PAGES) {
		unsigned char *less = aligned_alloc(SPM_PAGE_BYTES, SPM_PAGE_BYTES);

		if (!less)
			return;
		memcpy(less, l->buffer, SPM_PAGE_BYTES);
		free(l->buffer);
		l->buffer = less;
		l->pages = 1;
	}
}

/* The buffer behind the stream's end is nobody's, so a failure leaves nothing to undo. */
int spm_log_append(struct log *l, struct log_input *first, uint64_t needless)
{
	struct append a = {.l = l, .state = l->state};
	int err = inputs_measure(&a, first);

	if (!err)
		err = buffer_have(l, a.pages);
	if (!err) {
		inputs_put(&a, first);
		drops_choose(&a, needless);
		err = changes_make(&a);
	}
	if (!err)
		err = commit(&a);
	if (!err)
		accept(&a);
	free(a.change);
	return err;
}

/* ---- checking ---- */

static int input_pass(const void *bytes, size_t n, uint64_t end, void *arg)
{
	(void)bytes, (void)n, (void)end, (void)arg;
	return 0;
}

/* Of the version that is the newest now: it is pinned, and no other matters. */
static int inputs_check(struct volume *v, int magic, uint64_t chain_id)
{
	struct log_state state;
	struct chain *c;
	int err = log_read_open(v, magic, chain_id, &c, &state);

	if (err)
		return err;
	err = inputs_each(c, state.begin, state.end, &(struct inputs){input_pass, NULL});
	spm_chain_close(c);
	return err;
}

int spm_log_check(struct volume *v, int magic, const char *branch, int (*fn)(const char *sentence, void *arg),
                  void *arg)
{
	struct chain_head head;
	uint64_t first;
	char text[700];
	int err = spm_head_find(v, magic, branch, 0, &head, &first);

	if (err <= 0)
		return err;
	err = inputs_check(v, magic, head.chain_id);
	if (err != -EUCLEAN)
		return err == -ENOENT ? 0 : err;
	snprintf(text, sizeof(text), "inputs of branch %s: %s", branch, spm_volume_error());
	if (fn)
		fn(text, arg);
	return 1;
}
