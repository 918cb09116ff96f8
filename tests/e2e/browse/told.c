/* told.c - memory whose types don't say what it is, and a program that tells; for browse.sh. */
#include <softpm.h>

#include <stdlib.h>
#include <string.h>

enum { COUNT = 3 };
enum kind { NOTHING, NUMBER, TEXT, ITEM };
struct item {
	int key;
	void *data;
};
struct detail {
	char name[20];
	double price;
};
struct value {
	enum kind kind : 4;
	union {
		long number;
		char *text;
		struct item *item;
	} u;
};
struct base {
	int kind;
};
struct derived {
	struct base base;
	short width, height;
	long more[2];
};
struct root {
	struct item *items;
	void **table;
	struct value value[5];
	char *bytes;
	struct base *base;
	void *unknown;
	struct {
		unsigned char is_real;
		union {
			double real;
			long whole;
		};
	} number;
	struct {
		void *data;
	} slot[2];
} * root;

static struct detail *detail_new(const char *name, double price)
{
	struct detail *d = pCalloc(1, sizeof(*d));

	strcpy(d->name, name);
	d->price = price;
	return d;
}

static int all_tell(int id)
{
	static const struct pcase values[] = {{NOTHING, NULL}, {NUMBER, "number"}, {TEXT, "text"}, {ITEM, "item"}},
	                          numbers[] = {{0, "whole"}, {1, "real"}};

	for (int i = 0; i < COUNT; i++)
		if (pCSetType(id, root->items[i].data, "struct detail"))
			return 1;
	return pCSetType(id, root->bytes, "struct derived") || pCSetType(id, root->base, "struct derived") ||
	       pCSetFieldType(id, "struct root.table", "struct detail") ||
	       pCSetFieldType(id, "struct root.slot.data", "struct item") ||
	       pCSetUnion(id, "struct value.u", "kind", values, 4) ||
	       pCSetUnion(id, "struct root.number.", "number.is_real", numbers, 2);
}

int main(void)
{
	struct cattr attr = {.chunk_bytes = 4096, .versions_kept = 16, .stop_threads = 1, .type = "struct root"};
	struct derived *d;
	void *memory;
	int id = pCAlloc(5, sizeof(*root), &memory);

	root = memory;
	if (!id || pCSetAttr(id, &attr))
		return 1;
	root->items = pCalloc(COUNT, sizeof(*root->items));
	for (int i = 0; i < COUNT; i++)
		root->items[i] = (struct item){i, detail_new(i ? "chair" : "table", i * 2.5)};
	root->table = pCalloc(2, sizeof(*root->table));
	root->table[1] = detail_new("bench", 12);
	root->value[1] = (struct value){NUMBER, {.number = 42}};
	root->value[2] = (struct value){TEXT, {.text = pStrdup("some text")}};
	root->value[3] = (struct value){ITEM, {.item = root->items}};
	root->value[4].kind = 7;
	d = pCalloc(1, sizeof(*d));
	*d = (struct derived){{1}, 20, 30, {0}};
	root->base = &d->base;
	d = pCalloc(1, sizeof(*d));
	*d = (struct derived){{2}, 40, 50, {0}};
	root->bytes = (char *)d;
	root->unknown = detail_new("nobody told", 1);
	root->number.is_real = 1;
	root->number.real = 0.5;
	root->slot[1].data = pCalloc(1, sizeof(struct item));
	if (all_tell(id) || pPointSync(id) != 1)
		return 1;
	strcpy(((struct detail *)root->items[1].data)->name, "stool");
	root->value[1] = (struct value){TEXT, {.text = pStrdup("a number")}};
	root->value[2].u.text[0] = 'S';
	root->number.real = 0.75;
	((struct detail *)root->table[1])->price = 13;
	d->height = 51;
	if (pPointSync(id) != 2)
		return 1;
	pFree(root->items[2].data);
	root->items[2].data = NULL;
	root->value[3].kind = NOTHING;
	root->slot[0].data = pCalloc(1, sizeof(struct item));
	root->unknown = detail_new("a new one", 2);
	return pCSetType(id, root->unknown, "struct detail") || pPointSync(id) != 3 || pVClose();
}
