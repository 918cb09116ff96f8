/* numbers.c - see numbers.h. */
#include "numbers.h"

#include <stdlib.h>

void spm_numbers_add(struct numbers *l, uint64_t number)
{
	if (l->n == l->room) {
		size_t room = l->room * 2 + 256;
		uint64_t *more = realloc(l->number, room * sizeof(*more));

		if (!more) {
			l->is_short = true;
			return;
		}
		l->number = more;
		l->room = room;
	}
	l->number[l->n++] = number;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void spm_numbers_settle(struct numbers *l)
{
	size_t kept = 0;

	if (l->n)
		qsort(l->number, l->n, sizeof(*l->number), by_number);
	for (size_t i = 0; i < l->n; i++)
		if (!kept || l->number[kept - 1] != l->number[i])
			l->number[kept++] = l->number[i];
	l->n = kept;
}

void spm_numbers_free(struct numbers *l)
{
	free(l->number);
	*l = (struct numbers){.n = 0};
}
