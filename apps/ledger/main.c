/* main.c - ledger: a bank's ledger that loses no command it has answered, though it makes a persistence point only now and then.
 *
 *   standard input -> what has come, whole lines -> pRecord: one input, durable -> apply each line -> answers
 *                                                                       every so many commands: pPoint
 *
 * Kill it whenever you like: started again it restores the newest version, applies what was recorded since, and is where it was, bit by
 * bit. From any older version on, the same commands can be gone through again on a branch, to see when what went wrong.
 */
#include "ledger.h"

#include <softpm.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAGIC = 7002, VERSIONS_KEPT = 100, BATCH_BYTES = 1 << 16 };

struct options {
	const char *volume, *dump, *from, *branch, *watch;
	uint64_t point_every, batch_bytes, make_up, seed;
	bool is_count;
};

_Noreturn static void die(const char *what, const char *why)
{
	fflush(stdout);
	fprintf(stderr, "ledger: %s: %s\n", what, why);
	exit(1);
}

/* What is done with inputs: applied to this, and answered, or told of. */
struct session {
	struct ledger *ledger;
	FILE *answers;     /* NULL: they were given when it was recorded */
	const char *watch; /* tell when the balance of this account changes; or NULL */
	uint64_t commands; /* so far */
};

static int64_t balance(const struct session *s)
{
	const struct account *a = s->watch ? ledger_find(s->ledger, s->watch) : NULL;

	return a ? a->cents : 0;
}

static void line_apply(struct session *s, const char *line, size_t n)
{
	int64_t before = balance(s);
	const char *result = ledger_apply(s->ledger, line, n);

	if (!result)
		die("a command", "no memory");
	s->commands++;
	if (s->answers)
		fprintf(s->answers, "%" PRIu64 " %s\n", s->ledger->commands, result);
	if (s->watch && balance(s) != before)
		printf("%8" PRIu64 "  %-40.*s %" PRId64 "\n", s->ledger->commands, (int)n, line, balance(s));
}

/* An input: lines. */
static int input_apply(const void *bytes, size_t n, void *session)
{
	const char *at = bytes, *end = at + n;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at)), *to = newline ? newline : end;

		line_apply(session, at, (size_t)(to - at));
		at = to + 1;
	}
	return 0;
}

static int ledger_make(void **root)
{
	struct cattr attr = {.name = "ledger",
	                     .versions_kept = VERSIONS_KEPT,
	                     .chunk_bytes = 4096,
	                     .stop_threads = 1,
	                     .full_trace_every = 1000};
	int id = pCAlloc(MAGIC, sizeof(struct ledger), root);

	if (!id || pCSetAttr(id, &attr))
		die("new ledger", pErrorMsg());
	return id;
}

/* Where it was: the newest version, and what was recorded since. */
static int ledger_open(struct session *s)
{
	void *root = NULL;
	int id = pCRestore(MAGIC, &root);
	int64_t replayed;

	if (!id && errno != ENOENT)
		die("restore", pErrorMsg());
	if (!id)
		id = ledger_make(&root);
	s->ledger = root;
	replayed = pReplay(id, input_apply, s);
	if (replayed < 0)
		die("replay", pErrorMsg());
	if (replayed)
		fprintf(stderr,
		        "ledger: %" PRIu64 " commands in %" PRId64 " inputs since the last version were replayed\n",
		        s->commands, replayed);
	return id;
}

/* How many bytes of whole lines there are. */
static size_t lines_bytes(const char *buffer, size_t n)
{
	const char *last = memrchr(buffer, '\n', n);

	return last ? (size_t)(last - buffer) + 1 : 0;
}

static void batch_take(int id, struct session *s, const char *bytes, size_t n)
{
	if (!pRecord(id, bytes, n))
		die("record", pErrorMsg());
	input_apply(bytes, n, s);
	if (fflush(s->answers))
		die("answers", strerror(errno));
}

/* What has come; 0: no more will. */
static size_t bytes_read(char *to, size_t room)
{
	ssize_t n = room ? read(0, to, room) : -1;

	while (n < 0 && room && errno == EINTR)
		n = read(0, to, room);
	if (n < 0)
		die("commands", room ? strerror(errno) : "a line is too long");
	return (size_t)n;
}

static void point_if_due(int id, struct session *s, uint64_t every)
{
	if (s->commands < every)
		return;
	s->commands = 0;
	if (!pPoint(id))
		die("point", pErrorMsg());
}

static void commands_take(int id, struct session *s, const struct options *o)
{
	static char buffer[BATCH_BYTES];
	size_t n = 0, more, lines;

	s->answers = stdout;
	s->commands = 0;
	do {
		more = bytes_read(buffer + n, o->batch_bytes - n);
		n += more;
		lines = more ? lines_bytes(buffer, n) : n; /* the last one may lack its newline */
		if (!lines)
			continue;
		batch_take(id, s, buffer, lines);
		memmove(buffer, buffer + lines, n - lines);
		n -= lines;
		point_if_due(id, s, o->point_every);
	} while (more);
}

/* Goes through what happened since a version once more, on a branch. The ledger itself may be at work meanwhile. */
static void replay_from(const struct options *o)
{
	struct session s = {.watch = o->watch};
	void *old, *root;
	int past = pCOpenAt(MAGIC, o->from, &old), id = past ? pCClone(past, o->branch, &root) : 0;

	if (!id)
		die(past ? o->branch : o->from, pErrorMsg());
	s.ledger = root;
	if (pReplay(past, input_apply, &s) < 0)
		die("replay", pErrorMsg());
	if (!pPointMsg(id, "replayed") || pSync(id))
		die("point", pErrorMsg());
	printf("%" PRIu64 " commands since %s were replayed on branch %s\n", s.commands, o->from, o->branch);
}

static void dump(const char *ref)
{
	void *root;

	if (!pCOpenAt(MAGIC, ref, &root))
		die(ref, pErrorMsg());
	if (ledger_dump(root, stdout))
		die("dump", "no memory");
}

static void usage(void)
{
	fputs("usage: ledger [-v VOLUME] [--point-every N] [--batch BYTES]   commands from standard input, one a line, "
	      "answers to "
	      "standard output:\n"
	      "           open NAME | deposit NAME CENTS | withdraw NAME CENTS | transfer FROM TO CENTS\n"
	      "           at most so many bytes of them become durable at a time (65536), and are answered then;\n"
	      "           a version is made every N commands (10000)\n"
	      "       ledger [-v VOLUME] --count                how many commands have been taken\n"
	      "       ledger [-v VOLUME] --dump [REF]           all accounts; of a version, without what was recorded "
	      "since\n"
	      "       ledger [-v VOLUME] --replay-from REF --branch NAME [--watch ACCOUNT]\n"
	      "           go through what happened since that version again, on a branch, telling of each change of an "
	      "account\n"
	      "       ledger --make-up N [--seed S]             print N commands\n",
	      stderr);
	exit(2);
}

static void options_parse(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {{"volume", required_argument, NULL, 'v'},
	                                      {"point-every", required_argument, NULL, 'p'},
	                                      {"batch", required_argument, NULL, 'B'},
	                                      {"count", no_argument, NULL, 'c'},
	                                      {"dump", no_argument, NULL, 'd'},
	                                      {"replay-from", required_argument, NULL, 'r'},
	                                      {"branch", required_argument, NULL, 'b'},
	                                      {"watch", required_argument, NULL, 'w'},
	                                      {"make-up", required_argument, NULL, 'm'},
	                                      {"seed", required_argument, NULL, 's'},
	                                      {NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "v:", known, NULL)) != -1) {
		if (option == 'v')
			o->volume = optarg;
		else if (option == 'p')
			o->point_every = strtoull(optarg, NULL, 10);
		else if (option == 'B')
			o->batch_bytes = strtoull(optarg, NULL, 10);
		else if (option == 'c')
			o->is_count = true;
		else if (option == 'd')
			o->dump = "";
		else if (option == 'r')
			o->from = optarg;
		else if (option == 'b')
			o->branch = optarg;
		else if (option == 'w')
			o->watch = optarg;
		else if (option == 'm')
			o->make_up = strtoull(optarg, NULL, 10);
		else if (option == 's')
			o->seed = strtoull(optarg, NULL, 10);
		else
			usage();
	}
	if (o->dump && optind < argc)
		o->dump = argv[optind++];
	if (optind < argc || !o->from != !o->branch || o->batch_bytes > BATCH_BYTES)
		usage();
}

/* The ledger's own branch is opened, as by a program that takes commands. */
static void ledger_run(const struct options *o)
{
	struct session s = {.watch = o->watch};
	int id = ledger_open(&s);

	if (o->is_count)
		printf("%" PRIu64 "\n", s.ledger->commands);
	else if (o->dump) {
		if (ledger_dump(s.ledger, stdout))
			die("dump", "no memory");
	} else
		commands_take(id, &s, o);
}

int main(int argc, char **argv)
{
	struct options o = {.point_every = 10000, .batch_bytes = BATCH_BYTES, .seed = 1};

	options_parse(argc, argv, &o);
	if (o.make_up) {
		ledger_make_up(o.make_up, o.seed, stdout);
		return 0;
	}
	if (o.volume && pVOpen(o.volume))
		die("volume", pErrorMsg());
	if (o.from)
		replay_from(&o);
	else if (o.dump && *o.dump)
		dump(o.dump);
	else
		ledger_run(&o);
	if (pVClose())
		die("close", pErrorMsg());
	return 0;
}
