/* import.h - what import.c (versions, branches, names) and import_items.c (what the stream says, page by page) know of each other. */
#ifndef SPM_IMPORT_H
#define SPM_IMPORT_H

#include "refs.h"
#include "transfer.h"

enum { IMPORT_BATCH_PAGES = 1024 };

/* The branch that versions go to. */
struct import_target {
	char name[SPM_NAME_BYTES];
	struct chain *chain;        /* NULL: there is none of that name yet */
	struct version_info newest; /* version 0: none */
	uint64_t state;             /* of that */
	bool has_log;               /* of inputs that were recorded here */
	uint64_t missing; /* a version of the stream that is not there any more: later ones must be; 0: none */
};

struct import_item {
	uint64_t kind;
	union {
		struct item_head head;
		struct item_version version;
		struct item_page page;
		struct item_name name;
		uint64_t number; /* page, state or count */
	} is;
};

struct import {
	struct volume *volume;
	const struct pimport *how;
	struct stream_in in;
	int magic;
	struct item_head head;
	bool is_new; /* the container: made by this import */
	struct import_target to;
	struct item_version version; /* that is being told */
	struct import_item item;     /* that was read and not taken yet */
	bool has_item;
	uint64_t next_page; /* of the version: lower ones were told, or are not told of */
	uint64_t state;     /* of what was told of the version so far */
	struct change_source source;
	struct page_change *change;
	unsigned char *pages;
	size_t batch;
	uint64_t taken;     /* changes of the version so far */
	int error, stopped; /* errno of what went wrong while a commit asked for changes; what fn returned */
	uint64_t told;      /* versions in the stream */
	struct ptransfer t;
	char branch[SPM_NAME_BYTES]; /* of t */
};

/* All of these return 0, or -1 and the error is set, or what fn returned. */

int spm_import_tell(struct import *m);
/* "the stream ...", with in.why; and where in it. Returns -1. */
int spm_import_fail(struct import *m, int err);
int spm_import_malformed(struct import *m, const char *what);
/* The next item in m->item, until m->has_item is cleared. */
int spm_import_look(struct import *m);
/* A source of changes: the pages of m->version, whose state must come out right. */
int spm_import_changes(struct change_source *source, struct page_change **changes, size_t *n);
/* Passes over the version's pages, whose frames were checked, to its end: the state that it is told to have. */
int spm_import_skip(struct import *m, uint64_t *state);

#endif
