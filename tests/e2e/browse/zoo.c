/* zoo.c - a program with structures of all kinds, for browse.sh. VERSIONS: how many it makes, each with the change that golden outputs of
 * softpm diff tell. */
#include <softpm/ds.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

PHASH_OF(ages, const char *, int);
PTREE_OF(prices, int64_t, double);
PLIST_OF(numbers, int);
PARRAY_OF(scores, float);

enum color { RED = 1, GREEN, BLUE = 7, NEGATIVE = -3 };

struct point {
	int x, y;
};
struct user {
	struct user *next;
	char name[16];
	unsigned age;
	enum color color;
	struct point at;
};
struct job {
	const char *what;
	LIST_ENTRY(job) others;
	TAILQ_ENTRY(job) order;
	int urgency;
};
LIST_HEAD(jobs_head, job);
TAILQ_HEAD(jobs_order, job);

struct branch {
	struct branch *left, *right, *parent;
	long key;
};
struct packet {
	unsigned length;
	unsigned char kind;
	char text[];
};
struct zoo {
	char title[32];
	const char *motto;
	struct user *users;
	struct user **by_age;
	unsigned count;
	bool is_open;
	double weight;
	float ratios[3];
	int many[1000];
	unsigned flags : 3, mode : 5;
	int signed_bits : 4;
	enum color favourite, unknown;
	union {
		uint64_t word;
		struct {
			uint32_t low, high;
		};
	};
	struct point grid[2][2];
	int (*compare)(const char *, const char *);
	void (*handler)(int);
	int *table;
	struct jobs_head jobs;
	struct jobs_order order;
	struct branch *tree;
	struct packet *packet;
	void *anything, *nothing;
	struct zoo *self;
	struct ages *ages;
	struct prices *prices;
	struct numbers *row;
	struct scores *scores;
	struct pstring label;
	char evil[24];
	unsigned char raw[8];
};

static int table[8];

static int compare(const char *a, const char *b)
{
	return strcmp(a, b);
}

static void feed(int n)
{
	table[0] = n;
}

static void users_add(struct zoo *z, const char *name, unsigned age, enum color color)
{
	struct user *u = pCalloc(1, sizeof(*u));

	snprintf(u->name, sizeof(u->name), "%s", name);
	u->age = age;
	u->color = color;
	u->at = (struct point){(int)age, -(int)age};
	u->next = z->users;
	z->users = u;
	z->by_age[z->count++] = u;
}

static void jobs_add(struct zoo *z, const char *what, int urgency)
{
	struct job *j = pCalloc(1, sizeof(*j));

	j->what = pStrdup(what);
	j->urgency = urgency;
	LIST_INSERT_HEAD(&z->jobs, j, others);
	TAILQ_INSERT_TAIL(&z->order, j, order);
}

static struct branch *branch_make(struct branch *parent, long low, long high)
{
	struct branch *b;

	if (low > high)
		return NULL;
	b = pCalloc(1, sizeof(*b));
	b->key = (low + high) / 2;
	b->parent = parent;
	b->left = branch_make(b, low, b->key - 1);
	b->right = branch_make(b, b->key + 1, high);
	return b;
}

static void structures_make(struct zoo *z)
{
	z->ages = ages_make();
	ages_put(z->ages, "Ann", 37);
	z->prices = prices_make();
	for (int64_t i = -2; i < 300; i++)
		prices_put(z->prices, i * 10, (double)i / 4);
	z->row = numbers_make();
	for (int i = 0; i < 3; i++)
		numbers_push(z->row, 100 + i);
	z->scores = scores_make();
	for (int i = 0; i < 20000; i++)
		scores_push(z->scores, (float)i / 2);
	pstring_set(&z->label, "a label", 7);
}

static void zoo_make(struct zoo *z)
{
	static const char evil[] = "\033]0;evil\a<b>\t\"";
	static const unsigned char raw[] = {0x9b, '3', '1', 'm', 0xff, 1, 0, 2};

	strcpy(z->title, "The \"zoo\"");
	z->motto = pStrdup("all\nanimals");
	z->by_age = pCalloc(8, sizeof(*z->by_age));
	users_add(z, "ann", 37, GREEN);
	users_add(z, "bob", 41, BLUE);
	users_add(z, "cleo", 5, NEGATIVE);
	z->is_open = true;
	z->weight = 0.1;
	z->ratios[1] = 1.5F;
	for (int i = 0; i < 1000; i++)
		z->many[i] = i * i;
	z->flags = 5;
	z->mode = 17;
	z->signed_bits = -3;
	z->favourite = RED;
	z->unknown = (enum color)4;
	z->low = 1;
	z->high = 2;
	z->grid[1][0].y = 9;
	z->compare = compare;
	z->handler = feed;
	z->table = table + 3;
	TAILQ_INIT(&z->order);
	jobs_add(z, "sweep", 1);
	jobs_add(z, "feed", 2);
	z->tree = branch_make(NULL, 1, 7);
	z->packet = pCalloc(1, sizeof(*z->packet) + 20);
	z->packet->length = 20;
	strcpy(z->packet->text, "flexible");
	z->anything = pStrdup("something");
	z->nothing = (void *)(uintptr_t)0x12345;
	z->self = z;
	memcpy(z->evil, evil, sizeof(evil));
	memcpy(z->raw, raw, sizeof(raw));
	structures_make(z);
}

/* What each version after the first one changes. */
static void zoo_change(struct zoo *z, int version)
{
	switch (version) {
	case 2:
		z->users->next->age = 42;
		z->weight = 1e100;
		strcpy(z->title, "A zoo");
		z->mode = 3;
		z->scores = scores_push(z->scores, 7) ? z->scores : NULL;
		break;
	case 3:
		users_add(z, "dora", 60, RED);
		z->handler = NULL;
		break;
	default:
		ages_put(z->ages, "Ann", 38);
		pFree(z->anything);
		z->anything = NULL;
		z->many[500] = -1;
	}
}

int main(int argc, char **argv)
{
	int versions = argc > 1 ? atoi(argv[1]) : 1;
	void *root;
	int id = pCAlloc(7, sizeof(struct zoo), &root);

	if (!id)
		return fprintf(stderr, "zoo: %s\n", pErrorMsg()), 1;
	zoo_make(root);
#ifdef TYPED
	struct cattr typed = {.name = "zoo",
	                      .versions_kept = 16,
	                      .chunk_bytes = 4096,
	                      .stop_threads = 1,
	                      .full_trace_every = 1000,
	                      .type = "struct zoo"};

	if (pCSetAttr(id, &typed))
		return fprintf(stderr, "zoo: %s\n", pErrorMsg()), 1;
#endif
	for (int version = 1; version <= versions; version++) {
		if (version > 1)
			zoo_change(root, version);
		if (!pPointSync(id))
			return fprintf(stderr, "zoo: %s\n", pErrorMsg()), 1;
	}
	return pVClose() ? 1 : 0;
}
