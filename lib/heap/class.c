/* class.c - the table of size classes, see class.h. */
#include "heap/class.h"

enum { SPAN_PAGES_WISHED = 16, SLOTS_WISHED = 4 };

struct span_class spm_classes[SPM_CLASSES];

uint32_t spm_class_bytes(unsigned class)
{
	unsigned over = class - 8;

	if (class < 8)
		return (class + 1) * 16;
	return (5 + (over & 3)) << (over / 4 + 5);
}

/* The longest span of up to 16 pages, or else the shortest with four slots. */
static uint16_t pages_for(uint32_t slot_bytes)
{
	uint16_t best = 0;

	for (uint16_t pages = 1; pages <= SPM_SPAN_PAGES_MAX; pages++) {
		uint32_t bytes = (uint32_t)pages * SPM_PAGE_BYTES;
		uint32_t slots = bytes / slot_bytes;

		if (bytes % slot_bytes || slots < SLOTS_WISHED || slots > SPM_SPAN_SLOTS_MAX)
			continue;
		if (!best || pages <= SPAN_PAGES_WISHED)
			best = pages;
	}
	return best;
}

void spm_class_init(void)
{
	for (unsigned i = 0; i < SPM_CLASSES; i++) {
		uint32_t bytes = spm_class_bytes(i);
		uint16_t pages = pages_for(bytes);

		/* Rounded up; tests/unit/test_heap.c proves it exact for every offset of every class. */
		spm_classes[i] = (struct span_class){
		        .slot_bytes = bytes,
		        .recip = (uint32_t)(((UINT64_C(1) << 32) + bytes - 1) / bytes),
		        .slots = (uint16_t)(pages * SPM_PAGE_BYTES / bytes),
		        .pages = pages,
		};
	}
}
