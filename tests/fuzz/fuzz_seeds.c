/* fuzz_seeds.c - writes small volumes of many kinds, packed for fuzz_volume, into a folder, and streams for fuzz_stream into another: their
 * seed corpora.
 *
 * The volume kept in the tree (tests/fault/golden-4.vol.txt), which a program made and which has several segments, dropped
 * versions, a branch, a tag and pages that went; and some made here, page by page or by the public calls.
 */
#include "branch_off.h"
#include "container.h"
#include "packed.h"
#include "sim_driver.h"
#include "refs.h"
#include "softpm.h"
#include "softpm/look.h"
#include "sparse.h"
#include "streams.h"
#include "types/draft.h"
#include "types/rules.h"
#include "volume/source.h"
#include "volume/volume.h"

#include <softpm/ds.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <unistd.h>

static unsigned char bytes[SIM_BYTES_MOST];
static const char *folder;

static void must(bool is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "fuzz_seeds: %s failed: %s\n", what, spm_volume_error());
	exit(1);
}

static void seed_write(const char *name, const unsigned char *volume, uint64_t length, unsigned flags)
{
	size_t n;
	uint8_t *packed = packed_make(volume, length, flags, &n);
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	must(packed && !file_write(path, packed, n), path);
	free(packed);
}

/* `pages` pages from page `from` on, told apart by version. */
static void commit(struct chain *c, uint64_t from, uint64_t pages, uint64_t version, bool is_removed)
{
	static uint64_t data[300][512] __attribute__((aligned(4096)));
	static struct page_change change[300];
	struct version_info info = {.versions_kept = 3, .branch = "main", .name = "seed", .message = "a message"};

	for (uint64_t i = 0; i < pages; i++) {
		data[i][0] = version;
		data[i][1] = i;
		change[i] = (struct page_change){.page = from + i, .data = data[i], .is_removed = is_removed};
		change[i].meta.span_pages = 1;
	}
	must(!spm_chain_commit(c, change, pages, true, &info), "commit");
}

static struct volume *begin(void)
{
	struct volume *v;

	memset(bytes, 0, sizeof(bytes));
	must(!spm_volume_open(sim_state_driver(bytes, 0), VOLUME_CREATE | VOLUME_EAGER, &v), "a volume");
	return v;
}

static void present_write(struct volume *v, const char *name)
{
	struct volume_info info;

	must(!spm_volume_info(v, &info), "its description");
	seed_write(name, bytes, info.bytes, 0);
}

static void end(struct volume *v, const char *name)
{
	present_write(v, name);
	spm_volume_close(v);
}

static void empty_make(void)
{
	end(begin(), "empty");
}

static void crashed_make(void)
{
	struct volume *v = begin();
	struct chain *c;

	must(!spm_chain_create(v, 1, "main", &c), "a chain");
	for (uint64_t version = 1; version <= 6; version++)
		commit(c, 100 + version, 3, version, false);
	present_write(v, "crashed"); /* as a killed process leaves it: nothing is known durable but by records */
	spm_chain_close(c);
	spm_volume_close(v);
}

static void maps_make(void)
{
	struct volume *v = begin();
	struct chain *c;
	bool again = true;

	must(!spm_chain_create(v, 2, "main", &c), "a chain");
	commit(c, 200, 20, 1, false);
	for (uint64_t version = 2; version <= 8; version++) {
		commit(c, 195 + version, 2, version, version % 3 == 0);
		for (again = version == 5; again;)
			must(!spm_chain_maintain(c, true, &again), "maintenance");
	}
	spm_chain_close(c);
	end(v, "maps");
}

static int tag_put(struct refs *refs, void *arg)
{
	return spm_refs_put(refs, arg);
}

static void newest_tag(struct volume *v, struct chain *c, int magic)
{
	struct ref ref = {.kind = REF_TAG, .name = "a tag", .version = 1};
	struct chain_about about;

	spm_chain_about(c, &about);
	ref.chain_id = about.chain_id;
	ref.seq = about.seq;
	must(!spm_refs_change(v, magic, tag_put, &ref), "a tag");
}

/* Branches of branches, with and without maps; what a tag and they keep was else dropped. */
static void branches_make(void)
{
	static const char *const name[] = {"left", "right", "leaf"};
	struct volume *v = begin();
	struct chain *c, *next;
	bool again;

	must(!spm_chain_create(v, 7, "main", &c), "a chain");
	for (unsigned b = 0; b <= 3; b++) {
		for (uint64_t version = 1; version <= 10; version++) {
			commit(c, 300 + b, 3, version + b * 100, version % 5 == 4);
			if (version == 3 && b == 1)
				newest_tag(v, c, 7);
			if (version % 4 == 0 && b != 2)
				must(!spm_chain_maintain(c, true, &again), "maintenance");
		}
		must(b == 3 || !branch_off(v, 7, c, name[b], &next), "a branch");
		spm_chain_close(c);
		c = next;
	}
	end(v, "branches");
}

/* A record that lies in several runs, pages outside its place. */
static void large_make(void)
{
	struct volume *v = begin();
	struct chain *c, *other;

	must(!spm_chain_create(v, 3, "main", &c), "a chain");
	commit(c, 1, 100, 1, false);
	commit(c, 1, 60, 2, true);
	spm_chain_close(c);
	must(!spm_chain_create(v, 4, "main", &other), "another chain");
	commit(other, SPM_BLOB_PAGE, 2, 1, false);
	spm_chain_close(other);
	end(v, "large");
}

static void deleted_make(void)
{
	struct volume *v = begin();
	struct chain *c;

	must(!spm_chain_create(v, 5, "main", &c), "a chain");
	commit(c, 1, 5, 1, false);
	spm_chain_close(c);
	must(!spm_chain_delete(v, 5), "deleting");
	must(!spm_chain_create(v, 6, "main", &c), "a chain");
	spm_chain_close(c);
	end(v, "deleted");
}

struct hinted {
	struct hinted *next;
	void *left_out, *coded;
	int (*function)(const char *);
	char *text;
};

/* By the public calls: hints, pointers into the program, memory of several kinds, and inputs. */
static void program_make(void)
{
	int fd = memfd_create("seed", 0), id;
	struct hinted *h;
	char path[64];
	off_t length;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	must(fd >= 0 && !pVOpen(path), "a volume in memory");
	id = pCAlloc(9, sizeof(*h), (void **)&h);
	must(id, "a container");
	h->function = puts;
	for (unsigned i = 0; i < 40; i++) {
		struct hinted *next = pCalloc(1, sizeof(*next) + i * 100);

		*next = (struct hinted){h->next, next, NULL, h->function, pMallocNoPtr(5000)};
		h->next = next;
		must(!pExclude(id, &next->left_out) && !pHint(id, next, pMalloc(64)), "hints");
		must(i % 10 || pPointSync(id), "a point");
		must(pRecord(id, path, i * 37 % 64) && pRecord(id, next->text, i * 100), "inputs");
	}
	must(!pVClose(), "closing");
	length = lseek(fd, 0, SEEK_END);
	must(length > 0 && length <= (off_t)sizeof(bytes) && pread(fd, bytes, (size_t)length, 0) == length, "reading");
	seed_write("program", bytes, (uint64_t)length, PACKED_WITH_RESTORE);
	close(fd);
}

/* Items behind a byte of flags, as fuzz_stream takes them. */
static void stream_write(const char *to, const char *name, unsigned char flags, const struct exporting *what)
{
	size_t n;
	int fd = memfd_create("stream", 0);
	struct exporting to_memory = *what;
	unsigned char *items, *seed;
	char path[4096];

	to_memory.fd = fd;
	must(fd >= 0 && !spm_export(&to_memory), "exporting");
	items = stream_unpack(fd, &n);
	seed = malloc(n + 1);
	must(items && seed, "unpacking");
	seed[0] = flags;
	memcpy(seed + 1, items, n);
	snprintf(path, sizeof(path), "%s/%s", to, name);
	must(!file_write(path, seed, n + 1), path);
	free(items);
	free(seed);
	close(fd);
}

static struct resolved version_at(struct volume *v, const char *branch, uint64_t number)
{
	struct resolved r = {.is_branch = false};

	snprintf(r.branch, sizeof(r.branch), "%s", branch);
	must(!spm_version_find(v, HISTORY_MAGIC, branch, BY_NUMBER, number, &r.found), branch);
	return r;
}

static void streams_make(const char *to)
{
	struct volume *v = begin();
	struct resolved first, newest;

	must(!history_make(v), "a history");
	first = version_at(v, "main", 2);
	newest = version_at(v, "main", INT64_MAX);
	stream_write(to, "history", 0, &(struct exporting){.volume = v, .magic = HISTORY_MAGIC, .is_history = true});
	stream_write(to, "again", 1, &(struct exporting){.volume = v, .magic = HISTORY_MAGIC, .is_history = true});
	stream_write(to, "one", 0, &(struct exporting){.volume = v, .magic = HISTORY_MAGIC, .at = &first});
	stream_write(to, "named", 5, &(struct exporting){.volume = v, .magic = HISTORY_MAGIC, .at = &newest});
	stream_write(to, "step", 5,
	             &(struct exporting){.volume = v, .magic = HISTORY_MAGIC, .at = &newest, .since = &first});
	stream_write(to, "steps", 1,
	             &(struct exporting){
	                     .volume = v, .magic = HISTORY_MAGIC, .at = &newest, .since = &first, .is_history = true});
	spm_volume_close(v);
}

/* Of every kind, by value and in circles. */
static uint32_t types_draft(struct draft *d)
{
	uint32_t none = spm_draft_add(d, PTYPE_VOID, "void", 0),
	         root = spm_draft_add(d, PTYPE_STRUCT, "struct root", 64),
	         number = spm_draft_add(d, PTYPE_INT, "int", 4), pointer = spm_draft_add(d, PTYPE_POINTER, "", 8),
	         function = spm_draft_add(d, PTYPE_FUNCTION, "", 0), call = spm_draft_add(d, PTYPE_POINTER, "", 8),
	         array = spm_draft_add(d, PTYPE_ARRAY, "", 0), rest = spm_draft_add(d, PTYPE_ARRAY, "", 0),
	         either = spm_draft_add(d, PTYPE_UNION, "", 8), color = spm_draft_add(d, PTYPE_ENUM, "enum color", 4);

	d->type[pointer].of = root;
	d->type[call].of = function;
	d->type[array].of = number;
	d->type[array].count = 5;
	d->type[rest].of = either;
	spm_draft_value_add(d, color, "RED", 0);
	spm_draft_value_add(d, color, "BLUE", -1);
	spm_draft_member_add(d, either, &(struct draft_member){.name = "link", .type = pointer});
	spm_draft_member_add(d, either, &(struct draft_member){.name = "call", .type = call});
	spm_draft_member_add(d, root, &(struct draft_member){.name = "next", .type = pointer});
	spm_draft_member_add(d, root, &(struct draft_member){.name = "bits", .type = number, .offset = 8, .bits = 3});
	spm_draft_member_add(d, root, &(struct draft_member){.name = "color", .type = color, .offset = 12});
	spm_draft_member_add(d, root, &(struct draft_member){.name = "numbers", .type = array, .offset = 16});
	spm_draft_member_add(d, root, &(struct draft_member){.name = "", .type = either, .offset = 40});
	spm_draft_member_add(d, root, &(struct draft_member){.name = "rest", .type = rest, .offset = 64});
	(void)none;
	return root;
}

/* With more than the types say: roots, what a field leads to, which member of a union holds. */
static void told_make(const char *to, const void *plain, size_t n)
{
	const struct types_case cases[] = {{0, "link"}, {-1, "call"}, {7, ""}};
	const struct types_rule rules[] = {{.path = "struct root.next", .root = 1},
	                                   {.path = "struct root.call", .root = 0},
	                                   {.path = "struct root.", .tag = "color", .of = cases, .cases = 3}};
	struct types *t;
	char path[4200];
	void *told;

	must(!spm_types_load(plain, n, &t), "types");
	must(!spm_rules_put(t, (const char *const[]){"enum color", "struct nobody"}, 2, rules, 3, &told, &n), "rules");
	snprintf(path, sizeof(path), "%s/told", to);
	must(!file_write(path, told, n), path);
	free(told);
	spm_types_free(t);
}

static void types_make(const char *to)
{
	const struct types_module module = {.name = "program", .flags = TYPES_MODULE_IS_MAIN, .id_bytes = 20};
	struct draft d = {.is_short = false};
	char path[4200];
	uint32_t root = types_draft(&d);
	void *types;
	size_t n;

	must(!spm_draft_save(&d, &(struct draft_root){"struct root", true, root}, 1, &module, 1, &types, &n), "types");
	snprintf(path, sizeof(path), "%s/types", to);
	must(!file_write(path, types, n), path);
	told_make(to, types, n);
	free(types);
	spm_draft_free(&d);
}

/* ---- a program's memory, for fuzz_browse ---- */

PARRAY_OF(seed_array, float);
PLIST_OF(seed_list, int);
PHASH_OF(seed_hash, const char *, int);
PTREE_OF(seed_tree, int64_t, double);
PTREE_OF(seed_names, const char *, void *);
enum { BROWSED = 11 };
struct browsed_job {
	LIST_ENTRY(browsed_job) others;
	TAILQ_ENTRY(browsed_job) order;
	const char *what;
};
struct browsed_node {
	struct browsed_node *next, *prev, *child[2];
	char name[12];
	unsigned small : 3, odd : 11;
	enum { BROWSED_A, BROWSED_B = 7 } kind;
	union {
		long whole;
		double real;
	};
};
struct browsed {
	struct browsed_node *first, **all;
	LIST_HEAD(, browsed_job) jobs;
	TAILQ_HEAD(, browsed_job) order;
	struct seed_array *array;
	struct seed_list *list;
	struct seed_hash *hash;
	struct seed_tree *tree;
	struct seed_names *names;
	struct pstring string;
	int (*function)(const char *);
	void *anything;
	bool flags[5];
	long double wide;
	char text[];
};

static void browsed_fill(struct browsed *b)
{
	TAILQ_INIT(&b->order);
	b->all = pCalloc(10, sizeof(struct browsed_node *));
	for (int i = 0; i < 10; i++) {
		struct browsed_node *n = b->all[i] = pCalloc(1, sizeof(*n));
		struct browsed_job *j = pCalloc(1, sizeof(*j));

		*n = (struct browsed_node){.next = b->first, .child = {n, b->first}, .kind = BROWSED_B, .whole = i};
		snprintf(n->name, sizeof(n->name), "name %d", i);
		if (b->first)
			b->first->prev = n;
		b->first = n;
		LIST_INSERT_HEAD(&b->jobs, j, others);
		TAILQ_INSERT_TAIL(&b->order, j, order);
		j->what = pStrdup(n->name);
	}
	b->array = seed_array_make();
	b->list = seed_list_make();
	b->hash = seed_hash_make();
	b->tree = seed_tree_make();
	b->names = seed_names_make();
	for (int i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "key %d", i % 20);
		must(seed_array_push(b->array, (float)i) && (i > 9 || seed_list_push(b->list, i)) &&
		             seed_hash_put(b->hash, name, i) && seed_tree_put(b->tree, i * 7 % 100, i) &&
		             seed_names_put(b->names, name, b->first),
		     "structures");
	}
	must(!pstring_add(&b->string, "a string"), "a string");
	b->function = puts;
	b->anything = pCalloc(1, sizeof(struct browsed_job));
	b->wide = 2.5L;
	memcpy(b->text, "flexible", 9);
}

static void browsed_tell(int id, const struct browsed *b)
{
	const struct pcase cases[] = {{BROWSED_A, "real"}, {BROWSED_B, "whole"}, {1, NULL}};

	must(!pCSetType(id, LIST_FIRST(&b->jobs), "struct browsed_job") &&
	             !pCSetType(id, b->anything, "struct browsed_job") &&
	             !pCSetFieldType(id, "struct browsed.anything", "struct browsed_job") &&
	             !pCSetUnion(id, "struct browsed_node", "kind", cases, 3),
	     "telling");
}

struct dumping {
	FILE *to;
	struct plook *look;
	uint64_t root;
	bool is_root;
};

/* The root comes first: the others follow, ascending, and what lies before it is lost. */
static int object_dump(const struct pobject *o, void *arg)
{
	struct dumping *d = arg;
	static unsigned char content[65535];
	uint16_t n = o->bytes < sizeof(content) ? (uint16_t)o->bytes : sizeof(content);
	unsigned char flags =
	        (unsigned char)(o->has_no_pointers | (o->type ? 2 << 1 : 0)); /* the one root beside the first */

	must(!pLookRead(d->look, o->address, content, n), "reading");
	must(fwrite(&o->address, 8, 1, d->to) == 1 && fwrite(&n, 2, 1, d->to) == 1 &&
	             fwrite(&flags, 1, 1, d->to) == 1 && fwrite(content, n, 1, d->to) == 1,
	     "writing");
	return 0;
}

static void version_dump(const char *to, const char *name, bool has_types)
{
	struct dumping d = {.look = pLookOpen(BROWSED, NULL)};
	struct blob_parts parts;
	struct source_list list;
	struct chain *chain;
	unsigned char *blob;
	uint64_t pages = 0;
	char path[4200];
	uint16_t n;

	must(d.look && !spm_chain_open_ref(BROWSED, NULL, &chain) && !spm_chain_list(chain, &list), "a look");
	for (size_t i = 0; i < list.n; i++)
		pages += list.run[i].page >= SPM_BLOB_PAGE ? list.run[i].pages : 0;
	must(!spm_blob_read(chain, BROWSED, pages, &blob, &parts), "types");
	must(parts.types_bytes > 0 && parts.types_bytes <= UINT16_MAX, "types that are few");
	snprintf(path, sizeof(path), "%s/%s", to, name);
	d.to = fopen(path, "w");
	n = has_types ? (uint16_t)parts.types_bytes : 0;
	must(d.to && fwrite(&n, sizeof(n), 1, d.to) == 1 && (!n || fwrite(parts.types, n, 1, d.to) == 1), "writing");
	must(!pLookObjects(d.look, 0, object_dump, &d) && !fclose(d.to), "objects");
	free(blob);
	spm_source_list_free(&list);
	spm_chain_close(chain);
	pLookClose(d.look);
}

static void browsed_make(const char *to)
{
	const struct cattr attr = {.chunk_bytes = 4096, .stop_threads = 1, .type = "struct browsed"};
	int fd = memfd_create("seed", 0), id;
	void *memory;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	must(fd >= 0 && !pVOpen(path), "a volume in memory");
	id = pCAlloc(BROWSED, sizeof(struct browsed) + 16, &memory);
	must(id && !pCSetAttr(id, &attr), "a container with types");
	browsed_fill(memory);
	browsed_tell(id, memory);
	must(pPointSync(id), "a point");
	version_dump(to, "typed", true);
	version_dump(to, "untyped", false);
	must(!pVClose(), "closing");
	close(fd);
}

int main(int argc, char **argv)
{
	uint64_t length;
	unsigned char *golden = sparse_read(test_source("fault/golden-4.vol.txt"), &length);

	if (argc != 5 || !golden)
		return fprintf(stderr,
		               "usage: fuzz_seeds FOLDER FOLDER-FOR-STREAMS FOLDER-FOR-TYPES FOLDER-FOR-MEMORY\n"),
		       2;
	folder = argv[1];
	seed_write("golden", golden, length, 0);
	seed_write("golden-restore", golden, length, PACKED_WITH_RESTORE);
	empty_make();
	crashed_make();
	maps_make();
	branches_make();
	large_make();
	deleted_make();
	program_make();
	streams_make(argv[2]);
	types_make(argv[3]);
	browsed_make(argv[4]);
	free(golden);
	return 0;
}
