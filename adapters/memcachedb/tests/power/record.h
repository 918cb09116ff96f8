/* record.h - what record.c writes down, in the working directory. */
#ifndef TEST_RECORD_H
#define TEST_RECORD_H

#include <stdint.h>

#define RECORD_LOG "record.log"
#define RECORD_CLOCK "record.clock" /* a uint64_t, which the test counts up */

/* Of a write its bytes follow. */
struct record {
	uint32_t kind; /* enum sim_kind */
	uint32_t unused;
	uint64_t offset, bytes;
	uint64_t time; /* when it began */
};

#endif
