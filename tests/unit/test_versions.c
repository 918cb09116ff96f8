/* test_versions.c - every version that is kept can be opened and holds what was committed: of one chain, of branches, by
 * whoever reads it while it is being written; what is not kept gives its space back.
 *
 * A plain table (the model) says what each version holds and which one it came from.
 */
#include "branch_off.h"
#include "scratch.h"
#include "volume/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CONTAINER = 5, PAGES = 100, VERSIONS_MOST = 6000, MEMORY_BYTES = 1 << 28, NOBODY = -1 };

/* The model. */
struct version {
	uint64_t number;
	int parent;           /* NOBODY: it is the first */
	uint64_t fill[PAGES]; /* what fills the page; 0: it is not in the version */
	bool is_tagged;
};
static struct version *version;
static int versions;
static uint64_t seed;

/* A branch that is being written. */
struct branch {
	const char *name;
	struct volume *v;
	struct chain *c; /* NULL: closed */
	int newest;      /* in the model */
	unsigned kept;
};

static uint64_t page_number(unsigned i)
{
	return i < PAGES - 4 ? 8000 + i + i / 10 * 7 : SPM_BLOB_PAGE + i;
}

static void must(int err, const char *what)
{
	if (err)
		fail_msg("%s: %d, %s", what, err, spm_volume_error());
}

static struct volume *volume_in_memory(void)
{
	struct driver *d;
	struct volume *v;

	assert_int_equal(spm_driver_memory_open(MEMORY_BYTES, &d), 0);
	must(spm_volume_open(d, VOLUME_CREATE | VOLUME_EAGER, &v), "a volume");
	return v;
}

static struct volume *volume_in_file(const char *path, bool is_writer)
{
	struct driver *d;
	struct volume *v;
	char why[256];

	if (spm_driver_file_open(path, is_writer ? DRIVER_CREATE : DRIVER_READ_ONLY, &d, why))
		fail_msg("%s: %s", path, why);
	must(spm_volume_open(d, is_writer ? VOLUME_CREATE | VOLUME_EAGER : VOLUME_READ_ONLY, &v), path);
	return v;
}

static struct branch branch_begin(struct volume *v, unsigned kept)
{
	struct branch b = {"main", v, NULL, NOBODY, kept};

	must(spm_chain_create(v, CONTAINER, b.name, &b.c), "a chain");
	return b;
}

/* ---- writing ---- */

static int version_make(const struct branch *b)
{
	struct version *m = &version[versions];

	assert_true(versions < VERSIONS_MOST);
	*m = (struct version){.parent = b->newest};
	if (b->newest != NOBODY)
		memcpy(m->fill, version[b->newest].fill, sizeof(m->fill));
	return versions++;
}

/* Numbers may be left out. */
static uint64_t number_next(const struct branch *b)
{
	uint64_t before = b->newest == NOBODY ? 0 : version[b->newest].number;

	return before + 1 + (test_random(&seed) % 10 ? 0 : test_random(&seed) % 5);
}

static void commit(struct branch *b)
{
	static uint64_t data[PAGES][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change[PAGES];
	struct version_info info = {.versions_kept = b->kept, .time_ns = 7, .version = number_next(b)};
	struct version *m = &version[version_make(b)];
	unsigned n = 0, most = test_random(&seed) % 12 ? 4 : 60;

	m->number = info.version;
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t r = test_random(&seed) | 1;

		if (r / 2 % PAGES >= most)
			continue;
		change[n] = (struct page_change){.page = page_number(i),
		                                 .data = data[n],
		                                 .is_removed = (r >> 32) % 8 == 0,
		                                 .meta.span_pages = 1};
		for (unsigned w = 0; w < SPM_PAGE_BYTES / 8; w++)
			data[n][w] = r;
		m->fill[i] = change[n++].is_removed ? 0 : r;
	}
	must(spm_chain_commit(b->c, change, n, true, &info), "a commit");
	assert_int_equal(info.version, m->number);
	assert_int_equal(info.parent, m->parent == NOBODY ? 0 : version[m->parent].number);
	b->newest = versions - 1;
}

static void maintain(struct branch *b)
{
	bool again;

	must(spm_chain_maintain(b->c, test_random(&seed) & 1, &again), "maintenance");
	spm_chain_self_check(b->c);
}

/* Until there is nothing to do. */
static void settle(struct branch *b)
{
	bool again = true;

	for (unsigned i = 0; again; i++) {
		must(spm_chain_maintain(b->c, true, &again), "maintenance");
		assert_true(i < 100);
	}
	spm_chain_self_check(b->c);
}

static void branch_close(struct branch *b)
{
	spm_chain_close(b->c);
	b->c = NULL;
}

static void branch_reopen(struct branch *b)
{
	if (b->c)
		branch_close(b);
	must(spm_chain_open(b->v, CONTAINER, b->name, CHAIN_WRITE, 0, &b->c), "opening once more");
	spm_chain_self_check(b->c);
}

static void commits(struct branch *b, unsigned n)
{
	while (n-- > 0) {
		commit(b);
		if (test_random(&seed) % 8 == 0)
			maintain(b);
		if (test_random(&seed) % 60 == 0)
			branch_reopen(b);
	}
}

/* ---- comparing ---- */

static void page_compare(struct chain *c, const struct version *m, unsigned i)
{
	static uint64_t page[SPM_PAGE_BYTES / 8];

	memset(page, 0, sizeof(page));
	must(spm_chain_read(c, page_number(i), 1, page), "reading");
	for (unsigned w = 0; w < SPM_PAGE_BYTES / 8; w++)
		if (page[w] != m->fill[i])
			fail_msg("version %llu page %u: expected %llx, found %llx", (unsigned long long)m->number, i,
			         (unsigned long long)m->fill[i], (unsigned long long)page[w]);
}

static void version_compare(struct chain *c, const struct version *m)
{
	struct version_info info;
	uint64_t present = 0;

	must(spm_chain_newest(c, &info), "the newest version");
	assert_int_equal(info.version, m->number);
	for (unsigned i = 0; i < PAGES; i++) {
		present += m->fill[i] != 0;
		page_compare(c, m, i);
	}
	assert_int_equal(info.pages, present);
}

/* Opens it and compares. Whether it is there. */
static bool version_is_there(struct volume *v, const char *branch, const struct version *m)
{
	struct chain *c;
	int err = spm_chain_open_version(v, CONTAINER, branch, m->number, &c);

	if (err == -ENOENT)
		return false;
	if (err)
		fail_msg("branch %s, version %llu: %d, %s", branch, (unsigned long long)m->number, err,
		         spm_volume_error());
	version_compare(c, m);
	spm_chain_close(c);
	return true;
}

/* The n-th before (0: itself). */
static int ancestor(int of, unsigned n)
{
	while (n-- > 0 && of != NOBODY)
		of = version[of].parent;
	return of;
}

struct listing {
	const struct branch *b;
	int next;     /* in the model: what should come now, if it is there */
	unsigned age; /* how many were newer */
};

/* What is not told is not to be kept. */
static void version_skip(struct listing *l)
{
	const struct version *m = &version[l->next];

	if (!l->b->kept || l->age < l->b->kept || m->is_tagged)
		fail_msg("branch %s: version %llu is not told", l->b->name, (unsigned long long)m->number);
	l->next = m->parent;
	l->age++;
}

static int version_listed(const struct version_info *info, void *arg)
{
	struct listing *l = arg;

	while (l->next != NOBODY && version[l->next].number != info->version)
		version_skip(l);
	if (l->next == NOBODY)
		fail_msg("version %llu is told out of turn", (unsigned long long)info->version);
	assert_true(version_is_there(l->b->v, l->b->name, &version[l->next]));
	l->next = version[l->next].parent;
	l->age++;
	return 0;
}

/* Newest first, all that are to be kept. */
static void listing_compare(struct branch *b)
{
	struct listing l = {b, b->newest, 0};
	struct chain *c;

	must(spm_chain_open(b->v, CONTAINER, b->name, 0, 0, &c), "a reader");
	must(spm_chain_each_version(c, version_listed, &l), "listing");
	while (l.next != NOBODY)
		version_skip(&l);
	spm_chain_close(c);
}

static void all_are_there(const struct branch *b)
{
	for (int i = b->newest; i != NOBODY; i = version[i].parent)
		if (!version_is_there(b->v, b->name, &version[i]))
			fail_msg("branch %s: version %llu is gone", b->name, (unsigned long long)version[i].number);
}

/* Those that are to be kept; of others, how many are there. */
static unsigned kept_are_there(const struct branch *b)
{
	unsigned age = 0, others = 0;

	for (int i = b->newest; i != NOBODY; i = version[i].parent, age++) {
		bool is_there = version_is_there(b->v, b->name, &version[i]);

		if (!is_there && (age < b->kept || version[i].is_tagged))
			fail_msg("branch %s: version %llu (%u back) is gone", b->name,
			         (unsigned long long)version[i].number, age);
		others += is_there && age >= b->kept && !version[i].is_tagged;
	}
	return others;
}

/* ---- tags ---- */

static int tag_put(struct refs *refs, void *arg)
{
	return spm_refs_put(refs, arg);
}

static void newest_tag(struct branch *b)
{
	struct ref ref = {.kind = REF_TAG, .version = version[b->newest].number};
	struct chain_about about;

	spm_chain_about(b->c, &about);
	ref.chain_id = about.chain_id;
	ref.seq = about.seq;
	snprintf(ref.name, sizeof(ref.name), "tag %d", b->newest);
	must(spm_refs_change(b->v, CONTAINER, tag_put, &ref), "a tag");
	version[b->newest].is_tagged = true;
}

static int tag_remove(struct refs *refs, void *arg)
{
	const struct ref *ref = arg;

	return spm_refs_remove(refs, (enum ref_kind)ref->kind, ref->name) ? 0 : -ENOENT;
}

static int tags_remove(struct refs *refs, void *arg)
{
	(void)arg;
	while (refs->n)
		assert_true(spm_refs_remove(refs, REF_TAG, refs->ref[0].name));
	return 0;
}

/* ---- the tests ---- */

/* ---- a writer that is faster ---- */

/* A volume in memory whose n-th read from now on comes after something else that happens. */
struct hasty {
	struct driver driver;
	struct driver *under;
	unsigned reads; /* until then; 0: never */
	void (*happens)(struct hasty *h);
	struct branch *writer;
	unsigned names;
};

/* A burst of commits, which drop and write over. */
static void hasty_commit(struct hasty *h)
{
	for (unsigned i = 0; i < 60; i++) {
		bool again;

		commit(h->writer);
		must(spm_chain_maintain(h->writer->c, true, &again), "maintenance");
	}
}

static int hasty_read(struct driver *d, uint64_t offset, void *buffer, size_t bytes)
{
	struct hasty *h = (struct hasty *)d;

	if (h->reads && !--h->reads)
		h->happens(h);
	return h->under->ops->read(h->under, offset, buffer, bytes);
}

static int hasty_write(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	struct driver *under = ((struct hasty *)d)->under;

	return under->ops->write(under, offset, buffer, bytes);
}

static int hasty_write_durable(struct driver *d, uint64_t offset, const void *buffer, size_t bytes)
{
	struct driver *under = ((struct hasty *)d)->under;

	return under->ops->write_durable(under, offset, buffer, bytes);
}

static int hasty_flush(struct driver *d)
{
	(void)d;
	return 0;
}

static int hasty_size(struct driver *d, uint64_t *bytes)
{
	struct driver *under = ((struct hasty *)d)->under;

	return under->ops->size(under, bytes);
}

static int hasty_grow(struct driver *d, uint64_t bytes)
{
	struct driver *under = ((struct hasty *)d)->under;

	return under->ops->grow(under, bytes);
}

static int hasty_lock(struct driver *d, uint64_t which, unsigned wait_ms, int *holder)
{
	(void)d, (void)which, (void)wait_ms, (void)holder;
	return 0;
}

static int hasty_unlock(struct driver *d, uint64_t which)
{
	(void)d, (void)which;
	return 0;
}

static void hasty_close(struct driver *d)
{
	(void)d;
}

static const struct driver_ops hasty_ops = {
        .read = hasty_read,
        .write = hasty_write,
        .write_durable = hasty_write_durable,
        .flush = hasty_flush,
        .size = hasty_size,
        .grow = hasty_grow,
        .lock = hasty_lock,
        .unlock = hasty_unlock,
        .close = hasty_close,
};

static int version_pass(const struct version_info *info, void *arg)
{
	(void)info;
	++*(unsigned *)arg;
	return 0;
}

static void what_is_written_over_while_it_is_looked_at_is_no_damage(void **state)
{
	struct hasty h = {.driver.ops = &hasty_ops, .happens = hasty_commit};
	struct volume *v, *reader;
	struct branch b;

	(void)state;
	assert_int_equal(spm_driver_memory_open(MEMORY_BYTES, &h.under), 0);
	must(spm_volume_open(&h.driver, VOLUME_CREATE | VOLUME_EAGER, &v), "a volume");
	must(spm_volume_open(&h.driver, VOLUME_READ_ONLY, &reader), "the volume again"); /* as another process would */
	b = branch_begin(v, 20);
	commits(&b, 60);
	h.writer = &b;
	for (unsigned reads = 1; reads <= 25; reads++) {
		struct version_found found;
		struct chain *c;
		unsigned told = 0;

		h.reads = reads;
		must(spm_version_find(reader, CONTAINER, "main", BY_NUMBER, INT64_MAX, &found), "the newest version");
		h.reads = 0;
		must(spm_chain_open(reader, CONTAINER, "main", 0, 0, &c), "a reader");
		h.reads = reads;
		must(spm_chain_each_version(c, version_pass, &told), "the list");
		h.reads = 0;
		spm_chain_close(c);
	}
	branch_close(&b);
	spm_volume_close(reader);
	spm_volume_close(v);
	h.under->ops->close(h.under);
}

/* Branches go, and others come in their places. */
static void hasty_rename(struct hasty *h)
{
	char name[16];

	for (unsigned i = 0; i < 3; i++) {
		sprintf(name, "side%u", h->names);
		must(spm_branch_delete(h->writer->v, CONTAINER, name), name);
		h->names++;
		sprintf(name, "side%u", h->names);
		must(branch_off(h->writer->v, CONTAINER, h->writer->c, name, NULL), name);
	}
}

static int chain_pass(int magic, const char *branch, void *arg)
{
	assert_int_equal(magic, CONTAINER);
	assert_non_null(branch); /* else its head is damaged */
	*(unsigned *)arg += !strcmp(branch, "main");
	return 0;
}

static void a_branch_that_goes_while_others_are_looked_for_is_no_damage(void **state)
{
	struct hasty h = {.driver.ops = &hasty_ops, .happens = hasty_rename};
	struct volume *v, *reader;
	struct branch b;

	(void)state;
	assert_int_equal(spm_driver_memory_open(MEMORY_BYTES, &h.under), 0);
	must(spm_volume_open(&h.driver, VOLUME_CREATE | VOLUME_EAGER, &v), "a volume");
	must(spm_volume_open(&h.driver, VOLUME_READ_ONLY, &reader), "the volume again");
	b = branch_begin(v, 20);
	commits(&b, 3);
	h.writer = &b;
	must(branch_off(v, CONTAINER, b.c, "side0", NULL), "side0");
	for (unsigned reads = 1; reads <= 12; reads++) {
		unsigned mains = 0;

		h.reads = reads;
		assert_int_equal(spm_branch_exists(reader, CONTAINER, "main"), 1);
		h.reads = reads;
		assert_int_equal(spm_branch_delete(reader, CONTAINER, "main"),
		                 -EBUSY); /* looks at all for its children */
		h.reads = reads;
		assert_int_equal(spm_volume_each_chain(reader, chain_pass, &mains), 0);
		assert_int_equal(mains, 1);
		h.reads = 0;
	}
	branch_close(&b);
	spm_volume_close(reader);
	spm_volume_close(v);
	h.under->ops->close(h.under);
}

static void all_versions_can_be_opened(void **state)
{
	struct branch b = branch_begin(volume_in_memory(), 0);

	(void)state;
	commits(&b, 300);
	all_are_there(&b);
	listing_compare(&b);
	branch_reopen(&b);
	all_are_there(&b);
	branch_close(&b);
	spm_volume_close(b.v);
}

static void the_newest_and_tagged_versions_are_kept(void **state)
{
	struct branch b = branch_begin(volume_in_memory(), 16);

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		commits(&b, 1);
		if (i % 37 == 5)
			newest_tag(&b);
	}
	kept_are_there(&b);
	settle(&b);
	branch_reopen(&b);
	settle(&b);
	listing_compare(&b);
	assert_in_range(kept_are_there(&b), 0, 30); /* dropped in stacks */
	must(spm_refs_change(b.v, CONTAINER, tags_remove, NULL), "removing tags");
	for (int i = 0; i < versions; i++)
		version[i].is_tagged = false;
	commits(&b, 40);
	settle(&b);
	assert_in_range(kept_are_there(&b), 0, 30);
	branch_close(&b);
	spm_volume_close(b.v);
}

static uint64_t blocks_used(const struct chain *c)
{
	return c->extents * EXTENT_BLOCKS - c->free_blocks;
}

static void keep_fewer(bool reopens)
{
	struct branch b = branch_begin(volume_in_memory(), 0);
	uint64_t before;

	commits(&b, 300);
	before = blocks_used(b.c);
	if (reopens) /* nobody remembers what died */
		branch_reopen(&b);
	b.kept = 4;
	commit(&b);
	for (unsigned i = 0; i < 20; i++)
		maintain(&b);
	settle(&b);
	assert_in_range(blocks_used(b.c), 0, before / 4);
	assert_in_range(kept_are_there(&b), 0, 10);
	branch_reopen(&b);
	assert_in_range(kept_are_there(&b), 0, 10);
	commits(&b, 20);
	listing_compare(&b);
	branch_close(&b);
	spm_volume_close(b.v);
}

static void keeping_fewer_frees_the_space_of_the_others(void **state)
{
	(void)state;
	keep_fewer(false);
	keep_fewer(true);
}

/* Off the version so many back on its parent; off the newest by its writer. */
static struct branch branch_make(struct branch *from, unsigned back, const char *name, unsigned kept)
{
	struct branch b = {name, from->v, NULL, ancestor(from->newest, back), kept};
	struct chain *c = from->c;

	assert_true(b.newest != NOBODY);
	if (back)
		must(spm_chain_open_version(b.v, CONTAINER, from->name, version[b.newest].number, &c), "a version");
	version_compare(c, &version[b.newest]);
	must(branch_off(b.v, CONTAINER, c, name, &b.c), "a branch");
	if (back)
		spm_chain_close(c);
	version_compare(b.c, &version[b.newest]);
	spm_chain_self_check(b.c);
	return b;
}

static void all_commit(struct branch *const *b, unsigned n, unsigned rounds)
{
	while (rounds-- > 0)
		for (unsigned i = 0; i < n; i++)
			commits(b[i], (unsigned)(test_random(&seed) % 4));
}

static void branches_show_their_own(void **state)
{
	struct branch main = branch_begin(volume_in_memory(), 0), left, right, deep, twig;

	(void)state;
	commits(&main, 60);
	left = branch_make(&main, 0, "left", 0);
	right = branch_make(&main, 40, "right", 0);
	all_commit((struct branch *[]){&main, &left, &right}, 3, 30);
	deep = branch_make(&right, 10, "deep", 0);
	twig = branch_make(&deep, 0, "twig", 0); /* off a version that is right's */
	all_commit((struct branch *[]){&main, &left, &right, &deep, &twig}, 5, 30);
	for (unsigned i = 0; i < 5; i++) {
		struct branch *b = (struct branch *[]){&main, &left, &right, &deep, &twig}[i];

		all_are_there(b);
		branch_reopen(b);
		version_compare(b->c, &version[b->newest]);
		listing_compare(b);
		branch_close(b);
	}
	spm_volume_close(main.v);
}

/* What the version that it began with said of retention is old. */
static void a_list_through_a_branch_tells_what_its_parent_keeps(void **state)
{
	struct branch main = branch_begin(volume_in_memory(), 50), b;

	(void)state;
	commits(&main, 50);
	b = branch_make(&main, 0, "side", 0);
	main.kept = 0;
	commits(&main, 40);
	settle(&main);
	listing_compare(&main);
	listing_compare(&b);
	branch_close(&b);
	branch_close(&main);
	spm_volume_close(main.v);
}

static void the_highest_number_is_told_though_a_branch_is_damaged(void **state)
{
	static const unsigned char zeros[2 * SPM_BLOCK_BYTES] __attribute__((aligned(4096)));
	struct branch main = branch_begin(volume_in_memory(), 0), low, high, empty;
	uint64_t number, head;

	(void)state;
	commits(&main, 10);
	low = branch_make(&main, 5, "low", 0);
	commits(&low, 10);
	high = branch_make(&low, 0, "high", 0);
	commits(&high, 200); /* more than one map */
	empty = branch_make(&high, 0, "empty", 0);
	must(spm_version_highest(main.v, CONTAINER, "high", &number), "the highest number");
	assert_int_equal(number, version[high.newest].number);
	branch_close(&empty);
	must(spm_branch_delete(main.v, CONTAINER, "empty"), "deleting a branch");
	must(spm_version_highest(main.v, CONTAINER, "main", &number), "the highest number");
	assert_int_equal(number, version[high.newest].number);
	head = high.c->head_block;
	branch_close(&high);
	must(spm_blocks_write(main.v, head, zeros, 2), "damage");
	must(spm_version_highest(main.v, CONTAINER, "main", &number), "the highest number");
	assert_int_equal(number, version[low.newest].number);
	branch_close(&low);
	branch_close(&main);
	spm_volume_close(main.v);
}

static void a_branch_without_commits_opens(void **state)
{
	struct branch main = branch_begin(volume_in_memory(), 0), b, other;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		commit(&main);
	b = branch_make(&main, 1, "first", 0); /* of a chain that has no index yet */
	listing_compare(&b);
	branch_close(&b);
	commits(&main, 30);
	b = branch_make(&main, 7, "bare", 0);
	branch_reopen(&b);
	version_compare(b.c, &version[b.newest]);
	listing_compare(&b);
	other = branch_make(&b, 0, "other", 0);
	branch_close(&b);
	must(spm_branch_delete(b.v, CONTAINER, "bare"), "deleting what has no branches of its own");
	commits(&other, 5);
	all_are_there(&other);
	branch_close(&other);
	branch_close(&main);
	spm_volume_close(main.v);
}

/* Commits until what can be dropped is, as far as that is known by now. */
static void time_passes(struct branch *b)
{
	commits(b, 60);
	settle(b);
}

static void an_origin_is_kept_as_long_as_its_branch(void **state)
{
	struct branch main = branch_begin(volume_in_file(scratch("origin.vol"), true), 4), b, deep;
	struct volume *other = volume_in_file(scratch("origin.vol"), true);
	const struct version *origin, *deeps;

	(void)state;
	commits(&main, 50);
	b = branch_make(&main, 2, "side", 4);
	origin = &version[b.newest];
	commits(&b, 10);
	deep = branch_make(&b, 1, "deep", 4);
	deeps = &version[deep.newest];
	for (unsigned i = 0; i < 3; i++) {
		time_passes(&main);
		time_passes(&b);
		time_passes(&deep);
		assert_true(version_is_there(main.v, "main", origin));
		assert_true(version_is_there(main.v, "side", origin));
		assert_true(version_is_there(main.v, "side", deeps));
		kept_are_there(&main);
		kept_are_there(&b);
		kept_are_there(&deep);
		listing_compare(&deep);
	}
	assert_int_equal(spm_branch_delete(main.v, CONTAINER, "side"), -EBUSY);
	assert_int_equal(spm_branch_delete(other, CONTAINER, "deep"), -EAGAIN); /* it is being written */
	branch_close(&deep);
	spm_volume_close(other);
	must(spm_branch_delete(main.v, CONTAINER, "deep"), "deleting a branch");
	assert_int_equal(spm_branch_delete(main.v, CONTAINER, "deep"), -ENOENT);
	time_passes(&b);
	assert_false(version_is_there(main.v, "side", deeps));
	branch_close(&b);
	must(spm_branch_delete(main.v, CONTAINER, "side"), "deleting a branch");
	time_passes(&main);
	assert_false(version_is_there(main.v, "main", origin));
	kept_are_there(&main);
	branch_close(&main);
	spm_volume_close(main.v);
}

/* Whoever gives it a name holds it meanwhile: so that is seen before the deletion, or after. */
static void a_branch_with_a_name_is_not_deleted(void **state)
{
	struct branch main = branch_begin(volume_in_memory(), 0), b;
	struct ref current = {.name = "side", .kind = REF_CURRENT};
	struct chain *held;

	(void)state;
	commits(&main, 5);
	b = branch_make(&main, 1, "side", 0);
	commits(&b, 2);
	newest_tag(&b);
	branch_close(&b);
	must(spm_chain_open_version(main.v, CONTAINER, "side", version[b.newest].number, &held), "holding a version");
	assert_int_equal(spm_branch_delete(main.v, CONTAINER, "side"), -EBUSY);
	must(spm_refs_change(main.v, CONTAINER, tags_remove, NULL), "no tags");
	assert_int_equal(spm_branch_delete(main.v, CONTAINER, "side"), -EAGAIN);
	spm_chain_close(held);
	must(spm_refs_change(main.v, CONTAINER, tag_put, &current), "the current branch");
	assert_int_equal(spm_branch_delete(main.v, CONTAINER, "side"), -EBUSY);
	must(spm_branch_hold(main.v, CONTAINER, "side", &held), "holding the branch");
	must(spm_refs_change(main.v, CONTAINER, tag_remove, &current), "no current branch");
	assert_int_equal(spm_branch_delete(main.v, CONTAINER, "side"), -EAGAIN);
	spm_chain_close(held);
	must(spm_branch_delete(main.v, CONTAINER, "side"), "deleting it");
	assert_int_equal(spm_branch_hold(main.v, CONTAINER, "side", &held), -ENOENT);
	branch_close(&main);
	spm_volume_close(main.v);
}

/* ---- readers ---- */

/* Whatever there would be to do for its writer. */
static void a_reader_maintains_nothing(void **state)
{
	struct branch b = branch_begin(volume_in_memory(), 1);
	struct volume_info before, after;
	struct chain *reader;
	bool again;

	(void)state;
	commits(&b, 100);
	must(spm_chain_open(b.v, CONTAINER, "main", 0, 0, &reader), "opening to read");
	must(spm_volume_info(b.v, &before), "before");
	must(spm_chain_maintain(reader, true, &again), "maintaining");
	assert_false(again);
	must(spm_volume_info(b.v, &after), "after");
	assert_int_equal(before.free_extents, after.free_extents);
	spm_chain_close(reader);
	branch_close(&b);
	spm_volume_close(b.v);
}

static void a_version_that_is_read_stays(void **state)
{
	struct branch b = branch_begin(volume_in_file(scratch("read.vol"), true), 4);
	struct chain *reader, *newest;
	struct version *m, *last;

	(void)state;
	commits(&b, 20);
	m = &version[ancestor(b.newest, 3)];
	last = &version[b.newest];
	must(spm_chain_open_version(b.v, CONTAINER, "main", m->number, &reader), "a reader");
	must(spm_chain_open(b.v, CONTAINER, "main", 0, 0, &newest), "a reader");
	for (unsigned i = 0; i < 50; i++) {
		commits(&b, 10);
		version_compare(reader, m);
		version_compare(newest, last);
	}
	settle(&b);
	assert_true(version_is_there(b.v, "main", m));
	spm_chain_close(reader);
	spm_chain_close(newest);
	time_passes(&b);
	assert_false(version_is_there(b.v, "main", m));
	branch_close(&b);
	spm_volume_close(b.v);
}

struct other_reader {
	pid_t process;
	int says, hears; /* pipes to it and from it */
};

/* Holds the version open, says so, and compares whenever it is told to. */
static void other_reader_run(const struct version *m, int from, int to)
{
	struct volume *v = volume_in_file(scratch("others.vol"), false);
	struct chain *c;
	char byte = 1;

	if (spm_chain_open_version(v, CONTAINER, "main", m->number, &c))
		_exit(1);
	do
		version_compare(c, m);
	while (write(to, &byte, 1) == 1 && read(from, &byte, 1) == 1);
	spm_chain_close(c);
	spm_volume_close(v);
	_exit(0);
}

static struct other_reader other_reader_begin(struct branch *b, const struct version *m)
{
	int there[2], back[2];
	struct other_reader r;
	char byte;

	assert_int_equal(pipe(there) | pipe(back), 0);
	r = (struct other_reader){fork(), there[1], back[0]};
	if (!r.process) {
		close(there[1]);
		close(back[0]);
		spm_volume_leave(b->v);
		other_reader_run(m, there[0], back[1]);
	}
	close(there[0]);
	close(back[1]);
	assert_int_equal(read(r.hears, &byte, 1), 1);
	return r;
}

/* It found what it should have. */
static void other_reader_asks(struct other_reader *r)
{
	char byte = 2;

	assert_int_equal(write(r->says, &byte, 1), 1);
	assert_int_equal(read(r->hears, &byte, 1), 1);
}

static void other_reader_end(struct other_reader *r, int expected)
{
	int status;

	close(r->says);
	waitpid(r->process, &status, 0);
	close(r->hears);
	assert_int_equal(status, expected);
}

static void a_version_that_another_process_reads_stays_until_that_ends(void **state)
{
	struct branch b = branch_begin(volume_in_file(scratch("others.vol"), true), 4);
	struct other_reader ends, killed;
	const struct version *m, *killeds;

	(void)state;
	commits(&b, 20);
	m = &version[ancestor(b.newest, 3)];
	killeds = &version[ancestor(b.newest, 1)];
	ends = other_reader_begin(&b, m);
	killed = other_reader_begin(&b, killeds);
	for (unsigned i = 0; i < 50; i++) {
		commits(&b, 10);
		other_reader_asks(&ends);
		other_reader_asks(&killed);
	}
	settle(&b);
	assert_true(version_is_there(b.v, "main", m) && version_is_there(b.v, "main", killeds));
	kill(killed.process, SIGKILL);
	other_reader_end(&killed, SIGKILL);
	time_passes(&b);
	other_reader_asks(&ends);
	assert_true(version_is_there(b.v, "main", m) && !version_is_there(b.v, "main", killeds));
	other_reader_end(&ends, 0);
	time_passes(&b);
	assert_false(version_is_there(b.v, "main", m));
	branch_close(&b);
	spm_volume_close(b.v);
}

static int model_begin(void **state)
{
	(void)state;
	versions = 0;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup(all_versions_can_be_opened, model_begin),
	        cmocka_unit_test_setup(what_is_written_over_while_it_is_looked_at_is_no_damage, model_begin),
	        cmocka_unit_test_setup(a_branch_that_goes_while_others_are_looked_for_is_no_damage, model_begin),
	        cmocka_unit_test_setup(the_newest_and_tagged_versions_are_kept, model_begin),
	        cmocka_unit_test_setup(keeping_fewer_frees_the_space_of_the_others, model_begin),
	        cmocka_unit_test_setup(branches_show_their_own, model_begin),
	        cmocka_unit_test_setup(a_list_through_a_branch_tells_what_its_parent_keeps, model_begin),
	        cmocka_unit_test_setup(the_highest_number_is_told_though_a_branch_is_damaged, model_begin),
	        cmocka_unit_test_setup(a_branch_without_commits_opens, model_begin),
	        cmocka_unit_test_setup(an_origin_is_kept_as_long_as_its_branch, model_begin),
	        cmocka_unit_test_setup(a_branch_with_a_name_is_not_deleted, model_begin),
	        cmocka_unit_test_setup(a_reader_maintains_nothing, model_begin),
	        cmocka_unit_test_setup(a_version_that_is_read_stays, model_begin),
	        cmocka_unit_test_setup(a_version_that_another_process_reads_stays_until_that_ends, model_begin),
	};

	seed = test_seed();
	version = calloc(VERSIONS_MOST, sizeof(*version));
	return version ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
