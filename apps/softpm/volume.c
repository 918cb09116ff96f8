/* volume.c - opening the volume without ever making one, and finding the container that is meant.
 *
 * pVOpen makes a volume of a missing or an empty file. To a tool that looks at volumes that would be a surprise, so it
 * looks at the file first.
 */
#include "tool.h"

#include <softpm/look.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUPERBLOCKS_BYTES = 8192 }; /* the superblock and its mirror */

const char *volume_name(const struct options *o)
{
	const char *name = o->volume;

	if (!name || !*name)
		name = getenv("SOFTPM_VOLUME");
	return name && *name ? name : "softpm.vol";
}

/* As pVOpen does: %3f is a byte. */
static void decode(char *path)
{
	char *to = path, hex[3] = "";

	for (; *path; path++) {
		*to = *path;
		if (*path == '%' && strspn(path + 1, "0123456789abcdefABCDEF") > 1 && memcmp(path + 1, "00", 2) != 0) {
			memcpy(hex, path + 1, 2);
			*to = (char)strtoul(hex, NULL, 16);
			path += 2;
		}
		to++;
	}
	*to = 0;
}

/* The path in PATH or file:PATH, with or without ?wait=SECONDS. The caller frees it. */
static char *uri_path(const char *uri)
{
	bool is_coded = !strncmp(uri, "file:", 5);
	char *path;

	if (is_coded)
		uri += 5;
	path = strndup(uri, strcspn(uri, "?"));
	if (path && is_coded)
		decode(path);
	return path;
}

static bool is_all_zero(const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i])
			return false;
	return true;
}

/* Whether pVOpen would find something there to open, rather than make a volume of it. */
static int path_look(const char *path)
{
	unsigned char start[SUPERBLOCKS_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return complain("%s: %s", path, strerror(errno));
	n = pread(fd, start, sizeof(start), 0);
	if (n < 0)
		complain("%s: %s", path, strerror(errno));
	close(fd);
	if (n < 0)
		return TOOL_NO;
	if (is_all_zero(start, (size_t)n))
		return complain("%s: not a volume: it is empty", path);
	return TOOL_OK;
}

/* ---- an image instead of a volume ---- */

static char *image; /* its path; NULL: it is a volume */

static bool is_image(const char *path)
{
	char magic[8] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is = fd >= 0 && pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && !memcmp(magic, "SPIMAGE1", 8);

	if (fd >= 0)
		close(fd);
	return is;
}

static int image_found(const struct options *o, char *path)
{
	if (!o->takes_image) {
		complain("%s is an image, not a volume: softpm browse, grep, lint and map look into it", path);
		free(path);
		return TOOL_NO;
	}
	free(image);
	image = path;
	return TOOL_OK;
}

static char *copy(const char *text);

static struct list *image_list(void)
{
	struct list *list = calloc(1, sizeof(*list));
	struct pimage i;

	if (!list || pImageInfo(image, &i)) {
		complain("%s", list ? pErrorMsg() : "no memory");
		free(list);
		return NULL;
	}
	list->all = calloc(1, sizeof(*list->all));
	if (!list->all)
		out_of_memory();
	list->n = 1;
	list->all[0] = (struct listed){.magic = i.magic,
	                               .name = copy(i.name),
	                               .branch = copy(i.branch),
	                               .newest = i.version,
	                               .pages = i.pages,
	                               .live_bytes = i.live_bytes};
	return list;
}

/* The one version that it has. */
static bool is_of_image(const struct listed *c, const char *ref)
{
	char *end;

	return !ref || !*ref || !strcmp(ref, c->branch) || (strtoll(ref, &end, 10) == c->newest && !*end);
}

struct plook *look_open(const struct listed *c, const char *ref)
{
	struct plook *look;

	if (image && !is_of_image(c, ref)) {
		complain("%s has version %lld of %s, and no other", image, (long long)c->newest, c->branch);
		return NULL;
	}
	look = image ? pLookOpenImage(image) : pLookOpen(c->magic, ref);
	if (!look)
		complain("%s", pErrorMsg());
	return look;
}

int volume_look(const struct options *o)
{
	char *path = uri_path(volume_name(o));
	int status;

	if (!path)
		return no_memory();
	if (is_image(path))
		return image_found(o, path);
	status = path_look(path);
	free(path);
	return status;
}

int volume_open(const struct options *o)
{
	int status = volume_look(o);

	if (status == TOOL_OK && !image && pVOpen(volume_name(o)))
		status = complain("%s", pErrorMsg());
	return status;
}

static char *copy(const char *text)
{
	return strdup(text ? text : "");
}

static int list_one(const struct pcontainer *c, void *arg)
{
	struct list *list = arg;
	struct listed *more = realloc(list->all, (list->n + 1) * sizeof(*more)), *l;

	if (!more)
		return 1;
	list->all = more;
	l = &more[list->n++];
	*l = (struct listed){.magic = c->magic,
	                     .name = copy(c->name),
	                     .branch = copy(c->branch),
	                     .damage = c->damage ? copy(c->damage) : NULL,
	                     .newest = c->newest,
	                     .pages = c->pages,
	                     .live_bytes = c->live_bytes};
	return !l->name || !l->branch || (c->damage && !l->damage);
}

static int by_magic(const void *a, const void *b)
{
	const struct listed *one = a, *other = b;

	return one->magic < other->magic ? -1 : one->magic > other->magic;
}

static void listed_free(struct listed *c)
{
	free(c->name);
	free(c->branch);
	free(c->damage);
}

/* A branch whose name is damaged counts as one more container of that magic: softpm check tells. */
static void same_remove(struct list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		if (n && list->all[n - 1].magic == list->all[i].magic)
			listed_free(&list->all[i]);
		else
			list->all[n++] = list->all[i];
	list->n = n;
}

struct list *list_read(void)
{
	struct list *list = image ? image_list() : calloc(1, sizeof(*list));
	int result = image ? 0 : list ? pContainers(list_one, list) : 1;

	if (result < 0)
		complain("%s", pErrorMsg());
	else if (result > 0)
		no_memory();
	if (result || !list) {
		list_free(list);
		return NULL;
	}
	if (list->n)
		qsort(list->all, list->n, sizeof(*list->all), by_magic);
	same_remove(list);
	return list;
}

void list_free(struct list *list)
{
	for (size_t i = 0; list && i < list->n; i++)
		listed_free(&list->all[i]);
	if (list)
		free(list->all);
	free(list);
}

bool list_is_called(const struct listed *c, const char *text)
{
	char *end;
	long magic;

	errno = 0;
	magic = strtol(text, &end, 0);
	if (*text && !*end && !errno)
		return magic == c->magic;
	return !strcmp(text, c->name);
}

static const struct listed *find_only(const struct list *list)
{
	if (list->n == 1)
		return &list->all[0];
	complain(list->n ? "the volume holds %zu containers: say which (softpm info lists them)"
	                 : "the volume holds %zu containers",
	         list->n);
	return NULL;
}

const struct listed *list_find(const struct list *list, const char *text)
{
	const struct listed *found = NULL;

	if (!text)
		return find_only(list);
	for (size_t i = 0; i < list->n; i++) {
		const struct listed *c = &list->all[i];

		if (!list_is_called(c, text))
			continue;
		if (found) {
			complain("containers %d and %d are both called '%s': give the number", found->magic, c->magic,
			         text);
			return NULL;
		}
		found = c;
	}
	if (!found)
		complain("the volume has no container '%s'", text);
	return found;
}

int container_run(const struct options *o, int argc, char **argv,
                  int (*run)(const struct options *o, const struct listed *c, int argc, char **argv))
{
	return container_run_for(o, argc ? argv[0] : NULL, argc, argv, run);
}

/* Whether any of them is called so. */
static bool list_has(const struct list *list, const char *text)
{
	for (size_t i = 0; i < list->n; i++)
		if (list_is_called(&list->all[i], text))
			return true;
	return false;
}

static int list_run(const struct options *o, struct list *list, const char *name, int argc, char **argv,
                    int (*run)(const struct options *o, const struct listed *c, int argc, char **argv))
{
	const struct listed *c = list_find(list, name);
	int status = c ? run(o, c, argc, argv) : TOOL_NO;

	list_free(list);
	return status;
}

int container_run_or_only(const struct options *o, bool is_sure, int argc, char **argv,
                          int (*run)(const struct options *o, const struct listed *c, int argc, char **argv))
{
	struct list *list = volume_open(o) ? NULL : list_read();
	bool is_named = list && argc && (is_sure || list->n > 1 || list_has(list, argv[0]));

	return list ? list_run(o, list, is_named ? argv[0] : NULL, argc, argv, run) : TOOL_NO;
}

int container_run_for(const struct options *o, const char *name, int argc, char **argv,
                      int (*run)(const struct options *o, const struct listed *c, int argc, char **argv))
{
	struct list *list = volume_open(o) ? NULL : list_read();

	return list ? list_run(o, list, name, argc, argv, run) : TOOL_NO;
}
