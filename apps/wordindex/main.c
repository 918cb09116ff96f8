/* main.c - wordindex: indexes the words of all files below a folder, one persistence point a file.
 *
 * Kill it whenever you like: started again it goes on behind the last file that had its point. A file that was half
 * indexed is not in the restored state at all, so nothing has to be undone.
 *
 * A word is a maximal run of ASCII letters, in lower case. Files are taken in the order of their paths; links are not
 * followed.
 */
#include "index.h"

#include <softpm.h>

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAGIC = 7001, VERSIONS_KEPT = 1000, SLICES = 10 };

struct options {
	const char *folder, *volume;
	long slow_ms; /* to spend on a file, so that people (and kills) can watch it */
	bool is_counts, is_postings;
};

_Noreturn static void die(const char *what, const char *why)
{
	fflush(stdout);
	fprintf(stderr, "wordindex: %s: %s\n", what, why);
	exit(1);
}

/* The files to index: paths relative to the folder, sorted. nftw has no argument for its function, hence static. */
static struct {
	char **path;
	size_t n, room, skip; /* skip: bytes of the folder's name in front of each */
} found;

static int found_add(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)ftw;
	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	if (found.n == found.room) {
		found.room = found.room * 2 + 64;
		found.path = realloc(found.path, found.room * sizeof(*found.path));
	}
	if (!found.path || !(found.path[found.n] = strdup(path + found.skip)))
		die(path, "no memory");
	found.n++;
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void files_find(const char *folder)
{
	size_t n = strlen(folder);

	found.skip = n + (n && folder[n - 1] != '/');
	if (nftw(folder, found_add, 16, FTW_PHYS))
		die(folder, strerror(errno));
	if (found.n)
		qsort(found.path, found.n, sizeof(*found.path), by_path);
}

/* The whole file in a buffer of its own (it need not persist), zero-terminated. */
static char *file_read(const char *path, size_t *bytes)
{
	FILE *in = fopen(path, "rb");
	size_t room = 1 << 16, n = 0;
	char *text = malloc(room);

	while (in && text) {
		n += fread(text + n, 1, room - n - 1, in);
		if (n < room - 1)
			break;
		room *= 2;
		text = realloc(text, room);
	}
	if (!in || ferror(in))
		die(path, strerror(errno));
	if (!text)
		die(path, "no memory");
	fclose(in);
	text[n] = 0;
	*bytes = n;
	return text;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void linger(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	while (ms > 0 && nanosleep(&t, &t) && errno == EINTR)
		;
}

/* Counts the word that begins at text[from], lowering it in place; returns where it ends. */
static size_t word_count(struct index *index, struct file *file, char *text, size_t from)
{
	size_t to = from;
	char after;

	for (; is_letter(text[to]); to++)
		text[to] = (char)(text[to] | 0x20);
	after = text[to];
	text[to] = 0;
	if (index_word(index, file, text + from))
		die(file->entry.text, "no memory");
	text[to] = after;
	return to;
}

static struct file *file_index(struct index *index, const char *path, const struct options *o)
{
	struct file *file = index_file_add(index, path);
	char *full, *text;
	size_t bytes, slices = 0;

	if (!file || asprintf(&full, "%s/%s", o->folder, path) < 0)
		die(path, "no memory");
	text = file_read(full, &bytes);
	for (size_t i = 0; i < bytes;) {
		if (is_letter(text[i]))
			i = word_count(index, file, text, i);
		else
			i++;
		for (; slices < SLICES * i / bytes; slices++)
			linger(o->slow_ms / SLICES);
	}
	free(text);
	free(full);
	return file;
}

/* The index of an earlier run, or a new one. */
static int index_open(const struct options *o, struct index **index)
{
	struct cattr attr = {.name = "wordindex",
	                     .versions_kept = VERSIONS_KEPT,
	                     .chunk_bytes = 4096,
	                     .stop_threads = 1,
	                     .full_trace_every = 1000};
	void *root;
	int id;

	if (o->volume && pVOpen(o->volume))
		die("volume", pErrorMsg());
	id = pCRestore(MAGIC, &root);
	if (id) {
		*index = root;
		return id;
	}
	if (errno != ENOENT)
		die("restore", pErrorMsg());
	id = pCAlloc(MAGIC, sizeof(**index), &root);
	if (!id || pCSetAttr(id, &attr))
		die("new index", pErrorMsg());
	*index = root;
	(*index)->folder = pStrdup(o->folder);
	if (!(*index)->folder)
		die("new index", "no memory");
	return id;
}

static void files_index(int id, struct index *index, const struct options *o)
{
	char message[160];

	for (size_t i = 0; i < found.n; i++) {
		struct file *file;
		int64_t version;

		if (index_file(index, found.path[i]))
			continue;
		printf("  [%3zu/%zu] %-28s", i + 1, found.n, found.path[i]);
		fflush(stdout);
		file = file_index(index, found.path[i], o);
		snprintf(message, sizeof(message), "%s: %llu words", found.path[i], (unsigned long long)file->words);
		version = pPointMsg(id, message);
		if (!version)
			die(found.path[i], pErrorMsg());
		printf(" %8llu words   version %lld\n", (unsigned long long)file->words, (long long)version);
	}
	if (pSync(id))
		die("sync", pErrorMsg());
}

/* As `sort | uniq -c` would: each word of all files with its count. */
static void counts_print(const struct index *index, const struct word **sorted)
{
	for (size_t i = 0; i < index->words.count; i++)
		printf("%7llu %s\n", (unsigned long long)sorted[i]->count, sorted[i]->entry.text);
}

static void postings_print(const struct index *index, const struct word **sorted)
{
	for (size_t i = 0; i < index->words.count; i++)
		for (size_t j = 0; j < sorted[i]->postings; j++)
			printf("%s\t%s\t%llu\n", sorted[i]->posting[j].file->entry.text, sorted[i]->entry.text,
			       (unsigned long long)sorted[i]->posting[j].count);
}

static void results_print(const struct index *index, const struct options *o)
{
	const struct word **sorted;

	if (!o->is_counts && !o->is_postings) {
		printf("%zu files, %zu different words, %llu in all\n", index->files.count, index->words.count,
		       (unsigned long long)index->total);
		return;
	}
	sorted = index_sorted(index);
	if (!sorted)
		die("results", "no memory");
	if (o->is_counts)
		counts_print(index, sorted);
	if (o->is_postings)
		postings_print(index, sorted);
	free(sorted);
}

static void usage(void)
{
	fputs("usage: wordindex [-v VOLUME] [--slow-ms N] [FOLDER]   index the files (default: "
	      "/usr/share/common-licenses)\n"
	      "       wordindex [-v VOLUME] --counts                 each word with its count, as `sort | uniq -c`\n"
	      "       wordindex [-v VOLUME] --postings               file, word, count\n",
	      stderr);
	exit(2);
}

static void options_parse(int argc, char **argv, struct options *o)
{
	static const struct option known[] = {{"volume", required_argument, NULL, 'v'},
	                                      {"slow-ms", required_argument, NULL, 's'},
	                                      {"counts", no_argument, NULL, 'c'},
	                                      {"postings", no_argument, NULL, 'p'},
	                                      {NULL, 0, NULL, 0}};
	int option;

	while ((option = getopt_long(argc, argv, "v:", known, NULL)) != -1) {
		if (option == 'v')
			o->volume = optarg;
		else if (option == 's')
			o->slow_ms = strtol(optarg, NULL, 10);
		else if (option == 'c')
			o->is_counts = true;
		else if (option == 'p')
			o->is_postings = true;
		else
			usage();
	}
	if (argc - optind > 1)
		usage();
	if (optind < argc)
		o->folder = argv[optind];
}

int main(int argc, char **argv)
{
	struct options o = {.folder = "/usr/share/common-licenses"};
	struct index *index;
	int id;

	options_parse(argc, argv, &o);
	id = index_open(&o, &index);
	if (!o.is_counts && !o.is_postings) {
		if (strcmp(index->folder, o.folder))
			die(index->folder, "this volume's index is of that folder; choose another volume with -v");
		if (index->files.count)
			printf("  restored: %zu files are in the index already\n", index->files.count);
		files_find(o.folder);
		files_index(id, index, &o);
	}
	results_print(index, &o);
	if (pVClose())
		die("close", pErrorMsg());
	return 0;
}
