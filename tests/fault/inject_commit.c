/* inject_commit.c - commits of all kinds with their 1st, 2nd, 3rd, ... system call or allocation failing, on a chain whose pages have
 * patches: those that a map was read with, and those that this process made. What failed changed nothing, what did not is there, for the
 * chain that goes on and for the next that opens it.
 */
#include "inject.h"
#include "scratch.h"
#include "volume/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGES = 320, FIRST = 5000, WORDS = SPM_PAGE_BYTES / 8, BATCHES = 3 };

typedef uint64_t page_words[WORDS] __attribute__((aligned(4096)));

struct state {
	page_words page[PAGES];
	bool is_there[PAGES];
	uint8_t class[PAGES];
};

static struct state is, next; /* what the chain has, and what it has with the commit */
static const char *path;

static struct volume *volume_open(unsigned flags)
{
	struct driver *d;
	struct volume *v;
	char why[256];

	if (spm_driver_file_open(path, DRIVER_CREATE, &d, why))
		fail_msg("%s", why);
	if (spm_volume_open(d, flags, &v))
		fail_msg("%s", spm_volume_error());
	return v;
}

/* ---- kinds of commits ---- */

/* Each changes `next`, tells which pages have changed, and in how many batches they come. */
struct kind {
	const char *name;
	bool (*change)(unsigned i, uint64_t n);
	unsigned batches;
	uint32_t chunk_bytes;
};

static bool little(unsigned i, uint64_t n)
{
	next.page[i][n * 16 % WORDS] = n;
	return next.is_there[i] && i % 3 == 0 && i < 60;
}

static bool meta(unsigned i, uint64_t n)
{
	next.class[i] = (uint8_t)n;
	return next.is_there[i] && i < 60;
}

static bool all(unsigned i, uint64_t n)
{
	for (unsigned w = 0; w < WORDS; w++)
		next.page[i][w] = n * PAGES + i + w;
	return next.is_there[i] = true;
}

static bool some_leave(unsigned i, uint64_t n)
{
	if (i % 2)
		return little(i, n);
	next.is_there[i] = false;
	memset(next.page[i], 0, sizeof(next.page[i]));
	return i < 60;
}

static const struct kind kinds[] = {{"little", little, 1, 0},
                                    {"meta", meta, 1, 0},
                                    {"all", all, 1, 0},
                                    {"batches", all, BATCHES, 0},
                                    {"chunks", little, 1, 16384},
                                    {"leave", some_leave, 1, 0},
                                    {"empty first", little, 2, 0},
                                    {"little in batches", little, BATCHES, 0}};

struct batches {
	struct change_source source;
	struct page_change change[PAGES];
	size_t n, given;
	unsigned left;
};

/* Ever larger ones; of two, the first has nothing. */
static int batch_next(struct change_source *s, struct page_change **changes, size_t *n)
{
	struct batches *b = (struct batches *)s;

	b->left--;
	*changes = b->change + b->given;
	*n = b->left ? (b->n / 8) * (b->left == 2 ? 1 : b->n == PAGES ? 2 : 0) : b->n - b->given;
	b->given += *n;
	s->changes_most = b->n;
	s->is_over = !b->left;
	return 0;
}

static int commit(struct chain *c, const struct kind *k, uint64_t number)
{
	static struct batches b;
	struct version_info info = {.branch = "main", .chunk_bytes = k->chunk_bytes};

	b.source = (struct change_source){.next = batch_next};
	b.n = b.given = 0;
	b.left = k->batches;
	next = is;
	for (unsigned i = 0; i < PAGES; i++) {
		struct page_change ch = {.page = FIRST + i, .data = next.page[i]};

		if (!k->change(i, number)) {
			memcpy(next.page[i], is.page[i], sizeof(is.page[i]));
			next.class[i] = is.class[i];
			next.is_there[i] = is.is_there[i];
			continue;
		}
		ch.is_removed = !next.is_there[i];
		ch.meta = (struct page_meta){.span_pages = 1, .class = next.class[i]};
		b.change[b.n++] = ch;
	}
	return spm_chain_commit_from(c, &b.source, true, &info);
}

static void commit_well(struct chain *c, const struct kind *k, uint64_t number)
{
	if (commit(c, k, number))
		fail_msg("%s: %s", k->name, spm_volume_error());
	is = next;
}

/* ---- trials ---- */

static bool is_as(struct chain *c, const struct state *s)
{
	for (unsigned i = 0; i < PAGES; i++) {
		static page_words page;
		struct place room;
		const struct place *p = spm_map_get(&c->map, FIRST + i, &room);

		memset(page, 0, sizeof(page));
		if (spm_chain_read(c, FIRST + i, 1, page))
			fail_msg("%s", spm_volume_error());
		if (!p != !s->is_there[i] || memcmp(page, s->page[i], sizeof(page)) ||
		    (p && p->meta.class != s->class[i]))
			return false;
	}
	return true;
}

/* With patches in the map that is read, and in what this process adds. */
static struct chain *chain_begin(struct volume *v)
{
	struct chain *c;
	bool again;

	memset(&is, 0, sizeof(is));
	assert_int_equal(spm_chain_create(v, 1, "main", &c), 0);
	commit_well(c, &kinds[2], 1);
	assert_int_equal(spm_chain_maintain(c, true, &again), 0);
	for (uint64_t n = 2; n <= 3; n++) {
		next = is;
		commit_well(c, &kinds[0], n); /* the first writes pages */
	}
	commit_well(c, &kinds[0], 4);
	assert_true(c->map.patch_bytes);
	spm_chain_close(c);
	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	return c;
}

static void reopened_is_well(bool may_be_next)
{
	struct volume *v = volume_open(0);
	struct chain *c;

	assert_int_equal(spm_chain_open(v, 1, "main", CHAIN_WRITE, 0, &c), 0);
	if (may_be_next && is_as(c, &next))
		is = next;
	assert_true(is_as(c, &is));
	spm_chain_self_check(c);
	for (uint64_t n = 20; n < 22; n++)
		commit_well(c, &kinds[0], n);
	assert_true(is_as(c, &is));
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

/* `before`: commits of this process that make bases. Returns whether a call was tampered with. */
static bool trial(const struct kind *k, unsigned before, enum inject_kind kind, int error, uint64_t nth)
{
	struct volume *v;
	struct chain *c;
	bool fired;
	int err;

	unlink(path);
	v = volume_open(VOLUME_CREATE);
	c = chain_begin(v);
	for (unsigned n = 0; n < before; n++)
		commit_well(c, &kinds[0], 5 + n);
	inject_start(kind, error, nth, 0);
	err = commit(c, k, 10);
	fired = inject_stop();
	if (err && !fired)
		fail_msg("%s: %s", k->name, spm_volume_error());
	if (!err)
		is = next;
	if (!is_as(c, &is))
		fail_msg("%s: after call %llu (%s) failed, the chain has something else", k->name,
		         (unsigned long long)nth, inject_where());
	if (!atomic_load(&v->is_poisoned)) {
		commit_well(c, &kinds[0], 11);
		commit_well(c, k, 12);
		commit_well(c, &kinds[0], 13);
		assert_true(is_as(c, &is));
		spm_chain_self_check(c);
		err = 0;
	}
	spm_chain_close(c);
	spm_volume_close(v);
	reopened_is_well(err != 0);
	return fired;
}

static void each_call(enum inject_kind kind, int error)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		for (unsigned before = 0; before <= 2; before += 2) {
			uint64_t nth = 1;

			while (trial(&kinds[i], before, kind, error, nth))
				nth += 1 + nth / 8;
			assert_true(nth > 1);
		}
}

static void a_commit_that_finds_no_memory_changes_nothing(void **state)
{
	(void)state;
	each_call(INJECT_MEMORY, ENOMEM);
}

static void a_commit_whose_call_fails_changes_nothing_or_shows(void **state)
{
	(void)state;
	each_call(INJECT_IO, EIO);
}

static int begin(void **state)
{
	(void)state;
	path = strdup(scratch("commit.vol"));
	inject_volume(path);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_commit_that_finds_no_memory_changes_nothing),
	        cmocka_unit_test(a_commit_whose_call_fails_changes_nothing_or_shows),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
