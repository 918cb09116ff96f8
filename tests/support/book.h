/* book.h - a persistent structure whose every state follows from the number of steps taken, so that any restored state
 * can be checked against an independent model: chained hash table of strings, changed at random by insert, update, delete. */
#ifndef TEST_BOOK_H
#define TEST_BOOK_H

#include <stdbool.h>
#include <stdint.h>

enum { BOOK_KEYS = 500, BOOK_BUCKETS = 64 };

struct entry {
	struct entry *next;
	uint64_t key;
	char *text;
};
struct book {
	uint64_t seed, steps;
	struct entry *bucket[BOOK_BUCKETS];
	void *more; /* the test's own */
};

/* Takes one step. */
void book_step(struct book *b);
/* Whether b is what `steps` steps make; prints the first difference. */
bool book_is_right(const struct book *b);

#endif
