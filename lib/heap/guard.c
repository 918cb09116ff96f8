/* guard.c - see guard.h.
 *
 * The check of the span before may meet that span being released by another thread: its bits are cleared before its
 * pages go, so the bit is read again after the guard was found wrong.
 */
#include "heap/guard.h"
#include "heap/tables.h"
#include "heap/window.h"

#ifdef SPM_DEBUG

#define GUARD UINT64_C(0xb5e5107c0de97fed) /* outside the window */

static struct slotset *guards; /* by the span's first page */

int spm_guard_init(void)
{
	return spm_table_have((void **)&guards, (size_t)SPM_SLICES * SPM_SLICE_PAGES * sizeof(*guards));
}

static uint64_t *guard_of(const struct span *s, unsigned slot)
{
	return (uint64_t *)(spm_slot_address(s, slot) + s->slot_bytes - SPM_GUARD_BYTES);
}

void spm_guard_set(const struct span *s, unsigned slot)
{
	__atomic_store_n(guard_of(s, slot), GUARD, __ATOMIC_RELAXED);
	__atomic_fetch_or(&guards[s->first].word[slot >> 6], UINT64_C(1) << (slot & 63), __ATOMIC_RELEASE);
}

void spm_guard_clear(const struct span *s, unsigned slot)
{
	__atomic_fetch_and(&guards[s->first].word[slot >> 6], ~(UINT64_C(1) << (slot & 63)), __ATOMIC_SEQ_CST);
	__atomic_store_n(guard_of(s, slot), 0, __ATOMIC_RELAXED);
}

void spm_guard_forget(const struct span *s)
{
	for (unsigned w = 0; w < SPM_SLOT_WORDS; w++)
		__atomic_store_n(&guards[s->first].word[w], 0, __ATOMIC_SEQ_CST);
}

static bool has_guard(const struct span *s, unsigned slot)
{
	return (__atomic_load_n(&guards[s->first].word[slot >> 6], __ATOMIC_SEQ_CST) >> (slot & 63)) & 1;
}

__attribute__((no_sanitize("address"))) static bool is_broken(const struct span *s, unsigned slot)
{
	return has_guard(s, slot) && __atomic_load_n(guard_of(s, slot), __ATOMIC_SEQ_CST) != GUARD &&
	       has_guard(s, slot);
}

/* The span that ends where s begins, or NULL. */
static const struct span *span_before(const struct span *s)
{
	const struct span *b = s->first ? spm_span_of(spm_page_address(s->first - 1)) : NULL;

	return b && b->slots && b->first + b->pages == s->first ? b : NULL;
}

void spm_guard_check(const struct span *s, unsigned slot)
{
	const struct span *before = slot ? s : span_before(s);
	void *p = (void *)spm_slot_address(s, slot);

	if (is_broken(s, slot))
		spm_panic("free: the allocation at %p was written past its end, or what follows it before its start",
		          p);
	if (before && is_broken(before, slot ? slot - 1 : before->slots - 1U))
		spm_panic("free: memory was written before the start of the allocation at %p", p);
}

#endif
