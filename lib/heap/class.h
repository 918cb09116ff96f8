/* class.h - which slot sizes there are, and how a span of each is cut.
 *
 *   class  0..7    16, 32, .. 128           step 16
 *          8..39   160, 192, 224, 256, ...  four per doubling, to 32 KiB
 *
 * Every size is m * 2^k with m in 4..7 (or a multiple of 16 below 128), so some run of at most 64 pages is filled
 * exactly: no tail, and never a slot that crosses out of its span. A span has 4 to 256 slots and, where 4 slots fit
 * in it, at most 64 KiB. (Eight slots at least cost 4% more memory in bench/malloc.) A volume may hold spans of other
 * lengths, and any number of pages to SPM_SPAN_PAGES_MAX that slots fill exactly serves as well.
 */
#ifndef SPM_CLASS_H
#define SPM_CLASS_H

#include "heap/heap.h"

enum { SPM_CLASSES = 40, SPM_SMALL_MAX = 32768, SPM_SPAN_PAGES_MAX = 64 };

struct span_class {
	uint32_t slot_bytes;
	uint32_t recip;
	uint16_t slots;
	uint16_t pages;
};

extern struct span_class spm_classes[SPM_CLASSES];

void spm_class_init(void);
/* Of its slots; needs no init. */
uint32_t spm_class_bytes(unsigned class);

/* The smallest class whose slots hold so many bytes, for bytes <= SPM_SMALL_MAX. */
static inline unsigned spm_class_of(size_t bytes)
{
	unsigned log;
	size_t last = bytes - 1;

	if (bytes <= 128)
		return bytes ? (unsigned)(last >> 4) : 0;
	log = 63u - (unsigned)__builtin_clzl(last);
	return 8 + (log - 7) * 4 + (unsigned)((last >> (log - 2)) & 3);
}

#endif
