/* packed.c - see packed.h. */
#include "packed.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

uint64_t packed_open(const uint8_t *packed, size_t bytes, unsigned char *volume, unsigned *flags)
{
	uint32_t head[2], entry[2];

	if (bytes < PACKED_HEADER_BYTES)
		return 0;
	memcpy(head, packed, sizeof(head));
	if (!head[0] || head[0] > PACKED_BLOCKS_MOST)
		return 0;
	*flags = head[1];
	for (size_t at = PACKED_HEADER_BYTES; at + PACKED_ENTRY_BYTES <= bytes; at += PACKED_ENTRY_BYTES) {
		memcpy(entry, packed + at, sizeof(entry));
		if (entry[0] < head[0])
			memcpy(volume + (size_t)entry[0] * 4096, packed + at + 8, 4096);
	}
	return (uint64_t)head[0] * 4096;
}

static bool is_empty(const unsigned char *block)
{
	return !block[0] && !memcmp(block, block + 1, 4095);
}

uint8_t *packed_make(const unsigned char *volume, uint64_t bytes, unsigned flags, size_t *n)
{
	uint32_t blocks = (uint32_t)(bytes / 4096), used = 0;
	uint8_t *out, *at;

	for (uint32_t b = 0; b < blocks; b++)
		used += !is_empty(volume + (size_t)b * 4096);
	*n = PACKED_HEADER_BYTES + (size_t)used * PACKED_ENTRY_BYTES;
	at = out = calloc(1, *n);
	if (!out)
		return NULL;
	memcpy(at, &(uint32_t[2]){blocks, flags}, PACKED_HEADER_BYTES);
	at += PACKED_HEADER_BYTES;
	for (uint32_t b = 0; b < blocks; b++) {
		if (is_empty(volume + (size_t)b * 4096))
			continue;
		memcpy(at, &(uint32_t[2]){b, 0}, 8);
		memcpy(at + 8, volume + (size_t)b * 4096, 4096);
		at += PACKED_ENTRY_BYTES;
	}
	return out;
}
