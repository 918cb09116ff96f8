/* packed.h - a volume as the fuzzer handles it: without its empty blocks.
 *
 *   | blocks u32 | flags u32 | { block u32, 0 u32, 4096 bytes } ... |
 *
 * A block that is named twice is what the last one says; one beyond the end is left out.
 */
#ifndef TEST_PACKED_H
#define TEST_PACKED_H

#include <stddef.h>
#include <stdint.h>

enum { PACKED_BLOCKS_MOST = 1024, PACKED_HEADER_BYTES = 8, PACKED_ENTRY_BYTES = 8 + 4096 };
enum packed_flags {
	PACKED_SUMS_AS_THEY_ARE = 1, /* else they are made right: see resum.h */
	PACKED_WITH_RESTORE = 2,     /* restore its containers to memory, too */
};

/* volume: room for PACKED_BLOCKS_MOST blocks, zeroed. Returns the volume's length; 0: that's no packed volume. */
uint64_t packed_open(const uint8_t *packed, size_t bytes, unsigned char *volume, unsigned *flags);
/* To be freed; *n: its length. */
uint8_t *packed_make(const unsigned char *volume, uint64_t bytes, unsigned flags, size_t *n);

#endif
