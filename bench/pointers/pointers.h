/* pointers.h - Figure 13 of the published evaluation: what part of the data is pointers.
 *
 * Every system is a program of its own, bench_pointers_NAME FOLDER NODES POINTERS. It makes a list of nodes of eight words, of which so many (1
 * to 8) are pointers: the first one to the next node, the others to any; the rest is data. Each of the following ends with a durable
 * point: all is made; one node in a hundred is changed, five times; all are changed. Then the program starts itself anew,
 * brings the list back, and looks at all of it. A change gives a new value to a node's last word.
 */
#ifndef POINTERS_H
#define POINTERS_H

#include "measure.h"

enum { WORDS = 8, POINTS = 5 };

struct node {
	union {
		struct node *link;
		uint64_t data;
	} word[WORDS];
};

/* Set by pointers_main. */
extern uint64_t nodes;
extern unsigned pointers; /* of a node */

struct system {
	/* Returns the first node of the list that is there, or NULL. */
	struct node *(*open)(const char *folder);
	struct node *(*make)(void); /* room for a node */
	void (*point)(struct node *first);
	void (*close)(void);
};

int pointers_main(int argc, char **argv, const struct system *s);

#endif
