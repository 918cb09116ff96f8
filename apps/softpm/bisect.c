/* bisect.c - softpm bisect: the first version that a command calls bad, between one that is good and one that is not.
 *
 * The versions behind the good one up to the bad one, along parents, are halved as git bisect does. The command gets a version's contents (softpm
 * browse --json --all) on its standard input, made as it reads them, and its name in $SOFTPM_REF, so that it can ask softpm for more. Versions
 * that it can't tell of are passed over: then its neighbours are asked.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <softpm/look.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum verdict { UNKNOWN, GOOD, BAD, SKIPPED, BROKEN };
enum { STATUS_SKIP = 125, STATUS_BROKEN = 128 };

struct candidate {
	int64_t version, time_ns;
	char branch[64], message[256];
	enum verdict verdict;
};
struct bisecting {
	const struct options *o;
	const struct listed *c;
	struct candidate good;
	struct candidate *version; /* the newest first; the first is bad */
	size_t n, room;
	bool has_good; /* it was found */
	struct json_object *tested;
	char **command;
};

/* ---- which versions ---- */

static void candidate_set(struct candidate *to, const struct pversion *v)
{
	*to = (struct candidate){.version = v->version, .time_ns = v->time_ns};
	snprintf(to->branch, sizeof(to->branch), "%s", v->branch);
	snprintf(to->message, sizeof(to->message), "%s", v->message);
}

static int good_note(const struct pversion *v, void *arg)
{
	candidate_set(&((struct bisecting *)arg)->good, v);
	return 1;
}

static int candidate_note(const struct pversion *v, void *arg)
{
	struct bisecting *b = arg;

	if (v->version == b->good.version && !strcmp(v->branch, b->good.branch)) {
		b->has_good = true;
		return 1;
	}
	if (b->n == b->room) {
		b->room = b->room * 2 + 64;
		b->version = realloc(b->version, b->room * sizeof(*b->version));
		if (!b->version)
			out_of_memory();
	}
	candidate_set(&b->version[b->n++], v);
	return 0;
}

static int candidates_read(struct bisecting *b, const char *good, const char *bad)
{
	if (pVersions(b->c->magic, good, good_note, b) < 0 || pVersions(b->c->magic, bad, candidate_note, b) < 0)
		return complain("%s", pErrorMsg());
	if (!b->has_good || !b->n)
		return complain("version %s is not one before %s", text_version(b->good.branch, b->good.version), bad);
	b->version[0].verdict = BAD;
	return TOOL_OK;
}

/* ---- the command ---- */

static void descriptor_move(int from, int to)
{
	if (from == to)
		return;
	dup2(from, to);
	close(from);
}

/* Writes the version to the pipe until nobody reads any more. */
static pid_t contents_begin(const struct bisecting *b, const char *ref, int to)
{
	char magic[32];
	pid_t child = fork();

	if (child)
		return child;
	snprintf(magic, sizeof(magic), "%d", b->c->magic);
	signal(SIGPIPE, SIG_DFL);
	descriptor_move(to, STDOUT_FILENO);
	execl("/proc/self/exe", "softpm", "-v", volume_name(b->o), "browse", "--json", "--all", "--", magic, ref, NULL);
	_exit(TOOL_NO);
}

static pid_t command_begin(const struct bisecting *b, const char *ref, int from)
{
	char magic[32];
	pid_t child = fork();

	if (child)
		return child;
	snprintf(magic, sizeof(magic), "%d", b->c->magic);
	setenv("SOFTPM_REF", ref, 1);
	setenv("SOFTPM_VOLUME", volume_name(b->o), 1);
	setenv("SOFTPM_CONTAINER", magic, 1);
	descriptor_move(from, STDIN_FILENO);
	execvp(b->command[0], b->command);
	fprintf(stderr, "softpm: %s: %s\n", b->command[0], strerror(errno));
	_exit(STATUS_BROKEN);
}

static enum verdict verdict_of(int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) >= STATUS_BROKEN)
		return BROKEN; /* killed, or not begun: that says nothing of the version */
	return !WEXITSTATUS(status) ? GOOD : WEXITSTATUS(status) == STATUS_SKIP ? SKIPPED : BAD;
}

static enum verdict command_ask(const struct bisecting *b, const char *ref)
{
	int pipes[2], status = 0, ignored;
	pid_t contents, command;

	fflush(NULL);
	if (pipe2(pipes, O_CLOEXEC))
		return BROKEN;
	contents = contents_begin(b, ref, pipes[1]);
	close(pipes[1]);
	command = contents < 0 ? -1 : command_begin(b, ref, pipes[0]);
	close(pipes[0]);
	if (command < 0 || waitpid(command, &status, 0) < 0)
		status = -1;
	if (contents > 0)
		waitpid(contents, &ignored, 0);
	return status == -1 ? BROKEN : verdict_of(status);
}

/* It is kept meanwhile: a program that goes on drops old ones. */
static enum verdict version_ask(const struct bisecting *b, const char *ref)
{
	struct plook *look = pLookOpen(b->c->magic, ref);
	enum verdict verdict;

	if (!look)
		complain("%s", pErrorMsg());
	verdict = look ? command_ask(b, ref) : SKIPPED;
	pLookClose(look);
	return verdict;
}

static void verdict_tell(struct bisecting *b, const struct candidate *v, const char *ref)
{
	static const char *const words[] = {
	        [GOOD] = "good", [BAD] = "bad", [SKIPPED] = "skipped", [BROKEN] = "no answer"};
	struct json_object *o;

	if (!b->tested) {
		printf("%s  %s  %s%s%s\n", text_plain(ref), text_time(v->time_ns), words[v->verdict],
		       v->message[0] ? "  " : "", text_plain(v->message));
		return;
	}
	o = json_object_new_object();
	json_text(o, "branch", v->branch);
	json_count(o, "version", (uint64_t)v->version);
	json_text(o, "verdict", words[v->verdict]);
	json_object_array_add(b->tested, o);
}

/* ---- halving ---- */

/* Of those between bad (the lower index) and good the one nearest to the middle that was not asked yet; good: there is none. */
static size_t middle_of(const struct bisecting *b, size_t bad, size_t good)
{
	size_t middle = bad + (good - bad) / 2;

	for (size_t away = 0; away < good - bad; away++) {
		if (middle > bad + away && b->version[middle - away].verdict == UNKNOWN)
			return middle - away;
		if (middle + away < good && middle + away > bad && b->version[middle + away].verdict == UNKNOWN)
			return middle + away;
	}
	return good;
}

static int first_bad_tell(struct bisecting *b, size_t bad, size_t good)
{
	const struct candidate *v = &b->version[bad];
	struct json_object *o = json_object_new_object();

	if (!b->tested) {
		json_object_put(o);
		if (good - bad > 1)
			printf("the first bad version is one of %zu: %s, or one of those before it that were skipped\n",
			       good - bad, text_version(v->branch, v->version));
		else
			printf("%s is the first bad version: %s%s%s\n", text_version(v->branch, v->version),
			       text_time(v->time_ns), v->message[0] ? "  " : "", text_plain(v->message));
		return good - bad > 1 ? TOOL_NO : TOOL_OK;
	}
	json_text(o, "branch", v->branch);
	json_count(o, "version", (uint64_t)v->version);
	json_time(o, "time", v->time_ns);
	json_text(o, "message", v->message);
	json_object_object_add(o, "is_sure", json_object_new_boolean(good - bad == 1));
	json_object_object_add(o, "tested", b->tested);
	json_print(o);
	b->tested = NULL;
	return good - bad > 1 ? TOOL_NO : TOOL_OK;
}

static int halve(struct bisecting *b)
{
	size_t bad = 0, good = b->n, next;

	while ((next = middle_of(b, bad, good)) != good) {
		struct candidate *v = &b->version[next];
		char ref[128];

		snprintf(ref, sizeof(ref), "%s:%lld", v->branch, (long long)v->version);
		v->verdict = version_ask(b, ref);
		if (v->verdict == BROKEN)
			return complain("the command gave no answer for version %s", ref);
		verdict_tell(b, v, ref);
		if (v->verdict == BAD)
			bad = next;
		else if (v->verdict == GOOD)
			good = next;
	}
	return first_bad_tell(b, bad, good);
}

/* [CONTAINER] GOOD BAD -- COMMAND...: o->behind of argv are the command. */
static int bisect_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct bisecting b = {.o = o, .c = c, .command = argv + argc - o->behind};
	int refs = argc - o->behind, status;

	if (o->is_json)
		b.tested = json_object_new_array();
	status = candidates_read(&b, argv[refs - 2], argv[refs - 1]);
	if (status == TOOL_OK)
		status = halve(&b);
	json_object_put(b.tested);
	free(b.version);
	return status;
}

int tool_bisect(const struct options *o, int argc, char **argv)
{
	int refs = argc - o->behind;

	if (!o->behind || refs < 2 || refs > 3) {
		fputs("softpm: usage: softpm bisect [--json] [CONTAINER] GOOD BAD -- COMMAND...\n", stderr);
		return TOOL_USAGE;
	}
	return container_run_for(o, refs > 2 ? argv[0] : NULL, argc, argv, bisect_run);
}
