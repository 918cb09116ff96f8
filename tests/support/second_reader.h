/* second_reader.h - a reader of volumes written from docs/format.md alone, sharing no code with lib/volume: what the
 * two disagree on is a bug in one of them, or in the document.
 */
#ifndef TEST_SECOND_READER_H
#define TEST_SECOND_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct second_page {
	uint64_t page, block, sum, birth;
	unsigned char meta[48];
	uint32_t granules;
	unsigned char patch[1024];
};
struct second_version {
	uint64_t version, parent, time_ns, root, root_bytes, pages_told, input;
	uint64_t chain_id; /* of the branch */
	char branch[64], name[64], message[200];
	struct second_page *page; /* ascending */
	size_t pages;
	uint64_t segments, map_seq,
	        records_replayed; /* how it was found: of the chain; of the segment, 0: it has no map */
};
/* The version of the container's branch that has this number; 0: the newest. NULL, or what is wrong. *out is to be freed with
 * second_free. */
const char *second_read(const unsigned char *volume, uint64_t bytes, int magic, const char *branch, uint64_t version,
                        struct second_version *out);
void second_free(struct second_version *v);
/* Its 4096 bytes, verified. False: they are not there, or damaged. */
bool second_content(const unsigned char *volume, uint64_t bytes, const struct second_page *p, unsigned char *out);
/* fn for the inputs that the branch's newest version lacks. NULL, or what is wrong. */
const char *second_inputs(const unsigned char *volume, uint64_t bytes, int magic, const char *branch,
                          void (*fn)(const unsigned char *input, uint64_t n, void *arg), void *arg);

#endif
