/* commands.c - versions over the wire. */
#include "adapter.h"

#include <errno.h>
#include <softpm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 512, LOG_DEFAULT = 20 };

struct text {
	char *bytes;
	size_t n, room;
	bool is_short; /* of memory */
	long left;     /* lines */
};

static void text_add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void text_add(struct text *t, const char *format, ...)
{
	char line[LINE];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n >= LINE)
		n = LINE - 1;
	if (t->n + (size_t)n > t->room) {
		size_t room = (t->room + LINE) * 2;
		char *more = realloc(t->bytes, room);

		t->is_short |= !more;
		if (!more)
			return;
		t->bytes = more;
		t->room = room;
	}
	memcpy(t->bytes + t->n, line, (size_t)n);
	t->n += (size_t)n;
}

static void text_send(struct conn *c, struct text *t)
{
	text_add(t, "END\r\n");
	if (!t->is_short) {
		write_and_free(c, t->bytes, (int)t->n);
		return;
	}
	free(t->bytes);
	out_of_memory(c, "SERVER_ERROR out of memory");
}

static void error_send(struct conn *c)
{
	const char *kind = errno == EINVAL || errno == EEXIST || errno == ENOENT ? "CLIENT_ERROR" : "SERVER_ERROR";
	char line[LINE];

	snprintf(line, sizeof(line), "%s %s", kind, pErrorMsg());
	out_string(c, line);
}

static int version_tell(const struct pversion *v, void *arg)
{
	struct text *t = arg;

	text_add(t, "VERSION %lld %lld %s %llu %s\r\n", (long long)v->version, (long long)(v->time_ns / 1000000000),
	         v->branch, (unsigned long long)v->stored_bytes, v->message);
	return --t->left <= 0;
}

static void log_send(struct conn *c, const char *lines)
{
	struct text t = {.left = lines ? strtol(lines, NULL, 10) : LOG_DEFAULT};

	if (t.left <= 0) {
		out_string(c, "CLIENT_ERROR softpm log [LINES]");
		return;
	}
	if (pVersions(CACHE_MAGIC, NULL, version_tell, &t) < 0) {
		free(t.bytes);
		error_send(c);
		return;
	}
	text_send(c, &t);
}

/* With what this connection, and others, changed until now. The gate is open meanwhile: the point is made by another thread, which knows why
 * it failed. 0, or the reply is there. */
static int point_make(struct conn *c)
{
	struct points_stats points;
	char line[LINE];
	int failed;

	spm_port_leave(c);
	failed = spm_points_now();
	spm_port_enter(c);
	if (!failed)
		return 0;
	spm_points_stats(&points);
	snprintf(line, sizeof(line), "SERVER_ERROR not durable: %s", points.last_failure);
	out_string(c, line);
	return -1;
}

static int tag(const char *name, const char *ref)
{
	return pCTag(spm_port.id, name, ref);
}

static int branch(const char *name, const char *ref)
{
	return pBranch(CACHE_MAGIC, name, ref);
}

static void name_version(struct conn *c, int (*make)(const char *name, const char *ref), const char *name,
                         const char *ref)
{
	if (!ref && point_make(c))
		return;
	if (make(name, ref))
		error_send(c);
	else
		out_string(c, "OK");
}

/* 0, or the reply is there. */
static int branch_try(struct conn *c, const char *name)
{
	char line[LINE] = "CLIENT_ERROR ";
	size_t n = strlen(line);

	if (!spm_keep_try(name, line + n, sizeof(line) - n)) {
		out_string(c, line);
		return -1;
	}
	if (point_make(c))
		return -1;
	if (!pBranchSwitch(CACHE_MAGIC, name))
		return 0;
	error_send(c);
	return -1;
}

/* All that is now is in a version of the branch that is left. Nothing else can be said to the client: no reply is sent after this. */
static void branch_go(struct conn *c, const char *name)
{
	if (!spm_port_end_begin()) {
		out_string(c, "SERVER_ERROR the server is about to end, or to go on from another branch");
		return;
	}
	if (branch_try(c, name)) {
		spm_port_end_cancel();
		return;
	}
	if (c->write(c, "OK\r\n", 4) != 4)
		fprintf(stderr, "memcachedb: the client that asked for branch %s is gone\n", name);
	spm_port_leave(c);
	spm_port_restart();
}

void spm_port_command(struct conn *c, const char *what, const char *a, const char *b)
{
	if (!spm_port.volume)
		out_string(c, "CLIENT_ERROR the server was started without -o softpm");
	else if (!strcmp(what, "log") && !b)
		log_send(c, a);
	else if (!strcmp(what, "tag") && a)
		name_version(c, tag, a, b);
	else if (!strcmp(what, "branch") && a)
		name_version(c, branch, a, b);
	else if (!strcmp(what, "switch") && a && !b)
		branch_go(c, a);
	else
		out_string(c, "CLIENT_ERROR softpm log [LINES] | tag NAME [REF] | branch NAME [REF] | switch BRANCH");
}

void spm_port_stats(void (*add_stats)(const char *, unsigned short, const char *, unsigned, const void *),
                    struct conn *c)
{
	struct points_stats points;
	struct pstats s;
	char mode[16];

	if (!spm_port.volume)
		return;
	snprintf(mode, sizeof(mode),
	         spm_port.sync == SYNC_ALWAYS ? "always"
	         : spm_port.sync == SYNC_OFF  ? "off"
	                                      : "%d",
	         spm_port.sync);
	APPEND_STAT("softpm_volume", "%s", spm_port.volume);
	APPEND_STAT("softpm_sync", "%s", mode);
	APPEND_STAT("softpm_restored", "%d", spm_port.is_restored);
	spm_points_stats(&points);
	APPEND_STAT("softpm_points", "%llu", (unsigned long long)points.points);
	APPEND_STAT("softpm_failures", "%llu", (unsigned long long)points.failures);
	APPEND_STAT("softpm_last_failure", "%s", points.last_failure);
	APPEND_STAT("softpm_waits", "%llu", (unsigned long long)points.waits);
	if (pStats(CACHE_MAGIC, &s))
		return;
	APPEND_STAT("softpm_dirty_pages", "%llu", (unsigned long long)s.dirty_pages);
	APPEND_STAT("softpm_stored_bytes", "%llu", (unsigned long long)s.stored_bytes);
	APPEND_STAT("softpm_pause_median_us", "%llu", (unsigned long long)s.pause_median_ns / 1000);
	APPEND_STAT("softpm_pause_p99_us", "%llu", (unsigned long long)s.pause_p99_ns / 1000);
	APPEND_STAT("softpm_pause_max_us", "%llu", (unsigned long long)s.pause_max_ns / 1000);
}
