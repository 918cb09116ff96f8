/* fuzz_browse.c - libFuzzer target: a version with any types and any memory, as softpm browse, diff and lint go through it: never a crash, a leak
 * or an endless loop; and what a row is called by leads to it.
 *
 *   bytes of types u16 | types | objects: address u64, bytes u16, flags u8, content ...        (seeds: fuzz_seeds)
 *                                                                 flags: 1: has no pointers; from bit 1 on: root of the types + 1 that it is
 *
 * The version is not in a volume: <softpm/look.h> is played here, so that all that changes is what these programs see.
 *
 *   fuzz_browse CORPUS...                 fuzz on
 *   fuzz_browse -runs=0 CORPUS, or FILE   try again what is there
 */
#include "../../apps/softpm/naming.h"
#include "../../apps/softpm/walk.h"
#include "container.h"
#include "heap/heap.h"
#include "types/rules.h"
#include "types/types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t bytes, size_t most);

enum { OBJECTS_MOST = 4000, ROWS_MOST = 20000, OBJECT_HEADER = 11 };

struct object {
	struct pobject is;
	const unsigned char *content;
	unsigned root; /* number of what it is + 1, or none */
};
struct plook {
	struct object object[OBJECTS_MOST];
	size_t n;
	struct types *types;
	struct pversion version;
	char word[64];
};
static struct plook look;
static FILE *null;
static unsigned rows;

/* ---- a version ---- */

int pLookObject(struct plook *l, uint64_t address, struct pobject *out)
{
	for (size_t low = 0, high = l->n; low < high;) {
		size_t middle = (low + high) / 2;
		const struct pobject *o = &l->object[middle].is;

		if (address - o->address < o->bytes) {
			*out = *o;
			return 1;
		}
		if (o->address > address)
			high = middle;
		else
			low = middle + 1;
	}
	return 0;
}

int pLookRead(struct plook *l, uint64_t address, void *to, size_t n)
{
	struct pobject o;
	unsigned char *out = to;

	for (size_t i = 0; i < n; i++)
		out[i] = 0;
	if (!n || pLookObject(l, address, &o) != 1)
		return 0;
	for (size_t i = 0; i < l->n; i++)
		if (l->object[i].is.address == o.address) {
			uint64_t at = address - o.address;

			memcpy(out, l->object[i].content + at, n < o.bytes - at ? n : o.bytes - at);
		}
	return 0;
}

int pLookObjects(struct plook *l, uint64_t from, int (*fn)(const struct pobject *object, void *arg), void *arg)
{
	int result = 0;

	for (size_t i = 0; i < l->n && !result; i++)
		if (l->object[i].is.address >= from)
			result = fn(&l->object[i].is, arg);
	return result;
}

/* A span for each object. */
int pLookSpans(struct plook *l, int (*fn)(const struct pspan *span, void *arg), void *arg)
{
	int result = 0;

	for (size_t i = 0; i < l->n && !result; i++) {
		const struct pobject *o = &l->object[i].is;

		result = fn(&(struct pspan){.address = o->address,
		                            .bytes = o->bytes,
		                            .object_bytes = o->bytes,
		                            .objects = 1,
		                            .has_no_pointers = o->has_no_pointers},
		            arg);
	}
	return result;
}

void pLookExpect(struct plook *l, uint64_t address, uint64_t bytes)
{
	(void)l, (void)address, (void)bytes;
}

const char *pLookOutside(struct plook *l, uint64_t word)
{
	if (word >> 32 != 0x6b81)
		return NULL;
	snprintf(l->word, sizeof(l->word), "\033function+%u", (unsigned)word);
	return l->word;
}

void pLookRoot(const struct plook *l, uint64_t *address, uint64_t *bytes)
{
	*address = l->object[0].is.address;
	*bytes = l->object[0].is.bytes;
}

const struct ptype *pLookType(const struct plook *l)
{
	return l->types ? &l->types->type[0] : NULL;
}

const struct ptype *pLookTypeNamed(const struct plook *l, const char *name)
{
	return l->types ? spm_types_named(l->types, name) : NULL;
}

int pLookHolds(struct plook *l, const struct pmember *of, uint64_t address, const struct pmember **out)
{
	unsigned char tag[8];
	unsigned n = of->choice ? spm_types_tag_bytes(of->choice) : 0;

	SPM_CHECK(n <= sizeof(tag));
	return n && !pLookRead(l, address + (uint64_t)of->choice->tag_at, tag, n) &&
	       spm_types_holds(of->choice, tag, n, 0 - (uint64_t)of->choice->tag_at, out);
}

const struct pversion *pLookVersion(const struct plook *l)
{
	return &l->version;
}

/* Of containers/look.c as well; nobody calls it here. */
int spm_look_check(int magic, const char *ref)
{
	(void)magic, (void)ref;
	return 0;
}

/* Ascending, none in another; others are left out. */
static void objects_take(const uint8_t *data, size_t n)
{
	uint64_t end = SPM_WINDOW_START;

	for (look.n = 0; n >= OBJECT_HEADER && look.n < OBJECTS_MOST;) {
		struct object *o = &look.object[look.n];
		uint16_t bytes;

		*o = (struct object){
		        .is.has_no_pointers = data[10] & 1, .root = data[10] >> 1, .content = data + OBJECT_HEADER};
		memcpy(&o->is.address, data, 8);
		memcpy(&bytes, data + 8, 2);
		o->is.bytes = bytes;
		data += OBJECT_HEADER;
		n -= OBJECT_HEADER;
		if (bytes > n)
			break;
		data += bytes;
		n -= bytes;
		if (!bytes || o->is.address < end || o->is.address + bytes > SPM_WINDOW_END)
			continue;
		end = o->is.address + bytes;
		look.n++;
	}
	look.version.pages = n / 4096 + look.n;
}

/* ---- what is done with it ---- */

/* A row's path leads to its place, if it can be told at all: keys may be there twice. */
static void path_try(const struct row *r)
{
	char *path = step_path(r->before, r->step);
	struct place p;
	uint64_t from;

	if (rows % 16 == 0 && !path_find(&look, path, &p, &from))
		fprintf(null, "%d", p.address == r->place->address);
	free(path);
}

static int row_see(const struct row *r, void *arg)
{
	SPM_CHECK(r->depth <= WALK_DEPTH_MOST + 1);
	value_print(null, r->value);
	value_json(null, r->value);
	fputs(type_text(r->place->type), null);
	fputs(r->seen ? r->seen : "", null);
	path_try(r);
	return ++rows == *(unsigned *)arg;
}

static void named_see(const struct named *named, const struct place *place, const char *path, void *arg)
{
	(void)arg;
	fprintf(null, "%s %u %d", path, (unsigned)named->kind, place->address != 0);
}

static void version_see(void)
{
	static const struct walk_limits some = {5, 20, 0, 200}, from = {3, 5, 7, 10},
	                                all = {UINT32_MAX, UINT64_MAX, 0, 1 << 20};
	const struct walk_limits *const limits[] = {&some, &from, &all};
	struct place root = place_root(&look);
	uint64_t wanted[64];
	struct naming *names;
	struct climb *climb;
	size_t n = 0;

	for (unsigned i = 0; i < 3; i++) {
		rows = 0;
		walk(&look, &root, "root", limits[i], row_see, &(unsigned){ROWS_MOST});
	}
	for (; n < 64 && n < look.n; n++)
		wanted[n] = look.object[n * look.n / 64].is.address;
	climb = climb_begin(&look, wanted, n / 8);
	climb_pass(climb);
	climb_pass(climb);
	for (unsigned i = 0; i < 3; i++) {
		names = naming_do(&look, wanted, i ? n : 0, 20000, i == 2 ? climb : NULL, named_see, NULL);
		naming_sum(names);
		naming_free(names);
	}
	climb_free(climb);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	null = fopen("/dev/null", "w");
	stderr = null; /* where paths are said to lead nowhere; sanitizers have their own */
	return null ? 0 : -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint16_t types;

	if (n < sizeof(types))
		return 0;
	memcpy(&types, data, sizeof(types));
	data += sizeof(types);
	n -= sizeof(types);
	if (types > n)
		return 0;
	objects_take(data + types, n - types);
	look.types = NULL;
	if (types && spm_types_load(data, types, &look.types))
		return 0;
	for (size_t i = 0; i < look.n && look.types; i++)
		if (look.object[i].root && look.object[i].root <= look.types->roots)
			look.object[i].is.type = look.types->all_roots[look.object[i].root - 1].type;
	if (look.n)
		version_see();
	spm_types_free(look.types);
	return 0;
}

/* Often a word becomes another one that is there, or one beside it: pointers lead elsewhere, into circles, into the middle of things. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t bytes, size_t most, unsigned seed)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1, word;

	if (bytes < 64 || random >> 62 == 0)
		return LLVMFuzzerMutate(data, bytes, most);
	for (unsigned n = 1 + (random >> 60 & 3); n; n--) {
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		memcpy(&word, data + (random >> 33) % (bytes - 8), sizeof(word));
		word += random >> 20 & 1 ? 0 : (random >> 21 & 15) * 4;
		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		memcpy(data + (random >> 33) % (bytes - 8), &word, sizeof(word));
	}
	return bytes;
}
