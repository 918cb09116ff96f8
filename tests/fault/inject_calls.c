/* inject_calls.c - each public operation with its 1st, 2nd, 3rd, ... system call on the volume, or allocation, failing,
 * until it completes untouched.
 *
 * For each failure: a process (the worker) does the operation on a copy of a prepared volume. What fails must say so,
 * with errno and a fresh sentence that advises; memory is unharmed; when the cause is gone the same call succeeds, or
 * refuses clearly until the volume is opened anew. Then another process (the reader) restores: whole, by the book's
 * model, not older than what was reported durable, and able to go on. What the kernel may do to any call (EINTR, less
 * than asked for) must not show at all.
 *
 * After the first 16 calls only every 33rd is taken ($SOFTPM_FAULT_STRIDE). $SOFTPM_FAULT_OPERATION, $SOFTPM_FAULT_NTH:
 * one of the cases alone.
 */
#include "book.h"
#include "expect.h"
#include "inject.h"
#include "scratch.h"
#include "softpm.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { EACH_OF = 16 };
enum { CONTAINERS = 3, WORKER_IS_DONE = 0, WORKER_FIRED = 1 /* done, but a call was tampered with */ };

/* What the worker leaves for the reader, in shared memory. */
struct note {
	uint64_t durable[CONTAINERS + 1]; /* by container: steps reported durable */
	bool may_be_gone[CONTAINERS + 1];
	bool was_created; /* the volume */
	uint64_t pointed; /* of container 1: steps that a version has */
};
static struct note *note;
static const char *volume, *prepared;
static struct book *book[CONTAINERS + 1];
static int id[CONTAINERS + 1];

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(99))

static void steps(int magic, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		book_step(book[magic]);
}

static void point_sync(int magic)
{
	EXPECT(pPointSync(id[magic]));
	note->durable[magic] = book[magic]->steps;
}

static int restore(int magic)
{
	void *root;

	id[magic] = pCRestore(magic, &root);
	book[magic] = id[magic] ? root : NULL;
	return id[magic] ? 0 : -1;
}

static int make(int magic)
{
	void *root;

	id[magic] = pCAlloc(magic, sizeof(struct book), &root);
	book[magic] = id[magic] ? root : NULL;
	if (book[magic])
		book[magic]->seed = (unsigned)magic;
	return id[magic] ? 0 : -1;
}

/* Container 1 records some of its steps; an input may be longer than what it says. */
static int step_record(size_t bytes)
{
	static char input[200000] = "step";

	if (!pRecord(id[1], input, bytes))
		return -1;
	book_step(book[1]);
	note->durable[1] = book[1]->steps;
	return 0;
}

static int step_apply(const void *bytes, size_t n, void *arg)
{
	if (n < 4 || memcmp(bytes, "step", 4))
		return -1;
	book_step(arg);
	return 0;
}

static int replay(void)
{
	if (pReplay(id[1], step_apply, book[1]) < 0)
		return -1;
	note->durable[1] = book[1]->steps;
	return 0;
}

/* Two containers with some versions each, left as a crash leaves them; one has inputs behind the last. */
static void prepare(void)
{
	EXPECT(!pVOpen(prepared));
	for (int magic = 1; magic <= 2; magic++) {
		EXPECT(!make(magic));
		for (unsigned i = 0; i < 4; i++) {
			steps(magic, i < 2 ? 100 : 2);
			point_sync(magic);
		}
	}
	note->pointed = book[1]->steps;
	for (unsigned i = 0; i < 6; i++)
		EXPECT(!step_record(i % 2 ? 9000 : 4));
}

static void volume_copy(void)
{
	int from = open(prepared, O_RDONLY), to = open(volume, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	struct stat st;

	EXPECT(from >= 0 && to >= 0 && !fstat(from, &st));
	for (off_t left = st.st_size; left;) {
		ssize_t n = sendfile(to, from, NULL, (size_t)left);

		EXPECT(n > 0);
		left -= n;
	}
	close(from);
	close(to);
}

/* Before an operation. */
static void begin_restored(void)
{
	EXPECT(!pVOpen(volume));
	EXPECT(!restore(1) && !restore(2));
}

static void open_all(void)
{
	begin_restored();
	EXPECT(!replay());
}

static void begin_recorded(void)
{
	open_all();
	EXPECT(!step_record(10));
}

static void begin_fresh(void)
{
	EXPECT(!unlink(volume));
	note->durable[1] = note->durable[2] = 0;
	note->may_be_gone[1] = note->may_be_gone[2] = true;
}

static void begin_open(void)
{
	EXPECT(!pVOpen(volume));
}

static void begin_small(void)
{
	open_all();
	steps(1, 1);
}

static void begin_large(void)
{
	open_all();
	steps(1, 400);
}

/* Several batches of pages (containers/changes.h) that a clone keeps: the text of some entry becomes a short one in a large slot. */
static void begin_cloned(void)
{
	enum { LARGE = 10 << 20 };
	struct entry *e = NULL;
	char *text;

	begin_large();
	for (unsigned i = 0; i < BOOK_BUCKETS && !e; i++)
		e = book[1]->bucket[i];
	text = pMallocNoPtr(LARGE);
	EXPECT(e && text);
	memset(text, 1, LARGE);
	memcpy(text, e->text, strlen(e->text) + 1);
	pFree(e->text);
	e->text = text;
	setenv("SOFTPM_FREEZE", "clone", 1);
}

static char said[512]; /* when the call failed */
static void *scrap;    /* a place to be excluded */

static void begin_attributes(void)
{
	open_all();
	scrap = pMalloc(8);
	EXPECT(scrap);
}

static void begin_closed(void)
{
}

/* The worker goes on as a child of the one that had the volume open. */
static void begin_forked(void)
{
	int closed[2], status;
	pid_t child;
	char c;

	open_all();
	steps(1, 3);
	EXPECT(!pipe(closed));
	child = fork();
	if (child) {
		EXPECT(!pVClose() && write(closed[1], "c", 1) == 1 && waitpid(child, &status, 0) == child);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 98);
	}
	alarm(60);
	EXPECT(read(closed[0], &c, 1) == 1);
}

/* The operations: 0 or -1. */
static int do_open(void)
{
	return pVOpen(volume);
}

static int do_make(void)
{
	return make(3);
}

static int do_restore(void)
{
	return restore(1);
}

static int do_point_sync(void)
{
	uint64_t at = book[1]->steps;

	if (!pPointSync(id[1]))
		return -1;
	note->durable[1] = at;
	return 0;
}

static int do_point_async(void)
{
	uint64_t at = book[1]->steps;

	if (!pPoint(id[1]) || pSync(id[1]))
		return -1;
	note->durable[1] = at;
	return 0;
}

static int do_delete(void)
{
	note->may_be_gone[2] = true;
	book[2] = NULL;
	if (pCDelete(2))
		return -1;
	note->durable[2] = 0;
	return 0;
}

static int do_close(void)
{
	uint64_t at = book[1]->steps;
	bool is_taken = pPoint(id[1]) != 0;
	int error = errno, result = pVClose();

	book[1] = book[2] = NULL;
	if (!is_taken)
		errno = error;
	if (!is_taken || result)
		return -1;
	note->durable[1] = at;
	return 0;
}

static int version_ignore(const struct pversion *v, void *arg)
{
	(void)v, (void)arg;
	return 0;
}

static int container_ignore(const struct pcontainer *c, void *arg)
{
	(void)c, (void)arg;
	return 0;
}

static int damage_ignore(const char *sentence, void *arg)
{
	(void)sentence, (void)arg;
	return 0;
}

/* Only reads. pCheck and pContainers tell what they can't read as damage, and go on. */
static int do_list(void)
{
	struct pvolume v;
	int64_t whole;

	if (pVersions(1, NULL, version_ignore, NULL) || pVolume(&v) || pContainers(container_ignore, NULL))
		return -1;
	return pCheck(1, damage_ignore, NULL, &whole) < 0 ? -1 : 0;
}

static int do_attributes(void)
{
	struct cattr *attr = pCGetAttr(1);
	int result = attr ? pCSetAttr(id[1], attr) : -1;

	pCAttrFree(attr);
	if (!result)
		result = pExclude(id[1], scrap);
	return result;
}

static int do_record(void)
{
	return step_record(100);
}

static int do_record_much(void)
{
	return step_record(200000);
}

static int do_drop_inputs(void)
{
	note->durable[1] = note->pointed;
	return pRecordDrop(id[1]);
}

static int do_image(void)
{
	char path[700];
	void *root;
	int image;

	snprintf(path, sizeof(path), "%s.image", volume);
	if (pImage(1, "", path))
		return -1;
	image = pCOpenImage(path, &root);
	if (!image)
		return -1;
	EXPECT(book_is_right(root));
	pCFree(image);
	return pImageCheck(path, NULL, NULL);
}

static const char *forked_as;

static int do_fork(void)
{
	static const char *name = "forked";

	if (pCFork(id[1], name)) {
		name = "forked-again"; /* the device may have failed when the branch was there */
		return -1;
	}
	forked_as = name;
	return 0;
}

/* ---- versions and names ---- */

static void begin_named(void)
{
	open_all();
	for (int magic = 1; magic <= 2; magic++)
		EXPECT(!pBranch(magic, "side", NULL) && !pTag(magic, "before", "~1"));
}

/* Container 1 at another version: read, and closed again. */
static int look(int shown, void *const *root)
{
	if (!shown)
		return -1;
	EXPECT(book_is_right(*root));
	pCFree(shown);
	return 0;
}

static int do_view(void)
{
	void *root = NULL;

	return look(pCOpenAt(1, "~1", &root), &root);
}

static int beside; /* a view of container 1 */

static void begin_differing(void)
{
	void *root;

	begin_named();
	beside = pCOpenAt(1, "~1", &root);
	EXPECT(beside);
	book_step(book[1]);
}

static int differing_count(const struct pdiffering *object, void *arg)
{
	(void)object;
	++*(unsigned *)arg;
	return 0;
}

static int do_differ(void)
{
	unsigned n = 0;
	int result = pDiffer(beside, id[1], differing_count, &n);

	EXPECT(result ? !n : n);
	return result;
}

static int do_clone(void)
{
	void *root = NULL;

	return look(pCClone(id[1], "clone", &root), &root);
}

static int do_switch(void)
{
	void *root;

	if (pCSwitch(id[2], "!side", &root))
		return -1;
	book[2] = root;
	return 0;
}

static int do_branch(void)
{
	return pBranch(1, "other", "before");
}

static int do_tag(void)
{
	return pTag(1, "now", NULL);
}

static int do_tag_own(void)
{
	return pCTag(id[1], "own", "~2");
}

static int do_tag_delete(void)
{
	return pTagDelete(1, "before");
}

static int do_branch_delete(void)
{
	return pBranchDelete(1, "side");
}

static int do_branch_switch(void)
{
	return pBranchSwitch(2, "side");
}

struct operation {
	const char *name;
	void (*begin)(void);
	int (*call)(void);
};
static const struct operation operations[] = {
        {"make a volume", begin_fresh, do_open},
        {"open a volume", begin_closed, do_open},
        {"make a container", begin_open, do_make},
        {"restore", begin_open, do_restore},
        {"small point", begin_small, do_point_sync},
        {"large point", begin_large, do_point_sync},
        {"cloned point", begin_cloned, do_point_sync},
        {"asynchronous point", begin_small, do_point_async},
        {"delete", open_all, do_delete},
        {"close", begin_small, do_close},
        {"list and check", begin_open, do_list},
        {"attributes", begin_attributes, do_attributes},
        {"first record", open_all, do_record},
        {"record", begin_recorded, do_record},
        {"record much", begin_recorded, do_record_much},
        {"replay", begin_restored, replay},
        {"drop inputs", begin_recorded, do_drop_inputs},
        {"image", begin_open, do_image},
        {"go on after a fork", begin_forked, do_fork},
        {"view", open_all, do_view},
        {"differ", begin_differing, do_differ},
        {"clone", begin_named, do_clone},
        {"switch", begin_named, do_switch},
        {"branch", begin_named, do_branch},
        {"branch delete", begin_named, do_branch_delete},
        {"branch switch", begin_named, do_branch_switch},
        {"tag", begin_named, do_tag},
        {"tag of an open one", begin_named, do_tag_own},
        {"tag delete", begin_named, do_tag_delete},
};
enum { OPERATIONS = sizeof(operations) / sizeof(operations[0]) };
/* AddressSanitizer's allocator takes no locks for a fork: the child may wait for ever for one that a worker had. */
#ifdef __SANITIZE_ADDRESS__
static const bool can_fork = false;
#else
static const bool can_fork = true;
#endif

static void books_are_right(void)
{
	for (int magic = 1; magic <= CONTAINERS; magic++)
		EXPECT(!book[magic] || book_is_right(book[magic]));
}

static bool asks_to_reopen(void)
{
	return strstr(pErrorMsg(), "open it again") != NULL;
}

/* A sentence that says what failed and what to do; and of this call, not of an earlier one. */
static void message_is_good(int error, int expected, const char *before)
{
	const char *advice = expected == ENOSPC ? "make room" : expected == ENOMEM ? "emory" : strerror(EIO);

	EXPECT(error > 0);
	EXPECT(strcmp(pErrorMsg(), before) != 0);
	EXPECT(error == expected || asks_to_reopen());
	EXPECT(asks_to_reopen() || strstr(pErrorMsg(), advice));
}

static void reopen(void)
{
	pVClose();      /* it may say once more what failed */
	book[3] = NULL; /* all are gone */
	EXPECT(!pVOpen(volume));
	for (int magic = 1; magic <= 2; magic++) {
		if (restore(magic)) {
			EXPECT(errno == ENOENT && note->may_be_gone[magic]);
			continue;
		}
		EXPECT(magic != 1 || pReplay(id[1], step_apply, book[1]) >= 0);
		EXPECT(book_is_right(book[magic]) && book[magic]->steps >= note->durable[magic]);
	}
}

/* So what there is on the disk nobody knows. */
static bool points_ask_to_reopen(void)
{
	steps(2, 1);
	return !pPointSync(id[2]) && asks_to_reopen();
}

/* The cause is gone: the same again, or after a clear refusal everything anew. */
static void again(const struct operation *o)
{
	int result = o->call == do_close ? -1 : o->call();

	if (o->call == do_close)
		; /* closed it is, whatever failed */
	else if (o->call == do_drop_inputs && !result)
		result =
		        -1; /* nothing may have been left to delete: so it does not show whether the volume must be opened anew */
	else if (result && (o->call == do_delete || o->call == do_branch_delete || o->call == do_tag_delete))
		EXPECT(errno == ENOENT || asks_to_reopen()); /* it went as far as not to be there */
	else if (result && errno == EEXIST && (o->call == do_branch || o->call == do_clone))
		EXPECT(strstr(said, "was made all the same") || points_ask_to_reopen());
	else if (result && o->call == do_open)
		EXPECT(errno == EBUSY); /* failed, but open? never */
	else if (result)
		EXPECT(asks_to_reopen());
	if (result)
		reopen();
}

/* Whatever happened, containers can be worked on. */
static void go_on(const struct operation *o)
{
	if (!book[1] && !id[1] && pVOpen(volume))
		EXPECT(errno == EBUSY);
	if (!book[1])
		reopen();
	if (!book[1])
		EXPECT(!make(1));
	if (forked_as)
		EXPECT(!pBranchSwitch(1, forked_as)); /* the reader's, too */
	steps(1, 3);
	if (o->begin == begin_named && !pPointSync(id[1])) { /* a chain that it closed could not be noted as durable */
		EXPECT(asks_to_reopen());
		reopen();
	}
	point_sync(1);
	books_are_right();
}

static int worker(const struct operation *o, enum inject_kind kind, int error, uint64_t nth, uint64_t until)
{
	char before[512];
	int result, code;
	bool fired;

	o->begin();
	pPoint(-1); /* any failure: its sentence must not be taken for that of the next */
	snprintf(before, sizeof(before), "%s", pErrorMsg());
	inject_start(kind, error, nth, until);
	result = o->call();
	code = errno;
	fired = inject_stop();
	books_are_right();
	if (!fired && !result)
		return WORKER_IS_DONE;
	errno = code;
	EXPECT(fired || !result);
	if (result) {
		EXPECT(kind != INJECT_SHORT && error != EINTR);
		message_is_good(code, error, before);
		snprintf(said, sizeof(said), "%s", pErrorMsg());
		again(o);
	}
	go_on(o);
	return WORKER_FIRED;
}

static int reader(void)
{
	EXPECT(!pVOpen(volume));
	for (int magic = 1; magic <= 2; magic++) {
		if (restore(magic)) {
			EXPECT(errno == ENOENT && note->may_be_gone[magic]);
			continue;
		}
		EXPECT(magic != 1 || pReplay(id[1], step_apply, book[1]) >= 0);
		EXPECT(book[magic]->steps >= note->durable[magic]);
		EXPECT(book_is_right(book[magic]));
		steps(magic, 1);
		point_sync(magic);
	}
	EXPECT(!pVClose());
	return 0;
}

struct trial {
	const struct operation *o;
	enum inject_kind kind;
	int error;
	uint64_t nth, until;
};

static int in_process(const struct trial *t)
{
	int status;
	pid_t child = fork();

	if (!child) {
		alarm(60);
		signal(SIGSEGV, SIG_DFL); /* cmocka's handlers would go on with the parent's tests */
		signal(SIGBUS, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		_exit(t ? worker(t->o, t->kind, t->error, t->nth, t->until) : reader());
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void trial_fail(const struct trial *t, const char *who, int code)
{
	fail_msg("%s: call %llu%s (%s) fails with %s: the %s ended with %d", t->o->name, (unsigned long long)t->nth,
	         t->until > t->nth ? " and all after it" : "", inject_where(),
	         t->kind == INJECT_SHORT ? "less than asked for" : strerror(t->error), who, code);
}

/* Whether any call was tampered with. */
static bool trial(const struct trial *t, const struct note *first)
{
	int code;

	*note = *first;
	volume_copy();
	code = in_process(t);
	if (code != WORKER_IS_DONE && code != WORKER_FIRED)
		trial_fail(t, "worker", code);
	if (code == WORKER_FIRED) {
		int read = in_process(NULL);

		if (read)
			trial_fail(t, "reader", read);
	}
	return code == WORKER_FIRED;
}

static struct note first_note;

static void operation_try(const struct operation *o, enum inject_kind kind, int error, bool is_lasting)
{
	uint64_t only = test_number("SOFTPM_FAULT_NTH", 0), nth = only ? only : 1;
	uint64_t stride = test_number("SOFTPM_FAULT_STRIDE", 33), tried = 0;
	struct trial t = {o, kind, error, nth, 0};

	do {
		t.nth = nth;
		t.until = is_lasting ? UINT64_MAX : 0;
		nth += nth < EACH_OF ? 1 : stride;
	} while (trial(&t, &first_note) && ++tried && !only);
	printf("%-20s %-8s %-8s: %llu of %llu calls\n", o->name, error ? strerrorname_np(error) : "short",
	       is_lasting ? "lasting" : "once", (unsigned long long)tried, (unsigned long long)t.nth - 1);
}

static void each_operation(enum inject_kind kind, int error, bool is_lasting)
{
	const char *only = getenv("SOFTPM_FAULT_OPERATION");

	for (unsigned i = 0; i < OPERATIONS; i++) {
		if (operations[i].begin == begin_forked && !can_fork)
			continue;
		if (!only || !strcmp(only, operations[i].name))
			operation_try(&operations[i], kind, error, is_lasting);
	}
}

static void a_call_that_fails_is_reported_and_loses_nothing(void **state)
{
	(void)state;
	each_operation(INJECT_IO, EIO, false);
}

static void a_device_that_fails_is_reported_and_loses_nothing(void **state)
{
	(void)state;
	each_operation(INJECT_IO, EIO, true);
}

static void a_full_disk_is_reported_and_loses_nothing(void **state)
{
	(void)state;
	each_operation(INJECT_WRITE, ENOSPC, false);
	each_operation(INJECT_WRITE, ENOSPC, true);
}

static void an_interrupted_call_does_not_show(void **state)
{
	(void)state;
	each_operation(INJECT_IO, EINTR, false);
}

static void a_call_that_does_less_does_not_show(void **state)
{
	(void)state;
	each_operation(INJECT_SHORT, 0, false);
}

static void memory_that_runs_out_is_reported_and_loses_nothing(void **state)
{
	(void)state;
	each_operation(INJECT_MEMORY, ENOMEM, false);
}

static int begin(void **state)
{
	int status;
	pid_t child;

	(void)state;
	volume = strdup(scratch("fault.vol"));
	prepared = strdup(scratch("prepared.vol"));
	inject_volume(volume);
	inject_start(INJECT_NOTHING, 0, 0, 0);
	note = mmap(NULL, sizeof(*note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	child = fork();
	if (!child) {
		prepare();
		_exit(0);
	}
	waitpid(child, &status, 0);
	first_note = *note;
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(an_interrupted_call_does_not_show),
	        cmocka_unit_test(a_call_that_does_less_does_not_show),
	        cmocka_unit_test(a_call_that_fails_is_reported_and_loses_nothing),
	        cmocka_unit_test(a_device_that_fails_is_reported_and_loses_nothing),
	        cmocka_unit_test(a_full_disk_is_reported_and_loses_nothing),
	        cmocka_unit_test(memory_that_runs_out_is_reported_and_loses_nothing),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
