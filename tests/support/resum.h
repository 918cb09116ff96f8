/* resum.h - makes the sums of a volume right again after somebody changed what they guard: so that tests reach the code
 * behind the checksums, which must not trust what it reads there.
 */
#ifndef TEST_RESUM_H
#define TEST_RESUM_H

#include <stdint.h>

/* What a block looks like to be, by its first bytes. */
enum resum_kind { RESUM_OTHER, RESUM_SUPER, RESUM_TABLE, RESUM_HEAD, RESUM_RECORD, RESUM_MAP, RESUM_INDEX };
enum resum_kind resum_kind_of(const unsigned char *block);

/* Every sum in the image that guards what is there: of pages in records and maps, of records, of the record before in the
 * next one and in its segment, of maps, indexes, tables, heads and superblocks. `bytes` is a multiple of 4096.
 */
void resum(unsigned char *volume, uint64_t bytes);

#endif
