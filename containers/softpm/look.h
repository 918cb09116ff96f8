/* look.h - looking into versions: objects and bytes at the addresses that the version has, with the types that the program was compiled
 * with. Nothing is restored or mapped: a page is read, and verified, when it is asked for. So it works for any version, however large
 * it is, while other processes write, for several versions at once, and without the program.
 *
 * Conventions as in softpm.h. Addresses are numbers here: as the version has them, which is not where the container may lie in
 * this process.
 */
#ifndef SOFTPM_LOOK_H
#define SOFTPM_LOOK_H

#include <softpm.h>
#include <softpm/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one version ---- */

struct plook;
/* Opens a version to look at. ref NULL or "": the newest of the current branch. It is not dropped as long as it is open, whatever
 * becomes of its branch. NULL on failure: as pCOpenAt. One struct plook is for one thread at a time, and not for a forked child; close it
 * before pVClose. Opening reads the version's map, not its pages. */
SOFTPM_API struct plook *pLookOpen(int magic, const char *ref);
SOFTPM_API void pLookClose(struct plook *look);
/* The same of an image (pImage), which needs no volume, and must stay as it is meanwhile. Pages are verified when they are read. EUCLEAN, open(2)'s
 * errno; ENOTSUP: it was written by a SoftPM that did not tell where objects are. */
SOFTPM_API struct plook *pLookOpenImage(const char *path);
/* What the version tells of itself; good until pLookClose. */
SOFTPM_API const struct pversion *pLookVersion(const struct plook *look);
/* Its root structure: address and size as given to pCAlloc. */
SOFTPM_API void pLookRoot(const struct plook *look, uint64_t *address, uint64_t *bytes);
/* The root's type (cattr.type), with all that it leads to; good until pLookClose. NULL: the program did not tell, or not yet in this
 * version. */
SOFTPM_API const struct ptype *pLookType(const struct plook *look);
/* The type of that name ("struct foo", "foo_t") among those that the root's leads to, or NULL. */
SOFTPM_API const struct ptype *pLookTypeNamed(const struct plook *look, const char *name);

/* Which member of a union holds, which is the member `of` of something, and lies at the address: 1: *out, NULL: none of them; 0: nobody told
 * (pCSetUnion), or not of the number that is there; -1: damage. */
SOFTPM_API int pLookHolds(struct plook *look, const struct pmember *of, uint64_t address, const struct pmember **out);

struct pobject {
	uint64_t address, bytes;  /* what pUsableSize says: at least what was asked for */
	int has_no_pointers;      /* from pMallocNoPtr */
	const struct ptype *type; /* by pCSetType; good until pLookClose. NULL: nobody told; follow the root's type */
};
/* The object that the address lies in, anywhere. 1: *out is it; 0: in none; -1: failure (EUCLEAN: damage, told by pErrorMsg). */
SOFTPM_API int pLookObject(struct plook *look, uint64_t address, struct pobject *out);
/* Each object with an address of `from` or above, ascending, until fn returns non-zero, which is returned. Reads no page of the heap. -1: as
 * above. */
SOFTPM_API int pLookObjects(struct plook *look, uint64_t from, int (*fn)(const struct pobject *object, void *arg),
                            void *arg);
/* A run of pages that is cut into objects of one size, or has one large one. age: so many versions ago one of its pages was last written
 * whole; where little of a page changed since, that was written beside it: is_patched. */
struct pspan {
	uint64_t address, bytes;
	uint64_t object_bytes, objects; /* objects: how many there are */
	uint64_t age;
	int is_patched, has_no_pointers;
};
/* Each span, ascending, until fn returns non-zero, which is returned. Reads no page. -1: as above. */
SOFTPM_API int pLookSpans(struct plook *look, int (*fn)(const struct pspan *span, void *arg), void *arg);
/* Copies n bytes; what lies in no object is zero, wherever it is. EUCLEAN: a page is damaged: the message names it; other pages can
 * be read nevertheless. EIO. */
SOFTPM_API int pLookRead(struct plook *look, uint64_t address, void *to, size_t n);
/* These bytes will be read soon: the device is asked for them, and the call returns. Of an image: nothing is done. */
SOFTPM_API void pLookExpect(struct plook *look, uint64_t address, uint64_t bytes);
/* What a word means that leads to code or static data of the program or a library: "handler", "table+16", "libc.so.6+0x1234" (of what has
 * no symbol), "(stack)", "(heap of libc)" or "(memory)" of what is NULL after a restore, in a buffer of the struct plook, good until the next call. A rebuilt program knows a word by its symbol. NULL: the word
 * leads to none, or the version's table of modules is damaged. */
SOFTPM_API const char *pLookOutside(struct plook *look, uint64_t word);

#ifdef __cplusplus
}
#endif
#endif
