/* lossy.c - what softpm lint finds: memory that will not survive, or is not as it seems; for browse.sh. */
#include <softpm.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
	long cell[6];
};
struct rows {
	struct row *begin, *end;
};
struct root {
	void *on_stack;
	FILE *file;
	struct {
		char *in_libc;
	} item[2];
	struct rows rows;
	struct row *next;  /* right behind the rows */
	struct row *first; /* dropped; its end is kept */
	struct row *last;
	struct row *behind;
	unsigned long number;
	void *anything, *dangling;
	int (*call)(const char *);
	struct rows *big[3];
	struct rows whole; /* nothing lies behind */
};

int main(void)
{
	struct cattr attr = {.chunk_bytes = 4096, .versions_kept = 16, .stop_threads = 1, .type = "struct root"};
	struct root *root;
	void *memory;
	int id = pCAlloc(6, sizeof(*root), &memory);
	size_t bytes;

	root = memory;
	if (!id || pCSetAttr(id, &attr))
		return 1;
	root->on_stack = &id;
	root->file = stdout;
	root->item[1].in_libc = malloc(100);
	root->rows.begin = pCalloc(1, sizeof(struct row));
	bytes = pUsableSize(root->rows.begin);
	root->next = pCalloc(1, sizeof(struct row));
	root->first = pCalloc(1, sizeof(struct row));
	root->behind = pCalloc(1, sizeof(struct row));
	root->number = (unsigned long)pCalloc(1, 200);
	root->anything = pCalloc(1, 24);
	*(void **)root->anything = root->behind;
	root->call = puts;
	root->big[1] = pCalloc(1000, sizeof(struct rows));
	root->big[1][500].begin = pCalloc(1000, sizeof(struct row));
	root->whole.begin = pCalloc(1, 8000);
	root->whole.end = (struct row *)((char *)root->whole.begin + pUsableSize(root->whole.begin));
	root->dangling = (char *)root->whole.end + 64;
	if (pPointSync(id) != 1)
		return 1;
	root->rows.end = (struct row *)((char *)root->rows.begin + bytes);
	root->last = (struct row *)((char *)root->first + bytes);
	if (root->rows.end != root->next || root->last != root->behind)
		return puts("the objects do not lie one behind the other"), 1;
	root->next = root->first = NULL;
	return pPointSync(id) != 2 || pVClose();
}
