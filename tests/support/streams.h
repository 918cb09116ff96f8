/* streams.h - a small history, streams of it, and what a volume holds of it: for tests that damage streams, or lose power while one
 * is imported.
 */
#ifndef TEST_STREAMS_H
#define TEST_STREAMS_H

#include "transfer.h"

enum { HISTORY_MAGIC = 1 };

/* Makes container HISTORY_MAGIC: main, a branch, one off that, pages that come, change and go, tags. 0 or -errno. */
int history_make(struct volume *v);
/* All of it, as a stream in memory. -1: failed. */
int history_stream(struct volume *v);

/* The items in a stream, to be freed; NULL: it is damaged. */
unsigned char *stream_unpack(int fd, size_t *n);
/* Any bytes as a stream whose frames are right, in memory. -1: failed. */
int stream_pack(const unsigned char *content, size_t n);
/* From its beginning. */
int stream_import(struct volume *v, int fd);

struct told_version {
	char branch[64];
	uint64_t number, time_ns, state, text_sum; /* text_sum: of name and message */
};
struct told {
	struct told_version *version;
	size_t n;
	uint64_t names; /* a sum of tags and branches, in any order */
};
/* All versions, each once. 0 or -errno. */
int told_read(struct volume *v, struct told *out);
bool told_has(const struct told *all, const struct told_version *one);
bool told_are_same(const struct told *a, const struct told *b);
void told_free(struct told *t);

#endif
