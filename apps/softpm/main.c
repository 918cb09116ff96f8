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
	bool has_json, has_limit;
	int (*run)(const struct options *o, int argc, char **argv);
};

static const struct command commands[] = {
        {"info", "", "the volume and its containers",
         "Shows the volume's format, identity, size and free space, and for each container its magic number, its\n"
         "name, newest version, pages and live bytes.\n",
         0, 0, true, false, tool_info},
        {"log", "[CONTAINER]", "versions of a container, newest first",
         "Shows for each version when it was made, how long the program paused for it, how much was written, how\n"
         "much was alive, and the message given to pPointMsg. -n COUNT shows the newest COUNT only.\n",
         0, 1, true, true, tool_log},
        {"stat", "[CONTAINER]", "what its persistence points cost",
         "Shows points, bytes stored, points queued and their lag, and the program's pauses (median, 99th\n"
         "percentile, longest), as the newest version recorded them.\n",
         0, 1, true, false, tool_stat},
        {"check", "[CONTAINER]", "verify everything that is stored",
         "Reads every block of one container, or of all, against its checksum. Names each damage, and the newest\n"
         "version that is wholly right. Exit status 1 if damage was found.\n",
         0, 1, true, false, tool_check},
        {"rm", "CONTAINER...", "delete containers with all their versions",
         "Deletes the named containers, all versions of them, for ever, without asking. A container that a\n"
         "process has open for writing is not deleted.\n",
         1, 1000, false, false, tool_rm},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void usage(FILE *to)
{
	fputs("usage: softpm [-v VOLUME] COMMAND [--json] [ARGUMENTS]\n\n", to);
	for (unsigned i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-5s %-13s %s\n", commands[i].name, commands[i].operands, commands[i].summary);
	fputs("  help  [COMMAND]     this text, or more about a command\n"
	      "\n"
	      "  -v, --volume VOLUME the volume; else $SOFTPM_VOLUME, else softpm.vol\n"
	      "      --json          JSON instead of text\n"
	      "  -n, --limit COUNT   with log: the newest COUNT versions only\n"
	      "      --version       SoftPM's version\n"
	      "\n"
	      "A CONTAINER is a magic number or a name. It may be left out where the volume holds only one.\n"
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
	printf("usage: softpm [-v VOLUME] %s%s%s%s%s\n\n%s", c->name, c->has_json ? " [--json]" : "",
	       c->has_limit ? " [-n COUNT]" : "", c->operands[0] ? " " : "", c->operands, c->help);
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

enum { OPTION_JSON = 256, OPTION_VERSION };

/* Returns -1 to go on, or the exit status. Moves the operands behind optind. */
static int options_parse(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {
	        {"volume", required_argument, NULL, 'v'},       {"json", no_argument, NULL, OPTION_JSON},
	        {"limit", required_argument, NULL, 'n'},        {"help", no_argument, NULL, 'h'},
	        {"version", no_argument, NULL, OPTION_VERSION}, {NULL, 0, NULL, 0}};
	bool is_help = false;
	int option;

	while ((option = getopt_long(argc, argv, "v:n:h", known, NULL)) != -1) {
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

static int command_run(const struct command *c, const struct options *o, int argc, char **argv)
{
	int status;

	if (argc < c->least || argc > c->most || (o->limit && !c->has_limit) || (o->is_json && !c->has_json)) {
		complain("usage: softpm [-v VOLUME] %s%s%s %s", c->name, c->has_json ? " [--json]" : "",
		         c->has_limit ? " [-n COUNT]" : "", c->operands);
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
