/* heap.h - for the files of memcached whose memory is the cache itself: slab pages, lists of these, hash tables. */
#ifndef SPM_MEMCACHED_HEAP_H
#define SPM_MEMCACHED_HEAP_H

#include "port.h"

#define malloc spm_port_malloc
#define calloc spm_port_calloc
#define realloc spm_port_realloc
#define free spm_port_free

#endif
