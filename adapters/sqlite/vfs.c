/* vfs.c - the file that SQLite's pager sees.
 *
 * SQLite keeps the journal of a transaction in memory, as it does for its own databases in memory, and writes pages to the file when the
 * transaction ends, or before if its cache is full; so ROLLBACK, savepoints and failed statements are SQLite's own, and nothing of them is
 * in the container but bytes that were written too early, which points.c keeps out of versions. Statements, locks, hooks, functions
 * and caches are in the process's other memory: a restore has none of them.
 *
 * Who reads gets pages where they lie (xFetch), but for those that may yet be undone (locks.c); who writes works on copies in SQLite's cache.
 *
 * Change counter. SQLite writes page 1 in each transaction so that others see that the file changed. Here those others are in this
 * process, so a number in memory does: the pager asks for the 16 bytes at offset 24 when it begins to read, and is told other bytes than
 * page 1 has if something was committed since it read that page.
 *
 * The VFS only knows files that are databases on SoftPM. SQLite asks it for others on behalf of the same connection (statement journals,
 * temporary files, super-journals of databases that are attached): the default one has these.
 */
#include "adapter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static sqlite3_vfs vfs;

static sqlite3_vfs *others(void)
{
	return vfs.pAppData;
}

static struct file *file_of(sqlite3_file *f)
{
	return (struct file *)(void *)f;
}

static int file_close(sqlite3_file *f)
{
	spm_locks_release(file_of(f), SQLITE_LOCK_NONE);
	spm_locks_forget();
	spm_store_close(file_of(f)->store);
	f->pMethods = NULL;
	return SQLITE_OK;
}

enum { VERSION_AT = 24, VERSION_BYTES = 16, SQLITE_MMAP_MOST = 0x7fff0000 };

static int bytes_read(struct file *file, void *to, int n, sqlite3_int64 at)
{
	struct pages *p = &file->store->pages;
	unsigned char *out = to, *from;
	int64_t have = 0, rest = n;

	for (sqlite3_int64 i = at; rest && (from = spm_pages_at(p, i, &have)); i += have, out += have, rest -= have) {
		have = have < rest ? have : rest;
		memcpy(out, from, (size_t)have);
	}
	if (have < 0)
		return spm_sqlite_code(SQLITE_IOERR_READ);
	memset(out, 0, (size_t)rest);
	if (at == VERSION_AT && n == VERSION_BYTES && file->seen != file->store->commits)
		*(unsigned char *)to ^= 0xff;
	else if (!at)
		file->seen = file->store->commits;
	return rest ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int file_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
	struct file *file = file_of(f);
	int rc;

	if (file->level != SQLITE_LOCK_NONE && !spm_locks_may_be_undone(file))
		return bytes_read(file, to, n, at);
	pthread_mutex_lock(&file->store->lock);
	rc = spm_locks_is_undone(file) ? file->store->undone : bytes_read(file, to, n, at);
	pthread_mutex_unlock(&file->store->lock);
	return rc;
}

/* softpm_tag may make a version, whoever is about to write. Where a transaction writes long before it ends, those that ended need not wait for that. */
static int tear(struct file *f)
{
	struct store *s = f->store;
	int rc = SQLITE_OK;

	if (s->is_torn)
		return SQLITE_OK;
	pthread_mutex_lock(&s->lock);
	if (!f->is_ending && s->points.durable < s->points.early)
		rc = spm_points_await(s, s->points.early);
	spm_locks_await_commit(s);
	if (!rc)
		spm_pages_tell(&s->pages);
	s->is_torn = !rc;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int code_of(int err)
{
	return !err ? SQLITE_OK : err == -ENOMEM ? SQLITE_IOERR_NOMEM : spm_sqlite_code(SQLITE_IOERR_WRITE);
}

/* By its number in page 1. */
static bool schema_differs(struct pages *p, const unsigned char *page, int n)
{
	enum { COOKIE_AT = 40, COOKIE_BYTES = 4 };
	int64_t have;
	const unsigned char *now = spm_pages_at(p, COOKIE_AT, &have);

	return !now || n < COOKIE_AT + COOKIE_BYTES || memcmp(now, page + COOKIE_AT, COOKIE_BYTES) != 0;
}

static int file_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
	struct store *s = file_of(f)->store;
	int rc = tear(file_of(f));

	if (rc)
		return rc;
	if (!at)
		s->has_new_schema |= schema_differs(&s->pages, from, n);
	return code_of(spm_pages_write(&s->pages, from, n, at));
}

/* SQLite makes a file shorter when the transaction has ended, or was rolled back: what it cuts off is no part of the database. */
static int file_truncate(sqlite3_file *f, sqlite3_int64 bytes)
{
	struct store *s = file_of(f)->store;
	int err;

	pthread_mutex_lock(&s->lock);
	spm_locks_await_commit(s);
	err = spm_pages_resize(&s->pages, bytes);
	spm_points_note(s);
	pthread_mutex_unlock(&s->lock);
	return code_of(err);
}

static int file_sync(sqlite3_file *f, int flags)
{
	(void)f, (void)flags;
	return SQLITE_OK;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *bytes)
{
	struct store *s = file_of(f)->store;

	pthread_mutex_lock(&s->lock);
	*bytes = spm_pages_bytes(&s->pages);
	pthread_mutex_unlock(&s->lock);
	return SQLITE_OK;
}

static int file_lock(sqlite3_file *f, int level)
{
	return spm_locks_take(file_of(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
	spm_locks_release(file_of(f), level);
	return SQLITE_OK;
}

static int file_check_reserved(sqlite3_file *f, int *is_reserved)
{
	struct store *s = file_of(f)->store;

	pthread_mutex_lock(&s->lock);
	*is_reserved = s->writer != NULL;
	pthread_mutex_unlock(&s->lock);
	return SQLITE_OK;
}

/* The second step of spm_sqlite_commit. SQLite gives the lock back next. */
static int end_early(struct file *f)
{
	struct store *s = f->store;
	int rc;

	f->is_early = false;
	pthread_mutex_lock(&s->lock);
	f->seen = spm_points_ended(s);
	spm_locks_give_back(f, SQLITE_LOCK_NONE);
	rc = spm_points_await(s, f->seen);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
	struct store *s = file_of(f)->store;

	switch (op) {
	case SQLITE_FCNTL_COMMIT_PHASETWO:
		s->points.is_ahead = false;
		return file_of(f)->is_early ? end_early(file_of(f)) : SQLITE_OK;
	case SQLITE_FCNTL_LOCKSTATE:
		*(int *)arg = file_of(f)->level;
		return SQLITE_OK;
	case SQLITE_FCNTL_MMAP_SIZE: /* whatever is wished: all pages are read in place */
		*(sqlite3_int64 *)arg = SQLITE_MMAP_MOST;
		return SQLITE_OK;
	case SQLITE_FCNTL_VFSNAME:
		*(char **)arg = sqlite3_mprintf("%s", vfs.zName);
		return SQLITE_OK;
	default:
		return SQLITE_NOTFOUND;
	}
}

static int file_sector(sqlite3_file *f)
{
	(void)f;
	return 512;
}

static int file_characteristics(sqlite3_file *f)
{
	(void)f;
	return SQLITE_IOCAP_ATOMIC | SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL |
	       SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* Of a page that is damaged SQLite may read some bytes too many: its own pages in memory have room for that. So a page where the object ends that it
 * lies in, or the file, is read, not fetched: what lies behind may be no memory. */
enum { READ_TOO_FAR = 256 };

static int file_fetch(sqlite3_file *f, sqlite3_int64 at, int n, void **out)
{
	int64_t have = 0;
	unsigned char *p = NULL;

	if (!spm_locks_may_be_undone(file_of(f)))
		p = spm_pages_at(&file_of(f)->store->pages, at, &have);
	*out = have >= n + READ_TOO_FAR ? p : NULL;
	return have < 0 ? spm_sqlite_code(SQLITE_IOERR_READ) : SQLITE_OK;
}

static int file_unfetch(sqlite3_file *f, sqlite3_int64 at, void *p)
{
	(void)f, (void)at, (void)p;
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
        .iVersion = 3,
        .xClose = file_close,
        .xRead = file_read,
        .xWrite = file_write,
        .xTruncate = file_truncate,
        .xSync = file_sync,
        .xFileSize = file_size,
        .xLock = file_lock,
        .xUnlock = file_unlock,
        .xCheckReservedLock = file_check_reserved,
        .xFileControl = file_control,
        .xSectorSize = file_sector,
        .xDeviceCharacteristics = file_characteristics,
        .xFetch = file_fetch,
        .xUnfetch = file_unfetch,
};

/* ---- what the patch calls ---- */

int spm_sqlite_has(sqlite3_file *f)
{
	return f->pMethods == &methods;
}

void spm_sqlite_ending(sqlite3_file *f, int is_alone)
{
	if (!spm_sqlite_has(f))
		return;
	file_of(f)->is_ending = true;
	file_of(f)->is_alone = is_alone;
}

int spm_sqlite_commit(sqlite3_file *f, int level, int is_final)
{
	struct file *file = file_of(f);
	struct store *s = file->store;
	int rc = SQLITE_OK;

	pthread_mutex_lock(&s->lock);
	file->is_early =
	        level == POINT_NOW && !is_final && file->is_ending && file->is_alone && spm_points_may_end_early(s);
	if (!file->is_early)
		rc = spm_points_commit(s, level);
	if (!file->is_early && !rc)
		file->seen = s->commits;
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int spm_sqlite_rolled_back(sqlite3_file *f)
{
	struct store *s = file_of(f)->store;
	int rc;

	pthread_mutex_lock(&s->lock);
	file_of(f)->is_early = false;
	rc = spm_points_rolled_back(s);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static bool environment_asks(const char *name, unsigned flags)
{
	const char *wish = getenv("SQLITE_SOFTPM");

	return wish && *wish && strcmp(wish, "0") && !(flags & SQLITE_OPEN_MEMORY) && *name && strcmp(name, ":memory:");
}

const char *spm_sqlite_vfs(const char *name, const char *asked, unsigned flags)
{
	const char *container = sqlite3_uri_parameter(name, "softpm");
	bool is_ours = asked && !strcmp(asked, vfs.zName);

	if (container ? strcmp(container, "0") : (!asked || is_ours) && environment_asks(name, flags))
		return vfs.zName;
	return is_ours ? NULL : asked;
}

/* ---- the VFS ---- */

static int vfs_open(sqlite3_vfs *v, const char *path, sqlite3_file *f, int flags, int *flags_out)
{
	struct file *file = file_of(f);
	struct store_name name = {.path = path};
	int rc;

	(void)v;
	f->pMethods = NULL;
	if (!(flags & SQLITE_OPEN_MAIN_DB) || !path)
		return others()->xOpen(others(), path, f, flags, flags_out);
	name.magic = (int)sqlite3_uri_int64(path, "softpm", 1);
	name.ref = sqlite3_uri_parameter(path, "at");
	name.may_create = flags & SQLITE_OPEN_CREATE;
	name.is_readonly = flags & SQLITE_OPEN_READONLY;
	memset(file, 0, sizeof(*file));
	rc = spm_store_open(&name, &file->store);
	if (rc)
		return rc;
	if (flags_out)
		*flags_out = name.is_readonly || name.ref
		                     ? (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY
		                     : flags;
	f->pMethods = &methods;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *v, const char *path, int sync_folder)
{
	(void)v;
	return others()->xDelete(others(), path, sync_folder);
}

static bool is_journals(const char *path)
{
	size_t n = strlen(path);

	return (n >= 8 && !memcmp(path + n - 8, "-journal", 8)) || (n >= 4 && !memcmp(path + n - 4, "-wal", 4));
}

/* Only of ours is asked here whether there is a journal: there is none. Each transaction asks. */
static int vfs_access(sqlite3_vfs *v, const char *path, int flags, int *out)
{
	(void)v;
	if (flags != SQLITE_ACCESS_EXISTS || !is_journals(path))
		return others()->xAccess(others(), path, flags, out);
	*out = 0;
	return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *v, const char *path, int n, char *out)
{
	(void)v;
	return others()->xFullPathname(others(), path, n, out);
}

static void *vfs_dl_open(sqlite3_vfs *v, const char *path)
{
	(void)v;
	return others()->xDlOpen(others(), path);
}

static void vfs_dl_error(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	others()->xDlError(others(), n, out);
}

static void (*vfs_dl_sym(sqlite3_vfs *v, void *library, const char *symbol))(void)
{
	(void)v;
	return others()->xDlSym(others(), library, symbol);
}

static void vfs_dl_close(sqlite3_vfs *v, void *library)
{
	(void)v;
	others()->xDlClose(others(), library);
}

static int vfs_randomness(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	return others()->xRandomness(others(), n, out);
}

static int vfs_sleep(sqlite3_vfs *v, int microseconds)
{
	(void)v;
	return spm_locks_sleep((unsigned)microseconds) ? microseconds : others()->xSleep(others(), microseconds);
}

static int vfs_time(sqlite3_vfs *v, sqlite3_int64 *out)
{
	(void)v;
	return others()->xCurrentTimeInt64(others(), out);
}

static int vfs_last_error(sqlite3_vfs *v, int n, char *out)
{
	(void)v;
	return others()->xGetLastError(others(), n, out);
}

static sqlite3_vfs vfs = {
        .iVersion = 2,
        .zName = "softpm",
        .xOpen = vfs_open,
        .xDelete = vfs_delete,
        .xAccess = vfs_access,
        .xFullPathname = vfs_full_path,
        .xDlOpen = vfs_dl_open,
        .xDlError = vfs_dl_error,
        .xDlSym = vfs_dl_sym,
        .xDlClose = vfs_dl_close,
        .xRandomness = vfs_randomness,
        .xSleep = vfs_sleep,
        .xGetLastError = vfs_last_error,
        .xCurrentTimeInt64 = vfs_time,
};

int spm_sqlite_init(const char *unused)
{
	sqlite3_vfs *base = sqlite3_vfs_find(NULL);

	(void)unused;
	vfs.pAppData = base;
	vfs.mxPathname = base->mxPathname;
	vfs.szOsFile = base->szOsFile > (int)sizeof(struct file) ? base->szOsFile : (int)sizeof(struct file);
	return sqlite3_vfs_register(&vfs, 0);
}
