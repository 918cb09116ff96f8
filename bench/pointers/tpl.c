/* tpl.c - TPL: a point packs all nodes in their order and dumps them to a second file that then takes the first one's name. A pointer is
 * packed as the number of the node that it leads to, which each node has beside its words; that to the next node follows from the order. */
#include "pointers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <tpl.h>
#include <unistd.h>

struct numbered {
	struct node node;
	uint64_t number;
};

static int folder_fd;
static uint64_t word[WORDS - 1]; /* what is packed of a node: all but the first link */

static tpl_node *image_map(void)
{
	tpl_node *image = tpl_map((char *)(uintptr_t) "A(U#)", word, WORDS - 1);

	need(image != NULL, "tpl_map");
	return image;
}

static uint64_t number_of(const struct node *node)
{
	return ((const struct numbered *)(const void *)node)->number;
}

static void node_pack(tpl_node *image, const struct node *node)
{
	for (unsigned k = 1; k < WORDS; k++)
		word[k - 1] = k < pointers ? number_of(node->word[k].link) : node->word[k].data;
	need(tpl_pack(image, 1) >= 0, "packing a node");
}

static void list_number(struct node *first)
{
	uint64_t number = 0;

	for (struct node *n = first; n; n = n->word[0].link)
		((struct numbered *)(void *)n)->number = number++;
}

static void tpl_point(struct node *first)
{
	tpl_node *image = image_map();
	int fd = openat(folder_fd, "fresh.tpl", O_CREAT | O_TRUNC | O_WRONLY, 0600);

	list_number(first);
	for (struct node *n = first; n; n = n->word[0].link)
		node_pack(image, n);
	need(fd >= 0 && !tpl_dump(image, TPL_FD, fd) && !fsync(fd) && !close(fd), "dumping to fresh.tpl");
	tpl_free(image);
	need(!renameat(folder_fd, "fresh.tpl", folder_fd, "data.tpl") && !fsync(folder_fd), "rename or fsync");
}

static struct node *tpl_make(void)
{
	return malloc(sizeof(struct numbered));
}

/* Nodes that have numbers where links belong. */
static struct node **nodes_unpack(tpl_node *image, uint64_t *n)
{
	struct node **node = calloc(nodes, sizeof(*node));

	need(node != NULL, "calloc");
	for (*n = 0; *n < nodes && tpl_unpack(image, 1) > 0; ++*n) {
		node[*n] = tpl_make();
		need(node[*n] != NULL, "malloc");
		for (unsigned k = 1; k < WORDS; k++)
			node[*n]->word[k].data = word[k - 1];
	}
	return node;
}

static struct node *list_load(tpl_node *image)
{
	uint64_t n;
	struct node **node = nodes_unpack(image, &n), *first = n ? node[0] : NULL;

	for (uint64_t i = 0; i < n; i++) {
		node[i]->word[0].link = i + 1 < n ? node[i + 1] : NULL;
		for (unsigned k = 1; k < pointers; k++) {
			need(node[i]->word[k].data < n, "a link");
			node[i]->word[k].link = node[node[i]->word[k].data];
		}
	}
	free(node);
	return first;
}

static struct node *tpl_open(const char *folder)
{
	struct node *first;
	tpl_node *image;
	int fd;

	folder_fd = open(folder, O_RDONLY | O_DIRECTORY);
	need(folder_fd >= 0, "opening the folder");
	fd = openat(folder_fd, "data.tpl", O_RDONLY);
	if (fd < 0)
		return NULL;
	image = image_map();
	need(!tpl_load(image, TPL_FD, fd), "loading data.tpl");
	first = list_load(image);
	tpl_free(image);
	close(fd);
	return first;
}

static void tpl_close(void)
{
	close(folder_fd);
}

int main(int argc, char **argv)
{
	return pointers_main(argc, argv, &(struct system){tpl_open, tpl_make, tpl_point, tpl_close});
}
