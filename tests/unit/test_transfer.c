/* test_transfer.c - containers from one volume to another, by pExport and pImport. */
#include "book.h"
#include "expect.h"
#include "refs.h"
#include "scratch.h"
#include "sim_driver.h"
#include "softpm.h"
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, return 1)

enum { CONTAINER = 7, OTHER = 8, STEPS = 40, MAIN_VERSIONS = 20, TRY_FROM = 12, TRY_VERSIONS = 5 };

/* Of scratch(), for good. */
static const char *path(const char *name)
{
	static char paths[100][128];
	static unsigned n;

	for (unsigned i = 0; i < n; i++)
		if (!strcmp(strrchr(paths[i], '/') + 1, name))
			return paths[i];
	snprintf(paths[n], sizeof(paths[n]), "%s", scratch(name));
	return paths[n++];
}

/* Runs fn in a process of its own, so that the heap begins anew; fails if it does not return 0. */
static void in_process(int (*fn)(const char *from, const char *to), const char *from, const char *to)
{
	int status;
	pid_t child = fork();

	if (!child)
		_exit(fn(from, to));
	waitpid(child, &status, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the process ended with status 0x%x", status);
}

static void steps(struct book *b, unsigned n)
{
	while (n--)
		book_step(b);
}

static int attributes_set(int id, unsigned versions_kept)
{
	struct cattr *attr = pCGetAttr(CONTAINER);

	EXPECT(attr);
	attr->versions_kept = versions_kept;
	strcpy(attr->name, "the book");
	EXPECT(!pCSetAttr(id, attr));
	pCAttrFree(attr);
	return 0;
}

/* main: MAIN_VERSIONS versions; branch try from number TRY_FROM on, with TRY_VERSIONS more; tags; try is current. Of main, versions
 * beyond the last 4 that have no name are dropped in the end. */
static int book_history_make(const char *from, const char *to)
{
	void *root, *view;
	char message[32];
	int id, on;

	(void)to;
	EXPECT(!pVOpen(from));
	id = pCAlloc(CONTAINER, sizeof(struct book), &root);
	EXPECT(id && !attributes_set(id, 0));
	for (int v = 1; v <= MAIN_VERSIONS; v++) {
		steps(root, STEPS);
		snprintf(message, sizeof(message), "main %d", v);
		EXPECT(pPointMsg(id, message) == v);
	}
	EXPECT(!pSync(id));
	EXPECT(!pTag(CONTAINER, "third", "3") && !pTag(CONTAINER, "twelfth", "12") && !pTag(CONTAINER, "last", "main"));
	EXPECT(!pBranch(CONTAINER, "try", "12") && !pBranch(CONTAINER, "bare", "third"));
	EXPECT(!pCSwitch(id, "try", &root));
	for (int v = 1; v <= TRY_VERSIONS; v++) {
		steps(root, STEPS);
		EXPECT(pPointSync(id) == MAIN_VERSIONS + v);
	}
	EXPECT(!pCSwitch(id, "main", &root) && !attributes_set(id, 4));
	EXPECT(pPointSync(id) > MAIN_VERSIONS); /* of which all that changed is what is kept */
	EXPECT(!pCSwitch(id, "try", &root));
	on = pCOpenAt(CONTAINER, "third", &view);
	EXPECT(on && book_is_right(view));
	EXPECT(!pVClose());
	return 0;
}

/* ---- what volumes hold, as text ---- */

static const char *branch_now;

static int version_print(const struct pversion *v, void *f)
{
	fprintf(f, "version %lld %lld %s %s %llu %llu\n", (long long)v->version, (long long)v->time_ns, v->branch,
	        v->message, (unsigned long long)v->pages, (unsigned long long)v->live_bytes);
	return 0;
}

static int own_print(const struct pversion *v, void *f)
{
	return strcmp(v->branch, branch_now) ? 1 : version_print(v, f);
}

static int branch_print(const struct pbranch *b, void *f)
{
	branch_now = b->name;
	fprintf(f, "branch %s %s %lld %lld %d %s\n", b->name, b->parent, (long long)b->origin, (long long)b->newest,
	        b->is_current, b->damage ? b->damage : "");
	return pVersions(CONTAINER, b->name, own_print, f) < 0;
}

static int tag_print(const struct ptag *t, void *f)
{
	fprintf(f, "tag %s %lld %lld\n", t->name, (long long)t->version, (long long)t->time_ns);
	return 0;
}

static int line_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In any order the volume has them. */
static char *lines_sort(char *text)
{
	char *line[200], *sorted = calloc(1, strlen(text) + 2);
	size_t n = 0;

	for (char *l = strtok(text, "\n"); l && n < 200; l = strtok(NULL, "\n"))
		line[n++] = l;
	qsort(line, n, sizeof(*line), line_compare);
	for (size_t i = 0; i < n; i++)
		strcat(strcat(sorted, line[i]), "\n");
	free(text);
	return sorted;
}

/* Of the volume that is open. To be freed. */
static char *history_text(int magic)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct cattr *attr = pCGetAttr(magic);

	if (!attr || pBranches(magic, branch_print, f) || pTags(magic, tag_print, f))
		fprintf(f, "failed: %s", pErrorMsg());
	else
		fprintf(f, "attributes %s %u %u\n", attr->name, attr->versions_kept, attr->full_trace_every);
	pCAttrFree(attr);
	fclose(f);
	return lines_sort(text);
}

static char *text_of(const char *volume)
{
	char *text;

	if (pVOpen(volume))
		return strdup(pErrorMsg());
	text = history_text(CONTAINER);
	pVClose();
	return text;
}

/* Each version's book is right, and that of its number in the other volume. */
static int versions_compare(const char *from, const char *to)
{
	static const char *const refs[] = {"main", "main~1", "main~2", "third", "twelfth",
	                                   "last", "try",    "try~1",  "try~4", "bare"};
	uint64_t was[sizeof(refs) / sizeof(refs[0])];

	for (int turn = 0; turn < 2; turn++) {
		EXPECT(!pVOpen(turn ? to : from));
		for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++) {
			void *root;
			int id = pCOpenAt(CONTAINER, refs[i], &root);
			const struct book *b = root;

			EXPECT(id && book_is_right(b));
			if (turn)
				EXPECT(b->steps == was[i]);
			was[i] = b->steps;
			pCFree(id);
		}
		EXPECT(pCheck(CONTAINER, NULL, NULL, NULL) == 0);
		EXPECT(!pVClose());
	}
	return 0;
}

/* ---- calls ---- */

static int progress_note(const struct ptransfer *t, void *arg)
{
	*(struct ptransfer *)arg = *t;
	return 0;
}

static int export_to(const char *volume, const struct pexport *what, const char *stream)
{
	int fd = open(stream, O_WRONLY | O_CREAT | O_TRUNC, 0600), result;

	EXPECT(fd >= 0 && !pVOpen(volume));
	result = pExport(CONTAINER, what, fd);
	close(fd);
	EXPECT(!result && !pVClose());
	return 0;
}

/* -errno, or how many versions were imported. */
static int import_from(const char *volume, const char *stream, const struct pimport *how)
{
	struct ptransfer last = {.versions = 0};
	struct pimport with = how ? *how : (struct pimport){.magic = NULL};
	int fd = open(stream, O_RDONLY), result;

	with.fn = progress_note;
	with.arg = &last;
	if (pVOpen(volume))
		return -EBADF;
	result = pImport(fd, &with) ? -errno : (int)last.versions;
	close(fd);
	return pVClose() ? -EBADF : result;
}

static const struct pexport all = {.is_history = 1};

static int history_arrives(const char *from, const char *to)
{
	char *there, *here;
	int n;

	EXPECT(!export_to(from, &all, path("all.sp")));
	n = import_from(to, path("all.sp"), NULL);
	EXPECT(n > TRY_VERSIONS + 4);
	there = text_of(from);
	here = text_of(to);
	if (strcmp(there, here) != 0)
		fprintf(stderr, "there:\n%s\nhere:\n%s\n", there, here);
	EXPECT(!strcmp(there, here) && strstr(there, "branch try main 12 ") && strstr(there, "tag third 3"));
	free(there);
	EXPECT(import_from(to, path("all.sp"), NULL) == 0);
	there = text_of(to);
	EXPECT(!strcmp(there, here));
	free(there);
	free(here);
	return versions_compare(from, to);
}

/* A writer goes on with what was imported, and a later history brings what is new. */
static int history_goes_on(const char *from, const char *to)
{
	void *root;
	int id;
	char *there, *here;

	EXPECT(!pVOpen(from));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id);
	steps(root, STEPS);
	EXPECT(pPointSync(id) && !pCTag(id, "later", NULL) && !pBranch(CONTAINER, "more", "later"));
	EXPECT(!pVClose());
	EXPECT(!export_to(from, &all, path("all.sp")));
	EXPECT(import_from(to, path("all.sp"), NULL) == 1);
	there = text_of(from);
	here = text_of(to);
	EXPECT(!strcmp(there, here));
	free(there);
	free(here);
	EXPECT(!pVOpen(to));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id && book_is_right(root));
	steps(root, STEPS);
	EXPECT(pPointSync(id));
	EXPECT(!pVClose());
	EXPECT(import_from(to, path("all.sp"), NULL) == 0); /* what is there is ahead of it */
	return 0;
}

static void a_history_arrives_whole_and_once(void **state)
{
	(void)state;
	in_process(book_history_make, path("a.vol"), NULL);
	in_process(history_arrives, path("a.vol"), path("b.vol"));
	in_process(history_goes_on, path("a.vol"), path("b.vol"));
}

static int one_version_becomes_main_or_a_branch(const char *from, const char *to)
{
	static const int other = OTHER;
	struct pimport as = {.magic = &other}, named = {.branch = "from-afar"};
	void *root;
	int id;

	EXPECT(!export_to(from, &(struct pexport){.ref = "twelfth"}, path("one.sp")));
	EXPECT(import_from(to, path("one.sp"), &named) == -ENOENT);
	EXPECT(strstr(pErrorMsg(), "first branch is main"));
	EXPECT(import_from(to, path("one.sp"), NULL) == 1);
	EXPECT(import_from(to, path("one.sp"), NULL) == 0);
	EXPECT(!export_to(from, &(struct pexport){.ref = "main"}, path("newest.sp")));
	EXPECT(import_from(to, path("newest.sp"), NULL) == -EEXIST);
	EXPECT(strstr(pErrorMsg(), "name another one"));
	EXPECT(import_from(to, path("newest.sp"), &named) == 1);
	EXPECT(import_from(to, path("newest.sp"), &named) == 0);
	EXPECT(import_from(to, path("one.sp"), &named) == -EEXIST);
	EXPECT(import_from(to, path("newest.sp"), &(struct pimport){.branch = "1"}) == -EINVAL);
	EXPECT(import_from(to, path("one.sp"), &as) == 1);
	EXPECT(!pVOpen(to));
	id = pCOpenAt(CONTAINER, "from-afar", &root);
	EXPECT(id && book_is_right(root) && ((struct book *)root)->steps == MAIN_VERSIONS * STEPS);
	id = pCOpenAt(CONTAINER, "main", &root);
	EXPECT(id && book_is_right(root) && ((struct book *)root)->steps == 12 * STEPS);
	id = pCRestore(OTHER, &root);
	EXPECT(id && book_is_right(root) && ((struct book *)root)->steps == 12 * STEPS);
	steps(root, 3);
	EXPECT(pPointSync(id) == 13);
	EXPECT(pCheck(CONTAINER, NULL, NULL, NULL) == 0);
	EXPECT(!pVClose());
	return 0;
}

static int increments_go_on_where_they_should(const char *from, const char *to)
{
	struct pexport step = {.ref = "try~3", .since = "twelfth"}, rest = {.ref = "try", .since = "try~3"};
	struct pexport row = {.ref = "try", .since = "twelfth", .is_history = 1};
	void *root;
	int id, n;

	EXPECT(!export_to(from, &(struct pexport){.ref = "twelfth"}, path("base.sp")));
	EXPECT(!export_to(from, &step, path("step.sp")));
	EXPECT(!export_to(from, &rest, path("rest.sp")));
	EXPECT(!export_to(from, &row, path("row.sp")));
	EXPECT(!pVOpen(from));
	EXPECT(pExport(CONTAINER, &(struct pexport){.ref = "main", .since = "try"}, 1) && errno == EINVAL);
	EXPECT(pExport(CONTAINER, &(struct pexport){.ref = "main", .is_history = 1}, 1) && errno == EINVAL);
	EXPECT(!pVClose());

	EXPECT(import_from(to, path("step.sp"), NULL) == -ENOENT);
	EXPECT(import_from(to, path("base.sp"), NULL) == 1);
	EXPECT(import_from(to, path("rest.sp"), NULL) == -ENOENT);
	EXPECT(import_from(to, path("step.sp"), NULL) == 1);
	EXPECT(import_from(to, path("step.sp"), NULL) == 0);
	EXPECT(import_from(to, path("rest.sp"), NULL) == 1);
	EXPECT(import_from(to, path("step.sp"), NULL) == 0);
	EXPECT(import_from(to, path("rest.sp"), NULL) == 0);
	EXPECT(import_from(to, path("row.sp"), NULL) == -EEXIST); /* one between was left out here */
	n = import_from(to, path("row.sp"), &(struct pimport){.branch = "row"});
	EXPECT(n > 2);
	EXPECT(import_from(to, path("row.sp"), &(struct pimport){.branch = "row"}) == 0);
	EXPECT(!pVOpen(to));
	id = pCOpenAt(CONTAINER, "main", &root);
	EXPECT(id && book_is_right(root));
	id = pCOpenAt(CONTAINER, "row", &root);
	EXPECT(id && book_is_right(root));
	id = pCOpenAt(CONTAINER, "row~3", &root);
	EXPECT(id && book_is_right(root));
	EXPECT(pCheck(CONTAINER, NULL, NULL, NULL) == 0);
	EXPECT(!pVClose());
	return 0;
}

/* What was changed here is not what the other side goes on from: numbers may be the same. */
static int diverged_histories_are_refused(const char *from, const char *to)
{
	void *root;
	int id;

	EXPECT(!export_to(from, &(struct pexport){.ref = "main~1"}, path("base.sp")));
	EXPECT(!export_to(from, &(struct pexport){.ref = "main", .since = "main~1"}, path("next.sp")));
	EXPECT(!export_to(from, &all, path("all.sp")));
	EXPECT(import_from(to, path("base.sp"), NULL) == 1);
	EXPECT(!pVOpen(to));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id);
	steps(root, 1);
	EXPECT(pPointSync(id) == MAIN_VERSIONS + 1);
	EXPECT(!pVClose());
	EXPECT(import_from(to, path("next.sp"), NULL) == -EEXIST);
	EXPECT(strstr(pErrorMsg(), "version 20"));
	EXPECT(import_from(to, path("next.sp"), &(struct pimport){.branch = "theirs"}) == 1);
	EXPECT(import_from(to, path("all.sp"), NULL) == -EEXIST);
	EXPECT(strstr(pErrorMsg(), "went on differently"));
	EXPECT(import_from(to, path("all.sp"), &(struct pimport){.branch = "theirs"}) == -EINVAL);
	EXPECT(!pVOpen(to));
	id = pCOpenAt(CONTAINER, "theirs", &root);
	EXPECT(id && book_is_right(root));
	EXPECT(pCheck(CONTAINER, NULL, NULL, NULL) == 0);
	EXPECT(!pVClose());
	return 0;
}

/* The same number and time, another state. */
static int a_base_is_proved_by_its_pages(const char *from, const char *to)
{
	char cut[8192];
	uint64_t size;
	int fd;

	(void)from;
	/* Containers of the same magic in two volumes, which never had anything to do with each other. */
	EXPECT(!export_to(from, &(struct pexport){.ref = "main", .since = "main~1"}, path("next.sp")));
	EXPECT(!book_history_make(to, NULL));
	EXPECT(import_from(to, path("next.sp"), NULL) == -ENOENT);
	EXPECT(strstr(pErrorMsg(), "no version 20 such as"));
	/* A file that is no stream, and an empty one. */
	fd = open(path("text"), O_RDWR | O_CREAT, 0600);
	memset(cut, 'x', sizeof(cut));
	EXPECT(import_from(to, path("text"), NULL) == -EUCLEAN && strstr(pErrorMsg(), "after 0 bytes"));
	size = (uint64_t)write(fd, cut, sizeof(cut));
	EXPECT(size == sizeof(cut));
	close(fd);
	EXPECT(import_from(to, path("text"), NULL) == -EUCLEAN && strstr(pErrorMsg(), "does not begin as one"));
	return 0;
}

static void single_versions_and_increments(void **state)
{
	(void)state;
	in_process(book_history_make, path("c.vol"), NULL);
	in_process(one_version_becomes_main_or_a_branch, path("c.vol"), path("d.vol"));
	in_process(increments_go_on_where_they_should, path("c.vol"), path("e.vol"));
	in_process(diverged_histories_are_refused, path("c.vol"), path("f.vol"));
	in_process(a_base_is_proved_by_its_pages, path("c.vol"), path("g.vol"));
}

/* Cut off at some bytes: what was whole is there, and the whole stream goes on from there. */
static int a_broken_import_goes_on(const char *from, const char *to)
{
	char *there, *here;
	int fd, done = 0;
	off_t bytes;

	EXPECT(!export_to(from, &all, path("all.sp")));
	fd = open(path("all.sp"), O_RDONLY);
	bytes = lseek(fd, 0, SEEK_END);
	close(fd);
	for (int part = 1; part <= 8; part++) {
		char command[512];
		int n;

		snprintf(command, sizeof(command), "head -c %lld '%s' > '%s'", (long long)(bytes * part / 9),
		         path("all.sp"), path("part.sp"));
		EXPECT(!system(command));
		n = import_from(to, path("part.sp"), NULL);
		EXPECT(n == -EUCLEAN && strstr(pErrorMsg(), "cut off") && strstr(pErrorMsg(), "bytes"));
		done += strstr(pErrorMsg(), "; 0 versions") == NULL;
		EXPECT(!pVOpen(to));
		EXPECT(pCheck(CONTAINER, NULL, NULL, NULL) == 0 || errno == ENOENT);
		EXPECT(!pVClose());
	}
	EXPECT(done); /* some came at a time */
	EXPECT(import_from(to, path("all.sp"), NULL) > 0);
	there = text_of(from);
	here = text_of(to);
	/* Which branch is current, only a container's maker knows. */
	EXPECT(strlen(there) == strlen(here));
	free(there);
	free(here);
	return versions_compare(from, to);
}

static void a_stream_that_was_cut_off_can_be_imported_again(void **state)
{
	(void)state;
	in_process(book_history_make, path("h.vol"), NULL);
	in_process(a_broken_import_goes_on, path("h.vol"), path("i.vol"));
}

/* Somebody else writes the branch. */
static int others_are_not_disturbed(const char *from, const char *to)
{
	void *root;
	int id, fd[2];
	pid_t child;
	char c;

	EXPECT(!export_to(from, &(struct pexport){.ref = "main~1"}, path("base.sp")));
	EXPECT(!export_to(from, &(struct pexport){.ref = "main", .since = "main~1"}, path("next.sp")));
	EXPECT(import_from(to, path("base.sp"), NULL) == 1);
	EXPECT(!pipe(fd));
	child = fork();
	if (!child) { /* before anything is open here */
		if (pVOpen(to) || !pCRestore(CONTAINER, &root) || write(fd[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	EXPECT(read(fd[0], &c, 1) == 1);
	EXPECT(import_from(to, path("next.sp"), NULL) == -EAGAIN);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	EXPECT(!pVOpen(to));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id);
	fd[0] = open(path("next.sp"), O_RDONLY);
	EXPECT(pImport(fd[0], NULL) && errno == EBUSY);
	EXPECT(!pVClose());
	EXPECT(import_from(to, path("next.sp"), NULL) == 1);
	return 0;
}

static int stop_at_once(const struct ptransfer *t, void *arg)
{
	(void)t, (void)arg;
	return 42;
}

/* Branch bare has no version of its own. */
static int names_are_right(const struct ptransfer *t, void *arg)
{
	(void)arg;
	return !strcmp(t->branch, "bare") || strcmp(t->name, "the book") ? 41 : 0;
}

static int a_callback_can_stop_it(const char *from, const char *to)
{
	struct pexport what = {.is_history = 1, .fn = stop_at_once};
	int fd = memfd_create("stream", 0);

	EXPECT(!pVOpen(from));
	EXPECT(pExport(CONTAINER, &what, fd) == 42);
	EXPECT(!ftruncate(fd, 0) && lseek(fd, 0, SEEK_SET) == 0);
	EXPECT(pExport(CONTAINER, &(struct pexport){.is_history = 1, .fn = names_are_right}, fd) == 0);
	EXPECT(pExport(12345, NULL, fd) && errno == ENOENT);
	EXPECT(pExport(CONTAINER, NULL, -1) && errno == EBADF);
	EXPECT(!pVClose());
	lseek(fd, 0, SEEK_SET);
	EXPECT(!pVOpen(to));
	EXPECT(pImport(fd, &(struct pimport){.fn = stop_at_once}) == 42);
	EXPECT(pImport(-1, NULL) && errno == EBADF);
	EXPECT(!pVClose());
	return 0;
}

enum { OLD_VERSIONS = 5 };

struct writer {
	int id;
	void *root;
	unsigned told;
};

/* When the first version was told: later ones come, and none of the old ones is to be kept. */
static int drop_the_rest(const struct ptransfer *t, void *arg)
{
	struct writer *w = arg;

	w->told = (unsigned)t->versions;
	for (unsigned i = 0; i < 3 && t->versions == 1; i++) {
		steps(w->root, STEPS);
		EXPECT(pPointSync(w->id));
	}
	return t->versions == 1 && pPrune(CONTAINER, &(struct pprune){.versions_kept = &(unsigned){1}});
}

static int skipped_note(const struct ppruned *branch, void *arg)
{
	*(unsigned *)arg += branch->skipped != NULL;
	return 0;
}

/* What is being imported is left alone, and in nobody's way. */
static int prune_beside(const struct ptransfer *t, void *arg)
{
	unsigned skipped = 0;

	(void)arg;
	if (t->versions && !t->is_over)
		EXPECT(!pPrune(CONTAINER, &(struct pprune){.fn = skipped_note, .arg = &skipped}) && skipped == 1);
	return 0;
}

/* It goes through all the same, with what is left. */
static int versions_may_go_meanwhile(const char *from, const char *to)
{
	struct writer w;
	struct pexport what = {.is_history = 1, .fn = drop_the_rest, .arg = &w};
	int fd = memfd_create("stream", 0);

	EXPECT(!pVOpen(from));
	w.id = pCAlloc(CONTAINER, sizeof(struct book), &w.root);
	EXPECT(w.id && !attributes_set(w.id, 0));
	for (unsigned i = 0; i < OLD_VERSIONS; i++) {
		steps(w.root, STEPS);
		EXPECT(pPointSync(w.id));
	}
	EXPECT_ELSE(!pExport(CONTAINER, &what, fd), return fprintf(stderr, "%s\n", pErrorMsg()));
	EXPECT(w.told < OLD_VERSIONS && !pVClose());
	lseek(fd, 0, SEEK_SET);
	EXPECT(!pVOpen(to) && !pImport(fd, &(struct pimport){.fn = prune_beside}));
	w.id = pCRestore(CONTAINER, &w.root);
	EXPECT(w.id && book_is_right(w.root) && ((struct book *)w.root)->steps == OLD_VERSIONS * STEPS);
	EXPECT(!pVClose());
	return 0;
}

static int step_apply(const void *bytes, size_t n, void *arg)
{
	(void)bytes;
	steps(arg, (unsigned)n);
	return 0;
}

/* Inputs stay where they were recorded. */
static int inputs_stay_behind(const char *from, const char *to)
{
	void *root;
	int id;

	EXPECT(!pVOpen(from));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id);
	steps(root, 1);
	EXPECT(pRecord(id, "x", 1) && pPointSync(id) && pRecord(id, "yz", 2) && !pCTag(id, "recorded", NULL));
	EXPECT(!pVClose());
	EXPECT(!export_to(from, &(struct pexport){.ref = "recorded"}, path("recorded.sp")));
	EXPECT(!export_to(from, &(struct pexport){.since = "recorded~1", .ref = "recorded"}, path("step.sp")));
	EXPECT(import_from(to, path("recorded.sp"), NULL) == 1);
	EXPECT(!pVOpen(to));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id && pReplay(id, step_apply, root) == 0 && book_is_right(root));
	EXPECT(pRecord(id, "z", 1));
	EXPECT(!pVClose());
	EXPECT(!pVOpen(to));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id && pReplay(id, step_apply, root) == 1 && book_is_right(root));
	EXPECT(!pVClose());
	EXPECT(import_from(to, path("recorded.sp"), NULL) == 0);
	EXPECT(!pVOpen(from));
	id = pCRestore(CONTAINER, &root);
	EXPECT(id && pReplay(id, step_apply, root) == 1 && pPointSync(id));
	EXPECT(!pVClose());
	EXPECT(!export_to(from, &(struct pexport){.since = "recorded"}, path("step.sp")));
	EXPECT(import_from(to, path("step.sp"), NULL) == -EEXIST && strstr(pErrorMsg(), "recorded here"));
	EXPECT(import_from(to, path("step.sp"), &(struct pimport){.branch = "beside"}) == 1);
	EXPECT(!pVOpen(to));
	EXPECT(pCOpenAt(CONTAINER, "beside", &root) && book_is_right(root));
	EXPECT(!pVClose());
	return 0;
}

static void others_and_callers_have_a_say(void **state)
{
	(void)state;
	in_process(book_history_make, path("j.vol"), NULL);
	in_process(others_are_not_disturbed, path("j.vol"), path("k.vol"));
	in_process(a_callback_can_stop_it, path("j.vol"), path("l.vol"));
	in_process(inputs_stay_behind, path("j.vol"), path("o.vol"));
	in_process(versions_may_go_meanwhile, path("p.vol"), path("q.vol"));
}

/* ---- a large container: many batches, chunks, memory that does not grow with it ---- */

enum { LARGE_MIB = 96 };

struct large {
	unsigned char *block[LARGE_MIB];
};

static void large_fill(struct large *l, unsigned i, uint64_t *random)
{
	for (size_t at = 0; at < 1 << 20; at += 8) {
		uint64_t value = test_random(random);

		memcpy(l->block[i] + at, &value, sizeof(value));
	}
}

static int large_make(const char *from, const char *to)
{
	uint64_t random = 1;
	struct cattr *attr;
	void *root;
	struct large *l;
	int id;

	(void)to;
	EXPECT(!pVOpen(from));
	id = pCAlloc(CONTAINER, sizeof(struct large), &root);
	attr = pCGetAttr(CONTAINER);
	EXPECT(id && attr);
	attr->chunk_bytes = 65536;
	EXPECT(!pCSetAttr(id, attr));
	pCAttrFree(attr);
	l = root;
	for (unsigned i = 0; i < LARGE_MIB; i++) {
		l->block[i] = pMallocNoPtr(1 << 20);
		EXPECT(l->block[i]);
		large_fill(l, i, &random);
	}
	EXPECT(pPointSync(id) == 1);
	for (unsigned i = 0; i < LARGE_MIB; i += 2)
		memset(l->block[i] + 70000, 1, 100);
	pFree(l->block[LARGE_MIB - 1]);
	l->block[LARGE_MIB - 1] = NULL;
	EXPECT(pPointSync(id) == 2);
	EXPECT(!pVClose());
	return 0;
}

static int64_t memory_most_kib(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss;
}

static int large_moves(const char *from, const char *to)
{
	int64_t before = memory_most_kib(), grown;

	EXPECT(!export_to(from, &all, path("large.sp")));
	EXPECT(import_from(to, path("large.sp"), NULL) == 2);
	grown = memory_most_kib() - before;
	printf("exporting and importing %d MiB took %lld KiB of memory\n", LARGE_MIB, (long long)grown);
#ifndef __SANITIZE_ADDRESS__
	EXPECT(grown < 32 << 10);
#endif
	return 0;
}

static int large_is_right(const char *from, const char *to)
{
	uint64_t random = 1;
	struct large copy = {{NULL}};
	const struct large *l;
	void *root;
	int id;

	(void)from;
	copy.block[0] = malloc(1 << 20);
	for (unsigned version = 1; version <= 2; version++) {
		EXPECT(!pVOpen(to));
		id = pCOpenAt(CONTAINER, version == 1 ? "1" : "2", &root);
		EXPECT(id);
		l = root;
		random = 1;
		for (unsigned i = 0; i < LARGE_MIB; i++) {
			large_fill(&copy, 0, &random);
			if (version == 2 && i % 2 == 0)
				memset(copy.block[0] + 70000, 1, 100);
			if (version == 2 && i == LARGE_MIB - 1)
				EXPECT(!l->block[i]);
			else
				EXPECT(!memcmp(copy.block[0], l->block[i], 1 << 20));
		}
		EXPECT(!pVClose());
	}
	free(copy.block[0]);
	return 0;
}

static void a_large_container_takes_little_memory(void **state)
{
	(void)state;
	in_process(large_make, path("m.vol"), NULL);
	in_process(large_moves, path("m.vol"), path("n.vol"));
	in_process(large_is_right, path("m.vol"), path("n.vol"));
}

/* ---- volumes in memory, page by page ---- */

static struct volume *volume_make(unsigned which)
{
	static unsigned char bytes[2][SIM_BYTES_MOST];
	struct volume *v;

	memset(bytes[which], 0, sizeof(bytes[which]));
	if (spm_volume_open(sim_state_driver(bytes[which], 0), VOLUME_CREATE | VOLUME_EAGER, &v))
		fail_msg("%s", spm_volume_error());
	return v;
}

static void commit(struct chain *c, uint64_t number, uint64_t value, unsigned kept)
{
	static uint64_t data[20][SPM_PAGE_BYTES / 8] __attribute__((aligned(4096)));
	struct page_change change[20];
	struct version_info info = {
	        .version = number, .time_ns = number * 1000, .versions_kept = kept, .chunk_bytes = SPM_PAGE_BYTES};

	for (unsigned i = 0; i < 20; i++) {
		data[i][0] = value + i;
		change[i] = (struct page_change){.page = 10 + i, .data = data[i], .meta.span_pages = 1};
	}
	assert_int_equal(spm_chain_commit(c, change, 20, true, &info), 0);
	assert_int_equal(info.version, number);
}

/* What old versions say of how many are to be kept is not for them to say any more. */
static void no_version_is_dropped_while_it_is_imported(void **state)
{
	enum { MANY = 80 };
	static const struct retention every = {0};
	struct volume *from = volume_make(0), *to = volume_make(1);
	struct told there, here;
	struct chain *c;
	int fd;

	(void)state;
	assert_int_equal(spm_chain_create(from, HISTORY_MAGIC, "main", &c), 0);
	spm_chain_retain(c, &every);
	for (unsigned n = 1; n <= MANY; n++)
		commit(c, n, n, n < MANY ? 2 : 0);
	spm_chain_close(c);
	fd = history_stream(from);
	assert_true(fd >= 0);
	if (stream_import(to, fd))
		fail_msg("%s", pErrorMsg());
	assert_int_equal(told_read(from, &there), 0);
	assert_int_equal(told_read(to, &here), 0);
	assert_int_equal(there.n, MANY);
	assert_true(told_are_same(&there, &here));
	told_free(&there);
	told_free(&here);
	close(fd);
	spm_volume_close(from);
	spm_volume_close(to);
}

static struct resolved version_at(struct volume *v, uint64_t number)
{
	struct resolved r = {.branch = "main"};

	assert_int_equal(spm_version_find(v, HISTORY_MAGIC, "main", BY_NUMBER, number, &r.found), 0);
	return r;
}

/* Number and time are those of the base, one page is not. */
static void a_base_with_other_pages_is_refused(void **state)
{
	struct volume *from = volume_make(0), *to = volume_make(1);
	int fd = memfd_create("stream", 0);
	struct resolved at, since;
	struct chain *c;
	uint64_t whole;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct volume *v = i ? to : from;

		assert_int_equal(spm_chain_create(v, HISTORY_MAGIC, "main", &c), 0);
		commit(c, 5, i, 0);
		if (!i)
			commit(c, 6, 100, 0);
		spm_chain_close(c);
	}
	at = version_at(from, 6);
	since = version_at(from, 5);
	assert_int_equal(spm_export(&(struct exporting){from, HISTORY_MAGIC, fd, &at, &since, false, NULL, NULL}), 0);
	assert_int_equal(stream_import(to, fd), -1);
	assert_int_equal(errno, EEXIST);
	assert_non_null(strstr(pErrorMsg(), "version 5 of branch main of container 1 is not the one"));
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(spm_import(to, fd, &(struct pimport){.branch = "other"}), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(spm_branch_exists(to, HISTORY_MAGIC, "other"), 0);
	assert_int_equal(spm_volume_check(to, HISTORY_MAGIC, "main", NULL, NULL, &whole), 0);
	assert_int_equal(whole, 5);
	close(fd);
	spm_volume_close(from);
	spm_volume_close(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(a_history_arrives_whole_and_once),
	        cmocka_unit_test(single_versions_and_increments),
	        cmocka_unit_test(a_stream_that_was_cut_off_can_be_imported_again),
	        cmocka_unit_test(others_and_callers_have_a_say),
	        cmocka_unit_test(no_version_is_dropped_while_it_is_imported),
	        cmocka_unit_test(a_base_with_other_pages_is_refused),
	        cmocka_unit_test(a_large_container_takes_little_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
