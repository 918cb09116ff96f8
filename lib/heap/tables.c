/* tables.c - see tables.h. */
#include "heap/tables.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { TABLES_MOST = 32 };
static struct {
	uint64_t start;
	_Atomic uint64_t bytes; /* 0: none */
} table_of[TABLES_MOST];
static _Atomic unsigned tables;

/* One that finds no room, or is just being noted, is taken for memory like any other. */
void spm_table_note(const void *table, size_t bytes)
{
	unsigned i = atomic_fetch_add(&tables, 1);

	if (i >= TABLES_MOST)
		return;
	table_of[i].start = (uintptr_t)table;
	atomic_store_explicit(&table_of[i].bytes, bytes, memory_order_release);
}

bool spm_table_has(uint64_t address)
{
	for (unsigned i = 0; i < TABLES_MOST; i++) {
		uint64_t bytes = atomic_load_explicit(&table_of[i].bytes, memory_order_acquire);

		if (address - table_of[i].start < bytes)
			return true;
	}
	return false;
}

int spm_table_have(void **table, size_t bytes)
{
	void *p;

	if (*table)
		return 0;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	madvise(p, bytes, MADV_NOHUGEPAGE); /* sparse: a huge page would be mostly air */
	spm_table_note(p, bytes);
	*table = p;
	return 0;
}
