/* images.c - a version as one file that processes map and share: what it holds, who shares it, what it costs to open, what it refuses,
 * and that nothing that happens to the file, or in the process, makes it hand out something else.
 */
#include "book.h"
#include "expect.h"
#include "heap/heap.h"
#include "heapimage.h"
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
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

#define EXPECT(cond) EXPECT_ELSE(cond, _exit(1))

enum { STEPS = 300, MAGIC = 1, MIB = 1 << 20 };

struct root {
	struct book book;
	int (*answer)(int);
	const char *greeting; /* in .rodata */
	struct root *self;
	uint64_t *big; /* without pointers; a word in each of its MiB, or all */
	uint64_t mib;
};

static int times_two(int n)
{
	return 2 * n;
}

/* What the processes of a test have to know; each test has files of its own. */
static char volume[600], image[700];
static uint64_t mib;
static volatile unsigned *turn;

static void files(const char *name)
{
	char file[100];

	snprintf(file, sizeof(file), "%s.vol", name);
	snprintf(volume, sizeof(volume), "%s", scratch(file));
	snprintf(image, sizeof(image), "%s.image", volume);
	mib = 2;
	*turn = 0;
}

static pid_t start(void (*fn)(void))
{
	pid_t child = fork();

	if (child)
		return child;
	alarm(120);
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL); /* cmocka's handlers would go on with the parent's tests */
	fn();
	_exit(0);
}

static int status_of(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return status;
}

static void in_process(void (*fn)(void))
{
	int status = status_of(start(fn));

	if (status)
		fail_msg("a process ended with status 0x%x", status);
}

static void turn_wait(unsigned n)
{
	while (*turn < n)
		usleep(1000);
}

static bool is_right(const struct root *r)
{
	for (uint64_t i = 0; i < r->mib; i++)
		if (r->big[i * MIB / sizeof(uint64_t)] != i * i + 1)
			return false;
	return r->self == r && r->answer && r->answer(21) == 42 && r->greeting &&
	       !strcmp(r->greeting, "good morning") && book_is_right(&r->book) && r->book.steps >= STEPS;
}

static struct root *root_make(int *id)
{
	struct root *r;

	EXPECT(!pVOpen(volume));
	*id = pCAlloc(MAGIC, sizeof(*r), (void **)&r);
	EXPECT(*id);
	r->book.seed = 7;
	for (unsigned i = 0; i < STEPS; i++)
		book_step(&r->book);
	r->answer = times_two;
	r->greeting = "good morning";
	r->self = r;
	r->mib = mib;
	r->big = pMallocNoPtr(mib * MIB);
	EXPECT(r->big);
	for (uint64_t i = 0; i < mib; i++)
		r->big[i * MIB / sizeof(uint64_t)] = i * i + 1;
	EXPECT(is_right(r));
	return r;
}

static void make(void)
{
	int id;

	root_make(&id);
	EXPECT(pPointSync(id) > 0);
	EXPECT(!pImage(MAGIC, "", image));
	EXPECT(!pVClose());
}

static struct root *image_open(int *id)
{
	struct root *r;

	*id = pCOpenImage(image, (void **)&r);
	EXPECT(*id);
	EXPECT(is_right(r));
	return r;
}

/* ---- what it holds ---- */

static void see(void)
{
	struct root *root;
	int id;

	unsetenv("SOFTPM_VOLUME");
	root = image_open(&id);
	EXPECT(pReadable(root) >= sizeof(*root) && pReadable(root->big) >= root->mib * MIB);
	for (uintptr_t at = (uintptr_t)root, rest; (rest = pReadable((void *)at)); at += rest)
		EXPECT(*(volatile char *)(at + rest - 1) || true);
	pCFree(id);
	EXPECT(!pReadable(root));
	EXPECT(access("softpm.vol", F_OK));
}

static void image_has_what_the_version_has(void **state)
{
	(void)state;
	files("content");
	in_process(make);
	in_process(see);
}

/* The library and this program are elsewhere each time: of some runs at least. */
static uintptr_t where_run(const char *what)
{
	char command[1400];
	unsigned long at = 0;
	FILE *f;

	snprintf(command, sizeof(command), "/proc/%d/exe %s '%s'", (int)getpid(), what, image);
	f = popen(command, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lx", &at), 1);
	assert_int_equal(pclose(f), 0);
	return at;
}

static int run_as_other(char **argv)
{
	int id;

	snprintf(image, sizeof(image), "%s", argv[2]);
	snprintf(volume, sizeof(volume), "%.500s.other", image);
	mib = 1;
	if (!strcmp(argv[1], "make"))
		make();
	else
		image_open(&id);
	printf("%lx\n", (unsigned long)(uintptr_t)times_two);
	return 0;
}

static void pointers_into_code_are_mended_wherever_it_is(void **state)
{
	uintptr_t made;
	unsigned moved = 0;

	(void)state;
	files("layout");
	made = where_run("make");
	for (unsigned i = 0; i < 8; i++)
		moved += where_run("open") != made;
	if (!moved)
		skip(); /* no address space randomization here */
}

/* ---- sharing ---- */

struct usage {
	uint64_t shared_clean, private_dirty;
};

static struct usage usage_of(const char *path)
{
	struct usage u = {0};
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[800];
	bool is_ours = false;

	EXPECT(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long long from, to, kib;

		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			is_ours = strstr(line, strrchr(path, '/')) != NULL;
		else if (is_ours && sscanf(line, "Shared_Clean: %llu", &kib) == 1)
			u.shared_clean += kib << 10;
		else if (is_ours && sscanf(line, "Private_Dirty: %llu", &kib) == 1)
			u.private_dirty += kib << 10;
	}
	fclose(f);
	return u;
}

static void see_and_stay(void)
{
	int id;

	image_open(&id);
	*turn = 1;
	turn_wait(2);
}

static void see_what_is_shared(void)
{
	struct pimage about;
	struct usage u;
	int id;

	turn_wait(1);
	EXPECT(!pImageInfo(image, &about));
	image_open(&id);
	u = usage_of(image);
	EXPECT(about.own_pages > 0 && about.own_pages < 4);
	EXPECT(u.private_dirty == about.own_pages * SPM_PAGE_BYTES);
	EXPECT(u.shared_clean >= 32 * SPM_PAGE_BYTES); /* the book, and a page of each MiB */
	*turn = 2;
}

static void processes_share_all_but_mended_pages(void **state)
{
	pid_t first;

	(void)state;
	files("shared");
	mib = 32;
	in_process(make);
	first = start(see_and_stay);
	in_process(see_what_is_shared);
	assert_int_equal(status_of(first), 0);
}

/* ---- system calls ---- */

enum { CALLS_MOST = 100000 };
static struct calls {
	long number[CALLS_MOST];
	unsigned n;
} calls;

/* Those that the child makes after SIGSTOP, until it ends. False: nobody may be traced here. */
static bool trace(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	calls.n = 0;
	if (!child) {
		for (int s = 1; s < 32; s++)
			signal(s, SIG_DFL);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		fn();
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (!WIFSTOPPED(status))
		return false;
	ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD);
	for (bool is_entry = true;;) {
		struct __ptrace_syscall_info info;

		assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
		waitpid(child, &status, 0);
		if (WIFEXITED(status) || WIFSIGNALED(status))
			break;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		if (is_entry && calls.n < CALLS_MOST &&
		    ptrace((enum __ptrace_request)PTRACE_GET_SYSCALL_INFO, child, sizeof(info), &info) > 0)
			calls.number[calls.n++] = (long)info.entry.nr;
		is_entry = !is_entry;
	}
	if (status)
		fail_msg("the traced process ended with status 0x%x", status);
	return true;
}

static void only_open(void)
{
	void *root;

	EXPECT(pCOpenImage(image, &root));
}

static void a_large_image_opens_in_as_many_calls_as_a_small_one(void **state)
{
	struct stat st;
	unsigned small;

	(void)state;
	files("small");
	in_process(make);
	if (!trace(only_open))
		skip();
	small = calls.n;
	files("large");
	mib = 300;
	in_process(make);
	assert_true(trace(only_open));
	assert_true(small > 5);
	assert_int_equal(calls.n, small);
	assert_int_equal(stat(image, &st), 0);
	assert_true(st.st_size > 300 * MIB && st.st_blocks * 512 < 16 * MIB); /* what is zero is not there */
	in_process(see);
}

static void image_again(void)
{
	EXPECT(!pVOpen(volume));
	EXPECT(!pImage(MAGIC, "main", image));
}

static unsigned call_find(unsigned from, long number)
{
	while (from < calls.n && calls.number[from] != number)
		from++;
	return from;
}

/* What the disk may do with the order in which it was told things: nothing is named before it is durable. */
static void a_name_is_given_when_all_is_durable(void **state)
{
	unsigned named, flushed;

	(void)state;
	files("order");
	in_process(make);
	if (!trace(image_again))
		skip();
	named = call_find(0, SYS_rename);
	assert_true(named < calls.n);
	for (flushed = named; flushed > 0 && calls.number[flushed] != SYS_fsync; flushed--)
		assert_int_not_equal(calls.number[flushed], SYS_pwrite64);
	assert_int_equal(calls.number[flushed], SYS_fsync);
	assert_true(call_find(named, SYS_fsync) < calls.n);
}

/* ---- its file ---- */

static unsigned char *bytes;
static size_t bytes_n;

static void bytes_load(void)
{
	struct stat st;
	int fd = open(image, O_RDONLY);

	assert_true(fd >= 0 && !fstat(fd, &st));
	bytes_n = (size_t)st.st_size;
	free(bytes);
	bytes = malloc(bytes_n);
	assert_non_null(bytes);
	assert_int_equal(read(fd, bytes, bytes_n), bytes_n);
	close(fd);
}

static void bytes_store(size_t n)
{
	int fd = open(image, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

/* So that what lies behind the sums is reached. */
static void bytes_resum(void)
{
	struct heapimage_header *h = (void *)bytes;

	if (h->tables_bytes <= bytes_n - sizeof(*h))
		h->tables_sum = XXH3_64bits(bytes + sizeof(*h), h->tables_bytes);
	h->sum = spm_heapimage_sum(h);
}

static bool is_refused(const char *word)
{
	void *root;

	return !pCOpenImage(image, &root) && errno == EUCLEAN && strstr(pErrorMsg(), image) &&
	       strstr(pErrorMsg(), word);
}

static void byte_write(size_t at, unsigned char value)
{
	int fd = open(image, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &value, 1, (off_t)at), 1);
	close(fd);
}

/* All that opening reads is guarded: whatever byte is another. */
static void a_flipped_byte_of_header_or_tables_is_found(void **state)
{
	const struct heapimage_header *h;
	size_t end;

	(void)state;
	files("flips");
	in_process(make);
	bytes_load();
	h = (void *)bytes;
	end = sizeof(*h) + h->tables_bytes;
	assert_true(end < 16384);
	for (size_t at = 0; at < end; at += at >= 640 && at < 4090 ? 61 : 1) {
		byte_write(at, bytes[at] ^ 0x10);
		if (!is_refused(""))
			fail_msg("byte %zu is another and nobody minds: %s", at, pErrorMsg());
		byte_write(at, bytes[at]);
	}
	in_process(see);
}

static void what_is_no_image_is_refused(void **state)
{
	struct heapimage_header *h;
	void *root;

	(void)state;
	files("kinds");
	in_process(make);
	bytes_load();
	h = (void *)bytes;
	bytes_store(bytes_n - 1);
	assert_true(is_refused("not copied whole"));
	bytes_store(bytes_n / 2);
	assert_true(is_refused("not copied whole"));
	bytes_store(4095);
	assert_true(is_refused("too short"));
	bytes_store(0);
	assert_true(is_refused("too short"));
	h->format = 3;
	bytes_resum();
	bytes_store(bytes_n);
	assert_true(is_refused("format 3"));
	memset(bytes, 0x5a, 8192);
	bytes_store(8192);
	assert_true(is_refused("does not begin as one"));
	assert_int_equal(pCOpenImage(volume, &root), 0);
	assert_int_equal(errno, EUCLEAN);
	assert_int_equal(pCOpenImage("/no/such/file", &root), 0);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(pCOpenImage("/tmp", &root), 0);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pCOpenImage(NULL, &root), 0);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pCOpenImage(image, NULL), 0);
	assert_int_equal(errno, EINVAL);
}

/* The sums are right, what they guard is nonsense: it is refused, or what it says can be had. */
static void try_nonsense(void)
{
	struct pimage about;
	unsigned char *root;
	int id;

	pImageCheck(image, NULL, NULL);
	id = pCOpenImage(image, (void **)&root);
	if (!id) {
		EXPECT(errno == EUCLEAN || errno == ENOMEM || errno == EBUSY);
		EXPECT(strlen(pErrorMsg()) > 20);
		return;
	}
	EXPECT(!pImageInfo(image, &about));
	*turn += root[0] == 255; /* it can be read */
	pCFree(id);
}

static void nonsense_write(uint64_t *seed)
{
	static const uint64_t odd[] = {0,          1,    0x7fffffff,       UINT32_MAX,        INT64_MAX,
	                               UINT64_MAX, 4096, SPM_WINDOW_START, SPM_WINDOW_END - 1};
	const struct heapimage_header *h = (void *)bytes;
	unsigned changes = 1 + (unsigned)(test_random(seed) % 3);
	size_t room = sizeof(*h) + h->tables_bytes; /* while that is true */

	while (changes--) {
		size_t at = test_random(seed) % 2 ? 16 + test_random(seed) % 140
		                                  : 4096 + test_random(seed) % (room - 4096 + 1);
		uint64_t value = test_random(seed) % 2 ? odd[test_random(seed) % (sizeof(odd) / sizeof(odd[0]))]
		                                       : test_random(seed) % (2 * bytes_n);

		if (at + 8 > room)
			at = room - 8;
		memcpy(bytes + (at & ~(size_t)3), &value, test_random(seed) % 2 ? 8 : 4);
	}
	bytes_resum();
}

/* Header and tables. */
static void front_write(const unsigned char *whole)
{
	const struct heapimage_header *h = (const void *)whole;
	int fd = open(image, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, sizeof(*h) + h->tables_bytes), sizeof(*h) + h->tables_bytes);
	close(fd);
}

static void nonsense_under_right_sums_does_no_harm(void **state)
{
	uint64_t rounds = test_number("SOFTPM_IMAGE_ROUNDS", 200), seed = test_seed();
	unsigned char *whole;

	(void)state;
	files("nonsense");
	in_process(make);
	bytes_load();
	whole = malloc(bytes_n);
	memcpy(whole, bytes, bytes_n);
	for (uint64_t i = 0; i < rounds; i++) {
		memcpy(bytes, whole, bytes_n);
		nonsense_write(&seed);
		front_write(whole);
		in_process(try_nonsense);
	}
	memcpy(bytes, whole, bytes_n);
	front_write(whole);
	in_process(see);
	free(whole);
}

/* Each thing that is checked, alone. */
static void numbers_that_make_no_sense_are_refused(void **state)
{
	enum { TABLES = sizeof(struct heapimage_header), NARROW = 1 << 30 };
	enum { RUN_PAGES = TABLES + 4, RUN_OFFSET = TABLES + 8, MEND = TABLES + sizeof(struct heapimage_run) };
#define FIELD(name) offsetof(struct heapimage_header, name)
	static const struct {
		size_t at;
		uint64_t value;
	} nonsense[] = {
	        {FIELD(tables_bytes), UINT64_MAX - 4095},
	        {FIELD(tables_bytes), 0},
	        {FIELD(runs), 0},
	        {FIELD(runs), 2},
	        {FIELD(runs), UINT64_MAX / 16 + 2},
	        {FIELD(mends), 0},
	        {FIELD(mends), UINT64_MAX / 8 + 2},
	        {FIELD(modules_bytes), 3},
	        {FIELD(modules_bytes), UINT64_MAX},
	        {FIELD(sums_at), UINT64_MAX - 7},
	        {FIELD(sums_at), 8193},
	        {FIELD(pages), 1},
	        {FIELD(pages), UINT64_MAX / 8 + 2},
	        {FIELD(info.root), 0},
	        {FIELD(info.root), SPM_WINDOW_START},
	        {FIELD(info.root_bytes), 0},
	        {FIELD(info.root_bytes), UINT64_MAX},
	        {FIELD(info.root_bytes), UINT64_C(1) << 30},
	        {NARROW | TABLES, UINT32_MAX},
	        {NARROW | TABLES, 0},
	        {NARROW | RUN_PAGES, 0},
	        {NARROW | RUN_PAGES, UINT32_MAX},
	        {RUN_OFFSET, 4097},
	        {RUN_OFFSET, UINT64_MAX - 4095},
	        {RUN_OFFSET, 3 << 20},
	        {NARROW | MEND, 1},
	        {NARROW | MEND, UINT32_MAX},
	        {FIELD(types_at), UINT64_MAX},
	        {FIELD(types_at), UINT64_C(1) << 40},
	        {FIELD(types_bytes), UINT64_C(1) << 30},
	        {FIELD(hints_bytes), UINT64_MAX},
	        {FIELD(spans), UINT64_MAX},
	        {FIELD(spans), 1 << 24},
	        {NARROW | (MEND + 4), 0},
	        {NARROW | (MEND + 4), UINT32_MAX},
	};
	const struct heapimage_header *h;
	unsigned char *whole;

	(void)state;
	files("numbers");
	in_process(make);
	bytes_load();
	h = (void *)bytes;
	assert_true(h->runs == 1 && h->mends >= 1);
	whole = malloc(bytes_n);
	memcpy(whole, bytes, bytes_n);
	for (unsigned i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
		memcpy(bytes, whole, bytes_n);
		memcpy(bytes + (nonsense[i].at & ~(size_t)NARROW), &nonsense[i].value, nonsense[i].at & NARROW ? 4 : 8);
		bytes_resum();
		front_write(whole);
		if (!is_refused("no image that can be opened"))
			fail_msg("number %u makes no sense, and nobody minds: %s", i, pErrorMsg());
	}
	free(whole);
}

static int sentence_keep(const char *sentence, void *arg)
{
	snprintf(arg, 500, "%s", sentence);
	return 0;
}

static void a_check_finds_a_flipped_byte_of_any_page(void **state)
{
	const struct heapimage_header *h;
	char said[500] = "";
	size_t sums_end;

	(void)state;
	files("checked");
	in_process(make);
	bytes_load();
	h = (void *)bytes;
	sums_end = h->types_at + h->types_bytes + h->hints_bytes + h->spans * sizeof(struct heapimage_span);
	assert_true(h->types_at == h->sums_at + h->pages * sizeof(uint64_t) && h->spans);
	assert_int_equal(pImageCheck(image, sentence_keep, said), 0);
	for (size_t at = h->sums_at; at < bytes_n; at += at < sums_end ? 1501 : 200003) {
		bool is_unused = at >= sums_end && at < 2 * MIB;

		byte_write(at, bytes[at] ^ 1);
		said[0] = 0;
		assert_int_equal(pImageCheck(image, sentence_keep, said), !is_unused);
		assert_true(is_unused || strstr(said, "is damaged"));
		byte_write(at, bytes[at]);
	}
	byte_write(100, bytes[100] ^ 1);
	assert_int_equal(pImageCheck(image, sentence_keep, said), 1);
	assert_int_equal(pImageCheck("/no/such/file", NULL, NULL), -1);
}

static void refuse_to_overwrite(void)
{
	EXPECT(!pVOpen(volume));
	EXPECT(pImage(MAGIC, "", volume) && errno == EEXIST && strstr(pErrorMsg(), volume));
	EXPECT(pImage(MAGIC, "", "/no/such/folder/image") && errno == ENOENT);
	EXPECT(pImage(MAGIC, "", "") && errno == EINVAL);
	EXPECT(pImage(MAGIC, "nonesuch", image) && errno == ENOENT);
	EXPECT(pImage(MAGIC + 1, "", image) && errno == ENOENT);
}

/* It goes on with the file it has; the name is that of the new one. */
static void replace_while_open(void)
{
	struct root *r, *live;
	struct pimage about;
	int id, live_id;

	r = image_open(&id);
	EXPECT(!pVOpen(volume));
	live_id = pCRestore(MAGIC, (void **)&live);
	EXPECT(live_id && live != r && is_right(live));
	book_step(&live->book);
	EXPECT(pPointSync(live_id) > 1);
	EXPECT(!pImage(MAGIC, NULL, image));
	EXPECT(is_right(r) && r->book.steps == STEPS);
	EXPECT(!pImageInfo(image, &about) && about.version == 2 && about.magic == MAGIC &&
	       !strcmp(about.branch, "main"));
	EXPECT(!pVClose() && is_right(r));
	pCFree(id);
	r = image_open(&id);
	EXPECT(r->book.steps == STEPS + 1);
}

static unsigned files_like(const char *path)
{
	char command[1400];
	unsigned n = 0;
	FILE *f;

	snprintf(command, sizeof(command), "ls '%s'.?????? 2>/dev/null | wc -l", path);
	f = popen(command, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

static void fail_to_write(void)
{
	struct rlimit little = {1 << 20, 1 << 20};

	EXPECT(!pVOpen(volume));
	signal(SIGXFSZ, SIG_IGN);
	EXPECT(!setrlimit(RLIMIT_FSIZE, &little));
	EXPECT(pImage(MAGIC, "", image) && errno == EFBIG && strstr(pErrorMsg(), image));
}

static void an_image_replaces_an_image_and_nothing_else(void **state)
{
	(void)state;
	files("replaced");
	in_process(make);
	in_process(refuse_to_overwrite);
	in_process(fail_to_write);
	assert_int_equal(files_like(image), 0);
	in_process(see);
	in_process(replace_while_open);
	assert_int_equal(files_like(image), 0);
}

static void a_kill_leaves_no_half_image_under_the_name(void **state)
{
	uint64_t seed = test_seed(), most;
	unsigned half = 0;

	(void)state;
	files("killed");
	mib = 100;
	in_process(make);
	most = spm_now_ns();
	in_process(image_again);
	most = (spm_now_ns() - most) / 1000 + 1;
	for (unsigned i = 0; i < 8; i++) {
		pid_t child;

		assert_int_equal(unlink(image), 0);
		child = start(image_again);
		usleep((useconds_t)(test_random(&seed) % most));
		kill(child, SIGKILL);
		status_of(child);
		half += access(image, F_OK) != 0;
		if (access(image, F_OK))
			in_process(image_again);
		in_process(see);
	}
	printf("%u of 8 were cut short\n", half);
}

/* ---- its addresses ---- */

static uint32_t image_slice(void)
{
	bytes_load();
	return (uint32_t)((((const struct heapimage_header *)bytes)->info.root - SPM_WINDOW_START) / SPM_SLICE_BYTES);
}

static bool is_busy(const char *word)
{
	void *root;

	return !pCOpenImage(image, &root) && errno == EBUSY && strstr(pErrorMsg(), word);
}

static void taken_by_a_container(void)
{
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(MAGIC, (void **)&r);
	EXPECT(id && is_busy("container 1") && is_busy("pCOpenAt") && is_right(r));
	pCFree(id);
	image_open(&id);
}

static void taken_by_an_image(void)
{
	struct root *r;
	int id;

	r = image_open(&id);
	EXPECT(is_busy(image) && is_busy("close that first") && is_right(r));
	pCFree(id);
	image_open(&id);
}

static void taken_by_memory(void)
{
	void *p = pMalloc(100);

	EXPECT(p && is_busy("memory that this program allocated"));
}

static void addresses_that_are_taken_are_told(void **state)
{
	char number[20];

	(void)state;
	files("taken");
	in_process(make);
	in_process(taken_by_a_container);
	in_process(taken_by_an_image);
	snprintf(number, sizeof(number), "%u", image_slice());
	setenv("SOFTPM_HEAP_START", number, 1);
	in_process(taken_by_memory);
	unsetenv("SOFTPM_HEAP_START");
}

/* A container is moved out of the image's way, works there, and is back at its place when the image is gone. */
static void restore_around(void)
{
	struct root *r, *live;
	struct pstats stats;
	void *more[100];
	int id, live_id;

	r = image_open(&id);
	for (unsigned i = 0; i < 100; i++) { /* as much as would reach the image's slices, if they were to be had */
		more[i] = pMalloc(MIB);
		EXPECT(more[i]);
		memset(more[i], 1, MIB);
	}
	EXPECT(!pVOpen(volume));
	live_id = pCRestore(MAGIC, (void **)&live);
	EXPECT(live_id && live != r && is_right(live));
	for (unsigned i = 0; i < 50; i++)
		book_step(&live->book);
	EXPECT(pPointSync(live_id) > 1 && is_right(live) && is_right(r) && r->book.steps == STEPS);
	EXPECT(!pStats(MAGIC, &stats) && stats.words_moved > 0);
	pCFree(live_id);
	pCFree(id);
	live_id = pCRestore(MAGIC, (void **)&live);
	EXPECT(live_id && live == r && is_right(live) && live->book.steps == STEPS + 50);
	for (unsigned i = 0; i < 20; i++) { /* what was an image is watched again as any memory */
		book_step(&live->book);
		EXPECT(pPointSync(live_id) > 2);
	}
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	live_id = pCRestore(MAGIC, (void **)&live);
	EXPECT(live_id && is_right(live) && live->book.steps == STEPS + 70);
	spm_heap_check();
}

/* Memory that was watched for writes, then an image, then memory again. */
static void restore_before_and_after(void)
{
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	for (unsigned round = 1; round <= 3; round++) {
		id = pCRestore(MAGIC, (void **)&r);
		EXPECT(id && is_right(r) && r->book.steps == STEPS + 3 * (round - 1));
		for (unsigned i = 0; i < 3; i++) {
			book_step(&r->book);
			EXPECT(pPointSync(id) > 0);
		}
		pCFree(id);
		r = image_open(&id);
		EXPECT(r->book.steps == STEPS);
		pCFree(id);
	}
}

static void restores_go_around_an_image(void **state)
{
	char number[20];

	(void)state;
	for (int tracker = 0; tracker < 2; tracker++) {
		setenv("SOFTPM_TRACK", tracker ? "mprotect" : "wp", 1);
		unsetenv("SOFTPM_HEAP_START");
		files(tracker ? "around-mprotect" : "around-wp");
		in_process(make);
		snprintf(number, sizeof(number), "%u", image_slice() - 1);
		setenv("SOFTPM_HEAP_START", number, 1);
		in_process(restore_around);
		unsetenv("SOFTPM_HEAP_START");
		files(tracker ? "again-mprotect" : "again-wp");
		in_process(make);
		in_process(restore_before_and_after);
	}
	unsetenv("SOFTPM_TRACK");
	unsetenv("SOFTPM_HEAP_START");
}

/* ---- misuse ---- */

/* Also where the same addresses were memory that was watched for writes. */
static void write_to_it(void)
{
	struct root *r;
	int id;

	EXPECT(!pVOpen(volume));
	id = pCRestore(MAGIC, (void **)&r);
	EXPECT(id);
	book_step(&r->book);
	EXPECT(pPointSync(id) > 0);
	book_step(&r->book);
	EXPECT(pPointSync(id) > 0);
	pCFree(id);
	r = image_open(&id);
	*turn = 7;
	r->book.seed = 1;
	*turn = 8;
}

static void free_of_it(void)
{
	int id;

	pFree(image_open(&id));
}

static void resize_of_it(void)
{
	int id;

	EXPECT(pRealloc(image_open(&id), 10));
}

static void size_of_it(void)
{
	int id;

	EXPECT(pUsableSize(image_open(&id)));
}

static void its_memory_can_only_be_read(void **state)
{
	static void (*const misuse[])(void) = {free_of_it, resize_of_it, size_of_it};
	char said[800] = "";

	(void)state;
	for (int tracker = 0; tracker < 2; tracker++) {
		files(tracker ? "write-mprotect" : "write-wp");
		setenv("SOFTPM_TRACK", tracker ? "mprotect" : "wp", 1);
		in_process(make);
		assert_int_equal(status_of(start(write_to_it)) & 0x7f, SIGSEGV);
		assert_int_equal(*turn, 7);
	}
	unsetenv("SOFTPM_TRACK");
	for (unsigned i = 0; i < 3; i++) {
		int before = dup(STDERR_FILENO), fd = open(scratch("said"), O_RDWR | O_CREAT | O_TRUNC, 0600), status;

		dup2(fd, STDERR_FILENO);
		status = status_of(start(misuse[i]));
		dup2(before, STDERR_FILENO);
		assert_int_equal(status & 0x7f, SIGABRT);
		assert_true(pread(fd, said, sizeof(said) - 1, 0) > 0);
		assert_non_null(strstr(said, "lies in an image"));
		close(fd);
		close(before);
	}
}

static int nothing(void *place, void *value, const char *what, void *arg)
{
	(void)place, (void)value, (void)what, (void)arg;
	return 1;
}

static void use_its_id(void)
{
	struct cattr attr = {.chunk_bytes = 4096};
	void *root;
	int id;

	image_open(&id);
	EXPECT(!pPoint(id) && errno == EROFS && strstr(pErrorMsg(), image));
	EXPECT(!pPointSync(id) && errno == EROFS);
	EXPECT(pSync(id) && errno == EROFS);
	EXPECT(pRestoreWait(id) && errno == EROFS);
	EXPECT(pCSwitch(id, "main", &root) && errno == EROFS);
	EXPECT(!pCClone(id, "new", &root) && errno == EROFS);
	EXPECT(pCTag(id, "new", NULL) && errno == EROFS);
	EXPECT(pCSetAttr(id, &attr) && errno == EROFS);
	EXPECT(pExclude(id, &root) && errno);
	EXPECT(pFullTrace(id) && errno == EROFS);
	EXPECT(pCUse(id) && errno == EROFS);
	EXPECT(!pOutside(id, nothing, NULL)); /* none of its pointers is NULL */
	pCFree(id);
	EXPECT(!pPoint(id) && errno == EINVAL);
	EXPECT(pOutside(id, nothing, NULL) == -1 && errno == EINVAL);
	pCFree(id); /* no harm */
}

static void its_id_is_only_closed(void **state)
{
	(void)state;
	files("misused");
	in_process(make);
	in_process(use_its_id);
}

/* ---- pointers into it ---- */

static int image_count(void *place, void *value, const char *what, void *arg)
{
	(void)place, (void)value;
	*(unsigned *)arg += strstr(what, image) != NULL;
	return 0;
}

struct pair {
	struct root *there;
	struct pair *here;
	uint64_t number;
};

static void point_into_it(void)
{
	unsigned told = 0;
	struct root *r;
	struct pair *p;
	int id, live;

	r = image_open(&id);
	snprintf(volume + strlen(volume), 10, ".pair");
	EXPECT(!pVOpen(volume));
	live = pCAlloc(MAGIC, sizeof(*p), (void **)&p);
	EXPECT(live);
	p->there = r;
	p->here = pMalloc(sizeof(*p));
	p->here->there = (struct root *)&r->greeting;
	p->number = p->here->number = 9;
	EXPECT(pPoint(live) > 0);
	pCFree(id); /* waits for what was captured */
	EXPECT(!pOutside(live, image_count, &told) && told == 2);
	EXPECT(!pVClose());
	EXPECT(!pVOpen(volume));
	live = pCRestore(MAGIC, (void **)&p);
	EXPECT(live && !p->there && !p->here->there && p->number == 9 && p->here->number == 9);
}

static void pointers_into_it_are_null_after_a_restore(void **state)
{
	(void)state;
	files("pointers");
	in_process(make);
	in_process(point_into_it);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(image_has_what_the_version_has),
	        cmocka_unit_test(pointers_into_code_are_mended_wherever_it_is),
	        cmocka_unit_test(processes_share_all_but_mended_pages),
	        cmocka_unit_test(a_large_image_opens_in_as_many_calls_as_a_small_one),
	        cmocka_unit_test(a_name_is_given_when_all_is_durable),
	        cmocka_unit_test(a_flipped_byte_of_header_or_tables_is_found),
	        cmocka_unit_test(what_is_no_image_is_refused),
	        cmocka_unit_test(nonsense_under_right_sums_does_no_harm),
	        cmocka_unit_test(numbers_that_make_no_sense_are_refused),
	        cmocka_unit_test(a_check_finds_a_flipped_byte_of_any_page),
	        cmocka_unit_test(an_image_replaces_an_image_and_nothing_else),
	        cmocka_unit_test(a_kill_leaves_no_half_image_under_the_name),
	        cmocka_unit_test(addresses_that_are_taken_are_told),
	        cmocka_unit_test(restores_go_around_an_image),
	        cmocka_unit_test(its_memory_can_only_be_read),
	        cmocka_unit_test(its_id_is_only_closed),
	        cmocka_unit_test(pointers_into_it_are_null_after_a_restore),
	};

	if (argc == 3)
		return run_as_other(argv);
	turn = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
