/* tables.h - the sparse tables of heap and trace, which have a row for each page that there could be: hundreds of GiB of
 * addresses, to which no program has a pointer, but which integers hit. So discovery asks here.
 */
#ifndef SPM_TABLES_H
#define SPM_TABLES_H

#include "base/base.h"

/* Makes *table one of so many bytes, zero, unless it is there already; never given back. 0 or -ENOMEM. Not for two threads at a time. */
int spm_table_have(void **table, size_t bytes);
/* A table of others that is as large, and is never given back either. */
void spm_table_note(const void *table, size_t bytes);
/* Whether the address lies in one of these tables. Takes no lock. */
bool spm_table_has(uint64_t address);

#endif
