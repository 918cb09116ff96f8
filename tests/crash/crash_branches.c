/* crash_branches.c - the power goes at any instant while branches and tags are made, used and deleted and versions are dropped:
 * every branch, tag and kept version that was acknowledged is there and whole; what was under way is there whole, or not at all.
 *
 * The run: one container. Lines of versions: main and some branches off versions of it, or of each other, which keep versions by number, by
 * age, or thinned; tags on any of them; one of them is current. Its ledger says what each
 * version of each line holds. Then some states are built for every operation (sim_driver.h), opened, and compared.
 */
#include "branch_off.h"
#include "scratch.h"
#include "sim_driver.h"
#include "volume/volume.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 40, VERSIONS = 60, LINES = 9, TAGS = 6, KEPT = 4, EVENTS_MOST = 4000 };

static uint64_t ledger[LINES][VERSIONS + 2]
                      [PAGES]; /* by number of the version; that of the origin and before: as on the parent */
static const char *const line_name[LINES] = {"main", "b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"};
static const char *const tag_name[TAGS] = {"t0", "t1", "t2", "t3", "t4", "t5"};
static struct sim_log sim_log;

/* What had been acknowledged when an operation was begun; the log's mark is its number. */
struct acked {
	uint64_t newest[LINES]; /* 0: the line is not there */
	uint64_t origin[LINES];
	bool was_begun[LINES], is_going[LINES]; /* is being made, or deleted */
	uint64_t tag[TAGS];                     /* version of its line; 0: none */
	int tag_line[TAGS];
	bool tag_changes[TAGS];
	int current, current_next; /* lines; the same, but while it is changed */
};
static struct acked acked[EVENTS_MOST];
static struct acked now;
static uint64_t events;

/* From here on operations happen after this. */
static void acknowledge(void)
{
	assert_true(events + 1 < EVENTS_MOST);
	acked[++events] = now;
	sim_log.mark = events;
}

struct run {
	struct volume *v;
	struct chain *c[LINES];
	bool was_made[LINES]; /* once: the ledger has room for one life of each */
	uint64_t random;
};

/* What lines keep: the newest KEPT; those that are not old, every third is not; the first of each ten seconds. */
enum { KEEPS_SOME, KEEPS_YOUNG, KEEPS_FIRST, POLICIES, PIECE = 10, SECONDS = 100000 };

static void policy_set(int line, uint64_t version, struct version_info *info)
{
	info->versions_kept = line % POLICIES == KEEPS_SOME ? KEPT : 0;
	info->time_ns = version * UINT64_C(1000000000);
	if (line % POLICIES == KEEPS_YOUNG) {
		info->keep_seconds = SECONDS;
		info->time_ns += version % 3 ? 0 : spm_now_real_ns();
	} else if (line % POLICIES == KEEPS_FIRST) {
		info->thin[0] = (struct thinning){SECONDS, PIECE};
	}
}

/* An own version, that nobody has named. */
static bool is_kept(int line, uint64_t version, uint64_t newest, uint64_t origin)
{
	if (version == newest)
		return true;
	if (line % POLICIES == KEEPS_SOME)
		return version + KEPT > newest + 1;
	return line % POLICIES == KEEPS_YOUNG ? version % 3 == 0 : version == origin + 1 || version % PIECE == 0;
}

/* One that is there for certain: its own, or, if it has none, 0. */
static uint64_t version_choose(struct run *r, int line)
{
	uint64_t version = now.newest[line] - test_random(&r->random) % KEPT;

	if (now.newest[line] <= now.origin[line])
		return 0;
	if (version > now.newest[line] || version <= now.origin[line] ||
	    !is_kept(line, version, now.newest[line], now.origin[line]))
		version = now.newest[line];
	return version;
}

static void commit_random(struct run *r, int line)
{
	static uint64_t data[PAGES][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change[PAGES];
	uint64_t version = now.newest[line] + 1;
	struct version_info info = {.versions_kept = 0};
	unsigned n = 0;

	policy_set(line, version, &info);
	memcpy(ledger[line][version], ledger[line][version - 1], sizeof(ledger[line][version]));
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t value = test_random(&r->random);

		if (value % 8)
			continue;
		change[n] = (struct page_change){
		        .page = 9000 + i * 3, .data = data[n], .is_removed = (value >> 32) % 8 == 0};
		change[n].meta.span_pages = 1;
		for (unsigned w = 0; w < SPM_PAGE_BYTES / 8; w++)
			data[n][w] = value;
		ledger[line][version][i] = change[n].is_removed ? 0 : value;
		n++;
	}
	assert_int_equal(spm_chain_commit(r->c[line], change, n, true, &info), 0);
	assert_int_equal(info.version, version);
	now.newest[line] = version;
	acknowledge();
}

static void branch_make(struct run *r, int line)
{
	int parent = (int)(test_random(&r->random) % (unsigned)line);
	uint64_t version = version_choose(r, parent);
	struct chain *from;

	if (!version)
		return;
	now.origin[line] = version;
	now.was_begun[line] = r->was_made[line] = true;
	memcpy(ledger[line], ledger[parent], sizeof(ledger[line]));
	acknowledge();
	assert_int_equal(spm_chain_open_version(r->v, 1, line_name[parent], version, &from), 0);
	assert_int_equal(branch_off(r->v, 1, from, line_name[line], &r->c[line]), 0);
	spm_chain_close(from);
	now.newest[line] = version;
	now.was_begun[line] = false;
	acknowledge();
}

static void branch_delete(struct run *r, int line)
{
	int err;

	spm_chain_close(r->c[line]);
	r->c[line] = NULL;
	now.is_going[line] = true;
	acknowledge();
	err = spm_branch_delete(r->v, 1, line_name[line]);
	assert_true(!err || err == -EBUSY);
	now.is_going[line] = false;
	if (err)
		assert_int_equal(spm_chain_open(r->v, 1, line_name[line], CHAIN_WRITE, 0, &r->c[line]), 0);
	else
		now.newest[line] = 0;
	acknowledge();
}

static int tag_change(struct refs *refs, void *arg)
{
	struct ref *ref = arg;

	if (ref->version)
		return spm_refs_put(refs, ref);
	return spm_refs_remove(refs, REF_TAG, ref->name) ? 0 : -ENOENT;
}

static void tag_flip(struct run *r, int tag, int line)
{
	struct ref ref = {.kind = REF_TAG};
	struct chain *from = NULL;
	struct chain_about about;

	strcpy(ref.name, tag_name[tag]);
	if (!now.tag[tag]) {
		ref.version = version_choose(r, line);
		if (!ref.version)
			return;
		assert_int_equal(spm_chain_open_version(r->v, 1, line_name[line], ref.version, &from), 0);
		spm_chain_about(from, &about);
		ref.chain_id = about.chain_id;
		ref.seq = about.seq;
		now.tag_line[tag] = line;
	}
	now.tag_changes[tag] = true;
	acknowledge();
	assert_int_equal(spm_refs_change(r->v, 1, tag_change, &ref), 0);
	if (from)
		spm_chain_close(from);
	now.tag_changes[tag] = false;
	now.tag[tag] = ref.version;
	acknowledge();
}

static int current_change(struct refs *refs, void *arg)
{
	struct ref ref = {.kind = REF_CURRENT};

	strcpy(ref.name, arg);
	spm_refs_remove(refs, REF_CURRENT, line_name[now.current]);
	return spm_refs_put(refs, &ref);
}

static void current_switch(struct run *r, int line)
{
	now.current_next = line;
	acknowledge();
	assert_int_equal(spm_refs_change(r->v, 1, current_change, (void *)(uintptr_t)line_name[line]), 0);
	now.current = line;
	acknowledge();
}

/* In the midst of maintenance, what is about to become free is not taken. Not in that of a chain that is still to be settled: its first flush
 * is one that commits to the chain wait for. */
static void commit_beside(void *arg)
{
	struct run *r = arg;
	int line = (int)(test_random(&r->random) % LINES);

	if (test_random(&r->random) % 2)
		sim_log.hook = commit_beside;
	else if (r->c[line] && now.newest[line] < VERSIONS)
		commit_random(r, line);
}

static void maintain(struct run *r, int line)
{
	bool again;
	int err;

	if (test_random(&r->random) % 4) {
		assert_int_equal(spm_chain_settle(r->c[line]), 0);
		sim_log.hook = commit_beside;
		sim_log.hook_arg = r;
	}
	err = spm_chain_maintain(r->c[line], test_random(&r->random) & 1, &again);
	assert_true(!err || err == -ENOSPC); /* the simulated disk is small */
	sim_log.hook = NULL;
	spm_chain_self_check(r->c[line]);
}

static void step(struct run *r)
{
	int line = (int)(test_random(&r->random) % LINES);

	if (!r->c[line] && !r->was_made[line])
		branch_make(r, line);
	else if (!r->c[line])
		return;
	else if (test_random(&r->random) % 4 && now.newest[line] < VERSIONS)
		commit_random(r, line);
	else if (test_random(&r->random) % 3)
		maintain(r, line);
	else if (line && test_random(&r->random) % 3 == 0)
		branch_delete(r, line);
	else if (test_random(&r->random) % 4 == 0)
		current_switch(r, line);
	else
		tag_flip(r, (int)(test_random(&r->random) % TAGS), line);
}

static void run(uint64_t *random)
{
	struct run r = {.random = *random};

	assert_int_equal(spm_volume_open(sim_record(&sim_log), VOLUME_CREATE | VOLUME_EAGER, &r.v), 0);
	assert_int_equal(spm_chain_create(r.v, 1, "main", &r.c[0]), 0);
	while (now.newest[0] < VERSIONS)
		step(&r);
	for (int i = 0; i < LINES; i++)
		if (r.c[i])
			spm_chain_close(r.c[i]);
	spm_volume_close(r.v);
	*random = r.random;
}

static void content_compare(struct chain *c, const char *what, const uint64_t *expected)
{
	static uint64_t page[SPM_PAGE_BYTES / 8];

	for (unsigned i = 0; i < PAGES; i++) {
		memset(page, 0, sizeof(page));
		if (spm_chain_read(c, 9000 + i * 3, 1, page))
			fail_msg("%s: %s", what, spm_volume_error());
		for (unsigned w = 0; w < SPM_PAGE_BYTES / 8; w++)
			if (page[w] != expected[i])
				fail_msg("%s page %u: expected %llx, found %llx", what, i,
				         (unsigned long long)expected[i], (unsigned long long)page[w]);
	}
}

/* Returns the newest version, 0: the line is not there. */
static uint64_t line_check(struct volume *v, const struct acked *a, int line)
{
	struct version_info info = {0};
	bool may_miss = !a->newest[line] || a->is_going[line];
	struct chain *c;
	int err = spm_chain_open(v, 1, line_name[line], 0, 0, &c);

	if (err == -ENOENT && may_miss)
		return 0;
	if (err)
		fail_msg("%s, version %llu acknowledged: %s", line_name[line], (unsigned long long)a->newest[line],
		         spm_volume_error());
	if (!a->newest[line] && line && !a->was_begun[line])
		fail_msg("%s was deleted and is back", line_name[line]);
	err = spm_chain_newest(c, &info);
	if (a->newest[line] && (info.version < a->newest[line] || info.version > a->newest[line] + 1))
		fail_msg("%s: version %llu was acknowledged, %llu is back", line_name[line],
		         (unsigned long long)a->newest[line], (unsigned long long)info.version);
	if (!err)
		content_compare(c, line_name[line], ledger[line][info.version]);
	spm_chain_close(c);
	return info.version;
}

/* A version that must be there, or may. */
static void version_check(struct volume *v, int line, uint64_t version, bool must)
{
	struct chain *c;
	char what[64];
	int err = spm_chain_open_version(v, 1, line_name[line], version, &c);

	snprintf(what, sizeof(what), "%s:%llu", line_name[line], (unsigned long long)version);
	if (err == -ENOENT && !must)
		return;
	if (err)
		fail_msg("%s: %s", what, spm_volume_error());
	content_compare(c, what, ledger[line][version]);
	spm_chain_close(c);
}

/* Before, or after; and it is there. */
static void current_check(struct volume *v, const struct acked *a, const struct refs *refs)
{
	const char *name = "main";

	for (size_t i = 0; i < refs->n; i++)
		if (refs->ref[i].kind == REF_CURRENT)
			name = refs->ref[i].name;
	if (strcmp(name, line_name[a->current]) && strcmp(name, line_name[a->current_next]))
		fail_msg("%s is the current branch, not %s or %s", name, line_name[a->current],
		         line_name[a->current_next]);
	if (a->newest[0] && spm_branch_exists(v, 1, name) != 1)
		fail_msg("%s, the current branch, is not there", name);
}

static void tags_check(struct volume *v, const struct acked *a)
{
	struct refs refs;

	if (spm_refs_load(v, 1, &refs))
		fail_msg("tags: %s", spm_volume_error());
	for (int t = 0; t < TAGS; t++) {
		const struct ref *ref = spm_refs_find(&refs, REF_TAG, tag_name[t]);

		if (!a->tag_changes[t] && (ref ? ref->version : 0) != a->tag[t])
			fail_msg("tag %s: expected version %llu, found %llu", tag_name[t],
			         (unsigned long long)a->tag[t], (unsigned long long)(ref ? ref->version : 0));
		if (ref)
			version_check(v, a->tag_line[t], ref->version, true);
	}
	current_check(v, a, &refs);
	spm_refs_free(&refs);
}

static void go_on(unsigned char *state, uint64_t size, int line, uint64_t version)
{
	static unsigned char data[SPM_PAGE_BYTES] __attribute__((aligned(4096)));
	struct page_change change = {.page = 7, .data = data, .meta.span_pages = 1};
	struct version_info info = {.versions_kept = 1};
	struct volume *v;
	struct chain *c = NULL;
	bool again = true;

	data[0] = (unsigned char)version;
	if (spm_volume_open(sim_state_driver(state, size), VOLUME_CREATE | VOLUME_EAGER, &v) ||
	    spm_chain_open(v, 1, line_name[line], CHAIN_WRITE, 0, &c))
		fail_msg("going on: %s", spm_volume_error());
	spm_chain_self_check(c);
	assert_int_equal(spm_chain_commit(c, &change, 1, true, &info), 0);
	assert_int_equal(info.version, version + 1);
	while (again) {
		int err = spm_chain_maintain(c, true, &again);

		assert_true(!err || err == -ENOSPC);
		again &= !err;
	}
	content_compare(c, "going on", ledger[line][version]);
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

static void state_check(unsigned char *state, uint64_t size, const struct acked *a, bool is_thorough)
{
	uint64_t newest[LINES];
	struct volume *v;
	int err = spm_volume_open(sim_state_driver(state, size), VOLUME_READ_ONLY, &v);

	if (err && !a->newest[0])
		return; /* the volume was being made */
	if (err)
		fail_msg("%s", spm_volume_error());
	for (int i = 0; i < LINES; i++)
		newest[i] = line_check(v, a, i);
	tags_check(v, a);
	for (int i = 0; i < LINES && is_thorough; i++)
		for (uint64_t n = newest[i]; n > a->origin[i]; n--)
			version_check(v, i, n, is_kept(i, n, newest[i], a->origin[i]));
	spm_volume_close(v);
	for (int i = 0; i < LINES && is_thorough; i++)
		if (newest[i] > a->origin[i])
			go_on(state, size, i, newest[i]);
}

static void crash_check(const struct sim_crash *crash, void *arg)
{
	(void)arg;
	state_check(crash->state, crash->size, &acked[crash->mark], crash->number % 64 == 0);
}

static void every_crash_leaves_branches_and_tags_whole(void **state)
{
	uint64_t random = test_seed();

	(void)state;
	run(&random);
	sim_each_crash(&sim_log, test_number("SOFTPM_CRASH_STATES", 20000), random, crash_check, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_crash_leaves_branches_and_tags_whole)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
