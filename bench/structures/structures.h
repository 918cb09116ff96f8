/* structures.h - Figures 5 and 10 to 12 of the published evaluation: four structures, five operations, each followed by a durable point.
 *
 * Every system is a program of its own, bench_structures_NAME:
 *
 *     FOLDER VARIANT array|list|tree|hash elements=N batch=N points=N [NAME=VALUE...]
 *
 * It makes the structure with so many elements in FOLDER, looks up, changes, adds and removes a batch of them at a time, `points` times
 * each, with a point after each batch that makes it durable (but for the lookups: they leave nothing to be kept), and starts itself anew,
 * to bring the structure back and look at all of it. The elements of a batch are drawn evenly from all of them; in arrays and lists they come one behind
 * another.
 *
 *     locality=P    elements are only changed; each is, with probability P, the one behind that changed before, else any
 *     chunk=BYTES   SoftPM's unit of writing
 *     processes=N   so many processes at once, each with a structure of its own, which it makes and changes
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

/* A structure of one system. Keys are 0, 1, 2, ..., and those of a batch ascend; of a map they are any numbers, in any order. */
struct structure {
	const char *name;
	bool is_map;
	void (*batch_begin)(void); /* NULL */
	void (*add)(const struct entry *entry);
	char *(*find)(uint64_t key); /* its value, which the caller may change; it is there */
	void (*remove)(uint64_t key);
	void (*each)(void (*fn)(uint64_t key, const char *value));
};

enum change_kind { ADDED, CHANGED, REMOVED };

struct setting {
	const char *folder, *variant, *structure;
	uint64_t elements, batch, points;
	double locality;                          /* -1: not asked for */
	uint64_t chunk_bytes, processes, process; /* chunk_bytes 0: as it is; process: the number of this one */
	uint64_t began_ns, expected;              /* of the process that starts anew */
};

struct system {
	const struct structure *const *structure; /* the last one is NULL */
	/* Brings the structure back, or makes an empty one. */
	void (*open)(const struct setting *setting);
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
