/* outside.h - pointers in heap pages that lead out of the heap.
 *
 * Programs and libraries are loaded at another address each time. So, on disk, a word that points into code or static
 * data of a module is canonical: CANONICAL_BASE + (module number << 32) + offset in the module - the same in every process, so that
 * an unchanged page has unchanged bytes. The container keeps the table of its modules (name, build ID), and, for each
 * offset that was ever encoded, the symbol it lies in. Back in a process:
 *
 *   the same build ID    the module's address here + offset
 *   another build ID     the address of the symbol of that name + the distance in it
 *   no such symbol       0, and a warning
 *
 * Words that point to anything else that is mapped (stacks, libc's heap, files) become 0. What is no address stays.
 * An integer that equals such an address by chance is taken for one: memory without pointers comes from pMallocNoPtr.
 */
#ifndef SPM_OUTSIDE_H
#define SPM_OUTSIDE_H

#include "base/base.h"

struct outside;

struct outside *spm_outside_new(void); /* NULL: no memory */
void spm_outside_free(struct outside *o);

/* Works on a private copy of a page (512 words) with dead slots zeroed. `left` is called for each pointer that becomes 0.
 * Returns whether the page has canonical words now. */
bool spm_outside_encode(struct outside *o, uint64_t *image,
                        void (*left)(unsigned offset, uint64_t value, const char *what, void *arg), void *arg);
/* Restore: canonical words become addresses of this process. */
void spm_outside_decode(struct outside *o, uint64_t *image, size_t words,
                        void (*warn)(size_t word_index, const char *sentence, void *arg), void *arg);

/* Whether the table has grown since it was saved or loaded. */
bool spm_outside_has_changed(const struct outside *o);
/* The table as bytes; the caller frees them. */
int spm_outside_save(struct outside *o, void **bytes, size_t *n);
/* -EINVAL: malformed (the bytes are untrusted). */
int spm_outside_load(struct outside *o, const void *bytes, size_t n);

#endif
