/* main.c - whatif: one simulation, eight futures.
 *
 *   main       day 0 -- 5 -- 10 -- ... -- 30      an epidemic spreads
 *                                         |-- masks      35 -- 40 -- ... -- 180
 *                                         |-- no-school  35 -- 40 -- ... -- 180     a process each, forked from the one
 *                                         ...                                        that simulates, side by side
 *
 * On day 30 the program forks. Each child calls pCFork, sets its measures, and goes on with the town it has in memory, on a
 * branch of its own, with a point every five days. Nothing is written out, read in or handed over.
 *
 * Kill any of them whenever you like: `whatif --resume NAME` goes on from that branch's last point, and ends as if nothing had been;
 * `whatif` started again goes on with all that are not at their end.
 */
#include "town.h"

#include <softpm.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAGIC = 7002, POINT_DAYS = 5, FUTURES = 8, VERSIONS_KEPT = 2 };

static const struct measures before = {"main", "until then", {100, 100, 100, 100}, 0, 0};
static const struct measures future[FUTURES] = {
        {"nothing", "as before", {100, 100, 100, 100}, 0, 0},
        {"careless", "more meetings", {100, 100, 100, 180}, 0, 0},
        {"masks", "fewer infections outside", {100, 60, 60, 60}, 0, 0},
        {"no-school", "schools are closed", {110, 0, 100, 100}, 0, 0},
        {"home-office", "half the work at home", {110, 100, 40, 100}, 0, 0},
        {"lockdown", "all but homes is closed", {120, 10, 15, 10}, 0, 0},
        {"vaccinate", "1 in 100 a day", {100, 100, 100, 100}, 100, 0},
        {"find-ill", "6 of 10 ill stay alone", {100, 100, 100, 100}, 0, 60},
};

struct options {
	const char *volume, *resume;
	unsigned people, fork_day, end_day;
	uint64_t seed;
	long slow_ms; /* to spend on a day, so that people (and kills) can watch it */
	bool is_json, is_compare;
};

_Noreturn static void die(const char *what, const char *why)
{
	fflush(stdout);
	fprintf(stderr, "whatif: %s: %s\n", what, why);
	exit(1);
}

static void linger(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	while (ms > 0 && nanosleep(&t, &t) && errno == EINTR)
		;
}

/* Lives on to that day, with a point every POINT_DAYS days. */
static void live_to(struct town *t, int id, unsigned day, const struct options *o)
{
	char message[40];

	while (t->day < day) {
		linger(o->slow_ms);
		if (town_live(t))
			die(t->measures.name, "no memory");
		if (t->day % POINT_DAYS && t->day < day)
			continue;
		snprintf(message, sizeof(message), "day %u: %u ill", t->day, t->last_day->count[ILL]);
		if (!pPointMsg(id, message))
			die(t->measures.name, pErrorMsg());
	}
	if (pSync(id))
		die(t->measures.name, pErrorMsg());
}

/* ---- one town ---- */

static struct town *town_make(int *id, const struct options *o)
{
	struct cattr attr = {.name = "whatif",
	                     .versions_kept = VERSIONS_KEPT,
	                     .chunk_bytes = 4096,
	                     .stop_threads = 1,
	                     .full_trace_every = 1000};
	struct town *t;
	void *root;

	*id = pCAlloc(MAGIC, sizeof(*t), &root);
	if (!*id || pCSetAttr(*id, &attr))
		die("new town", pErrorMsg());
	t = root;
	t->measures = before;
	t->end_day = o->end_day;
	if (town_build(t, o->people, o->seed))
		die("new town", "no memory");
	return t;
}

static struct town *town_open(int *id, const struct options *o)
{
	void *root;

	*id = pCRestore(MAGIC, &root);
	if (*id)
		return root;
	if (errno != ENOENT)
		die("restore", pErrorMsg());
	return town_make(id, o);
}

/* A child may have been killed between the making of its branch and its first point there. */
static void measures_take(struct town *t, const char *name)
{
	for (unsigned i = 0; i < FUTURES; i++)
		if (!strcmp(future[i].name, name)) {
			t->measures = future[i];
			return;
		}
	die(name, "there is no such future; see whatif --help");
}

static int resume(const struct options *o)
{
	struct town *t;
	void *root;
	int id = pCOpenBranch(MAGIC, o->resume, &root);

	if (!id)
		die(o->resume, pErrorMsg());
	t = root;
	measures_take(t, o->resume);
	live_to(t, id, t->end_day, o);
	return pVClose() ? 1 : 0;
}

/* ---- eight futures ---- */

static int branch_find(const struct pbranch *b, void *arg)
{
	return !strcmp(b->name, arg);
}

static bool has_begun(const char *name)
{
	int found = pBranches(MAGIC, branch_find, (void *)(uintptr_t)name);

	if (found < 0)
		die("branches", pErrorMsg());
	return found;
}

/* In a process of its own, which then shares nothing with this one. */
static void resume_by_exec(const char *name, const struct options *o)
{
	char slow[32];

	snprintf(slow, sizeof(slow), "%ld", o->slow_ms);
	execl("/proc/self/exe", "whatif", "--resume", name, "--slow-ms", slow, o->volume ? "-v" : NULL, o->volume,
	      (char *)NULL);
	die(name, strerror(errno));
}

static pid_t future_begin(struct town *t, int id, const struct measures *m, const struct options *o)
{
	bool is_old = has_begun(m->name);
	pid_t child = fork();

	if (child < 0)
		die(m->name, strerror(errno));
	if (child)
		return child;
	if (is_old)
		resume_by_exec(m->name, o);
	if (pCFork(id, m->name))
		die(m->name, pErrorMsg());
	t->measures = *m;
	live_to(t, id, t->end_day, o);
	exit(pVClose() ? 1 : 0);
}

/* How many did not come to their end. */
static int futures_run(struct town *t, int id, const struct options *o)
{
	pid_t process[FUTURES];
	int status, unfinished = 0;

	for (unsigned i = 0; i < FUTURES; i++) {
		fflush(stdout);
		process[i] = future_begin(t, id, &future[i], o);
		if (!o->is_json)
			printf("  %-12s %-26s process %d\n", future[i].name, future[i].what, (int)process[i]);
	}
	fflush(stdout);
	for (unsigned i = 0; i < FUTURES; i++) {
		if (waitpid(process[i], &status, 0) != process[i] || !status)
			continue;
		fprintf(stderr, "whatif: %s did not come to its end; whatif --resume %s goes on\n", future[i].name,
		        future[i].name);
		unfinished++;
	}
	return unfinished;
}

/* ---- comparing ---- */

static void row_print(const struct town *t, bool is_json, bool is_last)
{
	const unsigned *count = t->last_day ? t->last_day->count : (const unsigned[HEALTHS]){0};

	if (is_json)
		printf("    {\"future\": \"%s\", \"day\": %u, \"finished\": %s, \"infections\": %u, \"peak\": %u, "
		       "\"peak_day\": %u, \"ill\": %u, \"dead\": %u, \"digest\": \"%016" PRIx64 "\"}%s\n",
		       t->measures.name, t->day, t->day == t->end_day ? "true" : "false", t->infections, t->peak,
		       t->peak_day, count[ILL], count[DEAD], town_digest(t), is_last ? "" : ",");
	else
		printf("  %-12s %5u%s %10u %8u %8u %8u %8u\n", t->measures.name, t->day,
		       t->day == t->end_day ? " " : "*", t->infections, t->peak, t->peak_day, count[ILL], count[DEAD]);
}

/* Read-only, at their last points: they may be going on meanwhile. */
static int futures_compare(const struct options *o)
{
	int unfinished = 0;

	printf(o->is_json ? "{\n  \"futures\": [\n" : "\n  %-12s %5s  %10s %8s %8s %8s %8s\n", "future", "day",
	       "infections", "peak", "peak day", "ill", "dead");
	for (unsigned i = 0; i < FUTURES; i++) {
		struct town *t;
		void *root;
		int id = pCOpenAt(MAGIC, future[i].name, &root);

		if (!id)
			die(future[i].name, pErrorMsg());
		t = root;
		if (t->measures.name[0] == 'm' && !strcmp(t->measures.name, before.name))
			t->measures = future[i];
		unfinished += t->day != t->end_day;
		row_print(t, o->is_json, i == FUTURES - 1);
		pCFree(id);
	}
	if (o->is_json)
		printf("  ]\n}\n");
	else if (unfinished)
		printf("  * not at its end: whatif --resume NAME\n");
	return unfinished;
}

static int run(const struct options *o)
{
	int id, unfinished;
	struct town *t = town_open(&id, o);

	if (!o->is_json)
		printf("%u people, until day %u\n", t->people_count, o->fork_day);
	live_to(t, id, o->fork_day, o);
	if (!o->is_json)
		printf("day %u: %u are ill. Eight futures, to day %u:\n", t->day, t->last_day->count[ILL], t->end_day);
	unfinished = futures_run(t, id, o);
	unfinished += futures_compare(o);
	return pVClose() || unfinished;
}

_Noreturn static void usage(FILE *to, int status)
{
	fputs("usage: whatif [-v VOLUME] [--json]    simulate an epidemic until day 30, fork eight futures, run them "
	      "side by\n"
	      "                                      side, and compare them. Started again it goes on where it was\n"
	      "       whatif --resume NAME           go on with one future that was killed, from its last point\n"
	      "       whatif --compare [--json]      the futures as they are now\n"
	      "\n"
	      "  -v VOLUME        else $SOFTPM_VOLUME, else softpm.vol\n"
	      "  --people N       20000; for a new town, as the next two\n"
	      "  --seed N         1\n"
	      "  --days N         the futures' last day, 180\n"
	      "  --fork-day N     30\n"
	      "  --slow-ms N      spend so long on each day, to have time to kill something\n"
	      "\n"
	      "Futures:\n",
	      to);
	for (unsigned i = 0; i < FUTURES; i++)
		fprintf(to, "  %-16s %s\n", future[i].name, future[i].what);
	exit(status);
}

static unsigned number(const char *text, unsigned long least)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text || n < least || n > 10000000)
		die(text, "is no such number");
	return (unsigned)n;
}

static void options_parse(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {{"volume", required_argument, NULL, 'v'},
	                                      {"resume", required_argument, NULL, 'r'},
	                                      {"compare", no_argument, NULL, 'c'},
	                                      {"json", no_argument, NULL, 'j'},
	                                      {"people", required_argument, NULL, 'p'},
	                                      {"seed", required_argument, NULL, 'e'},
	                                      {"days", required_argument, NULL, 'd'},
	                                      {"fork-day", required_argument, NULL, 'f'},
	                                      {"slow-ms", required_argument, NULL, 's'},
	                                      {"help", no_argument, NULL, 'h'},
	                                      {NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "v:h", known, NULL)) != -1) {
		if (option == 'v')
			o->volume = optarg;
		else if (option == 'r')
			o->resume = optarg;
		else if (option == 'c')
			o->is_compare = true;
		else if (option == 'j')
			o->is_json = true;
		else if (option == 'p')
			o->people = number(optarg, 1000);
		else if (option == 'e')
			o->seed = number(optarg, 0);
		else if (option == 'd')
			o->end_day = number(optarg, 1);
		else if (option == 'f')
			o->fork_day = number(optarg, 1);
		else if (option == 's')
			o->slow_ms = number(optarg, 0);
		else if (option == 'h')
			usage(stdout, 0);
		else
			usage(stderr, 2);
	}
	if (optind < argc || o->fork_day >= o->end_day)
		usage(stderr, 2);
}

int main(int argc, char **argv)
{
	struct options o = {.people = 20000, .fork_day = 30, .end_day = 180, .seed = 1};
	int unfinished;

	options_parse(argc, argv, &o);
	if (o.volume && pVOpen(o.volume))
		die("volume", pErrorMsg());
	if (o.resume)
		return resume(&o);
	if (!o.is_compare)
		return run(&o) ? 1 : 0;
	unfinished = futures_compare(&o);
	return pVClose() || unfinished;
}
