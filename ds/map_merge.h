/* map_merge.h - what merges of maps, trees and hashtables, have in common. */
#ifndef SPM_DS_MAP_MERGE_H
#define SPM_DS_MAP_MERGE_H

#include <softpm/common.h>

/* A map that others are merged into. */
struct spm_map {
	void *map;
	void *(*get)(void *map, const void *key);
	void *(*put)(void *map, const void *key, const void *value);
	void (*remove)(void *map, const void *key);
	size_t value_bytes;
	bool are_values_plain;
};
struct spm_map_merge {
	struct spm_map ours;
	int base_id, ours_id, theirs_id; /* containers, 0: none */
	struct pmerge how;
	struct pmerged *result;
};
/* To be begun with `ours` and `result`; the three are alike. EINVAL: they are not three, or values need how->copy; as pCOf. */
int spm_map_merge_begin(struct spm_map_merge *m, const void *base, const void *theirs, const struct pmerge *how);
/* For the comparison of base and theirs; arg: the merge. */
pchange_fn spm_map_merge_change;
/* Ends it, if it was begun. failed: what the comparison returned. */
int spm_map_merge_end(const struct spm_map_merge *m, int failed);

/* What ours gets for a value of theirs. */
union spm_map_value {
	char bytes[1024];
	max_align_t align;
};
int spm_map_merge_copy(const struct spm_map_merge *m, union spm_map_value *value, const void *theirs);

#endif
