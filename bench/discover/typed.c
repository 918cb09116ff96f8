/* typed.c - what types do to discovery of real structures: how long a full trace takes with and without them, and of how many words they don't tell
 * whether they are pointers, or to what.
 *
 *   bench_discover_typed [MIB [DATA]]      (64)
 *
 * Maps, lists and vectors of softpm-ds, and, where SQLite was built (adapters/sqlite), a database in memory: all that SQLite allocates for it, whatever
 * it is. Types are read from this program's debug information, as pCSetAttr does. Traces with and without types take turns; medians.
 *
 *   numbers, pointers    words of live slots of which types say what they are, and, of pointers, what they lead to
 *   ambiguous            all others: what void and char pointers lead to, char arrays, what lies behind the first struct of a slot, ...
 *
 * Nothing is written: no point is made. The volume, which is empty, is in the working directory while it runs.
 */
#include "container.h"

#include <softpm/ds.h>
#ifdef WITH_SQLITE
#include <sqlite3.h>
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAGIC = 1, AGAIN = 11 };

PHASH_OF(typed_ages, const char *, int);
PHASH_OF(typed_numbers, uint64_t, uint64_t);
PTREE_OF(typed_prices, int64_t, double);
PTREE_OF(typed_words, const char *, long);
struct typed_job {
	struct typed_job *after;
	long number;
	double cost;
};
PLIST_OF(typed_jobs, struct typed_job);
PARRAY_OF(typed_row, struct typed_job *);

struct typed_root {
	struct typed_ages *ages;
	struct typed_numbers *numbers;
	struct typed_prices *prices;
	struct typed_words *words;
	struct typed_jobs *jobs;
	struct typed_row *row;
	struct sqlite3 *db;
};

static struct typed_root *root;

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "bench_discover_typed: %s failed: %s\n", what, pErrorMsg());
	exit(1);
}

/* ---- the data: about so many bytes ---- */

static const char *word_of(uint64_t i)
{
	static char text[64];

	snprintf(text, sizeof(text), "word %llu", (unsigned long long)(i * 0x9e3779b97f4a7c15 >> 12));
	return text;
}

static void ages_make(size_t bytes)
{
	root->ages = typed_ages_make();
	for (size_t i = 0; i < bytes / 64; i++)
		typed_ages_put(root->ages, word_of(i), (int)i);
}

static void numbers_make(size_t bytes)
{
	root->numbers = typed_numbers_make();
	for (uint64_t i = 0; i < bytes / 20; i++)
		typed_numbers_put(root->numbers, i * 0x9e3779b97f4a7c15, i);
}

static void prices_make(size_t bytes)
{
	root->prices = typed_prices_make();
	for (size_t i = 0; i < bytes / 20; i++)
		typed_prices_put(root->prices, (int64_t)(i * 0x9e3779b97f4a7c15 >> 1), (double)i);
}

static void words_make(size_t bytes)
{
	root->words = typed_words_make();
	for (size_t i = 0; i < bytes / 64; i++)
		typed_words_put(root->words, word_of(i), (long)i);
}

static void jobs_make(size_t bytes)
{
	root->jobs = typed_jobs_make();
	for (size_t i = 0; i < bytes / 64; i++)
		typed_jobs_push(root->jobs, (struct typed_job){NULL, (long)i, 0.5});
}

static void row_make(size_t bytes)
{
	root->row = typed_row_make();
	for (size_t i = 0; i < bytes / 40; i++) {
		struct typed_job *job = pMalloc(sizeof(*job));

		job->number = (long)i;
		typed_row_push(root->row, job);
	}
}

#ifdef WITH_SQLITE
static void *memory_get(int bytes)
{
	return pMalloc((size_t)bytes);
}

static void *memory_change(void *p, int bytes)
{
	return pRealloc(p, (size_t)bytes);
}

static int memory_bytes(void *p)
{
	return p ? (int)pUsableSize(p) : 0;
}

static int memory_round(int bytes)
{
	return (bytes + 7) & ~7;
}

static int memory_begin(void *arg)
{
	(void)arg;
	return SQLITE_OK;
}

static void memory_end(void *arg)
{
	(void)arg;
}

static void database_make(size_t bytes)
{
	static const sqlite3_mem_methods methods = {memory_get,   pFree,        memory_change, memory_bytes,
	                                            memory_round, memory_begin, memory_end,    NULL};
	char sql[256];

	need(!sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) && !sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0),
	     "sqlite3_config");
	need(!sqlite3_open(":memory:", &root->db), "sqlite3_open");
	snprintf(sql, sizeof(sql),
	         "create table t (a integer primary key, b text, c real); create index i on t (b);"
	         "with recursive n(i) as (select 1 union all select i + 1 from n where i < %zu) "
	         "insert into t select i, 'name ' || (i * 7919 %% 1000003), i / 3.0 from n",
	         bytes / 64);
	need(!sqlite3_exec(root->db, sql, NULL, NULL, NULL), "sqlite3_exec");
}
#endif

static const struct shape {
	const char *name;
	void (*make)(size_t bytes);
} shape[] = {{"hash, strings", ages_make},
             {"hash, numbers", numbers_make},
             {"tree, numbers", prices_make},
             {"tree, strings", words_make},
             {"list", jobs_make},
             {"vector of pointers", row_make},
#ifdef WITH_SQLITE
             {"SQLite", database_make}
#endif
};

/* ---- measuring ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double median_ms(uint64_t *sample)
{
	qsort(sample, AGAIN, sizeof(*sample), by_size);
	return (double)sample[AGAIN / 2] / 1e6;
}

static uint64_t trace_ns(const struct container *c, struct kinds *kinds)
{
	uint64_t began = spm_now_ns();

	need(!spm_trace_full(c->marks, c->root, &c->hints, kinds, false), "spm_trace_full");
	return spm_now_ns() - began;
}

static struct container *container_make(const char *volume)
{
	struct cattr *attr;
	void *address;
	int id;

	need(!pVOpen(volume), "pVOpen");
	id = pCAlloc(MAGIC, sizeof(*root), &address);
	need(id > 0, "pCAlloc");
	root = address;
	attr = pCGetAttr(MAGIC);
	need(attr != NULL, "pCGetAttr");
	strcpy(attr->type, "struct typed_root");
	need(!pCSetAttr(id, attr), "pCSetAttr");
	pCAttrFree(attr);
	return spm_container_get(id);
}

static void row_print(const struct shape *s, const struct container *c)
{
	uint64_t typed[AGAIN], untyped[AGAIN];
	struct kind_words words;
	double mib, all;

	trace_ns(c, NULL);
	trace_ns(c, c->kinds);
	for (unsigned i = 0; i < AGAIN; i++) {
		untyped[i] = trace_ns(c, NULL);
		typed[i] = trace_ns(c, c->kinds);
	}
	spm_kinds_count(c->kinds, c->marks, &words);
	mib = (double)spm_marks_live_bytes(c->marks) / (1 << 20);
	all = (double)(words.plain + words.pointers + words.ambiguous) / 100;
	printf("| %s | %.0f | %.2f | %.2f | %.0f | %.1f%% | %.1f%% | %.1f%% |\n", s->name, mib,
	       median_ms(untyped) / mib, median_ms(typed) / mib, all * 100, (double)words.plain / all,
	       (double)words.pointers / all, (double)words.ambiguous / all);
}

static void measure(const struct shape *s, size_t bytes)
{
	struct container *c;
	char volume[64];

	snprintf(volume, sizeof(volume), "bench-typed-%d.vol", (int)getpid());
	c = container_make(volume);
	s->make(bytes);
	row_print(s, c);
	unlink(volume);
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	size_t mib = argc > 1 ? strtoull(argv[1], NULL, 10) : 64;

	printf("Full trace, with and without types\n\n| data | MiB | without, ms/MiB | with, ms/MiB | words that may "
	       "be pointers | numbers | pointers | ambiguous |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: "
	       "|\n");
	for (unsigned i = 0; i < sizeof(shape) / sizeof(*shape); i++) {
		pid_t child;

		if (argc > 2 && !strstr(shape[i].name, argv[2]))
			continue;
		fflush(stdout);
		child = fork();
		need(child >= 0, "fork");
		if (!child)
			measure(&shape[i], mib << 20);
		waitpid(child, NULL, 0);
	}
	return 0;
}
