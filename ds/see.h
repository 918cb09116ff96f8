/* see.h - the structures as they lie in a version that is looked at (softpm/look.h): elements, one after the other, of memory that nobody
 * has mapped and that may hold anything. For the tool.
 *
 *   parray  piece, then chunks                  plist  from node to node, by next
 *   phash   bucket after bucket, by ascending hashes    ptree  a way down of (node, place in it), levels growing less
 *
 * And memcachedb's hashtable (see_items.c): bucket after bucket.
 *
 * Nothing here believes what it reads: a structure is taken for one if its header's own marks are right; and no step leads back, so it ends. Of a
 * tree whose children are shared elements are counted: more than the version has bytes are EUCLEAN.
 */
#ifndef SPM_DS_SEE_H
#define SPM_DS_SEE_H

#include "../adapters/memcachedb/shown.h"

#include <softpm/ds.h>
#include <softpm/look.h>

enum spm_seen_kind {
	SPM_SEEN_NONE,
	SPM_SEEN_ARRAY,
	SPM_SEEN_LIST,
	SPM_SEEN_HASH,
	SPM_SEEN_TREE,
	SPM_SEEN_ITEMS,
	SPM_SEEN_STRING
};

/* An element: addresses in the version. Keys of kind PKEY_STRING: of the text, and bytes 0. Of a word of a hashtable nobody knows whether it has a
 * sign: PKEY_UINT64. */
struct spm_seen {
	uint64_t key, value;
	uint32_t key_bytes, value_bytes; /* 0: none */
	enum pkey_kind key_kind;
};

struct spm_seeing {
	/* Called, unless it is NULL, for each object that is the structure's own, when it is first read: address of the object or within. Set after
	 * spm_see_begin. */
	void (*visit)(uint64_t address, void *arg);
	void *arg;
	struct plook *look;
	enum spm_seen_kind kind;
	uint64_t count; /* UINT64_MAX: told by nobody */
	uint64_t next;  /* index of the element that comes next */
	union {
		struct parray array;
		struct plist list;
		struct phash hash;
		struct ptree tree;
		struct pstring string;
		struct spm_shown_items items;
	} header;
	uint64_t node; /* list: the next one */
	uint64_t from; /* hash: the first one not seen yet */
	struct spm_seeing_bucket {
		uint64_t address;
		unsigned slot;
		bool is_open, is_last;
		uint64_t end;
		unsigned char group[16 * 64];
	} bucket;
	struct {
		uint64_t bucket, item; /* item: the next of its list; 0: none */
		bool is_old;
	} items;
	unsigned levels; /* tree: of the way down */
	struct {
		uint64_t node, plain;
		uint32_t entries, next;
	} way[PTREE_LEVELS];
};

/* What the memory's own marks say that it is; bytes: so many may be read there. Never SPM_SEEN_STRING: a string has no marks. */
enum spm_seen_kind spm_see_kind(struct plook *look, uint64_t address, uint64_t bytes);
/* Before the first element. -1 and errno: EUCLEAN: it is none, or is damaged. */
int spm_see_begin(struct spm_seeing *s, struct plook *look, enum spm_seen_kind kind, uint64_t address);
/* 1: *out is the next; 0: there are no more; -1 and errno. */
int spm_see_next(struct spm_seeing *s, struct spm_seen *out);
/* Element n comes next. As spm_see_next; 0: it has not so many. Arrays go there at once. */
int spm_see_skip(struct spm_seeing *s, uint64_t n);
/* Of a string: where its bytes are, and how many. */
int spm_see_string(struct plook *look, uint64_t address, uint64_t *bytes, uint64_t *length);

#endif
