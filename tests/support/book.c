/* book.c - see book.h. */
#include "book.h"
#include "scratch.h"
#include "softpm.h"

#include <stdio.h>
#include <string.h>

struct step {
	uint64_t key;
	unsigned length; /* of the text; 0: delete */
	char letter;
};

static struct step step_of(uint64_t seed, uint64_t n)
{
	uint64_t state = seed + n * 7919;
	uint64_t r = test_random(&state);

	return (struct step){
	        .key = r % BOOK_KEYS,
	        .length = r >> 60 < 3 ? 0 : (unsigned)(1 + (r >> 20) % (r >> 50 & 15 ? 200 : 9000)),
	        .letter = (char)('a' + (r >> 40) % 26),
	};
}

static void entry_put(struct book *b, struct step s)
{
	struct entry **at = &b->bucket[s.key % BOOK_BUCKETS];

	while (*at && (*at)->key != s.key)
		at = &(*at)->next;
	if (!*at) {
		*at = pMalloc(sizeof(**at));
		(*at)->key = s.key;
	}
	pFree((*at)->text);
	(*at)->text = s.length > 100 ? pMallocNoPtr(s.length + 1) : pMalloc(s.length + 1);
	memset((*at)->text, s.letter, s.length);
}

static void entry_delete(struct book *b, uint64_t key)
{
	struct entry **at = &b->bucket[key % BOOK_BUCKETS], *gone;

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	gone = *at;
	if (!gone)
		return;
	*at = gone->next;
	pFree(gone->text);
	pFree(gone);
}

void book_step(struct book *b)
{
	struct step s = step_of(b->seed, b->steps);

	if (s.length)
		entry_put(b, s);
	else
		entry_delete(b, s.key);
	b->steps++;
}

static bool entry_is_right(const struct entry *e, struct step s)
{
	if (strlen(e->text) != s.length)
		return false;
	for (unsigned i = 0; i < s.length; i++)
		if (e->text[i] != s.letter)
			return false;
	return true;
}

bool book_is_right(const struct book *b)
{
	struct step model[BOOK_KEYS] = {{0}};
	unsigned expected = 0, found = 0;

	for (uint64_t n = 0; n < b->steps; n++) {
		struct step s = step_of(b->seed, n);

		model[s.key] = s;
	}
	for (unsigned k = 0; k < BOOK_KEYS; k++)
		expected += model[k].length > 0;
	for (unsigned i = 0; i < BOOK_BUCKETS; i++)
		for (const struct entry *e = b->bucket[i]; e; e = e->next, found++)
			if (e->key >= BOOK_KEYS || e->key % BOOK_BUCKETS != i || !entry_is_right(e, model[e->key])) {
				fprintf(stderr, "after %llu steps the entry of key %llu is wrong\n",
				        (unsigned long long)b->steps, (unsigned long long)e->key);
				return false;
			}
	if (found != expected)
		fprintf(stderr, "after %llu steps: expected %u entries, found %u\n", (unsigned long long)b->steps,
		        expected, found);
	return found == expected;
}
