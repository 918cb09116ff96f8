/* far.c - objects that lie far from the root, of which a few change; for browse.sh. */
#include <softpm.h>

#include <stdlib.h>

enum { COUNT = 60000, LONG = 450000 };

struct item {
	long key, value;
	struct item *chain;
};
struct tree {
	struct tree *left, *right, *up;
	long key, value;
	void *data;
};
struct list {
	struct list *next;
	long value;
};
struct cell {
	long key;
	struct tree *tree[2];
};
struct root {
	struct item **bucket;
	struct tree *tree;
	struct list *list;
	struct cell *cells;
};

static struct tree *tree_grow(long from, long to, struct tree *up)
{
	long middle = (from + to) / 2;
	struct tree *t;

	if (from >= to)
		return NULL;
	t = pCalloc(1, sizeof(*t));
	t->key = middle;
	t->up = up;
	t->left = tree_grow(from, middle, t);
	t->right = tree_grow(middle + 1, to, t);
	return t;
}

static struct tree *tree_find(struct tree *t, long key)
{
	while (t->key != key)
		t = key < t->key ? t->left : t->right;
	return t;
}

int main(void)
{
	struct cattr attr = {.chunk_bytes = 4096, .versions_kept = 16, .stop_threads = 1, .type = "struct root"};
	struct root *root;
	struct item *item;
	struct list *l;
	void *memory;
	int id = pCAlloc(9, sizeof(*root), &memory);

	root = memory;
	if (!id || pCSetAttr(id, &attr))
		return 1;
	root->bucket = pCalloc(COUNT, sizeof(*root->bucket));
	for (long i = 0; i < COUNT; i++) {
		struct item **bucket = &root->bucket[i * 7919 % COUNT / 2];

		item = pCalloc(1, sizeof(*item));
		*item = (struct item){i, 0, *bucket};
		*bucket = item;
	}
	root->tree = tree_grow(0, COUNT, NULL);
	root->cells = pCalloc(COUNT, sizeof(*root->cells));
	root->cells[55555].tree[1] = pCalloc(1, sizeof(struct tree));
	for (long i = 0; i < LONG; i++) {
		l = pCalloc(1, sizeof(*l));
		*l = (struct list){root->list, i};
		root->list = l;
	}
	if (pPointSync(id) != 1)
		return 1;
	root->bucket[12345]->value = 1;
	root->bucket[23456]->chain->value = 2;
	tree_find(root->tree, 54321)->value = 3;
	root->cells[55555].tree[1]->value = 4;
	l = root->list;
	for (unsigned i = 0; i < LONG - 1000; i++)
		l = l->next;
	l->value = -1;
	tree_find(root->tree, 7)->data = pCalloc(1, sizeof(struct list));
	return pPointSync(id) != 2 || pVClose();
}
