/* table.c - what the samples of bench_snapshots say, as markdown, or with --json as an array with an object for each system and
 * size. Reads them from standard input, several passes behind each other.
 *
 * First: the median over the passes of version or branch 1. Last: the median of the last 21. p99: of all of them (of few: the longest).
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LAST = 21, CELLS_MOST = 64 };

struct series {
	struct {
		unsigned number;
		double value;
	} * sample;
	size_t n;
	unsigned newest; /* the highest number */
};

enum what { VERSION, BRANCH, BOTH, LOOK, VERSION_BYTES, BRANCH_BYTES, IN_MEMORY, WHATS };
static const char *const what_name[WHATS] = {"version",       "branch",       "both",        "look",
                                             "version_bytes", "branch_bytes", "is_in_memory"};

struct cell { /* a system at a size */
	unsigned mib;
	char title[64];
	struct series series[WHATS];
};

static struct cell cell[CELLS_MOST];
static size_t cells;

static struct cell *cell_of(unsigned mib, const char *title)
{
	for (size_t i = 0; i < cells; i++)
		if (cell[i].mib == mib && !strcmp(cell[i].title, title))
			return &cell[i];
	if (cells == CELLS_MOST)
		return NULL;
	cell[cells].mib = mib;
	strcpy(cell[cells].title, title);
	return &cell[cells++];
}

static void series_add(struct series *s, unsigned number, double value)
{
	s->sample = realloc(s->sample, (s->n + 1) * sizeof(*s->sample));
	if (!s->sample)
		exit(1);
	s->sample[s->n].number = number;
	s->sample[s->n++].value = value;
	if (number > s->newest)
		s->newest = number;
}

static void samples_read(void)
{
	char title[64], what[32];
	unsigned mib, number;
	double value;

	while (scanf("%u\t%63[^\t]\t%31[^\t]\t%u\t%lf\n", &mib, title, what, &number, &value) == 5) {
		struct cell *c = cell_of(mib, title);

		for (unsigned i = 0; c && i < WHATS; i++)
			if (!strcmp(what, what_name[i]))
				series_add(&c->series[i], number, value);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value below which that part of those numbered from..to lies; -1: there is none. */
static double quantile(const struct series *s, unsigned from, unsigned to, double part)
{
	double *value = malloc((s->n + 1) * sizeof(*value)), result = -1;
	size_t n = 0;

	for (size_t i = 0; value && i < s->n; i++)
		if (s->sample[i].number >= from && s->sample[i].number <= to)
			value[n++] = s->sample[i].value;
	if (n) {
		qsort(value, n, sizeof(*value), compare);
		result = value[(size_t)((double)n * part) < n ? (size_t)((double)n * part) : n - 1];
	}
	free(value);
	return result;
}

static double first(const struct cell *c, enum what what)
{
	return quantile(&c->series[what], 1, 1, 0.5);
}

static double last(const struct cell *c, enum what what)
{
	const struct series *s = &c->series[what];
	unsigned from = s->newest > LAST + 1 ? s->newest - LAST + 1 : 2; /* the first is no part of it */

	return quantile(s, what == BOTH ? 2 : from, s->newest, 0.5);
}

static double longest(const struct cell *c, enum what what)
{
	return quantile(&c->series[what], 1, c->series[what].newest, 0.99);
}

static bool is_ours(const struct cell *c)
{
	return !strncmp(c->title, "SoftPM", 6);
}

static const struct cell *reference(unsigned mib)
{
	return cell_of(mib, "SoftPM, pBranch");
}

/* ---- markdown ---- */

static void put(double value, const char *format)
{
	if (value < 0)
		printf(" - |");
	else
		printf(format, value);
}

static void put_ms(double value)
{
	put(value, value < 10 ? " %.2f |" : value < 100 ? " %.1f |" : " %.0f |");
}

static void put_ratio(double value, double to)
{
	put(value < 0 || to <= 0 ? -1 : value / to, value < 10 * to ? " %.1f |" : " %.0f |");
}

static void versions_table(unsigned mib)
{
	printf("\n%u MiB, versions (1%% changed for each):\n\n"
	       "| system | first, ms | last, ms | p99, ms | last one | MiB a version | first access to the oldest, ms "
	       "|\n"
	       "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
	       mib);
	for (size_t i = 0; i < cells; i++) {
		const struct cell *c = &cell[i];
		double bytes = first(c, VERSION_BYTES);

		if (c->mib != mib)
			continue;
		printf("| %s |", c->title);
		put_ms(first(c, VERSION));
		put_ms(last(c, VERSION));
		put_ms(longest(c, VERSION));
		printf(" %u |", c->series[VERSION].newest);
		put(bytes < 0 ? -1 : bytes / (1 << 20), " %.2f |");
		put_ms(first(c, LOOK));
		printf("\n");
	}
}

static void branches_table(unsigned mib)
{
	const struct cell *our = reference(mib);

	printf("\n%u MiB, branches:\n\n"
	       "| system | first, ms | to pBranch | last, ms | to pBranch | p99, ms | last one | first and a page, ms "
	       "| "
	       "last and a page, ms | KiB a branch |\n"
	       "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
	       mib);
	for (size_t i = 0; i < cells; i++) {
		const struct cell *c = &cell[i];
		double bytes = first(c, BRANCH_BYTES);

		if (c->mib != mib)
			continue;
		printf("| %s |", c->title);
		put_ms(first(c, BRANCH));
		put_ratio(first(c, BRANCH), first(our, BRANCH));
		put_ms(last(c, BRANCH));
		put_ratio(last(c, BRANCH), last(our, BRANCH));
		put_ms(longest(c, BRANCH));
		printf(" %u |", c->series[BRANCH].newest);
		put_ms(first(c, BOTH));
		put_ms(last(c, BOTH));
		put(bytes < 0 ? -1 : bytes / 1024, " %.0f |");
		printf("\n");
	}
}

/* Of the others, durable or not. */
static const struct cell *best(unsigned mib, double (*when)(const struct cell *, enum what), bool is_durable)
{
	const struct cell *found = NULL;

	for (size_t i = 0; i < cells; i++) {
		const struct cell *c = &cell[i];

		if (c->mib == mib && !is_ours(c) && when(c, BRANCH) >= 0 && !(is_durable && first(c, IN_MEMORY) > 0) &&
		    (!found || when(c, BRANCH) < when(found, BRANCH)))
			found = c;
	}
	return found;
}

static void verdict(unsigned mib, const char *which, double (*when)(const struct cell *, enum what), bool is_durable)
{
	const struct cell *other = best(mib, when, is_durable);
	double our = when(reference(mib), BRANCH);

	if (!is_durable && other == best(mib, when, true))
		return; /* that was told */
	if (other && our > 0)
		printf("- %u MiB, the %s branch: best of the others%s is %s, %.2f ms, %.1f times SoftPM's %.2f ms\n",
		       mib, which, is_durable ? " that are durable" : "", other->title, when(other, BRANCH),
		       when(other, BRANCH) / our, our);
}

static void markdown(void)
{
	for (size_t i = 0; i < cells; i++)
		if (!i || cell[i].mib != cell[i - 1].mib) {
			bool is_seen = false;

			for (size_t k = 0; k < i; k++)
				is_seen |= cell[k].mib == cell[i].mib;
			if (is_seen)
				continue;
			versions_table(cell[i].mib);
			branches_table(cell[i].mib);
			printf("\n");
			verdict(cell[i].mib, "first", first, true);
			verdict(cell[i].mib, "first", first, false);
			verdict(cell[i].mib, "last", last, true);
			verdict(cell[i].mib, "last", last, false);
		}
}

/* ---- JSON ---- */

static void number(const char *name, double value)
{
	if (value < 0)
		printf(", \"%s\": null", name);
	else
		printf(", \"%s\": %.6g", name, value);
}

static void json(void)
{
	for (size_t i = 0; i < cells; i++) {
		const struct cell *c = &cell[i];

		printf("%s{\"mib\": %u, \"system\": \"%s\", \"durable\": %s", i ? ",\n " : "[", c->mib, c->title,
		       first(c, IN_MEMORY) > 0 ? "false" : "true");
		number("versions", c->series[VERSION].newest);
		number("version_first_ms", first(c, VERSION));
		number("version_last_ms", last(c, VERSION));
		number("version_p99_ms", longest(c, VERSION));
		number("version_bytes", first(c, VERSION_BYTES));
		number("oldest_access_ms", first(c, LOOK));
		number("branches", c->series[BRANCH].newest);
		number("branch_first_ms", first(c, BRANCH));
		number("branch_last_ms", last(c, BRANCH));
		number("branch_p99_ms", longest(c, BRANCH));
		number("branch_bytes", first(c, BRANCH_BYTES));
		number("branch_and_page_first_ms", first(c, BOTH));
		number("branch_and_page_last_ms", last(c, BOTH));
		printf("}");
	}
	printf("%s]\n", cells ? "" : "[");
}

int main(int argc, char **argv)
{
	samples_read();
	if (argc > 1 && !strcmp(argv[1], "--json"))
		json();
	else
		markdown();
	return 0;
}
