/* things.h - a small persistent structure full of pointers, and a table that says what must be in it: so any version can be
 * compared, by whatever process, at whatever address.
 *
 *   root -> item[0..THINGS-1]     each of a kind: small, with data from pMallocNoPtr, of several pages full of pointers, or with a
 *        -> first -> next ...     pointer that is excluded. All in a list, and each with a pointer into its peer
 */
#ifndef TEST_THINGS_H
#define TEST_THINGS_H

#include <stdbool.h>
#include <stdint.h>

enum { THINGS = 16 };
enum thing_kind { THING_NONE, THING_SMALL, THING_DATA, THING_LARGE, THING_EXCLUDING, THING_KINDS };

struct thing {
	uint8_t kind, peer; /* peer THINGS: NULL */
	uint32_t value;     /* sizes and bytes follow from it */
};
struct content {
	struct thing thing[THINGS];
};

struct item;
struct things {
	struct item *item[THINGS], *first;
};

/* Changes some things at random, in the table and in memory: the table is as before if memory is. 0, or -1: SoftPM failed. */
int things_change(int id, struct things *root, struct content *content, uint64_t *random);
/* Whether memory holds what the table says, each pointer within the structure; prints the first difference. `is_restored`: no point of
 * the program's own has been since, so what was excluded is NULL. */
bool things_are(const struct things *root, const struct content *content, bool is_restored);

#endif
