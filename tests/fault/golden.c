/* golden.c - a volume of each format kept in the tree (golden-N.vol.txt) opens, restores, and holds for SoftPM what it holds for a
 * reader written from docs/format.md alone.
 *
 * Container 7 was made by a program: a list, strings, a large object without pointers, pointers into the program.
 * Container 8 page by page: several segments with maps, pages removed and all zero, dropped versions, a record too large for
 * its place, a tag, a branch; it was left as a crash leaves it. SOFTPM_GOLDEN=PATH makes the file anew there: only for another format
 * version, beside the one that is.
 */
#include "branch_off.h"
#include "expect.h"
#include "scratch.h"
#include "second_reader.h"
#include "softpm.h"
#include "softpm/look.h"
#include "sparse.h"
#include "volume/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGES = 40, VERSIONS = 18, TAGGED = 3, ORIGIN = 6, SIDE_VERSIONS = 9, BULK = 10000 };

struct item {
	struct item *next;
	char *text;
};
struct root {
	struct item *first;
	unsigned char *bulk;
	int (*function)(int);
	const char *literal;
	void *lost;
	uint64_t steps;
};

static const char *path;

/* Nearly all zero, like the pages of container 8: the text in the tree is to be short. */
static unsigned char bulk_byte(unsigned i)
{
	return i % 1000 ? 0 : (unsigned char)(1 + i / 1000);
}

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(99))

int golden_function(int n);
int golden_function(int n)
{
	return n * 3 + 1;
}

const char golden_word[] = "a word in static data";

static void in_process(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	if (!child) {
		fn();
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		fail_msg("the process ended with status 0x%x", status);
}

static void item_add(struct root *r)
{
	struct item *i = pMalloc(sizeof(*i));
	char text[64];

	snprintf(text, sizeof(text), "item %llu", (unsigned long long)++r->steps);
	*i = (struct item){r->first, pStrdup(text)};
	r->first = i;
}

static void container_make(void)
{
	struct cattr *attr;
	struct root *r;
	int id;

	setenv("SOFTPM_HEAP_START", "5", 1); /* so that the file stays as it is from one making to the next */
	EXPECT(!pVOpen(path));
	id = pCAlloc(7, sizeof(*r), (void **)&r);
	EXPECT(id);
	attr = pCGetAttr(7);
	strcpy(attr->name, "golden");
	EXPECT(!pCSetAttr(id, attr));
	pCAttrFree(attr);
	r->bulk = pMallocNoPtr(BULK);
	for (unsigned i = 0; i < BULK; i++)
		r->bulk[i] = bulk_byte(i);
	r->function = golden_function;
	r->literal = golden_word;
	r->lost = &id;
	for (unsigned i = 0; i < 5; i++)
		item_add(r);
	EXPECT(pPointSync(id) == 1);
	item_add(r);
	EXPECT(pPointSync(id) == 2);
	item_add(r);
	EXPECT(pPointMsg(id, "the third") == 3);
	EXPECT(!pVClose());
}

/* What fills page i in a version of branch main; 0: not there; 1: all zero, without content. */
static uint64_t main_fill_of(unsigned i, uint64_t version)
{
	if (i < 3)
		return version * 100 + i; /* changes every time */
	if (i < 6)
		return (version / 5) % 2 ? 0 : 50 + i; /* comes and goes */
	if (i < 9)
		return 1;
	return version < 9 ? 2000 + i : 3000 + i; /* many at once, in version 9 */
}

/* Branch side begins with version ORIGIN of main, and changes other pages. */
static uint64_t fill_of(const char *branch, unsigned i, uint64_t version)
{
	if (!version)
		return 0;
	if (!strcmp(branch, "main") || version <= ORIGIN)
		return main_fill_of(i, version);
	return i < 2 || i > 35 ? version * 1000 + i : main_fill_of(i, ORIGIN);
}

static void version_commit(struct chain *c, const char *branch, uint64_t version)
{
	static uint64_t data[PAGES][512] __attribute__((aligned(4096)));
	struct page_change change[PAGES];
	struct version_info info = {.time_ns = version, .root = 4096, .versions_kept = 5};
	size_t n = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t fill = fill_of(branch, i, version), before = fill_of(branch, i, version - 1);

		if (fill == before)
			continue;
		data[i][0] = data[i][511] = fill;
		for (unsigned k = 0; k < 512 && i == 0; k += 16) /* all over */
			data[i][k] = fill;
		change[n++] = (struct page_change){.page = i < PAGES - 2 ? 500 + i * 3 : SPM_BLOB_PAGE + i,
		                                   .data = fill == 1 ? NULL : data[i],
		                                   .is_removed = !fill,
		                                   .meta = {.span_pages = 1, .class = (uint8_t)i}};
	}
	snprintf(info.branch, sizeof(info.branch), "%s", branch);
	snprintf(info.message, sizeof(info.message), "version %llu", (unsigned long long)version);
	EXPECT(!spm_chain_commit(c, change, n, true, &info) && info.version == version);
}

static struct volume *volume_open(unsigned flags)
{
	struct driver *d;
	struct volume *v;
	char why[256];

	if (spm_driver_file_open(path, flags & VOLUME_READ_ONLY ? DRIVER_READ_ONLY : 0, &d, why) ||
	    spm_volume_open(d, flags, &v))
		return NULL;
	return v;
}

static int tag_put(struct refs *refs, void *arg)
{
	return spm_refs_put(refs, arg);
}

static void newest_tag(struct volume *v, struct chain *c)
{
	struct ref ref = {.kind = REF_TAG, .name = "a tag", .version = TAGGED, .time_ns = 1};
	struct chain_about about;

	spm_chain_about(c, &about);
	ref.chain_id = about.chain_id;
	ref.seq = about.seq;
	EXPECT(!spm_refs_change(v, 8, tag_put, &ref));
}

static void maintain(struct chain *c)
{
	bool again;

	do
		EXPECT(!spm_chain_maintain(c, true, &again));
	while (again);
}

static void side_make(struct volume *v, struct chain *from)
{
	struct chain *c;

	EXPECT(!branch_off(v, 8, from, "side", &c));
	for (uint64_t version = ORIGIN + 1; version <= SIDE_VERSIONS; version++)
		version_commit(c, "side", version);
	spm_chain_close(c);
}

static void chain_make(void)
{
	struct volume *v = volume_open(VOLUME_EAGER);
	struct chain *c;

	EXPECT(v && !spm_chain_create(v, 8, "main", &c));
	for (uint64_t version = 1; version <= VERSIONS; version++) {
		version_commit(c, "main", version);
		if (version == TAGGED)
			newest_tag(v, c);
		if (version == ORIGIN)
			side_make(v, c);
		if (version % 4 == 0)
			maintain(c);
	}
}

static void volume_make(void)
{
	in_process(container_make);
	in_process(chain_make);
}

/* Makes the volume's file of the text, and returns its bytes. */
static unsigned char *golden_unpack(int format, uint64_t *bytes)
{
	char name[64];
	unsigned char *volume;

	snprintf(name, sizeof(name), "fault/golden-%d.vol.txt", format);
	volume = sparse_read(test_source(name), bytes);

	assert_non_null(volume);
	assert_int_equal(file_write(path, volume, *bytes), 0);
	return volume;
}

struct comparison {
	const unsigned char *volume;
	uint64_t bytes;
	struct chain *c;
	const struct second_version *second;
	size_t seen;
};

static void page_compare(struct comparison *k, struct page_source source, struct page_meta meta)
{
	const struct second_page *p = &k->second->page[k->seen++];
	unsigned char page[4096] = {0}, second[4096];

	assert_true(k->seen <= k->second->pages);
	assert_int_equal(source.page, p->page);
	assert_memory_equal(&meta, p->meta, sizeof(p->meta));
	assert_int_equal(source.block, p->block);
	assert_int_equal(spm_chain_read(k->c, p->page, 1, page), 0);
	if (p->block) {
		assert_true(second_content(k->volume, k->bytes, p, second));
		assert_memory_equal(page, second, 4096);
		assert_true(source.sum == p->sum && source.granules == p->granules);
	}
}

static void pages_compare(struct comparison *k)
{
	struct source_list list;

	assert_int_equal(spm_chain_list(k->c, &list), 0);
	for (size_t i = 0; i < list.n; i++)
		for (uint32_t n = 0; n < list.run[i].pages; n++)
			page_compare(k, spm_source_of(&list.run[i], n), spm_source_meta(&list.run[i], n));
	assert_int_equal(k->seen, k->second->pages);
	spm_source_list_free(&list);
}

static void version_compare(const unsigned char *volume, uint64_t bytes, struct chain *c,
                            const struct second_version *second)
{
	struct comparison k = {.volume = volume, .bytes = bytes, .c = c, .second = second};
	struct version_info info;

	assert_int_equal(spm_chain_newest(c, &info), 0);
	assert_int_equal(info.version, second->version);
	assert_int_equal(info.parent, second->parent);
	assert_int_equal(info.time_ns, second->time_ns);
	assert_int_equal(info.root, second->root);
	assert_int_equal(info.root_bytes, second->root_bytes);
	assert_int_equal(info.pages, second->pages);
	assert_int_equal(second->pages_told, second->pages);
	assert_string_equal(info.branch, second->branch);
	assert_string_equal(info.name, second->name);
	assert_string_equal(info.message, second->message);
	pages_compare(&k);
}

/* The version with that number (0: the newest). False: there is none, both say. */
static bool both_find(const unsigned char *volume, uint64_t bytes, int magic, const char *branch, uint64_t version,
                      struct second_version *second)
{
	const char *wrong = second_read(volume, bytes, magic, branch, version, second);
	struct volume *v = volume_open(VOLUME_READ_ONLY);
	struct chain *c;
	int err;

	assert_non_null(v);
	err = version ? spm_chain_open_version(v, magic, branch, version, &c)
	              : spm_chain_open(v, magic, branch, 0, 0, &c);
	if (wrong && (err != -ENOENT || strcmp(wrong, "no such version")))
		fail_msg("container %d, %s, version %llu: the second reader finds %s, opening gave %d", magic, branch,
		         (unsigned long long)version, wrong, err);
	if (err && !wrong)
		fail_msg("container %d, %s: the second reader finds version %llu; %s", magic, branch,
		         (unsigned long long)version, spm_volume_error());
	if (!err) {
		version_compare(volume, bytes, c, second);
		spm_chain_close(c);
	}
	spm_volume_close(v);
	return !err;
}

static void pages_are_those_of_the_ledger(const unsigned char *volume, uint64_t bytes, const char *branch,
                                          const struct second_version *second)
{
	size_t seen = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t fill = fill_of(branch, i, second->version), found[512];
		const struct second_page *p = &second->page[seen];

		if (!fill)
			continue;
		assert_int_equal(p->meta[8], i);
		assert_int_equal(p->block != 0, fill != 1);
		assert_true(!p->block || (second_content(volume, bytes, p, (unsigned char *)found) &&
		                          found[0] == fill && found[511] == fill));
		seen++;
	}
	assert_int_equal(seen, second->pages);
}

/* Which versions of the branch are there: a bit for each. */
static uint64_t versions_compare(const unsigned char *volume, uint64_t bytes, const char *branch)
{
	struct second_version second;
	uint64_t there = 0;

	for (uint64_t version = 1; version <= VERSIONS + 1; version++) {
		if (both_find(volume, bytes, 8, branch, version, &second)) {
			assert_int_equal(second.version, version);
			pages_are_those_of_the_ledger(volume, bytes, branch, &second);
			there |= UINT64_C(1) << version;
		}
		second_free(&second);
	}
	return there;
}

static uint64_t bits(unsigned from, unsigned to)
{
	return (UINT64_C(2) << to) - (UINT64_C(1) << from);
}

static void branches_are_compared(const unsigned char *volume, uint64_t bytes)
{
	uint64_t there = versions_compare(volume, bytes, "main"), named = bits(TAGGED, TAGGED) | bits(ORIGIN, ORIGIN);
	uint64_t of_side = versions_compare(volume, bytes, "side");

	assert_int_equal(there & named, named);
	assert_int_equal(there & bits(VERSIONS - 4, VERSIONS + 1), bits(VERSIONS - 4, VERSIONS));
	assert_true((there & bits(1, ORIGIN)) == named); /* others were dropped */
	assert_int_equal(of_side, named | bits(ORIGIN + 1, SIDE_VERSIONS));
}

static void both_are_compared(const unsigned char *volume, uint64_t bytes)
{
	struct second_version second;

	assert_true(both_find(volume, bytes, 7, "main", 0, &second));
	assert_int_equal(second.version, 3);
	assert_string_equal(second.message, "the third");
	assert_string_equal(second.name, "golden");
	second_free(&second);
	assert_true(both_find(volume, bytes, 8, "main", 0, &second));
	assert_int_equal(second.version, VERSIONS);
	assert_true(second.segments > 2 && second.map_seq > 0 && second.records_replayed > 0);
	pages_are_those_of_the_ledger(volume, bytes, "main", &second);
	second_free(&second);
	assert_true(both_find(volume, bytes, 8, "side", 0, &second));
	assert_int_equal(second.version, SIDE_VERSIONS);
	pages_are_those_of_the_ledger(volume, bytes, "side", &second);
	second_free(&second);
	branches_are_compared(volume, bytes);
}

static void the_golden_volume_reads_the_same_for_a_second_reader(void **state)
{
	(void)state;
	for (int format = 3; format <= 5; format++) {
		uint64_t bytes;
		unsigned char *volume = golden_unpack(format, &bytes);

		both_are_compared(volume, bytes);
		free(volume);
	}
}

static void what_is_written_today_reads_the_same_for_a_second_reader(void **state)
{
	uint64_t bytes;
	unsigned char *volume;

	(void)state;
	unlink(path);
	volume_make();
	volume = file_read(path, &bytes);
	assert_non_null(volume);
	both_are_compared(volume, bytes);
	free(volume);
}

/* Inputs of 0, 37, 74, ... bytes, a version that has most of them, left as a crash leaves it. */
enum { INPUTS = 3000, INPUTS_SAVED = 2500 };

static uint64_t input_bytes(unsigned i)
{
	return i % 300 * 37;
}

static void inputs_make(void)
{
	static unsigned char input[300 * 37];
	struct root *r;
	int id;

	EXPECT(!pVOpen(path));
	id = pCAlloc(9, sizeof(*r), (void **)&r);
	EXPECT(id);
	for (unsigned i = 0; i < INPUTS; i++) {
		memset(input, (int)i, sizeof(input));
		EXPECT(pRecord(id, input, input_bytes(i)));
		r->steps++;
		if (i + 1 == INPUTS_SAVED)
			EXPECT(pPointSync(id) == 1);
	}
}

static void input_compare(const unsigned char *input, uint64_t n, void *arg)
{
	unsigned *i = arg;

	assert_int_equal(n, input_bytes(*i));
	for (uint64_t k = 0; k < n; k++)
		assert_int_equal(input[k], *i & 255);
	++*i;
}

static void inputs_read_the_same_for_a_second_reader(void **state)
{
	unsigned next = INPUTS_SAVED;
	uint64_t bytes;
	unsigned char *volume;
	const char *wrong;

	(void)state;
	unlink(path);
	in_process(inputs_make);
	volume = file_read(path, &bytes);
	assert_non_null(volume);
	wrong = second_inputs(volume, bytes, 9, "main", input_compare, &next);
	if (wrong)
		fail_msg("%s", wrong);
	assert_int_equal(next, INPUTS);
	free(volume);
}

static int golden_format;

/* What a pointer to the stack became: builds that read older volumes know no words for it. */
static uint64_t lost_word(const struct root *r)
{
	struct plook *look = pLookOpen(7, "main");
	uint64_t word;

	EXPECT(look && !pLookRead(look, (uintptr_t)&r->lost, &word, sizeof(word)));
	pLookClose(look);
	return word;
}

static void container_restore(void)
{
	struct root *r;
	uint64_t n;
	char text[64];
	int id;

	EXPECT(!pVOpen(path));
	id = pCRestore(7, (void **)&r);
	EXPECT(id);
	EXPECT(r->steps == 7 && !r->lost);
	n = r->steps;
	for (const struct item *i = r->first; i; i = i->next) {
		snprintf(text, sizeof(text), "item %llu", (unsigned long long)n--);
		EXPECT(!strcmp(i->text, text));
	}
	EXPECT(n == 0);
	for (unsigned i = 0; i < BULK; i++)
		EXPECT(r->bulk[i] == bulk_byte(i));
	EXPECT(r->function == golden_function && r->literal == golden_word);
	item_add(r);
	r->lost = &id;
	EXPECT(pPointSync(id) == 4);
	EXPECT(lost_word(r) == (golden_format < 5 ? 0 : UINT64_C(0x6bff00000001)));
	EXPECT(!pVClose());
}

static void tag_is_there(struct volume *v)
{
	const struct ref *tag;
	struct refs refs;

	EXPECT(!spm_refs_load(v, 8, &refs));
	tag = spm_refs_find(&refs, REF_TAG, "a tag");
	EXPECT(tag && tag->version == TAGGED && refs.n == 1);
	spm_refs_free(&refs);
}

static void branch_goes_on(const char *branch, uint64_t version)
{
	struct volume *v = volume_open(0);
	struct chain *c;

	EXPECT(v && !spm_chain_open(v, 8, branch, CHAIN_WRITE, 0, &c));
	tag_is_there(v);
	spm_chain_self_check(c);
	version_commit(c, branch, version);
	spm_chain_self_check(c);
	spm_chain_close(c);
	spm_volume_close(v);
}

static void branches_go_on(void)
{
	branch_goes_on("main", VERSIONS + 1);
	branch_goes_on("side", SIDE_VERSIONS + 1);
}

static void the_golden_volume_restores_and_goes_on(void **state)
{
	uint64_t bytes;

	(void)state;
	for (int format = 3; format <= 5; format++) {
		free(golden_unpack(format, &bytes));
		golden_format = format;
		in_process(container_restore);
		in_process(branches_go_on);
	}
}

static int golden_make(const char *to)
{
	uint64_t bytes;
	unsigned char *volume;

	volume_make();
	volume = file_read(path, &bytes);
	return !volume || sparse_write(to, volume, bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(the_golden_volume_reads_the_same_for_a_second_reader),
	        cmocka_unit_test(the_golden_volume_restores_and_goes_on),
	        cmocka_unit_test(what_is_written_today_reads_the_same_for_a_second_reader),
	        cmocka_unit_test(inputs_read_the_same_for_a_second_reader),
	};

	path = scratch("golden.vol");
	if (getenv("SOFTPM_GOLDEN"))
		return golden_make(getenv("SOFTPM_GOLDEN"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
