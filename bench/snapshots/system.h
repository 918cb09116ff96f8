/* system.h - one question to many systems: what does it cost to keep one more version of a state, or to begin one more branch of it?
 *
 * Every system is a program of its own, bench_snapshots_NAME FOLDER PAGES VARIANT. It makes a state of so many pages of 4 KiB
 * in FOLDER, answers "ready", and then each command on its standard input by a line with milliseconds:
 *
 *     v N    change 1% of the pages, keep the state as version N        -> ms
 *     b N    begin branch N, which can be written, of the present state -> ms
 *     c N    the same, and change one page of it                        -> ms of the branch, ms of both
 *     o N    look at a word in the middle of version N                  -> ms
 *     s 0    bytes that versions and branches have taken so far         -> bytes
 *
 * or by "full": there is no room for more. All that is kept is durable in the sense of fsync(2), but for what the system's title
 * says. What is not asked for (deleting copies, closing what was opened) follows outside the measured time.
 */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGE = 4096, VALUE_BYTES = 4040 }; /* a value that a store keeps in one page */

enum kind { VERSION = 'v', BRANCH = 'b' };

struct system {
	void (*make)(const char *variant);
	void (*change)(uint64_t page);       /* of the live state; not kept yet */
	bool (*keep)(enum kind, unsigned n); /* false: full */
	void (*branch_change)(unsigned n);   /* any page of branch n, which was just made; durable */
	void (*look)(unsigned n);
	void (*tidy)(void);      /* after each command; NULL: nothing to do */
	uint64_t (*space)(void); /* NULL: that of the copies, copy_settle */
};

int system_main(int argc, char **argv, const struct system *s);

/* Set by system_main: the folder, and the pages of the state. */
extern const char *system_folder;
extern uint64_t system_pages;

/* Ends the program with a message unless `ok`. */
void need(bool ok, const char *what);
/* "FOLDER/NAME"; "FOLDER/vN" or "FOLDER/bN"; each in static storage of its own. */
const char *path_of(const char *name);
const char *path_of_kept(enum kind, unsigned n);
/* Bytes that nobody can compress or share. */
void fill(void *to, size_t bytes);
uint64_t random_page(void);

/* For systems that copy all of it: the copy is made durable and counted, and of copies of its kind only it and the first are
 * left after the command. */
void copy_settle(enum kind, unsigned n);
/* The entry in the folder is durable. */
void folder_sync(void);

#endif
