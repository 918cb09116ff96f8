/* shown.h - where a version of memcachedb's has its items, and how they are laid out: for who looks into it without the server (softpm browse and
 * diff, by ds/see_items.c). It is the first thing in the container's root, and a program that was built without debug information is known by it. */
#ifndef SPM_MEMCACHED_SHOWN_H
#define SPM_MEMCACHED_SHOWN_H

#include <stdint.h>

static const uint64_t SPM_SHOWN_MARK = UINT64_C(0x314d4554492d434d); /* "MC-ITEM1" */

/* Addresses as the version has them. A table has 1 << power lists of items; while it grows the old one, of half as many, has those
 * from expand_bucket on. */
struct spm_shown_items {
	uint64_t mark;
	uintptr_t table, old_table;
	uint64_t expand_bucket;
	uint32_t power, is_expanding;
	/* Of an item: where it has what. The key is at data_at, and 8 bytes further if a bit of has_cas is set in its flags; a zero comes
	 * behind it, 4 more bytes if one of has_client_flags is set, and then the value with CR LF; unless a bit of in_chunks is set. */
	uint16_t next_at, bytes_at, flags_at, key_bytes_at, data_at;
	uint16_t has_cas, has_client_flags, in_chunks;
};

#endif
