/* plain.h - the structures as C programs have them: an array, and the BSD macros' list, red-black tree and (on lists) hash table. Compiled
 * WITH_SOFTPM they lie in SoftPM's memory, else in malloc's: nothing else differs. */
#ifndef PLAIN_H
#define PLAIN_H

#include "structures.h"

#include <bsd/sys/tree.h>
#include <sys/queue.h>

struct element {
	struct entry entry;
	union {
		TAILQ_ENTRY(element) list;
		LIST_ENTRY(element) bucket;
		RB_ENTRY(element) tree;
	} link;
};
TAILQ_HEAD(list, element);
RB_HEAD(tree, element);
LIST_HEAD(bucket, element);
int element_order(struct element *a, struct element *b);
RB_PROTOTYPE(tree, element, link.tree, element_order)

struct plain {
	/* Element i is that with key i; of one that was removed the key is ABSENT. */
	struct {
		struct entry *entry;
		uint64_t n, capacity;
	} array;
	struct list list;
	struct tree tree;
	struct {
		struct bucket *bucket;
		uint64_t n, buckets;
	} hash;
};
#define ABSENT UINT64_MAX

/* The structures that the functions below work on: the program's root. */
extern struct plain *plain;

/* What of an empty root is not zero. */
void plain_init(void);
extern const struct structure plain_array, plain_list, plain_tree, plain_hash;

#endif
