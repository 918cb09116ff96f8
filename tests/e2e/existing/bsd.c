/* bsd.c - lists and trees by the macros of <bsd/sys/queue.h> and <bsd/sys/tree.h>, as they are, in a container. See existing.sh.
 *
 *   bsd keep MAGIC         makes the container
 *   bsd back MAGIC...      brings these back, all at once, looks at every entry by each list and tree, and changes them
 */
#include <softpm.h>

#include <bsd/sys/queue.h>
#include <bsd/sys/tree.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 5000, CONTAINERS = 4 };

struct entry {
	int key;
	SLIST_ENTRY(entry) slist;
	LIST_ENTRY(entry) list;
	STAILQ_ENTRY(entry) stailq;
	TAILQ_ENTRY(entry) tailq;
	RB_ENTRY(entry) rb;
	SPLAY_ENTRY(entry) splay;
};
struct root {
	SLIST_HEAD(, entry) slist;
	LIST_HEAD(, entry) list;
	STAILQ_HEAD(, entry) stailq;
	TAILQ_HEAD(tails, entry) tailq;
	RB_HEAD(reds, entry) rb;
	SPLAY_HEAD(splays, entry) splay;
};

static int compare(const struct entry *a, const struct entry *b)
{
	return (a->key > b->key) - (a->key < b->key);
}
RB_GENERATE(reds, entry, rb, compare)
SPLAY_PROTOTYPE(splays, entry, splay, compare)
SPLAY_GENERATE(splays, entry, splay, compare)

#define EXPECT(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: expected %s; %s\n", __FILE__, __LINE__, #cond, pErrorMsg());           \
			exit(1);                                                                                       \
		}                                                                                                      \
	} while (0)

static void add(struct root *r, int key)
{
	struct entry *e = pMalloc(sizeof(*e));

	EXPECT(e);
	e->key = key;
	SLIST_INSERT_HEAD(&r->slist, e, slist);
	LIST_INSERT_HEAD(&r->list, e, list);
	STAILQ_INSERT_TAIL(&r->stailq, e, stailq);
	TAILQ_INSERT_TAIL(&r->tailq, e, tailq);
	EXPECT(!RB_INSERT(reds, &r->rb, e));
	EXPECT(!SPLAY_INSERT(splays, &r->splay, e));
}

static void take(struct root *r, struct entry *e)
{
	SLIST_REMOVE(&r->slist, e, entry, slist);
	LIST_REMOVE(e, list);
	STAILQ_REMOVE(&r->stailq, e, entry, stailq);
	TAILQ_REMOVE(&r->tailq, e, tailq);
	EXPECT(RB_REMOVE(reds, &r->rb, e) == e);
	EXPECT(SPLAY_REMOVE(splays, &r->splay, e) == e);
	pFree(e);
}

/* Keys 0, step, 2 step, ... were added in this order. */
static void is_whole(struct root *r, int step)
{
	struct entry *e, wanted;
	int n = 0;

	STAILQ_FOREACH(e, &r->stailq, stailq)
	EXPECT(e->key == step * n++);
	EXPECT(n == ENTRIES / step);
	SLIST_FOREACH(e, &r->slist, slist)
	EXPECT(e->key == step * --n);
	LIST_FOREACH(e, &r->list, list)
	EXPECT(e->key == step * (ENTRIES / step - 1 - n++));
	TAILQ_FOREACH_REVERSE(e, &r->tailq, tails, tailq)
	EXPECT(e->key == step * --n);
	RB_FOREACH(e, reds, &r->rb)
	EXPECT(e->key == step * n++);
	EXPECT(n == ENTRIES / step);
	for (wanted.key = 0; wanted.key < ENTRIES; wanted.key++) {
		EXPECT(!RB_FIND(reds, &r->rb, &wanted) == !!(wanted.key % step));
		EXPECT(!SPLAY_FIND(splays, &r->splay, &wanted) == !!(wanted.key % step));
	}
}

static int keep(int magic)
{
	struct root *r;
	void *memory;
	int id = pCAlloc(magic, sizeof(*r), &memory);

	EXPECT(id);
	r = memory;
	STAILQ_INIT(&r->stailq);
	TAILQ_INIT(&r->tailq);
	for (int i = 0; i < ENTRIES; i++)
		add(r, i);
	EXPECT(pPointSync(id));
	return 0;
}

static int back(int n, char **magics)
{
	struct root *root[CONTAINERS];
	int id[CONTAINERS];

	EXPECT(n <= CONTAINERS);
	for (int i = 0; i < n; i++) {
		void *memory;

		id[i] = pCRestore(atoi(magics[i]), &memory);
		EXPECT(id[i]);
		root[i] = memory;
	}
	for (int i = 0; i < n; i++) {
		struct entry *e, *next;

		is_whole(root[i], 1);
		for (e = TAILQ_FIRST(&root[i]->tailq); e; e = next) {
			next = TAILQ_NEXT(e, tailq);
			if (e->key % 2)
				take(root[i], e);
		}
		is_whole(root[i], 2);
		EXPECT(pPointSync(id[i]));
	}
	printf("%d right\n", n);
	return pVClose() ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "keep"))
		return keep(atoi(argv[2]));
	return argc > 2 ? back(argc - 2, argv + 2) : 2;
}
