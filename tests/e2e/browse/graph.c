/* graph.c - a random graph of objects, for browse_graph.sh: a point is made of it, and what the program itself finds, walking it from the root, is
 * printed: "ADDRESS JSON-VALUE" for each member. GRAPH SEED NODES */
#include <softpm.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mood { CALM, KEEN = 5, WILD = -2 };
struct leaf {
	short a;
	unsigned char b;
	bool is_c;
	float d;
};
struct node {
	struct node *edge[3];
	struct node *next, *prev;
	struct leaf leaf, *leaves;
	struct node **many;
	unsigned leaf_count, many_count;
	unsigned small : 3, odd : 11;
	int negative : 6;
	enum mood mood;
	char name[24];
	char *text;
	union {
		long whole;
		int half[2];
	};
	double real;
	long plain[2][3];
	unsigned long mark; /* the walk's own; 0 in the version */
};
struct root {
	struct node *first, *other, *list;
	unsigned count;
};

static unsigned long state;

static unsigned any(unsigned below)
{
	state = state * 6364136223846793005UL + 1442695040888963407UL;
	return (unsigned)(state >> 33) % below;
}

static void text_make(char *out, size_t room)
{
	static const char letters[] = "abc \"\\\n\t<>&z";
	size_t n = any((unsigned)room);

	for (size_t i = 0; i < n; i++)
		out[i] = letters[any(sizeof(letters) - 1)];
	out[n] = 0;
}

static struct node *node_make(void)
{
	struct node *n = pCalloc(1, sizeof(*n));
	char text[300];

	n->leaf = (struct leaf){(short)any(65536), (unsigned char)any(256), any(2), (float)any(1000) / 8};
	n->small = any(8);
	n->odd = any(2048);
	n->negative = (int)any(64) - 32;
	n->mood = any(3) ? any(2) ? KEEN : WILD : CALM;
	text_make(n->name, sizeof(n->name));
	text_make(text, sizeof(text));
	n->text = any(3) ? pStrdup(text) : NULL;
	n->whole = (long)any(1 << 30);
	n->real = any(2) ? (double)any(1000) / 7 : -1e300;
	for (unsigned i = 0; i < 6; i++)
		n->plain[i / 3][i % 3] = (long)any(1000) - 500;
	n->leaf_count = any(4) ? 0 : 1 + any(40);
	n->leaves = n->leaf_count ? pCalloc(n->leaf_count, sizeof(*n->leaves)) : NULL;
	for (unsigned i = 0; i < n->leaf_count; i++)
		n->leaves[i] = (struct leaf){(short)(i + 1), 1, true, 0.5F};
	return n;
}

/* Lists run along some of the nodes, end, join others or lead round. */
static void graph_link(struct node **all, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned e = 0; e < 3; e++)
			all[i]->edge[e] = any(3) ? NULL : all[any(n)];
		all[i]->next = any(10) ? all[(i + 1) % n] : any(2) ? NULL : all[any(n)];
		all[i]->prev = any(2) ? all[any(n)] : NULL;
		all[i]->many_count = any(6) ? 0 : 3 + any(300);
		all[i]->many = all[i]->many_count ? pCalloc(all[i]->many_count, sizeof(struct node *)) : NULL;
		for (unsigned k = 0; k < all[i]->many_count; k++)
			all[i]->many[k] = all[any(n)];
	}
}

/* ---- what the program finds ---- */

static void json_print(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if (*text < ' ')
			printf("\\u%04x", (unsigned)*text);
		else
			putchar(*text);
	puts("\"");
}

static void pointer_print(const void *place, const void *to)
{
	if (to)
		printf("%p \"%p\"\n", place, to);
	else
		printf("%p null\n", place);
}

static void leaf_print(const struct leaf *l)
{
	printf("%p %d\n%p %u\n%p %s\n%p %.17g\n", (const void *)&l->a, l->a, (const void *)&l->b, l->b,
	       (const void *)&l->is_c, l->is_c ? "true" : "false", (const void *)&l->d, (double)l->d);
}

static void node_print(const struct node *n)
{
	static const char *const moods[] = {"\"WILD\"", "", "\"CALM\"", "", "", "", "", "\"KEEN\""};

	for (unsigned e = 0; e < 3; e++)
		pointer_print(&n->edge[e], n->edge[e]);
	pointer_print(&n->next, n->next);
	pointer_print(&n->prev, n->prev);
	leaf_print(&n->leaf);
	pointer_print(&n->leaves, n->leaves);
	for (unsigned i = 0; i < n->leaf_count; i++)
		leaf_print(&n->leaves[i]);
	pointer_print(&n->many, n->many);
	for (unsigned i = 0; i < n->many_count; i++)
		pointer_print(&n->many[i], n->many[i]);
	printf("%p %u\n%p %u\n", (const void *)&n->leaf_count, n->leaf_count, (const void *)&n->many_count,
	       n->many_count);
	printf("bits-%p-small %u\nbits-%p-odd %u\nbits-%p-negative %d\n", (const void *)n, n->small, (const void *)n,
	       n->odd, (const void *)n, n->negative);
	printf("%p %s\n%p ", (const void *)&n->mood, moods[n->mood + 2], (const void *)n->name);
	json_print(n->name);
	printf("%p ", (const void *)&n->text);
	if (n->text)
		json_print(n->text);
	else
		puts("null");
	printf("%p %ld\n%p %.17g\n", (const void *)&n->whole, n->whole, (const void *)&n->real, n->real);
	for (unsigned i = 0; i < 6; i++)
		printf("%p %ld\n", (const void *)&n->plain[i / 3][i % 3], n->plain[i / 3][i % 3]);
}

static void nodes_walk(struct node *first)
{
	struct node **stack = malloc(1 << 20);
	size_t n = 0;

	for (stack[n++] = first; n;) {
		struct node *node = stack[--n];

		if (!node || node->mark)
			continue;
		node->mark = 1;
		node_print(node);
		stack[n++] = node->next;
		stack[n++] = node->prev;
		for (unsigned e = 0; e < 3; e++)
			stack[n++] = node->edge[e];
		for (unsigned i = 0; i < node->many_count; i++)
			stack[n++] = node->many[i];
	}
	free(stack);
}

int main(int argc, char **argv)
{
	unsigned n = argc > 2 ? (unsigned)atoi(argv[2]) : 100;
	struct node **all = calloc(n, sizeof(*all));
	void *memory;
	int id = pCAlloc(3, sizeof(struct root), &memory);
	struct root *root = memory;
#ifdef TYPED
	struct cattr attr = {.chunk_bytes = 4096, .stop_threads = 1, .type = "struct root"};

	if (!id || pCSetAttr(id, &attr))
		return fprintf(stderr, "graph: %s\n", pErrorMsg()), 1;
#endif
	state = argc > 1 ? strtoul(argv[1], NULL, 0) : 1;
	for (unsigned i = 0; i < n; i++)
		all[i] = node_make();
	graph_link(all, n);
	*root = (struct root){all[0], all[n / 2], all[n / 3], n};
	if (!pPointSync(id))
		return fprintf(stderr, "graph: %s\n", pErrorMsg()), 1;
	nodes_walk(root->first);
	nodes_walk(root->other);
	nodes_walk(root->list);
	pointer_print(&root->first, root->first);
	pointer_print(&root->other, root->other);
	pointer_print(&root->list, root->list);
	printf("%p %u\n", (const void *)&root->count, root->count);
	free(all);
	return pVClose() ? 1 : 0;
}
