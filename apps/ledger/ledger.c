/* ledger.c - see ledger.h. */
#include "ledger.h"

#include <softpm.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MOST = 40, LINE_MOST = 200 };
static const int64_t cents_most = INT64_C(1000000000000);
static const char no_memory[] = "no memory";

/* FNV-1a */
static uint64_t digest_add(uint64_t digest, const void *bytes, size_t n)
{
	for (const unsigned char *at = bytes; n; n--)
		digest = (digest ^ *at++) * UINT64_C(0x100000001b3);
	return digest;
}

static size_t place_of(const struct ledger *l, const char *name)
{
	return digest_add(UINT64_C(0xcbf29ce484222325), name, strlen(name)) & (l->buckets - 1);
}

static struct account *find(const struct ledger *l, const char *name)
{
	struct account *a = l->buckets ? l->bucket[place_of(l, name)] : NULL;

	while (a && strcmp(a->name, name))
		a = a->next;
	return a;
}

const struct account *ledger_find(const struct ledger *l, const char *name)
{
	return find(l, name);
}

static int table_grow(struct ledger *l)
{
	struct ledger larger = {.buckets = l->buckets ? l->buckets * 2 : 64};

	larger.bucket = pCalloc(larger.buckets, sizeof(*larger.bucket));
	if (!larger.bucket)
		return -1;
	for (size_t i = 0; i < l->buckets; i++)
		for (struct account *a = l->bucket[i], *next; a; a = next) {
			struct account **to = &larger.bucket[place_of(&larger, a->name)];

			next = a->next;
			a->next = *to;
			*to = a;
		}
	pFree(l->bucket);
	l->bucket = larger.bucket;
	l->buckets = larger.buckets;
	return 0;
}

static const char *account_open(struct ledger *l, const char *name)
{
	struct account *a, **to;

	if (find(l, name))
		return "there is such an account";
	if (l->accounts >= l->buckets && table_grow(l))
		return no_memory;
	a = pMalloc(sizeof(*a));
	if (!a || !(a->name = pStrdup(name)))
		return no_memory;
	to = &l->bucket[place_of(l, name)];
	a->next = *to;
	*to = a;
	l->accounts++;
	return "ok";
}

static const char *entry_add(struct ledger *l, struct account *a, struct account *other, int64_t cents)
{
	struct entry *e = pMalloc(sizeof(*e));

	if (!e)
		return no_memory;
	*e = (struct entry){a->newest, other, l->commands, cents};
	a->newest = e;
	a->cents += cents;
	l->cents += cents;
	return "ok";
}

/* Money from one account to the other; NULL is cash. */
static const char *move(struct ledger *l, struct account *from, struct account *to, int64_t cents)
{
	const char *result = "ok";

	if (from && from->cents < cents)
		return "not enough money";
	if (to && to->cents > cents_most)
		return "too much money";
	if (from)
		result = entry_add(l, from, to, -cents);
	return to && !strcmp(result, "ok") ? entry_add(l, to, from, cents) : result;
}

struct command {
	char verb[12], name[NAME_MOST + 1], other[NAME_MOST + 1];
	int64_t cents;
};

static int command_parse(const char *line, size_t n, struct command *c)
{
	char text[LINE_MOST + 1];
	int end = 0;

	*c = (struct command){.cents = 0};
	if (n > LINE_MOST || memchr(line, 0, n))
		return -1;
	memcpy(text, line, n);
	text[n] = 0;
	if (sscanf(text, " %11[a-z] %40[a-zA-Z0-9_] %n", c->verb, c->name, &end) < 2)
		return -1;
	if (!strcmp(c->verb, "transfer")) {
		int more = 0;

		if (sscanf(text + end, "%40[a-zA-Z0-9_] %n", c->other, &more) < 1)
			return -1;
		end += more;
	}
	if (strcmp(c->verb, "open")) {
		int more = 0;

		if (sscanf(text + end, "%13" SCNd64 " %n", &c->cents, &more) < 1 || c->cents <= 0)
			return -1;
		end += more;
	}
	return text[end] ? -1 : 0;
}

static const char *command_do(struct ledger *l, const struct command *c)
{
	struct account *a = find(l, c->name), *other = find(l, c->other);

	if (!strcmp(c->verb, "open"))
		return account_open(l, c->name);
	if (!a)
		return "no such account";
	if (!strcmp(c->verb, "deposit"))
		return move(l, NULL, a, c->cents);
	if (!strcmp(c->verb, "withdraw"))
		return move(l, a, NULL, c->cents);
	if (strcmp(c->verb, "transfer"))
		return "no such command";
	return other ? move(l, a, other, c->cents) : "no such account to transfer to";
}

const char *ledger_apply(struct ledger *l, const char *line, size_t n)
{
	struct command c;
	const char *result;

	l->commands++;
	result = command_parse(line, n, &c) ? "what does that mean?" : command_do(l, &c);
	l->refused += strcmp(result, "ok") != 0;
	l->digest = digest_add(digest_add(l->digest, line, n), result, strlen(result));
	return result == no_memory ? NULL : result;
}

/* ---- telling ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct account *const *)a)->name, (*(struct account *const *)b)->name);
}

static uint64_t entries_digest(const struct account *a, uint64_t *n)
{
	uint64_t digest = 0;

	*n = 0;
	for (const struct entry *e = a->newest; e; e = e->next, ++*n) {
		digest = digest_add(digest, &e->command, sizeof(e->command));
		digest = digest_add(digest, &e->cents, sizeof(e->cents));
		digest = digest_add(digest, e->other ? e->other->name : "", e->other ? strlen(e->other->name) : 0);
	}
	return digest;
}

int ledger_dump(const struct ledger *l, FILE *to)
{
	struct account **sorted = malloc((l->accounts + 1) * sizeof(struct account *));
	size_t n = 0;

	if (!sorted)
		return -1;
	for (size_t i = 0; i < l->buckets; i++)
		for (struct account *a = l->bucket[i]; a; a = a->next)
			sorted[n++] = a;
	if (n)
		qsort(sorted, n, sizeof(struct account *), by_name);
	for (size_t i = 0; i < n; i++) {
		uint64_t entries, digest = entries_digest(sorted[i], &entries);

		fprintf(to, "%s %" PRId64 ", %" PRIu64 " entries %016" PRIx64 "\n", sorted[i]->name, sorted[i]->cents,
		        entries, digest);
	}
	fprintf(to,
	        "%zu accounts with %" PRId64 "; %" PRIu64 " commands, %" PRIu64 " of them refused; digest %016" PRIx64
	        "\n",
	        l->accounts, l->cents, l->commands, l->refused, l->digest);
	free(sorted);
	return 0;
}

/* ---- making up ---- */

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

void ledger_make_up(uint64_t n, uint64_t seed, FILE *to)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t r = random_next(&seed), who = r >> 8 & 1023, other = r >> 18 & 1023, cents = r >> 32 & 65535;

		if (r % 16 < 3)
			fprintf(to, "open a%" PRIu64 "\n", who);
		else if (r % 16 < 8)
			fprintf(to, "deposit a%" PRIu64 " %" PRIu64 "\n", who, cents);
		else if (r % 16 < 10)
			fprintf(to, "withdraw a%" PRIu64 " %" PRIu64 "\n", who, cents);
		else
			fprintf(to, "transfer a%" PRIu64 " a%" PRIu64 " %" PRIu64 "\n", who, other, cents);
	}
}
