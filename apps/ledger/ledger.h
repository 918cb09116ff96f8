/* ledger.h - a bank's ledger as plain C structures; its state follows from the commands that were applied, and from nothing else.
 *
 *   struct ledger (the root)
 *     bucket[]  -> struct account -> struct account ...          hash table by name
 *                    newest -> struct entry -> struct entry ...   what changed its balance, the newest first; each names the other side
 *
 * Commands are lines:  open NAME   deposit NAME CENTS   withdraw NAME CENTS   transfer FROM TO CENTS
 *
 * So applying must not look at a clock, at random numbers, or at where things lie in memory.
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct entry {
	struct entry *next;
	struct account *other; /* NULL: cash */
	uint64_t command;      /* its number */
	int64_t cents;
};
struct account {
	struct account *next;
	char *name;
	int64_t cents;
	struct entry *newest;
};
struct ledger {
	struct account **bucket;
	size_t buckets, accounts;
	uint64_t commands, refused;
	int64_t cents;   /* of all accounts */
	uint64_t digest; /* of all commands and what came of each, in order */
};

/* One command, n bytes without the newline. Returns "ok", or why nothing was changed; NULL: no memory. */
const char *ledger_apply(struct ledger *l, const char *line, size_t n);
/* NULL: there is none. */
const struct account *ledger_find(const struct ledger *l, const char *name);
/* All there is, accounts by name. 0, or -1: no memory. */
int ledger_dump(const struct ledger *l, FILE *to);
/* n commands of a small world, always the same for a seed; some will be refused. */
void ledger_make_up(uint64_t n, uint64_t seed, FILE *to);

#endif
