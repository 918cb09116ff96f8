/* tool.h - what the subcommands of softpm(1) share.
 *
 *   main.c    options, help, dispatch
 *   volume.c  opening the volume without ever making one; which container is meant
 *   names.c   a container's branches and tags
 *   graph.c   its versions in one row, with lines
 *   text.c    sizes, times and tables for people; the same as JSON for programs
 *   progress.c  how far long work has come
 *   info.c log.c show.c browse.c diff.c map.c branch.c switch.c tag.c stat.c check.c image.c prune.c rm.c   one subcommand each; transfer.c export,
 *   import; web/ a page in a browser
 *   place.h   places in a version that is looked at: place.c, value.c; path.h: how they are called; walk.h: from one to all that it leads to
 */
#ifndef TOOL_H
#define TOOL_H

#include <softpm.h>

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

enum tool_status { TOOL_OK = 0, TOOL_NO = 1, TOOL_USAGE = 2 };

struct options {
	const char *volume; /* -v; NULL: the library's own choice */
	bool is_json;
	bool is_delete;                      /* -d of branch and tag */
	bool is_check;                       /* --check of image */
	uint64_t limit;                      /* -n of log; 0: all */
	bool is_dry;                         /* -n of prune */
	const unsigned *keep, *keep_seconds; /* of prune; NULL: as the attributes say */
	bool is_all;                         /* of export */
	bool has_objects;                    /* of diff */
	const char *since, *output;
	const int *as; /* of import; NULL: the stream's */
	const char *branch;
	unsigned port; /* of web; 0: any */
	const char *address;
	bool is_write;
	bool has_subtrees;     /* of map */
	const char *path;      /* of browse */
	const unsigned *depth; /* NULL: the command's own */
	bool takes_image;      /* the command: -v may name an image */
	int behind;            /* so many operands stand behind "--" */
};

/* argv holds the operands only. Each returns an enum tool_status. */
int tool_info(const struct options *o, int argc, char **argv);
int tool_log(const struct options *o, int argc, char **argv);
int tool_show(const struct options *o, int argc, char **argv);
int tool_browse(const struct options *o, int argc, char **argv);
int tool_grep(const struct options *o, int argc, char **argv);
int tool_bisect(const struct options *o, int argc, char **argv);
int tool_lint(const struct options *o, int argc, char **argv);
int tool_diff(const struct options *o, int argc, char **argv);
int tool_branch(const struct options *o, int argc, char **argv);
int tool_switch(const struct options *o, int argc, char **argv);
int tool_tag(const struct options *o, int argc, char **argv);
int tool_stat(const struct options *o, int argc, char **argv);
int tool_check(const struct options *o, int argc, char **argv);
int tool_image(const struct options *o, int argc, char **argv);
int tool_export(const struct options *o, int argc, char **argv);
int tool_import(const struct options *o, int argc, char **argv);
int tool_map(const struct options *o, int argc, char **argv);
int tool_web(const struct options *o, int argc, char **argv);
int tool_prune(const struct options *o, int argc, char **argv);
int tool_rm(const struct options *o, int argc, char **argv);

/* volume.c */

struct listed { /* a container of the volume */
	int magic;
	char *name, *branch, *damage; /* branch: the current one; damage: NULL if none */
	int64_t newest;
	uint64_t pages, live_bytes;
};
struct list {
	struct listed *all;
	size_t n;
};

const char *volume_name(const struct options *o);
/* Whether there is something to open. TOOL_OK, or TOOL_NO with the reason said. */
int volume_look(const struct options *o);
/* Opens the volume if it is there. TOOL_OK, or TOOL_NO with the reason said. */
int volume_open(const struct options *o);
struct plook;
/* A version of the container, or of the image that was opened instead of a volume. NULL with the reason said. */
struct plook *look_open(const struct listed *c, const char *ref);
/* The volume's containers; NULL with the reason said. */
struct list *list_read(void);
void list_free(struct list *list);
/* The container called so by number or by name. NULL with the reason said. text NULL: the only one there is. */
const struct listed *list_find(const struct list *list, const char *text);

/* Whether the text is its number or name. */
bool list_is_called(const struct listed *c, const char *text);

/* What most subcommands do: `run` for the container that argv[0] calls, or for the only one there is. */
int container_run(const struct options *o, int argc, char **argv,
                  int (*run)(const struct options *o, const struct listed *c, int argc, char **argv));
/* The same for the container that is called so; NULL: the only one. */
int container_run_for(const struct options *o, const char *name, int argc, char **argv,
                      int (*run)(const struct options *o, const struct listed *c, int argc, char **argv));
/* The same where argv[0] may be the container, or the first of the others: is_sure that it is, or it is called so, or there are several. */
int container_run_or_only(const struct options *o, bool is_sure, int argc, char **argv,
                          int (*run)(const struct options *o, const struct listed *c, int argc, char **argv));

/* names.c */

struct branch { /* as struct pbranch */
	char *name, *parent, *damage;
	int64_t origin, newest, time_ns;
	uint64_t pages, live_bytes;
	bool is_current;
};
struct tag {
	char *name, *branch, *message; /* of the version: its branch and message */
	char *damage;                  /* NULL, or why the version can't be read: then these are "" */
	int64_t version, time_ns;
};
struct names {
	struct branch *branch;
	size_t branches;
	struct tag *tag;
	size_t tags;
};
/* NULL with the reason said. Tags take time: the version of each is opened. */
struct names *names_read(const struct listed *c, bool with_tags);
void names_free(struct names *names);
/* NULL if there is none. */
const struct branch *branch_find(const struct names *names, const char *name);
const struct tag *tag_find(const struct names *names, const char *name);
/* Whether it has versions beside those of the branch that it comes from. */
bool branch_has_own(const struct branch *b);
/* Whether this is its newest version; whether it names this version. */
bool branch_is_on(const struct branch *b, const struct pversion *v);
bool tag_is_on(const struct tag *t, const struct pversion *v);
/* "*main, try, v1": the branches whose newest this is, the current one with *, and the tags; "": none. To be freed. */
char *names_on(const struct names *names, const struct pversion *v);
/* A version with all that it tells of itself, and its names. */
struct json_object *json_version(const struct names *names, const struct pversion *v);

/* graph.c */

struct graph;
struct graph_row {
	const struct pversion *version; /* NULL: nothing but lines */
	const char *lines;              /* good until the next row is asked for */
};
/* Reads the versions of all branches, the newest `limit` of each. What can't be read is told, *status is TOOL_NO then, and the rest is
 * there. names must outlive it. */
struct graph *graph_read(const struct listed *c, const struct names *names, uint64_t limit, int *status);
void graph_free(struct graph *g);
/* Whether there is but one branch with versions. */
bool graph_is_line(const struct graph *g);
/* The next row, from the newest version on. false: there are no more. */
bool graph_next(struct graph *g, struct graph_row *row);

/* text.c */

/* "softpm: ..." to standard error; returns TOOL_NO. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
int no_memory(void);
void out_of_memory(void) __attribute__((noreturn)); /* says so and ends the program */
/* Each returns one of a few static buffers, good for one line. */
const char *text_bytes(uint64_t bytes);
const char *text_span(uint64_t ns);
const char *text_time(int64_t ns);
/* A name or message, as a terminal may have it; at most 1023 bytes. Those that follow are so, too. */
const char *text_plain(const char *text);
const char *text_plain_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* How many bytes the UTF-8 character has that begins there; 0: none does that ends within n. Whether it is one that a terminal obeys. */
size_t text_character(const unsigned char *s, uint64_t n);
bool text_is_control(const unsigned char *s, size_t bytes);
/* "7 (accounts)" */
const char *text_container(const struct listed *c);
/* "main:42" */
const char *text_version(const char *branch, int64_t version);

/* progress.c: from begin to end, if standard error is a terminal, a line there tells how far the work has come. */
void progress_begin(const char *what);
void progress_clear(void); /* before something else is printed meanwhile */
void progress_end(void);
/* The same for work that says itself how far it is: a line of its own, until progress_clear. */
void progress_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* text.c again. Rows under heads, columns aligned. A head that begins with '>' is aligned to the right. */
struct table;
struct table *table_new(unsigned columns, const char *const *heads);
void table_add(struct table *t, const char *cell); /* the next cell of the row */
void table_addf(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *t); /* and frees it */

/* An object to fill, and what it is filled with. */
struct json_object *json_string(const char *value);
void json_text(struct json_object *o, const char *key, const char *value); /* NULL: null */
void json_count(struct json_object *o, const char *key, uint64_t value);
void json_time(struct json_object *o, const char *key, int64_t ns);
/* Prints and frees it. */
void json_print(struct json_object *o);

#endif
