/* main.c - softpm: looks at volumes and their containers from the command line.
 *
 * Options may stand before or behind the subcommand. Exit status: 0 yes, 1 no or damage found, 2 misuse.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
	const char *name, *operands, *summary, *help;
	int least, most; /* operands */
	bool has_json, has_limit, has_delete, has_check;
	int (*run)(const struct options *o, int argc, char **argv);
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
        {.name = "diff",
         .operands = "CONTAINER REF [REF]",
         .summary = "how much differs between two versions",
         .help = "Counts the pages of 4096 bytes that changed, came or went from one version to another, or to\n"
                 "the newest of the current branch, and the bytes in them that differ.\n",
         .least = 2,
         .most = 3,
         .has_json = true,
         .run = tool_diff},
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
	      "  -n, --limit COUNT    with log: the newest COUNT versions only\n"
	      "  -d, --delete         with branch, tag: delete the one that is named\n"
	      "      --check          with image: verify the one that is named\n"
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
	fprintf(to, "%s%s%s%s%s%s%s\n", c->name, c->has_json ? " [--json]" : "", c->has_limit ? " [-n COUNT]" : "",
	        c->has_delete ? " [-d]" : "", c->has_check ? " [--check]" : "", c->operands[0] ? " " : "", c->operands);
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

enum { OPTION_JSON = 256, OPTION_VERSION, OPTION_CHECK };

/* Returns -1 to go on, or the exit status. Moves the operands behind optind. */
static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {{"volume", required_argument, NULL, 'v'},
	                                      {"json", no_argument, NULL, OPTION_JSON},
	                                      {"limit", required_argument, NULL, 'n'},
	                                      {"help", no_argument, NULL, 'h'},
	                                      {"delete", no_argument, NULL, 'd'},
	                                      {"check", no_argument, NULL, OPTION_CHECK},
	                                      {"version", no_argument, NULL, OPTION_VERSION},
	                                      {NULL, 0, NULL, 0}};
	bool is_help = false;
	int option;

	while ((option = getopt_long(argc, argv, "v:n:dh", known, NULL)) != -1) {
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
			return TOOL_USAGE; /* getopt said why */
		}
	}
	return is_help ? help(argc > optind, argv + optind) : -1;
}

static bool is_misused(const struct command *c, const struct options *o, int argc)
{
	return argc < c->least || argc > c->most || (o->limit && !c->has_limit) || (o->is_json && !c->has_json) ||
	       (o->is_delete && (!c->has_delete || o->is_json || argc != 2)) ||
	       (o->is_check && (!c->has_check || argc != 1));
}

static int command_run(const struct command *c, const struct options *o, int argc, char **argv)
{
	int status;

	if (is_misused(c, o, argc)) {
		fputs("softpm: usage: softpm [-v VOLUME] ", stderr);
		command_print(stderr, c);
		return TOOL_USAGE;
	}
	status = c->run(o, argc, argv);
	if (fflush(stdout) || ferror(stdout))
		status = complain("standard output: %s", strerror(errno));
	return status;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	const struct command *c;
	int status = options_parse(argc, argv, &o);

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
	return c ? command_run(c, &o, argc - 1, argv + 1) : TOOL_USAGE;
}
