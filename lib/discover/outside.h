/* outside.h - pointers in heap pages that lead out of the heap.
 *
 * Programs and libraries are loaded at another address each time. So, on disk, a word that points into code or static
 * data of a module is canonical, the same in every process, so that an unchanged page has unchanged bytes:
 *
 *     0x6b81'0000'0000 + (module number << 32) + offset in the module        module number < 126
 *
 * The container keeps the table of its modules (name, build ID), and, for each offset that was ever encoded, the symbol
 * it lies in. Back in a process:
 *
 *   the same build ID    the module's address here + offset
 *   another build ID     the address of the symbol of that name + the distance in it
 *   no such symbol       0, and a warning
 *
 * A function's symbol counts only for its start: a pointer into its middle has no meaning in a rebuilt program. String
 * literals and other nameless constants have no symbol. A symbol name that the module has twice (static functions of
 * one name in files of one name) counts as none.
 *
 * Words that point to anything else that is mapped (stacks, libc's heap, files) become 0 in a process; on disk they are
 *
 *     0x6bff'0000'0000 + 1 (a stack), 2 (libc's heap) or 0 (anything else)
 *
 * so that who looks at a version sees which pointers are NULL after a restore (softpm lint). What is no address stays.
 * An integer that equals such an address by chance is taken for one: memory without pointers comes from pMallocNoPtr.
 * Mappings made below 4 GiB after the first look are not noticed.
 *
 * The caller serializes calls for one struct outside; different ones may be used by different threads at once. No
 * function may run while other threads are stopped (they allocate, and ask the loader).
 */
#ifndef SPM_OUTSIDE_H
#define SPM_OUTSIDE_H

#include "base/base.h"

/* One container's table of modules and symbols. It only grows: what any version's pages hold stays readable. */
struct outside;

struct outside *spm_outside_new(void); /* NULL: no memory */
void spm_outside_free(struct outside *o);

/* Whether words that lead to nothing are told by a word of their own, as from the beginning, or become 0: for volumes that older
 * builds read. */
void spm_outside_name_lost(struct outside *o, bool names);
/* Works on a private copy of a page (512 words, aligned) with dead slots zeroed, before it is written. `left` is called for
 * each pointer that will be 0: its place in the page in bytes, its value, what it pointed to. Must not call back into this
 * module. Returns whether the page has canonical words now. A page without pointers out of the heap costs about 0.3 us. */
bool spm_outside_encode(struct outside *o, uint64_t *image,
                        void (*left)(unsigned offset, uint64_t value, const char *what, void *arg), void *arg);
/* Restore: canonical words become addresses of this process. A word whose target is gone becomes 0, and `warn` gets a
 * sentence that names module, symbol and distance. Words that are canonical only by chance stay. */
void spm_outside_decode(struct outside *o, uint64_t *image, size_t words,
                        void (*warn)(size_t word_index, const char *sentence, void *arg), void *arg);

/* Whether the word is canonical for some table. */
bool spm_outside_may_be(uint64_t word);
/* What a canonical word means, without a process: "handler", "table+16", or, where no symbol is known, "libc.so.6+0x1234"; "(stack)": it
 * is NULL after a restore. False: the table has no such module. Waits for nobody. */
bool spm_outside_name(const struct outside *o, uint64_t word, char *out, size_t room);

/* Whether words that both know mean the same in both. */
bool spm_outside_agree(const struct outside *a, const struct outside *b);

/* Whether the table has grown since it was saved or loaded. */
bool spm_outside_has_changed(const struct outside *o);
/* The table as bytes; the caller frees them. -ENOMEM. */
int spm_outside_save(struct outside *o, void **bytes, size_t *n);
void spm_outside_saved(struct outside *o); /* and they are durable: has_changed is false from here on */
/* Replaces the table. -EINVAL: malformed (the bytes are untrusted); -ENOMEM. On failure nothing is changed. */
int spm_outside_load(struct outside *o, const void *bytes, size_t n);

#endif
