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
};
struct second_version { /* the newest of branch main */
	uint64_t version, parent, time_ns, root, root_bytes, pages_told;
	char branch[64], name[64], message[200];
	struct second_page *page; /* ascending */
	size_t pages;
	uint64_t checkpoint_seq, records_replayed; /* how it was found */
};
/* NULL, or what is wrong with the volume. *out is to be freed with second_free. */
const char *second_read(const unsigned char *volume, uint64_t bytes, int magic, struct second_version *out);
void second_free(struct second_version *v);

#endif
