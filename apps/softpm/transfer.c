/* transfer.c - softpm export and import: containers as streams, from one volume to another.
 *
 * A stream goes to standard output, or to a file that gets its name only when it is whole and durable. What there is to say of an
 * export is said on standard error: standard output may be the stream.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct transfer {
	const char *doing;
	struct ptransfer last;
	char *name, *branch; /* copies: what it names ends with the call */
};

static char *copied(char *before, const char *text)
{
	char *same = strdup(text);

	free(before);
	if (!same)
		out_of_memory();
	return same;
}

static int transfer_note(const struct ptransfer *t, void *arg)
{
	struct transfer *x = arg;

	x->last = *t;
	x->name = copied(x->name, t->name);
	x->branch = copied(x->branch, t->branch);
	progress_line("%s: version %llu of %llu, %s", x->doing, (unsigned long long)(t->versions + t->present),
	              (unsigned long long)t->versions_all, text_bytes(t->bytes));
	return 0;
}

static void transfer_end(struct transfer *x)
{
	free(x->name);
	free(x->branch);
}

static void transfer_json(const struct transfer *x)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "magic", json_object_new_int(x->last.magic));
	json_text(o, "name", x->name);
	json_text(o, "branch", x->branch);
	json_count(o, "version", (uint64_t)x->last.version);
	json_count(o, "versions", x->last.versions);
	json_count(o, "present", x->last.present);
	json_count(o, "pages", x->last.pages);
	json_count(o, "bytes", x->last.bytes);
	json_print(o);
}

static const char *versions_text(uint64_t n)
{
	return n == 1 ? "version" : "versions";
}

/* ---- export ---- */

/* Where the stream goes: part is what the file is called until it is whole; NULL: it has its name. */
struct output {
	int fd;
	char *part;
};

/* An older stream is replaced, anything else is not: it may be the volume, say. */
static bool may_replace(const char *path)
{
	char magic[8];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, magic, sizeof(magic));
	bool is_absent = fd < 0 && errno == ENOENT;

	if (fd >= 0)
		close(fd);
	return is_absent || !n || (n == sizeof(magic) && !memcmp(magic, "SPSTREAM", sizeof(magic)));
}

static int output_open(const char *path, struct output *out)
{
	struct stat st;
	bool is_file = path && (stat(path, &st) || S_ISREG(st.st_mode));

	*out = (struct output){.fd = STDOUT_FILENO};
	if (!path && isatty(STDOUT_FILENO))
		return complain("a stream is no text for a terminal: send it through a pipe, or to a file (-o FILE)");
	if (!path)
		return TOOL_OK;
	if (is_file && !may_replace(path))
		return complain("%s is there already, and no stream: remove it, or give another name", path);
	if (is_file && asprintf(&out->part, "%s.part", path) < 0)
		out_of_memory();
	out->fd = open(is_file ? out->part : path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (out->fd >= 0)
		return TOOL_OK;
	complain("%s: %s", is_file ? out->part : path, strerror(errno));
	free(out->part);
	return TOOL_NO;
}

/* So that a crash of the machine leaves the file, or none. */
static int folder_sync(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1, result = fd < 0 ? -1 : fsync(fd);

	if (fd >= 0)
		close(fd);
	free(copy);
	return result;
}

static int output_close(const char *path, struct output *out, int status)
{
	if (!path)
		return status;
	if (status == TOOL_OK && out->part && fsync(out->fd))
		status = complain("%s: %s", out->part, strerror(errno));
	if (close(out->fd) && status == TOOL_OK)
		status = complain("%s: %s", path, strerror(errno));
	if (status == TOOL_OK && out->part && (rename(out->part, path) || folder_sync(path)))
		status = complain("%s: %s", path, strerror(errno));
	if (status != TOOL_OK && out->part)
		unlink(out->part);
	free(out->part);
	return status;
}

static void export_tell(const struct options *o, const struct transfer *x)
{
	if (o->is_json)
		transfer_json(x);
	else
		fprintf(stderr, "%llu %s exported, the newest %s: %s\n", (unsigned long long)x->last.versions,
		        versions_text(x->last.versions), text_version(x->branch, x->last.version),
		        text_bytes(x->last.bytes));
}

static int export_run(const struct options *o, const struct listed *c, int argc, char **argv)
{
	struct transfer x = {.doing = "exporting"};
	struct pexport what = {.ref = argc > 1 ? argv[1] : NULL,
	                       .since = o->since,
	                       .is_history = o->is_all,
	                       .fn = transfer_note,
	                       .arg = &x};
	struct output out;
	int status = output_open(o->output, &out);

	if (status != TOOL_OK)
		return status;
	if (pExport(c->magic, &what, out.fd))
		status = TOOL_NO;
	progress_clear();
	if (status != TOOL_OK)
		complain("%s", pErrorMsg());
	status = output_close(o->output, &out, status);
	if (status == TOOL_OK)
		export_tell(o, &x);
	transfer_end(&x);
	return status;
}

int tool_export(const struct options *o, int argc, char **argv)
{
	if (o->is_json && !o->output)
		return complain("standard output can't have both the stream and JSON: name a file (-o FILE)"),
		       TOOL_USAGE;
	if (o->is_all && argc > 1 && !o->since)
		return complain("--all takes a REF only with --since: else it is all there is"), TOOL_USAGE;
	return container_run(o, argc, argv, export_run);
}

/* ---- import ---- */

static void import_tell(const struct options *o, const struct transfer *x)
{
	const struct ptransfer *t = &x->last;

	if (o->is_json) {
		transfer_json(x);
		return;
	}
	printf("container %s: %llu %s imported", text_container(&(struct listed){.magic = t->magic, .name = x->name}),
	       (unsigned long long)t->versions, versions_text(t->versions));
	if (t->present)
		printf(", %llu %s there already", (unsigned long long)t->present, t->present == 1 ? "was" : "were");
	printf("; the last is %s\n", text_version(x->branch, t->version));
}

/* The one command that makes a volume; but not before the stream has begun as one should: so it is not opened here. */
int tool_import(const struct options *o, int argc, char **argv)
{
	struct transfer x = {.doing = "importing"};
	struct pimport how = {.magic = o->as, .branch = o->branch, .fn = transfer_note, .arg = &x};
	int fd = argc ? open(argv[0], O_RDONLY | O_CLOEXEC) : STDIN_FILENO, status = TOOL_OK;

	if (fd < 0)
		return complain("%s: %s", argv[0], strerror(errno));
	if (isatty(fd))
		return complain("a stream is expected on standard input, or in a file"), TOOL_USAGE;
	setenv("SOFTPM_VOLUME", volume_name(o), 1);
	if (pImport(fd, &how))
		status = TOOL_NO;
	progress_clear();
	if (status != TOOL_OK)
		complain("%s", pErrorMsg());
	else
		import_tell(o, &x);
	if (argc)
		close(fd);
	transfer_end(&x);
	return status;
}
