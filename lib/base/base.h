/* base.h - the few words every stage shares: types of numbers, the broken-invariant stop, bit helpers.
 *
 * Inside SoftPM a function returns 0 or a negative errno. Only containers/ turns that into errno and a
 * sentence. The library never prints and never exits; the one exception is spm_panic, for a broken
 * invariant or a misuse of the heap, after which going on could only spread damage.
 */
#ifndef SPM_BASE_H
#define SPM_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t pageno_t;  /* page of the heap window, counted from its start */
typedef uint64_t blockno_t; /* 4 KiB block of a volume, counted from its start; 0: none */

enum { SPM_PAGE_BYTES = 4096, SPM_PAGE_SHIFT = 12, SPM_BLOCK_BYTES = 4096 };

/* A span is a run of pages cut into at most 256 equal slots, so 256 bits name any subset of its slots. */
enum { SPM_SPAN_SLOTS_MAX = 256, SPM_SLOT_WORDS = 4 };
struct slotset {
	uint64_t word[SPM_SLOT_WORDS];
};

/* Writes "softpm: " and the formatted message to standard error, then aborts. Async-signal-safe enough to
 * be called with any lock held: formats into a stack buffer. */
_Noreturn void spm_panic(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* SPM_CHECK: always on. SPM_ASSERT: in builds with -DSPM_DEBUG only. Both name the broken condition. */
#define SPM_CHECK(cond) ((cond) ? (void)0 : spm_panic("%s:%d: broken invariant: %s", __FILE__, __LINE__, #cond))
#ifdef SPM_DEBUG
#define SPM_ASSERT(cond) SPM_CHECK(cond)
#else
#define SPM_ASSERT(cond) ((void)0)
#endif

/* Monotonic time in nanoseconds. */
uint64_t spm_now_ns(void);
/* The same since 1970. */
uint64_t spm_now_real_ns(void);
void spm_sleep_ms(unsigned ms);

/* Zeroed memory straight from the kernel, in whole pages; NULL: none. `now`: not page by page as it is touched, which costs several
 * times as much for memory that will all be touched. */
void *spm_pages_map(size_t bytes, bool now);
void spm_pages_unmap(void *p, size_t bytes);
/* Bytes [from, from + bytes) of a mapping are about to be written, nearly all of them: not page by page as they are touched,
 * and in huge pages if they are many, even if some of those begin before or end behind. */
void spm_pages_populate(void *all, size_t all_bytes, size_t from, size_t bytes);

static inline bool slotset_has(const struct slotset *s, unsigned i)
{
	return (s->word[i >> 6] >> (i & 63)) & 1;
}
static inline void slotset_add(struct slotset *s, unsigned i)
{
	s->word[i >> 6] |= UINT64_C(1) << (i & 63);
}
static inline void slotset_drop(struct slotset *s, unsigned i)
{
	s->word[i >> 6] &= ~(UINT64_C(1) << (i & 63));
}
static inline bool slotset_empty(const struct slotset *s)
{
	return !(s->word[0] | s->word[1] | s->word[2] | s->word[3]);
}

#endif
