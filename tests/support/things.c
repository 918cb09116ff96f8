/* things.c - see things.h. */
#include "things.h"
#include "scratch.h"
#include "softpm.h"

#include <stdio.h>
#include <string.h>

enum { DATA_MOST = 9000, LARGE_LEAST = 500, LARGE_MOST = 2500, PEERS_EACH = 100 };

struct item {
	struct item *next;
	uint64_t *peer, *left_out, *data; /* peer: into the midst of it */
	uint64_t value;
	uint64_t word[];
};

/* What it is made of. */
static size_t words_of(const struct thing *t)
{
	return t->kind == THING_LARGE ? LARGE_LEAST + t->value % LARGE_MOST : 1 + t->value % 20;
}

static size_t data_of(const struct thing *t)
{
	if (t->kind != THING_DATA)
		return 0;
	if (t->value % 8)
		return 1 + t->value % (DATA_MOST / 8);
	return 1 + t->value / 8 % 2; /* a span of these is one page */
}

/* Every so many words of a large one there is a pointer to its peer. */
static bool is_pointer(const struct thing *t, size_t word)
{
	return t->kind == THING_LARGE && word % PEERS_EACH == 7;
}

static uint64_t word_of(const struct thing *t, size_t word)
{
	return (uint64_t)t->value * 31 + word;
}

/* Like addresses in the heap: nobody may touch them. */
static uint64_t datum_of(const struct thing *t, size_t word)
{
	return UINT64_C(0x6a8100000000) + ((uint64_t)t->value * 4096 + word * 8);
}

/* ---- changing ---- */

static void item_fill(struct item *i, const struct thing *t)
{
	i->value = t->value;
	for (size_t w = 0; w < words_of(t); w++)
		if (!is_pointer(t, w))
			i->word[w] = word_of(t, w);
	for (size_t w = 0; w < data_of(t); w++)
		i->data[w] = datum_of(t, w);
}

static int item_make(int id, struct things *root, unsigned n, const struct thing *t)
{
	struct item *i = pMalloc(sizeof(*i) + words_of(t) * 8);

	if (!i)
		return -1;
	root->item[n] = i;
	if (data_of(t) && !(i->data = pMallocNoPtr(data_of(t) * 8)))
		return -1;
	item_fill(i, t);
	if (t->kind != THING_EXCLUDING)
		return 0;
	i->left_out = &i->value;
	return pExclude(id, &i->left_out);
}

static void item_free(struct things *root, unsigned n)
{
	if (root->item[n])
		pFree(root->item[n]->data);
	pFree(root->item[n]);
	root->item[n] = NULL;
}

/* Stores nothing where nothing changes. */
static void point_to(uint64_t **place, uint64_t *target)
{
	if (*place != target)
		*place = target;
}

static uint64_t *peer_of(const struct things *root, const struct thing *t)
{
	struct item *peer = t->peer < THINGS ? root->item[t->peer] : NULL;

	return peer ? &peer->value : NULL;
}

static void wire(struct things *root, struct content *content)
{
	struct item **link = &root->first;

	for (unsigned n = 0; n < THINGS; n++) {
		struct thing *t = &content->thing[n];
		struct item *i = root->item[n];

		if (!i)
			continue;
		if (!peer_of(root, t))
			t->peer = THINGS;
		point_to((uint64_t **)link, (uint64_t *)i);
		link = &i->next;
		point_to(&i->peer, peer_of(root, t));
		for (size_t w = 0; w < words_of(t); w++)
			if (is_pointer(t, w))
				point_to((uint64_t **)&i->word[w], peer_of(root, t));
	}
	point_to((uint64_t **)link, NULL);
}

/* Large ones seldom. */
static struct thing thing_random(uint64_t *random)
{
	uint64_t r = test_random(random);
	struct thing t = {.peer = (uint8_t)(r % THINGS), .value = (uint32_t)(r >> 32)};

	t.kind = (uint8_t)((r >> 8) % THING_KINDS);
	if (t.kind >= THING_LARGE && (r >> 16) % 3)
		t.kind = THING_SMALL;
	return t;
}

static int thing_change(int id, struct things *root, struct content *content, unsigned n, uint64_t *random)
{
	struct thing was = content->thing[n], now = thing_random(random);

	if (was.kind && test_random(random) % 2) { /* in its place, of the same size */
		now.kind = was.kind;
		now.value = was.value + 20 * (DATA_MOST / 8) * LARGE_MOST * (1 + now.value % 9);
	}
	content->thing[n] = now.kind ? now : (struct thing){.kind = THING_NONE};
	if (words_of(&was) == words_of(&now) && data_of(&was) == data_of(&now) && was.kind == now.kind && now.kind) {
		item_fill(root->item[n], &now);
		return 0;
	}
	item_free(root, n);
	return now.kind ? item_make(id, root, n, &now) : 0;
}

int things_change(int id, struct things *root, struct content *content, uint64_t *random)
{
	unsigned changes = 1 + (unsigned)(test_random(random) % 4);
	int err = 0;

	for (unsigned i = 0; i < changes && !err; i++)
		err = thing_change(id, root, content, (unsigned)(test_random(random) % THINGS), random);
	wire(root, content);
	return err;
}

/* ---- comparing ---- */

static bool differs(unsigned n, const char *what, uint64_t expected, uint64_t found)
{
	if (expected == found)
		return false;
	fprintf(stderr, "thing %u: %s: expected %llx, found %llx\n", n, what, (unsigned long long)expected,
	        (unsigned long long)found);
	return true;
}

static bool item_is(const struct things *root, const struct thing *t, unsigned n, bool is_restored)
{
	const struct item *i = root->item[n];
	uintptr_t peer = (uintptr_t)peer_of(root, t);

	if (differs(n, "value", t->value, i->value) || differs(n, "peer", peer, (uintptr_t)i->peer) ||
	    differs(n, "whether it has data", data_of(t) > 0, i->data != NULL))
		return false;
	if (is_restored && differs(n, "excluded pointer", 0, (uintptr_t)i->left_out))
		return false;
	for (size_t w = 0; w < words_of(t); w++)
		if (differs(n, "word", is_pointer(t, w) ? peer : word_of(t, w), i->word[w]))
			return false;
	for (size_t w = 0; w < data_of(t); w++)
		if (differs(n, "data", datum_of(t, w), i->data[w]))
			return false;
	return true;
}

bool things_are(const struct things *root, const struct content *content, bool is_restored)
{
	const struct item *in_list = root->first;

	for (unsigned n = 0; n < THINGS; n++) {
		const struct thing *t = &content->thing[n];

		if (differs(n, "whether it is there", t->kind != THING_NONE, root->item[n] != NULL))
			return false;
		if (!root->item[n])
			continue;
		if (differs(n, "place in the list", (uintptr_t)root->item[n], (uintptr_t)in_list) ||
		    !item_is(root, t, n, is_restored))
			return false;
		in_list = in_list->next;
	}
	return !differs(THINGS, "end of the list", 0, (uintptr_t)in_list);
}
