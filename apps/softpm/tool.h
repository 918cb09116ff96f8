/* tool.h - what the subcommands of softpm(1) share.
 *
 *   main.c    options, help, dispatch
 *   volume.c  opening the volume without ever making one; which container is meant
 *   text.c    sizes, times and tables for people; the same as JSON for programs
 *   info.c log.c stat.c check.c rm.c   one subcommand each
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
	uint64_t limit; /* -n of log; 0: all */
};

/* argv holds the operands only. Each returns an enum tool_status. */
int tool_info(const struct options *o, int argc, char **argv);
int tool_log(const struct options *o, int argc, char **argv);
int tool_stat(const struct options *o, int argc, char **argv);
int tool_check(const struct options *o, int argc, char **argv);
int tool_rm(const struct options *o, int argc, char **argv);

/* volume.c */

struct listed { /* a container of the volume */
	int magic;
	char *name, *branch, *damage; /* damage: NULL if none */
	int64_t newest;
	uint64_t pages, live_bytes;
};
struct list {
	struct listed *all;
	size_t n;
};

const char *volume_name(const struct options *o);
/* Opens the volume if it is there. TOOL_OK, or TOOL_NO with the reason said. */
int volume_open(const struct options *o);
/* The volume's containers; NULL with the reason said. */
struct list *list_read(void);
void list_free(struct list *list);
/* The container called so by number or by name. NULL with the reason said. text NULL: the only one there is. */
const struct listed *list_find(const struct list *list, const char *text);

/* text.c */

/* "softpm: ..." to standard error; returns TOOL_NO. */
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
int no_memory(void);
/* Each returns one of a few static buffers, good for one line. */
const char *text_bytes(uint64_t bytes);
const char *text_span(uint64_t ns);
const char *text_time(int64_t ns);
/* "7 (accounts)" */
const char *text_container(const struct listed *c);

/* progress.c: from begin to end, if standard error is a terminal, a line there tells how far the work has come. */
void progress_begin(const char *what);
void progress_clear(void); /* before something else is printed meanwhile */
void progress_end(void);

/* text.c again. Rows under heads, columns aligned. A head that begins with '>' is aligned to the right. */
struct table;
struct table *table_new(unsigned columns, const char *const *heads);
void table_add(struct table *t, const char *cell); /* the next cell of the row */
void table_print(struct table *t);                 /* and frees it */

/* An object to fill, and what it is filled with. */
void json_text(struct json_object *o, const char *key, const char *value); /* NULL: null */
void json_count(struct json_object *o, const char *key, uint64_t value);
void json_time(struct json_object *o, const char *key, int64_t ns);
/* Prints and frees it. */
void json_print(struct json_object *o);

#endif
