/* store.c - which databases the process has open.
 *
 * A process has one volume (pVOpen), so all its databases on SoftPM are containers of one: it is opened with the first, and closed
 * with the last. file:PATH?softpm=2 is container 2 of the volume at PATH. All connections to one share a store. A view, a version that is only
 * read, is opened for each connection anew: what its ref means may have changed.
 *
 * A large database is open before all of it is in memory: pages.c asks for what is read, so damage is SQLITE_CORRUPT then, not a SIGBUS.
 */
#include "adapter.h"

#include <errno.h>
#include <softpm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
	pthread_mutex_t lock;
	char *path; /* of the volume; NULL: none is open */
	struct store *first;
} stores = {.lock = PTHREAD_MUTEX_INITIALIZER};

int spm_sqlite_code(int otherwise)
{
	static const struct {
		int error, code;
	} known[] = {
	        {EAGAIN, SQLITE_BUSY},  {EBUSY, SQLITE_BUSY},     {EUCLEAN, SQLITE_CORRUPT}, {ENOSPC, SQLITE_FULL},
	        {ENOMEM, SQLITE_NOMEM}, {EROFS, SQLITE_READONLY}, {EFBIG, SQLITE_FULL},
	};
	int error = errno;

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i].error == error)
			otherwise = known[i].code;
	sqlite3_log(otherwise, "softpm: %s", pErrorMsg());
	return otherwise;
}

static int volume_fail(int code)
{
	sqlite3_log(code, "softpm: %s", pErrorMsg());
	free(stores.path);
	stores.path = NULL;
	return code;
}

/* pVOpen would take what follows a question mark for options. */
static char *uri_of(const char *path)
{
	char *uri = malloc(6 + 3 * strlen(path)), *to = uri;

	if (!uri)
		return NULL;
	to = stpcpy(to, "file:");
	for (; *path; path++)
		if (strchr("%?", *path))
			to += sprintf(to, "%%%02x", *path);
		else
			*to++ = *path;
	*to = 0;
	return uri;
}

static int volume_open(const struct store_name *name)
{
	char *uri;
	int failed;

	if (stores.path && strcmp(stores.path, name->path)) {
		sqlite3_log(SQLITE_CANTOPEN, "softpm: %s: this process has volume %s open, and can't have two",
		            name->path, stores.path);
		return SQLITE_CANTOPEN;
	}
	if (stores.path)
		return SQLITE_OK;
	if (!name->may_create && access(name->path, F_OK))
		return SQLITE_CANTOPEN;
	uri = uri_of(name->path);
	stores.path = uri ? strdup(name->path) : NULL;
	failed = stores.path ? pVOpen(uri) : 0;
	free(uri);
	if (!stores.path)
		return SQLITE_NOMEM;
	if (!failed)
		return SQLITE_OK;
	return volume_fail(errno == EUCLEAN ? SQLITE_NOTADB : SQLITE_CANTOPEN);
}

static void volume_close_unused(void)
{
	if (stores.first || !stores.path)
		return;
	if (pVClose())
		spm_sqlite_code(SQLITE_IOERR_CLOSE);
	free(stores.path);
	stores.path = NULL;
}

/* Threads need not be stopped for a point: what it captures nobody changes meanwhile, see points.c. Nothing becomes unreachable without
 * being freed, so no trace has to look for it. */
static int attributes_set(int id, int magic)
{
	struct cattr *attr = pCGetAttr(magic);
	int failed = 0;

	if (!attr)
		return -1;
	if (attr->stop_threads || attr->full_trace_every || !*attr->name) {
		attr->stop_threads = 0;
		attr->full_trace_every = 0;
		if (!*attr->name)
			strcpy(attr->name, "sqlite");
		failed = pCSetAttr(id, attr);
	}
	pCAttrFree(attr);
	return failed;
}

/* The branch that pCRestore would bring back. */
static int branch_note(const struct pbranch *b, void *arg)
{
	char *name = arg;

	if (b->is_current)
		strncpy(name, b->name, 63);
	return b->is_current;
}

/* The one that is written, if it is open. */
static struct store *written(int magic)
{
	struct store *s = stores.first;

	while (s && (s->magic != magic || s->is_view))
		s = s->next;
	return s;
}

static int view_open(struct store *s, const char *ref, void **root)
{
	struct store *other = written(s->magic);
	char branch[64] = "";
	int id;

	if (!ref && pBranches(s->magic, branch_note, branch) < 0)
		return 0;
	if (!other)
		return pCOpenAt(s->magic, ref ? ref : branch, root);
	pthread_mutex_lock(&other->lock);
	spm_points_halt(other);
	pthread_mutex_unlock(&other->lock);
	id = pCOpenAt(s->magic, ref ? ref : branch, root);
	pthread_mutex_lock(&other->lock);
	spm_points_go_on(other);
	pthread_mutex_unlock(&other->lock);
	return id;
}

static int container_open(struct store *s, const struct store_name *name)
{
	void *root = NULL;
	int *id = &s->pages.id, err;

	*id = s->is_view ? view_open(s, name->ref, &root) : pCRestore(s->magic, &root);
	if (!*id && errno == ENOENT && name->may_create && !s->is_view)
		root = spm_pages_new(s->magic, id);
	if (!*id || !root)
		return spm_sqlite_code(SQLITE_CANTOPEN);
	err = spm_pages_open(&s->pages, root);
	if (err == -EINVAL) {
		sqlite3_log(SQLITE_NOTADB, "softpm: container %d of %s holds no SQLite database", s->magic, name->path);
		return SQLITE_NOTADB;
	}
	if (err || (!s->is_view && attributes_set(*id, s->magic)))
		return spm_sqlite_code(SQLITE_CANTOPEN);
	return SQLITE_OK;
}

static struct store *store_new(const struct store_name *name)
{
	struct store *s = calloc(1, sizeof(*s));
	pthread_condattr_t clock;

	if (!s)
		return NULL;
	s->magic = name->magic;
	s->is_view = name->is_readonly || name->ref;
	s->process = getpid();
	pthread_mutex_init(&s->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&s->unlocked, &clock);
	pthread_cond_init(&s->points.changed, &clock);
	pthread_cond_init(&s->points.made, &clock);
	pthread_condattr_destroy(&clock);
	return s;
}

static void store_free(struct store *s)
{
	if (s->pages.id)
		pCFree(s->pages.id);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->unlocked);
	pthread_cond_destroy(&s->points.changed);
	pthread_cond_destroy(&s->points.made);
	free(s);
}

/* One that this connection can share: those that only read share with who writes, if somebody does. */
static struct store *store_find(const struct store_name *name)
{
	return name->ref ? NULL : written(name->magic);
}

static int store_make(const struct store_name *name, struct store **out)
{
	struct store *s = store_new(name);
	int rc = s ? container_open(s, name) : SQLITE_NOMEM;

	if (rc) {
		if (s)
			store_free(s);
		return rc;
	}
	s->next = stores.first;
	stores.first = s;
	*out = s;
	return SQLITE_OK;
}

int spm_store_open(const struct store_name *name, struct store **out)
{
	struct store *s = NULL;
	int rc;

	pthread_mutex_lock(&stores.lock);
	rc = volume_open(name);
	if (!rc) {
		s = store_find(name);
		if (!s)
			rc = store_make(name, &s);
		if (rc)
			volume_close_unused();
	}
	if (!rc) {
		s->users++;
		*out = s;
	}
	pthread_mutex_unlock(&stores.lock);
	return rc;
}

/* In memory is another state. */
static void state_take(struct store *s, void *root)
{
	struct points *p = &s->points;

	s->is_broken = spm_pages_open(&s->pages, root);
	p->durable = p->later = p->early = ++s->commits;
}

int spm_store_go_back(struct store *s)
{
	char ref[65] = "!";
	void *root = NULL;
	int rc = SQLITE_OK;

	s->era++;
	s->undone = s->points.lost;
	s->shared = 0;
	s->writer = NULL;
	if (pBranches(s->magic, branch_note, ref + 1) < 0 || pCSwitch(s->pages.id, ref, &root) ||
	    pRestoreWait(s->pages.id))
		rc = spm_sqlite_code(SQLITE_IOERR);
	if (root)
		state_take(s, root);
	s->is_broken |= rc;
	s->points.is_unsaved = false;
	s->points.lost = SQLITE_OK;
	return s->is_broken ? SQLITE_IOERR : SQLITE_OK;
}

int spm_store_switch(struct store *s, const char *ref)
{
	void *root = NULL;
	int rc;

	pthread_mutex_lock(&stores.lock);
	pthread_mutex_lock(&s->lock);
	rc = s->users > 1 || s->shared ? SQLITE_BUSY : spm_points_flush(s);
	if (!rc && (pCSwitch(s->pages.id, ref, &root) || pRestoreWait(s->pages.id)))
		rc = spm_sqlite_code(SQLITE_ERROR);
	if (root)
		state_take(s, root);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&stores.lock);
	return rc || !s->is_broken ? rc : SQLITE_NOTADB;
}

static void store_end(struct store *s)
{
	struct store **at = &stores.first;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	pthread_mutex_lock(&s->lock);
	spm_points_end(s);
	pthread_mutex_unlock(&s->lock);
	store_free(s);
}

void spm_store_close(struct store *s)
{
	if (s->process != getpid()) /* a child made by fork has neither the thread nor the volume */
		return;
	pthread_mutex_lock(&stores.lock);
	if (!--s->users) {
		store_end(s);
		volume_close_unused();
	}
	pthread_mutex_unlock(&stores.lock);
}
