/* fuzz_sql.c - SQL from SQLite's own fuzz corpus, on SoftPM and beside it.
 *
 * The corpus comes with SQLite's source (test/fuzzdata*.db, tables xsql and db): scripts; databases, most of them damaged, with a script that
 * is run on each; and scripts that have their database before them, in hexadecimal. Every case is run on a container, where each
 * transaction's end is a point, and on an ordinary file with journal_mode = memory, with one of several settings of synchronous, page size and
 * cache size (a small one writes pages in mid-transaction), half of them with another connection beside. Each statement of a script must have the same code and the same rows on both. Then
 * both are closed, so what an open transaction left is rolled back; opened again, the container from its newest version, they must be the same
 * byte for byte, but for the change counter, which a container has no use for, and for free pages, of which a rollback need not restore what
 * they had: their list must be the same. So must be what integrity_check says. Of a damaged database SQLite may read past the end of a
 * page: in a container, and in a file that is mapped, the next page is there, in SQLite's cache something else; so it must be as one or the
 * other file. Of SQLite's memory nothing may be left.
 *
 * What would differ by nature is made the same or forbidden: time stands still, random numbers begin alike, only databases in memory can be
 * attached. Work is bounded by counts, so both end at the same place.
 *
 * $SOFTPM_FUZZ_EACH: every how many-th case, 101, with sanitizers 20. $SOFTPM_FUZZ_ONLY: the name of one, as a failure tells it.
 */
#include "adapter.h"
#include "db.h"
#include "driver/driver.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <softpm.h>
#include <xxhash.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

#ifndef FUZZ_EACH
#define FUZZ_EACH 101
#endif

enum {
	STATEMENTS_MOST = 500,
	STEPS_MOST = 100000, /* of SQLite's virtual machine, in a case */
	STEPS_AT_ONCE = 100,
	VALUE_BYTES_MOST = 200000,
	IMAGE_BYTES_MOST = 1 << 20,
	MEMORY_BYTES_MOST = 200 << 20,
	VOLUME_BYTES_MOST = 1 << 30,
	SECONDS_MOST = 300, /* what hangs is told */
	CONTAINER = 2,      /* on_softpm's */
	PAGES_MOST = 4096,  /* that may be free */
};

/* The case. */
static struct {
	char name[64];
	uint64_t number;
	unsigned char image[IMAGE_BYTES_MOST];
	size_t image_bytes;
	const char *sql;
	size_t sql_bytes;
	bool is_different, is_quiet;
} now;

struct outcome {
	int rc;
	uint64_t rows;
};

struct side {
	const char *uri; /* NULL: scratch("plain.db") */
	bool is_mapped;  /* the file is */
	sqlite3 *db, *beside;
	int steps; /* still to go */
	uint64_t random;
	bool has_no_memory;
	struct outcome outcome[STATEMENTS_MOST];
	unsigned statements;
};
static struct side on_softpm = {.uri = "file:volume?softpm=2"}, plain;

static void name_tell(void)
{
	fprintf(stderr, "in SOFTPM_FUZZ_ONLY=%s\n", now.name);
}

#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#ifdef __clang__
#pragma clang diagnostic ignored "-Wreserved-identifier"
#endif

/* The volume is in memory: a case takes some flushes, which are not what is tried here. */
int __wrap_spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why);
int __wrap_spm_driver_file_open(const char *path, unsigned flags, struct driver **out, char *why)
{
	(void)path, (void)flags, (void)why;
	return spm_driver_memory_open(VOLUME_BYTES_MOST, out);
}

/* SQLite's file without SoftPM need not outlive the machine. */
int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	(void)fd;
	return 0;
}

/* Of a header that may be damaged. */
static uint32_t page_bytes_of(const unsigned char *header)
{
	uint32_t bytes = (uint32_t)header[16] << 8 | (uint32_t)header[17] << 16;

	return bytes >= 512 && bytes <= 65536 && !(bytes & (bytes - 1)) ? bytes : 4096;
}

/* ---- one side ---- */

static bool is_one_of(const char *name, const char *const *list)
{
	while (*list && sqlite3_stricmp(name, *list))
		list++;
	return *list != NULL;
}

/* Not what differs by nature, nor what takes the bounds away. */
static int authorize(void *arg, int action, const char *what, const char *value, const char *schema, const char *by)
{
	static const char *const pragmas[] = {"database_list",
	                                      "data_store_directory",
	                                      "data_version",
	                                      "hard_heap_limit",
	                                      "journal_mode",
	                                      "max_page_count",
	                                      "mmap_size",
	                                      "soft_heap_limit",
	                                      "temp_store_directory",
	                                      NULL};

	(void)arg, (void)value, (void)schema, (void)by;
	if (action == SQLITE_PRAGMA)
		return is_one_of(what, pragmas) ? SQLITE_DENY : SQLITE_OK;
	if (action == SQLITE_ATTACH)
		return what && (!*what || !strcmp(what, ":memory:")) ? SQLITE_OK : SQLITE_DENY;
	return SQLITE_OK;
}

static int progress(void *arg)
{
	struct side *s = arg;

	s->steps -= STEPS_AT_ONCE;
	return s->steps <= 0;
}

static void side_open(struct side *s)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
	const char *name = s->uri ? s->uri : scratch("plain.db");

	need(sqlite3_open_v2(name, &s->db, flags, NULL) == SQLITE_OK, name, s->db);
	s->steps = STEPS_MOST;
	sqlite3_progress_handler(s->db, STEPS_AT_ONCE, progress, s);
	sqlite3_exec(s->db, "PRAGMA journal_mode = memory", NULL, NULL, NULL);
	if (s->is_mapped)
		sqlite3_exec(s->db, "PRAGMA mmap_size = 1000000000", NULL, NULL, NULL);
}

/* For its sake locks are given back before what ended is durable. */
static void beside_open(struct side *s)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;

	if (s->uri && now.number / 4 % 2)
		need(sqlite3_open_v2(s->uri, &s->beside, flags, NULL) == SQLITE_OK, s->uri, s->beside);
}

static void side_close(struct side *s)
{
	need(sqlite3_close(s->beside) == SQLITE_OK, "close", s->beside);
	s->beside = NULL;
	need(sqlite3_close(s->db) == SQLITE_OK, "close", s->db);
}

static void random_integer(sqlite3_context *out, int argc, sqlite3_value **argv)
{
	struct side *s = sqlite3_user_data(out);

	(void)argc, (void)argv;
	sqlite3_result_int64(out, (sqlite3_int64)test_random(&s->random));
}

static void random_blob(sqlite3_context *out, int argc, sqlite3_value **argv)
{
	static unsigned char bytes[VALUE_BYTES_MOST];
	struct side *s = sqlite3_user_data(out);
	sqlite3_int64 n = sqlite3_value_int64(argv[0]);

	(void)argc;
	if (n > VALUE_BYTES_MOST) {
		sqlite3_result_error_toobig(out);
		return;
	}
	n = n < 1 ? 1 : n;
	for (sqlite3_int64 i = 0; i < n; i++)
		bytes[i] = (unsigned char)test_random(&s->random);
	sqlite3_result_blob(out, bytes, (int)n, SQLITE_TRANSIENT);
}

/* SQLite's own draw from what names of temporary files are drawn from, too. */
static void side_random(struct side *s)
{
	s->random = 1;
	sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 1, NULL);
	sqlite3_create_function(s->db, "random", 0, SQLITE_UTF8, s, random_integer, NULL, NULL);
	sqlite3_create_function(s->db, "randomblob", 1, SQLITE_UTF8, s, random_blob, NULL, NULL);
}

/* On a damaged database some of it fails. */
static void side_set(struct side *s)
{
	static const char *const settings[] = {
	        "PRAGMA synchronous = FULL",
	        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = 4",
	        "PRAGMA synchronous = OFF; PRAGMA page_size = 65536; PRAGMA auto_vacuum = 1",
	        "PRAGMA synchronous = FULL; PRAGMA page_size = 512; PRAGMA cache_size = 4; PRAGMA auto_vacuum = 2",
	};

	sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, VALUE_BYTES_MOST);
	sqlite3_limit(s->db, SQLITE_LIMIT_VDBE_OP, 25000);
	sqlite3_limit(s->db, SQLITE_LIMIT_EXPR_DEPTH, 200);
	sqlite3_limit(s->db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50);
	sqlite3_exec(s->db, settings[now.number % 4], NULL, NULL, NULL);
	sqlite3_exec(s->db, "PRAGMA max_page_count = 2000", NULL, NULL, NULL);
	sqlite3_set_authorizer(s->db, authorize, NULL);
	side_random(s);
}

/* The bytes as they are, however damaged. But none is in WAL mode: to a container that means nothing. */
static void side_load(struct side *s)
{
	static const int levels[] = {SQLITE_LOCK_SHARED, SQLITE_LOCK_RESERVED, SQLITE_LOCK_EXCLUSIVE};
	sqlite3_file *f = db_file(s->db);
	int rc = SQLITE_OK;

	if (now.image_bytes > 19 && now.image[19] == 2)
		now.image[19] = 1;
	for (unsigned i = 0; i < 3; i++)
		rc |= f->pMethods->xLock(f, levels[i]);
	for (size_t at = 0, n; at < now.image_bytes; at += n) { /* os_unix.c writes no more than 128 KiB */
		n = now.image_bytes - at < 65536 ? now.image_bytes - at : 65536;
		rc |= f->pMethods->xWrite(f, now.image + at, (int)n, (sqlite3_int64)at);
	}
	if (spm_sqlite_has(f))
		rc |= spm_sqlite_commit(f, POINT_NOW, 1);
	rc |= f->pMethods->xUnlock(f, SQLITE_LOCK_NONE);
	need(rc == SQLITE_OK, "the database can't be put there", s->db);
}

static uint64_t fold(uint64_t before, const void *bytes, size_t n)
{
	return XXH3_64bits_withSeed(bytes, n, before);
}

static uint64_t value_fold(uint64_t before, sqlite3_stmt *q, int i)
{
	int type = sqlite3_column_type(q, i);
	double number = type == SQLITE_FLOAT ? sqlite3_column_double(q, i) : 0;
	int64_t integer = type == SQLITE_INTEGER ? sqlite3_column_int64(q, i) : 0;

	before = fold(before, &type, sizeof(type));
	if (type == SQLITE_FLOAT)
		return fold(before, &number, sizeof(number));
	if (type == SQLITE_INTEGER)
		return fold(before, &integer, sizeof(integer));
	return type == SQLITE_NULL ? before
	                           : fold(before, sqlite3_column_blob(q, i), (size_t)sqlite3_column_bytes(q, i));
}

static struct outcome rows_fold(sqlite3_stmt *q)
{
	struct outcome out = {0};

	while ((out.rc = sqlite3_step(q)) == SQLITE_ROW)
		for (int i = 0; i < sqlite3_column_count(q); i++)
			out.rows = value_fold(out.rows, q, i);
	return out;
}

static bool is_out_of_memory(int rc)
{
	return (rc & 0xff) == SQLITE_NOMEM || rc == SQLITE_IOERR_NOMEM;
}

/* Runs the first statement. Returns what follows, NULL: nothing. */
static const char *statement(struct side *s, const char *sql, const char *end)
{
	const char *rest = NULL;
	sqlite3_stmt *q;
	struct outcome out = {.rc = sqlite3_prepare_v2(s->db, sql, (int)(end - sql), &q, &rest)};

	if (q)
		out = rows_fold(q);
	if (sqlite3_stmt_isexplain(q))
		out.rows = 0; /* there are addresses in them */
	sqlite3_finalize(q);
	s->has_no_memory |= is_out_of_memory(out.rc);
	s->outcome[s->statements++] = out;
	return rest > sql && rest < end ? rest : NULL;
}

static void side_run(struct side *s)
{
	const char *sql = now.sql, *end = sql + strnlen(sql, now.sql_bytes);

	s->has_no_memory = false;
	s->statements = 0;
	side_open(s);
	beside_open(s);
	if (now.image_bytes)
		side_load(s);
	side_set(s);
	while (sql && s->statements < STATEMENTS_MOST && s->steps > 0 && !s->has_no_memory)
		sql = statement(s, sql, end);
	side_close(s);
}

/* ---- both ---- */

/* Of a case the first difference is told. */
static void same(const char *what, uint64_t softpm, uint64_t otherwise)
{
	if (softpm == otherwise || now.is_different)
		return;
	now.is_different = true;
	if (now.is_quiet)
		return;
	fprintf(stderr, "%s: %llx on SoftPM, %llx without, ", what, (unsigned long long)softpm,
	        (unsigned long long)otherwise);
	name_tell();
}

static void outcomes_compare(void)
{
	char what[64];

	for (unsigned i = 0; i < on_softpm.statements && i < plain.statements; i++) {
		snprintf(what, sizeof(what), "code of statement %u", i);
		same(what, (unsigned)on_softpm.outcome[i].rc, (unsigned)plain.outcome[i].rc);
		snprintf(what, sizeof(what), "rows of statement %u", i);
		same(what, on_softpm.outcome[i].rows, plain.outcome[i].rows);
	}
	same("statements", on_softpm.statements, plain.statements);
}

static uint32_t big_endian(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Zeros behind its end. */
static void file_read(sqlite3_file *f, unsigned char *to, uint32_t bytes, uint64_t at)
{
	int rc = f->pMethods->xRead(f, to, (int)bytes, (sqlite3_int64)at);

	need(rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ, "read", NULL);
}

/* Which pages are free, by their list; the fold of that. */
static uint64_t free_fold(sqlite3_file *f, uint32_t page_bytes, uint32_t first, bool *is_free)
{
	static unsigned char page[65536];
	uint64_t sum = 0;

	for (uint32_t trunk = first, next; trunk > 1 && trunk < PAGES_MOST && !is_free[trunk]; trunk = next) {
		file_read(f, page, page_bytes, (uint64_t)(trunk - 1) * page_bytes);
		is_free[trunk] = true;
		next = big_endian(page);
		for (uint32_t i = 8, end = 8 + 4 * big_endian(page + 4); i < end && i < page_bytes; i += 4) {
			uint32_t leaf = big_endian(page + i);

			sum = fold(sum, &leaf, sizeof(leaf));
			if (leaf > 1 && leaf < PAGES_MOST)
				is_free[leaf] = true;
		}
	}
	return sum;
}

/* What lies behind those that the header counts, if the count is right, is cut off by a rollback, if it has something to write. */
static uint32_t pages_of(const unsigned char *header, uint32_t in_file)
{
	uint32_t count = big_endian(header + 28);

	return count && count < in_file && !memcmp(header + 24, header + 92, 4) ? count : in_file;
}

static uint64_t file_fold(sqlite3 *db)
{
	static unsigned char page[65536];
	bool is_free[PAGES_MOST] = {0};
	sqlite3_file *f = db_file(db);
	sqlite3_int64 bytes;
	uint32_t page_bytes, pages;
	uint64_t sum = 0;

	need(f->pMethods->xFileSize(f, &bytes) == SQLITE_OK, "size", db);
	if (!bytes)
		return 0;
	file_read(f, page, 100, 0);
	page_bytes = page_bytes_of(page);
	pages = pages_of(page, (uint32_t)(bytes / page_bytes));
	sum = free_fold(f, page_bytes, big_endian(page + 32), is_free);
	for (uint32_t i = 1; i <= pages; i++) {
		if (i < PAGES_MOST && is_free[i])
			continue;
		file_read(f, page, page_bytes, (uint64_t)(i - 1) * page_bytes);
		if (i == 1) {
			memset(page + 24, 0, 4); /* the change counter, */
			memset(page + 92, 0, 8); /* its value when the version was noted, and that */
		}
		sum = fold(sum, page, page_bytes);
	}
	return fold(sum, &pages, sizeof(pages));
}

static struct outcome integrity(sqlite3 *db)
{
	struct outcome out = {0};
	sqlite3_stmt *q;

	out.rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(20)", -1, &q, NULL);
	if (q)
		out = rows_fold(q);
	sqlite3_finalize(q);
	return out;
}

/* Damaged: a page of a table is free as well. Part of a transaction is written to it before it ends, since the cache is small, and a rollback does
 * not restore what is free. So an ordinary file keeps that, and the newest version, which was made before, has not got it; and integrity_check
 * tells what is in the table. */
static const char *const remnants[] = {"fuzzdata3.db:596:1", NULL};

static void results_compare(void)
{
	struct outcome a, b;

	same("file", file_fold(on_softpm.db), file_fold(plain.db));
	a = integrity(on_softpm.db);
	b = integrity(plain.db);
	same("code of integrity_check", (unsigned)a.rc, (unsigned)b.rc);
	if (!is_one_of(now.name, remnants))
		same("integrity_check", a.rows, b.rows);
}

/* Runs it on an ordinary file, and compares. Whether it is the same. */
static bool is_as_plain(bool is_mapped, bool is_quiet)
{
	now.is_different = false;
	now.is_quiet = is_quiet;
	plain.is_mapped = is_mapped;
	unlink(scratch("plain.db"));
	sqlite3_hard_heap_limit64(MEMORY_BYTES_MOST);
	side_run(&plain);
	sqlite3_hard_heap_limit64(0);
	side_open(&on_softpm);
	side_open(&plain);
	if (!on_softpm.has_no_memory && !plain.has_no_memory) {
		outcomes_compare();
		results_compare();
	}
	side_close(&on_softpm);
	side_close(&plain);
	now.is_quiet = false;
	return !now.is_different;
}

/* Neither database is there before, nor afterwards. */
static void case_run(void)
{
	int64_t used = sqlite3_memory_used();

	sqlite3_hard_heap_limit64(MEMORY_BYTES_MOST);
	side_run(&on_softpm);
	sqlite3_hard_heap_limit64(0);
	if (!is_as_plain(false, now.image_bytes != 0) && now.image_bytes)
		is_as_plain(true, false);
	same("memory left", (uint64_t)sqlite3_memory_used(), (uint64_t)used);
	need(!pCDelete(CONTAINER) || errno == ENOENT, pErrorMsg(), NULL);
}

/* ---- the corpus ---- */

static unsigned nibble(char c)
{
	return (unsigned)(isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10);
}

static bool has_image(const char *text, size_t n)
{
	static const char begin[] = "53514c69"; /* "SQLi" */

	return n > sizeof(begin) && (!strncasecmp(text, begin, sizeof(begin) - 1) || !strncmp(text, "\n--\n", 4));
}

/* Hexadecimal digits, two a byte; [100]: what follows lies at byte 0x100; a line "--" ends it. Returns its length; the script begins
 * at *at. */
static size_t image_decode(const char *text, size_t n, unsigned char *image, size_t *at)
{
	size_t digits = 0, bytes = 0, i;
	char *after;

	memset(image, 0, IMAGE_BYTES_MOST);
	for (i = 0; i < n && strncmp(text + i, "\n--\n", 4); i++) {
		if (text[i] == '[') {
			digits = 2 * strtoul(text + i + 1, &after, 16);
			i = (size_t)(after - text);
		} else if (isxdigit((unsigned char)text[i]) && digits / 2 < IMAGE_BYTES_MOST) {
			unsigned char *to = &image[digits / 2];

			*to = (unsigned char)(digits % 2 ? *to | nibble(text[i]) : nibble(text[i]) << 4);
			bytes = digits / 2 >= bytes ? digits / 2 + 1 : bytes;
			digits++;
		}
	}
	*at = i + 4 < n ? i + 4 : n;
	return (bytes + 4095) & ~(size_t)4095;
}

/* Whole pages: what lies behind them is cut off or not, as the cache has it. */
static void image_set(const void *bytes, size_t n)
{
	size_t page_bytes;

	need(n + 65536 <= IMAGE_BYTES_MOST, "a large database", NULL);
	memset(now.image, 0, n + 65536);
	if (n)
		memcpy(now.image, bytes, n);
	page_bytes = page_bytes_of(now.image);
	now.image_bytes = (n + page_bytes - 1) / page_bytes * page_bytes;
}

/* Some have a byte and a line's end before them that are for another program. */
static void script_set(const char *text, size_t n)
{
	size_t skip = n > 2 && text[1] == '\n' ? 2 : 0;

	if (has_image(text, n))
		now.image_bytes = image_decode(text, n, now.image, &skip);
	now.sql = text + skip;
	now.sql_bytes = n - skip;
}

struct corpus {
	uint64_t each, first, cases, run, different;
	const char *only;
};

static void case_take(struct corpus *c, const char *file, int64_t database, int64_t script)
{
	snprintf(now.name, sizeof(now.name), "%.30s:%lld:%lld", file, (long long)database, (long long)script);
	now.number = c->cases++;
	if (c->only ? strcmp(c->only, now.name) : now.number % c->each != c->first)
		return;
	alarm(SECONDS_MOST);
	case_run();
	c->run++;
	c->different += now.is_different;
}

/* Each script on each database. */
static void file_run(struct corpus *c, const char *path)
{
	static const char cases[] = "SELECT ifnull(dbid, 0), dbcontent, sqlid, sqltext FROM xsql LEFT JOIN db";
	const char *name = strrchr(path, '/') + 1;
	sqlite3 *db;
	sqlite3_stmt *q;

	need(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, path, db);
	need(sqlite3_prepare_v2(db, cases, -1, &q, NULL) == SQLITE_OK, path, db);
	while (sqlite3_step(q) == SQLITE_ROW) {
		image_set(sqlite3_column_blob(q, 1), (size_t)sqlite3_column_bytes(q, 1));
		script_set((const char *)sqlite3_column_text(q, 3), (size_t)sqlite3_column_bytes(q, 3));
		case_take(c, name, sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 2));
	}
	need(sqlite3_finalize(q) == SQLITE_OK, path, db);
	need(sqlite3_close(db) == SQLITE_OK, path, db);
}

static int time_stands(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
	(void)vfs;
	*out = INT64_C(212000000000000); /* milliseconds since noon of a day long ago: in 2005 */
	return SQLITE_OK;
}

static void die(int signal)
{
	name_tell();
	_exit(128 + signal);
}

static void watch(void)
{
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_set_death_callback(name_tell);
#else
	signal(SIGSEGV, die);
	signal(SIGBUS, die);
#endif
	signal(SIGABRT, die);
	signal(SIGALRM, die);
}

int main(void)
{
	struct corpus c = {.each = test_number("SOFTPM_FUZZ_EACH", FUZZ_EACH), .only = getenv("SOFTPM_FUZZ_ONLY")};
	sqlite3 *volume_keeper = db_open("volume", "");
	glob_t files;

	watch();
	c.first = test_seed() % c.each;
	sqlite3_vfs_find("unix")->xCurrentTimeInt64 = time_stands;
	need(!glob(SQLITE_SOURCE "/test/fuzzdata*.db", 0, NULL, &files), "no corpus", NULL);
	for (size_t i = 0; i < files.gl_pathc; i++)
		file_run(&c, files.gl_pathv[i]);
	globfree(&files);
	sqlite3_close(volume_keeper);
	printf("%llu cases, %llu different\n", (unsigned long long)c.run, (unsigned long long)c.different);
	return !c.run || c.different;
}
