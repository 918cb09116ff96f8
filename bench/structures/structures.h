/* structures.h - Figure 5 of the published evaluation: four structures, five operations, each followed by a durable point.
 *
 * Every system is a program of its own, bench_structures_NAME:
 *
 *     FOLDER array|list|tree|hash ELEMENTS BATCH POINTS VARIANT
 *
 * It makes the structure with ELEMENTS elements in FOLDER, looks up, changes, adds and removes BATCH of them at a time, POINTS times
 * each, with a point after each batch that makes it durable (but for the lookups: they leave nothing to be kept), and starts itself anew,
 * to bring the structure back and look at all of it. The elements of a batch are drawn evenly from all of them, and come in the order of their keys.
 *
 * What a program must add to a structure to make it persistent lies between the lines "persist STRUCTURE..." and "end" in the sources, which
 * bench/run counts (Table 3).
 */
#ifndef STRUCTURES_H
#define STRUCTURES_H

#include "measure.h"

enum { VALUE_BYTES = 56 };
struct entry {
	uint64_t key;
	char value[VALUE_BYTES];
};

/* A structure of one system. The keys are 0, 1, 2, ...; those of a batch ascend. */
struct structure {
	const char *name;
	void (*batch_begin)(void); /* NULL */
	void (*add)(const struct entry *entry);
	char *(*find)(uint64_t key); /* its value, which the caller may change; it is there */
	void (*remove)(uint64_t key);
	void (*each)(void (*fn)(uint64_t key, const char *value));
};

enum change_kind { ADDED, CHANGED, REMOVED };

struct system {
	const struct structure *const *structure; /* the last one is NULL */
	/* Brings the structure back, or makes an empty one. */
	void (*open)(const char *folder, const char *name, const char *variant);
	/* What the program does to an element, which has its new value. NULL: need not be told. */
	void (*note)(enum change_kind kind, const struct entry *entry);
	void (*point)(void); /* durable on return */
	/* So far; pages that were written to by the program, NULL: are not known. */
	uint64_t (*stored_bytes)(void);
	uint64_t (*dirty_pages)(void);
	void (*close)(void);
};

int structures_main(int argc, char **argv, const struct system *s);

#endif
