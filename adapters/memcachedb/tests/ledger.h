/* ledger.h - sixteen clients change a server's cache, each with keys of its own and a ledger of what they must hold: what was acknowledged is
 * there, nothing deleted comes back, no value is torn. Of a command under way when the server ends both outcomes are right.
 */
#ifndef TEST_LEDGER_H
#define TEST_LEDGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CLIENTS = 16, KEYS = 40 };

struct value {
	enum { GONE, BYTES, COUNT } kind;
	uint64_t seed; /* of the bytes; or the count */
	size_t bytes;
};
struct change {
	unsigned key;
	struct value value;
	uint64_t begun, ended; /* by ledger_clock; UINT64_MAX: was never acknowledged */
};
struct client {
	unsigned number;
	uint64_t random;
	struct value now[KEYS], next[KEYS]; /* acknowledged; and what the command under way makes of it */
	bool is_under_way[KEYS];
	struct change *history;
	size_t changes;
	_Atomic uint64_t done;
	pthread_t thread;
	char fault[300];
};
extern struct client client[CLIENTS];
extern size_t ledger_large; /* bytes of a large value */
/* NULL, or: counts what clients begin and see acknowledged, and they keep a history. */
extern _Atomic uint64_t *ledger_clock;

void ledger_begin(uint64_t *random);
/* They work until the server ends. */
void clients_start(void);
void clients_join(void);
uint64_t ledger_done(void); /* commands acknowledged */
/* However long it takes on a busy machine. */
void ledger_await(uint64_t done);
/* The ledger becomes what it was at this time of the clock. */
void ledger_set_back(uint64_t time);
/* The server of the working directory has what the ledger says, and its own lists agree with its counters. */
void ledger_check(void);

#endif
