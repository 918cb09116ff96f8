/* main.c - softpm: looks at volumes and their containers from the command line.
 *
 * Options may stand before or behind the subcommand. Exit status: 0 yes, 1 no or damage found, 2 misuse.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
	const char *name, *operands, *summary, *help;
	int least, most; /* operands */
	bool has_json, has_limit, has_delete, has_check;
	unsigned options; /* enum own_option */
	const char *own;  /* how usage shows them; NULL: none */
	int (*run)(const struct options *o, int argc, char **argv);
};

/* Options of one command each, as bits; and what usage says of them. */
enum own_option {
	OWN_DRY = 1,
	OWN_KEEP = 2,
	OWN_KEEP_SECONDS = 4,
	OWN_ALL = 8,
	OWN_SINCE = 16,
	OWN_OUTPUT = 32,
	OWN_AS = 64,
	OWN_BRANCH = 128,
	OWN_OBJECTS = 256,
	OWN_WEB = 2048,
	OWN_PATH = 512,
	OWN_DEPTH = 1024,
	OWN_SUBTREES = 4096,
	TAKES_IMAGE = 8192 /* instead of a volume */
};

static const struct command commands[] = {
        {.name = "info",
         .operands = "",
         .summary = "the volume and its containers",
         .help = "Shows the volume's format, identity, size and free space, and for each container its magic\n"
                 "number, its name, current branch, newest version, pages and live bytes, and how many\n"
                 "branches and tags it has.\n",
         .has_json = true,
         .run = tool_info},
        {.name = "log",
         .operands = "[CONTAINER [REF]]",
         .summary = "versions of a container, newest first",
         .help = "Shows for each version when it was made, how long the program paused for it, how much was\n"
                 "written, how much was alive, and the message given to pPointMsg; before that, in\n"
                 "parentheses, the tags it has and the branches whose newest it is, * before the current one.\n"
                 "If there are several branches, lines lead from each version to the one before. With REF:\n"
                 "that version and those before it. -n COUNT shows the newest COUNT only.\n",
         .most = 2,
         .has_json = true,
         .has_limit = true,
         .run = tool_log},
        {.name = "show",
         .operands = "CONTAINER REF",
         .summary = "all about one version",
         .help = "Shows the version's branch and number, its names, time and message, what it holds and what\n"
                 "it cost.\n",
         .least = 2,
         .most = 2,
         .has_json = true,
         .run = tool_show},
        {.name = "browse",
         .operands = "[[CONTAINER] REF]",
         .summary = "what a version holds, from the root on",
         .help = "Shows the objects of a version as a tree: names, types and values, each object once; what was shown\n"
                 "before is told by its path. --path begins elsewhere: 'root->index.buckets[5]', "
                 "'root->users[\"bob\"]',\n"
                 "'root->log[1000..]' (from that element on), '(struct user *)0x6a8100002040'. --depth LEVELS (4), -n\n"
                 "COUNT elements of each array or list (100); --all: no limits. Without types of the program: words,\n"
                 "with pointers, text and names of functions.\n",
         .most = 2,
         .has_json = true,
         .has_limit = true,
         .options = OWN_PATH | OWN_DEPTH | OWN_ALL | TAKES_IMAGE,
         .own = " [--path PATH] [--depth LEVELS] [--all]",
         .run = tool_browse},
        {.name = "diff",
         .operands = "[CONTAINER] REF [REF]",
         .summary = "what differs between two versions",
         .help = "Counts the pages of 4096 bytes that changed, came or went from one version to another, or to\n"
                 "the newest of the current branch, the bytes in them that differ, and the objects (allocations)\n"
                 "that changed, came or went. If the versions have the program's types, tells first what members\n"
                 "changed, and from what to what, and which objects came (+) and went (-), by their paths; -n COUNT\n"
                 "lines (1000), and paths as far as they are found by reading 1.25 GiB; --all: everything, however "
                 "far.\n"
                 "--objects lists objects: address, size, bytes that differ.\n",
         .least = 1,
         .most = 3,
         .has_json = true,
         .has_limit = true,
         .options = OWN_OBJECTS | OWN_ALL,
         .own = " [--objects] [--all]",
         .run = tool_diff},
        {.name = "map",
         .operands = "[CONTAINER [REF]]",
         .summary = "where a version's memory goes",
         .help = "Shows how many objects of which size a version has, and how well they fill their pages. --json\n"
                 "also tells the heap in pieces, COUNT at most: how full each is, which size of object it has most "
                 "of,\n"
                 "and how many versions ago it changed. --subtrees: and how much each member of the root leads to, for "
                 "which all\n"
                 "objects are read.\n",
         .most = 2,
         .has_json = true,
         .has_limit = true,
         .options = OWN_SUBTREES | TAKES_IMAGE,
         .own = " [--subtrees]",
         .run = tool_map},
        {.name = "web",
         .operands = "",
         .summary = "look at the volume in a browser",
         .help = "Serves a page that shows the versions, what they hold, how they differ, and what points cost, live\n"
                 "while programs run, until it is interrupted. It prints the page's address, which has a token that "
                 "nobody\n"
                 "can guess. On this machine only (127.0.0.1), on any free port, unless --address and --port say "
                 "otherwise;\n"
                 "what is sent is not encrypted. With --write the page can make tags and branches, and prune.\n",
         .has_json = true,
         .options = OWN_WEB,
         .own = " [--port PORT] [--address ADDRESS] [--write]",
         .run = tool_web},
        {.name = "grep",
         .operands = "[CONTAINER] REF PATTERN",
         .summary = "where in a version a text or number stands",
         .help = "Searches all that the root leads to, and shows by path what has PATTERN: a number (41, -3, 0x29, "
                 "2.5) in\n"
                 "numbers, pointers and words; anything else as a part of text, or of a function's or enumerator's "
                 "name.\n"
                 "A number in double quotes is text. -n COUNT matches (1000), --all: all. Exit status 1: there is "
                 "none.\n",
         .least = 2,
         .most = 3,
         .has_json = true,
         .has_limit = true,
         .options = OWN_ALL | TAKES_IMAGE,
         .own = " [--all]",
         .run = tool_grep},
        {.name = "bisect",
         .operands = "[CONTAINER] GOOD BAD -- COMMAND...",
         .summary = "the first version that a command calls bad",
         .help = "Runs COMMAND on versions between GOOD and BAD, halving, until the first bad one is found. On "
                 "standard\n"
                 "input it gets the version as browse --json --all shows it; $SOFTPM_REF calls it, of container\n"
                 "$SOFTPM_CONTAINER in volume $SOFTPM_VOLUME. Its exit status says: 0 good, 125 can't tell (skip), 1 "
                 "to 126\n"
                 "bad; anything else ends the search. GOOD and BAD themselves are believed. As an example:\n"
                 "  softpm bisect main~100 main -- sh -c 'softpm grep \"$SOFTPM_REF\" 4711 >/dev/null && exit 1 || "
                 "exit 0'\n",
         .least = 3,
         .most = 1000,
         .has_json = true,
         .run = tool_bisect},
        {.name = "lint",
         .operands = "[[CONTAINER] REF]",
         .summary = "what is not as it seems, and what takes room",
         .help = "Shows pointers that lead out of the heap and are NULL after a restore, or have no symbol, those that "
                 "lead\n"
                 "to no object, numbers that look like addresses, objects that are reached only past an end, and\n"
                 "the objects with most bytes behind them. It looks at all of the version. -n COUNT lines of each "
                 "(20),\n"
                 "--all: all. --path PATH: who keeps the object alive that this place leads to, or is in, from the "
                 "root\n"
                 "to it.\n",
         .most = 2,
         .has_json = true,
         .has_limit = true,
         .options = OWN_ALL | OWN_PATH | TAKES_IMAGE,
         .own = " [--path PATH] [--all]",
         .run = tool_lint},
        {.name = "branch",
         .operands = "[CONTAINER [NAME [REF]]]",
         .summary = "list, make or delete branches",
         .help = "Lists the branches of a container, * before the current one; or makes branch NAME, which\n"
                 "begins with version REF, or with the newest of the current branch. -d CONTAINER NAME deletes\n"
                 "it with all versions that only it has, for ever, without asking.\n",
         .most = 3,
         .has_json = true,
         .has_delete = true,
         .run = tool_branch},
        {.name = "switch",
         .operands = "CONTAINER BRANCH",
         .summary = "make another branch the current one",
         .help = "Makes BRANCH the current one: its newest version is what a program restores from now on, and\n"
                 "where its points go on. A program that has the container open stays where it is.\n",
         .least = 2,
         .most = 2,
         .run = tool_switch},
        {.name = "tag",
         .operands = "[CONTAINER [NAME [REF]]]",
         .summary = "list, give or take away tags",
         .help = "Lists the tags of a container's versions; or gives tag NAME to version REF, or to the newest\n"
                 "of the current branch: a version is not dropped as long as it has one. -d CONTAINER NAME\n"
                 "takes it away.\n",
         .most = 3,
         .has_json = true,
         .has_delete = true,
         .run = tool_tag},
        {.name = "stat",
         .operands = "[CONTAINER]",
         .summary = "what its persistence points cost",
         .help = "Shows points, bytes stored, points queued and their lag, and the program's pauses (median,\n"
                 "99th percentile, longest), as the newest version recorded them.\n",
         .most = 1,
         .has_json = true,
         .run = tool_stat},
        {.name = "check",
         .operands = "[CONTAINER]",
         .summary = "verify everything that is stored",
         .help = "Reads every block of one container, or of all, against its checksum. Names each damage, and\n"
                 "the newest version that is wholly right. Exit status 1 if damage was found.\n",
         .most = 1,
         .has_json = true,
         .run = tool_check},
        {.name = "image",
         .operands = "[[CONTAINER] REF] FILE",
         .summary = "write a version as a file that processes map",
         .help = "Writes version REF, or the newest of the current branch, as an image: one file that any number\n"
                 "of processes open with pCOpenImage, without the volume, sharing its memory. An image of that name\n"
                 "is replaced. --check FILE verifies every page of an image; exit status 1 if it is damaged.\n",
         .least = 1,
         .most = 3,
         .has_json = true,
         .has_check = true,
         .run = tool_image},
        {.name = "export",
         .operands = "[CONTAINER [REF]]",
         .summary = "versions as a stream, for another volume",
         .help = "Writes a version, or the newest of the current branch, to standard output or FILE, compressed and\n"
                 "checked. --all: all branches, tags and versions that are kept. --since BASE: only what changed\n"
                 "since that version, which the other volume must have; with --all the versions between, too.\n"
                 "What it says of that it says on standard error, or, with -o and --json, on standard output.\n",
         .most = 2,
         .has_json = true,
         .options = OWN_ALL | OWN_SINCE | OWN_OUTPUT,
         .own = " [--all] [--since BASE] [-o FILE]",
         .run = tool_export},
        {.name = "import",
         .operands = "[FILE]",
         .summary = "take in what export wrote",
         .help = "Reads a stream from FILE or standard input into the volume, which is made if it is missing. A\n"
                 "container that is not there is made; --as MAGIC gives it another number. One version becomes\n"
                 "branch main of such a container, else a branch that --branch NAME names; an increment goes on\n"
                 "where its base is the newest version of a branch, or begins branch NAME there. Versions that are\n"
                 "there already are passed over: what was broken off can be done again.\n",
         .most = 1,
         .has_json = true,
         .options = OWN_AS | OWN_BRANCH,
         .own = " [--as MAGIC] [--branch NAME]",
         .run = tool_import},
        {.name = "prune",
         .operands = "[CONTAINER]",
         .summary = "drop now what need not be kept",
         .help = "Drops the versions that the container's attributes let go, of all branches that nobody else\n"
                 "writes, and tells how many they were and how much became free for others. --keep COUNT and\n"
                 "--keep-seconds SECONDS hold instead of the attributes this once; -n only tells. Newest, tagged\n"
                 "and read versions stay, and those that branches begin with.\n",
         .most = 1,
         .has_json = true,
         .options = OWN_DRY | OWN_KEEP | OWN_KEEP_SECONDS,
         .own = " [-n] [--keep COUNT] [--keep-seconds SECONDS]",
         .run = tool_prune},
        {.name = "rm",
         .operands = "CONTAINER...",
         .summary = "delete containers with all their versions",
         .help = "Deletes the named containers, all versions of them, for ever, without asking. A container\n"
                 "that a process has open for writing is not deleted.\n",
         .least = 1,
         .most = 1000,
         .run = tool_rm},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void usage(FILE *to)
{
	fputs("usage: softpm [-v VOLUME] COMMAND [--json] [ARGUMENTS]\n\n", to);
	for (unsigned i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-6s %-25s %s\n", commands[i].name, commands[i].operands, commands[i].summary);
	fputs("  help   [COMMAND]                 this text, or more about a command\n"
	      "\n"
	      "  -v, --volume VOLUME  the volume; else $SOFTPM_VOLUME, else softpm.vol\n"
	      "      --json           JSON instead of text\n"
	      "  -n, --limit COUNT    with log: the newest COUNT versions only; with browse: elements of each row\n"
	      "      --path PATH, --depth LEVELS   with browse: where to begin, how deep to go\n"
	      "  -d, --delete         with branch, tag: delete the one that is named\n"
	      "      --check          with image: verify the one that is named\n"
	      "      --objects        with diff: list the objects that differ\n"
	      "      --all            with export: all branches, tags and versions; with browse: no limits\n"
	      "      --since REF      with export: only what changed since that version\n"
	      "  -o, --output FILE    with export: to that file\n"
	      "      --as MAGIC       with import: the container's number here\n"
	      "      --branch NAME    with import: the branch that it becomes\n"
	      "  -n, --dry-run        with prune: only tell what would be dropped\n"
	      "      --keep COUNT, --keep-seconds SECONDS   with prune: instead of the attributes\n"
	      "      --subtrees       with map: what each member of the root leads to\n"
	      "      --port PORT, --address ADDRESS, --write   with web: where, and whether it may change things\n"
	      "      --version        SoftPM's version\n"
	      "\n"
	      "A CONTAINER is a magic number or a name. It may be left out where the volume holds only one.\n"
	      "A REF calls a version: a branch (its newest) or tag, 42, main:42, main~3 (third before), "
	      "@2026-11-20T10:00.\n"
	      "Exit status: 0 yes; 1 no, or damage found; 2 wrong usage.\n",
	      to);
}

static const struct command *command_find(const char *name)
{
	for (unsigned i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	complain("there is no command '%s'; softpm help lists them", name);
	return NULL;
}

static void command_print(FILE *to, const struct command *c)
{
	fprintf(to, "%s%s%s%s%s%s%s%s\n", c->name, c->has_json ? " [--json]" : "", c->has_limit ? " [-n COUNT]" : "",
	        c->has_delete ? " [-d]" : "", c->has_check ? " [--check]" : "", c->own ? c->own : "",
	        c->operands[0] ? " " : "", c->operands);
}

static int help(int argc, char **argv)
{
	const struct command *c;

	if (!argc) {
		usage(stdout);
		return TOOL_OK;
	}
	c = command_find(argv[0]);
	if (!c)
		return TOOL_USAGE;
	fputs("usage: softpm [-v VOLUME] ", stdout);
	command_print(stdout, c);
	printf("\n%s", c->help);
	return TOOL_OK;
}

static int limit_parse(const char *text, uint64_t *limit)
{
	char *end;

	errno = 0;
	*limit = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || !*limit) {
		complain("'%s' is no count", text);
		return -1;
	}
	return 0;
}

static int number_parse(const char *text, long least, long most, long *number)
{
	char *end;

	errno = 0;
	*number = strtol(text, &end, 0);
	if (!*text || *end || errno || *number < least || *number > most) {
		complain("'%s' is no number here", text);
		return -1;
	}
	return 0;
}

enum {
	OPTION_JSON = 256,
	OPTION_VERSION,
	OPTION_CHECK,
	OPTION_DRY,
	OPTION_KEEP,
	OPTION_KEEP_SECONDS,
	OPTION_ALL,
	OPTION_SINCE,
	OPTION_AS,
	OPTION_BRANCH,
	OPTION_OBJECTS,
	OPTION_PORT,
	OPTION_SUBTREES,
	OPTION_ADDRESS,
	OPTION_WRITE,
	OPTION_PATH,
	OPTION_DEPTH
};

/* Those of one command: notes that they were given. -1 to go on, or the exit status. */
static int own_parse(int option, struct options *o, unsigned *own)
{
	static unsigned keep, keep_seconds, depth;
	static int as;
	long number = 0;

	switch (option) {
	case OPTION_DRY:
		o->is_dry = true;
		*own |= OWN_DRY;
		return -1;
	case OPTION_KEEP:
	case OPTION_KEEP_SECONDS:
		if (number_parse(optarg, 0, UINT_MAX, &number))
			return TOOL_USAGE;
		*(option == OPTION_KEEP ? &keep : &keep_seconds) = (unsigned)number;
		*(option == OPTION_KEEP ? &o->keep : &o->keep_seconds) = option == OPTION_KEEP ? &keep : &keep_seconds;
		*own |= option == OPTION_KEEP ? OWN_KEEP : OWN_KEEP_SECONDS;
		return -1;
	case OPTION_ALL:
		o->is_all = true;
		*own |= OWN_ALL;
		return -1;
	case OPTION_SINCE:
		o->since = optarg;
		*own |= OWN_SINCE;
		return -1;
	case 'o':
		o->output = optarg;
		*own |= OWN_OUTPUT;
		return -1;
	case OPTION_AS:
		if (number_parse(optarg, INT_MIN, INT_MAX, &number))
			return TOOL_USAGE;
		as = (int)number;
		o->as = &as;
		*own |= OWN_AS;
		return -1;
	case OPTION_PORT:
		if (number_parse(optarg, 0, 65535, &number))
			return TOOL_USAGE;
		o->port = (unsigned)number;
		*own |= OWN_WEB;
		return -1;
	case OPTION_SUBTREES:
		o->has_subtrees = true;
		*own |= OWN_SUBTREES;
		return -1;
	case OPTION_ADDRESS:
		o->address = optarg;
		*own |= OWN_WEB;
		return -1;
	case OPTION_WRITE:
		o->is_write = true;
		*own |= OWN_WEB;
		return -1;
	case OPTION_OBJECTS:
		o->has_objects = true;
		*own |= OWN_OBJECTS;
		return -1;
	case OPTION_PATH:
		o->path = optarg;
		*own |= OWN_PATH;
		return -1;
	case OPTION_DEPTH:
		if (number_parse(optarg, 0, 1000000, &number))
			return TOOL_USAGE;
		depth = (unsigned)number;
		o->depth = &depth;
		*own |= OWN_DEPTH;
		return -1;
	case OPTION_BRANCH:
		o->branch = optarg;
		*own |= OWN_BRANCH;
		return -1;
	default:
		return TOOL_USAGE; /* getopt said why */
	}
}

/* -n means something else to prune. */
static bool is_for_prune(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		for (unsigned k = 0; k < COMMANDS; k++)
			if (!strcmp(argv[i], commands[k].name))
				return commands[k].options & OWN_DRY;
	return false;
}

/* Returns -1 to go on, or the exit status. Moves the operands behind optind. */
static int options_parse(int argc, char **argv, struct options *o, unsigned *own)
{
	static const struct option known[] = {{"volume", required_argument, NULL, 'v'},
	                                      {"json", no_argument, NULL, OPTION_JSON},
	                                      {"limit", required_argument, NULL, 'n'},
	                                      {"help", no_argument, NULL, 'h'},
	                                      {"delete", no_argument, NULL, 'd'},
	                                      {"check", no_argument, NULL, OPTION_CHECK},
	                                      {"dry-run", no_argument, NULL, OPTION_DRY},
	                                      {"keep", required_argument, NULL, OPTION_KEEP},
	                                      {"keep-seconds", required_argument, NULL, OPTION_KEEP_SECONDS},
	                                      {"all", no_argument, NULL, OPTION_ALL},
	                                      {"since", required_argument, NULL, OPTION_SINCE},
	                                      {"output", required_argument, NULL, 'o'},
	                                      {"as", required_argument, NULL, OPTION_AS},
	                                      {"branch", required_argument, NULL, OPTION_BRANCH},
	                                      {"objects", no_argument, NULL, OPTION_OBJECTS},
	                                      {"subtrees", no_argument, NULL, OPTION_SUBTREES},
	                                      {"port", required_argument, NULL, OPTION_PORT},
	                                      {"address", required_argument, NULL, OPTION_ADDRESS},
	                                      {"write", no_argument, NULL, OPTION_WRITE},
	                                      {"path", required_argument, NULL, OPTION_PATH},
	                                      {"depth", required_argument, NULL, OPTION_DEPTH},
	                                      {"version", no_argument, NULL, OPTION_VERSION},
	                                      {NULL, 0, NULL, 0}};
	bool is_help = false, is_dry_n = is_for_prune(argc, argv);
	int option, status;

	while ((option = getopt_long(argc, argv, is_dry_n ? "v:o:ndh" : "v:o:n:dh", known, NULL)) != -1) {
		if (option == 'n' && is_dry_n)
			option = OPTION_DRY;
		switch (option) {
		case 'v':
			o->volume = optarg;
			break;
		case OPTION_JSON:
			o->is_json = true;
			break;
		case 'n':
			if (limit_parse(optarg, &o->limit))
				return TOOL_USAGE;
			break;
		case 'd':
			o->is_delete = true;
			break;
		case OPTION_CHECK:
			o->is_check = true;
			break;
		case 'h':
			is_help = true;
			break;
		case OPTION_VERSION:
			printf("softpm %s\n", pVersionString());
			return TOOL_OK;
		default:
			status = own_parse(option, o, own);
			if (status >= 0)
				return status;
		}
	}
	return is_help ? help(argc > optind, argv + optind) : -1;
}

static bool is_misused(const struct command *c, const struct options *o, unsigned own, int argc)
{
	return (own & ~c->options) || argc < c->least || argc > c->most || (o->limit && !c->has_limit) ||
	       (o->is_json && !c->has_json) || (o->is_delete && (!c->has_delete || o->is_json || argc != 2)) ||
	       (o->is_check && (!c->has_check || argc != 1));
}

static int command_run(const struct command *c, struct options *o, unsigned own, int argc, char **argv)
{
	int status;

	if (is_misused(c, o, own, argc)) {
		fputs("softpm: usage: softpm [-v VOLUME] ", stderr);
		command_print(stderr, c);
		return TOOL_USAGE;
	}
	o->takes_image = c->options & TAKES_IMAGE;
	status = c->run(o, argc, argv);
	if (fflush(stdout) || ferror(stdout))
		status = complain("standard output: %s", strerror(errno));
	return status;
}

/* How many stand behind "--". */
static int operands_behind(int argc, char **argv)
{
	int i = 1;

	while (i < argc && strcmp(argv[i], "--") != 0)
		i++;
	return i < argc ? argc - i - 1 : 0;
}

int main(int argc, char **argv)
{
	struct options o = {.behind = operands_behind(argc, argv)};
	const struct command *c;
	unsigned own = 0;
	int status = options_parse(argc, argv, &o, &own);

	if (status >= 0)
		return status;
	argc -= optind;
	argv += optind;
	if (!argc) {
		usage(stderr);
		return TOOL_USAGE;
	}
	if (!strcmp(argv[0], "help"))
		return help(argc - 1, argv + 1);
	c = command_find(argv[0]);
	return c ? command_run(c, &o, own, argc - 1, argv + 1) : TOOL_USAGE;
}
