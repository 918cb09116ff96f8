/* story.c - makes a container with branches, for tool.sh. Each word on the command line is one step:
 *
 *     main        a version on that branch; its message is "main N", N being how many there are from the first on
 *     main/try    branch try, which begins with the last version of main
 *     -           the clock goes an hour back
 *     .           it says "ready", and goes on when its input is at an end
 */
#include <softpm.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BRANCHES = 16 };

struct branch {
	char name[64];
	int id;
	long *versions; /* its root */
};
static struct branch branch[BRANCHES];
static int branches;

static time_t seconds_back;

/* The library's, too. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
	int err = (int)syscall(SYS_clock_gettime, clock, now);

	if (!err && clock == CLOCK_REALTIME)
		now->tv_sec -= seconds_back;
	return err;
}

static struct branch *find(const char *name)
{
	for (int i = 0; i < branches; i++)
		if (!strcmp(branch[i].name, name))
			return &branch[i];
	return NULL;
}

static int version_make(struct branch *b)
{
	char message[100];

	snprintf(message, sizeof(message), "%s %ld", b->name, ++*b->versions);
	return !pPointMsg(b->id, message) || pSync(b->id);
}

static int branch_make(const struct branch *from, const char *name)
{
	struct branch *b = &branch[branches];
	void *root;

	if (branches++ == BRANCHES)
		return 1;
	snprintf(b->name, sizeof(b->name), "%s", name);
	b->id = pCClone(from->id, name, &root);
	b->versions = root;
	return !b->id;
}

static int others_have_a_look(void)
{
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

static int step(char *word)
{
	char *slash = strchr(word, '/');
	struct branch *b;

	if (!strcmp(word, "."))
		return others_have_a_look();
	if (!strcmp(word, "-")) {
		seconds_back += 3600;
		return 0;
	}
	if (slash)
		*slash = 0;
	b = find(word);
	if (!b)
		return 1;
	return slash ? branch_make(b, slash + 1) : version_make(b);
}

int main(int argc, char **argv)
{
	void *root;

	branch[0].id = pCAlloc(7, sizeof(long), &root);
	branch[0].versions = root;
	strcpy(branch[branches++].name, "main");
	for (int i = 1; i < argc; i++)
		if (!branch[0].id || step(argv[i]))
			return fprintf(stderr, "%s: %s\n", argv[i], pErrorMsg()), 1;
	return pVClose() ? 1 : 0;
}
