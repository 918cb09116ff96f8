/* pool.c - objects that have many others in them: an array that is pointed into all over, and a list whose elements come from a pool. Each must be
 * told once, and in time that grows with them; for browse.sh. */
#include <softpm.h>

#include <stdlib.h>

enum { COUNT = 20000 };

struct element {
	int number;
	double real;
	void *inside;
};
struct link {
	struct link *next;
	int number;
};
struct root {
	struct element **index;
	struct link *list;
	struct element *all;
	struct link *round;
};

int main(void)
{
	struct cattr attr = {.chunk_bytes = 4096, .versions_kept = 16, .stop_threads = 1, .type = "struct root"};
	void *memory;
	int id = pCAlloc(8, sizeof(struct root), &memory);
	struct root *root = memory;
	struct element *all;
	struct link *pool;

	if (!id || pCSetAttr(id, &attr))
		return 1;
	root->index = pCalloc(COUNT, sizeof(struct element *));
	root->all = all = pCalloc(COUNT, sizeof(*all));
	root->list = pool = pCalloc(COUNT, sizeof(*pool));
	for (int i = 0; i < COUNT; i++) {
		root->index[i] = &all[(i * 7919 + 13) % COUNT];
		all[i] = (struct element){i, i / 4.0, &all[(i * 31) % COUNT].real};
		pool[i] = (struct link){i + 1 < COUNT ? &pool[i + 1] : NULL, i};
	}
	root->round = pCalloc(3, sizeof(*pool));
	for (int i = 0; i < 3; i++)
		root->round[i] = (struct link){&root->round[(i + 1) % 3], i};
	if (!pPointSync(id))
		return 1;
	all[4711].number = -1;
	pool[4712].number = -2;
	return pPointSync(id) && !pVClose() ? 0 : 1;
}
