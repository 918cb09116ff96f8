/* entries.h - pages and where they are, as bytes: what a record changes, what a map image lists.
 *
 *   run | page's live slots, sum | page's live slots, sum | ...      run | ...
 *
 * Neighbours in memory that are neighbours on the disk and were written together share one description and add a checksum each (8
 * bytes instead of 152); a span's first page adds the span's live slots. docs/format.md tells each field.
 */
#ifndef SPM_ENTRIES_H
#define SPM_ENTRIES_H

#include "volume/format.h"
#include "volume/source.h"

struct record_entry {
	uint64_t page;
	/* is.birth 0: removed; was.birth 0: it was not there, or nobody asks (map image). `was` has no granules; the patch of `is` is
	 * told if it is another one. */
	struct place is, was;
};

/* Begins all zero but for `to`. */
struct entry_writer {
	unsigned char *to; /* NULL: counts only */
	size_t bytes;
	size_t run_at; /* of the run that may go on */
	struct record_entry last;
	uint32_t run_pages;
};
/* Appends one page; at most ENTRY_BYTES_MOST, and its patch. Of a page that is not its span's first no live slots are kept. */
enum { ENTRY_BYTES_MOST = 160 };
void spm_entry_put(struct entry_writer *w, const struct record_entry *e);

struct entry_cursor {
	const unsigned char *at, *end;
	uint32_t left; /* pages of the run that are still to come */
	bool is_broken;
	struct record_entry entry;
};
/* The next page in c->entry. False: the end, or, with is_broken, what is there makes no sense. */
bool spm_entry_next(struct entry_cursor *c);
/* If what comes next is a run of pages without `was`: the whole of it at once, its bytes where they are. False: nothing was
 * taken, spm_entry_next tells more. */
bool spm_entry_run(struct entry_cursor *c, struct source_run *out);

#endif
